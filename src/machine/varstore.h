/* SPDX-License-Identifier: MIT */
/* The file behind the second flash bank: a VM's own copy of the firmware's variables. */
#ifndef PV_MACHINE_VARSTORE_H
#define PV_MACHINE_VARSTORE_H

#include <stddef.h>
#include <stdint.h>

struct pv_error;

/* What a store's check looks at: its first bytes. */
#define PV_VARSTORE_HEAD 1024u

/*
 * Opens the store at `path` for reading and writing and locks it. One that is not there is made:
 * `size` bytes, starting with the contents of the file `template`, or blank when that is NULL. With
 * a template, what is there must be a UEFI variable store. The descriptor is the caller's.
 */
int pv_varstore_open(int *fd, const char *path, const char *template, uint64_t size,
                     struct pv_error **err);

/*
 * Whether a bank of `size` bytes is blank or starts with a sound UEFI variable store (UEFI PI 1.8,
 * volume 3, 3.2.1 and EDK2's VariableFormat.h). `head` has PV_VARSTORE_HEAD bytes.
 */
int pv_varstore_check(const uint8_t *head, uint64_t size, const char *path, struct pv_error **err);

#endif
