/* SPDX-License-Identifier: MIT */
/*
 * PSCI 1.1 (DEN 0022) as a guest sees it: what there is, what wrong arguments are answered with,
 * vCPUs that go off and come back as new, and the two kinds of CPU_SUSPEND. vCPU 0 begins anew
 * wherever it resumes from a power-down, which its `context` is told by.
 */
#include "gic.h"

enum {
    SMCCC_VERSION = 0x80000000u,
    PSCI_VERSION = 0x84000000u,
    CPU_SUSPEND = 0x84000001u,
    CPU_ON = 0x84000003u,
    AFFINITY_INFO = 0x84000004u,
    MIGRATE = 0x84000005u,
    MIGRATE_INFO_TYPE = 0x84000006u,
    SYSTEM_OFF = 0x84000008u,
    SYSTEM_RESET = 0x84000009u,
    FEATURES = 0x8400000au,
    CPU_FREEZE = 0x8400000bu,
    SYSTEM_SUSPEND = 0x8400000eu,
    SYSTEM_RESET2 = 0x84000012u,
    UNKNOWN = 0x84001234u,
    SMC64 = 0x40000000u,
};

enum {
    SUCCESS = 0,
    NOT_SUPPORTED = -1,
    INVALID_PARAMETERS = -2,
    DENIED = -3,
    ALREADY_ON = -4,
    INVALID_ADDRESS = -9,
};

enum { INFO_ON, INFO_OFF };

#define POWER_DOWN  (1u << 16)
#define OTHER_STATE 1u
#define OUTSIDE     0x1000u /* no RAM */
#define HIGH        (UINT64_C(1) << 32)

/*
 * Where vCPUs come up in this program. TPIDR_EL0 keeps the state they do it in and TPIDRRO_EL0 the
 * context, which startup and the C code leave alone; _start is told the vCPU.
 */
extern const char enter_here[];
asm(".pushsection .text\n\t.balign 4\n"
    "enter_here:\n\t"
    "msr tpidrro_el0, x0\n\t"
    "mrs x1, currentel\n\t"
    "mrs x2, daif\n\t"
    "orr x1, x1, x2\n\t"
    "mrs x2, spsel\n\t"
    "orr x1, x1, x2\n\t"
    "mrs x2, sctlr_el1\n\t"
    "and x2, x2, #1\n\t"
    "orr x1, x1, x2, lsl #12\n\t"
    "mrs x2, cntv_ctl_el0\n\t"
    "and x2, x2, #1\n\t"
    "orr x1, x1, x2, lsl #13\n\t"
    "msr tpidr_el0, x1\n\t"
    "mrs x0, mpidr_el1\n\t"
    "and x0, x0, #0xff\n\t"
    "b _start\n\t"
    ".popsection");

#define STATE_EL1                             (1u << 2)
#define STATE_SPX                             1u
#define STATE_NEW                             (STATE_EL1 | STATE_SPX | PSTATE_DAIF) /* MMU and timer off */
#define STATE_TIMER                           (1u << 13)
#define CHECK_CALL(result, function, a, b, c) CHECK_EQ(hvc_call(function, a, b, c), result)

static uint64_t entry(void)
{
    return (uintptr_t)enter_here;
}

/* ---- What there is ---- */

static void functions(void)
{
    static const uint32_t present[] = {SMCCC_VERSION,
                                       PSCI_VERSION,
                                       CPU_SUSPEND,
                                       CPU_SUSPEND | SMC64,
                                       PSCI_CPU_OFF,
                                       CPU_ON,
                                       CPU_ON | SMC64,
                                       AFFINITY_INFO,
                                       AFFINITY_INFO | SMC64,
                                       MIGRATE_INFO_TYPE,
                                       SYSTEM_OFF,
                                       SYSTEM_RESET,
                                       FEATURES,
                                       SYSTEM_SUSPEND,
                                       SYSTEM_SUSPEND | SMC64,
                                       SYSTEM_RESET2,
                                       SYSTEM_RESET2 | SMC64};
    static const uint32_t absent[] = {MIGRATE,         CPU_FREEZE,           UNKNOWN,
                                      UNKNOWN | SMC64, PSCI_CPU_OFF | SMC64, PSCI_VERSION | SMC64};
    CHECK_CALL(0x10001, PSCI_VERSION, 0, 0, 0);
    CHECK_CALL(0x10001, SMCCC_VERSION, 0, 0, 0);
    CHECK_CALL(2, MIGRATE_INFO_TYPE, 0, 0, 0); /* nothing to migrate */
    for (unsigned i = 0; i < sizeof(present) / sizeof(present[0]); i++)
        CHECK_CALL(SUCCESS, FEATURES, present[i], 0, 0);
    for (unsigned i = 0; i < sizeof(absent) / sizeof(absent[0]); i++) {
        CHECK_CALL(NOT_SUPPORTED, FEATURES, absent[i], 0, 0);
        CHECK_CALL(NOT_SUPPORTED, absent[i], 0, 0, 0);
    }
}

