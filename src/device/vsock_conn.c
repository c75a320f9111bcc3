/* SPDX-License-Identifier: MIT */
/*
 * One connection: a host socket on one side, packets on the other.
 *
 * Credit (5.10.6.3) keeps either side from being given more than it has room for. To the guest
 * never more is sent than its buffer has free, counted from what it told last: alloc - (sent -
 * forwarded). From the guest never more than PV_VSOCK_BUFFER is held: what the host socket does not
 * take waits in `output`, and a guest that sends more than that is cut off. Counters are of 32 bits
 * and wrap, which their differences survive.
 *
 * Either direction ends alone. The host program's end of file is a shutdown of sending for the
 * guest; the guest's shutdown of sending closes the host socket's writing side once all is written.
 * The guest confirms a shutdown of both directions with a reset, and so do we.
 *
 * A socket is watched only for what can be acted on, or the loop would spin: not for reading while
 * the guest has no credit or no buffers, and no more at all after a hang-up, which cannot be
 * masked.
 */
#include "device/vsock_impl.h"

#include "base/util.h"
#include "host/loop.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>

/* A packet for the guest, and iovecs at a time. */
#define PACKET_MAX (64u << 10)
#define IOVECS     32u
/* The guest is told of room when it has this much more than it knows of. */
#define CREDIT_STEP (PV_VSOCK_BUFFER / 4)

/* ---- The set of connections ---- */

static struct pv_vsock_conn **bucket(struct pv_vsock *vsock, uint32_t host_port,
                                     uint32_t guest_port)
{
    uint32_t hash = host_port * 31 + guest_port;
    return &vsock->buckets[(hash ^ hash >> 8 ^ hash >> 16) % PV_VSOCK_BUCKETS];
}

static void insert(struct pv_vsock_conn *conn, struct pv_vsock_conn **list)
{
    conn->next = *list;
    conn->link = list;
    if (conn->next)
        conn->next->link = &conn->next;
    *list = conn;
}

static void take_out(struct pv_vsock_conn *conn)
{
    *conn->link = conn->next;
    if (conn->next)
        conn->next->link = conn->link;
}

struct pv_vsock_conn *pv_vsock_conn_new(struct pv_vsock *vsock, int fd, enum pv_vsock_state state)
{
    struct pv_vsock_conn *conn =
        vsock->count < PV_VSOCK_MAX_CONNECTIONS ? calloc(1, sizeof(*conn)) : NULL;
    if (!conn) {
        close(fd);
        return NULL;
    }
    conn->vsock = vsock;
    conn->fd = fd;
    conn->state = state;
    conn->epoch = vsock->epoch;
    conn->output = PV_BUFFER_INIT(PV_VSOCK_BUFFER);
    vsock->count++;
    insert(conn, &vsock->greeters);
    return conn;
}

void pv_vsock_conn_name(struct pv_vsock_conn *conn, uint32_t host_port, uint32_t guest_port)
{
    take_out(conn);
    conn->host_port = host_port;
    conn->guest_port = guest_port;
    conn->epoch = conn->vsock->epoch;
    insert(conn, bucket(conn->vsock, host_port, guest_port));
}

struct pv_vsock_conn *pv_vsock_conn_find(struct pv_vsock *vsock, uint32_t host_port,
                                         uint32_t guest_port)
{
    struct pv_vsock_conn *conn = *bucket(vsock, host_port, guest_port);
    while (conn && (conn->host_port != host_port || conn->guest_port != guest_port))
        conn = conn->next;
    return conn;
}

static void leave_ready(struct pv_vsock_conn *conn)
{
    struct pv_vsock *vsock = conn->vsock;
    struct pv_vsock_conn *before = NULL;
    for (struct pv_vsock_conn *c = vsock->ready_first; c != conn; c = c->ready_next)
        before = c;
    *(before ? &before->ready_next : &vsock->ready_first) = conn->ready_next;
    if (vsock->ready_last == conn)
        vsock->ready_last = before;
    conn->ready = false;
}

/* Ends the host's side. */
static void hang_up(struct pv_vsock_conn *conn)
{
    pv_watch_destroy(conn->watch);
    conn->watch = NULL;
    if (conn->fd >= 0)
        close(conn->fd);
    conn->fd = -1;
    pv_buffer_finish(&conn->output);
    conn->output_at = 0;
}

