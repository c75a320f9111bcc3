/* SPDX-License-Identifier: MIT */
/* Advanced SIMD shifts, by immediate and by register, with rounding and narrowing. */
#include "engine/jit/a64/a64.h"

enum { B, H, S, D };

static const unsigned adds[] = {X64_VPADDB, X64_VPADDW, X64_VPADDD, X64_VPADDQ};

static void op3(struct jit_translator *t, unsigned op, unsigned d, unsigned a, unsigned b)
{
    x64_v3(&t->code, op, d, a, x64_r(b));
}

static void ones(struct jit_translator *t, unsigned reg)
{
    op3(t, X64_VPCMPEQD, reg, reg, reg);
}

static void zero(struct jit_translator *t, unsigned reg)
{
    op3(t, X64_VPXOR, reg, reg, reg);
}

/* ---- Shifts by immediate: immh:immb, the highest set bit of immh is the size ---- */

static unsigned shift_size(const struct a64_insn *insn)
{
    return 31u - (unsigned)__builtin_clz(insn->word >> 19 & 15);
}
static unsigned shift_field(const struct a64_insn *insn)
{
    return insn->word >> 16 & 127;
}
static unsigned right_count(const struct a64_insn *insn)
{
    return (16u << shift_size(insn)) - shift_field(insn);
}

void jit_v_shift_left(struct jit_translator *t, unsigned size, unsigned d, unsigned n,
                      unsigned count)
{
    static const unsigned ops[] = {X64_VPSLLW_IMM, X64_VPSLLW_IMM, X64_VPSLLD_IMM, X64_VPSLLQ_IMM};
    x64_v_shift(&t->code, ops[size], d, n, count);
    if (size == B) { /* out of the neighbour */
        jit_v_splat(t, 3, B, 0xffu << count & 0xff);
        op3(t, X64_VPAND, d, d, 3);
    }
}

void jit_v_shift_right(struct jit_translator *t, unsigned size, unsigned d, unsigned n,
                       unsigned count)
{
    static const unsigned ops[] = {X64_VPSRLW_IMM, X64_VPSRLW_IMM, X64_VPSRLD_IMM, X64_VPSRLQ_IMM};
    x64_v_shift(&t->code, ops[size], d, n, count);
    if (size == B) {
        jit_v_splat(t, 3, B, 0xffu >> count);
        op3(t, X64_VPAND, d, d, 3);
    }
}

/* Bytes: unsigned, then the sign bit's copies by subtracting it. Doublewords: likewise. */
void jit_v_shift_right_signed(struct jit_translator *t, unsigned size, unsigned d, unsigned n,
                              unsigned count)
{
    if (size == H || size == S) {
        x64_v_shift(&t->code, size == H ? X64_VPSRAW_IMM : X64_VPSRAD_IMM, d, n, count);
        return;
    }
    if (size == D) {
        zero(t, 2);
        op3(t, X64_VPCMPGTQ, 2, 2, n); /* signs */
        if (count == 64) {
            x64_vmov(&t->code, d, 2);
            return;
        }
        x64_v_shift(&t->code, X64_VPSLLQ_IMM, 2, 2, 64 - count);
        x64_v_shift(&t->code, X64_VPSRLQ_IMM, d, n, count);
        op3(t, X64_VPOR, d, d, 2);
        return;
    }
    if (count == 8)
        count = 7;
    jit_v_shift_right(t, B, d, n, count);
    jit_v_splat(t, 3, B, 0x80u >> count);
    op3(t, X64_VPXOR, d, d, 3);
    op3(t, X64_VPSUBB, d, d, 3);
}

/* SHL, USHR, SSHR, and USRA, SSRA, which add */
bool jit_simd_shift(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = shift_size(insn), bits = 8u << size;
    const bool accumulate = insn->op == A64_USRA_N || insn->op == A64_SSRA_N;
    unsigned n = jit_v(t, insn->rn), d = accumulate ? jit_v(t, insn->rd) : 0;
    unsigned reg = jit_v_new(t);
    if (insn->op == A64_SHL_N)
        jit_v_shift_left(t, size, reg, n, shift_field(insn) - bits);
    else if (insn->op == A64_USHR_N || insn->op == A64_USRA_N)
        jit_v_shift_right(t, size, reg, n, right_count(insn));
    else
        jit_v_shift_right_signed(t, size, reg, n, right_count(insn));
    if (accumulate)
        op3(t, adds[size], reg, reg, d);
    jit_v_finish(t, insn, reg);
    return true;
}

