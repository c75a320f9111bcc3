/* SPDX-License-Identifier: MIT */
/*
 * Cryptographic instructions on AES-NI, PCLMULQDQ and SHA-NI, where the host has them; and CRC32.
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
    if (!t->jit->host_crypto)
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
    if (!t->jit->host_crypto)
        return false;
    unsigned n = jit_v(t, insn->rn), m = jit_v(t, insn->rm), reg = jit_v_new(t);
    x64_v3_imm(&t->code, X64_VPCLMULQDQ, reg, n, x64_r(m), insn->word >> 30 & 1 ? 0x11 : 0x00);
    jit_v_wrote(t, insn->rd, reg, 16);
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
