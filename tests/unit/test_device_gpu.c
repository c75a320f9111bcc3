/* SPDX-License-Identifier: MIT */
/* virtio-gpu, driven through its rings: every request, and every way to get one wrong. */
#include "gpu_driver.h"

#include "gpu/renderer_impl.h"

#include <errno.h>

/* ---- What it says of itself ---- */

static void test_config_and_info(void **state)
{
    struct driver d;
    struct gpu_display_info info;
    setup_2d(&d);
    pv_virtio_lock(d.dev);
    assert_int_equal(pv_virtio_config_read(d.dev, 0, 4), 0);
    assert_int_equal(pv_virtio_config_read(d.dev, 8, 4), 2);  /* scanouts */
    assert_int_equal(pv_virtio_config_read(d.dev, 12, 4), 0); /* capsets */
    pv_virtio_unlock(d.dev);
    assert_int_equal(SEND(&d, GET_DISPLAY_INFO, (struct gpu_header){0}), GPU_OK_DISPLAY_INFO);
    assert_int_equal(pv_as_read(d.as, RESPONSE + 24, &info, sizeof(info)), 0);
    assert_int_equal(info.modes[0].rect.width, 800);
    assert_int_equal(info.modes[0].enabled, 1);
    assert_int_equal(info.modes[1].rect.x, 800);
    assert_int_equal(info.modes[2].enabled, 0);
    assert_int_equal(used_len(&d, CONTROL, 0), 24 + 384);

    /* A change is announced, until the driver has seen it. */
    unsigned before = d.config_interrupts;
    pv_virtio_gpu_set_size(d.dev, 1, 1024, 768);
    pv_virtio_gpu_set_size(d.dev, 2, 1024, 768); /* there is none */
    assert_int_equal(d.config_interrupts, before + 1);
    pv_virtio_lock(d.dev);
    assert_int_equal(pv_virtio_config_read(d.dev, 0, 4), GPU_EVENT_DISPLAY);
    pv_virtio_config_write(d.dev, 4, 4, GPU_EVENT_DISPLAY);
    assert_int_equal(pv_virtio_config_read(d.dev, 0, 4), 0);
    pv_virtio_unlock(d.dev);
    assert_int_equal(SEND(&d, GET_DISPLAY_INFO, (struct gpu_header){0}), GPU_OK_DISPLAY_INFO);
    assert_int_equal(pv_as_read(d.as, RESPONSE + 24, &info, sizeof(info)), 0);
    assert_int_equal(info.modes[1].rect.height, 768);
    pv_virtio_gpu_set_size(d.dev, 1, 0, 0);
    assert_int_equal(SEND(&d, GET_DISPLAY_INFO, (struct gpu_header){0}), GPU_OK_DISPLAY_INFO);
    assert_int_equal(pv_as_read(d.as, RESPONSE + 24, &info, sizeof(info)), 0);
    assert_int_equal(info.modes[1].enabled, 0);
    teardown(&d);
}

static void test_edid(void **state)
{
    struct driver d;
    struct gpu_edid edid;
    uint8_t sum = 0;
    setup_2d(&d);
    assert_int_equal(name(&d, GPU_CMD_GET_EDID, 2, 0), GPU_ERR_INVALID_SCANOUT_ID);
    assert_int_equal(name(&d, GPU_CMD_GET_EDID, 0, 0), GPU_OK_EDID);
    assert_int_equal(pv_as_read(d.as, RESPONSE + 24, &edid, sizeof(edid)), 0);
    assert_int_equal(edid.size, 128);
    for (unsigned i = 0; i < 128; i++)
        sum = (uint8_t)(sum + edid.edid[i]);
    assert_int_equal(sum, 0);
    assert_int_equal(edid.edid[56] | (edid.edid[58] & 0xf0) << 4, 800);
    assert_int_equal(edid.edid[59] | (edid.edid[61] & 0xf0) << 4, 600);
    assert_memory_equal(edid.edid + 77, "PearVisor\n", 10);
    /* (800 + 160) * (600 + 30) * 60 Hz = 36.288 MHz, rounded down a little */
    assert_in_range(edid.edid[54] | edid.edid[55] << 8, 3550, 3640);
    teardown(&d);
}

