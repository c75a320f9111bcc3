/* SPDX-License-Identifier: MIT */
/*
 * The GIC's core: interrupt state and who gets which interrupt.
 *
 * An interrupt is a bit in each word of a gic_bank: redistributors own the bank of their 16 SGIs
 * and 16 PPIs, the distributor owns the SPIs' banks. "Pending" is not stored but follows from two
 * bits: `latch`, set by edges and by software, cleared by acknowledging; and `level`, the input
 * wire, which counts while the interrupt is configured as level-sensitive. So a level interrupt
 * that is still asserted when it is deactivated is pending again with nobody doing anything.
 *
 * Each vCPU keeps `best`: of the interrupts that are pending, enabled, not active, of an enabled
 * group and meant for this vCPU, the one of highest priority (lowest number; ties go to the lower
 * INTID). Whatever changes any of that calls gic_update(), which looks for it again: with 288
 * interrupts this is nine words, most of them zero, and cheaper than keeping sorted lists in step.
 * gicv3_cpu.c decides whether `best` may interrupt what runs (priority mask, preemption) and
 * drives the vCPU's IRQ and FIQ.
 *
 * An SPI is offered to exactly one vCPU, target[]: the one its IROUTER names, or for 1-of-N routing
 * the first that takes part. The choice changes when participants come and go, not per interrupt.
 *
 * LPIs have no active state, no level and no group of their own; gicv3_lpi.c keeps which are
 * pending and, for each vCPU, the best of them, which gic_update() only compares.
 *
 * One mutex guards everything. set_line runs under it: the engine's side only sets a flag and
 * wakes a thread.
 */
#include "machine/gicv3_impl.h"

#include "base/error.h"
#include "base/record.h"
#include "base/util.h"
#include "memory/address_space.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define IROUTER_IRM      (UINT64_C(1) << 31)
#define IROUTER_AFFINITY UINT64_C(0xff00ffffff)

#define GICR_CTLR_DPG0   (1u << 24)
#define GICR_CTLR_DPG1NS (1u << 25)

static bool takes_1ofn(const struct gic_cpu *cpu, bool group1)
{
    if (cpu->asleep || !cpu->group_enable[group1])
        return false;
    return !(cpu->ctlr & (group1 ? GICR_CTLR_DPG1NS : GICR_CTLR_DPG0));
}

void gic_route(struct pv_gic *gic, uint32_t intid)
{
    uint64_t router = gic->router[intid - PV_INTID_SPI];
    bool group1 = gic->spi[intid / 32].group >> (intid % 32) & 1;
    int16_t target = -1;

    for (unsigned i = 0; i < gic->config.vcpus && target < 0; i++) {
        const struct gic_cpu *cpu = &gic->cpu[i];
        if (router & IROUTER_IRM ? takes_1ofn(cpu, group1)
                                 : (router & IROUTER_AFFINITY) == (cpu->mpidr & IROUTER_AFFINITY))
            target = (int16_t)i;
    }
    gic->target[intid - PV_INTID_SPI] = target;
}

void gic_participants_changed(struct pv_gic *gic, unsigned vcpu)
{
    bool moved = false;

    for (uint32_t intid = PV_INTID_SPI; intid < PV_INTID_END; intid++) {
        if (gic->router[intid - PV_INTID_SPI] & IROUTER_IRM) {
            gic_route(gic, intid);
            moved = true;
        }
    }
    if (moved)
        gic_update_all(gic);
    else
        gic_update(gic, vcpu);
}

static void consider(struct gic_best *best, const struct gic_bank *bank, uint32_t base,
                     uint32_t candidates)
{
    while (candidates) {
        unsigned bit = (unsigned)__builtin_ctz(candidates);
        candidates &= candidates - 1;
        if (bank->priority[bit] < best->priority) {
            best->priority = bank->priority[bit];
            best->intid = base + bit;
            best->group1 = bank->group >> bit & 1;
        }
    }
}

/* The interrupts of a bank that `cpu` could be given, routing aside. */
static uint32_t deliverable(const struct pv_gic *gic, const bool group_enable[2],
                            const struct gic_bank *bank)
{
    uint32_t mask = gic_pending(bank) & bank->enabled & ~bank->active;

    if (!(gic->ctlr & GICD_CTLR_GRP0) || !group_enable[0])
        mask &= bank->group;
    if (!(gic->ctlr & GICD_CTLR_GRP1) || !group_enable[1])
        mask &= ~bank->group;
    return mask;
}

