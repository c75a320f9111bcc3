/* SPDX-License-Identifier: MIT */
/* Contexts of the Venus renderer on the mock driver: objects, rings, memory. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "base/util.h"
#include "gpu/venus/metal_bridge.h"
#include "mock_vulkan.h"

struct guest {
    struct pv_renderer_config config;
    struct pv_vn_context *ctx;
    struct pv_vn_stream stream;
};

static void drop_line(void *opaque, enum pv_log_component component, enum pv_log_level level,
                      const char *line)
{
}

static void attach(struct guest *guest, uint32_t resource, uint64_t size,
                   struct pv_gpu_memory **pages)
{
    assert_int_equal(pv_gpu_memory_create(pages, size, PV_BLOB_CACHED, NULL), 0);
    assert_int_equal(pv_vn_context_attach(guest->ctx, resource, *pages), 0);
    pv_gpu_memory_unref(*pages); /* the context's reference is enough */
}

static int start(void **state)
{
    struct guest *guest = calloc(1, sizeof(*guest));
    struct pv_gpu_memory *reply;
    if (!guest)
        return -1;
    pv_log_set_sink(drop_line, NULL);
    *state = guest;
    if (pv_vn_context_create(&guest->ctx, 1, "unit", &mock_vulkan_driver, &guest->config, NULL) < 0)
        return -1;
    attach(guest, GUEST_REPLY, 65536, &reply);
    pv_vn_stream_init(&guest->stream, guest->ctx, NULL);
    guest_begin(&guest->stream);
    return 0;
}

static int stop(void **state)
{
    struct guest *guest = *state;
    pv_vn_stream_finish(&guest->stream);
    pv_vn_context_destroy(guest->ctx);
    free(guest);
    return 0;
}

static bool has(struct guest *guest, unsigned type, uint64_t id)
{
    struct pv_gpu_entry entry;
    return pv_vn_object_get(guest->ctx, type, id, &entry);
}

/* ---- Objects ---- */

static void make_pool(struct guest *guest, uint64_t id)
{
    const VkCommandPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO};
    const struct pv_vn_vkCreateCommandPool create = {
        .device = (VkDevice)GUEST_DEVICE, .pCreateInfo = &info, .ids_pCommandPool = &id};
    guest_run(&guest->stream, PV_VN_COMMAND_vkCreateCommandPool, &create);
}

static void fill_pool(struct guest *guest, uint64_t pool, uint64_t first, uint32_t count)
{
    uint64_t ids[8];
    VkCommandBuffer room[8];
    for (uint32_t i = 0; i < count; i++)
        ids[i] = first + i;
    const VkCommandBufferAllocateInfo info = {.sType =
                                                  VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                              .commandPool = (VkCommandPool)pool,
                                              .commandBufferCount = count};
    const struct pv_vn_vkAllocateCommandBuffers allocate = {.device = (VkDevice)GUEST_DEVICE,
                                                            .pAllocateInfo = &info,
                                                            .pCommandBuffers = room,
                                                            .ids_pCommandBuffers = ids};
    guest_run(&guest->stream, PV_VN_COMMAND_vkAllocateCommandBuffers, &allocate);
}

static void free_buffer(struct guest *guest, uint64_t pool, uint64_t id)
{
    const VkCommandBuffer buffers[] = {(VkCommandBuffer)(uintptr_t)id};
    const struct pv_vn_vkFreeCommandBuffers args = {.device = (VkDevice)GUEST_DEVICE,
                                                    .commandPool = (VkCommandPool)pool,
                                                    .commandBufferCount = 1,
                                                    .pCommandBuffers = buffers};
    guest_run(&guest->stream, PV_VN_COMMAND_vkFreeCommandBuffers, &args);
}

/* The mock driver gives every pool the same handle, as drivers may: the ids must tell them apart.
 */
