/* SPDX-License-Identifier: MIT */
/*
 * Advanced SIMD three same: both sources and the destination have lanes of one width (Arm ARM
 * C4.1.96.29), their by-element forms, and the pairwise ones. simd_lanes.h explains the style.
 */
#include "engine/interp/simd_lanes.h"

#include "engine/interp/polynomial.h"

/* ---- Shapes ---- */

static void three_same(struct cpu *c, const struct a64_insn *insn, simd_lanes *lanes)
{
    cpu_check_fp(c);
    const unsigned size = simd_size(insn), live = simd_live_bytes(insn, size);
    struct simd_op o = {
        .d = simd_keep(c->v[insn->rd], live),
        .n = simd_keep(c->v[insn->rn], live),
        .m = simd_keep(c->v[insn->rm], live),
        .size = size,
        .live = live,
    };
    lanes(&o);
    simd_finish(c, insn, &o);
}

/* Bitwise: the lane size is of no account, and size bits are part of the opcode. */
static void bitwise(struct cpu *c, const struct a64_insn *insn, simd_lanes *lanes)
{
    cpu_check_fp(c);
    struct simd_op o = {
        .d = c->v[insn->rd],
        .n = c->v[insn->rn],
        .m = c->v[insn->rm],
        .size = 3,
        .live = simd_q(insn) ? 16 : 8,
    };
    lanes(&o);
    simd_finish(c, insn, &o);
}

static void pairwise(struct cpu *c, const struct a64_insn *insn, simd_lanes *lanes)
{
    cpu_check_fp(c);
    struct simd_op o = {
        .n = c->v[insn->rn],
        .m = c->v[insn->rm],
        .size = simd_size(insn),
        .live = simd_q(insn) ? 16 : 8,
    };
    simd_unzip(&o);
    lanes(&o);
    simd_finish(c, insn, &o);
}

static void by_element(struct cpu *c, const struct a64_insn *insn, simd_lanes *lanes)
{
    cpu_check_fp(c);
    const unsigned size = simd_size(insn), live = simd_live_bytes(insn, size);
    struct simd_op o = {
        .d = simd_keep(c->v[insn->rd], live),
        .n = simd_keep(c->v[insn->rn], live),
        .m = simd_element(c, insn, size),
        .size = size,
        .live = live,
    };
    lanes(&o);
    simd_finish(c, insn, &o);
}

/*
 * Folds the upper half of the register onto the lower until one lane is left: what the lane
 * function does is associative and commutative.
 */
static void across(struct cpu *c, const struct a64_insn *insn, simd_lanes *lanes)
{
    cpu_check_fp(c);
    const unsigned size = simd_size(insn), bytes = 1u << size;
    struct simd_op o = {.d = c->v[insn->rn], .size = size, .live = bytes};
    for (unsigned half = simd_q(insn) ? 8 : 4; half >= bytes; half /= 2) {
        o.n = o.d;
        memcpy(&o.m, &o.d.b[half], half);
        lanes(&o);
    }
    simd_finish(c, insn, &o);
}

/* ---- Addition, subtraction, multiplication ---- */

LANES(add, a + b)
LANES(sub, a - b)
LANES(mul, (wide)a *b)
LANES(mla, d + (wide)a * b)
LANES(mls, d - (wide)a * b)
LANES(shadd, ((swide)sa + sb) >> 1)
LANES(uhadd, ((wide)a + b) >> 1)
LANES(srhadd, ((swide)sa + sb + 1) >> 1)
LANES(urhadd, ((wide)a + b + 1) >> 1)
LANES(shsub, ((swide)sa - sb) >> 1)
LANES(uhsub, ((swide)a - b) >> 1)
SIMD_HANDLER(ADD_V, three_same, add)
SIMD_HANDLER(SUB_V, three_same, sub)
SIMD_HANDLER(MUL_V, three_same, mul)
SIMD_HANDLER(MLA_V, three_same, mla)
SIMD_HANDLER(MLS_V, three_same, mls)
SIMD_HANDLER(SHADD_V, three_same, shadd)
SIMD_HANDLER(UHADD_V, three_same, uhadd)
SIMD_HANDLER(SRHADD_V, three_same, srhadd)
SIMD_HANDLER(URHADD_V, three_same, urhadd)
SIMD_HANDLER(SHSUB_V, three_same, shsub)
SIMD_HANDLER(UHSUB_V, three_same, uhsub)
SIMD_HANDLER(MUL_E, by_element, mul)
SIMD_HANDLER(MLA_E, by_element, mla)
SIMD_HANDLER(MLS_E, by_element, mls)

