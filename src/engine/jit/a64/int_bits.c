/* SPDX-License-Identifier: MIT */
/* Integer data processing: bit fields, shifts by registers, products, quotients, single sources. */
#include "engine/jit/a64/a64.h"

static unsigned width(const struct a64_insn *insn)
{
    return insn->word >> 31 ? 8 : 4;
}

static void done(struct jit_translator *t, unsigned rd, enum x64_reg from)
{
    jit_wrote(t, rd, from);
    jit_nzcv_lost(t);
}

/* ---- Bit fields ---- */

struct bitfield {
    unsigned r, s, bits; /* immr, imms, the register's width */
};

static struct bitfield bitfield(const struct a64_insn *insn)
{
    return (struct bitfield){insn->word >> 16 & 63, insn->word >> 10 & 63, width(insn) * 8};
}

static bool is_extension(const struct a64_insn *insn)
{
    const struct bitfield f = bitfield(insn);
    return f.r == 0 && (f.s == 7 || f.s == 15 || (f.s == 31 && f.bits == 64));
}

/* LSR, ASR, and UBFM that is LSL. */
static bool is_shift(const struct a64_insn *insn)
{
    const struct bitfield f = bitfield(insn);
    return f.s == f.bits - 1 || (insn->op == A64_UBFM && f.s + 1 == f.r);
}

bool jit_bfm_keeps_flags(const struct a64_insn *insn)
{
    return is_extension(insn) || is_shift(insn);
}

/* A shift that changes no host flags, as they are NZCV. */
static bool shift_beside_flags(struct jit_translator *t, const struct a64_insn *insn)
{
    const struct bitfield f = bitfield(insn);
    enum x64_reg to = jit_target(insn->rd, X64_RAX);
    if (t->nzcv == JIT_NZCV_MEMORY || !t->nzcv_live[t->index] || !is_shift(insn))
        return false;
    if (f.s + 1 == f.r) {
        x64_mov_imm(&t->code, X64_RCX, f.bits - f.r);
        x64_shlx(&t->code, width(insn), to, jit_rm(insn->rn), X64_RCX);
    } else {
        x64_mov_imm(&t->code, X64_RCX, f.r);
        if (insn->op == A64_SBFM)
            x64_sarx(&t->code, width(insn), to, jit_rm(insn->rn), X64_RCX);
        else
            x64_shrx(&t->code, width(insn), to, jit_rm(insn->rn), X64_RCX);
    }
    jit_wrote(t, insn->rd, to);
    return true;
}

/* UBFM and SBFM: two shifts in general, one or an extension in the usual cases. */
bool jit_bfm_extract(struct jit_translator *t, const struct a64_insn *insn)
{
    const struct bitfield f = bitfield(insn);
    const unsigned size = width(insn);
    const bool sign = insn->op == A64_SBFM;
    const enum x64_shift right = sign ? X64_SAR : X64_SHR;
    enum x64_reg to = jit_target(insn->rd, X64_RAX);
    struct x64_rm from = jit_rm(insn->rn);

    if (is_extension(insn)) {
        unsigned bytes = (f.s + 1) / 8;
        if (sign)
            x64_movsx(&t->code, size, bytes, to, from);
        else if (bytes == 4)
            x64_mov(&t->code, 4, to, from);
        else
            x64_movzx(&t->code, bytes, to, from);
        jit_wrote(t, insn->rd, to);
        return true;
    }
    if (shift_beside_flags(t, insn))
        return true;
    x64_mov(&t->code, size, to, from);
    if (f.s >= f.r) {
        unsigned left = f.bits - 1 - f.s;
        if (!sign && f.s - f.r < 31 && left) {
            /* Extract: shift down and mask. */
            if (f.r)
                x64_shift_imm(&t->code, X64_SHR, size, x64_r(to), f.r);
            x64_alu_imm(&t->code, X64_AND, 4, x64_r(to), (int32_t)((1u << (f.s - f.r + 1)) - 1));
        } else {
            if (left)
                x64_shift_imm(&t->code, X64_SHL, size, x64_r(to), left);
            if (left + f.r)
                x64_shift_imm(&t->code, right, size, x64_r(to), left + f.r);
        }
    } else {
        /* Insert s + 1 bits at bits - r. */
        unsigned left = f.bits - 1 - f.s, down = f.r - f.s - 1;
        if (left)
            x64_shift_imm(&t->code, X64_SHL, size, x64_r(to), left);
        if (down)
            x64_shift_imm(&t->code, right, size, x64_r(to), down);
    }
    done(t, insn->rd, to);
    return true;
}

