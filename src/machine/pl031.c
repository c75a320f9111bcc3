/* SPDX-License-Identifier: MIT */
/* PL031 real-time clock (DDI 0224): the host's wall clock plus what the guest set, in seconds. */
#include "machine/pl.h"

#include "base/error.h"
#include "base/record.h"
#include "base/util.h"
#include "host/clock.h"
#include "host/loop.h"
#include "machine/map.h"
#include "memory/address_space.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    REG_DR = 0x00,
    REG_MR = 0x04,
    REG_LR = 0x08,
    REG_CR = 0x0c,
    REG_IMSC = 0x10,
    REG_RIS = 0x14,
    REG_MIS = 0x18,
    REG_ICR = 0x1c,
};

struct pv_pl031 {
    struct pv_address_space *as;
    uint64_t address;
    struct pv_irq irq;
    pthread_mutex_t lock;
    struct pv_timer *alarm;
    uint32_t offset; /* guest's time minus the host's, modulo 2^32 */
    uint32_t match, load, imsc, ris;
    bool armed; /* the alarm waits for the match */
};

static uint32_t now(const struct pv_pl031 *rtc)
{
    return (uint32_t)(pv_clock_wall_ns() / PV_NSEC_PER_SEC) + rtc->offset;
}

/* With the lock held: the wire, and the host timer for the next match. */
static void update(struct pv_pl031 *rtc)
{
    pv_irq_set(&rtc->irq, rtc->ris & rtc->imsc);
}

static void arm(struct pv_pl031 *rtc)
{
    /* The match register compares equal once in 2^32 seconds: this is how far off it is. */
    uint32_t seconds = rtc->match - now(rtc);
    uint64_t into = pv_clock_wall_ns() % PV_NSEC_PER_SEC;

    rtc->armed = seconds;
    if (seconds == 0) {
        rtc->ris = 1;
        pv_timer_set(rtc->alarm, UINT64_MAX);
    } else {
        pv_timer_set(rtc->alarm, pv_clock_ns() + seconds * PV_NSEC_PER_SEC - into);
    }
    update(rtc);
}

static void alarm_fired(void *opaque)
{
    struct pv_pl031 *rtc = opaque;

    pthread_mutex_lock(&rtc->lock);
    arm(rtc);
    pthread_mutex_unlock(&rtc->lock);
}

static uint64_t pl031_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pv_pl031 *rtc = opaque;
    uint32_t value;

    (void)size;
    pthread_mutex_lock(&rtc->lock);
    switch (offset) {
    case REG_DR: value = now(rtc); break;
    case REG_MR: value = rtc->match; break;
    case REG_LR: value = rtc->load; break;
    case REG_CR: value = 1; break; /* always on */
    case REG_IMSC: value = rtc->imsc; break;
    case REG_RIS: value = rtc->ris; break;
    case REG_MIS: value = rtc->ris & rtc->imsc; break;
    default: value = pv_pl_id(0x031, 0, offset); break;
    }
    pthread_mutex_unlock(&rtc->lock);
    return value;
}

static void pl031_write(void *opaque, uint64_t offset, unsigned size, uint64_t wide)
{
    struct pv_pl031 *rtc = opaque;
    uint32_t value = (uint32_t)wide;

    (void)size;
    pthread_mutex_lock(&rtc->lock);
    switch (offset) {
    case REG_MR:
        rtc->match = value;
        arm(rtc);
        break;
    case REG_LR:
        rtc->load = value;
        rtc->offset += value - now(rtc);
        arm(rtc);
        break;
    case REG_IMSC:
        rtc->imsc = value & 1;
        update(rtc);
        break;
    case REG_ICR:
        rtc->ris &= ~value;
        update(rtc);
        break;
    default: break;
    }
    pthread_mutex_unlock(&rtc->lock);
}

void pv_pl031_reset(struct pv_pl031 *rtc)
{
    pthread_mutex_lock(&rtc->lock);
    rtc->match = rtc->load = rtc->imsc = rtc->ris = 0; /* the time itself is battery-backed */
    rtc->armed = false;
    pv_timer_set(rtc->alarm, UINT64_MAX);
    update(rtc);
    pthread_mutex_unlock(&rtc->lock);
}

/* The guest's clock goes on by the host's: it shows the time of day after a restore, too. */
void pv_pl031_record(struct pv_pl031 *rtc, struct pv_record *record)
{
    uint32_t *const registers[] = {&rtc->offset, &rtc->match, &rtc->load, &rtc->imsc, &rtc->ris};

    pthread_mutex_lock(&rtc->lock);
    bool armed = rtc->armed;
    pv_record_begin(record, 1, "pl031");
    for (unsigned i = 0; i < PV_ARRAY_SIZE(registers); i++)
        pv_record_u32(record, registers[i]);
    pv_record_bool(record, &armed);
    pv_record_end(record);
    if (pv_record_loading(record) && pv_record_ok(record)) {
        update(rtc);
        if (armed)
            arm(rtc);
    }
    pthread_mutex_unlock(&rtc->lock);
}

int pv_pl031_create(struct pv_pl031 **out, struct pv_address_space *as, uint64_t address,
                    struct pv_irq irq, struct pv_loop *loop, struct pv_error **err)
{
    static const struct pv_mmio_ops ops = {pl031_read, pl031_write};
    struct pv_pl031 *rtc = calloc(1, sizeof(*rtc));

    if (!rtc)
        return pv_error_set(err, ENOMEM, "out of memory for the clock");
    rtc->as = as;
    rtc->address = address;
    rtc->irq = irq;
    int ret = pv_timer_create(&rtc->alarm, loop, alarm_fired, rtc, err);
    if (ret < 0)
        goto fail;
    ret = pv_as_add_mmio(as, address, PV_MAP_PL_SIZE, &ops, rtc, "pl031", err);
    if (ret < 0) {
        pv_timer_destroy(rtc->alarm);
        goto fail;
    }
    pthread_mutex_init(&rtc->lock, NULL);
    *out = rtc;
    return 0;
fail:
    free(rtc);
    return ret;
}

void pv_pl031_destroy(struct pv_pl031 *rtc)
{
    if (!rtc)
        return;
    pv_as_remove(rtc->as, rtc->address);
    pv_timer_destroy(rtc->alarm);
    pthread_mutex_destroy(&rtc->lock);
    free(rtc);
}
