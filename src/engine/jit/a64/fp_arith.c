/* SPDX-License-Identifier: MIT */
/*
 * Floating-point arithmetic, scalar and vector, on the host's.
 *
 * IEEE 754 leaves no freedom in the value of a correctly rounded result, so with the same rounding
 * mode and no flushing the host computes Arm's value and raises Arm's exceptions, but for these:
 *  - which NaN results. A result that is NaN sends the instruction to its handler.
 *  - tininess: Arm sees it before rounding (J1.3, FPRound), x86 after. They disagree about results
 *    that rounding made the least normal number, so that one goes to the handler too, where a tiny
 *    result can be inexact at all: not in sums (those are exact), nor square roots.
 *  - MIN and MAX of x86 are not commutative; done both ways and combined they know zeros' signs.
 * The exceptions that the host raised before an instruction goes to its handler are no more than
 * the handler will raise.
 *
 * Lanes above what counts are zero in the operands of a 64-bit vector, and raise nothing. The
 * scalar instructions of x86 take the upper part of the result from the first source.
 */
#include "engine/jit/a64/a64.h"

enum { PS, PD, SS, SD, KINDS };

bool jit_fp_shape(const struct jit_translator *t, const struct a64_insn *insn,
                  struct jit_fp_shape *s)
{
    const bool is_double = insn->word >> 22 & 1;
    /* ftype, bits 23:22 of the scalar instructions proper: 3 are halves */
    const bool has_type = (insn->word >> 24 & 0x7e) == 0x1e;
    if ((t->mode & JIT_FPCR) || (has_type && (insn->word >> 22 & 3) == 3))
        return false;
    *s = jit_is_scalar(insn) ? (struct jit_fp_shape){is_double ? SD : SS, is_double ? 8 : 4}
                             : (struct jit_fp_shape){is_double ? PD : PS, jit_q_bytes(insn)};
    return true;
}

unsigned jit_fp_source(struct jit_translator *t, struct jit_fp_shape s, unsigned n,
                       unsigned scratch)
{
    return jit_fp_is_scalar(s) ? jit_v(t, n) : jit_v_low(t, n, s.bytes, scratch);
}

void jit_fp_wrote(struct jit_translator *t, struct jit_fp_shape s, unsigned rd, unsigned reg,
                  unsigned from)
{
    if (jit_fp_is_scalar(s) && !jit_v_is_low(t, from, s.bytes))
        jit_v_cut(t, reg, reg, s.bytes);
    jit_v_wrote(t, rd, reg, s.bytes);
}

/* ---- Checks ---- */

static void check_scalar_nan(struct jit_translator *t, struct jit_fp_shape s, unsigned reg)
{
    x64_v2(&t->code, s.kind == SD ? X64_VUCOMISD : X64_VUCOMISS, reg, x64_r(reg));
    jit_nzcv_lost(t);
    jit_slow(t, X64_P);
}

/* To the handler when a bit of `mask` is set. */
static void check_mask(struct jit_translator *t, unsigned mask)
{
    x64_v2(&t->code, X64_VPTEST, mask, x64_r(mask));
    jit_nzcv_lost(t);
    jit_slow(t, X64_NE);
}

/* mask = ones in lanes where a or b is NaN. Raises only what signaling NaNs should. */
static void unordered(struct jit_translator *t, struct jit_fp_shape s, unsigned mask, unsigned a,
                      unsigned b)
{
    enum { UNORDERED = 3 };
    x64_v3_imm(&t->code, s.kind == PD ? X64_VCMPPD : X64_VCMPPS, mask, a, x64_r(b), UNORDERED);
}

void jit_fp_check_nan(struct jit_translator *t, struct jit_fp_shape s, unsigned reg)
{
    if (jit_fp_is_scalar(s)) {
        check_scalar_nan(t, s, reg);
        return;
    }
    unordered(t, s, 3, reg, reg);
    check_mask(t, 3);
}

/*
 * Exponents 0 and 1, and the two greatest, are looked at again in the cold path. Added to 2, they
 * are those that leave nothing between the lowest two bits and the sign's.
 */
