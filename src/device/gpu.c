/* SPDX-License-Identifier: MIT */
/*
 * virtio-gpu: its queues, its fences and its life.
 *
 * A request is copied out of the guest's memory whole, checked against a table that says how long
 * it is and which feature it needs, and carried out on the device's loop; the response says how it
 * went (5.7.6.7). Nothing that a guest asks for is fatal to the device: it gets an error code.
 *
 * Fences. A request with VIRTIO_GPU_FLAG_FENCE is answered when all it started is done. What the
 * device does itself is done at once; for what went to a context, the renderer is asked for a fence
 * on the request's ring. Drivers take the answer to one fence as that to all older ones of the same
 * timeline, so answers of one timeline keep their order: there is one for each ring of a context,
 * and one for all fences that name no ring.
 *
 * The renderer reports from threads of its own, which must not wait for the device's lock: the
 * device may be waiting for those very threads. They note the fence's serial number under a lock of
 * its own, and the loop does the rest.
 *
 * Reset comes on a vCPU's thread, which should not wait for a renderer to wind up its contexts. It
 * forgets the requests, and leaves the rest to the loop, which sees to it before it looks at the
 * next request.
 */
#include "device/gpu_impl.h"

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "host/loop.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>

enum { CONTROL_QUEUE, CURSOR_QUEUE, QUEUE_COUNT };

#define MAX_RESOURCES (1u << 18)
#define MAX_CONTEXTS  1024u

/* ---- Requests ---- */

static const struct command {
    enum gpu_type type;
    unsigned queue;
    int feature; /* that the driver must have taken; -1: none */
    size_t size; /* of the fixed part */
    gpu_command_fn *run;
} commands[] = {
#define C(name, feature, part, fn)                                                                 \
    {                                                                                              \
        GPU_CMD_##name, CONTROL_QUEUE, feature, sizeof(struct part), fn                            \
    }
    C(GET_DISPLAY_INFO, -1, gpu_header, gpu_get_display_info),
    C(RESOURCE_CREATE_2D, -1, gpu_create_2d, gpu_resource_create_2d),
    C(RESOURCE_UNREF, -1, gpu_name, gpu_resource_unref),
    C(SET_SCANOUT, -1, gpu_set_scanout, gpu_set_scanout),
    C(RESOURCE_FLUSH, -1, gpu_flush, gpu_flush),
    C(TRANSFER_TO_HOST_2D, -1, gpu_transfer_2d, gpu_transfer_to_host_2d),
    C(RESOURCE_ATTACH_BACKING, -1, gpu_attach_backing, gpu_attach_backing),
    C(RESOURCE_DETACH_BACKING, -1, gpu_name, gpu_detach_backing),
    C(GET_CAPSET_INFO, GPU_F_VIRGL, gpu_name, gpu_get_capset_info),
    C(GET_CAPSET, GPU_F_VIRGL, gpu_name, gpu_get_capset),
    C(GET_EDID, GPU_F_EDID, gpu_name, gpu_get_edid),
    C(RESOURCE_ASSIGN_UUID, GPU_F_RESOURCE_UUID, gpu_name, gpu_assign_uuid),
    C(RESOURCE_CREATE_BLOB, GPU_F_RESOURCE_BLOB, gpu_create_blob, gpu_create_blob),
    C(SET_SCANOUT_BLOB, GPU_F_RESOURCE_BLOB, gpu_set_scanout_blob, gpu_set_scanout_blob),
    C(CTX_CREATE, GPU_F_VIRGL, gpu_ctx_create, gpu_ctx_create),
    C(CTX_DESTROY, GPU_F_VIRGL, gpu_header, gpu_ctx_destroy),
    C(CTX_ATTACH_RESOURCE, GPU_F_VIRGL, gpu_name, gpu_ctx_attach),
    C(CTX_DETACH_RESOURCE, GPU_F_VIRGL, gpu_name, gpu_ctx_detach),
    C(RESOURCE_CREATE_3D, GPU_F_VIRGL, gpu_create_3d, gpu_resource_create_3d),
    C(TRANSFER_TO_HOST_3D, GPU_F_VIRGL, gpu_transfer_3d, gpu_transfer_3d),
    C(TRANSFER_FROM_HOST_3D, GPU_F_VIRGL, gpu_transfer_3d, gpu_transfer_3d),
    C(SUBMIT_3D, GPU_F_VIRGL, gpu_submit_3d, gpu_submit_3d),
    C(RESOURCE_MAP_BLOB, GPU_F_RESOURCE_BLOB, gpu_map_blob, gpu_map_blob),
    C(RESOURCE_UNMAP_BLOB, GPU_F_RESOURCE_BLOB, gpu_name, gpu_unmap_blob),
#undef C
    {GPU_CMD_UPDATE_CURSOR, CURSOR_QUEUE, -1, sizeof(struct gpu_update_cursor), gpu_update_cursor},
    {GPU_CMD_MOVE_CURSOR, CURSOR_QUEUE, -1, sizeof(struct gpu_update_cursor), gpu_move_cursor},
};

