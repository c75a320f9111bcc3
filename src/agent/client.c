/* SPDX-License-Identifier: MIT */
#include "agent/client.h"

#include "agent/wire.h"
#include "base/error.h"
#include "base/util.h"
#include "host/unix_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/socket.h>

/* The answer to CONNECT is `OK` and a number: read by bytes, as what follows is another's. */
static int take_ok(int fd)
{
    char line[32];
    for (size_t len = 0; len < sizeof(line); len++) {
        ssize_t n;
        while ((n = recv(fd, line + len, 1, 0)) < 0 && errno == EINTR)
            ;
        if (n <= 0)
            return n < 0 ? -errno : -ECONNREFUSED;
        if (line[len] == '\n')
            return !strncmp(line, "OK ", 3) ? 0 : -EPROTO;
    }
    return -EPROTO;
}

int pv_agent_connect(const char *vsock_socket, uint32_t port, struct pv_error **err)
{
    char line[32];
    PV_CLEANUP_FD int fd = pv_unix_connect(vsock_socket);
    if (fd < 0)
        return pv_error_errno(err, -fd, "'%s': the VM's vsock device is not there", vsock_socket);
    fcntl(fd, F_SETFL, 0); /* blocking from here on */
    const int len = snprintf(line, sizeof(line), "CONNECT %" PRIu32 "\n", port);
    int ret = send(fd, line, (size_t)len, MSG_NOSIGNAL) == len ? take_ok(fd) : -EPIPE;
    if (ret < 0 && port == PV_AGENT_PORT)
        return pv_error_set(err, -ret,
                            "the guest's agent does not answer; is it up, and is pearvisor-agent "
                            "installed in it?");
    if (ret < 0)
        return pv_error_set(err, -ret, "nobody listens on the guest's vsock port %" PRIu32, port);
    return PV_STEAL_FD(fd);
}

/* ---- Requests ---- */

static int broken(int ret, struct pv_error **err)
{
    return ret == -EPROTO ? pv_error_set(err, EPROTO, "the guest's agent breaks the protocol")
                          : pv_error_errno(err, -ret, "the guest's agent is gone");
}

/* A FAIL's payload as an error: what a guest says is printed, so only its printable part. */
static int failed(struct pv_agent_frame *frame, struct pv_error **err)
{
    int code = EIO;
    char *text = (char *)frame->payload;
    for (char *at = text; *at; at++)
        if ((unsigned char)*at < ' ' || *at == 0x7f)
            *at = '?';
    if (strstr(text, "No such file"))
        code = ENOENT;
    return pv_error_set(err, code, "the guest: %.400s", text);
}

static int receive(int fd, struct pv_agent_frame *frame, struct pv_error **err)
{
    int ret = pv_agent_receive(fd, frame);
    if (ret < 0)
        return broken(ret, err);
    return frame->type == PV_AGENT_FAIL ? failed(frame, err) : 0;
}

static int wait_for(int fd, enum pv_agent_type type, struct pv_agent_frame *frame,
                    struct pv_error **err)
{
    int ret = receive(fd, frame, err);
    return ret < 0 ? ret : frame->type == type ? 0 : broken(-EPROTO, err);
}

int pv_agent_ask(int fd, const char *const *words, size_t count, struct pv_agent_frame *answer,
                 struct pv_error **err)
{
    PV_CLEANUP_FREE const char **all = calloc(count + 1, sizeof(*all));
    if (!all)
        return pv_error_set(err, ENOMEM, "out of memory");
    all[0] = PV_AGENT_VERSION;
    memcpy(all + 1, words, count * sizeof(*all));
    int ret = pv_agent_send_words(fd, PV_AGENT_OPEN, all, count + 1);
    if (ret == -EMSGSIZE)
        return pv_error_set(err, E2BIG, "the request is longer than %u bytes",
                            PV_AGENT_PAYLOAD_MAX);
    return ret < 0 ? broken(ret, err) : wait_for(fd, PV_AGENT_READY, answer, err);
}

/* ---- Files ---- */

static int send_end(int fd, const struct pv_agent_sum *sum)
{
    uint8_t end[16];
    pv_agent_put64(end, sum->size);
    pv_agent_put64(end + 8, pv_agent_sum_value(sum));
    return pv_agent_send(fd, PV_AGENT_END, end, sizeof(end));
}

int pv_agent_put(int fd, int file, const char *path, const char *name, unsigned mode,
                 struct pv_error **err)
{
    char digits[16];
    struct pv_agent_sum sum = {0};
    PV_CLEANUP_FREE struct pv_agent_frame *frame = malloc(sizeof(*frame));
    if (!frame)
        return pv_error_set(err, ENOMEM, "out of memory");
    snprintf(digits, sizeof(digits), "%o", mode & 07777);
    const char *words[] = {"put", path, name, digits};
    int ret = pv_agent_ask(fd, words, PV_ARRAY_SIZE(words), frame, err);
    if (ret < 0)
        return ret;
    while (ret == 0) {
        ssize_t n = read(file, frame->payload, PV_AGENT_PAYLOAD_MAX);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pv_error_errno(err, errno, "reading");
        if (n == 0)
            break;
        pv_agent_sum_add(&sum, frame->payload, (size_t)n);
        ret = pv_agent_send(fd, PV_AGENT_DATA, frame->payload, (size_t)n);
    }
    if (ret == 0)
        send_end(fd, &sum);
    /* Also when it closed early, as why is what it said last. */
    return wait_for(fd, PV_AGENT_READY, frame, err);
}

static int write_file(int file, const uint8_t *at, size_t size)
{
    while (size > 0) {
        ssize_t n = write(file, at, size);
        if (n < 0 && errno != EINTR)
            return -errno;
        at += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

int pv_agent_get(int fd, const char *path, int file, unsigned *mode, struct pv_error **err)
{
    char *answer[2];
    struct pv_agent_sum sum = {0};
    PV_CLEANUP_FREE struct pv_agent_frame *frame = malloc(sizeof(*frame));
    if (!frame)
        return pv_error_set(err, ENOMEM, "out of memory");
    const char *words[] = {"get", path};
    int ret = pv_agent_ask(fd, words, PV_ARRAY_SIZE(words), frame, err);
    if (ret < 0)
        return ret;
    if (pv_agent_words(frame, answer, 1) != 1)
        return broken(-EPROTO, err);
    *mode = (unsigned)strtoul(answer[0], NULL, 8) & 07777;
    for (;;) {
        ret = receive(fd, frame, err);
        if (ret < 0)
            return ret;
        if (frame->type != PV_AGENT_DATA)
            break;
        pv_agent_sum_add(&sum, frame->payload, frame->size);
        ret = write_file(file, frame->payload, frame->size);
        if (ret < 0)
            return pv_error_errno(err, -ret, "writing");
    }
    if (frame->type != PV_AGENT_END || frame->size != 16)
        return broken(-EPROTO, err);
    if (pv_agent_get64(frame->payload) != sum.size ||
        pv_agent_get64(frame->payload + 8) != pv_agent_sum_value(&sum))
        return pv_error_set(err, EIO, "what arrived is not what was sent: %" PRIu64 " bytes",
                            sum.size);
    return 0;
}
