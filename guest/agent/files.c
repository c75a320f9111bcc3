/* SPDX-License-Identifier: MIT */
/*
 * put PATH NAME MODE, then DATA and END from the host: a file, or NAME in a folder. It appears
 * whole or not at all. get PATH: READY with its mode, then DATA and END to the host.
 */
#include "agent.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static int write_all(int fd, const uint8_t *at, size_t size)
{
    while (size > 0) {
        ssize_t n = write(fd, at, size);
        if (n < 0 && errno != EINTR)
            return -1;
        at += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
    return 0;
}

/* Everything up to END into `file`; NULL, or what is wrong (errno beside it, or 0). */
static const char *take_file(struct request *r, int file)
{
    struct pv_agent_sum sum = {0};
    for (;;) {
        errno = 0;
        if (pv_agent_receive(r->fd, r->frame) < 0)
            return "put: the host went away";
        if (r->frame->type == PV_AGENT_END)
            break;
        if (r->frame->type != PV_AGENT_DATA)
            return "put: not a file's data";
        pv_agent_sum_add(&sum, r->frame->payload, r->frame->size);
        if (write_all(file, r->frame->payload, r->frame->size) < 0)
            return "put";
    }
    if (r->frame->size != 16 || pv_agent_get64(r->frame->payload) != sum.size ||
        pv_agent_get64(r->frame->payload + 8) != pv_agent_sum_value(&sum))
        return "put: what arrived is not what was sent";
    return NULL;
}

int serve_put(struct request *r)
{
    char path[PATH_MAX], temporary[PATH_MAX];
    struct stat st;
    const size_t len = strlen(r->words[1]);
    const bool folder = len > 0 && (r->words[1][len - 1] == '/' ||
                                    (stat(r->words[1], &st) == 0 && S_ISDIR(st.st_mode)));
    int size = folder ? snprintf(path, sizeof(path), "%s/%s", r->words[1], r->words[2])
                      : snprintf(path, sizeof(path), "%s", r->words[1]);
    if (len == 0 || size >= (int)sizeof(path) ||
        snprintf(temporary, sizeof(temporary), "%s.XXXXXX", path) >= (int)sizeof(temporary))
        return fail(r, ENAMETOOLONG, "put");
    int file = mkostemp(temporary, O_CLOEXEC);
    if (file < 0)
        return fail(r, errno, "'%.200s'", path);
    if (ready(r, NULL, 0) < 0)
        goto undo;
    const char *wrong = take_file(r, file);
    if (!wrong && (fchmod(file, (mode_t)strtoul(r->words[3], NULL, 8) & 07777) < 0 ||
                   rename(temporary, path) < 0))
        wrong = path;
    if (wrong) {
        fail(r, errno, "%s", wrong);
        goto undo;
    }
    close(file);
    return ready(r, NULL, 0);
undo:
    close(file);
    unlink(temporary);
    return -1;
}

int serve_get(struct request *r)
{
    char mode[16];
    uint8_t end[16];
    struct stat st;
    struct pv_agent_sum sum = {0};
    int file = open(r->words[1], O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0 || fstat(file, &st) < 0)
        return fail(r, errno, "'%.200s'", r->words[1]);
    if (S_ISDIR(st.st_mode))
        return fail(r, EISDIR, "'%.200s'", r->words[1]);
    snprintf(mode, sizeof(mode), "%o", st.st_mode & 07777);
    const char *words[] = {mode};
    if (ready(r, words, 1) < 0)
        return -1;
    for (;;) {
        ssize_t n = read(file, r->frame->payload, PV_AGENT_PAYLOAD_MAX);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return fail(r, errno, "'%.200s'", r->words[1]);
        if (n == 0)
            break;
        pv_agent_sum_add(&sum, r->frame->payload, (size_t)n);
        if (pv_agent_send(r->fd, PV_AGENT_DATA, r->frame->payload, (size_t)n) < 0)
            return -1;
    }
    pv_agent_put64(end, sum.size);
    pv_agent_put64(end + 8, pv_agent_sum_value(&sum));
    return pv_agent_send(r->fd, PV_AGENT_END, end, sizeof(end));
}
