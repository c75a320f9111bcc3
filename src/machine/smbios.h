/* SPDX-License-Identifier: MIT */
/* SMBIOS 3.0 tables (DMTF DSP0134) that name the machine; firmware completes and places them. */
#ifndef PV_MACHINE_SMBIOS_H
#define PV_MACHINE_SMBIOS_H

#include "base/buffer.h"

#include <stdint.h>

#define PV_SMBIOS_TABLES_FILE "etc/smbios/smbios-tables"
#define PV_SMBIOS_ANCHOR_FILE "etc/smbios/smbios-anchor"
#define PV_SMBIOS_ANCHOR_SIZE 24u

/* Appends the structures to `tables`; `anchor` is their entry point. 0 or -ENOMEM, -E2BIG. */
int pv_smbios_build(struct pv_buffer *tables, uint8_t anchor[PV_SMBIOS_ANCHOR_SIZE]);

#endif
