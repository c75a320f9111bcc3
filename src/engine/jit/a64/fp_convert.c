/* SPDX-License-Identifier: MIT */
/*
 * Conversions between floating-point formats and integers. Where a value does not fit, x86 gives
 * the most negative integer and raises Invalid, as Arm does too: that result sends the instruction
 * to its handler, which knows the right one.
 */
#include "engine/jit/a64/a64.h"

/* ---- Between formats. NaNs keep their upper bits on both. ---- */

static bool default_mode(const struct jit_translator *t)
{
    return !(t->mode & JIT_FPCR);
}

bool jit_fcvt(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned from = insn->word >> 22 & 3, to = insn->word >> 15 & 3;
    if (from > 1 || to > 1 || !default_mode(t))
        return false;
    unsigned n = jit_v(t, insn->rn), reg = jit_v_new(t);
    x64_v3(&t->code, to ? X64_VCVTSS2SD : X64_VCVTSD2SS, reg, n, x64_r(n));
    if (!to) {
        /* Rounded to the least normal number; see fp_arith.c. */
        x64_v2_store(&t->code, X64_VMOVD_TO, x64_r(X64_RAX), reg);
        x64_alu(&t->code, X64_ADD, 4, X64_RAX, x64_r(X64_RAX));
        x64_alu_imm(&t->code, X64_CMP, 4, x64_r(X64_RAX), 0x01000000);
        jit_nzcv_lost(t);
        jit_slow(t, X64_E);
    }
    jit_v_cut(t, reg, reg, to ? 8 : 4);
    jit_v_wrote(t, insn->rd, reg, to ? 8 : 4);
    return true;
}

/* FCVTL and FCVTL2: singles to doubles */
bool jit_fcvtl(struct jit_translator *t, const struct a64_insn *insn)
{
    if (!(insn->word >> 22 & 1) || !default_mode(t))
        return false;
    unsigned n = jit_v(t, insn->rn), reg = jit_v_new(t);
    if (insn->word >> 30 & 1) {
        x64_v3(&t->code, X64_VMOVHLPS, 0, n, x64_r(n));
        n = 0;
    }
    x64_v2(&t->code, X64_VCVTPS2PD, reg, x64_r(n));
    jit_v_wrote(t, insn->rd, reg, 16);
    return true;
}

/* FCVTN and FCVTN2: doubles to singles, into the lower half or the upper one */
bool jit_fcvtn(struct jit_translator *t, const struct a64_insn *insn)
{
    if (!(insn->word >> 22 & 1) || !default_mode(t))
        return false;
    unsigned n = jit_v(t, insn->rn), reg = jit_v_new(t);
    x64_v2(&t->code, X64_VCVTPD2PS, reg, x64_r(n));
    x64_v3(&t->code, X64_VPADDD, 0, reg, x64_r(reg));
    x64_v3(&t->code, X64_VPCMPEQD, 0, 0, jit_constant(t, JIT_LEAST_S));
    x64_v2(&t->code, X64_VPTEST, 0, x64_r(0));
    jit_nzcv_lost(t);
    jit_slow(t, X64_NE);
    if (insn->word >> 30 & 1)
        x64_v3(&t->code, X64_VMOVLHPS, reg, jit_v(t, insn->rd), x64_r(reg));
    jit_v_wrote(t, insn->rd, reg, jit_q_bytes(insn));
    return true;
}

/* ---- From integers ---- */

/* The low lane of `reg` = the general register `from`, which has `size` bytes; zero above. */
static void from_integer(struct jit_translator *t, unsigned reg, bool to_double, unsigned size,
                         enum x64_reg from)
{
    static const unsigned ops[2][2] = {{X64_VCVTSI2SS_D, X64_VCVTSI2SS_Q},
                                       {X64_VCVTSI2SD_D, X64_VCVTSI2SD_Q}};
    x64_v3(&t->code, X64_VPXOR, reg, reg, x64_r(reg));
    x64_v3(&t->code, ops[to_double][size == 8], reg, reg, x64_r(from));
}

/* A word that is unsigned fits a signed doubleword; a doubleword's top bit is the handler's. */
static void check_unsigned(struct jit_translator *t, enum x64_reg from)
{
    x64_test(&t->code, 8, x64_r(from), from);
    jit_nzcv_lost(t);
    jit_slow(t, X64_S);
}

