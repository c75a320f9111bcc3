/* SPDX-License-Identifier: MIT */
#include "engine/a64/decode_impl.h"

void a64_decode(uint32_t word, struct a64_insn *insn)
{
    *insn = (struct a64_insn){
        .op = A64_UNDEFINED,
        .rd = word & 31,
        .rn = word >> 5 & 31,
        .rm = word >> 16 & 31,
        .ra = word >> 10 & 31,
        .word = word,
    };
    a64_decode_op(word, insn);
}

const char *a64_op_name(unsigned op)
{
    return op < A64_OP_COUNT ? a64_op_names[op] : "?";
}

enum a64_class a64_op_class(unsigned op)
{
    return (enum a64_class)a64_op_classes[op];
}
