/* SPDX-License-Identifier: MIT */
/*
 * KVM's interrupt controller and timers (Documentation/virt/kvm/devices/arm-vgic-v3.rst and
 * arm-vgic-its.rst).
 *
 * KVM has no way to reset a GIC, only to write its registers from outside. So all of them are read
 * once, before the guest has run, and a reset writes them back. Reading and writing walk the same
 * table. Registers come in pairs where one sets bits and the other clears them; such a pair is
 * written by clearing everything first.
 */
#include "engine/kvm/kvm.h"

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

/* ---- Devices ---- */

static int set_attr(int device, uint32_t group, uint64_t attr, const void *value)
{
    const struct kvm_device_attr request = {.group = group, .attr = attr, .addr = (uintptr_t)value};
    return ioctl(device, KVM_SET_DEVICE_ATTR, &request) < 0 ? -errno : 0;
}

static int create_device(struct kvm *kvm, uint32_t type)
{
    struct kvm_create_device device = {.type = type};
    return ioctl(kvm->vm, KVM_CREATE_DEVICE, &device) < 0 ? -errno : (int)device.fd;
}

static int create_its(struct kvm *kvm, uint64_t address, struct pv_error **err)
{
    int ret = kvm->its = create_device(kvm, KVM_DEV_TYPE_ARM_VGIC_ITS);

    if (ret >= 0)
        ret = set_attr(kvm->its, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_ITS_ADDR_TYPE, &address);
    if (ret >= 0)
        ret = set_attr(kvm->its, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL);
    return ret < 0 ? pv_error_errno(err, -ret, "KVM's interrupt translation service") : 0;
}

int kvm_gic_create(struct kvm *kvm, const struct pv_engine_gic_config *config,
                   struct pv_error **err)
{
    const uint32_t intids = config->intids;
    /* Region 0, with room for so many redistributors (bits 63:52). */
    const uint64_t redist = config->redist | (uint64_t)kvm->engine->config.vcpus << 52;
    int ret = kvm->gic = create_device(kvm, KVM_DEV_TYPE_ARM_VGIC_V3);

    if (ret >= 0)
        ret = set_attr(kvm->gic, KVM_DEV_ARM_VGIC_GRP_NR_IRQS, 0, &intids);
    if (ret >= 0)
        ret = set_attr(kvm->gic, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_DIST,
                       &config->dist);
    if (ret >= 0)
        ret = set_attr(kvm->gic, KVM_DEV_ARM_VGIC_GRP_ADDR, KVM_VGIC_V3_ADDR_TYPE_REDIST_REGION,
                       &redist);
    if (ret < 0)
        return pv_error_errno(err, -ret, "KVM's interrupt controller");
    return config->its ? create_its(kvm, config->its, err) : 0;
}

void kvm_gic_destroy(struct kvm *kvm)
{
    if (kvm->its >= 0)
        close(kvm->its);
    if (kvm->gic >= 0)
        close(kvm->gic);
    free(kvm->gic_initial);
}

/* ---- All registers ---- */

/* A register, or a row of registers with so many bits for each interrupt. */
struct row {
    uint32_t offset;
    uint32_t
        clear; /* offset of the registers that clear what these set; 0: they are written whole */
    unsigned bits; /* 0: one register of 32 bits */
};

/* Frames and offsets: IHI 0069, 12.8, 12.10, 12.11. */
static const struct row dist_rows[] = {
    {0x0000, 0, 0},      /* GICD_CTLR */
    {0x0080, 0, 1},      /* GICD_IGROUPR */
    {0x0100, 0x0180, 1}, /* GICD_ISENABLER, ICENABLER */
    {0x0300, 0x0380, 1}, /* GICD_ISACTIVER, ICACTIVER */
    {0x0400, 0, 8},      /* GICD_IPRIORITYR */
    {0x0c00, 0, 2},      /* GICD_ICFGR */
    {0x6000, 0, 64},     /* GICD_IROUTER */
    {0x0200, 0, 1},      /* GICD_ISPENDR: of those that are not wires */
};

