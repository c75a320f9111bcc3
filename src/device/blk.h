/* SPDX-License-Identifier: MIT */
/* virtio-blk (section 5.2): a disk. */
#ifndef PV_DEVICE_BLK_H
#define PV_DEVICE_BLK_H

struct pv_address_space;
struct pv_block;
struct pv_error;
struct pv_loop;
struct pv_virtio_device;

/*
 * `block` was opened on the same loop; the device owns it on success. `serial` is what the guest
 * sees under /dev/disk/by-id, cut to 20 bytes; NULL or "" for none.
 */
int pv_blk_create(struct pv_virtio_device **out, struct pv_loop *loop, struct pv_address_space *as,
                  struct pv_block *block, const char *serial, struct pv_error **err);

#endif
