/* SPDX-License-Identifier: MIT */
/*
 * epoll, with a timerfd for each timer and an eventfd that wakes the loop for posted work.
 *
 * A watch destroyed inside a callback may still stand in the batch of events that epoll_wait
 * returned, so destroyed watches are unlinked at once, skipped by their `dead` flag, and freed when
 * the batch is done.
 */
#include "host/loop_queue.h"

#include "base/error.h"
#include "base/util.h"
#include "host/clock.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>

struct pv_watch {
    struct pv_watch *next, **link;
    struct pv_loop *loop;
    pv_watch_fn *fn;
    void *opaque;
    int fd;
    bool dead;
};

struct pv_timer {
    struct pv_timer *next, **link;
    struct pv_watch *watch;
    void (*fn)(void *opaque);
    void *opaque;
    int fd;
};

struct pv_loop {
    struct pv_loop_queue queue;
    int epoll_fd;
    int wake_fd;
    _Atomic bool stop;
    struct pv_watch *watches;
    struct pv_watch *graveyard;
    struct pv_timer *timers;
};

void pv_loop_wake(struct pv_loop *loop)
{
    const uint64_t one = 1;
    /* EAGAIN means that the counter is full: the loop wakes anyway. */
    ssize_t ret = write(loop->wake_fd, &one, sizeof(one));
    (void)ret;
}

static void run_jobs(void *opaque, int fd, unsigned events)
{
    struct pv_loop *loop = opaque;
    uint64_t count;
    ssize_t ret = read(fd, &count, sizeof(count));
    (void)ret;
    if (pv_loop_queue_run(&loop->queue))
        pv_loop_wake(loop);
}

int pv_loop_create(struct pv_loop **out, struct pv_error **err)
{
    struct pv_loop *loop = calloc(1, sizeof(*loop));
    if (!loop)
        return pv_error_set(err, ENOMEM, "event loop: out of memory");
    pv_loop_queue_init(&loop->queue);
    loop->wake_fd = -1;
    loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (loop->epoll_fd >= 0)
        loop->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (loop->epoll_fd < 0 || loop->wake_fd < 0) {
        int code = errno;
        pv_loop_destroy(loop);
        return pv_error_errno(err, code, "event loop");
    }
    struct pv_watch *watch;
    int ret = pv_watch_create(&watch, loop, loop->wake_fd, PV_LOOP_READ, run_jobs, loop, err);
    if (ret < 0) {
        pv_loop_destroy(loop);
        return ret;
    }
    *out = loop;
    return 0;
}

static void bury(struct pv_loop *loop)
{
    while (loop->graveyard) {
        struct pv_watch *watch = loop->graveyard;
        loop->graveyard = watch->next;
        free(watch);
    }
}

void pv_loop_destroy(struct pv_loop *loop)
{
    if (!loop)
        return;
    while (loop->timers)
        pv_timer_destroy(loop->timers);
    while (loop->watches)
        pv_watch_destroy(loop->watches);
    bury(loop);
    pv_loop_queue_finish(&loop->queue);
    if (loop->wake_fd >= 0)
        close(loop->wake_fd);
    if (loop->epoll_fd >= 0)
        close(loop->epoll_fd);
    free(loop);
}

int pv_loop_run(struct pv_loop *loop, struct pv_error **err)
{
    while (!atomic_load(&loop->stop)) {
        struct epoll_event events[32];
        int count = epoll_wait(loop->epoll_fd, events, PV_ARRAY_SIZE(events), -1);
        if (count < 0) {
            if (errno == EINTR)
                continue;
            return pv_error_errno(err, errno, "event loop: epoll_wait");
        }
        for (int i = 0; i < count && !atomic_load(&loop->stop); i++) {
            struct pv_watch *watch = events[i].data.ptr;
            if (watch->dead)
                continue;
            unsigned what = 0;
            if (events[i].events & EPOLLIN)
                what |= PV_LOOP_READ;
            if (events[i].events & EPOLLOUT)
                what |= PV_LOOP_WRITE;
            if (events[i].events & (EPOLLERR | EPOLLHUP))
                what |= PV_LOOP_HUP;
            watch->fn(watch->opaque, watch->fd, what);
        }
        bury(loop);
    }
    atomic_store(&loop->stop, false);
    return 0;
}

