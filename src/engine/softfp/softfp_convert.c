/* SPDX-License-Identifier: MIT */
/* Integers, fixed point, and the other formats (FPRoundInt, FPToFixed, FixedToFP, FPConvert). */
#include "engine/softfp/core.h"

/*
 * The magnitude of n * 2^fbits, rounded to an integer; *inexact says whether that changed it.
 * Saturates at 2^64 - 1 with *overflow.
 */
static uint64_t to_integer(const struct fp_num *n, int fbits, enum pv_fp_rounding mode,
                           bool *inexact, bool *overflow)
{
    const int exp = n->exp + fbits;
    *inexact = *overflow = false;
    if (exp >= 64) {
        *overflow = true;
        return UINT64_MAX;
    }
    /* The integer part in the upper half, the rest in the lower. */
    fp_u128 v = (fp_u128)n->frac << 1;
    v = exp >= 0 ? v << exp : fp_jam128(v, (unsigned)-exp);
    const uint64_t rest = (uint64_t)v;
    uint64_t units = (uint64_t)(v >> 64);
    *inexact = rest != 0;
    if (fp_rounds_up(mode, n->sign, units & 1, rest) && ++units == 0) {
        *overflow = true;
        return UINT64_MAX;
    }
    return units;
}

uint64_t pv_fp_round_int(struct pv_fp *fp, unsigned size, uint64_t a, enum pv_fp_rounding mode,
                         bool exact)
{
    const struct fp_num n = fp_unpack(fp, size, a);
    if (fp_is_nan(&n))
        return fp_process_nan(fp, size, &n, a);
    if (n.kind == FP_ZERO_KIND)
        return fp_zero(size, n.sign);
    if (n.kind == FP_INF || n.exp >= fp_formats[size].frac_bits) /* an integer already */
        return a;
    bool inexact, overflow;
    const uint64_t units = to_integer(&n, 0, mode, &inexact, &overflow);
    if (exact && inexact)
        fp->fpsr |= PV_FPSR_IXC;
    if (units == 0)
        return fp_zero(size, n.sign);
    const int lead = __builtin_clzll(units);
    return fp_round(fp, size, n.sign, 63 - lead, units << lead, mode);
}

uint64_t pv_fp_to_fixed(struct pv_fp *fp, unsigned size, uint64_t a, unsigned fbits,
                        bool is_unsigned, enum pv_fp_rounding mode, unsigned width)
{
    const struct fp_num n = fp_unpack(fp, size, a);
    const uint64_t mask = ~UINT64_C(0) >> (64 - width), top = UINT64_C(1) << (width - 1);
    if (fp_is_nan(&n)) {
        fp->fpsr |= PV_FPSR_IOC;
        return 0;
    }
    if (n.kind == FP_ZERO_KIND)
        return 0;
    bool inexact = false, overflow = n.kind == FP_INF;
    uint64_t units = 0;
    if (!overflow)
        units = to_integer(&n, (int)fbits, mode, &inexact, &overflow);
    const uint64_t limit = is_unsigned ? (n.sign ? 0 : mask) : n.sign ? top : top - 1;
    if (overflow || units > limit) {
        fp->fpsr |= PV_FPSR_IOC;
        return limit;
    }
    if (inexact)
        fp->fpsr |= PV_FPSR_IXC;
    return (n.sign ? -units : units) & mask;
}

uint64_t pv_fp_from_fixed(struct pv_fp *fp, unsigned size, uint64_t a, unsigned fbits,
                          bool is_unsigned)
{
    if (a == 0)
        return 0;
    const bool sign = !is_unsigned && a >> 63;
    const uint64_t magnitude = sign ? -a : a;
    const int lead = __builtin_clzll(magnitude);
    return fp_round(fp, size, sign, 63 - lead - (int)fbits, magnitude << lead, pv_fp_mode(fp));
}

uint64_t pv_fp_convert(struct pv_fp *fp, unsigned to, unsigned from, uint64_t a,
                       enum pv_fp_rounding mode)
{
    const struct fp_num n = fp_unpack_cv(fp, from, a);
    const bool ahp = to == PV_FP_H && fp->fpcr & PV_FPCR_AHP;
    if (fp_is_nan(&n)) {
        if (n.kind == FP_SNAN || ahp)
            fp->fpsr |= PV_FPSR_IOC;
        if (ahp)
            return fp_zero(to, n.sign);
        if (fp->fpcr & PV_FPCR_DN)
            return fp_default_nan(to);
        /* The payload keeps its upper bits. */
        const uint64_t payload = n.frac << (64 - fp_formats[from].frac_bits);
        return fp_make(to, n.sign, fp_exp_max(to), payload >> (64 - fp_formats[to].frac_bits)) |
               fp_quiet_bit(to);
    }
    if (n.kind == FP_INF) {
        if (!ahp)
            return fp_inf(to, n.sign);
        fp->fpsr |= PV_FPSR_IOC;
        return fp_make(to, n.sign, fp_exp_max(to), (fp_quiet_bit(to) << 1) - 1);
    }
    if (n.kind == FP_ZERO_KIND)
        return fp_zero(to, n.sign);
    return fp_round_cv(fp, to, n.sign, n.exp, n.frac, mode);
}
