/* SPDX-License-Identifier: MIT */
/*
 * Resources. Their pixels, tables and lists of guest pages are host memory that the guest asks for,
 * so all of it is charged to one sum with a maximum.
 */
#include "device/gpu_impl.h"

#include "base/checked.h"
#include "base/util.h"
#include "memory/address_space.h"

#include <errno.h>
#include <string.h>
#include <sys/random.h>

#define CHARGE_MAX (UINT64_C(1) << 30)

bool gpu_charge(struct gpu *gpu, uint64_t bytes)
{
    if (bytes > CHARGE_MAX - gpu->charged)
        return false;
    gpu->charged += bytes;
    return true;
}

struct gpu_resource *gpu_resource_find(const struct gpu *gpu, uint32_t id)
{
    const struct pv_gpu_entry *entry = pv_gpu_table_find(&gpu->resources, id);
    return entry ? entry->owner : NULL;
}

/* ---- Backing ---- */

static void backing_free(struct gpu *gpu, struct gpu_backing *backing)
{
    free(backing->iov);
    free(backing->places);
    gpu->charged -= backing->charged;
    *backing = (struct gpu_backing){0};
}

static void backing_add(struct gpu_backing *backing, char *host, uint64_t address, size_t len)
{
    const unsigned last = backing->count - 1;
    if (backing->count &&
        (char *)backing->iov[last].iov_base + backing->iov[last].iov_len == host &&
        backing->places[last].address + backing->iov[last].iov_len == address) {
        backing->iov[last].iov_len += len;
    } else {
        backing->iov[backing->count] = (struct iovec){.iov_base = host, .iov_len = len};
        backing->places[backing->count++] = (struct gpu_place){address, backing->bytes};
    }
    backing->bytes += len;
}

enum gpu_type gpu_backing_begin(struct gpu *gpu, struct gpu_backing *backing, uint32_t count)
{
    const uint64_t charge = count * (uint64_t)(sizeof(struct iovec) + sizeof(struct gpu_place));

    *backing = (struct gpu_backing){0};
    if (!gpu_charge(gpu, charge))
        return GPU_ERR_OUT_OF_MEMORY;
    backing->charged = charge;
    backing->iov = calloc(count, sizeof(*backing->iov));
    backing->places = calloc(count, sizeof(*backing->places));
    if (backing->iov && backing->places)
        return GPU_OK_NODATA;
    backing_free(gpu, backing);
    return GPU_ERR_OUT_OF_MEMORY;
}

bool gpu_backing_append(struct gpu *gpu, struct gpu_backing *backing, uint64_t address,
                        uint64_t length)
{
    void *host = length ? pv_as_ram(gpu->base.as, address, length, true) : NULL;

    if (host)
        backing_add(backing, host, address, (size_t)length);
    return host;
}

enum gpu_type gpu_backing_read(struct gpu *gpu, const struct gpu_request *request, uint32_t count,
                               struct gpu_backing *backing)
{
    const size_t at = request->command_size;
    *backing = (struct gpu_backing){0};
    if (!count || count > GPU_BACKING_MAX ||
        request->chain->out_bytes - at < count * sizeof(struct gpu_entry))
        return GPU_ERR_INVALID_PARAMETER;
    enum gpu_type result = gpu_backing_begin(gpu, backing, count);
    for (uint32_t i = 0; i < count && result == GPU_OK_NODATA; i++) {
        struct gpu_entry entry;
        pv_virtq_read(request->chain, at + i * sizeof(entry), &entry, sizeof(entry));
        if (!gpu_backing_append(gpu, backing, entry.address, entry.length))
            result = GPU_ERR_INVALID_PARAMETER;
    }
    if (result != GPU_OK_NODATA)
        backing_free(gpu, backing);
    return result;
}

/* The piece that holds the byte at `offset`, which is inside. */
static unsigned piece_at(const struct gpu_backing *backing, uint64_t offset)
{
    unsigned lo = 0, hi = backing->count;
    while (hi - lo > 1) {
        unsigned mid = lo + (hi - lo) / 2;
        if (backing->places[mid].start <= offset)
            lo = mid;
        else
            hi = mid;
    }
    return lo;
}

/* Copies between a range of the backing, which is inside it, and `buf`. */
static void backing_copy(const struct gpu_backing *backing, uint64_t offset, char *buf, size_t len,
                         bool to_buf)
{
    for (unsigned i = piece_at(backing, offset); len; i++) {
        size_t inside = (size_t)(offset - backing->places[i].start);
        size_t part = PV_MIN(len, backing->iov[i].iov_len - inside);
        char *host = (char *)backing->iov[i].iov_base + inside;
        if (to_buf)
            memcpy(buf, host, part);
        else
            memcpy(host, buf, part);
        buf += part;
        len -= part;
        offset += part;
    }
}

