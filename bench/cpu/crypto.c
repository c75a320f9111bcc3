/* SPDX-License-Identifier: MIT */
/* What cryptographic instructions are for: SHA-256, AES-128 in counter mode with GHASH, CRC. */
#include <string.h>

#include "crypto_host.h"
#include "suite.h"

#define SIZE   16384
#define ROUNDS 10

static uint64_t data[SIZE / 8];

static double sha256(void)
{
    uint32_t state[8] = {1, 2, 3, 4, 5, 6, 7, 8}, k[64];
    fill(data, sizeof(data), 1);
    fill(k, sizeof(k), 2);
    for (unsigned round = 0; round < 32; round++)
        for (unsigned i = 0; i < SIZE / 8; i += 8)
            sha256_block(state, (const uint32_t *)(data + i), k);
    result = digest(state, sizeof(state));
    return 32.0 * SIZE;
}

/* RFC 8452, appendix A: a product of GHASH as one of POLYVAL, whose reduction is two products. */
static block ghash(block sum, block h)
{
    static const uint64_t polynomial[2] = {0xc200000000000000, 0xc200000000000000};
    block p = load(polynomial), swapped = swap_halves(h);
    block low = multiply_low(sum, h), high = multiply_high(sum, h);
    block middle = exor(multiply_low(sum, swapped), multiply_high(sum, swapped));
    uint64_t parts[2], shifted[4] = {0};
    store(parts, middle);
    shifted[1] = parts[0];
    shifted[2] = parts[1];
    low = exor(low, load(shifted));
    high = exor(high, load(shifted + 2));
    low = exor(swap_halves(low), multiply_low(low, p));
    low = exor(swap_halves(low), multiply_low(low, p));
    return exor(high, low);
}

/* Four counters at a time, as libraries do it; round keys are given. */
static double aes_gcm(void)
{
    static uint8_t keys[ROUNDS + 1][16], text[SIZE];
    uint64_t counter[2] = {0};
    block sum = zero(), h, key[ROUNDS + 1];
    fill(text, sizeof(text), 1);
    fill(keys, sizeof(keys), 2);
    for (unsigned i = 0; i <= ROUNDS; i++)
        key[i] = load(keys[i]);
    h = key[3];
    for (unsigned round = 0; round < 32; round++) {
        for (unsigned i = 0; i < SIZE; i += 64) {
            block state[4];
            for (unsigned j = 0; j < 4; j++) {
                counter[0]++;
                state[j] = exor(load(counter), key[0]);
            }
            for (unsigned r = 1; r < ROUNDS; r++)
                for (unsigned j = 0; j < 4; j++)
                    state[j] = aes_round(state[j], key[r]);
            for (unsigned j = 0; j < 4; j++) {
                block out = exor(aes_last(state[j], key[ROUNDS]), load(text + i + 16 * j));
                store(text + i + 16 * j, out);
                sum = ghash(exor(sum, reverse_bytes(out)), h);
            }
        }
    }
    store(counter, sum);
    result = digest(counter, sizeof(counter));
    return 32.0 * SIZE;
}

static double crc32(void)
{
    uint32_t crc = 0;
    fill(data, sizeof(data), 1);
    for (unsigned round = 0; round < 32; round++)
        for (unsigned i = 0; i < SIZE / 8; i++)
            crc = crc32_word(crc, data[i]);
    result = crc;
    return 32.0 * SIZE;
}

static double crc32c(void)
{
    uint32_t crc = 0;
    fill(data, sizeof(data), 1);
    for (unsigned round = 0; round < 64; round++)
        for (unsigned i = 0; i < SIZE / 8; i++)
            crc = crc32c_word(crc, data[i]);
    result = crc;
    return 64.0 * SIZE;
}

const struct bench crypto_benches[] = {
    {"sha256", sha256}, {"aes-gcm", aes_gcm}, {"crc32", crc32}, {"crc32c", crc32c}, {NULL, NULL},
};
