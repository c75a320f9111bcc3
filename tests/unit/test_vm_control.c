/* SPDX-License-Identifier: MIT */
/* The control socket: framing, arguments, late answers, clients that misbehave. */
#include "base/error.h"
#include "base/util.h"
#include "host/loop.h"
#include "host/unix_socket.h"
#include "vm/control.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#define MAX_WAITING 3

struct fixture {
    struct pv_loop *loop;
    struct pv_control *control;
    struct pv_control_request *waiting[MAX_WAITING];
    size_t waiting_count;
    char path[64];
};

/* ---- Verbs of the test's ---- */

static int echo(void *opaque, struct pv_control_request *request, json_t **result,
                struct pv_error **err)
{
    PV_CLEANUP_FREE char *path = pv_control_path_argument(request, "path");
    *result = json_pack("{s:s, s:s*}", "text", pv_control_argument(request, "text"), "path", path);
    return 0;
}

static int refuse(void *opaque, struct pv_control_request *request, json_t **result,
                  struct pv_error **err)
{
    return pv_error_set(err, EBUSY, "not now");
}

static int later(void *opaque, struct pv_control_request *request, json_t **result,
                 struct pv_error **err)
{
    struct fixture *f = opaque;
    assert_true(f->waiting_count < MAX_WAITING);
    f->waiting[f->waiting_count++] = request;
    return PV_CONTROL_LATER;
}

static int flood(void *opaque, struct pv_control_request *request, json_t **result,
                 struct pv_error **err)
{
    PV_CLEANUP_FREE char *text = malloc(60001);
    memset(text, 'x', 60000);
    text[60000] = '\0';
    *result = json_pack("{s:s}", "text", text);
    return 0;
}

static const struct pv_control_verb verbs[] = {
    {.name = "echo", .required = {"text"}, .optional = {"path"}, .run = echo},
    {.name = "refuse", .run = refuse},
    {.name = "later", .run = later},
    {.name = "flood", .run = flood},
};

/* ---- The fixture ---- */

static int setup(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){0};
    snprintf(fixture.path, sizeof(fixture.path), "/tmp/pv-control-%d", (int)getpid());
    assert_int_equal(pv_loop_create(&fixture.loop, NULL), 0);
    assert_int_equal(pv_control_create(&fixture.control, fixture.loop, fixture.path, verbs,
                                       PV_ARRAY_SIZE(verbs), &fixture, NULL),
                     0);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    pv_control_destroy(f->control);
    assert_int_equal(access(f->path, F_OK), -1);
    pv_loop_destroy(f->loop);
    return 0;
}

static int connect_client(struct fixture *f)
{
    int fd = pv_unix_connect(f->path);
    assert_true(fd >= 0);
    return fd;
}

static void ready(void *opaque, int fd, unsigned events)
{
    pv_loop_stop(opaque);
}

/* Runs the loop until a client could do this. */
static void wait_for(struct fixture *f, int fd, unsigned events)
{
    struct pv_watch *watch;
    assert_int_equal(pv_watch_create(&watch, f->loop, fd, events, ready, f->loop, NULL), 0);
    assert_int_equal(pv_loop_run(f->loop, NULL), 0);
    pv_watch_destroy(watch);
}

static void say(int fd, const char *text)
{
    assert_int_equal(send(fd, text, strlen(text), MSG_NOSIGNAL), strlen(text));
}

/* What the server says next: a line, the beginning of a long one, or "closed". */
static const char *hear(struct fixture *f, int fd)
{
    static char text[8192];
    size_t len = 0;
    while (len < sizeof(text) - 1 && (!len || text[len - 1] != '\n')) {
        wait_for(f, fd, PV_LOOP_READ);
        ssize_t n = recv(fd, text + len, 1, 0);
        if (n <= 0)
            return "closed";
        len++;
    }
    text[len] = '\0';
    return text;
}

/* ---- Tests ---- */

static void a_verb_is_answered(void **state)
{
    int fd = connect_client(*state);
    say(fd, "{\"id\":7,\"verb\":\"echo\",\"arguments\":{\"text\":\"hi\"}}\n");
    assert_string_equal(hear(*state, fd), "{\"id\":7,\"result\":{\"text\":\"hi\"}}\n");
    close(fd);
}

static void lines_may_come_in_pieces_and_together(void **state)
{
    int fd = connect_client(*state), other = connect_client(*state);
    say(fd, "{\"verb\":\"refu");
    say(other, "{\"verb\":\"refuse\"}\n");
    assert_string_equal(hear(*state, other), "{\"error\":\"not now\"}\n");
    say(fd, "se\"}\n\n{\"verb\":\"refuse\",\"id\":\"b\"}\n");
    assert_string_equal(hear(*state, fd), "{\"error\":\"not now\"}\n");
    assert_string_equal(hear(*state, fd), "{\"id\":\"b\",\"error\":\"not now\"}\n");
    close(fd);
    close(other);
}