static void check_scalar_tiny(struct jit_translator *t, bool is_double, unsigned reg)
{
    const unsigned size = is_double ? 8 : 4;
    x64_v2_store(&t->code, is_double ? X64_VMOVQ_TO : X64_VMOVD_TO, x64_r(X64_RAX), reg);
    x64_shift_imm(&t->code, X64_SHR, size, x64_r(X64_RAX), is_double ? 52 : 23);
    x64_alu_imm(&t->code, X64_ADD, 4, x64_r(X64_RAX), 2);
    x64_test_imm(&t->code, 4, x64_r(X64_RAX), is_double ? 0x7fc : 0xfc);
    jit_nzcv_lost(t);
    struct jit_cold *cold = jit_slow(t, X64_E);
    cold->check = (uint8_t)reg;
    cold->is_double = is_double;
    x64_bind(&t->code, &cold->good);
}

void jit_fp_recheck(struct jit_translator *t, struct jit_cold *cold)
{
    const unsigned size = cold->is_double ? 8 : 4, reg = cold->check;
    struct x64_label bad = X64_LABEL;
    x64_v2(&t->code, cold->is_double ? X64_VUCOMISD : X64_VUCOMISS, reg, x64_r(reg));
    x64_jcc_near(&t->code, X64_P, &bad);
    x64_v2_store(&t->code, cold->is_double ? X64_VMOVQ_TO : X64_VMOVD_TO, x64_r(X64_RAX), reg);
    x64_alu(&t->code, X64_ADD, size, X64_RAX, x64_r(X64_RAX));
    x64_alu(&t->code, X64_CMP, size, X64_RAX,
            jit_constant(t, cold->is_double ? JIT_LEAST_D : JIT_LEAST_S));
    x64_jcc(&t->code, X64_NE, &cold->good);
    x64_bind(&t->code, &bad);
}

void jit_fp_check_tiny(struct jit_translator *t, struct jit_fp_shape s, unsigned reg)
{
    const bool is_double = jit_fp_is_double(s);
    if (jit_fp_is_scalar(s)) {
        check_scalar_tiny(t, is_double, reg);
    } else {
        unordered(t, s, 3, reg, reg);
        x64_v3(&t->code, is_double ? X64_VPADDQ : X64_VPADDD, 2, reg, x64_r(reg));
        x64_v3(&t->code, is_double ? X64_VPCMPEQQ : X64_VPCMPEQD, 2, 2,
               jit_constant(t, is_double ? JIT_LEAST_D : JIT_LEAST_S));
        x64_v3(&t->code, X64_VPOR, 3, 3, x64_r(2));
        check_mask(t, 3);
    }
}

/* ---- Two sources ---- */

static const unsigned adds[KINDS] = {X64_VADDPS, X64_VADDPD, X64_VADDSS, X64_VADDSD};
static const unsigned subs[KINDS] = {X64_VSUBPS, X64_VSUBPD, X64_VSUBSS, X64_VSUBSD};
static const unsigned muls[KINDS] = {X64_VMULPS, X64_VMULPD, X64_VMULSS, X64_VMULSD};
static const unsigned divs[KINDS] = {X64_VDIVPS, X64_VDIVPD, X64_VDIVSS, X64_VDIVSD};

/* The element that the by-element forms name, in all lanes of `scratch`: index H:L, or H. */
static unsigned element(struct jit_translator *t, const struct a64_insn *insn,
                        struct jit_fp_shape s, unsigned scratch)
{
    const unsigned h = insn->word >> 11 & 1, l = insn->word >> 21 & 1;
    const unsigned order = jit_fp_is_double(s) ? h ? 0xee : 0x44 : (h << 1 | l) * 0x55;
    x64_v2_imm(&t->code, X64_VPSHUFD, scratch, x64_r(jit_v(t, insn->rm)), order);
    if (s.bytes == 8 && !jit_fp_is_scalar(s))
        x64_vmovq(&t->code, scratch, scratch);
    return scratch;
}

static bool is_by_element(const struct a64_insn *insn)
{
    return insn->op == A64_FMUL_E || insn->op == A64_FMLA_E || insn->op == A64_FMLS_E;
}

static const unsigned *two_source_ops(const struct a64_insn *insn)
{
    switch (insn->op) {
    case A64_FADD:
    case A64_FADD_V: return adds;
    case A64_FSUB:
    case A64_FSUB_V:
    case A64_FABD_V: return subs;
    case A64_FDIV:
    case A64_FDIV_V: return divs;
    default: return muls;
    }
}

/*
 * The upper part of a scalar result is the first source's, so that is the one which is known to
 * have none, where it does not matter otherwise: which NaN results is the handler's.
 */
