/* SPDX-License-Identifier: MIT */
/*
 * The translator's runtime: code memory that fills up, calls and returns that do and do not match,
 * flags at rest. What instructions do is compared with the interpreter by tests/lockstep.
 */
#include "base/buffer.h"
#include "base/error.h"
#include "base/util.h"
#include "engine/jit/flags.h"
#include "engine/jit/jit.h"
#include "memory/address_space.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
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

static void open_watched(struct machine *m, const struct pv_engine_watch *watch)
{
    static const uint64_t mpidr[VCPUS] = {0, 1};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    memset(m, 0, sizeof(*m));
    if (pv_engine_probe(&pv_engine_jit, NULL) < 0)
        skip();
    assert_int_equal(pv_as_create(&m->as, &err), 0);
    assert_int_equal(pv_as_add_ram(m->as, RAM, 0x80000, "ram", &err), 0);
    const struct pv_engine_config config = {.as = m->as,
                                            .vcpus = VCPUS,
                                            .client = &client,
                                            .client_opaque = m,
                                            .mpidr = mpidr,
                                            .watch = *watch};
    assert_int_equal(pv_engine_create(&m->engine, &pv_engine_jit, &config, &err), 0);
    m->jit = ((struct interp *)m->engine->impl)->jit;
    assert_int_equal(pv_engine_start(m->engine, &err), 0);
}

static void open_machine(struct machine *m)
{
    open_watched(m, &(struct pv_engine_watch){0});
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

/* Memory that goes takes the code in it along, and no other's. */
static void test_memory_that_goes(void **state)
{
    const uint64_t other = RAM + 0x100000;
    const uint32_t far_call[] = {
        0x580000c9, /* ldr x9, =other */
        0xaa1e03f3, /* mov x19, lr */
        0xd63f0120, /* blr x9 */
        0xaa1303fe, /* mov lr, x19 */
        0xd4000002, /* hvc #0 */
        0xd503201f, /* nop: the literal is aligned */
        (uint32_t)other, (uint32_t)(other >> 32),
    };
    const uint32_t answers[2][2] = {{0xd2800540 /* mov x0, #42 */, 0xd65f03c0 /* ret */},
                                    {0xd28000e0 /* mov x0, #7 */, 0xd65f03c0}};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct pv_vcpu_state end;
    struct machine m;
    open_machine(&m);
    assert_int_equal(pv_as_write(m.as, RAM, far_call, sizeof(far_call)), 0);
    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal(pv_as_add_ram(m.as, other, 0x1000, "other", &err), 0);
        assert_int_equal(pv_as_write(m.as, other, answers[i], sizeof(answers[i])), 0);
        start(&m, 0, RAM, 0);
        wait_off(&m, 0, &end);
        assert_int_equal(end.x[0], i ? 7 : 42);
        const uint64_t before = atomic_load(&m.jit->stats.invalidated);
        assert_int_equal(pv_as_remove(m.as, other), 0);
        assert_int_equal(atomic_load(&m.jit->stats.invalidated), before + 1);
    }
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

static char *read_all(const char *path)
{
    char *text = calloc(1, 65536);
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    assert_true(fread(text, 1, 65535, file) > 0);
    fclose(file);
    return text;
}

static unsigned occurrences(const char *text, const char *of)
{
    unsigned n = 0;
    for (; (text = strstr(text, of)); text++)
        n++;
    return n;
}

/* A loop of three rounds: what is said of its translation, and of each entry. */
static void test_watch(void **state)
{
    static const uint32_t code[] = {
        0xd2800060, /*    mov  x0, #3 */
        0xf1000400, /* 1: subs x0, x0, #1 */
        0x54ffffe1, /*    b.ne 1b */
        0x14000001, /*    b    2f */
        0xd4000002, /* 2: hvc  #0 */
    };
    char trace[] = "/tmp/pv-trace-XXXXXX", symbols[] = "/tmp/pv-symbols-XXXXXX", map[64];
    const char lines[] = "0000000040000000 T main\n0000000040000004 d data\n"
                         "0000000040000010 t end\n";
    const int fd = mkstemp(symbols);
    assert_int_equal(write(fd, lines, sizeof(lines) - 1), sizeof(lines) - 1);
    close(fd);
    close(mkstemp(trace));
    struct machine m;
    struct pv_vcpu_state end;
    open_watched(&m, &(struct pv_engine_watch){.trace = trace,
                                               .trace_entered = true,
                                               .trace_last = RAM + 0xf,
                                               .perf_map = true,
                                               .symbols = symbols});
    assert_int_equal(pv_as_write(m.as, RAM, code, sizeof(code)), 0);
    start(&m, 0, RAM, 0);
    wait_off(&m, 0, &end);

    PV_CLEANUP_BUFFER struct pv_buffer report = PV_BUFFER_INIT(65536);
    pv_engine_report(m.engine, &report);
    assert_non_null(strstr(report.data, "engine: jit\n"));
    assert_non_null(strstr(report.data, "translated: 3 blocks of 8 instructions"));
    snprintf(map, sizeof(map), "/tmp/perf-%d.map", (int)getpid());
    close_machine(&m);

    char *text = read_all(trace);
    /* The block at the HVC is beyond the range. */
    assert_int_equal(occurrences(text, "translated "), 2);
    assert_non_null(strstr(text, "translated EL1 0000000040000000 main+0x0 at 40000000: d2800060 "
                                 "f1000400 54ffffe1 14000001\n"));
    assert_int_equal(occurrences(text, "entered 0 EL1 0000000040000000 main+0x0\n"), 1);
    assert_int_equal(occurrences(text, "entered 0 EL1 0000000040000004 main+0x4\n"), 2);
    assert_int_equal(occurrences(text, "entered "), 3);
    free(text);
    text = read_all(map);
    assert_int_equal(occurrences(text, "[EL1] main\n"), 2);
    assert_int_equal(occurrences(text, "[EL1] end\n"), 1);
    free(text);
    unlink(map);
    unlink(trace);
    unlink(symbols);
}

static void test_bad_symbols(void **state)
{
    static const uint64_t mpidr[1];
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct pv_address_space *as;
    struct pv_engine *engine = NULL;
    char path[] = "/tmp/pv-symbols-XXXXXX";
    const int fd = mkstemp(path);
    assert_int_equal(write(fd, "no address\n", 11), 11);
    close(fd);
    assert_int_equal(pv_as_create(&as, &err), 0);
    const struct pv_engine_config config = {
        .as = as,
        .vcpus = 1,
        .client = &client,
        .mpidr = mpidr,
        .watch = {.perf_map = true, .symbols = path},
    };
    if (pv_engine_probe(&pv_engine_jit, NULL) == 0) {
        assert_int_equal(pv_engine_create(&engine, &pv_engine_jit, &config, &err), -EINVAL);
        assert_non_null(strstr(pv_error_message(err), "line 1"));
        pv_error_free(&err);
    }
    /* Who translates nothing has nothing to show. */
    assert_int_equal(pv_engine_create(&engine, &pv_engine_interp, &config, &err), -EINVAL);
    pv_as_destroy(as);
    unlink(path);
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
        cmocka_unit_test(test_full),      cmocka_unit_test(test_memory_that_goes),
        cmocka_unit_test(test_recursion), cmocka_unit_test(test_unmatched_returns),
        cmocka_unit_test(test_watch),     cmocka_unit_test(test_bad_symbols),
        cmocka_unit_test(test_flags),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
