/* SPDX-License-Identifier: MIT */
/*
 * What the files of virtio-gpu share: gpu.c (queues, fences, life), gpu_resource.c (resources and
 * the guest memory behind them), gpu_scanout.c (what is shown), gpu_3d.c (contexts and blobs),
 * gpu_record.c (snapshots).
 *
 * Everything is under the device's lock, except what is said to be under fence_lock.
 */
#ifndef PV_DEVICE_GPU_IMPL_H
#define PV_DEVICE_GPU_IMPL_H

#include "device/gpu.h"
#include "device/gpu_protocol.h"
#include "display/display.h"
#include "gpu/renderer.h"
#include "gpu/table.h"
#include "gpu/window.h"
#include "virtio/device_impl.h"

#define GPU_QUEUE_SIZE  256u
#define GPU_BACKING_MAX 65536u /* pages of a 256 MiB resource, none next to another */

enum gpu_kind {
    GPU_2D,         /* pixels of ours, filled from the backing by transfers */
    GPU_BLOB_GUEST, /* the backing itself */
    GPU_BLOB_HOST,  /* the renderer's memory */
    GPU_TEXTURE,    /* the renderer's */
};

/* Guest memory behind a resource: pieces in order, adjoining ones made one. */
struct gpu_backing {
    struct iovec *iov;
    struct gpu_place {
        uint64_t address; /* in the guest */
        uint64_t start;   /* in the resource */
    } * places;           /* of each piece */
    unsigned count;
    uint64_t bytes;
    uint64_t charged; /* for the lists */
};

struct gpu_resource {
    uint32_t id;
    enum gpu_kind kind;
    uint32_t width, height, format; /* 2D; a blob's are the scanout's */
    uint8_t *pixels;                /* 2D */
    uint64_t size;                  /* bytes of the pixels or the blob */
    uint32_t blob_flags;
    struct gpu_backing backing;
    void *host; /* GPU_BLOB_HOST, once mapped or shown */
    bool mapped;
    uint64_t window_offset;
    bool named; /* it has a UUID */
    uint8_t uuid[16];
};

struct gpu_scanout {
    uint32_t resource; /* 0: nothing is shown */
    struct gpu_rect rect;
    uint32_t format, stride;
    uint64_t offset;
    uint32_t want_width, want_height; /* what the guest is told; 0: not connected */
};

/* A request that is answered once its fence is reached. */
struct gpu_pending {
    struct pv_virtq_chain chain;
    size_t written;
    uint64_t serial;
    uint64_t order; /* fences of the same value are answered in order */
    uint32_t context;
    bool done;
};

struct gpu {
    struct pv_virtio_device base;
    struct pv_virtio_shm shm;
    struct pv_display *display;
    unsigned heads;
    struct pv_renderer *renderer; /* NULL: 2D only */
    struct pv_gpu_window *window; /* or NULL */
    uint32_t capsets[3];
    unsigned capset_count;
    uint32_t events;

    struct pv_gpu_table resources; /* owner: struct gpu_resource */
    struct pv_gpu_table contexts;
    struct gpu_scanout scanouts[PV_DISPLAY_HEADS];
    uint64_t charged; /* bytes that resources take here */
    bool stale;       /* of before a reset: to be cleared on the loop before anything else */

    struct gpu_pending pending[GPU_QUEUE_SIZE]; /* oldest first */
    unsigned pending_count;
    uint64_t next_serial;

    struct pv_event *event; /* fences were reached, or there is stale state */
    pthread_mutex_t fence_lock;
    uint64_t first_serial; /* older ones are of before a reset */
    uint64_t reached[GPU_QUEUE_SIZE];
    unsigned reached_count;
};

/* A request being answered. */
struct gpu_request {
    const struct pv_virtq_chain *chain;
    struct gpu_header header;
    size_t command_size; /* what follows it in the chain are entries, or 3D commands */
    /* The response behind its header. */
    union {
        struct gpu_display_info display_info;
        struct gpu_capset_info capset_info;
        struct gpu_edid edid;
        uint8_t uuid[16];
        uint32_t map_info[2];
        uint8_t capset[4096];
    } out;
    size_t out_size;
};

/* `command` is the whole fixed part of the request. They return the response's type. */
typedef enum gpu_type gpu_command_fn(struct gpu *gpu, struct gpu_request *request,
                                     const void *command);

/* ---- gpu_resource.c ---- */

