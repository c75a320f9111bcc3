/* SPDX-License-Identifier: MIT */
/*
 * Scanouts: which part of which resource a head shows. A flush copies what changed into the
 * display's picture, in the display's format; nothing is shown before it is flushed.
 */
#include "device/gpu_impl.h"

#include "base/checked.h"
#include "base/util.h"

#include <string.h>

/* virtio-gpu's formats (5.7.6.8) have four bytes a pixel and differ in their order. */
static const struct format {
    uint32_t id;
    uint8_t red, green, blue; /* which byte it is */
} formats[] = {
    {1, 2, 1, 0},   /* B8G8R8A8 */
    {2, 2, 1, 0},   /* B8G8R8X8 */
    {3, 1, 2, 3},   /* A8R8G8B8 */
    {4, 1, 2, 3},   /* X8R8G8B8 */
    {67, 0, 1, 2},  /* R8G8B8A8 */
    {68, 3, 2, 1},  /* X8B8G8R8 */
    {121, 3, 2, 1}, /* A8B8G8R8 */
    {134, 0, 1, 2}, /* R8G8B8X8 */
};

static const struct format *find_format(uint32_t id)
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(formats); i++)
        if (formats[i].id == id)
            return &formats[i];
    return NULL;
}

bool gpu_format_known(uint32_t format)
{
    return find_format(format);
}

/* ---- What the guest is told of its heads ---- */

enum gpu_type gpu_get_display_info(struct gpu *gpu, struct gpu_request *request,
                                   const void *command)
{
    struct gpu_display_info *info = &request->out.display_info;
    uint32_t x = 0;
    memset(info, 0, sizeof(*info));
    for (unsigned i = 0; i < gpu->heads; i++) {
        const struct gpu_scanout *scanout = &gpu->scanouts[i];
        info->modes[i].rect = (struct gpu_rect){x, 0, scanout->want_width, scanout->want_height};
        info->modes[i].enabled = scanout->want_width != 0;
        x += scanout->want_width;
    }
    request->out_size = sizeof(*info);
    return GPU_OK_DISPLAY_INFO;
}

enum gpu_type gpu_get_edid(struct gpu *gpu, struct gpu_request *request, const void *command)
{
    const struct gpu_name *name = command;
    struct gpu_edid *edid = &request->out.edid;
    if (name->id >= gpu->heads)
        return GPU_ERR_INVALID_SCANOUT_ID;
    const struct gpu_scanout *scanout = &gpu->scanouts[name->id];
    memset(edid, 0, sizeof(*edid));
    if (scanout->want_width)
        edid->size = (uint32_t)gpu_edid_make(edid->edid, name->id, scanout->want_width,
                                             scanout->want_height);
    request->out_size = sizeof(*edid);
    return GPU_OK_EDID;
}

/* ---- Setting ---- */

void gpu_scanout_off(struct gpu *gpu, unsigned head)
{
    gpu->scanouts[head].resource = 0;
    pv_display_set_mode(gpu->display, head, 0, 0);
}

void gpu_scanout_forget(struct gpu *gpu, uint32_t resource)
{
    for (unsigned i = 0; i < gpu->heads; i++)
        if (gpu->scanouts[i].resource == resource)
            gpu_scanout_off(gpu, i);
}

/* The rest of the scanout has been filled in. */
static enum gpu_type show(struct gpu *gpu, unsigned head, uint32_t resource)
{
    struct gpu_scanout *scanout = &gpu->scanouts[head];
    scanout->resource = resource;
    if (pv_display_set_mode(gpu->display, head, scanout->rect.width, scanout->rect.height) == 0)
        return GPU_OK_NODATA;
    scanout->resource = 0;
    return GPU_ERR_OUT_OF_MEMORY;
}

enum gpu_type gpu_set_scanout(struct gpu *gpu, struct gpu_request *request, const void *command)
{
    const struct gpu_set_scanout *set = command;
    if (set->scanout >= gpu->heads)
        return GPU_ERR_INVALID_SCANOUT_ID;
    if (!set->resource) {
        gpu_scanout_off(gpu, set->scanout);
        return GPU_OK_NODATA;
    }
    const struct gpu_resource *resource = gpu_resource_find(gpu, set->resource);
    if (!resource)
        return GPU_ERR_INVALID_RESOURCE_ID;
    if (resource->kind != GPU_2D || !gpu_rect_inside(&set->rect, resource->width, resource->height))
        return GPU_ERR_INVALID_PARAMETER;
    struct gpu_scanout *scanout = &gpu->scanouts[set->scanout];
    scanout->rect = set->rect;
    scanout->format = resource->format;
    scanout->stride = resource->width * 4;
    scanout->offset = 0;
    return show(gpu, set->scanout, resource->id);
}

