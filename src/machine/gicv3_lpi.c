/* SPDX-License-Identifier: MIT */
/*
 * LPIs in the redistributors (IHI 0069, chapter 5): which are pending where, and which is best.
 *
 * A guest gives each redistributor two tables in its memory. The configuration table has a byte an
 * LPI, priority and enable, and the architecture lets redistributors keep copies until they are
 * told to look again (INV, INVALL): we keep one copy for all, as GICR_TYPER.CommonLPIAff 0 demands
 * that they share the table. The pending table is the redistributor's own: it is read when LPIs are
 * switched on and written back when they are switched off, and lives in `pending` in between.
 *
 * `occupied` has a bit for each word of `pending`, so that finding the best of 57344 looks at 14
 * words and at those that are not zero. The result is kept: an LPI that becomes pending only has to
 * be compared with it, and the search is for when the best one goes or configurations change.
 *
 * Guest memory is never touched with gic->lock held: every vCPU's interrupts wait for that lock,
 * and a table is long. Tables are copied in pieces without the lock and installed under it.
 */
#include "base/error.h"
#include "base/log.h"
#include "base/record.h"
#include "base/util.h"
#include "machine/gicv3_impl.h"
#include "memory/address_space.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define WORDS (PV_LPIS / 64)
#define PIECE 1024u /* bytes of a table at a time */

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "pending tables are little-endian");
_Static_assert(PV_LPIS % (PIECE * 8) == 0, "tables are whole pieces");

/* A configuration byte (5.1.1). */
#define CONFIG_ENABLE 1u

#define PROPBASER_ADDRESS UINT64_C(0xffffffffff000)
#define PENDBASER_ADDRESS UINT64_C(0xfffffffff0000)
#define PENDBASER_PTZ     (UINT64_C(1) << 62)

static const struct gic_best none = {.intid = PV_GIC_SPURIOUS, .priority = GIC_IDLE};

/* ---- State; gic->lock held ---- */

static bool is_pending(const struct gic_lpis *lpi, unsigned index)
{
    return lpi->pending[index / 64] >> (index % 64) & 1;
}

static void offer(const struct pv_gic *gic, struct gic_lpis *lpi, unsigned index)
{
    uint8_t config = gic->lpi_config[index];
    uint8_t priority = config & GIC_PRIO_MASK;
    uint32_t intid = PV_INTID_LPI + index;

    if ((config & CONFIG_ENABLE) && (priority < lpi->best.priority ||
                                     (priority == lpi->best.priority && intid < lpi->best.intid)))
        lpi->best = (struct gic_best){intid, priority, true};
}

static void find_best(const struct pv_gic *gic, struct gic_lpis *lpi)
{
    lpi->best = none;
    for (unsigned i = 0; i < PV_ARRAY_SIZE(lpi->occupied); i++) {
        for (uint64_t words = lpi->occupied[i]; words; words &= words - 1) {
            unsigned word = i * 64 + (unsigned)__builtin_ctzll(words);
            for (uint64_t bits = lpi->pending[word]; bits; bits &= bits - 1)
                offer(gic, lpi, word * 64 + (unsigned)__builtin_ctzll(bits));
        }
    }
}

static void store_word(struct gic_lpis *lpi, unsigned word, uint64_t bits)
{
    uint64_t mask = UINT64_C(1) << (word % 64);

    lpi->pending[word] = bits;
    lpi->occupied[word / 64] =
        bits ? lpi->occupied[word / 64] | mask : lpi->occupied[word / 64] & ~mask;
}

static void set_locked(struct pv_gic *gic, struct gic_lpis *lpi, uint32_t intid, bool pending)
{
    unsigned index = intid - PV_INTID_LPI;
    uint64_t bit = UINT64_C(1) << (index % 64);
    uint64_t before = lpi->pending[index / 64];

    store_word(lpi, index / 64, pending ? before | bit : before & ~bit);
    if (pending)
        offer(gic, lpi, index);
    else if (lpi->best.intid == intid)
        find_best(gic, lpi);
}

void gic_lpi_taken(struct pv_gic *gic, unsigned vcpu, uint32_t intid)
{
    set_locked(gic, &gic->cpu[vcpu].lpi, intid, false);
}

/* The LPI tables' INTIDs end here: the ID bits of PROPBASER, at most ours. */
static uint32_t intid_end(const struct gic_lpis *lpi)
{
    unsigned bits = (unsigned)(lpi->propbaser & 0x1f) + 1;
    return bits < 14 ? 0 : bits < 16 ? 1u << bits : PV_INTID_LPI_END;
}

static void forget(struct gic_lpis *lpi)
{
    memset(lpi->pending, 0, WORDS * sizeof(lpi->pending[0]));
    memset(lpi->occupied, 0, sizeof(lpi->occupied));
    lpi->best = none;
}

