/* SPDX-License-Identifier: MIT */
/*
 * Streams: decode a command, execute it, encode its reply.
 *
 * Most commands are plain: their handles are looked up while decoding, a generated thunk calls the
 * driver, and handles made or destroyed are entered in the context's table or struck from it. What
 * needs more has a handler, in the file of its subject.
 *
 * A creation that fails leaves a dead object behind its id: the guest does not wait for results, so
 * it may name the object before it hears. Commands that name a dead object are skipped, and
 * answered with an error where an answer is wanted.
 */
#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/util.h"
#include "gpu/venus/context.h"

typedef void handler_fn(struct pv_vn_stream *stream, void *args);

static handler_fn *const handlers[PV_VN_COMMAND_COUNT] = {
#define X(name) [PV_VN_COMMAND_##name] = pv_vn_do_##name,
    PV_VN_HANDLERS(X)
#undef X
};

static bool dispatchable(unsigned type)
{
    return type == PV_VN_HANDLE_VkInstance || type == PV_VN_HANDLE_VkPhysicalDevice ||
           type == PV_VN_HANDLE_VkDevice || type == PV_VN_HANDLE_VkQueue ||
           type == PV_VN_HANDLE_VkCommandBuffer;
}

static unsigned role_type(const struct pv_vn_command *cmd)
{
    return pv_vn_params[cmd->first_param + cmd->role_param].type;
}

static bool remember_id(struct pv_vn_stream *stream, uint64_t id)
{
    if (stream->id_count == stream->id_room) {
        size_t room = stream->id_room ? stream->id_room * 2 : 64;
        uint64_t *ids = realloc(stream->ids, room * sizeof(*ids));
        if (!ids)
            return false;
        stream->ids = ids;
        stream->id_room = room;
    }
    stream->ids[stream->id_count++] = id;
    return true;
}

/*
 * The object's entry, from what the stream remembers or from the table; valid until the next call.
 * An object that another thread removes just now is one that the guest uses and destroys at once:
 * either answer would be right.
 */
static const struct pv_gpu_entry *look_up(struct pv_vn_stream *stream, unsigned type, uint64_t id)
{
    struct pv_vn_recent *recent = &stream->recent[(id ^ id >> 6) % PV_VN_RECENT];
    uint64_t era = atomic_load_explicit(&stream->ctx->objects_era, memory_order_acquire);
    if (recent->era == era && recent->entry.id == id && recent->entry.type == type)
        return &recent->entry;
    recent->era = era;
    recent->entry.id = 0;
    return pv_vn_object_get(stream->ctx, type, id, &recent->entry) ? &recent->entry : NULL;
}

/* The decoder's way from ids to handles. */
static bool resolve(void *opaque, unsigned type, uint64_t id, uint64_t *handle, bool *dead)
{
    struct pv_vn_stream *stream = opaque;
    const struct pv_gpu_entry *entry = look_up(stream, type, id);
    if (!entry)
        return false;
    *handle = entry->handle;
    if (type == PV_VN_HANDLE_VkCommandPool || type == PV_VN_HANDLE_VkDescriptorPool)
        stream->pool = id;
    if (!stream->self.id && dispatchable(type))
        stream->self = *entry;
    if (stream->cmd->role == PV_VN_ROLE_DESTROY && role_type(stream->cmd) == type)
        return remember_id(stream, id);
    if (entry->dead)
        *dead = true;
    return true;
}

void pv_vn_stream_init(struct pv_vn_stream *stream, struct pv_vn_context *ctx,
                       struct pv_vn_ring *ring)
{
    *stream = (struct pv_vn_stream){.ctx = ctx, .ring = ring};
    stream->arena = PV_VN_ARENA_INIT(PV_VN_ARENA_MAX);
    stream->dec =
        (struct pv_vn_decoder){.arena = &stream->arena, .resolve = resolve, .opaque = stream};
}

void pv_vn_stream_finish(struct pv_vn_stream *stream)
{
    pv_vn_arena_finish(&stream->arena);
    pv_gpu_memory_unref(stream->reply);
    free(stream->ids);
}

void *pv_vn_stream_alloc(struct pv_vn_stream *stream, size_t size)
{
    void *data = pv_vn_arena_alloc(&stream->arena, size);
    if (!data)
        pv_vn_context_lose(stream->ctx, "%s takes too much memory", stream->cmd->name);
    return data;
}

struct pv_vn_device *pv_vn_stream_device(const struct pv_vn_stream *stream)
{
    if (stream->self.type == PV_VN_HANDLE_VkQueue)
        return ((struct pv_vn_queue *)stream->self.owner)->device;
    return stream->self.owner;
}

