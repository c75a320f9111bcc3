/* SPDX-License-Identifier: MIT */
/*
 * Disk images of macOS (UDIF): a trailer in the last 512 bytes names a property list, whose `blkx`
 * array has, in base64, a table of chunks for each partition: plain, zeroes, or compressed. There
 * is no public specification; the layout is what all readers of the format agree upon. Numbers are
 * big-endian.
 */
#include "base/bytes.h"
#include "base/error.h"
#include "base/util.h"
#include "block/foreign/foreign.h"
#include "block/foreign/unpack.h"

#include <errno.h>

#define SECTOR       512u
#define TRAILER      512u
#define TABLE_HEADER 204u
#define CHUNK        40u
#define XML_MAX      (UINT64_C(64) << 20)
#define SECTORS_MAX  (UINT64_C(1) << 46)

enum chunk_type {
    CHUNK_ZERO = 0,
    CHUNK_PLAIN = 1,
    CHUNK_UNUSED = 2,
    CHUNK_ZLIB = 0x80000005u,
    CHUNK_BZIP2 = 0x80000006u,
    CHUNK_COMMENT = 0x7ffffffeu,
    CHUNK_END = 0xffffffffu,
};

struct trailer {
    uint64_t data, xml, xml_size, sectors;
};

/* What the tables say, in any order. */
struct chunks {
    struct pv_foreign_piece *all;
    size_t count, room;
};

static int add_chunk(struct chunks *c, const struct pv_foreign_piece *piece)
{
    if (c->count == c->room) {
        const size_t room = c->room ? c->room * 2 : 64;
        struct pv_foreign_piece *all = NULL;
        if (room <= PV_FOREIGN_PIECES_MAX)
            all = realloc(c->all, room * sizeof(*all));
        if (!all)
            return -ENOMEM;
        c->all = all;
        c->room = room;
    }
    c->all[c->count++] = *piece;
    return 0;
}

static int chunk_kind(uint32_t type, enum pv_foreign_kind *kind, struct pv_error **err)
{
    switch (type) {
    case CHUNK_PLAIN: *kind = PV_FOREIGN_PLAIN; return 0;
    case CHUNK_ZLIB: *kind = PV_FOREIGN_ZLIB; return 0;
    case CHUNK_BZIP2: *kind = PV_FOREIGN_BZIP2; break;
    case CHUNK_ZERO:
    case CHUNK_UNUSED:
    case CHUNK_COMMENT:
    case CHUNK_END: *kind = PV_FOREIGN_ZERO; return 0;
    default:
        return pv_error_set(err, ENOTSUP,
                            "dmg chunks of type 0x%08x (ADC, LZFSE or LZMA); plain, zlib and bzip2 "
                            "ones can be read",
                            type);
    }
    return pv_foreign_can_unpack(*kind)
               ? 0
               : pv_error_set(err, ENOTSUP,
                              "dmg chunks in bzip2, which this program is built "
                              "without");
}

/* One partition's table. */
static int read_table(struct chunks *c, const struct trailer *t, const uint8_t *table, size_t size,
                      struct pv_error **err)
{
    if (size < TABLE_HEADER || memcmp(table, "mish", 4) != 0)
        return pv_error_set(err, EINVAL, "dmg image with a block table of %zu bytes", size);
    const uint64_t first = pv_be64(table + 8), data = pv_be64(table + 24);
    const uint32_t count = pv_be32(table + 200);
    if (count > (size - TABLE_HEADER) / CHUNK || first > SECTORS_MAX || data > SECTORS_MAX)
        return pv_error_set(err, EINVAL, "dmg block table of %u chunks in %zu bytes", count, size);
    for (uint32_t i = 0; i < count; i++) {
        const uint8_t *d = table + TABLE_HEADER + (size_t)i * CHUNK;
        const uint64_t sector = pv_be64(d + 8), sectors = pv_be64(d + 16);
        const uint64_t at = pv_be64(d + 24), packed = pv_be64(d + 32);
        enum pv_foreign_kind kind;
        int ret = chunk_kind(pv_be32(d), &kind, err);
        if (ret < 0)
            return ret;
        if (kind == PV_FOREIGN_ZERO || !sectors)
            continue;
        if (sector > SECTORS_MAX || sectors > SECTORS_MAX || at > SECTORS_MAX ||
            packed > (kind == PV_FOREIGN_PLAIN ? UINT64_MAX : PV_FOREIGN_UNPACKED_MAX))
            return pv_error_set(err, EINVAL, "dmg chunk of %llu sectors in %llu bytes",
                                (unsigned long long)sectors, (unsigned long long)packed);
        const struct pv_foreign_piece piece = {
            .start = (first + sector) * SECTOR,
            .length = sectors * SECTOR,
            .at = t->data + data + at,
            .packed = kind == PV_FOREIGN_PLAIN ? 0 : (uint32_t)packed,
            .kind = (uint16_t)kind,
        };
        if (add_chunk(c, &piece) < 0)
            return pv_error_set(err, ENOMEM, "out of memory");
    }
    return 0;
}

