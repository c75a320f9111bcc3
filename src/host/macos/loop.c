/* SPDX-License-Identifier: MIT */
/*
 * kqueue: a filter for each direction of a watched descriptor, EVFILT_TIMER for timers, EVFILT_USER
 * to wake the loop for posted work.
 *
 * What was destroyed inside a callback may still stand in the batch of events that kevent()
 * returned, so it is unlinked at once, skipped by its `dead` flag, and freed when the batch is
 * done.
 *
 * A watch that does not want to read keeps its read filter with a low-water mark that nothing
 * reaches: what still comes through is the end of the stream, which is always reported.
 */
#include "host/loop_queue.h"

#include "base/error.h"
#include "base/util.h"
#include "host/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <sys/event.h>

#define WAKE_IDENT 0

enum source_kind {
    WATCH,
    TIMER,
};

/* What an event's udata points to. */
struct source {
    struct source *next, **link; /* of the loop's list, or of the graveyard */
    struct pv_loop *loop;
    enum source_kind kind;
    bool dead;
};

struct pv_watch {
    struct source source; /* first */
    pv_watch_fn *fn;
    void *opaque;
    int fd;
    unsigned wanted;
};

struct pv_timer {
    struct source source; /* first */
    void (*fn)(void *opaque);
    void *opaque;
    _Atomic uint64_t deadline;
};

struct pv_loop {
    struct pv_loop_queue queue; /* first */
    int kqueue_fd;
    _Atomic bool stop;
    struct source *sources;
    struct source *graveyard;
};

/* ---- Sources ---- */

static void link_source(struct source *source, struct pv_loop *loop, enum source_kind kind)
{
    *source =
        (struct source){.next = loop->sources, .link = &loop->sources, .loop = loop, .kind = kind};
    if (source->next)
        source->next->link = &source->next;
    loop->sources = source;
}

static void bury_source(struct source *source)
{
    struct pv_loop *loop = source->loop;
    *source->link = source->next;
    if (source->next)
        source->next->link = source->link;
    source->dead = true;
    source->next = loop->graveyard;
    loop->graveyard = source;
}

static void free_buried(struct pv_loop *loop)
{
    while (loop->graveyard) {
        struct source *source = loop->graveyard;
        loop->graveyard = source->next;
        free(source);
    }
}

/* ---- The loop ---- */

void pv_loop_wake(struct pv_loop *loop)
{
    struct kevent event;
    EV_SET(&event, WAKE_IDENT, EVFILT_USER, 0, NOTE_TRIGGER, 0, NULL);
    kevent(loop->kqueue_fd, &event, 1, NULL, 0, NULL);
}

int pv_loop_create(struct pv_loop **out, struct pv_error **err)
{
    struct pv_loop *loop = calloc(1, sizeof(*loop));
    struct kevent event;
    if (!loop)
        return pv_error_set(err, ENOMEM, "event loop: out of memory");
    pv_loop_queue_init(&loop->queue);
    loop->kqueue_fd = kqueue();
    EV_SET(&event, WAKE_IDENT, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0, NULL);
    if (loop->kqueue_fd < 0 || fcntl(loop->kqueue_fd, F_SETFD, FD_CLOEXEC) < 0 ||
        kevent(loop->kqueue_fd, &event, 1, NULL, 0, NULL) < 0) {
        int code = errno;
        pv_loop_destroy(loop);
        return pv_error_errno(err, code, "event loop");
    }
    *out = loop;
    return 0;
}

void pv_loop_destroy(struct pv_loop *loop)
{
    if (!loop)
        return;
    while (loop->sources) {
        if (loop->sources->kind == WATCH)
            pv_watch_destroy((struct pv_watch *)(void *)loop->sources);
        else
            pv_timer_destroy((struct pv_timer *)(void *)loop->sources);
    }
    free_buried(loop);
    pv_loop_queue_finish(&loop->queue);
    if (loop->kqueue_fd >= 0)
        close(loop->kqueue_fd);
    free(loop);
}

static void watch_fired(struct pv_watch *watch, const struct kevent *event)
{
    unsigned what = event->filter == EVFILT_WRITE ? PV_LOOP_WRITE : PV_LOOP_READ;
    if (event->flags & (EV_EOF | EV_ERROR))
        what |= PV_LOOP_HUP;
    /* Two filters may tell of the same thing, and one of them may be for the end only. */
    what &= watch->wanted | PV_LOOP_HUP;
    if (what)
        watch->fn(watch->opaque, watch->fd, what);
}

static void timer_fired(struct pv_timer *timer)
{
    /* It may have been set again between the event and now; then another event will come. */
    uint64_t deadline = atomic_load(&timer->deadline);
    if (deadline <= pv_clock_ns() &&
        atomic_compare_exchange_strong(&timer->deadline, &deadline, UINT64_MAX))
        timer->fn(timer->opaque);
}

static void dispatch(struct pv_loop *loop, const struct kevent *event)
{
    struct source *source = event->udata;
    if (event->filter == EVFILT_USER) {
        if (pv_loop_queue_run(&loop->queue))
            pv_loop_wake(loop);
    } else if (!source->dead && source->kind == WATCH) {
        watch_fired((struct pv_watch *)(void *)source, event);
    } else if (!source->dead) {
        timer_fired((struct pv_timer *)(void *)source);
    }
}

