/* SPDX-License-Identifier: MIT */
/* What ID registers promise of EL1 (spec/features.tsv), as software uses it. */
#include "expect.h"

asm(".arch armv8.5-a");

#define TCR_HA      (UINT64_C(1) << 39)
#define TCR_HD      (UINT64_C(1) << 40)
#define TCR_HPD0    (UINT64_C(1) << 41)
#define TCR_E0PD0   (UINT64_C(1) << 55)
#define TTBR_CNP    UINT64_C(1)
#define TABLE_AP0   (UINT64_C(1) << 61) /* APTable: nothing for EL0 */
#define TABLE_RO    (UINT64_C(1) << 62)
#define DESC_DBM    (UINT64_C(1) << 51)
#define DESC_CONT   (UINT64_C(1) << 52)
#define PSTATE_PAN  (UINT64_C(1) << 22)
#define PSTATE_SSBS (UINT64_C(1) << 12)
#define SCTLR_SPAN  (UINT64_C(1) << 23)
#define SCTLR_DSSBS (UINT64_C(1) << 44)

#define DONE ESR(EC_SVC, 0xff)
#define DATA (FREE_PAGE(0) | DESC_PAGE | DESC_NORMAL)

SNIPPET(load, "ldr x1, [x0]");
SNIPPET(store, "str x1, [x0]");
SNIPPET(load_unprivileged, "ldtr x1, [x0]");

static void set_tcr(uint64_t bits)
{
    static uint64_t initial;
    if (!initial)
        initial = READ_SYSREG(tcr_el1);
    WRITE_SYSREG(tcr_el1, initial | bits);
    ASM("tlbi vmalle1is\n\tdsb ish\n\tisb");
}

/* A return to AArch32, which no exception level has, is illegal (D1.4.2). */
static void aarch64_only(void)
{
    go(load, 0x10 | PSTATE_DAIF);
    CHECK_EQ(f.esr, ESR(EC_ILLEGAL, 0));
    CHECK_EQ(f.pc, USER(load));
}

/* ---- PAN, and PAN2's address translation ---- */

/* AT S1E1RP or S1E1WP on the window's first page: PAR_EL1's fault status, 0 for none. */
static unsigned translate(bool pan, bool write)
{
    WRITE_SYSREG(pan, pan ? PSTATE_PAN : 0);
    if (write)
        asm volatile("at s1e1wp, %0\n\tisb" ::"r"(WINDOW) : "memory");
    else
        asm volatile("at s1e1rp, %0\n\tisb" ::"r"(WINDOW) : "memory");
    WRITE_SYSREG(pan, 0);
    const uint64_t par = READ_SYSREG(par_el1);
    return par & 1 ? par >> 1 & 63 : 0;
}

static void pan(void)
{
    map(0, DATA | DESC_EL0);
    f.x[0] = WINDOW;
    EXPECT(load, 2, EL1, DONE);
    EXPECT(load, 0, EL1 | PSTATE_PAN, ESR(EC_DABORT + 1, FSC_PERM + 3));
    EXPECT(store, 0, EL1 | PSTATE_PAN, ESR(EC_DABORT + 1, FSC_PERM + 3 + WNR));
    CHECK_EQ(f.pstate & PSTATE_PAN, PSTATE_PAN);
    EXPECT(load_unprivileged, 2, EL1 | PSTATE_PAN, DONE);
    go(load, PSTATE_EL0 | PSTATE_PAN);
    CHECK_EQ(f.esr, DONE);
    CHECK_EQ(translate(false, false), 0);
    CHECK_EQ(translate(true, false), FSC_PERM + 3);
    CHECK_EQ(translate(true, true), FSC_PERM + 3);
    /* Not for what EL0 cannot reach. */
    map(0, DATA);
    EXPECT(store, 2, EL1 | PSTATE_PAN, DONE);
    CHECK_EQ(translate(true, true), 0);
    /* An exception sets it, unless SCTLR_EL1.SPAN. */
    const uint64_t sctlr = READ_SYSREG(sctlr_el1);
    WRITE_SYSREG(sctlr_el1, sctlr | SCTLR_SPAN);
    go(load, EL1);
    CHECK_EQ(READ_SYSREG(pan), 0);
    WRITE_SYSREG(sctlr_el1, sctlr & ~SCTLR_SPAN);
    go(load, EL1);
    CHECK_EQ(READ_SYSREG(pan), PSTATE_PAN);
    WRITE_SYSREG(pan, 0);
    WRITE_SYSREG(sctlr_el1, sctlr);
}

