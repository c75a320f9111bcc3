/* SPDX-License-Identifier: MIT */
/* What the interpreted PE says it is. idregs.c has the values and why. */
#ifndef PV_ENGINE_INTERP_IDREGS_H
#define PV_ENGINE_INTERP_IDREGS_H

#include <stdbool.h>
#include <stdint.h>

#define PA_BITS           44u /* ID_AA64MMFR0_EL1.PARange */
#define BREAKPOINTS       2u  /* ID_AA64DFR0_EL1.BRPs + 1; the last is context-aware */
#define WATCHPOINTS       2u
#define DC_ZVA_SIZE       64u
#define EXCLUSIVE_GRANULE 64u /* CTR_EL0.ERG */
#define COUNTER_HZ        62500000u

/*
 * The constant registers. `sysreg` is a PV_SYSREG encoding. False when it is not one of them;
 * reserved places of the ID space read as zero (Arm ARM D17.3.1).
 */
bool idreg_read(uint32_t sysreg, uint64_t *value);

#endif
