/* SPDX-License-Identifier: MIT */
/* Atomicity and order of memory accesses between vCPUs (Arm ARM B2.3). */
#include "lib.h"

#define CPUS   4u
#define ROUNDS 20000u

static uint64_t arrived;

/* The `nth` meeting of all vCPUs. */
static void meet(unsigned nth)
{
    __atomic_fetch_add(&arrived, 1, __ATOMIC_SEQ_CST);
    wait_for(&arrived, (uint64_t)CPUS * nth);
}

/* ---- Locks: the counter they protect is plain ---- */

static volatile uint64_t counter;
static uint32_t lock;

static bool try_exclusive(void)
{
    uint32_t old, failed = 1;
    asm volatile("ldaxr %w0, [%2]\n\t"
                 "cbnz %w0, 1f\n\t"
                 "stxr %w1, %w3, [%2]\n"
                 "1:"
                 : "=&r"(old), "+&r"(failed)
                 : "r"(&lock), "r"(1)
                 : "memory");
    return !old && !failed;
}

static bool try_cas(void)
{
    uint32_t old = 0;
    asm volatile("casa %w0, %w1, [%2]" : "+&r"(old) : "r"(1), "r"(&lock) : "memory");
    return !old;
}

static bool try_swap(void)
{
    uint32_t old;
    asm volatile("swpa %w1, %w0, [%2]" : "=&r"(old) : "r"(1), "r"(&lock) : "memory");
    return !old;
}

static void release_plain(void)
{
    asm volatile("stlr wzr, [%0]" ::"r"(&lock) : "memory");
}

static void release_exclusive(void)
{
    uint32_t old, failed;
    do
        asm volatile("ldxr %w0, [%2]\n\tstlxr %w1, wzr, [%2]"
                     : "=&r"(old), "=&r"(failed)
                     : "r"(&lock)
                     : "memory");
    while (failed);
}

static void count_locked(bool (*try)(void), void (*release)(void))
{
    for (unsigned i = 0; i < ROUNDS; i++) {
        while (!try())
            ASM("yield");
        counter++;
        release();
    }
}

/* ---- Counters ---- */

static struct {
    uint64_t added, often, exclusive;
    uint16_t half[2]; /* the second must not notice */
    uint8_t bits;
    _Alignas(16) uint64_t pair[2];       /* by CASP: both count */
    _Alignas(16) uint64_t exclusives[2]; /* by LDXP, STXP */
} shared;

static void add_exclusive(void)
{
    uint64_t value;
    uint32_t failed;
    do
        asm volatile("ldxr %0, [%2]\n\tadd %0, %0, #1\n\tstxr %w1, %0, [%2]"
                     : "=&r"(value), "=&r"(failed)
                     : "r"(&shared.exclusive)
                     : "memory");
    while (failed);
}

static void add_pair(void)
{
    for (;;) {
        register uint64_t a asm("x4") = *(volatile uint64_t *)&shared.pair[0];
        register uint64_t b asm("x5") = *(volatile uint64_t *)&shared.pair[1];
        register uint64_t c asm("x6") = a + 1;
        register uint64_t d asm("x7") = b - 1;
        const uint64_t was[2] = {a, b};
        asm volatile("caspal x4, x5, x6, x7, [%4]"
                     : "+r"(a), "+r"(b)
                     : "r"(c), "r"(d), "r"(shared.pair)
                     : "memory");
        if (a == was[0] && b == was[1])
            return;
    }
}

static void add_exclusive_pair(void)
{
    uint64_t a, b;
    uint32_t failed;
    do
        asm volatile("ldxp %0, %1, [%3]\n\t"
                     "add %0, %0, #1\n\t"
                     "sub %1, %1, #1\n\t"
                     "stxp %w2, %0, %1, [%3]"
                     : "=&r"(a), "=&r"(b), "=&r"(failed)
                     : "r"(shared.exclusives)
                     : "memory");
    while (failed);
}

static void own_bit(unsigned cpu)
{
    const uint32_t bit = 1u << cpu;
    uint32_t old;
    asm volatile("ldsetab %w1, %w0, [%2]" : "=&r"(old) : "r"(bit), "r"(&shared.bits) : "memory");
    CHECK_EQ(old & bit, 0);
    asm volatile("ldclrlb %w1, %w0, [%2]" : "=&r"(old) : "r"(bit), "r"(&shared.bits) : "memory");
    CHECK_EQ(old & bit, bit);
}

/* Nothing else, so that they meet. */
static void add_often(void)
{
    uint64_t left = 2 * ROUNDS, old;
    asm volatile("1:\n\t"
                 ".rept 8\n\tldadd %3, %1, [%2]\n\t.endr\n\t"
                 "subs %0, %0, #1\n\t"
                 "b.ne 1b"
                 : "+&r"(left), "=&r"(old)
                 : "r"(&shared.often), "r"(UINT64_C(1))
                 : "cc", "memory");
}

