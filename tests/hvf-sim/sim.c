/* SPDX-License-Identifier: MIT */
/*
 * A Hypervisor.framework for Linux: the interface that src/engine/hvf uses, over our interpreter.
 *
 * It is there to run that engine where no Mac is, and to be strict: the framework's rules (a vCPU
 * is its thread's, mappings are made of pages of 16 KiB, one VM a process, a VM before vCPUs) are
 * checked, and breaking one aborts the program with a line that names it. test_rules.c breaks each.
 *
 * The interpreter knows devices and firmware calls as callbacks; the framework knows exits. In a
 * callback (sim_run.c) the instruction is given up by a jump back into the interpreter's loop,
 * which has not changed anything by then, and hv_vcpu_run returns with the exit.
 */
#include "sim.h"

#include "base/util.h"
#include "host/clock.h"

#include <errno.h>
#include <mach/mach_time.h>
#include <stdarg.h>
#include <string.h>

#define SP_EL0      PV_SYSREG(3, 0, 4, 1, 0)
#define SP_EL1      PV_SYSREG(3, 4, 4, 1, 0)
#define MPIDR_EL1   PV_SYSREG(3, 0, 0, 0, 5)
#define CNTV_CTL    PV_SYSREG(3, 3, 14, 3, 1)
#define CNTV_CVAL   PV_SYSREG(3, 3, 14, 3, 2)
#define NS_PER_TICK 16u /* 62.5 MHz, which the guest programs of tests/guest expect */

struct sim sim = {.lock = PTHREAD_MUTEX_INITIALIZER};
struct sim_host sim_host = {.vcpus = SIM_VCPUS, .ipa_bits = 40};
_Thread_local struct sim_vcpu *sim_mine;

void sim_broken(const char *format, ...)
{
    va_list args;

    fputs("hvf-sim: ", stderr);
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
    abort();
}

static void need_vm(const char *what)
{
    if (!sim.vm)
        sim_broken("%s without a VM", what);
}

int mach_timebase_info(mach_timebase_info_data_t *info)
{
    *info = (mach_timebase_info_data_t){.numer = NS_PER_TICK, .denom = 1};
    return 0;
}

uint64_t mach_absolute_time(void)
{
    return pv_clock_ns() / NS_PER_TICK;
}

void os_release(void *object)
{
    free(object);
}

/* ---- The VM ---- */

struct hv_vm_config_s {
    uint32_t ipa_bits;
};

hv_return_t hv_vm_get_max_vcpu_count(uint32_t *count)
{
    *count = sim_host.vcpus;
    return HV_SUCCESS;
}

hv_vm_config_t hv_vm_config_create(void)
{
    return calloc(1, sizeof(struct hv_vm_config_s));
}

hv_return_t hv_vm_config_get_max_ipa_size(uint32_t *bits)
{
    *bits = sim_host.ipa_bits;
    return HV_SUCCESS;
}

hv_return_t hv_vm_config_set_ipa_size(hv_vm_config_t config, uint32_t bits)
{
    config->ipa_bits = bits;
    return bits <= sim_host.ipa_bits ? HV_SUCCESS : HV_BAD_ARGUMENT;
}

hv_return_t hv_vm_create(hv_vm_config_t config)
{
    uint64_t mpidr[SIM_VCPUS];
    pthread_rwlockattr_t fair;
    (void)config;

    if (sim_host.refusal != HV_SUCCESS)
        return sim_host.refusal;
    if (sim.vm)
        return HV_BUSY;
    for (unsigned i = 0; i < SIM_VCPUS; i++)
        mpidr[i] = i;
    pthread_rwlockattr_init(&fair);
    pthread_rwlockattr_setkind_np(&fair, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&sim.world, &fair);
    pthread_rwlockattr_destroy(&fair);
    if (pv_as_create(&sim.as, NULL) < 0)
        return HV_NO_RESOURCES;
    const struct pv_engine_config engine = {
        .as = sim.as, .vcpus = SIM_VCPUS, .client = &sim_client, .mpidr = mpidr};
    if (pv_engine_create(&sim.engine, &pv_engine_interp, &engine, NULL) < 0) {
        pv_as_destroy(sim.as);
        return HV_NO_RESOURCES;
    }
    sim.ending = false;
    sim.vm = true;
    pthread_create(&sim.ticker, NULL, sim_ticker, NULL);
    return HV_SUCCESS;
}

