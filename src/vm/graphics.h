/* SPDX-License-Identifier: MIT */
/* A VM's GPU, its display and what the viewer types, each on a thread that suits it. */
#ifndef PV_VM_GRAPHICS_H
#define PV_VM_GRAPHICS_H

#include "vm/config.h"

struct pv_error;
struct pv_vm_graphics;
struct pv_vm_sockets;

/*
 * Plugs in the GPU and input devices that the viewer needs. *out is set also on failure, to be
 * destroyed after the devices that were plugged in by then; NULL for a config without a GPU.
 */
int pv_vm_graphics_create(struct pv_vm_graphics **out, const struct pv_vm_sockets *sockets,
                          const struct pv_config *config, struct pv_error **err);

/* Around the run of the vCPUs: start before it, stop after it. NULL is fine. */
int pv_vm_graphics_start(struct pv_vm_graphics *graphics, struct pv_error **err);
void pv_vm_graphics_stop(struct pv_vm_graphics *graphics);

/* Keeps the picture, for displays that do. -ENODATA when there is none. NULL is fine. */
int pv_vm_graphics_save(struct pv_vm_graphics *graphics, struct pv_error **err);

/* After the devices are gone. NULL is fine. */
void pv_vm_graphics_destroy(struct pv_vm_graphics *graphics);

#endif
