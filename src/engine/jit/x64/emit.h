/* SPDX-License-Identifier: MIT */
/*
 * An assembler for x86-64 as a set of functions: each appends one instruction to a buffer.
 *
 * Code memory is mapped twice, so a buffer has two addresses: where we write it and where it runs
 * (`rx_delta` apart). Nothing is ever written past `end`; `overflow` is set instead, and what the
 * buffer holds is then worthless. It is tested once, when a block is done, so that nothing between
 * has errors to handle.
 *
 * Most operands of x86 are "register or memory", struct x64_rm; x64_r(), x64_m() and kin make
 * them. `size` is 1, 2, 4 or 8 bytes; as everywhere on this machine, a 4-byte result clears the
 * upper half of its register. The encodings are the shortest ones; instructions that the reader
 * would not expect are never substituted, for they might change flags.
 *
 * Destinations come first. Needed of the host: x86-64-v3 (AVX2, BMI2, FMA, LZCNT, MOVBE).
 */
#ifndef PV_ENGINE_JIT_X64_EMIT_H
#define PV_ENGINE_JIT_X64_EMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum x64_reg {
    X64_RAX,
    X64_RCX,
    X64_RDX,
    X64_RBX,
    X64_RSP,
    X64_RBP,
    X64_RSI,
    X64_RDI,
    X64_R8,
    X64_R9,
    X64_R10,
    X64_R11,
    X64_R12,
    X64_R13,
    X64_R14,
    X64_R15,
    X64_NONE, /* not a register */
};

/* In the encoding's order: a condition and its opposite differ in bit 0. */
enum x64_cond {
    X64_O,
    X64_NO,
    X64_B, /* unsigned below: CF */
    X64_AE,
    X64_E,
    X64_NE,
    X64_BE,
    X64_A,
    X64_S,
    X64_NS,
    X64_P,
    X64_NP,
    X64_L,
    X64_GE,
    X64_LE,
    X64_G,
};
#define X64_C  X64_B
#define X64_NC X64_AE

enum x64_alu { X64_ADD, X64_OR, X64_ADC, X64_SBB, X64_AND, X64_SUB, X64_XOR, X64_CMP };
enum x64_shift { X64_ROL, X64_ROR, X64_RCL, X64_RCR, X64_SHL, X64_SHR, X64_SAR = 7 };
enum x64_bt { X64_BT = 4, X64_BTS, X64_BTR, X64_BTC };
enum x64_unary { X64_NOT = 2, X64_NEG, X64_MUL, X64_IMUL, X64_DIV, X64_IDIV };

struct x64_code {
    uint8_t *start, *at, *end; /* as writable */
    ptrdiff_t rx_delta;        /* the address it runs at less the one it is written at */
    bool overflow;
};

/* Starts a buffer of `size` bytes at `rw`, which the host executes at `rx`. */
static inline struct x64_code x64_begin(void *rw, const void *rx, size_t size)
{
    uint8_t *at = (uint8_t *)rw;
    return (struct x64_code){at, at, at + size, (const uint8_t *)rx - at, false};
}
/* The address at which the next instruction will run. */
static inline const void *x64_here(const struct x64_code *c)
{
    return c->at + c->rx_delta;
}

/* ---- Operands ---- */

enum { X64_IS_REG = 1, X64_IS_MEM, X64_IS_RIP };

struct x64_rm {
    uint8_t kind;
    uint8_t base;  /* or the register itself */
    int8_t index;  /* -1: none */
    uint8_t scale; /* log2 */
    int32_t disp;  /* X64_IS_RIP: the target's distance from code->start */
};

/* A register: general, or vector where the instruction takes one. */
static inline struct x64_rm x64_r(unsigned reg)
{
    return (struct x64_rm){X64_IS_REG, (uint8_t)reg, -1, 0, 0};
}
static inline struct x64_rm x64_m(enum x64_reg base, int32_t disp)
{
    return (struct x64_rm){X64_IS_MEM, (uint8_t)base, -1, 0, disp};
}
/* [base + (index << scale) + disp]; RSP cannot be an index. */
static inline struct x64_rm x64_mx(enum x64_reg base, enum x64_reg index, unsigned scale,
                                   int32_t disp)
{
    return (struct x64_rm){X64_IS_MEM, (uint8_t)base, (int8_t)index, (uint8_t)scale, disp};
}
/* Memory at a fixed executable-view address within 2 GiB of the code; overflow if farther. */
struct x64_rm x64_at(struct x64_code *c, const void *rx);

