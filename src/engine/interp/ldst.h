/* SPDX-License-Identifier: MIT */
/*
 * Addressing modes of loads and stores. A mode gives the address and, for the indexed ones, the
 * base's new value, which is written only after the access succeeded.
 */
#ifndef PV_ENGINE_INTERP_LDST_H
#define PV_ENGINE_INTERP_LDST_H

#include "engine/interp/handlers.h"
#include "engine/interp/mem.h"

/* The base register's value; an access through a misaligned stack pointer may be an exception. */
static inline uint64_t ldst_base(struct cpu *c, const struct a64_insn *i)
{
    if (i->rn != 31)
        return c->x[i->rn];
    cpu_check_sp(c);
    return c->sp;
}

static inline uint64_t ldst_register_offset(const struct cpu *c, const struct a64_insn *i)
{
    return interp_extend(cpu_x(c, i->rm), i->word >> 13 & 7) << i->imm;
}

/* Instantiates PART(mode, address, new base or none) for the five modes of single registers. */
#define LDST_MODES(NAME, PLAIN, INDEXED)                                                           \
    PLAIN(NAME##_UIMM, base + (uint64_t)i->imm)                                                    \
    PLAIN(NAME##_UR, base + (uint64_t)i->imm)                                                      \
    PLAIN(NAME##_REG, base + ldst_register_offset(c, i))                                           \
    INDEXED(NAME##_POST, base)                                                                     \
    INDEXED(NAME##_PRE, base + (uint64_t)i->imm)

/* The same for pairs: no-allocate and offset are plain. */
#define LDST_PAIR_MODES(NAME, PLAIN, INDEXED)                                                      \
    PLAIN(NAME##_NP, base + (uint64_t)i->imm)                                                      \
    PLAIN(NAME##_OFF, base + (uint64_t)i->imm)                                                     \
    INDEXED(NAME##_POST, base)                                                                     \
    INDEXED(NAME##_PRE, base + (uint64_t)i->imm)

#endif
