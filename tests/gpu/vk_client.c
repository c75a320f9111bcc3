/* SPDX-License-Identifier: MIT */
/*
 * A Vulkan program to be run twice, on the native driver and through pearvisor gpu-server: what it
 * prints after "result" must be the same, what it prints after "time" is to be compared.
 *
 *   vk_client compute|matmul|bandwidth|draw|submits|pipelines|swapchain|frames|calls [COUNT]
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define VK_NO_PROTOTYPES
#include <vulkan/vulkan.h>

#include "matmul_comp.h"
#include "mix_comp.h"
#include "triangle_frag.h"
#include "triangle_vert.h"

#define GLOBAL(X) X(vkCreateInstance)
#define FUNCTIONS(X)                                                                               \
    X(vkEnumeratePhysicalDevices)                                                                  \
    X(vkGetPhysicalDeviceProperties)                                                               \
    X(vkGetPhysicalDeviceMemoryProperties)                                                         \
    X(vkCreateDevice)                                                                              \
    X(vkGetDeviceQueue)                                                                            \
    X(vkCreateQueryPool)                                                                           \
    X(vkGetQueryPoolResults)                                                                       \
    X(vkCmdResetQueryPool)                                                                         \
    X(vkCmdWriteTimestamp)                                                                         \
    X(vkCreateBuffer)                                                                              \
    X(vkDestroyBuffer)                                                                             \
    X(vkGetBufferMemoryRequirements)                                                               \
    X(vkAllocateMemory)                                                                            \
    X(vkBindBufferMemory)                                                                          \
    X(vkCmdCopyBuffer)                                                                             \
    X(vkMapMemory)                                                                                 \
    X(vkFreeMemory)                                                                                \
    X(vkCreateImage)                                                                               \
    X(vkGetImageMemoryRequirements)                                                                \
    X(vkBindImageMemory)                                                                           \
    X(vkCreateImageView)                                                                           \
    X(vkCreateShaderModule)                                                                        \
    X(vkCreateDescriptorSetLayout)                                                                 \
    X(vkCreatePipelineLayout)                                                                      \
    X(vkCreateComputePipelines)                                                                    \
    X(vkCreateGraphicsPipelines)                                                                   \
    X(vkDestroyPipeline)                                                                           \
    X(vkCreateDescriptorPool)                                                                      \
    X(vkAllocateDescriptorSets)                                                                    \
    X(vkUpdateDescriptorSets)                                                                      \
    X(vkCreateCommandPool)                                                                         \
    X(vkAllocateCommandBuffers)                                                                    \
    X(vkBeginCommandBuffer)                                                                        \
    X(vkEndCommandBuffer)                                                                          \
    X(vkCmdBindPipeline)                                                                           \
    X(vkCmdBindDescriptorSets)                                                                     \
    X(vkCmdDispatch)                                                                               \
    X(vkCmdPipelineBarrier)                                                                        \
    X(vkCmdFillBuffer)                                                                             \
    X(vkCmdBeginRendering)                                                                         \
    X(vkCmdEndRendering)                                                                           \
    X(vkCmdSetViewport)                                                                            \
    X(vkCmdSetScissor)                                                                             \
    X(vkCmdPushConstants)                                                                          \
    X(vkCmdDraw)                                                                                   \
    X(vkCmdClearColorImage)                                                                        \
    X(vkCmdCopyImageToBuffer)                                                                      \
    X(vkQueueSubmit)                                                                               \
    X(vkQueueWaitIdle)                                                                             \
    X(vkCreateFence)                                                                               \
    X(vkWaitForFences)                                                                             \
    X(vkGetFenceStatus)                                                                            \
    X(vkGetPhysicalDeviceImageFormatProperties)                                                    \
    X(vkResetFences)                                                                               \
    X(vkCreateSemaphore)                                                                           \
    X(vkDeviceWaitIdle)                                                                            \
    X(vkDestroyDevice)                                                                             \
    X(vkDestroyInstance)                                                                           \
    X(vkCreateHeadlessSurfaceEXT)                                                                  \
    X(vkCreateSwapchainKHR)                                                                        \
    X(vkDestroySwapchainKHR)                                                                       \
    X(vkGetSwapchainImagesKHR)                                                                     \
    X(vkAcquireNextImageKHR)                                                                       \
    X(vkQueuePresentKHR)

#define X(name) static PFN_##name name;
GLOBAL(X)
FUNCTIONS(X)
#undef X

static PFN_vkGetInstanceProcAddr get_proc;
static VkInstance instance;
static VkPhysicalDevice physical;
static VkDevice device;
static VkQueue queue;
static VkCommandPool pool;
static VkPhysicalDeviceMemoryProperties memory_properties;

#define SIZE 256u

#define CHECK(call)                                                                                \
    do {                                                                                           \
        VkResult check_result = (call);                                                            \
        if (check_result < 0) {                                                                    \
            fprintf(stderr, "%s: %d\n", #call, check_result);                                      \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static double now_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * 1e3 + ts.tv_nsec / 1e6;
}

static uint64_t hash(const void *data, size_t size)
{
    uint64_t value = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++)
        value = (value ^ ((const uint8_t *)data)[i]) * UINT64_C(0x100000001b3);
    return value;
}

static void start(bool windows)
{
    static const char *const instance_names[] = {"VK_KHR_surface", "VK_EXT_headless_surface"};
    static const char *const device_names[] = {"VK_KHR_swapchain"};
    const VkApplicationInfo app = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                   .apiVersion = VK_API_VERSION_1_3};
    const VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                       .pApplicationInfo = &app,
                                       .enabledExtensionCount = windows ? 2 : 0,
                                       .ppEnabledExtensionNames = instance_names};
    void *library = dlopen("libvulkan.so.1", RTLD_NOW);
    if (!library) {
        fprintf(stderr, "%s\n", dlerror());
        exit(77);
    }
    get_proc = (PFN_vkGetInstanceProcAddr)dlsym(library, "vkGetInstanceProcAddr");
    vkCreateInstance = (PFN_vkCreateInstance)get_proc(NULL, "vkCreateInstance");
    CHECK(vkCreateInstance(&info, NULL, &instance));
#define X(name) name = (PFN_##name)get_proc(instance, #name);
    FUNCTIONS(X)
#undef X
    uint32_t count = 1;
    CHECK(vkEnumeratePhysicalDevices(instance, &count, &physical));
    VkPhysicalDeviceProperties properties;
    vkGetPhysicalDeviceProperties(physical, &properties);
    fprintf(stderr, "device %s\n", properties.deviceName);
    vkGetPhysicalDeviceMemoryProperties(physical, &memory_properties);
    const float priority = 1;
    const VkDeviceQueueCreateInfo queues = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                            .queueCount = 1,
                                            .pQueuePriorities = &priority};
    const VkPhysicalDeviceVulkan13Features features = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_3_FEATURES,
        .dynamicRendering = VK_TRUE};
    const VkDeviceCreateInfo device_info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                            .pNext = &features,
                                            .queueCreateInfoCount = 1,
                                            .pQueueCreateInfos = &queues,
                                            .enabledExtensionCount = windows,
                                            .ppEnabledExtensionNames = device_names};
    CHECK(vkCreateDevice(physical, &device_info, NULL, &device));
    vkGetDeviceQueue(device, 0, 0, &queue);
    const VkCommandPoolCreateInfo pool_info = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                               .flags =
                                                   VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT};
    CHECK(vkCreateCommandPool(device, &pool_info, NULL, &pool));
}

static VkDeviceMemory allocate(const VkMemoryRequirements *needs, VkMemoryPropertyFlags flags)
{
    for (uint32_t i = 0; i < memory_properties.memoryTypeCount; i++) {
        if (!(needs->memoryTypeBits & 1u << i) ||
            (memory_properties.memoryTypes[i].propertyFlags & flags) != flags)
            continue;
        const VkMemoryAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                           .allocationSize = needs->size,
                                           .memoryTypeIndex = i};
        VkDeviceMemory memory;
        CHECK(vkAllocateMemory(device, &info, NULL, &memory));
        return memory;
    }
    fprintf(stderr, "no memory type\n");
    exit(1);
}

static VkBuffer new_buffer(VkDeviceSize size, VkBufferUsageFlags usage, VkMemoryPropertyFlags flags,
                           VkDeviceMemory *memory)
{
    const VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .size = size, .usage = usage};
    VkBuffer buffer;
    VkMemoryRequirements needs;
    CHECK(vkCreateBuffer(device, &info, NULL, &buffer));
    vkGetBufferMemoryRequirements(device, buffer, &needs);
    *memory = allocate(&needs, flags);
    CHECK(vkBindBufferMemory(device, buffer, *memory, 0));
    return buffer;
}

static VkBuffer make_device_buffer(VkDeviceSize size, VkBufferUsageFlags usage)
{
    VkDeviceMemory memory;
    return new_buffer(size, usage, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT, &memory);
}

static VkBuffer make_buffer(VkDeviceSize size, VkBufferUsageFlags usage, void **mapped)
{
    VkDeviceMemory memory;
    VkBuffer buffer = new_buffer(
        size, usage, VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
        &memory);
    CHECK(vkMapMemory(device, memory, 0, VK_WHOLE_SIZE, 0, mapped));
    memset(*mapped, 0, size);
    return buffer;
}

static VkCommandBuffer make_commands(void)
{
    const VkCommandBufferAllocateInfo info = {.sType =
                                                  VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                              .commandPool = pool,
                                              .commandBufferCount = 1};
    VkCommandBuffer commands;
    CHECK(vkAllocateCommandBuffers(device, &info, &commands));
    return commands;
}

static void begin(VkCommandBuffer commands)
{
    const VkCommandBufferBeginInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO,
                                           .flags = VK_COMMAND_BUFFER_USAGE_SIMULTANEOUS_USE_BIT};
    CHECK(vkBeginCommandBuffer(commands, &info));
}

static void submit(VkCommandBuffer commands, VkFence fence)
{
    const VkSubmitInfo info = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                               .commandBufferCount = 1,
                               .pCommandBuffers = &commands};
    CHECK(vkQueueSubmit(queue, 1, &info, fence));
}

static VkShaderModule make_shader(const uint32_t *code, size_t size)
{
    const VkShaderModuleCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_SHADER_MODULE_CREATE_INFO, .codeSize = size, .pCode = code};
    VkShaderModule module;
    CHECK(vkCreateShaderModule(device, &info, NULL, &module));
    return module;
}

/* ---- The device's own clock ---- */

