/* SPDX-License-Identifier: MIT */
/* The cryptographic instructions, put together to what FIPS 197 and FIPS 180-4 give vectors for. */
#include "engine/interp/handlers.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static struct cpu cpu;

static void execute(uint32_t word)
{
    struct a64_insn insn;
    a64_decode(word, &insn);
    assert_int_not_equal(insn.op, A64_UNDEFINED);
    interp_handlers[insn.op](&cpu, &insn);
}

/* FIPS 197, appendix A.1 (the schedule's words) and B: one block of AES-128. */
static const uint32_t aes_schedule[44] = {
    0x2b7e1516, 0x28aed2a6, 0xabf71588, 0x09cf4f3c, 0xa0fafe17, 0x88542cb1, 0x23a33939, 0x2a6c7605,
    0xf2c295f2, 0x7a96b943, 0x5935807a, 0x7359f67f, 0x3d80477d, 0x4716fe3e, 0x1e237e44, 0x6d7a883b,
    0xef44a541, 0xa8525b7f, 0xb671253b, 0xdb0bad00, 0xd4d1c6f8, 0x7c839d87, 0xcaf2b8bc, 0x11f915bc,
    0x6d88a37a, 0x110b3efd, 0xdbf98641, 0xca0093fd, 0x4e54f70e, 0x5f5fc9f3, 0x84a64fb2, 0x4ea6dc4f,
    0xead27321, 0xb58dbad2, 0x312bf560, 0x7f8d292f, 0xac7766f3, 0x19fadc21, 0x28d12941, 0x575c006e,
    0xd014f9a8, 0xc9ee2589, 0xe13f0cc8, 0xb6630ca6,
};
static const uint8_t aes_plain[16] = {0x32, 0x43, 0xf6, 0xa8, 0x88, 0x5a, 0x30, 0x8d,
                                      0x31, 0x31, 0x98, 0xa2, 0xe0, 0x37, 0x07, 0x34};
static const uint8_t aes_cipher[16] = {0x39, 0x25, 0x84, 0x1d, 0x02, 0xdc, 0x09, 0xfb,
                                       0xdc, 0x11, 0x85, 0x97, 0x19, 0x6a, 0x0b, 0x32};

static union cpu_vreg round_key(unsigned round)
{
    union cpu_vreg key;
    for (unsigned i = 0; i < 4; i++)
        key.s[i] = __builtin_bswap32(aes_schedule[4 * round + i]);
    return key;
}

static void add_key(const union cpu_vreg key)
{
    cpu.v[0].d[0] ^= key.d[0];
    cpu.v[0].d[1] ^= key.d[1];
}

static void aes_encrypts_the_fips_block(void **state)
{
    memcpy(&cpu.v[0], aes_plain, 16);
    for (unsigned round = 0; round < 10; round++) {
        cpu.v[1] = round_key(round);
        execute(0x4e284820); /* AESE v0, v1 */
        if (round < 9)
            execute(0x4e286800); /* AESMC v0, v0 */
    }
    add_key(round_key(10));
    assert_memory_equal(&cpu.v[0], aes_cipher, 16);
}

static void aes_decrypts_the_fips_block(void **state)
{
    memcpy(&cpu.v[0], aes_cipher, 16);
    for (unsigned round = 10; round > 0; round--) {
        cpu.v[1] = round_key(round);
        if (round < 10)          /* the equivalent inverse cipher's schedule: FIPS 197, 5.3.5 */
            execute(0x4e287821); /* AESIMC v1, v1 */
        execute(0x4e285820);     /* AESD v0, v1 */
        if (round > 1)
            execute(0x4e287800); /* AESIMC v0, v0 */
    }
    add_key(round_key(0));
    assert_memory_equal(&cpu.v[0], aes_plain, 16);
}

/* The padded one-block message "abc" (FIPS 180-4, 5.1.1), as four vectors of schedule words. */
static void load_abc(union cpu_vreg w[4])
{
    memset(w, 0, 4 * sizeof(*w));
    w[0].s[0] = 0x61626380;
    w[3].s[3] = 24;
}

