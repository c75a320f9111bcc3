/* SPDX-License-Identifier: MIT */
/*
 * Images that were copied while they were in use: whatever became of everything else, the copy
 * becomes the disk that its snapshot has.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/endian.h"
#include "base/error.h"
#include "base/util.h"
#include "block/disk.h"
#include "block/image.h"
#include "host/file_copy.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SIZE (UINT64_C(4) << 20)

struct fixture {
    char folder[64], image[80], copy[80];
    uint8_t *then; /* what the snapshot has */
};

static void write_random(struct fixture *f, uint64_t seed, unsigned pieces, bool remember)
{
    struct pv_block_image *image;
    static uint8_t data[16384];
    assert_int_equal(pv_block_image_open(&image, f->image, false, NULL, NULL, NULL), 0);
    for (unsigned i = 0; i < pieces; i++) {
        seed = seed * UINT64_C(6364136223846793005) + 1;
        const uint64_t at = (seed >> 33) % (SIZE / sizeof(data)) * sizeof(data);
        memset(data, (int)(seed >> 40 | 1), sizeof(data));
        assert_int_equal(pv_block_image_write(image, data, sizeof(data), at), 0);
        if (remember)
            memcpy(f->then + at, data, sizeof(data));
    }
    pv_block_image_close(image);
}

static void setup(struct fixture *f, const struct pv_disk_options *options)
{
    *f = (struct fixture){.folder = "/tmp/pv-test-rescue-XXXXXX", .then = calloc(1, SIZE)};
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->image, sizeof(f->image), "%s/image", f->folder);
    snprintf(f->copy, sizeof(f->copy), "%s/copy", f->folder);
    assert_int_equal(pv_disk_create(f->image, "qcow2", options, NULL), 0);
    write_random(f, 1, 100, true);
    assert_int_equal(pv_disk_snapshot_create(f->image, "earlier", NULL), 0);
    write_random(f, 2, 100, true);
    assert_int_equal(pv_disk_snapshot_create(f->image, "then", NULL), 0);
    write_random(f, 3, 100, false);
    assert_int_equal(pv_file_copy(f->image, f->copy, NULL), 0);
}

static void teardown(struct fixture *f)
{
    unlink(f->image);
    unlink(f->copy);
    assert_int_equal(rmdir(f->folder), 0);
    free(f->then);
}

static uint64_t load(int fd, uint64_t at)
{
    uint64_t word;
    assert_int_equal(pread(fd, &word, 8, (off_t)at), 8);
    return be64toh(word);
}

/* The disk's own table and all refcounts are what they never were. */
static void tear(struct fixture *f)
{
    PV_CLEANUP_FD int fd = open(f->copy, O_RDWR | O_CLOEXEC);
    const uint64_t l1 = load(fd, 40), table = load(fd, 48), block = load(fd, table);
    const uint64_t l2 = load(fd, l1) & UINT64_C(0x00fffffffffffe00);
    static uint8_t junk[4096];
    for (size_t i = 0; i < sizeof(junk); i++)
        junk[i] = (uint8_t)(i * 7);
    assert_int_equal(pwrite(fd, junk, sizeof(junk), (off_t)block), sizeof(junk));
    assert_int_equal(pwrite(fd, junk, sizeof(junk), (off_t)l2), sizeof(junk));
    assert_int_equal(pwrite(fd, junk, 8, (off_t)l1), 8);
}

static void check(struct fixture *f)
{
    PV_CLEANUP_FREE uint8_t *now = malloc(SIZE);
    struct pv_block_image *image;
    struct pv_disk_check result;
    assert_int_equal(pv_disk_check(&result, f->copy, false, NULL), 0);
    assert_int_equal(result.errors, 0);
    assert_int_equal(result.leaks, 0);
    assert_int_equal(pv_block_image_open(&image, f->copy, true, NULL, NULL, NULL), 0);
    assert_int_equal(pv_block_image_read(image, now, SIZE, 0), 0);
    assert_memory_equal(now, f->then, SIZE);
    pv_block_image_close(image);
}

static void rescue(const struct pv_disk_options *options)
{
    struct fixture f;
    setup(&f, options);
    tear(&f);
    assert_int_equal(pv_disk_snapshot_rescue(f.copy, "then", NULL), 0);
    check(&f);
    /* Writes leave the snapshot alone, and it can be gone back to. */
    char original[sizeof(f.image)];
    memcpy(original, f.image, sizeof(original));
    memcpy(f.image, f.copy, sizeof(f.image));
    write_random(&f, 4, 100, false);
    assert_int_equal(pv_disk_snapshot_apply(f.copy, "then", NULL), 0);
    memcpy(f.image, original, sizeof(f.image));
    check(&f);
    teardown(&f);
}

static void test_torn(void **state)
{
    static const struct pv_disk_options kinds[] = {
        {.size = SIZE},
        {.size = SIZE, .lazy_refcounts = true},
        {.size = SIZE, .cluster_size = 4096, .refcount_bits = 64},
        {.size = SIZE, .extended_l2 = true},
    };
    for (unsigned i = 0; i < PV_ARRAY_SIZE(kinds); i++)
        rescue(&kinds[i]);
}

static void test_refusals(void **state)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    const struct pv_disk_options options = {.size = SIZE};
    struct fixture f;
    setup(&f, &options);
    assert_int_equal(pv_disk_snapshot_rescue(f.copy, "never", &err), -ENOENT);
    assert_non_null(strstr(pv_error_message(err), "no snapshot 'never'"));
    /* The snapshot's own table points outside of the file. */
    PV_CLEANUP_FD int fd = open(f.copy, O_RDWR | O_CLOEXEC);
    const uint64_t snapshots = load(fd, 64), word = htobe64(UINT64_C(1) << 40 | 65536 * 7);
    const uint64_t first = load(fd, snapshots);
    assert_int_equal(pwrite(fd, &word, 8, (off_t)first), 8);
    assert_true(pv_disk_snapshot_rescue(f.copy, "earlier", NULL) < 0);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_torn),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
