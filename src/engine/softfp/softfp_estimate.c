/* SPDX-License-Identifier: MIT */
/*
 * Reciprocal and reciprocal square root estimates. The architecture defines all 8 bits of them
 * (RecipEstimate, RecipSqrtEstimate), so that they are computed here as defined.
 */
#include "engine/softfp/core.h"

#define FRAC52_TOP (UINT64_C(1) << 51)
#define FRAC52     ((UINT64_C(1) << 52) - 1)

/* 1/x for x = scaled/512 in [0.5, 1), as 256..511 */
static unsigned recip(unsigned scaled)
{
    const unsigned a = scaled * 2 + 1;
    return ((1u << 19) / a + 1) / 2;
}

/* 1/sqrt(x) for x = scaled/512 in [0.25, 1), as 256..511 */
static unsigned rsqrt(unsigned scaled)
{
    const uint32_t a = scaled < 256 ? scaled * 2 + 1 : ((scaled | 1) + 0u) * 2;
    uint32_t b = 512;
    while (a * (b + 1) * (b + 1) < 1u << 28)
        b++;
    return (b + 1) / 2;
}

uint32_t pv_fp_urecpe(uint32_t a)
{
    return a >> 31 ? (uint32_t)recip(a >> 23) << 23 : UINT32_MAX;
}

uint32_t pv_fp_ursqrte(uint32_t a)
{
    return a >> 30 ? (uint32_t)rsqrt(a >> 23) << 23 : UINT32_MAX;
}

/* The stored fraction with 52 bits, whatever the format; and the stored exponent. */
static uint64_t stored_fraction(unsigned size, uint64_t a, int *exp)
{
    const unsigned bits = fp_formats[size].frac_bits;
    *exp = (int)(a >> bits) & fp_exp_max(size);
    return a << (52 - bits) & FRAC52;
}

uint64_t pv_fp_recip_estimate(struct pv_fp *fp, unsigned size, uint64_t a)
{
    const struct fp_num n = fp_unpack(fp, size, a);
    if (fp_is_nan(&n))
        return fp_process_nan(fp, size, &n, a);
    if (n.kind == FP_INF)
        return fp_zero(size, n.sign);
    if (n.kind == FP_ZERO_KIND) {
        fp->fpsr |= PV_FPSR_DZC;
        return fp_inf(size, n.sign);
    }
    if (n.exp < -fp_bias(size) - 1) { /* 1/x is beyond the format */
        fp->fpsr |= PV_FPSR_OFC | PV_FPSR_IXC;
        return fp_overflows_to_inf(pv_fp_mode(fp), n.sign) ? fp_inf(size, n.sign)
                                                           : fp_max_normal(size, n.sign);
    }
    if (fp_flushes(fp, size) && n.exp >= fp_bias(size) - 1) {
        fp->fpsr |= PV_FPSR_UFC;
        return fp_zero(size, n.sign);
    }
    int exp;
    uint64_t frac = stored_fraction(size, a, &exp);
    if (exp == 0) {
        const bool deep = !(frac & FRAC52_TOP);
        exp = deep ? -1 : 0;
        frac = frac << (deep ? 2 : 1) & FRAC52;
    }
    const unsigned estimate = recip(256 | (unsigned)(frac >> 44));
    int result_exp = 2 * fp_bias(size) - 1 - exp;
    frac = (uint64_t)(estimate & 255) << 44;
    if (result_exp <= 0) { /* 0 or -1: the result is a denormal */
        frac = (FRAC52_TOP | frac >> 1) >> -result_exp;
        result_exp = 0;
    }
    return fp_make(size, n.sign, result_exp, frac >> (52 - fp_formats[size].frac_bits));
}

uint64_t pv_fp_rsqrt_estimate(struct pv_fp *fp, unsigned size, uint64_t a)
{
    const struct fp_num n = fp_unpack(fp, size, a);
    if (fp_is_nan(&n))
        return fp_process_nan(fp, size, &n, a);
    if (n.kind == FP_ZERO_KIND) {
        fp->fpsr |= PV_FPSR_DZC;
        return fp_inf(size, n.sign);
    }
    if (n.sign)
        return fp_invalid(fp, size);
    if (n.kind == FP_INF)
        return fp_zero(size, false);
    int exp;
    uint64_t frac = stored_fraction(size, a, &exp);
    if (exp == 0) {
        for (; !(frac & FRAC52_TOP); exp--)
            frac <<= 1;
        frac = frac << 1 & FRAC52;
    }
    const unsigned scaled = exp & 1 ? 128 | (unsigned)(frac >> 45) : 256 | (unsigned)(frac >> 44);
    const uint64_t estimate = (uint64_t)(rsqrt(scaled) & 255);
    return fp_make(size, false, (3 * fp_bias(size) - 1 - exp) / 2,
                   estimate << (fp_formats[size].frac_bits - 8));
}

uint64_t pv_fp_recpx(struct pv_fp *fp, unsigned size, uint64_t a)
{
    const struct fp_num n = fp_unpack(fp, size, a);
    if (fp_is_nan(&n))
        return fp_process_nan(fp, size, &n, a);
    int exp;
    stored_fraction(size, a, &exp);
    return fp_make(size, n.sign, exp == 0 ? fp_exp_max(size) - 1 : fp_exp_max(size) ^ exp, 0);
}
