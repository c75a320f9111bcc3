/* SPDX-License-Identifier: MIT */
/*
 * The Hypervisor.framework engine, for macOS on Apple Silicon.
 *
 * The framework has one VM for each process, which nothing names, and vCPUs that belong to the
 * threads that made them: all that concerns a vCPU is done there, only hv_vcpus_exit comes from
 * elsewhere. It runs the guest until there is something for us: an access to a device, a call, a
 * register of the GIC or the physical timer, WFI, or the virtual timer.
 *
 * The GIC is the machine's. Its lines are told to the framework before each entry, which forgets
 * them each time.
 *
 * The virtual timer is the CPU's, so the guest programs it without us. When it fires while the vCPU
 * runs, the framework says so once, and masks it. From then on its line is up, until the guest has
 * turned it off or set it anew, for which we look at each exit. When it fires while the vCPU
 * sleeps in WFI, nobody says anything: the sleep ends at the time that the registers say.
 *
 * The same sources are built on Linux against a simulated framework (tests/hvf-sim), which checks
 * the rules above. They have never run on a Mac.
 */
#include "engine/hvf/hvf.h"

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "host/clock.h"

#include <errno.h>
#include <inttypes.h>
#include <mach/mach_time.h>
#include <stdlib.h>
#include <string.h>

#define MPIDR_EL1     PV_SYSREG(3, 0, 0, 0, 5)
#define SP_EL0        PV_SYSREG(3, 0, 4, 1, 0)
#define SP_EL1        PV_SYSREG(3, 4, 4, 1, 0)
#define CNTV_CTL_EL0  PV_SYSREG(3, 3, 14, 3, 1)
#define CNTV_CVAL_EL0 PV_SYSREG(3, 3, 14, 3, 2)

#define TIMER_ENABLE  1u
#define TIMER_IMASK   2u
#define TIMER_ISTATUS 4u

/* The highest address that the machine's map uses, in bits. */
#define IPA_BITS 40

/* ---- Registers ---- */

static void note(struct hvf_vcpu *v, hv_return_t ret)
{
    if (ret != HV_SUCCESS && !v->error)
        v->error = (uint32_t)ret;
}

uint64_t hvf_reg(struct hvf_vcpu *v, hv_reg_t reg)
{
    uint64_t value = 0;
    note(v, hv_vcpu_get_reg(v->id, reg, &value));
    return value;
}

void hvf_set_reg(struct hvf_vcpu *v, hv_reg_t reg, uint64_t value)
{
    note(v, hv_vcpu_set_reg(v->id, reg, value));
}

uint64_t hvf_sysreg(struct hvf_vcpu *v, uint32_t sysreg)
{
    uint64_t value = 0;
    note(v, hv_vcpu_get_sys_reg(v->id, (hv_sys_reg_t)sysreg, &value));
    return value;
}

void hvf_set_sysreg(struct hvf_vcpu *v, uint32_t sysreg, uint64_t value)
{
    note(v, hv_vcpu_set_sys_reg(v->id, (hv_sys_reg_t)sysreg, value));
}

/* What the calls since the last look have met with. */
static int take_error(struct hvf_vcpu *v)
{
    const bool failed = v->error;
    v->error = 0;
    return failed ? -EIO : 0;
}

static int get_state(struct pv_vcpu *vcpu, struct pv_vcpu_state *state)
{
    struct hvf_vcpu *v = vcpu->impl;

    memset(state, 0, sizeof(*state));
    for (unsigned i = 0; i < 31; i++)
        state->x[i] = hvf_reg(v, HV_REG_X0 + i);
    for (unsigned i = 0; i < 32; i++) {
        hv_simd_fp_uchar16_t q;
        note(v, hv_vcpu_get_simd_fp_reg(v->id, i, &q));
        memcpy(state->v[i], &q, sizeof(q));
    }
    state->pc = hvf_reg(v, HV_REG_PC);
    state->pstate = hvf_reg(v, HV_REG_CPSR);
    state->fpcr = (uint32_t)hvf_reg(v, HV_REG_FPCR);
    state->fpsr = (uint32_t)hvf_reg(v, HV_REG_FPSR);
    state->sp_el0 = hvf_sysreg(v, SP_EL0);
    state->sp_el1 = hvf_sysreg(v, SP_EL1);
    return take_error(v);
}

