/* SPDX-License-Identifier: MIT */
/* Advanced SIMD: permutations, reversals, table lookups (Arm ARM C4.1.96). */
#include "engine/jit/a64/a64.h"

enum { B, H, S, D };

static void op3(struct jit_translator *t, unsigned op, unsigned d, unsigned a, unsigned b)
{
    x64_v3(&t->code, op, d, a, x64_r(b));
}

/* XMM0 = the lower halves of n and m, which 64-bit permutations take their lanes from. */
static unsigned both_halves(struct jit_translator *t, unsigned n, unsigned m)
{
    op3(t, X64_VPUNPCKLQDQ, 0, n, m);
    return 0;
}

/* ---- Even or odd lanes ---- */

void jit_v_unzip(struct jit_translator *t, unsigned size, unsigned d, unsigned n, unsigned m,
                 unsigned part)
{
    if (size >= S) {
        if (size == S)
            x64_v3_imm(&t->code, X64_VSHUFPS, d, n, x64_r(m), part ? 0xdd : 0x88);
        else
            op3(t, part ? X64_VPUNPCKHQDQ : X64_VPUNPCKLQDQ, d, n, m);
        return;
    }
    /* In lanes twice as wide with the other one's place empty, packing does not saturate. */
    const unsigned right = size == B ? X64_VPSRLW_IMM : X64_VPSRLD_IMM;
    const unsigned sources[] = {n, m};
    for (unsigned i = 0; i < 2; i++) {
        if (part)
            x64_v_shift(&t->code, right, 2 + i, sources[i], 8u << size);
        else
            x64_v3(&t->code, X64_VPAND, 2 + i, sources[i],
                   jit_constant(t, size == B ? JIT_EVEN_B : JIT_EVEN_H));
    }
    op3(t, size == B ? X64_VPACKUSWB : X64_VPACKUSDW, d, 2, 3);
}

bool jit_simd_unzip(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned n = jit_v(t, insn->rn), m = jit_v(t, insn->rm), reg = jit_v_new(t);
    if (jit_q_bytes(insn) == 8)
        n = m = both_halves(t, n, m);
    jit_v_unzip(t, insn->word >> 22 & 3, reg, n, m, insn->op == A64_UZP2);
    jit_v_finish(t, insn, reg);
    return true;
}

/* ---- Interleaved ---- */

void jit_v_zip(struct jit_translator *t, unsigned size, unsigned d, unsigned n, unsigned m,
               unsigned part)
{
    static const unsigned ops[2][4] = {
        {X64_VPUNPCKLBW, X64_VPUNPCKLWD, X64_VPUNPCKLDQ, X64_VPUNPCKLQDQ},
        {X64_VPUNPCKHBW, X64_VPUNPCKHWD, X64_VPUNPCKHDQ, X64_VPUNPCKHQDQ},
    };
    op3(t, ops[part][size], d, n, m);
}

bool jit_simd_zip(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = insn->word >> 22 & 3, part = insn->op == A64_ZIP2;
    unsigned n = jit_v(t, insn->rn), m = jit_v(t, insn->rm), reg = jit_v_new(t);
    if (jit_q_bytes(insn) == 16) {
        jit_v_zip(t, size, reg, n, m, part);
    } else { /* both results of the lower halves are in one register */
        jit_v_zip(t, size, reg, n, m, 0);
        if (part)
            x64_v_shift(&t->code, X64_VPSRLDQ, reg, reg, 8);
    }
    jit_v_finish(t, insn, reg);
    return true;
}

/* TRN1, TRN2: in pairs of lanes, one of them moves to the other's place. */
bool jit_simd_transpose(struct jit_translator *t, const struct a64_insn *insn)
{
    static const unsigned left[] = {X64_VPSLLW_IMM, X64_VPSLLD_IMM, X64_VPSLLQ_IMM};
    static const unsigned right[] = {X64_VPSRLW_IMM, X64_VPSRLD_IMM, X64_VPSRLQ_IMM};
    const unsigned size = insn->word >> 22 & 3, part = insn->op == A64_TRN2, bits = 8u << size;
    unsigned n = jit_v(t, insn->rn), m = jit_v(t, insn->rm), reg = jit_v_new(t);
    if (size == D) {
        jit_v_zip(t, D, reg, n, m, part);
        jit_v_wrote(t, insn->rd, reg, 16);
        return true;
    }
    if (part) {
        x64_v_shift(&t->code, right[size], 2, n, bits);
        n = 2;
    } else {
        x64_v_shift(&t->code, left[size], 2, m, bits);
        m = 2;
    }
    if (size == S) {
        x64_v3_imm(&t->code, X64_VPBLENDD, reg, n, x64_r(m), 0x0a);
    } else if (size == H) {
        x64_v3_imm(&t->code, X64_VPBLENDW, reg, n, x64_r(m), 0xaa);
    } else {
        jit_v_splat(t, 3, H, 0xff00);
        x64_v_blend(&t->code, X64_VPBLENDVB, reg, n, x64_r(m), 3);
    }
    jit_v_finish(t, insn, reg);
    return true;
}