static void a_pool_takes_its_own_children_along(void **state)
{
    enum { A = 100, B = 101, A_FIRST = 200, B_FIRST = 300 };
    struct guest *guest = *state;
    make_pool(guest, A);
    make_pool(guest, B);
    fill_pool(guest, A, A_FIRST, 5);
    fill_pool(guest, B, B_FIRST, 5);
    free_buffer(guest, A, A_FIRST + 4); /* the head of the pool's list, its middle, its end */
    free_buffer(guest, A, A_FIRST + 2);
    free_buffer(guest, A, A_FIRST);
    assert_false(has(guest, PV_VN_HANDLE_VkCommandBuffer, A_FIRST + 2));
    assert_true(has(guest, PV_VN_HANDLE_VkCommandBuffer, A_FIRST + 1));
    const struct pv_vn_vkDestroyCommandPool destroy = {.device = (VkDevice)GUEST_DEVICE,
                                                       .commandPool = (VkCommandPool)A};
    guest_run(&guest->stream, PV_VN_COMMAND_vkDestroyCommandPool, &destroy);
    assert_false(has(guest, PV_VN_HANDLE_VkCommandPool, A));
    for (uint64_t i = 0; i < 5; i++) {
        assert_false(has(guest, PV_VN_HANDLE_VkCommandBuffer, A_FIRST + i));
        assert_true(has(guest, PV_VN_HANDLE_VkCommandBuffer, B_FIRST + i));
    }
    fill_pool(guest, B, A_FIRST, 5); /* ids are free for use again */
    assert_false(pv_vn_context_gone(guest->ctx));
}

static void a_removed_object_is_not_remembered(void **state)
{
    struct guest *guest = *state;
    uint8_t bytes[64];
    const struct pv_vn_vkGetFenceStatus status = {.device = (VkDevice)GUEST_DEVICE,
                                                  .fence = (VkFence)GUEST_FENCE};
    const struct pv_vn_vkDestroyFence destroy = {.device = (VkDevice)GUEST_DEVICE,
                                                 .fence = (VkFence)GUEST_FENCE};
    guest_run(&guest->stream, PV_VN_COMMAND_vkGetFenceStatus, &status);
    guest_run(&guest->stream, PV_VN_COMMAND_vkDestroyFence, &destroy);
    size_t size = guest_encode(bytes, sizeof(bytes), PV_VN_COMMAND_vkGetFenceStatus, 0, &status);
    assert_false(pv_vn_stream_run(&guest->stream, bytes, size));
    assert_true(pv_vn_context_gone(guest->ctx));
}

/* ---- Flat commands: the short way must do what the tables say ---- */

enum { LAYOUT = 150 };

static void flat_commands_carry_every_parameter(void **state)
{
    struct guest *guest = *state;
    const struct pv_vn_vkCmdDrawIndexed draw = {.commandBuffer = (VkCommandBuffer)GUEST_COMMANDS,
                                                .indexCount = 1,
                                                .instanceCount = 2,
                                                .firstIndex = 3,
                                                .vertexOffset = -4,
                                                .firstInstance = 5};
    const struct pv_vn_vkCmdDrawIndexed *got = &mock_vulkan_log.draw;
    assert_non_null(pv_vn_flats[PV_VN_COMMAND_vkCmdDrawIndexed]);
    guest_run(&guest->stream, PV_VN_COMMAND_vkCmdDrawIndexed, &draw);
    assert_ptr_equal(got->commandBuffer, (VkCommandBuffer)0x4000); /* the mock's first */
    assert_int_equal(got->indexCount, 1);
    assert_int_equal(got->instanceCount, 2);
    assert_int_equal(got->firstIndex, 3);
    assert_int_equal(got->vertexOffset, -4);
    assert_int_equal(got->firstInstance, 5);
}

static size_t encode_push(void *to, size_t room, uint32_t size)
{
    static uint8_t values[512];
    for (unsigned i = 0; i < sizeof(values); i++)
        values[i] = (uint8_t)(i * 3 + 1);
    const struct pv_vn_vkCmdPushConstants push = {.commandBuffer = (VkCommandBuffer)GUEST_COMMANDS,
                                                  .layout = (VkPipelineLayout)LAYOUT,
                                                  .stageFlags = 1,
                                                  .offset = 8,
                                                  .size = size,
                                                  .pValues = values};
    return guest_encode(to, room, PV_VN_COMMAND_vkCmdPushConstants, 0, &push);
}

