/* SPDX-License-Identifier: MIT */
/*
 * Integer data processing that is arithmetic or logic: immediates, shifted and extended registers,
 * carries, conditional selection and comparison. int_bits.c has the rest.
 *
 * The usual shape is: the first operand goes to the destination's own register where the second is
 * not there, else to RAX; then one operation with the second operand.
 */
#include "engine/jit/a64/a64.h"

static unsigned width(const struct a64_insn *insn)
{
    return insn->word >> 31 ? 8 : 4;
}

static void wrote(struct jit_translator *t, unsigned n, enum x64_reg from, enum jit_nzcv form,
                  bool flags)
{
    jit_wrote(t, n, from); /* moves change no flags */
    if (flags)
        jit_nzcv_set(t, form);
    else
        jit_nzcv_lost(t);
}

/* ---- Immediates ---- */

bool jit_adr(struct jit_translator *t, const struct a64_insn *insn)
{
    int64_t delta = insn->imm + (insn->op == A64_ADR ? insn->at : 0);
    enum x64_reg to = jit_target(insn->rd, X64_RAX);
    jit_address_of(t, to, delta);
    jit_wrote(t, insn->rd, to);
    return true;
}

bool jit_mov_imm(struct jit_translator *t, const struct a64_insn *insn)
{
    uint64_t value = (uint64_t)insn->imm;
    if (insn->op == A64_MOVN)
        value = width(insn) == 8 ? ~value : (uint32_t)~value;
    enum x64_reg to = jit_target(insn->rd, X64_RAX);
    x64_mov_imm(&t->code, to, value);
    jit_wrote(t, insn->rd, to);
    return true;
}

bool jit_movk(struct jit_translator *t, const struct a64_insn *insn)
{
    uint64_t keep = ~(UINT64_C(0xffff) << 16 * (insn->word >> 21 & 3));
    enum x64_reg to = jit_target(insn->rd, X64_RAX);
    unsigned size = width(insn);
    jit_read_to(t, size, to, insn->rd);
    if (size == 4 || keep >= UINT64_C(0xffffffff80000000)) {
        x64_alu_imm(&t->code, X64_AND, size, x64_r(to), (int32_t)keep);
    } else {
        x64_mov_imm(&t->code, X64_RCX, keep);
        x64_alu(&t->code, X64_AND, 8, to, x64_r(X64_RCX));
    }
    if (size == 4 || (uint64_t)insn->imm <= 0x7fffffff) {
        x64_alu_imm(&t->code, X64_OR, size, x64_r(to), (int32_t)insn->imm);
    } else {
        x64_mov_imm(&t->code, X64_RCX, (uint64_t)insn->imm);
        x64_alu(&t->code, X64_OR, 8, to, x64_r(X64_RCX));
    }
    wrote(t, insn->rd, to, JIT_NZCV_MEMORY, false);
    return true;
}

/* Without flags, addition is LEA. */
static void add_offset(struct jit_translator *t, unsigned rd, unsigned rn, unsigned size,
                       int32_t offset)
{
    enum x64_reg to = jit_target(rd, X64_RAX);
    enum x64_reg from = jit_read(t, rn, X64_RAX);
    bool aligned = t->sp_aligned && rd == JIT_SP && rn == JIT_SP && !(offset & 15) && size == 8;
    if (!offset)
        x64_mov(&t->code, size, to, x64_r(from));
    else
        x64_lea(&t->code, size, to, x64_m(from, offset));
    jit_wrote(t, rd, to);
    t->sp_aligned |= aligned;
}

bool jit_add_imm(struct jit_translator *t, const struct a64_insn *insn)
{
    int32_t imm = (int32_t)(insn->op == A64_SUB_IMM ? -insn->imm : insn->imm);
    add_offset(t, jit_sp(insn->rd), jit_sp(insn->rn), width(insn), imm);
    return true;
}

