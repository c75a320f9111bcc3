/* SPDX-License-Identifier: MIT */
/*
 * The sign of life that a guest driver wants: ALIVE set in a ring's status at least as often as its
 * creator asked for (Mesa: 3 s). The driver aborts its process when the bit stays clear while it
 * waits, so a ring's own thread cannot be the one to set it: it may be compiling a pipeline for
 * longer than that, or wait for the GPU. One thread a context does it for all its rings; it exists
 * once a ring has asked.
 */
#include <errno.h>

#include "base/util.h"
#include "gpu/venus/context.h"
#include "host/thread.h"

struct pv_vn_monitor {
    struct pv_vn_context *ctx;
    pthread_t thread;
    pthread_cond_t changed; /* of the fields below, all under ctx->lock */
    uint64_t period_ns;
    bool stopping;
};

static void *monitor_main(void *opaque)
{
    struct pv_vn_monitor *monitor = opaque;
    struct pv_vn_context *ctx = monitor->ctx;
    pv_thread_name("gpu-monitor");
    pthread_mutex_lock(&ctx->lock);
    while (!monitor->stopping) {
        pv_vn_rings_alive(ctx);
        pv_cond_wait_for(&monitor->changed, &ctx->lock, monitor->period_ns);
    }
    pthread_mutex_unlock(&ctx->lock);
    return NULL;
}

int pv_vn_monitor_start(struct pv_vn_context *ctx, uint64_t period_ns)
{
    struct pv_vn_monitor *monitor = ctx->monitor;
    if (monitor) {
        monitor->period_ns = PV_MIN(monitor->period_ns, period_ns);
        pthread_cond_signal(&monitor->changed);
        return 0;
    }
    monitor = calloc(1, sizeof(*monitor));
    if (!monitor)
        return -ENOMEM;
    monitor->ctx = ctx;
    monitor->period_ns = period_ns;
    pv_cond_init(&monitor->changed);
    int ret = pthread_create(&monitor->thread, NULL, monitor_main, monitor);
    if (ret) {
        pthread_cond_destroy(&monitor->changed);
        free(monitor);
        return -ret;
    }
    ctx->monitor = monitor;
    return 0;
}

void pv_vn_monitor_stop(struct pv_vn_context *ctx)
{
    struct pv_vn_monitor *monitor = ctx->monitor;
    if (!monitor)
        return;
    pthread_mutex_lock(&ctx->lock);
    monitor->stopping = true;
    pthread_cond_signal(&monitor->changed);
    pthread_mutex_unlock(&ctx->lock);
    pthread_join(monitor->thread, NULL);
    pthread_cond_destroy(&monitor->changed);
    free(PV_STEAL(ctx->monitor));
}
