/* SPDX-License-Identifier: MIT */
/*
 * Disks on a file system that becomes full: writes wait until there is room, and nothing is lost.
 * On a small tmpfs in a mount namespace of its own; skipped where that cannot be had.
 */
#include "base/error.h"
#include "base/util.h"
#include "block/block.h"
#include "block/disk.h"
#include "host/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#define FOLDER   "/tmp"
#define DISK     FOLDER "/disk"
#define BALLAST  FOLDER "/ballast"
#define FS_SIZE  "size=8m"
#define PIECE    (UINT64_C(64) << 10)
#define PIECES   64u /* 4 MiB */
#define MOST_OPS 256u

struct fixture {
    struct pv_loop *loop;
    struct pv_block *block;
    unsigned full, room; /* how often it was said */
    unsigned under_way;
    int worst;
    bool watched; /* the test is at an end when it is full, not when all is done */
    struct operation {
        struct pv_block_request request;
        struct iovec iov;
        struct fixture *f;
    } operations[MOST_OPS];
    unsigned count;
};

static void on_full(void *opaque, bool full)
{
    struct fixture *f = opaque;
    *(full ? &f->full : &f->room) += 1;
    assert_int_equal(f->full - f->room, full);
    if (full && f->watched)
        pv_loop_stop(f->loop);
}

static void done(struct pv_block_request *request, int result)
{
    struct fixture *f = ((struct operation *)request)->f;
    f->worst = PV_MIN(f->worst, result);
    if (--f->under_way == 0)
        pv_loop_stop(f->loop);
}

static void submit(struct fixture *f, enum pv_block_op op, uint64_t offset, void *data)
{
    struct operation *o = &f->operations[f->count++];
    *o = (struct operation){.f = f, .iov = {data, data ? PIECE : 0}};
    o->request = (struct pv_block_request){.op = op,
                                           .offset = offset,
                                           .length = o->iov.iov_len,
                                           .iov = &o->iov,
                                           .iov_count = 1,
                                           .done = done};
    f->under_way++;
    pv_block_submit(f->block, &o->request);
}

static void run(struct fixture *f)
{
    assert_int_equal(pv_loop_run(f->loop, NULL), 0);
}

/* Takes all room there is but for `left` bytes. */
static void fill_up(size_t left)
{
    static char page[4096];
    PV_CLEANUP_FD int fd = open(BALLAST, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    off_t size = 0;
    assert_true(fd >= 0);
    while (pwrite(fd, page, sizeof(page), size) == (ssize_t)sizeof(page))
        size += (off_t)sizeof(page);
    assert_int_equal(ftruncate(fd, PV_MAX(size - (off_t)left, (off_t)0)), 0);
}

static void open_disk(struct fixture *f, const char *format, bool waits)
{
    const struct pv_block_options options = {.full = waits ? on_full : NULL, .opaque = f};
    const struct pv_disk_options create = {.size = PIECE * PIECES};
    unlink(DISK);
    unlink(BALLAST);
    *f = (struct fixture){.watched = true};
    assert_int_equal(pv_loop_create(&f->loop, NULL), 0);
    assert_int_equal(pv_disk_create(DISK, format, &create, NULL), 0);
    assert_int_equal(pv_block_open(&f->block, f->loop, DISK, &options, NULL), 0);
}

static void close_disk(struct fixture *f)
{
    pv_block_close(f->block);
    pv_loop_destroy(f->loop);
}

static void check_contents(struct fixture *f, uint8_t *data)
{
    PV_CLEANUP_FREE uint8_t *back = malloc(PIECE * PIECES);
    f->watched = false;
    for (unsigned i = 0; i < PIECES; i++)
        submit(f, PV_BLOCK_READ, i * PIECE, back + i * PIECE);
    run(f);
    assert_int_equal(f->worst, 0);
    assert_memory_equal(back, data, PIECE * PIECES);
}

static void waits(const char *format)
{
    struct fixture f;
    PV_CLEANUP_FREE uint8_t *data = malloc(PIECE * PIECES);
    open_disk(&f, format, true);
    for (uint64_t i = 0; i < PIECE * PIECES; i++)
        data[i] = (uint8_t)(i * 2654435761u >> 24 | 1);
    fill_up(1 << 20);
    for (unsigned i = 0; i < PIECES; i++)
        submit(&f, PV_BLOCK_WRITE, i * PIECE, data + i * PIECE);
    submit(&f, PV_BLOCK_FLUSH, 0, NULL);
    run(&f);
    assert_int_equal(f.full, 1);
    assert_true(f.under_way > 0 && f.worst == 0);

    assert_int_equal(unlink(BALLAST), 0);
    run(&f);
    assert_int_equal(f.under_way, 0);
    assert_int_equal(f.worst, 0);
    assert_int_equal(f.room, f.full);
    submit(&f, PV_BLOCK_FLUSH, 0, NULL);
    run(&f);
    check_contents(&f, data);
    close_disk(&f);

    /* What was written is there for those who come later, too. */
    struct pv_disk_check check;
    if (!strcmp(format, "qcow2")) {
        assert_int_equal(pv_disk_check(&check, DISK, false, NULL), 0);
        assert_int_equal(check.errors, 0);
    }
    assert_int_equal(pv_loop_create(&f.loop, NULL), 0);
    const struct pv_block_options options = {.read_only = true};
    assert_int_equal(pv_block_open(&f.block, f.loop, DISK, &options, NULL), 0);
    f.count = 0;
    check_contents(&f, data);
    close_disk(&f);
}

static void test_raw_waits(void **state)
{
    waits("raw");
}

static void test_qcow2_waits(void **state)
{
    waits("qcow2");
}

/* A reset or the end does not wait for room. */
static void test_given_up(void **state)
{
    static uint8_t data[PIECE];
    struct fixture f;
    open_disk(&f, "raw", true);
    fill_up(0);
    submit(&f, PV_BLOCK_WRITE, 0, data);
    run(&f);
    assert_int_equal(f.full, 1);
    pv_block_drain(f.block);
    run(&f);
    assert_int_equal(f.worst, -EIO);
    assert_int_equal(f.room, 1);

    f.worst = 0;
    submit(&f, PV_BLOCK_WRITE, 0, data);
    run(&f);
    assert_int_equal(f.full, 2);
    close_disk(&f);
    assert_int_equal(f.room, 2);
    assert_int_equal(f.worst, 0);
}

/* Who does not wait is told. */
static void test_told(void **state)
{
    static uint8_t data[PIECE];
    struct fixture f;
    open_disk(&f, "raw", false);
    fill_up(0);
    submit(&f, PV_BLOCK_WRITE, 0, data);
    run(&f);
    assert_int_equal(f.worst, -ENOSPC);
    close_disk(&f);
}

static bool make_place(void)
{
    if (unshare(CLONE_NEWNS) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return false;
    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    return mount("tmpfs", FOLDER, "tmpfs", 0, FS_SIZE) == 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_raw_waits),
        cmocka_unit_test(test_qcow2_waits),
        cmocka_unit_test(test_given_up),
        cmocka_unit_test(test_told),
    };
    if (!make_place()) {
        printf("no file system of its own can be had: %s\n", strerror(errno));
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
