/* SPDX-License-Identifier: MIT */
/* Executing, and making exits of what the interpreter asks about. See sim.c. */
#include "sim.h"

#include "engine/interp/interp.h"
#include "engine/interp/mem.h"

#include <mach/mach_time.h>
#include <setjmp.h>
#include <string.h>
#include <unistd.h>

enum { TRANSLATION_FAULT = 0x07, PERMISSION_FAULT = 0x0f }; /* both of level 3 */

/* ---- Leaving ---- */

static struct cpu *cpu_of(const struct sim_vcpu *v)
{
    return v->vcpu->impl;
}

static struct sim_vcpu *running_here(void)
{
    for (unsigned i = 0; i < SIM_VCPUS; i++)
        if (sim.vcpus[i].used && pthread_equal(sim.vcpus[i].owner, pthread_self()))
            return &sim.vcpus[i];
    sim_broken("guest code runs on a thread without a vCPU");
}

static uint32_t instruction(struct cpu *c)
{
    uint64_t pa;
    uint32_t word;

    memcpy(&word, mem_fetch(c, c->pc, &pa), sizeof(word));
    return word;
}

/* Gives up the instruction: the loop sees that it has to stop, with interrupts out of the way. */
static _Noreturn void leave(struct sim_vcpu *v, unsigned ec, uint32_t iss, uint64_t va, uint64_t pa)
{
    struct cpu *c = cpu_of(v);

    v->exit =
        (hv_vcpu_exit_t){HV_EXIT_REASON_EXCEPTION, {(uint64_t)ec << 26 | 1u << 25 | iss, va, pa}};
    v->left = true;
    atomic_fetch_and(&v->vcpu->attention, ~(PV_ATTENTION_IRQ | PV_ATTENTION_FIQ));
    atomic_fetch_or(&v->vcpu->attention, PV_ATTENTION_STOP);
    interp_inside(c);
    longjmp(c->unwind, 1);
}

/* ---- Accesses to devices ---- */

/* Loads and stores of one register without write-back are described (Arm ARM, ISV). */
static bool is_described(uint32_t insn)
{
    if ((insn & 0x3b000000) == 0x39000000) /* unsigned offset */
        return !(insn >> 26 & 1);
    if ((insn & 0x3b000000) == 0x38000000 && !(insn >> 26 & 1))
        return insn >> 21 & 1 ? (insn >> 10 & 3) == 2 : (insn >> 10 & 1) == 0;
    return (insn & 0x3fa00000) == 0x08800000; /* load-acquire, store-release */
}

static uint32_t describe(uint32_t insn, unsigned size)
{
    const bool ordered = !(insn >> 24 & 2) && (insn >> 27 & 7) == 1;
    const unsigned opc = ordered ? (insn >> 22 & 1) : insn >> 22 & 3;
    const bool sign = opc >= 2;
    const bool wide = sign ? opc == 2 : insn >> 30 == 3;

    return 1u << 24 | (uint32_t)__builtin_ctz(size) << 22 | (uint32_t)sign << 21 |
           (insn & 31) << 16 | (uint32_t)wide << 15;
}

/* Where the instruction said, as far as one register and an immediate say it. */
static uint64_t virtual_address(struct cpu *c, uint32_t insn)
{
    const unsigned rn = insn >> 5 & 31;
    const uint64_t base = rn == 31 ? c->sp : c->x[rn];

    if ((insn & 0x3b000000) == 0x39000000)
        return base + ((uint64_t)(insn >> 10 & 0xfff) << (insn >> 30));
    if ((insn & 0x3b200000) == 0x38000000)
        return base + (uint64_t)pv_sext(insn >> 12 & 0x1ff, 9);
    if ((insn & 0x3b200000) == 0x38200000)
        return base + (c->x[insn >> 16 & 31] << (insn >> 12 & 1 ? insn >> 30 : 0));
    return base;
}

