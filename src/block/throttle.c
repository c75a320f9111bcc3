/* SPDX-License-Identifier: MIT */
#include "block/throttle.h"

#include "base/util.h"
#include "host/clock.h"

#define BURST_NS (PV_NSEC_PER_SEC / 10)

uint64_t pv_throttle_next(const struct pv_throttle *throttle)
{
    return PV_MAX(throttle->iops ? throttle->iops_next : 0, throttle->bps ? throttle->bps_next : 0);
}

/* The time of so much at such a rate; of more than a year, a year. */
static uint64_t time_of(uint64_t amount, uint64_t rate)
{
    const unsigned __int128 ns = (unsigned __int128)amount * PV_NSEC_PER_SEC / rate;
    const uint64_t most = UINT64_C(366) * 24 * 3600 * PV_NSEC_PER_SEC;

    return ns > most ? most : (uint64_t)ns;
}

static void take(uint64_t *next, uint64_t now_ns, uint64_t cost_ns)
{
    const uint64_t earliest = now_ns > BURST_NS ? now_ns - BURST_NS : 0;

    *next = PV_MAX(*next, earliest) + cost_ns;
}

void pv_throttle_take(struct pv_throttle *throttle, uint64_t now_ns, uint64_t bytes)
{
    if (throttle->iops)
        take(&throttle->iops_next, now_ns, time_of(1, throttle->iops));
    if (throttle->bps)
        take(&throttle->bps_next, now_ns, time_of(bytes, throttle->bps));
}
