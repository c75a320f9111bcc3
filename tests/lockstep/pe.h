/* SPDX-License-Identifier: MIT */
/*
 * One PE of an engine with a little memory around it, for tests that run it by hand.
 *
 * It knows engines by their ops table alone (engine_impl.h), so that each of them can be judged.
 * The vCPU is powered off, its own thread sleeps: the caller's runs it. The low gigabyte is mapped
 * for EL0, and once more at 1 GiB for EL1, which may not execute what EL0 can write (Arm ARM
 * D8.4.1).
 */
#ifndef PV_TESTS_LOCKSTEP_PE_H
#define PV_TESTS_LOCKSTEP_PE_H

#include "engine/engine_impl.h"

#include <stdbool.h>
#include <stdint.h>

#define PE_EL1(va) (UINT64_C(0x40000000) + (va))

enum {
    PE_WFI = 0xd503207f,
    PE_PSTATE_EL1H = 0x3c5, /* with interrupts masked */
};

/* Guest-physical addresses. Vectors and the table (a page) are inside the code. */
struct pe_layout {
    uint64_t memory, memory_size;
    uint64_t code, code_size;
    uint64_t vectors, table;
};

struct pe {
    const struct pv_engine_ops *ops;
    unsigned other_vcpus; /* 0 or 1, which never runs */
    struct pv_address_space *as;
    struct pv_engine *engine;
    struct pv_vcpu *vcpu;
    uint8_t *memory, *code;
    struct pv_vcpu_state regs;    /* what pe_run() starts from, and where it came */
    uint64_t esr, far, elr, spsr; /* after pe_take_syndrome() */
};

/* `ops` and `other_vcpus` are set. */
int pe_init(struct pe *pe, const struct pe_layout *layout, struct pv_error **err);
void pe_finish(struct pe *pe);

/* As after pe_init(), but for memory, of which only the table is written. */
int pe_reset(struct pe *pe, const struct pe_layout *layout);

/*
 * From regs.pc to the next WFI; leaves the registers there in `regs`. False when pe_watch_loops()
 * had to stop it before. Where it cannot run at all the program ends.
 */
bool pe_run(struct pe *pe);

/* From now on, who runs for 20 ms of CPU time or more is stopped. */
void pe_watch_loops(void);

/* The registers of the last exception to EL1. */
void pe_take_syndrome(struct pe *pe);

/*
 * What differs between two PEs' registers and syndromes, and between `size` bytes of memory, is
 * printed, the second PE's being what is right.
 */
bool pe_differ(const struct pe *pe, const struct pe *right, size_t size);

#endif
