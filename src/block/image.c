/* SPDX-License-Identifier: MIT */
/* Opening images: files, locks, formats, chains; and what formats share. */
#include "block/image.h"

#include "base/error.h"
#include "base/util.h"
#include "block/iov.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Deeper chains are refused: nobody makes them on purpose, and each image takes memory. */
#define DEPTH_MAX 128u

/* The first row that knows the file opens it. */
static const struct pv_block_format *const formats[] = {
    &pv_block_qcow2, &pv_block_vmdk, &pv_block_vhdx, &pv_block_vdi, &pv_block_dmg, &pv_block_raw,
};

#define KNOWN "qcow2, raw, vmdk, vhdx, vdi and dmg"

/* Formats that must not be mistaken for raw: the guest would see, and overwrite, their headers. */
static const struct {
    const char *name;
    unsigned len;
    const char *magic;
} foreign[] = {
    {"VHD", 8, "conectix"},
    {"compressed (gzip)", 3, "\x1f\x8b\x08"},
    {"compressed (xz)", 6,
     "\xfd"
     "7zXZ"},
    {"compressed (zstd)", 4, "\x28\xb5\x2f\xfd"},
};

static int lock_file(int fd, bool read_only, struct pv_error **err)
{
    /* Of the open file description: other opens, also in this process, are kept out. */
    struct flock lock = {.l_type = read_only ? F_RDLCK : F_WRLCK, .l_whence = SEEK_SET};
    if (fcntl(fd, F_OFD_SETLK, &lock) == 0)
        return 0;
    if (errno == EAGAIN || errno == EACCES)
        return pv_error_set(err, EBUSY, "it is in use by another VM%s",
                            read_only ? ", which may write to it" : "");
    return pv_error_errno(err, errno, "locking it");
}

static int open_file(const char *path, bool read_only, struct pv_error **err)
{
    /* O_NONBLOCK: a FIFO given by mistake must not hang here. */
    PV_CLEANUP_FD int fd = open(path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return pv_error_errno(err, errno, read_only ? "opening it" : "opening it for writing");
    struct stat st;
    if (fstat(fd, &st) < 0)
        return pv_error_errno(err, errno, "examining it");
    if (!S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode))
        return pv_error_set(err, EINVAL, "it is neither a file nor a block device");
    return PV_STEAL_FD(fd);
}

static bool same_file(int a, int b)
{
    struct stat sa, sb;
    return fstat(a, &sa) == 0 && fstat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
           sa.st_ino == sb.st_ino;
}

static int check_chain(const struct pv_block_source *source, struct pv_error **err)
{
    unsigned depth = 0;
    for (const struct pv_block_source *p = source->parent; p; p = p->parent) {
        if (same_file(p->fd, source->fd))
            return pv_error_set(err, ELOOP, "it is its own backing image, by way of '%s'", p->path);
        if (++depth > DEPTH_MAX)
            return pv_error_set(err, ELOOP, "a chain of more than %u images", DEPTH_MAX);
    }
    return 0;
}

static int read_head(struct pv_block_head *head, int fd, const char *path, struct pv_error **err)
{
    *head = (struct pv_block_head){.path = path};
    const ssize_t got = pread(fd, head->start, sizeof(head->start), 0);
    const off_t end = lseek(fd, 0, SEEK_END);
    if (got < 0 || end < 0)
        return pv_error_errno(err, errno, "reading it");
    head->size = (size_t)got;
    const off_t last = end - (off_t)sizeof(head->end);
    if (last >= 0 && pread(fd, head->end, sizeof(head->end), last) < 0)
        return pv_error_errno(err, errno, "reading its end");
    return 0;
}

int pv_block_probe(const struct pv_block_format **format, int fd, const char *path,
                   struct pv_error **err)
{
    struct pv_block_head head;
    int ret = read_head(&head, fd, path, err);
    if (ret < 0)
        return ret;
    for (size_t i = 0; i < PV_ARRAY_SIZE(foreign); i++)
        if (foreign[i].len <= head.size && !memcmp(head.start, foreign[i].magic, foreign[i].len))
            return pv_error_set(err, EINVAL, "it is a %s image; want " KNOWN, foreign[i].name);
    /* Raw takes all that no other knows. */
    size_t i = 0;
    while (!formats[i]->probe(&head))
        i++;
    *format = formats[i];
    return 0;
}

