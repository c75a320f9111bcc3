/* SPDX-License-Identifier: MIT */
/*
 * Advanced SIMD floating point with one source: two-register miscellaneous, fixed-point shifts and
 * the immediate move (Arm ARM C4.1.96). An operation is one line about its lane n.
 */
#include "engine/interp/simd_fp.h"

typedef uint64_t fp_lane1(struct pv_fp *fp, unsigned size, uint64_t n, unsigned fbits);

#define LANE(NAME, EXPR)                                                                           \
    static uint64_t lane_##NAME(struct pv_fp *fp, unsigned size, uint64_t n, unsigned fbits)       \
    {                                                                                              \
        return EXPR;                                                                               \
    }

static uint64_t to_fixed(struct pv_fp *fp, unsigned size, uint64_t n, unsigned fbits,
                         bool is_unsigned, enum pv_fp_rounding mode)
{
    return pv_fp_to_fixed(fp, size, n, fbits, is_unsigned, mode, 8u << size);
}

FP_UNARY_OPS(LANE)
LANE(FRECPE, pv_fp_recip_estimate(fp, size, n))
LANE(FRSQRTE, pv_fp_rsqrt_estimate(fp, size, n))
LANE(FRECPX, pv_fp_recpx(fp, size, n))
LANE(URECPE, pv_fp_urecpe((uint32_t)n))
LANE(URSQRTE, pv_fp_ursqrte((uint32_t)n))
LANE(FCMGT0, simd_fp_truth(size, pv_fp_gt(fp, size, n, 0)))
LANE(FCMGE0, simd_fp_truth(size, pv_fp_ge(fp, size, n, 0)))
LANE(FCMEQ0, simd_fp_truth(size, pv_fp_eq(fp, size, n, 0)))
LANE(FCMLE0, simd_fp_truth(size, pv_fp_ge(fp, size, 0, n)))
LANE(FCMLT0, simd_fp_truth(size, pv_fp_gt(fp, size, 0, n)))
LANE(FCVTNS, to_fixed(fp, size, n, 0, false, PV_FP_NEAREST_EVEN))
LANE(FCVTNU, to_fixed(fp, size, n, 0, true, PV_FP_NEAREST_EVEN))
LANE(FCVTPS, to_fixed(fp, size, n, 0, false, PV_FP_UP))
LANE(FCVTPU, to_fixed(fp, size, n, 0, true, PV_FP_UP))
LANE(FCVTMS, to_fixed(fp, size, n, 0, false, PV_FP_DOWN))
LANE(FCVTMU, to_fixed(fp, size, n, 0, true, PV_FP_DOWN))
LANE(FCVTAS, to_fixed(fp, size, n, 0, false, PV_FP_NEAREST_AWAY))
LANE(FCVTAU, to_fixed(fp, size, n, 0, true, PV_FP_NEAREST_AWAY))
LANE(FCVTZS, to_fixed(fp, size, n, fbits, false, PV_FP_ZERO))
LANE(FCVTZU, to_fixed(fp, size, n, fbits, true, PV_FP_ZERO))
LANE(SCVTF, pv_fp_from_fixed(fp, size, (uint64_t)pv_sext(n, 8u << size), fbits, false))
LANE(UCVTF, pv_fp_from_fixed(fp, size, n, fbits, true))

/* ---- Shapes ---- */

static void run(struct cpu *c, const struct a64_insn *insn, unsigned size, fp_lane1 *lane,
                unsigned fbits)
{
    struct pv_fp fp = fp_begin(c);
    const union cpu_vreg *n = &c->v[insn->rn];
    union cpu_vreg r = {0};
    for (unsigned i = 0; i < simd_fp_lanes(insn, size); i++)
        fp_set_lane(&r, size, i, lane(&fp, size, fp_lane(n, size, i), fbits));
    c->v[insn->rd] = r;
    fp_end(c, &fp);
}

/* immh:immb is twice the lane's bits less the fraction's; its highest one tells the lane's size. */
static void fixed(struct cpu *c, const struct a64_insn *insn, fp_lane1 *lane)
{
    const unsigned imm = insn->word >> 16 & 127;
    const unsigned size = imm >= 64 ? PV_FP_D : imm >= 32 ? PV_FP_S : PV_FP_H;
    run(c, insn, size, lane, (16u << size) - imm);
}

/* ---- Handlers: NAME for singles and doubles, NAMEH for halves ---- */

