/* SPDX-License-Identifier: MIT */
/* From guest offsets to clusters of the file: the two levels of tables ("Cluster mapping"). */
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>

/* Runs stop at an L2 table's end, and are no longer than one request should be. */
#define RUN_MAX (UINT64_C(64) << 20)

uint32_t qcow2_bits(uint32_t first, uint32_t count)
{
    return (uint32_t)(((UINT64_C(1) << count) - 1) << first);
}

/* ---- L2 tables ---- */

static unsigned index_l1(const struct qcow2 *q, uint64_t cluster)
{
    return (unsigned)(cluster >> q->l2_bits);
}

static unsigned index_l2(const struct qcow2 *q, uint64_t cluster)
{
    return (unsigned)(cluster & ((UINT64_C(1) << q->l2_bits) - 1));
}

/* NULL in *table where there is none. */
static int find_table(struct qcow2 *q, uint64_t cluster, void **table)
{
    *table = NULL;
    const unsigned i = index_l1(q, cluster);
    if (i >= q->header.l1_size)
        return -EIO;
    const uint64_t offset = q->l1[i] & QCOW2_OFFSET_MASK;
    if (!offset)
        return 0;
    if (offset & (q->cluster_size - 1))
        return qcow2_corrupt(q, "L1 entry %u points to 0x%llx, not a cluster", i,
                             (unsigned long long)offset);
    return qcow2_cache_get(&q->l2_cache, offset, false, table);
}

bool qcow2_map_ready(const struct qcow2 *q, uint64_t offset)
{
    const unsigned i = index_l1(q, offset >> q->cluster_bits);
    const uint64_t table = i < q->header.l1_size ? q->l1[i] & QCOW2_OFFSET_MASK : 0;

    return table && qcow2_cache_has(&q->l2_cache, table);
}

static struct qcow2_entry load_entry(const struct qcow2 *q, const void *table, unsigned index)
{
    const uint64_t *words = (const uint64_t *)table + (size_t)index * (q->entry_size / 8);
    return (struct qcow2_entry){
        .word = be64toh(words[0]),
        .bitmap = q->subclusters > 1 ? be64toh(words[1]) : 0,
    };
}

int qcow2_entry_get(struct qcow2 *q, uint64_t cluster, struct qcow2_entry *entry)
{
    void *table;
    int ret = find_table(q, cluster, &table);
    if (ret < 0)
        return ret;
    *entry = table ? load_entry(q, table, index_l2(q, cluster)) : (struct qcow2_entry){0};
    return 0;
}

/* A table of our own for this part of the disk: a new one, or a copy of one that is shared. */
static int own_table(struct qcow2 *q, unsigned i, void **table)
{
    const uint64_t old = q->l1[i] & QCOW2_OFFSET_MASK;
    if (old && (q->l1[i] & QCOW2_COPIED))
        return qcow2_cache_get(&q->l2_cache, old, false, table);
    PV_CLEANUP_FREE void *copy = NULL;
    int ret;
    if (old) {
        copy = malloc(q->cluster_size);
        if (!copy)
            return -ENOMEM;
        ret = qcow2_cache_get(&q->l2_cache, old, false, table);
        if (ret < 0)
            return ret;
        memcpy(copy, *table, q->cluster_size);
    }
    uint64_t first, count;
    ret = qcow2_allocate(q, 1, &first, &count);
    if (ret < 0)
        return ret;
    ret = qcow2_cache_get(&q->l2_cache, first << q->cluster_bits, true, table);
    if (ret == 0 && old)
        ret = qcow2_free_later(q, old >> q->cluster_bits);
    if (ret < 0) {
        qcow2_refcount_change(q, first, -1);
        return ret;
    }
    if (copy)
        memcpy(*table, copy, q->cluster_size);
    qcow2_cache_dirty(&q->l2_cache, *table);
    q->l1[i] = first << q->cluster_bits | QCOW2_COPIED;
    q->l1_dirty = true;
    return 0;
}

int qcow2_entry_set(struct qcow2 *q, uint64_t cluster, struct qcow2_entry entry)
{
    void *table;
    int ret = own_table(q, index_l1(q, cluster), &table);
    if (ret < 0)
        return ret;
    uint64_t *words = (uint64_t *)table + (size_t)index_l2(q, cluster) * (q->entry_size / 8);
    words[0] = htobe64(entry.word);
    if (q->subclusters > 1)
        words[1] = htobe64(entry.bitmap);
    qcow2_cache_dirty(&q->l2_cache, table);
    return 0;
}

void qcow2_packed_place(const struct qcow2 *q, uint64_t word, uint64_t *host, uint32_t *bytes)
{
    const unsigned split = 62 - (q->cluster_bits - 8);
    *host = pv_bits(word, 0, split);
    const uint64_t sectors = pv_bits(word, split, 62 - split) + 1;
    *bytes = (uint32_t)(sectors * 512 - (*host & 511));
}

