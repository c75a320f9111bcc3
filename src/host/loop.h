/* SPDX-License-Identifier: MIT */
/*
 * The event loop that devices run on. One thread calls pv_loop_run(); descriptors, timers and
 * posted work all call back on that thread.
 *
 * Which calls may come from which thread: pv_loop_post(), pv_loop_stop(), pv_event_signal() and
 * pv_timer_set() from any; everything else on the loop's thread, or before pv_loop_run() and after
 * it returned.
 */
#ifndef PV_HOST_LOOP_H
#define PV_HOST_LOOP_H

#include <stdbool.h>
#include <stdint.h>

struct pv_error;
struct pv_event;
struct pv_loop;
struct pv_watch;
struct pv_timer;

#define PV_LOOP_READ  1u
#define PV_LOOP_WRITE 2u
#define PV_LOOP_HUP   4u /* only reported: error or hang-up */

int pv_loop_create(struct pv_loop **out, struct pv_error **err);

/* Frees the loop and everything still registered with it. NULL is fine. */
void pv_loop_destroy(struct pv_loop *loop);

/* Runs until pv_loop_stop(). Returns 0 or a negative errno. */
int pv_loop_run(struct pv_loop *loop, struct pv_error **err);

/* Makes pv_loop_run() return after the callback in progress. Async-signal-safe. */
void pv_loop_stop(struct pv_loop *loop);

/*
 * Calls `fn(opaque)` once on the loop's thread, in posting order. Work still queued when the loop
 * is destroyed is dropped.
 */
int pv_loop_post(struct pv_loop *loop, void (*fn)(void *opaque), void *opaque);

/*
 * Work that is asked for again and again: however often it was signalled since it last ran, `fn`
 * runs once. Signalling allocates nothing and cannot fail. Once destroyed it does not run any more.
 */
int pv_event_create(struct pv_event **out, struct pv_loop *loop, void (*fn)(void *opaque),
                    void *opaque, struct pv_error **err);
void pv_event_signal(struct pv_event *event);
void pv_event_destroy(struct pv_event *event);

typedef void pv_watch_fn(void *opaque, int fd, unsigned events);

/* Watches `fd` (still the caller's) for `events`; level-triggered. */
int pv_watch_create(struct pv_watch **out, struct pv_loop *loop, int fd, unsigned events,
                    pv_watch_fn *fn, void *opaque, struct pv_error **err);
int pv_watch_update(struct pv_watch *watch, unsigned events);
void pv_watch_destroy(struct pv_watch *watch);

/* A one-shot timer; `fn` runs on the loop's thread. Created disarmed. */
int pv_timer_create(struct pv_timer **out, struct pv_loop *loop, void (*fn)(void *opaque),
                    void *opaque, struct pv_error **err);

/* Arms for an absolute pv_clock_ns() time (past: at once), or disarms with UINT64_MAX. */
void pv_timer_set(struct pv_timer *timer, uint64_t deadline_ns);
void pv_timer_destroy(struct pv_timer *timer);

#endif
