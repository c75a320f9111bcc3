/* SPDX-License-Identifier: MIT */
/*
 * Integer data processing: add and subtract, logical, moves, bit fields, conditional operations.
 *
 * Each handler computes in 64 bits or in 32 by the word's sf bit; a 32-bit result zeroes the upper
 * half of its register.
 */
#include "engine/interp/cpu.h"
#include "engine/interp/handlers.h"
#include "engine/interp/int.h"

/* Writes Rd where 31 is the stack pointer. */
static inline void result_sp(struct cpu *c, const struct a64_insn *i, uint64_t value)
{
    cpu_set_xsp(c, i->rd, sf(i) ? value : (uint32_t)value);
}

/* AddWithCarry (Arm ARM J1.1.3) with flags. Subtraction is a + ~b + 1. */
static inline uint32_t add_flags32(struct cpu *c, uint32_t a, uint32_t b, unsigned carry)
{
    uint64_t wide = (uint64_t)a + b + carry;
    uint32_t r = (uint32_t)wide;
    uint32_t overflow = ~(a ^ b) & (a ^ r);
    c->nzcv = (r & PSTATE_N) | (r ? 0 : PSTATE_Z) | (wide >> 32 ? PSTATE_C : 0) |
              (overflow >> 31 ? PSTATE_V : 0);
    return r;
}

static inline uint64_t add_flags64(struct cpu *c, uint64_t a, uint64_t b, unsigned carry)
{
    uint64_t r;
    bool carried = __builtin_add_overflow(a, b, &r);
    carried |= __builtin_add_overflow(r, (uint64_t)carry, &r);
    uint64_t overflow = ~(a ^ b) & (a ^ r);
    c->nzcv = ((uint32_t)(r >> 32) & PSTATE_N) | (r ? 0 : PSTATE_Z) | (carried ? PSTATE_C : 0) |
              (overflow >> 63 ? PSTATE_V : 0);
    return r;
}

static inline uint64_t add_flags(struct cpu *c, const struct a64_insn *i, uint64_t a, uint64_t b,
                                 unsigned carry)
{
    return sf(i) ? add_flags64(c, a, b, carry) : add_flags32(c, (uint32_t)a, (uint32_t)b, carry);
}

static inline void logic_flags(struct cpu *c, const struct a64_insn *i, uint64_t r)
{
    if (!sf(i))
        r = (uint64_t)(uint32_t)r << 32;
    c->nzcv = ((uint32_t)(r >> 32) & PSTATE_N) | (r ? 0 : PSTATE_Z);
}

/* ---- Immediates ---- */

void interp_ADR(struct cpu *c, const struct a64_insn *i)
{
    cpu_set_x(c, i->rd, c->pc + (uint64_t)i->imm);
}

void interp_ADRP(struct cpu *c, const struct a64_insn *i)
{
    cpu_set_x(c, i->rd, (c->pc & ~UINT64_C(0xfff)) + (uint64_t)i->imm);
}

void interp_ADD_IMM(struct cpu *c, const struct a64_insn *i)
{
    result_sp(c, i, cpu_xsp(c, i->rn) + (uint64_t)i->imm);
}

void interp_SUB_IMM(struct cpu *c, const struct a64_insn *i)
{
    result_sp(c, i, cpu_xsp(c, i->rn) - (uint64_t)i->imm);
}

void interp_ADDS_IMM(struct cpu *c, const struct a64_insn *i)
{
    cpu_set_x(c, i->rd, add_flags(c, i, cpu_xsp(c, i->rn), (uint64_t)i->imm, 0));
}

void interp_SUBS_IMM(struct cpu *c, const struct a64_insn *i)
{
    cpu_set_x(c, i->rd, add_flags(c, i, cpu_xsp(c, i->rn), ~(uint64_t)i->imm, 1));
}

void interp_AND_IMM(struct cpu *c, const struct a64_insn *i)
{
    result_sp(c, i, cpu_x(c, i->rn) & (uint64_t)i->imm);
}

void interp_ORR_IMM(struct cpu *c, const struct a64_insn *i)
{
    result_sp(c, i, cpu_x(c, i->rn) | (uint64_t)i->imm);
}

void interp_EOR_IMM(struct cpu *c, const struct a64_insn *i)
{
    result_sp(c, i, cpu_x(c, i->rn) ^ (uint64_t)i->imm);
}

void interp_ANDS_IMM(struct cpu *c, const struct a64_insn *i)
{
    uint64_t r = cpu_x(c, i->rn) & (uint64_t)i->imm;
    logic_flags(c, i, r);
    result(c, i, r);
}

void interp_MOVZ(struct cpu *c, const struct a64_insn *i)
{
    cpu_set_x(c, i->rd, (uint64_t)i->imm);
}

void interp_MOVN(struct cpu *c, const struct a64_insn *i)
{
    result(c, i, ~(uint64_t)i->imm);
}