void pv_vsock_conn_free(struct pv_vsock_conn *conn)
{
    if (conn->ready)
        leave_ready(conn);
    hang_up(conn);
    take_out(conn);
    conn->vsock->count--;
    free(conn);
}

void pv_vsock_conn_kill(struct pv_vsock_conn *conn)
{
    hang_up(conn);
    conn->state = PV_VSOCK_DEAD;
    conn->pending = 1u << PV_VSOCK_RST;
    pv_vsock_conn_settle(conn);
}

void pv_vsock_reap(struct pv_vsock *vsock)
{
    for (unsigned i = 0; i < PV_VSOCK_BUCKETS; i++)
        for (struct pv_vsock_conn *conn = vsock->buckets[i], *next; conn; conn = next) {
            next = conn->next;
            if (conn->epoch != vsock->epoch)
                pv_vsock_conn_free(conn);
        }
}

void pv_vsock_conns_finish(struct pv_vsock *vsock)
{
    vsock->epoch++;
    pv_vsock_reap(vsock);
    while (vsock->greeters)
        pv_vsock_conn_free(vsock->greeters);
}

/* ---- Credit ---- */

static uint32_t guest_room(const struct pv_vsock_conn *conn)
{
    uint32_t unread = conn->sent - conn->guest_forwarded;
    return unread < conn->guest_alloc ? conn->guest_alloc - unread : 0;
}

/* `len` bytes of the guest's are off our hands. */
static void forwarded(struct pv_vsock_conn *conn, size_t len)
{
    conn->forwarded += (uint32_t)len;
    if (conn->forwarded - conn->advertised >= CREDIT_STEP)
        conn->pending |= 1u << PV_VSOCK_CREDIT_UPDATE;
}

/* ---- What it waits for ---- */

static bool may_read(const struct pv_vsock_conn *conn)
{
    return conn->state == PV_VSOCK_OPEN && !conn->host_eof &&
           !(conn->guest_flags & PV_VSOCK_NO_RECEIVE);
}

static size_t output_left(const struct pv_vsock_conn *conn)
{
    return conn->output.size - conn->output_at;
}

static void on_socket(void *opaque, int fd, unsigned events);

static void watch(struct pv_vsock_conn *conn)
{
    unsigned want = 0;
    if (conn->state == PV_VSOCK_GREETING || (may_read(conn) && !conn->readable))
        want |= PV_LOOP_READ;
    if (output_left(conn))
        want |= PV_LOOP_WRITE;
    if (conn->hung_up || conn->fd < 0) {
        pv_watch_destroy(conn->watch);
        conn->watch = NULL;
    } else if (!conn->watch) {
        if (pv_watch_create(&conn->watch, conn->vsock->base.loop, conn->fd, want, on_socket, conn,
                            NULL) < 0)
            conn->watch = NULL; /* out of memory: it will be tried again */
    } else if (want != conn->watched) {
        pv_watch_update(conn->watch, want);
    }
    conn->watched = want;
}

static bool has_packet(const struct pv_vsock_conn *conn)
{
    return conn->pending || (conn->readable && may_read(conn) && guest_room(conn));
}

void pv_vsock_conn_settle(struct pv_vsock_conn *conn)
{
    struct pv_vsock *vsock = conn->vsock;
    if (conn->state == PV_VSOCK_OPEN && conn->guest_flags == PV_VSOCK_NEITHER &&
        !output_left(conn)) {
        /* All is said and done; the reset confirms it. */
        hang_up(conn);
        conn->state = PV_VSOCK_DEAD;
        conn->pending = 1u << PV_VSOCK_RST;
    }
    if (conn->readable && may_read(conn) && !guest_room(conn) && !conn->asked_credit) {
        conn->pending |= 1u << PV_VSOCK_CREDIT_REQUEST;
        conn->asked_credit = true;
    }
    if (!conn->ready && has_packet(conn)) {
        conn->ready = true;
        conn->ready_next = NULL;
        *(vsock->ready_last ? &vsock->ready_last->ready_next : &vsock->ready_first) = conn;
        vsock->ready_last = conn;
    }
    watch(conn);
}

/* ---- The host's side ---- */

/* The host program reads no more: what the guest sends is as good as forwarded. */
static void went_deaf(struct pv_vsock_conn *conn)
{
    conn->host_deaf = true;
    forwarded(conn, output_left(conn));
    pv_buffer_finish(&conn->output);
    conn->output_at = 0;
    conn->readable = true; /* there may be something left, and then the end */
    conn->pending |= 1u << PV_VSOCK_SHUTDOWN;
}

