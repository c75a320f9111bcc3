/* SPDX-License-Identifier: MIT */
/*
 * The contract of the engine seam, for every engine. A guest program is written once as steps of
 * the fake engine; engines that execute A64 code get the same steps assembled.
 */
#include "base/error.h"
#include "base/util.h"
#include "engine/engine.h"
#include "engine/fake/fake.h"
#include "memory/address_space.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define RAM_BASE  UINT64_C(0x40000000)
#define RAM_SIZE  PV_MIB
#define CODE(n)   (RAM_BASE + 0x1000 * (uint64_t)(n)) /* vCPU n's program */
#define DATA      (RAM_BASE + 0x80000)
#define MMIO_BASE UINT64_C(0x09000000)
#define VCPUS     8

struct machine {
    struct pv_address_space *as;
    struct pv_engine *engine;
    const struct pv_engine_ops *ops;
    _Atomic uint64_t device[512]; /* what MMIO writes left, by offset / 8 */
    _Atomic unsigned device_writes;
    _Atomic unsigned last_size;
    _Atomic uint64_t last_value;
    _Atomic unsigned calls[VCPUS];
    _Atomic uint64_t call_x0[VCPUS];
    _Atomic bool call_smc;
    _Atomic uint64_t sysreg;
    _Atomic unsigned fatals;
    unsigned vcpus;
};

static const struct pv_engine_ops *tested; /* the suite's parameter */

/* ---- The device, the firmware ---- */

#define COUNTING 0xff8 /* a register that goes up by one with each read */

static uint64_t device_read(void *opaque, uint64_t offset, unsigned size)
{
    struct machine *m = opaque;
    if (offset == COUNTING)
        return ++m->device[COUNTING / 8];
    uint64_t value = m->device[offset / 8] >> 8 * (offset % 8);
    return size == 8 ? value : value & ((UINT64_C(1) << 8 * size) - 1);
}

static void device_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct machine *m = opaque;
    m->device[offset / 8] = value;
    m->last_size = size;
    m->last_value = value;
    m->device_writes++;
}

static const struct pv_mmio_ops device_ops = {device_read, device_write};

/* Firmware calls: numbers of PSCI's range, which every engine leaves to its client. */
enum {
    CALL_OFF = 0x84001000u, /* the caller powers off */
    CALL_ON = 0x84001001u,  /* vCPU X1 at X2 with X3 */
    CALL_STAND_BY = 0x84001002u,
    CALL_POWER_DOWN = 0x84001003u, /* the caller, to come back at X1 with X2 */
    CALL_OTHER = 0x84001004u,      /* is counted */
};

static void smccc(void *opaque, unsigned vcpu, bool smc, uint64_t x[18])
{
    struct machine *m = opaque;
    m->call_smc = smc;
    m->call_x0[vcpu] = x[0];
    m->calls[vcpu]++;
    if (x[0] == CALL_OFF)
        pv_vcpu_power_off(pv_engine_vcpu(m->engine, vcpu));
    else if (x[0] == CALL_ON)
        x[0] = (uint64_t)pv_vcpu_power_on(pv_engine_vcpu(m->engine, (unsigned)x[1]), x[2], x[3]);
    else if (x[0] == CALL_STAND_BY)
        pv_vcpu_standby(pv_engine_vcpu(m->engine, vcpu));
    else if (x[0] == CALL_POWER_DOWN)
        pv_vcpu_power_down(pv_engine_vcpu(m->engine, vcpu), x[1], x[2]);
    else
        x[0] = 0x1234;
}

#define TEST_SYSREG PV_SYSREG(3, 0, 12, 12, 5) /* ICC_SRE_EL1: always the client's */

static bool sysreg_read(void *opaque, unsigned vcpu, uint32_t sysreg, uint64_t *value)
{
    *value = ((struct machine *)opaque)->sysreg;
    return sysreg == TEST_SYSREG;
}

static bool sysreg_write(void *opaque, unsigned vcpu, uint32_t sysreg, uint64_t value)
{
    if (sysreg == TEST_SYSREG)
        ((struct machine *)opaque)->sysreg = value;
    return sysreg == TEST_SYSREG;
}

static void fatal(void *opaque, unsigned vcpu, const char *message)
{
    assert_non_null(message);
    ((struct machine *)opaque)->fatals++;
}

static const struct pv_engine_client client = {
    .smccc = smccc, .sysreg_read = sysreg_read, .sysreg_write = sysreg_write, .fatal = fatal};

/* ---- Programs ---- */

static unsigned emit_constant(uint32_t *code, unsigned reg, uint64_t value)
{
    code[0] = 0xd2800000 | (uint32_t)(value & 0xffff) << 5 | reg;
    for (unsigned i = 1; i < 4; i++)
        code[i] = 0xf2800000 | i << 21 | (uint32_t)(value >> 16 * i & 0xffff) << 5 | reg;
    return 4;
}