/* ---- What an ITS does ---- */

void pv_gic_lpi_set(struct pv_gic *gic, unsigned vcpu, uint32_t intid, bool pending)
{
    struct gic_lpis *lpi = &gic->cpu[vcpu].lpi;

    pthread_mutex_lock(&gic->lock);
    if (lpi->enabled && intid < intid_end(lpi)) {
        set_locked(gic, lpi, intid, pending);
        gic_update(gic, vcpu);
    }
    pthread_mutex_unlock(&gic->lock);
}

void pv_gic_lpi_move(struct pv_gic *gic, unsigned from, unsigned to, uint32_t intid)
{
    struct gic_lpis *source = &gic->cpu[from].lpi, *target = &gic->cpu[to].lpi;

    pthread_mutex_lock(&gic->lock);
    if (from != to && target->enabled && is_pending(source, intid - PV_INTID_LPI)) {
        set_locked(gic, source, intid, false);
        set_locked(gic, target, intid, true);
        gic_update(gic, from);
        gic_update(gic, to);
    }
    pthread_mutex_unlock(&gic->lock);
}

void pv_gic_lpi_move_all(struct pv_gic *gic, unsigned from, unsigned to)
{
    struct gic_lpis *source = &gic->cpu[from].lpi, *target = &gic->cpu[to].lpi;

    pthread_mutex_lock(&gic->lock);
    if (from != to && target->enabled) {
        for (unsigned word = 0; word < WORDS; word++)
            store_word(target, word, target->pending[word] | source->pending[word]);
        forget(source);
        find_best(gic, target);
        gic_update(gic, from);
        gic_update(gic, to);
    }
    pthread_mutex_unlock(&gic->lock);
}

/* Every vCPU's best, after configurations changed. gic->lock held. */
static void configs_changed(struct pv_gic *gic)
{
    for (unsigned i = 0; i < gic->config.vcpus; i++)
        find_best(gic, &gic->cpu[i].lpi);
    gic_update_all(gic);
}

/* Where a vCPU's configuration table is; false while it uses none. */
static bool config_table(struct pv_gic *gic, unsigned vcpu, uint64_t *address, uint32_t *end)
{
    const struct gic_lpis *lpi = &gic->cpu[vcpu].lpi;

    pthread_mutex_lock(&gic->lock);
    bool enabled = lpi->enabled;
    *address = lpi->propbaser & PROPBASER_ADDRESS;
    *end = intid_end(lpi);
    pthread_mutex_unlock(&gic->lock);
    return enabled;
}

void pv_gic_lpi_invalidate(struct pv_gic *gic, unsigned vcpu, uint32_t intid)
{
    unsigned index = intid - PV_INTID_LPI;
    uint8_t config = 0; /* disabled, where there is no memory */
    uint64_t address;
    uint32_t end;

    if (!config_table(gic, vcpu, &address, &end) || intid >= end)
        return;
    if (pv_as_read(gic->config.as, address + index, &config, 1) < 0)
        pv_debug(PV_LOG_GIC, "LPI %u: no configuration at %#llx", intid,
                 (unsigned long long)(address + index));
    pthread_mutex_lock(&gic->lock);
    if (gic->lpi_config[index] != config) {
        gic->lpi_config[index] = config;
        configs_changed(gic);
    }
    pthread_mutex_unlock(&gic->lock);
}

static void read_configs(struct pv_gic *gic, uint64_t address, uint32_t end)
{
    uint8_t piece[PIECE];

    for (uint32_t at = 0; at < PV_LPIS; at += PIECE) {
        if (PV_INTID_LPI + at >= end || pv_as_read(gic->config.as, address + at, piece, PIECE) < 0)
            memset(piece, 0, PIECE);
        pthread_mutex_lock(&gic->lock);
        memcpy(gic->lpi_config + at, piece, PIECE);
        pthread_mutex_unlock(&gic->lock);
    }
}

void pv_gic_lpi_invalidate_all(struct pv_gic *gic, unsigned vcpu)
{
    uint64_t address;
    uint32_t end;

    if (!config_table(gic, vcpu, &address, &end))
        return;
    read_configs(gic, address, end);
    pthread_mutex_lock(&gic->lock);
    configs_changed(gic);
    pthread_mutex_unlock(&gic->lock);
}

/* ---- Switching on and off ---- */

/* The pending table has a bit for every INTID, from 0 on (5.1.2). */
static uint64_t pending_table(const struct gic_lpis *lpi)
{
    return (lpi->pendbaser & PENDBASER_ADDRESS) + PV_INTID_LPI / 8;
}

