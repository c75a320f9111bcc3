/* SPDX-License-Identifier: MIT */
/*
 * Advanced SIMD floating point with two sources: three same, by element, pairwise, across lanes
 * (Arm ARM C4.1.96). An operation is one line about its lanes n, m and the old destination d.
 */
#include "engine/interp/simd_fp.h"

typedef uint64_t fp_lane3(struct pv_fp *fp, unsigned size, uint64_t d, uint64_t n, uint64_t m);

#define LANE(NAME, EXPR)                                                                           \
    static uint64_t lane_##NAME(struct pv_fp *fp, unsigned size, uint64_t d, uint64_t n,           \
                                uint64_t m)                                                        \
    {                                                                                              \
        return EXPR;                                                                               \
    }

FP_BINARY_OPS(LANE)
LANE(FMULX, pv_fp_mulx(fp, size, n, m))
LANE(FMLA, pv_fp_muladd(fp, size, d, n, m))
LANE(FMLS, pv_fp_muladd(fp, size, d, pv_fp_neg(size, n), m))
LANE(FABD, pv_fp_abs(size, pv_fp_sub(fp, size, n, m)))
LANE(FRECPS, pv_fp_recip_step(fp, size, n, m))
LANE(FRSQRTS, pv_fp_rsqrt_step(fp, size, n, m))
LANE(FCMEQ, simd_fp_truth(size, pv_fp_eq(fp, size, n, m)))
LANE(FCMGE, simd_fp_truth(size, pv_fp_ge(fp, size, n, m)))
LANE(FCMGT, simd_fp_truth(size, pv_fp_gt(fp, size, n, m)))
LANE(FACGE, simd_fp_truth(size, pv_fp_ge(fp, size, pv_fp_abs(size, n), pv_fp_abs(size, m))))
LANE(FACGT, simd_fp_truth(size, pv_fp_gt(fp, size, pv_fp_abs(size, n), pv_fp_abs(size, m))))

/* ---- Shapes ---- */

static void three_same(struct cpu *c, const struct a64_insn *insn, unsigned size, fp_lane3 *lane)
{
    struct pv_fp fp = fp_begin(c);
    const union cpu_vreg *d = &c->v[insn->rd], *n = &c->v[insn->rn], *m = &c->v[insn->rm];
    union cpu_vreg r = {0};
    for (unsigned i = 0; i < simd_fp_lanes(insn, size); i++)
        fp_set_lane(&r, size, i,
                    lane(&fp, size, fp_lane(d, size, i), fp_lane(n, size, i), fp_lane(m, size, i)));
    c->v[insn->rd] = r;
    fp_end(c, &fp);
}

/* The index is H:L:M for halves, which have V0 to V15 only; H:L for singles; H for doubles. */
static void by_element(struct cpu *c, const struct a64_insn *insn, unsigned size, fp_lane3 *lane)
{
    struct pv_fp fp = fp_begin(c);
    const uint32_t w = insn->word;
    const unsigned hlm = (w >> 11 & 1) << 2 | (w >> 20 & 3);
    const unsigned rm = size == PV_FP_H ? insn->rm & 15u : insn->rm;
    const uint64_t m = fp_lane(&c->v[rm], size, hlm >> (size - PV_FP_H));
    const union cpu_vreg *d = &c->v[insn->rd], *n = &c->v[insn->rn];
    union cpu_vreg r = {0};
    for (unsigned i = 0; i < simd_fp_lanes(insn, size); i++)
        fp_set_lane(&r, size, i, lane(&fp, size, fp_lane(d, size, i), fp_lane(n, size, i), m));
    c->v[insn->rd] = r;
    fp_end(c, &fp);
}

/* Neighbours of Rn, then of Rm */
static void pairwise(struct cpu *c, const struct a64_insn *insn, unsigned size, fp_lane3 *lane)
{
    struct pv_fp fp = fp_begin(c);
    const unsigned lanes = simd_fp_lanes(insn, size);
    union cpu_vreg r = {0};
    for (unsigned i = 0; i < lanes; i++) {
        const union cpu_vreg *v = &c->v[2 * i < lanes ? insn->rn : insn->rm];
        const unsigned first = 2 * i % lanes;
        fp_set_lane(&r, size, i,
                    lane(&fp, size, 0, fp_lane(v, size, first), fp_lane(v, size, first + 1)));
    }
    c->v[insn->rd] = r;
    fp_end(c, &fp);
}

