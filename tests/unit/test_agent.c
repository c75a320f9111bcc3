/* SPDX-License-Identifier: MIT */
/*
 * The agent, built for this host and served on one end of a socket pair, with the host's side on
 * the other; and the host's side against an agent that lies.
 */
#include "agent/client.h"
#include "agent/wire.h"
#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

struct agent {
    int fd;
    pid_t pid;
};

/* argv[1] of the test. */
static const char *agent_program;

static void agent_start(struct agent *agent)
{
    int pair[2];
    char number[16];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    fcntl(pair[0], F_SETFD, FD_CLOEXEC);
    snprintf(number, sizeof(number), "%d", pair[1]);
    agent->pid = fork();
    if (agent->pid == 0) {
        execl(agent_program, agent_program, "--fd", number, (char *)NULL);
        _exit(99);
    }
    close(pair[1]);
    agent->fd = pair[0];
}

static void agent_end(struct agent *agent)
{
    close(agent->fd);
    assert_int_equal(waitpid(agent->pid, NULL, 0), agent->pid);
}

/* Runs a program with a file as input (NULL: none); its output is in `out`, NUL-terminated. */
static int run(const char *const *argv, int input, const struct pv_agent_terminal *terminal,
               char *out, size_t size)
{
    struct agent agent;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    FILE *file = tmpfile();
    assert_non_null(file);
    const struct pv_agent_exec exec = {
        .argv = argv,
        .directory = "/",
        .terminal = terminal,
        .environment = (const char *const[]){"PV_TEST=there", NULL},
        .input = input,
        .output = fileno(file),
        .error = fileno(file),
    };
    agent_start(&agent);
    int ret = pv_agent_run(agent.fd, &exec, &err);
    agent_end(&agent);
    rewind(file);
    out[fread(out, 1, size - 1, file)] = '\0';
    fclose(file);
    return ret;
}

static void programs(void **state)
{
    char out[4096];
    assert_int_equal(run((const char *[]){"sh", "-c", "echo $PV_TEST; echo two >&2; exit 7", NULL},
                         -1, NULL, out, sizeof(out)),
                     7);
    assert_string_equal(out, "there\ntwo\n");
    assert_int_equal(run((const char *[]){"sh", "-c", "kill -9 $$", NULL}, -1, NULL, out, 64),
                     128 + SIGKILL);
    assert_int_equal(run((const char *[]){"/nowhere", NULL}, -1, NULL, out, 64), -ENOENT);
    /* With no input the program sees its end. */
    assert_int_equal(run((const char *[]){"cat", NULL}, -1, NULL, out, sizeof(out)), 0);
    assert_string_equal(out, "");
    /* What a program leaves behind does not keep the request open. */
    assert_int_equal(
        run((const char *[]){"sh", "-c", "sleep 100 & echo $!", NULL}, -1, NULL, out, sizeof(out)),
        0);
    assert_int_equal(kill((pid_t)atoi(out), SIGKILL), 0);
}

static void terminals(void **state)
{
    char out[4096];
    const struct pv_agent_terminal size = {33, 77};
    assert_int_equal(run((const char *[]){"sh", "-c", "tty >/dev/null && stty size", NULL}, -1,
                         &size, out, sizeof(out)),
                     0);
    assert_string_equal(out, "33 77\r\n");
}

/* Far more than the window, both ways at once, of a program that is slow to read. */
static void much_input(void **state)
{
    enum { SIZE = 3 << 20 };
    FILE *file = tmpfile();
    char *data = malloc(SIZE), *back = malloc(SIZE + 1);
    assert_non_null(file);
    assert_non_null(data);
    assert_non_null(back);
    for (unsigned i = 0; i < SIZE; i++)
        data[i] = (char)('a' + i * 7 % 26);
    assert_int_equal(fwrite(data, 1, SIZE, file), SIZE);
    fflush(file);
    lseek(fileno(file), 0, SEEK_SET);
    assert_int_equal(run((const char *[]){"sh", "-c", "sleep 0.2; cat", NULL}, fileno(file), NULL,
                         back, SIZE + 1),
                     0);
    assert_memory_equal(back, data, SIZE);
    /* A program that reads none of it ends all the same. */
    lseek(fileno(file), 0, SEEK_SET);
    assert_int_equal(run((const char *[]){"true", NULL}, fileno(file), NULL, back, 64), 0);
    fclose(file);
    free(data);
    free(back);
}

