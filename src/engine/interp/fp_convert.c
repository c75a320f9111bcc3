/* SPDX-License-Identifier: MIT */
/* Scalar floating point: between formats, and to and from general registers (Arm ARM C4.1.96). */
#include "engine/interp/fp.h"

/* FCVT to the format of opc, bits 16:15 */
void interp_FCVT(struct cpu *c, const struct a64_insn *insn)
{
    struct pv_fp fp = fp_begin(c);
    const unsigned from = fp_type_at(insn, 22), to = fp_type_at(insn, 15);
    fp_set_reg(c, insn->rd,
               pv_fp_convert(&fp, to, from, fp_reg(c, insn->rn, from), pv_fp_mode(&fp)));
    fp_end(c, &fp);
}

/* ---- To and from general registers, as integers or with 64 - scale bits of fraction ---- */

static unsigned fraction_bits(const struct a64_insn *insn)
{
    const bool integer = insn->word >> 21 & 1;
    return integer ? 0 : 64 - (insn->word >> 10 & 63);
}

static void to_general(struct cpu *c, const struct a64_insn *insn, bool is_unsigned,
                       enum pv_fp_rounding mode)
{
    struct pv_fp fp = fp_begin(c);
    const unsigned size = fp_type_at(insn, 22), width = insn->word >> 31 ? 64 : 32;
    cpu_set_x(c, insn->rd,
              pv_fp_to_fixed(&fp, size, fp_reg(c, insn->rn, size), fraction_bits(insn), is_unsigned,
                             mode, width));
    fp_end(c, &fp);
}

static void from_general(struct cpu *c, const struct a64_insn *insn, bool is_unsigned)
{
    struct pv_fp fp = fp_begin(c);
    uint64_t value = cpu_x(c, insn->rn);
    if (!(insn->word >> 31))
        value = is_unsigned ? (uint32_t)value : (uint64_t)(int64_t)(int32_t)value;
    fp_set_reg(
        c, insn->rd,
        pv_fp_from_fixed(&fp, fp_type_at(insn, 22), value, fraction_bits(insn), is_unsigned));
    fp_end(c, &fp);
}

#define FP_TO_GENERAL(NAME, IS_UNSIGNED, MODE)                                                     \
    void interp_##NAME(struct cpu *c, const struct a64_insn *insn)                                 \
    {                                                                                              \
        to_general(c, insn, IS_UNSIGNED, MODE);                                                    \
    }
#define FP_FROM_GENERAL(NAME, IS_UNSIGNED)                                                         \
    void interp_##NAME(struct cpu *c, const struct a64_insn *insn)                                 \
    {                                                                                              \
        from_general(c, insn, IS_UNSIGNED);                                                        \
    }

FP_TO_GENERAL(FCVTNS_INT, false, PV_FP_NEAREST_EVEN)
FP_TO_GENERAL(FCVTNU_INT, true, PV_FP_NEAREST_EVEN)
FP_TO_GENERAL(FCVTPS_INT, false, PV_FP_UP)
FP_TO_GENERAL(FCVTPU_INT, true, PV_FP_UP)
FP_TO_GENERAL(FCVTMS_INT, false, PV_FP_DOWN)
FP_TO_GENERAL(FCVTMU_INT, true, PV_FP_DOWN)
FP_TO_GENERAL(FCVTZS_INT, false, PV_FP_ZERO)
FP_TO_GENERAL(FCVTZU_INT, true, PV_FP_ZERO)
FP_TO_GENERAL(FCVTAS_INT, false, PV_FP_NEAREST_AWAY)
FP_TO_GENERAL(FCVTAU_INT, true, PV_FP_NEAREST_AWAY)
FP_TO_GENERAL(FCVTZS_FIX, false, PV_FP_ZERO)
FP_TO_GENERAL(FCVTZU_FIX, true, PV_FP_ZERO)
FP_FROM_GENERAL(SCVTF_INT, false)
FP_FROM_GENERAL(UCVTF_INT, true)
FP_FROM_GENERAL(SCVTF_FIX, false)
FP_FROM_GENERAL(UCVTF_FIX, true)

/* ---- FMOV between register files: bits, not values ---- */

void interp_FMOV_TO_GEN(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    cpu_set_x(c, insn->rd, fp_reg(c, insn->rn, fp_type_at(insn, 22)));
}

void interp_FMOV_FROM_GEN(struct cpu *c, const struct a64_insn *insn)
{
    static const uint64_t masks[] = {
        [PV_FP_H] = 0xffff, [PV_FP_S] = 0xffffffff, [PV_FP_D] = ~UINT64_C(0)};
    cpu_check_fp(c);
    fp_set_reg(c, insn->rd, cpu_x(c, insn->rn) & masks[fp_type_at(insn, 22)]);
}

/* The top half of a Q register, FMOV X, V.D[1] and back: the lower half stays. */
void interp_FMOV_TO_GEN_TOP(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    cpu_set_x(c, insn->rd, c->v[insn->rn].d[1]);
}

void interp_FMOV_FROM_GEN_TOP(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    c->v[insn->rd].d[1] = cpu_x(c, insn->rn);
}
