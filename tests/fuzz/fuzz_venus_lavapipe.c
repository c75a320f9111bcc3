/* SPDX-License-Identifier: MIT */
/*
 * Guests on a real driver: lavapipe, through the loader. Vulkan leaves it to programs to use it
 * validly, and a driver may crash on what is not valid; so, other than in fuzz_venus.c, commands
 * are made from whole structs, whose values lavapipe takes, and what is damaged is what this
 * renderer has to see to: flags, ids, counts, sTypes, chains, sizes, any word after a command's
 * number. Every submission is waited for, since a driver may touch its objects until then.
 *
 * Objects that are there or not, of any order of creation and destruction, what a guest leaves
 * behind, and memory whose pages outlive it meet the driver's own bookkeeping here. Half the inputs
 * go through a ring, whose head, tail and status the input writes to as well.
 *
 * VK_LOADER_DRIVERS_SELECT picks the driver; without one every input is empty.
 */
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "fuzz.h"
#include "gpu/renderer.h"
#include "mock_vulkan.h"

/* A few ids of each type, so that they are met again. */
enum { FENCES = 32, BUFFERS = 40, MEMORIES = 48, POOLS = 56, COMMANDS = 64, IMAGES = 72, EACH = 4 };
enum { RING = 5, RING_ID = 9, TAIL = 64, STATUS = 128, BUFFER = 192, ROOM = 4096 };

#define ID(type, id) ((type)(uintptr_t)(id))

struct player {
    struct pv_vn_context *ctx;
    struct pv_vn_stream *stream;
    struct pv_gpu_memory *ring; /* NULL: commands go to the stream */
    uint32_t tail;
    struct fuzz_input *input;
};

static void drop_line(void *opaque, enum pv_log_component component, enum pv_log_level level,
                      const char *line)
{
}

/* What lavapipe itself leaks (LLVM's and the loader's caches among it) is not ours. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:libvulkan_lvp.so\nleak:libLLVM\nleak:libvulkan.so\n";
}

static _Atomic uint32_t *ring_word(struct pv_gpu_memory *pages, size_t offset)
{
    return (_Atomic uint32_t *)(void *)((char *)pages->mapping.data + offset);
}

/* Until at most so many bytes wait in the ring; not for ever, as the input may write to head. */
static void ring_wait(struct player *player, size_t left)
{
    for (unsigned i = 0; i < 5000 && !pv_vn_context_gone(player->ctx); i++) {
        if (player->tail - atomic_load(ring_word(player->ring, 0)) <= left)
            return;
        pv_vn_ring_notify(player->ctx, RING_ID);
        sched_yield();
    }
}

static void send(struct player *player, const uint8_t *bytes, size_t size)
{
    if (!player->ring) {
        player->stream->reply_at = 0;
        pv_vn_stream_run(player->stream, bytes, size);
        atomic_store(&player->ctx->lost, false); /* a guest would start anew */
        return;
    }
    ring_wait(player, ROOM - size);
    for (size_t i = 0; i < size; i += 4) {
        uint32_t word;
        memcpy(&word, bytes + i, 4);
        atomic_store(ring_word(player->ring, BUFFER + (player->tail + i) % ROOM), word);
    }
    player->tail += size;
    atomic_store(ring_word(player->ring, TAIL), player->tail);
}

static void say(struct player *player, unsigned command, const void *args, bool whole)
{
    uint8_t bytes[1024];
    uint8_t choice = (uint8_t)fuzz_take(player->input, 1);
    size_t size = guest_encode(bytes, sizeof(bytes), command, choice & 1, args);
    if (!whole && choice % 8 == 2) {
        size_t word = 1 + fuzz_take(player->input, 1) % (size / 4 - 1);
        uint32_t value = (uint32_t)fuzz_take(player->input, choice & 8 ? 4 : 1);
        memcpy(bytes + word * 4, &value, 4);
    }
    send(player, bytes, size);
}