/* A call changes no register but X0 to X3 (SMCCC 1.1). */
SNIPPET(ask_version, "hvc #0");

static void registers_kept(void)
{
    static struct frame f;
    for (unsigned i = 0; i < 31; i++)
        f.x[i] = 0x0101010101010101 * i;
    f.x[0] = PSCI_VERSION;
    f.pc = (uintptr_t)ask_version;
    f.pstate = PSTATE_EL1H | PSTATE_DAIF;
    enter(&f);
    CHECK_EQ(f.x[0], 0x10001);
    for (unsigned i = 4; i < 31; i++)
        CHECK_EQ(f.x[i], 0x0101010101010101 * i);
}

static void bad_arguments(void)
{
    CHECK_CALL(INVALID_PARAMETERS, PSCI_CPU_ON, 2, entry(), 0);
    CHECK_CALL(INVALID_PARAMETERS, PSCI_CPU_ON, 1 | HIGH, entry(), 0);
    CHECK_CALL(INVALID_ADDRESS, PSCI_CPU_ON, 1, OUTSIDE, 0);
    CHECK_CALL(INVALID_ADDRESS, PSCI_CPU_ON, 1, RAM_BASE + RAM_SIZE, 0);
    CHECK_CALL(INVALID_ADDRESS, PSCI_CPU_ON, 1, HIGH | entry(), 0);
    CHECK_CALL(ALREADY_ON, PSCI_CPU_ON, 0, entry(), 0);
    CHECK_CALL(ALREADY_ON, CPU_ON, HIGH, HIGH | entry(),
               0); /* the upper halves are not looked at */
    CHECK_CALL(INVALID_PARAMETERS, AFFINITY_INFO | SMC64, 2, 0, 0);
    CHECK_CALL(INVALID_PARAMETERS, AFFINITY_INFO | SMC64, 0, 1, 0);
    CHECK_CALL(INVALID_PARAMETERS, CPU_SUSPEND | SMC64, OTHER_STATE, entry(), 0);
    CHECK_CALL(INVALID_PARAMETERS, CPU_SUSPEND | SMC64, HIGH | POWER_DOWN, entry(), 0);
    CHECK_CALL(INVALID_ADDRESS, CPU_SUSPEND | SMC64, POWER_DOWN, OUTSIDE, 0);
    CHECK_CALL(INVALID_ADDRESS, SYSTEM_SUSPEND | SMC64, OUTSIDE, 0, 0);
    CHECK_CALL(INVALID_PARAMETERS, SYSTEM_RESET2, 1, 0, 0);
    CHECK_CALL(INVALID_PARAMETERS, SYSTEM_RESET2 | SMC64, 1u << 31, 0, 0); /* a vendor's */
}

/* ---- vCPU 1 goes off and comes back ---- */

#define LIVES 100u

static uint64_t lives; /* how many it has begun */
static uint64_t leave; /* it may end this one */

static void live(void)
{
    const uint64_t life = lives + 1;
    CHECK_EQ(READ_SYSREG(tpidr_el0), STATE_NEW);
    CHECK_EQ(READ_SYSREG(tpidrro_el0), HIGH | life);
    WRITE_SYSREG(cntv_cval_el0, ~UINT64_C(0));
    WRITE_SYSREG(cntv_ctl_el0, 1);
    store_release(&lives, life);
    wait_for(&leave, life);
    if (life < LIVES)
        hvc_call(PSCI_CPU_OFF, 0, 0, 0);
}

