/* SPDX-License-Identifier: MIT */
/* Contexts, blobs and commands for the renderer. */
#include "device/gpu_impl.h"

#include "base/checked.h"
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <string.h>

#define SUBMIT_MAX (64u << 20)

/*
 * A context that names no capset is whatever the renderer has by default. Kernels make one for each
 * process that did not ask for any, if only to pass buffers along, so where the renderer has no
 * default it is one that resources can be attached to, and no more.
 */
enum { CONTEXT_RENDERS, CONTEXT_PLAIN };

static bool context_known(const struct gpu *gpu, uint32_t context)
{
    return context && pv_gpu_table_find(&gpu->contexts, context);
}

bool gpu_context_renders(const struct gpu *gpu, uint32_t context)
{
    const struct pv_gpu_entry *entry = context ? pv_gpu_table_find(&gpu->contexts, context) : NULL;
    return entry && entry->type == CONTEXT_RENDERS;
}

/* What the renderer said, in the device's words; the log has the rest. */
static enum gpu_type refused(int ret, const struct pv_error *err)
{
    pv_debug(PV_LOG_GPU, "refused: %s", pv_error_message(err));
    switch (ret) {
    case -ENOMEM:
    case -E2BIG: return GPU_ERR_OUT_OF_MEMORY;
    case -EINVAL: return GPU_ERR_INVALID_PARAMETER;
    case -EEXIST: return GPU_ERR_INVALID_RESOURCE_ID;
    default: return GPU_ERR_UNSPEC;
    }
}

/* ---- Capsets ---- */

enum gpu_type gpu_get_capset_info(struct gpu *gpu, struct gpu_request *request, const void *command)
{
    const struct gpu_name *name = command;
    struct gpu_capset_info *info = &request->out.capset_info;
    if (name->id >= gpu->capset_count)
        return GPU_ERR_INVALID_PARAMETER;
    uint32_t id = gpu->capsets[name->id];
    *info = (struct gpu_capset_info){
        .id = id,
        .max_version = id == PV_CAPSET_VENUS ? 0 : id, /* as drivers know them: 1, 2 and 0 */
        .max_size = (uint32_t)pv_renderer_capset(gpu->renderer, id, NULL, 0),
    };
    request->out_size = sizeof(*info);
    return GPU_OK_CAPSET_INFO;
}

enum gpu_type gpu_get_capset(struct gpu *gpu, struct gpu_request *request, const void *command)
{
    const struct gpu_name *name = command;
    int size = gpu->renderer ? pv_renderer_capset(gpu->renderer, name->id, request->out.capset,
                                                  sizeof(request->out.capset))
                             : -ENOENT;
    if (size < 0 || (size_t)size > sizeof(request->out.capset))
        return GPU_ERR_INVALID_PARAMETER;
    request->out_size = (size_t)size;
    return GPU_OK_CAPSET;
}

/* ---- Contexts ---- */

enum gpu_type gpu_ctx_create(struct gpu *gpu, struct gpu_request *request, const void *command)
{
    const struct gpu_ctx_create *create = command;
    const uint32_t id = create->header.ctx_id, capset = create->context_init & 0xff;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    char name[sizeof(create->name) + 1] = {0};
    memcpy(name, create->name, PV_MIN(create->name_length, (uint32_t)sizeof(create->name)));
    if (!id || context_known(gpu, id))
        return GPU_ERR_INVALID_CONTEXT_ID;
    if (pv_gpu_table_add(&gpu->contexts, &(struct pv_gpu_entry){.id = id}) < 0)
        return GPU_ERR_OUT_OF_MEMORY;
    int ret = pv_renderer_context_create(gpu->renderer, id, capset, name, &err);
    if (ret >= 0)
        return GPU_OK_NODATA;
    if (ret == -EINVAL && !capset) {
        pv_gpu_table_find(&gpu->contexts, id)->type = CONTEXT_PLAIN;
        return GPU_OK_NODATA;
    }
    pv_gpu_table_remove(&gpu->contexts, id, NULL);
    return refused(ret, err);
}

