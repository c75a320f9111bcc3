/* SPDX-License-Identifier: MIT */
/* The interpreter behind the engine seam: creation, reset, state, and the address space's news. */
#include "engine/interp/interp.h"

#include "base/error.h"
#include "engine/interp/exception.h"
#include "engine/interp/mmu.h"
#include "engine/interp/run.h"
#include "engine/interp/sysreg.h"

#include <errno.h>
#include <string.h>

/* ---- The address space changes ---- */

/*
 * No instruction is fetched from device memory and no host pointer leads there, so that devices,
 * whose BARs a guest moves about all through its boot, come and go without a flush.
 */
static bool is_device(const struct pv_region_info *region)
{
    return region->kind == PV_REGION_MMIO;
}

static void region_added(void *opaque, const struct pv_region_info *region)
{
    /* Regions do not overlap, so nothing that was memory is different now. */
    struct interp *interp = opaque;
    if (region->shared && region->kind == PV_REGION_RAM && atomic_exchange(&interp->alone, false))
        interp_icache_invalidate_all(interp);
}

static void region_removed(void *opaque, const struct pv_region_info *region)
{
    struct interp *interp = opaque;
    if (is_device(region))
        return;
    interp_icache_invalidate_range(interp, region->address, region->size);
    mmu_flush_everywhere(interp, TLB_FLUSH_HOST);
}

static void dirty_log_changed(void *opaque)
{
    mmu_flush_everywhere(opaque, TLB_FLUSH_HOST);
}

/* ---- Engine ---- */

static void free_cpu(struct cpu *c)
{
    if (!c)
        return;
    run_cpu_destroy(c);
    mmu_destroy(c);
    free(c->sys);
    free(PV_CONTAINER_OF(c, struct cpu_with_tlb, cpu));
}

static int interp_create(struct pv_engine *engine, struct pv_error **err)
{
    struct interp *interp = calloc(1, sizeof(*interp));
    if (!interp)
        return pv_error_set(err, ENOMEM, "out of memory");
    interp->engine = engine;
    interp->as = engine->config.as;
    interp->alone = engine->config.vcpus == 1;
    sysreg_build_index(interp);
    int ret = run_create(interp);
    if (ret < 0) {
        free(interp);
        return pv_error_set(err, ENOMEM, "out of memory");
    }
    interp->listener = (struct pv_as_listener){
        .added = region_added,
        .removed = region_removed,
        .dirty_log_changed = dirty_log_changed,
        .opaque = interp,
    };
    engine->impl = interp;
    pv_as_add_listener(interp->as, &interp->listener);
    return 0;
}

static void interp_destroy(struct pv_engine *engine)
{
    struct interp *interp = engine->impl;
    pv_as_remove_listener(interp->as, &interp->listener);
    for (unsigned i = 0; i < engine->config.vcpus; i++)
        free_cpu(atomic_load(&interp->cpus[i]));
    run_destroy(interp);
    free(interp);
}

static int interp_vcpu_create(struct pv_vcpu *vcpu, struct pv_error **err)
{
    struct interp *interp = vcpu->engine->impl;
    struct cpu_with_tlb *pe = aligned_alloc(64, (sizeof(*pe) + 63) & ~(size_t)63);
    if (!pe)
        return pv_error_set(err, ENOMEM, "out of memory");
    memset(pe, 0, sizeof(*pe));
    struct cpu *c = &pe->cpu;
    mmu_create(pe);
    c->interp = interp;
    c->vcpu = vcpu;
    c->sys = calloc(1, sizeof(*c->sys));
    if (!c->sys || run_cpu_create(c) < 0) {
        free_cpu(c);
        return pv_error_set(err, ENOMEM, "out of memory");
    }
    sysreg_reset(c);
    mmu_reset(c);
    vcpu->impl = c;
    atomic_store(&interp->cpus[vcpu->index], c);
    return 0;
}

/* Other vCPUs may still post to this one: interp_destroy() frees it. */
static void interp_vcpu_destroy(struct pv_vcpu *vcpu)
{
    interp_outside(vcpu->impl);
}

