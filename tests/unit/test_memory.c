/* SPDX-License-Identifier: MIT */
#include "base/error.h"
#include "base/util.h"
#include "memory/address_space.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define RAM 0x40000000ull

static int setup(void **state)
{
    struct pv_address_space *as;
    if (pv_as_create(&as, NULL) < 0)
        return -1;
    *state = as;
    return pv_as_add_ram(as, RAM, 16 * PV_GUEST_PAGE, "ram", NULL);
}

static int teardown(void **state)
{
    pv_as_destroy(*state);
    return 0;
}

static void ram_reads_zero_and_keeps_what_is_written(void **state)
{
    struct pv_address_space *as = *state;
    uint32_t value = 1;
    assert_int_equal(pv_as_read(as, RAM, &value, 4), 0);
    assert_int_equal(value, 0);
    value = 0x12345678;
    assert_int_equal(pv_as_write(as, RAM + 0xffe, &value, 4), 0);
    uint64_t got;
    assert_int_equal(pv_as_cpu_read(as, RAM + 0xffe, 4, &got), 0);
    assert_int_equal(got, 0x12345678);
    assert_int_equal(pv_as_cpu_write(as, RAM + 8, 2, 0xabcdef), 0);
    assert_int_equal(pv_as_cpu_read(as, RAM + 8, 8, &got), 0);
    assert_int_equal(got, 0xcdef);
    assert_int_equal(pv_as_fill(as, RAM, 0x55, 3), 0);
    assert_int_equal(pv_as_cpu_read(as, RAM, 4, &got), 0);
    assert_int_equal(got, 0x555555);
}

static void nothing_outside_regions_is_reachable(void **state)
{
    struct pv_address_space *as = *state;
    char buf[8];
    uint64_t value;
    const uint64_t end = RAM + 16 * PV_GUEST_PAGE;
    assert_int_equal(pv_as_read(as, RAM - 1, buf, 2), -EFAULT);
    assert_int_equal(pv_as_read(as, end - 1, buf, 2), -EFAULT);
    assert_int_equal(pv_as_write(as, UINT64_MAX, buf, 8), -EFAULT);
    assert_int_equal(pv_as_fill(as, end, 0, 1), -EFAULT);
    assert_int_equal(pv_as_cpu_read(as, end - 4, 8, &value), -EFAULT);
    assert_int_equal(pv_as_cpu_write(as, 0, 4, 0), -EFAULT);
    assert_null(pv_as_host(as, end - 4, 8, false));
    assert_null(pv_as_host(as, RAM, SIZE_MAX, false));
    assert_null(pv_as_host(as, RAM - 4, 8, true));
    assert_non_null(pv_as_host(as, end - 8, 8, true));
}

static void windows_answer_where_nothing_is(void **state)
{
    struct pv_address_space *as = *state;
    const uint64_t end = RAM + 16 * PV_GUEST_PAGE;
    uint64_t value = 1;
    assert_int_equal(pv_as_add_window(as, RAM, 0x100000, NULL), 0);
    assert_int_equal(pv_as_cpu_read(as, end, 4, &value), 0);
    assert_int_equal(value, 0);
    assert_int_equal(pv_as_cpu_write(as, end, 4, 1), 0);
    assert_int_equal(pv_as_cpu_read(as, RAM + 0xffff8, 8, &value), 0);
    assert_int_equal(pv_as_cpu_read(as, RAM + 0xffffc, 8, &value), -EFAULT);
    assert_int_equal(pv_as_cpu_write(as, RAM + 0x100000, 1, 0), -EFAULT);
    assert_int_equal(pv_as_cpu_read(as, RAM - 1, 1, &value), -EFAULT);

    /* To vCPUs only, and what is there comes first. */
    assert_int_equal(pv_as_read(as, end, &value, 4), -EFAULT);
    assert_null(pv_as_host(as, end, 4, false));
    assert_int_equal(pv_as_cpu_write(as, RAM, 4, 5), 0);
    assert_int_equal(pv_as_cpu_read(as, RAM, 4, &value), 0);
    assert_int_equal(value, 5);
    assert_int_equal(pv_as_cpu_read(as, end - 4, 8, &value), -EFAULT);
    for (unsigned i = 1; i < 4; i++)
        assert_int_equal(pv_as_add_window(as, 0, PV_GUEST_PAGE, NULL), 0);
    assert_int_equal(pv_as_add_window(as, 0, PV_GUEST_PAGE, NULL), -ENOSPC);
}

