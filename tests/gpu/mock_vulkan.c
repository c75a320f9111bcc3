/* SPDX-License-Identifier: MIT */
#define VK_ENABLE_BETA_EXTENSIONS
#include "mock_vulkan.h"

#include <stdlib.h>
#include <string.h>

#include "base/util.h"

struct mock_vulkan_log mock_vulkan_log;

static uint64_t mock_yes(void)
{
    return 0;
}

static VkResult mock_create(void *parent, const void *info, const void *allocator, uint64_t *out)
{
    *out = 0x1000;
    return VK_SUCCESS;
}

static VkResult mock_create_instance(const VkInstanceCreateInfo *info, const void *allocator,
                                     uint64_t *out)
{
    mock_vulkan_log.instance_flags = info->flags;
    *out = 0x1000;
    return VK_SUCCESS;
}

static bool enabled(const VkDeviceCreateInfo *info, const char *name)
{
    for (uint32_t i = 0; i < info->enabledExtensionCount; i++)
        if (strcmp(info->ppEnabledExtensionNames[i], name) == 0)
            return true;
    return false;
}

static VkResult mock_create_device(void *physical, const VkDeviceCreateInfo *info,
                                   const void *allocator, uint64_t *out)
{
    const VkPhysicalDevicePortabilitySubsetFeaturesKHR *features = pv_vn_chain_find(
        info->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PORTABILITY_SUBSET_FEATURES_KHR);
    mock_vulkan_log.subset_enabled = enabled(info, VK_KHR_PORTABILITY_SUBSET_EXTENSION_NAME);
    mock_vulkan_log.subset_features[0] = features && features->constantAlphaColorBlendFactors;
    mock_vulkan_log.subset_features[1] = features && features->vertexAttributeAccessBeyondStride;
    return mock_create(physical, info, allocator, out);
}

static void mock_features(VkPhysicalDevice physical, VkPhysicalDeviceFeatures2 *out)
{
    VkPhysicalDevicePortabilitySubsetFeaturesKHR *features = (void *)pv_vn_chain_find(
        out->pNext, VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PORTABILITY_SUBSET_FEATURES_KHR);
    if (features)
        features->vertexAttributeAccessBeyondStride = VK_TRUE;
}

static VkResult mock_version(uint32_t *version)
{
    *version = VK_API_VERSION_1_3;
    return VK_SUCCESS;
}

static VkResult mock_physicals(VkInstance instance, uint32_t *count, VkPhysicalDevice *out)
{
    *count = 1;
    if (out)
        out[0] = (VkPhysicalDevice)0x2000;
    return VK_SUCCESS;
}

static void list(bool more, const char *first, const char *second, uint32_t *count,
                 VkExtensionProperties *out)
{
    if (out && *count > 0)
        strcpy(out[0].extensionName, first);
    if (out && more && *count > 1)
        strcpy(out[1].extensionName, second);
    *count = 1 + more;
}

static VkResult mock_instance_extensions(const char *layer, uint32_t *count,
                                         VkExtensionProperties *out)
{
    list(mock_vulkan_log.portability, VK_KHR_DEVICE_GROUP_CREATION_EXTENSION_NAME,
         VK_KHR_PORTABILITY_ENUMERATION_EXTENSION_NAME, count, out);
    return VK_SUCCESS;
}

static VkResult mock_extensions(VkPhysicalDevice physical, const char *layer, uint32_t *count,
                                VkExtensionProperties *out)
{
    list(mock_vulkan_log.portability, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME,
         VK_KHR_PORTABILITY_SUBSET_EXTENSION_NAME, count, out);
    return VK_SUCCESS;
}

static void mock_memory(VkPhysicalDevice physical, VkPhysicalDeviceMemoryProperties *out)
{
    *out = (VkPhysicalDeviceMemoryProperties){
        .memoryTypeCount = 2, .memoryTypes = {{7, 0}, {7, 0}}, .memoryHeapCount = 1};
}

static VkResult mock_host_pointer(VkDevice device, VkExternalMemoryHandleTypeFlagBits type,
                                  const void *pointer, VkMemoryHostPointerPropertiesEXT *out)
{
    out->memoryTypeBits = 1u << MOCK_IMPORTED;
    return VK_SUCCESS;
}

static VkResult mock_buffer(VkDevice device, const VkBufferCreateInfo *info, const void *allocator,
                            uint64_t *out)
{
    const VkExternalMemoryBufferCreateInfo *external =
        pv_vn_chain_find(info->pNext, VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO);
    mock_vulkan_log.buffer_handles = external ? external->handleTypes : 0;
    return mock_create(device, info, allocator, out);
}

