/* SPDX-License-Identifier: MIT */
/* What every netdev does, whatever stands behind it. A new backend is a new row. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/util.h"
#include "host/loop.h"
#include "net/netdev.h"

#include <string.h>

static int create_null(struct pv_netdev **out, struct pv_loop *loop)
{
    return pv_netdev_null_create(out, NULL);
}

static int create_user(struct pv_netdev **out, struct pv_loop *loop)
{
    return pv_netdev_user_create(out, loop, NULL, 0, NULL);
}

static const struct backend {
    const char *name;
    int (*create)(struct pv_netdev **out, struct pv_loop *loop);
    bool answers_arp;
} backends[] = {
    {"null", create_null, false},
    {"user", create_user, true},
};

struct guest {
    struct pv_loop *loop;
    struct pv_netdev *netdev;
    bool locked; /* as the device's lock is while it calls the backend */
    bool full;
    unsigned received, refused;
};

static bool receive(void *opaque, const void *frame, size_t len)
{
    struct guest *guest = opaque;
    assert_false(guest->locked);
    assert_in_range(len, 14, PV_ETH_FRAME_MAX);
    *(guest->full ? &guest->refused : &guest->received) += 1;
    return !guest->full;
}

static void setup(struct guest *guest, const struct backend *backend)
{
    *guest = (struct guest){0};
    assert_int_equal(pv_loop_create(&guest->loop, NULL), 0);
    assert_int_equal(backend->create(&guest->netdev, guest->loop), 0);
    assert_string_equal(guest->netdev->ops->name, backend->name);
    guest->netdev->client = (struct pv_netdev_client){.receive = receive, .opaque = guest};
}

static void teardown(struct guest *guest)
{
    pv_netdev_destroy(guest->netdev);
    pv_loop_destroy(guest->loop);
}

static void stop(void *opaque)
{
    pv_loop_stop(opaque);
}

static void run(struct guest *guest)
{
    for (int i = 0; i < 10; i++) {
        assert_int_equal(pv_loop_post(guest->loop, stop, guest->loop), 0);
        assert_int_equal(pv_loop_run(guest->loop, NULL), 0);
    }
}

static void send_bytes(struct guest *guest, const void *frame, size_t len)
{
    struct iovec iov[3] = {{(void *)(uintptr_t)frame, len / 2},
                           {NULL, 0},
                           {(char *)(uintptr_t)frame + len / 2, len - len / 2}};
    guest->locked = true;
    guest->netdev->ops->send(guest->netdev, iov, 3, len);
    guest->locked = false;
}

/* Who has 10.0.2.2? */
static const uint8_t arp[42] = {
    0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x52, 0x54, 0, 1,  2, 3, 8, 6, /* Ethernet */
    0,    1,    8,    0,    6,    4,    0,    1,                       /* request */
    0x52, 0x54, 0,    1,    2,    3,    10,   0,    2, 15,             /* from */
    0,    0,    0,    0,    0,    0,    10,   0,    2, 2,              /* to */
};

static void test_answers_come_deferred(void **state)
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(backends); i++) {
        struct guest guest;
        setup(&guest, &backends[i]);
        send_bytes(&guest, arp, sizeof(arp));
        assert_int_equal(guest.received, 0);
        run(&guest);
        assert_int_equal(guest.received, backends[i].answers_arp);
        teardown(&guest);
    }
}

static void test_full_guest(void **state)
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(backends); i++) {
        struct guest guest;
        setup(&guest, &backends[i]);
        guest.full = true;
        send_bytes(&guest, arp, sizeof(arp));
        run(&guest);
        assert_int_equal(guest.received, 0);
        assert_int_equal(guest.refused > 0, backends[i].answers_arp);
        unsigned refused = guest.refused;
        run(&guest);
        assert_int_equal(guest.refused, refused); /* it waits, it does not poll */
        guest.full = false;
        guest.locked = true;
        if (guest.netdev->ops->can_receive)
            guest.netdev->ops->can_receive(guest.netdev);
        guest.locked = false;
        run(&guest);
        assert_in_range(guest.received, 0, 1); /* may have been dropped, not doubled */
        teardown(&guest);
    }
}

static void test_odd_frames(void **state)
{
    static uint8_t big[PV_ETH_FRAME_MAX + 1];
    for (size_t i = 0; i < PV_ARRAY_SIZE(backends); i++) {
        struct guest guest;
        setup(&guest, &backends[i]);
        memcpy(big, arp, sizeof(arp));
        for (size_t len = 0; len < sizeof(arp); len++)
            send_bytes(&guest, arp, len);
        send_bytes(&guest, big, sizeof(big));
        send_bytes(&guest, big, sizeof(big) - 1);
        run(&guest);
        send_bytes(&guest, arp, sizeof(arp));
        run(&guest);
        assert_true(guest.received >= backends[i].answers_arp);
        teardown(&guest);
    }
}

static void test_destroyed_in_the_middle(void **state)
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(backends); i++) {
        struct guest guest;
        setup(&guest, &backends[i]);
        guest.full = true;
        send_bytes(&guest, arp, sizeof(arp));
        run(&guest);
        guest.full = false;
        send_bytes(&guest, arp, sizeof(arp));
        pv_netdev_destroy(guest.netdev);
        guest.netdev = NULL;
        run(&guest); /* nothing of it is left on the loop */
        assert_int_equal(guest.received, 0);
        teardown(&guest);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_answers_come_deferred),
        cmocka_unit_test(test_full_guest),
        cmocka_unit_test(test_odd_frames),
        cmocka_unit_test(test_destroyed_in_the_middle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
