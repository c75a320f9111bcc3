/* SPDX-License-Identifier: MIT */
/* Devices and queues, and pools, whose objects go with them. */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "gpu/venus/context.h"
#include "gpu/venus/metal_bridge.h"

/* The driver's device must be destroyed even if it is busy for ever; this long it is waited for. */
#define IDLE_MAX_NS (5 * UINT64_C(1000000000))

void *pv_vn_chain_remove(const void *head, VkStructureType stype)
{
    VkBaseOutStructure *previous = (VkBaseOutStructure *)head;
    while (previous->pNext) {
        VkBaseOutStructure *node = previous->pNext;
        if (node->sType == stype) {
            previous->pNext = node->pNext;
            return node;
        }
        previous = node;
    }
    return NULL;
}

struct device_get {
    PFN_vkGetDeviceProcAddr get;
    VkDevice device;
};

static PFN_vkVoidFunction device_proc(void *handle, const char *name)
{
    const struct device_get *from = handle;
    return from->get(from->device, name);
}

static bool served_here(const char *name)
{
    for (unsigned i = 0; i < PV_VN_EXTENSIONS; i++)
        if (strcmp(pv_vn_extensions[i].name, name) == 0)
            return pv_vn_extensions[i].served_here;
    return false;
}

static bool offered(const struct pv_vn_physical *physical, const char *name)
{
    for (uint32_t i = 0; i < physical->extension_count; i++)
        if (strcmp(physical->extensions[i].extensionName, name) == 0)
            return true;
    return false;
}

/* Whether a served extension must be on in the driver too, when it has it: it changes no handles.
 */
static bool wanted_on_host(const char *name)
{
    return strcmp(name, VK_EXT_QUEUE_FAMILY_FOREIGN_EXTENSION_NAME) == 0;
}

/* The guest's list less what we serve ourselves, plus what we need. */
static VkResult host_extensions(struct pv_vn_stream *stream, const struct pv_vn_physical *physical,
                                VkDeviceCreateInfo *info, struct pv_metal_bridge_features *features)
{
    const char **names =
        pv_vn_stream_alloc(stream, (info->enabledExtensionCount + 2) * sizeof(*names));
    uint32_t count = 0;
    if (!names)
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    for (uint32_t i = 0; i < info->enabledExtensionCount; i++) {
        const char *name = info->ppEnabledExtensionNames[i];
        if (!name || !offered(physical, name))
            return VK_ERROR_EXTENSION_NOT_PRESENT;
        if (served_here(name) && !(wanted_on_host(name) && pv_vn_physical_has(physical, name)))
            continue;
        names[count++] = name;
    }
    if (physical->import_types)
        names[count++] = VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME;
    info->ppEnabledExtensionNames = names;
    info->enabledExtensionCount = count;
    info->enabledLayerCount = 0;
    pv_metal_bridge_device(physical, info, names, features);
    return VK_SUCCESS;
}

static VkResult create(struct pv_vn_stream *stream, struct pv_vn_vkCreateDevice *a,
                       struct pv_vn_device *device)
{
    struct pv_vn_physical *physical = stream->self.owner;
    struct pv_metal_bridge_features features;
    VkResult result =
        host_extensions(stream, physical, (VkDeviceCreateInfo *)a->pCreateInfo, &features);
    if (result < 0)
        return result;
    device->physical = physical;
    if (!pv_vn_stream_call(stream, a) || a->ret < 0)
        return a->ret;
    device->handle = *a->pDevice;
    struct device_get from = {physical->instance->get_device_proc, device->handle};
    pv_vn_procs_load(device->procs, PV_VN_LEVEL_DEVICE, device_proc, &from);
    device->map_memory = (PFN_vkMapMemory)device_proc(&from, "vkMapMemory");
    device->host = pv_vn_host_object_new(
        device->handle, (pv_vn_destroy_fn *)device->procs[PV_VN_COMMAND_vkDestroyDevice],
        physical->instance->host);
    if (device->host)
        return VK_SUCCESS;
    PV_VN_PROC(device->procs, vkDestroyDevice)(PV_STEAL(device->handle), NULL);
    return VK_ERROR_OUT_OF_HOST_MEMORY;
}

