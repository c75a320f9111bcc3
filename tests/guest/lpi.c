/* SPDX-License-Identifier: MIT */
/*
 * LPIs and the ITS (IHI 0069, chapters 5 and 6) as a guest sees them: tables and commands in its
 * memory, interrupts that the INT command or a device's message makes pending, on either vCPU.
 * Interrupts stay masked and are acknowledged by hand but where delivery is what is looked at.
 */
#include "gic.h"

#include "expect.h"

/* What the guest provides, in memory that nothing else uses. */
#define CONFIG(n)   (UINT64_C(0x40300000) + (n)) /* a byte for each LPI */
#define PENDING     UINT64_C(0x40320000)         /* of vCPU 0; vCPU 1's is behind it */
#define COMMANDS    UINT64_C(0x40340000)
#define DEVICES     UINT64_C(0x40350000)
#define COLLECTIONS UINT64_C(0x40360000)
#define ITT         UINT64_C(0x40370000) /* of DEVICE_A, then of DEVICE_B: 32 KiB each */
#define ITT_B       UINT64_C(0x40378000)
#define ITT_C       UINT64_C(0x40380000) /* 16384 events */

#define DEVICE_A 0x0008u
#define DEVICE_B 0x1234u
#define DEVICE_C 0x0010u
#define EVENTS   32u /* of A and B */

#define LPI(n)    (8192u + (n))
#define ID_BITS   15u                                    /* less one: LPIs up to 65535 */
#define CACHEABLE (UINT64_C(7) << 7 | UINT64_C(1) << 10) /* of the LPI tables */
#define VALID     (UINT64_C(1) << 63)
#define WALKABLE  (UINT64_C(7) << 59 | UINT64_C(1) << 10) /* the same of the ITS's */

static uint64_t acknowledge(void)
{
    return READ_SYSREG(icc_iar1_el1);
}

static void end(uint64_t intid)
{
    WRITE_SYSREG(icc_eoir1_el1, intid);
}

/* ---- Commands ---- */

static uint32_t written; /* offset of the next */

static void command(uint64_t w0, uint64_t w1, uint64_t w2, uint64_t w3)
{
    volatile uint64_t *at = (volatile uint64_t *)(uintptr_t)(COMMANDS + written);
    at[0] = w0;
    at[1] = w1;
    at[2] = w2;
    at[3] = w3;
    ASM("dsb ishst");
    written = (written + 32) % 4096;
    gic_write64(GITS + GITS_CWRITER, written);
    while (gic_read64(GITS + GITS_CREADR) != written)
        ASM("yield");
}

static void mapd(uint32_t device, uint64_t itt, unsigned bits)
{
    command(0x08 | (uint64_t)device << 32, bits - 1, VALID | itt, 0);
}

static void unmapd(uint32_t device)
{
    command(0x08 | (uint64_t)device << 32, 0, 0, 0);
}

static void mapc(unsigned collection, unsigned vcpu)
{
    command(0x09, 0, VALID | (uint64_t)vcpu << 16 | collection, 0);
}

static void mapti(uint32_t device, uint32_t event, uint32_t lpi, unsigned collection)
{
    command(0x0a | (uint64_t)device << 32, (uint64_t)lpi << 32 | event, collection, 0);
}

static void mapi(uint32_t device, uint32_t lpi, unsigned collection)
{
    command(0x0b | (uint64_t)device << 32, lpi, collection, 0);
}

static void movi(uint32_t device, uint32_t event, unsigned collection)
{
    command(0x01 | (uint64_t)device << 32, event, collection, 0);
}

/* INT, CLEAR, INV and DISCARD name an event. */
enum { INT = 0x03, CLEAR = 0x04, INV = 0x0c, DISCARD = 0x0f };

static void event_command(unsigned what, uint32_t device, uint32_t event)
{
    command(what | (uint64_t)device << 32, event, 0, 0);
}

static void invall(unsigned collection)
{
    command(0x0d, 0, collection, 0);
}

static void movall(unsigned from, unsigned to)
{
    command(0x0e, 0, (uint64_t)from << 16, (uint64_t)to << 16);
}

/* ---- Tables ---- */

static void configure(unsigned lpi, uint8_t priority, bool enabled)
{
    *(volatile uint8_t *)(uintptr_t)CONFIG(lpi) = priority | enabled;
    ASM("dsb ishst");
}

static volatile uint8_t *pending_byte(unsigned cpu, unsigned lpi)
{
    return (volatile uint8_t *)(uintptr_t)(PENDING + cpu * 0x10000 + LPI(lpi) / 8);
}

