/* SPDX-License-Identifier: MIT */
/* Advanced SIMD integers where lanes change their width, and those that combine lanes. */
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
static bool is_upper(const struct a64_insn *insn)
{
    return insn->word >> 30 & 1;
}
static bool is_unsigned(const struct a64_insn *insn)
{
    return insn->word >> 29 & 1;
}

/* ---- Wider ---- */

/*
 * d = the lanes of n's lower or upper half, extended to twice their width. `zeros` is a register
 * that is zero, for upper halves; it may be d.
 */
static void extend(struct jit_translator *t, unsigned size, bool zero, bool upper, unsigned d,
                   unsigned n, unsigned zeros)
{
    static const unsigned ops[2][3] = {{X64_VPMOVSXBW, X64_VPMOVSXWD, X64_VPMOVSXDQ},
                                       {X64_VPMOVZXBW, X64_VPMOVZXWD, X64_VPMOVZXDQ}};
    if (upper && zero) {
        jit_v_zip(t, size, d, n, zeros, 1);
        return;
    }
    if (upper) {
        op3(t, X64_VPUNPCKHQDQ, d, n, n);
        n = d;
    }
    x64_v2(&t->code, ops[zero][size], d, x64_r(n));
}

static void clear(struct jit_translator *t, unsigned reg)
{
    op3(t, X64_VPXOR, reg, reg, reg);
}

/*
 * Whether XMM0 and XMM1 have the halves of this instruction's products of halfwords: the one in
 * front multiplied the same, for the other half of lanes.
 */
static bool has_products(const struct jit_translator *t, const struct a64_insn *insn)
{
    enum { UPPER = 1 << 30, RD = 31 };
    if (!t->products || t->products != t->index)
        return false;
    const struct a64_insn *before = insn - 1;
    return !((before->word ^ insn->word) & ~(uint32_t)(UPPER | RD)) && before->rd != insn->rn &&
           before->rd != insn->rm;
}

/* d = products of the lanes of n's and m's halves; uses XMM0 and XMM1, and m may be XMM1. */
static void multiply_long(struct jit_translator *t, const struct a64_insn *insn, unsigned d,
                          unsigned n, unsigned m)
{
    const unsigned size = size_of(insn);
    const bool zero = is_unsigned(insn), upper = is_upper(insn);
    if (size == H) {
        if (!has_products(t, insn)) {
            op3(t, X64_VPMULLW, 0, n, m);
            op3(t, zero ? X64_VPMULHUW : X64_VPMULHW, 1, n, m);
        }
        t->products = t->index + 1;
        jit_v_zip(t, H, d, 0, 1, upper);
        return;
    }
    if (upper && zero)
        clear(t, 0);
    extend(t, size, zero, upper, 1, m, 0);
    extend(t, size, zero, upper, 0, n, 0);
    if (size == S)
        op3(t, zero ? X64_VPMULUDQ : X64_VPMULDQ, d, 0, 1);
    else
        op3(t, X64_VPMULLW, d, 0, 1);
}

/* UXTL and kin: USHLL, SSHLL with a shift */
bool jit_simd_shift_long(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned immh = insn->word >> 19 & 15, size = 31u - (unsigned)__builtin_clz(immh);
    const unsigned count = (insn->word >> 16 & 127) - (8u << size);
    unsigned n = jit_v(t, insn->rn), reg = jit_v_new(t);
    if (is_upper(insn) && is_unsigned(insn))
        clear(t, reg);
    extend(t, size, is_unsigned(insn), is_upper(insn), reg, n, reg);
    if (count)
        jit_v_shift_left(t, size + 1, reg, reg, count);
    jit_v_wrote(t, insn->rd, reg, 16);
    return true;
}