bool jit_bfm(struct jit_translator *t, const struct a64_insn *insn)
{
    const struct bitfield f = bitfield(insn);
    const unsigned size = width(insn);
    unsigned bits = f.s >= f.r ? f.s - f.r + 1 : f.s + 1;
    unsigned at = f.s >= f.r ? 0 : f.bits - f.r;
    uint64_t mask = (~UINT64_C(0) >> (64 - bits)) << at;
    enum x64_reg to = jit_target(insn->rd, X64_RDX);

    /* The field in its place, in RAX. */
    jit_read_to(t, size, X64_RAX, insn->rn);
    if (f.s >= f.r && f.r)
        x64_shift_imm(&t->code, X64_SHR, size, x64_r(X64_RAX), f.r);
    else if (at)
        x64_shift_imm(&t->code, X64_SHL, size, x64_r(X64_RAX), at);
    x64_mov_imm(&t->code, X64_RCX, size == 8 ? mask : (uint32_t)mask);
    x64_alu(&t->code, X64_AND, size, X64_RAX, x64_r(X64_RCX));
    if (insn->rd != 31) {
        x64_andn(&t->code, size, to, X64_RCX, jit_rm(insn->rd));
        x64_alu(&t->code, X64_OR, size, to, x64_r(X64_RAX));
    }
    done(t, insn->rd, to);
    return true;
}

bool jit_extr(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned size = width(insn);
    jit_read_to(t, size, X64_RAX, insn->rm);
    if (insn->rn == insn->rm) {
        if (insn->imm)
            x64_shift_imm(&t->code, X64_ROR, size, x64_r(X64_RAX), (unsigned)insn->imm);
    } else if (insn->imm) {
        enum x64_reg high = jit_read(t, insn->rn, X64_RCX);
        x64_shrd_imm(&t->code, size, x64_r(X64_RAX), high, (unsigned)insn->imm);
    }
    done(t, insn->rd, X64_RAX);
    return true;
}

/* ---- Shifts by a register ---- */

bool jit_shift_reg(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned size = width(insn);
    enum x64_reg to = jit_target(insn->rd, X64_RAX);
    if (insn->op == A64_RORV) {
        jit_read_to(t, size, X64_RAX, insn->rn);
        jit_read_to(t, 4, X64_RCX, insn->rm);
        x64_shift_cl(&t->code, X64_ROR, size, x64_r(X64_RAX));
        /* A 32-bit rotation by zero would leave the upper half as it is: it is clear already. */
        done(t, insn->rd, X64_RAX);
        return true;
    }
    enum x64_reg by = jit_read(t, insn->rm, X64_RCX);
    struct x64_rm from = jit_rm(insn->rn);
    switch (insn->op) {
    case A64_LSLV: x64_shlx(&t->code, size, to, from, by); break;
    case A64_LSRV: x64_shrx(&t->code, size, to, from, by); break;
    default: x64_sarx(&t->code, size, to, from, by); break;
    }
    jit_wrote(t, insn->rd, to);
    return true;
}

/* ---- Products ---- */

/* RAX (product) becomes ra + or - it. */
static void accumulate(struct jit_translator *t, const struct a64_insn *insn, unsigned size)
{
    bool subtract = insn->word >> 15 & 1;
    if (subtract)
        x64_unary(&t->code, X64_NEG, size, x64_r(X64_RAX));
    if (insn->ra != 31)
        x64_alu(&t->code, X64_ADD, size, X64_RAX, jit_rm(insn->ra));
    done(t, insn->rd, X64_RAX);
}

bool jit_madd(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned size = width(insn);
    jit_read_to(t, size, X64_RAX, insn->rn);
    x64_imul(&t->code, size, X64_RAX, jit_rm(insn->rm));
    accumulate(t, insn, size);
    return true;
}

/* SMADDL, SMSUBL, UMADDL, UMSUBL */
bool jit_maddl(struct jit_translator *t, const struct a64_insn *insn)
{
    if (insn->word >> 23 & 1) {
        x64_mov(&t->code, 4, X64_RAX, jit_rm(insn->rn));
        x64_mov(&t->code, 4, X64_RCX, jit_rm(insn->rm));
    } else {
        x64_movsx(&t->code, 8, 4, X64_RAX, jit_rm(insn->rn));
        x64_movsx(&t->code, 8, 4, X64_RCX, jit_rm(insn->rm));
    }
    x64_imul(&t->code, 8, X64_RAX, x64_r(X64_RCX));
    accumulate(t, insn, 8);
    return true;
}

bool jit_mulh(struct jit_translator *t, const struct a64_insn *insn)
{
    bool is_signed = insn->op == A64_SMULH;
    x64_mov(&t->code, 8, X64_RAX, jit_rm(insn->rn));
    x64_unary(&t->code, is_signed ? X64_IMUL : X64_MUL, 8, jit_rm(insn->rm));
    done(t, insn->rd, X64_RDX);
    return true;
}

