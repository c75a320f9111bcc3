/* SPDX-License-Identifier: MIT */
/*
 * Whether a guest can go on with another PE than the one it was started on.
 *
 * Kernels read the ID registers once, and arrange themselves and their programs for what they find.
 * So what matters is what the first PE said: each feature must be there in the second one, at least
 * as new, and it does no harm if that one has more. Fields of ID registers are four bits, and
 * larger numbers have all that smaller ones have (Arm ARM D23.1.3); what is not like that is in the
 * table below. Fields that speak of EL2, EL3 and Secure state are not compared, since guests have
 * none of these, nor is the size of physical addresses, as no machine's map comes near any PE's
 * limit.
 *
 * A hardware engine can often be told to say less. It is asked to, field by field, so that CPUs
 * that are switched on later look like those that are there; where it refuses, guests see more than
 * they were told. What they were told is kept until the machine is reset and goes into the next
 * record: the way back is then open, whatever the PE in between was.
 *
 * CTR_EL0 and DCZID_EL0 are not features but sizes that programs go by, without looking again.
 */
#include "engine/identity.h"

#include "base/log.h"
#include "base/record.h"
#include "base/util.h"
#include "engine/engine_impl.h"

#include <errno.h>

#define FIELDS 16u
#define BIT(n) (1u << (n))

/* Bit n of each mask is for the field at bit 4n. Names are of the newest version of a feature. */
struct id_register {
    uint32_t sysreg;
    const char *name;
    uint16_t ignored;
    uint16_t negative; /* 0xf is less than 0: not there */
    uint16_t same;     /* larger numbers do other things: equal, or not there in the record */
    uint16_t advice;   /* about side channels: guests work without, less guarded */
    const char *fields[FIELDS];
};

enum { MIDR, ISAR1 = 6, ISAR2, CTR = 11, DCZID };

