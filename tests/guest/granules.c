/* SPDX-License-Identifier: MIT */
/*
 * Translation granules of 4, 16 and 64 KiB (D8.2), in both halves of the address space: leaves and
 * faults of every level, permissions, contiguous entries, input sizes, invalidation. The program
 * itself runs under each granule in turn, by tables that have it where lib.c has it; a window at
 * WINDOW, and the same again in the upper half, is there for the tests.
 */
#include "expect.h"

#define HIGH        UINT64_C(0xffff000000000000)
#define TABLE_SPACE UINT64_C(0x40200000) /* 64 KiB for a level of a granule in a half */
#define DATA(n)     (UINT64_C(0x40380000) + UINT64_C(0x10000) * (n))
#define DESC_BLOCK  DESC_VALID
#define DESC_CONT   (UINT64_C(1) << 52)
#define TABLE_AP0   (UINT64_C(1) << 61) /* APTable: nothing for EL0 */
#define TABLE_RO    (UINT64_C(1) << 62)
#define TABLE_PXN   (UINT64_C(1) << 59)
#define TABLE_UXN   (UINT64_C(1) << 60)
#define BEYOND      (UINT64_C(1) << 41) /* TCR_EL1.IPS says 40 bits */
#define SHORTEST    25u                 /* bits of addresses: TnSZ is 39 at most */
#define CODE_OFFSET 0x40u
#define DONE        ESR(EC_SVC, 0xff)
#define FETCHED     ESR(EC_SVC, 0xfe)
#define SVC_FETCHED 0xd4001fc1u

static const struct granule {
    unsigned shift;      /* log2 of a page */
    unsigned tg0, tg1;   /* as TCR_EL1 says it */
    unsigned start;      /* level where 48-bit addresses begin */
    unsigned block;      /* first level that may have blocks */
    unsigned contiguous; /* so many level 3 entries may be one */
} granules[] = {
    {12, 0, 2, 0, 1, 16},
    {14, 2, 1, 0, 2, 128},
    {16, 1, 3, 1, 2, 32},
};
#define GRANULES (sizeof(granules) / sizeof(granules[0]))

static const struct granule *g; /* the one under test */

static bool supported(const struct granule *granule)
{
    const uint64_t mmfr0 = READ_SYSREG(id_aa64mmfr0_el1);
    switch (granule->shift) {
    case 12: return (mmfr0 >> 28 & 15) != 15;
    case 14: return mmfr0 >> 20 & 15;
    default: return (mmfr0 >> 24 & 15) != 15;
    }
}

/* ---- Tables ---- */

/* log2 of what an entry of a level spans. */
static unsigned span_shift(const struct granule *granule, unsigned level)
{
    return granule->shift + (3 - level) * (granule->shift - 3);
}

static uint64_t span(unsigned level)
{
    return UINT64_C(1) << span_shift(g, level);
}

static uint64_t table(const struct granule *granule, bool high, unsigned level)
{
    const uint64_t index = (uint64_t)(granule - granules) * 2 + high;
    return TABLE_SPACE + index * 0x40000 + level * 0x10000;
}

static volatile uint64_t *entry(const struct granule *granule, unsigned level, uint64_t va)
{
    const uint64_t index = (va & ~HIGH) >> span_shift(granule, level);
    const uint64_t mask = (UINT64_C(1) << (granule->shift - 3)) - 1;
    return (volatile uint64_t *)(uintptr_t)table(granule, va >> 63, level) + (index & mask);
}

/* In the lower half RAM for EL1, and again for EL0, and the device; a window in both. */
static void build(const struct granule *granule)
{
    const unsigned block = granule->block;
    const uint64_t device = DEVICE & ~((UINT64_C(1) << span_shift(granule, block)) - 1);
    for (unsigned level = granule->start; level < 3; level++) {
        *entry(granule, level, WINDOW) = table(granule, false, level + 1) | DESC_TABLE;
        *entry(granule, level, HIGH | WINDOW) = table(granule, true, level + 1) | DESC_TABLE;
    }
    *entry(granule, block, DEVICE) =
        device | DESC_BLOCK | DESC_AF | DESC_DEVICE | DESC_UXN | DESC_PXN;
    *entry(granule, block, RAM_BASE) = RAM_BASE | DESC_BLOCK | DESC_NORMAL | DESC_UXN;
    *entry(granule, block, USER(RAM_BASE)) = RAM_BASE | DESC_BLOCK | DESC_NORMAL | DESC_EL0;
}

