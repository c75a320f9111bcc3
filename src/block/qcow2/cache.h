/* SPDX-License-Identifier: MIT */
/*
 * Tables of a QCOW2 image in memory: clusters of its file, as they are on disk, the least recently
 * used one making room. The image's lock protects a cache; a table's address is good until the
 * next call.
 */
#ifndef PV_BLOCK_QCOW2_CACHE_H
#define PV_BLOCK_QCOW2_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_block_image;

#define QCOW2_CACHE_TABLES 32u

struct qcow2_table {
    uint64_t offset; /* in the file; 0: empty */
    uint64_t used;   /* when, in ticks of the cache */
    bool dirty;
    void *data;
};

struct qcow2_cache {
    struct pv_block_image *file;
    uint32_t size;  /* bytes of a table */
    unsigned count; /* of tables, at most QCOW2_CACHE_TABLES */
    uint64_t ticks;
    bool dirty; /* any table is */
    /* Called before a dirty table makes room: writes everything back in its order. */
    int (*write_back)(void *opaque);
    void *opaque;
    struct qcow2_table tables[QCOW2_CACHE_TABLES];
};

/* `budget` is about how many bytes the tables may take together. */
void qcow2_cache_init(struct qcow2_cache *cache, struct pv_block_image *file, uint32_t size,
                      size_t budget, int (*write_back)(void *opaque), void *opaque);
void qcow2_cache_finish(struct qcow2_cache *cache);

/* The table at `offset`, read from the file, or all zeroes if `fresh`. 0 or a negative errno. */
int qcow2_cache_get(struct qcow2_cache *cache, uint64_t offset, bool fresh, void **table);
/* Whether that would need no reading. */
bool qcow2_cache_has(const struct qcow2_cache *cache, uint64_t offset);
/* The table last got was changed. */
void qcow2_cache_dirty(struct qcow2_cache *cache, const void *table);
/* Writes dirty tables to the file; no barrier. */
int qcow2_cache_write(struct qcow2_cache *cache);
/* The cluster at `offset` is not a table any more. */
void qcow2_cache_forget(struct qcow2_cache *cache, uint64_t offset);

#endif
