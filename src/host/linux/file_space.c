/* SPDX-License-Identifier: MIT */
#include "host/file_space.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <unistd.h>

int64_t pv_file_read_now(int fd, const struct iovec *iov, unsigned count, uint64_t offset)
{
    const ssize_t n = preadv2(fd, iov, (int)count, (off_t)offset, RWF_NOWAIT);

    return n < 0 ? -errno : n;
}

int pv_file_sync(int fd)
{
    return fdatasync(fd) < 0 ? -errno : 0;
}

static int allocate(int fd, int mode, uint64_t offset, uint64_t length)
{
    int ret;
    do
        ret = fallocate(fd, mode | FALLOC_FL_KEEP_SIZE, (off_t)offset, (off_t)length);
    while (ret < 0 && errno == EINTR);
    return ret < 0 ? -errno : 0;
}

int pv_file_punch(int fd, uint64_t offset, uint64_t length)
{
    return allocate(fd, FALLOC_FL_PUNCH_HOLE, offset, length);
}

int pv_file_zero(int fd, uint64_t offset, uint64_t length)
{
    return allocate(fd, FALLOC_FL_ZERO_RANGE, offset, length);
}

int pv_device_size(int fd, uint64_t *size)
{
    return ioctl(fd, BLKGETSIZE64, size) < 0 ? -errno : 0;
}
