/* SPDX-License-Identifier: MIT */
/*
 * The memory-mapped registers of distributor and redistributors (IHI 0069, 12.9 to 12.11).
 *
 * The SGI frame of a redistributor lays its registers out as the distributor does, for 32
 * interrupts instead of all of them, so both go through the same frame_* functions over an array
 * of banks. Registers are 32 bits; priorities may also be accessed as bytes, IROUTER, GICR_TYPER
 * and the LPI bases as 64 bits, which here is two accesses under one lock. Anything else reads as
 * zero and is not written.
 */
#include "machine/gicv3_impl.h"

#include "base/util.h"

/* Offsets in either frame. */
enum {
    REG_IGROUPR = 0x080,
    REG_ISENABLER = 0x100,
    REG_ICENABLER = 0x180,
    REG_ISPENDR = 0x200,
    REG_ICPENDR = 0x280,
    REG_ISACTIVER = 0x300,
    REG_ICACTIVER = 0x380,
    REG_IPRIORITYR = 0x400,
    REG_IPRIORITYR_END = 0x800,
    REG_ICFGR = 0xc00,
    REG_ICFGR_END = 0xd00,
};

enum {
    GICD_CTLR = 0x0,
    GICD_TYPER = 0x4,
    GICD_IIDR = 0x8,
    GICD_SETSPI_NSR = 0x40,
    GICD_CLRSPI_NSR = 0x48,
    GICD_IROUTER = 0x6100, /* of INTID 32 */
    GICD_IROUTER_END = GICD_IROUTER + PV_GIC_SPIS * 8,
    GIC_IDREGS = 0xffd0,

    GICR_CTLR = 0x0,
    GICR_IIDR = 0x4,
    GICR_TYPER = 0x8,
    GICR_WAKER = 0x14,
    GICR_PROPBASER = 0x70,
    GICR_PENDBASER = 0x78,
    GICR_SGI_FRAME = 0x10000,
};

/* A3V, RSS, MBIS, and 32 * (ITLinesNumber + 1) interrupts; IDbits: 10-bit INTIDs, 16 with LPIs. */
#define GICD_TYPER_FIXED (1u << 26 | 1u << 24 | 1u << 16 | (GIC_WORDS - 1))
#define GICD_TYPER_LPIS  (1u << 17)
#define GICD_TYPER_ID(n) (((n)-1u) << 19)

#define IROUTER_WRITABLE UINT64_C(0xff80ffffff)

#define GICR_CTLR_ENABLE_LPIS 1u
#define GICR_CTLR_CES         (1u << 1)  /* EnableLPIs can be cleared */
#define GICR_CTLR_WRITABLE    (3u << 24) /* DPG0, DPG1NS */
#define GICR_TYPER_PLPIS      1u
/* Caches, shareability, address and ID bits; PENDBASER's PTZ is write-only. */
#define PROPBASER_WRITABLE    UINT64_C(0x070fffffffffff9f)
#define PENDBASER_WRITABLE    UINT64_C(0x470fffffffff0f80)
#define PENDBASER_PTZ         (UINT64_C(1) << 62)
#define GICR_WAKER_SLEEP      (1u << 1)
#define GICR_WAKER_CHILDREN   (1u << 2)
#define GICR_TYPER_LAST       (1u << 4)
#define GICR_TYPER_DPGS       (1u << 5)
#define GICR_TYPER_PROCNUM(n) ((n) << 8)

/* Spreads 16 bits to the odd ones of 32, as ICFGR has them, and back. */
static uint32_t cfg_from_edge(uint32_t edge)
{
    uint32_t cfg = 0;
    for (unsigned i = 0; i < 16; i++)
        cfg |= (edge >> i & 1) << (2 * i + 1);
    return cfg;
}

static uint32_t edge_from_cfg(uint32_t cfg)
{
    uint32_t edge = 0;
    for (unsigned i = 0; i < 16; i++)
        edge |= (cfg >> (2 * i + 1) & 1) << i;
    return edge;
}

/* PIDR4..7, PIDR0..3, CIDR0..3 from 0xffd0 on. */
static uint32_t id_register(uint32_t offset)
{
    static const uint8_t id[] = {0x44, 0, 0, 0, 0x92, 0xb4, GIC_PIDR2, 0, 0x0d, 0xf0, 0x05, 0xb1};
    return id[(offset - GIC_IDREGS) / 4];
}

/* A register of 32 interrupts, or NULL: `first` (the SGI frame has only word 0). */
static struct gic_bank *frame_bank(struct gic_bank *banks, unsigned words, unsigned word)
{
    return word < words ? &banks[word] : NULL;
}

