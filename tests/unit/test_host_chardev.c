/* SPDX-License-Identifier: MIT */
#include "base/error.h"
#include "base/util.h"
#include "host/chardev.h"
#include "host/clock.h"
#include "host/loop.h"

#include <errno.h>
#include <fcntl.h>
#include <pty.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cmocka.h>

/* A guest that takes at most `room` bytes. */
struct guest {
    struct pv_loop *loop;
    struct pv_chardev *chardev;
    char got[256];
    size_t count, room;
    unsigned columns, rows;
};

static size_t receive(void *opaque, const void *data, size_t len)
{
    struct guest *guest = opaque;
    size_t take = PV_MIN(len, guest->room);
    memcpy(guest->got + guest->count, data, take);
    guest->count += take;
    guest->room -= take;
    return take;
}

static void stop(void *opaque)
{
    pv_loop_stop(opaque);
}

/* Lets the loop run for a moment. */
static void run_for(struct pv_loop *loop, unsigned milliseconds)
{
    struct pv_timer *timer;
    assert_int_equal(pv_timer_create(&timer, loop, stop, loop, NULL), 0);
    pv_timer_set(timer, pv_clock_ns() + milliseconds * (PV_NSEC_PER_SEC / 1000));
    assert_int_equal(pv_loop_run(loop, NULL), 0);
    pv_timer_destroy(timer);
}

static void attach(struct guest *guest, size_t room)
{
    guest->room = room;
    const struct pv_chardev_client client = {.receive = receive, .opaque = guest};
    pv_chardev_set_client(guest->chardev, &client);
}

static int setup(void **state)
{
    struct guest *guest = calloc(1, sizeof(*guest));
    *state = guest;
    return guest ? pv_loop_create(&guest->loop, NULL) : -1;
}

static int teardown(void **state)
{
    struct guest *guest = *state;
    pv_chardev_destroy(guest->chardev);
    pv_loop_destroy(guest->loop);
    free(guest);
    return 0;
}

static void a_pty_carries_bytes_both_ways(void **state)
{
    struct guest *guest = *state;
    PV_CLEANUP_FREE char *path = NULL;
    assert_int_equal(pv_chardev_pty_create(&guest->chardev, guest->loop, &path, NULL), 0);
    attach(guest, 100);
    PV_CLEANUP_FD int fd = open(path, O_RDWR | O_NOCTTY | O_NONBLOCK);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, "root\r", 5), 5);
    pv_chardev_write(guest->chardev, "login: ", 7);
    run_for(guest->loop, 5);
    assert_int_equal(guest->count, 5);
    assert_memory_equal(guest->got, "root\r", 5);
    char buf[32];
    assert_int_equal(read(fd, buf, sizeof(buf)), 7);
    assert_memory_equal(buf, "login: ", 7);
}

static size_t size_of(const char *folder, const char *name)
{
    PV_CLEANUP_FREE char *path = NULL;
    struct stat st;
    assert_true(asprintf(&path, "%s/%s", folder, name) > 0);
    bool there = stat(path, &st) == 0;
    unlink(path);
    return there ? (size_t)st.st_size : 0;
}

static void a_long_log_begins_anew(void **state)
{
    struct guest *guest = *state;
    char folder[] = "/tmp/pv-log-XXXXXX";
    PV_CLEANUP_FREE char *path = NULL;
    assert_non_null(mkdtemp(folder));
    assert_true(asprintf(&path, "%s/log", folder) > 0);
    assert_int_equal(pv_chardev_null_create(&guest->chardev, NULL), 0);
    assert_int_equal(pv_chardev_log(guest->chardev, path, 100, NULL), 0);
    for (unsigned i = 0; i < 30; i++)
        pv_chardev_write(guest->chardev, "0123456789", 10);
    /* What was there before counts too. */
    assert_int_equal(pv_chardev_log(guest->chardev, path, 100, NULL), 0);
    pv_chardev_write(guest->chardev, "x", 1);
    assert_int_equal(size_of(folder, "log"), 1);
    assert_int_equal(size_of(folder, "log.1"), 100);
    rmdir(folder);
}