/* SLI and SRI: bits that nothing is shifted into stay. */
bool jit_simd_shift_insert(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = shift_size(insn), bits = 8u << size;
    const bool left = insn->op == A64_SLI_N;
    const unsigned count = left ? shift_field(insn) - bits : right_count(insn);
    unsigned n = jit_v(t, insn->rn), d = jit_v(t, insn->rd), reg = jit_v_new(t);
    ones(t, 1);
    if (left) {
        jit_v_shift_left(t, size, 1, 1, count);
        jit_v_shift_left(t, size, reg, n, count);
    } else {
        jit_v_shift_right(t, size, 1, 1, count);
        jit_v_shift_right(t, size, reg, n, count);
    }
    op3(t, X64_VPANDN, 1, 1, d);
    op3(t, X64_VPOR, reg, reg, 1);
    jit_v_finish(t, insn, reg);
    return true;
}

/* ---- With rounding ---- */

/*
 * d = n shifted right, rounded to nearest, halves up: the last bit shifted out is added. n is not
 * d, XMM0, 2 or 3.
 */
static void shift_right_rounded(struct jit_translator *t, unsigned size, bool is_signed, unsigned d,
                                unsigned n, unsigned count)
{
    jit_v_shift_right(t, size, 0, n, count - 1);
    jit_v_splat(t, 3, size, 1);
    op3(t, X64_VPAND, 0, 0, 3);
    if (is_signed)
        jit_v_shift_right_signed(t, size, d, n, count);
    else
        jit_v_shift_right(t, size, d, n, count);
    op3(t, adds[size], d, d, 0);
}

/* URSHR, SRSHR, and URSRA, SRSRA, which add */
bool jit_simd_shift_rounded(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = shift_size(insn);
    const bool accumulate = insn->op == A64_URSRA_N || insn->op == A64_SRSRA_N;
    const bool is_signed = insn->op == A64_SRSHR_N || insn->op == A64_SRSRA_N;
    unsigned n = jit_v(t, insn->rn), d = accumulate ? jit_v(t, insn->rd) : 0;
    unsigned reg = jit_v_new(t);
    shift_right_rounded(t, size, is_signed, reg, n, right_count(insn));
    if (accumulate)
        op3(t, adds[size], reg, reg, d);
    jit_v_finish(t, insn, reg);
    return true;
}

/* ---- Narrower, saturating ---- */

/*
 * reg = the lanes of `from`, twice as wide as `size`, saturated, to the lower or upper half of Vd.
 * What they are extended again to must be what they were, or QC is set. x86 packs from signed
 * lanes, so unsigned ones are bounded before.
 */
static void narrow_saturated(struct jit_translator *t, const struct a64_insn *insn, unsigned size,
                             bool from_signed, bool to_signed, unsigned reg, unsigned from)
{
    static const unsigned packs[2][2] = {{X64_VPACKUSWB, X64_VPACKUSDW},
                                         {X64_VPACKSSWB, X64_VPACKSSDW}};
    static const unsigned extends[2][2] = {{X64_VPMOVZXBW, X64_VPMOVZXWD},
                                           {X64_VPMOVSXBW, X64_VPMOVSXWD}};
    static const unsigned equals[] = {X64_VPCMPEQW, X64_VPCMPEQD};
    unsigned bounded = from;
    if (!from_signed) {
        jit_v_splat(t, 2, size + 1, size == B ? UINT8_MAX : UINT16_MAX);
        op3(t, size == B ? X64_VPMINUW : X64_VPMINUD, 2, from, 2);
        bounded = 2;
    }
    op3(t, packs[to_signed][size], reg, bounded, bounded);
    x64_v2(&t->code, extends[to_signed][size], 2, x64_r(reg));
    op3(t, equals[size], 2, 2, from);
    jit_v_saturated_unless(t, 2);
    if (insn->word >> 30 & 1)
        op3(t, X64_VPUNPCKLQDQ, reg, jit_v(t, insn->rd), reg);
    jit_v_finish(t, insn, reg);
}