/* The longest fixed part. */
union any_command {
    struct gpu_header header;
    struct gpu_ctx_create ctx_create;
    struct gpu_set_scanout_blob set_scanout_blob;
    struct gpu_create_3d create_3d;
};

static const struct command *find_command(const struct gpu *gpu, unsigned queue, uint32_t type)
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(commands); i++) {
        const struct command *c = &commands[i];
        if (c->type == (enum gpu_type)type && c->queue == queue &&
            (c->feature < 0 || pv_virtio_has_feature(&gpu->base, (unsigned)c->feature)))
            return c;
    }
    return NULL;
}

/* Carries a request out and returns the response's type. */
static enum gpu_type execute(struct gpu *gpu, struct gpu_request *request, unsigned queue)
{
    union any_command command;
    const struct command *found = find_command(gpu, queue, request->header.type);
    if (!found)
        return GPU_ERR_UNSPEC;
    if (request->chain->out_bytes < found->size)
        return GPU_ERR_INVALID_PARAMETER;
    pv_virtq_read(request->chain, 0, &command, found->size);
    command.header = request->header; /* what was looked at is what is used */
    request->command_size = found->size;
    return found->run(gpu, request, &command);
}

/* Writes the response into the chain, as much as there is room for; returns how much that was. */
static size_t respond(const struct gpu_request *request, enum gpu_type type)
{
    struct gpu_header header = {.type = type};
    if (request->header.flags & GPU_FLAG_FENCE) {
        header.flags = request->header.flags & (GPU_FLAG_FENCE | GPU_FLAG_RING_IDX);
        header.fence_id = request->header.fence_id;
        header.ctx_id = request->header.ctx_id;
        header.ring_idx = request->header.ring_idx;
    }
    size_t written = pv_virtq_write(request->chain, 0, &header, sizeof(header));
    if (type < GPU_ERR_UNSPEC && request->out_size)
        written += pv_virtq_write(request->chain, sizeof(header), &request->out, request->out_size);
    return written;
}

/* ---- Fences ---- */

/* From any of the renderer's threads, or from within a call of it. */
static void fence_done(void *opaque, uint32_t context, uint32_t timeline, uint64_t serial)
{
    struct gpu *gpu = opaque;
    pthread_mutex_lock(&gpu->fence_lock);
    bool ours = serial >= gpu->first_serial && gpu->reached_count < GPU_QUEUE_SIZE;
    if (ours)
        gpu->reached[gpu->reached_count++] = serial;
    pthread_mutex_unlock(&gpu->fence_lock);
    if (ours)
        pv_event_signal(gpu->event);
}

static void mark_reached(struct gpu *gpu)
{
    pthread_mutex_lock(&gpu->fence_lock);
    for (unsigned i = 0; i < gpu->reached_count; i++)
        for (unsigned p = 0; p < gpu->pending_count; p++)
            if (gpu->pending[p].serial == gpu->reached[i])
                gpu->pending[p].done = true;
    gpu->reached_count = 0;
    pthread_mutex_unlock(&gpu->fence_lock);
}

