/* SPDX-License-Identifier: MIT */
/* Input devices, driven through their rings. */
#include "virtio_driver.h"

#include "device/input.h"

enum { EVENTS, STATUS };

static unsigned lit;

static void on_leds(void *opaque, unsigned leds)
{
    lit = leds;
}

static void setup(struct driver *d, enum pv_input_kind kind)
{
    struct pv_virtio_device *dev;
    driver_setup(d);
    assert_int_equal(pv_input_create(&dev, d->loop, d->as, kind, on_leds, NULL, NULL), 0);
    attach(d, dev);
}

/* Size of the answer to a question; its first eight bytes in *data. */
static unsigned ask(struct driver *d, unsigned select, unsigned subsel, uint64_t *data)
{
    pv_virtio_lock(d->dev);
    pv_virtio_config_write(d->dev, 0, 1, select);
    pv_virtio_config_write(d->dev, 1, 1, subsel);
    unsigned size = (unsigned)pv_virtio_config_read(d->dev, 2, 1);
    *data = pv_virtio_config_read(d->dev, 8, 8);
    pv_virtio_unlock(d->dev);
    return size;
}

static void test_what_it_is(void **state)
{
    struct driver d;
    uint64_t data;
    setup(&d, PV_INPUT_KEYBOARD);
    bring_up(&d, VERSION_1);
    assert_int_equal(ask(&d, 1, 0, &data), strlen("PearVisor Keyboard"));
    assert_memory_equal(&data, "PearViso", 8);
    assert_int_equal(ask(&d, 3, 0, &data), 8);
    assert_int_equal(ask(&d, 0x11, PV_EV_KEY, &data), 0xf8 / 8 + 1);
    assert_true(data == ~UINT64_C(1));
    assert_int_equal(ask(&d, 0x11, PV_EV_LED, &data), 1);
    assert_int_equal(data, 7);
    assert_int_equal(ask(&d, 0x11, PV_EV_REL, &data), 0);
    assert_int_equal(ask(&d, 0x12, 0, &data), 0);
    assert_int_equal(ask(&d, 0xff, 0xff, &data), 0);
    assert_true(data == 0);
    pv_virtio_config_write(d.dev, 2, 8, UINT64_MAX); /* not the driver's */
    assert_int_equal(pv_virtio_config_read(d.dev, 2, 1), 0);
    driver_teardown(&d);

    setup(&d, PV_INPUT_TABLET);
    bring_up(&d, VERSION_1);
    assert_int_equal(ask(&d, 0x11, PV_EV_ABS, &data), 1);
    assert_int_equal(data, 3);
    assert_int_equal(ask(&d, 0x12, 1, &data), 20);
    assert_int_equal(data >> 32, PV_INPUT_AXIS_MAX);
    assert_int_equal(ask(&d, 0x12, 2, &data), 0);
    assert_int_equal(ask(&d, 0x10, 0, &data), 1);
    driver_teardown(&d);

    setup(&d, PV_INPUT_MOUSE);
    bring_up(&d, VERSION_1);
    assert_int_equal(ask(&d, 0x11, PV_EV_REL, &data), 2);
    assert_int_equal(data, 0x143);
    driver_teardown(&d);
}

static void offer_events(struct driver *d, unsigned first, unsigned count)
{
    for (unsigned i = first; i < first + count; i++) {
        put_desc(d, EVENTS, i % RING_SIZE, DATA + 8 * i, 8, DESC_WRITE, 0);
        offer(d, EVENTS, (uint16_t)(i % RING_SIZE));
    }
}

