/* SPDX-License-Identifier: MIT */
/* Address translation, memory access and exceptions of the interpreter, without guest code. */
#include "base/error.h"
#include "base/log.h"
#include "engine/interp/exception.h"
#include "engine/interp/interp.h"
#include "engine/interp/mem.h"
#include "engine/interp/sysreg.h"
#include "engine/interp/system.h"
#include "memory/address_space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define RAM    UINT64_C(0x40000000)
#define SIZE   (8 * PV_MIB)
#define TABLES (RAM + 4 * PV_MIB)
#define MMIO   UINT64_C(0x09000000)
#define HOLE   UINT64_C(0x20000000)

/* Descriptor bits. */
#define AF     (UINT64_C(1) << 10)
#define NG     (UINT64_C(1) << 11)
#define USER   (UINT64_C(1) << 6)
#define RO     (UINT64_C(1) << 7)
#define UXN    (UINT64_C(1) << 54)
#define PXN    (UINT64_C(1) << 53)
#define DBM    (UINT64_C(1) << 51)
#define DEVICE (UINT64_C(1) << 2) /* AttrIndx 1 */
#define PAGE   (AF | 3)
#define BLOCK  (AF | 1)

struct fixture {
    struct pv_address_space *as;
    struct pv_engine *engine;
    struct cpu *c;
    unsigned granule;
    uint64_t next_table;
    uint64_t root;
    uint64_t mmio_value;
};

static uint64_t mmio_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0x55;
}

static void mmio_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    ((struct fixture *)opaque)->mmio_value = value;
}

static const struct pv_mmio_ops mmio_ops = {mmio_read, mmio_write};
static const struct pv_engine_client no_client = {0};

static void poke(struct fixture *f, uint32_t reg, uint64_t value)
{
    assert_int_equal(sysreg_poke(f->c, reg, value), 0);
}

#define SCTLR PV_SYSREG(3, 0, 1, 0, 0)
#define TTBR0 PV_SYSREG(3, 0, 2, 0, 0)
#define TTBR1 PV_SYSREG(3, 0, 2, 0, 1)
#define TCR   PV_SYSREG(3, 0, 2, 0, 2)
#define MAIR  PV_SYSREG(3, 0, 10, 2, 0)
#define VBAR  PV_SYSREG(3, 0, 12, 0, 0)

/* 48-bit addresses, 16-bit ASIDs, 44-bit output; TG0 and TG1 for the granule. */
static uint64_t tcr_for(unsigned granule)
{
    uint64_t tg0 = granule == 12 ? 0 : granule == 14 ? 2 : 1;
    uint64_t tg1 = granule == 12 ? 2 : granule == 14 ? 1 : 3;
    return UINT64_C(1) << 36 | UINT64_C(4) << 32 | tg1 << 30 | 16u << 16 | tg0 << 14 | 16;
}

static void setup(struct fixture *f, unsigned granule)
{
    static const uint64_t mpidr[1];
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    memset(f, 0, sizeof(*f));
    assert_int_equal(pv_as_create(&f->as, &err), 0);
    assert_int_equal(pv_as_add_ram(f->as, RAM, SIZE, "ram", &err), 0);
    assert_int_equal(pv_as_add_mmio(f->as, MMIO, 0x1000, &mmio_ops, f, "device", &err), 0);
    const struct pv_engine_config config = {
        .as = f->as, .vcpus = 1, .client = &no_client, .mpidr = mpidr};
    assert_int_equal(pv_engine_create(&f->engine, &pv_engine_interp, &config, &err), 0);
    assert_int_equal(pv_engine_start(f->engine, &err), 0);
    f->c = pv_engine_vcpu(f->engine, 0)->impl;
    pv_engine_interp.vcpu_reset(f->c->vcpu, RAM, 0);
    f->granule = granule;
    f->root = TABLES;
    f->next_table = TABLES + (UINT64_C(1) << granule);
    poke(f, MAIR, 0x00ff); /* 0: Normal, 1: Device-nGnRnE */
    poke(f, TCR, tcr_for(granule));
    poke(f, TTBR0, f->root);
    poke(f, TTBR1, f->root);
    poke(f, VBAR, RAM + 0x1000);
    poke(f, SCTLR, SCTLR_M | SCTLR_SPAN);
}

