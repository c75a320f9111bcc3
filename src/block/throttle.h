/* SPDX-License-Identifier: MIT */
/*
 * How fast a disk may be. Each request makes the next one wait for as long as it takes at the given
 * rates; what was not used before may be used later, up to a tenth of a second of it, so that a
 * rate is kept in spite of gaps between requests. Times are of any clock that goes on.
 */
#ifndef PV_BLOCK_THROTTLE_H
#define PV_BLOCK_THROTTLE_H

#include <stdint.h>

struct pv_throttle {
    uint64_t iops, bps;           /* requests and bytes a second; 0: as fast as it goes */
    uint64_t iops_next, bps_next; /* when the next request may begin */
};

/* When a request may begin, which is now if this is not in the future. */
uint64_t pv_throttle_next(const struct pv_throttle *throttle);

/* One of so many bytes begins. */
void pv_throttle_take(struct pv_throttle *throttle, uint64_t now_ns, uint64_t bytes);

#endif
