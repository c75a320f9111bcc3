/* SPDX-License-Identifier: MIT */
/*
 * The interrupt controller: GICv3 (IHI 0069) with a distributor, a redistributor and a CPU
 * interface for each vCPU, one security state (GICD_CTLR.DS = 1), affinity routing always on, LPIs
 * where the config says so. Group 1 is delivered as IRQ, group 0 as FIQ.
 */
#ifndef PV_MACHINE_GICV3_H
#define PV_MACHINE_GICV3_H

#include "base/irq.h"

#include <stdbool.h>
#include <stdint.h>

struct pv_address_space;
struct pv_engine;
struct pv_error;
struct pv_gic;
struct pv_record;

#define PV_GIC_SPURIOUS 1023u

struct pv_gic_config {
    struct pv_address_space *as; /* NULL: no MMIO regions (tests) */
    unsigned vcpus;
    const uint64_t *mpidr; /* copied */
    bool lpis;             /* needs an address space: their tables are in guest memory */
    /*
     * Drives a vCPU's interrupt inputs. Called with the GIC's lock held, and only when a level
     * changes; must not call back.
     */
    void (*set_line)(void *opaque, unsigned vcpu, bool fiq, bool level);
    /*
     * WakeRequest (IHI 0069, 11.1): while a redistributor sleeps (GICR_WAKER), whether it has an
     * interrupt for its vCPU. As set_line; may be NULL.
     */
    void (*set_wake)(void *opaque, unsigned vcpu, bool level);
    void *opaque;
};

int pv_gic_create(struct pv_gic **out, const struct pv_gic_config *config, struct pv_error **err);
/* Removes its regions. NULL is fine. */
void pv_gic_destroy(struct pv_gic *gic);

/* Everything back to reset values; the levels of input wires stay. */
void pv_gic_reset(struct pv_gic *gic);
/* Redistributor and CPU interface of one vCPU, when it is switched on. */
void pv_gic_reset_cpu_interface(struct pv_gic *gic, unsigned vcpu);

/* All of it, the levels of wires too. While no vCPU executes. */
void pv_gic_record(struct pv_gic *gic, struct pv_record *record);

/*
 * Everything but the levels of wires and LPIs, from or to an engine's GIC; while no vCPU executes.
 * Negative errno: ENOTSUP when that one has another number of priorities.
 */
int pv_gic_take(struct pv_gic *gic, struct pv_engine *engine);
int pv_gic_give(struct pv_gic *gic, struct pv_engine *engine);

/* Input wires. Any thread. */
struct pv_irq pv_gic_spi(struct pv_gic *gic, unsigned intid);
void pv_gic_set_spi(struct pv_gic *gic, unsigned intid, bool level);
void pv_gic_set_ppi(struct pv_gic *gic, unsigned vcpu, unsigned intid, bool level);
bool pv_gic_spi_level(struct pv_gic *gic, unsigned intid);

/* One edge on an SPI, as a message makes it: whatever the configured trigger, it becomes pending.
 */
void pv_gic_pulse_spi(struct pv_gic *gic, unsigned intid);

/*
 * LPIs, as an ITS drives them: INTIDs PV_INTID_LPI to PV_INTID_LPI_END - 1 on existing vCPUs. An
 * LPI that a redistributor has not enabled is dropped. Invalidating reads the configuration of one
 * LPI or of all again from the table that `vcpu` has.
 */
void pv_gic_lpi_set(struct pv_gic *gic, unsigned vcpu, uint32_t intid, bool pending);
void pv_gic_lpi_move(struct pv_gic *gic, unsigned from, unsigned to, uint32_t intid);
void pv_gic_lpi_move_all(struct pv_gic *gic, unsigned from, unsigned to);
void pv_gic_lpi_invalidate(struct pv_gic *gic, unsigned vcpu, uint32_t intid);
void pv_gic_lpi_invalidate_all(struct pv_gic *gic, unsigned vcpu);

/* ICC_* registers by their encoding (PV_SYSREG); false when it is not one. */
bool pv_gic_sysreg_read(struct pv_gic *gic, unsigned vcpu, uint32_t sysreg, uint64_t *value);
bool pv_gic_sysreg_write(struct pv_gic *gic, unsigned vcpu, uint32_t sysreg, uint64_t value);

/* Registers as the MMIO regions reach them: what tests and the fuzzer use. */
uint64_t pv_gic_dist_read(void *gic, uint64_t offset, unsigned size);
void pv_gic_dist_write(void *gic, uint64_t offset, unsigned size, uint64_t value);
uint64_t pv_gic_redist_read(void *gic, uint64_t offset, unsigned size);
void pv_gic_redist_write(void *gic, uint64_t offset, unsigned size, uint64_t value);

#endif
