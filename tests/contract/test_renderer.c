/* SPDX-License-Identifier: MIT */
/*
 * What every renderer does, whatever stands behind it. A new renderer is a new row. Venus needs no
 * GPU for these: the loader alone will do, and without even that its row is skipped.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "gpu/renderer.h"

#define HOST_MEMORY_MAX (64 * PV_MIB)

struct kind {
    const char *name;
    uint32_t capset; /* 0: contexts without one */
    bool checks;     /* junk costs the context */
    bool textures;
};

static const struct kind kinds[] = {
    {"null", 0, false, false},
    {"venus", PV_CAPSET_VENUS, true, false},
    {"virgl", PV_CAPSET_VIRGL2, true, true},
};

struct bench {
    const struct kind *kind;
    struct pv_renderer *renderer;
    atomic_uint_fast64_t fences; /* a bit for each fence 0..63 */
};

static void fence_done(void *opaque, uint32_t context, uint32_t timeline, uint64_t fence)
{
    struct bench *bench = opaque;
    atomic_fetch_or(&bench->fences, UINT64_C(1) << fence);
}

static void quiet(void *opaque, enum pv_log_component component, enum pv_log_level level,
                  const char *line)
{
}

static bool open_bench(struct bench *bench, const struct kind *kind)
{
    const struct pv_renderer_config config = {
        .host_memory_max = HOST_MEMORY_MAX, .fence_done = fence_done, .opaque = bench};
    struct pv_error *err PV_CLEANUP_ERROR = NULL;
    *bench = (struct bench){.kind = kind};
    int ret = pv_renderer_create(&bench->renderer, kind->name, &config, &err);
    if (ret == 0)
        return true;
    assert_int_equal(ret, -ENOENT); /* no such renderer in this build, or no loader here */
    print_message("%s: %s: skipped\n", kind->name, pv_error_message(err));
    return false;
}

