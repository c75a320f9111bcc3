/* SPDX-License-Identifier: MIT */
/* The balloon, driven through its rings. */
#include "virtio_driver.h"

#include "device/balloon.h"

#define STATS     (UINT64_C(1) << 1)
#define HINTS     (UINT64_C(1) << 3)
#define POISON    (UINT64_C(1) << 4)
#define REPORTING (UINT64_C(1) << 5)

enum { INFLATE, DEFLATE, STAT, HINT, REPORT };

#define PAGES (DATA + 0x100000) /* what tests give away */

struct events {
    unsigned stats, done;
    uint64_t hinted[8];
    unsigned hint_count;
};

static void on_stats(void *opaque)
{
    ((struct events *)opaque)->stats++;
}

static void on_hint(void *opaque, uint64_t address, uint64_t len)
{
    struct events *events = opaque;
    assert_int_equal(len, 0x2000);
    events->hinted[events->hint_count++] = address;
}

static void on_done(void *opaque)
{
    ((struct events *)opaque)->done++;
}

static void setup(struct driver *d, uint64_t target, struct events *events)
{
    const struct pv_balloon_events calls = {on_stats, on_hint, on_done, events};
    struct pv_virtio_device *dev;
    *events = (struct events){0};
    driver_setup(d);
    assert_int_equal(pv_balloon_create(&dev, d->loop, d->as, target, &calls, NULL), 0);
    attach(d, dev);
}

static uint64_t returned(struct driver *d)
{
    struct pv_balloon_info info;
    pv_balloon_info(d->dev, &info);
    return info.returned;
}

static void inflate(struct driver *d, unsigned queue, const uint32_t *frames, uint32_t count)
{
    assert_int_equal(pv_as_write(d->as, DATA, frames, count * 4), 0);
    put_desc(d, queue, 0, DATA, count * 4, 0, 0);
    offer(d, queue, 0);
    kick(d, queue);
}

#define FRAME(n) ((uint32_t)(PAGES / 4096 + (n)))

static void test_inflate(void **state)
{
    struct driver d;
    struct events events;
    setup(&d, 0x10000, &events);
    assert_int_equal(pv_virtio_config_read(d.dev, 0, 4), 16);
    bring_up(&d, VERSION_1);
    assert_int_equal(pv_as_fill(d.as, PAGES, 0x77, 0x8000), 0);
    /* Up, down, and one for itself; the page between keeps what it has. */
    const uint32_t frames[] = {FRAME(0), FRAME(1), FRAME(4), FRAME(3), FRAME(6)};
    inflate(&d, INFLATE, frames, 5);
    assert_int_equal(used_index(&d, INFLATE), 1);
    assert_int_equal(returned(&d), 5 * 4096);
    for (unsigned page = 0; page < 8; page++)
        assert_int_equal(load32(&d, PAGES + page * 4096 + 8),
                         page == 2 || page == 5 || page == 7 ? 0x77777777 : 0);
    pv_virtio_lock(d.dev);
    pv_virtio_config_write(d.dev, 4, 4, 5);
    pv_virtio_config_write(d.dev, 0, 4, 99); /* the host's to say */
    assert_int_equal(pv_virtio_config_read(d.dev, 0, 4), 16);
    pv_virtio_unlock(d.dev);
    struct pv_balloon_info info;
    pv_balloon_info(d.dev, &info);
    assert_int_equal(info.actual, 5 * 4096);
    assert_int_equal(info.target, 0x10000);
    inflate(&d, DEFLATE, frames, 5);
    assert_int_equal(used_index(&d, DEFLATE), 1);

    pv_balloon_set_target(d.dev, 0x3fff);
    assert_int_equal(d.config_interrupts, 1);
    assert_int_equal(pv_virtio_config_read(d.dev, 0, 4), 3);
    assert_false(failed(&d));
    driver_teardown(&d);
}

static void test_wild_frames(void **state)
{
    static const uint32_t wild[] = {0, UINT32_MAX, (uint32_t)((RAM_BASE + RAM_SIZE) / 4096)};
    struct driver d;
    struct events events;
    setup(&d, 0, &events);
    for (size_t i = 0; i < PV_ARRAY_SIZE(wild); i++) {
        bring_up(&d, VERSION_1);
        inflate(&d, INFLATE, &wild[i], 1);
        assert_true(failed(&d));
    }
    bring_up(&d, VERSION_1); /* a list of a megabyte */
    put_desc(&d, INFLATE, 0, DATA, 0x100000, 0, 0);
    offer(&d, INFLATE, 0);
    kick(&d, INFLATE);
    assert_true(failed(&d));
    driver_teardown(&d);
}

