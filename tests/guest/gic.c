/* SPDX-License-Identifier: MIT */
/*
 * The interrupt controller as a guest sees it: acknowledging, priorities, preemption, both ways to
 * end an interrupt, groups, and SGIs between vCPUs. The interrupts are SGIs made pending, so that
 * nothing depends on time; DAIF stays masked but where delivery is what is looked at.
 */
#include "gic.h"

#include "expect.h"

static void pend(unsigned intid)
{
    gic_write(GICR(0) + GICR_ISPENDR0, 1u << intid);
}

static uint64_t acknowledge(void)
{
    return READ_SYSREG(icc_iar1_el1);
}

static void end(uint64_t intid)
{
    WRITE_SYSREG(icc_eoir1_el1, intid);
}

static void priorities(void)
{
    gic_set_priority(GICR(0) + GICR_IPRIORITYR, 3, 0x40);
    gic_set_priority(GICR(0) + GICR_IPRIORITYR, 4, 0x60);
    CHECK_EQ(acknowledge(), SPURIOUS);
    CHECK_EQ(READ_SYSREG(icc_rpr_el1), IDLE);
    CHECK_EQ(READ_SYSREG(isr_el1), 0);
    pend(5);
    pend(4);
    pend(3);
    pend(6);
    CHECK_EQ(READ_SYSREG(isr_el1), PSTATE_I);
    CHECK_EQ(READ_SYSREG(icc_hppir1_el1), 3);
    CHECK_EQ(acknowledge(), 3);
    CHECK_EQ(READ_SYSREG(icc_rpr_el1), 0x40);
    CHECK_EQ(gic_read(GICR(0) + GICR_ISACTIVER0), 1u << 3);
    CHECK_EQ(gic_read(GICR(0) + GICR_ISPENDR0), 1u << 4 | 1u << 5 | 1u << 6);
    /* What is less urgent waits, and does not show. */
    CHECK_EQ(READ_SYSREG(isr_el1), 0);
    CHECK_EQ(acknowledge(), SPURIOUS);
    end(3);
    CHECK_EQ(READ_SYSREG(icc_rpr_el1), IDLE);
    CHECK_EQ(acknowledge(), 4);
    end(4);
    /* Of equals the lower number comes first. */
    CHECK_EQ(acknowledge(), 5);
    end(5);
    CHECK_EQ(acknowledge(), 6);
    end(6);
    CHECK_EQ(acknowledge(), SPURIOUS);
    /* The mask: only what is above it. */
    WRITE_SYSREG(icc_pmr_el1, 0x80);
    pend(5);
    CHECK_EQ(acknowledge(), SPURIOUS);
    WRITE_SYSREG(icc_pmr_el1, 0x88);
    CHECK_EQ(acknowledge(), 5);
    end(5);
    WRITE_SYSREG(icc_pmr_el1, 0xff);
}

static void preemption(void)
{
    gic_set_priority(GICR(0) + GICR_IPRIORITYR, 1, 0x20);
    gic_set_priority(GICR(0) + GICR_IPRIORITYR, 2, 0x38);
    pend(2);
    CHECK_EQ(acknowledge(), 2);
    pend(1);
    CHECK_EQ(READ_SYSREG(isr_el1), PSTATE_I);
    CHECK_EQ(acknowledge(), 1);
    CHECK_EQ(READ_SYSREG(icc_rpr_el1), 0x20);
    CHECK_EQ(READ_SYSREG(icc_ap1r0_el1), 1u << (0x20 >> 3) | 1u << (0x38 >> 3));
    end(1);
    CHECK_EQ(READ_SYSREG(icc_rpr_el1), 0x38);
    end(2);
    /* In one group by the binary point, they do not interrupt each other. */
    WRITE_SYSREG(icc_bpr1_el1, 5); /* group priority: bits 7:5 */
    pend(2);
    CHECK_EQ(acknowledge(), 2);
    CHECK_EQ(READ_SYSREG(icc_rpr_el1), 0x20);
    pend(1);
    CHECK_EQ(acknowledge(), SPURIOUS);
    end(2);
    CHECK_EQ(acknowledge(), 1);
    end(1);
    WRITE_SYSREG(icc_bpr1_el1, 0); /* the least there is is kept instead */
    CHECK_EQ(READ_SYSREG(icc_bpr1_el1), 3);
}

