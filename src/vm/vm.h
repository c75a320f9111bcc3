/* SPDX-License-Identifier: MIT */
/*
 * A virtual machine: owns the event loop, the address space, the machine with its devices and the
 * engine, and runs them until the guest powers off or someone ends it.
 */
#ifndef PV_VM_VM_H
#define PV_VM_VM_H

#include "vm/config.h"

struct pv_error;
struct pv_loop;
struct pv_vm;

/* Why pv_vm_run() came back. */
enum pv_vm_end {
    PV_VM_POWERED_OFF, /* by the guest */
    PV_VM_KILLED,      /* by pv_vm_kill() */
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
    /* The guest reset itself and starts anew. */
    void (*reset)(void *opaque);
    void *opaque;
};

/*
 * Makes everything: opens and locks disks, binds ports, loads the kernel. Nothing runs yet, and
 * nothing is left behind on failure. The config is not needed afterwards.
 */
int pv_vm_create(struct pv_vm **out, const struct pv_config *config,
                 const struct pv_vm_events *events, struct pv_error **err);

/* Runs the guest on this thread (the loop) and on its vCPUs' until the end. */
int pv_vm_run(struct pv_vm *vm, enum pv_vm_end *end, struct pv_error **err);

/* Presses the power button; what comes of it is the guest's. Any thread. */
void pv_vm_power_button(struct pv_vm *vm);

/* Asks the guest for so much of its memory; false when it has no balloon. Any thread. */
bool pv_vm_set_balloon(struct pv_vm *vm, uint64_t bytes);

/* Keeps the display's picture, where the display does that. On the loop's thread. */
int pv_vm_save_picture(struct pv_vm *vm, struct pv_error **err);

/* Ends the VM now: pv_vm_run() returns. Any thread; async-signal-safe. */
void pv_vm_kill(struct pv_vm *vm);

/* The loop that the VM lives on, to put signals and timers of the owner's on. */
struct pv_loop *pv_vm_loop(struct pv_vm *vm);

/* After run, or without it. NULL is fine. */
void pv_vm_destroy(struct pv_vm *vm);

#endif
