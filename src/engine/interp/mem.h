/* SPDX-License-Identifier: MIT */
/*
 * Guest memory as instruction handlers see it. Sizes are bytes. All of these raise the
 * architecture's exception when the access is not allowed, and do not return then.
 */
#ifndef PV_ENGINE_INTERP_MEM_H
#define PV_ENGINE_INTERP_MEM_H

#include "engine/interp/cpu.h"

/* How an access is made beyond its size. */
#define MEM_UNPRIV  1u /* LDTR, STTR */
#define MEM_ALIGNED 2u /* exclusive, atomic, acquire, release: must be aligned to its size */

uint64_t mem_read_slow(struct cpu *c, uint64_t va, unsigned size, unsigned how);
void mem_write_slow(struct cpu *c, uint64_t va, unsigned size, uint64_t value, unsigned how);

uint8_t mem_read8(struct cpu *c, uint64_t va);
uint16_t mem_read16(struct cpu *c, uint64_t va);
uint32_t mem_read32(struct cpu *c, uint64_t va);
uint64_t mem_read64(struct cpu *c, uint64_t va);
void mem_write8(struct cpu *c, uint64_t va, uint8_t value);
void mem_write16(struct cpu *c, uint64_t va, uint16_t value);
void mem_write32(struct cpu *c, uint64_t va, uint32_t value);
void mem_write64(struct cpu *c, uint64_t va, uint64_t value);

/*
 * 16 bytes (SIMD Q registers, pairs): value[0] is the low doubleword. A write faults before any
 * byte changes.
 */
void mem_read128(struct cpu *c, uint64_t va, uint64_t value[2]);
void mem_write128(struct cpu *c, uint64_t va, const uint64_t value[2]);

/*
 * Checks that [va, va + size) may be written (or read), without doing it: for instructions that
 * make several accesses and must not do half of them.
 */
void mem_probe(struct cpu *c, uint64_t va, unsigned size, bool write);

/*
 * The host address of an aligned location for a read-modify-write (size 1, 2, 4, 8 or 16), after
 * all checks for both reading and writing, marked dirty. NULL when it is device memory (the caller
 * then raises the unsupported-atomic abort).
 */
void *mem_atomic(struct cpu *c, uint64_t va, unsigned size);

#endif
