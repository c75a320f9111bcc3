/* SPDX-License-Identifier: MIT */
/*
 * The ACPI tables of this board (ACPI 6.5), as fw_cfg hands them to firmware: a file with the
 * tables, one with the root pointer, and one that says where to put addresses and checksums.
 */
#ifndef PV_MACHINE_ACPI_ACPI_H
#define PV_MACHINE_ACPI_ACPI_H

#include "base/buffer.h"

#include <stdbool.h>
#include <stdint.h>

struct pv_aml;
struct pv_error;

struct pv_acpi_config {
    unsigned vcpus;
    const uint64_t *mpidr;
    uint64_t its; /* the ITS's address; 0: there is none, messages go through the GICv2m frame */
    bool watchdog;
};

#define PV_ACPI_TABLES_FILE "etc/acpi/tables"
#define PV_ACPI_RSDP_FILE   "etc/acpi/rsdp"
#define PV_ACPI_LOADER_FILE "etc/table-loader"

struct pv_acpi {
    struct pv_buffer tables;
    struct pv_buffer rsdp;
    struct pv_buffer loader;
};

int pv_acpi_build(struct pv_acpi *acpi, const struct pv_acpi_config *config, struct pv_error **err);
void pv_acpi_finish(struct pv_acpi *acpi);

/* The DSDT's body, behind its header. */
void pv_acpi_write_dsdt(struct pv_aml *aml, const struct pv_acpi_config *config);

#endif
