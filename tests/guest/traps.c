/* SPDX-License-Identifier: MIT */
/* Synchronous exceptions: the syndrome, the address, and what is left of the instruction. */
#include "expect.h"

/* ---- Exception-generating instructions ---- */

SNIPPET(svc_0, "svc #0");
SNIPPET(svc_last, "nop\n\tsvc #0xffff");
SNIPPET(brk_first, "brk #0");
SNIPPET(brk_last, "brk #0xabcd");
SNIPPET(udf, "nop\n\t.inst 0");
SNIPPET(hlt, "hlt #1");
SNIPPET(eret, "eret");
SNIPPET(hvc, "hvc #0");
SNIPPET(unallocated_sysreg, "mrs x0, s3_7_c15_c15_7");

static void generated(void)
{
    EXPECT_BOTH(svc_0, 1, EC_SVC, 0, 0);
    EXPECT_BOTH(svc_last, 2, EC_SVC, 0, 0xffff);
    EXPECT_BOTH(brk_first, 0, EC_BRK, 0, 0);
    EXPECT_BOTH(brk_last, 0, EC_BRK, 0, 0xabcd);
    EXPECT_BOTH(udf, 1, EC_UNKNOWN, 0, 0);
    EXPECT_BOTH(hlt, 0, EC_UNKNOWN, 0, 0);
    EXPECT_BOTH(unallocated_sysreg, 0, EC_UNKNOWN, 0, 0);
    EXPECT(eret, 0, PSTATE_EL0, ESR(EC_UNKNOWN, 0));
    EXPECT(hvc, 0, PSTATE_EL0, ESR(EC_UNKNOWN, 0));
    EXPECT(svc_0, 1, PSTATE_EL1T, ESR(EC_SVC, 0));
    /* An illegal return stays at EL1 and fails the next instruction. */
    go(svc_0, 0x9 | PSTATE_DAIF);
    CHECK_EQ(f.esr, ESR(EC_ILLEGAL, 0));
    CHECK_EQ(f.pc, (uintptr_t)svc_0);
    CHECK_EQ(f.pstate, EL1 | 1u << 20);
}

/* ---- Data aborts ---- */

SNIPPET(load, "ldr x1, [x0]");
SNIPPET(store, "str x1, [x0]");
SNIPPET(load_pre, "ldr x1, [x0, #8]!");
SNIPPET(store_post, "str x1, [x0], #8");
SNIPPET(load_pair, "ldp x1, x2, [x0], #16");
SNIPPET(store_pair, "stp x1, x2, [x0, #-16]!");
SNIPPET(load_unprivileged, "ldtr x1, [x0]");
SNIPPET(add_atomic, "ldadd x1, x2, [x0]");
SNIPPET(load_exclusive, "ldxr x1, [x0]");
SNIPPET(cas, "cas x1, x2, [x0]");
SNIPPET(store_release_, "stlr x1, [x0]");
SNIPPET(clean, "dc cvau, x0");
SNIPPET(zero, "dc zva, x0");

static void abort_both(unsigned line, uint64_t va, unsigned fsc)
{
    const uint64_t levels[] = {EL1, PSTATE_EL0};
    for (unsigned i = 0; i < 2; i++)
        for (unsigned write = 0; write < 2; write++) {
            f.x[0] = va;
            f.x[1] = 0x77;
            go(write ? store : load, levels[i]);
            if (f.esr != ESR(EC_DABORT + !i, fsc | (write ? WNR : 0)) || f.far != va ||
                f.x[1] != 0x77)
                fail(line, f.esr, fsc);
        }
}
#define ABORT_BOTH(va, fsc) abort_both(__LINE__, va, fsc)

