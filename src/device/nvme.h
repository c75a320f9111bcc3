/* SPDX-License-Identifier: MIT */
/*
 * An NVM Express controller (NVM Express 1.4) with one namespace on a disk image: what installers
 * and operating systems without virtio drivers find a disk by. On PCI only.
 */
#ifndef PV_DEVICE_NVME_H
#define PV_DEVICE_NVME_H

struct pv_address_space;
struct pv_block;
struct pv_error;
struct pv_loop;
struct pv_pci_bus;

struct pv_nvme_options {
    const char *serial; /* NULL for none; 20 characters of it count */
    unsigned queues;    /* pairs for I/O, 1 to 16; 0 for 1 */
};

/* Plugs it into the bus, which destroys it. `block` is taken over on success. */
int pv_nvme_create(struct pv_pci_bus *bus, struct pv_loop *loop, struct pv_address_space *as,
                   struct pv_block *block, const struct pv_nvme_options *options,
                   struct pv_error **err);

#endif