static const struct row redist_rows[] = {
    {0x00000, 0, 0}, /* GICR_CTLR: without LPIs before the tables' addresses */
    {0x00014, 0, 0}, /* GICR_WAKER */
    {0x00070, 0, 0}, /* GICR_PROPBASER, low and high */
    {0x00074, 0, 0},       {0x00078, 0, 0}, /* GICR_PENDBASER */
    {0x0007c, 0, 0},       {0x10080, 0, 1}, /* GICR_IGROUPR0 */
    {0x10100, 0x10180, 1},                  /* GICR_ISENABLER0, ICENABLER0 */
    {0x10300, 0x10380, 1},                  /* GICR_ISACTIVER0, ICACTIVER0 */
    {0x10400, 0, 8},                        /* GICR_IPRIORITYR */
    {0x10c00, 0, 2},                        /* GICR_ICFGR0, 1 */
    {0x10200, 0, 1},                        /* GICR_ISPENDR0 */
};

static const uint32_t cpu_registers[] = {
    PV_SYSREG(3, 0, 12, 12, 5), /* ICC_SRE_EL1 */
    PV_SYSREG(3, 0, 12, 12, 4), /* ICC_CTLR_EL1 */
    PV_SYSREG(3, 0, 4, 6, 0),   /* ICC_PMR_EL1 */
    PV_SYSREG(3, 0, 12, 8, 3),  /* ICC_BPR0_EL1 */
    PV_SYSREG(3, 0, 12, 12, 3), /* ICC_BPR1_EL1 */
    PV_SYSREG(3, 0, 12, 8, 4),  /* ICC_AP0R0_EL1 */
    PV_SYSREG(3, 0, 12, 9, 0),  /* ICC_AP1R0_EL1 */
    PV_SYSREG(3, 0, 12, 12, 6), /* ICC_IGRPEN0_EL1 */
    PV_SYSREG(3, 0, 12, 12, 7), /* ICC_IGRPEN1_EL1 */
};

/* A walk over everything: reads into the words, writes from them, or only counts (no words). */
struct walk {
    int device;
    bool write;
    uint64_t *words;
    size_t at;
    int error; /* the first */
};

/* `group` says where `attr` leads, and how wide the register is. */
static void visit(struct walk *w, uint32_t group, uint64_t attr)
{
    uint64_t *word = w->words ? &w->words[w->at] : NULL;
    uint32_t narrow = word ? (uint32_t)*word : 0;
    const bool wide = group == KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS;
    const struct kvm_device_attr request = {
        .group = group, .attr = attr, .addr = wide ? (uintptr_t)word : (uintptr_t)&narrow};

    w->at++;
    if (!word || w->error)
        return;
    if (ioctl(w->device, w->write ? KVM_SET_DEVICE_ATTR : KVM_GET_DEVICE_ATTR, &request) < 0)
        w->error = -errno;
    if (!wide && !w->write)
        *word = narrow;
}

static void visit_row(struct walk *w, uint32_t group, uint64_t cpu, const struct row *row,
                      unsigned first, unsigned end)
{
    static const uint32_t ones = UINT32_MAX;

    if (!row->bits) {
        visit(w, group, cpu | row->offset);
        return;
    }
    for (unsigned word = first * row->bits / 32; word < end * row->bits / 32; word++) {
        if (row->clear && w->write && !w->error)
            w->error = set_attr(w->device, group, cpu | (row->clear + 4 * word), &ones);
        visit(w, group, cpu | (row->offset + 4 * word));
    }
}

/* Affinity 3 to 0 side by side, as attributes name a vCPU. */
static uint64_t affinity(uint64_t mpidr)
{
    return ((mpidr >> 32 & 0xff) << 24 | (mpidr & 0xffffff)) << KVM_DEV_ARM_VGIC_V3_MPIDR_SHIFT;
}

