/* SPDX-License-Identifier: MIT */
#include "host/thread.h"

#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "host/clock.h"

void pv_thread_name(const char *name)
{
    pthread_setname_np(pthread_self(), name);
}

int pv_thread_create(pthread_t *thread, void *(*fn)(void *opaque), void *opaque)
{
    sigset_t all, before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int ret = pthread_create(thread, NULL, fn, opaque);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return ret;
}

uint64_t pv_thread_cpu_ns(pthread_t thread)
{
    clockid_t clock;
    struct timespec now;
    if (pthread_getcpuclockid(thread, &clock) || clock_gettime(clock, &now))
        return 0;
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void pv_thread_nice(int nice)
{
    if (nice)
        setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), nice);
}

void pv_thread_precise(void)
{
    prctl(PR_SET_TIMERSLACK, 1000ul);
}

void pv_cond_init(pthread_cond_t *cond)
{
    pthread_condattr_t attr;
    pthread_condattr_init(&attr);
    pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
    pthread_cond_init(cond, &attr);
    pthread_condattr_destroy(&attr);
}

void pv_cond_wait_for(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t ns)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    uint64_t nsec = (uint64_t)until.tv_nsec + ns % PV_NSEC_PER_SEC;
    until.tv_sec += (time_t)(ns / PV_NSEC_PER_SEC + nsec / PV_NSEC_PER_SEC);
    until.tv_nsec = (long)(nsec % PV_NSEC_PER_SEC);
    pthread_cond_timedwait(cond, mutex, &until);
}
