/* SPDX-License-Identifier: MIT */
/*
 * Our GIC drives the lines of the engine's vCPUs; an engine's GIC is driven by us. Devices are
 * made before the engine and go after it, so there is a time when their wires lead nowhere. An
 * engine's GIC is told the levels when it starts, for which they are kept here; ours keeps them
 * itself.
 *
 * In snapshots an engine's GIC is one of ours that nothing else is done with, `shadow`: it takes
 * over what the engine's has before saving, and gives it what was loaded.
 */
#include "machine/interrupts.h"

#include "base/error.h"
#include "base/record.h"
#include "base/util.h"
#include "engine/engine.h"
#include "machine/gicv2m.h"
#include "machine/gicv3.h"
#include "machine/gicv3_its.h"
#include "machine/map.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

struct pv_interrupts {
    bool engine_gic;
    struct pv_engine_gic_config where; /* for the engine */
    struct pv_gic *gic;                /* ours, or NULL */
    struct pv_its *its;                /* ours, or NULL */
    struct pv_v2m *v2m;                /* or NULL */
    struct pv_gic *shadow;             /* of the engine's, for records; or NULL */

    /* Protects the rest. Held while the engine is called, so that it does not go meanwhile. */
    pthread_mutex_t lock;
    struct pv_engine *engine; /* or NULL */
    uint64_t levels[(PV_INTID_END + 63) / 64];
};

/* ---- Our GIC's outputs ---- */

static void set_line(void *opaque, unsigned vcpu, bool fiq, bool level)
{
    struct pv_interrupts *interrupts = opaque;

    pthread_mutex_lock(&interrupts->lock);
    if (interrupts->engine)
        pv_vcpu_set_line(pv_engine_vcpu(interrupts->engine, vcpu), fiq ? PV_LINE_FIQ : PV_LINE_IRQ,
                         level);
    pthread_mutex_unlock(&interrupts->lock);
}

static void set_wake(void *opaque, unsigned vcpu, bool level)
{
    struct pv_interrupts *interrupts = opaque;

    pthread_mutex_lock(&interrupts->lock);
    if (interrupts->engine)
        pv_vcpu_set_wake(pv_engine_vcpu(interrupts->engine, vcpu), level);
    pthread_mutex_unlock(&interrupts->lock);
}

/* ---- The engine's GIC's inputs ---- */

static void set_engine_spi(void *opaque, unsigned intid, bool level)
{
    struct pv_interrupts *interrupts = opaque;
    const uint64_t bit = UINT64_C(1) << intid % 64;

    pthread_mutex_lock(&interrupts->lock);
    if (level)
        interrupts->levels[intid / 64] |= bit;
    else
        interrupts->levels[intid / 64] &= ~bit;
    if (interrupts->engine)
        pv_engine_set_spi(interrupts->engine, intid, level);
    pthread_mutex_unlock(&interrupts->lock);
}

static void send_engine_msi(void *opaque, uint32_t device_id, uint64_t address, uint32_t data)
{
    struct pv_interrupts *interrupts = opaque;

    pthread_mutex_lock(&interrupts->lock);
    if (interrupts->engine)
        pv_engine_send_msi(interrupts->engine, device_id, address, data);
    pthread_mutex_unlock(&interrupts->lock);
}

/* An SPI that messages make is edge-triggered: one edge. */
static void pulse(void *opaque, unsigned intid)
{
    struct pv_interrupts *interrupts = opaque;

    if (interrupts->gic) {
        pv_gic_pulse_spi(interrupts->gic, intid);
        return;
    }
    set_engine_spi(interrupts, intid, true);
    set_engine_spi(interrupts, intid, false);
}

void pv_interrupts_attach(struct pv_interrupts *interrupts, struct pv_engine *engine)
{
    pthread_mutex_lock(&interrupts->lock);
    interrupts->engine = engine;
    for (unsigned intid = PV_INTID_SPI; engine && interrupts->engine_gic && intid < PV_INTID_END;
         intid++)
        if (interrupts->levels[intid / 64] >> intid % 64 & 1)
            pv_engine_set_spi(engine, intid, true);
    pthread_mutex_unlock(&interrupts->lock);
}

/* ---- Life ---- */

static int create_gic(struct pv_interrupts *interrupts, const struct pv_interrupts_config *config,
                      struct pv_error **err)
{
    const struct pv_gic_config gic = {
        .as = config->as,
        .vcpus = config->vcpus,
        .mpidr = config->mpidr,
        .lpis = config->its,
        .set_line = set_line,
        .set_wake = set_wake,
        .opaque = interrupts,
    };
    int ret = pv_gic_create(&interrupts->gic, &gic, err);

    if (ret >= 0 && config->its)
        ret = pv_its_create(&interrupts->its, config->as, interrupts->gic, config->vcpus, err);
    return ret;
}

static void ignore_line(void *opaque, unsigned vcpu, bool fiq, bool level)
{
    (void)opaque, (void)vcpu, (void)fiq, (void)level;
}

static int create_shadow(struct pv_interrupts *interrupts,
                         const struct pv_interrupts_config *config, struct pv_error **err)
{
    const struct pv_gic_config gic = {
        .vcpus = config->vcpus,
        .mpidr = config->mpidr,
        .set_line = ignore_line,
    };
    return pv_gic_create(&interrupts->shadow, &gic, err);
}

