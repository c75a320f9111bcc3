/* SPDX-License-Identifier: MIT */
/*
 * A guest's virtio driver in miniature, for tests: guest RAM, one ring for each queue laid out in
 * it, and a transport that counts interrupts.
 *
 * Rings are split or packed, as the test's setup function says (BOTH_RINGS), and tests written in
 * terms of put_desc(), offer() and used_*() do not see which: with packed rings, descriptors go to
 * a table of the driver's own, from which offer() copies the chain into the ring.
 */
#ifndef PV_TESTS_VIRTIO_DRIVER_H
#define PV_TESTS_VIRTIO_DRIVER_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "host/loop.h"
#include "memory/address_space.h"
#include "virtio/device_impl.h"
#include "virtio/transport.h"

#define RAM_BASE UINT64_C(0x40000000)
#define RAM_SIZE UINT64_C(0x400000)
#define DATA     (RAM_BASE + 0x100000) /* tests put their buffers from here on */

#define RING_SIZE 16u

#define DESC_NEXT     1u
#define DESC_WRITE    2u
#define DESC_INDIRECT 4u

#define VERSION_1 (UINT64_C(1) << PV_VIRTIO_F_VERSION_1)
#define EVENT_IDX (UINT64_C(1) << PV_VIRTIO_F_EVENT_IDX)
#define INDIRECT  (UINT64_C(1) << PV_VIRTIO_F_INDIRECT_DESC)
#define PACKED    (UINT64_C(1) << PV_VIRTIO_F_RING_PACKED)
#define RESET     (UINT64_C(1) << PV_VIRTIO_F_RING_RESET)

#define PACKED_AVAIL 0x80u
#define PACKED_USED  0x8000u

struct test_desc {
    uint64_t address;
    uint32_t len;
    uint16_t flags, next; /* in a packed ring: id, flags */
};

/* A packed ring as its driver sees it. */
struct packed_queue {
    struct test_desc table[RING_SIZE]; /* what put_desc() put */
    unsigned next_avail, next_used;    /* places counted without wrapping */
    uint16_t entries[RING_SIZE];       /* of the chain with that ID */
    uint16_t used_count;
    struct {
        uint32_t id, len;
    } used[RING_SIZE]; /* the last ones */
};

struct driver {
    struct pv_loop *loop;
    struct pv_timer *stop;
    unsigned stop_fired;
    struct pv_address_space *as;
    struct pv_virtio_device *dev;
    unsigned interrupts[PV_VIRTIO_MAX_QUEUES];
    unsigned config_interrupts;
    unsigned log_lines;
    uint16_t seen[PV_VIRTIO_MAX_QUEUES]; /* used index */
    bool packed;
    struct packed_queue queues[PV_VIRTIO_MAX_QUEUES];
};

/* For cmocka: a test that runs with split and with packed rings. */
static bool driver_packed;

static inline int use_split(void **state)
{
    driver_packed = false;
    return 0;
}

static inline int use_packed(void **state)
{
    driver_packed = true;
    return 0;
}

