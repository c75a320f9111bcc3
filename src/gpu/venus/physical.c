/* SPDX-License-Identifier: MIT */
/*
 * What a guest sees of a physical device: the host's extensions that the tables cover, those that
 * we serve ourselves, and memory types. Those are host-visible only where guest, host and GPU can
 * share the pages: pages of ours that the driver takes (VK_EXT_external_memory_host), or, where it
 * takes none, pages that it maps for us.
 */
#include <string.h>
#include <sys/mman.h>

#include "base/util.h"
#include "gpu/venus/context.h"

static bool listed(const VkExtensionProperties *list, uint32_t count, const char *name,
                   uint32_t *spec)
{
    for (uint32_t i = 0; i < count; i++) {
        if (strcmp(list[i].extensionName, name) == 0) {
            *spec = list[i].specVersion;
            return true;
        }
    }
    return false;
}

bool pv_vn_physical_has(const struct pv_vn_physical *physical, const char *extension)
{
    uint32_t spec;
    return listed(physical->host_extensions, physical->host_extension_count, extension, &spec);
}

static bool load_extensions(struct pv_vn_physical *physical)
{
    PFN_vkEnumerateDeviceExtensionProperties get =
        PV_VN_PROC(physical->instance->procs, vkEnumerateDeviceExtensionProperties);
    uint32_t count = 0;
    if (!get || get(physical->handle, NULL, &count, NULL) < 0)
        return false;
    physical->host_extensions = calloc(count + 1, sizeof(*physical->host_extensions));
    physical->extensions = calloc(PV_VN_EXTENSIONS, sizeof(*physical->extensions));
    if (!physical->host_extensions || !physical->extensions ||
        get(physical->handle, NULL, &count, physical->host_extensions) < 0)
        return false;
    physical->host_extension_count = count;
    return true;
}

static void choose_extensions(struct pv_vn_physical *physical)
{
    for (unsigned i = 0; i < PV_VN_EXTENSIONS; i++) {
        const struct pv_vn_extension *extension = &pv_vn_extensions[i];
        uint32_t spec = 1;
        bool host = listed(physical->host_extensions, physical->host_extension_count,
                           extension->name, &spec);
        if (!host && !(extension->served_here && physical->import_types))
            continue;
        VkExtensionProperties *to = &physical->extensions[physical->extension_count++];
        snprintf(to->extensionName, sizeof(to->extensionName), "%s", extension->name);
        to->specVersion = spec;
    }
}

static PFN_vkVoidFunction get_proc(struct pv_vn_instance *instance, VkDevice device,
                                   const char *name)
{
    return instance->get_device_proc(device, name);
}

/* Asks, with a device of its own, which memory types take a page of ours. */
static uint32_t probe_import(struct pv_vn_physical *physical)
{
    struct pv_vn_instance *instance = physical->instance;
    static const char *const names[] = {VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME};
    const float priority = 1;
    const VkDeviceQueueCreateInfo queue = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                           .queueCount = 1,
                                           .pQueuePriorities = &priority};
    const VkDeviceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                     .queueCreateInfoCount = 1,
                                     .pQueueCreateInfos = &queue,
                                     .enabledExtensionCount = 1,
                                     .ppEnabledExtensionNames = names};
    VkDevice device;
    struct pv_gpu_memory *pages;
    uint32_t types = 0;
    if (PV_VN_PROC(instance->procs, vkCreateDevice)(physical->handle, &info, NULL, &device) < 0)
        return 0;
    PFN_vkGetMemoryHostPointerPropertiesEXT ask = (PFN_vkGetMemoryHostPointerPropertiesEXT)get_proc(
        instance, device, "vkGetMemoryHostPointerPropertiesEXT");
    VkMemoryHostPointerPropertiesEXT answer = {
        .sType = VK_STRUCTURE_TYPE_MEMORY_HOST_POINTER_PROPERTIES_EXT};
    if (ask && pv_gpu_memory_create(&pages, physical->import_align, PV_BLOB_CACHED, NULL) == 0) {
        if (ask(device, VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT, pages->mapping.data,
                &answer) == 0)
            types = answer.memoryTypeBits;
        pv_gpu_memory_unref(pages);
    }
    PFN_vkDestroyDevice destroy =
        (PFN_vkDestroyDevice)get_proc(instance, device, "vkDestroyDevice");
    if (destroy)
        destroy(device, NULL);
    return types;
}

/*
 * Guests do not tell us of flushes, so what is not coherent cannot be shared. Of the rest, types
 * that take our pages are built on them; others show the driver's own mapping, unless what guests
 * see must have a descriptor.
 */
static void choose_memory(struct pv_vn_physical *physical, bool need_fd)
{
    const VkMemoryPropertyFlags host =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    PV_VN_PROC(physical->instance->procs, vkGetPhysicalDeviceMemoryProperties)
    (physical->handle, &physical->memory);
    physical->unified = physical->memory.memoryTypeCount > 0;
    for (uint32_t i = 0; i < physical->memory.memoryTypeCount; i++) {
        VkMemoryPropertyFlags *flags = &physical->memory.memoryTypes[i].propertyFlags;
        bool coherent = (*flags & host) == host, import = physical->import_types & 1u << i;
        if (coherent && !import && !need_fd)
            physical->map_types |= 1u << i;
        else if (!coherent || !import)
            *flags &= ~(host | VK_MEMORY_PROPERTY_HOST_CACHED_BIT);
        physical->unified &= coherent && import;
    }
}

