/* SPDX-License-Identifier: MIT */
/*
 * Memory for generated code: one shared object mapped twice, once to write and once to execute, so
 * that no page is ever both.
 */
#ifndef PV_HOST_CODE_MEMORY_H
#define PV_HOST_CODE_MEMORY_H

#include <stddef.h>
#include <stdint.h>

struct pv_error;

struct pv_code_memory {
    uint8_t *write; /* NULL when not mapped */
    const uint8_t *exec;
    size_t size;
};

/*
 * `size` bytes (a multiple of the page size), reserved but not committed. The writable side may not
 * be written to by others; a host whose caches need maintenance does not build this.
 */
int pv_code_memory_create(struct pv_code_memory *memory, size_t size, struct pv_error **err);
void pv_code_memory_destroy(struct pv_code_memory *memory);

#endif
