/* SPDX-License-Identifier: MIT */
/*
 * Unpacking, rounding, and the arithmetic proper.
 *
 * There is one adder and one multiplier, 128 bits wide, for all formats and for the fused
 * operations: an addition is a fused multiply-add without the product, a multiplication one without
 * the addend. Order matters for the flags, and follows the pseudocode: unpack (IDC), NaNs, invalid
 * operations, infinities, zeros, the number, rounding (UFC, OFC, IXC). Tininess is detected before
 * rounding, as on every Arm implementation.
 */
#include "engine/softfp/core.h"

/* ---- Unpack ---- */

static struct fp_num unpack(struct pv_fp *fp, unsigned size, uint64_t a, bool flush, bool ahp)
{
    const struct fp_format *f = &fp_formats[size];
    const int biased = (int)(a >> f->frac_bits) & fp_exp_max(size);
    const uint64_t frac = a & ((UINT64_C(1) << f->frac_bits) - 1);
    struct fp_num n = {.sign = a & fp_sign_bit(size)};
    if (biased == 0) {
        if (frac == 0)
            return n;
        if (flush) { /* half precision is flushed silently */
            if (size != PV_FP_H)
                fp->fpsr |= PV_FPSR_IDC;
            return n;
        }
        const int lead = __builtin_clzll(frac);
        n.kind = FP_FINITE;
        n.frac = frac << lead;
        n.exp = 1 - fp_bias(size) + (63 - lead) - f->frac_bits;
    } else if (biased == fp_exp_max(size) && !ahp) {
        n.kind = frac == 0 ? FP_INF : frac & fp_quiet_bit(size) ? FP_QNAN : FP_SNAN;
        n.frac = frac;
    } else {
        n.kind = FP_FINITE;
        n.frac = UINT64_C(1) << 63 | frac << (63 - f->frac_bits);
        n.exp = biased - fp_bias(size);
    }
    return n;
}

struct fp_num fp_unpack(struct pv_fp *fp, unsigned size, uint64_t a)
{
    return unpack(fp, size, a, fp_flushes(fp, size), false);
}

struct fp_num fp_unpack_cv(struct pv_fp *fp, unsigned size, uint64_t a)
{
    return unpack(fp, size, a, size != PV_FP_H && fp_flushes(fp, size),
                  size == PV_FP_H && fp->fpcr & PV_FPCR_AHP);
}

/* ---- Round and pack ---- */

static uint64_t overflow(struct pv_fp *fp, unsigned size, bool sign, enum pv_fp_rounding mode,
                         bool ahp)
{
    if (ahp) { /* no infinity to go to */
        fp->fpsr |= PV_FPSR_IOC;
        return fp_make(size, sign, fp_exp_max(size), (fp_quiet_bit(size) << 1) - 1);
    }
    fp->fpsr |= PV_FPSR_OFC | PV_FPSR_IXC;
    return fp_overflows_to_inf(mode, sign) ? fp_inf(size, sign) : fp_max_normal(size, sign);
}

static uint64_t round_pack(struct pv_fp *fp, unsigned size, bool sign, int exp, uint64_t frac,
                           enum pv_fp_rounding mode, bool flush, bool ahp)
{
    const struct fp_format *f = &fp_formats[size];
    int biased = exp + fp_bias(size);
    if (biased <= 0) {
        if (flush) {
            fp->fpsr |= PV_FPSR_UFC;
            return fp_zero(size, sign);
        }
        frac = fp_jam64(frac, (unsigned)(1 - biased));
        biased = 0;
    }
    const unsigned drop = 63 - f->frac_bits;
    const uint64_t rest = frac << (64 - drop);
    uint64_t units = frac >> drop;
    if (biased == 0 && rest)
        fp->fpsr |= PV_FPSR_UFC;
    units += fp_rounds_up(mode, sign, units & 1, rest);

