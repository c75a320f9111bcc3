/* SPDX-License-Identifier: MIT */
/* PSCI 1.1 (DEN 0022) and the SMC calling convention's own calls (DEN 0028). */
#ifndef PV_MACHINE_PSCI_H
#define PV_MACHINE_PSCI_H

#include <stdint.h>

/* What PSCI does to the machine. vCPUs are named by index. */
struct pv_psci_ops {
    unsigned (*vcpu_count)(void *opaque);
    uint64_t (*mpidr)(void *opaque, unsigned vcpu);
    /* 0, or -EALREADY when it is on. */
    int (*cpu_on)(void *opaque, unsigned vcpu, uint64_t entry, uint64_t context);
    int (*cpu_is_on)(void *opaque, unsigned vcpu);
    void (*cpu_off)(void *opaque, unsigned vcpu);
    int (*entry_ok)(void *opaque, uint64_t address);
    /* The two kinds of CPU_SUSPEND: until an interrupt, and then on, or at `entry`. */
    void (*cpu_standby)(void *opaque, unsigned vcpu);
    void (*cpu_power_down)(void *opaque, unsigned vcpu, uint64_t entry, uint64_t context);
    void (*system_off)(void *opaque, unsigned vcpu);
    void (*system_reset)(void *opaque, unsigned vcpu);
};

/* One call through HVC by `vcpu`: arguments and results in x. Unknown: NOT_SUPPORTED. */
void pv_psci_call(const struct pv_psci_ops *ops, void *opaque, unsigned vcpu, uint64_t x[18]);

#endif
