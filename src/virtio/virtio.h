/* SPDX-License-Identifier: MIT */
/*
 * What a virtio device model is built on (Virtual I/O Device version 1.3): devices implement
 * pv_virtio_device_ops and use the queue functions; transports (pci, mmio) drive them through
 * transport.h. A device never sees its transport.
 *
 * Locking: all device callbacks run with device->lock held, on a vCPU's thread (config accesses,
 * status) or on the device's loop (queue_ready work). A device that calls the queue functions from
 * elsewhere takes the lock with pv_virtio_lock(). Interrupts may be raised with the lock held.
 *
 * Trust: rings, descriptors and config writes are the guest's. Anything malformed puts the device
 * in its failed state (DEVICE_NEEDS_RESET, one log line); every queue function then returns
 * nothing until the driver resets the device.
 */
#ifndef PV_VIRTIO_VIRTIO_H
#define PV_VIRTIO_VIRTIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct pv_address_space;
struct pv_error;
struct pv_loop;
struct pv_record;
struct pv_virtio_device;
struct pv_virtq;

/* Device IDs, section 5. */
enum pv_virtio_id {
    PV_VIRTIO_ID_NET = 1,
    PV_VIRTIO_ID_BLOCK = 2,
    PV_VIRTIO_ID_CONSOLE = 3,
    PV_VIRTIO_ID_RNG = 4,
    PV_VIRTIO_ID_BALLOON = 5,
    PV_VIRTIO_ID_SCSI = 8,
    PV_VIRTIO_ID_9P = 9,
    PV_VIRTIO_ID_GPU = 16,
    PV_VIRTIO_ID_INPUT = 18,
    PV_VIRTIO_ID_VSOCK = 19,
    PV_VIRTIO_ID_SOUND = 25,
    PV_VIRTIO_ID_FS = 26,
};

/* Feature bits common to all devices, section 6. The core offers and handles these itself. */
#define PV_VIRTIO_F_INDIRECT_DESC   28
#define PV_VIRTIO_F_EVENT_IDX       29
#define PV_VIRTIO_F_VERSION_1       32
#define PV_VIRTIO_F_ACCESS_PLATFORM 33
#define PV_VIRTIO_F_RING_PACKED     34
#define PV_VIRTIO_F_RING_RESET      40

#define PV_VIRTQ_MAX_SIZE 1024u /* ring entries; also the longest descriptor chain accepted */

struct pv_virtio_device_ops {
    const char *name; /* "blk": for people and logs */
    enum pv_virtio_id id;
    /* Size in bytes of the device configuration space. */
    size_t config_size;
    /* [offset, offset + size) lies inside config_size. Both may be NULL. */
    void (*config_read)(struct pv_virtio_device *dev, size_t offset, void *buf, size_t size);
    void (*config_write)(struct pv_virtio_device *dev, size_t offset, const void *buf, size_t size);
    /* The driver set DRIVER_OK with dev->driver_features. May be NULL. */
    void (*start)(struct pv_virtio_device *dev);
    /*
     * Back to the state before start: forget every chain taken, stop host work or make sure that
     * its completion is ignored. May be NULL.
     */
    void (*reset)(struct pv_virtio_device *dev);
    /*
     * As reset, for one queue of a device that goes on: its chains are forgotten, and no host work
     * touches their memory when this returns. NULL for devices that keep no chains.
     */
    void (*queue_reset)(struct pv_virtio_device *dev, unsigned queue);
    /* The driver made buffers available in `queue`. On dev->loop. */
    void (*queue_ready)(struct pv_virtio_device *dev, unsigned queue);
    /*
     * Whether requests are under way that end in an order of their own, so that the state cannot be
     * recorded yet. NULL for devices that have none.
     */
    bool (*busy)(struct pv_virtio_device *dev);
    /*
     * Saves or loads what the device's own state is beside its queues. The chains that it holds are
     * the last that it took from their queue; it takes them again after loading. NULL where that
     * cannot be done.
     */
    void (*record)(struct pv_virtio_device *dev, struct pv_record *record);
    /* Frees the device's own state; the base has been finished. */
    void (*destroy)(struct pv_virtio_device *dev);
};

