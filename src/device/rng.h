/* SPDX-License-Identifier: MIT */
/* virtio-rng (section 5.4): the host's random numbers. */
#ifndef PV_DEVICE_RNG_H
#define PV_DEVICE_RNG_H

struct pv_address_space;
struct pv_error;
struct pv_loop;
struct pv_virtio_device;

int pv_rng_create(struct pv_virtio_device **out, struct pv_loop *loop, struct pv_address_space *as,
                  struct pv_error **err);

#endif
