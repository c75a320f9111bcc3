/* SPDX-License-Identifier: MIT */
/*
 * SYS: cache and TLB maintenance and address translation (Arm ARM C5.3 to C5.5).
 *
 * Guest memory is the host's coherent memory, so cleaning and invalidating data caches only has to
 * fault where the architecture says so. Instruction caches are real: decoded code is cached by
 * physical page, and IC IVAU is what drops it.
 */
#include "engine/interp/system.h"

#include "engine/interp/interp.h"
#include "engine/interp/mem.h"
#include "engine/interp/mmu.h"
#include "engine/interp/run.h"
#include "engine/interp/sysreg.h"

/* ---- Address translation to PAR_EL1 ---- */

static void translate_address(struct cpu *c, uint64_t va, enum mmu_access access,
                              enum tlb_bank bank)
{
    struct mmu_result t = {0};
    int fault = mmu_translate(c, va, access, bank, true, &t);
    uint64_t par = UINT64_C(1) << 11; /* RES1 */
    if (fault != MMU_OK)
        par |= (uint64_t)fault << 1 | 1;
    else
        par |= (t.pa & UINT64_C(0x0000fffffffff000)) | (uint64_t)t.attr << 56 |
               (uint64_t)t.share << 7 | UINT64_C(1) << 9;
    c->sys->reg[SYSREG_PAR_EL1] = par;
}

/* ---- TLB maintenance ---- */

static void tlb_maintenance(struct cpu *c, unsigned crm, unsigned op2, uint64_t operand)
{
    struct tlb_request request = {
        .asid = (uint16_t)(operand >> 48),
        .va = (uint64_t)pv_sext(operand << 12, 56),
    };
    /* With 8-bit ASIDs the upper half of the field is ignored (TCR_EL1.AS). */
    if (!(sysreg_get(c, SYSREG_TCR_EL1) >> 36 & 1))
        request.asid &= 0xff;
    switch (op2) {
    case 0: request.kind = TLB_FLUSH_ALL; break;
    case 1:
    case 5: request.kind = TLB_FLUSH_VA; break;
    case 2: request.kind = TLB_FLUSH_ASID; break;
    case 3:
    case 7: request.kind = TLB_FLUSH_VA_ASIDS; break;
    default: cpu_undefined(c);
    }
    mmu_flush(c, &request);
    if (crm == 3)
        mmu_broadcast(c, &request);
}

/* ---- Caches ---- */

static void zero_block(struct cpu *c, uint64_t va)
{
    mem_check_block(c, va);
    va &= ~(uint64_t)(DC_ZVA_SIZE - 1);
    mem_probe(c, va, DC_ZVA_SIZE, true);
    for (unsigned i = 0; i < DC_ZVA_SIZE; i += 8)
        mem_write64(c, va + i, 0);
}

/* What EL0 may do of these depends on SCTLR_EL1. */
static void check_el0(struct cpu *c, uint32_t encoding, unsigned rt, uint64_t enable)
{
    if (c->el == 0 && !(sysreg_get(c, SYSREG_SCTLR_EL1) & enable))
        sysreg_trap(c, encoding, rt, false);
}

/* The instructions that EL0 can have: op1 is 3. */
static bool user_cache(struct cpu *c, uint32_t encoding, unsigned rt, uint64_t va)
{
    switch (encoding) {
    case PV_SYSREG(1, 3, 7, 4, 1): /* DC ZVA */
        check_el0(c, encoding, rt, SCTLR_DZE);
        zero_block(c, va);
        return true;
    case PV_SYSREG(1, 3, 7, 5, 1): /* IC IVAU */
        check_el0(c, encoding, rt, SCTLR_UCI);
        interp_icache_invalidate(c->interp, mem_cache_operand(c, va, false));
        return true;
    case PV_SYSREG(1, 3, 7, 10, 1): /* DC CVAC */
    case PV_SYSREG(1, 3, 7, 11, 1): /* DC CVAU */
    case PV_SYSREG(1, 3, 7, 12, 1): /* DC CVAP */
    case PV_SYSREG(1, 3, 7, 14, 1): /* DC CIVAC */
        check_el0(c, encoding, rt, SCTLR_UCI);
        mem_cache_operand(c, va, false);
        return true;
    default: return false;
    }
}

static bool kernel_cache(struct cpu *c, uint32_t encoding, uint64_t va)
{
    switch (encoding) {
    case PV_SYSREG(1, 0, 7, 1, 0): /* IC IALLUIS */
    case PV_SYSREG(1, 0, 7, 5, 0): /* IC IALLU */
        interp_icache_invalidate_all(c->interp);
        return true;
    case PV_SYSREG(1, 0, 7, 6, 1): /* DC IVAC */ mem_cache_operand(c, va, true); return true;
    case PV_SYSREG(1, 0, 7, 6, 2):  /* DC ISW */
    case PV_SYSREG(1, 0, 7, 10, 2): /* DC CSW */
    case PV_SYSREG(1, 0, 7, 14, 2): /* DC CISW */ return true;
    default: return false;
    }
}

static bool address_translation(struct cpu *c, uint32_t encoding, uint64_t va)
{
    const enum tlb_bank with_pan = c->pan ? TLB_EL1_PAN : TLB_EL1;
    switch (encoding) {
    case PV_SYSREG(1, 0, 7, 8, 0): translate_address(c, va, MMU_READ, TLB_EL1); return true;
    case PV_SYSREG(1, 0, 7, 8, 1): translate_address(c, va, MMU_WRITE, TLB_EL1); return true;
    case PV_SYSREG(1, 0, 7, 8, 2): translate_address(c, va, MMU_READ, TLB_EL0); return true;
    case PV_SYSREG(1, 0, 7, 8, 3): translate_address(c, va, MMU_WRITE, TLB_EL0); return true;
    case PV_SYSREG(1, 0, 7, 9, 0): translate_address(c, va, MMU_READ, with_pan); return true;
    case PV_SYSREG(1, 0, 7, 9, 1): translate_address(c, va, MMU_WRITE, with_pan); return true;
    default: return false;
    }
}

void system_instruction(struct cpu *c, uint32_t encoding, unsigned rt)
{
    const uint64_t operand = cpu_x(c, rt);
    const unsigned op1 = encoding >> 11 & 7, crn = encoding >> 7 & 15, crm = encoding >> 3 & 15;

    if (op1 == 3 && user_cache(c, encoding, rt, operand))
        return;
    if (c->el == 0 || op1 != 0)
        cpu_undefined(c);
    if (crn == 8 && (crm == 3 || crm == 7)) {
        tlb_maintenance(c, crm, encoding & 7, operand);
        return;
    }
    if (!kernel_cache(c, encoding, operand) && !address_translation(c, encoding, operand))
        cpu_undefined(c);
}
