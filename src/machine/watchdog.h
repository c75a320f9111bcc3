/* SPDX-License-Identifier: MIT */
/*
 * The SBSA generic watchdog (DEN 0029, appendix C): a guest that does not refresh it in time gets
 * an interrupt (WS0), and when it does not answer that either, what its owner decides (WS1).
 */
#ifndef PV_MACHINE_WATCHDOG_H
#define PV_MACHINE_WATCHDOG_H

#include "base/irq.h"

struct pv_address_space;
struct pv_error;
struct pv_gtimer;
struct pv_loop;
struct pv_record;
struct pv_watchdog;

struct pv_watchdog_config {
    struct pv_loop *loop;
    struct pv_address_space *as;  /* frames at PV_MAP_WDT_REFRESH and PV_MAP_WDT_CONTROL */
    struct pv_gtimer *timer;      /* its counter is the watchdog's */
    struct pv_irq irq;            /* WS0 */
    void (*bitten)(void *opaque); /* WS1 comes up; on the loop's thread */
    void *opaque;
};

int pv_watchdog_create(struct pv_watchdog **out, const struct pv_watchdog_config *config,
                       struct pv_error **err);
void pv_watchdog_destroy(struct pv_watchdog *wdt);
void pv_watchdog_reset(struct pv_watchdog *wdt);
void pv_watchdog_record(struct pv_watchdog *wdt, struct pv_record *record);
/* A host timer expired: what passes by itself when the counter gets there. Also for tests. */
void pv_watchdog_check(struct pv_watchdog *wdt);

#endif
