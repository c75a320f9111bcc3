/* SPDX-License-Identifier: MIT */
#ifndef PV_VIRTIO_VIRTIO_PCI_H
#define PV_VIRTIO_VIRTIO_PCI_H

struct pv_error;
struct pv_pci_bus;
struct pv_virtio_device;

/*
 * Plugs a device into a PCI slot (slot < 0: the first free one) as a modern virtio function. On
 * success the bus owns the device; on failure it is still the caller's.
 */
int pv_virtio_pci_create(struct pv_virtio_device *dev, struct pv_pci_bus *bus, int slot,
                         struct pv_error **err);

#endif
