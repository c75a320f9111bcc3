/* SPDX-License-Identifier: MIT */
#include "host/thread.h"

#include "host/clock.h"

#include <pthread/qos.h>
#include <signal.h>

void pv_thread_name(const char *name)
{
    pthread_setname_np(name);
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

/* Threads have no nice value here, but a class, which also says which cores they may have. */
void pv_thread_nice(int nice)
{
    if (nice)
        pthread_set_qos_class_self_np(nice < 10 ? QOS_CLASS_UTILITY : QOS_CLASS_BACKGROUND, 0);
}

/* Timers of this class are not put together with others'. */
void pv_thread_precise(void)
{
    pthread_set_qos_class_self_np(QOS_CLASS_USER_INTERACTIVE, 0);
}

void pv_cond_init(pthread_cond_t *cond)
{
    pthread_cond_init(cond, NULL);
}

void pv_cond_wait_for(pthread_cond_t *cond, pthread_mutex_t *mutex, uint64_t ns)
{
    const struct timespec time = {.tv_sec = (time_t)(ns / PV_NSEC_PER_SEC),
                                  .tv_nsec = (long)(ns % PV_NSEC_PER_SEC)};
    pthread_cond_timedwait_relative_np(cond, mutex, &time);
}
