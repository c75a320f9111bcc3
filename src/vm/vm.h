/* SPDX-License-Identifier: MIT */
/*
 * A virtual machine: owns the event loop, the address space, the machine with its devices and the
 * engine, and runs them until the guest powers off or someone ends it.
 */
#ifndef PV_VM_VM_H
#define PV_VM_VM_H

#include "vm/config.h"
#include "vm/state.h"

struct pv_buffer;
struct pv_error;
struct pv_loop;
struct pv_vm;

/* Why pv_vm_run() came back. */
enum pv_vm_end {
    PV_VM_POWERED_OFF, /* by the guest */
    PV_VM_OBEYED,      /* by the guest, whose power button was pressed */
    PV_VM_KILLED,      /* by pv_vm_kill() */
    PV_VM_SAVED,       /* by pv_vm_suspend() */
};

/* What happens in a VM that its owner may want to know. All on the loop's thread; any may be NULL.
 */
struct pv_vm_events {
    /* The escape key on the stdio console. */
    void (*console_escape)(void *opaque);
    /* The pseudo-terminal's path, or the socket's, once the console is there. */
    void (*console_ready)(void *opaque, const char *path);
    /* A port of the console can be reached at a path. */
    void (*port_ready)(void *opaque, const char *name, const char *path);
    /* The viewer closed the window, which stays. */
    void (*window_closed)(void *opaque);
    /* The guest reset itself and starts anew. */
    void (*reset)(void *opaque);
    void *opaque;
};

/*
 * Makes everything: opens and locks disks, binds ports, loads the kernel. Nothing runs yet, and
 * nothing is left behind on failure, but for the confinement of this thread where the config asks
 * for that. The config is not needed afterwards.
 */
int pv_vm_create(struct pv_vm **out, const struct pv_config *config,
                 const struct pv_vm_events *events, struct pv_error **err);

/* Runs the guest on this thread (the loop) and on its vCPUs' until the end. */
int pv_vm_run(struct pv_vm *vm, enum pv_vm_end *end, struct pv_error **err);

/* Presses the power button; what comes of it is the guest's. Any thread. */
void pv_vm_power_button(struct pv_vm *vm);

/*
 * Stop the guest and its time, and let it go on. False when that is so already. On the loop's
 * thread.
 */
bool pv_vm_pause(struct pv_vm *vm);
bool pv_vm_resume(struct pv_vm *vm);

/* Begins anew, as after a press of a reset button. Any thread. */
void pv_vm_reset(struct pv_vm *vm);

/* Has the guest tell its networks where it is (gratuitous ARP). On the loop's thread. */
void pv_vm_announce(struct pv_vm *vm);

/* Asks the guest for so much of its memory; false when it has no balloon. Any thread. */
bool pv_vm_set_balloon(struct pv_vm *vm, uint64_t bytes);

/* Keeps the display's picture, where the display does that. On the loop's thread. */
int pv_vm_save_picture(struct pv_vm *vm, struct pv_error **err);

/*
 * Takes a snapshot of the VM into a new folder while it goes on (vm/snapshot.h); one at a time.
 * What the VM's last snapshot has is not written again, unless it is to be `full`. `done` is called
 * when it is there, or with what went wrong, unless the VM is destroyed before. On the loop's
 * thread.
 */
int pv_vm_snapshot(struct pv_vm *vm, const char *folder, const char *note, bool full,
                   void (*done)(void *opaque, uint64_t pause_us, struct pv_error **err),
                   void *opaque, struct pv_error **err);

/*
 * The same, and the VM ends with it: pv_vm_run() returns once `done` has been called without an
 * error, and pv_config.restore goes on from the folder, once. With an error the guest goes on.
 */
int pv_vm_suspend(struct pv_vm *vm, const char *folder,
                  void (*done)(void *opaque, uint64_t pause_us, struct pv_error **err),
                  void *opaque, struct pv_error **err);

/* Its disks forget what they keep for a snapshot; what is wrong with one is logged. */
void pv_vm_snapshot_forget(struct pv_vm *vm, const char *tag);

/* Ends the VM now: pv_vm_run() returns. Any thread; async-signal-safe. */
void pv_vm_kill(struct pv_vm *vm);

struct pv_vm_info {
    const char *engine; /* its name, constant */
    unsigned cpus;
    uint64_t memory;                     /* bytes, as configured */
    enum pv_vm_state state;              /* running, paused or stopping */
    bool files_confined, calls_confined; /* as pv_config.confine asks, where the host can */
    bool balloon;                        /* it has one, and these are known, in bytes: */
    uint64_t target, actual, returned;   /* as in struct pv_balloon_info */
};

/* On the loop's thread. */
void pv_vm_info(const struct pv_vm *vm, struct pv_vm_info *info);

/* What the engine counted, as lines for people; after pv_vm_run(). */
void pv_vm_report(struct pv_vm *vm, struct pv_buffer *out);

/* The loop that the VM lives on, to put signals and timers of the owner's on. */
struct pv_loop *pv_vm_loop(struct pv_vm *vm);

/* After run, or without it. NULL is fine. */
void pv_vm_destroy(struct pv_vm *vm);

/* ---- Disks and networks; all on the loop's thread ---- */

enum pv_vm_device_kind {
    PV_VM_DISK,
    PV_VM_NET,
};

/* Strings are valid until the next device comes or goes. */
struct pv_vm_device {
    const char *id;
    enum pv_vm_device_kind kind;
    const char *detail; /* a disk's path; "user" or "none" */
    bool read_only;     /* of a disk */
    unsigned slot;      /* 1 and up: that of a root port, and so it can be detached; 0: it stays */
    bool leaving;       /* the guest has been asked for it */
};

/* The device at `index` of a list without gaps; false behind its end. */
bool pv_vm_device(const struct pv_vm *vm, size_t index, struct pv_vm_device *device);

/*
 * Puts a device into a free slot; the guest is told at once, also one that is not running yet.
 * *id, unless NULL, is what it is called, valid as said above. On failure the VM is as before. A
 * disk's bus is not looked at, and the guest sees its id as its serial number.
 */
int pv_vm_attach_disk(struct pv_vm *vm, const struct pv_config_disk *disk, const char **id,
                      struct pv_error **err);
int pv_vm_attach_net(struct pv_vm *vm, const struct pv_config_net *net, const char **id,
                     struct pv_error **err);

#define PV_VM_DETACH_LATER 1

struct pv_vm_detach {
    bool force;          /* without asking the guest, which may lose data */
    uint64_t timeout_ns; /* how long it may take to let go */
    /*
     * The device is gone, or *err says why not (which is the callee's). A guest that took too long
     * may still let go later. Not called when the VM is destroyed before. May be NULL.
     */
    void (*done)(void *opaque, struct pv_error **err);
    void *opaque;
};

/*
 * Asks the guest for a device: PV_VM_DETACH_LATER, and how->done will be called. With force it is
 * taken: 0, and it is gone, for those too who had been asking. Or a negative errno: the device is
 * not known, cannot go, has been asked for already, or the guest does not listen.
 */
int pv_vm_detach(struct pv_vm *vm, const char *id, const struct pv_vm_detach *how,
                 struct pv_error **err);

#endif
