/* SPDX-License-Identifier: MIT */
/*
 * The generic timer (Arm ARM D11): a virtual and a physical EL1 timer for each vCPU over one
 * counter, CNTVOFF being 0. Where the engine has timers of its own, this is the counter that the
 * rest of the board goes by.
 */
#ifndef PV_MACHINE_TIMER_H
#define PV_MACHINE_TIMER_H

#include <stdbool.h>
#include <stdint.h>

struct pv_error;
struct pv_gtimer;
struct pv_loop;
struct pv_record;

struct pv_gtimer_config {
    struct pv_loop *loop;
    unsigned vcpus;
    uint64_t (*now_ns)(void); /* pv_clock_ns, or a test's */
    /* Drives a PPI by INTID. Any thread; under the timer's lock. */
    void (*set_ppi)(void *opaque, unsigned vcpu, unsigned intid, bool level);
    void *opaque;
    uint64_t frequency; /* of the counter, in Hz; 0: PV_TIMER_FREQUENCY */
};

int pv_gtimer_create(struct pv_gtimer **out, const struct pv_gtimer_config *config,
                     struct pv_error **err);
void pv_gtimer_destroy(struct pv_gtimer *timer);

/* Timers off. The counter goes on. */
void pv_gtimer_reset_vcpu(struct pv_gtimer *timer, unsigned vcpu);

/*
 * Stops the counter, and lets it go on from where it stood: a guest that is paused sees no time
 * pass. While no vCPU executes.
 */
void pv_gtimer_freeze(struct pv_gtimer *timer);
void pv_gtimer_thaw(struct pv_gtimer *timer);

/*
 * Counter and timers; while frozen. A loaded counter goes on from where it stood. The GIC's record
 * has what they drive.
 */
void pv_gtimer_record(struct pv_gtimer *timer, struct pv_record *record);

/*
 * For an engine whose vCPUs have the counter and timers (the virtual one, or both) themselves: so
 * that records are the same on every engine, theirs are put here before saving, which also brings
 * the line up to date, and taken from here after that and after loading. While frozen.
 */
enum pv_gtimer_which { PV_GTIMER_PHYSICAL, PV_GTIMER_VIRTUAL };
void pv_gtimer_set_count(struct pv_gtimer *timer, uint64_t count);
void pv_gtimer_put(struct pv_gtimer *timer, unsigned vcpu, enum pv_gtimer_which which, uint64_t ctl,
                   uint64_t cval);
void pv_gtimer_take(struct pv_gtimer *timer, unsigned vcpu, enum pv_gtimer_which which,
                    uint64_t *ctl, uint64_t *cval);

/* CNTVCT. */
uint64_t pv_gtimer_count(const struct pv_gtimer *timer);

/* How long so many ticks take, rounded up; UINT64_MAX when that is beyond 64 bits. */
uint64_t pv_gtimer_ticks_ns(const struct pv_gtimer *timer, uint64_t ticks);

/* CNT* registers by encoding; false when it is not one. */
bool pv_gtimer_sysreg_read(struct pv_gtimer *timer, unsigned vcpu, uint32_t sysreg,
                           uint64_t *value);
bool pv_gtimer_sysreg_write(struct pv_gtimer *timer, unsigned vcpu, uint32_t sysreg,
                            uint64_t value);

#endif