/* Whether the framebuffer that a driver describes lies in the blob. */
static bool fits(const struct gpu_set_scanout_blob *set, uint64_t size)
{
    if (!set->width || !set->height || set->width > PV_DISPLAY_MAX ||
        set->height > PV_DISPLAY_MAX || set->strides[0] / 4 < set->width)
        return false;
    uint64_t bytes = (uint64_t)set->strides[0] * (set->height - 1) + (uint64_t)set->width * 4;
    return pv_range_ok(set->offsets[0], bytes, size) &&
           gpu_rect_inside(&set->rect, set->width, set->height);
}

enum gpu_type gpu_set_scanout_blob(struct gpu *gpu, struct gpu_request *request,
                                   const void *command)
{
    const struct gpu_set_scanout_blob *set = command;
    if (set->scanout >= gpu->heads)
        return GPU_ERR_INVALID_SCANOUT_ID;
    if (!set->resource) {
        gpu_scanout_off(gpu, set->scanout);
        return GPU_OK_NODATA;
    }
    struct gpu_resource *resource = gpu_resource_find(gpu, set->resource);
    if (!resource)
        return GPU_ERR_INVALID_RESOURCE_ID;
    if (!gpu_format_known(set->format))
        return GPU_ERR_INVALID_PARAMETER;
    if (resource->kind != GPU_BLOB_GUEST &&
        (resource->kind != GPU_BLOB_HOST || !gpu_blob_host(gpu, resource)))
        return GPU_ERR_INVALID_PARAMETER;
    if (!fits(set, resource->size))
        return GPU_ERR_INVALID_PARAMETER;
    struct gpu_scanout *scanout = &gpu->scanouts[set->scanout];
    scanout->rect = set->rect;
    scanout->format = set->format;
    scanout->stride = set->strides[0];
    scanout->offset = set->offsets[0];
    return show(gpu, set->scanout, resource->id);
}

/* ---- Showing ---- */

/* Brings a row into the display's format, in place. */
static void convert(uint32_t *pixels, uint32_t count, const struct format *format)
{
    if (format->red == 2 && format->blue == 0)
        return;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t pixel = pixels[i];
        pixels[i] = (pixel >> 8 * format->red & 0xff) << 16 |
                    (pixel >> 8 * format->green & 0xff) << 8 | (pixel >> 8 * format->blue & 0xff);
    }
}

/* `rect` is of the resource, and inside the scanout's. */
static void draw(struct gpu *gpu, unsigned head, const struct gpu_resource *resource,
                 const struct pv_rect *rect)
{
    const struct gpu_scanout *scanout = &gpu->scanouts[head];
    const struct format *format = find_format(scanout->format);
    const struct pv_rect damage = {rect->x - scanout->rect.x, rect->y - scanout->rect.y,
                                   rect->width, rect->height};
    const struct pv_surface *surface = pv_display_begin(gpu->display, head);
    for (uint32_t y = 0; y < rect->height; y++) {
        uint32_t *to = surface->pixels + (size_t)(damage.y + y) * surface->width + damage.x;
        uint64_t from =
            scanout->offset + (uint64_t)(rect->y + y) * scanout->stride + (uint64_t)rect->x * 4;
        gpu_resource_read(resource, from, to, (size_t)rect->width * 4);
        convert(to, rect->width, format);
    }
    pv_display_end(gpu->display, head, &damage);
}

