/* SPDX-License-Identifier: MIT */
/*
 * Lanes: how every Advanced SIMD integer instruction is written.
 *
 * An instruction is a sentence about one lane ("d = a + b, saturated") together with a shape (which
 * register feeds which lane: same width, widening, narrowing, by element, ...). The sentences are
 * one line each, in terms of the names below; the shapes are few and are shared:
 *
 *     LANES(SQADD, SAT_S((swide)sa + sb))
 *     THREE_SAME(SQADD_V, SQADD)
 *
 * LANES makes a function that runs its expression over all lanes of a struct simd_op, once for
 * each lane size, as plain loops of known length over typed arrays: compilers turn those into
 * host vector code. Shapes fetch the operands, call it, and store the result.
 *
 * All loops cover 128 bits, whatever the instruction: `live` says how many low bytes of the
 * registers take part (16; 8 when Q = 0; one lane's worth for the scalar forms). Operands are
 * zero beyond it, so that dead lanes cannot saturate, and so is the result. A scalar instruction is
 * hence the vector instruction with a smaller `live`, and spec/a64.def gives both one line, with
 * bit 28 as the field S.
 *
 * Names in an expression: `a`, `b` source lanes as unsigned numbers, `sa`, `sb` the same as
 * signed ones, `d` and `sd` the old destination lane; types `lane`, `slane` of the lane and
 * `wide`, `swide` of twice its width; BITS its width; o->shift the immediate. For lanes of two
 * widths, `lane` is the narrow type. The value is truncated to the result's lane.
 */
#ifndef PV_ENGINE_INTERP_SIMD_LANES_H
#define PV_ENGINE_INTERP_SIMD_LANES_H

#include "engine/interp/handlers.h"

#include <string.h>

#define SIMD_FPSR_QC (1u << 27)

/* One SIMD instruction under way. */
struct simd_op {
    union cpu_vreg d, n, m; /* d: the old destination, then the result */
    unsigned size;          /* log2 of the lane's bytes, the narrow ones' where there are two */
    unsigned live;          /* how many low bytes of the result's register count */
    unsigned shift;         /* shifts by immediate */
    bool saturated;         /* a lane did: FPSR.QC */
};

typedef void simd_lanes(struct simd_op *o);

/* ---- Fields shared by nearly all encodings (Arm ARM C4.1.96) ---- */

static inline bool simd_q(const struct a64_insn *insn)
{
    return insn->word >> 30 & 1;
}
static inline bool simd_scalar(const struct a64_insn *insn)
{
    return insn->word >> 28 & 1;
}
static inline unsigned simd_size(const struct a64_insn *insn)
{
    return insn->word >> 22 & 3;
}
static inline unsigned simd_live_bytes(const struct a64_insn *insn, unsigned size)
{
    return simd_scalar(insn) ? 1u << size : simd_q(insn) ? 16 : 8;
}

/* AdvSIMDExpandImm (Arm ARM J1) of the modified immediates, but for FMOV's cmode 1111. */
static inline uint64_t simd_expand_immediate(uint32_t word)
{
    const unsigned cmode = pv_bits(word, 12, 4);
    const bool op = word >> 29 & 1;
    const uint64_t imm8 = pv_bits(word, 16, 3) << 5 | pv_bits(word, 5, 5);

    if (cmode < 8) /* 32-bit lanes, by 0, 8, 16 or 24 */
        return (imm8 << 8 * (cmode >> 1)) * UINT64_C(0x0000000100000001);
    if (cmode < 12) /* 16-bit lanes, by 0 or 8 */
        return (imm8 << 8 * (cmode >> 1 & 1)) * UINT64_C(0x0001000100010001);
    if (cmode == 12) /* 32-bit lanes, ones shifted in */
        return (imm8 << 8 | 0xff) * UINT64_C(0x0000000100000001);
    if (cmode == 13)
        return (imm8 << 16 | 0xffff) * UINT64_C(0x0000000100000001);
    if (!op)
        return imm8 * UINT64_C(0x0101010101010101);
    uint64_t mask = 0; /* a byte of ones for each bit */
    for (unsigned bit = 0; bit < 8; bit++)
        mask |= (imm8 >> bit & 1) * (UINT64_C(0xff) << 8 * bit);
    return mask;
}

