/* SPDX-License-Identifier: MIT */
/*
 * The fast path: let the host's FPU compute, where its answer is sure to be Arm's.
 *
 * IEEE 754 leaves no freedom in the value of a correctly rounded result: only NaNs, flushing and
 * flags differ between machines. So the host may answer when the rounding mode is its own default
 * (nearest even), all operands are normal numbers, and the result is one too and not the smallest
 * (which might have been tiny before it was rounded: UFC, and zero under FZ). No flag but IXC can
 * be due then, and the guest cannot tell whether we computed it if it is set already: flags are
 * sticky, and programs that never clear FPSR have it set after their first division. Until then,
 * the integer code answers. The host's own status register is never looked at.
 */
#include "engine/softfp/core.h"

#include <math.h>
#include <string.h>

static bool usable(const struct pv_fp *fp, unsigned size)
{
    return size != PV_FP_H && (fp->fpsr & PV_FPSR_IXC) && pv_fp_mode(fp) == PV_FP_NEAREST_EVEN;
}

static bool is_normal(unsigned size, uint64_t a)
{
    const int biased = (int)(a >> fp_formats[size].frac_bits) & fp_exp_max(size);
    return biased != 0 && biased != fp_exp_max(size);
}

static bool is_safe(unsigned size, uint64_t r)
{
    const int biased = (int)(r >> fp_formats[size].frac_bits) & fp_exp_max(size);
    return biased > 1 && biased != fp_exp_max(size);
}

static double to_double(uint64_t a)
{
    double d;
    memcpy(&d, &a, sizeof(d));
    return d;
}
static float to_float(uint64_t a)
{
    const uint32_t w = (uint32_t)a;
    float f;
    memcpy(&f, &w, sizeof(f));
    return f;
}
static uint64_t from_double(double d)
{
    uint64_t a;
    memcpy(&a, &d, sizeof(a));
    return a;
}
static uint64_t from_float(float f)
{
    uint32_t a;
    memcpy(&a, &f, sizeof(a));
    return a;
}

#define HOST_BINARY(NAME, OP)                                                                      \
    bool fp_host_##NAME(const struct pv_fp *fp, unsigned size, uint64_t a, uint64_t b,             \
                        uint64_t *r)                                                               \
    {                                                                                              \
        if (!usable(fp, size) || !is_normal(size, a) || !is_normal(size, b))                       \
            return false;                                                                          \
        *r = size == PV_FP_D ? from_double(to_double(a) OP to_double(b))                           \
                             : from_float(to_float(a) OP to_float(b));                             \
        return is_safe(size, *r);                                                                  \
    }

HOST_BINARY(add, +)
HOST_BINARY(mul, *)
HOST_BINARY(div, /)

bool fp_host_sqrt(const struct pv_fp *fp, unsigned size, uint64_t a, uint64_t *r)
{
    if (!usable(fp, size) || !is_normal(size, a) || a & fp_sign_bit(size))
        return false;
    *r = size == PV_FP_D ? from_double(sqrt(to_double(a))) : from_float(sqrtf(to_float(a)));
    return true; /* halves the exponent: always far from the ends */
}

bool fp_host_muladd(const struct pv_fp *fp, unsigned size, uint64_t addend, uint64_t a, uint64_t b,
                    uint64_t *r)
{
    if (!usable(fp, size) || !is_normal(size, addend) || !is_normal(size, a) || !is_normal(size, b))
        return false;
    *r = size == PV_FP_D ? from_double(fma(to_double(a), to_double(b), to_double(addend)))
                         : from_float(fmaf(to_float(a), to_float(b), to_float(addend)));
    return is_safe(size, *r);
}
