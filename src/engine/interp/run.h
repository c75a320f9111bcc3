/* SPDX-License-Identifier: MIT */
/* The run loop and its cache of decoded code. */
#ifndef PV_ENGINE_INTERP_RUN_H
#define PV_ENGINE_INTERP_RUN_H

#include "engine/interp/interp.h"

/* interp->code, which all vCPUs share. -ENOMEM. */
int run_create(struct interp *interp);
void run_destroy(struct interp *interp);

/* c->code. -ENOMEM. */
int run_cpu_create(struct cpu *c);
void run_cpu_destroy(struct cpu *c);

/* Executes until there is a reason to return. */
enum pv_exit run_loop(struct cpu *c);

/* Executes the instruction at PC, of which software step may want to know. */
void run_one(struct cpu *c);

/*
 * IC IVAU, memory that went away, and IC IALLU(IS): decoded instructions of the byte at `pa`, of a
 * range, or all, are not used any more by any vCPU from its next block on. Any thread.
 */
void interp_icache_invalidate(struct interp *interp, uint64_t pa);
void interp_icache_invalidate_range(struct interp *interp, uint64_t pa, uint64_t size);
void interp_icache_invalidate_all(struct interp *interp);

#endif
