/* SPDX-License-Identifier: MIT */
/* A machine's record is the same whether the engine or the board has timers and counter. */
#include "../unit/snapshot_machine.h"
#include "base/util.h"
#include "engine/engine_impl.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

#define CPUS      2u
#define COUNT     UINT64_C(1000000000000)
#define CNTV_CTL  PV_SYSREG(3, 3, 14, 3, 1)
#define CNTV_CVAL PV_SYSREG(3, 3, 14, 3, 2)

/* vCPU 0's timer has fired, vCPU 1's is set and masked. */
static const struct {
    uint64_t ctl, cval;
} timers[CPUS] = {{1, 5}, {3, COUNT * 2}};

/* Prepared: it stands still. */
static void create(struct snapshot_machine *m, const struct pv_engine_ops *engine)
{
    *m = (struct snapshot_machine){0};
    assert_int_equal(pv_loop_create(&m->loop, NULL), 0);
    assert_int_equal(pv_as_create(&m->as, NULL), 0);
    assert_int_equal(pv_chardev_null_create(&m->chardev, NULL), 0);
    const struct pv_machine_config config = {
        .engine = engine,
        .loop = m->loop,
        .as = m->as,
        .vcpus = CPUS,
        .ram_size = PV_MACHINE_MIN_RAM,
        .kernel = "/dev/null", /* not read, as it is empty */
        .empty = true,
    };
    assert_int_equal(pv_machine_create(&m->machine, &config, NULL), 0);
    assert_int_equal(pv_machine_prepare(m->machine, NULL), 0);
}

/* It takes what was saved, and saves the same. */
static void load(struct snapshot_machine *m, const uint8_t *saved, size_t size)
{
    size_t again_size;

    assert_int_equal(snapshot_machine_load(m, saved, size, NULL), 0);
    PV_CLEANUP_FREE uint8_t *again = snapshot_machine_save(m, &again_size);
    assert_non_null(again);
    assert_int_equal(again_size, size);
    assert_memory_equal(again, saved, size);
}

static void set_timers(struct snapshot_machine *m)
{
    struct pv_engine *engine = pv_machine_engine(m->machine);

    pv_machine_resume(m->machine);
    assert_int_equal(pv_engine_set_counter(engine, COUNT), 0);
    pv_machine_pause(m->machine);
    for (unsigned i = 0; i < CPUS; i++) {
        struct pv_vcpu *vcpu = pv_engine_vcpu(engine, i);
        assert_int_equal(pv_vcpu_set_sysreg(vcpu, CNTV_CVAL, timers[i].cval), 0);
        assert_int_equal(pv_vcpu_set_sysreg(vcpu, CNTV_CTL, timers[i].ctl), 0);
    }
}

static void check_timers(struct snapshot_machine *m)
{
    struct pv_engine *engine = pv_machine_engine(m->machine);
    uint64_t value;

    for (unsigned i = 0; i < CPUS; i++) {
        struct pv_vcpu *vcpu = pv_engine_vcpu(engine, i);
        assert_int_equal(pv_vcpu_get_sysreg(vcpu, CNTV_CVAL, &value), 0);
        assert_int_equal(value, timers[i].cval);
        assert_int_equal(pv_vcpu_get_sysreg(vcpu, CNTV_CTL, &value), 0);
        assert_int_equal(value & 3, timers[i].ctl);
    }
    pv_machine_resume(m->machine);
    pv_machine_pause(m->machine);
    assert_int_equal(pv_engine_get_counter(engine, &value), 0);
    assert_in_range(value, COUNT, COUNT * 2);
}

static void test_timers(void **unused)
{
    struct snapshot_machine m;
    size_t size;

    create(&m, &pv_engine_hvf);
    set_timers(&m);
    PV_CLEANUP_FREE uint8_t *saved = snapshot_machine_save(&m, &size);
    assert_non_null(saved);
    check_timers(&m); /* saving has not changed it */
    snapshot_machine_destroy(&m);

    create(&m, pv_engine_find("interp"));
    load(&m, saved, size);
    snapshot_machine_destroy(&m);

    create(&m, &pv_engine_hvf);
    load(&m, saved, size);
    check_timers(&m);
    snapshot_machine_destroy(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_timers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
