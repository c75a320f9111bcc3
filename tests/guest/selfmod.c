/* SPDX-License-Identifier: MIT */
/* Changed code: what the sequence of B2.4.4 promises, on one vCPU and between two. */
#include "lib.h"

#define ROUNDS 2000u
#define RET    0xd65f03c0u

static uint64_t version, ran;

static uint32_t mov_w0(unsigned value)
{
    return 0x52800000u | (value & 0xffff) << 5;
}

/* Writes a word of code by `write`, and makes it count where it is executed, at `exec`. */
static void put(uint64_t write, uint64_t exec, uint32_t word)
{
    *(volatile uint32_t *)(uintptr_t)write = word;
    asm volatile("dc cvau, %0\n\tdsb ish\n\tic ivau, %1\n\tdsb ish\n\tisb" ::"r"(write), "r"(exec)
                 : "memory");
}

static unsigned call(uint64_t at)
{
    return ((unsigned (*)(void))(uintptr_t)at)();
}

static void same_address(void)
{
    const uint64_t code = FREE_PAGE(0);
    put(code + 4, code + 4, RET);
    for (unsigned i = 0; i < ROUNDS; i++) {
        put(code, code, mov_w0(i));
        CHECK_EQ(call(code), i & 0xffff);
    }
}

static void other_address(void)
{
    const uint64_t code = FREE_PAGE(1);
    map(0, code | DESC_PAGE | DESC_NORMAL);
    put(WINDOW + 4, code + 4, RET);
    for (unsigned i = 0; i < ROUNDS; i++) {
        put(WINDOW, code, mov_w0(i + 7));
        CHECK_EQ(call(code), (i + 7) & 0xffff);
    }
}

/* The whole instruction cache, and a page that changes as a whole. */
static void everything(void)
{
    const uint64_t code = FREE_PAGE(2);
    volatile uint32_t *words = (volatile uint32_t *)(uintptr_t)code;
    for (unsigned i = 1; i < 64; i++) {
        for (unsigned n = 0; n < i; n++)
            words[n] = mov_w0(i);
        words[i] = RET;
        ASM("dsb ish\n\tic iallu\n\tdsb nsh\n\tisb");
        CHECK_EQ(call(code), i);
    }
}

/* The next instruction but the barriers: what was decoded with this code must not run. */
static void ahead(void)
{
    for (unsigned i = 0; i < 16; i++) {
        uint64_t at;
        uint32_t result;
        asm volatile("adr %0, 1f\n\t"
                     "str %w2, [%0]\n\t"
                     "dc cvau, %0\n\t"
                     "dsb ish\n\t"
                     "ic ivau, %0\n\t"
                     "dsb ish\n\t"
                     "isb\n"
                     "1:\tmov w0, #0xffff\n\t"
                     "mov %w1, w0"
                     : "=&r"(at), "=r"(result)
                     : "r"(mov_w0(i))
                     : "x0", "memory");
        CHECK_EQ(result, i);
    }
}

/* One line of a page that others of its lines branch to, and run into. */
static void other_line(void)
{
    const uint64_t branches = FREE_PAGE(4), changes = branches + 64, runs_into = changes - 8;
    put(branches, branches, 0x14000010 /* b .+64 */);
    put(runs_into, runs_into, mov_w0(1));
    put(runs_into + 4, runs_into + 4, 0xd503201f /* nop */);
    put(changes + 4, changes + 4, RET);
    for (unsigned i = 0; i < ROUNDS; i++) {
        put(changes, changes, mov_w0(i));
        CHECK_EQ(call(branches), i);
        CHECK_EQ(call(branches), i); /* by a link, which the next change takes back */
        CHECK_EQ(call(runs_into), i);
    }
}

/* Between vCPUs: an ISB behind the news is all that the other one needs. */
static void change_for_other(void)
{
    const uint64_t code = FREE_PAGE(3);
    put(code + 4, code + 4, RET);
    start_cpu(1);
    for (unsigned i = 1; i <= ROUNDS; i++) {
        put(code, code, mov_w0(i));
        store_release(&version, i);
        wait_for(&ran, i);
    }
}

static void run_changed(void)
{
    for (unsigned i = 1; i <= ROUNDS; i++) {
        wait_for(&version, i);
        ASM("isb");
        CHECK_EQ(call(FREE_PAGE(3)), i);
        store_release(&ran, i);
    }
}

void guest_main(unsigned cpu)
{
    if (cpu) {
        run_changed();
        return;
    }
    same_address();
    other_address();
    everything();
    ahead();
    other_line();
    change_for_other();
}
