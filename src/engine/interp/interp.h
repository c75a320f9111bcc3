/* SPDX-License-Identifier: MIT */
/* The interpreter engine: one instance, and how its vCPUs talk to one another. */
#ifndef PV_ENGINE_INTERP_INTERP_H
#define PV_ENGINE_INTERP_INTERP_H

#include "engine/interp/cpu.h"
#include "memory/address_space.h"

struct interp_code; /* what run.c shares among vCPUs */
struct jit;         /* the translating engine's part, jit/jit.h */

/*
 * A word for the exclusive granules whose host addresses share these bits; atomic.c says how it is
 * used. Above the flags it counts.
 */
#define INTERP_GRANULE_WORDS   4096u
#define INTERP_GRANULE_WATCHED 1u /* a load-exclusive relies on the count */
#define INTERP_GRANULE_BUSY    2u /* a store-exclusive or an atomic is at work */
#define INTERP_GRANULE_STEP    4u

struct interp {
    struct pv_engine *engine;
    struct pv_address_space *as;
    struct pv_as_listener listener;
    struct interp_code *code;
    struct jit *jit; /* NULL when this interprets */
    /* With `jit`: code in `size` bytes at pa (0 and UINT64_MAX: anywhere) may have changed. Any
     * thread. */
    void (*code_changed)(struct jit *jit, uint64_t pa, uint64_t size);
    _Atomic uint32_t granules[INTERP_GRANULE_WORDS];
    /*
     * There is one vCPU and it has no memory that others update too: translated code need not lock
     * its atomics, nor look who watches. Once false it stays so.
     */
    _Atomic bool alone;
    struct cpu *_Atomic cpus[PV_MAX_VCPUS]; /* NULL until made; freed with the engine */
    uint8_t sysreg_index[1u << 15];         /* encoding to row of the table, 0 for none */
};

/* The engine's own bits of vcpu->attention. */
#define INTERP_ATTENTION_TLB  PV_ATTENTION_ENGINE        /* TLB requests are queued */
#define INTERP_ATTENTION_STEP (PV_ATTENTION_ENGINE << 1) /* go one instruction at a time */

/* Has translated code come back to the run loop soon, which looks at vcpu->attention. */
static inline void interp_look(struct cpu *c)
{
    atomic_store(&c->jit.floor, UINT64_MAX);
}

/* What the run loop does next. */
enum interp_next {
    INTERP_RUN,  /* the block at PC */
    INTERP_STEP, /* the one instruction at PC, then cpu_stepped(), then ask again */
    INTERP_LEAVE /* return PV_EXIT_KICK */
};

/*
 * The run loop calls this between blocks whenever vcpu->attention is not zero. It serves TLB
 * requests, takes a pending interrupt or debug exception (PC changes), and says how to go on. It
 * may raise, so the loop's unwind point must be set.
 */
enum interp_next interp_attend(struct cpu *c);

/*
 * Brackets around everything that runs with no guest pointer held: MMIO handlers, client callbacks
 * and waits. Others do not wait for a vCPU that is outside.
 */
void interp_outside(struct cpu *c);
void interp_inside(struct cpu *c);

#endif