/* ADDS and SUBS; to ZR they are CMN and CMP. */
bool jit_adds_imm(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned size = width(insn), rn = jit_sp(insn->rn);
    bool sub = insn->op == A64_SUBS_IMM;
    if (sub && insn->rd == 31) {
        x64_alu_imm(&t->code, X64_CMP, size, jit_rm(rn), (int32_t)insn->imm);
        jit_nzcv_set(t, JIT_NZCV_SUB);
        return true;
    }
    enum x64_reg to = jit_target(insn->rd, X64_RAX);
    jit_read_to(t, size, to, rn);
    x64_alu_imm(&t->code, sub ? X64_SUB : X64_ADD, size, x64_r(to), (int32_t)insn->imm);
    wrote(t, insn->rd, to, sub ? JIT_NZCV_SUB : JIT_NZCV_ADD, true);
    return true;
}

/* AND, ORR, EOR, ANDS with a bitmask */
bool jit_logic_imm(struct jit_translator *t, const struct a64_insn *insn)
{
    static const uint8_t ops[4] = {X64_AND, X64_OR, X64_XOR, X64_AND};
    unsigned opc = insn->word >> 29 & 3, size = width(insn);
    enum x64_alu op = (enum x64_alu)ops[opc];
    bool flags = opc == 3, fits = size == 4 || insn->imm == (int32_t)insn->imm;
    unsigned rd = flags ? insn->rd : jit_sp(insn->rd);

    if (opc == 1 && insn->rn == 31) { /* MOV */
        enum x64_reg to = jit_target(rd, X64_RAX);
        x64_mov_imm(&t->code, to, (uint64_t)insn->imm);
        jit_wrote(t, rd, to);
        return true;
    }
    if (!fits)
        x64_mov_imm(&t->code, X64_RCX, (uint64_t)insn->imm);
    if (flags && insn->rd == 31) { /* TST */
        if (fits)
            x64_test_imm(&t->code, size, jit_rm(insn->rn), (int32_t)insn->imm);
        else
            x64_test(&t->code, 8, jit_rm(insn->rn), X64_RCX);
        jit_nzcv_set(t, JIT_NZCV_ADD);
        return true;
    }
    enum x64_reg to = jit_target(rd, X64_RAX);
    jit_read_to(t, size, to, insn->rn);
    if (fits)
        x64_alu_imm(&t->code, op, size, x64_r(to), (int32_t)insn->imm);
    else
        x64_alu(&t->code, op, 8, to, x64_r(X64_RCX));
    wrote(t, rd, to, JIT_NZCV_ADD, flags);
    return true;
}

/* ---- Registers ---- */

static const uint8_t shifts[4] = {X64_SHL, X64_SHR, X64_SAR, X64_ROR};

/* The second operand: the register itself, or RCX with it shifted. */
static struct x64_rm shifted(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned kind = insn->word >> 22 & 3, size = width(insn);
    if (!insn->imm)
        return jit_rm(insn->rm);
    jit_read_to(t, size, X64_RCX, insn->rm);
    x64_shift_imm(&t->code, (enum x64_shift)shifts[kind], size, x64_r(X64_RCX),
                  (unsigned)insn->imm);
    return x64_r(X64_RCX);
}

/* The second operand extended and shifted, in RCX: UXTB..UXTX, SXTB..SXTX. */
static void extend_to_rcx(struct jit_translator *t, unsigned rm, unsigned option, unsigned shift)
{
    struct x64_rm from = jit_rm(rm);
    switch (option) {
    case 0: x64_movzx(&t->code, 1, X64_RCX, from); break;
    case 1: x64_movzx(&t->code, 2, X64_RCX, from); break;
    case 2: x64_mov(&t->code, 4, X64_RCX, from); break;
    case 4: x64_movsx(&t->code, 8, 1, X64_RCX, from); break;
    case 5: x64_movsx(&t->code, 8, 2, X64_RCX, from); break;
    case 6: x64_movsx(&t->code, 8, 4, X64_RCX, from); break;
    default: x64_mov(&t->code, 8, X64_RCX, from); break;
    }
    if (shift)
        x64_shift_imm(&t->code, X64_SHL, 8, x64_r(X64_RCX), shift);
}

void jit_extend(struct jit_translator *t, const struct a64_insn *insn, unsigned shift)
{
    extend_to_rcx(t, insn->rm, insn->word >> 13 & 7, shift);
}

static bool same(struct x64_rm m, enum x64_reg reg)
{
    return m.kind == X64_IS_REG && m.base == (uint8_t)reg;
}

