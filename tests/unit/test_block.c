/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/util.h"
#include "block/block.h"
#include "block/throttle.h"
#include "host/clock.h"
#include "host/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#define SIZE (256u * 1024)

struct fixture {
    struct pv_loop *loop;
    char path[64];
    unsigned pending;
};

struct test_request {
    struct pv_block_request base;
    struct fixture *fixture;
    int result;
};

static void setup(struct fixture *f)
{
    *f = (struct fixture){.path = "/tmp/pv-test-block-XXXXXX"};
    assert_int_equal(pv_loop_create(&f->loop, NULL), 0);
    int fd = mkstemp(f->path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, SIZE), 0);
    close(fd);
}

static void teardown(struct fixture *f)
{
    pv_loop_destroy(f->loop);
    unlink(f->path);
}

static struct pv_block *open_block(struct fixture *f, bool read_only)
{
    struct pv_block *block;
    const struct pv_block_options options = {.read_only = read_only};
    assert_int_equal(pv_block_open(&block, f->loop, f->path, &options, NULL), 0);
    return block;
}

static void done(struct pv_block_request *base, int result)
{
    struct test_request *request = (struct test_request *)base;
    request->result = result;
    if (--request->fixture->pending == 0)
        pv_loop_stop(request->fixture->loop);
}

static void submit(struct fixture *f, struct pv_block *block, struct test_request *request)
{
    request->base.done = done;
    request->fixture = f;
    request->result = 1;
    f->pending++;
    pv_block_submit(block, &request->base);
}

static int run(struct fixture *f, struct pv_block *block, enum pv_block_op op, uint64_t offset,
               void *buf, uint64_t length, bool unmap)
{
    struct iovec iov = {.iov_base = buf, .iov_len = (size_t)length};
    struct test_request request = {.base = {.op = op,
                                            .unmap = unmap,
                                            .offset = offset,
                                            .length = length,
                                            .iov = &iov,
                                            .iov_count = buf ? 1 : 0}};
    submit(f, block, &request);
    assert_int_equal(request.result, 1); /* never from inside submit */
    assert_int_equal(pv_loop_run(f->loop, NULL), 0);
    return request.result;
}

static void test_read_write(void **state)
{
    struct fixture f;
    setup(&f);
    struct pv_block *block = open_block(&f, false);
    assert_int_equal(pv_block_size(block), SIZE);
    assert_false(pv_block_read_only(block));
    char out[1000], in[1000];
    for (size_t i = 0; i < sizeof(out); i++)
        out[i] = (char)(i * 7);
    assert_int_equal(run(&f, block, PV_BLOCK_WRITE, 4095, out, sizeof(out), false), 0);
    assert_int_equal(run(&f, block, PV_BLOCK_FLUSH, 0, NULL, 0, false), 0);
    assert_int_equal(run(&f, block, PV_BLOCK_READ, 4095, in, sizeof(in), false), 0);
    assert_memory_equal(in, out, sizeof(in));
    assert_int_equal(run(&f, block, PV_BLOCK_READ, SIZE, in, 0, false), 0);
    pv_block_close(block);
    teardown(&f);
}

static void test_many_iovecs(void **state)
{
    struct fixture f;
    setup(&f);
    struct pv_block *block = open_block(&f, false);
    enum { COUNT = 200, PART = 24 };
    static char out[COUNT * PART], in[COUNT * PART];
    struct iovec iov[COUNT + 2];
    for (size_t i = 0; i < sizeof(out); i++)
        out[i] = (char)(i % 251);
    assert_int_equal(run(&f, block, PV_BLOCK_WRITE, 512, out, sizeof(out), false), 0);
    for (unsigned i = 0; i < COUNT; i++)
        iov[i] = (struct iovec){in + (size_t)PART * i, PART};
    iov[COUNT] = iov[COUNT + 1] = (struct iovec){in, 0};
    struct test_request request = {.base = {.op = PV_BLOCK_READ,
                                            .offset = 512,
                                            .length = sizeof(in),
                                            .iov = iov,
                                            .iov_count = COUNT + 2}};
    submit(&f, block, &request);
    assert_int_equal(pv_loop_run(f.loop, NULL), 0);
    assert_int_equal(request.result, 0);
    assert_memory_equal(in, out, sizeof(in));

    /* The iovecs must add up to the length. */
    request.base.length = sizeof(in) - 1;
    submit(&f, block, &request);
    assert_int_equal(pv_loop_run(f.loop, NULL), 0);
    assert_int_equal(request.result, -EINVAL);
    pv_block_close(block);
    teardown(&f);
}

