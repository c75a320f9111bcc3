/* SPDX-License-Identifier: MIT */
/*
 * The device: packets out of the transmit queue, packets into the receive queue.
 *
 * Nothing here grows with what a guest does. A connection has its packets for the guest not as a
 * list but as what is true of it (bits of operations to send, bytes waiting in its host socket),
 * and stands at most once in the queue of those who have any; they take turns, a packet each.
 * Payload is read from the host socket into the guest's buffer and written to it from there,
 * without a copy between. Refusals of packets that belong to no connection have a small ring of
 * their own; while that is full the transmit queue is left alone, as 5.10.6.2 asks for.
 */
#include "device/vsock.h"

#include "base/error.h"
#include "base/log.h"
#include "base/record.h"
#include "base/util.h"
#include "device/vsock_impl.h"
#include "host/loop.h"

#include <errno.h>
#include <string.h>

#define QUEUE_SIZE 256u
enum { RECEIVE_QUEUE, TRANSMIT_QUEUE, EVENT_QUEUE, QUEUE_COUNT };

static struct pv_vsock *of(struct pv_virtio_device *dev)
{
    return (struct pv_vsock *)dev;
}

static void config_read(struct pv_virtio_device *dev, size_t offset, void *buf, size_t size)
{
    memcpy(buf, (const char *)&of(dev)->cid + offset, size);
}

/* ---- To the guest ---- */

static size_t fill_refusal(struct pv_vsock *vsock, const struct pv_virtq_chain *chain)
{
    const struct pv_vsock_refusal *refusal = &vsock->refusals[vsock->refusal_first];
    const struct pv_vsock_header header = {
        .src_cid = PV_VSOCK_HOST_CID,
        .dst_cid = vsock->cid,
        .src_port = refusal->host_port,
        .dst_port = refusal->guest_port,
        .type = refusal->type,
        .op = PV_VSOCK_RST,
    };
    vsock->refusal_first = (vsock->refusal_first + 1) % PV_VSOCK_MAX_REFUSALS;
    vsock->refusal_count--;
    return pv_virtq_write(chain, 0, &header, sizeof(header));
}

static struct pv_vsock_conn *take_ready(struct pv_vsock *vsock)
{
    struct pv_vsock_conn *conn = vsock->ready_first;
    vsock->ready_first = conn->ready_next;
    if (!vsock->ready_first)
        vsock->ready_last = NULL;
    conn->ready = false;
    return conn;
}

/* Makes sure of a buffer in `spare` that has room for a header. */
static bool have_buffer(struct pv_vsock *vsock, struct pv_virtq *queue)
{
    if (!vsock->spare.iov && pv_virtq_pop(queue, &vsock->spare) != 1)
        return false;
    if (vsock->spare.in_bytes > sizeof(struct pv_vsock_header))
        return true;
    pv_virtio_fail(&vsock->base, "a receive buffer of %zu bytes", vsock->spare.in_bytes);
    pv_virtq_chain_finish(&vsock->spare);
    return false;
}

void pv_vsock_pump(struct pv_vsock *vsock)
{
    struct pv_virtq *queue = pv_virtio_queue(&vsock->base, RECEIVE_QUEUE);
    unsigned budget = PV_VIRTQ_BUDGET;
    while ((vsock->refusal_count || vsock->ready_first) && budget && have_buffer(vsock, queue)) {
        size_t written;
        if (vsock->refusal_count) {
            written = fill_refusal(vsock, &vsock->spare);
        } else {
            struct pv_vsock_conn *conn = take_ready(vsock);
            bool more;
            written = pv_vsock_conn_fill(conn, &vsock->spare, &more);
            if (more)
                pv_vsock_conn_settle(conn);
        }
        if (written)
            pv_virtq_push(queue, &vsock->spare, written);
        budget--;
    }
    pv_virtq_notify(queue);
    if (!budget)
        pv_virtq_reschedule(queue);
    if (vsock->transmit_waits && vsock->refusal_count < PV_VSOCK_MAX_REFUSALS) {
        vsock->transmit_waits = false;
        pv_virtq_reschedule(pv_virtio_queue(&vsock->base, TRANSMIT_QUEUE));
    }
}

/* ---- From the guest ---- */

static void refuse(struct pv_vsock *vsock, const struct pv_vsock_header *header)
{
    unsigned at = (vsock->refusal_first + vsock->refusal_count++) % PV_VSOCK_MAX_REFUSALS;
    vsock->refusals[at] = (struct pv_vsock_refusal){
        .host_port = header->dst_port,
        .guest_port = header->src_port,
        .type = header->type,
    };
}

/* The guest wants to be connected to a port of the host's. */
static void request(struct pv_vsock *vsock, const struct pv_vsock_header *header)
{
    int fd = pv_vsock_connect(vsock, header->dst_port);
    struct pv_vsock_conn *conn = fd >= 0 ? pv_vsock_conn_new(vsock, fd, PV_VSOCK_OPEN) : NULL;
    if (!conn) {
        pv_debug(PV_LOG_VIRTIO, "vsock: nobody at port %u: %s", header->dst_port,
                 strerror(fd < 0 ? -fd : EMFILE));
        refuse(vsock, header);
        return;
    }
    pv_vsock_conn_name(conn, header->dst_port, header->src_port);
    conn->guest_alloc = header->buf_alloc;
    conn->guest_forwarded = header->fwd_cnt;
    conn->pending = 1u << PV_VSOCK_RESPONSE;
    pv_vsock_conn_settle(conn);
}