/*
 * Both halves' granules and tables, and the size of the upper half in bits. As a granule cannot
 * change under a running MMU, it is off in between; this code is where its address says.
 */
static void use(const struct granule *low, const struct granule *high, uint64_t root, unsigned bits)
{
    const uint64_t tcr = 16 | UINT64_C(0x3500) | (uint64_t)low->tg0 << 14 |
                         (uint64_t)(64 - bits) << 16 | UINT64_C(0x35000000) |
                         (uint64_t)high->tg1 << 30 | UINT64_C(2) << 32;
    const uint64_t on = READ_SYSREG(sctlr_el1);
    ASM("dsb ish");
    asm volatile("msr sctlr_el1, %0\n\tisb\n\t"
                 "msr tcr_el1, %2\n\tmsr ttbr0_el1, %3\n\tmsr ttbr1_el1, %4\n\tisb\n\t"
                 "tlbi vmalle1\n\tdsb nsh\n\tisb\n\t"
                 "msr sctlr_el1, %1\n\tisb" ::"r"(on & ~UINT64_C(1)),
                 "r"(on), "r"(tcr), "r"(table(low, false, low->start)), "r"(root)
                 : "memory");
}

static void invalidate(void)
{
    ASM("dsb ishst\n\ttlbi vmalle1is\n\tdsb ish\n\tisb");
}

/* Writes the entry that translates `va` at a level; returns what it was. */
static uint64_t put(unsigned level, uint64_t va, uint64_t desc)
{
    volatile uint64_t *at = entry(g, level, va);
    const uint64_t old = *at;
    *at = desc;
    invalidate();
    return old;
}

/* A leaf of a level that has DATA(n) in it, and where DATA(n) is then in what it spans. */
static uint64_t leaf(unsigned level, unsigned n)
{
    return (DATA(n) & ~(span(level) - 1)) | (level == 3 ? DESC_PAGE : DESC_BLOCK);
}

static uint64_t leaf_offset(unsigned level, unsigned n)
{
    return DATA(n) & (span(level) - 1);
}

/* ---- Accesses ---- */

SNIPPET(load, "ldr x1, [x0]");
SNIPPET(store, "str x1, [x0]");

enum access { LOAD, STORE, FETCH };

/* One access, from EL0 or EL1. */
static void access(enum access what, uint64_t va, bool el0)
{
    const uint64_t code = (uintptr_t)(what == LOAD ? load : store);
    f.x[0] = va;
    f.x[1] = 0x77;
    f.pc = what == FETCH ? va + CODE_OFFSET : el0 ? USER(code) : code;
    f.pstate = el0 ? PSTATE_EL0 : EL1;
    enter(&f);
}

static void works(unsigned line, enum access what, uint64_t va, bool el0)
{
    access(what, va, el0);
    if (f.esr != (what == FETCH ? FETCHED : DONE))
        fail(line, f.esr, what);
}
#define WORKS(what, va, el0) works(__LINE__, what, va, el0)

static void faults(unsigned line, enum access what, uint64_t va, bool el0, unsigned fsc)
{
    const unsigned ec = (what == FETCH ? EC_IABORT : EC_DABORT) + !el0;
    access(what, va, el0);
    if (f.esr != ESR(ec, fsc | (what == STORE ? WNR : 0)))
        fail(line, f.esr, ESR(ec, fsc | (what == STORE ? WNR : 0)));
    if (f.far != (what == FETCH ? va + CODE_OFFSET : va))
        fail(line, f.far, va);
}
#define FAULTS(what, va, el0, fsc) faults(__LINE__, what, va, el0, fsc)

