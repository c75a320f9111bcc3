/* SPDX-License-Identifier: MIT */
/*
 * The venus renderer: guest Vulkan, as Mesa's Venus driver sends it, onto the host's Vulkan driver.
 *
 * This file is the seam's side: the capset, contexts and resources by their numbers. A context
 * (context.c) has a control thread and rings (ring.c); both run streams (dispatch.c) that decode
 * commands by generated tables (wire_decode.c) and call the driver. docs/internals/gpu-venus.md
 * walks the path.
 */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/util.h"
#include "gpu/renderer_impl.h"
#include "gpu/venus/context.h"

#define CONTEXTS_MAX  1024
#define RESOURCES_MAX (1u << 20)

/* venus-protocol section b; all little-endian. */
struct capset {
    uint32_t wire_format_version;
    uint32_t vk_xml_version;
    uint32_t command_serialization_version;
    uint32_t venus_protocol_version;
    uint32_t supports_blob_id_0;
    uint32_t extension_mask[32]; /* bit n: extension number n; bit 0: the mask counts */
    uint32_t allow_vk_wait_syncs;
    uint32_t supports_multiple_timelines;
    uint32_t use_guest_vram;
};
_Static_assert(sizeof(struct capset) == 160, "the capset's layout is the guest driver's");

struct venus {
    struct pv_renderer base;
    struct pv_renderer_config config;
    struct pv_vn_driver driver;
    struct pv_gpu_account account;
    struct pv_gpu_table contexts;  /* owner: struct pv_vn_context */
    struct pv_gpu_table resources; /* owner: struct pv_gpu_memory */
};

static struct venus *venus_of(struct pv_renderer *renderer)
{
    return PV_CONTAINER_OF(renderer, struct venus, base);
}

static struct pv_vn_context *context_of(struct pv_renderer *renderer, uint32_t context)
{
    const struct pv_gpu_entry *entry = pv_gpu_table_find(&venus_of(renderer)->contexts, context);
    return entry ? entry->owner : NULL;
}

static int venus_create(struct pv_renderer **out, const struct pv_renderer_config *config,
                        struct pv_error **err)
{
    struct venus *venus = calloc(1, sizeof(*venus));
    if (!venus)
        return pv_error_set(err, ENOMEM, "out of memory");
    venus->base.ops = &pv_renderer_venus;
    venus->config = *config;
    venus->account.max = config->host_memory_max;
    venus->contexts = PV_GPU_TABLE_INIT(CONTEXTS_MAX);
    venus->resources = PV_GPU_TABLE_INIT(RESOURCES_MAX);
    int ret = pv_vn_driver_open(&venus->driver, config->vulkan_library, err);
    if (ret < 0) {
        free(venus);
        return ret;
    }
    *out = &venus->base;
    return 0;
}

static void venus_destroy(struct pv_renderer *renderer)
{
    struct venus *venus = venus_of(renderer);
    struct pv_gpu_entry *entry;
    for (size_t cursor = 0; (entry = pv_gpu_table_next(&venus->contexts, &cursor));)
        pv_vn_context_destroy(entry->owner);
    for (size_t cursor = 0; (entry = pv_gpu_table_next(&venus->resources, &cursor));)
        pv_gpu_memory_unref(entry->owner);
    pv_gpu_table_finish(&venus->contexts);
    pv_gpu_table_finish(&venus->resources);
    pv_vn_driver_close(&venus->driver);
    free(venus);
}

static int venus_capset(struct pv_renderer *renderer, uint32_t id, void *buf, size_t size)
{
    struct capset capset = {
        .wire_format_version = 1,
        .vk_xml_version = PV_VN_XML_VERSION,
        .command_serialization_version = 1,
        .venus_protocol_version = 4,
        .supports_blob_id_0 = 1,
        .extension_mask[0] = 1,
        .allow_vk_wait_syncs = 1,
        .supports_multiple_timelines = 1,
    };
    if (id != PV_CAPSET_VENUS)
        return -ENOENT;
    /* Those of the protocol itself: VK_EXT_command_serialization 384 - 1, VK_MESA_venus_protocol.
     */
    capset.extension_mask[384 / 32] |= 1u << 384 % 32;
    capset.extension_mask[385 / 32] |= 1u << 385 % 32;
    for (unsigned i = 0; i < PV_VN_EXTENSIONS; i++) {
        uint32_t number = pv_vn_extensions[i].number;
        if (number < 32 * PV_ARRAY_SIZE(capset.extension_mask))
            capset.extension_mask[number / 32] |= 1u << number % 32;
    }
    memcpy(buf, &capset, PV_MIN(size, sizeof(capset)));
    return sizeof(capset);
}

static int venus_context_create(struct pv_renderer *renderer, uint32_t context, uint32_t capset,
                                const char *name, struct pv_error **err)
{
    struct venus *venus = venus_of(renderer);
    if (capset != PV_CAPSET_VENUS)
        return pv_error_set(err, EINVAL, "capset %u; the venus renderer has %u", capset,
                            PV_CAPSET_VENUS);
    if (context_of(renderer, context))
        return pv_error_set(err, EEXIST, "context %u is there already", context);
    struct pv_vn_context *ctx;
    int ret = pv_vn_context_create(&ctx, context, name, &venus->driver, &venus->config, err);
    if (ret < 0)
        return ret;
    ctx->account = &venus->account;
    ret = pv_gpu_table_add(&venus->contexts, &(struct pv_gpu_entry){.id = context, .owner = ctx});
    if (ret < 0) {
        pv_vn_context_destroy(ctx);
        return pv_error_errno(err, -ret, "context %u", context);
    }
    return 0;
}

