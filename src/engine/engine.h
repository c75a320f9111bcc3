/* SPDX-License-Identifier: MIT */
/*
 * The engine seam, consumer side: who executes guest code.
 *
 * An engine belongs to one VM. It executes A64 code of EL1 and EL0 out of an address space and
 * calls its client (the machine) for what lies outside the CPU: SMCCC calls, and the system
 * registers of the GIC CPU interface and the generic timer.
 *
 * An engine made of hardware brings these along, both (pv_engine_has_gic) or only the virtual
 * timer (pv_engine_has_timer). Of a GIC the machine then says where the frames are, drives its
 * inputs, and never hears of its registers.
 *
 * Threads: every vCPU has a host thread, made by pv_engine_start(). Client callbacks run on the
 * thread of the vCPU they name, and may call any function here except pv_engine_destroy,
 * pv_engine_pause and pv_vcpu_get/set_state. All functions may be called from any thread unless
 * they say otherwise.
 */
#ifndef PV_ENGINE_ENGINE_H
#define PV_ENGINE_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_address_space;
struct pv_buffer;
struct pv_engine;
struct pv_engine_ops;
struct pv_error;
struct pv_record;
struct pv_vcpu;

#define PV_MAX_VCPUS 64u

/*
 * A system register's encoding as MRS and MSR carry it: op0, op1, CRn, CRm, op2 (Arm ARM C5.1.2).
 */
#define PV_SYSREG(op0, op1, crn, crm, op2)                                                         \
    ((uint32_t)(op0) << 14 | (uint32_t)(op1) << 11 | (uint32_t)(crn) << 7 | (uint32_t)(crm) << 3 | \
     (uint32_t)(op2))

/* Interrupt inputs of a vCPU. */
enum pv_vcpu_line {
    PV_LINE_IRQ,
    PV_LINE_FIQ,
};

/*
 * An interrupt controller of the engine's own: a GICv3 whose distributor, redistributors and ITS
 * are at these guest-physical addresses, with the generic timers wired to its PPIs.
 */
struct pv_engine_gic_config {
    uint64_t dist;   /* 64 KiB */
    uint64_t redist; /* 128 KiB for each vCPU, one behind the other */
    uint64_t its;    /* 128 KiB; 0: there is none */
    unsigned intids; /* SPIs are 32 to intids - 1; a multiple of 32 */
};

/* The machine as an engine sees it. */
struct pv_engine_client {
    /*
     * HVC #0 or SMC #0 executed at EL1. x[0..17] are the guest's X0 to X17, changed in place. An
     * engine made of hardware may answer calls beyond PSCI's range of function numbers (those that
     * tell of the CPU's errata, say) by itself.
     */
    void (*smccc)(void *opaque, unsigned vcpu, bool smc, uint64_t x[18]);
    /*
     * ICC_*_EL1 and CNT{P,V}_{CTL,CVAL,TVAL}_EL0, CNT{PCT,VCT}_EL0 (and what else the client
     * knows). `el` is the exception level of the access, after the engine has done the checks of
     * CNTKCTL_EL1. Returns false when the register is not the client's: UNDEFINED.
     */
    bool (*sysreg_read)(void *opaque, unsigned vcpu, uint32_t sysreg, uint64_t *value);
    bool (*sysreg_write)(void *opaque, unsigned vcpu, uint32_t sysreg, uint64_t value);
    /*
     * What sysreg_read says of CNT{PCT,VCT}_EL0, which are read more often than all others
     * together: without a lock and at once. Optional.
     */
    uint64_t (*counter)(void *opaque);
    /*
     * The output of the virtual timer, of engines that have one but no GIC for it. On the vCPU's
     * thread; optional.
     */
    void (*vtimer)(void *opaque, unsigned vcpu, bool level);
    /* The engine cannot go on; the VM should stop. The message is a person's. Any vCPU's thread. */
    void (*fatal)(void *opaque, unsigned vcpu, const char *message);
};

/* What an engine that translates shows of it, to those who look for a fault or for lost time. */
struct pv_engine_watch {
    /*
     * The file that names each block as it is translated and, with `trace_entered`, each time one
     * is entered, when it begins at a virtual address from trace_first to trace_last. Or NULL.
     */
    const char *trace;
    bool trace_entered;
    uint64_t trace_first, trace_last;
    bool perf_map;       /* keep /tmp/perf-PID.map, by which perf names guest code */
    const char *symbols; /* the guest kernel's System.map or kallsyms, for names in both; or NULL */
};

