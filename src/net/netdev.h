/* SPDX-License-Identifier: MIT */
/*
 * The netdev seam: where a guest's Ethernet frames go. A backend lives on one event loop; both
 * directions run on that loop's thread.
 */
#ifndef PV_NET_NETDEV_H
#define PV_NET_NETDEV_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct pv_error;
struct pv_loop;
struct pv_netdev;

#define PV_ETH_FRAME_MAX 65550u /* without FCS: a 64 KiB packet and its header */

/*
 * The guest side of a netdev. send() and can_receive() run with the device's lock held, so a
 * backend never calls receive() from inside them but defers it (pv_event).
 */
struct pv_netdev_client {
    /* A frame for the guest. False when the guest has no buffer: the backend may drop or wait. */
    bool (*receive)(void *opaque, const void *frame, size_t len);
    void *opaque;
};

struct pv_netdev_ops {
    const char *name;
    /* A frame from the guest, `len` bytes in all. */
    void (*send)(struct pv_netdev *dev, const struct iovec *iov, unsigned count, size_t len);
    /* The guest has receive buffers again after receive() said false. May be NULL. */
    void (*can_receive)(struct pv_netdev *dev);
    void (*destroy)(struct pv_netdev *dev);
};

/* Backends embed this first. */
struct pv_netdev {
    const struct pv_netdev_ops *ops;
    struct pv_netdev_client client; /* set by the device before the first frame */
};

struct pv_port_forward {
    bool udp;
    uint32_t host_address; /* IPv4, host byte order; 0 means 127.0.0.1 */
    uint16_t host_port;
    uint16_t guest_port;
};

/* tcp|udp:[ADDRESS:]HOSTPORT:GUESTPORT */
int pv_port_forward_parse(const char *text, struct pv_port_forward *forward, struct pv_error **err);

/* NAT through libslirp: guest 10.0.2.15 by DHCP, gateway and host 10.0.2.2, DNS 10.0.2.3. */
int pv_netdev_user_create(struct pv_netdev **out, struct pv_loop *loop,
                          const struct pv_port_forward *forwards, size_t count,
                          struct pv_error **err);

/* Drops everything. */
int pv_netdev_null_create(struct pv_netdev **out, struct pv_error **err);

void pv_netdev_destroy(struct pv_netdev *dev);

#endif
