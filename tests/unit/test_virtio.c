/* SPDX-License-Identifier: MIT */
/* Queues, negotiation and the transports, with a device that echoes. */
#include "bus.h"
#include "virtio_driver.h"

#include "virtio/virtio_mmio.h"
#include "virtio/virtio_pci.h"

#include <errno.h>

/* ---- A device that copies the readable part of a chain into its writable part ---- */

struct echo {
    struct pv_virtio_device base;
    unsigned started, reset, queue_resets;
    bool hold; /* keep chains instead of returning them */
    struct pv_virtq_chain held[RING_SIZE];
    unsigned held_count;
    uint32_t config[2];
};

static void echo_ready(struct pv_virtio_device *dev, unsigned index)
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

static void echo_start(struct pv_virtio_device *dev)
{
    ((struct echo *)dev)->started++;
}

static void echo_reset(struct pv_virtio_device *dev)
{
    ((struct echo *)dev)->reset++;
}

static void echo_queue_reset(struct pv_virtio_device *dev, unsigned queue)
{
    ((struct echo *)dev)->queue_resets++;
}

static void echo_config_read(struct pv_virtio_device *dev, size_t offset, void *buf, size_t size)
{
    memcpy(buf, (char *)((struct echo *)dev)->config + offset, size);
}

static void echo_config_write(struct pv_virtio_device *dev, size_t offset, const void *buf,
                              size_t size)
{
    memcpy((char *)((struct echo *)dev)->config + offset, buf, size);
}

static void echo_destroy(struct pv_virtio_device *dev)
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

static struct echo *echo_create(struct driver *d)
{
    struct echo *echo = calloc(1, sizeof(*echo));
    assert_non_null(echo);
    assert_int_equal(pv_virtio_device_init(&echo->base, &echo_ops, d->loop, d->as, 1, 2, 256, NULL),
                     0);
    echo->config[0] = 0x11223344;
    echo->config[1] = 0x55667788;
    return echo;
}

static struct echo *echo_setup(struct driver *d)
{
    driver_setup(d);
    struct echo *echo = echo_create(d);
    attach(d, &echo->base);
    return echo;
}

/* ---- Queues ---- */

static void offer_echo(struct driver *d, unsigned head, const char *text)
{
    uint64_t at = DATA + head * 0x1000;
    assert_int_equal(pv_as_write(d->as, at, text, strlen(text) + 1), 0);
    put_desc(d, 0, head, at, (uint32_t)strlen(text) + 1, DESC_NEXT, (uint16_t)(head + 1));
    put_desc(d, 0, head + 1, at + 0x800, 64, DESC_WRITE, 0);
    offer(d, 0, (uint16_t)head);
}

static void assert_echoed(struct driver *d, unsigned head, const char *text)
{
    char got[64];
    assert_int_equal(pv_as_read(d->as, DATA + head * 0x1000 + 0x800, got, sizeof(got)), 0);
    assert_string_equal(got, text);
}

static void test_echo(void **state)
{
    struct driver d;
    struct echo *echo = echo_setup(&d);
    bring_up(&d, VERSION_1);
    assert_int_equal(echo->started, 1);
    /* More than the ring holds, so that indices wrap. */
    for (unsigned i = 0; i < 3 * RING_SIZE; i++) {
        offer_echo(&d, 2 * (i % 4), i % 2 ? "odd" : "even!");
        kick(&d, 0);
        assert_int_equal(used_index(&d, 0), i + 1);
        assert_int_equal(used_id(&d, 0, i), 2 * (i % 4));
        assert_int_equal(used_len(&d, 0, i), i % 2 ? 4 : 6);
        assert_echoed(&d, 2 * (i % 4), i % 2 ? "odd" : "even!");
        assert_int_equal(d.interrupts[0], i + 1);
    }
    driver_teardown(&d);
}

static void test_kicks_before_driver_ok(void **state)
{
    struct driver d;
    echo_setup(&d);
    negotiate(&d, VERSION_1);
    kick(&d, 0); /* not even enabled */
    kick(&d, 7); /* not there */
    enable_queue(&d, 0);
    offer_echo(&d, 0, "early");
    kick(&d, 0);
    assert_int_equal(used_index(&d, 0), 0);
    set_status(&d, PV_VIRTIO_STATUS_DRIVER_OK);
    driver_run(&d);
    assert_int_equal(used_index(&d, 0), 1);
    assert_echoed(&d, 0, "early");
    driver_teardown(&d);
}

static void test_interrupt_suppression(void **state)
{
    struct driver d;
    echo_setup(&d);
    bring_up(&d, VERSION_1);
    never_interrupt(&d, 0);
    offer_echo(&d, 0, "quiet");
    kick(&d, 0);
    assert_int_equal(used_index(&d, 0), 1);
    assert_int_equal(d.interrupts[0], 0);
    driver_teardown(&d);
}

static void test_event_index(void **state)
{
    struct driver d;
    echo_setup(&d);
    bring_up(&d, VERSION_1 | EVENT_IDX);
    interrupt_at(&d, 0, 0, 2);
    offer_echo(&d, 0, "one");
    kick(&d, 0);
    assert_int_equal(d.interrupts[0], 1);
    assert_true(notified_at(&d, 0, 1, 2)); /* tell us about the next */

    /* Far enough for the ring to be gone round, with an event before and behind its end. */
    unsigned used = 1, interrupts = 1;
    for (unsigned event = 3; event < 40; event += 5) {
        interrupt_at(&d, 0, event, 2);
        for (; used <= event; used++) {
            offer_echo(&d, 0, "more");
            kick(&d, 0);
            interrupts += used == event;
            assert_int_equal(d.interrupts[0], interrupts);
            assert_true(notified_at(&d, 0, used + 1, 2));
        }
    }
    driver_teardown(&d);
}

