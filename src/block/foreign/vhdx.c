/* SPDX-License-Identifier: MIT */
/*
 * VHDX images ([MS-VHDX]): two copies of a header, of which the newer one holds; regions, among
 * them one with metadata and one with the block allocation table. An image whose log has entries
 * was not closed; it is refused, since without them it is not what its disk was.
 */
#include "base/bytes.h"
#include "base/error.h"
#include "base/util.h"
#include "block/foreign/crc32c.h"
#include "block/foreign/foreign.h"

#include <assert.h>
#include <errno.h>

#define HEADER_BYTES   4096u
#define REGIONS_BYTES  65536u
#define METADATA_BYTES 65536u
#define ENTRIES_MAX    2047u
#define BAT_MAX        (UINT64_C(64) << 20)
#define SIZE_MAX_BYTES (UINT64_C(64) << 40)
#define BLOCK_MIN      (UINT32_C(1) << 20)
#define BLOCK_MAX      (UINT32_C(256) << 20)

/* Section 2.5.1: what a payload block is. */
enum { FULLY_PRESENT = 6, PARTIALLY_PRESENT = 7 };

/* As they are in the file. */
static const uint8_t guid_bat[16] = {0x66, 0x77, 0xc2, 0x2d, 0x23, 0xf6, 0x00, 0x42,
                                     0x9d, 0x64, 0x11, 0x5e, 0x9b, 0xfd, 0x4a, 0x08};
static const uint8_t guid_metadata[16] = {0x06, 0xa2, 0x7c, 0x8b, 0x90, 0x47, 0x9a, 0x4b,
                                          0xb8, 0xfe, 0x57, 0x5f, 0x05, 0x0f, 0x88, 0x6e};
static const uint8_t guid_parameters[16] = {0x37, 0x67, 0xa1, 0xca, 0x36, 0xfa, 0x43, 0x4d,
                                            0xb3, 0xb6, 0x33, 0xf0, 0xaa, 0x44, 0xe7, 0x6b};
static const uint8_t guid_size[16] = {0x24, 0x42, 0xa5, 0x2f, 0x1b, 0xcd, 0x76, 0x48,
                                      0xb2, 0x11, 0x5d, 0xbe, 0xd8, 0x3b, 0xf4, 0xb8};
static const uint8_t guid_sector[16] = {0x1d, 0xbf, 0x41, 0x81, 0x6f, 0xa9, 0x09, 0x47,
                                        0xba, 0x47, 0xf2, 0x33, 0xa8, 0xfa, 0xab, 0x5f};

struct place {
    uint64_t offset, length;
};

/* With the four bytes of the sum itself as zeroes. */
static bool sum_ok(const uint8_t *data, size_t size)
{
    static const uint8_t zeroes[4];
    uint32_t crc = pv_crc32c(UINT32_MAX, data, 4);
    crc = pv_crc32c(crc, zeroes, 4);
    return ~pv_crc32c(crc, data + 8, size - 8) == pv_le32(data + 4);
}

/* Section 2.2.2. */
static int check_headers(struct pv_foreign *f, struct pv_error **err)
{
    static const uint64_t places[] = {0x10000, 0x20000};
    static const uint8_t no_log[16];
    uint8_t h[HEADER_BYTES], best[HEADER_BYTES];
    bool found = false;
    for (unsigned i = 0; i < PV_ARRAY_SIZE(places); i++) {
        int ret = pv_foreign_load(f, 0, h, sizeof(h), places[i], "header", err);
        if (ret < 0)
            return ret;
        if (memcmp(h, "head", 4) != 0 || !sum_ok(h, sizeof(h)))
            continue;
        if (!found || pv_le64(h + 8) > pv_le64(best + 8))
            memcpy(best, h, sizeof(h));
        found = true;
    }
    if (!found)
        return pv_error_set(err, EINVAL, "VHDX image without a good header");
    if (pv_le16(best + 66) != 1)
        return pv_error_set(err, ENOTSUP, "VHDX version %u, want 1", pv_le16(best + 66));
    if (memcmp(best + 48, no_log, sizeof(no_log)) != 0)
        return pv_error_set(err, EIO,
                            "VHDX image that was not closed: its log has to be replayed, by "
                            "opening it with the program that wrote it");
    return 0;
}

/* Section 2.2.3; the second copy when the first is not good. */
static int find_regions(struct pv_foreign *f, struct place *bat, struct place *metadata,
                        struct pv_error **err)
{
    static const uint64_t places[] = {0x30000, 0x40000};
    PV_CLEANUP_FREE uint8_t *t = malloc(REGIONS_BYTES);
    bool good = false;
    if (!t)
        return pv_error_set(err, ENOMEM, "out of memory");
    for (unsigned i = 0; i < PV_ARRAY_SIZE(places) && !good; i++) {
        int ret = pv_foreign_load(f, 0, t, REGIONS_BYTES, places[i], "region table", err);
        if (ret < 0)
            return ret;
        good = !memcmp(t, "regi", 4) && sum_ok(t, REGIONS_BYTES) && pv_le32(t + 8) <= ENTRIES_MAX;
    }
    if (!good)
        return pv_error_set(err, EINVAL, "VHDX image without a good region table");
    for (uint32_t i = 0; i < pv_le32(t + 8); i++) {
        const uint8_t *e = t + 16 + (size_t)i * 32;
        const struct place place = {pv_le64(e + 16), pv_le32(e + 24)};
        if (!memcmp(e, guid_bat, 16))
            *bat = place;
        else if (!memcmp(e, guid_metadata, 16))
            *metadata = place;
        else if (pv_le32(e + 28) & 1)
            return pv_error_set(err, ENOTSUP, "VHDX image with a required region of unknown kind");
    }
    if (!bat->length || metadata->length < METADATA_BYTES)
        return pv_error_set(err, EINVAL, "VHDX image without a block table or metadata");
    return 0;
}