static void copies_cross_adjoining_regions(void **state)
{
    struct pv_address_space *as = *state;
    const uint64_t end = RAM + 16 * PV_GUEST_PAGE;
    assert_int_equal(pv_as_add_ram(as, end, PV_GUEST_PAGE, "more", NULL), 0);
    const uint64_t out = 0x1122334455667788;
    uint64_t in = 0;
    assert_int_equal(pv_as_write(as, end - 3, &out, 8), 0);
    assert_int_equal(pv_as_read(as, end - 3, &in, 8), 0);
    assert_true(in == out);
    /* One pointer cannot cover two regions. */
    assert_null(pv_as_host(as, end - 3, 8, false));
}

static void overlaps_and_odd_sizes_are_refused(void **state)
{
    struct pv_address_space *as = *state;
    static const struct {
        uint64_t address, size;
        int ret;
    } rows[] = {
        {RAM, PV_GUEST_PAGE, -EEXIST},
        {RAM - PV_GUEST_PAGE, 2 * PV_GUEST_PAGE, -EEXIST},
        {RAM + 15 * PV_GUEST_PAGE, 2 * PV_GUEST_PAGE, -EEXIST},
        {0, 2 * RAM, -EEXIST},
        {0, 0, -EINVAL},
        {1, PV_GUEST_PAGE, -EINVAL},
        {0, 100, -EINVAL},
        {UINT64_MAX - PV_GUEST_PAGE + 1, 2 * PV_GUEST_PAGE, -EINVAL},
    };
    for (size_t i = 0; i < PV_ARRAY_SIZE(rows); i++) {
        PV_CLEANUP_ERROR struct pv_error *err = NULL;
        assert_int_equal(pv_as_add_mmio(as, rows[i].address, rows[i].size, NULL, NULL, "x", &err),
                         rows[i].ret);
        assert_non_null(err);
    }
}

struct device {
    uint64_t offset, value;
    unsigned size;
};

static uint64_t device_read(void *opaque, uint64_t offset, unsigned size)
{
    struct device *device = opaque;
    device->offset = offset;
    device->size = size;
    return device->value;
}

static void device_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    *(struct device *)opaque = (struct device){.offset = offset, .size = size, .value = value};
}

static const struct pv_mmio_ops device_ops = {.read = device_read, .write = device_write};

static void mmio_is_for_vcpus_only(void **state)
{
    struct pv_address_space *as = *state;
    struct device device = {0};
    uint64_t value;
    assert_int_equal(pv_as_add_mmio(as, 0x9000000, 0x1000, &device_ops, &device, "dev", NULL), 0);
    assert_int_equal(pv_as_cpu_write(as, 0x9000ff8, 8, 77), 0);
    assert_int_equal(device.offset, 0xff8);
    assert_int_equal(device.size, 8);
    assert_int_equal(pv_as_cpu_read(as, 0x9000004, 2, &value), 0);
    assert_int_equal(value, 77);
    assert_int_equal(device.size, 2);
    assert_int_equal(pv_as_cpu_read(as, 0x9000ffc, 8, &value), -EFAULT);
    assert_int_equal(pv_as_read(as, 0x9000000, &value, 4), -EFAULT);
    assert_null(pv_as_host(as, 0x9000000, 4, false));
    assert_int_equal(pv_as_remove(as, 0x9000000), 0);
    assert_int_equal(pv_as_remove(as, 0x9000000), -ENOENT);
    assert_int_equal(pv_as_cpu_read(as, 0x9000004, 2, &value), -EFAULT);
}

