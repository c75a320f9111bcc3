/* SPDX-License-Identifier: MIT */
/*
 * Instructions of class system that need not end a block.
 *
 * Most of them may change what translated code relies on (the mode, translations), and leave for
 * the run loop. Those here do not: reads of registers, writes of plain ones, barriers, cache
 * maintenance, and interrupt masks, behind which a pending interrupt is looked for.
 */
#include "engine/jit/a64/a64.h"

#include "engine/interp/idregs.h"
#include "engine/interp/sysreg.h"

#define FIELD(name) jit_field(offsetof(struct cpu, name))

static uint32_t encoding_of(const struct a64_insn *insn)
{
    return insn->word >> 5 & 0xffff;
}

enum {
    CURRENT_EL = PV_SYSREG(3, 0, 4, 2, 2),
    SP_EL0 = PV_SYSREG(3, 0, 4, 1, 0),
    DAIF = PV_SYSREG(3, 3, 4, 2, 1),
    TPIDR_EL0 = PV_SYSREG(3, 3, 13, 0, 2),
    TPIDRRO_EL0 = PV_SYSREG(3, 3, 13, 0, 3),
    TPIDR_EL1 = PV_SYSREG(3, 0, 13, 0, 4),
    ELR_EL1 = PV_SYSREG(3, 0, 4, 0, 1),
    SPSR_EL1 = PV_SYSREG(3, 0, 4, 0, 0),
    ESR_EL1 = PV_SYSREG(3, 0, 5, 2, 0),
    FAR_EL1 = PV_SYSREG(3, 0, 6, 0, 0),
    FPSR = PV_SYSREG(3, 3, 4, 4, 1),
    DCZID_EL0 = PV_SYSREG(3, 3, 0, 0, 7),
    DC_ZVA = PV_SYSREG(1, 3, 7, 4, 1),
    CNTVCT_EL0 = PV_SYSREG(3, 3, 14, 0, 2),
};

/*
 * A register that is nothing but storage in struct cpu_sys, or SYSREG_NONE; all of its bits can be
 * written.
 */
static enum sysreg plain(const struct jit_translator *t, uint32_t encoding, bool write)
{
    const bool el1 = t->mode & JIT_EL1;
    switch (encoding) {
    case TPIDR_EL0: return SYSREG_TPIDR_EL0;
    case TPIDRRO_EL0: return el1 || !write ? SYSREG_TPIDRRO_EL0 : SYSREG_NONE;
    case TPIDR_EL1: return el1 ? SYSREG_TPIDR_EL1 : SYSREG_NONE;
    case ELR_EL1: return el1 ? SYSREG_ELR_EL1 : SYSREG_NONE;
    case FAR_EL1: return el1 ? SYSREG_FAR_EL1 : SYSREG_NONE;
    case SPSR_EL1: return el1 && !write ? SYSREG_SPSR_EL1 : SYSREG_NONE;
    case ESR_EL1: return el1 && !write ? SYSREG_ESR_EL1 : SYSREG_NONE;
    default: return SYSREG_NONE;
    }
}

/* RCX = struct cpu_sys; the register in it. */
static struct x64_rm storage(struct jit_translator *t, enum sysreg reg)
{
    x64_mov(&t->code, 8, X64_RCX, FIELD(sys));
    return x64_m(X64_RCX, (int32_t)(offsetof(struct cpu_sys, reg) + 8 * (size_t)reg));
}

/* SP_EL0 is a register of its own only while SP is SP_EL1. */
static void check_spsel(struct jit_translator *t)
{
    x64_test_imm(&t->code, 1, FIELD(spsel), 1);
    jit_nzcv_lost(t);
    jit_slow(t, X64_E);
}

/* What never changes, but that SCTLR_EL1 forbids EL0 to zero blocks. */
static bool constant(struct jit_translator *t, uint32_t encoding, uint64_t *value)
{
    const bool el1 = t->mode & JIT_EL1;
    if ((!el1 && encoding != DCZID_EL0) || !idreg_read(encoding, value))
        return false;
    if (!el1) {
        x64_test_imm(&t->code, 4, storage(t, SYSREG_SCTLR_EL1), SCTLR_DZE);
        jit_nzcv_lost(t);
        jit_slow(t, X64_E);
    }
    return true;
}

