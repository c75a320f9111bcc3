/* SPDX-License-Identifier: MIT */
/*
 * The CPU interface: ICC_* system registers (IHI 0069, 12.2).
 *
 * Acknowledging an interrupt makes it active and raises the running priority: a bit for its group
 * priority is set in the active priorities register of its group (ICC_APxR0, a bit for each of the
 * 32 levels). Writing EOIR drops the highest of those bits and, with EOImode 0, deactivates; with
 * EOImode 1 DIR does that separately. LPIs are never active: acknowledging ends their being
 * pending, and EOIR only drops the priority. A pending interrupt interrupts when its priority is
 * higher than the mask (PMR) and its group priority higher than the running one (4.8.2).
 */
#include "machine/gicv3_impl.h"

#include "base/util.h"

#define ICC(crm, op2) PV_SYSREG(3, 0, 12, crm, op2)

enum {
    ICC_PMR = PV_SYSREG(3, 0, 4, 6, 0),
    ICC_IAR0 = ICC(8, 0),
    ICC_EOIR0 = ICC(8, 1),
    ICC_HPPIR0 = ICC(8, 2),
    ICC_BPR0 = ICC(8, 3),
    ICC_AP0R0 = ICC(8, 4),
    ICC_AP1R0 = ICC(9, 0),
    ICC_DIR = ICC(11, 1),
    ICC_RPR = ICC(11, 3),
    ICC_SGI1R = ICC(11, 5),
    ICC_ASGI1R = ICC(11, 6),
    ICC_SGI0R = ICC(11, 7),
    ICC_IAR1 = ICC(12, 0),
    ICC_EOIR1 = ICC(12, 1),
    ICC_HPPIR1 = ICC(12, 2),
    ICC_BPR1 = ICC(12, 3),
    ICC_CTLR = ICC(12, 4),
    ICC_SRE = ICC(12, 5),
    ICC_IGRPEN0 = ICC(12, 6),
    ICC_IGRPEN1 = ICC(12, 7),
};

#define CTLR_CBPR    1u
#define CTLR_EOIMODE 2u
/* RSS, A3V, 5 priority bits (PRIbits 4), 16-bit INTIDs (IDbits 0). */
#define CTLR_FIXED (1u << 18 | 1u << 15 | (GIC_PRIO_BITS - 1) << 8)

/* The lowest binary points that 5 bits of priority allow: BPR1 splits one bit lower (4.8.2). */
#define BPR0_MIN 2u
#define BPR1_MIN 3u

void gic_cpu_reset(struct gic_cpu *cpu)
{
    cpu->pmr = 0;
    cpu->bpr[0] = BPR0_MIN;
    cpu->bpr[1] = BPR1_MIN;
    cpu->group_enable[0] = false;
    cpu->group_enable[1] = false;
    cpu->eoi_mode = false;
    cpu->cbpr = false;
    cpu->apr[0] = 0;
    cpu->apr[1] = 0;
}

static uint8_t group_priority(const struct gic_cpu *cpu, uint8_t priority, bool group1)
{
    /* Subpriority bits: [BPR0:0] for group 0, [BPR1-1:0] for group 1. */
    unsigned bits = group1 && !cpu->cbpr ? cpu->bpr[1] : cpu->bpr[0] + 1u;
    return (uint8_t)(priority & (0xff00u >> (8 - bits)));
}

static uint8_t running_priority(const struct gic_cpu *cpu)
{
    uint32_t active = cpu->apr[0] | cpu->apr[1];
    return active ? (uint8_t)(__builtin_ctz(active) << (8 - GIC_PRIO_BITS)) : GIC_IDLE;
}

static bool can_signal(const struct gic_cpu *cpu)
{
    const struct gic_best *best = &cpu->best;

    return best->intid != PV_GIC_SPURIOUS && best->priority < cpu->pmr &&
           group_priority(cpu, best->priority, best->group1) < running_priority(cpu);
}

