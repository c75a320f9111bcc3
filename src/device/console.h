/* SPDX-License-Identifier: MIT */
/*
 * virtio-console (section 5.3): one port, hvc0 in the guest, or several. Ports that are no consoles
 * are plain byte streams: /dev/virtio-ports/NAME in the guest.
 */
#ifndef PV_DEVICE_CONSOLE_H
#define PV_DEVICE_CONSOLE_H

#include <stdbool.h>

struct pv_address_space;
struct pv_chardev;
struct pv_error;
struct pv_loop;
struct pv_virtio_device;

#define PV_VCONSOLE_MAX_PORTS 16u

struct pv_vconsole_port {
    struct pv_chardev *chardev; /* the caller's; outlives the device, which becomes its client */
    const char *name;           /* copied; NULL or "" for none */
    bool console;
};

/* One console port, without the control queues of several. */
int pv_vconsole_create(struct pv_virtio_device **out, struct pv_loop *loop,
                       struct pv_address_space *as, struct pv_chardev *chardev,
                       struct pv_error **err);

/* 1 to PV_VCONSOLE_MAX_PORTS of them (VIRTIO_CONSOLE_F_MULTIPORT). */
int pv_vconsole_create_ports(struct pv_virtio_device **out, struct pv_loop *loop,
                             struct pv_address_space *as, const struct pv_vconsole_port *ports,
                             unsigned count, struct pv_error **err);

#endif