#define SAY(name, ...)                                                                             \
    say(player, PV_VN_COMMAND_##name, &(const struct pv_vn_##name){__VA_ARGS__}, false)
#define SAY_WHOLE(name, ...)                                                                       \
    say(player, PV_VN_COMMAND_##name, &(const struct pv_vn_##name){__VA_ARGS__}, true)
#define DEVICE ID(VkDevice, GUEST_DEVICE)

static void begin(struct player *player)
{
    uint64_t instance = GUEST_INSTANCE, physical = GUEST_PHYSICAL, device = GUEST_DEVICE;
    uint64_t queue = GUEST_QUEUE;
    uint32_t one = 1;
    VkPhysicalDevice room;
    const VkApplicationInfo app = {.sType = VK_STRUCTURE_TYPE_APPLICATION_INFO,
                                   .apiVersion = VK_API_VERSION_1_3};
    const VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO,
                                       .pApplicationInfo = &app};
    const float priority = 1;
    const VkDeviceQueueCreateInfo queues = {.sType = VK_STRUCTURE_TYPE_DEVICE_QUEUE_CREATE_INFO,
                                            .queueCount = 1,
                                            .pQueuePriorities = &priority};
    const VkDeviceCreateInfo device_info = {.sType = VK_STRUCTURE_TYPE_DEVICE_CREATE_INFO,
                                            .queueCreateInfoCount = 1,
                                            .pQueueCreateInfos = &queues};
    const VkCommandStreamDescriptionMESA reply = {.resourceId = GUEST_REPLY, .size = 65536};
    SAY_WHOLE(vkSetReplyCommandStreamMESA, .pStream = &reply);
    SAY_WHOLE(vkCreateInstance, .pCreateInfo = &info, .ids_pInstance = &instance);
    SAY_WHOLE(vkEnumeratePhysicalDevices, .instance = ID(VkInstance, GUEST_INSTANCE),
              .pPhysicalDeviceCount = &one, .pPhysicalDevices = &room,
              .ids_pPhysicalDevices = &physical);
    SAY_WHOLE(vkCreateDevice, .physicalDevice = ID(VkPhysicalDevice, GUEST_PHYSICAL),
              .pCreateInfo = &device_info, .ids_pDevice = &device);
    SAY_WHOLE(vkGetDeviceQueue, .device = DEVICE, .ids_pQueue = &queue);
}

static void ask_physical(struct player *player)
{
    VkPhysicalDevice physical = ID(VkPhysicalDevice, GUEST_PHYSICAL);
    VkPhysicalDeviceVulkan11Properties p11 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_1_PROPERTIES};
    VkPhysicalDeviceProperties2 properties = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PROPERTIES_2, .pNext = &p11};
    VkPhysicalDeviceVulkan12Features f12 = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_VULKAN_1_2_FEATURES};
    VkPhysicalDeviceFeatures2 features = {.sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_FEATURES_2,
                                          .pNext = &f12};
    VkPhysicalDeviceMemoryProperties2 memory = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    uint32_t count = (uint32_t)fuzz_take(player->input, 1);
    VkExtensionProperties extensions[256];
    switch (fuzz_take(player->input, 1) % 4) {
    case 0:
        SAY(vkGetPhysicalDeviceProperties2, .physicalDevice = physical, .pProperties = &properties);
        break;
    case 1:
        SAY(vkGetPhysicalDeviceFeatures2, .physicalDevice = physical, .pFeatures = &features);
        break;
    case 2:
        SAY(vkGetPhysicalDeviceMemoryProperties2, .physicalDevice = physical,
            .pMemoryProperties = &memory);
        break;
    default:
        SAY(vkEnumerateDeviceExtensionProperties, .physicalDevice = physical,
            .pPropertyCount = &count, .pProperties = extensions);
    }
}

static void fences(struct player *player, uint64_t id)
{
    const VkFenceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_FENCE_CREATE_INFO,
                                    .flags = id & 1 ? VK_FENCE_CREATE_SIGNALED_BIT : 0};
    const VkFence fence = ID(VkFence, FENCES + id);
    uint64_t new_id = FENCES + id;
    switch (fuzz_take(player->input, 1) % 6) {
    case 0: SAY(vkDestroyFence, .device = DEVICE, .fence = fence); break;
    case 1: SAY(vkGetFenceStatus, .device = DEVICE, .fence = fence); break;
    case 2: SAY(vkResetFences, .device = DEVICE, .fenceCount = 1, .pFences = &fence); break;
    case 3: /* in full: a longer timeout would only take time */
        SAY_WHOLE(vkWaitForFences, .device = DEVICE, .fenceCount = 1, .pFences = &fence);
        break;
    default: SAY(vkCreateFence, .device = DEVICE, .pCreateInfo = &info, .ids_pFence = &new_id);
    }
}