/* Whether an older request of the same timeline, among the first `count`, is not answered yet. */
static bool must_wait(const struct gpu *gpu, unsigned count, uint64_t order)
{
    for (unsigned i = 0; i < count; i++)
        if (gpu->pending[i].order == order)
            return true;
    return false;
}

/* Answers what can be answered. */
static void answer_pending(struct gpu *gpu)
{
    struct pv_virtq *queue = pv_virtio_queue(&gpu->base, CONTROL_QUEUE);
    unsigned kept = 0;
    mark_reached(gpu);
    for (unsigned i = 0; i < gpu->pending_count; i++) {
        struct gpu_pending *pending = &gpu->pending[i];
        if (pending->done && !must_wait(gpu, kept, pending->order))
            pv_virtq_push(queue, &pending->chain, pending->written);
        else
            gpu->pending[kept++] = *pending;
    }
    if (kept < gpu->pending_count)
        pv_virtq_notify(queue);
    gpu->pending_count = kept;
}

void gpu_fences_abandon(struct gpu *gpu, uint32_t context)
{
    for (unsigned i = 0; i < gpu->pending_count; i++)
        if (gpu->pending[i].context == context)
            gpu->pending[i].done = true;
}

/* Whether what the request started goes on after it was executed. */
static bool goes_on(const struct gpu *gpu, const struct gpu_request *request, enum gpu_type type)
{
    return type < GPU_ERR_UNSPEC && request->header.type >= GPU_CMD_CTX_CREATE &&
           gpu_context_renders(gpu, request->header.ctx_id);
}

/* A fenced request's answer waits: for the renderer, or for older ones of its timeline. */
static void hold(struct gpu *gpu, const struct gpu_request *request, enum gpu_type type)
{
    const struct gpu_header *header = &request->header;
    const bool ring = header->flags & GPU_FLAG_RING_IDX;
    const uint32_t timeline = ring ? header->ring_idx : 0;
    const uint64_t serial = gpu->next_serial++;
    bool done = true;
    struct gpu_pending *pending = &gpu->pending[gpu->pending_count++];
    *pending = (struct gpu_pending){
        .chain = *request->chain,
        .serial = serial,
        .order = ring ? (uint64_t)header->ctx_id << 16 | timeline << 8 | 1 : 0,
    };
    if (goes_on(gpu, request, type)) {
        PV_CLEANUP_ERROR struct pv_error *err = NULL;
        pending->context = header->ctx_id;
        done = pv_renderer_fence(gpu->renderer, header->ctx_id, timeline, serial, &err) < 0;
        if (done) {
            pv_debug(PV_LOG_GPU, "refused: %s", pv_error_message(err));
            type = GPU_ERR_INVALID_PARAMETER;
        }
    }
    pending->done = done;
    pending->written = respond(request, type);
}

/* ---- Queues ---- */

void gpu_clear(struct gpu *gpu)
{
    for (unsigned i = 0; i < gpu->heads; i++) {
        gpu_scanout_off(gpu, i);
        pv_display_set_cursor(gpu->display, i, NULL);
    }
    gpu_resource_free_all(gpu);
    if (gpu->renderer)
        gpu_contexts_free(gpu);
    gpu->stale = false;
}

/* Answers a request, or takes its chain over. */
static void handle(struct gpu *gpu, struct pv_virtq *queue, unsigned index,
                   struct pv_virtq_chain *chain)
{
    struct gpu_request request;
    request.chain = chain;
    request.out_size = 0;
    request.command_size = 0;
    request.header = (struct gpu_header){0};
    pv_virtq_read(chain, 0, &request.header, sizeof(request.header));
    enum gpu_type type = execute(gpu, &request, index);
    if (type >= GPU_ERR_UNSPEC)
        pv_debug(PV_LOG_GPU, "command %#x: error %#x", request.header.type, (unsigned)type);
    if (index == CONTROL_QUEUE && (request.header.flags & GPU_FLAG_FENCE))
        hold(gpu, &request, type);
    else
        pv_virtq_push(queue, chain, respond(&request, type));
}

