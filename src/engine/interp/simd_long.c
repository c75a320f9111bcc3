/* SPDX-License-Identifier: MIT */
/*
 * Advanced SIMD three different (Arm ARM C4.1.96.28): lanes of two widths. Long instructions widen
 * both sources, wide ones the second; narrow ones keep the high half of each lane. The "2" forms
 * (Q = 1) take, or make, the upper half of the register with the narrow lanes. The long
 * by-element forms are here as well. simd_lanes.h explains the style.
 */
#include "engine/interp/simd_lanes.h"

#include "engine/interp/polynomial.h"

/* ---- Shapes ---- */

/* The narrow source: half a register, or the first lane of a scalar form. */
static union cpu_vreg narrow_source(const struct cpu *c, const struct a64_insn *insn, unsigned reg)
{
    return simd_scalar(insn) ? simd_keep(c->v[reg], 1u << simd_size(insn))
                             : simd_half(c, reg, simd_q(insn));
}

static void run_long(struct cpu *c, const struct a64_insn *insn, union cpu_vreg m,
                     simd_lanes *lanes)
{
    const unsigned size = simd_size(insn), live = simd_scalar(insn) ? 2u << size : 16;
    struct simd_op o = {
        .d = simd_keep(c->v[insn->rd], live),
        .n = narrow_source(c, insn, insn->rn),
        .m = m,
        .size = size,
        .live = live,
    };
    lanes(&o);
    simd_finish(c, insn, &o);
}

static void three_long(struct cpu *c, const struct a64_insn *insn, simd_lanes *lanes)
{
    cpu_check_fp(c);
    run_long(c, insn, narrow_source(c, insn, insn->rm), lanes);
}

static void long_by_element(struct cpu *c, const struct a64_insn *insn, simd_lanes *lanes)
{
    cpu_check_fp(c);
    run_long(c, insn, simd_element(c, insn, simd_size(insn)), lanes);
}

static void three_wide(struct cpu *c, const struct a64_insn *insn, simd_lanes *lanes)
{
    cpu_check_fp(c);
    struct simd_op o = {
        .n = c->v[insn->rn],
        .m = simd_half(c, insn->rm, simd_q(insn)),
        .size = simd_size(insn),
        .live = 16,
    };
    lanes(&o);
    simd_finish(c, insn, &o);
}

static void three_narrow(struct cpu *c, const struct a64_insn *insn, simd_lanes *lanes)
{
    cpu_check_fp(c);
    struct simd_op o = {.n = c->v[insn->rn], .m = c->v[insn->rm], .size = simd_size(insn)};
    lanes(&o);
    simd_set_half(c, insn->rd, simd_q(insn), o.d.d[0]);
}

/* ---- Long and wide ---- */

LANES_LONG(saddl, (swide)sa + sb)
LANES_LONG(uaddl, (wide)a + b)
LANES_LONG(ssubl, (swide)sa - sb)
LANES_LONG(usubl, (wide)a - b)
LANES_LONG(sabdl, SIMD_DIFF((swide)sa, (swide)sb))
LANES_LONG(uabdl, SIMD_DIFF((wide)a, (wide)b))
LANES_LONG(sabal, d + (wide)SIMD_DIFF((swide)sa, (swide)sb))
LANES_LONG(uabal, d + SIMD_DIFF((wide)a, (wide)b))
SIMD_HANDLER(SADDL_V, three_long, saddl)
SIMD_HANDLER(UADDL_V, three_long, uaddl)
SIMD_HANDLER(SSUBL_V, three_long, ssubl)
SIMD_HANDLER(USUBL_V, three_long, usubl)
SIMD_HANDLER(SABDL_V, three_long, sabdl)
SIMD_HANDLER(UABDL_V, three_long, uabdl)
SIMD_HANDLER(SABAL_V, three_long, sabal)
SIMD_HANDLER(UABAL_V, three_long, uabal)

LANES_WIDE(saddw, a + (wide)sb)
LANES_WIDE(uaddw, a + b)
LANES_WIDE(ssubw, a - (wide)sb)
LANES_WIDE(usubw, a - b)
SIMD_HANDLER(SADDW_V, three_wide, saddw)
SIMD_HANDLER(UADDW_V, three_wide, uaddw)
SIMD_HANDLER(SSUBW_V, three_wide, ssubw)
SIMD_HANDLER(USUBW_V, three_wide, usubw)

/* ---- Narrow: the high halves of sums and differences ---- */

#define HALF ((wide)1 << (BITS - 1))
LANES_NARROW(addhn, (wide)(a + b) >> BITS)
LANES_NARROW(raddhn, (wide)(a + b + HALF) >> BITS)
LANES_NARROW(subhn, (wide)(a - b) >> BITS)
LANES_NARROW(rsubhn, (wide)(a - b + HALF) >> BITS)
SIMD_HANDLER(ADDHN_V, three_narrow, addhn)
SIMD_HANDLER(RADDHN_V, three_narrow, raddhn)
SIMD_HANDLER(SUBHN_V, three_narrow, subhn)
SIMD_HANDLER(RSUBHN_V, three_narrow, rsubhn)

