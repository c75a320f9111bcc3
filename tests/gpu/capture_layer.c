/* SPDX-License-Identifier: MIT */
/*
 * A Vulkan layer that makes two runs of a windowed program comparable: it appends a line with the
 * hash of every presented frame to the file CAPTURE_FILE and ends the process after CAPTURE_FRAMES
 * frames. Preloaded as well (LD_PRELOAD), it makes time go by in frames, a sixtieth of a second
 * each, so that animations show the same pictures however fast the driver is; the driver itself
 * has the real time.
 *
 * For one device, one queue family that presents, and formats of four bytes a pixel: what vkcube
 * and vkmark have. bench/gpu/windows.py runs it.
 */
#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include <vulkan/vk_layer.h>
#include <vulkan/vulkan.h>

#define EXPORT     __attribute__((visibility("default")))
#define IMAGES_MAX 16u
/* Later than any real clock: deadlines made from this one are far off, not past. */
#define CLOCK_START 4000000000L

/* Next in the chain; the program under test has one instance and one device. */
#define DEVICE_CALLS(X)                                                                            \
    X(AllocateCommandBuffers)                                                                      \
    X(AllocateMemory)                                                                              \
    X(BeginCommandBuffer)                                                                          \
    X(BindBufferMemory)                                                                            \
    X(CmdCopyImageToBuffer)                                                                        \
    X(CmdPipelineBarrier)                                                                          \
    X(CreateBuffer)                                                                                \
    X(CreateCommandPool)                                                                           \
    X(CreateFence)                                                                                 \
    X(CreateSwapchainKHR)                                                                          \
    X(DestroyBuffer)                                                                               \
    X(EndCommandBuffer)                                                                            \
    X(FreeMemory)                                                                                  \
    X(GetBufferMemoryRequirements)                                                                 \
    X(GetDeviceQueue)                                                                              \
    X(GetSwapchainImagesKHR)                                                                       \
    X(MapMemory)                                                                                   \
    X(QueuePresentKHR)                                                                             \
    X(QueueSubmit)                                                                                 \
    X(ResetCommandPool)                                                                            \
    X(ResetFences)                                                                                 \
    X(WaitForFences)

static struct {
    PFN_vkGetInstanceProcAddr get_instance_proc;
    PFN_vkGetDeviceProcAddr get_device_proc;
    PFN_vkGetPhysicalDeviceMemoryProperties memory_properties;
    VkInstance instance;
    VkPhysicalDevice physical;
    VkDevice device;
#define X(name) PFN_vk##name name;
    DEVICE_CALLS(X)
#undef X
    uint32_t family;
    VkExtent2D extent;
    VkImage images[IMAGES_MAX];
    VkCommandPool pool;
    VkCommandBuffer commands;
    VkFence fence;
    VkBuffer buffer;
    VkDeviceMemory memory;
    uint8_t *pixels;
} capture;

static unsigned frames; /* presented so far: what the clock shows */

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    fprintf(stderr, "capture layer: %s\n", what);
    abort();
}

/* ---- Taking a picture ---- */

static void make_buffer(void)
{
    VkPhysicalDeviceMemoryProperties memory;
    VkMemoryRequirements needs;
    const VkMemoryPropertyFlags flags =
        VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT;
    const VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                     .size = capture.extent.width * capture.extent.height * 4u,
                                     .usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT};
    if (capture.buffer) {
        capture.DestroyBuffer(capture.device, capture.buffer, NULL);
        capture.FreeMemory(capture.device, capture.memory, NULL);
    }
    must(capture.CreateBuffer(capture.device, &info, NULL, &capture.buffer) == 0, "a buffer");
    capture.GetBufferMemoryRequirements(capture.device, capture.buffer, &needs);
    capture.memory_properties(capture.physical, &memory);
    uint32_t type = 0;
    while (type < memory.memoryTypeCount &&
           (!(needs.memoryTypeBits & 1u << type) ||
            (memory.memoryTypes[type].propertyFlags & flags) != flags))
        type++;
    const VkMemoryAllocateInfo allocate = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                           .allocationSize = needs.size,
                                           .memoryTypeIndex = type};
    must(capture.AllocateMemory(capture.device, &allocate, NULL, &capture.memory) == 0 &&
             capture.BindBufferMemory(capture.device, capture.buffer, capture.memory, 0) == 0 &&
             capture.MapMemory(capture.device, capture.memory, 0, VK_WHOLE_SIZE, 0,
                               (void **)&capture.pixels) == 0,
         "memory");
}