/* ---- Registers ---- */

/* The low `live` bytes of `v`, the others zero. */
static inline union cpu_vreg simd_keep(union cpu_vreg v, unsigned live)
{
    if (live < 16)
        v.d[1] = 0;
    if (live < 8)
        v.d[0] &= (UINT64_C(1) << 8 * live) - 1;
    return v;
}

/* Lane `index` of `v`, zero-extended; lanes of 1 << size bytes. */
static inline uint64_t simd_lane(const union cpu_vreg *v, unsigned size, unsigned index)
{
    switch (size) {
    case 0: return v->b[index];
    case 1: return v->h[index];
    case 2: return v->s[index];
    default: return v->d[index];
    }
}
static inline void simd_set_lane(union cpu_vreg *v, unsigned size, unsigned index, uint64_t value)
{
    switch (size) {
    case 0: v->b[index] = (uint8_t)value; break;
    case 1: v->h[index] = (uint16_t)value; break;
    case 2: v->s[index] = (uint32_t)value; break;
    default: v->d[index] = value; break;
    }
}

/* `value` in every lane. */
static inline union cpu_vreg simd_broadcast(uint64_t value, unsigned size)
{
    const unsigned bits = 8u << size;
    const uint64_t ones = ~UINT64_C(0) / (~UINT64_C(0) >> (64 - bits)); /* 1 in each lane */
    const uint64_t d = (value & (~UINT64_C(0) >> (64 - bits))) * ones;
    return (union cpu_vreg){.d = {d, d}};
}

/*
 * The second operand of the by-element forms, in every lane. Halfwords have index H:L:M and only
 * the registers V0 to V15, words have H:L.
 */
static inline union cpu_vreg simd_element(const struct cpu *c, const struct a64_insn *insn,
                                          unsigned size)
{
    const uint32_t w = insn->word;
    const unsigned hl = (w >> 11 & 1) << 1 | (w >> 21 & 1);
    const uint64_t value =
        size == 1 ? c->v[insn->rm & 15].h[hl << 1 | (w >> 20 & 1)] : c->v[insn->rm].s[hl];
    return simd_broadcast(value, size);
}

/* The source of an instruction on half registers: the upper half for the "2" forms. */
static inline union cpu_vreg simd_half(const struct cpu *c, unsigned reg, bool upper)
{
    return (union cpu_vreg){.d = {c->v[reg].d[upper]}};
}

/* The destination of one: the lower half clears the upper, the upper leaves the lower. */
static inline void simd_set_half(struct cpu *c, unsigned reg, bool upper, uint64_t value)
{
    c->v[reg].d[upper] = value;
    if (!upper)
        c->v[reg].d[1] = 0;
}

static inline void simd_note_saturation(struct cpu *c, const struct simd_op *o)
{
    if (o->saturated)
        c->fpsr |= SIMD_FPSR_QC;
}

static inline void simd_finish(struct cpu *c, const struct a64_insn *insn, const struct simd_op *o)
{
    c->v[insn->rd] = simd_keep(o->d, o->live);
    simd_note_saturation(c, o);
}

/* A handler is a shape applied to a lane function. */
#define SIMD_HANDLER(name, shape, lanes)                                                           \
    void interp_##name(struct cpu *c, const struct a64_insn *insn)                                 \
    {                                                                                              \
        shape(c, insn, lanes);                                                                     \
    }

/* ---- Loops ---- */

typedef uint8_t simd_u8;
typedef uint16_t simd_u16;
typedef uint32_t simd_u32;
typedef uint64_t simd_u64;
typedef unsigned __int128 simd_u128;
typedef int8_t simd_s8;
typedef int16_t simd_s16;
typedef int32_t simd_s32;
typedef int64_t simd_s64;
typedef __int128 simd_s128;

#define SIMD_UNUSED __attribute__((unused)) /* an expression uses some of the names */

#define SIMD_FIELD_8  b
#define SIMD_FIELD_16 h
#define SIMD_FIELD_32 s
#define SIMD_FIELD_64 d

/*
 * One loop: lanes of L bits (W = 2 * L), destination lanes of D bits, sources of A and B. The
 * extra level lets callers pass FIELD macros.
 */