static uint32_t frame_read(struct gic_bank *banks, unsigned words, uint32_t offset)
{
    const struct gic_bank *bank;

    if (offset >= REG_IPRIORITYR && offset < REG_IPRIORITYR_END) {
        unsigned intid = offset - REG_IPRIORITYR;
        bank = frame_bank(banks, words, intid / 32);
        if (!bank)
            return 0;
        const uint8_t *p = &bank->priority[intid % 32];
        return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
    }
    if (offset >= REG_ICFGR && offset < REG_ICFGR_END) {
        bank = frame_bank(banks, words, (offset - REG_ICFGR) / 8);
        return bank ? cfg_from_edge(offset & 4 ? bank->edge >> 16 : bank->edge) : 0;
    }
    bank = frame_bank(banks, words, (offset & 0x7f) / 4);
    if (!bank)
        return 0;
    switch (offset & ~0x7fu) {
    case REG_IGROUPR: return bank->group;
    case REG_ISENABLER:
    case REG_ICENABLER: return bank->enabled;
    case REG_ISPENDR:
    case REG_ICPENDR: return gic_pending(bank);
    case REG_ISACTIVER:
    case REG_ICACTIVER: return bank->active;
    default: return 0;
    }
}

static void frame_write_priority(struct gic_bank *banks, unsigned words, unsigned intid,
                                 unsigned size, uint32_t value)
{
    struct gic_bank *bank = frame_bank(banks, words, intid / 32);

    if (!bank)
        return;
    for (unsigned i = 0; i < size; i++)
        bank->priority[intid % 32 + i] = (uint8_t)(value >> (8 * i)) & GIC_PRIO_MASK;
}

/* `sgi`: the bank is a redistributor's, where the trigger of the first half is fixed. */
static void frame_write(struct gic_bank *banks, unsigned words, uint32_t offset, uint32_t value,
                        bool sgi)
{
    struct gic_bank *bank;

    if (offset >= REG_ICFGR && offset < REG_ICFGR_END) {
        bank = frame_bank(banks, words, (offset - REG_ICFGR) / 8);
        if (!bank)
            return;
        if (offset & 4)
            bank->edge = (bank->edge & 0xffff) | edge_from_cfg(value) << 16;
        else if (!sgi)
            bank->edge = (bank->edge & 0xffff0000) | edge_from_cfg(value);
        return;
    }
    bank = frame_bank(banks, words, (offset & 0x7f) / 4);
    if (!bank)
        return;
    switch (offset & ~0x7fu) {
    case REG_IGROUPR: bank->group = value; break;
    case REG_ISENABLER: bank->enabled |= value; break;
    case REG_ICENABLER: bank->enabled &= ~value; break;
    case REG_ISPENDR: bank->latch |= value; break;
    case REG_ICPENDR: bank->latch &= ~value; break;
    case REG_ISACTIVER: bank->active |= value; break;
    case REG_ICACTIVER: bank->active &= ~value; break;
    default: break;
    }
}

/* ---- Distributor ---- */

static uint32_t dist_read32(struct pv_gic *gic, uint32_t offset)
{
    if (offset >= GIC_IDREGS)
        return id_register(offset);
    if (offset >= GICD_IROUTER && offset < GICD_IROUTER_END) {
        uint64_t router = gic->router[(offset - GICD_IROUTER) / 8];
        return (uint32_t)(offset & 4 ? router >> 32 : router);
    }
    switch (offset) {
    case GICD_CTLR: return gic->ctlr | GICD_CTLR_ARE | GICD_CTLR_DS;
    case GICD_TYPER:
        return GICD_TYPER_FIXED |
               (gic->lpi_config ? GICD_TYPER_LPIS | GICD_TYPER_ID(16) : GICD_TYPER_ID(10));
    case GICD_IIDR: return GIC_IIDR;
    default: break;
    }
    /* The first 32 interrupts are the redistributors': their registers are zero here. */
    return offset >= REG_IGROUPR && offset < 0x1000 ? frame_read(gic->spi, GIC_WORDS, offset) : 0;
}