static const struct id_register registers[] = {
    [MIDR] = {PV_SYSREG(3, 0, 0, 0, 0), "MIDR_EL1", .ignored = 0xffff},
    {PV_SYSREG(3, 0, 0, 4, 0), "ID_AA64PFR0_EL1", .ignored = BIT(2) | BIT(3) | BIT(9) | BIT(13),
     .negative = BIT(4) | BIT(5), .advice = BIT(14) | BIT(15),
     .fields = {"AArch32 at EL0", "AArch32 at EL1", [4] = "FEAT_FP16", "FEAT_FP16 of vectors",
                "GICv4.1", "FEAT_RAS", "FEAT_SVE", [10] = "FEAT_MPAM", "FEAT_AMUv1",
                "FEAT_DIT", [14] = "FEAT_CSV2", "FEAT_CSV3"}},
    {PV_SYSREG(3, 0, 0, 4, 1), "ID_AA64PFR1_EL1",
     .fields = {"FEAT_BTI", "FEAT_SSBS", "FEAT_MTE", "FEAT_RAS", "FEAT_MPAM", [6] = "FEAT_SME",
                "FEAT_RNG_TRAP", "FEAT_CSV2", "FEAT_NMI", "FEAT_MTE", "FEAT_GCS", "FEAT_THE"}},
    {PV_SYSREG(3, 0, 0, 4, 4), "ID_AA64ZFR0_EL1",
     .fields = {"FEAT_SVE2", "FEAT_SVE_AES", [4] = "FEAT_SVE_BitPerm",
                "FEAT_SVE_B16B16", [8] = "FEAT_SVE_SHA3", [10] = "FEAT_SVE_SM4",
                "FEAT_I8MM of SVE", [13] = "FEAT_F32MM", "FEAT_F64MM"}},
    {PV_SYSREG(3, 0, 0, 5, 0), "ID_AA64DFR0_EL1", .ignored = BIT(9) | BIT(12) | BIT(15),
     .negative = BIT(2),
     .fields = {"FEAT_Debug", "trace registers", "FEAT_PMUv3", "so many breakpoints",
                [5] = "so many watchpoints", [7] = "so many context-aware breakpoints",
                "FEAT_SPE", [10] = "FEAT_TRF", "FEAT_TRBE", [13] = "FEAT_BRBE"}},
    {PV_SYSREG(3, 0, 0, 6, 0), "ID_AA64ISAR0_EL1",
     .fields = {[1] = "FEAT_AES",
                "FEAT_SHA1",
                "FEAT_SHA256",
                "FEAT_CRC32",
                "FEAT_LSE",
                "FEAT_TME",
                "FEAT_RDM",
                "FEAT_SHA3",
                "FEAT_SM3",
                "FEAT_SM4",
                "FEAT_DotProd",
                "FEAT_FHM",
                "FEAT_FlagM",
                "FEAT_TLBIRANGE",
                "FEAT_RNG"}},
    [ISAR1] = {PV_SYSREG(3, 0, 0, 6, 1), "ID_AA64ISAR1_EL1",
               .same = BIT(1) | BIT(2) | BIT(6) | BIT(7),
               .fields = {"FEAT_DPB", "FEAT_PAuth", "FEAT_PAuth", "FEAT_JSCVT", "FEAT_FCMA",
                          "FEAT_LRCPC", "FEAT_PAuth", "FEAT_PAuth", "FEAT_FRINTTS", "FEAT_SB",
                          "FEAT_SPECRES", "FEAT_BF16", "FEAT_DGH", "FEAT_I8MM", "FEAT_XS",
                          "FEAT_LS64"}},
    [ISAR2] = {PV_SYSREG(3, 0, 0, 6, 2), "ID_AA64ISAR2_EL1", .same = BIT(2) | BIT(3),
               .fields = {"FEAT_WFxT", "FEAT_RPRES", "FEAT_PAuth", "FEAT_PAuth", "FEAT_MOPS",
                          "FEAT_HBC", "FEAT_CONSTPACFIELD", [12] = "FEAT_RPRFM", "FEAT_CSSC"}},
    {PV_SYSREG(3, 0, 0, 7, 0), "ID_AA64MMFR0_EL1",
     .ignored = BIT(0) | BIT(3) | BIT(8) | BIT(9) | BIT(10) | BIT(14), .negative = BIT(6) | BIT(7),
     .fields = {[1] = "16-bit ASIDs",
                "FEAT_MixedEnd",
                [4] = "FEAT_MixedEndEL0",
                "16 KiB pages",
                "64 KiB pages",
                "4 KiB pages",
                [11] = "FEAT_ExS",
                [15] = "FEAT_ECV"}},
    {PV_SYSREG(3, 0, 0, 7, 1), "ID_AA64MMFR1_EL1",
     .ignored = BIT(1) | BIT(2) | BIT(6) | BIT(7) | BIT(10),
     .fields = {"FEAT_HAFDBS", [3] = "FEAT_HPDS", "FEAT_LOR", "FEAT_PAN", [8] = "FEAT_TWED",
                "FEAT_ETS", [11] = "FEAT_AFP", "FEAT_nTLBPA", "FEAT_TIDCP1", "FEAT_CMOW"}},
    {PV_SYSREG(3, 0, 0, 7, 2), "ID_AA64MMFR2_EL1", .ignored = BIT(6) | BIT(9) | BIT(10) | BIT(14),
     .fields = {"FEAT_CNP", "FEAT_UAO", "FEAT_LSMAOC", "FEAT_IESB", "FEAT_LVA",
                "FEAT_CCIDX", [7] = "FEAT_TTST", "FEAT_LSE2", [12] = "FEAT_TTL",
                "FEAT_BBM", [15] = "FEAT_E0PD"}},
    /* Since version 2. */
    [CTR] = {.sysreg = PV_SYSREG(3, 3, 0, 0, 1), .name = "CTR_EL0"},
    [DCZID] = {.sysreg = PV_SYSREG(3, 3, 0, 0, 7), .name = "DCZID_EL0"},
};

_Static_assert(PV_ARRAY_SIZE(registers) == PV_IDENTITY_REGISTERS, "one for each");

static int field_of(const struct id_register *reg, unsigned n, uint64_t value)
{
    const int field = (int)pv_bits(value, 4 * n, 4);
    return reg->negative & BIT(n) && field == 0xf ? -1 : field;
}