static void read_pending(struct pv_gic *gic, struct gic_lpis *lpi, uint64_t address)
{
    uint64_t piece[PIECE / 8];

    for (uint32_t word = 0; word < WORDS; word += PIECE / 8) {
        if (pv_as_read(gic->config.as, address + word * 8, piece, PIECE) < 0)
            memset(piece, 0, PIECE);
        pthread_mutex_lock(&gic->lock);
        for (unsigned i = 0; i < PIECE / 8; i++)
            store_word(lpi, word + i, piece[i]);
        pthread_mutex_unlock(&gic->lock);
    }
}

static void write_pending(struct pv_gic *gic, struct gic_lpis *lpi, uint64_t address)
{
    uint64_t piece[PIECE / 8];

    for (uint32_t word = 0; word < WORDS; word += PIECE / 8) {
        pthread_mutex_lock(&gic->lock);
        for (unsigned i = 0; i < PIECE / 8; i++)
            piece[i] = lpi->pending[word + i];
        pthread_mutex_unlock(&gic->lock);
        if (pv_as_write(gic->config.as, address + word * 8, piece, PIECE) < 0)
            return;
    }
}

void gic_lpi_enable(struct pv_gic *gic, unsigned vcpu, bool enable)
{
    struct gic_lpis *lpi = &gic->cpu[vcpu].lpi;

    pthread_mutex_lock(&gic->lock);
    bool change = gic->lpi_config && lpi->enabled != enable;
    uint64_t configs = lpi->propbaser & PROPBASER_ADDRESS, pending = pending_table(lpi);
    uint32_t end = intid_end(lpi);
    bool zero = lpi->pendbaser & PENDBASER_PTZ;
    /* Off before the pending bits are written, and on after they are read: none is lost between. */
    if (change)
        lpi->enabled = false;
    pthread_mutex_unlock(&gic->lock);
    if (!change)
        return;
    if (!enable) {
        write_pending(gic, lpi, pending);
    } else {
        read_configs(gic, configs, end);
        if (!zero && end)
            read_pending(gic, lpi, pending);
    }
    pthread_mutex_lock(&gic->lock);
    lpi->enabled = enable;
    if (!enable)
        forget(lpi);
    configs_changed(gic);
    pthread_mutex_unlock(&gic->lock);
}

/* ---- Snapshots ---- */

/* Words of `pending` that are not zero, by number: nearly all are. */
static void record_pending(struct pv_record *record, struct gic_lpis *lpi)
{
    uint32_t count = 0;

    for (unsigned word = 0; word < WORDS; word++)
        count += lpi->pending[word] != 0;
    pv_record_limited(record, &count, WORDS);
    if (pv_record_loading(record))
        forget(lpi);
    for (uint32_t word = 0; count && pv_record_ok(record); word++) {
        if (!pv_record_loading(record) && !lpi->pending[word])
            continue;
        uint64_t bits = pv_record_loading(record) ? 0 : lpi->pending[word];
        pv_record_limited(record, &word, WORDS - 1);
        pv_record_u64(record, &bits);
        store_word(lpi, word, bits);
        count--;
    }
}

void gic_lpi_record(struct pv_gic *gic, struct pv_record *record)
{
    pv_record_bytes(record, gic->lpi_config, PV_LPIS);
    for (unsigned i = 0; i < gic->config.vcpus; i++) {
        struct gic_lpis *lpi = &gic->cpu[i].lpi;
        pv_record_bool(record, &lpi->enabled);
        pv_record_u64(record, &lpi->propbaser);
        pv_record_u64(record, &lpi->pendbaser);
        record_pending(record, lpi);
    }
    for (unsigned i = 0; i < gic->config.vcpus && pv_record_loading(record); i++)
        find_best(gic, &gic->cpu[i].lpi);
}

/* ---- Life ---- */

void gic_lpi_reset(struct pv_gic *gic)
{
    if (!gic->lpi_config)
        return;
    memset(gic->lpi_config, 0, PV_LPIS);
    for (unsigned i = 0; i < gic->config.vcpus; i++) {
        struct gic_lpis *lpi = &gic->cpu[i].lpi;
        lpi->enabled = false;
        lpi->propbaser = lpi->pendbaser = 0;
        forget(lpi);
    }
}

int gic_lpi_init(struct pv_gic *gic, struct pv_error **err)
{
    gic->lpi_config = calloc(1, PV_LPIS);
    bool ok = gic->lpi_config;

    for (unsigned i = 0; i < gic->config.vcpus && ok; i++) {
        gic->cpu[i].lpi.pending = calloc(WORDS, sizeof(uint64_t));
        ok = gic->cpu[i].lpi.pending;
    }
    return ok ? 0 : pv_error_set(err, ENOMEM, "out of memory for the interrupt controller");
}

void gic_lpi_finish(struct pv_gic *gic)
{
    for (unsigned i = 0; i < gic->config.vcpus; i++)
        free(gic->cpu[i].lpi.pending);
    free(gic->lpi_config);
}
