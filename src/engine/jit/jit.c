/* SPDX-License-Identifier: MIT */
/*
 * The translating engine behind the engine seam. The PE and everything about it is the
 * interpreter's; this adds the shared code cache and each vCPU's jump cache, and runs vCPUs by
 * another loop.
 */
#include "engine/jit/jit.h"

#include "base/error.h"
#include "engine/interp/mmu.h"
#include "engine/jit/symbols.h"
#include "engine/jit/watch.h"

#include <cpuid.h>
#include <errno.h>

/* What x86-64-v3 has over the baseline, as far as translated code uses it. */
static const struct {
    const char *name;
    uint32_t leaf;
    unsigned reg; /* 0 to 3: EAX, EBX, ECX, EDX */
    unsigned bit;
} features[] = {
    {"SSE4.2", 1, 2, 20},
    {"FMA", 1, 2, 12},
    {"MOVBE", 1, 2, 22},
    {"POPCNT", 1, 2, 23},
    {"AVX", 1, 2, 28},
    {"CMPXCHG16B", 1, 2, 13},
    {"BMI1", 7, 1, 3},
    {"AVX2", 7, 1, 5},
    {"BMI2", 7, 1, 8},
    {"LAHF", 0x80000001u, 2, 0},
    {"LZCNT", 0x80000001u, 2, 5},
};

static int jit_probe(struct pv_error **err)
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(features); i++) {
        uint32_t regs[4] = {0};
        if (!__get_cpuid_count(features[i].leaf, 0, &regs[0], &regs[1], &regs[2], &regs[3]) ||
            !(regs[features[i].reg] >> features[i].bit & 1))
            return pv_error_set(err, ENODEV,
                                "engine 'jit': the host CPU has no %s; it needs an x86-64-v3 one "
                                "(Haswell, Zen or later)",
                                features[i].name);
    }
    return 0;
}

static void probe_crypto(struct jit *jit)
{
    enum { PCLMULQDQ = 1u << 1, AES = 1u << 25, SHA = 1u << 29 };
    uint32_t regs[4] = {0};
    if (__get_cpuid(1, &regs[0], &regs[1], &regs[2], &regs[3]))
        jit->host_aes = (regs[2] & (PCLMULQDQ | AES)) == (PCLMULQDQ | AES);
    if (__get_cpuid_count(7, 0, &regs[0], &regs[1], &regs[2], &regs[3]))
        jit->host_sha = regs[1] & SHA;
}

static void free_jit(struct jit *jit)
{
    jit_trace_destroy(jit->trace);
    jit_perf_map_destroy(jit->perf_map);
    jit_symbols_free(jit->symbols);
    jit_cache_destroy(jit);
    free(jit);
}

static int watch(struct jit *jit, const struct pv_engine_watch *watch, struct pv_error **err)
{
    int ret = 0;
    if (watch->symbols)
        ret = jit_symbols_load(&jit->symbols, watch->symbols, err);
    if (ret == 0 && watch->trace)
        ret = jit_trace_create(&jit->trace, watch, jit->symbols, err);
    if (ret == 0 && watch->perf_map)
        ret = jit_perf_map_create(&jit->perf_map, jit, jit->symbols, err);
    if (watch->trace && watch->trace_entered)
        jit->on_block = jit_trace_entered;
    return ret;
}

static int jit_create(struct pv_engine *engine, struct pv_error **err)
{
    struct jit *jit = calloc(1, sizeof(*jit));
    if (!jit)
        return pv_error_set(err, ENOMEM, "out of memory");
    int ret = jit_cache_create(jit, err);
    if (ret == 0) {
        probe_crypto(jit);
        jit_stubs_emit(jit, &engine->config);
        jit->stubs_end = jit->used;
        ret = watch(jit, &engine->config.watch, err);
    }
    if (ret == 0)
        ret = pv_engine_interp.create(engine, err);
    if (ret < 0) {
        free_jit(jit);
        return ret;
    }
    jit->interp = engine->impl;
    jit->interp->code_changed = jit_code_changed;
    jit->interp->jit = jit;
    return 0;
}

static void jit_destroy(struct pv_engine *engine)
{
    struct interp *interp = engine->impl;
    struct jit *jit = interp->jit;
    for (unsigned i = 0; i < engine->config.vcpus; i++) {
        struct cpu *c = atomic_load(&interp->cpus[i]);
        if (!c)
            continue;
        free(c->jit.targets);
        free(c->jit.handled);
    }
    pv_engine_interp.destroy(engine);
    free_jit(jit);
}

static int jit_vcpu_create(struct pv_vcpu *vcpu, struct pv_error **err)
{
    struct jit_target *targets = calloc(JIT_TARGETS, sizeof(*targets));
    uint64_t *handled = calloc(A64_OP_COUNT, sizeof(*handled));
    int ret = targets && handled ? pv_engine_interp.vcpu_create(vcpu, err)
                                 : pv_error_set(err, ENOMEM, "out of memory");
    if (ret < 0) {
        free(targets);
        free(handled);
        return ret;
    }
    struct cpu *c = vcpu->impl;
    c->jit.targets = targets;
    c->jit.handled = handled;
    return 0;
}

static void jit_vcpu_destroy(struct pv_vcpu *vcpu)
{
    pv_engine_interp.vcpu_destroy(vcpu);
}

static void jit_vcpu_reset(struct pv_vcpu *vcpu, uint64_t entry, uint64_t context)
{
    pv_engine_interp.vcpu_reset(vcpu, entry, context);
}

static enum pv_exit jit_vcpu_run(struct pv_vcpu *vcpu, struct pv_error **err)
{
    struct cpu *c = vcpu->impl;
    jit_enter_running(c);
    interp_inside(c);
    enum pv_exit why = jit_run_loop(c);
    interp_outside(c);
    jit_leave_running(c);
    return why;
}

static void jit_vcpu_kick(struct pv_vcpu *vcpu)
{
    const struct interp *interp = vcpu->engine->impl;
    struct cpu *c = atomic_load(&interp->cpus[vcpu->index]);
    if (c)
        interp_look(c);
}

static int jit_get_state(struct pv_vcpu *vcpu, struct pv_vcpu_state *state)
{
    return pv_engine_interp.get_state(vcpu, state);
}

static int jit_set_state(struct pv_vcpu *vcpu, const struct pv_vcpu_state *state)
{
    return pv_engine_interp.set_state(vcpu, state);
}

static int jit_get_sysreg(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t *value)
{
    return pv_engine_interp.get_sysreg(vcpu, sysreg, value);
}

static int jit_set_sysreg(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t value)
{
    return pv_engine_interp.set_sysreg(vcpu, sysreg, value);
}

static void jit_get_stats(const struct pv_vcpu *vcpu, struct pv_vcpu_stats *stats)
{
    pv_engine_interp.get_stats(vcpu, stats);
    stats->instructions = 0; /* not counted */
}

const struct pv_engine_ops pv_engine_jit = {
    .name = "jit",
    .description = "translates A64 to x86-64",
    .watches = true,
    .probe = jit_probe,
    .create = jit_create,
    .destroy = jit_destroy,
    .vcpu_create = jit_vcpu_create,
    .vcpu_destroy = jit_vcpu_destroy,
    .vcpu_reset = jit_vcpu_reset,
    .vcpu_run = jit_vcpu_run,
    .vcpu_kick = jit_vcpu_kick,
    .get_state = jit_get_state,
    .set_state = jit_set_state,
    .get_sysreg = jit_get_sysreg,
    .set_sysreg = jit_set_sysreg,
    .get_stats = jit_get_stats,
    .report = jit_report,
};