void gic_cpu_drive(struct pv_gic *gic, unsigned vcpu)
{
    struct gic_cpu *cpu = &gic->cpu[vcpu];
    bool signal = can_signal(cpu);
    bool irq = signal && cpu->best.group1;
    bool fiq = signal && !cpu->best.group1;

    if (irq != cpu->irq) {
        cpu->irq = irq;
        gic->config.set_line(gic->config.opaque, vcpu, false, irq);
    }
    if (fiq != cpu->fiq) {
        cpu->fiq = fiq;
        gic->config.set_line(gic->config.opaque, vcpu, true, fiq);
    }
}

static uint32_t acknowledge(struct pv_gic *gic, unsigned vcpu, bool group1)
{
    struct gic_cpu *cpu = &gic->cpu[vcpu];
    uint32_t intid = cpu->best.intid;

    if (!can_signal(cpu) || cpu->best.group1 != group1)
        return PV_GIC_SPURIOUS;

    uint8_t level = group_priority(cpu, cpu->best.priority, group1);
    if (intid >= PV_INTID_LPI) {
        gic_lpi_taken(gic, vcpu, intid);
    } else {
        struct gic_bank *bank = gic_bank_of(gic, vcpu, intid);
        bank->latch &= ~(1u << (intid % 32));
        bank->active |= 1u << (intid % 32);
    }
    cpu->apr[group1] |= 1u << (level >> (8 - GIC_PRIO_BITS));
    gic_update(gic, vcpu);
    return intid;
}

static void deactivate(struct pv_gic *gic, unsigned vcpu, uint32_t intid)
{
    gic_bank_of(gic, vcpu, intid)->active &= ~(1u << (intid % 32));
    if (intid >= PV_INTID_SPI)
        gic_update_spi(gic, intid);
}

static void end_of_interrupt(struct pv_gic *gic, unsigned vcpu, uint32_t intid, bool group1)
{
    struct gic_cpu *cpu = &gic->cpu[vcpu];
    uint32_t active = cpu->apr[0] | cpu->apr[1];

    bool lpi = gic->lpi_config && intid >= PV_INTID_LPI && intid < PV_INTID_LPI_END;

    if ((intid >= PV_INTID_END && !lpi) || !active)
        return;
    /* An end for the group that is not the one running is unpredictable: we do nothing. */
    if (!(cpu->apr[group1] & (active & -active)))
        return;
    cpu->apr[group1] &= cpu->apr[group1] - 1;
    if (!cpu->eoi_mode && !lpi)
        deactivate(gic, vcpu, intid);
    gic_update(gic, vcpu);
}

/* ICC_SGI0R and ICC_SGI1R: an SGI to the vCPUs of a list in one cluster, or to all others. */
static void send_sgi(struct pv_gic *gic, unsigned self, uint64_t value, bool group1)
{
    unsigned sgi = (unsigned)pv_bits(value, 24, 4);
    bool all_others = pv_bits(value, 40, 1);
    unsigned first = (unsigned)pv_bits(value, 44, 4) * 16; /* range selector */
    uint64_t cluster =
        pv_bits(value, 48, 8) << 32 | pv_bits(value, 32, 8) << 16 | pv_bits(value, 16, 8) << 8;

    for (unsigned i = 0; i < gic->config.vcpus; i++) {
        struct gic_cpu *cpu = &gic->cpu[i];
        unsigned aff0 = cpu->mpidr & 0xff;
        bool hit = all_others ? i != self
                              : (cpu->mpidr & UINT64_C(0xff00ffff00)) == cluster && aff0 >= first &&
                                    aff0 < first + 16 && (value >> (aff0 - first) & 1);
        /* Only if the receiver has it in the group that the sender wrote to (4.7.2). */
        if (!hit || (cpu->bank.group >> sgi & 1) != group1)
            continue;
        cpu->bank.latch |= 1u << sgi;
        gic_update(gic, i);
    }
}

static uint32_t read_bpr1(const struct gic_cpu *cpu)
{
    return cpu->cbpr ? PV_MIN(cpu->bpr[0] + 1u, 7u) : cpu->bpr[1];
}

