/* SPDX-License-Identifier: MIT */
/* The board's parts one by one: GIC, timer, PSCI, PrimeCells, loader, device tree. */
#include "base/error.h"
#include "base/util.h"
#include "engine/engine.h"
#include "host/clock.h"
#include "host/loop.h"
#include "machine/fdt.h"
#include "machine/gicv2m.h"
#include "machine/gicv3.h"
#include "machine/loader.h"
#include "machine/map.h"
#include "machine/pl.h"
#include "machine/psci.h"
#include "machine/timer.h"
#include "memory/address_space.h"

#include <errno.h>
#include <libfdt.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <zlib.h>

#include <cmocka.h>

#define ICC(crm, op2) PV_SYSREG(3, 0, 12, crm, op2)
#define PMR           PV_SYSREG(3, 0, 4, 6, 0)
#define IAR0          ICC(8, 0)
#define EOIR0         ICC(8, 1)
#define DIR           ICC(11, 1)
#define RPR           ICC(11, 3)
#define SGI1R         ICC(11, 5)
#define IAR1          ICC(12, 0)
#define EOIR1         ICC(12, 1)
#define HPPIR1        ICC(12, 2)
#define BPR1          ICC(12, 3)
#define ICC_CTLR      ICC(12, 4)
#define IGRPEN0       ICC(12, 6)
#define IGRPEN1       ICC(12, 7)

/* ---- GIC ---- */

#define CPUS 3u

struct board {
    struct pv_gic *gic;
    bool irq[CPUS], fiq[CPUS], wake[CPUS];
};

static void set_line(void *opaque, unsigned vcpu, bool fiq, bool level)
{
    struct board *b = opaque;
    (fiq ? b->fiq : b->irq)[vcpu] = level;
}

