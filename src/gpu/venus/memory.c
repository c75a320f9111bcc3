/* SPDX-License-Identifier: MIT */
/*
 * Device memory. What a guest can see is built on pages of ours that the driver imports
 * (VK_EXT_external_memory_host): guest CPU, host CPU and GPU use the very same pages, nothing is
 * ever copied. The same pages imported again in another device are what a guest's dma-buf is.
 *
 * Where a memory type takes no import, the pages are the driver's, mapped by it. They cannot be
 * shared as a dma-buf, and the guest may have them in its address space when it frees the memory:
 * the driver is told only when the last user of the pages has let go.
 */
#include <string.h>

#include "base/checked.h"
#include "base/util.h"
#include "gpu/venus/context.h"

/* ---- Memory that the driver maps ---- */

struct mapped {
    struct pv_gpu_memory pages;
    struct pv_vn_host_object *host; /* the device */
    VkDevice device;
    VkDeviceMemory memory;
    PFN_vkFreeMemory free;
};

static void release_mapped(struct pv_gpu_memory *pages)
{
    struct mapped *mapped = PV_CONTAINER_OF(pages, struct mapped, pages);
    mapped->free(mapped->device, mapped->memory, NULL);
    pv_vn_host_object_unref(mapped->host);
    free(mapped);
}

/* Maps what was just allocated; on failure it is freed. */
static VkResult map(const struct pv_vn_device *device, const VkMemoryAllocateInfo *info,
                    VkDeviceMemory *memory, struct pv_gpu_memory **pages)
{
    VkMemoryPropertyFlags flags =
        device->physical->memory.memoryTypes[info->memoryTypeIndex].propertyFlags;
    PFN_vkFreeMemory free_memory = PV_VN_PROC(device->procs, vkFreeMemory);
    struct mapped *mapped = calloc(1, sizeof(*mapped));
    void *data = NULL;
    VkResult result = VK_ERROR_OUT_OF_HOST_MEMORY;
    if (mapped && device->map_memory)
        result = device->map_memory(device->handle, *memory, 0, VK_WHOLE_SIZE, 0, &data);
    /* Guests map whole pages; no driver is known that does not map so. */
    if (result == VK_SUCCESS && (uintptr_t)data % pv_page_size())
        result = VK_ERROR_MEMORY_MAP_FAILED;
    if (result < 0) {
        free(mapped);
        free_memory(device->handle, *memory, NULL);
        *memory = VK_NULL_HANDLE;
        return result;
    }
    mapped->host = pv_vn_host_object_ref(device->host);
    mapped->device = device->handle;
    mapped->memory = *memory;
    mapped->free = free_memory;
    pv_gpu_memory_wrap(&mapped->pages, data, info->allocationSize,
                       flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT ? PV_BLOB_CACHED : PV_BLOB_WC,
                       release_mapped);
    *pages = &mapped->pages;
    return VK_SUCCESS;
}

/* ---- All memory ---- */

static void drop(struct pv_vn_context *ctx, struct pv_vn_memory *memory)
{
    if (!memory)
        return;
    pv_vn_context_uncharge(ctx, memory->size);
    pv_gpu_memory_unref(memory->pages);
    free(memory);
}

void pv_vn_memory_free(struct pv_vn_context *ctx, const struct pv_vn_device *device,
                       const struct pv_gpu_entry *entry)
{
    struct pv_vn_memory *memory = (struct pv_vn_memory *)(uintptr_t)entry->parent;
    PFN_vkFreeMemory free_memory = PV_VN_PROC(device->procs, vkFreeMemory);
    if (entry->handle && !(memory && memory->mapped))
        free_memory(device->handle, (VkDeviceMemory)entry->handle, NULL);
    drop(ctx, memory);
}