static int set_state(struct pv_vcpu *vcpu, const struct pv_vcpu_state *state)
{
    struct hvf_vcpu *v = vcpu->impl;

    for (unsigned i = 0; i < 31; i++)
        hvf_set_reg(v, HV_REG_X0 + i, state->x[i]);
    for (unsigned i = 0; i < 32; i++) {
        hv_simd_fp_uchar16_t q;
        memcpy(&q, state->v[i], sizeof(q));
        note(v, hv_vcpu_set_simd_fp_reg(v->id, i, q));
    }
    hvf_set_reg(v, HV_REG_PC, state->pc);
    hvf_set_reg(v, HV_REG_CPSR, state->pstate);
    hvf_set_reg(v, HV_REG_FPCR, state->fpcr);
    hvf_set_reg(v, HV_REG_FPSR, state->fpsr);
    hvf_set_sysreg(v, SP_EL0, state->sp_el0);
    hvf_set_sysreg(v, SP_EL1, state->sp_el1);
    return take_error(v);
}

static int get_sysreg(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t *value)
{
    const struct hvf_vcpu *v = vcpu->impl;
    return hv_vcpu_get_sys_reg(v->id, (hv_sys_reg_t)sysreg, value) == HV_SUCCESS ? 0 : -ENOENT;
}

static int set_sysreg(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t value)
{
    const struct hvf_vcpu *v = vcpu->impl;
    return hv_vcpu_set_sys_reg(v->id, (hv_sys_reg_t)sysreg, value) == HV_SUCCESS ? 0 : -ENOENT;
}

/* ---- The counter and the virtual timer ---- */

static uint64_t counter_frequency(void)
{
    mach_timebase_info_data_t base;

    mach_timebase_info(&base);
    return PV_NSEC_PER_SEC * base.denom / base.numer;
}

static int get_counter(struct pv_engine *engine, uint64_t *count)
{
    const struct hvf *hvf = engine->impl;
    *count = mach_absolute_time() - atomic_load(&hvf->counter_offset);
    return 0;
}

/* Each vCPU's thread tells the framework when it runs next. */
static int set_counter(struct pv_engine *engine, uint64_t count)
{
    struct hvf *hvf = engine->impl;
    atomic_store(&hvf->counter_offset, mach_absolute_time() - count);
    return 0;
}

static const struct pv_engine_timer_ops timer_ops = {
    .counter_frequency = counter_frequency,
    .get_counter = get_counter,
    .set_counter = set_counter,
};

static void drive_vtimer(struct pv_vcpu *vcpu, bool level)
{
    const struct pv_engine_config *config = &vcpu->engine->config;
    struct hvf_vcpu *v = vcpu->impl;

    v->vtimer_fired = level;
    if (config->client->vtimer)
        config->client->vtimer(config->client_opaque, vcpu->index, level);
}

/*
 * Brings the line up to date: a guest that has seen to its timer is not to be interrupted again,
 * and one that asks the GIC before the framework has said anything is told the truth.
 */
static void look_at_vtimer(struct pv_vcpu *vcpu)
{
    struct hvf_vcpu *v = vcpu->impl;
    const bool fires =
        (hvf_sysreg(v, CNTV_CTL_EL0) & (TIMER_ENABLE | TIMER_IMASK | TIMER_ISTATUS)) ==
        (TIMER_ENABLE | TIMER_ISTATUS);

    if (fires == v->vtimer_fired)
        return;
    note(v, hv_vcpu_set_vtimer_mask(v->id, fires));
    drive_vtimer(vcpu, fires);
}

/* When a vCPU that goes to sleep now has to be woken for its timer. */
static uint64_t vtimer_deadline(struct pv_vcpu *vcpu)
{
    const struct hvf *hvf = vcpu->engine->impl;
    struct hvf_vcpu *v = vcpu->impl;

    if (v->vtimer_fired ||
        (hvf_sysreg(v, CNTV_CTL_EL0) & (TIMER_ENABLE | TIMER_IMASK)) != TIMER_ENABLE)
        return 0;
    const uint64_t count = mach_absolute_time() - atomic_load(&hvf->counter_offset);
    const uint64_t compare = hvf_sysreg(v, CNTV_CVAL_EL0), now = pv_clock_ns();
    if (compare <= count)
        return now;
    const unsigned __int128 ns =
        (unsigned __int128)(compare - count) * PV_NSEC_PER_SEC / counter_frequency();
    return ns > UINT64_MAX - now ? 0 : now + (uint64_t)ns + 1;
}

/* ---- Running ---- */

static void vcpu_kick(struct pv_vcpu *vcpu)
{
    struct hvf_vcpu *v = vcpu->impl;
    if (v)
        hv_vcpus_exit(&v->id, 1);
}

