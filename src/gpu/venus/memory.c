/* SPDX-License-Identifier: MIT */
/*
 * Device memory. What a guest can see is built on pages of ours that the driver imports
 * (VK_EXT_external_memory_host): guest CPU, host CPU and GPU use the very same pages, nothing is
 * ever copied. The same pages imported again in another device are what a guest's dma-buf is.
 */
#include <string.h>

#include "base/checked.h"
#include "base/util.h"
#include "gpu/venus/context.h"

void pv_vn_memory_free(struct pv_vn_context *ctx, struct pv_vn_memory *memory)
{
    if (!memory)
        return;
    pv_vn_context_uncharge(ctx, memory->size);
    pv_gpu_memory_unref(memory->pages);
    free(memory);
}

/* The pages for an allocation: those of a resource it imports, new ones, or none. */
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
    if (!exported && !(flags & VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT))
        return VK_SUCCESS;
    if (!(physical->import_types & 1u << info->memoryTypeIndex))
        return VK_ERROR_OUT_OF_DEVICE_MEMORY;
    uint32_t map_info = flags & VK_MEMORY_PROPERTY_HOST_CACHED_BIT ? PV_BLOB_CACHED : PV_BLOB_WC;
    return pv_gpu_memory_create(pages, pv_align_up(info->allocationSize, physical->import_align),
                                map_info, NULL) < 0
               ? VK_ERROR_OUT_OF_HOST_MEMORY
               : VK_SUCCESS;
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
    return pv_vn_stream_call(stream, a) ? a->ret : VK_ERROR_DEVICE_LOST;
}

void pv_vn_do_vkAllocateMemory(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkAllocateMemory *a = args;
    struct pv_vn_memory *memory = calloc(1, sizeof(*memory));
    a->ret = memory ? allocate(stream, a, memory) : VK_ERROR_OUT_OF_HOST_MEMORY;
    if (a->ret < 0) {
        pv_debug(PV_LOG_VENUS, "%s: vkAllocateMemory: %d", stream->ctx->name, a->ret);
        pv_vn_memory_free(stream->ctx, PV_STEAL(memory));
    }
    struct pv_gpu_entry entry = {.id = a->ids_pMemory[0],
                                 .handle = memory ? (uint64_t)*a->pMemory : 0,
                                 .parent = (uintptr_t)memory,
                                 .owner = stream->self.owner,
                                 .type = PV_VN_HANDLE_VkDeviceMemory,
                                 .dead = !memory};
    if (!pv_vn_object_add(stream->ctx, &entry) && memory) {
        struct pv_vn_device *device = stream->self.owner;
        PV_VN_PROC(device->procs, vkFreeMemory)(device->handle, *a->pMemory, NULL);
        pv_vn_memory_free(stream->ctx, memory);
    }
}

void pv_vn_do_vkFreeMemory(struct pv_vn_stream *stream, void *args)
{
    struct pv_gpu_entry entry = {0};
    if (!stream->id_count || !pv_vn_object_remove(stream->ctx, stream->ids[0], &entry))
        return;
    pv_vn_stream_call(stream, args);
    pv_vn_memory_free(stream->ctx, (struct pv_vn_memory *)(uintptr_t)entry.parent);
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