static void pushed_bytes_are_bounded(void **state)
{
    struct guest *guest = *state;
    uint32_t words[256];
    pv_vn_object_add(guest->ctx, &(struct pv_gpu_entry){.id = LAYOUT,
                                                        .handle = 0x5555,
                                                        .type = PV_VN_HANDLE_VkPipelineLayout,
                                                        .owner = guest->ctx->devices});
    for (uint32_t size = 1; size <= 300; size += size < 8 ? 1 : 31) { /* 256 is the short way's */
        size_t bytes = encode_push(words, sizeof(words), size);
        memset(mock_vulkan_log.pushed, 0, sizeof(mock_vulkan_log.pushed));
        assert_int_equal(pv_vn_stream_some(&guest->stream, words, bytes), bytes);
        assert_int_equal(mock_vulkan_log.push.size, size);
        assert_int_equal((uintptr_t)mock_vulkan_log.push.layout, 0x5555);
        assert_int_equal(mock_vulkan_log.push.offset, 8);
        assert_int_equal(mock_vulkan_log.pushed[size - 1], (uint8_t)((size - 1) * 3 + 1));
        assert_int_equal(mock_vulkan_log.pushed[size], 0);
    }
    mock_vulkan_log.push.size = 0;
    size_t bytes = encode_push(words, sizeof(words), 16);
    words[9]++; /* the count of bytes, no longer the size */
    assert_int_equal(pv_vn_stream_some(&guest->stream, words, bytes), 0);
    assert_true(pv_vn_context_gone(guest->ctx));
    assert_int_equal(mock_vulkan_log.push.size, 0);
}

static void a_cut_off_push_is_not_executed(void **state)
{
    struct guest *guest = *state;
    uint32_t words[64];
    pv_vn_object_add(guest->ctx, &(struct pv_gpu_entry){.id = LAYOUT,
                                                        .handle = 0x5555,
                                                        .type = PV_VN_HANDLE_VkPipelineLayout,
                                                        .owner = guest->ctx->devices});
    size_t bytes = encode_push(words, sizeof(words), 16);
    mock_vulkan_log.push.size = 0;
    assert_int_equal(pv_vn_stream_some(&guest->stream, words, bytes - 4), 0);
    assert_true(pv_vn_context_gone(guest->ctx));
    assert_int_equal(mock_vulkan_log.push.size, 0);
}

static void a_run_of_draws_follows_its_command_buffers(void **state)
{
    enum { OTHER = GUEST_IDS, MISSING };
    static const uint64_t order[] = {GUEST_COMMANDS, OTHER, OTHER, GUEST_COMMANDS};
    struct guest *guest = *state;
    uint8_t bytes[512];
    size_t ends[4], size = 0;
    pv_vn_object_add(guest->ctx, &(struct pv_gpu_entry){.id = OTHER,
                                                        .handle = 0x4444,
                                                        .type = PV_VN_HANDLE_VkCommandBuffer,
                                                        .owner = guest->ctx->devices});
    for (unsigned i = 0; i < 4; i++) {
        const struct pv_vn_vkCmdDrawIndexed draw = {.commandBuffer = (VkCommandBuffer)order[i],
                                                    .indexCount = 10 + i};
        size += guest_encode(bytes + size, sizeof(bytes) - size, PV_VN_COMMAND_vkCmdDrawIndexed, 0,
                             &draw);
        ends[i] = size;
    }
    for (unsigned i = 0; i < 4; i++) { /* as far as whole commands are there */
        size_t room = i < 3 ? ends[i + 1] - 4 : size;
        assert_int_equal(pv_vn_stream_some(&guest->stream, bytes, room), ends[i]);
        assert_int_equal(mock_vulkan_log.draw.indexCount, 10 + i);
        assert_int_equal((uintptr_t)mock_vulkan_log.draw.commandBuffer,
                         order[i] == OTHER ? 0x4444 : 0x4000);
    }
    const uint64_t missing = MISSING; /* the second command's: the first is executed, it is not */
    memcpy(bytes + ends[0] + 8, &missing, sizeof(missing));
    assert_int_equal(pv_vn_stream_some(&guest->stream, bytes, size), ends[0]);
    assert_int_equal(pv_vn_stream_some(&guest->stream, bytes + ends[0], size - ends[0]), 0);
    assert_true(pv_vn_context_gone(guest->ctx));
    assert_int_equal(mock_vulkan_log.draw.indexCount, 10);
}

static void a_draw_into_nothing_loses_the_context(void **state)
{
    struct guest *guest = *state;
    uint8_t bytes[64];
    const struct pv_vn_vkCmdDrawIndexed draw = {.indexCount = 77};
    size_t size = guest_encode(bytes, sizeof(bytes), PV_VN_COMMAND_vkCmdDrawIndexed, 0, &draw);
    assert_int_equal(pv_vn_stream_some(&guest->stream, bytes, size), 0);
    assert_true(pv_vn_context_gone(guest->ctx));
    assert_int_not_equal(mock_vulkan_log.draw.indexCount, 77);
}

/* ---- Memory ---- */