bool jit_cvtf_int(struct jit_translator *t, const struct a64_insn *insn)
{
    const bool is_unsigned = insn->op == A64_UCVTF_INT;
    unsigned size = insn->word >> 31 ? 8 : 4;
    struct jit_fp_shape s;
    if (!jit_fp_shape(t, insn, &s))
        return false;
    enum x64_reg from = jit_read(t, insn->rn, X64_RAX);
    if (is_unsigned && size == 8) {
        check_unsigned(t, from);
    } else if (is_unsigned) {
        x64_mov(&t->code, 4, X64_RAX, x64_r(from));
        from = X64_RAX;
        size = 8;
    }
    unsigned reg = jit_v_new(t);
    from_integer(t, reg, jit_fp_is_double(s), size, from);
    jit_v_wrote(t, insn->rd, reg, s.bytes);
    return true;
}

/* Both halves of a word are exact as singles, and so is the upper one's place: one sum rounds. */
static void unsigned_words(struct jit_translator *t, unsigned reg, unsigned n)
{
    x64_v_shift(&t->code, X64_VPSRLD_IMM, 1, n, 16);
    x64_v3_imm(&t->code, X64_VPBLENDW, 2, n, x64_r(1), 0xaa); /* upper halves: 0 */
    x64_v2(&t->code, X64_VCVTDQ2PS, 1, x64_r(1));
    x64_v2(&t->code, X64_VCVTDQ2PS, reg, x64_r(2));
    jit_v_splat(t, 2, 2, 0x47800000); /* 65536.0 */
    x64_v3(&t->code, X64_VFMADD231PS, reg, 1, x64_r(2));
}

bool jit_cvtf_v(struct jit_translator *t, const struct a64_insn *insn)
{
    const bool is_unsigned = insn->op == A64_UCVTF_V;
    struct jit_fp_shape s;
    if (!jit_fp_shape(t, insn, &s))
        return false;
    const bool is_double = jit_fp_is_double(s);
    if (is_unsigned && is_double && !jit_fp_is_scalar(s))
        return false;
    unsigned reg = jit_v_new(t);
    if (!jit_fp_is_scalar(s) && !is_double) {
        unsigned n = jit_fp_source(t, s, insn->rn, 0);
        if (is_unsigned)
            unsigned_words(t, reg, n);
        else
            x64_v2(&t->code, X64_VCVTDQ2PS, reg, x64_r(n));
        jit_v_wrote(t, insn->rd, reg, s.bytes);
        return true;
    }
    jit_v_to_general(t, X64_RAX, is_double ? 8 : 4, insn->rn);
    if (is_unsigned && is_double)
        check_unsigned(t, X64_RAX);
    from_integer(t, reg, is_double, is_double || is_unsigned ? 8 : 4, X64_RAX);
    if (!jit_fp_is_scalar(s)) {
        x64_mov(&t->code, 8, X64_RAX, jit_v_part(t, insn->rn, 8));
        from_integer(t, 0, true, 8, X64_RAX);
        x64_v3(&t->code, X64_VMOVLHPS, reg, reg, x64_r(0));
    }
    jit_v_wrote(t, insn->rd, reg, s.bytes);
    return true;
}

/* ---- To integers ---- */

static const unsigned truncations[2][2] = {{X64_VCVTTSS2SI_D, X64_VCVTTSS2SI_Q},
                                           {X64_VCVTTSD2SI_D, X64_VCVTTSD2SI_Q}};

/* `to` = the low lane of `from` as a signed integer; to the handler when it does not fit. */
static void to_signed(struct jit_translator *t, enum x64_reg to, unsigned size, unsigned from,
                      bool is_double)
{
    x64_v2(&t->code, truncations[is_double][size == 8], to, x64_r(from));
    x64_alu_imm(&t->code, X64_CMP, size, x64_r(to), 1); /* overflows for the least only */
    jit_nzcv_lost(t);
    jit_slow(t, X64_O);
}

/*
 * FCVTZS, FCVTNS, FCVTMS, FCVTPS to general registers. A value is rounded silently first, because
 * Inexact is not due when it does not fit; if it did, it is rounded again for the exception.
 */
bool jit_fcvts_int(struct jit_translator *t, const struct a64_insn *insn)
{
    enum { NEAREST, DOWN, UP, SILENT = 8 };
    const unsigned size = insn->word >> 31 ? 8 : 4;
    const unsigned how = insn->op == A64_FCVTMS_INT   ? DOWN
                         : insn->op == A64_FCVTPS_INT ? UP
                                                      : NEAREST;
    struct jit_fp_shape s;
    if (!jit_fp_shape(t, insn, &s))
        return false;
    const bool is_double = jit_fp_is_double(s), truncate = insn->op == A64_FCVTZS_INT;
    const unsigned round = is_double ? X64_VROUNDSD : X64_VROUNDSS;
    unsigned n = jit_v(t, insn->rn), from = n;
    if (!truncate) {
        x64_v3_imm(&t->code, round, 0, n, x64_r(n), how | SILENT);
        from = 0;
    }
    to_signed(t, X64_RAX, size, from, is_double);
    if (!truncate)
        x64_v3_imm(&t->code, round, 0, n, x64_r(n), how);
    jit_wrote(t, insn->rd, X64_RAX);
    return true;
}

