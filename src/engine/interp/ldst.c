/* SPDX-License-Identifier: MIT */
/*
 * Loads and stores of general registers. Where a load's destination is also the written-back base
 * (CONSTRAINED UNPREDICTABLE, Arm ARM K1.1), the loaded value wins; a store of the base stores its
 * old value.
 */
#include "engine/interp/ldst.h"

/* ---- One register ---- */

#define LOAD_PLAIN(full, address)                                                                  \
    void interp_##full(struct cpu *c, const struct a64_insn *i)                                    \
    {                                                                                              \
        const uint64_t base = ldst_base(c, i);                                                     \
        cpu_set_x(c, i->rd, LOADED(address));                                                      \
    }
#define LOAD_INDEXED(full, address)                                                                \
    void interp_##full(struct cpu *c, const struct a64_insn *i)                                    \
    {                                                                                              \
        const uint64_t base = ldst_base(c, i);                                                     \
        const uint64_t value = LOADED(address);                                                    \
        cpu_set_xsp(c, i->rn, base + (uint64_t)i->imm);                                            \
        cpu_set_x(c, i->rd, value);                                                                \
    }
#define STORE_PLAIN(full, address)                                                                 \
    void interp_##full(struct cpu *c, const struct a64_insn *i)                                    \
    {                                                                                              \
        const uint64_t base = ldst_base(c, i);                                                     \
        STORED(address, cpu_x(c, i->rd));                                                          \
    }
#define STORE_INDEXED(full, address)                                                               \
    void interp_##full(struct cpu *c, const struct a64_insn *i)                                    \
    {                                                                                              \
        const uint64_t base = ldst_base(c, i);                                                     \
        STORED(address, cpu_x(c, i->rd));                                                          \
        cpu_set_xsp(c, i->rn, base + (uint64_t)i->imm);                                            \
    }
#define UNPRIVILEGED_LOAD(full, size, convert)                                                     \
    void interp_##full(struct cpu *c, const struct a64_insn *i)                                    \
    {                                                                                              \
        const uint64_t va = ldst_base(c, i) + (uint64_t)i->imm;                                    \
        const uint64_t value = mem_read_slow(c, va, size, MEM_UNPRIV);                             \
        cpu_set_x(c, i->rd, convert value);                                                        \
    }
#define UNPRIVILEGED_STORE(full, size)                                                             \
    void interp_##full(struct cpu *c, const struct a64_insn *i)                                    \
    {                                                                                              \
        const uint64_t va = ldst_base(c, i) + (uint64_t)i->imm;                                    \
        mem_write_slow(c, va, size, cpu_x(c, i->rd), MEM_UNPRIV);                                  \
    }

#define LOADED(va)        mem_read8(c, va)
#define STORED(va, value) mem_write8(c, va, (uint8_t)(value))
LDST_MODES(LDRB, LOAD_PLAIN, LOAD_INDEXED)
LDST_MODES(STRB, STORE_PLAIN, STORE_INDEXED)
#undef LOADED
#undef STORED
#define LOADED(va)        mem_read16(c, va)
#define STORED(va, value) mem_write16(c, va, (uint16_t)(value))
LDST_MODES(LDRH, LOAD_PLAIN, LOAD_INDEXED)
LDST_MODES(STRH, STORE_PLAIN, STORE_INDEXED)
#undef LOADED
#undef STORED
#define LOADED(va)        mem_read32(c, va)
#define STORED(va, value) mem_write32(c, va, (uint32_t)(value))
LDST_MODES(LDR_W, LOAD_PLAIN, LOAD_INDEXED)
LDST_MODES(STR_W, STORE_PLAIN, STORE_INDEXED)
#undef LOADED
#undef STORED
#define LOADED(va)        mem_read64(c, va)
#define STORED(va, value) mem_write64(c, va, value)
LDST_MODES(LDR_X, LOAD_PLAIN, LOAD_INDEXED)
LDST_MODES(STR_X, STORE_PLAIN, STORE_INDEXED)
#undef LOADED
#undef STORED
#define LOADED(va) (uint64_t)(int8_t) mem_read8(c, va)
LDST_MODES(LDRSB_X, LOAD_PLAIN, LOAD_INDEXED)
#undef LOADED
#define LOADED(va) (uint32_t)(int8_t) mem_read8(c, va)
LDST_MODES(LDRSB_W, LOAD_PLAIN, LOAD_INDEXED)
#undef LOADED
#define LOADED(va) (uint64_t)(int16_t) mem_read16(c, va)
LDST_MODES(LDRSH_X, LOAD_PLAIN, LOAD_INDEXED)
#undef LOADED
#define LOADED(va) (uint32_t)(int16_t) mem_read16(c, va)
LDST_MODES(LDRSH_W, LOAD_PLAIN, LOAD_INDEXED)
#undef LOADED
#define LOADED(va) (uint64_t)(int32_t) mem_read32(c, va)
LDST_MODES(LDRSW, LOAD_PLAIN, LOAD_INDEXED)
#undef LOADED

