/* SPDX-License-Identifier: MIT */
/*
 * The guest's NZCV in the host's flags.
 *
 * A producer (SUBS, ANDS ...) leaves NZCV in host flags, where conditional instructions that follow
 * use it. Anything else destroys host flags, so NZCV is kept in memory as well if it may be looked
 * at later: by another block, by a handler, or by an exception, which any load or store may raise.
 * LAHF, SETO and moves change no flag, so the instruction behind can still use them. What was kept
 * stays in AX as long as nothing but arithmetic in pinned registers follows: to look there takes
 * five cycles less than behind the store.
 *
 * Liveness says where nobody looks: behind an instruction, NZCV is dead when it is written again
 * before that. Everything that may leave the block counts as looking.
 */
#include "engine/jit/translate.h"

enum nzcv_use {
    USE_NONE = 0,
    USE_READ = 1,
    USE_WRITE = 2,
    USE_KEEPS = 4, /* its code reads flags from the host's and leaves them there */
};

/* FP instructions that trap have NZCV looked at: it is saved by the exception. */
static unsigned use_of(const struct jit_translator *t, const struct a64_insn *insn)
{
    const bool fp_traps = t->mode & JIT_FP_TRAP;
    switch (insn->op) {
    case A64_ADDS_IMM:
    case A64_SUBS_IMM:
    case A64_ANDS_IMM:
    case A64_ADDS_REG:
    case A64_SUBS_REG:
    case A64_ANDS_REG:
    case A64_BICS_REG:
    case A64_ADDS_EXT:
    case A64_SUBS_EXT: return USE_WRITE;
    case A64_CCMN_REG:
    case A64_CCMN_IMM:
    case A64_CCMP_REG:
    case A64_CCMP_IMM:
    case A64_ADCS:
    case A64_SBCS: return USE_READ | USE_WRITE;
    case A64_ADC:
    case A64_SBC: return USE_READ;
    case A64_CSEL:
    case A64_CSINC:
    case A64_CSINV:
    case A64_CSNEG: /* with AL and NV the interpreter's handler is called */
        return (insn->word >> 12 & 15) < 14 ? USE_READ | USE_KEEPS : USE_READ;
    case A64_B_COND: return USE_READ | USE_KEEPS;
    case A64_FCMP:
    case A64_FCMPE: return fp_traps ? USE_READ : USE_WRITE;
    case A64_FCSEL: /* likewise, and of halves */
        return !fp_traps && (insn->word >> 12 & 15) < 14 && (insn->word >> 22 & 3) != 3
                   ? USE_READ | USE_KEEPS
                   : USE_READ;
    case A64_MOVZ:
    case A64_MOVN:
    case A64_ADD_IMM:
    case A64_SUB_IMM: return USE_KEEPS;
    case A64_ADD_REG: return jit_is_lea(insn) ? USE_KEEPS : USE_NONE;
    case A64_ORR_REG:
    case A64_ORN_REG: return jit_is_move(insn) ? USE_KEEPS : USE_NONE;
    case A64_UBFM:
    case A64_SBFM: return jit_bfm_keeps_flags(insn) ? USE_KEEPS : USE_NONE;
    default: return a64_op_class(insn->op) == A64_CLASS_int ? USE_NONE : USE_READ;
    }
}

void jit_nzcv_liveness(struct jit_translator *t)
{
    bool live = true;
    for (unsigned i = t->count; i-- > 0;) {
        unsigned use = use_of(t, &t->insns[i]);
        t->nzcv_live[i] = live;
        if (use & USE_WRITE)
            live = false;
        if (use & USE_READ)
            live = true;
        /* Where a conditional branch goes, all is live. */
        if (t->insns[i].op == A64_B_COND)
            t->nzcv_live[i] = true;
    }
}

/* Whether flags that the present instruction sets are looked at after host flags have gone. */
static bool must_keep(const struct jit_translator *t)
{
    for (unsigned i = t->index + 1; i < t->count; i++) {
        if (!t->nzcv_live[i - 1])
            return false;
        unsigned use = use_of(t, &t->insns[i]);
        if (use & USE_WRITE)
            return false; /* reads them first thing, if at all */
        if (!(use & USE_KEEPS) || t->insns[i].op == A64_B_COND)
            return true;
    }
    return t->nzcv_live[t->count - 1];
}