hv_return_t hv_vm_destroy(void)
{
    need_vm("hv_vm_destroy");
    for (unsigned i = 0; i < SIM_VCPUS; i++)
        if (sim.vcpus[i].used)
            sim_broken("hv_vm_destroy while vCPU %u is there", i);
    sim.ending = true;
    pthread_join(sim.ticker, NULL);
    pv_engine_destroy(sim.engine);
    sim_forget_mappings();
    pv_as_destroy(sim.as);
    pthread_rwlock_destroy(&sim.world);
    sim.vm = false;
    return HV_SUCCESS;
}

/* ---- vCPUs ---- */

struct sim_vcpu *sim_own(hv_vcpu_t id)
{
    if (id >= SIM_VCPUS || !sim.vcpus[id].used)
        sim_broken("vCPU %llu does not exist", (unsigned long long)id);
    if (sim_mine != &sim.vcpus[id])
        sim_broken("vCPU %llu belongs to another thread", (unsigned long long)id);
    return &sim.vcpus[id];
}

hv_return_t hv_vcpu_create(hv_vcpu_t *vcpu, hv_vcpu_exit_t **exit, hv_vcpu_config_t config)
{
    (void)config;
    need_vm("hv_vcpu_create");
    if (sim_mine)
        sim_broken("a thread has one vCPU");
    pthread_mutex_lock(&sim.lock);
    unsigned id = 0;
    while (id < SIM_VCPUS && sim.vcpus[id].used)
        id++;
    if (id < SIM_VCPUS) {
        struct sim_vcpu *v = &sim.vcpus[id];
        memset(v, 0, sizeof(*v));
        v->vcpu = &sim.engine->vcpus[id];
        if (v->vcpu->impl || pv_engine_interp.vcpu_create(v->vcpu, NULL) == 0) {
            pv_engine_interp.vcpu_reset(v->vcpu, 0, 0);
            v->used = true;
            sim_mine = v;
        }
    }
    pthread_mutex_unlock(&sim.lock);
    if (!sim_mine)
        return HV_NO_RESOURCES;
    *vcpu = id;
    *exit = &sim.vcpus[id].exit;
    return HV_SUCCESS;
}

hv_return_t hv_vcpu_destroy(hv_vcpu_t vcpu)
{
    struct sim_vcpu *v = sim_own(vcpu);

    pv_engine_interp.vcpu_destroy(v->vcpu);
    pthread_mutex_lock(&sim.lock);
    v->used = false;
    sim_mine = NULL;
    pthread_mutex_unlock(&sim.lock);
    return HV_SUCCESS;
}

/* ---- Registers ---- */

static uint64_t *in_state(struct pv_vcpu_state *state, hv_reg_t reg)
{
    if (reg < 31)
        return &state->x[reg];
    return reg == HV_REG_PC ? &state->pc : reg == HV_REG_CPSR ? &state->pstate : NULL;
}

static uint32_t *in_fp_state(struct pv_vcpu_state *state, hv_reg_t reg)
{
    return reg == HV_REG_FPCR ? &state->fpcr : reg == HV_REG_FPSR ? &state->fpsr : NULL;
}

hv_return_t hv_vcpu_get_reg(hv_vcpu_t vcpu, hv_reg_t reg, uint64_t *value)
{
    struct sim_vcpu *v = sim_own(vcpu);
    struct pv_vcpu_state state;

    pv_engine_interp.get_state(v->vcpu, &state);
    if (in_state(&state, reg))
        *value = *in_state(&state, reg);
    else if (in_fp_state(&state, reg))
        *value = *in_fp_state(&state, reg);
    else
        return HV_BAD_ARGUMENT;
    return HV_SUCCESS;
}

