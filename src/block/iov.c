/* SPDX-License-Identifier: MIT */
#include "block/iov.h"

#include "base/util.h"

#include <string.h>

unsigned pv_iov_part(struct iovec part[PV_IOV_BATCH], const struct iovec *iov, unsigned count,
                     uint64_t offset, uint64_t length, uint64_t *covered)
{
    unsigned pieces = 0;
    *covered = 0;
    for (unsigned i = 0; i < count && length && pieces < PV_IOV_BATCH; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        size_t len = (size_t)PV_MIN((uint64_t)iov[i].iov_len - offset, length);
        part[pieces].iov_base = (char *)iov[i].iov_base + offset;
        part[pieces++].iov_len = len;
        *covered += len;
        length -= len;
        offset = 0;
    }
    return pieces;
}

/* Calls `piece` for each piece of the range, with the bytes of the range that came before it. */
static void for_each(const struct iovec *iov, unsigned count, uint64_t offset, uint64_t length,
                     void (*piece)(void *base, size_t len, uint64_t before, void *opaque),
                     void *opaque)
{
    uint64_t before = 0;
    while (before < length) {
        struct iovec part[PV_IOV_BATCH];
        uint64_t covered;
        unsigned pieces = pv_iov_part(part, iov, count, offset + before, length - before, &covered);
        if (!pieces)
            return;
        for (unsigned i = 0; i < pieces; i++) {
            piece(part[i].iov_base, part[i].iov_len, before, opaque);
            before += part[i].iov_len;
        }
    }
}

static void zero_piece(void *base, size_t len, uint64_t before, void *opaque)
{
    memset(base, 0, len);
}

static void fill_piece(void *base, size_t len, uint64_t before, void *opaque)
{
    memcpy(base, (const char *)opaque + before, len);
}

static void gather_piece(void *base, size_t len, uint64_t before, void *opaque)
{
    memcpy((char *)opaque + before, base, len);
}

void pv_iov_zero(const struct iovec *iov, unsigned count, uint64_t offset, uint64_t length)
{
    for_each(iov, count, offset, length, zero_piece, NULL);
}

void pv_iov_fill(const struct iovec *iov, unsigned count, uint64_t offset, const void *data,
                 size_t length)
{
    for_each(iov, count, offset, length, fill_piece, (void *)(uintptr_t)data);
}

void pv_iov_gather(void *data, const struct iovec *iov, unsigned count, uint64_t offset,
                   size_t length)
{
    for_each(iov, count, offset, length, gather_piece, data);
}
