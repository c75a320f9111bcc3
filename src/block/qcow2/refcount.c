/* SPDX-License-Identifier: MIT */
/*
 * Which clusters of the file are in use, and by how many ("Host cluster management"). A new
 * refcount block is put into the first cluster of the range that it counts, so that it counts
 * itself; so is a refcount table that has outgrown its place, behind the blocks of its own range.
 */
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>

/* Offset and size of the table in the header. */
#define HEADER_REFCOUNT_TABLE 48u

/* ---- Refcounts of a block: 1 to 64 bits each, big-endian; below a byte, from its low bits up ----
 */

uint64_t qcow2_refcount_at(const struct qcow2 *q, const void *block, uint32_t i)
{
    const uint8_t *bytes = block;
    switch (q->refcount_bits) {
    case 8: return bytes[i];
    case 16: return be16toh(((const uint16_t *)block)[i]);
    case 32: return be32toh(((const uint32_t *)block)[i]);
    case 64: return be64toh(((const uint64_t *)block)[i]);
    default: {
        const unsigned per_byte = 8 / q->refcount_bits;
        return pv_bits(bytes[i / per_byte], i % per_byte * q->refcount_bits, q->refcount_bits);
    }
    }
}

void qcow2_refcount_put(const struct qcow2 *q, void *block, uint32_t i, uint64_t value)
{
    uint8_t *bytes = block;
    switch (q->refcount_bits) {
    case 8: bytes[i] = (uint8_t)value; break;
    case 16: ((uint16_t *)block)[i] = htobe16((uint16_t)value); break;
    case 32: ((uint32_t *)block)[i] = htobe32((uint32_t)value); break;
    case 64: ((uint64_t *)block)[i] = htobe64(value); break;
    default: {
        const unsigned per_byte = 8 / q->refcount_bits;
        const unsigned shift = i % per_byte * q->refcount_bits;
        const uint8_t mask = (uint8_t)(q->refcount_max << shift);
        bytes[i / per_byte] = (uint8_t)((bytes[i / per_byte] & ~mask) | value << shift);
    }
    }
}

int qcow2_refcount_block(struct qcow2 *q, uint64_t index, void **block)
{
    *block = NULL;
    if (index >= q->refcount_table_size || !q->refcount_table[index])
        return 0;
    const uint64_t offset = q->refcount_table[index];
    if (offset & (q->cluster_size - 1))
        return qcow2_corrupt(q, "refcount block %llu at 0x%llx, not a cluster",
                             (unsigned long long)index, (unsigned long long)offset);
    return qcow2_cache_get(&q->refcount_cache, offset, false, block);
}

int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *refcount)
{
    void *block;
    int ret = qcow2_refcount_block(q, cluster / q->block_refcounts, &block);
    *refcount = block ? qcow2_refcount_at(q, block, (uint32_t)(cluster % q->block_refcounts)) : 0;
    return ret;
}

int qcow2_refcount_change(struct qcow2 *q, uint64_t cluster, int delta)
{
    void *block;
    int ret = qcow2_refcount_block(q, cluster / q->block_refcounts, &block);
    if (ret < 0)
        return ret;
    const uint32_t i = (uint32_t)(cluster % q->block_refcounts);
    const uint64_t refcount = block ? qcow2_refcount_at(q, block, i) : 0;
    if (!block || (delta < 0 && !refcount))
        return qcow2_corrupt(q, "cluster %llu is used, but its refcount is 0",
                             (unsigned long long)cluster);
    if (delta > 0 && refcount == q->refcount_max)
        return -ERANGE;
    qcow2_refcount_put(q, block, i, delta > 0 ? refcount + 1 : refcount - 1);
    qcow2_cache_dirty(&q->refcount_cache, block);
    if (delta < 0 && refcount == 1)
        q->free_hint = PV_MIN(q->free_hint, cluster);
    return 0;
}

/* ---- Growth ---- */