struct pv_engine_config {
    struct pv_address_space *as;
    unsigned vcpus; /* 1 to PV_MAX_VCPUS */
    const struct pv_engine_client *client;
    void *client_opaque;
    const uint64_t *mpidr; /* Aff3..Aff0 of each vCPU, `vcpus` of them; copied */
    /* Only for engines that have one, copied. NULL: the client has the GIC and drives the lines. */
    const struct pv_engine_gic_config *gic;
    struct pv_engine_watch watch; /* strings need not outlive the call */
};

/* ---- Choosing ---- */

/* Every engine built in, best first for this host. NULL-terminated. */
const struct pv_engine_ops *const *pv_engine_list(void);
const struct pv_engine_ops *pv_engine_find(const char *name);
const char *pv_engine_name(const struct pv_engine_ops *ops);
const char *pv_engine_description(const struct pv_engine_ops *ops);
/* For tests, not for users: the fake engine. */
bool pv_engine_is_test_only(const struct pv_engine_ops *ops);

/* It has an interrupt controller and timers: pv_engine_config.gic may be set. */
bool pv_engine_has_gic(const struct pv_engine_ops *ops);
/* It has the virtual timer, and perhaps the physical one. */
bool pv_engine_has_timer(const struct pv_engine_ops *ops);

/* 0 when usable here; otherwise the error says why not, and the remedy. */
int pv_engine_probe(const struct pv_engine_ops *ops, struct pv_error **err);

/* The first usable engine of the list that is meant for users (not fake); NULL when none is. */
const struct pv_engine_ops *pv_engine_default(void);

/* ---- Life ---- */

/* Copies the config; the address space must outlive the engine. */
int pv_engine_create(struct pv_engine **out, const struct pv_engine_ops *ops,
                     const struct pv_engine_config *config, struct pv_error **err);

/* Makes the vCPU threads. Every vCPU is powered off until pv_vcpu_power_on(). */
int pv_engine_start(struct pv_engine *engine, struct pv_error **err);

/* Stops and joins the vCPU threads (not from one of them), frees everything. NULL is fine. */
void pv_engine_destroy(struct pv_engine *engine);

/*
 * Stops every vCPU between two instructions and waits until none executes; pauses nest. Not from a
 * vCPU's thread.
 */
void pv_engine_pause(struct pv_engine *engine);
void pv_engine_resume(struct pv_engine *engine);

unsigned pv_engine_vcpu_count(const struct pv_engine *engine);
struct pv_vcpu *pv_engine_vcpu(struct pv_engine *engine, unsigned index);

/* ---- An engine's own interrupt controller: only where the config had one ---- */

/* An input wire of the distributor. Before pv_engine_start() nothing happens. Any thread. */
void pv_engine_set_spi(struct pv_engine *engine, unsigned intid, bool level);

/* A device's message to the ITS: a write of `data` to `address`. Any thread. */
void pv_engine_send_msi(struct pv_engine *engine, uint32_t device_id, uint64_t address,
                        uint32_t data);

/* Everything but the levels of input wires to reset values. While paused. */
int pv_engine_reset_gic(struct pv_engine *engine, struct pv_error **err);

/*
 * A register of it, while paused, as snapshots need it: GICx_ISENABLER, ISACTIVER and ISPENDR are
 * written whole (bits that are 0 are cleared), and of what is pending ISPENDR has what is latched,
 * without the levels of wires. Registers of frames are of 32 bits.
 */
enum pv_engine_gic_frame {
    PV_ENGINE_GICD, /* the distributor */
    PV_ENGINE_GICR, /* a vCPU's redistributor, both of its frames */
    PV_ENGINE_ICC,  /* a vCPU's CPU interface */
};
struct pv_engine_gic_reg {
    enum pv_engine_gic_frame frame;
    unsigned vcpu;
    uint32_t number; /* the offset, or of the CPU interface PV_SYSREG */
};
int pv_engine_read_gic(struct pv_engine *engine, const struct pv_engine_gic_reg *reg,
                       uint64_t *value);
int pv_engine_write_gic(struct pv_engine *engine, const struct pv_engine_gic_reg *reg,
                        uint64_t value);

/* ---- An engine's own timers: only where it has some ---- */

