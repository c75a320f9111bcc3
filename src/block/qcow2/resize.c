/* SPDX-License-Identifier: MIT */
/*
 * A longer or shorter disk. The header gets its new size last when the disk grows, after what it
 * gains reads as zeroes, and first when it shrinks: a crash leaves the old disk or the new one.
 * What an interrupted shrinking left behind the end is why growing looks at what is there.
 */
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>

/* An L1 table of `entries`; the lock is held. */
static int grow_l1(struct qcow2 *q, uint32_t entries)
{
    struct qcow2_header *h = &q->header;
    const uint64_t old = h->l1_offset >> q->cluster_bits;
    const uint64_t old_clusters = qcow2_clusters(q, (uint64_t)h->l1_size * 8);
    const struct qcow2_header before = *h;
    uint64_t first;
    PV_CLEANUP_FREE uint64_t *l1 = calloc(entries, 8);
    if (!l1)
        return -ENOMEM;
    memcpy(l1, q->l1, (size_t)h->l1_size * 8);
    int ret = qcow2_allocate_row(q, qcow2_clusters(q, (uint64_t)entries * 8), &first);
    if (ret == 0)
        ret = qcow2_table_write(q, l1, first << q->cluster_bits, entries);
    if (ret == 0)
        ret = qcow2_metadata_write(q);
    if (ret == 0)
        ret = q->file->ops->flush(q->file);
    if (ret < 0)
        return ret;
    h->l1_offset = first << q->cluster_bits;
    h->l1_size = entries;
    ret = qcow2_header_write_size(q);
    if (ret < 0) {
        h->l1_offset = before.l1_offset;
        h->l1_size = before.l1_size;
        return ret;
    }
    free(q->l1);
    q->l1 = PV_STEAL(l1);
    for (uint64_t i = 0; i < old_clusters && ret == 0; i++)
        ret = qcow2_free_later(q, old + i);
    return ret < 0 ? ret : qcow2_flush_locked(q);
}

/* Beyond the old end there may be a backing image, and leftovers. */
static int clear(struct qcow2 *q, uint64_t offset, uint64_t end)
{
    const struct pv_block_image *backing = q->base.backing;
    int ret = 0;
    while (offset < end && ret == 0) {
        struct qcow2_run run;
        pthread_mutex_lock(&q->lock);
        ret = qcow2_map(q, offset, end - offset, &run);
        pthread_mutex_unlock(&q->lock);
        if (ret < 0)
            break;
        const bool behind = backing && offset < backing->size;
        if (run.kind == QCOW2_ABSENT && behind)
            run.length = PV_MIN(run.length, backing->size - offset);
        if (run.kind != QCOW2_ZEROES && !(run.kind == QCOW2_ABSENT && !behind))
            ret = qcow2_zero(&q->base, offset, run.length, true);
        offset += run.length;
    }
    return ret;
}

static int grow(struct qcow2 *q, uint64_t size)
{
    const unsigned covered = q->cluster_bits + q->l2_bits;
    const uint64_t old = q->base.size;
    if (size >> 56)
        return -EFBIG;
    const uint64_t entries = (size + (UINT64_C(1) << covered) - 1) >> covered;
    if (entries * 8 > QCOW2_L1_BYTES_MAX)
        return -EFBIG;
    pthread_mutex_lock(&q->lock);
    int ret = qcow2_flush_locked(q);
    if (ret == 0 && entries > q->header.l1_size)
        ret = grow_l1(q, (uint32_t)entries);
    pthread_mutex_unlock(&q->lock);
    if (ret < 0)
        return ret;
    q->base.size = size;
    ret = clear(q, old, size);
    if (ret == 0)
        ret = q->base.ops->flush(&q->base);
    if (ret == 0) {
        q->header.size = size;
        ret = qcow2_header_write_size(q);
    }
    if (ret == 0)
        ret = q->file->ops->flush(q->file);
    if (ret < 0)
        q->base.size = q->header.size = old;
    return ret;
}

static int shrink(struct qcow2 *q, uint64_t size)
{
    const uint64_t end = qcow2_clusters(q, q->base.size);
    int ret = q->base.ops->flush(&q->base);
    if (ret < 0)
        return ret;
    q->header.size = size;
    ret = qcow2_header_write_size(q);
    if (ret == 0)
        ret = q->file->ops->flush(q->file);
    if (ret < 0) {
        q->header.size = q->base.size;
        return ret;
    }
    ret = qcow2_unmap(q, qcow2_clusters(q, size), end);
    q->base.size = size;
    return ret < 0 ? ret : q->base.ops->flush(&q->base);
}

int qcow2_resize(struct pv_block_image *image, uint64_t size)
{
    struct qcow2 *q = (struct qcow2 *)image;
    /* The size of an external file is its own affair, and old snapshots do not say theirs. */
    if (q->data != q->file || (q->header.snapshot_count && q->header.version < 3))
        return -ENOTSUP;
    if (size < image->size && q->header.snapshot_count)
        return -ENOTSUP;
    return size > image->size ? grow(q, size) : size < image->size ? shrink(q, size) : 0;
}

int qcow2_trim_file(struct qcow2 *q)
{
    pthread_mutex_lock(&q->lock);
    int ret = qcow2_flush_locked(q);
    if (ret == 0)
        ret = qcow2_metadata_write(q);
    uint64_t end = 0;
    for (uint64_t index = q->refcount_table_size; index-- > 0 && !end && ret == 0;) {
        void *block;
        ret = qcow2_refcount_block(q, index, &block);
        for (uint32_t i = q->block_refcounts; block && i-- > 0 && !end;)
            if (qcow2_refcount_at(q, block, i))
                end = (index * q->block_refcounts + i + 1) << q->cluster_bits;
    }
    /* The file's size as it was opened; it has grown since if anything. */
    if (ret == 0 && end && end < q->file->size)
        ret = q->file->ops->resize(q->file, end);
    pthread_mutex_unlock(&q->lock);
    return ret == -ENOTSUP ? 0 : ret;
}
