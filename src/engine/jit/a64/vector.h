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
/* A part of Vn where it is in memory, which is always right. */
struct x64_rm jit_v_part(unsigned n, unsigned offset);
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
/* A call has destroyed all XMM registers. */
void jit_v_forget(struct jit_translator *t);
/* Loads what `guest` (jit_vregs.guest) says. */
void jit_v_reload(struct jit_translator *t, const uint8_t guest[16]);

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

#define JIT_VECTOR(X)                                                                              \
    JIT_VECTOR_LDST(X)                                                                             \
    JIT_VECTOR_COPY(X)

#endif
