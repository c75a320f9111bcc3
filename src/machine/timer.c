/* SPDX-License-Identifier: MIT */
/*
 * Each timer is a comparator: its condition is met while counter >= CVAL, as unsigned 64-bit
 * numbers. The output is a level, ENABLE && !IMASK && condition, wired to a PPI. The counter is
 * computed from the host's clock when somebody asks, so nothing ticks; a host timer is armed only
 * for a timer that is enabled, unmasked and still in the future, and its callback does what every
 * register write does: recompute the level and re-arm.
 */
#include "machine/timer.h"

#include "base/error.h"
#include "base/record.h"
#include "base/util.h"
#include "engine/engine.h"
#include "host/clock.h"
#include "host/loop.h"
#include "machine/map.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#define CNT(crm, op2) PV_SYSREG(3, 3, 14, crm, op2)

enum {
    CNTFRQ = CNT(0, 0),
    CNTPCT = CNT(0, 1),
    CNTVCT = CNT(0, 2),
    CNTP_TVAL = CNT(2, 0),
    CNTP_CTL = CNT(2, 1),
    CNTP_CVAL = CNT(2, 2),
    CNTV_TVAL = CNT(3, 0),
    CNTV_CTL = CNT(3, 1),
    CNTV_CVAL = CNT(3, 2),
};

#define CTL_ENABLE  1u
#define CTL_IMASK   2u
#define CTL_ISTATUS 4u

/* The index is CRm - 2. */
enum { PHYS = PV_GTIMER_PHYSICAL, VIRT = PV_GTIMER_VIRTUAL, TIMERS };

struct comparator {
    struct pv_gtimer *owner;
    unsigned vcpu;
    unsigned intid;
    uint32_t ctl; /* ENABLE and IMASK */
    uint64_t cval;
    bool level;
    struct pv_timer *host;
};

struct pv_gtimer {
    struct pv_gtimer_config config;
    int tick_shift; /* a tick is 2 to this nanoseconds; negative: no power of two */
    pthread_mutex_t lock;
    uint64_t base_ns; /* the host's time at which the counter was, or would have been, 0 */
    bool frozen;
    uint64_t frozen_ns; /* the host's time since when */
    struct comparator comparators[PV_MAX_VCPUS][TIMERS];
};

/* Guests read the counter all the time: a division would be a tenth of it. */
static int shift_of(uint64_t frequency)
{
    const uint64_t ns = PV_NSEC_PER_SEC / frequency;
    return PV_NSEC_PER_SEC % frequency || (ns & (ns - 1)) ? -1 : __builtin_ctzll(ns);
}

static uint64_t counter(const struct pv_gtimer *timer)
{
    uint64_t now = timer->frozen ? timer->frozen_ns : timer->config.now_ns();

    now -= timer->base_ns;
    return timer->tick_shift >= 0
               ? now >> timer->tick_shift
               : (uint64_t)((unsigned __int128)now * timer->config.frequency / PV_NSEC_PER_SEC);
}

uint64_t pv_gtimer_ticks_ns(const struct pv_gtimer *timer, uint64_t ticks)
{
    const unsigned __int128 scaled = (unsigned __int128)ticks * PV_NSEC_PER_SEC;
    const unsigned __int128 ns = (scaled + timer->config.frequency - 1) / timer->config.frequency;

    return ns > UINT64_MAX ? UINT64_MAX : (uint64_t)ns;
}

/*
 * The host time at which the counter reaches `cval`; UINT64_MAX when that is never. The counter of
 * a restored guest may be ahead of the host's clock: base_ns is then as if below zero.
 */
static uint64_t deadline(const struct pv_gtimer *timer, uint64_t cval)
{
    uint64_t now = timer->config.now_ns(), gone = now - timer->base_ns;
    uint64_t ns = pv_gtimer_ticks_ns(timer, cval);

    if (ns == UINT64_MAX)
        return UINT64_MAX;
    return __builtin_add_overflow(ns > gone ? ns - gone : 0, now, &ns) ? UINT64_MAX : ns;
}

static void update(struct comparator *cmp)
{
    struct pv_gtimer *timer = cmp->owner;
    bool running = (cmp->ctl & (CTL_ENABLE | CTL_IMASK)) == CTL_ENABLE;
    bool level = running && counter(timer) >= cmp->cval;

    pv_timer_set(cmp->host,
                 running && !level && !timer->frozen ? deadline(timer, cmp->cval) : UINT64_MAX);
    if (level != cmp->level) {
        cmp->level = level;
        timer->config.set_ppi(timer->config.opaque, cmp->vcpu, cmp->intid, level);
    }
}