static bool better_swapped(const struct jit_translator *t, struct jit_fp_shape s, unsigned n,
                           unsigned m)
{
    return jit_fp_is_scalar(s) && !jit_v_is_low(t, n, s.bytes) && jit_v_is_low(t, m, s.bytes);
}

bool jit_fp_two(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned *ops = two_source_ops(insn);
    struct jit_fp_shape s;
    if (!jit_fp_shape(t, insn, &s))
        return false;
    if (ops == divs && s.kind == PS && s.bytes == 8)
        return false; /* 0 / 0 above */
    unsigned n = jit_fp_source(t, s, insn->rn, 0);
    unsigned m = is_by_element(insn) ? element(t, insn, s, 1) : jit_fp_source(t, s, insn->rm, 1);
    unsigned reg = jit_v_new(t);
    if ((ops == adds || ops == muls) && better_swapped(t, s, n, m)) {
        const unsigned first = m;
        m = n;
        n = first;
    }
    x64_v3(&t->code, ops[s.kind], reg, n, x64_r(m));
    if (ops == adds || ops == subs)
        jit_fp_check_nan(t, s, reg);
    else
        jit_fp_check_tiny(t, s, reg);
    if (insn->op == A64_FABD_V)
        x64_v3(&t->code, X64_VPAND, reg, reg,
               jit_constant(t, jit_fp_is_double(s) ? JIT_ABS_D : JIT_ABS_S));
    else if (insn->op == A64_FNMUL)
        x64_v3(&t->code, X64_VPXOR, reg, reg,
               jit_constant(t, jit_fp_is_double(s) ? JIT_SIGN_D1 : JIT_SIGN_S1));
    jit_fp_wrote(t, s, insn->rd, reg, n);
    return true;
}

/*
 * FMAX, FMIN, and FMAXNM, FMINNM, which differ for NaNs only. Of equal operands x86 gives the
 * second, so both orders together have both zeros: AND is +0, OR is -0.
 */
bool jit_fp_max(struct jit_translator *t, const struct a64_insn *insn)
{
    static const unsigned maxs[KINDS] = {X64_VMAXPS, X64_VMAXPD, X64_VMAXSS, X64_VMAXSD};
    static const unsigned mins[KINDS] = {X64_VMINPS, X64_VMINPD, X64_VMINSS, X64_VMINSD};
    const bool is_max = insn->op == A64_FMAX || insn->op == A64_FMAXNM || insn->op == A64_FMAX_V ||
                        insn->op == A64_FMAXNM_V;
    const unsigned *ops = is_max ? maxs : mins;
    struct jit_fp_shape s;
    if (!jit_fp_shape(t, insn, &s))
        return false;
    unsigned n = jit_fp_source(t, s, insn->rn, 0), m = jit_fp_source(t, s, insn->rm, 1);
    if (jit_fp_is_scalar(s)) {
        x64_v2(&t->code, s.kind == SD ? X64_VUCOMISD : X64_VUCOMISS, n, x64_r(m));
        jit_nzcv_lost(t);
        jit_slow(t, X64_P);
    } else {
        unordered(t, s, 3, n, m);
        check_mask(t, 3);
    }
    unsigned reg = jit_v_new(t);
    x64_v3(&t->code, ops[s.kind], reg, n, x64_r(m));
    x64_v3(&t->code, ops[s.kind], 2, m, x64_r(n));
    x64_v3(&t->code, is_max ? X64_VPAND : X64_VPOR, reg, reg, x64_r(2));
    if (jit_fp_is_scalar(s))
        jit_v_cut(t, reg, reg, s.bytes);
    jit_v_wrote(t, insn->rd, reg, s.bytes);
    return true;
}

/* ---- Three sources: d = a + n * m, with signs turned ---- */

