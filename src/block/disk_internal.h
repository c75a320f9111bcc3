/* SPDX-License-Identifier: MIT */
/* What the files of disk.h share. */
#ifndef PV_BLOCK_DISK_INTERNAL_H
#define PV_BLOCK_DISK_INTERNAL_H

#include "block/disk.h"

#include <stddef.h>

struct pv_block_image;

static inline void pv_disk_show(const struct pv_disk_progress *progress, uint64_t done,
                                uint64_t total)
{
    if (progress && progress->show)
        progress->show(progress->opaque, done, total);
}

bool pv_disk_all_zero(const uint8_t *data, size_t size);

/*
 * Whether `image`, which may be NULL, and what is behind it read as zeroes at `offset`, as far as
 * can be told without reading. *run comes in as a length, and goes out as for how much of it that
 * holds.
 */
int pv_disk_known_zero(struct pv_block_image *image, uint64_t offset, uint64_t *run, bool *zero);

#endif
