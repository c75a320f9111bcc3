/* SPDX-License-Identifier: MIT */
/* Moves of vector registers and lanes, and immediates (Arm ARM C4.1.96). */
#include "engine/jit/a64/a64.h"

#include "engine/interp/fp.h"
#include "engine/interp/simd_lanes.h"

/* ---- Immediates ---- */

/* Vd = value in its low doubleword, and in the upper one too when `bytes` is 16. */
static void write_constant(struct jit_translator *t, unsigned rd, uint64_t value, unsigned bytes)
{
    unsigned reg = jit_v_new(t);
    if (value == 0) {
        x64_v3(&t->code, X64_VPXOR, reg, reg, x64_r(reg));
        bytes = 4;
    } else if (value == UINT64_MAX && bytes == 16) {
        x64_v3(&t->code, X64_VPCMPEQD, reg, reg, x64_r(reg));
    } else {
        x64_mov_imm(&t->code, X64_RAX, value);
        x64_v2(&t->code, X64_VMOVQ_FROM, reg, x64_r(X64_RAX));
        if (bytes == 16)
            x64_v2(&t->code, X64_VPBROADCASTQ, reg, x64_r(reg));
        else
            bytes = value <= UINT32_MAX ? 4 : 8;
    }
    jit_v_wrote(t, rd, reg, bytes);
}

bool jit_movi(struct jit_translator *t, const struct a64_insn *insn)
{
    const uint32_t word = insn->word;
    uint64_t value;
    if (insn->op == A64_FMOV_VI) {
        const unsigned size = word >> 29 & 1 ? PV_FP_D : PV_FP_S;
        value = simd_broadcast(fp_expand_imm(size, (unsigned)(pv_bits(word, 16, 3) << 5 |
                                                              pv_bits(word, 5, 5))),
                               size)
                    .d[0];
    } else {
        value = simd_expand_immediate(word);
        if (insn->op == A64_MVNI)
            value = ~value;
    }
    write_constant(t, insn->rd, value, jit_q_bytes(insn));
    return true;
}

/* ORR and BIC (immediate) */
bool jit_orr_imm(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned bytes = jit_q_bytes(insn);
    unsigned old = jit_v_low(t, insn->rd, bytes, 0), reg = jit_v_new(t);
    x64_mov_imm(&t->code, X64_RAX, simd_expand_immediate(insn->word));
    x64_v2(&t->code, X64_VMOVQ_FROM, reg, x64_r(X64_RAX));
    if (bytes == 16)
        x64_v2(&t->code, X64_VPBROADCASTQ, reg, x64_r(reg));
    x64_v3(&t->code, insn->op == A64_ORR_I ? X64_VPOR : X64_VPANDN, reg, reg, x64_r(old));
    jit_v_wrote(t, insn->rd, reg, bytes);
    return true;
}

/* ---- Scalars. ftype, bits 23:22: 00 single, 01 double, 10 a register's top, 11 half ---- */

static unsigned ftype_bytes(const struct a64_insn *insn)
{
    static const uint8_t bytes[] = {4, 8, 8, 2};
    return bytes[insn->word >> 22 & 3];
}

bool jit_fmov_imm(struct jit_translator *t, const struct a64_insn *insn)
{
    static const uint8_t sizes[] = {PV_FP_S, PV_FP_D, 0, PV_FP_H};
    const unsigned size = sizes[insn->word >> 22 & 3];
    write_constant(t, insn->rd, fp_expand_imm(size, insn->word >> 13 & 0xff), 8);
    return true;
}

bool jit_fmov_reg(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned bytes = ftype_bytes(insn);
    if (bytes == 2)
        return false;
    unsigned from = jit_v(t, insn->rn), reg = jit_v_new(t);
    jit_v_cut(t, reg, from, bytes);
    jit_v_wrote(t, insn->rd, reg, bytes);
    return true;
}

bool jit_fmov_from_gen(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned bytes = ftype_bytes(insn);
    if (bytes == 2)
        return false;
    enum x64_reg from = jit_read(t, insn->rn, X64_RAX);
    unsigned reg = jit_v_new(t);
    x64_v2(&t->code, bytes == 8 ? X64_VMOVQ_FROM : X64_VMOVD_FROM, reg, x64_r(from));
    jit_v_wrote(t, insn->rd, reg, bytes);
    return true;
}

/* Rd = lane `index` of Vn, of 1 << size bytes, zero-extended */
static void lane_to_general(struct jit_translator *t, unsigned rd, unsigned rn, unsigned size,
                            unsigned index)
{
    static const unsigned extract[] = {X64_VPEXTRB, X64_VPEXTRW, X64_VPEXTRD, X64_VPEXTRQ};
    unsigned from = jit_v(t, rn);
    enum x64_reg to = jit_target(rd, X64_RAX);
    if (index == 0 && size >= 2)
        x64_v2_store(&t->code, size == 3 ? X64_VMOVQ_TO : X64_VMOVD_TO, x64_r(to), from);
    else if (size == 1) /* its register form has the operands the other way round */
        x64_v2_imm(&t->code, extract[size], to, x64_r(from), index);
    else
        x64_v2_store_imm(&t->code, extract[size], x64_r(to), from, index);
    jit_wrote(t, rd, to);
}

