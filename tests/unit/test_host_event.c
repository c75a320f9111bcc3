/* SPDX-License-Identifier: MIT */
/* Coalesced loop events, and their order with posted work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "host/loop.h"

#include <pthread.h>
#include <stdatomic.h>

struct fixture {
    struct pv_loop *loop;
    struct pv_event *event, *other;
    _Atomic unsigned ran;
    unsigned again;
};

static void stop(void *opaque)
{
    pv_loop_stop(((struct fixture *)opaque)->loop);
}

static void ran(void *opaque)
{
    struct fixture *f = opaque;
    f->ran++;
    if (f->again) {
        f->again--;
        pv_event_signal(f->event);
    }
}

static void setup(struct fixture *f)
{
    *f = (struct fixture){0};
    assert_int_equal(pv_loop_create(&f->loop, NULL), 0);
    assert_int_equal(pv_event_create(&f->event, f->loop, ran, f, NULL), 0);
}

static void run(struct fixture *f)
{
    assert_int_equal(pv_loop_post(f->loop, stop, f), 0);
    assert_int_equal(pv_loop_run(f->loop, NULL), 0);
}

static void test_coalesces(void **state)
{
    struct fixture f;
    setup(&f);
    for (int i = 0; i < 100; i++)
        pv_event_signal(f.event);
    run(&f);
    assert_int_equal(f.ran, 1);
    run(&f);
    assert_int_equal(f.ran, 1);
    pv_event_signal(f.event);
    run(&f);
    assert_int_equal(f.ran, 2);
    pv_loop_destroy(f.loop); /* and the event with it */
}

static void test_signal_from_itself(void **state)
{
    struct fixture f;
    setup(&f);
    f.again = 3;
    pv_event_signal(f.event);
    for (int i = 0; i < 4; i++)
        run(&f);
    assert_int_equal(f.ran, 4);
    pv_event_destroy(f.event);
    pv_loop_destroy(f.loop);
}

static void destroy_both(void *opaque)
{
    struct fixture *f = opaque;
    pv_event_destroy(f->event);
    pv_event_destroy(f->other);
}

static void test_destroyed_while_queued(void **state)
{
    struct fixture f;
    setup(&f);
    assert_int_equal(pv_event_create(&f.other, f.loop, ran, &f, NULL), 0);
    assert_int_equal(pv_loop_post(f.loop, destroy_both, &f), 0);
    pv_event_signal(f.event);
    pv_event_signal(f.other);
    run(&f);
    assert_int_equal(f.ran, 0);
    /* The queue's end was one of them; it still takes work. */
    run(&f);
    pv_event_destroy(NULL);
    pv_loop_destroy(f.loop);
}

static void *signaller(void *opaque)
{
    struct fixture *f = opaque;
    for (int i = 0; i < 10000; i++)
        pv_event_signal(f->event);
    pv_loop_post(f->loop, stop, f);
    return NULL;
}

static void test_other_threads(void **state)
{
    struct fixture f;
    setup(&f);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, signaller, &f), 0);
    assert_int_equal(pv_loop_run(f.loop, NULL), 0);
    pthread_join(thread, NULL);
    assert_in_range(f.ran, 1, 10000);
    pv_loop_destroy(f.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_coalesces),
        cmocka_unit_test(test_signal_from_itself),
        cmocka_unit_test(test_destroyed_while_queued),
        cmocka_unit_test(test_other_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
