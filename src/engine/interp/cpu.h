/* SPDX-License-Identifier: MIT */
/*
 * The state of one interpreted PE and what instruction handlers may do with it.
 *
 * A handler executes one decoded instruction: it gets PC at the instruction's own address and
 * leaves it alone unless it branches (cpu_branch); the loop adds 4 otherwise. A handler that must
 * raise an exception calls cpu_raise() or a helper that does; those do not return (they longjmp to
 * the loop), so a handler must not have changed guest state yet, and must hold nothing that needs
 * releasing. That is what makes every exception precise.
 */
#ifndef PV_ENGINE_INTERP_CPU_H
#define PV_ENGINE_INTERP_CPU_H

#include "base/util.h"
#include "engine/a64/decode.h"
#include "engine/engine_impl.h"

#include <setjmp.h>

struct interp;   /* the engine instance: interp.h */
struct cpu_tlb;  /* mmu.h */
struct cpu_code; /* run.c: decoded code */

/* PSTATE.NZCV where AArch64 keeps it. */
#define PSTATE_N (1u << 31)
#define PSTATE_Z (1u << 30)
#define PSTATE_C (1u << 29)
#define PSTATE_V (1u << 28)

union cpu_vreg {
    uint64_t d[2];
    uint32_t s[4];
    uint16_t h[8];
    uint8_t b[16];
};

/* What the last load-exclusive saw; size 0 when the monitor is open. atomic.c says how it works. */
struct cpu_monitor {
    uint64_t va;
    unsigned size;    /* bytes */
    uint32_t granule; /* the granule's word */
    uint64_t value[2];
};

struct jit_target; /* jit/jit.h: the jump cache */

/* What translated code keeps in the PE; nothing but the translating engine looks at it. */
struct cpu_jit {
    uint64_t page; /* virtual address of the page whose code runs */
    uint64_t key;  /* what the jump cache's entries must match; jit/run.c */
    /*
     * Where the host stack must not grow below; UINT64_MAX to have the vCPU look at its attention
     * word. One compare in the code stands for both.
     */
    _Atomic uint64_t floor;
    uint64_t host_sp;
    struct jit_target *targets;
    uint64_t *handled;              /* statistics: calls of handlers, by operation */
    uint32_t exit_kind, exit_index; /* why and where the code was left; jit/jit.h */
    uint32_t mxcsr;                 /* as code left it: FP exceptions not in FPSR yet */
    uint32_t flags;                 /* NZCV as lahf and seto leave them in AX; jit/flags.h */
    uint32_t mode;                  /* enum jit_mode bits */
    uint64_t scratch[2];            /* for the code of one instruction */
    uint64_t near[4];               /* for the code of one block; jit/a64/near.c */
    uint64_t exits[4], lookups;     /* statistics: by kind, and by physical address */
    uint32_t at;                    /* jit->on_block: the offset in the page of what ran last */
    uint64_t emptied; /* how often the cache had been, when the jump cache was last right */
    bool running;     /* in vcpu_run and not waiting for the cache to be emptied */
};

struct cpu {
    uint64_t x[32]; /* x[31] is always 0: XZR */
    uint64_t pc;
    uint64_t sp;   /* the current stack pointer; the other one is in sp_el[] */
    uint32_t nzcv; /* bits 31:28, others 0 */
    uint32_t daif; /* bits 9:6 as in the DAIF register */
    uint8_t el;    /* 0 or 1 */
    uint8_t spsel;
    uint8_t pan, uao, ssbs, dit, il, ss, btype;
    uint64_t sp_el[2]; /* the banked values of the stack pointers not in use */

    _Alignas(16) union cpu_vreg v[32];
    uint32_t fpcr;
    uint32_t fpsr;

    struct cpu_jit jit;

    /* Cached trap state: bit 0, FP/SIMD traps at the current EL (CPACR_EL1.FPEN). */
    bool fp_trapped;
    bool branched; /* set by cpu_branch: PC is final */
    bool leaving;  /* set by cpu_leave: the loop returns `exit` after this instruction */
    enum pv_exit exit;
    struct cpu_monitor monitor;

    struct cpu_tlb *tlb;
    struct cpu_code *code;
    struct cpu_sys *sys; /* system registers, sysreg.h */
    struct interp *interp;
    struct pv_vcpu *vcpu;
    jmp_buf unwind; /* the loop's, for cpu_raise */

    uint64_t instructions;
};

/* ---- Registers ---- */

