/* SPDX-License-Identifier: MIT */
/*
 * A64 instruction words to records. The decoder, the list of operations and the field accessors
 * are generated from spec/a64.def by tools/gen-a64.py; the interpreter and the translator share
 * them.
 */
#ifndef PV_ENGINE_A64_DECODE_H
#define PV_ENGINE_A64_DECODE_H

#include "a64-gen.h" /* generated: enum a64_op, A64_OPS(X), a64_<OP>_<field>(word) */

#include <stdint.h>

/* One decoded instruction. */
struct a64_insn {
    uint16_t op;            /* enum a64_op; A64_UNDEFINED (0) for what is not allocated */
    uint8_t rd, rn, rm, ra; /* word bits 4:0, 9:5, 20:16, 14:10, whether used or not */
    uint16_t at;            /* the translator's: its offset in its page */
    uint32_t word;
    int64_t imm; /* the operand value that the imm= attribute names, ready to use; else 0 */
};

void a64_decode(uint32_t word, struct a64_insn *insn);

/* The operation's name as spec/a64.def has it, e.g. "ADD_IMM". */
const char *a64_op_name(unsigned op);

/* Its class=, by which engines end blocks and check the FP trap. op < A64_OP_COUNT. */
enum a64_class a64_op_class(unsigned op);

#endif
