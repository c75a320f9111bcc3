/* SPDX-License-Identifier: MIT */
/*
 * Test cases for one instruction or a few in a row, as an oracle (oracle.c on ARM64, vixl.cc) and
 * the checker (check.c, our engines) both derive them: a case is instruction words, a kind of
 * operands and a number, and from those come all registers and the memory. Everyone reduces the
 * state afterwards to a hash, or to 0 when the instruction raised an exception; only hashes travel.
 *
 * Included by C and C++.
 */
#ifndef PV_TESTS_LOCKSTEP_CASE_H
#define PV_TESTS_LOCKSTEP_CASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#define CASE_MEMORY      0x10000000u /* state->memory, as the instruction sees it */
#define CASE_MEMORY_SIZE 4096u
#define CASE_CODE        0x10080000u
#define CASE_WORDS       8u
#define CASE_PC          (CASE_CODE + 0x800) /* the words; NOPs for those that are not used */
#define CASE_NEXT        (CASE_PC + 4 * CASE_WORDS) /* what they fall to */
#define CASE_TAKEN       (CASE_PC + 64)             /* where a branch may go */
#define CASE_NOP         0xd503201fu

/* What the SIMD registers hold. */
enum case_kind {
    CASE_LANES, /* integers of any lane size */
    CASE_HALF,
    CASE_SINGLE,
    CASE_DOUBLE,
    CASE_KIND_MASK = 15,
    CASE_PLAIN_FP = 16,   /* or-ed in: FPCR is 0, and FPSR is not compared */
    CASE_USUAL_FPCR = 32, /* or-ed in: FPCR is 0, as in most programs; translators know it */
};

/*
 * What programs read from standard input. Only a word that is alone may access memory or branch.
 */
struct case_request {
    uint32_t kind;
    uint32_t word[CASE_WORDS]; /* CASE_NOP behind the last */
};

/* The layout is known to the assembly in oracle.c and to lockstep.py. */
struct case_state {
    uint64_t x[31];
    uint64_t sp;    /* 248 */
    uint64_t nzcv;  /* 256 */
    uint64_t fpcr;  /* 264 */
    uint64_t fpsr;  /* 272 */
    uint64_t taken; /* 280 */
    uint64_t v[32][2];
    uint8_t memory[CASE_MEMORY_SIZE];
};

/* ---- Random values ---- */