static void input_waits_for_room_in_the_guest(void **state)
{
    struct guest *guest = *state;
    PV_CLEANUP_FREE char *path = NULL;
    assert_int_equal(pv_chardev_pty_create(&guest->chardev, guest->loop, &path, NULL), 0);
    attach(guest, 2);
    PV_CLEANUP_FD int fd = open(path, O_RDWR | O_NOCTTY);
    assert_int_equal(write(fd, "abcdef", 6), 6);
    run_for(guest->loop, 5);
    assert_int_equal(guest->count, 2);
    guest->room = 3;
    pv_chardev_can_accept(guest->chardev);
    run_for(guest->loop, 5);
    assert_int_equal(guest->count, 5);
    guest->room = 10;
    pv_chardev_can_accept(guest->chardev);
    assert_int_equal(write(fd, "g", 1), 1);
    run_for(guest->loop, 5);
    assert_memory_equal(guest->got, "abcdefg", 7);
}

static int connect_to(const char *path)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static void a_socket_serves_one_client_after_another(void **state)
{
    struct guest *guest = *state;
    char path[64], buf[64];
    snprintf(path, sizeof(path), "/tmp/pv-test-%d.sock", (int)getpid());
    assert_int_equal(pv_chardev_unix_create(&guest->chardev, guest->loop, path, NULL), 0);
    attach(guest, 100);
    /* Said before anybody listened: kept. */
    pv_chardev_write(guest->chardev, "early ", 6);
    run_for(guest->loop, 2);
    int first = connect_to(path);
    int second = connect_to(path);
    assert_int_equal(write(first, "1", 1), 1);
    assert_int_equal(write(second, "2", 1), 1);
    run_for(guest->loop, 5);
    assert_int_equal(read(first, buf, sizeof(buf)), 6);
    assert_memory_equal(guest->got, "1", 1);
    assert_int_equal(guest->count, 1);
    close(first);
    run_for(guest->loop, 5);
    pv_chardev_write(guest->chardev, "next", 4);
    run_for(guest->loop, 5);
    assert_memory_equal(guest->got, "12", 2);
    assert_int_equal(read(second, buf, sizeof(buf)), 4);
    close(second);
    run_for(guest->loop, 5);

    struct stat st;
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    pv_chardev_destroy(guest->chardev);
    guest->chardev = NULL;
    assert_int_equal(stat(path, &st), -1);
}

/* Output for a client that left before the loop saw it go: not a signal that ends the process. */
static void a_client_leaves_under_output(void **state)
{
    struct guest *guest = *state;
    char path[64], buf[64];
    snprintf(path, sizeof(path), "/tmp/pv-leaves-%d.sock", (int)getpid());
    assert_int_equal(pv_chardev_unix_create(&guest->chardev, guest->loop, path, NULL), 0);
    attach(guest, 100);
    int client = connect_to(path);
    run_for(guest->loop, 5);
    close(client);
    pv_chardev_write(guest->chardev, "lost", 4);
    run_for(guest->loop, 5);
    client = connect_to(path);
    run_for(guest->loop, 5);
    pv_chardev_write(guest->chardev, "again", 5);
    run_for(guest->loop, 5);
    assert_int_equal(read(client, buf, sizeof(buf)), 5);
    close(client);
}

