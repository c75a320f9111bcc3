/* SPDX-License-Identifier: MIT */
/*
 * Counting every reference to every cluster of the file, and comparing with the refcounts. Repair
 * does not patch the refcounts that are there: it writes new ones behind the end of the file, and
 * lets the header name those. So a crash in the middle leaves the image as it was.
 */
#include "base/checked.h"
#include "base/error.h"
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>

/* Compressed clusters and the last table may reach a little beyond the end of the file. */
#define SLACK 8192u
/* Counters are kept in memory, four bytes each. */
#define CLUSTERS_MAX (UINT64_C(1) << 28)

struct count {
    struct qcow2 *q;
    uint32_t *refs;
    uint64_t clusters; /* counters there are */
    uint64_t end;      /* one behind the last cluster in use */
    struct qcow2_check *result;
};

static void refer(struct count *c, uint64_t offset, uint64_t bytes)
{
    if (!bytes)
        return;
    const unsigned bits = c->q->cluster_bits;
    uint64_t last;
    if (!pv_add_ok(offset, bytes - 1, &last) || last >> bits >= c->clusters) {
        c->result->errors++;
        return;
    }
    for (uint64_t i = offset >> bits; i <= last >> bits; i++)
        if (c->refs[i] < UINT32_MAX)
            c->refs[i]++;
    c->end = PV_MAX(c->end, (last >> bits) + 1);
}

/* ---- What refers to clusters ---- */

static void count_entry(struct count *c, const uint64_t *words, bool active)
{
    struct qcow2 *q = c->q;
    const uint64_t word = be64toh(words[0]);
    if (word & QCOW2_COMPRESSED) {
        uint64_t host;
        uint32_t bytes;
        qcow2_packed_place(q, word, &host, &bytes);
        refer(c, host, bytes);
        c->result->packed += active;
        c->result->allocated += active;
        return;
    }
    const uint64_t host = word & QCOW2_OFFSET_MASK;
    if (!host && q->data == q->file)
        return;
    if (host & (q->cluster_size - 1)) {
        c->result->errors++;
        return;
    }
    if (q->data == q->file)
        refer(c, host, q->cluster_size);
    else if (!(word & QCOW2_COPIED))
        return;
    c->result->allocated += active && (q->subclusters > 1 || !(word & QCOW2_ZERO));
}

/* A table of L1 entries, in host byte order: the image's own, or a snapshot's. */
static int count_l1(struct count *c, const uint64_t *l1, uint32_t size, bool active, void *table)
{
    struct qcow2 *q = c->q;
    const size_t step = q->entry_size / 8;
    for (uint32_t i = 0; i < size; i++) {
        const uint64_t offset = l1[i] & QCOW2_OFFSET_MASK;
        if (!offset)
            continue;
        refer(c, offset, q->cluster_size);
        if ((offset & (q->cluster_size - 1)) || offset >> q->cluster_bits >= c->clusters) {
            c->result->errors++;
            continue;
        }
        int ret = pv_block_image_read(q->file, table, q->cluster_size, offset);
        if (ret < 0)
            return ret;
        for (size_t j = 0; j < q->cluster_size / q->entry_size; j++)
            count_entry(c, (const uint64_t *)table + j * step, active);
    }
    return 0;
}

static int count_snapshot(struct count *c, const struct qcow2_snapshot *s, void *l2)
{
    struct qcow2 *q = c->q;
    if ((s->l1_offset & (q->cluster_size - 1)) || (uint64_t)s->l1_size * 8 > QCOW2_L1_BYTES_MAX) {
        c->result->errors++;
        return 0;
    }
    refer(c, s->l1_offset, (uint64_t)s->l1_size * 8);
    PV_CLEANUP_FREE uint64_t *l1 = NULL;
    int ret = qcow2_table_load(q, &l1, s->l1_offset, s->l1_size);
    return ret < 0 ? ret : count_l1(c, l1, s->l1_size, false, l2);
}

static int count_snapshots(struct count *c, void *l2)
{
    struct qcow2 *q = c->q;
    struct qcow2_snapshots list;
    int ret = qcow2_snapshots_load(q, &list);
    if (ret == -EIO) {
        c->result->errors++;
        ret = 0;
    }
    for (uint32_t i = 0; i < list.count && ret == 0; i++)
        ret = count_snapshot(c, &list.all[i], l2);
    refer(c, q->header.snapshots_offset, list.bytes);
    qcow2_snapshots_finish(&list);
    return ret;
}

/* "Bitmaps": a directory, each entry naming a table of clusters. */
struct __attribute__((packed)) disk_bitmap {
    uint64_t table_offset;
    uint32_t table_size;
    uint32_t flags;
    uint8_t type, granularity_bits;
    uint16_t name_size;
    uint32_t extra_size;
};