void interp_MOVK(struct cpu *c, const struct a64_insn *i)
{
    uint64_t keep = ~(UINT64_C(0xffff) << 16 * (i->word >> 21 & 3));
    result(c, i, (cpu_x(c, i->rd) & keep) | (uint64_t)i->imm);
}

/* ---- Bit fields ---- */

struct bitfield {
    unsigned r, s, width; /* immr, imms, register width */
};

static inline struct bitfield bitfield(const struct a64_insn *i)
{
    return (struct bitfield){i->word >> 16 & 63, i->word >> 10 & 63, sf(i) ? 64 : 32};
}

/* The low `width` bits of value, 1 to 64. */
static inline uint64_t low_bits(uint64_t value, unsigned width)
{
    return value & ~UINT64_C(0) >> (64 - width);
}

void interp_UBFM(struct cpu *c, const struct a64_insn *i)
{
    struct bitfield f = bitfield(i);
    uint64_t n = cpu_x(c, i->rn);
    /* Extract the field that starts at r, or insert the low one at width - r. */
    uint64_t r =
        f.s >= f.r ? low_bits(n >> f.r, f.s - f.r + 1) : low_bits(n, f.s + 1) << (f.width - f.r);
    cpu_set_x(c, i->rd, r);
}

void interp_SBFM(struct cpu *c, const struct a64_insn *i)
{
    struct bitfield f = bitfield(i);
    uint64_t n = cpu_x(c, i->rn);
    uint64_t r = f.s >= f.r ? (uint64_t)pv_sext(n >> f.r, f.s - f.r + 1)
                            : (uint64_t)pv_sext(n, f.s + 1) << (f.width - f.r);
    result(c, i, r);
}

void interp_BFM(struct cpu *c, const struct a64_insn *i)
{
    struct bitfield f = bitfield(i);
    uint64_t n = cpu_x(c, i->rn), d = cpu_x(c, i->rd);
    unsigned width = f.s >= f.r ? f.s - f.r + 1 : f.s + 1;
    unsigned at = f.s >= f.r ? 0 : f.width - f.r;
    uint64_t field = f.s >= f.r ? n >> f.r : n;
    uint64_t mask = low_bits(~UINT64_C(0), width) << at;
    result(c, i, (d & ~mask) | (field << at & mask));
}

void interp_EXTR(struct cpu *c, const struct a64_insn *i)
{
    unsigned lsb = (unsigned)i->imm;
    uint64_t n = cpu_x(c, i->rn), m = cpu_x(c, i->rm);
    if (!sf(i))
        cpu_set_w(c, i->rd, (uint32_t)((n << 32 | (uint32_t)m) >> lsb));
    else
        cpu_set_x(c, i->rd, lsb ? m >> lsb | n << (64 - lsb) : m);
}

/* ---- Shifted and extended registers ---- */

static inline uint64_t shift(uint64_t value, unsigned kind, unsigned amount, bool is64)
{
    if (!is64) {
        uint32_t w = (uint32_t)value;
        switch (kind) {
        case 0: return w << amount;
        case 1: return w >> amount;
        case 2: return (uint32_t)((int32_t)w >> amount);
        default: return amount ? w >> amount | w << (32 - amount) : w;
        }
    }
    switch (kind) {
    case 0: return value << amount;
    case 1: return value >> amount;
    case 2: return (uint64_t)((int64_t)value >> amount);
    default: return amount ? value >> amount | value << (64 - amount) : value;
    }
}

static inline uint64_t shifted(const struct cpu *c, const struct a64_insn *i)
{
    uint64_t m = cpu_x(c, i->rm);
    unsigned kind = i->word >> 22 & 3;
    /* The plain register is by far the commonest. */
    if (PV_LIKELY(!i->imm && !kind))
        return m;
    return shift(m, kind, (unsigned)i->imm, sf(i));
}

/* ExtendReg (Arm ARM J1.1.3): option is UXTB..UXTX, SXTB..SXTX. */
static inline uint64_t extended(const struct cpu *c, const struct a64_insn *i)
{
    return interp_extend(cpu_x(c, i->rm), i->word >> 13 & 7) << i->imm;
}

#define LOGIC(name, expr)                                                                          \
    void interp_##name##_REG(struct cpu *c, const struct a64_insn *i)                              \
    {                                                                                              \
        const uint64_t n = cpu_x(c, i->rn), m = shifted(c, i);                                     \
        result(c, i, expr);                                                                        \
    }
#define LOGIC_FLAGS(name, expr)                                                                    \
    void interp_##name##_REG(struct cpu *c, const struct a64_insn *i)                              \
    {                                                                                              \
        const uint64_t n = cpu_x(c, i->rn), m = shifted(c, i);                                     \
        const uint64_t r = expr;                                                                   \
        logic_flags(c, i, r);                                                                      \
        result(c, i, r);                                                                           \
    }
