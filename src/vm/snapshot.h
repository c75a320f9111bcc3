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
struct pv_memory_load;
struct pv_snapshot;
struct pv_snapshot_info;
struct pv_vm_hotplug;

/*
 * What a VM's memory was last: that of the snapshot it was restored from or that was taken of it.
 * While `logged`, the dirty log has what was changed since.
 */
struct pv_snapshot_base {
    char *folder, *tag; /* NULL: there is none */
    bool logged;
};

/* Copies both; without memory for that there is no base, which costs time only. */
void pv_snapshot_base_set(struct pv_snapshot_base *base, const char *folder, const char *tag);
void pv_snapshot_base_finish(struct pv_snapshot_base *base);

struct pv_snapshot_config {
    struct pv_loop *loop;
    struct pv_address_space *as;
    struct pv_machine *machine;
    struct pv_vm_hotplug *hotplug;       /* has the disks */
    const char *folder;                  /* made; strings are copied */
    const char *note;                    /* or NULL */
    const struct pv_snapshot_base *base; /* what it may rest on; only used while it is created */
    bool full;                           /* rest on nothing */
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
     * The snapshot is there, and the dirty log has what was changed since; or *err says why not,
     * there is nothing of it, and the log is off. Destroying it is allowed then. Not called when it
     * is destroyed before.
     */
    void (*done)(void *opaque, const struct pv_snapshot_info *info, struct pv_error **err);
    void *opaque;
};

/* Begins; the guest goes on. What cannot be saved is refused here. */
int pv_snapshot_create(struct pv_snapshot **out, const struct pv_snapshot_config *config,
                       struct pv_error **err);
/* Gives it up if it is not done. NULL is fine. */
void pv_snapshot_destroy(struct pv_snapshot *snapshot);

/*
 * Brings a machine that was created empty to where the snapshot was, paused once; its disks are the
 * caller's to bring back. Of one that fails only the end is left. Memory may go on coming while the
 * machine runs: *load is destroyed when nobody uses the address space any more. When that memory is
 * damaged, the machine fails (its `fatal` event).
 */
int pv_snapshot_restore(struct pv_memory_load **load, struct pv_machine *machine,
                        struct pv_address_space *as, const char *folder, struct pv_error **err);

#endif