/* Whatever it is and whoever does it. */
static void all_fault(unsigned line, uint64_t va, unsigned fsc)
{
    for (unsigned el0 = 0; el0 < 2; el0++)
        for (enum access what = LOAD; what <= FETCH; what++)
            faults(line, what, va, el0, fsc);
}
#define ALL_FAULT(va, fsc) all_fault(__LINE__, va, fsc)

static uint64_t read_at(uint64_t va)
{
    WORKS(LOAD, va, false);
    return f.x[1];
}

/* Each 4 KiB of DATA has its own address in it, and the code for FETCH. */
static void fill_data(void)
{
    for (uint64_t at = DATA(0); at < DATA(4); at += PAGE) {
        *(volatile uint64_t *)(uintptr_t)at = at;
        *(volatile uint32_t *)(uintptr_t)(at + CODE_OFFSET) = SVC_FETCHED;
        asm volatile("dc cvau, %0\n\tdsb ish\n\tic ivau, %0" ::"r"(at + CODE_OFFSET) : "memory");
    }
    ASM("dsb ish\n\tisb");
}

/* ---- Leaves ---- */

static void pages(uint64_t va)
{
    const uint64_t size = span(3);
    put(3, va, leaf(3, 1) | DESC_NORMAL);
    put(3, va + size, leaf(3, 0) | DESC_NORMAL);
    for (uint64_t offset = 0; offset < size; offset += PAGE) {
        CHECK_EQ(read_at(va + offset), DATA(1) + offset);
        CHECK_EQ(read_at(va + size + offset), DATA(0) + offset);
    }
    WORKS(STORE, va + size - 8, false);
    CHECK_EQ(*(volatile uint64_t *)(uintptr_t)(DATA(1) + size - 8), 0x77);
    /* From the last bytes of one into the next. */
    CHECK_EQ(read_at(va + size - 4), (DATA(0) & 0xffffffff) << 32);
    put(3, va + size, 0);
    access(LOAD, va + size - 4, false);
    CHECK_EQ(f.esr, ESR(EC_DABORT + 1, FSC_TRANS + 3));
    CHECK_EQ(f.far, va + size);
    *(volatile uint64_t *)(uintptr_t)(DATA(1) + size - 8) = 0;
}

static void permissions(uint64_t base, unsigned level)
{
    const uint64_t desc = leaf(level, 0), va = base + leaf_offset(level, 0);
    put(level, va, desc | DESC_NORMAL);
    CHECK_EQ(read_at(va), DATA(0));
    WORKS(STORE, va + 16, false);
    WORKS(FETCH, va, false);
    FAULTS(LOAD, va, true, FSC_PERM + level);
    FAULTS(STORE, va, true, FSC_PERM + level);
    put(level, va, desc | DESC_NORMAL | DESC_RO | DESC_PXN);
    WORKS(LOAD, va, false);
    WORKS(FETCH, va, true);
    FAULTS(STORE, va, false, FSC_PERM + level);
    FAULTS(FETCH, va, false, FSC_PERM + level);
    put(level, va, desc | DESC_NORMAL | DESC_EL0 | DESC_UXN);
    WORKS(LOAD, va, true);
    WORKS(STORE, va + 16, true);
    FAULTS(FETCH, va, true, FSC_PERM + level);
    FAULTS(FETCH, va, false, FSC_PERM + level); /* what EL0 can write, EL1 does not execute */
    put(level, va, desc | DESC_NORMAL | DESC_EL0 | DESC_RO);
    WORKS(LOAD, va, true);
    WORKS(FETCH, va, true);
    WORKS(FETCH, va, false);
    FAULTS(STORE, va, true, FSC_PERM + level);
    FAULTS(STORE, va, false, FSC_PERM + level);
    put(level, va, desc | (DESC_NORMAL & ~DESC_AF) | DESC_EL0);
    ALL_FAULT(va, FSC_ACCESS + level);
    put(level, va, desc | DESC_NORMAL | BEYOND);
    ALL_FAULT(va, FSC_SIZE + level);
}

static void leaves(uint64_t va)
{
    for (unsigned level = g->block; level <= 3; level++) {
        const uint64_t old = put(level, va, 0);
        permissions(va, level);
        put(level, va, old);
    }
}