static int fresh_block(struct qcow2 *q, uint64_t index, uint64_t at, uint32_t used)
{
    void *block = NULL;
    int ret = qcow2_cache_get(&q->refcount_cache, at << q->cluster_bits, true, &block);
    if (!block)
        return ret < 0 ? ret : -EIO;
    for (uint32_t i = 0; i < used; i++)
        qcow2_refcount_put(q, block, i, 1);
    qcow2_cache_dirty(&q->refcount_cache, block);
    q->refcount_table[index] = at << q->cluster_bits;
    q->refcount_table_dirty = true;
    return 0;
}

int qcow2_refcount_table_switch(struct qcow2 *q, uint64_t offset, uint32_t clusters)
{
    struct __attribute__((packed)) {
        uint64_t offset;
        uint32_t clusters;
    } place = {htobe64(offset), htobe32(clusters)};
    int ret = q->file->ops->flush(q->file);
    if (ret == 0)
        ret = pv_block_image_write(q->file, &place, sizeof(place), HEADER_REFCOUNT_TABLE);
    if (ret == 0)
        ret = q->file->ops->flush(q->file);
    return ret;
}

static int write_table(struct qcow2 *q, uint64_t offset)
{
    return qcow2_table_write(q, q->refcount_table, offset, q->refcount_table_size);
}

int qcow2_refcount_table_write(struct qcow2 *q)
{
    if (!q->refcount_table_dirty)
        return 0;
    int ret = write_table(q, q->header.refcount_table_offset);
    q->refcount_table_dirty = ret < 0;
    return ret;
}

/* Half as large again, right away on disk: the header must never name a table that is not there. */
static int grow_table(struct qcow2 *q)
{
    const uint32_t old_clusters = q->header.refcount_table_clusters;
    const uint32_t clusters = old_clusters + old_clusters / 2 + 1;
    if ((uint64_t)clusters << q->cluster_bits > QCOW2_REFTABLE_BYTES_MAX)
        return -EFBIG;
    const uint32_t index = q->refcount_table_size;
    const uint64_t first = (uint64_t)index * q->block_refcounts;
    /* Blocks that count themselves and the table behind them; a block counts 64 or more. */
    const uint32_t others = PV_MAX(q->block_refcounts, 2u) - 1;
    const uint32_t blocks = (clusters + others - 1) / others;
    const uint32_t size = clusters << (q->cluster_bits - 3);
    if (index + blocks > size)
        return -EFBIG;
    uint64_t *table = realloc(q->refcount_table, (size_t)size * 8);
    if (!table)
        return -ENOMEM;
    memset(table + index, 0, (size_t)(size - index) * 8);
    q->refcount_table = table;
    q->refcount_table_size = size;

    uint32_t used = blocks + clusters;
    int ret = 0;
    for (uint32_t i = 0; i < blocks && ret == 0; i++) {
        const uint32_t n = PV_MIN(used, q->block_refcounts);
        ret = fresh_block(q, index + i, first + i, n);
        used -= n;
    }
    const uint64_t offset = (first + blocks) << q->cluster_bits;
    if (ret == 0)
        ret = qcow2_cache_write(&q->refcount_cache);
    if (ret == 0)
        ret = write_table(q, offset);
    if (ret == 0)
        ret = qcow2_refcount_table_switch(q, offset, clusters);
    if (ret < 0) {
        q->refcount_table_size = index; /* the old one is still good */
        return ret;
    }
    const uint64_t old = q->header.refcount_table_offset >> q->cluster_bits;
    q->header.refcount_table_offset = offset;
    q->header.refcount_table_clusters = clusters;
    q->refcount_table_dirty = false;
    for (uint32_t i = 0; i < old_clusters && ret == 0; i++)
        ret = qcow2_free_later(q, old + i);
    return ret;
}

/* ---- Allocation ---- */

/* The block for `index`, made if need be. */
static int make_block(struct qcow2 *q, uint64_t index, void **block)
{
    int ret = qcow2_refcount_block(q, index, block);
    while (ret == 0 && !*block) {
        if (!index)
            ret = qcow2_corrupt(q, "no refcount block counts the header");
        else if (index >= q->refcount_table_size)
            ret = grow_table(q);
        else
            ret = fresh_block(q, index, index * q->block_refcounts, 1);
        if (ret == 0)
            ret = qcow2_refcount_block(q, index, block);
    }
    return ret;
}

