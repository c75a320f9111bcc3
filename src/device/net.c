/* SPDX-License-Identifier: MIT */
/*
 * No offloads are offered, so every frame is one packet as it would be on a wire, and the header
 * before it (5.1.6) says nothing but, on the way to the guest, over how many buffers the frame was
 * spread.
 *
 * With several queue pairs a frame for the guest goes to the pair on which the guest last sent one
 * of the same flow (automatic receive steering, 5.1.6.5.5), so that one vCPU handles both ways. A
 * flow is known by a hash of its two ends in which their order does not matter.
 */
#include "device/net.h"

#include "base/error.h"
#include "base/record.h"
#include "base/util.h"
#include "device/net_impl.h"

#include <errno.h>
#include <string.h>

#define ETH_HEADER 14u
#define QUEUE_SIZE 256u

struct net_header {
    uint8_t flags;
    uint8_t gso_type;
    uint16_t header_len;
    uint16_t gso_size;
    uint16_t checksum_start;
    uint16_t checksum_offset;
    uint16_t buffers;
};
_Static_assert(sizeof(struct net_header) == 12, "5.1.6");

static void config_read(struct pv_virtio_device *dev, size_t offset, void *buf, size_t size)
{
    const struct pv_net *net = (const struct pv_net *)dev;
    memcpy(buf, (const char *)&net->config + offset, size);
}

/* ---- Flows ---- */

/* So much of a frame tells its flow: Ethernet, the longest IP header without options, ports. */
#define FLOW_BYTES (ETH_HEADER + 40u + 4u)

static uint32_t mix(uint32_t hash, const uint8_t *a, const uint8_t *b, size_t len)
{
    for (size_t i = 0; i < len; i++)
        hash = hash * 31 + (uint32_t)(a[i] ^ b[i]);
    return hash;
}

/* Both ends' addresses, and for TCP and UDP without IP options and fragments their ports. */
static unsigned flow_of(const uint8_t *frame, size_t len)
{
    const uint8_t *ip = frame + ETH_HEADER;
    uint32_t hash = 0;
    unsigned type = len > ETH_HEADER ? (unsigned)(frame[12] << 8 | frame[13]) : 0;
    unsigned header = type == 0x0800 ? 20 : type == 0x86dd ? 40 : 0;
    if (!header || len < ETH_HEADER + header + 4)
        return mix(0, frame, frame + 6, 6) % PV_NET_FLOWS;
    unsigned protocol = header == 20 ? ip[9] : ip[6];
    hash = header == 20 ? mix(protocol, ip + 12, ip + 16, 4) : mix(protocol, ip + 8, ip + 24, 16);
    bool whole = header == 40 || (ip[0] == 0x45 && !(ip[6] & 0x3f) && !ip[7]);
    if (whole && (protocol == 6 || protocol == 17))
        hash = mix(hash, ip + header, ip + header + 2, 2);
    return (hash ^ hash >> 8 ^ hash >> 16) % PV_NET_FLOWS;
}

/* ---- Host to guest ---- */

static size_t held_bytes(const struct pv_net_receiver *receiver, unsigned count)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < count; i++)
        bytes += receiver->held[i].in_bytes;
    return bytes;
}

enum gathered { ENOUGH, TOO_FEW, NEVER };

/* Gathers buffers for `len` bytes at the front of `held`. */
static enum gathered gather(struct pv_net_receiver *receiver, struct pv_virtq *queue, unsigned max,
                            size_t len, unsigned *count)
{
    for (unsigned n = 1; n <= max; n++) {
        if (n > receiver->held_count) {
            if (pv_virtq_pop(queue, &receiver->held[receiver->held_count]) != 1)
                return TOO_FEW;
            receiver->held_count++;
        }
        if (held_bytes(receiver, n) >= len) {
            *count = n;
            return ENOUGH;
        }
    }
    return NEVER;
}

/* Spreads header and frame over the first `count` held buffers and returns them to the driver. */
static void fill(struct pv_net_receiver *receiver, struct pv_virtq *queue, unsigned count,
                 const void *frame, size_t len)
{
    const struct net_header header = {.buffers = (uint16_t)count};
    size_t written[PV_NET_MAX_BUFFERS], header_done = 0, done = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct pv_virtq_chain *chain = &receiver->held[i];
        size_t h = pv_virtq_write(chain, 0, (const char *)&header + header_done,
                                  sizeof(header) - header_done);
        header_done += h;
        size_t f = pv_virtq_write(chain, h, (const char *)frame + done, len - done);
        done += f;
        written[i] = h + f;
    }
    pv_virtq_push_batch(queue, receiver->held, written, count);
    receiver->held_count -= count;
    memmove(receiver->held, receiver->held + count,
            receiver->held_count * sizeof(receiver->held[0]));
}

