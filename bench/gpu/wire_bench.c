/* SPDX-License-Identifier: MIT */
/*
 * What a command costs between the ring and the driver: bytes on the wire, and nanoseconds to
 * decode it, look its handles up and call a driver that does nothing.
 *
 *   wire_bench [MILLIONS]     how many millions of each command (default 2)
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/util.h"
#include "host/clock.h"
#include "mock_vulkan.h"

/* Objects of kinds that guest_begin() does not make; nobody asks the driver for them. */
enum { PIPELINE = GUEST_IDS, LAYOUT, SET, IMAGE };

#define BATCH            4096u
#define HANDLE(type, id) ((type)(uintptr_t)(id))
#define COMMANDS         HANDLE(VkCommandBuffer, GUEST_COMMANDS)

static const VkMemoryBarrier memory_barrier = {.sType = VK_STRUCTURE_TYPE_MEMORY_BARRIER};
static const VkViewport viewport = {0, 0, 640, 480, 0, 1};
static const VkBuffer vertex_buffers[] = {HANDLE(VkBuffer, GUEST_BUFFER)};
static const VkDeviceSize vertex_offsets[] = {0};
static const VkDescriptorSet sets[] = {HANDLE(VkDescriptorSet, SET)};
static const VkDescriptorBufferInfo buffer_info = {HANDLE(VkBuffer, GUEST_BUFFER), 0, 256};
static const VkWriteDescriptorSet write_set = {.sType = VK_STRUCTURE_TYPE_WRITE_DESCRIPTOR_SET,
                                               .dstSet = HANDLE(VkDescriptorSet, SET),
                                               .descriptorCount = 1,
                                               .descriptorType = VK_DESCRIPTOR_TYPE_STORAGE_BUFFER,
                                               .pBufferInfo = &buffer_info};
