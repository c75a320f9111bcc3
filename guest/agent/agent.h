/* SPDX-License-Identifier: MIT */
/*
 * The guest agent: a static program that serves requests of the host (agent/wire.h). A process
 * serves each connection, so that requests cannot harm one another, and ends with it.
 */
#ifndef PV_GUEST_AGENT_H
#define PV_GUEST_AGENT_H

#include "agent/wire.h"

/* A connection's process has these, and nothing else that lasts. */
struct request {
    int fd;
    char **words; /* the request's name, its arguments, NULL */
    int count;
    struct pv_agent_frame *frame; /* for what comes and goes; `words` are elsewhere */
};

/* Sends FAIL with a line, and ":" and the text of `error` when that is not 0. Returns -1. */
int fail(const struct request *r, int error, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Sends READY with words; returns 0, or -1 when the host is gone. */
int ready(const struct request *r, const char *const *words, int count);

/* Each serves one request to its end, and returns the process' exit status. */
int serve_exec(struct request *r);
int serve_put(struct request *r);
int serve_get(struct request *r);
int serve_info(struct request *r);
int serve_clock(struct request *r);
int serve_freeze(struct request *r);
int serve_thaw(struct request *r);
int serve_shutdown(struct request *r);
int serve_connect(struct request *r);

#endif
