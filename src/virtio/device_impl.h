/* SPDX-License-Identifier: MIT */
/* The base that device models embed; they touch nothing in it but what is said here. */
#ifndef PV_VIRTIO_DEVICE_IMPL_H
#define PV_VIRTIO_DEVICE_IMPL_H

#include "virtio/virtio.h"

#include <pthread.h>
#include <stdatomic.h>

struct pv_event;
struct pv_virtio_transport_ops;

#define PV_VIRTIO_MAX_QUEUES 64u

/*
 * A shared memory region (2.10): a window of guest-physical addresses that the device puts memory
 * into and takes it out of. Transports without room for it do not offer it.
 */
struct pv_virtio_shm {
    uint8_t id;
    uint64_t size; /* a power of two, whole pages */
    /*
     * Where the guest has the window now, UINT64_MAX: nowhere. When it returns, nothing is at the
     * old place any more. Without the device's lock, which must not be taken.
     */
    void (*moved)(void *opaque, uint64_t address);
    void *opaque;
};

/* Embedded first in every device model. */
struct pv_virtio_device {
    const struct pv_virtio_device_ops *ops;
    const struct pv_virtio_shm *shm; /* or NULL; set before the transport attaches */
    struct pv_loop *loop;
    struct pv_address_space *as;
    uint64_t driver_features; /* negotiated; good from start() to reset() */

    /* Private to virtio/. */
    pthread_mutex_t lock; /* protects all that follows, and the device model's state */
    uint64_t offered_features;
    uint8_t status;
    bool no_dma; /* by the transport's word */
    bool quiet;  /* no chains are taken */
    uint8_t config_generation;
    unsigned failures; /* since creation: the log stays readable when a guest fails on purpose */
    unsigned queue_count;
    struct pv_virtq *queues;
    struct pv_virtq_scratch *scratch;
    const struct pv_virtio_transport_ops *transport;
    void *transport_opaque;
    unsigned slot;             /* of the transport's */
    _Atomic uint64_t notified; /* a bit for each queue, set without the lock */
    struct pv_event *work;     /* runs queue_ready on the loop */
};

/*
 * Sets up the base with `queue_count` queues of up to `queue_size` entries each (a power of two, at
 * most PV_VIRTQ_MAX_SIZE). `features` are the device's own bits; the core adds those it handles.
 */
int pv_virtio_device_init(struct pv_virtio_device *dev, const struct pv_virtio_device_ops *ops,
                          struct pv_loop *loop, struct pv_address_space *as, uint64_t features,
                          unsigned queue_count, unsigned queue_size, struct pv_error **err);

/*
 * Allocates a device of `size` bytes whose first member is the base, all zero, and sets the base up
 * as above. ops->destroy frees it.
 */
int pv_virtio_device_create(struct pv_virtio_device **out, size_t size,
                            const struct pv_virtio_device_ops *ops, struct pv_loop *loop,
                            struct pv_address_space *as, uint64_t features, unsigned queue_count,
                            unsigned queue_size, struct pv_error **err);

/*
 * Releases the base, for a create function that fails after init; otherwise
 * pv_virtio_device_destroy() does. On the loop's thread, or when the loop does not run.
 */
void pv_virtio_device_finish(struct pv_virtio_device *dev);

#endif