#define SIMD_LOOP(L, W, D, A, B, ...)                                                              \
    SIMD_LOOP_(L, W, D, SIMD_FIELD_##D, A, SIMD_FIELD_##A, B, SIMD_FIELD_##B, __VA_ARGS__)
#define SIMD_LOOP_(L, W, D, df, A, af, B, bf, ...)                                                 \
    {                                                                                              \
        typedef SIMD_UNUSED simd_u##L lane;                                                        \
        typedef SIMD_UNUSED simd_s##L slane;                                                       \
        typedef SIMD_UNUSED simd_u##W wide;                                                        \
        typedef SIMD_UNUSED simd_s##W swide;                                                       \
        enum { BITS = L };                                                                         \
        for (unsigned i = 0; i < 128u / PV_MAX(D, A); i++) {                                       \
            SIMD_UNUSED const simd_u##A a = o->n.af[i];                                            \
            SIMD_UNUSED const simd_s##A sa = (simd_s##A)a;                                         \
            SIMD_UNUSED const simd_u##B b = o->m.bf[i];                                            \
            SIMD_UNUSED const simd_s##B sb = (simd_s##B)b;                                         \
            SIMD_UNUSED const simd_u##D d = o->d.df[i];                                            \
            SIMD_UNUSED const simd_s##D sd = (simd_s##D)d;                                         \
            o->d.df[i] = (simd_u##D)(__VA_ARGS__);                                                 \
        }                                                                                          \
        break;                                                                                     \
    }

/* All lanes of one width, 8 to 64 bits. */
#define LANES(name, ...)                                                                           \
    static void name(struct simd_op *o)                                                            \
    {                                                                                              \
        switch (o->size) {                                                                         \
        case 0: SIMD_LOOP(8, 16, 8, 8, 8, __VA_ARGS__)                                             \
        case 1: SIMD_LOOP(16, 32, 16, 16, 16, __VA_ARGS__)                                         \
        case 2: SIMD_LOOP(32, 64, 32, 32, 32, __VA_ARGS__)                                         \
        default: SIMD_LOOP(64, 128, 64, 64, 64, __VA_ARGS__)                                       \
        }                                                                                          \
    }
/* Narrow sources, wide destination. */
#define LANES_LONG(name, ...)                                                                      \
    static void name(struct simd_op *o)                                                            \
    {                                                                                              \
        switch (o->size) {                                                                         \
        case 0: SIMD_LOOP(8, 16, 16, 8, 8, __VA_ARGS__)                                            \
        case 1: SIMD_LOOP(16, 32, 32, 16, 16, __VA_ARGS__)                                         \
        default: SIMD_LOOP(32, 64, 64, 32, 32, __VA_ARGS__)                                        \
        }                                                                                          \
    }
/* A wide and a narrow source, wide destination. */
#define LANES_WIDE(name, ...)                                                                      \
    static void name(struct simd_op *o)                                                            \
    {                                                                                              \
        switch (o->size) {                                                                         \
        case 0: SIMD_LOOP(8, 16, 16, 16, 8, __VA_ARGS__)                                           \
        case 1: SIMD_LOOP(16, 32, 32, 32, 16, __VA_ARGS__)                                         \
        default: SIMD_LOOP(32, 64, 64, 64, 32, __VA_ARGS__)                                        \
        }                                                                                          \
    }
/* Wide sources, narrow destination. */
#define LANES_NARROW(name, ...)                                                                    \
    static void name(struct simd_op *o)                                                            \
    {                                                                                              \
        switch (o->size) {                                                                         \
        case 0: SIMD_LOOP(8, 16, 8, 16, 16, __VA_ARGS__)                                           \
        case 1: SIMD_LOOP(16, 32, 16, 32, 32, __VA_ARGS__)                                         \
        default: SIMD_LOOP(32, 64, 32, 64, 64, __VA_ARGS__)                                        \
        }                                                                                          \
    }

/* ---- Arithmetic for the expressions ---- */

#define LANE_UMAX ((lane) ~(lane)0)
#define LANE_SMAX ((slane)(LANE_UMAX >> 1))
#define LANE_SMIN ((slane)(-LANE_SMAX - 1))

/* The expression's value, noting that the lane saturated. */
#define SATURATED(value) (o->saturated = true, (value))

/* A signed value of twice the lane's width clamped to a signed lane, and to an unsigned one. */
#define SAT_S(value)                                                                               \
    ({                                                                                             \
        const swide sat_v = (swide)(value);                                                        \
        sat_v > LANE_SMAX   ? SATURATED(LANE_SMAX)                                                 \
        : sat_v < LANE_SMIN ? SATURATED(LANE_SMIN)                                                 \
                            : (slane)sat_v;                                                        \
    })
#define SAT_U(value)                                                                               \
    ({                                                                                             \
        const swide sat_v = (swide)(value);                                                        \
        sat_v > (swide)LANE_UMAX ? SATURATED(LANE_UMAX)                                            \
        : sat_v < 0              ? SATURATED((lane)0)                                              \
                                 : (lane)sat_v;                                                                 \
    })
/* An unsigned value of twice the width clamped to an unsigned lane. */
#define SAT_UU(value)                                                                              \
    ({                                                                                             \
        const wide sat_v = (wide)(value);                                                          \
        sat_v > LANE_UMAX ? SATURATED(LANE_UMAX) : (lane)sat_v;                                    \
    })

/* Right shifts by 1 to the width of `x` inclusive, arithmetic when x is signed. */
#define SHR(x, n) ((x) >> ((n)-1) >> 1)
/* The same, rounded to nearest: the last bit shifted out is added. It cannot overflow. */
#define RSHR(x, n)                                                                                 \
    ({                                                                                             \
        const __typeof__(x) rshr_v = (__typeof__(x))((x) >> ((n)-1));                              \
        (rshr_v >> 1) + (rshr_v & 1);                                                              \
    })

#define SIMD_MIN(x, y)  ((x) < (y) ? (x) : (y))
#define SIMD_MAX(x, y)  ((x) > (y) ? (x) : (y))
#define SIMD_DIFF(x, y) ((x) > (y) ? (x) - (y) : (y) - (x))
/* A comparison's result: all ones or all zeros. */
#define SIMD_TRUTH(x) (-(slane)(x))

/* The product of a doubling multiply, high half, optionally rounded (Arm ARM SQDMULH, SQRDMULH). */
#define DMULH(round) SAT_S((((swide)sa * sb) + (round)) >> (BITS - 1))
#define DMUL_ROUND   ((swide)1 << (BITS - 2))

/* The doubling product in a lane twice as wide: only the square of the least number overflows. */
#define DMULL                                                                                      \
    ({                                                                                             \
        const swide product = (swide)sa * sb;                                                      \
        product == (swide)1 << (2 * BITS - 2) ? SATURATED(WIDE_SMAX) : (swide)(product * 2);       \
    })
#define WIDE_SMAX ((swide)((wide) ~(wide)0 >> 1))
/* op is add or sub: x op y, saturated to a signed wide lane. */
#define WIDE_SAT(op, x, y)                                                                         \
    ({                                                                                             \
        swide sat_v;                                                                               \
        __builtin_##op##_overflow((swide)(x), (swide)(y), &sat_v)                                  \
            ? SATURATED((x) < 0 ? (swide)(-WIDE_SMAX - 1) : WIDE_SMAX)                             \
            : sat_v;                                                                               \
    })

/* ---- Pairs ---- */

/*
 * Takes the lanes of m:n apart: even ones to n, odd ones to m. A pairwise instruction is then the
 * lane-wise one. When `live` is 8 the lanes are those of the two lower halves.
 */
static inline void simd_unzip(struct simd_op *o)
{
    const unsigned bytes = 1u << o->size, half = o->live / 2;
    union cpu_vreg even = {0}, odd = {0};
    for (unsigned to = 0; to < half; to += bytes) {
        memcpy(&even.b[to], &o->n.b[2 * to], bytes);
        memcpy(&odd.b[to], &o->n.b[2 * to + bytes], bytes);
        memcpy(&even.b[half + to], &o->m.b[2 * to], bytes);
        memcpy(&odd.b[half + to], &o->m.b[2 * to + bytes], bytes);
    }
    o->n = even;
    o->m = odd;
}

#endif
