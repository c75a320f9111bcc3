/* SPDX-License-Identifier: MIT */
/*
 * No offloads are offered, so every frame is one packet as it would be on a wire, and the header
 * before it (5.1.6) says nothing but, on the way to the guest, over how many buffers the frame was
 * spread.
 */
#include "device/net.h"

#include "base/error.h"
#include "base/util.h"
#include "net/netdev.h"
#include "virtio/device_impl.h"

#include <errno.h>
#include <string.h>

#define F_MAC       5u
#define F_MRG_RXBUF 15u
#define F_STATUS    16u

#define STATUS_LINK_UP 1u

#define ETH_HEADER 14u
#define QUEUE_SIZE 256u
enum { RECEIVE_QUEUE, TRANSMIT_QUEUE, QUEUE_COUNT };

/* Buffers that one frame may be spread over: 64 KiB in single pages, and some. */
#define MAX_BUFFERS 32u

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

struct net_config {
    uint8_t mac[6];
    uint16_t status;
};

struct net {
    struct pv_virtio_device base;
    struct pv_netdev *netdev;
    struct net_config config;
    /* Receive buffers taken for a frame that needed more than there were; used first. */
    struct pv_virtq_chain held[MAX_BUFFERS];
    unsigned held_count;
    bool starved; /* receive() said no */
};

static void config_read(struct pv_virtio_device *dev, size_t offset, void *buf, size_t size)
{
    const struct net *net = (const struct net *)dev;
    memcpy(buf, (const char *)&net->config + offset, size);
}

/* ---- Host to guest ---- */

static size_t held_bytes(const struct net *net, unsigned count)
{
    size_t bytes = 0;
    for (unsigned i = 0; i < count; i++)
        bytes += net->held[i].in_bytes;
    return bytes;
}

enum gathered { ENOUGH, TOO_FEW, NEVER };

/* Gathers buffers for `len` bytes at the front of `held`. */
static enum gathered gather(struct net *net, struct pv_virtq *queue, size_t len, unsigned *count)
{
    unsigned max = pv_virtio_has_feature(&net->base, F_MRG_RXBUF) ? MAX_BUFFERS : 1;
    for (unsigned n = 1; n <= max; n++) {
        if (n > net->held_count) {
            if (pv_virtq_pop(queue, &net->held[net->held_count]) != 1)
                return TOO_FEW;
            net->held_count++;
        }
        if (held_bytes(net, n) >= len) {
            *count = n;
            return ENOUGH;
        }
    }
    return NEVER;
}

/* Spreads header and frame over the first `count` held buffers and returns them to the driver. */
static void fill(struct net *net, struct pv_virtq *queue, unsigned count, const void *frame,
                 size_t len)
{
    const struct net_header header = {.buffers = (uint16_t)count};
    size_t written[MAX_BUFFERS], header_done = 0, done = 0;
    for (unsigned i = 0; i < count; i++) {
        const struct pv_virtq_chain *chain = &net->held[i];
        size_t h = pv_virtq_write(chain, 0, (const char *)&header + header_done,
                                  sizeof(header) - header_done);
        header_done += h;
        size_t f = pv_virtq_write(chain, h, (const char *)frame + done, len - done);
        done += f;
        written[i] = h + f;
    }
    pv_virtq_push_batch(queue, net->held, written, count);
    net->held_count -= count;
    memmove(net->held, net->held + count, net->held_count * sizeof(net->held[0]));
}

static bool receive(void *opaque, const void *frame, size_t len)
{
    struct net *net = opaque;
    struct pv_virtq *queue = pv_virtio_queue(&net->base, RECEIVE_QUEUE);
    if (len < ETH_HEADER || len > PV_ETH_FRAME_MAX)
        return true;
    pv_virtio_lock(&net->base);
    unsigned count = 0;
    enum gathered gathered = gather(net, queue, sizeof(struct net_header) + len, &count);
    if (gathered == ENOUGH) {
        fill(net, queue, count, frame, len);
        pv_virtq_notify(queue);
    }
    /* Without a driver there is nobody to wait for: the wire is not plugged in. */
    bool waits = gathered == TOO_FEW && pv_virtq_running(queue);
    net->starved |= waits;
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

static void transmit(struct net *net, struct pv_virtq *queue)
{
    struct pv_virtq_chain chain;
    unsigned budget = PV_VIRTQ_BUDGET;
    while (budget && pv_virtq_pop(queue, &chain) == 1) {
        size_t len = strip_header(&chain);
        if (len >= ETH_HEADER && len <= PV_ETH_FRAME_MAX)
            net->netdev->ops->send(net->netdev, chain.iov, chain.out_count, len);
        pv_virtq_push(queue, &chain, 0);
        budget--;
    }
    pv_virtq_notify(queue);
    if (!budget)
        pv_virtq_reschedule(queue);
}

static void queue_ready(struct pv_virtio_device *dev, unsigned index)
{
    struct net *net = (struct net *)dev;
    if (index == TRANSMIT_QUEUE) {
        transmit(net, pv_virtio_queue(dev, index));
    } else if (net->starved) {
        net->starved = false;
        if (net->netdev->ops->can_receive)
            net->netdev->ops->can_receive(net->netdev);
    }
}

static void reset(struct pv_virtio_device *dev)
{
    struct net *net = (struct net *)dev;
    for (unsigned i = 0; i < net->held_count; i++)
        pv_virtq_chain_finish(&net->held[i]);
    net->held_count = 0;
}

static void destroy(struct pv_virtio_device *dev)
{
    struct net *net = (struct net *)dev;
    pv_netdev_destroy(net->netdev);
    free(net);
}

static const struct pv_virtio_device_ops net_ops = {
    .name = "net",
    .id = PV_VIRTIO_ID_NET,
    .config_size = sizeof(struct net_config),
    .config_read = config_read,
    .reset = reset,
    .queue_ready = queue_ready,
    .destroy = destroy,
};

int pv_net_create(struct pv_virtio_device **out, struct pv_loop *loop, struct pv_address_space *as,
                  struct pv_netdev *netdev, const uint8_t mac[6], struct pv_error **err)
{
    const uint64_t features =
        UINT64_C(1) << F_MAC | UINT64_C(1) << F_MRG_RXBUF | UINT64_C(1) << F_STATUS;
    int ret = pv_virtio_device_create(out, sizeof(struct net), &net_ops, loop, as, features,
                                      QUEUE_COUNT, QUEUE_SIZE, err);
    if (ret < 0)
        return ret;
    struct net *net = (struct net *)*out;
    memcpy(net->config.mac, mac, sizeof(net->config.mac));
    net->config.status = STATUS_LINK_UP;
    net->netdev = netdev;
    netdev->client = (struct pv_netdev_client){.receive = receive, .opaque = net};
    return 0;
}