/* Polynomials over GF(2); only of bytes. */
LANES(pmul, polynomial_product8((uint8_t)a, (uint8_t)b))
SIMD_HANDLER(PMUL_V, three_same, pmul)

/* ---- Saturating ---- */

LANES(sqadd, SAT_S((swide)sa + sb))
LANES(uqadd, SAT_U((swide)a + b))
LANES(sqsub, SAT_S((swide)sa - sb))
LANES(uqsub, SAT_U((swide)a - b))
LANES(sqdmulh, DMULH((swide)0))
LANES(sqrdmulh, DMULH(DMUL_ROUND))
LANES(sqrdmlah, DMULH((swide)sd *((swide)1 << (BITS - 1)) + DMUL_ROUND))
LANES(sqrdmlsh,
      SAT_S(((swide)sd * ((swide)1 << (BITS - 1)) - (swide)sa * sb + DMUL_ROUND) >> (BITS - 1)))
SIMD_HANDLER(SQADD_V, three_same, sqadd)
SIMD_HANDLER(UQADD_V, three_same, uqadd)
SIMD_HANDLER(SQSUB_V, three_same, sqsub)
SIMD_HANDLER(UQSUB_V, three_same, uqsub)
SIMD_HANDLER(SQDMULH_V, three_same, sqdmulh)
SIMD_HANDLER(SQRDMULH_V, three_same, sqrdmulh)
SIMD_HANDLER(SQRDMLAH_V, three_same, sqrdmlah)
SIMD_HANDLER(SQRDMLSH_V, three_same, sqrdmlsh)
SIMD_HANDLER(SQDMULH_E, by_element, sqdmulh)
SIMD_HANDLER(SQRDMULH_E, by_element, sqrdmulh)
SIMD_HANDLER(SQRDMLAH_E, by_element, sqrdmlah)
SIMD_HANDLER(SQRDMLSH_E, by_element, sqrdmlsh)

/* ---- Comparison ---- */

LANES(cmgt, SIMD_TRUTH(sa > sb))
LANES(cmge, SIMD_TRUTH(sa >= sb))
LANES(cmhi, SIMD_TRUTH(a > b))
LANES(cmhs, SIMD_TRUTH(a >= b))
LANES(cmeq, SIMD_TRUTH(a == b))
LANES(cmtst, SIMD_TRUTH((a & b) != 0))
LANES(smax, SIMD_MAX(sa, sb))
LANES(umax, SIMD_MAX(a, b))
LANES(smin, SIMD_MIN(sa, sb))
LANES(umin, SIMD_MIN(a, b))
LANES(sabd, SIMD_DIFF((swide)sa, (swide)sb))
LANES(uabd, SIMD_DIFF(a, b))
LANES(saba, d + (wide)SIMD_DIFF((swide)sa, (swide)sb))
LANES(uaba, d + SIMD_DIFF(a, b))
SIMD_HANDLER(CMGT_V, three_same, cmgt)
SIMD_HANDLER(CMGE_V, three_same, cmge)
SIMD_HANDLER(CMHI_V, three_same, cmhi)
SIMD_HANDLER(CMHS_V, three_same, cmhs)
SIMD_HANDLER(CMEQ_V, three_same, cmeq)
SIMD_HANDLER(CMTST_V, three_same, cmtst)
SIMD_HANDLER(SMAX_V, three_same, smax)
SIMD_HANDLER(UMAX_V, three_same, umax)
SIMD_HANDLER(SMIN_V, three_same, smin)
SIMD_HANDLER(UMIN_V, three_same, umin)
SIMD_HANDLER(SABD_V, three_same, sabd)
SIMD_HANDLER(UABD_V, three_same, uabd)
SIMD_HANDLER(SABA_V, three_same, saba)
SIMD_HANDLER(UABA_V, three_same, uaba)

/* ---- Bitwise ---- */

LANES(and, (a & b))
LANES(bic, a & ~b)
LANES(orr, a | b)
LANES(orn, a | ~b)
LANES(eor, a ^ b)
LANES(bsl, (a & d) | (b & ~d))
LANES(bit, (a & b) | (d & ~b))
LANES(bif, (a & ~b) | (d & b))
SIMD_HANDLER(AND_V, bitwise, and)
SIMD_HANDLER(BIC_V, bitwise, bic)
SIMD_HANDLER(ORR_V, bitwise, orr)
SIMD_HANDLER(ORN_V, bitwise, orn)
SIMD_HANDLER(EOR_V, bitwise, eor)
SIMD_HANDLER(BSL_V, bitwise, bsl)
SIMD_HANDLER(BIT_V, bitwise, bit)
SIMD_HANDLER(BIF_V, bitwise, bif)

