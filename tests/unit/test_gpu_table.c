/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "gpu/table.h"

static void refuses_what_it_must(void **state)
{
    struct pv_gpu_table table = PV_GPU_TABLE_INIT(2);
    assert_null(pv_gpu_table_find(&table, 1));
    assert_int_equal(pv_gpu_table_add(&table, &(struct pv_gpu_entry){.id = 0}), -EINVAL);
    assert_int_equal(pv_gpu_table_add(&table, &(struct pv_gpu_entry){.id = 1}), 0);
    assert_int_equal(pv_gpu_table_add(&table, &(struct pv_gpu_entry){.id = 1}), -EEXIST);
    assert_int_equal(pv_gpu_table_add(&table, &(struct pv_gpu_entry){.id = 2}), 0);
    assert_int_equal(pv_gpu_table_add(&table, &(struct pv_gpu_entry){.id = 3}), -E2BIG);
    pv_gpu_table_finish(&table);
}

/* Against a plain array: ids that come, go and collide. */
static void agrees_with_a_plain_array(void **state)
{
    enum { IDS = 512 };
    static bool there[IDS];
    struct pv_gpu_table table = PV_GPU_TABLE_INIT(IDS);
    uint32_t seed = 1;
    for (unsigned step = 0; step < 50000; step++) {
        seed = seed * 1664525 + 1013904223;
        uint64_t id = 1 + (seed >> 8) % (IDS - 1);
        if (there[id]) {
            struct pv_gpu_entry out;
            assert_true(pv_gpu_table_remove(&table, id, &out));
            assert_int_equal(out.handle, id * 7);
        } else {
            assert_false(pv_gpu_table_remove(&table, id, NULL));
            const struct pv_gpu_entry entry = {.id = id, .handle = id * 7};
            assert_int_equal(pv_gpu_table_add(&table, &entry), 0);
        }
        there[id] = !there[id];
    }
    size_t count = 0, walked = 0, cursor = 0;
    for (uint64_t id = 1; id < IDS; id++) {
        count += there[id];
        assert_int_equal(pv_gpu_table_find(&table, id) != NULL, there[id]);
    }
    while (pv_gpu_table_next(&table, &cursor))
        walked++;
    assert_int_equal(walked, count);
    assert_int_equal(table.count, count);
    pv_gpu_table_finish(&table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(refuses_what_it_must),
        cmocka_unit_test(agrees_with_a_plain_array),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