    /*
     * The leading one of a normal number carries into the exponent when added, as does a carry out
     * of rounding: all that is needed is to count that one off.
     */
    const uint64_t magnitude = ((uint64_t)(biased ? biased - 1 : 0) << f->frac_bits) + units;
    if ((int)(magnitude >> f->frac_bits) >= fp_exp_max(size) + ahp)
        return overflow(fp, size, sign, mode, ahp);
    if (rest)
        fp->fpsr |= PV_FPSR_IXC;
    return (sign ? fp_sign_bit(size) : 0) | magnitude;
}

uint64_t fp_round(struct pv_fp *fp, unsigned size, bool sign, int exp, uint64_t frac,
                  enum pv_fp_rounding mode)
{
    return round_pack(fp, size, sign, exp, frac, mode, fp_flushes(fp, size), false);
}

uint64_t fp_round_cv(struct pv_fp *fp, unsigned size, bool sign, int exp, uint64_t frac,
                     enum pv_fp_rounding mode)
{
    return round_pack(fp, size, sign, exp, frac, mode, size != PV_FP_H && fp_flushes(fp, size),
                      size == PV_FP_H && fp->fpcr & PV_FPCR_AHP);
}

/* ---- Wide sums: (mant / 2^126) * 2^exp, below 2^128 ---- */

struct wide {
    bool sign;
    int exp;
    fp_u128 mant; /* bit 126 set, or all zero */
};

static struct wide widen(const struct fp_num *n)
{
    if (n->kind != FP_FINITE)
        return (struct wide){.sign = n->sign};
    return (struct wide){n->sign, n->exp, (fp_u128)n->frac << 63};
}

static struct wide product(const struct fp_num *a, const struct fp_num *b)
{
    struct wide p = {.sign = a->sign ^ b->sign};
    if (a->kind != FP_FINITE || b->kind != FP_FINITE)
        return p;
    /* No bit is lost: the fractions have at most 53 bits, so the product ends in zeros. */
    p.mant = (fp_u128)a->frac * b->frac >> 1;
    p.exp = a->exp + b->exp + 1;
    if (!(p.mant >> 126)) {
        p.mant <<= 1;
        p.exp--;
    }
    return p;
}

static uint64_t round_wide(struct pv_fp *fp, unsigned size, struct wide w)
{
    const uint64_t high = (uint64_t)(w.mant >> 64);
    const int lead = high ? __builtin_clzll(high) : 64 + __builtin_clzll((uint64_t)w.mant);
    w.mant <<= lead;
    const uint64_t frac = (uint64_t)(w.mant >> 64) | ((uint64_t)w.mant != 0);
    return fp_round(fp, size, w.sign, w.exp + 1 - lead, frac, pv_fp_mode(fp));
}

/* (a + b) * 2^scale; an exact zero is positive unless rounding down, or both were negative. */
static uint64_t sum(struct pv_fp *fp, unsigned size, struct wide a, struct wide b, int scale)
{
    if (!a.mant && !b.mant && a.sign == b.sign)
        return fp_zero(size, a.sign);
    if (!a.mant || (b.mant && b.exp > a.exp)) {
        const struct wide t = a;
        a = b;
        b = t;
    }
    if (b.mant) {
        b.mant = fp_jam128(b.mant, (unsigned)(a.exp - b.exp));
        if (a.sign == b.sign) {
            a.mant += b.mant;
        } else if (a.mant >= b.mant) {
            a.mant -= b.mant;
        } else {
            a.mant = b.mant - a.mant;
            a.sign = b.sign;
        }
    }
    if (!a.mant)
        return fp_zero(size, pv_fp_mode(fp) == PV_FP_DOWN);
    a.exp += scale;
    return round_wide(fp, size, a);
}

/* ---- Addition, multiplication, fused ---- */

uint64_t pv_fp_add_ref(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
    const uint64_t raw[] = {a, b};
    struct fp_num n[2];
    n[0] = fp_unpack(fp, size, a);
    n[1] = fp_unpack(fp, size, b);
    uint64_t r;
    if (fp_process_nans(fp, size, n, raw, 2, &r))
        return r;
    if (n[0].kind == FP_INF && n[1].kind == FP_INF && n[0].sign != n[1].sign)
        return fp_invalid(fp, size);
    if (n[0].kind == FP_INF || n[1].kind == FP_INF)
        return fp_inf(size, n[0].kind == FP_INF ? n[0].sign : n[1].sign);
    return sum(fp, size, widen(&n[0]), widen(&n[1]), 0);
}