static void a_stale_socket_is_replaced_and_a_live_one_is_not(void **state)
{
    struct guest *guest = *state;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct pv_chardev *second;
    char path[64];
    snprintf(path, sizeof(path), "/tmp/pv-stale-%d.sock", (int)getpid());
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    int dead = socket(AF_UNIX, SOCK_STREAM, 0);
    assert_int_equal(bind(dead, (const struct sockaddr *)&address, sizeof(address)), 0);
    close(dead);
    assert_int_equal(pv_chardev_unix_create(&guest->chardev, guest->loop, path, NULL), 0);
    assert_int_equal(pv_chardev_unix_create(&second, guest->loop, path, &err), -EADDRINUSE);
    assert_non_null(strstr(pv_error_message(err), path));
    pv_error_free(&err);
    assert_int_equal(pv_chardev_unix_create(&second, guest->loop, "", &err), -ENAMETOOLONG);
}

static void the_oldest_output_goes_when_nobody_reads(void **state)
{
    struct guest *guest = *state;
    char path[64], line[101];
    snprintf(path, sizeof(path), "/tmp/pv-old-%d.sock", (int)getpid());
    assert_int_equal(pv_chardev_unix_create(&guest->chardev, guest->loop, path, NULL), 0);
    for (int i = 0; i < 2000; i++) {
        snprintf(line, sizeof(line), "%099d\n", i);
        pv_chardev_write(guest->chardev, line, 100);
    }
    int fd = connect_to(path);
    static char all[128 << 10];
    size_t count = 0;
    for (int i = 0; i < 5; i++) {
        ssize_t got;
        run_for(guest->loop, 5);
        while ((got = read(fd, all + count, sizeof(all) - count)) > 0)
            count += (size_t)got;
    }
    assert_in_range(count, 32 << 10, 64 << 10);
    assert_memory_equal(all + count - 100, line, 100);
    close(fd);
}

static void nothing_is_a_chardev_too(void **state)
{
    struct guest *guest = *state;
    assert_int_equal(pv_chardev_null_create(&guest->chardev, NULL), 0);
    attach(guest, 10);
    pv_chardev_write(guest->chardev, "x", 1);
    pv_chardev_can_accept(guest->chardev);
    run_for(guest->loop, 1);
    assert_int_equal(guest->count, 0);
    pv_chardev_destroy(NULL);
}

static void resized(void *opaque, unsigned columns, unsigned rows)
{
    struct guest *guest = opaque;
    guest->columns = columns;
    guest->rows = rows;
}

/* When the guest comes, and whenever it changes. */
static void a_terminal_tells_its_size(void **state)
{
    struct guest *guest = *state;
    struct winsize size = {.ws_col = 132, .ws_row = 50};
    const struct pv_chardev_client client = {receive, resized, guest};
    int master, slave, saved = dup(STDIN_FILENO);
    assert_int_equal(openpty(&master, &slave, NULL, NULL, &size), 0);
    assert_int_equal(dup2(slave, STDIN_FILENO), STDIN_FILENO);
    assert_int_equal(pv_chardev_stdio_create(&guest->chardev, guest->loop, NULL, NULL, NULL), 0);
    pv_chardev_set_client(guest->chardev, &client);
    assert_int_equal(guest->columns, 132);
    assert_int_equal(guest->rows, 50);
    size.ws_col = 80;
    assert_int_equal(ioctl(master, TIOCSWINSZ, &size), 0);
    assert_int_equal(raise(SIGWINCH), 0);
    run_for(guest->loop, 20);
    assert_int_equal(guest->columns, 80);
    pv_chardev_destroy(guest->chardev);
    guest->chardev = NULL;
    assert_int_equal(dup2(saved, STDIN_FILENO), STDIN_FILENO);
    close(saved);
    close(master);
    close(slave);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_pty_carries_bytes_both_ways),
        TEST(a_long_log_begins_anew),
        TEST(input_waits_for_room_in_the_guest),
        TEST(a_socket_serves_one_client_after_another),
        TEST(a_client_leaves_under_output),
        TEST(a_stale_socket_is_replaced_and_a_live_one_is_not),
        TEST(the_oldest_output_goes_when_nobody_reads),
        TEST(nothing_is_a_chardev_too),
        TEST(a_terminal_tells_its_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
