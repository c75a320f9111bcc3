/* SPDX-License-Identifier: MIT */
/*
 * Fences and semaphores. To the guest both can be shared as sync files, which its own kernel makes
 * from virtio-gpu fences: the driver's objects are never exported, so what the guest says of
 * exporting is left out when they are created.
 *
 * Waits are made in steps, so that a ring whose guest is gone does not wait for ever.
 */
#include <sched.h>

#include "base/util.h"
#include "gpu/venus/context.h"
#include "host/clock.h"

#define STEP_NS UINT64_C(50000000)
#define LOOK_NS UINT64_C(50000)

/* Calls again with what is left of *timeout until it is over or the context is gone. */
static VkResult wait_in_steps(struct pv_vn_stream *stream, void *args, uint64_t *timeout,
                              VkResult *ret)
{
    uint64_t left = *timeout;
    do {
        *timeout = PV_MIN(left, STEP_NS);
        if (left != UINT64_MAX)
            left -= *timeout;
        if (!pv_vn_stream_call(stream, args))
            return VK_ERROR_DEVICE_LOST;
    } while (*ret == VK_TIMEOUT && left && !pv_vn_context_gone(stream->ctx));
    return *ret;
}

/*
 * A guest that has seen its fence's feedback in memory waits for the fence itself next, only so
 * that it may be reset: the fence is signaled, or will be in microseconds. Drivers' waits take a
 * system call and a wake-up even then, so it is looked at for a moment first.
 */
static void look_at_fences(const struct pv_vn_stream *stream, const struct pv_vn_vkWaitForFences *a)
{
    const struct pv_vn_device *device = stream->self.owner;
    uint64_t until = pv_clock_ns() + LOOK_NS;
    uint32_t signaled = 0;
    while (signaled < a->fenceCount && pv_clock_ns() < until) {
        if (PV_VN_PROC(device->procs, vkGetFenceStatus)(device->handle, a->pFences[signaled]) ==
            VK_SUCCESS)
            signaled++;
        else
            sched_yield();
    }
}

void pv_vn_do_vkWaitForFences(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkWaitForFences *a = args;
    look_at_fences(stream, a);
    a->ret = wait_in_steps(stream, a, &a->timeout, &a->ret);
}

void pv_vn_do_vkWaitSemaphores(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkWaitSemaphores *a = args;
    a->ret = wait_in_steps(stream, a, &a->timeout, &a->ret);
}

void pv_vn_do_vkCreateFence(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkCreateFence *a = args;
    pv_vn_chain_remove(a->pCreateInfo, VK_STRUCTURE_TYPE_EXPORT_FENCE_CREATE_INFO);
    if (pv_vn_stream_call(stream, args))
        pv_vn_stream_register(stream, args, stream->self.owner);
}

void pv_vn_do_vkCreateSemaphore(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkCreateSemaphore *a = args;
    pv_vn_chain_remove(a->pCreateInfo, VK_STRUCTURE_TYPE_EXPORT_SEMAPHORE_CREATE_INFO);
    if (pv_vn_stream_call(stream, args))
        pv_vn_stream_register(stream, args, stream->self.owner);
}

/* The guest took the fence's payload as a sync file: once signaled, it is unsignaled again. */
void pv_vn_do_vkResetFenceResourceMESA(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkResetFenceResourceMESA *a = args;
    const struct pv_vn_device *device = stream->self.owner;
    VkResult result;
    do
        result = PV_VN_PROC(device->procs, vkWaitForFences)(device->handle, 1, &a->fence, VK_TRUE,
                                                            STEP_NS);
    while (result == VK_TIMEOUT && !pv_vn_context_gone(stream->ctx));
    if (result == VK_SUCCESS)
        PV_VN_PROC(device->procs, vkResetFences)(device->handle, 1, &a->fence);
}

/* An empty submission that waits for or signals a semaphore, on any queue of the device. */
static void touch_semaphore(struct pv_vn_stream *stream, VkSemaphore semaphore, bool wait)
{
    const struct pv_vn_device *device = stream->self.owner;
    struct pv_vn_queue *queue = device->queues;
    const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    const VkSubmitInfo info = {
        .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
        .waitSemaphoreCount = wait,
        .pWaitSemaphores = &semaphore,
        .pWaitDstStageMask = &stage,
        .signalSemaphoreCount = !wait,
        .pSignalSemaphores = &semaphore,
    };
    if (!queue) {
        pv_vn_context_lose(stream->ctx, "%s on a device without a queue", stream->cmd->name);
        return;
    }
    pthread_mutex_lock(&queue->lock);
    PV_VN_PROC(device->procs, vkQueueSubmit)(queue->handle, 1, &info, VK_NULL_HANDLE);
    pthread_mutex_unlock(&queue->lock);
}

void pv_vn_do_vkWaitSemaphoreResourceMESA(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkWaitSemaphoreResourceMESA *a = args;
    touch_semaphore(stream, a->semaphore, true);
}

void pv_vn_do_vkImportSemaphoreResourceMESA(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkImportSemaphoreResourceMESA *a = args;
    if (a->pImportSemaphoreResourceInfo->resourceId)
        pv_vn_context_lose(stream->ctx, "%s: resource %u", stream->cmd->name,
                           a->pImportSemaphoreResourceInfo->resourceId);
    else
        touch_semaphore(stream, a->pImportSemaphoreResourceInfo->semaphore, false);
}
