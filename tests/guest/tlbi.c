/* SPDX-License-Identifier: MIT */
/*
 * TLB maintenance between vCPUs: the first unmaps and remaps a page (break before make, D8.14.5) in
 * steps that it announces after the DSB; the second, which never stops reading the page, must not
 * see what was there before a step that it has read of.
 */
#include "lib.h"

#define ROUNDS 2000u

static uint64_t step, seen; /* odd: unmapped; even: the page holds `step` */

/* Step and page, often: a DSB that does not wait is noticed when both change under this. */
SNIPPET(read_page, ".rept 28\n\tldar x2, [x3]\n\tldr x1, [x0]\n\t.endr\n\tsvc #0");

static void change(uint64_t desc, unsigned round)
{
    uint64_t va = WINDOW >> 12;
    *(volatile uint64_t *)&window[0] = desc;
    ASM("dsb ishst");
    switch (round % 5) {
    case 0: asm volatile("tlbi vae1is, %0" ::"r"(va) : "memory"); break;
    case 1: asm volatile("tlbi vaae1is, %0" ::"r"(va) : "memory"); break;
    case 2: asm volatile("tlbi vale1is, %0" ::"r"(va) : "memory"); break;
    case 3: asm volatile("tlbi vaale1is, %0" ::"r"(va) : "memory"); break;
    default: ASM("tlbi vmalle1is"); break;
    }
    ASM("dsb ish\n\tisb");
}

static void announce(uint64_t value)
{
    store_release(&step, value);
    wait_for(&seen, value);
}

static void remap(void)
{
    for (unsigned round = 1; round <= ROUNDS; round++) {
        const uint64_t page = FREE_PAGE(round % 2);
        change(0, round);
        announce(2 * round - 1);
        *(volatile uint64_t *)(uintptr_t)page = 2 * round;
        change(page | DESC_PAGE | DESC_NORMAL, round);
        announce(2 * round);
    }
}

static void watch(void)
{
    uint64_t last = 0;
    while (last < 2 * ROUNDS) {
        const uint64_t now = load_acquire(&step);
        struct frame frame;
        frame.x[0] = WINDOW;
        frame.x[3] = (uintptr_t)&step;
        frame.pc = (uintptr_t)read_page;
        frame.pstate = PSTATE_EL1H | PSTATE_DAIF;
        enter(&frame);
        const bool read = frame.esr == ESR(0x15, 0);
        if (read)
            CHECK(frame.x[1] >= frame.x[2]);
        else
            CHECK_EQ(frame.esr, ESR(0x25, 7));
        /* The first look at a step is sure to be at what it left. */
        if (now != last) {
            CHECK_EQ(read, !(now & 1));
            if (read)
                CHECK_EQ(frame.x[1], now);
        }
        last = now;
        store_release(&seen, now);
    }
}

void guest_main(unsigned cpu)
{
    if (cpu == 0) {
        start_cpu(1);
        remap();
    } else {
        watch();
    }
}