static void count_atomically(unsigned cpu)
{
    uint64_t old;
    for (unsigned i = 0; i < ROUNDS; i++) {
        asm volatile("ldadd %1, %0, [%2]"
                     : "=&r"(old)
                     : "r"(UINT64_C(1)), "r"(&shared.added)
                     : "memory");
        asm volatile("ldaddh %w1, %w0, [%2]"
                     : "=&r"(old)
                     : "r"(0xffff), "r"(&shared.half)
                     : "memory");
        add_exclusive();
        add_pair();
        add_exclusive_pair();
        own_bit(cpu);
    }
}

static void check_counters(void)
{
    const uint64_t all = CPUS * ROUNDS;
    CHECK_EQ(counter, 3 * all);
    CHECK_EQ(shared.added, all);
    CHECK_EQ(shared.often, 16 * all);
    CHECK_EQ(shared.exclusive, all);
    CHECK_EQ(shared.half[0], (uint16_t)-all);
    CHECK_EQ(shared.half[1], 0);
    CHECK_EQ(shared.bits, 0);
    CHECK_EQ(shared.pair[0], all);
    CHECK_EQ(shared.pair[1], -all);
    CHECK_EQ(shared.exclusives[0], all);
    CHECK_EQ(shared.exclusives[1], -all);
}

/* ---- Message passing: who sees the flag sees the data ---- */

static struct {
    _Alignas(64) volatile uint64_t data;
    _Alignas(64) volatile uint64_t flag;
} by_barrier, by_order;

static void pass_messages(void)
{
    for (uint64_t i = 1; i <= ROUNDS; i++) {
        by_barrier.data = i;
        ASM("dmb ishst");
        by_barrier.flag = i;
        by_order.data = i;
        asm volatile("stlr %0, [%1]" ::"r"(i), "r"(&by_order.flag) : "memory");
    }
}

static void receive_messages(void)
{
    uint64_t flag;
    do {
        flag = by_barrier.flag;
        ASM("dmb ishld");
        CHECK(by_barrier.data >= flag);
        asm volatile("ldar %0, [%1]" : "=r"(flag) : "r"(&by_order.flag) : "memory");
        CHECK(by_order.data >= flag);
    } while (flag < ROUNDS);
}

/* ---- Store buffers: of two that store, then load the other's, one sees the store ---- */

#define CELLS 512u
static struct {
    _Alignas(64) volatile uint64_t x;
    _Alignas(64) volatile uint64_t y;
    _Alignas(64) volatile uint64_t saw_x;
    _Alignas(64) volatile uint64_t saw_y;
} cells[2][CELLS];

static void store_then_load(volatile uint64_t *mine, const volatile uint64_t *other,
                            volatile uint64_t *saw)
{
    *mine = 1;
    ASM("dmb ish");
    *saw = *other;
}

static void release_then_acquire(volatile uint64_t *mine, const volatile uint64_t *other,
                                 volatile uint64_t *saw)
{
    uint64_t value;
    asm volatile("stlr %1, [%2]\n\tldar %0, [%3]"
                 : "=&r"(value)
                 : "r"(UINT64_C(1)), "r"(mine), "r"(other)
                 : "memory");
    *saw = value;
}

static void race_stores(unsigned cpu, unsigned kind)
{
    void (*const store)(volatile uint64_t *, const volatile uint64_t *, volatile uint64_t *) =
        kind ? release_then_acquire : store_then_load;
    for (unsigned i = 0; i < CELLS; i++)
        if (cpu == 0)
            store(&cells[kind][i].x, &cells[kind][i].y, &cells[kind][i].saw_y);
        else
            store(&cells[kind][i].y, &cells[kind][i].x, &cells[kind][i].saw_x);
}

static void check_stores(unsigned kind)
{
    for (unsigned i = 0; i < CELLS; i++)
        CHECK(cells[kind][i].saw_x || cells[kind][i].saw_y);
}

/* Each clears what the other will write, and so has it in its cache, where the load is fast. */
static void clear_stores(unsigned cpu, unsigned kind)
{
    for (unsigned i = 0; i < CELLS; i++)
        *(cpu ? &cells[kind][i].x : &cells[kind][i].y) = 0;
}

static void litmus(unsigned cpu, unsigned meeting)
{
    if (cpu == 0)
        pass_messages();
    else if (cpu == 1)
        receive_messages();
    for (unsigned round = 0; round < 40; round++) {
        meet(meeting++);
        if (cpu < 2)
            race_stores(cpu, round % 2);
        meet(meeting++);
        if (cpu == 0)
            check_stores(round % 2);
        meet(meeting++);
        if (cpu < 2)
            clear_stores(cpu, round % 2);
    }
}

void guest_main(unsigned cpu)
{
    if (cpu == 0)
        for (unsigned i = 1; i < CPUS; i++)
            start_cpu(i);
    meet(1);
    count_locked(try_exclusive, release_plain);
    meet(2);
    count_locked(try_cas, release_exclusive);
    meet(3);
    count_locked(try_swap, release_plain);
    count_atomically(cpu);
    add_often();
    meet(4);
    check_counters();
    meet(5);
    litmus(cpu, 6);
}
