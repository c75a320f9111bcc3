/* SPDX-License-Identifier: MIT */
/*
 * The text of macOS' sandbox profiles. Whether macOS takes it can only be seen there; that the text
 * is well-formed, and grants what was asked and nothing else, is seen here.
 */
#include "base/error.h"
#include "base/util.h"
#include "host/sandbox_profile.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define MAX_TEXT 65536u

static char folder[PATH_MAX]; /* made by set_up(), free of links */

static void profile_of(struct pv_buffer *out, const struct pv_grant *grants, size_t count)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    *out = PV_BUFFER_INIT(MAX_TEXT);
    assert_int_equal(pv_sandbox_profile(out, grants, count, &err), 0);
}

/* The rules that come for the grants, behind those that each profile has. */
static const char *rules_of(const struct pv_buffer *profile)
{
    PV_CLEANUP_BUFFER struct pv_buffer base = {0};
    profile_of(&base, NULL, 0);
    assert_true(profile->size >= base.size);
    assert_memory_equal(profile->data, base.data, base.size);
    return profile->data + base.size;
}

static void expect_rule(const char *name, enum pv_grant_access access, const char *expected)
{
    PV_CLEANUP_BUFFER struct pv_buffer profile = {0};
    char wanted[2 * PATH_MAX];
    profile_of(&profile, &(struct pv_grant){name, access}, 1);
    snprintf(wanted, sizeof(wanted), expected, folder);
    assert_string_equal(rules_of(&profile), wanted);
}

static void make_file(const char *name)
{
    PV_CLEANUP_FD int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
}

static void test_accesses(void **state)
{
    make_file("disk");
    expect_rule("disk", PV_GRANT_READ, "(allow file-read* (subpath \"%s/disk\"))\n");
    expect_rule("disk", PV_GRANT_WRITE,
                "(allow file-read* file-write-data (subpath \"%s/disk\"))\n");
    expect_rule(".", PV_GRANT_CREATE, "(allow file-read* file-write* (subpath \"%s\"))\n");
}

/* A name that would end its string and grant everything, if it were not escaped. */
static void test_names_are_escaped(void **state)
{
    make_file("a\"))(allow file*)(b");
    expect_rule("a\"))(allow file*)(b", PV_GRANT_READ,
                "(allow file-read* (subpath \"%s/a\\\"))(allow file*)(b\"))\n");
    make_file("back\\\"slash");
    expect_rule("back\\\"slash", PV_GRANT_READ,
                "(allow file-read* (subpath \"%s/back\\\\\\\"slash\"))\n");
    make_file("(one) ; two #");
    expect_rule("(one) ; two #", PV_GRANT_READ,
                "(allow file-read* (subpath \"%s/(one) ; two #\"))\n");
    make_file("gr\303\266\303\237e");
    expect_rule("gr\303\266\303\237e", PV_GRANT_READ,
                "(allow file-read* (subpath \"%s/gr\303\266\303\237e\"))\n");
}

static void test_control_characters_are_refused(void **state)
{
    static const char *const names[] = {"new\nline", "bell\a", "delete\x7f"};
    for (size_t i = 0; i < PV_ARRAY_SIZE(names); i++) {
        PV_CLEANUP_BUFFER struct pv_buffer profile = PV_BUFFER_INIT(MAX_TEXT);
        PV_CLEANUP_ERROR struct pv_error *err = NULL;
        make_file(names[i]);
        assert_int_equal(
            pv_sandbox_profile(&profile, &(struct pv_grant){names[i], PV_GRANT_READ}, 1, &err),
            -EINVAL);
        assert_non_null(strstr(pv_error_message(err), "control character"));
    }
}

/* The kernel compares what a link leads to: /tmp is /private/tmp on a Mac. */
static void test_links_are_followed(void **state)
{
    make_file("target");
    assert_int_equal(symlink("target", "link"), 0);
    expect_rule("link", PV_GRANT_READ, "(allow file-read* (subpath \"%s/target\"))\n");
}

