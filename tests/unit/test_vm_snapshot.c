/* SPDX-License-Identifier: MIT */
/*
 * Records, a machine's state and memory in files. The contract of every pv_*_record(): what was
 * saved, loaded into a fresh machine and saved again is the same, byte for byte.
 */
#include "bus.h"

#include "base/error.h"
#include "base/util.h"
#include "machine/map.h"
#include "snapshot_machine.h"
#include "vm/memory_load.h"
#include "vm/snapshot_file.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#define CPUS 2u

/* ---- Records ---- */

struct thing {
    uint8_t a;
    uint16_t b;
    uint32_t c;
    uint64_t d;
    bool e;
    uint8_t bytes[5];
    uint32_t since_version_2;
};

static void record_thing(struct pv_record *record, struct thing *thing, unsigned version)
{
    pv_record_begin(record, version, "thing %u", 7);
    pv_record_u8(record, &thing->a);
    pv_record_u16(record, &thing->b);
    pv_record_u32(record, &thing->c);
    pv_record_u64(record, &thing->d);
    pv_record_bool(record, &thing->e);
    pv_record_bytes(record, thing->bytes, sizeof(thing->bytes));
    if (pv_record_version(record) >= 2)
        pv_record_limited(record, &thing->since_version_2, 10);
    pv_record_end(record);
}

static int load_thing(const struct pv_record *saved, size_t cut, unsigned version,
                      struct thing *thing, struct pv_error **err)
{
    size_t size;
    const void *data = pv_record_data(saved, &size);
    struct pv_record *record = pv_record_load(data, size - cut);
    record_thing(record, thing, version);
    int ret = pv_record_error(record, err);
    pv_record_free(record);
    return ret;
}

static void test_versions(void **state)
{
    const struct thing thing = {1, 2, 3, UINT64_C(0x123456789abcdef0), true, "abcd", 9};
    struct thing from = thing, to = {.since_version_2 = 5};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;

    for (unsigned version = 1; version <= 2; version++) {
        struct pv_record *record = pv_record_save();
        record_thing(record, &from, version);
        assert_int_equal(pv_record_error(record, NULL), 0);
        assert_memory_equal(&from, &thing, sizeof(thing));
        /* Older ones keep loading, and what they have not keeps its value. */
        assert_int_equal(load_thing(record, 0, 2, &to, NULL), 0);
        assert_int_equal(to.d, thing.d);
        assert_true(to.e);
        assert_int_equal(to.since_version_2, version == 2 ? 9 : 5);
        for (size_t cut = 1; cut < 60; cut++)
            assert_true(load_thing(record, cut, 2, &to, NULL) < 0);
        if (version == 2) {
            assert_int_equal(load_thing(record, 0, 1, &to, &err), -ENOTSUP);
            assert_non_null(strstr(pv_error_message(err), "'thing 7' is of version 2"));
        }
        pv_record_free(record);
    }
}

static void test_impossible_values(void **state)
{
    struct thing from = {.since_version_2 = 11}, to = {0};
    struct pv_record *record = pv_record_save();

    pv_record_begin(record, 2, "thing %u", 7);
    uint8_t zeroes[15] = {0}, two = 2;
    pv_record_bytes(record, zeroes, sizeof(zeroes));
    pv_record_u8(record, &two); /* neither yes nor no */
    pv_record_end(record);
    assert_int_equal(load_thing(record, 0, 2, &to, NULL), -EINVAL);
    assert_false(to.e);
    pv_record_free(record);

    record = pv_record_save();
    record_thing(record, &from, 2);
    assert_int_equal(pv_record_error(record, NULL), -EINVAL); /* beyond its limit */
    pv_record_free(record);
}

/* ---- A machine ---- */

struct fixture {
    char folder[32], firmware[64], disk[64];
};

