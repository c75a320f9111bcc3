/* SPDX-License-Identifier: MIT */
/*
 * Floating-point comparisons. x86 has Arm's two kinds: those that raise Invalid for signaling NaNs
 * only, and those that do for any.
 */
#include "engine/jit/a64/a64.h"

#define UNORDERED (UINT32_C(3) << 28) /* NZCV: C and V */

/*
 * FCMP and FCMPE. UCOMIS leaves CF for less, ZF for equal, and neither for greater. NZCV as
 * jit_nzcv_set() wants it is what subtracting leaves: 1 - 0 for greater (C), 0 - 0 for equal (Z,
 * C), 0 - 1 for less (N). Unordered, which is all three of CF, ZF and PF, has its flags (C, V) from
 * the cold path.
 */
static void compare(struct jit_translator *t, bool is_double, bool signaling, unsigned n,
                    unsigned m)
{
    static const unsigned ops[2][2] = {{X64_VUCOMISS, X64_VUCOMISD}, {X64_VCOMISS, X64_VCOMISD}};
    x64_v2(&t->code, ops[signaling][is_double], n, x64_r(m));
    struct jit_cold *cold = jit_cold_flags(t, X64_P, jit_flags_from_nzcv(UNORDERED));
    x64_setcc(&t->code, X64_A, x64_r(X64_RAX));
    x64_alu_imm(&t->code, X64_SBB, 1, x64_r(X64_RAX), 0);
    x64_bind(&t->code, &cold->good);
}

bool jit_fcmp(struct jit_translator *t, const struct a64_insn *insn)
{
    struct jit_fp_shape s;
    if (!jit_fp_shape(t, insn, &s))
        return false;
    unsigned n = jit_v(t, insn->rn), m = 0;
    if (insn->word >> 3 & 1)
        x64_v3(&t->code, X64_VPXOR, m, m, x64_r(m));
    else
        m = jit_v(t, insn->rm);
    compare(t, jit_fp_is_double(s), insn->op == A64_FCMPE, n, m);
    jit_nzcv_set(t, JIT_NZCV_SUB);
    return true;
}

/* FCCMP and FCCMPE: where the condition fails, the immediate comes out of flags.h's form. */
bool jit_fccmp(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned cond = insn->word >> 12 & 15;
    struct x64_label fails = X64_LABEL, done = X64_LABEL;
    struct jit_fp_shape s;
    if (!jit_fp_shape(t, insn, &s) || cond >= 14)
        return false;
    unsigned n = jit_v(t, insn->rn), m = jit_v(t, insn->rm);
    enum x64_cond host = jit_nzcv_cond(t, cond);
    x64_jcc_near(&t->code, host ^ 1, &fails);
    compare(t, jit_fp_is_double(s), insn->op == A64_FCCMPE, n, m);
    x64_jmp_near(&t->code, &done);
    x64_bind(&t->code, &fails);
    x64_mov_imm(&t->code, X64_RAX, jit_flags_from_nzcv((insn->word & 15) << 28));
    jit_nzcv_from_rax(t);
    x64_bind(&t->code, &done);
    jit_nzcv_set(t, JIT_NZCV_SUB);
    return true;
}

bool jit_fcsel(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned cond = insn->word >> 12 & 15, type = insn->word >> 22 & 3;
    const unsigned bytes = type ? 8 : 4;
    if (type == 3)
        return false;
    unsigned reg = jit_v_new(t);
    if (cond >= 14) {
        x64_v2(&t->code, type ? X64_VMOVQ_LOAD : X64_VMOVSS_LOAD, reg, jit_v_part(t, insn->rn, 0));
    } else {
        enum x64_cond host = jit_nzcv_cond(t, cond);
        jit_v_to_general(t, X64_RCX, bytes, insn->rm);
        jit_v_to_general(t, X64_RDX, bytes, insn->rn);
        x64_cmov(&t->code, host, bytes, X64_RCX, x64_r(X64_RDX));
        x64_v2(&t->code, type ? X64_VMOVQ_FROM : X64_VMOVD_FROM, reg, x64_r(X64_RCX));
    }
    jit_v_wrote(t, insn->rd, reg, bytes);
    return true;
}

/* FCMEQ and kin: all ones in the lanes where it holds */
bool jit_fp_mask(struct jit_translator *t, const struct a64_insn *insn)
{
    enum { EQ = 0x00, LT_SIGNALING = 0x01, LE_SIGNALING = 0x02 };
    enum { GE_SIGNALING = 0x0d, GT_SIGNALING = 0x0e };
    static const unsigned ops[] = {X64_VCMPPS, X64_VCMPPD, X64_VCMPSS, X64_VCMPSD};
    unsigned how, m = 1;
    bool absolute = false, with_zero = false;
    struct jit_fp_shape s;
    if (!jit_fp_shape(t, insn, &s))
        return false;
    switch (insn->op) {
    case A64_FCMEQ_Z: with_zero = true; /* fall through */
    case A64_FCMEQ_V: how = EQ; break;
    case A64_FCMGE_Z: with_zero = true, how = GE_SIGNALING; break;
    case A64_FCMGT_Z: with_zero = true, how = GT_SIGNALING; break;
    case A64_FCMLE_Z: with_zero = true, how = LE_SIGNALING; break;
    case A64_FCMLT_Z: with_zero = true, how = LT_SIGNALING; break;
    case A64_FACGE_V: absolute = true; /* fall through */
    case A64_FCMGE_V: how = GE_SIGNALING; break;
    case A64_FACGT_V: absolute = true; /* fall through */
    default: how = GT_SIGNALING; break;
    }
    unsigned n = jit_fp_source(t, s, insn->rn, 0);
    if (with_zero)
        x64_v3(&t->code, X64_VPXOR, m, m, x64_r(m));
    else
        m = jit_fp_source(t, s, insn->rm, 1);
    if (absolute) {
        const enum jit_constant mask = jit_fp_is_double(s) ? JIT_ABS_D : JIT_ABS_S;
        x64_v3(&t->code, X64_VPAND, 0, n, jit_constant(t, mask));
        x64_v3(&t->code, X64_VPAND, 1, m, jit_constant(t, mask));
        n = 0, m = 1;
    }
    unsigned reg = jit_v_new(t);
    x64_v3_imm(&t->code, ops[s.kind], reg, n, x64_r(m), how);
    jit_v_cut(t, reg, reg, s.bytes);
    jit_v_wrote(t, insn->rd, reg, s.bytes);
    return true;
}
