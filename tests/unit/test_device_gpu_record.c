/* SPDX-License-Identifier: MIT */
/* What snapshots have of virtio-gpu: saved, loaded into another device, refused, damaged. */
#include "gpu_driver.h"

#include "base/error.h"
#include "base/record.h"

#include <errno.h>

/* The state of a device that can be saved; the caller frees it. */
static uint8_t *save(struct driver *d, size_t *size, struct pv_error **err)
{
    struct pv_record *record = pv_record_save();
    uint8_t *copy = NULL;
    pv_record_begin(record, 1, "gpu");
    gpu_record(d->dev, record);
    pv_record_end(record);
    const void *data = pv_record_data(record, size);
    if (pv_record_error(record, err) == 0)
        copy = memcpy(malloc(*size), data, *size);
    pv_record_free(record);
    return copy;
}

static int load(struct driver *d, const uint8_t *data, size_t size)
{
    struct pv_record *record = pv_record_load(data, size);
    pv_record_begin(record, 1, "gpu");
    gpu_record(d->dev, record);
    pv_record_end(record);
    int ret = pv_record_error(record, NULL);
    pv_record_free(record);
    return ret;
}

/* A picture on each head, of either kind of resource, and a pointer. */
static void show_things(struct driver *d)
{
    struct gpu_create_blob blob = {
        .resource = 7, .blob_mem = GPU_BLOB_MEM_GUEST, .size = 4096, .entries = 1};
    for (unsigned i = 0; i < 32; i++)
        store_pixel(d, PAGES + i * 4, 0xff000000 | i << 16 | 0x2000 | i);
    assert_int_equal(create_2d(d, 9, 2, 8, 4), GPU_OK_NODATA);
    assert_int_equal(back(d, 9, 2, PAGES, 64, 64), GPU_OK_NODATA);
    assert_int_equal(transfer(d, 9, (struct gpu_rect){0, 0, 8, 4}, 0), GPU_OK_NODATA);
    assert_int_equal(scanout(d, 0, 9, (struct gpu_rect){1, 1, 7, 3}), GPU_OK_NODATA);
    assert_int_equal(create_blob(d, blob, PAGES, 4096), GPU_OK_NODATA);
    assert_int_equal(SEND(d, SET_SCANOUT_BLOB,
                          (struct gpu_set_scanout_blob){.rect = {0, 0, 4, 4},
                                                        .scanout = 1,
                                                        .resource = 7,
                                                        .width = 4,
                                                        .height = 4,
                                                        .format = 2,
                                                        .strides = {32},
                                                        .offsets = {16}}),
                     GPU_OK_NODATA);
    assert_int_equal(create_2d(d, 3, 1, 64, 64), GPU_OK_NODATA);
    assert_int_equal(cursor(d, GPU_CMD_UPDATE_CURSOR, 1, 3, 5), GPU_OK_NODATA);
    pv_virtio_gpu_set_size(d->dev, 1, 1024, 768);
}

static void test_record(void **state)
{
    struct driver d;
    size_t size, again_size;
    setup_2d(&d);
    show_things(&d);
    uint8_t *saved = save(&d, &size, NULL);
    assert_non_null(saved);
    teardown(&d);

    setup_2d(&d);
    for (unsigned i = 0; i < 32; i++) /* guest memory is restored before devices are */
        store_pixel(&d, PAGES + i * 4, 0xff000000 | i << 16 | 0x2000 | i);
    assert_int_equal(load(&d, saved, size), 0);
    assert_int_equal(shown_width(0), 7);
    assert_int_equal(shown(0, 0, 0), 9 << 16 | 0x2000 | 9);
    assert_int_equal(shown(1, 1, 2), 21 << 16 | 0x2000 | 21);
    assert_true(pv_display_cursor(display, 1)->visible);
    assert_int_equal(pv_display_cursor(display, 1)->hot_x, 5);
    uint8_t *again = save(&d, &again_size, NULL);
    assert_int_equal(again_size, size);
    assert_memory_equal(again, saved, size);
    free(again);
    /* It goes on. */
    store_pixel(&d, PAGES + 12 * 4, 0xffabcdef);
    assert_int_equal(transfer(&d, 9, (struct gpu_rect){0, 0, 8, 4}, 0), GPU_OK_NODATA);
    assert_int_equal(flush(&d, 9, (struct gpu_rect){0, 0, 8, 4}), GPU_OK_NODATA);
    assert_int_equal(shown(0, 3, 0), 0xabcdef);
    assert_int_equal(create_2d(&d, 9, 2, 8, 4), GPU_ERR_INVALID_RESOURCE_ID);
    assert_int_equal(name(&d, GPU_CMD_RESOURCE_UNREF, 7, 0), GPU_OK_NODATA);
    assert_int_equal(shown_width(1), 0);
    teardown(&d);

    /* Whatever a file says: it is loaded or refused, and nothing is left of it after a reset. */
    for (size_t at = 0; at < PV_MIN(size, (size_t)700); at++) {
        setup_2d(&d);
        saved[at] ^= 0x81;
        load(&d, saved, size);
        saved[at] ^= 0x81;
        bring_up(&d, FEATURES_2D);
        driver_run(&d);
        assert_int_equal(((struct gpu *)d.dev)->charged, 0);
        teardown(&d);
    }
    free(saved);
}

static void test_record_refused(void **state)
{
    struct driver d;
    size_t size;
    struct pv_error *err = NULL;
    setup_3d(&d);
    uint8_t *saved = save(&d, &size, NULL);
    assert_non_null(saved);
    free(saved);
    assert_int_equal(create_context(&d, 1, 0), GPU_OK_NODATA);
    assert_null(save(&d, &size, &err));
    assert_int_equal(pv_error_code(err), ENOTSUP);
    assert_non_null(strstr(pv_error_message(err), "use the GPU for 3D"));
    pv_error_free(&err);
    assert_int_equal(in_context(&d, GPU_CMD_CTX_DESTROY, 1, 0), GPU_OK_NODATA);
    saved = save(&d, &size, NULL);
    assert_non_null(saved);
    free(saved);
    teardown(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPLIT_RINGS(test_record),
        SPLIT_RINGS(test_record_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
