/* SPDX-License-Identifier: MIT */
#include "host/file_space.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <unistd.h>
#if __has_include(<sys/disk.h>)
#include <sys/disk.h>
#else /* a cross compiler's headers have less than Apple's */
#define DKIOCGETBLOCKSIZE  _IOR('d', 24, uint32_t)
#define DKIOCGETBLOCKCOUNT _IOR('d', 25, uint64_t)
#endif

/* This system has no read that does not wait. */
int64_t pv_file_read_now(int fd, const struct iovec *iov, unsigned count, uint64_t offset)
{
    return -EAGAIN;
}

/* fsync() leaves it in the drive's cache; where there is no drive, it is all there is. */
int pv_file_sync(int fd)
{
    if (fcntl(fd, F_FULLFSYNC) == 0 || fsync(fd) == 0)
        return 0;
    return -errno;
}

/* APFS punches whole blocks only: the caller writes zeroes when it refuses. */
int pv_file_punch(int fd, uint64_t offset, uint64_t length)
{
    fpunchhole_t hole = {.fp_offset = (off_t)offset, .fp_length = (off_t)length};
    if (fcntl(fd, F_PUNCHHOLE, &hole) == 0)
        return 0;
    return errno == EINVAL || errno == ENOTSUP ? -EOPNOTSUPP : -errno;
}

int pv_file_zero(int fd, uint64_t offset, uint64_t length)
{
    (void)fd;
    (void)offset;
    (void)length;
    return -EOPNOTSUPP;
}

int pv_device_size(int fd, uint64_t *size)
{
    uint32_t block_size;
    uint64_t blocks;
    if (ioctl(fd, DKIOCGETBLOCKSIZE, &block_size) < 0 || ioctl(fd, DKIOCGETBLOCKCOUNT, &blocks) < 0)
        return -errno;
    *size = blocks * block_size;
    return 0;
}
