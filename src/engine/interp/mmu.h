/* SPDX-License-Identifier: MIT */
/*
 * Address translation of one PE: two levels of software TLB over the table walk. mmu.c says how.
 */
#ifndef PV_ENGINE_INTERP_MMU_H
#define PV_ENGINE_INTERP_MMU_H

#include "engine/interp/cpu.h"

#include <pthread.h>

#define MMU_PAGE_SHIFT 12
#define MMU_PAGE_MASK  UINT64_C(0xfff)

/* ---- First level: virtual page to host pointer ---- */

#define TLB_ENTRIES 1024u

/*
 * A tag is the page's address with every bit that matters, or TLB_NONE. With TLB_SLOW in it the
 * page is known, but only to those who ask for it: it has Device attributes, where unaligned
 * accesses fault, which fast paths do not look for.
 */
#define TLB_NONE (~UINT64_C(0))
#define TLB_SLOW UINT64_C(0x800)

struct tlb_entry {
    uint64_t read, write, exec;
    uintptr_t addend; /* host address = va + addend */
};

/* Whose rights the tags of a bank stand for. */
enum tlb_bank { TLB_EL0, TLB_EL1, TLB_EL1_PAN, TLB_BANKS };

static inline unsigned tlb_index(uint64_t va)
{
    return va >> MMU_PAGE_SHIFT & (TLB_ENTRIES - 1);
}

/* ---- Second level: virtual page and ASID to physical page ---- */

#define TLB2_ENTRIES 4096u

enum {
    PERM_UR = 1,
    PERM_UW = 2,
    PERM_UX = 4,
    PERM_PR = 8,
    PERM_PW = 16,
    PERM_PX = 32,
};

struct tlb2_entry {
    uint64_t page; /* VA[55:12] in place, bit 0 set; 0 when empty */
    uint64_t pa;
    uint16_t asid;
    bool global;
    bool device;
    uint8_t perms;
    uint8_t shift; /* log2 of the leaf's size: a block leaves many entries */
};

/* ---- Requests from other vCPUs ---- */

enum tlb_request_kind {
    TLB_FLUSH_NOTHING, /* only moves the epoch: translated code is gone */
    TLB_FLUSH_HOST,    /* host pointers only */
    TLB_FLUSH_ALL,
    TLB_FLUSH_ASID,
    TLB_FLUSH_VA,       /* in one ASID, and global */
    TLB_FLUSH_VA_ASIDS, /* in every ASID */
};

struct tlb_request {
    enum tlb_request_kind kind;
    uint16_t asid;
    uint64_t va;
};

#define TLB_QUEUE 32u

/* ---- The translation regime, decoded from the system registers ---- */

struct mmu_half {
    uint64_t base; /* of the first table */
    uint8_t va_bits;
    uint8_t granule; /* log2: 12, 14 or 16 */
    uint8_t level;   /* of the first table */
    bool bad_base;   /* beyond the output size */
    bool disabled;   /* EPDn */
    bool tbi, hpd, e0pd;
};

struct mmu_regime {
    bool on;
    bool wxn, hw_access, hw_dirty;
    uint8_t pa_bits;
    uint16_t asid;
    uint64_t mair;
    struct mmu_half half[2];
};

#define TLB_CODE_PAGES 8192u

struct cpu_tlb {
    struct tlb_entry *current; /* the bank of the current EL and PSTATE.PAN */
    uint64_t epoch;            /* changes when any translation may have changed */
    /*
     * By half: changes when code found by a virtual address in the present ASID may be elsewhere;
     * coarser than epoch. A bit for each page that mmu_code_found() named since it last did.
     */
    uint64_t code_epoch[2];
    uint64_t code_pages[2][TLB_CODE_PAGES / 64];
    bool stale;              /* a translation register changed; takes effect at mmu_sync() */
    bool must_sync;          /* sent requests that the next DSB waits for */
    bool high_not_global;    /* TTBR1's half of the first level holds entries of an ASID */
    bool low_global;         /* TTBR0's half of the second level holds global entries */
    bool used[TLB_BANKS][2]; /* with anything of TTBR0's and TTBR1's half in them */
    struct mmu_regime regime;

    struct tlb_entry bank[TLB_BANKS][TLB_ENTRIES];
    uint64_t pa[TLB_BANKS][TLB_ENTRIES]; /* physical page; bit 0: Device attributes */
    struct tlb2_entry second[TLB2_ENTRIES];
    uint64_t blocks[2][64]; /* per half, a bloom filter of the 2 MiB areas with leaves over 4 KiB */
    bool huge[2];           /* leaves over 2 MiB */