/* The event lies inside a batch, and behind it. */
static void test_event_index_of_batches(void **state)
{
    struct driver d;
    struct echo *echo = echo_setup(&d);
    bring_up(&d, VERSION_1 | EVENT_IDX);
    for (unsigned round = 0; round < 20; round++) {
        interrupt_at(&d, 0, 4 * round + (round % 2 ? 2 : 5), 2);
        echo->hold = true;
        echo->held_count = 0;
        for (unsigned i = 0; i < 4; i++)
            offer_echo(&d, 2 * i, "batch");
        kick(&d, 0);
        assert_int_equal(echo->held_count, 4);
        const size_t written[4] = {1, 2, 3, 4};
        unsigned before = d.interrupts[0];
        pv_virtio_lock(d.dev);
        pv_virtq_push_batch(pv_virtio_queue(d.dev, 0), echo->held, written, 4);
        pv_virtq_notify(pv_virtio_queue(d.dev, 0));
        pv_virtq_notify(pv_virtio_queue(d.dev, 0)); /* nothing new */
        pv_virtio_unlock(d.dev);
        echo->held_count = 0;
        assert_int_equal(d.interrupts[0] - before, round % 2);
        assert_int_equal(used_index(&d, 0), 4 * round + 4);
        assert_int_equal(used_len(&d, 0, 4 * round + 2), 3);
    }
    assert_false(failed(&d));
    driver_teardown(&d);
}

static void test_indirect(void **state)
{
    struct driver d;
    echo_setup(&d);
    bring_up(&d, VERSION_1 | INDIRECT);
    const uint64_t table = DATA + 0x8000;
    assert_int_equal(pv_as_write(d.as, DATA, "indirect", 9), 0);
    /* Linked in a split ring's table, in order in a packed one's. */
    const uint16_t second = d.packed ? 1 : 2, third = d.packed ? 2 : 1;
    put_desc_at(&d, table, 0, DATA, 4, DESC_NEXT, second);
    put_desc_at(&d, table, second, DATA + 4, 5, DESC_NEXT, third);
    put_desc_at(&d, table, third, DATA + 0x800, 64, DESC_WRITE, 0);
    put_desc(&d, 0, 5, table, 3 * 16, DESC_INDIRECT, 0);
    offer(&d, 0, 5);
    kick(&d, 0);
    assert_false(failed(&d));
    assert_int_equal(used_id(&d, 0, 0), 5);
    assert_echoed(&d, 0, "indirect");
    driver_teardown(&d);
}

static void test_buffer_across_regions(void **state)
{
    struct driver d;
    echo_setup(&d);
    assert_int_equal(pv_as_add_ram(d.as, RAM_BASE + RAM_SIZE, 0x1000, "more", NULL), 0);
    bring_up(&d, VERSION_1);
    uint64_t seam = RAM_BASE + RAM_SIZE;
    put_desc(&d, 0, 0, seam - 3, 8, DESC_NEXT, 1);
    put_desc(&d, 0, 1, DATA + 0x800, 8, DESC_WRITE, 0);
    assert_int_equal(pv_as_write(d.as, seam - 3, "abcdefg", 8), 0);
    offer(&d, 0, 0);
    kick(&d, 0);
    assert_false(failed(&d));
    assert_echoed(&d, 0, "abcdefg");
    driver_teardown(&d);
}

static void test_dirty_log(void **state)
{
    struct driver d;
    struct echo *echo = echo_setup(&d);
    bring_up(&d, VERSION_1);
    assert_int_equal(pv_as_dirty_log(d.as, true, NULL), 0);
    uint64_t bitmap[RAM_SIZE / PV_GUEST_PAGE / 64];
    echo->hold = true;
    offer_echo(&d, 0, "dirty");
    kick(&d, 0);
    assert_int_equal(echo->held_count, 1);
    assert_int_equal(pv_as_dirty_fetch(d.as, RAM_BASE, bitmap, PV_ARRAY_SIZE(bitmap)), 0);

    /* The log was read while the chain was out: its pages must show up again. */
    pv_virtio_lock(d.dev);
    pv_virtq_write(&echo->held[0], 0, "dirty", 6);
    pv_virtq_push(pv_virtio_queue(d.dev, 0), &echo->held[0], 6);
    pv_virtio_unlock(d.dev);
    assert_int_equal(pv_as_dirty_fetch(d.as, RAM_BASE, bitmap, PV_ARRAY_SIZE(bitmap)), 0);
    unsigned data_page = (DATA - RAM_BASE) / PV_GUEST_PAGE;
    uint64_t used = ring_address(0, d.packed ? PV_VIRTQ_DESC : PV_VIRTQ_DEVICE);
    unsigned used_page = (unsigned)((used - RAM_BASE) / PV_GUEST_PAGE);
    assert_true(bitmap[data_page / 64] >> data_page % 64 & 1);
    assert_true(bitmap[used_page / 64] >> used_page % 64 & 1);
    driver_teardown(&d);
}

/* ---- Wild drivers ---- */

/* What a bad chain looks like: fills descriptors and returns the head. */
struct wild {
    const char *name;
    uint16_t (*build)(struct driver *d);
    bool split_only; /* packed rings have no such thing */
};

static uint16_t wild_address(struct driver *d)
{
    put_desc(d, 0, 0, UINT64_C(0xffffffffffffff00), 0x1000, 0, 0);
    return 0;
}

