/* SPDX-License-Identifier: MIT */
/* Firmware images where distributions put them. */
#ifndef PV_VM_FIRMWARE_H
#define PV_VM_FIRMWARE_H

#include <stdbool.h>

struct pv_config;
struct pv_error;

/* What a config's firmware comes to. The strings are the config's or constants. */
struct pv_firmware_files {
    const char *code;          /* NULL: the kernel is booted directly */
    const char *vars_template; /* or NULL */
    bool acpi;
};

/* Whether a config starts firmware at all. */
bool pv_firmware_wanted(const struct pv_config *config);

int pv_firmware_choose(struct pv_firmware_files *files, const struct pv_config *config,
                       struct pv_error **err);

#endif