static size_t walk(struct walk *w, const struct pv_engine_config *config)
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(dist_rows); i++)
        visit_row(w, KVM_DEV_ARM_VGIC_GRP_DIST_REGS, 0, &dist_rows[i], 32, config->gic->intids);
    for (unsigned n = 0; n < config->vcpus; n++) {
        const uint64_t cpu = affinity(config->mpidr[n]);
        for (size_t i = 0; i < PV_ARRAY_SIZE(redist_rows); i++)
            visit_row(w, KVM_DEV_ARM_VGIC_GRP_REDIST_REGS, cpu, &redist_rows[i], 0, 32);
        for (size_t i = 0; i < PV_ARRAY_SIZE(cpu_registers); i++)
            visit(w, KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS, cpu | cpu_registers[i]);
    }
    return w->at;
}

/* ---- The counter ---- */

/* Guests read the host's. */
static uint64_t counter_frequency(void)
{
    uint64_t frequency;
    asm volatile("mrs %0, cntfrq_el0" : "=r"(frequency));
    return frequency;
}

static int get_counter(struct pv_engine *engine, uint64_t *count)
{
    return kvm_get_reg(engine->vcpus[0].impl, KVM_REG_ARM_PTIMER_CNT, count);
}

/*
 * By the offset of the whole VM, so that the virtual and the physical counter are the same; it is
 * from the host's counter, which is the guest's plus the offset until now.
 */
static int set_counter(struct pv_engine *engine, uint64_t count)
{
    struct kvm *kvm = kvm_of(engine);
    uint64_t now;
    int ret = get_counter(engine, &now);
    const struct kvm_arm_counter_offset offset = {.counter_offset =
                                                      now + kvm->counter_offset - count};

    if (ret >= 0 && ioctl(kvm->vm, KVM_ARM_SET_COUNTER_OFFSET, &offset) < 0)
        ret = -errno;
    if (ret >= 0)
        kvm->counter_offset = offset.counter_offset;
    return ret;
}

int kvm_gic_start(struct kvm *kvm, struct pv_error **err)
{
    const struct pv_engine_config *config = &kvm->engine->config;
    struct walk counting = {.device = kvm->gic}, reading = {.device = kvm->gic};

    int ret = set_counter(kvm->engine, 0);
    if (ret < 0)
        return pv_error_errno(err, -ret, "KVM's counter");
    if (kvm->gic < 0)
        return 0;
    ret = set_attr(kvm->gic, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_VGIC_CTRL_INIT, NULL);
    if (ret < 0)
        return pv_error_errno(err, -ret, "KVM's interrupt controller does not start");
    const size_t count = walk(&counting, config);
    kvm->gic_initial = calloc(count, sizeof(uint64_t));
    if (!kvm->gic_initial)
        return pv_error_set(err, ENOMEM, "out of memory");
    reading.words = kvm->gic_initial;
    walk(&reading, config);
    return reading.error ? pv_error_errno(err, -reading.error, "reading KVM's interrupt controller")
                         : 0;
}

/* ---- What the seam asks for ---- */

/* Of GICx_ISENABLER and ISACTIVER: how far behind are the registers that clear what these set. */
static uint32_t clearing(const struct pv_engine_gic_reg *reg)
{
    const uint32_t offset = reg->number & 0xffff;
    const bool sets = (offset >= 0x100 && offset < 0x180) || (offset >= 0x300 && offset < 0x380);

    return reg->frame != PV_ENGINE_ICC && sets ? 0x80 : 0;
}

/* Where KVM has a register: its group, and its name there. */
static uint32_t find(struct pv_engine *engine, const struct pv_engine_gic_reg *reg, uint64_t *attr)
{
    static const uint32_t groups[] = {
        [PV_ENGINE_GICD] = KVM_DEV_ARM_VGIC_GRP_DIST_REGS,
        [PV_ENGINE_GICR] = KVM_DEV_ARM_VGIC_GRP_REDIST_REGS,
        [PV_ENGINE_ICC] = KVM_DEV_ARM_VGIC_GRP_CPU_SYSREGS,
    };
    *attr = (reg->frame == PV_ENGINE_GICD ? 0 : affinity(engine->config.mpidr[reg->vcpu])) |
            reg->number;
    return groups[reg->frame];
}

