/* SPDX-License-Identifier: MIT */
/* What EL1 can forbid EL0: system registers, cache maintenance, waiting, FP. */
#include "expect.h"

/* ISS of a trapped MRS, MSR or SYS (Arm ARM D19.2.37, EC 0x18). */
#define ISS(op0, op1, crn, crm, op2, rt, read)                                                     \
    ((op0) << 20 | (op2) << 17 | (op1) << 14 | (crn) << 10 | (rt) << 5 | (crm) << 1 | (read))
#define DONE ESR(EC_SVC, 0xff)

/* One instruction at EL0: with the control off it is trapped like this, with it on it is done. */
static void trapped(unsigned line, const uint32_t *code, uint64_t esr)
{
    f.x[7] = USER(FREE_PAGE(0));
    go(code, PSTATE_EL0);
    if (f.esr != esr || !stopped_at(code, esr == DONE ? 2 : 0))
        fail(line, f.esr, esr);
}
#define USES(code, esr) trapped(__LINE__, code, esr)

SNIPPET(read_ctr, "mrs x3, ctr_el0");
SNIPPET(clean_unification, "dc cvau, x7");
SNIPPET(clean_invalidate, "dc civac, x7");
SNIPPET(invalidate_code, "ic ivau, x7");
SNIPPET(zero_block, "dc zva, x7");
SNIPPET(mask_all, "msr daifset, #15");
SNIPPET(read_daif, "mrs x4, daif");
SNIPPET(wfi, "wfi");
SNIPPET(wfe, "wfe");
SNIPPET(read_midr, "mrs x0, midr_el1");
SNIPPET(write_ttbr, "msr ttbr0_el1, x0");
SNIPPET(read_zeroes, "mrs x5, dczid_el0");
SNIPPET(write_sp_select, "msr spsel, #1");
SNIPPET(flush, "tlbi vmalle1");

static void controls(void)
{
    const struct {
        const uint32_t *code;
        uint64_t bit;
        uint32_t iss;
    } rows[] = {
        {read_ctr, SCTLR_UCT, ISS(3, 3, 0, 0, 1, 3, 1)},
        {clean_unification, SCTLR_UCI, ISS(1, 3, 7, 11, 1, 7, 0)},
        {clean_invalidate, SCTLR_UCI, ISS(1, 3, 7, 14, 1, 7, 0)},
        {invalidate_code, SCTLR_UCI, ISS(1, 3, 7, 5, 1, 7, 0)},
        {zero_block, SCTLR_DZE, ISS(1, 3, 7, 4, 1, 7, 0)},
        {mask_all, SCTLR_UMA, ISS(0, 3, 4, 15, 6, 31, 0)},
        {read_daif, SCTLR_UMA, ISS(3, 3, 4, 2, 1, 4, 1)},
    };
    const uint64_t all = SCTLR_UCT | SCTLR_UCI | SCTLR_DZE | SCTLR_UMA | SCTLR_SA | SCTLR_SA0;
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        set_sctlr(all & ~rows[i].bit);
        USES(rows[i].code, ESR(EC_SYSREG, rows[i].iss));
        set_sctlr(SCTLR_SA | rows[i].bit);
        USES(rows[i].code, DONE);
    }
    USES(read_midr, ESR(EC_UNKNOWN, 0));
    USES(write_ttbr, ESR(EC_UNKNOWN, 0));
    USES(write_sp_select, ESR(EC_UNKNOWN, 0));
    USES(flush, ESR(EC_UNKNOWN, 0));
    /* DCZID_EL0.DZP says whether DC ZVA is forbidden. */
    set_sctlr(0);
    USES(read_zeroes, DONE);
    CHECK_EQ(f.x[5], 0x14);
    set_sctlr(SCTLR_DZE);
    USES(read_zeroes, DONE);
    CHECK_EQ(f.x[5], 0x04);
}

static void waits(void)
{
    set_sctlr(0);
    USES(wfi, ESR(EC_WFX, 0x1e << 20));
    USES(wfe, ESR(EC_WFX, 0x1e << 20 | 1));
    set_sctlr(SCTLR_NTWE);
    USES(wfi, ESR(EC_WFX, 0x1e << 20));
    USES(wfe, DONE);
}

SNIPPET(read_virtual, "mrs x1, cntvct_el0");
SNIPPET(read_physical, "mrs x2, cntpct_el0");
SNIPPET(read_frequency, "mrs x3, cntfrq_el0");
SNIPPET(read_virtual_timer, "mrs x4, cntv_ctl_el0");
SNIPPET(read_physical_timer, "mrs x5, cntp_cval_el0");

static void timers(void)
{
    const struct {
        const uint32_t *code;
        uint64_t bits; /* of CNTKCTL_EL1, each of which allows it */
        uint32_t iss;
    } rows[] = {
        {read_physical, 1 << 0, ISS(3, 3, 14, 0, 1, 2, 1)},
        {read_virtual, 1 << 1, ISS(3, 3, 14, 0, 2, 1, 1)},
        {read_frequency, 3, ISS(3, 3, 14, 0, 0, 3, 1)},
        {read_virtual_timer, 1 << 8, ISS(3, 3, 14, 3, 1, 4, 1)},
        {read_physical_timer, 1 << 9, ISS(3, 3, 14, 2, 2, 5, 1)},
    };
    for (unsigned i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
        for (unsigned bit = 0; bit < 10; bit++) {
            WRITE_SYSREG(cntkctl_el1, 1u << bit);
            USES(rows[i].code, rows[i].bits >> bit & 1 ? DONE : ESR(EC_SYSREG, rows[i].iss));
        }
    WRITE_SYSREG(cntkctl_el1, 0);
}

SNIPPET(use_fp, ".arch_extension fp\n\tfmov d0, x0");
SNIPPET(use_simd, ".arch_extension simd\n\tldr q1, [x7]");
SNIPPET(use_fpcr, "mrs x0, fpcr");

static void fp(void)
{
    const uint32_t *const rows[] = {use_fp, use_simd, use_fpcr};
    const uint64_t trap = ESR(EC_FP, 0x1e << 20);
    for (unsigned i = 0; i < 3; i++)
        for (unsigned fpen = 0; fpen < 4; fpen++) {
            WRITE_SYSREG(cpacr_el1, fpen << 20);
            USES(rows[i], fpen == 3 ? DONE : trap);
            f.x[7] = FREE_PAGE(0);
            EXPECT(rows[i], fpen & 1 ? 2 : 0, EL1, fpen & 1 ? DONE : trap);
        }
    WRITE_SYSREG(cpacr_el1, 3 << 20);
}

void guest_main(unsigned cpu)
{
    controls();
    waits();
    timers();
    fp();
}
