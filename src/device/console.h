/* SPDX-License-Identifier: MIT */
/* virtio-console (section 5.3): one port, hvc0 in the guest. */
#ifndef PV_DEVICE_CONSOLE_H
#define PV_DEVICE_CONSOLE_H

struct pv_address_space;
struct pv_chardev;
struct pv_error;
struct pv_loop;
struct pv_virtio_device;

/* `chardev` stays the caller's and must outlive the device, which becomes its client. */
int pv_vconsole_create(struct pv_virtio_device **out, struct pv_loop *loop,
                       struct pv_address_space *as, struct pv_chardev *chardev,
                       struct pv_error **err);

#endif
