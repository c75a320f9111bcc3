/* SPDX-License-Identifier: MIT */
/* What a VM's process keeps of the host: the files its configuration names (host/confine.h). */
#ifndef PV_VM_CONFINE_H
#define PV_VM_CONFINE_H

struct pv_config;
struct pv_error;

/*
 * Grants this process what `config` names and nothing else. Before the VM is made, as threads made
 * earlier stay as they are. Returns as pv_confine_files() does.
 */
int pv_vm_confine_files(const struct pv_config *config, struct pv_error **err);

/* The sets of calls that such a VM needs, for pv_confine_calls(). */
unsigned pv_vm_call_sets(const struct pv_config *config);

#endif
