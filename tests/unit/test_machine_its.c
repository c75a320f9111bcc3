/* SPDX-License-Identifier: MIT */
/* The ITS and LPIs: commands in guest memory, messages, tables flat and of two levels. */
#include "base/util.h"
#include "engine/engine.h"
#include "machine/gicv3.h"
#include "machine/gicv3_its.h"
#include "machine/map.h"
#include "memory/address_space.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define PMR       PV_SYSREG(3, 0, 4, 6, 0)
#define ICC(c, o) PV_SYSREG(3, 0, 12, c, o)
#define RPR       ICC(11, 3)
#define DIR       ICC(11, 1)
#define IAR1      ICC(12, 0)
#define EOIR1     ICC(12, 1)
#define HPPIR1    ICC(12, 2)
#define ICC_CTLR  ICC(12, 4)
#define IGRPEN1   ICC(12, 7)

#define CPUS 2u

enum {
    GITS_CTLR = 0x0,
    GITS_TYPER = 0x8,
    GITS_CBASER = 0x80,
    GITS_CWRITER = 0x88,
    GITS_CREADR = 0x90,
    GITS_BASER = 0x100,
    GICR_PROPBASER = 0x70,
    GICR_PENDBASER = 0x78,
};

enum { MOVI = 1, INT = 3, CLEAR, SYNC, MAPD = 8, MAPC, MAPTI, MAPI, INV, INVALL, MOVALL, DISCARD };

/* Where the guest keeps its tables. */
#define RAM         PV_MAP_RAM
#define RAM_SIZE    (4 * PV_MIB)
#define QUEUE       RAM
#define DEVICES     (RAM + 0x10000)
#define COLLECTIONS (RAM + 0x20000)
#define CONFIGS     (RAM + 0x30000)
#define PENDING(n)  (RAM + 0x50000 + (n)*0x10000)
#define ITT         (RAM + 0x80000)
#define LEVEL2      (RAM + 0x90000)
#define VALID       (UINT64_C(1) << 63)
#define INDIRECT    (UINT64_C(1) << 62)
#define PTZ         (UINT64_C(1) << 62)

#define DEVICE 0x10u /* slot 2 */
#define LPI    8200u

struct board {
    struct pv_address_space *as;
    struct pv_gic *gic;
    struct pv_its *its;
    struct pv_msi_target msi;
    bool irq[CPUS];
    uint64_t writer;
};

static void set_line(void *opaque, unsigned vcpu, bool fiq, bool level)
{
    struct board *b = opaque;
    assert_false(fiq);
    b->irq[vcpu] = level;
}

static uint64_t get(struct board *b, unsigned vcpu, uint32_t reg)
{
    uint64_t value = 0;
    assert_true(pv_gic_sysreg_read(b->gic, vcpu, reg, &value));
    return value;
}

static void put(struct board *b, unsigned vcpu, uint32_t reg, uint64_t value)
{
    assert_true(pv_gic_sysreg_write(b->gic, vcpu, reg, value));
}

static uint64_t reg(struct board *b, uint64_t offset)
{
    return pv_its_read(b->its, offset, 8);
}

static void redist(struct board *b, unsigned vcpu, uint64_t offset, unsigned size, uint64_t value)
{
    pv_gic_redist_write(b->gic, vcpu * PV_MAP_GICR_STRIDE + offset, size, value);
}

static void configure(struct board *b, uint32_t intid, uint8_t config)
{
    assert_int_equal(pv_as_write(b->as, CONFIGS + intid - PV_INTID_LPI, &config, 1), 0);
}

/* One command; it has been executed when this returns. */
static void command(struct board *b, uint64_t w0, uint64_t w1, uint64_t w2, uint64_t w3)
{
    const uint64_t words[4] = {w0, w1, w2, w3};
    assert_int_equal(pv_as_write(b->as, QUEUE + b->writer, words, sizeof(words)), 0);
    b->writer = (b->writer + 32) % 0x1000;
    pv_its_write(b->its, GITS_CWRITER, 8, b->writer);
    assert_int_equal(reg(b, GITS_CREADR), b->writer);
}

static void of_device(struct board *b, unsigned op, uint32_t device, uint32_t event, uint32_t intid,
                      uint32_t icid)
{
    command(b, (uint64_t)device << 32 | op, (uint64_t)intid << 32 | event, icid, 0);
}

