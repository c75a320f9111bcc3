/* SPDX-License-Identifier: MIT */
/*
 * What all of softfp is made of: unpack, round and pack, and the NaN rules.
 *
 * An unpacked finite number is (frac / 2^63) * 2^exp with bit 63 of frac set, whatever the format:
 * arithmetic is written once. Bits that fall off the end of a frac are "jammed": ORed into its
 * bit 0, which is far below the last place of any format here (53 bits), so that rounding still
 * sees whether the value lies below, on, or above a midpoint.
 */
#ifndef PV_ENGINE_SOFTFP_CORE_H
#define PV_ENGINE_SOFTFP_CORE_H

#include "engine/softfp/softfp.h"

#include <stddef.h>

__extension__ typedef unsigned __int128 fp_u128;

struct fp_format {
    uint8_t width, exp_bits, frac_bits;
};

/* Indexed by size. */
static const struct fp_format fp_formats[] = {
    [PV_FP_H] = {16, 5, 10},
    [PV_FP_S] = {32, 8, 23},
    [PV_FP_D] = {64, 11, 52},
};

static inline int fp_exp_max(unsigned size)
{
    return (1 << fp_formats[size].exp_bits) - 1;
}
static inline int fp_bias(unsigned size)
{
    return fp_exp_max(size) >> 1;
}
static inline uint64_t fp_sign_bit(unsigned size)
{
    return UINT64_C(1) << (fp_formats[size].width - 1);
}

enum fp_kind { FP_ZERO_KIND, FP_FINITE, FP_INF, FP_QNAN, FP_SNAN };

struct fp_num {
    enum fp_kind kind;
    bool sign;
    int exp;
    uint64_t frac;
};

static inline bool fp_is_nan(const struct fp_num *n)
{
    return n->kind >= FP_QNAN;
}
/* Are these two, in either order, an infinity and a zero? */
static inline bool fp_inf_and_zero(const struct fp_num *a, const struct fp_num *b)
{
    return (a->kind == FP_INF && b->kind == FP_ZERO_KIND) ||
           (a->kind == FP_ZERO_KIND && b->kind == FP_INF);
}

/* ---- Encodings ---- */

static inline uint64_t fp_make(unsigned size, bool sign, int biased, uint64_t frac)
{
    return (sign ? fp_sign_bit(size) : 0) | (uint64_t)biased << fp_formats[size].frac_bits | frac;
}
static inline uint64_t fp_zero(unsigned size, bool sign)
{
    return fp_make(size, sign, 0, 0);
}
static inline uint64_t fp_inf(unsigned size, bool sign)
{
    return fp_make(size, sign, fp_exp_max(size), 0);
}
static inline uint64_t fp_max_normal(unsigned size, bool sign)
{
    return fp_inf(size, sign) - 1;
}
static inline uint64_t fp_quiet_bit(unsigned size)
{
    return UINT64_C(1) << (fp_formats[size].frac_bits - 1);
}
static inline uint64_t fp_default_nan(unsigned size)
{
    return fp_inf(size, false) | fp_quiet_bit(size);
}

static inline bool fp_flushes(const struct pv_fp *fp, unsigned size)
{
    return fp->fpcr & (size == PV_FP_H ? PV_FPCR_FZ16 : PV_FPCR_FZ);
}

/* ---- Shifting with jam ---- */

static inline uint64_t fp_jam64(uint64_t v, unsigned n)
{
    if (n == 0)
        return v;
    return n < 64 ? v >> n | ((v << (64 - n)) != 0) : v != 0;
}
static inline fp_u128 fp_jam128(fp_u128 v, unsigned n)
{
    if (n == 0)
        return v;
    return n < 128 ? v >> n | ((v << (128 - n)) != 0) : v != 0;
}

/* FPUnpack: flushes a denormal input to zero as FPCR says. */
struct fp_num fp_unpack(struct pv_fp *fp, unsigned size, uint64_t a);
/* FPUnpackCV: for conversions between formats; FZ16 does not count, AHP does. */
struct fp_num fp_unpack_cv(struct pv_fp *fp, unsigned size, uint64_t a);

/* FPRound of a finite non-zero number; frac's bit 63 is set. */
uint64_t fp_round(struct pv_fp *fp, unsigned size, bool sign, int exp, uint64_t frac,
                  enum pv_fp_rounding mode);
/* FPRoundCV: likewise to FPUnpackCV. */
uint64_t fp_round_cv(struct pv_fp *fp, unsigned size, bool sign, int exp, uint64_t frac,
                     enum pv_fp_rounding mode);

/* Would rounding add one unit? `rest` is the discarded part, as a fraction of 2^64. */
static inline bool fp_rounds_up(enum pv_fp_rounding mode, bool sign, bool odd, uint64_t rest)
{
    const uint64_t half = UINT64_C(1) << 63;
    switch (mode) {
    case PV_FP_NEAREST_EVEN: return rest > half || (rest == half && odd);
    case PV_FP_NEAREST_AWAY: return rest >= half;
    case PV_FP_UP: return rest && !sign;
    case PV_FP_DOWN: return rest && sign;
    case PV_FP_ODD: return rest && !odd;
    default: return false;
    }
}
static inline bool fp_overflows_to_inf(enum pv_fp_rounding mode, bool sign)
{
    switch (mode) {
    case PV_FP_NEAREST_EVEN:
    case PV_FP_NEAREST_AWAY: return true;
    case PV_FP_UP: return !sign;
    case PV_FP_DOWN: return sign;
    default: return false;
    }
}

static inline uint64_t fp_invalid(struct pv_fp *fp, unsigned size)
{
    fp->fpsr |= PV_FPSR_IOC;
    return fp_default_nan(size);
}

/* FPProcessNaN */
static inline uint64_t fp_process_nan(struct pv_fp *fp, unsigned size, const struct fp_num *n,
                                      uint64_t a)
{
    if (n->kind == FP_SNAN)
        fp->fpsr |= PV_FPSR_IOC;
    return fp->fpcr & PV_FPCR_DN ? fp_default_nan(size) : a | fp_quiet_bit(size);
}

/*
 * FPProcessNaNs and FPProcessNaNs3: the first signaling NaN, else the first quiet one. False where
 * there is none.
 */
static inline bool fp_process_nans(struct pv_fp *fp, unsigned size, const struct fp_num *num,
                                   const uint64_t *raw, unsigned count, uint64_t *result)
{
    for (enum fp_kind kind = FP_SNAN; kind >= FP_QNAN; kind--)
        for (unsigned i = 0; i < count; i++)
            if (num[i].kind == kind) {
                *result = fp_process_nan(fp, size, &num[i], raw[i]);
                return true;
            }
    return false;
}

/* The host FPU's answer, where it is sure to be Arm's (softfp_host.c). */
bool fp_host_add(const struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b, uint64_t *r);
bool fp_host_mul(const struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b, uint64_t *r);
bool fp_host_div(const struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b, uint64_t *r);
bool fp_host_sqrt(const struct pv_fp *fp, unsigned size, uint64_t a, uint64_t *r);
bool fp_host_muladd(const struct pv_fp *fp, unsigned size, uint64_t addend, uint64_t a, uint64_t b,
                    uint64_t *r);

#endif
