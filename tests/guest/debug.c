/* SPDX-License-Identifier: MIT */
/* Self-hosted debug of EL0 (Arm ARM D2): software step, breakpoints, watchpoints. */
#include "expect.h"

#define MDSCR_SS  UINT64_C(1)
#define MDSCR_MDE (UINT64_C(1) << 15)
#define FSC_STEP  (1u << 24 | FSC_DEBUG) /* ISV, and not an exclusive */

#define ENABLED     (UINT64_C(1) | 2 << 1) /* at EL0 */
#define LOADS       (1 << 3)
#define STORES      (2 << 3)
#define BYTES(mask) ((uint64_t)(mask) << 5)

SNIPPET(steps, "mov x1, #1\n\tb 1f\n\tnop\n1:\tadd x1, x1, #1\n\tsvc #3");
SNIPPET(faulting, "mov x1, #1\n\tldr x1, [x0]");
SNIPPET(code, "mov x1, #1\n\tmov x1, #2\n\tmov x1, #3");
SNIPPET(load, "ldr x1, [x0]");
SNIPPET(store, "str x1, [x0]");
SNIPPET(load_byte, "ldrb w1, [x0]");
SNIPPET(store_pair, "stp x1, x1, [x0]");
SNIPPET(zero, "dc zva, x0");
SNIPPET(add, "ldadd x1, x2, [x0]");

/* Goes on from where the frame is, for one instruction. */
static void step(uint64_t esr, uint64_t pc)
{
    f.pstate |= PSTATE_SS;
    enter(&f);
    CHECK_EQ(f.esr, esr);
    CHECK_EQ(f.pc, pc);
}

static void single_step(void)
{
    const uint64_t stepped = ESR(EC_STEP, FSC_STEP);
    WRITE_SYSREG(mdscr_el1, MDSCR_SS);
    f.pc = USER(steps);
    f.pstate = PSTATE_EL0;
    step(stepped, USER(steps + 1));
    CHECK_EQ(f.pstate & PSTATE_SS, 0);
    step(stepped, USER(steps + 3));
    step(stepped, USER(steps + 4));
    CHECK_EQ(f.x[1], 2);
    /* The call counts as the step: the next one is its handler's return. */
    step(ESR(EC_SVC, 3), USER(steps + 5));
    CHECK_EQ(f.pstate & PSTATE_SS, 0);
    /* With SS 0 the step is pending at once, and nothing runs. */
    f.x[1] = 9;
    EXPECT(steps, 0, PSTATE_EL0, stepped);
    CHECK_EQ(f.x[1], 9);
    /* An instruction that faults has not been stepped. */
    map(0, 0);
    f.x[0] = WINDOW;
    f.pc = USER(faulting);
    f.pstate = PSTATE_EL0;
    step(stepped, USER(faulting + 1));
    step(ESR(EC_DABORT, FSC_TRANS + 3), USER(faulting + 1));
    CHECK_EQ(f.pstate & PSTATE_SS, PSTATE_SS);
    WRITE_SYSREG(mdscr_el1, 0);
    EXPECT(steps, 5, PSTATE_EL0, ESR(EC_SVC, 3));
}

static void breakpoints(void)
{
    WRITE_SYSREG(mdscr_el1, MDSCR_MDE);
    WRITE_SYSREG(dbgbvr0_el1, USER(code + 1));
    WRITE_SYSREG(dbgbcr0_el1, ENABLED | BYTES(15));
    EXPECT(code, 1, PSTATE_EL0, ESR(EC_BREAKPOINT, FSC_DEBUG));
    CHECK_EQ(f.x[1], 1);
    WRITE_SYSREG(dbgbvr1_el1, USER(code));
    WRITE_SYSREG(dbgbcr1_el1, ENABLED | BYTES(15));
    EXPECT(code, 0, PSTATE_EL0, ESR(EC_BREAKPOINT, FSC_DEBUG));
    WRITE_SYSREG(dbgbcr1_el1, 0);
    /* Not with the monitor off, nor with the OS lock, nor for EL1 only. */
    WRITE_SYSREG(mdscr_el1, 0);
    EXPECT(code, 4, PSTATE_EL0, ESR(EC_SVC, 0xff));
    WRITE_SYSREG(mdscr_el1, MDSCR_MDE);
    WRITE_SYSREG(oslar_el1, 1);
    EXPECT(code, 4, PSTATE_EL0, ESR(EC_SVC, 0xff));
    WRITE_SYSREG(oslar_el1, 0);
    WRITE_SYSREG(dbgbcr0_el1, UINT64_C(1) | 1 << 1 | BYTES(15));
    EXPECT(code, 4, PSTATE_EL0, ESR(EC_SVC, 0xff));
    WRITE_SYSREG(dbgbcr0_el1, 0);
}

