/* SPDX-License-Identifier: MIT */
/* Exceptions as expectations, for programs that run on one vCPU. */
#ifndef PV_TESTS_GUEST_EXPECT_H
#define PV_TESTS_GUEST_EXPECT_H

#include "lib.h"

#define EC_UNKNOWN    0x00
#define EC_WFX        0x01
#define EC_FP         0x07
#define EC_ILLEGAL    0x0e
#define EC_SVC        0x15
#define EC_SYSREG     0x18
#define EC_IABORT     0x20 /* from EL0; one more from EL1, and so for the next */
#define EC_PC         0x22
#define EC_DABORT     0x24
#define EC_SP         0x26
#define EC_BREAKPOINT 0x30
#define EC_STEP       0x32
#define EC_WATCHPOINT 0x34
#define EC_BRK        0x3c

#define WNR        (1u << 6)
#define CM         (1u << 8)
#define FSC_SIZE   0x00
#define FSC_TRANS  0x04
#define FSC_ACCESS 0x08
#define FSC_PERM   0x0c
#define FSC_EXT    0x10
#define FSC_ALIGN  0x21
#define FSC_DEBUG  0x22
#define FSC_ATOMIC 0x35

static struct frame f;

/* Runs `code` at an exception level, with what the caller put into x[]. */
static inline void go(const uint32_t *code, uint64_t pstate)
{
    f.pc = (pstate & 0xf) == PSTATE_EL0 ? USER(code) : (uintptr_t)code;
    f.pstate = pstate;
    enter(&f);
}

/* Where it stopped: instruction `n` of `code`. */
static inline bool stopped_at(const uint32_t *code, unsigned n)
{
    return (uint32_t)f.pc == (uint32_t)(uintptr_t)(code + n) + (f.vector >= 0x400 ? 0x40000000 : 0);
}

/* The exception at instruction n of `code` at `pstate` is this one. */
#define EXPECT(code, at, level, syndrome)                                                          \
    do {                                                                                           \
        go(code, level);                                                                           \
        CHECK_EQ(f.esr, syndrome);                                                                 \
        CHECK(stopped_at(code, at));                                                               \
        CHECK_EQ(f.vector, (level) == PSTATE_EL0 ? 0x400 : (level)&1 ? 0x200 : 0);                 \
        CHECK_EQ(f.pstate & 0x3cf, (level)&0x3cf);                                                 \
    } while (0)

/* The same at EL1 and EL0, where the class for EL1 is one more (`more`). */
#define EXPECT_BOTH(code, at, ec, more, iss)                                                       \
    do {                                                                                           \
        EXPECT(code, at, PSTATE_EL1H | PSTATE_DAIF, ESR((ec) + (more), iss));                      \
        EXPECT(code, at, PSTATE_EL0, ESR(ec, iss));                                                \
    } while (0)

#define EL1 (PSTATE_EL1H | PSTATE_DAIF)

#endif