static void rom_writes_go_to_its_handler(void **state)
{
    struct pv_address_space *as = *state;
    static _Alignas(4096) uint8_t rom[PV_GUEST_PAGE] = {1, 2, 3, 4};
    struct device device = {0};
    uint64_t value;
    assert_int_equal(pv_as_add_host(as, 0, sizeof(rom), rom, -1, 0, PV_REGION_ROM, &device_ops,
                                    &device, "rom", NULL),
                     0);
    assert_int_equal(pv_as_cpu_read(as, 0, 4, &value), 0);
    assert_int_equal(value, 0x04030201);
    assert_int_equal(pv_as_cpu_write(as, 2, 1, 9), 0);
    assert_int_equal(device.offset, 2);
    assert_int_equal(rom[2], 3);
    assert_int_equal(pv_as_write(as, 2, &value, 1), -EFAULT);
    assert_non_null(pv_as_host(as, 0, 4, false));
    assert_null(pv_as_host(as, 0, 4, true));
}

/* Memory that may go any time is RAM to vCPUs and copies; who keeps pointers gets none. */
static void memory_of_others(void **state)
{
    struct pv_address_space *as = *state;
    static _Alignas(4096) uint8_t blob[PV_GUEST_PAGE];
    const uint64_t at = RAM - PV_GUEST_PAGE; /* RAM follows */
    uint64_t value = UINT64_C(0x8877665544332211);
    assert_int_equal(
        pv_as_add_host(as, at, sizeof(blob), blob, -1, 0, PV_REGION_RAM, NULL, NULL, "blob", NULL),
        0);
    assert_int_equal(pv_as_cpu_write(as, at + 8, 8, value), 0);
    assert_memory_equal(blob + 8, &value, 8);
    assert_int_equal(pv_as_write(as, RAM - 4, &value, 8), 0); /* half in each */
    assert_int_equal(blob[PV_GUEST_PAGE - 1], 0x44);
    assert_int_equal(pv_as_cpu_read(as, RAM, 4, &value), 0);
    assert_int_equal(value, 0x88776655);
    assert_int_equal(pv_as_fill(as, at, 0x5a, 8), 0);
    assert_int_equal(blob[7], 0x5a);
    assert_ptr_equal(pv_as_host(as, at, 8, true), blob);
    assert_null(pv_as_ram(as, at, 8, false));
    assert_non_null(pv_as_ram(as, RAM, 8, true));
    assert_int_equal(pv_as_remove(as, at), 0);
    assert_int_equal(pv_as_read(as, at, &value, 1), -EFAULT);
}

struct seen {
    unsigned added, removed, dirty;
};

static void on_added(void *opaque, const struct pv_region_info *region)
{
    ((struct seen *)opaque)->added++;
}
static void on_removed(void *opaque, const struct pv_region_info *region)
{
    ((struct seen *)opaque)->removed++;
}
static void on_dirty(void *opaque)
{
    ((struct seen *)opaque)->dirty++;
}

static void listeners_hear_of_every_change(void **state)
{
    struct pv_address_space *as = *state;
    struct seen seen = {0};
    struct pv_as_listener listener = {
        .added = on_added,
        .removed = on_removed,
        .dirty_log_changed = on_dirty,
        .opaque = &seen,
    };
    pv_as_add_listener(as, &listener);
    assert_int_equal(seen.added, 1);
    assert_int_equal(pv_as_add_ram(as, 0, PV_GUEST_PAGE, "low", NULL), 0);
    assert_int_equal(seen.added, 2);
    assert_int_equal(pv_as_remove(as, 0), 0);
    assert_int_equal(seen.removed, 1);
    assert_int_equal(pv_as_dirty_log(as, true, NULL), 0);
    assert_int_equal(seen.dirty, 1);
    pv_as_remove_listener(as, &listener);
    assert_int_equal(pv_as_dirty_log(as, false, NULL), 0);
    assert_int_equal(seen.dirty, 1);
}

struct own_log {
    struct pv_address_space *as;
    unsigned handed_over;
    uint64_t written; /* a page that only this log knows of; 0: none */
};

static void hand_over(void *opaque, const struct pv_region_info *region)
{
    struct own_log *log = opaque;
    if (log->written)
        pv_as_mark_dirty(log->as, log->written, 1);
    log->written = 0;
    log->handed_over++;
}

