/* SPDX-License-Identifier: MIT */
/*
 * QCOW2 images: opening, flushing, closing.
 *
 * Threads. Requests run on several workers. One lock protects all metadata; the clusters themselves
 * are read and written without it. Such a transfer is counted from before its mapping is looked up
 * until it ends, and a freed cluster is used again only after a moment at which no transfer was
 * under way (the gate in qcow2_flush_locked), so none ever finds another's data in its place.
 *
 * What a crash leaves. Tables are cached and written back at flushes, in this order:
 *
 *   1. refcount blocks, then the refcount table that names new ones
 *   2. a barrier, which also makes the data of newly mapped clusters stable
 *   3. L2 tables
 *   4. a barrier, if the L1 table changed
 *   5. the L1 table
 *
 * and clusters are freed after all of that is stable. So at any moment everything that the tables
 * on disk refer to is there and is counted; refcounts can be too high (leaks, which a check finds)
 * but never too low. With lazy refcounts step 1 waits until the image is closed: the header says
 * that they are behind, and whoever opens the image next for writing counts anew.
 */
#include "block/qcow2/qcow2.h"

#include "base/error.h"
#include "base/log.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

/* About as much as the tables of 16 GiB of disk in ordinary clusters take. */
#define L2_BUDGET       ((size_t)2 << 20)
#define REFCOUNT_BUDGET ((size_t)512 << 10)

/* ---- Transfers ---- */

void qcow2_transfer_begin(struct qcow2 *q)
{
    while (q->gate)
        pthread_cond_wait(&q->changed, &q->lock);
    q->transfers++;
}

void qcow2_transfer_end(struct qcow2 *q)
{
    if (!--q->transfers && q->gate)
        pthread_cond_broadcast(&q->changed);
}

/* ---- Flushing ---- */

int qcow2_table_load(struct qcow2 *q, uint64_t **out, uint64_t offset, size_t entries)
{
    /* One more, because a disk of no bytes has no entries. */
    PV_CLEANUP_FREE uint64_t *table = malloc((entries + 1) * 8);
    if (!table)
        return -ENOMEM;
    int ret = pv_block_image_read(q->file, table, entries * 8, offset);
    for (size_t i = 0; i < entries && ret == 0; i++)
        table[i] = be64toh(table[i]);
    if (ret == 0)
        *out = PV_STEAL(table);
    return ret;
}

int qcow2_table_write(struct qcow2 *q, const uint64_t *table, uint64_t offset, size_t entries)
{
    PV_CLEANUP_FREE uint64_t *disk = malloc((entries + 1) * 8);
    if (!disk)
        return -ENOMEM;
    for (size_t i = 0; i < entries; i++)
        disk[i] = htobe64(table[i]);
    return pv_block_image_write(q->file, disk, entries * 8, offset);
}

int qcow2_metadata_write(struct qcow2 *q)
{
    int ret = 0;
    if (!q->marked_dirty || q->refcount_table_dirty) {
        const bool table = q->refcount_table_dirty;
        ret = qcow2_cache_write(&q->refcount_cache);
        if (ret == 0 && table)
            ret = q->file->ops->flush(q->file);
        if (ret == 0)
            ret = qcow2_refcount_table_write(q);
    }
    if (ret < 0 || (!q->l2_cache.dirty && !q->l1_dirty))
        return ret;
    if (q->data != q->file)
        ret = q->data->ops->flush(q->data);
    if (ret == 0)
        ret = q->file->ops->flush(q->file);
    if (ret == 0)
        ret = qcow2_cache_write(&q->l2_cache);
    if (ret < 0 || !q->l1_dirty)
        return ret;
    ret = q->file->ops->flush(q->file);
    if (ret == 0)
        ret = qcow2_table_write(q, q->l1, q->header.l1_offset, q->header.l1_size);
    q->l1_dirty = ret < 0;
    return ret;
}

/* When a dirty table has to make room. Refcounts may reach the disk at any time. */
static int write_back_l2(void *opaque)
{
    return qcow2_metadata_write(opaque);
}

static int write_back_refcounts(void *opaque)
{
    struct qcow2 *q = opaque;
    return qcow2_cache_write(&q->refcount_cache);
}

static int sync_files(struct qcow2 *q)
{
    int ret = q->file->ops->flush(q->file);
    if (ret == 0 && q->data != q->file)
        ret = q->data->ops->flush(q->data);
    return ret;
}