/* The two lowest lanes of Rn */
static void scalar_pair(struct cpu *c, const struct a64_insn *insn, unsigned size, fp_lane3 *lane)
{
    struct pv_fp fp = fp_begin(c);
    const union cpu_vreg *n = &c->v[insn->rn];
    fp_set_reg(c, insn->rd, lane(&fp, size, 0, fp_lane(n, size, 0), fp_lane(n, size, 1)));
    fp_end(c, &fp);
}

/* As a balanced tree over neighbours (Reduce, Arm ARM J1.1.3): with NaNs, the order shows. */
static void across(struct cpu *c, const struct a64_insn *insn, unsigned size, fp_lane3 *lane)
{
    struct pv_fp fp = fp_begin(c);
    union cpu_vreg v = c->v[insn->rn];
    for (unsigned lanes = simd_fp_lanes(insn, size) / 2; lanes; lanes /= 2)
        for (unsigned i = 0; i < lanes; i++)
            fp_set_lane(&v, size, i,
                        lane(&fp, size, 0, fp_lane(&v, size, 2 * i), fp_lane(&v, size, 2 * i + 1)));
    fp_set_reg(c, insn->rd, fp_lane(&v, size, 0));
    fp_end(c, &fp);
}

/* ---- Handlers: NAME for singles and doubles, NAMEH for halves ---- */

#define HANDLER(NAME, SHAPE, SIZE, LANE)                                                           \
    void interp_##NAME(struct cpu *c, const struct a64_insn *insn)                                 \
    {                                                                                              \
        SHAPE(c, insn, SIZE, lane_##LANE);                                                         \
    }
#define HANDLERS(NAME, SHAPE, LANE)                                                                \
    HANDLER(NAME, SHAPE, simd_fp_sz(insn), LANE)                                                   \
    HANDLER(NAME##H, SHAPE, PV_FP_H, LANE)

HANDLERS(FADD_V, three_same, FADD)
HANDLERS(FSUB_V, three_same, FSUB)
HANDLERS(FMUL_V, three_same, FMUL)
HANDLERS(FMULX_V, three_same, FMULX)
HANDLERS(FDIV_V, three_same, FDIV)
HANDLERS(FMLA_V, three_same, FMLA)
HANDLERS(FMLS_V, three_same, FMLS)
HANDLERS(FABD_V, three_same, FABD)
HANDLERS(FMAX_V, three_same, FMAX)
HANDLERS(FMIN_V, three_same, FMIN)
HANDLERS(FMAXNM_V, three_same, FMAXNM)
HANDLERS(FMINNM_V, three_same, FMINNM)
HANDLERS(FRECPS_V, three_same, FRECPS)
HANDLERS(FRSQRTS_V, three_same, FRSQRTS)
HANDLERS(FCMEQ_V, three_same, FCMEQ)
HANDLERS(FCMGE_V, three_same, FCMGE)
HANDLERS(FCMGT_V, three_same, FCMGT)
HANDLERS(FACGE_V, three_same, FACGE)
HANDLERS(FACGT_V, three_same, FACGT)

HANDLERS(FADDP_V, pairwise, FADD)
HANDLERS(FMAXP_V, pairwise, FMAX)
HANDLERS(FMINP_V, pairwise, FMIN)
HANDLERS(FMAXNMP_V, pairwise, FMAXNM)
HANDLERS(FMINNMP_V, pairwise, FMINNM)

HANDLERS(FADDP_S, scalar_pair, FADD)
HANDLERS(FMAXP_S, scalar_pair, FMAX)
HANDLERS(FMINP_S, scalar_pair, FMIN)
HANDLERS(FMAXNMP_S, scalar_pair, FMAXNM)
HANDLERS(FMINNMP_S, scalar_pair, FMINNM)

HANDLERS(FMAXV_V, across, FMAX)
HANDLERS(FMINV_V, across, FMIN)
HANDLERS(FMAXNMV_V, across, FMAXNM)
HANDLERS(FMINNMV_V, across, FMINNM)

HANDLERS(FMLA_E, by_element, FMLA)
HANDLERS(FMLS_E, by_element, FMLS)
HANDLERS(FMUL_E, by_element, FMUL)
HANDLERS(FMULX_E, by_element, FMULX)
