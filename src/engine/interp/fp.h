/* SPDX-License-Identifier: MIT */
/*
 * What the floating-point handlers share: the way into softfp and back, and the registers.
 *
 * A handler wraps its arithmetic in fp_begin() and fp_end(): the first traps if it must and hands
 * softfp the control bits, the second stores the cumulative flags. Sizes are softfp's: log2 of the
 * bytes.
 */
#ifndef PV_ENGINE_INTERP_FP_H
#define PV_ENGINE_INTERP_FP_H

#include "engine/interp/handlers.h"
#include "engine/softfp/softfp.h"

static inline struct pv_fp fp_begin(struct cpu *c)
{
    cpu_check_fp(c);
    return (struct pv_fp){c->fpcr, c->fpsr};
}
static inline void fp_end(struct cpu *c, const struct pv_fp *fp)
{
    c->fpsr = fp->fpsr;
}

/* A format's two bits at `lsb`, 22 for ftype: 00 single, 01 double, 11 half */
static inline unsigned fp_type_at(const struct a64_insn *insn, unsigned lsb)
{
    static const uint8_t sizes[] = {PV_FP_S, PV_FP_D, 0, PV_FP_H};
    return sizes[insn->word >> lsb & 3];
}

/* The low lane of a register; writing it clears all above. */
static inline uint64_t fp_reg(const struct cpu *c, unsigned n, unsigned size)
{
    const uint64_t d = c->v[n].d[0];
    return size == PV_FP_D ? d : size == PV_FP_S ? (uint32_t)d : (uint16_t)d;
}
static inline void fp_set_reg(struct cpu *c, unsigned n, uint64_t value)
{
    c->v[n] = (union cpu_vreg){.d = {value, 0}};
}

static inline uint64_t fp_lane(const union cpu_vreg *v, unsigned size, unsigned index)
{
    return size == PV_FP_D ? v->d[index] : size == PV_FP_S ? v->s[index] : v->h[index];
}
static inline void fp_set_lane(union cpu_vreg *v, unsigned size, unsigned index, uint64_t value)
{
    if (size == PV_FP_D)
        v->d[index] = value;
    else if (size == PV_FP_S)
        v->s[index] = (uint32_t)value;
    else
        v->h[index] = (uint16_t)value;
}

/* What scalars and lanes share: X(name, the result of operands n and m of `size` in state fp). */
#define FP_UNARY_OPS(X)                                                                            \
    X(FABS, pv_fp_abs(size, n))                                                                    \
    X(FNEG, pv_fp_neg(size, n))                                                                    \
    X(FSQRT, pv_fp_sqrt(fp, size, n))                                                              \
    X(FRINTN, pv_fp_round_int(fp, size, n, PV_FP_NEAREST_EVEN, false))                             \
    X(FRINTP, pv_fp_round_int(fp, size, n, PV_FP_UP, false))                                       \
    X(FRINTM, pv_fp_round_int(fp, size, n, PV_FP_DOWN, false))                                     \
    X(FRINTZ, pv_fp_round_int(fp, size, n, PV_FP_ZERO, false))                                     \
    X(FRINTA, pv_fp_round_int(fp, size, n, PV_FP_NEAREST_AWAY, false))                             \
    X(FRINTX, pv_fp_round_int(fp, size, n, pv_fp_mode(fp), true))                                  \
    X(FRINTI, pv_fp_round_int(fp, size, n, pv_fp_mode(fp), false))

#define FP_BINARY_OPS(X)                                                                           \
    X(FADD, pv_fp_add(fp, size, n, m))                                                             \
    X(FSUB, pv_fp_sub(fp, size, n, m))                                                             \
    X(FMUL, pv_fp_mul(fp, size, n, m))                                                             \
    X(FDIV, pv_fp_div(fp, size, n, m))                                                             \
    X(FMAX, pv_fp_max(fp, size, n, m))                                                             \
    X(FMIN, pv_fp_min(fp, size, n, m))                                                             \
    X(FMAXNM, pv_fp_maxnum(fp, size, n, m))                                                        \
    X(FMINNM, pv_fp_minnum(fp, size, n, m))

/*
 * VFPExpandImm (Arm ARM J1.1.3), imm8 = abcdefgh: the sign is a, the exponent NOT(b), then b as
 * often as it takes, then cd; the fraction begins with efgh.
 */
static inline uint64_t fp_expand_imm(unsigned size, unsigned imm8)
{
    static const uint8_t frac_bits[] = {[PV_FP_H] = 10, [PV_FP_S] = 23, [PV_FP_D] = 52};
    const unsigned width = 8u << size, frac = frac_bits[size], exp = width - 1 - frac;
    const uint64_t top = UINT64_C(1) << (exp - 3), high = imm8 & 0x40 ? top - 1 : top;
    return (uint64_t)(imm8 >> 7) << (width - 1) | high << (frac + 2) |
           (uint64_t)(imm8 & 0x3f) << (frac - 4);
}

#endif
