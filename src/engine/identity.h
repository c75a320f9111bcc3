/* SPDX-License-Identifier: MIT */
/* What a PE says it is, as far as a guest that was started on one may go on with another. */
#ifndef PV_ENGINE_IDENTITY_H
#define PV_ENGINE_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

struct pv_record;
struct pv_vcpu;

#define PV_IDENTITY_REGISTERS 13u

/* What the guest was told when it started. */
struct pv_identity {
    bool given; /* by a record; else it is the engine's */
    uint64_t value[PV_IDENTITY_REGISTERS];
};

/* Part of pv_vcpu_record(), whose section's version says how much of it is there. */
void pv_vcpu_record_identity(struct pv_vcpu *vcpu, struct pv_record *record);

/* Whether the guest knows of pointer authentication: else what its keys are is nobody's concern. */
bool pv_vcpu_knows_pauth(const struct pv_vcpu *vcpu);

#endif
