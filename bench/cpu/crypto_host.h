/* SPDX-License-Identifier: MIT */
/* The cryptographic instructions of the host: Arm's extensions, or AES-NI, PCLMUL, SHA-NI, SSE4.2.
 */
#ifndef BENCH_CPU_CRYPTO_HOST_H
#define BENCH_CPU_CRYPTO_HOST_H

#include <stdint.h>

#ifdef __aarch64__
#include <arm_acle.h>
#include <arm_neon.h>

typedef uint8x16_t block;

static inline block load(const void *p)
{
    return vld1q_u8(p);
}

static inline void store(void *p, block a)
{
    vst1q_u8(p, a);
}

static inline block zero(void)
{
    return vdupq_n_u8(0);
}

static inline block exor(block a, block b)
{
    return veorq_u8(a, b);
}

/* ShiftRows, SubBytes, MixColumns, then the key, as x86 has it. */
static inline block aes_round(block state, block key)
{
    return veorq_u8(vaesmcq_u8(vaeseq_u8(state, vdupq_n_u8(0))), key);
}

static inline block aes_last(block state, block key)
{
    return veorq_u8(vaeseq_u8(state, vdupq_n_u8(0)), key);
}

static inline block multiply_low(block a, block b)
{
    return vreinterpretq_u8_p128(vmull_p64(vgetq_lane_p64(vreinterpretq_p64_u8(a), 0),
                                           vgetq_lane_p64(vreinterpretq_p64_u8(b), 0)));
}

static inline block multiply_high(block a, block b)
{
    return vreinterpretq_u8_p128(vmull_high_p64(vreinterpretq_p64_u8(a), vreinterpretq_p64_u8(b)));
}

static inline block swap_halves(block a)
{
    return vextq_u8(a, a, 8);
}

static inline block reverse_bytes(block a)
{
    return swap_halves(vrev64q_u8(a));
}

/* One block of SHA-256 (FIPS 180-4, 6.2.2); the message's words are taken as they lie in memory. */
static inline void sha256_block(uint32_t state[8], const uint32_t *data, const uint32_t *k)
{
    uint32x4_t abcd = vld1q_u32(state), efgh = vld1q_u32(state + 4), w[4];
    uint32x4_t old_abcd = abcd, old_efgh = efgh;
    for (unsigned i = 0; i < 4; i++)
        w[i] = vld1q_u32(data + 4 * i);
    for (unsigned i = 0; i < 16; i++) {
        uint32x4_t sum = vaddq_u32(w[i & 3], vld1q_u32(k + 4 * i)), before = abcd;
        abcd = vsha256hq_u32(abcd, efgh, sum);
        efgh = vsha256h2q_u32(efgh, before, sum);
        if (i < 12)
            w[i & 3] = vsha256su1q_u32(vsha256su0q_u32(w[i & 3], w[(i + 1) & 3]), w[(i + 2) & 3],
                                       w[(i + 3) & 3]);
    }
    vst1q_u32(state, vaddq_u32(abcd, old_abcd));
    vst1q_u32(state + 4, vaddq_u32(efgh, old_efgh));
}

static inline uint32_t crc32_word(uint32_t crc, uint64_t word)
{
    return __crc32d(crc, word);
}

static inline uint32_t crc32c_word(uint32_t crc, uint64_t word)
{
    return __crc32cd(crc, word);
}

#else
#include <immintrin.h>

typedef __m128i block;

static inline block load(const void *p)
{
    return _mm_loadu_si128(p);
}

static inline void store(void *p, block a)
{
    _mm_storeu_si128(p, a);
}

static inline block zero(void)
{
    return _mm_setzero_si128();
}

static inline block exor(block a, block b)
{
    return _mm_xor_si128(a, b);
}

static inline block aes_round(block state, block key)
{
    return _mm_aesenc_si128(state, key);
}

static inline block aes_last(block state, block key)
{
    return _mm_aesenclast_si128(state, key);
}

static inline block multiply_low(block a, block b)
{
    return _mm_clmulepi64_si128(a, b, 0x00);
}

static inline block multiply_high(block a, block b)
{
    return _mm_clmulepi64_si128(a, b, 0x11);
}

static inline block swap_halves(block a)
{
    return _mm_shuffle_epi32(a, 0x4e);
}

static inline block reverse_bytes(block a)
{
    return _mm_shuffle_epi8(a, _mm_set_epi64x(0x0001020304050607, 0x08090a0b0c0d0e0f));
}

static inline void sha256_block(uint32_t state[8], const uint32_t *data, const uint32_t *k)
{
    /* The instructions want the state as words f, e, b, a and h, g, d, c. */
    block dcba = _mm_loadu_si128((const block *)state);
    block hgfe = _mm_loadu_si128((const block *)(state + 4)), w[4];
    block feba = _mm_shuffle_epi32(_mm_unpacklo_epi64(dcba, hgfe), 0xb1);
    block hgdc = _mm_shuffle_epi32(_mm_unpackhi_epi64(dcba, hgfe), 0xb1);
    feba = _mm_shuffle_epi32(feba, 0x4e);
    hgdc = _mm_shuffle_epi32(hgdc, 0x4e);
    for (unsigned i = 0; i < 4; i++)
        w[i] = _mm_loadu_si128((const block *)(data + 4 * i));
    block old_feba = feba, old_hgdc = hgdc;
    for (unsigned i = 0; i < 16; i++) {
        block sum = _mm_add_epi32(w[i & 3], _mm_loadu_si128((const block *)(k + 4 * i)));
        hgdc = _mm_sha256rnds2_epu32(hgdc, feba, sum);
        feba = _mm_sha256rnds2_epu32(feba, hgdc, _mm_shuffle_epi32(sum, 0x0e));
        if (i < 12) {
            block next = _mm_sha256msg1_epu32(w[i & 3], w[(i + 1) & 3]);
            next = _mm_add_epi32(next, _mm_alignr_epi8(w[(i + 3) & 3], w[(i + 2) & 3], 4));
            w[i & 3] = _mm_sha256msg2_epu32(next, w[(i + 3) & 3]);
        }
    }
    feba = _mm_add_epi32(feba, old_feba);
    hgdc = _mm_add_epi32(hgdc, old_hgdc);
    feba = _mm_shuffle_epi32(feba, 0x1b);
    hgdc = _mm_shuffle_epi32(hgdc, 0x1b);
    _mm_storeu_si128((block *)state, _mm_unpacklo_epi64(feba, hgdc));
    _mm_storeu_si128((block *)(state + 4), _mm_unpackhi_epi64(feba, hgdc));
}

/* x86 has an instruction for the other polynomial only. */
static inline uint32_t crc32_word(uint32_t crc, uint64_t word)
{
    word ^= crc;
    for (unsigned i = 0; i < 64; i++)
        word = word >> 1 ^ (word & 1 ? 0xedb88320 : 0);
    return (uint32_t)word;
}

static inline uint32_t crc32c_word(uint32_t crc, uint64_t word)
{
    return (uint32_t)_mm_crc32_u64(crc, word);
}
#endif

#endif