static void prepare(struct pv_vcpu *vcpu, uint32_t attention)
{
    const struct hvf *hvf = vcpu->engine->impl;
    struct hvf_vcpu *v = vcpu->impl;
    const uint64_t offset = atomic_load(&hvf->counter_offset);

    if (offset != v->counter_offset)
        note(v, hv_vcpu_set_vtimer_offset(v->id, offset));
    v->counter_offset = offset;
    note(v,
         hv_vcpu_set_pending_interrupt(v->id, HV_INTERRUPT_TYPE_IRQ, attention & PV_ATTENTION_IRQ));
    note(v,
         hv_vcpu_set_pending_interrupt(v->id, HV_INTERRUPT_TYPE_FIQ, attention & PV_ATTENTION_FIQ));
}

static enum pv_exit answer(struct pv_vcpu *vcpu, struct pv_error **err)
{
    struct hvf_vcpu *v = vcpu->impl;

    switch (v->exit->reason) {
    case HV_EXIT_REASON_CANCELED: return PV_EXIT_KICK;
    case HV_EXIT_REASON_EXCEPTION: return hvf_exception(vcpu, err);
    case HV_EXIT_REASON_VTIMER_ACTIVATED:
        if (!v->vtimer_fired)
            drive_vtimer(vcpu, true);
        return PV_EXIT_KICK;
    default:
        pv_error_set(err, EIO, "the framework's exit %u is unknown", v->exit->reason);
        return PV_EXIT_FATAL;
    }
}

static enum pv_exit vcpu_run(struct pv_vcpu *vcpu, struct pv_error **err)
{
    const uint32_t lines = PV_ATTENTION_IRQ | PV_ATTENTION_FIQ;
    struct hvf_vcpu *v = vcpu->impl;
    enum pv_exit why = PV_EXIT_KICK;

    vcpu->wake_at = 0;
    look_at_vtimer(vcpu);
    for (;;) {
        const uint32_t attention = atomic_load(&vcpu->attention);
        if (why != PV_EXIT_KICK || attention & ~lines || v->error)
            break;
        prepare(vcpu, attention);
        hv_return_t ret = hv_vcpu_run(v->id);
        note(v, ret);
        look_at_vtimer(vcpu);
        if (ret == HV_SUCCESS)
            why = answer(vcpu, err);
    }
    vcpu->wake_at = vtimer_deadline(vcpu);
    if (why != PV_EXIT_FATAL && v->error) {
        pv_error_set(err, EIO, "Hypervisor.framework says %#" PRIx64 " at PC %#" PRIx64, v->error,
                     hvf_reg(v, HV_REG_PC));
        why = PV_EXIT_FATAL;
    }
    return why;
}

/* ---- vCPUs ---- */

static void vcpu_reset(struct pv_vcpu *vcpu, uint64_t entry, uint64_t context)
{
    const struct pv_vcpu_state state = {.x[0] = context, .pc = entry, .pstate = 0x3c5};
    struct hvf_vcpu *v = vcpu->impl;
    size_t count;
    const uint32_t *list = pv_engine_state_sysregs(&count);

    for (size_t i = 0; i < count; i++)
        if (v->exists[i])
            hvf_set_sysreg(v, list[i], v->initial[i]);
    if (v->vtimer_fired)
        drive_vtimer(vcpu, false);
    note(v, hv_vcpu_set_vtimer_mask(v->id, false));
    if (set_state(vcpu, &state) < 0)
        v->error = (uint32_t)HV_ERROR; /* vcpu_run reports it */
}

/* What a reset goes back to. */
static int keep_initial(struct hvf_vcpu *v, struct pv_error **err)
{
    size_t count;
    const uint32_t *list = pv_engine_state_sysregs(&count);

    v->initial = calloc(count, sizeof(*v->initial));
    v->exists = calloc(count, sizeof(*v->exists));
    if (!v->initial || !v->exists)
        return pv_error_set(err, ENOMEM, "out of memory");
    for (size_t i = 0; i < count; i++)
        v->exists[i] =
            hv_vcpu_get_sys_reg(v->id, (hv_sys_reg_t)list[i], &v->initial[i]) == HV_SUCCESS;
    return 0;
}

static void free_vcpu(struct hvf_vcpu *v)
{
    free(v->initial);
    free(v->exists);
    free(v);
}

static int vcpu_create(struct pv_vcpu *vcpu, struct pv_error **err)
{
    struct hvf_vcpu *v = calloc(1, sizeof(*v));
    if (!v)
        return pv_error_set(err, ENOMEM, "out of memory");
    hv_return_t made = hv_vcpu_create(&v->id, &v->exit, NULL);
    if (made != HV_SUCCESS) {
        free(v);
        return pv_error_set(err, EIO, "hv_vcpu_create: %#x", (unsigned)made);
    }
    hvf_set_sysreg(v, MPIDR_EL1, vcpu->mpidr | UINT64_C(1) << 31);
    int ret = keep_initial(v, err);
    if (ret >= 0 && take_error(v) < 0)
        ret = pv_error_set(err, EIO, "a vCPU's registers cannot be set");
    if (ret < 0) {
        hv_vcpu_destroy(v->id);
        free_vcpu(v);
        return ret;
    }
    vcpu->impl = v;
    return 0;
}

