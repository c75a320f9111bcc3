/* SPDX-License-Identifier: MIT */
/* A GICv2m frame (Arm SBSA, appendix E): turns messages (memory writes) into SPIs. */
#ifndef PV_MACHINE_GICV2M_H
#define PV_MACHINE_GICV2M_H

#include "base/irq.h"

struct pv_address_space;
struct pv_error;
struct pv_v2m;

/* At PV_MAP_V2M, for SPIs PV_INTID_V2M to the end; `pulse` makes one pending. */
int pv_v2m_create(struct pv_v2m **out, struct pv_address_space *as,
                  void (*pulse)(void *opaque, unsigned intid), void *opaque, struct pv_error **err);
void pv_v2m_destroy(struct pv_v2m *v2m);

/* Where PCI functions send: a message that is for another address, or for no SPI, is dropped. */
struct pv_msi_target pv_v2m_target(struct pv_v2m *v2m);

#endif