static void teardown(struct fixture *f)
{
    pv_engine_destroy(f->engine);
    pv_as_destroy(f->as);
}

static uint64_t *desc_at(struct fixture *f, uint64_t pa)
{
    uint64_t *host = pv_as_host(f->as, pa, 8, true);
    assert_non_null(host);
    return host;
}

/* The address of va's descriptor at `level`, making tables on the way. */
static uint64_t *walk_to(struct fixture *f, uint64_t va, unsigned level)
{
    const unsigned stride = f->granule - 3;
    uint64_t table = f->root;
    va &= UINT64_C(0x0000ffffffffffff);
    unsigned first = f->granule == 16 ? 1 : 0;
    for (unsigned l = first;; l++) {
        unsigned shift = f->granule + stride * (3 - l);
        uint64_t index = va >> shift & ((UINT64_C(1) << stride) - 1);
        uint64_t *desc = desc_at(f, table + 8 * index);
        if (l == level)
            return desc;
        if (!(*desc & 1)) {
            *desc = f->next_table | 3;
            f->next_table += UINT64_C(1) << f->granule;
        }
        table = *desc & UINT64_C(0x0000fffffffff000);
    }
}

static void map(struct fixture *f, uint64_t va, uint64_t pa, uint64_t bits)
{
    *walk_to(f, va, 3) = pa | bits | PAGE;
}

static int translate(struct fixture *f, uint64_t va, enum mmu_access access, enum tlb_bank bank)
{
    struct mmu_result t;
    return mmu_translate(f->c, va, access, bank, false, &t);
}

/* ESR of the exception an access raises, 0 when it raises none. */
static uint64_t esr_of(struct fixture *f, uint64_t va, unsigned size, bool write, unsigned how)
{
    f->c->sys->reg[SYSREG_ESR_EL1] = 0;
    if (!_setjmp(f->c->unwind)) {
        if (write)
            mem_write_slow(f->c, va, size, 0x1122334455667788, how);
        else
            mem_read_slow(f->c, va, size, how);
    }
    return f->c->sys->reg[SYSREG_ESR_EL1];
}

#define FAR(f)      ((f)->c->sys->reg[SYSREG_FAR_EL1])
#define DABORT(fsc) (UINT64_C(0x25) << 26 | 1u << 25 | (fsc))
#define WNR         (1u << 6)

static void test_fault_levels(void **unused)
{
    static const unsigned granules[] = {12, 14, 16};
    for (unsigned g = 0; g < 3; g++) {
        struct fixture f;
        setup(&f, granules[g]);
        const uint64_t va = UINT64_C(0x123400000000);
        unsigned first = granules[g] == 16 ? 1 : 0;
        for (unsigned level = first; level < 4; level++) {
            *walk_to(&f, va, level) = 0;
            assert_int_equal(esr_of(&f, va, 8, false, 0), DABORT(4 + level));
            assert_int_equal(FAR(&f), va);
        }
        map(&f, va, RAM, 0);
        assert_int_equal(esr_of(&f, va, 8, true, 0), 0);
        assert_int_equal(mem_read64(f.c, va), 0x1122334455667788);
        map(&f, va + (UINT64_C(1) << granules[g]), RAM, RO);
        assert_int_equal(esr_of(&f, va + (UINT64_C(1) << granules[g]), 4, true, 0),
                         DABORT(0xf | WNR));
        *walk_to(&f, va + (UINT64_C(2) << granules[g]), 3) = RAM | 3;
        assert_int_equal(esr_of(&f, va + (UINT64_C(2) << granules[g]), 4, false, 0), DABORT(0xb));
        map(&f, va + (UINT64_C(3) << granules[g]), UINT64_C(1) << 45, 0);
        assert_int_equal(esr_of(&f, va + (UINT64_C(3) << granules[g]), 4, false, 0), DABORT(3));
        /* Outside both halves. */
        assert_int_equal(esr_of(&f, UINT64_C(1) << 50, 4, false, 0), DABORT(4));
        teardown(&f);
    }
}