UNPRIVILEGED_LOAD(LDTRB, 1, )
UNPRIVILEGED_LOAD(LDTRH, 2, )
UNPRIVILEGED_LOAD(LDTR_W, 4, )
UNPRIVILEGED_LOAD(LDTR_X, 8, )
UNPRIVILEGED_LOAD(LDTRSB_X, 1, (uint64_t)(int8_t))
UNPRIVILEGED_LOAD(LDTRSB_W, 1, (uint32_t)(int8_t))
UNPRIVILEGED_LOAD(LDTRSH_X, 2, (uint64_t)(int16_t))
UNPRIVILEGED_LOAD(LDTRSH_W, 2, (uint32_t)(int16_t))
UNPRIVILEGED_LOAD(LDTRSW, 4, (uint64_t)(int32_t))
UNPRIVILEGED_STORE(STTRB, 1)
UNPRIVILEGED_STORE(STTRH, 2)
UNPRIVILEGED_STORE(STTR_W, 4)
UNPRIVILEGED_STORE(STTR_X, 8)

/* ---- Literals ---- */

void interp_LDR_LIT_W(struct cpu *c, const struct a64_insn *i)
{
    cpu_set_x(c, i->rd, mem_read32(c, c->pc + (uint64_t)i->imm));
}

void interp_LDR_LIT_X(struct cpu *c, const struct a64_insn *i)
{
    cpu_set_x(c, i->rd, mem_read64(c, c->pc + (uint64_t)i->imm));
}

void interp_LDRSW_LIT(struct cpu *c, const struct a64_insn *i)
{
    cpu_set_x(c, i->rd, (uint64_t)(int32_t)mem_read32(c, c->pc + (uint64_t)i->imm));
}

/* ---- Pairs ---- */

#define LOAD_PAIR(full, address, after)                                                            \
    void interp_##full(struct cpu *c, const struct a64_insn *i)                                    \
    {                                                                                              \
        const uint64_t base = ldst_base(c, i), va = address;                                       \
        const uint64_t first = LOADED(va), second = LOADED(va + SIZE);                             \
        after;                                                                                     \
        cpu_set_x(c, i->rd, first);                                                                \
        cpu_set_x(c, i->ra, second);                                                               \
    }
#define STORE_PAIR(full, address, after)                                                           \
    void interp_##full(struct cpu *c, const struct a64_insn *i)                                    \
    {                                                                                              \
        const uint64_t base = ldst_base(c, i), va = address;                                       \
        mem_probe_crossing(c, va, 2 * SIZE);                                                       \
        STORED(va, cpu_x(c, i->rd));                                                               \
        STORED(va + SIZE, cpu_x(c, i->ra));                                                        \
        after;                                                                                     \
    }
#define WRITE_BACK                        cpu_set_xsp(c, i->rn, base + (uint64_t)i->imm)
#define LOAD_PAIR_PLAIN(full, address)    LOAD_PAIR(full, address, (void)0)
#define LOAD_PAIR_INDEXED(full, address)  LOAD_PAIR(full, address, WRITE_BACK)
#define STORE_PAIR_PLAIN(full, address)   STORE_PAIR(full, address, (void)0)
#define STORE_PAIR_INDEXED(full, address) STORE_PAIR(full, address, WRITE_BACK)

#define SIZE              4
#define LOADED(va)        mem_read32(c, va)
#define STORED(va, value) mem_write32(c, va, (uint32_t)(value))
LDST_PAIR_MODES(LDP_W, LOAD_PAIR_PLAIN, LOAD_PAIR_INDEXED)
LDST_PAIR_MODES(STP_W, STORE_PAIR_PLAIN, STORE_PAIR_INDEXED)
#undef LOADED
#define LOADED(va) (uint64_t)(int32_t) mem_read32(c, va)
LOAD_PAIR_PLAIN(LDPSW_OFF, base + (uint64_t)i->imm)
LOAD_PAIR_INDEXED(LDPSW_POST, base)
LOAD_PAIR_INDEXED(LDPSW_PRE, base + (uint64_t)i->imm)
#undef SIZE
#undef LOADED
#undef STORED
#define SIZE              8
#define LOADED(va)        mem_read64(c, va)
#define STORED(va, value) mem_write64(c, va, value)
LDST_PAIR_MODES(LDP_X, LOAD_PAIR_PLAIN, LOAD_PAIR_INDEXED)
LDST_PAIR_MODES(STP_X, STORE_PAIR_PLAIN, STORE_PAIR_INDEXED)
#undef SIZE
#undef LOADED
#undef STORED

/* ---- Prefetch ---- */

void interp_PRFM_UIMM(struct cpu *c, const struct a64_insn *i) {}
void interp_PRFM_REG(struct cpu *c, const struct a64_insn *i) {}
void interp_PRFM_LIT(struct cpu *c, const struct a64_insn *i) {}
void interp_PRFUM(struct cpu *c, const struct a64_insn *i) {}
