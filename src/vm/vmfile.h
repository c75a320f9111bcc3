/* SPDX-License-Identifier: MIT */
/*
 * A VM's file: YAML, a mapping from keys to a value or a list of values, all of them text as a
 * person would give it on a command line. What keys there are and what their values mean is for
 * whoever reads it; here are the file's form, its version, and where in it something stands.
 *
 *   version: 1
 *   cpus: 2
 *   disk:
 *     - disk.img
 *     - data.qcow2,ro
 */
#ifndef PV_VM_VMFILE_H
#define PV_VM_VMFILE_H

#include <stddef.h>

struct pv_error;
struct pv_vm_file;

/* An empty one of the present version, to be saved at `path`. */
int pv_vm_file_create(struct pv_vm_file **out, const char *path, struct pv_error **err);

/* Errors begin with `path:line:column`. */
int pv_vm_file_open(struct pv_vm_file **out, const char *path, struct pv_error **err);

/* NULL is fine. */
void pv_vm_file_close(struct pv_vm_file *file);

/* Takes one value; `value` is its to change and lives as long as the file. */
typedef int pv_vm_file_fn(void *opaque, const char *key, char *value, struct pv_error **err);

/*
 * Calls `fn` for every value, in the file's order, until it fails; its error is then prefixed with
 * the place of the value. The version is not among them.
 */
int pv_vm_file_each(struct pv_vm_file *file, pv_vm_file_fn *fn, void *opaque,
                    struct pv_error **err);

/* Puts these values in the place of what `key` has; none removes the key. */
int pv_vm_file_set(struct pv_vm_file *file, const char *key, const char *const *values,
                   size_t count, struct pv_error **err);

/* Writes it under another name, then renames: the file is the old one or the new one. */
int pv_vm_file_save(struct pv_vm_file *file, struct pv_error **err);

#endif