static _Noreturn void leave_for_access(uint64_t pa, unsigned size, bool write, unsigned fault)
{
    struct sim_vcpu *v = running_here();
    struct cpu *c = cpu_of(v);

    interp_inside(c);
    const uint32_t insn = instruction(c);
    const uint64_t va = virtual_address(c, insn);
    interp_outside(c);
    leave(v, EC_DABORT_LOWER,
          (is_described(insn) ? describe(insn, size) : 0) | (uint32_t)write << 6 | fault, va, pa);
}

/* The linker leads the interpreter's accesses here (--wrap); other address spaces pass. */
int __real_pv_as_cpu_read(struct pv_address_space *as, uint64_t address, unsigned size,
                          uint64_t *value);
int __real_pv_as_cpu_write(struct pv_address_space *as, uint64_t address, unsigned size,
                           uint64_t value);
int __wrap_pv_as_cpu_read(struct pv_address_space *as, uint64_t address, unsigned size,
                          uint64_t *value);
int __wrap_pv_as_cpu_write(struct pv_address_space *as, uint64_t address, unsigned size,
                           uint64_t value);

int __wrap_pv_as_cpu_read(struct pv_address_space *as, uint64_t address, unsigned size,
                          uint64_t *value)
{
    struct pv_region_info region;

    if (as != sim.as || pv_as_find(as, address, &region))
        return __real_pv_as_cpu_read(as, address, size, value);
    leave_for_access(address, size, false, TRANSLATION_FAULT);
}

int __wrap_pv_as_cpu_write(struct pv_address_space *as, uint64_t address, unsigned size,
                           uint64_t value)
{
    struct pv_region_info region;
    bool found = false;

    if (as == sim.as)
        found = pv_as_find(as, address, &region);
    if (as != sim.as || (found && region.kind == PV_REGION_RAM))
        return __real_pv_as_cpu_write(as, address, size, value);
    leave_for_access(address, size, true, found ? PERMISSION_FAULT : TRANSLATION_FAULT);
}

/* ---- Calls, system registers ---- */

static void smccc(void *opaque, unsigned vcpu, bool smc, uint64_t x[18])
{
    struct sim_vcpu *v = &sim.vcpus[vcpu];

    if (!smc)
        cpu_of(v)->pc += 4; /* HVC has been executed when it gets there; SMC is trapped */
    leave(v, smc ? EC_SMC64 : EC_HVC64, 0, 0, 0);
}

static uint64_t count(const struct sim_vcpu *v)
{
    return mach_absolute_time() - v->offset;
}

uint64_t sim_timer_control(struct sim_vcpu *v)
{
    const uint64_t ctl = v->ctl;
    return ctl | (ctl & 1 && count(v) >= v->cval ? 4 : 0);
}

bool sim_timer_fires(struct sim_vcpu *v)
{
    return !v->masked && (sim_timer_control(v) & 7) == 5;
}

#define CNT(crm, op2) PV_SYSREG(3, 3, 14, crm, op2)

static _Noreturn void leave_for_sysreg(struct sim_vcpu *v, uint32_t sysreg, bool read)
{
    struct cpu *c = cpu_of(v);

    interp_inside(c);
    const uint32_t rt = instruction(c) & 31;
    interp_outside(c);
    leave(v, EC_SYSREG,
          (sysreg >> 14 & 3) << 20 | (sysreg & 7) << 17 | (sysreg >> 11 & 7) << 14 |
              (sysreg >> 7 & 15) << 10 | rt << 5 | (sysreg >> 3 & 15) << 1 | read,
          0, 0);
}

/* The virtual timer and the counter's frequency are the CPU's. */
static bool sysreg_read(void *opaque, unsigned vcpu, uint32_t sysreg, uint64_t *value)
{
    struct sim_vcpu *v = &sim.vcpus[vcpu];
    mach_timebase_info_data_t base;

    switch (sysreg) {
    case CNT(0, 0):
        mach_timebase_info(&base);
        *value = UINT64_C(1000000000) * base.denom / base.numer;
        return true;
    case CNT(0, 2): *value = count(v); return true;
    case CNT(3, 0): *value = (uint32_t)(v->cval - count(v)); return true;
    case CNT(3, 1): *value = sim_timer_control(v); return true;
    case CNT(3, 2): *value = v->cval; return true;
    default: leave_for_sysreg(v, sysreg, true);
    }
}

