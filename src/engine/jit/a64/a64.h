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

#define X(name, function) jit_translate_fn function;
JIT_BRANCHES(X)
#undef X

#endif
