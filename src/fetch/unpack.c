/* SPDX-License-Identifier: MIT */
#include "fetch/unpack.h"

#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <lzma.h>
#include <string.h>

#define PIECE      ((size_t)256 << 10)
#define HOLE       ((size_t)4096)
#define MEMORY_MAX (UINT64_C(512) << 20)

bool unpack_is_xz(const char *path)
{
    static const char magic[6] = {'\xfd', '7', 'z', 'X', 'Z', 0};
    char head[sizeof(magic)];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? pread(fd, head, sizeof(head), 0) : -1;
    if (fd >= 0)
        close(fd);
    return n == (ssize_t)sizeof(head) && !memcmp(head, magic, sizeof(head));
}

struct unpack {
    const char *from, *to;
    int in, out;
    uint64_t size; /* that was written, holes included */
    lzma_stream lzma;
    uint8_t packed[PIECE], plain[PIECE];
};

static bool is_zero(const uint8_t *data, size_t size)
{
    return !data[0] && !memcmp(data, data + 1, size - 1);
}

static int put(struct unpack *u, const uint8_t *data, size_t size, struct pv_error **err)
{
    for (size_t done = 0, n; done < size; done += n) {
        n = PV_MIN(size - done, HOLE);
        if (!is_zero(data + done, n) &&
            pwrite(u->out, data + done, n, (off_t)(u->size + done)) != (ssize_t)n)
            return pv_error_errno(err, errno ? errno : EIO, "%s", u->to);
    }
    u->size += size;
    return 0;
}

/* True at the end of the file. */
static int refill(struct unpack *u, struct pv_error **err)
{
    ssize_t n = read(u->in, u->packed, PIECE);
    if (n < 0)
        return pv_error_errno(err, errno, "%s", u->from);
    u->lzma.next_in = u->packed;
    u->lzma.avail_in = (size_t)n;
    return n == 0;
}

static int unpack_all(struct unpack *u, struct pv_error **err)
{
    lzma_ret code = LZMA_OK;
    int end = 0;
    while (code == LZMA_OK) {
        if (!u->lzma.avail_in && !end)
            end = refill(u, err);
        if (end < 0)
            return end;
        u->lzma.next_out = u->plain;
        u->lzma.avail_out = PIECE;
        errno = 0;
        code = lzma_code(&u->lzma, end ? LZMA_FINISH : LZMA_RUN);
        int ret = put(u, u->plain, PIECE - u->lzma.avail_out, err);
        if (ret < 0)
            return ret;
    }
    if (code != LZMA_STREAM_END)
        return pv_error_set(err, EINVAL, "%s: %s", u->from,
                            code == LZMA_BUF_ERROR   ? "its xz data end too early"
                            : code == LZMA_MEM_ERROR ? "out of memory"
                                                     : "its xz data are damaged");
    return ftruncate(u->out, (off_t)u->size) < 0 ? pv_error_errno(err, errno, "%s", u->to) : 0;
}

int unpack_xz(const char *from, const char *to, struct pv_error **err)
{
    PV_CLEANUP_FREE struct unpack *u = calloc(1, sizeof(*u));
    int ret = 0;
    if (!u)
        return pv_error_set(err, ENOMEM, "%s: out of memory", from);
    u->from = from;
    u->to = to;
    u->lzma = (lzma_stream)LZMA_STREAM_INIT;
    u->in = open(from, O_RDONLY | O_CLOEXEC);
    u->out = u->in >= 0 ? open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666) : -1;
    if (u->out < 0)
        ret = pv_error_errno(err, errno, "%s", u->in < 0 ? from : to);
    else if (lzma_stream_decoder(&u->lzma, MEMORY_MAX, LZMA_CONCATENATED) != LZMA_OK)
        ret = pv_error_set(err, ENOMEM, "%s: out of memory", from);
    if (ret == 0)
        ret = unpack_all(u, err);
    lzma_end(&u->lzma);
    if (u->in >= 0)
        close(u->in);
    if (u->out >= 0)
        close(u->out);
    return ret;
}
