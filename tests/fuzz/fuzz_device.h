/* SPDX-License-Identifier: MIT */
/*
 * What the targets for virtio devices share: a driver whose every word is the input's. It brings
 * the device up with any of the offered features, split or packed, and then writes descriptors and
 * rings, touches the configuration, resets queues or all, and lets the loop run.
 *
 * A target fills in the device, and may do something on the host's side after each step.
 */
#ifndef PV_TESTS_FUZZ_DEVICE_H
#define PV_TESTS_FUZZ_DEVICE_H

#include "base/log.h"
#include "base/util.h"
#include "fuzz.h"
#include "host/loop.h"
#include "memory/address_space.h"
#include "virtio/device_impl.h"
#include "virtio/transport.h"

#define FUZZ_RAM       0x40000u
#define FUZZ_RING_SIZE 16u
#define FUZZ_QUEUES    8u
#define FUZZ_RINGS     0x1000u /* for each queue a page: descriptors, driver, device part */
#define FUZZ_INDIRECT  0x10000u
#define FUZZ_DATA      0x20000u

struct fuzz_device {
    struct pv_loop *loop;
    struct pv_address_space *as;
    struct pv_timer *stop;
    unsigned stop_fired;
    struct pv_virtio_device *dev;
    struct fuzz_input input;
    bool packed;
    uint16_t avail[FUZZ_QUEUES];
};

static inline void fuzz_device_stop(void *opaque)
{
    struct fuzz_device *f = opaque;
    if (f->stop_fired++ % 2)
        pv_loop_stop(f->loop);
    else
        pv_timer_set(f->stop, 0);
}

static inline void fuzz_device_setup(struct fuzz_device *f, const uint8_t *data, size_t size)
{
    *f = (struct fuzz_device){.input = {data, size}};
    FUZZ_REQUIRE(pv_log_set_filter("off", NULL) == 0);
    FUZZ_REQUIRE(pv_loop_create(&f->loop, NULL) == 0);
    FUZZ_REQUIRE(pv_timer_create(&f->stop, f->loop, fuzz_device_stop, f, NULL) == 0);
    FUZZ_REQUIRE(pv_as_create(&f->as, NULL) == 0);
    FUZZ_REQUIRE(pv_as_add_ram(f->as, 0, FUZZ_RAM, "ram", NULL) == 0);
}

static inline void fuzz_device_run(struct fuzz_device *f)
{
    pv_timer_set(f->stop, 0);
    FUZZ_REQUIRE(pv_loop_run(f->loop, NULL) == 0);
}

static inline uint64_t fuzz_ring(unsigned queue, enum pv_virtq_part part)
{
    return FUZZ_RINGS + queue * 0x1000u + part * 0x400u;
}

static inline void fuzz_enable_queue(struct fuzz_device *f, unsigned queue)
{
    if (queue >= FUZZ_QUEUES || queue >= pv_virtio_queue_count(f->dev))
        return;
    f->avail[queue] = 0;
    FUZZ_REQUIRE(pv_as_fill(f->as, fuzz_ring(queue, 0), 0, 0xc00) == 0);
    pv_virtio_queue_set_size(f->dev, queue, FUZZ_RING_SIZE);
    for (unsigned part = 0; part < 3; part++)
        pv_virtio_queue_set_address(f->dev, queue, part, false, (uint32_t)fuzz_ring(queue, part));
    pv_virtio_queue_enable(f->dev, queue);
}

/* Resets the device and brings it up. */
static inline void fuzz_device_start(struct fuzz_device *f)
{
    uint64_t features = fuzz_take(&f->input, 6) | UINT64_C(1) << PV_VIRTIO_F_VERSION_1;
    pv_virtio_offer_packed(f->dev, true);
    pv_virtio_lock(f->dev);
    pv_virtio_set_status(f->dev, 0);
    pv_virtio_set_status(f->dev, PV_VIRTIO_STATUS_ACKNOWLEDGE | PV_VIRTIO_STATUS_DRIVER);
    for (unsigned word = 0; word < 2; word++)
        pv_virtio_set_driver_features(f->dev, word,
                                      pv_virtio_device_features(f->dev, word) &
                                          (uint32_t)(features >> 32 * word));
    pv_virtio_set_status(f->dev, PV_VIRTIO_STATUS_FEATURES_OK);
    f->packed = pv_virtio_has_feature(f->dev, PV_VIRTIO_F_RING_PACKED);
    for (unsigned queue = 0; queue < FUZZ_QUEUES; queue++)
        fuzz_enable_queue(f, queue);
    pv_virtio_set_status(f->dev, PV_VIRTIO_STATUS_DRIVER_OK);
    pv_virtio_unlock(f->dev);
}