static struct gic_best find_best(const struct pv_gic *gic, unsigned vcpu,
                                 const bool group_enable[2])
{
    const struct gic_cpu *cpu = &gic->cpu[vcpu];
    struct gic_best best = {.intid = PV_GIC_SPURIOUS, .priority = GIC_IDLE};

    consider(&best, &cpu->bank, 0, deliverable(gic, group_enable, &cpu->bank));
    for (unsigned word = 1; word < GIC_WORDS; word++) {
        const struct gic_bank *bank = &gic->spi[word];
        uint32_t mine = 0;
        for (uint32_t rest = deliverable(gic, group_enable, bank); rest; rest &= rest - 1) {
            unsigned bit = (unsigned)__builtin_ctz(rest);
            if (gic->target[(word - 1) * 32 + bit] == (int)vcpu)
                mine |= 1u << bit;
        }
        consider(&best, bank, word * 32, mine);
    }
    if (cpu->lpi.enabled && (gic->ctlr & GICD_CTLR_GRP1) && group_enable[1] &&
        cpu->lpi.best.priority < best.priority)
        best = cpu->lpi.best;
    return best;
}

void gic_update(struct pv_gic *gic, unsigned vcpu)
{
    static const bool both[2] = {true, true};
    struct gic_cpu *cpu = &gic->cpu[vcpu];
    struct gic_best best = find_best(gic, vcpu, cpu->asleep ? both : cpu->group_enable);
    bool wake = cpu->asleep && best.intid != PV_GIC_SPURIOUS;

    /* Asleep, it forwards nothing, and the CPU interface is as if off; it asks for power instead.
     */
    cpu->best =
        cpu->asleep ? (struct gic_best){.intid = PV_GIC_SPURIOUS, .priority = GIC_IDLE} : best;
    gic_cpu_drive(gic, vcpu);
    if (wake != cpu->wake && gic->config.set_wake)
        gic->config.set_wake(gic->config.opaque, vcpu, wake);
    cpu->wake = wake;
}

void gic_update_all(struct pv_gic *gic)
{
    for (unsigned i = 0; i < gic->config.vcpus; i++)
        gic_update(gic, i);
}

void gic_update_spi(struct pv_gic *gic, uint32_t intid)
{
    int target = gic->target[intid - PV_INTID_SPI];
    if (target >= 0)
        gic_update(gic, (unsigned)target);
}

/* ---- Input wires ---- */

static void set_wire(struct gic_bank *bank, unsigned bit, bool level)
{
    uint32_t mask = 1u << bit;

    if (level && !(bank->level & mask) && (bank->edge & mask))
        bank->latch |= mask;
    bank->level = level ? bank->level | mask : bank->level & ~mask;
}

void pv_gic_set_spi(struct pv_gic *gic, unsigned intid, bool level)
{
    if (intid < PV_INTID_SPI || intid >= PV_INTID_END)
        return;
    pthread_mutex_lock(&gic->lock);
    set_wire(&gic->spi[intid / 32], intid % 32, level);
    gic_update_spi(gic, intid);
    pthread_mutex_unlock(&gic->lock);
}

void pv_gic_set_ppi(struct pv_gic *gic, unsigned vcpu, unsigned intid, bool level)
{
    pthread_mutex_lock(&gic->lock);
    set_wire(&gic->cpu[vcpu].bank, intid, level);
    gic_update(gic, vcpu);
    pthread_mutex_unlock(&gic->lock);
}

bool pv_gic_spi_level(struct pv_gic *gic, unsigned intid)
{
    pthread_mutex_lock(&gic->lock);
    const bool level = gic->spi[intid / 32].level >> intid % 32 & 1;
    pthread_mutex_unlock(&gic->lock);
    return level;
}

void pv_gic_pulse_spi(struct pv_gic *gic, unsigned intid)
{
    if (intid < PV_INTID_SPI || intid >= PV_INTID_END)
        return;
    pthread_mutex_lock(&gic->lock);
    gic->spi[intid / 32].latch |= 1u << (intid % 32);
    gic_update_spi(gic, intid);
    pthread_mutex_unlock(&gic->lock);
}

static void spi_wire(void *opaque, unsigned line, bool level)
{
    pv_gic_set_spi(opaque, line, level);
}

struct pv_irq pv_gic_spi(struct pv_gic *gic, unsigned intid)
{
    return (struct pv_irq){.set = spi_wire, .opaque = gic, .line = intid};
}

/* ---- Snapshots ---- */

static void record_bank(struct pv_record *record, struct gic_bank *bank)
{
    uint32_t *const words[] = {&bank->group, &bank->enabled, &bank->latch,
                               &bank->level, &bank->edge,    &bank->active};

    for (unsigned i = 0; i < PV_ARRAY_SIZE(words); i++)
        pv_record_u32(record, words[i]);
    pv_record_bytes(record, bank->priority, sizeof(bank->priority));
}

static void record_cpu(struct pv_record *record, struct gic_cpu *cpu)
{
    record_bank(record, &cpu->bank);
    pv_record_bool(record, &cpu->asleep);
    pv_record_u32(record, &cpu->ctlr);
    pv_record_u8(record, &cpu->pmr);
    for (unsigned i = 0; i < 2; i++) {
        pv_record_u8(record, &cpu->bpr[i]);
        if (cpu->bpr[i] > 7)
            pv_record_fail(record, EINVAL, "a binary point of %u", cpu->bpr[i]);
        pv_record_bool(record, &cpu->group_enable[i]);
        pv_record_u32(record, &cpu->apr[i]);
    }
    pv_record_bool(record, &cpu->eoi_mode);
    pv_record_bool(record, &cpu->cbpr);
}

