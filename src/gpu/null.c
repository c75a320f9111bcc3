/* SPDX-License-Identifier: MIT */
/*
 * The null renderer: contexts and shared-memory blobs are there, commands are swallowed, fences are
 * reached at once. For tests of what stands in front of the seam, and machines without a GPU stack.
 */
#include <errno.h>

#include "base/error.h"
#include "base/util.h"
#include "gpu/memory.h"
#include "gpu/renderer_impl.h"
#include "gpu/table.h"

struct null_renderer {
    struct pv_renderer base;
    struct pv_renderer_config config;
    struct pv_gpu_account account;
    struct pv_gpu_table contexts;
    struct pv_gpu_table resources; /* owner: struct pv_gpu_memory */
};

static int null_create(struct pv_renderer **out, const struct pv_renderer_config *config,
                       struct pv_error **err)
{
    struct null_renderer *null = calloc(1, sizeof(*null));
    if (!null)
        return pv_error_set(err, ENOMEM, "out of memory");
    null->base.ops = &pv_renderer_null;
    null->config = *config;
    null->account.max = config->host_memory_max;
    null->contexts = PV_GPU_TABLE_INIT(1024);
    null->resources = PV_GPU_TABLE_INIT(1 << 20);
    *out = &null->base;
    return 0;
}

static void null_destroy(struct pv_renderer *renderer)
{
    struct null_renderer *null = PV_CONTAINER_OF(renderer, struct null_renderer, base);
    struct pv_gpu_entry *entry;
    for (size_t cursor = 0; (entry = pv_gpu_table_next(&null->resources, &cursor));)
        pv_gpu_memory_unref(entry->owner);
    pv_gpu_table_finish(&null->resources);
    pv_gpu_table_finish(&null->contexts);
    free(null);
}

static int null_capset(struct pv_renderer *renderer, uint32_t id, void *buf, size_t size)
{
    return -ENOENT;
}

static int null_context_create(struct pv_renderer *renderer, uint32_t context, uint32_t capset,
                               const char *name, struct pv_error **err)
{
    struct null_renderer *null = PV_CONTAINER_OF(renderer, struct null_renderer, base);
    if (capset)
        return pv_error_set(err, EINVAL, "capset %u: the null renderer has none", capset);
    int ret = pv_gpu_table_add(&null->contexts, &(struct pv_gpu_entry){.id = context});
    return ret < 0 ? pv_error_errno(err, -ret, "context %u", context) : 0;
}

static void null_context_destroy(struct pv_renderer *renderer, uint32_t context)
{
    struct null_renderer *null = PV_CONTAINER_OF(renderer, struct null_renderer, base);
    pv_gpu_table_remove(&null->contexts, context, NULL);
}

static bool null_context_lost(struct pv_renderer *renderer, uint32_t context)
{
    return false;
}

static int null_blob_create(struct pv_renderer *renderer, uint32_t context, uint32_t resource,
                            uint64_t blob_id, uint64_t size, uint32_t flags, struct pv_error **err)
{
    struct null_renderer *null = PV_CONTAINER_OF(renderer, struct null_renderer, base);
    if (blob_id || !pv_gpu_table_find(&null->contexts, context))
        return pv_error_set(err, EINVAL, "context %u has no blob %llu", context,
                            (unsigned long long)blob_id);
    struct pv_gpu_memory *memory;
    int ret = pv_gpu_memory_create(&memory, size, PV_BLOB_CACHED, err);
    if (ret < 0)
        return ret;
    ret = pv_gpu_memory_charge(memory, &null->account, err);
    if (ret == 0) {
        ret = pv_gpu_table_add(&null->resources,
                               &(struct pv_gpu_entry){.id = resource, .owner = memory});
        if (ret < 0)
            pv_error_errno(err, -ret, "resource %u", resource);
    }
    if (ret < 0)
        pv_gpu_memory_unref(memory);
    return ret;
}

static int null_blob_map(struct pv_renderer *renderer, uint32_t resource,
                         struct pv_renderer_mapping *out, struct pv_error **err)
{
    struct null_renderer *null = PV_CONTAINER_OF(renderer, struct null_renderer, base);
    struct pv_gpu_entry *entry = pv_gpu_table_find(&null->resources, resource);
    if (!entry)
        return pv_error_set(err, ENOENT, "no resource %u", resource);
    pv_gpu_memory_describe(entry->owner, out);
    return 0;
}

static int null_attach(struct pv_renderer *renderer, uint32_t context, uint32_t resource)
{
    struct null_renderer *null = PV_CONTAINER_OF(renderer, struct null_renderer, base);
    return pv_gpu_table_find(&null->contexts, context) &&
                   pv_gpu_table_find(&null->resources, resource)
               ? 0
               : -ENOENT;
}

static void null_detach(struct pv_renderer *renderer, uint32_t context, uint32_t resource) {}

static void null_resource_destroy(struct pv_renderer *renderer, uint32_t resource)
{
    struct null_renderer *null = PV_CONTAINER_OF(renderer, struct null_renderer, base);
    struct pv_gpu_entry entry;
    if (pv_gpu_table_remove(&null->resources, resource, &entry))
        pv_gpu_memory_unref(entry.owner);
}

static int null_submit(struct pv_renderer *renderer, uint32_t context, const void *commands,
                       size_t size, struct pv_error **err)
{
    struct null_renderer *null = PV_CONTAINER_OF(renderer, struct null_renderer, base);
    if (!pv_gpu_table_find(&null->contexts, context))
        return pv_error_set(err, ENOENT, "no context %u", context);
    return 0;
}

static int null_fence(struct pv_renderer *renderer, uint32_t context, uint32_t timeline,
                      uint64_t fence, struct pv_error **err)
{
    struct null_renderer *null = PV_CONTAINER_OF(renderer, struct null_renderer, base);
    if (!pv_gpu_table_find(&null->contexts, context))
        return pv_error_set(err, ENOENT, "no context %u", context);
    if (null->config.fence_done)
        null->config.fence_done(null->config.opaque, context, timeline, fence);
    return 0;
}

const struct pv_renderer_ops pv_renderer_null = {
    .name = "null",
    .create = null_create,
    .destroy = null_destroy,
    .capset = null_capset,
    .context_create = null_context_create,
    .context_destroy = null_context_destroy,
    .context_lost = null_context_lost,
    .blob_create = null_blob_create,
    .blob_map = null_blob_map,
    .attach = null_attach,
    .detach = null_detach,
    .resource_destroy = null_resource_destroy,
    .submit = null_submit,
    .fence = null_fence,
};