static VkQueryPool make_clock(void)
{
    const VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                        .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                        .queryCount = 2};
    VkQueryPool clock;
    CHECK(vkCreateQueryPool(device, &info, NULL, &clock));
    return clock;
}

static void clock_start(VkCommandBuffer commands, VkQueryPool clock)
{
    vkCmdResetQueryPool(commands, clock, 0, 2);
    vkCmdWriteTimestamp(commands, VK_PIPELINE_STAGE_TOP_OF_PIPE_BIT, clock, 0);
}

static void clock_stop(VkCommandBuffer commands, VkQueryPool clock)
{
    vkCmdWriteTimestamp(commands, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, clock, 1);
}

/* Once the commands are done: how long the device took, if it says. */
static void clock_print(const char *name, VkQueryPool clock, uint32_t count)
{
    VkPhysicalDeviceProperties properties;
    uint64_t at[2];
    vkGetPhysicalDeviceProperties(physical, &properties);
    if (!properties.limits.timestampComputeAndGraphics)
        return;
    CHECK(vkGetQueryPoolResults(device, clock, 0, 2, sizeof(at), at, sizeof(at[0]),
                                VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT));
    double ns = (double)(at[1] - at[0]) * (double)properties.limits.timestampPeriod;
    printf("time %s-on-gpu %.6f\n", name, ns / 1e6 / count);
}

