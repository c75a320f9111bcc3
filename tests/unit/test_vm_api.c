/* SPDX-License-Identifier: MIT */
/* The public C API, through its header alone. */
#include <pearvisor/pearvisor.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void versions_agree(void **state)
{
    assert_int_equal(pearvisor_api_version(), PEARVISOR_API_VERSION);
}

static void a_failure_says_which_file(void **state)
{
    const struct pearvisor_options options = {
        .api_version = PEARVISOR_API_VERSION,
        .kernel = "/nonexistent/vmlinuz",
    };
    struct pearvisor_vm *vm = NULL;
    char *message = NULL;
    assert_int_equal(pearvisor_vm_create(&vm, &options, &message), -ENOENT);
    assert_null(vm);
    assert_non_null(strstr(message, "/nonexistent/vmlinuz"));
    free(message);
    assert_int_equal(pearvisor_vm_create(&vm, &options, NULL), -ENOENT);
}

static void another_version_is_refused(void **state)
{
    const struct pearvisor_options options = {
        .api_version = PEARVISOR_API_VERSION + 1,
        .kernel = "/nonexistent/vmlinuz",
    };
    struct pearvisor_vm *vm = NULL;
    char *message = NULL;
    assert_true(pearvisor_vm_create(&vm, &options, &message) < 0);
    assert_null(strstr(message, "/nonexistent/vmlinuz"));
    free(message);
}

static void nothing_can_be_destroyed(void **state)
{
    pearvisor_vm_destroy(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(versions_agree),
        cmocka_unit_test(a_failure_says_which_file),
        cmocka_unit_test(another_version_is_refused),
        cmocka_unit_test(nothing_can_be_destroyed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