static uint16_t wild_hole(struct driver *d)
{
    put_desc(d, 0, 0, RAM_BASE + RAM_SIZE - 8, 16, DESC_WRITE, 0);
    return 0;
}

static uint16_t wild_length(struct driver *d)
{
    put_desc(d, 0, 0, DATA, UINT32_MAX, 0, 0);
    return 0;
}

static uint16_t wild_loop(struct driver *d)
{
    put_desc(d, 0, 0, DATA, 8, DESC_NEXT, 1);
    put_desc(d, 0, 1, DATA, 8, DESC_NEXT, 0);
    return 0;
}

static uint16_t wild_self(struct driver *d)
{
    put_desc(d, 0, 3, DATA, 0, DESC_NEXT, 3);
    return 3;
}

static uint16_t wild_next(struct driver *d)
{
    put_desc(d, 0, 0, DATA, 8, DESC_NEXT, RING_SIZE);
    return 0;
}

static uint16_t wild_head(struct driver *d)
{
    return 0xfff0;
}

static uint16_t wild_order(struct driver *d)
{
    put_desc(d, 0, 0, DATA, 8, DESC_NEXT | DESC_WRITE, 1);
    put_desc(d, 0, 1, DATA, 8, 0, 0);
    return 0;
}

static uint16_t wild_indirect_in_indirect(struct driver *d)
{
    put_desc_at(d, DATA, 0, DATA, 16, DESC_INDIRECT, 0);
    put_desc(d, 0, 0, DATA, 16, DESC_INDIRECT, 0);
    return 0;
}

static uint16_t wild_indirect_length(struct driver *d)
{
    put_desc(d, 0, 0, DATA, 17, DESC_INDIRECT, 0);
    return 0;
}

static uint16_t wild_indirect_empty(struct driver *d)
{
    put_desc(d, 0, 0, DATA, 0, DESC_INDIRECT, 0);
    return 0;
}

static uint16_t wild_indirect_address(struct driver *d)
{
    put_desc(d, 0, 0, 0x1000, 32, DESC_INDIRECT, 0);
    return 0;
}

static uint16_t wild_indirect_next(struct driver *d)
{
    put_desc(d, 0, 0, DATA, 16, DESC_INDIRECT | DESC_NEXT, 1);
    return 0;
}

static uint16_t wild_index(struct driver *d)
{
    store16(d, ring_address(0, PV_VIRTQ_DRIVER) + 2, 0x8000);
    return 0;
}

static const struct wild wilds[] = {
    {"address", wild_address},
    {"hole", wild_hole},
    {"length", wild_length},
    {"loop", wild_loop},
    {"self loop", wild_self},
    {"next", wild_next, true},
    {"head", wild_head, true},
    {"order", wild_order},
    {"nested indirect", wild_indirect_in_indirect},
    {"indirect length", wild_indirect_length},
    {"indirect empty", wild_indirect_empty},
    {"indirect address", wild_indirect_address},
    {"indirect next", wild_indirect_next},
    {"available index", wild_index, true},
};

static void test_wild_chains(void **state)
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(wilds); i++) {
        struct driver d;
        if (wilds[i].split_only && driver_packed)
            continue;
        echo_setup(&d);
        bring_up(&d, VERSION_1 | INDIRECT);
        offer(&d, 0, wilds[i].build(&d));
        kick(&d, 0);
        if (!failed(&d))
            fail_msg("%s: the device did not fail", wilds[i].name);
        assert_int_equal(d.log_lines, 1);
        assert_int_equal(d.config_interrupts, 1);
        kick(&d, 0);
        assert_int_equal(d.log_lines, 1);
        assert_int_equal(used_index(&d, 0), 0);

        /* A reset brings it back. */
        bring_up(&d, VERSION_1 | INDIRECT);
        assert_false(failed(&d));
        offer_echo(&d, 0, "again");
        kick(&d, 0);
        assert_echoed(&d, 0, "again");
        driver_teardown(&d);
    }
}

static void test_indirect_not_negotiated(void **state)
{
    struct driver d;
    echo_setup(&d);
    bring_up(&d, VERSION_1);
    put_desc_at(&d, DATA, 0, DATA, 16, 0, 0);
    put_desc(&d, 0, 0, DATA, 16, DESC_INDIRECT, 0);
    offer(&d, 0, 0);
    kick(&d, 0);
    assert_true(failed(&d));
    driver_teardown(&d);
}

static void test_failures_get_quiet(void **state)
{
    struct driver d;
    echo_setup(&d);
    for (int i = 0; i < 50; i++) {
        bring_up(&d, VERSION_1);
        offer(&d, 0, wild_loop(&d));
        kick(&d, 0);
        assert_true(failed(&d));
    }
    assert_in_range(d.log_lines, 1, 10);
    driver_teardown(&d);
}

static void test_same_head_forever(void **state)
{
    struct driver d;
    struct echo *echo = echo_setup(&d);
    bring_up(&d, VERSION_1);
    echo->hold = true;
    put_desc(&d, 0, 0, DATA, 8, 0, 0);
    for (unsigned i = 0; i < RING_SIZE; i++)
        offer(&d, 0, 0);
    kick(&d, 0);
    assert_int_equal(echo->held_count, RING_SIZE);
    assert_false(failed(&d));
    offer(&d, 0, 0);
    kick(&d, 0);
    assert_int_equal(echo->held_count, RING_SIZE);
    assert_true(failed(&d));
    driver_teardown(&d);
}