void pv_gic_record(struct pv_gic *gic, struct pv_record *record)
{
    pthread_mutex_lock(&gic->lock);
    pv_record_begin(record, 1, "gic");
    pv_record_same(record, gic->config.vcpus, "the number of CPUs");
    pv_record_same(record, gic->lpi_config != NULL, "whether there are LPIs");
    pv_record_u32(record, &gic->ctlr);
    for (unsigned word = 1; word < GIC_WORDS; word++)
        record_bank(record, &gic->spi[word]);
    for (unsigned i = 0; i < PV_GIC_SPIS; i++)
        pv_record_u64(record, &gic->router[i]);
    for (unsigned i = 0; i < gic->config.vcpus; i++)
        record_cpu(record, &gic->cpu[i]);
    if (gic->lpi_config)
        gic_lpi_record(gic, record);
    pv_record_end(record);
    if (pv_record_loading(record) && pv_record_ok(record)) {
        for (uint32_t intid = PV_INTID_SPI; intid < PV_INTID_END; intid++)
            gic_route(gic, intid);
        gic_update_all(gic);
    }
    pthread_mutex_unlock(&gic->lock);
}

/* ---- Life ---- */

static void reset_bank(struct gic_bank *bank)
{
    *bank = (struct gic_bank){.level = bank->level};
}

static void reset_locked(struct pv_gic *gic)
{
    gic->ctlr = 0;
    for (unsigned word = 1; word < GIC_WORDS; word++)
        reset_bank(&gic->spi[word]);
    for (unsigned i = 0; i < gic->config.vcpus; i++) {
        struct gic_cpu *cpu = &gic->cpu[i];
        reset_bank(&cpu->bank);
        cpu->bank.edge = 0xffff; /* SGIs always are */
        cpu->asleep = false;     /* awake, as firmware at EL3 hands it over: EDK2 counts on that */
        cpu->ctlr = 0;
        gic_cpu_reset(cpu);
    }
    gic_lpi_reset(gic);
    memset(gic->router, 0, sizeof(gic->router));
    for (uint32_t intid = PV_INTID_SPI; intid < PV_INTID_END; intid++)
        gic_route(gic, intid);
    gic_update_all(gic);
}

void pv_gic_reset(struct pv_gic *gic)
{
    pthread_mutex_lock(&gic->lock);
    reset_locked(gic);
    pthread_mutex_unlock(&gic->lock);
}

void pv_gic_reset_cpu_interface(struct pv_gic *gic, unsigned vcpu)
{
    pthread_mutex_lock(&gic->lock);
    gic_cpu_reset(&gic->cpu[vcpu]);
    gic_participants_changed(gic, vcpu);
    pthread_mutex_unlock(&gic->lock);
}

int pv_gic_create(struct pv_gic **out, const struct pv_gic_config *config, struct pv_error **err)
{
    static const struct pv_mmio_ops dist_ops = {pv_gic_dist_read, pv_gic_dist_write};
    static const struct pv_mmio_ops redist_ops = {pv_gic_redist_read, pv_gic_redist_write};
    struct pv_gic *gic = calloc(1, sizeof(*gic));
    int ret = 0;

    if (!gic)
        return pv_error_set(err, ENOMEM, "out of memory for the interrupt controller");
    gic->config = *config;
    for (unsigned i = 0; i < config->vcpus; i++)
        gic->cpu[i].mpidr = config->mpidr[i];
    gic->config.mpidr = NULL;
    pthread_mutex_init(&gic->lock, NULL);
    if (config->lpis)
        ret = gic_lpi_init(gic, err);
    if (ret < 0) {
        gic->config.as = NULL;
        pv_gic_destroy(gic);
        return ret;
    }
    reset_locked(gic);
    if (config->as) {
        ret =
            pv_as_add_mmio(config->as, PV_MAP_GICD, PV_MAP_GICD_SIZE, &dist_ops, gic, "gicd", err);
        if (ret < 0) {
            gic->config.as = NULL;
            pv_gic_destroy(gic);
            return ret;
        }
        ret = pv_as_add_mmio(config->as, PV_MAP_GICR, config->vcpus * PV_MAP_GICR_STRIDE,
                             &redist_ops, gic, "gicr", err);
        if (ret < 0) {
            pv_gic_destroy(gic);
            return ret;
        }
    }
    *out = gic;
    return 0;
}

void pv_gic_destroy(struct pv_gic *gic)
{
    if (!gic)
        return;
    if (gic->config.as) {
        pv_as_remove(gic->config.as, PV_MAP_GICR);
        pv_as_remove(gic->config.as, PV_MAP_GICD);
    }
    gic_lpi_finish(gic);
    pthread_mutex_destroy(&gic->lock);
    free(gic);
}
