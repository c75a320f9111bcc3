/* SPDX-License-Identifier: MIT */
/*
 * Two stages of one length: WOR ticks after the last refresh WS0 comes up, as many after that WS1.
 * A refresh, switching it on and a write to the length start anew.
 *
 * Time is the guest's counter, which stands still while the VM is paused. The host timer only makes
 * us look: when it was early, because the counter stood, it is set again for what is left.
 */
#include "machine/watchdog.h"

#include "base/error.h"
#include "base/record.h"
#include "base/util.h"
#include "host/clock.h"
#include "host/loop.h"
#include "machine/map.h"
#include "machine/timer.h"
#include "memory/address_space.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

enum {
    WRR = 0x000, /* refresh frame */
    WCS = 0x000, /* control frame, as what follows */
    WOR_LOW = 0x008,
    WOR_HIGH = 0x00c,
    WCV_LOW = 0x010,
    WCV_HIGH = 0x014,
    W_IIDR = 0xfcc, /* both */
};

#define WCS_ENABLE 1u
#define WCS_WS0    2u
#define WCS_WS1    4u
#define WOR_BITS   48u
#define IIDR_VALUE (1u << 16 | 0x43bu) /* version 1: WOR has 48 bits; Arm */

/* How soon the host timer looks again at least, where the counter may stand still. */
#define LOOK_NS (PV_NSEC_PER_SEC / 100)

struct pv_watchdog {
    struct pv_watchdog_config config;
    struct pv_timer *host;
    pthread_mutex_t lock;
    uint32_t status;  /* as WCS */
    uint64_t length;  /* WOR */
    uint64_t compare; /* WCV */
};

/* ---- Lock held ---- */

static void arm(struct pv_watchdog *wdt)
{
    uint64_t now = pv_gtimer_count(wdt->config.timer), wait;
    uint64_t deadline = UINT64_MAX;

    pv_irq_set(&wdt->config.irq, wdt->status & WCS_WS0);
    if ((wdt->status & WCS_ENABLE) && !(wdt->status & WCS_WS1)) {
        wait = wdt->compare > now ? wdt->compare - now : 0;
        wait = pv_gtimer_ticks_ns(wdt->config.timer, wait);
        if (wait < UINT64_MAX / 2)
            deadline = pv_clock_ns() + PV_MAX(wait, LOOK_NS);
    }
    pv_timer_set(wdt->host, deadline);
}

static void refresh(struct pv_watchdog *wdt)
{
    wdt->status &= WCS_ENABLE;
    wdt->compare = pv_gtimer_count(wdt->config.timer) + wdt->length;
    arm(wdt);
}

/* ---- Time ---- */

void pv_watchdog_check(struct pv_watchdog *wdt)
{
    bool bitten = false;

    pthread_mutex_lock(&wdt->lock);
    uint64_t now = pv_gtimer_count(wdt->config.timer);
    if ((wdt->status & WCS_ENABLE) && !(wdt->status & WCS_WS1) && now >= wdt->compare) {
        bitten = wdt->status & WCS_WS0;
        wdt->status |= bitten ? WCS_WS1 : WCS_WS0;
        if (!bitten)
            wdt->compare = now + wdt->length;
    }
    arm(wdt);
    pthread_mutex_unlock(&wdt->lock);
    if (bitten)
        wdt->config.bitten(wdt->config.opaque);
}

static void expired(void *opaque)
{
    pv_watchdog_check(opaque);
}

/* ---- Registers ---- */

static uint64_t refresh_read(void *opaque, uint64_t offset, unsigned size)
{
    (void)opaque;
    return size == 4 && offset == W_IIDR ? IIDR_VALUE : 0;
}

static void refresh_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pv_watchdog *wdt = opaque;

    (void)value;
    if (size != 4 || offset != WRR)
        return;
    pthread_mutex_lock(&wdt->lock);
    refresh(wdt);
    pthread_mutex_unlock(&wdt->lock);
}

static uint32_t load(const struct pv_watchdog *wdt, uint64_t offset)
{
    switch (offset) {
    case WCS: return wdt->status;
    case WOR_LOW: return (uint32_t)wdt->length;
    case WOR_HIGH: return (uint32_t)(wdt->length >> 32);
    case WCV_LOW: return (uint32_t)wdt->compare;
    case WCV_HIGH: return (uint32_t)(wdt->compare >> 32);
    case W_IIDR: return IIDR_VALUE;
    default: return 0;
    }
}

