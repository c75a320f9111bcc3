/* SPDX-License-Identifier: MIT */
/* Advanced SIMD integers: what lies between lanes of one width and of two: halves, dot products. */
#include "engine/jit/a64/a64.h"

enum { B, H, S, D };

static const unsigned adds[] = {X64_VPADDB, X64_VPADDW, X64_VPADDD, X64_VPADDQ};
static const unsigned subs[] = {X64_VPSUBB, X64_VPSUBW, X64_VPSUBD, X64_VPSUBQ};

static void op3(struct jit_translator *t, unsigned op, unsigned d, unsigned a, unsigned b)
{
    x64_v3(&t->code, op, d, a, x64_r(b));
}

static unsigned size_of(const struct a64_insn *insn)
{
    return insn->word >> 22 & 3;
}

/*
 * Half of a sum or difference, which need not fit the lane: a + b is 2 (a & b) + (a ^ b) as well as
 * 2 (a | b) - (a ^ b), which is what rounds up; a - b is (a ^ b) - 2 (~a & b).
 */
bool jit_simd_halving(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = size_of(insn);
    if (insn->op == A64_URHADD_V && size < S)
        return jit_simd_direct(t, insn);
    unsigned n = jit_v(t, insn->rn), m = jit_v(t, insn->rm), reg = jit_v_new(t);
    op3(t, X64_VPXOR, 0, n, m);
    if (insn->word >> 29 & 1)
        jit_v_shift_right(t, size, 1, 0, 1);
    else
        jit_v_shift_right_signed(t, size, 1, 0, 1);
    switch (insn->op) {
    case A64_UHADD_V:
    case A64_SHADD_V:
        op3(t, X64_VPAND, 0, n, m);
        op3(t, adds[size], reg, 0, 1);
        break;
    case A64_URHADD_V:
    case A64_SRHADD_V:
        op3(t, X64_VPOR, 0, n, m);
        op3(t, subs[size], reg, 0, 1);
        break;
    default: /* UHSUB, SHSUB */
        op3(t, X64_VPANDN, 0, n, m);
        op3(t, subs[size], reg, 1, 0);
        break;
    }
    jit_v_finish(t, insn, reg);
    return true;
}

/* ADDHN, SUBHN, RADDHN, RSUBHN: the upper halves of sums and differences, rounded or not */
bool jit_simd_high_narrow(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = size_of(insn), bits = 8u << size;
    const bool subtract = insn->word >> 13 & 1, round = insn->word >> 29 & 1;
    unsigned n = jit_v(t, insn->rn), m = jit_v(t, insn->rm), reg = jit_v_new(t);
    op3(t, subtract ? subs[size + 1] : adds[size + 1], 1, n, m);
    if (round) {
        jit_v_splat(t, 2, size + 1, UINT64_C(1) << (bits - 1));
        op3(t, adds[size + 1], 1, 1, 2);
    }
    jit_v_shift_right(t, size + 1, 1, 1, bits);
    jit_v_narrow(t, insn, size, reg, 1);
    return true;
}

/* ---- Doubled products' upper halves ---- */

/* d = (2 n m + rounding) >> 16 of halfwords */
static void high_product_h(struct jit_translator *t, bool round, unsigned d, unsigned n, unsigned m)
{
    if (round) {
        op3(t, X64_VPMULHRSW, d, n, m);
        return;
    }
    op3(t, X64_VPMULLW, 2, n, m);
    op3(t, X64_VPMULHW, d, n, m);
    x64_v_shift(&t->code, X64_VPSRLW_IMM, 2, 2, 15);
    x64_v_shift(&t->code, X64_VPSLLW_IMM, d, d, 1);
    op3(t, X64_VPOR, d, d, 2);
}

