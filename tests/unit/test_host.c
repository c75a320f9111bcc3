/* SPDX-License-Identifier: MIT */
#include "base/error.h"
#include "base/util.h"
#include "host/clock.h"
#include "host/loop.h"
#include "host/mapping.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

static int setup(void **state)
{
    struct pv_loop *loop;
    if (pv_loop_create(&loop, NULL) < 0)
        return -1;
    *state = loop;
    return 0;
}

static int teardown(void **state)
{
    pv_loop_destroy(*state);
    return 0;
}

static void stop_loop(void *opaque)
{
    pv_loop_stop(opaque);
}

struct order {
    struct pv_loop *loop;
    int seen[3];
    unsigned count;
};

struct posted {
    struct order *order;
    int value;
};

static void note(void *opaque)
{
    struct posted *posted = opaque;
    struct order *order = posted->order;
    order->seen[order->count++] = posted->value;
    if (order->count == PV_ARRAY_SIZE(order->seen))
        pv_loop_stop(order->loop);
}

static void *post_from_elsewhere(void *opaque)
{
    struct posted *posted = opaque;
    for (int i = 0; i < 3; i++)
        pv_loop_post(posted[i].order->loop, note, &posted[i]);
    return NULL;
}

static void posted_work_runs_in_order(void **state)
{
    struct order order = {.loop = *state};
    struct posted posted[3] = {{&order, 1}, {&order, 2}, {&order, 3}};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, post_from_elsewhere, posted), 0);
    assert_int_equal(pv_loop_run(*state, NULL), 0);
    pthread_join(thread, NULL);
    assert_int_equal(order.count, 3);
    for (int i = 0; i < 3; i++)
        assert_int_equal(order.seen[i], i + 1);
}

static void unrun_work_is_dropped_with_the_loop(void **state)
{
    struct order order = {.loop = *state};
    struct posted posted = {&order, 1};
    assert_int_equal(pv_loop_post(*state, note, &posted), 0);
    pv_loop_destroy(*state);
    *state = NULL;
    assert_int_equal(order.count, 0);
}

static void timers_fire_no_earlier_than_asked(void **state)
{
    struct pv_timer *timer;
    assert_int_equal(pv_timer_create(&timer, *state, stop_loop, *state, NULL), 0);
    const uint64_t deadline = pv_clock_ns() + 3 * PV_NSEC_PER_SEC / 1000;
    pv_timer_set(timer, 0);
    pv_timer_set(timer, UINT64_MAX);
    pv_timer_set(timer, deadline);
    assert_int_equal(pv_loop_run(*state, NULL), 0);
    assert_true(pv_clock_ns() >= deadline);
    pv_timer_set(timer, 0); /* long past: at once */
    assert_int_equal(pv_loop_run(*state, NULL), 0);
    pv_timer_destroy(timer);
}

struct pair {
    struct pv_loop *loop;
    struct pv_watch *watch[2];
    unsigned calls;
};

/* Both watches are ready in one batch; the first to run destroys both. */
static void destroy_both(void *opaque, int fd, unsigned events)
{
    struct pair *pair = opaque;
    pair->calls++;
    pv_watch_destroy(pair->watch[0]);
    pv_watch_destroy(pair->watch[1]);
    pv_loop_post(pair->loop, stop_loop, pair->loop);
}

static void a_destroyed_watch_is_not_called(void **state)
{
    struct pair pair = {.loop = *state};
    int fds[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(write(fds[i], "x", 1), 1);
        assert_int_equal(pv_watch_create(&pair.watch[i], *state, fds[i], PV_LOOP_READ, destroy_both,
                                         &pair, NULL),
                         0);
    }
    assert_int_equal(pv_loop_run(*state, NULL), 0);
    assert_int_equal(pair.calls, 1);
    close(fds[0]);
    close(fds[1]);
}

static void note_hangup(void *opaque, int fd, unsigned events)
{
    if (events & PV_LOOP_HUP)
        pv_loop_stop(opaque);
}

static void hangups_are_reported(void **state)
{
    int fds[2];
    struct pv_watch *watch;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    assert_int_equal(
        pv_watch_create(&watch, *state, fds[0], PV_LOOP_READ, note_hangup, *state, NULL), 0);
    close(fds[1]);
    assert_int_equal(pv_loop_run(*state, NULL), 0);
    pv_watch_destroy(watch);
    close(fds[0]);
}

static void a_bad_descriptor_is_an_error(void **state)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct pv_watch *watch;
    assert_int_equal(pv_watch_create(&watch, *state, 9999, PV_LOOP_READ, note_hangup, *state, &err),
                     -EBADF);
    assert_non_null(strstr(pv_error_message(err), "9999"));
}

static void mappings_give_pages_back(void **state)
{
    struct pv_mapping mapping;
    const size_t page = pv_page_size();
    assert_int_equal(pv_mapping_create(&mapping, "test", 4 * page, NULL), 0);
    memset(mapping.data, 0xaa, mapping.size);
    assert_int_equal(pv_mapping_discard(&mapping, page, 2 * page), 0);
    const uint8_t *bytes = mapping.data;
    assert_int_equal(bytes[page - 1], 0xaa);
    assert_int_equal(bytes[page], 0);
    assert_int_equal(bytes[3 * page - 1], 0);
    assert_int_equal(bytes[3 * page], 0xaa);
    assert_int_equal(pv_mapping_discard(&mapping, 1, page), -EINVAL);
    assert_int_equal(pv_mapping_discard(&mapping, 4 * page, page), -EINVAL);
    pv_mapping_destroy(&mapping);
    assert_null(mapping.data);
    pv_mapping_destroy(&mapping);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(posted_work_runs_in_order),
        TEST(unrun_work_is_dropped_with_the_loop),
        TEST(timers_fire_no_earlier_than_asked),
        TEST(a_destroyed_watch_is_not_called),
        TEST(hangups_are_reported),
        TEST(a_bad_descriptor_is_an_error),
        TEST(mappings_give_pages_back),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