void gpu_backing_written(struct gpu *gpu, const struct gpu_backing *backing)
{
    for (unsigned i = 0; i < backing->count && pv_as_dirty_logging(gpu->base.as); i++)
        pv_as_mark_dirty(gpu->base.as, backing->places[i].address, backing->iov[i].iov_len);
}

void gpu_resource_read(const struct gpu_resource *resource, uint64_t offset, void *buf, size_t len)
{
    const char *linear = resource->kind == GPU_2D ? (const char *)resource->pixels : resource->host;
    if (resource->kind == GPU_BLOB_GUEST)
        backing_copy(&resource->backing, offset, buf, len, true);
    else
        memcpy(buf, linear + offset, len);
}

/* ---- Coming and going ---- */

void gpu_resource_free(struct gpu *gpu, struct gpu_resource *resource)
{
    if (resource->kind == GPU_2D && resource->pixels)
        gpu->charged -= resource->size;
    free(resource->pixels);
    backing_free(gpu, &resource->backing);
    gpu->charged -= sizeof(*resource);
    free(resource);
}

enum gpu_type gpu_resource_add(struct gpu *gpu, struct gpu_resource *resource)
{
    const struct pv_gpu_entry entry = {.id = resource->id, .owner = resource};
    int ret = pv_gpu_table_add(&gpu->resources, &entry);
    if (ret >= 0)
        return GPU_OK_NODATA;
    gpu_resource_free(gpu, resource);
    return ret == -ENOMEM || ret == -E2BIG ? GPU_ERR_OUT_OF_MEMORY : GPU_ERR_INVALID_RESOURCE_ID;
}

enum gpu_type gpu_resource_new(struct gpu *gpu, uint32_t id, enum gpu_kind kind,
                               struct gpu_resource **out)
{
    if (!id || gpu_resource_find(gpu, id))
        return GPU_ERR_INVALID_RESOURCE_ID;
    if (!gpu_charge(gpu, sizeof(**out)))
        return GPU_ERR_OUT_OF_MEMORY;
    *out = calloc(1, sizeof(**out));
    if (!*out) {
        gpu->charged -= sizeof(**out);
        return GPU_ERR_OUT_OF_MEMORY;
    }
    (*out)->id = id;
    (*out)->kind = kind;
    return GPU_OK_NODATA;
}

/* Everything that knows the resource forgets it. */
static void resource_destroy(struct gpu *gpu, struct gpu_resource *resource)
{
    gpu_scanout_forget(gpu, resource->id);
    gpu_blob_unmap(gpu, resource);
    if (resource->kind == GPU_BLOB_HOST || resource->kind == GPU_TEXTURE)
        pv_renderer_resource_destroy(gpu->renderer, resource->id);
    gpu_resource_free(gpu, resource);
}

void gpu_resource_free_all(struct gpu *gpu)
{
    struct pv_gpu_entry *entry;
    for (size_t cursor = 0; (entry = pv_gpu_table_next(&gpu->resources, &cursor));)
        resource_destroy(gpu, entry->owner);
    pv_gpu_table_finish(&gpu->resources);
}

enum gpu_type gpu_resource_pixels(struct gpu *gpu, struct gpu_resource *resource)
{
    if (!resource->width || !resource->height || resource->width > PV_DISPLAY_MAX ||
        resource->height > PV_DISPLAY_MAX || !gpu_format_known(resource->format))
        return GPU_ERR_INVALID_PARAMETER;
    resource->size = (uint64_t)resource->width * resource->height * 4;
    if (!gpu_charge(gpu, resource->size))
        return GPU_ERR_OUT_OF_MEMORY;
    resource->pixels = calloc(1, resource->size);
    if (!resource->pixels)
        gpu->charged -= resource->size;
    return resource->pixels ? GPU_OK_NODATA : GPU_ERR_OUT_OF_MEMORY;
}

enum gpu_type gpu_resource_create_2d(struct gpu *gpu, struct gpu_request *request,
                                     const void *command)
{
    const struct gpu_create_2d *create = command;
    struct gpu_resource *resource;
    enum gpu_type result = gpu_resource_new(gpu, create->resource, GPU_2D, &resource);
    if (result != GPU_OK_NODATA)
        return result;
    resource->width = create->width;
    resource->height = create->height;
    resource->format = create->format;
    result = gpu_resource_pixels(gpu, resource);
    if (result == GPU_OK_NODATA)
        return gpu_resource_add(gpu, resource);
    gpu_resource_free(gpu, resource);
    return result;
}

enum gpu_type gpu_resource_unref(struct gpu *gpu, struct gpu_request *request, const void *command)
{
    const struct gpu_name *name = command;
    struct pv_gpu_entry entry;
    if (!pv_gpu_table_remove(&gpu->resources, name->id, &entry))
        return GPU_ERR_INVALID_RESOURCE_ID;
    resource_destroy(gpu, entry.owner);
    return GPU_OK_NODATA;
}

