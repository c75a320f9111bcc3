/* SPDX-License-Identifier: MIT */
#include "pe.h"

#include "base/error.h"
#include "base/util.h"
#include "memory/address_space.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

int pe_reset(struct pe *pe, const struct pe_layout *layout)
{
    const struct {
        uint32_t reg;
        uint64_t value;
    } settings[] = {
        {PV_SYSREG(3, 0, 1, 0, 2), 3u << 20},                 /* CPACR_EL1.FPEN: no traps */
        {PV_SYSREG(3, 0, 10, 2, 0), 0xff},                    /* MAIR_EL1: 0 is Normal */
        {PV_SYSREG(3, 0, 2, 0, 0), layout->table},            /* TTBR0_EL1 */
        {PV_SYSREG(3, 0, 2, 0, 2), UINT64_C(1) << 32 | 25},   /* TCR_EL1: 39 bits, 4 KiB */
        {PV_SYSREG(3, 0, 12, 0, 0), PE_EL1(layout->vectors)}, /* VBAR_EL1 */
        /* SCTLR_EL1: M, SA, SA0, DZE, UCT, nTWI, nTWE, SPAN, UCI and what reads as one */
        {PV_SYSREG(3, 0, 1, 0, 0), UINT64_C(0x34d5d998) | 1},
    };
    /* Blocks at 0: for EL0 and EL1; for EL1 alone, at 1 GiB. Both accessed. */
    const uint64_t blocks[] = {0x441, 0x401};
    pe->ops->vcpu_reset(pe->vcpu, layout->code, 0);
    int ret = pv_as_write(pe->as, layout->table, blocks, sizeof(blocks));
    for (unsigned i = 0; ret == 0 && i < PV_ARRAY_SIZE(settings); i++)
        ret = pe->ops->set_sysreg(pe->vcpu, settings[i].reg, settings[i].value);
    return ret;
}

int pe_init(struct pe *pe, const struct pe_layout *layout, struct pv_error **err)
{
    static const uint64_t mpidr[2];
    static const struct pv_engine_client client;
    int ret = pv_as_create(&pe->as, err);
    if (ret == 0)
        ret = pv_as_add_ram(pe->as, layout->memory, layout->memory_size, "memory", err);
    if (ret == 0)
        ret = pv_as_add_ram(pe->as, layout->code, layout->code_size, "code", err);
    const struct pv_engine_config config = {
        .as = pe->as, .vcpus = 1 + pe->other_vcpus, .client = &client, .mpidr = mpidr};
    if (ret == 0)
        ret = pv_engine_create(&pe->engine, pe->ops, &config, err);
    if (ret == 0)
        ret = pv_engine_start(pe->engine, err);
    if (ret < 0)
        return ret;
    pe->memory = pv_as_host(pe->as, layout->memory, layout->memory_size, true);
    pe->code = pv_as_host(pe->as, layout->code, layout->code_size, true);
    pe->vcpu = pv_engine_vcpu(pe->engine, 0);
    return pe_reset(pe, layout);
}

void pe_finish(struct pe *pe)
{
    pv_engine_destroy(pe->engine);
    pv_as_destroy(pe->as);
}

/*
 * Random code may loop. A timer looks at every tick whether the same run goes on as at the last
 * one; a signal handler has nothing but this to find it by.
 */
static struct {
    struct pv_vcpu *_Atomic vcpu; /* that runs, or NULL */
    _Atomic uint64_t runs;
    uint64_t seen; /* the handler's: `runs` at the last tick */
} watched;

static void tick(int signal_number)
{
    struct pv_vcpu *vcpu = atomic_load(&watched.vcpu);
    const uint64_t runs = atomic_load(&watched.runs);
    if (vcpu && runs == watched.seen) {
        atomic_fetch_or(&vcpu->attention, PV_ATTENTION_STOP);
        if (vcpu->engine->ops->vcpu_kick)
            vcpu->engine->ops->vcpu_kick(vcpu);
    }
    watched.seen = runs;
}