void pv_vn_do_vkCreateDevice(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkCreateDevice *a = args;
    struct pv_vn_context *ctx = stream->ctx;
    struct pv_vn_device *device = NULL;
    if (ctx->device_count >= PV_VN_DEVICES_MAX)
        a->ret = VK_ERROR_TOO_MANY_OBJECTS;
    else if (!(device = calloc(1, sizeof(*device))))
        a->ret = VK_ERROR_OUT_OF_HOST_MEMORY;
    else
        a->ret = create(stream, a, device);
    if (device && device->handle) {
        pthread_mutex_lock(&ctx->lock);
        device->next = ctx->devices;
        ctx->devices = device;
        ctx->device_count++;
        pthread_mutex_unlock(&ctx->lock);
    } else {
        free(device);
        device = NULL;
        *a->pDevice = NULL;
    }
    pv_vn_stream_register(stream, args, device);
}

static bool all_idle(struct pv_vn_device *device)
{
    const VkFenceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    for (struct pv_vn_queue *queue = device->queues; queue; queue = queue->next) {
        VkFence fence;
        if (PV_VN_PROC(device->procs, vkCreateFence)(device->handle, &info, NULL, &fence) < 0)
            return false;
        VkResult result = PV_VN_PROC(device->procs, vkQueueSubmit)(queue->handle, 0, NULL, fence);
        if (result == VK_SUCCESS)
            result = PV_VN_PROC(device->procs, vkWaitForFences)(device->handle, 1, &fence, VK_TRUE,
                                                                IDLE_MAX_NS);
        if (result == VK_TIMEOUT)
            return false; /* the fence stays with the device */
        PV_VN_PROC(device->procs, vkDestroyFence)(device->handle, fence, NULL);
    }
    return true;
}

void pv_vn_device_destroy(struct pv_vn_context *ctx, struct pv_vn_device *device)
{
    if (!device->handle)
        return;
    for (struct pv_vn_queue *queue = device->queues; queue; queue = queue->next)
        pv_vn_timeline_destroy(PV_STEAL(queue->timeline));
    if (all_idle(device)) {
        PV_VN_PROC(device->procs, vkDeviceWaitIdle)(device->handle);
        pv_vn_objects_destroy_device(ctx, device);
        pv_vn_host_object_unref(PV_STEAL(device->host));
    } else {
        pv_warn(PV_LOG_VENUS, "context %u (%s): GPU work never ends, its device is given up",
                ctx->id, ctx->name);
    }
    device->handle = NULL;
}

void pv_vn_do_vkDestroyDevice(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_device *device = stream->self.owner;
    if (pv_vn_object_remove(stream->ctx, stream->self.id, NULL) && device)
        pv_vn_device_destroy(stream->ctx, device);
}

/* ---- Queues ---- */

static struct pv_vn_queue *queue_for(struct pv_vn_context *ctx, struct pv_vn_device *device,
                                     VkQueue handle)
{
    pthread_mutex_lock(&ctx->lock);
    struct pv_vn_queue *queue = device->queues;
    while (queue && queue->handle != handle)
        queue = queue->next;
    if (!queue && (queue = calloc(1, sizeof(*queue)))) {
        queue->device = device;
        queue->handle = handle;
        pthread_mutex_init(&queue->lock, NULL);
        queue->next = device->queues;
        device->queues = queue;
    }
    pthread_mutex_unlock(&ctx->lock);
    return queue;
}

void pv_vn_do_vkGetDeviceQueue(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkGetDeviceQueue *a = args;
    if (!pv_vn_stream_call(stream, args))
        return;
    struct pv_vn_queue *queue =
        *a->pQueue ? queue_for(stream->ctx, stream->self.owner, *a->pQueue) : NULL;
    pv_vn_stream_register(stream, args, queue);
}

