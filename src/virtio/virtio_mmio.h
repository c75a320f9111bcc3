/* SPDX-License-Identifier: MIT */
/*
 * virtio over MMIO, version 2 (section 4.2). QEMU's board puts its 32 devices 0x200 bytes apart,
 * eight to a guest page, so the unit of the address space is a bank of slots; an empty slot reads
 * as device ID 0, which drivers skip.
 */
#ifndef PV_VIRTIO_VIRTIO_MMIO_H
#define PV_VIRTIO_VIRTIO_MMIO_H

#include "base/irq.h"

#include <stdbool.h>
#include <stdint.h>

struct pv_address_space;
struct pv_error;
struct pv_record;
struct pv_virtio_device;
struct pv_virtio_mmio_bank;

#define PV_VIRTIO_MMIO_SLOT_SIZE 0x200u

/* `count` slots from `address` (page aligned); slot i interrupts by a copy of irqs[i]. */
int pv_virtio_mmio_bank_create(struct pv_virtio_mmio_bank **out, struct pv_address_space *as,
                               uint64_t address, unsigned count, const struct pv_irq *irqs,
                               struct pv_error **err);
/* Also destroys the devices in its slots. NULL is fine. */
void pv_virtio_mmio_bank_destroy(struct pv_virtio_mmio_bank *bank);

/* Resets every device, as a machine reset does. */
void pv_virtio_mmio_bank_reset(struct pv_virtio_mmio_bank *bank);
/* As pv_virtio_quiet() and pv_virtio_record(), of all its devices. */
bool pv_virtio_mmio_bank_quiet(struct pv_virtio_mmio_bank *bank, bool quiet);
void pv_virtio_mmio_bank_record(struct pv_virtio_mmio_bank *bank, struct pv_record *record);

/*
 * Puts a device into a slot (slot < 0: the last free one, the order in which Linux probes QEMU's
 * board). On success the bank owns the device; on failure it is still the caller's.
 */
int pv_virtio_mmio_create(struct pv_virtio_device *dev, struct pv_virtio_mmio_bank *bank, int slot,
                          struct pv_error **err);

#endif