static void mapc(struct board *b, uint32_t icid, uint64_t vcpu)
{
    command(b, MAPC, 0, VALID | vcpu << 16 | icid, 0);
}

static void mapd(struct board *b, uint32_t device, unsigned bits)
{
    command(b, (uint64_t)device << 32 | MAPD, bits - 1, VALID | ITT, 0);
}

static void send(struct board *b, uint32_t device, uint32_t event)
{
    pv_msi_send(&b->msi, device, PV_MAP_ITS + PV_ITS_TRANSLATER, event);
}

static void finish(struct board *b)
{
    pv_its_destroy(b->its);
    pv_gic_destroy(b->gic);
    pv_as_destroy(b->as);
}

static void gic_up(struct board *b)
{
    static const uint64_t mpidr[CPUS] = {0, 1};

    memset(b, 0, sizeof(*b));
    assert_int_equal(pv_as_create(&b->as, NULL), 0);
    assert_int_equal(pv_as_add_ram(b->as, RAM, RAM_SIZE, "ram", NULL), 0);
    const struct pv_gic_config config = {.as = b->as,
                                         .vcpus = CPUS,
                                         .mpidr = mpidr,
                                         .lpis = true,
                                         .set_line = set_line,
                                         .opaque = b};
    assert_int_equal(pv_gic_create(&b->gic, &config, NULL), 0);
    assert_int_equal(pv_its_create(&b->its, b->as, b->gic, CPUS, NULL), 0);
    b->msi = pv_its_target(b->its);
    pv_gic_dist_write(b->gic, 0, 4, 2);
    for (unsigned i = 0; i < CPUS; i++) {
        redist(b, i, 0x14, 4, 0);
        put(b, i, PMR, 0xf0);
        put(b, i, IGRPEN1, 1);
    }
}

static void lpis_on(struct board *b, unsigned vcpu, uint64_t flags)
{
    redist(b, vcpu, GICR_PROPBASER, 8, CONFIGS | 15);
    redist(b, vcpu, GICR_PENDBASER, 8, PENDING(vcpu) | flags);
    redist(b, vcpu, 0, 4, 1);
}

/* As Linux leaves it, with a collection for each vCPU and one device of 8 events. */
static void board_up(struct board *b)
{
    gic_up(b);
    configure(b, LPI, 0xa1);
    configure(b, LPI + 1, 0xa1);
    for (unsigned i = 0; i < CPUS; i++)
        lpis_on(b, i, PTZ);
    pv_its_write(b->its, GITS_BASER, 8, VALID | DEVICES | 7);
    pv_its_write(b->its, GITS_BASER + 8, 8, VALID | COLLECTIONS);
    pv_its_write(b->its, GITS_CBASER, 8, VALID | QUEUE);
    pv_its_write(b->its, GITS_CTLR, 4, 1);
    mapc(b, 0, 0);
    mapc(b, 1, 1);
    mapd(b, DEVICE, 3);
    of_device(b, MAPTI, DEVICE, 0, LPI, 0);
    of_device(b, MAPTI, DEVICE, 1, LPI + 1, 0);
}

static void test_identity(void **state)
{
    struct board b;
    (void)state;
    gic_up(&b);
    assert_int_equal(pv_gic_dist_read(b.gic, 4, 4) & 0xfa0000, 15u << 19 | 1u << 17);
    assert_int_equal(pv_gic_redist_read(b.gic, 8, 4) & 1, 1);
    assert_int_equal(reg(&b, GITS_TYPER), UINT64_C(0x1f0001ef71));
    assert_int_equal(pv_its_read(b.its, 0xffe8, 4), 0x3b);
    assert_int_equal(pv_its_read(b.its, GITS_CTLR, 4), 0x80000000);
    /* Types and entry sizes of the tables are ours to say. */
    pv_its_write(b.its, GITS_BASER, 8, UINT64_MAX);
    assert_int_equal(reg(&b, GITS_BASER) >> 48 & 0x71f, 0x107);
    assert_int_equal(reg(&b, GITS_BASER + 8) >> 48 & 0x71f, 0x407);
    assert_int_equal(reg(&b, GITS_BASER + 16), 0);
    /* Halves, too. */
    pv_its_write(b.its, GITS_CBASER, 8, VALID | QUEUE);
    pv_its_write(b.its, GITS_CBASER + 4, 4, 0x80000001);
    assert_int_equal(reg(&b, GITS_CBASER), VALID | UINT64_C(0x100000000) | (QUEUE & UINT32_MAX));
    finish(&b);
}