static bool receive(void *opaque, const void *frame, size_t len)
{
    struct pv_net *net = opaque;
    if (len < ETH_HEADER || len > PV_ETH_FRAME_MAX)
        return true;
    pv_virtio_lock(&net->base);
    bool waits = false;
    if (pv_net_wanted(net, frame)) {
        unsigned pair = net->active_pairs > 1 ? net->flows[flow_of(frame, len)] : 0, count = 0;
        pair = pair < net->active_pairs ? pair : 0;
        struct pv_net_receiver *receiver = &net->receivers[pair];
        struct pv_virtq *queue = pv_virtio_queue(&net->base, 2 * pair);
        bool mergeable = pv_virtio_has_feature(&net->base, PV_NET_F_MRG_RXBUF);
        enum gathered gathered = gather(receiver, queue, mergeable ? PV_NET_MAX_BUFFERS : 1,
                                        sizeof(struct net_header) + len, &count);
        if (gathered == ENOUGH) {
            fill(receiver, queue, count, frame, len);
            pv_virtq_notify(queue);
        }
        /* Without a driver there is nobody to wait for: the wire is not plugged in. */
        waits = gathered == TOO_FEW && pv_virtq_running(queue);
        receiver->starved |= waits;
    }
    pv_virtio_unlock(&net->base);
    return !waits;
}

/* ---- Guest to host ---- */

/* Makes the chain's readable part begin behind the header; returns what is left of it. */
static size_t strip_header(struct pv_virtq_chain *chain)
{
    size_t left = sizeof(struct net_header);
    for (unsigned i = 0; i < chain->out_count && left; i++) {
        size_t part = PV_MIN(left, chain->iov[i].iov_len);
        chain->iov[i].iov_base = (char *)chain->iov[i].iov_base + part;
        chain->iov[i].iov_len -= part;
        left -= part;
    }
    return chain->out_bytes - (sizeof(struct net_header) - left);
}

static void remember_flow(struct pv_net *net, const struct pv_virtq_chain *chain, unsigned pair)
{
    uint8_t head[FLOW_BYTES];
    size_t len = pv_virtq_read(chain, 0, head, sizeof(head));
    net->flows[flow_of(head, len)] = (uint8_t)pair;
}

static void transmit(struct pv_net *net, struct pv_virtq *queue, unsigned pair)
{
    struct pv_virtq_chain chain;
    unsigned budget = PV_VIRTQ_BUDGET;
    while (budget && pv_virtq_pop(queue, &chain) == 1) {
        size_t len = strip_header(&chain);
        if (len >= ETH_HEADER && len <= PV_ETH_FRAME_MAX) {
            if (net->active_pairs > 1)
                remember_flow(net, &chain, pair);
            net->netdev->ops->send(net->netdev, chain.iov, chain.out_count, len);
        }
        pv_virtq_push(queue, &chain, 0);
        budget--;
    }
    pv_virtq_notify(queue);
    if (!budget)
        pv_virtq_reschedule(queue);
}

/* ---- Queues: receive and transmit by turns, and behind all pairs the control queue (5.1.2) ----
 */

static void queue_ready(struct pv_virtio_device *dev, unsigned index)
{
    struct pv_net *net = (struct pv_net *)dev;
    struct pv_virtq *queue = pv_virtio_queue(dev, index);
    unsigned pairs = pv_virtio_has_feature(dev, PV_NET_F_MQ) ? net->config.max_pairs : 1;
    if (index >= 2 * pairs) {
        if (index == 2 * pairs && pv_virtio_has_feature(dev, PV_NET_F_CTRL_VQ))
            pv_net_control(net, queue);
    } else if (index % 2) {
        transmit(net, queue, index / 2);
    } else if (net->receivers[index / 2].starved) {
        net->receivers[index / 2].starved = false;
        if (net->netdev->ops->can_receive)
            net->netdev->ops->can_receive(net->netdev);
    }
}

