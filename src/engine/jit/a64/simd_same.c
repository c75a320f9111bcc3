/* SPDX-License-Identifier: MIT */
/*
 * Advanced SIMD integers, lanes of one width. All 128 bits are computed; what does not count is cut
 * off at the end, as integer lanes cannot raise anything.
 *
 * Where x86 has no instruction for a width, an operation is put together from others here, or left
 * to its handler.
 */
#include "engine/jit/a64/a64.h"

enum { B, H, S, D, SIZES };

static unsigned size_of(const struct a64_insn *insn)
{
    return insn->word >> 22 & 3;
}

/* ---- Pieces ---- */

static const unsigned adds[SIZES] = {X64_VPADDB, X64_VPADDW, X64_VPADDD, X64_VPADDQ};
static const unsigned subs[SIZES] = {X64_VPSUBB, X64_VPSUBW, X64_VPSUBD, X64_VPSUBQ};
static const unsigned equals[SIZES] = {X64_VPCMPEQB, X64_VPCMPEQW, X64_VPCMPEQD, X64_VPCMPEQQ};
static const unsigned greaters[SIZES] = {X64_VPCMPGTB, X64_VPCMPGTW, X64_VPCMPGTD, X64_VPCMPGTQ};
static const unsigned smaxs[SIZES] = {X64_VPMAXSB, X64_VPMAXSW, X64_VPMAXSD};
static const unsigned smins[SIZES] = {X64_VPMINSB, X64_VPMINSW, X64_VPMINSD};
static const unsigned umaxs[SIZES] = {X64_VPMAXUB, X64_VPMAXUW, X64_VPMAXUD};
static const unsigned umins[SIZES] = {X64_VPMINUB, X64_VPMINUW, X64_VPMINUD};

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

static void invert(struct jit_translator *t, unsigned reg)
{
    ones(t, 3);
    op3(t, X64_VPXOR, reg, reg, 3);
}

void jit_v_splat(struct jit_translator *t, unsigned reg, unsigned size, uint64_t value)
{
    static const unsigned ops[] = {X64_VPBROADCASTB, X64_VPBROADCASTW, X64_VPBROADCASTD,
                                   X64_VPBROADCASTQ};
    x64_mov_imm(&t->code, X64_RAX, value);
    x64_v2(&t->code, size == D ? X64_VMOVQ_FROM : X64_VMOVD_FROM, reg, x64_r(X64_RAX));
    x64_v2(&t->code, ops[size], reg, x64_r(reg));
}

void jit_v_finish(struct jit_translator *t, const struct a64_insn *insn, unsigned reg)
{
    const unsigned bytes = jit_is_scalar(insn) ? 8 : jit_q_bytes(insn);
    if (bytes < 16)
        jit_v_cut(t, reg, reg, bytes);
    jit_v_wrote(t, insn->rd, reg, bytes);
}

/* Products of bytes: those of the even ones and of the odd ones, in halfwords. Uses XMM2, 3. */
static void multiply_bytes(struct jit_translator *t, unsigned d, unsigned n, unsigned m)
{
    x64_v_shift(&t->code, X64_VPSRLW_IMM, 2, n, 8);
    x64_v_shift(&t->code, X64_VPSRLW_IMM, 3, m, 8);
    op3(t, X64_VPMULLW, 2, 2, 3);
    x64_v_shift(&t->code, X64_VPSLLW_IMM, 2, 2, 8);
    op3(t, X64_VPMULLW, d, n, m);
    x64_v_shift(&t->code, X64_VPSLLW_IMM, d, d, 8);
    x64_v_shift(&t->code, X64_VPSRLW_IMM, d, d, 8);
    op3(t, X64_VPOR, d, d, 2);
}

void jit_v_multiply(struct jit_translator *t, unsigned size, unsigned d, unsigned n, unsigned m)
{
    if (size == B)
        multiply_bytes(t, d, n, m);
    else
        op3(t, size == H ? X64_VPMULLW : X64_VPMULLD, d, n, m);
}