static int count_bitmaps(struct count *c)
{
    struct qcow2 *q = c->q;
    const struct qcow2_header *h = &q->header;
    if (!h->bitmap_count)
        return 0;
    const uint64_t start = h->bitmap_directory_offset;
    refer(c, start, h->bitmap_directory_size);
    uint64_t at = start;
    for (uint32_t i = 0; i < h->bitmap_count && at - start < h->bitmap_directory_size; i++) {
        struct disk_bitmap b;
        int ret = pv_block_image_read(q->file, &b, sizeof(b), at);
        if (ret < 0)
            return ret;
        at = pv_align_up(at + sizeof(b) + be32toh(b.extra_size) + be16toh(b.name_size), 8);
        const uint64_t offset = be64toh(b.table_offset);
        const uint32_t size = be32toh(b.table_size);
        if ((uint64_t)size * 8 > QCOW2_L1_BYTES_MAX) {
            c->result->errors++;
            continue;
        }
        refer(c, offset, (uint64_t)size * 8);
        PV_CLEANUP_FREE uint64_t *table = NULL;
        ret = qcow2_table_load(q, &table, offset, size);
        if (ret < 0)
            return ret;
        for (uint32_t j = 0; j < size; j++)
            if (table[j] & QCOW2_OFFSET_MASK)
                refer(c, table[j] & QCOW2_OFFSET_MASK, q->cluster_size);
    }
    return 0;
}

static int count_all(struct count *c)
{
    struct qcow2 *q = c->q;
    PV_CLEANUP_FREE void *l2 = malloc(q->cluster_size);
    if (!l2)
        return -ENOMEM;
    refer(c, 0, 1);
    refer(c, q->header.l1_offset, (uint64_t)q->header.l1_size * 8);
    int ret = count_l1(c, q->l1, q->header.l1_size, true, l2);
    if (ret == 0)
        ret = count_snapshots(c, l2);
    if (ret == 0)
        ret = count_bitmaps(c);
    return ret;
}

/* ---- Comparing ---- */

static void count_refcounts(struct count *c)
{
    struct qcow2 *q = c->q;
    refer(c, q->header.refcount_table_offset,
          (uint64_t)q->header.refcount_table_clusters << q->cluster_bits);
    for (uint32_t i = 0; i < q->refcount_table_size; i++)
        if (q->refcount_table[i])
            refer(c, q->refcount_table[i], q->cluster_size);
}

static int compare_block(struct count *c, uint64_t index)
{
    struct qcow2 *q = c->q;
    void *block;
    int ret = qcow2_refcount_block(q, index, &block);
    if (ret < 0)
        return ret;
    for (uint32_t i = 0; i < q->block_refcounts; i++) {
        const uint64_t cluster = index * q->block_refcounts + i;
        const uint64_t refs = cluster < c->clusters ? c->refs[cluster] : 0;
        const uint64_t refcount = block ? qcow2_refcount_at(q, block, i) : 0;
        c->result->clusters += refs > 0;
        c->result->leaks += refcount > refs;
        c->result->errors += refcount < refs;
    }
    return 0;
}

static int compare(struct count *c)
{
    struct qcow2 *q = c->q;
    const uint64_t blocks = (c->end + q->block_refcounts - 1) / q->block_refcounts;
    for (uint64_t i = 0; i < PV_MAX(blocks, (uint64_t)q->refcount_table_size); i++) {
        const uint64_t offset = i < q->refcount_table_size ? q->refcount_table[i] : 0;
        if (!offset && i >= blocks)
            continue;
        /* No two entries share a block: that bounds the work by the file's size. */
        if (offset &&
            ((offset & (q->cluster_size - 1)) || offset >> q->cluster_bits >= c->clusters ||
             c->refs[offset >> q->cluster_bits] != 1)) {
            c->result->errors++;
            continue;
        }
        int ret = compare_block(c, i);
        if (ret < 0)
            return ret;
    }
    return 0;
}

/* ---- Repair ---- */

