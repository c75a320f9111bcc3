/* SPDX-License-Identifier: MIT */
/*
 * Writes guest memory into a file, page by page, while the guest may go on and pages may come
 * again. docs/internals/snapshots.md has the format; vm/memory_load.h reads it.
 */
#ifndef PV_VM_MEMORY_IMAGE_H
#define PV_VM_MEMORY_IMAGE_H

#include <stdint.h>

struct pv_error;
struct pv_memory_image;

/* What is written at once: as many pages as a word has bits. */
#define PV_MEMORY_CHUNK (UINT64_C(64) * 4096)

struct pv_memory_counts {
    uint64_t pieces; /* chunks, or parts of them, in the file */
    uint64_t pages;  /* of them, with something in them */
    uint64_t bytes;  /* of the file */
};

/* `fd` stays the caller's. */
int pv_memory_image_create(struct pv_memory_image **out, int fd, struct pv_error **err);

/*
 * Appends pages of the chunk at guest-physical `address`, whose memory is at `data`: those whose
 * bit in `pages` is set. What a later piece has of a page counts. The guest may write to the memory
 * meanwhile, if the page is written again afterwards.
 */
int pv_memory_image_write(struct pv_memory_image *image, uint64_t address, const void *data,
                          uint64_t pages, struct pv_error **err);

/* Ends the file; without this it is not complete. It is on the medium then. */
int pv_memory_image_end(struct pv_memory_image *image, struct pv_memory_counts *counts,
                        struct pv_error **err);
/* NULL is fine. */
void pv_memory_image_destroy(struct pv_memory_image *image);

#endif