static void test_uuid(void **state)
{
    struct driver d;
    uint8_t first[16], again[16];
    setup_2d(&d);
    assert_int_equal(name(&d, GPU_CMD_RESOURCE_ASSIGN_UUID, 1, 0), GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(create_2d(&d, 1, 2, 4, 4), GPU_OK_NODATA);
    assert_int_equal(name(&d, GPU_CMD_RESOURCE_ASSIGN_UUID, 1, 0), GPU_OK_RESOURCE_UUID);
    assert_int_equal(pv_as_read(d.as, RESPONSE + 24, first, 16), 0);
    assert_int_equal(name(&d, GPU_CMD_RESOURCE_ASSIGN_UUID, 1, 0), GPU_OK_RESOURCE_UUID);
    assert_int_equal(pv_as_read(d.as, RESPONSE + 24, again, 16), 0);
    assert_memory_equal(first, again, 16);
    assert_int_equal(first[6] >> 4, 4);
    teardown(&d);
}

/* ---- 2D ---- */

static void test_create_errors(void **state)
{
    struct driver d;
    setup_2d(&d);
    assert_int_equal(create_2d(&d, 0, 2, 4, 4), GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(create_2d(&d, 1, 5, 4, 4), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(create_2d(&d, 1, 2, 0, 4), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(create_2d(&d, 1, 2, 4, UINT32_MAX), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(create_2d(&d, 1, 2, 4, 4), GPU_OK_NODATA);
    assert_int_equal(create_2d(&d, 1, 2, 4, 4), GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(name(&d, GPU_CMD_RESOURCE_UNREF, 2, 0), GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(name(&d, GPU_CMD_RESOURCE_UNREF, 1, 0), GPU_OK_NODATA);
    assert_int_equal(name(&d, GPU_CMD_RESOURCE_UNREF, 1, 0), GPU_ERR_INVALID_RESOURCE_ID);
    /* A GiB at most, all together, and again after it was given back. */
    for (unsigned round = 0; round < 2; round++) {
        assert_int_equal(create_2d(&d, 7, 2, 16384, 16384), GPU_ERR_OUT_OF_MEMORY);
        assert_int_equal(create_2d(&d, 7, 2, 16384, 16000), GPU_OK_NODATA);
        assert_int_equal(create_2d(&d, 8, 2, 16384, 1000), GPU_ERR_OUT_OF_MEMORY);
        assert_int_equal(name(&d, GPU_CMD_RESOURCE_UNREF, 7, 0), GPU_OK_NODATA);
    }
    teardown(&d);
}

static void test_backing_errors(void **state)
{
    struct driver d;
    setup_2d(&d);
    assert_int_equal(back(&d, 1, 1, PAGES, 4096, 0), GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(name(&d, GPU_CMD_RESOURCE_DETACH_BACKING, 1, 0), GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(create_2d(&d, 1, 2, 4, 4), GPU_OK_NODATA);
    assert_int_equal(back(&d, 1, 0, PAGES, 4096, 0), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(back(&d, 1, UINT32_MAX, PAGES, 4096, 0), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(back(&d, 1, 1, 0x1000, 4096, 0), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(back(&d, 1, 1, PAGES, 0, 0), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(back(&d, 1, 1, RAM_BASE + RAM_SIZE - 64, 65, 0), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(back(&d, 1, 9, PAGES, 64, 64), GPU_ERR_INVALID_PARAMETER); /* 8 came */
    assert_int_equal(name(&d, GPU_CMD_RESOURCE_DETACH_BACKING, 1, 0), GPU_ERR_UNSPEC);
    assert_int_equal(transfer(&d, 1, (struct gpu_rect){0, 0, 4, 4}, 0), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(back(&d, 1, 1, PAGES, 64, 0), GPU_OK_NODATA);
    assert_int_equal(back(&d, 1, 1, PAGES, 64, 0), GPU_ERR_UNSPEC);
    assert_int_equal(transfer(&d, 1, (struct gpu_rect){0, 0, 4, 4}, 0), GPU_OK_NODATA);
    assert_int_equal(transfer(&d, 1, (struct gpu_rect){0, 0, 4, 4}, 1), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(transfer(&d, 1, (struct gpu_rect){0, 0, 4, 4}, UINT64_MAX - 7),
                     GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(transfer(&d, 1, (struct gpu_rect){1, 0, 4, 4}, 0), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(transfer(&d, 1, (struct gpu_rect){UINT32_MAX, 1, 2, 1}, 0),
                     GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(transfer(&d, 2, (struct gpu_rect){0, 0, 4, 4}, 0),
                     GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(name(&d, GPU_CMD_RESOURCE_DETACH_BACKING, 1, 0), GPU_OK_NODATA);
    assert_int_equal(transfer(&d, 1, (struct gpu_rect){0, 0, 4, 4}, 0), GPU_ERR_INVALID_PARAMETER);
    teardown(&d);
}

/* An 8x4 picture in scattered pieces of 12 bytes, of which a part is transferred and shown. */
static void test_picture(void **state)
{
    struct driver d;
    setup_2d(&d);
    assert_int_equal(create_2d(&d, 1, 67, 8, 4), GPU_OK_NODATA); /* R8G8B8A8 */
    assert_int_equal(back(&d, 1, 8, PAGES, 16, 32), GPU_OK_NODATA);
    for (unsigned i = 0; i < 32; i++)
        store_pixel(&d, PAGES + i / 4 * 32 + i % 4 * 4, 0xff000000 | i << 16 | 0x2000 | i);
    assert_int_equal(scanout(&d, 2, 1, (struct gpu_rect){0, 0, 8, 4}), GPU_ERR_INVALID_SCANOUT_ID);
    assert_int_equal(scanout(&d, 1, 2, (struct gpu_rect){0, 0, 8, 4}), GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(scanout(&d, 1, 1, (struct gpu_rect){1, 0, 8, 4}), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(scanout(&d, 1, 1, (struct gpu_rect){0, 0, 0, 0}), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(scanout(&d, 1, 1, (struct gpu_rect){2, 1, 6, 3}), GPU_OK_NODATA);
    assert_int_equal(shown_width(1), 6);
    assert_int_equal(shown_width(0), 0);
    /* Pixels (3, 1) to (6, 3), which start 11 pixels into the backing. */
    assert_int_equal(transfer(&d, 1, (struct gpu_rect){3, 1, 4, 3}, 11 * 4), GPU_OK_NODATA);
    assert_int_equal(shown(1, 1, 0), 0); /* not flushed */
    assert_int_equal(flush(&d, 1, (struct gpu_rect){0, 0, 8, 3}), GPU_OK_NODATA);
    assert_int_equal(shown(1, 0, 0), 0);                      /* not transferred */
    assert_int_equal(shown(1, 1, 0), 11 << 16 | 0x2000 | 11); /* red and blue are the same here */
    assert_int_equal(shown(1, 4, 1), 22 << 16 | 0x2000 | 22);
    assert_int_equal(shown(1, 1, 2), 0); /* outside the flush */
    assert_int_equal(flush(&d, 1, (struct gpu_rect){0, 0, 9, 4}), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(flush(&d, 3, (struct gpu_rect){0, 0, 8, 4}), GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(flush(&d, 1, (struct gpu_rect){0, 0, 8, 4}), GPU_OK_NODATA);
    assert_int_equal(shown(1, 1, 2), 27 << 16 | 0x2000 | 27);
    /* A resource that goes is shown no more, and neither is one that is taken away. */
    assert_int_equal(name(&d, GPU_CMD_RESOURCE_UNREF, 1, 0), GPU_OK_NODATA);
    assert_int_equal(shown_width(1), 0);
    assert_int_equal(scanout(&d, 1, 1, (struct gpu_rect){0, 0, 8, 4}), GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(flush(&d, 1, (struct gpu_rect){0, 0, 8, 4}), GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(create_2d(&d, 1, 2, 8, 4), GPU_OK_NODATA);
    assert_int_equal(scanout(&d, 0, 1, (struct gpu_rect){0, 0, 8, 4}), GPU_OK_NODATA);
    assert_int_equal(scanout(&d, 0, 0, (struct gpu_rect){0, 0, 0, 0}), GPU_OK_NODATA);
    assert_int_equal(shown_width(0), 0);
    teardown(&d);
}

static void test_formats(void **state)
{
    /* The bytes in memory are 1, 2, 3, 4. */
    static const struct {
        uint32_t format, pixel;
    } cases[] = {
        {1, 0x030201},  {2, 0x030201},  {3, 0x020304},   {4, 0x020304},
        {67, 0x010203}, {68, 0x040302}, {121, 0x040302}, {134, 0x010203},
    };
    struct driver d;
    setup_2d(&d);
    store_pixel(&d, PAGES, 0x04030201);
    for (uint32_t i = 0; i < PV_ARRAY_SIZE(cases); i++) {
        assert_int_equal(create_2d(&d, 10 + i, cases[i].format, 1, 1), GPU_OK_NODATA);
        assert_int_equal(back(&d, 10 + i, 1, PAGES, 4, 0), GPU_OK_NODATA);
        assert_int_equal(transfer(&d, 10 + i, (struct gpu_rect){0, 0, 1, 1}, 0), GPU_OK_NODATA);
        assert_int_equal(scanout(&d, 0, 10 + i, (struct gpu_rect){0, 0, 1, 1}), GPU_OK_NODATA);
        assert_int_equal(flush(&d, 10 + i, (struct gpu_rect){0, 0, 1, 1}), GPU_OK_NODATA);
        assert_int_equal(shown(0, 0, 0), cases[i].pixel);
    }
    teardown(&d);
}

/* ---- The cursor ---- */

static void test_cursor(void **state)
{
    struct driver d;
    setup_2d(&d);
    const struct pv_cursor *shape = pv_display_cursor(display, 1);
    assert_int_equal(create_2d(&d, 1, 1, 64, 64), GPU_OK_NODATA);
    assert_int_equal(create_2d(&d, 2, 1, 32, 64), GPU_OK_NODATA);
    assert_int_equal(back(&d, 1, 1, PAGES, 16384, 0), GPU_OK_NODATA);
    store_pixel(&d, PAGES + 4, 0xff112233);
    assert_int_equal(transfer(&d, 1, (struct gpu_rect){0, 0, 64, 64}, 0), GPU_OK_NODATA);
    assert_int_equal(cursor(&d, GPU_CMD_UPDATE_CURSOR, 2, 1, 0), GPU_ERR_INVALID_SCANOUT_ID);
    assert_int_equal(cursor(&d, GPU_CMD_UPDATE_CURSOR, 1, 9, 0), GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(cursor(&d, GPU_CMD_UPDATE_CURSOR, 1, 2, 0), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(cursor(&d, GPU_CMD_UPDATE_CURSOR, 1, 1, 64), GPU_ERR_INVALID_PARAMETER);
    assert_false(shape->visible);
    assert_int_equal(cursor(&d, GPU_CMD_UPDATE_CURSOR, 1, 1, 5), GPU_OK_NODATA);
    assert_true(shape->visible);
    assert_int_equal(shape->hot_x, 5);
    assert_int_equal(shape->x, 10);
    assert_true(shape->pixels[1] == 0xff112233);
    assert_int_equal(cursor(&d, GPU_CMD_MOVE_CURSOR, 5, 0, 0), GPU_ERR_INVALID_SCANOUT_ID);
    assert_int_equal(cursor(&d, GPU_CMD_MOVE_CURSOR, 1, 0, 0), GPU_OK_NODATA);
    assert_int_equal(cursor(&d, GPU_CMD_UPDATE_CURSOR, 1, 0, 0), GPU_OK_NODATA);
    assert_false(shape->visible);
    /* Each queue has its own requests. */
    assert_int_equal(cursor(&d, GPU_CMD_GET_EDID, 1, 0, 0), GPU_ERR_UNSPEC);
    assert_int_equal(SEND(&d, MOVE_CURSOR, (struct gpu_update_cursor){0}), GPU_ERR_UNSPEC);
    teardown(&d);
}

/* ---- Blobs of guest memory ---- */

static uint32_t scanout_blob(struct driver *d, uint32_t id, uint32_t width, uint32_t height,
                             uint32_t stride, uint32_t offset)
{
    return SEND(d, SET_SCANOUT_BLOB,
                (struct gpu_set_scanout_blob){
                    .rect = {0, 0, width, height},
                    .resource = id,
                    .width = width,
                    .height = height,
                    .format = 2,
                    .strides = {stride},
                    .offsets = {offset},
                });
}

static void test_guest_blob(void **state)
{
    struct driver d;
    setup_2d(&d);
    const struct gpu_create_blob good = {
        .resource = 1, .blob_mem = GPU_BLOB_MEM_GUEST, .entries = 1, .size = 4096};
    struct gpu_create_blob bad = good;
    bad.blob_mem = GPU_BLOB_MEM_HOST3D; /* there is no renderer */
    assert_int_equal(create_blob(&d, bad, PAGES, 4096), GPU_ERR_INVALID_PARAMETER);
    bad = good;
    bad.size = 0;
    assert_int_equal(create_blob(&d, bad, PAGES, 4096), GPU_ERR_INVALID_PARAMETER);
    bad.size = 4097;
    assert_int_equal(create_blob(&d, bad, PAGES, 4096), GPU_ERR_INVALID_PARAMETER);
    bad = good;
    bad.blob_flags = 8;
    assert_int_equal(create_blob(&d, bad, PAGES, 4096), GPU_ERR_INVALID_PARAMETER);
    bad = good;
    bad.resource = 0;
    assert_int_equal(create_blob(&d, bad, PAGES, 4096), GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(create_blob(&d, good, 0x1000, 4096), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(create_blob(&d, good, PAGES, 4096), GPU_OK_NODATA);
    assert_int_equal(create_blob(&d, good, PAGES, 4096), GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(back(&d, 1, 1, PAGES, 64, 0), GPU_ERR_UNSPEC);
    assert_int_equal(name(&d, GPU_CMD_RESOURCE_DETACH_BACKING, 1, 0), GPU_ERR_UNSPEC);

    assert_int_equal(scanout(&d, 0, 1, (struct gpu_rect){0, 0, 1, 1}), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(scanout_blob(&d, 2, 8, 8, 64, 0), GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(scanout_blob(&d, 1, 17, 8, 64, 0), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(scanout_blob(&d, 1, 16, 65, 64, 0), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(scanout_blob(&d, 1, 16, 64, 64, 1), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(scanout_blob(&d, 1, 16, 64, 64, 0), GPU_OK_NODATA);
    assert_int_equal(scanout_blob(&d, 1, 8, 8, 100, 12), GPU_OK_NODATA);
    store_pixel(&d, PAGES + 12 + 3 * 100 + 5 * 4, 0x445566);
    assert_int_equal(transfer(&d, 1, (struct gpu_rect){0, 0, 8, 8}, 0), GPU_OK_NODATA);
    assert_int_equal(flush(&d, 1, (struct gpu_rect){0, 0, UINT32_MAX, UINT32_MAX}), GPU_OK_NODATA);
    assert_int_equal(shown(0, 5, 3), 0x445566);
    assert_int_equal(scanout_blob(&d, 0, 0, 0, 0, 0), GPU_OK_NODATA);
    assert_int_equal(shown_width(0), 0);
    teardown(&d);
}

/* ---- Contexts and blobs of the renderer ---- */

static void test_contexts(void **state)
{
    struct driver d;
    setup_3d(&d);
    assert_int_equal(create_context(&d, 0, 0), GPU_ERR_INVALID_CONTEXT_ID);
    assert_int_equal(create_context(&d, 1, 4), GPU_ERR_INVALID_PARAMETER); /* null has no Venus */
    assert_int_equal(create_context(&d, 1, 0), GPU_OK_NODATA);
    assert_int_equal(create_context(&d, 1, 0), GPU_ERR_INVALID_CONTEXT_ID);
    assert_int_equal(create_2d(&d, 5, 2, 4, 4), GPU_OK_NODATA);
    assert_int_equal(in_context(&d, GPU_CMD_CTX_ATTACH_RESOURCE, 2, 5), GPU_ERR_INVALID_CONTEXT_ID);
    assert_int_equal(in_context(&d, GPU_CMD_CTX_ATTACH_RESOURCE, 1, 6),
                     GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(in_context(&d, GPU_CMD_CTX_ATTACH_RESOURCE, 1, 5), GPU_OK_NODATA);
    assert_int_equal(in_context(&d, GPU_CMD_CTX_DETACH_RESOURCE, 2, 5), GPU_ERR_INVALID_CONTEXT_ID);
    assert_int_equal(in_context(&d, GPU_CMD_CTX_DETACH_RESOURCE, 1, 6),
                     GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(in_context(&d, GPU_CMD_CTX_DETACH_RESOURCE, 1, 5), GPU_OK_NODATA);
    assert_int_equal(name(&d, GPU_CMD_GET_CAPSET_INFO, 0, 0), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(name(&d, GPU_CMD_GET_CAPSET, 4, 0), GPU_ERR_INVALID_PARAMETER);

    struct {
        struct gpu_submit_3d head;
        uint32_t words[2];
    } submit = {.head = {.header.ctx_id = 2, .size = 8}};
    assert_int_equal(request(&d, CONTROL, GPU_CMD_SUBMIT_3D, &submit, sizeof(submit)),
                     GPU_ERR_INVALID_CONTEXT_ID);
    submit.head.header.ctx_id = 1;
    assert_int_equal(request(&d, CONTROL, GPU_CMD_SUBMIT_3D, &submit, sizeof(submit)),
                     GPU_OK_NODATA);
    submit.head.size = 6;
    assert_int_equal(request(&d, CONTROL, GPU_CMD_SUBMIT_3D, &submit, sizeof(submit)),
                     GPU_ERR_INVALID_PARAMETER);
    submit.head.size = 12; /* more than there is */
    assert_int_equal(request(&d, CONTROL, GPU_CMD_SUBMIT_3D, &submit, sizeof(submit)),
                     GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(in_context(&d, GPU_CMD_CTX_DESTROY, 2, 0), GPU_ERR_INVALID_CONTEXT_ID);
    assert_int_equal(in_context(&d, GPU_CMD_CTX_DESTROY, 1, 0), GPU_OK_NODATA);
    assert_int_equal(in_context(&d, GPU_CMD_CTX_DESTROY, 1, 0), GPU_ERR_INVALID_CONTEXT_ID);
    teardown(&d);
}

static const struct gpu_create_blob host_blob = {.header.ctx_id = 1,
                                                 .resource = 1,
                                                 .blob_mem = GPU_BLOB_MEM_HOST3D,
                                                 .blob_flags = PV_BLOB_MAPPABLE,
                                                 .size = 8192};

/* Fails as Venus does for contexts that name no capset, and does not expect to see them again. */
static int without_default(struct pv_renderer *renderer, uint32_t context, uint32_t capset,
                           const char *name, struct pv_error **err)
{
    return -EINVAL;
}

/* The context that a kernel makes for those who only pass buffers along. */
static void test_plain_context(void **state)
{
    struct driver d;
    setup_3d(&d);
    struct gpu *gpu = (struct gpu *)d.dev;
    assert_int_equal(create_context(&d, 1, 0), GPU_OK_NODATA);
    const struct pv_renderer_ops *before = gpu->renderer->ops;
    struct pv_renderer_ops picky = *before;
    picky.context_create = without_default;
    gpu->renderer->ops = &picky;
    assert_int_equal(create_context(&d, 2, 4), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(create_context(&d, 2, 0), GPU_OK_NODATA);
    assert_int_equal(create_context(&d, 2, 0), GPU_ERR_INVALID_CONTEXT_ID);

    struct gpu_create_blob blob = host_blob;
    assert_int_equal(create_blob(&d, blob, 0, 0), GPU_OK_NODATA);
    assert_int_equal(in_context(&d, GPU_CMD_CTX_ATTACH_RESOURCE, 2, 1), GPU_OK_NODATA);
    assert_int_equal(in_context(&d, GPU_CMD_CTX_DETACH_RESOURCE, 2, 1), GPU_OK_NODATA);
    blob.header.ctx_id = 2;
    blob.resource = 2;
    assert_int_equal(create_blob(&d, blob, 0, 0), GPU_ERR_INVALID_CONTEXT_ID);
    const struct {
        struct gpu_submit_3d head;
        uint32_t words[2];
    } submit = {.head = {.header.ctx_id = 2, .size = 8}};
    assert_int_equal(request(&d, CONTROL, GPU_CMD_SUBMIT_3D, &submit, sizeof(submit)),
                     GPU_ERR_INVALID_CONTEXT_ID);
    assert_int_equal(in_context(&d, GPU_CMD_CTX_DESTROY, 2, 0), GPU_OK_NODATA);
    assert_int_equal(in_context(&d, GPU_CMD_CTX_DESTROY, 2, 0), GPU_ERR_INVALID_CONTEXT_ID);
    assert_int_equal(create_context(&d, 3, 0), GPU_OK_NODATA);
    gpu->renderer->ops = before;
    teardown(&d);
}

static uint32_t map_blob(struct driver *d, uint32_t id, uint64_t offset)
{
    return SEND(d, RESOURCE_MAP_BLOB, (struct gpu_map_blob){.resource = id, .offset = offset});
}

static void test_host_blob(void **state)
{
    struct driver d;
    uint64_t value;
    setup_3d(&d);
    struct gpu_create_blob blob = host_blob;
    assert_int_equal(create_blob(&d, blob, 0, 0), GPU_ERR_INVALID_CONTEXT_ID);
    assert_int_equal(create_context(&d, 1, 0), GPU_OK_NODATA);
    assert_int_equal(create_blob(&d, blob, 0, 0), GPU_OK_NODATA);
    assert_int_equal(create_blob(&d, blob, 0, 0), GPU_ERR_INVALID_RESOURCE_ID);
    blob.resource = 2;
    blob.blob_id = 7;
    assert_int_equal(create_blob(&d, blob, 0, 0), GPU_ERR_INVALID_PARAMETER);
    blob.blob_id = 0;
    blob.size = UINT64_MAX;
    assert_int_equal(create_blob(&d, blob, 0, 0), GPU_ERR_INVALID_PARAMETER);
    blob.size = 4096;
    blob.blob_mem = GPU_BLOB_MEM_HOST3D_GUEST;
    assert_int_equal(create_blob(&d, blob, 0, 0), GPU_ERR_INVALID_PARAMETER);
    blob.blob_mem = GPU_BLOB_MEM_HOST3D;
    blob.blob_flags = 0;
    assert_int_equal(create_blob(&d, blob, 0, 0), GPU_OK_NODATA);

    assert_int_equal(map_blob(&d, 9, 0), GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(map_blob(&d, 2, 0), GPU_ERR_INVALID_PARAMETER); /* not mappable */
    assert_int_equal(map_blob(&d, 1, 0x100), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(map_blob(&d, 1, 0xff000), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(map_blob(&d, 1, UINT64_MAX - 4095), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(pv_as_cpu_read(d.as, WINDOW + 0xe000, 8, &value), -EFAULT);
    assert_int_equal(map_blob(&d, 1, 0xe000), GPU_OK_MAP_INFO);
    assert_int_equal(load32(&d, RESPONSE + 24), PV_BLOB_CACHED);
    assert_int_equal(map_blob(&d, 1, 0x2000), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(pv_as_cpu_write(d.as, WINDOW + 0xffff, 1, 0x5a), 0);

    /* It is memory to vCPUs, and follows the window, but devices get no pointer into it. */
    assert_null(pv_as_ram(d.as, WINDOW + 0xe000, 8, false));
    assert_int_equal(create_2d(&d, 3, 2, 4, 4), GPU_OK_NODATA);
    assert_int_equal(back(&d, 3, 1, WINDOW + 0xe000, 64, 0), GPU_ERR_INVALID_PARAMETER);
    d.dev->shm->moved(d.dev->shm->opaque, WINDOW * 2);
    assert_int_equal(pv_as_cpu_read(d.as, WINDOW + 0xffff, 1, &value), -EFAULT);
    assert_int_equal(pv_as_cpu_read(d.as, WINDOW * 2 + 0xffff, 1, &value), 0);
    assert_int_equal(value, 0x5a);
    d.dev->shm->moved(d.dev->shm->opaque, UINT64_MAX);
    assert_int_equal(pv_as_cpu_read(d.as, WINDOW * 2 + 0xffff, 1, &value), -EFAULT);
    d.dev->shm->moved(d.dev->shm->opaque, WINDOW);

    assert_int_equal(scanout_blob(&d, 1, 32, 64, 128, 0), GPU_OK_NODATA);
    assert_int_equal(flush(&d, 1, (struct gpu_rect){0, 0, 32, 64}), GPU_OK_NODATA);
    assert_int_equal(shown(0, 31, 63), 0); /* byte 8191 is the pixel's fourth */
    assert_int_equal(name(&d, GPU_CMD_RESOURCE_UNMAP_BLOB, 9, 0), GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(name(&d, GPU_CMD_RESOURCE_UNMAP_BLOB, 2, 0), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(name(&d, GPU_CMD_RESOURCE_UNMAP_BLOB, 1, 0), GPU_OK_NODATA);
    assert_int_equal(pv_as_cpu_read(d.as, WINDOW + 0xe000, 8, &value), -EFAULT);
    assert_int_equal(map_blob(&d, 1, 0), GPU_OK_MAP_INFO);
    assert_int_equal(name(&d, GPU_CMD_RESOURCE_UNREF, 1, 0), GPU_OK_NODATA);
    assert_int_equal(pv_as_cpu_read(d.as, WINDOW, 8, &value), -EFAULT);
    assert_int_equal(shown_width(0), 0);
    assert_int_equal(scanout_blob(&d, 1, 32, 64, 128, 0), GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(map_blob(&d, 1, 0), GPU_ERR_INVALID_RESOURCE_ID);
    teardown(&d);
}

/* A driver that does not know what it does, or a desktop that comes and goes. */
static void test_blob_cycles(void **state)
{
    struct driver d;
    setup_3d(&d);
    assert_int_equal(create_context(&d, 1, 0), GPU_OK_NODATA);
    for (unsigned i = 0; i < 1000; i++) {
        assert_int_equal(create_blob(&d, host_blob, 0, 0), GPU_OK_NODATA);
        assert_int_equal(map_blob(&d, 1, i % 16 * 0x10000), GPU_OK_MAP_INFO);
        assert_int_equal(name(&d, GPU_CMD_RESOURCE_UNMAP_BLOB, 1, 0), GPU_OK_NODATA);
        assert_int_equal(name(&d, GPU_CMD_RESOURCE_UNREF, 1, 0), GPU_OK_NODATA);
    }
    const struct gpu *gpu = (const struct gpu *)d.dev;
    assert_int_equal(gpu->charged, 0);
    assert_int_equal(pv_gpu_window_used(gpu->window), 0);
    teardown(&d);
}

/* Vulkan's renderers have no textures: what a driver draws by CPU is a 2D resource. */
static void test_plain_texture(void **state)
{
    struct driver d;
    setup_3d(&d);
    struct gpu_create_3d create = {.resource = 1,
                                   .target = 2,
                                   .format = 2,
                                   .width = 4,
                                   .height = 4,
                                   .depth = 1,
                                   .array_size = 1};
    struct gpu_transfer_3d move = {
        .width = 2, .height = 2, .depth = 1, .x = 1, .y = 1, .resource = 1, .stride = 8};
    create.target = 3;
    assert_int_equal(SEND(&d, RESOURCE_CREATE_3D, create), GPU_ERR_INVALID_PARAMETER);
    create.target = 2;
    assert_int_equal(SEND(&d, TRANSFER_TO_HOST_3D, move), GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(SEND(&d, RESOURCE_CREATE_3D, create), GPU_OK_NODATA);
    assert_int_equal(SEND(&d, TRANSFER_TO_HOST_3D, move), GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(back(&d, 1, 1, PAGES, 64, 0), GPU_OK_NODATA);
    for (unsigned i = 0; i < 4; i++)
        store_pixel(&d, PAGES + 4 * i, 0x100 + i);
    move.header.ctx_id = 9;
    assert_int_equal(SEND(&d, TRANSFER_TO_HOST_3D, move), GPU_ERR_INVALID_CONTEXT_ID);
    move.header.ctx_id = 0;
    move.level = 1;
    assert_int_equal(SEND(&d, TRANSFER_TO_HOST_3D, move), GPU_ERR_INVALID_PARAMETER);
    move.level = 0;
    assert_int_equal(SEND(&d, TRANSFER_TO_HOST_3D, move), GPU_OK_NODATA);
    assert_int_equal(pv_as_fill(d.as, PAGES, 0, 64), 0);
    move.stride = 0; /* the resource's */
    assert_int_equal(SEND(&d, TRANSFER_FROM_HOST_3D, move), GPU_OK_NODATA);
    assert_int_equal(load32(&d, PAGES), 0x100);
    assert_int_equal(load32(&d, PAGES + 16 + 4), 0x103);
    teardown(&d);
}

/* ---- Requests that are none ---- */

static void test_malformed(void **state)
{
    struct driver d;
    struct gpu_header header = {0};
    setup_2d(&d);
    assert_int_equal(request(&d, CONTROL, 0, &header, sizeof(header)), GPU_ERR_UNSPEC);
    assert_int_equal(request(&d, CONTROL, GPU_OK_NODATA, &header, sizeof(header)), GPU_ERR_UNSPEC);
    assert_int_equal(request(&d, CONTROL, GPU_CMD_SET_SCANOUT, &header, sizeof(header)),
                     GPU_ERR_INVALID_PARAMETER);
    assert_int_equal(request(&d, CONTROL, GPU_CMD_GET_EDID, &header, 12),
                     GPU_ERR_INVALID_PARAMETER);
    /* 3D was not offered. */
    assert_int_equal(create_context(&d, 1, 0), GPU_ERR_UNSPEC);
    assert_int_equal(map_blob(&d, 1, 0), GPU_ERR_INVALID_RESOURCE_ID);
    /* A response for which there is little room is cut off; none is lost. */
    put_desc(&d, CONTROL, 0, DATA, 24, DESC_NEXT, 1);
    put_desc(&d, CONTROL, 1, RESPONSE, 5, DESC_WRITE, 0);
    offer(&d, CONTROL, 0);
    put_desc(&d, CONTROL, 3, DATA, 24, 0, 0);
    offer(&d, CONTROL, 3);
    uint16_t before = used_index(&d, CONTROL);
    kick(&d, CONTROL);
    assert_int_equal(used_index(&d, CONTROL), before + 2);
    assert_int_equal(used_len(&d, CONTROL, before), 5);
    teardown(&d);
}

static void test_heads(void **state)
{
    struct driver d;
    struct pv_virtio_device *dev;
    driver_setup(&d);
    struct pv_virtio_gpu_config config = {.heads = 0};
    assert_int_equal(pv_virtio_gpu_create(&dev, d.loop, d.as, &config, NULL), -EINVAL);
    config.heads = PV_DISPLAY_HEADS + 1;
    assert_int_equal(pv_virtio_gpu_create(&dev, d.loop, d.as, &config, NULL), -EINVAL);
    assert_int_equal(pv_display_create(&config.display, NULL), 0);
    config.heads = 1;
    config.renderer = "nonesuch";
    assert_int_equal(pv_virtio_gpu_create(&dev, d.loop, d.as, &config, NULL), -ENOENT);
    pv_display_destroy(config.display);
    driver_teardown(&d);
}

/* ---- Fences ---- */

static void offer_fenced(struct driver *d, unsigned slot, struct gpu_header header)
{
    uint64_t at = DATA + 64 * slot;
    assert_int_equal(pv_as_write(d->as, at, &header, sizeof(header)), 0);
    put_desc(d, CONTROL, 2 * slot, at, sizeof(header), DESC_NEXT, (uint16_t)(2 * slot + 1));
    put_desc(d, CONTROL, 2 * slot + 1, RESPONSE + 512 * slot, 512, DESC_WRITE, 0);
    offer(d, CONTROL, (uint16_t)(2 * slot));
}

static void test_fences(void **state)
{
    struct driver d;
    struct gpu_header header = {.type = GPU_CMD_GET_DISPLAY_INFO,
                                .flags = GPU_FLAG_FENCE | GPU_FLAG_RING_IDX | 0x100,
                                .fence_id = UINT64_C(0x123456789a),
                                .ctx_id = 3,
                                .ring_idx = 2};
    setup_3d(&d);
    offer_fenced(&d, 0, header);
    kick(&d, CONTROL);
    assert_int_equal(pv_as_read(d.as, RESPONSE, &header, sizeof(header)), 0);
    assert_int_equal(header.type, GPU_OK_DISPLAY_INFO);
    assert_int_equal(header.flags, GPU_FLAG_FENCE | GPU_FLAG_RING_IDX);
    assert_true(header.fence_id == UINT64_C(0x123456789a));
    assert_int_equal(header.ctx_id, 3);
    assert_int_equal(header.ring_idx, 2);

    assert_int_equal(create_context(&d, 3, 0), GPU_OK_NODATA);
    struct gpu_submit_3d submit = {.header = {.flags = GPU_FLAG_FENCE | GPU_FLAG_RING_IDX,
                                              .ctx_id = 3,
                                              .ring_idx = PV_RENDERER_TIMELINES}};
    assert_int_equal(SEND(&d, SUBMIT_3D, submit), GPU_ERR_INVALID_PARAMETER);
    submit.header.ring_idx = 1;
    assert_int_equal(SEND(&d, SUBMIT_3D, submit), GPU_OK_NODATA);
    assert_int_equal(((struct gpu *)d.dev)->pending_count, 0);
    teardown(&d);
}

/* A renderer that is slow is played by taking back what the null one said at once. */
static void hold_back(struct gpu *gpu, unsigned i)
{
    assert_true(i < gpu->pending_count);
    gpu->pending[i].done = false;
}

static void test_fence_order(void **state)
{
    struct driver d;
    setup_3d(&d);
    struct gpu *gpu = (struct gpu *)d.dev;
    assert_int_equal(create_context(&d, 1, 0), GPU_OK_NODATA);
    uint16_t before = used_index(&d, CONTROL);

    /* Three that wait by hand: global, ring 1, global. */
    const struct gpu_header global = {.type = GPU_CMD_GET_DISPLAY_INFO, .flags = GPU_FLAG_FENCE},
                            ring = {.type = GPU_CMD_GET_DISPLAY_INFO,
                                    .flags = GPU_FLAG_FENCE | GPU_FLAG_RING_IDX,
                                    .ctx_id = 1,
                                    .ring_idx = 1};
    struct pv_virtq *queue = pv_virtio_queue(d.dev, CONTROL);
    pv_virtio_lock(d.dev);
    for (unsigned i = 0; i < 3; i++) {
        offer_fenced(&d, i, i == 1 ? ring : global);
        struct gpu_pending *pending = &gpu->pending[gpu->pending_count++];
        *pending = (struct gpu_pending){.serial = 1000 + i, .order = i == 1 ? 0x10101 : 0};
        assert_int_equal(pv_virtq_pop(queue, &pending->chain), 1);
        hold_back(gpu, i);
    }
    gpu->next_serial = 1003;
    gpu->pending[2].done = true; /* but an older one of its timeline is not */
    pv_virtio_unlock(d.dev);
    kick(&d, CONTROL);
    assert_int_equal(used_index(&d, CONTROL), before);
    gpu->pending[1].done = true;
    kick(&d, CONTROL);
    assert_int_equal(used_index(&d, CONTROL), before + 1);
    assert_int_equal(used_id(&d, CONTROL, before), 2);
    gpu->pending[0].done = true;
    kick(&d, CONTROL);
    assert_int_equal(used_index(&d, CONTROL), before + 3);
    assert_int_equal(used_id(&d, CONTROL, before + 1u), 0);
    assert_int_equal(used_id(&d, CONTROL, before + 2u), 4);
    teardown(&d);
}

/* ---- Reset ---- */

static void test_reset(void **state)
{
    struct driver d;
    uint64_t value;
    setup_3d(&d);
    struct gpu *gpu = (struct gpu *)d.dev;
    for (unsigned round = 0; round < 2; round++) {
        const struct gpu_create_blob blob = {.header.ctx_id = 1,
                                             .resource = 1,
                                             .blob_mem = GPU_BLOB_MEM_HOST3D,
                                             .blob_flags = PV_BLOB_MAPPABLE,
                                             .size = 4096};
        assert_int_equal(create_context(&d, 1, 0), GPU_OK_NODATA);
        assert_int_equal(create_blob(&d, blob, 0, 0), GPU_OK_NODATA);
        assert_int_equal(map_blob(&d, 1, 0), GPU_OK_MAP_INFO);
        assert_int_equal(scanout_blob(&d, 1, 8, 8, 32, 0), GPU_OK_NODATA);
        assert_int_equal(create_2d(&d, 2, 2, 8, 8), GPU_OK_NODATA);
        assert_int_equal(back(&d, 2, 1, PAGES, 4096, 0), GPU_OK_NODATA);
        pv_virtio_gpu_set_size(d.dev, 0, 100, 100);
        /* A request that waits for a fence of the old life must not be answered in the new one. */
        offer_fenced(&d, 0, (struct gpu_header){.type = GPU_CMD_GET_DISPLAY_INFO});
        pv_virtio_lock(d.dev);
        struct gpu_pending *pending = &gpu->pending[gpu->pending_count++];
        *pending = (struct gpu_pending){.serial = gpu->next_serial++};
        assert_int_equal(pv_virtq_pop(pv_virtio_queue(d.dev, CONTROL), &pending->chain), 1);
        pv_virtio_unlock(d.dev);

        bring_up(&d, FEATURES_3D);
        assert_int_equal(gpu->pending_count, 0);
        assert_int_equal(gpu->charged, 0);
        assert_int_equal(shown_width(0), 0);
        assert_int_equal(pv_virtio_config_read(d.dev, 0, 4), 0);
        assert_int_equal(pv_as_cpu_read(d.as, WINDOW, 8, &value), -EFAULT);
        assert_int_equal(name(&d, GPU_CMD_RESOURCE_UNREF, 1, 0), GPU_ERR_INVALID_RESOURCE_ID);
    }
    teardown(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_RINGS(test_config_and_info), SPLIT_RINGS(test_edid),
        SPLIT_RINGS(test_uuid),           SPLIT_RINGS(test_create_errors),
        SPLIT_RINGS(test_backing_errors), BOTH_RINGS(test_picture),
        SPLIT_RINGS(test_formats),        SPLIT_RINGS(test_cursor),
        SPLIT_RINGS(test_guest_blob),     SPLIT_RINGS(test_contexts),
        SPLIT_RINGS(test_plain_context),  SPLIT_RINGS(test_host_blob),
        SPLIT_RINGS(test_blob_cycles),    SPLIT_RINGS(test_plain_texture),
        BOTH_RINGS(test_malformed),       SPLIT_RINGS(test_heads),
        SPLIT_RINGS(test_fences),         SPLIT_RINGS(test_fence_order),
        BOTH_RINGS(test_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