void pv_loop_stop(struct pv_loop *loop)
{
    atomic_store(&loop->stop, true);
    pv_loop_wake(loop);
}

static uint32_t epoll_mask(unsigned events)
{
    return (events & PV_LOOP_READ ? EPOLLIN : 0u) | (events & PV_LOOP_WRITE ? EPOLLOUT : 0u);
}

int pv_watch_create(struct pv_watch **out, struct pv_loop *loop, int fd, unsigned events,
                    pv_watch_fn *fn, void *opaque, struct pv_error **err)
{
    struct pv_watch *watch = calloc(1, sizeof(*watch));
    if (!watch)
        return pv_error_set(err, ENOMEM, "event loop: out of memory");
    *watch = (struct pv_watch){.loop = loop, .fn = fn, .opaque = opaque, .fd = fd};
    struct epoll_event event = {.events = epoll_mask(events), .data.ptr = watch};
    if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
        int code = errno;
        free(watch);
        return pv_error_errno(err, code, "event loop: watching descriptor %d", fd);
    }
    watch->next = loop->watches;
    watch->link = &loop->watches;
    if (watch->next)
        watch->next->link = &watch->next;
    loop->watches = watch;
    *out = watch;
    return 0;
}

int pv_watch_update(struct pv_watch *watch, unsigned events)
{
    struct epoll_event event = {.events = epoll_mask(events), .data.ptr = watch};
    return epoll_ctl(watch->loop->epoll_fd, EPOLL_CTL_MOD, watch->fd, &event) < 0 ? -errno : 0;
}

void pv_watch_destroy(struct pv_watch *watch)
{
    if (!watch)
        return;
    struct pv_loop *loop = watch->loop;
    epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
    *watch->link = watch->next;
    if (watch->next)
        watch->next->link = watch->link;
    watch->dead = true;
    watch->next = loop->graveyard;
    loop->graveyard = watch;
}

static void timer_fired(void *opaque, int fd, unsigned events)
{
    struct pv_timer *timer = opaque;
    uint64_t count;
    /* EAGAIN: it was set again between the event and now. */
    if (read(fd, &count, sizeof(count)) == sizeof(count))
        timer->fn(timer->opaque);
}

int pv_timer_create(struct pv_timer **out, struct pv_loop *loop, void (*fn)(void *opaque),
                    void *opaque, struct pv_error **err)
{
    struct pv_timer *timer = calloc(1, sizeof(*timer));
    if (!timer)
        return pv_error_set(err, ENOMEM, "timer: out of memory");
    timer->fn = fn;
    timer->opaque = opaque;
    timer->fd = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    int ret;
    if (timer->fd < 0)
        ret = pv_error_errno(err, errno, "timer");
    else
        ret =
            pv_watch_create(&timer->watch, loop, timer->fd, PV_LOOP_READ, timer_fired, timer, err);
    if (ret < 0) {
        if (timer->fd >= 0)
            close(timer->fd);
        free(timer);
        return ret;
    }
    timer->next = loop->timers;
    timer->link = &loop->timers;
    if (timer->next)
        timer->next->link = &timer->next;
    loop->timers = timer;
    *out = timer;
    return 0;
}

void pv_timer_set(struct pv_timer *timer, uint64_t deadline_ns)
{
    struct itimerspec spec = {0};
    if (deadline_ns != UINT64_MAX) {
        /* A zero it_value would disarm; 1 ns after boot is as long past as 0. */
        deadline_ns = PV_MAX(deadline_ns, UINT64_C(1));
        spec.it_value.tv_sec = (time_t)(deadline_ns / PV_NSEC_PER_SEC);
        spec.it_value.tv_nsec = (long)(deadline_ns % PV_NSEC_PER_SEC);
    }
    timerfd_settime(timer->fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

void pv_timer_destroy(struct pv_timer *timer)
{
    if (!timer)
        return;
    pv_watch_destroy(timer->watch);
    close(timer->fd);
    *timer->link = timer->next;
    if (timer->next)
        timer->next->link = timer->link;
    free(timer);
}
