/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <string.h>

#include "base/util.h"
#include "gpu/venus/wire.h"

#define FIRST_BLOCK (64 * PV_KIB)

struct pv_vn_arena_block {
    struct pv_vn_arena_block *next;
    size_t size;
    max_align_t data[];
};

static bool grow(struct pv_vn_arena *arena, size_t size)
{
    size_t room = PV_MAX(size, FIRST_BLOCK);
    if (room > arena->max - arena->total)
        room = size;
    if (room > arena->max - arena->total)
        return false;
    struct pv_vn_arena_block *block = malloc(sizeof(*block) + room);
    if (!block)
        return false;
    block->next = arena->blocks;
    block->size = room;
    arena->blocks = block;
    arena->total += room;
    arena->used = 0;
    return true;
}

void *pv_vn_arena_alloc(struct pv_vn_arena *arena, size_t size)
{
    if (size > arena->max)
        return NULL;
    size = pv_align_up(size ? size : 1, 16);
    if ((!arena->blocks || size > arena->blocks->size - arena->used) && !grow(arena, size))
        return NULL;
    void *data = (char *)arena->blocks->data + arena->used;
    arena->used += size;
    return memset(data, 0, size);
}

void pv_vn_arena_reset(struct pv_vn_arena *arena)
{
    while (arena->blocks && (arena->blocks->next || arena->blocks->size > FIRST_BLOCK)) {
        struct pv_vn_arena_block *block = arena->blocks;
        arena->blocks = block->next;
        arena->total -= block->size;
        free(block);
    }
    arena->used = 0;
}

void pv_vn_arena_finish(struct pv_vn_arena *arena)
{
    pv_vn_arena_reset(arena);
    free(arena->blocks);
    arena->blocks = NULL;
    arena->total = 0;
}
