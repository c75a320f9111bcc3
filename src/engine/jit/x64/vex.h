/* SPDX-License-Identifier: MIT */
/*
 * Vector instructions: AVX and AVX2 encodings (three operands, no alignment faults), and SHA, which
 * has none of them. vex_ops.h lists them, with their operands; what an opcode's value holds is all
 * that its encoding needs. A function for each arrangement of operands emits any instruction that
 * has it. Vector registers are numbers, 0 to 15.
 *
 * An AVX instruction clears what is above its result; XMM code therefore never meets upper halves
 * that are in use.
 */
#ifndef PV_ENGINE_JIT_X64_VEX_H
#define PV_ENGINE_JIT_X64_VEX_H

#include "engine/jit/x64/emit.h"
#include "engine/jit/x64/vex_ops.h"

/* Bits 11:0 as emit_impl.h's X64_OP; 12: W; 13: 256 bits; 16:14: the extension of the opcode */
enum x64_vex {
#define X64_VEX_VALUE(name, mnemonic, operands, prefix, map, op, w, length, ext)                   \
    X64_##name =                                                                                   \
        (prefix) << 10 | (map) << 8 | (op) | (w) << 12 | ((length) == 1) << 13 | (ext) << 14,
    X64_VEX_OPS(X64_VEX_VALUE)
#undef X64_VEX_VALUE
};
/* The 256-bit form of an instruction whose length is 2. */
#define X64_YMM(op) ((op) | 1u << 13)

/* dst, src: "xX", "dX", "xD" */
void x64_v2(struct x64_code *c, unsigned op, unsigned dst, struct x64_rm src);
/* The stores: "mx", "Dx" */
void x64_v2_store(struct x64_code *c, unsigned op, struct x64_rm dst, unsigned src);
/* "xxX", "xxD" */
void x64_v3(struct x64_code *c, unsigned op, unsigned dst, unsigned a, struct x64_rm b);
/* The same with immediates */
void x64_v2_imm(struct x64_code *c, unsigned op, unsigned dst, struct x64_rm src, unsigned imm);
void x64_v2_store_imm(struct x64_code *c, unsigned op, struct x64_rm dst, unsigned src,
                      unsigned imm);
void x64_v3_imm(struct x64_code *c, unsigned op, unsigned dst, unsigned a, struct x64_rm b,
                unsigned imm);
/* "xxi": shifts */
void x64_v_shift(struct x64_code *c, unsigned op, unsigned dst, unsigned src, unsigned count);
/* "xxXx": b where the top bit of mask's lane is set, a elsewhere */
void x64_v_blend(struct x64_code *c, unsigned op, unsigned dst, unsigned a, struct x64_rm b,
                 unsigned mask);
/* "m": VLDMXCSR, VSTMXCSR */
void x64_v_mem(struct x64_code *c, unsigned op, struct x64_rm mem);

/* dst = src, all 128 bits, by the shorter of two forms */
void x64_vmov(struct x64_code *c, unsigned dst, unsigned src);
/* dst = the low 64 bits of src, zero above */
void x64_vmovq(struct x64_code *c, unsigned dst, unsigned src);
void x64_vzeroupper(struct x64_code *c);

/* SHA (two operands; those that name three take the last one from XMM0) */
enum x64_sha {
    X64_SHA1NEXTE = 0x2c8,
    X64_SHA1MSG1,
    X64_SHA1MSG2,
    X64_SHA256RNDS2,
    X64_SHA256MSG1,
    X64_SHA256MSG2,
};
void x64_sha(struct x64_code *c, enum x64_sha op, unsigned dst, struct x64_rm src);
void x64_sha1rnds4(struct x64_code *c, unsigned dst, struct x64_rm src, unsigned function);

#endif
