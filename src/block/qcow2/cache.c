/* SPDX-License-Identifier: MIT */
#include "block/qcow2/cache.h"

#include "base/util.h"
#include "block/image.h"

#include <errno.h>
#include <string.h>

void qcow2_cache_init(struct qcow2_cache *cache, struct pv_block_image *file, uint32_t size,
                      size_t budget, int (*write_back)(void *opaque), void *opaque)
{
    /* Two at least: one is copied into another when a snapshot shares it. */
    const size_t count = PV_MAX(budget / size, (size_t)2);
    *cache = (struct qcow2_cache){
        .file = file,
        .size = size,
        .count = (unsigned)PV_MIN(count, (size_t)QCOW2_CACHE_TABLES),
        .write_back = write_back,
        .opaque = opaque,
    };
}

void qcow2_cache_finish(struct qcow2_cache *cache)
{
    for (unsigned i = 0; i < cache->count; i++)
        free(cache->tables[i].data);
}

static int make_room(struct qcow2_cache *cache, struct qcow2_table **out)
{
    struct qcow2_table *oldest = &cache->tables[0];
    for (unsigned i = 1; i < cache->count; i++)
        if (cache->tables[i].used < oldest->used)
            oldest = &cache->tables[i];
    if (oldest->dirty) {
        int ret = cache->write_back(cache->opaque);
        if (ret < 0)
            return ret;
    }
    if (!oldest->data) {
        oldest->data = malloc(cache->size);
        if (!oldest->data)
            return -ENOMEM;
    }
    oldest->offset = 0;
    oldest->used = 0;
    *out = oldest;
    return 0;
}

int qcow2_cache_get(struct qcow2_cache *cache, uint64_t offset, bool fresh, void **table)
{
    struct qcow2_table *t = NULL;
    for (unsigned i = 0; i < cache->count; i++)
        if (cache->tables[i].offset == offset)
            t = &cache->tables[i];
    if (!t) {
        int ret = make_room(cache, &t);
        if (ret == 0 && !fresh)
            ret = pv_block_image_read(cache->file, t->data, cache->size, offset);
        if (ret < 0)
            return ret;
        t->offset = offset;
    }
    if (fresh)
        memset(t->data, 0, cache->size);
    t->used = ++cache->ticks;
    *table = t->data;
    return 0;
}

bool qcow2_cache_has(const struct qcow2_cache *cache, uint64_t offset)
{
    for (unsigned i = 0; i < cache->count; i++)
        if (cache->tables[i].offset == offset)
            return true;
    return false;
}

void qcow2_cache_dirty(struct qcow2_cache *cache, const void *table)
{
    for (unsigned i = 0; i < cache->count; i++)
        if (cache->tables[i].data == table)
            cache->tables[i].dirty = cache->dirty = true;
}

int qcow2_cache_write(struct qcow2_cache *cache)
{
    for (unsigned i = 0; cache->dirty && i < cache->count; i++) {
        struct qcow2_table *t = &cache->tables[i];
        if (!t->dirty)
            continue;
        int ret = pv_block_image_write(cache->file, t->data, cache->size, t->offset);
        if (ret < 0)
            return ret;
        t->dirty = false;
    }
    cache->dirty = false;
    return 0;
}

void qcow2_cache_forget(struct qcow2_cache *cache, uint64_t offset)
{
    for (unsigned i = 0; i < cache->count; i++) {
        if (cache->tables[i].offset == offset) {
            cache->tables[i].offset = 0;
            cache->tables[i].used = 0;
            cache->tables[i].dirty = false;
        }
    }
}