static void queue_ready(struct pv_virtio_device *dev, unsigned index)
{
    struct gpu *gpu = (struct gpu *)dev;
    struct pv_virtq *queue = pv_virtio_queue(dev, index);
    struct pv_virtq_chain chain;
    unsigned budget = PV_VIRTQ_BUDGET;
    if (gpu->stale)
        gpu_clear(gpu);
    while (budget && pv_virtq_pop(queue, &chain) == 1) {
        handle(gpu, queue, index, &chain);
        budget--;
    }
    if (index == CONTROL_QUEUE)
        answer_pending(gpu);
    pv_virtq_notify(queue);
    if (!budget)
        pv_virtq_reschedule(queue);
}

static void on_event(void *opaque)
{
    struct gpu *gpu = opaque;
    pv_virtio_lock(&gpu->base);
    if (gpu->stale)
        gpu_clear(gpu);
    answer_pending(gpu);
    pv_virtio_unlock(&gpu->base);
}

/* ---- Configuration ---- */

static void config_read(struct pv_virtio_device *dev, size_t offset, void *buf, size_t size)
{
    const struct gpu *gpu = (const struct gpu *)dev;
    const struct gpu_config config = {
        .events_read = gpu->events,
        .num_scanouts = gpu->heads,
        .num_capsets = gpu->capset_count,
    };
    memcpy(buf, (const char *)&config + offset, size);
}

static void config_write(struct pv_virtio_device *dev, size_t offset, const void *buf, size_t size)
{
    uint32_t bits;
    if (offset != offsetof(struct gpu_config, events_clear) || size != sizeof(bits))
        return;
    memcpy(&bits, buf, sizeof(bits));
    ((struct gpu *)dev)->events &= ~bits;
}

void pv_virtio_gpu_set_size(struct pv_virtio_device *dev, unsigned head, uint32_t width,
                            uint32_t height)
{
    struct gpu *gpu = (struct gpu *)dev;
    bool off = !width || !height;
    pv_virtio_lock(dev);
    if (head < gpu->heads) {
        gpu->scanouts[head].want_width = off ? 0 : PV_MIN(width, PV_DISPLAY_MAX);
        gpu->scanouts[head].want_height = off ? 0 : PV_MIN(height, PV_DISPLAY_MAX);
        gpu->events |= GPU_EVENT_DISPLAY;
        pv_virtio_config_changed(dev);
    }
    pv_virtio_unlock(dev);
}

/* ---- Life ---- */

static void forget_pending(struct gpu *gpu)
{
    for (unsigned i = 0; i < gpu->pending_count; i++)
        pv_virtq_chain_finish(&gpu->pending[i].chain);
    gpu->pending_count = 0;
    pthread_mutex_lock(&gpu->fence_lock);
    gpu->first_serial = gpu->next_serial;
    gpu->reached_count = 0;
    pthread_mutex_unlock(&gpu->fence_lock);
}

static void queue_reset(struct pv_virtio_device *dev, unsigned queue)
{
    if (queue == CONTROL_QUEUE)
        forget_pending((struct gpu *)dev);
}

static void reset(struct pv_virtio_device *dev)
{
    struct gpu *gpu = (struct gpu *)dev;
    forget_pending(gpu);
    gpu->events = 0;
    gpu->stale = true;
    pv_event_signal(gpu->event);
}

static void destroy(struct pv_virtio_device *dev)
{
    struct gpu *gpu = (struct gpu *)dev;
    gpu_clear(gpu);
    pv_renderer_destroy(gpu->renderer);
    pv_gpu_window_destroy(gpu->window);
    pv_event_destroy(gpu->event);
    pthread_mutex_destroy(&gpu->fence_lock);
    free(gpu);
}

/* Requests that wait for a fence. */
static bool busy(struct pv_virtio_device *dev)
{
    return ((const struct gpu *)dev)->pending_count;
}

