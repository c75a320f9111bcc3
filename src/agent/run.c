/* SPDX-License-Identifier: MIT */
/*
 * A program in the guest, with this process' input and output.
 *
 * The connection is read whenever there is something, and written only what the agent is sure to
 * take: standard input is sent within a window that the agent acknowledges as its program reads.
 * So neither side ever waits for the other to read first.
 */
#include "agent/client.h"
#include "agent/wire.h"
#include "base/error.h"
#include "base/util.h"
#include "host/loop.h"
#include "host/signals.h"

#include <errno.h>
#include <signal.h>
#include <string.h>

static const int passed_on[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};

struct session {
    const struct pv_agent_exec *exec;
    int fd;
    struct pv_loop *loop;
    struct pv_watch *connection, *input;
    struct pv_event *more; /* input that cannot be watched, as of a file, is read by this */
    struct pv_signal *signals[PV_ARRAY_SIZE(passed_on)], *winch;
    uint32_t window; /* bytes of input that may be sent */
    bool input_ended;
    int result; /* as pv_agent_run() returns */
    struct pv_error *error;
    struct pv_agent_frame frame;
};

static void end(struct session *s, int result)
{
    s->result = result;
    pv_loop_stop(s->loop);
}

static void lost(struct session *s, int ret)
{
    end(s, ret == -EPROTO ? pv_error_set(&s->error, EPROTO, "the guest's agent breaks the protocol")
                          : pv_error_errno(&s->error, -ret, "the guest's agent is gone"));
}

/* ---- To the guest ---- */

static void want_input(struct session *s)
{
    const bool wanted = !s->input_ended && s->window > 0;
    if (s->input)
        pv_watch_update(s->input, wanted ? PV_LOOP_READ : 0);
    else if (s->more && wanted)
        pv_event_signal(s->more);
}

static void send_input(void *opaque)
{
    struct session *s = opaque;
    uint8_t data[16384];
    if (s->input_ended || s->window == 0)
        return;
    ssize_t n = read(s->exec->input, data, PV_MIN(sizeof(data), (size_t)s->window));
    if (n < 0 && (errno == EINTR || errno == EAGAIN)) {
        want_input(s);
        return;
    }
    if (n <= 0) {
        n = 0;
        s->input_ended = true;
    }
    s->window -= (uint32_t)n;
    int ret = pv_agent_send(s->fd, PV_AGENT_STDIN, data, (size_t)n);
    /* A program that ended reads no more: its EXIT is on the way. */
    if (ret < 0 && ret != -EPIPE)
        lost(s, ret);
    want_input(s);
}

static void input_ready(void *opaque, int fd, unsigned events)
{
    send_input(opaque);
}

static void got_signal(void *opaque, int number)
{
    struct session *s = opaque;
    pv_agent_send(s->fd, PV_AGENT_SIGNAL, &(uint8_t){(uint8_t)number}, 1);
}

static void resized(void *opaque, int number)
{
    struct session *s = opaque;
    uint8_t size[4];
    const struct pv_agent_terminal terminal = s->exec->size(s->exec->opaque);
    pv_agent_put16(size, terminal.rows);
    pv_agent_put16(size + 2, terminal.columns);
    pv_agent_send(s->fd, PV_AGENT_RESIZE, size, sizeof(size));
}

/* ---- From the guest ---- */