/* FCVTAS to general registers: as above, by what rounds halves away from zero */
bool jit_fcvtas_int(struct jit_translator *t, const struct a64_insn *insn)
{
    enum { NEAREST };
    struct jit_fp_shape s;
    if (!jit_fp_shape(t, insn, &s))
        return false;
    const bool is_double = jit_fp_is_double(s);
    unsigned n = jit_v_low(t, insn->rn, s.bytes, 0);
    jit_fp_away(t, s, 1, n);
    to_signed(t, X64_RAX, insn->word >> 31 ? 8 : 4, 1, is_double);
    x64_v3_imm(&t->code, is_double ? X64_VROUNDSD : X64_VROUNDSS, 1, n, x64_r(n), NEAREST);
    jit_wrote(t, insn->rd, X64_RAX);
    return true;
}

/*
 * FCVTZU to general registers: values in range, +0 included, have encodings below that of 2^32 or
 * 2^63 as integers, and fit a signed doubleword. All others are the handler's.
 */
bool jit_fcvtzu_int(struct jit_translator *t, const struct a64_insn *insn)
{
    static const uint32_t limits[2][2] = {{0x4f800000, 0x5f000000}, {0x41f00000, 0x43e00000}};
    struct jit_fp_shape s;
    if (!jit_fp_shape(t, insn, &s))
        return false;
    const bool is_double = jit_fp_is_double(s);
    unsigned n = jit_v(t, insn->rn);
    x64_mov(&t->code, 4, X64_RAX, jit_v_part(t, insn->rn, is_double ? 4 : 0));
    x64_alu_imm(&t->code, X64_CMP, 4, x64_r(X64_RAX), (int32_t)limits[is_double][insn->word >> 31]);
    jit_nzcv_lost(t);
    jit_slow(t, X64_AE);
    x64_v2(&t->code, truncations[is_double][1], X64_RAX, x64_r(n));
    jit_wrote(t, insn->rd, X64_RAX);
    return true;
}

/* FCVTZS (vector): a scalar lane, or lanes of words */
bool jit_fcvtzs_v(struct jit_translator *t, const struct a64_insn *insn)
{
    struct jit_fp_shape s;
    if (!jit_fp_shape(t, insn, &s))
        return false;
    const bool is_double = jit_fp_is_double(s);
    if (jit_fp_is_scalar(s)) {
        unsigned n = jit_v(t, insn->rn), reg = jit_v_new(t);
        to_signed(t, X64_RAX, is_double ? 8 : 4, n, is_double);
        x64_v2(&t->code, is_double ? X64_VMOVQ_FROM : X64_VMOVD_FROM, reg, x64_r(X64_RAX));
        jit_v_wrote(t, insn->rd, reg, s.bytes);
        return true;
    }
    if (is_double)
        return false;
    unsigned n = jit_fp_source(t, s, insn->rn, 0), reg = jit_v_new(t);
    x64_v2(&t->code, X64_VCVTTPS2DQ, reg, x64_r(n));
    x64_v3(&t->code, X64_VPCMPEQD, 1, reg, jit_constant(t, JIT_SIGN_S));
    x64_v2(&t->code, X64_VPTEST, 1, x64_r(1));
    jit_nzcv_lost(t);
    jit_slow(t, X64_NE);
    jit_v_wrote(t, insn->rd, reg, s.bytes);
    return true;
}

/* FCVTZU (vector) of words: those below 2^31 are signed ones as well; others are the handler's. */
bool jit_fcvtzu_v(struct jit_translator *t, const struct a64_insn *insn)
{
    struct jit_fp_shape s;
    if (!jit_fp_shape(t, insn, &s) || jit_fp_is_scalar(s) || jit_fp_is_double(s))
        return false;
    unsigned n = jit_fp_source(t, s, insn->rn, 0), reg = jit_v_new(t);
    x64_v3(&t->code, X64_VPMINUD, 1, n, jit_constant(t, JIT_FITS_S));
    x64_v3(&t->code, X64_VPXOR, 1, 1, x64_r(n));
    x64_v2(&t->code, X64_VPTEST, 1, x64_r(1));
    jit_nzcv_lost(t);
    jit_slow(t, X64_NE);
    x64_v2(&t->code, X64_VCVTTPS2DQ, reg, x64_r(n));
    jit_v_wrote(t, insn->rd, reg, s.bytes);
    return true;
}
