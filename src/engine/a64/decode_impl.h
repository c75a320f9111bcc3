/* SPDX-License-Identifier: MIT */
/* What the generated decoder and the expressions in spec/a64.def are made with. */
#ifndef PV_ENGINE_A64_DECODE_IMPL_H
#define PV_ENGINE_A64_DECODE_IMPL_H

#include "engine/a64/decode.h"

#include <stdbool.h>

static inline int64_t sext(uint32_t value, unsigned width)
{
    return (int64_t)((uint64_t)value << (64 - width)) >> (64 - width);
}

/*
 * DecodeBitMasks (Arm ARM J1.1.3): N:NOT(imms) gives the element's size by its highest set bit; an
 * element has imms + 1 ones, not all of them, rotated right by immr, and repeats.
 */
static inline int bitmask_element_log2(uint32_t n, uint32_t imms)
{
    uint32_t bits = n << 6 | (~imms & 0x3f);
    return bits ? 31 - __builtin_clz(bits) : -1;
}

static inline bool bitmask_valid(uint32_t sf, uint32_t n, uint32_t imms)
{
    int len = bitmask_element_log2(n, imms);
    if (len < 1 || (n && !sf))
        return false;
    uint32_t levels = (1u << len) - 1;
    return (imms & levels) != levels;
}

static inline uint64_t bitmask(uint32_t sf, uint32_t n, uint32_t immr, uint32_t imms)
{
    unsigned size = 1u << bitmask_element_log2(n, imms);
    unsigned ones = (imms & (size - 1)) + 1;
    unsigned rotate = immr & (size - 1);
    uint64_t element = ~UINT64_C(0) >> (64 - ones);
    if (rotate)
        element = element >> rotate | element << (size - rotate);
    if (size < 64)
        element &= (UINT64_C(1) << size) - 1;
    for (; size < 64; size *= 2)
        element |= element << size;
    return sf ? element : (uint32_t)element;
}

/* Sets insn->op and insn->imm; leaves them alone for a word that is not allocated. */
void a64_decode_op(uint32_t w, struct a64_insn *insn);

extern const char *const a64_op_names[];
extern const uint8_t a64_op_classes[];

#endif