/* An access at EL0 with watchpoint 0 like this: FAR is `far`, or it is not caught when 0. */
static void watch(unsigned line, uint64_t control, const uint32_t *access, uint64_t at,
                  uint64_t far)
{
    const uint64_t esr =
        far ? ESR(EC_WATCHPOINT, FSC_DEBUG | (control & STORES && !(control & LOADS) ? WNR : 0))
            : ESR(EC_SVC, 0xff);
    WRITE_SYSREG(dbgwvr0_el1, WINDOW + 0x100);
    WRITE_SYSREG(dbgwcr0_el1, ENABLED | control);
    f.x[0] = WINDOW + at;
    f.x[1] = 0x55;
    go(access, PSTATE_EL0);
    if (f.esr != esr)
        fail(line, f.esr, esr);
    if (far && f.far != WINDOW + far)
        fail(line, f.far, WINDOW + far);
    if (far && !stopped_at(access, 0))
        fail(line, f.pc, USER(access));
    WRITE_SYSREG(dbgwcr0_el1, 0);
}
#define WATCH(control, access, at, far) watch(__LINE__, control, access, at, far)

static void watchpoints(void)
{
    WRITE_SYSREG(mdscr_el1, MDSCR_MDE);
    map(0, FREE_PAGE(0) | DESC_PAGE | DESC_NORMAL | DESC_EL0);
    WATCH(LOADS | BYTES(0xff), load, 0x100, 0x100);
    WATCH(LOADS | BYTES(0xff), store, 0x100, 0);
    WATCH(STORES | BYTES(0xff), store, 0x100, 0x100);
    WATCH(STORES | BYTES(0xff), load, 0x100, 0);
    WATCH(LOADS | BYTES(0xff), load, 0x108, 0);
    WATCH(LOADS | BYTES(0xff), load, 0xf8, 0);
    WATCH(LOADS | BYTES(0x08), load_byte, 0x103, 0x103);
    WATCH(LOADS | BYTES(0x08), load_byte, 0x102, 0);
    WATCH(LOADS | BYTES(0xff), load_byte, 0x107, 0x107);
    WATCH(STORES | BYTES(0xff), store_pair, 0xf8, 0x100);
    WATCH(LOADS | UINT64_C(8) << 24 | BYTES(0xff), load, 0x1f8, 0x1f8);
    WATCH(LOADS | UINT64_C(8) << 24 | BYTES(0xff), load, 0x200, 0);
    WATCH(STORES | BYTES(0xff), zero, 0x108, 0x100);
    WATCH(STORES | BYTES(0xff), add, 0x100, 0x100);
    /* EL1's accesses are not watched by one for EL0. */
    WRITE_SYSREG(dbgwcr0_el1, ENABLED | LOADS | BYTES(0xff));
    f.x[0] = WINDOW + 0x100;
    EXPECT(load, 2, EL1, ESR(EC_SVC, 0xff));
    WRITE_SYSREG(dbgwcr0_el1, 0);
}

void guest_main(unsigned cpu)
{
    set_sctlr(SCTLR_SA | SCTLR_SA0 | SCTLR_DZE);
    WRITE_SYSREG(oslar_el1, 0);
    single_step();
    breakpoints();
    watchpoints();
}