int qcow2_flush_locked(struct qcow2 *q)
{
    PV_CLEANUP_FREE uint64_t *freed = PV_STEAL(q->freed);
    const size_t count = q->freed_count;
    q->freed_count = q->freed_room = 0;
    int ret = qcow2_metadata_write(q);
    if (!count) {
        /* The common case: others go on while the disk works. */
        pthread_mutex_unlock(&q->lock);
        if (ret == 0)
            ret = sync_files(q);
        pthread_mutex_lock(&q->lock);
        return ret;
    }
    if (ret == 0)
        ret = sync_files(q);
    if (ret < 0)
        return ret; /* what was freed leaks: it may still be referred to */
    while (q->gate)
        pthread_cond_wait(&q->changed, &q->lock);
    q->gate = true;
    while (q->transfers)
        pthread_cond_wait(&q->changed, &q->lock);
    ret = qcow2_free_now(q, freed, count);
    q->gate = false;
    pthread_cond_broadcast(&q->changed);
    return ret;
}

static int flush(struct pv_block_image *image)
{
    struct qcow2 *q = (struct qcow2 *)image;
    if (image->read_only)
        return 0;
    pthread_mutex_lock(&q->lock);
    int ret = qcow2_flush_locked(q);
    pthread_mutex_unlock(&q->lock);
    return ret;
}

static int extent(struct pv_block_image *image, uint64_t offset, uint64_t length,
                  enum pv_block_extent *what, uint64_t *length_out)
{
    struct qcow2 *q = (struct qcow2 *)image;
    struct qcow2_run run;
    pthread_mutex_lock(&q->lock);
    int ret = qcow2_map(q, offset, length, &run);
    pthread_mutex_unlock(&q->lock);
    if (ret < 0)
        return ret;
    *what = run.kind == QCOW2_ABSENT   ? PV_EXTENT_BACKING
            : run.kind == QCOW2_ZEROES ? PV_EXTENT_ZERO
                                       : PV_EXTENT_DATA;
    *length_out = run.length;
    return 0;
}

int qcow2_corrupt(struct qcow2 *q, const char *fmt, ...)
{
    char text[256];
    va_list args;
    if (q->corrupt)
        return -EIO;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    pv_error_log(PV_LOG_BLK, "%s: damaged qcow2 image: %s; no more writes to it", q->path, text);
    q->corrupt = true;
    if (!q->base.read_only && q->header.version >= 3) {
        q->header.incompatible |= QCOW2_INCOMPATIBLE_CORRUPT;
        qcow2_header_write_features(q);
    }
    return -EIO;
}

/* ---- Closing ---- */

static int close_clean(struct qcow2 *q)
{
    int ret = qcow2_flush_locked(q);
    /* What that freed is in the refcounts in memory now. */
    q->marked_dirty = false;
    if (ret == 0)
        ret = qcow2_metadata_write(q);
    if (ret == 0)
        ret = sync_files(q);
    if (ret == 0 && (q->header.incompatible & QCOW2_INCOMPATIBLE_DIRTY)) {
        q->header.incompatible &= ~QCOW2_INCOMPATIBLE_DIRTY;
        ret = qcow2_header_write_features(q);
        if (ret == 0)
            ret = q->file->ops->flush(q->file);
    }
    return ret;
}

static void qcow2_close(struct pv_block_image *image)
{
    struct qcow2 *q = (struct qcow2 *)image;
    if (!image->read_only && q->l1 && !q->corrupt) {
        pthread_mutex_lock(&q->lock);
        int ret = close_clean(q);
        pthread_mutex_unlock(&q->lock);
        if (ret < 0)
            pv_error_log(PV_LOG_BLK, "%s: closing it: %s", q->path, strerror(-ret));
    }
    qcow2_cache_finish(&q->l2_cache);
    qcow2_cache_finish(&q->refcount_cache);
    pv_block_image_close(image->backing);
    if (q->data != q->file)
        pv_block_image_close(q->data);
    pv_block_image_close(q->file);
    qcow2_header_finish(&q->header);
    pthread_cond_destroy(&q->changed);
    pthread_mutex_destroy(&q->lock);
    pthread_mutex_destroy(&q->packed_lock);
    free(q->packed_data);
    free(q->freed);
    free(q->l1);
    free(q->refcount_table);
    free(q->path);
    free(q);
}

static int snapshot_prepare(struct pv_block_image *image, const char *name, struct pv_error **err)
{
    return qcow2_snapshot_prepare((struct qcow2 *)image, name, err);
}

static int snapshot_create(struct pv_block_image *image, const char *name, struct pv_error **err)
{
    return qcow2_snapshot_create((struct qcow2 *)image, name, err);
}

/* A disk that is in use keeps its size. */
static int snapshot_apply(struct pv_block_image *image, const char *name, struct pv_error **err)
{
    const uint64_t size = image->size;
    int ret = qcow2_snapshot_apply((struct qcow2 *)image, name, err);
    if (ret < 0 || image->size == size)
        return ret;
    return pv_error_set(err, EINVAL, "it had %llu bytes then, and has %llu now",
                        (unsigned long long)image->size, (unsigned long long)size);
}