LOGIC(AND, n &m)
LOGIC(BIC, n & ~m)
LOGIC(ORR, n | m)
LOGIC(ORN, n | ~m)
LOGIC(EOR, n ^ m)
LOGIC(EON, n ^ ~m)
LOGIC_FLAGS(ANDS, n &m)
LOGIC_FLAGS(BICS, n & ~m)

void interp_ADD_REG(struct cpu *c, const struct a64_insn *i)
{
    result(c, i, cpu_x(c, i->rn) + shifted(c, i));
}

void interp_SUB_REG(struct cpu *c, const struct a64_insn *i)
{
    result(c, i, cpu_x(c, i->rn) - shifted(c, i));
}

void interp_ADDS_REG(struct cpu *c, const struct a64_insn *i)
{
    cpu_set_x(c, i->rd, add_flags(c, i, cpu_x(c, i->rn), shifted(c, i), 0));
}

void interp_SUBS_REG(struct cpu *c, const struct a64_insn *i)
{
    cpu_set_x(c, i->rd, add_flags(c, i, cpu_x(c, i->rn), ~shifted(c, i), 1));
}

void interp_ADD_EXT(struct cpu *c, const struct a64_insn *i)
{
    result_sp(c, i, cpu_xsp(c, i->rn) + extended(c, i));
}

void interp_SUB_EXT(struct cpu *c, const struct a64_insn *i)
{
    result_sp(c, i, cpu_xsp(c, i->rn) - extended(c, i));
}

void interp_ADDS_EXT(struct cpu *c, const struct a64_insn *i)
{
    cpu_set_x(c, i->rd, add_flags(c, i, cpu_xsp(c, i->rn), extended(c, i), 0));
}

void interp_SUBS_EXT(struct cpu *c, const struct a64_insn *i)
{
    cpu_set_x(c, i->rd, add_flags(c, i, cpu_xsp(c, i->rn), ~extended(c, i), 1));
}

static inline unsigned carry(const struct cpu *c)
{
    return c->nzcv >> 29 & 1;
}

void interp_ADC(struct cpu *c, const struct a64_insn *i)
{
    result(c, i, cpu_x(c, i->rn) + cpu_x(c, i->rm) + carry(c));
}

void interp_SBC(struct cpu *c, const struct a64_insn *i)
{
    result(c, i, cpu_x(c, i->rn) + ~cpu_x(c, i->rm) + carry(c));
}

void interp_ADCS(struct cpu *c, const struct a64_insn *i)
{
    cpu_set_x(c, i->rd, add_flags(c, i, cpu_x(c, i->rn), cpu_x(c, i->rm), carry(c)));
}

void interp_SBCS(struct cpu *c, const struct a64_insn *i)
{
    cpu_set_x(c, i->rd, add_flags(c, i, cpu_x(c, i->rn), ~cpu_x(c, i->rm), carry(c)));
}

/* ---- Conditional ---- */

static inline bool holds(const struct cpu *c, const struct a64_insn *i)
{
    return cpu_condition(c, i->word >> 12 & 15);
}

static inline void compare(struct cpu *c, const struct a64_insn *i, uint64_t b, unsigned carry_in)
{
    if (holds(c, i))
        add_flags(c, i, cpu_x(c, i->rn), b, carry_in);
    else
        c->nzcv = (i->word & 15) << 28;
}

void interp_CCMN_REG(struct cpu *c, const struct a64_insn *i)
{
    compare(c, i, cpu_x(c, i->rm), 0);
}

void interp_CCMN_IMM(struct cpu *c, const struct a64_insn *i)
{
    compare(c, i, (uint64_t)i->imm, 0);
}

void interp_CCMP_REG(struct cpu *c, const struct a64_insn *i)
{
    compare(c, i, ~cpu_x(c, i->rm), 1);
}

void interp_CCMP_IMM(struct cpu *c, const struct a64_insn *i)
{
    compare(c, i, ~(uint64_t)i->imm, 1);
}

void interp_CSEL(struct cpu *c, const struct a64_insn *i)
{
    result(c, i, holds(c, i) ? cpu_x(c, i->rn) : cpu_x(c, i->rm));
}

void interp_CSINC(struct cpu *c, const struct a64_insn *i)
{
    result(c, i, holds(c, i) ? cpu_x(c, i->rn) : cpu_x(c, i->rm) + 1);
}

void interp_CSINV(struct cpu *c, const struct a64_insn *i)
{
    result(c, i, holds(c, i) ? cpu_x(c, i->rn) : ~cpu_x(c, i->rm));
}

void interp_CSNEG(struct cpu *c, const struct a64_insn *i)
{
    result(c, i, holds(c, i) ? cpu_x(c, i->rn) : -cpu_x(c, i->rm));
}