/* Every step takes 8 words, so that jumps are easy to find; the rest are NOPs. */
#define STEP_WORDS 8u

static void assemble_step(uint32_t *code, const struct pv_fake_step *s, unsigned at)
{
    unsigned n = 0;
    uint32_t log = s->size ? (uint32_t)__builtin_ctz(s->size) : 0;
    int32_t distance = (int32_t)(((uint32_t)s->value - (uint32_t)at) * STEP_WORDS);
    uint32_t sysreg = ((uint32_t)s->value & 0xffff) << 5 | s->reg;
    const unsigned base = s->reg == 30 ? 29 : 30; /* holds the address */

    for (unsigned i = 0; i < STEP_WORDS; i++)
        code[i] = 0xd503201f;
    switch (s->op) {
    case PV_FAKE_SET: emit_constant(code, s->reg, s->value); break;
    case PV_FAKE_READ:
        n = emit_constant(code, base, s->value);
        code[n] = 0x39400000 | log << 30 | base << 5 | s->reg;
        break;
    case PV_FAKE_WRITE:
        n = emit_constant(code, base, s->value);
        code[n] = 0x39000000 | log << 30 | base << 5 | s->reg;
        break;
    case PV_FAKE_HVC: code[0] = 0xd4000002; break;
    case PV_FAKE_SMC: code[0] = 0xd4000003; break;
    case PV_FAKE_SYSREG_READ: code[0] = 0xd5200000 | sysreg; break;
    case PV_FAKE_SYSREG_WRITE: code[0] = 0xd5000000 | sysreg; break;
    case PV_FAKE_WFI: code[0] = 0xd503207f; break;
    case PV_FAKE_JUMP: code[0] = 0x14000000 | ((uint32_t)distance & 0x3ffffff); break;
    case PV_FAKE_JUMP_IF_ZERO:
        code[0] = 0xb4000000 | ((uint32_t)distance & 0x7ffff) << 5 | s->reg;
        break;
    }
}

static void load(struct machine *m, unsigned vcpu, const struct pv_fake_step *steps, size_t count)
{
    if (!strcmp(pv_engine_name(m->ops), "fake")) {
        pv_fake_set_program(pv_engine_vcpu(m->engine, vcpu), steps, count);
        return;
    }
    uint32_t code[STEP_WORDS];
    for (unsigned i = 0; i < count; i++) {
        assemble_step(code, &steps[i], i);
        assert_int_equal(pv_as_write(m->as, CODE(vcpu) + i * sizeof(code), code, sizeof(code)), 0);
    }
}

/* A program that only engines which execute A64 can run; the others skip the test. */
static void load_code(struct machine *m, uint64_t at, const uint32_t *code, size_t size)
{
    assert_int_equal(pv_as_write(m->as, at, code, size), 0);
}

static bool executes(void)
{
    return strcmp(pv_engine_name(tested), "fake");
}

#define LOAD(m, vcpu, steps) load(m, vcpu, steps, PV_ARRAY_SIZE(steps))

/* ---- Set-up ---- */

static void open_machine(struct machine *m, unsigned vcpus)
{
    static const uint64_t mpidr[VCPUS] = {0, 1, 2, 3, 4, 5, 6, 7};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    memset(m, 0, sizeof(*m));
    m->ops = tested;
    m->vcpus = vcpus;
    assert_int_equal(pv_as_create(&m->as, &err), 0);
    assert_int_equal(pv_as_add_ram(m->as, RAM_BASE, RAM_SIZE, "ram", &err), 0);
    assert_int_equal(pv_as_add_mmio(m->as, MMIO_BASE, 0x1000, &device_ops, m, "device", &err), 0);
    const struct pv_engine_config config = {
        .as = m->as, .vcpus = vcpus, .client = &client, .client_opaque = m, .mpidr = mpidr};
    assert_int_equal(pv_engine_create(&m->engine, m->ops, &config, &err), 0);
    assert_int_equal(pv_engine_start(m->engine, &err), 0);
}

static void close_machine(struct machine *m)
{
    pv_engine_destroy(m->engine);
    pv_as_destroy(m->as);
}

static struct pv_vcpu *cpu(struct machine *m, unsigned n)
{
    return pv_engine_vcpu(m->engine, n);
}

/* Waits for a condition that a vCPU brings about; so long is never needed. */
#define WAIT_FOR(condition)                                                                        \
    do {                                                                                           \
        for (unsigned tries = 0; !(condition); tries++) {                                          \
            assert_true(tries < 60000);                                                            \
            usleep(1000);                                                                          \
        }                                                                                          \
    } while (0)

#define OFF                                                                                        \
    {.op = PV_FAKE_SET, .reg = 0, .value = CALL_OFF},                                              \
    {                                                                                              \
        .op = PV_FAKE_HVC                                                                          \
    }

