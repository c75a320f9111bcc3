/* SPDX-License-Identifier: MIT */
/*
 * A VNC server (RFB 3.8, RFC 6143).
 *
 * The display's thread only notes which tiles changed and wakes the server's loop, which copies
 * those tiles into the server's own picture and adds them to what each viewer has yet to see. A
 * viewer that asked for an update gets one when all of the one before has left: a slow viewer sees
 * fewer pictures, never old ones, and holds nobody up. A head that is turned off leaves the last
 * picture with the viewers.
 */
#include "display/vnc_impl.h"

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "host/loop.h"
#include "host/unix_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

/* Until the guest shows something. */
#define FIRST_WIDTH  640u
#define FIRST_HEIGHT 480u

void vnc_damage_add(struct vnc_damage *damage, const struct pv_rect *rect)
{
    if (pv_rect_empty(rect))
        return;
    for (uint32_t y = rect->y / VNC_TILE; y <= (rect->y + rect->height - 1) / VNC_TILE; y++)
        for (uint32_t x = rect->x / VNC_TILE; x <= (rect->x + rect->width - 1) / VNC_TILE; x++)
            damage->rows[y][x / 64] |= UINT64_C(1) << x % 64;
    damage->any = true;
}

static void merge(struct vnc_damage *to, const struct vnc_damage *from)
{
    for (size_t y = 0; y < VNC_TILES; y++)
        for (size_t i = 0; i < PV_ARRAY_SIZE(to->rows[0]); i++)
            to->rows[y][i] |= from->rows[y][i];
    to->any |= from->any;
}

/* ---- On the display's thread, with the display locked ---- */

static void on_mode(void *opaque, unsigned head, const struct pv_surface *before)
{
    struct vnc_server *server = opaque;
    if (head == 0)
        pv_event_signal(server->changed);
}

static void on_damage(void *opaque, unsigned head, const struct pv_rect *rect)
{
    struct vnc_server *server = opaque;
    if (head != 0)
        return;
    vnc_damage_add(&server->fresh, rect);
    pv_event_signal(server->changed);
}

static void on_cursor(void *opaque, unsigned head)
{
    struct vnc_server *server = opaque;
    if (head != 0)
        return;
    server->cursor_fresh = true;
    pv_event_signal(server->changed);
}

/* ---- Taking the picture over ---- */

/* Makes the server's picture of another size; false when there is no memory. */
static bool resize(struct vnc_server *server, uint32_t width, uint32_t height)
{
    uint32_t *pixels = calloc((size_t)width * height, sizeof(*pixels));
    if (!pixels)
        return false;
    free(server->picture.pixels);
    server->picture = (struct pv_surface){width, height, pixels};
    return true;
}

static void copy_tiles(struct pv_surface *to, const struct pv_surface *from,
                       const struct vnc_damage *damage)
{
    for (uint32_t y = 0; y < to->height; y++) {
        const uint64_t *row = damage->rows[y / VNC_TILE];
        for (uint32_t x = 0; x < to->width; x += VNC_TILE)
            if (row[x / VNC_TILE / 64] >> x / VNC_TILE % 64 & 1)
                memcpy(to->pixels + (size_t)y * to->width + x,
                       from->pixels + (size_t)y * to->width + x,
                       PV_MIN(VNC_TILE, to->width - x) * sizeof(*to->pixels));
    }
}

/* Returns whether the size changed. */
static bool take_picture(struct vnc_server *server, struct vnc_damage *damage)
{
    const struct pv_surface *now = pv_display_surface(server->display, 0);
    bool resized = now->width &&
                   (now->width != server->picture.width || now->height != server->picture.height);
    damage->any = false;
    if (resized && !resize(server, now->width, now->height))
        return false;
    if (resized) {
        const struct pv_rect all = {0, 0, now->width, now->height};
        vnc_damage_add(&server->fresh, &all);
    }
    if (now->width && server->fresh.any) {
        copy_tiles(&server->picture, now, &server->fresh);
        *damage = server->fresh;
    }
    server->fresh = (struct vnc_damage){0};
    return resized;
}

static void on_changed(void *opaque)
{
    struct vnc_server *server = opaque;
    struct vnc_damage damage;
    pv_display_lock(server->display);
    bool resized = take_picture(server, &damage);
    bool shape = server->cursor_fresh;
    server->cursor_fresh = false;
    if (shape)
        server->shape = *pv_display_cursor(server->display, 0);
    pv_display_unlock(server->display);
    for (unsigned i = 0; i < VNC_CLIENTS; i++) {
        struct vnc_client *client = &server->clients[i];
        if (!client->server)
            continue;
        client->size_changed |= resized;
        client->cursor_changed |= shape;
        if (damage.any)
            merge(&client->damage, &damage);
        vnc_client_update(client);
    }
}