static int setup(void **state)
{
    static struct fixture fixture;
    struct fixture *f = &fixture;
    *f = (struct fixture){.folder = "/tmp/pv-snapshot-XXXXXX"};
    assert_non_null(mkdtemp(f->folder));
    snprintf(f->firmware, sizeof(f->firmware), "%s/firmware", f->folder);
    snprintf(f->disk, sizeof(f->disk), "%s/disk", f->folder);
    const char *const files[] = {f->firmware, f->disk};
    for (unsigned i = 0; i < 2; i++) {
        int fd = open(files[i], O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        assert_true(fd >= 0);
        assert_int_equal(ftruncate(fd, 1 << 20), 0);
        assert_int_equal(pwrite(fd, snapshot_firmware, sizeof(snapshot_firmware), 0), 4);
        close(fd);
    }
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    unlink(f->firmware);
    unlink(f->disk);
    return rmdir(f->folder);
}

static uint64_t next(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* Whatever a guest may have done to the board's registers. */
static void scribble(struct snapshot_machine *m, uint64_t seed)
{
    static const struct {
        uint64_t address, size;
    } chips[] = {
        {PV_MAP_GICD, 0x8000},        {PV_MAP_GICR, 0x40000},        {PV_MAP_UART, 0x4c},
        {PV_MAP_RTC, 0x20},           {PV_MAP_GPIO, 0x424},          {PV_MAP_WDT_CONTROL, 0x18},
        {PV_MAP_FWCFG + 8, 2},        {PV_MAP_FLASH_BANK, 0x100000}, {PV_MAP_ITS, 0x110},
        {ECAM + (1 << 15) + 0x3c, 1},
    };
    for (unsigned i = 0; i < 4000; i++) {
        const unsigned chip = (unsigned)(next(&seed) % PV_ARRAY_SIZE(chips));
        const unsigned size = chips[chip].size < 4 ? (unsigned)chips[chip].size : 4;
        const uint64_t at = chips[chip].address + next(&seed) % chips[chip].size / size * size;
        pv_as_cpu_write(m->as, at, size, next(&seed));
    }
}

static void set_cpus(struct snapshot_machine *m, uint64_t seed)
{
    struct pv_vcpu *vcpu = pv_engine_vcpu(pv_machine_engine(m->machine), 1);
    struct pv_vcpu_state s = {.pc = 0x40000000, .pstate = 0x3c5};

    assert_int_equal(pv_vcpu_power_on(vcpu, 0x40000000, 1), 0);
    for (unsigned i = 0; i < 31; i++)
        s.x[i] = next(&seed);
    for (unsigned i = 0; i < 32; i++)
        s.v[i][0] = next(&seed);
    s.sp_el1 = next(&seed);
    assert_int_equal(pv_vcpu_set_state(vcpu, &s), 0);
    assert_int_equal(pv_vcpu_set_sysreg(vcpu, PV_SYSREG(3, 0, 13, 0, 4), next(&seed)), 0);
}

/* Brings up queue 0 of the function in a slot, as a driver does. */
static void start_driver(struct snapshot_machine *m, unsigned slot)
{
    const uint64_t config = ECAM + (slot << 15), bar = MEM64 + slot * 0x10000, ring = 0x40100000;

    wr(m->as, config + 0x20, 4, (uint32_t)bar);
    wr(m->as, config + 0x24, 4, bar >> 32);
    wr(m->as, config + 4, 2, 6);
    wr(m->as, bar + 0x14, 1, 3);
    wr(m->as, bar + 0x08, 4, 1);
    wr(m->as, bar + 0x0c, 4, 1); /* VERSION_1 */
    wr(m->as, bar + 0x14, 1, 11);
    wr(m->as, bar + 0x16, 2, 0);
    wr(m->as, bar + 0x18, 2, 8);
    wr(m->as, bar + 0x20, 8, ring + slot * 0x3000);
    wr(m->as, bar + 0x28, 8, ring + slot * 0x3000 + 0x1000);
    wr(m->as, bar + 0x30, 8, ring + slot * 0x3000 + 0x2000);
    wr(m->as, bar + 0x1c, 2, 1);
    wr(m->as, bar + 0x14, 1, 15);
    assert_int_equal(rd(m->as, bar + 0x14, 1), 15);
}

static void test_contract(void **state)
{
    const struct fixture *f = *state;

    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct snapshot_machine one, other;
        size_t size, again_size;
        assert_true(snapshot_machine_create(&one, f->firmware, f->disk, CPUS));
        assert_true(snapshot_machine_create(&other, f->firmware, f->disk, CPUS));
        scribble(&one, seed * 0x9e3779b97f4a7c15);
        set_cpus(&one, seed);
        for (unsigned slot = 1; slot <= 6 && seed % 2; slot++)
            start_driver(&one, slot);
        PV_CLEANUP_FREE uint8_t *saved = snapshot_machine_save(&one, &size);
        assert_non_null(saved);
        PV_CLEANUP_FREE uint8_t *fresh = snapshot_machine_save(&other, &again_size);
        assert_true(size != again_size || memcmp(saved, fresh, size) != 0);
        PV_CLEANUP_ERROR struct pv_error *err = NULL;
        if (snapshot_machine_load(&other, saved, size, &err) < 0)
            fail_msg("%s", pv_error_message(err));
        PV_CLEANUP_FREE uint8_t *again = snapshot_machine_save(&other, &again_size);
        assert_non_null(again);
        assert_int_equal(size, again_size);
        for (size_t i = 0; i < size; i++)
            if (saved[i] != again[i])
                fail_msg("seed %llu: byte %zu of %zu differs", (unsigned long long)seed, i, size);
        snapshot_machine_destroy(&one);
        snapshot_machine_destroy(&other);
    }
}

static void expect_refusal(const struct fixture *f, const uint8_t *data, size_t size, unsigned cpus,
                           const char *says)
{
    struct snapshot_machine m;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    assert_true(snapshot_machine_create(&m, f->firmware, f->disk, cpus));
    assert_true(snapshot_machine_load(&m, data, size, &err) < 0);
    if (!strstr(pv_error_message(err), says))
        fail_msg("'%s' does not say '%s'", pv_error_message(err), says);
    snapshot_machine_destroy(&m);
}

/* Where a section's contents begin. */
static size_t section(const uint8_t *data, size_t size, const char *name)
{
    const uint8_t *at = memmem(data, size, name, strlen(name));
    assert_non_null(at);
    return (size_t)(at - data) + strlen(name) + 12;
}

static void test_refusals(void **state)
{
    const struct fixture *f = *state;
    struct snapshot_machine m;
    size_t size;
    assert_true(snapshot_machine_create(&m, f->firmware, f->disk, CPUS));
    PV_CLEANUP_FREE uint8_t *data = snapshot_machine_save(&m, &size);
    snapshot_machine_destroy(&m);
    assert_non_null(data);

    expect_refusal(f, data, size, 1, "the number of CPUs: 0x2 in the snapshot, 0x1 here");
    expect_refusal(f, data, size - 1, CPUS, "ends too early");
    data[section(data, size, "timers") - 12] = 77; /* its version */
    expect_refusal(f, data, size, CPUS, "'timers' is of version 77");
    data[section(data, size, "timers") - 12] = 1;
    data[section(data, size, "pl031") - 13] = 'x'; /* its name */
    expect_refusal(f, data, size, CPUS, "has 'pl03x' where this VM has 'pl031'");
}

/* Where an ID register is in the section of a vCPU, by its place in engine/identity.c. */
enum { MIDR = 0, ISAR0 = 8 * 5, ISAR1 = 8 * 6, MMFR2 = 8 * 10, CTR = 8 * 11, DCZID = 8 * 12 };

static void expect_loaded(const struct fixture *f, const uint8_t *data, size_t size)
{
    struct snapshot_machine m;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    size_t again_size;

    assert_true(snapshot_machine_create(&m, f->firmware, f->disk, CPUS));
    if (snapshot_machine_load(&m, data, size, &err) < 0)
        fail_msg("%s", pv_error_message(err));
    PV_CLEANUP_FREE uint8_t *again = snapshot_machine_save(&m, &again_size);
    assert_int_equal(size, again_size);
    assert_memory_equal(data, again, size);
    snapshot_machine_destroy(&m);
}

/* A guest of another CPU: what it was told it had has to be here, and is what is saved again. */
static void test_features(void **state)
{
    static const struct {
        size_t at; /* byte in the section */
        uint8_t change;
        const char *says; /* NULL: it is loaded */
    } cases[] = {
        {MIDR, 0x01, NULL},
        {ISAR0 + 2, 0x20, NULL}, /* without FEAT_LSE */
        {ISAR0 + 5, 0x20, "vcpu 1: the guest's CPU has FEAT_DotProd"},
        {ISAR1 + 0, 0x10, "vcpu 1: the guest's CPU has FEAT_PAuth"},
        {MMFR2 + 0, 0x10, "vcpu 1: the guest's CPU has FEAT_UAO (ID_AA64MMFR2_EL1 bits 7:4"},
        {CTR + 3, 0x10, NULL}, /* without IDC */
        {CTR + 3, 0x20, "invalidation not needed for fetches (DIC) is 1"},
        {CTR + 2, 0x01, "the smallest data cache line is 5"},
        {DCZID, 0x03, "clears blocks of another size (DCZID_EL0 is 0x7)"},
    };
    const struct fixture *f = *state;
    struct snapshot_machine m;
    size_t size;

    assert_true(snapshot_machine_create(&m, f->firmware, f->disk, CPUS));
    PV_CLEANUP_FREE uint8_t *data = snapshot_machine_save(&m, &size);
    snapshot_machine_destroy(&m);
    assert_non_null(data);
    const size_t vcpu = section(data, size, "vcpu 1");
    for (size_t i = 0; i < PV_ARRAY_SIZE(cases); i++) {
        data[vcpu + cases[i].at] ^= cases[i].change;
        if (cases[i].says)
            expect_refusal(f, data, size, CPUS, cases[i].says);
        else
            expect_loaded(f, data, size);
        data[vcpu + cases[i].at] ^= cases[i].change;
    }
}

/* ---- The folder ---- */

static void test_folder(void **state)
{
    const struct fixture *f = *state;
    char folder[64];
    PV_CLEANUP_FREE char *temporary = NULL;
    PV_CLEANUP_FREE void *data = NULL;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    char note[] = "n\"o\nte", engine[] = "jit", tag[] = "t", disk[] = "/a/b", parent[] = "zero";
    const struct pv_snapshot_info info = {.note = note,
                                          .engine = engine,
                                          .tag = tag,
                                          .parent = parent,
                                          .created = 5,
                                          .memory = 6,
                                          .cpus = 7,
                                          .pages = 8,
                                          .pause_us = 9,
                                          .disks = {disk},
                                          .disk_count = 1};
    struct pv_snapshot_info read;
    size_t size;

    snprintf(folder, sizeof(folder), "%s/one", f->folder);
    assert_int_equal(pv_snapshot_info_read(&read, folder, NULL), -ENOENT);
    assert_int_equal(pv_snapshot_begin(&temporary, folder, NULL), 0);
    assert_int_equal(pv_snapshot_state_write("abc", 3, temporary, NULL), 0);
    assert_int_equal(pv_snapshot_info_write(&info, temporary, NULL), 0);
    assert_true(access(folder, F_OK) < 0);
    assert_int_equal(pv_snapshot_commit(temporary, folder, NULL), 0);
    assert_int_equal(pv_snapshot_info_read(&read, folder, NULL), 0);
    assert_string_equal(read.note, info.note);
    assert_string_equal(read.disks[0], "/a/b");
    assert_string_equal(read.parent, "zero");
    assert_int_equal(read.bases, 0);
    assert_int_equal(read.cpus, 7);
    pv_snapshot_info_finish(&read);
    assert_int_equal(pv_snapshot_state_read(&data, &size, folder, NULL), 0);
    assert_int_equal(size, 3);
    assert_memory_equal(data, "abc", 3);

    free(PV_STEAL(temporary));
    assert_int_equal(pv_snapshot_begin(&temporary, folder, NULL), -EEXIST);
    char path[80];
    snprintf(path, sizeof(path), "%s/state", folder);
    PV_CLEANUP_FD int fd = open(path, O_WRONLY | O_CLOEXEC);
    assert_int_equal(pwrite(fd, "x", 1, 25), 1);
    assert_int_equal(pv_snapshot_state_read(&data, &size, folder, &err), -EIO);
    assert_non_null(strstr(pv_error_message(err), "checksum"));
    assert_int_equal(ftruncate(fd, 25), 0);
    assert_int_equal(pv_snapshot_state_read(&data, &size, folder, NULL), -EIO);
    assert_int_equal(pv_snapshot_remove(folder, NULL), 0);
}

/* ---- Snapshots on snapshots ---- */

#define RAM UINT64_C(0x40000000)

/* One with a single chunk of memory, all bytes `byte`, but for what it rests on. */
static unsigned make_on(const char *folder, const char *base, uint8_t byte)
{
    char note[] = "", tag[] = "t", path[120];
    struct pv_snapshot_info info = {.note = note, .engine = note, .tag = tag, .parent = note};
    PV_CLEANUP_FREE uint8_t *data = malloc(PV_MEMORY_CHUNK);
    PV_CLEANUP_FREE char *temporary = NULL;
    struct pv_memory_image *image;
    struct pv_memory_counts counts;

    assert_int_equal(pv_snapshot_begin(&temporary, folder, NULL), 0);
    if (base)
        info.bases = pv_snapshot_rest_on(temporary, base, "t");
    snprintf(path, sizeof(path), "%s/memory", temporary);
    PV_CLEANUP_FD int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(pv_memory_image_create(&image, fd, NULL), 0);
    memset(data, byte, PV_MEMORY_CHUNK);
    /* The first page, and one of its own. */
    assert_int_equal(pv_memory_image_write(image, RAM, data, 1 | UINT64_C(1) << byte % 64, NULL),
                     0);
    assert_int_equal(pv_memory_image_end(image, &counts, NULL), 0);
    pv_memory_image_destroy(image);
    assert_int_equal(pv_snapshot_info_write(&info, temporary, NULL), 0);
    assert_int_equal(pv_snapshot_state_write("", 0, temporary, NULL), 0);
    assert_int_equal(pv_snapshot_commit(temporary, folder, NULL), 0);
    return info.bases;
}

/* A line of them, each deleted as soon as the next is there, until one has all memory again. */
static void test_lines(void **state)
{
    const struct fixture *f = *state;
    char folder[64], before[64] = "";
    struct pv_address_space *as;
    struct pv_memory_load *load;

    for (unsigned i = 0; i <= PV_MEMORY_MAX_FILES; i++) {
        snprintf(folder, sizeof(folder), "%s/%u", f->folder, i);
        const unsigned bases = make_on(folder, *before ? before : NULL, (uint8_t)(i + 1));
        assert_int_equal(bases, i % PV_MEMORY_MAX_FILES);
        if (*before)
            assert_int_equal(pv_snapshot_remove(before, NULL), 0);
        memcpy(before, folder, sizeof(before));
        assert_int_equal(pv_snapshot_verify(folder, NULL), 0);

        assert_int_equal(pv_as_create(&as, NULL), 0);
        assert_int_equal(pv_as_add_ram(as, RAM, PV_MEMORY_CHUNK, "ram", NULL), 0);
        assert_int_equal(pv_snapshot_memory_open(&load, as, folder, NULL), 0);
        assert_int_equal(pv_memory_load_all(load, NULL), 0);
        const uint8_t *ram = pv_as_ram(as, RAM, PV_MEMORY_CHUNK, false);
        assert_int_equal(*ram, i + 1);
        for (unsigned page = 1; page < 64; page++) {
            const bool there = page <= i + 1 && page > i - bases;
            assert_int_equal(ram[page * PV_GUEST_PAGE], there ? page : 0);
        }
        pv_memory_load_destroy(load);
        pv_as_destroy(as);
    }
    /* Another one of that name, and one that is not there. */
    snprintf(folder, sizeof(folder), "%s/x", f->folder);
    assert_int_equal(mkdir(folder, 0700), 0);
    assert_int_equal(pv_snapshot_rest_on(folder, before, "other"), 0);
    assert_int_equal(pv_snapshot_rest_on(folder, f->folder, "t"), 0);
    assert_int_equal(rmdir(folder), 0);
    assert_int_equal(pv_snapshot_remove(before, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_versions),
        cmocka_unit_test(test_impossible_values),
        cmocka_unit_test_setup_teardown(test_contract, setup, teardown),
        cmocka_unit_test_setup_teardown(test_refusals, setup, teardown),
        cmocka_unit_test_setup_teardown(test_features, setup, teardown),
        cmocka_unit_test_setup_teardown(test_folder, setup, teardown),
        cmocka_unit_test_setup_teardown(test_lines, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
