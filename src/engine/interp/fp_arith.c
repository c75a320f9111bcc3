/* SPDX-License-Identifier: MIT */
/*
 * Scalar floating point: arithmetic, comparing, choosing, moving (Arm ARM C4.1.96). Each operation
 * is one line about the operands n, m, a; the shapes around them are shared.
 */
#include "engine/interp/fp.h"

/* An operation on Rn, Rm and Ra, as many of them as it has, with its result in Rd. */
#define FP_OP(NAME, EXPR)                                                                          \
    void interp_##NAME(struct cpu *c, const struct a64_insn *insn)                                 \
    {                                                                                              \
        struct pv_fp state = fp_begin(c), *const fp = &state;                                      \
        const unsigned size = fp_type_at(insn, 22);                                                \
        const uint64_t n = fp_reg(c, insn->rn, size), m = fp_reg(c, insn->rm, size);               \
        const uint64_t a = fp_reg(c, insn->ra, size);                                              \
        (void)fp, (void)n, (void)m, (void)a;                                                       \
        fp_set_reg(c, insn->rd, (EXPR));                                                           \
        fp_end(c, &state);                                                                         \
    }

FP_UNARY_OPS(FP_OP)
FP_BINARY_OPS(FP_OP)
FP_OP(FNMUL, pv_fp_neg(size, pv_fp_mul(fp, size, n, m)))

FP_OP(FMADD, pv_fp_muladd(fp, size, a, n, m))
FP_OP(FMSUB, pv_fp_muladd(fp, size, a, pv_fp_neg(size, n), m))
FP_OP(FNMADD, pv_fp_muladd(fp, size, pv_fp_neg(size, a), pv_fp_neg(size, n), m))
FP_OP(FNMSUB, pv_fp_muladd(fp, size, pv_fp_neg(size, a), n, m))

FP_OP(FMOV_REG, n)
FP_OP(FMOV_IMM, fp_expand_imm(size, insn->word >> 13 & 0xff))
FP_OP(FCSEL, cpu_condition(c, insn->word >> 12 & 15) ? n : m)

/* ---- Comparing: bit 3 is "with zero", bit 4 is "signal quiet NaNs too" ---- */

static void compare(struct cpu *c, const struct a64_insn *insn, bool with_zero)
{
    struct pv_fp fp = fp_begin(c);
    const unsigned size = fp_type_at(insn, 22);
    const uint64_t m = with_zero ? 0 : fp_reg(c, insn->rm, size);
    c->nzcv = pv_fp_compare(&fp, size, fp_reg(c, insn->rn, size), m, insn->word >> 4 & 1);
    fp_end(c, &fp);
}

void interp_FCMP(struct cpu *c, const struct a64_insn *insn)
{
    compare(c, insn, insn->word >> 3 & 1);
}

void interp_FCMPE(struct cpu *c, const struct a64_insn *insn)
{
    compare(c, insn, insn->word >> 3 & 1);
}

static void conditional_compare(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    if (cpu_condition(c, insn->word >> 12 & 15))
        compare(c, insn, false);
    else
        c->nzcv = (insn->word & 15) << 28;
}

void interp_FCCMP(struct cpu *c, const struct a64_insn *insn)
{
    conditional_compare(c, insn);
}

void interp_FCCMPE(struct cpu *c, const struct a64_insn *insn)
{
    conditional_compare(c, insn);
}
