/* SPDX-License-Identifier: MIT */
/* A VM's YAML file: read with places in errors, changed with comments kept. */
#include "base/error.h"
#include "base/util.h"
#include "vm/vmfile.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

static char path[64];

static void write_file(const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    fclose(file);
}

static const char *read_file(void)
{
    static char text[4096];
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t len = fread(text, 1, sizeof(text) - 1, file);
    fclose(file);
    text[len] = '\0';
    return text;
}

/* Joins all that it is given, and does not like "bad". */
static int collect(void *opaque, const char *key, char *value, struct pv_error **err)
{
    char *text = opaque;
    snprintf(text + strlen(text), 256 - strlen(text), "%s=%s;", key, value);
    return strcmp(value, "bad") != 0 ? 0 : pv_error_set(err, EINVAL, "'%s': no good", value);
}

static int setup(void **state)
{
    snprintf(path, sizeof(path), "/tmp/pv-vmfile-%d.yaml", (int)getpid());
    return 0;
}

static int teardown(void **state)
{
    unlink(path);
    return 0;
}

static void values_come_in_order_as_text(void **state)
{
    struct pv_vm_file *file;
    char seen[256] = "";
    write_file("version: 1\n# how many\ncpus: 02\nmemory: 2G\ndisk:\n  - a.img\n  - \"b,ro\"\n"
               "append: console=ttyAMA0 quiet\nnet: [none]\n");
    assert_int_equal(pv_vm_file_open(&file, path, NULL), 0);
    assert_int_equal(pv_vm_file_each(file, collect, seen, NULL), 0);
    assert_string_equal(seen, "cpus=02;memory=2G;disk=a.img;disk=b,ro;"
                              "append=console=ttyAMA0 quiet;net=none;");
    pv_vm_file_close(file);
}

static void errors_say_where(void **state)
{
    static const struct {
        const char *text, *expected;
        bool on_open;
    } cases[] = {
        {"version: 1\ncpus: 1\nmemory:   bad\n", ":3:11: 'bad': no good", false},
        {"version: 1\ndisk:\n  - a\n  - bad\n", ":4:5: 'bad': no good", false},
        {"version: 1\ncpus: {a: b}\n", "cpus: a value or a list of values", false},
        {"version: 2\ncpus: 1\n", ":1:10: version '2': this program knows version 1", true},
        {"cpus: 1\n", "'version: 1' is missing", true},
        {"- a\n", "a mapping of keys to values", true},
        {"", "empty", true},
        {"version: 1\ncpus: [1\nmemory: 1G\n", ":4:1: flow sequence", true},
        {"version: 1\n\tcpus: 1\n", ":1:10: invalid", true},
        {"version: 1\ncpus: 1\ncpus: 2\n", ":3:", true},
    };
    for (size_t i = 0; i < PV_ARRAY_SIZE(cases); i++) {
        PV_CLEANUP_ERROR struct pv_error *err = NULL;
        struct pv_vm_file *file = NULL;
        char seen[256] = "";
        write_file(cases[i].text);
        int ret = pv_vm_file_open(&file, path, &err);
        assert_true((ret < 0) == cases[i].on_open);
        if (ret >= 0)
            ret = pv_vm_file_each(file, collect, seen, &err);
        assert_true(ret < 0);
        assert_non_null(strstr(pv_error_message(err), path));
        assert_non_null(strstr(pv_error_message(err), cases[i].expected));
        assert_null(strchr(pv_error_message(err), '\n'));
        pv_vm_file_close(file);
    }
}

static void a_missing_file_is_named(void **state)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct pv_vm_file *file;
    assert_int_equal(pv_vm_file_open(&file, "/nonexistent/vm.yaml", &err), -ENOENT);
    assert_non_null(strstr(pv_error_message(err), "/nonexistent/vm.yaml"));
}

static void what_is_set_is_saved(void **state)
{
    static const char *const disks[] = {"a.img", "b: c, #d"}, *const two[] = {"2"};
    struct pv_vm_file *file;
    char seen[256] = "";
    assert_int_equal(pv_vm_file_create(&file, path, NULL), 0);
    assert_int_equal(pv_vm_file_set(file, "cpus", two, 1, NULL), 0);
    assert_int_equal(pv_vm_file_set(file, "disk", disks, 2, NULL), 0);
    assert_int_equal(pv_vm_file_save(file, NULL), 0);
    pv_vm_file_close(file);

    assert_int_equal(pv_vm_file_open(&file, path, NULL), 0);
    assert_int_equal(pv_vm_file_each(file, collect, seen, NULL), 0);
    assert_string_equal(seen, "cpus=2;disk=a.img;disk=b: c, #d;");
    pv_vm_file_close(file);
}

static void a_change_leaves_the_rest(void **state)
{
    static const char *const four[] = {"4"};
    struct pv_vm_file *file;
    char seen[256] = "";
    write_file("version: 1\n# a web server\ncpus: 2\nmemory: 1G\ndisk: [a.img]\n");
    assert_int_equal(pv_vm_file_open(&file, path, NULL), 0);
    assert_int_equal(pv_vm_file_set(file, "cpus", four, 1, NULL), 0);
    assert_int_equal(pv_vm_file_set(file, "disk", NULL, 0, NULL), 0);
    assert_int_equal(pv_vm_file_set(file, "none-such", NULL, 0, NULL), 0);
    assert_int_equal(pv_vm_file_save(file, NULL), 0);
    pv_vm_file_close(file);

    assert_non_null(strstr(read_file(), "# a web server"));
    assert_int_equal(pv_vm_file_open(&file, path, NULL), 0);
    assert_int_equal(pv_vm_file_each(file, collect, seen, NULL), 0);
    assert_string_equal(seen, "cpus=4;memory=1G;");
    pv_vm_file_close(file);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_come_in_order_as_text), cmocka_unit_test(errors_say_where),
        cmocka_unit_test(a_missing_file_is_named),      cmocka_unit_test(what_is_set_is_saved),
        cmocka_unit_test(a_change_leaves_the_rest),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
