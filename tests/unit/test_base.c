/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"
#include "base/checked.h"
#include "base/error.h"
#include "base/log.h"
#include "base/parse.h"
#include "base/util.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static void error_carries_code_and_context(void **state)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    assert_int_equal(pv_error_set(&err, ENOENT, "no %s", "kernel"), -ENOENT);
    assert_int_equal(pv_error_prefix(&err, "vm '%s'", "web"), -ENOENT);
    assert_string_equal(pv_error_message(err), "vm 'web': no kernel");
    assert_int_equal(pv_error_code(err), ENOENT);
    pv_error_free(&err);
    assert_null(err);
    pv_error_free(&err);
}

static void error_appends_the_systems_text(void **state)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    assert_int_equal(pv_error_errno(&err, EACCES, "opening %d", 7), -EACCES);
    assert_string_equal(pv_error_message(err), "opening 7: Permission denied");
}

static void error_may_be_unwanted(void **state)
{
    assert_int_equal(pv_error_set(NULL, EBUSY, "x"), -EBUSY);
    assert_int_equal(pv_error_errno(NULL, EBUSY, "x"), -EBUSY);
    assert_true(pv_error_prefix(NULL, "y") < 0);
    assert_string_equal(pv_error_message(NULL), "out of memory");
}

static void buffer_grows_up_to_its_maximum(void **state)
{
    PV_CLEANUP_BUFFER struct pv_buffer buffer = PV_BUFFER_INIT(100);
    for (int i = 0; i < 10; i++)
        assert_int_equal(pv_buffer_printf(&buffer, "%09d ", i), 0);
    assert_int_equal(buffer.size, 100);
    assert_int_equal(pv_buffer_append(&buffer, "x", 1), -E2BIG);
    assert_int_equal(buffer.size, 100);
    assert_int_equal(pv_buffer_reserve(&buffer, SIZE_MAX), -E2BIG);
    pv_buffer_consume(&buffer, 95);
    assert_string_equal(buffer.data, "0009 ");
    pv_buffer_consume(&buffer, 50);
    assert_int_equal(buffer.size, 0);
    assert_string_equal(buffer.data, "");
}

static void sizes_are_read_as_people_write_them(void **state)
{
    static const struct {
        const char *text;
        uint64_t value; /* 0: refused */
    } rows[] = {
        {"1", 1},
        {"512M", 512 * PV_MIB},
        {"2G", 2 * PV_GIB},
        {"2GiB", 2 * PV_GIB},
        {"4kB", 4096},
        {"0x1000", 4096},
        {"1T", 1024 * PV_GIB},
        {"", 0},
        {"M", 0},
        {"-1", 0},
        {"1X", 0},
        {"1MM", 0},
        {"1 M", 0},
        {"0", 0},
        {"99999999999T", 0},
        {"18446744073709551616", 0},
        {"16777216T", 0},
        {"0x", 0},
    };
    for (size_t i = 0; i < PV_ARRAY_SIZE(rows); i++) {
        PV_CLEANUP_ERROR struct pv_error *err = NULL;
        uint64_t value = 0;
        int ret = pv_parse_size(rows[i].text, "--memory", 1, UINT64_MAX, &value, &err);
        assert_int_equal(ret, rows[i].value ? 0 : -EINVAL);
        assert_int_equal(value, rows[i].value);
        if (ret < 0)
            assert_non_null(strstr(pv_error_message(err), "--memory"));
    }
}

static void numbers_outside_the_range_are_refused_by_name(void **state)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    uint64_t value;
    assert_int_equal(pv_parse_u64("8", "--cpus", 1, 8, &value, &err), 0);
    assert_int_equal(value, 8);
    assert_int_equal(pv_parse_u64("9", "--cpus", 1, 8, &value, &err), -EINVAL);
    assert_string_equal(pv_error_message(err), "--cpus '9': not a number from 1 to 8");
    assert_int_equal(pv_parse_u64("8x", "--cpus", 1, 8, &value, NULL), -EINVAL);
    assert_int_equal(pv_parse_u64("a", "--cpus", 0, 80, &value, NULL), -EINVAL);
}

static void sizes_are_formatted(void **state)
{
    char buf[16];
    assert_string_equal(pv_format_size(0, buf), "0 B");
    assert_string_equal(pv_format_size(512 * PV_MIB, buf), "512 MiB");
    assert_string_equal(pv_format_size(3 * PV_GIB / 2, buf), "1.5 GiB");
    assert_string_equal(pv_format_size(UINT64_MAX, buf), "16 EiB");
}

static void ranges_do_not_wrap(void **state)
{
    assert_true(pv_range_ok(0, 10, 10));
    assert_true(pv_range_ok(10, 0, 10));
    assert_false(pv_range_ok(10, 1, 10));
    assert_false(pv_range_ok(11, 0, 10));
    assert_false(pv_range_ok(UINT64_MAX, 2, 10));
    assert_false(pv_range_ok(2, UINT64_MAX, 10));
    uint64_t sum;
    assert_false(pv_add_ok(UINT64_MAX, UINT64_C(1), &sum));
    assert_true(pv_add_ok(UINT64_MAX, UINT64_C(0), &sum));
}

static void bit_fields(void **state)
{
    assert_int_equal(pv_bits(0xf0, 4, 4), 0xf);
    assert_true(pv_bits(UINT64_MAX, 0, 64) == UINT64_MAX);
    assert_int_equal(pv_sext(0x80, 8), -128);
    assert_int_equal(pv_sext(0x7f, 8), 127);
    assert_true(pv_align_up(1, 4096) == 4096 && pv_align_down(4097, 4096) == 4096);
}

struct captured {
    unsigned lines;
    char last[64];
};

static void capture(void *opaque, enum pv_log_component component, enum pv_log_level level,
                    const char *line)
{
    struct captured *captured = opaque;
    captured->lines++;
    snprintf(captured->last, sizeof(captured->last), "%s", line);
}

static void log_filters_by_component(void **state)
{
    struct captured captured = {0};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    pv_log_set_sink(capture, &captured);
    assert_int_equal(pv_log_set_filter("error,gic=debug", &err), 0);
    pv_warn(PV_LOG_PCI, "not wanted");
    pv_trace(PV_LOG_GIC, "not wanted");
    assert_int_equal(captured.lines, 0);
    pv_debug(PV_LOG_GIC, "intid %d", 27);
    assert_int_equal(captured.lines, 1);
    assert_string_equal(captured.last, "intid 27");

    assert_int_equal(pv_log_set_filter("gic=loud", &err), -EINVAL);
    assert_non_null(strstr(pv_error_message(err), "gic=loud"));
    pv_error_free(&err);
    assert_int_equal(pv_log_set_filter("trace,nothing=debug", &err), -EINVAL);
    pv_warn(PV_LOG_PCI, "a bad filter changes nothing");
    assert_int_equal(captured.lines, 1);
    assert_int_equal(pv_log_set_filter("warn", NULL), 0);
    pv_log_set_sink(NULL, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(error_carries_code_and_context),
        cmocka_unit_test(error_appends_the_systems_text),
        cmocka_unit_test(error_may_be_unwanted),
        cmocka_unit_test(buffer_grows_up_to_its_maximum),
        cmocka_unit_test(sizes_are_read_as_people_write_them),
        cmocka_unit_test(numbers_outside_the_range_are_refused_by_name),
        cmocka_unit_test(sizes_are_formatted),
        cmocka_unit_test(ranges_do_not_wrap),
        cmocka_unit_test(bit_fields),
        cmocka_unit_test(log_filters_by_component),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