/* FPMul, and FPMulX where `extended`: infinity times zero is two. */
static uint64_t mul(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b, bool extended)
{
    const uint64_t raw[] = {a, b};
    struct fp_num n[2];
    n[0] = fp_unpack(fp, size, a);
    n[1] = fp_unpack(fp, size, b);
    const bool sign = n[0].sign ^ n[1].sign;
    uint64_t r;
    if (fp_process_nans(fp, size, n, raw, 2, &r))
        return r;
    if (fp_inf_and_zero(&n[0], &n[1]))
        return extended ? fp_make(size, sign, fp_bias(size) + 1, 0) : fp_invalid(fp, size);
    if (n[0].kind == FP_INF || n[1].kind == FP_INF)
        return fp_inf(size, sign);
    const struct wide p = product(&n[0], &n[1]);
    return p.mant ? round_wide(fp, size, p) : fp_zero(size, sign);
}

uint64_t pv_fp_mul_ref(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
    return mul(fp, size, a, b, false);
}

uint64_t pv_fp_mulx(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
    return mul(fp, size, a, b, true);
}

uint64_t pv_fp_muladd_ref(struct pv_fp *fp, unsigned size, uint64_t addend, uint64_t a, uint64_t b)
{
    const uint64_t raw[] = {addend, a, b};
    struct fp_num n[3];
    for (unsigned i = 0; i < 3; i++)
        n[i] = fp_unpack(fp, size, raw[i]);
    const bool invalid = fp_inf_and_zero(&n[1], &n[2]), sign = n[1].sign ^ n[2].sign;
    const bool infinite = n[1].kind == FP_INF || n[2].kind == FP_INF;
    uint64_t r;
    if (fp_process_nans(fp, size, n, raw, 3, &r))
        /* The one operation that a quiet NaN does not excuse. */
        return n[0].kind == FP_QNAN && invalid ? fp_invalid(fp, size) : r;
    if (invalid || (n[0].kind == FP_INF && infinite && n[0].sign != sign))
        return fp_invalid(fp, size);
    if (n[0].kind == FP_INF || infinite)
        return fp_inf(size, infinite ? sign : n[0].sign);
    return sum(fp, size, widen(&n[0]), product(&n[1], &n[2]), 0);
}

/* (constant - a * b) * 2^scale: a step of Newton's iteration */
static uint64_t newton_step(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b,
                            struct fp_num constant, int scale, uint64_t at_inf_zero)
{
    const uint64_t raw[] = {pv_fp_neg(size, a), b};
    struct fp_num n[2];
    n[0] = fp_unpack(fp, size, raw[0]);
    n[1] = fp_unpack(fp, size, raw[1]);
    uint64_t r;
    if (fp_process_nans(fp, size, n, raw, 2, &r))
        return r;
    if (fp_inf_and_zero(&n[0], &n[1]))
        return at_inf_zero;
    if (n[0].kind == FP_INF || n[1].kind == FP_INF)
        return fp_inf(size, n[0].sign ^ n[1].sign);
    return sum(fp, size, widen(&constant), product(&n[0], &n[1]), scale);
}

/* 2 - a * b */
uint64_t pv_fp_recip_step(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
    const struct fp_num two = {.kind = FP_FINITE, .exp = 1, .frac = UINT64_C(1) << 63};
    return newton_step(fp, size, a, b, two, 0, fp_make(size, false, fp_bias(size) + 1, 0));
}

/* (3 - a * b) / 2 */
uint64_t pv_fp_rsqrt_step(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
    const struct fp_num three = {.kind = FP_FINITE, .exp = 1, .frac = UINT64_C(3) << 62};
    return newton_step(fp, size, a, b, three, -1,
                       fp_make(size, false, fp_bias(size), fp_quiet_bit(size)));
}

/* ---- Division and square root ---- */