static void test_delivery(void **state)
{
    struct board b;
    (void)state;
    board_up(&b);
    send(&b, DEVICE, 0);
    assert_true(b.irq[0]);
    assert_int_equal(get(&b, 0, HPPIR1), LPI);
    assert_int_equal(get(&b, 0, IAR1), LPI);
    assert_false(b.irq[0]);
    assert_int_equal(get(&b, 0, RPR), 0xa0);
    /* It has no active state: pending again before the end, it only waits for the priority. */
    send(&b, DEVICE, 0);
    assert_false(b.irq[0]);
    put(&b, 0, EOIR1, LPI);
    assert_true(b.irq[0]);
    assert_int_equal(get(&b, 0, IAR1), LPI);
    put(&b, 0, EOIR1, LPI);
    assert_int_equal(get(&b, 0, IAR1), PV_GIC_SPURIOUS);
    /* With EOImode 1, DIR has nothing to do. */
    put(&b, 0, ICC_CTLR, 2);
    send(&b, DEVICE, 1);
    assert_int_equal(get(&b, 0, IAR1), LPI + 1);
    put(&b, 0, EOIR1, LPI + 1);
    put(&b, 0, DIR, LPI + 1);
    send(&b, DEVICE, 1);
    assert_int_equal(get(&b, 0, IAR1), LPI + 1);
    /* Messages elsewhere, of other devices and of other events are nobody's. */
    put(&b, 0, EOIR1, LPI + 1);
    pv_msi_send(&b.msi, DEVICE, PV_MAP_ITS, 0);
    send(&b, DEVICE + 8, 0);
    send(&b, DEVICE, 2);
    send(&b, DEVICE, 8);
    assert_int_equal(get(&b, 0, IAR1), PV_GIC_SPURIOUS);
    finish(&b);
}

static void test_priority(void **state)
{
    struct board b;
    (void)state;
    board_up(&b);
    configure(&b, LPI + 1, 0x41);
    of_device(&b, INV, DEVICE, 1, 0, 0);
    send(&b, DEVICE, 0);
    send(&b, DEVICE, 1);
    assert_int_equal(get(&b, 0, IAR1), LPI + 1);
    assert_false(b.irq[0]);
    put(&b, 0, EOIR1, LPI + 1);
    assert_int_equal(get(&b, 0, IAR1), LPI);
    put(&b, 0, EOIR1, LPI);
    /* Disabling takes effect when the ITS is told, and what is pending stays so. */
    send(&b, DEVICE, 0);
    configure(&b, LPI, 0xa0);
    assert_true(b.irq[0]);
    of_device(&b, INV, DEVICE, 0, 0, 0);
    assert_false(b.irq[0]);
    configure(&b, LPI, 0xa1);
    command(&b, INVALL, 0, 0, 0);
    assert_int_equal(get(&b, 0, IAR1), LPI);
    /* An SGI of a better priority goes first. */
    put(&b, 0, EOIR1, LPI);
    redist(&b, 0, 0x10080, 4, UINT32_MAX);
    redist(&b, 0, 0x10100, 4, UINT32_MAX);
    send(&b, DEVICE, 0);
    redist(&b, 0, 0x10200, 4, 1u << 5);
    assert_int_equal(get(&b, 0, IAR1), 5);
    finish(&b);
}

