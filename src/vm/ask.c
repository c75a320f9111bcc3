/* SPDX-License-Identifier: MIT */
#include "vm/ask.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/util.h"
#include "host/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>

#define MAX_ANSWER (4 * 1024 * 1024u)

/* The request as a line, or NULL when it cannot be said in JSON. */
static char *make_request(const char *verb, json_t *arguments)
{
    PV_CLEANUP_FREE char *directory = getcwd(NULL, 0);
    json_t *request = json_pack("{s:s, s:s*, s:O*}", "verb", verb, "directory", directory,
                                "arguments", arguments);
    char *line = json_dumps(request, JSON_COMPACT);
    json_decref(request);
    return line;
}

static int write_line(int fd, const char *line)
{
    for (size_t done = 0, len = strlen(line); done <= len;) {
        /* The newline stands where the string has its NUL. */
        ssize_t n = done < len ? send(fd, line + done, len - done, MSG_NOSIGNAL)
                               : send(fd, "\n", 1, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR)
            return -errno;
        done += n > 0 ? (size_t)n : 0;
    }
    return 0;
}

static int read_line(int fd, struct pv_buffer *answer)
{
    while (!answer->size || answer->data[answer->size - 1] != '\n') {
        char chunk[4096];
        ssize_t n = recv(fd, chunk, sizeof(chunk), 0);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -errno : -ECONNRESET;
        int ret = pv_buffer_append(answer, chunk, (size_t)n);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int take_answer(const char *socket, const char *text, json_t **result, struct pv_error **err)
{
    json_t *answer = json_loads(text, 0, NULL);
    const char *error = json_string_value(json_object_get(answer, "error"));
    int ret = 0;
    if (!answer)
        ret = pv_error_set(err, EPROTO, "'%s': the answer is not JSON", socket);
    else if (error)
        ret = pv_error_set(err, EIO, "%s", error);
    else if (result)
        *result = json_incref(json_object_get(answer, "result"));
    json_decref(answer);
    return ret;
}

int pv_control_ask(const char *socket, const char *verb, json_t *arguments, unsigned seconds,
                   json_t **result, struct pv_error **err)
{
    PV_CLEANUP_BUFFER struct pv_buffer line = PV_BUFFER_INIT(MAX_ANSWER);
    PV_CLEANUP_FREE char *request = make_request(verb, arguments);
    if (!request)
        return pv_error_set(err, EINVAL, "'%s': cannot be said in JSON", verb);
    PV_CLEANUP_FD int fd = pv_unix_connect(socket);
    if (fd < 0)
        return pv_error_errno(err, -fd, "'%s': no VM listens there", socket);
    fcntl(fd, F_SETFL, 0); /* blocking from here on */
    const struct timeval limit = {.tv_sec = (time_t)seconds};
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
    int ret = write_line(fd, request);
    if (ret >= 0)
        ret = read_line(fd, &line);
    if (ret == -EAGAIN)
        return pv_error_set(err, ETIMEDOUT, "'%s': the VM says nothing", socket);
    return ret < 0 ? pv_error_errno(err, -ret, "'%s': the VM ended without an answer", socket)
                   : take_answer(socket, line.data, result, err);
}