struct bad_ring {
    uint16_t size;
    uint64_t desc, avail, used;
};

static void check_bad_ring(const struct bad_ring *bad)
{
    struct driver d;
    echo_setup(&d);
    negotiate(&d, VERSION_1);
    const uint64_t address[3] = {bad->desc, bad->avail, bad->used};
    pv_virtio_lock(d.dev);
    pv_virtio_queue_set_size(d.dev, 0, bad->size);
    for (unsigned part = 0; part < 3; part++) {
        pv_virtio_queue_set_address(d.dev, 0, part, false, (uint32_t)address[part]);
        pv_virtio_queue_set_address(d.dev, 0, part, true, (uint32_t)(address[part] >> 32));
    }
    pv_virtio_queue_enable(d.dev, 0);
    assert_false(pv_virtio_queue_enabled(d.dev, 0));
    pv_virtio_unlock(d.dev);
    if (!failed(&d))
        fail_msg("taken: size %u, %#llx, %#llx, %#llx", bad->size, (long long)bad->desc,
                 (long long)bad->avail, (long long)bad->used);
    set_status(&d, PV_VIRTIO_STATUS_DRIVER_OK);
    kick(&d, 0);
    assert_int_equal(d.log_lines, 1);
    driver_teardown(&d);
}

static void test_bad_rings(void **state)
{
    const uint64_t a = RAM_BASE, b = RAM_BASE + 0x1000, c = RAM_BASE + 0x2000;
    const struct bad_ring bad[] = {
        {0, a, b, c},
        {3, a, b, c},
        {512, a, b, c}, /* more than the device has */
        {16, 0, b, c},
        {16, a + 8, b, c},
        {16, a, b + 1, c},
        {16, a, b, c + 2},
        {16, RAM_BASE + RAM_SIZE - 16, b, c},
        {16, a, UINT64_MAX - 1, c},
        {16, a, b, RAM_BASE + RAM_SIZE - 4},
    };
    for (size_t i = 0; i < PV_ARRAY_SIZE(bad); i++)
        check_bad_ring(&bad[i]);
}

static void test_reset_in_flight(void **state)
{
    struct driver d;
    struct echo *echo = echo_setup(&d);
    bring_up(&d, VERSION_1);
    echo->hold = true;
    offer_echo(&d, 0, "held");
    kick(&d, 0);
    assert_int_equal(echo->held_count, 1);
    bring_up(&d, VERSION_1);
    assert_int_equal(echo->reset, 1);

    /* A completion from before the reset must not show in the new ring. */
    pv_virtio_lock(d.dev);
    pv_virtq_push(pv_virtio_queue(d.dev, 0), &echo->held[0], 4);
    pv_virtq_notify(pv_virtio_queue(d.dev, 0));
    pv_virtio_unlock(d.dev);
    assert_int_equal(used_index(&d, 0), 0);
    driver_teardown(&d);
}

static void test_disable_in_flight(void **state)
{
    struct driver d;
    struct echo *echo = echo_setup(&d);
    bring_up(&d, VERSION_1);
    echo->hold = true;
    offer_echo(&d, 0, "held");
    kick(&d, 0);
    pv_virtio_lock(d.dev);
    pv_virtio_queue_disable(d.dev, 1); /* nothing in flight there: fine */
    assert_false(failed(&d));
    pv_virtio_queue_disable(d.dev, 0);
    pv_virtio_unlock(d.dev);
    assert_true(failed(&d));
    driver_teardown(&d);
}

static void test_queue_reset(void **state)
{
    struct driver d;
    struct echo *echo = echo_setup(&d);
    bring_up(&d, VERSION_1);
    pv_virtio_lock(d.dev);
    pv_virtio_queue_reset(d.dev, 0); /* not negotiated: nothing */
    assert_true(pv_virtio_queue_enabled(d.dev, 0));
    pv_virtio_unlock(d.dev);

    bring_up(&d, VERSION_1 | RESET);
    echo->hold = true;
    offer_echo(&d, 0, "held");
    kick(&d, 0);
    assert_int_equal(echo->held_count, 1);
    pv_virtio_lock(d.dev);
    pv_virtio_queue_reset(d.dev, 0);
    pv_virtio_queue_reset(d.dev, 2); /* not there */
    assert_false(pv_virtio_queue_enabled(d.dev, 0));
    assert_true(pv_virtio_queue_enabled(d.dev, 1));
    assert_int_equal(pv_virtio_queue_size(d.dev, 0), 256);
    assert_int_equal(pv_virtio_queue_address(d.dev, 0, PV_VIRTQ_DESC), 0);
    pv_virtio_unlock(d.dev);
    assert_int_equal(echo->queue_resets, 1);
    assert_int_equal(echo->reset, 1); /* by the second bring_up only */
    kick(&d, 0);

    /* The old chain does not show in the new ring, which works. */
    enable_queue(&d, 0);
    pv_virtio_lock(d.dev);
    pv_virtq_push(pv_virtio_queue(d.dev, 0), &echo->held[0], 4);
    pv_virtio_unlock(d.dev);
    assert_int_equal(used_index(&d, 0), 0);
    echo->hold = false;
    offer_echo(&d, 0, "new");
    kick(&d, 0);
    assert_echoed(&d, 0, "new");
    assert_int_equal(used_index(&d, 0), 1);
    assert_false(failed(&d));
    driver_teardown(&d);
}

