/* SPDX-License-Identifier: MIT */
/* Parts of scattered buffers. Ranges given lie inside the buffer. */
#ifndef PV_BLOCK_IOV_H
#define PV_BLOCK_IOV_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/* As many pieces as one system call gets. */
#define PV_IOV_BATCH 64u

/*
 * The beginning of [offset, offset + length) of a buffer as at most PV_IOV_BATCH pieces. Returns
 * how many; *covered is how many bytes they have.
 */
unsigned pv_iov_part(struct iovec part[PV_IOV_BATCH], const struct iovec *iov, unsigned count,
                     uint64_t offset, uint64_t length, uint64_t *covered);

void pv_iov_zero(const struct iovec *iov, unsigned count, uint64_t offset, uint64_t length);
/* From `data` into the buffer, and back. */
void pv_iov_fill(const struct iovec *iov, unsigned count, uint64_t offset, const void *data,
                 size_t length);
void pv_iov_gather(void *data, const struct iovec *iov, unsigned count, uint64_t offset,
                   size_t length);

#endif
