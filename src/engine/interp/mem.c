/* SPDX-License-Identifier: MIT */
/*
 * What the inline accessors of mem.h leave over: TLB misses, unaligned and page-crossing accesses,
 * device memory, watchpoints, and every fault.
 */
#include "engine/interp/mem.h"

#include "engine/interp/exception.h"
#include "engine/interp/interp.h"
#include "engine/interp/sysreg.h"

#include <string.h>

#define ISS_WNR (1u << 6)
#define ISS_CM  (1u << 8)

_Noreturn void mem_abort(struct cpu *c, uint64_t va, bool write, int fsc)
{
    cpu_raise_far(c, c->el ? EC_DABORT_SAME : EC_DABORT_LOWER,
                  (write ? ISS_WNR : 0) | (uint32_t)fsc, va);
}

static enum tlb_bank bank_of(const struct cpu *c, unsigned how)
{
    if (c->el == 0 || ((how & MEM_UNPRIV) && !c->uao))
        return TLB_EL0;
    return c->pan ? TLB_EL1_PAN : TLB_EL1;
}

/* Where one access that stays in its page goes. */
struct place {
    char *host; /* NULL: to the address space, at pa */
    uint64_t pa;
    bool device;
};

/*
 * Translates and checks [va, va + size), which does not cross a page. `aligned` is whether the
 * whole access is; Device memory wants that.
 */
static void locate(struct cpu *c, uint64_t va, unsigned size, bool write, unsigned how,
                   bool aligned, struct place *place)
{
    struct cpu_tlb *tlb = c->tlb;
    const enum tlb_bank bank = bank_of(c, how);
    const unsigned i = tlb_index(va);
    const struct tlb_entry *e = &tlb->bank[bank][i];
    const uint64_t page = va & ~MMU_PAGE_MASK;
    const enum mmu_access access = write ? MMU_WRITE : MMU_READ;

    if (((write ? e->write : e->read) & ~TLB_SLOW) == page) {
        place->host = (char *)(uintptr_t)(va + e->addend);
        place->device = tlb->pa[bank][i] & 1;
        place->pa = (tlb->pa[bank][i] & ~MMU_PAGE_MASK) | (va & MMU_PAGE_MASK);
    } else {
        struct mmu_result t;
        int fault = mmu_translate(c, va, access, bank, false, &t);
        if (fault != MMU_OK)
            mem_abort(c, va, write, fault);
        place->device = t.device;
        place->pa = t.pa;
        place->host = NULL;
        if (mmu_fill(c, va, access, bank, &t) && ((write ? e->write : e->read) & ~TLB_SLOW) == page)
            place->host = (char *)(uintptr_t)(va + e->addend);
    }
    if (PV_UNLIKELY(place->device && !aligned))
        mem_abort(c, va, write, FSC_ALIGNMENT);
    debug_check_watch(c, va, size, write, bank == TLB_EL0);
}

static void check_alignment(struct cpu *c, uint64_t va, unsigned size, bool write, unsigned how)
{
    if ((va & (size - 1)) && ((how & MEM_ALIGNED) || (sysreg_get(c, SYSREG_SCTLR_EL1) & SCTLR_A)))
        mem_abort(c, va, write, FSC_ALIGNMENT);
}

static bool crosses(uint64_t va, unsigned size)
{
    return (va & MMU_PAGE_MASK) + size > MMU_PAGE_MASK + 1;
}

/* ---- One access in one page ---- */

static uint64_t device_read(struct cpu *c, uint64_t va, const struct place *p, unsigned size)
{
    uint64_t value = 0;
    atomic_fetch_add_explicit(&c->tlb->mmio_exits, 1, memory_order_relaxed);
    interp_outside(c);
    int ret = pv_as_cpu_read(c->interp->as, p->pa, size, &value);
    interp_inside(c);
    if (ret < 0)
        mem_abort(c, va, false, FSC_EXTERNAL);
    return value;
}

static void device_write(struct cpu *c, uint64_t va, const struct place *p, unsigned size,
                         uint64_t value)
{
    atomic_fetch_add_explicit(&c->tlb->mmio_exits, 1, memory_order_relaxed);
    interp_outside(c);
    int ret = pv_as_cpu_write(c->interp->as, p->pa, size, value);
    interp_inside(c);
    if (ret < 0)
        mem_abort(c, va, true, FSC_EXTERNAL);
}

struct __attribute__((packed)) unaligned16 {
    uint16_t value;
};
struct __attribute__((packed)) unaligned32 {
    uint32_t value;
};
struct __attribute__((packed)) unaligned64 {
    uint64_t value;
};

