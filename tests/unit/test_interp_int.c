/* SPDX-License-Identifier: MIT */
/*
 * The interpreter's run loop and what takes more than one instruction to see: the exclusive
 * monitor, code that changes, blocks that meet the end of a page, faults in the middle of a block.
 * Single instructions are compared with another implementation by tests/lockstep.
 */
#include "base/error.h"
#include "base/util.h"
#include "engine/engine_impl.h"
#include "memory/address_space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#define RAM  UINT64_C(0x40000000)
#define DATA (RAM + 0x8000)

struct machine {
    struct pv_address_space *as;
    struct pv_engine *engine;
    struct pv_vcpu_state end;
};

static void smccc(void *opaque, unsigned vcpu, bool smc, uint64_t x[18])
{
    struct machine *m = opaque;
    pv_vcpu_power_off(pv_engine_vcpu(m->engine, vcpu));
}

static const struct pv_engine_client client = {.smccc = smccc};

static void open_machine(struct machine *m)
{
    static const uint64_t mpidr[1];
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    memset(m, 0, sizeof(*m));
    assert_int_equal(pv_as_create(&m->as, &err), 0);
    assert_int_equal(pv_as_add_ram(m->as, RAM, 0x10000, "ram", &err), 0);
    const struct pv_engine_config config = {
        .as = m->as, .vcpus = 1, .client = &client, .client_opaque = m, .mpidr = mpidr};
    assert_int_equal(pv_engine_create(&m->engine, &pv_engine_interp, &config, &err), 0);
    assert_int_equal(pv_engine_start(m->engine, &err), 0);
}

static void close_machine(struct machine *m)
{
    pv_engine_destroy(m->engine);
    pv_as_destroy(m->as);
}

/* Runs from `entry` with X0 = context to the HVC that ends every program here. */
static void run(struct machine *m, uint64_t entry, uint64_t context)
{
    struct pv_vcpu *vcpu = pv_engine_vcpu(m->engine, 0);
    assert_int_equal(pv_vcpu_power_on(vcpu, entry, context), 0);
    for (unsigned tries = 0; pv_vcpu_is_on(vcpu); tries++) {
        assert_true(tries < 30000);
        usleep(1000);
    }
    assert_int_equal(pv_vcpu_get_state(vcpu, &m->end), 0);
}

#define LOAD(m, at, code) assert_int_equal(pv_as_write((m)->as, at, code, sizeof(code)), 0)

static const uint32_t sum[] = {
    0xaa0003e1, /*    mov  x1, x0 */
    0xd2800000, /*    mov  x0, #0 */
    0x8b010000, /* 1: add  x0, x0, x1 */
    0xca010002, /*    eor  x2, x0, x1 */
    0xf1000421, /*    subs x1, x1, #1 */
    0x54ffffa1, /*    b.ne 1b */
    0xd4000002, /*    hvc  #0 */
};

/* At every place around the end of a page. With PV_TEST_SPEED set, says how fast the loop is. */
static void test_loop(void **state)
{
    struct machine m;
    open_machine(&m);
    for (unsigned words = 0; words <= PV_ARRAY_SIZE(sum); words++) {
        LOAD(&m, RAM + 0x1000 - 4 * words, sum);
        run(&m, RAM + 0x1000 - 4 * words, 1000);
        assert_int_equal(m.end.x[0], 1000 * 1001 / 2);
        assert_int_equal(m.end.x[1], 0);
    }
    if (getenv("PV_TEST_SPEED")) {
        const uint64_t count = 50 * 1000 * 1000;
        struct timespec a, b;
        clock_gettime(CLOCK_MONOTONIC, &a);
        run(&m, RAM + 0x1000 - 4 * PV_ARRAY_SIZE(sum), count);
        clock_gettime(CLOCK_MONOTONIC, &b);
        double seconds = (double)(b.tv_sec - a.tv_sec) + (double)(b.tv_nsec - a.tv_nsec) / 1e9;
        print_message("%.1f million instructions/s\n", 4e-6 * (double)count / seconds);
    }
    close_machine(&m);
}

