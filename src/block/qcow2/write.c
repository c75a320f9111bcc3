/* SPDX-License-Identifier: MIT */
/*
 * Writes, discards and zeroes.
 *
 * What lies in clusters of our own is overwritten in place. Everything else needs new clusters:
 * they are allocated, filled (with what the write leaves over from before, too), and only then
 * entered into the map, so that nobody ever sees a half-filled cluster. In between the guest
 * clusters are in the list of allocations, and whoever wants to write, zero or discard them waits.
 */
#include "block/iov.h"
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>

/* Clusters freed by discards alone are let go no later than this. */
#define FREED_MAX 4096u

/* ---- Allocations under way ---- */

/* Waits until nobody allocates `cluster`; false when it had to, and the map may have changed. */
static bool settled(struct qcow2 *q, uint64_t cluster)
{
    for (const struct qcow2_allocation *a = q->allocations; a; a = a->next) {
        if (cluster < a->first || cluster - a->first >= a->count)
            continue;
        /* Not counted while asleep: a flush may be waiting for transfers to end. */
        qcow2_transfer_end(q);
        pthread_cond_wait(&q->changed, &q->lock);
        qcow2_transfer_begin(q);
        return false;
    }
    return true;
}

/* How many of the clusters from `first` on nobody else allocates; at least the first. */
static uint64_t free_of_others(const struct qcow2 *q, uint64_t first, uint64_t count)
{
    for (const struct qcow2_allocation *a = q->allocations; a; a = a->next)
        if (a->first > first)
            count = PV_MIN(count, a->first - first);
    return count;
}

static void enter(struct qcow2 *q, struct qcow2_allocation *allocation)
{
    allocation->next = q->allocations;
    q->allocations = allocation;
}

static void leave(struct qcow2 *q, struct qcow2_allocation *allocation)
{
    struct qcow2_allocation **link = &q->allocations;
    while (*link != allocation)
        link = &(*link)->next;
    *link = allocation->next;
    pthread_cond_broadcast(&q->changed);
}

/* The clusters of the file that an entry refers to, once it is replaced. */
static int drop_entry(struct qcow2 *q, struct qcow2_entry old)
{
    int ret = 0;
    if (q->data != q->file)
        return 0;
    if (old.word & QCOW2_COMPRESSED) {
        uint64_t host;
        uint32_t bytes;
        qcow2_packed_place(q, old.word, &host, &bytes);
        const uint64_t last = (host + bytes - 1) >> q->cluster_bits;
        for (uint64_t c = host >> q->cluster_bits; c <= last && ret == 0; c++)
            ret = qcow2_free_later(q, c);
    } else if (old.word & QCOW2_OFFSET_MASK) {
        ret = qcow2_free_later(q, (old.word & QCOW2_OFFSET_MASK) >> q->cluster_bits);
    }
    return ret;
}

/* Version 3 lets readers know that refcounts may be behind, before they are. */
static int mark_dirty(struct qcow2 *q)
{
    if (!qcow2_lazy(q) || q->marked_dirty)
        return 0;
    q->header.incompatible |= QCOW2_INCOMPATIBLE_DIRTY;
    int ret = qcow2_header_write_features(q);
    if (ret == 0)
        ret = q->file->ops->flush(q->file);
    q->marked_dirty = ret == 0;
    return ret;
}

/* ---- Writes into new clusters ---- */

/* One piece of a write that needs clusters. */
struct fill {
    struct qcow2_allocation allocation;
    uint64_t offset, length; /* the guest's bytes */
    uint64_t host;           /* of the first cluster */
    bool fresh;              /* allocated for this; otherwise the entry's own */
    struct qcow2_entry old;  /* of the first cluster */
    uint32_t unit;           /* bytes that are filled up around the guest's: (sub)cluster */
};

/* Old contents of [offset, offset + length), with no counting of transfers: the caller is one. */
static int read_old(struct qcow2 *q, void *data, uint64_t length, uint64_t offset)
{
    const struct iovec iov = {.iov_base = data, .iov_len = length};
    uint64_t from = 0;
    while (from < length) {
        struct qcow2_run run;
        pthread_mutex_lock(&q->lock);
        int ret = qcow2_map(q, offset + from, length - from, &run);
        pthread_mutex_unlock(&q->lock);
        if (ret == 0)
            ret = qcow2_read_run(q, &run, &iov, 1, from, run.length, offset + from);
        if (ret < 0)
            return ret;
        from += run.length;
    }
    return 0;
}

