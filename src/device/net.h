/* SPDX-License-Identifier: MIT */
/* virtio-net (section 5.1): an Ethernet card. */
#ifndef PV_DEVICE_NET_H
#define PV_DEVICE_NET_H

#include <stdint.h>

struct pv_address_space;
struct pv_error;
struct pv_loop;
struct pv_netdev;
struct pv_virtio_device;

/*
 * `netdev` lives on the same loop; the device owns it on success. `pairs`: receive and transmit
 * queues, one pair for each vCPU at best, 1 to 16.
 */
int pv_net_create(struct pv_virtio_device **out, struct pv_loop *loop, struct pv_address_space *as,
                  struct pv_netdev *netdev, const uint8_t mac[6], unsigned pairs,
                  struct pv_error **err);

/*
 * Asks the guest to tell the network where it is (gratuitous ARP), because the card moved: after a
 * snapshot came back or on another host. Any thread.
 */
void pv_net_announce(struct pv_virtio_device *dev);

#endif