static void test_blocks(void **unused)
{
    static const struct {
        unsigned granule, level, allowed;
    } rows[] = {{12, 0, 0}, {12, 1, 1}, {12, 2, 1}, {14, 1, 0}, {14, 2, 1}, {16, 1, 0}, {16, 2, 1}};
    for (unsigned i = 0; i < PV_ARRAY_SIZE(rows); i++) {
        struct fixture f;
        struct mmu_result t;
        setup(&f, rows[i].granule);
        unsigned shift = rows[i].granule + (rows[i].granule - 3) * (3 - rows[i].level);
        uint64_t pa = UINT64_C(1) << 40;
        const uint64_t offset = 0x123456 & ((UINT64_C(1) << shift) - 1);
        *walk_to(&f, pa, rows[i].level) = pa | BLOCK;
        int fault = mmu_translate(f.c, pa + offset, MMU_READ, TLB_EL1, false, &t);
        assert_int_equal(fault, rows[i].allowed ? MMU_OK : (int)(4 + rows[i].level));
        if (rows[i].allowed)
            assert_int_equal(t.pa, pa + offset);
        teardown(&f);
    }
}

static void test_permissions(void **unused)
{
    /* r, w, x for EL0, then EL1, then EL1 with PAN (r and w). */
    static const struct {
        uint64_t bits;
        const char *rights;
    } rows[] = {
        {0, "--x"
            "rwx"
            "rw"},
        {USER, "rwx"
               "rw-"
               "--"}, /* what EL0 can write, EL1 does not execute */
        {RO, "--x"
             "r-x"
             "r-"},
        {USER | RO, "r-x"
                    "r-x"
                    "--"},
        {USER | RO | UXN, "r--"
                          "r-x"
                          "--"},
        {USER | RO | PXN, "r-x"
                          "r--"
                          "--"},
        {UXN | PXN, "---"
                    "rw-"
                    "rw"},
    };
    for (unsigned i = 0; i < PV_ARRAY_SIZE(rows); i++) {
        struct fixture f;
        setup(&f, 12);
        map(&f, 0x1000, RAM, rows[i].bits);
        for (unsigned k = 0; k < 8; k++) {
            bool may = rows[i].rights[k] != '-';
            int fault = translate(&f, 0x1000, (enum mmu_access)(k % 3), (enum tlb_bank)(k / 3));
            assert_int_equal(fault, may ? MMU_OK : 0xf);
        }
        teardown(&f);
    }
}

static void test_table_attributes(void **unused)
{
    struct fixture f;
    setup(&f, 12);
    map(&f, 0x1000, RAM, USER);
    *walk_to(&f, 0x1000, 2) |= UINT64_C(1) << 62; /* APTable: read-only */
    assert_int_equal(translate(&f, 0x1000, MMU_WRITE, TLB_EL1), 0xf);
    assert_int_equal(translate(&f, 0x1000, MMU_READ, TLB_EL0), MMU_OK);
    *walk_to(&f, 0x1000, 1) |= UINT64_C(1) << 61; /* APTable: no EL0 */
    mmu_flush(f.c, &(struct tlb_request){.kind = TLB_FLUSH_ALL});
    assert_int_equal(translate(&f, 0x1000, MMU_READ, TLB_EL0), 0xf);
    poke(&f, TCR, tcr_for(12) | UINT64_C(1) << 41); /* HPD0 */
    assert_int_equal(translate(&f, 0x1000, MMU_WRITE, TLB_EL0), MMU_OK);
    teardown(&f);
}

