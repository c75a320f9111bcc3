/* SPDX-License-Identifier: MIT */
/*
 * Command streams as a guest could send them, onto a mock Vulkan driver that says yes to
 * everything. Every input starts with an instance, a device and a few objects (ids 1 to 9), so that
 * what it makes up has something to name; then come records: a command, a length, and parameter
 * words.
 */
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "fuzz.h"
#include "gpu/renderer.h"
#include "gpu/venus/context.h"

enum { INSTANCE = 1, PHYSICAL, DEVICE, QUEUE, BUFFER, MEMORY, FENCE, POOL, COMMANDS, REPLY = 1 };

/* ---- The mock driver ---- */

static uint64_t mock_yes(void)
{
    return 0;
}

static VkResult mock_create(void *parent, const void *info, const void *allocator, uint64_t *out)
{
    *out = 0x1000;
    return VK_SUCCESS;
}

static VkResult mock_create_instance(const void *info, const void *allocator, uint64_t *out)
{
    *out = 0x1000;
    return VK_SUCCESS;
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

static VkResult mock_instance_extensions(const char *layer, uint32_t *count, void *out)
{
    *count = 0;
    return VK_SUCCESS;
}

static VkResult mock_extensions(VkPhysicalDevice physical, const char *layer, uint32_t *count,
                                VkExtensionProperties *out)
{
    *count = 1;
    if (out)
        strcpy(out[0].extensionName, VK_EXT_EXTERNAL_MEMORY_HOST_EXTENSION_NAME);
    return VK_SUCCESS;
}

static void mock_memory(VkPhysicalDevice physical, VkPhysicalDeviceMemoryProperties *out)
{
    *out = (VkPhysicalDeviceMemoryProperties){
        .memoryTypeCount = 1, .memoryTypes = {{7, 0}}, .memoryHeapCount = 1};
}

static VkResult mock_host_pointer(VkDevice device, VkExternalMemoryHandleTypeFlagBits type,
                                  const void *pointer, VkMemoryHostPointerPropertiesEXT *out)
{
    out->memoryTypeBits = 1;
    return VK_SUCCESS;
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

static PFN_vkVoidFunction mock_proc(void *parent, const char *name)
{
    static const struct {
        const char *name;
        PFN_vkVoidFunction proc;
    } procs[] = {
#define ROW(name, mock) {name, (PFN_vkVoidFunction)mock}
        ROW("vkCreateInstance", mock_create_instance),
        ROW("vkEnumerateInstanceVersion", mock_version),
        ROW("vkEnumerateInstanceExtensionProperties", mock_instance_extensions),
        ROW("vkEnumeratePhysicalDevices", mock_physicals),
        ROW("vkEnumerateDeviceExtensionProperties", mock_extensions),
        ROW("vkGetPhysicalDeviceMemoryProperties", mock_memory),
        ROW("vkGetMemoryHostPointerPropertiesEXT", mock_host_pointer),
        ROW("vkGetDeviceQueue", mock_queue),
        ROW("vkAllocateCommandBuffers", mock_commands),
        ROW("vkAllocateMemory", mock_create),
        ROW("vkGetDeviceProcAddr", mock_proc),
        ROW("vkGetInstanceProcAddr", mock_proc),
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

/* ---- A guest's beginnings ---- */

static uint64_t plain_name(void *opaque, unsigned type, uint64_t handle)
{
    return handle;
}

static void run_command(struct pv_vn_stream *stream, unsigned command, const void *args)
{
    uint8_t bytes[1024];
    struct pv_vn_encoder enc = {.cur = bytes, .end = bytes + sizeof(bytes), .name = plain_name};
    pv_vn_encode_request(&enc, &pv_vn_commands[command], 0, args);
    if (enc.failed || !pv_vn_stream_run(stream, bytes, enc.cur - bytes))
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
        run_command(stream, PV_VN_COMMAND_##name, &create_args);                                   \
    } while (0)

static void begin(struct pv_vn_stream *stream)
{
    uint64_t instance = INSTANCE, physical = PHYSICAL, queue = QUEUE, memory = MEMORY,
             commands = COMMANDS;
    uint32_t one = 1;
    VkPhysicalDevice physical_room;
    const VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
    const struct pv_vn_vkCreateInstance create = {.pCreateInfo = &info, .ids_pInstance = &instance};
    run_command(stream, PV_VN_COMMAND_vkCreateInstance, &create);
    const struct pv_vn_vkEnumeratePhysicalDevices list = {.instance = (VkInstance)INSTANCE,
                                                          .pPhysicalDeviceCount = &one,
                                                          .pPhysicalDevices = &physical_room,
                                                          .ids_pPhysicalDevices = &physical};
    run_command(stream, PV_VN_COMMAND_vkEnumeratePhysicalDevices, &list);
    CREATE(stream, vkCreateDevice, physicalDevice, PHYSICAL, VkDeviceCreateInfo, pDevice,
           VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO, DEVICE);
    const struct pv_vn_vkGetDeviceQueue get = {.device = (VkDevice)DEVICE, .ids_pQueue = &queue};
    run_command(stream, PV_VN_COMMAND_vkGetDeviceQueue, &get);
    CREATE(stream, vkCreateBuffer, device, DEVICE, VkBufferCreateInfo, pBuffer,
           VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, BUFFER);
    CREATE(stream, vkCreateFence, device, DEVICE, VkFenceCreateInfo, pFence,
           VK_STRUCTURE_TYPE_FENCE_CREATE_INFO, FENCE);
    CREATE(stream, vkCreateCommandPool, device, DEVICE, VkCommandPoolCreateInfo, pCommandPool,
           VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO, POOL);
    const VkMemoryAllocateInfo memory_info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                              .allocationSize = 4096};
    const struct pv_vn_vkAllocateMemory allocate = {
        .device = (VkDevice)DEVICE, .pAllocateInfo = &memory_info, .ids_pMemory = &memory};
    run_command(stream, PV_VN_COMMAND_vkAllocateMemory, &allocate);
    const VkCommandBufferAllocateInfo commands_info = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = (VkCommandPool)POOL,
        .commandBufferCount = 1};
    const struct pv_vn_vkAllocateCommandBuffers buffers = {.device = (VkDevice)DEVICE,
                                                           .pAllocateInfo = &commands_info,
                                                           .ids_pCommandBuffers = &commands};
    run_command(stream, PV_VN_COMMAND_vkAllocateCommandBuffers, &buffers);
    const VkCommandStreamDescriptionMESA reply = {.resourceId = REPLY, .size = 65536};
    const struct pv_vn_vkSetReplyCommandStreamMESA set = {.pStream = &reply};
    run_command(stream, PV_VN_COMMAND_vkSetReplyCommandStreamMESA, &set);
}

static void drop_line(void *opaque, enum pv_log_component component, enum pv_log_level level,
                      const char *line)
{
}

static void play(struct pv_vn_context *ctx, struct pv_vn_stream *stream, struct fuzz_input *input)
{
    while (input->size) {
        uint32_t words[64];
        unsigned command = (unsigned)fuzz_take(input, 2) % PV_VN_COMMAND_COUNT;
        unsigned count = 2 + (unsigned)fuzz_take(input, 1) % (PV_ARRAY_SIZE(words) - 2);
        words[0] = pv_vn_commands[command].number;
        words[1] = fuzz_take(input, 1) & 1;
        for (unsigned i = 2; i < count; i++)
            words[i] = (uint32_t)fuzz_take(input, i % 2 ? 1 : 2);
        stream->reply_at = 0;
        pv_vn_stream_run(stream, words, count * 4);
        atomic_store(&ctx->lost, false); /* a guest would start anew */
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct pv_vn_driver driver = {.get_proc = (PFN_vkGetInstanceProcAddr)(void *)mock_proc};
    const struct pv_renderer_config config = {.context_memory_max = 1 << 24};
    struct fuzz_input input = {data, size};
    struct pv_vn_context *ctx;
    struct pv_vn_stream stream;
    struct pv_gpu_memory *reply;
    pv_log_set_sink(drop_line, NULL);
    if (pv_vn_context_create(&ctx, 1, "fuzz", &driver, &config, NULL) < 0)
        return 0;
    if (pv_gpu_memory_create(&reply, 65536, PV_BLOB_CACHED, NULL) == 0) {
        pv_vn_context_attach(ctx, REPLY, reply);
        pv_gpu_memory_unref(reply);
        pv_vn_stream_init(&stream, ctx, NULL);
        begin(&stream);
        play(ctx, &stream, &input);
        pv_vn_stream_finish(&stream);
    }
    pv_vn_context_destroy(ctx);
    return 0;
}