enum { MEMORY = 400 };

static void allocate(struct guest *guest, uint64_t id, uint32_t type, uint64_t size)
{
    const VkMemoryAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                       .allocationSize = size,
                                       .memoryTypeIndex = type};
    const struct pv_vn_vkAllocateMemory args = {
        .device = (VkDevice)GUEST_DEVICE, .pAllocateInfo = &info, .ids_pMemory = &id};
    guest_run(&guest->stream, PV_VN_COMMAND_vkAllocateMemory, &args);
}

static void free_memory(struct guest *guest, uint64_t id)
{
    const struct pv_vn_vkFreeMemory args = {.device = (VkDevice)GUEST_DEVICE,
                                            .memory = (VkDeviceMemory)id};
    guest_run(&guest->stream, PV_VN_COMMAND_vkFreeMemory, &args);
}

static void a_type_without_import_is_mapped_by_the_driver(void **state)
{
    struct guest *guest = *state;
    struct pv_renderer_mapping mapping;
    unsigned before = mock_vulkan_log.memories_freed;
    allocate(guest, MEMORY, MOCK_MAPPED, 5000);
    struct pv_gpu_memory *pages = pv_vn_memory_export(guest->ctx, MEMORY, 8192);
    assert_non_null(pages);
    pv_gpu_memory_describe(pages, &mapping);
    assert_ptr_equal(mapping.host, mock_vulkan_log.mapped);
    assert_int_equal(mapping.size, 8192);
    assert_int_equal(mapping.fd, -1);
    free_memory(guest, MEMORY);
    assert_int_equal(mock_vulkan_log.memories_freed, before); /* a guest has it in its window */
    pv_gpu_memory_unref(pages);
    assert_int_equal(mock_vulkan_log.memories_freed, before + 1);
}

static void mapped_pages_outlive_their_device(void **state)
{
    struct guest *guest = *state;
    struct mock_vulkan_log before = mock_vulkan_log;
    const struct pv_vn_vkDestroyInstance destroy = {.instance = (VkInstance)GUEST_INSTANCE};
    allocate(guest, MEMORY, MOCK_MAPPED, 4096);
    struct pv_gpu_memory *pages = pv_vn_memory_export(guest->ctx, MEMORY, 4096);
    guest_run(&guest->stream, PV_VN_COMMAND_vkDestroyInstance, &destroy);
    assert_false(has(guest, PV_VN_HANDLE_VkDevice, GUEST_DEVICE));
    assert_int_equal(mock_vulkan_log.devices_destroyed, before.devices_destroyed);
    assert_int_equal(mock_vulkan_log.instances_destroyed, before.instances_destroyed);
    pv_gpu_memory_unref(pages);
    assert_int_equal(mock_vulkan_log.devices_destroyed, before.devices_destroyed + 1);
    assert_int_equal(mock_vulkan_log.instances_destroyed, before.instances_destroyed + 1);
}

static void create_buffer(struct guest *guest, uint64_t id, const void *chain)
{
    const VkBufferCreateInfo info = {
        .sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO, .pNext = chain, .size = 64};
    const struct pv_vn_vkCreateBuffer args = {
        .device = (VkDevice)GUEST_DEVICE, .pCreateInfo = &info, .ids_pBuffer = &id};
    guest_run(&guest->stream, PV_VN_COMMAND_vkCreateBuffer, &args);
}

/* Mesa's driver says "no handle types" of buffers that nobody else shall see. */
static void buffers_expect_the_pages_they_will_get(void **state)
{
    const VkExternalMemoryHandleTypeFlags host =
        VK_EXTERNAL_MEMORY_HANDLE_TYPE_HOST_ALLOCATION_BIT_EXT;
    VkExternalMemoryBufferCreateInfo external = {
        .sType = VK_STRUCTURE_TYPE_EXTERNAL_MEMORY_BUFFER_CREATE_INFO};
    struct guest *guest = *state;
    struct pv_vn_physical *physical = &guest->ctx->instances->physicals[0];
    uint64_t id = 500;
    for (unsigned unified = 0; unified < 2; unified++) {
        physical->unified = unified;
        create_buffer(guest, id++, NULL);
        assert_int_equal(mock_vulkan_log.buffer_handles, unified ? host : 0);
        external.handleTypes = 0;
        create_buffer(guest, id++, &external);
        assert_int_equal(mock_vulkan_log.buffer_handles, unified ? host : 0);
        external.handleTypes = VK_EXTERNAL_MEMORY_HANDLE_TYPE_DMA_BUF_BIT_EXT;
        create_buffer(guest, id++, &external);
        assert_int_equal(mock_vulkan_log.buffer_handles, host);
    }
}