/* From *i on, where the first free cluster is and where the row of free ones ends. */
static uint32_t find_free(const struct qcow2 *q, const void *block, uint32_t *i, uint64_t most)
{
    while (*i < q->block_refcounts && qcow2_refcount_at(q, block, *i))
        ++*i;
    uint32_t end = *i;
    while (end < q->block_refcounts && end - *i < most && !qcow2_refcount_at(q, block, end))
        end++;
    return end;
}

/* From `least` to `most` clusters in a row; a row lies in one block's range. */
static int allocate(struct qcow2 *q, uint64_t least, uint64_t most, uint64_t *first,
                    uint64_t *count)
{
    for (uint64_t index = q->free_hint / q->block_refcounts;; index++) {
        void *block;
        int ret = make_block(q, index, &block);
        if (!block)
            return ret < 0 ? ret : -EIO;
        const uint64_t base = index * q->block_refcounts;
        uint32_t i = q->free_hint > base ? (uint32_t)(q->free_hint - base) : 0;
        uint32_t end = find_free(q, block, &i, most);
        while (end - i < least && end < q->block_refcounts) {
            i = end;
            end = find_free(q, block, &i, most);
        }
        if (end - i < least)
            continue;
        for (uint32_t j = i; j < end; j++)
            qcow2_refcount_put(q, block, j, 1);
        qcow2_cache_dirty(&q->refcount_cache, block);
        *first = base + i;
        *count = end - i;
        if (least == 1) /* else shorter rows were passed over */
            q->free_hint = base + end;
        return 0;
    }
}

int qcow2_allocate(struct qcow2 *q, uint64_t most, uint64_t *first, uint64_t *count)
{
    return allocate(q, 1, most, first, count);
}

int qcow2_allocate_row(struct qcow2 *q, uint64_t count, uint64_t *first)
{
    /* A range's first cluster may be the block that counts it. */
    if (count >= q->block_refcounts)
        return -EFBIG;
    return allocate(q, count, count, first, &count);
}

/* ---- Freeing ---- */

int qcow2_free_later(struct qcow2 *q, uint64_t cluster)
{
    if (q->freed_count == q->freed_room) {
        const size_t room = q->freed_room ? q->freed_room * 2 : 64;
        uint64_t *freed = realloc(q->freed, room * sizeof(*freed));
        if (!freed)
            return -ENOMEM;
        q->freed = freed;
        q->freed_room = room;
    }
    q->freed[q->freed_count++] = cluster;
    return 0;
}

static int compare_clusters(const void *a, const void *b)
{
    const uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

int qcow2_free_now(struct qcow2 *q, uint64_t *clusters, size_t count)
{
    int ret = 0;
    uint64_t hole = 0, hole_clusters = 0;
    qsort(clusters, count, sizeof(*clusters), compare_clusters);
    for (size_t i = 0; i < count && ret == 0; i++) {
        const uint64_t cluster = clusters[i];
        uint64_t refcount = 0;
        ret = qcow2_refcount_change(q, cluster, -1);
        if (ret == 0)
            ret = qcow2_refcount_get(q, cluster, &refcount);
        if (ret < 0 || refcount)
            continue;
        qcow2_cache_forget(&q->l2_cache, cluster << q->cluster_bits);
        if (hole_clusters && hole + hole_clusters == cluster) {
            hole_clusters++;
            continue;
        }
        if (hole_clusters)
            q->file->ops->discard(q->file, hole << q->cluster_bits,
                                  hole_clusters << q->cluster_bits);
        hole = cluster;
        hole_clusters = 1;
    }
    if (hole_clusters)
        q->file->ops->discard(q->file, hole << q->cluster_bits, hole_clusters << q->cluster_bits);
    return ret;
}