/* RAX = the virtual counter, which CNTKCTL_EL1.EL0VCTEN keeps from EL0. */
static void read_counter(struct jit_translator *t)
{
    enum { EL0VCTEN = 2 };
    jit_v_flush(t);
    if (!(t->mode & JIT_EL1)) {
        x64_test_imm(&t->code, 1, storage(t, SYSREG_CNTKCTL_EL1), EL0VCTEN);
        jit_slow(t, X64_E);
    }
    x64_call_to(&t->code, t->jit->stubs.counter);
    jit_nzcv_lost(t);
    jit_v_forget(t);
}

bool jit_mrs(struct jit_translator *t, const struct a64_insn *insn)
{
    const uint32_t encoding = encoding_of(insn);
    const enum sysreg reg = plain(t, encoding, false);
    const bool el1 = t->mode & JIT_EL1;
    enum x64_reg to = jit_target(insn->rd, X64_RAX);
    uint64_t value;

    if (reg) {
        x64_mov(&t->code, 8, to, storage(t, reg));
    } else if (constant(t, encoding, &value)) {
        x64_mov_imm(&t->code, to, value);
    } else if (encoding == SP_EL0 && el1) {
        check_spsel(t);
        x64_mov(&t->code, 8, to, FIELD(sp_el[0]));
    } else if (encoding == DAIF && el1) {
        x64_mov(&t->code, 4, to, FIELD(daif));
    } else if (encoding == CURRENT_EL && el1) {
        x64_mov_imm(&t->code, to, 4);
    } else if (encoding == CNTVCT_EL0 && t->jit->stubs.counter) {
        read_counter(t);
        to = X64_RAX;
    } else {
        jit_call(t); /* reading changes nothing that this code relies on */
        return true;
    }
    jit_wrote(t, insn->rd, to);
    return true;
}

/* An interrupt may have been unmasked: the run loop looks for one before the next instruction. */
static void look_for_interrupt(struct jit_translator *t, const struct a64_insn *insn)
{
    x64_mov(&t->code, 8, X64_RAX, FIELD(vcpu));
    x64_alu_imm(&t->code, X64_CMP, 4, x64_m(X64_RAX, offsetof(struct pv_vcpu, attention)), 0);
    jit_nzcv_lost(t);
    jit_leave_if(t, X64_NE, insn->at + 4);
}

/* Masks of interrupts; the debug exceptions' leaves, as more depends on it. */
static void write_masks(struct jit_translator *t, const struct a64_insn *insn)
{
    enum { MASKS = 0x3c0, D = 0x200 };
    jit_read_to(t, 4, X64_RAX, insn->rd);
    x64_alu_imm(&t->code, X64_AND, 4, x64_r(X64_RAX), MASKS);
    x64_mov(&t->code, 4, X64_RCX, FIELD(daif));
    x64_alu(&t->code, X64_XOR, 4, X64_RCX, x64_r(X64_RAX));
    x64_test_imm(&t->code, 4, x64_r(X64_RCX), D);
    jit_nzcv_lost(t);
    jit_leave_to_execute_if(t, X64_NE);
    x64_store(&t->code, 4, FIELD(daif), X64_RAX);
    look_for_interrupt(t, insn);
}

bool jit_msr(struct jit_translator *t, const struct a64_insn *insn)
{
    const uint32_t encoding = encoding_of(insn);
    const enum sysreg reg = plain(t, encoding, true);
    const bool el1 = t->mode & JIT_EL1;

    if (reg) {
        enum x64_reg from = jit_read(t, insn->rd, X64_RAX);
        x64_store(&t->code, 8, storage(t, reg), from);
    } else if (encoding == SP_EL0 && el1) {
        check_spsel(t);
        x64_store(&t->code, 8, FIELD(sp_el[0]), jit_read(t, insn->rd, X64_RAX));
    } else if (encoding == DAIF && el1) {
        write_masks(t, insn);
    } else if (encoding == FPSR && !(t->mode & JIT_FP_TRAP)) {
        jit_call(t);
    } else {
        return false;
    }
    return true;
}