/* ---- Tables ---- */

/* What is no descriptor at each level, and what tables take from all that is below them. */
static void walks(uint64_t va)
{
    put(3, va, leaf(3, 0) | DESC_NORMAL);
    /* In the lower half, what is above level `block` has the program too. */
    for (unsigned level = va >> 63 ? g->start : g->block; level <= 3; level++) {
        const uint64_t old = put(level, va, 0);
        ALL_FAULT(va, FSC_TRANS + level);
        put(level, va, 2);
        ALL_FAULT(va, FSC_TRANS + level);
        if (level < g->block || level == 3) { /* no blocks here */
            put(level, va, RAM_BASE | DESC_BLOCK | DESC_NORMAL);
            ALL_FAULT(va, FSC_TRANS + level);
        }
        put(level, va, old | BEYOND);
        ALL_FAULT(va, FSC_SIZE + level);
        put(level, va, old);
        CHECK_EQ(read_at(va), DATA(0));
    }
    put(3, va, leaf(3, 0) | DESC_NORMAL | DESC_EL0);
    const uint64_t old = put(2, va, *entry(g, 2, va) | TABLE_RO);
    WORKS(LOAD, va, true);
    FAULTS(STORE, va, true, FSC_PERM + 3);
    FAULTS(STORE, va, false, FSC_PERM + 3);
    put(2, va, old | TABLE_AP0);
    FAULTS(LOAD, va, true, FSC_PERM + 3);
    WORKS(STORE, va + 16, false);
    put(3, va, leaf(3, 0) | DESC_NORMAL | DESC_EL0 | DESC_RO);
    put(2, va, old | TABLE_PXN);
    WORKS(FETCH, va, true);
    FAULTS(FETCH, va, false, FSC_PERM + 3);
    put(2, va, old | TABLE_UXN);
    WORKS(FETCH, va, false);
    FAULTS(FETCH, va, true, FSC_PERM + 3);
    put(2, va, old);
}

/* Entries that are one: all of them translate, however much of it is looked up at once. */
static void contiguous(uint64_t va)
{
    const uint64_t desc = TABLE_SPACE | DESC_PAGE | DESC_NORMAL | DESC_RO | DESC_CONT;
    for (unsigned i = 0; i < g->contiguous; i++)
        *entry(g, 3, va + i * span(3)) = desc + i * span(3);
    invalidate();
    for (unsigned i = 0; i < g->contiguous; i++) {
        const uint64_t at = (i + 5) % g->contiguous * span(3) + i % 4 * 8;
        CHECK_EQ(read_at(va + at), *(volatile uint64_t *)(uintptr_t)(TABLE_SPACE + at));
        FAULTS(STORE, va + at, false, FSC_PERM + 3);
    }
    FAULTS(LOAD, va + g->contiguous * span(3), false, FSC_TRANS + 3);
    for (unsigned i = 0; i < g->contiguous; i++)
        *entry(g, 3, va + i * span(3)) = 0;
    invalidate();
    FAULTS(LOAD, va + span(3), false, FSC_TRANS + 3);
}

/* ---- Invalidation ---- */

enum { BY_VA, BY_VA_LAST, BY_VA_ALL_ASIDS, BY_VA_ALL_ASIDS_LAST, BY_ASID, EVERYTHING, KINDS };

static void tlbi(unsigned kind, uint64_t va)
{
    const uint64_t page = va >> 12 & ((UINT64_C(1) << 44) - 1); /* ASID 0 */
    ASM("dsb ishst");
    switch (kind) {
    case BY_VA: asm volatile("tlbi vae1is, %0" ::"r"(page) : "memory"); break;
    case BY_VA_LAST: asm volatile("tlbi vale1is, %0" ::"r"(page) : "memory"); break;
    case BY_VA_ALL_ASIDS: asm volatile("tlbi vaae1is, %0" ::"r"(page) : "memory"); break;
    case BY_VA_ALL_ASIDS_LAST: asm volatile("tlbi vaale1is, %0" ::"r"(page) : "memory"); break;
    case BY_ASID: asm volatile("tlbi aside1is, xzr" ::: "memory"); break;
    default: ASM("tlbi vmalle1is"); break;
    }
    ASM("dsb ish\n\tisb");
}