static int find_format(const struct pv_block_format **format, int fd, const char *path,
                       const char *name, struct pv_error **err)
{
    if (!name)
        return pv_block_probe(format, fd, path, err);
    for (size_t i = 0; i < PV_ARRAY_SIZE(formats); i++) {
        if (!strcmp(formats[i]->name, name)) {
            *format = formats[i];
            return 0;
        }
    }
    return pv_error_set(err, ENOTSUP, "disk format '%s' is not known; " KNOWN " are", name);
}

int pv_block_file_open(const char *path, bool read_only, struct pv_error **err)
{
    PV_CLEANUP_FD int fd = open_file(path, read_only, err);
    if (fd < 0)
        return fd;
    int ret = lock_file(fd, read_only, err);
    return ret < 0 ? ret : PV_STEAL_FD(fd);
}

int pv_block_image_open(struct pv_block_image **out, const char *path, bool read_only,
                        const char *format_name, const struct pv_block_source *parent,
                        struct pv_error **err)
{
    int ret = open_file(path, read_only, err);
    if (ret < 0)
        return ret;
    PV_CLEANUP_FD int fd = ret;
    const struct pv_block_source source = {
        .fd = fd, .path = path, .read_only = read_only, .parent = parent};
    const struct pv_block_format *format;
    ret = check_chain(&source, err);
    if (ret == 0)
        ret = lock_file(fd, read_only, err);
    if (ret == 0)
        ret = find_format(&format, fd, path, format_name, err);
    if (ret == 0)
        ret = format->open(out, &source, err);
    if (ret == 0)
        (void)PV_STEAL_FD(fd);
    return ret;
}

void pv_block_image_close(struct pv_block_image *image)
{
    if (image)
        image->ops->close(image);
}

char *pv_block_name_beside(const char *path, const char *name)
{
    const char *slash = strrchr(path, '/');
    char *full;
    if (*name == '/' || !slash)
        return strdup(name);
    return asprintf(&full, "%.*s/%s", (int)(slash - path), path, name) < 0 ? NULL : full;
}

/* ---- Transfers ---- */

int pv_block_image_read(struct pv_block_image *image, void *data, size_t length, uint64_t offset)
{
    const struct iovec iov = {.iov_base = data, .iov_len = length};
    return image->ops->read(image, &iov, 1, offset);
}

int pv_block_image_write(struct pv_block_image *image, const void *data, size_t length,
                         uint64_t offset)
{
    const struct iovec iov = {.iov_base = (void *)(uintptr_t)data, .iov_len = length};
    return image->ops->write(image, &iov, 1, offset);
}

static int transfer(int (*op)(struct pv_block_image *, const struct iovec *, unsigned, uint64_t),
                    struct pv_block_image *image, const struct iovec *iov, unsigned count,
                    uint64_t from, uint64_t length, uint64_t offset)
{
    int ret = 0;
    while (length && !ret) {
        struct iovec part[PV_IOV_BATCH];
        uint64_t covered;
        unsigned pieces = pv_iov_part(part, iov, count, from, length, &covered);
        if (!pieces)
            return -EINVAL;
        ret = op(image, part, pieces, offset);
        from += covered;
        offset += covered;
        length -= covered;
    }
    return ret;
}

int pv_block_image_readv(struct pv_block_image *image, const struct iovec *iov, unsigned count,
                         uint64_t from, uint64_t length, uint64_t offset)
{
    return transfer(image->ops->read, image, iov, count, from, length, offset);
}

int pv_block_image_writev(struct pv_block_image *image, const struct iovec *iov, unsigned count,
                          uint64_t from, uint64_t length, uint64_t offset)
{
    return transfer(image->ops->write, image, iov, count, from, length, offset);
}

int pv_block_backing_readv(struct pv_block_image *backing, const struct iovec *iov, unsigned count,
                           uint64_t from, uint64_t length, uint64_t offset)
{
    uint64_t there = 0;
    if (backing && offset < backing->size)
        there = PV_MIN(length, backing->size - offset);
    if (there) {
        int ret = pv_block_image_readv(backing, iov, count, from, there, offset);
        if (ret < 0)
            return ret;
    }
    pv_iov_zero(iov, count, from + there, length - there);
    return 0;
}
