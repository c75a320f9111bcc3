/* SPDX-License-Identifier: MIT */
/*
 * Exclusives, ordered accesses and FEAT_LSE on the host's locked instructions.
 *
 * x86's memory order gives acquire and release for nothing; only a store-release must not be passed
 * by a later load-acquire, so it is an exchange. Exclusives compare and swap the value that the
 * load-exclusive saw, as interp/atomic.c does and with the same monitor, so the two mix.
 */
#include "engine/jit/a64/a64.h"

#define MONITOR(name) jit_field(offsetof(struct cpu, monitor.name))

static unsigned size_of(const struct a64_insn *insn)
{
    return 1u << (insn->word >> 30);
}

/* RAX = the host's address of the location, aligned; else the handler finds what is wrong. */
static bool locate(struct jit_translator *t, const struct a64_insn *insn, bool write)
{
    if (!jit_inline_memory(t))
        return false;
    jit_base(t, insn->rn, 0);
    jit_tlb_aligned(t, size_of(insn), write);
    return true;
}

/* The register's low `size` bytes, all others zero. */
static void zero_extend(struct jit_translator *t, unsigned size, enum x64_reg reg)
{
    if (size < 4)
        x64_movzx(&t->code, size, reg, x64_r(reg));
    else if (size == 4)
        x64_mov(&t->code, 4, reg, x64_r(reg));
}

static void load_zero_extended(struct jit_translator *t, unsigned size, enum x64_reg to,
                               struct x64_rm from)
{
    if (size < 4)
        x64_movzx(&t->code, size, to, from);
    else
        x64_mov(&t->code, size, to, from);
}

/* ---- Ordered ---- */

bool jit_load_acquire(struct jit_translator *t, const struct a64_insn *insn)
{
    if (!locate(t, insn, false))
        return false;
    load_zero_extended(t, size_of(insn), X64_RCX, x64_m(X64_RAX, 0));
    jit_wrote(t, insn->rd, X64_RCX);
    return true;
}

bool jit_store_release(struct jit_translator *t, const struct a64_insn *insn)
{
    if (!locate(t, insn, true))
        return false;
    jit_read_to(t, 8, X64_RCX, insn->rd);
    x64_xchg(&t->code, size_of(insn), x64_m(X64_RAX, 0), X64_RCX);
    return true;
}

/* ---- Exclusives ---- */

bool jit_load_exclusive(struct jit_translator *t, const struct a64_insn *insn)
{
    if (!locate(t, insn, false))
        return false;
    load_zero_extended(t, size_of(insn), X64_RCX, x64_m(X64_RAX, 0));
    x64_store(&t->code, 8, MONITOR(value[0]), X64_RCX);
    x64_store_imm(&t->code, 8, MONITOR(value[1]), 0);
    x64_store_imm(&t->code, 4, MONITOR(size), (int32_t)size_of(insn));
    x64_store(&t->code, 8, MONITOR(va), jit_read(t, jit_sp(insn->rn), X64_RAX));
    jit_wrote(t, insn->rd, X64_RCX);
    return true;
}

bool jit_store_exclusive(struct jit_translator *t, const struct a64_insn *insn)
{
    struct x64_label failed = X64_LABEL;
    const unsigned size = size_of(insn);

    if (!locate(t, insn, true))
        return false;
    x64_mov(&t->code, 8, X64_RCX, x64_r(X64_RAX));
    x64_alu_imm(&t->code, X64_CMP, 4, MONITOR(size), (int32_t)size);
    x64_jcc_near(&t->code, X64_NE, &failed);
    jit_read_to(t, 8, X64_RAX, jit_sp(insn->rn));
    x64_alu(&t->code, X64_CMP, 8, X64_RAX, MONITOR(va));
    x64_jcc_near(&t->code, X64_NE, &failed);
    x64_mov(&t->code, 8, X64_RAX, MONITOR(value[0]));
    jit_read_to(t, 8, X64_RDX, insn->rd);
    x64_lock(&t->code);
    x64_cmpxchg(&t->code, size, x64_m(X64_RCX, 0), X64_RDX);
    x64_bind(&t->code, &failed);
    x64_setcc(&t->code, X64_NE, x64_r(X64_RAX));
    x64_movzx(&t->code, 1, X64_RAX, x64_r(X64_RAX));
    x64_store_imm(&t->code, 4, MONITOR(size), 0);
    jit_wrote(t, insn->rm, X64_RAX);
    return true;
}

/* ---- FEAT_LSE ---- */

bool jit_cas(struct jit_translator *t, const struct a64_insn *insn)
{
    if (!locate(t, insn, true))
        return false;
    x64_mov(&t->code, 8, X64_RCX, x64_r(X64_RAX));
    jit_read_to(t, 8, X64_RAX, insn->rm);
    jit_read_to(t, 8, X64_RDX, insn->rd);
    x64_lock(&t->code);
    x64_cmpxchg(&t->code, size_of(insn), x64_m(X64_RCX, 0), X64_RDX);
    zero_extend(t, size_of(insn), X64_RAX);
    jit_wrote(t, insn->rm, X64_RAX);
    return true;
}

/* LDADD and SWP */
bool jit_exchange(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = size_of(insn);
    if (!locate(t, insn, true))
        return false;
    jit_read_to(t, 8, X64_RCX, insn->rm);
    if (insn->op == A64_LDADD) {
        x64_lock(&t->code);
        x64_xadd(&t->code, size, x64_m(X64_RAX, 0), X64_RCX);
    } else {
        x64_xchg(&t->code, size, x64_m(X64_RAX, 0), X64_RCX);
    }
    zero_extend(t, size, X64_RCX);
    jit_wrote(t, insn->rd, X64_RCX);
    return true;
}

static enum x64_alu logic_of(unsigned op)
{
    return op == A64_LDCLR ? X64_AND : op == A64_LDSET ? X64_OR : X64_XOR;
}

/* LDCLR, LDSET and LDEOR: x86 gives the old value only of those whose result nobody wants. */
bool jit_fetch_logic(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = size_of(insn);
    if (!locate(t, insn, true))
        return false;
    if (insn->rd == 31) {
        jit_read_to(t, 8, X64_RCX, insn->rm);
        if (insn->op == A64_LDCLR)
            x64_unary(&t->code, X64_NOT, 8, x64_r(X64_RCX));
        x64_lock(&t->code);
        x64_alu_store(&t->code, logic_of(insn->op), size, x64_m(X64_RAX, 0), X64_RCX);
        return true;
    }
    struct x64_label again = X64_LABEL;
    x64_mov(&t->code, 8, X64_RCX, x64_r(X64_RAX));
    load_zero_extended(t, size, X64_RAX, x64_m(X64_RCX, 0));
    x64_bind(&t->code, &again);
    jit_read_to(t, 8, X64_RDX, insn->rm);
    if (insn->op == A64_LDCLR)
        x64_unary(&t->code, X64_NOT, 8, x64_r(X64_RDX));
    x64_alu(&t->code, logic_of(insn->op), 8, X64_RDX, x64_r(X64_RAX));
    x64_lock(&t->code);
    x64_cmpxchg(&t->code, size, x64_m(X64_RCX, 0), X64_RDX);
    x64_jcc_near(&t->code, X64_NE, &again);
    zero_extend(t, size, X64_RAX);
    jit_wrote(t, insn->rd, X64_RAX);
    return true;
}
