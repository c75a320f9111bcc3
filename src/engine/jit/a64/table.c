/* SPDX-License-Identifier: MIT */
/* Which operations are translated, by what. Those that are missing go to their handlers. */
#include "engine/jit/a64/a64.h"

jit_translate_fn *const jit_translators[A64_OP_COUNT] = {
#define X(name, function) [A64_##name] = function,
    JIT_TRANSLATED(X)
#undef X
};
