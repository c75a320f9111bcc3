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

/* `netdev` lives on the same loop; the device owns it on success. */
int pv_net_create(struct pv_virtio_device **out, struct pv_loop *loop, struct pv_address_space *as,
                  struct pv_netdev *netdev, const uint8_t mac[6], struct pv_error **err);

#endif