static void test_enabled_queue_is_fixed(void **state)
{
    struct driver d;
    echo_setup(&d);
    bring_up(&d, VERSION_1);
    pv_virtio_lock(d.dev);
    pv_virtio_queue_set_size(d.dev, 0, 4);
    pv_virtio_queue_set_address(d.dev, 0, PV_VIRTQ_DESC, false, 0);
    pv_virtio_queue_enable(d.dev, 0);
    assert_int_equal(pv_virtio_queue_size(d.dev, 0), RING_SIZE);
    assert_int_equal(pv_virtio_queue_address(d.dev, 0, PV_VIRTQ_DESC),
                     ring_address(0, PV_VIRTQ_DESC));
    pv_virtio_unlock(d.dev);
    assert_false(failed(&d));
    driver_teardown(&d);
}

/* ---- Packed rings only ---- */

static void test_packed_bad_rings(void **state)
{
    const uint64_t a = RAM_BASE, b = RAM_BASE + 0x1000, c = RAM_BASE + 0x2000;
    const struct bad_ring bad[] = {
        {0, a, b, c},
        {257, a, b, c}, /* more than the device has */
        {16, 0, b, c},
        {16, a + 8, b, c},
        {16, a, b + 2, c},
        {16, a, b, c + 2},
        {16, RAM_BASE + RAM_SIZE - 16, b, c},
        {16, a, UINT64_MAX - 3, c},
        {16, a, b, RAM_BASE + RAM_SIZE},
    };
    for (size_t i = 0; i < PV_ARRAY_SIZE(bad); i++)
        check_bad_ring(&bad[i]);
}

/* Any size will do, not only powers of two: 5 entries, and chains of 2, so that they wrap. */
static void test_packed_odd_size(void **state)
{
    struct driver d;
    echo_setup(&d);
    negotiate(&d, VERSION_1);
    enable_queue_of(&d, 0, 5);
    set_status(&d, PV_VIRTIO_STATUS_DRIVER_OK);
    assert_int_equal(pv_as_write(d.as, DATA, "odd", 4), 0);
    const uint64_t ring = ring_address(0, PV_VIRTQ_DESC);
    for (unsigned place = 0; place < 40; place += 2) {
        for (unsigned i = 2; i-- > 0;) {
            uint16_t flags = (place + i) / 5 % 2 ? PACKED_USED : PACKED_AVAIL;
            const struct test_desc desc = {DATA + i * 0x800, i ? 64 : 4, 77,
                                           (uint16_t)(flags | (i ? DESC_WRITE : DESC_NEXT))};
            assert_int_equal(pv_as_write(d.as, ring + (place + i) % 5 * 16, &desc, 16), 0);
        }
        assert_int_equal(pv_as_fill(d.as, DATA + 0x800, 0, 4), 0);
        kick(&d, 0);
        assert_echoed(&d, 0, "odd");
        uint16_t flags = load16(&d, ring + place % 5 * 16 + 14);
        assert_int_equal(flags, DESC_WRITE | (place / 5 % 2 ? 0 : PACKED_AVAIL | PACKED_USED));
        assert_int_equal(load16(&d, ring + place % 5 * 16 + 12), 77);
    }
    assert_false(failed(&d));
    driver_teardown(&d);
}

/* A chain that has no end: every descriptor says that there is another. */
static void test_packed_endless_chain(void **state)
{
    struct driver d;
    echo_setup(&d);
    bring_up(&d, VERSION_1);
    for (unsigned i = 0; i < RING_SIZE; i++)
        packed_put(&d, 0, i, DATA, 8, 0, DESC_NEXT);
    kick(&d, 0);
    assert_true(failed(&d));

    /* Nor one that runs into what is in flight. */
    bring_up(&d, VERSION_1);
    struct echo *echo = (struct echo *)d.dev;
    echo->hold = true;
    offer_echo(&d, 0, "held");
    kick(&d, 0);
    assert_int_equal(echo->held_count, 1);
    for (unsigned i = 2; i < RING_SIZE + 2; i++)
        packed_put(&d, 0, i, DATA, 8, 0, i == RING_SIZE + 1 ? 0 : DESC_NEXT);
    kick(&d, 0);
    assert_true(failed(&d));
    driver_teardown(&d);
}

/* An event structure full of nonsense only costs interrupts. */
static void test_packed_wild_event(void **state)
{
    struct driver d;
    echo_setup(&d);
    bring_up(&d, VERSION_1 | EVENT_IDX);
    for (unsigned i = 0; i < 64; i++) {
        store16(&d, ring_address(0, PV_VIRTQ_DRIVER), (uint16_t)(i * 4999));
        store16(&d, ring_address(0, PV_VIRTQ_DRIVER) + 2, (uint16_t)(0xfffc | i));
        offer_echo(&d, 0, "wild");
        kick(&d, 0);
        assert_int_equal(used_index(&d, 0), i + 1);
    }
    assert_false(failed(&d));
    driver_teardown(&d);
}

/* ---- Negotiation ---- */

static void test_features(void **state)
{
    struct driver d;
    struct echo *echo = echo_setup(&d);
    assert_int_equal(pv_virtio_device_features(d.dev, 0), 0x30000001);
    assert_int_equal(pv_virtio_device_features(d.dev, 1), 0x101);
    assert_int_equal(pv_virtio_device_features(d.dev, 2), 0);

    negotiate(&d, 1); /* no VERSION_1 */
    assert_false(d.dev->status & PV_VIRTIO_STATUS_FEATURES_OK);
    negotiate(&d, VERSION_1 | 2); /* not offered */
    assert_false(d.dev->status & PV_VIRTIO_STATUS_FEATURES_OK);
    negotiate(&d, VERSION_1 | 1);
    assert_true(d.dev->status & PV_VIRTIO_STATUS_FEATURES_OK);
    pv_virtio_set_driver_features(d.dev, 0, 0); /* too late */
    assert_true(pv_virtio_has_feature(d.dev, 0));

    negotiate(&d, 0);
    set_status(&d, PV_VIRTIO_STATUS_DRIVER_OK); /* without FEATURES_OK */
    assert_true(failed(&d));
    assert_int_equal(echo->started, 0);
    set_status(&d, 0);
    assert_int_equal(d.dev->status, 0);
    assert_false(pv_virtio_has_feature(d.dev, PV_VIRTIO_F_VERSION_1));
    driver_teardown(&d);
}

