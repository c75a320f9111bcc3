/* SPDX-License-Identifier: MIT */
/* An empty image: header, refcount table, refcount blocks, L1 table, one behind the other. */
#include "base/error.h"
#include "block/disk.h"
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>

#define HEADER_LENGTH        112u
#define DEFAULT_CLUSTER      65536u
#define DEFAULT_REFCOUNT     16u
#define EXTENSION_BACKING    UINT32_C(0xe2792aca)
#define BACKING_LENGTH_MAX   1023u
#define EXTENDED_CLUSTER_MIN 16384u

static bool power_of_two(uint64_t value)
{
    return value && !(value & (value - 1));
}

static int check_options(const struct pv_disk_options *o, uint32_t cluster, unsigned refcount_bits,
                         struct pv_error **err)
{
    if (!power_of_two(cluster) || cluster < 512 || cluster > 2097152)
        return pv_error_set(err, EINVAL, "cluster size %u, want a power of two from 512 to 2097152",
                            cluster);
    if (!power_of_two(refcount_bits) || refcount_bits > 64)
        return pv_error_set(err, EINVAL, "refcounts of %u bits, want 1, 2, 4, 8, 16, 32 or 64",
                            refcount_bits);
    if (o->extended_l2 && cluster < EXTENDED_CLUSTER_MIN)
        return pv_error_set(err, EINVAL, "subclusters want clusters of %u bytes or more",
                            EXTENDED_CLUSTER_MIN);
    if (o->backing && strlen(o->backing) > BACKING_LENGTH_MAX)
        return pv_error_set(err, ENAMETOOLONG, "backing image's name of %zu bytes, at most %u",
                            strlen(o->backing), BACKING_LENGTH_MAX);
    return 0;
}

/* How many clusters each part takes. */
struct layout {
    uint64_t table, blocks, l1, total;
    uint64_t l1_entries;
};

static int lay_out(struct layout *l, const struct pv_disk_options *o, uint32_t cluster,
                   unsigned refcount_bits, struct pv_error **err)
{
    const uint64_t entries = cluster / (o->extended_l2 ? 16 : 8); /* of an L2 table */
    const uint64_t covered = entries * cluster;
    l->l1_entries = o->size / covered + !!(o->size % covered);
    if (o->size >> 56 || l->l1_entries * 8 > QCOW2_L1_BYTES_MAX)
        return pv_error_set(err, EFBIG, "a disk of %llu bytes wants larger clusters than %u",
                            (unsigned long long)o->size, cluster);
    l->l1 = PV_MAX((l->l1_entries * 8 + cluster - 1) / cluster, UINT64_C(1));
    const uint64_t counted = (uint64_t)cluster * 8 / refcount_bits;
    l->table = l->blocks = 1;
    for (;;) {
        l->total = 1 + l->table + l->blocks + l->l1;
        const uint64_t blocks = (l->total + counted - 1) / counted;
        const uint64_t table = (blocks * 8 + cluster - 1) / cluster;
        if (blocks <= l->blocks && table <= l->table)
            return 0;
        l->blocks = PV_MAX(l->blocks, blocks);
        l->table = PV_MAX(l->table, table);
    }
}

static void put32(uint8_t *at, uint32_t value)
{
    value = htobe32(value);
    memcpy(at, &value, 4);
}

static void put64(uint8_t *at, uint64_t value)
{
    value = htobe64(value);
    memcpy(at, &value, 8);
}

/* Offsets are the specification's. */
static void put_header(uint8_t *head, const struct pv_disk_options *o, const struct layout *l,
                       uint32_t cluster, unsigned refcount_bits)
{
    put32(head, QCOW2_MAGIC);
    put32(head + 4, 3);
    put32(head + 20, (uint32_t)__builtin_ctz(cluster));
    put64(head + 24, o->size);
    put32(head + 36, (uint32_t)l->l1_entries);
    put64(head + 40, (1 + l->table + l->blocks) * cluster);
    put64(head + 48, cluster);
    put32(head + 56, (uint32_t)l->table);
    put64(head + 72, (o->zstd ? QCOW2_INCOMPATIBLE_COMPRESSION : 0) |
                         (o->extended_l2 ? QCOW2_INCOMPATIBLE_EXTENDED_L2 : 0));
    put64(head + 80, o->lazy_refcounts ? QCOW2_COMPATIBLE_LAZY : 0);
    put32(head + 96, (uint32_t)__builtin_ctz(refcount_bits));
    put32(head + 100, HEADER_LENGTH);
    head[104] = o->zstd ? QCOW2_ZSTD : QCOW2_ZLIB;
    if (!o->backing)
        return;
    uint8_t *at = head + HEADER_LENGTH;
    if (o->backing_format) {
        const uint32_t len = (uint32_t)strlen(o->backing_format);
        put32(at, EXTENSION_BACKING);
        put32(at + 4, len);
        memcpy(at + 8, o->backing_format, len);
        at += 8 + pv_align_up(len, 8);
    }
    at += 8; /* the end of the extensions: zeroes */
    put64(head + 8, (uint64_t)(at - head));
    put32(head + 16, (uint32_t)strlen(o->backing));
    memcpy(at, o->backing, strlen(o->backing));
}

/* The first `total` clusters are in use, once each. */
static void put_refcounts(uint8_t *blocks, uint64_t total, unsigned refcount_bits)
{
    for (uint64_t i = 0; i < total; i++) {
        if (refcount_bits < 8)
            blocks[i * refcount_bits / 8] |= (uint8_t)(1u << (i * refcount_bits % 8));
        else
            blocks[(i + 1) * (refcount_bits / 8) - 1] = 1;
    }
}

int qcow2_format(struct pv_block_image *file, const struct pv_disk_options *o,
                 struct pv_error **err)
{
    const uint32_t cluster = o->cluster_size ? o->cluster_size : DEFAULT_CLUSTER;
    const unsigned refcount_bits = o->refcount_bits ? o->refcount_bits : DEFAULT_REFCOUNT;
    struct layout l = {0};
    int ret = check_options(o, cluster, refcount_bits, err);
    if (ret == 0)
        ret = lay_out(&l, o, cluster, refcount_bits, err);
    if (ret < 0)
        return ret;
    const size_t names = HEADER_LENGTH + 32 + (o->backing ? strlen(o->backing) : 0) +
                         (o->backing_format ? strlen(o->backing_format) : 0);
    if (names > cluster)
        return pv_error_set(err, ENAMETOOLONG,
                            "the backing image's name does not fit into a cluster of %u bytes",
                            cluster);
    const size_t bytes = (size_t)l.total * cluster;
    PV_CLEANUP_FREE uint8_t *all = calloc(1, bytes);
    if (!all)
        return pv_error_set(err, ENOMEM, "out of memory");
    put_header(all, o, &l, cluster, refcount_bits);
    for (uint64_t i = 0; i < l.blocks; i++)
        put64(all + cluster + 8 * i, (1 + l.table + i) * cluster);
    put_refcounts(all + (1 + l.table) * cluster, l.total, refcount_bits);
    ret = pv_block_image_write(file, all, bytes, 0);
    return ret < 0 ? pv_error_errno(err, -ret, "writing it") : 0;
}
