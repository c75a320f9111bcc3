/* SPDX-License-Identifier: MIT */
/*
 * What translators of FP, SIMD and cryptographic instructions share: vector registers in XMM
 * registers (vreg.c), constants, and checks that send an instruction to its handler.
 *
 * XMM0 to XMM3 are scratch. Every FP instruction's flags stay in MXCSR until the code is left, and
 * its control bits are those of FPCR = 0: other modes (JIT_FPCR) have arithmetic done by handlers.
 */
#ifndef PV_ENGINE_JIT_A64_VECTOR_H
#define PV_ENGINE_JIT_A64_VECTOR_H

#include "engine/jit/translate.h"
#include "engine/jit/x64/vex.h"

#include <string.h>

/* ---- Registers (vreg.c) ---- */

/* An XMM register that holds all of Vn, not to be changed; good until the instruction's end. */
unsigned jit_v(struct jit_translator *t, unsigned n);
/* The same with zeros above the low `live` bytes (4, 8 or 16): it may be `scratch`. */
unsigned jit_v_low(struct jit_translator *t, unsigned n, unsigned live, unsigned scratch);
/* A part of Vn in memory, where it is put if it was not there yet. */
struct x64_rm jit_v_part(struct jit_translator *t, unsigned n, unsigned offset);
/* to = the low 4 or 8 bytes of Vn; flags stay. */
void jit_v_to_general(struct jit_translator *t, enum x64_reg to, unsigned bytes, unsigned n);
/* A register for the instruction's result, none of its sources'. */
unsigned jit_v_new(struct jit_translator *t);
/*
 * Vn's new value is in `reg`, from jit_v_new(); above its low `live` bytes it is zero. After
 * everything that may go to the handler.
 */
void jit_v_wrote(struct jit_translator *t, unsigned n, unsigned reg, unsigned live);
/* to = the low `live` bytes (4, 8 or 16) of from */
void jit_v_cut(struct jit_translator *t, unsigned to, unsigned from, unsigned live);
/* Whether a register from jit_v() is known to be zero above its low `live` bytes. */
bool jit_v_is_low(const struct jit_translator *t, unsigned reg, unsigned live);
/* Stores what is not in struct cpu yet; no flag changes. */
void jit_v_flush(struct jit_translator *t);
/* A call has destroyed all XMM registers. */
void jit_v_forget(struct jit_translator *t);
/* For cold paths: which registers (jit_vregs.guest) struct cpu has not, their stores, and loads. */
void jit_v_dirty(const struct jit_vregs *v, uint8_t saves[16]);
void jit_v_save(struct jit_translator *t, const uint8_t saves[16]);
void jit_v_reload(struct jit_translator *t, const uint8_t guest[16]);
/* Between the passes over a loop: loads what stays in registers, and binds the loop's head. */
void jit_v_loop_begin(struct jit_translator *t);
/* In front of a jump to the head: the same values in the same registers. */
void jit_v_loop_back(struct jit_translator *t);

/* ---- Constants (constants.c) ---- */

enum jit_constant {
    JIT_ABS_S, /* everything but the sign, in all lanes */
    JIT_ABS_D,
    JIT_SIGN_S,
    JIT_SIGN_D,
    JIT_ABS_S1, /* the same in lane 0, zero above */
    JIT_ABS_D1,
    JIT_SIGN_S1,
    JIT_SIGN_D1,
    JIT_LEAST_S, /* the least normal number, shifted left by one */
    JIT_LEAST_D,
    JIT_NIBBLES,    /* 15 in each byte */
    JIT_BIT_COUNTS, /* of nibbles, for PSHUFB; the others likewise */
    JIT_NIBBLES_REVERSED,
    JIT_REV64_B,
    JIT_REV32_B,
    JIT_REV16_B,
    JIT_EVEN_B, /* ones in the even lanes of bytes, of halfwords */
    JIT_EVEN_H,
    JIT_NARROW_B, /* for PSHUFB: the even lanes together, zeros above */
    JIT_NARROW_H,
    JIT_NARROW_S,
    JIT_CRC32,  /* crypto.c */
    JIT_HALF_S, /* fp_arith.c: 0.5, 1, the greatest number that has a fraction */
    JIT_HALF_D,
    JIT_ONE_S,
    JIT_ONE_D,
    JIT_FRACTION_S,
    JIT_FRACTION_D,
    JIT_FITS_S, /* the greatest number below 2^31 */
    JIT_CONSTANTS,
};
struct x64_rm jit_constant(struct jit_translator *t, enum jit_constant which);
/*
 * For PSHUFB: which bytes of part `from` are in part `to`, of the three registers of interleaved
 * lanes and the 48 bytes in memory.
 */
