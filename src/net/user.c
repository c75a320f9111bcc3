/* SPDX-License-Identifier: MIT */
/*
 * NAT without privileges: libslirp ends the guest's connections in this process and opens sockets
 * of its own for them.
 *
 * libslirp expects a poll() loop that asks it for its descriptors before each sleep and shows it
 * the results afterwards. Its wishes only change when it was given something to do: a frame from
 * the guest, a ready socket, a timer. So rather than on every turn of our loop, all of that is
 * gathered into one event, `work`, which shows libslirp what became ready, hands over frames to the
 * guest, and brings the watches in line with what it wants next.
 *
 * Frames for the guest go through a bounded queue, because libslirp may answer from inside
 * slirp_input(), where the device's lock is held, and because a guest that is slow to give receive
 * buffers should not cost TCP a retransmission for every frame.
 */
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "host/clock.h"
#include "host/loop.h"
#include "net/netdev.h"

#include <errno.h>
#include <inttypes.h>
#include <slirp/libslirp.h>
#include <string.h>

#define ETH_HEADER      14u
#define QUEUE_MAX_BYTES (512u * 1024)
#define NSEC_PER_MSEC   UINT64_C(1000000)

/* 10.0.2.0/24, as QEMU's user networking has it. */
#define NETWORK    0x0a000200u
#define NETMASK    0xffffff00u
#define HOST       0x0a000202u
#define NAMESERVER 0x0a000203u
#define GUEST      0x0a00020fu

struct frame {
    struct frame *next;
    size_t len;
    uint8_t data[];
};

/* What libslirp wants of one descriptor, and what became of it. */
struct socket {
    struct pv_watch *watch; /* NULL: not watched */
    unsigned wanted;        /* PV_LOOP_*, 0: not wanted (any more) */
    unsigned watched;
    int ready; /* SLIRP_POLL_* */
};

struct user_timer {
    struct pv_timer *timer;
    struct user *user;
    SlirpTimerId id;
    void *slirp_opaque;
};

struct user {
    struct pv_netdev base;
    struct pv_loop *loop;
    Slirp *slirp;
    struct pv_event *work;
    struct pv_timer *deadline;
    struct socket *sockets; /* by descriptor */
    size_t socket_count;
    struct frame *frames, **frames_tail; /* for the guest */
    size_t frames_bytes;
    uint8_t packet[PV_ETH_FRAME_MAX];
};

/* ---- Frames for the guest ---- */

static ssize_t send_packet(const void *buf, size_t len, void *opaque)
{
    struct user *user = opaque;
    struct frame *frame = NULL;
    if (user->frames_bytes + len <= QUEUE_MAX_BYTES)
        frame = malloc(sizeof(*frame) + len);
    if (!frame)
        return (ssize_t)len; /* lost, as on a wire */
    frame->next = NULL;
    frame->len = len;
    memcpy(frame->data, buf, len);
    *user->frames_tail = frame;
    user->frames_tail = &frame->next;
    user->frames_bytes += len;
    pv_event_signal(user->work);
    return (ssize_t)len;
}

static void drop_first(struct user *user)
{
    struct frame *frame = user->frames;
    user->frames = frame->next;
    if (!user->frames)
        user->frames_tail = &user->frames;
    user->frames_bytes -= frame->len;
    free(frame);
}

static void deliver(struct user *user)
{
    const struct pv_netdev_client *client = &user->base.client;
    while (user->frames && (!client->receive ||
                            client->receive(client->opaque, user->frames->data, user->frames->len)))
        drop_first(user);
}

/* ---- Descriptors ---- */

static void forget(struct socket *socket)
{
    pv_watch_destroy(socket->watch);
    *socket = (struct socket){0};
}

static void socket_ready(void *opaque, int fd, unsigned events)
{
    struct user *user = opaque;
    int ready = 0;
    if (events & PV_LOOP_READ)
        ready |= SLIRP_POLL_IN;
    if (events & PV_LOOP_WRITE)
        ready |= SLIRP_POLL_OUT;
    if (events & PV_LOOP_HUP)
        ready |= SLIRP_POLL_HUP | SLIRP_POLL_ERR;
    user->sockets[fd].ready |= ready;
    pv_event_signal(user->work);
}

