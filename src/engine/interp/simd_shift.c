/* SPDX-License-Identifier: MIT */
/*
 * Advanced SIMD shift by immediate (Arm ARM C4.1.96.27). The lane's size and the distance share one
 * field, immh:immb: its highest set bit is the size, the rest counts up from it (left shifts) or
 * down to twice it (right shifts). simd_lanes.h explains the style.
 */
#include "engine/interp/simd_lanes.h"

/* ---- Shapes ---- */

struct distance {
    unsigned size, left, right; /* left: 0 to BITS - 1; right: 1 to BITS */
};

static struct distance read_distance(const struct a64_insn *insn)
{
    const unsigned immhb = pv_bits(insn->word, 16, 7); /* immh is never 0 here */
    const unsigned size = 28 - (unsigned)__builtin_clz(immhb), bits = 8u << size;
    return (struct distance){.size = size, .left = immhb - bits, .right = 2 * bits - immhb};
}

static void shift(struct cpu *c, const struct a64_insn *insn, unsigned size, unsigned by,
                  simd_lanes *lanes)
{
    const unsigned live = simd_live_bytes(insn, size);
    struct simd_op o = {
        .d = simd_keep(c->v[insn->rd], live),
        .n = simd_keep(c->v[insn->rn], live),
        .size = size,
        .live = live,
        .shift = by,
    };
    lanes(&o);
    simd_finish(c, insn, &o);
}

static void shift_right(struct cpu *c, const struct a64_insn *insn, simd_lanes *lanes)
{
    cpu_check_fp(c);
    const struct distance by = read_distance(insn);
    shift(c, insn, by.size, by.right, lanes);
}

static void shift_left(struct cpu *c, const struct a64_insn *insn, simd_lanes *lanes)
{
    cpu_check_fp(c);
    const struct distance by = read_distance(insn);
    shift(c, insn, by.size, by.left, lanes);
}

static void shift_right_narrow(struct cpu *c, const struct a64_insn *insn, simd_lanes *lanes)
{
    cpu_check_fp(c);
    const struct distance by = read_distance(insn);
    const bool scalar = simd_scalar(insn);
    struct simd_op o = {
        .n = simd_keep(c->v[insn->rn], scalar ? 2u << by.size : 16),
        .size = by.size,
        .shift = by.right,
    };
    lanes(&o);
    simd_set_half(c, insn->rd, simd_q(insn) && !scalar, o.d.d[0]);
    simd_note_saturation(c, &o);
}

static void shift_left_long(struct cpu *c, const struct a64_insn *insn, simd_lanes *lanes)
{
    cpu_check_fp(c);
    const struct distance by = read_distance(insn);
    struct simd_op o = {
        .n = simd_half(c, insn->rn, simd_q(insn)),
        .size = by.size,
        .live = 16,
        .shift = by.left,
    };
    lanes(&o);
    simd_finish(c, insn, &o);
}

/* ---- Right ---- */

LANES(sshr, SHR(sa, o->shift))
LANES(ushr, SHR(a, o->shift))
LANES(srshr, RSHR(sa, o->shift))
LANES(urshr, RSHR(a, o->shift))
LANES(ssra, d + (lane)SHR(sa, o->shift))
LANES(usra, d + SHR(a, o->shift))
LANES(srsra, d + (lane)RSHR(sa, o->shift))
LANES(ursra, d + RSHR(a, o->shift))
LANES(sri, (lane)SHR(a, o->shift) | (d & ~(lane)SHR(LANE_UMAX, o->shift)))
SIMD_HANDLER(SSHR_N, shift_right, sshr)
SIMD_HANDLER(USHR_N, shift_right, ushr)
SIMD_HANDLER(SRSHR_N, shift_right, srshr)
SIMD_HANDLER(URSHR_N, shift_right, urshr)
SIMD_HANDLER(SSRA_N, shift_right, ssra)
SIMD_HANDLER(USRA_N, shift_right, usra)
SIMD_HANDLER(SRSRA_N, shift_right, srsra)
SIMD_HANDLER(URSRA_N, shift_right, ursra)
SIMD_HANDLER(SRI_N, shift_right, sri)

/* ---- Left ---- */

LANES(shl, a << o->shift)
LANES(sli, (lane)(a << o->shift) | (d & ~(lane)(LANE_UMAX << o->shift)))
/* The distance is below BITS, so that the product fits the wide lane. */
LANES(sqshl, SAT_S((swide)sa *((swide)1 << o->shift)))
LANES(uqshl, SAT_UU((wide)a << o->shift))
LANES(sqshlu, SAT_U((swide)sa *((swide)1 << o->shift)))
SIMD_HANDLER(SHL_N, shift_left, shl)
SIMD_HANDLER(SLI_N, shift_left, sli)
SIMD_HANDLER(SQSHL_N, shift_left, sqshl)
SIMD_HANDLER(UQSHL_N, shift_left, uqshl)
SIMD_HANDLER(SQSHLU_N, shift_left, sqshlu)

LANES_LONG(sshll, (wide)sa << o->shift)
LANES_LONG(ushll, (wide)a << o->shift)
SIMD_HANDLER(SSHLL_N, shift_left_long, sshll)
SIMD_HANDLER(USHLL_N, shift_left_long, ushll)

/* ---- Right and narrow ---- */

LANES_NARROW(shrn, a >> o->shift)
LANES_NARROW(rshrn, RSHR(a, o->shift))
LANES_NARROW(sqshrn, SAT_S(sa >> o->shift))
LANES_NARROW(sqrshrn, SAT_S(RSHR(sa, o->shift)))
LANES_NARROW(uqshrn, SAT_UU(a >> o->shift))
LANES_NARROW(uqrshrn, SAT_UU(RSHR(a, o->shift)))
LANES_NARROW(sqshrun, SAT_U(sa >> o->shift))
LANES_NARROW(sqrshrun, SAT_U(RSHR(sa, o->shift)))
SIMD_HANDLER(SHRN_N, shift_right_narrow, shrn)
SIMD_HANDLER(RSHRN_N, shift_right_narrow, rshrn)
SIMD_HANDLER(SQSHRN_N, shift_right_narrow, sqshrn)
SIMD_HANDLER(SQRSHRN_N, shift_right_narrow, sqrshrn)
SIMD_HANDLER(UQSHRN_N, shift_right_narrow, uqshrn)
SIMD_HANDLER(UQRSHRN_N, shift_right_narrow, uqrshrn)
SIMD_HANDLER(SQSHRUN_N, shift_right_narrow, sqshrun)
SIMD_HANDLER(SQRSHRUN_N, shift_right_narrow, sqrshrun)