static void end_in_two_steps(void)
{
    WRITE_SYSREG(icc_ctlr_el1, 2); /* EOImode */
    pend(7);
    CHECK_EQ(acknowledge(), 7);
    end(7);
    CHECK_EQ(READ_SYSREG(icc_rpr_el1), IDLE);
    CHECK_EQ(gic_read(GICR(0) + GICR_ISACTIVER0), 1u << 7);
    pend(7); /* active and pending: not signalled until it is deactivated */
    CHECK_EQ(acknowledge(), SPURIOUS);
    WRITE_SYSREG(icc_dir_el1, 7);
    CHECK_EQ(gic_read(GICR(0) + GICR_ISACTIVER0), 0);
    CHECK_EQ(acknowledge(), 7);
    end(7);
    WRITE_SYSREG(icc_dir_el1, 7);
    WRITE_SYSREG(icc_ctlr_el1, 0);
}

SNIPPET(unmask, "msr daifclr, #3\n\tnop\n\t1: b 1b");

static void groups(void)
{
    /* Group 0 is FIQ, and has its own acknowledge register. */
    gic_write(GICR(0) + GICR_IGROUPR0, ~(1u << 8));
    pend(8);
    CHECK_EQ(READ_SYSREG(isr_el1), PSTATE_F);
    CHECK_EQ(acknowledge(), SPURIOUS);
    go(unmask, EL1);
    CHECK_EQ(f.vector, 0x300);
    CHECK_EQ(READ_SYSREG(icc_iar0_el1), 8);
    WRITE_SYSREG(icc_eoir0_el1, 8);
    gic_write(GICR(0) + GICR_IGROUPR0, 0xffffffff);
    pend(8);
    go(unmask, EL1);
    CHECK_EQ(f.vector, 0x280);
    CHECK_EQ(acknowledge(), 8);
    end(8);
    /* A group that is off keeps it pending. */
    WRITE_SYSREG(icc_igrpen1_el1, 0);
    pend(8);
    CHECK_EQ(READ_SYSREG(isr_el1), 0);
    gic_write(GICR(0) + GICR_ICPENDR0, 1u << 8);
    WRITE_SYSREG(icc_igrpen1_el1, 1);
    CHECK_EQ(acknowledge(), SPURIOUS);
}

/* A shared interrupt goes where its router says. */
static void shared(void)
{
    const unsigned intid = 100;
    gic_write(GICD + GICD_IGROUPR(intid / 32), ~0u);
    gic_write(GICD + GICD_ISENABLER(intid / 32), 1u << intid % 32);
    gic_set_priority(GICD + GICD_IPRIORITYR, intid, 0xa0);
    *(volatile uint64_t *)(uintptr_t)(GICD + GICD_IROUTER(intid)) = 0;
    gic_write(GICD + GICD_ISPENDR(intid / 32), 1u << intid % 32);
    CHECK_EQ(acknowledge(), intid);
    CHECK_EQ(gic_read(GICD + GICD_ISACTIVER(intid / 32)), 1u << intid % 32);
    end(intid);
    *(volatile uint64_t *)(uintptr_t)(GICD + GICD_IROUTER(intid)) = 1;
    gic_write(GICD + GICD_ISPENDR(intid / 32), 1u << intid % 32);
    CHECK_EQ(acknowledge(), SPURIOUS);
    gic_write(GICD + GICD_ICPENDR(intid / 32), 1u << intid % 32);
}

/* ---- Between vCPUs ---- */

#define ROUNDS 200u

static uint64_t ready, got;

static void send_rounds(void)
{
    wait_for(&ready, 1);
    for (uint64_t round = 1; round <= ROUNDS; round++) {
        gic_send(9, 1u << 1);
        wait_for(&got, round);
    }
    /* To all but oneself. */
    WRITE_SYSREG(icc_sgi1r_el1, UINT64_C(1) << 40 | UINT64_C(10) << 24);
    wait_for(&got, ROUNDS + 1);
    CHECK_EQ(acknowledge(), SPURIOUS);
    gic_send(9, 1); /* oneself */
    CHECK_EQ(acknowledge(), 9);
    end(9);
}

SNIPPET(sleep, "1: wfi\n\tmsr daifclr, #2\n\tnop\n\tmsr daifset, #2\n\tb 1b");

static void receive_rounds(void)
{
    struct frame frame;
    gic_init(1);
    store_release(&ready, 1);
    for (uint64_t round = 1; round <= ROUNDS + 1; round++) {
        frame.pc = (uintptr_t)sleep;
        frame.pstate = PSTATE_EL1H | PSTATE_DAIF;
        enter(&frame);
        CHECK_EQ(frame.vector, 0x280);
        CHECK_EQ(acknowledge(), round <= ROUNDS ? 9 : 10);
        end(round <= ROUNDS ? 9 : 10);
        store_release(&got, round);
    }
}

void guest_main(unsigned cpu)
{
    if (cpu == 1) {
        receive_rounds();
        return;
    }
    gic_init(0);
    priorities();
    preemption();
    end_in_two_steps();
    groups();
    shared();
    start_cpu(1);
    send_rounds();
}