static void test_events(void **state)
{
    const struct pv_input_event key = {PV_EV_KEY, 30, 1},
                                move[] = {{PV_EV_ABS, 0, 100}, {PV_EV_ABS, 1, -5}};
    struct driver d;
    setup(&d, PV_INPUT_TABLET);
    assert_false(pv_input_send(d.dev, &key, 1)); /* nobody listens */
    bring_up(&d, VERSION_1);
    assert_false(pv_input_send(d.dev, &key, 0));
    assert_false(pv_input_send(d.dev, &key, PV_INPUT_MAX_EVENTS + 1));
    offer_events(&d, 0, 2);
    assert_true(pv_input_send(d.dev, &key, 1));
    assert_int_equal(used_index(&d, EVENTS), 2);
    assert_int_equal(d.interrupts[EVENTS], 1);
    assert_int_equal(load32(&d, DATA), 30 << 16 | PV_EV_KEY);
    assert_int_equal(load32(&d, DATA + 4), 1);
    assert_int_equal(load32(&d, DATA + 8), 0);

    /* Two of three is none, until there is the third. */
    offer_events(&d, 2, 2);
    assert_true(pv_input_send(d.dev, move, 2));
    assert_int_equal(used_index(&d, EVENTS), 2);
    offer_events(&d, 4, 1);
    kick(&d, EVENTS);
    assert_int_equal(used_index(&d, EVENTS), 5);
    assert_int_equal(load32(&d, DATA + 8 * 3), 1 << 16 | PV_EV_ABS);
    assert_int_equal(load32(&d, DATA + 8 * 3 + 4), (uint32_t)-5);

    /* Neither buffers nor events that were kept are used after a reset. */
    offer_events(&d, 5, 2);
    assert_true(pv_input_send(d.dev, move, 2));
    bring_up(&d, VERSION_1);
    offer_events(&d, 0, 2);
    assert_true(pv_input_send(d.dev, &key, 1));
    assert_int_equal(used_index(&d, EVENTS), 2);
    assert_int_equal(load32(&d, DATA), 30 << 16 | PV_EV_KEY);
    assert_false(failed(&d));
    driver_teardown(&d);
}

/* What is typed while the guest does not look arrives in order, and what does not fit is refused.
 */
static void test_backlog(void **state)
{
    struct driver d;
    unsigned typed = 0, seen = 0, offered = 0;
    setup(&d, PV_INPUT_KEYBOARD);
    bring_up(&d, VERSION_1);
    while (pv_input_send(d.dev, &(struct pv_input_event){PV_EV_KEY, 30, (int32_t)typed}, 1))
        assert_true(++typed < 10000);
    assert_true(typed >= 500);
    while (seen < typed) {
        offer_events(&d, offered, RING_SIZE);
        offered += RING_SIZE;
        kick(&d, EVENTS);
        assert_int_equal(used_index(&d, EVENTS), (uint16_t)PV_MIN(offered, 2 * typed));
        for (unsigned i = 0; i < RING_SIZE && seen < typed; i += 2, seen++)
            assert_int_equal(load32(&d, DATA + 16 * seen + 4), seen);
    }
    assert_true(pv_input_send(d.dev, &(struct pv_input_event){PV_EV_KEY, 30, 1}, 1));
    assert_false(failed(&d));
    driver_teardown(&d);
}

static void set_led(struct driver *d, uint16_t type, uint16_t code, uint32_t value, uint32_t len)
{
    store16(d, DATA, type);
    store16(d, DATA + 2, code);
    assert_int_equal(pv_as_write(d->as, DATA + 4, &value, 4), 0);
    put_desc(d, STATUS, 0, DATA, len, 0, 0);
    offer(d, STATUS, 0);
    kick(d, STATUS);
}

static void test_leds(void **state)
{
    struct driver d;
    lit = 0;
    setup(&d, PV_INPUT_KEYBOARD);
    bring_up(&d, VERSION_1);
    set_led(&d, PV_EV_LED, 1, 1, 8);
    assert_int_equal(lit, PV_INPUT_LED_CAPS);
    set_led(&d, PV_EV_LED, 0, 1, 8);
    assert_int_equal(lit, PV_INPUT_LED_CAPS | PV_INPUT_LED_NUM);
    set_led(&d, PV_EV_LED, 1, 0, 8);
    set_led(&d, PV_EV_LED, 31, 1, 8); /* no such light */
    set_led(&d, PV_EV_LED, 0, 0, 4);  /* cut off */
    set_led(&d, PV_EV_KEY, 0, 0, 8);
    assert_int_equal(lit, PV_INPUT_LED_NUM);
    assert_int_equal(used_index(&d, STATUS), 6);
    assert_false(failed(&d));
    driver_teardown(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPLIT_RINGS(test_what_it_is),
        BOTH_RINGS(test_events),
        BOTH_RINGS(test_backlog),
        BOTH_RINGS(test_leds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
