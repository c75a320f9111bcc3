/* SPDX-License-Identifier: MIT */
/* The CD for cloud-init: its structure, and that values stay values. Its readers are in e2e. */
#include "base/buffer.h"
#include "base/error.h"
#include "base/util.h"
#include "block/iso9660.h"
#include "vm/cloud_seed.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SECTOR 2048u

static uint32_t le32(const struct pv_buffer *iso, size_t at)
{
    const uint8_t *p = (const uint8_t *)iso->data + at;
    return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

/* The contents of a file, by the Joliet tree; NULL: it is not there. */
static const char *find(const struct pv_buffer *iso, const char *name, size_t *size)
{
    const size_t root = (size_t)le32(iso, 17 * SECTOR + 156 + 2) * SECTOR;
    for (size_t at = root; iso->data[at]; at += (uint8_t)iso->data[at]) {
        const size_t length = (uint8_t)iso->data[at + 32];
        bool same = length == 2 * strlen(name);
        for (size_t i = 0; same && i < length / 2; i++)
            same = !iso->data[at + 33 + 2 * i] && iso->data[at + 34 + 2 * i] == name[i];
        if (same) {
            *size = le32(iso, at + 10);
            return iso->data + (size_t)le32(iso, at + 2) * SECTOR;
        }
    }
    return NULL;
}

static void make(struct pv_buffer *iso, const struct pv_cloud_seed *seed)
{
    *iso = PV_BUFFER_INIT(PV_SEED_BYTES_MAX);
    assert_int_equal(pv_cloud_seed_make(iso, seed, NULL), 0);
    assert_int_equal(iso->size % SECTOR, 0);
    assert_int_equal(le32(iso, 16 * SECTOR + 80), iso->size / SECTOR);
    assert_memory_equal(iso->data + 16 * SECTOR, "\1CD001\1", 7);
    assert_memory_equal(iso->data + 17 * SECTOR, "\2CD001\1", 7);
    assert_memory_equal(iso->data + 18 * SECTOR,
                        "\xff"
                        "CD001\1",
                        7);
}

static bool has(const struct pv_buffer *iso, const char *name, const char *text)
{
    size_t size;
    const char *data = find(iso, name, &size);
    return data && memmem(data, size, text, strlen(text));
}

static void test_values(void **state)
{
    struct pv_buffer iso;
    const struct pv_cloud_seed seed = {
        .hostname = "web",
        .user = "me",
        .timezone = "Europe/Berlin\nruncmd: [reboot]",
        .keys = {"ssh-ed25519 AAAA \"quoted\""},
        .key_count = 1,
        .packages = {"htop", "git"},
        .package_count = 2,
        .agent = "agent's bytes",
        .agent_size = 13,
    };
    make(&iso, &seed);
    assert_true(has(&iso, "user-data", "#cloud-config\n"));
    assert_true(has(&iso, "user-data", "\"name\": \"me\""));
    assert_true(has(&iso, "user-data", "\"lock_passwd\": true"));
    assert_true(has(&iso, "user-data", "ssh-ed25519 AAAA \\\"quoted\\\""));
    assert_true(has(&iso, "user-data", "\"htop\""));
    /* A line break in a value begins no key. */
    assert_true(has(&iso, "user-data", "Europe/Berlin\\nruncmd: [reboot]\""));
    assert_true(has(&iso, "meta-data", "\"local-hostname\": \"web\""));
    assert_true(has(&iso, "pearvisor-agent", "agent's bytes"));
    pv_buffer_finish(&iso);
}

/* Equal seeds are equal CDs; another value is another instance, so that it is heeded. */
static void test_instances(void **state)
{
    struct pv_buffer a, b, c;
    struct pv_cloud_seed seed = {.hostname = "a", .user_data = "#cloud-config\n{}\n"};
    make(&a, &seed);
    make(&b, &seed);
    assert_int_equal(a.size, b.size);
    assert_memory_equal(a.data, b.data, a.size);
    assert_true(has(&a, "user-data", "#cloud-config\n{}\n"));
    seed.user_data = "#cloud-config\n{ }\n";
    make(&c, &seed);
    size_t size;
    const char *first = find(&a, "meta-data", &size), *second = find(&c, "meta-data", &size);
    assert_memory_not_equal(first, second, size);
    pv_buffer_finish(&a);
    pv_buffer_finish(&b);
    pv_buffer_finish(&c);
}

static void expect(int wanted, const char *label, const struct pv_iso_file *files, unsigned count)
{
    PV_CLEANUP_BUFFER struct pv_buffer iso = PV_BUFFER_INIT(64 * SECTOR);
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    assert_int_equal(pv_iso9660_make(&iso, label, files, count, &err), wanted);
    if (wanted < 0) {
        assert_int_equal(iso.size, 0);
        assert_non_null(err);
    }
}

static void test_limits(void **state)
{
    static char big[64 * SECTOR];
    const struct pv_iso_file fine = {"a", "x", 1}, empty = {"e", NULL, 0};
    struct pv_iso_file many[PV_ISO_FILES_MAX + 1];
    char long_name[62];
    memset(long_name, 'n', sizeof(long_name));
    long_name[61] = 0;
    for (unsigned i = 0; i < PV_ARRAY_SIZE(many); i++)
        many[i] = fine;
    expect(0, "L", &fine, 1);
    expect(0, "L", &empty, 1);
    expect(0, "L", NULL, 0);
    expect(0, "SIXTEEN_LETTERS_", many, PV_ISO_FILES_MAX);
    expect(-EINVAL, "L", many, PV_ISO_FILES_MAX + 1);
    expect(-EINVAL, "", &fine, 1);
    expect(-EINVAL, "SEVENTEEN_LETTERS", &fine, 1);
    expect(-EINVAL, "L", &(struct pv_iso_file){"a/b", "x", 1}, 1);
    expect(-EINVAL, "L", &(struct pv_iso_file){"", "x", 1}, 1);
    expect(-EINVAL, "L", &(struct pv_iso_file){long_name, "x", 1}, 1);
    expect(0, "L", &(struct pv_iso_file){long_name + 1, "x", 1}, 1);
    expect(-E2BIG, "L", &(struct pv_iso_file){"a", big, sizeof(big)}, 1);
}

static void test_not_text(void **state)
{
    PV_CLEANUP_BUFFER struct pv_buffer iso = PV_BUFFER_INIT(PV_SEED_BYTES_MAX);
    const struct pv_cloud_seed seeds[] = {
        {.hostname = "\xff"},
        {.hostname = "a", .user = "b", .keys = {"ssh \xfe"}, .key_count = 1},
        {.hostname = "a", .packages = {"\xc3("}, .package_count = 1},
        {.hostname = "a", .timezone = "\x80"},
    };
    for (size_t i = 0; i < PV_ARRAY_SIZE(seeds); i++) {
        PV_CLEANUP_ERROR struct pv_error *err = NULL;
        assert_int_equal(pv_cloud_seed_make(&iso, &seeds[i], &err), -EINVAL);
    }
    assert_int_equal(iso.size, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_instances),
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_not_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
