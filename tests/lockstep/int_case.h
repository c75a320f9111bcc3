/* SPDX-License-Identifier: MIT */
/*
 * Test cases for integer, branch and load/store instructions, as the oracle (int_oracle.c, which
 * executes them) and the checker (int_check.c, which interprets them) both derive them: a case is
 * an instruction word and a number, and from those come all registers and the memory. Both sides
 * reduce the state afterwards to a hash, or to 0 when the instruction raised an exception.
 */
#ifndef PV_TESTS_LOCKSTEP_INT_CASE_H
#define PV_TESTS_LOCKSTEP_INT_CASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define INT_CASE_MEMORY 0x10000000u /* where the guest sees state->memory */
#define INT_CASE_SIZE   4096u
#define INT_CASE_CODE   0x20000000u
#define INT_CASE_PC     (INT_CASE_CODE + 0x800) /* where the instruction is */
#define INT_CASE_TAKEN  (INT_CASE_PC + 8)       /* where a branch may go */

/* The layout is known to the assembly in int_oracle.c. */
struct int_state {
    uint64_t x[31];
    uint64_t sp;   /* 248 */
    uint64_t nzcv; /* 256 */
    uint64_t taken;
    uint64_t v[32][2]; /* 272 */
    uint8_t memory[INT_CASE_SIZE];
};

static inline uint64_t int_random(uint64_t *seed)
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Any number, or one at an edge of a range, or a small one of either sign. */
static inline uint64_t int_random_value(uint64_t *seed)
{
    static const uint64_t edges[] = {
        0,          1,          0x7f,       0x80,        0x7fff,    0x8000,
        0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, INT64_MAX, (uint64_t)INT64_MAX + 1,
        UINT64_MAX,
    };
    const uint64_t r = int_random(seed), pick = int_random(seed);
    switch (r & 3) {
    case 0: return edges[pick % (sizeof(edges) / sizeof(edges[0]))];
    case 1: return r & 4 ? pick % 100 : -(pick % 100);
    default: return pick >> (r & 4 ? r >> 8 & 63 : 0);
    }
}

/* Loads and stores (Arm ARM C4.1): bit 27 set, bit 25 clear. */
static inline bool int_case_uses_memory(uint32_t word)
{
    return (word & 0x0a000000) == 0x08000000;
}

/* BR, BLR, RET. */
static inline bool int_case_branches_to_register(uint32_t word)
{
    return word >> 25 == 0x6b;
}

static inline void int_case_make(struct int_state *state, uint32_t word, uint32_t number)
{
    uint64_t seed = (uint64_t)number << 32 | word;
    uint64_t *const rn = (word >> 5 & 31) == 31 ? &state->sp : &state->x[word >> 5 & 31];
    for (unsigned i = 0; i < 31; i++)
        state->x[i] = int_random_value(&seed);
    state->sp = int_random_value(&seed);
    state->nzcv = int_random(&seed) & 0xf0000000;
    state->taken = 0;
    memset(state->v, 0, sizeof(state->v));
    if (int_case_branches_to_register(word))
        *rn = INT_CASE_TAKEN;
    if (!int_case_uses_memory(word))
        return;
    for (unsigned i = 0; i < 64; i++)
        state->v[i / 2][i & 1] = int_random(&seed);
    for (unsigned i = 0; i < INT_CASE_SIZE; i += 8) {
        uint64_t value = int_random_value(&seed);
        memcpy(state->memory + i, &value, 8);
    }
    /* A register offset stays inside the memory; exclusives and atomics must be aligned. */
    const bool register_offset = (word & 0x3b200c00) == 0x38200800;
    const bool aligned = (word & 0x3b000000) == 0x08000000 || (word & 0x3b200c00) == 0x38200000 ||
                         (word >> 5 & 31) == 31;
    if (register_offset && (word >> 16 & 31) != 31)
        state->x[word >> 16 & 31] = int_random(&seed) % 64;
    *rn = INT_CASE_MEMORY + 1536 + int_random(&seed) % 1024;
    if (aligned)
        *rn &= ~UINT64_C(15);
}

/* Compare-and-swap finds what it looks for in every other case: called after int_case_make(). */
static inline void int_case_match(struct int_state *state, uint32_t word, uint32_t number)
{
    if ((word & 0x3fa07c00) != 0x08a07c00 || !(number & 1) || (word >> 16 & 31) == 31)
        return;
    uint64_t base = (word >> 5 & 31) == 31 ? state->sp : state->x[word >> 5 & 31];
    if (base - INT_CASE_MEMORY <= INT_CASE_SIZE - 8)
        memcpy(&state->x[word >> 16 & 31], state->memory + (base - INT_CASE_MEMORY), 8);
}

static inline uint64_t int_case_hash(const struct int_state *state, uint32_t word)
{
    uint64_t hash = 1, value;
    const size_t size = int_case_uses_memory(word) ? sizeof(*state) : offsetof(struct int_state, v);
    for (size_t at = 0; at < size; at += 8) {
        memcpy(&value, (const char *)state + at, 8);
        hash = (hash ^ value) * UINT64_C(0xff51afd7ed558ccd);
        hash ^= hash >> 32;
    }
    return hash ? hash : 1;
}

#endif
