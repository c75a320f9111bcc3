/* SPDX-License-Identifier: MIT */
/*
 * The engine seam, implementer side. engine.c owns the threads, power states, pausing and WFI
 * sleeping, the same for every engine; an engine only runs a vCPU until there is a reason to stop.
 */
#ifndef PV_ENGINE_ENGINE_IMPL_H
#define PV_ENGINE_ENGINE_IMPL_H

#include "engine/engine.h"
#include "engine/identity.h"

#include <pthread.h>
#include <stdatomic.h>

struct pv_record;

/* Why vcpu_run came back. */
enum pv_exit {
    PV_EXIT_KICK, /* `attention` was set, or nothing in particular */
    PV_EXIT_WFI,  /* the guest waits for an interrupt: sleep until a line is up or attention */
    PV_EXIT_WAKE, /* there is an interrupt for the vCPU that vcpu_suspend put to sleep */
    PV_EXIT_FATAL /* the error says what; the VM stops */
};

struct pv_engine_ops {
    const char *name;
    const char *description;
    bool test_only;
    const struct pv_engine_gic_ops *gic;     /* or NULL: it has no interrupt controller */
    const struct pv_engine_timer_ops *timer; /* or NULL: the client has them all */
    bool thread_bound; /* get_state and the like run on the vCPU's thread, too */
    bool watches;      /* it does what pv_engine_config.watch asks for */

    int (*probe)(struct pv_error **err);
    /* Sets engine->impl. The generic part is filled in already. */
    int (*create)(struct pv_engine *engine, struct pv_error **err);
    void (*destroy)(struct pv_engine *engine);
    /* Both on the vCPU's own thread. Sets vcpu->impl. */
    int (*vcpu_create)(struct pv_vcpu *vcpu, struct pv_error **err);
    void (*vcpu_destroy)(struct pv_vcpu *vcpu);
    /* Optional: every vCPU has been made, and none has run. */
    int (*start)(struct pv_engine *engine, struct pv_error **err);
    /* To the state pv_vcpu_power_on() documents. On the vCPU's thread. */
    void (*vcpu_reset)(struct pv_vcpu *vcpu, uint64_t entry, uint64_t context);
    /*
     * Executes guest code until vcpu->attention is non-zero (checked at least at every backward
     * branch and before the first instruction) or another reason comes up.
     */
    enum pv_exit (*vcpu_run)(struct pv_vcpu *vcpu, struct pv_error **err);
    /* Optional: forces vcpu_run out where a flag test is not enough. Any thread. */
    void (*vcpu_kick)(struct pv_vcpu *vcpu);
    /*
     * Optional, both: for engines whose interrupt lines live elsewhere. Any thread may set lines.
     * After vcpu_suspend(true), on the vCPU's thread, vcpu_run executes nothing and sleeps until
     * there is an interrupt, which it reports as PV_EXIT_WAKE, or attention, in which case it goes
     * on sleeping at the next call; vcpu_suspend(false) ends that.
     */
    void (*vcpu_set_line)(struct pv_vcpu *vcpu, enum pv_vcpu_line line, bool level);
    void (*vcpu_suspend)(struct pv_vcpu *vcpu, bool suspended);

    int (*get_state)(struct pv_vcpu *vcpu, struct pv_vcpu_state *state);
    int (*set_state)(struct pv_vcpu *vcpu, const struct pv_vcpu_state *state);
    int (*get_sysreg)(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t *value);
    int (*set_sysreg)(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t value);
    void (*get_stats)(const struct pv_vcpu *vcpu, struct pv_vcpu_stats *stats);
    /* Optional: lines of its own for pv_engine_report(). */
    void (*report)(struct pv_engine *engine, struct pv_buffer *out);
};

/* An engine's interrupt controller; see the functions of engine.h that have these names. */
struct pv_engine_gic_ops {
    void (*set_spi)(struct pv_engine *engine, unsigned intid, bool level);
    void (*send_msi)(struct pv_engine *engine, uint32_t device_id, uint64_t address, uint32_t data);
    int (*reset)(struct pv_engine *engine, struct pv_error **err);
    int (*read)(struct pv_engine *engine, const struct pv_engine_gic_reg *reg, uint64_t *value);
    int (*write)(struct pv_engine *engine, const struct pv_engine_gic_reg *reg, uint64_t value);
};

struct pv_engine_timer_ops {
    uint64_t (*counter_frequency)(void);
    int (*get_counter)(struct pv_engine *engine, uint64_t *count);
    int (*set_counter)(struct pv_engine *engine, uint64_t count);
};

struct pv_vcpu {
    struct pv_engine *engine;
    unsigned index;
    uint64_t mpidr;
    void *impl;
    struct pv_identity identity; /* of a guest that was loaded */

    /*
     * What vcpu_run must look at soon, one word so that the check is one load:
     * bit 0 and 1: interrupt lines that are up (not itself a reason to return when masked);
     * PV_ATTENTION_STOP: return PV_EXIT_KICK; further bits are the engine's own.
     */
    _Atomic uint32_t attention;

    /*
     * Of engines with a timer that runs only with the vCPU: when it fires (pv_clock_ns), or 0.
     * Written before vcpu_run returns; WFI and suspension end then.
     */
    uint64_t wake_at;

    pthread_t thread;
    struct pv_vcpu_runner *runner; /* engine.c's private part */
};

#define PV_ATTENTION_IRQ    (1u << PV_LINE_IRQ)
#define PV_ATTENTION_FIQ    (1u << PV_LINE_FIQ)
#define PV_ATTENTION_STOP   (1u << 2)
#define PV_ATTENTION_ENGINE (1u << 8) /* this bit and all above belong to the engine */

struct pv_engine {
    const struct pv_engine_ops *ops;
    struct pv_engine_config config; /* what it points to is copied */
    struct pv_engine_gic_config gic;
    struct pv_vcpu *vcpus; /* config.vcpus of them */
    void *impl;
    struct pv_engine_private *private; /* engine.c's */
};

/* Sets bits of vcpu->attention, kicks the vCPU and wakes it from WFI. Any thread. */
void pv_vcpu_attention(struct pv_vcpu *vcpu, uint32_t bits);

/* Whether it is on, and what it is suspended in: the part of pv_vcpu_record() that is engine.c's.
 */
void pv_vcpu_record_power(struct pv_vcpu *vcpu, struct pv_record *record);

extern const struct pv_engine_ops pv_engine_fake;
extern const struct pv_engine_ops pv_engine_interp;
extern const struct pv_engine_ops pv_engine_jit; /* x86-64 hosts only */
extern const struct pv_engine_ops pv_engine_kvm; /* ARM64 Linux hosts only */
extern const struct pv_engine_ops pv_engine_hvf; /* macOS on Apple Silicon only */

#endif
