/* SPDX-License-Identifier: MIT */
/* For those who implement pv_renderer (renderer.h): the ops, one for each call of the seam. */
#ifndef PV_GPU_RENDERER_IMPL_H
#define PV_GPU_RENDERER_IMPL_H

#include "gpu/renderer.h"

struct pv_renderer_ops {
    const char *name;
    int (*create)(struct pv_renderer **out, const struct pv_renderer_config *config,
                  struct pv_error **err);
    void (*destroy)(struct pv_renderer *renderer);
    int (*capset)(struct pv_renderer *renderer, uint32_t id, void *buf, size_t size);
    int (*context_create)(struct pv_renderer *renderer, uint32_t context, uint32_t capset,
                          const char *name, struct pv_error **err);
    void (*context_destroy)(struct pv_renderer *renderer, uint32_t context);
    bool (*context_lost)(struct pv_renderer *renderer, uint32_t context);
    int (*blob_create)(struct pv_renderer *renderer, uint32_t context, uint32_t resource,
                       uint64_t blob_id, uint64_t size, uint32_t flags, struct pv_error **err);
    int (*blob_map)(struct pv_renderer *renderer, uint32_t resource,
                    struct pv_renderer_mapping *out, struct pv_error **err);
    int (*attach)(struct pv_renderer *renderer, uint32_t context, uint32_t resource);
    void (*detach)(struct pv_renderer *renderer, uint32_t context, uint32_t resource);
    void (*resource_destroy)(struct pv_renderer *renderer, uint32_t resource);
    /* NULL: no textures */
    int (*texture_create)(struct pv_renderer *renderer, uint32_t resource,
                          const struct pv_renderer_texture *texture, struct pv_error **err);
    int (*texture_back)(struct pv_renderer *renderer, uint32_t resource, const struct iovec *iov,
                        unsigned count);
    int (*transfer)(struct pv_renderer *renderer, uint32_t context, uint32_t resource,
                    const struct pv_renderer_transfer *transfer);
    int (*submit)(struct pv_renderer *renderer, uint32_t context, const void *commands, size_t size,
                  struct pv_error **err);
    int (*fence)(struct pv_renderer *renderer, uint32_t context, uint32_t timeline, uint64_t fence,
                 struct pv_error **err);
};

/* Embedded first in every implementation. */
struct pv_renderer {
    const struct pv_renderer_ops *ops;
};

extern const struct pv_renderer_ops pv_renderer_null;
extern const struct pv_renderer_ops pv_renderer_venus;
extern const struct pv_renderer_ops pv_renderer_virgl;

#endif