struct x64_rm jit_three(struct jit_translator *t, bool store, unsigned size, unsigned to,
                        unsigned from);
/* Puts them into code memory, as part of the common code. */
void jit_constants_emit(struct jit *jit, struct x64_code *c);

/* ---- Fields of the encodings ---- */

/* How many bytes of the result count: by Q, or the scalar forms' one lane (bit 28) */
static inline unsigned jit_q_bytes(const struct a64_insn *insn)
{
    return insn->word >> 30 & 1 ? 16 : 8;
}
static inline bool jit_is_scalar(const struct a64_insn *insn)
{
    return insn->word >> 28 & 1;
}

/* ---- Floating point (fp_arith.c) ---- */

/* What lanes an FP instruction works on: kind indexes {packed single, packed double, scalar ...} */
struct jit_fp_shape {
    unsigned kind;
    unsigned bytes; /* of the result that count */
};
/* False when the instruction is its handler's: halves, modes of FPCR. */
bool jit_fp_shape(const struct jit_translator *t, const struct a64_insn *insn,
                  struct jit_fp_shape *s);
static inline bool jit_fp_is_double(struct jit_fp_shape s)
{
    return s.kind & 1;
}
static inline bool jit_fp_is_scalar(struct jit_fp_shape s)
{
    return s.kind & 2;
}
/* Vn, with zeros above what counts in vectors; it may be `scratch`. */
unsigned jit_fp_source(struct jit_translator *t, struct jit_fp_shape s, unsigned n,
                       unsigned scratch);
/* Vd = reg, whose upper part came from `from`. */
void jit_fp_wrote(struct jit_translator *t, struct jit_fp_shape s, unsigned rd, unsigned reg,
                  unsigned from);
/* The instruction is its handler's when a lane of the result is NaN; uses XMM3. */
void jit_fp_check_nan(struct jit_translator *t, struct jit_fp_shape s, unsigned reg);
/* The same for NaN and the least normal numbers, which may have been tiny before rounding. */
void jit_fp_check_tiny(struct jit_translator *t, struct jit_fp_shape s, unsigned reg);
/* At the begin of a cold path that a scalar result led to: goes back if it is right. */
void jit_fp_recheck(struct jit_translator *t, struct jit_cold *cold);
/* reg = n rounded to integers, halves away from zero; uses XMM0 to XMM3, n may be XMM0. */
void jit_fp_away(struct jit_translator *t, struct jit_fp_shape s, unsigned reg, unsigned n);

/* ---- Integers ---- */

/* Vd = reg, cut to what counts: Q, or a doubleword for the scalar forms */
void jit_v_finish(struct jit_translator *t, const struct a64_insn *insn, unsigned reg);
/* All lanes = value; by RAX */
void jit_v_splat(struct jit_translator *t, unsigned reg, unsigned size, uint64_t value);
/* Sets FPSR.QC unless `mask` is all ones; by RAX. */
void jit_v_saturated_unless(struct jit_translator *t, unsigned mask);
/* XMM1, with the element of the integer by-element forms in all lanes */
unsigned jit_v_element(struct jit_translator *t, const struct a64_insn *insn, unsigned size);
/* Low halves of products, lanes of bytes to words; bytes use XMM2 and XMM3. */
void jit_v_multiply(struct jit_translator *t, unsigned size, unsigned d, unsigned n, unsigned m);
/* Unsigned; bytes use XMM3 and RAX. A right shift may be by the whole width. */
void jit_v_shift_left(struct jit_translator *t, unsigned size, unsigned d, unsigned n,
                      unsigned count);
void jit_v_shift_right(struct jit_translator *t, unsigned size, unsigned d, unsigned n,
                       unsigned count);
/* By the sign; count may be the lane's width. Uses XMM2 and XMM3, which may not be sources. */
void jit_v_shift_right_signed(struct jit_translator *t, unsigned size, unsigned d, unsigned n,
                              unsigned count);
/* Vd's lower or upper half (by Q) = the low halves of the lanes of `from`; `size` is the new one */
void jit_v_narrow(struct jit_translator *t, const struct a64_insn *insn, unsigned size,
                  unsigned reg, unsigned from);