bool jit_fp_fused(struct jit_translator *t, const struct a64_insn *insn)
{
    static const unsigned add[KINDS] = {X64_VFMADD231PS, X64_VFMADD231PD, X64_VFMADD231SS,
                                        X64_VFMADD231SD};
    static const unsigned sub[KINDS] = {X64_VFNMADD231PS, X64_VFNMADD231PD, X64_VFNMADD231SS,
                                        X64_VFNMADD231SD};
    static const unsigned negated_add[KINDS] = {[SS] = X64_VFNMSUB231SS, [SD] = X64_VFNMSUB231SD};
    static const unsigned negated_sub[KINDS] = {[SS] = X64_VFMSUB231SS, [SD] = X64_VFMSUB231SD};
    const unsigned *ops;
    unsigned ra = insn->rd;
    struct jit_fp_shape s;
    if (!jit_fp_shape(t, insn, &s))
        return false;
    switch (insn->op) {
    case A64_FMADD: ops = add, ra = insn->ra; break;
    case A64_FMSUB: ops = sub, ra = insn->ra; break;
    case A64_FNMADD: ops = negated_add, ra = insn->ra; break;
    case A64_FNMSUB: ops = negated_sub, ra = insn->ra; break;
    case A64_FMLA_V:
    case A64_FMLA_E: ops = add; break;
    default: ops = sub; break;
    }
    unsigned n = jit_fp_source(t, s, insn->rn, 0);
    unsigned m = is_by_element(insn) ? element(t, insn, s, 1) : jit_fp_source(t, s, insn->rm, 1);
    unsigned a = jit_fp_source(t, s, ra, 2), reg = jit_v_new(t);
    x64_vmov(&t->code, reg, a);
    x64_v3(&t->code, ops[s.kind], reg, n, x64_r(m));
    jit_fp_check_tiny(t, s, reg);
    jit_fp_wrote(t, s, insn->rd, reg, a);
    return true;
}

/* ---- Pairs ---- */

bool jit_fp_add_pairs(struct jit_translator *t, const struct a64_insn *insn)
{
    struct jit_fp_shape s;
    if (!jit_fp_shape(t, insn, &s))
        return false;
    unsigned n = jit_v(t, insn->rn), m = jit_v(t, insn->rm), reg = jit_v_new(t);
    if (s.bytes == 8) { /* what is added twice raises the same twice */
        x64_v3(&t->code, X64_VMOVLHPS, 0, n, x64_r(m));
        n = m = 0;
    }
    x64_v3(&t->code, s.kind == PD ? X64_VHADDPD : X64_VHADDPS, reg, n, x64_r(m));
    jit_fp_check_nan(t, s, reg);
    if (s.bytes == 8)
        jit_v_cut(t, reg, reg, 8);
    jit_v_wrote(t, insn->rd, reg, s.bytes);
    return true;
}

/* FADDP (scalar): the two low lanes of Vn */
bool jit_fp_add_pair(struct jit_translator *t, const struct a64_insn *insn)
{
    struct jit_fp_shape s;
    if (!jit_fp_shape(t, insn, &s))
        return false;
    unsigned n = jit_v(t, insn->rn), reg = jit_v_new(t);
    x64_v2_imm(&t->code, X64_VPSHUFD, 0, x64_r(n), s.kind == SD ? 0xee : 0x55);
    x64_v3(&t->code, adds[s.kind], reg, n, x64_r(0));
    jit_fp_check_nan(t, s, reg);
    jit_v_cut(t, reg, reg, s.bytes);
    jit_v_wrote(t, insn->rd, reg, s.bytes);
    return true;
}

/* ---- One source ---- */

bool jit_fp_sqrt(struct jit_translator *t, const struct a64_insn *insn)
{
    static const unsigned ops[KINDS] = {X64_VSQRTPS, X64_VSQRTPD, X64_VSQRTSS, X64_VSQRTSD};
    struct jit_fp_shape s;
    if (!jit_fp_shape(t, insn, &s))
        return false;
    unsigned n = jit_fp_source(t, s, insn->rn, 0), reg = jit_v_new(t);
    if (jit_fp_is_scalar(s))
        x64_v3(&t->code, ops[s.kind], reg, n, x64_r(n));
    else
        x64_v2(&t->code, ops[s.kind], reg, x64_r(n));
    jit_fp_check_nan(t, s, reg);
    jit_fp_wrote(t, s, insn->rd, reg, n);
    return true;
}

/* FABS and FNEG change a bit, whatever the operand is and FPCR says. */
bool jit_fp_sign(struct jit_translator *t, const struct a64_insn *insn)
{
    const bool is_double = insn->word >> 22 & 1, scalar = jit_is_scalar(insn);
    const bool is_abs = insn->op == A64_FABS || insn->op == A64_FABS_V;
    if (scalar && (insn->word >> 22 & 3) == 3)
        return false;
    unsigned bytes = !scalar ? jit_q_bytes(insn) : is_double ? 8 : 4;
    enum jit_constant mask = is_double ? is_abs ? JIT_ABS_D : JIT_SIGN_D
                             : is_abs  ? JIT_ABS_S
                                       : JIT_SIGN_S;
    unsigned n = jit_v(t, insn->rn), reg = jit_v_new(t);
    x64_v3(&t->code, is_abs ? X64_VPAND : X64_VPXOR, reg, n, jit_constant(t, mask));
    jit_v_cut(t, reg, reg, bytes);
    jit_v_wrote(t, insn->rd, reg, bytes);
    return true;
}

