/* SPDX-License-Identifier: MIT */
/* The operand width of integer data processing, which its two files share. */
#ifndef PV_ENGINE_INTERP_INT_H
#define PV_ENGINE_INTERP_INT_H

#include "engine/interp/cpu.h"

/* 64-bit operands; otherwise 32-bit ones. */
static inline bool sf(const struct a64_insn *i)
{
    return i->word >> 31;
}

/* Writes Rd as a general register. */
static inline void result(struct cpu *c, const struct a64_insn *i, uint64_t value)
{
    cpu_set_x(c, i->rd, sf(i) ? value : (uint32_t)value);
}

#endif
