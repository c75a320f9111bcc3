/* SPDX-License-Identifier: MIT */
/*
 * NZCV at rest, as translated code keeps it in memory: what `lahf; seto al` leave in AX after a
 * subtraction. Bits 15, 14 and 8 are SF, ZF and CF, bit 0 is OF. x86's carry of a subtraction is
 * the inverse of Arm's; flags of additions and logic have CF inverted before they are kept.
 */
#ifndef PV_ENGINE_JIT_FLAGS_H
#define PV_ENGINE_JIT_FLAGS_H

#include "engine/interp/cpu.h"

#define JIT_FLAG_N 0x8000u
#define JIT_FLAG_Z 0x4000u
#define JIT_FLAG_B 0x0100u /* borrow: C is clear */
#define JIT_FLAG_V 0x0001u

static inline uint32_t jit_flags_to_nzcv(uint32_t flags)
{
    return (flags & (JIT_FLAG_N | JIT_FLAG_Z)) << 16 | (~flags & JIT_FLAG_B) << 21 |
           (flags & JIT_FLAG_V) << 28;
}

static inline uint32_t jit_flags_from_nzcv(uint32_t nzcv)
{
    return (nzcv >> 16 & (JIT_FLAG_N | JIT_FLAG_Z)) | (~nzcv >> 21 & JIT_FLAG_B) |
           (nzcv >> 28 & JIT_FLAG_V);
}

#endif