static int copy_old(struct qcow2 *q, const struct fill *fill, uint64_t from, uint64_t to)
{
    if (from == to)
        return 0;
    PV_CLEANUP_FREE void *data = malloc(to - from);
    if (!data)
        return -ENOMEM;
    int ret = read_old(q, data, to - from, from);
    const uint64_t base = fill->allocation.first << q->cluster_bits;
    if (ret == 0)
        ret = pv_block_image_write(q->data, data, to - from, fill->host + (from - base));
    return ret;
}

static int fill_clusters(struct qcow2 *q, const struct fill *fill, const struct iovec *iov,
                         unsigned count, uint64_t from)
{
    const uint64_t end = fill->offset + fill->length;
    const uint64_t base = fill->allocation.first << q->cluster_bits;
    int ret = copy_old(q, fill, pv_align_down(fill->offset, fill->unit), fill->offset);
    if (ret == 0)
        ret = copy_old(q, fill, end, pv_align_up(end, fill->unit));
    if (ret == 0)
        ret = pv_block_image_writev(q->data, iov, count, from, fill->length,
                                    fill->host + (fill->offset - base));
    return ret;
}

/* Decides where a piece goes. The lock is held, the first cluster is settled. */
static int plan(struct qcow2 *q, struct fill *fill, const struct qcow2_run *run, uint64_t offset,
                uint64_t left)
{
    const uint64_t first = offset >> q->cluster_bits;
    const uint64_t cluster_end = (first + 1) << q->cluster_bits;
    int ret = qcow2_entry_get(q, first, &fill->old);
    if (ret < 0)
        return ret;
    const uint64_t word = fill->old.word;
    const bool packed = word & QCOW2_COMPRESSED;
    const bool own = !packed && (word & QCOW2_COPIED) && (word & QCOW2_OFFSET_MASK);
    uint64_t most = 1;
    if (q->subclusters == 1 && !own && !packed) {
        const uint64_t length = PV_MIN(run->length, left);
        most = ((offset + length - 1) >> q->cluster_bits) - first + 1;
        most = free_of_others(q, first, most);
    }
    fill->offset = offset;
    fill->unit = q->cluster_size;
    fill->fresh = false;
    fill->allocation = (struct qcow2_allocation){.first = first, .count = 1};
    if (q->data != q->file) {
        fill->host = first << q->cluster_bits;
        fill->allocation.count = most;
    } else if (own) {
        fill->host = word & QCOW2_OFFSET_MASK;
    } else {
        ret = mark_dirty(q);
        uint64_t host = 0;
        if (ret == 0)
            ret = qcow2_allocate(q, most, &host, &fill->allocation.count);
        if (ret < 0)
            return ret;
        fill->host = host << q->cluster_bits;
        fill->fresh = true;
    }
    /* Subclusters that are stored elsewhere have to come along when the cluster moves. */
    if (q->subclusters > 1 && !packed && (own || !(fill->old.bitmap & UINT32_MAX)))
        fill->unit = q->cluster_size / q->subclusters;
    const uint64_t end = cluster_end + ((fill->allocation.count - 1) << q->cluster_bits);
    fill->length = PV_MIN(left, end - offset);
    return 0;
}

static uint64_t new_bitmap(const struct qcow2 *q, const struct fill *fill)
{
    if (q->subclusters == 1)
        return 0;
    if (fill->unit == q->cluster_size)
        return UINT32_MAX;
    const uint32_t inside = (uint32_t)(fill->offset & (q->cluster_size - 1));
    const uint32_t first = inside / fill->unit;
    const uint32_t last = (uint32_t)((inside + fill->length - 1) / fill->unit);
    const uint64_t bits = qcow2_bits(first, last - first + 1);
    return (fill->old.bitmap | bits) & ~(bits << 32);
}