static void test_config(void **state)
{
    struct driver d;
    echo_setup(&d);
    bring_up(&d, VERSION_1);
    pv_virtio_lock(d.dev);
    assert_int_equal(pv_virtio_config_read(d.dev, 0, 4), 0x11223344);
    assert_int_equal(pv_virtio_config_read(d.dev, 6, 4), 0x5566); /* cut at the end */
    assert_int_equal(pv_virtio_config_read(d.dev, 8, 1), 0);
    assert_int_equal(pv_virtio_config_read(d.dev, UINT64_MAX, 8), 0);
    pv_virtio_config_write(d.dev, 7, 8, 0xffffffffffffffff);
    pv_virtio_config_write(d.dev, 8, 8, 0);
    assert_int_equal(pv_virtio_config_read(d.dev, 4, 4), 0xff667788);
    uint8_t generation = pv_virtio_config_generation(d.dev);
    pv_virtio_config_changed(d.dev);
    assert_int_not_equal(pv_virtio_config_generation(d.dev), generation);
    pv_virtio_unlock(d.dev);
    assert_int_equal(d.config_interrupts, 1);
    driver_teardown(&d);
}

/* ---- MMIO ---- */

#define MMIO UINT64_C(0x0a000000)

struct wire {
    bool level[32];
};

static void wire_set(void *opaque, unsigned line, bool level)
{
    ((struct wire *)opaque)->level[line] = level;
}

static void mmio_enable_queue(struct driver *d, uint64_t base)
{
    wr(d->as, base + 0x30, 4, 0);
    assert_int_equal(rd(d->as, base + 0x34, 4), 256);
    wr(d->as, base + 0x38, 4, RING_SIZE);
    for (unsigned part = 0; part < 3; part++) {
        wr(d->as, base + 0x80 + 16 * part, 4, (uint32_t)ring_address(0, part));
        wr(d->as, base + 0x84 + 16 * part, 4, ring_address(0, part) >> 32);
    }
    wr(d->as, base + 0x44, 4, 1);
    assert_int_equal(rd(d->as, base + 0x44, 4), 1);
}

static void test_mmio(void **state)
{
    struct driver d;
    driver_setup(&d);
    struct wire wires = {0};
    struct pv_irq irqs[32];
    for (unsigned i = 0; i < 32; i++)
        irqs[i] = (struct pv_irq){.set = wire_set, .opaque = &wires, .line = i};
    struct pv_virtio_mmio_bank *bank;
    assert_int_equal(pv_virtio_mmio_bank_create(&bank, d.as, MMIO, 32, irqs, NULL), 0);
    struct echo *echo = echo_create(&d);
    assert_int_equal(pv_virtio_mmio_create(&echo->base, bank, -1, NULL), 0);
    struct echo *other = echo_create(&d);
    assert_int_equal(pv_virtio_mmio_create(&other->base, bank, 31, NULL), -EBUSY);
    assert_int_equal(pv_virtio_mmio_create(&other->base, bank, 32, NULL), -EINVAL);
    pv_virtio_device_destroy(&other->base);
    d.dev = &echo->base;

    const uint64_t base = MMIO + 31 * 0x200;
    assert_int_equal(rd(d.as, MMIO, 4), 0x74726976);
    assert_int_equal(rd(d.as, MMIO + 8, 4), 0);
    wr(d.as, MMIO + 0x70, 4, 1);
    assert_int_equal(rd(d.as, base, 4), 0x74726976);
    assert_int_equal(rd(d.as, base + 4, 4), 2);
    assert_int_equal(rd(d.as, base + 8, 4), PV_VIRTIO_ID_RNG);
    assert_int_equal(rd(d.as, base + 0x102, 2), 0x1122);
    assert_int_equal(rd(d.as, base + 0xb0, 4), UINT32_MAX);
    assert_int_equal(rd(d.as, base + 0x1, 1), 0); /* registers are words */

    wr(d.as, base + 0x70, 4, 3);
    wr(d.as, base + 0x14, 4, 1);
    assert_int_equal(rd(d.as, base + 0x10, 4), 0x101);
    wr(d.as, base + 0x24, 4, 1);
    wr(d.as, base + 0x20, 4, 0x101);
    wr(d.as, base + 0x70, 4, 11);
    assert_int_equal(rd(d.as, base + 0x70, 4), 11);
    mmio_enable_queue(&d, base);
    wr(d.as, base + 0x70, 4, 15);
    offer_echo(&d, 0, "mmio");
    wr(d.as, base + 0x50, 4, 0);
    driver_run(&d);
    assert_echoed(&d, 0, "mmio");
    assert_true(wires.level[31]);
    assert_int_equal(rd(d.as, base + 0x60, 4), PV_VIRTIO_ISR_QUEUE);
    wr(d.as, base + 0x64, 4, PV_VIRTIO_ISR_QUEUE);
    assert_false(wires.level[31]);

    /* Another ring in the same queue, of a device that goes on. */
    wr(d.as, base + 0xc0, 4, 1);
    assert_int_equal(rd(d.as, base + 0xc0, 4), 0);
    assert_int_equal(rd(d.as, base + 0x44, 4), 0);
    for (unsigned part = 0; part < 3; part++)
        assert_int_equal(pv_as_fill(d.as, ring_address(0, part), 0, 0x1000), 0);
    mmio_enable_queue(&d, base);
    offer_echo(&d, 0, "again");
    wr(d.as, base + 0x50, 4, 0);
    driver_run(&d);
    assert_echoed(&d, 0, "again");
    assert_int_equal(used_index(&d, 0), 1);

    wr(d.as, base + 0x44, 4, 0);
    assert_int_equal(rd(d.as, base + 0x44, 4), 0);
    pv_virtio_mmio_bank_reset(bank);
    assert_int_equal(rd(d.as, base + 0x70, 4), 0);
    pv_virtio_mmio_bank_destroy(bank);
    d.dev = NULL;
    driver_teardown(&d);
}