/* The pages to import for an allocation: those of a resource it names, new ones, or none. */
static VkResult find_pages(struct pv_vn_stream *stream, VkMemoryAllocateInfo *info,
                           struct pv_gpu_memory **pages)
{
    const struct pv_vn_physical *physical = pv_vn_stream_device(stream)->physical;
    const VkImportMemoryResourceInfoMESA *import =
        pv_vn_chain_remove(info, PV_VN_STYPE_VkImportMemoryResourceInfoMESA);
    bool exported = pv_vn_chain_remove(info, VK_STRUCTURE_TYPE_EXPORT_MEMORY_ALLOCATE_INFO);
    VkMemoryPropertyFlags flags = physical->memory.memoryTypes[info->memoryTypeIndex].propertyFlags;
    if (import) {
        *pages = pv_vn_context_resource(stream->ctx, import->resourceId);
        return *pages && info->allocationSize <= (*pages)->mapping.size
                   ? VK_SUCCESS
                   : VK_ERROR_INVALID_EXTERNAL_HANDLE;
    }
    if (!exported && (!(flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT) ||
                      physical->map_types & 1u << info->memoryTypeIndex))
        return VK_SUCCESS;
    if (!(physical->import_types & 1u << info->memoryTypeIndex))
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    uint32_t map_info = flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT ? PV_BLOB_CACHED : PV_BLOB_WC;
    if (pv_gpu_memory_create(pages, pv_align_up(info->allocationSize, physical->import_align),
                             map_info, NULL) < 0)
        return VK_ERROR_OUT_OF_HOST_MEMORY;
    if (pv_gpu_memory_charge(*pages, stream->ctx->account, NULL) < 0) {
        pv_gpu_memory_unref(PV_STEAL(*pages));
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    return VK_SUCCESS;
}

static VkResult allocate(struct pv_vn_stream *stream, struct pv_vn_vkAllocateMemory *a,
                         struct pv_vn_memory *memory)
{
    const struct pv_vn_physical *physical = pv_vn_stream_device(stream)->physical;
    VkMemoryAllocateInfo *info = (VkMemoryAllocateInfo *)a->pAllocateInfo;
    VkImportMemoryHostPointerInfoEXT import = {
        .sType = VK_STRUCTURE_TYPE_IMPORT_MEMORY_HOST_POINTER_INFO_EXT,
        .handleType = VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT,
    };
    if (info->memoryTypeIndex >= physical->memory.memoryTypeCount || !info->allocationSize ||
        info->allocationSize > UINT64_C(1) << 46)
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    if (!pv_vn_context_charge(stream->ctx, info->allocationSize))
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    memory->size = info->allocationSize;
    VkResult result = find_pages(stream, info, &memory->pages);
    if (result < 0)
        return result;
    if (memory->pages) {
        /* A dedicated allocation cannot be an import of plain pages. */
        pv_vn_chain_remove(info, VK_STRUCTURE_TYPE_MEMORY_DEDICATED_ALLOCATE_INFO);
        import.pHostPointer = memory->pages->mapping.data;
        import.pNext = info->pNext;
        info->pNext = &import;
        info->allocationSize = pv_align_up(info->allocationSize, physical->import_align);
        if (info->allocationSize > memory->pages->mapping.size)
            return VK_ERROR_INVALID_EXTERNAL_HANDLE;
    }
    memory->mapped = !memory->pages && physical->map_types & 1u << info->memoryTypeIndex;
    if (memory->mapped)
        info->allocationSize = pv_align_up(info->allocationSize, pv_page_size());
    if (!pv_vn_stream_call(stream, a))
        return VK_ERROR_DEVICE_LOST;
    if (a->ret < 0 || !memory->mapped)
        return a->ret;
    VkResult mapped = map(stream->self.owner, info, a->pMemory, &memory->pages);
    if (mapped == VK_SUCCESS &&
        pv_gpu_memory_charge(memory->pages, stream->ctx->account, NULL) < 0) {
        *a->pMemory = VK_NULL_HANDLE; /* freed with its pages */
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    }
    return mapped;
}

void pv_vn_do_vkAllocateMemory(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkAllocateMemory *a = args;
    struct pv_vn_memory *memory = calloc(1, sizeof(*memory));
    a->ret = memory ? allocate(stream, a, memory) : VK_ERROR_OUT_OF_HOST_MEMORY;
    if (a->ret < 0) {
        pv_debug(PV_LOG_VENUS, "%s: vkAllocateMemory: %d", stream->ctx->name, a->ret);
        drop(stream->ctx, PV_STEAL(memory));
    }
    struct pv_gpu_entry entry = {.id = a->ids_pMemory[0],
                                 .handle = memory ? (uint64_t)*a->pMemory : 0,
                                 .parent = (uintptr_t)memory,
                                 .owner = stream->self.owner,
                                 .type = PV_VN_HANDLE_VkDeviceMemory,
                                 .dead = !memory};
    if (!pv_vn_object_add(stream->ctx, &entry) && memory)
        pv_vn_memory_free(stream->ctx, stream->self.owner, &entry);
}

void pv_vn_do_vkFreeMemory(struct pv_vn_stream *stream, void *args)
{
    struct pv_gpu_entry entry = {0};
    if (stream->id_count && pv_vn_object_remove(stream->ctx, stream->ids[0], &entry))
        pv_vn_memory_free(stream->ctx, stream->self.owner, &entry);
}

struct pv_gpu_memory *pv_vn_memory_export(struct pv_vn_context *ctx, uint64_t blob_id,
                                          uint64_t size)
{
    struct pv_gpu_memory *pages = NULL;
    pthread_rwlock_rdlock(&ctx->objects_lock);
    const struct pv_gpu_entry *entry = pv_gpu_table_find(&ctx->objects, blob_id);
    if (entry && entry->type == PV_VN_HANDLE_VkDeviceMemory && !entry->dead) {
        const struct pv_vn_memory *memory = (struct pv_vn_memory *)(uintptr_t)entry->parent;
        if (memory->pages && size <= memory->pages->mapping.size)
            pages = pv_gpu_memory_ref(memory->pages);
    }
    pthread_rwlock_unlock(&ctx->objects_lock);
    return pages;
}

void pv_vn_do_vkGetMemoryResourcePropertiesMESA(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkGetMemoryResourcePropertiesMESA *a = args;
    struct pv_gpu_memory *pages = pv_vn_context_resource(stream->ctx, a->resourceId);
    if (!pages) {
        a->ret = VK_ERROR_INVALID_EXTERNAL_HANDLE;
        return;
    }
    a->ret = VK_SUCCESS;
    a->pMemoryResourceProperties->memoryTypeBits =
        pv_vn_stream_device(stream)->physical->import_types;
    VkMemoryResourceAllocationSizePropertiesMESA *size =
        (void *)pv_vn_chain_find(a->pMemoryResourceProperties->pNext,
                                 PV_VN_STYPE_VkMemoryResourceAllocationSizePropertiesMESA);
    if (size)
        size->allocationSize = pages->mapping.size;
    pv_gpu_memory_unref(pages);
}
