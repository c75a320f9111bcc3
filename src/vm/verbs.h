/* SPDX-License-Identifier: MIT */
/* What can be asked of a VM on its control socket: the table of verbs. */
#ifndef PV_VM_VERBS_H
#define PV_VM_VERBS_H

struct pv_control;
struct pv_error;
struct pv_vm;

/* The control socket of `vm` at `path`; to be destroyed before the VM's parts are. */
int pv_vm_verbs_create(struct pv_control **out, struct pv_vm *vm, const char *path,
                       struct pv_error **err);

#endif