    /* The RAM or ROM region found last; size 0 when there is none. */
    uint64_t ram_start, ram_size;
    char *ram_host;
    bool ram_writable, ram_filling; /* the latter: it is not all there yet */

    _Atomic bool inside; /* in vcpu_run and not in a callback */
    pthread_mutex_t lock;
    struct tlb_request queue[TLB_QUEUE];
    unsigned queued;
    _Atomic uint64_t posted, done;

    _Atomic uint64_t mmio_exits;
    _Atomic uint64_t lookups, walks; /* statistics: of the second level, and of the tables */
};

/* A PE is allocated with its TLB behind it, where translated code finds it. */
struct cpu_with_tlb {
    struct cpu cpu;
    struct cpu_tlb tlb;
};

void mmu_create(struct cpu_with_tlb *pe);
void mmu_destroy(struct cpu *c);
void mmu_reset(struct cpu *c);

/* Context synchronization: makes written translation registers effective. */
void mmu_sync_slow(struct cpu *c);
static inline void mmu_sync(struct cpu *c)
{
    if (c->tlb->stale)
        mmu_sync_slow(c);
}

/* What PC becomes of an address in a register: with TBI, its top byte is no part of it (D8.9.2). */
static inline uint64_t mmu_branch_address(const struct cpu *c, uint64_t target)
{
    return c->tlb->regime.half[target >> 55 & 1].tbi ? (uint64_t)pv_sext(target, 56) : target;
}

/* After EL or PSTATE.PAN changed. */
static inline void mmu_context(struct cpu *c)
{
    c->tlb->current = c->tlb->bank[c->el == 0 ? TLB_EL0 : c->pan ? TLB_EL1_PAN : TLB_EL1];
}

/* The half of the address space, TTBR0's or TTBR1's. */
static inline unsigned mmu_half_of(uint64_t va)
{
    return va >> 55 & 1;
}

static inline unsigned mmu_code_bit(uint64_t va)
{
    return (va >> MMU_PAGE_SHIFT ^ va >> 25) & (TLB_CODE_PAGES - 1);
}

/* Code was found by its address `va`: when that is invalidated, code_epoch moves. */
static inline void mmu_code_found(struct cpu_tlb *tlb, uint64_t va)
{
    const unsigned bit = mmu_code_bit(va);
    tlb->code_pages[mmu_half_of(va)][bit / 64] |= UINT64_C(1) << bit % 64;
}

/* Forgets where code is. */
void mmu_code_moved(struct cpu_tlb *tlb, unsigned half);

/* Forgets translations of this PE. */
void mmu_flush(struct cpu *c, const struct tlb_request *request);
/* Has every other PE forget them; mmu_wait() (DSB) returns when they have. */
void mmu_broadcast(struct cpu *c, const struct tlb_request *request);
void mmu_wait(struct cpu *c);
/* Serves what others asked for. */
void mmu_serve(struct cpu *c);
/* For listeners, on any thread: posts to every PE and waits for those inside. */
struct interp;
void mmu_flush_everywhere(struct interp *interp, enum tlb_request_kind kind);
/* The same without waiting. */
void mmu_post_everywhere(struct interp *interp, enum tlb_request_kind kind);

/* ---- Translation ---- */

enum mmu_access { MMU_READ, MMU_WRITE, MMU_EXEC };

struct mmu_result {
    uint64_t pa; /* of the byte at va */
    uint8_t perms;
    uint8_t shift;
    uint8_t attr; /* the MAIR byte */
    uint8_t share;
    bool global, device;
};

#define MMU_OK (-1)

/*
 * Translates for one access by `bank`'s rights. Returns MMU_OK, or the fault status code
 * (ESR_EL1.ISS[5:0], Arm ARM D19.2.37). `fresh` walks the tables in any case.
 */
int mmu_translate(struct cpu *c, uint64_t va, enum mmu_access access, enum tlb_bank bank,
                  bool fresh, struct mmu_result *result);

/* Puts a translation where fast paths find it; false when the page is not host memory. */
bool mmu_fill(struct cpu *c, uint64_t va, enum mmu_access access, enum tlb_bank bank,
              const struct mmu_result *result);

/* Fault status codes that do not come from the walk. */
enum {
    FSC_EXTERNAL = 0x10,
    FSC_ALIGNMENT = 0x21,
    FSC_DEBUG = 0x22,
    FSC_UNSUPPORTED_ATOMIC = 0x35,
};

#endif