static void memory(struct player *player, uint64_t id)
{
    uint64_t new_buffer = BUFFERS + id, new_memory = MEMORIES + id;
    const VkBuffer buffer = ID(VkBuffer, new_buffer);
    const VkDeviceMemory pages = ID(VkDeviceMemory, MEMORIES + fuzz_take(player->input, 1) % EACH);
    const VkBufferCreateInfo buffer_info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                                            .size = 4096,
                                            .usage = VK_BUFFER_USAGE_TRANSFER_DST_BIT};
    const VkMemoryAllocateInfo memory_info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                              .allocationSize = 4096 * (id + 1)};
    VkMemoryRequirements requirements;
    switch (fuzz_take(player->input, 1) % 7) {
    case 0: SAY(vkDestroyBuffer, .device = DEVICE, .buffer = buffer); break;
    case 1: SAY(vkFreeMemory, .device = DEVICE, .memory = pages); break;
    case 2: SAY(vkBindBufferMemory, .device = DEVICE, .buffer = buffer, .memory = pages); break;
    case 3:
        SAY(vkGetBufferMemoryRequirements, .device = DEVICE, .buffer = buffer,
            .pMemoryRequirements = &requirements);
        break;
    case 4:
    case 5:
        SAY(vkAllocateMemory, .device = DEVICE, .pAllocateInfo = &memory_info,
            .ids_pMemory = &new_memory);
        break;
    default:
        SAY(vkCreateBuffer, .device = DEVICE, .pCreateInfo = &buffer_info,
            .ids_pBuffer = &new_buffer);
    }
}

static void images(struct player *player, uint64_t id)
{
    static const uint64_t linear = 0; /* DRM_FORMAT_MOD_LINEAR */
    const VkImageDrmFormatModifierListCreateInfoEXT list = {
        .sType = VK_STRUCTURE_TYPE_IMAGE_DRM_FORMAT_MODIFIER_LIST_CREATE_INFO_EXT,
        .drmFormatModifierCount = 1,
        .pDrmFormatModifiers = &linear};
    const VkImageCreateInfo info = {.sType = VK_STRUCTURE_TYPE_IMAGE_CREATE_INFO,
                                    .pNext = id & 1 ? &list : NULL,
                                    .imageType = VK_IMAGE_TYPE_2D,
                                    .format = VK_FORMAT_B8G8R8A8_UNORM,
                                    .extent = {16, 16, 1},
                                    .mipLevels = 1,
                                    .arrayLayers = 1,
                                    .samples = VK_SAMPLE_COUNT_1_BIT,
                                    .tiling = id & 1 ? VK_IMAGE_TILING_DRM_FORMAT_MODIFIER_EXT
                                                     : VK_IMAGE_TILING_OPTIMAL,
                                    .usage = VK_IMAGE_USAGE_TRANSFER_DST_BIT};
    uint64_t new_id = IMAGES + id;
    const VkImage image = ID(VkImage, new_id);
    VkMemoryRequirements requirements;
    switch (fuzz_take(player->input, 1) % 4) {
    case 0: SAY(vkDestroyImage, .device = DEVICE, .image = image); break;
    case 1:
        SAY(vkGetImageMemoryRequirements, .device = DEVICE, .image = image,
            .pMemoryRequirements = &requirements);
        break;
    case 2:
        SAY_WHOLE(vkBindImageMemory, .device = DEVICE, .image = image,
                  .memory = ID(VkDeviceMemory, MEMORIES + id));
        break;
    default:
        SAY_WHOLE(vkCreateImage, .device = DEVICE, .pCreateInfo = &info, .ids_pImage = &new_id);
    }
}

static void commands(struct player *player, uint64_t id)
{
    uint64_t new_pool = POOLS + id, new_commands = COMMANDS + fuzz_take(player->input, 1) % EACH;
    const VkCommandPool pool = ID(VkCommandPool, new_pool);
    const VkCommandBuffer buffer = ID(VkCommandBuffer, new_commands);
    const VkQueue queue = ID(VkQueue, GUEST_QUEUE);
    const VkCommandPoolCreateInfo pool_info = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                               .flags =
                                                   VK_COMMAND_POOL_CREATE_RESET_COMMAND_BUFFER_BIT};
    const VkCommandBufferAllocateInfo allocate = {
        .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
        .commandPool = pool,
        .commandBufferCount = 1};
    const VkCommandBufferBeginInfo begin_info = {.sType =
                                                     VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    const VkSubmitInfo submit = {.sType = VK_STRUCTURE_TYPE_SUBMIT_INFO,
                                 .commandBufferCount = 1,
                                 .pCommandBuffers = &buffer};
    switch (fuzz_take(player->input, 1) % 8) {
    case 0: SAY(vkDestroyCommandPool, .device = DEVICE, .commandPool = pool); break;
    case 1:
        SAY(vkFreeCommandBuffers, .device = DEVICE, .commandPool = pool, .commandBufferCount = 1,
            .pCommandBuffers = &buffer);
        break;
    case 2: /* what a submission of it executes */
        SAY_WHOLE(vkBeginCommandBuffer, .commandBuffer = buffer, .pBeginInfo = &begin_info);
        for (uint64_t i = fuzz_take(player->input, 1) % 32; i; i--)
            SAY(vkCmdSetLineWidth, .commandBuffer = buffer, .lineWidth = 1);
        SAY_WHOLE(vkEndCommandBuffer, .commandBuffer = buffer);
        break;
    case 3:
        SAY(vkQueueSubmit, .queue = queue, .submitCount = 1, .pSubmits = &submit,
            .fence = ID(VkFence, FENCES + id));
        SAY_WHOLE(vkQueueWaitIdle, .queue = queue);
        break;
    case 4: SAY(vkResetCommandPool, .device = DEVICE, .commandPool = pool); break;
    case 5:
    case 6:
        SAY(vkAllocateCommandBuffers, .device = DEVICE, .pAllocateInfo = &allocate,
            .ids_pCommandBuffers = &new_commands);
        break;
    default:
        SAY(vkCreateCommandPool, .device = DEVICE, .pCreateInfo = &pool_info,
            .ids_pCommandPool = &new_pool);
    }
}

