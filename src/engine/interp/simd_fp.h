/* SPDX-License-Identifier: MIT */
/*
 * Advanced SIMD floating point: the registers of one instruction as lanes.
 *
 * Scalar and vector forms of an instruction differ in bit 28 only, and share a line of
 * spec/a64.def and a handler: a scalar form has one lane. Half precision has encodings of its own,
 * named with an H at the end.
 */
#ifndef PV_ENGINE_INTERP_SIMD_FP_H
#define PV_ENGINE_INTERP_SIMD_FP_H

#include "engine/interp/fp.h"

/* sz, bit 22, where it tells double from single */
static inline unsigned simd_fp_sz(const struct a64_insn *insn)
{
    return insn->word >> 22 & 1 ? PV_FP_D : PV_FP_S;
}
static inline bool simd_fp_q(const struct a64_insn *insn)
{
    return insn->word >> 30 & 1;
}
static inline unsigned simd_fp_lanes(const struct a64_insn *insn, unsigned size)
{
    const bool scalar = insn->word >> 28 & 1;
    return scalar ? 1 : (simd_fp_q(insn) ? 16u : 8u) >> size;
}

/* What a comparison leaves in its lane: all ones, or zero */
static inline uint64_t simd_fp_truth(unsigned size, bool condition)
{
    return condition ? ~UINT64_C(0) >> (64 - (8u << size)) : 0;
}

#endif