static void lpi_init(unsigned cpu)
{
    gic_init(cpu);
    gic_write64(GICR(cpu) + GICR_PROPBASER, CONFIG(0) | CACHEABLE | ID_BITS);
    gic_write64(GICR(cpu) + GICR_PENDBASER, (PENDING + cpu * 0x10000) | CACHEABLE);
    gic_write(GICR(cpu) + GICR_CTLR, ENABLE_LPIS);
}

static void its_init(void)
{
    const uint64_t tables[] = {DEVICES, COLLECTIONS};
    const uint64_t typer = gic_read64(GITS + GITS_TYPER);
    CHECK(typer & 1);                /* physical LPIs */
    CHECK((typer >> 8 & 31) >= 13);  /* bits of EventID, less one */
    CHECK((typer >> 13 & 31) >= 12); /* and of DeviceID */
    CHECK((typer >> 4 & 15) < 8);    /* an ITT entry is 8 bytes at most */
    CHECK_EQ(typer >> 19 & 1, 0);    /* PTA: a target is a vCPU's number */
    for (unsigned i = 0; i < 2; i++) {
        const uint64_t type = gic_read64(GITS + GITS_BASER(i)) >> 56 & 7;
        CHECK_EQ(type, i ? 4 : 1);
        gic_write64(GITS + GITS_BASER(i), VALID | tables[i] | WALKABLE | UINT64_C(2) << 8);
        CHECK_EQ(gic_read64(GITS + GITS_BASER(i)) >> 56 & 7, type);
    }
    gic_write64(GITS + GITS_CBASER, VALID | COMMANDS | WALKABLE); /* one page */
    gic_write64(GITS + GITS_CWRITER, 0);
    CHECK_EQ(gic_read64(GITS + GITS_CREADR), 0);
    gic_write(GITS + GITS_CTLR, 1);
}

/* ---- On one vCPU ---- */

/* The pending table is read when LPIs are switched on; for those that are mapped at the least. */
static void pending_table(void)
{
    configure(5, 0xa0, true);
    mapd(DEVICE_A, ITT, 5);
    mapc(0, 0);
    mapti(DEVICE_A, 5, LPI(5), 0);
    *pending_byte(0, 5) = 1u << 5;
    lpi_init(0);
    CHECK_EQ(acknowledge(), LPI(5));
    CHECK_EQ(READ_SYSREG(icc_rpr_el1), 0xa0);
    end(LPI(5));
    CHECK_EQ(acknowledge(), SPURIOUS);
}

static void mapping(void)
{
    mapd(DEVICE_B, ITT_B, 5);
    mapc(3, 0);
    for (unsigned event = 0; event < EVENTS; event++) {
        configure(event, 0x80, true);
        configure(100 + event, 0xc0, true);
        mapti(DEVICE_A, event, LPI(event), 0);
        mapti(DEVICE_B, event, LPI(100 + event), 3);
    }
    CHECK_EQ(acknowledge(), SPURIOUS);
    for (unsigned event = 0; event < EVENTS; event++) {
        event_command(INT, DEVICE_B, event);
        CHECK_EQ(READ_SYSREG(icc_hppir1_el1), LPI(100 + event));
        event_command(INT, DEVICE_A, event);
        CHECK_EQ(acknowledge(), LPI(event));
        CHECK_EQ(READ_SYSREG(icc_rpr_el1), 0x80);
        end(LPI(event));
        CHECK_EQ(acknowledge(), LPI(100 + event));
        CHECK_EQ(READ_SYSREG(icc_rpr_el1), 0xc0);
        end(LPI(100 + event));
        CHECK_EQ(acknowledge(), SPURIOUS);
    }
    /* An event that is its own LPI's number. */
    mapd(DEVICE_C, ITT_C, 14);
    configure(40, 0x80, true);
    mapi(DEVICE_C, LPI(40), 0);
    event_command(INT, DEVICE_C, LPI(40));
    CHECK_EQ(acknowledge(), LPI(40));
    end(LPI(40));
}

/* LPIs are edges without an active state: one that comes while it is handled is another. */
static void no_active_state(void)
{
    event_command(INT, DEVICE_A, 1);
    event_command(INT, DEVICE_A, 1); /* already pending: one interrupt */
    CHECK_EQ(acknowledge(), LPI(1));
    event_command(INT, DEVICE_A, 1);
    CHECK_EQ(READ_SYSREG(isr_el1), 0); /* of the running priority: it waits */
    CHECK_EQ(acknowledge(), SPURIOUS);
    end(LPI(1));
    CHECK_EQ(acknowledge(), LPI(1));
    end(LPI(1));
    CHECK_EQ(acknowledge(), SPURIOUS);
}

