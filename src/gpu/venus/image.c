/* SPDX-License-Identifier: MIT */
/*
 * Images and buffers that a guest shares as dma-bufs, on drivers that know no dma-buf.
 *
 * DRM_FORMAT_MOD_LINEAR, the one modifier we offer, is served as a linear image on host pages: the
 * guest's dma-buf is a name of its own kernel for the same pages. So what is said of modifiers is
 * taken out of requests, tiling becomes linear, the handle type becomes host allocation, and the
 * answers are put in afterwards.
 */
#include "base/util.h"
#include "gpu/venus/context.h"

#define MOD_LINEAR UINT64_C(0)

#define HOST_HANDLE VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT

/* A struct taken out of a chain for the driver's call, to be put back for the reply. */
struct taken {
    VkBaseOutStructure *previous, *node;
};

static void *take_out(struct taken *taken, void *head, VkStructureType stype)
{
    *taken = (struct taken){.previous = head};
    while (taken->previous->pNext && taken->previous->pNext->sType != stype)
        taken->previous = taken->previous->pNext;
    taken->node = taken->previous->pNext;
    if (taken->node)
        taken->previous->pNext = taken->node->pNext;
    return taken->node;
}

/* In the opposite order of take_out. */
static void put_back(const struct taken *taken)
{
    if (taken->node)
        taken->previous->pNext = taken->node;
}

/*
 * Makes the driver expect host pages behind a buffer or image. What shares memory says so itself;
 * where all memory is such (a unified device), everything must be told. Elsewhere nothing else is:
 * it would keep optimal images and buffers out of the GPU's own memory.
 */
static void use_host_handles(struct pv_vn_stream *stream, const void *info, VkStructureType stype)
{
    /* Buffers' and images' external memory structs have the same shape. */
    VkBaseOutStructure *head = (VkBaseOutStructure *)info;
    VkExternalMemoryImageCreateInfo *external = (void *)pv_vn_chain_find(head->pNext, stype);
    bool unified = pv_vn_stream_device(stream)->physical->unified;
    if (external && (external->handleTypes || unified)) {
        external->handleTypes = HOST_HANDLE;
    } else if (!external && unified && (external = pv_vn_stream_alloc(stream, sizeof(*external)))) {
        *external = (VkExternalMemoryImageCreateInfo){
            .sType = stype, .pNext = head->pNext, .handleTypes = HOST_HANDLE};
        head->pNext = (void *)external;
    }
}

/* ---- Buffers ---- */

void pv_vn_do_vkCreateBuffer(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkCreateBuffer *a = args;
    use_host_handles(stream, a->pCreateInfo, VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO);
    if (pv_vn_stream_call(stream, args))
        pv_vn_stream_register(stream, args, stream->self.owner);
}

void pv_vn_do_vkGetDeviceBufferMemoryRequirements(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkGetDeviceBufferMemoryRequirements *a = args;
    use_host_handles(stream, a->pInfo->pCreateInfo,
                     VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO);
    pv_vn_stream_call(stream, args);
}

/* ---- Images ---- */

/* Makes the driver's image of the guest's; false for a modifier that is not ours. */
static bool linearize(struct pv_vn_stream *stream, VkImageCreateInfo *info)
{
    const VkImageDrmFormatModifierListCreateInfoEXT *list =
        pv_vn_chain_remove(info, VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_LIST_CREATE_INFO_EXT);
    const VkImageDrmFormatModifierExplicitCreateInfoEXT *one = pv_vn_chain_remove(
        info, VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_EXPLICIT_CREATE_INFO_EXT);
    use_host_handles(stream, info, VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_IMAGE_CREATE_INFO);
    if (info->tiling != VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT)
        return true;
    bool linear = one && one->drmFormatModifier == MOD_LINEAR;
    for (uint32_t i = 0; list && i < list->drmFormatModifierCount; i++)
        linear |= list->pDrmFormatModifiers[i] == MOD_LINEAR;
    info->tiling = VK_IMAGE_TILING_LINEAR;
    return linear;
}

void pv_vn_do_vkCreateImage(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkCreateImage *a = args;
    if (!linearize(stream, (VkImageCreateInfo *)a->pCreateInfo))
        a->ret = VK_ERROR_INITIALIZATION_FAILED;
    else if (!pv_vn_stream_call(stream, args))
        return;
    pv_vn_stream_register(stream, args, stream->self.owner);
}

void pv_vn_do_vkGetDeviceImageMemoryRequirements(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkGetDeviceImageMemoryRequirements *a = args;
    linearize(stream, (VkImageCreateInfo *)a->pInfo->pCreateInfo);
    pv_vn_stream_call(stream, args);
}

void pv_vn_do_vkGetDeviceImageSparseMemoryRequirements(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkGetDeviceImageSparseMemoryRequirements *a = args;
    linearize(stream, (VkImageCreateInfo *)a->pInfo->pCreateInfo);
    pv_vn_stream_call(stream, args);
}

