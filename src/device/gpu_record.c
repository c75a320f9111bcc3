/* SPDX-License-Identifier: MIT */
/*
 * What a snapshot has of virtio-gpu: resources with their pixels, what the heads show, the pointer.
 * Contexts are the renderer's and live in the host's driver: a guest that has any, or memory of
 * theirs, is refused until its programs let go of them. Guest memory behind resources is saved as a
 * list of places, which are looked up again.
 */
#include "device/gpu_impl.h"

#include "base/checked.h"
#include "base/record.h"
#include "base/util.h"

#include <errno.h>
#include <string.h>

static void refuse(struct pv_record *record)
{
    pv_record_fail(record, ENOTSUP,
                   "the guest's programs use the GPU for 3D, which cannot be saved; when they have "
                   "ended, it can");
}

static bool saveable(const struct gpu *gpu)
{
    const struct pv_gpu_entry *entry;

    for (size_t cursor = 0; (entry = pv_gpu_table_next(&gpu->resources, &cursor));) {
        const struct gpu_resource *resource = entry->owner;
        if (resource->kind != GPU_2D && resource->kind != GPU_BLOB_GUEST)
            return false;
    }
    return !gpu->contexts.count;
}

/* ---- Resources ---- */

/* All but the pieces of its backing and its pixels. */
static void record_head(struct pv_record *record, struct gpu_resource *resource, uint32_t *pieces)
{
    uint32_t kind = resource->kind;

    pv_record_u32(record, &resource->id);
    pv_record_limited(record, &kind, GPU_BLOB_GUEST);
    pv_record_u32(record, &resource->width);
    pv_record_u32(record, &resource->height);
    pv_record_u32(record, &resource->format);
    pv_record_u32(record, &resource->blob_flags);
    pv_record_u64(record, &resource->size);
    pv_record_bool(record, &resource->named);
    pv_record_bytes(record, resource->uuid, sizeof(resource->uuid));
    pv_record_limited(record, pieces, GPU_BACKING_MAX);
    resource->kind = (enum gpu_kind)kind;
}

static void record_piece(struct pv_record *record, uint64_t *address, uint64_t *length)
{
    pv_record_u64(record, address);
    pv_record_u64(record, length);
}

static void save_resource(struct pv_record *record, struct gpu_resource *resource)
{
    struct gpu_backing *backing = &resource->backing;
    uint32_t pieces = backing->count;

    record_head(record, resource, &pieces);
    for (uint32_t i = 0; i < pieces; i++) {
        uint64_t length = backing->iov[i].iov_len;
        record_piece(record, &backing->places[i].address, &length);
    }
    if (resource->kind == GPU_2D)
        pv_record_bytes(record, resource->pixels, resource->size);
}

static bool load_backing(struct gpu *gpu, struct pv_record *record, uint32_t pieces,
                         struct gpu_backing *backing)
{
    bool fine = !pieces || gpu_backing_begin(gpu, backing, pieces) == GPU_OK_NODATA;

    for (uint32_t i = 0; i < pieces && fine; i++) {
        uint64_t address = 0, length = 0;
        record_piece(record, &address, &length);
        fine = length <= SIZE_MAX && gpu_backing_append(gpu, backing, address, length);
    }
    return fine && pv_record_ok(record);
}

/* Fills in a blank resource. */
static bool load_rest(struct gpu *gpu, struct pv_record *record, uint32_t pieces,
                      struct gpu_resource *resource)
{
    if (!load_backing(gpu, record, pieces, &resource->backing))
        return false;
    if (resource->kind == GPU_BLOB_GUEST)
        return resource->size && resource->size <= resource->backing.bytes;
    if (gpu_resource_pixels(gpu, resource) != GPU_OK_NODATA)
        return false;
    pv_record_bytes(record, resource->pixels, resource->size);
    return pv_record_ok(record);
}

static void load_resource(struct gpu *gpu, struct pv_record *record)
{
    struct gpu_resource head = {0}, *resource;
    uint32_t pieces = 0;

    record_head(record, &head, &pieces);
    if (!pv_record_ok(record))
        return;
    if (gpu_resource_new(gpu, head.id, head.kind, &resource) != GPU_OK_NODATA) {
        pv_record_fail(record, EINVAL, "resource %u cannot be", head.id);
        return;
    }
    *resource = head;
    if (!load_rest(gpu, record, pieces, resource)) {
        gpu_resource_free(gpu, resource);
        pv_record_fail(record, EINVAL, "resource %u makes no sense", head.id);
    } else if (gpu_resource_add(gpu, resource) != GPU_OK_NODATA) {
        pv_record_fail(record, ENOMEM, "no room for resource %u", head.id);
    }
}