static void configuration(void)
{
    configure(2, 0x80, false);
    event_command(INV, DEVICE_A, 2);
    event_command(INT, DEVICE_A, 2);
    CHECK_EQ(acknowledge(), SPURIOUS);
    configure(2, 0x80, true); /* it has stayed pending */
    event_command(INV, DEVICE_A, 2);
    CHECK_EQ(acknowledge(), LPI(2));
    end(LPI(2));
    /* Priorities: of equals the lower number, then another order for all of a collection. */
    event_command(INT, DEVICE_A, 3);
    event_command(INT, DEVICE_A, 4);
    CHECK_EQ(READ_SYSREG(icc_hppir1_el1), LPI(3));
    event_command(CLEAR, DEVICE_A, 3);
    CHECK_EQ(READ_SYSREG(icc_hppir1_el1), LPI(4));
    event_command(INT, DEVICE_A, 3);
    CHECK_EQ(READ_SYSREG(icc_hppir1_el1), LPI(3));
    configure(3, 0xa0, true);
    configure(4, 0x40, true);
    invall(0);
    CHECK_EQ(acknowledge(), LPI(4));
    CHECK_EQ(READ_SYSREG(icc_rpr_el1), 0x40);
    CHECK_EQ(acknowledge(), SPURIOUS);
    end(LPI(4));
    CHECK_EQ(acknowledge(), LPI(3));
    CHECK_EQ(READ_SYSREG(icc_rpr_el1), 0xa0);
    /* An LPI that is more urgent preempts one that is being handled; an SGI is as good as any. */
    event_command(INT, DEVICE_A, 4);
    CHECK_EQ(acknowledge(), LPI(4));
    end(LPI(4));
    end(LPI(3));
    gic_send(1, 1);
    event_command(INT, DEVICE_A, 4);
    event_command(INT, DEVICE_A, 3);
    CHECK_EQ(acknowledge(), LPI(4));
    end(LPI(4));
    CHECK_EQ(acknowledge(), 1);
    end(1);
    CHECK_EQ(acknowledge(), LPI(3));
    end(LPI(3));
}

static void clear_and_discard(void)
{
    event_command(INT, DEVICE_A, 6);
    event_command(INT, DEVICE_A, 7);
    event_command(CLEAR, DEVICE_A, 6);
    CHECK_EQ(READ_SYSREG(icc_hppir1_el1), LPI(7));
    event_command(DISCARD, DEVICE_A, 7);
    CHECK_EQ(acknowledge(), SPURIOUS);
    event_command(INT, DEVICE_A, 7); /* no longer mapped */
    CHECK_EQ(acknowledge(), SPURIOUS);
    event_command(INT, DEVICE_A, 6);
    CHECK_EQ(acknowledge(), LPI(6));
    end(LPI(6));
    mapti(DEVICE_A, 7, LPI(7), 0);
    event_command(INT, DEVICE_A, 7);
    CHECK_EQ(acknowledge(), LPI(7));
    end(LPI(7));
}

/* What makes no sense is passed over, and the next command is executed. */
static void ignored(void)
{
    mapti(DEVICE_A, 8, 4000, 0);        /* no LPI */
    mapti(DEVICE_A, EVENTS, LPI(8), 0); /* an event too many */
    mapti(0x777, 0, LPI(8), 0);         /* no such device */
    mapc(9, 77);                        /* no such vCPU */
    event_command(INT, DEVICE_A, EVENTS);
    event_command(INT, 0x777, 0);
    movi(DEVICE_A, 8, 9);
    command(0xee, ~UINT64_C(0), ~UINT64_C(0), ~UINT64_C(0));
    CHECK_EQ(acknowledge(), SPURIOUS);
    event_command(INT, DEVICE_A, 8);
    CHECK_EQ(acknowledge(), LPI(8));
    end(LPI(8));
    unmapd(DEVICE_C);
    event_command(INT, DEVICE_C, LPI(40));
    CHECK_EQ(acknowledge(), SPURIOUS);
}

/* ---- Messages ---- */

static void message(uint32_t device, uint32_t event)
{
    device_write(DEVICE_MSI, (uint64_t)device << 32 | event);
}

SNIPPET(unmask, "msr daifclr, #2\n\tnop\n\t1: b 1b");

