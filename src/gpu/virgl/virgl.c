/* SPDX-License-Identifier: MIT */
/*
 * The virgl renderer: guest OpenGL by way of the system's libvirglrenderer, and guest Vulkan too
 * where that library's Venus speaks the wire format that guests have today (1 or later).
 *
 * The library is one per process, and its state belongs to the thread that set it up: every call
 * runs on a worker thread. Only what versions 0.10 and 1.1 both have is called. Fences come back on
 * threads of the library; those still out when their context ends are answered by us.
 *
 * Shared memory blobs are pages of ours that the library is told of as guest memory, so that they
 * are counted, mapped and shared like those of the other renderers.
 */
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/uio.h>

#define VIRGL_RENDERER_UNSTABLE_APIS
#include <virglrenderer.h>

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "gpu/memory.h"
#include "gpu/renderer_impl.h"
#include "gpu/table.h"
#include "gpu/virgl/worker.h"

#define CONTEXTS_MAX  1024
#define RESOURCES_MAX (1u << 20)
#define FLAGS                                                                                      \
    (VIRGL_RENDERER_USE_EGL | VIRGL_RENDERER_USE_SURFACELESS | VIRGL_RENDERER_THREAD_SYNC |        \
     VIRGL_RENDERER_ASYNC_FENCE_CB)
/* Before version 1 its Venus speaks wire format 0, and is not worth starting its server for. */
#ifdef PV_VIRGL_VENUS
#define VENUS_FLAGS (FLAGS | VIRGL_RENDERER_VENUS | VIRGL_RENDERER_RENDER_SERVER)
#else
#define VENUS_FLAGS FLAGS
#endif

/* The library's name for the box of a transfer; its header leaves it open. */
struct virgl_box {
    uint32_t x, y, z, w, h, d;
};

struct fence {
    struct fence *next;
    uint32_t context, timeline;
    uint64_t id;
};

struct virgl {
    struct pv_renderer base;
    struct pv_renderer_config config;
    struct virgl_renderer_callbacks callbacks;
    struct pv_gpu_worker *worker;
    struct pv_gpu_account account;
    struct pv_gpu_table contexts;  /* dead: the guest sent something invalid */
    struct pv_gpu_table resources; /* owner: struct resource */
    pthread_mutex_t lock;          /* fences */
    struct fence *fences;
};

struct resource {
    struct pv_gpu_memory *pages; /* of a blob; NULL for what the library has itself */
    struct iovec *backing;       /* what the library was given, which it goes on using */
    unsigned backing_count;
};

static struct virgl *virgl_of(struct pv_renderer *renderer)
{
    return PV_CONTAINER_OF(renderer, struct virgl, base);
}

/* ---- Fences ---- */

static void answer(struct virgl *virgl, const struct fence *fence)
{
    if (virgl->config.fence_done)
        virgl->config.fence_done(virgl->config.opaque, fence->context, fence->timeline, fence->id);
}

/* Takes out the fence, or (any) the first of the context's; NULL: none left. */
static struct fence *take_fence(struct virgl *virgl, uint32_t context, uint64_t id, bool any)
{
    pthread_mutex_lock(&virgl->lock);
    struct fence **link = &virgl->fences;
    while (*link && ((*link)->context != context || (!any && (*link)->id != id)))
        link = &(*link)->next;
    struct fence *fence = *link;
    if (fence)
        *link = fence->next;
    pthread_mutex_unlock(&virgl->lock);
    return fence;
}

static void on_context_fence(void *cookie, uint32_t context, uint32_t ring, uint64_t id)
{
    struct fence *fence = take_fence(cookie, context, id, false);
    if (fence)
        answer(cookie, fence);
    free(fence);
}

/* We ask for fences of contexts only. */
static void on_fence(void *cookie, uint32_t id) {}

static void answer_all(struct virgl *virgl, uint32_t context)
{
    struct fence *fence;
    while ((fence = take_fence(virgl, context, 0, true))) {
        answer(virgl, fence);
        free(fence);
    }
}

/* ---- Coming and going ---- */

static bool venus_speaks(void)
{
    uint32_t version = 0, size = 0, caps[256] = {0};
    virgl_renderer_get_cap_set(PV_CAPSET_VENUS, &version, &size);
    if (!size || size > sizeof(caps))
        return false;
    virgl_renderer_fill_caps(PV_CAPSET_VENUS, version, caps);
    return caps[0] >= 1;
}

