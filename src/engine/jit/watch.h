/* SPDX-License-Identifier: MIT */
/*
 * What the translator shows of its work (struct pv_engine_watch, pv_engine_report): nothing of this
 * costs anything in translated code while it is not asked for.
 *
 * A block has no virtual address of its own, for all that map its page share it. Where it is shown
 * it goes by the address at which it was first found.
 */
#ifndef PV_ENGINE_JIT_WATCH_H
#define PV_ENGINE_JIT_WATCH_H

#include "engine/jit/jit.h"

struct pv_buffer;

struct jit_perf_map;
struct jit_symbols;
struct jit_trace;

/* stats.c: lines for pv_engine_report() */
void jit_report(struct pv_engine *engine, struct pv_buffer *out);

/* perf_map.c: code by host address, in the file where perf looks for it */
int jit_perf_map_create(struct jit_perf_map **out, const struct jit *jit,
                        const struct jit_symbols *symbols, struct pv_error **err);
void jit_perf_map_destroy(struct jit_perf_map *map);
void jit_perf_map_add(struct jit_perf_map *map, const struct jit *jit,
                      const struct jit_block *block, uint64_t va);

/* trace.c: blocks as they are translated, and as they are entered */
int jit_trace_create(struct jit_trace **out, const struct pv_engine_watch *watch,
                     const struct jit_symbols *symbols, struct pv_error **err);
void jit_trace_destroy(struct jit_trace *trace);
/* `words` are the block's instructions. */
void jit_trace_translated(struct jit_trace *trace, const struct jit_block *block, uint64_t va,
                          const uint32_t *words);
/* As jit->on_block. */
void jit_trace_entered(struct cpu *c, const void *code);

#endif
