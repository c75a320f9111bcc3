/* SPDX-License-Identifier: MIT */
/*
 * The engine seam, implementer side. engine.c owns the threads, power states, pausing and WFI
 * sleeping, the same for every engine; an engine only runs a vCPU until there is a reason to stop.
 */
#ifndef PV_ENGINE_ENGINE_IMPL_H
#define PV_ENGINE_ENGINE_IMPL_H

#include "engine/engine.h"

#include <pthread.h>
#include <stdatomic.h>

/* Why vcpu_run came back. */
enum pv_exit {
    PV_EXIT_KICK, /* `attention` was set, or nothing in particular */
    PV_EXIT_WFI,  /* the guest waits for an interrupt: sleep until a line is up or attention */
    PV_EXIT_FATAL /* the error says what; the VM stops */
};

struct pv_engine_ops {
    const char *name;
    const char *description;
    bool test_only;

    int (*probe)(struct pv_error **err);
    /* Sets engine->impl. The generic part is filled in already. */
    int (*create)(struct pv_engine *engine, struct pv_error **err);
    void (*destroy)(struct pv_engine *engine);
    /* Both on the vCPU's own thread. Sets vcpu->impl. */
    int (*vcpu_create)(struct pv_vcpu *vcpu, struct pv_error **err);
    void (*vcpu_destroy)(struct pv_vcpu *vcpu);
    /* To the state pv_vcpu_power_on() documents. On the vCPU's thread. */
    void (*vcpu_reset)(struct pv_vcpu *vcpu, uint64_t entry, uint64_t context);
    /*
     * Executes guest code until vcpu->attention is non-zero (checked at least at every backward
     * branch and before the first instruction) or another reason comes up.
     */
    enum pv_exit (*vcpu_run)(struct pv_vcpu *vcpu, struct pv_error **err);
    /* Optional: forces vcpu_run out where a flag test is not enough. Any thread. */
    void (*vcpu_kick)(struct pv_vcpu *vcpu);
    /* Optional: for engines whose interrupt lines live elsewhere. Any thread. */
    void (*vcpu_set_line)(struct pv_vcpu *vcpu, enum pv_vcpu_line line, bool level);

    int (*get_state)(struct pv_vcpu *vcpu, struct pv_vcpu_state *state);
    int (*set_state)(struct pv_vcpu *vcpu, const struct pv_vcpu_state *state);
    int (*get_sysreg)(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t *value);
    int (*set_sysreg)(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t value);
    void (*get_stats)(const struct pv_vcpu *vcpu, struct pv_vcpu_stats *stats);
};

struct pv_vcpu {
    struct pv_engine *engine;
    unsigned index;
    uint64_t mpidr;
    void *impl;

    /*
     * What vcpu_run must look at soon, one word so that the check is one load:
     * bit 0 and 1: interrupt lines that are up (not itself a reason to return when masked);
     * PV_ATTENTION_STOP: return PV_EXIT_KICK; further bits are the engine's own.
     */
    _Atomic uint32_t attention;

    pthread_t thread;
    struct pv_vcpu_runner *runner; /* engine.c's private part */
};

#define PV_ATTENTION_IRQ    (1u << PV_LINE_IRQ)
#define PV_ATTENTION_FIQ    (1u << PV_LINE_FIQ)
#define PV_ATTENTION_STOP   (1u << 2)
#define PV_ATTENTION_ENGINE (1u << 8) /* this bit and all above belong to the engine */

struct pv_engine {
    const struct pv_engine_ops *ops;
    struct pv_engine_config config;
    struct pv_vcpu *vcpus; /* config.vcpus of them */
    void *impl;
    struct pv_engine_private *private; /* engine.c's */
};

/* Sets bits of vcpu->attention, kicks the vCPU and wakes it from WFI. Any thread. */
void pv_vcpu_attention(struct pv_vcpu *vcpu, uint32_t bits);

extern const struct pv_engine_ops pv_engine_fake;
extern const struct pv_engine_ops pv_engine_interp;
extern const struct pv_engine_ops pv_engine_jit; /* x86-64 hosts only */

#endif
