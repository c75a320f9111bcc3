/* SPDX-License-Identifier: MIT */
/*
 * Advanced SIMD moves: copies between lanes and to and from general registers, immediates,
 * permutations, table lookups (Arm ARM C4.1.96: copy, modified immediate, permute, extract,
 * table lookup).
 */
#include "engine/interp/simd_lanes.h"

static unsigned full_or_half(const struct a64_insn *insn)
{
    return simd_q(insn) ? 16 : 8;
}

/* ---- Copy: imm5's lowest set bit is the lane's size, the bits above it are its index ---- */

struct lane_name {
    unsigned size, index;
};

static struct lane_name read_lane(const struct a64_insn *insn)
{
    const unsigned imm5 = pv_bits(insn->word, 16, 5); /* 0 and 16 alone are not allocated */
    const unsigned size = (unsigned)__builtin_ctz(imm5);
    return (struct lane_name){.size = size, .index = imm5 >> (size + 1)};
}

/* DUP (element): to all lanes, or to the one of the scalar form (MOV). */
void interp_DUP_E(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    const struct lane_name at = read_lane(insn);
    const uint64_t value = simd_lane(&c->v[insn->rn], at.size, at.index);
    c->v[insn->rd] = simd_keep(simd_broadcast(value, at.size), simd_live_bytes(insn, at.size));
}

void interp_DUP_R(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    const union cpu_vreg d = simd_broadcast(cpu_x(c, insn->rn), read_lane(insn).size);
    c->v[insn->rd] = simd_keep(d, full_or_half(insn));
}

void interp_INS_R(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    const struct lane_name at = read_lane(insn);
    simd_set_lane(&c->v[insn->rd], at.size, at.index, cpu_x(c, insn->rn));
}

void interp_INS_E(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    const struct lane_name to = read_lane(insn);
    const unsigned from = (unsigned)pv_bits(insn->word, 11, 4) >> to.size; /* imm4 */
    const uint64_t value = simd_lane(&c->v[insn->rn], to.size, from);
    simd_set_lane(&c->v[insn->rd], to.size, to.index, value);
}

void interp_UMOV(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    const struct lane_name at = read_lane(insn);
    cpu_set_x(c, insn->rd, simd_lane(&c->v[insn->rn], at.size, at.index));
}

void interp_SMOV(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    const struct lane_name at = read_lane(insn);
    const int64_t value = pv_sext(simd_lane(&c->v[insn->rn], at.size, at.index), 8u << at.size);
    if (simd_q(insn))
        cpu_set_x(c, insn->rd, (uint64_t)value);
    else
        cpu_set_w(c, insn->rd, (uint32_t)value);
}

/* ---- Modified immediate ---- */

/* Every doubleword becomes (old & keep) ^ flip. */
static void modify(struct cpu *c, const struct a64_insn *insn, uint64_t keep, uint64_t flip)
{
    const union cpu_vreg *v = &c->v[insn->rd];
    const union cpu_vreg d = {.d = {(v->d[0] & keep) ^ flip, (v->d[1] & keep) ^ flip}};
    c->v[insn->rd] = simd_keep(d, full_or_half(insn));
}

void interp_MOVI(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    modify(c, insn, 0, simd_expand_immediate(insn->word));
}
void interp_MVNI(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    modify(c, insn, 0, ~simd_expand_immediate(insn->word));
}
void interp_ORR_I(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    const uint64_t imm = simd_expand_immediate(insn->word);
    modify(c, insn, ~imm, imm);
}
void interp_BIC_I(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    modify(c, insn, ~simd_expand_immediate(insn->word), 0);
}

/* ---- Permute: lanes of n and m, taken apart, interleaved or transposed ---- */

enum permutation {
    UNZIP,
    TRANSPOSE,
    ZIP,
};

/* `part` is 0 for the first of a pair of instructions (UZP1, ...), 1 for the second. */
static void permute(struct cpu *c, const struct a64_insn *insn, enum permutation how, unsigned part)
{
    cpu_check_fp(c);
    const unsigned size = simd_size(insn), live = full_or_half(insn), lanes = live >> size;
    const union cpu_vreg source[2] = {c->v[insn->rn], c->v[insn->rm]};
    union cpu_vreg d = {0};
    for (unsigned i = 0; i < lanes; i++) {
        unsigned from = i & 1, at; /* which register, which lane of it */
        switch (how) {
        case UNZIP:
            from = 2 * i >= lanes;
            at = (2 * i + part) % lanes;
            break;
        case TRANSPOSE: at = (i & ~1u) + part; break;
        default: at = (part * lanes + i) / 2; break;
        }
        simd_set_lane(&d, size, i, simd_lane(&source[from], size, at));
    }
    c->v[insn->rd] = d;
}

#define PERMUTE(name, how, part)                                                                   \
    void interp_##name(struct cpu *c, const struct a64_insn *insn)                                 \
    {                                                                                              \
        permute(c, insn, how, part);                                                               \
    }
PERMUTE(UZP1, UNZIP, 0)
PERMUTE(UZP2, UNZIP, 1)
PERMUTE(TRN1, TRANSPOSE, 0)
PERMUTE(TRN2, TRANSPOSE, 1)
PERMUTE(ZIP1, ZIP, 0)
PERMUTE(ZIP2, ZIP, 1)

/* EXT: bytes `from` onwards of m:n. */
void interp_EXT_V(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    const unsigned live = full_or_half(insn), from = pv_bits(insn->word, 11, 4);
    uint8_t pair[32];
    memcpy(pair, &c->v[insn->rn], live);
    memcpy(pair + live, &c->v[insn->rm], live);
    union cpu_vreg d = {0};
    memcpy(&d, pair + from, live);
    c->v[insn->rd] = d;
}

/* ---- Table lookup: n to n+len (modulo 32) are the table, m the indices ---- */

static void table_lookup(struct cpu *c, const struct a64_insn *insn, bool keep_missing)
{
    cpu_check_fp(c);
    const unsigned registers = (unsigned)pv_bits(insn->word, 13, 2) + 1;
    union cpu_vreg table[4];
    for (unsigned i = 0; i < registers; i++)
        table[i] = c->v[(insn->rn + i) % 32];
    const union cpu_vreg index = c->v[insn->rm];
    union cpu_vreg d = keep_missing ? c->v[insn->rd] : (union cpu_vreg){0};
    for (unsigned i = 0; i < 16; i++)
        if (index.b[i] < 16 * registers)
            d.b[i] = table[index.b[i] / 16].b[index.b[i] % 16];
    c->v[insn->rd] = simd_keep(d, full_or_half(insn));
}

void interp_TBL(struct cpu *c, const struct a64_insn *insn)
{
    table_lookup(c, insn, false);
}
void interp_TBX(struct cpu *c, const struct a64_insn *insn)
{
    table_lookup(c, insn, true);
}