/* ---- Compute ---- */

struct compute {
    VkDescriptorSetLayout set_layout;
    VkPipelineLayout layout;
    VkShaderModule shader;
    VkDescriptorSet set;
};

static VkPipeline make_compute_pipeline(const struct compute *compute, uint32_t rounds)
{
    const VkSpecializationMapEntry entry = {0, 0, 4};
    const VkSpecializationInfo constants = {1, &entry, 4, &rounds};
    const VkComputePipelineCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_COMPUTE_PIPELINE_CREATE_INFO,
        .stage = {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
                  .stage = VK_SHADER_STAGE_COMPUTE_BIT,
                  .module = compute->shader,
                  .pName = "main",
                  .pSpecializationInfo = &constants},
        .layout = compute->layout};
    VkPipeline pipeline;
    CHECK(vkCreateComputePipelines(device, VK_NULL_HANDLE, 1, &info, NULL, &pipeline));
    return pipeline;
}

static void compute_init(struct compute *compute, VkBuffer buffer, const uint32_t *code,
                         size_t size)
{
    const VkDescriptorSetLayoutBinding binding = {0, VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1,
                                                  VK_SHADER_STAGE_COMPUTE_BIT, NULL};
    const VkDescriptorSetLayoutCreateInfo set_info = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_LAYOUT_CREATE_INFO,
        .bindingCount = 1,
        .pBindings = &binding};
    const VkDescriptorPoolSize pool_size = {VK_DESCRIPTOR_TYPE_STORAGE_BUFFER, 1};
    const VkDescriptorPoolCreateInfo pool_info = {.sType =
                                                      VK_STRUCTURE_TYPE_DESCRIPTOR_POOL_CREATE_INFO,
                                                  .maxSets = 1,
                                                  .poolSizeCount = 1,
                                                  .pPoolSizes = &pool_size};
    VkDescriptorPool descriptors;
    CHECK(vkCreateDescriptorSetLayout(device, &set_info, NULL, &compute->set_layout));
    const VkPipelineLayoutCreateInfo layout_info = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
        .setLayoutCount = 1,
        .pSetLayouts = &compute->set_layout};
    CHECK(vkCreatePipelineLayout(device, &layout_info, NULL, &compute->layout));
    CHECK(vkCreateDescriptorPool(device, &pool_info, NULL, &descriptors));
    const VkDescriptorSetAllocateInfo allocate_info = {
        .sType = VK_STRUCTURE_TYPE_DESCRIPTOR_SET_ALLOCATE_INFO,
        .descriptorPool = descriptors,
        .descriptorSetCount = 1,
        .pSetLayouts = &compute->set_layout};
    CHECK(vkAllocateDescriptorSets(device, &allocate_info, &compute->set));
    const VkDescriptorBufferInfo buffer_info = {buffer, 0, VK_WHOLE_SIZE};
    const VkWriteDescriptorSet write = {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                        .dstSet = compute->set,
                                        .descriptorCount = 1,
                                        .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                        .pBufferInfo = &buffer_info};
    vkUpdateDescriptorSets(device, 1, &write, 0, NULL);
    compute->shader = make_shader(code, size);
}

static void dispatch(VkCommandBuffer commands, const struct compute *compute, VkPipeline pipeline,
                     uint32_t x, uint32_t y)
{
    const VkMemoryBarrier barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER,
                                     .srcAccessMask = VK_ACCESS_SHADER_WRITE_BIT,
                                     .dstAccessMask =
                                         VK_ACCESS_SHADER_READ_BIT | VK_ACCESS_HOST_READ_BIT};
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_COMPUTE, pipeline);
    vkCmdBindDescriptorSets(commands, VK_PIPELINE_BIND_POINT_COMPUTE, compute->layout, 0, 1,
                            &compute->set, 0, NULL);
    vkCmdDispatch(commands, x, y, 1);
    vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT,
                         VK_PIPELINE_STAGE_COMPUTE_SHADER_BIT | VK_PIPELINE_STAGE_HOST_BIT, 0, 1,
                         &barrier, 0, NULL, 0, NULL);
}

