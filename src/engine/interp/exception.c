/* SPDX-License-Identifier: MIT */
/*
 * Exceptions to EL1 and the return from them (Arm ARM D1.3), and self-hosted debug: software step,
 * breakpoints and watchpoints (D2).
 *
 * A handler raises by longjmp to the run loop, which finds the PE already at its vector. Interrupts
 * and debug events that need a look before an instruction are tested by interp_attend() between
 * blocks; software step, enabled breakpoints and PSTATE.IL keep an attention bit set so that the
 * loop asks before every instruction, and cost nothing otherwise.
 */
#include "engine/interp/exception.h"

#include "base/log.h"
#include "engine/interp/interp.h"
#include "engine/interp/mmu.h"
#include "engine/interp/sysreg.h"

#define SPSR_IL   (1u << 20)
#define SPSR_SS   (1u << 21)
#define SPSR_PAN  (1u << 22)
#define SPSR_SSBS (1u << 12)
#define DAIF_MASK 0x3c0u
#define DAIF_D    0x200u
#define DAIF_I    0x80u
#define DAIF_F    0x40u

/* ---- PSTATE ---- */

static unsigned sp_bank(unsigned el, unsigned spsel)
{
    return el && spsel;
}

void exception_select_sp(struct cpu *c, unsigned el, unsigned spsel)
{
    c->sp_el[sp_bank(c->el, c->spsel)] = c->sp;
    c->el = (uint8_t)el;
    c->spsel = (uint8_t)spsel;
    c->sp = c->sp_el[sp_bank(el, spsel)];
}

uint32_t exception_pstate(const struct cpu *c)
{
    uint32_t mode = c->el ? 4u | c->spsel : 0;
    return c->nzcv | (c->pan ? SPSR_PAN : 0) | (c->ss ? SPSR_SS : 0) | (c->il ? SPSR_IL : 0) |
           (c->ssbs ? SPSR_SSBS : 0) | c->daif | mode;
}

void exception_set_pstate(struct cpu *c, uint32_t spsr)
{
    c->nzcv = spsr & 0xf0000000;
    c->daif = spsr & DAIF_MASK;
    c->pan = !!(spsr & SPSR_PAN);
    c->ssbs = !!(spsr & SPSR_SSBS);
    c->il = !!(spsr & SPSR_IL);
    c->ss = !!(spsr & SPSR_SS);
    unsigned el = spsr >> 2 & 1;
    exception_select_sp(c, el, el ? spsr & 1 : 1);
    mmu_context(c);
    sysreg_update_fp_trap(c);
    debug_update(c);
}

/* ---- Entry ---- */

void exception_enter(struct cpu *c, enum exception_kind kind)
{
    uint64_t offset = c->el == 0 ? 0x400 : c->spsel ? 0x200 : 0;
    const uint64_t sctlr = sysreg_get(c, SYSREG_SCTLR_EL1);

    c->sys->reg[SYSREG_SPSR_EL1] = exception_pstate(c);
    c->sys->reg[SYSREG_ELR_EL1] = c->pc;
    exception_select_sp(c, 1, 1);
    c->daif = DAIF_MASK;
    c->ss = c->il = c->btype = 0;
    if (!(sctlr & SCTLR_SPAN))
        c->pan = 1;
    c->ssbs = !!(sctlr & SCTLR_DSSBS);
    cpu_branch(c, sysreg_get(c, SYSREG_VBAR_EL1) + offset + kind);
    mmu_sync(c);
    mmu_context(c);
    sysreg_update_fp_trap(c);
    debug_update(c);
}

/*
 * A guest whose handlers fault themselves goes round in circles for good, without a sign: firmware
 * that is none ends so, at a vector that holds no code. Nobody nests so many exceptions otherwise.
 * Said once in the life of a vCPU: then the count stays where it is.
 */
#define LOST 1000u

static void watch_progress(struct cpu *c)
{
    if (!c->el || c->sys->unreturned == LOST || ++c->sys->unreturned < LOST)
        return;
    pv_warn(PV_LOG_ENGINE,
            "vCPU %u is lost: %u exceptions in a row were not returned from, the last at %#llx "
            "(ESR_EL1 %#llx, VBAR_EL1 %#llx)",
            c->vcpu->index, LOST, (unsigned long long)c->pc,
            (unsigned long long)sysreg_get(c, SYSREG_ESR_EL1),
            (unsigned long long)sysreg_get(c, SYSREG_VBAR_EL1));
}

_Noreturn void cpu_raise(struct cpu *c, unsigned ec, uint32_t iss)
{
    c->sys->reg[SYSREG_ESR_EL1] = (uint64_t)ec << 26 | 1u << 25 | iss;
    watch_progress(c);
    exception_enter(c, EXCEPTION_SYNC);
    longjmp(c->unwind, 1);
}

_Noreturn void cpu_raise_far(struct cpu *c, unsigned ec, uint32_t iss, uint64_t far)
{
    c->sys->reg[SYSREG_FAR_EL1] = far;
    cpu_raise(c, ec, iss);
}

