/* SPDX-License-Identifier: MIT */
/*
 * What firmware is to boot from, first to last: fw_cfg's file "bootorder", a line for each device
 * with its OpenFirmware path as QEMU writes it and EDK2 reads it (QemuBootOrderLib). Devices that
 * are not in it come after those that are, in the firmware's own order.
 */
#ifndef PV_VM_BOOT_ORDER_H
#define PV_VM_BOOT_ORDER_H

#include "vm/config.h"

struct pv_buffer;
struct pv_error;
struct pv_virtio_device;

enum pv_boot_kind {
    PV_BOOT_BLK,
    PV_BOOT_SCSI,
    PV_BOOT_NET,
};

#define PV_BOOT_MAX_PATH 64u

struct pv_boot_order {
    enum pv_config_transport transport;
    unsigned count;
    struct {
        unsigned index;
        char path[PV_BOOT_MAX_PATH];
    } entries[PV_CONFIG_MAX_DISKS + PV_CONFIG_MAX_NETS];
};

/*
 * Adds a device that is plugged in, `target` of it on SCSI, at `index`; index 0 does nothing.
 * -EINVAL when another has that index.
 */
int pv_boot_order_add(struct pv_boot_order *order, unsigned index, enum pv_boot_kind kind,
                      const struct pv_virtio_device *device, unsigned target,
                      struct pv_error **err);

/* The file, with the NUL at its end; empty when there is nothing in the order. */
int pv_boot_order_write(const struct pv_boot_order *order, struct pv_buffer *out,
                        struct pv_error **err);

#endif
