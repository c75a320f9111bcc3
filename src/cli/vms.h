/* SPDX-License-Identifier: MIT */
/*
 * The library of virtual machines: a folder for each under $PEARVISOR_HOME/vms, which is all there
 * is of it.
 *
 *   NAME/vm.yaml           what it is made of (vm/vmfile.h); its files lie beside
 *   NAME/vars.fd           its firmware's variables, where vm.yaml names no other file
 *   NAME/console.log       all that the guest ever wrote to its console
 *   NAME/vm.log            what the process that runs it had to say
 *   NAME/run/lock          locked by that process as long as it lives
 *   NAME/run/last          how it went: "running", "stopped", or "failed: why"
 *   NAME/run/control.sock  vm/control.h
 *   NAME/run/console.sock
 *
 * No daemon keeps the state: whether a VM runs is whether its lock is held, so nothing has to be
 * repaired after a crash.
 */
#ifndef PV_CLI_VMS_H
#define PV_CLI_VMS_H

#include <stdbool.h>

struct pv_error;

#define CLI_VM_FILE    "vm.yaml"
#define CLI_VM_LOG     "vm.log"
#define CLI_VM_OUTPUT  "console.log"
#define CLI_VM_VARS    "vars.fd"
#define CLI_VM_RUN     "run"
#define CLI_VM_LOCK    "run/lock"
#define CLI_VM_LAST    "run/last"
#define CLI_VM_CONTROL "run/control.sock"
#define CLI_VM_CONSOLE "run/console.sock"

enum cli_vm_state {
    CLI_VM_CREATED, /* never started */
    CLI_VM_STARTING,
    CLI_VM_RUNNING,
    CLI_VM_PAUSED,
    CLI_VM_STOPPED,
    CLI_VM_FAILED,
};
const char *cli_vm_state_name(enum cli_vm_state state);

/* The folder that VMs are in; made when it is not there. The caller frees it. */
int cli_vms_folder(char **out, struct pv_error **err);

/* Checks a name: letters, digits, '.', '_' and '-', the first a letter or digit, at most 63. */
int cli_vm_check_name(const char *name, struct pv_error **err);

/* Makes a VM's folder the working directory, so that short relative names do from here on. */
int cli_vm_enter(const char *name, struct pv_error **err);

/* ---- In a VM's folder ---- */

/* `why` (may be NULL) gets what went wrong, for CLI_VM_FAILED; the caller frees it. */
enum cli_vm_state cli_vm_state(char **why);

/* True when a process runs the VM. */
bool cli_vm_is_alive(void);

/* The lock, for the process that runs or changes the VM; -EBUSY when another has it. */
int cli_vm_lock(const char *name, int *fd, struct pv_error **err);

/* Writes run/last. What cannot be written is not, as there is nobody to tell. */
void cli_vm_write_last(const char *text);

#endif