/* SQXTN, UQXTN, SQXTUN */
bool jit_simd_narrow_saturated(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = insn->word >> 22 & 3;
    if (size == S || jit_is_scalar(insn))
        return false;
    unsigned n = jit_v(t, insn->rn), reg = jit_v_new(t);
    narrow_saturated(t, insn, size, insn->op != A64_UQXTN_V, insn->op == A64_SQXTN_V, reg, n);
    return true;
}

/* SQSHRN, UQSHRN, SQSHRUN, and the rounding ones, which have bit 11 */
bool jit_simd_shift_narrow_saturated(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = shift_size(insn), count = right_count(insn);
    const bool from_signed = insn->op != A64_UQSHRN_N && insn->op != A64_UQRSHRN_N;
    const bool to_signed = insn->op == A64_SQSHRN_N || insn->op == A64_SQRSHRN_N;
    if (size == S || jit_is_scalar(insn))
        return false;
    unsigned n = jit_v(t, insn->rn), reg = jit_v_new(t);
    if (insn->word >> 11 & 1)
        shift_right_rounded(t, size + 1, from_signed, 1, n, count);
    else if (from_signed)
        jit_v_shift_right_signed(t, size + 1, 1, n, count);
    else
        jit_v_shift_right(t, size + 1, 1, n, count);
    narrow_saturated(t, insn, size, from_signed, to_signed, reg, 1);
    return true;
}

/* RSHRN */
bool jit_simd_shift_narrow_rounded(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = shift_size(insn);
    unsigned n = jit_v(t, insn->rn), reg = jit_v_new(t);
    shift_right_rounded(t, size + 1, false, 1, n, right_count(insn));
    jit_v_narrow(t, insn, size, reg, 1);
    return true;
}

/* ---- By register: the signed low byte of each lane, negative to the right ---- */

/*
 * x86's counts are whole lanes, and great ones shift everything out. So one byte serves for both
 * directions: as it is, a negative one is a great shift to the left; negated, a positive one is a
 * great shift to the right. Unsigned, both results together are the right one.
 */
bool jit_simd_shift_register(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = insn->word >> 22 & 3;
    if (size < S)
        return false; /* no shifts by lane */
    const bool is_double = size == D;
    unsigned n = jit_v(t, insn->rn), m = jit_v(t, insn->rm), reg = jit_v_new(t);
    jit_v_splat(t, 3, size, UINT8_MAX);
    zero(t, 1);
    op3(t, is_double ? X64_VPSUBQ : X64_VPSUBD, 1, 1, m);
    op3(t, X64_VPAND, 1, 1, 3);
    op3(t, X64_VPAND, 0, m, 3);
    op3(t, is_double ? X64_VPSLLVQ : X64_VPSLLVD, 0, n, 0);
    if (insn->op == A64_USHL_V) {
        op3(t, is_double ? X64_VPSRLVQ : X64_VPSRLVD, 1, n, 1);
        op3(t, X64_VPOR, reg, 0, 1);
    } else {
        if (is_double) { /* signed: what is negative is inverted meanwhile */
            zero(t, 2);
            op3(t, X64_VPCMPGTQ, 2, 2, n);
            op3(t, X64_VPXOR, 3, n, 2);
            op3(t, X64_VPSRLVQ, 1, 3, 1);
            op3(t, X64_VPXOR, 1, 1, 2);
        } else {
            op3(t, X64_VPSRAVD, 1, n, 1);
        }
        x64_v_shift(&t->code, is_double ? X64_VPSLLQ_IMM : X64_VPSLLD_IMM, 2, m,
                    is_double ? 56 : 24);
        x64_v_blend(&t->code, is_double ? X64_VBLENDVPD : X64_VBLENDVPS, reg, 0, x64_r(1), 2);
    }
    jit_v_finish(t, insn, reg);
    return true;
}
