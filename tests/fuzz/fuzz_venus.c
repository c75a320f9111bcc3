/* SPDX-License-Identifier: MIT */
/*
 * Command streams as a guest could send them, onto a mock Vulkan driver that says yes to
 * everything. Every input starts with an instance, a device and a few objects (ids 1 to 9,
 * mock_vulkan.h), so that what it makes up has something to name; then come records: a command, a
 * length, and parameter words. They go to the stream, or through a ring whose words the input
 * overwrites meanwhile: that half depends on timing, so a finding may take several replays.
 */
#include <sched.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "fuzz.h"
#include "gpu/renderer.h"
#include "mock_vulkan.h"

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

/* ---- The same through a ring, whose memory the guest scribbles on while we read it ---- */

enum { RING = 5, RING_ID = 9, TAIL = 64, STATUS = 128, BUFFER = 192, ROOM = 1024 };

static _Atomic uint32_t *ring_word(struct pv_gpu_memory *pages, size_t offset)
{
    return (_Atomic uint32_t *)(void *)((char *)pages->mapping.data + offset);
}

static void make_ring(struct pv_vn_stream *stream)
{
    const VkRingMonitorInfoMESA monitor = {.sType = PV_VN_STYPE_VkRingMonitorInfoMESA,
                                           .maxReportingPeriodMicroseconds = 3000};
    const VkRingCreateInfoMESA info = {.sType = PV_VN_STYPE_VkRingCreateInfoMESA,
                                       .pNext = &monitor,
                                       .resourceId = RING,
                                       .size = BUFFER + ROOM + 4,
                                       .idleTimeout = 20000,
                                       .tailOffset = TAIL,
                                       .statusOffset = STATUS,
                                       .bufferOffset = BUFFER,
                                       .bufferSize = ROOM,
                                       .extraOffset = BUFFER + ROOM,
                                       .extraSize = 4};
    const struct pv_vn_vkCreateRingMESA create = {.ring = RING_ID, .pCreateInfo = &info};
    guest_run(stream, PV_VN_COMMAND_vkCreateRingMESA, &create);
}

/* One command behind what is there, around the end where it comes to that. */
static uint32_t append(struct pv_gpu_memory *pages, uint32_t tail, struct fuzz_input *input)
{
    unsigned command = (unsigned)fuzz_take(input, 2) % PV_VN_COMMAND_COUNT;
    unsigned count = 2 + (unsigned)fuzz_take(input, 1) % 14;
    for (unsigned i = 0; i < count; i++, tail += 4) {
        uint32_t value = i == 0   ? pv_vn_commands[command].number
                         : i == 1 ? 0
                                  : (uint32_t)fuzz_take(input, i % 2 ? 1 : 2);
        atomic_store(ring_word(pages, BUFFER + tail % ROOM), value);
    }
    atomic_store(ring_word(pages, TAIL), tail);
    return tail;
}

static void play_ring(struct pv_vn_context *ctx, struct pv_vn_stream *stream,
                      struct fuzz_input *input)
{
    const struct pv_vn_vkNotifyRingMESA notify = {.ring = RING_ID};
    struct pv_gpu_memory *pages;
    uint32_t tail = 0;
    uint8_t bytes[64];
    if (pv_gpu_memory_create(&pages, BUFFER + ROOM + 4, PV_BLOB_CACHED, NULL) < 0)
        return;
    pv_vn_context_attach(ctx, RING, pages);
    make_ring(stream);
    size_t size = guest_encode(bytes, sizeof(bytes), PV_VN_COMMAND_vkNotifyRingMESA, 0, &notify);
    while (input->size && !pv_vn_context_gone(ctx)) {
        switch (fuzz_take(input, 1) % 8) {
        case 0: pv_vn_context_queue(ctx, bytes, size, 0, 0, NULL); break;
        case 1: { /* anywhere: head, tail, status, a command that is being read */
            size_t at = fuzz_take(input, 2) % ((BUFFER + ROOM) / 4) * 4;
            atomic_store(ring_word(pages, at), (uint32_t)fuzz_take(input, 2));
            break;
        }
        case 2: sched_yield(); break;
        default: tail = append(pages, tail, input);
        }
    }
    pv_vn_ring_destroy(ctx, RING_ID);
    pv_gpu_memory_unref(pages);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const struct pv_renderer_config config = {.context_memory_max = 1 << 24};
    struct fuzz_input input = {data, size};
    struct pv_vn_context *ctx;
    struct pv_vn_stream stream;
    struct pv_gpu_memory *reply;
    pv_log_set_sink(drop_line, NULL);
    if (pv_vn_context_create(&ctx, 1, "fuzz", &mock_vulkan_driver, &config, NULL) < 0)
        return 0;
    if (pv_gpu_memory_create(&reply, 65536, PV_BLOB_CACHED, NULL) == 0) {
        pv_vn_context_attach(ctx, GUEST_REPLY, reply);
        pv_gpu_memory_unref(reply);
        pv_vn_stream_init(&stream, ctx, NULL);
        guest_begin(&stream);
        if (fuzz_take(&input, 1) & 1)
            play_ring(ctx, &stream, &input);
        else
            play(ctx, &stream, &input);
        pv_vn_stream_finish(&stream);
    }
    pv_vn_context_destroy(ctx);
    return 0;
}