static void play(struct player *player)
{
    struct fuzz_input *input = player->input;
    while (input->size && !pv_vn_context_gone(player->ctx)) {
        uint8_t what = (uint8_t)fuzz_take(input, 1);
        uint64_t id = what / 16 % EACH;
        switch (what % 16) {
        case 0: ask_physical(player); break;
        case 1:
        case 2:
        case 3: fences(player, id); break;
        case 4:
        case 5:
        case 6:
        case 7: memory(player, id); break;
        case 8:
        case 9: images(player, id); break;
        case 10: /* rarely, the ground under all else */
            if (fuzz_take(input, 1) % 8 == 0)
                SAY(vkDestroyDevice, .device = DEVICE);
            break;
        case 11:
            if (player->ring)
                atomic_store(ring_word(player->ring, fuzz_take(input, 1) % 3 * 64),
                             (uint32_t)fuzz_take(input, 2));
            break;
        default: commands(player, id);
        }
    }
}

static void play_ring(struct player *player)
{
    const VkRingCreateInfoMESA info = {.sType = PV_VN_STYPE_VkRingCreateInfoMESA,
                                       .resourceId = RING,
                                       .size = BUFFER + ROOM,
                                       .idleTimeout = 20000000,
                                       .tailOffset = TAIL,
                                       .statusOffset = STATUS,
                                       .bufferOffset = BUFFER,
                                       .bufferSize = ROOM,
                                       .extraOffset = BUFFER + ROOM};
    const struct pv_vn_vkCreateRingMESA create = {.ring = RING_ID, .pCreateInfo = &info};
    struct pv_gpu_memory *pages;
    if (pv_gpu_memory_create(&pages, BUFFER + ROOM, PV_BLOB_CACHED, NULL) < 0)
        return;
    pv_vn_context_attach(player->ctx, RING, pages);
    guest_run(player->stream, PV_VN_COMMAND_vkCreateRingMESA, &create);
    player->ring = pages;
    begin(player);
    play(player);
    ring_wait(player, 0);
    pv_vn_ring_destroy(player->ctx, RING_ID);
    pv_gpu_memory_unref(pages);
}

/* Opened once, with an instance that keeps the loader from unloading the driver between inputs. */
static const struct pv_vn_driver *lavapipe(void)
{
    static struct pv_vn_driver driver;
    static VkInstance keeper;
    static bool tried;
    if (!tried) {
        tried = true;
        setenv("VK_LOADER_DRIVERS_SELECT", "*lvp*", 0);
        const VkInstanceCreateInfo info = {.sType = VK_STRUCTURE_TYPE_INSTANCE_CREATE_INFO};
        if (pv_vn_driver_open(&driver, NULL, NULL) == 0) {
            PFN_vkCreateInstance create =
                (PFN_vkCreateInstance)driver.get_proc(NULL, "vkCreateInstance");
            if (!create || create(&info, NULL, &keeper) != VK_SUCCESS)
                keeper = NULL;
        }
    }
    return keeper ? &driver : NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct pv_renderer_config config = {.context_memory_max = 1 << 24};
    struct fuzz_input input = {data, size};
    struct pv_vn_stream stream;
    struct player player = {.stream = &stream, .input = &input};
    struct pv_gpu_memory *reply;
    pv_log_set_sink(drop_line, NULL);
    if (!lavapipe() || pv_vn_context_create(&player.ctx, 1, "fuzz", lavapipe(), &config, NULL) < 0)
        return 0;
    if (pv_gpu_memory_create(&reply, 65536, PV_BLOB_CACHED, NULL) == 0) {
        pv_vn_context_attach(player.ctx, GUEST_REPLY, reply);
        pv_gpu_memory_unref(reply);
        pv_vn_stream_init(&stream, player.ctx, NULL);
        if (fuzz_take(&input, 1) & 1) {
            play_ring(&player);
        } else {
            begin(&player);
            play(&player);
        }
        pv_vn_stream_finish(&stream);
    }
    pv_vn_context_destroy(player.ctx);
    return 0;
}