/* d = n >= m, unsigned: n is the greater of them. Doublewords: see unsigned_greater(). */
static void unsigned_at_least(struct jit_translator *t, unsigned size, unsigned d, unsigned n,
                              unsigned m)
{
    op3(t, umaxs[size], d, n, m);
    op3(t, equals[size], d, d, n);
}

/* Doublewords compare as signed ones with their top bits turned. */
static void unsigned_greater_d(struct jit_translator *t, unsigned d, unsigned n, unsigned m)
{
    x64_v3(&t->code, X64_VPXOR, 2, n, jit_constant(t, JIT_SIGN_D));
    x64_v3(&t->code, X64_VPXOR, 3, m, jit_constant(t, JIT_SIGN_D));
    op3(t, X64_VPCMPGTQ, d, 2, 3);
}

static void unsigned_greater(struct jit_translator *t, unsigned size, unsigned d, unsigned n,
                             unsigned m)
{
    if (size == D) {
        unsigned_greater_d(t, d, n, m);
        return;
    }
    unsigned_at_least(t, size, d, m, n);
    invert(t, d);
}

/* ---- Three same ---- */

/* One instruction of x86's: lanes of `size`, 0 where there is none. */
static unsigned direct(const struct a64_insn *insn, unsigned size)
{
    static const unsigned averages[SIZES] = {X64_VPAVGB, X64_VPAVGW};
    switch (insn->op) {
    case A64_ADD_V: return adds[size];
    case A64_SUB_V: return subs[size];
    case A64_CMEQ_V: return equals[size];
    case A64_CMGT_V: return greaters[size];
    case A64_SMAX_V: return smaxs[size];
    case A64_SMIN_V: return smins[size];
    case A64_UMAX_V: return umaxs[size];
    case A64_UMIN_V: return umins[size];
    case A64_URHADD_V: return averages[size];
    case A64_AND_V: return X64_VPAND;
    case A64_ORR_V: return X64_VPOR;
    case A64_EOR_V: return X64_VPXOR;
    default: return 0;
    }
}

bool jit_simd_direct(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned op = direct(insn, size_of(insn));
    if (!op)
        return false;
    unsigned n = jit_v(t, insn->rn), m = jit_v(t, insn->rm), reg = jit_v_new(t);
    op3(t, op, reg, n, m);
    jit_v_finish(t, insn, reg);
    return true;
}

bool jit_simd_compare(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = size_of(insn);
    unsigned n = jit_v(t, insn->rn), m = jit_v(t, insn->rm), reg = jit_v_new(t);
    switch (insn->op) {
    case A64_CMGE_V:
        op3(t, greaters[size], reg, m, n);
        invert(t, reg);
        break;
    case A64_CMHI_V: unsigned_greater(t, size, reg, n, m); break;
    case A64_CMHS_V:
        if (size == D) {
            unsigned_greater_d(t, reg, m, n);
            invert(t, reg);
        } else {
            unsigned_at_least(t, size, reg, n, m);
        }
        break;
    default: /* CMTST: any bit in common */
        op3(t, X64_VPAND, reg, n, m);
        zero(t, 2);
        op3(t, equals[size], reg, reg, 2);
        invert(t, reg);
        break;
    }
    jit_v_finish(t, insn, reg);
    return true;
}

/* Logic that x86 does in two or three steps. d: the old destination */
bool jit_simd_logic(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned n = jit_v(t, insn->rn), m = jit_v(t, insn->rm), d = jit_v(t, insn->rd);
    unsigned reg = jit_v_new(t);
    switch (insn->op) {
    case A64_BIC_V: op3(t, X64_VPANDN, reg, m, n); break;
    case A64_ORN_V:
        ones(t, 2);
        op3(t, X64_VPXOR, 2, 2, m);
        op3(t, X64_VPOR, reg, n, 2);
        break;
    case A64_BSL_V:
        op3(t, X64_VPAND, 2, d, n);
        op3(t, X64_VPANDN, reg, d, m);
        op3(t, X64_VPOR, reg, reg, 2);
        break;
    case A64_BIT_V:
        op3(t, X64_VPAND, 2, m, n);
        op3(t, X64_VPANDN, reg, m, d);
        op3(t, X64_VPOR, reg, reg, 2);
        break;
    default: /* BIF */
        op3(t, X64_VPAND, 2, m, d);
        op3(t, X64_VPANDN, reg, m, n);
        op3(t, X64_VPOR, reg, reg, 2);
        break;
    }
    jit_v_finish(t, insn, reg);
    return true;
}