/* ---- Quotients: x/0 is 0, and the most negative number by -1 is itself ---- */

bool jit_div(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = width(insn);
    const bool is_signed = insn->op == A64_SDIV;
    struct x64_label end = X64_LABEL;

    jit_read_to(t, size, X64_RCX, insn->rm);
    x64_mov_imm(&t->code, X64_RAX, 0);
    x64_test(&t->code, size, x64_r(X64_RCX), X64_RCX);
    x64_jcc_near(&t->code, X64_E, &end);
    jit_read_to(t, size, X64_RAX, insn->rn);
    if (is_signed) {
        struct x64_label usual = X64_LABEL;
        x64_alu_imm(&t->code, X64_CMP, size, x64_r(X64_RCX), -1);
        x64_jcc_near(&t->code, X64_NE, &usual);
        x64_unary(&t->code, X64_NEG, size, x64_r(X64_RAX));
        x64_jmp_near(&t->code, &end);
        x64_bind(&t->code, &usual);
        x64_cdq(&t->code, size);
    } else {
        x64_mov_imm(&t->code, X64_RDX, 0);
    }
    x64_unary(&t->code, is_signed ? X64_IDIV : X64_DIV, size, x64_r(X64_RCX));
    x64_bind(&t->code, &end);
    done(t, insn->rd, X64_RAX);
    return true;
}

/* ---- One source ---- */

bool jit_clz(struct jit_translator *t, const struct a64_insn *insn)
{
    enum x64_reg to = jit_target(insn->rd, X64_RAX);
    x64_lzcnt(&t->code, width(insn), to, jit_rm(insn->rn));
    done(t, insn->rd, to);
    return true;
}

/* CLS counts how many bits below the sign equal it. */
bool jit_cls(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned size = width(insn);
    jit_read_to(t, size, X64_RAX, insn->rn);
    x64_mov(&t->code, size, X64_RCX, x64_r(X64_RAX));
    x64_shift_imm(&t->code, X64_SAR, size, x64_r(X64_RAX), 1);
    x64_alu(&t->code, X64_XOR, size, X64_RAX, x64_r(X64_RCX));
    x64_lzcnt(&t->code, size, X64_RAX, x64_r(X64_RAX));
    x64_alu_imm(&t->code, X64_SUB, 4, x64_r(X64_RAX), 1);
    done(t, insn->rd, X64_RAX);
    return true;
}

/* REV of the whole register, and REV32 of a 64-bit one's halves */
bool jit_rev(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned size = width(insn);
    enum x64_reg to = jit_target(insn->rd, X64_RAX);
    jit_read_to(t, size, to, insn->rn);
    x64_bswap(&t->code, size, to);
    if (insn->op == A64_REV32 && size == 8)
        x64_rorx(&t->code, 8, to, x64_r(to), 32);
    jit_wrote(t, insn->rd, to);
    return true;
}

static void swap_step(struct jit_translator *t, unsigned size, unsigned by, uint64_t mask)
{
    uint64_t m = size == 8 ? mask : (uint32_t)mask;
    x64_mov_imm(&t->code, X64_RDX, m);
    x64_mov(&t->code, size, X64_RCX, x64_r(X64_RAX));
    x64_shift_imm(&t->code, X64_SHR, size, x64_r(X64_RCX), by);
    x64_alu(&t->code, X64_AND, size, X64_RCX, x64_r(X64_RDX));
    x64_alu(&t->code, X64_AND, size, X64_RAX, x64_r(X64_RDX));
    x64_shift_imm(&t->code, X64_SHL, size, x64_r(X64_RAX), by);
    x64_alu(&t->code, X64_OR, size, X64_RAX, x64_r(X64_RCX));
}

bool jit_rev16(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned size = width(insn);
    jit_read_to(t, size, X64_RAX, insn->rn);
    swap_step(t, size, 8, UINT64_C(0x00ff00ff00ff00ff));
    done(t, insn->rd, X64_RAX);
    return true;
}

bool jit_rbit(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned size = width(insn);
    jit_read_to(t, size, X64_RAX, insn->rn);
    x64_bswap(&t->code, size, X64_RAX);
    swap_step(t, size, 4, UINT64_C(0x0f0f0f0f0f0f0f0f));
    swap_step(t, size, 2, UINT64_C(0x3333333333333333));
    swap_step(t, size, 1, UINT64_C(0x5555555555555555));
    done(t, insn->rd, X64_RAX);
    return true;
}