static void test_ranges(void **state)
{
    struct fixture f;
    setup(&f);
    struct pv_block *block = open_block(&f, false);
    char buf[512] = {0};
    assert_int_equal(run(&f, block, PV_BLOCK_READ, SIZE - 511, buf, 512, false), -ENOSPC);
    assert_int_equal(run(&f, block, PV_BLOCK_WRITE, UINT64_MAX, buf, 512, false), -ENOSPC);
    assert_int_equal(run(&f, block, PV_BLOCK_DISCARD, 512, NULL, UINT64_MAX, false), -ENOSPC);
    assert_int_equal(run(&f, block, PV_BLOCK_ZERO, SIZE, NULL, 1, false), -ENOSPC);
    struct stat st;
    assert_int_equal(stat(f.path, &st), 0);
    assert_int_equal(st.st_size, SIZE);
    pv_block_close(block);
    teardown(&f);
}

static void test_zero_and_discard(void **state)
{
    struct fixture f;
    setup(&f);
    struct pv_block *block = open_block(&f, false);
    assert_true(pv_block_can_discard(block));
    static char buf[SIZE];
    for (int unmap = 0; unmap < 2; unmap++) {
        memset(buf, 0xaa, sizeof(buf));
        assert_int_equal(run(&f, block, PV_BLOCK_WRITE, 0, buf, SIZE, false), 0);
        assert_int_equal(run(&f, block, PV_BLOCK_ZERO, 1000, NULL, 150000, unmap), 0);
        assert_int_equal(run(&f, block, PV_BLOCK_READ, 0, buf, SIZE, false), 0);
        for (size_t i = 0; i < SIZE; i++)
            if (buf[i] != (i < 1000 || i >= 151000 ? (char)0xaa : 0))
                fail_msg("byte %zu is %#x", i, buf[i]);
    }
    assert_int_equal(run(&f, block, PV_BLOCK_DISCARD, 0, NULL, SIZE, false), 0);
    struct stat st;
    assert_int_equal(stat(f.path, &st), 0);
    assert_int_equal(st.st_size, SIZE);
    pv_block_close(block);
    teardown(&f);
}

static void test_read_only(void **state)
{
    struct fixture f;
    setup(&f);
    assert_int_equal(chmod(f.path, 0444), 0);
    struct pv_block *block = open_block(&f, true);
    assert_true(pv_block_read_only(block));
    assert_false(pv_block_can_discard(block));
    char buf[512] = {0};
    assert_int_equal(run(&f, block, PV_BLOCK_READ, 0, buf, 512, false), 0);
    assert_int_equal(run(&f, block, PV_BLOCK_WRITE, 0, buf, 512, false), -EROFS);
    assert_int_equal(run(&f, block, PV_BLOCK_DISCARD, 0, NULL, 512, false), -EROFS);
    assert_int_equal(run(&f, block, PV_BLOCK_ZERO, 0, NULL, 512, false), -EROFS);
    pv_block_close(block);
    teardown(&f);
}

static void assert_refused(struct fixture *f, const char *path, bool read_only, int code,
                           const char *says)
{
    struct pv_block *block;
    struct pv_error *err = NULL;
    const struct pv_block_options options = {.read_only = read_only};
    assert_int_equal(pv_block_open(&block, f->loop, path, &options, &err), -code);
    assert_non_null(strstr(pv_error_message(err), path));
    if (!strstr(pv_error_message(err), says))
        fail_msg("\"%s\" does not say \"%s\"", pv_error_message(err), says);
    pv_error_free(&err);
}

