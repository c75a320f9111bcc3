/* SPDX-License-Identifier: MIT */
/*
 * The disks and networks of a VM: those it started with, which stay, and those in the slots of PCIe
 * root ports, which come and go while the guest runs. All on the loop's thread.
 */
#ifndef PV_VM_HOTPLUG_H
#define PV_VM_HOTPLUG_H

#include "vm/vm.h"

struct pv_address_space;
struct pv_block;
struct pv_boot_order;
struct pv_machine;
struct pv_virtio_device;
struct pv_vm_hotplug;

struct pv_vm_hotplug_config {
    struct pv_loop *loop;
    struct pv_address_space *as;
    struct pv_machine *machine;
    unsigned slots;
    unsigned queues; /* of each disk and network */
    bool packed_rings;
    struct pv_boot_order *boot;                 /* where devices that stay are put down */
    void (*disk_full)(void *opaque, bool full); /* pv_block_options.full of all disks */
    /* Where devices go that stay: takes one over, also when it fails. */
    int (*plug)(void *opaque, struct pv_virtio_device *device, struct pv_error **err);
    void *opaque;
};

/* Makes the slots. Before anything else is plugged into the machine: they take its last places. */
int pv_vm_hotplug_create(struct pv_vm_hotplug **out, const struct pv_vm_hotplug_config *config,
                         struct pv_error **err);

/* After the machine, which destroys the devices. Detachments under way are not reported. NULL is
 * fine. */
void pv_vm_hotplug_destroy(struct pv_vm_hotplug *hotplug);

/*
 * Devices that stay, before the guest runs. A disk on SCSI is only put on the list, until the
 * controller has opened it: it is the `index`th disk then.
 */
int pv_vm_hotplug_add_disk(struct pv_vm_hotplug *hotplug, const struct pv_config_disk *disk,
                           struct pv_error **err);
void pv_vm_hotplug_scsi_disk(struct pv_vm_hotplug *hotplug, size_t index, struct pv_block *block);
int pv_vm_hotplug_add_net(struct pv_vm_hotplug *hotplug, const struct pv_config_net *net,
                          struct pv_error **err);

/* What pv_vm_attach_disk() and those below it in vm.h do. */
int pv_vm_hotplug_attach_disk(struct pv_vm_hotplug *hotplug, const struct pv_config_disk *disk,
                              const char **id, struct pv_error **err);
int pv_vm_hotplug_attach_net(struct pv_vm_hotplug *hotplug, const struct pv_config_net *net,
                             const char **id, struct pv_error **err);
int pv_vm_hotplug_detach(struct pv_vm_hotplug *hotplug, const char *id,
                         const struct pv_vm_detach *how, struct pv_error **err);
bool pv_vm_hotplug_device(const struct pv_vm_hotplug *hotplug, size_t index,
                          struct pv_vm_device *device);
/*
 * Keeps what all disks that can be written hold now, under a name inside their images: all of them
 * or none. Goes back to it, and forgets it.
 */
int pv_vm_hotplug_keep_disks(struct pv_vm_hotplug *hotplug, const char *name,
                             struct pv_error **err);
int pv_vm_hotplug_bring_back_disks(struct pv_vm_hotplug *hotplug, const char *name,
                                   struct pv_error **err);
/* Brings all that was written to the media. */
int pv_vm_hotplug_flush_disks(struct pv_vm_hotplug *hotplug, struct pv_error **err);
void pv_vm_hotplug_forget_disks(struct pv_vm_hotplug *hotplug, const char *name);
/*
 * Those disks, and what they are called: the first `most` of them; returns how many there are. They
 * stay as long as no card is put into a slot.
 */
size_t pv_vm_hotplug_writable_disks(struct pv_vm_hotplug *hotplug, struct pv_block **blocks,
                                    const char **names, size_t most);
void pv_vm_hotplug_announce(struct pv_vm_hotplug *hotplug);

#endif