/* The element of the by-element forms in all lanes of XMM1: H:L:M and V0 to V15, or H:L */
unsigned jit_v_element(struct jit_translator *t, const struct a64_insn *insn, unsigned size)
{
    const unsigned hl = (insn->word >> 11 & 1) << 1 | (insn->word >> 21 & 1);
    if (size == S)
        x64_v2(&t->code, X64_VPBROADCASTD, 1, jit_v_part(t, insn->word >> 16 & 31, hl * 4));
    else
        x64_v2(&t->code, X64_VPBROADCASTW, 1,
               jit_v_part(t, insn->word >> 16 & 15, (hl << 1 | (insn->word >> 20 & 1)) * 2));
    return 1;
}

/* MUL, MLA, MLS, of vectors and by element */
bool jit_simd_multiply(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = size_of(insn);
    const bool by_element = insn->op == A64_MUL_E || insn->op == A64_MLA_E || insn->op == A64_MLS_E;
    const bool alone = insn->op == A64_MUL_V || insn->op == A64_MUL_E;
    const bool subtract = insn->op == A64_MLS_V || insn->op == A64_MLS_E;
    unsigned n = jit_v(t, insn->rn);
    unsigned m = by_element ? jit_v_element(t, insn, size) : jit_v(t, insn->rm);
    unsigned d = alone ? 0 : jit_v(t, insn->rd), reg = jit_v_new(t);
    jit_v_multiply(t, size, reg, n, m);
    if (!alone)
        op3(t, subtract ? subs[size] : adds[size], reg, d, reg);
    jit_v_finish(t, insn, reg);
    return true;
}

/* Absolute differences: the greater minus the lesser; UABA and SABA add them. */
bool jit_simd_difference(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = size_of(insn);
    const bool is_unsigned = insn->op == A64_UABD_V || insn->op == A64_UABA_V;
    unsigned n = jit_v(t, insn->rn), m = jit_v(t, insn->rm), d = jit_v(t, insn->rd);
    unsigned reg = jit_v_new(t);
    op3(t, is_unsigned ? umaxs[size] : smaxs[size], reg, n, m);
    op3(t, is_unsigned ? umins[size] : smins[size], 2, n, m);
    op3(t, subs[size], reg, reg, 2);
    if (insn->op == A64_UABA_V || insn->op == A64_SABA_V)
        op3(t, adds[size], reg, reg, d);
    jit_v_finish(t, insn, reg);
    return true;
}

void jit_v_saturated_unless(struct jit_translator *t, unsigned mask)
{
    enum { QC_BIT = 27 };
    x64_v2(&t->code, X64_VPMOVMSKB, X64_RAX, x64_r(mask));
    x64_alu_imm(&t->code, X64_XOR, 4, x64_r(X64_RAX), 0xffff);
    x64_unary(&t->code, X64_NEG, 4, x64_r(X64_RAX)); /* CF: not zero */
    x64_alu(&t->code, X64_SBB, 4, X64_RAX, x64_r(X64_RAX));
    x64_alu_imm(&t->code, X64_AND, 4, x64_r(X64_RAX), 1 << QC_BIT);
    x64_alu_store(&t->code, X64_OR, 4, jit_field(offsetof(struct cpu, fpsr)), X64_RAX);
    jit_nzcv_lost(t);
}