/* Both sources long (L), or the second only (W): add, subtract, multiply, absolute difference */
bool jit_simd_long(struct jit_translator *t, const struct a64_insn *insn)
{
    static const unsigned maxs[2][3] = {{X64_VPMAXSB, X64_VPMAXSW, X64_VPMAXSD},
                                        {X64_VPMAXUB, X64_VPMAXUW, X64_VPMAXUD}};
    static const unsigned mins[2][3] = {{X64_VPMINSB, X64_VPMINSW, X64_VPMINSD},
                                        {X64_VPMINUB, X64_VPMINUW, X64_VPMINUD}};
    enum { ADD_L, ADD_W, SUB_L, SUB_W, ABAL = 5, ABDL = 7, MLAL, MLSL = 10, MULL = 12 };
    const unsigned size = size_of(insn), what = insn->word >> 12 & 15;
    const bool zero = is_unsigned(insn), upper = is_upper(insn);
    unsigned n = jit_v(t, insn->rn), m = jit_v(t, insn->rm), d = jit_v(t, insn->rd);
    unsigned reg = jit_v_new(t);

    if (what == ABAL || what == ABDL) { /* differences fit the narrow lanes, unsigned */
        op3(t, maxs[zero][size], 2, n, m);
        op3(t, mins[zero][size], 3, n, m);
        op3(t, subs[size], 2, 2, 3);
        if (upper)
            clear(t, reg);
        extend(t, size, true, upper, reg, 2, reg);
        if (what == ABAL)
            op3(t, adds[size + 1], reg, reg, d);
        jit_v_wrote(t, insn->rd, reg, 16);
        return true;
    }
    switch (what) {
    case ADD_L:
    case SUB_L:
    case ADD_W:
    case SUB_W:
        if (upper && zero)
            clear(t, 0);
        extend(t, size, zero, upper, 1, m, 0);
        if (what == ADD_L || what == SUB_L) {
            extend(t, size, zero, upper, 0, n, 0);
            n = 0;
        }
        op3(t, what == ADD_L || what == ADD_W ? adds[size + 1] : subs[size + 1], reg, n, 1);
        break;
    default: multiply_long(t, insn, reg, n, m); break;
    }
    if (what == MLAL)
        op3(t, adds[size + 1], reg, d, reg);
    else if (what == MLSL)
        op3(t, subs[size + 1], reg, d, reg);
    jit_v_wrote(t, insn->rd, reg, 16);
    return true;
}

/* SMULL, SMLAL, SMLSL and the unsigned ones, by element */
bool jit_simd_long_element(struct jit_translator *t, const struct a64_insn *insn)
{
    enum { MLAL = 2, MLSL = 6 };
    const unsigned size = size_of(insn), what = insn->word >> 12 & 15;
    unsigned n = jit_v(t, insn->rn), d = jit_v(t, insn->rd), reg = jit_v_new(t);
    unsigned m = size == H && has_products(t, insn) ? 1 : jit_v_element(t, insn, size);
    multiply_long(t, insn, reg, n, m);
    if (what == MLAL || what == MLSL)
        op3(t, what == MLAL ? adds[size + 1] : subs[size + 1], reg, d, reg);
    jit_v_wrote(t, insn->rd, reg, 16);
    return true;
}

/* UADDLP, SADDLP of bytes and of halfwords; UADALP, SADALP add to the destination. */
bool jit_simd_add_long_pairs(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = size_of(insn);
    const bool accumulate = insn->op == A64_UADALP_V || insn->op == A64_SADALP_V;
    if (size == S || (size == H && is_unsigned(insn)))
        return false;
    unsigned n = jit_v(t, insn->rn), d = jit_v(t, insn->rd), reg = jit_v_new(t);
    jit_v_splat(t, 2, size, 1);
    if (size == H)
        op3(t, X64_VPMADDWD, reg, n, 2);
    else if (is_unsigned(insn)) /* its first source is unsigned, its second signed */
        op3(t, X64_VPMADDUBSW, reg, n, 2);
    else
        op3(t, X64_VPMADDUBSW, reg, 2, n);
    if (accumulate)
        op3(t, adds[size + 1], reg, reg, d);
    jit_v_finish(t, insn, reg);
    return true;
}

/* ---- Narrower ---- */

/* Lanes of twice the width lose their upper halves; to the lower or the upper half of Vd. */
void jit_v_narrow(struct jit_translator *t, const struct a64_insn *insn, unsigned size,
                  unsigned reg, unsigned from)
{
    static const enum jit_constant shuffles[] = {JIT_NARROW_B, JIT_NARROW_H, JIT_NARROW_S};
    x64_v3(&t->code, X64_VPSHUFB, reg, from, jit_constant(t, shuffles[size]));
    if (is_upper(insn))
        op3(t, X64_VPUNPCKLQDQ, reg, jit_v(t, insn->rd), reg);
    jit_v_wrote(t, insn->rd, reg, jit_q_bytes(insn));
}

bool jit_simd_narrow(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned n = jit_v(t, insn->rn), reg = jit_v_new(t);
    jit_v_narrow(t, insn, size_of(insn), reg, n);
    return true;
}

