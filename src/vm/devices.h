/* SPDX-License-Identifier: MIT */
/* The devices of a VM beyond its disks and networks, and what of the host belongs to them. */
#ifndef PV_VM_DEVICES_H
#define PV_VM_DEVICES_H

#include "vm/config.h"

struct pv_address_space;
struct pv_block;
struct pv_boot_order;
struct pv_chardev;
struct pv_error;
struct pv_loop;
struct pv_virtio_device;
struct pv_vm_devices;

/* Where devices go. */
struct pv_vm_sockets {
    struct pv_loop *loop;
    struct pv_address_space *as;
    struct pv_chardev *console;
    struct pv_boot_order *boot; /* where disks are put down */
    /* Takes a device over, also when it fails. */
    int (*plug)(void *opaque, struct pv_virtio_device *device, struct pv_error **err);
    /* The configuration's disk of this index is open, and belongs to a controller. */
    void (*scsi_disk)(void *opaque, size_t index, struct pv_block *block);
    /* A port of the console has this path on the host. */
    void (*port_ready)(void *opaque, const char *name, const char *path);
    void (*disk_full)(void *opaque, bool full); /* pv_block_options.full of all disks */
    void (*window_closed)(void *opaque);
    void *opaque;
};

/*
 * Disks and CD-ROMs on SCSI, console and ports, balloon, vsock, input devices, sound. *out is set
 * also on failure, to be destroyed after the devices that were plugged in by then.
 */
int pv_vm_devices_create(struct pv_vm_devices **out, const struct pv_vm_sockets *sockets,
                         const struct pv_config *config, unsigned queues, struct pv_error **err);

/* The balloon, or NULL. */
struct pv_virtio_device *pv_vm_devices_balloon(struct pv_vm_devices *devices);

/* After the devices are gone. NULL is fine. */
void pv_vm_devices_destroy(struct pv_vm_devices *devices);

#endif
