/* SPDX-License-Identifier: MIT */
/*
 * The card's control queue (5.1.6.5): which frames the guest wants, its address, how many queue
 * pairs it uses. Each command is a class, a number and data, answered with one byte. Until the
 * driver says what it wants to receive, that is everything.
 */
#include "base/util.h"
#include "device/net.h"
#include "device/net_impl.h"

#include <string.h>

enum { CLASS_RX = 0, CLASS_MAC = 1, CLASS_ANNOUNCE = 3, CLASS_MQ = 4 };
enum { RX_PROMISC, RX_ALLMULTI, RX_ALLUNI, RX_NOMULTI, RX_NOUNI, RX_NOBCAST };
enum { MAC_TABLE_SET, MAC_ADDR_SET };
enum { ANNOUNCE_ACK };
enum { MQ_PAIRS_SET };
enum { ACK_OK, ACK_ERROR };

struct control_header {
    uint8_t class, command;
};

void pv_net_control_reset(struct pv_net *net)
{
    net->mode = (struct pv_net_receive_mode){.promiscuous = true};
    net->active_pairs = 1;
    net->config.status = PV_NET_STATUS_LINK_UP;
    memcpy(net->config.mac, net->mac, sizeof(net->mac));
}

/* ---- What is received ---- */

static bool filter_has(const struct pv_net_filter *filter, const uint8_t mac[6])
{
    for (unsigned i = 0; i < filter->count; i++)
        if (!memcmp(filter->macs[i], mac, 6))
            return true;
    return filter->overflow;
}

bool pv_net_wanted(const struct pv_net *net, const uint8_t mac[6])
{
    static const uint8_t broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    const struct pv_net_receive_mode *mode = &net->mode;
    if (mode->promiscuous)
        return true;
    if (!memcmp(mac, broadcast, sizeof(broadcast)))
        return !mode->no_broadcast;
    if (mac[0] & 1)
        return !mode->no_multicast && (mode->all_multicast || filter_has(&mode->multicast, mac));
    return !mode->no_unicast && (mode->all_unicast || !memcmp(mac, net->config.mac, 6) ||
                                 filter_has(&mode->unicast, mac));
}

/* ---- Commands. Each returns whether it was one. ---- */

static bool set_rx_mode(struct pv_net *net, unsigned command, const struct pv_virtq_chain *chain)
{
    uint8_t on;
    bool *const modes[] = {
        [RX_PROMISC] = &net->mode.promiscuous, [RX_ALLMULTI] = &net->mode.all_multicast,
        [RX_ALLUNI] = &net->mode.all_unicast,  [RX_NOMULTI] = &net->mode.no_multicast,
        [RX_NOUNI] = &net->mode.no_unicast,    [RX_NOBCAST] = &net->mode.no_broadcast,
    };
    bool extra = pv_virtio_has_feature(&net->base, PV_NET_F_CTRL_RX_EXTRA);
    if (!pv_virtio_has_feature(&net->base, PV_NET_F_CTRL_RX) ||
        command >= (extra ? PV_ARRAY_SIZE(modes) : RX_ALLUNI) ||
        pv_virtq_read(chain, sizeof(struct control_header), &on, 1) < 1)
        return false;
    *modes[command] = on;
    return true;
}

/* Reads one table at *offset and moves on behind it. */
static bool read_filter(struct pv_net_filter *filter, const struct pv_virtq_chain *chain,
                        size_t *offset)
{
    uint32_t count;
    if (pv_virtq_read(chain, *offset, &count, sizeof(count)) < sizeof(count))
        return false;
    *offset += sizeof(count);
    if (count > (chain->out_bytes - *offset) / 6)
        return false;
    filter->overflow = count > PV_NET_MAX_FILTERS;
    filter->count = filter->overflow ? 0 : count;
    pv_virtq_read(chain, *offset, filter->macs, filter->count * sizeof(filter->macs[0]));
    *offset += (size_t)count * 6;
    return true;
}

static bool set_mac(struct pv_net *net, unsigned command, const struct pv_virtq_chain *chain)
{
    size_t offset = sizeof(struct control_header);
    uint8_t mac[6];
    if (command == MAC_ADDR_SET && pv_virtio_has_feature(&net->base, PV_NET_F_CTRL_MAC_ADDR)) {
        if (pv_virtq_read(chain, offset, mac, sizeof(mac)) < sizeof(mac))
            return false;
        memcpy(net->config.mac, mac, sizeof(mac));
        return true;
    }
    if (command != MAC_TABLE_SET || !pv_virtio_has_feature(&net->base, PV_NET_F_CTRL_RX))
        return false;
    struct pv_net_filter unicast, multicast;
    if (!read_filter(&unicast, chain, &offset) || !read_filter(&multicast, chain, &offset))
        return false;
    net->mode.unicast = unicast;
    net->mode.multicast = multicast;
    return true;
}

static bool set_pairs(struct pv_net *net, unsigned command, const struct pv_virtq_chain *chain)
{
    uint16_t pairs;
    if (command != MQ_PAIRS_SET || !pv_virtio_has_feature(&net->base, PV_NET_F_MQ) ||
        pv_virtq_read(chain, sizeof(struct control_header), &pairs, 2) < 2 || !pairs ||
        pairs > net->config.max_pairs)
        return false;
    net->active_pairs = pairs;
    return true;
}

static bool acknowledge(struct pv_net *net, unsigned command)
{
    if (command != ANNOUNCE_ACK || !pv_virtio_has_feature(&net->base, PV_NET_F_GUEST_ANNOUNCE))
        return false;
    net->config.status &= (uint16_t)~PV_NET_STATUS_ANNOUNCE;
    return true;
}

static bool execute(struct pv_net *net, const struct control_header *header,
                    const struct pv_virtq_chain *chain)
{
    switch (header->class) {
    case CLASS_RX: return set_rx_mode(net, header->command, chain);
    case CLASS_MAC: return set_mac(net, header->command, chain);
    case CLASS_ANNOUNCE: return acknowledge(net, header->command);
    case CLASS_MQ: return set_pairs(net, header->command, chain);
    default: return false;
    }
}

void pv_net_control(struct pv_net *net, struct pv_virtq *queue)
{
    struct pv_virtq_chain chain;
    unsigned budget = PV_VIRTQ_BUDGET;
    while (budget && pv_virtq_pop(queue, &chain) == 1) {
        struct control_header header;
        if (pv_virtq_read(&chain, 0, &header, sizeof(header)) < sizeof(header) || !chain.in_bytes) {
            pv_virtio_fail(&net->base, "a command without number or answer (%zu and %zu bytes)",
                           chain.out_bytes, chain.in_bytes);
            pv_virtq_chain_finish(&chain);
            break;
        }
        uint8_t ack = execute(net, &header, &chain) ? ACK_OK : ACK_ERROR;
        pv_virtq_write(&chain, 0, &ack, sizeof(ack));
        pv_virtq_push(queue, &chain, sizeof(ack));
        budget--;
    }
    pv_virtq_notify(queue);
    if (!budget)
        pv_virtq_reschedule(queue);
}

void pv_net_announce(struct pv_virtio_device *dev)
{
    struct pv_net *net = (struct pv_net *)dev;
    pv_virtio_lock(dev);
    if (pv_virtio_has_feature(dev, PV_NET_F_GUEST_ANNOUNCE)) {
        net->config.status |= PV_NET_STATUS_ANNOUNCE;
        pv_virtio_config_changed(dev);
    }
    pv_virtio_unlock(dev);
}
