/* SPDX-License-Identifier: MIT */
/*
 * EVFILT_SIGNAL tells of signals also when they are ignored, which these are. The filter is on a
 * kqueue of its own, whose descriptor the loop watches like any other.
 */
#include "host/signals.h"

#include "base/error.h"
#include "base/util.h"
#include "host/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/event.h>

struct pv_signal {
    struct pv_watch *watch;
    void (*fn)(void *opaque, int signal_number);
    void *opaque;
    int fd;
};

static void fired(void *opaque, int fd, unsigned events)
{
    struct pv_signal *signal = opaque;
    const struct timespec now = {0};
    struct kevent event;
    if (kevent(fd, NULL, 0, &event, 1, &now) == 1)
        signal->fn(signal->opaque, (int)event.ident);
}

int pv_signal_create(struct pv_signal **out, struct pv_loop *loop, int signal_number,
                     void (*fn)(void *opaque, int signal_number), void *opaque,
                     struct pv_error **err)
{
    struct pv_signal *watched = calloc(1, sizeof(*watched));
    struct kevent event;
    if (!watched)
        return pv_error_set(err, ENOMEM, "signal %d: out of memory", signal_number);
    watched->fn = fn;
    watched->opaque = opaque;
    watched->fd = kqueue();
    EV_SET(&event, (uintptr_t)signal_number, EVFILT_SIGNAL, EV_ADD | EV_CLEAR, 0, 0, NULL);
    int ret = watched->fd < 0 || fcntl(watched->fd, F_SETFD, FD_CLOEXEC) < 0 ||
                      kevent(watched->fd, &event, 1, NULL, 0, NULL) < 0
                  ? pv_error_errno(err, errno, "signal %d", signal_number)
                  : pv_watch_create(&watched->watch, loop, watched->fd, PV_LOOP_READ, fired,
                                    watched, err);
    if (ret < 0) {
        pv_signal_destroy(watched);
        return ret;
    }
    signal(signal_number, SIG_IGN);
    *out = watched;
    return 0;
}

void pv_signal_destroy(struct pv_signal *signal)
{
    if (!signal)
        return;
    pv_watch_destroy(signal->watch);
    if (signal->fd >= 0)
        close(signal->fd);
    free(signal);
}
