/* SPDX-License-Identifier: MIT */
/* What a publisher's list of checksums says, and what images are called. */
#include "base/error.h"
#include "base/util.h"
#include "fetch/digest.h"
#include "fetch/pull.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define HEX16 "0123456789abcdef"
#define HEX64 HEX16 HEX16 HEX16 HEX16

static int look(const char *list, const char *name, char digits[DIGEST_TEXT_MAX])
{
    enum digest_kind kind;
    int ret = digest_in_list(list, name, &kind, digits);
    if (ret == 0)
        assert_int_equal(strlen(digits), kind == DIGEST_SHA256 ? 64 : 128);
    return ret;
}

static void test_lists(void **state)
{
    char digits[DIGEST_TEXT_MAX];
    static const char *const good[] = {
        HEX64 "  a.img\n",
        HEX64 " *a.img",
        HEX64 "  ./a.img\r\n",
        "# a comment\n\n" HEX64 "  aa.img\n" HEX64 "  a.img\n",
        "SHA256 (a.img) = " HEX64 "\n",
        HEX64 HEX64 "  a.img\n",
        "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\nSHA256 (a.img) = " HEX64 "\n",
    };
    static const char *const bad[] = {
        "",
        "\n\n",
        HEX64,
        HEX64 " a.img",
        HEX64 "  a.imgx\n",
        HEX64 "  b/a.img\n",
        HEX64 "0  a.img\n",
        HEX16 "  a.img\n",
        "g123456789abcdef" HEX16 HEX16 HEX16 "  a.img\n",
        "SHA256 (a.img = " HEX64,
        "SHA256 (a.img) = ",
        "(",
        "  a.img",
    };
    for (size_t i = 0; i < PV_ARRAY_SIZE(good); i++)
        assert_int_equal(look(good[i], "a.img", digits), 0);
    assert_memory_equal(digits, HEX64, 64);
    for (size_t i = 0; i < PV_ARRAY_SIZE(bad); i++)
        assert_int_equal(look(bad[i], "a.img", digits), -ENOENT);
}

static void test_capitals(void **state)
{
    char digits[DIGEST_TEXT_MAX];
    enum digest_kind kind;
    assert_int_equal(digest_parse("0123456789ABCDEF" HEX16 HEX16 HEX16, &kind, digits), 0);
    assert_string_equal(digits, HEX64);
    assert_int_equal(digest_parse("12", &kind, digits), -EINVAL);
}

static void test_names(void **state)
{
    static const struct {
        const char *what, *name;
    } cases[] = {
        {"debian:13", "debian-13"},
        {"arch", "arch"},
        {"https://x/y/noble-1.2.img?a=/b#c", "noble-1.2"},
        {"/tmp/a b/disk.raw.xz", "disk"},
        {"./x.qcow2", "x"},
        {"https://x/", NULL},
        {"/tmp/.img", NULL},
        {"..", NULL},
        {"", NULL},
        {"a b", NULL},
    };
    for (size_t i = 0; i < PV_ARRAY_SIZE(cases); i++) {
        PV_CLEANUP_ERROR struct pv_error *err = NULL;
        PV_CLEANUP_FREE char *name = NULL;
        int ret = pull_name(cases[i].what, &name, &err);
        assert_int_equal(ret, cases[i].name ? 0 : -EINVAL);
        if (cases[i].name)
            assert_string_equal(name, cases[i].name);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_capitals),
        cmocka_unit_test(test_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