static void files(void **state)
{
    struct agent agent;
    char folder[] = "/tmp/pv-agent-XXXXXX", path[64], text[64] = "";
    unsigned mode = 0;
    assert_non_null(mkdtemp(folder));
    FILE *file = tmpfile(), *back = tmpfile();
    assert_non_null(file);
    assert_non_null(back);
    for (unsigned i = 0; i < 100001; i++) /* no whole number of words, more than a frame */
        fputc((int)(i * 31 % 251), file);
    rewind(file);

    agent_start(&agent);
    assert_int_equal(pv_agent_put(agent.fd, fileno(file), folder, "name", 0640, NULL), 0);
    agent_end(&agent);
    snprintf(path, sizeof(path), "%s/name", folder);
    agent_start(&agent);
    assert_int_equal(pv_agent_get(agent.fd, path, fileno(back), &mode, NULL), 0);
    agent_end(&agent);
    assert_int_equal(mode, 0640);
    rewind(file);
    rewind(back);
    for (unsigned i = 0; i < 100002; i++)
        assert_int_equal(fgetc(file), fgetc(back));

    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    snprintf(text, sizeof(text), "%s/no/file", folder);
    agent_start(&agent);
    assert_int_equal(pv_agent_get(agent.fd, text, fileno(back), &mode, &err), -ENOENT);
    agent_end(&agent);
    assert_non_null(strstr(pv_error_message(err), "No such file"));
    agent_start(&agent);
    assert_true(pv_agent_put(agent.fd, fileno(file), text, "x", 0600, NULL) < 0);
    agent_end(&agent);

    fclose(file);
    fclose(back);
    unlink(path);
    assert_int_equal(rmdir(folder), 0); /* nothing half-written is left */
}

static void info(void **state)
{
    struct agent agent;
    static struct pv_agent_frame answer;
    char *words[PV_AGENT_WORDS_MAX + 1];
    const char *request[] = {"info"};
    agent_start(&agent);
    assert_int_equal(pv_agent_ask(agent.fd, request, 1, &answer, NULL), 0);
    agent_end(&agent);
    int count = pv_agent_words(&answer, words, PV_AGENT_WORDS_MAX), memory = 0;
    for (int i = 0; i < count; i++)
        memory += !strncmp(words[i], "memory-total=", 13) && atoll(words[i] + 13) > 0;
    assert_int_equal(memory, 1);
}

/* Requests that are none are refused with a line. */
static void bad_requests(void **state)
{
    static const char *const bad[][3] = {{"dance"}, {"exec", "--"},      {"exec", "what", "x"},
                                         {"get"},   {"shutdown", "now"}, {"info", "x"}};
    static struct pv_agent_frame answer;
    for (size_t i = 0; i < PV_ARRAY_SIZE(bad); i++) {
        struct agent agent;
        PV_CLEANUP_ERROR struct pv_error *err = NULL;
        size_t count = 1;
        while (count < 3 && bad[i][count])
            count++;
        agent_start(&agent);
        assert_int_equal(pv_agent_ask(agent.fd, bad[i], count, &answer, &err), -EIO);
        agent_end(&agent);
        assert_non_null(strstr(pv_error_message(err), "the guest: "));
    }
}

/* ---- An agent that lies ---- */

