/* SPDX-License-Identifier: MIT */
#include "engine/engine.h"

#include "base/util.h"

/* A debug register and its 15 brothers. */
#define SIXTEEN(op2)                                                                               \
    PV_SYSREG(2, 0, 0, 0, op2), PV_SYSREG(2, 0, 0, 1, op2), PV_SYSREG(2, 0, 0, 2, op2),            \
        PV_SYSREG(2, 0, 0, 3, op2), PV_SYSREG(2, 0, 0, 4, op2), PV_SYSREG(2, 0, 0, 5, op2),        \
        PV_SYSREG(2, 0, 0, 6, op2), PV_SYSREG(2, 0, 0, 7, op2), PV_SYSREG(2, 0, 0, 8, op2),        \
        PV_SYSREG(2, 0, 0, 9, op2), PV_SYSREG(2, 0, 0, 10, op2), PV_SYSREG(2, 0, 0, 11, op2),      \
        PV_SYSREG(2, 0, 0, 12, op2), PV_SYSREG(2, 0, 0, 13, op2), PV_SYSREG(2, 0, 0, 14, op2),     \
        PV_SYSREG(2, 0, 0, 15, op2)

/* Arm ARM D23.2 to D23.8: what EL0 and EL1 can write and read back; timers after their compares. */
static const uint32_t state_sysregs[] = {
    PV_SYSREG(3, 0, 1, 0, 0),  /* SCTLR_EL1 */
    PV_SYSREG(3, 0, 1, 0, 2),  /* CPACR_EL1 */
    PV_SYSREG(3, 0, 2, 0, 0),  /* TTBR0_EL1 */
    PV_SYSREG(3, 0, 2, 0, 1),  /* TTBR1_EL1 */
    PV_SYSREG(3, 0, 2, 0, 2),  /* TCR_EL1 */
    PV_SYSREG(3, 0, 2, 1, 0),  /* APIAKeyLo_EL1 */
    PV_SYSREG(3, 0, 2, 1, 1),  /* APIAKeyHi_EL1 */
    PV_SYSREG(3, 0, 2, 1, 2),  /* APIBKeyLo_EL1 */
    PV_SYSREG(3, 0, 2, 1, 3),  /* APIBKeyHi_EL1 */
    PV_SYSREG(3, 0, 2, 2, 0),  /* APDAKeyLo_EL1 */
    PV_SYSREG(3, 0, 2, 2, 1),  /* APDAKeyHi_EL1 */
    PV_SYSREG(3, 0, 2, 2, 2),  /* APDBKeyLo_EL1 */
    PV_SYSREG(3, 0, 2, 2, 3),  /* APDBKeyHi_EL1 */
    PV_SYSREG(3, 0, 2, 3, 0),  /* APGAKeyLo_EL1 */
    PV_SYSREG(3, 0, 2, 3, 1),  /* APGAKeyHi_EL1 */
    PV_SYSREG(3, 0, 4, 0, 0),  /* SPSR_EL1 */
    PV_SYSREG(3, 0, 4, 0, 1),  /* ELR_EL1 */
    PV_SYSREG(3, 0, 5, 1, 0),  /* AFSR0_EL1 */
    PV_SYSREG(3, 0, 5, 1, 1),  /* AFSR1_EL1 */
    PV_SYSREG(3, 0, 5, 2, 0),  /* ESR_EL1 */
    PV_SYSREG(3, 0, 6, 0, 0),  /* FAR_EL1 */
    PV_SYSREG(3, 0, 7, 4, 0),  /* PAR_EL1 */
    PV_SYSREG(3, 0, 10, 2, 0), /* MAIR_EL1 */
    PV_SYSREG(3, 0, 10, 3, 0), /* AMAIR_EL1 */
    PV_SYSREG(3, 0, 12, 0, 0), /* VBAR_EL1 */
    PV_SYSREG(3, 0, 13, 0, 1), /* CONTEXTIDR_EL1 */
    PV_SYSREG(3, 0, 13, 0, 4), /* TPIDR_EL1 */
    PV_SYSREG(3, 2, 0, 0, 0),  /* CSSELR_EL1 */
    PV_SYSREG(3, 3, 13, 0, 2), /* TPIDR_EL0 */
    PV_SYSREG(3, 3, 13, 0, 3), /* TPIDRRO_EL0 */
    PV_SYSREG(2, 0, 0, 2, 2),  /* MDSCR_EL1 */
    SIXTEEN(4),                /* DBGBVRn_EL1 */
    SIXTEEN(5),                /* DBGBCRn_EL1 */
    SIXTEEN(6),                /* DBGWVRn_EL1 */
    SIXTEEN(7),                /* DBGWCRn_EL1 */
    PV_SYSREG(3, 0, 14, 1, 0), /* CNTKCTL_EL1 */
    PV_SYSREG(3, 3, 14, 2, 2), /* CNTP_CVAL_EL0 */
    PV_SYSREG(3, 3, 14, 2, 1), /* CNTP_CTL_EL0 */
    PV_SYSREG(3, 3, 14, 3, 2), /* CNTV_CVAL_EL0 */
    PV_SYSREG(3, 3, 14, 3, 1), /* CNTV_CTL_EL0 */
};

const uint32_t *pv_engine_state_sysregs(size_t *count)
{
    *count = PV_ARRAY_SIZE(state_sysregs);
    return state_sysregs;
}