static int start(void *arg)
{
    struct virgl *virgl = arg;
    virgl->callbacks = (struct virgl_renderer_callbacks){
        .version = 3, .write_fence = on_fence, .write_context_fence = on_context_fence};
    if (virgl_renderer_init(virgl, VENUS_FLAGS, &virgl->callbacks) == 0)
        return 0;
    virgl_renderer_cleanup(virgl);
    return virgl_renderer_init(virgl, FLAGS, &virgl->callbacks);
}

static int finish(void *arg)
{
    virgl_renderer_cleanup(arg);
    return 0;
}

static void virgl_free(struct virgl *virgl)
{
    pv_gpu_worker_destroy(virgl->worker);
    pv_gpu_table_finish(&virgl->contexts);
    pv_gpu_table_finish(&virgl->resources);
    pthread_mutex_destroy(&virgl->lock);
    free(virgl);
}

static int virgl_create(struct pv_renderer **out, const struct pv_renderer_config *config,
                        struct pv_error **err)
{
    struct virgl *virgl = calloc(1, sizeof(*virgl));
    if (!virgl)
        return pv_error_set(err, ENOMEM, "out of memory");
    virgl->base.ops = &pv_renderer_virgl;
    virgl->config = *config;
    virgl->account.max = config->host_memory_max;
    virgl->contexts = PV_GPU_TABLE_INIT(CONTEXTS_MAX);
    virgl->resources = PV_GPU_TABLE_INIT(RESOURCES_MAX);
    pthread_mutex_init(&virgl->lock, NULL);
    int ret = pv_gpu_worker_create(&virgl->worker, "gpu-virgl", err);
    if (ret == 0 && pv_gpu_worker_run(virgl->worker, start, virgl))
        ret = pv_error_set(err, ENOENT,
                           "libvirglrenderer does not start: it needs EGL without a window "
                           "(libegl1 and Mesa's drivers), and is one per process");
    if (ret < 0) {
        virgl_free(virgl);
        return ret;
    }
    *out = &virgl->base;
    return 0;
}

/* ---- Capsets ---- */

struct capset_job {
    uint32_t id, size;
    void *caps; /* of `size` bytes, to be freed; NULL: not offered */
};

static int get_capset(void *arg)
{
    struct capset_job *job = arg;
    uint32_t version = 0;
    if (job->id == PV_CAPSET_VENUS && !venus_speaks())
        return -ENOENT;
    virgl_renderer_get_cap_set(job->id, &version, &job->size);
    job->caps = job->size ? calloc(1, job->size) : NULL;
    if (!job->caps)
        return job->size ? -ENOMEM : -ENOENT;
    virgl_renderer_fill_caps(job->id, version, job->caps);
    return 0;
}

static int virgl_capset(struct pv_renderer *renderer, uint32_t id, void *buf, size_t size)
{
    struct capset_job job = {.id = id};
    int ret = pv_gpu_worker_run(virgl_of(renderer)->worker, get_capset, &job);
    if (ret < 0)
        return ret;
    memcpy(buf, job.caps, PV_MIN(size, job.size));
    free(job.caps);
    return (int)job.size;
}

/* ---- Contexts ---- */

struct context_job {
    uint32_t context, capset;
    const char *name;
};

static int make_context(void *arg)
{
    const struct context_job *job = arg;
    if (job->capset == PV_CAPSET_VENUS && !venus_speaks())
        return EINVAL;
    return virgl_renderer_context_create_with_flags(job->context, job->capset,
                                                    (uint32_t)strlen(job->name), job->name);
}

static int virgl_context_create(struct pv_renderer *renderer, uint32_t context, uint32_t capset,
                                const char *name, struct pv_error **err)
{
    struct virgl *virgl = virgl_of(renderer);
    struct context_job job = {context, capset, name ? name : ""};
    int ret = pv_gpu_table_add(&virgl->contexts, &(struct pv_gpu_entry){.id = context});
    if (ret < 0)
        return pv_error_errno(err, -ret, "context %u", context);
    if (pv_gpu_worker_run(virgl->worker, make_context, &job) == 0)
        return 0;
    pv_gpu_table_remove(&virgl->contexts, context, NULL);
    return pv_error_set(err, EINVAL, "no context of capset %u; virgl has %u and %u", capset,
                        PV_CAPSET_VIRGL, PV_CAPSET_VIRGL2);
}

static int drop_context(void *arg)
{
    virgl_renderer_context_destroy(*(const uint32_t *)arg);
    return 0;
}

static void virgl_context_destroy(struct pv_renderer *renderer, uint32_t context)
{
    struct virgl *virgl = virgl_of(renderer);
    if (!pv_gpu_table_remove(&virgl->contexts, context, NULL))
        return;
    pv_gpu_worker_run(virgl->worker, drop_context, &context);
    answer_all(virgl, context);
}

