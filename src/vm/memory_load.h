/* SPDX-License-Identifier: MIT */
/*
 * Reads memory that vm/memory_image.h wrote: all of it at once, or as it is wanted by a machine
 * that runs already.
 */
#ifndef PV_VM_MEMORY_LOAD_H
#define PV_VM_MEMORY_LOAD_H

#include "vm/memory_image.h"

#include <stddef.h>

struct pv_address_space;
struct pv_error;
struct pv_memory_load;

/* As many files may rest on one another. */
#define PV_MEMORY_MAX_FILES 16u

/*
 * Finds out where everything is. `fds` are a whole memory and what was changed since, in this
 * order; they are taken over, also on failure. The RAM of `as` has to be zeroes, nobody uses it
 * yet, and it outlives the load; pages that no file has stay zeroes. With `as` NULL memory is read
 * and checked and goes nowhere.
 */
int pv_memory_load_create(struct pv_memory_load **out, const int *fds, size_t count,
                          struct pv_address_space *as, struct pv_error **err);

/* Reads all of it, and checks every byte. */
int pv_memory_load_all(struct pv_memory_load *load, struct pv_error **err);

/*
 * Lets the machine run: what it wants is read when it wants it, and the rest behind its back. When
 * something turns out to be damaged, `failed` is told once, on any thread and with a lock held, and
 * those who wanted it find no memory there. Where memory cannot come late, all of it is read now.
 */
int pv_memory_load_lazily(struct pv_memory_load *load,
                          void (*failed)(void *opaque, const char *message), void *opaque,
                          struct pv_error **err);

/*
 * Nothing is read any more but what is wanted, and nobody is told of failures: for a machine that
 * is about to go. NULL is fine.
 */
void pv_memory_load_stop(struct pv_memory_load *load);

/* In the last file and, for pieces and pages, those under it. */
void pv_memory_load_counts(const struct pv_memory_load *load, struct pv_memory_counts *counts);

/* When nobody uses the address space any more. NULL is fine. */
void pv_memory_load_destroy(struct pv_memory_load *load);

#endif