/* ---- Who connects ---- */

static void on_connect(void *opaque, int listener, unsigned events)
{
    struct vnc_server *server = opaque;
    const int one = 1;
    int fd = pv_unix_accept(listener);
    if (fd < 0)
        return;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one)); /* a unix socket takes no harm */
    unsigned slot = 0;
    while (slot < VNC_CLIENTS && server->clients[slot].server)
        slot++;
    if (slot < VNC_CLIENTS && vnc_client_start(&server->clients[slot], server, fd) >= 0)
        return;
    pv_warn(PV_LOG_DISPLAY, "vnc: a viewer was turned away: there are %u", slot);
    close(fd);
}

static int listen_tcp(struct vnc_server *server, uint16_t port, struct pv_error **err)
{
    const struct sockaddr_in address = {
        .sin_family = AF_INET, .sin_port = htons(port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    const int one = 1;
    server->fd = socket(AF_INET, SOCK_STREAM, 0);
    if (server->fd < 0)
        return pv_error_errno(err, errno, "vnc");
    fcntl(server->fd, F_SETFD, FD_CLOEXEC);
    fcntl(server->fd, F_SETFL, O_NONBLOCK);
    setsockopt(server->fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(server->fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(server->fd, VNC_CLIENTS) < 0)
        return pv_error_errno(err, errno, "vnc: 127.0.0.1, port %u", port);
    return 0;
}

static int listen_unix(struct vnc_server *server, const char *path, struct pv_error **err)
{
    char *copy = strdup(path);
    int ret = copy ? pv_unix_listen(path, "vnc socket", &server->fd, err)
                   : pv_error_set(err, ENOMEM, "vnc: out of memory");
    if (ret < 0)
        free(copy);
    else
        server->path = copy;
    return ret;
}

/* ---- Life ---- */

static void vnc_destroy(struct pv_display_sink *sink)
{
    struct vnc_server *server = PV_CONTAINER_OF(sink, struct vnc_server, base);
    pv_display_remove_listener(server->display, &server->listener);
    for (unsigned i = 0; i < VNC_CLIENTS; i++)
        if (server->clients[i].server)
            vnc_client_drop(&server->clients[i], NULL);
    if (server->watch)
        pv_watch_destroy(server->watch);
    if (server->fd >= 0)
        close(server->fd);
    if (server->path)
        unlink(server->path);
    if (server->changed)
        pv_event_destroy(server->changed);
    free(server->path);
    free(server->picture.pixels);
    free(server);
}

static const struct pv_display_sink_ops vnc_ops = {.name = "vnc", .destroy = vnc_destroy};

int pv_display_vnc_create(struct pv_display_sink **out, struct pv_display *display,
                          struct pv_loop *loop, const struct pv_vnc_config *config,
                          struct pv_error **err)
{
    struct vnc_server *server = calloc(1, sizeof(*server));
    if (!server || !resize(server, FIRST_WIDTH, FIRST_HEIGHT)) {
        free(server);
        return pv_error_set(err, ENOMEM, "vnc: out of memory");
    }
    server->base.ops = &vnc_ops;
    server->display = display;
    server->loop = loop;
    server->fd = -1;
    server->listener = (struct pv_display_listener){
        .mode = on_mode, .damage = on_damage, .cursor = on_cursor, .opaque = server};
    server->has_password = config->password;
    if (config->password)
        memcpy(server->password, config->password,
               PV_MIN(strlen(config->password), (size_t)VNC_PASSWORD));
    int ret = pv_event_create(&server->changed, loop, on_changed, server, err);
    if (ret >= 0)
        ret = config->path ? listen_unix(server, config->path, err)
                           : listen_tcp(server, config->port, err);
    if (ret >= 0)
        ret = pv_watch_create(&server->watch, loop, server->fd, PV_LOOP_READ, on_connect, server,
                              err);
    if (ret < 0) {
        vnc_destroy(&server->base);
        return ret;
    }
    pv_display_add_listener(display, &server->listener);
    pv_event_signal(server->changed); /* for what is shown already */
    *out = &server->base;
    return 0;
}