static bool virgl_context_lost(struct pv_renderer *renderer, uint32_t context)
{
    const struct pv_gpu_entry *entry = pv_gpu_table_find(&virgl_of(renderer)->contexts, context);
    return !entry || entry->dead;
}

/* ---- Resources ---- */

static void free_resource(struct resource *resource)
{
    pv_gpu_memory_unref(resource->pages);
    free(resource->backing);
    free(resource);
}

static int drop_resource(void *arg)
{
    virgl_renderer_resource_unref(*(const uint32_t *)arg);
    return 0;
}

/* Out of the library first, which may be using the pages. */
static void destroy_resource(struct virgl *virgl, uint32_t id, struct resource *resource)
{
    pv_gpu_worker_run(virgl->worker, drop_resource, &id);
    free_resource(resource);
}

static int make_blob(void *arg)
{
    return virgl_renderer_resource_create_blob(arg);
}

static int make_texture(void *arg)
{
    return virgl_renderer_resource_create(arg, NULL, 0);
}

/* Enters the resource and has the library make it; frees it when that fails. */
static int add_resource(struct virgl *virgl, uint32_t id, struct resource *resource,
                        int (*make)(void *arg), void *arg, struct pv_error **err)
{
    int ret =
        pv_gpu_table_add(&virgl->resources, &(struct pv_gpu_entry){.id = id, .owner = resource});
    if (ret < 0) {
        pv_error_errno(err, -ret, "resource %u", id);
    } else if (pv_gpu_worker_run(virgl->worker, make, arg)) {
        pv_gpu_table_remove(&virgl->resources, id, NULL);
        ret = pv_error_set(err, EINVAL, "resource %u: libvirglrenderer refuses it", id);
    }
    if (ret < 0)
        free_resource(resource);
    return ret;
}

static int virgl_attach(struct pv_renderer *renderer, uint32_t context, uint32_t id);

static int virgl_blob_create(struct pv_renderer *renderer, uint32_t context, uint32_t id,
                             uint64_t blob_id, uint64_t size, uint32_t flags, struct pv_error **err)
{
    struct virgl *virgl = virgl_of(renderer);
    struct virgl_renderer_resource_create_blob_args args = {
        .res_handle = id,
        .ctx_id = context,
        .blob_mem = blob_id ? VIRGL_RENDERER_BLOB_MEM_HOST3D : VIRGL_RENDERER_BLOB_MEM_GUEST,
        .blob_flags = flags,
        .blob_id = blob_id,
        .size = size,
    };
    if (!pv_gpu_table_find(&virgl->contexts, context))
        return pv_error_set(err, ENOENT, "no context %u", context);
    struct resource *resource = calloc(1, sizeof(*resource));
    if (!resource)
        return pv_error_set(err, ENOMEM, "out of memory");
    int ret = blob_id ? 0 : pv_gpu_memory_create(&resource->pages, size, PV_BLOB_CACHED, err);
    if (ret == 0 && !blob_id)
        ret = pv_gpu_memory_charge(resource->pages, &virgl->account, err);
    if (ret == 0 && !blob_id && !(resource->backing = calloc(1, sizeof(*resource->backing))))
        ret = pv_error_set(err, ENOMEM, "out of memory");
    if (ret < 0) {
        free_resource(resource);
        return ret;
    }
    if (!blob_id) {
        const struct pv_mapping *mapping = &resource->pages->mapping;
        *resource->backing = (struct iovec){mapping->data, mapping->size};
        resource->backing_count = 1;
        args.size = mapping->size;
        args.iovecs = resource->backing;
        args.num_iovs = 1;
    }
    ret = add_resource(virgl, id, resource, make_blob, &args, err);
    return ret < 0 ? ret : virgl_attach(renderer, context, id);
}

struct map_job {
    uint32_t id;
    struct pv_renderer_mapping *out;
};

static int map_blob(void *arg)
{
    const struct map_job *job = arg;
    uint32_t info = PV_BLOB_CACHED;
    int ret = virgl_renderer_resource_map(job->id, &job->out->host, &job->out->size);
    virgl_renderer_resource_get_map_info(job->id, &info);
    job->out->map_info = info & VIRGL_RENDERER_MAP_CACHE_MASK;
    return ret;
}

