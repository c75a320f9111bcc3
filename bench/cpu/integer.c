/* SPDX-License-Identifier: MIT */
/* Integer arithmetic, branches and calls. */
#include <stdlib.h>
#include <string.h>

#include "suite.h"

static double xorshift(void)
{
    uint64_t x = 88172645463325252u;
    for (unsigned i = 0; i < 10000000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    result = x;
    return 10000000;
}

static double sieve(void)
{
    static uint8_t composite[1000000];
    uint64_t primes = 0;
    memset(composite, 0, sizeof(composite));
    for (unsigned i = 2; i < sizeof(composite); i++) {
        if (composite[i])
            continue;
        primes++;
        for (unsigned j = 2 * i; j < sizeof(composite); j += i)
            composite[j] = 1;
    }
    result = primes;
    return sizeof(composite);
}

__attribute__((noinline)) static unsigned fib(unsigned n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static double calls(void)
{
    result = fib(30);
    return 2692537; /* calls of fib(30): 2 fib(31) - 1 */
}

/* Calls through tables of functions, as of objects with virtual functions. */
struct shape {
    uint64_t (*area)(const struct shape *shape);
    uint64_t a, b;
};

__attribute__((noinline)) static uint64_t rectangle(const struct shape *shape)
{
    return shape->a * shape->b;
}

__attribute__((noinline)) static uint64_t triangle(const struct shape *shape)
{
    return shape->a * shape->b / 2;
}

__attribute__((noinline)) static uint64_t frame(const struct shape *shape)
{
    const struct shape hole = {rectangle, shape->a - 1, shape->b - 1};
    return rectangle(shape) - hole.area(&hole);
}

static double virtual_calls(void)
{
    static struct shape shapes[1024];
    uint64_t sum = 0;
    for (unsigned i = 0; i < 1024; i++) {
        unsigned kind = i * 2654435761u >> 30;
        shapes[i] = (struct shape){kind == 0   ? triangle
                                   : kind == 1 ? frame
                                               : rectangle,
                                   i + 1, i % 7 + 1};
    }
    touched(shapes);
    for (unsigned round = 0; round < 2000; round++)
        for (unsigned i = 0; i < 1024; i++)
            sum += shapes[i].area(&shapes[i]);
    result = sum;
    return 2000 * 1024;
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double sort(void)
{
    static uint32_t numbers[100000];
    uint32_t seed = 1;
    for (unsigned i = 0; i < 100000; i++)
        numbers[i] = seed = seed * 1664525 + 1013904223;
    qsort(numbers, 100000, sizeof(numbers[0]), ascending);
    result = numbers[500];
    return 100000;
}

/* A byte-code machine by computed goto: indirect branches. */
static double threaded_code(void)
{
    static const uint8_t program[] = {0, 1, 2, 0, 3, 1, 2, 4};
    static const void *const ops[] = {&&add, &&xor, &&shift, &&sub, &&loop};
    uint64_t a = 1, count = 1000000;
    const uint8_t *pc = program;
#define NEXT goto *ops[*pc++]
    NEXT;
add:
    a += 12345;
    NEXT;
    xor : a ^= a >> 3;
    NEXT;
shift:
    a = a << 1 | 1;
    NEXT;
sub:
    a -= 77;
    NEXT;
loop:
    pc = program;
    if (--count)
        NEXT;
    result = a;
    return 8000000;
}

static uint32_t rotated(uint32_t x, unsigned count)
{
    return x >> count | x << (32 - count);
}

/* FIPS 180-4, 6.2.2, in plain C. The constants are as good as any for this. */
static void sha256_block(uint32_t state[8], const uint32_t *block, const uint32_t *k)
{
    uint32_t w[64], v[8];
    memcpy(w, block, 64);
    memcpy(v, state, 32);
    for (unsigned i = 16; i < 64; i++) {
        uint32_t x = w[i - 15], y = w[i - 2];
        w[i] = w[i - 16] + (rotated(x, 7) ^ rotated(x, 18) ^ x >> 3) + w[i - 7] +
               (rotated(y, 17) ^ rotated(y, 19) ^ y >> 10);
    }
    for (unsigned i = 0; i < 64; i++) {
        uint32_t e = v[4], a = v[0];
        uint32_t t1 = v[7] + (rotated(e, 6) ^ rotated(e, 11) ^ rotated(e, 25)) +
                      ((e & v[5]) ^ (~e & v[6])) + k[i] + w[i];
        uint32_t t2 = (rotated(a, 2) ^ rotated(a, 13) ^ rotated(a, 22)) +
                      ((a & v[1]) ^ (a & v[2]) ^ (v[1] & v[2]));
        memmove(v + 1, v, 28);
        v[4] += t1;
        v[0] = t1 + t2;
    }
    for (unsigned i = 0; i < 8; i++)
        state[i] += v[i];
}

static double sha256_plain(void)
{
    static uint32_t data[4096], k[64];
    uint32_t state[8] = {1, 2, 3, 4, 5, 6, 7, 8};
    fill(data, sizeof(data), 1);
    fill(k, sizeof(k), 2);
    for (unsigned round = 0; round < 16; round++)
        for (unsigned i = 0; i < 4096; i += 16)
            sha256_block(state, data + i, k);
    result = digest(state, sizeof(state));
    return 16.0 * sizeof(data);
}

const struct bench integer_benches[] = {
    {"xorshift", xorshift},          {"sieve", sieve}, {"call", calls},
    {"call-virtual", virtual_calls}, {"qsort", sort},  {"threaded-code", threaded_code},
    {"sha256-plain", sha256_plain},  {NULL, NULL},
};
