/* SPDX-License-Identifier: MIT */
/* Queues, split and packed, and negotiation, with a device that echoes. */
#include "virtio_echo.h"

/* ---- Queues ---- */

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
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