static void check_field(struct pv_vcpu *vcpu, struct pv_record *record, size_t i, unsigned n,
                        const uint64_t *here, const uint64_t *there)
{
    const struct id_register *reg = &registers[i];
    const int have = field_of(reg, n, here[i]), want = field_of(reg, n, there[i]);
    const char *name = reg->fields[n] ? reg->fields[n] : "a feature";
    const char *engine = vcpu->engine->ops->name;
    /* IMPLEMENTATION DEFINED algorithms are one CPU's own. */
    const bool own = i == ISAR1 && (n == 2 || n == 7) && here[MIDR] != there[MIDR];

    if (reg->ignored & BIT(n) || (!own && have == want) || (reg->same & BIT(n) && !want))
        return;
    if (!(reg->same & BIT(n)) && have > want) {
        /* Asked to hide it; guests that see more than they were told can live with that. */
        uint64_t value;
        if (pv_vcpu_get_sysreg(vcpu, reg->sysreg, &value) == 0)
            pv_vcpu_set_sysreg(vcpu, reg->sysreg,
                               (value & ~(UINT64_C(15) << 4 * n)) |
                                   (there[i] & UINT64_C(15) << 4 * n));
        return;
    }
    if (reg->advice & BIT(n)) {
        if (!vcpu->index)
            pv_warn(
                PV_LOG_ENGINE,
                "the guest was started on a CPU with %s %d, and engine %s has %d: it may lack a "
                "guard against side channels until it is restarted",
                name, want, engine, have);
        return;
    }
    pv_record_fail(record, EINVAL,
                   "the guest's CPU has %s (%s bits %u:%u are %#x), and engine %s has %#x there",
                   name, reg->name, 4 * n + 3, 4 * n, (unsigned)want & 15, engine,
                   (unsigned)have & 15);
}

/* CTR_EL0 (Arm ARM D23.2.34): each of these is safe to believe where the truth is no smaller. */
static void check_caches(struct pv_vcpu *vcpu, struct pv_record *record, uint64_t here,
                         uint64_t there)
{
    static const struct {
        unsigned lsb, width;
        const char *name;
    } fields[] = {{0, 4, "the smallest instruction cache line"},
                  {14, 2, "the instruction cache's policy"},
                  {16, 4, "the smallest data cache line"},
                  {28, 1, "cleaning of data not needed for fetches (IDC)"},
                  {29, 1, "invalidation not needed for fetches (DIC)"}};

    for (size_t i = 0; i < PV_ARRAY_SIZE(fields); i++) {
        const uint64_t have = pv_bits(here, fields[i].lsb, fields[i].width);
        const uint64_t want = pv_bits(there, fields[i].lsb, fields[i].width);
        if (have < want)
            pv_record_fail(record, EINVAL, "the guest's CPU: %s is %u in CTR_EL0, engine %s has %u",
                           fields[i].name, (unsigned)want, vcpu->engine->ops->name, (unsigned)have);
    }
}

static void check(struct pv_vcpu *vcpu, struct pv_record *record, const uint64_t *here,
                  const uint64_t *there)
{
    for (size_t i = 0; i < CTR; i++)
        for (unsigned n = 0; n < FIELDS && pv_record_ok(record); n++)
            check_field(vcpu, record, i, n, here, there);
    /* Engines that cannot tell, and records that are older, have 0 here. */
    if (here[CTR] && there[CTR])
        check_caches(vcpu, record, here[CTR], there[CTR]);
    if (here[DCZID] && there[DCZID] && here[DCZID] != there[DCZID])
        pv_record_fail(record, EINVAL,
                       "the guest's CPU clears blocks of another size (DCZID_EL0 is %#x) than "
                       "engine %s (%#x)",
                       (unsigned)there[DCZID], vcpu->engine->ops->name, (unsigned)here[DCZID]);
}

bool pv_vcpu_knows_pauth(const struct pv_vcpu *vcpu)
{
    const uint64_t *told = vcpu->identity.value;

    return !vcpu->identity.given || told[ISAR1] & UINT64_C(0xff000ff0) || told[ISAR2] & 0xff00;
}

void pv_vcpu_record_identity(struct pv_vcpu *vcpu, struct pv_record *record)
{
    const size_t count = pv_record_version(record) >= 2 ? PV_IDENTITY_REGISTERS : CTR;
    uint64_t here[PV_IDENTITY_REGISTERS] = {0}, told[PV_IDENTITY_REGISTERS] = {0};

    for (size_t i = 0; i < PV_IDENTITY_REGISTERS; i++) {
        pv_vcpu_get_sysreg(vcpu, registers[i].sysreg, &here[i]); /* 0: it is not there */
        if (!pv_record_loading(record))
            told[i] = vcpu->identity.given ? vcpu->identity.value[i] : here[i];
    }
    for (size_t i = 0; i < count; i++)
        pv_record_u64(record, &told[i]);
    if (!pv_record_loading(record) || !pv_record_ok(record))
        return;
    check(vcpu, record, here, told);
    for (size_t i = 0; i < PV_IDENTITY_REGISTERS; i++)
        vcpu->identity.value[i] = i < count ? told[i] : here[i];
    vcpu->identity.given = pv_record_ok(record);
}
