/* SPDX-License-Identifier: MIT */
/* Unix stream sockets by path: listening without treading on others, connecting without waiting. */
#ifndef PV_HOST_UNIX_SOCKET_H
#define PV_HOST_UNIX_SOCKET_H

struct pv_error;

/* The longest path that fits in an address, without its NUL. */
#define PV_UNIX_PATH_MAX 103u /* macOS; Linux has 107 */

/*
 * A non-blocking listener at `path`, for its owner only. A socket file that nobody listens on any
 * more is replaced; any other file is an error. `what` names the socket in errors. The caller
 * closes the descriptor and unlinks the path.
 */
int pv_unix_listen(const char *path, const char *what, int *fd, struct pv_error **err);

/* The next client of a listener, non-blocking; negative errno when there is none. */
int pv_unix_accept(int listener);

/* A non-blocking connection to `path`, or a negative errno. Never waits. */
int pv_unix_connect(const char *path);

#endif