/* ---- Runs ---- */

/* What subcluster `sub` of an entry is. */
static enum qcow2_kind kind_of(const struct qcow2 *q, struct qcow2_entry entry, unsigned sub)
{
    if (entry.word & QCOW2_COMPRESSED)
        return QCOW2_PACKED;
    const bool stored = entry.word & QCOW2_OFFSET_MASK;
    if (q->subclusters > 1) {
        if (entry.bitmap >> (32 + sub) & 1)
            return QCOW2_ZEROES;
        return (stored || q->data != q->file) && (entry.bitmap >> sub & 1) ? QCOW2_DATA
                                                                           : QCOW2_ABSENT;
    }
    if (q->header.version >= 3 && (entry.word & QCOW2_ZERO))
        return QCOW2_ZEROES;
    /* In an external data file, cluster 0 may be at 0: the copied bit says that it is there. */
    if (q->data != q->file && (entry.word & QCOW2_COPIED))
        return QCOW2_DATA;
    return stored ? QCOW2_DATA : QCOW2_ABSENT;
}

static int check_entry(struct qcow2 *q, uint64_t cluster, struct qcow2_entry entry)
{
    const uint64_t host = entry.word & QCOW2_OFFSET_MASK;
    if (entry.word & QCOW2_COMPRESSED) {
        if (q->data != q->file || (entry.word & QCOW2_COPIED))
            return qcow2_corrupt(q, "a compressed cluster at guest cluster %llu cannot be",
                                 (unsigned long long)cluster);
        return 0;
    }
    if (host & (q->cluster_size - 1))
        return qcow2_corrupt(q, "guest cluster %llu points to 0x%llx, not a cluster",
                             (unsigned long long)cluster, (unsigned long long)host);
    if (q->subclusters > 1 && (entry.bitmap & entry.bitmap >> 32 & UINT32_MAX))
        return qcow2_corrupt(q, "guest cluster %llu has subclusters both allocated and zero",
                             (unsigned long long)cluster);
    return 0;
}

/* The subclusters from `sub` on that are of one kind. */
static unsigned same_subclusters(const struct qcow2 *q, struct qcow2_entry entry, unsigned sub)
{
    const enum qcow2_kind kind = kind_of(q, entry, sub);
    unsigned end = sub + 1;
    while (end < q->subclusters && kind_of(q, entry, end) == kind)
        end++;
    return end - sub;
}

int qcow2_map(struct qcow2 *q, uint64_t offset, uint64_t length, struct qcow2_run *run)
{
    const uint32_t sub_size = q->cluster_size / q->subclusters;
    uint64_t cluster = offset >> q->cluster_bits;
    uint32_t inside = (uint32_t)(offset & (q->cluster_size - 1));
    void *table;
    int ret = find_table(q, cluster, &table);
    if (ret < 0)
        return ret;
    length = PV_MIN(length, RUN_MAX);
    const uint64_t table_end = ((cluster >> q->l2_bits) + 1) << (q->l2_bits + q->cluster_bits);
    length = PV_MIN(length, table_end - offset);
    if (!table) {
        *run = (struct qcow2_run){.kind = QCOW2_ABSENT, .length = length};
        return 0;
    }
    struct qcow2_entry entry = load_entry(q, table, index_l2(q, cluster));
    ret = check_entry(q, cluster, entry);
    if (ret < 0)
        return ret;
    unsigned sub = inside / sub_size;
    *run = (struct qcow2_run){.kind = kind_of(q, entry, sub)};
    if (run->kind == QCOW2_PACKED) {
        qcow2_packed_place(q, entry.word, &run->host, &run->packed);
        run->length = PV_MIN(length, (uint64_t)(q->cluster_size - inside));
        return 0;
    }
    const bool copied = entry.word & QCOW2_COPIED;
    uint64_t host = (entry.word & QCOW2_OFFSET_MASK) + inside;
    run->host = host;
    run->writable = copied && run->kind == QCOW2_DATA;
    for (;;) {
        const uint32_t end = (sub + same_subclusters(q, entry, sub)) * sub_size;
        run->length += end - inside;
        if (end < q->cluster_size || run->length >= length)
            break;
        /* The next cluster goes on with the run if it is of the kind and lies behind. */
        host += end - inside;
        inside = 0;
        sub = 0;
        entry = load_entry(q, table, index_l2(q, ++cluster));
        if (kind_of(q, entry, 0) != run->kind || check_entry(q, cluster, entry) < 0)
            break;
        if (run->kind == QCOW2_DATA &&
            ((entry.word & QCOW2_OFFSET_MASK) != host || !(entry.word & QCOW2_COPIED) != !copied))
            break;
    }
    run->length = PV_MIN(run->length, length);
    return 0;
}
