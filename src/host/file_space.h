/* SPDX-License-Identifier: MIT */
/* What disks need of files beyond POSIX. Negative errno on failure; -EOPNOTSUPP where the file
 * system cannot. */
#ifndef PV_HOST_FILE_SPACE_H
#define PV_HOST_FILE_SPACE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

/*
 * Reads what the host has in memory, without waiting for a disk. Returns how many bytes those were
 * from `offset` on, or -EAGAIN when the first is not there.
 */
int64_t pv_file_read_now(int fd, const struct iovec *iov, unsigned count, uint64_t offset);

/* What was written is on the medium, and stays when the power fails. */
int pv_file_sync(int fd);

/* The bytes read as zeroes afterwards: their blocks are given back, or kept for later writes. */
int pv_file_punch(int fd, uint64_t offset, uint64_t length);
int pv_file_zero(int fd, uint64_t offset, uint64_t length);

/* The size of a block device, in bytes. */
int pv_device_size(int fd, uint64_t *size);

#endif