static void make_commands(void)
{
    const VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                          .queueFamilyIndex = capture.family};
    const VkFenceCreateInfo fence = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO};
    must(capture.CreateCommandPool(capture.device, &pool, NULL, &capture.pool) == 0, "a pool");
    const VkCommandBufferAllocateInfo info = {.sType =
                                                  VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                              .commandPool = capture.pool,
                                              .commandBufferCount = 1};
    must(capture.AllocateCommandBuffers(capture.device, &info, &capture.commands) == 0 &&
             capture.CreateFence(capture.device, &fence, NULL, &capture.fence) == 0,
         "a command buffer");
    /* Dispatchable handles carry their loader's table, which a layer must put in itself. */
    memcpy((void *)capture.commands, (void *)capture.device, sizeof(void *));
}

static void turn(VkImage image, VkImageLayout from, VkImageLayout to)
{
    const VkImageMemoryBarrier barrier = {
        .sType = VK_STRUCTURE_TYPE_IMAGE_MEMORY_BARRIER,
        .srcAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT,
        .dstAccessMask = VK_ACCESS_MEMORY_READ_BIT | VK_ACCESS_MEMORY_WRITE_BIT,
        .oldLayout = from,
        .newLayout = to,
        .srcQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
        .dstQueueFamilyIndex = VK_QUEUE_FAMILY_IGNORED,
        .image = image,
        .subresourceRange = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 1, 0, 1}};
    capture.CmdPipelineBarrier(capture.commands, VK_PIPELINE_STAGE_ALL_COMMANDS_BIT,
                               VK_PIPELINE_STAGE_ALL_COMMANDS_BIT, 0, 0, NULL, 0, NULL, 1,
                               &barrier);
}

/* Copies the image out behind the semaphores that its presentation would wait for. */
static void copy_out(VkQueue queue, VkImage image, const VkPresentInfoKHR *present)
{
    VkPipelineStageFlags stages[8];
    const VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    const VkBufferImageCopy region = {
        .imageSubresource = {VK_IMAGE_ASPECT_COLOR_BIT, 0, 0, 1},
        .imageExtent = {capture.extent.width, capture.extent.height, 1}};
    const VkSubmitInfo submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                                 .waitSemaphoreCount = present->waitSemaphoreCount,
                                 .pWaitSemaphores = present->pWaitSemaphores,
                                 .pWaitDstStageMask = stages,
                                 .commandBufferCount = 1,
                                 .pCommandBuffers = &capture.commands};
    must(present->waitSemaphoreCount <= 8, "more than 8 semaphores");
    for (uint32_t i = 0; i < present->waitSemaphoreCount; i++)
        stages[i] = VK_PIPELINE_STAGE_ALL_COMMANDS_BIT;
    if (!capture.pool)
        make_commands();
    capture.ResetCommandPool(capture.device, capture.pool, 0);
    capture.BeginCommandBuffer(capture.commands, &begin);
    turn(image, VK_IMAGE_LAYOUT_PRESENT_SRC_KHR, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL);
    capture.CmdCopyImageToBuffer(capture.commands, image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL,
                                 capture.buffer, 1, &region);
    turn(image, VK_IMAGE_LAYOUT_TRANSFER_SRC_OPTIMAL, VK_IMAGE_LAYOUT_PRESENT_SRC_KHR);
    capture.EndCommandBuffer(capture.commands);
    must(capture.QueueSubmit(queue, 1, &submit, capture.fence) == 0, "vkQueueSubmit");
    capture.WaitForFences(capture.device, 1, &capture.fence, VK_TRUE, UINT64_MAX);
    capture.ResetFences(capture.device, 1, &capture.fence);
}