static void dist_write32(struct pv_gic *gic, uint32_t offset, uint32_t value)
{
    if (offset >= GICD_IROUTER && offset < GICD_IROUTER_END) {
        unsigned index = (offset - GICD_IROUTER) / 8;
        uint64_t *router = &gic->router[index];
        uint64_t wide = value;
        *router = offset & 4 ? (*router & UINT32_MAX) | wide << 32
                             : (*router & ~(uint64_t)UINT32_MAX) | wide;
        *router &= IROUTER_WRITABLE;
        gic_route(gic, index + PV_INTID_SPI);
    } else if (offset == GICD_CTLR) {
        gic->ctlr = value & (GICD_CTLR_GRP0 | GICD_CTLR_GRP1);
    } else if (offset >= REG_IPRIORITYR && offset < REG_IPRIORITYR_END) {
        frame_write_priority(gic->spi, GIC_WORDS, offset - REG_IPRIORITYR, 4, value);
    } else if (offset >= REG_IGROUPR && offset < 0x1000) {
        frame_write(gic->spi, GIC_WORDS, offset, value, false);
        gic->spi[0] = (struct gic_bank){0};
        if ((offset & ~0x7fu) == REG_IGROUPR) {
            for (unsigned bit = 0; bit < 32; bit++) {
                uint32_t intid = (offset & 0x7f) * 8 + bit;
                if (intid >= PV_INTID_SPI && intid < PV_INTID_END)
                    gic_route(gic, intid);
            }
        }
    }
}

/* GICD_SETSPI_NSR and CLRSPI_NSR: a message by the CPU's own hand (12.9.28). */
static void message_spi(struct pv_gic *gic, uint32_t intid, bool pending)
{
    uint32_t mask = 1u << (intid % 32);

    if (intid < PV_INTID_SPI || intid >= PV_INTID_END)
        return;
    if (pending)
        gic->spi[intid / 32].latch |= mask;
    else
        gic->spi[intid / 32].latch &= ~mask;
    gic_update_spi(gic, intid);
}

/* ---- Redistributors ---- */

static uint32_t redist_read32(struct pv_gic *gic, unsigned vcpu, uint32_t offset)
{
    struct gic_cpu *cpu = &gic->cpu[vcpu];
    uint64_t mpidr = cpu->mpidr;

    if (offset >= GICR_SGI_FRAME) {
        offset -= GICR_SGI_FRAME;
        return offset >= REG_IGROUPR && offset < 0x1000 ? frame_read(&cpu->bank, 1, offset) : 0;
    }
    if (offset >= GIC_IDREGS)
        return id_register(offset);
    switch (offset) {
    case GICR_CTLR:
        return cpu->ctlr | (gic->lpi_config ? GICR_CTLR_CES : 0) |
               (cpu->lpi.enabled ? GICR_CTLR_ENABLE_LPIS : 0);
    case GICR_IIDR: return GIC_IIDR;
    case GICR_TYPER:
        return GICR_TYPER_PROCNUM(vcpu) | GICR_TYPER_DPGS |
               (gic->lpi_config ? GICR_TYPER_PLPIS : 0) |
               (vcpu + 1 == gic->config.vcpus ? GICR_TYPER_LAST : 0);
    case GICR_TYPER + 4: return (uint32_t)(mpidr >> 32 & 0xff) << 24 | (mpidr & 0xffffff);
    case GICR_WAKER: return cpu->asleep ? GICR_WAKER_SLEEP | GICR_WAKER_CHILDREN : 0;
    case GICR_PROPBASER: return (uint32_t)cpu->lpi.propbaser;
    case GICR_PROPBASER + 4: return (uint32_t)(cpu->lpi.propbaser >> 32);
    case GICR_PENDBASER: return (uint32_t)cpu->lpi.pendbaser;
    case GICR_PENDBASER + 4: return (uint32_t)((cpu->lpi.pendbaser & ~PENDBASER_PTZ) >> 32);
    default: return 0;
    }
}

/* The bases of the LPI tables; fixed while they are in use (12.11.31, 12.11.34). */
static void write_lpi_base(struct pv_gic *gic, struct gic_lpis *lpi, uint32_t offset,
                           uint32_t value)
{
    bool pend = offset >= GICR_PENDBASER;
    uint64_t *base = pend ? &lpi->pendbaser : &lpi->propbaser;
    uint64_t wide = value;

    if (!gic->lpi_config || lpi->enabled)
        return;
    *base = offset & 4 ? (*base & UINT32_MAX) | wide << 32 : (*base & ~(uint64_t)UINT32_MAX) | wide;
    *base &= pend ? PENDBASER_WRITABLE : PROPBASER_WRITABLE;
}

