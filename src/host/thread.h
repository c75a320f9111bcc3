/* SPDX-License-Identifier: MIT */
/* What threads need of their host beyond pthreads. */
#ifndef PV_HOST_THREAD_H
#define PV_HOST_THREAD_H

#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

/* How many CPUs are online, at least 1. */
static inline unsigned pv_host_cpus(void)
{
    const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    return cpus > 0 ? (unsigned)cpus : 1;
}

/* For loops that wait for another thread: gives this core's other thread, if any, the time. */
static inline void pv_thread_relax(void)
{
#ifdef __x86_64__
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* Names the calling thread (at most 15 characters) in the host's lists. */
void pv_thread_name(const char *name);

/* Makes the calling thread matter less: 0 (no change) to 19. */
void pv_thread_nice(int nice);

/* Sleeps of the calling thread end within a microsecond or so, where hosts would add 50. */
void pv_thread_precise(void);

/* The CPU time that a live thread has had. */
uint64_t pv_thread_cpu_ns(pthread_t thread);

/* A condition whose timed waits are by pv_clock_ns(). */
void pv_cond_init(pthread_cond_t *cond);
/* As pthread_cond_wait, for at most `ns`. */
void pv_cond_wait_for(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t ns);

/*
 * As pthread_create(), 0 or an errno value, for threads that a library makes: all signals are
 * blocked in them, so that one meant for the loop (host/signals.h) never ends the process from
 * there.
 */
int pv_thread_create(pthread_t *thread, void *(*fn)(void *opaque), void *opaque);

#endif