static void mock_draw(VkCommandBuffer commands, uint32_t indices, uint32_t instances,
                      uint32_t first, int32_t offset, uint32_t first_instance)
{
    mock_vulkan_log.draw = (struct pv_vn_vkCmdDrawIndexed){.commandBuffer = commands,
                                                           .indexCount = indices,
                                                           .instanceCount = instances,
                                                           .firstIndex = first,
                                                           .vertexOffset = offset,
                                                           .firstInstance = first_instance};
}

static void mock_push(VkCommandBuffer commands, VkPipelineLayout layout, VkShaderStageFlags stages,
                      uint32_t offset, uint32_t size, const void *values)
{
    mock_vulkan_log.push = (struct pv_vn_vkCmdPushConstants){.commandBuffer = commands,
                                                             .layout = layout,
                                                             .stageFlags = stages,
                                                             .offset = offset,
                                                             .size = size};
    /* A call: gcc makes a bounded memcpy a string instruction, which is 20 ns in wire_bench. */
    if (size > 0)
        memmove(mock_vulkan_log.pushed, values, PV_MIN(size, sizeof(mock_vulkan_log.pushed)));
}

static VkResult mock_map(VkDevice device, VkDeviceMemory memory, VkDeviceSize offset,
                         VkDeviceSize size, VkMemoryMapFlags flags, void **data)
{
    static uint8_t pages[MOCK_MAPPED_SIZE] __attribute__((aligned(65536)));
    mock_vulkan_log.mapped = *data = pages;
    return VK_SUCCESS;
}

static void mock_free_memory(VkDevice device, VkDeviceMemory memory, const void *allocator)
{
    mock_vulkan_log.memories_freed++;
}

static void mock_destroy_device(VkDevice device, const void *allocator)
{
    mock_vulkan_log.devices_destroyed++;
}

static void mock_destroy_instance(VkInstance instance, const void *allocator)
{
    mock_vulkan_log.instances_destroyed++;
}

static void mock_queue(VkDevice device, uint32_t family, uint32_t index, VkQueue *out)
{
    *out = (VkQueue)0x3000;
}

static VkResult mock_commands(VkDevice device, const VkCommandBufferAllocateInfo *info,
                              VkCommandBuffer *out)
{
    for (uint32_t i = 0; i < info->commandBufferCount; i++)
        out[i] = (VkCommandBuffer)(uintptr_t)(0x4000 + i);
    return VK_SUCCESS;
}

PFN_vkVoidFunction mock_vulkan_proc(void *parent, const char *name)
{
    static const struct {
        const char *name;
        PFN_vkVoidFunction proc;
    } procs[] = {
#define ROW(name, mock) {name, (PFN_vkVoidFunction)mock}
        ROW("vkCreateInstance", mock_create_instance),
        ROW("vkCreateDevice", mock_create_device),
        ROW("vkGetPhysicalDeviceFeatures2", mock_features),
        ROW("vkEnumerateInstanceVersion", mock_version),
        ROW("vkEnumerateInstanceExtensionProperties", mock_instance_extensions),
        ROW("vkEnumeratePhysicalDevices", mock_physicals),
        ROW("vkEnumerateDeviceExtensionProperties", mock_extensions),
        ROW("vkGetPhysicalDeviceMemoryProperties", mock_memory),
        ROW("vkGetMemoryHostPointerPropertiesEXT", mock_host_pointer),
        ROW("vkGetDeviceQueue", mock_queue),
        ROW("vkCreateBuffer", mock_buffer),
        ROW("vkCmdDrawIndexed", mock_draw),
        ROW("vkCmdPushConstants", mock_push),
        ROW("vkMapMemory", mock_map),
        ROW("vkFreeMemory", mock_free_memory),
        ROW("vkDestroyDevice", mock_destroy_device),
        ROW("vkDestroyInstance", mock_destroy_instance),
        ROW("vkAllocateCommandBuffers", mock_commands),
        ROW("vkAllocateMemory", mock_create),
        ROW("vkGetDeviceProcAddr", mock_vulkan_proc),
        ROW("vkGetInstanceProcAddr", mock_vulkan_proc),
        ROW("vkCreateGraphicsPipelines", mock_yes),
        ROW("vkCreateComputePipelines", mock_yes),
#undef ROW
    };
    for (size_t i = 0; i < PV_ARRAY_SIZE(procs); i++)
        if (strcmp(procs[i].name, name) == 0)
            return procs[i].proc;
    return (PFN_vkVoidFunction)(strncmp(name, "vkCreate", 8) ? (void *)mock_yes
                                                             : (void *)mock_create);
}

