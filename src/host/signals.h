/* SPDX-License-Identifier: MIT */
/*
 * Signals as loop events. The signal is blocked in the calling thread, and so in the threads it
 * makes later: create these before any other thread.
 */
#ifndef PV_HOST_SIGNALS_H
#define PV_HOST_SIGNALS_H

struct pv_error;
struct pv_loop;
struct pv_signal;

/* `fn` runs on the loop's thread, once for any number of signals that came meanwhile. */
int pv_signal_create(struct pv_signal **out, struct pv_loop *loop, int signal_number,
                     void (*fn)(void *opaque, int signal_number), void *opaque,
                     struct pv_error **err);

/* Stops watching; the signal stays blocked. NULL is fine. */
void pv_signal_destroy(struct pv_signal *signal);

#endif
