/* SPDX-License-Identifier: MIT */
/*
 * pearvisord: the library of VMs over HTTP.
 *
 * A front and a watcher, with no state of their own. Requests become commands or questions to VMs
 * (handlers.c), each on a thread of its connection, so that a slow one is nobody else's; the
 * watcher (watch.h) starts VMs again that are meant to run. VMs are processes of their own, and
 * a daemon that ends, however it ends, leaves them running.
 */
#ifndef PV_DAEMON_DAEMON_H
#define PV_DAEMON_DAEMON_H

#include <stdint.h>

struct pv_daemon;
struct pv_error;
struct pv_remote_config;
struct pv_watcher;

struct pv_daemon_config {
    const char *program;                   /* what runs commands: pearvisor's path */
    const char *socket;                    /* where it listens, for its owner only */
    const struct pv_remote_config *remote; /* for other machines too (remote.h); or NULL */
};

/* Listens and answers from here on, by threads of its own. Strings outlive it. */
int pv_daemon_create(struct pv_daemon **out, const struct pv_daemon_config *config,
                     struct pv_error **err);
/* NULL is fine. */
void pv_daemon_destroy(struct pv_daemon *daemon);

/* ---- For handlers ---- */

const char *pv_daemon_program(const struct pv_daemon *daemon);
struct pv_watcher *pv_daemon_watcher(const struct pv_daemon *daemon);

#endif
