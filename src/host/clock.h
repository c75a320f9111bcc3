/* SPDX-License-Identifier: MIT */
#ifndef PV_HOST_CLOCK_H
#define PV_HOST_CLOCK_H

#include <stdint.h>

#define PV_NSEC_PER_SEC UINT64_C(1000000000)

/* Nanoseconds on a clock that never goes back and stands still while the host sleeps. */
uint64_t pv_clock_ns(void);

/* Nanoseconds since 1970-01-01 UTC. */
uint64_t pv_clock_wall_ns(void);

#endif
