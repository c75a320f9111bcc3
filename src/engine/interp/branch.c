/* SPDX-License-Identifier: MIT */
/* Branches. Exceptions and ERET are with the system instructions. */
#include "engine/interp/cpu.h"
#include "engine/interp/handlers.h"
#include "engine/interp/mmu.h"

static inline void relative(struct cpu *c, const struct a64_insn *i)
{
    cpu_branch(c, c->pc + (uint64_t)i->imm);
}

void interp_B(struct cpu *c, const struct a64_insn *i)
{
    relative(c, i);
}

void interp_BL(struct cpu *c, const struct a64_insn *i)
{
    c->x[30] = c->pc + 4;
    relative(c, i);
}

void interp_B_COND(struct cpu *c, const struct a64_insn *i)
{
    if (cpu_condition(c, i->word & 15))
        relative(c, i);
}

static inline uint64_t tested(const struct cpu *c, const struct a64_insn *i)
{
    return i->word >> 31 ? cpu_x(c, i->rd) : cpu_w(c, i->rd);
}

void interp_CBZ(struct cpu *c, const struct a64_insn *i)
{
    if (!tested(c, i))
        relative(c, i);
}

void interp_CBNZ(struct cpu *c, const struct a64_insn *i)
{
    if (tested(c, i))
        relative(c, i);
}

static inline bool bit_set(const struct cpu *c, const struct a64_insn *i)
{
    return cpu_x(c, i->rd) >> a64_TBZ_bit(i->word) & 1;
}

void interp_TBZ(struct cpu *c, const struct a64_insn *i)
{
    if (!bit_set(c, i))
        relative(c, i);
}

void interp_TBNZ(struct cpu *c, const struct a64_insn *i)
{
    if (bit_set(c, i))
        relative(c, i);
}

void interp_BR(struct cpu *c, const struct a64_insn *i)
{
    cpu_branch(c, mmu_branch_address(c, cpu_x(c, i->rn)));
}

void interp_BLR(struct cpu *c, const struct a64_insn *i)
{
    uint64_t target = cpu_x(c, i->rn); /* which may be X30 itself */
    c->x[30] = c->pc + 4;
    cpu_branch(c, mmu_branch_address(c, target));
}

void interp_RET(struct cpu *c, const struct a64_insn *i)
{
    cpu_branch(c, mmu_branch_address(c, cpu_x(c, i->rn)));
}
