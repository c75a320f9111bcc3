/* SPDX-License-Identifier: MIT */
/*
 * Small programs that each stress one thing a CPU engine does. The same source runs natively and
 * as a guest's init. A program does its work once, returns how many units that was, and leaves
 * something in `result` that depends on all of it: a guest's figure counts only if its result is
 * the same under every engine.
 */
#ifndef BENCH_CPU_SUITE_H
#define BENCH_CPU_SUITE_H

#include <stddef.h>
#include <stdint.h>

struct bench {
    const char *name;
    double (*run)(void);
};

/* Each table ends with a nameless row. */
extern const struct bench integer_benches[];
extern const struct bench memory_benches[];
extern const struct bench float_benches[];
extern const struct bench vector_benches[];
extern const struct bench crypto_benches[];
extern const struct bench pack_benches[];
extern const struct bench script_benches[];
extern const struct bench kernel_benches[];
extern const struct bench thread_benches[];

extern uint64_t result;

/* How the running program was started, for those that start it again. */
extern const char *own_path;
#define OWN_EXIT "--exit"

/* The compiler must take the memory behind p for read and written. */
static inline void touched(const void *p)
{
    __asm__ volatile("" ::"r"(p) : "memory");
}

static inline uint64_t mix(uint64_t sum, uint64_t value)
{
    sum = (sum ^ value) * 0x9e3779b97f4a7c15u;
    return sum ^ sum >> 29;
}

/* Of `size` bytes, all of which count. */
uint64_t digest(const void *data, size_t size);

/* Pseudo-random bytes, the same ones everywhere. */
void fill(void *data, size_t size, uint64_t seed);

#endif
