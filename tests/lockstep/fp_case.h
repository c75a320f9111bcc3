/* SPDX-License-Identifier: MIT */
/* What the oracle (fp_oracle.c) and those who ask it exchange, in little-endian. */
#ifndef PV_TESTS_LOCKSTEP_FP_CASE_H
#define PV_TESTS_LOCKSTEP_FP_CASE_H

#include <stdint.h>

struct fp_case {
    uint32_t word; /* the instruction */
    uint32_t fpcr, fpsr, nzcv;
    uint64_t x[3];
    uint64_t pad;
    uint64_t v[3][2];
};

#endif