enum gpu_type gpu_ctx_destroy(struct gpu *gpu, struct gpu_request *request, const void *command)
{
    const uint32_t id = request->header.ctx_id;
    struct pv_gpu_entry entry;
    if (!id || !pv_gpu_table_remove(&gpu->contexts, id, &entry))
        return GPU_ERR_INVALID_CONTEXT_ID;
    if (entry.type == CONTEXT_RENDERS)
        pv_renderer_context_destroy(gpu->renderer, id);
    gpu_fences_abandon(gpu, id);
    return GPU_OK_NODATA;
}

void gpu_contexts_free(struct gpu *gpu)
{
    struct pv_gpu_entry *entry;
    for (size_t cursor = 0; (entry = pv_gpu_table_next(&gpu->contexts, &cursor));)
        if (entry->type == CONTEXT_RENDERS)
            pv_renderer_context_destroy(gpu->renderer, (uint32_t)entry->id);
    pv_gpu_table_finish(&gpu->contexts);
}

/* Whether a context and a resource are both the renderer's. */
static bool of_renderer(const struct gpu *gpu, uint32_t context,
                        const struct gpu_resource *resource)
{
    return (resource->kind == GPU_BLOB_HOST || resource->kind == GPU_TEXTURE) &&
           gpu_context_renders(gpu, context);
}

/* Drivers attach everything that a process opens, also what the renderer need not know. */
enum gpu_type gpu_ctx_attach(struct gpu *gpu, struct gpu_request *request, const void *command)
{
    const struct gpu_name *name = command;
    const struct gpu_resource *resource = gpu_resource_find(gpu, name->id);
    if (!context_known(gpu, request->header.ctx_id))
        return GPU_ERR_INVALID_CONTEXT_ID;
    if (!resource)
        return GPU_ERR_INVALID_RESOURCE_ID;
    if (of_renderer(gpu, request->header.ctx_id, resource) &&
        pv_renderer_attach(gpu->renderer, request->header.ctx_id, name->id) < 0)
        return GPU_ERR_UNSPEC;
    return GPU_OK_NODATA;
}

enum gpu_type gpu_ctx_detach(struct gpu *gpu, struct gpu_request *request, const void *command)
{
    const struct gpu_name *name = command;
    const struct gpu_resource *resource = gpu_resource_find(gpu, name->id);
    if (!context_known(gpu, request->header.ctx_id))
        return GPU_ERR_INVALID_CONTEXT_ID;
    if (!resource)
        return GPU_ERR_INVALID_RESOURCE_ID;
    if (of_renderer(gpu, request->header.ctx_id, resource))
        pv_renderer_detach(gpu->renderer, request->header.ctx_id, name->id);
    return GPU_OK_NODATA;
}

enum gpu_type gpu_submit_3d(struct gpu *gpu, struct gpu_request *request, const void *command)
{
    const struct gpu_submit_3d *submit = command;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    if (!gpu_context_renders(gpu, request->header.ctx_id))
        return GPU_ERR_INVALID_CONTEXT_ID;
    if (submit->size > SUBMIT_MAX ||
        submit->size > request->chain->out_bytes - request->command_size)
        return GPU_ERR_INVALID_PARAMETER;
    PV_CLEANUP_FREE char *commands = malloc(PV_MAX(submit->size, 1u));
    if (!commands)
        return GPU_ERR_OUT_OF_MEMORY;
    pv_virtq_read(request->chain, request->command_size, commands, submit->size);
    int ret =
        pv_renderer_submit(gpu->renderer, request->header.ctx_id, commands, submit->size, &err);
    return ret < 0 ? refused(ret, err) : GPU_OK_NODATA;
}

/* ---- Textures ---- */

/*
 * Renderers of Vulkan have none. A plain image is a 2D resource then, which is all that drivers
 * make of it who draw by CPU.
 */
static enum gpu_type plain_texture(struct gpu *gpu, struct gpu_resource *resource,
                                   const struct gpu_create_3d *create)
{
    enum { TEXTURE_2D = 2 };
    if (create->target != TEXTURE_2D || create->depth != 1 || create->array_size != 1 ||
        create->last_level || create->samples > 1)
        return GPU_ERR_INVALID_PARAMETER;
    resource->kind = GPU_2D;
    return gpu_resource_pixels(gpu, resource);
}

