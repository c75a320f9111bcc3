/* SPDX-License-Identifier: MIT */
/*
 * The generic timer as a guest sees it (Arm ARM D11): the counter, both timers' registers, and
 * their interrupts through the GIC. Nothing waits for a time of its own: a condition holds at once
 * or when the counter says so.
 */
#include "expect.h"
#include "gic.h"

#define ENABLE  1u
#define IMASK   2u
#define ISTATUS 4u
#define FAR     (UINT64_C(1) << 40) /* ticks that this test does not see pass */

/* The virtual and the physical timer have the same registers; CNTVOFF is 0. */
#define TIMER(kind, intid_)                                                                        \
    static void kind##_ctl(uint64_t value)                                                         \
    {                                                                                              \
        WRITE_SYSREG(cnt##kind##_ctl_el0, value);                                                  \
    }                                                                                              \
    static uint64_t kind##_status(void)                                                            \
    {                                                                                              \
        return READ_SYSREG(cnt##kind##_ctl_el0);                                                   \
    }                                                                                              \
    static void kind##_at(uint64_t value)                                                          \
    {                                                                                              \
        WRITE_SYSREG(cnt##kind##_cval_el0, value);                                                 \
    }                                                                                              \
    static uint64_t kind##_when(void)                                                              \
    {                                                                                              \
        return READ_SYSREG(cnt##kind##_cval_el0);                                                  \
    }                                                                                              \
    static void kind##_in(uint64_t value)                                                          \
    {                                                                                              \
        WRITE_SYSREG(cnt##kind##_tval_el0, value);                                                 \
    }                                                                                              \
    static uint64_t kind##_left(void)                                                              \
    {                                                                                              \
        return READ_SYSREG(cnt##kind##_tval_el0);                                                  \
    }                                                                                              \
    static uint64_t kind##_now(void)                                                               \
    {                                                                                              \
        return READ_SYSREG(cnt##kind##ct_el0);                                                     \
    }                                                                                              \
    static const struct timer kind##_timer = {kind##_ctl, kind##_status, kind##_at,  kind##_when,  \
                                              kind##_in,  kind##_left,   kind##_now, intid_}
struct timer {
    void (*set_control)(uint64_t value);
    uint64_t (*control)(void);
    void (*set_compare)(uint64_t value);
    uint64_t (*compare)(void);
    void (*set_value)(uint64_t value);
    uint64_t (*value)(void);
    uint64_t (*now)(void);
    unsigned intid;
};

TIMER(v, 27);
TIMER(p, 30);

static void counter(void)
{
    const uint64_t frequency = READ_SYSREG(cntfrq_el0);
    CHECK_EQ(frequency, 62500000);
    uint64_t last = READ_SYSREG(cntvct_el0);
    for (unsigned i = 0; i < 1000; i++) {
        const uint64_t physical = READ_SYSREG(cntpct_el0), virtual = READ_SYSREG(cntvct_el0);
        CHECK(physical >= last && virtual >= physical);
        last = virtual;
    }
    while (READ_SYSREG(cntvct_el0) == last) /* it goes on */
        ASM("yield");
}

static void registers(const struct timer *t)
{
    t->set_control(0);
    t->set_compare(UINT64_C(0x123456789abcdef0));
    CHECK_EQ(t->compare(), UINT64_C(0x123456789abcdef0));
    /* TVAL is signed, 32 bits, and from now. */
    uint64_t before = t->now();
    t->set_value(0x7fffffff);
    uint64_t after = t->now();
    CHECK(t->compare() >= before + 0x7fffffff && t->compare() <= after + 0x7fffffff);
    CHECK((int32_t)t->value() > 0 && t->value() <= 0x7fffffff);
    before = t->now();
    t->set_value(0xffffffff);
    after = t->now();
    CHECK(t->compare() >= before - 1 && t->compare() <= after - 1);
    CHECK_EQ(t->value() >> 32, 0); /* as it reads, too */
    CHECK((int32_t)t->value() < 0);
    /* ISTATUS is 0 while disabled is UNKNOWN; enabled it is the condition, masked or not. */
    t->set_compare(0);
    t->set_control(ENABLE | IMASK);
    CHECK_EQ(t->control(), ENABLE | IMASK | ISTATUS);
    t->set_compare(t->now() + FAR);
    CHECK_EQ(t->control(), ENABLE | IMASK);
    t->set_control(ENABLE | IMASK | ISTATUS); /* which is not written */
    CHECK_EQ(t->control(), ENABLE | IMASK);
    t->set_control(0);
}

static void interrupts(const struct timer *t)
{
    const uint32_t bit = 1u << t->intid;
    t->set_compare(t->now() + FAR);
    t->set_control(ENABLE);
    CHECK_EQ(gic_read(GICR(0) + GICR_ISPENDR0) & bit, 0);
    /* Level-sensitive: it follows the condition, the mask and the enable. */
    t->set_compare(0);
    CHECK_EQ(gic_read(GICR(0) + GICR_ISPENDR0) & bit, bit);
    CHECK_EQ(READ_SYSREG(isr_el1), PSTATE_I);
    t->set_control(ENABLE | IMASK);
    CHECK_EQ(gic_read(GICR(0) + GICR_ISPENDR0) & bit, 0);
    t->set_control(ENABLE);
    CHECK_EQ(READ_SYSREG(icc_iar1_el1), t->intid);
    WRITE_SYSREG(icc_eoir1_el1, t->intid);
    /* Still up: it comes again. */
    CHECK_EQ(READ_SYSREG(icc_iar1_el1), t->intid);
    t->set_control(0);
    WRITE_SYSREG(icc_eoir1_el1, t->intid);
    CHECK_EQ(READ_SYSREG(icc_iar1_el1), SPURIOUS);
}

SNIPPET(sleep, "1: wfi\n\tmsr daifclr, #2\n\tnop\n\tmsr daifset, #2\n\tb 1b");

/* A deadline ends WFI, not before it is due. */
static void wakes(const struct timer *t)
{
    for (unsigned i = 0; i < 20; i++) {
        const uint64_t due = t->now() + 1000 * i;
        t->set_compare(due);
        t->set_control(ENABLE);
        go(sleep, EL1);
        CHECK_EQ(f.vector, 0x280);
        CHECK(t->now() >= due);
        CHECK_EQ(READ_SYSREG(icc_iar1_el1), t->intid);
        t->set_control(0);
        WRITE_SYSREG(icc_eoir1_el1, t->intid);
    }
}

void guest_main(unsigned cpu)
{
    static const struct timer *const timers[] = {&v_timer, &p_timer};
    gic_init(0);
    counter();
    for (unsigned i = 0; i < 2; i++) {
        registers(timers[i]);
        interrupts(timers[i]);
        wakes(timers[i]);
    }
}