static void dirty_log_asks_those_who_keep_one(void **state)
{
    struct own_log log = {.as = *state};
    struct pv_as_listener listener = {.dirty_log_sync = hand_over, .opaque = &log};
    uint64_t bits;

    pv_as_add_listener(log.as, &listener);
    assert_int_equal(pv_as_dirty_log(log.as, true, NULL), 0);
    assert_int_equal(log.handed_over, 0);
    log.written = RAM + 0x3000;
    assert_int_equal(pv_as_dirty_fetch(log.as, RAM, &bits, 1), 0);
    assert_true(bits == 1u << 3);
    /* Beginning again takes what is there and forgets it. */
    log.written = RAM + 0x4000;
    assert_int_equal(pv_as_dirty_log(log.as, true, NULL), 0);
    assert_int_equal(pv_as_dirty_fetch(log.as, RAM, &bits, 1), 0);
    assert_true(bits == 0);
    assert_int_equal(log.handed_over, 3);
    pv_as_remove_listener(log.as, &listener);
}

static void dirty_log_sees_every_writer(void **state)
{
    struct pv_address_space *as = *state;
    uint64_t bits;
    assert_int_equal(pv_as_dirty_fetch(as, RAM, &bits, 1), -EINVAL);
    assert_int_equal(pv_as_dirty_log(as, true, NULL), 0);
    assert_int_equal(pv_as_cpu_write(as, RAM + 0x1000, 4, 1), 0);
    assert_int_equal(pv_as_write(as, RAM + 0x2fff, "ab", 2), 0);
    assert_non_null(pv_as_host(as, RAM + 0x5000, 1, true));
    assert_non_null(pv_as_host(as, RAM + 0x6000, 1, false));
    pv_as_mark_dirty(as, RAM + 0x8000, 0x1001);
    pv_as_mark_dirty(as, RAM + 0xf000, 0x2000);
    assert_true(pv_as_is_dirty(as, RAM + 0x5fff));
    assert_false(pv_as_is_dirty(as, RAM + 0x6000));
    assert_int_equal(pv_as_dirty_fetch(as, RAM, &bits, 1), 0);
    assert_true(bits == (1u << 1 | 1u << 2 | 1u << 3 | 1u << 5 | 1u << 8 | 1u << 9));
    assert_int_equal(pv_as_dirty_fetch(as, RAM, &bits, 1), 0);
    assert_true(bits == 0);
    assert_int_equal(pv_as_dirty_fetch(as, RAM, &bits, 0), -EINVAL);
    /* Switching on again starts clean. */
    pv_as_mark_dirty(as, RAM, 1);
    assert_int_equal(pv_as_dirty_log(as, true, NULL), 0);
    assert_int_equal(pv_as_dirty_fetch(as, RAM, &bits, 1), 0);
    assert_true(bits == 0);
}

static void regions_can_be_walked(void **state)
{
    struct pv_address_space *as = *state;
    struct pv_region_info info;
    assert_int_equal(pv_as_add_mmio(as, 0x1000, 0x1000, &device_ops, NULL, "dev", NULL), 0);
    assert_true(pv_as_next(as, 0, &info));
    assert_string_equal(info.name, "dev");
    assert_true(pv_as_next(as, info.address + info.size, &info));
    assert_string_equal(info.name, "ram");
    assert_true(info.fd >= 0);
    assert_false(pv_as_next(as, info.address + info.size, &info));
    assert_true(pv_as_find(as, RAM + 5, &info));
    assert_false(pv_as_find(as, 0, &info));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(ram_reads_zero_and_keeps_what_is_written),
        TEST(nothing_outside_regions_is_reachable),
        TEST(windows_answer_where_nothing_is),
        TEST(copies_cross_adjoining_regions),
        TEST(overlaps_and_odd_sizes_are_refused),
        TEST(mmio_is_for_vcpus_only),
        TEST(rom_writes_go_to_its_handler),
        TEST(memory_of_others),
        TEST(listeners_hear_of_every_change),
        TEST(dirty_log_asks_those_who_keep_one),
        TEST(dirty_log_sees_every_writer),
        TEST(regions_can_be_walked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
