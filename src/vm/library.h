/* SPDX-License-Identifier: MIT */
/*
 * The library of virtual machines: a folder for each under $PEARVISOR_HOME/vms, which is all there
 * is of it.
 *
 *   NAME/vm.yaml           what it is made of (vm/vmfile.h); its files lie beside
 *   NAME/vars.fd           its firmware's variables, where vm.yaml names no other file
 *   NAME/log/console.log   all that the guest ever wrote to its console
 *   NAME/log/vm.log        what the process that runs it had to say
 *   NAME/snapshots/NAME    vm/snapshot_file.h
 *   NAME/snapshots/.suspended   the same, of one that is suspended; no snapshot can be called so
 *   NAME/run/lock          locked by that process as long as it lives
 *   NAME/run/last          how it went: "running", "stopped", "ended" when its owner said so,
 *                          "suspended", or "failed: why"
 *   NAME/run/control.sock  vm/control.h
 *   NAME/run/console.sock
 *   NAME/run/vsock.sock    the guest's vsock ports, the agent's among them
 *
 * No daemon keeps the state: whether a VM runs is whether its lock is held, so nothing has to be
 * repaired after a crash.
 */
#ifndef PV_VM_LIBRARY_H
#define PV_VM_LIBRARY_H

#include "vm/state.h"

#include <jansson.h>
#include <stdbool.h>

struct pv_error;

#define PV_LIBRARY_FILE      "vm.yaml"
#define PV_LIBRARY_VARS      "vars.fd"
#define PV_LIBRARY_LOGS      "log"
#define PV_LIBRARY_LOG       "log/vm.log"
#define PV_LIBRARY_OUTPUT    "log/console.log"
#define PV_LIBRARY_RUN       "run"
#define PV_LIBRARY_LOCK      "run/lock"
#define PV_LIBRARY_LAST      "run/last"
#define PV_LIBRARY_CONTROL   "run/control.sock"
#define PV_LIBRARY_CONSOLE   "run/console.sock"
#define PV_LIBRARY_SNAPSHOTS "snapshots"
#define PV_LIBRARY_SUSPENDED "snapshots/.suspended"
#define PV_LIBRARY_VSOCK     "run/vsock.sock"

/* The folder that VMs are in; made when it is not there. The caller frees it. */
int pv_library_folder(char **out, struct pv_error **err);

/* Checks a name: letters, digits, '.', '_' and '-', the first a letter or digit, at most 63. */
int pv_library_check_name(const char *name, struct pv_error **err);

/* Makes a VM's folder the working directory, so that short relative names do from here on. */
int pv_library_enter(const char *name, struct pv_error **err);

/* NAME's folder; -ENOENT when there is no such VM. The caller frees it. */
int pv_library_find(const char *name, char **folder, struct pv_error **err);

/* ---- A VM, by its folder ---- */

/* `why` (may be NULL) gets what went wrong, for PV_VM_FAILED; the caller frees it. */
enum pv_vm_state pv_library_state(const char *folder, char **why);

/* True when a process runs the VM. */
bool pv_library_is_alive(const char *folder);

/* Whether its last life ended because its owner asked for that. */
bool pv_library_was_told_to_end(const char *folder);

/* Whether it was suspended, and has not begun another life since. */
bool pv_library_was_suspended(const char *folder);

/* The lock, for the process that runs or changes the VM; -EBUSY when another has it. */
int pv_library_lock(const char *folder, const char *name, int *fd, struct pv_error **err);

/* Asks a running VM, as pv_control_ask(), wherever its folder is. */
int pv_library_ask(const char *folder, const char *verb, json_t *arguments, json_t **result,
                   struct pv_error **err);

/* Waits for the process that is a VM to be gone; false when it is still there after so long. */
bool pv_library_wait_for_end(const char *folder, unsigned seconds);

/*
 * Saves the running VM whose folder one is in, and comes back when its process is gone: the VM is
 * suspended, or an error says why it goes on.
 */
int pv_library_suspend(const char *name, struct pv_error **err);

/* A connection to the agent in a running VM's guest (agent/client.h); the caller's. */
int pv_library_agent(const char *name, struct pv_error **err);

/* Writes run/last of the VM whose folder one is in. What cannot be written is not, as there is
 * nobody to tell. */
void pv_library_write_last(const char *text);

#endif