static void test_locking(void **state)
{
    struct fixture f;
    setup(&f);
    struct pv_block *writer = open_block(&f, false);
    assert_refused(&f, f.path, false, EBUSY, "in use by another VM");
    assert_refused(&f, f.path, true, EBUSY, "in use by another VM");
    pv_block_close(writer);
    struct pv_block *reader = open_block(&f, true), *second = open_block(&f, true);
    assert_refused(&f, f.path, false, EBUSY, "in use by another VM");
    pv_block_close(second);
    pv_block_close(reader);
    pv_block_close(open_block(&f, false));
    teardown(&f);
}

static void test_refusals(void **state)
{
    struct fixture f;
    setup(&f);
    assert_refused(&f, "/tmp", true, EINVAL, "neither a file nor a block device");
    assert_refused(&f, "/dev/null", false, EINVAL, "neither a file nor a block device");
    assert_refused(&f, "/tmp/pv-no-such-file", false, ENOENT, "No such file");
    int fd = open(f.path, O_WRONLY);
    assert_int_equal(pwrite(fd, "QFI\xfb", 4, 0), 4);
    close(fd);
    assert_refused(&f, f.path, false, ENOTSUP, "qcow2");
    teardown(&f);
}

static void test_many_at_once_then_drain(void **state)
{
    struct fixture f;
    setup(&f);
    struct pv_block *block = open_block(&f, false);
    enum { COUNT = 64 };
    static char data[COUNT][4096];
    static struct test_request requests[COUNT];
    struct iovec iov[COUNT];
    for (unsigned i = 0; i < COUNT; i++) {
        memset(data[i], (int)i + 1, sizeof(data[i]));
        iov[i] = (struct iovec){data[i], sizeof(data[i])};
        requests[i] = (struct test_request){.base = {.op = PV_BLOCK_WRITE,
                                                     .offset = i * sizeof(data[i]),
                                                     .length = sizeof(data[i]),
                                                     .iov = &iov[i],
                                                     .iov_count = 1}};
        submit(&f, block, &requests[i]);
    }
    pv_block_drain(block);
    /* All are on disk; none has been reported. */
    int fd = open(f.path, O_RDONLY);
    for (unsigned i = 0; i < COUNT; i++) {
        char byte;
        assert_int_equal(pread(fd, &byte, 1, (off_t)(i * sizeof(data[i]))), 1);
        assert_int_equal(byte, i + 1);
        assert_int_equal(requests[i].result, 1);
    }
    close(fd);
    assert_int_equal(pv_loop_run(f.loop, NULL), 0);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(requests[i].result, 0);

    /* Closing waits, and drops the completions. */
    for (unsigned i = 0; i < COUNT; i++)
        submit(&f, block, &requests[i]);
    pv_block_close(block);
    for (unsigned i = 0; i < COUNT; i++)
        assert_int_equal(requests[i].result, 1);
    teardown(&f);
}

static void test_truncated_behind_our_back(void **state)
{
    struct fixture f;
    setup(&f);
    struct pv_block *block = open_block(&f, false);
    assert_int_equal(truncate(f.path, 1000), 0);
    char buf[2048];
    memset(buf, 1, sizeof(buf));
    assert_int_equal(run(&f, block, PV_BLOCK_READ, 0, buf, sizeof(buf), false), 0);
    assert_int_equal(buf[1500], 0);
    pv_block_close(block);
    teardown(&f);
}

/* By a clock of the test's own: what was taken within a time is what the rates allow for it. */
/*
 * Requests that go on where the one before ends may become one system call. Each has its own
 * result nevertheless: here the file may not grow beyond half of them.
 */