/* x86 quiets NaNs as Arm does, so nothing is left to check. */
bool jit_fp_round(struct jit_translator *t, const struct a64_insn *insn)
{
    enum { NEAREST, DOWN, UP, ZERO, SILENT = 8 }; /* SILENT: does not raise Inexact */
    static const unsigned ops[KINDS] = {X64_VROUNDPS, X64_VROUNDPD, X64_VROUNDSS, X64_VROUNDSD};
    unsigned how;
    struct jit_fp_shape s;
    if (!jit_fp_shape(t, insn, &s))
        return false;
    switch (insn->op) {
    case A64_FRINTP:
    case A64_FRINTP_V: how = UP | SILENT; break;
    case A64_FRINTM:
    case A64_FRINTM_V: how = DOWN | SILENT; break;
    case A64_FRINTZ:
    case A64_FRINTZ_V: how = ZERO | SILENT; break;
    case A64_FRINTX:
    case A64_FRINTX_V: how = NEAREST; break;
    default: how = NEAREST | SILENT; break;
    }
    unsigned n = jit_fp_source(t, s, insn->rn, 0), reg = jit_v_new(t);
    if (jit_fp_is_scalar(s))
        x64_v3_imm(&t->code, ops[s.kind], reg, n, x64_r(n), how);
    else
        x64_v2_imm(&t->code, ops[s.kind], reg, x64_r(n), how);
    jit_fp_wrote(t, s, insn->rd, reg, n);
    return true;
}

/*
 * To nearest, halves away from zero, which x86 does not have: one more than the integral part when
 * what is left is a half or more, all of which is exact. Numbers too great for a fraction,
 * infinities and NaNs are the handler's. Uses XMM0 to XMM3.
 */
void jit_fp_away(struct jit_translator *t, struct jit_fp_shape s, unsigned reg, unsigned n)
{
    enum { ZERO_SILENT = 11, GE = 13 };
    const bool is_double = jit_fp_is_double(s);
    x64_v3(&t->code, X64_VPAND, 1, n, jit_constant(t, is_double ? JIT_ABS_D : JIT_ABS_S));
    x64_v3(&t->code, X64_VPXOR, 2, n, x64_r(1)); /* signs */
    x64_v2(&t->code, X64_VMOVDQA_LOAD, 3,
           jit_constant(t, is_double ? JIT_FRACTION_D : JIT_FRACTION_S));
    x64_v3(&t->code, is_double ? X64_VPCMPGTQ : X64_VPCMPGTD, 3, 1, x64_r(3));
    check_mask(t, 3);
    x64_v2_imm(&t->code, is_double ? X64_VROUNDPD : X64_VROUNDPS, 3, x64_r(1), ZERO_SILENT);
    x64_v3(&t->code, is_double ? X64_VSUBPD : X64_VSUBPS, 1, 1, x64_r(3));
    x64_v3_imm(&t->code, is_double ? X64_VCMPPD : X64_VCMPPS, 1, 1,
               jit_constant(t, is_double ? JIT_HALF_D : JIT_HALF_S), GE);
    x64_v3(&t->code, X64_VPAND, 1, 1, jit_constant(t, is_double ? JIT_ONE_D : JIT_ONE_S));
    x64_v3(&t->code, is_double ? X64_VADDPD : X64_VADDPS, reg, 3, x64_r(1));
    x64_v3(&t->code, X64_VPOR, reg, reg, x64_r(2));
}

/* FRINTA */
bool jit_fp_round_away(struct jit_translator *t, const struct a64_insn *insn)
{
    struct jit_fp_shape s;
    if (!jit_fp_shape(t, insn, &s))
        return false;
    unsigned n = jit_v_low(t, insn->rn, s.bytes, 0), reg = jit_v_new(t);
    jit_fp_away(t, s, reg, n);
    jit_v_wrote(t, insn->rd, reg, s.bytes);
    return true;
}