/* The descriptor serves as the index by which libslirp asks for the result. */
static int add_poll(int fd, int events, void *opaque)
{
    struct user *user = opaque;
    size_t index = (size_t)fd;
    if (fd < 0)
        return -1;
    if (index >= user->socket_count) {
        size_t count = index + 16;
        struct socket *bigger = realloc(user->sockets, count * sizeof(*bigger));
        if (!bigger)
            return -1; /* not polled this time */
        memset(bigger + user->socket_count, 0, (count - user->socket_count) * sizeof(*bigger));
        user->sockets = bigger;
        user->socket_count = count;
    }
    unsigned wanted = 0;
    if (events & (SLIRP_POLL_IN | SLIRP_POLL_PRI))
        wanted |= PV_LOOP_READ; /* urgent data is in line, libslirp sets SO_OOBINLINE */
    if (events & SLIRP_POLL_OUT)
        wanted |= PV_LOOP_WRITE;
    user->sockets[index].wanted |= wanted;
    return fd;
}

static int get_revents(int index, void *opaque)
{
    const struct user *user = opaque;
    return index >= 0 && (size_t)index < user->socket_count ? user->sockets[index].ready : 0;
}

static void watch_socket(struct user *user, int fd)
{
    struct socket *socket = &user->sockets[fd];
    if (socket->watch && socket->wanted != socket->watched &&
        pv_watch_update(socket->watch, socket->wanted) < 0) {
        /* The descriptor was closed and is another one now. */
        pv_watch_destroy(socket->watch);
        socket->watch = NULL;
    }
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    if (!socket->watch && pv_watch_create(&socket->watch, user->loop, fd, socket->wanted,
                                          socket_ready, user, &err) < 0)
        pv_warn(PV_LOG_NET, "user: %s", pv_error_message(err));
    socket->watched = socket->wanted;
}

/* Asks libslirp what it wants next, and arranges for it. */
static void update_watches(struct user *user)
{
    for (size_t fd = 0; fd < user->socket_count; fd++)
        user->sockets[fd].wanted = 0;
    uint32_t timeout_ms = UINT32_MAX;
    slirp_pollfds_fill(user->slirp, &timeout_ms, add_poll, user);
    for (size_t fd = 0; fd < user->socket_count; fd++) {
        if (user->sockets[fd].wanted)
            watch_socket(user, (int)fd);
        else
            forget(&user->sockets[fd]);
    }
    pv_timer_set(user->deadline, timeout_ms == UINT32_MAX
                                     ? UINT64_MAX
                                     : pv_clock_ns() + timeout_ms * NSEC_PER_MSEC);
}

static void work(void *opaque)
{
    struct user *user = opaque;
    slirp_pollfds_poll(user->slirp, 0, get_revents, user);
    for (size_t fd = 0; fd < user->socket_count; fd++)
        user->sockets[fd].ready = 0;
    deliver(user);
    update_watches(user);
}

static void deadline_passed(void *opaque)
{
    work(opaque);
}

/* ---- libslirp's other callbacks ---- */

static void guest_error(const char *msg, void *opaque)
{
    pv_debug(PV_LOG_NET, "user: %s", msg);
}

static int64_t clock_get_ns(void *opaque)
{
    return (int64_t)pv_clock_ns();
}

static void timer_fired(void *opaque)
{
    struct user_timer *timer = opaque;
    slirp_handle_timer(timer->user->slirp, timer->id, timer->slirp_opaque);
    pv_event_signal(timer->user->work);
}

static void *timer_new(SlirpTimerId id, void *slirp_opaque, void *opaque)
{
    struct user *user = opaque;
    struct user_timer *timer = calloc(1, sizeof(*timer));
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    if (!timer)
        return NULL;
    *timer = (struct user_timer){.user = user, .id = id, .slirp_opaque = slirp_opaque};
    if (pv_timer_create(&timer->timer, user->loop, timer_fired, timer, &err) < 0) {
        pv_warn(PV_LOG_NET, "user: %s", pv_error_message(err));
        free(timer);
        return NULL;
    }
    return timer;
}

static void timer_free(void *opaque, void *user)
{
    struct user_timer *timer = opaque;
    if (!timer)
        return;
    pv_timer_destroy(timer->timer);
    free(timer);
}

static void timer_mod(void *opaque, int64_t expire_ms, void *user)
{
    struct user_timer *timer = opaque;
    if (timer)
        pv_timer_set(timer->timer, (uint64_t)PV_MAX(expire_ms, INT64_C(0)) * NSEC_PER_MSEC);
}

static void register_poll_fd(int fd, void *opaque) {}

/* About to be closed: the number may come back as another socket before the next update. */
static void unregister_poll_fd(int fd, void *opaque)
{
    struct user *user = opaque;
    if (fd >= 0 && (size_t)fd < user->socket_count)
        forget(&user->sockets[fd]);
}

static void notify(void *opaque)
{
    struct user *user = opaque;
    pv_event_signal(user->work);
}

