/* SPDX-License-Identifier: MIT */
/*
 * As much of kqueue(2) as host/macos/loop.c and signals.c use, for tests on Linux (kqueue.c). Names
 * and meanings are macOS's; numbers are our own.
 */
#ifndef PV_TESTS_SIM_SYS_EVENT_H
#define PV_TESTS_SIM_SYS_EVENT_H

#include <stdint.h>
#include <time.h>

#define EVFILT_READ   (-1)
#define EVFILT_WRITE  (-2)
#define EVFILT_SIGNAL (-6)
#define EVFILT_TIMER  (-7)
#define EVFILT_USER   (-10)

#define EV_ADD     0x0001
#define EV_DELETE  0x0002
#define EV_ENABLE  0x0004
#define EV_ONESHOT 0x0010
#define EV_CLEAR   0x0020
#define EV_ERROR   0x4000
#define EV_EOF     0x8000

#define NOTE_LOWAT    0x00000001u
#define NOTE_NSECONDS 0x00000004u
#define NOTE_CRITICAL 0x00000020u
#define NOTE_TRIGGER  0x01000000u

struct kevent {
    uintptr_t ident;
    int16_t filter;
    uint16_t flags;
    uint32_t fflags;
    intptr_t data;
    void *udata;
};

#define EV_SET(event, i, f, fl, ffl, d, u)                                                         \
    (*(event) = (struct kevent){(i), (f), (fl), (ffl), (d), (u)})

int kqueue(void);
int kevent(int kq, const struct kevent *changes, int change_count, struct kevent *events,
           int event_count, const struct timespec *timeout);

#endif