static int virgl_blob_map(struct pv_renderer *renderer, uint32_t id,
                          struct pv_renderer_mapping *out, struct pv_error **err)
{
    struct virgl *virgl = virgl_of(renderer);
    const struct pv_gpu_entry *entry = pv_gpu_table_find(&virgl->resources, id);
    struct map_job job = {id, out};
    if (!entry)
        return pv_error_set(err, ENOENT, "no resource %u", id);
    const struct resource *resource = entry->owner;
    *out = (struct pv_renderer_mapping){.fd = -1};
    if (resource->pages)
        pv_gpu_memory_describe(resource->pages, out);
    else if (virgl->config.need_fd || pv_gpu_worker_run(virgl->worker, map_blob, &job))
        return pv_error_set(err, ENOTSUP, "resource %u cannot be mapped", id);
    return 0;
}

struct attach_job {
    uint32_t context, id;
};

static int attach(void *arg)
{
    const struct attach_job *job = arg;
    virgl_renderer_ctx_attach_resource((int)job->context, (int)job->id);
    return 0;
}

static int detach(void *arg)
{
    const struct attach_job *job = arg;
    virgl_renderer_ctx_detach_resource((int)job->context, (int)job->id);
    return 0;
}

static int virgl_attach(struct pv_renderer *renderer, uint32_t context, uint32_t id)
{
    struct virgl *virgl = virgl_of(renderer);
    struct attach_job job = {context, id};
    if (!pv_gpu_table_find(&virgl->contexts, context) || !pv_gpu_table_find(&virgl->resources, id))
        return -ENOENT;
    return pv_gpu_worker_run(virgl->worker, attach, &job);
}

static void virgl_detach(struct pv_renderer *renderer, uint32_t context, uint32_t id)
{
    struct virgl *virgl = virgl_of(renderer);
    struct attach_job job = {context, id};
    if (pv_gpu_table_find(&virgl->contexts, context) && pv_gpu_table_find(&virgl->resources, id))
        pv_gpu_worker_run(virgl->worker, detach, &job);
}

static void virgl_resource_destroy(struct pv_renderer *renderer, uint32_t id)
{
    struct virgl *virgl = virgl_of(renderer);
    struct pv_gpu_entry entry;
    if (pv_gpu_table_remove(&virgl->resources, id, &entry))
        destroy_resource(virgl, id, entry.owner);
}

static void virgl_destroy(struct pv_renderer *renderer)
{
    struct virgl *virgl = virgl_of(renderer);
    struct pv_gpu_entry *entry;
    for (size_t cursor = 0; (entry = pv_gpu_table_next(&virgl->contexts, &cursor)); cursor = 0)
        virgl_context_destroy(renderer, (uint32_t)entry->id);
    for (size_t cursor = 0; (entry = pv_gpu_table_next(&virgl->resources, &cursor));)
        destroy_resource(virgl, (uint32_t)entry->id, entry->owner);
    pv_gpu_worker_run(virgl->worker, finish, virgl);
    virgl_free(virgl);
}

/* ---- Textures: resources that the library keeps and copies to and from guest memory ---- */

static int virgl_texture_create(struct pv_renderer *renderer, uint32_t id,
                                const struct pv_renderer_texture *texture, struct pv_error **err)
{
    struct virgl_renderer_resource_create_args args = {
        .handle = id,
        .target = texture->target,
        .format = texture->format,
        .bind = texture->bind,
        .width = texture->width,
        .height = texture->height,
        .depth = texture->depth,
        .array_size = texture->array_size,
        .last_level = texture->last_level,
        .nr_samples = texture->samples,
        .flags = texture->flags,
    };
    struct resource *resource = calloc(1, sizeof(*resource));
    if (!resource)
        return pv_error_set(err, ENOMEM, "out of memory");
    return add_resource(virgl_of(renderer), id, resource, make_texture, &args, err);
}

struct back_job {
    uint32_t id;
    struct iovec *iov;
    unsigned count;
};

static int back(void *arg)
{
    const struct back_job *job = arg;
    struct iovec *old;
    int count;
    virgl_renderer_resource_detach_iov((int)job->id, &old, &count);
    return job->count ? virgl_renderer_resource_attach_iov((int)job->id, job->iov, (int)job->count)
                      : 0;
}

static int virgl_texture_back(struct pv_renderer *renderer, uint32_t id, const struct iovec *iov,
                              unsigned count)
{
    struct virgl *virgl = virgl_of(renderer);
    const struct pv_gpu_entry *entry = pv_gpu_table_find(&virgl->resources, id);
    struct resource *resource = entry ? entry->owner : NULL;
    struct back_job job = {.id = id, .count = count};
    if (!resource || resource->pages)
        return -ENOENT;
    if (count && !(job.iov = calloc(count, sizeof(*iov))))
        return -ENOMEM;
    if (count)
        memcpy(job.iov, iov, count * sizeof(*iov));
    int ret = pv_gpu_worker_run(virgl->worker, back, &job) ? -EINVAL : 0;
    free(resource->backing); /* the library let go of it */
    if (ret < 0)
        free(PV_STEAL(job.iov));
    resource->backing = job.iov;
    resource->backing_count = ret < 0 ? 0 : count;
    return ret;
}

