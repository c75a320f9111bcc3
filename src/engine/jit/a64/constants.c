/* SPDX-License-Identifier: MIT */
/* Constants of translated vector code: they are in code memory, in reach of every block. */
#include "engine/jit/a64/vector.h"

#include "engine/interp/simd_lanes.h"

static const union cpu_vreg constants[JIT_CONSTANTS] = {
    [JIT_ABS_S] = {.d = {0x7fffffff7fffffff, 0x7fffffff7fffffff}},
    [JIT_ABS_D] = {.d = {0x7fffffffffffffff, 0x7fffffffffffffff}},
    [JIT_SIGN_S] = {.d = {0x8000000080000000, 0x8000000080000000}},
    [JIT_SIGN_D] = {.d = {0x8000000000000000, 0x8000000000000000}},
    [JIT_ABS_S1] = {.d = {0x7fffffff, 0}},
    [JIT_ABS_D1] = {.d = {0x7fffffffffffffff, 0}},
    [JIT_SIGN_S1] = {.d = {0x80000000, 0}},
    [JIT_SIGN_D1] = {.d = {0x8000000000000000, 0}},
    [JIT_LEAST_S] = {.d = {0x0100000001000000, 0x0100000001000000}},
    [JIT_LEAST_D] = {.d = {0x0020000000000000, 0x0020000000000000}},
    [JIT_NIBBLES] = {.d = {0x0f0f0f0f0f0f0f0f, 0x0f0f0f0f0f0f0f0f}},
    [JIT_BIT_COUNTS] = {.b = {0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4}},
    [JIT_NIBBLES_REVERSED] = {.b = {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15}},
    [JIT_REV64_B] = {.b = {7, 6, 5, 4, 3, 2, 1, 0, 15, 14, 13, 12, 11, 10, 9, 8}},
    [JIT_REV32_B] = {.b = {3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12}},
    [JIT_REV16_B] = {.b = {1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 13, 12, 15, 14}},
    [JIT_EVEN_B] = {.d = {0x00ff00ff00ff00ff, 0x00ff00ff00ff00ff}},
    [JIT_EVEN_H] = {.d = {0x0000ffff0000ffff, 0x0000ffff0000ffff}},
    [JIT_NARROW_B] = {.d = {0x0e0c0a0806040200, 0x8080808080808080}},
    [JIT_NARROW_H] = {.d = {0x0d0c090805040100, 0x8080808080808080}},
    [JIT_NARROW_S] = {.d = {0x0b0a090803020100, 0x8080808080808080}},
    /* The polynomial's inverse as a power series, and the polynomial, both reflected */
    [JIT_CRC32] = {.d = {0xb4e5b025f7011641, 0x1db710641}},
    [JIT_HALF_S] = {.d = {0x3f0000003f000000, 0x3f0000003f000000}},
    [JIT_HALF_D] = {.d = {0x3fe0000000000000, 0x3fe0000000000000}},
    [JIT_ONE_S] = {.d = {0x3f8000003f800000, 0x3f8000003f800000}},
    [JIT_ONE_D] = {.d = {0x3ff0000000000000, 0x3ff0000000000000}},
    [JIT_FRACTION_S] = {.d = {0x4affffff4affffff, 0x4affffff4affffff}},
    [JIT_FRACTION_D] = {.d = {0x432fffffffffffff, 0x432fffffffffffff}},
    [JIT_FITS_S] = {.d = {0x4effffff4effffff, 0x4effffff4effffff}},
};

/*
 * Bytes of three registers to bytes of interleaved threes: element e of lane l stands in the place
 * 3 l + e. A shuffle takes what one register has of another's bytes and zeroes the rest.
 */
static void emit_threes(struct jit *jit, struct x64_code *c)
{
    jit->threes = x64_here(c);
    for (unsigned store = 0; store < 2; store++)
        for (unsigned size = 0; size < 4; size++)
            for (unsigned to = 0; to < 3; to++)
                for (unsigned from = 0; from < 3; from++) {
                    uint8_t shuffle[16];
                    for (unsigned i = 0; i < 16; i++) {
                        const unsigned byte = i & ((1u << size) - 1);
                        const unsigned place = (16 * to + i) >> size;
                        const unsigned at = store ? place % 3 * 16 + (place / 3 << size | byte)
                                                  : (3 * (i >> size) + to) << size | byte;
                        shuffle[i] = (uint8_t)(at / 16 == from ? at % 16 : 0x80);
                    }
                    x64_bytes(c, shuffle, sizeof(shuffle));
                }
}

struct x64_rm jit_three(struct jit_translator *t, bool store, unsigned size, unsigned to,
                        unsigned from)
{
    return x64_at(&t->code, t->jit->threes + 16 * (((store * 4u + size) * 3 + to) * 3 + from));
}

struct x64_rm jit_constant(struct jit_translator *t, enum jit_constant which)
{
    return x64_at(&t->code, t->jit->constants + sizeof(constants[0]) * which);
}

void jit_constants_emit(struct jit *jit, struct x64_code *c)
{
    x64_align(c, sizeof(constants[0]));
    jit->constants = x64_here(c);
    x64_bytes(c, constants, sizeof(constants));
    emit_threes(jit, c);
}