static void run_compute(uint32_t count)
{
    const uint32_t elements = 1 << 18;
    void *data;
    VkBuffer buffer = make_buffer(elements * 4, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, &data);
    struct compute compute;
    compute_init(&compute, buffer, mix_comp, sizeof(mix_comp));
    VkPipeline pipeline = make_compute_pipeline(&compute, 1000);
    VkCommandBuffer warm_up = make_commands(), commands = make_commands();
    begin(warm_up);
    dispatch(warm_up, &compute, pipeline, elements / 64, 1);
    CHECK(vkEndCommandBuffer(warm_up));
    submit(warm_up, VK_NULL_HANDLE);
    VkQueryPool clock = make_clock();
    begin(commands);
    clock_start(commands, clock);
    for (uint32_t i = 0; i < count; i++)
        dispatch(commands, &compute, pipeline, elements / 64, 1);
    clock_stop(commands, clock);
    CHECK(vkEndCommandBuffer(commands));
    CHECK(vkQueueWaitIdle(queue));
    double from = now_ms();
    submit(commands, VK_NULL_HANDLE);
    CHECK(vkQueueWaitIdle(queue));
    printf("time compute %.3f\n", (now_ms() - from) / count);
    clock_print("compute", clock, count);
    printf("result compute %016llx\n", (unsigned long long)hash(data, elements * 4));
}

/* Multiplies matrices in the device's memory, as inference does. */
static void run_matmul(uint32_t count)
{
    enum { N = 1024, MATRIX = N * N };
    float *staged;
    void *data;
    VkBuffer staging = make_buffer(MATRIX * 8, VK_BUFFER_USAGE_TRANSFER_SRC_BIT, &data);
    staged = data;
    for (uint32_t i = 0; i < 2 * MATRIX; i++)
        staged[i] = (float)(i * 2654435761u >> 29); /* 0 to 7 */
    VkBuffer result = make_buffer(MATRIX * 4, VK_BUFFER_USAGE_TRANSFER_DST_BIT, &data);
    VkBuffer buffer = make_device_buffer(MATRIX * 12, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT |
                                                          VK_BUFFER_USAGE_TRANSFER_DST_BIT |
                                                          VK_BUFFER_USAGE_TRANSFER_SRC_BIT);
    struct compute compute;
    compute_init(&compute, buffer, matmul_comp, sizeof(matmul_comp));
    VkPipeline pipeline = make_compute_pipeline(&compute, N);
    const VkBufferCopy in = {0, 0, MATRIX * 8}, out = {MATRIX * 8, 0, MATRIX * 4};
    VkCommandBuffer before = make_commands(), commands = make_commands(), after = make_commands();
    begin(before);
    vkCmdCopyBuffer(before, staging, buffer, 1, &in);
    CHECK(vkEndCommandBuffer(before));
    VkQueryPool clock = make_clock();
    begin(commands);
    clock_start(commands, clock);
    for (uint32_t i = 0; i < count; i++)
        dispatch(commands, &compute, pipeline, N / 64, N / 64);
    clock_stop(commands, clock);
    CHECK(vkEndCommandBuffer(commands));
    begin(after);
    vkCmdCopyBuffer(after, buffer, result, 1, &out);
    CHECK(vkEndCommandBuffer(after));
    submit(before, VK_NULL_HANDLE);
    CHECK(vkQueueWaitIdle(queue));
    double from = now_ms();
    submit(commands, VK_NULL_HANDLE);
    CHECK(vkQueueWaitIdle(queue));
    printf("time matmul %.3f\n", (now_ms() - from) / count);
    clock_print("matmul", clock, count);
    submit(after, VK_NULL_HANDLE);
    CHECK(vkQueueWaitIdle(queue));
    printf("result matmul %016llx\n", (unsigned long long)hash(data, MATRIX * 4));
}

/* Copies of 64 MiB by the device, and of 16 MiB by the CPU to and from what it shares with it. */
static void run_bandwidth(uint32_t count)
{
    const size_t size = 64u << 20, part = 16u << 20;
    void *data, *own = malloc(part);
    VkBuffer from_buffer = make_buffer(size, VK_BUFFER_USAGE_TRANSFER_SRC_BIT, &data);
    VkBuffer to_buffer = make_device_buffer(size, VK_BUFFER_USAGE_TRANSFER_DST_BIT);
    const VkBufferCopy all = {0, 0, size};
    VkCommandBuffer commands = make_commands();
    if (!own)
        exit(1);
    memset(own, 0x5a, part);
    memcpy(data, own, part);
    double from = now_ms();
    for (uint32_t i = 0; i < count; i++)
        memcpy((char *)data + i % 4 * part, own, part);
    printf("time write-16-MiB %.4f\n", (now_ms() - from) / count);
    from = now_ms();
    for (uint32_t i = 0; i < count; i++)
        memcpy(own, (char *)data + i % 4 * part, part);
    printf("time read-16-MiB %.4f\n", (now_ms() - from) / count);
    begin(commands);
    vkCmdCopyBuffer(commands, from_buffer, to_buffer, 1, &all);
    CHECK(vkEndCommandBuffer(commands));
    submit(commands, VK_NULL_HANDLE);
    CHECK(vkQueueWaitIdle(queue));
    from = now_ms();
    for (uint32_t i = 0; i < count; i++)
        submit(commands, VK_NULL_HANDLE);
    CHECK(vkQueueWaitIdle(queue));
    printf("time copy-64-MiB %.4f\n", (now_ms() - from) / count);
    printf("result bandwidth %016llx\n", (unsigned long long)hash(own, 4096));
    free(own);
}