/* FMOV to a general register, from the low lane or the upper doubleword */
bool jit_fmov_to_gen(struct jit_translator *t, const struct a64_insn *insn)
{
    static const uint8_t sizes[] = {2, 3, 3, 1};
    lane_to_general(t, insn->rd, insn->rn, sizes[insn->word >> 22 & 3],
                    insn->op == A64_FMOV_TO_GEN_TOP);
    return true;
}

bool jit_fmov_from_gen_top(struct jit_translator *t, const struct a64_insn *insn)
{
    enum x64_reg from = jit_read(t, insn->rn, X64_RAX);
    unsigned old = jit_v(t, insn->rd), reg = jit_v_new(t);
    x64_v3_imm(&t->code, X64_VPINSRQ, reg, old, x64_r(from), 1);
    jit_v_wrote(t, insn->rd, reg, 16);
    return true;
}

/* ---- Lanes: imm5's lowest set bit is the size, the bits above it are the index ---- */

static unsigned lane_size(const struct a64_insn *insn)
{
    return (unsigned)__builtin_ctz(insn->word >> 16);
}
static unsigned lane_index(const struct a64_insn *insn)
{
    return (insn->word >> 16 & 31) >> (lane_size(insn) + 1);
}

/* All lanes of `reg` = its lane 0 */
static void broadcast(struct jit_translator *t, unsigned reg, unsigned from, unsigned size)
{
    static const unsigned ops[] = {X64_VPBROADCASTB, X64_VPBROADCASTW, X64_VPBROADCASTD,
                                   X64_VPBROADCASTQ};
    x64_v2(&t->code, ops[size], reg, x64_r(from));
}

bool jit_dup_element(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = lane_size(insn), index = lane_index(insn);
    const unsigned bytes = jit_is_scalar(insn) ? 1u << size : jit_q_bytes(insn);
    if (bytes < 4)
        return false;
    unsigned from = jit_v(t, insn->rn), reg = jit_v_new(t);
    if (index) {
        x64_v_shift(&t->code, X64_VPSRLDQ, reg, from, index << size);
        from = reg;
    }
    if (!jit_is_scalar(insn)) {
        broadcast(t, reg, from, size);
        from = reg;
    }
    if (from != reg || bytes < 16)
        jit_v_cut(t, reg, from, bytes);
    jit_v_wrote(t, insn->rd, reg, bytes);
    return true;
}

bool jit_dup_register(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = lane_size(insn), bytes = jit_q_bytes(insn);
    enum x64_reg from = jit_read(t, insn->rn, X64_RAX);
    unsigned reg = jit_v_new(t);
    x64_v2(&t->code, X64_VMOVQ_FROM, reg, x64_r(from));
    broadcast(t, reg, reg, size);
    if (bytes < 16)
        jit_v_cut(t, reg, reg, bytes);
    jit_v_wrote(t, insn->rd, reg, bytes);
    return true;
}

static const unsigned insert_ops[] = {X64_VPINSRB, X64_VPINSRW, X64_VPINSRD, X64_VPINSRQ};

bool jit_ins_register(struct jit_translator *t, const struct a64_insn *insn)
{
    enum x64_reg from = jit_read(t, insn->rn, X64_RAX);
    unsigned old = jit_v(t, insn->rd), reg = jit_v_new(t);
    x64_v3_imm(&t->code, insert_ops[lane_size(insn)], reg, old, x64_r(from), lane_index(insn));
    jit_v_wrote(t, insn->rd, reg, 16);
    return true;
}

bool jit_ins_element(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = lane_size(insn), from = (insn->word >> 11 & 15) >> size;
    unsigned old = jit_v(t, insn->rd), reg = jit_v_new(t);
    x64_v3_imm(&t->code, insert_ops[size], reg, old, jit_v_part(t, insn->rn, from << size),
               lane_index(insn));
    jit_v_wrote(t, insn->rd, reg, 16);
    return true;
}

/* UMOV and SMOV */
bool jit_umov(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = lane_size(insn), index = lane_index(insn);
    if (insn->op == A64_UMOV) {
        lane_to_general(t, insn->rd, insn->rn, size, index);
        return true;
    }
    enum x64_reg to = jit_target(insn->rd, X64_RAX);
    x64_movsx(&t->code, insn->word >> 30 & 1 ? 8 : 4, 1u << size, to,
              jit_v_part(t, insn->rn, index << size));
    jit_wrote(t, insn->rd, to);
    return true;
}