struct lie {
    const char *data;
    size_t size;
};
#define LIE(text)                                                                                  \
    {                                                                                              \
        text, sizeof(text) - 1                                                                     \
    }

static void lies(void **state)
{
    static const struct lie told[] = {
        LIE(""),
        LIE("\1\0\0"),
        LIE("\0\0\0\0\1\0\0\0"),                   /* OPEN is ours to say */
        LIE("\0\0\0\0\77\0\0\0"),                  /* no such type */
        LIE("\0\0\0\0\2\1\0\0"),                   /* reserved bytes */
        LIE("\1\0\1\0\2\0\0\0x"),                  /* larger than frames are */
        LIE("\2\0\0\0\2\0\0\0x"),                  /* cut off */
        LIE("\0\0\0\0\2\0\0\0\0\0\0\0\x0a\0\0\0"), /* EXIT of no bytes */
        LIE("\0\0\0\0\2\0\0\0\2\0\0\0\x0a\0\0\0\2\0"),
        LIE("\0\0\0\0\2\0\0\0\4\0\0\0\7\0\0\0\1\0\0\0"), /* takes what was not sent */
    };
    for (size_t i = 0; i < PV_ARRAY_SIZE(told); i++) {
        int pair[2];
        PV_CLEANUP_ERROR struct pv_error *err = NULL;
        assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
        const struct pv_agent_exec exec = {
            .argv = (const char *const[]){"true", NULL}, .input = -1, .output = 1, .error = 2};
        assert_int_equal(write(pair[1], told[i].data, told[i].size), (ssize_t)told[i].size);
        shutdown(pair[1], SHUT_WR);
        assert_true(pv_agent_run(pair[0], &exec, &err) < 0);
        assert_non_null(strstr(pv_error_message(err), "the guest's agent"));
        close(pair[0]);
        close(pair[1]);
    }
}

static void words(void **state)
{
    struct pv_agent_frame frame = {.size = 4, .payload = "a\0b"};
    char *out[3];
    assert_int_equal(pv_agent_words(&frame, out, 2), 2);
    assert_string_equal(out[1], "b");
    assert_null(out[2]);
    assert_int_equal(pv_agent_words(&frame, out, 1), -EPROTO);
    frame.size = 3; /* without its NUL */
    assert_int_equal(pv_agent_words(&frame, out, 2), -EPROTO);
    frame.size = 0;
    assert_int_equal(pv_agent_words(&frame, out, 2), 0);
}

static void sums(void **state)
{
    uint8_t data[1000];
    struct pv_agent_sum whole = {0};
    for (unsigned i = 0; i < sizeof(data); i++)
        data[i] = (uint8_t)(i * i);
    pv_agent_sum_add(&whole, data, 999);
    for (unsigned step = 1; step < 9; step++) {
        struct pv_agent_sum parts = {0};
        for (unsigned at = 0; at < 999; at += step)
            pv_agent_sum_add(&parts, data + at, PV_MIN(step, 999 - at));
        assert_int_equal(pv_agent_sum_value(&parts), pv_agent_sum_value(&whole));
    }
    struct pv_agent_sum swapped = {0};
    pv_agent_sum_add(&swapped, data + 4, 4);
    pv_agent_sum_add(&swapped, data, 4);
    pv_agent_sum_add(&swapped, data + 8, 991);
    assert_int_not_equal(pv_agent_sum_value(&swapped), pv_agent_sum_value(&whole));
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(programs), cmocka_unit_test(terminals), cmocka_unit_test(much_input),
        cmocka_unit_test(files),    cmocka_unit_test(info),      cmocka_unit_test(bad_requests),
        cmocka_unit_test(lies),     cmocka_unit_test(words),     cmocka_unit_test(sums),
    };
    agent_program = argc > 1 ? argv[1] : "pearvisor-agent-here";
    signal(SIGPIPE, SIG_IGN);
    return cmocka_run_group_tests_name("agent", tests, NULL, NULL);
}