static bool sysreg_write(void *opaque, unsigned vcpu, uint32_t sysreg, uint64_t value)
{
    struct sim_vcpu *v = &sim.vcpus[vcpu];

    switch (sysreg) {
    case CNT(3, 0): v->cval = count(v) + (uint64_t)pv_sext(value, 32); return true;
    case CNT(3, 1): v->ctl = value & 3; return true;
    case CNT(3, 2): v->cval = value; return true;
    default: leave_for_sysreg(v, sysreg, false);
    }
}

const struct pv_engine_client sim_client = {
    .smccc = smccc, .sysreg_read = sysreg_read, .sysreg_write = sysreg_write};

/* ---- Running ---- */

static void stop(struct sim_vcpu *v)
{
    atomic_fetch_or(&v->vcpu->attention, PV_ATTENTION_STOP);
}

void sim_stop_world(void)
{
    pthread_mutex_lock(&sim.lock);
    for (unsigned i = 0; i < SIM_VCPUS; i++)
        if (sim.vcpus[i].used)
            stop(&sim.vcpus[i]);
    pthread_rwlock_wrlock(&sim.world);
}

void sim_start_world(void)
{
    pthread_rwlock_unlock(&sim.world);
    pthread_mutex_unlock(&sim.lock);
}

/* Has vCPUs whose timer fires come out. */
void *sim_ticker(void *unused)
{
    while (!sim.ending) {
        usleep(1000);
        pthread_mutex_lock(&sim.lock);
        for (unsigned i = 0; i < SIM_VCPUS; i++)
            if (sim.vcpus[i].used && sim.vcpus[i].running && sim_timer_fires(&sim.vcpus[i]))
                stop(&sim.vcpus[i]);
        pthread_mutex_unlock(&sim.lock);
    }
    return NULL;
}

/* Whether it came to an exit. */
static bool run_once(struct sim_vcpu *v, uint32_t lines)
{
    struct cpu *c = cpu_of(v);

    atomic_fetch_and(&v->vcpu->attention, ~PV_ATTENTION_STOP);
    if (atomic_exchange(&v->cancel, false)) {
        v->exit = (hv_vcpu_exit_t){.reason = HV_EXIT_REASON_CANCELED};
        return true;
    }
    if (sim_timer_fires(v)) {
        v->masked = true;
        v->exit = (hv_vcpu_exit_t){.reason = HV_EXIT_REASON_VTIMER_ACTIVATED};
        return true;
    }
    atomic_fetch_or(&v->vcpu->attention, lines);
    enum pv_exit why = pv_engine_interp.vcpu_run(v->vcpu, NULL);
    atomic_fetch_and(&v->vcpu->attention, ~(PV_ATTENTION_IRQ | PV_ATTENTION_FIQ));
    if (why == PV_EXIT_WFI) {
        c->pc -= 4; /* it is trapped, not executed */
        v->exit = (hv_vcpu_exit_t){HV_EXIT_REASON_EXCEPTION, {(uint64_t)EC_WFX << 26 | 1u << 25}};
        return true;
    }
    return v->left;
}

hv_return_t hv_vcpu_run(hv_vcpu_t vcpu)
{
    struct sim_vcpu *v = sim_own(vcpu);
    const uint32_t lines = (v->pending[HV_INTERRUPT_TYPE_IRQ] ? PV_ATTENTION_IRQ : 0) |
                           (v->pending[HV_INTERRUPT_TYPE_FIQ] ? PV_ATTENTION_FIQ : 0);
    bool done = false;

    v->pending[0] = v->pending[1] = false;
    v->left = false;
    v->running = true;
    while (!done) {
        pthread_rwlock_rdlock(&sim.world);
        done = run_once(v, lines);
        pthread_rwlock_unlock(&sim.world);
    }
    v->running = false;
    return HV_SUCCESS;
}

hv_return_t hv_vcpus_exit(hv_vcpu_t *vcpus, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        struct sim_vcpu *v = &sim.vcpus[vcpus[i]];
        v->cancel = true;
        stop(v);
    }
    return HV_SUCCESS;
}
