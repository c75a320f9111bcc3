/* SPDX-License-Identifier: MIT */
#include "base/error.h"
#include "base/util.h"
#include "block/image.h"
#include "block/iov.h"
#include "host/file_space.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>

#define ZERO_BUFFER 65536u

struct raw {
    struct pv_block_image base;
    int fd;
    /*
     * The run that a query found last, of a file that nobody writes to: some file systems look
     * through all of it for its end, each time.
     */
    pthread_mutex_t run_lock;
    uint64_t run_start, run_end;
    enum pv_block_extent run_kind;
};

static int raw_fd(const struct pv_block_image *image)
{
    return ((const struct raw *)image)->fd;
}

/* Drops the first `len` bytes of a batch of iovecs; returns the first that has bytes left. */
static unsigned advance(struct iovec *iov, unsigned first, unsigned count, size_t len)
{
    while (first < count && len >= iov[first].iov_len)
        len -= iov[first++].iov_len;
    if (first < count) {
        iov[first].iov_base = (char *)iov[first].iov_base + len;
        iov[first].iov_len -= len;
    }
    return first;
}

/* One batch; the iovecs are consumed. */
static int transfer_batch(int fd, bool write, struct iovec *iov, unsigned count, uint64_t offset)
{
    unsigned first = advance(iov, 0, count, 0);
    while (first < count) {
        ssize_t ret = write ? pwritev(fd, iov + first, (int)(count - first), (off_t)offset)
                            : preadv(fd, iov + first, (int)(count - first), (off_t)offset);
        if (ret < 0 && errno == EINTR)
            continue;
        if (ret < 0)
            return -errno;
        if (ret == 0) {
            if (write)
                return -EIO;
            /* Someone made the file shorter since it was opened. */
            for (unsigned i = first; i < count; i++)
                memset(iov[i].iov_base, 0, iov[i].iov_len);
            return 0;
        }
        offset += (uint64_t)ret;
        first = advance(iov, first, count, (size_t)ret);
    }
    return 0;
}

static int transfer(int fd, bool write, const struct iovec *iov, unsigned count, uint64_t offset)
{
    int ret = 0;
    while (count && !ret) {
        struct iovec batch[PV_IOV_BATCH];
        unsigned n = PV_MIN(count, PV_IOV_BATCH);
        uint64_t len = 0;
        for (unsigned i = 0; i < n; i++) {
            batch[i] = iov[i];
            len += iov[i].iov_len;
        }
        ret = transfer_batch(fd, write, batch, n, offset);
        offset += len;
        iov += n;
        count -= n;
    }
    return ret;
}

static int raw_read(struct pv_block_image *image, const struct iovec *iov, unsigned count,
                    uint64_t offset)
{
    return transfer(raw_fd(image), false, iov, count, offset);
}

/* What cannot be now, for whatever reason, a worker tries and finds the reason of. */
static int raw_read_now(struct pv_block_image *image, const struct iovec *iov, unsigned count,
                        uint64_t offset)
{
    uint64_t length = 0;

    if (count > PV_IOV_BATCH)
        return -EAGAIN;
    for (unsigned i = 0; i < count; i++)
        length += iov[i].iov_len;
    return pv_file_read_now(raw_fd(image), iov, count, offset) == (int64_t)length ? 0 : -EAGAIN;
}

static int raw_write(struct pv_block_image *image, const struct iovec *iov, unsigned count,
                     uint64_t offset)
{
    return transfer(raw_fd(image), true, iov, count, offset);
}

static int raw_flush(struct pv_block_image *image)
{
    /*
     * Whatever the reason: the host may have dropped what it could not write, and says so once. So
     * this is not a matter of room, which would be tried again.
     */
    return pv_file_sync(raw_fd(image)) < 0 ? -EIO : 0;
}

static int raw_discard(struct pv_block_image *image, uint64_t offset, uint64_t length)
{
    int ret = pv_file_punch(raw_fd(image), offset, length);
    /* A discard promises nothing, so a file system that cannot punch holes does no harm. */
    return ret == -EOPNOTSUPP ? 0 : ret;
}

