/* SPDX-License-Identifier: MIT */
/* A unix socket that serves one client at a time. */
#include "base/error.h"
#include "base/util.h"
#include "host/chardev_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define OUTPUT_MAX ((size_t)64 << 10)

struct unix_chardev {
    struct pv_chardev base;
    struct pv_watch *accept_watch;
    int listener, client;
    struct sockaddr_un address;
    bool bound;
};

static void drop_client(struct pv_chardev *chardev)
{
    struct unix_chardev *sock = PV_CONTAINER_OF(chardev, struct unix_chardev, base);
    if (sock->client >= 0)
        close(sock->client);
    sock->client = -1;
    pv_watch_update(sock->accept_watch, PV_LOOP_READ);
}

static void finish(struct pv_chardev *chardev)
{
    struct unix_chardev *sock = PV_CONTAINER_OF(chardev, struct unix_chardev, base);
    pv_watch_destroy(sock->accept_watch);
    if (sock->client >= 0)
        close(sock->client);
    if (sock->listener >= 0)
        close(sock->listener);
    if (sock->bound)
        unlink(sock->address.sun_path);
}

static const struct pv_chardev_ops unix_ops = {.finish = finish, .hangup = drop_client};

static void on_connect(void *opaque, int fd, unsigned events)
{
    struct unix_chardev *sock = opaque;
    sock->client = accept(fd, NULL, NULL);
    if (sock->client < 0)
        return;
    fcntl(sock->client, F_SETFD, FD_CLOEXEC);
    fcntl(sock->client, F_SETFL, O_NONBLOCK);
    /* The next client waits in the backlog until this one is gone. */
    pv_watch_update(sock->accept_watch, 0);
    if (pv_chardev_connect(&sock->base, sock->client, sock->client, NULL) < 0)
        drop_client(&sock->base);
}

/* A socket file that nobody listens on is left over from a process that died: it may go. */
static bool is_stale(const struct sockaddr_un *address)
{
    struct stat st;
    if (lstat(address->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    PV_CLEANUP_FD int probe = socket(AF_UNIX, SOCK_STREAM, 0);
    return probe >= 0 && connect(probe, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
           errno == ECONNREFUSED;
}

static int listen_at(struct unix_chardev *sock, const char *path, struct pv_error **err)
{
    sock->address.sun_family = AF_UNIX;
    if (!*path || strlen(path) >= sizeof(sock->address.sun_path))
        return pv_error_set(err, ENAMETOOLONG,
                            "console socket '%s': a path of 1 to %zu bytes is needed", path,
                            sizeof(sock->address.sun_path) - 1);
    memcpy(sock->address.sun_path, path, strlen(path) + 1);
    sock->listener = socket(AF_UNIX, SOCK_STREAM, 0);
    if (sock->listener < 0)
        return pv_error_errno(err, errno, "console socket");
    fcntl(sock->listener, F_SETFD, FD_CLOEXEC);
    fcntl(sock->listener, F_SETFL, O_NONBLOCK);
    const struct sockaddr *address = (const struct sockaddr *)&sock->address;
    int ret = bind(sock->listener, address, sizeof(sock->address));
    if (ret < 0 && errno == EADDRINUSE && is_stale(&sock->address)) {
        unlink(path);
        ret = bind(sock->listener, address, sizeof(sock->address));
    }
    if (ret < 0)
        return pv_error_errno(err, errno, "console socket '%s'", path);
    sock->bound = true;
    /* Whoever may connect is root on the guest's console. */
    if (chmod(path, 0600) < 0 || listen(sock->listener, 4) < 0)
        return pv_error_errno(err, errno, "console socket '%s'", path);
    return pv_watch_create(&sock->accept_watch, sock->base.loop, sock->listener, PV_LOOP_READ,
                           on_connect, sock, err);
}

int pv_chardev_unix_create(struct pv_chardev **out, struct pv_loop *loop, const char *path,
                           struct pv_error **err)
{
    struct unix_chardev *sock = calloc(1, sizeof(*sock));
    if (!sock)
        return pv_error_set(err, ENOMEM, "console: out of memory");
    sock->listener = sock->client = -1;
    int ret = pv_chardev_init(&sock->base, &unix_ops, loop, OUTPUT_MAX, err);
    if (ret >= 0)
        ret = listen_at(sock, path, err);
    if (ret < 0) {
        pv_chardev_destroy(&sock->base);
        return ret;
    }
    *out = &sock->base;
    return 0;
}
