/* SPDX-License-Identifier: MIT */
/* Declarations of every instruction's handler, and what several files of them share. */
#ifndef PV_ENGINE_INTERP_HANDLERS_H
#define PV_ENGINE_INTERP_HANDLERS_H

#include "engine/interp/cpu.h"

#define X(name, class) void interp_##name(struct cpu *c, const struct a64_insn *insn);
A64_OPS(X)
#undef X

/* ExtendReg without its shift (Arm ARM J1.1.3): option UXTB, UXTH, UXTW, UXTX, SXTB, ... */
static inline uint64_t interp_extend(uint64_t value, unsigned option)
{
    switch (option) {
    case 0: return (uint8_t)value;
    case 1: return (uint16_t)value;
    case 2: return (uint32_t)value;
    case 4: return (uint64_t)(int8_t)value;
    case 5: return (uint64_t)(int16_t)value;
    case 6: return (uint64_t)(int32_t)value;
    default: return value;
    }
}

#endif
