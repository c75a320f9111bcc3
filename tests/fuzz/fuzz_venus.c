/* SPDX-License-Identifier: MIT */
/*
 * Command streams as a guest could send them, onto a mock Vulkan driver that says yes to
 * everything. Every input starts with an instance, a device and a few objects (ids 1 to 9,
 * mock_vulkan.h), so that what it makes up has something to name; then come records: a command, a
 * length, and parameter words.
 */
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
        play(ctx, &stream, &input);
        pv_vn_stream_finish(&stream);
    }
    pv_vn_context_destroy(ctx);
    return 0;
}