/* ---- What is in them ---- */

enum gpu_type gpu_attach_backing(struct gpu *gpu, struct gpu_request *request, const void *command)
{
    const struct gpu_attach_backing *attach = command;
    struct gpu_resource *resource = gpu_resource_find(gpu, attach->resource);
    if (!resource)
        return GPU_ERR_INVALID_RESOURCE_ID;
    if (resource->backing.count || resource->kind == GPU_BLOB_GUEST ||
        resource->kind == GPU_BLOB_HOST)
        return GPU_ERR_UNSPEC; /* there is one already, or cannot be */
    enum gpu_type result = gpu_backing_read(gpu, request, attach->entries, &resource->backing);
    if (result == GPU_OK_NODATA && resource->kind == GPU_TEXTURE &&
        pv_renderer_texture_back(gpu->renderer, resource->id, resource->backing.iov,
                                 resource->backing.count) < 0) {
        backing_free(gpu, &resource->backing);
        result = GPU_ERR_UNSPEC;
    }
    return result;
}

enum gpu_type gpu_detach_backing(struct gpu *gpu, struct gpu_request *request, const void *command)
{
    const struct gpu_name *name = command;
    struct gpu_resource *resource = gpu_resource_find(gpu, name->id);
    if (!resource)
        return GPU_ERR_INVALID_RESOURCE_ID;
    if (resource->kind == GPU_BLOB_GUEST || !resource->backing.count)
        return GPU_ERR_UNSPEC;
    if (resource->kind == GPU_TEXTURE)
        pv_renderer_texture_back(gpu->renderer, resource->id, NULL, 0);
    backing_free(gpu, &resource->backing);
    return GPU_OK_NODATA;
}

enum gpu_type gpu_copy_2d(struct gpu *gpu, struct gpu_resource *resource,
                          const struct gpu_copy *copy)
{
    const struct gpu_rect *rect = &copy->rect;
    const uint64_t pitch = (uint64_t)resource->width * 4, row = (uint64_t)rect->width * 4;
    uint64_t last;
    if (!gpu_rect_inside(rect, resource->width, resource->height))
        return GPU_ERR_INVALID_PARAMETER;
    if (!pv_mul_ok(copy->stride, (uint64_t)rect->height - 1, &last) ||
        !pv_add_ok(last, copy->offset, &last) || !pv_range_ok(last, row, resource->backing.bytes))
        return GPU_ERR_INVALID_PARAMETER;
    for (uint32_t y = 0; y < rect->height; y++)
        backing_copy(&resource->backing, copy->offset + y * copy->stride,
                     (char *)resource->pixels + (rect->y + (uint64_t)y) * pitch + 4ul * rect->x,
                     (size_t)row, copy->to_host);
    if (!copy->to_host)
        gpu_backing_written(gpu, &resource->backing);
    return GPU_OK_NODATA;
}

enum gpu_type gpu_transfer_to_host_2d(struct gpu *gpu, struct gpu_request *request,
                                      const void *command)
{
    const struct gpu_transfer_2d *transfer = command;
    struct gpu_resource *resource = gpu_resource_find(gpu, transfer->resource);
    if (!resource)
        return GPU_ERR_INVALID_RESOURCE_ID;
    if (resource->kind == GPU_BLOB_GUEST || resource->kind == GPU_BLOB_HOST)
        return GPU_OK_NODATA; /* there is nothing to bring up to date: the memory is the same */
    if (resource->kind != GPU_2D)
        return GPU_ERR_UNSPEC;
    const struct gpu_copy copy = {.rect = transfer->rect,
                                  .offset = transfer->offset,
                                  .stride = (uint64_t)resource->width * 4,
                                  .to_host = true};
    return gpu_copy_2d(gpu, resource, &copy);
}

enum gpu_type gpu_assign_uuid(struct gpu *gpu, struct gpu_request *request, const void *command)
{
    const struct gpu_name *name = command;
    struct gpu_resource *resource = gpu_resource_find(gpu, name->id);
    if (!resource)
        return GPU_ERR_INVALID_RESOURCE_ID;
    if (!resource->named && getentropy(resource->uuid, sizeof(resource->uuid)) < 0)
        return GPU_ERR_UNSPEC;
    if (!resource->named) { /* RFC 9562: version 4, random */
        resource->uuid[6] = (uint8_t)((resource->uuid[6] & 0x0f) | 0x40);
        resource->uuid[8] = (uint8_t)((resource->uuid[8] & 0x3f) | 0x80);
        resource->named = true;
    }
    memcpy(request->out.uuid, resource->uuid, sizeof(resource->uuid));
    request->out_size = sizeof(resource->uuid);
    return GPU_OK_RESOURCE_UUID;
}