/*
 * Races on guest memory are the guest's own; an unaligned access promises no atomicity (B2.2). It
 * goes through packed structures because memcpy() would be TSan's own, which watches it even here.
 */
__attribute__((no_sanitize("thread"))) static uint64_t load_unaligned(const void *host,
                                                                      unsigned size)
{
    switch (size) {
    case 2: return ((const struct unaligned16 *)host)->value;
    case 4: return ((const struct unaligned32 *)host)->value;
    default: return ((const struct unaligned64 *)host)->value;
    }
}

__attribute__((no_sanitize("thread"))) static void store_unaligned(void *host, unsigned size,
                                                                   uint64_t value)
{
    switch (size) {
    case 2: ((struct unaligned16 *)host)->value = (uint16_t)value; break;
    case 4: ((struct unaligned32 *)host)->value = (uint32_t)value; break;
    default: ((struct unaligned64 *)host)->value = value; break;
    }
}

static uint64_t load(const void *host, unsigned size)
{
    if ((uintptr_t)host & (size - 1))
        return load_unaligned(host, size);
    switch (size) {
    case 1: return __atomic_load_n((const uint8_t *)host, __ATOMIC_RELAXED);
    case 2: return __atomic_load_n((const uint16_t *)host, __ATOMIC_RELAXED);
    case 4: return __atomic_load_n((const uint32_t *)host, __ATOMIC_RELAXED);
    default: return __atomic_load_n((const uint64_t *)host, __ATOMIC_RELAXED);
    }
}

static void store(void *host, unsigned size, uint64_t value)
{
    if ((uintptr_t)host & (size - 1)) {
        store_unaligned(host, size, value);
        return;
    }
    switch (size) {
    case 1: __atomic_store_n((uint8_t *)host, (uint8_t)value, __ATOMIC_RELAXED); break;
    case 2: __atomic_store_n((uint16_t *)host, (uint16_t)value, __ATOMIC_RELAXED); break;
    case 4: __atomic_store_n((uint32_t *)host, (uint32_t)value, __ATOMIC_RELAXED); break;
    default: __atomic_store_n((uint64_t *)host, value, __ATOMIC_RELAXED); break;
    }
}

static uint64_t read_in_page(struct cpu *c, uint64_t va, unsigned size, unsigned how, bool aligned)
{
    struct place p;
    locate(c, va, size, false, how, aligned, &p);
    if (p.host)
        return load(p.host, size);
    return device_read(c, va, &p, size);
}

static void write_in_page(struct cpu *c, uint64_t va, unsigned size, uint64_t value, unsigned how,
                          bool aligned)
{
    struct place p;
    locate(c, va, size, true, how, aligned, &p);
    if (p.host)
        store(p.host, size, value);
    else
        device_write(c, va, &p, size, value);
}

/* ---- All accesses ---- */

/* Faults on either page come before anything is read or written. */
static void probe_both(struct cpu *c, uint64_t va, unsigned size, bool write, unsigned how,
                       bool aligned)
{
    struct place p;
    unsigned first = (unsigned)(MMU_PAGE_MASK + 1 - (va & MMU_PAGE_MASK));
    locate(c, va, PV_MIN(first, size), write, how, aligned, &p);
    if (first < size)
        locate(c, va + first, size - first, write, how, aligned, &p);
}

uint64_t mem_read_slow(struct cpu *c, uint64_t va, unsigned size, unsigned how)
{
    check_alignment(c, va, size, false, how);
    bool aligned = !(va & (size - 1));
    if (!crosses(va, size))
        return read_in_page(c, va, size, how, aligned);
    probe_both(c, va, size, false, how, false);
    uint64_t value = 0;
    for (unsigned i = 0; i < size; i++)
        value |= read_in_page(c, va + i, 1, how, false) << 8 * i;
    return value;
}

void mem_write_slow(struct cpu *c, uint64_t va, unsigned size, uint64_t value, unsigned how)
{
    check_alignment(c, va, size, true, how);
    bool aligned = !(va & (size - 1));
    if (!crosses(va, size)) {
        write_in_page(c, va, size, value, how, aligned);
        return;
    }
    probe_both(c, va, size, true, how, false);
    for (unsigned i = 0; i < size; i++)
        write_in_page(c, va + i, 1, value >> 8 * i & 0xff, how, false);
}

void mem_read128(struct cpu *c, uint64_t va, uint64_t value[2])
{
    uint64_t low = mem_read64(c, va);
    value[1] = mem_read64(c, va + 8);
    value[0] = low;
}

