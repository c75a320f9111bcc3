/* SPDX-License-Identifier: MIT */
/*
 * VDI images (VirtualBox): a header in the first sector, a table with an entry for each block of
 * the disk, the blocks. Little-endian; offsets are those of "VDIHEADER1PLUS".
 */
#include "base/bytes.h"
#include "base/error.h"
#include "base/util.h"
#include "block/foreign/foreign.h"

#include <errno.h>

#define SIGNATURE_AT 0x40u
#define SIGNATURE    UINT32_C(0xbeda107f)
#define HEADER       512u
#define BLOCKS_MAX   (UINT32_C(1) << 24)
#define BLOCK_MAX    (UINT32_C(64) << 20)
/* Entries of the table from here on mean zeroes. */
#define UNUSED UINT32_C(0xfffffffe)

enum { DYNAMIC = 1, FIXED = 2 };

struct geometry {
    uint32_t table, data, block, blocks;
};

static int read_header(struct pv_foreign *f, struct geometry *g, struct pv_error **err)
{
    uint8_t h[HEADER];
    int ret = pv_foreign_load(f, 0, h, sizeof(h), 0, "header", err);
    if (ret < 0)
        return ret;
    const uint32_t version = pv_le32(h + 0x44), type = pv_le32(h + 0x4c);
    if (version >> 16 != 1)
        return pv_error_set(err, ENOTSUP, "VDI version %u.%u, want 1.1", version >> 16,
                            version & 0xffff);
    if (type != DYNAMIC && type != FIXED)
        return pv_error_set(err, ENOTSUP,
                            "VDI image of type %u; 1 (dynamic) and 2 (fixed) can be read, others "
                            "need another image",
                            type);
    *g = (struct geometry){
        .table = pv_le32(h + 0x154),
        .data = pv_le32(h + 0x158),
        .block = pv_le32(h + 0x178),
        .blocks = pv_le32(h + 0x180),
    };
    f->base.size = pv_le64(h + 0x170);
    if (!g->block || g->block % 512 || g->block > BLOCK_MAX || pv_le32(h + 0x17c))
        return pv_error_set(err, EINVAL, "VDI blocks of %u and %u bytes, want up to %u and 0",
                            g->block, pv_le32(h + 0x17c), BLOCK_MAX);
    if (g->blocks > BLOCKS_MAX || f->base.size > (uint64_t)g->blocks * g->block)
        return pv_error_set(err, EINVAL, "VDI disk of %llu bytes in %u blocks of %u",
                            (unsigned long long)f->base.size, g->blocks, g->block);
    return 0;
}

static int fill(struct pv_foreign *f, const struct pv_block_source *source, struct pv_error **err)
{
    struct geometry g;
    int ret = read_header(f, &g, err);
    if (ret < 0)
        return ret;
    PV_CLEANUP_FREE uint8_t *table = malloc((size_t)g.blocks * 4 + 1);
    if (!table)
        return pv_error_set(err, ENOMEM, "out of memory");
    ret = pv_foreign_load(f, 0, table, (size_t)g.blocks * 4, g.table, "block table", err);
    for (uint32_t i = 0; i < g.blocks && ret == 0; i++) {
        const uint32_t entry = pv_le32(table + (size_t)i * 4);
        const uint64_t start = (uint64_t)i * g.block;
        if (entry >= UNUSED || start >= f->base.size)
            continue;
        const struct pv_foreign_piece piece = {
            .start = start,
            .length = PV_MIN((uint64_t)g.block, f->base.size - start),
            .at = g.data + (uint64_t)entry * g.block,
            .kind = PV_FOREIGN_PLAIN,
        };
        ret = pv_foreign_add(f, &piece, err);
    }
    return ret;
}

static const struct pv_block_image_ops vdi_ops = PV_FOREIGN_OPS("vdi");

static bool vdi_probe(const struct pv_block_head *head)
{
    return head->size >= SIGNATURE_AT + 4 && pv_le32(head->start + SIGNATURE_AT) == SIGNATURE;
}

static int vdi_open(struct pv_block_image **out, const struct pv_block_source *source,
                    struct pv_error **err)
{
    return pv_foreign_open(out, &vdi_ops, source, fill, err);
}

const struct pv_block_format pv_block_vdi = {.name = "vdi", .probe = vdi_probe, .open = vdi_open};
