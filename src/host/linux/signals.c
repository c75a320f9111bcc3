/* SPDX-License-Identifier: MIT */
#include "host/signals.h"

#include "base/error.h"
#include "base/util.h"
#include "host/loop.h"

#include <errno.h>
#include <signal.h>
#include <sys/signalfd.h>

struct pv_signal {
    struct pv_watch *watch;
    void (*fn)(void *opaque, int signal_number);
    void *opaque;
    int fd;
};

static void fired(void *opaque, int fd, unsigned events)
{
    struct pv_signal *signal = opaque;
    struct signalfd_siginfo info;
    if (read(fd, &info, sizeof(info)) == (ssize_t)sizeof(info))
        signal->fn(signal->opaque, (int)info.ssi_signo);
}

int pv_signal_create(struct pv_signal **out, struct pv_loop *loop, int signal_number,
                     void (*fn)(void *opaque, int signal_number), void *opaque,
                     struct pv_error **err)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, signal_number);
    struct pv_signal *signal = calloc(1, sizeof(*signal));
    if (!signal)
        return pv_error_set(err, ENOMEM, "signal %d: out of memory", signal_number);
    signal->fn = fn;
    signal->opaque = opaque;
    signal->fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    int ret = signal->fd < 0 ? pv_error_errno(err, errno, "signal %d", signal_number)
                             : pv_watch_create(&signal->watch, loop, signal->fd, PV_LOOP_READ,
                                               fired, signal, err);
    if (ret < 0) {
        pv_signal_destroy(signal);
        return ret;
    }
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    *out = signal;
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