static void test_exclusives(void **state)
{
    static const uint32_t code[] = {
        0xaa0003e1, /*    mov   x1, x0 */
        0x885f7c20, /* 1: ldxr  w0, [x1] */
        0x11000400, /*    add   w0, w0, #1 */
        0x88027c20, /*    stxr  w2, w0, [x1]: succeeds */
        0x35ffffa2, /*    cbnz  w2, 1b */
        0x88037c20, /*    stxr  w3, w0, [x1]: no monitor */
        0x885ffc20, /*    ldaxr w0, [x1] */
        0xd5033f5f, /*    clrex */
        0x8804fc20, /*    stlxr w4, w0, [x1]: cleared */
        0x885f7c20, /*    ldxr  w0, [x1] */
        0x11001406, /*    add   w6, w0, #5 */
        0xb9000026, /*    str   w6, [x1] */
        0x88057c20, /*    stxr  w5, w0, [x1]: changed */
        0xc87f2027, /*    ldxp  x7, x8, [x1] */
        0xc8291c28, /*    stxp  w9, x8, x7, [x1]: succeeds */
        0xa9402c2a, /*    ldp   x10, x11, [x1] */
        0xd4000002, /*    hvc   #0 */
    };
    const uint64_t data[2] = {41, 7};
    struct machine m;
    open_machine(&m);
    LOAD(&m, RAM, code);
    LOAD(&m, DATA, data);
    run(&m, RAM, DATA);
    assert_int_equal(m.end.x[2], 0);
    assert_int_equal(m.end.x[3], 1);
    assert_int_equal(m.end.x[4], 1);
    assert_int_equal(m.end.x[5], 1);
    assert_int_equal(m.end.x[7], 42 + 5);
    assert_int_equal(m.end.x[9], 0);
    assert_int_equal(m.end.x[10], 7);
    assert_int_equal(m.end.x[11], 42 + 5);
    close_machine(&m);
}

/* A function is run, overwritten, made coherent as the architecture asks (B2.4.4), and run again.
 */
static void test_changed_code(void **state)
{
    static const uint32_t code[] = {
        0x100001c1, /*    adr  x1, f */
        0x9400000d, /*    bl   f */
        0xaa0003e2, /*    mov  x2, x0 */
        0x180001a3, /*    ldr  w3, g */
        0xb9000023, /*    str  w3, [x1] */
        0xd50b7b21, /*    dc   cvau, x1 */
        0xd5033b9f, /*    dsb  ish */
        0xd50b7521, /*    ic   ivau, x1 */
        0xd5033b9f, /*    dsb  ish */
        0xd5033fdf, /*    isb */
        0x94000004, /*    bl   f */
        0xaa0003e3, /*    mov  x3, x0 */
        0xaa0203e0, /*    mov  x0, x2 */
        0xd4000002, /*    hvc  #0 */
        0x52800020, /* f: mov  w0, #1 */
        0xd65f03c0, /*    ret */
        0x52800040, /* g: mov  w0, #2 */
    };
    struct machine m;
    open_machine(&m);
    LOAD(&m, RAM, code);
    run(&m, RAM, 0);
    assert_int_equal(m.end.x[2], 1);
    assert_int_equal(m.end.x[3], 2);
    close_machine(&m);
}

/* A store into nothing: what came before it in the block happened, it and what follows did not. */
static void test_precise_fault(void **state)
{
    static const uint32_t code[] = {
        0xd2a80005, /* mov  x5, #0x40000000 */
        0xf2840005, /* movk x5, #0x2000 */
        0xd518c005, /* msr  vbar_el1, x5 */
        0xd5033fdf, /* isb */
        0xd2800020, /* mov  x0, #1 */
        0xd2800101, /* mov  x1, #8 */
        0xf8010c20, /* str  x0, [x1, #16]! */
        0xd2800040, /* mov  x0, #2 */
        0xd4000002, /* hvc  #0 */
    };
    static const uint32_t vector[] = {
        0xaa0103e2, /* mov  x2, x1 */
        0xd5385203, /* mrs  x3, esr_el1 */
        0xd5384024, /* mrs  x4, elr_el1 */
        0xd4000002, /* hvc  #0 */
    };
    struct machine m;
    open_machine(&m);
    LOAD(&m, RAM, code);
    LOAD(&m, RAM + 0x2200, vector);
    run(&m, RAM, 0);
    assert_int_equal(m.end.x[0], 1);
    assert_int_equal(m.end.x[2], 8);          /* no write-back */
    assert_int_equal(m.end.x[3] >> 26, 0x25); /* data abort, same level */
    assert_int_equal(m.end.x[4], RAM + 6 * 4);
    close_machine(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_loop),
        cmocka_unit_test(test_exclusives),
        cmocka_unit_test(test_changed_code),
        cmocka_unit_test(test_precise_fault),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
