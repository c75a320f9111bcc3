/* SPDX-License-Identifier: MIT */
#include "engine/interp/handlers.h"

static void undefined(struct cpu *c, const struct a64_insn *insn)
{
    cpu_undefined(c);
}

interp_handler *const interp_handlers[] = {[A64_UNDEFINED] = undefined,
#define X(name, class) [A64_##name] = interp_##name,
                                           A64_OPS(X)
#undef X
};
