/* SPDX-License-Identifier: MIT */
#include "host/loop_thread.h"

#include "base/error.h"
#include "base/log.h"
#include "host/loop.h"
#include "host/thread.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

struct pv_loop_thread {
    struct pv_loop *loop;
    const char *name;
    bool running;
    pthread_t thread;
};

int pv_loop_thread_create(struct pv_loop_thread **out, const char *name, struct pv_error **err)
{
    struct pv_loop_thread *thread = calloc(1, sizeof(*thread));
    if (!thread)
        return pv_error_set(err, ENOMEM, "%s: out of memory", name);
    int ret = pv_loop_create(&thread->loop, err);
    if (ret < 0) {
        free(thread);
        return ret;
    }
    thread->name = name;
    *out = thread;
    return 0;
}

struct pv_loop *pv_loop_thread_loop(struct pv_loop_thread *thread)
{
    return thread->loop;
}

static void *run(void *opaque)
{
    struct pv_loop_thread *thread = opaque;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    pv_thread_name(thread->name);
    if (pv_loop_run(thread->loop, &err) < 0)
        pv_error_log(PV_LOG_HOST, "%s: %s", thread->name, pv_error_message(err));
    return NULL;
}

int pv_loop_thread_start(struct pv_loop_thread *thread, struct pv_error **err)
{
    int code = pv_thread_create(&thread->thread, run, thread);
    if (code)
        return pv_error_errno(err, code, "%s: thread", thread->name);
    thread->running = true;
    return 0;
}

void pv_loop_thread_stop(struct pv_loop_thread *thread)
{
    if (!thread->running)
        return;
    pv_loop_stop(thread->loop); /* not lost when the thread has yet to run it */
    pthread_join(thread->thread, NULL);
    thread->running = false;
}

void pv_loop_thread_destroy(struct pv_loop_thread *thread)
{
    if (!thread)
        return;
    pv_loop_thread_stop(thread);
    pv_loop_destroy(thread->loop);
    free(thread);
}