static void test_adjacent(void **state)
{
    enum { COUNT = 64, PART = 1024 };
    static struct test_request requests[COUNT];
    static struct iovec iov[COUNT];
    static char data[COUNT][PART];
    char in[PART];
    struct fixture f;
    struct rlimit old, half;
    setup(&f);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    signal(SIGXFSZ, SIG_IGN);
    for (unsigned round = 0; round < 20; round++) {
        struct pv_block *block = open_block(&f, false);
        half = (struct rlimit){COUNT / 2 * PART, old.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &half), 0);
        for (unsigned i = 0; i < COUNT; i++) {
            memset(data[i], (int)(i + 3 * round), PART);
            iov[i] = (struct iovec){data[i], PART};
            requests[i].base = (struct pv_block_request){.op = PV_BLOCK_WRITE,
                                                         .offset = (uint64_t)i * PART,
                                                         .length = PART,
                                                         .iov = &iov[i],
                                                         .iov_count = 1};
            submit(&f, block, &requests[i]);
        }
        assert_int_equal(pv_loop_run(f.loop, NULL), 0);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        for (unsigned i = 0; i < COUNT; i++) {
            assert_int_equal(requests[i].result, i < COUNT / 2 ? 0 : -EFBIG);
            assert_int_equal(run(&f, block, PV_BLOCK_READ, (uint64_t)i * PART, in, PART, false), 0);
            assert_int_equal(in[0], i < COUNT / 2 ? data[i][0] : 0);
            assert_memory_equal(in, in + 1, PART - 1);
        }
        pv_block_close(block);
    }
    signal(SIGXFSZ, SIG_DFL);
    teardown(&f);
}

static void test_throttle(void **state)
{
    static const struct {
        uint64_t iops, bps, bytes, want; /* requests in ten seconds */
    } cases[] = {
        {100, 0, 4096, 1000},
        {0, 1 << 20, 65536, 160},
        {100, 1 << 20, 65536, 160},
        {100, 1 << 20, 512, 1000},
    };
    for (unsigned i = 0; i < PV_ARRAY_SIZE(cases); i++) {
        struct pv_throttle t = {.iops = cases[i].iops, .bps = cases[i].bps};
        const uint64_t start = 1000 * PV_NSEC_PER_SEC;
        uint64_t now = start, count = 0;
        while (now < start + 10 * PV_NSEC_PER_SEC) {
            pv_throttle_take(&t, now, cases[i].bytes);
            count++;
            now = PV_MAX(now, pv_throttle_next(&t));
        }
        /* A tenth of a second's worth is ahead of its time, and what began last. */
        assert_in_range(count, cases[i].want, cases[i].want + cases[i].want / 100 + 2);
        /* After a long pause as much as that may begin at once again. */
        now += 1000 * PV_NSEC_PER_SEC;
        for (count = 0; pv_throttle_next(&t) <= now; count++)
            pv_throttle_take(&t, now, cases[i].bytes);
        assert_in_range(count, cases[i].want / 100, cases[i].want / 100 + 2);
    }
    /* No rates, and one that no disk has. */
    struct pv_throttle none = {0}, slow = {.bps = 1};
    pv_throttle_take(&none, 5, UINT64_MAX);
    assert_int_equal(pv_throttle_next(&none), 0);
    pv_throttle_take(&slow, 5, UINT64_MAX);
    assert_true(pv_throttle_next(&slow) > 5);
}

/* Draining and closing do not wait for a rate, which would take days here. */
static void test_throttled(void **state)
{
    static char data[65536];
    const struct pv_block_options options = {.iops = 1, .bps = 1};
    struct test_request requests[4];
    struct iovec iov = {.iov_base = data, .iov_len = sizeof(data)};
    struct pv_block *block;
    struct fixture f;
    setup(&f);
    assert_int_equal(pv_block_open(&block, f.loop, f.path, &options, NULL), 0);
    for (unsigned i = 0; i < PV_ARRAY_SIZE(requests); i++) {
        requests[i] = (struct test_request){
            .base = {.op = PV_BLOCK_READ, .length = sizeof(data), .iov = &iov, .iov_count = 1}};
        submit(&f, block, &requests[i]);
    }
    pv_block_drain(block);
    assert_int_equal(pv_loop_run(f.loop, NULL), 0);
    for (unsigned i = 0; i < PV_ARRAY_SIZE(requests); i++)
        assert_int_equal(requests[i].result, 0);
    submit(&f, block, &requests[0]);
    pv_block_close(block);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_read_write),
        cmocka_unit_test(test_many_iovecs),
        cmocka_unit_test(test_ranges),
        cmocka_unit_test(test_zero_and_discard),
        cmocka_unit_test(test_read_only),
        cmocka_unit_test(test_locking),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_many_at_once_then_drain),
        cmocka_unit_test(test_truncated_behind_our_back),
        cmocka_unit_test(test_adjacent),
        cmocka_unit_test(test_throttle),
        cmocka_unit_test(test_throttled),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
