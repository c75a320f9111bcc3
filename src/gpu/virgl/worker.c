/* SPDX-License-Identifier: MIT */
#include "gpu/virgl/worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/error.h"
#include "host/thread.h"

struct pv_gpu_worker {
    pthread_t thread;
    char name[16];
    pthread_mutex_t callers; /* held for the whole of a call */
    pthread_mutex_t lock;    /* all below */
    pthread_cond_t changed;
    int (*job)(void *arg); /* NULL: none, or done */
    void *arg;
    int ret;
    bool stopping;
};

static void *worker_main(void *opaque)
{
    struct pv_gpu_worker *worker = opaque;
    pv_thread_name(worker->name);
    pthread_mutex_lock(&worker->lock);
    for (;;) {
        while (!worker->job && !worker->stopping)
            pthread_cond_wait(&worker->changed, &worker->lock);
        if (!worker->job)
            break;
        pthread_mutex_unlock(&worker->lock);
        int ret = worker->job(worker->arg);
        pthread_mutex_lock(&worker->lock);
        worker->ret = ret;
        worker->job = NULL;
        pthread_cond_broadcast(&worker->changed);
    }
    pthread_mutex_unlock(&worker->lock);
    return NULL;
}

int pv_gpu_worker_create(struct pv_gpu_worker **out, const char *name, struct pv_error **err)
{
    struct pv_gpu_worker *worker = calloc(1, sizeof(*worker));
    if (!worker)
        return pv_error_set(err, ENOMEM, "out of memory");
    snprintf(worker->name, sizeof(worker->name), "%s", name);
    pthread_mutex_init(&worker->callers, NULL);
    pthread_mutex_init(&worker->lock, NULL);
    pthread_cond_init(&worker->changed, NULL);
    int ret = pthread_create(&worker->thread, NULL, worker_main, worker);
    if (ret) {
        pthread_cond_destroy(&worker->changed);
        pthread_mutex_destroy(&worker->lock);
        pthread_mutex_destroy(&worker->callers);
        free(worker);
        return pv_error_errno(err, ret, "a thread");
    }
    *out = worker;
    return 0;
}

int pv_gpu_worker_run(struct pv_gpu_worker *worker, int (*job)(void *arg), void *arg)
{
    pthread_mutex_lock(&worker->callers);
    pthread_mutex_lock(&worker->lock);
    worker->job = job;
    worker->arg = arg;
    pthread_cond_broadcast(&worker->changed);
    while (worker->job)
        pthread_cond_wait(&worker->changed, &worker->lock);
    int ret = worker->ret;
    pthread_mutex_unlock(&worker->lock);
    pthread_mutex_unlock(&worker->callers);
    return ret;
}

void pv_gpu_worker_destroy(struct pv_gpu_worker *worker)
{
    if (!worker)
        return;
    pthread_mutex_lock(&worker->lock);
    worker->stopping = true;
    pthread_cond_broadcast(&worker->changed);
    pthread_mutex_unlock(&worker->lock);
    pthread_join(worker->thread, NULL);
    pthread_cond_destroy(&worker->changed);
    pthread_mutex_destroy(&worker->lock);
    pthread_mutex_destroy(&worker->callers);
    free(worker);
}
