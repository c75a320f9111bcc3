/* SPDX-License-Identifier: MIT */
/*
 * Cryptographic instructions on AES-NI, PCLMULQDQ and SHA-NI, where the host has them; and CRC.
 *
 * AESE is ShiftRows and SubBytes of an exclusive or, x86's AESENCLAST with its round key last; so
 * the exclusive or comes before and the key is zero. AESMC is MixColumns alone: AESDECLAST undoes
 * what AESENC does before it.
 */
#include "engine/jit/a64/a64.h"

static void op3(struct jit_translator *t, unsigned op, unsigned d, unsigned a, unsigned b)
{
    x64_v3(&t->code, op, d, a, x64_r(b));
}

bool jit_aes(struct jit_translator *t, const struct a64_insn *insn)
{
    if (!t->jit->host_aes)
        return false;
    unsigned n = jit_v(t, insn->rn), d = jit_v(t, insn->rd), reg = jit_v_new(t);
    op3(t, X64_VPXOR, 0, 0, 0);
    switch (insn->op) {
    case A64_AESE:
        op3(t, X64_VPXOR, 1, d, n);
        op3(t, X64_VAESENCLAST, reg, 1, 0);
        break;
    case A64_AESD:
        op3(t, X64_VPXOR, 1, d, n);
        op3(t, X64_VAESDECLAST, reg, 1, 0);
        break;
    case A64_AESMC:
        op3(t, X64_VAESDECLAST, 1, n, 0);
        op3(t, X64_VAESENC, reg, 1, 0);
        break;
    default: x64_v2(&t->code, X64_VAESIMC, reg, x64_r(n)); break;
    }
    jit_v_wrote(t, insn->rd, reg, 16);
    return true;
}

/* PMULL of doublewords: of the lower ones, or PMULL2 of the upper */
bool jit_pmull(struct jit_translator *t, const struct a64_insn *insn)
{
    if (!t->jit->host_aes)
        return false;
    unsigned n = jit_v(t, insn->rn), m = jit_v(t, insn->rm), reg = jit_v_new(t);
    x64_v3_imm(&t->code, X64_VPCLMULQDQ, reg, n, x64_r(m), insn->word >> 30 & 1 ? 0x11 : 0x00);
    jit_v_wrote(t, insn->rd, reg, 16);
    return true;
}

/* ---- SHA-1. x86 has A and the first word in lane 3, Arm in lane 0. ---- */

enum { REVERSED = 0x1b };

/*
 * Four rounds: SHA1C, SHA1P, SHA1M. Vd is A to D, Sn is E, Vm the words with the round constant in
 * them already; x86 adds it, so it is subtracted here. Parity is a function of two of the
 * constants, and which of them comes and goes does not matter.
 */
bool jit_sha1_rounds(struct jit_translator *t, const struct a64_insn *insn)
{
    static const uint32_t constants[] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc};
    const unsigned function = insn->word >> 12 & 3;
    if (!t->jit->host_sha)
        return false;
    unsigned n = jit_v(t, insn->rn), m = jit_v(t, insn->rm), d = jit_v(t, insn->rd);
    unsigned reg = jit_v_new(t);
    jit_v_splat(t, 0, 2, constants[function]);
    op3(t, X64_VPSUBD, 0, m, 0);
    jit_v_cut(t, 1, n, 4);
    op3(t, X64_VPADDD, 0, 0, 1);
    x64_v2_imm(&t->code, X64_VPSHUFD, 0, x64_r(0), REVERSED);
    x64_v2_imm(&t->code, X64_VPSHUFD, reg, x64_r(d), REVERSED);
    x64_sha1rnds4(&t->code, reg, x64_r(0), function);
    x64_v2_imm(&t->code, X64_VPSHUFD, reg, x64_r(reg), REVERSED);
    jit_v_wrote(t, insn->rd, reg, 16);
    return true;
}

/* SHA1H: a word rotated left by 30 */
bool jit_sha1h(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned reg = jit_v_new(t);
    x64_rorx(&t->code, 4, X64_RAX, jit_v_part(t, insn->rn, 0), 2);
    x64_v2(&t->code, X64_VMOVD_FROM, reg, x64_r(X64_RAX));
    jit_v_wrote(t, insn->rd, reg, 4);
    return true;
}

/* SHA1SU0: d ^ m ^ the upper half of d and the lower of n */
bool jit_sha1su0(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned n = jit_v(t, insn->rn), m = jit_v(t, insn->rm), d = jit_v(t, insn->rd);
    unsigned reg = jit_v_new(t);
    x64_v3_imm(&t->code, X64_VPALIGNR, reg, n, x64_r(d), 8);
    op3(t, X64_VPXOR, reg, reg, d);
    op3(t, X64_VPXOR, reg, reg, m);
    jit_v_wrote(t, insn->rd, reg, 16);
    return true;
}

/* d = all words of `from` rotated left; uses XMM3 */
static void rotate_left(struct jit_translator *t, unsigned d, unsigned from, unsigned count)
{
    x64_v_shift(&t->code, X64_VPSRLD_IMM, 3, from, 32 - count);
    x64_v_shift(&t->code, X64_VPSLLD_IMM, d, from, count);
    op3(t, X64_VPOR, d, d, 3);
}

