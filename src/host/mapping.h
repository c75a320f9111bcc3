/* SPDX-License-Identifier: MIT */
/* Host memory that can be shared, given back page by page, and later mapped elsewhere. */
#ifndef PV_HOST_MAPPING_H
#define PV_HOST_MAPPING_H

#include <stddef.h>
#include <stdint.h>

struct pv_error;

/* The host's page size in bytes: 4 KiB on x86-64, 16 KiB on Apple Silicon. */
size_t pv_page_size(void);

struct pv_mapping {
    void *data; /* page aligned; NULL when not mapped */
    size_t size;
    int fd; /* the shared memory object, -1 when not mapped */
};

#define PV_MAPPING_INIT ((struct pv_mapping){.fd = -1})

/*
 * Zeroed shared memory of `size` bytes (a multiple of the page size), reserved but not committed.
 * `name` shows up in the host's lists of mappings.
 */
int pv_mapping_create(struct pv_mapping *mapping, const char *name, size_t size,
                      struct pv_error **err);
void pv_mapping_destroy(struct pv_mapping *mapping);

/* Gives whole pages back to the host; they read as zero afterwards. */
int pv_mapping_discard(struct pv_mapping *mapping, size_t offset, size_t size);

#endif
