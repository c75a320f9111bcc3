/* SPDX-License-Identifier: MIT */
/*
 * pv_gpu_memory: the pages behind a blob, counted, because a resource, a ring and the driver's
 * memory object may each be the last to let go of them.
 */
#ifndef PV_GPU_MEMORY_H
#define PV_GPU_MEMORY_H

#include <stdatomic.h>
#include <stdint.h>

#include "gpu/renderer.h"
#include "host/mapping.h"

/* Host memory that a renderer's guests hold, and may hold. It outlives what is charged to it. */
struct pv_gpu_account {
    atomic_uint_fast64_t used;
    uint64_t max; /* 0: no limit */
};

struct pv_gpu_memory {
    atomic_uint refs;
    struct pv_gpu_account *account; /* NULL: not charged */
    struct pv_mapping mapping;      /* with a `release`: data and size only */
    uint32_t map_info;
    void (*release)(struct pv_gpu_memory *memory); /* frees what pv_gpu_memory_wrap took, and it */
};

/* Zeroed pages of at least `size` bytes, with one reference. */
int pv_gpu_memory_create(struct pv_gpu_memory **out, uint64_t size, uint32_t map_info,
                         struct pv_error **err);
/* Pages that someone else has made, page-aligned, until `release`; with one reference. */
void pv_gpu_memory_wrap(struct pv_gpu_memory *memory, void *data, uint64_t size, uint32_t map_info,
                        void (*release)(struct pv_gpu_memory *memory));
struct pv_gpu_memory *pv_gpu_memory_ref(struct pv_gpu_memory *memory);
void pv_gpu_memory_unref(struct pv_gpu_memory *memory); /* NULL is fine */

/*
 * Charges the pages, for as long as they are there, to an account (NULL: to none). -ENOMEM when it
 * is exhausted.
 */
int pv_gpu_memory_charge(struct pv_gpu_memory *memory, struct pv_gpu_account *account,
                         struct pv_error **err);

void pv_gpu_memory_describe(const struct pv_gpu_memory *memory, struct pv_renderer_mapping *out);

#endif
