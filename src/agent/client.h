/* SPDX-License-Identifier: MIT */
/*
 * The host's side of the guest agent. Each call is a connection and a request of its own, and
 * blocks. Nothing that the agent sends is believed: what does not fit ends the request with one
 * line.
 */
#ifndef PV_AGENT_CLIENT_H
#define PV_AGENT_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_error;
struct pv_agent_frame;

/*
 * A blocking connection to a port of the guest, through the socket that the vsock device has on the
 * host (device/vsock.h). Returns the descriptor, which is the caller's.
 */
int pv_agent_connect(const char *vsock_socket, uint32_t port, struct pv_error **err);

/* Asks; `words` are the request's name and its arguments. `answer` gets READY's payload. */
int pv_agent_ask(int fd, const char *const *words, size_t count, struct pv_agent_frame *answer,
                 struct pv_error **err);

struct pv_agent_terminal {
    uint16_t rows, columns;
};

struct pv_agent_exec {
    const char *const *argv;                  /* NULL at its end */
    const char *directory;                    /* NULL: the agent's choice, root's home */
    const char *const *environment;           /* NAME=VALUE beside the agent's own; NULL: none */
    const struct pv_agent_terminal *terminal; /* NULL: pipes */
    int input, output, error; /* descriptors; input -1: none. With a terminal, error is unused */
    /* Asked for the terminal's size when SIGWINCH comes; NULL when there is none. */
    struct pv_agent_terminal (*size)(void *opaque);
    void *opaque;
};

/*
 * Runs a program and carries its input and output until it ends; SIGINT, SIGTERM, SIGHUP and
 * SIGQUIT that this process gets go to the program. Returns its exit status, 128 + N when signal N
 * killed it, or a negative errno: -ENOENT when there is no such program.
 */
int pv_agent_run(int fd, const struct pv_agent_exec *exec, struct pv_error **err);

/* Copies an open file to `path` in the guest (a folder: into it, as `name`), and checks the sum. */
int pv_agent_put(int fd, int file, const char *path, const char *name, unsigned mode,
                 struct pv_error **err);

/* Copies the guest's `path` to an open file. *mode gets its permissions. */
int pv_agent_get(int fd, const char *path, int file, unsigned *mode, struct pv_error **err);

#endif