static void messages(void)
{
    message(DEVICE_A, 9);
    go(unmask, EL1);
    CHECK_EQ(f.vector, 0x280);
    CHECK_EQ(acknowledge(), LPI(9));
    end(LPI(9));
    message(DEVICE_B, 9);
    CHECK_EQ(acknowledge(), LPI(109));
    end(LPI(109));
    message(DEVICE_A, EVENTS);
    message(0x777, 0);
    message(DEVICE_A, ~0u);
    CHECK_EQ(acknowledge(), SPURIOUS);
    /* The device is who sends: what a CPU writes to the translation frame has no mapping. */
    gic_write(GITS + 0x10040, 9);
    CHECK_EQ(acknowledge(), SPURIOUS);
    gic_write(GITS + GITS_CTLR, 0);
    message(DEVICE_A, 9);
    CHECK_EQ(acknowledge(), SPURIOUS);
    gic_write(GITS + GITS_CTLR, 1);
    message(DEVICE_A, 9); /* and mappings have outlived that */
    CHECK_EQ(acknowledge(), LPI(9));
    end(LPI(9));
}

/* ---- Between vCPUs ---- */

#define ROUNDS 200u

static uint64_t ready, received, expected;

/* vCPU 1 has got what is expected, and vCPU 0 has not. */
static void other_got(uint64_t round)
{
    wait_for(&received, round);
    CHECK_EQ(acknowledge(), SPURIOUS);
}

static void send_rounds(void)
{
    uint64_t round = 0;
    wait_for(&ready, 1);
    mapc(1, 1);
    /* Pending here, it moves: alone, and with all that is pending. */
    event_command(INT, DEVICE_A, 10);
    CHECK_EQ(READ_SYSREG(icc_hppir1_el1), LPI(10));
    store_release(&expected, LPI(10));
    movi(DEVICE_A, 10, 1);
    other_got(++round);
    event_command(INT, DEVICE_A, 11);
    store_release(&expected, LPI(11));
    movall(0, 1);
    other_got(++round);
    /* The event's collection, or the collection's vCPU, decides where a message goes. */
    while (round < ROUNDS) {
        const uint32_t event = 12 + round % 4;
        store_release(&expected, LPI(event));
        movi(DEVICE_A, event, 1);
        message(DEVICE_A, event);
        other_got(++round);
        movi(DEVICE_A, event, 0);
        message(DEVICE_A, event);
        CHECK_EQ(acknowledge(), LPI(event));
        end(LPI(event));
    }
    store_release(&expected, LPI(100));
    mapc(3, 1);
    message(DEVICE_B, 0);
    other_got(++round);
    CHECK_EQ(round, ROUNDS + 1);
}

SNIPPET(sleep, "1: wfi\n\tmsr daifclr, #2\n\tnop\n\tmsr daifset, #2\n\tb 1b");

static void receive_rounds(void)
{
    struct frame frame;
    lpi_init(1);
    store_release(&ready, 1);
    for (uint64_t round = 1; round <= ROUNDS + 1; round++) {
        frame.pc = (uintptr_t)sleep;
        frame.pstate = PSTATE_EL1H | PSTATE_DAIF;
        enter(&frame);
        CHECK_EQ(frame.vector, 0x280);
        const uint64_t intid = acknowledge();
        CHECK_EQ(intid, load_acquire(&expected));
        end(intid);
        store_release(&received, round);
    }
}

/* Switched off, where that is possible, what is pending is in the table, and back with it. */
static void switch_off(void)
{
    if (!(gic_read(GICR(0) + GICR_CTLR) & LPIS_CLEARABLE))
        return;
    event_command(INT, DEVICE_A, 20);
    gic_write(GICR(0) + GICR_CTLR, 0);
    CHECK_EQ(acknowledge(), SPURIOUS);
    CHECK_EQ(*pending_byte(0, 20), 1u << 20 % 8);
    event_command(INT, DEVICE_A, 21); /* for a redistributor without LPIs: lost */
    gic_write(GICR(0) + GICR_CTLR, ENABLE_LPIS);
    CHECK_EQ(acknowledge(), LPI(20));
    end(LPI(20));
    CHECK_EQ(acknowledge(), SPURIOUS);
}

void guest_main(unsigned cpu)
{
    if (cpu == 1) {
        receive_rounds();
        return;
    }
    its_init();
    pending_table();
    mapping();
    no_active_state();
    configuration();
    clear_and_discard();
    ignored();
    messages();
    switch_off();
    start_cpu(1);
    send_rounds();
}