static void data_aborts(void)
{
    ABORT_BOTH(UINT64_C(1) << 50, FSC_TRANS);            /* outside of both halves */
    ABORT_BOTH(UINT64_C(0xffff000000000000), FSC_TRANS); /* EPD1 */
    ABORT_BOTH(UINT64_C(1) << 39, FSC_TRANS);
    ABORT_BOTH(UINT64_C(5) << 30, FSC_TRANS + 1);
    ABORT_BOTH(WINDOW + (UINT64_C(1) << 21), FSC_TRANS + 2);
    map(1, 0);
    ABORT_BOTH(WINDOW + PAGE, FSC_TRANS + 3);
    map(1, FREE_PAGE(0) | DESC_VALID | DESC_NORMAL); /* no page at level 3 */
    ABORT_BOTH(WINDOW + PAGE, FSC_TRANS + 3);
    map(1, FREE_PAGE(0) | DESC_PAGE);
    ABORT_BOTH(WINDOW + PAGE + 8, FSC_ACCESS + 3);
    map(1, UINT64_C(1) << 41 | DESC_PAGE | DESC_NORMAL); /* beyond TCR_EL1.IPS */
    ABORT_BOTH(WINDOW + PAGE, FSC_SIZE + 3);
    map(1, UINT64_C(0x20000000) | DESC_PAGE | DESC_NORMAL | DESC_EL0); /* nothing is there */
    ABORT_BOTH(WINDOW + PAGE, FSC_EXT);
    /* Permissions, at levels 1 to 3. */
    f.x[0] = RAM_BASE;
    EXPECT(load, 0, PSTATE_EL0, ESR(EC_DABORT, FSC_PERM + 1));
    level2[1] = RAM_BASE | DESC_VALID | DESC_NORMAL | DESC_RO;
    f.x[0] = WINDOW + (UINT64_C(1) << 21);
    EXPECT(store, 0, EL1, ESR(EC_DABORT + 1, FSC_PERM + 2 + WNR));
    level2[1] = 0;
    map(1, FREE_PAGE(0) | DESC_PAGE | DESC_NORMAL | DESC_EL0 | DESC_RO);
    f.x[0] = WINDOW + PAGE + 16;
    EXPECT_BOTH(store, 0, EC_DABORT, 1, FSC_PERM + 3 + WNR);
    CHECK_EQ(f.far, WINDOW + PAGE + 16);
    EXPECT_BOTH(add_atomic, 0, EC_DABORT, 1, FSC_PERM + 3 + WNR);
    EXPECT(zero, 0, EL1, ESR(EC_DABORT + 1, FSC_PERM + 3 + WNR));
    map(1, 0);
    EXPECT_BOTH(add_atomic, 0, EC_DABORT, 1, FSC_TRANS + 3); /* its read would fault as well */
    EXPECT(clean, 0, EL1, ESR(EC_DABORT + 1, FSC_TRANS + 3 + WNR + CM));
    map(1, FREE_PAGE(0) | DESC_PAGE | DESC_NORMAL);
    EXPECT(load_unprivileged, 0, EL1, ESR(EC_DABORT + 1, FSC_PERM + 3));
    /* The device: neither atomics nor what is not aligned. */
    f.x[0] = DEVICE + 0x20;
    EXPECT(add_atomic, 0, EL1, ESR(EC_DABORT + 1, FSC_ATOMIC + WNR));
    f.x[0] = DEVICE + 0x24;
    EXPECT(load, 0, EL1, ESR(EC_DABORT + 1, FSC_ALIGN));
    EXPECT(store, 0, EL1, ESR(EC_DABORT + 1, FSC_ALIGN + WNR));
    CHECK_EQ(f.far, DEVICE + 0x24);
    f.x[0] = DEVICE;
    EXPECT(zero, 0, EL1, ESR(EC_DABORT + 1, FSC_ALIGN + WNR));
}

/* ---- Instruction aborts ---- */

static void fetch(unsigned line, uint64_t pc, uint64_t pstate, uint64_t esr)
{
    f.pc = pc;
    f.pstate = pstate;
    enter(&f);
    if (f.esr != esr || f.far != pc || f.pc != pc)
        fail(line, f.esr, esr);
}
#define FETCH(pc, pstate, ec, iss) fetch(__LINE__, pc, pstate, ESR(ec, iss))