int pv_loop_run(struct pv_loop *loop, struct pv_error **err)
{
    while (!atomic_load(&loop->stop)) {
        struct kevent events[32];
        int count = kevent(loop->kqueue_fd, NULL, 0, events, PV_ARRAY_SIZE(events), NULL);
        if (count < 0) {
            if (errno == EINTR)
                continue;
            return pv_error_errno(err, errno, "event loop: kevent");
        }
        for (int i = 0; i < count && !atomic_load(&loop->stop); i++)
            dispatch(loop, &events[i]);
        free_buried(loop);
    }
    atomic_store(&loop->stop, false);
    return 0;
}

void pv_loop_stop(struct pv_loop *loop)
{
    atomic_store(&loop->stop, true);
    pv_loop_wake(loop);
}

/* ---- Watches ---- */

static int set_filters(struct pv_watch *watch, unsigned wanted)
{
    bool reads = wanted & PV_LOOP_READ;
    struct kevent changes[2];
    int count = 1;
    EV_SET(&changes[0], (uintptr_t)watch->fd, EVFILT_READ, EV_ADD | EV_ENABLE,
           reads ? 0 : NOTE_LOWAT, reads ? 0 : INT_MAX, watch);
    if (wanted & PV_LOOP_WRITE)
        EV_SET(&changes[count++], (uintptr_t)watch->fd, EVFILT_WRITE, EV_ADD | EV_ENABLE, 0, 0,
               watch);
    else if (watch->wanted & PV_LOOP_WRITE)
        EV_SET(&changes[count++], (uintptr_t)watch->fd, EVFILT_WRITE, EV_DELETE, 0, 0, NULL);
    if (kevent(watch->source.loop->kqueue_fd, changes, count, NULL, 0, NULL) < 0)
        return -errno;
    watch->wanted = wanted;
    return 0;
}

int pv_watch_create(struct pv_watch **out, struct pv_loop *loop, int fd, unsigned events,
                    pv_watch_fn *fn, void *opaque, struct pv_error **err)
{
    struct pv_watch *watch = calloc(1, sizeof(*watch));
    if (!watch)
        return pv_error_set(err, ENOMEM, "event loop: out of memory");
    link_source(&watch->source, loop, WATCH);
    watch->fn = fn;
    watch->opaque = opaque;
    watch->fd = fd;
    int ret = set_filters(watch, events);
    if (ret < 0) {
        bury_source(&watch->source);
        return pv_error_errno(err, -ret, "event loop: watching descriptor %d", fd);
    }
    *out = watch;
    return 0;
}

int pv_watch_update(struct pv_watch *watch, unsigned events)
{
    return events == watch->wanted ? 0 : set_filters(watch, events);
}

void pv_watch_destroy(struct pv_watch *watch)
{
    struct kevent change;
    if (!watch)
        return;
    /* One at a time: the first failure (the descriptor may be closed) would end a list. */
    EV_SET(&change, (uintptr_t)watch->fd, EVFILT_READ, EV_DELETE, 0, 0, NULL);
    kevent(watch->source.loop->kqueue_fd, &change, 1, NULL, 0, NULL);
    EV_SET(&change, (uintptr_t)watch->fd, EVFILT_WRITE, EV_DELETE, 0, 0, NULL);
    if (watch->wanted & PV_LOOP_WRITE)
        kevent(watch->source.loop->kqueue_fd, &change, 1, NULL, 0, NULL);
    bury_source(&watch->source);
}

/* ---- Timers ---- */

int pv_timer_create(struct pv_timer **out, struct pv_loop *loop, void (*fn)(void *opaque),
                    void *opaque, struct pv_error **err)
{
    struct pv_timer *timer = calloc(1, sizeof(*timer));
    if (!timer)
        return pv_error_set(err, ENOMEM, "timer: out of memory");
    link_source(&timer->source, loop, TIMER);
    timer->fn = fn;
    timer->opaque = opaque;
    atomic_init(&timer->deadline, UINT64_MAX);
    *out = timer;
    return 0;
}

void pv_timer_set(struct pv_timer *timer, uint64_t deadline_ns)
{
    uint64_t now = pv_clock_ns();
    struct kevent change;
    atomic_store(&timer->deadline, deadline_ns);
    if (deadline_ns == UINT64_MAX) {
        EV_SET(&change, (uintptr_t)timer, EVFILT_TIMER, EV_DELETE, 0, 0, NULL);
    } else {
        /* Critical: the host does not put it together with others'. */
        uint64_t ns = deadline_ns > now ? PV_MIN(deadline_ns - now, (uint64_t)INT64_MAX) : 0;
        EV_SET(&change, (uintptr_t)timer, EVFILT_TIMER, EV_ADD | EV_ONESHOT,
               NOTE_NSECONDS | NOTE_CRITICAL, (intptr_t)ns, timer);
    }
    kevent(timer->source.loop->kqueue_fd, &change, 1, NULL, 0, NULL);
}

void pv_timer_destroy(struct pv_timer *timer)
{
    if (!timer)
        return;
    pv_timer_set(timer, UINT64_MAX);
    bury_source(&timer->source);
}
