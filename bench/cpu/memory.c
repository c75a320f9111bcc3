/* SPDX-License-Identifier: MIT */
/* Loads and stores: bandwidth, latency, atomics. */
#include <string.h>

#include "suite.h"

/* A few pages apart, as allocations are: not at a distance that makes them compete in any cache. */
#define LARGE (32 << 20)
static uint8_t from[LARGE + 5 * 4096], to[LARGE];

static double copies(size_t size, unsigned count)
{
    if (!from[0])
        memset(from, 1, LARGE);
    for (unsigned i = 0; i < count; i++) {
        memcpy(to, from, size);
        touched(to);
    }
    result = to[size - 1];
    return (double)size * count;
}

static double memcpy_16k(void)
{
    return copies(16384, 10000);
}

static double memcpy_32m(void)
{
    return copies(LARGE, 2);
}

static double text_lengths(void)
{
    static char text[65536];
    uint64_t sum = 0;
    memset(text, 'x', sizeof(text) - 1);
    for (unsigned i = 0; i < 500; i++) {
        touched(text);
        sum += strlen(text + i % 16);
    }
    result = sum;
    return 500.0 * sizeof(text);
}

/* One cycle through all cells of a ring of cache lines, in an order no prefetcher guesses. */
static double chase(size_t bytes)
{
    static struct cell {
        struct cell *next;
        uint64_t rest[7];
    } cells[(64 << 20) / sizeof(struct cell)];
    uint64_t count = bytes / sizeof(struct cell), at = 0, step = 1;
    static size_t made;
    if (made != bytes) {
        for (uint64_t i = 0; i < count; i++) {
            /* A full-period congruential sequence modulo the power of two. */
            uint64_t next = (at * 1664525 + 1013904223) & (count - 1);
            cells[at].next = &cells[next];
            at = next;
        }
        made = bytes;
    }
    struct cell *p = cells;
    for (step = 0; step < 1000000; step++)
        p = p->next;
    result = (uint64_t)(p - cells);
    return 1000000;
}

static double chase_16k(void)
{
    return chase(16 << 10);
}

static double chase_1m(void)
{
    return chase(1 << 20);
}

static double chase_64m(void)
{
    return chase(64 << 20);
}

static double atomic_add(void)
{
    static uint64_t counter;
    for (unsigned i = 0; i < 1000000; i++)
        __atomic_fetch_add(&counter, 1, __ATOMIC_SEQ_CST);
    return 1000000;
}

const struct bench memory_benches[] = {
    {"memcpy-16k", memcpy_16k},   {"memcpy-32m", memcpy_32m},
    {"strlen-64k", text_lengths}, {"chase-16k", chase_16k},
    {"chase-1m", chase_1m},       {"chase-64m", chase_64m},
    {"atomic-add", atomic_add},   {NULL, NULL},
};