static void set_wake(void *opaque, unsigned vcpu, bool level)
{
    ((struct board *)opaque)->wake[vcpu] = level;
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

static void dist(struct board *b, uint64_t offset, uint32_t value)
{
    pv_gic_dist_write(b->gic, offset, 4, value);
}

static void redist(struct board *b, unsigned vcpu, uint64_t offset, uint32_t value)
{
    pv_gic_redist_write(b->gic, vcpu * PV_MAP_GICR_STRIDE + offset, 4, value);
}

/* As Linux leaves it: group 1, everything at priority 0xa0, all enabled. */
static void gic_up(struct board *b)
{
    static const uint64_t mpidr[CPUS] = {0x000, 0x001, 0x100};
    const struct pv_gic_config config = {
        .vcpus = CPUS, .mpidr = mpidr, .set_line = set_line, .set_wake = set_wake, .opaque = b};

    memset(b, 0, sizeof(*b));
    assert_int_equal(pv_gic_create(&b->gic, &config, NULL), 0);
    dist(b, 0, 3);
    for (unsigned word = 1; word < 9; word++) {
        dist(b, 0x80 + word * 4, UINT32_MAX);
        dist(b, 0x100 + word * 4, UINT32_MAX);
    }
    for (unsigned reg = 0x420; reg < 0x520; reg += 4)
        dist(b, reg, 0xa0a0a0a0);
    for (unsigned i = 0; i < CPUS; i++) {
        redist(b, i, 0x14, 0);
        redist(b, i, 0x10080, UINT32_MAX);
        redist(b, i, 0x10100, UINT32_MAX);
        for (unsigned reg = 0x10400; reg < 0x10420; reg += 4)
            redist(b, i, reg, 0xa0a0a0a0);
        put(b, i, PMR, 0xf0);
        put(b, i, IGRPEN1, 1);
    }
}

static void test_gic_identity(void **state)
{
    struct board b;
    (void)state;
    gic_up(&b);
    assert_int_equal(pv_gic_dist_read(b.gic, 0, 4), 0x53);
    assert_int_equal(pv_gic_dist_read(b.gic, 4, 4) & 0x1f, 8);
    assert_int_equal(pv_gic_dist_read(b.gic, 0xffe8, 4), 0x3b);
    /* Only the last redistributor says Last; affinity is in the high half. */
    assert_int_equal(pv_gic_redist_read(b.gic, 8, 8) & 0x10, 0);
    assert_int_equal(pv_gic_redist_read(b.gic, 2 * PV_MAP_GICR_STRIDE + 8, 8) & 0x10, 0x10);
    assert_int_equal(pv_gic_redist_read(b.gic, 2 * PV_MAP_GICR_STRIDE + 8, 8) >> 32, 0x100);
    /* Beyond the vCPUs there is nothing, and SGIs are not the distributor's. */
    assert_int_equal(pv_gic_redist_read(b.gic, CPUS * PV_MAP_GICR_STRIDE + 0xffe8, 4), 0);
    dist(&b, 0x100, UINT32_MAX);
    assert_int_equal(pv_gic_dist_read(b.gic, 0x100, 4), 0);
    assert_int_equal(pv_gic_redist_read(b.gic, 0x10c00, 4), 0xaaaaaaaa);
    uint64_t value;
    assert_false(pv_gic_sysreg_read(b.gic, 0, PV_SYSREG(3, 0, 1, 0, 0), &value));
    pv_gic_destroy(b.gic);
}

static void test_gic_level(void **state)
{
    struct board b;
    (void)state;
    gic_up(&b);
    pv_gic_set_spi(b.gic, 40, true);
    assert_true(b.irq[0]);
    assert_false(b.irq[1]);
    assert_int_equal(get(&b, 0, HPPIR1), 40);
    assert_int_equal(get(&b, 0, IAR1), 40);
    assert_false(b.irq[0]);
    assert_int_equal(get(&b, 0, RPR), 0xa0);
    assert_int_equal(get(&b, 0, IAR1), PV_GIC_SPURIOUS);
    /* Still asserted when it ends: pending again. */
    put(&b, 0, EOIR1, 40);
    assert_true(b.irq[0]);
    assert_int_equal(get(&b, 0, RPR), 0xff);
    pv_gic_set_spi(b.gic, 40, false);
    assert_false(b.irq[0]);
    pv_gic_destroy(b.gic);
}

static void test_gic_edge(void **state)
{
    struct board b;
    (void)state;
    gic_up(&b);
    dist(&b, 0xc00 + 40 / 16 * 4, UINT32_MAX);
    pv_gic_set_spi(b.gic, 40, true);
    pv_gic_set_spi(b.gic, 40, false);
    assert_true(b.irq[0]);
    assert_int_equal(get(&b, 0, IAR1), 40);
    /* An edge while active waits for the end. */
    pv_gic_set_spi(b.gic, 40, true);
    assert_false(b.irq[0]);
    put(&b, 0, EOIR1, 40);
    assert_true(b.irq[0]);
    assert_int_equal(get(&b, 0, IAR1), 40);
    put(&b, 0, EOIR1, 40);
    assert_false(b.irq[0]); /* the wire is still high, but that was one edge */
    /* A message needs no wire, and software can take it back. */
    pv_gic_pulse_spi(b.gic, 130);
    assert_true(b.irq[0]);
    dist(&b, 0x280 + 130 / 32 * 4, 1u << (130 % 32));
    assert_false(b.irq[0]);
    pv_gic_pulse_spi(b.gic, 5000);
    pv_gic_destroy(b.gic);
}

static void test_gic_priority(void **state)
{
    struct board b;
    (void)state;
    gic_up(&b);
    pv_gic_dist_write(b.gic, 0x400 + 50, 1, 0x42); /* the low three bits are not there */
    assert_int_equal(pv_gic_dist_read(b.gic, 0x400 + 50, 1), 0x40);
    pv_gic_set_spi(b.gic, 41, true);
    assert_int_equal(get(&b, 0, IAR1), 41);
    pv_gic_set_spi(b.gic, 42, true);
    assert_false(b.irq[0]); /* same priority: no preemption */
    pv_gic_set_spi(b.gic, 50, true);
    assert_true(b.irq[0]);
    put(&b, 0, PMR, 0x40); /* masked: not higher than the mask */
    assert_false(b.irq[0]);
    put(&b, 0, PMR, 0xf0);
    put(&b, 0, BPR1, 7); /* groups of 128: 0x40 is above 0x80.. still preempts */
    assert_true(b.irq[0]);
    put(&b, 0, BPR1, 0); /* the least there is */
    assert_int_equal(get(&b, 0, BPR1), 3);
    assert_int_equal(get(&b, 0, IAR1), 50);
    assert_int_equal(get(&b, 0, RPR), 0x40);
    pv_gic_set_spi(b.gic, 50, false);
    put(&b, 0, EOIR1, 50);
    assert_int_equal(get(&b, 0, RPR), 0xa0);
    pv_gic_set_spi(b.gic, 41, false);
    put(&b, 0, EOIR1, 41);
    assert_int_equal(get(&b, 0, IAR1), 42);
    pv_gic_destroy(b.gic);
}

static void test_gic_eoi_mode(void **state)
{
    struct board b;
    (void)state;
    gic_up(&b);
    put(&b, 0, ICC_CTLR, 2);
    pv_gic_set_spi(b.gic, 40, true);
    assert_int_equal(get(&b, 0, IAR1), 40);
    put(&b, 0, EOIR1, 40);
    assert_int_equal(get(&b, 0, RPR), 0xff); /* dropped, */
    assert_false(b.irq[0]);                  /* but active */
    assert_int_equal(pv_gic_dist_read(b.gic, 0x304, 4), 1u << 8);
    put(&b, 0, DIR, 40);
    assert_true(b.irq[0]);
    put(&b, 0, DIR, 5000);
    put(&b, 0, EOIR1, 5000);
    pv_gic_destroy(b.gic);
}

static void test_gic_sgi(void **state)
{
    struct board b;
    (void)state;
    gic_up(&b);
    put(&b, 0, SGI1R, UINT64_C(5) << 24 | 1u << 1);
    assert_true(b.irq[1]);
    assert_false(b.irq[0] || b.irq[2]);
    assert_int_equal(get(&b, 1, IAR1), 5);
    put(&b, 1, EOIR1, 5);
    put(&b, 1, SGI1R, UINT64_C(6) << 24 | 1u << 16 | 1); /* Aff1 1 */
    assert_true(b.irq[2]);
    assert_int_equal(get(&b, 2, IAR1), 6);
    put(&b, 2, EOIR1, 6);
    put(&b, 1, SGI1R, UINT64_C(7) << 24 | UINT64_C(1) << 40); /* all but self */
    assert_true(b.irq[0] && b.irq[2]);
    assert_false(b.irq[1]);
    assert_int_equal(get(&b, 0, IAR1), 7);
    /* Range selector 1 is vCPUs 16 to 31 of the cluster: none. */
    put(&b, 0, SGI1R, UINT64_C(8) << 24 | UINT64_C(1) << 44 | 0xffff);
    assert_false(b.irq[1]);
    pv_gic_destroy(b.gic);
}

static void test_gic_routing(void **state)
{
    struct board b;
    (void)state;
    gic_up(&b);
    pv_gic_dist_write(b.gic, 0x6000 + 8 * 40, 8, 0x100);
    pv_gic_set_spi(b.gic, 40, true);
    assert_true(b.irq[2]);
    assert_false(b.irq[0]);
    /* Moves while pending; an affinity nobody has holds it back. */
    pv_gic_dist_write(b.gic, 0x6000 + 8 * 40, 8, 0x001);
    assert_true(b.irq[1]);
    assert_false(b.irq[2]);
    pv_gic_dist_write(b.gic, 0x6000 + 8 * 40, 8, 0x700);
    assert_false(b.irq[0] || b.irq[1] || b.irq[2]);
    /* 1 of N: one that takes part, and another when that one ceases to. */
    pv_gic_dist_write(b.gic, 0x6000 + 8 * 40, 8, UINT64_C(1) << 31);
    assert_true(b.irq[0]);
    redist(&b, 0, 0x14, 2);
    assert_true(b.irq[1]);
    assert_false(b.irq[0] || b.irq[2]);
    pv_gic_destroy(b.gic);
}

static void test_gic_groups(void **state)
{
    struct board b;
    (void)state;
    gic_up(&b);
    dist(&b, 0x84, UINT32_MAX & ~(1u << 8)); /* 40 is group 0 */
    pv_gic_set_spi(b.gic, 40, true);
    assert_false(b.fiq[0]); /* group 0 is off at the interface */
    put(&b, 0, IGRPEN0, 1);
    assert_true(b.fiq[0]);
    assert_false(b.irq[0]);
    assert_int_equal(get(&b, 0, IAR1), PV_GIC_SPURIOUS);
    assert_int_equal(get(&b, 0, IAR0), 40);
    pv_gic_set_spi(b.gic, 40, false);
    put(&b, 0, EOIR1, 40); /* the wrong group: nothing happens */
    assert_int_equal(get(&b, 0, RPR), 0xa0);
    put(&b, 0, EOIR0, 40);
    assert_int_equal(get(&b, 0, RPR), 0xff);
    dist(&b, 0, 1); /* group 1 off at the distributor */
    pv_gic_set_spi(b.gic, 41, true);
    assert_false(b.irq[0]);
    dist(&b, 0, 3);
    assert_true(b.irq[0]);
    pv_gic_reset(b.gic);
    assert_false(b.irq[0]);
    pv_gic_destroy(b.gic);
}

/* A redistributor that sleeps forwards nothing, and asks for its vCPU to be woken. */
static void test_gic_wake(void **state)
{
    struct board b;
    (void)state;
    gic_up(&b);
    put(&b, 0, IGRPEN1, 0); /* as Linux leaves the interface of a vCPU that goes down */
    redist(&b, 0, 0x14, 2);
    assert_false(b.wake[0]);
    pv_gic_set_spi(b.gic, 40, true);
    assert_true(b.wake[0]);
    assert_false(b.irq[0] || b.wake[1]);
    pv_gic_set_spi(b.gic, 40, false);
    assert_false(b.wake[0]);
    dist(&b, 0x184, 1u << 9); /* one that is not enabled wakes nobody */
    pv_gic_set_spi(b.gic, 41, true);
    assert_false(b.wake[0]);
    pv_gic_set_spi(b.gic, 40, true);
    redist(&b, 0, 0x14, 0);
    put(&b, 0, IGRPEN1, 1);
    assert_false(b.wake[0]);
    assert_true(b.irq[0]);
    pv_gic_destroy(b.gic);
}

/* GICD_SETSPI and CLRSPI, and GICD_TYPER that tells of them. */
static void test_gic_message(void **state)
{
    struct board b;
    (void)state;
    gic_up(&b);
    assert_true(pv_gic_dist_read(b.gic, 4, 4) & 1u << 16);
    dist(&b, 0x40, 50);
    assert_int_equal(get(&b, 0, HPPIR1), 50);
    dist(&b, 0x48, 50);
    assert_int_equal(get(&b, 0, HPPIR1), PV_GIC_SPURIOUS);
    dist(&b, 0x40, 5);
    dist(&b, 0x40, PV_INTID_END);
    assert_int_equal(get(&b, 0, HPPIR1), PV_GIC_SPURIOUS);
    pv_gic_destroy(b.gic);
}

/* ---- Timer ---- */

static uint64_t fake_now;

static uint64_t now_ns(void)
{
    return fake_now;
}

static void record_ppi(void *opaque, unsigned vcpu, unsigned intid, bool level)
{
    ((bool(*)[32])opaque)[vcpu][intid] = level;
}

static void test_timer(void **state)
{
    enum { CTL = PV_SYSREG(3, 3, 14, 3, 1), CVAL = PV_SYSREG(3, 3, 14, 3, 2) };
    enum { TVAL = PV_SYSREG(3, 3, 14, 3, 0), CNTVCT = PV_SYSREG(3, 3, 14, 0, 2) };
    bool ppi[2][32] = {0};
    struct pv_loop *loop;
    struct pv_gtimer *timer;
    uint64_t value;
    (void)state;

    fake_now = 1000;
    assert_int_equal(pv_loop_create(&loop, NULL), 0);
    const struct pv_gtimer_config config = {loop, 2, now_ns, record_ppi, ppi};
    assert_int_equal(pv_gtimer_create(&timer, &config, NULL), 0);
    fake_now += 1600;
    assert_true(pv_gtimer_sysreg_read(timer, 0, CNTVCT, &value));
    assert_int_equal(value, 100);
    pv_gtimer_sysreg_write(timer, 1, TVAL, 50);
    pv_gtimer_sysreg_write(timer, 1, CTL, 1);
    pv_gtimer_sysreg_read(timer, 1, CVAL, &value);
    assert_int_equal(value, 150);
    assert_false(ppi[1][27]);
    fake_now += 16 * 50;
    pv_gtimer_sysreg_write(timer, 1, CTL, 1);
    assert_true(ppi[1][27]);
    assert_false(ppi[0][27]);
    pv_gtimer_sysreg_read(timer, 1, CTL, &value);
    assert_int_equal(value, 5);
    pv_gtimer_sysreg_write(timer, 1, CTL, 3); /* masked, the status stays */
    assert_false(ppi[1][27]);
    pv_gtimer_sysreg_read(timer, 1, CTL, &value);
    assert_int_equal(value, 7);
    fake_now += 16 * 10;
    pv_gtimer_sysreg_read(timer, 1, TVAL, &value);
    assert_int_equal(value, (uint32_t)-10);
    pv_gtimer_sysreg_write(timer, 1, TVAL, 0xffffffff); /* -1: in the past */
    pv_gtimer_sysreg_write(timer, 1, CTL, 1);
    assert_true(ppi[1][27]);
    pv_gtimer_sysreg_write(timer, 1, CVAL, UINT64_MAX); /* never */
    assert_false(ppi[1][27]);

    /* While frozen no time passes, and then it goes on from where it stood. */
    uint64_t before;
    pv_gtimer_sysreg_read(timer, 0, CNTVCT, &before);
    pv_gtimer_freeze(timer);
    pv_gtimer_sysreg_write(timer, 1, TVAL, 10);
    fake_now += 16 * 1000;
    pv_gtimer_sysreg_read(timer, 0, CNTVCT, &value);
    assert_int_equal(value, before);
    pv_gtimer_thaw(timer);
    assert_false(ppi[1][27]);
    fake_now += 16 * 10;
    pv_gtimer_sysreg_read(timer, 0, CNTVCT, &value);
    assert_int_equal(value, before + 10);
    pv_gtimer_sysreg_write(timer, 1, CTL, 1);
    assert_true(ppi[1][27]);
    pv_gtimer_destroy(timer);
    pv_loop_destroy(loop);
}

/* Of 24 MHz, as Apple's CPUs have: a tick is no whole number of nanoseconds. */
static void timer_has_any_frequency(void **state)
{
    enum { CNTFRQ = PV_SYSREG(3, 3, 14, 0, 0), CNTVCT = PV_SYSREG(3, 3, 14, 0, 2) };
    bool ppi[2][32] = {0};
    struct pv_loop *loop;
    struct pv_gtimer *timer;
    uint64_t value;
    (void)state;

    fake_now = 5;
    assert_int_equal(pv_loop_create(&loop, NULL), 0);
    const struct pv_gtimer_config config = {
        .loop = loop,
        .vcpus = 1,
        .now_ns = now_ns,
        .set_ppi = record_ppi,
        .opaque = ppi,
        .frequency = 24000000,
    };
    assert_int_equal(pv_gtimer_create(&timer, &config, NULL), 0);
    assert_true(pv_gtimer_sysreg_read(timer, 0, CNTFRQ, &value));
    assert_int_equal(value, 24000000);
    fake_now += 125;
    assert_true(pv_gtimer_sysreg_read(timer, 0, CNTVCT, &value));
    assert_int_equal(value, 3);
    fake_now += 3600 * UINT64_C(1000000000) * 24 * 365; /* a year is 7.6e14 ticks */
    assert_int_equal(pv_gtimer_count(timer), 3 + UINT64_C(24000000) * 3600 * 24 * 365);
    assert_int_equal(pv_gtimer_ticks_ns(timer, 3), 125);
    assert_int_equal(pv_gtimer_ticks_ns(timer, 1), 42); /* not before it has passed */
    assert_true(pv_gtimer_ticks_ns(timer, UINT64_MAX) == UINT64_MAX);
    pv_gtimer_destroy(timer);
    pv_loop_destroy(loop);
}

/* ---- PSCI ---- */

struct psci_board {
    bool on[2];
    uint64_t entry, context;
    bool off, reset;
    bool standby, down;
};

static unsigned psci_count(void *opaque)
{
    (void)opaque;
    return 2;
}
static uint64_t psci_mpidr(void *opaque, unsigned vcpu)
{
    (void)opaque;
    return vcpu ? 0x100 : 0;
}
static int psci_on(void *opaque, unsigned vcpu, uint64_t entry, uint64_t context)
{
    struct psci_board *b = opaque;
    if (b->on[vcpu])
        return -EALREADY;
    b->on[vcpu] = true;
    b->entry = entry;
    b->context = context;
    return 0;
}
static int psci_is_on(void *opaque, unsigned vcpu)
{
    return ((struct psci_board *)opaque)->on[vcpu];
}
static void psci_off(void *opaque, unsigned vcpu)
{
    ((struct psci_board *)opaque)->on[vcpu] = false;
}
static int psci_entry_ok(void *opaque, uint64_t address)
{
    (void)opaque;
    return address >= PV_MAP_RAM;
}
static void psci_standby(void *opaque, unsigned vcpu)
{
    (void)vcpu;
    ((struct psci_board *)opaque)->standby = true;
}
static void psci_power_down(void *opaque, unsigned vcpu, uint64_t entry, uint64_t context)
{
    struct psci_board *b = opaque;
    (void)vcpu;
    b->down = true;
    b->entry = entry;
    b->context = context;
}
static void psci_system_off(void *opaque, unsigned vcpu)
{
    (void)vcpu;
    ((struct psci_board *)opaque)->off = true;
}
static void psci_system_reset(void *opaque, unsigned vcpu)
{
    (void)vcpu;
    ((struct psci_board *)opaque)->reset = true;
}

static int64_t psci(struct psci_board *b, unsigned vcpu, uint64_t function, uint64_t a, uint64_t c,
                    uint64_t d)
{
    static const struct pv_psci_ops ops = {
        .vcpu_count = psci_count,
        .mpidr = psci_mpidr,
        .cpu_on = psci_on,
        .cpu_is_on = psci_is_on,
        .cpu_off = psci_off,
        .entry_ok = psci_entry_ok,
        .cpu_standby = psci_standby,
        .cpu_power_down = psci_power_down,
        .system_off = psci_system_off,
        .system_reset = psci_system_reset,
    };
    uint64_t x[18] = {function, a, c, d};
    pv_psci_call(&ops, b, vcpu, x);
    return (int64_t)x[0];
}

static void test_psci(void **state)
{
    struct psci_board b = {.on = {true}};
    (void)state;
    assert_int_equal(psci(&b, 0, 0x84000000, 0, 0, 0), 0x10001);
    assert_int_equal(psci(&b, 0, 0x84000006, 0, 0, 0), 2);
    assert_int_equal(psci(&b, 0, 0x8400000a, 0xc4000003, 0, 0), 0);
    assert_int_equal(psci(&b, 0, 0x8400000a, 0xc400000e, 0, 0), 0);
    assert_int_equal(psci(&b, 0, 0x8400000a, 0x84000013, 0, 0), -1); /* MEM_PROTECT */
    assert_int_equal(psci(&b, 0, 0xc4000004, 0x100, 0, 0), 1);
    assert_int_equal(psci(&b, 0, 0xc4000003, 0x200, PV_MAP_RAM, 7), -2);
    assert_int_equal(psci(&b, 0, 0xc4000003, 0x100, 0x1000, 7), -9);
    assert_int_equal(psci(&b, 0, 0xc4000003, 0x100, PV_MAP_RAM, 7), 0);
    assert_int_equal(b.context, 7);
    assert_int_equal(psci(&b, 0, 0xc4000003, 0x100, PV_MAP_RAM, 7), -4);
    assert_int_equal(psci(&b, 0, 0xc4000004, 0x100, 0, 0), 0);
    psci(&b, 1, 0x84000002, 0, 0, 0);
    assert_false(b.on[1]);
    /* 32-bit calls ignore high halves. */
    assert_int_equal(psci(&b, 0, 0x84000004, UINT64_C(0xff00000100), 0, 0), 1);
    assert_int_equal(psci(&b, 0, 0x84001234, 0, 0, 0), -1);
    /* CPU_SUSPEND: standby, power down, and states that there are not. */
    assert_int_equal(psci(&b, 0, 0xc4000001, 0, 0, 0), 0);
    assert_true(b.standby && !b.down);
    assert_int_equal(psci(&b, 0, 0xc4000001, 0x10000, 0x1000, 0), -9);
    assert_int_equal(psci(&b, 0, 0xc4000001, 1, 0, 0), -2);
    assert_false(b.down);
    assert_int_equal(psci(&b, 0, 0xc4000001, 0x10000, PV_MAP_RAM + 4, 8), 0);
    assert_true(b.down && b.entry == PV_MAP_RAM + 4 && b.context == 8);
    /* SYSTEM_SUSPEND is for the last vCPU. */
    b.down = false;
    b.on[1] = true;
    assert_int_equal(psci(&b, 0, 0xc400000e, PV_MAP_RAM, 9, 0), -3);
    b.on[1] = false;
    assert_int_equal(psci(&b, 0, 0xc400000e, 0x1000, 9, 0), -9);
    assert_false(b.down);
    assert_int_equal(psci(&b, 0, 0xc400000e, PV_MAP_RAM, 9, 0), 0);
    assert_true(b.down && b.context == 9);
    assert_int_equal(psci(&b, 0, 0xc4000012, 0x80000000, 0, 0), -2); /* a vendor's reset */
    assert_false(b.reset);
    psci(&b, 0, 0xc4000012, 0, 0, 0);
    assert_true(b.reset);
    b.reset = false;
    psci(&b, 0, 0x84000008, 0, 0, 0);
    psci(&b, 0, 0x84000009, 0, 0, 0);
    assert_true(b.off && b.reset);
}

/* ---- PrimeCells ---- */

static void record_irq(void *opaque, unsigned line, bool level)
{
    (void)line;
    *(bool *)opaque = level;
}

static uint64_t rd(struct pv_address_space *as, uint64_t address)
{
    uint64_t value = 0;
    assert_int_equal(pv_as_cpu_read(as, address, 4, &value), 0);
    return value;
}

static void wr(struct pv_address_space *as, uint64_t address, uint64_t value)
{
    assert_int_equal(pv_as_cpu_write(as, address, 4, value), 0);
}

static void test_primecells(void **state)
{
    bool irq = false;
    struct pv_irq wire = {record_irq, &irq, 0};
    struct pv_address_space *as;
    struct pv_loop *loop;
    struct pv_pl011 *uart;
    struct pv_pl031 *rtc;
    struct pv_pl061 *gpio;
    (void)state;

    assert_int_equal(pv_as_create(&as, NULL), 0);
    assert_int_equal(pv_loop_create(&loop, NULL), 0);
    assert_int_equal(pv_pl011_create(&uart, as, PV_MAP_UART, wire, NULL, NULL), 0);
    assert_int_equal(rd(as, PV_MAP_UART + 0xfe0), 0x11);
    assert_int_equal(rd(as, PV_MAP_UART + 0xff0), 0x0d);
    assert_int_equal(rd(as, PV_MAP_UART + 0x18), 0x90); /* both FIFOs empty */
    wr(as, PV_MAP_UART + 0x38, 0x20);
    wr(as, PV_MAP_UART, 'x');
    assert_true(irq);
    wr(as, PV_MAP_UART + 0x44, 0x20);
    assert_false(irq);
    pv_pl011_destroy(uart);

    assert_int_equal(pv_pl031_create(&rtc, as, PV_MAP_RTC, wire, loop, NULL), 0);
    uint64_t seconds = pv_clock_wall_ns() / PV_NSEC_PER_SEC;
    assert_in_range(rd(as, PV_MAP_RTC), seconds, seconds + 1);
    wr(as, PV_MAP_RTC + 8, 1000);
    assert_in_range(rd(as, PV_MAP_RTC), 1000, 1001);
    wr(as, PV_MAP_RTC + 0x10, 1);
    wr(as, PV_MAP_RTC + 8, 5000);
    wr(as, PV_MAP_RTC + 4, (uint32_t)rd(as, PV_MAP_RTC));
    assert_true(irq);
    wr(as, PV_MAP_RTC + 0x1c, 1);
    assert_false(irq);
    pv_pl031_destroy(rtc);

    assert_int_equal(pv_pl061_create(&gpio, as, PV_MAP_GPIO, wire, loop, NULL), 0);
    wr(as, PV_MAP_GPIO + 0x408, 8); /* both edges of line 3 */
    wr(as, PV_MAP_GPIO + 0x410, 8);
    pv_pl061_set_input(gpio, 3, true);
    assert_true(irq);
    assert_int_equal(rd(as, PV_MAP_GPIO + (8 << 2)), 8);
    assert_int_equal(rd(as, PV_MAP_GPIO + (4 << 2)), 0);
    wr(as, PV_MAP_GPIO + 0x41c, 8);
    assert_false(irq);
    pv_pl061_set_input(gpio, 3, false);
    assert_true(irq);
    pv_pl061_destroy(gpio);
    pv_loop_destroy(loop);
    pv_as_destroy(as);
}

/* ---- Loader ---- */

static void put32(uint8_t *p, uint32_t v)
{
    for (unsigned i = 0; i < 4; i++)
        p[i] = (uint8_t)(v >> (8 * i));
}

static void make_image(uint8_t image[4096])
{
    memset(image, 0, 4096);
    memcpy(image, "MZ", 2);
    put32(image + 16, 0x10000);
    put32(image + 24, 0xa);
    memcpy(image + 56, "ARMd", 4);
    image[100] = 42;
}

static size_t gzip(uint8_t *out, size_t room, uint8_t *in, size_t size)
{
    z_stream z = {
        .next_in = in, .avail_in = (unsigned)size, .next_out = out, .avail_out = (unsigned)room};
    assert_int_equal(deflateInit2(&z, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
    assert_int_equal(deflate(&z, Z_FINISH), Z_STREAM_END);
    deflateEnd(&z);
    return z.total_out;
}

static void rejects(const uint8_t *data, size_t size, const char *why)
{
    struct pv_kernel kernel;
    struct pv_error *err = NULL;
    assert_true(pv_kernel_parse(&kernel, data, size, "k", &err) < 0);
    if (!strstr(pv_error_message(err), why))
        fail_msg("'%s' lacks '%s'", pv_error_message(err), why);
    assert_null(kernel.data);
    pv_error_free(&err);
}

static void test_loader_formats(void **state)
{
    uint8_t image[4096], packed[4096 + 64], zboot[8192] = {0};
    struct pv_kernel kernel;
    (void)state;

    make_image(image);
    assert_int_equal(pv_kernel_parse(&kernel, image, sizeof(image), "k", NULL), 0);
    assert_int_equal(kernel.image_size, 0x10000);
    assert_int_equal(kernel.text_offset, 0);
    pv_kernel_finish(&kernel);

    size_t size = gzip(packed, sizeof(packed), image, sizeof(image));
    assert_int_equal(pv_kernel_parse(&kernel, packed, size, "k", NULL), 0);
    assert_int_equal(kernel.size, sizeof(image));
    assert_memory_equal(kernel.data, image, sizeof(image));
    pv_kernel_finish(&kernel);
    rejects(packed, size - 10, "cut short");
    packed[12] ^= 0xff;
    rejects(packed, size, "");

    size = gzip(zboot + 64, sizeof(zboot) - 64, image, sizeof(image));
    memcpy(zboot, "MZ\0\0zimg", 8);
    put32(zboot + 8, 64);
    put32(zboot + 12, (uint32_t)size);
    memcpy(zboot + 24, "gzip", 5);
    assert_int_equal(pv_kernel_parse(&kernel, zboot, sizeof(zboot), "k", NULL), 0);
    assert_memory_equal(kernel.data, image, sizeof(image));
    pv_kernel_finish(&kernel);
    put32(zboot + 12, UINT32_MAX);
    rejects(zboot, sizeof(zboot), "cut short");
    put32(zboot + 12, (uint32_t)size);
    memcpy(zboot + 24, "lzma", 5);
    rejects(zboot, sizeof(zboot), "lzma");

    put32(image + 24, 0xb);
    rejects(image, sizeof(image), "big-endian");
    put32(image + 24, 0xe);
    rejects(image, sizeof(image), "pages");
    put32(image + 24, 0xa);
    put32(image + 20, 0x7fffffff);
    rejects(image, sizeof(image), "damaged");
    rejects(image, 0, "empty");
    memset(image, 0, sizeof(image));
    memcpy(image, "\177ELF", 4);
    image[18] = 0x3e;
    rejects(image, sizeof(image), "ELF file for x86-64");
    memset(image, 0, sizeof(image));
    memcpy(image + 0x202, "HdrS", 4);
    rejects(image, sizeof(image), "x86 kernel");
}

static void test_loader_place(void **state)
{
    const struct pv_kernel kernel = {.image_size = 40 * PV_MIB};
    struct pv_boot_layout l;
    struct pv_error *err = NULL;
    (void)state;

    assert_int_equal(pv_loader_place(&l, PV_MAP_RAM, PV_GIB, &kernel, 30 * PV_MIB, NULL), 0);
    assert_int_equal(l.kernel, 0x40200000);
    assert_int_equal(l.initrd, 0x48000000);
    assert_int_equal(l.fdt, 0x48000000 + 30 * PV_MIB);
    /* Tight: they move together, and one step less is too little. */
    assert_int_equal(pv_loader_place(&l, PV_MAP_RAM, 74 * PV_MIB, &kernel, 30 * PV_MIB, NULL), 0);
    assert_int_equal(l.initrd, PV_MAP_RAM + 42 * PV_MIB);
    assert_int_equal(pv_loader_place(&l, PV_MAP_RAM, 72 * PV_MIB, &kernel, 30 * PV_MIB, &err),
                     -ENOSPC);
    assert_non_null(strstr(pv_error_message(err), "at least 74 MiB"));
    pv_error_free(&err);
}

/* ---- Device tree ---- */

static void test_fdt(void **state)
{
    static const char *const nodes[] = {"/chosen",
                                        "/memory@40000000",
                                        "/cpus/cpu@0",
                                        "/cpus/cpu@100",
                                        "/psci",
                                        "/timer",
                                        "/intc@8000000/v2m@8020000",
                                        "/pl011@9000000",
                                        "/pl031@9010000",
                                        "/pl061@9030000",
                                        "/gpio-keys/poweroff",
                                        "/apb-pclk",
                                        "/virtio_mmio@a000000",
                                        "/virtio_mmio@a003e00",
                                        "/pcie@4010000000",
                                        "/aliases"};
    static char fdt[65536];
    uint8_t seed[PV_FDT_SEED_SIZE] = {1};
    uint64_t mpidr[17];
    int len;
    (void)state;

    for (unsigned i = 0; i < 17; i++)
        mpidr[i] = (i / 16) << 8 | i % 16;
    struct pv_fdt_config config = {.vcpus = 17,
                                   .mpidr = mpidr,
                                   .ram_size = 5 * PV_GIB,
                                   .bootargs = "root=/dev/vda1",
                                   .initrd_start = 0x48000000,
                                   .initrd_size = 0x1000,
                                   .seed = seed};
    assert_int_equal(pv_fdt_build(fdt, sizeof(fdt), &config, NULL), 0);
    assert_int_equal(fdt_check_full(fdt, sizeof(fdt)), 0);
    for (size_t i = 0; i < PV_ARRAY_SIZE(nodes); i++) {
        if (fdt_path_offset(fdt, nodes[i]) < 0)
            fail_msg("no node %s", nodes[i]);
    }
    int chosen = fdt_path_offset(fdt, "/chosen");
    assert_string_equal(fdt_getprop(fdt, chosen, "bootargs", &len), "root=/dev/vda1");
    fdt_getprop(fdt, chosen, "rng-seed", &len);
    assert_int_equal(len, 32);
    const fdt32_t *reg = fdt_getprop(fdt, fdt_path_offset(fdt, "/memory@40000000"), "reg", &len);
    assert_int_equal(len, 16);
    assert_int_equal(fdt32_to_cpu(reg[2]), 1);
    assert_int_equal(fdt32_to_cpu(reg[3]), 0x40000000);
    fdt_getprop(fdt, fdt_path_offset(fdt, "/pcie@4010000000"), "interrupt-map", &len);
    assert_int_equal(len, 16 * 10 * 4);
    assert_int_equal(pv_fdt_build(fdt, 4096, &config, NULL), -E2BIG);
}

/* A tree as a person may write it: memory twice, no /chosen, cells of `cells` words. */
static void write_user_tree(void *buf, int size, uint32_t cells)
{
    assert_int_equal(fdt_create_empty_tree(buf, size), 0);
    assert_int_equal(fdt_setprop_u32(buf, 0, "#address-cells", cells), 0);
    assert_int_equal(fdt_setprop_u32(buf, 0, "#size-cells", cells), 0);
    assert_int_equal(fdt_setprop_string(buf, 0, "model", "mine"), 0);
    assert_true(fdt_add_subnode(buf, 0, "pl011@9000000") > 0);
    for (unsigned i = 0; i < 2; i++) {
        int node = fdt_add_subnode(buf, 0, i ? "memory@0" : "memory");
        assert_true(node > 0);
        assert_int_equal(fdt_setprop_string(buf, node, "device_type", "memory"), 0);
        assert_int_equal(fdt_setprop_u64(buf, node, "reg", 0), 0);
    }
    assert_int_equal(fdt_pack(buf), 0);
}

static const uint8_t user_seed[PV_FDT_SEED_SIZE] = {1, 2, 3};

static void test_fdt_adopt(void **state)
{
    static uint8_t blob[4096], fdt[8192], again[8192];
    struct pv_fdt_config config = {.ram_size = PV_GIB,
                                   .bootargs = "quiet",
                                   .initrd_start = UINT64_C(0x48000000),
                                   .initrd_size = 0x1234,
                                   .seed = user_seed};
    const fdt32_t *cells;
    int len;
    (void)state;

    write_user_tree(blob, sizeof(blob), 2);
    assert_int_equal(pv_fdt_adopt(fdt, sizeof(fdt), blob, sizeof(blob), &config, NULL), 0);
    assert_int_equal(fdt_check_full(fdt, sizeof(fdt)), 0);
    assert_string_equal(fdt_getprop(fdt, 0, "model", &len), "mine");
    assert_true(fdt_path_offset(fdt, "/memory@0") < 0);
    cells = fdt_getprop(fdt, fdt_path_offset(fdt, "/memory@40000000"), "reg", &len);
    assert_int_equal(len, 16);
    assert_int_equal(fdt32_to_cpu(cells[1]), PV_MAP_RAM);
    assert_int_equal(fdt32_to_cpu(cells[3]), PV_GIB);
    int chosen = fdt_path_offset(fdt, "/chosen");
    assert_string_equal(fdt_getprop(fdt, chosen, "bootargs", &len), "quiet");
    assert_string_equal(fdt_getprop(fdt, chosen, "stdout-path", &len), "/pl011@9000000");
    assert_memory_equal(fdt_getprop(fdt, chosen, "kaslr-seed", &len), user_seed, 8);
    cells = fdt_getprop(fdt, chosen, "linux,initrd-end", &len);
    assert_int_equal(fdt32_to_cpu(cells[1]), 0x48001234);
    /* The author's command line and console stay where none is given; an old initrd does not. */
    config.bootargs = NULL;
    config.initrd_size = 0;
    assert_int_equal(fdt_setprop_string(fdt, chosen, "stdout-path", "/other"), 0);
    assert_int_equal(pv_fdt_adopt(again, sizeof(again), fdt, sizeof(fdt), &config, NULL), 0);
    chosen = fdt_path_offset(again, "/chosen");
    assert_string_equal(fdt_getprop(again, chosen, "bootargs", &len), "quiet");
    assert_string_equal(fdt_getprop(again, chosen, "stdout-path", &len), "/other");
    assert_null(fdt_getprop(again, chosen, "linux,initrd-start", &len));
    /* One cell for addresses and sizes, if they fit. */
    write_user_tree(blob, sizeof(blob), 1);
    assert_int_equal(pv_fdt_adopt(fdt, sizeof(fdt), blob, sizeof(blob), &config, NULL), 0);
    config.ram_size = 4 * PV_GIB;
    assert_int_equal(pv_fdt_adopt(fdt, sizeof(fdt), blob, sizeof(blob), &config, NULL), -EINVAL);
}

static void expect_refused(const void *blob, size_t size, size_t room, const char *why)
{
    static uint8_t fdt[65536];
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    const struct pv_fdt_config config = {.ram_size = PV_GIB, .seed = user_seed};

    assert_true(pv_fdt_adopt(fdt, room, blob, size, &config, &err) < 0);
    assert_non_null(strstr(pv_error_message(err), why));
}

static void test_fdt_adopt_refuses(void **state)
{
    static uint8_t blob[16384], large[600 * 1024];
    void *data;
    (void)state;

    write_user_tree(blob, sizeof(blob), 2);
    const size_t size = fdt_totalsize(blob);
    write_user_tree(large, sizeof(large), 2);
    assert_int_equal(fdt_open_into(large, large, sizeof(large)), 0);
    assert_int_equal(fdt_setprop_placeholder(large, 0, "data", 530 * 1024, &data), 0);
    expect_refused(blob, 0, 4096, "not a device tree blob");
    expect_refused(blob, size - 1, 4096, "damaged");
    expect_refused("MZ, and more that is not a tree, but long enough for one", 56, 4096, "damaged");
    expect_refused(blob, size, size + 16, "no room");
    fdt_set_version(blob, 16);
    expect_refused(blob, size, 4096, "FDT_ERR_BADVERSION");
    fdt_set_version(blob, 17);
    expect_refused(large, sizeof(large), 65536, "more than 512 KiB");
    fdt_set_off_dt_strings(blob, (uint32_t)size + 4096);
    expect_refused(blob, size, 4096, "damaged");
    write_user_tree(blob, sizeof(blob), 3); /* more than an address can have */
    expect_refused(blob, sizeof(blob), 32768, "/memory and /chosen cannot be put into it");
    assert_int_equal(fdt_open_into(blob, blob, sizeof(blob)), 0);
    for (unsigned i = 0; i < 17; i++) {
        char name[16];
        snprintf(name, sizeof(name), "m%u", i);
        int node = fdt_add_subnode(blob, 0, name);
        assert_int_equal(fdt_setprop_string(blob, node, "device_type", "memory"), 0);
    }
    expect_refused(blob, sizeof(blob), 32768, "cannot be put into it");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_gic_identity),
        cmocka_unit_test(test_gic_level),
        cmocka_unit_test(test_gic_edge),
        cmocka_unit_test(test_gic_priority),
        cmocka_unit_test(test_gic_eoi_mode),
        cmocka_unit_test(test_gic_sgi),
        cmocka_unit_test(test_gic_wake),
        cmocka_unit_test(test_gic_message),
        cmocka_unit_test(test_gic_routing),
        cmocka_unit_test(test_gic_groups),
        cmocka_unit_test(test_timer),
        cmocka_unit_test(test_psci),
        cmocka_unit_test(timer_has_any_frequency),
        cmocka_unit_test(test_psci),
        cmocka_unit_test(test_primecells),
        cmocka_unit_test(test_loader_formats),
        cmocka_unit_test(test_loader_place),
        cmocka_unit_test(test_fdt),
        cmocka_unit_test(test_fdt_adopt),
        cmocka_unit_test(test_fdt_adopt_refuses),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
