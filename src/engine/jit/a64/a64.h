/* SPDX-License-Identifier: MIT */
/* The translators of single instructions: each folder's file lists what it has. */
#ifndef PV_ENGINE_JIT_A64_A64_H
#define PV_ENGINE_JIT_A64_A64_H

#include "engine/jit/a64/vector.h"

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

#define JIT_LDST(X)                                                                                \
    X(STRB_UIMM, jit_ldst_offset)                                                                  \
    X(STRB_UR, jit_ldst_offset)                                                                    \
    X(STRB_POST, jit_ldst_post)                                                                    \
    X(STRB_PRE, jit_ldst_pre)                                                                      \
    X(STRB_REG, jit_ldst_register)                                                                 \
    X(LDRB_UIMM, jit_ldst_offset)                                                                  \
    X(LDRB_UR, jit_ldst_offset)                                                                    \
    X(LDRB_POST, jit_ldst_post)                                                                    \
    X(LDRB_PRE, jit_ldst_pre)                                                                      \
    X(LDRB_REG, jit_ldst_register)                                                                 \
    X(LDRSB_X_UIMM, jit_ldst_offset)                                                               \
    X(LDRSB_X_UR, jit_ldst_offset)                                                                 \
    X(LDRSB_X_POST, jit_ldst_post)                                                                 \
    X(LDRSB_X_PRE, jit_ldst_pre)                                                                   \
    X(LDRSB_X_REG, jit_ldst_register)                                                              \
    X(LDRSB_W_UIMM, jit_ldst_offset)                                                               \
    X(LDRSB_W_UR, jit_ldst_offset)                                                                 \
    X(LDRSB_W_POST, jit_ldst_post)                                                                 \
    X(LDRSB_W_PRE, jit_ldst_pre)                                                                   \
    X(LDRSB_W_REG, jit_ldst_register)                                                              \
    X(STRH_UIMM, jit_ldst_offset)                                                                  \
    X(STRH_UR, jit_ldst_offset)                                                                    \
    X(STRH_POST, jit_ldst_post)                                                                    \
    X(STRH_PRE, jit_ldst_pre)                                                                      \
    X(STRH_REG, jit_ldst_register)                                                                 \
    X(LDRH_UIMM, jit_ldst_offset)                                                                  \
    X(LDRH_UR, jit_ldst_offset)                                                                    \
    X(LDRH_POST, jit_ldst_post)                                                                    \
    X(LDRH_PRE, jit_ldst_pre)                                                                      \
    X(LDRH_REG, jit_ldst_register)                                                                 \
    X(LDRSH_X_UIMM, jit_ldst_offset)                                                               \
    X(LDRSH_X_UR, jit_ldst_offset)                                                                 \
    X(LDRSH_X_POST, jit_ldst_post)                                                                 \
    X(LDRSH_X_PRE, jit_ldst_pre)                                                                   \
    X(LDRSH_X_REG, jit_ldst_register)                                                              \
    X(LDRSH_W_UIMM, jit_ldst_offset)                                                               \
    X(LDRSH_W_UR, jit_ldst_offset)                                                                 \
    X(LDRSH_W_POST, jit_ldst_post)                                                                 \
    X(LDRSH_W_PRE, jit_ldst_pre)                                                                   \
    X(LDRSH_W_REG, jit_ldst_register)                                                              \
    X(STR_W_UIMM, jit_ldst_offset)                                                                 \
    X(STR_W_UR, jit_ldst_offset)                                                                   \
    X(STR_W_POST, jit_ldst_post)                                                                   \
    X(STR_W_PRE, jit_ldst_pre)                                                                     \
    X(STR_W_REG, jit_ldst_register)                                                                \
    X(LDR_W_UIMM, jit_ldst_offset)                                                                 \
    X(LDR_W_UR, jit_ldst_offset)                                                                   \
    X(LDR_W_POST, jit_ldst_post)                                                                   \
    X(LDR_W_PRE, jit_ldst_pre)                                                                     \
    X(LDR_W_REG, jit_ldst_register)                                                                \
    X(LDRSW_UIMM, jit_ldst_offset)                                                                 \
    X(LDRSW_UR, jit_ldst_offset)                                                                   \
    X(LDRSW_POST, jit_ldst_post)                                                                   \
    X(LDRSW_PRE, jit_ldst_pre)                                                                     \
    X(LDRSW_REG, jit_ldst_register)                                                                \
    X(STR_X_UIMM, jit_ldst_offset)                                                                 \
    X(STR_X_UR, jit_ldst_offset)                                                                   \
    X(STR_X_POST, jit_ldst_post)                                                                   \
    X(STR_X_PRE, jit_ldst_pre)                                                                     \
    X(STR_X_REG, jit_ldst_register)                                                                \
    X(LDR_X_UIMM, jit_ldst_offset)                                                                 \
    X(LDR_X_UR, jit_ldst_offset)                                                                   \
    X(LDR_X_POST, jit_ldst_post)                                                                   \
    X(LDR_X_PRE, jit_ldst_pre)                                                                     \
    X(LDR_X_REG, jit_ldst_register)                                                                \
    X(STTRB, jit_ldst_unprivileged)                                                                \
    X(LDTRB, jit_ldst_unprivileged)                                                                \
    X(LDTRSB_X, jit_ldst_unprivileged)                                                             \
    X(LDTRSB_W, jit_ldst_unprivileged)                                                             \
    X(STTRH, jit_ldst_unprivileged)                                                                \
    X(LDTRH, jit_ldst_unprivileged)                                                                \
    X(LDTRSH_X, jit_ldst_unprivileged)                                                             \
    X(LDTRSH_W, jit_ldst_unprivileged)                                                             \
    X(STTR_W, jit_ldst_unprivileged)                                                               \
    X(LDTR_W, jit_ldst_unprivileged)                                                               \
    X(LDTRSW, jit_ldst_unprivileged)                                                               \
    X(STTR_X, jit_ldst_unprivileged)                                                               \
    X(LDTR_X, jit_ldst_unprivileged)                                                               \
    X(STP_W_NP, jit_ldst_pair)                                                                     \
    X(STP_W_POST, jit_ldst_pair)                                                                   \
    X(STP_W_OFF, jit_ldst_pair)                                                                    \
    X(STP_W_PRE, jit_ldst_pair)                                                                    \
    X(STP_X_NP, jit_ldst_pair)                                                                     \
    X(STP_X_POST, jit_ldst_pair)                                                                   \
    X(STP_X_OFF, jit_ldst_pair)                                                                    \
    X(STP_X_PRE, jit_ldst_pair)                                                                    \
    X(LDP_W_NP, jit_ldst_pair)                                                                     \
    X(LDP_W_POST, jit_ldst_pair)                                                                   \
    X(LDP_W_OFF, jit_ldst_pair)                                                                    \
    X(LDP_W_PRE, jit_ldst_pair)                                                                    \
    X(LDP_X_NP, jit_ldst_pair)                                                                     \
    X(LDP_X_POST, jit_ldst_pair)                                                                   \
    X(LDP_X_OFF, jit_ldst_pair)                                                                    \
    X(LDP_X_PRE, jit_ldst_pair)                                                                    \
    X(LDPSW_POST, jit_ldst_pair)                                                                   \
    X(LDPSW_OFF, jit_ldst_pair)                                                                    \
    X(LDPSW_PRE, jit_ldst_pair)                                                                    \
    X(LDR_LIT_W, jit_ldr_literal)                                                                  \
    X(LDR_LIT_X, jit_ldr_literal)                                                                  \
    X(LDRSW_LIT, jit_ldr_literal)                                                                  \
    X(PRFM_UIMM, jit_prfm)                                                                         \
    X(PRFM_REG, jit_prfm)                                                                          \
    X(PRFM_LIT, jit_prfm)                                                                          \
    X(PRFUM, jit_prfm)

