/* SPDX-License-Identifier: MIT */
/*
 * The identity of the PE: exactly what is there, no more.
 *
 * Armv8.2 without what costs an emulator more than it gives a guest: no pointer authentication,
 * SVE, MTE, EL2, EL3, AArch32 or PMU. E0PD, CSV2=3 and CSV3 together keep kernels from page-table
 * isolation and branch predictor mitigations that would protect nothing here.
 *
 * MIDR_EL1 is a Neoverse N1's, an Armv8.2 core with just these features: glibc before 2.38 copies
 * memory by vector registers only on cores that it knows, which is 1.4 times as fast. The errata
 * that kernels know of it cost less (a TLBI is issued twice: 5% of a fork).
 */
#include "engine/interp/idregs.h"

#include "base/util.h"
#include "engine/engine.h"

#define FIELD(value, lsb) ((uint64_t)(value) << (lsb))

static const struct {
    uint32_t sysreg;
    uint64_t value;
} idregs[] = {
    {PV_SYSREG(3, 0, 0, 0, 0), 0x414fd0c1}, /* MIDR_EL1: Neoverse N1 r4p1 */
    {PV_SYSREG(3, 0, 0, 0, 6), 0},          /* REVIDR_EL1 */
    {PV_SYSREG(3, 1, 0, 0, 7), 0},          /* AIDR_EL1 */

    /* ID_AA64PFR0_EL1: EL0, EL1 AArch64 only; FP, AdvSIMD with FP16; GIC registers; CSV2=3, CSV3 */
    {PV_SYSREG(3, 0, 0, 4, 0), FIELD(1, 0) | FIELD(1, 4) | FIELD(1, 16) | FIELD(1, 20) |
                                   FIELD(1, 24) | FIELD(3, 56) | FIELD(1, 60)},
    /* ID_AA64PFR1_EL1: SSBS with its register */
    {PV_SYSREG(3, 0, 0, 4, 1), FIELD(2, 4)},
    /* ID_AA64DFR0_EL1: Armv8.0 debug, 2 breakpoints (1 context-aware), 2 watchpoints */
    {PV_SYSREG(3, 0, 0, 5, 0),
     FIELD(6, 0) | FIELD(BREAKPOINTS - 1, 12) | FIELD(WATCHPOINTS - 1, 20)},
    /* ID_AA64ISAR0_EL1: AES with PMULL, SHA1, SHA256, CRC32, LSE, RDM, DotProd */
    {PV_SYSREG(3, 0, 0, 6, 0), FIELD(2, 4) | FIELD(1, 8) | FIELD(1, 12) | FIELD(1, 16) |
                                   FIELD(2, 20) | FIELD(1, 28) | FIELD(1, 44)},
    /* ID_AA64ISAR1_EL1: DPB, LRCPC */
    {PV_SYSREG(3, 0, 0, 6, 1), FIELD(1, 0) | FIELD(1, 20)},
    /* ID_AA64MMFR0_EL1: 44-bit PA, 16-bit ASIDs, 4K, 16K and 64K granules */
    {PV_SYSREG(3, 0, 0, 7, 0), FIELD(4, 0) | FIELD(2, 4) | FIELD(1, 20)},
    /* ID_AA64MMFR1_EL1: hardware access flag and dirty state, HPDS, LO, PAN2 */
    {PV_SYSREG(3, 0, 0, 7, 1), FIELD(2, 0) | FIELD(1, 12) | FIELD(1, 16) | FIELD(2, 20)},
    /* ID_AA64MMFR2_EL1: CnP, E0PD */
    {PV_SYSREG(3, 0, 0, 7, 2), FIELD(1, 0) | FIELD(1, 60)},

    /*
     * CTR_EL0: 64-byte lines, IDC (cleaning to the point of unification is not needed); not DIC,
     * because IC IVAU is how decoded code learns that it changed.
     */
    {PV_SYSREG(3, 3, 0, 0, 1), 0x9444c004},
    {PV_SYSREG(3, 3, 0, 0, 7), 4},          /* DCZID_EL0: DC ZVA clears 64 bytes */
    {PV_SYSREG(3, 1, 0, 0, 1), 0x82000023}, /* CLIDR_EL1: split L1, unified L2, LoUU = LoUIS = 0 */
    {PV_SYSREG(3, 0, 10, 4, 7), 0},         /* LORID_EL1: no LORegions */
};

bool idreg_read(uint32_t sysreg, uint64_t *value)
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(idregs); i++) {
        if (idregs[i].sysreg == sysreg) {
            *value = idregs[i].value;
            return true;
        }
    }
    /* op0 3, op1 0, CRn 0, CRm 1 to 7: AArch32's and later features' registers, all absent. */
    if (sysreg >= PV_SYSREG(3, 0, 0, 1, 0) && sysreg <= PV_SYSREG(3, 0, 0, 7, 7)) {
        *value = 0;
        return true;
    }
    return false;
}
