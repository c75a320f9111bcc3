/* SPDX-License-Identifier: MIT */
/* softfp: the rules one by one, and the host fast path against the reference. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "engine/softfp/softfp.h"

#define ONE    0x3f800000u
#define INF    0x7f800000u
#define QNAN_A 0x7fc00001u
#define QNAN_B 0xffc00002u
#define SNAN_B 0xff800003u
#define TINY   0x00000001u /* the least denormal */

static void nan_order(void **state)
{
    (void)state;
    struct pv_fp fp = {0, 0};
    assert_int_equal(pv_fp_add(&fp, PV_FP_S, QNAN_A, QNAN_B), QNAN_A);
    assert_int_equal(pv_fp_sub(&fp, PV_FP_S, ONE, QNAN_B), QNAN_B); /* not negated */
    assert_int_equal(fp.fpsr, 0);
    assert_int_equal(pv_fp_add(&fp, PV_FP_S, QNAN_A, SNAN_B), SNAN_B | 0x400000);
    assert_int_equal(fp.fpsr, PV_FPSR_IOC);

    fp = (struct pv_fp){PV_FPCR_DN, 0};
    assert_int_equal(pv_fp_mul(&fp, PV_FP_S, QNAN_B, ONE), 0x7fc00000);
    assert_int_equal(fp.fpsr, 0);

    /* inf * 0 is invalid even when a quiet NaN is added */
    fp = (struct pv_fp){0, 0};
    assert_int_equal(pv_fp_muladd(&fp, PV_FP_S, QNAN_B, INF, 0), 0x7fc00000);
    assert_int_equal(fp.fpsr, PV_FPSR_IOC);

    assert_int_equal(pv_fp_maxnum(&fp, PV_FP_S, QNAN_A, ONE), ONE);
    assert_int_equal(pv_fp_max(&fp, PV_FP_S, QNAN_A, ONE), QNAN_A);
}

static void flushing(void **state)
{
    (void)state;
    struct pv_fp fp = {PV_FPCR_FZ, 0};
    assert_int_equal(pv_fp_add(&fp, PV_FP_S, TINY, ONE), ONE);
    assert_int_equal(fp.fpsr, PV_FPSR_IDC); /* and not inexact */

    /* Rounding would reach the least normal number: flushed all the same, before it. */
    fp.fpsr = PV_FPSR_IXC;
    assert_int_equal(pv_fp_mul(&fp, PV_FP_S, 0x00ffffff, 0x3f000000), 0);
    assert_int_equal(fp.fpsr, PV_FPSR_IXC | PV_FPSR_UFC);

    fp = (struct pv_fp){0, PV_FPSR_IXC};
    assert_int_equal(pv_fp_mul(&fp, PV_FP_S, 0x00ffffff, 0x3f000000), 0x00800000);
    assert_int_equal(fp.fpsr, PV_FPSR_IXC | PV_FPSR_UFC);

    fp = (struct pv_fp){PV_FPCR_FZ16, 0}; /* halves: silently, and not in conversions */
    assert_int_equal(pv_fp_add(&fp, PV_FP_H, 1, 0x3c00), 0x3c00);
    assert_int_equal(pv_fp_convert(&fp, PV_FP_S, PV_FP_H, 1, PV_FP_NEAREST_EVEN), 0x33800000);
    assert_int_equal(fp.fpsr, 0);
}

static void overflow_by_mode(void **state)
{
    (void)state;
    static const uint32_t positive[] = {INF, INF, INF - 1, INF - 1};
    for (uint32_t mode = 0; mode < 4; mode++) {
        struct pv_fp fp = {mode << PV_FPCR_RMODE_SHIFT, 0};
        assert_int_equal(pv_fp_add(&fp, PV_FP_S, INF - 1, INF - 1), positive[mode]);
        assert_int_equal(fp.fpsr, PV_FPSR_OFC | PV_FPSR_IXC);
    }
    struct pv_fp fp = {PV_FPCR_AHP, 0}; /* no infinities: saturates, invalid */
    assert_int_equal(pv_fp_convert(&fp, PV_FP_H, PV_FP_S, INF, PV_FP_NEAREST_EVEN), 0x7fff);
    assert_int_equal(fp.fpsr, PV_FPSR_IOC);
}

static void conversions(void **state)
{
    (void)state;
    struct pv_fp fp = {0, 0};
    assert_int_equal(pv_fp_to_fixed(&fp, PV_FP_S, 0xcf000000, 0, false, PV_FP_ZERO, 32),
                     0x80000000); /* -2^31 fits */
    assert_int_equal(fp.fpsr, 0);
    assert_int_equal(pv_fp_to_fixed(&fp, PV_FP_S, 0x4f000000, 0, false, PV_FP_ZERO, 32),
                     0x7fffffff); /* 2^31 does not */
    assert_int_equal(fp.fpsr, PV_FPSR_IOC);
    fp.fpsr = 0;
    assert_int_equal(pv_fp_to_fixed(&fp, PV_FP_S, 0xbf000000, 0, true, PV_FP_NEAREST_EVEN, 64), 0);
    assert_int_equal(fp.fpsr, PV_FPSR_IXC); /* -0.5 rounds to 0: in range */
    fp.fpsr = 0;
    assert_int_equal(pv_fp_round_int(&fp, PV_FP_S, 0x3f000000, PV_FP_NEAREST_AWAY, false), ONE);
    assert_int_equal(pv_fp_round_int(&fp, PV_FP_S, 0xbf000000, PV_FP_NEAREST_EVEN, false),
                     0x80000000);
    assert_int_equal(fp.fpsr, 0);
}

static uint64_t next(uint64_t *state) /* splitmix64 */
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Exponents near the ends of the range, where the fast path must step aside, come often. */
static uint64_t operand(uint64_t *seed, unsigned size)
{
    const unsigned frac = size == PV_FP_D ? 52 : 23, width = 8u << size;
    const uint64_t r = next(seed), ends = UINT64_C(3) << (width - 3);
    uint64_t a = next(seed) >> (64 - width);
    if (r & 1)
        a = r & 2 ? a | ends : a & ~ends;
    return r & 4 ? a >> frac << frac : a;
}

static void host_agrees_with_reference(void **state)
{
    (void)state;
    uint64_t seed = 1;
    for (unsigned i = 0; i < 200000; i++) {
        const unsigned size = i & 1 ? PV_FP_D : PV_FP_S;
        const uint64_t a = operand(&seed, size), b = operand(&seed, size);
        const uint64_t d = operand(&seed, size);
        const struct pv_fp start = {i & 2 ? PV_FPCR_FZ : 0, PV_FPSR_IXC};
        struct pv_fp fast = start, ref = start;
        assert_int_equal(pv_fp_add(&fast, size, a, b), pv_fp_add_ref(&ref, size, a, b));
        assert_int_equal(pv_fp_mul(&fast, size, a, b), pv_fp_mul_ref(&ref, size, a, b));
        assert_int_equal(pv_fp_div(&fast, size, a, b), pv_fp_div_ref(&ref, size, a, b));
        assert_int_equal(pv_fp_sqrt(&fast, size, a), pv_fp_sqrt_ref(&ref, size, a));
        assert_int_equal(pv_fp_muladd(&fast, size, d, a, b), pv_fp_muladd_ref(&ref, size, d, a, b));
        assert_int_equal(fast.fpsr, ref.fpsr);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nan_order),
        cmocka_unit_test(flushing),
        cmocka_unit_test(overflow_by_mode),
        cmocka_unit_test(conversions),
        cmocka_unit_test(host_agrees_with_reference),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
