/* SPDX-License-Identifier: MIT */
/*
 * MRS and MSR. A register is looked for in three places: the table of sysreg.h (found through an
 * index by encoding), the constants of idregs.c, and the machine behind the client's callbacks
 * (GIC CPU interface, generic timer). What none of them knows is UNDEFINED.
 */
#include "engine/interp/sysreg.h"

#include "base/log.h"
#include "engine/interp/exception.h"
#include "engine/interp/interp.h"
#include "engine/interp/mmu.h"

#include <errno.h>
#include <string.h>

struct row {
    uint32_t encoding;
    uint8_t access;
    uint64_t reset, mask;
};

static const struct row rows[SYSREG_COUNT] = {
#define X(name, op0, op1, crn, crm, op2, access, reset, mask)                                      \
    [SYSREG_##name] = {PV_SYSREG(op0, op1, crn, crm, op2), access, reset, mask},
    SYSREG_TABLE(X)
#undef X
};

void sysreg_build_index(struct interp *interp)
{
    memset(interp->sysreg_index, 0, sizeof(interp->sysreg_index));
    for (unsigned i = 1; i < SYSREG_COUNT; i++)
        interp->sysreg_index[rows[i].encoding & 0x7fff] = (uint8_t)i;
}

static enum sysreg find(const struct cpu *c, uint32_t encoding)
{
    return (enum sysreg)c->interp->sysreg_index[encoding & 0x7fff];
}

void sysreg_reset(struct cpu *c)
{
    for (unsigned i = 1; i < SYSREG_COUNT; i++)
        c->sys->reg[i] = rows[i].reset;
    c->sys->reg[SYSREG_MPIDR_EL1] = c->vcpu->mpidr | UINT64_C(1) << 31;
    c->sys->claim = 0;
    c->sys->unreturned = 0;
}

void sysreg_update_fp_trap(struct cpu *c)
{
    unsigned fpen = (unsigned)pv_bits(sysreg_get(c, SYSREG_CPACR_EL1), 20, 2);
    c->fp_trapped = !(fpen & 1) || (fpen == 1 && c->el == 0);
}

/* ---- Traps ---- */

_Noreturn void sysreg_trap(struct cpu *c, uint32_t encoding, unsigned rt, bool read)
{
    uint32_t op0 = encoding >> 14 & 3, op1 = encoding >> 11 & 7, crn = encoding >> 7 & 15;
    uint32_t crm = encoding >> 3 & 15, op2 = encoding & 7;
    cpu_raise(c, EC_SYSREG,
              op0 << 20 | op2 << 17 | op1 << 14 | crn << 10 | (uint32_t)rt << 5 | crm << 1 | read);
}

/* EL0's access to the timer registers as CNTKCTL_EL1 allows it (D19.12.16). */
static bool timer_allowed(const struct cpu *c, uint32_t encoding)
{
    const uint64_t ctl = sysreg_get(c, SYSREG_CNTKCTL_EL1);
    switch (encoding) {
    case PV_SYSREG(3, 3, 14, 0, 0): return ctl & 3;
    case PV_SYSREG(3, 3, 14, 0, 1): return ctl & 1;
    case PV_SYSREG(3, 3, 14, 0, 2): return ctl & 2;
    case PV_SYSREG(3, 3, 14, 2, 0):
    case PV_SYSREG(3, 3, 14, 2, 1):
    case PV_SYSREG(3, 3, 14, 2, 2): return ctl & 1u << 9;
    case PV_SYSREG(3, 3, 14, 3, 0):
    case PV_SYSREG(3, 3, 14, 3, 1):
    case PV_SYSREG(3, 3, 14, 3, 2): return ctl & 1u << 8;
    default: return true;
    }
}

/* Traps of EL0 accesses that EL1's controls forbid, for registers that EL0 may use at all. */
static void check_el0_traps(struct cpu *c, uint32_t encoding, unsigned rt, bool read)
{
    const uint64_t sctlr = sysreg_get(c, SYSREG_SCTLR_EL1);
    bool trap = !timer_allowed(c, encoding);

    switch (find(c, encoding)) {
    case SYSREG_DAIF: trap = !(sctlr & SCTLR_UMA); break;
    case SYSREG_SCXTNUM_EL0: trap = sctlr & SCTLR_TSCXT; break;
    case SYSREG_MDCCSR_EL0:
    case SYSREG_DBGDTR_EL0:
    case SYSREG_DBGDTRX_EL0: trap = sysreg_get(c, SYSREG_MDSCR_EL1) & MDSCR_TDCC; break;
    default: break;
    }
    if (encoding == PV_SYSREG(3, 3, 0, 0, 1))
        trap = !(sctlr & SCTLR_UCT);
    if (trap)
        sysreg_trap(c, encoding, rt, read);
}

static _Noreturn void unknown(struct cpu *c, uint32_t encoding, bool read)
{
    pv_debug(PV_LOG_INTERP, "vCPU %u: %s of unknown system register S%u_%u_C%u_C%u_%u at %#llx",
             c->vcpu->index, read ? "read" : "write", encoding >> 14 & 3, encoding >> 11 & 7,
             encoding >> 7 & 15, encoding >> 3 & 15, encoding & 7, (unsigned long long)c->pc);
    cpu_undefined(c);
}

/* ---- Reading ---- */

static uint64_t cache_size(const struct cpu *c)
{
    /* 32 KiB 4-way L1s, a 1 MiB 16-way L2, 64-byte lines (CCSIDR_EL1, 32-bit format). */
    switch (sysreg_get(c, SYSREG_CSSELR_EL1) & 0xf) {
    case 0:
    case 1: return 127u << 13 | 3u << 3 | 2;
    case 2: return 1023u << 13 | 15u << 3 | 2;
    default: return 0;
    }
}

static uint64_t pending_interrupts(const struct cpu *c)
{
    uint32_t attention = atomic_load(&c->vcpu->attention);
    return (attention & PV_ATTENTION_IRQ ? 1u << 7 : 0) |
           (attention & PV_ATTENTION_FIQ ? 1u << 6 : 0);
}

static uint64_t read_row(struct cpu *c, enum sysreg reg)
{
    switch (reg) {
    case SYSREG_SP_EL0:
        if (!c->spsel)
            cpu_undefined(c);
        return c->sp_el[0];
    case SYSREG_SPSEL: return c->spsel;
    case SYSREG_CURRENTEL: return (uint64_t)c->el << 2;
    case SYSREG_PAN: return (uint64_t)c->pan << 22;
    case SYSREG_ISR_EL1: return pending_interrupts(c);
    case SYSREG_CCSIDR_EL1: return cache_size(c);
    case SYSREG_NZCV: return c->nzcv;
    case SYSREG_DAIF: return c->daif;
    case SYSREG_SSBS: return (uint64_t)c->ssbs << 12;
    case SYSREG_FPCR: cpu_check_fp(c); return c->fpcr;
    case SYSREG_FPSR: cpu_check_fp(c); return c->fpsr;
    case SYSREG_DBGCLAIMSET_EL1: return 0xff;
    case SYSREG_DBGCLAIMCLR_EL1: return c->sys->claim;
    default: return c->sys->reg[reg];
    }
}

static bool client_read(struct cpu *c, uint32_t encoding, uint64_t *value)
{
    const struct pv_engine_config *config = &c->interp->engine->config;
    if (!config->client->sysreg_read)
        return false;
    interp_outside(c);
    bool known =
        config->client->sysreg_read(config->client_opaque, c->vcpu->index, encoding, value);
    interp_inside(c);
    return known;
}

/* CNTPCT_EL0 and CNTVCT_EL0, where they are the client's and need none of what follows. */
static bool counter_read(const struct cpu *c, uint32_t encoding, uint64_t *value)
{
    const struct pv_engine_config *config = &c->interp->engine->config;
    if (encoding != PV_SYSREG(3, 3, 14, 0, 1) && encoding != PV_SYSREG(3, 3, 14, 0, 2))
        return false;
    if (!config->client->counter || (c->el == 0 && !timer_allowed(c, encoding)))
        return false;
    *value = config->client->counter(config->client_opaque);
    return true;
}

/* The GIC's registers are EL1's only; EL0 has the timer's, op0 3 and op1 3. */
static bool el0_may_ask(uint32_t encoding)
{
    return (encoding & ~0x7fu) == PV_SYSREG(3, 3, 14, 0, 0);
}

uint64_t sysreg_read(struct cpu *c, uint32_t encoding, unsigned rt)
{
    uint64_t value = 0;

    if (counter_read(c, encoding, &value))
        return value;
    enum sysreg reg = find(c, encoding);
    if (c->el == 0)
        check_el0_traps(c, encoding, rt, true);
    if (reg) {
        if (!(rows[reg].access & (c->el ? ACC_R1 : ACC_R0)))
            cpu_undefined(c);
        return read_row(c, reg);
    }
    if (idreg_read(encoding, &value)) {
        bool el0 = (encoding >> 11 & 7) == 3; /* CTR_EL0 and DCZID_EL0 */
        if (c->el == 0 && !el0)
            cpu_undefined(c);
        if (encoding == PV_SYSREG(3, 3, 0, 0, 7) && c->el == 0 &&
            !(sysreg_get(c, SYSREG_SCTLR_EL1) & SCTLR_DZE))
            value |= 1u << 4; /* DZP: DC ZVA is prohibited here */
        return value;
    }
    if ((c->el || el0_may_ask(encoding)) && client_read(c, encoding, &value))
        return value;
    unknown(c, encoding, true);
}

/* ---- Writing ---- */

static void write_debug(struct cpu *c, enum sysreg reg, uint64_t value)
{
    uint64_t *regs = c->sys->reg;
    switch (reg) {
    case SYSREG_OSLAR_EL1:
        regs[SYSREG_OSLSR_EL1] = (regs[SYSREG_OSLSR_EL1] & ~UINT64_C(2)) | (value & 1) << 1;
        break;
    case SYSREG_DBGCLAIMSET_EL1: c->sys->claim |= value & 0xff; break;
    case SYSREG_DBGCLAIMCLR_EL1: c->sys->claim &= ~value; break;
    default:
        regs[reg] = (regs[reg] & ~rows[reg].mask) | (value & rows[reg].mask);
        /* Fast paths know nothing of watchpoints: pages under one must leave them. */
        mmu_flush(c, &(struct tlb_request){.kind = TLB_FLUSH_HOST});
        break;
    }
    debug_update(c);
}

static void write_row(struct cpu *c, enum sysreg reg, uint64_t value)
{
    uint64_t *stored = &c->sys->reg[reg];
    switch (reg) {
    case SYSREG_SP_EL0:
        if (!c->spsel)
            cpu_undefined(c);
        c->sp_el[0] = value;
        return;
    case SYSREG_SPSEL: exception_select_sp(c, c->el, value & 1); return;
    case SYSREG_PAN:
        c->pan = value >> 22 & 1;
        mmu_context(c);
        return;
    case SYSREG_NZCV: c->nzcv = value & 0xf0000000; return;
    case SYSREG_DAIF:
        c->daif = value & 0x3c0;
        debug_update(c);
        return;
    case SYSREG_SSBS: c->ssbs = value >> 12 & 1; return;
    case SYSREG_FPCR:
        cpu_check_fp(c);
        c->fpcr = value & FPCR_WRITABLE;
        return;
    case SYSREG_FPSR:
        cpu_check_fp(c);
        c->fpsr = value & 0x0800009f;
        return;
    default: break;
    }
    if (rows[reg].encoding >> 14 == 2) {
        write_debug(c, reg, value);
        return;
    }
    *stored = (*stored & ~rows[reg].mask) | (value & rows[reg].mask);
    switch (reg) {
    case SYSREG_SCTLR_EL1:
    case SYSREG_TCR_EL1:
    case SYSREG_TTBR0_EL1:
    case SYSREG_TTBR1_EL1:
    case SYSREG_MAIR_EL1: c->tlb->stale = true; break;
    case SYSREG_CPACR_EL1: sysreg_update_fp_trap(c); break;
    default: break;
    }
}

static bool client_write(struct cpu *c, uint32_t encoding, uint64_t value)
{
    const struct pv_engine_config *config = &c->interp->engine->config;
    if (!config->client->sysreg_write)
        return false;
    interp_outside(c);
    bool known =
        config->client->sysreg_write(config->client_opaque, c->vcpu->index, encoding, value);
    interp_inside(c);
    return known;
}

void sysreg_write(struct cpu *c, uint32_t encoding, unsigned rt, uint64_t value)
{
    enum sysreg reg = find(c, encoding);

    if (c->el == 0)
        check_el0_traps(c, encoding, rt, false);
    if (reg) {
        if (!(rows[reg].access & (c->el ? ACC_W1 : ACC_W0)))
            cpu_undefined(c);
        write_row(c, reg, value);
        return;
    }
    if ((c->el || el0_may_ask(encoding)) && client_write(c, encoding, value))
        return;
    unknown(c, encoding, false);
}

/* ---- From outside ---- */

int sysreg_peek(struct cpu *c, uint32_t encoding, uint64_t *value)
{
    enum sysreg reg = find(c, encoding);
    if (encoding >> 14 != 2 && encoding >> 14 != 3)
        return -ENOENT;
    if (!reg)
        return idreg_read(encoding, value) ? 0 : -ENOENT;
    if (reg == SYSREG_SP_EL0)
        *value = c->el && c->spsel ? c->sp_el[0] : c->sp;
    else if (reg == SYSREG_FPCR)
        *value = c->fpcr;
    else if (reg == SYSREG_FPSR)
        *value = c->fpsr;
    else
        *value = read_row(c, reg);
    return 0;
}

int sysreg_poke(struct cpu *c, uint32_t encoding, uint64_t value)
{
    enum sysreg reg = find(c, encoding);
    if (!reg || (encoding >> 14 != 2 && encoding >> 14 != 3))
        return -ENOENT;
    if (reg == SYSREG_OSLSR_EL1)
        c->sys->reg[reg] = value & 0xa;
    else if (reg == SYSREG_SP_EL0)
        *(c->el && c->spsel ? &c->sp_el[0] : &c->sp) = value;
    else if (reg == SYSREG_FPCR)
        c->fpcr = value & FPCR_WRITABLE;
    else if (reg == SYSREG_FPSR)
        c->fpsr = value & 0x0800009f;
    else
        write_row(c, reg, value);
    mmu_sync(c);
    return 0;
}
