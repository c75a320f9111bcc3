/* SPDX-License-Identifier: MIT */
/* A vCPU's state as a whole. */
#include "base/record.h"
#include "base/util.h"
#include "engine/engine_impl.h"
#include "engine/identity.h"

#include <errno.h>

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

static void record_general(struct pv_vcpu *vcpu, struct pv_record *record)
{
    struct pv_vcpu_state state = {0};

    if (!pv_record_loading(record) && pv_vcpu_get_state(vcpu, &state) < 0)
        pv_record_fail(record, EIO, "its registers cannot be read");
    for (unsigned i = 0; i < PV_ARRAY_SIZE(state.x); i++)
        pv_record_u64(record, &state.x[i]);
    pv_record_u64(record, &state.sp_el0);
    pv_record_u64(record, &state.sp_el1);
    pv_record_u64(record, &state.pc);
    pv_record_u64(record, &state.pstate);
    for (unsigned i = 0; i < PV_ARRAY_SIZE(state.v); i++) {
        pv_record_u64(record, &state.v[i][0]);
        pv_record_u64(record, &state.v[i][1]);
    }
    pv_record_u32(record, &state.fpcr);
    pv_record_u32(record, &state.fpsr);
    if (pv_record_loading(record) && pv_record_ok(record) && pv_vcpu_set_state(vcpu, &state) < 0)
        pv_record_fail(record, EINVAL, "the engine does not take its registers");
}

/* The timers (CNTP_*, CNTV_*) are in the machine's record, whether they are the engine's or not. */
static bool is_saved(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t *value)
{
    if (sysreg >= PV_SYSREG(3, 3, 14, 2, 0))
        return false;
    if (sysreg >= PV_SYSREG(3, 0, 2, 1, 0) && sysreg <= PV_SYSREG(3, 0, 2, 3, 1) &&
        !pv_vcpu_knows_pauth(vcpu))
        return false;
    return pv_vcpu_get_sysreg(vcpu, sysreg, value) == 0;
}

/* By encoding and value, so that an engine that knows more of them loads older records. */
static void save_sysregs(struct pv_vcpu *vcpu, struct pv_record *record)
{
    uint32_t count = 0;
    uint64_t value;

    for (size_t i = 0; i < PV_ARRAY_SIZE(state_sysregs); i++)
        count += is_saved(vcpu, state_sysregs[i], &value);
    pv_record_u32(record, &count);
    for (size_t i = 0; i < PV_ARRAY_SIZE(state_sysregs); i++) {
        uint32_t sysreg = state_sysregs[i];
        if (!is_saved(vcpu, sysreg, &value))
            continue;
        pv_record_u32(record, &sysreg);
        pv_record_u64(record, &value);
    }
}

static void load_sysregs(struct pv_vcpu *vcpu, struct pv_record *record)
{
    uint32_t count = 0;

    pv_record_limited(record, &count, PV_ARRAY_SIZE(state_sysregs));
    for (uint32_t i = 0; i < count && pv_record_ok(record); i++) {
        uint32_t sysreg = 0;
        uint64_t value = 0;
        bool known = false;
        pv_record_u32(record, &sysreg);
        pv_record_u64(record, &value);
        for (size_t j = 0; j < PV_ARRAY_SIZE(state_sysregs); j++)
            known |= state_sysregs[j] == sysreg;
        /* One that is zero is one that the guest does not use: of a breakpoint too many, say. */
        if (pv_record_ok(record) &&
            (!known || (pv_vcpu_set_sysreg(vcpu, sysreg, value) < 0 && value)))
            pv_record_fail(record, ENOTSUP, "engine %s has no register %#x",
                           vcpu->engine->ops->name, sysreg);
    }
}

void pv_vcpu_record(struct pv_vcpu *vcpu, struct pv_record *record)
{
    pv_record_begin(record, 2, "vcpu %u", vcpu->index);
    pv_vcpu_record_identity(vcpu, record);
    pv_vcpu_record_power(vcpu, record);
    record_general(vcpu, record);
    if (pv_record_loading(record))
        load_sysregs(vcpu, record);
    else
        save_sysregs(vcpu, record);
    pv_record_end(record);
}
