/* SPDX-License-Identifier: MIT */
/*
 * The state of an engine's GIC, taken over into one of ours or given from it, register by register
 * (IHI 0069, 12.8 to 12.11; ICC_*: 12.2). So a snapshot has one form, whoever's GIC it was.
 *
 * One walk names each register and the field that it belongs to, for both directions. What is not
 * in registers are the levels of wires: devices and timers know theirs, and drive both GICs. An
 * engine's GIC has no sleeping redistributors and no choice of who takes 1-of-N interrupts, so
 * nothing is taken or given of these.
 */
#include "machine/gicv3_impl.h"

#include "base/util.h"

#include <errno.h>

#define SGI_FRAME 0x10000u /* of a redistributor */

#define CTLR_CBPR      1u
#define CTLR_EOIMODE   2u
#define CTLR_PRIO_BITS 4u /* the GIC's own number of them, as CTLR_EL1 has it: less one */

struct exchange {
    struct pv_gic *gic;
    struct pv_engine *engine;
    bool give;
    struct pv_engine_gic_reg reg;
    int error; /* the first */
};

static void exchange(struct exchange *x, uint32_t number, uint64_t *value)
{
    x->reg.number = number;
    if (x->error < 0)
        return;
    x->error = x->give ? pv_engine_write_gic(x->engine, &x->reg, *value)
                       : pv_engine_read_gic(x->engine, &x->reg, value);
}

static void exchange32(struct exchange *x, uint32_t number, uint32_t *field)
{
    uint64_t value = *field;

    exchange(x, number, &value);
    *field = (uint32_t)value;
}

static void exchange8(struct exchange *x, uint32_t number, uint8_t *field, uint8_t mask)
{
    uint64_t value = *field;

    exchange(x, number, &value);
    *field = (uint8_t)value & mask;
}

static void exchange_bool(struct exchange *x, uint32_t number, bool *field)
{
    uint64_t value = *field;

    exchange(x, number, &value);
    *field = value & 1;
}

static void exchange_priorities(struct exchange *x, uint32_t number, uint8_t *priority)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < 4; i++)
        value |= (uint32_t)priority[i] << 8 * i;
    exchange32(x, number, &value);
    for (unsigned i = 0; i < 4; i++)
        priority[i] = (uint8_t)(value >> 8 * i) & GIC_PRIO_MASK;
}

/* GICx_ICFGR: two bits each of 16 interrupts, the upper one says that it is an edge. */
static void exchange_edges(struct exchange *x, uint32_t number, uint32_t *edge, unsigned first)
{
    uint32_t value = 0;

    for (unsigned i = 0; i < 16; i++)
        value |= (*edge >> (first + i) & 1) << (2 * i + 1);
    exchange32(x, number, &value);
    *edge &= ~(0xffffu << first);
    for (unsigned i = 0; i < 16; i++)
        *edge |= (value >> (2 * i + 1) & 1) << (first + i);
}

/* What is pending comes last: a change of configuration might latch something. */
static void exchange_bank(struct exchange *x, uint32_t frame, unsigned word, struct gic_bank *bank)
{
    exchange32(x, frame + 0x80 + 4 * word, &bank->group);
    exchange32(x, frame + 0x100 + 4 * word, &bank->enabled);
    exchange32(x, frame + 0x300 + 4 * word, &bank->active);
    for (unsigned i = 0; i < 32; i += 4)
        exchange_priorities(x, frame + 0x400 + 32 * word + i, &bank->priority[i]);
    exchange_edges(x, frame + 0xc00 + 8 * word, &bank->edge, 0);
    exchange_edges(x, frame + 0xc04 + 8 * word, &bank->edge, 16);
    exchange32(x, frame + 0x200 + 4 * word, &bank->latch);
}