/* ---- PCI ---- */

struct msi {
    unsigned count;
    uint32_t device_id, data;
    uint64_t address;
};

static void msi_send(void *opaque, uint32_t device_id, uint64_t address, uint32_t data)
{
    struct msi *msi = opaque;
    msi->count++;
    msi->device_id = device_id;
    msi->address = address;
    msi->data = data;
}

/* Walks the capability list for the virtio capability of a type; 0 when there is none. */
static uint64_t virtio_cap(struct driver *d, uint64_t fn, unsigned type)
{
    for (unsigned at = (unsigned)rd(d->as, fn + 0x34, 1); at;
         at = (unsigned)rd(d->as, fn + at + 1, 1))
        if (rd(d->as, fn + at, 1) == 9 && rd(d->as, fn + at + 3, 1) == type)
            return fn + at;
    return 0;
}

static void pci_enable_queue(struct driver *d, uint64_t bar, unsigned vector)
{
    wr(d->as, bar + 0x16, 2, 0);
    wr(d->as, bar + 0x18, 2, RING_SIZE);
    wr(d->as, bar + 0x1a, 2, vector);
    wr(d->as, bar + 0x20, 8, ring_address(0, PV_VIRTQ_DESC));
    wr(d->as, bar + 0x28, 4, (uint32_t)ring_address(0, PV_VIRTQ_DRIVER));
    wr(d->as, bar + 0x2c, 4, 0);
    wr(d->as, bar + 0x30, 8, ring_address(0, PV_VIRTQ_DEVICE));
    assert_int_equal(rd(d->as, bar + 0x30, 8), ring_address(0, PV_VIRTQ_DEVICE));
    wr(d->as, bar + 0x1c, 2, 1);
    assert_int_equal(rd(d->as, bar + 0x1c, 2), 1);
}

static void pci_start(struct driver *d, uint64_t bar, unsigned vector)
{
    wr(d->as, bar + 0x14, 1, 3);
    wr(d->as, bar + 8, 4, 1);
    wr(d->as, bar + 0xc, 4, 0x101);
    wr(d->as, bar + 0x14, 1, 11);
    assert_int_equal(rd(d->as, bar + 0x14, 1), 11);
    pci_enable_queue(d, bar, vector);
    wr(d->as, bar + 0x14, 1, 15);
}

