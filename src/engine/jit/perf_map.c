/* SPDX-License-Identifier: MIT */
/*
 * /tmp/perf-PID.map: lines "START SIZE NAME" by which `perf report` names code that no file has.
 * perf reads it when the process is gone, so lines are only ever added; where code memory was
 * emptied and used again, the later lines are about the later code, and samples taken before are
 * named wrongly.
 */
#include "base/error.h"
#include "engine/jit/symbols.h"
#include "engine/jit/watch.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

struct jit_perf_map {
    FILE *file;
    const struct jit_symbols *symbols;
};

static void add(struct jit_perf_map *map, const void *code, unsigned size)
{
    fprintf(map->file, "%" PRIxPTR " %x ", (uintptr_t)code, size);
}

int jit_perf_map_create(struct jit_perf_map **out, const struct jit *jit,
                        const struct jit_symbols *symbols, struct pv_error **err)
{
    char path[48];
    snprintf(path, sizeof(path), "/tmp/perf-%d.map", (int)getpid());
    struct jit_perf_map *map = calloc(1, sizeof(*map));
    if (!map)
        return pv_error_set(err, ENOMEM, "out of memory");
    /* Anyone may have put a link there: it must not be followed. */
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0644);
    map->file = fd < 0 ? NULL : fdopen(fd, "w");
    if (!map->file) {
        const int error = errno;
        if (fd >= 0)
            close(fd);
        free(map);
        return pv_error_errno(err, error, "cannot write '%s'", path);
    }
    map->symbols = symbols;
    add(map, jit->memory.exec, jit->stubs_end);
    fprintf(map->file, "[engine] common code\n");
    *out = map;
    return 0;
}

void jit_perf_map_destroy(struct jit_perf_map *map)
{
    if (!map)
        return;
    fclose(map->file);
    free(map);
}

void jit_perf_map_add(struct jit_perf_map *map, const struct jit *jit,
                      const struct jit_block *block, uint64_t va)
{
    uint64_t offset;
    const char *name = jit_symbols_find(map->symbols, va, &offset);
    const char *level = block->mode & JIT_EL1 ? "EL1" : "EL0";
    add(map, jit->memory.exec + block->code, block->size);
    if (name)
        fprintf(map->file, "[%s] %s\n", level, name);
    else
        fprintf(map->file, "[%s] %" PRIx64 "\n", level, va);
}
