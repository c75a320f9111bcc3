/* SPDX-License-Identifier: MIT */
/* A virtio device for tests of queues and transports: it echoes, or keeps what it gets. */
#ifndef PV_TESTS_VIRTIO_ECHO_H
#define PV_TESTS_VIRTIO_ECHO_H

#include "virtio_driver.h"

/* Copies the readable part of a chain into its writable part. */
struct echo {
    struct pv_virtio_device base;
    unsigned started, reset, queue_resets;
    bool hold; /* keep chains instead of returning them */
    struct pv_virtq_chain held[RING_SIZE];
    unsigned held_count;
    uint32_t config[2];
};

static inline void echo_ready(struct pv_virtio_device *dev, unsigned index)
{
    struct echo *echo = (struct echo *)dev;
    struct pv_virtq *queue = pv_virtio_queue(dev, index);
    struct pv_virtq_chain chain;
    while (pv_virtq_pop(queue, &chain) == 1) {
        if (echo->hold) {
            echo->held[echo->held_count++] = chain;
            continue;
        }
        uint8_t data[8192];
        size_t len = pv_virtq_read(&chain, 0, data, sizeof(data));
        pv_virtq_push(queue, &chain, pv_virtq_write(&chain, 0, data, len));
    }
    pv_virtq_notify(queue);
}

static inline void echo_start(struct pv_virtio_device *dev)
{
    ((struct echo *)dev)->started++;
}

static inline void echo_reset(struct pv_virtio_device *dev)
{
    ((struct echo *)dev)->reset++;
}

static inline void echo_queue_reset(struct pv_virtio_device *dev, unsigned queue)
{
    ((struct echo *)dev)->queue_resets++;
}

static inline void echo_config_read(struct pv_virtio_device *dev, size_t offset, void *buf,
                                    size_t size)
{
    memcpy(buf, (char *)((struct echo *)dev)->config + offset, size);
}

static inline void echo_config_write(struct pv_virtio_device *dev, size_t offset, const void *buf,
                                     size_t size)
{
    memcpy((char *)((struct echo *)dev)->config + offset, buf, size);
}

static inline void echo_destroy(struct pv_virtio_device *dev)
{
    struct echo *echo = (struct echo *)dev;
    for (unsigned i = 0; i < echo->held_count; i++)
        pv_virtq_chain_finish(&echo->held[i]);
    free(echo);
}

static const struct pv_virtio_device_ops echo_ops = {
    .name = "echo",
    .id = PV_VIRTIO_ID_RNG,
    .config_size = 8,
    .config_read = echo_config_read,
    .config_write = echo_config_write,
    .start = echo_start,
    .reset = echo_reset,
    .queue_reset = echo_queue_reset,
    .queue_ready = echo_ready,
    .destroy = echo_destroy,
};

static inline struct echo *echo_create(struct driver *d)
{
    struct echo *echo = calloc(1, sizeof(*echo));
    assert_non_null(echo);
    assert_int_equal(pv_virtio_device_init(&echo->base, &echo_ops, d->loop, d->as, 1, 2, 256, NULL),
                     0);
    echo->config[0] = 0x11223344;
    echo->config[1] = 0x55667788;
    return echo;
}

static inline struct echo *echo_setup(struct driver *d)
{
    driver_setup(d);
    struct echo *echo = echo_create(d);
    attach(d, &echo->base);
    return echo;
}

static inline void offer_echo(struct driver *d, unsigned head, const char *text)
{
    uint64_t at = DATA + head * 0x1000;
    assert_int_equal(pv_as_write(d->as, at, text, strlen(text) + 1), 0);
    put_desc(d, 0, head, at, (uint32_t)strlen(text) + 1, DESC_NEXT, (uint16_t)(head + 1));
    put_desc(d, 0, head + 1, at + 0x800, 64, DESC_WRITE, 0);
    offer(d, 0, (uint16_t)head);
}

static inline void assert_echoed(struct driver *d, unsigned head, const char *text)
{
    char got[64];
    assert_int_equal(pv_as_read(d->as, DATA + head * 0x1000 + 0x800, got, sizeof(got)), 0);
    assert_string_equal(got, text);
}

#endif
