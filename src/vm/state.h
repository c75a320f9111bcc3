/* SPDX-License-Identifier: MIT */
/*
 * What becomes of a VM: its states and what takes it from one to another, as a table. Commands and
 * the daemon ask the table before they ask a VM, so that both refuse the same things in the same
 * words.
 */
#ifndef PV_VM_STATE_H
#define PV_VM_STATE_H

#include <stdbool.h>

struct pv_error;

enum pv_vm_state {
    PV_VM_CREATED, /* never started */
    PV_VM_STARTING,
    PV_VM_RUNNING,
    PV_VM_PAUSED,
    PV_VM_STOPPING,  /* its power button was pressed */
    PV_VM_SUSPENDED, /* saved: no process is it, and a start goes on from there */
    PV_VM_STOPPED,
    PV_VM_FAILED,
    PV_VM_STATE_COUNT,
};

enum pv_vm_event {
    /* Asked for by its owner */
    PV_VM_START,
    PV_VM_PAUSE,
    PV_VM_RESUME,
    PV_VM_RESET,
    PV_VM_STOP, /* the power button */
    PV_VM_KILL,
    PV_VM_SUSPEND,
    PV_VM_CHANGE, /* its devices, its balloon */
    PV_VM_DELETE, /* and copying it */
    /* What happens */
    PV_VM_IS_READY,
    PV_VM_IS_SAVED, /* as it was asked to be, and its process is gone */
    PV_VM_HAS_ENDED,
    PV_VM_HAS_FAILED,
    PV_VM_EVENT_COUNT,
};

const char *pv_vm_state_name(enum pv_vm_state state);

/* False for a name that is none. */
bool pv_vm_state_parse(const char *name, enum pv_vm_state *state);

/* Whether a process is it. */
bool pv_vm_state_lives(enum pv_vm_state state);

/* The state that `event` leads to, or -1 when it cannot happen in `state`. */
int pv_vm_state_after(enum pv_vm_state state, enum pv_vm_event event);

/* 0 when `event` can happen, or an error that says in which state VM `name` is instead. */
int pv_vm_state_check(const char *name, enum pv_vm_state state, enum pv_vm_event event,
                      struct pv_error **err);

#endif