/* rd = rn op m, where m may be in RCX. */
static void operate(struct jit_translator *t, enum x64_alu op, unsigned size, unsigned rd,
                    unsigned rn, struct x64_rm m, enum jit_nzcv form, bool flags)
{
    enum x64_reg to = jit_target(rd, X64_RAX);
    if (same(m, to))
        to = X64_RAX;
    jit_read_to(t, size, to, rn);
    x64_alu(&t->code, op, size, to, m);
    if (size == 4 && to == X64_RAX && jit_pin_of(rd) >= 0) {
        x64_mov(&t->code, 4, (enum x64_reg)jit_pin_of(rd), x64_r(to));
        if (rd == JIT_SP)
            t->sp_aligned = false;
        if (flags)
            jit_nzcv_set(t, form);
        else
            jit_nzcv_lost(t);
        return;
    }
    wrote(t, rd, to, form, flags);
}

bool jit_is_lea(const struct a64_insn *insn)
{
    return insn->op == A64_ADD_REG && !insn->imm && insn->rn != 31 && insn->rm != 31;
}

bool jit_add_reg(struct jit_translator *t, const struct a64_insn *insn)
{
    bool sub = insn->word >> 30 & 1, flags = insn->word >> 29 & 1;
    unsigned size = width(insn);
    if (jit_is_lea(insn)) {
        enum x64_reg to = jit_target(insn->rd, X64_RAX);
        enum x64_reg a = jit_read(t, insn->rn, X64_RAX), b = jit_read(t, insn->rm, X64_RCX);
        x64_lea(&t->code, size, to, x64_mx(a, b, 0, 0));
        jit_wrote(t, insn->rd, to);
        return true;
    }
    struct x64_rm m = shifted(t, insn);
    if (sub && flags && insn->rd == 31 && insn->rn != 31) { /* CMP */
        enum x64_reg a = jit_read(t, insn->rn, X64_RAX);
        x64_alu(&t->code, X64_CMP, size, a, m);
        jit_nzcv_set(t, JIT_NZCV_SUB);
        return true;
    }
    operate(t, sub ? X64_SUB : X64_ADD, size, insn->rd, insn->rn, m,
            sub ? JIT_NZCV_SUB : JIT_NZCV_ADD, flags);
    return true;
}

bool jit_add_ext(struct jit_translator *t, const struct a64_insn *insn)
{
    bool sub = insn->word >> 30 & 1, flags = insn->word >> 29 & 1;
    unsigned rd = flags ? insn->rd : jit_sp(insn->rd);
    jit_extend(t, insn, (unsigned)insn->imm);
    operate(t, sub ? X64_SUB : X64_ADD, width(insn), rd, jit_sp(insn->rn), x64_r(X64_RCX),
            sub ? JIT_NZCV_SUB : JIT_NZCV_ADD, flags);
    return true;
}

bool jit_is_move(const struct a64_insn *insn)
{
    return (insn->op == A64_ORR_REG || insn->op == A64_ORN_REG) && insn->rn == 31 && !insn->imm &&
           insn->rm != 31;
}

/* AND, BIC, ORR, ORN, EOR, EON, ANDS, BICS */
bool jit_logic_reg(struct jit_translator *t, const struct a64_insn *insn)
{
    static const uint8_t ops[4] = {X64_AND, X64_OR, X64_XOR, X64_AND};
    unsigned opc = insn->word >> 29 & 3, size = width(insn);
    bool invert = insn->word >> 21 & 1, flags = opc == 3;

    if (jit_is_move(insn)) {
        enum x64_reg to = jit_target(insn->rd, X64_RAX);
        if (insn->rd == 31)
            return true;
        jit_read_to(t, size, to, insn->rm);
        if (invert)
            x64_unary(&t->code, X64_NOT, size, x64_r(to)); /* changes no flags */
        jit_wrote(t, insn->rd, to);
        return true;
    }
    struct x64_rm m = shifted(t, insn);
    if (invert) {
        if (!same(m, X64_RCX))
            x64_mov(&t->code, size, X64_RCX, m);
        m = x64_r(X64_RCX);
        x64_unary(&t->code, X64_NOT, size, m);
    } else if (flags && insn->rd == 31 && insn->rn != 31) { /* TST */
        enum x64_reg a = jit_read(t, insn->rn, X64_RAX);
        x64_test(&t->code, size, m, a);
        jit_nzcv_set(t, JIT_NZCV_ADD);
        return true;
    }
    operate(t, (enum x64_alu)ops[opc], size, insn->rd, insn->rn, m, JIT_NZCV_ADD, flags);
    return true;
}