static void bad_requests_are_answered(void **state)
{
    static const char *const cases[][2] = {
        {"{\"verb\":\n", "not JSON"},
        {"[1]\n", "verb"},
        {"{\"verb\":1}\n", "verb"},
        {"{\"verb\":\"fly\"}\n", "'fly' is not known; there are echo, refuse, later, flood"},
        {"{\"verb\":\"echo\"}\n", "echo: it needs text=VALUE"},
        {"{\"verb\":\"echo\",\"arguments\":[]}\n", "not an object"},
        {"{\"verb\":\"echo\",\"arguments\":{\"text\":1}}\n", "text is not a string"},
        {"{\"verb\":\"echo\",\"arguments\":{\"text\":\"a\",\"size\":\"1\"}}\n",
         "unknown argument 'size'"},
    };
    int fd = connect_client(*state);
    for (size_t i = 0; i < PV_ARRAY_SIZE(cases); i++) {
        say(fd, cases[i][0]);
        const char *answer = hear(*state, fd);
        assert_memory_equal(answer, "{\"error\":", 9);
        assert_non_null(strstr(answer, cases[i][1]));
    }
    close(fd);
}

static void paths_are_meant_from_the_clients_folder(void **state)
{
    int fd = connect_client(*state);
    say(fd, "{\"verb\":\"echo\",\"directory\":\"/home/me\","
            "\"arguments\":{\"text\":\"\",\"path\":\"disk\"}}\n");
    assert_non_null(strstr(hear(*state, fd), "\"/home/me/disk\""));
    say(fd, "{\"verb\":\"echo\",\"directory\":\"/home/me\","
            "\"arguments\":{\"text\":\"\",\"path\":\"/disk\"}}\n");
    assert_non_null(strstr(hear(*state, fd), "\"/disk\""));
    close(fd);
}

static void an_answer_may_come_later(void **state)
{
    struct fixture *f = *state;
    struct pv_error *err = NULL;
    int fd = connect_client(f);
    say(fd, "{\"id\":1,\"verb\":\"later\"}\n{\"id\":2,\"verb\":\"later\"}\n"
            "{\"id\":3,\"verb\":\"refuse\"}\n");
    assert_string_equal(hear(f, fd), "{\"id\":3,\"error\":\"not now\"}\n");
    assert_int_equal(f->waiting_count, 2);
    pv_control_answer(f->waiting[1], NULL, &err);
    assert_string_equal(hear(f, fd), "{\"id\":2,\"result\":{}}\n");
    pv_error_set(&err, EIO, "broken");
    pv_control_answer(f->waiting[0], NULL, &err);
    assert_null(err);
    assert_string_equal(hear(f, fd), "{\"id\":1,\"error\":\"broken\"}\n");
    close(fd);
}

static void a_client_may_leave_before_its_answer(void **state)
{
    struct fixture *f = *state;
    struct pv_error *err = NULL;
    int fd = connect_client(f), other = connect_client(f);
    say(fd, "{\"verb\":\"later\"}\n{\"verb\":\"later\"}\n{\"verb\":\"refuse\"}\n");
    hear(f, fd);
    close(fd);
    for (int i = 0; i < 3; i++) {
        say(other, "{\"verb\":\"refuse\"}\n");
        hear(f, other);
    }
    close(other);
    /* The second is left to the server's end. */
    pv_control_answer(f->waiting[0], json_object(), &err);
}

static void a_line_without_end_is_hung_up_on(void **state)
{
    struct fixture *f = *state;
    PV_CLEANUP_FREE char *junk = malloc(70000);
    int fd = connect_client(f), other = connect_client(f);
    memset(junk, 'x', 70000);
    for (size_t sent = 0; sent < 70000;) {
        wait_for(f, fd, PV_LOOP_WRITE);
        ssize_t n = send(fd, junk + sent, 70000 - sent, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            break;
        sent += n > 0 ? (size_t)n : 0;
    }
    assert_string_equal(hear(f, fd), "closed");
    say(other, "{\"verb\":\"refuse\"}\n");
    assert_string_equal(hear(f, other), "{\"error\":\"not now\"}\n");
    close(fd);
    close(other);
}

/* 60 answers of 60,000 bytes are more than the server keeps and the socket holds. */
static void a_client_that_does_not_read_is_hung_up_on(void **state)
{
    struct fixture *f = *state;
    int fd = connect_client(f);
    size_t heard = 0;
    for (int i = 0; i < 60; i++) {
        if (send(fd, "{\"verb\":\"flood\"}\n", 17, MSG_NOSIGNAL) < 0)
            break;
    }
    int other = connect_client(f);
    say(other, "{\"verb\":\"refuse\"}\n");
    assert_string_equal(hear(f, other), "{\"error\":\"not now\"}\n");
    char text[65536];
    for (ssize_t n; (n = recv(fd, text, sizeof(text), 0)) > 0;)
        heard += (size_t)n;
    assert_true(heard < 60 * 60000);
    assert_string_equal(hear(f, fd), "closed");
    close(fd);
    close(other);
}

static void a_path_that_cannot_be_is_refused(void **state)
{
    struct fixture *f = *state;
    struct pv_control *control = NULL;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    assert_int_equal(pv_control_create(&control, f->loop, "/nonexistent/socket", verbs, 1, f, &err),
                     -ENOENT);
    assert_non_null(strstr(pv_error_message(err), "/nonexistent/socket"));
    pv_error_free(&err);
    assert_int_equal(pv_control_create(&control, f->loop, f->path, verbs, 1, f, &err), -EADDRINUSE);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(a_verb_is_answered),
        TEST(lines_may_come_in_pieces_and_together),
        TEST(bad_requests_are_answered),
        TEST(paths_are_meant_from_the_clients_folder),
        TEST(an_answer_may_come_later),
        TEST(a_client_may_leave_before_its_answer),
        TEST(a_line_without_end_is_hung_up_on),
        TEST(a_client_that_does_not_read_is_hung_up_on),
        TEST(a_path_that_cannot_be_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