struct transfer_job {
    uint32_t context, id;
    const struct pv_renderer_transfer *transfer;
};

static int transfer(void *arg)
{
    const struct transfer_job *job = arg;
    const struct pv_renderer_transfer *t = job->transfer;
    struct virgl_box box = {t->x, t->y, t->z, t->width, t->height, t->depth};
    return t->to_host
               ? virgl_renderer_transfer_write_iov(job->id, job->context, (int)t->level, t->stride,
                                                   t->layer_stride, &box, t->offset, NULL, 0)
               : virgl_renderer_transfer_read_iov(job->id, job->context, t->level, t->stride,
                                                  t->layer_stride, &box, t->offset, NULL, 0);
}

static int virgl_transfer(struct pv_renderer *renderer, uint32_t context, uint32_t id,
                          const struct pv_renderer_transfer *what)
{
    struct virgl *virgl = virgl_of(renderer);
    const struct pv_gpu_entry *entry = pv_gpu_table_find(&virgl->resources, id);
    struct transfer_job job = {context, id, what};
    if (!entry || !((struct resource *)entry->owner)->backing_count)
        return -ENOENT;
    return pv_gpu_worker_run(virgl->worker, transfer, &job) ? -EINVAL : 0;
}

/* ---- Commands ---- */

struct submit_job {
    uint32_t context;
    const void *commands;
    size_t size;
};

static int submit(void *arg)
{
    const struct submit_job *job = arg;
    return virgl_renderer_submit_cmd((void *)job->commands, (int)job->context,
                                     (int)(job->size / 4));
}

static int virgl_submit(struct pv_renderer *renderer, uint32_t context, const void *commands,
                        size_t size, struct pv_error **err)
{
    struct virgl *virgl = virgl_of(renderer);
    struct pv_gpu_entry *entry = pv_gpu_table_find(&virgl->contexts, context);
    struct submit_job job = {context, commands, size};
    if (!entry)
        return pv_error_set(err, ENOENT, "no context %u", context);
    if (entry->dead)
        return pv_error_set(err, EIO, "context %u is lost", context);
    if (size / 4 > INT32_MAX)
        return pv_error_set(err, E2BIG, "%zu bytes of commands", size);
    if (size && pv_gpu_worker_run(virgl->worker, submit, &job)) {
        entry->dead = true;
        pv_error_log(PV_LOG_GPU, "context %u is lost: libvirglrenderer refuses its commands",
                     context);
    }
    return 0;
}

static int make_fence(void *arg)
{
    const struct fence *fence = arg;
    return virgl_renderer_context_create_fence(fence->context, 0, fence->timeline, fence->id);
}

static int virgl_fence(struct pv_renderer *renderer, uint32_t context, uint32_t timeline,
                       uint64_t id, struct pv_error **err)
{
    struct virgl *virgl = virgl_of(renderer);
    const struct pv_gpu_entry *entry = pv_gpu_table_find(&virgl->contexts, context);
    if (!entry)
        return pv_error_set(err, ENOENT, "no context %u", context);
    struct fence *fence = malloc(sizeof(*fence));
    if (!fence)
        return pv_error_set(err, ENOMEM, "out of memory");
    *fence = (struct fence){.context = context, .timeline = timeline, .id = id};
    struct fence job = *fence; /* the callback may free the other at once */
    pthread_mutex_lock(&virgl->lock);
    fence->next = virgl->fences;
    virgl->fences = fence;
    pthread_mutex_unlock(&virgl->lock);
    if (entry->dead || pv_gpu_worker_run(virgl->worker, make_fence, &job))
        on_context_fence(virgl, context, timeline, id);
    return 0;
}

const struct pv_renderer_ops pv_renderer_virgl = {
    .name = "virgl",
    .create = virgl_create,
    .destroy = virgl_destroy,
    .capset = virgl_capset,
    .context_create = virgl_context_create,
    .context_destroy = virgl_context_destroy,
    .context_lost = virgl_context_lost,
    .blob_create = virgl_blob_create,
    .blob_map = virgl_blob_map,
    .attach = virgl_attach,
    .detach = virgl_detach,
    .resource_destroy = virgl_resource_destroy,
    .texture_create = virgl_texture_create,
    .texture_back = virgl_texture_back,
    .transfer = virgl_transfer,
    .submit = virgl_submit,
    .fence = virgl_fence,
};