static uint64_t reg(struct machine *m, unsigned vcpu, unsigned n)
{
    struct pv_vcpu_state state;
    assert_int_equal(pv_vcpu_get_state(cpu(m, vcpu), &state), 0);
    return state.x[n];
}

static void run_to_off(struct machine *m)
{
    assert_int_equal(pv_vcpu_power_on(cpu(m, 0), CODE(0), 77), 0);
    WAIT_FOR(!pv_vcpu_is_on(cpu(m, 0)));
}

/* ---- The contract ---- */

static void test_power(void **unused)
{
    static const struct pv_fake_step steps[] = {
        {.op = PV_FAKE_WRITE, .reg = 0, .size = 8, .value = DATA}, OFF};
    struct machine m;
    open_machine(&m, 2);
    LOAD(&m, 0, steps);
    assert_false(pv_vcpu_is_on(cpu(&m, 0)));
    run_to_off(&m);
    uint64_t context = 0;
    assert_int_equal(pv_as_read(m.as, DATA, &context, 8), 0);
    assert_int_equal(context, 77);
    assert_false(pv_vcpu_is_on(cpu(&m, 1)));
    /* And again: CPU_OFF then CPU_ON is what hotplug does. */
    run_to_off(&m);
    assert_int_equal(m.calls[0], 2);
    assert_int_equal(m.fatals, 0);
    close_machine(&m);
}

static void test_power_on_twice(void **unused)
{
    static const struct pv_fake_step steps[] = {{.op = PV_FAKE_JUMP, .value = 0}};
    struct machine m;
    open_machine(&m, 1);
    LOAD(&m, 0, steps);
    assert_int_equal(pv_vcpu_power_on(cpu(&m, 0), CODE(0), 0), 0);
    assert_int_equal(pv_vcpu_power_on(cpu(&m, 0), CODE(0), 0), -EALREADY);
    assert_int_equal(pv_vcpu_get_state(cpu(&m, 0), &(struct pv_vcpu_state){0}), -EBUSY);
    pv_vcpu_power_off(cpu(&m, 0));
    assert_false(pv_vcpu_is_on(cpu(&m, 0)));
    close_machine(&m);
}

static void test_mmio_sizes(void **unused)
{
    struct machine m;
    open_machine(&m, 1);
    for (unsigned size = 1; size <= 8; size *= 2) {
        const uint64_t value = UINT64_C(0x8877665544332211);
        const uint64_t seen = size == 8 ? value : value & ((UINT64_C(1) << 8 * size) - 1);
        const struct pv_fake_step steps[] = {
            {.op = PV_FAKE_SET, .reg = 5, .value = value},
            {.op = PV_FAKE_WRITE, .reg = 5, .size = (uint8_t)size, .value = MMIO_BASE + 8},
            {.op = PV_FAKE_SET, .reg = 6, .value = UINT64_MAX},
            {.op = PV_FAKE_READ, .reg = 6, .size = (uint8_t)size, .value = MMIO_BASE + 8},
            OFF};
        LOAD(&m, 0, steps);
        run_to_off(&m);
        assert_int_equal(m.last_size, size);
        assert_int_equal(m.last_value, seen);
        assert_int_equal(reg(&m, 0, 6), seen);
        if (strcmp(pv_engine_name(m.ops), "fake"))
            assert_int_equal(pv_vcpu_set_sysreg(cpu(&m, 0), PV_SYSREG(3, 0, 13, 0, 4), 1), 0);
        /* A program at the same place next time: what is decoded of this one must go. */
        close_machine(&m);
        open_machine(&m, 1);
    }
    close_machine(&m);
}

static void test_mmio_zero_register(void **unused)
{
    static const struct pv_fake_step steps[] = {
        {.op = PV_FAKE_READ, .reg = 31, .size = 8, .value = MMIO_BASE},
        {.op = PV_FAKE_WRITE, .reg = 31, .size = 8, .value = MMIO_BASE + 16},
        OFF};
    struct machine m;
    open_machine(&m, 1);
    m.device[0] = 5;
    m.device[2] = 6;
    LOAD(&m, 0, steps);
    run_to_off(&m);
    assert_int_equal(m.device[2], 0);
    struct pv_vcpu_stats stats;
    pv_vcpu_get_stats(cpu(&m, 0), &stats);
    assert_true(stats.mmio_exits >= 2);
    close_machine(&m);
}