int pv_interrupts_create(struct pv_interrupts **out, const struct pv_interrupts_config *config,
                         struct pv_error **err)
{
    struct pv_interrupts *interrupts = calloc(1, sizeof(*interrupts));
    int ret;

    if (!interrupts)
        return pv_error_set(err, ENOMEM, "out of memory for the interrupt controller");
    pthread_mutex_init(&interrupts->lock, NULL);
    interrupts->engine_gic = config->engine_gic;
    interrupts->where = (struct pv_engine_gic_config){
        .dist = PV_MAP_GICD,
        .redist = PV_MAP_GICR,
        .its = config->its ? PV_MAP_ITS : 0,
        .intids = PV_INTID_END,
    };
    ret = config->engine_gic ? create_shadow(interrupts, config, err)
                             : create_gic(interrupts, config, err);
    if (ret >= 0 && !config->its)
        ret = pv_v2m_create(&interrupts->v2m, config->as, pulse, interrupts, err);
    if (ret < 0) {
        pv_interrupts_destroy(interrupts);
        return ret;
    }
    *out = interrupts;
    return 0;
}

void pv_interrupts_destroy(struct pv_interrupts *interrupts)
{
    if (!interrupts)
        return;
    pv_its_destroy(interrupts->its);
    pv_v2m_destroy(interrupts->v2m);
    pv_gic_destroy(interrupts->gic);
    pv_gic_destroy(interrupts->shadow);
    pthread_mutex_destroy(&interrupts->lock);
    free(interrupts);
}

const struct pv_engine_gic_config *pv_interrupts_engine(const struct pv_interrupts *interrupts)
{
    return interrupts->engine_gic ? &interrupts->where : NULL;
}

int pv_interrupts_reset(struct pv_interrupts *interrupts, struct pv_error **err)
{
    if (interrupts->engine_gic)
        return pv_engine_reset_gic(interrupts->engine, err);
    if (interrupts->its)
        pv_its_reset(interrupts->its);
    pv_gic_reset(interrupts->gic);
    return 0;
}

static void record_engine_gic(struct pv_interrupts *interrupts, struct pv_record *record)
{
    struct pv_gic *shadow = interrupts->shadow;
    int ret = 0;

    if (interrupts->where.its) {
        pv_record_fail(record, ENOTSUP,
                       "this engine's ITS cannot be saved; give the VM --msi v2m when it starts");
        return;
    }
    if (!pv_record_loading(record)) {
        for (unsigned i = PV_INTID_SPI; i < PV_INTID_END; i++)
            pv_gic_set_spi(shadow, i, interrupts->levels[i / 64] >> i % 64 & 1);
        ret = pv_gic_take(shadow, interrupts->engine);
    }
    pv_gic_record(shadow, record);
    if (pv_record_loading(record) && pv_record_ok(record)) {
        /* Wires first: what an edge of theirs latches is put right by what was latched. */
        for (unsigned i = PV_INTID_SPI; i < PV_INTID_END; i++)
            set_engine_spi(interrupts, i, pv_gic_spi_level(shadow, i));
        ret = pv_gic_give(shadow, interrupts->engine);
    }
    if (ret < 0)
        pv_record_fail(record, -ret, "the engine's interrupt controller: %s", strerror(-ret));
}

void pv_interrupts_record(struct pv_interrupts *interrupts, struct pv_record *record)
{
    if (interrupts->engine_gic) {
        record_engine_gic(interrupts, record);
        return;
    }
    if (interrupts->its)
        pv_its_record(interrupts->its, record);
    pv_gic_record(interrupts->gic, record);
}

void pv_interrupts_reset_vcpu(struct pv_interrupts *interrupts, unsigned vcpu)
{
    if (interrupts->gic)
        pv_gic_reset_cpu_interface(interrupts->gic, vcpu);
}

/* ---- What is connected ---- */

struct pv_irq pv_interrupts_spi(struct pv_interrupts *interrupts, unsigned intid)
{
    return interrupts->gic ? pv_gic_spi(interrupts->gic, intid)
                           : (struct pv_irq){set_engine_spi, interrupts, intid};
}

struct pv_msi_target pv_interrupts_msi(struct pv_interrupts *interrupts)
{
    if (interrupts->v2m)
        return pv_v2m_target(interrupts->v2m);
    return interrupts->its ? pv_its_target(interrupts->its)
                           : (struct pv_msi_target){send_engine_msi, interrupts};
}

void pv_interrupts_set_ppi(struct pv_interrupts *interrupts, unsigned vcpu, unsigned intid,
                           bool level)
{
    pv_gic_set_ppi(interrupts->gic ? interrupts->gic : interrupts->shadow, vcpu, intid, level);
}

bool pv_interrupts_sysreg_read(struct pv_interrupts *interrupts, unsigned vcpu, uint32_t sysreg,
                               uint64_t *value)
{
    return interrupts->gic && pv_gic_sysreg_read(interrupts->gic, vcpu, sysreg, value);
}

bool pv_interrupts_sysreg_write(struct pv_interrupts *interrupts, unsigned vcpu, uint32_t sysreg,
                                uint64_t value)
{
    return interrupts->gic && pv_gic_sysreg_write(interrupts->gic, vcpu, sysreg, value);
}
