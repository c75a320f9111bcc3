/* SPDX-License-Identifier: MIT */
/* What the card's data path (net.c) and its control queue (net_control.c) share. */
#ifndef PV_DEVICE_NET_IMPL_H
#define PV_DEVICE_NET_IMPL_H

#include "net/netdev.h"
#include "virtio/device_impl.h"

#define PV_NET_F_MAC            5u
#define PV_NET_F_MRG_RXBUF      15u
#define PV_NET_F_STATUS         16u
#define PV_NET_F_CTRL_VQ        17u
#define PV_NET_F_CTRL_RX        18u
#define PV_NET_F_CTRL_RX_EXTRA  20u
#define PV_NET_F_GUEST_ANNOUNCE 21u
#define PV_NET_F_MQ             22u
#define PV_NET_F_CTRL_MAC_ADDR  23u

#define PV_NET_STATUS_LINK_UP  1u
#define PV_NET_STATUS_ANNOUNCE 2u

/* Buffers that one frame may be spread over: 64 KiB in single pages, and some. */
#define PV_NET_MAX_BUFFERS 32u
/* Addresses a filter table holds; with more, all of their kind are received. */
#define PV_NET_MAX_FILTERS 64u
/* Flows that are remembered to belong to a queue; a power of two. */
#define PV_NET_FLOWS 256u

/* struct virtio_net_config, 5.1.4, as far as our features reach. */
struct pv_net_config {
    uint8_t mac[6];
    uint16_t status;
    uint16_t max_pairs;
};

/* One list of addresses that the guest listens to. */
struct pv_net_filter {
    uint8_t macs[PV_NET_MAX_FILTERS][6];
    unsigned count;
    bool overflow; /* the guest named more than there is room for */
};

struct pv_net_receive_mode {
    bool promiscuous, all_multicast, all_unicast;
    bool no_multicast, no_unicast, no_broadcast;
    struct pv_net_filter unicast, multicast;
};

/* A receive queue. */
struct pv_net_receiver {
    /* Buffers taken for a frame that needed more than there were; used first. */
    struct pv_virtq_chain held[PV_NET_MAX_BUFFERS];
    unsigned held_count;
    bool starved; /* receive() said no */
};

struct pv_net {
    struct pv_virtio_device base;
    struct pv_netdev *netdev;
    struct pv_net_config config;
    uint8_t mac[6]; /* the one it has after a reset */
    struct pv_net_receive_mode mode;
    unsigned active_pairs;
    uint8_t flows[PV_NET_FLOWS];        /* the queue pair that a flow's last frame was sent on */
    struct pv_net_receiver receivers[]; /* config.max_pairs */
};

/* Serves the control queue, 5.1.6.5. */
void pv_net_control(struct pv_net *net, struct pv_virtq *queue);

/* Back to what a driver finds that has not used the control queue yet. */
void pv_net_control_reset(struct pv_net *net);

/* Whether a frame with this destination is for the guest. */
bool pv_net_wanted(const struct pv_net *net, const uint8_t mac[6]);

#endif
