/* SPDX-License-Identifier: MIT */
/* Interrupts from the device's lines: when they are taken, from where to where, and WFI. */
#include "lib.h"

#define LINE_FIQ  0x100u
#define LINE_UP   0x200u
#define AFTER(ms) ((uint64_t)(ms) << 16)

#define NZCV 0xa0000000u

/* x2 and x3 count together: they tell how far the loop was. */
SNIPPET(spin, "1: add x2, x2, #1\n\tadd x3, x3, #1\n\tb 1b");
SNIPPET(raise_and_spin, "str x1, [x0]\n\t1: add x2, x2, #1\n\tadd x3, x3, #1\n\tb 1b");
SNIPPET(raise_and_call, "str x1, [x0]\n\tmrs x3, isr_el1\n\tmov x2, #1000\n\t"
                        "1: sub x2, x2, #1\n\tcbnz x2, 1b\n\tsvc #5");
SNIPPET(call_only, "mov x2, #1000\n\t1: sub x2, x2, #1\n\tcbnz x2, 1b\n\tsvc #6");
SNIPPET(unmask_and_spin, "msr daifclr, #2\n\t1: add x2, x2, #1\n\tadd x3, x3, #1\n\tb 1b");
SNIPPET(wait, "str x1, [x0]\n\twfi\n\tmov x2, #1\n\tsvc #7");
SNIPPET(wait_event, "sevl\n\twfe\n\tsev\n\twfe\n\tsvc #8");

static void line(uint64_t value)
{
    device_write(DEVICE_LINE, value);
}

static struct frame run(const uint32_t *code, uint64_t pstate, uint64_t device)
{
    struct frame frame;
    frame.x[0] = DEVICE + DEVICE_LINE;
    frame.x[1] = device;
    frame.x[2] = frame.x[3] = 0;
    frame.pc = (pstate & 0xf) == PSTATE_EL0 ? USER(code) : (uintptr_t)code;
    frame.pstate = pstate | NZCV;
    enter(&frame);
    return frame;
}

/* The loop at `loop` was left between two of its instructions, whichever. */
static void check_loop(const struct frame *frame, uint64_t loop)
{
    const uint64_t at = frame->pc - loop;
    CHECK(at == 0 || at == 4 || at == 8);
    CHECK_EQ(frame->x[2], frame->x[3] + (at == 4));
}

static void taken_at_el1(void)
{
    const uint64_t pstates[] = {PSTATE_EL1H, PSTATE_EL1H | PSTATE_D | PSTATE_F, PSTATE_EL1T};
    for (unsigned i = 0; i < 3; i++) {
        struct frame f = run(raise_and_spin, pstates[i], LINE_UP);
        CHECK_EQ(f.vector, pstates[i] & 1 ? 0x280 : 0x080);
        CHECK_EQ(f.pstate, pstates[i] | NZCV);
        check_loop(&f, (uintptr_t)raise_and_spin + 4);
        CHECK_EQ(READ_SYSREG(daif), PSTATE_DAIF);
        line(0);
    }
    /* FIQ, by its own mask. */
    struct frame f = run(raise_and_spin, PSTATE_EL1H | PSTATE_I, LINE_UP | LINE_FIQ);
    CHECK_EQ(f.vector, 0x300);
    check_loop(&f, (uintptr_t)raise_and_spin + 4);
    line(LINE_FIQ);
}

static void masked_at_el1(void)
{
    struct frame f = run(raise_and_call, PSTATE_EL1H | PSTATE_I, LINE_UP);
    CHECK_EQ(f.vector, 0x200);
    CHECK_EQ(f.esr, ESR(0x15, 5));
    CHECK_EQ(f.x[3], 1u << 7); /* ISR_EL1 tells of it all the same */
    f = run(unmask_and_spin, PSTATE_EL1H | PSTATE_DAIF, 0);
    CHECK_EQ(f.vector, 0x280);
    CHECK_EQ(f.pstate, PSTATE_EL1H | (PSTATE_DAIF & ~PSTATE_I) | NZCV);
    check_loop(&f, (uintptr_t)unmask_and_spin + 4);
    line(0);
    CHECK_EQ(READ_SYSREG(isr_el1), 0);
    f = run(call_only, PSTATE_EL1H, 0);
    CHECK_EQ(f.esr, ESR(0x15, 6)); /* no longer pending */
}

static void at_el0(void)
{
    line(LINE_UP);
    struct frame f = run(call_only, PSTATE_EL0 | PSTATE_I, 0);
    CHECK_EQ(f.vector, 0x400);
    CHECK_EQ(f.esr, ESR(0x15, 6));
    f = run(spin, PSTATE_EL0, 0);
    CHECK_EQ(f.vector, 0x480);
    CHECK_EQ(f.pstate, PSTATE_EL0 | NZCV);
    CHECK_EQ(f.pc, USER(spin)); /* before the first instruction */
    CHECK_EQ(f.x[2], 0);
    line(0);
    /* And in the middle of it. */
    line(LINE_UP | AFTER(2));
    f = run(spin, PSTATE_EL0, 0);
    CHECK_EQ(f.vector, 0x480);
    check_loop(&f, USER(spin));
    CHECK(f.x[2] > 0);
    line(0);
}

static void waiting(void)
{
    struct frame f = run(wait, PSTATE_EL1H | PSTATE_I, LINE_UP | AFTER(2));
    CHECK_EQ(f.vector, 0x200); /* a masked interrupt ends the wait and is not taken */
    CHECK_EQ(f.x[2], 1);
    CHECK_EQ(READ_SYSREG(isr_el1), 1u << 7);
    line(0);
    f = run(wait, PSTATE_EL1H, LINE_UP | AFTER(2));
    CHECK_EQ(f.vector, 0x280);
    CHECK_EQ(f.pc, (uintptr_t)wait + 8); /* behind the WFI */
    CHECK_EQ(f.x[2], 0);
    line(0);
    f = run(wait_event, PSTATE_EL1H, 0); /* no WFE waits for long */
    CHECK_EQ(f.esr, ESR(0x15, 8));
}

static uint64_t ready, woken;

/* The other vCPU sleeps until this one raises its line. */
static void sleeper(void)
{
    store_release(&ready, 1);
    while (!READ_SYSREG(isr_el1))
        ASM("wfi");
    line(1);
    CHECK_EQ(READ_SYSREG(isr_el1), 0);
    store_release(&woken, 1);
}

void guest_main(unsigned cpu)
{
    if (cpu) {
        sleeper();
        return;
    }
    taken_at_el1();
    masked_at_el1();
    at_el0();
    waiting();
    start_cpu(1);
    wait_for(&ready, 1);
    CHECK_EQ(load_acquire(&woken), 0);
    line(LINE_UP | 1);
    wait_for(&woken, 1);
}
