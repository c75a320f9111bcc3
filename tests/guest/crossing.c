/* SPDX-License-Identifier: MIT */
/*
 * Accesses that cross into a page where they fault: the address is the second page's, and neither
 * memory nor registers have changed. And tagged addresses.
 */
#include "expect.h"

#define SECOND (WINDOW + PAGE)

SNIPPET(load_2, "ldrh w1, [x0]");
SNIPPET(load_8, "ldr x1, [x0]");
SNIPPET(load_pre, "ldr x1, [x0, #0]!");
SNIPPET(load_post, "ldr x1, [x0], #8");
SNIPPET(load_pair, "ldp x1, x2, [x0]");
SNIPPET(load_pair_post, "ldp x1, x2, [x0], #16");
SNIPPET(load_pair_base, "ldp x0, x2, [x0]");
SNIPPET(store_2, "strh w1, [x0]");
SNIPPET(store_8, "str x1, [x0]");
SNIPPET(store_post, "str x1, [x0], #8");
SNIPPET(store_pair, "stp x1, x2, [x0]");
SNIPPET(store_pair_post, "stp x1, x2, [x0], #16");
SNIPPET(load_q, ".arch_extension simd\n\tldr q1, [x0]");
SNIPPET(store_q, ".arch_extension simd\n\tstr q1, [x0]");
SNIPPET(load_pair_q, ".arch_extension simd\n\tldp q1, q2, [x0], #32");
SNIPPET(store_pair_q, ".arch_extension simd\n\tstp q1, q2, [x0], #32");
SNIPPET(store_many, ".arch_extension simd\n\tst4 {v0.16b-v3.16b}, [x0], #64");

static const struct {
    const uint32_t *code;
    unsigned size;
    bool write;
} rows[] = {
    {load_2, 2, false},       {load_8, 8, false},          {load_pre, 8, false},
    {load_post, 8, false},    {load_pair, 16, false},      {load_pair_post, 16, false},
    {load_q, 16, false},      {load_pair_q, 32, false},    {load_pair_base, 16, false},
    {store_2, 2, true},       {store_8, 8, true},          {store_post, 8, true},
    {store_pair, 16, true},   {store_pair_post, 16, true}, {store_q, 16, true},
    {store_pair_q, 32, true}, {store_many, 64, true},
};

static void one(unsigned row, unsigned before, uint64_t pstate, unsigned fsc)
{
    volatile uint8_t *first = (volatile uint8_t *)(uintptr_t)FREE_PAGE(0);
    const uint64_t va = SECOND - before;
    for (unsigned i = 0; i < 64; i++)
        first[PAGE - 64 + i] = (uint8_t)i;
    f.x[0] = va;
    f.x[1] = f.x[2] = UINT64_C(0x1111111111111111);
    EXPECT(rows[row].code, 0, pstate,
           ESR(EC_DABORT + (pstate == EL1), fsc | (rows[row].write ? WNR : 0)));
    CHECK_EQ(f.far, SECOND);
    CHECK_EQ(f.x[0], va);
    CHECK_EQ(f.x[1], UINT64_C(0x1111111111111111));
    CHECK_EQ(f.x[2], UINT64_C(0x1111111111111111));
    for (unsigned i = 0; i < 64; i++)
        CHECK_EQ(first[PAGE - 64 + i], i);
}

static void second_faults(uint64_t desc, unsigned fsc, bool reads)
{
    map(0, FREE_PAGE(0) | DESC_PAGE | DESC_NORMAL | DESC_EL0);
    map(1, desc);
    for (unsigned row = 0; row < sizeof(rows) / sizeof(rows[0]); row++)
        for (unsigned before = 1; before < rows[row].size; before++)
            if (reads || rows[row].write) {
                one(row, before, EL1, fsc);
                one(row, before, PSTATE_EL0, fsc);
            }
}

/* Both pages there, apart in memory: the bytes end up where they belong. */
static void crossing_works(void)
{
    volatile uint8_t *const pages[] = {(volatile uint8_t *)(uintptr_t)FREE_PAGE(0),
                                       (volatile uint8_t *)(uintptr_t)FREE_PAGE(3)};
    map(0, FREE_PAGE(0) | DESC_PAGE | DESC_NORMAL | DESC_EL0);
    map(1, FREE_PAGE(3) | DESC_PAGE | DESC_NORMAL | DESC_EL0);
    for (unsigned before = 1; before < 8; before++) {
        f.x[0] = SECOND - before;
        f.x[1] = UINT64_C(0x0807060504030201) + before;
        const uint64_t value = f.x[1];
        EXPECT(store_8, 2, PSTATE_EL0, ESR(EC_SVC, 0xff));
        for (unsigned i = 0; i < 8; i++)
            CHECK_EQ(i < before ? pages[0][PAGE - before + i] : pages[1][i - before],
                     value >> 8 * i & 0xff);
        f.x[1] = 0;
        EXPECT(load_8, 2, PSTATE_EL0, ESR(EC_SVC, 0xff));
        CHECK_EQ(f.x[1], value);
    }
}

SNIPPET(branch, "br x0");
SNIPPET(call, "blr x0");
SNIPPET(back, "ret x0");
SNIPPET(landing, "nop");

/* TCR_EL1.TBI0: the top byte is ignored by accesses, and no part of PC after a branch. */
static void tags(void)
{
    const uint64_t tag = UINT64_C(0x5a) << 56;
    const uint32_t *const branches[] = {branch, call, back};
    for (unsigned i = 0; i < 3; i++) {
        f.x[0] = USER(landing) | tag;
        go(branches[i], PSTATE_EL0);
        CHECK_EQ(f.esr, ESR(EC_IABORT, FSC_TRANS));
        CHECK_EQ(f.pc, USER(landing) | tag);
    }
    WRITE_SYSREG(tcr_el1, READ_SYSREG(tcr_el1) | UINT64_C(1) << 37);
    for (unsigned i = 0; i < 3; i++) {
        f.x[0] = USER(landing) | tag;
        go(branches[i], PSTATE_EL0);
        CHECK_EQ(f.esr, ESR(EC_SVC, 0xff));
        CHECK_EQ(f.pc, USER(landing + 2));
    }
    f.x[0] = USER(landing);
    go(landing, PSTATE_EL0);
    f.x[0] = tag | WINDOW;
    EXPECT(load_8, 2, PSTATE_EL0, ESR(EC_SVC, 0xff));
}

void guest_main(unsigned cpu)
{
    second_faults(0, FSC_TRANS + 3, true);
    second_faults(FREE_PAGE(1) | DESC_PAGE, FSC_ACCESS + 3, true);
    second_faults(FREE_PAGE(1) | DESC_PAGE | DESC_NORMAL | DESC_EL0 | DESC_RO, FSC_PERM + 3, false);
    crossing_works();
    tags();
}
