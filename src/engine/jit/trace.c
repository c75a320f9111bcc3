/* SPDX-License-Identifier: MIT */
/*
 * The trace: a line for each block that is translated, with its instructions, and if asked for one
 * each time a block is entered:
 *
 *   translated EL1 ffff800080012340 do_el0_svc+0x10 at 41412340: d503233f a9bf7bfd ...
 *   entered 0 EL1 ffff800080012340 do_el0_svc+0x10
 *
 * (the vCPU's number behind `entered`, the physical address behind `at`). To see every entry the
 * run loop must: jit->on_block has all code come back to it at every block's end.
 */
#include "base/error.h"
#include "engine/jit/symbols.h"
#include "engine/jit/watch.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

struct jit_trace {
    FILE *file;
    uint64_t first, last;
    const struct jit_symbols *symbols;
};

int jit_trace_create(struct jit_trace **out, const struct pv_engine_watch *watch,
                     const struct jit_symbols *symbols, struct pv_error **err)
{
    struct jit_trace *trace = calloc(1, sizeof(*trace));
    if (!trace)
        return pv_error_set(err, ENOMEM, "out of memory");
    trace->file = fopen(watch->trace, "we");
    if (!trace->file) {
        free(trace);
        return pv_error_errno(err, errno, "cannot write '%s'", watch->trace);
    }
    trace->first = watch->trace_first;
    trace->last = watch->trace_last;
    trace->symbols = symbols;
    *out = trace;
    return 0;
}

void jit_trace_destroy(struct jit_trace *trace)
{
    if (!trace)
        return;
    fclose(trace->file);
    free(trace);
}

static bool wanted(const struct jit_trace *trace, uint64_t va)
{
    return va >= trace->first && va <= trace->last;
}

static void place(const struct jit_trace *trace, uint32_t mode, uint64_t va)
{
    uint64_t offset;
    const char *name = jit_symbols_find(trace->symbols, va, &offset);
    fprintf(trace->file, "%s %016" PRIx64, mode & JIT_EL1 ? "EL1" : "EL0", va);
    if (name)
        fprintf(trace->file, " %s+0x%" PRIx64, name, offset);
}

/* The lock keeps lines of several vCPUs apart. */
void jit_trace_translated(struct jit_trace *trace, const struct jit_block *block, uint64_t va,
                          const uint32_t *words)
{
    if (!wanted(trace, va))
        return;
    flockfile(trace->file);
    fprintf(trace->file, "translated ");
    place(trace, block->mode, va);
    fprintf(trace->file, " at %" PRIx64 ":", block->pa);
    for (unsigned i = 0; i < block->count; i++)
        fprintf(trace->file, " %08x", __atomic_load_n(&words[i], __ATOMIC_RELAXED));
    fprintf(trace->file, "\n");
    funlockfile(trace->file);
}

void jit_trace_entered(struct cpu *c, const void *code)
{
    const struct jit_trace *trace = c->interp->jit->trace;
    if (!wanted(trace, c->pc))
        return;
    flockfile(trace->file);
    fprintf(trace->file, "entered %u ", c->vcpu->index);
    place(trace, c->jit.mode, c->pc);
    fprintf(trace->file, "\n");
    funlockfile(trace->file);
}