bool pv_vn_physical_init(struct pv_vn_physical *physical, bool need_fd)
{
    struct pv_vn_instance *instance = physical->instance;
    PFN_vkGetPhysicalDeviceProperties2 get =
        PV_VN_PROC(instance->procs, vkGetPhysicalDeviceProperties2);
    if (!get || !instance->get_device_proc || !load_extensions(physical))
        return false;
    VkPhysicalDeviceExternalMemoryHostPropertiesEXT import = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_MEMORY_HOST_PROPERTIES_EXT};
    VkPhysicalDeviceProperties2 properties = {.sType =
                                                  VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2};
    bool can_import = pv_vn_physical_has(physical, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
    if (can_import)
        properties.pNext = &import;
    get(physical->handle, &properties);
    physical->properties = properties.properties;
    if (can_import) {
        physical->import_align =
            PV_MAX(import.minImportedHostPointerAlignment, (VkDeviceSize)pv_page_size());
        physical->import_types = probe_import(physical);
    }
    choose_memory(physical, need_fd);
    choose_extensions(physical);
    bool visible = physical->import_types || physical->map_types;
    if (!visible)
        pv_warn(PV_LOG_VENUS,
                "%s takes no host memory (VK_EXT_external_memory_host): not offered to guests",
                physical->properties.deviceName);
    return visible;
}

void pv_vn_physical_finish(struct pv_vn_physical *physical)
{
    free(physical->host_extensions);
    free(physical->extensions);
    *physical = (struct pv_vn_physical){0};
}

void pv_vn_do_vkEnumerateDeviceExtensionProperties(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkEnumerateDeviceExtensionProperties *a = args;
    const struct pv_vn_physical *physical = stream->self.owner;
    uint32_t room = *a->pPropertyCount;
    *a->pPropertyCount = physical->extension_count;
    a->ret = VK_SUCCESS;
    if (!a->pProperties)
        return;
    if (room < physical->extension_count) {
        *a->pPropertyCount = room;
        a->ret = VK_INCOMPLETE;
    }
    memcpy(a->pProperties, physical->extensions, *a->pPropertyCount * sizeof(*a->pProperties));
}

void pv_vn_do_vkEnumerateDeviceLayerProperties(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkEnumerateDeviceLayerProperties *a = args;
    *a->pPropertyCount = 0;
    a->ret = VK_SUCCESS;
}

void pv_vn_do_vkGetPhysicalDeviceMemoryProperties(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkGetPhysicalDeviceMemoryProperties *a = args;
    *a->pMemoryProperties = ((struct pv_vn_physical *)stream->self.owner)->memory;
}

void pv_vn_do_vkGetPhysicalDeviceMemoryProperties2(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkGetPhysicalDeviceMemoryProperties2 *a = args;
    if (pv_vn_stream_call(stream, args)) /* for the chain's sake: memory budgets */
        a->pMemoryProperties->memoryProperties =
            ((struct pv_vn_physical *)stream->self.owner)->memory;
}

/* ---- What can be shared: dma-bufs and sync files, both made by the guest's own kernel ---- */

void pv_vn_do_vkGetPhysicalDeviceExternalSemaphoreProperties(struct pv_vn_stream *stream,
                                                             void *args)
{
    struct pv_vn_vkGetPhysicalDeviceExternalSemaphoreProperties *a = args;
    const VkSemaphoreTypeCreateInfo *type = pv_vn_chain_find(
        a->pExternalSemaphoreInfo->pNext, VK_STRUCTURE_TYPE_SEMAPHORE_TYPE_CREATE_INFO);
    const VkExternalSemaphoreHandleTypeFlags sync_fd =
        VK_EXTERNAL_SEMAPHORE_HANDLE_TYPE_SYNC_FD_BIT;
    if ((VkExternalSemaphoreHandleTypeFlags)a->pExternalSemaphoreInfo->handleType != sync_fd ||
        (type && type->semaphoreType == VK_SEMAPHORE_TYPE_TIMELINE))
        return;
    VkExternalSemaphoreProperties *to = a->pExternalSemaphoreProperties;
    to->exportFromImportedHandleTypes = to->compatibleHandleTypes = sync_fd;
    to->externalSemaphoreFeatures =
        VK_EXTERNAL_SEMAPHORE_FEATURE_EXPORTABLE_BIT | VK_EXTERNAL_SEMAPHORE_FEATURE_IMPORTABLE_BIT;
}

void pv_vn_do_vkGetPhysicalDeviceExternalFenceProperties(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkGetPhysicalDeviceExternalFenceProperties *a = args;
    const VkExternalFenceHandleTypeFlags sync_fd = VK_EXTERNAL_FENCE_HANDLE_TYPE_SYNC_FD_BIT;
    if ((VkExternalFenceHandleTypeFlags)a->pExternalFenceInfo->handleType != sync_fd)
        return;
    VkExternalFenceProperties *to = a->pExternalFenceProperties;
    to->exportFromImportedHandleTypes = to->compatibleHandleTypes = sync_fd;
    to->externalFenceFeatures =
        VK_EXTERNAL_FENCE_FEATURE_EXPORTABLE_BIT | VK_EXTERNAL_FENCE_FEATURE_IMPORTABLE_BIT;
}

void pv_vn_do_vkGetPhysicalDeviceExternalBufferProperties(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkGetPhysicalDeviceExternalBufferProperties *a = args;
    const VkExternalMemoryHandleTypeFlags dma_buf = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT;
    if ((VkExternalMemoryHandleTypeFlags)a->pExternalBufferInfo->handleType != dma_buf)
        return;
    a->pExternalBufferProperties->externalMemoryProperties = (VkExternalMemoryProperties){
        .externalMemoryFeatures =
            VK_EXTERNAL_MEMORY_FEATURE_EXPORTABLE_BIT | VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT,
        .exportFromImportedHandleTypes = dma_buf,
        .compatibleHandleTypes = dma_buf,
    };
}