uint64_t pv_fp_div_ref(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
    const uint64_t raw[] = {a, b};
    struct fp_num n[2];
    n[0] = fp_unpack(fp, size, a);
    n[1] = fp_unpack(fp, size, b);
    const bool sign = n[0].sign ^ n[1].sign;
    uint64_t r;
    if (fp_process_nans(fp, size, n, raw, 2, &r))
        return r;
    if (n[0].kind == n[1].kind && n[0].kind != FP_FINITE) /* inf / inf, 0 / 0 */
        return fp_invalid(fp, size);
    if (n[0].kind == FP_INF || n[1].kind == FP_ZERO_KIND) {
        if (n[0].kind != FP_INF)
            fp->fpsr |= PV_FPSR_DZC;
        return fp_inf(size, sign);
    }
    if (n[0].kind == FP_ZERO_KIND || n[1].kind == FP_INF)
        return fp_zero(size, sign);
    const fp_u128 dividend = (fp_u128)n[0].frac << 63;
    uint64_t quotient = (uint64_t)(dividend / n[1].frac); /* above 2^62 */
    quotient |= (fp_u128)quotient * n[1].frac != dividend;
    const int lead = !(quotient >> 63);
    return fp_round(fp, size, sign, n[0].exp - n[1].exp - lead, quotient << lead, pv_fp_mode(fp));
}

/* floor(sqrt(v)), bit 0 jammed; v in [2^126, 2^128) */
static uint64_t root(fp_u128 v)
{
    uint64_t r = 0;
    for (uint64_t bit = UINT64_C(1) << 63; bit; bit >>= 1)
        if ((fp_u128)(r | bit) * (r | bit) <= v)
            r |= bit;
    return r | ((fp_u128)r * r != v);
}

uint64_t pv_fp_sqrt_ref(struct pv_fp *fp, unsigned size, uint64_t a)
{
    const struct fp_num n = fp_unpack(fp, size, a);
    if (fp_is_nan(&n))
        return fp_process_nan(fp, size, &n, a);
    if (n.kind == FP_ZERO_KIND)
        return fp_zero(size, n.sign);
    if (n.sign)
        return fp_invalid(fp, size);
    if (n.kind == FP_INF)
        return fp_inf(size, false);
    const int odd = n.exp & 1;
    return fp_round(fp, size, false, (n.exp - odd) / 2, root((fp_u128)n.frac << (63 + odd)),
                    pv_fp_mode(fp));
}

/* ---- The public ones: the host first ---- */

uint64_t pv_fp_add(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
    uint64_t r;
    return fp_host_add(fp, size, a, b, &r) ? r : pv_fp_add_ref(fp, size, a, b);
}

uint64_t pv_fp_sub(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
    /* A NaN must keep its sign: only numbers are negated. */
    const uint64_t magnitude = pv_fp_abs(size, b);
    const bool nan = magnitude > fp_inf(size, false);
    return pv_fp_add(fp, size, a, nan ? b : pv_fp_neg(size, b));
}

uint64_t pv_fp_mul(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
    uint64_t r;
    return fp_host_mul(fp, size, a, b, &r) ? r : pv_fp_mul_ref(fp, size, a, b);
}

uint64_t pv_fp_div(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b)
{
    uint64_t r;
    return fp_host_div(fp, size, a, b, &r) ? r : pv_fp_div_ref(fp, size, a, b);
}

uint64_t pv_fp_sqrt(struct pv_fp *fp, unsigned size, uint64_t a)
{
    uint64_t r;
    return fp_host_sqrt(fp, size, a, &r) ? r : pv_fp_sqrt_ref(fp, size, a);
}

uint64_t pv_fp_muladd(struct pv_fp *fp, unsigned size, uint64_t addend, uint64_t a, uint64_t b)
{
    uint64_t r;
    return fp_host_muladd(fp, size, addend, a, b, &r) ? r
                                                      : pv_fp_muladd_ref(fp, size, addend, a, b);
}

uint64_t pv_fp_neg(unsigned size, uint64_t a)
{
    return a ^ fp_sign_bit(size);
}

uint64_t pv_fp_abs(unsigned size, uint64_t a)
{
    return a & ~fp_sign_bit(size);
}
