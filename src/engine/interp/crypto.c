/* SPDX-License-Identifier: MIT */
/*
 * Cryptographic extension: AES, SHA-1, SHA-256 (FEAT_AES, FEAT_SHA1, FEAT_SHA256; Arm ARM
 * C4.1.96). Each instruction is a step of FIPS 197 or FIPS 180-4, in portable C.
 * PMULL of doublewords is in simd_long.c.
 */
#include "engine/interp/simd_lanes.h"

/* ---- AES: the state is 16 bytes, column after column (FIPS 197, 3.4) ---- */

/* FIPS 197, figure 7: SubBytes. */
static const uint8_t aes_sbox[256] = {
    0x63, 0x7c, 0x77, 0x7b, 0xf2, 0x6b, 0x6f, 0xc5, 0x30, 0x01, 0x67, 0x2b, 0xfe, 0xd7, 0xab, 0x76,
    0xca, 0x82, 0xc9, 0x7d, 0xfa, 0x59, 0x47, 0xf0, 0xad, 0xd4, 0xa2, 0xaf, 0x9c, 0xa4, 0x72, 0xc0,
    0xb7, 0xfd, 0x93, 0x26, 0x36, 0x3f, 0xf7, 0xcc, 0x34, 0xa5, 0xe5, 0xf1, 0x71, 0xd8, 0x31, 0x15,
    0x04, 0xc7, 0x23, 0xc3, 0x18, 0x96, 0x05, 0x9a, 0x07, 0x12, 0x80, 0xe2, 0xeb, 0x27, 0xb2, 0x75,
    0x09, 0x83, 0x2c, 0x1a, 0x1b, 0x6e, 0x5a, 0xa0, 0x52, 0x3b, 0xd6, 0xb3, 0x29, 0xe3, 0x2f, 0x84,
    0x53, 0xd1, 0x00, 0xed, 0x20, 0xfc, 0xb1, 0x5b, 0x6a, 0xcb, 0xbe, 0x39, 0x4a, 0x4c, 0x58, 0xcf,
    0xd0, 0xef, 0xaa, 0xfb, 0x43, 0x4d, 0x33, 0x85, 0x45, 0xf9, 0x02, 0x7f, 0x50, 0x3c, 0x9f, 0xa8,
    0x51, 0xa3, 0x40, 0x8f, 0x92, 0x9d, 0x38, 0xf5, 0xbc, 0xb6, 0xda, 0x21, 0x10, 0xff, 0xf3, 0xd2,
    0xcd, 0x0c, 0x13, 0xec, 0x5f, 0x97, 0x44, 0x17, 0xc4, 0xa7, 0x7e, 0x3d, 0x64, 0x5d, 0x19, 0x73,
    0x60, 0x81, 0x4f, 0xdc, 0x22, 0x2a, 0x90, 0x88, 0x46, 0xee, 0xb8, 0x14, 0xde, 0x5e, 0x0b, 0xdb,
    0xe0, 0x32, 0x3a, 0x0a, 0x49, 0x06, 0x24, 0x5c, 0xc2, 0xd3, 0xac, 0x62, 0x91, 0x95, 0xe4, 0x79,
    0xe7, 0xc8, 0x37, 0x6d, 0x8d, 0xd5, 0x4e, 0xa9, 0x6c, 0x56, 0xf4, 0xea, 0x65, 0x7a, 0xae, 0x08,
    0xba, 0x78, 0x25, 0x2e, 0x1c, 0xa6, 0xb4, 0xc6, 0xe8, 0xdd, 0x74, 0x1f, 0x4b, 0xbd, 0x8b, 0x8a,
    0x70, 0x3e, 0xb5, 0x66, 0x48, 0x03, 0xf6, 0x0e, 0x61, 0x35, 0x57, 0xb9, 0x86, 0xc1, 0x1d, 0x9e,
    0xe1, 0xf8, 0x98, 0x11, 0x69, 0xd9, 0x8e, 0x94, 0x9b, 0x1e, 0x87, 0xe9, 0xce, 0x55, 0x28, 0xdf,
    0x8c, 0xa1, 0x89, 0x0d, 0xbf, 0xe6, 0x42, 0x68, 0x41, 0x99, 0x2d, 0x0f, 0xb0, 0x54, 0xbb, 0x16,
};