static void run_submits(uint32_t count)
{
    void *data;
    VkBuffer buffer = make_buffer(4096, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, &data);
    struct compute compute;
    compute_init(&compute, buffer, mix_comp, sizeof(mix_comp));
    VkPipeline pipeline = make_compute_pipeline(&compute, 3);
    VkCommandBuffer commands = make_commands();
    begin(commands);
    dispatch(commands, &compute, pipeline, 1024 / 64, 1);
    CHECK(vkEndCommandBuffer(commands));
    double from = now_ms();
    for (uint32_t i = 0; i < count; i++)
        submit(commands, VK_NULL_HANDLE);
    CHECK(vkQueueWaitIdle(queue));
    printf("time submits %.6f\n", (now_ms() - from) / count);
    printf("result submits %016llx\n", (unsigned long long)hash(data, 4096));
}

static void run_pipelines(uint32_t count)
{
    void *data;
    VkBuffer buffer = make_buffer(4096, VK_BUFFER_USAGE_STORAGE_BUFFER_BIT, &data);
    struct compute compute;
    compute_init(&compute, buffer, mix_comp, sizeof(mix_comp));
    VkCommandBuffer commands = make_commands();
    double from = now_ms();
    for (uint32_t i = 0; i < count; i++) {
        VkPipeline pipeline = make_compute_pipeline(&compute, i + 1);
        if (i % 100 == 0) {
            begin(commands);
            dispatch(commands, &compute, pipeline, 1024 / 64, 1);
            CHECK(vkEndCommandBuffer(commands));
            submit(commands, VK_NULL_HANDLE);
            CHECK(vkQueueWaitIdle(queue));
        }
        vkDestroyPipeline(device, pipeline, NULL);
    }
    printf("time pipelines %.4f\n", (now_ms() - from) / count);
    printf("result pipelines %016llx\n", (unsigned long long)hash(data, 4096));
}

/* ---- Graphics ---- */

struct target {
    VkImage image;
    VkImageView view;
    VkBuffer buffer;
    void *pixels;
    VkPipelineLayout layout;
    VkPipeline pipeline;
};

static void barrier(VkCommandBuffer commands, VkImage image, VkImageLayout from, VkImageLayout to)
{
    const VkImageMemoryBarrier info = {.sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER,
                                       .srcAccessMask = VK_ACCESS_MEMORY_WRITE_BIT,
                                       .dstAccessMask =
                                           VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT,
                                       .oldLayout = from,
                                       .newLayout = to,
                                       .srcQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
                                       .dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
                                       .image = image,
                                       .subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1}};
    vkCmdPipelineBarrier(commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
                         VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 0, NULL, 0, NULL, 1, &info);
}

static void make_graphics_pipeline(struct target *target)
{
    const VkFormat format = VK_FORMAT_R8G8B8A8_UNORM;
    const VkPushConstantRange push = {VK_SHADER_STAGE_VERTEX_BIT, 0, 4};
    const VkPipelineLayoutCreateInfo layout = {.sType =
                                                   VK_STRUCTURE_TYPE_PIPELINE_LAYOUT_CREATE_INFO,
                                               .pushConstantRangeCount = 1,
                                               .pPushConstantRanges = &push};
    CHECK(vkCreatePipelineLayout(device, &layout, NULL, &target->layout));
    const VkPipelineShaderStageCreateInfo stages[] = {
        {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
         .stage = VK_SHADER_STAGE_VERTEX_BIT,
         .module = make_shader(triangle_vert, sizeof(triangle_vert)),
         .pName = "main"},
        {.sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_CREATE_INFO,
         .stage = VK_SHADER_STAGE_FRAGMENT_BIT,
         .module = make_shader(triangle_frag, sizeof(triangle_frag)),
         .pName = "main"}};
    const VkPipelineVertexInputStateCreateInfo input = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_VERTEX_INPUT_STATE_CREATE_INFO};
    const VkPipelineInputAssemblyStateCreateInfo assembly = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_INPUT_ASSEMBLY_STATE_CREATE_INFO,
        .topology = VK_PRIMITIVE_TOPOLOGY_TRIANGLE_LIST};
    const VkPipelineViewportStateCreateInfo viewport = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_VIEWPORT_STATE_CREATE_INFO,
        .viewportCount = 1,
        .scissorCount = 1};
    const VkPipelineRasterizationStateCreateInfo raster = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_RASTERIZATION_STATE_CREATE_INFO, .lineWidth = 1};
    const VkPipelineMultisampleStateCreateInfo samples = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_MULTISAMPLE_STATE_CREATE_INFO,
        .rasterizationSamples = VK_SAMPLE_COUNT_1_BIT};
    const VkPipelineColorBlendAttachmentState attachment = {.colorWriteMask = 0xf};
    const VkPipelineColorBlendStateCreateInfo blend = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_COLOR_BLEND_STATE_CREATE_INFO,
        .attachmentCount = 1,
        .pAttachments = &attachment};
    const VkDynamicState states[] = {VK_DYNAMIC_STATE_VIEWPORT, VK_DYNAMIC_STATE_SCISSOR};
    const VkPipelineDynamicStateCreateInfo dynamic = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_DYNAMIC_STATE_CREATE_INFO,
        .dynamicStateCount = 2,
        .pDynamicStates = states};
    const VkPipelineRenderingCreateInfo rendering = {
        .sType = VK_STRUCTURE_TYPE_PIPELINE_RENDERING_CREATE_INFO,
        .colorAttachmentCount = 1,
        .pColorAttachmentFormats = &format};
    const VkGraphicsPipelineCreateInfo info = {.sType =
                                                   VK_STRUCTURE_TYPE_GRAPHICS_PIPELINE_CREATE_INFO,
                                               .pNext = &rendering,
                                               .stageCount = 2,
                                               .pStages = stages,
                                               .pVertexInputState = &input,
                                               .pInputAssemblyState = &assembly,
                                               .pViewportState = &viewport,
                                               .pRasterizationState = &raster,
                                               .pMultisampleState = &samples,
                                               .pColorBlendState = &blend,
                                               .pDynamicState = &dynamic,
                                               .layout = target->layout};
    CHECK(vkCreateGraphicsPipelines(device, VK_NULL_HANDLE, 1, &info, NULL, &target->pipeline));
}

