/* SPDX-License-Identifier: MIT */
/* The memory of snapshots: written, read at once and as it is wanted, damaged, of version 1. */
#include "base/error.h"
#include "base/util.h"
#include "memory/address_space.h"
#include "vm/memory_format.h"
#include "vm/memory_load.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#include <cmocka.h>

#define RAM      UINT64_C(0x40000000)
#define CHUNKS   16u
#define RAM_SIZE (CHUNKS * PV_MEMORY_CHUNK)

static uint64_t next(uint64_t *seed)
{
    *seed = *seed * UINT64_C(6364136223846793005) + 1442695040888963407;
    return *seed >> 33 ^ *seed << 31;
}

static struct pv_address_space *make_ram(void)
{
    struct pv_address_space *as;
    assert_int_equal(pv_as_create(&as, NULL), 0);
    assert_int_equal(pv_as_add_ram(as, RAM, RAM_SIZE, "ram", NULL), 0);
    return as;
}

static int temporary(void)
{
    char path[] = "/tmp/pv-memory-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    return fd;
}

/* Some pages twice, some that became zeroes, some never; changes `expected`. */
static int make_image(uint8_t *expected, uint64_t seed, unsigned pieces)
{
    struct pv_memory_image *image;
    struct pv_memory_counts counts;
    PV_CLEANUP_FREE uint8_t *data = calloc(1, PV_MEMORY_CHUNK);
    int fd = temporary();
    assert_int_equal(pv_memory_image_create(&image, fd, NULL), 0);
    for (unsigned i = 0; i < pieces; i++) {
        const unsigned chunk = (unsigned)(next(&seed) % (CHUNKS - 1)); /* never the last */
        const uint64_t pages = next(&seed) & next(&seed);
        const bool zeroes = next(&seed) % 4 == 0;
        for (unsigned page = 0; page < 64; page++) {
            uint8_t *to = data + (size_t)page * PV_GUEST_PAGE;
            memset(to, zeroes || next(&seed) % 3 == 0 ? 0 : (int)(next(&seed) & 0xff),
                   PV_GUEST_PAGE);
            to[next(&seed) % PV_GUEST_PAGE] &= 0x55;
            if (pages >> page & 1)
                memcpy(expected + chunk * PV_MEMORY_CHUNK + (size_t)page * PV_GUEST_PAGE, to,
                       PV_GUEST_PAGE);
        }
        assert_int_equal(
            pv_memory_image_write(image, RAM + chunk * PV_MEMORY_CHUNK, data, pages, NULL), 0);
    }
    assert_int_equal(pv_memory_image_end(image, &counts, NULL), 0);
    assert_int_equal(counts.bytes, (uint64_t)lseek(fd, 0, SEEK_END));
    pv_memory_image_destroy(image);
    return fd;
}

/* Reads and checks all of it; into nowhere when `as` is NULL. */
static int load(int fd, struct pv_address_space *as, struct pv_error **err)
{
    struct pv_memory_load *load = NULL;
    int copy = dup(fd);
    int ret = pv_memory_load_create(&load, &copy, 1, as, err);
    if (ret >= 0)
        ret = pv_memory_load_all(load, err);
    pv_memory_load_destroy(load);
    return ret;
}

static void test_memory(void **state)
{
    PV_CLEANUP_FREE uint8_t *expected = calloc(1, RAM_SIZE);
    PV_CLEANUP_FD int fd = make_image(expected, 42, 200);
    struct pv_address_space *as = make_ram();

    assert_int_equal(load(fd, as, NULL), 0);
    assert_memory_equal(pv_as_ram(as, RAM, RAM_SIZE, false), expected, RAM_SIZE);
    pv_as_destroy(as);
}

/* What was changed since, over and over. */
static void test_files_on_files(void **state)
{
    PV_CLEANUP_FREE uint8_t *expected = calloc(1, RAM_SIZE);
    struct pv_address_space *as = make_ram();
    struct pv_memory_load *load;
    struct pv_memory_counts counts;
    int fds[PV_MEMORY_MAX_FILES + 1];

    for (unsigned i = 0; i < PV_ARRAY_SIZE(fds) - 1; i++)
        fds[i] = make_image(expected, i, i ? 8 : 100);
    assert_int_equal(pv_memory_load_create(&load, fds, PV_ARRAY_SIZE(fds) - 1, as, NULL), 0);
    assert_int_equal(pv_memory_load_all(load, NULL), 0);
    pv_memory_load_counts(load, &counts);
    assert_int_equal(counts.pieces, 100 + 8 * (PV_MEMORY_MAX_FILES - 1));
    assert_memory_equal(pv_as_ram(as, RAM, RAM_SIZE, false), expected, RAM_SIZE);
    pv_memory_load_destroy(load);
    pv_as_destroy(as);

    for (unsigned i = 0; i < PV_ARRAY_SIZE(fds); i++)
        fds[i] = make_image(expected, i, 1);
    assert_int_equal(pv_memory_load_create(&load, fds, PV_ARRAY_SIZE(fds), NULL, NULL), -EINVAL);
}

/* ---- As it is wanted ---- */