static inline uint64_t case_random(uint64_t *seed) /* splitmix64 */
{
    uint64_t z = *seed += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

/* Any number, or one at an edge of a range, or a small one of either sign. */
static inline uint64_t case_random_value(uint64_t *seed)
{
    static const uint64_t edges[] = {
        0,          1,          0x7f,       0x80,        0x7fff,    0x8000,
        0x7fffffff, 0x80000000, 0xffffffff, 0x100000000, INT64_MAX, (uint64_t)INT64_MAX + 1,
        UINT64_MAX,
    };
    const uint64_t r = case_random(seed), pick = case_random(seed);
    switch (r & 3) {
    case 0: return edges[pick % (sizeof(edges) / sizeof(edges[0]))];
    case 1: return r & 4 ? pick % 100 : -(pick % 100);
    default: return pick >> (r & 4 ? r >> 8 & 63 : 0);
    }
}

/* A doubleword of random bits, or of lanes at the edges of their range, or of small numbers. */
static inline uint64_t case_random_lanes(uint64_t *seed)
{
    const uint64_t r = case_random(seed);
    const unsigned bits = 8u << (r >> 3 & 3);
    uint64_t value = 0;
    if ((r & 7) < 3)
        return case_random(seed);
    for (unsigned at = 0; at < 64; at += bits) {
        const uint64_t pick = case_random(seed), top = UINT64_C(1) << (bits - 1);
        const uint64_t edge[] = {0, 1, top - 1, top, top + 1, 2 * top - 1};
        const uint64_t small = pick >> 8 & 0xff;
        const uint64_t lane = (r & 7) < 6 ? edge[pick % 6] : pick & 1 ? small % 80 : -(small % 80);
        value |= (bits == 64 ? lane : lane & (2 * top - 1)) << at;
    }
    return value;
}

/* Of a format (CASE_HALF...): zeros, denormals, the exponent's ends, infinities, NaNs, others. */
static inline uint64_t case_random_float(uint64_t *seed, unsigned format)
{
    static const uint8_t frac_bits[] = {0, 10, 23, 52};
    const unsigned frac = frac_bits[format], exp = (8u << format) - 1 - frac;
    const uint64_t max = (UINT64_C(1) << exp) - 1, r = case_random(seed);
    uint64_t e = case_random(seed) & max, f = case_random(seed) & ((UINT64_C(1) << frac) - 1);
    switch (r & 7) {
    case 0: e = 0; break;
    case 1: e = max; break;
    case 2: e = r >> 8 & 1 ? max - 1 : 1; break;
    case 3:
    case 4: e = ((max >> 1) + (r >> 8 & 63) - 32) & max; break;
    default: break;
    }
    switch (r >> 16 & 7) {
    case 0: f = 0; break;
    case 1: f = UINT64_C(1) << (r >> 24) % frac; break;
    case 2: f = (UINT64_C(1) << frac) - 1; break;
    case 3: f &= UINT64_MAX << (r >> 24) % frac; break;
    default: break;
    }
    return (r >> 63) << (frac + exp) | e << frac | f;
}

/* ---- What a word uses (Arm ARM C4.1) ---- */

static inline bool case_uses_memory(uint32_t word)
{
    return (word & 0x0a000000) == 0x08000000;
}

static inline bool case_uses_vectors(uint32_t word)
{
    return (word & 0x0e000000) == 0x0e000000 || (word & 0x0e000000) == 0x0c000000;
}

/* BR, BLR, RET. */
static inline bool case_branches_to_register(uint32_t word)
{
    return word >> 25 == 0x6b;
}

/* Exclusives, ordered and atomic accesses: they must be aligned. */
static inline bool case_wants_alignment(uint32_t word)
{
    return (word & 0x3f000000) == 0x08000000 || (word & 0x3f200c00) == 0x38200000 ||
           (word >> 5 & 31) == 31;
}

/* ---- The case ---- */

static inline void case_make_vectors(struct case_state *state, uint32_t word, unsigned format,
                                     uint64_t *seed)
{
    const unsigned rn = word >> 5 & 31, rm = word >> 16 & 31;
    if (format == CASE_LANES) {
        for (unsigned i = 0; i < 64; i++)
            state->v[i / 2][i & 1] = case_random_lanes(seed);
        return;
    }
    const unsigned width = 8u << format;
    for (unsigned i = 0; i < 32; i++)
        for (unsigned at = 0; at < 128; at += width)
            state->v[i][at / 64] |= case_random_float(seed, format) << at % 64;
    const uint64_t r = case_random(seed);
    if (r & 1) { /* Vm is Vn or nearly, with some of the signs turned: sums cancel */
        const uint64_t low = ~UINT64_C(0) / (UINT64_MAX >> (64 - width)), sign = low << (width - 1);
        for (unsigned i = 0; i < 2; i++)
            state->v[rm][i] = state->v[rn][i] ^ (case_random(seed) & sign) ^
                              (r & 2 ? case_random(seed) & low : 0);
    }
}

/* Sets FPCR's RMode, FZ, DN, AHP and FZ16; FPSR has QC and IXC in half of the cases. */
static inline void case_make_modes(struct case_state *state, uint64_t r)
{
    state->fpcr = (r & 15) << 22 | (r >> 4 & 3 ? 0 : UINT64_C(1) << 26) | (r >> 6 & 1) << 19;
    state->fpsr = (r >> 7 & 1) << 4 | (r >> 8 & 1) << 27;
}

static inline void case_make_memory(struct case_state *state, uint32_t word, uint64_t *base,
                                    uint64_t *seed)
{
    for (unsigned i = 0; i < CASE_MEMORY_SIZE; i += 8) {
        const uint64_t value = case_random_value(seed);
        memcpy(state->memory + i, &value, 8);
    }
    /* A register offset stays inside the memory. */
    if ((word & 0x3b200c00) == 0x38200800 && (word >> 16 & 31) != 31)
        state->x[word >> 16 & 31] = case_random(seed) % 64;
    *base = CASE_MEMORY + 1536 + case_random(seed) % 1024;
    if (case_wants_alignment(word))
        *base &= ~UINT64_C(15);
}

/* Compare-and-swap finds what it looks for in every other case. */
static inline void case_match(struct case_state *state, uint32_t word, uint32_t number,
                              uint64_t base)
{
    if ((word & 0x3fa07c00) == 0x08a07c00 && (number & 1) && (word >> 16 & 31) != 31 &&
        base - CASE_MEMORY <= CASE_MEMORY_SIZE - 8)
        memcpy(&state->x[word >> 16 & 31], state->memory + (base - CASE_MEMORY), 8);
}

static inline bool case_has_vectors(const struct case_request *request)
{
    for (unsigned i = 0; i < CASE_WORDS; i++)
        if (case_uses_vectors(request->word[i]))
            return true;
    return false;
}

static inline void case_make(struct case_state *state, const struct case_request *request,
                             uint32_t number)
{
    const uint32_t word = request->word[0], kind = request->kind;
    uint64_t seed = (uint64_t)number << 32 | word;
    uint64_t *const rn = (word >> 5 & 31) == 31 ? &state->sp : &state->x[word >> 5 & 31];
    for (unsigned i = 0; i < 31; i++)
        state->x[i] = case_random_value(&seed);
    state->sp = case_random_value(&seed);
    state->nzcv = case_random(&seed) & 0xf0000000;
    state->taken = 0;
    case_make_modes(state, kind & CASE_PLAIN_FP ? 0x30 : case_random(&seed));
    if (kind & CASE_USUAL_FPCR)
        state->fpcr = 0;
    memset(state->v, 0, sizeof(state->v));
    if (case_has_vectors(request))
        case_make_vectors(state, word, kind & CASE_KIND_MASK, &seed);
    if (case_branches_to_register(word))
        *rn = CASE_TAKEN;
    if (case_uses_memory(word)) {
        case_make_memory(state, word, rn, &seed);
        case_match(state, word, number, *rn);
    }
}

/* What the instructions do not use is not looked at: it costs more than they do. */
static inline uint64_t case_hash(const struct case_state *state, const struct case_request *request)
{
    uint64_t hash = 1, value;
    const size_t size = case_uses_memory(request->word[0]) ? sizeof(*state)
                        : case_has_vectors(request)        ? offsetof(struct case_state, memory)
                                                           : offsetof(struct case_state, v);
    for (size_t at = 0; at < size; at += 8) {
        memcpy(&value, (const char *)state + at, 8);
        hash = (hash ^ value) * UINT64_C(0xff51afd7ed558ccd);
        hash ^= hash >> 32;
    }
    return hash ? hash : 1;
}

#endif