void pv_vn_do_vkGetDeviceQueue2(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkGetDeviceQueue2 *a = args;
    const VkDeviceQueueTimelineInfoMESA *timeline =
        pv_vn_chain_remove(a->pQueueInfo, PV_VN_STYPE_VkDeviceQueueTimelineInfoMESA);
    if (!pv_vn_stream_call(stream, args))
        return;
    struct pv_vn_queue *queue =
        *a->pQueue ? queue_for(stream->ctx, stream->self.owner, *a->pQueue) : NULL;
    if (timeline && queue) {
        uint32_t index = timeline->ringIdx;
        if (!index || index >= PV_RENDERER_TIMELINES ||
            pv_vn_timeline_create(stream->ctx, queue, index) < 0) {
            pv_vn_context_lose(stream->ctx, "timeline %u cannot be given to a queue", index);
            return;
        }
    }
    pv_vn_stream_register(stream, args, queue);
}

static void call_locked(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_queue *queue = stream->self.owner;
    pthread_mutex_lock(&queue->lock);
    pv_vn_stream_call(stream, args);
    pthread_mutex_unlock(&queue->lock);
}

void pv_vn_do_vkQueueSubmit(struct pv_vn_stream *stream, void *args)
{
    call_locked(stream, args);
}

void pv_vn_do_vkQueueSubmit2(struct pv_vn_stream *stream, void *args)
{
    call_locked(stream, args);
}

void pv_vn_do_vkQueueBindSparse(struct pv_vn_stream *stream, void *args)
{
    call_locked(stream, args);
}

VkResult pv_vn_queue_wait_idle(struct pv_vn_context *ctx, struct pv_vn_queue *queue)
{
    const struct pv_vn_device *device = queue->device;
    const VkFenceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    VkFence fence;
    VkResult result = PV_VN_PROC(device->procs, vkCreateFence)(device->handle, &info, NULL, &fence);
    if (result < 0)
        return result;
    pthread_mutex_lock(&queue->lock);
    result = PV_VN_PROC(device->procs, vkQueueSubmit)(queue->handle, 0, NULL, fence);
    pthread_mutex_unlock(&queue->lock);
    if (result == VK_SUCCESS) {
        do
            result = PV_VN_PROC(device->procs, vkWaitForFences)(device->handle, 1, &fence, VK_TRUE,
                                                                UINT64_C(100000000));
        while (result == VK_TIMEOUT && !pv_vn_context_gone(ctx));
        if (result == VK_TIMEOUT)
            return VK_ERROR_DEVICE_LOST; /* the fence is in use: it goes with the device */
    }
    PV_VN_PROC(device->procs, vkDestroyFence)(device->handle, fence, NULL);
    return result;
}

void pv_vn_do_vkQueueWaitIdle(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkQueueWaitIdle *a = args;
    a->ret = pv_vn_queue_wait_idle(stream->ctx, stream->self.owner);
}

void pv_vn_do_vkDeviceWaitIdle(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkDeviceWaitIdle *a = args;
    struct pv_vn_device *device = stream->self.owner;
    for (struct pv_vn_queue *queue = device->queues; queue && a->ret == 0; queue = queue->next)
        a->ret = pv_vn_queue_wait_idle(stream->ctx, queue);
}

/* ---- Pools ---- */

/* With what was allocated from it, before the driver frees all that and may reuse the handles. */
static void destroy_pool(struct pv_vn_stream *stream, void *args)
{
    if (stream->pool) {
        pv_vn_objects_drop_children(stream->ctx, stream->pool);
        pv_vn_object_remove(stream->ctx, stream->pool, NULL);
    }
    pv_vn_stream_call(stream, args);
}

void pv_vn_do_vkDestroyCommandPool(struct pv_vn_stream *stream, void *args)
{
    destroy_pool(stream, args);
}

void pv_vn_do_vkDestroyDescriptorPool(struct pv_vn_stream *stream, void *args)
{
    destroy_pool(stream, args);
}

void pv_vn_do_vkResetDescriptorPool(struct pv_vn_stream *stream, void *args)
{
    pv_vn_objects_drop_children(stream->ctx, stream->pool);
    pv_vn_stream_call(stream, args);
}
