/* SPDX-License-Identifier: MIT */
#include "block/disk.h"

#include "base/error.h"
#include "base/util.h"
#include "block/image.h"
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* ---- Making ---- */

/* A new file as raw bytes. */
static int make_file(struct pv_block_image **out, const char *path, uint64_t size,
                     struct pv_error **err)
{
    PV_CLEANUP_FD int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0 && errno == EEXIST)
        return pv_error_set(err, EEXIST, "there is a file of that name");
    if (fd < 0)
        return pv_error_errno(err, errno, "making it");
    if (size > INT64_MAX || ftruncate(fd, (off_t)size) < 0) {
        const int code = size > INT64_MAX ? EFBIG : errno;
        unlink(path);
        return pv_error_errno(err, code, "making it %llu bytes long", (unsigned long long)size);
    }
    const struct pv_block_source source = {.fd = fd, .path = path};
    int ret = pv_block_raw.open(out, &source, err);
    if (ret == 0)
        (void)PV_STEAL_FD(fd);
    return ret;
}

/* What a backing image's name in `path` refers to; relative to its folder. */
static int open_backing(struct pv_block_image **out, const char *path, const char *name,
                        const char *format, struct pv_error **err)
{
    PV_CLEANUP_FREE char *full = pv_block_name_beside(path, name);
    if (!full)
        return pv_error_set(err, ENOMEM, "out of memory");
    int ret = pv_block_image_open(out, full, true, format, NULL, err);
    return ret < 0 ? pv_error_prefix(err, "backing image '%s'", full) : 0;
}

static int create_qcow2(const char *path, const struct pv_disk_options *options,
                        struct pv_error **err)
{
    struct pv_disk_options o = *options;
    if (o.backing) {
        struct pv_block_image *backing;
        int ret = open_backing(&backing, path, o.backing, o.backing_format, err);
        if (ret < 0)
            return ret;
        if (!o.size)
            o.size = backing->size;
        if (!o.backing_format)
            o.backing_format = backing->ops->name;
        pv_block_image_close(backing);
    }
    struct pv_block_image *file;
    int ret = make_file(&file, path, 0, err);
    if (ret < 0)
        return ret;
    ret = qcow2_format(file, &o, err);
    if (ret == 0 && (ret = file->ops->flush(file)) < 0)
        ret = pv_error_errno(err, -ret, "writing it");
    pv_block_image_close(file);
    if (ret < 0)
        unlink(path);
    return ret;
}

int pv_disk_create(const char *path, const char *format, const struct pv_disk_options *options,
                   struct pv_error **err)
{
    int ret;
    if (!strcmp(format, "qcow2")) {
        ret = create_qcow2(path, options, err);
    } else if (!strcmp(format, "raw")) {
        struct pv_block_image *file = NULL;
        ret = options->backing ? pv_error_set(err, EINVAL, "raw images have no backing image")
                               : make_file(&file, path, options->size, err);
        pv_block_image_close(file);
    } else {
        ret = pv_error_set(err, EINVAL, "format '%s', want qcow2 or raw", format);
    }
    return ret < 0 ? pv_error_prefix(err, "disk '%s'", path) : 0;
}

/* ---- Looking ---- */

static int describe_qcow2(struct pv_disk_info *info, struct pv_block_image *file,
                          struct pv_error **err)
{
    struct qcow2_header h;
    int ret = qcow2_header_read(&h, file, err);
    if (ret == 0) {
        info->size = h.size;
        info->version = h.version;
        info->cluster_size = 1u << h.cluster_bits;
        info->snapshots = h.snapshot_count;
        info->refcount_bits = 1u << h.refcount_order;
        info->compression = h.compression == QCOW2_ZSTD ? "zstd" : "zlib";
        info->dirty = h.incompatible & QCOW2_INCOMPATIBLE_DIRTY;
        info->corrupt = h.incompatible & QCOW2_INCOMPATIBLE_CORRUPT;
        info->lazy_refcounts = h.compatible & QCOW2_COMPATIBLE_LAZY;
        info->extended_l2 = h.incompatible & QCOW2_INCOMPATIBLE_EXTENDED_L2;
        info->backing = PV_STEAL(h.backing_file);
        info->backing_format = PV_STEAL(h.backing_format);
        info->data_file = PV_STEAL(h.data_file);
    }
    qcow2_header_finish(&h);
    return ret;
}

int pv_disk_info(struct pv_disk_info *info, const char *path, struct pv_error **err)
{
    *info = (struct pv_disk_info){.format = "raw"};
    struct stat st;
    if (stat(path, &st) < 0)
        return pv_error_errno(err, errno, "disk '%s'", path);
    info->used = (uint64_t)st.st_blocks * 512;
    PV_CLEANUP_FD int fd = pv_block_file_open(path, true, err);
    const struct pv_block_format *format = NULL;
    int ret = fd < 0 ? fd : pv_block_probe(&format, fd, path, err);
    /* qcow2 as raw bytes, so that an image whose backing image is missing can be looked at. */
    const bool qcow2 = format == &pv_block_qcow2;
    struct pv_block_image *image = NULL;
    if (ret == 0)
        ret = pv_block_image_open(&image, path, true, qcow2 ? "raw" : format->name, NULL, err);
    if (ret == 0) {
        info->format = format->name;
        info->size = image->size;
    }
    if (ret == 0 && qcow2)
        ret = describe_qcow2(info, image, err);
    pv_block_image_close(image);
    return ret < 0 ? pv_error_prefix(err, "disk '%s'", path) : 0;
}

void pv_disk_info_finish(struct pv_disk_info *info)
{
    free(info->backing);
    free(info->backing_format);
    free(info->data_file);
}

/* ---- Checking ---- */

int pv_disk_check(struct pv_disk_check *result, const char *path, bool repair,
                  struct pv_error **err)
{
    struct qcow2_check check = {0};
    int ret = qcow2_check_file(&check, path, repair, err);
    *result = (struct pv_disk_check){
        .clusters = check.clusters,
        .allocated = check.allocated,
        .compressed = check.packed,
        .leaks = check.leaks,
        .errors = check.errors,
        .repaired = check.repaired,
    };
    return ret < 0 ? pv_error_prefix(err, "disk '%s'", path) : 0;
}