static void expired(void *opaque)
{
    struct comparator *cmp = opaque;

    pthread_mutex_lock(&cmp->owner->lock);
    update(cmp);
    pthread_mutex_unlock(&cmp->owner->lock);
}

static struct comparator *comparator_of(struct pv_gtimer *timer, unsigned vcpu, uint32_t sysreg)
{
    switch (sysreg) {
    case CNTP_TVAL:
    case CNTP_CTL:
    case CNTP_CVAL: return &timer->comparators[vcpu][PHYS];
    case CNTV_TVAL:
    case CNTV_CTL:
    case CNTV_CVAL: return &timer->comparators[vcpu][VIRT];
    default: return NULL;
    }
}

static uint64_t read_comparator(const struct comparator *cmp, uint32_t sysreg)
{
    uint64_t now = counter(cmp->owner);

    switch (sysreg) {
    case CNTP_TVAL:
    case CNTV_TVAL: return (uint32_t)(cmp->cval - now);
    case CNTP_CTL:
    case CNTV_CTL:
        /* ISTATUS is unknown while disabled; 0 then. */
        return cmp->ctl | (cmp->ctl & CTL_ENABLE && now >= cmp->cval ? CTL_ISTATUS : 0);
    default: return cmp->cval;
    }
}

bool pv_gtimer_sysreg_read(struct pv_gtimer *timer, unsigned vcpu, uint32_t sysreg, uint64_t *value)
{
    struct comparator *cmp;

    switch (sysreg) {
    case CNTFRQ: *value = timer->config.frequency; return true;
    case CNTPCT:
    case CNTVCT: *value = counter(timer); return true;
    default: break;
    }
    cmp = comparator_of(timer, vcpu, sysreg);
    if (!cmp)
        return false;
    pthread_mutex_lock(&timer->lock);
    *value = read_comparator(cmp, sysreg);
    pthread_mutex_unlock(&timer->lock);
    return true;
}

bool pv_gtimer_sysreg_write(struct pv_gtimer *timer, unsigned vcpu, uint32_t sysreg, uint64_t value)
{
    struct comparator *cmp = comparator_of(timer, vcpu, sysreg);

    if (!cmp)
        return false;
    pthread_mutex_lock(&timer->lock);
    switch (sysreg) {
    case CNTP_TVAL:
    case CNTV_TVAL: cmp->cval = counter(timer) + (uint64_t)pv_sext(value, 32); break;
    case CNTP_CTL:
    case CNTV_CTL: cmp->ctl = (uint32_t)value & (CTL_ENABLE | CTL_IMASK); break;
    default: cmp->cval = value; break;
    }
    update(cmp);
    pthread_mutex_unlock(&timer->lock);
    return true;
}

uint64_t pv_gtimer_count(const struct pv_gtimer *timer)
{
    return counter(timer);
}

static void update_all(struct pv_gtimer *timer)
{
    for (unsigned vcpu = 0; vcpu < timer->config.vcpus; vcpu++) {
        for (unsigned i = 0; i < TIMERS; i++)
            update(&timer->comparators[vcpu][i]);
    }
}

void pv_gtimer_freeze(struct pv_gtimer *timer)
{
    pthread_mutex_lock(&timer->lock);
    timer->frozen_ns = timer->config.now_ns();
    timer->frozen = true;
    update_all(timer);
    pthread_mutex_unlock(&timer->lock);
}

void pv_gtimer_thaw(struct pv_gtimer *timer)
{
    pthread_mutex_lock(&timer->lock);
    timer->base_ns += timer->config.now_ns() - timer->frozen_ns;
    timer->frozen = false;
    update_all(timer);
    pthread_mutex_unlock(&timer->lock);
}

void pv_gtimer_reset_vcpu(struct pv_gtimer *timer, unsigned vcpu)
{
    pthread_mutex_lock(&timer->lock);
    for (unsigned i = 0; i < TIMERS; i++) {
        struct comparator *cmp = &timer->comparators[vcpu][i];
        cmp->ctl = 0;
        cmp->cval = 0;
        update(cmp);
    }
    pthread_mutex_unlock(&timer->lock);
}

