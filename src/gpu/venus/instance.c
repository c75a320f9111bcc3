/* SPDX-License-Identifier: MIT */
/* Instances and their physical devices. The host's instance is ours: no layers, no extensions. */
#include <string.h>

#include "base/util.h"
#include "gpu/venus/context.h"
#include "gpu/venus/metal_bridge.h"

/* The newest API that the tables know whole. */
#define API_MAX VK_MAKE_API_VERSION(0, 1, 3, VK_HEADER_VERSION)

static uint32_t host_version(const struct pv_vn_context *ctx)
{
    PFN_vkEnumerateInstanceVersion get = PV_VN_PROC(ctx->global_procs, vkEnumerateInstanceVersion);
    uint32_t version = VK_API_VERSION_1_0;
    if (get && get(&version) < 0)
        version = VK_API_VERSION_1_0;
    return PV_MIN(version, API_MAX);
}

void pv_vn_do_vkEnumerateInstanceVersion(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkEnumerateInstanceVersion *a = args;
    *a->pApiVersion = host_version(stream->ctx);
    a->ret = VK_SUCCESS;
}

void pv_vn_do_vkEnumerateInstanceExtensionProperties(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkEnumerateInstanceExtensionProperties *a = args;
    *a->pPropertyCount = 0;
    a->ret = VK_SUCCESS;
}

void pv_vn_do_vkEnumerateInstanceLayerProperties(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkEnumerateInstanceLayerProperties *a = args;
    *a->pPropertyCount = 0;
    a->ret = VK_SUCCESS;
}

struct instance_get {
    PFN_vkGetInstanceProcAddr get;
    VkInstance instance;
};

static PFN_vkVoidFunction instance_proc(void *handle, const char *name)
{
    const struct instance_get *from = handle;
    return from->get(from->instance, name);
}

static VkResult enumerate(struct pv_vn_instance *instance, bool need_fd)
{
    PFN_vkEnumeratePhysicalDevices get = PV_VN_PROC(instance->procs, vkEnumeratePhysicalDevices);
    VkPhysicalDevice handles[16];
    uint32_t count = PV_ARRAY_SIZE(handles);
    VkResult result = get(instance->handle, &count, handles);
    if (result < 0)
        return result;
    instance->physicals = calloc(count ? count : 1, sizeof(*instance->physicals));
    if (!instance->physicals)
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    for (uint32_t i = 0; i < count; i++) {
        struct pv_vn_physical *physical = &instance->physicals[instance->physical_count];
        physical->instance = instance;
        physical->handle = handles[i];
        if (pv_vn_physical_init(physical, need_fd))
            instance->physical_count++;
        else
            pv_vn_physical_finish(physical);
    }
    return VK_SUCCESS;
}

VkResult pv_vn_instance_create(struct pv_vn_context *ctx, const VkApplicationInfo *guest_app,
                               struct pv_vn_instance *instance)
{
    PFN_vkCreateInstance vk_create = PV_VN_PROC(ctx->global_procs, vkCreateInstance);
    VkApplicationInfo app = {
        .sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
        .apiVersion = host_version(ctx),
    };
    if (guest_app) {
        app.pApplicationName = guest_app->pApplicationName;
        app.applicationVersion = guest_app->applicationVersion;
        app.pEngineName = guest_app->pEngineName;
        app.engineVersion = guest_app->engineVersion;
    }
    VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                 .pApplicationInfo = &app};
    pv_metal_bridge_instance(ctx, &info);
    if (!vk_create)
        return VK_ERROR_INITIALIZATION_FAILED;
    VkResult result = vk_create(&info, NULL, &instance->handle);
    if (result < 0)
        return result;
    struct instance_get from = {ctx->driver->get_proc, instance->handle};
    pv_vn_procs_load(instance->procs, PV_VN_LEVEL_INSTANCE, instance_proc, &from);
    instance->host = pv_vn_host_object_new(
        instance->handle, (pv_vn_destroy_fn *)instance->procs[PV_VN_COMMAND_vkDestroyInstance],
        NULL);
    if (!instance->host)
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    instance->get_device_proc =
        (PFN_vkGetDeviceProcAddr)instance_proc(&from, "vkGetDeviceProcAddr");
    return enumerate(instance, ctx->config->need_fd);
}

void pv_vn_do_vkCreateInstance(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkCreateInstance *a = args;
    struct pv_vn_context *ctx = stream->ctx;
    struct pv_vn_instance *instance = NULL;
    if (ctx->instances && ctx->instances->handle)
        a->ret = VK_ERROR_INITIALIZATION_FAILED; /* one at a time */
    else if (!(instance = calloc(1, sizeof(*instance))))
        a->ret = VK_ERROR_OUT_OF_HOST_MEMORY;
    else
        a->ret = pv_vn_instance_create(ctx, a->pCreateInfo->pApplicationInfo, instance);
    if (instance) {
        pthread_mutex_lock(&ctx->lock);
        instance->next = ctx->instances;
        ctx->instances = instance;
        pthread_mutex_unlock(&ctx->lock);
        if (a->ret < 0)
            pv_vn_instance_destroy(ctx, instance);
        else
            *a->pInstance = instance->handle;
    }
    pv_vn_stream_register(stream, args, instance);
}

void pv_vn_instance_destroy(struct pv_vn_context *ctx, struct pv_vn_instance *instance)
{
    instance->handle = NULL;
    pv_vn_host_object_unref(PV_STEAL(instance->host));
}

void pv_vn_do_vkDestroyInstance(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_context *ctx = stream->ctx;
    struct pv_vn_instance *instance = stream->self.owner;
    if (!pv_vn_object_remove(ctx, stream->self.id, NULL) || !instance)
        return;
    for (struct pv_vn_device *device = ctx->devices; device; device = device->next)
        if (device->physical->instance == instance)
            pv_vn_device_destroy(ctx, device);
    pv_vn_objects_drop_physicals(ctx, instance);
    pv_vn_instance_destroy(ctx, instance);
}

void pv_vn_do_vkEnumeratePhysicalDevices(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkEnumeratePhysicalDevices *a = args;
    struct pv_vn_instance *instance = stream->self.owner;
    uint32_t room = *a->pPhysicalDeviceCount;
    a->ret = VK_SUCCESS;
    *a->pPhysicalDeviceCount = instance->physical_count;
    if (!a->pPhysicalDevices)
        return;
    if (room < instance->physical_count) {
        *a->pPhysicalDeviceCount = room;
        a->ret = VK_INCOMPLETE;
    }
    for (uint32_t i = 0; i < *a->pPhysicalDeviceCount; i++) {
        struct pv_vn_physical *physical = &instance->physicals[i];
        struct pv_gpu_entry entry = {.id = a->ids_pPhysicalDevices[i],
                                     .handle = (uintptr_t)physical->handle,
                                     .owner = physical,
                                     .type = PV_VN_HANDLE_VkPhysicalDevice};
        if (physical->id == entry.id)
            continue;
        if (!pv_vn_object_add(stream->ctx, &entry))
            return;
        physical->id = entry.id;
    }
}
