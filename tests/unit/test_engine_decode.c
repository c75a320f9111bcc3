/* SPDX-License-Identifier: MIT */
/*
 * The A64 decoder on its own: immediates against slow but obvious definitions, and the edges
 * between what is allocated and what is not. tests/lockstep/decoder.py has the breadth.
 */
#include "engine/a64/decode.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static struct a64_insn decoded(uint32_t word)
{
    struct a64_insn insn;
    memset(&insn, 0xa5, sizeof(insn)); /* what the decoder leaves alone shows */
    a64_decode(word, &insn);
    return insn;
}

static void test_fields(void **state)
{
    struct a64_insn insn = decoded(0x9b041443); /* madd x3, x2, x4, x5 */
    assert_int_equal(insn.op, A64_MADD);
    assert_int_equal(insn.rd, 3);
    assert_int_equal(insn.rn, 2);
    assert_int_equal(insn.rm, 4);
    assert_int_equal(insn.ra, 5);
    assert_int_equal(insn.word, 0x9b041443);
    assert_int_equal(insn.imm, 0);
}

static void test_immediates(void **state)
{
    static const struct {
        uint32_t word;
        unsigned op;
        int64_t imm;
    } rows[] = {
        {0x14000001, A64_B, 4},
        {0x17ffffff, A64_B, -4},
        {0x16000000, A64_B, -(INT64_C(1) << 27)},
        {0x95ffffff, A64_BL, (INT64_C(1) << 27) - 4},
        {0x54800000, A64_B_COND, -(INT64_C(1) << 20)},
        {0xb4ffffe0, A64_CBZ, -4},
        {0x37040000, A64_TBNZ, -32768},
        {0x70ffffe0, A64_ADR, -1},
        {0x90800000, A64_ADRP, -(INT64_C(1) << 32)},
        {0xb07fffe0, A64_ADRP, (INT64_C(1) << 32) - 0x3000},
        {0x913ffc00, A64_ADD_IMM, 0xfff},
        {0x917ffc00, A64_ADD_IMM, 0xfff000},
        {0xd2ffffe0, A64_MOVZ, (int64_t)UINT64_C(0xffff000000000000)},
        {0xf97ffc00, A64_LDR_X_UIMM, 0xfff * 8},
        {0xf8500000, A64_LDR_X_UR, -256},
        {0xa9600000, A64_LDP_X_OFF, -512},
        {0xad600000, A64_LDP_Q_OFF, -1024},
        {0x58800000, A64_LDR_LIT_X, -(INT64_C(1) << 20)},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        struct a64_insn insn = decoded(rows[i].word);
        assert_string_equal(a64_op_name(insn.op), a64_op_name(rows[i].op));
        assert_int_equal(insn.imm, rows[i].imm);
    }
}

/* A run of ones in an element of a power-of-two size, rotated and repeated (Arm ARM C3.4.2). */
static uint64_t slow_bitmask(unsigned size, unsigned ones, unsigned rotate)
{
    uint64_t value = 0;
    for (unsigned bit = 0; bit < 64; bit++) {
        if ((bit % size + rotate) % size < ones)
            value |= UINT64_C(1) << bit;
    }
    return value;
}

static void test_bitmask(void **state)
{
    unsigned allocated = 0;
    for (unsigned size = 2; size <= 64; size *= 2) {
        for (unsigned ones = 1; ones < size; ones++) {
            for (unsigned rotate = 0; rotate < size; rotate++) {
                uint32_t n = size == 64;
                uint32_t imms = (n ? 0 : ~(2 * size - 1) & 0x3f) | (ones - 1);
                uint32_t fields = n << 22 | rotate << 16 | imms << 10;
                uint64_t expected = slow_bitmask(size, ones, rotate);
                assert_true((uint64_t)decoded(0x92000000 | fields).imm == expected);
                struct a64_insn narrow = decoded(0x12000000 | fields);
                assert_int_equal(narrow.op, n ? A64_UNDEFINED : A64_AND_IMM);
                if (!n)
                    assert_true((uint64_t)narrow.imm == (uint32_t)expected);
            }
        }
    }
    /* Every encoding whose immr is in its element's size is one of those above, or reserved. */
    for (uint32_t fields = 0; fields < 1u << 13; fields++)
        allocated += decoded(0x92000000 | fields << 10).op == A64_AND_IMM;
    /* Sizes 2 to 64: size - 1 lengths, and 64 values of immr, of which all are taken. */
    assert_int_equal(allocated, (1 + 3 + 7 + 15 + 31 + 63) * 64);
}

static void test_not_allocated(void **state)
{
    static const uint32_t words[] = {
        0xffffffff, /* nothing is up there */
        0x93000000, /* SBFM X with N = 0 */
        0x13008000, /* SBFM W with imms > 31 */
        0x12c00000, /* MOVN W with hw = 2 */
        0x13808000, /* EXTR W with imms > 31 */
        0x38200800, /* STRB (register) with option = 0 */
    };
    for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
        assert_string_equal(a64_op_name(decoded(words[i]).op), "UNDEFINED");
}

static void test_casp_pairs(void **state)
{
    assert_int_equal(decoded(0x48207c02).op, A64_CASP);      /* casp x0, x1, x2, x3, [x0] */
    assert_int_equal(decoded(0x48217c02).op, A64_UNDEFINED); /* an odd Rs */
    assert_int_equal(decoded(0x48207c03).op, A64_UNDEFINED); /* an odd Rt */
}

static void test_names(void **state)
{
    assert_string_equal(a64_op_name(A64_UNDEFINED), "UNDEFINED");
    assert_string_equal(a64_op_name(A64_B_COND), "B_COND");
    assert_string_equal(a64_op_name(A64_OP_COUNT), "?");
    assert_int_equal(a64_op_class(A64_B), A64_CLASS_branch);
    assert_int_equal(a64_op_class(A64_UNDEFINED), A64_CLASS_system);
    assert_int_equal(a64_op_class(A64_LDR_Q_UIMM), A64_CLASS_simd);
    /* A field in two parts: b5 of TBZ is the most significant. */
    assert_int_equal(a64_TBZ_bit(0xb6f80000), 63);
    assert_int_equal(a64_TBZ_bit(0xb6000000), 32);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fields),     cmocka_unit_test(test_immediates),
        cmocka_unit_test(test_bitmask),    cmocka_unit_test(test_not_allocated),
        cmocka_unit_test(test_casp_pairs), cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
