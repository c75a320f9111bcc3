/* SPDX-License-Identifier: MIT */
/*
 * A context: one guest process's Vulkan. Its control thread takes the submissions and fences that
 * come through the renderer's seam, in order; ring threads (ring.c) take all the rest.
 */
#include "gpu/venus/context.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

#include "base/error.h"
#include "base/util.h"
#include "host/thread.h"

/* Submissions waiting to be consumed; a guest that floods us finds itself waiting. */
#define WORK_BYTES_MAX (4 * PV_MIB)
/* vkNotifyRingMESA on the wire: number, flags, ring (two words), seqno, flags. */
#define NOTIFY_WORDS 6

struct pv_vn_work {
    struct pv_vn_work *next;
    uint64_t fence;
    uint32_t timeline;
    bool is_fence;
    size_t size;
    uint64_t commands[];
};

void pv_vn_context_lose(struct pv_vn_context *ctx, const char *fmt, ...)
{
    if (atomic_exchange(&ctx->lost, true))
        return;
    char why[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(why, sizeof(why), fmt, args);
    va_end(args);
    pv_error_log(PV_LOG_VENUS, "context %u (%s) is lost: %s", ctx->id, ctx->name, why);
    pv_vn_rings_fatal(ctx);
}

bool pv_vn_context_gone(const struct pv_vn_context *ctx)
{
    return atomic_load_explicit(&ctx->lost, memory_order_relaxed) ||
           atomic_load_explicit(&ctx->stopping, memory_order_relaxed);
}

static void answer_fence(struct pv_vn_context *ctx, const struct pv_vn_work *work)
{
    if (work->timeline && !pv_vn_context_gone(ctx)) {
        if (pv_vn_timeline_fence(ctx, work->timeline, work->fence))
            return;
        pv_vn_context_lose(ctx, "a fence on timeline %u, which no queue has", work->timeline);
    }
    if (ctx->config->fence_done)
        ctx->config->fence_done(ctx->config->opaque, ctx->id, work->timeline, work->fence);
}

static void *control_main(void *opaque)
{
    struct pv_vn_context *ctx = opaque;
    struct pv_vn_stream stream;
    pv_thread_name("gpu-control");
    pv_vn_stream_init(&stream, ctx, NULL);
    pthread_mutex_lock(&ctx->lock);
    for (;;) {
        while (!ctx->work_first && !ctx->stopping)
            pthread_cond_wait(&ctx->changed, &ctx->lock);
        struct pv_vn_work *work = ctx->work_first;
        if (!work)
            break;
        ctx->work_first = work->next;
        if (!work->next)
            ctx->work_last = &ctx->work_first;
        pthread_mutex_unlock(&ctx->lock);
        if (work->is_fence)
            answer_fence(ctx, work);
        else if (!pv_vn_context_gone(ctx))
            pv_vn_stream_run(&stream, work->commands, work->size);
        pthread_mutex_lock(&ctx->lock);
        ctx->work_bytes -= work->size;
        ctx->work_done++;
        pthread_cond_broadcast(&ctx->changed);
        free(work);
    }
    pthread_mutex_unlock(&ctx->lock);
    pv_vn_stream_finish(&stream);
    return NULL;
}

/*
 * A ring is asleep and its guest waits: when nothing is queued before the notification, it is not
 * handed to the control thread, which would have to be woken first. False: queue it.
 */
static bool notify_now(struct pv_vn_context *ctx, const void *commands, size_t size)
{
    uint32_t words[NOTIFY_WORDS];
    if (!commands || size != sizeof(words))
        return false;
    memcpy(words, commands, size);
    if (words[0] != pv_vn_commands[PV_VN_COMMAND_vkNotifyRingMESA].number || words[1])
        return false;
    pthread_mutex_lock(&ctx->lock);
    bool first = ctx->work_done == ctx->work_queued;
    pthread_mutex_unlock(&ctx->lock);
    return first && pv_vn_ring_notify(ctx, words[2] | (uint64_t)words[3] << 32);
}

int pv_vn_context_queue(struct pv_vn_context *ctx, const void *commands, size_t size,
                        uint32_t timeline, uint64_t fence, struct pv_error **err)
{
    if (size > WORK_BYTES_MAX)
        return pv_error_set(err, E2BIG, "%zu bytes of commands, at most %llu", size,
                            (unsigned long long)WORK_BYTES_MAX);
    if (notify_now(ctx, commands, size))
        return 0;
    struct pv_vn_work *work = malloc(sizeof(*work) + size);
    if (!work)
        return pv_error_set(err, ENOMEM, "out of memory");
    *work = (struct pv_vn_work){
        .fence = fence, .timeline = timeline, .is_fence = !commands, .size = size};
    if (commands)
        memcpy(work->commands, commands, size);
    pthread_mutex_lock(&ctx->lock);
    while (ctx->work_bytes + size > WORK_BYTES_MAX && !pv_vn_context_gone(ctx))
        pthread_cond_wait(&ctx->changed, &ctx->lock);
    *ctx->work_last = work;
    ctx->work_last = &work->next;
    ctx->work_bytes += size;
    ctx->work_queued++;
    pthread_cond_broadcast(&ctx->changed);
    pthread_mutex_unlock(&ctx->lock);
    return 0;
}

void pv_vn_context_drain(struct pv_vn_context *ctx)
{
    pthread_mutex_lock(&ctx->lock);
    uint64_t goal = ctx->work_queued;
    while (ctx->work_done < goal && !pv_vn_context_gone(ctx))
        pthread_cond_wait(&ctx->changed, &ctx->lock);
    pthread_mutex_unlock(&ctx->lock);
}

int pv_vn_context_attach(struct pv_vn_context *ctx, uint32_t resource, struct pv_gpu_memory *pages)
{
    pthread_mutex_lock(&ctx->lock);
    int ret =
        pv_gpu_table_add(&ctx->resources, &(struct pv_gpu_entry){.id = resource, .owner = pages});
    if (ret == 0)
        pv_gpu_memory_ref(pages);
    pthread_mutex_unlock(&ctx->lock);
    return ret == -EEXIST ? 0 : ret;
}

void pv_vn_context_detach(struct pv_vn_context *ctx, uint32_t resource)
{
    struct pv_gpu_entry entry = {0};
    pthread_mutex_lock(&ctx->lock);
    pv_gpu_table_remove(&ctx->resources, resource, &entry);
    pthread_mutex_unlock(&ctx->lock);
    pv_gpu_memory_unref(entry.owner);
}

struct pv_gpu_memory *pv_vn_context_resource(struct pv_vn_context *ctx, uint32_t resource)
{
    pthread_mutex_lock(&ctx->lock);
    const struct pv_gpu_entry *entry = pv_gpu_table_find(&ctx->resources, resource);
    struct pv_gpu_memory *pages = entry ? pv_gpu_memory_ref(entry->owner) : NULL;
    pthread_mutex_unlock(&ctx->lock);
    return pages;
}

bool pv_vn_context_charge(struct pv_vn_context *ctx, uint64_t size)
{
    uint64_t max = ctx->config->context_memory_max;
    uint64_t used = atomic_fetch_add(&ctx->memory_used, size) + size;
    if (max && (used > max || used < size)) {
        atomic_fetch_sub(&ctx->memory_used, size);
        return false;
    }
    return true;
}

void pv_vn_context_uncharge(struct pv_vn_context *ctx, uint64_t size)
{
    atomic_fetch_sub(&ctx->memory_used, size);
}

static PFN_vkVoidFunction global_proc(void *handle, const char *name)
{
    const struct pv_vn_driver *driver = handle;
    return driver->get_proc(NULL, name);
}

int pv_vn_context_create(struct pv_vn_context **out, uint32_t id, const char *name,
                         const struct pv_vn_driver *driver, const struct pv_renderer_config *config,
                         struct pv_error **err)
{
    struct pv_vn_context *ctx = calloc(1, sizeof(*ctx));
    if (!ctx)
        return pv_error_set(err, ENOMEM, "out of memory");
    ctx->id = id;
    /* The name is a guest's: printable characters only reach the log. */
    for (size_t i = 0; name && name[i] && i < sizeof(ctx->name) - 1; i++)
        ctx->name[i] = name[i] >= ' ' && name[i] < 127 ? name[i] : '?';
    ctx->driver = driver;
    ctx->config = config;
    ctx->objects = PV_GPU_TABLE_INIT(PV_VN_OBJECTS_MAX);
    ctx->resources = PV_GPU_TABLE_INIT(PV_VN_OBJECTS_MAX);
    ctx->work_last = &ctx->work_first;
    pthread_rwlock_init(&ctx->objects_lock, NULL);
    pthread_mutex_init(&ctx->lock, NULL);
    pthread_cond_init(&ctx->changed, NULL);
    pv_vn_procs_load(ctx->global_procs, PV_VN_LEVEL_GLOBAL, global_proc, (void *)driver);
    int ret = pthread_create(&ctx->control, NULL, control_main, ctx);
    if (ret) {
        pthread_cond_destroy(&ctx->changed);
        pthread_mutex_destroy(&ctx->lock);
        pthread_rwlock_destroy(&ctx->objects_lock);
        free(ctx);
        return pv_error_errno(err, ret, "a thread for context %u", id);
    }
    *out = ctx;
    return 0;
}

static void free_parts(struct pv_vn_context *ctx)
{
    while (ctx->devices) {
        struct pv_vn_device *device = ctx->devices;
        ctx->devices = device->next;
        while (device->queues) {
            struct pv_vn_queue *queue = device->queues;
            device->queues = queue->next;
            pthread_mutex_destroy(&queue->lock);
            free(queue);
        }
        free(device);
    }
    while (ctx->instances) {
        struct pv_vn_instance *instance = ctx->instances;
        ctx->instances = instance->next;
        for (uint32_t i = 0; i < instance->physical_count; i++)
            pv_vn_physical_finish(&instance->physicals[i]);
        free(instance->physicals);
        free(instance);
    }
    struct pv_gpu_entry *entry;
    for (size_t cursor = 0; (entry = pv_gpu_table_next(&ctx->resources, &cursor));)
        pv_gpu_memory_unref(entry->owner);
    pv_gpu_table_finish(&ctx->resources);
    pv_gpu_table_finish(&ctx->objects);
}

void pv_vn_context_destroy(struct pv_vn_context *ctx)
{
    if (!ctx)
        return;
    pthread_mutex_lock(&ctx->lock);
    ctx->stopping = true;
    pthread_cond_broadcast(&ctx->changed);
    pthread_mutex_unlock(&ctx->lock);
    pthread_join(ctx->control, NULL);
    pv_vn_rings_destroy(ctx);
    pv_vn_monitor_stop(ctx);
    for (struct pv_vn_device *device = ctx->devices; device; device = device->next)
        pv_vn_device_destroy(ctx, device);
    for (struct pv_vn_instance *instance = ctx->instances; instance; instance = instance->next)
        pv_vn_instance_destroy(ctx, instance);
    free_parts(ctx);
    pthread_cond_destroy(&ctx->changed);
    pthread_mutex_destroy(&ctx->lock);
    pthread_rwlock_destroy(&ctx->objects_lock);
    free(ctx);
}