static void target_init(struct target *target)
{
    const VkImageCreateInfo info = {.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
                                    .imageType = VK_IMAGE_TYPE_2D,
                                    .format = VK_FORMAT_R8G8B8A8_UNORM,
                                    .extent = {SIZE, SIZE, 1},
                                    .mipLevels = 1,
                                    .arrayLayers = 1,
                                    .samples = VK_SAMPLE_COUNT_1_BIT,
                                    .usage = VK_IMAGE_USAGE_COLOR_ATTACHMENT_BIT |
                                             VK_IMAGE_USAGE_TRANSFER_SRC_BIT};
    VkMemoryRequirements needs;
    CHECK(vkCreateImage(device, &info, NULL, &target->image));
    vkGetImageMemoryRequirements(device, target->image, &needs);
    CHECK(vkBindImageMemory(device, target->image,
                            allocate(&needs, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT), 0));
    const VkImageViewCreateInfo view = {
        .sType = VK_STRUCTURE_TYPE_IMAGE_VIEW_CREATE_INFO,
        .image = target->image,
        .viewType = VK_IMAGE_VIEW_TYPE_2D,
        .format = info.format,
        .subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1}};
    CHECK(vkCreateImageView(device, &view, NULL, &target->view));
    target->buffer =
        make_buffer(SIZE * SIZE * 4, VK_BUFFER_USAGE_TRANSFER_DST_BIT, &target->pixels);
    make_graphics_pipeline(target);
}

static void draw(VkCommandBuffer commands, const struct target *target, uint32_t draws, float angle,
                 uint32_t size)
{
    const VkRenderingAttachmentInfo color = {
        .sType = VK_STRUCTURE_TYPE_RENDERING_ATTACHMENT_INFO,
        .imageView = target->view,
        .imageLayout = VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL,
        .loadOp = VK_ATTACHMENT_LOAD_OP_CLEAR,
        .storeOp = VK_ATTACHMENT_STORE_OP_STORE,
        .clearValue = {.color = {.float32 = {0.1f, 0.2f, 0.3f, 1}}}};
    const VkRenderingInfo rendering = {.sType = VK_STRUCTURE_TYPE_RENDERING_INFO,
                                       .renderArea = {{0, 0}, {SIZE, SIZE}},
                                       .layerCount = 1,
                                       .colorAttachmentCount = 1,
                                       .pColorAttachments = &color};
    const VkViewport viewport = {0, 0, size, size, 0, 1};
    const VkRect2D scissor = {{0, 0}, {size, size}};
    barrier(commands, target->image, VK_IMAGE_LAYOUT_UNDEFINED,
            VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL);
    vkCmdBeginRendering(commands, &rendering);
    vkCmdBindPipeline(commands, VK_PIPELINE_BIND_POINT_GRAPHICS, target->pipeline);
    vkCmdSetViewport(commands, 0, 1, &viewport);
    vkCmdSetScissor(commands, 0, 1, &scissor);
    for (uint32_t i = 0; i < draws; i++) {
        float turned = angle + i * 0.1f;
        vkCmdPushConstants(commands, target->layout, VK_SHADER_STAGE_VERTEX_BIT, 0, 4, &turned);
        vkCmdDraw(commands, 3, 1, 0, 0);
    }
    vkCmdEndRendering(commands);
}