static const VkCommandBufferBeginInfo begin_info = {
    .sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
static const VkCommandBuffer submitted[] = {COMMANDS};
static const VkSubmitInfo submit_info = {
    .sType = VK_STRUCTURE_TYPE_SUBMIT_INFO, .commandBufferCount = 1, .pCommandBuffers = submitted};
static const float push_data[4];

static const struct pv_vn_vkCmdDraw draw = {.commandBuffer = COMMANDS, .vertexCount = 3};
static const struct pv_vn_vkCmdDrawIndexed draw_indexed = {.commandBuffer = COMMANDS};
static const struct pv_vn_vkCmdPushConstants push = {.commandBuffer = COMMANDS,
                                                     .layout = HANDLE(VkPipelineLayout, LAYOUT),
                                                     .size = sizeof(push_data),
                                                     .pValues = push_data};
static const struct pv_vn_vkCmdBindPipeline bind_pipeline = {
    .commandBuffer = COMMANDS, .pipeline = HANDLE(VkPipeline, PIPELINE)};
static const struct pv_vn_vkCmdBindDescriptorSets bind_sets = {.commandBuffer = COMMANDS,
                                                               .layout =
                                                                   HANDLE(VkPipelineLayout, LAYOUT),
                                                               .descriptorSetCount = 1,
                                                               .pDescriptorSets = sets};
static const struct pv_vn_vkCmdBindVertexBuffers bind_vertices = {.commandBuffer = COMMANDS,
                                                                  .bindingCount = 1,
                                                                  .pBuffers = vertex_buffers,
                                                                  .pOffsets = vertex_offsets};
static const struct pv_vn_vkCmdSetViewport set_viewport = {
    .commandBuffer = COMMANDS, .viewportCount = 1, .pViewports = &viewport};
static const struct pv_vn_vkCmdDispatch dispatch = {.commandBuffer = COMMANDS};
static const struct pv_vn_vkCmdPipelineBarrier barrier = {
    .commandBuffer = COMMANDS, .memoryBarrierCount = 1, .pMemoryBarriers = &memory_barrier};
static const struct pv_vn_vkUpdateDescriptorSets update = {.device = HANDLE(VkDevice, GUEST_DEVICE),
                                                           .descriptorWriteCount = 1,
                                                           .pDescriptorWrites = &write_set};
static const struct pv_vn_vkBeginCommandBuffer begin = {.commandBuffer = COMMANDS,
                                                        .pBeginInfo = &begin_info};
static const struct pv_vn_vkQueueSubmit submit = {
    .queue = HANDLE(VkQueue, GUEST_QUEUE), .submitCount = 1, .pSubmits = &submit_info};
static const struct pv_vn_vkGetFenceStatus status = {.device = HANDLE(VkDevice, GUEST_DEVICE),
                                                     .fence = HANDLE(VkFence, GUEST_FENCE)};

static const struct {
    unsigned command;
    const void *args;
    bool reply;
} rows[] = {
    {PV_VN_COMMAND_vkCmdDraw, &draw, false},
    {PV_VN_COMMAND_vkCmdDrawIndexed, &draw_indexed, false},
    {PV_VN_COMMAND_vkCmdPushConstants, &push, false},
    {PV_VN_COMMAND_vkCmdBindPipeline, &bind_pipeline, false},
    {PV_VN_COMMAND_vkCmdBindDescriptorSets, &bind_sets, false},
    {PV_VN_COMMAND_vkCmdBindVertexBuffers, &bind_vertices, false},
    {PV_VN_COMMAND_vkCmdSetViewport, &set_viewport, false},
    {PV_VN_COMMAND_vkCmdDispatch, &dispatch, false},
    {PV_VN_COMMAND_vkCmdPipelineBarrier, &barrier, false},
    {PV_VN_COMMAND_vkUpdateDescriptorSets, &update, false},
    {PV_VN_COMMAND_vkBeginCommandBuffer, &begin, false},
    {PV_VN_COMMAND_vkQueueSubmit, &submit, false},
    {PV_VN_COMMAND_vkGetFenceStatus, &status, true},
};

static void add_objects(struct pv_vn_context *ctx, struct pv_vn_device *device)
{
    static const uint16_t types[] = {PV_VN_HANDLE_VkPipeline, PV_VN_HANDLE_VkPipelineLayout,
                                     PV_VN_HANDLE_VkDescriptorSet, PV_VN_HANDLE_VkImage};
    for (size_t i = 0; i < PV_ARRAY_SIZE(types); i++)
        pv_vn_object_add(
            ctx, &(struct pv_gpu_entry){
                     .id = PIPELINE + i, .handle = 0x5000, .type = types[i], .owner = device});
    /* A table as full as a program's. */
    for (uint64_t id = 1000; id < 6000; id++)
        pv_vn_object_add(ctx, &(struct pv_gpu_entry){.id = id * 64,
                                                     .handle = 0x6000,
                                                     .type = PV_VN_HANDLE_VkImage,
                                                     .owner = device});
}

static void measure(struct pv_vn_stream *stream, const char *name, const uint8_t *one, size_t size,
                    unsigned millions)
{
    uint8_t *batch = malloc(BATCH * size);
    if (!batch)
        abort();
    for (unsigned i = 0; i < BATCH; i++)
        memcpy(batch + i * size, one, size);
    uint64_t best = UINT64_MAX;
    unsigned rounds = (unsigned)(millions * UINT64_C(1000000) / BATCH) + 1;
    for (unsigned i = 0; i < rounds; i++) {
        uint64_t from = pv_clock_ns();
        stream->reply_at = 0;
        if (!pv_vn_stream_run(stream, batch, BATCH * size))
            abort();
        best = PV_MIN(best, pv_clock_ns() - from);
    }
    free(batch);
    printf("%-26s %4zu bytes %7.1f ns\n", name, size, (double)best / BATCH);
}

static void measure_row(struct pv_vn_stream *stream, unsigned row, unsigned millions)
{
    uint8_t one[1024];
    size_t size =
        guest_encode(one, sizeof(one), rows[row].command, rows[row].reply, rows[row].args);
    measure(stream, pv_vn_commands[rows[row].command].name, one, size, millions);
}

/* What vk_client's frames are made of. */
static void measure_pair(struct pv_vn_stream *stream, unsigned millions)
{
    uint8_t pair[1024];
    size_t size = guest_encode(pair, sizeof(pair), PV_VN_COMMAND_vkCmdPushConstants, 0, &push);
    size += guest_encode(pair + size, sizeof(pair) - size, PV_VN_COMMAND_vkCmdDraw, 0, &draw);
    measure(stream, "push constants and draw", pair, size, millions);
}

int main(int argc, char **argv)
{
    const struct pv_renderer_config config = {0};
    unsigned millions = argc > 1 ? (unsigned)strtoul(argv[1], NULL, 10) : 2;
    struct pv_vn_context *ctx;
    struct pv_vn_stream stream;
    struct pv_gpu_memory *reply;
    if (pv_vn_context_create(&ctx, 1, "bench", &mock_vulkan_driver, &config, NULL) < 0 ||
        pv_gpu_memory_create(&reply, 65536, PV_BLOB_CACHED, NULL) < 0 ||
        pv_vn_context_attach(ctx, GUEST_REPLY, reply) < 0)
        return 1;
    pv_gpu_memory_unref(reply);
    pv_vn_stream_init(&stream, ctx, NULL);
    guest_begin(&stream);
    add_objects(ctx, ctx->devices);
    for (unsigned i = 0; i < PV_ARRAY_SIZE(rows); i++)
        measure_row(&stream, i, millions);
    measure_pair(&stream, millions);
    pv_vn_stream_finish(&stream);
    pv_vn_context_destroy(ctx);
    return 0;
}
