/* SPDX-License-Identifier: MIT */
/* Small A64 programs through the whole interpreter: EL0 and back, software step. */
#include "engine/engine.h"
#include "memory/address_space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define RAM UINT64_C(0x40000000)

static void smccc(void *opaque, unsigned vcpu, bool smc, uint64_t x[18])
{
    pv_vcpu_power_off(pv_engine_vcpu(*(struct pv_engine **)opaque, vcpu));
}

static const struct pv_engine_client client = {.smccc = smccc};

/* Runs `main` at RAM with `vector` at VBAR_EL1 + 0x400 until it calls HVC. */
static void run(const uint32_t *code, size_t size, const uint32_t *vector, size_t vector_size,
                uint64_t mdscr, struct pv_vcpu_state *out)
{
    static const uint64_t mpidr[1];
    struct pv_address_space *as = NULL;
    struct pv_engine *engine = NULL;
    assert_int_equal(pv_as_create(&as, NULL), 0);
    assert_int_equal(pv_as_add_ram(as, RAM, 0x10000, "ram", NULL), 0);
    assert_int_equal(pv_as_write(as, RAM, code, size), 0);
    assert_int_equal(pv_as_write(as, RAM + 0x800 + 0x400, vector, vector_size), 0);
    const struct pv_engine_config config = {
        .as = as, .vcpus = 1, .client = &client, .client_opaque = &engine, .mpidr = mpidr};
    assert_int_equal(pv_engine_create(&engine, pv_engine_find("interp"), &config, NULL), 0);
    assert_int_equal(pv_engine_start(engine, NULL), 0);
    struct pv_vcpu *vcpu = pv_engine_vcpu(engine, 0);
    pv_engine_pause(engine);
    assert_int_equal(pv_vcpu_power_on(vcpu, RAM, 0), 0);
    assert_int_equal(pv_vcpu_set_sysreg(vcpu, PV_SYSREG(2, 0, 0, 2, 2), mdscr), 0);
    assert_int_equal(pv_vcpu_set_sysreg(vcpu, PV_SYSREG(2, 0, 1, 1, 4), 8), 0); /* OS unlocked */
    pv_engine_resume(engine);
    for (unsigned tries = 0; pv_vcpu_is_on(vcpu); tries++) {
        assert_true(tries < 5000);
        usleep(1000);
    }
    assert_int_equal(pv_vcpu_get_state(vcpu, out), 0);
    pv_engine_destroy(engine);
    pv_as_destroy(as);
}

/* x2 is SPSR_EL1 for the ERET to 1f. */
#define PROLOGUE(mov_x2)                                                                           \
    0xd2a80000,             /* mov x0, #0x40000000 */                                              \
        0xf2810000,         /* movk x0, #0x800 */                                                  \
        0xd518c000,         /* msr vbar_el1, x0 */                                                 \
        0x100000c1,         /* adr x1, 1f */                                                       \
        0xd5184021,         /* msr elr_el1, x1 */                                                  \
        mov_x2, 0xd5184002, /* msr spsr_el1, x2 */                                                 \
        0xd5033fdf,         /* isb */                                                              \
        0xd69f03e0          /* eret */

/* mrs x6, esr_el1; mrs x7, elr_el1; hvc #0 */
static const uint32_t report[] = {0xd5385206, 0xd5384027, 0xd4000002};

static void test_svc_from_el0(void **unused)
{
    static const uint32_t code[] = {PROLOGUE(0xd2800002), /* mov x2, #0 */
                                    0xd28000e5,           /* 1: mov x5, #7 */
                                    0xd4000061,           /* svc #3 */
                                    0x14000000};
    struct pv_vcpu_state state;
    run(code, sizeof(code), report, sizeof(report), 0, &state);
    assert_int_equal(state.x[5], 7);
    assert_int_equal(state.x[6], 0x56000003);
    assert_int_equal(state.x[7], RAM + 4 * 11);
}

static void test_software_step(void **unused)
{
    static const uint32_t code[] = {PROLOGUE(0xd2a00402), /* mov x2, #0x200000: SS */
                                    0xd28000e5,           /* 1: mov x5, #7 */
                                    0xd2800105,           /* mov x5, #8: not reached */
                                    0x14000000};
    struct pv_vcpu_state state;
    run(code, sizeof(code), report, sizeof(report), 1, &state);
    assert_int_equal(state.x[5], 7);
    assert_int_equal(state.x[6], UINT64_C(0x32) << 26 | 1u << 25 | 1u << 24 | 0x22);
    assert_int_equal(state.x[7], RAM + 4 * 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_svc_from_el0),
        cmocka_unit_test(test_software_step),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