/* ---- Carries ---- */

bool jit_adc(struct jit_translator *t, const struct a64_insn *insn)
{
    bool sub = insn->word >> 30 & 1, flags = insn->word >> 29 & 1;
    unsigned size = width(insn);
    /* Everything that could change CF comes before it is put in place. */
    jit_read_to(t, size, X64_RDX, insn->rn);
    jit_read_to(t, size, X64_RCX, insn->rm);
    jit_nzcv_load(t, sub ? JIT_NZCV_SUB : JIT_NZCV_ADD);
    x64_alu(&t->code, sub ? X64_SBB : X64_ADC, size, X64_RDX, x64_r(X64_RCX));
    wrote(t, insn->rd, X64_RDX, sub ? JIT_NZCV_SUB : JIT_NZCV_ADD, flags);
    return true;
}

/* ---- Conditional ---- */

/* What CSINC, CSINV and CSNEG do with the second operand, without changing flags. */
static void modify(struct jit_translator *t, unsigned op, unsigned size, enum x64_reg reg)
{
    if (op == A64_CSINV || op == A64_CSNEG)
        x64_unary(&t->code, X64_NOT, size, x64_r(reg));
    if (op == A64_CSINC || op == A64_CSNEG)
        x64_lea(&t->code, size, reg, x64_m(reg, 1));
}

bool jit_csel(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned size = width(insn), cond = insn->word >> 12 & 15;
    if (cond >= 14)
        return false;
    if (insn->rn == 31 && insn->rm == 31 && (insn->op == A64_CSINC || insn->op == A64_CSINV)) {
        /* CSET and CSETM: the condition's opposite */
        enum x64_cond not = (enum x64_cond)(jit_nzcv_cond(t, cond) ^ 1);
        x64_setcc(&t->code, not, x64_r(X64_RCX));
        x64_movzx(&t->code, 1, X64_RCX, x64_r(X64_RCX));
        if (insn->op == A64_CSINV) {
            x64_unary(&t->code, X64_NOT, size, x64_r(X64_RCX));
            x64_lea(&t->code, size, X64_RCX, x64_m(X64_RCX, 1));
        }
        jit_wrote(t, insn->rd, X64_RCX);
        return true;
    }
    enum x64_cond yes = jit_nzcv_cond(t, cond); /* which uses RAX */
    jit_read_to(t, size, X64_RCX, insn->rm);
    modify(t, insn->op, size, X64_RCX);
    x64_cmov(&t->code, yes, size, X64_RCX, jit_rm(insn->rn));
    jit_wrote(t, insn->rd, X64_RCX);
    return true;
}

/* CCMP and CCMN: compare when the condition holds, else NZCV is the immediate. */
bool jit_ccmp(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = width(insn), cond = insn->word >> 12 & 15;
    const bool sub = insn->word >> 30 & 1, imm = insn->word >> 11 & 1;
    struct x64_label other = X64_LABEL, done = X64_LABEL;

    if (cond >= 14)
        return false;
    enum x64_cond no = (enum x64_cond)(jit_nzcv_cond(t, cond) ^ 1);
    x64_jcc_near(&t->code, no, &other);
    jit_read_to(t, size, X64_RCX, insn->rn);
    if (imm)
        x64_alu_imm(&t->code, sub ? X64_CMP : X64_ADD, size, x64_r(X64_RCX), (int32_t)insn->imm);
    else
        x64_alu(&t->code, sub ? X64_CMP : X64_ADD, size, X64_RCX, jit_rm(insn->rm));
    if (!sub)
        x64_cmc(&t->code);
    x64_jmp_near(&t->code, &done);
    x64_bind(&t->code, &other);
    uint32_t flags = jit_flags_from_nzcv((insn->word & 15) << 28);
    x64_mov_imm(&t->code, X64_RAX, flags);
    x64_alu_imm(&t->code, X64_ADD, 1, x64_r(X64_RAX), 0x7f);
    x64_sahf(&t->code);
    x64_bind(&t->code, &done);
    jit_nzcv_set(t, JIT_NZCV_SUB);
    return true;
}