/* ---- The property list ---- */

static int base64_digit(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    return c == '+' ? 62 : c == '/' ? 63 : -1;
}

/* In place; spaces and what else is no digit are passed over. Returns the size. */
static size_t decode_base64(char *text, size_t size)
{
    uint32_t bits = 0;
    unsigned have = 0;
    size_t out = 0;
    for (size_t i = 0; i < size; i++) {
        const int digit = base64_digit(text[i]);
        if (digit < 0)
            continue;
        bits = bits << 6 | (uint32_t)digit;
        have += 6;
        if (have >= 8) {
            have -= 8;
            text[out++] = (char)(bits >> have);
        }
    }
    return out;
}

static int read_list(struct chunks *c, const struct trailer *t, char *xml, struct pv_error **err)
{
    char *at = strstr(xml, "<key>blkx</key>");
    char *end = at ? strstr(at, "</array>") : NULL;
    if (!end)
        return pv_error_set(err, EINVAL, "dmg image without block tables in its property list");
    *end = '\0';
    while ((at = strstr(at, "<data>"))) {
        char *data = at + strlen("<data>");
        char *stop = strstr(data, "</data>");
        if (!stop)
            return pv_error_set(err, EINVAL, "dmg image with a block table that does not end");
        const size_t size = decode_base64(data, (size_t)(stop - data));
        int ret = read_table(c, t, (const uint8_t *)data, size, err);
        if (ret < 0)
            return ret;
        at = stop;
    }
    return 0;
}

static int compare_pieces(const void *a, const void *b)
{
    const uint64_t x = ((const struct pv_foreign_piece *)a)->start;
    const uint64_t y = ((const struct pv_foreign_piece *)b)->start;
    return x < y ? -1 : x > y;
}

static int read_trailer(struct pv_foreign *f, struct trailer *t, struct pv_error **err)
{
    uint8_t d[TRAILER];
    const uint64_t size = f->files[0]->size;
    int ret =
        pv_foreign_load(f, 0, d, sizeof(d), size < TRAILER ? 0 : size - TRAILER, "trailer", err);
    if (ret < 0)
        return ret;
    if (memcmp(d, "koly", 4) != 0 || pv_be32(d + 4) != 4)
        return pv_error_set(err, EINVAL, "dmg trailer of version %u, want 4", pv_be32(d + 4));
    *t = (struct trailer){
        .data = pv_be64(d + 24),
        .xml = pv_be64(d + 216),
        .xml_size = pv_be64(d + 224),
        .sectors = pv_be64(d + 492),
    };
    if (pv_be32(d + 60) > 1)
        return pv_error_set(err, ENOTSUP, "dmg image in %u segments, want one", pv_be32(d + 60));
    if (t->xml_size > XML_MAX || t->sectors > SECTORS_MAX || t->data > SECTORS_MAX)
        return pv_error_set(err, EINVAL, "dmg disk of %llu sectors, with a list of %llu bytes",
                            (unsigned long long)t->sectors, (unsigned long long)t->xml_size);
    return 0;
}

static int fill(struct pv_foreign *f, const struct pv_block_source *source, struct pv_error **err)
{
    struct trailer t = {0};
    struct chunks c = {0};
    int ret = read_trailer(f, &t, err);
    if (ret < 0)
        return ret;
    f->base.size = t.sectors * SECTOR;
    PV_CLEANUP_FREE char *xml = NULL;
    if (t.xml_size <= f->files[0]->size)
        xml = calloc(1, (size_t)t.xml_size + 1);
    if (!xml)
        return pv_error_set(err, EINVAL, "dmg property list of %llu bytes",
                            (unsigned long long)t.xml_size);
    ret = pv_foreign_load(f, 0, xml, (size_t)t.xml_size, t.xml, "property list", err);
    if (ret == 0)
        ret = read_list(&c, &t, xml, err);
    if (ret == 0 && c.count)
        qsort(c.all, c.count, sizeof(*c.all), compare_pieces);
    for (size_t i = 0; i < c.count && ret == 0; i++) {
        /* Beyond the disk's end there may be what was rounded up. */
        if (c.all[i].start < f->base.size)
            ret = pv_foreign_add(f, &c.all[i], err);
    }
    free(c.all);
    return ret;
}

static const struct pv_block_image_ops dmg_ops = PV_FOREIGN_OPS("dmg");

/* By name as well: a guest may write what looks like a trailer at the end of a raw disk. */
static bool dmg_probe(const struct pv_block_head *head)
{
    const size_t len = strlen(head->path);
    return len > 4 && !strcasecmp(head->path + len - 4, ".dmg") && !memcmp(head->end, "koly", 4);
}

static int dmg_open(struct pv_block_image **out, const struct pv_block_source *source,
                    struct pv_error **err)
{
    return pv_foreign_open(out, &dmg_ops, source, fill, err);
}

const struct pv_block_format pv_block_dmg = {.name = "dmg", .probe = dmg_probe, .open = dmg_open};
