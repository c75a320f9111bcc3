/* SPDX-License-Identifier: MIT */
/* The seam's front: finds an implementation, checks what is common to all, passes calls on. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/util.h"
#include "gpu/describe.h"
#include "gpu/renderer_impl.h"

static const struct pv_renderer_ops *const renderers[] = {
#ifdef PV_HAVE_VENUS
    &pv_renderer_venus,
#endif
#ifdef PV_HAVE_VIRGL
    &pv_renderer_virgl,
#endif
    &pv_renderer_null,
};

static const char *const names[] = {
#ifdef PV_HAVE_VENUS
    "venus",
#endif
#ifdef PV_HAVE_VIRGL
    "virgl",
#endif
    "null",
    NULL,
};

#ifdef PV_HAVE_VENUS
#define VENUS_NAME "venus, "
#define WITHOUT    ""
#else
#define VENUS_NAME ""
#define WITHOUT    " (this build has no Vulkan headers, so no venus)"
#endif
#ifdef PV_HAVE_VIRGL
#define VIRGL_NAME "virgl, "
#else
#define VIRGL_NAME ""
#endif
#define NAMES VENUS_NAME VIRGL_NAME "null" WITHOUT

const char *const *pv_renderer_names(void)
{
    return names;
}

int pv_renderer_create(struct pv_renderer **out, const char *name,
                       const struct pv_renderer_config *config, struct pv_error **err)
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(renderers); i++)
        if (strcmp(renderers[i]->name, name) == 0)
            return renderers[i]->create(out, config, err);
    return pv_error_set(err, ENOENT, "no renderer '%s'; there is: %s", name, NAMES);
}

void pv_renderer_destroy(struct pv_renderer *renderer)
{
    if (renderer)
        renderer->ops->destroy(renderer);
}

int pv_renderer_capset(struct pv_renderer *renderer, uint32_t id, void *buf, size_t size)
{
    return renderer->ops->capset(renderer, id, buf, size);
}

int pv_renderer_context_create(struct pv_renderer *renderer, uint32_t context, uint32_t capset,
                               const char *name, struct pv_error **err)
{
    return renderer->ops->context_create(renderer, context, capset, name, err);
}

void pv_renderer_context_destroy(struct pv_renderer *renderer, uint32_t context)
{
    renderer->ops->context_destroy(renderer, context);
}

bool pv_renderer_context_lost(struct pv_renderer *renderer, uint32_t context)
{
    return renderer->ops->context_lost(renderer, context);
}

int pv_renderer_blob_create(struct pv_renderer *renderer, uint32_t context, uint32_t resource,
                            uint64_t blob_id, uint64_t size, uint32_t flags, struct pv_error **err)
{
    if (!resource)
        return pv_error_set(err, EINVAL, "resource 0");
    if (!size || size > UINT64_C(1) << 40)
        return pv_error_set(err, EINVAL, "a blob of %llu bytes", (unsigned long long)size);
    return renderer->ops->blob_create(renderer, context, resource, blob_id, size, flags, err);
}

int pv_renderer_blob_map(struct pv_renderer *renderer, uint32_t resource,
                         struct pv_renderer_mapping *out, struct pv_error **err)
{
    return renderer->ops->blob_map(renderer, resource, out, err);
}

int pv_renderer_attach(struct pv_renderer *renderer, uint32_t context, uint32_t resource)
{
    return renderer->ops->attach(renderer, context, resource);
}

void pv_renderer_detach(struct pv_renderer *renderer, uint32_t context, uint32_t resource)
{
    renderer->ops->detach(renderer, context, resource);
}

void pv_renderer_resource_destroy(struct pv_renderer *renderer, uint32_t resource)
{
    renderer->ops->resource_destroy(renderer, resource);
}

int pv_renderer_texture_create(struct pv_renderer *renderer, uint32_t resource,
                               const struct pv_renderer_texture *texture, struct pv_error **err)
{
    if (!renderer->ops->texture_create)
        return pv_error_set(err, ENOTSUP, "the %s renderer has no textures", renderer->ops->name);
    if (!resource)
        return pv_error_set(err, EINVAL, "resource 0");
    return renderer->ops->texture_create(renderer, resource, texture, err);
}

int pv_renderer_texture_back(struct pv_renderer *renderer, uint32_t resource,
                             const struct iovec *iov, unsigned count)
{
    return renderer->ops->texture_back ? renderer->ops->texture_back(renderer, resource, iov, count)
                                       : -ENOTSUP;
}

int pv_renderer_transfer(struct pv_renderer *renderer, uint32_t context, uint32_t resource,
                         const struct pv_renderer_transfer *transfer)
{
    return renderer->ops->transfer ? renderer->ops->transfer(renderer, context, resource, transfer)
                                   : -ENOTSUP;
}

int pv_renderer_submit(struct pv_renderer *renderer, uint32_t context, const void *commands,
                       size_t size, struct pv_error **err)
{
    if (size % 4)
        return pv_error_set(err, EINVAL, "commands of %zu bytes, not a multiple of 4", size);
    return renderer->ops->submit(renderer, context, commands, size, err);
}

int pv_renderer_fence(struct pv_renderer *renderer, uint32_t context, uint32_t timeline,
                      uint64_t fence, struct pv_error **err)
{
    if (timeline >= PV_RENDERER_TIMELINES)
        return pv_error_set(err, EINVAL, "timeline %u, of %u", timeline, PV_RENDERER_TIMELINES);
    return renderer->ops->fence(renderer, context, timeline, fence, err);
}

#ifndef PV_HAVE_VENUS
int pv_gpu_describe(struct pv_buffer *out, const char *library, struct pv_error **err)
{
    return pv_error_set(err, ENOTSUP,
                        "this build has no Vulkan: install libvulkan-dev and build again");
}
#endif
