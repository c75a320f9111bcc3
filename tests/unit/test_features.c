/* SPDX-License-Identifier: MIT */
/*
 * The identification registers of every engine against spec/features.tsv, the frozen list of what
 * the PE is; and that each row names a test that exists.
 */
#include "base/error.h"
#include "base/util.h"
#include "engine/engine.h"
#include "memory/address_space.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct {
    const char *name;
    uint32_t sysreg;
} registers[] = {
    {"MIDR_EL1", PV_SYSREG(3, 0, 0, 0, 0)},         {"REVIDR_EL1", PV_SYSREG(3, 0, 0, 0, 6)},
    {"ID_AA64PFR0_EL1", PV_SYSREG(3, 0, 0, 4, 0)},  {"ID_AA64PFR1_EL1", PV_SYSREG(3, 0, 0, 4, 1)},
    {"ID_AA64DFR0_EL1", PV_SYSREG(3, 0, 0, 5, 0)},  {"ID_AA64ISAR0_EL1", PV_SYSREG(3, 0, 0, 6, 0)},
    {"ID_AA64ISAR1_EL1", PV_SYSREG(3, 0, 0, 6, 1)}, {"ID_AA64MMFR0_EL1", PV_SYSREG(3, 0, 0, 7, 0)},
    {"ID_AA64MMFR1_EL1", PV_SYSREG(3, 0, 0, 7, 1)}, {"ID_AA64MMFR2_EL1", PV_SYSREG(3, 0, 0, 7, 2)},
    {"CTR_EL0", PV_SYSREG(3, 3, 0, 0, 1)},          {"DCZID_EL0", PV_SYSREG(3, 3, 0, 0, 7)},
    {"CLIDR_EL1", PV_SYSREG(3, 1, 0, 0, 1)},        {"AIDR_EL1", PV_SYSREG(3, 1, 0, 0, 7)},
};

struct row {
    char name[32], meaning[96], test[128];
    unsigned lsb, width;
    uint64_t value;
};

/* The next row; false at the end. */
static bool read_row(FILE *list, struct row *row)
{
    char line[512];
    while (fgets(line, sizeof(line), list)) {
        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%31[^\t]\t%u\t%u\t%" SCNi64 "\t%95[^\t]\t%127[^\n]",
                                row->name, &row->lsb, &row->width, &row->value, row->meaning,
                                row->test),
                         6);
        return true;
    }
    return false;
}

static FILE *open_list(void)
{
    FILE *list = fopen(PV_SOURCE_ROOT "/spec/features.tsv", "r");
    assert_non_null(list);
    return list;
}

static unsigned index_of(const char *name)
{
    for (unsigned i = 0; i < PV_ARRAY_SIZE(registers); i++)
        if (strcmp(registers[i].name, name) == 0)
            return i;
    fail_msg("no register %s", name);
    return 0;
}

static void check_engine(const struct pv_engine_ops *ops, const uint64_t *expected)
{
    static const struct pv_engine_client client;
    static const uint64_t mpidr[1];
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct pv_address_space *as;
    struct pv_engine *engine;
    uint64_t value;
    assert_int_equal(pv_as_create(&as, &err), 0);
    const struct pv_engine_config config = {
        .as = as, .vcpus = 1, .client = &client, .mpidr = mpidr};
    assert_int_equal(pv_engine_create(&engine, ops, &config, &err), 0);
    assert_int_equal(pv_engine_start(engine, &err), 0);
    struct pv_vcpu *vcpu = pv_engine_vcpu(engine, 0);
    for (unsigned i = 0; i < PV_ARRAY_SIZE(registers); i++) {
        assert_int_equal(pv_vcpu_get_sysreg(vcpu, registers[i].sysreg, &value), 0);
        if (value != expected[i])
            fail_msg("%s, %s: %#" PRIx64 " is not the list's %#" PRIx64, pv_engine_name(ops),
                     registers[i].name, value, expected[i]);
    }
    /* All others of the ID space are zero (D17.3.1). */
    for (uint32_t reg = PV_SYSREG(3, 0, 0, 1, 0); reg <= PV_SYSREG(3, 0, 0, 7, 7); reg++) {
        bool listed = false;
        for (unsigned i = 0; i < PV_ARRAY_SIZE(registers); i++)
            listed |= registers[i].sysreg == reg;
        assert_int_equal(pv_vcpu_get_sysreg(vcpu, reg, &value), 0);
        if (!listed && value != 0)
            fail_msg("%s, register %#x is %#" PRIx64 ", not 0", pv_engine_name(ops), reg, value);
    }
    pv_engine_destroy(engine);
    pv_as_destroy(as);
}

static void are_those_of_the_list(void **state)
{
    uint64_t expected[PV_ARRAY_SIZE(registers)] = {0};
    unsigned engines = 0;
    struct row row;
    FILE *list = open_list();
    while (read_row(list, &row)) {
        assert_true(row.width < 64 && row.lsb + row.width <= 64 && row.value >> row.width == 0);
        const uint64_t mask = ((UINT64_C(1) << row.width) - 1) << row.lsb;
        uint64_t *value = &expected[index_of(row.name)];
        assert_int_equal(*value & mask, 0); /* no bit stands twice */
        *value |= row.value << row.lsb;
    }
    fclose(list);
    for (const struct pv_engine_ops *const *ops = pv_engine_list(); *ops; ops++) {
        if (pv_engine_is_test_only(*ops) || pv_engine_probe(*ops, NULL) < 0)
            continue;
        check_engine(*ops, expected);
        engines++;
    }
    assert_true(engines > 0);
}

static bool file_has(const char *path, const char *text)
{
    char full[512], line[1024];
    bool found = false;
    snprintf(full, sizeof(full), "%s/%s", PV_SOURCE_ROOT, path);
    FILE *file = fopen(full, "r");
    while (file && !found && fgets(line, sizeof(line), file))
        found = strstr(line, text) != NULL;
    if (file)
        fclose(file);
    return found;
}

static void have_a_test_each(void **state)
{
    struct row row;
    FILE *list = open_list();
    while (read_row(list, &row)) {
        char *colon = strchr(row.test, ':');
        assert_non_null(colon);
        *colon = '\0';
        if (!file_has(row.test, colon + 1))
            fail_msg("%s, %s: there is no %s in %s", row.name, row.meaning, colon + 1, row.test);
    }
    fclose(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(are_those_of_the_list),
        cmocka_unit_test(have_a_test_each),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