static void revive(void)
{
    CHECK_CALL(INFO_ON, AFFINITY_INFO | SMC64, 0, 0, 0);
    for (uint64_t life = 1; life <= LIVES; life++) {
        CHECK_CALL(INFO_OFF, AFFINITY_INFO, 1, 0, 0);
        CHECK_CALL(SUCCESS, PSCI_CPU_ON, 1, entry(), HIGH | life);
        CHECK_CALL(ALREADY_ON, PSCI_CPU_ON, 1, entry(), 0);
        CHECK_CALL(INFO_ON, AFFINITY_INFO | SMC64, 1, 0, 0);
        wait_for(&lives, life);
        CHECK_CALL(ALREADY_ON, PSCI_CPU_ON, 1, entry(), 0);
        CHECK_CALL(DENIED, SYSTEM_SUSPEND | SMC64, entry(), 0, 0); /* vCPU 1 is on */
        store_release(&leave, life);
        while (hvc_call(AFFINITY_INFO | SMC64, 1, 0, 0) == INFO_ON)
            ASM("yield");
    }
}

/* ---- Suspending vCPU 0 ---- */

#define TIMER 27u

/* Half a millisecond or so from now; interrupts stay masked. */
static uint64_t set_alarm(void)
{
    const uint64_t due = READ_SYSREG(cntvct_el0) + READ_SYSREG(cntfrq_el0) / 2000;
    WRITE_SYSREG(cntv_cval_el0, due);
    WRITE_SYSREG(cntv_ctl_el0, 1);
    return due;
}

/* It is the timer that ended a suspend, and the interrupt is still to be taken. */
static void check_alarm(uint64_t due)
{
    CHECK(READ_SYSREG(cntvct_el0) >= due);
    CHECK_EQ(READ_SYSREG(isr_el1), PSTATE_I);
    CHECK_EQ(READ_SYSREG(icc_iar1_el1), TIMER);
    WRITE_SYSREG(cntv_ctl_el0, 0);
    WRITE_SYSREG(icc_eoir1_el1, TIMER);
    CHECK_EQ(READ_SYSREG(icc_iar1_el1), SPURIOUS);
}

static void standby(void)
{
    for (unsigned i = 0; i < 10; i++) {
        const uint64_t due = set_alarm();
        CHECK_CALL(SUCCESS, i % 2 ? CPU_SUSPEND : CPU_SUSPEND | SMC64, 0, 0, 0);
        check_alarm(due);
    }
    /* What is pending already ends it at once. */
    gic_send(3, 1);
    CHECK_CALL(SUCCESS, CPU_SUSPEND | SMC64, 0, 0, 0);
    CHECK_EQ(READ_SYSREG(icc_iar1_el1), 3);
    WRITE_SYSREG(icc_eoir1_el1, 3);
}

static uint64_t alarm_due;

/* Does not return: the vCPU comes back at enter_here with HIGH | `step`. */
static _Noreturn void power_down(uint64_t step)
{
    alarm_due = set_alarm();
    if (step == 3)
        hvc_call(SYSTEM_SUSPEND | SMC64, entry(), HIGH | step, 0);
    else
        hvc_call(CPU_SUSPEND | SMC64, POWER_DOWN, entry(), HIGH | step);
    fail(__LINE__, step, 0);
}

/* As new, but for the timer: where it is powered down too, its control is (a reset clears it). */
static void resumed(void)
{
    const uint64_t state = READ_SYSREG(tpidr_el0);
    CHECK_EQ(state & ~(uint64_t)STATE_TIMER, STATE_NEW);
    if (state & STATE_TIMER)
        check_alarm(alarm_due);
    CHECK(READ_SYSREG(cntvct_el0) >= alarm_due);
}

void guest_main(unsigned cpu)
{
    if (cpu == 1) {
        live();
        return;
    }
    static uint64_t step;
    if (step) {
        CHECK_EQ(READ_SYSREG(tpidrro_el0), HIGH | step);
        resumed();
    } else {
        functions();
        registers_kept();
        bad_arguments();
        gic_init(0);
        standby();
    }
    if (step < 3)
        power_down(++step);
    revive();
}