/* Of their counter, in Hz: CNTFRQ. */
uint64_t pv_engine_counter_frequency(const struct pv_engine_ops *ops);

/*
 * CNTVCT (and CNTPCT, if it is the engine's) of all vCPUs, while paused: how a guest is kept from
 * seeing time pass.
 */
int pv_engine_get_counter(struct pv_engine *engine, uint64_t *count);
int pv_engine_set_counter(struct pv_engine *engine, uint64_t count);

/* ---- vCPUs ---- */

/*
 * PSCI CPU_ON: resets the vCPU to EL1h with MMU and caches off, DAIF masked, PC = entry,
 * X0 = context, and lets it run. -EALREADY when it is on (or on its way).
 */
int pv_vcpu_power_on(struct pv_vcpu *vcpu, uint64_t entry, uint64_t context);

/* PSCI CPU_OFF. From a client callback on the vCPU's own thread it takes effect on return. */
void pv_vcpu_power_off(struct pv_vcpu *vcpu);
bool pv_vcpu_is_on(const struct pv_vcpu *vcpu);

/*
 * PSCI CPU_SUSPEND, from a client callback on the vCPU's own thread; it takes effect on return. The
 * vCPU sleeps until a line is up or somebody wakes it. Then it goes on (standby), or starts at
 * `entry` as after pv_vcpu_power_on() (power down). It counts as on all the time.
 */
void pv_vcpu_standby(struct pv_vcpu *vcpu);
void pv_vcpu_power_down(struct pv_vcpu *vcpu, uint64_t entry, uint64_t context);
/* Holds a suspended vCPU awake while `level` is up: a wake-up signal beside the lines. */
void pv_vcpu_set_wake(struct pv_vcpu *vcpu, bool level);

/* Drives an interrupt input (not of an engine with a GIC of its own); wakes the vCPU from WFI and
 * makes a running one look soon. */
void pv_vcpu_set_line(struct pv_vcpu *vcpu, enum pv_vcpu_line line, bool level);

/* The general state, for tests, debuggers and snapshots; only while paused or powered off. */
struct pv_vcpu_state {
    uint64_t x[31];
    uint64_t sp_el0, sp_el1;
    uint64_t pc;
    uint64_t pstate;   /* in SPSR_EL1's layout */
    uint64_t v[32][2]; /* [0] is bits 63:0 */
    uint32_t fpcr, fpsr;
};
int pv_vcpu_get_state(struct pv_vcpu *vcpu, struct pv_vcpu_state *state);
int pv_vcpu_set_state(struct pv_vcpu *vcpu, const struct pv_vcpu_state *state);

/* One EL1 system register of the engine's own; -ENOENT when it has none of that encoding. */
int pv_vcpu_get_sysreg(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t *value);
int pv_vcpu_set_sysreg(struct pv_vcpu *vcpu, uint32_t sysreg, uint64_t value);

/*
 * The system registers that are a PE's state beside struct pv_vcpu_state: whoever has saved these
 * can go on with another engine. An engine may lack some (-ENOENT): features that its PE has not,
 * timers and the GIC's CPU interface where these are the client's. `count` is set.
 */
const uint32_t *pv_engine_state_sysregs(size_t *count);

/*
 * All of a vCPU's state, with the PE's identification: where it is loaded there must be all
 * features that the guest was started with. While paused; interrupt lines, timers and the client's
 * registers are the client's to record.
 */
void pv_vcpu_record(struct pv_vcpu *vcpu, struct pv_record *record);

/* The machine was reset: no guest remembers the features of another PE any more. */
void pv_engine_forget_identity(struct pv_engine *engine);

/* Counters since power-on, for --stats and tests. */
struct pv_vcpu_stats {
    uint64_t instructions; /* 0 when the engine does not count */
    uint64_t mmio_exits;
    uint64_t wfi_waits;
    uint64_t interrupts;
    uint64_t tlb_lookups, tlb_walks; /* of its second level, and those that found nothing there */
    uint64_t cpu_ns;                 /* host CPU time of the vCPU's thread */
};
void pv_vcpu_get_stats(const struct pv_vcpu *vcpu, struct pv_vcpu_stats *stats);

/* All of the engine's counters as lines for people; while no vCPU runs. */
void pv_engine_report(struct pv_engine *engine, struct pv_buffer *out);

#endif
