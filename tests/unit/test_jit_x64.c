/* SPDX-License-Identifier: MIT */
/*
 * The x86-64 assembler: what depends on places (labels, targets, patches, the buffer's end). That
 * every form has the right bytes is tests/lockstep/x64_forms.py's.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "engine/jit/x64/vex.h"

/* Where the code pretends to run. */
#define RX ((const uint8_t *)0x10000000)

#define assert_code(c, ...)                                                                        \
    do {                                                                                           \
        const uint8_t expected[] = {__VA_ARGS__};                                                  \
        assert_false((c)->overflow);                                                               \
        assert_int_equal((c)->at - (c)->start, sizeof(expected));                                  \
        assert_memory_equal((c)->start, expected, sizeof(expected));                               \
    } while (0)

static void forward_labels(void **state)
{
    (void)state;
    uint8_t buffer[64];
    struct x64_code c = x64_begin(buffer, RX, sizeof(buffer));
    struct x64_label label = X64_LABEL;
    x64_jmp(&c, &label);
    x64_jcc_near(&c, X64_NE, &label);
    x64_jcc(&c, X64_O, &label);
    x64_jmp_near(&c, &label);
    x64_call(&c, &label);
    x64_lea_label(&c, X64_R9, &label);
    x64_bind(&c, &label);
    assert_code(&c, 0xe9, 22, 0, 0, 0, 0x75, 20, 0x0f, 0x80, 14, 0, 0, 0, 0xeb, 12, 0xe8, 7, 0, 0,
                0, 0x4c, 0x8d, 0x0d, 0, 0, 0, 0);
}

static void backward_labels(void **state)
{
    (void)state;
    uint8_t buffer[256];
    struct x64_code c = x64_begin(buffer, RX, sizeof(buffer));
    struct x64_label label = X64_LABEL;
    x64_bind(&c, &label);
    x64_nop(&c, 126);
    x64_jmp(&c, &label);
    assert_int_equal(c.at - c.start, 128);
    assert_int_equal(buffer[126], 0xeb);
    assert_int_equal(buffer[127], 0x80);
    x64_jcc(&c, X64_E, &label); /* no longer within a byte */
    assert_memory_equal(buffer + 128, "\x0f\x84\x7a\xff\xff\xff", 6);
}

/* A short jump ahead that turns out too long must not go anywhere. */
static void near_too_far(void **state)
{
    (void)state;
    uint8_t buffer[256];
    for (size_t distance = 127; distance <= 128; distance++) {
        struct x64_code c = x64_begin(buffer, RX, sizeof(buffer));
        struct x64_label label = X64_LABEL;
        x64_jmp_near(&c, &label);
        x64_nop(&c, distance);
        x64_bind(&c, &label);
        assert_int_equal(c.overflow, distance > 127);
    }
}

static void fixed_targets(void **state)
{
    (void)state;
    uint8_t buffer[64];
    struct x64_code c = x64_begin(buffer, RX, sizeof(buffer));
    x64_jmp_to(&c, RX + 0x1000);
    x64_jcc_to(&c, X64_B, RX); /* short */
    x64_call_to(&c, RX - 4);
    x64_v2(&c, X64_VMOVDQU_LOAD, 9, x64_at(&c, RX + 0x100));
    x64_alu_imm(&c, X64_CMP, 4, x64_at(&c, RX + 0x100), 0x12345678);
    assert_code(&c, 0xe9, 0xfb, 0x0f, 0, 0, 0x72, 0xf9, 0xe8, 0xf0, 0xff, 0xff, 0xff, 0xc5, 0x7a,
                0x6f, 0x0d, 0xec, 0, 0, 0, 0x81, 0x3d, 0xe2, 0, 0, 0, 0x78, 0x56, 0x34, 0x12);

    x64_call_to(&c, RX + INT32_MAX);
    assert_false(c.overflow);
    x64_call_to(&c, RX + 0x90000000);
    assert_true(c.overflow);
}

static void patching(void **state)
{
    (void)state;
    _Alignas(8) uint8_t buffer[64];
    for (size_t offset = 0; offset < 4; offset++) {
        struct x64_code c = x64_begin(buffer, RX, sizeof(buffer));
        x64_nop(&c, offset);
        const size_t slots[] = {x64_jmp_patchable(&c, RX), x64_jcc_patchable(&c, X64_G, RX),
                                x64_call_patchable(&c, RX)};
        assert_false(c.overflow);
        for (size_t i = 0; i < 3; i++) {
            int32_t disp;
            assert_int_equal(slots[i] % 4, 0);
            memcpy(&disp, buffer + slots[i], 4);
            assert_int_equal(disp, -(int32_t)(slots[i] + 4));
            x64_patch(buffer + slots[i], c.rx_delta, RX + 0x4000);
            memcpy(&disp, buffer + slots[i], 4);
            assert_int_equal(disp, 0x4000 - (int32_t)(slots[i] + 4));
        }
    }
}

/* Whatever is emitted at the end of a buffer, nothing is written behind it. */
static void bounded(void **state)
{
    (void)state;
    for (size_t size = 0; size < 40; size++) {
        uint8_t buffer[64];
        memset(buffer, 0xa5, sizeof(buffer));
        struct x64_code c = x64_begin(buffer, RX, size);
        struct x64_label label = X64_LABEL;
        x64_jcc(&c, X64_E, &label);
        x64_jmp_near(&c, &label);
        x64_mov_imm(&c, X64_R8, 0x123456789abcdef0);
        x64_lea_label(&c, X64_RAX, &label);
        x64_v3_imm(&c, X64_VPALIGNR, 9, 10, x64_mx(X64_R12, X64_R13, 2, 0x12345), 3);
        x64_bind(&c, &label);
        assert_int_equal(c.overflow, size < 6 + 2 + 10 + 7 + 11);
        for (size_t i = size; i < sizeof(buffer); i++)
            assert_int_equal(buffer[i], 0xa5);
    }
}

static void padding(void **state)
{
    (void)state;
    _Alignas(16) uint8_t buffer[64];
    for (size_t bytes = 0; bytes < 32; bytes++) {
        struct x64_code c = x64_begin(buffer, RX, sizeof(buffer));
        x64_nop(&c, bytes);
        assert_int_equal(c.at - c.start, bytes);
        x64_align(&c, 16);
        assert_int_equal((c.at - c.start) % 16, 0);
        assert_in_range(c.at - c.start, bytes, bytes + 15);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(forward_labels), cmocka_unit_test(backward_labels),
        cmocka_unit_test(near_too_far),   cmocka_unit_test(fixed_targets),
        cmocka_unit_test(patching),       cmocka_unit_test(bounded),
        cmocka_unit_test(padding),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