static uint64_t hash(const uint8_t *data, size_t size)
{
    uint64_t value = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < size; i++)
        value = (value ^ data[i]) * UINT64_C(0x100000001b3);
    return value;
}

static void record(void)
{
    const char *path = getenv("CAPTURE_FILE"), *limit = getenv("CAPTURE_FRAMES");
    FILE *file = path ? fopen(path, "a") : NULL;
    must(file != NULL, "CAPTURE_FILE cannot be written");
    fprintf(file, "frame %u %ux%u %016llx\n", frames, capture.extent.width, capture.extent.height,
            (unsigned long long)hash(capture.pixels,
                                     (size_t)capture.extent.width * capture.extent.height * 4));
    fclose(file);
    frames++;
    if (limit && frames >= (unsigned)atoi(limit))
        _exit(0);
}

/* ---- What is intercepted ---- */

static VKAPI_ATTR VkResult VKAPI_CALL layer_QueuePresentKHR(VkQueue queue,
                                                            const VkPresentInfoKHR *info)
{
    VkPresentInfoKHR rest = *info;
    must(info->swapchainCount == 1 && info->pImageIndices[0] < IMAGES_MAX, "several swapchains");
    copy_out(queue, capture.images[info->pImageIndices[0]], info);
    record();
    rest.waitSemaphoreCount = 0;
    return capture.QueuePresentKHR(queue, &rest);
}

static VKAPI_ATTR VkResult VKAPI_CALL
layer_CreateSwapchainKHR(VkDevice device, const VkSwapchainCreateInfoKHR *info,
                         const VkAllocationCallbacks *allocator, VkSwapchainKHR *swapchain)
{
    VkSwapchainCreateInfoKHR more = *info;
    uint32_t count = IMAGES_MAX;
    more.imageUsage |= VK_IMAGE_USAGE_TRANSFER_SRC_BIT;
    VkResult result = capture.CreateSwapchainKHR(device, &more, allocator, swapchain);
    if (result < 0)
        return result;
    must(capture.GetSwapchainImagesKHR(device, *swapchain, &count, capture.images) == 0,
         "more images than expected");
    capture.extent = info->imageExtent;
    make_buffer();
    return result;
}

static VKAPI_ATTR void VKAPI_CALL layer_GetDeviceQueue(VkDevice device, uint32_t family,
                                                       uint32_t index, VkQueue *queue)
{
    capture.family = family;
    capture.GetDeviceQueue(device, family, index, queue);
}

static VKAPI_ATTR VkResult VKAPI_CALL layer_CreateDevice(VkPhysicalDevice physical,
                                                         const VkDeviceCreateInfo *info,
                                                         const VkAllocationCallbacks *allocator,
                                                         VkDevice *device)
{
    VkLayerDeviceCreateInfo *link = (VkLayerDeviceCreateInfo *)info->pNext;
    while (link->sType != VK_STRUCTURE_TYPE_LOADER_DEVICE_CREATE_INFO ||
           link->function != VK_LAYER_LINK_INFO)
        link = (VkLayerDeviceCreateInfo *)link->pNext;
    capture.get_device_proc = link->u.pLayerInfo->pfnNextGetDeviceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    PFN_vkCreateDevice create =
        (PFN_vkCreateDevice)capture.get_instance_proc(capture.instance, "vkCreateDevice");
    VkResult result = create(physical, info, allocator, device);
    if (result < 0)
        return result;
    capture.physical = physical;
    capture.device = *device;
    capture.pool = VK_NULL_HANDLE;
    capture.buffer = VK_NULL_HANDLE;
#define X(name) capture.name = (PFN_vk##name)capture.get_device_proc(*device, "vk" #name);
    DEVICE_CALLS(X)
#undef X
    return result;
}

