/* SPDX-License-Identifier: MIT */
/* virtio-blk (section 5.2): a disk. */
#ifndef PV_DEVICE_BLK_H
#define PV_DEVICE_BLK_H

struct pv_address_space;
struct pv_block;
struct pv_error;
struct pv_loop;
struct pv_virtio_device;

struct pv_blk_options {
    const char *serial; /* what the guest sees under /dev/disk/by-id, cut to 20 bytes; or NULL */
    unsigned queues;    /* request queues, one for each vCPU at best; 0 means 1 */
};

/* `block` was opened on the same loop; the device owns it on success. `options` may be NULL. */
int pv_blk_create(struct pv_virtio_device **out, struct pv_loop *loop, struct pv_address_space *as,
                  struct pv_block *block, const struct pv_blk_options *options,
                  struct pv_error **err);

#endif