static void copy_out(VkCommandBuffer commands, VkImage image, VkImageLayout layout, VkBuffer buffer)
{
    const VkBufferImageCopy region = {.imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
                                      .imageExtent = {SIZE, SIZE, 1}};
    barrier(commands, image, layout, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
    vkCmdCopyImageToBuffer(commands, image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, buffer, 1,
                           &region);
}

static void run_draw(uint32_t count)
{
    struct target target;
    uint64_t sum = 0;
    target_init(&target);
    VkCommandBuffer commands = make_commands();
    for (uint32_t i = 0; i < count; i++) {
        begin(commands);
        draw(commands, &target, 3, i * 0.3f, SIZE);
        copy_out(commands, target.image, VK_IMAGE_LAYOUT_COLOR_ATTACHMENT_OPTIMAL, target.buffer);
        CHECK(vkEndCommandBuffer(commands));
        submit(commands, VK_NULL_HANDLE);
        CHECK(vkQueueWaitIdle(queue));
        sum = sum * 31 + hash(target.pixels, SIZE * SIZE * 4);
    }
    printf("result draw %016llx\n", (unsigned long long)sum);
}

/* 10,000 draws of few pixels a frame: the cost of submission, with 1 and with 3 frames in flight.
 */
static void run_frames(uint32_t draws)
{
    enum { FRAMES = 60, FLIGHT = 3 };
    const VkFenceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO,
                                    .flags = VK_FENCE_CREATE_SIGNALED_BIT};
    struct target target;
    VkCommandBuffer commands[FLIGHT];
    VkFence fences[FLIGHT];
    target_init(&target);
    for (unsigned i = 0; i < FLIGHT; i++) {
        commands[i] = make_commands();
        CHECK(vkCreateFence(device, &info, NULL, &fences[i]));
    }
    for (unsigned flight = 1; flight <= FLIGHT; flight += FLIGHT - 1) {
        double from = 0;
        for (unsigned i = 0; i < FLIGHT + FRAMES; i++) {
            unsigned slot = i % flight;
            if (i == FLIGHT) { /* those before grow the pools and caches of all drivers involved */
                CHECK(vkDeviceWaitIdle(device));
                from = now_ms();
            }
            CHECK(vkWaitForFences(device, 1, &fences[slot], VK_TRUE, UINT64_MAX));
            CHECK(vkResetFences(device, 1, &fences[slot]));
            begin(commands[slot]);
            draw(commands[slot], &target, draws, 0, 4);
            CHECK(vkEndCommandBuffer(commands[slot]));
            submit(commands[slot], fences[slot]);
        }
        CHECK(vkDeviceWaitIdle(device));
        printf("time frames-%u-in-flight %.3f\n", flight, (now_ms() - from) / FRAMES);
    }
}

/* ---- Single calls: what one round trip costs ---- */

static void time_call(const char *name, double from, uint32_t count)
{
    printf("time %s %.6f\n", name, (now_ms() - from) / count);
}

static void time_submissions(uint32_t count)
{
    const VkFenceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    VkFence fence;
    CHECK(vkCreateFence(device, &info, NULL, &fence));
    VkCommandBuffer commands = make_commands();
    begin(commands);
    CHECK(vkEndCommandBuffer(commands));
    submit(commands, fence);
    double from = now_ms();
    for (uint32_t i = 0; i < count; i++) {
        CHECK(vkWaitForFences(device, 1, &fence, VK_TRUE, UINT64_MAX));
        CHECK(vkResetFences(device, 1, &fence));
        submit(commands, fence);
    }
    time_call("submit-fence-wait", from, count);
    CHECK(vkQueueWaitIdle(queue));
    from = now_ms();
    for (uint32_t i = 0; i < count; i++)
        CHECK(vkGetFenceStatus(device, fence));
    time_call("get-fence-status", from, count);
    from = now_ms();
    for (uint32_t i = 0; i < count; i++) {
        submit(commands, VK_NULL_HANDLE);
        CHECK(vkQueueWaitIdle(queue));
    }
    time_call("submit-queue-wait-idle", from, count);
    /* After a pause every thread on the way is asleep. */
    double sum = 0;
    for (uint32_t i = 0; i < 20; i++) {
        nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        from = now_ms();
        submit(commands, VK_NULL_HANDLE);
        CHECK(vkQueueWaitIdle(queue));
        sum += now_ms() - from;
    }
    printf("time submit-after-sleep %.6f\n", sum / 20);
}

static void run_calls(uint32_t count)
{
    const VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                     .size = 65536,
                                     .usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT};
    VkMemoryRequirements needs;
    VkBuffer buffer;
    void *data;
    time_submissions(count);
    double from = now_ms();
    for (uint32_t i = 0; i < count; i++) {
        CHECK(vkCreateBuffer(device, &info, NULL, &buffer));
        vkGetBufferMemoryRequirements(device, buffer, &needs);
        vkDestroyBuffer(device, buffer, NULL);
    }
    time_call("create-buffer", from, count);
    from = now_ms();
    for (uint32_t i = 0; i < count / 10; i++) {
        VkDeviceMemory memory = allocate(&needs, VK_MEMORY_PROPERTY_HOST_COHERENT_BIT);
        CHECK(vkMapMemory(device, memory, 0, VK_WHOLE_SIZE, 0, &data));
        vkFreeMemory(device, memory, NULL);
    }
    time_call("allocate-map-free", from, count / 10);
    from = now_ms();
    for (uint32_t i = 0; i < count; i++) { /* guests cache the answer: each asks for another */
        VkImageFormatProperties properties;
        vkGetPhysicalDeviceImageFormatProperties(
            physical, VK_FORMAT_R8G8B8A8_UNORM, VK_IMAGE_TYPE_2D, VK_IMAGE_TILING_OPTIMAL,
            1 + i % 63, i & 64 ? VK_IMAGE_CREATE_MUTABLE_FORMAT_BIT : 0, &properties);
    }
    time_call("image-format-properties", from, count);
}

