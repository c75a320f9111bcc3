/* SPDX-License-Identifier: MIT */
/*
 * virtio-balloon (section 5.5): memory that the guest does not need goes back to the host, because
 * the host asks for it (the target), or because the guest says that it is free (reporting).
 */
#ifndef PV_DEVICE_BALLOON_H
#define PV_DEVICE_BALLOON_H

#include <stdbool.h>
#include <stdint.h>

struct pv_address_space;
struct pv_error;
struct pv_loop;
struct pv_virtio_device;

/* Statistics by their tag, 5.5.6.4. Amounts of memory are bytes. */
enum pv_balloon_stat {
    PV_BALLOON_SWAP_IN,
    PV_BALLOON_SWAP_OUT,
    PV_BALLOON_MAJOR_FAULTS,
    PV_BALLOON_MINOR_FAULTS,
    PV_BALLOON_FREE,
    PV_BALLOON_TOTAL,
    PV_BALLOON_AVAILABLE,
    PV_BALLOON_CACHES,
    PV_BALLOON_HUGE_ALLOCATIONS,
    PV_BALLOON_HUGE_FAILURES,
    PV_BALLOON_OOM_KILLS,
    PV_BALLOON_ALLOCATION_STALLS,
    PV_BALLOON_ASYNC_SCAN,
    PV_BALLOON_DIRECT_SCAN,
    PV_BALLOON_ASYNC_RECLAIM,
    PV_BALLOON_DIRECT_RECLAIM,
    PV_BALLOON_STATS,
};

struct pv_balloon_info {
    uint64_t target;                  /* bytes that the host wants */
    uint64_t actual;                  /* bytes that the guest says it gave */
    uint64_t returned;                /* bytes given back to the host so far, by whatever way */
    uint32_t known;                   /* a bit for each statistic that the guest sent */
    uint64_t stats[PV_BALLOON_STATS]; /* as of its last answer */
};

/* What happens to it. On the device's loop with its lock held: no calls back. Any may be NULL. */
struct pv_balloon_events {
    /* New statistics came. */
    void (*stats)(void *opaque);
    /*
     * Between pv_balloon_hint(true) and (false): the contents of these bytes are of no use to the
     * guest until it writes to them again, so whoever copies its memory may leave them out.
     */
    void (*hinted)(void *opaque, uint64_t address, uint64_t len);
    /* The guest has named all it had. */
    void (*hints_done)(void *opaque);
    void *opaque;
};

/* `target`: bytes to ask the guest for from the start. `events` may be NULL. */
int pv_balloon_create(struct pv_virtio_device **out, struct pv_loop *loop,
                      struct pv_address_space *as, uint64_t target,
                      const struct pv_balloon_events *events, struct pv_error **err);

/* Any thread: */
void pv_balloon_set_target(struct pv_virtio_device *dev, uint64_t bytes);
void pv_balloon_info(struct pv_virtio_device *dev, struct pv_balloon_info *info);
/* Asks the guest for new statistics; false when its driver has none to give now. */
bool pv_balloon_request_stats(struct pv_virtio_device *dev);
/* Starts or ends a round of free page hints; false when the guest cannot. */
bool pv_balloon_hint(struct pv_virtio_device *dev, bool on);

#endif