static int by_id(const void *a, const void *b)
{
    const uint32_t x = (*(struct gpu_resource *const *)a)->id;
    const uint32_t y = (*(struct gpu_resource *const *)b)->id;

    return x < y ? -1 : x > y;
}

/* By their ids: the same state gives the same bytes, wherever it lies in the table. */
static void save_resources(struct gpu *gpu, struct pv_record *record)
{
    uint32_t count = 0;
    const struct pv_gpu_entry *entry;
    PV_CLEANUP_FREE struct gpu_resource **all =
        calloc(gpu->resources.count + 1, sizeof(struct gpu_resource *));

    if (!all) {
        pv_record_fail(record, ENOMEM, "out of memory");
        return;
    }
    for (size_t cursor = 0; (entry = pv_gpu_table_next(&gpu->resources, &cursor));)
        all[count++] = entry->owner;
    qsort(all, count, sizeof(struct gpu_resource *), by_id);
    pv_record_u32(record, &count);
    for (uint32_t i = 0; i < count; i++)
        save_resource(record, all[i]);
}

static void load_resources(struct gpu *gpu, struct pv_record *record)
{
    uint32_t count = 0;

    pv_record_u32(record, &count);
    for (uint32_t i = 0; i < count && pv_record_ok(record); i++)
        load_resource(gpu, record);
}

/* ---- Heads ---- */

static void record_scanout(struct pv_record *record, struct gpu_scanout *scanout)
{
    pv_record_u32(record, &scanout->resource);
    pv_record_u32(record, &scanout->rect.x);
    pv_record_u32(record, &scanout->rect.y);
    pv_record_u32(record, &scanout->rect.width);
    pv_record_u32(record, &scanout->rect.height);
    pv_record_u32(record, &scanout->format);
    pv_record_u32(record, &scanout->stride);
    pv_record_u64(record, &scanout->offset);
    pv_record_limited(record, &scanout->want_width, PV_DISPLAY_MAX);
    pv_record_limited(record, &scanout->want_height, PV_DISPLAY_MAX);
}

static void record_cursor(struct gpu *gpu, struct pv_record *record, unsigned head)
{
    struct pv_cursor cursor;

    pv_display_lock(gpu->display);
    cursor = *pv_display_cursor(gpu->display, head);
    pv_display_unlock(gpu->display);
    uint32_t x = (uint32_t)cursor.x, y = (uint32_t)cursor.y;
    pv_record_bool(record, &cursor.visible);
    pv_record_u32(record, &x);
    pv_record_u32(record, &y);
    pv_record_limited(record, &cursor.hot_x, PV_DISPLAY_CURSOR - 1);
    pv_record_limited(record, &cursor.hot_y, PV_DISPLAY_CURSOR - 1);
    if (cursor.visible)
        pv_record_bytes(record, cursor.pixels, sizeof(cursor.pixels));
    cursor.x = (int32_t)x;
    cursor.y = (int32_t)y;
    if (pv_record_loading(record) && pv_record_ok(record))
        pv_display_set_cursor(gpu->display, head, cursor.visible ? &cursor : NULL);
}

void gpu_record(struct pv_virtio_device *dev, struct pv_record *record)
{
    struct gpu *gpu = (struct gpu *)dev;

    if (gpu->stale)
        gpu_clear(gpu);
    pv_record_same(record, gpu->heads, "the number of heads");
    pv_record_u32(record, &gpu->events);
    if (!pv_record_loading(record) && !saveable(gpu))
        refuse(record);
    else if (pv_record_loading(record))
        load_resources(gpu, record);
    else
        save_resources(gpu, record);
    for (unsigned i = 0; i < gpu->heads && pv_record_ok(record); i++) {
        record_scanout(record, &gpu->scanouts[i]);
        record_cursor(gpu, record, i);
        if (pv_record_loading(record) && pv_record_ok(record) && !gpu_scanout_restore(gpu, i))
            pv_record_fail(record, EINVAL, "what head %u shows makes no sense", i);
    }
}