/* A guest that frees memory but keeps the blob of it has not given anything back. */
static void pages_count_until_their_last_user_is_gone(void **state)
{
    struct guest *guest = *state;
    struct pv_gpu_account account = {.max = 3 * 65536};
    uint64_t id = MEMORY;
    guest->ctx->account = &account;
    for (uint32_t type = MOCK_IMPORTED; type <= MOCK_MAPPED; type++, id++) {
        struct pv_gpu_memory *pages;
        allocate(guest, id, type, 2 * 65536);
        assert_non_null(pages = pv_vn_memory_export(guest->ctx, id, 2 * 65536));
        free_memory(guest, id++);
        allocate(guest, id, type, 2 * 65536);
        assert_null(pv_vn_memory_export(guest->ctx, id, 4096));
        pv_gpu_memory_unref(pages);
        assert_int_equal(atomic_load(&account.used), 0);
    }
    guest->ctx->account = NULL;
}

/* ---- Drivers that translate to another API ---- */

static int start_portable(void **state)
{
    mock_vulkan_log.portability = true;
    return start(state);
}

static int stop_portable(void **state)
{
    mock_vulkan_log.portability = false;
    return stop(state);
}

static void portability_drivers_are_asked_for(void **state)
{
    assert_int_equal(mock_vulkan_log.instance_flags,
                     VK_INSTANCE_CREATE_ENUMERATE_PORTABILITY_BIT_KHR);
    assert_true(mock_vulkan_log.subset_enabled);
    assert_int_equal(mock_vulkan_log.subset_features[0], VK_FALSE); /* as the driver has them */
    assert_int_equal(mock_vulkan_log.subset_features[1], VK_TRUE);
}

static void other_drivers_hear_nothing_of_portability(void **state)
{
    assert_int_equal(mock_vulkan_log.instance_flags, 0);
    assert_false(mock_vulkan_log.subset_enabled);
}

static void note(void *opaque, const char *name, const char *value)
{
    unsigned *count = opaque;
    assert_int_equal(strncmp(name, "MVK_CONFIG_", 11), 0);
    assert_int_equal(strlen(value), 1);
    ++*count;
}

static void the_metal_driver_has_settings(void **state)
{
    unsigned count = 0;
    pv_metal_bridge_configure(note, &count);
    assert_int_equal(count, 3);
}

/* ---- Rings ---- */

enum { RING_RESOURCE = 50, RING = 7, HEAD = 0, TAIL = 64, STATUS = 128, BUFFER = 192, ROOM = 4096 };
#define STATUS_IDLE  1u
#define STATUS_FATAL 2u
#define STATUS_ALIVE 4u

static _Atomic uint32_t *word(struct pv_gpu_memory *pages, size_t offset)
{
    return (_Atomic uint32_t *)(void *)((char *)pages->mapping.data + offset);
}

/* Waits for another thread; the test runner's limit is what ends a wait in vain. */
static void wait_until_set(_Atomic uint32_t *status, uint32_t bit)
{
    while (!(atomic_load(status) & bit))
        nanosleep(&(struct timespec){.tv_nsec = 100000}, NULL);
}

static struct pv_gpu_memory *make_ring(struct guest *guest, uint32_t period_us)
{
    struct pv_gpu_memory *pages;
    attach(guest, RING_RESOURCE, BUFFER + ROOM, &pages);
    const VkRingMonitorInfoMESA monitor = {.sType = PV_VN_STYPE_VkRingMonitorInfoMESA,
                                           .maxReportingPeriodMicroseconds = period_us};
    const VkRingCreateInfoMESA info = {.sType = PV_VN_STYPE_VkRingCreateInfoMESA,
                                       .pNext = period_us ? &monitor : NULL,
                                       .resourceId = RING_RESOURCE,
                                       .size = BUFFER + ROOM,
                                       .idleTimeout = 1000,
                                       .headOffset = HEAD,
                                       .tailOffset = TAIL,
                                       .statusOffset = STATUS,
                                       .bufferOffset = BUFFER,
                                       .bufferSize = ROOM};
    const struct pv_vn_vkCreateRingMESA create = {.ring = RING, .pCreateInfo = &info};
    guest_run(&guest->stream, PV_VN_COMMAND_vkCreateRingMESA, &create);
    return pages;
}