static void test_commands(void **state)
{
    struct board b;
    (void)state;
    board_up(&b);
    of_device(&b, INT, DEVICE, 0, 0, 0);
    assert_true(b.irq[0]);
    of_device(&b, CLEAR, DEVICE, 0, 0, 0);
    assert_false(b.irq[0]);
    /* MOVI takes what is pending along. */
    send(&b, DEVICE, 0);
    of_device(&b, MOVI, DEVICE, 0, 0, 1);
    assert_false(b.irq[0]);
    assert_int_equal(get(&b, 1, IAR1), LPI);
    put(&b, 1, EOIR1, LPI);
    send(&b, DEVICE, 0);
    assert_int_equal(get(&b, 1, IAR1), LPI);
    put(&b, 1, EOIR1, LPI);
    /* MOVALL takes everything, and only what is pending. */
    send(&b, DEVICE, 0);
    command(&b, MOVALL, 0, 0, 1u << 16);
    assert_true(b.irq[1]);
    command(&b, MOVALL, 0, 1u << 16, 0u << 16);
    assert_true(b.irq[0]);
    assert_false(b.irq[1]);
    assert_int_equal(get(&b, 0, IAR1), LPI);
    put(&b, 0, EOIR1, LPI);
    /* DISCARD forgets the mapping and what is pending. */
    send(&b, DEVICE, 1);
    of_device(&b, DISCARD, DEVICE, 1, 0, 0);
    assert_false(b.irq[0]);
    send(&b, DEVICE, 1);
    assert_false(b.irq[0]);
    /* MAPI: the EventID is the INTID. */
    mapd(&b, DEVICE, 16);
    configure(&b, 9000, 0xa1);
    of_device(&b, MAPI, DEVICE, 9000, 0, 0);
    send(&b, DEVICE, 9000);
    assert_int_equal(get(&b, 0, IAR1), 9000);
    put(&b, 0, EOIR1, 9000);
    command(&b, SYNC, 0, 0, 0);
    /* Unmapped again. */
    command(&b, (uint64_t)DEVICE << 32 | MAPD, 0, 0, 0);
    send(&b, DEVICE, 9000);
    assert_false(b.irq[0]);
    finish(&b);
}

/* Each is ignored, and the queue goes on. */
static void test_bad_commands(void **state)
{
    struct board b;
    (void)state;
    board_up(&b);
    command(&b, 0xff, 0, 0, 0);
    mapc(&b, 0, CPUS);
    command(&b, MAPC, 0, VALID | 600, 0); /* beyond the table of 512 */
    command(&b, SYNC, 0, UINT64_C(99) << 16, 0);
    command(&b, MOVALL, 0, 0, UINT64_C(99) << 16);
    command(&b, (uint64_t)DEVICE << 32 | MAPD, 31, VALID | ITT, 0);
    command(&b, UINT64_C(0x10000) << 32 | MAPD, 2, VALID | ITT, 0);
    of_device(&b, MAPTI, DEVICE, 8, LPI, 0);
    of_device(&b, MAPTI, DEVICE, 0, 40, 0);
    of_device(&b, MAPTI, DEVICE, 0, 0x10000, 0);
    of_device(&b, MOVI, DEVICE, 0, 0, 77);
    of_device(&b, INT, DEVICE + 1, 0, 0, 0);
    send(&b, DEVICE, 0);
    assert_int_equal(get(&b, 0, IAR1), LPI);
    put(&b, 0, EOIR1, LPI);
    /* An ITT outside memory, and a collection table that says nonsense. */
    command(&b, UINT64_C(0x20) << 32 | MAPD, 2, VALID | UINT64_C(0xfff0000000000), 0);
    of_device(&b, MAPTI, 0x20, 0, LPI, 0);
    send(&b, 0x20, 0);
    const uint64_t nonsense = VALID | 0xffff;
    assert_int_equal(pv_as_write(b.as, COLLECTIONS, &nonsense, 8), 0);
    send(&b, DEVICE, 0);
    assert_false(b.irq[0]);
    finish(&b);
}

static void test_stall(void **state)
{
    struct board b;
    (void)state;
    board_up(&b);
    pv_its_write(b.its, GITS_CTLR, 4, 0);
    pv_its_write(b.its, GITS_CBASER, 8, VALID | 0x1000);
    assert_int_equal(reg(&b, GITS_CREADR), 0);
    pv_its_write(b.its, GITS_CWRITER, 8, 64);
    pv_its_write(b.its, GITS_CTLR, 4, 1);
    assert_int_equal(reg(&b, GITS_CREADR), 1); /* stalled at the first */
    pv_its_write(b.its, GITS_CBASER, 8, VALID | QUEUE);
    assert_int_equal(reg(&b, GITS_CBASER), VALID | 0x1000); /* fixed while enabled */
    pv_its_write(b.its, GITS_CTLR, 4, 0);
    pv_its_write(b.its, GITS_CBASER, 8, VALID | QUEUE);
    pv_its_write(b.its, GITS_CTLR, 4, 1);
    assert_int_equal(reg(&b, GITS_CREADR), 64);
    /* Beyond the queue nothing is executed. */
    pv_its_write(b.its, GITS_CWRITER, 8, 0x2000);
    assert_int_equal(reg(&b, GITS_CREADR), 64);
    finish(&b);
}