gpu_command_fn gpu_resource_create_2d, gpu_resource_unref, gpu_attach_backing, gpu_detach_backing,
    gpu_transfer_to_host_2d, gpu_assign_uuid;

struct gpu_resource *gpu_resource_find(const struct gpu *gpu, uint32_t id);
/* A blank resource, not in the table yet; fails for an id that cannot be or is in use. */
enum gpu_type gpu_resource_new(struct gpu *gpu, uint32_t id, enum gpu_kind kind,
                               struct gpu_resource **out);
/* Enters a resource that has been filled in; takes it over, also on failure. */
enum gpu_type gpu_resource_add(struct gpu *gpu, struct gpu_resource *resource);
void gpu_resource_free(struct gpu *gpu, struct gpu_resource *resource);
void gpu_resource_free_all(struct gpu *gpu);
/* Pixels for a 2D resource of width and height. */
enum gpu_type gpu_resource_pixels(struct gpu *gpu, struct gpu_resource *resource);
/* Takes `bytes` from what this device may hold; false when that is exhausted. */
bool gpu_charge(struct gpu *gpu, uint64_t bytes);

/* Reads `count` entries that follow the request's fixed part. */
enum gpu_type gpu_backing_read(struct gpu *gpu, const struct gpu_request *request, uint32_t count,
                               struct gpu_backing *backing);
/* An empty backing with room for so many pieces, and the next of them: false when it is no RAM. */
enum gpu_type gpu_backing_begin(struct gpu *gpu, struct gpu_backing *backing, uint32_t count);
bool gpu_backing_append(struct gpu *gpu, struct gpu_backing *backing, uint64_t address,
                        uint64_t length);
/* The renderer wrote to the guest memory: the dirty log is told. */
void gpu_backing_written(struct gpu *gpu, const struct gpu_backing *backing);
/* Copies between the 2D pixels and the backing. */
struct gpu_copy {
    struct gpu_rect rect;
    uint64_t offset, stride; /* in the backing */
    bool to_host;
};
enum gpu_type gpu_copy_2d(struct gpu *gpu, struct gpu_resource *resource,
                          const struct gpu_copy *copy);
/* Copies from a resource, whatever it is made of; the range is known to be inside. */
void gpu_resource_read(const struct gpu_resource *resource, uint64_t offset, void *buf, size_t len);

static inline bool gpu_rect_inside(const struct gpu_rect *rect, uint32_t width, uint32_t height)
{
    return rect->width && rect->height && rect->x <= width && rect->width <= width - rect->x &&
           rect->y <= height && rect->height <= height - rect->y;
}

/* ---- gpu_scanout.c ---- */

gpu_command_fn gpu_get_display_info, gpu_get_edid, gpu_set_scanout, gpu_set_scanout_blob, gpu_flush,
    gpu_update_cursor, gpu_move_cursor;

bool gpu_format_known(uint32_t format);
/* Nothing shows the resource any more. */
void gpu_scanout_forget(struct gpu *gpu, uint32_t resource);
void gpu_scanout_off(struct gpu *gpu, unsigned head);
/* Shows what a loaded scanout says; false when that cannot be. */
bool gpu_scanout_restore(struct gpu *gpu, unsigned head);
/* A monitor's description: returns its size. */
size_t gpu_edid_make(uint8_t edid[128], unsigned head, uint32_t width, uint32_t height);

/* ---- gpu_3d.c ---- */

gpu_command_fn gpu_get_capset_info, gpu_get_capset, gpu_create_blob, gpu_ctx_create,
    gpu_ctx_destroy, gpu_ctx_attach, gpu_ctx_detach, gpu_resource_create_3d, gpu_transfer_3d,
    gpu_submit_3d, gpu_map_blob, gpu_unmap_blob;

/* Finds the pointer of a host blob; false when there is none. */
bool gpu_blob_host(struct gpu *gpu, struct gpu_resource *resource);
void gpu_blob_unmap(struct gpu *gpu, struct gpu_resource *resource);
void gpu_contexts_free(struct gpu *gpu);
/* The context is there, and the renderer has it, too. */
bool gpu_context_renders(const struct gpu *gpu, uint32_t context);

/* ---- gpu_record.c ---- */

void gpu_record(struct pv_virtio_device *dev, struct pv_record *record);

/* ---- gpu.c ---- */

/* Gives up all that the guest made. */
void gpu_clear(struct gpu *gpu);
/* Requests of a context that waits for fences which will not come are answered. */
void gpu_fences_abandon(struct gpu *gpu, uint32_t context);

#endif