static uint32_t put(struct pv_gpu_memory *pages, uint32_t tail, unsigned command, const void *args)
{
    tail +=
        guest_encode((uint8_t *)pages->mapping.data + BUFFER + tail, ROOM - tail, command, 0, args);
    atomic_store(word(pages, TAIL), tail);
    return tail;
}

static void notify(struct guest *guest)
{
    uint8_t bytes[64];
    const struct pv_vn_vkNotifyRingMESA args = {.ring = RING};
    size_t size = guest_encode(bytes, sizeof(bytes), PV_VN_COMMAND_vkNotifyRingMESA, 0, &args);
    assert_int_equal(pv_vn_context_queue(guest->ctx, bytes, size, 0, 0, NULL), 0);
}

static void a_sleeping_ring_is_woken(void **state)
{
    struct guest *guest = *state;
    struct pv_gpu_memory *pages = make_ring(guest, 0);
    const struct pv_vn_vkGetFenceStatus status = {.device = (VkDevice)GUEST_DEVICE,
                                                  .fence = (VkFence)GUEST_FENCE};
    uint32_t tail = 0;
    for (unsigned i = 0; i < 20; i++) {
        wait_until_set(word(pages, STATUS), STATUS_IDLE);
        tail = put(pages, tail, PV_VN_COMMAND_vkGetFenceStatus, &status);
        notify(guest);
        assert_true(pv_vn_ring_wait(guest->ctx, RING, tail));
        assert_int_equal(atomic_load(word(pages, HEAD)), tail);
    }
    assert_false(pv_vn_context_gone(guest->ctx));
}

/* Mesa's driver aborts its process when ALIVE stays clear while it waits for a ring. */
static void a_blocked_ring_is_alive(void **state)
{
    struct guest *guest = *state;
    struct pv_gpu_memory *pages = make_ring(guest, 3000);
    const struct pv_vn_vkWaitVirtqueueSeqnoMESA wait = {.seqno = 1};
    const struct pv_vn_vkSubmitVirtqueueSeqnoMESA go = {.ring = RING, .seqno = 1};
    uint32_t tail = put(pages, 0, PV_VN_COMMAND_vkWaitVirtqueueSeqnoMESA, &wait);
    notify(guest);
    for (unsigned i = 0; i < 3; i++) {
        atomic_fetch_and(word(pages, STATUS), ~STATUS_ALIVE);
        wait_until_set(word(pages, STATUS), STATUS_ALIVE);
        assert_int_equal(atomic_load(word(pages, HEAD)), 0);
    }
    guest_run(&guest->stream, PV_VN_COMMAND_vkSubmitVirtqueueSeqnoMESA, &go);
    assert_true(pv_vn_ring_wait(guest->ctx, RING, tail));
    assert_int_equal(atomic_load(word(pages, HEAD)), tail);
}

static void a_tail_that_runs_away_loses_the_context(void **state)
{
    struct guest *guest = *state;
    struct pv_gpu_memory *pages = make_ring(guest, 0);
    atomic_store(word(pages, TAIL), ROOM + 4);
    notify(guest);
    wait_until_set(word(pages, STATUS), STATUS_FATAL);
    assert_true(pv_vn_context_gone(guest->ctx));
    assert_int_equal(atomic_load(word(pages, HEAD)), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, start, stop)
    const struct CMUnitTest tests[] = {
        TEST(a_pool_takes_its_own_children_along),
        TEST(a_removed_object_is_not_remembered),
        cmocka_unit_test_setup_teardown(portability_drivers_are_asked_for, start_portable,
                                        stop_portable),
        TEST(other_drivers_hear_nothing_of_portability),
        cmocka_unit_test(the_metal_driver_has_settings),
        TEST(flat_commands_carry_every_parameter),
        TEST(pushed_bytes_are_bounded),
        TEST(a_cut_off_push_is_not_executed),
        TEST(a_run_of_draws_follows_its_command_buffers),
        TEST(a_draw_into_nothing_loses_the_context),
        TEST(a_type_without_import_is_mapped_by_the_driver),
        TEST(mapped_pages_outlive_their_device),
        TEST(buffers_expect_the_pages_they_will_get),
        TEST(pages_count_until_their_last_user_is_gone),
        TEST(a_sleeping_ring_is_woken),
        TEST(a_blocked_ring_is_alive),
        TEST(a_tail_that_runs_away_loses_the_context),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