static void vcpu_destroy(struct pv_vcpu *vcpu)
{
    struct hvf_vcpu *v = vcpu->impl;

    hv_vcpu_destroy(v->id);
    vcpu->impl = NULL;
    free_vcpu(v);
}

/* ---- The VM ---- */

static int describe(hv_return_t ret, struct pv_error **err)
{
    switch (ret) {
    case HV_DENIED:
        return pv_error_set(err, EACCES,
                            "macOS denies the hypervisor: sign the program with the entitlement "
                            "com.apple.security.hypervisor ('codesign --sign - --force "
                            "--entitlements dist/macos/pearvisor.entitlements PROGRAM')");
    case HV_BUSY:
        return pv_error_set(err, EBUSY,
                            "this process has a VM already, and the framework gives it only one");
    case HV_UNSUPPORTED:
        return pv_error_set(err, ENOTSUP,
                            "this Mac cannot run virtual machines (it may be one itself); use "
                            "--engine interp");
    default: return pv_error_set(err, EIO, "Hypervisor.framework says %#x", (unsigned)ret);
    }
}

static int check_limits(unsigned vcpus, struct pv_error **err)
{
    uint32_t bits = 0, most = 0;
    hv_return_t ret = hv_vm_get_max_vcpu_count(&most);

    if (ret == HV_SUCCESS)
        ret = hv_vm_config_get_max_ipa_size(&bits);
    if (ret != HV_SUCCESS)
        return describe(ret, err);
    if (bits < IPA_BITS)
        return pv_error_set(err, ENOTSUP,
                            "this Mac gives guests addresses of %u bits, and the machine needs "
                            "%u; use --engine interp",
                            bits, IPA_BITS);
    if (vcpus > most)
        return pv_error_set(err, EINVAL, "%u vCPUs: this Mac has at most %u", vcpus, most);
    return 0;
}

static hv_return_t create_vm(void)
{
    hv_vm_config_t config = hv_vm_config_create();
    hv_return_t ret = hv_vm_config_set_ipa_size(config, IPA_BITS);

    if (ret == HV_SUCCESS)
        ret = hv_vm_create(config);
    os_release(config);
    return ret;
}

/* Only making a VM tells whether the program's signature is good for it. */
static int probe(struct pv_error **err)
{
    int ret = check_limits(1, err);

    if (ret < 0)
        return ret;
    hv_return_t tried = create_vm();
    if (tried == HV_SUCCESS)
        hv_vm_destroy();
    return tried == HV_SUCCESS || tried == HV_BUSY ? 0 : describe(tried, err);
}

static int create(struct pv_engine *engine, struct pv_error **err)
{
    int ret = check_limits(engine->config.vcpus, err);

    if (ret < 0)
        return ret;
    struct hvf *hvf = calloc(1, sizeof(*hvf));
    if (!hvf)
        return pv_error_set(err, ENOMEM, "out of memory");
    hv_return_t made = create_vm();
    if (made != HV_SUCCESS) {
        free(hvf);
        return describe(made, err);
    }
    hvf->engine = engine;
    atomic_store(&hvf->counter_offset, mach_absolute_time());
    engine->impl = hvf;
    hvf_memory_attach(hvf);
    return 0;
}

static void destroy(struct pv_engine *engine)
{
    struct hvf *hvf = engine->impl;

    hvf_memory_detach(hvf);
    if (hv_vm_destroy() != HV_SUCCESS)
        pv_error_log(PV_LOG_ENGINE, "hv_vm_destroy failed: this process cannot have another VM");
    free(hvf);
}

static void get_stats(const struct pv_vcpu *vcpu, struct pv_vcpu_stats *stats)
{
    const struct hvf_vcpu *v = vcpu->impl;
    stats->mmio_exits = atomic_load_explicit(&v->mmio_exits, memory_order_relaxed);
}

const struct pv_engine_ops pv_engine_hvf = {
    .name = "hvf",
    .description = "the Mac's CPU, through Hypervisor.framework",
    .timer = &timer_ops,
    .thread_bound = true,
    .probe = probe,
    .create = create,
    .destroy = destroy,
    .vcpu_create = vcpu_create,
    .vcpu_destroy = vcpu_destroy,
    .vcpu_reset = vcpu_reset,
    .vcpu_run = vcpu_run,
    .vcpu_kick = vcpu_kick,
    .get_state = get_state,
    .set_state = set_state,
    .get_sysreg = get_sysreg,
    .set_sysreg = set_sysreg,
    .get_stats = get_stats,
};