void pv_vn_do_vkGetImageSubresourceLayout(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkGetImageSubresourceLayout *a = args;
    VkImageSubresource *part = (VkImageSubresource *)a->pSubresource;
    if (part->aspectMask == VK_IMAGE_ASPECT_MEMORY_PLANE_0_BIT_EXT)
        part->aspectMask = VK_IMAGE_ASPECT_COLOR_BIT;
    pv_vn_stream_call(stream, args);
}

void pv_vn_do_vkGetImageDrmFormatModifierPropertiesEXT(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkGetImageDrmFormatModifierPropertiesEXT *a = args;
    a->pProperties->drmFormatModifier = MOD_LINEAR;
    a->ret = VK_SUCCESS;
}

/* ---- What formats can do ---- */

static void fill_modifiers(VkDrmFormatModifierPropertiesListEXT *list, VkFormatFeatureFlags linear)
{
    uint32_t count = linear != 0;
    if (list->pDrmFormatModifierProperties) {
        count = PV_MIN(count, list->drmFormatModifierCount);
        if (count)
            list->pDrmFormatModifierProperties[0] =
                (VkDrmFormatModifierPropertiesEXT){MOD_LINEAR, 1, linear};
    }
    list->drmFormatModifierCount = count;
}

static void fill_modifiers2(VkDrmFormatModifierPropertiesList2EXT *list,
                            VkFormatFeatureFlags linear)
{
    uint32_t count = linear != 0;
    if (list->pDrmFormatModifierProperties) {
        count = PV_MIN(count, list->drmFormatModifierCount);
        if (count)
            list->pDrmFormatModifierProperties[0] =
                (VkDrmFormatModifierProperties2EXT){MOD_LINEAR, 1, linear};
    }
    list->drmFormatModifierCount = count;
}

void pv_vn_do_vkGetPhysicalDeviceFormatProperties2(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkGetPhysicalDeviceFormatProperties2 *a = args;
    VkFormatProperties2 *to = a->pFormatProperties;
    struct taken first, second;
    VkDrmFormatModifierPropertiesListEXT *list =
        take_out(&first, to, VK_STRUCTURE_TYPE_DRM_FORMAT_MODIFIER_PROPERTIES_LIST_EXT);
    VkDrmFormatModifierPropertiesList2EXT *list2 =
        take_out(&second, to, VK_STRUCTURE_TYPE_DRM_FORMAT_MODIFIER_PROPERTIES_LIST_2_EXT);
    pv_vn_stream_call(stream, args);
    put_back(&second);
    put_back(&first);
    if (list)
        fill_modifiers(list, to->formatProperties.linearTilingFeatures);
    if (list2)
        fill_modifiers2(list2, to->formatProperties.linearTilingFeatures);
}

void pv_vn_do_vkGetPhysicalDeviceImageFormatProperties2(struct pv_vn_stream *stream, void *args)
{
    struct pv_vn_vkGetPhysicalDeviceImageFormatProperties2 *a = args;
    const VkExternalMemoryHandleTypeFlags dma_buf = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT;
    VkPhysicalDeviceImageFormatInfo2 *info =
        (VkPhysicalDeviceImageFormatInfo2 *)a->pImageFormatInfo;
    const VkPhysicalDeviceImageDrmFormatModifierInfoEXT *modifier = pv_vn_chain_remove(
        info, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_IMAGE_DRM_FORMAT_MODIFIER_INFO_EXT);
    const VkPhysicalDeviceExternalImageFormatInfo *external =
        pv_vn_chain_remove(info, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_EXTERNAL_IMAGE_FORMAT_INFO);
    struct taken taken;
    VkExternalImageFormatProperties *shared = take_out(
        &taken, a->pImageFormatProperties, VK_STRUCTURE_TYPE_EXTERNAL_IMAGE_FORMAT_PROPERTIES);
    bool refused = external && external->handleType &&
                   (VkExternalMemoryHandleTypeFlags)external->handleType != dma_buf;
    if (info->tiling == VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT) {
        info->tiling = VK_IMAGE_TILING_LINEAR;
        refused |= !modifier || modifier->drmFormatModifier != MOD_LINEAR;
    }
    if (refused)
        a->ret = VK_ERROR_FORMAT_NOT_SUPPORTED;
    else
        pv_vn_stream_call(stream, args);
    put_back(&taken);
    if (shared && external && external->handleType && a->ret == VK_SUCCESS)
        shared->externalMemoryProperties = (VkExternalMemoryProperties){
            .externalMemoryFeatures = VK_EXTERNAL_MEMORY_FEATURE_EXPORTABLE_BIT |
                                      VK_EXTERNAL_MEMORY_FEATURE_IMPORTABLE_BIT,
            .exportFromImportedHandleTypes = dma_buf,
            .compatibleHandleTypes = dma_buf,
        };
}
