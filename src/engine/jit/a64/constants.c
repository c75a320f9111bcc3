/* SPDX-License-Identifier: MIT */
/* Constants of translated vector code: they are in code memory, in reach of every block. */
#include "engine/jit/a64/vector.h"

#include "engine/interp/simd_lanes.h"

static const union cpu_vreg constants[JIT_CONSTANTS] = {
    [JIT_ABS_S] = {.d = {0x7fffffff7fffffff, 0x7fffffff7fffffff}},
    [JIT_ABS_D] = {.d = {0x7fffffffffffffff, 0x7fffffffffffffff}},
    [JIT_SIGN_S] = {.d = {0x8000000080000000, 0x8000000080000000}},
    [JIT_SIGN_D] = {.d = {0x8000000000000000, 0x8000000000000000}},
    [JIT_ABS_S1] = {.d = {0x7fffffff, 0}},
    [JIT_ABS_D1] = {.d = {0x7fffffffffffffff, 0}},
    [JIT_SIGN_S1] = {.d = {0x80000000, 0}},
    [JIT_SIGN_D1] = {.d = {0x8000000000000000, 0}},
    [JIT_LEAST_S] = {.d = {0x0100000001000000, 0x0100000001000000}},
    [JIT_LEAST_D] = {.d = {0x0020000000000000, 0x0020000000000000}},
};

struct x64_rm jit_constant(struct jit_translator *t, enum jit_constant which)
{
    return x64_at(&t->code, t->jit->constants + sizeof(constants[0]) * which);
}

void jit_constants_emit(struct jit *jit, struct x64_code *c)
{
    x64_align(c, sizeof(constants[0]));
    jit->constants = x64_here(c);
    x64_bytes(c, constants, sizeof(constants));
}
