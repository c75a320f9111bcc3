/* SPDX-License-Identifier: MIT */
/*
 * The board's interrupt controller, whoever has it: our GIC with its ITS or v2m frame, or the
 * engine's. Devices get wires and a target for messages and cannot tell.
 */
#ifndef PV_MACHINE_INTERRUPTS_H
#define PV_MACHINE_INTERRUPTS_H

#include "base/irq.h"

#include <stdbool.h>
#include <stdint.h>

struct pv_address_space;
struct pv_engine;
struct pv_engine_gic_config;
struct pv_error;
struct pv_interrupts;
struct pv_record;

struct pv_interrupts_config {
    struct pv_address_space *as;
    unsigned vcpus;
    const uint64_t *mpidr; /* `vcpus` of them */
    bool its;              /* or a v2m frame */
    bool engine_gic;       /* the engine has the GIC (and the ITS) */
};

int pv_interrupts_create(struct pv_interrupts **out, const struct pv_interrupts_config *config,
                         struct pv_error **err);
/* Removes its regions. NULL is fine. */
void pv_interrupts_destroy(struct pv_interrupts *interrupts);

/* What to create the engine with; NULL when the GIC is ours. */
const struct pv_engine_gic_config *pv_interrupts_engine(const struct pv_interrupts *interrupts);

/* The engine, once it has started; NULL before it goes. Wires may move at any time. */
void pv_interrupts_attach(struct pv_interrupts *interrupts, struct pv_engine *engine);

/* Everything back to reset values; the levels of wires stay. While the engine is paused. */
int pv_interrupts_reset(struct pv_interrupts *interrupts, struct pv_error **err);
/* What belongs to one vCPU, when it goes off. */
void pv_interrupts_reset_vcpu(struct pv_interrupts *interrupts, unsigned vcpu);

/* All of it; refused where the engine has it. After everything that drives it. */
void pv_interrupts_record(struct pv_interrupts *interrupts, struct pv_record *record);

/* Where devices are connected. */
struct pv_irq pv_interrupts_spi(struct pv_interrupts *interrupts, unsigned intid);
struct pv_msi_target pv_interrupts_msi(struct pv_interrupts *interrupts);

/* PPIs and the GIC's system registers: only while the GIC is ours. */
void pv_interrupts_set_ppi(struct pv_interrupts *interrupts, unsigned vcpu, unsigned intid,
                           bool level);
bool pv_interrupts_sysreg_read(struct pv_interrupts *interrupts, unsigned vcpu, uint32_t sysreg,
                               uint64_t *value);
bool pv_interrupts_sysreg_write(struct pv_interrupts *interrupts, unsigned vcpu, uint32_t sysreg,
                                uint64_t value);

#endif