static void test_pci(void **state)
{
    struct driver d;
    driver_setup(&d);
    struct wire wires = {0};
    struct msi msi = {0};
    struct pv_pci_bus *bus = bus_create(d.as, (struct pv_irq){.set = wire_set, .opaque = &wires},
                                        (struct pv_msi_target){.send = msi_send, .opaque = &msi});
    struct echo *echo = echo_create(&d);
    assert_int_equal(pv_virtio_pci_create(&echo->base, bus, 3, NULL), 0);
    d.dev = &echo->base;
    const uint64_t fn = ECAM + (3 << 15);
    assert_int_equal(rd(d.as, fn, 4), 0x10441af4);
    for (unsigned type = 1; type <= 5; type++)
        assert_int_not_equal(virtio_cap(&d, fn, type), 0);
    wr(d.as, fn + 0x10 + 16, 4, (uint32_t)MEM64);
    wr(d.as, fn + 0x10 + 20, 4, MEM64 >> 32);
    wr(d.as, fn + 0x14, 4, MEM32);
    wr(d.as, fn + 4, 2, 6);

    assert_int_equal(rd(d.as, MEM64 + 0x12, 2), 2);
    assert_int_equal(rd(d.as, MEM64 + 0x2000, 4), 0x11223344);
    /* An odd access sees the same bytes: num_queues, status and generation. */
    assert_int_equal(rd(d.as, MEM64 + 0x12, 4), 2);
    pci_start(&d, MEM64, 0xffff);
    assert_int_equal(rd(d.as, MEM64 + 0x1a, 2), 0xffff);

    /* INTx */
    offer_echo(&d, 0, "intx");
    wr(d.as, MEM64 + 0x3000, 2, 0);
    driver_run(&d);
    assert_echoed(&d, 0, "intx");
    assert_true(wires.level[3]);
    assert_true(rd(d.as, fn + 6, 2) & 8);
    assert_int_equal(rd(d.as, MEM64 + 0x1000, 1), PV_VIRTIO_ISR_QUEUE);
    assert_false(wires.level[3]);
    assert_int_equal(rd(d.as, MEM64 + 0x1000, 1), 0);

    /* MSI-X */
    unsigned cap = (unsigned)rd(d.as, fn + 0x34, 1);
    while (rd(d.as, fn + cap, 1) != 0x11)
        cap = (unsigned)rd(d.as, fn + cap + 1, 1);
    assert_int_equal(rd(d.as, fn + cap + 2, 2), 2); /* three vectors */
    wr(d.as, fn + cap + 2, 2, 0x8000);
    wr(d.as, MEM32 + 16, 8, 0x8020040);
    wr(d.as, MEM32 + 24, 4, 81);
    wr(d.as, MEM32 + 28, 4, 0);
    wr(d.as, MEM64 + 0x1a, 2, 3); /* there is no such vector */
    assert_int_equal(rd(d.as, MEM64 + 0x1a, 2), 0xffff);
    wr(d.as, MEM64 + 0x1a, 2, 1);
    assert_int_equal(rd(d.as, MEM64 + 0x1a, 2), 1);
    offer_echo(&d, 0, "msix");
    wr(d.as, MEM64 + 0x3000, 2, 0);
    driver_run(&d);
    assert_int_equal(msi.count, 1);
    assert_int_equal(msi.device_id, 3 << 3);
    assert_int_equal(msi.address, 0x8020040);
    assert_int_equal(msi.data, 81);
    assert_false(wires.level[3]);

    /* The ring starts anew, with the vector it has. */
    wr(d.as, MEM64 + 0x3a, 2, 1);
    assert_int_equal(rd(d.as, MEM64 + 0x3a, 2), 0);
    assert_int_equal(rd(d.as, MEM64 + 0x1c, 2), 0);
    for (unsigned part = 0; part < 3; part++)
        assert_int_equal(pv_as_fill(d.as, ring_address(0, part), 0, 0x1000), 0);
    pci_enable_queue(&d, MEM64, 1);
    offer_echo(&d, 0, "reset");
    wr(d.as, MEM64 + 0x3000, 2, 0);
    driver_run(&d);
    assert_echoed(&d, 0, "reset");
    assert_int_equal(msi.count, 2);

    pv_pci_bus_reset(bus);
    uint64_t value;
    assert_int_equal(pv_as_cpu_read(d.as, MEM64, 4, &value), -EFAULT);
    assert_int_equal(d.dev->status, 0);
    pv_pci_bus_destroy(bus);
    d.dev = NULL;
    driver_teardown(&d);
}

static void test_pci_config_window(void **state)
{
    struct driver d;
    driver_setup(&d);
    struct wire wires = {0};
    struct msi msi = {0};
    struct pv_pci_bus *bus = bus_create(d.as, (struct pv_irq){.set = wire_set, .opaque = &wires},
                                        (struct pv_msi_target){.send = msi_send, .opaque = &msi});
    struct echo *echo = echo_create(&d);
    assert_int_equal(pv_virtio_pci_create(&echo->base, bus, -1, NULL), 0);
    const uint64_t fn = ECAM + (1 << 15);
    uint64_t cap = virtio_cap(&d, fn, 5);
    wr(d.as, cap + 4, 1, 4);
    wr(d.as, cap + 12, 4, 4);
    wr(d.as, cap + 8, 4, 0x2004);
    assert_int_equal(rd(d.as, cap + 16, 4), 0x55667788);
    wr(d.as, cap + 16, 4, 0xabcd);
    assert_int_equal(echo->config[1], 0xabcd);
    /* Wild windows do nothing. */
    static const struct {
        uint32_t bar, offset, length;
    } wild[] = {{0, 0, 4}, {4, 0x4000, 4}, {4, 0xfffffffc, 4}, {4, 0, 3}, {4, 2, 4}, {4, 0, 0}};
    for (size_t i = 0; i < PV_ARRAY_SIZE(wild); i++) {
        wr(d.as, cap + 4, 1, wild[i].bar);
        wr(d.as, cap + 8, 4, wild[i].offset);
        wr(d.as, cap + 12, 4, wild[i].length);
        wr(d.as, cap + 16, 4, 0x5a5a5a5a);
        assert_int_equal(rd(d.as, cap + 16, 4), 0x5a5a5a5a);
    }
    pv_pci_bus_destroy(bus);
    driver_teardown(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_RINGS(test_echo),
        BOTH_RINGS(test_kicks_before_driver_ok),
        BOTH_RINGS(test_interrupt_suppression),
        BOTH_RINGS(test_event_index),
        BOTH_RINGS(test_event_index_of_batches),
        BOTH_RINGS(test_indirect),
        BOTH_RINGS(test_buffer_across_regions),
        BOTH_RINGS(test_dirty_log),
        BOTH_RINGS(test_wild_chains),
        BOTH_RINGS(test_indirect_not_negotiated),
        BOTH_RINGS(test_failures_get_quiet),
        BOTH_RINGS(test_same_head_forever),
        BOTH_RINGS(test_reset_in_flight),
        BOTH_RINGS(test_disable_in_flight),
        BOTH_RINGS(test_queue_reset),
        BOTH_RINGS(test_enabled_queue_is_fixed),
        SPLIT_RINGS(test_bad_rings),
        PACKED_RINGS(test_packed_bad_rings),
        PACKED_RINGS(test_packed_odd_size),
        PACKED_RINGS(test_packed_endless_chain),
        PACKED_RINGS(test_packed_wild_event),
        SPLIT_RINGS(test_features),
        SPLIT_RINGS(test_config),
        SPLIT_RINGS(test_mmio),
        SPLIT_RINGS(test_pci),
        SPLIT_RINGS(test_pci_config_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
