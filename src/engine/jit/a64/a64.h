/* SPDX-License-Identifier: MIT */
/* The translators of single instructions: each folder's file lists what it has. */
#ifndef PV_ENGINE_JIT_A64_A64_H
#define PV_ENGINE_JIT_A64_A64_H

#include "engine/jit/translate.h"

/* X(operation, function) */
#define JIT_BRANCHES(X)                                                                            \
    X(B, jit_b)                                                                                    \
    X(BL, jit_bl)                                                                                  \
    X(B_COND, jit_b_cond)                                                                          \
    X(CBZ, jit_cbz)                                                                                \
    X(CBNZ, jit_cbz)                                                                               \
    X(TBZ, jit_tbz)                                                                                \
    X(TBNZ, jit_tbz)                                                                               \
    X(BR, jit_br)                                                                                  \
    X(BLR, jit_blr)                                                                                \
    X(RET, jit_ret)

#define JIT_INT_ARITH(X)                                                                           \
    X(ADR, jit_adr)                                                                                \
    X(ADRP, jit_adr)                                                                               \
    X(MOVZ, jit_mov_imm)                                                                           \
    X(MOVN, jit_mov_imm)                                                                           \
    X(MOVK, jit_movk)                                                                              \
    X(ADD_IMM, jit_add_imm)                                                                        \
    X(SUB_IMM, jit_add_imm)                                                                        \
    X(ADDS_IMM, jit_adds_imm)                                                                      \
    X(SUBS_IMM, jit_adds_imm)                                                                      \
    X(AND_IMM, jit_logic_imm)                                                                      \
    X(ORR_IMM, jit_logic_imm)                                                                      \
    X(EOR_IMM, jit_logic_imm)                                                                      \
    X(ANDS_IMM, jit_logic_imm)                                                                     \
    X(ADD_REG, jit_add_reg)                                                                        \
    X(ADDS_REG, jit_add_reg)                                                                       \
    X(SUB_REG, jit_add_reg)                                                                        \
    X(SUBS_REG, jit_add_reg)                                                                       \
    X(ADD_EXT, jit_add_ext)                                                                        \
    X(ADDS_EXT, jit_add_ext)                                                                       \
    X(SUB_EXT, jit_add_ext)                                                                        \
    X(SUBS_EXT, jit_add_ext)                                                                       \
    X(AND_REG, jit_logic_reg)                                                                      \
    X(BIC_REG, jit_logic_reg)                                                                      \
    X(ORR_REG, jit_logic_reg)                                                                      \
    X(ORN_REG, jit_logic_reg)                                                                      \
    X(EOR_REG, jit_logic_reg)                                                                      \
    X(EON_REG, jit_logic_reg)                                                                      \
    X(ANDS_REG, jit_logic_reg)                                                                     \
    X(BICS_REG, jit_logic_reg)                                                                     \
    X(ADC, jit_adc)                                                                                \
    X(ADCS, jit_adc)                                                                               \
    X(SBC, jit_adc)                                                                                \
    X(SBCS, jit_adc)                                                                               \
    X(CSEL, jit_csel)                                                                              \
    X(CSINC, jit_csel)                                                                             \
    X(CSINV, jit_csel)                                                                             \
    X(CSNEG, jit_csel)                                                                             \
    X(CCMN_REG, jit_ccmp)                                                                          \
    X(CCMN_IMM, jit_ccmp)                                                                          \
    X(CCMP_REG, jit_ccmp)                                                                          \
    X(CCMP_IMM, jit_ccmp)

#define JIT_INT_BITS(X)                                                                            \
    X(UBFM, jit_bfm_extract)                                                                       \
    X(SBFM, jit_bfm_extract)                                                                       \
    X(BFM, jit_bfm)                                                                                \
    X(EXTR, jit_extr)                                                                              \
    X(LSLV, jit_shift_reg)                                                                         \
    X(LSRV, jit_shift_reg)                                                                         \
    X(ASRV, jit_shift_reg)                                                                         \
    X(RORV, jit_shift_reg)                                                                         \
    X(MADD, jit_madd)                                                                              \
    X(MSUB, jit_madd)                                                                              \
    X(SMADDL, jit_maddl)                                                                           \
    X(SMSUBL, jit_maddl)                                                                           \
    X(UMADDL, jit_maddl)                                                                           \
    X(UMSUBL, jit_maddl)                                                                           \
    X(SMULH, jit_mulh)                                                                             \
    X(UMULH, jit_mulh)                                                                             \
    X(UDIV, jit_div)                                                                               \
    X(SDIV, jit_div)                                                                               \
    X(CLZ, jit_clz)                                                                                \
    X(CLS, jit_cls)                                                                                \
    X(REV64, jit_rev)                                                                              \
    X(REV32, jit_rev)                                                                              \
    X(REV16, jit_rev16)                                                                            \
    X(RBIT, jit_rbit)

#define JIT_TRANSLATED(X)                                                                          \
    JIT_BRANCHES(X)                                                                                \
    JIT_INT_ARITH(X)                                                                               \
    JIT_INT_BITS(X)

#define X(name, function) jit_translate_fn function;
JIT_TRANSLATED(X)
#undef X

/* RCX = Rm extended as the instruction's option says, shifted left. */
void jit_extend(struct jit_translator *t, const struct a64_insn *insn, unsigned shift);

#endif