const struct pv_vn_driver mock_vulkan_driver = {
    .get_proc = (PFN_vkGetInstanceProcAddr)(void *)mock_vulkan_proc};

/* ---- A guest's beginnings ---- */

static uint64_t plain_name(void *opaque, unsigned type, uint64_t handle)
{
    return handle;
}

size_t guest_encode(void *to, size_t room, unsigned command, uint32_t flags, const void *args)
{
    struct pv_vn_encoder enc = {.cur = to, .end = (uint8_t *)to + room, .name = plain_name};
    pv_vn_encode_request(&enc, &pv_vn_commands[command], flags, args);
    if (enc.failed)
        abort();
    return enc.cur - (uint8_t *)to;
}

void guest_run(struct pv_vn_stream *stream, unsigned command, const void *args)
{
    uint8_t bytes[1024];
    if (!pv_vn_stream_run(stream, bytes, guest_encode(bytes, sizeof(bytes), command, 0, args)))
        abort();
}

/* The handle, a struct to create it by, and its id: the shape of most creating commands. */
#define CREATE(stream, name, first, parent, Info, out, stype, id)                                  \
    do {                                                                                           \
        uint64_t create_id = (id);                                                                 \
        const Info create_info = {.sType = (stype)};                                               \
        const struct pv_vn_##name create_args = {.first = (void *)(uintptr_t)(parent),             \
                                                 .pCreateInfo = &create_info,                      \
                                                 .ids_##out = &create_id};                         \
        guest_run(stream, PV_VN_COMMAND_##name, &create_args);                                     \
    } while (0)

void guest_begin(struct pv_vn_stream *stream)
{
    uint64_t instance = GUEST_INSTANCE, physical = GUEST_PHYSICAL, queue = GUEST_QUEUE,
             memory = GUEST_MEMORY, commands = GUEST_COMMANDS;
    uint32_t one = 1;
    VkPhysicalDevice physical_room;
    const VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
    const struct pv_vn_vkCreateInstance create = {.pCreateInfo = &info, .ids_pInstance = &instance};
    guest_run(stream, PV_VN_COMMAND_vkCreateInstance, &create);
    const struct pv_vn_vkEnumeratePhysicalDevices list = {.instance = (VkInstance)GUEST_INSTANCE,
                                                          .pPhysicalDeviceCount = &one,
                                                          .pPhysicalDevices = &physical_room,
                                                          .ids_pPhysicalDevices = &physical};
    guest_run(stream, PV_VN_COMMAND_vkEnumeratePhysicalDevices, &list);
    CREATE(stream, vkCreateDevice, physicalDevice, GUEST_PHYSICAL, VkDeviceCreateInfo, pDevice,
           VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, GUEST_DEVICE);
    const struct pv_vn_vkGetDeviceQueue get = {.device = (VkDevice)GUEST_DEVICE,
                                               .ids_pQueue = &queue};
    guest_run(stream, PV_VN_COMMAND_vkGetDeviceQueue, &get);
    CREATE(stream, vkCreateBuffer, device, GUEST_DEVICE, VkBufferCreateInfo, pBuffer,
           VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, GUEST_BUFFER);
    CREATE(stream, vkCreateFence, device, GUEST_DEVICE, VkFenceCreateInfo, pFence,
           VK_STRUCTURE_TYPE_FENCE_CREATE_INFO, GUEST_FENCE);
    CREATE(stream, vkCreateCommandPool, device, GUEST_DEVICE, VkCommandPoolCreateInfo, pCommandPool,
           VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, GUEST_POOL);
    const VkMemoryAllocateInfo memory_info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                              .allocationSize = 4096};
    const struct pv_vn_vkAllocateMemory allocate = {
        .device = (VkDevice)GUEST_DEVICE, .pAllocateInfo = &memory_info, .ids_pMemory = &memory};
    guest_run(stream, PV_VN_COMMAND_vkAllocateMemory, &allocate);
    const VkCommandBufferAllocateInfo commands_info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = (VkCommandPool)GUEST_POOL,
        .commandBufferCount = 1};
    const struct pv_vn_vkAllocateCommandBuffers buffers = {.device = (VkDevice)GUEST_DEVICE,
                                                           .pAllocateInfo = &commands_info,
                                                           .ids_pCommandBuffers = &commands};
    guest_run(stream, PV_VN_COMMAND_vkAllocateCommandBuffers, &buffers);
    const VkCommandStreamDescriptionMESA reply = {.resourceId = GUEST_REPLY, .size = 65536};
    const struct pv_vn_vkSetReplyCommandStreamMESA set = {.pStream = &reply};
    guest_run(stream, PV_VN_COMMAND_vkSetReplyCommandStreamMESA, &set);
}