static const struct pv_virtio_device_ops gpu_ops = {
    .name = "gpu",
    .id = PV_VIRTIO_ID_GPU,
    .config_size = sizeof(struct gpu_config),
    .config_read = config_read,
    .config_write = config_write,
    .reset = reset,
    .queue_reset = queue_reset,
    .queue_ready = queue_ready,
    .busy = busy,
    .record = gpu_record,
    .destroy = destroy,
};

static int create_renderer(struct gpu *gpu, const struct pv_virtio_gpu_config *config,
                           struct pv_error **err)
{
    static const uint32_t ids[] = {PV_CAPSET_VIRGL, PV_CAPSET_VIRGL2, PV_CAPSET_VENUS};
    const struct pv_renderer_config renderer = {
        .vulkan_library = config->vulkan_library,
        .context_memory_max = config->context_memory,
        .host_memory_max = config->host_memory,
        .fence_done = fence_done,
        .opaque = gpu,
    };
    int ret = pv_renderer_create(&gpu->renderer, config->renderer, &renderer, err);
    for (size_t i = 0; ret >= 0 && i < PV_ARRAY_SIZE(ids); i++)
        if (pv_renderer_capset(gpu->renderer, ids[i], NULL, 0) > 0)
            gpu->capsets[gpu->capset_count++] = ids[i];
    return ret;
}

static void window_moved(void *opaque, uint64_t address)
{
    pv_gpu_window_move(opaque, address);
}

static int create_window(struct gpu *gpu, uint64_t size, struct pv_error **err)
{
    int ret = pv_gpu_window_create(&gpu->window, gpu->base.as, size, err);
    if (ret < 0)
        return ret;
    gpu->shm = (struct pv_virtio_shm){
        .id = GPU_SHM_HOST_VISIBLE, .size = size, .moved = window_moved, .opaque = gpu->window};
    gpu->base.shm = &gpu->shm;
    return 0;
}

int pv_virtio_gpu_create(struct pv_virtio_device **out, struct pv_loop *loop,
                         struct pv_address_space *as, const struct pv_virtio_gpu_config *config,
                         struct pv_error **err)
{
    uint64_t features = UINT64_C(1) << GPU_F_EDID | UINT64_C(1) << GPU_F_RESOURCE_UUID |
                        UINT64_C(1) << GPU_F_RESOURCE_BLOB;
    struct pv_virtio_device *dev;
    if (!config->heads || config->heads > PV_DISPLAY_HEADS)
        return pv_error_set(err, EINVAL, "virtio gpu: %u heads, use 1 to %u", config->heads,
                            PV_DISPLAY_HEADS);
    if (config->renderer)
        features |= UINT64_C(1) << GPU_F_VIRGL | UINT64_C(1) << GPU_F_CONTEXT_INIT;
    int ret = pv_virtio_device_create(&dev, sizeof(struct gpu), &gpu_ops, loop, as, features,
                                      QUEUE_COUNT, GPU_QUEUE_SIZE, err);
    if (ret < 0)
        return ret;
    struct gpu *gpu = (struct gpu *)dev;
    gpu->display = config->display;
    gpu->heads = config->heads;
    gpu->resources = PV_GPU_TABLE_INIT(MAX_RESOURCES);
    gpu->contexts = PV_GPU_TABLE_INIT(MAX_CONTEXTS);
    for (unsigned i = 0; i < gpu->heads; i++) {
        gpu->scanouts[i].want_width = config->width;
        gpu->scanouts[i].want_height = config->height;
    }
    pthread_mutex_init(&gpu->fence_lock, NULL);
    ret = pv_event_create(&gpu->event, loop, on_event, gpu, err);
    if (ret >= 0 && config->renderer)
        ret = create_renderer(gpu, config, err);
    if (ret >= 0 && config->renderer && config->window)
        ret = create_window(gpu, config->window, err);
    if (ret < 0) {
        pv_virtio_device_destroy(dev);
        pv_error_prefix(err, "virtio gpu");
        return ret;
    }
    *out = dev;
    return 0;
}