static size_t send_some(struct pv_vsock_conn *conn, struct iovec *iov, unsigned count)
{
    const struct msghdr message = {.msg_iov = iov, .msg_iovlen = count};
    ssize_t n = sendmsg(conn->fd, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n >= 0) {
        forwarded(conn, (size_t)n);
        return (size_t)n;
    }
    if (errno != EAGAIN && errno != EINTR)
        went_deaf(conn);
    return 0;
}

static void write_output(struct pv_vsock_conn *conn)
{
    if (output_left(conn)) {
        struct iovec iov = {conn->output.data + conn->output_at, output_left(conn)};
        conn->output_at += send_some(conn, &iov, 1);
    }
    if (output_left(conn))
        return;
    pv_buffer_consume(&conn->output, conn->output.size);
    conn->output_at = 0;
    if ((conn->guest_flags & PV_VSOCK_NO_SEND) && !conn->host_deaf)
        shutdown(conn->fd, SHUT_WR);
}

static void on_socket(void *opaque, int fd, unsigned events)
{
    struct pv_vsock_conn *conn = opaque;
    struct pv_vsock *vsock = conn->vsock;
    pv_virtio_lock(&vsock->base);
    bool stale = conn->epoch != vsock->epoch && conn->state != PV_VSOCK_GREETING;
    pv_vsock_reap(vsock);
    if (stale) {
        /* It went just now. */
    } else if (conn->state == PV_VSOCK_GREETING) {
        pv_vsock_greet(conn);
    } else if (conn->state == PV_VSOCK_ASKED) {
        pv_vsock_conn_kill(conn); /* nothing but a hang-up is reported here */
    } else {
        conn->readable |= !!(events & (PV_LOOP_READ | PV_LOOP_HUP));
        if (events & PV_LOOP_WRITE)
            write_output(conn);
        if (events & PV_LOOP_HUP) {
            conn->hung_up = true;
            went_deaf(conn);
        }
        pv_vsock_conn_settle(conn);
    }
    pv_vsock_pump(vsock);
    pv_virtio_unlock(&vsock->base);
}

/* ---- Packets from the guest ---- */

static void data(struct pv_vsock_conn *conn, const struct pv_virtq_chain *chain, size_t len)
{
    struct iovec iov[IOVECS];
    size_t at = sizeof(struct pv_vsock_header), end = at + len;
    conn->received += (uint32_t)len;
    while (at < end && !output_left(conn) && !conn->host_deaf) {
        unsigned count = pv_virtq_slice(iov, IOVECS, chain->iov, chain->out_count, at, end - at);
        size_t want = 0, sent = send_some(conn, iov, count);
        for (unsigned i = 0; i < count; i++)
            want += iov[i].iov_len;
        at += sent;
        if (sent < want)
            break;
    }
    if (conn->host_deaf) {
        forwarded(conn, end - at);
        return;
    }
    if (at < end) {
        pv_buffer_consume(&conn->output, conn->output_at);
        conn->output_at = 0;
    }
    while (at < end) {
        unsigned count = pv_virtq_slice(iov, 1, chain->iov, chain->out_count, at, end - at);
        if (!count || pv_buffer_append(&conn->output, iov[0].iov_base, iov[0].iov_len) < 0) {
            pv_vsock_conn_kill(conn);
            return;
        }
        at += iov[0].iov_len;
    }
}

static void accepted(struct pv_vsock_conn *conn)
{
    if (conn->state != PV_VSOCK_ASKED || !pv_vsock_welcome(conn)) {
        pv_vsock_conn_kill(conn);
        return;
    }
    conn->state = PV_VSOCK_OPEN;
    conn->readable = true;
}

/* Those that an open connection may get. */
static void open_packet(struct pv_vsock_conn *conn, const struct pv_vsock_header *header,
                        const struct pv_virtq_chain *chain)
{
    uint32_t held = conn->received - conn->forwarded;
    switch (header->op) {
    case PV_VSOCK_RW:
        if (header->len > PV_VSOCK_BUFFER - held || (conn->guest_flags & PV_VSOCK_NO_SEND))
            pv_vsock_conn_kill(conn);
        else
            data(conn, chain, header->len);
        break;
    case PV_VSOCK_SHUTDOWN:
        conn->guest_flags |= header->flags & PV_VSOCK_NEITHER;
        write_output(conn);
        break;
    case PV_VSOCK_CREDIT_REQUEST: conn->pending |= 1u << PV_VSOCK_CREDIT_UPDATE; break;
    case PV_VSOCK_CREDIT_UPDATE: break;
    default: pv_vsock_conn_kill(conn); break;
    }
}

