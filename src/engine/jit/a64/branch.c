/* SPDX-License-Identifier: MIT */
/*
 * Branches. A call puts {guest return address, host return address} on the host's stack and RET
 * takes them off again if they fit, which the host's return predictor likes; stubs.c describes the
 * frames.
 */
#include "engine/jit/a64/a64.h"

bool jit_b(struct jit_translator *t, const struct a64_insn *insn)
{
    jit_goto(t, insn->at + insn->imm);
    return true;
}

bool jit_b_cond(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned cond = insn->word & 15;
    if (cond >= 14) {
        jit_goto(t, insn->at + insn->imm);
        return true;
    }
    jit_goto_if(t, jit_nzcv_cond(t, cond), insn->at + insn->imm);
    return true;
}

/* CBZ and CBNZ */
bool jit_cbz(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned size = insn->word >> 31 ? 8 : 4;
    enum x64_reg reg = jit_read(t, insn->rd, X64_RAX);
    x64_test(&t->code, size, x64_r(reg), reg);
    jit_nzcv_lost(t);
    jit_goto_if(t, insn->word >> 24 & 1 ? X64_NE : X64_E, insn->at + insn->imm);
    return true;
}

/* TBZ and TBNZ */
bool jit_tbz(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned bit = a64_TBZ_bit(insn->word);
    bool set = insn->word >> 24 & 1;
    jit_nzcv_lost(t);
    if (bit < 31) {
        x64_test_imm(&t->code, 4, jit_rm(insn->rd), (int32_t)(1u << bit));
        jit_goto_if(t, set ? X64_NE : X64_E, insn->at + insn->imm);
    } else {
        x64_bt_imm(&t->code, X64_BT, 8, jit_rm(insn->rd), bit);
        jit_goto_if(t, set ? X64_B : X64_AE, insn->at + insn->imm);
    }
    return true;
}

/* Behind a call: RAX is the address returned to, which may have come from another page. */
static void return_site(struct jit_translator *t, const struct a64_insn *insn)
{
    const int32_t next = insn->at + 4;
    x64_lea(&t->code, 8, X64_RSP, x64_m(X64_RSP, 8));
    x64_lea(&t->code, 8, X64_RCX, x64_m(X64_RAX, -next));
    x64_store(&t->code, 8, jit_field(offsetof(struct cpu, jit.page)), X64_RCX);
    jit_goto(t, next);
}

/* X30 = the return address, also pushed. */
static void push_return(struct jit_translator *t, const struct a64_insn *insn)
{
    enum x64_reg lr = jit_target(30, X64_RCX);
    jit_address_of(t, lr, insn->at + 4);
    jit_wrote(t, 30, lr);
    x64_push(&t->code, lr);
}

bool jit_bl(struct jit_translator *t, const struct a64_insn *insn)
{
    int64_t delta = insn->at + insn->imm;
    jit_nzcv_lost(t);
    if (delta < 0 || delta >= (int64_t)PV_GUEST_PAGE) {
        push_return(t, insn);
        jit_address_of(t, X64_RAX, delta);
        x64_call_to(&t->code, t->jit->stubs.jump);
        return_site(t, insn);
        return true;
    }
    struct jit_cold *cold = jit_cold_link(t, (unsigned)delta);
    push_return(t, insn);
    x64_alu(&t->code, X64_CMP, 8, X64_RSP, jit_field(offsetof(struct cpu, jit.floor)));
    x64_jcc(&t->code, X64_B, &cold->here);
    cold->site = x64_call_patchable(&t->code, x64_here(&t->code));
    return_site(t, insn);
    return true;
}

bool jit_br(struct jit_translator *t, const struct a64_insn *insn)
{
    jit_read_to(t, 8, X64_RAX, insn->rn);
    x64_jmp_to(&t->code, t->jit->stubs.branch);
    return true;
}

bool jit_blr(struct jit_translator *t, const struct a64_insn *insn)
{
    jit_read_to(t, 8, X64_RAX, insn->rn); /* which may be X30 itself */
    push_return(t, insn);
    x64_call_to(&t->code, t->jit->stubs.branch);
    jit_nzcv_lost(t);
    return_site(t, insn);
    return true;
}

bool jit_ret(struct jit_translator *t, const struct a64_insn *insn)
{
    jit_read_to(t, 8, X64_RAX, insn->rn);
    x64_alu(&t->code, X64_CMP, 8, X64_RAX, x64_m(X64_RSP, 8));
    x64_jcc_to(&t->code, X64_NE, t->jit->stubs.branch);
    x64_ret(&t->code);
    return true;
}
