/* SPDX-License-Identifier: MIT */
/* The floating-point handlers: which parts of which registers they read and write. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/interp/handlers.h"
#include "engine/softfp/softfp.h"

#define JUNK UINT64_C(0xdeadbeefdeadbeef)

static int setup(void **state)
{
    static struct cpu cpu;
    cpu = (struct cpu){0};
    for (unsigned i = 0; i < 32; i++)
        cpu.v[i] = (union cpu_vreg){.d = {JUNK, JUNK}};
    *state = &cpu;
    return 0;
}

static void execute(struct cpu *c, uint32_t word)
{
    struct a64_insn insn;
    a64_decode(word, &insn);
    assert_int_not_equal(insn.op, A64_UNDEFINED);
    interp_handlers[insn.op](c, &insn);
}

static void expect(const struct cpu *c, unsigned n, uint64_t high, uint64_t low)
{
    assert_int_equal(c->v[n].d[1], high);
    assert_int_equal(c->v[n].d[0], low);
}

static void scalar_results_clear_the_rest(void **state)
{
    struct cpu *c = *state;
    c->v[1].s[0] = 0x3f800000;
    c->v[2].s[0] = 0x40000000;
    execute(c, 0x1e222820); /* fadd s0, s1, s2 */
    expect(c, 0, 0, 0x40400000);
    execute(c, 0x1e6e1003); /* fmov d3, #1.0 */
    expect(c, 3, 0, UINT64_C(0x3ff0000000000000));
    execute(c, 0x1eee1004); /* fmov h4, #1.0 */
    expect(c, 4, 0, 0x3c00);
    c->x[5] = JUNK;
    execute(c, 0x1e2700a5); /* fmov s5, w5 */
    expect(c, 5, 0, 0xdeadbeef);
    execute(c, 0x1e2600a6); /* fmov w6, s5 */
    assert_int_equal(c->x[6], 0xdeadbeef);
}

static void halves_of_registers(void **state)
{
    struct cpu *c = *state;
    c->x[1] = 42;
    execute(c, 0x9eaf0020); /* fmov v0.d[1], x1 */
    expect(c, 0, 42, JUNK);
    execute(c, 0x9eae0002); /* fmov x2, v0.d[1] */
    assert_int_equal(c->x[2], 42);

    c->v[1] = (union cpu_vreg){.d = {UINT64_C(0x3ff0000000000000), UINT64_C(0xc000000000000000)}};
    execute(c, 0x4e616820); /* fcvtn2 v0.4s, v1.2d */
    expect(c, 0, UINT64_C(0xc00000003f800000), JUNK);
    execute(c, 0x0e616821); /* fcvtn v1.2s, v1.2d: reads what it overwrites */
    expect(c, 1, 0, UINT64_C(0xc00000003f800000));
    execute(c, 0x4e617802); /* fcvtl2 v2.2d, v0.4s */
    expect(c, 2, UINT64_C(0xc000000000000000), UINT64_C(0x3ff0000000000000));
}

static void by_element_may_overwrite_the_element(void **state)
{
    struct cpu *c = *state;
    c->v[0] = (union cpu_vreg){.s = {0x40000000, 0x40400000, 0x3f800000, 0x40800000}};
    execute(c, 0x4fa09800); /* fmul v0.4s, v0.4s, v0.s[3] */
    expect(c, 0, UINT64_C(0x4180000040800000), UINT64_C(0x4140000041000000));
    execute(c, 0x0f809000); /* fmul v0.2s, v0.2s, v0.s[0] */
    expect(c, 0, 0, UINT64_C(0x42c0000042800000));
}

static void across_is_a_tree(void **state)
{
    struct cpu *c = *state;
    /* max(max(QNaN, 1), max(SNaN, 1)): the left NaN wins, as the right one is quiet by then */
    c->v[1] = (union cpu_vreg){.s = {0x7fc00001, 0x3f800000, 0x7f800002, 0x3f800000}};
    execute(c, 0x6e30f820); /* fmaxv s0, v1.4s */
    expect(c, 0, 0, 0x7fc00001);
    assert_int_equal(c->fpsr, PV_FPSR_IOC);
}

static void comparisons(void **state)
{
    struct cpu *c = *state;
    c->v[1].d[0] = UINT64_C(0x7ff8000000000000);
    execute(c, 0x1e602028); /* fcmp d1, #0.0 */
    assert_int_equal(c->nzcv, PSTATE_C | PSTATE_V);
    assert_int_equal(c->fpsr, 0);
    execute(c, 0x1e602038); /* fcmpe d1, #0.0 */
    assert_int_equal(c->fpsr, PV_FPSR_IOC);
    execute(c, 0x1e61042f); /* fccmp d1, d1, #15, eq: not equal, so NZCV is the immediate */
    assert_int_equal(c->nzcv, PSTATE_N | PSTATE_Z | PSTATE_C | PSTATE_V);
    c->v[1].d[0] = 0;
    execute(c, 0x1e61042f); /* now it is */
    assert_int_equal(c->nzcv, PSTATE_Z | PSTATE_C);
}

static void flags_accumulate(void **state)
{
    struct cpu *c = *state;
    c->fpsr = PV_FPSR_IDC;
    c->v[1].d[0] = UINT64_C(0x3ff0000000000000);
    c->v[2].d[0] = 0;
    execute(c, 0x1e621820); /* fdiv d0, d1, d2 */
    expect(c, 0, 0, UINT64_C(0x7ff0000000000000));
    assert_int_equal(c->fpsr, PV_FPSR_IDC | PV_FPSR_DZC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(scalar_results_clear_the_rest, setup),
        cmocka_unit_test_setup(halves_of_registers, setup),
        cmocka_unit_test_setup(by_element_may_overwrite_the_element, setup),
        cmocka_unit_test_setup(across_is_a_tree, setup),
        cmocka_unit_test_setup(comparisons, setup),
        cmocka_unit_test_setup(flags_accumulate, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