void pv_vsock_conn_packet(struct pv_vsock_conn *conn, const struct pv_vsock_header *header,
                          const struct pv_virtq_chain *chain)
{
    if (header->op == PV_VSOCK_RST) {
        pv_vsock_conn_free(conn);
        return;
    }
    if (conn->state == PV_VSOCK_DEAD)
        return;
    conn->guest_alloc = header->buf_alloc;
    conn->guest_forwarded = header->fwd_cnt;
    conn->asked_credit &= !guest_room(conn);
    if (conn->state == PV_VSOCK_OPEN)
        open_packet(conn, header, chain);
    else if (header->op == PV_VSOCK_RESPONSE)
        accepted(conn);
    else
        pv_vsock_conn_kill(conn);
    pv_vsock_conn_settle(conn);
}

/* ---- Packets to the guest ---- */

/* Reads from the host socket into the guest's buffer; how much. */
static size_t read_some(struct pv_vsock_conn *conn, const struct pv_virtq_chain *chain)
{
    struct iovec iov[IOVECS];
    size_t room = PV_MIN(chain->in_bytes - sizeof(struct pv_vsock_header), (size_t)PACKET_MAX);
    unsigned count =
        pv_virtq_slice(iov, IOVECS, chain->iov + chain->out_count, chain->in_count,
                       sizeof(struct pv_vsock_header), PV_MIN(room, (size_t)guest_room(conn)));
    ssize_t n = readv(conn->fd, iov, (int)count);
    if (n > 0)
        return (size_t)n;
    if (n < 0 && errno == EINTR)
        return 0;
    conn->readable = false;
    if (n == 0 || errno != EAGAIN) {
        conn->host_eof = true;
        conn->pending |= 1u << PV_VSOCK_SHUTDOWN;
    }
    return 0;
}

/* The operation to send next, with what belongs to it; 0 for none. */
static unsigned next_op(struct pv_vsock_conn *conn, const struct pv_virtq_chain *chain,
                        struct pv_vsock_header *header)
{
    static const uint8_t first[] = {PV_VSOCK_RST, PV_VSOCK_REQUEST, PV_VSOCK_RESPONSE,
                                    PV_VSOCK_CREDIT_REQUEST};
    for (size_t i = 0; i < PV_ARRAY_SIZE(first); i++)
        if (conn->pending & 1u << first[i])
            return first[i];
    if (conn->readable && may_read(conn) && guest_room(conn)) {
        header->len = (uint32_t)read_some(conn, chain);
        if (header->len)
            return PV_VSOCK_RW;
    }
    if (conn->pending & 1u << PV_VSOCK_SHUTDOWN) {
        header->flags =
            (conn->host_eof ? PV_VSOCK_NO_SEND : 0) | (conn->host_deaf ? PV_VSOCK_NO_RECEIVE : 0);
        return PV_VSOCK_SHUTDOWN;
    }
    return conn->pending & 1u << PV_VSOCK_CREDIT_UPDATE ? PV_VSOCK_CREDIT_UPDATE : 0;
}

size_t pv_vsock_conn_fill(struct pv_vsock_conn *conn, const struct pv_virtq_chain *chain,
                          bool *more)
{
    struct pv_vsock_header header = {
        .src_cid = PV_VSOCK_HOST_CID,
        .dst_cid = conn->vsock->cid,
        .src_port = conn->host_port,
        .dst_port = conn->guest_port,
        .type = PV_VSOCK_STREAM,
        .buf_alloc = PV_VSOCK_BUFFER,
        .fwd_cnt = conn->forwarded,
    };
    header.op = (uint16_t)next_op(conn, chain, &header);
    *more = true;
    if (!header.op)
        return 0;
    /* Every packet tells of our credit. */
    conn->pending &= ~(1u << header.op | 1u << PV_VSOCK_CREDIT_UPDATE);
    conn->advertised = conn->forwarded;
    conn->sent += header.len;
    pv_virtq_write(chain, 0, &header, sizeof(header));
    if (header.op == PV_VSOCK_RST) {
        pv_vsock_conn_free(conn);
        *more = false;
    }
    return sizeof(header) + header.len;
}
