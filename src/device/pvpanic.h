/* SPDX-License-Identifier: MIT */
/* pvpanic on PCI (1b36:0011), by which a guest's kernel tells that it has panicked. */
#ifndef PV_DEVICE_PVPANIC_H
#define PV_DEVICE_PVPANIC_H

struct pv_error;
struct pv_pci_bus;

enum pv_panic_event {
    PV_PANIC_PANICKED,    /* and that is the end of it */
    PV_PANIC_CRASHLOADED, /* a crash kernel takes over */
};

/* `happened` is called on the vCPU's thread that says so. The bus destroys it. */
int pv_pvpanic_create(struct pv_pci_bus *bus,
                      void (*happened)(void *opaque, enum pv_panic_event event), void *opaque,
                      struct pv_error **err);

#endif
