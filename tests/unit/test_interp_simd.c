/* SPDX-License-Identifier: MIT */
/*
 * Advanced SIMD integer and crypto instructions on registers, against answers recorded from QEMU
 * (tests/lockstep/lockstep.py --golden), and properties that a hash does not name when they break.
 */
#include "../lockstep/case.h"
#include "engine/interp/handlers.h"

#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

struct golden {
    const char *name;
    uint32_t word;
    uint64_t hash;
};

static const struct golden goldens[] = {
#include "interp_simd_golden.h"
};

static struct cpu cpu;

static void execute(uint32_t word)
{
    struct a64_insn insn;
    a64_decode(word, &insn);
    assert_int_not_equal(insn.op, A64_UNDEFINED);
    interp_handlers[insn.op](&cpu, &insn);
}

static void matches_recorded_answers(void **state)
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(goldens); i++) {
        const struct case_request request = {.kind = CASE_LANES, .word = {goldens[i].word}};
        struct case_state s;
        case_make(&s, &request, 0);
        memcpy(cpu.v, s.v, sizeof(s.v));
        memcpy(cpu.x, s.x, sizeof(s.x));
        cpu.fpcr = (uint32_t)s.fpcr;
        cpu.fpsr = (uint32_t)s.fpsr;
        execute(goldens[i].word);
        memcpy(s.v, cpu.v, sizeof(s.v));
        memcpy(s.x, cpu.x, sizeof(s.x));
        s.fpsr = cpu.fpsr;
        if (case_hash(&s, &request) != goldens[i].hash)
            fail_msg("%s %08x differs", goldens[i].name, goldens[i].word);
    }
}

static void saturation_is_sticky_and_only_of_live_lanes(void **state)
{
    /* SQADD v0.8b, v1.8b, v2.8b: the upper half would saturate and must not count. */
    cpu.v[1] = cpu.v[2] = (union cpu_vreg){.d = {0, UINT64_C(0x7f7f7f7f7f7f7f7f)}};
    cpu.fpsr = 0;
    execute(0x0e220c20);
    assert_int_equal(cpu.fpsr, 0);
    assert_true(cpu.v[0].d[0] == 0 && cpu.v[0].d[1] == 0);
    execute(0x4e220c20); /* .16b */
    assert_int_equal(cpu.fpsr, 1u << 27);
    assert_int_equal(cpu.v[0].d[1], UINT64_C(0x7f7f7f7f7f7f7f7f));
    cpu.v[1].d[1] = 0;
    execute(0x4e220c20);
    assert_int_equal(cpu.fpsr, 1u << 27);
}

static void unallocated_words_do_not_decode(void **state)
{
    static const uint32_t words[] = {
        0x0ee28420, /* ADD v0.1d */
        0x0ee0b820, /* ABS v0.1d */
        0x4ee29c20, /* MUL v0.2d */
        0x0f400420, /* SSHR v0.1d */
        0x0c408c20, /* LD2 { v0.1d, v1.1d } */
        0x0d40d020, /* LD1R with S = 1 */
        0x0e000420, /* DUP with imm5 = 0 */
    };
    for (size_t i = 0; i < PV_ARRAY_SIZE(words); i++) {
        struct a64_insn insn;
        a64_decode(words[i], &insn);
        assert_int_equal(insn.op, A64_UNDEFINED);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(matches_recorded_answers),
        cmocka_unit_test(saturation_is_sticky_and_only_of_live_lanes),
        cmocka_unit_test(unallocated_words_do_not_decode),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
