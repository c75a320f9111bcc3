/* SPDX-License-Identifier: MIT */
/* A driver of virtio-gpu, for tests: sends a request and looks at the response. */
#ifndef PV_TESTS_GPU_DRIVER_H
#define PV_TESTS_GPU_DRIVER_H

#include "virtio_driver.h"

#include "device/gpu_impl.h"

enum { CONTROL, CURSOR };

#define RESPONSE (DATA + 0x10000)
#define PAGES    (DATA + 0x20000) /* what resources are backed by */
#define WINDOW   (RAM_BASE + RAM_SIZE * 4)

#define FEATURE(bit) (UINT64_C(1) << (bit))
#define FEATURES_2D                                                                                \
    (VERSION_1 | FEATURE(GPU_F_EDID) | FEATURE(GPU_F_RESOURCE_UUID) | FEATURE(GPU_F_RESOURCE_BLOB))
#define FEATURES_3D (FEATURES_2D | FEATURE(GPU_F_VIRGL) | FEATURE(GPU_F_CONTEXT_INIT))

static struct pv_display *display;

static inline void setup_with(struct driver *d, const char *renderer, unsigned heads)
{
    struct pv_virtio_device *dev;
    driver_setup(d);
    assert_int_equal(pv_display_create(&display, NULL), 0);
    const struct pv_virtio_gpu_config config = {
        .display = display,
        .heads = heads,
        .width = 800,
        .height = 600,
        .renderer = renderer,
        .window = 0x100000,
    };
    assert_int_equal(pv_virtio_gpu_create(&dev, d->loop, d->as, &config, NULL), 0);
    attach(d, dev);
}

static inline void setup_2d(struct driver *d)
{
    setup_with(d, NULL, 2);
    bring_up(d, FEATURES_2D);
}

static inline void setup_3d(struct driver *d)
{
    setup_with(d, "null", 1);
    bring_up(d, FEATURES_3D);
    d->dev->shm->moved(d->dev->shm->opaque, WINDOW);
}

static inline void teardown(struct driver *d)
{
    assert_false(failed(d));
    driver_teardown(d);
    pv_display_destroy(display);
}

/* Sends a request in two pieces and returns the response's type. */
static inline uint32_t request(struct driver *d, unsigned queue, uint32_t type, const void *command,
                               size_t size)
{
    struct gpu_header header;
    uint16_t before = used_index(d, queue);
    assert_int_equal(pv_as_write(d->as, DATA, command, size), 0);
    assert_int_equal(pv_as_write(d->as, DATA, &type, sizeof(type)), 0);
    assert_int_equal(pv_as_fill(d->as, RESPONSE, 0xee, 2048), 0);
    put_desc(d, queue, 0, DATA, 10, DESC_NEXT, 1);
    put_desc(d, queue, 1, DATA + 10, (uint32_t)size - 10, DESC_NEXT, 2);
    put_desc(d, queue, 2, RESPONSE, 2048, DESC_WRITE, 0);
    offer(d, queue, 0);
    kick(d, queue);
    if (used_index(d, queue) == before)
        return 0; /* it waits */
    assert_int_equal(pv_as_read(d->as, RESPONSE, &header, sizeof(header)), 0);
    return header.type;
}

#define SEND(d, name, ...)                                                                         \
    ({                                                                                             \
        const __typeof__(__VA_ARGS__) command = __VA_ARGS__;                                       \
        request(d, CONTROL, GPU_CMD_##name, &command, sizeof(command));                            \
    })

static inline uint32_t name(struct driver *d, uint32_t type, uint32_t id, uint32_t second)
{
    const struct gpu_name command = {.id = id, .second = second};
    return request(d, CONTROL, type, &command, sizeof(command));
}

static inline uint32_t in_context(struct driver *d, uint32_t type, uint32_t context, uint32_t id)
{
    const struct gpu_name command = {.header.ctx_id = context, .id = id};
    return request(d, CONTROL, type, &command, sizeof(command));
}

static inline uint32_t create_2d(struct driver *d, uint32_t id, uint32_t format, uint32_t width,
                                 uint32_t height)
{
    return SEND(
        d, RESOURCE_CREATE_2D,
        (struct gpu_create_2d){.resource = id, .format = format, .width = width, .height = height});
}

/* Backs with `count` entries of `length` bytes from `address` on, each `step` behind the other. */
static inline uint32_t back(struct driver *d, uint32_t id, unsigned count, uint64_t address,
                            uint32_t length, uint32_t step)
{
    struct {
        struct gpu_attach_backing head;
        struct gpu_entry entries[8];
    } command = {.head = {.resource = id, .entries = count}};
    for (unsigned i = 0; i < PV_MIN(count, 8u); i++)
        command.entries[i] = (struct gpu_entry){.address = address + i * step, .length = length};
    return request(d, CONTROL, GPU_CMD_RESOURCE_ATTACH_BACKING, &command,
                   sizeof(command.head) + PV_MIN(count, 8u) * sizeof(command.entries[0]));
}

static inline uint32_t transfer(struct driver *d, uint32_t id, struct gpu_rect rect,
                                uint64_t offset)
{
    return SEND(d, TRANSFER_TO_HOST_2D,
                (struct gpu_transfer_2d){.rect = rect, .offset = offset, .resource = id});
}

static inline uint32_t scanout(struct driver *d, uint32_t head, uint32_t id, struct gpu_rect rect)
{
    return SEND(d, SET_SCANOUT,
                (struct gpu_set_scanout){.rect = rect, .scanout = head, .resource = id});
}

static inline uint32_t flush(struct driver *d, uint32_t id, struct gpu_rect rect)
{
    return SEND(d, RESOURCE_FLUSH, (struct gpu_flush){.rect = rect, .resource = id});
}

static inline void store_pixel(struct driver *d, uint64_t address, uint32_t pixel)
{
    assert_int_equal(pv_as_write(d->as, address, &pixel, 4), 0);
}

static inline uint32_t shown(unsigned head, uint32_t x, uint32_t y)
{
    pv_display_lock(display);
    const struct pv_surface *surface = pv_display_surface(display, head);
    assert_true(x < surface->width && y < surface->height);
    uint32_t pixel = surface->pixels[(size_t)y * surface->width + x] & 0xffffff;
    pv_display_unlock(display);
    return pixel;
}

static inline uint32_t shown_width(unsigned head)
{
    pv_display_lock(display);
    uint32_t width = pv_display_surface(display, head)->width;
    pv_display_unlock(display);
    return width;
}

static inline uint32_t cursor(struct driver *d, uint32_t type, uint32_t head, uint32_t id,
                              uint32_t hot)
{
    const struct gpu_update_cursor command = {
        .scanout = head, .x = 10, .y = 20, .resource = id, .hot_x = hot, .hot_y = 1};
    return request(d, CURSOR, type, &command, sizeof(command));
}

static inline uint32_t create_blob(struct driver *d, struct gpu_create_blob blob, uint64_t address,
                                   uint32_t length)
{
    struct {
        struct gpu_create_blob head;
        struct gpu_entry entry;
    } command = {.head = blob, .entry = {.address = address, .length = length}};
    return request(d, CONTROL, GPU_CMD_RESOURCE_CREATE_BLOB, &command, sizeof(command));
}

static inline uint32_t create_context(struct driver *d, uint32_t context, uint32_t init)
{
    return SEND(d, CTX_CREATE,
                (struct gpu_ctx_create){
                    .header.ctx_id = context, .name_length = UINT32_MAX, .context_init = init});
}

#endif
