/* SPDX-License-Identifier: MIT */
/* What guest programs are made with: checks, exceptions as results, page tables, vCPUs. */
#ifndef PV_TESTS_GUEST_LIB_H
#define PV_TESTS_GUEST_LIB_H

#include "guest.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The program: called on every vCPU that is started, with the MMU on and DAIF masked. */
void guest_main(unsigned cpu);
void start_cpu(unsigned cpu);

/* ---- The device ---- */

static inline void device_write(unsigned reg, uint64_t value)
{
    *(volatile uint64_t *)(uintptr_t)(DEVICE + reg) = value;
}

/* Reports the line and stops the vCPU. */
_Noreturn void fail(unsigned line, uint64_t got, uint64_t wanted);

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail(__LINE__, 0, 1);                                                                  \
    } while (0)
#define CHECK_EQ(a, b)                                                                             \
    do {                                                                                           \
        const uint64_t got_ = (uint64_t)(a), wanted_ = (uint64_t)(b);                              \
        if (got_ != wanted_)                                                                       \
            fail(__LINE__, got_, wanted_);                                                         \
    } while (0)

/* ---- Calls ---- */

/* A call by HVC (SMCCC) with its first three arguments; other registers are kept. */
static inline int64_t hvc_call(uint64_t function, uint64_t a, uint64_t b, uint64_t c)
{
    register uint64_t x0 asm("x0") = function;
    register uint64_t x1 asm("x1") = a;
    register uint64_t x2 asm("x2") = b;
    register uint64_t x3 asm("x3") = c;
    asm volatile("hvc #0" : "+r"(x0) : "r"(x1), "r"(x2), "r"(x3) : "memory");
    return (int64_t)x0;
}

/* ---- Registers and barriers ---- */

#define READ_SYSREG(name)                                                                          \
    ({                                                                                             \
        uint64_t value_;                                                                           \
        asm volatile("mrs %0, " #name : "=r"(value_)::"memory");                                   \
        value_;                                                                                    \
    })
#define WRITE_SYSREG(name, value)                                                                  \
    asm volatile("msr " #name ", %0\n\tisb" ::"r"((uint64_t)(value)) : "memory")
#define ASM(text) asm volatile(text ::: "memory")

/* ---- Exceptions ---- */

struct frame {
    uint64_t x[31];
    uint64_t sp; /* SP_EL0 */
    uint64_t pc;
    uint64_t pstate;
    uint64_t esr, far, vector;
    uint64_t saved[13];
};
_Static_assert(offsetof(struct frame, sp) == FRAME_SP, "");
_Static_assert(offsetof(struct frame, pstate) == FRAME_PSTATE, "");
_Static_assert(offsetof(struct frame, far) == FRAME_FAR, "");
_Static_assert(offsetof(struct frame, vector) == FRAME_VECTOR, "");
_Static_assert(offsetof(struct frame, saved) == FRAME_SAVED, "");

/* Runs the frame's registers until the next exception, which is described in it. */
void enter(struct frame *frame);

#define PSTATE_EL0  0x000u
#define PSTATE_EL1T 0x004u
#define PSTATE_EL1H 0x005u
#define PSTATE_D    0x200u
#define PSTATE_I    0x080u
#define PSTATE_F    0x040u
#define PSTATE_DAIF 0x3c0u
#define PSTATE_SS   (1u << 21)

#define ESR(ec, iss) ((uint64_t)(ec) << 26 | 1u << 25 | (uint32_t)(iss))

/* A labelled piece of assembly for enter(); SVC #0xff is behind its end. */
#define SNIPPET(name, text)                                                                        \
    extern const uint32_t name[];                                                                  \
    asm(".pushsection .text\n\t.balign 4\n" #name ":\n\t" text "\n\tsvc #0xff\n\t.popsection")

/* ---- Memory: 4 KiB granule, 48-bit addresses, RAM and the device mapped as they are ---- */

#define PAGE        UINT64_C(4096)
#define DESC_VALID  UINT64_C(1)
#define DESC_TABLE  UINT64_C(3)
#define DESC_PAGE   UINT64_C(3)
#define DESC_DEVICE (UINT64_C(1) << 2)
#define DESC_EL0    (UINT64_C(1) << 6)
#define DESC_RO     (UINT64_C(1) << 7)
#define DESC_AF     (UINT64_C(1) << 10)
#define DESC_NG     (UINT64_C(1) << 11)
#define DESC_PXN    (UINT64_C(1) << 53)
#define DESC_UXN    (UINT64_C(1) << 54)
#define DESC_NORMAL (DESC_AF | UINT64_C(3) << 8)

/* The program a second time, as EL0 may use it. */
#define USER(pointer) ((uint64_t)(uintptr_t)(pointer) + 0x40000000)

/* 512 pages of addresses for tests to map as they like; a page of level 3. */
#define WINDOW UINT64_C(0xc0000000)
extern uint64_t window[512];
/* The levels above: entry 3 of level1 has the table level2, whose entry 0 has `window`. */
extern uint64_t level0[512], level1[512], level2[512];

/* Writes an entry of the window and forgets what was there, on every PE. */
void map(unsigned page, uint64_t desc);

/* SCTLR_EL1 with the MMU on and these bits besides. */
#define SCTLR_A    (UINT64_C(1) << 1)
#define SCTLR_SA   (UINT64_C(1) << 3)
#define SCTLR_SA0  (UINT64_C(1) << 4)
#define SCTLR_UMA  (UINT64_C(1) << 9)
#define SCTLR_DZE  (UINT64_C(1) << 14)
#define SCTLR_UCT  (UINT64_C(1) << 15)
#define SCTLR_NTWI (UINT64_C(1) << 16)
#define SCTLR_NTWE (UINT64_C(1) << 18)
#define SCTLR_UCI  (UINT64_C(1) << 26)
void set_sctlr(uint64_t bits);

/* A page of plain memory outside the program. */
#define FREE_PAGE(n) (UINT64_C(0x40200000) + PAGE * (n))

/* ---- Between vCPUs ---- */

static inline uint64_t load_acquire(const uint64_t *at)
{
    return __atomic_load_n(at, __ATOMIC_ACQUIRE);
}

static inline void store_release(uint64_t *at, uint64_t value)
{
    __atomic_store_n(at, value, __ATOMIC_RELEASE);
}

/* Waits until *at is at least `value`; yields, as vCPUs may share a host CPU. */
static inline void wait_for(const uint64_t *at, uint64_t value)
{
    while (load_acquire(at) < value)
        ASM("yield");
}

#endif
