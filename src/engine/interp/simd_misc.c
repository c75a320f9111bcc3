/* SPDX-License-Identifier: MIT */
/*
 * Advanced SIMD two-register miscellaneous (Arm ARM C4.1.96.22): one source. The pairwise long ones
 * are in simd_long.c. simd_lanes.h explains the style.
 */
#include "engine/interp/simd_lanes.h"

/* ---- Shapes ---- */

static void two_misc(struct cpu *c, const struct a64_insn *insn, simd_lanes *lanes)
{
    cpu_check_fp(c);
    const unsigned size = simd_size(insn), live = simd_live_bytes(insn, size);
    struct simd_op o = {
        .d = simd_keep(c->v[insn->rd], live),
        .n = simd_keep(c->v[insn->rn], live),
        .size = size,
        .live = live,
    };
    lanes(&o);
    simd_finish(c, insn, &o);
}

static void two_narrow(struct cpu *c, const struct a64_insn *insn, simd_lanes *lanes)
{
    cpu_check_fp(c);
    const unsigned size = simd_size(insn);
    const bool scalar = simd_scalar(insn);
    struct simd_op o = {
        .n = simd_keep(c->v[insn->rn], scalar ? 2u << size : 16),
        .size = size,
    };
    lanes(&o);
    simd_set_half(c, insn->rd, simd_q(insn) && !scalar, o.d.d[0]);
    simd_note_saturation(c, &o);
}

static void two_long(struct cpu *c, const struct a64_insn *insn, simd_lanes *lanes)
{
    cpu_check_fp(c);
    struct simd_op o = {
        .n = simd_half(c, insn->rn, simd_q(insn)),
        .size = simd_size(insn),
        .live = 16,
    };
    lanes(&o);
    simd_finish(c, insn, &o);
}

/* Whole bytes, where the size field belongs to the opcode. */
static void two_bytes(struct cpu *c, const struct a64_insn *insn, simd_lanes *lanes)
{
    cpu_check_fp(c);
    struct simd_op o = {.n = c->v[insn->rn], .size = 0, .live = simd_q(insn) ? 16 : 8};
    lanes(&o);
    simd_finish(c, insn, &o);
}

/* ---- Sign, comparison with zero ---- */

LANES(absolute, sa < 0 ? -a : a)
LANES(neg, -a)
LANES(sqabs, SAT_S(sa < 0 ? -(swide)sa : (swide)sa))
LANES(sqneg, SAT_S(-(swide)sa))
LANES(suqadd, SAT_S((swide)sd + a))
LANES(usqadd, SAT_U((swide)d + sa))
LANES(cmgt0, SIMD_TRUTH(sa > 0))
LANES(cmge0, SIMD_TRUTH(sa >= 0))
LANES(cmeq0, SIMD_TRUTH(sa == 0))
LANES(cmle0, SIMD_TRUTH(sa <= 0))
LANES(cmlt0, SIMD_TRUTH(sa < 0))
SIMD_HANDLER(ABS_V, two_misc, absolute)
SIMD_HANDLER(NEG_V, two_misc, neg)
SIMD_HANDLER(SQABS_V, two_misc, sqabs)
SIMD_HANDLER(SQNEG_V, two_misc, sqneg)
SIMD_HANDLER(SUQADD_V, two_misc, suqadd)
SIMD_HANDLER(USQADD_V, two_misc, usqadd)
SIMD_HANDLER(CMGT_Z, two_misc, cmgt0)
SIMD_HANDLER(CMGE_Z, two_misc, cmge0)
SIMD_HANDLER(CMEQ_Z, two_misc, cmeq0)
SIMD_HANDLER(CMLE_Z, two_misc, cmle0)
SIMD_HANDLER(CMLT_Z, two_misc, cmlt0)

/* ---- Bits ---- */

#define COUNT_ZEROS(x) ((x) ? __builtin_clzll(x) - (64 - BITS) : BITS)

static uint8_t reverse_bits(uint8_t byte)
{
    byte = (uint8_t)(byte << 4 | byte >> 4);
    byte = (uint8_t)((byte & 0x33) << 2 | (byte >> 2 & 0x33));
    return (uint8_t)((byte & 0x55) << 1 | (byte >> 1 & 0x55));
}

LANES(clz, COUNT_ZEROS(a))
LANES(cls, COUNT_ZEROS((lane)(sa ^ sa >> 1)) - 1)
LANES(not, ~a)
LANES(cnt, __builtin_popcountll(a))
LANES(rbit, reverse_bits((uint8_t)a))
SIMD_HANDLER(CLZ_V, two_misc, clz)
SIMD_HANDLER(CLS_V, two_misc, cls)
SIMD_HANDLER(NOT_V, two_bytes, not )
SIMD_HANDLER(CNT_V, two_bytes, cnt)
SIMD_HANDLER(RBIT_V, two_bytes, rbit)

/* ---- Widths ---- */

LANES_NARROW(xtn, a)
LANES_NARROW(sqxtn, SAT_S(sa))
LANES_NARROW(sqxtun, SAT_U(sa))
LANES_NARROW(uqxtn, SAT_UU(a))
LANES_LONG(shll, (wide)a << BITS)
SIMD_HANDLER(XTN_V, two_narrow, xtn)
SIMD_HANDLER(SQXTN_V, two_narrow, sqxtn)
SIMD_HANDLER(SQXTUN_V, two_narrow, sqxtun)
SIMD_HANDLER(UQXTN_V, two_narrow, uqxtn)
SIMD_HANDLER(SHLL_V, two_long, shll)

/* ---- REV16, REV32, REV64: the order of lanes within containers of 2, 4 or 8 bytes ---- */

static void reverse(struct cpu *c, const struct a64_insn *insn, unsigned container)
{
    cpu_check_fp(c);
    const unsigned flip = container - (1u << simd_size(insn)); /* these bits of a byte's index */
    const union cpu_vreg n = c->v[insn->rn];
    union cpu_vreg d;
    for (unsigned i = 0; i < 16; i++)
        d.b[i] = n.b[i ^ flip];
    c->v[insn->rd] = simd_keep(d, simd_q(insn) ? 16 : 8);
}
SIMD_HANDLER(REV16_V, reverse, 2)
SIMD_HANDLER(REV32_V, reverse, 4)
SIMD_HANDLER(REV64_V, reverse, 8)