hv_return_t hv_vcpu_set_reg(hv_vcpu_t vcpu, hv_reg_t reg, uint64_t value)
{
    struct sim_vcpu *v = sim_own(vcpu);
    struct pv_vcpu_state state;

    pv_engine_interp.get_state(v->vcpu, &state);
    if (in_state(&state, reg))
        *in_state(&state, reg) = value;
    else if (in_fp_state(&state, reg))
        *in_fp_state(&state, reg) = (uint32_t)value;
    else
        return HV_BAD_ARGUMENT;
    return pv_engine_interp.set_state(v->vcpu, &state) < 0 ? HV_BAD_ARGUMENT : HV_SUCCESS;
}

hv_return_t hv_vcpu_get_simd_fp_reg(hv_vcpu_t vcpu, hv_simd_fp_reg_t reg,
                                    hv_simd_fp_uchar16_t *value)
{
    struct sim_vcpu *v = sim_own(vcpu);
    struct pv_vcpu_state state;

    if (reg > 31)
        return HV_BAD_ARGUMENT;
    pv_engine_interp.get_state(v->vcpu, &state);
    memcpy(value, state.v[reg], sizeof(*value));
    return HV_SUCCESS;
}

hv_return_t hv_vcpu_set_simd_fp_reg(hv_vcpu_t vcpu, hv_simd_fp_reg_t reg,
                                    hv_simd_fp_uchar16_t value)
{
    struct sim_vcpu *v = sim_own(vcpu);
    struct pv_vcpu_state state;

    if (reg > 31)
        return HV_BAD_ARGUMENT;
    pv_engine_interp.get_state(v->vcpu, &state);
    memcpy(state.v[reg], &value, sizeof(value));
    pv_engine_interp.set_state(v->vcpu, &state);
    return HV_SUCCESS;
}

hv_return_t hv_vcpu_get_sys_reg(hv_vcpu_t vcpu, hv_sys_reg_t reg, uint64_t *value)
{
    struct sim_vcpu *v = sim_own(vcpu);
    struct pv_vcpu_state state;

    switch (reg) {
    case SP_EL0:
    case SP_EL1:
        pv_engine_interp.get_state(v->vcpu, &state);
        *value = reg == SP_EL0 ? state.sp_el0 : state.sp_el1;
        return HV_SUCCESS;
    case CNTV_CTL: *value = sim_timer_control(v); return HV_SUCCESS;
    case CNTV_CVAL: *value = v->cval; return HV_SUCCESS;
    default:
        return pv_engine_interp.get_sysreg(v->vcpu, reg, value) < 0 ? HV_BAD_ARGUMENT : HV_SUCCESS;
    }
}

hv_return_t hv_vcpu_set_sys_reg(hv_vcpu_t vcpu, hv_sys_reg_t reg, uint64_t value)
{
    struct sim_vcpu *v = sim_own(vcpu);
    struct pv_vcpu_state state;

    switch (reg) {
    case MPIDR_EL1: v->vcpu->mpidr = value & ~(UINT64_C(1) << 31); return HV_SUCCESS;
    case SP_EL0:
    case SP_EL1:
        pv_engine_interp.get_state(v->vcpu, &state);
        *(reg == SP_EL0 ? &state.sp_el0 : &state.sp_el1) = value;
        pv_engine_interp.set_state(v->vcpu, &state);
        return HV_SUCCESS;
    case CNTV_CTL: v->ctl = value & 3; return HV_SUCCESS;
    case CNTV_CVAL: v->cval = value; return HV_SUCCESS;
    default:
        return pv_engine_interp.set_sysreg(v->vcpu, reg, value) < 0 ? HV_BAD_ARGUMENT : HV_SUCCESS;
    }
}

hv_return_t hv_vcpu_set_pending_interrupt(hv_vcpu_t vcpu, hv_interrupt_type_t type, bool pending)
{
    sim_own(vcpu)->pending[type] = pending;
    return HV_SUCCESS;
}

hv_return_t hv_vcpu_set_vtimer_mask(hv_vcpu_t vcpu, bool masked)
{
    sim_own(vcpu)->masked = masked;
    return HV_SUCCESS;
}

hv_return_t hv_vcpu_set_vtimer_offset(hv_vcpu_t vcpu, uint64_t offset)
{
    sim_own(vcpu)->offset = offset;
    return HV_SUCCESS;
}
