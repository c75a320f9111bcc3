/* SPDX-License-Identifier: MIT */
/*
 * Fences on a queue's timeline: an empty submission with a VkFence follows the guest's work, and a
 * thread waits for these fences in order and answers.
 */
#include <errno.h>

#include "base/util.h"
#include "gpu/venus/context.h"
#include "host/thread.h"

struct pending {
    struct pending *next;
    uint64_t fence;
    VkFence vk_fence; /* NULL: the submission failed, answer at its turn */
};

struct pv_vn_timeline {
    struct pv_vn_context *ctx;
    struct pv_vn_queue *queue;
    uint32_t index;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct pending *first, **last;
    bool stopping;
    unsigned users; /* under ctx->lock: callers of pv_vn_timeline_fence */
    pthread_t thread;
};

static void wait_for(struct pv_vn_timeline *timeline, VkFence fence)
{
    struct pv_vn_device *device = timeline->queue->device;
    PFN_vkWaitForFences wait = PV_VN_PROC(device->procs, vkWaitForFences);
    VkResult result;
    /* Bounded steps, so that a context whose GPU work never ends can still be taken down. */
    do
        result = wait(device->handle, 1, &fence, VK_TRUE, UINT64_C(100000000));
    while (result == VK_TIMEOUT && !pv_vn_context_gone(timeline->ctx));
}

static void *timeline_main(void *opaque)
{
    struct pv_vn_timeline *timeline = opaque;
    struct pv_vn_context *ctx = timeline->ctx;
    struct pv_vn_device *device = timeline->queue->device;
    pv_thread_name("gpu-timeline");
    pthread_mutex_lock(&timeline->lock);
    for (;;) {
        while (!timeline->first && !timeline->stopping)
            pthread_cond_wait(&timeline->changed, &timeline->lock);
        struct pending *pending = timeline->first;
        if (!pending)
            break;
        timeline->first = pending->next;
        if (!pending->next)
            timeline->last = &timeline->first;
        pthread_mutex_unlock(&timeline->lock);
        if (pending->vk_fence) {
            wait_for(timeline, pending->vk_fence);
            if (pv_vn_context_gone(ctx))
                PV_VN_PROC(device->procs, vkDeviceWaitIdle)(device->handle);
            PV_VN_PROC(device->procs, vkDestroyFence)(device->handle, pending->vk_fence, NULL);
        }
        if (ctx->config->fence_done)
            ctx->config->fence_done(ctx->config->opaque, ctx->id, timeline->index, pending->fence);
        free(pending);
        pthread_mutex_lock(&timeline->lock);
    }
    pthread_mutex_unlock(&timeline->lock);
    return NULL;
}

int pv_vn_timeline_create(struct pv_vn_context *ctx, struct pv_vn_queue *queue, uint32_t index)
{
    struct pv_vn_timeline *timeline = calloc(1, sizeof(*timeline));
    if (!timeline)
        return -ENOMEM;
    timeline->ctx = ctx;
    timeline->queue = queue;
    timeline->index = index;
    timeline->last = &timeline->first;
    pthread_mutex_init(&timeline->lock, NULL);
    pthread_cond_init(&timeline->changed, NULL);
    pthread_mutex_lock(&ctx->lock);
    int ret = ctx->timelines[index] || queue->timeline
                  ? -EEXIST
                  : -pthread_create(&timeline->thread, NULL, timeline_main, timeline);
    if (ret == 0)
        ctx->timelines[index] = queue->timeline = timeline;
    pthread_mutex_unlock(&ctx->lock);
    if (ret < 0) {
        pthread_cond_destroy(&timeline->changed);
        pthread_mutex_destroy(&timeline->lock);
        free(timeline);
    }
    return ret;
}

static void add_fence(struct pv_vn_timeline *timeline, uint64_t fence)
{
    struct pv_vn_queue *queue = timeline->queue;
    struct pv_vn_device *device = queue->device;
    struct pending *pending = calloc(1, sizeof(*pending));
    if (!pending) {
        pv_vn_context_lose(timeline->ctx, "out of memory for a fence");
        return;
    }
    pending->fence = fence;
    const VkFenceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    VkFence vk_fence = VK_NULL_HANDLE;
    if (PV_VN_PROC(device->procs, vkCreateFence)(device->handle, &info, NULL, &vk_fence) == 0) {
        pthread_mutex_lock(&queue->lock);
        VkResult result =
            PV_VN_PROC(device->procs, vkQueueSubmit)(queue->handle, 0, NULL, vk_fence);
        pthread_mutex_unlock(&queue->lock);
        if (result < 0)
            PV_VN_PROC(device->procs, vkDestroyFence)(device->handle, vk_fence, NULL);
        else
            pending->vk_fence = vk_fence;
    }
    pthread_mutex_lock(&timeline->lock);
    *timeline->last = pending;
    timeline->last = &pending->next;
    pthread_cond_signal(&timeline->changed);
    pthread_mutex_unlock(&timeline->lock);
}

bool pv_vn_timeline_fence(struct pv_vn_context *ctx, uint32_t index, uint64_t fence)
{
    pthread_mutex_lock(&ctx->lock);
    struct pv_vn_timeline *timeline = ctx->timelines[index];
    if (timeline)
        timeline->users++;
    pthread_mutex_unlock(&ctx->lock);
    if (!timeline)
        return false;
    add_fence(timeline, fence);
    pthread_mutex_lock(&ctx->lock);
    timeline->users--;
    pthread_cond_broadcast(&ctx->changed);
    pthread_mutex_unlock(&ctx->lock);
    return true;
}

void pv_vn_timeline_destroy(struct pv_vn_timeline *timeline)
{
    if (!timeline)
        return;
    struct pv_vn_context *ctx = timeline->ctx;
    pthread_mutex_lock(&ctx->lock);
    ctx->timelines[timeline->index] = NULL;
    while (timeline->users)
        pthread_cond_wait(&ctx->changed, &ctx->lock);
    pthread_mutex_unlock(&ctx->lock);
    pthread_mutex_lock(&timeline->lock);
    timeline->stopping = true;
    pthread_cond_signal(&timeline->changed);
    pthread_mutex_unlock(&timeline->lock);
    pthread_join(timeline->thread, NULL);
    pthread_cond_destroy(&timeline->changed);
    pthread_mutex_destroy(&timeline->lock);
    free(timeline);
}