/* ---- Shifts by a register: the signed low byte of each lane of m, negative is to the right ----
 */

/*
 * How far to the right, for SHR and RSHR on 64-bit values: 64 already shifts everything out, and
 * more changes nothing (a rounded -1 gives 0 as well).
 */
#define RIGHT(by) ((by) < -64 ? 64 : -(by))

static int64_t shift_signed(int64_t value, int by, bool round)
{
    if (by >= 64)
        return 0;
    if (by >= 0)
        return (int64_t)((uint64_t)value << by);
    return round ? RSHR(value, RIGHT(by)) : SHR(value, RIGHT(by));
}

static uint64_t shift_unsigned(uint64_t value, int by, bool round)
{
    if (by >= 64 || by < -64)
        return 0;
    if (by >= 0)
        return value << by;
    return round ? RSHR(value, RIGHT(by)) : SHR(value, RIGHT(by));
}

/* Would a left shift of a lane lose significant bits? */
#define LOSES_SIGNED(by)   ((by) >= BITS ? a != 0 : (by) > 0 && sa != SHL_BACK(slane, by))
#define LOSES_UNSIGNED(by) ((by) >= BITS ? a != 0 : (by) > 0 && a != SHL_BACK(lane, by))
#define SHL_BACK(type, by) (type)((type)((lane)((wide)a << (by))) >> (by))

#define SATURATING_SIGNED(by, round)                                                               \
    ((lane)(LOSES_SIGNED(by) ? SATURATED(sa < 0 ? LANE_SMIN : LANE_SMAX)                           \
                             : (slane)shift_signed(sa, by, round)))
#define SATURATING_UNSIGNED(by, round)                                                             \
    (LOSES_UNSIGNED(by) ? SATURATED(LANE_UMAX) : (lane)shift_unsigned(a, by, round))

LANES(sshl, shift_signed(sa, (int8_t)b, false))
LANES(ushl, shift_unsigned(a, (int8_t)b, false))
LANES(srshl, shift_signed(sa, (int8_t)b, true))
LANES(urshl, shift_unsigned(a, (int8_t)b, true))
LANES(sqshl, SATURATING_SIGNED((int8_t)b, false))
LANES(uqshl, SATURATING_UNSIGNED((int8_t)b, false))
LANES(sqrshl, SATURATING_SIGNED((int8_t)b, true))
LANES(uqrshl, SATURATING_UNSIGNED((int8_t)b, true))
SIMD_HANDLER(SSHL_V, three_same, sshl)
SIMD_HANDLER(USHL_V, three_same, ushl)
SIMD_HANDLER(SRSHL_V, three_same, srshl)
SIMD_HANDLER(URSHL_V, three_same, urshl)
SIMD_HANDLER(SQSHL_V, three_same, sqshl)
SIMD_HANDLER(UQSHL_V, three_same, uqshl)
SIMD_HANDLER(SQRSHL_V, three_same, sqrshl)
SIMD_HANDLER(UQRSHL_V, three_same, uqrshl)

/* ---- Pairwise and across lanes ---- */

SIMD_HANDLER(ADDP_V, pairwise, add)
SIMD_HANDLER(SMAXP_V, pairwise, smax)
SIMD_HANDLER(UMAXP_V, pairwise, umax)
SIMD_HANDLER(SMINP_V, pairwise, smin)
SIMD_HANDLER(UMINP_V, pairwise, umin)
SIMD_HANDLER(ADDV, across, add)
SIMD_HANDLER(SMAXV, across, smax)
SIMD_HANDLER(UMAXV, across, umax)
SIMD_HANDLER(SMINV, across, smin)
SIMD_HANDLER(UMINV, across, umin)

/* ADDP (scalar): the sum of the two doublewords of one register. */
void interp_ADDP_S(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    const union cpu_vreg *n = &c->v[insn->rn];
    c->v[insn->rd] = (union cpu_vreg){.d = {n->d[0] + n->d[1]}};
}

/* ---- Dot products (FEAT_DotProd): four byte products added to each word ---- */

#define DOT(byte)                                                                                  \
    ({                                                                                             \
        uint32_t sum = (uint32_t)d;                                                                \
        for (unsigned k = 0; k < 32; k += 8)                                                       \
            sum += (uint32_t)((byte)(a >> k) * (byte)(b >> k));                                    \
        sum;                                                                                       \
    })
LANES(sdot, DOT(int8_t))
LANES(udot, DOT(uint8_t))
SIMD_HANDLER(SDOT_V, three_same, sdot)
SIMD_HANDLER(UDOT_V, three_same, udot)
SIMD_HANDLER(SDOT_E, by_element, sdot)
SIMD_HANDLER(UDOT_E, by_element, udot)