/* Every register as data, in both directions. */
static void test_mmio_registers(void **unused)
{
    struct pv_fake_step steps[31 * 4 + 2];
    struct machine m;
    unsigned n = 0;
    open_machine(&m, 1);
    for (unsigned r = 0; r < 31; r++) {
        const uint64_t at = MMIO_BASE + 8 * (uint64_t)r;
        m.device[0x400 / 8 + r] = UINT64_C(0x100000001) * (r + 1);
        steps[n++] = (struct pv_fake_step){.op = PV_FAKE_SET, .reg = (uint8_t)r, .value = ~at};
        steps[n++] = (struct pv_fake_step){PV_FAKE_WRITE, (uint8_t)r, 8, at};
        steps[n++] = (struct pv_fake_step){PV_FAKE_READ, (uint8_t)r, 8, at + 0x400};
        steps[n++] = (struct pv_fake_step){PV_FAKE_WRITE, (uint8_t)r, 8, at + 0x800};
    }
    const struct pv_fake_step off[] = {OFF};
    memcpy(steps + n, off, sizeof(off));
    LOAD(&m, 0, steps);
    run_to_off(&m);
    for (unsigned r = 0; r < 31; r++) {
        assert_true(m.device[r] == ~(MMIO_BASE + 8 * (uint64_t)r));
        assert_true(m.device[0x800 / 8 + r] == UINT64_C(0x100000001) * (r + 1));
    }
    close_machine(&m);
}

/* Loads that extend what they read, and halves of registers. */
static void test_mmio_extension(void **unused)
{
    static const uint32_t code[] = {
        0xd2a12013, /* mov x19, #0x09000000 */
        0x39800261, /* ldrsb x1, [x19] */
        0x39c00262, /* ldrsb w2, [x19] */
        0x79800263, /* ldrsh x3, [x19] */
        0x79c00264, /* ldrsh w4, [x19] */
        0xb9800265, /* ldrsw x5, [x19] */
        0xb9400266, /* ldr w6, [x19] */
        0x52820000, /* mov w0, #0x1000 */
        0x72b08000, /* movk w0, #0x8400, lsl #16 */
        0xd4000002, /* hvc #0 */
    };
    struct machine m;
    if (!executes())
        skip();
    open_machine(&m, 1);
    m.device[0] = 0xfedcba98;
    load_code(&m, CODE(0), code, sizeof(code));
    run_to_off(&m);
    assert_true(reg(&m, 0, 1) == (uint64_t)INT64_C(-0x68));
    assert_true(reg(&m, 0, 2) == 0xffffff98);
    assert_true(reg(&m, 0, 3) == (uint64_t)INT64_C(-0x4568));
    assert_true(reg(&m, 0, 4) == 0xffffba98);
    assert_true(reg(&m, 0, 5) == (uint64_t)INT64_C(-0x1234568));
    assert_true(reg(&m, 0, 6) == 0xfedcba98);
    close_machine(&m);
}

/* An address where nothing is: a synchronous external abort at the instruction. */
static void test_abort(void **unused)
{
    static const uint32_t code[] = {
        0xd2a14013, /* mov x19, #0x0a000000 */
        0xd2a80020, /* mov x0, #0x40010000 */
        0xd518c000, /* msr vbar_el1, x0 */
        0xd5033fdf, /* isb */
        0xb9400261, /* ldr w1, [x19] */
    };
    static const uint32_t handler[] = {
        0xd5385201, /* mrs x1, esr_el1 */
        0xd5386002, /* mrs x2, far_el1 */
        0xd5384023, /* mrs x3, elr_el1 */
        0x52820000, /* mov w0, #0x1000 */
        0x72b08000, /* movk w0, #0x8400, lsl #16 */
        0xd4000002, /* hvc #0 */
    };
    struct machine m;
    if (!executes())
        skip();
    open_machine(&m, 1);
    load_code(&m, CODE(0), code, sizeof(code));
    load_code(&m, RAM_BASE + 0x10200, handler, sizeof(handler)); /* from this EL with SP_EL1 */
    run_to_off(&m);
    assert_int_equal(reg(&m, 0, 1) >> 26, 0x25); /* data abort without a change of level */
    assert_int_equal(reg(&m, 0, 1) & 0x3f, 0x10);
    assert_int_equal(reg(&m, 0, 2), 0x0a000000);
    assert_int_equal(reg(&m, 0, 3), CODE(0) + 16);
    close_machine(&m);
}

static void test_calls(void **unused)
{
    static const struct pv_fake_step steps[] = {
        {.op = PV_FAKE_SET, .reg = 0, .value = CALL_OTHER},
        {.op = PV_FAKE_SMC},
        {.op = PV_FAKE_WRITE, .reg = 0, .size = 8, .value = DATA},
        OFF};
    struct machine m;
    open_machine(&m, 1);
    LOAD(&m, 0, steps);
    run_to_off(&m);
    uint64_t result = 0;
    pv_as_read(m.as, DATA, &result, 8);
    assert_int_equal(result, 0x1234);
    assert_int_equal(m.calls[0], 2);
    assert_false(m.call_smc); /* the last was HVC */
    close_machine(&m);
}

