/* SPDX-License-Identifier: MIT */
/*
 * The system instruction class (Arm ARM C4.1.94): PSTATE fields, hints, barriers, MRS and MSR,
 * SYS, exception generation and return.
 *
 * All of these end a block, so what they change - masks, EL, translations - is looked at before the
 * next instruction.
 */
#include "engine/interp/system.h"

#include "engine/interp/exception.h"
#include "engine/interp/handlers.h"
#include "engine/interp/interp.h"
#include "engine/interp/mmu.h"
#include "engine/interp/sysreg.h"

#include <sched.h>

/* op0 to op2 of MRS, MSR and SYS: bits 20:5 are PV_SYSREG's layout. */
static uint32_t encoding_of(const struct a64_insn *insn)
{
    return insn->word >> 5 & 0xffff;
}

static uint32_t imm16_of(const struct a64_insn *insn)
{
    return insn->word >> 5 & 0xffff;
}

void interp_MSR_IMM(struct cpu *c, const struct a64_insn *insn)
{
    unsigned op1 = insn->word >> 16 & 7, op2 = insn->word >> 5 & 7, imm = insn->word >> 8 & 15;

    if (op1 == 3 && (op2 == 6 || op2 == 7)) { /* DAIFSet, DAIFClr */
        if (c->el == 0 && !(sysreg_get(c, SYSREG_SCTLR_EL1) & SCTLR_UMA))
            sysreg_trap(c, PV_SYSREG(0, op1, 4, imm, op2), 31, false);
        if (op2 == 6)
            c->daif |= imm << 6;
        else
            c->daif &= ~(imm << 6);
        debug_update(c);
    } else if (op1 == 3 && op2 == 1) {
        c->ssbs = imm & 1;
    } else if (op1 == 0 && op2 == 4 && c->el) {
        c->pan = imm & 1;
        mmu_context(c);
    } else if (op1 == 0 && op2 == 5 && c->el) {
        exception_select_sp(c, c->el, imm & 1);
    } else {
        cpu_undefined(c);
    }
}

/* ---- Hints ---- */

static void trap_wait(struct cpu *c, uint64_t allowed, unsigned ti)
{
    if (c->el == 0 && !(sysreg_get(c, SYSREG_SCTLR_EL1) & allowed))
        cpu_raise(c, EC_WFX, 1u << 24 | 0xeu << 20 | ti); /* CV = 1, COND = always */
}

void interp_HINT(struct cpu *c, const struct a64_insn *insn)
{
    switch (insn->word >> 5 & 0x7f) {
    case 1: /* YIELD */ sched_yield(); break;
    case 2: /* WFE: any wake-up event will do, the host's scheduler is one */
        trap_wait(c, SCTLR_NTWE, 1);
        interp_outside(c);
        sched_yield();
        interp_inside(c);
        break;
    case 3: /* WFI */
        trap_wait(c, SCTLR_NTWI, 0);
        /* An interrupt that is pending ends the wait even when it is masked (D1.6). */
        if (!(atomic_load(&c->vcpu->attention) & (PV_ATTENTION_IRQ | PV_ATTENTION_FIQ)))
            cpu_leave(c, PV_EXIT_WFI);
        break;
    default: break; /* SEV, SEVL, CSDB and the hint space of absent features */
    }
}

/* ---- Barriers ---- */

void interp_CLREX(struct cpu *c, const struct a64_insn *insn)
{
    cpu_clear_monitor(c);
}

void interp_DMB(struct cpu *c, const struct a64_insn *insn)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void interp_DSB(struct cpu *c, const struct a64_insn *insn)
{
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
    mmu_wait(c);
}

void interp_ISB(struct cpu *c, const struct a64_insn *insn)
{
    mmu_sync(c);
}

/* ---- Registers ---- */

void interp_MRS(struct cpu *c, const struct a64_insn *insn)
{
    cpu_set_x(c, insn->rd, sysreg_read(c, encoding_of(insn), insn->rd));
}

void interp_MSR(struct cpu *c, const struct a64_insn *insn)
{
    sysreg_write(c, encoding_of(insn), insn->rd, cpu_x(c, insn->rd));
}

void interp_SYS(struct cpu *c, const struct a64_insn *insn)
{
    system_instruction(c, encoding_of(insn), insn->rd);
}

void interp_SYSL(struct cpu *c, const struct a64_insn *insn)
{
    cpu_undefined(c);
}

/* ---- Exceptions ---- */

void interp_SVC(struct cpu *c, const struct a64_insn *insn)
{
    c->pc += 4;
    c->ss = 0; /* the instruction has completed: a step taken over it is done */
    cpu_raise(c, EC_SVC64, imm16_of(insn));
}

static void firmware_call(struct cpu *c, const struct a64_insn *insn, bool smc)
{
    const struct pv_engine_config *config = &c->interp->engine->config;
    if (c->el == 0 || imm16_of(insn) || !config->client->smccc)
        cpu_undefined(c);
    interp_outside(c);
    config->client->smccc(config->client_opaque, c->vcpu->index, smc, c->x);
    interp_inside(c);
}

void interp_HVC(struct cpu *c, const struct a64_insn *insn)
{
    firmware_call(c, insn, false);
}

void interp_SMC(struct cpu *c, const struct a64_insn *insn)
{
    firmware_call(c, insn, true);
}

void interp_BRK(struct cpu *c, const struct a64_insn *insn)
{
    cpu_raise(c, EC_BRK64, imm16_of(insn));
}

/* Halting debug is not there, so HLT is UNDEFINED (C6.2.118). */
void interp_HLT(struct cpu *c, const struct a64_insn *insn)
{
    cpu_undefined(c);
}

void interp_ERET(struct cpu *c, const struct a64_insn *insn)
{
    if (c->el == 0)
        cpu_undefined(c);
    exception_return(c);
}
