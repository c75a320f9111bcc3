/* SPDX-License-Identifier: MIT */
/* Images and their backing images: commit, rebase, and which image has what. */
#include "base/error.h"
#include "base/util.h"
#include "block/disk_internal.h"
#include "block/image.h"
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#define COPY_BYTES ((size_t)1 << 20)

/* ---- Commit ---- */

/* Opened by the name that the image has for it. */
static int open_backing(struct pv_block_image **out, const struct pv_block_source *image,
                        const char *name, const char *format, bool read_only, struct pv_error **err)
{
    *out = NULL;
    if (!name)
        return 0;
    PV_CLEANUP_FREE char *path = pv_block_name_beside(image->path, name);
    if (!path)
        return pv_error_set(err, ENOMEM, "out of memory");
    int ret = pv_block_image_open(out, path, read_only, format, image, err);
    return ret < 0 ? pv_error_prefix(err, "backing image '%s'", path) : 0;
}

static int copy_down(struct qcow2 *q, struct pv_block_image *backing,
                     const struct pv_disk_progress *progress)
{
    struct pv_block_image *image = &q->base;
    PV_CLEANUP_FREE void *data = malloc(COPY_BYTES);
    int ret = data ? 0 : -ENOMEM;
    for (uint64_t offset = 0, run = 0; offset < image->size && ret == 0; offset += run) {
        enum pv_block_extent what;
        ret = image->ops->extent(image, offset, image->size - offset, &what, &run);
        if (ret < 0)
            break;
        if (what == PV_EXTENT_ZERO)
            ret = backing->ops->zero(backing, offset, run, true);
        if (what == PV_EXTENT_DATA) {
            run = PV_MIN(run, (uint64_t)COPY_BYTES);
            ret = pv_block_image_read(image, data, (size_t)run, offset);
            if (ret == 0)
                ret = pv_block_image_write(backing, data, (size_t)run, offset);
        }
        pv_disk_show(progress, offset + run, image->size);
    }
    return ret < 0 ? ret : backing->ops->flush(backing);
}

static int commit(struct qcow2 *q, const struct pv_block_source *source, bool keep,
                  const struct pv_disk_progress *progress, struct pv_error **err)
{
    struct pv_block_image *backing;
    if (!q->header.backing_file)
        return pv_error_set(err, EINVAL, "it has no backing image");
    if (!keep && q->header.snapshot_count)
        return pv_error_set(err, ENOTSUP,
                            "its %u snapshots rest on the backing image as it is; delete them, or "
                            "use --keep",
                            q->header.snapshot_count);
    int ret = open_backing(&backing, source, q->header.backing_file, q->header.backing_format,
                           false, err);
    if (ret < 0)
        return ret;
    if (backing->size < q->base.size) {
        ret = backing->ops->resize ? backing->ops->resize(backing, q->base.size) : -ENOTSUP;
        if (ret < 0)
            ret = pv_error_errno(err, -ret, "making the backing image %llu bytes long",
                                 (unsigned long long)q->base.size);
    }
    if (ret == 0) {
        ret = copy_down(q, backing, progress);
        if (ret < 0)
            ret = pv_error_errno(err, -ret, "copying into the backing image");
    }
    pv_block_image_close(backing);
    if (ret < 0 || keep)
        return ret;
    ret = qcow2_unmap(q, 0, qcow2_clusters(q, q->base.size));
    if (ret == 0)
        ret = q->base.ops->flush(&q->base);
    if (ret == 0)
        ret = qcow2_trim_file(q);
    return ret < 0 ? pv_error_errno(err, -ret, "emptying it") : 0;
}

int pv_disk_commit(const char *path, bool keep, const struct pv_disk_progress *progress,
                   struct pv_error **err)
{
    struct qcow2 *q;
    int ret = qcow2_open_alone(&q, path, false, err);
    if (ret < 0)
        return pv_error_prefix(err, "disk '%s'", path);
    /* For telling the image from those behind it; its lock is another descriptor's. */
    PV_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    const struct pv_block_source source = {.fd = fd, .path = path};
    if (fd < 0)
        ret = pv_error_errno(err, errno, "opening it");
    else if (q->data != q->file)
        ret = pv_error_set(err, ENOTSUP, "it has an external data file");
    else
        ret = commit(q, &source, keep, progress, err);
    pv_block_image_close(&q->base);
    return ret < 0 ? pv_error_prefix(err, "disk '%s'", path) : 0;
}

/* ---- Rebase ---- */

/* One piece that the image does not store: it is copied from the old chain where the new differs.
 */
static int keep_contents(struct pv_block_image *image, struct pv_block_image *new, uint8_t *a,
                         uint8_t *b, size_t size, uint64_t offset)
{
    const struct iovec before = {.iov_base = a, .iov_len = size};
    const struct iovec after = {.iov_base = b, .iov_len = size};
    int ret = pv_block_backing_readv(image->backing, &before, 1, 0, size, offset);
    if (ret == 0)
        ret = pv_block_backing_readv(new, &after, 1, 0, size, offset);
    if (ret < 0 || !memcmp(a, b, size))
        return ret;
    /* Zeroes are written too: to the image, with its old chain, they would be there already. */
    return pv_block_image_write(image, a, size, offset);
}

