/* SPDX-License-Identifier: MIT */
/*
 * kqueue on epoll: a knote a filter, each with an epoll of its own under the queue's, so that the
 * two filters of a descriptor are apart, and a queue is itself a descriptor that can be watched.
 *
 * It is strict where macOS is: deleting what is not there fails, and a change that is wrong ends
 * the list of changes.
 */
#include <sys/event.h>

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

struct knote {
    struct knote *next;
    int kq;
    struct kevent event;
    int fd;    /* what is waited for; the knote's own but for READ and WRITE */
    int inner; /* READ and WRITE: the epoll that has it */
};

/* The simulation's only state, because a kqueue is known by nothing but its descriptor. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct knote *knotes;

static bool is_io(int filter)
{
    return filter == EVFILT_READ || filter == EVFILT_WRITE;
}

static struct knote **find(int kq, uintptr_t ident, int filter)
{
    struct knote **at = &knotes;
    while (*at && ((*at)->kq != kq || (*at)->event.ident != ident || (*at)->event.filter != filter))
        at = &(*at)->next;
    return at;
}

static void free_knote(struct knote **at)
{
    struct knote *note = *at;
    *at = note->next;
    epoll_ctl(note->kq, EPOLL_CTL_DEL, is_io(note->event.filter) ? note->inner : note->fd, NULL);
    close(is_io(note->event.filter) ? note->inner : note->fd);
    free(note);
}

int kqueue(void)
{
    int kq = epoll_create1(EPOLL_CLOEXEC);
    pthread_mutex_lock(&lock);
    for (struct knote **at = &knotes; *at;) { /* of a queue that was closed */
        if ((*at)->kq == kq)
            free_knote(at);
        else
            at = &(*at)->next;
    }
    pthread_mutex_unlock(&lock);
    return kq;
}

static int new_fd(const struct kevent *change)
{
    sigset_t set;
    switch (change->filter) {
    case EVFILT_USER: return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    case EVFILT_TIMER: return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
    case EVFILT_SIGNAL:
        sigemptyset(&set);
        sigaddset(&set, (int)change->ident);
        sigprocmask(SIG_BLOCK, &set, NULL);
        return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
    }
    return -1;
}

static int add(int kq, const struct kevent *change)
{
    struct knote *note = calloc(1, sizeof(*note));
    const bool io = is_io(change->filter);
    note->kq = kq;
    note->event = *change;
    note->fd = io ? (int)change->ident : new_fd(change);
    note->inner = io ? epoll_create1(EPOLL_CLOEXEC) : -1;
    struct epoll_event event = {.events = change->filter == EVFILT_WRITE ? EPOLLOUT : EPOLLIN};
    if (io && epoll_ctl(note->inner, EPOLL_CTL_ADD, note->fd, &event) < 0) {
        close(note->inner);
        free(note);
        return -1;
    }
    event = (struct epoll_event){.events = EPOLLIN, .data.ptr = note};
    epoll_ctl(kq, EPOLL_CTL_ADD, io ? note->inner : note->fd, &event);
    note->next = knotes;
    knotes = note;
    return 0;
}

static void set_timer(struct knote *note, intptr_t ns)
{
    struct itimerspec spec = {0};
    ns = ns > 0 ? ns : 1;
    spec.it_value.tv_sec = ns / 1000000000;
    spec.it_value.tv_nsec = ns % 1000000000;
    timerfd_settime(note->fd, 0, &spec, NULL);
}

/* A mark that nothing reaches: only the end of the stream is of interest. */
static void set_io(struct knote *note)
{
    bool end_only = note->event.fflags & NOTE_LOWAT;
    uint32_t events = note->event.filter == EVFILT_WRITE ? EPOLLOUT
                      : end_only                         ? EPOLLRDHUP
                                                         : EPOLLIN;
    struct epoll_event event = {.events = events};
    epoll_ctl(note->inner, EPOLL_CTL_MOD, note->fd, &event);
}

static int apply(int kq, const struct kevent *change)
{
    const uint64_t one = 1;
    struct knote **at = find(kq, change->ident, change->filter);
    if (change->flags & EV_DELETE) {
        if (!*at) {
            errno = ENOENT;
            return -1;
        }
        free_knote(at);
        return 0;
    }
    if (change->flags & EV_ADD) {
        if (!*at && add(kq, change) < 0)
            return -1;
        at = find(kq, change->ident, change->filter);
        (*at)->event = *change;
        if (change->filter == EVFILT_TIMER)
            set_timer(*at, change->data);
        if (is_io(change->filter))
            set_io(*at);
    }
    if (!*at) {
        errno = ENOENT;
        return -1;
    }
    if (change->fflags & NOTE_TRIGGER && write((*at)->fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        return -1;
    return 0;
}

/* False when it was not so after all. */
static bool take(struct knote *note, struct kevent *out)
{
    struct epoll_event inner = {0};
    struct signalfd_siginfo info;
    uint64_t count;
    *out = note->event;
    out->flags = 0;
    if (is_io(note->event.filter)) {
        if (epoll_wait(note->inner, &inner, 1, 0) != 1)
            return false;
        if (inner.events & (EPOLLHUP | EPOLLRDHUP))
            out->flags |= EV_EOF;
        if (inner.events & EPOLLERR)
            out->flags |= EV_EOF;
        return true;
    }
    if (note->event.filter == EVFILT_SIGNAL)
        return read(note->fd, &info, sizeof(info)) == sizeof(info);
    if (read(note->fd, &count, sizeof(count)) != sizeof(count))
        return false;
    if (note->event.flags & EV_ONESHOT)
        free_knote(find(note->kq, note->event.ident, note->event.filter));
    return true;
}

int kevent(int kq, const struct kevent *changes, int change_count, struct kevent *events,
           int event_count, const struct timespec *timeout)
{
    struct epoll_event ready[32];
    int count = 0, ret = 0;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < change_count && ret == 0; i++)
        ret = apply(kq, &changes[i]);
    pthread_mutex_unlock(&lock);
    if (ret < 0 || !event_count)
        return ret;
    while (!count) {
        int n = epoll_wait(kq, ready, event_count < 32 ? event_count : 32,
                           timeout ? (int)(timeout->tv_sec * 1000) : -1);
        if (n <= 0)
            return n;
        pthread_mutex_lock(&lock);
        for (int i = 0; i < n; i++) {
            /* It may have been deleted since by another thread. */
            struct knote *note = knotes;
            while (note && note != ready[i].data.ptr)
                note = note->next;
            if (note && take(note, &events[count]))
                count++;
        }
        pthread_mutex_unlock(&lock);
        if (timeout)
            break;
    }
    return count;
}
