/* SPDX-License-Identifier: MIT */
/*
 * Snapshots of a VM while it runs, and machines that go on from one. All on the loop's thread.
 */
#ifndef PV_VM_SNAPSHOT_H
#define PV_VM_SNAPSHOT_H

#include <stdbool.h>
#include <stdint.h>

struct pv_address_space;
struct pv_error;
struct pv_loop;
struct pv_machine;
struct pv_snapshot;
struct pv_vm_hotplug;

struct pv_snapshot_config {
    struct pv_loop *loop;
    struct pv_address_space *as;
    struct pv_machine *machine;
    struct pv_vm_hotplug *hotplug; /* has the disks */
    const char *folder;            /* made; strings are copied */
    const char *note;              /* or NULL */
    const char *engine;
    uint64_t memory; /* of the VM, in bytes */
    unsigned cpus;
    /*
     * The VM is to end here: from the moment on the guest stands still and its disks are not
     * written to, and goes on only when the snapshot could not be made. Disks keep nothing inside
     * of them, since nothing changes them until somebody goes on from it; so they may be of any
     * format, and that can be done once.
     */
    bool last;
    /*
     * The snapshot is there, and the guest stood still for so long; or *err says why not, and there
     * is nothing of it. Destroying it is allowed then. Not called when it is destroyed before.
     */
    void (*done)(void *opaque, uint64_t pause_us, struct pv_error **err);
    void *opaque;
};

/* Begins; the guest goes on. What cannot be saved is refused here. */
int pv_snapshot_create(struct pv_snapshot **out, const struct pv_snapshot_config *config,
                       struct pv_error **err);
/* Gives it up if it is not done. NULL is fine. */
void pv_snapshot_destroy(struct pv_snapshot *snapshot);

/*
 * Brings a machine that was created empty to where the snapshot was, paused once; its disks are the
 * caller's to bring back. Of one that fails only the end is left.
 */
int pv_snapshot_restore(struct pv_machine *machine, struct pv_address_space *as, const char *folder,
                        struct pv_error **err);

#endif
