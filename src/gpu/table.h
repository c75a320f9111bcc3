/* SPDX-License-Identifier: MIT */
/*
 * A hash table from ids that a guest chose to what stands behind them. Entries are held by value:
 * a lookup copies one out, so nothing can be freed under its user. Not locked.
 */
#ifndef PV_GPU_TABLE_H
#define PV_GPU_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_gpu_entry {
    uint64_t id; /* never 0 */
    uint64_t handle;
    uint64_t parent;         /* what its type says: the id of the pool it goes with, or 0 */
    uint64_t next, previous; /* ids of its neighbours in a list, for those who keep one */
    void *owner;             /* what its type says */
    uint16_t type;
    bool dead; /* its creation failed: the guest may name it, to no effect */
};

struct pv_gpu_table {
    struct pv_gpu_entry *slots;
    size_t capacity; /* a power of two, or 0 */
    size_t count;
    size_t max; /* entries allowed */
};

#define PV_GPU_TABLE_INIT(limit) ((struct pv_gpu_table){.max = (limit)})

/* -EEXIST, -E2BIG at the maximum, -EINVAL for id 0, -ENOMEM. */
int pv_gpu_table_add(struct pv_gpu_table *table, const struct pv_gpu_entry *entry);

/* The entry, good until the table changes, or NULL. */
struct pv_gpu_entry *pv_gpu_table_find(const struct pv_gpu_table *table, uint64_t id);

/* Removes and (when `out`) copies it; false when it is not there. */
bool pv_gpu_table_remove(struct pv_gpu_table *table, uint64_t id, struct pv_gpu_entry *out);

/* Walks: the next entry at or after *cursor, or NULL. Removing during a walk restarts it at 0. */
struct pv_gpu_entry *pv_gpu_table_next(const struct pv_gpu_table *table, size_t *cursor);

void pv_gpu_table_finish(struct pv_gpu_table *table);

#endif
