/* SPDX-License-Identifier: MIT */
/*
 * Ordered accesses and FEAT_LSE on the host's locked instructions. Exclusives, which FEAT_LSE makes
 * rare, are left to their handlers.
 *
 * x86's memory order gives acquire and release for nothing; only a store-release must not be passed
 * by a later load-acquire, so it is an exchange. An atomic that has stored raises the generation of
 * its granule, by which exclusives of other vCPUs notice it; interp/atomic.c says how.
 */
#include "engine/jit/a64/a64.h"

#include "engine/interp/idregs.h"

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

/* ---- FEAT_LSE ---- */

/* What is at the host address in `host`, which is lost as RDX is, has been stored to. */
static void changed(struct jit_translator *t, enum x64_reg host)
{
    struct x64_label unwatched = X64_LABEL;
    _Static_assert(!(EXCLUSIVE_GRANULE & (EXCLUSIVE_GRANULE - 1)), "a division by shifting");
    x64_shift_imm(&t->code, X64_SHR, 8, x64_r(host), (unsigned)__builtin_ctz(EXCLUSIVE_GRANULE));
    x64_mov_imm(&t->code, X64_RDX, UINT64_C(0x9e3779b97f4a7c15));
    x64_imul(&t->code, 8, host, x64_r(X64_RDX));
    x64_shift_imm(&t->code, X64_SHR, 8, x64_r(host), 64 - INTERP_GENERATION_BITS);
    x64_mov_imm(&t->code, X64_RDX, (uintptr_t)t->jit->interp->watched);
    x64_alu_imm(&t->code, X64_CMP, 1, x64_mx(X64_RDX, host, 0, 0), 0);
    x64_jcc_near(&t->code, X64_E, &unwatched);
    x64_mov_imm(&t->code, X64_RDX, (uintptr_t)t->jit->interp->generation);
    x64_lock(&t->code);
    x64_alu_imm(&t->code, X64_ADD, 4, x64_mx(X64_RDX, host, 2, 0), 2);
    x64_bind(&t->code, &unwatched);
}

bool jit_cas(struct jit_translator *t, const struct a64_insn *insn)
{
    struct x64_label kept = X64_LABEL;
    if (!locate(t, insn, true))
        return false;
    x64_mov(&t->code, 8, X64_RCX, x64_r(X64_RAX));
    jit_read_to(t, 8, X64_RAX, insn->rm);
    jit_read_to(t, 8, X64_RDX, insn->rd);
    x64_lock(&t->code);
    x64_cmpxchg(&t->code, size_of(insn), x64_m(X64_RCX, 0), X64_RDX);
    x64_jcc_near(&t->code, X64_NE, &kept);
    changed(t, X64_RCX);
    x64_bind(&t->code, &kept);
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
    changed(t, X64_RAX);
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
        changed(t, X64_RAX);
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
    changed(t, X64_RCX);
    zero_extend(t, size, X64_RAX);
    jit_wrote(t, insn->rd, X64_RAX);
    return true;
}