/* ---- Labels ---- */

/*
 * A place in the buffer, before or after it is known. Jumps to a label that is not bound yet are
 * chained through their own displacement fields. Offsets are from code->start; -1: none.
 */
struct x64_label {
    int32_t bound;
    int32_t far;  /* last jump that waits, with 32 bits of displacement */
    int32_t near; /* the same, 8 bits */
};
#define X64_LABEL ((struct x64_label){-1, -1, -1})

/* Here it is. Every label that a jump names must be bound before the code runs. */
void x64_bind(struct x64_code *c, struct x64_label *label);

/* Jumps back take the short form if it reaches. Ahead, the _near ones promise that it will. */
void x64_jmp(struct x64_code *c, struct x64_label *label);
void x64_jcc(struct x64_code *c, enum x64_cond cond, struct x64_label *label);
void x64_jmp_near(struct x64_code *c, struct x64_label *label);
void x64_jcc_near(struct x64_code *c, enum x64_cond cond, struct x64_label *label);
void x64_call(struct x64_code *c, struct x64_label *label);
/* dst = the label's executable address */
void x64_lea_label(struct x64_code *c, enum x64_reg dst, struct x64_label *label);

/* ---- To fixed addresses (in the executable view; calls and jumps reach 2 GiB) ---- */

void x64_jmp_to(struct x64_code *c, const void *rx);
void x64_jcc_to(struct x64_code *c, enum x64_cond cond, const void *rx);
void x64_call_to(struct x64_code *c, const void *rx);

/*
 * Jumps to be redirected while other threads execute them: the displacement is 4-byte aligned.
 * They return its offset from code->start; x64_patch() stores a new target there, atomically.
 */
size_t x64_jmp_patchable(struct x64_code *c, const void *rx);
size_t x64_jcc_patchable(struct x64_code *c, enum x64_cond cond, const void *rx);
size_t x64_call_patchable(struct x64_code *c, const void *rx);
void x64_patch(uint8_t *rw_field, ptrdiff_t rx_delta, const void *rx);

void x64_jmp_rm(struct x64_code *c, struct x64_rm target);
void x64_call_rm(struct x64_code *c, struct x64_rm target);
void x64_ret(struct x64_code *c);

/* ---- Moves ---- */

void x64_mov(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src);
void x64_store(struct x64_code *c, unsigned size, struct x64_rm dst, enum x64_reg src);
/* imm is sign-extended to 64 bits */
void x64_store_imm(struct x64_code *c, unsigned size, struct x64_rm dst, int32_t imm);
/* All 64 bits, by the shortest form; flags stay as they are. */
void x64_mov_imm(struct x64_code *c, enum x64_reg dst, uint64_t imm);
/* From 1 or 2 bytes to 4, which zero-extends to 8. */
void x64_movzx(struct x64_code *c, unsigned src_size, enum x64_reg dst, struct x64_rm src);
/* From 1, 2 or 4 bytes to 4 or 8. */
void x64_movsx(struct x64_code *c, unsigned size, unsigned src_size, enum x64_reg dst,
               struct x64_rm src);
void x64_movbe(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src);
void x64_movbe_store(struct x64_code *c, unsigned size, struct x64_rm dst, enum x64_reg src);
void x64_bswap(struct x64_code *c, unsigned size, enum x64_reg reg); /* 4 or 8 */
void x64_lea(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src);
void x64_push(struct x64_code *c, enum x64_reg reg);
void x64_pop(struct x64_code *c, enum x64_reg reg);
void x64_push_rm(struct x64_code *c, struct x64_rm src);
void x64_pop_rm(struct x64_code *c, struct x64_rm dst);
void x64_push_imm(struct x64_code *c, int32_t imm);
void x64_setcc(struct x64_code *c, enum x64_cond cond, struct x64_rm dst);
void x64_cmov(struct x64_code *c, enum x64_cond cond, unsigned size, enum x64_reg dst,
              struct x64_rm src);

/* ---- Arithmetic ---- */

void x64_alu(struct x64_code *c, enum x64_alu op, unsigned size, enum x64_reg dst,
             struct x64_rm src);
void x64_alu_store(struct x64_code *c, enum x64_alu op, unsigned size, struct x64_rm dst,
                   enum x64_reg src);
/* imm is sign-extended to 64 bits */
void x64_alu_imm(struct x64_code *c, enum x64_alu op, unsigned size, struct x64_rm dst,
                 int32_t imm);
