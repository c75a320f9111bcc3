/* SPDX-License-Identifier: MIT */
/* The translator's part of pv_engine_report(). */
#include "base/buffer.h"
#include "engine/a64/decode.h"
#include "engine/jit/watch.h"

#include <inttypes.h>

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void report_code(struct jit *jit, uint64_t cpu_ns, struct pv_buffer *out)
{
    const struct jit_stats *s = &jit->stats;
    pv_buffer_printf(out,
                     "translated: %" PRIu64 " blocks of %" PRIu64 " instructions, in %.3f s, %.1f%%"
                     " of the vCPUs' time\n",
                     s->blocks, s->instructions, (double)s->translate_ns / 1e9,
                     percent(s->translate_ns, cpu_ns));
    pthread_mutex_lock(&jit->lock);
    const uint32_t used = jit->used;
    pthread_mutex_unlock(&jit->lock);
    pv_buffer_printf(
        out,
        "code memory: %.1f MiB of %.0f used, %" PRIu64 " bytes an instruction; %" PRIu64
        " blocks invalidated, emptied %" PRIu64 " times\n",
        (double)used / PV_MIB, (double)jit->limit / PV_MIB,
        s->instructions ? s->host_bytes / s->instructions : 0, s->invalidated, s->emptied);
}

static void report_cpu(const struct cpu *c, struct pv_buffer *out)
{
    const struct cpu_jit *j = &c->jit;
    pv_buffer_printf(out,
                     "vCPU %u left code for: %" PRIu64 " links to be made, %" PRIu64
                     " instructions, %" PRIu64 " branches to registers, %" PRIu64
                     " jumps to pages; %" PRIu64 " blocks looked up by physical address\n",
                     c->vcpu->index, j->exits[JIT_EXIT_LINK], j->exits[JIT_EXIT_RECORD],
                     j->exits[JIT_EXIT_BRANCH], j->exits[JIT_EXIT_JUMP], j->lookups);
}

/* What was most often left to handlers, of all vCPUs: worth translating next. */
static void report_handled(const struct pv_engine *engine, struct pv_buffer *out)
{
    enum { SHOWN = 12 };
    struct interp *interp = engine->impl;
    uint64_t handled[A64_OP_COUNT] = {0};
    for (unsigned i = 0; i < engine->config.vcpus; i++) {
        const struct cpu *c = atomic_load(&interp->cpus[i]);
        for (unsigned op = 0; c && op < A64_OP_COUNT; op++)
            handled[op] += c->jit.handled[op];
    }
    pv_buffer_printf(out, "handlers called most:");
    for (unsigned shown = 0; shown < SHOWN; shown++) {
        unsigned most = 0;
        for (unsigned op = 0; op < A64_OP_COUNT; op++)
            if (handled[op] > handled[most])
                most = op;
        if (!handled[most])
            break;
        pv_buffer_printf(out, "%s %s %" PRIu64, shown ? "," : "", a64_op_name(most), handled[most]);
        handled[most] = 0;
    }
    pv_buffer_printf(out, "\n");
}

void jit_report(struct pv_engine *engine, struct pv_buffer *out)
{
    struct interp *interp = engine->impl;
    uint64_t cpu_ns = 0;
    for (unsigned i = 0; i < engine->config.vcpus; i++) {
        struct pv_vcpu_stats stats;
        pv_vcpu_get_stats(&engine->vcpus[i], &stats);
        cpu_ns += stats.cpu_ns;
    }
    report_code(interp->jit, cpu_ns, out);
    for (unsigned i = 0; i < engine->config.vcpus; i++) {
        const struct cpu *c = atomic_load(&interp->cpus[i]);
        if (c)
            report_cpu(c, out);
    }
    report_handled(engine, out);
}