bool jit_simd_ext(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned from = insn->word >> 11 & 15;
    unsigned n = jit_v(t, insn->rn), m = jit_v(t, insn->rm), reg = jit_v_new(t);
    if (jit_q_bytes(insn) == 16)
        x64_v3_imm(&t->code, X64_VPALIGNR, reg, m, x64_r(n), from);
    else
        x64_v_shift(&t->code, X64_VPSRLDQ, reg, both_halves(t, n, m), from);
    jit_v_finish(t, insn, reg);
    return true;
}

/* ---- Reversals ---- */

bool jit_simd_rev(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = insn->word >> 22 & 3;
    unsigned n = jit_v(t, insn->rn), reg = jit_v_new(t);
    if (size == B) {
        const enum jit_constant order = insn->op == A64_REV64_V   ? JIT_REV64_B
                                        : insn->op == A64_REV32_V ? JIT_REV32_B
                                                                  : JIT_REV16_B;
        x64_v3(&t->code, X64_VPSHUFB, reg, n, jit_constant(t, order));
    } else if (size == H) {
        const unsigned order = insn->op == A64_REV64_V ? 0x1b : 0xb1;
        x64_v2_imm(&t->code, X64_VPSHUFLW, reg, x64_r(n), order);
        x64_v2_imm(&t->code, X64_VPSHUFHW, reg, x64_r(reg), order);
    } else {
        x64_v2_imm(&t->code, X64_VPSHUFD, reg, x64_r(n), 0xb1);
    }
    jit_v_finish(t, insn, reg);
    return true;
}

/* RBIT: nibbles by table, and their places exchanged */
bool jit_simd_rbit(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned n = jit_v(t, insn->rn), reg = jit_v_new(t);
    x64_v3(&t->code, X64_VPAND, 0, n, jit_constant(t, JIT_NIBBLES));
    x64_v_shift(&t->code, X64_VPSRLW_IMM, 1, n, 4);
    x64_v3(&t->code, X64_VPAND, 1, 1, jit_constant(t, JIT_NIBBLES));
    x64_v2(&t->code, X64_VMOVDQA_LOAD, 2, jit_constant(t, JIT_NIBBLES_REVERSED));
    op3(t, X64_VPSHUFB, 0, 2, 0);
    op3(t, X64_VPSHUFB, 1, 2, 1);
    x64_v_shift(&t->code, X64_VPSLLW_IMM, 0, 0, 4); /* a nibble's upper half is zero */
    op3(t, X64_VPOR, reg, 0, 1);
    jit_v_finish(t, insn, reg);
    return true;
}

/* ---- Table lookup ---- */

/*
 * PSHUFB gives zero where the index has bit 7, and looks at bits 3:0 otherwise. Adding 0x70 with
 * saturation sets bit 7 of all indices from 16 up; each further register subtracts 16 before.
 */
bool jit_simd_tbl(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned registers = (insn->word >> 13 & 3) + 1;
    unsigned m = jit_v(t, insn->rm), old = jit_v(t, insn->rd);
    unsigned reg = jit_v_new(t);
    jit_v_splat(t, 2, B, 0x70);
    op3(t, X64_VPADDUSB, 1, m, 2);
    op3(t, X64_VPSHUFB, reg, jit_v(t, insn->rn), 1);
    if (registers > 1)
        x64_vmov(&t->code, 0, m);
    for (unsigned i = 1; i < registers; i++) {
        jit_v_splat(t, 3, B, 16);
        op3(t, X64_VPSUBB, 0, 0, 3);
        op3(t, X64_VPADDUSB, 1, 0, 2);
        op3(t, X64_VPSHUFB, 1, jit_v(t, (insn->rn + i) % 32), 1);
        op3(t, X64_VPOR, reg, reg, 1);
    }
    if (insn->op == A64_TBX) { /* the old lanes where the index is too great */
        jit_v_splat(t, 3, B, 16 * registers - 1);
        op3(t, X64_VPMINUB, 3, 3, m);
        op3(t, X64_VPCMPEQB, 3, 3, m);
        x64_v_blend(&t->code, X64_VPBLENDVB, reg, old, x64_r(reg), 3);
    }
    jit_v_finish(t, insn, reg);
    return true;
}