/* Writes blocks for all clusters behind the end, then the table, and switches over. */
static int rebuild(struct count *c)
{
    struct qcow2 *q = c->q;
    const uint64_t base = PV_MAX(c->end, qcow2_clusters(q, q->file->size));
    uint64_t blocks = 1, table = 1, total;
    /* They count themselves too. */
    for (;;) {
        total = base + blocks + table;
        const uint64_t b = (total + q->block_refcounts - 1) / q->block_refcounts;
        const uint64_t t = qcow2_clusters(q, b * 8);
        if (b <= blocks && t <= table)
            break;
        blocks = PV_MAX(b, blocks);
        table = PV_MAX(t, table);
    }
    const size_t table_bytes = (size_t)table << q->cluster_bits;
    if (table_bytes > QCOW2_REFTABLE_BYTES_MAX)
        return -EFBIG;
    PV_CLEANUP_FREE uint8_t *block = malloc(q->cluster_size);
    uint64_t *entries = calloc(1, table_bytes);
    PV_CLEANUP_FREE uint64_t *disk = calloc(1, table_bytes);
    if (!block || !entries || !disk) {
        free(entries);
        return -ENOMEM;
    }
    int ret = 0;
    for (uint64_t i = 0; i < blocks && ret == 0; i++) {
        memset(block, 0, q->cluster_size);
        for (uint32_t j = 0; j < q->block_refcounts; j++) {
            const uint64_t cluster = i * q->block_refcounts + j;
            const uint64_t refs = cluster < c->end                     ? c->refs[cluster]
                                  : cluster >= base && cluster < total ? 1
                                                                       : 0;
            if (refs > q->refcount_max)
                ret = -ERANGE;
            qcow2_refcount_put(q, block, j, refs);
        }
        entries[i] = (base + i) << q->cluster_bits;
        disk[i] = htobe64(entries[i]);
        if (ret == 0)
            ret = pv_block_image_write(q->file, block, q->cluster_size, entries[i]);
    }
    const uint64_t offset = (base + blocks) << q->cluster_bits;
    if (ret == 0)
        ret = pv_block_image_write(q->file, disk, table_bytes, offset);
    if (ret == 0)
        ret = qcow2_refcount_table_switch(q, offset, (uint32_t)table);
    if (ret < 0) {
        free(entries);
        return ret;
    }
    for (uint32_t i = 0; i < q->refcount_table_size; i++)
        qcow2_cache_forget(&q->refcount_cache, q->refcount_table[i]);
    free(q->refcount_table);
    q->refcount_table = entries;
    q->refcount_table_size = (uint32_t)(table_bytes / 8);
    q->header.refcount_table_offset = offset;
    q->header.refcount_table_clusters = (uint32_t)table;
    q->free_hint = 1;
    return 0;
}

/* `word` with its copied bit as the count has it: only we refer to the cluster. */
static uint64_t with_copied(const struct count *c, uint64_t word)
{
    const uint64_t cluster = (word & QCOW2_OFFSET_MASK) >> c->q->cluster_bits;
    if (!cluster || cluster >= c->clusters)
        return word;
    return c->refs[cluster] == 1 ? word | QCOW2_COPIED : word & ~QCOW2_COPIED;
}

static int repair_copied(struct count *c)
{
    struct qcow2 *q = c->q;
    const size_t step = q->entry_size / 8;
    for (uint32_t i = 0; i < q->header.l1_size; i++) {
        const uint64_t offset = q->l1[i] & QCOW2_OFFSET_MASK;
        if (!offset || (offset & (q->cluster_size - 1)) || offset >> q->cluster_bits >= c->clusters)
            continue;
        const uint64_t l1 = with_copied(c, q->l1[i]);
        q->l1_dirty |= l1 != q->l1[i];
        c->result->repaired += l1 != q->l1[i];
        q->l1[i] = l1;
        void *table;
        int ret = qcow2_cache_get(&q->l2_cache, offset, false, &table);
        if (ret < 0)
            return ret;
        uint64_t *words = table;
        for (size_t j = 0; q->data == q->file && j < q->cluster_size / 8; j += step) {
            const uint64_t old = be64toh(words[j]);
            if (old & QCOW2_COMPRESSED)
                continue;
            const uint64_t word = with_copied(c, old);
            if (word == old)
                continue;
            words[j] = htobe64(word);
            qcow2_cache_dirty(&q->l2_cache, table);
            c->result->repaired++;
        }
    }
    return qcow2_metadata_write(q);
}

int qcow2_check(struct qcow2 *q, bool repair, struct qcow2_check *result, struct pv_error **err)
{
    *result = (struct qcow2_check){0};
    struct count c = {
        .q = q, .clusters = qcow2_clusters(q, q->file->size) + SLACK, .result = result};
    if (c.clusters > CLUSTERS_MAX)
        return pv_error_set(err, EFBIG, "a file of %llu clusters is too large to be checked",
                            (unsigned long long)c.clusters);
    PV_CLEANUP_FREE uint32_t *refs = calloc(c.clusters, sizeof(*refs));
    if (!refs)
        return pv_error_set(err, ENOMEM, "out of memory");
    c.refs = refs;
    int ret = count_all(&c);
    /* Errors of the map itself cannot be repaired: what they should say is not known. */
    const uint64_t beyond_repair = result->errors;
    if (ret == 0 && repair) {
        ret = rebuild(&c);
        if (ret == 0)
            ret = repair_copied(&c);
        if (ret == 0)
            ret = q->file->ops->flush(q->file);
        result->errors = beyond_repair;
    } else if (ret == 0) {
        count_refcounts(&c);
        ret = compare(&c);
    }
    return ret < 0 ? pv_error_errno(err, -ret, "checking it") : 0;
}