/* FIPS 197, figure 14: InvSubBytes. */
static const uint8_t aes_inverse_sbox[256] = {
    0x52, 0x09, 0x6a, 0xd5, 0x30, 0x36, 0xa5, 0x38, 0xbf, 0x40, 0xa3, 0x9e, 0x81, 0xf3, 0xd7, 0xfb,
    0x7c, 0xe3, 0x39, 0x82, 0x9b, 0x2f, 0xff, 0x87, 0x34, 0x8e, 0x43, 0x44, 0xc4, 0xde, 0xe9, 0xcb,
    0x54, 0x7b, 0x94, 0x32, 0xa6, 0xc2, 0x23, 0x3d, 0xee, 0x4c, 0x95, 0x0b, 0x42, 0xfa, 0xc3, 0x4e,
    0x08, 0x2e, 0xa1, 0x66, 0x28, 0xd9, 0x24, 0xb2, 0x76, 0x5b, 0xa2, 0x49, 0x6d, 0x8b, 0xd1, 0x25,
    0x72, 0xf8, 0xf6, 0x64, 0x86, 0x68, 0x98, 0x16, 0xd4, 0xa4, 0x5c, 0xcc, 0x5d, 0x65, 0xb6, 0x92,
    0x6c, 0x70, 0x48, 0x50, 0xfd, 0xed, 0xb9, 0xda, 0x5e, 0x15, 0x46, 0x57, 0xa7, 0x8d, 0x9d, 0x84,
    0x90, 0xd8, 0xab, 0x00, 0x8c, 0xbc, 0xd3, 0x0a, 0xf7, 0xe4, 0x58, 0x05, 0xb8, 0xb3, 0x45, 0x06,
    0xd0, 0x2c, 0x1e, 0x8f, 0xca, 0x3f, 0x0f, 0x02, 0xc1, 0xaf, 0xbd, 0x03, 0x01, 0x13, 0x8a, 0x6b,
    0x3a, 0x91, 0x11, 0x41, 0x4f, 0x67, 0xdc, 0xea, 0x97, 0xf2, 0xcf, 0xce, 0xf0, 0xb4, 0xe6, 0x73,
    0x96, 0xac, 0x74, 0x22, 0xe7, 0xad, 0x35, 0x85, 0xe2, 0xf9, 0x37, 0xe8, 0x1c, 0x75, 0xdf, 0x6e,
    0x47, 0xf1, 0x1a, 0x71, 0x1d, 0x29, 0xc5, 0x89, 0x6f, 0xb7, 0x62, 0x0e, 0xaa, 0x18, 0xbe, 0x1b,
    0xfc, 0x56, 0x3e, 0x4b, 0xc6, 0xd2, 0x79, 0x20, 0x9a, 0xdb, 0xc0, 0xfe, 0x78, 0xcd, 0x5a, 0xf4,
    0x1f, 0xdd, 0xa8, 0x33, 0x88, 0x07, 0xc7, 0x31, 0xb1, 0x12, 0x10, 0x59, 0x27, 0x80, 0xec, 0x5f,
    0x60, 0x51, 0x7f, 0xa9, 0x19, 0xb5, 0x4a, 0x0d, 0x2d, 0xe5, 0x7a, 0x9f, 0x93, 0xc9, 0x9c, 0xef,
    0xa0, 0xe0, 0x3b, 0x4d, 0xae, 0x2a, 0xf5, 0xb0, 0xc8, 0xeb, 0xbb, 0x3c, 0x83, 0x53, 0x99, 0x61,
    0x17, 0x2b, 0x04, 0x7e, 0xba, 0x77, 0xd6, 0x26, 0xe1, 0x69, 0x14, 0x63, 0x55, 0x21, 0x0c, 0x7d,
};

/*
 * AddRoundKey, ShiftRows, SubBytes: AESE, and with `step` and the table inverted AESD. Row r of
 * a column comes from r * step columns to the right.
 */