/* One buffer chain taken from a queue: the device-readable part comes first. */
struct pv_virtq_chain {
    uint16_t head;      /* for pv_virtq_push; opaque to devices */
    uint16_t entries;   /* likewise: of the ring, that it takes */
    uint32_t epoch;     /* likewise: a chain from before a reset is never pushed */
    unsigned out_count; /* iovecs the device reads */
    unsigned in_count;  /* iovecs the device writes */
    size_t out_bytes;
    size_t in_bytes;
    struct iovec *iov; /* out_count then in_count, host pointers into guest RAM */
};

/* ---- For devices ---- */

/*
 * Takes the next available chain. Returns 1 with *chain filled (free with pv_virtq_chain_finish
 * after push), 0 when there is none, negative after putting the device in its failed state.
 */
int pv_virtq_pop(struct pv_virtq *queue, struct pv_virtq_chain *chain);

/* Returns a chain with `written` bytes of its device-writable part filled in, and finishes it. */
void pv_virtq_push(struct pv_virtq *queue, struct pv_virtq_chain *chain, size_t written);

/* As that for several chains, which the driver sees appear at once. */
void pv_virtq_push_batch(struct pv_virtq *queue, struct pv_virtq_chain *chains,
                         const size_t *written, unsigned count);

/* Frees the chain's iovecs without returning it to the driver (after a reset). */
void pv_virtq_chain_finish(struct pv_virtq_chain *chain);

/* Interrupts the driver if it wants to know (event index or flags); once after a batch of pushes.
 */
void pv_virtq_notify(struct pv_virtq *queue);

/*
 * queue_ready handles at most this many chains and then calls pv_virtq_reschedule(), so that a
 * driver that never stops does not keep the loop from its other work.
 */
#define PV_VIRTQ_BUDGET 256u
void pv_virtq_reschedule(struct pv_virtq *queue);

/* Whether the queue is enabled on a device that the driver started and that has not failed. */
bool pv_virtq_running(const struct pv_virtq *queue);

/* Whether the driver has made more buffers available than were popped. */
bool pv_virtq_has_work(struct pv_virtq *queue);

/*
 * Whether the device is to leave the guest alone, because its state is being saved: chains that it
 * holds are not pushed either. What was waiting is notified again when that is over.
 */
bool pv_virtio_is_quiet(const struct pv_virtio_device *dev);

/* Copy between a linear buffer and a chain's readable / writable part; returns bytes copied. */
size_t pv_virtq_read(const struct pv_virtq_chain *chain, size_t offset, void *buf, size_t len);
size_t pv_virtq_write(const struct pv_virtq_chain *chain, size_t offset, const void *buf,
                      size_t len);

/*
 * Describes [offset, offset + len) of `count` iovecs, or as much as there is, in up to `max` of
 * them at `to`; returns how many.
 */
unsigned pv_virtq_slice(struct iovec *to, unsigned max, const struct iovec *from, unsigned count,
                        size_t offset, size_t len);

/* The guest-physical address of a chain's `i`th iovec. */
uint64_t pv_virtq_chain_address(const struct pv_virtq_chain *chain, unsigned i);

/* Config space changed: bump the generation and interrupt the driver. */
void pv_virtio_config_changed(struct pv_virtio_device *dev);

/* Puts the device in its failed state; the reason goes to the log. */
void pv_virtio_fail(struct pv_virtio_device *dev, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

bool pv_virtio_has_feature(const struct pv_virtio_device *dev, unsigned bit);
struct pv_virtq *pv_virtio_queue(struct pv_virtio_device *dev, unsigned index);
void pv_virtio_lock(struct pv_virtio_device *dev);
void pv_virtio_unlock(struct pv_virtio_device *dev);

/* ---- For those who make devices ---- */

/*
 * Whether packed rings are offered beside split ones; they are not unless asked for. Once, before
 * the guest runs.
 */
void pv_virtio_offer_packed(struct pv_virtio_device *dev, bool offer);

/* Where the transport put it: the slot of its PCI bus or of its bank. Once it is plugged in. */
unsigned pv_virtio_slot(const struct pv_virtio_device *dev);

/* Calls ops->destroy at the end. NULL is fine. */
void pv_virtio_device_destroy(struct pv_virtio_device *dev);

#endif