static int snapshot_delete(struct pv_block_image *image, const char *name, struct pv_error **err)
{
    return qcow2_snapshot_delete((struct qcow2 *)image, name, err);
}

static const struct pv_block_image_ops qcow2_ops = {
    .name = "qcow2",
    .read = qcow2_read,
    .read_now = qcow2_read_now,
    .write = qcow2_write,
    .flush = flush,
    .discard = qcow2_discard,
    .zero = qcow2_zero,
    .resize = qcow2_resize,
    .extent = extent,
    .snapshot_prepare = snapshot_prepare,
    .snapshot_create = snapshot_create,
    .snapshot_apply = snapshot_apply,
    .snapshot_delete = snapshot_delete,
    .close = qcow2_close,
};

/* ---- Opening ---- */

static int read_table(uint64_t **out, struct qcow2 *q, uint64_t offset, size_t entries,
                      const char *what, struct pv_error **err)
{
    int ret = qcow2_table_load(q, out, offset, entries);
    return ret < 0 ? pv_error_errno(err, -ret, "reading its %s", what) : 0;
}

static int open_named(struct pv_block_image **out, const struct pv_block_source *source,
                      const char *name, const char *format, bool read_only, const char *what,
                      struct pv_error **err)
{
    /* A protocol's prefix; with "file:" there is nothing more to the name. */
    if (!strncmp(name, "file:", 5))
        name += 5;
    PV_CLEANUP_FREE char *path = pv_block_name_beside(source->path, name);
    if (!path)
        return pv_error_set(err, ENOMEM, "out of memory");
    int ret = pv_block_image_open(out, path, read_only, format, source, err);
    return ret < 0 ? pv_error_prefix(err, "its %s '%s'", what, path) : 0;
}

static void set_geometry(struct qcow2 *q)
{
    const struct qcow2_header *h = &q->header;
    const bool extended = h->incompatible & QCOW2_INCOMPATIBLE_EXTENDED_L2;
    q->cluster_bits = h->cluster_bits;
    q->cluster_size = 1u << h->cluster_bits;
    q->entry_size = extended ? 16 : 8;
    q->subclusters = extended ? QCOW2_SUBCLUSTERS : 1;
    q->l2_bits = h->cluster_bits - (extended ? 4 : 3);
    q->refcount_bits = 1u << h->refcount_order;
    q->refcount_max = ~UINT64_C(0) >> (64 - q->refcount_bits);
    q->block_refcounts = q->cluster_size * 8 / q->refcount_bits;
    q->refcount_table_size = h->refcount_table_clusters << (h->cluster_bits - 3);
    q->free_hint = 1;
    qcow2_cache_init(&q->l2_cache, q->file, q->cluster_size, L2_BUDGET, write_back_l2, q);
    qcow2_cache_init(&q->refcount_cache, q->file, q->cluster_size, REFCOUNT_BUDGET,
                     write_back_refcounts, q);
}

static int open_children(struct qcow2 *q, const struct pv_block_source *source,
                         struct pv_error **err)
{
    const struct qcow2_header *h = &q->header;
    int ret = 0;
    if (h->incompatible & QCOW2_INCOMPATIBLE_DATA_FILE)
        ret =
            open_named(&q->data, source, h->data_file, "raw", source->read_only, "data file", err);
    if (ret == 0 && h->backing_file && !source->alone)
        ret = open_named(&q->base.backing, source, h->backing_file, h->backing_format, true,
                         "backing image", err);
    return ret;
}

/* Leaves no claim in the header that writing would make untrue. */
static int prepare_writing(struct qcow2 *q, struct pv_error **err)
{
    struct qcow2_header *h = &q->header;
    if (h->incompatible & QCOW2_INCOMPATIBLE_CORRUPT)
        return pv_error_set(err, EIO,
                            "it is marked as damaged; 'pearvisor disk check --repair' mends what "
                            "can be, and it opens read-only");
    if (h->incompatible & QCOW2_INCOMPATIBLE_DIRTY) {
        struct qcow2_check result;
        int ret = qcow2_check(q, true, &result, err);
        if (ret < 0)
            return ret;
        pv_info(PV_LOG_BLK, "%s: was not closed; its refcounts were counted anew", q->path);
        h->incompatible &= ~QCOW2_INCOMPATIBLE_DIRTY;
    } else if (!(h->autoclear & ~QCOW2_AUTOCLEAR_RAW_DATA)) {
        return 0;
    }
    /* Bitmaps are not kept up to date, and what else there may be is not known. */
    h->autoclear &= QCOW2_AUTOCLEAR_RAW_DATA;
    int ret = qcow2_header_write_features(q);
    return ret < 0 ? pv_error_errno(err, -ret, "writing its header") : 0;
}