static void aes_round(struct cpu *c, const struct a64_insn *insn, const uint8_t sbox[256],
                      unsigned step)
{
    cpu_check_fp(c);
    const union cpu_vreg *n = &c->v[insn->rn], *d = &c->v[insn->rd];
    const union cpu_vreg state = {.d = {n->d[0] ^ d->d[0], n->d[1] ^ d->d[1]}};
    union cpu_vreg result;
    for (unsigned i = 0; i < 16; i++) {
        const unsigned row = i % 4, column = i / 4;
        result.b[i] = sbox[state.b[(column + row * step) % 4 * 4 + row]];
    }
    c->v[insn->rd] = result;
}

void interp_AESE(struct cpu *c, const struct a64_insn *insn)
{
    aes_round(c, insn, aes_sbox, 1);
}
void interp_AESD(struct cpu *c, const struct a64_insn *insn)
{
    aes_round(c, insn, aes_inverse_sbox, 3);
}

/* Each byte of four times x in GF(2^8) modulo x^8 + x^4 + x^3 + x + 1 (FIPS 197, 4.2.1). */
static uint32_t times_x(uint32_t bytes)
{
    const uint32_t high = bytes >> 7 & 0x01010101;
    return (bytes << 1 & 0xfefefefe) ^ high * 0x1b;
}

static uint32_t rotate_right(uint32_t x, unsigned by)
{
    return x >> by | x << (32 - by);
}

/*
 * MixColumns on one column, row 0 in the low byte: each row becomes 2a + 3b + c + d of itself and
 * those below it (5.1.3).
 */
static uint32_t mix_column(uint32_t a)
{
    const uint32_t b = rotate_right(a, 8);
    return times_x(a ^ b) ^ b ^ rotate_right(a, 16) ^ rotate_right(a, 24);
}

/*
 * The inverse multiplies by {0e, 0b, 0d, 09}: that is MixColumns after {05, 00, 04, 00}, adding
 * 4(a + c) to each row (5.3.3).
 */
static uint32_t unmix_column(uint32_t a)
{
    return mix_column(a ^ times_x(times_x(a ^ rotate_right(a, 16))));
}

void interp_AESMC(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    for (unsigned i = 0; i < 4; i++)
        c->v[insn->rd].s[i] = mix_column(c->v[insn->rn].s[i]);
}
void interp_AESIMC(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    for (unsigned i = 0; i < 4; i++)
        c->v[insn->rd].s[i] = unmix_column(c->v[insn->rn].s[i]);
}

/* ---- SHA-1 and SHA-256: functions of FIPS 180-4, 4.1 ---- */

static uint32_t choose(uint32_t x, uint32_t y, uint32_t z)
{
    return (x & y) | (~x & z);
}
static uint32_t majority(uint32_t x, uint32_t y, uint32_t z)
{
    return (x & y) | (x & z) | (y & z);
}
static uint32_t parity(uint32_t x, uint32_t y, uint32_t z)
{
    return x ^ y ^ z;
}

/*
 * Four rounds of SHA-1: Qd holds a, b, c, d, Sn holds e, and Vm four schedule words with the
 * constant added already. The new e is the old one of four rounds ago: software rotates it with
 * SHA1H.
 */
static void sha1_rounds(struct cpu *c, const struct a64_insn *insn,
                        uint32_t f(uint32_t, uint32_t, uint32_t))
{
    cpu_check_fp(c);
    union cpu_vreg q = c->v[insn->rd];
    uint32_t e = c->v[insn->rn].s[0];
    for (unsigned i = 0; i < 4; i++) {
        const uint32_t sum =
            e + rotate_right(q.s[0], 27) + f(q.s[1], q.s[2], q.s[3]) + c->v[insn->rm].s[i];
        e = q.s[3];
        q.s[3] = q.s[2];
        q.s[2] = rotate_right(q.s[1], 2);
        q.s[1] = q.s[0];
        q.s[0] = sum;
    }
    c->v[insn->rd] = q;
}

