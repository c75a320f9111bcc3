/* SPDX-License-Identifier: MIT */
#include "vm/boot_order.h"

#include "base/buffer.h"
#include "base/error.h"
#include "machine/map.h"
#include "virtio/virtio.h"
#include "virtio/virtio_mmio.h"

#include <errno.h>
#include <stdio.h>

/* "/pci@i0cf8/scsi@3/disk@0,0" on the root bus, "/virtio-mmio@000000000a003e00/disk@0,0". */
static void write_path(char path[PV_BOOT_MAX_PATH], enum pv_config_transport transport,
                       enum pv_boot_kind kind, unsigned slot, unsigned target)
{
    size_t at = 0;

    if (transport == PV_TRANSPORT_MMIO)
        at = (size_t)snprintf(
            path, PV_BOOT_MAX_PATH, "/virtio-mmio@%016llx",
            (unsigned long long)(PV_MAP_VIRTIO + slot * UINT64_C(1) * PV_VIRTIO_MMIO_SLOT_SIZE));
    else
        at = (size_t)snprintf(path, PV_BOOT_MAX_PATH, "/pci@i0cf8/%s@%x",
                              kind == PV_BOOT_NET ? "ethernet" : "scsi", slot);
    switch (kind) {
    case PV_BOOT_BLK: snprintf(path + at, PV_BOOT_MAX_PATH - at, "/disk@0,0"); break;
    case PV_BOOT_SCSI:
        snprintf(path + at, PV_BOOT_MAX_PATH - at, "/channel@0/disk@%x,0", target);
        break;
    case PV_BOOT_NET: snprintf(path + at, PV_BOOT_MAX_PATH - at, "/ethernet-phy@0"); break;
    }
}

int pv_boot_order_add(struct pv_boot_order *order, unsigned index, enum pv_boot_kind kind,
                      const struct pv_virtio_device *device, unsigned target, struct pv_error **err)
{
    if (!index)
        return 0;
    unsigned at = order->count;
    for (unsigned i = 0; i < order->count; i++)
        if (order->entries[i].index == index)
            return pv_error_set(err, EINVAL, "bootindex %u: another device has it already", index);
    for (; at > 0 && order->entries[at - 1].index > index; at--)
        order->entries[at] = order->entries[at - 1];
    order->entries[at].index = index;
    write_path(order->entries[at].path, order->transport, kind, pv_virtio_slot(device), target);
    order->count++;
    return 0;
}

int pv_boot_order_write(const struct pv_boot_order *order, struct pv_buffer *out,
                        struct pv_error **err)
{
    int ret = 0;

    for (unsigned i = 0; i < order->count && ret >= 0; i++)
        ret = pv_buffer_printf(out, "%s%s", i ? "\n" : "", order->entries[i].path);
    if (ret >= 0 && order->count)
        ret = pv_buffer_append(out, "", 1);
    return ret < 0 ? pv_error_set(err, ENOMEM, "out of memory for the boot order") : 0;
}