static void venus_context_destroy(struct pv_renderer *renderer, uint32_t context)
{
    struct pv_gpu_entry entry;
    if (pv_gpu_table_remove(&venus_of(renderer)->contexts, context, &entry))
        pv_vn_context_destroy(entry.owner);
}

static bool venus_context_lost(struct pv_renderer *renderer, uint32_t context)
{
    const struct pv_vn_context *ctx = context_of(renderer, context);
    return !ctx || pv_vn_context_gone(ctx);
}

static int venus_blob_create(struct pv_renderer *renderer, uint32_t context, uint32_t resource,
                             uint64_t blob_id, uint64_t size, uint32_t flags, struct pv_error **err)
{
    struct venus *venus = venus_of(renderer);
    struct pv_vn_context *ctx = context_of(renderer, context);
    struct pv_gpu_memory *pages = NULL;
    int ret;
    if (!ctx)
        return pv_error_set(err, ENOENT, "no context %u", context);
    if (pv_gpu_table_find(&venus->resources, resource))
        return pv_error_set(err, EEXIST, "resource %u is there already", resource);
    if (blob_id) {
        /* The guest made the memory by commands that may still be on their way. */
        pv_vn_context_drain(ctx);
        pages = pv_vn_memory_export(ctx, blob_id, size);
        if (!pages)
            return pv_error_set(err, EINVAL, "context %u: no memory %llu of %llu bytes to share",
                                context, (unsigned long long)blob_id, (unsigned long long)size);
    } else {
        ret = pv_gpu_memory_create(&pages, size, PV_BLOB_CACHED, err);
        if (ret == 0)
            ret = pv_gpu_memory_charge(pages, &venus->account, err);
        if (ret < 0) {
            pv_gpu_memory_unref(pages);
            return ret;
        }
    }
    ret =
        pv_gpu_table_add(&venus->resources, &(struct pv_gpu_entry){.id = resource, .owner = pages});
    if (ret < 0) {
        pv_gpu_memory_unref(pages);
        return pv_error_errno(err, -ret, "resource %u", resource);
    }
    ret = pv_vn_context_attach(ctx, resource, pages);
    if (ret < 0) {
        pv_gpu_table_remove(&venus->resources, resource, NULL);
        pv_gpu_memory_unref(pages);
        return pv_error_errno(err, -ret, "resource %u", resource);
    }
    return 0;
}

static int venus_blob_map(struct pv_renderer *renderer, uint32_t resource,
                          struct pv_renderer_mapping *out, struct pv_error **err)
{
    const struct pv_gpu_entry *entry = pv_gpu_table_find(&venus_of(renderer)->resources, resource);
    if (!entry)
        return pv_error_set(err, ENOENT, "no resource %u", resource);
    pv_gpu_memory_describe(entry->owner, out);
    return 0;
}

static int venus_attach(struct pv_renderer *renderer, uint32_t context, uint32_t resource)
{
    struct pv_vn_context *ctx = context_of(renderer, context);
    const struct pv_gpu_entry *entry = pv_gpu_table_find(&venus_of(renderer)->resources, resource);
    return ctx && entry ? pv_vn_context_attach(ctx, resource, entry->owner) : -ENOENT;
}

static void venus_detach(struct pv_renderer *renderer, uint32_t context, uint32_t resource)
{
    struct pv_vn_context *ctx = context_of(renderer, context);
    if (ctx)
        pv_vn_context_detach(ctx, resource);
}

static void venus_resource_destroy(struct pv_renderer *renderer, uint32_t resource)
{
    struct venus *venus = venus_of(renderer);
    struct pv_gpu_entry entry, *context;
    if (!pv_gpu_table_remove(&venus->resources, resource, &entry))
        return;
    for (size_t cursor = 0; (context = pv_gpu_table_next(&venus->contexts, &cursor));)
        pv_vn_context_detach(context->owner, resource);
    pv_gpu_memory_unref(entry.owner);
}

static int venus_submit(struct pv_renderer *renderer, uint32_t context, const void *commands,
                        size_t size, struct pv_error **err)
{
    struct pv_vn_context *ctx = context_of(renderer, context);
    if (!ctx)
        return pv_error_set(err, ENOENT, "no context %u", context);
    if (pv_vn_context_gone(ctx))
        return pv_error_set(err, EIO, "context %u is lost", context);
    return size ? pv_vn_context_queue(ctx, commands, size, 0, 0, err) : 0;
}

static int venus_fence(struct pv_renderer *renderer, uint32_t context, uint32_t timeline,
                       uint64_t fence, struct pv_error **err)
{
    struct pv_vn_context *ctx = context_of(renderer, context);
    if (!ctx)
        return pv_error_set(err, ENOENT, "no context %u", context);
    return pv_vn_context_queue(ctx, NULL, 0, timeline, fence, err);
}

const struct pv_renderer_ops pv_renderer_venus = {
    .name = "venus",
    .create = venus_create,
    .destroy = venus_destroy,
    .capset = venus_capset,
    .context_create = venus_context_create,
    .context_destroy = venus_context_destroy,
    .context_lost = venus_context_lost,
    .blob_create = venus_blob_create,
    .blob_map = venus_blob_map,
    .attach = venus_attach,
    .detach = venus_detach,
    .resource_destroy = venus_resource_destroy,
    .submit = venus_submit,
    .fence = venus_fence,
};