static void test_hardware_flags(void **unused)
{
    struct fixture f;
    setup(&f, 12);
    poke(&f, TCR, tcr_for(12) | UINT64_C(3) << 39); /* HA, HD */
    uint64_t *desc = walk_to(&f, 0x1000, 3);
    *desc = RAM | RO | DBM | 3;
    assert_int_equal(translate(&f, 0x1000, MMU_READ, TLB_EL1), MMU_OK);
    assert_int_equal(*desc, RAM | RO | DBM | AF | 3);
    assert_int_equal(translate(&f, 0x1000, MMU_WRITE, TLB_EL0), 0xf); /* not EL0's: stays clean */
    assert_int_equal(*desc, RAM | RO | DBM | AF | 3);
    assert_int_equal(translate(&f, 0x1000, MMU_WRITE, TLB_EL1), MMU_OK);
    assert_int_equal(*desc, RAM | DBM | AF | 3);
    teardown(&f);
}

static void test_tlbi(void **unused)
{
    struct fixture f;
    setup(&f, 12);
    f.c->daif = 0x3c0;
    map(&f, 0x1000, RAM, NG);
    *desc_at(&f, RAM) = 1;
    *desc_at(&f, RAM + 0x1000) = 2;
    assert_int_equal(mem_read64(f.c, 0x1000), 1);
    map(&f, 0x1000, RAM + 0x1000, NG);
    assert_int_equal(mem_read64(f.c, 0x1000), 1); /* still cached: nothing was invalidated */
    f.c->x[1] = 1;
    system_instruction(f.c, PV_SYSREG(1, 0, 8, 7, 1), 1); /* VAE1 of page 1, ASID 0 */
    assert_int_equal(mem_read64(f.c, 0x1000), 2);
    /* One page of a 2 MiB block takes the whole block along. */
    const uint64_t big = 0x40200000;
    *walk_to(&f, big, 2) = RAM | BLOCK;
    assert_int_equal(mem_read64(f.c, big), 1);
    assert_int_equal(mem_read64(f.c, big + 0x1000), 2);
    *walk_to(&f, big, 2) = 0;
    f.c->x[1] = (big + 0x1000) >> 12;
    system_instruction(f.c, PV_SYSREG(1, 0, 8, 3, 5), 1);
    assert_int_equal(esr_of(&f, big, 8, false, 0), DABORT(6));
    teardown(&f);
}

static void test_asids(void **unused)
{
    struct fixture f;
    setup(&f, 12);
    map(&f, 0x1000, RAM, NG);
    map(&f, 0x2000, RAM, 0);
    *desc_at(&f, RAM) = 1;
    *desc_at(&f, RAM + 0x1000) = 2;
    poke(&f, TTBR0, f.root | UINT64_C(1) << 48);
    assert_int_equal(mem_read64(f.c, 0x1000), 1);
    map(&f, 0x1000, RAM + 0x1000, NG);
    poke(&f, TTBR0, f.root | UINT64_C(2) << 48);
    assert_int_equal(mem_read64(f.c, 0x1000), 2);
    poke(&f, TTBR0, f.root | UINT64_C(1) << 48);
    assert_int_equal(mem_read64(f.c, 0x1000), 1); /* kept by the second level */
    f.c->x[1] = UINT64_C(1) << 48;
    system_instruction(f.c, PV_SYSREG(1, 0, 8, 7, 2), 1); /* ASIDE1 */
    assert_int_equal(mem_read64(f.c, 0x1000), 2);
    teardown(&f);
}

static void test_crossing(void **unused)
{
    struct fixture f;
    setup(&f, 12);
    map(&f, 0x1000, RAM + 0x5000, 0);
    map(&f, 0x2000, RAM + 0x3000, 0);
    assert_int_equal(esr_of(&f, 0x1ffd, 8, true, 0), 0);
    assert_int_equal(mem_read64(f.c, 0x1ffd), 0x1122334455667788);
    assert_int_equal(mem_read8(f.c, 0x2000), 0x55);
    /* A fault on the second page leaves the first alone, and FAR names the byte that faulted. */
    map(&f, 0x2000, RAM + 0x3000, RO);
    mmu_flush(f.c, &(struct tlb_request){.kind = TLB_FLUSH_ALL});
    mem_write8(f.c, 0x1fff, 0xaa);
    assert_int_equal(esr_of(&f, 0x1fff, 8, true, 0), DABORT(0xf | WNR));
    assert_int_equal(FAR(&f), 0x2000);
    assert_int_equal(mem_read8(f.c, 0x1fff), 0xaa);
    teardown(&f);
}