/* SHA1SU1: T = d ^ (n, a word down); T rotated by 1, and T[0] by 2 into the last word */
bool jit_sha1su1(struct jit_translator *t, const struct a64_insn *insn)
{
    unsigned n = jit_v(t, insn->rn), d = jit_v(t, insn->rd), reg = jit_v_new(t);
    x64_v_shift(&t->code, X64_VPSRLDQ, 0, n, 4);
    op3(t, X64_VPXOR, 0, 0, d);
    rotate_left(t, reg, 0, 1);
    rotate_left(t, 1, 0, 2);
    x64_v_shift(&t->code, X64_VPSLLDQ, 1, 1, 12);
    op3(t, X64_VPXOR, reg, reg, 1);
    jit_v_wrote(t, insn->rd, reg, 16);
    return true;
}

/* ---- SHA-256 ---- */

/*
 * SHA256H and SHA256H2: four rounds, of which one gives A to D and the other E to H. x86 does two,
 * on the words {F, E, B, A} and {H, G, D, C}; the first become the second of the next two.
 */
bool jit_sha256_rounds(struct jit_translator *t, const struct a64_insn *insn)
{
    enum { LOW = 0x11, HIGH = 0xbb, UPPER_WORDS = 0x0e };
    const bool second = insn->op == A64_SHA256H2;
    if (!t->jit->host_sha)
        return false;
    unsigned n = jit_v(t, insn->rn), m = jit_v(t, insn->rm), d = jit_v(t, insn->rd);
    unsigned abcd = second ? n : d, efgh = second ? d : n, reg = jit_v_new(t);
    x64_v3_imm(&t->code, X64_VSHUFPS, 1, efgh, x64_r(abcd), LOW);
    x64_v3_imm(&t->code, X64_VSHUFPS, 2, efgh, x64_r(abcd), HIGH);
    x64_vmov(&t->code, 0, m);
    x64_sha(&t->code, X64_SHA256RNDS2, 2, x64_r(1));
    x64_v2_imm(&t->code, X64_VPSHUFD, 0, x64_r(m), UPPER_WORDS);
    x64_sha(&t->code, X64_SHA256RNDS2, 1, x64_r(2));
    x64_v3_imm(&t->code, X64_VSHUFPS, reg, 1, x64_r(2), second ? LOW : HIGH);
    jit_v_wrote(t, insn->rd, reg, 16);
    return true;
}

/* The message schedule: x86's two steps are Arm's, but that it leaves an addition to the program.
 */
bool jit_sha256_schedule(struct jit_translator *t, const struct a64_insn *insn)
{
    if (!t->jit->host_sha)
        return false;
    const bool first = insn->op == A64_SHA256SU0;
    unsigned n = jit_v(t, insn->rn), m = first ? n : jit_v(t, insn->rm);
    unsigned d = jit_v(t, insn->rd), reg = jit_v_new(t);
    if (first) {
        x64_vmov(&t->code, reg, d);
        x64_sha(&t->code, X64_SHA256MSG1, reg, x64_r(n));
    } else {
        x64_v3_imm(&t->code, X64_VPALIGNR, reg, m, x64_r(n), 4);
        op3(t, X64_VPADDD, reg, reg, d);
        x64_sha(&t->code, X64_SHA256MSG2, reg, x64_r(m));
    }
    jit_v_wrote(t, insn->rd, reg, 16);
    return true;
}

/* ---- CRC ---- */

/*
 * CRC32, by Barrett's way in reflected order, where the first bit is the highest power: the data,
 * the sum so far added, times the polynomial's inverse is the quotient, of as many bits; that times
 * the polynomial agrees with the data in those, and what is above them is the new sum. Data of
 * fewer than 64 bits are moved up, and what of the sum was beyond them is added at the end.
 */
bool jit_crc32(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = 1u << (insn->word >> 10 & 3), bits = 8 * size;
    if (!t->jit->host_aes)
        return false;
    jit_read_to(t, 4, X64_RAX, insn->rn);
    enum x64_reg data = jit_read(t, insn->rm, X64_RCX);
    if (size < 4) {
        x64_movzx(&t->code, size, X64_RCX, x64_r(data));
        data = X64_RCX;
    }
    x64_alu(&t->code, X64_XOR, PV_MAX(size, 4u), X64_RAX, x64_r(data));
    if (size < 4) {
        x64_mov(&t->code, 4, X64_RCX, x64_r(X64_RAX));
        x64_shift_imm(&t->code, X64_SHR, 4, x64_r(X64_RCX), bits);
    }
    if (size < 8)
        x64_shift_imm(&t->code, X64_SHL, 8, x64_r(X64_RAX), 64 - bits);
    x64_v2(&t->code, X64_VMOVQ_FROM, 0, x64_r(X64_RAX));
    x64_v3_imm(&t->code, X64_VPCLMULQDQ, 0, 0, jit_constant(t, JIT_CRC32), 0x00);
    x64_v3_imm(&t->code, X64_VPCLMULQDQ, 0, 0, jit_constant(t, JIT_CRC32), 0x10);
    x64_v2_store_imm(&t->code, X64_VPEXTRQ, x64_r(X64_RAX), 0, 1);
    if (size < 4)
        x64_alu(&t->code, X64_XOR, 4, X64_RAX, x64_r(X64_RCX));
    jit_nzcv_lost(t);
    jit_wrote(t, insn->rd, X64_RAX);
    return true;
}

/* CRC32C is the host's instruction. */
bool jit_crc32c(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = 1u << (insn->word >> 10 & 3);
    jit_read_to(t, 4, X64_RAX, insn->rn);
    enum x64_reg data = jit_read(t, insn->rm, X64_RCX);
    x64_crc32(&t->code, size, X64_RAX, x64_r(data));
    jit_wrote(t, insn->rd, X64_RAX);
    return true;
}
