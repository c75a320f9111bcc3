/* SPDX-License-Identifier: MIT */
/*
 * pv_renderer: who executes guest GPU commands. For those who call the seam (the virtio-gpu device,
 * the vtest server); renderer_impl.h is for those who implement it.
 *
 * The model is virtio-gpu's: a guest makes contexts, attaches resources to them, submits command
 * bytes and asks for fences. All calls come from one thread at a time; they may wait for a
 * context's earlier submissions, so not from a vCPU. Callbacks come from the renderer's threads.
 */
#ifndef PV_GPU_RENDERER_H
#define PV_GPU_RENDERER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct iovec;
struct pv_error;
struct pv_renderer;

/* virtio-gpu's numbers */
#define PV_CAPSET_VIRGL  1u
#define PV_CAPSET_VIRGL2 2u
#define PV_CAPSET_VENUS  4u

/* virtio-gpu 5.7.6.8: blob flags */
#define PV_BLOB_MAPPABLE     1u
#define PV_BLOB_SHAREABLE    2u
#define PV_BLOB_CROSS_DEVICE 4u

/* What the guest should map a blob as (virtio-gpu's map_info). */
#define PV_BLOB_CACHED 1u
#define PV_BLOB_WC     3u

/* Contexts' fences come on up to that many timelines; 0 is that of the submissions themselves. */
#define PV_RENDERER_TIMELINES 64u

struct pv_renderer_config {
    /* The Vulkan loader to open, NULL for the system's. */
    const char *vulkan_library;
    /* Device memory of one context, and host memory of all of them that guests can map (blobs and
     * host-visible device memory), in bytes. 0: no limit. */
    uint64_t context_memory_max, host_memory_max;
    /* Blobs must be shareable as a descriptor (vtest), so memory without one is not host-visible.
     */
    bool need_fd;
    /* A fence was reached. From any of the renderer's threads. */
    void (*fence_done)(void *opaque, uint32_t context, uint32_t timeline, uint64_t fence);
    void *opaque;
};

/* The memory behind a blob. Valid until the resource is destroyed. */
struct pv_renderer_mapping {
    void *host;
    uint64_t size; /* page-rounded */
    int fd;        /* the renderer's; -1 when only `host` is there */
    uint32_t map_info;
};

/* Creates the renderer called `name`; -ENOENT names those there are. */
int pv_renderer_create(struct pv_renderer **out, const char *name,
                       const struct pv_renderer_config *config, struct pv_error **err);
/* NULL is fine. Every context is destroyed first; no callback comes afterwards. */
void pv_renderer_destroy(struct pv_renderer *renderer);

/* The names for pv_renderer_create, NULL-terminated. */
const char *const *pv_renderer_names(void);

/* Copies capset `id` (at most `size` bytes) and returns its full size; -ENOENT: not offered. */
int pv_renderer_capset(struct pv_renderer *renderer, uint32_t id, void *buf, size_t size);

/* -EEXIST for an id in use, -EINVAL for a capset not offered. */
int pv_renderer_context_create(struct pv_renderer *renderer, uint32_t context, uint32_t capset,
                               const char *name, struct pv_error **err);
void pv_renderer_context_destroy(struct pv_renderer *renderer, uint32_t context);

/* Whether the guest sent something that cost it the context. */
bool pv_renderer_context_lost(struct pv_renderer *renderer, uint32_t context);

/*
 * A blob resource of `size` bytes, attached to `context`: shared memory (blob_id 0), or what the
 * context's command stream named `blob_id`.
 */
int pv_renderer_blob_create(struct pv_renderer *renderer, uint32_t context, uint32_t resource,
                            uint64_t blob_id, uint64_t size, uint32_t flags, struct pv_error **err);
int pv_renderer_blob_map(struct pv_renderer *renderer, uint32_t resource,
                         struct pv_renderer_mapping *out, struct pv_error **err);
int pv_renderer_attach(struct pv_renderer *renderer, uint32_t context, uint32_t resource);
void pv_renderer_detach(struct pv_renderer *renderer, uint32_t context, uint32_t resource);
/* Drops the caller's hold; memory that a context still uses stays until it is done. */
void pv_renderer_resource_destroy(struct pv_renderer *renderer, uint32_t resource);

/*
 * Textures, for renderers of OpenGL (others: -ENOTSUP): resources that the renderer keeps, and
 * copies to and from guest memory when told. Fields are virtio-gpu's RESOURCE_CREATE_3D (5.7.6.8).
 */
struct pv_renderer_texture {
    uint32_t target, format, bind, width, height, depth, array_size, last_level, samples, flags;
};

struct pv_renderer_transfer {
    bool to_host; /* else from it */
    uint32_t level, stride, layer_stride;
    uint32_t x, y, z, width, height, depth;
    uint64_t offset; /* in the backing */
};

int pv_renderer_texture_create(struct pv_renderer *renderer, uint32_t resource,
                               const struct pv_renderer_texture *texture, struct pv_error **err);
/* The guest memory behind a texture, until it is told anew; count 0 takes it away. */
int pv_renderer_texture_back(struct pv_renderer *renderer, uint32_t resource,
                             const struct iovec *iov, unsigned count);
/* -EINVAL for a box outside the texture or beyond its backing. */
int pv_renderer_transfer(struct pv_renderer *renderer, uint32_t context, uint32_t resource,
                         const struct pv_renderer_transfer *transfer);

/* Queues a copy of the commands (a multiple of 4 bytes). -EIO when the context is lost. */
int pv_renderer_submit(struct pv_renderer *renderer, uint32_t context, const void *commands,
                       size_t size, struct pv_error **err);

/*
 * Calls fence_done once all that was submitted before is done on that timeline. Always answered, a
 * lost context's too. -EINVAL for a timeline out of range.
 */
int pv_renderer_fence(struct pv_renderer *renderer, uint32_t context, uint32_t timeline,
                      uint64_t fence, struct pv_error **err);

#endif