static void run_swapchain(uint32_t count)
{
    const VkHeadlessSurfaceCreateInfoEXT surface_info = {
        .sType = VK_STRUCTURE_TYPE_HEADLESS_SURFACE_CREATE_INFO_EXT};
    VkSurfaceKHR surface;
    CHECK(vkCreateHeadlessSurfaceEXT(instance, &surface_info, NULL, &surface));
    const VkSwapchainCreateInfoKHR info = {.sType = VK_STRUCTURE_TYPE_SWAPCHAIN_CREATE_INFO_KHR,
                                           .surface = surface,
                                           .minImageCount = 3,
                                           .imageFormat = VK_FORMAT_B8G8R8A8_UNORM,
                                           .imageExtent = {SIZE, SIZE},
                                           .imageArrayLayers = 1,
                                           .imageUsage = VK_IMAGE_USAGE_TRANSFER_DST_BIT |
                                                         VK_IMAGE_USAGE_TRANSFER_SRC_BIT,
                                           .preTransform = VK_SURFACE_TRANSFORM_IDENTITY_BIT_KHR,
                                           .compositeAlpha = VK_COMPOSITE_ALPHA_OPAQUE_BIT_KHR,
                                           .presentMode = VK_PRESENT_MODE_FIFO_KHR};
    VkSwapchainKHR swapchain;
    VkImage images[8];
    uint32_t image_count = 8;
    CHECK(vkCreateSwapchainKHR(device, &info, NULL, &swapchain));
    CHECK(vkGetSwapchainImagesKHR(device, swapchain, &image_count, images));
    void *pixels;
    VkBuffer buffer = make_buffer(SIZE * SIZE * 4, VK_BUFFER_USAGE_TRANSFER_DST_BIT, &pixels);
    const VkSemaphoreCreateInfo semaphore_info = {.sType = VK_STRUCTURE_TYPE_SEMAPHORE_CREATE_INFO};
    VkSemaphore acquired, rendered;
    CHECK(vkCreateSemaphore(device, &semaphore_info, NULL, &acquired));
    CHECK(vkCreateSemaphore(device, &semaphore_info, NULL, &rendered));
    VkCommandBuffer commands = make_commands();
    uint64_t sum = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t index;
        CHECK(
            vkAcquireNextImageKHR(device, swapchain, UINT64_MAX, acquired, VK_NULL_HANDLE, &index));
        const VkClearColorValue color = {.float32 = {(i % 8) / 8.0f, 0.5f, 0.25f, 1}};
        const VkImageSubresourceRange range = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1};
        begin(commands);
        barrier(commands, images[index], VK_IMAGE_LAYOUT_UNDEFINED,
                VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL);
        vkCmdClearColorImage(commands, images[index], VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, &color,
                             1, &range);
        copy_out(commands, images[index], VK_IMAGE_LAYOUT_TRANSFER_DST_OPTIMAL, buffer);
        barrier(commands, images[index], VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL,
                VK_IMAGE_LAYOUT_PRESENT_SRC_KHR);
        CHECK(vkEndCommandBuffer(commands));
        const VkPipelineStageFlags stage = VK_PIPELINE_STAGE_TRANSFER_BIT;
        const VkSubmitInfo submit_info = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                                          .waitSemaphoreCount = 1,
                                          .pWaitSemaphores = &acquired,
                                          .pWaitDstStageMask = &stage,
                                          .commandBufferCount = 1,
                                          .pCommandBuffers = &commands,
                                          .signalSemaphoreCount = 1,
                                          .pSignalSemaphores = &rendered};
        CHECK(vkQueueSubmit(queue, 1, &submit_info, VK_NULL_HANDLE));
        const VkPresentInfoKHR present = {.sType = VK_STRUCTURE_TYPE_PRESENT_INFO_KHR,
                                          .waitSemaphoreCount = 1,
                                          .pWaitSemaphores = &rendered,
                                          .swapchainCount = 1,
                                          .pSwapchains = &swapchain,
                                          .pImageIndices = &index};
        CHECK(vkQueuePresentKHR(queue, &present));
        CHECK(vkDeviceWaitIdle(device));
        sum = sum * 31 + hash(pixels, SIZE * SIZE * 4);
    }
    vkDestroySwapchainKHR(device, swapchain, NULL);
    printf("result swapchain %016llx\n", (unsigned long long)sum);
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(uint32_t count);
        uint32_t count;
    } modes[] = {
        {"compute", run_compute, 4},      {"matmul", run_matmul, 4},
        {"bandwidth", run_bandwidth, 20}, {"draw", run_draw, 8},
        {"submits", run_submits, 10000},  {"pipelines", run_pipelines, 1000},
        {"swapchain", run_swapchain, 20}, {"frames", run_frames, 10000},
        {"calls", run_calls, 1000},
    };
    for (size_t i = 0; argc > 1 && i < sizeof(modes) / sizeof(modes[0]); i++) {
        if (strcmp(modes[i].name, argv[1]))
            continue;
        start(modes[i].run == run_swapchain);
        modes[i].run(argc > 2 ? (uint32_t)atoi(argv[2]) : modes[i].count);
        vkDeviceWaitIdle(device);
        /* Objects left to the device show that a renderer frees what a guest forgot. */
        vkDestroyDevice(device, NULL);
        vkDestroyInstance(instance, NULL);
        return 0;
    }
    fprintf(stderr, "usage: vk_client compute|matmul|draw|submits|pipelines|swapchain|frames|calls "
                    "[COUNT]\n");
    return 2;
}