void interp_SHA1C(struct cpu *c, const struct a64_insn *insn)
{
    sha1_rounds(c, insn, choose);
}
void interp_SHA1P(struct cpu *c, const struct a64_insn *insn)
{
    sha1_rounds(c, insn, parity);
}
void interp_SHA1M(struct cpu *c, const struct a64_insn *insn)
{
    sha1_rounds(c, insn, majority);
}

void interp_SHA1H(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    const uint32_t e = rotate_right(c->v[insn->rn].s[0], 2);
    c->v[insn->rd] = (union cpu_vreg){.s = {e}};
}

/* Schedule: W[t-16] + W[t-14] + W[t-8]; SHA1SU1 adds W[t-3] and rotates. */
void interp_SHA1SU0(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    const union cpu_vreg d = c->v[insn->rd], *n = &c->v[insn->rn], *m = &c->v[insn->rm];
    const union cpu_vreg result = {.d = {d.d[1] ^ d.d[0] ^ m->d[0], n->d[0] ^ d.d[1] ^ m->d[1]}};
    c->v[insn->rd] = result;
}

void interp_SHA1SU1(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    const union cpu_vreg n = c->v[insn->rn];
    union cpu_vreg d = c->v[insn->rd];
    for (unsigned i = 0; i < 3; i++)
        d.s[i] = rotate_right(d.s[i] ^ n.s[i + 1], 31);
    d.s[3] = rotate_right(d.s[3] ^ d.s[0], 31); /* W[t] of this very vector */
    c->v[insn->rd] = d;
}

/*
 * Four rounds of SHA-256 on x = a, b, c, d and y = e, f, g, h; w has schedule words plus
 * constants (6.2.2).
 */
static void sha256_rounds(union cpu_vreg *x, union cpu_vreg *y, const union cpu_vreg *w)
{
    for (unsigned i = 0; i < 4; i++) {
        const uint32_t a = x->s[0], e = y->s[0];
        const uint32_t sigma1 = rotate_right(e, 6) ^ rotate_right(e, 11) ^ rotate_right(e, 25);
        const uint32_t sigma0 = rotate_right(a, 2) ^ rotate_right(a, 13) ^ rotate_right(a, 22);
        const uint32_t t1 = y->s[3] + sigma1 + choose(e, y->s[1], y->s[2]) + w->s[i];
        const uint32_t t2 = sigma0 + majority(a, x->s[1], x->s[2]);
        *y = (union cpu_vreg){.s = {x->s[3] + t1, e, y->s[1], y->s[2]}};
        *x = (union cpu_vreg){.s = {t1 + t2, a, x->s[1], x->s[2]}};
    }
}

void interp_SHA256H(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    union cpu_vreg x = c->v[insn->rd], y = c->v[insn->rn];
    sha256_rounds(&x, &y, &c->v[insn->rm]);
    c->v[insn->rd] = x;
}
/* The other half; its operands are in the other order. */
void interp_SHA256H2(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    union cpu_vreg x = c->v[insn->rn], y = c->v[insn->rd];
    sha256_rounds(&x, &y, &c->v[insn->rm]);
    c->v[insn->rd] = y;
}

/* Schedule: W[t-16] + sigma0(W[t-15]); SHA256SU1 adds W[t-7] + sigma1(W[t-2]). */
void interp_SHA256SU0(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    union cpu_vreg d = c->v[insn->rd];
    const uint32_t next = c->v[insn->rn].s[0];
    for (unsigned i = 0; i < 4; i++) {
        const uint32_t w = i < 3 ? d.s[i + 1] : next;
        d.s[i] += rotate_right(w, 7) ^ rotate_right(w, 18) ^ w >> 3;
    }
    c->v[insn->rd] = d;
}

void interp_SHA256SU1(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    const union cpu_vreg n = c->v[insn->rn], m = c->v[insn->rm];
    union cpu_vreg d = c->v[insn->rd];
    for (unsigned i = 0; i < 4; i++) {
        const uint32_t w2 = i < 2 ? m.s[i + 2] : d.s[i - 2];
        const uint32_t w7 = i < 3 ? n.s[i + 1] : m.s[0];
        d.s[i] += w7 + (rotate_right(w2, 17) ^ rotate_right(w2, 19) ^ w2 >> 10);
    }
    c->v[insn->rd] = d;
}