static void test_two_levels(void **state)
{
    const uint64_t level2 = VALID | LEVEL2;
    struct board b;
    (void)state;
    board_up(&b);
    pv_its_write(b.its, GITS_CTLR, 4, 0);
    pv_its_write(b.its, GITS_BASER, 8, VALID | INDIRECT | DEVICES);
    assert_int_equal(pv_as_fill(b.as, DEVICES, 0, 0x1000), 0);
    /* 4 KiB of entries of 8 bytes: DeviceIDs 0x600 to 0x7ff are page 3. */
    assert_int_equal(pv_as_write(b.as, DEVICES + 3 * 8, &level2, 8), 0);
    pv_its_write(b.its, GITS_CTLR, 4, 1);
    mapd(&b, 0x610, 3);
    of_device(&b, MAPTI, 0x610, 3, LPI, 1);
    mapd(&b, 0x810, 3); /* no page there */
    send(&b, 0x610, 3);
    assert_int_equal(get(&b, 1, IAR1), LPI);
    uint64_t entry;
    assert_int_equal(pv_as_read(b.as, LEVEL2 + 0x10 * 8, &entry, 8), 0);
    assert_int_equal(entry, VALID | ITT | 2);
    finish(&b);
}

static void test_tables(void **state)
{
    const uint64_t bit = UINT64_C(1) << (LPI % 64);
    uint64_t word;
    struct board b;
    (void)state;
    board_up(&b);
    /* What is pending when LPIs go off is in the pending table, and comes back from it. */
    send(&b, DEVICE, 0);
    redist(&b, 0, 0, 4, 0);
    assert_false(b.irq[0]);
    assert_int_equal(pv_as_read(b.as, PENDING(0) + LPI / 64 * 8, &word, 8), 0);
    assert_int_equal(word, bit);
    send(&b, DEVICE, 1); /* dropped */
    lpis_on(&b, 0, 0);
    assert_int_equal(get(&b, 0, IAR1), LPI);
    put(&b, 0, EOIR1, LPI);
    assert_int_equal(get(&b, 0, IAR1), PV_GIC_SPURIOUS);
    /* Bases do not move while they are used. */
    redist(&b, 0, GICR_PROPBASER, 8, 0);
    assert_int_equal(pv_gic_redist_read(b.gic, GICR_PROPBASER, 8), CONFIGS | 15);
    /* 13 ID bits leave no LPIs. */
    redist(&b, 0, 0, 4, 0);
    redist(&b, 0, GICR_PROPBASER, 8, CONFIGS | 12);
    redist(&b, 0, 0, 4, 1);
    send(&b, DEVICE, 0);
    assert_false(b.irq[0]);
    /* Tables that are not memory: nothing is enabled, and nothing breaks. */
    redist(&b, 0, 0, 4, 0);
    redist(&b, 0, GICR_PROPBASER, 8, UINT64_C(0xfff0000000000) | 15);
    redist(&b, 0, GICR_PENDBASER, 8, UINT64_C(0xfff0000000000));
    redist(&b, 0, 0, 4, 1);
    send(&b, DEVICE, 0);
    assert_false(b.irq[0]);
    redist(&b, 0, 0, 4, 0);
    finish(&b);
}

static void test_reset(void **state)
{
    struct board b;
    (void)state;
    board_up(&b);
    send(&b, DEVICE, 0);
    pv_its_reset(b.its);
    pv_gic_reset(b.gic);
    assert_false(b.irq[0]);
    assert_int_equal(pv_gic_redist_read(b.gic, 0, 4), 2); /* CES; LPIs are off */
    assert_int_equal(pv_its_read(b.its, GITS_CTLR, 4), 0x80000000);
    assert_int_equal(reg(&b, GITS_CBASER), 0);
    finish(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_identity),     cmocka_unit_test(test_delivery),
        cmocka_unit_test(test_priority),     cmocka_unit_test(test_commands),
        cmocka_unit_test(test_bad_commands), cmocka_unit_test(test_stall),
        cmocka_unit_test(test_two_levels),   cmocka_unit_test(test_tables),
        cmocka_unit_test(test_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
