/* SPDX-License-Identifier: MIT */
/*
 * The Interrupt Translation Service (IHI 0069, chapters 5 and 6): turns a device's message,
 * (DeviceID, EventID), into an LPI on a vCPU.
 */
#ifndef PV_MACHINE_GICV3_ITS_H
#define PV_MACHINE_GICV3_ITS_H

#include "base/irq.h"

struct pv_address_space;
struct pv_error;
struct pv_gic;
struct pv_its;
struct pv_record;

#define PV_ITS_TRANSLATER 0x10040u /* offset of GITS_TRANSLATER */

/* At PV_MAP_ITS, over a GIC of `vcpus` vCPUs that has LPIs. */
int pv_its_create(struct pv_its **out, struct pv_address_space *as, struct pv_gic *gic,
                  unsigned vcpus, struct pv_error **err);
void pv_its_destroy(struct pv_its *its);
void pv_its_reset(struct pv_its *its);

/* Its registers; the tables are in guest memory. While no vCPU executes. */
void pv_its_record(struct pv_its *its, struct pv_record *record);

/* Where PCI functions send; the device_id of the message is the DeviceID. */
struct pv_msi_target pv_its_target(struct pv_its *its);

/* Registers as the MMIO region reaches them: what tests and the fuzzer use. */
uint64_t pv_its_read(void *its, uint64_t offset, unsigned size);
void pv_its_write(void *its, uint64_t offset, unsigned size, uint64_t value);

#endif