enum gpu_type gpu_resource_create_3d(struct gpu *gpu, struct gpu_request *request,
                                     const void *command)
{
    const struct gpu_create_3d *create = command;
    const struct pv_renderer_texture texture = {
        create->target, create->format,     create->bind,       create->width,   create->height,
        create->depth,  create->array_size, create->last_level, create->samples, create->flags,
    };
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct gpu_resource *resource;
    enum gpu_type result = gpu_resource_new(gpu, create->resource, GPU_TEXTURE, &resource);
    if (result != GPU_OK_NODATA)
        return result;
    resource->width = create->width;
    resource->height = create->height;
    resource->format = create->format;
    int ret = pv_renderer_texture_create(gpu->renderer, create->resource, &texture, &err);
    if (ret == -ENOTSUP)
        result = plain_texture(gpu, resource, create);
    else if (ret < 0)
        result = refused(ret, err);
    if (result != GPU_OK_NODATA) {
        gpu_resource_free(gpu, resource);
        return result;
    }
    result = gpu_resource_add(gpu, resource);
    if (result != GPU_OK_NODATA && ret >= 0)
        pv_renderer_resource_destroy(gpu->renderer, create->resource);
    return result;
}

enum gpu_type gpu_transfer_3d(struct gpu *gpu, struct gpu_request *request, const void *command)
{
    const struct gpu_transfer_3d *t = command;
    const bool to_host = request->header.type == GPU_CMD_TRANSFER_TO_HOST_3D;
    struct gpu_resource *resource = gpu_resource_find(gpu, t->resource);
    if (request->header.ctx_id && !context_known(gpu, request->header.ctx_id))
        return GPU_ERR_INVALID_CONTEXT_ID;
    if (!resource)
        return GPU_ERR_INVALID_RESOURCE_ID;
    if (resource->kind == GPU_BLOB_GUEST || resource->kind == GPU_BLOB_HOST)
        return GPU_OK_NODATA;
    if (resource->kind == GPU_2D) {
        const struct gpu_copy copy = {.rect = {t->x, t->y, t->width, t->height},
                                      .offset = t->offset,
                                      .stride = t->stride ? t->stride : resource->width * 4ul,
                                      .to_host = to_host};
        return t->level || t->z || t->depth != 1 ? GPU_ERR_INVALID_PARAMETER
                                                 : gpu_copy_2d(gpu, resource, &copy);
    }
    const struct pv_renderer_transfer transfer = {
        .to_host = to_host,
        .level = t->level,
        .stride = t->stride,
        .layer_stride = t->layer_stride,
        .x = t->x,
        .y = t->y,
        .z = t->z,
        .width = t->width,
        .height = t->height,
        .depth = t->depth,
        .offset = t->offset,
    };
    int ret = pv_renderer_transfer(gpu->renderer, request->header.ctx_id, t->resource, &transfer);
    if (ret == 0 && !to_host)
        gpu_backing_written(gpu, &resource->backing);
    return ret < 0 ? refused(ret, NULL) : GPU_OK_NODATA;
}

/* ---- Blobs ---- */

static enum gpu_type create_guest_blob(struct gpu *gpu, struct gpu_request *request,
                                       const struct gpu_create_blob *create)
{
    struct gpu_resource *resource;
    enum gpu_type result = gpu_resource_new(gpu, create->resource, GPU_BLOB_GUEST, &resource);
    if (result != GPU_OK_NODATA)
        return result;
    resource->size = create->size;
    resource->blob_flags = create->blob_flags;
    result = gpu_backing_read(gpu, request, create->entries, &resource->backing);
    if (result == GPU_OK_NODATA && resource->backing.bytes < create->size)
        result = GPU_ERR_INVALID_PARAMETER;
    if (result == GPU_OK_NODATA)
        return gpu_resource_add(gpu, resource);
    gpu_resource_free(gpu, resource);
    return result;
}