/* Bytes and halfwords, where x86 saturates too: QC is set where that differs from wrapping. */
bool jit_simd_saturate(struct jit_translator *t, const struct a64_insn *insn)
{
    static const unsigned sadds[] = {X64_VPADDSB, X64_VPADDSW},
                          ssubs[] = {X64_VPSUBSB, X64_VPSUBSW};
    static const unsigned uadds[] = {X64_VPADDUSB, X64_VPADDUSW},
                          usubs[] = {X64_VPSUBUSB, X64_VPSUBUSW};
    const unsigned size = size_of(insn), bytes = jit_q_bytes(insn);
    const bool is_add = insn->op == A64_SQADD_V || insn->op == A64_UQADD_V;
    const bool is_unsigned = insn->op == A64_UQADD_V || insn->op == A64_UQSUB_V;
    if (size > H || jit_is_scalar(insn))
        return false;
    const unsigned *ops = is_unsigned ? is_add ? uadds : usubs : is_add ? sadds : ssubs;
    unsigned n = jit_v_low(t, insn->rn, bytes, 0), m = jit_v_low(t, insn->rm, bytes, 1);
    unsigned reg = jit_v_new(t);
    op3(t, ops[size], reg, n, m);
    op3(t, is_add ? adds[size] : subs[size], 2, n, m);
    op3(t, X64_VPCMPEQB, 2, 2, reg);
    jit_v_saturated_unless(t, 2);
    jit_v_finish(t, insn, reg);
    return true;
}

/* ---- One source ---- */

bool jit_simd_one(struct jit_translator *t, const struct a64_insn *insn)
{
    static const unsigned absolutes[] = {X64_VPABSB, X64_VPABSW, X64_VPABSD};
    const unsigned size = size_of(insn);
    if (insn->op == A64_ABS_V && size == D)
        return false;
    unsigned n = jit_v(t, insn->rn), reg = jit_v_new(t);
    if (insn->op == A64_ABS_V) {
        x64_v2(&t->code, absolutes[size], reg, x64_r(n));
    } else if (insn->op == A64_NEG_V) {
        zero(t, 2);
        op3(t, subs[size], reg, 2, n);
    } else { /* NOT */
        ones(t, 2);
        op3(t, X64_VPXOR, reg, n, 2);
    }
    jit_v_finish(t, insn, reg);
    return true;
}

bool jit_simd_compare_zero(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = size_of(insn);
    unsigned n = jit_v(t, insn->rn), reg = jit_v_new(t);
    zero(t, 2);
    switch (insn->op) {
    case A64_CMEQ_Z: op3(t, equals[size], reg, n, 2); break;
    case A64_CMGT_Z: op3(t, greaters[size], reg, n, 2); break;
    case A64_CMLT_Z: op3(t, greaters[size], reg, 2, n); break;
    case A64_CMGE_Z:
        op3(t, greaters[size], reg, 2, n);
        invert(t, reg);
        break;
    default: /* CMLE */
        op3(t, greaters[size], reg, n, 2);
        invert(t, reg);
        break;
    }
    jit_v_finish(t, insn, reg);
    return true;
}

/* CNT: the bits of each nibble by table */
bool jit_simd_cnt(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned n = jit_v(t, insn->rn), reg = jit_v_new(t);
    x64_v3(&t->code, X64_VPAND, 0, n, jit_constant(t, JIT_NIBBLES));
    x64_v_shift(&t->code, X64_VPSRLW_IMM, 1, n, 4);
    x64_v3(&t->code, X64_VPAND, 1, 1, jit_constant(t, JIT_NIBBLES));
    x64_v2(&t->code, X64_VMOVDQA_LOAD, 2, jit_constant(t, JIT_BIT_COUNTS));
    op3(t, X64_VPSHUFB, 0, 2, 0);
    op3(t, X64_VPSHUFB, 1, 2, 1);
    op3(t, X64_VPADDB, reg, 0, 1);
    jit_v_finish(t, insn, reg);
    return true;
}
