/* SPDX-License-Identifier: MIT */
/* Comparing two numbers, and choosing one of them (FPCompare, FPMax, FPMaxNum and kin). */
#include "engine/softfp/core.h"

/* Less: -1, equal: 0, greater: 1. No NaNs. */
static int order(const struct fp_num *a, const struct fp_num *b)
{
    if (a->kind == FP_ZERO_KIND && b->kind == FP_ZERO_KIND)
        return 0;
    const int above = a->sign ? -1 : 1;
    if (a->sign != b->sign)
        return a->kind == FP_ZERO_KIND ? (b->sign ? 1 : -1) : above;
    if (a->kind != b->kind) /* the kinds are in order of magnitude */
        return a->kind > b->kind ? above : -above;
    if (a->kind == FP_INF)
        return 0;
    if (a->exp != b->exp)
        return a->exp > b->exp ? above : -above;
    return a->frac == b->frac ? 0 : a->frac > b->frac ? above : -above;
}

enum { UNORDERED = 2 };

static int compare(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b, bool signal)
{
    const struct fp_num x = fp_unpack(fp, size, a), y = fp_unpack(fp, size, b);
    if (!fp_is_nan(&x) && !fp_is_nan(&y))
        return order(&x, &y);
    if (signal || x.kind == FP_SNAN || y.kind == FP_SNAN)
        fp->fpsr |= PV_FPSR_IOC;
    return UNORDERED;
}

uint32_t pv_fp_compare(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b, bool signal)
{
    switch (compare(fp, size, a, b, signal)) {
    case -1: return 8u << 28;
    case 0: return 6u << 28;
    case 1: return 2u << 28;
    default: return 3u << 28;
    }
}

bool pv_fp_eq(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
    return compare(fp, size, a, b, false) == 0;
}

bool pv_fp_ge(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
    const int o = compare(fp, size, a, b, true);
    return o == 0 || o == 1;
}

bool pv_fp_gt(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
    return compare(fp, size, a, b, true) == 1;
}

static uint64_t choose(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b, bool max)
{
    const uint64_t raw[] = {a, b};
    struct fp_num n[2];
    n[0] = fp_unpack(fp, size, a);
    n[1] = fp_unpack(fp, size, b);
    uint64_t r;
    if (fp_process_nans(fp, size, n, raw, 2, &r))
        return r;
    if (n[0].kind == FP_ZERO_KIND && n[1].kind == FP_ZERO_KIND) /* here -0 is below +0 */
        return fp_zero(size, max ? n[0].sign && n[1].sign : n[0].sign || n[1].sign);
    const unsigned pick = order(&n[0], &n[1]) != (max ? 1 : -1);
    /* Not raw[] itself: a flushed denormal is chosen as the zero it became. */
    return n[pick].kind == FP_ZERO_KIND ? fp_zero(size, n[pick].sign) : raw[pick];
}

uint64_t pv_fp_max(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
    return choose(fp, size, a, b, true);
}

uint64_t pv_fp_min(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
    return choose(fp, size, a, b, false);
}

/* A lone quiet NaN stands for "no value": the infinity that loses takes its place. */
static uint64_t choose_num(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b, bool max)
{
    const bool nan_a = fp_unpack(fp, size, a).kind == FP_QNAN;
    const bool nan_b = fp_unpack(fp, size, b).kind == FP_QNAN;
    if (nan_a && !nan_b)
        a = fp_inf(size, max);
    else if (nan_b && !nan_a)
        b = fp_inf(size, max);
    return choose(fp, size, a, b, max);
}

uint64_t pv_fp_maxnum(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
    return choose_num(fp, size, a, b, true);
}

uint64_t pv_fp_minnum(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
    return choose_num(fp, size, a, b, false);
}
