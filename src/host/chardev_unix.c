/* SPDX-License-Identifier: MIT */
/* A unix socket that serves one client at a time. */
#include "base/error.h"
#include "base/util.h"
#include "host/chardev_impl.h"
#include "host/unix_socket.h"

#include <errno.h>
#include <string.h>

#define OUTPUT_MAX ((size_t)64 << 10)

struct unix_chardev {
    struct pv_chardev base;
    struct pv_watch *accept_watch;
    int listener, client;
    char *path; /* of the listener, once it is there */
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
    if (sock->path)
        unlink(sock->path);
    free(sock->path);
}

static const struct pv_chardev_ops unix_ops = {.finish = finish, .hangup = drop_client};

static void on_connect(void *opaque, int fd, unsigned events)
{
    struct unix_chardev *sock = opaque;
    sock->client = pv_unix_accept(fd);
    if (sock->client < 0)
        return;
    /* The next client waits in the backlog until this one is gone. */
    pv_watch_update(sock->accept_watch, 0);
    if (pv_chardev_connect(&sock->base, sock->client, sock->client, NULL) < 0)
        drop_client(&sock->base);
}

static int listen_at(struct unix_chardev *sock, const char *path, struct pv_error **err)
{
    /* Whoever may connect is root on the guest's console. */
    int ret = pv_unix_listen(path, "console socket", &sock->listener, err);
    if (ret < 0)
        return ret;
    sock->path = strdup(path);
    if (!sock->path) {
        unlink(path);
        return pv_error_set(err, ENOMEM, "console: out of memory");
    }
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