struct geometry {
    uint32_t block, flags, sector;
    uint64_t size;
};

/* Section 2.6: a table of items, each somewhere in the region behind it. */
static int read_metadata(struct pv_foreign *f, const struct place *region, struct geometry *g,
                         struct pv_error **err)
{
    PV_CLEANUP_FREE uint8_t *t = malloc(METADATA_BYTES);
    if (!t)
        return pv_error_set(err, ENOMEM, "out of memory");
    int ret = pv_foreign_load(f, 0, t, METADATA_BYTES, region->offset, "metadata", err);
    if (ret < 0)
        return ret;
    const unsigned count = pv_le16(t + 10);
    if (memcmp(t, "metadata", 8) != 0 || count > ENTRIES_MAX)
        return pv_error_set(err, EINVAL, "VHDX image without a good metadata table");
    for (unsigned i = 0; i < count && ret == 0; i++) {
        const uint8_t *e = t + 32 + (size_t)i * 32;
        uint8_t item[8] = {0};
        const uint32_t offset = pv_le32(e + 16);
        const uint32_t length = PV_MIN(pv_le32(e + 20), (uint32_t)sizeof(item));
        if (offset < METADATA_BYTES || offset + (uint64_t)length > region->length)
            return pv_error_set(err, EINVAL, "VHDX metadata item at 0x%x, outside its region",
                                offset);
        ret = pv_foreign_load(f, 0, item, length, region->offset + offset, "metadata", err);
        if (!memcmp(e, guid_parameters, 16)) {
            g->block = pv_le32(item);
            g->flags = pv_le32(item + 4);
        } else if (!memcmp(e, guid_size, 16)) {
            g->size = pv_le64(item);
        } else if (!memcmp(e, guid_sector, 16)) {
            g->sector = pv_le32(item);
        }
    }
    return ret;
}

static int check_geometry(const struct geometry *g, struct pv_error **err)
{
    if (g->flags & 2)
        return pv_error_set(err, ENOTSUP,
                            "differencing VHDX image: it needs its parent; merge them first");
    if (g->block < BLOCK_MIN || g->block > BLOCK_MAX || (g->block & (g->block - 1)))
        return pv_error_set(err, EINVAL,
                            "VHDX blocks of %u bytes, want a power of two from %u to %u", g->block,
                            BLOCK_MIN, BLOCK_MAX);
    if (g->sector != 512 && g->sector != 4096)
        return pv_error_set(err, EINVAL, "VHDX sectors of %u bytes, want 512 or 4096", g->sector);
    if (g->size % g->sector || g->size > SIZE_MAX_BYTES)
        return pv_error_set(err, EINVAL, "VHDX disk of %llu bytes", (unsigned long long)g->size);
    return 0;
}

static int fill(struct pv_foreign *f, const struct pv_block_source *source, struct pv_error **err)
{
    struct place bat = {0}, metadata = {0};
    struct geometry g = {0};
    int ret = check_headers(f, err);
    if (ret == 0)
        ret = find_regions(f, &bat, &metadata, err);
    if (ret == 0)
        ret = read_metadata(f, &metadata, &g, err);
    if (ret == 0)
        ret = check_geometry(&g, err);
    if (ret < 0)
        return ret;
    assert(g.block && g.sector); /* a checked geometry */
    f->base.size = g.size;
    /* An entry for a bitmap block follows those of each chunk (section 2.5). */
    const uint64_t chunk = (UINT64_C(1) << 23) * g.sector / g.block;
    const uint64_t blocks = (g.size + g.block - 1) / g.block;
    const uint64_t entries = blocks ? blocks + (blocks - 1) / chunk : 0;
    if (entries * 8 > bat.length || entries * 8 > BAT_MAX)
        return pv_error_set(err, EINVAL, "VHDX block table of %llu bytes for a disk of %llu",
                            (unsigned long long)bat.length, (unsigned long long)g.size);
    PV_CLEANUP_FREE uint8_t *table = malloc((size_t)entries * 8 + 1);
    if (!table)
        return pv_error_set(err, ENOMEM, "out of memory");
    ret = pv_foreign_load(f, 0, table, (size_t)entries * 8, bat.offset, "block table", err);
    for (uint64_t i = 0; i < blocks && ret == 0; i++) {
        const uint64_t entry = pv_le64(table + (i + i / chunk) * 8);
        const uint64_t start = i * g.block;
        if ((entry & 7) == PARTIALLY_PRESENT)
            return pv_error_set(err, EINVAL, "VHDX block %llu is partly in a parent",
                                (unsigned long long)i);
        if ((entry & 7) != FULLY_PRESENT)
            continue;
        const struct pv_foreign_piece piece = {
            .start = start,
            .length = PV_MIN((uint64_t)g.block, g.size - start),
            .at = pv_align_down(entry, UINT64_C(1) << 20),
            .kind = PV_FOREIGN_PLAIN,
        };
        ret = pv_foreign_add(f, &piece, err);
    }
    return ret;
}

static const struct pv_block_image_ops vhdx_ops = PV_FOREIGN_OPS("vhdx");

static bool vhdx_probe(const struct pv_block_head *head)
{
    return head->size >= 8 && !memcmp(head->start, "vhdxfile", 8);
}

static int vhdx_open(struct pv_block_image **out, const struct pv_block_source *source,
                     struct pv_error **err)
{
    return pv_foreign_open(out, &vhdx_ops, source, fill, err);
}

const struct pv_block_format pv_block_vhdx = {
    .name = "vhdx", .probe = vhdx_probe, .open = vhdx_open};
