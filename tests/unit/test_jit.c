/* SPDX-License-Identifier: MIT */
/*
 * The translator's runtime: code memory that fills up, calls and returns that do and do not match,
 * flags at rest. What instructions do is compared with the interpreter by tests/lockstep.
 */
#include "base/error.h"
#include "base/util.h"
#include "engine/jit/flags.h"
#include "engine/jit/jit.h"
#include "memory/address_space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define RAM       UINT64_C(0x40000000)
#define FUNCTIONS (RAM + 0x10000)
#define STACK     (RAM + 0x40000)
#define VCPUS     2u

struct machine {
    struct pv_address_space *as;
    struct pv_engine *engine;
    struct jit *jit;
};

static void smccc(void *opaque, unsigned vcpu, bool smc, uint64_t x[18])
{
    struct machine *m = opaque;
    pv_vcpu_power_off(pv_engine_vcpu(m->engine, vcpu));
}

static const struct pv_engine_client client = {.smccc = smccc};

static void open_machine(struct machine *m)
{
    static const uint64_t mpidr[VCPUS] = {0, 1};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    memset(m, 0, sizeof(*m));
    if (pv_engine_probe(&pv_engine_jit, NULL) < 0)
        skip();
    assert_int_equal(pv_as_create(&m->as, &err), 0);
    assert_int_equal(pv_as_add_ram(m->as, RAM, 0x80000, "ram", &err), 0);
    const struct pv_engine_config config = {
        .as = m->as, .vcpus = VCPUS, .client = &client, .client_opaque = m, .mpidr = mpidr};
    assert_int_equal(pv_engine_create(&m->engine, &pv_engine_jit, &config, &err), 0);
    m->jit = ((struct interp *)m->engine->impl)->jit;
    assert_int_equal(pv_engine_start(m->engine, &err), 0);
}

static void close_machine(struct machine *m)
{
    pv_engine_destroy(m->engine);
    pv_as_destroy(m->as);
}

static void wait_off(struct machine *m, unsigned vcpu, struct pv_vcpu_state *end)
{
    for (unsigned tries = 0; pv_vcpu_is_on(pv_engine_vcpu(m->engine, vcpu)); tries++) {
        assert_true(tries < 30000);
        usleep(1000);
    }
    assert_int_equal(pv_vcpu_get_state(pv_engine_vcpu(m->engine, vcpu), end), 0);
}

static void start(struct machine *m, unsigned vcpu, uint64_t entry, uint64_t context)
{
    assert_int_equal(pv_vcpu_power_on(pv_engine_vcpu(m->engine, vcpu), entry, context), 0);
}

/* Both vCPUs call 256 functions 50 times, where only some of them have room. */
static void test_full(void **state)
{
    static const uint32_t main_code[] = {
        0xd2800000, /*    mov  x0, #0 */
        0xd2800643, /*    mov  x3, #50 */
        0xd2a80021, /* 1: mov  x1, #0x40010000 */
        0xd2802002, /*    mov  x2, #256 */
        0xd63f0020, /* 2: blr  x1 */
        0x91010021, /*    add  x1, x1, #64 */
        0xf1000442, /*    subs x2, x2, #1 */
        0x54ffffa1, /*    b.ne 2b */
        0xf1000463, /*    subs x3, x3, #1 */
        0x54ffff21, /*    b.ne 1b */
        0xd4000002, /*    hvc  #0 */
    };
    static const uint32_t function[] = {
        0x91000400, /* add x0, x0, #1 */
        0xd65f03c0, /* ret */
    };
    struct machine m;
    struct pv_vcpu_state end;
    open_machine(&m);
    m.jit->limit = m.jit->stubs_end + JIT_BLOCK_CODE + 4096;
    assert_int_equal(pv_as_write(m.as, RAM, main_code, sizeof(main_code)), 0);
    for (unsigned i = 0; i < 256; i++)
        assert_int_equal(pv_as_write(m.as, FUNCTIONS + 64 * i, function, sizeof(function)), 0);
    for (unsigned i = 0; i < VCPUS; i++)
        start(&m, i, RAM, 0);
    for (unsigned i = 0; i < VCPUS; i++) {
        wait_off(&m, i, &end);
        assert_int_equal(end.x[0], 256 * 50);
    }
    assert_true(m.jit->stats.emptied > 50);
    close_machine(&m);
}

/* Deeper than the host's stack has frames for: the oldest returns are looked up. */
static void test_recursion(void **state)
{
    static const uint32_t code[] = {
        0xd2800001, /*    mov  x1, #0 */
        0xd2a80082, /*    mov  x2, #0x40040000 */
        0x94000002, /*    bl   3f */
        0xd4000002, /*    hvc  #0 */
        0xb40000c0, /* 3: cbz  x0, 4f */
        0xd1000400, /*    sub  x0, x0, #1 */
        0xf800845e, /*    str  x30, [x2], #8 */
        0x97fffffd, /*    bl   3b */
        0xf85f8c5e, /*    ldr  x30, [x2, #-8]! */
        0x91000421, /*    add  x1, x1, #1 */
        0xd65f03c0, /* 4: ret */
    };
    static const unsigned depths[] = {0, 1, 100, 30000};
    struct machine m;
    struct pv_vcpu_state end;
    open_machine(&m);
    assert_int_equal(pv_as_write(m.as, RAM, code, sizeof(code)), 0);
    for (size_t i = 0; i < PV_ARRAY_SIZE(depths); i++) {
        start(&m, 0, RAM, depths[i]);
        wait_off(&m, 0, &end);
        assert_int_equal(end.x[1], depths[i]);
        assert_int_equal(end.x[2], STACK);
    }
    close_machine(&m);
}

/* RET where nothing was called, and to elsewhere than the call came from. */
static void test_unmatched_returns(void **state)
{
    static const uint32_t code[] = {
        0x1000007e, /*    adr  x30, 5f */
        0xd65f03c0, /*    ret */
        0xd4000022, /*    hvc  #1: undefined */
        0x94000002, /* 5: bl   6f */
        0xd4000022, /*    hvc  #1 */
        0x10000087, /* 6: adr  x7, 7f */
        0xaa0703fe, /*    mov  x30, x7 */
        0xd65f03c0, /*    ret */
        0xd4000022, /*    hvc  #1 */
        0xd2800540, /* 7: mov  x0, #42 */
        0xd4000002, /*    hvc  #0 */
    };
    struct machine m;
    struct pv_vcpu_state end;
    open_machine(&m);
    assert_int_equal(pv_as_write(m.as, RAM, code, sizeof(code)), 0);
    start(&m, 0, RAM, 0);
    wait_off(&m, 0, &end);
    assert_int_equal(end.x[0], 42);
    close_machine(&m);
}

static void test_flags(void **state)
{
    for (uint32_t i = 0; i < 16; i++) {
        uint32_t flags = jit_flags_from_nzcv(i << 28);
        assert_int_equal(jit_flags_to_nzcv(flags), i << 28);
        /* As a subtraction leaves them: C is that there was no borrow. */
        assert_int_equal(!!(flags & JIT_FLAG_B), !(i & 2));
        assert_int_equal(flags & 0xff, i & 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_recursion),
        cmocka_unit_test(test_unmatched_returns),
        cmocka_unit_test(test_flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
