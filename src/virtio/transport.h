/* SPDX-License-Identifier: MIT */
/*
 * The transport's side of a virtio device: what registers (PCI or MMIO) are made of. Every call
 * here is made with the device's lock held, except where it says otherwise; registers that a
 * transport keeps itself (selectors, vectors) are best kept under that lock too.
 */
#ifndef PV_VIRTIO_TRANSPORT_H
#define PV_VIRTIO_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_record;
struct pv_virtio_device;

/* Device status, section 2.1. */
#define PV_VIRTIO_STATUS_ACKNOWLEDGE 1u
#define PV_VIRTIO_STATUS_DRIVER      2u
#define PV_VIRTIO_STATUS_DRIVER_OK   4u
#define PV_VIRTIO_STATUS_FEATURES_OK 8u
#define PV_VIRTIO_STATUS_NEEDS_RESET 64u
#define PV_VIRTIO_STATUS_FAILED      128u

/* Interrupt status bits, the same in both transports (4.1.4.5 and 4.2.2). */
#define PV_VIRTIO_ISR_QUEUE  1u
#define PV_VIRTIO_ISR_CONFIG 2u

/* All with the device's lock held, from any thread. */
struct pv_virtio_transport_ops {
    void (*queue_interrupt)(void *opaque, unsigned queue);
    void (*config_interrupt)(void *opaque);
    /* The device went back to its initial state: so do the transport's registers. */
    void (*reset)(void *opaque);
};

/* Once, before the guest sees the device, which is in `slot` now; no lock. */
void pv_virtio_attach(struct pv_virtio_device *dev, const struct pv_virtio_transport_ops *ops,
                      unsigned slot, void *opaque);

/* Half a feature word: `word` 0 is bits 31:0, 1 is bits 63:32, others read as 0. */
uint32_t pv_virtio_device_features(const struct pv_virtio_device *dev, uint32_t word);
uint32_t pv_virtio_driver_features(const struct pv_virtio_device *dev, uint32_t word);
void pv_virtio_set_driver_features(struct pv_virtio_device *dev, uint32_t word, uint32_t value);

uint8_t pv_virtio_status(const struct pv_virtio_device *dev);
/* 0 resets. A set of features that the device cannot take leaves FEATURES_OK clear. */
void pv_virtio_set_status(struct pv_virtio_device *dev, uint8_t status);

/* Device configuration; bytes beyond its end read as 0, and writes to them are dropped. */
uint64_t pv_virtio_config_read(struct pv_virtio_device *dev, uint64_t offset, unsigned size);
void pv_virtio_config_write(struct pv_virtio_device *dev, uint64_t offset, unsigned size,
                            uint64_t value);
uint8_t pv_virtio_config_generation(const struct pv_virtio_device *dev);

unsigned pv_virtio_queue_count(const struct pv_virtio_device *dev);

/* The three parts of a ring, split (section 2.7) or packed (2.8). */
enum pv_virtq_part {
    PV_VIRTQ_DESC,
    PV_VIRTQ_DRIVER, /* the available ring, or the driver's event structure */
    PV_VIRTQ_DEVICE, /* the used ring, or the device's event structure */
};

/* Queues out of range read as 0 and take no writes; an enabled queue takes no changes. */
unsigned pv_virtio_queue_max_size(const struct pv_virtio_device *dev, unsigned queue);
unsigned pv_virtio_queue_size(const struct pv_virtio_device *dev, unsigned queue);
void pv_virtio_queue_set_size(struct pv_virtio_device *dev, unsigned queue, uint16_t size);
uint64_t pv_virtio_queue_address(const struct pv_virtio_device *dev, unsigned queue,
                                 enum pv_virtq_part part);
/* Sets the low (`high` false) or high half of an address. */
void pv_virtio_queue_set_address(struct pv_virtio_device *dev, unsigned queue,
                                 enum pv_virtq_part part, bool high, uint32_t value);
bool pv_virtio_queue_enabled(const struct pv_virtio_device *dev, unsigned queue);
/* A ring that cannot be (wild address, odd size) fails the device. */
void pv_virtio_queue_enable(struct pv_virtio_device *dev, unsigned queue);
void pv_virtio_queue_disable(struct pv_virtio_device *dev, unsigned queue);
/*
 * With VIRTIO_F_RING_RESET (2.6.1): the queue is as after a reset of the device, and none of its
 * buffers is used any more when this returns.
 */
void pv_virtio_queue_reset(struct pv_virtio_device *dev, unsigned queue);

/* The driver's kick. Any thread, without the lock. */
void pv_virtio_queue_notify(struct pv_virtio_device *dev, unsigned queue);

/*
 * Whether the device may access memory, as it may from the start: while not, its queues stand still
 * and buffers that it finishes are not given back.
 */
void pv_virtio_allow_dma(struct pv_virtio_device *dev, bool allow);

/*
 * While quiet, the device takes no chains from its queues; whether it is also done with those that
 * it took before.
 */
bool pv_virtio_quiet(struct pv_virtio_device *dev, bool quiet);

/*
 * The device's state and that of its queues; while it is quiet, done and no vCPU executes. What a
 * driver gave it and it still holds, empty buffers say, is saved as not taken yet.
 */
void pv_virtio_record(struct pv_virtio_device *dev, struct pv_record *record);

/* Back to the initial state, as by writing status 0. */
void pv_virtio_reset(struct pv_virtio_device *dev);

#endif