static uint64_t control_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pv_watchdog *wdt = opaque;

    if (size < 4 || offset % size)
        return 0;
    pthread_mutex_lock(&wdt->lock);
    uint64_t value = load(wdt, offset);
    if (size == 8)
        value |= (uint64_t)load(wdt, offset + 4) << 32;
    pthread_mutex_unlock(&wdt->lock);
    return value;
}

static void store(struct pv_watchdog *wdt, uint64_t offset, uint64_t value)
{
    const uint64_t low = UINT32_MAX;

    switch (offset) {
    case WCS:
        wdt->status = value & WCS_ENABLE;
        refresh(wdt);
        break;
    case WOR_LOW:
        wdt->length = (wdt->length & ~low) | value;
        refresh(wdt);
        break;
    case WOR_HIGH:
        wdt->length = (wdt->length & low) | pv_bits(value, 0, WOR_BITS - 32) << 32;
        refresh(wdt);
        break;
    case WCV_LOW: wdt->compare = (wdt->compare & ~low) | value; break;
    case WCV_HIGH: wdt->compare = (wdt->compare & low) | value << 32; break;
    default: return;
    }
    arm(wdt);
}

static void control_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pv_watchdog *wdt = opaque;

    if (size < 4 || offset % size)
        return;
    pthread_mutex_lock(&wdt->lock);
    store(wdt, offset, value & UINT32_MAX);
    if (size == 8)
        store(wdt, offset + 4, value >> 32);
    pthread_mutex_unlock(&wdt->lock);
}

/* ---- Life ---- */

void pv_watchdog_reset(struct pv_watchdog *wdt)
{
    pthread_mutex_lock(&wdt->lock);
    wdt->status = 0;
    wdt->length = wdt->compare = 0;
    arm(wdt);
    pthread_mutex_unlock(&wdt->lock);
}

/* After the counter that it goes by. */
void pv_watchdog_record(struct pv_watchdog *wdt, struct pv_record *record)
{
    pthread_mutex_lock(&wdt->lock);
    pv_record_begin(record, 1, "watchdog");
    pv_record_u32(record, &wdt->status);
    pv_record_u64(record, &wdt->length);
    pv_record_u64(record, &wdt->compare);
    wdt->status &= WCS_ENABLE | WCS_WS0 | WCS_WS1;
    wdt->length = pv_bits(wdt->length, 0, WOR_BITS);
    pv_record_end(record);
    if (pv_record_loading(record))
        arm(wdt);
    pthread_mutex_unlock(&wdt->lock);
}

int pv_watchdog_create(struct pv_watchdog **out, const struct pv_watchdog_config *config,
                       struct pv_error **err)
{
    static const struct pv_mmio_ops refresh_ops = {refresh_read, refresh_write};
    static const struct pv_mmio_ops control_ops = {control_read, control_write};
    struct pv_watchdog *wdt = calloc(1, sizeof(*wdt));

    if (!wdt)
        return pv_error_set(err, ENOMEM, "out of memory for the watchdog");
    wdt->config = *config;
    int ret = pv_timer_create(&wdt->host, config->loop, expired, wdt, err);
    if (ret < 0) {
        free(wdt);
        return ret;
    }
    pthread_mutex_init(&wdt->lock, NULL);
    ret = pv_as_add_mmio(config->as, PV_MAP_WDT_REFRESH, PV_MAP_WDT_SIZE, &refresh_ops, wdt,
                         "watchdog", err);
    if (ret >= 0)
        ret = pv_as_add_mmio(config->as, PV_MAP_WDT_CONTROL, PV_MAP_WDT_SIZE, &control_ops, wdt,
                             "watchdog", err);
    if (ret < 0) {
        pv_watchdog_destroy(wdt);
        return ret;
    }
    *out = wdt;
    return 0;
}

void pv_watchdog_destroy(struct pv_watchdog *wdt)
{
    if (!wdt)
        return;
    pv_as_remove(wdt->config.as, PV_MAP_WDT_REFRESH);
    pv_as_remove(wdt->config.as, PV_MAP_WDT_CONTROL);
    pv_timer_destroy(wdt->host);
    pthread_mutex_destroy(&wdt->lock);
    free(wdt);
}
