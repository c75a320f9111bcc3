/* SPDX-License-Identifier: MIT */
/*
 * Test cases for Advanced SIMD instructions, as the oracle (simd_oracle.c, which executes them) and
 * the checker (simd_check.c, which interprets them) both derive them: a case is an instruction word
 * and a number, from which come all registers and the memory it may touch. Both sides reduce the
 * state afterwards to a hash, or to 0 when the word is UNDEFINED.
 */
#ifndef PV_TESTS_LOCKSTEP_SIMD_CASE_H
#define PV_TESTS_LOCKSTEP_SIMD_CASE_H

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#define SIMD_CASE_MEMORY 0x10000000u /* where the guest sees state->memory */

/* The layout is known to the assembly in simd_oracle.c. */
struct simd_state {
    uint64_t v[32][2];
    uint64_t x[16];
    uint64_t fpsr;
    uint8_t memory[512];
};

static inline uint64_t simd_random(uint64_t *seed)
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* A doubleword of random bits, or of lanes at the edges of their range, or of small numbers. */
static inline uint64_t simd_random_lanes(uint64_t *seed)
{
    const uint64_t r = simd_random(seed);
    const unsigned bits = 8u << (r >> 3 & 3);
    uint64_t value = 0;
    if ((r & 7) < 3)
        return simd_random(seed);
    for (unsigned at = 0; at < 64; at += bits) {
        const uint64_t pick = simd_random(seed), top = UINT64_C(1) << (bits - 1);
        const uint64_t edge[] = {0, 1, top - 1, top, top + 1, 2 * top - 1};
        const uint64_t small = pick >> 8 & 0xff;
        const uint64_t lane = (r & 7) < 6 ? edge[pick % 6] : pick & 1 ? small % 80 : -(small % 80);
        value |= (bits == 64 ? lane : lane & (2 * top - 1)) << at;
    }
    return value;
}

static inline bool simd_case_uses_memory(uint32_t word)
{
    return (word & 0xbe000000) == 0x0c000000;
}

static inline void simd_case_make(struct simd_state *state, uint32_t word, uint32_t number)
{
    uint64_t seed = (uint64_t)number << 32 | word;
    memset(state, 0, sizeof(*state));
    for (unsigned i = 0; i < 64; i++)
        state->v[i / 2][i & 1] = simd_random_lanes(&seed);
    for (unsigned i = 0; i < 16; i++)
        state->x[i] = simd_random(&seed);
    if (!simd_case_uses_memory(word))
        return;
    for (unsigned i = 0; i < sizeof(state->memory); i++)
        state->memory[i] = (uint8_t)simd_random(&seed);
    state->x[word >> 5 & 15] = SIMD_CASE_MEMORY + simd_random(&seed) % 256;
}

static inline uint64_t simd_case_hash(const struct simd_state *state)
{
    uint64_t words[sizeof(*state) / 8], hash = 1;
    memcpy(words, state, sizeof(words));
    for (unsigned i = 0; i < sizeof(words) / 8; i++)
        hash = (hash ^ words[i]) * UINT64_C(0xff51afd7ed558ccd), hash ^= hash >> 32;
    return hash ? hash : 1;
}

#endif