void pe_watch_loops(void)
{
    const struct itimerval timer = {.it_interval.tv_usec = 20000, .it_value.tv_usec = 20000};
    signal(SIGVTALRM, tick);
    setitimer(ITIMER_VIRTUAL, &timer, NULL);
}

bool pe_run(struct pe *pe)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    enum pv_exit why = PV_EXIT_KICK;
    atomic_fetch_add(&watched.runs, 1);
    atomic_store(&watched.vcpu, pe->vcpu);
    if (pe->ops->set_state(pe->vcpu, &pe->regs) == 0)
        while (why == PV_EXIT_KICK && !(atomic_load(&pe->vcpu->attention) & PV_ATTENTION_STOP))
            why = pe->ops->vcpu_run(pe->vcpu, &err);
    atomic_store(&watched.vcpu, NULL);
    atomic_fetch_and(&pe->vcpu->attention, ~PV_ATTENTION_STOP);
    if ((why != PV_EXIT_WFI && why != PV_EXIT_KICK) ||
        pe->ops->get_state(pe->vcpu, &pe->regs) < 0) {
        fprintf(stderr, "engine %s: %s\n", pe->ops->name,
                err ? pv_error_message(err) : "cannot run");
        exit(1);
    }
    return why == PV_EXIT_WFI;
}

void pe_take_syndrome(struct pe *pe)
{
    pe->ops->get_sysreg(pe->vcpu, PV_SYSREG(3, 0, 5, 2, 0), &pe->esr);
    pe->ops->get_sysreg(pe->vcpu, PV_SYSREG(3, 0, 6, 0, 0), &pe->far);
    pe->ops->get_sysreg(pe->vcpu, PV_SYSREG(3, 0, 4, 0, 1), &pe->elr);
    pe->ops->get_sysreg(pe->vcpu, PV_SYSREG(3, 0, 4, 0, 0), &pe->spsr);
}

/* ---- Comparing ---- */

static bool compare(const char *name, uint64_t a, uint64_t b)
{
    if (a != b)
        printf("  %-8s %016llx, not %016llx\n", name, (unsigned long long)a, (unsigned long long)b);
    return a != b;
}

static bool registers_differ(const struct pv_vcpu_state *a, const struct pv_vcpu_state *b)
{
    bool differ = false;
    char name[16];
    for (unsigned i = 0; i < 31; i++) {
        snprintf(name, sizeof(name), "x%u", i);
        differ |= compare(name, a->x[i], b->x[i]);
    }
    for (unsigned i = 0; i < 64; i++) {
        snprintf(name, sizeof(name), "v%u.d[%u]", i / 2, i & 1);
        differ |= compare(name, a->v[i / 2][i & 1], b->v[i / 2][i & 1]);
    }
    differ |= compare("sp_el0", a->sp_el0, b->sp_el0);
    differ |= compare("sp_el1", a->sp_el1, b->sp_el1);
    differ |= compare("pc", a->pc, b->pc);
    differ |= compare("pstate", a->pstate, b->pstate);
    differ |= compare("fpcr", a->fpcr, b->fpcr);
    return differ | compare("fpsr", a->fpsr, b->fpsr);
}

bool pe_differ(const struct pe *pe, const struct pe *right, size_t size)
{
    bool differ = memcmp(&pe->regs, &right->regs, sizeof(pe->regs)) &&
                  registers_differ(&pe->regs, &right->regs);
    differ |= compare("esr", pe->esr, right->esr);
    differ |= compare("far", pe->far, right->far);
    differ |= compare("elr", pe->elr, right->elr);
    differ |= compare("spsr", pe->spsr, right->spsr);
    for (size_t i = 0; memcmp(pe->memory, right->memory, size) && i < size; i++) {
        char name[32];
        snprintf(name, sizeof(name), "[%#zx]", i);
        differ |= compare(name, pe->memory[i], right->memory[i]);
    }
    return differ;
}