/* Any address in a page or block stands for all of it. */
static void invalidation(uint64_t base)
{
    for (unsigned level = 2; level <= 3; level++) {
        const uint64_t old = put(level, base, 0);
        const uint64_t va = base + leaf_offset(level, 0), end = base + span(level) - PAGE;
        for (unsigned kind = 0; kind < KINDS; kind++) {
            put(level, base, leaf(level, 0) | DESC_NORMAL | DESC_NG);
            CHECK_EQ(read_at(va), DATA(0));
            WORKS(STORE, va + 16, false);
            WORKS(FETCH, va, false);
            *entry(g, level, base) = 0;
            tlbi(kind, end);
            FAULTS(LOAD, va, false, FSC_TRANS + level);
            FAULTS(STORE, va, false, FSC_TRANS + level);
            FAULTS(FETCH, va, false, FSC_TRANS + level);
            *entry(g, level, base) = leaf(level, 0) | DESC_NORMAL | DESC_NG | DESC_RO;
            ASM("dsb ishst\n\tisb"); /* what was invalid is in no TLB */
            CHECK_EQ(read_at(va), DATA(0));
            FAULTS(STORE, va, false, FSC_PERM + level);
        }
        put(level, base, old);
    }
}

/* ---- Input sizes ---- */

/* The upper half with fewer bits: walks begin later, or in a table that is not used whole. */
static void size(unsigned level, unsigned bits)
{
    const uint64_t first = ~UINT64_C(0) << bits;
    use(&granules[0], g, table(g, true, level), bits);
    CHECK_EQ(read_at(first | (WINDOW & ~first)), DATA(2));
    FAULTS(LOAD, first - 8, false, FSC_TRANS);
    if (bits < 48)
        FAULTS(FETCH, HIGH | WINDOW, false, FSC_TRANS);
}

static void sizes(void)
{
    put(3, HIGH | WINDOW, leaf(3, 2) | DESC_NORMAL);
    for (unsigned level = g->start; level <= 3; level++) {
        const unsigned least = span_shift(g, level), most = least + g->shift - 3;
        if (most >= SHORTEST)
            size(level, most < 48 ? most : 48);
        if (most - 1 >= SHORTEST && most <= 48)
            size(level, most - 1);
    }
}

/* Halves of different granules, which a TLB must not confuse. */
static void mixed(void)
{
    for (unsigned i = 0; i < GRANULES * GRANULES; i++) {
        const struct granule *low = &granules[i / GRANULES], *high = &granules[i % GRANULES];
        if (!supported(low) || !supported(high))
            continue;
        use(low, high, table(high, true, high->start), 48);
        g = low;
        put(3, WINDOW, leaf(3, 0) | DESC_NORMAL);
        put(3, WINDOW + span(3), leaf(3, 1) | DESC_NORMAL);
        g = high;
        put(3, HIGH | WINDOW, leaf(3, 2) | DESC_NORMAL);
        put(3, (HIGH | WINDOW) + span(3), leaf(3, 3) | DESC_NORMAL);
        for (unsigned n = 0; n < 2; n++) {
            CHECK_EQ(read_at(WINDOW + (n << low->shift)), DATA(n));
            CHECK_EQ(read_at((HIGH | WINDOW) + (n << high->shift)), DATA(2 + n));
        }
    }
}

static void test(const struct granule *granule)
{
    g = granule;
    use(g, g, table(g, true, g->start), 48);
    for (unsigned half = 0; half < 2; half++) {
        const uint64_t va = half ? HIGH | WINDOW : WINDOW;
        pages(va);
        leaves(va);
        walks(va);
        contiguous(va);
        invalidation(va);
    }
    sizes();
}

void guest_main(unsigned cpu)
{
    fill_data();
    for (unsigned i = 0; i < GRANULES; i++)
        if (supported(&granules[i]))
            build(&granules[i]);
    for (unsigned i = 0; i < GRANULES; i++)
        if (supported(&granules[i]))
            test(&granules[i]);
    mixed();
}