static int access_register(struct pv_engine *engine, const struct pv_engine_gic_reg *reg,
                           uint64_t *value, bool write)
{
    struct walk w = {.device = kvm_of(engine)->gic, .write = write, .words = value};
    uint64_t attr;
    const uint32_t group = find(engine, reg, &attr);

    visit(&w, group, attr);
    return w.error;
}

static int read_register(struct pv_engine *engine, const struct pv_engine_gic_reg *reg,
                         uint64_t *value)
{
    return access_register(engine, reg, value, false);
}

static int write_register(struct pv_engine *engine, const struct pv_engine_gic_reg *reg,
                          uint64_t value)
{
    static const uint32_t ones = UINT32_MAX;
    uint64_t attr;
    const uint32_t group = find(engine, reg, &attr);
    int ret = 0;

    if (clearing(reg))
        ret = set_attr(kvm_of(engine)->gic, group, attr + clearing(reg), &ones);
    return ret < 0 ? ret : access_register(engine, reg, &value, true);
}

static int reset(struct pv_engine *engine, struct pv_error **err)
{
    struct kvm *kvm = kvm_of(engine);
    struct walk writing = {.device = kvm->gic, .write = true, .words = kvm->gic_initial};
    int ret = 0;

    if (kvm->its >= 0)
        ret = set_attr(kvm->its, KVM_DEV_ARM_VGIC_GRP_CTRL, KVM_DEV_ARM_ITS_CTRL_RESET, NULL);
    if (ret >= 0)
        walk(&writing, &engine->config);
    ret = PV_MIN(ret, writing.error);
    return ret < 0 ? pv_error_errno(err, -ret, "resetting KVM's interrupt controller") : 0;
}

static void irq_line(struct kvm *kvm, uint32_t type, uint32_t vcpu, uint32_t number, bool level)
{
    const struct kvm_irq_level line = {
        .irq = type << KVM_ARM_IRQ_TYPE_SHIFT | vcpu << KVM_ARM_IRQ_VCPU_SHIFT | number,
        .level = level,
    };
    if (ioctl(kvm->vm, KVM_IRQ_LINE, &line) < 0)
        pv_debug(PV_LOG_ENGINE, "KVM_IRQ_LINE %#x: %s", line.irq, strerror(errno));
}

static void set_spi(struct pv_engine *engine, unsigned intid, bool level)
{
    irq_line(kvm_of(engine), KVM_ARM_IRQ_TYPE_SPI, 0, intid, level);
}

void kvm_set_line(struct pv_vcpu *vcpu, enum pv_vcpu_line line, bool level)
{
    irq_line(kvm_of(vcpu->engine), KVM_ARM_IRQ_TYPE_CPU, vcpu->index,
             line == PV_LINE_FIQ ? KVM_ARM_IRQ_CPU_FIQ : KVM_ARM_IRQ_CPU_IRQ, level);
}

static void send_msi(struct pv_engine *engine, uint32_t device_id, uint64_t address, uint32_t data)
{
    const struct kvm_msi message = {
        .address_lo = (uint32_t)address,
        .address_hi = (uint32_t)(address >> 32),
        .data = data,
        .flags = KVM_MSI_VALID_DEVID,
        .devid = device_id,
    };
    if (ioctl(kvm_of(engine)->vm, KVM_SIGNAL_MSI, &message) < 0)
        pv_debug(PV_LOG_GIC, "message %#x of device %#x to %#llx: %s", data, device_id,
                 (unsigned long long)address, strerror(errno));
}

const struct pv_engine_gic_ops kvm_gic_ops = {
    .set_spi = set_spi,
    .send_msi = send_msi,
    .reset = reset,
    .read = read_register,
    .write = write_register,
};

const struct pv_engine_timer_ops kvm_timer_ops = {
    .counter_frequency = counter_frequency,
    .get_counter = get_counter,
    .set_counter = set_counter,
};
