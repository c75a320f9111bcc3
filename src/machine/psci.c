/* SPDX-License-Identifier: MIT */
#include "machine/psci.h"

#include <stdbool.h>
#include <stddef.h>

/* Function numbers; calls with 64-bit arguments also exist with bit 30 set. */
enum {
    SMCCC_VERSION = 0x80000000u,
    SMCCC_ARCH_FEATURES = 0x80000001u,
    PSCI_VERSION = 0x84000000u,
    CPU_SUSPEND = 0x84000001u,
    CPU_OFF = 0x84000002u,
    CPU_ON = 0x84000003u,
    AFFINITY_INFO = 0x84000004u,
    MIGRATE_INFO_TYPE = 0x84000006u,
    SYSTEM_OFF = 0x84000008u,
    SYSTEM_RESET = 0x84000009u,
    PSCI_FEATURES = 0x8400000au,
    SYSTEM_SUSPEND = 0x8400000eu,
    SYSTEM_RESET2 = 0x84000012u,
};

#define SMC64 0x40000000u

enum {
    SUCCESS = 0,
    NOT_SUPPORTED = -1,
    INVALID_PARAMETERS = -2,
    DENIED = -3,
    ALREADY_ON = -4,
    INVALID_ADDRESS = -9,
};

#define MPIDR_AFFINITY UINT64_C(0xff00ffffff)

static int find_vcpu(const struct pv_psci_ops *ops, void *opaque, uint64_t target)
{
    for (unsigned i = 0; i < ops->vcpu_count(opaque); i++) {
        if ((ops->mpidr(opaque, i) & MPIDR_AFFINITY) == target)
            return (int)i;
    }
    return -1;
}

static int64_t cpu_on(const struct pv_psci_ops *ops, void *opaque, const uint64_t *arg)
{
    int vcpu = find_vcpu(ops, opaque, arg[0]);

    if (vcpu < 0)
        return INVALID_PARAMETERS;
    if (!ops->entry_ok(opaque, arg[1]))
        return INVALID_ADDRESS;
    return ops->cpu_on(opaque, (unsigned)vcpu, arg[1], arg[2]) < 0 ? ALREADY_ON : SUCCESS;
}

static int64_t affinity_info(const struct pv_psci_ops *ops, void *opaque, const uint64_t *arg)
{
    int vcpu = find_vcpu(ops, opaque, arg[0]);

    /* Levels above 0 are optional since PSCI 1.0. */
    if (vcpu < 0 || arg[1] != 0)
        return INVALID_PARAMETERS;
    return ops->cpu_is_on(opaque, (unsigned)vcpu) ? 0 : 1;
}

/* Original format of power_state: bit 16 says power down, the rest of it is ours to define: none.
 */
#define STATE_POWER_DOWN (1u << 16)
#define STATE_LEVEL      (3u << 24)

static int64_t cpu_suspend(const struct pv_psci_ops *ops, void *opaque, unsigned vcpu,
                           const uint64_t *arg)
{
    if (arg[0] & ~(uint64_t)(STATE_POWER_DOWN | STATE_LEVEL))
        return INVALID_PARAMETERS;
    if (!(arg[0] & STATE_POWER_DOWN)) {
        ops->cpu_standby(opaque, vcpu);
        return SUCCESS;
    }
    if (!ops->entry_ok(opaque, arg[1]))
        return INVALID_ADDRESS;
    ops->cpu_power_down(opaque, vcpu, arg[1], arg[2]);
    return SUCCESS;
}

/* For the last vCPU that is on (5.20): memory stays, and it comes back as from CPU_SUSPEND. */
static int64_t system_suspend(const struct pv_psci_ops *ops, void *opaque, unsigned vcpu,
                              const uint64_t *arg)
{
    for (unsigned i = 0; i < ops->vcpu_count(opaque); i++) {
        if (i != vcpu && ops->cpu_is_on(opaque, i))
            return DENIED;
    }
    if (!ops->entry_ok(opaque, arg[0]))
        return INVALID_ADDRESS;
    ops->cpu_power_down(opaque, vcpu, arg[0], arg[1]);
    return SUCCESS;
}

static bool has_function(uint32_t function)
{
    switch (function) {
    case SMCCC_VERSION:
    case PSCI_VERSION:
    case CPU_SUSPEND:
    case CPU_SUSPEND | SMC64:
    case CPU_OFF:
    case CPU_ON:
    case CPU_ON | SMC64:
    case AFFINITY_INFO:
    case AFFINITY_INFO | SMC64:
    case MIGRATE_INFO_TYPE:
    case SYSTEM_OFF:
    case SYSTEM_RESET:
    case SYSTEM_SUSPEND:
    case SYSTEM_SUSPEND | SMC64:
    case SYSTEM_RESET2:
    case SYSTEM_RESET2 | SMC64:
    case PSCI_FEATURES: return true;
    default: return false;
    }
}

void pv_psci_call(const struct pv_psci_ops *ops, void *opaque, unsigned vcpu, uint64_t x[18])
{
    uint32_t function = (uint32_t)x[0];
    uint64_t arg[3];
    int64_t result = NOT_SUPPORTED;

    for (size_t i = 0; i < 3; i++)
        arg[i] = function & SMC64 ? x[i + 1] : (uint32_t)x[i + 1];
    switch (function) {
    case SMCCC_VERSION: result = 0x10001; break;
    case SMCCC_ARCH_FEATURES:
        if (arg[0] == SMCCC_VERSION || arg[0] == SMCCC_ARCH_FEATURES)
            result = SUCCESS;
        break;
    case PSCI_VERSION: result = 0x10001; break;
    case CPU_SUSPEND:
    case CPU_SUSPEND | SMC64: result = cpu_suspend(ops, opaque, vcpu, arg); break;
    case CPU_OFF:
        ops->cpu_off(opaque, vcpu);
        return; /* CPU_OFF and the SYSTEM calls do not return on success */
    case CPU_ON:
    case CPU_ON | SMC64: result = cpu_on(ops, opaque, arg); break;
    case AFFINITY_INFO:
    case AFFINITY_INFO | SMC64: result = affinity_info(ops, opaque, arg); break;
    case MIGRATE_INFO_TYPE: result = 2; break; /* no Trusted OS that would have to migrate */
    case SYSTEM_OFF: ops->system_off(opaque, vcpu); return;
    case SYSTEM_RESET: ops->system_reset(opaque, vcpu); return;
    case SYSTEM_RESET2:
    case SYSTEM_RESET2 | SMC64:
        /* SYSTEM_WARM_RESET is the architectural one; a vendor's (bit 31) is not there. */
        if (arg[0]) {
            result = INVALID_PARAMETERS;
            break;
        }
        ops->system_reset(opaque, vcpu);
        return;
    case SYSTEM_SUSPEND:
    case SYSTEM_SUSPEND | SMC64: result = system_suspend(ops, opaque, vcpu, arg); break;
    case PSCI_FEATURES: result = has_function((uint32_t)arg[0]) ? SUCCESS : NOT_SUPPORTED; break;
    default: break;
    }
    x[0] = (uint64_t)result;
}