static bool read_locked(struct pv_gic *gic, unsigned vcpu, uint32_t sysreg, uint64_t *value)
{
    struct gic_cpu *cpu = &gic->cpu[vcpu];

    switch (sysreg) {
    case ICC_IAR0: *value = acknowledge(gic, vcpu, false); break;
    case ICC_IAR1: *value = acknowledge(gic, vcpu, true); break;
    case ICC_HPPIR0: *value = cpu->best.group1 ? PV_GIC_SPURIOUS : cpu->best.intid; break;
    case ICC_HPPIR1: *value = cpu->best.group1 ? cpu->best.intid : PV_GIC_SPURIOUS; break;
    case ICC_PMR: *value = cpu->pmr; break;
    case ICC_RPR: *value = running_priority(cpu); break;
    case ICC_BPR0: *value = cpu->bpr[0]; break;
    case ICC_BPR1: *value = read_bpr1(cpu); break;
    case ICC_CTLR:
        *value = CTLR_FIXED | (cpu->cbpr ? CTLR_CBPR : 0) | (cpu->eoi_mode ? CTLR_EOIMODE : 0);
        break;
    case ICC_SRE: *value = 7; break; /* system registers always, no bypass */
    case ICC_IGRPEN0: *value = cpu->group_enable[0]; break;
    case ICC_IGRPEN1: *value = cpu->group_enable[1]; break;
    case ICC_AP0R0: *value = cpu->apr[0]; break;
    case ICC_AP1R0: *value = cpu->apr[1]; break;
    default: return false;
    }
    return true;
}

static void enable_group(struct pv_gic *gic, unsigned vcpu, bool group1, bool enable)
{
    gic->cpu[vcpu].group_enable[group1] = enable;
    gic_participants_changed(gic, vcpu);
}

static void write_dir(struct pv_gic *gic, unsigned vcpu, uint32_t intid)
{
    if (!gic->cpu[vcpu].eoi_mode || intid >= PV_INTID_END)
        return;
    deactivate(gic, vcpu, intid);
    gic_update(gic, vcpu);
}

static bool write_locked(struct pv_gic *gic, unsigned vcpu, uint32_t sysreg, uint64_t value)
{
    struct gic_cpu *cpu = &gic->cpu[vcpu];
    uint32_t intid = (uint32_t)value & 0xffffff;

    switch (sysreg) {
    case ICC_EOIR0: end_of_interrupt(gic, vcpu, intid, false); return true;
    case ICC_EOIR1: end_of_interrupt(gic, vcpu, intid, true); return true;
    case ICC_DIR: write_dir(gic, vcpu, intid); return true;
    case ICC_SGI0R: send_sgi(gic, vcpu, value, false); return true;
    case ICC_SGI1R: send_sgi(gic, vcpu, value, true); return true;
    case ICC_ASGI1R: return true; /* the other security state has no interrupts */
    case ICC_IGRPEN0: enable_group(gic, vcpu, false, value & 1); return true;
    case ICC_IGRPEN1: enable_group(gic, vcpu, true, value & 1); return true;
    case ICC_SRE: return true;
    case ICC_PMR: cpu->pmr = (uint8_t)value & GIC_PRIO_MASK; break;
    case ICC_BPR0: cpu->bpr[0] = (uint8_t)PV_MAX(value & 7, (uint64_t)BPR0_MIN); break;
    case ICC_BPR1:
        if (!cpu->cbpr)
            cpu->bpr[1] = (uint8_t)PV_MAX(value & 7, (uint64_t)BPR1_MIN);
        break;
    case ICC_CTLR:
        cpu->cbpr = value & CTLR_CBPR;
        cpu->eoi_mode = value & CTLR_EOIMODE;
        break;
    case ICC_AP0R0: cpu->apr[0] = (uint32_t)value; break;
    case ICC_AP1R0: cpu->apr[1] = (uint32_t)value; break;
    default: return false;
    }
    gic_cpu_drive(gic, vcpu);
    return true;
}

bool pv_gic_sysreg_read(struct pv_gic *gic, unsigned vcpu, uint32_t sysreg, uint64_t *value)
{
    pthread_mutex_lock(&gic->lock);
    bool known = read_locked(gic, vcpu, sysreg, value);
    pthread_mutex_unlock(&gic->lock);
    return known;
}

bool pv_gic_sysreg_write(struct pv_gic *gic, unsigned vcpu, uint32_t sysreg, uint64_t value)
{
    pthread_mutex_lock(&gic->lock);
    bool known = write_locked(gic, vcpu, sysreg, value);
    pthread_mutex_unlock(&gic->lock);
    return known;
}