void cpu_sp_misaligned(struct cpu *c)
{
    if (sysreg_get(c, SYSREG_SCTLR_EL1) & (c->el ? SCTLR_SA : SCTLR_SA0))
        cpu_raise(c, EC_SP_ALIGN, 0);
}

_Noreturn void cpu_undefined(struct cpu *c)
{
    cpu_raise(c, EC_UNKNOWN, 0);
}

_Noreturn void cpu_fp_trap(struct cpu *c)
{
    cpu_raise(c, EC_FP_TRAP, 0x1e << 20); /* CV = 1, COND = 0b1110: as for AArch64 */
}

static bool debug_enabled(const struct cpu *c)
{
    if (sysreg_get(c, SYSREG_OSLSR_EL1) & 2 || sysreg_get(c, SYSREG_OSDLR_EL1) & 1)
        return false;
    return c->el == 0 || ((sysreg_get(c, SYSREG_MDSCR_EL1) & MDSCR_KDE) && !(c->daif & DAIF_D));
}

/* ---- Return (D1.3.4) ---- */

void exception_return(struct cpu *c)
{
    uint32_t spsr = (uint32_t)sysreg_get(c, SYSREG_SPSR_EL1);
    uint64_t target = sysreg_get(c, SYSREG_ELR_EL1);
    unsigned mode = spsr & 0x1f;

    if (c->sys->unreturned < LOST)
        c->sys->unreturned = 0;
    mmu_sync(c);
    if (mode != 0 && mode != 4 && mode != 5) {
        /* An illegal return: EL and SP stay, and PSTATE.IL fails the next instruction. */
        spsr = (spsr & ~0x1fu) | SPSR_IL | (exception_pstate(c) & 0x1f);
        spsr &= ~SPSR_SS;
    }
    bool stepping = (sysreg_get(c, SYSREG_MDSCR_EL1) & MDSCR_SS) && !debug_enabled(c);
    exception_set_pstate(c, spsr);
    cpu_clear_monitor(c);
    /* SPSR_EL1.SS counts only on the way from where steps are disabled to where they are enabled.
     */
    if (!stepping || !debug_enabled(c))
        c->ss = 0;
    cpu_branch(c, mmu_branch_address(c, target));
}

/* ---- Debug exceptions ---- */

static uint64_t bcr(const struct cpu *c, unsigned n)
{
    return sysreg_get(c, n ? SYSREG_DBGBCR1_EL1 : SYSREG_DBGBCR0_EL1);
}
static uint64_t bvr(const struct cpu *c, unsigned n)
{
    return sysreg_get(c, n ? SYSREG_DBGBVR1_EL1 : SYSREG_DBGBVR0_EL1);
}
static uint64_t wcr(const struct cpu *c, unsigned n)
{
    return sysreg_get(c, n ? SYSREG_DBGWCR1_EL1 : SYSREG_DBGWCR0_EL1);
}
static uint64_t wvr(const struct cpu *c, unsigned n)
{
    return sysreg_get(c, n ? SYSREG_DBGWVR1_EL1 : SYSREG_DBGWVR0_EL1);
}

void debug_update(struct cpu *c)
{
    const uint64_t mdscr = sysreg_get(c, SYSREG_MDSCR_EL1);
    bool step = c->il;

    if (debug_enabled(c))
        step = step || (mdscr & MDSCR_SS) || ((mdscr & MDSCR_MDE) && ((bcr(c, 0) | bcr(c, 1)) & 1));
    if (step)
        atomic_fetch_or(&c->vcpu->attention, INTERP_ATTENTION_STEP);
    else if (atomic_load_explicit(&c->vcpu->attention, memory_order_relaxed) &
             INTERP_ATTENTION_STEP)
        atomic_fetch_and(&c->vcpu->attention, ~INTERP_ATTENTION_STEP);
}

/* PMC/PAC, HMC and SSC as they are without EL2 and EL3 (D2.8.3). */
static bool el_selected(unsigned el, unsigned rights)
{
    return el == 0 ? rights & 2 : rights & 1;
}

static bool context_matches(const struct cpu *c, unsigned n)
{
    unsigned type = (unsigned)pv_bits(bcr(c, n), 20, 4);
    return n == BREAKPOINTS - 1 && (type == 2 || type == 3) &&
           (uint32_t)bvr(c, n) == (uint32_t)sysreg_get(c, SYSREG_CONTEXTIDR_EL1);
}

static bool linked_matches(const struct cpu *c, uint64_t control)
{
    unsigned link = (unsigned)pv_bits(control, 16, 4);
    return link < BREAKPOINTS && (bcr(c, link) & 1) && pv_bits(bcr(c, link), 20, 4) == 3 &&
           context_matches(c, link);
}

static bool breakpoint_matches(const struct cpu *c, unsigned n)
{
    uint64_t control = bcr(c, n);
    if (!(control & 1) || !el_selected(c->el, (unsigned)pv_bits(control, 1, 2)))
        return false;
    switch (pv_bits(control, 20, 4)) {
    case 0: break;
    case 1:
        if (!linked_matches(c, control))
            return false;
        break;
    case 2: return context_matches(c, n);
    default: return false;
    }
    return pv_bits(bvr(c, n) ^ c->pc, 2, 47) == 0;
}