static void test_client_sysregs(void **unused)
{
    static const struct pv_fake_step steps[] = {
        {.op = PV_FAKE_SYSREG_READ, .reg = 3, .value = TEST_SYSREG},
        {.op = PV_FAKE_SET, .reg = 4, .value = 0xabc},
        {.op = PV_FAKE_SYSREG_WRITE, .reg = 4, .value = TEST_SYSREG},
        OFF};
    struct machine m;
    if (pv_engine_has_gic(tested)) /* the registers are its own */
        skip();
    open_machine(&m, 1);
    m.sysreg = 0x777;
    LOAD(&m, 0, steps);
    run_to_off(&m);
    assert_int_equal(reg(&m, 0, 3), 0x777);
    assert_int_equal(m.sysreg, 0xabc);
    close_machine(&m);
}

static void test_wfi(void **unused)
{
    static const struct pv_fake_step steps[] = {
        {.op = PV_FAKE_WRITE, .reg = 31, .size = 4, .value = MMIO_BASE}, {.op = PV_FAKE_WFI}, OFF};
    struct machine m;
    struct pv_vcpu_stats stats;
    open_machine(&m, 1);
    LOAD(&m, 0, steps);
    assert_int_equal(pv_vcpu_power_on(cpu(&m, 0), CODE(0), 0), 0);
    WAIT_FOR(m.device_writes == 1);
    usleep(20000);
    assert_true(pv_vcpu_is_on(cpu(&m, 0)));
    pv_vcpu_get_stats(cpu(&m, 0), &stats);
    if (!pv_engine_has_gic(tested)) /* where it sleeps inside vcpu_run nobody counts */
        assert_int_equal(stats.wfi_waits, 1);
    pv_vcpu_set_line(cpu(&m, 0), PV_LINE_IRQ, true);
    WAIT_FOR(!pv_vcpu_is_on(cpu(&m, 0)));
    pv_vcpu_set_line(cpu(&m, 0), PV_LINE_IRQ, false);
    /* With a line up already it does not sleep at all. */
    pv_vcpu_set_line(cpu(&m, 0), PV_LINE_FIQ, true);
    run_to_off(&m);
    close_machine(&m);
}

/* WFI is left when somebody powers the vCPU off, and is no obstacle to starting it again. */
static void test_power_off_in_wfi(void **unused)
{
    static const struct pv_fake_step steps[] = {
        {.op = PV_FAKE_WRITE, .reg = 31, .size = 4, .value = MMIO_BASE},
        {.op = PV_FAKE_WFI},
        {.op = PV_FAKE_JUMP, .value = 1},
    };
    struct machine m;
    open_machine(&m, 1);
    LOAD(&m, 0, steps);
    for (unsigned round = 1; round <= 3; round++) {
        assert_int_equal(pv_vcpu_power_on(cpu(&m, 0), CODE(0), 0), 0);
        WAIT_FOR(m.device_writes == round);
        usleep(2000);
        pv_vcpu_power_off(cpu(&m, 0));
        assert_false(pv_vcpu_is_on(cpu(&m, 0)));
        assert_true(reg(&m, 0, 0) == 0);
    }
    close_machine(&m);
}

/* Standby ends with a line, and the program goes on; pausing disturbs nothing. */
static void test_standby(void **unused)
{
    static const struct pv_fake_step steps[] = {
        {.op = PV_FAKE_SET, .reg = 0, .value = CALL_STAND_BY},
        {.op = PV_FAKE_SMC},
        {.op = PV_FAKE_WRITE, .reg = 31, .size = 4, .value = MMIO_BASE},
        OFF};
    struct machine m;
    open_machine(&m, 1);
    LOAD(&m, 0, steps);
    assert_int_equal(pv_vcpu_power_on(cpu(&m, 0), CODE(0), 0), 0);
    WAIT_FOR(m.calls[0] == 1);
    pv_engine_pause(m.engine);
    pv_engine_resume(m.engine);
    usleep(20000);
    assert_true(pv_vcpu_is_on(cpu(&m, 0)));
    assert_int_equal(m.device_writes, 0);
    pv_vcpu_set_line(cpu(&m, 0), PV_LINE_IRQ, true);
    WAIT_FOR(!pv_vcpu_is_on(cpu(&m, 0)));
    assert_int_equal(m.device_writes, 1);
    close_machine(&m);
}