static bool wait_for(struct bench *bench, uint64_t fences)
{
    for (unsigned i = 0; i < 2000; i++) {
        if ((atomic_load(&bench->fences) & fences) == fences)
            return true;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return false;
}

static void contexts_come_and_go(const struct kind *kind)
{
    struct bench bench;
    if (!open_bench(&bench, kind))
        return;
    struct pv_renderer *r = bench.renderer;
    assert_int_equal(pv_renderer_context_create(r, 1, 77, "x", NULL), -EINVAL);
    assert_int_equal(pv_renderer_context_create(r, 1, kind->capset, "x", NULL), 0);
    assert_int_equal(pv_renderer_context_create(r, 1, kind->capset, "x", NULL), -EEXIST);
    for (uint32_t id = 2; id < 20; id++)
        assert_int_equal(pv_renderer_context_create(r, id, kind->capset, "x", NULL), 0);
    pv_renderer_context_destroy(r, 1);
    pv_renderer_context_destroy(r, 1);
    assert_int_equal(pv_renderer_context_create(r, 1, kind->capset, "x", NULL), 0);
    assert_int_equal(pv_renderer_submit(r, 99, "abcd", 4, NULL), -ENOENT);
    assert_int_equal(pv_renderer_fence(r, 99, 0, 1, NULL), -ENOENT);
    pv_renderer_destroy(r);
}

static void blobs_are_bounded_in_all(const struct kind *kind)
{
    struct bench bench;
    if (!open_bench(&bench, kind))
        return;
    struct pv_renderer *r = bench.renderer;
    uint64_t half = HOST_MEMORY_MAX / 2;
    assert_int_equal(pv_renderer_context_create(r, 1, kind->capset, "a", NULL), 0);
    assert_int_equal(pv_renderer_context_create(r, 2, kind->capset, "b", NULL), 0);
    assert_int_equal(pv_renderer_blob_create(r, 1, 7, 0, half + 1, 0, NULL), 0);
    pv_renderer_detach(r, 1, 7); /* lets go of nothing */
    assert_int_equal(pv_renderer_blob_create(r, 2, 8, 0, half, 0, NULL), -ENOMEM);
    assert_int_equal(pv_renderer_blob_map(r, 8, &(struct pv_renderer_mapping){0}, NULL), -ENOENT);
    pv_renderer_resource_destroy(r, 7);
    assert_int_equal(pv_renderer_blob_create(r, 2, 8, 0, half, 0, NULL), 0);
    pv_renderer_destroy(r);
}

static void blobs_are_zeroed_shared_and_outlive_a_detach(const struct kind *kind)
{
    struct bench bench;
    struct pv_renderer_mapping first, second;
    if (!open_bench(&bench, kind))
        return;
    struct pv_renderer *r = bench.renderer;
    assert_int_equal(pv_renderer_context_create(r, 1, kind->capset, "a", NULL), 0);
    assert_int_equal(pv_renderer_context_create(r, 2, kind->capset, "b", NULL), 0);
    assert_int_equal(pv_renderer_blob_create(r, 1, 0, 0, 4096, PV_BLOB_MAPPABLE, NULL), -EINVAL);
    assert_int_equal(pv_renderer_blob_create(r, 1, 7, 0, 0, PV_BLOB_MAPPABLE, NULL), -EINVAL);
    assert_int_equal(pv_renderer_blob_create(r, 1, 7, 0, UINT64_MAX, PV_BLOB_MAPPABLE, NULL),
                     -EINVAL);
    assert_int_equal(pv_renderer_blob_create(r, 9, 7, 0, 100, PV_BLOB_MAPPABLE, NULL) < 0, 1);
    assert_int_equal(pv_renderer_blob_create(r, 1, 7, 12345, 100, PV_BLOB_MAPPABLE, NULL), -EINVAL);
    assert_int_equal(pv_renderer_blob_map(r, 7, &first, NULL), -ENOENT);
    assert_int_equal(pv_renderer_blob_create(r, 1, 7, 0, 100, PV_BLOB_MAPPABLE, NULL), 0);
    assert_int_equal(pv_renderer_blob_create(r, 1, 7, 0, 100, PV_BLOB_MAPPABLE, NULL), -EEXIST);
    assert_int_equal(pv_renderer_blob_map(r, 7, &first, NULL), 0);
    assert_true(first.size >= 100 && first.host);
    assert_int_equal(((uint8_t *)first.host)[99], 0);
    memset(first.host, 0x5a, first.size);
    assert_int_equal(pv_renderer_attach(r, 2, 7), 0);
    assert_int_equal(pv_renderer_attach(r, 2, 8), -ENOENT);
    pv_renderer_detach(r, 1, 7);
    pv_renderer_context_destroy(r, 1);
    assert_int_equal(pv_renderer_blob_map(r, 7, &second, NULL), 0);
    assert_ptr_equal(first.host, second.host);
    assert_int_equal(((uint8_t *)second.host)[99], 0x5a);
    pv_renderer_resource_destroy(r, 7);
    pv_renderer_resource_destroy(r, 7);
    assert_int_equal(pv_renderer_blob_map(r, 7, &first, NULL), -ENOENT);
    pv_renderer_destroy(r);
}

static void textures_keep_what_was_copied_to_them(const struct kind *kind)
{
    enum { SIDE = 4, SIZE = SIDE * SIDE * 4 };
    const struct pv_renderer_texture texture = {.target = 2 /* 2D */,
                                                .format = 1 /* B8G8R8A8_UNORM */,
                                                .bind = 8 /* sampler view */,
                                                .width = SIDE,
                                                .height = SIDE,
                                                .depth = 1,
                                                .array_size = 1};
    struct pv_renderer_transfer copy = {
        .to_host = true, .stride = SIDE * 4, .width = SIDE, .height = SIDE, .depth = 1};
    struct bench bench;
    uint8_t pixels[SIZE], expected[SIZE];
    struct iovec backing[] = {{pixels, 20}, {pixels + 20, SIZE - 20}};
    if (!open_bench(&bench, kind))
        return;
    struct pv_renderer *r = bench.renderer;
    int ret = pv_renderer_texture_create(r, 3, &texture, NULL);
    assert_int_equal(ret, kind->textures ? 0 : -ENOTSUP);
    if (kind->textures) {
        assert_int_equal(pv_renderer_context_create(r, 1, kind->capset, "a", NULL), 0);
        assert_int_equal(pv_renderer_attach(r, 1, 3), 0);
        assert_int_equal(pv_renderer_texture_create(r, 3, &texture, NULL), -EEXIST);
        assert_int_equal(pv_renderer_transfer(r, 1, 3, &copy), -ENOENT); /* no backing */
        assert_int_equal(pv_renderer_texture_back(r, 3, backing, 2), 0);
        for (unsigned i = 0; i < SIZE; i++)
            expected[i] = pixels[i] = (uint8_t)(i * 7);
        assert_int_equal(pv_renderer_transfer(r, 1, 3, &copy), 0);
        memset(pixels, 0, sizeof(pixels));
        copy.to_host = false;
        assert_int_equal(pv_renderer_transfer(r, 1, 3, &copy), 0);
        assert_memory_equal(pixels, expected, SIZE);
        copy.x = 1; /* one column beyond the texture */
        assert_int_equal(pv_renderer_transfer(r, 1, 3, &copy), -EINVAL);
        copy.x = 0;
        copy.offset = 4; /* one pixel beyond the backing */
        assert_int_equal(pv_renderer_transfer(r, 1, 3, &copy), -EINVAL);
        assert_int_equal(pv_renderer_texture_back(r, 3, NULL, 0), 0);
        copy.offset = 0;
        assert_int_equal(pv_renderer_transfer(r, 1, 3, &copy), -ENOENT);
    }
    pv_renderer_destroy(r);
}

static void fences_are_always_answered(const struct kind *kind)
{
    struct bench bench;
    if (!open_bench(&bench, kind))
        return;
    struct pv_renderer *r = bench.renderer;
    assert_int_equal(pv_renderer_context_create(r, 1, kind->capset, "a", NULL), 0);
    for (uint64_t fence = 0; fence < 60; fence++)
        assert_int_equal(pv_renderer_fence(r, 1, 0, fence, NULL), 0);
    assert_int_equal(pv_renderer_fence(r, 1, PV_RENDERER_TIMELINES, 61, NULL), -EINVAL);
    assert_true(wait_for(&bench, (UINT64_C(1) << 60) - 1));
    assert_false(pv_renderer_context_lost(r, 1));
    /* A timeline that no queue has: answered all the same. */
    assert_int_equal(pv_renderer_fence(r, 1, 5, 62, NULL), 0);
    assert_true(wait_for(&bench, UINT64_C(1) << 62));
    pv_renderer_destroy(r);
}

static void junk_costs_only_its_own_context(const struct kind *kind)
{
    struct bench bench;
    const uint32_t junk[] = {0xffffffff, 0, 1, 2};
    if (!open_bench(&bench, kind))
        return;
    struct pv_renderer *r = bench.renderer;
    assert_int_equal(pv_renderer_context_create(r, 1, kind->capset, "bad", NULL), 0);
    assert_int_equal(pv_renderer_context_create(r, 2, kind->capset, "good", NULL), 0);
    assert_int_equal(pv_renderer_submit(r, 1, junk, 3, NULL), -EINVAL);
    assert_int_equal(pv_renderer_submit(r, 1, junk, sizeof(junk), NULL), 0);
    assert_int_equal(pv_renderer_fence(r, 1, 0, 1, NULL), 0);
    assert_true(wait_for(&bench, 1 << 1));
    assert_int_equal(pv_renderer_context_lost(r, 1), kind->checks);
    assert_int_equal(pv_renderer_submit(r, 1, junk, sizeof(junk), NULL), kind->checks ? -EIO : 0);
    assert_int_equal(pv_renderer_fence(r, 1, 0, 2, NULL), 0);
    assert_int_equal(pv_renderer_fence(r, 2, 0, 3, NULL), 0);
    assert_true(wait_for(&bench, 1 << 2 | 1 << 3));
    assert_false(pv_renderer_context_lost(r, 2));
    pv_renderer_destroy(r);
}

static void capsets_are_whole(const struct kind *kind)
{
    struct bench bench;
    uint32_t capset[64] = {0};
    if (!open_bench(&bench, kind))
        return;
    assert_int_equal(pv_renderer_capset(bench.renderer, 99, capset, sizeof(capset)), -ENOENT);
    if (kind->capset == PV_CAPSET_VENUS) {
        assert_int_equal(pv_renderer_capset(bench.renderer, 4, capset, 4), 160);
        assert_int_equal(capset[0], 1); /* the wire format that Mesa 25 wants */
        assert_int_equal(capset[1], 0); /* nothing beyond the room given */
        assert_int_equal(pv_renderer_capset(bench.renderer, 4, capset, sizeof(capset)), 160);
        assert_int_equal(capset[5] & 1, 1); /* the extension mask counts */
    }
    pv_renderer_destroy(bench.renderer);
}

#define EACH(test)                                                                                 \
    static void each_##test(void **state)                                                          \
    {                                                                                              \
        for (size_t i = 0; i < PV_ARRAY_SIZE(kinds); i++)                                          \
            test(&kinds[i]);                                                                       \
    }
EACH(contexts_come_and_go)
EACH(blobs_are_zeroed_shared_and_outlive_a_detach)
EACH(blobs_are_bounded_in_all)
EACH(textures_keep_what_was_copied_to_them)
EACH(fences_are_always_answered)
EACH(junk_costs_only_its_own_context)
EACH(capsets_are_whole)

static void unknown_names_are_answered_with_the_known(void **state)
{
    struct pv_error *err PV_CLEANUP_ERROR = NULL;
    struct pv_renderer *renderer;
    const struct pv_renderer_config config = {0};
    assert_int_equal(pv_renderer_create(&renderer, "metal", &config, &err), -ENOENT);
    assert_non_null(strstr(pv_error_message(err), "null"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_contexts_come_and_go),
        cmocka_unit_test(each_blobs_are_zeroed_shared_and_outlive_a_detach),
        cmocka_unit_test(each_blobs_are_bounded_in_all),
        cmocka_unit_test(each_textures_keep_what_was_copied_to_them),
        cmocka_unit_test(each_fences_are_always_answered),
        cmocka_unit_test(each_junk_costs_only_its_own_context),
        cmocka_unit_test(each_capsets_are_whole),
        cmocka_unit_test(unknown_names_are_answered_with_the_known),
    };
    pv_log_set_sink(quiet, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