void jit_nzcv_set(struct jit_translator *t, enum jit_nzcv form)
{
    t->nzcv = form;
    if (!must_keep(t))
        return;
    if (form == JIT_NZCV_ADD) {
        x64_cmc(&t->code);
        t->nzcv = JIT_NZCV_SUB;
    }
    x64_lahf(&t->code);
    x64_setcc(&t->code, X64_O, x64_r(X64_RAX));
    x64_store(&t->code, 2, jit_field(offsetof(struct cpu, jit.flags)), X64_RAX);
    t->nzcv_in_rax = t->index + 1;
}

static bool is_pinned(unsigned n)
{
    return n != 31 && jit_pin_of(n) >= 0;
}

/* Whether the instruction's translation leaves RAX as it is. */
static bool leaves_rax(const struct a64_insn *insn)
{
    switch (insn->op) {
    case A64_MOVZ:
    case A64_MOVN:
    case A64_UBFM:
    case A64_SBFM: return is_pinned(insn->rd);
    case A64_ADD_IMM:
    case A64_SUB_IMM:
    case A64_AND_IMM:
    case A64_ORR_IMM:
    case A64_EOR_IMM: return is_pinned(insn->rd) && is_pinned(insn->rn);
    case A64_ADD_REG:
    case A64_SUB_REG:
    case A64_AND_REG:
    case A64_ORR_REG:
    case A64_EOR_REG: /* with the second operand in the destination, RAX has the first */
        return is_pinned(insn->rd) && is_pinned(insn->rn) && is_pinned(insn->rm) &&
               (insn->imm || insn->rm != insn->rd);
    default: return false;
    }
}

/* Whether the present instruction, of integers, finds in AX what was kept. */
static bool is_in_rax(const struct jit_translator *t)
{
    if (!t->nzcv_in_rax || a64_op_class(t->insn->op) != A64_CLASS_int ||
        a64_op_class(t->insns[t->nzcv_in_rax - 1].op) != A64_CLASS_int)
        return false;
    for (unsigned i = t->nzcv_in_rax; i < t->index; i++)
        if (!leaves_rax(&t->insns[i]))
            return false;
    return true;
}

void jit_nzcv_from_rax(struct jit_translator *t)
{
    /* AL is 0 or 1: OF becomes the latter. */
    x64_alu_imm(&t->code, X64_ADD, 1, x64_r(X64_RAX), 0x7f);
    x64_sahf(&t->code);
}

void jit_nzcv_load(struct jit_translator *t, enum jit_nzcv form)
{
    if (t->nzcv == JIT_NZCV_MEMORY) {
        x64_movzx(&t->code, 2, X64_RAX, jit_field(offsetof(struct cpu, jit.flags)));
        jit_nzcv_from_rax(t);
        t->nzcv = JIT_NZCV_SUB;
    }
    if (t->nzcv != form)
        x64_cmc(&t->code);
    t->nzcv = form;
}

enum x64_cond jit_nzcv_cond(struct jit_translator *t, unsigned cond)
{
    static const uint8_t conds[14] = {X64_E,  X64_NE, X64_AE, X64_B,  X64_S, X64_NS, X64_O,
                                      X64_NO, X64_A,  X64_BE, X64_GE, X64_L, X64_G,  X64_LE};
    static const uint8_t bits[4] = {JIT_FLAG_Z >> 8, JIT_FLAG_B >> 8, JIT_FLAG_N >> 8, 0};

    if (t->nzcv == JIT_NZCV_MEMORY && cond < 6) {
        /* One bit is looked at where it is; CS is a borrow's absence. */
        if (is_in_rax(t))
            x64_test_imm(&t->code, 4, x64_r(X64_RAX), bits[cond >> 1] << 8);
        else
            x64_test_imm(&t->code, 1, jit_field(offsetof(struct cpu, jit.flags) + 1),
                         (int8_t)bits[cond >> 1]);
        bool set = !(cond & 1);
        if (cond >> 1 == 1)
            set = !set;
        return set ? X64_NE : X64_E;
    }
    if (t->nzcv == JIT_NZCV_MEMORY || cond >> 1 == 1 || cond >> 1 == 4)
        jit_nzcv_load(t, JIT_NZCV_SUB);
    return (enum x64_cond)conds[cond];
}