/* Power down ends with a wake-up signal, too, and in another place. */
static void test_power_down(void **unused)
{
    static const struct pv_fake_step steps[] = {
        {.op = PV_FAKE_SET, .reg = 0, .value = CALL_POWER_DOWN},
        {.op = PV_FAKE_SET, .reg = 1, .value = CODE(1)},
        {.op = PV_FAKE_SET, .reg = 2, .value = 0x77},
        {.op = PV_FAKE_SMC},
        {.op = PV_FAKE_WRITE, .reg = 31, .size = 4, .value = MMIO_BASE},
        OFF};
    static const struct pv_fake_step resumed[] = {
        {.op = PV_FAKE_WRITE, .reg = 0, .size = 8, .value = DATA}, OFF};
    struct machine m;
    uint64_t context = 0;
    open_machine(&m, 2);
    /* The fake engine starts its vCPUs' programs wherever it is told to start. */
    const bool fake = !strcmp(pv_engine_name(m.ops), "fake");
    LOAD(&m, 0, steps);
    LOAD(&m, 1, resumed);
    assert_int_equal(pv_vcpu_power_on(cpu(&m, 0), CODE(0), 0), 0);
    WAIT_FOR(m.calls[0] == 1);
    usleep(20000);
    assert_true(pv_vcpu_is_on(cpu(&m, 0)));
    if (fake)
        LOAD(&m, 0, resumed);
    pv_vcpu_set_wake(cpu(&m, 0), true);
    WAIT_FOR(!pv_vcpu_is_on(cpu(&m, 0)));
    pv_as_read(m.as, DATA, &context, 8);
    assert_int_equal(context, 0x77);
    assert_int_equal(m.device_writes, 0);
    /* One that is powered off while it sleeps stays off. */
    pv_vcpu_set_wake(cpu(&m, 0), false);
    if (fake)
        LOAD(&m, 0, steps);
    assert_int_equal(pv_vcpu_power_on(cpu(&m, 0), CODE(0), 0), 0);
    WAIT_FOR(m.calls[0] == 3);
    pv_vcpu_power_off(cpu(&m, 0));
    pv_vcpu_set_wake(cpu(&m, 0), true);
    usleep(20000);
    assert_false(pv_vcpu_is_on(cpu(&m, 0)));
    close_machine(&m);
}

static void test_pause_nests(void **unused)
{
    static const struct pv_fake_step steps[] = {
        {.op = PV_FAKE_WRITE, .reg = 31, .size = 4, .value = MMIO_BASE},
        {.op = PV_FAKE_JUMP, .value = 0},
    };
    struct machine m;
    open_machine(&m, 2);
    LOAD(&m, 0, steps);
    assert_int_equal(pv_vcpu_power_on(cpu(&m, 0), CODE(0), 0), 0);
    for (unsigned round = 0; round < 20; round++) {
        unsigned before = m.device_writes;
        WAIT_FOR(m.device_writes > before);
        pv_engine_pause(m.engine);
        pv_engine_pause(m.engine);
        before = m.device_writes;
        pv_engine_resume(m.engine);
        usleep(500);
        assert_int_equal(m.device_writes, before);
        struct pv_vcpu_state state;
        assert_int_equal(pv_vcpu_get_state(cpu(&m, 0), &state), 0);
        pv_engine_resume(m.engine);
    }
    close_machine(&m);
}

/* Whatever a paused vCPU was doing is done: what its last read gave is in the register. */
static void test_pause_between_instructions(void **unused)
{
    static const struct pv_fake_step steps[] = {
        {.op = PV_FAKE_READ, .reg = 7, .size = 8, .value = MMIO_BASE + COUNTING},
        {.op = PV_FAKE_JUMP, .value = 0},
    };
    struct machine m;
    open_machine(&m, 1);
    LOAD(&m, 0, steps);
    assert_int_equal(pv_vcpu_power_on(cpu(&m, 0), CODE(0), 0), 0);
    for (unsigned round = 0; round < 50; round++) {
        const uint64_t before = m.device[COUNTING / 8];
        WAIT_FOR(m.device[COUNTING / 8] > before);
        pv_engine_pause(m.engine);
        const uint64_t seen = reg(&m, 0, 7);
        assert_true(seen == m.device[COUNTING / 8]);
        pv_engine_resume(m.engine);
    }
    close_machine(&m);
}