static const uint32_t sha256_k[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2,
};

static void sha256_of_abc(void **state)
{
    static const uint32_t initial[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                        0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
    static const uint32_t digest[8] = {0xba7816bf, 0x8f01cfea, 0x414140de, 0x5dae2223,
                                       0xb00361a3, 0x96177a9c, 0xb410ff61, 0xf20015ad};
    union cpu_vreg w[4];
    load_abc(w);
    memcpy(&cpu.v[0], initial, 32); /* v0 = abcd, v1 = efgh */
    for (unsigned step = 0; step < 16; step++) {
        for (unsigned i = 0; i < 4; i++)
            cpu.v[2].s[i] = w[step % 4].s[i] + sha256_k[4 * step + i];
        cpu.v[3] = cpu.v[0];
        execute(0x5e024020); /* SHA256H q0, q1, v2 */
        execute(0x5e025061); /* SHA256H2 q1, q3, v2 */
        cpu.v[4] = w[step % 4];
        cpu.v[5] = w[(step + 1) % 4];
        cpu.v[6] = w[(step + 2) % 4];
        cpu.v[7] = w[(step + 3) % 4];
        execute(0x5e2828a4); /* SHA256SU0 v4, v5 */
        execute(0x5e0760c4); /* SHA256SU1 v4, v6, v7 */
        w[step % 4] = cpu.v[4];
    }
    for (unsigned i = 0; i < 8; i++)
        assert_int_equal(cpu.v[i / 4].s[i % 4] + initial[i], digest[i]);
}

static void sha1_of_abc(void **state)
{
    static const uint32_t initial[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    static const uint32_t digest[5] = {0xa9993e36, 0x4706816a, 0xba3e2571, 0x7850c26c, 0x9cd0d89d};
    static const uint32_t k[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    /* SHA1C, SHA1P, SHA1M, SHA1P q0, s1, v2 */
    static const uint32_t rounds[4] = {0x5e020020, 0x5e021020, 0x5e022020, 0x5e021020};
    union cpu_vreg w[4];
    load_abc(w);
    memcpy(&cpu.v[0], initial, 16);
    cpu.v[1] = (union cpu_vreg){.s = {initial[4]}};
    for (unsigned step = 0; step < 20; step++) {
        for (unsigned i = 0; i < 4; i++)
            cpu.v[2].s[i] = w[step % 4].s[i] + k[step / 5];
        cpu.v[3] = cpu.v[0];
        execute(rounds[step / 5]);
        execute(0x5e280861); /* SHA1H s1, s3 */
        cpu.v[4] = w[step % 4];
        cpu.v[5] = w[(step + 1) % 4];
        cpu.v[6] = w[(step + 2) % 4];
        cpu.v[7] = w[(step + 3) % 4];
        execute(0x5e0630a4); /* SHA1SU0 v4, v5, v6 */
        execute(0x5e2818e4); /* SHA1SU1 v4, v7 */
        w[step % 4] = cpu.v[4];
    }
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(cpu.v[0].s[i] + initial[i], digest[i]);
    assert_int_equal(cpu.v[1].s[0] + initial[4], digest[4]);
}

static void pmull_multiplies_polynomials(void **state)
{
    /* (x^63 + 1)(x^63 + x) = x^126 + x^64 + x^63 + x */
    cpu.v[1].d[0] = UINT64_C(1) << 63 | 1;
    cpu.v[2].d[0] = UINT64_C(1) << 63 | 2;
    execute(0x0ee2e020); /* PMULL v0.1q, v1.1d, v2.1d */
    assert_int_equal(cpu.v[0].d[1], UINT64_C(1) << 62 | 1);
    assert_int_equal(cpu.v[0].d[0], UINT64_C(1) << 63 | 2);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(aes_encrypts_the_fips_block),
        cmocka_unit_test(aes_decrypts_the_fips_block),
        cmocka_unit_test(sha256_of_abc),
        cmocka_unit_test(sha1_of_abc),
        cmocka_unit_test(pmull_multiplies_polynomials),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