void debug_before(struct cpu *c)
{
    const uint64_t mdscr = sysreg_get(c, SYSREG_MDSCR_EL1);
    bool lower = c->el == 0;

    if (debug_enabled(c)) {
        /* Software step first, then breakpoints (D1.3.6, synchronous priorities). */
        if ((mdscr & MDSCR_SS) && !c->ss)
            cpu_raise(c, lower ? EC_STEP_LOWER : EC_STEP_SAME, 1u << 24 | FSC_DEBUG);
        for (unsigned n = 0; (mdscr & MDSCR_MDE) && n < BREAKPOINTS; n++)
            if (breakpoint_matches(c, n))
                cpu_raise(c, lower ? EC_BREAKPOINT_LOWER : EC_BREAKPOINT_SAME, FSC_DEBUG);
    }
    if (c->il)
        cpu_raise(c, EC_ILLEGAL_STATE, 0);
}

void cpu_stepped(struct cpu *c)
{
    c->ss = 0;
}

/* The bytes a watchpoint covers: [*start, *start + *size). */
static void watch_range(uint64_t control, uint64_t value, uint64_t *start, uint64_t *size)
{
    unsigned mask = (unsigned)pv_bits(control, 24, 5);
    unsigned select = (unsigned)pv_bits(control, 5, 8);
    if (mask >= 3) {
        *size = UINT64_C(1) << mask;
        *start = value & ~(*size - 1);
        return;
    }
    /* Byte address select must be contiguous; the outermost bits rule otherwise. */
    *start = value;
    *size = 0;
    if (select) {
        unsigned first = (unsigned)__builtin_ctz(select);
        unsigned last = 31u - (unsigned)__builtin_clz(select);
        *start = value + first;
        *size = last - first + 1;
    }
}

void debug_check_watch(struct cpu *c, uint64_t va, unsigned size, bool write, bool unprivileged)
{
    if (!(sysreg_get(c, SYSREG_MDSCR_EL1) & MDSCR_MDE) || !debug_enabled(c))
        return;
    for (unsigned n = 0; n < WATCHPOINTS; n++) {
        uint64_t control = wcr(c, n), start, length;
        if (!(control & 1) || !(pv_bits(control, 3, 2) & (write ? 2u : 1u)) ||
            !el_selected(unprivileged ? 0 : c->el, (unsigned)pv_bits(control, 1, 2)) ||
            ((control >> 20 & 1) && !linked_matches(c, control)))
            continue;
        watch_range(control, wvr(c, n), &start, &length);
        uint64_t at = (uint64_t)pv_sext(va, 56);
        if (at < start + length && start < at + size)
            cpu_raise_far(c, c->el ? EC_WATCHPOINT_SAME : EC_WATCHPOINT_LOWER,
                          (write ? 1u << 6 : 0) | FSC_DEBUG, PV_MAX(at, start));
    }
}

bool debug_page_watched(const struct cpu *c, uint64_t page)
{
    if (!(sysreg_get(c, SYSREG_MDSCR_EL1) & MDSCR_MDE))
        return false;
    for (unsigned n = 0; n < WATCHPOINTS; n++) {
        uint64_t start, length, at = (uint64_t)pv_sext(page, 56);
        if (!(wcr(c, n) & 1))
            continue;
        watch_range(wcr(c, n), wvr(c, n), &start, &length);
        if (length && at <= start + length - 1 && start <= (at | MMU_PAGE_MASK))
            return true;
    }
    return false;
}

/* ---- Between blocks ---- */

void interp_outside(struct cpu *c)
{
    atomic_store(&c->tlb->inside, false);
}

void interp_inside(struct cpu *c)
{
    atomic_store(&c->tlb->inside, true);
    if (atomic_load(&c->vcpu->attention) & INTERP_ATTENTION_TLB)
        mmu_serve(c);
}

static void take_interrupt(struct cpu *c, enum exception_kind kind)
{
    atomic_fetch_add_explicit(&c->sys->interrupts, 1, memory_order_relaxed);
    exception_enter(c, kind);
    c->branched = false; /* no instruction is in flight whose PC the loop would advance */
}

enum interp_next interp_attend(struct cpu *c)
{
    uint32_t attention = atomic_load(&c->vcpu->attention);

    if (attention & INTERP_ATTENTION_TLB)
        mmu_serve(c);
    if (attention & PV_ATTENTION_STOP)
        return INTERP_LEAVE;
    if ((attention & PV_ATTENTION_FIQ) && !(c->daif & DAIF_F))
        take_interrupt(c, EXCEPTION_FIQ);
    else if ((attention & PV_ATTENTION_IRQ) && !(c->daif & DAIF_I))
        take_interrupt(c, EXCEPTION_IRQ);
    if (!(atomic_load(&c->vcpu->attention) & INTERP_ATTENTION_STEP))
        return INTERP_RUN;
    debug_before(c);
    return INTERP_STEP;
}
