/* SPDX-License-Identifier: MIT */
/*
 * Guest memory as instruction handlers see it. Sizes are bytes. All of these raise the
 * architecture's exception when the access is not allowed, and do not return then.
 *
 * The inline part is the whole of a hit: one compare tells that the page is known, that the rights
 * suffice and that the access is aligned (so it cannot cross a page), because the address bits that
 * would make it unaligned are left in the value compared with the tag, where they are zero.
 */
#ifndef PV_ENGINE_INTERP_MEM_H
#define PV_ENGINE_INTERP_MEM_H

#include "engine/interp/cpu.h"
#include "engine/interp/mmu.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "guest memory is accessed in place");

/* How an access is made beyond its size. */
#define MEM_UNPRIV  1u /* LDTR, STTR */
#define MEM_ALIGNED 2u /* exclusive, atomic, acquire, release: must be aligned to its size */

uint64_t mem_read_slow(struct cpu *c, uint64_t va, unsigned size, unsigned how);
void mem_write_slow(struct cpu *c, uint64_t va, unsigned size, uint64_t value, unsigned how);

static inline bool mem_hit(uint64_t tag, uint64_t va, unsigned size)
{
    return PV_LIKELY(tag == (va & (~MMU_PAGE_MASK | (size - 1))));
}

#define MEM_ACCESSORS(bits)                                                                        \
    static inline uint##bits##_t mem_read##bits(struct cpu *c, uint64_t va)                        \
    {                                                                                              \
        const struct tlb_entry *e = &c->tlb->current[tlb_index(va)];                               \
        if (mem_hit(e->read, va, (bits) / 8))                                                      \
            return __atomic_load_n((const uint##bits##_t *)(uintptr_t)(va + e->addend),            \
                                   __ATOMIC_RELAXED);                                              \
        return (uint##bits##_t)mem_read_slow(c, va, (bits) / 8, 0);                                \
    }                                                                                              \
    static inline void mem_write##bits(struct cpu *c, uint64_t va, uint##bits##_t value)           \
    {                                                                                              \
        const struct tlb_entry *e = &c->tlb->current[tlb_index(va)];                               \
        if (mem_hit(e->write, va, (bits) / 8))                                                     \
            __atomic_store_n((uint##bits##_t *)(uintptr_t)(va + e->addend), value,                 \
                             __ATOMIC_RELAXED);                                                    \
        else                                                                                       \
            mem_write_slow(c, va, (bits) / 8, value, 0);                                           \
    }

MEM_ACCESSORS(8)
MEM_ACCESSORS(16)
MEM_ACCESSORS(32)
MEM_ACCESSORS(64)
#undef MEM_ACCESSORS

/*
 * 16 bytes (SIMD Q registers, pairs): value[0] is the low doubleword. A write faults before any
 * byte changes.
 */
void mem_read128(struct cpu *c, uint64_t va, uint64_t value[2]);
void mem_write128(struct cpu *c, uint64_t va, const uint64_t value[2]);

/*
 * Checks that [va, va + size) may be written (or read), without doing it: for instructions that
 * make several accesses and must not do half of them. size is at most 4096.
 */
void mem_probe(struct cpu *c, uint64_t va, unsigned size, bool write);

/* For stores of several elements: the second page's fault comes before the first is written to. */
static inline void mem_probe_crossing(struct cpu *c, uint64_t va, unsigned size)
{
    if (PV_UNLIKELY((va & MMU_PAGE_MASK) + size > MMU_PAGE_MASK + 1))
        mem_probe(c, va, size, true);
}

/*
 * DC ZVA's checks with its operand, which becomes the fault's address: the page may be written, and
 * is not Device memory, where the instruction is an alignment fault.
 */
void mem_check_block(struct cpu *c, uint64_t va);

/*
 * The host address of an aligned location for a read-modify-write (size 1, 2, 4, 8 or 16), after
 * all checks for both reading and writing, marked dirty. NULL when it is device memory (the caller
 * then raises the unsupported-atomic abort).
 */
void *mem_atomic(struct cpu *c, uint64_t va, unsigned size);

/* The same for a load-exclusive, after the checks for reading; NULL when it is device memory. */
const void *mem_exclusive(struct cpu *c, uint64_t va, unsigned size);

/*
 * The host address of the instruction at `va`, good to the end of its 4 KiB page until
 * c->tlb->epoch changes, and its physical address. Raises the instruction abort or the PC
 * alignment fault; execution from device memory is an external abort.
 */
const void *mem_fetch(struct cpu *c, uint64_t va, uint64_t *phys);

/* Raises a data abort with this fault status; `write` is ISS.WnR. */
_Noreturn void mem_abort(struct cpu *c, uint64_t va, bool write, int fsc);

/*
 * A cache maintenance instruction's operand: translated with the current EL's rights to read; its
 * faults have ISS.CM set.
 */
uint64_t mem_cache_operand(struct cpu *c, uint64_t va, bool write);

#endif