bool pv_vn_stream_call(struct pv_vn_stream *stream, void *args)
{
    const struct pv_vn_command *cmd = stream->cmd;
    unsigned index = cmd - pv_vn_commands;
    const PFN_vkVoidFunction *procs = stream->ctx->global_procs;
    if (cmd->level == PV_VN_LEVEL_DEVICE)
        procs = pv_vn_stream_device(stream)->procs;
    else if (stream->self.type == PV_VN_HANDLE_VkPhysicalDevice)
        procs = ((struct pv_vn_physical *)stream->self.owner)->instance->procs;
    else if (cmd->level == PV_VN_LEVEL_INSTANCE)
        procs = ((struct pv_vn_instance *)stream->self.owner)->procs;
    if (!procs[index] || !pv_vn_calls[index]) {
        pv_vn_context_lose(stream->ctx, "%s: the host driver has no such command", cmd->name);
        return false;
    }
    pv_vn_calls[index](procs[index], args);
    return true;
}

static VkResult result_of(const struct pv_vn_command *cmd, const void *args)
{
    VkResult result = VK_SUCCESS;
    if (cmd->ret == PV_VN_RET_RESULT)
        memcpy(&result, (const char *)args + cmd->ret_offset, sizeof(result));
    return result;
}

static void set_result(const struct pv_vn_command *cmd, void *args, VkResult result)
{
    if (cmd->ret == PV_VN_RET_RESULT)
        memcpy((char *)args + cmd->ret_offset, &result, sizeof(result));
}

void pv_vn_stream_register(struct pv_vn_stream *stream, void *args, void *owner)
{
    const struct pv_vn_command *cmd = stream->cmd;
    const struct pv_vn_field *field = &pv_vn_params[cmd->first_param + cmd->role_param];
    const uint64_t *ids, *handles;
    memcpy(&ids, (char *)args + field->ids, sizeof(ids));
    memcpy(&handles, (char *)args + field->offset, sizeof(handles));
    uint64_t count = field->shape == PV_VN_POINTER ? 1 : pv_vn_array_length(field, args);
    if (!ids)
        return;
    /* Pipelines may come out in part: those that failed are null and dead. */
    for (uint64_t i = 0; i < count; i++) {
        struct pv_gpu_entry entry = {.id = ids[i],
                                     .handle = handles[i],
                                     .parent = stream->pool,
                                     .owner = owner,
                                     .type = field->type,
                                     .dead = !handles[i]};
        if (!pv_vn_object_add(stream->ctx, &entry))
            return;
    }
}

static void strike_destroyed(struct pv_vn_stream *stream)
{
    for (size_t i = 0; i < stream->id_count; i++)
        pv_vn_object_remove(stream->ctx, stream->ids[i], NULL);
}

static void execute(struct pv_vn_stream *stream, void *args)
{
    const struct pv_vn_command *cmd = stream->cmd;
    handler_fn *handler = handlers[cmd - pv_vn_commands];
    void *owner = stream->self.type == PV_VN_HANDLE_VkDevice ? stream->self.owner : NULL;
    if (stream->dec.dead) {
        set_result(cmd, args, VK_ERROR_OUT_OF_DEVICE_MEMORY);
        if (cmd->role == PV_VN_ROLE_CREATE)
            pv_vn_stream_register(stream, args, owner);
        return;
    }
    if (handler) {
        handler(stream, args);
        return;
    }
    if (cmd->role == PV_VN_ROLE_DESTROY)
        strike_destroyed(stream);
    if (pv_vn_stream_call(stream, args) && cmd->role == PV_VN_ROLE_CREATE) {
        if (result_of(cmd, args) < 0)
            pv_trace(PV_LOG_VENUS, "%s: %s: %d", stream->ctx->name, cmd->name,
                     result_of(cmd, args));
        pv_vn_stream_register(stream, args, owner);
    }
}

static uint64_t name_handle(void *opaque, unsigned type, uint64_t handle)
{
    struct pv_vn_stream *stream = opaque;
    if (type != PV_VN_HANDLE_VkPhysicalDevice || stream->self.type != PV_VN_HANDLE_VkInstance)
        return 0;
    const struct pv_vn_instance *instance = stream->self.owner;
    for (uint32_t i = 0; i < instance->physical_count; i++)
        if ((uint64_t)(uintptr_t)instance->physicals[i].handle == handle)
            return instance->physicals[i].id;
    return 0;
}

static void reply(struct pv_vn_stream *stream, const void *args)
{
    if (!stream->reply) {
        pv_vn_context_lose(stream->ctx, "%s wants a reply, but no reply stream is set",
                           stream->cmd->name);
        return;
    }
    uint8_t *base = (uint8_t *)stream->reply->mapping.data + stream->reply_start;
    struct pv_vn_encoder enc = {.cur = base + stream->reply_at,
                                .end = base + stream->reply_size,
                                .name = name_handle,
                                .opaque = stream};
    pv_vn_encode_reply(&enc, stream->cmd, args);
    if (enc.failed)
        pv_vn_context_lose(stream->ctx, "%s: the reply stream is full", stream->cmd->name);
    else
        stream->reply_at = enc.cur - base;
}