/* The even (part 0) or odd lanes of m:n; uses XMM2 and XMM3, which may not be sources. */
void jit_v_unzip(struct jit_translator *t, unsigned size, unsigned d, unsigned n, unsigned m,
                 unsigned part);
/* Lanes of the lower (part 0) or upper halves of n and m in turn. */
void jit_v_zip(struct jit_translator *t, unsigned size, unsigned d, unsigned n, unsigned m,
               unsigned part);

/* ---- The instructions: X(operation, function) ---- */

#define JIT_VECTOR_LDST_MODES(X, name)                                                             \
    X(name##_UIMM, jit_v_ldst)                                                                     \
    X(name##_UR, jit_v_ldst)                                                                       \
    X(name##_POST, jit_v_ldst)                                                                     \
    X(name##_PRE, jit_v_ldst)                                                                      \
    X(name##_REG, jit_v_ldst_register)
#define JIT_VECTOR_PAIR_MODES(X, name)                                                             \
    X(name##_NP, jit_v_ldst_pair)                                                                  \
    X(name##_POST, jit_v_ldst_pair)                                                                \
    X(name##_OFF, jit_v_ldst_pair)                                                                 \
    X(name##_PRE, jit_v_ldst_pair)
#define JIT_VECTOR_LDST(X)                                                                         \
    JIT_VECTOR_LDST_MODES(X, LDR_B)                                                                \
    JIT_VECTOR_LDST_MODES(X, LDR_H)                                                                \
    JIT_VECTOR_LDST_MODES(X, LDR_S)                                                                \
    JIT_VECTOR_LDST_MODES(X, LDR_D)                                                                \
    JIT_VECTOR_LDST_MODES(X, LDR_Q)                                                                \
    JIT_VECTOR_LDST_MODES(X, STR_B)                                                                \
    JIT_VECTOR_LDST_MODES(X, STR_H)                                                                \
    JIT_VECTOR_LDST_MODES(X, STR_S)                                                                \
    JIT_VECTOR_LDST_MODES(X, STR_D)                                                                \
    JIT_VECTOR_LDST_MODES(X, STR_Q)                                                                \
    JIT_VECTOR_PAIR_MODES(X, LDP_S)                                                                \
    JIT_VECTOR_PAIR_MODES(X, LDP_D)                                                                \
    JIT_VECTOR_PAIR_MODES(X, LDP_Q)                                                                \
    JIT_VECTOR_PAIR_MODES(X, STP_S)                                                                \
    JIT_VECTOR_PAIR_MODES(X, STP_D)                                                                \
    JIT_VECTOR_PAIR_MODES(X, STP_Q)                                                                \
    X(LDR_LIT_S, jit_v_literal)                                                                    \
    X(LDR_LIT_D, jit_v_literal)                                                                    \
    X(LDR_LIT_Q, jit_v_literal)                                                                    \
    X(LD1X1, jit_v_structures)                                                                     \
    X(LD1X2, jit_v_structures)                                                                     \
    X(LD1X3, jit_v_structures)                                                                     \
    X(LD1X4, jit_v_structures)                                                                     \
    X(ST1X1, jit_v_structures)                                                                     \
    X(ST1X2, jit_v_structures)                                                                     \
    X(ST1X3, jit_v_structures)                                                                     \
    X(ST1X4, jit_v_structures)                                                                     \
    X(LD2, jit_v_interleaved)                                                                      \
    X(LD4, jit_v_interleaved)                                                                      \
    X(ST2, jit_v_interleaved)                                                                      \
    X(ST4, jit_v_interleaved)                                                                      \
    X(LD3, jit_v_threes)                                                                           \
    X(ST3, jit_v_threes)                                                                           \
    X(LDST_LANE, jit_v_lane)                                                                       \
    X(LD_REPLICATE, jit_v_replicate)

#define JIT_VECTOR_COPY(X)                                                                         \
    X(FMOV_REG, jit_fmov_reg)                                                                      \
    X(FMOV_IMM, jit_fmov_imm)                                                                      \
    X(FMOV_TO_GEN, jit_fmov_to_gen)                                                                \
    X(FMOV_FROM_GEN, jit_fmov_from_gen)                                                            \
    X(FMOV_TO_GEN_TOP, jit_fmov_to_gen)                                                            \
    X(FMOV_FROM_GEN_TOP, jit_fmov_from_gen_top)                                                    \
    X(DUP_E, jit_dup_element)                                                                      \
    X(DUP_R, jit_dup_register)                                                                     \
    X(INS_R, jit_ins_register)                                                                     \
    X(INS_E, jit_ins_element)                                                                      \
    X(UMOV, jit_umov)                                                                              \
    X(SMOV, jit_umov)                                                                              \
    X(MOVI, jit_movi)                                                                              \
    X(MVNI, jit_movi)                                                                              \
    X(FMOV_VI, jit_movi)                                                                           \
    X(ORR_I, jit_orr_imm)                                                                          \
    X(BIC_I, jit_orr_imm)

#define JIT_FP(X)                                                                                  \
    X(FADD, jit_fp_two)                                                                            \
    X(FSUB, jit_fp_two)                                                                            \
    X(FMUL, jit_fp_two)                                                                            \
    X(FNMUL, jit_fp_two)                                                                           \
    X(FDIV, jit_fp_two)                                                                            \
    X(FADD_V, jit_fp_two)                                                                          \
    X(FSUB_V, jit_fp_two)                                                                          \
    X(FMUL_V, jit_fp_two)                                                                          \
    X(FMUL_E, jit_fp_two)                                                                          \
    X(FDIV_V, jit_fp_two)                                                                          \
    X(FABD_V, jit_fp_two)                                                                          \
    X(FMAX, jit_fp_max)                                                                            \
    X(FMIN, jit_fp_max)                                                                            \
    X(FMAXNM, jit_fp_max)                                                                          \
    X(FMINNM, jit_fp_max)                                                                          \
    X(FMAX_V, jit_fp_max)                                                                          \
    X(FMIN_V, jit_fp_max)                                                                          \
    X(FMAXNM_V, jit_fp_max)                                                                        \
    X(FMINNM_V, jit_fp_max)                                                                        \
    X(FMADD, jit_fp_fused)                                                                         \
    X(FMSUB, jit_fp_fused)                                                                         \
    X(FNMADD, jit_fp_fused)                                                                        \
    X(FNMSUB, jit_fp_fused)                                                                        \
    X(FMLA_V, jit_fp_fused)                                                                        \
    X(FMLS_V, jit_fp_fused)                                                                        \
    X(FMLA_E, jit_fp_fused)                                                                        \
    X(FMLS_E, jit_fp_fused)                                                                        \
    X(FADDP_V, jit_fp_add_pairs)                                                                   \
    X(FADDP_S, jit_fp_add_pair)                                                                    \
    X(FSQRT, jit_fp_sqrt)                                                                          \
    X(FSQRT_V, jit_fp_sqrt)                                                                        \
    X(FABS, jit_fp_sign)                                                                           \
    X(FNEG, jit_fp_sign)                                                                           \
    X(FABS_V, jit_fp_sign)                                                                         \
    X(FNEG_V, jit_fp_sign)                                                                         \
    X(FRINTA, jit_fp_round_away)                                                                   \
    X(FRINTA_V, jit_fp_round_away)                                                                 \
    X(FRINTN, jit_fp_round)                                                                        \
    X(FRINTP, jit_fp_round)                                                                        \
    X(FRINTM, jit_fp_round)                                                                        \
    X(FRINTZ, jit_fp_round)                                                                        \
    X(FRINTX, jit_fp_round)                                                                        \
    X(FRINTI, jit_fp_round)                                                                        \
    X(FRINTN_V, jit_fp_round)                                                                      \
    X(FRINTP_V, jit_fp_round)                                                                      \
    X(FRINTM_V, jit_fp_round)                                                                      \
    X(FRINTZ_V, jit_fp_round)                                                                      \
    X(FRINTX_V, jit_fp_round)                                                                      \
    X(FRINTI_V, jit_fp_round)

#define JIT_FP_COMPARE(X)                                                                          \
    X(FCMP, jit_fcmp)                                                                              \
    X(FCMPE, jit_fcmp)                                                                             \
    X(FCCMP, jit_fccmp)                                                                            \
    X(FCCMPE, jit_fccmp)                                                                           \
    X(FCSEL, jit_fcsel)                                                                            \
    X(FCMEQ_V, jit_fp_mask)                                                                        \
    X(FCMGE_V, jit_fp_mask)                                                                        \
    X(FCMGT_V, jit_fp_mask)                                                                        \
    X(FACGE_V, jit_fp_mask)                                                                        \
    X(FACGT_V, jit_fp_mask)                                                                        \
    X(FCMEQ_Z, jit_fp_mask)                                                                        \
    X(FCMGE_Z, jit_fp_mask)                                                                        \
    X(FCMGT_Z, jit_fp_mask)                                                                        \
    X(FCMLE_Z, jit_fp_mask)                                                                        \
    X(FCMLT_Z, jit_fp_mask)

#define JIT_FP_CONVERT(X)                                                                          \
    X(FCVT, jit_fcvt)                                                                              \
    X(FCVTL_V, jit_fcvtl)                                                                          \
    X(FCVTN_V, jit_fcvtn)                                                                          \
    X(SCVTF_INT, jit_cvtf_int)                                                                     \
    X(UCVTF_INT, jit_cvtf_int)                                                                     \
    X(SCVTF_V, jit_cvtf_v)                                                                         \
    X(UCVTF_V, jit_cvtf_v)                                                                         \
    X(FCVTZS_INT, jit_fcvts_int)                                                                   \
    X(FCVTNS_INT, jit_fcvts_int)                                                                   \
    X(FCVTMS_INT, jit_fcvts_int)                                                                   \
    X(FCVTPS_INT, jit_fcvts_int)                                                                   \
    X(FCVTZU_INT, jit_fcvtzu_int)                                                                  \
    X(FCVTAS_INT, jit_fcvtas_int)                                                                  \
    X(FCVTZU_V, jit_fcvtzu_v)                                                                      \
    X(FCVTZS_V, jit_fcvtzs_v)

#define JIT_SIMD_SAME(X)                                                                           \
    X(ADD_V, jit_simd_direct)                                                                      \
    X(SUB_V, jit_simd_direct)                                                                      \
    X(CMEQ_V, jit_simd_direct)                                                                     \
    X(CMGT_V, jit_simd_direct)                                                                     \
    X(SMAX_V, jit_simd_direct)                                                                     \
    X(SMIN_V, jit_simd_direct)                                                                     \
    X(UMAX_V, jit_simd_direct)                                                                     \
    X(UMIN_V, jit_simd_direct)                                                                     \
    X(URHADD_V, jit_simd_halving)                                                                  \
    X(AND_V, jit_simd_direct)                                                                      \
    X(ORR_V, jit_simd_direct)                                                                      \
    X(EOR_V, jit_simd_direct)                                                                      \
    X(CMGE_V, jit_simd_compare)                                                                    \
    X(CMHI_V, jit_simd_compare)                                                                    \
    X(CMHS_V, jit_simd_compare)                                                                    \
    X(CMTST_V, jit_simd_compare)                                                                   \
    X(BIC_V, jit_simd_logic)                                                                       \
    X(ORN_V, jit_simd_logic)                                                                       \
    X(BSL_V, jit_simd_logic)                                                                       \
    X(BIT_V, jit_simd_logic)                                                                       \
    X(BIF_V, jit_simd_logic)                                                                       \
    X(MUL_V, jit_simd_multiply)                                                                    \
    X(MLA_V, jit_simd_multiply)                                                                    \
    X(MLS_V, jit_simd_multiply)                                                                    \
    X(MUL_E, jit_simd_multiply)                                                                    \
    X(MLA_E, jit_simd_multiply)                                                                    \
    X(MLS_E, jit_simd_multiply)                                                                    \
    X(UABD_V, jit_simd_difference)                                                                 \
    X(SABD_V, jit_simd_difference)                                                                 \
    X(UABA_V, jit_simd_difference)                                                                 \
    X(SABA_V, jit_simd_difference)                                                                 \
    X(SQADD_V, jit_simd_saturate)                                                                  \
    X(UQADD_V, jit_simd_saturate)                                                                  \
    X(SQSUB_V, jit_simd_saturate)                                                                  \
    X(UQSUB_V, jit_simd_saturate)                                                                  \
    X(ABS_V, jit_simd_one)                                                                         \
    X(NEG_V, jit_simd_one)                                                                         \
    X(NOT_V, jit_simd_one)                                                                         \
    X(CMEQ_Z, jit_simd_compare_zero)                                                               \
    X(CMGT_Z, jit_simd_compare_zero)                                                               \
    X(CMGE_Z, jit_simd_compare_zero)                                                               \
    X(CMLT_Z, jit_simd_compare_zero)                                                               \
    X(CMLE_Z, jit_simd_compare_zero)                                                               \
    X(CNT_V, jit_simd_cnt)                                                                         \
    X(SHL_N, jit_simd_shift)                                                                       \
    X(USHR_N, jit_simd_shift)                                                                      \
    X(SSHR_N, jit_simd_shift)                                                                      \
    X(USRA_N, jit_simd_shift)                                                                      \
    X(SSRA_N, jit_simd_shift)                                                                      \
    X(SLI_N, jit_simd_shift_insert)                                                                \
    X(SRI_N, jit_simd_shift_insert)

#define JIT_SIMD_SHIFT(X)                                                                          \
    X(URSHR_N, jit_simd_shift_rounded)                                                             \
    X(SRSHR_N, jit_simd_shift_rounded)                                                             \
    X(URSRA_N, jit_simd_shift_rounded)                                                             \
    X(SRSRA_N, jit_simd_shift_rounded)                                                             \
    X(SQXTN_V, jit_simd_narrow_saturated)                                                          \
    X(UQXTN_V, jit_simd_narrow_saturated)                                                          \
    X(SQXTUN_V, jit_simd_narrow_saturated)                                                         \
    X(SQSHRN_N, jit_simd_shift_narrow_saturated)                                                   \
    X(UQSHRN_N, jit_simd_shift_narrow_saturated)                                                   \
    X(SQSHRUN_N, jit_simd_shift_narrow_saturated)                                                  \
    X(SQRSHRN_N, jit_simd_shift_narrow_saturated)                                                  \
    X(UQRSHRN_N, jit_simd_shift_narrow_saturated)                                                  \
    X(SQRSHRUN_N, jit_simd_shift_narrow_saturated)                                                 \
    X(RSHRN_N, jit_simd_shift_narrow_rounded)                                                      \
    X(USHL_V, jit_simd_shift_register)                                                             \
    X(SSHL_V, jit_simd_shift_register)

#define JIT_SIMD_MULTIPLY(X)                                                                       \
    X(SHADD_V, jit_simd_halving)                                                                   \
    X(UHADD_V, jit_simd_halving)                                                                   \
    X(SRHADD_V, jit_simd_halving)                                                                  \
    X(SHSUB_V, jit_simd_halving)                                                                   \
    X(UHSUB_V, jit_simd_halving)                                                                   \
    X(ADDHN_V, jit_simd_high_narrow)                                                               \
    X(RADDHN_V, jit_simd_high_narrow)                                                              \
    X(SUBHN_V, jit_simd_high_narrow)                                                               \
    X(RSUBHN_V, jit_simd_high_narrow)                                                              \
    X(SQDMULH_V, jit_simd_high_product)                                                            \
    X(SQDMULH_E, jit_simd_high_product)                                                            \
    X(SQRDMULH_V, jit_simd_high_product)                                                           \
    X(SQRDMULH_E, jit_simd_high_product)                                                           \
    X(SDOT_V, jit_simd_dot)                                                                        \
    X(UDOT_V, jit_simd_dot)                                                                        \
    X(SDOT_E, jit_simd_dot)                                                                        \
    X(UDOT_E, jit_simd_dot)

#define JIT_SIMD_PERMUTE(X)                                                                        \
    X(UZP1, jit_simd_unzip)                                                                        \
    X(UZP2, jit_simd_unzip)                                                                        \
    X(ZIP1, jit_simd_zip)                                                                          \
    X(ZIP2, jit_simd_zip)                                                                          \
    X(TRN1, jit_simd_transpose)                                                                    \
    X(TRN2, jit_simd_transpose)                                                                    \
    X(EXT_V, jit_simd_ext)                                                                         \
    X(REV64_V, jit_simd_rev)                                                                       \
    X(REV32_V, jit_simd_rev)                                                                       \
    X(REV16_V, jit_simd_rev)                                                                       \
    X(RBIT_V, jit_simd_rbit)                                                                       \
    X(TBL, jit_simd_tbl)                                                                           \
    X(TBX, jit_simd_tbl)

#define JIT_SIMD_LONG(X)                                                                           \
    X(USHLL_N, jit_simd_shift_long)                                                                \
    X(SSHLL_N, jit_simd_shift_long)                                                                \
    X(SADDL_V, jit_simd_long)                                                                      \
    X(UADDL_V, jit_simd_long)                                                                      \
    X(SADDW_V, jit_simd_long)                                                                      \
    X(UADDW_V, jit_simd_long)                                                                      \
    X(SSUBL_V, jit_simd_long)                                                                      \
    X(USUBL_V, jit_simd_long)                                                                      \
    X(SSUBW_V, jit_simd_long)                                                                      \
    X(USUBW_V, jit_simd_long)                                                                      \
    X(SABAL_V, jit_simd_long)                                                                      \
    X(UABAL_V, jit_simd_long)                                                                      \
    X(SABDL_V, jit_simd_long)                                                                      \
    X(UABDL_V, jit_simd_long)                                                                      \
    X(SMLAL_V, jit_simd_long)                                                                      \
    X(UMLAL_V, jit_simd_long)                                                                      \
    X(SMLSL_V, jit_simd_long)                                                                      \
    X(UMLSL_V, jit_simd_long)                                                                      \
    X(SMULL_V, jit_simd_long)                                                                      \
    X(UMULL_V, jit_simd_long)                                                                      \
    X(SMLAL_E, jit_simd_long_element)                                                              \
    X(UMLAL_E, jit_simd_long_element)                                                              \
    X(SMLSL_E, jit_simd_long_element)                                                              \
    X(UMLSL_E, jit_simd_long_element)                                                              \
    X(SMULL_E, jit_simd_long_element)                                                              \
    X(UMULL_E, jit_simd_long_element)                                                              \
    X(SADDLP_V, jit_simd_add_long_pairs)                                                           \
    X(UADDLP_V, jit_simd_add_long_pairs)                                                           \
    X(SADALP_V, jit_simd_add_long_pairs)                                                           \
    X(UADALP_V, jit_simd_add_long_pairs)                                                           \
    X(XTN_V, jit_simd_narrow)                                                                      \
    X(SHRN_N, jit_simd_shift_narrow)                                                               \
    X(ADDP_V, jit_simd_pairs)                                                                      \
    X(SMAXP_V, jit_simd_pairs)                                                                     \
    X(SMINP_V, jit_simd_pairs)                                                                     \
    X(UMAXP_V, jit_simd_pairs)                                                                     \
    X(UMINP_V, jit_simd_pairs)                                                                     \
    X(ADDP_S, jit_simd_add_pair)                                                                   \
    X(ADDV, jit_simd_across)                                                                       \
    X(SMAXV, jit_simd_across)                                                                      \
    X(SMINV, jit_simd_across)                                                                      \
    X(UMAXV, jit_simd_across)                                                                      \
    X(UMINV, jit_simd_across)                                                                      \
    X(UADDLV, jit_simd_add_across_long)

#define JIT_CRYPTO(X)                                                                              \
    X(AESE, jit_aes)                                                                               \
    X(AESD, jit_aes)                                                                               \
    X(AESMC, jit_aes)                                                                              \
    X(AESIMC, jit_aes)                                                                             \
    X(PMULL_D, jit_pmull)                                                                          \
    X(SHA1C, jit_sha1_rounds)                                                                      \
    X(SHA1P, jit_sha1_rounds)                                                                      \
    X(SHA1M, jit_sha1_rounds)                                                                      \
    X(SHA1H, jit_sha1h)                                                                            \
    X(SHA1SU0, jit_sha1su0)                                                                        \
    X(SHA1SU1, jit_sha1su1)                                                                        \
    X(SHA256H, jit_sha256_rounds)                                                                  \
    X(SHA256H2, jit_sha256_rounds)                                                                 \
    X(SHA256SU0, jit_sha256_schedule)                                                              \
    X(SHA256SU1, jit_sha256_schedule)                                                              \
    X(CRC32, jit_crc32)                                                                            \
    X(CRC32C, jit_crc32c)

#define JIT_VECTOR(X)                                                                              \
    JIT_FP(X)                                                                                      \
    JIT_FP_COMPARE(X)                                                                              \
    JIT_FP_CONVERT(X)                                                                              \
    JIT_SIMD_SAME(X)                                                                               \
    JIT_SIMD_SHIFT(X)                                                                              \
    JIT_SIMD_MULTIPLY(X)                                                                           \
    JIT_SIMD_PERMUTE(X)                                                                            \
    JIT_SIMD_LONG(X)                                                                               \
    JIT_CRYPTO(X)                                                                                  \
    JIT_VECTOR_LDST(X)                                                                             \
    JIT_VECTOR_COPY(X)

#endif