static int load(struct qcow2 *q, const struct pv_block_source *source, struct pv_error **err)
{
    const struct qcow2_header *h = &q->header;
    int ret = qcow2_header_read(&q->header, q->file, err);
    if (ret < 0)
        return ret;
    set_geometry(q);
    q->base.size = h->size;
    ret = open_children(q, source, err);
    if (ret == 0)
        ret = read_table(&q->refcount_table, q, h->refcount_table_offset, q->refcount_table_size,
                         "refcount table", err);
    uint64_t *l1 = NULL;
    if (ret == 0)
        ret = read_table(&l1, q, h->l1_offset, h->l1_size, "L1 table", err);
    if (ret < 0)
        return ret;
    q->l1 = l1;
    if (source->read_only || source->repair)
        return 0;
    ret = prepare_writing(q, err);
    if (ret < 0)
        q->corrupt = true; /* closing must not write either */
    return ret;
}

static int qcow2_open(struct pv_block_image **out, const struct pv_block_source *source,
                      struct pv_error **err)
{
    struct qcow2 *q = calloc(1, sizeof(*q));
    if (!q)
        return pv_error_set(err, ENOMEM, "out of memory");
    q->base = (struct pv_block_image){
        .ops = &qcow2_ops, .read_only = source->read_only, .can_discard = !source->read_only};
    q->packed_at = ~UINT64_C(0);
    pthread_mutex_init(&q->lock, NULL);
    pthread_mutex_init(&q->packed_lock, NULL);
    pthread_cond_init(&q->changed, NULL);
    q->path = strdup(source->path);
    /* The file is ours once this worked; until all has, it must not be closed with the image. */
    struct pv_block_source file = *source;
    file.fd = dup(source->fd);
    int ret = q->path && file.fd >= 0 ? pv_block_raw.open(&q->file, &file, err)
                                      : pv_error_set(err, ENOMEM, "out of memory");
    if (ret < 0 && file.fd >= 0)
        close(file.fd);
    q->data = q->file;
    if (ret == 0)
        ret = load(q, source, err);
    if (ret < 0) {
        qcow2_close(&q->base);
        return ret;
    }
    close(source->fd);
    *out = &q->base;
    return 0;
}

static bool probe(const struct pv_block_head *head)
{
    return head->size >= 4 && !memcmp(head->start, "QFI\xfb", 4);
}

const struct pv_block_format pv_block_qcow2 = {
    .name = "qcow2",
    .probe = probe,
    .open = qcow2_open,
};

static int open_file(struct qcow2 **out, const char *path, bool read_only, bool repair,
                     const char *done, struct pv_error **err)
{
    PV_CLEANUP_FD int fd = pv_block_file_open(path, read_only, err);
    if (fd < 0)
        return fd;
    const struct pv_block_source source = {
        .fd = fd, .path = path, .read_only = read_only, .repair = repair, .alone = true};
    const struct pv_block_format *format;
    int ret = pv_block_probe(&format, fd, path, err);
    if (ret < 0)
        return ret;
    if (format != &pv_block_qcow2)
        return pv_error_set(err, EINVAL, "only qcow2 images %s, and this is none", done);
    struct pv_block_image *image;
    ret = qcow2_open(&image, &source, err);
    if (ret < 0)
        return ret;
    (void)PV_STEAL_FD(fd);
    *out = (struct qcow2 *)image;
    return 0;
}

int qcow2_open_alone(struct qcow2 **out, const char *path, bool read_only, struct pv_error **err)
{
    return open_file(out, path, read_only, false, "have snapshots and backing images", err);
}

int qcow2_open_repair(struct qcow2 **out, const char *path, bool read_only, struct pv_error **err)
{
    return open_file(out, path, read_only, true, "can be checked", err);
}

int qcow2_repair(struct qcow2 *q, struct qcow2_check *result, struct pv_error **err)
{
    const uint64_t marks = QCOW2_INCOMPATIBLE_DIRTY | QCOW2_INCOMPATIBLE_CORRUPT;
    int ret = qcow2_check(q, true, result, err);
    if (ret == 0 && !result->errors && (q->header.incompatible & marks)) {
        q->header.incompatible &= ~marks;
        ret = qcow2_header_write_features(q);
        if (ret < 0)
            ret = pv_error_errno(err, -ret, "writing its header");
    }
    return ret;
}

int qcow2_check_file(struct qcow2_check *result, const char *path, bool repair,
                     struct pv_error **err)
{
    struct qcow2 *q;
    int ret = qcow2_open_repair(&q, path, !repair, err);
    if (ret < 0)
        return ret;
    ret = repair ? qcow2_repair(q, result, err) : qcow2_check(q, false, result, err);
    q->corrupt = ret < 0 || result->errors;
    qcow2_close(&q->base);
    return ret;
}