static int print(int fd, const struct pv_agent_frame *frame)
{
    for (size_t done = 0; done < frame->size;) {
        ssize_t n = write(fd, frame->payload + done, frame->size - done);
        if (n < 0 && errno != EINTR && errno != EAGAIN)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int take(struct session *s)
{
    const struct pv_agent_frame *frame = &s->frame;
    int ret = 0;
    switch (frame->type) {
    case PV_AGENT_STDOUT:
    case PV_AGENT_STDERR:
        ret = print(frame->type == PV_AGENT_STDOUT ? s->exec->output : s->exec->error, frame);
        if (ret < 0)
            end(s, pv_error_errno(&s->error, -ret, "writing the program's output"));
        return 0;
    case PV_AGENT_TAKEN:
        if (frame->size != 4 || pv_agent_get32(frame->payload) > PV_AGENT_WINDOW - s->window)
            return -EPROTO;
        s->window += pv_agent_get32(frame->payload);
        want_input(s);
        return 0;
    case PV_AGENT_EXIT:
        if (frame->size != 2 || frame->payload[0] > 1)
            return -EPROTO;
        end(s, frame->payload[0] ? 128 + (frame->payload[1] & 127) : frame->payload[1]);
        return 0;
    default: return -EPROTO;
    }
}

static void connection_ready(void *opaque, int fd, unsigned events)
{
    struct session *s = opaque;
    int ret = pv_agent_receive(fd, &s->frame);
    if (ret == 0)
        ret = take(s);
    if (ret < 0)
        lost(s, ret);
}

/* ---- The whole ---- */

static int start(struct session *s, struct pv_error **err)
{
    int ret = pv_loop_create(&s->loop, err);
    for (size_t i = 0; ret >= 0 && i < PV_ARRAY_SIZE(passed_on); i++)
        ret = pv_signal_create(&s->signals[i], s->loop, passed_on[i], got_signal, s, err);
    if (ret >= 0 && s->exec->size)
        ret = pv_signal_create(&s->winch, s->loop, SIGWINCH, resized, s, err);
    if (ret >= 0)
        ret =
            pv_watch_create(&s->connection, s->loop, s->fd, PV_LOOP_READ, connection_ready, s, err);
    if (ret < 0)
        return ret;
    s->input_ended = s->exec->input < 0;
    if (s->input_ended) {
        pv_agent_send(s->fd, PV_AGENT_STDIN, NULL, 0);
        return 0;
    }
    if (pv_watch_create(&s->input, s->loop, s->exec->input, PV_LOOP_READ, input_ready, s, NULL) < 0)
        ret = pv_event_create(&s->more, s->loop, send_input, s, err);
    if (ret >= 0)
        want_input(s);
    return ret;
}

static void finish(struct session *s)
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(passed_on); i++)
        pv_signal_destroy(s->signals[i]);
    pv_signal_destroy(s->winch);
    pv_watch_destroy(s->connection);
    pv_watch_destroy(s->input);
    pv_event_destroy(s->more);
    pv_loop_destroy(s->loop);
    free(s);
}

/* "exec", its options, "--", the program and its arguments. */
static int ask(struct session *s, struct pv_error **err)
{
    const struct pv_agent_exec *exec = s->exec;
    const char *words[PV_AGENT_WORDS_MAX];
    char rows[16], columns[20];
    PV_CLEANUP_FREE char *directory = NULL;
    size_t count = 0;
    words[count++] = "exec";
    if (exec->terminal) {
        snprintf(rows, sizeof(rows), "rows=%u", exec->terminal->rows);
        snprintf(columns, sizeof(columns), "columns=%u", exec->terminal->columns);
        words[count++] = rows;
        words[count++] = columns;
    }
    if (exec->directory) {
        if (asprintf(&directory, "directory=%s", exec->directory) < 0)
            return pv_error_set(err, ENOMEM, "out of memory");
        words[count++] = directory;
    }
    for (size_t i = 0; exec->environment && exec->environment[i]; i++) {
        if (count + 2 >= PV_ARRAY_SIZE(words))
            return pv_error_set(err, E2BIG, "more than %u words", PV_AGENT_WORDS_MAX);
        words[count++] = "environment";
        words[count++] = exec->environment[i];
    }
    words[count++] = "--";
    for (size_t i = 0; exec->argv[i]; i++) {
        if (count + 2 >= PV_ARRAY_SIZE(words))
            return pv_error_set(err, E2BIG, "more than %u words", PV_AGENT_WORDS_MAX);
        words[count++] = exec->argv[i];
    }
    return pv_agent_ask(s->fd, words, count, &s->frame, err);
}

int pv_agent_run(int fd, const struct pv_agent_exec *exec, struct pv_error **err)
{
    struct session *s = calloc(1, sizeof(*s));
    if (!s)
        return pv_error_set(err, ENOMEM, "out of memory");
    s->exec = exec;
    s->fd = fd;
    s->window = PV_AGENT_WINDOW;
    int ret = ask(s, err);
    if (ret >= 0)
        ret = start(s, err);
    if (ret >= 0)
        ret = pv_loop_run(s->loop, err);
    if (ret >= 0) {
        ret = s->result;
        if (s->error && err) {
            *err = s->error;
            s->error = NULL;
        }
    }
    pv_error_free(&s->error);
    finish(s);
    return ret;
}