struct user {
    pthread_t thread;
    struct pv_address_space *as;
    const uint8_t *expected;
    uint64_t seed;
    bool wrong;
};

static void look(struct user *user, uint64_t at, size_t len)
{
    uint8_t bytes[16];
    uint64_t value;
    const uint8_t *p;

    switch (next(&user->seed) % 4) {
    case 0: p = pv_as_ram(user->as, RAM + at, len, false); break;
    case 1: p = pv_as_host(user->as, RAM + at, len, false); break;
    case 2: p = pv_as_read(user->as, RAM + at, bytes, len) == 0 ? bytes : NULL; break;
    default:
        p = pv_as_cpu_read(user->as, RAM + at, 8, &value) == 0 ? (uint8_t *)&value : NULL;
        len = 8;
    }
    user->wrong |= !p || memcmp(p, user->expected + at, len) != 0;
}

static void *use(void *opaque)
{
    struct user *user = opaque;
    for (unsigned i = 0; i < 3000; i++)
        look(user, next(&user->seed) % (RAM_SIZE - 16), 1 + next(&user->seed) % 16);
    return NULL;
}

static void not_failed(void *opaque, const char *message)
{
    atomic_store((atomic_bool *)opaque, true);
}

static void test_lazily(void **state)
{
    PV_CLEANUP_FREE uint8_t *expected = calloc(1, RAM_SIZE);
    struct user users[4];

    for (unsigned round = 0; round < 10; round++) {
        int fds[] = {make_image(expected, 7, 100), make_image(expected, 8, 20)};
        struct pv_address_space *as = make_ram();
        struct pv_memory_load *load;
        atomic_bool failed = false;
        uint64_t returned;
        assert_int_equal(pv_memory_load_create(&load, fds, 2, as, NULL), 0);
        assert_int_equal(pv_memory_load_lazily(load, not_failed, &failed, NULL), 0);
        for (unsigned i = 0; i < PV_ARRAY_SIZE(users); i++) {
            users[i] = (struct user){.as = as, .expected = expected, .seed = round * 10 + i};
            assert_int_equal(pthread_create(&users[i].thread, NULL, use, &users[i]), 0);
        }
        for (unsigned i = 0; i < PV_ARRAY_SIZE(users); i++) {
            pthread_join(users[i].thread, NULL);
            assert_false(users[i].wrong);
        }
        /* Written to, or given back to the host: what was there does not come again. */
        if (round % 2) {
            assert_int_equal(pv_as_discard(as, RAM, PV_MEMORY_CHUNK, &returned), 0);
            memset(expected, 0, PV_MEMORY_CHUNK);
        }
        assert_int_equal(pv_as_fill(as, RAM + 5 * PV_MEMORY_CHUNK, 0xee, 9000), 0);
        memset(expected + 5 * PV_MEMORY_CHUNK, 0xee, 9000);
        pv_memory_load_stop(load);
        assert_memory_equal(pv_as_ram(as, RAM, RAM_SIZE, false), expected, RAM_SIZE);
        assert_false(failed);
        pv_memory_load_destroy(load);
        assert_false(pv_as_filling(as));
        pv_as_destroy(as);
        memset(expected, 0, RAM_SIZE);
    }
}

/* Memory that hardware maps has to be there. */
static void test_not_lazily(void **state)
{
    PV_CLEANUP_FREE uint8_t *expected = calloc(1, RAM_SIZE);
    struct pv_as_listener hardware = {.maps_memory = true};
    struct pv_address_space *as = make_ram();
    struct pv_memory_load *load;
    atomic_bool failed = false;
    int fd = make_image(expected, 3, 50);

    pv_as_add_listener(as, &hardware);
    assert_int_equal(pv_memory_load_create(&load, &fd, 1, as, NULL), 0);
    assert_int_equal(pv_memory_load_lazily(load, not_failed, &failed, NULL), 0);
    assert_false(pv_as_filling(as));
    assert_memory_equal(pv_as_ram(as, RAM, RAM_SIZE, false), expected, RAM_SIZE);
    pv_memory_load_destroy(load);
    pv_as_remove_listener(as, &hardware);
    pv_as_destroy(as);
}

/* ---- Damaged ---- */

struct failure {
    atomic_uint times;
    char message[200];
};

static void failed(void *opaque, const char *message)
{
    struct failure *failure = opaque;
    snprintf(failure->message, sizeof(failure->message), "%s", message);
    atomic_fetch_add(&failure->times, 1);
}