/* What a vCPU had in the registers of the list, the next VM's vCPU has when they are copied. */
static void test_state_moves(void **unused)
{
    static const uint32_t marked[] = {
        PV_SYSREG(3, 0, 13, 0, 4), /* TPIDR_EL1 */
        PV_SYSREG(3, 3, 13, 0, 2), /* TPIDR_EL0 */
        PV_SYSREG(3, 0, 4, 0, 1),  /* ELR_EL1 */
        PV_SYSREG(3, 0, 6, 0, 0),  /* FAR_EL1 */
        PV_SYSREG(3, 0, 10, 2, 0), /* MAIR_EL1 */
    };
    static const uint32_t code[] = {
        0xd538d081, /* mrs x1, tpidr_el1 */
        0xd53bd042, /* mrs x2, tpidr_el0 */
        0xd5384023, /* mrs x3, elr_el1 */
        0xd5386004, /* mrs x4, far_el1 */
        0xd538a205, /* mrs x5, mair_el1 */
        0x52820000, /* mov w0, #0x1000 */
        0x72b08000, /* movk w0, #0x8400, lsl #16 */
        0xd4000002, /* hvc #0 */
    };
    struct machine m;
    struct pv_vcpu_state state;
    struct {
        int result;
        uint64_t value;
    } saved[128];
    size_t count;
    const uint32_t *list = pv_engine_state_sysregs(&count);
    if (!executes())
        skip();
    assert_true(count <= PV_ARRAY_SIZE(saved));

    open_machine(&m, 1);
    pv_engine_pause(m.engine);
    assert_int_equal(pv_vcpu_power_on(cpu(&m, 0), CODE(0), 0), 0);
    for (unsigned i = 0; i < PV_ARRAY_SIZE(marked); i++)
        assert_int_equal(pv_vcpu_set_sysreg(cpu(&m, 0), marked[i], 0x1001 + 4 * i), 0);
    assert_int_equal(pv_vcpu_get_state(cpu(&m, 0), &state), 0);
    for (size_t i = 0; i < count; i++)
        saved[i].result = pv_vcpu_get_sysreg(cpu(&m, 0), list[i], &saved[i].value);
    close_machine(&m);

    unsigned there = 0;
    open_machine(&m, 1);
    load_code(&m, CODE(0), code, sizeof(code));
    pv_engine_pause(m.engine);
    assert_int_equal(pv_vcpu_power_on(cpu(&m, 0), 0, 0), 0);
    assert_int_equal(pv_vcpu_set_state(cpu(&m, 0), &state), 0);
    for (size_t i = 0; i < count; i++) {
        uint64_t copy;
        if (saved[i].result == -ENOENT)
            continue;
        assert_int_equal(saved[i].result, 0);
        assert_int_equal(pv_vcpu_set_sysreg(cpu(&m, 0), list[i], saved[i].value), 0);
        assert_int_equal(pv_vcpu_get_sysreg(cpu(&m, 0), list[i], &copy), 0);
        assert_true(copy == saved[i].value);
        there++;
    }
    assert_true(there > 20);
    pv_engine_resume(m.engine);
    WAIT_FOR(!pv_vcpu_is_on(cpu(&m, 0)));
    for (unsigned i = 0; i < PV_ARRAY_SIZE(marked); i++)
        assert_true(reg(&m, 0, i + 1) == 0x1001 + 4 * i);
    close_machine(&m);
}

static void test_state_round_trip(void **unused)
{
    struct machine m;
    struct pv_vcpu_state in = {.pc = 0x1000, .pstate = 0x3c5, .sp_el0 = 16, .sp_el1 = 32}, out;
    open_machine(&m, 1);
    for (unsigned i = 0; i < 31; i++)
        in.x[i] = i * 3 + 1;
    in.v[31][1] = 5;
    assert_int_equal(pv_vcpu_set_state(cpu(&m, 0), &in), 0);
    assert_int_equal(pv_vcpu_get_state(cpu(&m, 0), &out), 0);
    assert_memory_equal(&in, &out, sizeof(in));
    uint64_t value;
    assert_int_equal(pv_vcpu_get_sysreg(cpu(&m, 0), PV_SYSREG(3, 7, 15, 15, 7), &value), -ENOENT);
    close_machine(&m);
}

#define WRITTEN (DATA + 0x20000) /* in another page than DATA, even where hosts have 64 KiB */

/* Region changes and the dirty log while a vCPU reads and writes RAM as fast as it can. */
static void test_map_changes(void **unused)
{
    static const struct pv_fake_step steps[] = {
        {.op = PV_FAKE_READ, .reg = 1, .size = 8, .value = DATA},
        {.op = PV_FAKE_WRITE, .reg = 1, .size = 8, .value = WRITTEN},
        {.op = PV_FAKE_WRITE, .reg = 1, .size = 4, .value = MMIO_BASE},
        {.op = PV_FAKE_JUMP, .value = 0},
    };
    struct machine m;
    uint64_t bitmap[RAM_SIZE / PV_GUEST_PAGE / 64];
    char *extra = NULL;
    open_machine(&m, 1);
    LOAD(&m, 0, steps);
    assert_int_equal(posix_memalign((void **)&extra, PV_GUEST_PAGE, PV_GUEST_PAGE), 0);
    assert_int_equal(pv_vcpu_power_on(cpu(&m, 0), CODE(0), 0), 0);
    assert_int_equal(pv_as_dirty_log(m.as, true, NULL), 0);
    for (unsigned round = 0; round < 20; round++) {
        assert_int_equal(pv_as_add_host(m.as, 0x80000000, PV_GUEST_PAGE, extra, -1, 0,
                                        PV_REGION_RAM, NULL, NULL, "extra", NULL),
                         0);
        unsigned before = m.device_writes;
        WAIT_FOR(m.device_writes > before + 2);
        assert_int_equal(pv_as_remove(m.as, 0x80000000), 0);
        assert_int_equal(pv_as_dirty_fetch(m.as, RAM_BASE, bitmap, PV_ARRAY_SIZE(bitmap)), 0);
        const unsigned page = (WRITTEN - RAM_BASE) / PV_GUEST_PAGE;
        assert_true(bitmap[page / 64] >> page % 64 & 1);
        const unsigned clean = (DATA - RAM_BASE) / PV_GUEST_PAGE;
        assert_false(bitmap[clean / 64] >> clean % 64 & 1);
    }
    close_machine(&m);
    free(extra);
}