static void test_reporting(void **state)
{
    struct driver d;
    struct events events;
    setup(&d, 0, &events);
    for (unsigned poison = 0; poison < 2; poison++) {
        bring_up(&d, VERSION_1 | REPORTING | POISON);
        pv_virtio_lock(d.dev);
        pv_virtio_config_write(d.dev, 12, 4, poison * 0xaa);
        pv_virtio_unlock(d.dev);
        assert_int_equal(pv_as_fill(d.as, PAGES, 0xaa, 0x4000), 0);
        uint64_t before = returned(&d);
        put_desc(&d, REPORT, 0, PAGES, 0x2000, DESC_NEXT | DESC_WRITE, 1);
        put_desc(&d, REPORT, 1, PAGES + 0x2800, 0x1800, DESC_WRITE, 0); /* not a whole page */
        offer(&d, REPORT, 0);
        kick(&d, REPORT);
        assert_int_equal(used_index(&d, REPORT), 1);
        assert_int_equal(returned(&d) - before, poison ? 0 : 0x3000);
        assert_int_equal(load32(&d, PAGES), poison ? 0xaaaaaaaa : 0);
        assert_int_equal(load32(&d, PAGES + 0x2ffc), 0xaaaaaaaa);
        assert_int_equal(load32(&d, PAGES + 0x3000), poison ? 0xaaaaaaaa : 0);
    }
    assert_false(failed(&d));
    driver_teardown(&d);
}

static void offer_stats(struct driver *d, uint64_t free)
{
    struct {
        uint16_t tag;
        uint64_t value;
    } __attribute__((packed)) stats[] = {{4, free}, {99, 1}, {5, 1 << 20}};
    assert_int_equal(pv_as_write(d->as, DATA, stats, sizeof(stats)), 0);
    put_desc(d, STAT, 0, DATA, sizeof(stats), 0, 0);
    offer(d, STAT, 0);
    kick(d, STAT);
}

static void test_stats(void **state)
{
    struct driver d;
    struct events events;
    struct pv_balloon_info info;
    setup(&d, 0, &events);
    assert_false(pv_balloon_request_stats(d.dev));
    bring_up(&d, VERSION_1 | STATS);
    offer_stats(&d, 1234);
    assert_int_equal(events.stats, 1);
    assert_int_equal(used_index(&d, STAT), 0); /* kept until somebody asks */
    assert_true(pv_balloon_request_stats(d.dev));
    assert_int_equal(used_index(&d, STAT), 1);
    assert_int_equal(d.interrupts[STAT], 1);
    assert_false(pv_balloon_request_stats(d.dev));
    offer_stats(&d, 5678);
    pv_balloon_info(d.dev, &info);
    assert_int_equal(info.known, 1 << PV_BALLOON_FREE | 1 << PV_BALLOON_TOTAL);
    assert_int_equal(info.stats[PV_BALLOON_FREE], 5678);
    offer_stats(&d, 9); /* a second buffer: the first goes back */
    assert_int_equal(used_index(&d, STAT), 2);
    bring_up(&d, VERSION_1 | STATS);
    assert_false(pv_balloon_request_stats(d.dev));
    driver_teardown(&d);
}

static void say(struct driver *d, uint32_t command)
{
    assert_int_equal(pv_as_write(d->as, DATA, &command, 4), 0);
    put_desc(d, HINT, 0, DATA, 4, 0, 0);
    offer(d, HINT, 0);
    kick(d, HINT);
}

static void hint(struct driver *d, uint64_t address)
{
    put_desc(d, HINT, 0, address, 0x2000, DESC_WRITE, 0);
    offer(d, HINT, 0);
    kick(d, HINT);
}

static void test_hints(void **state)
{
    struct driver d;
    struct events events;
    setup(&d, 0, &events);
    assert_false(pv_balloon_hint(d.dev, true));
    bring_up(&d, VERSION_1 | HINTS);
    assert_true(pv_balloon_hint(d.dev, true));
    assert_int_equal(d.config_interrupts, 1);
    uint32_t round = (uint32_t)pv_virtio_config_read(d.dev, 8, 4);
    assert_true(round >= 2);
    hint(&d, PAGES); /* before it says which round */
    say(&d, round + 1);
    hint(&d, PAGES); /* of another round */
    say(&d, round);
    hint(&d, PAGES + 0x4000);
    hint(&d, PAGES + 0x8000);
    say(&d, 0);
    assert_int_equal(events.hint_count, 2);
    assert_int_equal(events.hinted[1], PAGES + 0x8000);
    assert_int_equal(events.done, 1);
    assert_int_equal(returned(&d), 0);
    assert_true(pv_balloon_hint(d.dev, false));
    assert_int_equal(pv_virtio_config_read(d.dev, 8, 4), 1);
    assert_true(pv_balloon_hint(d.dev, true));
    assert_int_equal(pv_virtio_config_read(d.dev, 8, 4), round + 1);
    driver_teardown(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_RINGS(test_inflate), BOTH_RINGS(test_wild_frames), BOTH_RINGS(test_reporting),
        BOTH_RINGS(test_stats),   BOTH_RINGS(test_hints),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