/* ---- One command ---- */

#define FLAT_HEAD 16 /* number, flags, command buffer */

bool pv_vn_flat_handle(const struct pv_vn_flat_in *in, unsigned type, const uint8_t *at,
                       bool optional, void *handle)
{
    uint64_t id;
    memcpy(&id, at, sizeof(id));
    const struct pv_gpu_entry *entry = id ? look_up(in->stream, type, id) : NULL;
    uint64_t value = entry ? entry->handle : 0;
    memcpy(handle, &value, sizeof(value));
    return entry ? !entry->dead : !id && optional;
}

/*
 * Flat commands (calls.h) from data on, up to the first that is none or needs a closer look, which
 * the tables decode. Returns the bytes used. A frame is mostly long runs of them for one command
 * buffer, so what that is is asked for once in a run, and again when any object was removed.
 */
static size_t run_flats(struct pv_vn_stream *stream, const uint8_t *data, size_t size)
{
    const PFN_vkVoidFunction *procs = NULL;
    uint64_t known_id = 0, known_era = 0;
    struct pv_vn_flat_in in = {.stream = stream};
    size_t at = 0;
    while (size - at >= FLAT_HEAD && !pv_vn_context_gone(stream->ctx)) {
        uint32_t head[2];
        uint64_t id;
        memcpy(head, data + at, sizeof(head));
        memcpy(&id, data + at + sizeof(head), sizeof(id));
        unsigned index = head[0] < PV_VN_COMMAND_NUMBERS ? pv_vn_command_by_number[head[0]] : 0;
        pv_vn_flat_fn *flat = index ? pv_vn_flats[index - 1] : NULL;
        if (!flat || head[1])
            break;
        uint64_t era = atomic_load_explicit(&stream->ctx->objects_era, memory_order_acquire);
        if (!procs || id != known_id || era != known_era) {
            const struct pv_gpu_entry *entry = look_up(stream, PV_VN_HANDLE_VkCommandBuffer, id);
            if (!entry || entry->dead)
                break;
            known_id = id;
            known_era = era;
            procs = ((const struct pv_vn_device *)entry->owner)->procs;
            in.commands = (VkCommandBuffer)(uintptr_t)entry->handle;
        }
        in.proc = procs[index - 1];
        in.at = data + at + FLAT_HEAD;
        in.size = size - at - FLAT_HEAD;
        size_t used = in.proc ? flat(&in) : 0;
        if (!used)
            break;
        at += FLAT_HEAD + used;
    }
    return at;
}

/* One command, by the tables; the bytes it took, 0 when the context was lost. */
static size_t run_one(struct pv_vn_stream *stream, const void *data, size_t size)
{
    struct pv_vn_decoder *dec = &stream->dec;
    dec->cur = data;
    dec->end = dec->cur + size;
    dec->failed = dec->dead = false;
    stream->self = (struct pv_gpu_entry){0};
    stream->id_count = 0;
    stream->pool = 0;
    pv_vn_arena_reset(&stream->arena);

    uint32_t number = pv_vn_get_u32(dec);
    uint32_t flags = pv_vn_get_u32(dec);
    stream->cmd = dec->failed ? NULL : pv_vn_command_find(number);
    if (!stream->cmd || flags & ~1u) {
        pv_vn_context_lose(stream->ctx, "no command %u (flags 0x%x)", number, flags);
        return 0;
    }
    stream->flags = flags;
    memset(stream->args, 0, stream->cmd->args_size);
    if (!pv_vn_decode_request(dec, stream->cmd, stream->args)) {
        pv_vn_context_lose(stream->ctx, "%s: %s", stream->cmd->name, dec->why);
        return 0;
    }
    size_t used = dec->cur - (const uint8_t *)data;
    const struct pv_vn_command *cmd = stream->cmd;
    execute(stream, stream->args);
    stream->cmd = cmd;
    if (flags & 1 && !pv_vn_context_gone(stream->ctx))
        reply(stream, stream->args);
    return pv_vn_context_gone(stream->ctx) ? 0 : used;
}

size_t pv_vn_stream_some(struct pv_vn_stream *stream, const void *data, size_t size)
{
    size_t flat = run_flats(stream, data, size);
    if (pv_vn_context_gone(stream->ctx))
        return 0;
    return flat ? flat : run_one(stream, data, size);
}

bool pv_vn_stream_run(struct pv_vn_stream *stream, const void *data, size_t size)
{
    const char *at = data;
    while (size) {
        size_t used = pv_vn_stream_some(stream, at, size);
        if (!used)
            return false;
        at += used;
        size -= used;
    }
    return true;
}