static void test_what_is_not_there_is_not_granted(void **state)
{
    make_file("plain");
    expect_rule("absent", PV_GRANT_CREATE, "");
    expect_rule("plain/below", PV_GRANT_CREATE, "");
}

static void test_every_grant_has_its_rule(void **state)
{
    PV_CLEANUP_BUFFER struct pv_buffer profile = {0};
    char wanted[3 * PATH_MAX];
    make_file("one");
    make_file("two");
    profile_of(&profile,
               (struct pv_grant[]){
                   {"one", PV_GRANT_READ}, {"absent", PV_GRANT_WRITE}, {"two", PV_GRANT_WRITE}},
               3);
    snprintf(wanted, sizeof(wanted),
             "(allow file-read* (subpath \"%s/one\"))\n"
             "(allow file-read* file-write-data (subpath \"%s/two\"))\n",
             folder, folder);
    assert_string_equal(rules_of(&profile), wanted);
}

/* The last rule that matches decides, so files are taken away before any is given. */
static void test_what_each_profile_takes_away(void **state)
{
    static const char *const denied[] = {"process-exec*", "process-fork", "signal (target others)",
                                         "mach-priv-task-port"};
    PV_CLEANUP_BUFFER struct pv_buffer profile = {0};
    profile_of(&profile, NULL, 0);
    assert_memory_equal(profile.data, "(version 1)\n", strlen("(version 1)\n"));
    for (size_t i = 0; i < PV_ARRAY_SIZE(denied); i++) {
        char rule[64];
        snprintf(rule, sizeof(rule), "\n(deny %s)\n", denied[i]);
        assert_non_null(strstr(profile.data, rule));
    }
    const char *files = strstr(profile.data, "\n(deny file-read* file-write*)\n");
    assert_non_null(files);
    assert_ptr_equal(strstr(profile.data, "(allow file-") > files ? files : NULL, files);
}

/* Strings end, and each parenthesis outside of them has its other half on the same line. */
static void test_base_is_well_formed(void **state)
{
    PV_CLEANUP_BUFFER struct pv_buffer profile = {0};
    int depth = 0;
    bool quoted = false;
    profile_of(&profile, NULL, 0);
    for (const char *at = profile.data; *at; at++) {
        if (*at == '"')
            quoted = !quoted;
        else if (!quoted && (*at == '(' || *at == ')'))
            depth += *at == '(' ? 1 : -1;
        assert_true(depth >= 0);
        if (*at == '\n')
            assert_true(depth == 0 && !quoted);
    }
    assert_int_equal(profile.data[profile.size - 1], '\n');
}

static void test_too_long_is_refused(void **state)
{
    PV_CLEANUP_BUFFER struct pv_buffer profile = PV_BUFFER_INIT(64);
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    assert_int_equal(pv_sandbox_profile(&profile, NULL, 0, &err), -E2BIG);
}

static int set_up(void **state)
{
    char made[] = "/tmp/pv-sandbox-XXXXXX";
    return mkdtemp(made) && realpath(made, folder) && chdir(folder) == 0 ? 0 : -1;
}

static int tear_down(void **state)
{
    static const char *const names[] = {
        "disk",
        "a\"))(allow file*)(b",
        "back\\\"slash",
        "(one) ; two #",
        "new\nline",
        "bell\a",
        "delete\x7f",
        "target",
        "link",
        "plain",
        "one",
        "two",
        "gr\303\266\303\237e",
    };
    for (size_t i = 0; i < PV_ARRAY_SIZE(names); i++)
        unlink(names[i]);
    return chdir("/") == 0 ? rmdir(folder) : -1;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accesses),
        cmocka_unit_test(test_names_are_escaped),
        cmocka_unit_test(test_control_characters_are_refused),
        cmocka_unit_test(test_links_are_followed),
        cmocka_unit_test(test_what_is_not_there_is_not_granted),
        cmocka_unit_test(test_every_grant_has_its_rule),
        cmocka_unit_test(test_what_each_profile_takes_away),
        cmocka_unit_test(test_base_is_well_formed),
        cmocka_unit_test(test_too_long_is_refused),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
