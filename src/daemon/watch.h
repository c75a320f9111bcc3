/* SPDX-License-Identifier: MIT */
/*
 * Watches the library: what states VMs are in, what changes (events), and who is to be started
 * again.
 *
 * Nothing is kept that a daemon that was killed would miss: states come from the VMs' folders each
 * time, and a VM whose process vanished while no daemon ran looks as it would have looked to one.
 */
#ifndef PV_DAEMON_WATCH_H
#define PV_DAEMON_WATCH_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct pv_error;
struct pv_watcher;

enum pv_restart {
    PV_RESTART_NEVER,
    PV_RESTART_ON_FAILURE,
    PV_RESTART_ALWAYS, /* unless its owner ended it */
};
const char *pv_restart_name(enum pv_restart restart);

/* What VM `folder`'s file says; never when it cannot be read. */
enum pv_restart pv_restart_of(const char *folder);

/* `program` is what VMs are started with, and outlives it. */
int pv_watcher_create(struct pv_watcher **out, const char *program, struct pv_error **err);
/* Wakes who waits in pv_watcher_next(); it then returns false at once, for good. */
void pv_watcher_stop(struct pv_watcher *watcher);
/* NULL is fine. */
void pv_watcher_destroy(struct pv_watcher *watcher);

/* Something was done just now, so that looking soon is worth it. Any thread. */
void pv_watcher_look(struct pv_watcher *watcher);

/* The number of the last event; 0: none yet. */
json_int_t pv_watcher_last(struct pv_watcher *watcher);

/*
 * The events behind *since that are remembered, as lines of JSON, into `buffer`; waits for one for
 * some seconds. *since moves to the last. The bytes written: 0 when nothing happened, negative
 * when it is all over.
 */
long pv_watcher_next(struct pv_watcher *watcher, json_int_t *since, char *buffer, size_t size);

/* Calls `fn` with each VM's name and folder, sorted by name. */
int pv_watch_each(void (*fn)(void *opaque, const char *name, const char *folder), void *opaque,
                  struct pv_error **err);

#endif