bool gpu_scanout_restore(struct gpu *gpu, unsigned head)
{
    const struct gpu_scanout scanout = gpu->scanouts[head];
    const struct gpu_rect *rect = &scanout.rect;
    const struct gpu_resource *resource = gpu_resource_find(gpu, scanout.resource);

    gpu_scanout_off(gpu, head);
    if (!scanout.resource)
        return true;
    if (!resource || !gpu_format_known(scanout.format) ||
        !gpu_rect_inside(rect, PV_DISPLAY_MAX, PV_DISPLAY_MAX))
        return false;
    /* The end of the rectangle's last row. */
    const uint64_t bytes = (uint64_t)scanout.stride * (rect->y + rect->height - 1) +
                           ((uint64_t)rect->x + rect->width) * 4;
    if (!pv_range_ok(scanout.offset, bytes, resource->size))
        return false;
    const struct pv_rect all = {rect->x, rect->y, rect->width, rect->height};
    if (show(gpu, head, scanout.resource) != GPU_OK_NODATA)
        return false;
    draw(gpu, head, resource, &all);
    return true;
}

enum gpu_type gpu_flush(struct gpu *gpu, struct gpu_request *request, const void *command)
{
    const struct gpu_flush *flush = command;
    const struct gpu_resource *resource = gpu_resource_find(gpu, flush->resource);
    if (!resource)
        return GPU_ERR_INVALID_RESOURCE_ID;
    const struct gpu_rect *r = &flush->rect;
    if (resource->kind == GPU_2D && !gpu_rect_inside(r, resource->width, resource->height))
        return GPU_ERR_INVALID_PARAMETER;
    for (unsigned i = 0; i < gpu->heads; i++) {
        const struct gpu_rect *s = &gpu->scanouts[i].rect;
        const struct pv_rect flushed = {r->x, r->y, r->width, r->height},
                             shown = {s->x, s->y, s->width, s->height};
        const struct pv_rect both = pv_rect_intersect(&flushed, &shown);
        if (gpu->scanouts[i].resource == resource->id && !pv_rect_empty(&both))
            draw(gpu, i, resource, &both);
    }
    return GPU_OK_NODATA;
}

/* ---- The cursor ---- */

/* Its shape comes from a 64 x 64 resource (5.7.6.10); of a blob, from its first 16 KiB. */
static bool read_shape(struct gpu *gpu, struct gpu_resource *resource, struct pv_cursor *cursor)
{
    const uint64_t size = sizeof(cursor->pixels);
    bool fits_2d = resource->kind == GPU_2D && resource->width == PV_DISPLAY_CURSOR &&
                   resource->height == PV_DISPLAY_CURSOR;
    bool fits_guest = resource->kind == GPU_BLOB_GUEST && resource->size >= size;
    bool fits_host =
        resource->kind == GPU_BLOB_HOST && resource->size >= size && gpu_blob_host(gpu, resource);
    if (!fits_2d && !fits_guest && !fits_host)
        return false;
    gpu_resource_read(resource, 0, cursor->pixels, size);
    return true;
}

enum gpu_type gpu_update_cursor(struct gpu *gpu, struct gpu_request *request, const void *command)
{
    const struct gpu_update_cursor *update = command;
    if (update->scanout >= gpu->heads)
        return GPU_ERR_INVALID_SCANOUT_ID;
    if (!update->resource) {
        pv_display_set_cursor(gpu->display, update->scanout, NULL);
        return GPU_OK_NODATA;
    }
    struct gpu_resource *resource = gpu_resource_find(gpu, update->resource);
    if (!resource)
        return GPU_ERR_INVALID_RESOURCE_ID;
    struct pv_cursor cursor = {.visible = true,
                               .x = (int32_t)update->x,
                               .y = (int32_t)update->y,
                               .hot_x = update->hot_x,
                               .hot_y = update->hot_y};
    if (update->hot_x >= PV_DISPLAY_CURSOR || update->hot_y >= PV_DISPLAY_CURSOR ||
        !read_shape(gpu, resource, &cursor))
        return GPU_ERR_INVALID_PARAMETER;
    pv_display_set_cursor(gpu->display, update->scanout, &cursor);
    return GPU_OK_NODATA;
}

enum gpu_type gpu_move_cursor(struct gpu *gpu, struct gpu_request *request, const void *command)
{
    const struct gpu_update_cursor *update = command;
    if (update->scanout >= gpu->heads)
        return GPU_ERR_INVALID_SCANOUT_ID;
    pv_display_move_cursor(gpu->display, update->scanout, (int32_t)update->x, (int32_t)update->y);
    return GPU_OK_NODATA;
}
