/* SPDX-License-Identifier: MIT */
/* Loads and stores of SIMD and FP registers, singly and in pairs. A load zeroes the rest. */
#include "engine/interp/ldst.h"

static inline union cpu_vreg low(uint64_t value)
{
    return (union cpu_vreg){.d = {value, 0}};
}

static inline union cpu_vreg read_q(struct cpu *c, uint64_t va)
{
    union cpu_vreg v;
    mem_read128(c, va, v.d);
    return v;
}

#define LOAD(full, address, after)                                                                 \
    void interp_##full(struct cpu *c, const struct a64_insn *i)                                    \
    {                                                                                              \
        cpu_check_fp(c);                                                                           \
        const uint64_t base = ldst_base(c, i);                                                     \
        c->v[i->rd] = LOADED(address);                                                             \
        after;                                                                                     \
    }
#define STORE(full, address, after)                                                                \
    void interp_##full(struct cpu *c, const struct a64_insn *i)                                    \
    {                                                                                              \
        cpu_check_fp(c);                                                                           \
        const uint64_t base = ldst_base(c, i);                                                     \
        STORED(address, c->v[i->rd]);                                                              \
        after;                                                                                     \
    }
#define LOAD_PAIR(full, address, after)                                                            \
    void interp_##full(struct cpu *c, const struct a64_insn *i)                                    \
    {                                                                                              \
        cpu_check_fp(c);                                                                           \
        const uint64_t base = ldst_base(c, i), va = address;                                       \
        const union cpu_vreg first = LOADED(va), second = LOADED(va + SIZE);                       \
        c->v[i->rd] = first;                                                                       \
        c->v[i->ra] = second;                                                                      \
        after;                                                                                     \
    }
#define STORE_PAIR(full, address, after)                                                           \
    void interp_##full(struct cpu *c, const struct a64_insn *i)                                    \
    {                                                                                              \
        cpu_check_fp(c);                                                                           \
        const uint64_t base = ldst_base(c, i), va = address;                                       \
        mem_probe_crossing(c, va, 2 * SIZE);                                                       \
        STORED(va, c->v[i->rd]);                                                                   \
        STORED(va + SIZE, c->v[i->ra]);                                                            \
        after;                                                                                     \
    }

#define WRITE_BACK                        cpu_set_xsp(c, i->rn, base + (uint64_t)i->imm)
#define LOAD_PLAIN(full, address)         LOAD(full, address, (void)0)
#define LOAD_INDEXED(full, address)       LOAD(full, address, WRITE_BACK)
#define STORE_PLAIN(full, address)        STORE(full, address, (void)0)
#define STORE_INDEXED(full, address)      STORE(full, address, WRITE_BACK)
#define LOAD_PAIR_PLAIN(full, address)    LOAD_PAIR(full, address, (void)0)
#define LOAD_PAIR_INDEXED(full, address)  LOAD_PAIR(full, address, WRITE_BACK)
#define STORE_PAIR_PLAIN(full, address)   STORE_PAIR(full, address, (void)0)
#define STORE_PAIR_INDEXED(full, address) STORE_PAIR(full, address, WRITE_BACK)

#define LITERAL(full, value)                                                                       \
    void interp_##full(struct cpu *c, const struct a64_insn *i)                                    \
    {                                                                                              \
        cpu_check_fp(c);                                                                           \
        const uint64_t va = c->pc + (uint64_t)i->imm;                                              \
        c->v[i->rd] = value;                                                                       \
    }

#define LOADED(va)    low(mem_read8(c, va))
#define STORED(va, v) mem_write8(c, va, (v).b[0])
LDST_MODES(LDR_B, LOAD_PLAIN, LOAD_INDEXED)
LDST_MODES(STR_B, STORE_PLAIN, STORE_INDEXED)
#undef LOADED
#undef STORED
#define LOADED(va)    low(mem_read16(c, va))
#define STORED(va, v) mem_write16(c, va, (v).h[0])
LDST_MODES(LDR_H, LOAD_PLAIN, LOAD_INDEXED)
LDST_MODES(STR_H, STORE_PLAIN, STORE_INDEXED)
#undef LOADED
#undef STORED

#define SIZE          4
#define LOADED(va)    low(mem_read32(c, va))
#define STORED(va, v) mem_write32(c, va, (v).s[0])
LDST_MODES(LDR_S, LOAD_PLAIN, LOAD_INDEXED)
LDST_MODES(STR_S, STORE_PLAIN, STORE_INDEXED)
LDST_PAIR_MODES(LDP_S, LOAD_PAIR_PLAIN, LOAD_PAIR_INDEXED)
LDST_PAIR_MODES(STP_S, STORE_PAIR_PLAIN, STORE_PAIR_INDEXED)
LITERAL(LDR_LIT_S, LOADED(va))
#undef SIZE
#undef LOADED
#undef STORED

#define SIZE          8
#define LOADED(va)    low(mem_read64(c, va))
#define STORED(va, v) mem_write64(c, va, (v).d[0])
LDST_MODES(LDR_D, LOAD_PLAIN, LOAD_INDEXED)
LDST_MODES(STR_D, STORE_PLAIN, STORE_INDEXED)
LDST_PAIR_MODES(LDP_D, LOAD_PAIR_PLAIN, LOAD_PAIR_INDEXED)
LDST_PAIR_MODES(STP_D, STORE_PAIR_PLAIN, STORE_PAIR_INDEXED)
LITERAL(LDR_LIT_D, LOADED(va))
#undef SIZE
#undef LOADED
#undef STORED

#define SIZE          16
#define LOADED(va)    read_q(c, va)
#define STORED(va, v) mem_write128(c, va, (v).d)
LDST_MODES(LDR_Q, LOAD_PLAIN, LOAD_INDEXED)
LDST_MODES(STR_Q, STORE_PLAIN, STORE_INDEXED)
LDST_PAIR_MODES(LDP_Q, LOAD_PAIR_PLAIN, LOAD_PAIR_INDEXED)
LDST_PAIR_MODES(STP_Q, STORE_PAIR_PLAIN, STORE_PAIR_INDEXED)
LITERAL(LDR_LIT_Q, LOADED(va))