static enum gpu_type create_host_blob(struct gpu *gpu, struct gpu_request *request,
                                      const struct gpu_create_blob *create)
{
    const uint32_t context = request->header.ctx_id;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct gpu_resource *resource;
    if (!gpu_context_renders(gpu, context))
        return GPU_ERR_INVALID_CONTEXT_ID;
    enum gpu_type result = gpu_resource_new(gpu, create->resource, GPU_BLOB_HOST, &resource);
    if (result != GPU_OK_NODATA)
        return result;
    resource->size = create->size;
    resource->blob_flags = create->blob_flags;
    int ret = pv_renderer_blob_create(gpu->renderer, context, create->resource, create->blob_id,
                                      create->size, create->blob_flags, &err);
    if (ret < 0) {
        gpu_resource_free(gpu, resource);
        return refused(ret, err);
    }
    result = gpu_resource_add(gpu, resource);
    if (result != GPU_OK_NODATA)
        pv_renderer_resource_destroy(gpu->renderer, create->resource);
    return result;
}

enum gpu_type gpu_create_blob(struct gpu *gpu, struct gpu_request *request, const void *command)
{
    const struct gpu_create_blob *create = command;
    const uint32_t flags = PV_BLOB_MAPPABLE | PV_BLOB_SHAREABLE | PV_BLOB_CROSS_DEVICE;
    if (!create->size || (create->blob_flags & ~flags))
        return GPU_ERR_INVALID_PARAMETER;
    if (create->blob_mem == GPU_BLOB_MEM_GUEST)
        return create_guest_blob(gpu, request, create);
    /* Memory of both host and guest is for renderers that keep textures of their own. */
    if (create->blob_mem != GPU_BLOB_MEM_HOST3D || !gpu->renderer)
        return GPU_ERR_INVALID_PARAMETER;
    return create_host_blob(gpu, request, create);
}

static int describe(struct gpu *gpu, struct gpu_resource *resource,
                    struct pv_renderer_mapping *mapping, struct pv_error **err)
{
    int ret = pv_renderer_blob_map(gpu->renderer, resource->id, mapping, err);
    if (ret == 0 && (!mapping->host || mapping->size < resource->size))
        ret = pv_error_set(err, EINVAL, "resource %u has no memory of its size", resource->id);
    return ret;
}

bool gpu_blob_host(struct gpu *gpu, struct gpu_resource *resource)
{
    struct pv_renderer_mapping mapping;
    if (!resource->host && describe(gpu, resource, &mapping, NULL) == 0)
        resource->host = mapping.host;
    return resource->host;
}

enum gpu_type gpu_map_blob(struct gpu *gpu, struct gpu_request *request, const void *command)
{
    const struct gpu_map_blob *map = command;
    struct gpu_resource *resource = gpu_resource_find(gpu, map->resource);
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct pv_renderer_mapping mapping;
    if (!resource)
        return GPU_ERR_INVALID_RESOURCE_ID;
    if (!gpu->window || resource->kind != GPU_BLOB_HOST || resource->mapped ||
        !(resource->blob_flags & PV_BLOB_MAPPABLE))
        return GPU_ERR_INVALID_PARAMETER;
    int ret = describe(gpu, resource, &mapping, &err);
    if (ret == 0)
        ret = pv_gpu_window_map(gpu->window, map->offset, mapping.size, mapping.host, mapping.fd,
                                &err);
    if (ret < 0) {
        enum gpu_type result = refused(ret, err);
        return ret == -EEXIST ? GPU_ERR_INVALID_PARAMETER : result;
    }
    resource->mapped = true;
    resource->window_offset = map->offset;
    request->out.map_info[0] = mapping.map_info;
    request->out.map_info[1] = 0;
    request->out_size = sizeof(request->out.map_info);
    return GPU_OK_MAP_INFO;
}

void gpu_blob_unmap(struct gpu *gpu, struct gpu_resource *resource)
{
    if (resource->mapped)
        pv_gpu_window_unmap(gpu->window, resource->window_offset);
    resource->mapped = false;
}

enum gpu_type gpu_unmap_blob(struct gpu *gpu, struct gpu_request *request, const void *command)
{
    const struct gpu_name *name = command;
    struct gpu_resource *resource = gpu_resource_find(gpu, name->id);
    if (!resource)
        return GPU_ERR_INVALID_RESOURCE_ID;
    if (!resource->mapped)
        return GPU_ERR_INVALID_PARAMETER;
    gpu_blob_unmap(gpu, resource);
    return GPU_OK_NODATA;
}