#define HANDLER(NAME, SIZE, LANE)                                                                  \
    void interp_##NAME(struct cpu *c, const struct a64_insn *insn)                                 \
    {                                                                                              \
        run(c, insn, SIZE, lane_##LANE, 0);                                                        \
    }
#define HANDLERS(NAME)                                                                             \
    HANDLER(NAME##_V, simd_fp_sz(insn), NAME)                                                      \
    HANDLER(NAME##_VH, PV_FP_H, NAME)
#define FIXED(NAME)                                                                                \
    void interp_##NAME##_N(struct cpu *c, const struct a64_insn *insn)                             \
    {                                                                                              \
        fixed(c, insn, lane_##NAME);                                                               \
    }

HANDLERS(FABS)
HANDLERS(FNEG)
HANDLERS(FSQRT)
HANDLERS(FRINTN)
HANDLERS(FRINTP)
HANDLERS(FRINTM)
HANDLERS(FRINTZ)
HANDLERS(FRINTA)
HANDLERS(FRINTX)
HANDLERS(FRINTI)
HANDLERS(FRECPE)
HANDLERS(FRSQRTE)
HANDLERS(FRECPX)
HANDLERS(FCVTNS)
HANDLERS(FCVTNU)
HANDLERS(FCVTPS)
HANDLERS(FCVTPU)
HANDLERS(FCVTMS)
HANDLERS(FCVTMU)
HANDLERS(FCVTAS)
HANDLERS(FCVTAU)
HANDLERS(FCVTZS)
HANDLERS(FCVTZU)
HANDLERS(SCVTF)
HANDLERS(UCVTF)

HANDLER(FCMGT_Z, simd_fp_sz(insn), FCMGT0)
HANDLER(FCMGE_Z, simd_fp_sz(insn), FCMGE0)
HANDLER(FCMEQ_Z, simd_fp_sz(insn), FCMEQ0)
HANDLER(FCMLE_Z, simd_fp_sz(insn), FCMLE0)
HANDLER(FCMLT_Z, simd_fp_sz(insn), FCMLT0)
HANDLER(FCMGT_ZH, PV_FP_H, FCMGT0)
HANDLER(FCMGE_ZH, PV_FP_H, FCMGE0)
HANDLER(FCMEQ_ZH, PV_FP_H, FCMEQ0)
HANDLER(FCMLE_ZH, PV_FP_H, FCMLE0)
HANDLER(FCMLT_ZH, PV_FP_H, FCMLT0)

HANDLER(URECPE_V, PV_FP_S, URECPE)
HANDLER(URSQRTE_V, PV_FP_S, URSQRTE)

FIXED(SCVTF)
FIXED(UCVTF)
FIXED(FCVTZS)
FIXED(FCVTZU)

/* ---- Between formats: sz is of the wider one ---- */

/* From the lower half of Rn, or with Q its upper half */
void interp_FCVTL_V(struct cpu *c, const struct a64_insn *insn)
{
    struct pv_fp fp = fp_begin(c);
    const unsigned to = simd_fp_sz(insn), from = to - 1, lanes = 16u >> to;
    const union cpu_vreg *n = &c->v[insn->rn];
    const unsigned first = simd_fp_q(insn) ? lanes : 0;
    union cpu_vreg r;
    for (unsigned i = 0; i < lanes; i++)
        fp_set_lane(&r, to, i,
                    pv_fp_convert(&fp, to, from, fp_lane(n, from, first + i), pv_fp_mode(&fp)));
    c->v[insn->rd] = r;
    fp_end(c, &fp);
}

/* Into the lower half of Rd, clearing the upper, or with Q into the upper half, keeping the lower
 */
static void narrow(struct cpu *c, const struct a64_insn *insn, enum pv_fp_rounding mode,
                   struct pv_fp *fp)
{
    const unsigned from = simd_fp_sz(insn), to = from - 1, lanes = 16u >> from;
    const union cpu_vreg n = c->v[insn->rn];
    union cpu_vreg r = {0};
    unsigned first = 0;
    if (simd_fp_q(insn)) {
        r.d[0] = c->v[insn->rd].d[0];
        first = lanes;
    }
    for (unsigned i = 0; i < lanes; i++)
        fp_set_lane(&r, to, first + i, pv_fp_convert(fp, to, from, fp_lane(&n, from, i), mode));
    c->v[insn->rd] = r;
}

void interp_FCVTN_V(struct cpu *c, const struct a64_insn *insn)
{
    struct pv_fp fp = fp_begin(c);
    narrow(c, insn, pv_fp_mode(&fp), &fp);
    fp_end(c, &fp);
}

void interp_FCVTXN_V(struct cpu *c, const struct a64_insn *insn)
{
    struct pv_fp fp = fp_begin(c);
    narrow(c, insn, PV_FP_ODD, &fp);
    fp_end(c, &fp);
}

void interp_FCVTXN_S(struct cpu *c, const struct a64_insn *insn)
{
    struct pv_fp fp = fp_begin(c);
    const uint64_t n = fp_reg(c, insn->rn, PV_FP_D);
    fp_set_reg(c, insn->rd, pv_fp_convert(&fp, PV_FP_S, PV_FP_D, n, PV_FP_ODD));
    fp_end(c, &fp);
}

/* ---- FMOV (vector, immediate): imm8 is in bits 18:16 and 9:5 ---- */

static void move_immediate(struct cpu *c, const struct a64_insn *insn, unsigned size)
{
    cpu_check_fp(c);
    const unsigned imm8 = (insn->word >> 16 & 7) << 5 | (insn->word >> 5 & 31);
    const uint64_t value = fp_expand_imm(size, imm8);
    union cpu_vreg r = {0};
    for (unsigned i = 0; i < simd_fp_lanes(insn, size); i++)
        fp_set_lane(&r, size, i, value);
    c->v[insn->rd] = r;
}

void interp_FMOV_VI(struct cpu *c, const struct a64_insn *insn)
{
    move_immediate(c, insn, insn->word >> 29 & 1 ? PV_FP_D : PV_FP_S);
}

void interp_FMOV_VIH(struct cpu *c, const struct a64_insn *insn)
{
    move_immediate(c, insn, PV_FP_H);
}