void mem_write128(struct cpu *c, uint64_t va, const uint64_t value[2])
{
    const struct tlb_entry *e = &c->tlb->current[tlb_index(va)];
    /* The first write cannot fault half way when both are in a page known to be writable. */
    if (!mem_hit(e->write, va, 8) || crosses(va, 16))
        mem_probe(c, va, 16, true);
    mem_write64(c, va, value[0]);
    mem_write64(c, va + 8, value[1]);
}

void mem_probe(struct cpu *c, uint64_t va, unsigned size, bool write)
{
    const struct tlb_entry *e = &c->tlb->current[tlb_index(va)];
    if ((write ? e->write : e->read) != (va & ~MMU_PAGE_MASK) || crosses(va, size))
        probe_both(c, va, size, write, 0, true);
}

void mem_check_block(struct cpu *c, uint64_t va)
{
    struct place p;
    locate(c, va, 1, true, 0, false, &p);
}

void *mem_atomic(struct cpu *c, uint64_t va, unsigned size)
{
    struct place p;
    /* ISS.WnR of an atomic is 0 for what would have stopped its read (D19.2.37). */
    check_alignment(c, va, size, false, MEM_ALIGNED);
    const struct tlb_entry *e = &c->tlb->current[tlb_index(va)];
    if (PV_LIKELY(e->write == (va & ~MMU_PAGE_MASK) && e->read == e->write))
        return (void *)(uintptr_t)(va + e->addend);
    locate(c, va, size, false, 0, true, &p);
    locate(c, va, size, true, 0, true, &p);
    if (p.host)
        return p.host;
    /* A page under a watchpoint is not in the TLB, but is memory all the same. */
    pv_as_mark_dirty(c->interp->as, p.pa & ~MMU_PAGE_MASK, PV_GUEST_PAGE);
    return pv_as_host(c->interp->as, p.pa, size, true);
}

const void *mem_exclusive(struct cpu *c, uint64_t va, unsigned size)
{
    struct place p;
    check_alignment(c, va, size, false, MEM_ALIGNED);
    const struct tlb_entry *e = &c->tlb->current[tlb_index(va)];
    if (PV_LIKELY(e->read == (va & ~MMU_PAGE_MASK)))
        return (const void *)(uintptr_t)(va + e->addend);
    locate(c, va, size, false, 0, true, &p);
    return p.host ? p.host : pv_as_host(c->interp->as, p.pa, size, false);
}

uint64_t mem_cache_operand(struct cpu *c, uint64_t va, bool write)
{
    struct mmu_result t;
    int fault = mmu_translate(c, va, write ? MMU_WRITE : MMU_READ, bank_of(c, 0), false, &t);
    if (fault != MMU_OK)
        cpu_raise_far(c, c->el ? EC_DABORT_SAME : EC_DABORT_LOWER,
                      ISS_CM | ISS_WNR | (uint32_t)fault, va);
    return t.pa;
}

/* ---- Instructions ---- */

static _Noreturn void fetch_abort(struct cpu *c, uint64_t va, int fsc)
{
    cpu_raise_far(c, c->el ? EC_IABORT_SAME : EC_IABORT_LOWER, (uint32_t)fsc, va);
}

const void *mem_fetch(struct cpu *c, uint64_t va, uint64_t *phys)
{
    struct cpu_tlb *tlb = c->tlb;
    const enum tlb_bank bank = bank_of(c, 0);
    const unsigned i = tlb_index(va);
    const struct tlb_entry *e = &tlb->bank[bank][i];

    if (va & 3)
        cpu_raise_far(c, EC_PC_ALIGN, 0, va);
    if (e->exec == (va & ~MMU_PAGE_MASK)) {
        *phys = (tlb->pa[bank][i] & ~MMU_PAGE_MASK) | (va & MMU_PAGE_MASK);
        return (const void *)(uintptr_t)(va + e->addend);
    }
    struct mmu_result t;
    int fault = mmu_translate(c, va, MMU_EXEC, bank, false, &t);
    if (fault != MMU_OK)
        fetch_abort(c, va, fault);
    *phys = t.pa;
    if (mmu_fill(c, va, MMU_EXEC, bank, &t) && e->exec == (va & ~MMU_PAGE_MASK))
        return (const void *)(uintptr_t)(va + e->addend);
    const void *host = pv_as_host(c->interp->as, t.pa, 4, false);
    if (!host)
        fetch_abort(c, va, FSC_EXTERNAL);
    return host;
}
