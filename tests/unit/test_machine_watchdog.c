/* SPDX-License-Identifier: MIT */
/* The SBSA watchdog against a clock of the test's. */
#include "base/error.h"
#include "host/loop.h"
#include "machine/machine.h"
#include "machine/map.h"
#include "machine/timer.h"
#include "machine/watchdog.h"
#include "memory/address_space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

static uint64_t fake_now = 1000;

static uint64_t now_ns(void)
{
    return fake_now;
}

static void bite(void *opaque)
{
    ++*(unsigned *)opaque;
}

static void record_irq(void *opaque, unsigned line, bool level)
{
    (void)line;
    *(bool *)opaque = level;
}

static void no_ppi(void *opaque, unsigned vcpu, unsigned intid, bool level)
{
    (void)opaque;
    (void)vcpu;
    (void)intid;
    (void)level;
}

static void test_watchdog(void **state)
{
    const uint64_t wcs = PV_MAP_WDT_CONTROL, wor = wcs + 8, wrr = PV_MAP_WDT_REFRESH;
    struct pv_address_space *as;
    struct pv_loop *loop;
    struct pv_gtimer *timer;
    struct pv_watchdog *wdt;
    unsigned bites = 0;
    bool ws0 = false;
    uint64_t value;
    (void)state;

    assert_int_equal(pv_loop_create(&loop, NULL), 0);
    assert_int_equal(pv_as_create(&as, NULL), 0);
    const struct pv_gtimer_config clock = {loop, 1, now_ns, no_ppi, NULL};
    assert_int_equal(pv_gtimer_create(&timer, &clock, NULL), 0);
    const struct pv_watchdog_config config = {
        .loop = loop,
        .as = as,
        .timer = timer,
        .irq = {.set = record_irq, .opaque = &ws0},
        .bitten = bite,
        .opaque = &bites,
    };
    assert_int_equal(pv_watchdog_create(&wdt, &config, NULL), 0);
    fake_now += 16000;
    pv_watchdog_check(wdt); /* off, it never is late */
    pv_as_cpu_write(as, wor, 4, 1000);
    pv_as_cpu_write(as, wcs, 4, 1);
    fake_now += 16 * 999;
    pv_watchdog_check(wdt);
    assert_false(ws0);
    fake_now += 16;
    pv_watchdog_check(wdt);
    assert_true(ws0);
    pv_as_cpu_read(as, wcs, 4, &value);
    assert_int_equal(value, 3);
    pv_as_cpu_write(as, wrr, 4, 0); /* in time, still */
    assert_false(ws0);
    fake_now += 16 * 1000;
    pv_watchdog_check(wdt);
    assert_true(ws0);
    assert_int_equal(bites, 0);
    fake_now += 16 * 1000;
    pv_watchdog_check(wdt);
    assert_int_equal(bites, 1);
    fake_now += 16 * 1000;
    pv_watchdog_check(wdt); /* once */
    assert_int_equal(bites, 1);
    /* A length of 48 bits; what is beyond is not there. */
    pv_as_cpu_write(as, wor, 8, UINT64_MAX);
    pv_as_cpu_read(as, wor, 8, &value);
    assert_int_equal(value, UINT64_C(0xffffffffffff));
    pv_watchdog_reset(wdt);
    pv_as_cpu_read(as, wcs, 4, &value);
    assert_int_equal(value, 0);
    assert_false(ws0);
    pv_watchdog_destroy(wdt);
    pv_gtimer_destroy(timer);
    pv_as_destroy(as);
    pv_loop_destroy(loop);
}

/* ---- What the machine does then ---- */

static void stop_loop(void *opaque)
{
    pv_loop_stop(opaque);
}

/* A guest that leaves its watchdog alone is paused where its owner wants that. */
static void test_action_pause(void **state)
{
    static const uint32_t kernel[16] = {[4] = 0x10000, [14] = 0x644d5241}; /* image_size, magic */
    char path[] = "/tmp/pv-watchdog-XXXXXX";
    struct pv_address_space *as;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct pv_machine *machine;
    struct pv_loop *loop;
    int fd = mkstemp(path);
    (void)state;

    assert_true(fd >= 0);
    assert_int_equal(write(fd, kernel, sizeof(kernel)), sizeof(kernel));
    assert_int_equal(ftruncate(fd, 4096), 0);
    close(fd);
    assert_int_equal(pv_loop_create(&loop, NULL), 0);
    assert_int_equal(pv_as_create(&as, NULL), 0);
    const struct pv_machine_config config = {
        .loop = loop,
        .as = as,
        .engine = pv_engine_find("fake"),
        .vcpus = 1,
        .watchdog = PV_ACTION_PAUSE,
        .ram_size = PV_MACHINE_MIN_RAM,
        .kernel = path,
        .events = {.pause = stop_loop, .opaque = loop},
    };
    assert_int_equal(pv_machine_create(&machine, &config, &err), 0);
    pv_as_cpu_write(as, PV_MAP_WDT_CONTROL + 8, 4, 1);
    pv_as_cpu_write(as, PV_MAP_WDT_CONTROL, 4, 1);
    assert_int_equal(pv_loop_run(loop, NULL), 0); /* comes back by the pause alone */
    pv_machine_destroy(machine);
    pv_as_destroy(as);
    pv_loop_destroy(loop);
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watchdog),
        cmocka_unit_test(test_action_pause),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
