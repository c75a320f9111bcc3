/* SPDX-License-Identifier: MIT */
/* How connections begin on the host's side: the listener, its greeting, and a path for each port.
 */
#include "device/vsock_impl.h"

#include "base/error.h"
#include "base/parse.h"
#include "base/util.h"
#include "host/loop.h"
#include "host/unix_socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#define SOCKET_NAME "/vsock.sock"
#define PORT_MAX    (UINT32_MAX - 1) /* all ones means any */

static void on_client(void *opaque, int fd, unsigned events)
{
    struct pv_vsock *vsock = opaque;
    int client = pv_unix_accept(fd);
    if (client < 0)
        return;
    pv_virtio_lock(&vsock->base);
    pv_vsock_reap(vsock);
    struct pv_vsock_conn *conn = pv_vsock_conn_new(vsock, client, PV_VSOCK_GREETING);
    if (conn)
        pv_vsock_conn_settle(conn);
    pv_virtio_unlock(&vsock->base);
}

int pv_vsock_listen(struct pv_vsock *vsock, const char *directory, struct pv_error **err)
{
    PV_CLEANUP_FREE char *path = NULL;
    if (asprintf(&path, "%s" SOCKET_NAME, directory) < 0) {
        path = NULL;
        return pv_error_set(err, ENOMEM, "vsock: out of memory");
    }
    /* The longest path is that of a port. */
    if (strlen(path) + strlen("_4294967295") > PV_UNIX_PATH_MAX)
        return pv_error_set(err, ENAMETOOLONG, "vsock directory '%s': at most %zu bytes", directory,
                            PV_UNIX_PATH_MAX - strlen(SOCKET_NAME "_4294967295"));
    int ret = pv_unix_listen(path, "vsock socket", &vsock->listener, err);
    if (ret < 0)
        return ret;
    vsock->path = PV_STEAL(path);
    return pv_watch_create(&vsock->listener_watch, vsock->base.loop, vsock->listener, PV_LOOP_READ,
                           on_client, vsock, err);
}

void pv_vsock_unlisten(struct pv_vsock *vsock)
{
    pv_watch_destroy(vsock->listener_watch);
    if (vsock->listener >= 0)
        close(vsock->listener);
    if (vsock->path)
        unlink(vsock->path);
    free(vsock->path);
}

int pv_vsock_connect(struct pv_vsock *vsock, uint32_t port)
{
    char path[PV_UNIX_PATH_MAX + 1];
    int len = snprintf(path, sizeof(path), "%s_%u", vsock->path, port);
    return len > 0 && (size_t)len < sizeof(path) ? pv_unix_connect(path) : -ENAMETOOLONG;
}

/* ---- CONNECT and OK ---- */

/* A port of the host's that this guest port is not connected to yet. */
static uint32_t free_port(struct pv_vsock *vsock, uint32_t guest_port)
{
    do {
        vsock->next_port = vsock->next_port < PORT_MAX ? vsock->next_port + 1 : 1024;
    } while (pv_vsock_conn_find(vsock, vsock->next_port, guest_port));
    return vsock->next_port;
}

static void ask_guest(struct pv_vsock_conn *conn)
{
    static const char verb[] = "CONNECT ";
    struct pv_vsock *vsock = conn->vsock;
    uint64_t port;
    conn->line[conn->line_len - 1] = '\0';
    if (strncmp(conn->line, verb, strlen(verb)) != 0 ||
        pv_parse_u64(conn->line + strlen(verb), "port", 0, PORT_MAX, &port, NULL) < 0 ||
        !pv_virtq_running(pv_virtio_queue(&vsock->base, 0))) {
        pv_vsock_conn_free(conn);
        return;
    }
    pv_vsock_conn_name(conn, free_port(vsock, (uint32_t)port), (uint32_t)port);
    conn->state = PV_VSOCK_ASKED;
    conn->pending = 1u << PV_VSOCK_REQUEST;
    pv_vsock_conn_settle(conn);
    pv_vsock_pump(vsock);
}

/* What follows the line is the guest's: it is looked at before as much as belongs to it is read. */
void pv_vsock_greet(struct pv_vsock_conn *conn)
{
    char *to = conn->line + conn->line_len;
    ssize_t n = recv(conn->fd, to, sizeof(conn->line) - conn->line_len, MSG_PEEK);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        pv_vsock_conn_free(conn);
        return;
    }
    const char *end = memchr(to, '\n', (size_t)n);
    size_t take = end ? (size_t)(end - to) + 1 : (size_t)n;
    if (recv(conn->fd, to, take, 0) != (ssize_t)take) {
        pv_vsock_conn_free(conn);
        return;
    }
    conn->line_len += (unsigned)take;
    if (end)
        ask_guest(conn);
    else if (conn->line_len == sizeof(conn->line))
        pv_vsock_conn_free(conn);
}

bool pv_vsock_welcome(struct pv_vsock_conn *conn)
{
    char line[PV_VSOCK_LINE_MAX];
    int len = snprintf(line, sizeof(line), "OK %u\n", conn->host_port);
    return send(conn->fd, line, (size_t)len, MSG_NOSIGNAL) == len;
}