static void redist_write32(struct pv_gic *gic, unsigned vcpu, uint32_t offset, uint32_t value)
{
    struct gic_cpu *cpu = &gic->cpu[vcpu];

    if (offset >= GICR_SGI_FRAME) {
        offset -= GICR_SGI_FRAME;
        if (offset >= REG_IPRIORITYR && offset < REG_IPRIORITYR_END)
            frame_write_priority(&cpu->bank, 1, offset - REG_IPRIORITYR, 4, value);
        else if (offset >= REG_IGROUPR && offset < 0x1000)
            frame_write(&cpu->bank, 1, offset, value, true);
        gic_update(gic, vcpu);
        return;
    }
    if (offset >= GICR_PROPBASER && offset < GICR_PENDBASER + 8) {
        write_lpi_base(gic, &cpu->lpi, offset, value);
        return;
    }
    if (offset == GICR_CTLR)
        cpu->ctlr = value & GICR_CTLR_WRITABLE;
    else if (offset == GICR_WAKER)
        cpu->asleep = value & GICR_WAKER_SLEEP;
    else
        return;
    gic_participants_changed(gic, vcpu);
}

/* ---- Accesses of any size ---- */

static bool access_ok(uint64_t offset, unsigned size)
{
    return offset % size == 0;
}

static bool is_priority(uint32_t offset)
{
    return offset >= REG_IPRIORITYR && offset < REG_IPRIORITYR_END;
}

/* What a narrow access sees of a 32-bit register. */
static uint64_t narrow(uint32_t word, uint64_t offset, unsigned size)
{
    return pv_bits(word, (unsigned)(offset & 3) * 8, size * 8);
}

uint64_t pv_gic_dist_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pv_gic *gic = opaque;
    uint64_t value;

    if (!access_ok(offset, size))
        return 0;
    pthread_mutex_lock(&gic->lock);
    value = dist_read32(gic, (uint32_t)offset & ~3u);
    if (size == 8)
        value |= (uint64_t)dist_read32(gic, (uint32_t)offset + 4) << 32;
    pthread_mutex_unlock(&gic->lock);
    return size < 4 ? narrow((uint32_t)value, offset, size) : value;
}

void pv_gic_dist_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pv_gic *gic = opaque;
    uint32_t reg = (uint32_t)offset;

    if (!access_ok(offset, size))
        return;
    pthread_mutex_lock(&gic->lock);
    if (reg == GICD_SETSPI_NSR || reg == GICD_CLRSPI_NSR) {
        if (size == 2 || size == 4)
            message_spi(gic, (uint32_t)value & 0x3ff, reg == GICD_SETSPI_NSR);
        pthread_mutex_unlock(&gic->lock);
        return;
    }
    if (size >= 4) {
        dist_write32(gic, reg, (uint32_t)value);
        if (size == 8)
            dist_write32(gic, reg + 4, (uint32_t)(value >> 32));
    } else if (is_priority(reg) && reg - REG_IPRIORITYR >= GIC_PRIVATE) {
        frame_write_priority(gic->spi, GIC_WORDS, reg - REG_IPRIORITYR, size, (uint32_t)value);
    }
    gic_update_all(gic);
    pthread_mutex_unlock(&gic->lock);
}

uint64_t pv_gic_redist_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pv_gic *gic = opaque;
    unsigned vcpu = (unsigned)(offset / PV_MAP_GICR_STRIDE);
    uint32_t reg = (uint32_t)(offset % PV_MAP_GICR_STRIDE);
    uint64_t value;

    if (!access_ok(offset, size) || vcpu >= gic->config.vcpus)
        return 0;
    pthread_mutex_lock(&gic->lock);
    value = redist_read32(gic, vcpu, reg & ~3u);
    if (size == 8)
        value |= (uint64_t)redist_read32(gic, vcpu, reg + 4) << 32;
    pthread_mutex_unlock(&gic->lock);
    return size < 4 ? narrow((uint32_t)value, offset, size) : value;
}

void pv_gic_redist_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pv_gic *gic = opaque;
    unsigned vcpu = (unsigned)(offset / PV_MAP_GICR_STRIDE);
    uint32_t reg = (uint32_t)(offset % PV_MAP_GICR_STRIDE);

    if (!access_ok(offset, size) || vcpu >= gic->config.vcpus)
        return;
    pthread_mutex_lock(&gic->lock);
    if (size >= 4) {
        redist_write32(gic, vcpu, reg, (uint32_t)value);
        if (size == 8)
            redist_write32(gic, vcpu, reg + 4, (uint32_t)(value >> 32));
    } else if (reg >= GICR_SGI_FRAME && is_priority(reg - GICR_SGI_FRAME)) {
        frame_write_priority(&gic->cpu[vcpu].bank, 1, reg - GICR_SGI_FRAME - REG_IPRIORITYR, size,
                             (uint32_t)value);
        gic_update(gic, vcpu);
    }
    pthread_mutex_unlock(&gic->lock);
    if (reg == GICR_CTLR && size >= 4)
        gic_lpi_enable(gic, vcpu, value & GICR_CTLR_ENABLE_LPIS);
}