static void exchange_dist(struct exchange *x)
{
    struct pv_gic *gic = x->gic;
    uint64_t ctlr = gic->ctlr | GICD_CTLR_ARE | GICD_CTLR_DS;

    x->reg = (struct pv_engine_gic_reg){.frame = PV_ENGINE_GICD};
    for (unsigned i = 0; i < PV_GIC_SPIS; i++) {
        uint32_t low = (uint32_t)gic->router[i], high = (uint32_t)(gic->router[i] >> 32);
        exchange32(x, 0x6000 + 8 * (i + PV_INTID_SPI), &low);
        exchange32(x, 0x6004 + 8 * (i + PV_INTID_SPI), &high);
        gic->router[i] = (uint64_t)high << 32 | low;
    }
    for (unsigned word = 1; word < GIC_WORDS; word++)
        exchange_bank(x, 0, word, &gic->spi[word]);
    exchange(x, 0, &ctlr);
    gic->ctlr = (uint32_t)ctlr & (GICD_CTLR_GRP0 | GICD_CTLR_GRP1);
}

/*
 * Written last, since it decides what the binary points are. While it makes them one (CBPR),
 * nobody can see what the second was; so it is taken as what it then reads as.
 */
static void exchange_ctlr(struct exchange *x, struct gic_cpu *cpu)
{
    const uint32_t number = PV_SYSREG(3, 0, 12, 12, 4);
    const struct exchange look = {.engine = x->engine, .reg = x->reg};
    struct exchange own = look;
    uint64_t ctlr = 0;

    exchange(&own, number, &ctlr);
    if (!own.error && pv_bits(ctlr, 8, 3) != CTLR_PRIO_BITS)
        own.error = -ENOTSUP; /* active priorities would be other bits */
    if (!x->error)
        x->error = own.error;
    if (x->give) {
        ctlr = (ctlr & ~(uint64_t)(CTLR_CBPR | CTLR_EOIMODE)) | (cpu->cbpr ? CTLR_CBPR : 0) |
               (cpu->eoi_mode ? CTLR_EOIMODE : 0);
        exchange(x, number, &ctlr);
        return;
    }
    cpu->cbpr = ctlr & CTLR_CBPR;
    cpu->eoi_mode = ctlr & CTLR_EOIMODE;
}

static void exchange_cpu(struct exchange *x, unsigned vcpu)
{
    struct gic_cpu *cpu = &x->gic->cpu[vcpu];

    x->reg = (struct pv_engine_gic_reg){.frame = PV_ENGINE_GICR, .vcpu = vcpu};
    exchange_bank(x, SGI_FRAME, 0, &cpu->bank);
    x->reg.frame = PV_ENGINE_ICC;
    exchange8(x, PV_SYSREG(3, 0, 4, 6, 0), &cpu->pmr, GIC_PRIO_MASK);
    exchange8(x, PV_SYSREG(3, 0, 12, 8, 3), &cpu->bpr[0], 7);
    exchange8(x, PV_SYSREG(3, 0, 12, 12, 3), &cpu->bpr[1], 7);
    exchange32(x, PV_SYSREG(3, 0, 12, 8, 4), &cpu->apr[0]);
    exchange32(x, PV_SYSREG(3, 0, 12, 9, 0), &cpu->apr[1]);
    exchange_bool(x, PV_SYSREG(3, 0, 12, 12, 6), &cpu->group_enable[0]);
    exchange_bool(x, PV_SYSREG(3, 0, 12, 12, 7), &cpu->group_enable[1]);
    exchange_ctlr(x, cpu);
}

static int walk(struct pv_gic *gic, struct pv_engine *engine, bool give)
{
    struct exchange x = {.gic = gic, .engine = engine, .give = give};

    exchange_dist(&x);
    for (unsigned i = 0; i < gic->config.vcpus; i++)
        exchange_cpu(&x, i);
    return x.error;
}

int pv_gic_take(struct pv_gic *gic, struct pv_engine *engine)
{
    pthread_mutex_lock(&gic->lock);
    int ret = walk(gic, engine, false);
    for (unsigned i = 0; i < gic->config.vcpus; i++) {
        gic->cpu[i].asleep = false;
        gic->cpu[i].ctlr = 0;
    }
    pthread_mutex_unlock(&gic->lock);
    return ret;
}

int pv_gic_give(struct pv_gic *gic, struct pv_engine *engine)
{
    pthread_mutex_lock(&gic->lock);
    int ret = walk(gic, engine, true);
    pthread_mutex_unlock(&gic->lock);
    return ret;
}