static VKAPI_ATTR VkResult VKAPI_CALL layer_CreateInstance(const VkInstanceCreateInfo *info,
                                                           const VkAllocationCallbacks *allocator,
                                                           VkInstance *instance)
{
    VkLayerInstanceCreateInfo *link = (VkLayerInstanceCreateInfo *)info->pNext;
    while (link->sType != VK_STRUCTURE_TYPE_LOADER_INSTANCE_CREATE_INFO ||
           link->function != VK_LAYER_LINK_INFO)
        link = (VkLayerInstanceCreateInfo *)link->pNext;
    capture.get_instance_proc = link->u.pLayerInfo->pfnNextGetInstanceProcAddr;
    link->u.pLayerInfo = link->u.pLayerInfo->pNext;
    PFN_vkCreateInstance create =
        (PFN_vkCreateInstance)capture.get_instance_proc(NULL, "vkCreateInstance");
    VkResult result = create(info, allocator, instance);
    if (result < 0)
        return result;
    capture.instance = *instance;
    capture.memory_properties = (PFN_vkGetPhysicalDeviceMemoryProperties)capture.get_instance_proc(
        *instance, "vkGetPhysicalDeviceMemoryProperties");
    return result;
}

static PFN_vkVoidFunction own(const char *name);

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL layer_GetDeviceProcAddr(VkDevice device,
                                                                        const char *name)
{
    PFN_vkVoidFunction proc = own(name);
    return proc ? proc : capture.get_device_proc(device, name);
}

static VKAPI_ATTR PFN_vkVoidFunction VKAPI_CALL layer_GetInstanceProcAddr(VkInstance instance,
                                                                          const char *name)
{
    PFN_vkVoidFunction proc = own(name);
    return proc || !instance ? proc : capture.get_instance_proc(instance, name);
}

static PFN_vkVoidFunction own(const char *name)
{
    static const struct {
        const char *name;
        PFN_vkVoidFunction proc;
    } procs[] = {
#define ROW(name) {"vk" #name, (PFN_vkVoidFunction)layer_##name}
        ROW(CreateDevice),      ROW(CreateInstance), ROW(CreateSwapchainKHR),
        ROW(GetDeviceProcAddr), ROW(GetDeviceQueue), ROW(GetInstanceProcAddr),
        ROW(QueuePresentKHR),
#undef ROW
    };
    for (size_t i = 0; i < sizeof(procs) / sizeof(procs[0]); i++)
        if (strcmp(procs[i].name, name) == 0)
            return procs[i].proc;
    return NULL;
}

EXPORT VKAPI_ATTR VkResult VKAPI_CALL
vkNegotiateLoaderLayerInterfaceVersion(VkNegotiateLayerInterface *version)
{
    version->loaderLayerInterfaceVersion = 2;
    version->pfnGetInstanceProcAddr = layer_GetInstanceProcAddr;
    version->pfnGetDeviceProcAddr = layer_GetDeviceProcAddr;
    version->pfnGetPhysicalDeviceProcAddr = NULL;
    return VK_SUCCESS;
}

/* ---- The clock, when preloaded ---- */

/* Whether a driver asks: it needs the time that its threads and timeouts go by. */
static bool is_driver(const void *caller)
{
    Dl_info info;
    return dladdr(caller, &info) && info.dli_fname && strstr(info.dli_fname, "libvulkan");
}

static int tell_time(clockid_t clock, struct timespec *now, const void *caller)
{
    int (*real)(clockid_t, struct timespec *) =
        (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    if ((clock != CLOCK_MONOTONIC && clock != CLOCK_REALTIME) || !getenv("CAPTURE_FILE") ||
        is_driver(caller))
        return real(clock, now);
    *now =
        (struct timespec){.tv_sec = CLOCK_START + frames / 60, .tv_nsec = frames % 60 * 16666667L};
    return 0;
}

EXPORT int clock_gettime(clockid_t clock, struct timespec *now)
{
    return tell_time(clock, now, __builtin_return_address(0));
}

EXPORT int gettimeofday(struct timeval *now, void *zone)
{
    struct timespec ts;
    tell_time(CLOCK_REALTIME, &ts, __builtin_return_address(0));
    *now = (struct timeval){.tv_sec = ts.tv_sec, .tv_usec = ts.tv_nsec / 1000};
    return 0;
}
