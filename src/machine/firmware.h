/* SPDX-License-Identifier: MIT */
/* Booting by firmware: the two flash banks, fw_cfg, and what firmware finds in them. */
#ifndef PV_MACHINE_FIRMWARE_H
#define PV_MACHINE_FIRMWARE_H

#include <stdbool.h>
#include <stdint.h>

struct pv_acpi_config;
struct pv_address_space;
struct pv_buffer;
struct pv_error;
struct pv_firmware;
struct pv_record;

struct pv_firmware_config {
    struct pv_address_space *as;
    const char *code;          /* the image that goes into the first bank */
    const char *vars;          /* the file behind the second, made when missing; NULL: none */
    const char *vars_template; /* what variables start with; NULL: nothing */
    const char *kernel;        /* handed over by fw_cfg, unchecked; these three may be NULL */
    const char *initrd;
    const char *append;
    unsigned vcpus;
    const struct pv_acpi_config *acpi; /* NULL: no tables, the guest gets the device tree */
};

/* Reads all files. */
int pv_firmware_create(struct pv_firmware **out, const struct pv_firmware_config *config,
                       struct pv_error **err);
/* The file "bootorder" (vm/boot_order.h); before the guest runs. */
int pv_firmware_set_boot_order(struct pv_firmware *firmware, const struct pv_buffer *order,
                               struct pv_error **err);
void pv_firmware_destroy(struct pv_firmware *firmware);
void pv_firmware_record(struct pv_firmware *firmware, struct pv_record *record);
void pv_firmware_reset(struct pv_firmware *firmware);

#endif
