/* SPDX-License-Identifier: MIT */
/* What the files of the GIC share. Everything here is under gic->lock. */
#ifndef PV_MACHINE_GICV3_IMPL_H
#define PV_MACHINE_GICV3_IMPL_H

#include "engine/engine.h"
#include "machine/gicv3.h"
#include "machine/map.h"

#include <pthread.h>

#define GIC_PRIVATE   32u
#define GIC_WORDS     ((PV_GIC_SPIS + GIC_PRIVATE) / 32) /* word 0 of the distributor is unused */
#define GIC_IDLE      0xffu /* below every priority that can be signalled */
#define GIC_PRIO_BITS 5u    /* implemented bits: 32 levels, as QEMU's board */
#define GIC_PRIO_MASK 0xf8u

#define GIC_IIDR  0x43bu /* Arm, as QEMU says */
#define GIC_PIDR2 0x3bu  /* GICv3 */

/* GICD_CTLR, with one security state (12.9.4). */
#define GICD_CTLR_GRP0 (1u << 0)
#define GICD_CTLR_GRP1 (1u << 1)
#define GICD_CTLR_ARE  (1u << 4)
#define GICD_CTLR_DS   (1u << 6)

/* 32 interrupts: a redistributor's, or a word of the distributor's. */
struct gic_bank {
    uint32_t group; /* 1: group 1 */
    uint32_t enabled;
    uint32_t latch; /* pending by an edge or by software */
    uint32_t level; /* the input wire */
    uint32_t edge;  /* 1: edge-triggered */
    uint32_t active;
    uint8_t priority[32];
};

/* The best interrupt among some, for one vCPU. */
struct gic_best {
    uint32_t intid;   /* PV_GIC_SPURIOUS: none */
    uint8_t priority; /* GIC_IDLE when none */
    bool group1;
};

/* A redistributor's LPIs; gicv3_lpi.c. `pending` is NULL while the GIC has none. */
struct gic_lpis {
    bool enabled; /* GICR_CTLR.EnableLPIs */
    uint64_t propbaser, pendbaser;
    uint64_t *pending;                     /* a bit an LPI */
    uint64_t occupied[PV_LPIS / 4096 + 1]; /* a bit for each word of `pending` that is not 0 */
    struct gic_best best;                  /* of those pending and enabled */
};

struct gic_cpu {
    uint64_t mpidr;
    struct gic_bank bank; /* SGIs and PPIs */
    bool asleep;          /* GICR_WAKER.ProcessorSleep: nothing is forwarded */
    uint32_t ctlr;
    struct gic_lpis lpi;

    /* The CPU interface. */
    uint8_t pmr;
    uint8_t bpr[2];
    bool group_enable[2];
    bool eoi_mode;
    bool cbpr;
    uint32_t apr[2]; /* active priorities of each group, a bit a level */

    struct gic_best best; /* what IAR would consider, mask and enables of the interface aside */
    bool irq, fiq, wake;
};

struct pv_gic {
    struct pv_gic_config config;
    pthread_mutex_t lock;
    uint32_t ctlr;
    struct gic_bank spi[GIC_WORDS]; /* [0] is unused */
    uint64_t router[PV_GIC_SPIS];
    /*
     * vCPU a pending SPI is offered to: the index by IROUTER, or for 1 of N the one chosen. -1 when
     * the affinity names no vCPU.
     */
    int16_t target[PV_GIC_SPIS];
    /* What the redistributors know of the configuration table, a byte an LPI; NULL without LPIs. */
    uint8_t *lpi_config;
    struct gic_cpu cpu[PV_MAX_VCPUS];
};

static inline uint32_t gic_pending(const struct gic_bank *bank)
{
    return bank->latch | (bank->level & ~bank->edge);
}

static inline struct gic_bank *gic_bank_of(struct pv_gic *gic, unsigned vcpu, uint32_t intid)
{
    return intid < GIC_PRIVATE ? &gic->cpu[vcpu].bank : &gic->spi[intid / 32];
}

/* Recomputes the best interrupt and the lines of one vCPU, or of all. */
void gic_update(struct pv_gic *gic, unsigned vcpu);
void gic_update_all(struct pv_gic *gic);

/* After a change to an SPI's state: updates the vCPU it is routed to. */
void gic_update_spi(struct pv_gic *gic, uint32_t intid);

/* Chooses target[] of one SPI anew; the caller updates. */
void gic_route(struct pv_gic *gic, uint32_t intid);

/* Some vCPU began or ceased to take 1-of-N interrupts: chooses anew where it matters. */
void gic_participants_changed(struct pv_gic *gic, unsigned vcpu);

void gic_cpu_reset(struct gic_cpu *cpu);

/* gicv3_lpi.c */
int gic_lpi_init(struct pv_gic *gic, struct pv_error **err);
void gic_lpi_finish(struct pv_gic *gic);
void gic_lpi_reset(struct pv_gic *gic);
/* The LPIs' part of pv_gic_record(); gic->lock held, the caller updates. */
void gic_lpi_record(struct pv_gic *gic, struct pv_record *record);
/* An LPI was acknowledged; gic->lock held, the caller updates. */
void gic_lpi_taken(struct pv_gic *gic, unsigned vcpu, uint32_t intid);
/* GICR_CTLR.EnableLPIs was written. Reads guest memory: without gic->lock. */
void gic_lpi_enable(struct pv_gic *gic, unsigned vcpu, bool enable);

/* Drives the lines by the best interrupt and the state of the interface. */
void gic_cpu_drive(struct pv_gic *gic, unsigned vcpu);

#endif