static void drop_held(struct pv_net_receiver *receiver)
{
    for (unsigned i = 0; i < receiver->held_count; i++)
        pv_virtq_chain_finish(&receiver->held[i]);
    receiver->held_count = 0;
}

static void queue_reset(struct pv_virtio_device *dev, unsigned index)
{
    struct pv_net *net = (struct pv_net *)dev;
    if (index % 2 == 0 && index / 2 < net->config.max_pairs)
        drop_held(&net->receivers[index / 2]);
}

static void reset(struct pv_virtio_device *dev)
{
    struct pv_net *net = (struct pv_net *)dev;
    for (unsigned i = 0; i < net->config.max_pairs; i++)
        drop_held(&net->receivers[i]);
    memset(net->flows, 0, sizeof(net->flows));
    pv_net_control_reset(net);
}

static void record_filter(struct pv_record *record, struct pv_net_filter *filter)
{
    pv_record_limited(record, &filter->count, PV_NET_MAX_FILTERS);
    pv_record_bytes(record, filter->macs, sizeof(filter->macs));
    pv_record_bool(record, &filter->overflow);
}

/* Which flows belong to which queue is learned again. */
static void record(struct pv_virtio_device *dev, struct pv_record *record)
{
    struct pv_net *net = (struct pv_net *)dev;
    struct pv_net_receive_mode *mode = &net->mode;
    bool *const flags[] = {&mode->promiscuous,  &mode->all_multicast, &mode->all_unicast,
                           &mode->no_multicast, &mode->no_unicast,    &mode->no_broadcast};

    pv_record_same(record, net->config.max_pairs, "the number of queue pairs");
    pv_record_bytes(record, net->config.mac, sizeof(net->config.mac));
    pv_record_u16(record, &net->config.status);
    for (unsigned i = 0; i < PV_ARRAY_SIZE(flags); i++)
        pv_record_bool(record, flags[i]);
    record_filter(record, &mode->unicast);
    record_filter(record, &mode->multicast);
    pv_record_limited(record, &net->active_pairs, net->config.max_pairs);
    if (!net->active_pairs)
        pv_record_fail(record, EINVAL, "no queue pair is active");
}

static void destroy(struct pv_virtio_device *dev)
{
    struct pv_net *net = (struct pv_net *)dev;
    pv_netdev_destroy(net->netdev);
    free(net);
}

static const struct pv_virtio_device_ops net_ops = {
    .name = "net",
    .id = PV_VIRTIO_ID_NET,
    .config_size = sizeof(struct pv_net_config),
    .config_read = config_read,
    .reset = reset,
    .queue_reset = queue_reset,
    .queue_ready = queue_ready,
    .record = record,
    .destroy = destroy,
};

int pv_net_create(struct pv_virtio_device **out, struct pv_loop *loop, struct pv_address_space *as,
                  struct pv_netdev *netdev, const uint8_t mac[6], unsigned pairs,
                  struct pv_error **err)
{
    const size_t size = sizeof(struct pv_net) + pairs * sizeof(((struct pv_net *)0)->receivers[0]);
    uint64_t features = UINT64_C(1) << PV_NET_F_MAC | UINT64_C(1) << PV_NET_F_MRG_RXBUF |
                        UINT64_C(1) << PV_NET_F_STATUS | UINT64_C(1) << PV_NET_F_CTRL_VQ |
                        UINT64_C(1) << PV_NET_F_CTRL_RX | UINT64_C(1) << PV_NET_F_CTRL_RX_EXTRA |
                        UINT64_C(1) << PV_NET_F_GUEST_ANNOUNCE |
                        UINT64_C(1) << PV_NET_F_CTRL_MAC_ADDR;
    if (pairs > 1)
        features |= UINT64_C(1) << PV_NET_F_MQ;
    int ret = pv_virtio_device_create(out, size, &net_ops, loop, as, features, 2 * pairs + 1,
                                      QUEUE_SIZE, err);
    if (ret < 0)
        return ret;
    struct pv_net *net = (struct pv_net *)*out;
    memcpy(net->mac, mac, sizeof(net->mac));
    net->config.max_pairs = (uint16_t)pairs;
    pv_net_control_reset(net);
    net->netdev = netdev;
    netdev->client = (struct pv_netdev_client){.receive = receive, .opaque = net};
    return 0;
}
