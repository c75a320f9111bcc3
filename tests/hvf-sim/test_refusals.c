/* SPDX-License-Identifier: MIT */
/* Macs on which the engine cannot be used: a line for each, with what to do. */
#include "base/error.h"
#include "base/util.h"
#include "sim.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static const struct sim_host ordinary = {.vcpus = SIM_VCPUS, .ipa_bits = 40};

static int restore(void **unused)
{
    sim_host = ordinary;
    return 0;
}

static void refused(int error, const char *const *says)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;

    assert_int_equal(pv_engine_probe(&pv_engine_hvf, &err), error);
    for (; *says; says++)
        if (!strstr(pv_error_message(err), *says))
            fail_msg("'%s' does not say '%s'", pv_error_message(err), *says);
    assert_false(sim.vm);
}

static void test_usable(void **unused)
{
    assert_int_equal(pv_engine_probe(&pv_engine_hvf, NULL), 0);
    assert_false(sim.vm);
    /* The process' VM is no reason against it. */
    assert_int_equal(hv_vm_create(NULL), HV_SUCCESS);
    assert_int_equal(pv_engine_probe(&pv_engine_hvf, NULL), 0);
    assert_true(sim.vm);
    assert_int_equal(hv_vm_destroy(), HV_SUCCESS);
}

static void test_unsigned(void **unused)
{
    sim_host.refusal = HV_DENIED;
    refused(-EACCES, (const char *[]){"com.apple.security.hypervisor", "codesign --sign -", NULL});
}

static void test_no_virtualisation(void **unused)
{
    sim_host.refusal = HV_UNSUPPORTED;
    refused(-ENOTSUP, (const char *[]){"cannot run virtual machines", "--engine interp", NULL});
}

static void test_short_addresses(void **unused)
{
    sim_host.ipa_bits = 36;
    refused(-ENOTSUP, (const char *[]){"36 bits", "needs 40", "--engine interp", NULL});
}

static void test_too_many_vcpus(void **unused)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    const uint64_t mpidr[3] = {0, 1, 2};
    const struct pv_engine_client client = {0};
    struct pv_engine_config config = {.vcpus = 3, .mpidr = mpidr, .client = &client};
    struct pv_engine *engine = NULL;

    sim_host.vcpus = 2;
    assert_int_equal(pv_as_create(&config.as, NULL), 0);
    assert_int_equal(pv_engine_create(&engine, &pv_engine_hvf, &config, &err), -EINVAL);
    assert_non_null(strstr(pv_error_message(err), "3 vCPUs: this Mac has at most 2"));
    pv_as_destroy(config.as);
    assert_false(sim.vm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_usable, restore),
        cmocka_unit_test_teardown(test_unsigned, restore),
        cmocka_unit_test_teardown(test_no_virtualisation, restore),
        cmocka_unit_test_teardown(test_short_addresses, restore),
        cmocka_unit_test_teardown(test_too_many_vcpus, restore),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