SNIPPET(set_ssbs, "msr ssbs, #1\n\tmrs x1, ssbs");

static void ssbs(void)
{
    go(set_ssbs, PSTATE_EL0);
    CHECK_EQ(f.esr, DONE);
    CHECK_EQ(f.x[1], PSTATE_SSBS);
    CHECK_EQ(f.pstate & PSTATE_SSBS, PSTATE_SSBS);
    CHECK_EQ(READ_SYSREG(ssbs), 0);
    set_sctlr(SCTLR_SA | SCTLR_DSSBS);
    go(load, PSTATE_EL0);
    CHECK_EQ(READ_SYSREG(ssbs), PSTATE_SSBS);
    WRITE_SYSREG(ssbs, 0);
    set_sctlr(SCTLR_SA);
}

/* ---- Translation ---- */

static void hardware_flags(void)
{
    volatile uint64_t *const desc = &window[0];
    set_tcr(TCR_HA);
    map(0, FREE_PAGE(0) | DESC_PAGE);
    f.x[0] = WINDOW;
    EXPECT(load, 2, EL1, DONE);
    CHECK_EQ(*desc, FREE_PAGE(0) | DESC_PAGE | DESC_AF);
    /* Without HD a clean page is read-only, whatever DBM says. */
    map(0, DATA | DESC_RO | DESC_DBM);
    EXPECT(store, 0, EL1, ESR(EC_DABORT + 1, FSC_PERM + 3 + WNR));
    set_tcr(TCR_HA | TCR_HD);
    EXPECT(load, 2, EL1, DONE);
    CHECK_EQ(*desc, DATA | DESC_RO | DESC_DBM);
    EXPECT(store, 2, EL1, DONE);
    CHECK_EQ(*desc, DATA | DESC_DBM);
    map(0, DATA | DESC_RO);
    EXPECT(store, 0, EL1, ESR(EC_DABORT + 1, FSC_PERM + 3 + WNR));
    set_tcr(0);
}

static void hierarchical(void)
{
    map(0, DATA | DESC_EL0);
    f.x[0] = WINDOW;
    level2[0] |= TABLE_AP0 | TABLE_RO;
    set_tcr(0);
    EXPECT(load, 0, PSTATE_EL0, ESR(EC_DABORT, FSC_PERM + 3));
    EXPECT(load, 2, EL1, DONE);
    EXPECT(store, 0, EL1, ESR(EC_DABORT + 1, FSC_PERM + 3 + WNR));
    set_tcr(TCR_HPD0);
    EXPECT(load, 2, PSTATE_EL0, DONE);
    EXPECT(store, 2, EL1, DONE);
    level2[0] &= ~(TABLE_AP0 | TABLE_RO);
    set_tcr(TCR_E0PD0); /* EL0 faults as if there were nothing, at level 0 (FEAT_E0PD) */
    EXPECT(load, 2, EL1, DONE);
    /* The code of EL0 is in the same half: its fetch is the first to fault. */
    go(load, PSTATE_EL0);
    CHECK_EQ(f.esr, ESR(EC_IABORT, FSC_TRANS));
    set_tcr(0);
}

/* Sixteen entries that say they are one: each is still its own (D8.6.1). */
static void contiguous(void)
{
    _Static_assert(FREE_PAGE(0) % (16 * PAGE) == 0, "the output is aligned as well");
    for (unsigned i = 0; i < 16; i++)
        map(i, FREE_PAGE(i) | DESC_PAGE | DESC_NORMAL | DESC_CONT);
    for (unsigned i = 0; i < 16; i++)
        *(volatile uint64_t *)(uintptr_t)(WINDOW + PAGE * i) = i + 1;
    for (unsigned i = 0; i < 16; i++)
        CHECK_EQ(*(volatile uint64_t *)(uintptr_t)FREE_PAGE(i), i + 1);
    for (unsigned i = 0; i < 16; i++)
        map(i, 0);
    f.x[0] = WINDOW + 15 * PAGE;
    EXPECT(load, 0, EL1, ESR(EC_DABORT + 1, FSC_TRANS + 3));
}