/* DAIFSet and DAIFClr of I and F at EL1; D is the debug exceptions' mask, which matters more. */
bool jit_msr_imm(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned op1 = insn->word >> 16 & 7, op2 = insn->word >> 5 & 7,
                   imm = insn->word >> 8 & 15;
    if (op1 != 3 || (op2 != 6 && op2 != 7) || (imm & 8) || !(t->mode & JIT_EL1))
        return false;
    jit_nzcv_lost(t);
    if (op2 == 6) {
        x64_alu_imm(&t->code, X64_OR, 4, FIELD(daif), (int32_t)(imm << 6));
        return true;
    }
    x64_alu_imm(&t->code, X64_AND, 4, FIELD(daif), (int32_t) ~(imm << 6));
    look_for_interrupt(t, insn);
    return true;
}

bool jit_hint(struct jit_translator *t, const struct a64_insn *insn)
{
    switch (insn->word >> 5 & 0x7f) {
    case 1: /* YIELD */ jit_call(t); return true;
    case 2: /* WFE */
    case 3: /* WFI */ return false;
    default: return true;
    }
}

/* ---- Barriers ---- */

/* Loads are ordered among themselves and before stores anyway; only a full barrier costs. */
bool jit_dmb(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned types = insn->word >> 8 & 3; /* 1: loads, 2: stores, 3: all */
    if (types == 1 || types == 2)
        return true;
    x64_lock(&t->code);
    x64_alu_imm(&t->code, X64_OR, 4, x64_m(X64_RSP, -8), 0);
    jit_nzcv_lost(t);
    return true;
}

bool jit_dsb(struct jit_translator *t, const struct a64_insn *insn)
{
    x64_lock(&t->code);
    x64_alu_imm(&t->code, X64_OR, 4, x64_m(X64_RSP, -8), 0);
    x64_test_imm(&t->code, 1, jit_field(offsetof(struct cpu_with_tlb, tlb.must_sync)), 1);
    jit_nzcv_lost(t);
    jit_slow(t, X64_NE);
    return true;
}

/* A context synchronization event when there is something to synchronize with. */
bool jit_isb(struct jit_translator *t, const struct a64_insn *insn)
{
    x64_test_imm(&t->code, 1, jit_field(offsetof(struct cpu_with_tlb, tlb.stale)), 1);
    jit_nzcv_lost(t);
    jit_leave_to_execute_if(t, X64_NE);
    x64_alu(&t->code, X64_CMP, 8, X64_RSP, FIELD(jit.floor));
    jit_leave_to_execute_if(t, X64_B);
    return true;
}

/* CLREX touches the monitor only. */
bool jit_clrex(struct jit_translator *t, const struct a64_insn *insn)
{
    x64_store_imm(&t->code, 4, FIELD(monitor.size), 0);
    return true;
}

/* DC ZVA clears an aligned block, which is in one page; EL0 needs SCTLR_EL1.DZE. */
static void zero_block(struct jit_translator *t, const struct a64_insn *insn)
{
    if (!(t->mode & JIT_EL1)) {
        x64_test_imm(&t->code, 4, storage(t, SYSREG_SCTLR_EL1), SCTLR_DZE);
        jit_nzcv_lost(t);
        jit_slow(t, X64_E);
    }
    jit_read_to(t, 8, X64_RAX, insn->rd);
    x64_alu_imm(&t->code, X64_AND, 8, x64_r(X64_RAX), -(int32_t)DC_ZVA_SIZE);
    jit_tlb(t, DC_ZVA_SIZE, true, false);
    x64_v3(&t->code, X64_VPXOR, 0, 0, x64_r(0));
    for (int32_t at = 0; at < (int32_t)DC_ZVA_SIZE; at += 16)
        x64_v2_store(&t->code, X64_VMOVUPS_STORE, x64_m(X64_RAX, at), 0);
}

/* Cache maintenance and AT, CRn 7. What IC does is seen at the next ISB. TLBI leaves. */
bool jit_sys(struct jit_translator *t, const struct a64_insn *insn)
{
    if ((insn->word >> 12 & 15) != 7)
        return false;
    if (encoding_of(insn) == DC_ZVA && jit_inline_memory(t))
        zero_block(t, insn);
    else
        jit_call(t);
    return true;
}