#define BOTH_RINGS(test)                                                                           \
    {#test, test, use_split, NULL, NULL},                                                          \
    {                                                                                              \
#test " (packed)", test, use_packed, NULL, NULL                                            \
    }
#define SPLIT_RINGS(test)                                                                          \
    {                                                                                              \
#test, test, use_split, NULL, NULL                                                         \
    }
#define PACKED_RINGS(test)                                                                         \
    {                                                                                              \
#test, test, use_packed, NULL, NULL                                                        \
    }

static inline void driver_interrupt(void *opaque, unsigned queue)
{
    ((struct driver *)opaque)->interrupts[queue]++;
}

static inline void driver_config_interrupt(void *opaque)
{
    ((struct driver *)opaque)->config_interrupts++;
}

static const struct pv_virtio_transport_ops driver_transport = {
    .queue_interrupt = driver_interrupt,
    .config_interrupt = driver_config_interrupt,
};

static inline void driver_log(void *opaque, enum pv_log_component component,
                              enum pv_log_level level, const char *line)
{
    ((struct driver *)opaque)->log_lines++;
}

/* The timer that ends driver_run(). What is ready beside it gets its turn before it fires again. */
static inline void driver_stop_loop(void *opaque)
{
    struct driver *d = opaque;
    if (d->stop_fired++ % 2)
        pv_loop_stop(d->loop);
    else
        pv_timer_set(d->stop, 0);
}

static inline void driver_setup(struct driver *d)
{
    *d = (struct driver){.packed = driver_packed};
    assert_int_equal(pv_loop_create(&d->loop, NULL), 0);
    assert_int_equal(pv_timer_create(&d->stop, d->loop, driver_stop_loop, d, NULL), 0);
    assert_int_equal(pv_as_create(&d->as, NULL), 0);
    assert_int_equal(pv_as_add_ram(d->as, RAM_BASE, RAM_SIZE, "ram", NULL), 0);
    pv_log_set_sink(driver_log, d);
}

static inline void driver_teardown(struct driver *d)
{
    pv_virtio_device_destroy(d->dev);
    pv_as_destroy(d->as);
    pv_timer_destroy(d->stop);
    pv_loop_destroy(d->loop);
    pv_log_set_sink(NULL, NULL);
}

/* Lets the loop do everything that is waiting, also what that makes wait. */
static inline void driver_run(struct driver *d)
{
    for (int i = 0; i < 4; i++) {
        pv_timer_set(d->stop, 0);
        assert_int_equal(pv_loop_run(d->loop, NULL), 0);
    }
}

/* ---- Rings: 16 KiB of RAM for each queue ---- */

static inline uint64_t ring_address(unsigned queue, enum pv_virtq_part part)
{
    return RAM_BASE + queue * UINT64_C(0x4000) + (uint64_t)part * 0x1000;
}

static inline void store16(struct driver *d, uint64_t address, uint16_t value)
{
    assert_int_equal(pv_as_write(d->as, address, &value, sizeof(value)), 0);
}

static inline uint16_t load16(struct driver *d, uint64_t address)
{
    uint16_t value;
    assert_int_equal(pv_as_read(d->as, address, &value, sizeof(value)), 0);
    return value;
}

static inline uint32_t load32(struct driver *d, uint64_t address)
{
    uint32_t value;
    assert_int_equal(pv_as_read(d->as, address, &value, sizeof(value)), 0);
    return value;
}

static inline void put_desc_at(struct driver *d, uint64_t table, unsigned index, uint64_t address,
                               uint32_t len, uint16_t flags, uint16_t next)
{
    struct test_desc desc = {address, len, flags, next};
    if (d->packed) {
        desc.flags = 0; /* the ID, of no use in a table */
        desc.next = flags;
    }
    assert_int_equal(pv_as_write(d->as, table + 16 * index, &desc, sizeof(desc)), 0);
}

static inline void put_desc(struct driver *d, unsigned queue, unsigned index, uint64_t address,
                            uint32_t len, uint16_t flags, uint16_t next)
{
    if (d->packed)
        d->queues[queue].table[index] = (struct test_desc){address, len, flags, next};
    else
        put_desc_at(d, ring_address(queue, PV_VIRTQ_DESC), index, address, len, flags, next);
}

/* Writes one descriptor into a packed ring, available unless `flags` say otherwise by then. */
static inline void packed_put(struct driver *d, unsigned queue, unsigned place, uint64_t address,
                              uint32_t len, uint16_t id, uint16_t flags)
{
    bool wrap = place / RING_SIZE % 2 == 0;
    const struct test_desc desc = {address, len, id,
                                   (uint16_t)(flags | (wrap ? PACKED_AVAIL : PACKED_USED))};
    uint64_t at = ring_address(queue, PV_VIRTQ_DESC) + place % RING_SIZE * sizeof(desc);
    assert_int_equal(pv_as_write(d->as, at, &desc, sizeof(desc)), 0);
}

/* A chain whose links form a loop goes once round the ring. */
static inline void packed_offer(struct driver *d, unsigned queue, uint16_t head)
{
    struct packed_queue *q = &d->queues[queue];
    unsigned entries = 0, index = head;
    const struct test_desc *desc;
    do {
        desc = &q->table[index % RING_SIZE];
        packed_put(d, queue, q->next_avail++, desc->address, desc->len, head, desc->flags);
        index = desc->next;
    } while (++entries < RING_SIZE && (desc->flags & DESC_NEXT));
    q->entries[head % RING_SIZE] = (uint16_t)entries;
}

static inline void offer(struct driver *d, unsigned queue, uint16_t head)
{
    if (d->packed) {
        packed_offer(d, queue, head);
        return;
    }
    uint64_t avail = ring_address(queue, PV_VIRTQ_DRIVER);
    uint16_t index = load16(d, avail + 2);
    store16(d, avail + 4 + 2 * (index % RING_SIZE), head);
    store16(d, avail + 2, (uint16_t)(index + 1));
}

static inline void kick(struct driver *d, unsigned queue)
{
    pv_virtio_queue_notify(d->dev, queue);
    driver_run(d);
}

/* Takes in what a packed ring has of new used elements. */
static inline void packed_collect(struct driver *d, unsigned queue)
{
    struct packed_queue *q = &d->queues[queue];
    for (;;) {
        uint64_t at = ring_address(queue, PV_VIRTQ_DESC) + q->next_used % RING_SIZE * 16;
        uint16_t want = q->next_used / RING_SIZE % 2 ? 0 : PACKED_AVAIL | PACKED_USED;
        uint16_t flags = load16(d, at + 14);
        if ((flags & (PACKED_AVAIL | PACKED_USED)) != want || q->next_used == q->next_avail)
            return;
        uint16_t id = load16(d, at + 12);
        uint32_t len = load32(d, at + 8);
        assert_int_equal(!!(flags & DESC_WRITE), len != 0);
        q->used[q->used_count % RING_SIZE].id = id;
        q->used[q->used_count % RING_SIZE].len = len;
        q->used_count++;
        assert_in_range(q->entries[id % RING_SIZE], 1, RING_SIZE);
        q->next_used += q->entries[id % RING_SIZE];
    }
}

/* How many chains came back. */
static inline uint16_t used_index(struct driver *d, unsigned queue)
{
    if (!d->packed)
        return load16(d, ring_address(queue, PV_VIRTQ_DEVICE) + 2);
    packed_collect(d, queue);
    return d->queues[queue].used_count;
}

/* Length of the `n`th used entry. */
static inline uint32_t used_len(struct driver *d, unsigned queue, unsigned n)
{
    if (!d->packed)
        return load32(d, ring_address(queue, PV_VIRTQ_DEVICE) + 4 + 8 * (n % RING_SIZE) + 4);
    packed_collect(d, queue);
    return d->queues[queue].used[n % RING_SIZE].len;
}

static inline uint32_t used_id(struct driver *d, unsigned queue, unsigned n)
{
    if (!d->packed)
        return load32(d, ring_address(queue, PV_VIRTQ_DEVICE) + 4 + 8 * (n % RING_SIZE));
    packed_collect(d, queue);
    return d->queues[queue].used[n % RING_SIZE].id;
}

/* ---- When to be told. Chains are counted from 0; all have `entries` descriptors. ---- */

static inline void never_interrupt(struct driver *d, unsigned queue)
{
    store16(d, ring_address(queue, PV_VIRTQ_DRIVER) + (d->packed ? 2 : 0), 1);
}

static inline uint16_t packed_place(unsigned place)
{
    return (uint16_t)(place % RING_SIZE | (place / RING_SIZE % 2 ? 0 : 0x8000));
}

/* With the event index: an interrupt when the `n`th chain is used. */
static inline void interrupt_at(struct driver *d, unsigned queue, unsigned n, unsigned entries)
{
    uint64_t at = ring_address(queue, PV_VIRTQ_DRIVER);
    if (d->packed) {
        store16(d, at, packed_place(n * entries));
        store16(d, at + 2, 2);
    } else {
        store16(d, at + 4 + 2 * RING_SIZE, (uint16_t)n);
    }
}

/* Whether the device wants to be notified of the `n`th chain. */
static inline bool notified_at(struct driver *d, unsigned queue, unsigned n, unsigned entries)
{
    uint64_t at = ring_address(queue, PV_VIRTQ_DEVICE);
    if (d->packed)
        return load16(d, at) == packed_place(n * entries) && load16(d, at + 2) == 2;
    return load16(d, at + 4 + 8 * RING_SIZE) == n;
}

/* Waits until one more chain came back; work may be on other threads. */
static inline void wait_used(struct driver *d, unsigned queue)
{
    for (int i = 0; i < 2000 && used_index(d, queue) == d->seen[queue]; i++) {
        driver_run(d);
        usleep(500);
    }
    assert_int_not_equal(used_index(d, queue), d->seen[queue]);
    d->seen[queue]++;
}

/* ---- Bringing a device up ---- */

static inline void set_status(struct driver *d, uint8_t status)
{
    pv_virtio_lock(d->dev);
    pv_virtio_set_status(d->dev, status);
    pv_virtio_unlock(d->dev);
}

static inline void enable_queue_of(struct driver *d, unsigned queue, uint16_t size)
{
    pv_virtio_lock(d->dev);
    pv_virtio_queue_set_size(d->dev, queue, size);
    for (unsigned part = 0; part < 3; part++) {
        uint64_t address = ring_address(queue, part);
        assert_int_equal(pv_as_fill(d->as, address, 0, 0x1000), 0);
        pv_virtio_queue_set_address(d->dev, queue, part, false, (uint32_t)address);
        pv_virtio_queue_set_address(d->dev, queue, part, true, (uint32_t)(address >> 32));
    }
    pv_virtio_queue_enable(d->dev, queue);
    pv_virtio_unlock(d->dev);
    d->seen[queue] = 0;
    d->queues[queue] = (struct packed_queue){0};
}

static inline void enable_queue(struct driver *d, unsigned queue)
{
    enable_queue_of(d, queue, RING_SIZE);
}

static inline void negotiate(struct driver *d, uint64_t features)
{
    if (d->packed)
        features |= PACKED;
    set_status(d, 0);
    set_status(d, PV_VIRTIO_STATUS_ACKNOWLEDGE | PV_VIRTIO_STATUS_DRIVER);
    pv_virtio_lock(d->dev);
    pv_virtio_set_driver_features(d->dev, 0, (uint32_t)features);
    pv_virtio_set_driver_features(d->dev, 1, (uint32_t)(features >> 32));
    pv_virtio_unlock(d->dev);
    set_status(d, PV_VIRTIO_STATUS_FEATURES_OK);
}

static inline void bring_up(struct driver *d, uint64_t features)
{
    negotiate(d, features);
    assert_true(d->dev->status & PV_VIRTIO_STATUS_FEATURES_OK);
    for (unsigned i = 0; i < d->dev->queue_count; i++)
        enable_queue(d, i);
    set_status(d, PV_VIRTIO_STATUS_DRIVER_OK);
    driver_run(d);
}

static inline void attach(struct driver *d, struct pv_virtio_device *dev)
{
    d->dev = dev;
    pv_virtio_offer_packed(dev, d->packed);
    pv_virtio_attach(dev, &driver_transport, 0, d);
}

static inline bool failed(const struct driver *d)
{
    return d->dev->status & PV_VIRTIO_STATUS_NEEDS_RESET;
}

#endif