static int write_zeroes(struct pv_block_image *image, uint64_t offset, uint64_t length)
{
    static const char zeroes[ZERO_BUFFER];
    int ret = 0;
    while (length && !ret) {
        const struct iovec iov = {.iov_base = (void *)zeroes,
                                  .iov_len = (size_t)PV_MIN(length, (uint64_t)ZERO_BUFFER)};
        ret = raw_write(image, &iov, 1, offset);
        offset += iov.iov_len;
        length -= iov.iov_len;
    }
    return ret;
}

static int raw_zero(struct pv_block_image *image, uint64_t offset, uint64_t length, bool unmap)
{
    int ret = unmap ? pv_file_punch(raw_fd(image), offset, length)
                    : pv_file_zero(raw_fd(image), offset, length);
    return ret == -EOPNOTSUPP ? write_zeroes(image, offset, length) : ret;
}

static int raw_resize(struct pv_block_image *image, uint64_t size)
{
    struct stat st;
    if (fstat(raw_fd(image), &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -ENOTSUP;
    if (size > INT64_MAX)
        return -EFBIG;
    if (ftruncate(raw_fd(image), (off_t)size) < 0)
        return -errno;
    image->size = size;
    return 0;
}

/* The run at `offset`. Holes are zeroes; where a file system does not know, all is data. */
static enum pv_block_extent find_run(int fd, uint64_t offset, uint64_t *end)
{
    const off_t data = lseek(fd, (off_t)offset, SEEK_DATA);

    *end = UINT64_MAX;
    if (data < 0)
        return errno == ENXIO ? PV_EXTENT_ZERO : PV_EXTENT_DATA;
    if ((uint64_t)data > offset) {
        *end = (uint64_t)data;
        return PV_EXTENT_ZERO;
    }
    const off_t hole = lseek(fd, (off_t)offset, SEEK_HOLE);
    if (hole >= 0 && (uint64_t)hole > offset)
        *end = (uint64_t)hole;
    return PV_EXTENT_DATA;
}

static int raw_extent(struct pv_block_image *image, uint64_t offset, uint64_t length,
                      enum pv_block_extent *what, uint64_t *run)
{
    struct raw *raw = (struct raw *)image;

    pthread_mutex_lock(&raw->run_lock);
    if (!image->read_only || offset < raw->run_start || offset >= raw->run_end) {
        raw->run_kind = find_run(raw->fd, offset, &raw->run_end);
        raw->run_start = offset;
    }
    *what = raw->run_kind;
    *run = PV_MIN(length, raw->run_end - offset);
    pthread_mutex_unlock(&raw->run_lock);
    return 0;
}

static void raw_close(struct pv_block_image *image)
{
    pthread_mutex_destroy(&((struct raw *)image)->run_lock);
    close(raw_fd(image)); /* and with it the lock */
    free(image);
}

static const struct pv_block_image_ops raw_ops = {
    .name = "raw",
    .read = raw_read,
    .read_now = raw_read_now,
    .write = raw_write,
    .flush = raw_flush,
    .discard = raw_discard,
    .zero = raw_zero,
    .resize = raw_resize,
    .extent = raw_extent,
    .close = raw_close,
};

static bool raw_probe(const struct pv_block_head *head)
{
    return true;
}

static int raw_size(int fd, uint64_t *size, struct pv_error **err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return pv_error_errno(err, errno, "reading its size");
    if (S_ISREG(st.st_mode)) {
        *size = (uint64_t)st.st_size;
        return 0;
    }
    int ret = pv_device_size(fd, size);
    return ret < 0 ? pv_error_errno(err, -ret, "reading the block device's size") : 0;
}

static int raw_open(struct pv_block_image **out, const struct pv_block_source *source,
                    struct pv_error **err)
{
    uint64_t size;
    int ret = raw_size(source->fd, &size, err);
    if (ret < 0)
        return ret;
    struct raw *raw = calloc(1, sizeof(*raw));
    if (!raw)
        return pv_error_set(err, ENOMEM, "out of memory");
    raw->base = (struct pv_block_image){
        .ops = &raw_ops,
        .size = size,
        .read_only = source->read_only,
        .can_discard = !source->read_only,
    };
    raw->fd = source->fd;
    pthread_mutex_init(&raw->run_lock, NULL);
    *out = &raw->base;
    return 0;
}

const struct pv_block_format pv_block_raw = {
    .name = "raw",
    .probe = raw_probe,
    .open = raw_open,
};