static void packet(struct pv_vsock *vsock, const struct pv_vsock_header *header,
                   const struct pv_virtq_chain *chain)
{
    if (header->src_cid != vsock->cid)
        return; /* not the guest's to send: 5.10.6.2 has it dropped */
    bool ours = header->dst_cid == PV_VSOCK_HOST_CID && header->type == PV_VSOCK_STREAM;
    struct pv_vsock_conn *conn =
        ours ? pv_vsock_conn_find(vsock, header->dst_port, header->src_port) : NULL;
    if (conn)
        pv_vsock_conn_packet(conn, header, chain);
    else if (ours && header->op == PV_VSOCK_REQUEST)
        request(vsock, header);
    else if (header->op != PV_VSOCK_RST)
        refuse(vsock, header);
}

static void transmit(struct pv_vsock *vsock, struct pv_virtq *queue)
{
    struct pv_virtq_chain chain;
    unsigned budget = PV_VIRTQ_BUDGET;
    while (budget) {
        vsock->transmit_waits = vsock->refusal_count == PV_VSOCK_MAX_REFUSALS;
        if (vsock->transmit_waits || pv_virtq_pop(queue, &chain) != 1)
            break;
        struct pv_vsock_header header;
        if (pv_virtq_read(&chain, 0, &header, sizeof(header)) < sizeof(header) ||
            header.len > chain.out_bytes - sizeof(header)) {
            pv_virtio_fail(&vsock->base, "a packet of %zu bytes without all it says to have",
                           chain.out_bytes);
            pv_virtq_chain_finish(&chain);
            break;
        }
        packet(vsock, &header, &chain);
        pv_virtq_push(queue, &chain, 0);
        budget--;
    }
    pv_virtq_notify(queue);
    if (!budget)
        pv_virtq_reschedule(queue);
    pv_vsock_pump(vsock);
}

/* 5.10.6.6: all connections are gone, and the guest's address is to be read again. */
static void tell_of_restore(struct pv_vsock *vsock, struct pv_virtq *queue)
{
    const uint32_t transport_reset = 0;
    struct pv_virtq_chain chain;
    if (!vsock->restored || pv_virtq_pop(queue, &chain) != 1)
        return;
    pv_virtq_push(queue, &chain,
                  pv_virtq_write(&chain, 0, &transport_reset, sizeof(transport_reset)));
    pv_virtq_notify(queue);
    vsock->restored = false;
}

static void queue_ready(struct pv_virtio_device *dev, unsigned index)
{
    struct pv_vsock *vsock = of(dev);
    pv_vsock_reap(vsock);
    if (index == EVENT_QUEUE)
        tell_of_restore(vsock, pv_virtio_queue(dev, index));
    if (index == TRANSMIT_QUEUE)
        transmit(vsock, pv_virtio_queue(dev, index));
    else if (index == RECEIVE_QUEUE)
        pv_vsock_pump(vsock);
}

/* ---- Life ---- */

/* Connections have their other ends outside, and are not there after a restore. */
static void record(struct pv_virtio_device *dev, struct pv_record *record)
{
    struct pv_vsock *vsock = of(dev);
    pv_record_u32(record, &vsock->next_port);
    if (pv_record_loading(record))
        vsock->restored = true;
}

static void reap(void *opaque)
{
    struct pv_vsock *vsock = opaque;
    pv_virtio_lock(&vsock->base);
    pv_vsock_reap(vsock);
    pv_virtio_unlock(&vsock->base);
}

static void queue_reset(struct pv_virtio_device *dev, unsigned index)
{
    if (index == RECEIVE_QUEUE)
        pv_virtq_chain_finish(&of(dev)->spare);
}

/* Watches are the loop's thread's to end, so connections wait for it with a void epoch. */
static void reset(struct pv_virtio_device *dev)
{
    struct pv_vsock *vsock = of(dev);
    vsock->epoch++;
    vsock->refusal_count = 0;
    vsock->transmit_waits = false;
    vsock->restored = false;
    pv_virtq_chain_finish(&vsock->spare);
    pv_event_signal(vsock->reaper);
}

static void release(struct pv_vsock *vsock)
{
    pv_event_destroy(vsock->reaper);
    pv_vsock_conns_finish(vsock);
    pv_vsock_unlisten(vsock);
    free(vsock);
}

static void destroy(struct pv_virtio_device *dev)
{
    release(of(dev));
}

static const struct pv_virtio_device_ops vsock_ops = {
    .name = "vsock",
    .id = PV_VIRTIO_ID_VSOCK,
    .config_size = sizeof(uint64_t),
    .config_read = config_read,
    .reset = reset,
    .queue_reset = queue_reset,
    .queue_ready = queue_ready,
    .record = record,
    .destroy = destroy,
};

int pv_vsock_create(struct pv_virtio_device **out, struct pv_loop *loop,
                    struct pv_address_space *as, uint32_t cid, const char *directory,
                    struct pv_error **err)
{
    struct pv_vsock *vsock = calloc(1, sizeof(*vsock));
    if (!vsock)
        return pv_error_set(err, ENOMEM, "vsock: out of memory");
    vsock->listener = -1;
    vsock->cid = cid;
    vsock->next_port = UINT32_C(1) << 30;
    int ret = pv_event_create(&vsock->reaper, loop, reap, vsock, err);
    if (!ret)
        ret = pv_virtio_device_init(&vsock->base, &vsock_ops, loop, as, 0, QUEUE_COUNT, QUEUE_SIZE,
                                    err);
    if (ret < 0) {
        release(vsock);
        return ret;
    }
    ret = pv_vsock_listen(vsock, directory, err);
    if (ret < 0) {
        pv_virtio_device_finish(&vsock->base);
        release(vsock);
        return ret;
    }
    *out = &vsock->base;
    return 0;
}