void pv_gtimer_set_count(struct pv_gtimer *timer, uint64_t count)
{
    pthread_mutex_lock(&timer->lock);
    timer->base_ns = timer->frozen_ns - pv_gtimer_ticks_ns(timer, count);
    pthread_mutex_unlock(&timer->lock);
}

void pv_gtimer_put(struct pv_gtimer *timer, unsigned vcpu, enum pv_gtimer_which which, uint64_t ctl,
                   uint64_t cval)
{
    struct comparator *cmp = &timer->comparators[vcpu][which];

    pthread_mutex_lock(&timer->lock);
    cmp->ctl = ctl & (CTL_ENABLE | CTL_IMASK);
    cmp->cval = cval;
    /* Whatever the line was: the engine drove it. */
    cmp->level = cmp->ctl == CTL_ENABLE && counter(timer) >= cval;
    timer->config.set_ppi(timer->config.opaque, vcpu, cmp->intid, cmp->level);
    pthread_mutex_unlock(&timer->lock);
}

/* The line stays as it is. */
void pv_gtimer_take(struct pv_gtimer *timer, unsigned vcpu, enum pv_gtimer_which which,
                    uint64_t *ctl, uint64_t *cval)
{
    struct comparator *cmp = &timer->comparators[vcpu][which];

    pthread_mutex_lock(&timer->lock);
    *ctl = cmp->ctl;
    *cval = cmp->cval;
    cmp->ctl = 0;
    cmp->cval = 0;
    cmp->level = false;
    pthread_mutex_unlock(&timer->lock);
}

void pv_gtimer_record(struct pv_gtimer *timer, struct pv_record *record)
{
    uint64_t count = counter(timer);

    pthread_mutex_lock(&timer->lock);
    pv_record_begin(record, 1, "timers");
    pv_record_same(record, timer->config.frequency, "the counter's frequency");
    pv_record_u64(record, &count);
    for (unsigned vcpu = 0; vcpu < timer->config.vcpus; vcpu++) {
        for (unsigned i = 0; i < TIMERS; i++) {
            struct comparator *cmp = &timer->comparators[vcpu][i];
            pv_record_u32(record, &cmp->ctl);
            cmp->ctl &= CTL_ENABLE | CTL_IMASK;
            pv_record_u64(record, &cmp->cval);
            pv_record_bool(record, &cmp->level);
        }
    }
    pv_record_end(record);
    /* Levels are as the GIC's record has them: the next update drives what changed since. */
    if (pv_record_loading(record) && pv_record_ok(record))
        timer->base_ns = timer->frozen_ns - pv_gtimer_ticks_ns(timer, count);
    pthread_mutex_unlock(&timer->lock);
}

int pv_gtimer_create(struct pv_gtimer **out, const struct pv_gtimer_config *config,
                     struct pv_error **err)
{
    struct pv_gtimer *timer = calloc(1, sizeof(*timer));

    if (!timer)
        return pv_error_set(err, ENOMEM, "out of memory for the timers");
    timer->config = *config;
    if (!config->frequency)
        timer->config.frequency = PV_TIMER_FREQUENCY;
    timer->tick_shift = shift_of(timer->config.frequency);
    timer->base_ns = config->now_ns();
    pthread_mutex_init(&timer->lock, NULL);
    for (unsigned vcpu = 0; vcpu < config->vcpus; vcpu++) {
        for (unsigned i = 0; i < TIMERS; i++) {
            struct comparator *cmp = &timer->comparators[vcpu][i];
            cmp->owner = timer;
            cmp->vcpu = vcpu;
            cmp->intid = i == VIRT ? PV_INTID_TIMER_VIRT : PV_INTID_TIMER_PHYS;
            int ret = pv_timer_create(&cmp->host, config->loop, expired, cmp, err);
            if (ret < 0) {
                pv_gtimer_destroy(timer);
                return ret;
            }
        }
    }
    *out = timer;
    return 0;
}

void pv_gtimer_destroy(struct pv_gtimer *timer)
{
    if (!timer)
        return;
    for (unsigned vcpu = 0; vcpu < timer->config.vcpus; vcpu++) {
        for (unsigned i = 0; i < TIMERS; i++) {
            if (timer->comparators[vcpu][i].host)
                pv_timer_destroy(timer->comparators[vcpu][i].host);
        }
    }
    pthread_mutex_destroy(&timer->lock);
    free(timer);
}
