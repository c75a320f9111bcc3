/* SPDX-License-Identifier: MIT */
/* Split virtqueues as the rest of virtio/ sees them. Everything here wants the device's lock. */
#ifndef PV_VIRTIO_QUEUE_H
#define PV_VIRTIO_QUEUE_H

#include "virtio/transport.h"
#include "virtio/virtio.h"

struct pv_virtq_desc;

struct pv_virtq {
    struct pv_virtio_device *dev;
    unsigned index;
    unsigned max_size;
    uint16_t size;
    bool enabled;
    uint64_t address[3]; /* by enum pv_virtq_part */

    /* The ring in guest RAM, while enabled. The guest may write to any of it at any time. */
    const struct pv_virtq_desc *desc;
    const uint16_t *avail; /* flags, idx, ring[size], used_event */
    uint16_t *used;        /* flags, idx, {id, len}[size], avail_event */

    uint16_t next_avail; /* ring index of the next chain to pop */
    uint16_t next_used;  /* ring index of the next chain to push */
    uint16_t signalled;  /* next_used when interrupting the driver was last considered */
    unsigned in_flight;  /* popped and not yet pushed */
    uint32_t epoch;      /* counts enables and resets */
};

/* Room to gather a chain before its length is known; one for each device. */
struct pv_virtq_scratch {
    struct iovec iov[PV_VIRTQ_MAX_SIZE];
    uint64_t address[PV_VIRTQ_MAX_SIZE];
};

/* Back to the state after device reset. */
void pv_virtq_reset(struct pv_virtq *queue);

/* Maps the ring; a bad one fails the device. */
void pv_virtq_enable(struct pv_virtq *queue);

#endif
