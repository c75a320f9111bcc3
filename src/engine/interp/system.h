/* SPDX-License-Identifier: MIT */
/* What cache_ops.c does for the handlers of the class `system`. */
#ifndef PV_ENGINE_INTERP_SYSTEM_H
#define PV_ENGINE_INTERP_SYSTEM_H

#include "engine/interp/cpu.h"

/* Cache maintenance, address translation and TLB maintenance: SYS with CRn 7 and 8. */
void system_instruction(struct cpu *c, uint32_t encoding, unsigned rt);

#endif
