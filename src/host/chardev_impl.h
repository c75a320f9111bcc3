/* SPDX-License-Identifier: MIT */
/*
 * What the chardevs have in common: a pair of descriptors, output that waits for the host and input
 * that waits for the guest. A chardev embeds this first.
 */
#ifndef PV_HOST_CHARDEV_IMPL_H
#define PV_HOST_CHARDEV_IMPL_H

#include "base/buffer.h"
#include "host/chardev.h"
#include "host/loop.h"

#include <pthread.h>

struct pv_chardev_ops {
    /* Frees what the chardev has beyond its base and the memory of the whole. */
    void (*finish)(struct pv_chardev *chardev);
    /*
     * Looks at input before the guest does and may shorten or change it in place (at most `len`
     * plus PV_CHARDEV_SLACK bytes); returns the new length. May be NULL.
     */
    size_t (*filter)(struct pv_chardev *chardev, char *data, size_t len);
    /* There is a client: it wants to know what its `resized` would have told it. May be NULL. */
    void (*attached)(struct pv_chardev *chardev);
    /* The other end went away: the descriptors are no longer watched. May be NULL. */
    void (*hangup)(struct pv_chardev *chardev);
};

#define PV_CHARDEV_SLACK 1u

struct pv_chardev {
    const struct pv_chardev_ops *ops;
    struct pv_loop *loop; /* NULL for a chardev without a host end */
    struct pv_chardev_client client;

    int in_fd, out_fd; /* -1 when not connected; may be the same */
    /* One watch, in_watch, serves both directions of one descriptor. NULL when never needed. */
    struct pv_watch *in_watch, *out_watch;
    bool want_in, want_out;
    /* A regular file is always ready, which epoll refuses to say. */
    bool in_is_file;

    struct pv_event *input_event;  /* the guest has room again */
    struct pv_event *output_event; /* there is output to write */

    pthread_mutex_t lock; /* protects output and the log */
    int log_fd;           /* -1: no log */
    char *log_path;
    uint64_t log_size, log_max;
    struct pv_buffer output;

    char input[512 + PV_CHARDEV_SLACK]; /* read, and not yet taken by the guest */
    size_t input_at, input_len;
};

/* `output_max`: bytes of output kept while the host does not take it; then the oldest go. */
int pv_chardev_init(struct pv_chardev *chardev, const struct pv_chardev_ops *ops,
                    struct pv_loop *loop, size_t output_max, struct pv_error **err);

/* Starts reading in_fd and writing out_fd. The descriptors stay the caller's. */
int pv_chardev_connect(struct pv_chardev *chardev, int in_fd, int out_fd, struct pv_error **err);
void pv_chardev_disconnect(struct pv_chardev *chardev);

/* Writes waiting output, giving up after `milliseconds`. */
void pv_chardev_drain(struct pv_chardev *chardev, int milliseconds);

#endif
