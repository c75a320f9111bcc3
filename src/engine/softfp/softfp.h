/* SPDX-License-Identifier: MIT */
/*
 * Arm floating-point arithmetic, bit for bit, in integers (Arm ARM J1.3, shared/functions/float).
 *
 * Values travel as their encodings in the low bits of a uint64_t; `size` is log2 of the bytes:
 * PV_FP_H, PV_FP_S or PV_FP_D. Bits above an operand's width must be 0, and are 0 in results.
 * Every function reads the control bits in fp->fpcr and ORs cumulative flags into fp->fpsr.
 */
#ifndef PV_ENGINE_SOFTFP_SOFTFP_H
#define PV_ENGINE_SOFTFP_SOFTFP_H

#include <stdbool.h>
#include <stdint.h>

enum { PV_FP_H = 1, PV_FP_S = 2, PV_FP_D = 3 };

/* FPCR (Arm ARM C5.2.8) */
#define PV_FPCR_FZ16        (1u << 19)
#define PV_FPCR_RMODE_SHIFT 22
#define PV_FPCR_RMODE       (3u << PV_FPCR_RMODE_SHIFT)
#define PV_FPCR_FZ          (1u << 24)
#define PV_FPCR_DN          (1u << 25)
#define PV_FPCR_AHP         (1u << 26)

/* FPSR (Arm ARM C5.2.9) */
#define PV_FPSR_IOC (1u << 0)
#define PV_FPSR_DZC (1u << 1)
#define PV_FPSR_OFC (1u << 2)
#define PV_FPSR_UFC (1u << 3)
#define PV_FPSR_IXC (1u << 4)
#define PV_FPSR_IDC (1u << 7)

/* The first four are encoded so in FPCR.RMode. */
enum pv_fp_rounding {
    PV_FP_NEAREST_EVEN,
    PV_FP_UP,
    PV_FP_DOWN,
    PV_FP_ZERO,
    PV_FP_NEAREST_AWAY,
    PV_FP_ODD,
};

struct pv_fp {
    uint32_t fpcr;
    uint32_t fpsr;
};

static inline enum pv_fp_rounding pv_fp_mode(const struct pv_fp *fp)
{
    return (enum pv_fp_rounding)(fp->fpcr >> PV_FPCR_RMODE_SHIFT & 3);
}

/* ---- Arithmetic (softfp.c); these try the host's FPU first (softfp_host.c) ---- */

uint64_t pv_fp_add(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b);
uint64_t pv_fp_sub(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b);
uint64_t pv_fp_mul(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b);
uint64_t pv_fp_div(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b);
uint64_t pv_fp_sqrt(struct pv_fp *fp, unsigned size, uint64_t a);
/* addend + a * b, rounded once */
uint64_t pv_fp_muladd(struct pv_fp *fp, unsigned size, uint64_t addend, uint64_t a, uint64_t b);

/* The same, always in integers: what the above are checked against. */
uint64_t pv_fp_add_ref(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b);
uint64_t pv_fp_mul_ref(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b);
uint64_t pv_fp_div_ref(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b);
uint64_t pv_fp_sqrt_ref(struct pv_fp *fp, unsigned size, uint64_t a);
uint64_t pv_fp_muladd_ref(struct pv_fp *fp, unsigned size, uint64_t addend, uint64_t a, uint64_t b);

uint64_t pv_fp_mulx(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b);
uint64_t pv_fp_recip_step(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b);
uint64_t pv_fp_rsqrt_step(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b);

/* Sign bit only: no flags, NaNs are not special. */
uint64_t pv_fp_neg(unsigned size, uint64_t a);
uint64_t pv_fp_abs(unsigned size, uint64_t a);

/* ---- Comparing and choosing (softfp_compare.c) ---- */

/* NZCV in bits 31:28. `signal`: quiet NaNs are invalid operations too. */
uint32_t pv_fp_compare(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b, bool signal);
bool pv_fp_eq(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b);
bool pv_fp_ge(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b);
bool pv_fp_gt(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b);
uint64_t pv_fp_max(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b);
uint64_t pv_fp_min(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b);
uint64_t pv_fp_maxnum(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b);
uint64_t pv_fp_minnum(struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b);

/* ---- Converting (softfp_convert.c) ---- */

uint64_t pv_fp_round_int(struct pv_fp *fp, unsigned size, uint64_t a, enum pv_fp_rounding mode,
                         bool exact);
/* To a fixed-point number of `width` (16, 32, 64) bits with `fbits` (0..width) of fraction. */
uint64_t pv_fp_to_fixed(struct pv_fp *fp, unsigned size, uint64_t a, unsigned fbits,
                        bool is_unsigned, enum pv_fp_rounding mode, unsigned width);
/* `a` is sign- or zero-extended to 64 bits already. */
uint64_t pv_fp_from_fixed(struct pv_fp *fp, unsigned size, uint64_t a, unsigned fbits,
                          bool is_unsigned);
uint64_t pv_fp_convert(struct pv_fp *fp, unsigned to, unsigned from, uint64_t a,
                       enum pv_fp_rounding mode);

/* ---- Estimates (softfp_estimate.c) ---- */

uint64_t pv_fp_recip_estimate(struct pv_fp *fp, unsigned size, uint64_t a);
uint64_t pv_fp_rsqrt_estimate(struct pv_fp *fp, unsigned size, uint64_t a);
uint64_t pv_fp_recpx(struct pv_fp *fp, unsigned size, uint64_t a);
uint32_t pv_fp_urecpe(uint32_t a);
uint32_t pv_fp_ursqrte(uint32_t a);

#endif
