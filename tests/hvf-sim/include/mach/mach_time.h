/* SPDX-License-Identifier: MIT */
/* The host's counter as macOS gives it; see Hypervisor.h. */
#ifndef PV_HVF_SIM_MACH_TIME_H
#define PV_HVF_SIM_MACH_TIME_H

#include <stdint.h>

typedef struct {
    uint32_t numer, denom; /* a tick is numer / denom nanoseconds */
} mach_timebase_info_data_t;

int mach_timebase_info(mach_timebase_info_data_t *info);
uint64_t mach_absolute_time(void);

#endif