static void execute_never(void)
{
    const struct {
        uint64_t bits;
        bool el0, el1;
    } rows[] = {
        {DESC_EL0 | DESC_RO, true, true},
        {DESC_EL0 | DESC_RO | DESC_PXN, true, false},
        {DESC_EL0 | DESC_RO | DESC_UXN, false, true},
        {DESC_EL0, true, false}, /* what EL0 can write, EL1 does not execute */
        {0, true, true},         /* EL0 may execute what it may not read */
        {DESC_UXN | DESC_PXN, false, false},
    };
    *(volatile uint32_t *)(uintptr_t)FREE_PAGE(0) = 0xd4001fe1; /* svc #0xff */
    asm volatile("dsb ish\n\tic ivau, %0\n\tdsb ish\n\tisb" ::"r"(FREE_PAGE(0)) : "memory");
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        map(0, DATA | rows[i].bits);
        f.pc = WINDOW;
        f.pstate = PSTATE_EL0;
        enter(&f);
        CHECK_EQ(f.esr, rows[i].el0 ? DONE : ESR(EC_IABORT, FSC_PERM + 3));
        f.pc = WINDOW;
        f.pstate = EL1;
        enter(&f);
        CHECK_EQ(f.esr, rows[i].el1 ? DONE : ESR(EC_IABORT + 1, FSC_PERM + 3));
    }
}

/* ---- ASIDs: two tables' worth of the window, told apart by number ---- */

static uint64_t read_as(uint64_t asid)
{
    WRITE_SYSREG(ttbr0_el1, (uintptr_t)level0 | asid << 48 | TTBR_CNP);
    return *(volatile uint64_t *)(uintptr_t)WINDOW;
}

static void asids(void)
{
    const uint64_t ng = DESC_PAGE | DESC_NORMAL | DESC_NG;
    *(volatile uint64_t *)(uintptr_t)FREE_PAGE(0) = 100;
    *(volatile uint64_t *)(uintptr_t)FREE_PAGE(1) = 101;
    set_tcr(UINT64_C(1) << 36); /* AS: 16 bits */
    map(0, FREE_PAGE(0) | ng);
    CHECK_EQ(read_as(0x1001), 100);
    /* Another number has not seen the old entry; the old one may. */
    *(volatile uint64_t *)&window[0] = FREE_PAGE(1) | ng;
    ASM("dsb ish");
    CHECK_EQ(read_as(0x2002), 101);
    const uint64_t kept = read_as(0x1001);
    CHECK(kept == 100 || kept == 101);
    /* By ASID, by address and ASID, by address for all. */
    asm volatile("tlbi aside1is, %0\n\tdsb ish\n\tisb" ::"r"(UINT64_C(0x1001) << 48) : "memory");
    CHECK_EQ(read_as(0x1001), 101);
    *(volatile uint64_t *)&window[0] = FREE_PAGE(0) | ng;
    asm volatile(
        "dsb ish\n\ttlbi vae1is, %0\n\tdsb ish\n\tisb" ::"r"(UINT64_C(0x1001) << 48 | WINDOW >> 12)
        : "memory");
    CHECK_EQ(read_as(0x1001), 100);
    asm volatile("tlbi vaale1, %0\n\tdsb ish\n\tisb" ::"r"(WINDOW >> 12) : "memory");
    CHECK_EQ(read_as(0x2002), 100);
    /* A global entry is everyone's, and TLBI ASIDE1 leaves it be or not. */
    map(0, FREE_PAGE(1) | DESC_PAGE | DESC_NORMAL);
    CHECK_EQ(read_as(0x1001), 101);
    CHECK_EQ(read_as(0x2002), 101);
    WRITE_SYSREG(ttbr0_el1, level0);
    set_tcr(0);
}

/* ---- Small ones ---- */

SNIPPET(clean_persistent, "dc cvap, x0");
SNIPPET(load_ordered, "ldlar x1, [x0]\n\tstllr x1, [x0]\n\tldapr x2, [x0]");
SNIPPET(limited_order, "mrs x1, lorid_el1\n\tmrs x2, lorc_el1\n\tmsr lorc_el1, x2");

static void others(void)
{
    map(0, DATA);
    f.x[0] = WINDOW;
    EXPECT(clean_persistent, 2, EL1, DONE);
    map(0, 0);
    EXPECT(clean_persistent, 0, EL1, ESR(EC_DABORT + 1, FSC_TRANS + 3 + WNR + CM));
    map(0, DATA);
    EXPECT(load_ordered, 4, EL1, DONE);
    EXPECT(limited_order, 4, EL1, DONE);
    CHECK_EQ(f.x[1], 0);
}

void guest_main(unsigned cpu)
{
    aarch64_only();
    pan();
    ssbs();
    hardware_flags();
    hierarchical();
    contiguous();
    execute_never();
    asids();
    others();
}
