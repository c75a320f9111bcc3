/* SPDX-License-Identifier: MIT */
/*
 * Two threads on two CPUs: a lock that both want, an atomic counter that both add to, and work that
 * has nothing in common. "one-cpu" is the same work on one, so that the two figures say what the
 * second CPU brings.
 */
#include <pthread.h>

#include "suite.h"

#define THREADS 2
#define LOCKED  50000
#define ADDED   500000
#define STEPS   5000000

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t shared, counter, ends[THREADS];

static void both(void *(*work)(void *))
{
    pthread_t threads[THREADS];
    unsigned count = 0;
    while (count < THREADS && !pthread_create(&threads[count], NULL, work, &ends[count]))
        count++;
    while (count--)
        pthread_join(threads[count], NULL);
}

static void *locking(void *argument)
{
    for (unsigned i = 0; i < LOCKED; i++) {
        pthread_mutex_lock(&lock);
        shared++;
        pthread_mutex_unlock(&lock);
    }
    return argument;
}

static void *adding(void *argument)
{
    for (unsigned i = 0; i < ADDED; i++)
        __atomic_fetch_add(&counter, 1, __ATOMIC_SEQ_CST);
    return argument;
}

static void *computing(void *argument)
{
    uint64_t x = 88172645463325252u + (uint64_t)((uint64_t *)argument - ends);
    for (unsigned i = 0; i < STEPS; i++) {
        x ^= x << 13;
        x = (x >> 7 ^ x) + (x & 1 ? 3 : x >> 60);
        x ^= x << 17;
    }
    *(uint64_t *)argument = x;
    return argument;
}

static double contention(void)
{
    shared = 0;
    both(locking);
    result = shared;
    return THREADS * LOCKED;
}

static double atomics(void)
{
    counter = 0;
    both(adding);
    result = counter;
    return THREADS * ADDED;
}

static double two_cpus(void)
{
    both(computing);
    result = mix(ends[0], ends[1]);
    return THREADS * (double)STEPS;
}

static double one_cpu(void)
{
    computing(&ends[0]);
    result = ends[0];
    return STEPS;
}

const struct bench thread_benches[] = {
    {"lock-2-threads", contention},
    {"atomic-2-threads", atomics},
    {"one-cpu", one_cpu},
    {"two-cpus", two_cpus},
    {NULL, NULL},
};
