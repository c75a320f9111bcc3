/* SPDX-License-Identifier: MIT */
/* Open addressing with linear probing; removal shifts back, so that no tombstones pile up. */
#include "gpu/table.h"

#include <errno.h>
#include <stdlib.h>

static size_t home(const struct pv_gpu_table *table, uint64_t id)
{
    return (id * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (table->capacity - 1);
}

static struct pv_gpu_entry *slot_of(const struct pv_gpu_table *table, uint64_t id)
{
    size_t i = home(table, id);
    while (table->slots[i].id && table->slots[i].id != id)
        i = (i + 1) & (table->capacity - 1);
    return &table->slots[i];
}

static int grow(struct pv_gpu_table *table)
{
    struct pv_gpu_table larger = {.capacity = table->capacity ? table->capacity * 2 : 64,
                                  .count = table->count,
                                  .max = table->max};
    larger.slots = calloc(larger.capacity, sizeof(*larger.slots));
    if (!larger.slots)
        return -ENOMEM;
    for (size_t i = 0; i < table->capacity; i++)
        if (table->slots[i].id)
            *slot_of(&larger, table->slots[i].id) = table->slots[i];
    free(table->slots);
    *table = larger;
    return 0;
}

int pv_gpu_table_add(struct pv_gpu_table *table, const struct pv_gpu_entry *entry)
{
    if (!entry->id)
        return -EINVAL;
    if (table->count >= table->max)
        return -E2BIG;
    if ((table->count + 1) * 4 > table->capacity * 3) {
        int ret = grow(table);
        if (ret < 0)
            return ret;
    }
    struct pv_gpu_entry *slot = slot_of(table, entry->id);
    if (slot->id)
        return -EEXIST;
    *slot = *entry;
    table->count++;
    return 0;
}

struct pv_gpu_entry *pv_gpu_table_find(const struct pv_gpu_table *table, uint64_t id)
{
    if (!id || !table->capacity)
        return NULL;
    struct pv_gpu_entry *slot = slot_of(table, id);
    return slot->id ? slot : NULL;
}

bool pv_gpu_table_remove(struct pv_gpu_table *table, uint64_t id, struct pv_gpu_entry *out)
{
    struct pv_gpu_entry *slot = pv_gpu_table_find(table, id);
    if (!slot)
        return false;
    if (out)
        *out = *slot;
    size_t mask = table->capacity - 1;
    size_t hole = slot - table->slots;
    for (size_t i = (hole + 1) & mask; table->slots[i].id; i = (i + 1) & mask) {
        /* An entry may fill the hole unless its home lies after the hole on its way to i. */
        if (((i - home(table, table->slots[i].id)) & mask) < ((i - hole) & mask))
            continue;
        table->slots[hole] = table->slots[i];
        hole = i;
    }
    table->slots[hole].id = 0;
    table->count--;
    return true;
}

struct pv_gpu_entry *pv_gpu_table_next(const struct pv_gpu_table *table, size_t *cursor)
{
    while (*cursor < table->capacity) {
        struct pv_gpu_entry *slot = &table->slots[(*cursor)++];
        if (slot->id)
            return slot;
    }
    return NULL;
}

void pv_gpu_table_finish(struct pv_gpu_table *table)
{
    free(table->slots);
    *table = PV_GPU_TABLE_INIT(table->max);
}