bool jit_simd_shift_narrow(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned immh = insn->word >> 19 & 15, size = 31u - (unsigned)__builtin_clz(immh);
    const unsigned count = (16u << size) - (insn->word >> 16 & 127);
    unsigned n = jit_v(t, insn->rn), reg = jit_v_new(t);
    jit_v_shift_right(t, size + 1, 1, n, count);
    jit_v_narrow(t, insn, size, reg, 1);
    return true;
}

/* ---- Pairs and across ---- */

/* ADDP, UMAXP and kin: even lanes of m:n with the odd ones */
static unsigned fold_op(const struct a64_insn *insn, unsigned size)
{
    static const unsigned smaxs[] = {X64_VPMAXSB, X64_VPMAXSW, X64_VPMAXSD, 0};
    static const unsigned smins[] = {X64_VPMINSB, X64_VPMINSW, X64_VPMINSD, 0};
    static const unsigned umaxs[] = {X64_VPMAXUB, X64_VPMAXUW, X64_VPMAXUD, 0};
    static const unsigned umins[] = {X64_VPMINUB, X64_VPMINUW, X64_VPMINUD, 0};
    switch (insn->op) {
    case A64_SMAXP_V:
    case A64_SMAXV: return smaxs[size];
    case A64_SMINP_V:
    case A64_SMINV: return smins[size];
    case A64_UMAXP_V:
    case A64_UMAXV: return umaxs[size];
    case A64_UMINP_V:
    case A64_UMINV: return umins[size];
    default: return adds[size];
    }
}

bool jit_simd_pairs(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = size_of(insn);
    unsigned n = jit_v(t, insn->rn), m = jit_v(t, insn->rm), reg = jit_v_new(t);
    if (jit_q_bytes(insn) == 8) {
        op3(t, X64_VPUNPCKLQDQ, 0, n, m);
        n = m = 0;
    }
    jit_v_unzip(t, size, 1, n, m, 0);
    jit_v_unzip(t, size, reg, n, m, 1);
    op3(t, fold_op(insn, size), reg, 1, reg);
    jit_v_finish(t, insn, reg);
    return true;
}

/* ADDP (scalar): of two doublewords */
bool jit_simd_add_pair(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned n = jit_v(t, insn->rn), reg = jit_v_new(t);
    op3(t, X64_VPUNPCKHQDQ, 0, n, n);
    op3(t, X64_VPADDQ, reg, n, 0);
    jit_v_finish(t, insn, reg);
    return true;
}

/* The low 1 << size bytes of `from`, as all of Vd */
static void write_lane(struct jit_translator *t, unsigned rd, unsigned size, unsigned reg,
                       unsigned from)
{
    if (size >= S) {
        jit_v_cut(t, reg, from, 1u << size);
    } else {
        x64_v2_store(&t->code, X64_VMOVD_TO, x64_r(X64_RAX), from);
        x64_movzx(&t->code, 1u << size, X64_RAX, x64_r(X64_RAX));
        x64_v2(&t->code, X64_VMOVD_FROM, reg, x64_r(X64_RAX));
    }
    jit_v_wrote(t, rd, reg, size == D ? 8 : 4);
}

/* UMAXV, ADDV and kin: the upper half onto the lower, until one lane is left */
bool jit_simd_across(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = size_of(insn), op = fold_op(insn, size);
    unsigned from = jit_v(t, insn->rn), reg = jit_v_new(t);
    for (unsigned bytes = jit_q_bytes(insn) / 2; bytes >= 1u << size; bytes /= 2) {
        x64_v_shift(&t->code, X64_VPSRLDQ, 1, from, bytes);
        op3(t, op, 0, from, 1);
        from = 0;
    }
    write_lane(t, insn->rd, size, reg, 0);
    return true;
}

/* UADDLV of bytes: sums of eight, then of both */
bool jit_simd_add_across_long(struct jit_translator *t, const struct a64_insn *insn)
{
    if (size_of(insn) != B)
        return false;
    unsigned n = jit_v_low(t, insn->rn, jit_q_bytes(insn), 0), reg = jit_v_new(t);
    op3(t, X64_VPXOR, 1, 1, 1);
    op3(t, X64_VPSADBW, 0, n, 1);
    op3(t, X64_VPUNPCKHQDQ, 1, 0, 0);
    op3(t, X64_VPADDD, 0, 0, 1);
    jit_v_cut(t, reg, 0, 4);
    jit_v_wrote(t, insn->rd, reg, 4);
    return true;
}