static int copy_differences(struct qcow2 *q, struct pv_block_image *new,
                            const struct pv_disk_progress *progress)
{
    struct pv_block_image *image = &q->base;
    PV_CLEANUP_FREE uint8_t *a = malloc(q->cluster_size);
    PV_CLEANUP_FREE uint8_t *b = malloc(q->cluster_size);
    int ret = a && b ? 0 : -ENOMEM;
    for (uint64_t offset = 0, run = 0; offset < image->size && ret == 0; offset += run) {
        enum pv_block_extent what;
        ret = image->ops->extent(image, offset, image->size - offset, &what, &run);
        if (ret < 0)
            break;
        if (what == PV_EXTENT_BACKING) {
            uint64_t old_run = run, new_run;
            bool old_zero, new_zero = false;
            ret = pv_disk_known_zero(image->backing, offset, &old_run, &old_zero);
            new_run = old_run;
            if (ret == 0 && old_zero)
                ret = pv_disk_known_zero(new, offset, &new_run, &new_zero);
            run = new_run;
            if (ret == 0 && !(old_zero && new_zero)) {
                /* Up to the cluster's end, so that each is completed at once. */
                const uint64_t end = pv_align_down(offset, q->cluster_size) + q->cluster_size;
                run = PV_MIN(run, end - offset);
                ret = keep_contents(image, new, a, b, (size_t)run, offset);
            }
        }
        pv_disk_show(progress, offset + run, image->size);
    }
    return ret < 0 ? ret : image->ops->flush(image);
}

static int rebase_safely(struct qcow2 *q, const struct pv_block_source *source, const char *backing,
                         const char *format, const struct pv_disk_progress *progress,
                         struct pv_error **err)
{
    struct pv_block_image *new;
    if (q->header.snapshot_count)
        return pv_error_set(err, ENOTSUP,
                            "its %u snapshots rest on the backing image that it has; delete them "
                            "first",
                            q->header.snapshot_count);
    int ret = open_backing(&new, source, backing, format, true, err);
    if (ret < 0)
        return ret;
    if (!format && new)
        format = new->ops->name;
    ret = copy_differences(q, new, progress);
    pv_block_image_close(new);
    return ret < 0 ? pv_error_errno(err, -ret, "copying what differs")
                   : qcow2_header_write_backing(q, backing, format, err);
}

static int rebase_unsafely(struct qcow2 *q, const char *backing, const char *format,
                           struct pv_error **err)
{
    if (backing && !format)
        return pv_error_set(err, EINVAL,
                            "the format of backing image '%s' is not looked for; give it with "
                            "--backing-format",
                            backing);
    return qcow2_header_write_backing(q, backing, format, err);
}

int pv_disk_rebase(const char *path, const char *backing, const char *backing_format, bool unsafe,
                   const struct pv_disk_progress *progress, struct pv_error **err)
{
    struct pv_block_image *image = NULL;
    struct qcow2 *q = NULL;
    int ret;
    if (unsafe) {
        ret = qcow2_open_alone(&q, path, false, err);
    } else {
        ret = pv_block_image_open(&image, path, false, pv_block_qcow2.name, NULL, err);
        q = (struct qcow2 *)image;
    }
    if (ret < 0)
        return pv_error_prefix(err, "disk '%s'", path);
    PV_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    const struct pv_block_source source = {.fd = fd, .path = path};
    if (fd < 0)
        ret = pv_error_errno(err, errno, "opening it");
    else if (q->data != q->file)
        ret = pv_error_set(err, ENOTSUP, "it has an external data file");
    else if (unsafe)
        ret = rebase_unsafely(q, backing, backing_format, err);
    else
        ret = rebase_safely(q, &source, backing, backing_format, progress, err);
    pv_block_image_close(&q->base);
    return ret < 0 ? pv_error_prefix(err, "disk '%s'", path) : 0;
}

/* ---- Map ---- */

static int map_at(struct pv_block_image *image, struct pv_disk_extent *e)
{
    for (e->depth = 0; image; e->depth++, image = image->backing) {
        enum pv_block_extent what;
        uint64_t run;
        if (e->offset >= image->size)
            break;
        int ret = image->ops->extent(image, e->offset, PV_MIN(e->length, image->size - e->offset),
                                     &what, &run);
        if (ret < 0)
            return ret;
        e->length = run;
        if (what == PV_EXTENT_BACKING)
            continue;
        e->data = what == PV_EXTENT_DATA;
        return 0;
    }
    e->absent = true;
    e->depth = 0;
    return 0;
}

int pv_disk_map(const char *path, void (*show)(void *opaque, const struct pv_disk_extent *extent),
                void *opaque, struct pv_error **err)
{
    struct pv_block_image *image;
    int ret = pv_block_image_open(&image, path, true, NULL, NULL, err);
    if (ret < 0)
        return pv_error_prefix(err, "disk '%s'", path);
    struct pv_disk_extent last = {0};
    while (last.offset + last.length < image->size && ret == 0) {
        struct pv_disk_extent e = {.offset = last.offset + last.length};
        e.length = image->size - e.offset;
        ret = map_at(image, &e);
        if (ret == 0 && last.length && e.depth == last.depth && e.data == last.data &&
            e.absent == last.absent) {
            last.length += e.length;
            continue;
        }
        if (last.length)
            show(opaque, &last);
        last = e;
    }
    if (ret == 0 && last.length)
        show(opaque, &last);
    pv_block_image_close(image);
    return ret < 0 ? pv_error_errno(err, -ret, "disk '%s': reading its tables", path) : 0;
}
