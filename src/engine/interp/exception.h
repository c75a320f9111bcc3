/* SPDX-License-Identifier: MIT */
/* Exception entry and return, and the debug exceptions, beyond what cpu.h has for handlers. */
#ifndef PV_ENGINE_INTERP_EXCEPTION_H
#define PV_ENGINE_INTERP_EXCEPTION_H

#include "engine/interp/cpu.h"

enum exception_kind {
    EXCEPTION_SYNC,
    EXCEPTION_IRQ = 0x80,
    EXCEPTION_FIQ = 0x100,
};

/* Enters EL1; the caller has set ESR_EL1 and FAR_EL1. Returns, unlike cpu_raise(). */
void exception_enter(struct cpu *c, enum exception_kind kind);
void exception_return(struct cpu *c);

/* PSTATE in SPSR_EL1's layout. The setter takes any legal value of EL1 or EL0. */
uint32_t exception_pstate(const struct cpu *c);
void exception_set_pstate(struct cpu *c, uint32_t spsr);

/* Moves the stack pointer's banks. */
void exception_select_sp(struct cpu *c, unsigned el, unsigned spsel);

/*
 * Sets or clears the attention bit that makes the loop go one instruction at a time: while a
 * software step, a breakpoint or an illegal state has to be looked at before each.
 */
void debug_update(struct cpu *c);
/* Before an instruction in that mode; raises when it must not execute. */
void debug_before(struct cpu *c);
/* After an instruction that completed in that mode. */
void cpu_stepped(struct cpu *c);

/* Whether [va, va + size) hits a watchpoint; raises then. */
void debug_check_watch(struct cpu *c, uint64_t va, unsigned size, bool write, bool unprivileged);

/* Whether a watchpoint covers a byte of the page: accesses to it must take the slow path. */
bool debug_page_watched(const struct cpu *c, uint64_t page);

#endif
