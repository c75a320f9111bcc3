/* SPDX-License-Identifier: MIT */
/*
 * Virtqueues as the rest of virtio/ sees them: what both ring formats share, and the seam between
 * the chains that devices handle (queue.c) and the two formats (queue_split.c, queue_packed.c).
 * Everything here wants the device's lock.
 */
#ifndef PV_VIRTIO_QUEUE_H
#define PV_VIRTIO_QUEUE_H

#include "virtio/transport.h"
#include "virtio/virtio.h"

struct pv_virtq_ring_ops;
struct pv_virtq_desc;
struct pv_virtq_packed_desc;

/* A place in a packed ring: the wrap counter changes whenever the index starts at 0 again. */
struct pv_virtq_cursor {
    uint16_t index;
    bool wrap;
};

struct pv_virtq {
    struct pv_virtio_device *dev;
    unsigned index;
    unsigned max_size;
    uint16_t size;
    bool enabled;
    uint64_t address[3]; /* by enum pv_virtq_part */

    const struct pv_virtq_ring_ops *ring; /* while enabled */
    unsigned in_flight;                   /* ring entries popped and not yet pushed */
    unsigned pending;                     /* entries of this batch put and not yet published */
    unsigned unsignalled; /* entries published since interrupting was last considered */
    uint32_t epoch;       /* counts enables and resets */

    /* The ring in guest RAM, while enabled. The guest may write to any of it at any time. */
    union {
        struct {
            const struct pv_virtq_desc *desc;
            const uint16_t *avail; /* flags, idx, ring[size], used_event */
            uint16_t *used;        /* flags, idx, {id, len}[size], avail_event */
            uint16_t next_avail;   /* ring index of the next chain to pop */
            uint16_t next_used;    /* ring index of the next chain to push */
        } split;
        struct {
            struct pv_virtq_packed_desc *desc;
            const uint32_t *driver_event;
            uint32_t *device_event;
            struct pv_virtq_cursor next_avail;
            struct pv_virtq_cursor next_used;
            uint16_t first_flags; /* of the batch's first entry: what publishes all of it */
        } packed;
    };
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

/* Its part of pv_virtio_record(). */
void pv_virtq_record(struct pv_virtq *queue, struct pv_record *record);

/* ---- Between queue.c and the formats ---- */

#define PV_VIRTQ_DESC_NEXT     1u
#define PV_VIRTQ_DESC_WRITE    2u
#define PV_VIRTQ_DESC_INDIRECT 4u

/* A chain being gathered. */
struct pv_virtq_walk {
    struct pv_virtq *queue;
    struct pv_virtq_chain *chain;
    unsigned iov_count;
};

struct pv_virtq_ring_ops {
    /* Checks the size, maps the parts and starts at the beginning. Negative after failing. */
    int (*map)(struct pv_virtq *queue);
    /* Whether the driver has made a chain available. */
    bool (*available)(const struct pv_virtq *queue);
    /*
     * Nothing was available: asks the driver to notify for the next chain, and says whether one
     * came before the driver could see that.
     */
    bool (*wait)(struct pv_virtq *queue);
    /* Gathers the next chain, of which there is one, with its head and entries. */
    int (*gather)(struct pv_virtq_walk *walk);
    /* Goes on behind a chain that was gathered. */
    void (*advance)(struct pv_virtq *queue, unsigned entries);
    /* Writes a used element behind `pending` others, which the driver does not see yet. */
    void (*put)(struct pv_virtq *queue, const struct pv_virtq_chain *chain, uint32_t written);
    /* Makes the pending ones visible. */
    void (*publish)(struct pv_virtq *queue);
    /*
     * The next entries to take, as if those in flight had not been taken, and to use: for records.
     * Setting is right after map().
     */
    void (*get_place)(const struct pv_virtq *queue, uint16_t *available, uint16_t *used);
    int (*set_place)(struct pv_virtq *queue, uint16_t available, uint16_t used);
    /* Whether the driver wants an interrupt for the last `unsignalled` entries. */
    bool (*wants_interrupt)(const struct pv_virtq *queue);
};

extern const struct pv_virtq_ring_ops pv_virtq_split;
extern const struct pv_virtq_ring_ops pv_virtq_packed;

/* One part of the ring; NULL after failing the device. */
void *pv_virtq_map_part(struct pv_virtq *queue, enum pv_virtq_part part, const char *what,
                        size_t len, unsigned align, bool write);

/* `from` inside a part that was mapped at `base` was written. */
void pv_virtq_mark_part(struct pv_virtq *queue, enum pv_virtq_part part, const void *base,
                        const void *from, size_t len);

/* Adds one descriptor's buffer, split where it crosses RAM regions. 0, or negative after failing.
 */
int pv_virtq_add_buffer(struct pv_virtq_walk *walk, uint64_t address, uint32_t len, bool write);

/*
 * The indirect table of a descriptor (both formats have the same 16 bytes) and how many entries it
 * has; NULL after failing the device.
 */
const void *pv_virtq_indirect(struct pv_virtq *queue, uint64_t address, uint32_t len,
                              unsigned *count);

#endif