/* The same >> 32 of words: products of the even ones and of the odd ones, in doublewords */
static void high_product_s(struct jit_translator *t, bool round, unsigned d, unsigned n, unsigned m)
{
    x64_v_shift(&t->code, X64_VPSRLQ_IMM, 2, n, 32);
    x64_v_shift(&t->code, X64_VPSRLQ_IMM, 3, m, 32);
    op3(t, X64_VPMULDQ, 2, 2, 3);
    op3(t, X64_VPMULDQ, d, n, m);
    if (round) {
        jit_v_splat(t, 3, D, UINT64_C(1) << 30);
        op3(t, X64_VPADDQ, 2, 2, 3);
        op3(t, X64_VPADDQ, d, d, 3);
    }
    x64_v_shift(&t->code, X64_VPSRLQ_IMM, d, d, 31);
    x64_v_shift(&t->code, X64_VPSLLQ_IMM, 2, 2, 1);
    x64_v3_imm(&t->code, X64_VPBLENDD, d, d, x64_r(2), 0x0a);
}

/*
 * SQDMULH and SQRDMULH. Only the product of the two least numbers does not fit; it comes out as the
 * least number, which no other product is, and becomes the greatest by inversion.
 */
bool jit_simd_high_product(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = size_of(insn);
    const bool by_element = insn->op == A64_SQDMULH_E || insn->op == A64_SQRDMULH_E;
    const bool round = insn->op == A64_SQRDMULH_V || insn->op == A64_SQRDMULH_E;
    if (jit_is_scalar(insn))
        return false;
    unsigned n = jit_v_low(t, insn->rn, jit_q_bytes(insn), 0);
    unsigned m = by_element ? jit_v_element(t, insn, size) : jit_v(t, insn->rm);
    unsigned reg = jit_v_new(t);
    if (size == H)
        high_product_h(t, round, reg, n, m);
    else
        high_product_s(t, round, reg, n, m);
    jit_v_splat(t, 2, size, size == H ? 0x8000 : 0x80000000);
    op3(t, size == H ? X64_VPCMPEQW : X64_VPCMPEQD, 2, reg, 2);
    op3(t, X64_VPXOR, reg, reg, 2);
    op3(t, X64_VPCMPEQD, 3, 3, 3);
    op3(t, X64_VPXOR, 2, 2, 3);
    jit_v_saturated_unless(t, 2);
    jit_v_finish(t, insn, reg);
    return true;
}

/* ---- Dot products ---- */

/* d = the bytes of `n` with even numbers, or odd ones, as halfwords */
static void spread(struct jit_translator *t, bool is_signed, bool odd, unsigned d, unsigned n)
{
    if (!odd) {
        x64_v_shift(&t->code, X64_VPSLLW_IMM, d, n, 8);
        n = d;
    }
    x64_v_shift(&t->code, is_signed ? X64_VPSRAW_IMM : X64_VPSRLW_IMM, d, n, 8);
}

/* UDOT and SDOT: x86's pairs of halfword products are words; two of them make one of Arm's. */
bool jit_simd_dot(struct jit_translator *t, const struct a64_insn *insn)
{
    const bool is_signed = !(insn->word >> 29 & 1);
    const bool by_element = insn->op == A64_SDOT_E || insn->op == A64_UDOT_E;
    unsigned n = jit_v(t, insn->rn), m = by_element ? jit_v_element(t, insn, S) : 0;
    if (!by_element)
        m = jit_v(t, insn->rm);
    unsigned d = jit_v(t, insn->rd), reg = jit_v_new(t);
    spread(t, is_signed, false, 2, n);
    spread(t, is_signed, false, 3, m);
    op3(t, X64_VPMADDWD, 0, 2, 3);
    spread(t, is_signed, true, 2, n);
    spread(t, is_signed, true, 3, m);
    op3(t, X64_VPMADDWD, 2, 2, 3);
    op3(t, X64_VPADDD, 0, 0, 2);
    op3(t, X64_VPADDD, reg, d, 0);
    jit_v_finish(t, insn, reg);
    return true;
}