/* Enters the filled clusters. The lock is held. */
static int commit(struct qcow2 *q, const struct fill *fill)
{
    int ret = 0;
    for (uint64_t i = 0; i < fill->allocation.count && ret == 0; i++) {
        const uint64_t cluster = fill->allocation.first + i;
        const struct qcow2_entry entry = {
            .word = (fill->host + (i << q->cluster_bits)) | QCOW2_COPIED,
            .bitmap = new_bitmap(q, fill),
        };
        struct qcow2_entry old;
        ret = qcow2_entry_get(q, cluster, &old);
        if (ret == 0)
            ret = qcow2_entry_set(q, cluster, entry);
        if (ret == 0 && fill->fresh)
            ret = drop_entry(q, old);
    }
    return ret;
}

/* Nothing refers to the clusters yet. The lock is held. */
static void undo(struct qcow2 *q, const struct fill *fill)
{
    if (!fill->fresh)
        return;
    for (uint64_t i = 0; i < fill->allocation.count; i++)
        qcow2_refcount_change(q, (fill->host >> q->cluster_bits) + i, -1);
}

/* Returns with the lock held, as it was called. */
static int write_new(struct qcow2 *q, const struct qcow2_run *run, const struct iovec *iov,
                     unsigned count, uint64_t from, uint64_t left, uint64_t offset,
                     uint64_t *written)
{
    struct fill fill;
    int ret = plan(q, &fill, run, offset, left);
    if (ret < 0)
        return ret;
    enter(q, &fill.allocation);
    pthread_mutex_unlock(&q->lock);
    ret = fill_clusters(q, &fill, iov, count, from);
    pthread_mutex_lock(&q->lock);
    if (ret == 0)
        ret = commit(q, &fill);
    else
        undo(q, &fill);
    leave(q, &fill.allocation);
    *written = fill.length;
    return ret;
}