static void test_devices(void **unused)
{
    struct fixture f;
    setup(&f, 12);
    map(&f, 0x1000, MMIO, DEVICE);
    map(&f, 0x2000, RAM, DEVICE);
    map(&f, 0x3000, HOLE, DEVICE);
    assert_int_equal(mem_read32(f.c, 0x1004), 0x55);
    mem_write16(f.c, 0x1002, 0x77);
    assert_int_equal(f.mmio_value, 0x77);
    assert_int_equal(esr_of(&f, 0x1001, 2, false, 0), DABORT(0x21));
    assert_int_equal(esr_of(&f, 0x2004, 8, true, 0), DABORT(0x21 | WNR));
    assert_int_equal(esr_of(&f, 0x3000, 4, true, 0), DABORT(0x10 | WNR));
    assert_null(mem_atomic(f.c, 0x1000, 4));
    assert_non_null(mem_atomic(f.c, 0x2000, 4));
    map(&f, 0x4000, RAM, 0);
    assert_int_equal(esr_of(&f, 0x4001, 4, false, MEM_ALIGNED), DABORT(0x21));
    assert_int_equal(esr_of(&f, 0x4001, 4, false, 0), 0);
    teardown(&f);
}

static void test_unprivileged(void **unused)
{
    struct fixture f;
    setup(&f, 12);
    map(&f, 0x1000, RAM, 0);
    map(&f, 0x2000, RAM, USER);
    assert_int_equal(esr_of(&f, 0x1000, 4, false, MEM_UNPRIV), DABORT(0xf));
    f.c->pan = 1;
    mmu_context(f.c);
    assert_int_equal(esr_of(&f, 0x2000, 4, false, MEM_UNPRIV), 0);
    assert_int_equal(esr_of(&f, 0x2000, 4, false, 0), DABORT(0xf));
    poke(&f, TCR, tcr_for(12) | UINT64_C(1) << 55); /* E0PD0 */
    assert_int_equal(esr_of(&f, 0x2000, 4, false, MEM_UNPRIV), DABORT(4));
    teardown(&f);
}

static void test_exception_round_trip(void **unused)
{
    struct fixture f;
    setup(&f, 12);
    struct cpu *c = f.c;
    exception_set_pstate(c, 0x60000000); /* EL0, Z and C, nothing masked */
    c->sp = 0x1230;
    c->pc = 0x8000;
    exception_enter(c, EXCEPTION_IRQ);
    assert_int_equal(c->pc, RAM + 0x1000 + 0x480);
    assert_int_equal(c->el, 1);
    assert_int_equal(c->daif, 0x3c0);
    assert_int_equal(c->sp_el[0], 0x1230);
    assert_int_equal(c->sys->reg[SYSREG_SPSR_EL1], 0x60000000);
    exception_return(c);
    assert_int_equal(c->pc, 0x8000);
    assert_int_equal(c->el, 0);
    assert_int_equal(c->sp, 0x1230);
    /* Back to EL2 is illegal: PSTATE.IL, and no change of level. */
    exception_enter(c, EXCEPTION_SYNC);
    assert_int_equal(c->pc, RAM + 0x1000 + 0x400);
    c->sys->reg[SYSREG_SPSR_EL1] = 0x9;
    exception_return(c);
    assert_int_equal(c->el, 1);
    assert_int_equal(c->il, 1);
    assert_true(c->vcpu->attention & INTERP_ATTENTION_STEP);
    teardown(&f);
}