/* ---- Products ---- */

LANES_LONG(smull, (swide)sa *sb)
LANES_LONG(umull, (wide)a *b)
LANES_LONG(smlal, d + (wide)((swide)sa * sb))
LANES_LONG(umlal, d + (wide)a * b)
LANES_LONG(smlsl, d - (wide)((swide)sa * sb))
LANES_LONG(umlsl, d - (wide)a * b)
LANES_LONG(sqdmull, DMULL)
LANES_LONG(sqdmlal, WIDE_SAT(add, sd, DMULL))
LANES_LONG(sqdmlsl, WIDE_SAT(sub, sd, DMULL))
SIMD_HANDLER(SMULL_V, three_long, smull)
SIMD_HANDLER(UMULL_V, three_long, umull)
SIMD_HANDLER(SMLAL_V, three_long, smlal)
SIMD_HANDLER(UMLAL_V, three_long, umlal)
SIMD_HANDLER(SMLSL_V, three_long, smlsl)
SIMD_HANDLER(UMLSL_V, three_long, umlsl)
SIMD_HANDLER(SQDMULL_V, three_long, sqdmull)
SIMD_HANDLER(SQDMLAL_V, three_long, sqdmlal)
SIMD_HANDLER(SQDMLSL_V, three_long, sqdmlsl)
SIMD_HANDLER(SMULL_E, long_by_element, smull)
SIMD_HANDLER(UMULL_E, long_by_element, umull)
SIMD_HANDLER(SMLAL_E, long_by_element, smlal)
SIMD_HANDLER(UMLAL_E, long_by_element, umlal)
SIMD_HANDLER(SMLSL_E, long_by_element, smlsl)
SIMD_HANDLER(UMLSL_E, long_by_element, umlsl)
SIMD_HANDLER(SQDMULL_E, long_by_element, sqdmull)
SIMD_HANDLER(SQDMLAL_E, long_by_element, sqdmlal)
SIMD_HANDLER(SQDMLSL_E, long_by_element, sqdmlsl)

LANES_LONG(pmull, polynomial_product8(a, b))
SIMD_HANDLER(PMULL_V, three_long, pmull)

/* PMULL of doublewords (FEAT_PMULL), to one lane of 128 bits. */
void interp_PMULL_D(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    const bool q = simd_q(insn);
    const uint64_t a = c->v[insn->rn].d[q], b = c->v[insn->rm].d[q];
    polynomial_product64(a, b, c->v[insn->rd].d);
}

/* ---- Pairwise: neighbours of one register added into a lane twice as wide ---- */

static void pairs_long(struct cpu *c, const struct a64_insn *insn, simd_lanes *lanes)
{
    cpu_check_fp(c);
    const unsigned live = simd_q(insn) ? 16 : 8;
    struct simd_op o = {
        .d = c->v[insn->rd],
        .n = c->v[insn->rn],
        .size = simd_size(insn),
        .live = 16, /* the lanes come apart as those of a full register whose rest is 0 */
    };
    simd_unzip(&o);
    o.live = live;
    lanes(&o);
    simd_finish(c, insn, &o);
}

LANES_LONG(sadalp, d + (wide)((swide)sa + sb))
LANES_LONG(uadalp, d + ((wide)a + b))
SIMD_HANDLER(SADDLP_V, pairs_long, saddl)
SIMD_HANDLER(UADDLP_V, pairs_long, uaddl)
SIMD_HANDLER(SADALP_V, pairs_long, sadalp)
SIMD_HANDLER(UADALP_V, pairs_long, uadalp)

/* ---- The sum of all lanes, in one twice as wide ---- */

static void sum_long(struct cpu *c, const struct a64_insn *insn, bool is_signed)
{
    cpu_check_fp(c);
    const unsigned size = simd_size(insn), bits = 8u << size;
    const unsigned lanes = (simd_q(insn) ? 16u : 8u) >> size;
    uint64_t sum = 0;
    for (unsigned i = 0; i < lanes; i++) {
        const uint64_t lane = simd_lane(&c->v[insn->rn], size, i);
        sum += is_signed ? (uint64_t)pv_sext(lane, bits) : lane;
    }
    c->v[insn->rd] = simd_keep((union cpu_vreg){.d = {sum}}, 2u << size);
}

void interp_SADDLV(struct cpu *c, const struct a64_insn *insn)
{
    sum_long(c, insn, true);
}
void interp_UADDLV(struct cpu *c, const struct a64_insn *insn)
{
    sum_long(c, insn, false);
}