static void test_damaged_lazily(void **state)
{
    PV_CLEANUP_FREE uint8_t *expected = calloc(1, RAM_SIZE);
    int fd = make_image(expected, 3, 50);
    struct pv_address_space *as = make_ram();
    struct pv_memory_load *load;
    struct failure failure = {.times = 0};
    const uint8_t wrong = 0x42;
    uint64_t value;

    /* The first byte of the first piece: a checksum, or of zstd's magic number. */
    assert_int_equal(pwrite(fd, &wrong, 1, sizeof(struct memory_head)), 1);
    assert_int_equal(pv_memory_load_create(&load, &fd, 1, as, NULL), 0);
    assert_int_equal(pv_memory_load_lazily(load, failed, &failure, NULL), 0);
    unsigned without = 0;
    for (unsigned i = 0; i < CHUNKS; i++) {
        const uint64_t at = RAM + i * PV_MEMORY_CHUNK;
        const bool none = !pv_as_ram(as, at, 64, false);
        assert_int_equal(none, !pv_as_host(as, at, 64, false));
        assert_int_equal(pv_as_cpu_read(as, at, 8, &value) < 0, none);
        assert_int_equal(pv_as_read(as, at, &value, 8) < 0, none);
        without += none;
    }
    assert_int_equal(without, 1);
    assert_int_equal(failure.times, 1);
    assert_non_null(strstr(failure.message, "is damaged"));
    pv_memory_load_destroy(load);
    pv_as_destroy(as);
}

static void test_damaged(void **state)
{
    PV_CLEANUP_FREE uint8_t *expected = calloc(1, RAM_SIZE);
    PV_CLEANUP_FD int fd = make_image(expected, 42, 40);
    const off_t size = lseek(fd, 0, SEEK_END);
    PV_CLEANUP_ERROR struct pv_error *err = NULL;

    /* Any byte changed. */
    for (off_t at = 0; at < size; at += at < 200 || at > size - 100 ? 1 : 97) {
        uint8_t byte, wrong;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        wrong = byte ^ 0x10;
        assert_int_equal(pwrite(fd, &wrong, 1, at), 1);
        if (load(fd, NULL, NULL) >= 0)
            fail_msg("byte %ld of %ld may be wrong", (long)at, (long)size);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    assert_int_equal(load(fd, NULL, NULL), 0);

    /* More memory than there is. */
    struct pv_address_space *as;
    assert_int_equal(pv_as_create(&as, NULL), 0);
    assert_int_equal(pv_as_add_ram(as, RAM, PV_MEMORY_CHUNK, "ram", NULL), 0);
    assert_int_equal(load(fd, as, &err), -EINVAL);
    assert_non_null(strstr(pv_error_message(err), "this VM has none there"));
    pv_as_destroy(as);

    /* Cut off anywhere. */
    for (off_t end = size - 1; end > 0; end -= end > size - 50 ? 1 : 997) {
        assert_int_equal(ftruncate(fd, end), 0);
        assert_true(load(fd, NULL, NULL) < 0);
    }
}

/* ---- Version 1 ---- */

static void put_frame(int fd, struct memory_frame frame, const void *data)
{
    uLong crc = crc32_z(0, (const Bytef *)&frame, offsetof(struct memory_frame, crc));
    frame.crc = (uint32_t)crc32_z(crc, data, frame.size);
    assert_int_equal(write(fd, &frame, sizeof(frame)), sizeof(frame));
    assert_int_equal(write(fd, data, frame.size), frame.size);
}

static void test_version_1(void **state)
{
    const struct memory_head head = {MEMORY_MAGIC, 1, PV_GUEST_PAGE};
    struct pv_address_space *as = make_ram();
    struct pv_memory_load *load_;
    PV_CLEANUP_FD int fd = temporary();
    uint8_t plain[2 * PV_GUEST_PAGE], packed[ZSTD_COMPRESSBOUND(sizeof(plain))];
    atomic_bool failed = false;

    memset(plain, 0x11, sizeof(plain));
    size_t size = ZSTD_compress(packed, sizeof(packed), plain, sizeof(plain), 1);
    assert_false(ZSTD_isError(size));
    assert_int_equal(write(fd, &head, sizeof(head)), sizeof(head));
    put_frame(fd, (struct memory_frame){MEMORY_FRAME, (uint32_t)size, RAM, 7, 3, 0, 0}, packed);
    put_frame(fd, (struct memory_frame){MEMORY_FRAME, 0, RAM, 1, 0, 0, 0}, "");
    put_frame(fd, (struct memory_frame){MEMORY_FRAME_END, 0, 2, 0, 0, 0, 0}, "");
    int copy = dup(fd);
    assert_int_equal(pv_memory_load_create(&load_, &copy, 1, as, NULL), 0);
    assert_int_equal(pv_memory_load_lazily(load_, not_failed, &failed, NULL), 0);
    const uint8_t *ram = pv_as_ram(as, RAM, RAM_SIZE, false);
    for (size_t i = 0; i < 3 * PV_GUEST_PAGE; i++)
        assert_int_equal(ram[i], i / PV_GUEST_PAGE == 1 ? 0x11 : 0);
    pv_memory_load_destroy(load_);
    pv_as_destroy(as);

    /* Any byte changed. */
    const off_t end = lseek(fd, 0, SEEK_END);
    for (off_t at = 0; at < end; at++) {
        uint8_t byte, wrong;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        wrong = byte ^ 0x10;
        assert_int_equal(pwrite(fd, &wrong, 1, at), 1);
        assert_true(load(fd, NULL, NULL) < 0);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_memory),         cmocka_unit_test(test_files_on_files),
        cmocka_unit_test(test_lazily),         cmocka_unit_test(test_not_lazily),
        cmocka_unit_test(test_damaged_lazily), cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_version_1),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
