/* SPDX-License-Identifier: MIT */
/*
 * A location is changed and changed back by another PE between a load-exclusive and its
 * store-exclusive: the global monitor has noticed (Arm ARM B2.12.2), so the store fails, although
 * the value is what was loaded.
 */
#include "lib.h"

enum { BY_EXCLUSIVE, BY_RELEASE, BY_CAS, BY_SWAP, BY_ADD, BY_PAIR, NOBODY, KINDS };

static uint64_t target[2] __attribute__((aligned(64)));
static uint64_t asked, done; /* rounds */

static void store_exclusive(uint64_t value)
{
    uint64_t old;
    uint32_t failed;
    do
        asm volatile("ldxr %0, [%2]\n\tstxr %w1, %3, [%2]"
                     : "=&r"(old), "=&r"(failed)
                     : "r"(target), "r"(value)
                     : "memory");
    while (failed);
}

static void store_release_exclusive(uint64_t value)
{
    uint64_t old;
    uint32_t failed;
    do
        asm volatile("ldaxr %0, [%2]\n\tstlxr %w1, %3, [%2]"
                     : "=&r"(old), "=&r"(failed)
                     : "r"(target), "r"(value)
                     : "memory");
    while (failed);
}

static void store_pair(uint64_t value)
{
    uint64_t old, other;
    uint32_t failed;
    do
        asm volatile("ldxp %0, %1, [%3]\n\tstxp %w2, %4, %1, [%3]"
                     : "=&r"(old), "=&r"(other), "=&r"(failed)
                     : "r"(target), "r"(value)
                     : "memory");
    while (failed);
}

static void change(unsigned kind, uint64_t from, uint64_t to)
{
    uint64_t scratch = from;
    switch (kind) {
    case BY_EXCLUSIVE: store_exclusive(to); break;
    case BY_RELEASE: store_release_exclusive(to); break;
    case BY_CAS:
        asm volatile("cas %0, %1, [%2]" : "+&r"(scratch) : "r"(to), "r"(target) : "memory");
        CHECK_EQ(scratch, from);
        break;
    case BY_SWAP:
        asm volatile("swp %1, %0, [%2]" : "=&r"(scratch) : "r"(to), "r"(target) : "memory");
        CHECK_EQ(scratch, from);
        break;
    case BY_ADD:
        asm volatile("ldadd %1, %0, [%2]"
                     : "=&r"(scratch)
                     : "r"(to - from), "r"(target)
                     : "memory");
        CHECK_EQ(scratch, from);
        break;
    case BY_PAIR: store_pair(to); break;
    default: break;
    }
}

/* Status of a store-exclusive with the other vCPU's round between it and the load. */
static uint32_t interrupted(uint64_t round)
{
    uint64_t value, seen;
    uint32_t status;
    asm volatile("ldxr %0, [%3]\n\t"
                 "stlr %6, [%4]\n" /* a store to another granule */
                 "1:\tyield\n\t"
                 "ldar %1, [%5]\n\t"
                 "cmp %1, %6\n\t"
                 "b.lo 1b\n\t"
                 "stxr %w2, %0, [%3]"
                 : "=&r"(value), "=&r"(seen), "=&r"(status)
                 : "r"(target), "r"(&asked), "r"(&done), "r"(round)
                 : "memory", "cc");
    CHECK_EQ(value, 7);
    return status;
}

#define ROUNDS 100u

void guest_main(unsigned cpu)
{
    if (cpu == 0) {
        target[0] = 7;
        start_cpu(1);
    }
    for (uint64_t round = 1; round <= ROUNDS * KINDS; round++) {
        const unsigned kind = round % KINDS;
        if (cpu == 0) {
            CHECK_EQ(interrupted(round), kind != NOBODY);
        } else {
            wait_for(&asked, round);
            change(kind, 7, 8);
            change(kind, 8, 7);
            store_release(&done, round);
        }
    }
}
