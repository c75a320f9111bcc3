/* SPDX-License-Identifier: MIT */
/* Changing one image: its size, the space that it takes, its snapshots. */
#include "base/error.h"
#include "base/util.h"
#include "block/disk_internal.h"
#include "block/image.h"
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* ---- Size ---- */

static int resize(struct pv_block_image *image, uint64_t size, bool shrink, struct pv_error **err)
{
    if (size < image->size && !shrink)
        return pv_error_set(err, EINVAL,
                            "its size is %llu bytes; --shrink gives up what is beyond %llu",
                            (unsigned long long)image->size, (unsigned long long)size);
    int ret = image->ops->resize ? image->ops->resize(image, size) : -ENOTSUP;
    if (ret == 0)
        ret = image->ops->flush(image);
    if (ret == -ENOTSUP)
        return pv_error_set(err, ENOTSUP,
                            "its size cannot be changed: block devices, read-only formats, images "
                            "with an external data file and, to shrink, with snapshots");
    if (ret == -EFBIG)
        return pv_error_set(err, EFBIG, "a disk of %llu bytes wants larger clusters",
                            (unsigned long long)size);
    return ret < 0 ? pv_error_errno(err, -ret, "resizing it") : 0;
}

int pv_disk_resize(const char *path, uint64_t size, bool shrink, struct pv_error **err)
{
    struct pv_block_image *image;
    int ret = pv_block_image_open(&image, path, false, NULL, NULL, err);
    if (ret == 0) {
        ret = resize(image, size, shrink, err);
        pv_block_image_close(image);
    }
    return ret < 0 ? pv_error_prefix(err, "disk '%s'", path) : 0;
}

/* ---- Space ---- */

/* What the image itself stores of zeroes becomes zeroes that take no space. */
static int drop_zeroes(struct pv_block_image *image, size_t unit,
                       const struct pv_disk_progress *progress)
{
    PV_CLEANUP_FREE uint8_t *data = malloc(unit);
    if (!data)
        return -ENOMEM;
    uint64_t offset = 0;
    int ret = 0;
    while (offset < image->size && ret == 0) {
        enum pv_block_extent what;
        uint64_t run;
        const size_t size = (size_t)PV_MIN((uint64_t)unit, image->size - offset);
        ret = image->ops->extent(image, offset, image->size - offset, &what, &run);
        if (ret == 0 && what != PV_EXTENT_DATA && run >= size) {
            offset += run == image->size - offset ? run : pv_align_down(run, unit);
            continue;
        }
        if (ret == 0)
            ret = pv_block_image_read(image, data, size, offset);
        if (ret == 0 && pv_disk_all_zero(data, size))
            ret = image->ops->zero(image, offset, size, true);
        offset += size;
        pv_disk_show(progress, offset, image->size);
    }
    return ret < 0 ? ret : image->ops->flush(image);
}

static uint64_t used_bytes(const char *path)
{
    struct stat st;
    return stat(path, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

static int compact(struct pv_block_image *image, const struct pv_disk_progress *progress,
                   struct pv_error **err)
{
    size_t unit = 65536;
    struct qcow2 *q = NULL;
    if (image->ops->name == pv_block_qcow2.name)
        q = (struct qcow2 *)image;
    if (q) {
        /* Refcounts decide what the file's free end is. */
        struct qcow2_check check;
        int ret = qcow2_check(q, false, &check, err);
        if (ret == 0 && check.errors)
            ret = pv_error_set(err, EIO, "it is damaged (%llu errors); repair it first",
                               (unsigned long long)check.errors);
        if (ret < 0)
            return ret;
        unit = q->cluster_size;
    }
    /* Version 2 has no zero clusters: they would be written. */
    int ret = q && q->header.version < 3 ? 0 : drop_zeroes(image, unit, progress);
    if (ret == 0 && q)
        ret = qcow2_trim_file(q);
    return ret < 0 ? pv_error_errno(err, -ret, "compacting it") : 0;
}

int pv_disk_compact(const char *path, const struct pv_disk_progress *progress, uint64_t *saved,
                    struct pv_error **err)
{
    const uint64_t before = used_bytes(path);
    struct pv_block_image *image;
    int ret = pv_block_image_open(&image, path, false, NULL, NULL, err);
    if (ret < 0)
        return pv_error_prefix(err, "disk '%s'", path);
    ret = compact(image, progress, err);
    pv_block_image_close(image);
    if (ret < 0)
        return pv_error_prefix(err, "disk '%s'", path);
    const uint64_t after = used_bytes(path);
    *saved = before > after ? before - after : 0;
    return 0;
}

/* ---- Snapshots ---- */

static int with_snapshot(const char *path, const char *name, struct pv_error **err,
                         int (*verb)(struct qcow2 *, const char *, struct pv_error **))
{
    struct qcow2 *q;
    int ret = qcow2_open_alone(&q, path, false, err);
    if (ret == 0) {
        ret = verb(q, name, err);
        pv_block_image_close(&q->base);
    }
    return ret < 0 ? pv_error_prefix(err, "disk '%s'", path) : 0;
}

int pv_disk_snapshot_create(const char *path, const char *name, struct pv_error **err)
{
    return with_snapshot(path, name, err, qcow2_snapshot_create);
}

int pv_disk_snapshot_apply(const char *path, const char *name, struct pv_error **err)
{
    return with_snapshot(path, name, err, qcow2_snapshot_apply);
}

int pv_disk_snapshot_delete(const char *path, const char *name, struct pv_error **err)
{
    return with_snapshot(path, name, err, qcow2_snapshot_delete);
}

int pv_disk_snapshot_rescue(const char *path, const char *name, struct pv_error **err)
{
    struct qcow2 *q;
    int ret = qcow2_open_repair(&q, path, false, err);
    if (ret == 0) {
        ret = qcow2_snapshot_rescue(q, name, err);
        pv_block_image_close(&q->base);
    }
    return ret < 0 ? pv_error_prefix(err, "disk '%s'", path) : 0;
}

int pv_disk_snapshot_list(const char *path,
                          void (*show)(void *opaque, const struct pv_disk_snapshot *snapshot),
                          void *opaque, struct pv_error **err)
{
    struct qcow2 *q;
    int ret = qcow2_open_alone(&q, path, true, err);
    if (ret < 0)
        return pv_error_prefix(err, "disk '%s'", path);
    struct qcow2_snapshots list;
    ret = qcow2_snapshots_load(q, &list);
    for (uint32_t i = 0; i < list.count && ret == 0; i++) {
        const struct qcow2_snapshot *s = &list.all[i];
        const struct pv_disk_snapshot out = {
            .id = s->id,
            .name = s->name,
            .seconds = s->seconds,
            .size = s->disk_size,
            .vm_state_size = s->vm_state_size,
        };
        show(opaque, &out);
    }
    qcow2_snapshots_finish(&list);
    pv_block_image_close(&q->base);
    return ret < 0 ? pv_error_errno(err, -ret, "disk '%s': reading its snapshots", path) : 0;
}