static inline uint64_t cpu_x(const struct cpu *c, unsigned n)
{
    return c->x[n];
}
static inline uint32_t cpu_w(const struct cpu *c, unsigned n)
{
    return (uint32_t)c->x[n];
}
/* Writing XZR costs a store instead of a branch. */
static inline void cpu_set_x(struct cpu *c, unsigned n, uint64_t value)
{
    c->x[n] = value;
    c->x[31] = 0;
}
static inline void cpu_set_w(struct cpu *c, unsigned n, uint32_t value)
{
    cpu_set_x(c, n, value);
}
/* Where register 31 means the stack pointer. */
static inline uint64_t cpu_xsp(const struct cpu *c, unsigned n)
{
    return n == 31 ? c->sp : c->x[n];
}
static inline void cpu_set_xsp(struct cpu *c, unsigned n, uint64_t value)
{
    if (n == 31)
        c->sp = value;
    else
        c->x[n] = value;
}

static inline void cpu_branch(struct cpu *c, uint64_t target)
{
    c->pc = target;
    c->branched = true;
}

/* Ends the run loop after this instruction; only in an instruction of class system. */
static inline void cpu_leave(struct cpu *c, enum pv_exit exit)
{
    c->exit = exit;
    c->leaving = true;
}

/* CLREX and exception return. */
static inline void cpu_clear_monitor(struct cpu *c)
{
    c->monitor.size = 0;
}

/* Condition `cond` (0..15) against NZCV (Arm ARM C1.2.4). */
static inline bool cpu_condition(const struct cpu *c, unsigned cond)
{
    const bool n = c->nzcv & PSTATE_N, z = c->nzcv & PSTATE_Z;
    const bool cf = c->nzcv & PSTATE_C, v = c->nzcv & PSTATE_V;
    bool r = true;
    switch (cond >> 1) {
    case 0: r = z; break;
    case 1: r = cf; break;
    case 2: r = n; break;
    case 3: r = v; break;
    case 4: r = cf && !z; break;
    case 5: r = n == v; break;
    case 6: r = n == v && !z; break;
    default: return true;
    }
    return cond & 1 ? !r : r;
}

/* ---- Exceptions (exception.c) ---- */

/* Exception classes, ESR_ELx.EC (Arm ARM D19.2.37). */
enum {
    EC_UNKNOWN = 0x00,
    EC_WFX = 0x01,
    EC_FP_TRAP = 0x07,
    EC_ILLEGAL_STATE = 0x0e,
    EC_SVC64 = 0x15,
    EC_HVC64 = 0x16,
    EC_SMC64 = 0x17,
    EC_SYSREG = 0x18,
    EC_IABORT_LOWER = 0x20,
    EC_IABORT_SAME = 0x21,
    EC_PC_ALIGN = 0x22,
    EC_DABORT_LOWER = 0x24,
    EC_DABORT_SAME = 0x25,
    EC_SP_ALIGN = 0x26,
    EC_FP_EXCEPTION = 0x2c,
    EC_BREAKPOINT_LOWER = 0x30,
    EC_BREAKPOINT_SAME = 0x31,
    EC_STEP_LOWER = 0x32,
    EC_STEP_SAME = 0x33,
    EC_WATCHPOINT_LOWER = 0x34,
    EC_WATCHPOINT_SAME = 0x35,
    EC_BRK64 = 0x3c,
};

/*
 * Takes a synchronous exception to EL1 with ESR_EL1 = EC, IL = 1, ISS. The preferred return address
 * is PC, except for SVC and HVC/SMC conduits, which their handlers arrange. Does not return.
 */
_Noreturn void cpu_raise(struct cpu *c, unsigned ec, uint32_t iss);
/* The same with FAR_EL1 set. */
_Noreturn void cpu_raise_far(struct cpu *c, unsigned ec, uint32_t iss, uint64_t far);
_Noreturn void cpu_undefined(struct cpu *c);

/* SP is not 16-byte aligned: raises if SCTLR_EL1.SA or SA0 makes that an exception here. */
void cpu_sp_misaligned(struct cpu *c);

/* Before a load or store whose base is SP. */
static inline void cpu_check_sp(struct cpu *c)
{
    if (PV_UNLIKELY(c->sp & 15))
        cpu_sp_misaligned(c);
}

/* First thing in every FP and SIMD handler (the loop may do it for whole classes). */
_Noreturn void cpu_fp_trap(struct cpu *c);
static inline void cpu_check_fp(struct cpu *c)
{
    if (PV_UNLIKELY(c->fp_trapped))
        cpu_fp_trap(c);
}

/* ---- Memory (mmu.c; inline fast paths in mem.h) ---- */

/*
 * Data accesses at virtual address `va` with the current EL's rights, little-endian. An access
 * that faults raises; the _u variants have EL0's rights where PSTATE.UAO is 0 (LDTR, STTR).
 * Aligned accesses up to 8 bytes are single-copy atomic; 16-byte pairs are two of 8.
 * Unaligned ones are fine on Normal memory, and fault on Device memory or with SCTLR_EL1.A.
 * See mem.h.
 */

/* ---- Handlers ---- */

typedef void interp_handler(struct cpu *c, const struct a64_insn *insn);

/* Indexed by enum a64_op; built from the generated list of ops (A64_OPS). */
extern interp_handler *const interp_handlers[];

#endif