#define JIT_SYSTEM(X)                                                                              \
    X(MRS, jit_mrs)                                                                                \
    X(MSR, jit_msr)                                                                                \
    X(MSR_IMM, jit_msr_imm)                                                                        \
    X(HINT, jit_hint)                                                                              \
    X(DMB, jit_dmb)                                                                                \
    X(DSB, jit_dsb)                                                                                \
    X(ISB, jit_isb)                                                                                \
    X(CLREX, jit_clrex)                                                                            \
    X(SYS, jit_sys)

#define JIT_ATOMICS(X)                                                                             \
    X(LDAR, jit_load_acquire)                                                                      \
    X(LDLAR, jit_load_acquire)                                                                     \
    X(LDAPR, jit_load_acquire)                                                                     \
    X(STLR, jit_store_release)                                                                     \
    X(STLLR, jit_store_release)                                                                    \
    X(LDXR, jit_load_exclusive)                                                                    \
    X(LDAXR, jit_load_exclusive)                                                                   \
    X(STXR, jit_store_exclusive)                                                                   \
    X(STLXR, jit_store_exclusive)                                                                  \
    X(CAS, jit_cas)                                                                                \
    X(CASP, jit_casp)                                                                              \
    X(LDADD, jit_exchange)                                                                         \
    X(SWP, jit_exchange)                                                                           \
    X(LDCLR, jit_fetch_logic)                                                                      \
    X(LDSET, jit_fetch_logic)                                                                      \
    X(LDEOR, jit_fetch_logic)                                                                      \
    X(LDSMAX, jit_fetch_extreme)                                                                   \
    X(LDSMIN, jit_fetch_extreme)                                                                   \
    X(LDUMAX, jit_fetch_extreme)                                                                   \
    X(LDUMIN, jit_fetch_extreme)

#define JIT_TRANSLATED(X)                                                                          \
    JIT_BRANCHES(X)                                                                                \
    JIT_INT_ARITH(X)                                                                               \
    JIT_INT_BITS(X)                                                                                \
    JIT_LDST(X)                                                                                    \
    JIT_ATOMICS(X)                                                                                 \
    JIT_SYSTEM(X)                                                                                  \
    JIT_VECTOR(X)

#define X(name, function) jit_translate_fn function;
JIT_TRANSLATED(X)
#undef X

/* ---- memory.c, beside what translate.h has ---- */

/* RAX = base register plus the register offset of the instruction, as jit_base(). */
void jit_base_indexed(struct jit_translator *t, const struct a64_insn *insn);
/* Base register += offset, when the access has been made. */
void jit_write_back(struct jit_translator *t, unsigned rn, int64_t offset);

/* ldst_simd.c: of a single register's load or store */
unsigned jit_v_ldst_bytes(const struct a64_insn *insn);

/* ---- int.c ---- */

/* RCX = Rm extended as the instruction's option says, shifted left. */
void jit_extend(struct jit_translator *t, const struct a64_insn *insn, unsigned shift);

#endif
