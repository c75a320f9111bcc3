/* SPDX-License-Identifier: MIT */
#include "host/file_copy.h"

#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#ifdef __linux__
#include <linux/fs.h>
#include <sys/ioctl.h>
#endif

#define CHUNK (256 * PV_KIB)

static int share_blocks(int from, int to)
{
#ifdef FICLONE
    return ioctl(to, FICLONE, from);
#else
    return -1;
#endif
}

static int copy_range(int from, int to, char *chunk, off_t at, off_t end)
{
    while (at < end) {
        ssize_t n = pread(from, chunk, (size_t)PV_MIN((uint64_t)(end - at), CHUNK), at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : 0; /* it became shorter: the rest stays a hole */
        for (ssize_t done = 0, m; done < n; done += m) {
            m = pwrite(to, chunk + done, (size_t)(n - done), at + done);
            if (m < 0 && errno != EINTR)
                return -errno;
            m = PV_MAX(m, 0);
        }
        at += n;
    }
    return 0;
}

static int copy_data(int from, int to, off_t size)
{
    PV_CLEANUP_FREE char *chunk = malloc(CHUNK);
    if (!chunk)
        return -ENOMEM;
    if (ftruncate(to, size) < 0)
        return -errno;
    for (off_t at = 0; at < size;) {
        off_t data = lseek(from, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO) /* a hole up to the end */
            return 0;
        /* A file system that knows no holes says so: then all is data. */
        off_t hole = data < 0 ? size : lseek(from, data, SEEK_HOLE);
        data = PV_MAX(data, at);
        hole = hole < 0 ? size : hole;
        int ret = copy_range(from, to, chunk, data, hole);
        if (ret < 0)
            return ret;
        at = hole;
    }
    return 0;
}

int pv_file_copy(const char *from, const char *to, struct pv_error **err)
{
    PV_CLEANUP_FREE char *temporary = NULL;
    struct stat st;
    PV_CLEANUP_FD int in = open(from, O_RDONLY | O_CLOEXEC);
    if (in < 0 || fstat(in, &st) < 0)
        return pv_error_errno(err, errno, "%s", from);
    if (!S_ISREG(st.st_mode))
        return pv_error_set(err, EINVAL, "%s: not a regular file", from);
    if (asprintf(&temporary, "%s.new", to) < 0) {
        temporary = NULL;
        return pv_error_set(err, ENOMEM, "%s: out of memory", to);
    }
    PV_CLEANUP_FD int out = open(temporary, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
                                 st.st_mode & (S_IRWXU | S_IRWXG | S_IRWXO));
    if (out < 0)
        return pv_error_errno(err, errno, "%s", temporary);
    int ret = share_blocks(in, out) == 0 ? 0 : copy_data(in, out, st.st_size);
    if (ret >= 0 && (fsync(out) < 0 || link(temporary, to) < 0))
        ret = -errno;
    unlink(temporary);
    return ret < 0 ? pv_error_errno(err, -ret, "%s", to) : 0;
}
