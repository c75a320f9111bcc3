/* SPDX-License-Identifier: MIT */
/*
 * A byte stream between a guest's serial port or console and something on the host: this process's
 * terminal, a pseudo-terminal, a unix socket, or memory (tests). Lives on one event loop; callbacks
 * run on its thread. pv_chardev_write may be called from any thread.
 */
#ifndef PV_HOST_CHARDEV_H
#define PV_HOST_CHARDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_chardev;
struct pv_error;
struct pv_loop;

/* The guest side. Both on the loop's thread. */
struct pv_chardev_client {
    /* Bytes for the guest; returns how many it took. The rest is offered after can_accept. */
    size_t (*receive)(void *opaque, const void *data, size_t len);
    /* The terminal's size in characters became known or changed. May be NULL. */
    void (*resized)(void *opaque, unsigned columns, unsigned rows);
    void *opaque;
};

/*
 * This process's stdin and stdout; a terminal is put in raw mode until destroy. The escape key
 * Ctrl-] starts a command: q calls `escape`, Ctrl-] sends one to the guest, anything else sends
 * both keys. It is only special on a terminal. Destroying waits a moment for unwritten output.
 */
int pv_chardev_stdio_create(struct pv_chardev **out, struct pv_loop *loop,
                            void (*escape)(void *opaque), void *opaque, struct pv_error **err);

/* A new pseudo-terminal; *path (the caller frees it) names its slave side. */
int pv_chardev_pty_create(struct pv_chardev **out, struct pv_loop *loop, char **path,
                          struct pv_error **err);

/* A listening unix socket; one client at a time, output without a client is kept up to 64 KiB. */
int pv_chardev_unix_create(struct pv_chardev **out, struct pv_loop *loop, const char *path,
                           struct pv_error **err);

/* Swallows output and never has input. */
int pv_chardev_null_create(struct pv_chardev **out, struct pv_error **err);

/*
 * Appends all output to the file `path` as well, whether or not anyone takes it at the other end.
 * Before the guest runs. When the file cannot be written any more, the log ends with a warning.
 * One of `max` bytes (0: no limit) becomes PATH.1, in the place of an older one, and a new one
 * begins.
 */
int pv_chardev_log(struct pv_chardev *chardev, const char *path, uint64_t max,
                   struct pv_error **err);

void pv_chardev_destroy(struct pv_chardev *chardev);

void pv_chardev_set_client(struct pv_chardev *chardev, const struct pv_chardev_client *client);

/* Bytes from the guest. Never blocks: what the host does not take is buffered, then dropped. */
void pv_chardev_write(struct pv_chardev *chardev, const void *data, size_t len);

/* The guest has room again after receive() took less than offered. Any thread. */
void pv_chardev_can_accept(struct pv_chardev *chardev);

#endif