static const SlirpCb callbacks = {
    .send_packet = send_packet,
    .guest_error = guest_error,
    .clock_get_ns = clock_get_ns,
    .timer_free = timer_free,
    .timer_mod = timer_mod,
    .register_poll_fd = register_poll_fd,
    .unregister_poll_fd = unregister_poll_fd,
    .notify = notify,
    .timer_new_opaque = timer_new,
};

/* ---- The netdev ---- */

static void user_send(struct pv_netdev *dev, const struct iovec *iov, unsigned count, size_t len)
{
    struct user *user = (struct user *)dev;
    if (len < ETH_HEADER || len > sizeof(user->packet))
        return;
    size_t at = 0;
    for (unsigned i = 0; i < count && at < len; i++) {
        size_t part = PV_MIN(iov[i].iov_len, len - at);
        if (part) /* an empty iovec may have no address */
            memcpy(user->packet + at, iov[i].iov_base, part);
        at += part;
    }
    slirp_input(user->slirp, user->packet, (int)at);
    pv_event_signal(user->work);
}

static void user_can_receive(struct pv_netdev *dev)
{
    struct user *user = (struct user *)dev;
    if (user->frames)
        pv_event_signal(user->work);
}

static void user_destroy(struct pv_netdev *dev)
{
    struct user *user = (struct user *)dev;
    if (user->slirp)
        slirp_cleanup(user->slirp);
    for (size_t fd = 0; fd < user->socket_count; fd++)
        forget(&user->sockets[fd]);
    free(user->sockets);
    while (user->frames)
        drop_first(user);
    pv_timer_destroy(user->deadline);
    pv_event_destroy(user->work);
    free(user);
}

static const struct pv_netdev_ops user_ops = {
    .name = "user",
    .send = user_send,
    .can_receive = user_can_receive,
    .destroy = user_destroy,
};

static int add_forward(struct user *user, const struct pv_port_forward *forward,
                       struct pv_error **err)
{
    struct in_addr guest = {.s_addr = htonl(GUEST)};
    struct in_addr host = {
        .s_addr = htonl(forward->host_address ? forward->host_address : INADDR_LOOPBACK)};
    if (slirp_add_hostfwd(user->slirp, forward->udp, host, forward->host_port, guest,
                          forward->guest_port) == 0)
        return 0;
    int code = errno ? errno : EIO;
    char address[INET_ADDRSTRLEN] = "";
    inet_ntop(AF_INET, &host, address, sizeof(address));
    const char *protocol = forward->udp ? "udp" : "tcp";
    if (code == EADDRINUSE)
        return pv_error_set(err, code, "host port %u/%s on %s is in use by another program",
                            forward->host_port, protocol, address);
    return pv_error_errno(err, code, "forwarding host port %u/%s on %s", forward->host_port,
                          protocol, address);
}

static int start(struct user *user, const struct pv_port_forward *forwards, size_t count,
                 struct pv_error **err)
{
    const SlirpConfig config = {
        .version = SLIRP_CONFIG_VERSION_MAX,
        .in_enabled = true,
        .vnetwork.s_addr = htonl(NETWORK),
        .vnetmask.s_addr = htonl(NETMASK),
        .vhost.s_addr = htonl(HOST),
        .vdhcp_start.s_addr = htonl(GUEST),
        .vnameserver.s_addr = htonl(NAMESERVER),
    };
    int ret = pv_event_create(&user->work, user->loop, work, user, err);
    if (!ret)
        ret = pv_timer_create(&user->deadline, user->loop, deadline_passed, user, err);
    if (ret < 0)
        return ret;
    user->slirp = slirp_new(&config, &callbacks, user);
    if (!user->slirp)
        return pv_error_set(err, EIO, "libslirp did not start");
    for (size_t i = 0; i < count && !ret; i++)
        ret = add_forward(user, &forwards[i], err);
    pv_event_signal(user->work);
    return ret;
}

int pv_netdev_user_create(struct pv_netdev **out, struct pv_loop *loop,
                          const struct pv_port_forward *forwards, size_t count,
                          struct pv_error **err)
{
    struct user *user = calloc(1, sizeof(*user));
    if (!user)
        return pv_error_set(err, ENOMEM, "network: out of memory");
    user->base.ops = &user_ops;
    user->loop = loop;
    user->frames_tail = &user->frames;
    int ret = start(user, forwards, count, err);
    if (ret < 0) {
        user_destroy(&user->base);
        return pv_error_prefix(err, "network");
    }
    *out = &user->base;
    return 0;
}