static void instruction_aborts(void)
{
    const uint64_t va = WINDOW + PAGE, levels[] = {PSTATE_EL0, EL1};
    for (unsigned i = 0; i < 2; i++) {
        const uint64_t level = levels[i];
        FETCH(UINT64_C(1) << 50, level, EC_IABORT + i, FSC_TRANS);
        FETCH(UINT64_C(1) << 39, level, EC_IABORT + i, FSC_TRANS);
        FETCH(UINT64_C(5) << 30, level, EC_IABORT + i, FSC_TRANS + 1);
        FETCH(WINDOW + (UINT64_C(1) << 21), level, EC_IABORT + i, FSC_TRANS + 2);
        map(1, 0);
        FETCH(va, level, EC_IABORT + i, FSC_TRANS + 3);
        map(1, FREE_PAGE(0) | DESC_PAGE | DESC_EL0);
        FETCH(va + 4, level, EC_IABORT + i, FSC_ACCESS + 3);
        map(1, FREE_PAGE(0) | DESC_PAGE | DESC_NORMAL | DESC_UXN | DESC_PXN | DESC_EL0);
        FETCH(va, level, EC_IABORT + i, FSC_PERM + 3);
        map(1, UINT64_C(0x20000000) | DESC_PAGE | DESC_NORMAL | DESC_EL0 | DESC_RO);
        FETCH(va, level, EC_IABORT + i, FSC_EXT);
        FETCH(USER(load) + 2, PSTATE_EL0, EC_PC, 0);
        FETCH((uintptr_t)load + 1, EL1, EC_PC, 0);
    }
    FETCH(RAM_BASE, PSTATE_EL0, EC_IABORT, FSC_PERM + 1);
    FETCH(USER(RAM_BASE), EL1, EC_IABORT + 1, FSC_PERM + 1); /* EL0 can write it */
}

/* ---- Alignment ---- */

SNIPPET(load_sp, "ldr x1, [sp]");
SNIPPET(store_pair_sp, "stp x1, x2, [sp, #-16]!");
SNIPPET(load_simd_sp, ".arch_extension simd\n\tld1 {v0.16b}, [sp]");

static void alignment(void)
{
    map(1, FREE_PAGE(0) | DESC_PAGE | DESC_NORMAL | DESC_EL0);
    f.x[0] = WINDOW + PAGE + 12;
    EXPECT_BOTH(load, 2, EC_SVC, 0, 0xff);
    EXPECT_BOTH(load_exclusive, 0, EC_DABORT, 1, FSC_ALIGN);
    CHECK_EQ(f.far, WINDOW + PAGE + 12);
    EXPECT_BOTH(store_release_, 0, EC_DABORT, 1, FSC_ALIGN + WNR);
    EXPECT_BOTH(cas, 0, EC_DABORT, 1, FSC_ALIGN); /* its read would fault as well */
    set_sctlr(SCTLR_A | SCTLR_SA | SCTLR_SA0);
    EXPECT_BOTH(load, 0, EC_DABORT, 1, FSC_ALIGN);
    EXPECT_BOTH(store, 0, EC_DABORT, 1, FSC_ALIGN + WNR);
    set_sctlr(SCTLR_SA | SCTLR_SA0);

    f.sp = WINDOW + PAGE + 24;
    EXPECT(load_sp, 0, PSTATE_EL0, ESR(EC_SP, 0));
    EXPECT(store_pair_sp, 0, PSTATE_EL0, ESR(EC_SP, 0));
    EXPECT(load_simd_sp, 0, PSTATE_EL0, ESR(EC_SP, 0));
    CHECK_EQ(f.sp, WINDOW + PAGE + 24);
    EXPECT(load_sp, 0, PSTATE_EL1T | PSTATE_DAIF, ESR(EC_SP, 0));
    set_sctlr(SCTLR_SA);
    EXPECT(load_sp, 2, PSTATE_EL0, ESR(EC_SVC, 0xff));
    set_sctlr(SCTLR_SA | SCTLR_SA0);
}

void guest_main(unsigned cpu)
{
    generated();
    data_aborts();
    instruction_aborts();
    alignment();
}