int qcow2_write(struct pv_block_image *image, const struct iovec *iov, unsigned count,
                uint64_t offset)
{
    struct qcow2 *q = (struct qcow2 *)image;
    uint64_t left = 0, from = 0;
    int ret = 0;
    for (unsigned i = 0; i < count; i++)
        left += iov[i].iov_len;
    pthread_mutex_lock(&q->lock);
    qcow2_transfer_begin(q);
    while (left && ret == 0) {
        struct qcow2_run run;
        uint64_t done = 0;
        if (q->corrupt) {
            ret = -EIO;
            break;
        }
        if (!settled(q, offset >> q->cluster_bits))
            continue;
        ret = qcow2_map(q, offset, left, &run);
        if (ret < 0)
            break;
        if (run.writable) {
            done = run.length;
            pthread_mutex_unlock(&q->lock);
            ret = pv_block_image_writev(q->data, iov, count, from, done, run.host);
            pthread_mutex_lock(&q->lock);
        } else {
            ret = write_new(q, &run, iov, count, from, left, offset, &done);
        }
        offset += done;
        from += done;
        left -= done;
    }
    qcow2_transfer_end(q);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

/* ---- Zeroes and discards ---- */

/* Whether the range reads as zeroes already, as far as the map tells. The lock is held. */
static bool is_zero(struct qcow2 *q, uint64_t offset, uint64_t length)
{
    while (length) {
        struct qcow2_run run;
        if (qcow2_map(q, offset, length, &run) < 0)
            return false;
        const bool beyond = !q->base.backing || offset >= q->base.backing->size;
        if (run.kind != QCOW2_ZEROES && !(run.kind == QCOW2_ABSENT && beyond))
            return false;
        offset += run.length;
        length -= run.length;
    }
    return true;
}

static int write_zeroes(struct qcow2 *q, uint64_t offset, uint64_t length)
{
    static const char zeroes[65536];
    int ret = 0;
    while (length && ret == 0) {
        const size_t n = (size_t)PV_MIN(length, (uint64_t)sizeof(zeroes));
        pthread_mutex_lock(&q->lock);
        const bool skip = is_zero(q, offset, n);
        pthread_mutex_unlock(&q->lock);
        if (!skip)
            ret = pv_block_image_write(&q->base, zeroes, n, offset);
        offset += n;
        length -= n;
    }
    return ret;
}

/* What a whole cluster becomes that reads as zeroes from now on. */
static struct qcow2_entry zero_entry(const struct qcow2 *q, struct qcow2_entry old, bool keep)
{
    const uint64_t host = keep && !(old.word & QCOW2_COMPRESSED) && (old.word & QCOW2_COPIED)
                              ? old.word & (QCOW2_OFFSET_MASK | QCOW2_COPIED)
                              : 0;
    if (q->subclusters > 1)
        return (struct qcow2_entry){.word = host, .bitmap = UINT64_C(0xffffffff) << 32};
    return (struct qcow2_entry){.word = host | QCOW2_ZERO};
}

/* The lock is held. */
static int zero_cluster(struct qcow2 *q, uint64_t cluster, bool keep)
{
    struct qcow2_entry old;
    while (!settled(q, cluster))
        ;
    if (q->corrupt)
        return -EIO;
    int ret = qcow2_entry_get(q, cluster, &old);
    if (ret < 0)
        return ret;
    if (is_zero(q, cluster << q->cluster_bits, q->cluster_size) &&
        (keep || !(old.word & QCOW2_OFFSET_MASK)))
        return 0;
    /* Marked dirty first: making a table for the entry allocates. */
    ret = mark_dirty(q);
    const struct qcow2_entry entry = zero_entry(q, old, keep);
    if (ret == 0)
        ret = qcow2_entry_set(q, cluster, entry);
    if (ret == 0 && !(entry.word & QCOW2_OFFSET_MASK))
        ret = drop_entry(q, old);
    return ret;
}

static int zero_clusters(struct qcow2 *q, uint64_t first, uint64_t end, bool keep)
{
    int ret = 0;
    pthread_mutex_lock(&q->lock);
    qcow2_transfer_begin(q);
    for (uint64_t c = first; c < end && ret == 0; c++)
        ret = zero_cluster(q, c, keep);
    qcow2_transfer_end(q);
    if (ret == 0 && q->freed_count > FREED_MAX)
        ret = qcow2_flush_locked(q);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

static int unmap_cluster(struct qcow2 *q, uint64_t cluster)
{
    struct qcow2_entry old;
    while (!settled(q, cluster))
        ;
    int ret = q->corrupt ? -EIO : qcow2_entry_get(q, cluster, &old);
    if (ret < 0 || (!old.word && !old.bitmap))
        return ret;
    ret = mark_dirty(q);
    if (ret == 0)
        ret = qcow2_entry_set(q, cluster, (struct qcow2_entry){0});
    return ret < 0 ? ret : drop_entry(q, old);
}

int qcow2_unmap(struct qcow2 *q, uint64_t first, uint64_t end)
{
    int ret = 0;
    pthread_mutex_lock(&q->lock);
    for (uint64_t c = first; c < end && ret == 0; c++) {
        qcow2_transfer_begin(q);
        ret = unmap_cluster(q, c);
        qcow2_transfer_end(q);
        if (ret == 0 && q->freed_count > FREED_MAX)
            ret = qcow2_flush_locked(q);
    }
    pthread_mutex_unlock(&q->lock);
    return ret;
}

int qcow2_zero(struct pv_block_image *image, uint64_t offset, uint64_t length, bool unmap)
{
    struct qcow2 *q = (struct qcow2 *)image;
    const uint64_t first = pv_align_up(offset, q->cluster_size);
    uint64_t end = offset + length;
    if (end < image->size)
        end = pv_align_down(end, q->cluster_size);
    /* An external file's clusters have their place, and version 2 has no zero clusters. */
    if (q->data != q->file || q->header.version < 3 || first >= end)
        return write_zeroes(q, offset, length);
    int ret = write_zeroes(q, offset, first - offset);
    if (ret == 0)
        ret = zero_clusters(q, first >> q->cluster_bits, qcow2_clusters(q, end), !unmap);
    if (ret == 0 && end < offset + length)
        ret = write_zeroes(q, end, offset + length - end);
    return ret;
}

int qcow2_discard(struct pv_block_image *image, uint64_t offset, uint64_t length)
{
    struct qcow2 *q = (struct qcow2 *)image;
    const uint64_t first = pv_align_up(offset, q->cluster_size);
    uint64_t end = offset + length;
    if (end < image->size)
        end = pv_align_down(end, q->cluster_size);
    if (first >= end)
        return 0;
    if (q->data != q->file)
        return q->data->ops->discard(q->data, first, end - first);
    /* In version 2 what is behind would show through. */
    if (q->header.version < 3)
        return 0;
    return zero_clusters(q, first >> q->cluster_bits, qcow2_clusters(q, end), false);
}
