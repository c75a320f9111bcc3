/* SPDX-License-Identifier: MIT */
/*
 * pearvisor-agent          listens on vsock port PV_AGENT_PORT
 * pearvisor-agent --fd N   serves one request on descriptor N, for tests
 */
#include "agent.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <linux/vm_sockets.h> /* needs sys/socket.h before it */

static const struct {
    const char *name;
    int (*serve)(struct request *r);
    int least, most; /* arguments; -1: any number */
} requests[] = {
    {"exec", serve_exec, 2, -1},      {"put", serve_put, 3, 3},
    {"get", serve_get, 1, 1},         {"info", serve_info, 0, 0},
    {"clock", serve_clock, 1, 1},     {"freeze", serve_freeze, 0, 0},
    {"thaw", serve_thaw, 0, 0},       {"shutdown", serve_shutdown, 1, 1},
    {"connect", serve_connect, 1, 1},
};

int fail(const struct request *r, int error, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (error && len >= 0 && (size_t)len < sizeof(text))
        snprintf(text + len, sizeof(text) - (size_t)len, ": %s", strerror(error));
    pv_agent_send(r->fd, PV_AGENT_FAIL, text, strlen(text));
    return -1;
}

int ready(const struct request *r, const char *const *words, int count)
{
    return pv_agent_send_words(r->fd, PV_AGENT_READY, words, (size_t)count) < 0 ? -1 : 0;
}

static int serve(int fd)
{
    static struct pv_agent_frame open, frame;
    static char *words[PV_AGENT_WORDS_MAX + 1];
    struct request r = {.fd = fd, .words = words + 1, .frame = &frame};
    if (pv_agent_receive(fd, &open) < 0)
        return 1;
    const int count =
        open.type == PV_AGENT_OPEN ? pv_agent_words(&open, words, PV_AGENT_WORDS_MAX) : -1;
    if (count < 2)
        return fail(&r, 0, "not a request") != 0;
    if (strcmp(words[0], PV_AGENT_VERSION) != 0)
        return fail(&r, 0, "this agent speaks version " PV_AGENT_VERSION ", not '%.20s'",
                    words[0]) != 0;
    r.count = count - 1;
    for (size_t i = 0; i < sizeof(requests) / sizeof(requests[0]); i++) {
        if (strcmp(r.words[0], requests[i].name) != 0)
            continue;
        if (r.count - 1 < requests[i].least ||
            (requests[i].most >= 0 && r.count - 1 > requests[i].most))
            return fail(&r, 0, "'%s' with %d arguments", r.words[0], r.count - 1) != 0;
        return requests[i].serve(&r) != 0;
    }
    return fail(&r, 0, "no request '%.40s' is known to this agent", r.words[0]) != 0;
}

static int listen_for_host(void)
{
    const struct sockaddr_vm address = {
        .svm_family = AF_VSOCK, .svm_port = PV_AGENT_PORT, .svm_cid = VMADDR_CID_ANY};
    int listener = socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (listener < 0 || bind(listener, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(listener, 64) < 0) {
        perror("pearvisor-agent: vsock");
        return 1;
    }
    for (;;) {
        struct sockaddr_vm peer = {0};
        socklen_t size = sizeof(peer);
        int fd = accept4(listener, (struct sockaddr *)&peer, &size, SOCK_CLOEXEC);
        if (fd < 0)
            continue;
        /* A guest's own programs can reach this port too; only the host may ask. */
        pid_t child = peer.svm_cid == VMADDR_CID_HOST ? fork() : -1;
        if (child == 0) {
            close(listener);
            signal(SIGCHLD, SIG_DFL);
            _exit(serve(fd));
        }
        close(fd);
    }
}

int main(int argc, char **argv)
{
    signal(SIGPIPE, SIG_IGN);
    if (argc == 3 && !strcmp(argv[1], "--fd"))
        return serve(atoi(argv[2]));
    if (argc != 1) {
        fprintf(stderr, "usage: pearvisor-agent [--fd N]\n");
        return 2;
    }
    signal(SIGCHLD, SIG_IGN); /* nobody waits for them */
    return listen_for_host();
}