static void test_watchpoint(void **unused)
{
    struct fixture f;
    setup(&f, 12);
    struct cpu *c = f.c;
    map(&f, 0x1000, RAM, 0);
    mem_write64(c, 0x1000, 1);
    poke(&f, PV_SYSREG(2, 0, 1, 0, 4), 0); /* OSLAR */
    poke(&f, PV_SYSREG(2, 0, 0, 2, 2), MDSCR_MDE | MDSCR_KDE);
    poke(&f, PV_SYSREG(2, 0, 0, 0, 6), 0x1008);
    poke(&f, PV_SYSREG(2, 0, 0, 0, 7), 0xfu << 5 | 2u << 3 | 1u << 1 | 1); /* EL1 stores, 4 bytes */
    c->daif = 0;
    assert_int_equal(esr_of(&f, 0x1000, 8, true, 0), 0);
    assert_int_equal(esr_of(&f, 0x1008, 4, false, 0), 0);
    c->daif = 0;
    assert_int_equal(esr_of(&f, 0x1004, 8, true, 0), UINT64_C(0x35) << 26 | 1u << 25 | WNR | 0x22);
    assert_int_equal(FAR(&f), 0x1008);
    teardown(&f);
}

static void test_address_translation(void **unused)
{
    struct fixture f;
    setup(&f, 12);
    map(&f, 0x1000, RAM + 0x2000, RO);
    f.c->x[2] = 0x1234;
    system_instruction(f.c, PV_SYSREG(1, 0, 7, 8, 0), 2);
    assert_int_equal(f.c->sys->reg[SYSREG_PAR_EL1], UINT64_C(0xff) << 56 | (RAM + 0x2000) | 0xa00);
    system_instruction(f.c, PV_SYSREG(1, 0, 7, 8, 1), 2);
    assert_int_equal(f.c->sys->reg[SYSREG_PAR_EL1], 0x800 | 0xf << 1 | 1);
    teardown(&f);
}

static void count_line(void *opaque, enum pv_log_component component, enum pv_log_level level,
                       const char *line)
{
    *(unsigned *)opaque += strstr(line, "vCPU 0 is lost") != NULL;
}

/* As many exceptions from EL1, each at the vector that the one before went to. */
static void raise_many(struct fixture *f, unsigned count)
{
    for (volatile unsigned i = 0; i < count; i++)
        if (!_setjmp(f->c->unwind))
            cpu_undefined(f->c);
}

/* Who never returns from exceptions is told of once; who does, and EL0, never. */
static void test_lost(void **unused)
{
    struct fixture f;
    unsigned lines = 0;

    setup(&f, 12);
    pv_log_set_sink(count_line, &lines);
    raise_many(&f, 999);
    f.c->sys->reg[SYSREG_SPSR_EL1] = 5;
    exception_return(f.c);
    for (unsigned i = 0; i < 2000; i++) {
        f.c->sys->reg[SYSREG_SPSR_EL1] = 0;
        exception_return(f.c); /* to EL0 */
        raise_many(&f, 1);
    }
    raise_many(&f, 999);
    assert_int_equal(lines, 0);
    raise_many(&f, 1);
    assert_int_equal(lines, 1);
    raise_many(&f, 5000);
    exception_return(f.c);
    raise_many(&f, 5000);
    assert_int_equal(lines, 1);
    pv_engine_interp.vcpu_reset(f.c->vcpu, RAM, 0); /* a new life */
    raise_many(&f, 1000);
    assert_int_equal(lines, 2);
    pv_log_set_sink(NULL, NULL);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fault_levels),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_permissions),
        cmocka_unit_test(test_table_attributes),
        cmocka_unit_test(test_hardware_flags),
        cmocka_unit_test(test_tlbi),
        cmocka_unit_test(test_asids),
        cmocka_unit_test(test_crossing),
        cmocka_unit_test(test_devices),
        cmocka_unit_test(test_unprivileged),
        cmocka_unit_test(test_exception_round_trip),
        cmocka_unit_test(test_watchpoint),
        cmocka_unit_test(test_address_translation),
        cmocka_unit_test(test_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