/* A descriptor of either format; most of them describe memory that is there. */
static inline void fuzz_put_desc(struct fuzz_device *f, uint64_t at, unsigned available)
{
    uint64_t where = fuzz_take(&f->input, 2), len = fuzz_take(&f->input, 2);
    unsigned flags = (unsigned)fuzz_take(&f->input, 1);
    struct {
        uint64_t address;
        uint32_t len;
        uint16_t low, high;
    } desc = {FUZZ_DATA + where % (FUZZ_RAM - FUZZ_DATA), (uint32_t)len % 0x1200, 0, 0};
    if (flags & 0x80)
        desc.address = where << (flags & 0x60) / 2;
    if (flags & 4) {
        desc.address = FUZZ_INDIRECT + where % 64 * 16;
        desc.len = (uint32_t)(len % 16 * 16);
    }
    uint16_t link = (uint16_t)fuzz_take(&f->input, 1) % (FUZZ_RING_SIZE + 1);
    desc.low = f->packed ? link : (uint16_t)(flags & 7);
    desc.high = f->packed ? (uint16_t)((flags & 7) | available) : link;
    FUZZ_REQUIRE(pv_as_write(f->as, at, &desc, sizeof(desc)) == 0);
}

/* Makes the chain from `head` available in a split ring. */
static inline void fuzz_publish(struct fuzz_device *f, unsigned queue, uint16_t head)
{
    const uint16_t next = f->avail[queue]++, index = f->avail[queue];
    const uint64_t ring = fuzz_ring(queue, PV_VIRTQ_DRIVER);
    FUZZ_REQUIRE(pv_as_write(f->as, ring + 4 + next % FUZZ_RING_SIZE * 2, &head, 2) == 0);
    FUZZ_REQUIRE(pv_as_write(f->as, ring + 2, &index, 2) == 0);
}

static inline void fuzz_offer(struct fuzz_device *f, unsigned queue)
{
    unsigned head = (unsigned)fuzz_take(&f->input, 1);
    if (f->packed) {
        uint16_t next = f->avail[queue]++;
        unsigned available = next / FUZZ_RING_SIZE % 2 ? 0x8000 : 0x80;
        if (head & 0x80)
            available ^= head << 8 & 0x8000;
        fuzz_put_desc(f, fuzz_ring(queue, PV_VIRTQ_DESC) + next % FUZZ_RING_SIZE * 16, available);
    } else {
        fuzz_publish(f, queue, (uint16_t)(head % FUZZ_RING_SIZE));
    }
}

static inline void fuzz_put_data(struct fuzz_device *f)
{
    uint64_t at = FUZZ_DATA + fuzz_take(&f->input, 2) % (FUZZ_RAM - FUZZ_DATA - 64);
    size_t len = PV_MIN((size_t)fuzz_take(&f->input, 1) % 64, f->input.size);
    if (len)
        FUZZ_REQUIRE(pv_as_write(f->as, at, f->input.data, len) == 0);
    f->input.data += len;
    f->input.size -= len;
}

static inline void fuzz_config(struct fuzz_device *f)
{
    unsigned offset = (unsigned)fuzz_take(&f->input, 1), size = 1u << (offset >> 6);
    pv_virtio_lock(f->dev);
    if (fuzz_take(&f->input, 1) & 1)
        pv_virtio_config_write(f->dev, offset % 64, size, fuzz_take(&f->input, size));
    else
        pv_virtio_config_read(f->dev, offset, size);
    pv_virtio_unlock(f->dev);
}

/* One thing that a driver does. */
static inline void fuzz_device_step(struct fuzz_device *f)
{
    unsigned what = (unsigned)fuzz_take(&f->input, 1);
    unsigned queue = what >> 4 & (FUZZ_QUEUES - 1);
    switch (what & 15) {
    case 0:
    case 1:
    case 2:
        if (!f->packed)
            fuzz_put_desc(
                f, fuzz_ring(queue, PV_VIRTQ_DESC) + fuzz_take(&f->input, 1) % FUZZ_RING_SIZE * 16,
                0);
        /* fall through */
    case 3:
    case 4: fuzz_offer(f, queue); break;
    case 5: fuzz_put_desc(f, FUZZ_INDIRECT + fuzz_take(&f->input, 1) % 64 * 16, 0); break;
    case 6:
    case 7:
    case 8: fuzz_put_data(f); break;
    case 9: fuzz_config(f); break;
    case 10: /* the driver's event, or the ring's flags */
        FUZZ_REQUIRE(pv_as_write(f->as, fuzz_ring(queue, PV_VIRTQ_DRIVER), f->input.data,
                                 PV_MIN(f->input.size, (size_t)4)) == 0);
        fuzz_take(&f->input, 4);
        break;
    case 11:
        pv_virtio_lock(f->dev);
        pv_virtio_queue_reset(f->dev, queue);
        fuzz_enable_queue(f, queue);
        pv_virtio_unlock(f->dev);
        break;
    case 12:
        if (what == 0xfc)
            fuzz_device_start(f);
        break;
    default:
        pv_virtio_queue_notify(f->dev, queue);
        fuzz_device_run(f);
        break;
    }
}

/* Destroys the device first. */
static inline void fuzz_device_teardown(struct fuzz_device *f)
{
    pv_virtio_device_destroy(f->dev);
    pv_as_destroy(f->as);
    pv_timer_destroy(f->stop);
    pv_loop_destroy(f->loop);
}

#endif