static void interp_reset(struct pv_vcpu *vcpu, uint64_t entry, uint64_t context)
{
    struct cpu *c = vcpu->impl;
    memset(c->x, 0, sizeof(c->x));
    memset(c->v, 0, sizeof(c->v));
    memset(c->sp_el, 0, sizeof(c->sp_el));
    c->sp = 0;
    c->fpcr = c->fpsr = 0;
    c->pan = c->uao = c->ssbs = c->dit = c->il = c->ss = c->btype = 0;
    c->nzcv = 0;
    c->daif = 0x3c0;
    c->el = c->spsel = 1;
    c->pc = entry;
    c->x[0] = context;
    __atomic_store_n(&c->instructions, 0, __ATOMIC_RELAXED);
    sysreg_reset(c);
    c->sys->reg[SYSREG_RVBAR_EL1] = entry;
    mmu_reset(c);
    sysreg_update_fp_trap(c);
    debug_update(c);
    cpu_clear_monitor(c);
    /* A reset PE starts with an empty instruction cache, and a loader may have been at work. */
    interp_icache_invalidate_all(c->interp);
}

static enum pv_exit interp_vcpu_run(struct pv_vcpu *vcpu, struct pv_error **err)
{
    struct cpu *c = vcpu->impl;
    interp_inside(c);
    enum pv_exit why = run_loop(c);
    interp_outside(c);
    return why;
}

/* ---- State ---- */

static int interp_get_state(struct pv_vcpu *vcpu, struct pv_vcpu_state *state)
{
    const struct cpu *c = vcpu->impl;
    bool on_el1 = c->el && c->spsel;
    memcpy(state->x, c->x, sizeof(state->x));
    state->sp_el0 = on_el1 ? c->sp_el[0] : c->sp;
    state->sp_el1 = on_el1 ? c->sp : c->sp_el[1];
    state->pc = c->pc;
    state->pstate = exception_pstate(c);
    memcpy(state->v, c->v, sizeof(state->v));
    state->fpcr = c->fpcr;
    state->fpsr = c->fpsr;
    return 0;
}

static int interp_set_state(struct pv_vcpu *vcpu, const struct pv_vcpu_state *state)
{
    struct cpu *c = vcpu->impl;
    unsigned mode = state->pstate & 0x1f;
    if (mode != 0 && mode != 4 && mode != 5)
        return -EINVAL;
    memcpy(c->x, state->x, sizeof(state->x));
    exception_set_pstate(c, (uint32_t)state->pstate);
    bool on_el1 = c->el && c->spsel;
    c->sp_el[0] = state->sp_el0;
    c->sp_el[1] = state->sp_el1;
    c->sp = on_el1 ? state->sp_el1 : state->sp_el0;
    c->pc = state->pc;
    memcpy(c->v, state->v, sizeof(state->v));
    c->fpcr = state->fpcr & FPCR_WRITABLE;
    c->fpsr = state->fpsr & 0x0800009f;
    return 0;
}

static int interp_get_sysreg(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t *value)
{
    return sysreg_peek(vcpu->impl, sysreg, value);
}

static int interp_set_sysreg(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t value)
{
    return sysreg_poke(vcpu->impl, sysreg, value);
}

static void interp_get_stats(const struct pv_vcpu *vcpu, struct pv_vcpu_stats *stats)
{
    const struct cpu *c = vcpu->impl;
    stats->instructions = __atomic_load_n(&c->instructions, __ATOMIC_RELAXED);
    stats->mmio_exits = atomic_load_explicit(&c->tlb->mmio_exits, memory_order_relaxed);
    stats->tlb_lookups = atomic_load_explicit(&c->tlb->lookups, memory_order_relaxed);
    stats->tlb_walks = atomic_load_explicit(&c->tlb->walks, memory_order_relaxed);
    stats->interrupts = atomic_load_explicit(&c->sys->interrupts, memory_order_relaxed);
}

const struct pv_engine_ops pv_engine_interp = {
    .name = "interp",
    .description = "interprets A64 on any host; the reference",
    .create = interp_create,
    .destroy = interp_destroy,
    .vcpu_create = interp_vcpu_create,
    .vcpu_destroy = interp_vcpu_destroy,
    .vcpu_reset = interp_reset,
    .vcpu_run = interp_vcpu_run,
    .get_state = interp_get_state,
    .set_state = interp_set_state,
    .get_sysreg = interp_get_sysreg,
    .set_sysreg = interp_set_sysreg,
    .get_stats = interp_get_stats,
};