static void test_many(void **unused)
{
    struct pv_fake_step steps[VCPUS][6];
    struct machine m;
    open_machine(&m, VCPUS);
    for (unsigned i = 0; i < VCPUS; i++) {
        const struct pv_fake_step program[] = {
            {.op = PV_FAKE_SET, .reg = 1, .value = i + 1},
            {.op = PV_FAKE_SET, .reg = 2, .value = CODE(i + 1)},
            {.op = PV_FAKE_SET, .reg = 0, .value = CALL_ON},
            {.op = i + 1 < VCPUS ? PV_FAKE_HVC : PV_FAKE_SET, .reg = 3},
            OFF};
        memcpy(steps[i], program, sizeof(program));
        load(&m, i, steps[i], PV_ARRAY_SIZE(program));
    }
    /* Each brings up the next and goes. */
    assert_int_equal(pv_vcpu_power_on(cpu(&m, 0), CODE(0), 0), 0);
    WAIT_FOR(m.calls[VCPUS - 1] == 1);
    for (unsigned i = 0; i < VCPUS; i++)
        WAIT_FOR(!pv_vcpu_is_on(cpu(&m, i)));
    close_machine(&m);
}

static void test_destroy_while_running(void **unused)
{
    static const struct pv_fake_step steps[] = {{.op = PV_FAKE_JUMP, .value = 0}};
    struct machine m;
    open_machine(&m, 4);
    for (unsigned i = 0; i < 4; i++) {
        LOAD(&m, i, steps);
        pv_vcpu_power_on(cpu(&m, i), CODE(i), 0);
    }
    close_machine(&m);
}

static void test_choice(void **unused)
{
#ifndef PV_TEST_ENGINE
    assert_ptr_equal(pv_engine_find(pv_engine_name(tested)), tested);
#endif
    assert_null(pv_engine_find("nonesuch"));
    assert_string_not_equal(pv_engine_name(pv_engine_default()), "fake");
    assert_int_equal(pv_engine_probe(tested, NULL), 0);
}

static int run_suite(const struct pv_engine_ops *ops)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_choice),
        cmocka_unit_test(test_power),
        cmocka_unit_test(test_power_on_twice),
        cmocka_unit_test(test_mmio_sizes),
        cmocka_unit_test(test_mmio_zero_register),
        cmocka_unit_test(test_mmio_registers),
        cmocka_unit_test(test_mmio_extension),
        cmocka_unit_test(test_abort),
        cmocka_unit_test(test_calls),
        cmocka_unit_test(test_client_sysregs),
        cmocka_unit_test(test_wfi),
        cmocka_unit_test(test_power_off_in_wfi),
        cmocka_unit_test(test_standby),
        cmocka_unit_test(test_power_down),
        cmocka_unit_test(test_pause_nests),
        cmocka_unit_test(test_pause_between_instructions),
        cmocka_unit_test(test_state_round_trip),
        cmocka_unit_test(test_state_moves),
        cmocka_unit_test(test_map_changes),
        cmocka_unit_test(test_many),
        cmocka_unit_test(test_destroy_while_running),
    };
    tested = ops;
    return cmocka_run_group_tests_name(pv_engine_name(ops), tests, NULL, NULL);
}

#ifdef PV_TEST_ENGINE
/* One that is not in the list. */
extern const struct pv_engine_ops PV_TEST_ENGINE;

int main(void)
{
    return run_suite(&PV_TEST_ENGINE);
}
#else
/*
 * Every engine that can be used here, or the one named, which has to be; all cases, or those that
 * match the pattern named next.
 */
int main(int argc, char **argv)
{
    int failed = 0;
    if (argc > 2)
        cmocka_set_test_filter(argv[2]);
    for (const struct pv_engine_ops *const *e = pv_engine_list(); *e; e++) {
        PV_CLEANUP_ERROR struct pv_error *err = NULL;
        if (argc > 1 && strcmp(argv[1], pv_engine_name(*e)))
            continue;
        if (pv_engine_probe(*e, &err) == 0) {
            failed += run_suite(*e);
        } else if (argc > 1) {
            print_error("%s: %s\n", argv[1], pv_error_message(err));
            failed++;
        }
    }
    return failed;
}
#endif