void x64_test(struct x64_code *c, unsigned size, struct x64_rm a, enum x64_reg b);
void x64_test_imm(struct x64_code *c, unsigned size, struct x64_rm a, int32_t imm);
void x64_inc(struct x64_code *c, unsigned size, struct x64_rm dst);
void x64_dec(struct x64_code *c, unsigned size, struct x64_rm dst);
/* NOT and NEG of the operand; the others combine it with RAX and RDX. */
void x64_unary(struct x64_code *c, enum x64_unary op, unsigned size, struct x64_rm rm);
void x64_imul(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src);
void x64_imul_imm(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src,
                  int32_t imm);
void x64_cdq(struct x64_code *c, unsigned size); /* RDX = the sign of RAX; 4 or 8 */

void x64_shift_imm(struct x64_code *c, enum x64_shift op, unsigned size, struct x64_rm dst,
                   unsigned count);
void x64_shift_cl(struct x64_code *c, enum x64_shift op, unsigned size, struct x64_rm dst);
/* Double shifts: what leaves or enters `dst` comes from `src`. */
void x64_shld_imm(struct x64_code *c, unsigned size, struct x64_rm dst, enum x64_reg src,
                  unsigned count);
void x64_shrd_imm(struct x64_code *c, unsigned size, struct x64_rm dst, enum x64_reg src,
                  unsigned count);
void x64_shld_cl(struct x64_code *c, unsigned size, struct x64_rm dst, enum x64_reg src);
void x64_shrd_cl(struct x64_code *c, unsigned size, struct x64_rm dst, enum x64_reg src);

/* ---- Bits ---- */

void x64_bt_imm(struct x64_code *c, enum x64_bt op, unsigned size, struct x64_rm dst, unsigned bit);
void x64_bt(struct x64_code *c, enum x64_bt op, unsigned size, struct x64_rm dst, enum x64_reg bit);
void x64_bsf(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src);
void x64_bsr(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src);
void x64_lzcnt(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src);
void x64_tzcnt(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src);
void x64_popcnt(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src);

/* BMI, 4 or 8 bytes. None of the shifts nor rorx, pext and pdep touch flags. */
void x64_shlx(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src,
              enum x64_reg count);
void x64_shrx(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src,
              enum x64_reg count);
void x64_sarx(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src,
              enum x64_reg count);
void x64_rorx(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src,
              unsigned count);
void x64_andn(struct x64_code *c, unsigned size, enum x64_reg dst, enum x64_reg inverted,
              struct x64_rm src);
void x64_bextr(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src,
               enum x64_reg control);
void x64_pext(struct x64_code *c, unsigned size, enum x64_reg dst, enum x64_reg src,
              struct x64_rm mask);
void x64_pdep(struct x64_code *c, unsigned size, enum x64_reg dst, enum x64_reg src,
              struct x64_rm mask);
void x64_mulx(struct x64_code *c, unsigned size, enum x64_reg high, enum x64_reg low,
              struct x64_rm src);
/* Adds `size` bytes to a CRC-32C. */
void x64_crc32(struct x64_code *c, unsigned size, enum x64_reg crc, struct x64_rm src);

/* ---- Flags ---- */

void x64_lahf(struct x64_code *c);
void x64_sahf(struct x64_code *c);
void x64_cmc(struct x64_code *c);
void x64_stc(struct x64_code *c);
void x64_clc(struct x64_code *c);

/* ---- Atomics: x64_lock() before the instruction; xchg with memory is locked by itself ---- */

void x64_lock(struct x64_code *c);
void x64_xchg(struct x64_code *c, unsigned size, struct x64_rm dst, enum x64_reg reg);
void x64_xadd(struct x64_code *c, unsigned size, struct x64_rm dst, enum x64_reg reg);
void x64_cmpxchg(struct x64_code *c, unsigned size, struct x64_rm dst, enum x64_reg src);
void x64_cmpxchg16b(struct x64_code *c, struct x64_rm dst);
void x64_mfence(struct x64_code *c);

/* ---- Others ---- */

void x64_rdtsc(struct x64_code *c);
void x64_ud2(struct x64_code *c);
void x64_int3(struct x64_code *c);
/* `bytes` of padding, in as few instructions as there can be. */
void x64_nop(struct x64_code *c, size_t bytes);
/* Pads so that the next instruction's address is a multiple of `alignment`, a power of two. */
void x64_align(struct x64_code *c, size_t alignment);
/* Raw data */
void x64_bytes(struct x64_code *c, const void *data, size_t size);

#endif
