/* SPDX-License-Identifier: MIT */
/* What firmware meets: flash, fw_cfg, ACPI tables and the AML they hold, variable stores. */
#include "base/error.h"
#include "base/util.h"
#include "machine/acpi/acpi.h"
#include "machine/acpi/aml.h"
#include "machine/firmware.h"
#include "machine/flash.h"
#include "machine/fwcfg.h"
#include "machine/map.h"
#include "machine/smbios.h"
#include "machine/varstore.h"
#include "memory/address_space.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define RAM      UINT64_C(0x40000000)
#define RAM_SIZE UINT64_C(0x10000)
#define BANK     (4 * PV_FLASH_SECTOR)

static struct pv_address_space *new_as(void)
{
    struct pv_address_space *as;
    assert_int_equal(pv_as_create(&as, NULL), 0);
    assert_int_equal(pv_as_add_ram(as, RAM, RAM_SIZE, "ram", NULL), 0);
    return as;
}

static uint64_t get(struct pv_address_space *as, uint64_t address, unsigned size)
{
    uint64_t value = 0;
    assert_int_equal(pv_as_cpu_read(as, address, size, &value), 0);
    return value;
}

static void set(struct pv_address_space *as, uint64_t address, unsigned size, uint64_t value)
{
    assert_int_equal(pv_as_cpu_write(as, address, size, value), 0);
}

/* ---- Flash ---- */

static enum pv_region_kind kind_at(struct pv_address_space *as, uint64_t address)
{
    struct pv_region_info info;
    assert_true(pv_as_find(as, address, &info));
    return info.kind;
}

static void test_flash_program_and_erase(void **state)
{
    struct pv_address_space *as = new_as();
    struct pv_flash *flash;

    (void)state;
    assert_int_equal(pv_flash_create(&flash, as, 0, BANK, false, "flash", NULL), 0);
    assert_int_equal(kind_at(as, 0), PV_REGION_ROM);
    set(as, PV_FLASH_SECTOR + 8, 4, 0x00200020); /* erase */
    assert_int_equal(kind_at(as, 0), PV_REGION_MMIO);
    set(as, PV_FLASH_SECTOR + 8, 4, 0x00d000d0);
    assert_int_equal(get(as, PV_FLASH_SECTOR, 4), 0x00800080);
    set(as, 0, 4, 0x00ff00ff);
    assert_int_equal(kind_at(as, 0), PV_REGION_ROM);
    assert_int_equal(get(as, PV_FLASH_SECTOR - 4, 4), 0);
    assert_int_equal(get(as, PV_FLASH_SECTOR, 4), 0xffffffff);
    assert_int_equal(get(as, 2 * PV_FLASH_SECTOR - 4, 4), 0xffffffff);
    assert_int_equal(get(as, 2 * PV_FLASH_SECTOR, 4), 0);

    set(as, PV_FLASH_SECTOR, 4, 0x00400040); /* a word; bits can only be cleared */
    set(as, PV_FLASH_SECTOR, 4, 0x12345678);
    set(as, PV_FLASH_SECTOR, 4, 0x00100010);
    set(as, PV_FLASH_SECTOR, 4, 0xffff0000);
    set(as, 0, 1, 0xff);
    assert_int_equal(get(as, PV_FLASH_SECTOR, 4), 0x12340000);
    pv_flash_destroy(flash);
    pv_as_destroy(as);
}

static void test_flash_buffer(void **state)
{
    struct pv_address_space *as = new_as();
    struct pv_flash *flash;
    const uint64_t at = 2 * PV_FLASH_SECTOR + 0x80;

    (void)state;
    assert_int_equal(pv_flash_create(&flash, as, 0, BANK, false, "flash", NULL), 0);
    set(as, at, 4, 0x20);
    set(as, at, 4, 0xd0);
    set(as, at, 4, 0x00e800e8);
    set(as, at, 4, 0x001f001f);
    for (unsigned i = 0; i < 32; i++)
        set(as, at + 4 * i, 4, i);
    set(as, at, 4, 0x00d000d0);
    assert_int_equal(get(as, at, 2), 0x80);
    set(as, 0, 4, 0xff);
    assert_int_equal(get(as, at + 4 * 31, 4), 31);
    assert_int_equal(get(as, at - 4, 4), 0xffffffff);
    assert_int_equal(get(as, at + 4 * 32, 4), 0xffffffff);

    set(as, at, 4, 0xe8); /* more words than the buffer has */
    set(as, at, 4, 0x0400);
    assert_int_equal(get(as, at, 4) & 0x30, 0x30);
    set(as, at, 4, 0x50);
    set(as, at, 4, 0xe8); /* data that leaves the buffer's window */
    set(as, at, 4, 1);
    set(as, at, 4, 0);
    set(as, at + 0x1000, 4, 0);
    assert_int_equal(get(as, at, 4) & 0x30, 0x30);
    pv_flash_reset(flash);
    assert_int_equal(kind_at(as, 0), PV_REGION_ROM);
    assert_int_equal(get(as, at, 4), 0);
    pv_flash_destroy(flash);
    pv_as_destroy(as);
}

static void test_flash_read_only_and_queries(void **state)
{
    struct pv_address_space *as = new_as();
    struct pv_flash *flash;

    (void)state;
    assert_int_equal(pv_flash_create(&flash, as, 0, PV_MAP_FLASH_BANK, true, "flash", NULL), 0);
    set(as, 0, 4, 0x123); /* no command: still the array */
    assert_int_equal(kind_at(as, 0), PV_REGION_ROM);
    set(as, 64, 4, 0x40);
    set(as, 64, 4, 0);
    assert_int_equal(get(as, 64, 4), 0x00920092);
    set(as, 64, 4, 0x20);
    set(as, 64, 4, 0xd0);
    assert_int_equal(get(as, 64, 4), 0x00b200b2);
    set(as, 0, 4, 0x50);
    set(as, 0, 4, 0x98);
    assert_int_equal(get(as, 0x10 * 4, 8), UINT64_C(0x0052005200510051));
    assert_int_equal(get(as, 0x12 * 4, 1), 'Y');
    assert_int_equal(get(as, 0x27 * 4, 1), 25); /* 32 MiB a chip */
    assert_int_equal(get(as, 0x2d * 4, 1), 255);
    assert_int_equal(get(as, 0x30 * 4, 1), 2);
    set(as, 0, 4, 0x90);
    assert_int_equal(get(as, 0, 4), 0x00890089);
    assert_int_equal(get(as, 4, 2), 0x18);
    pv_flash_destroy(flash);
    pv_as_destroy(as);
}

static void test_flash_writes_through(void **state)
{
    struct pv_address_space *as = new_as();
    struct pv_flash *flash;
    char path[] = "/tmp/pv-flash-XXXXXX";
    int fd = mkstemp(path);
    uint32_t word = 0;

    (void)state;
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)BANK), 0);
    assert_int_equal(pwrite(fd, "\1\2\3\4", 4, 0x100), 4);
    assert_int_equal(pv_flash_create(&flash, as, 0, BANK, false, "flash", NULL), 0);
    assert_int_equal(pv_flash_load(flash, fd, path, NULL), 0);
    pv_flash_write_through(flash, dup(fd));
    assert_int_equal(get(as, 0x100, 4), 0x04030201);
    set(as, 0x100, 4, 0x40);
    set(as, 0x100, 4, 0x00030000);
    assert_int_equal(pread(fd, &word, 4, 0x100), 4);
    assert_int_equal(word, 0x00030000);
    pv_flash_write_through(flash, open(path, O_RDONLY)); /* writing fails from here on */
    set(as, 0x100, 4, 0x40);
    set(as, 0x100, 4, 0);
    assert_int_equal(get(as, 0, 4), 0x00900090);
    pv_flash_reset(flash);
    assert_int_equal(get(as, 0x100, 4), 0x00030000);
    assert_int_equal(ftruncate(fd, (off_t)BANK + 1), 0);
    assert_int_equal(pv_flash_load(flash, fd, path, NULL), -EFBIG);
    pv_flash_destroy(flash);
    close(fd);
    unlink(path);
    pv_as_destroy(as);
}

/* ---- fw_cfg ---- */

static void dma(struct pv_address_space *as, uint32_t control, uint32_t length, uint64_t address)
{
    const struct {
        uint32_t control, length;
        uint64_t address;
    } descriptor = {htobe32(control), htobe32(length), htobe64(address)};
    assert_int_equal(pv_as_write(as, RAM, &descriptor, sizeof(descriptor)), 0);
    set(as, PV_MAP_FWCFG + 0x10, 8, htobe64(RAM));
}

static void test_fwcfg(void **state)
{
    struct pv_address_space *as = new_as();
    struct pv_fwcfg *fw;
    char buf[16];

    (void)state;
    assert_int_equal(pv_fwcfg_create(&fw, as, PV_MAP_FWCFG, NULL), 0);
    assert_int_equal(get(as, PV_MAP_FWCFG, 4), 0x554d4551); /* "QEMU" */
    assert_int_equal(get(as, PV_MAP_FWCFG, 8), 0);
    assert_int_equal(get(as, PV_MAP_FWCFG + 0x10, 8), htobe64(UINT64_C(0x51454d5520434647)));
    assert_int_equal(pv_fwcfg_set_file(fw, "opt/one", "hello", 5, NULL), 0);
    assert_int_equal(pv_fwcfg_set_file(fw, "opt/two", "there", 5, NULL), 0);
    assert_int_equal(pv_fwcfg_set_file(fw, "opt/one", "goodbye", 7, NULL), 0);
    set(as, PV_MAP_FWCFG + 8, 2, htobe16(PV_FWCFG_DIRECTORY));
    assert_int_equal(get(as, PV_MAP_FWCFG, 4), htobe32(2));
    assert_int_equal(get(as, PV_MAP_FWCFG, 4), htobe32(7));
    assert_int_equal(get(as, PV_MAP_FWCFG, 2), htobe16(PV_FWCFG_FIRST_FILE));

    memset(buf, 0xee, sizeof(buf));
    assert_int_equal(pv_as_write(as, RAM + 0x100, buf, sizeof(buf)), 0);
    dma(as, PV_FWCFG_FIRST_FILE << 16 | 8 | 2, 9, RAM + 0x100); /* select, read past the end */
    assert_int_equal(get(as, RAM, 4), 0);
    assert_int_equal(pv_as_read(as, RAM + 0x100, buf, sizeof(buf)), 0);
    assert_memory_equal(buf, "goodbye\0\0\xee", 10);
    dma(as, (PV_FWCFG_FIRST_FILE + 1) << 16 | 8 | 4, 2, 0); /* select, skip */
    assert_int_equal(get(as, PV_MAP_FWCFG, 8), 0x657265);
    dma(as, PV_FWCFG_FIRST_FILE << 16 | 8 | 4, UINT32_MAX, 0);
    assert_int_equal(get(as, PV_MAP_FWCFG, 8), 0);
    pv_fwcfg_destroy(fw);
    pv_as_destroy(as);
}

static void test_fwcfg_refuses(void **state)
{
    struct pv_address_space *as = new_as();
    struct pv_fwcfg *fw;
    char name[80];

    (void)state;
    assert_int_equal(pv_fwcfg_create(&fw, as, PV_MAP_FWCFG, NULL), 0);
    dma(as, PV_FWCFG_SIGNATURE << 16 | 8 | 16, 4, RAM + 0x100); /* write */
    assert_int_equal(get(as, RAM, 4), htobe32(1));
    dma(as, PV_FWCFG_SIGNATURE << 16 | 8 | 2, 8, RAM + RAM_SIZE - 4);
    assert_int_equal(get(as, RAM, 4), htobe32(1));
    dma(as, PV_FWCFG_SIGNATURE << 16 | 8 | 2, 8, UINT64_MAX - 3);
    assert_int_equal(get(as, RAM, 4), htobe32(1));
    set(as, PV_MAP_FWCFG + 0x10, 8, UINT64_MAX); /* the descriptor is nowhere */
    set(as, PV_MAP_FWCFG + 8, 2, 0xffff);
    assert_int_equal(get(as, PV_MAP_FWCFG, 8), 0);
    assert_int_equal(pv_fwcfg_set_file(fw, "big", "", (size_t)UINT32_MAX + 1, NULL), -EFBIG);
    memset(name, 'x', sizeof(name));
    name[PV_FWCFG_NAME_SIZE] = 0;
    assert_int_equal(pv_fwcfg_set_file(fw, name, "", 0, NULL), -ENOSPC);
    for (unsigned i = 0; i < PV_FWCFG_FILES; i++) {
        snprintf(name, sizeof(name), "file%u", i);
        assert_int_equal(pv_fwcfg_set_file(fw, name, name, 4, NULL), 0);
    }
    assert_int_equal(pv_fwcfg_set_file(fw, "one more", name, 4, NULL), -ENOSPC);
    pv_fwcfg_destroy(fw);
    pv_as_destroy(as);
}

/* ---- AML ---- */

static void test_aml_encodings(void **state)
{
    static const uint8_t expected[] = {
        0x00,                                           /* 0 */
        0x01,                                           /* 1 */
        0x0a, 0x02,                                     /* 2 */
        0x0b, 0x00, 0x01,                               /* 256 */
        0x0c, 0x00, 0x00, 0x01, 0x00,                   /* 65536 */
        0x0e, 0,    0,    0,    0,    1,   0,   0,   0, /* 2^32 */
        0x0c, 0x41, 0xd0, 0x0a, 0x08,                   /* PNP0A08 */
        '\\', 0x2e, '_',  'S',  'B',  '_', 'A', 'B', '_', '_',
    };
    struct pv_aml aml;

    (void)state;
    pv_aml_init(&aml, 4096);
    pv_aml_integer(&aml, 0);
    pv_aml_integer(&aml, 1);
    pv_aml_integer(&aml, 2);
    pv_aml_integer(&aml, 256);
    pv_aml_integer(&aml, 65536);
    pv_aml_integer(&aml, UINT64_C(1) << 32);
    pv_aml_eisa_id(&aml, "PNP0A08");
    pv_aml_path(&aml, "\\_SB.AB");
    assert_int_equal(aml.ret, 0);
    assert_int_equal(aml.out.size, sizeof(expected));
    assert_memory_equal(aml.out.data, expected, sizeof(expected));
    pv_buffer_finish(&aml.out);
}

/* Where the length of a scope needs one more byte: 63 and 4095 are the last that fit. */
static void test_aml_lengths(void **state)
{
    static const struct {
        unsigned body;
        uint8_t bytes[3];
    } cases[] = {
        {58, {0x3f}}, {59, {0x41, 0x04}}, {4089, {0x4f, 0xff}}, {4090, {0x81, 0x00, 0x01}}};
    struct pv_aml aml;

    (void)state;
    for (unsigned i = 0; i < PV_ARRAY_SIZE(cases); i++) {
        pv_aml_init(&aml, 8192);
        pv_aml_scope(&aml, "ABCD");
        for (unsigned n = 0; n < cases[i].body; n++)
            pv_aml_op(&aml, 0);
        pv_aml_end(&aml);
        unsigned length = (cases[i].bytes[0] >> 6) + 1u;
        assert_int_equal(aml.out.size, 1 + length + 4 + cases[i].body);
        assert_memory_equal(aml.out.data + 1, cases[i].bytes, length);
        pv_buffer_finish(&aml.out);
    }
    pv_aml_init(&aml, 4); /* too small: the failure sticks */
    pv_aml_string(&aml, "hello");
    pv_aml_integer(&aml, 1);
    assert_int_equal(aml.ret, -E2BIG);
    pv_buffer_finish(&aml.out);
}

/* ---- Tables ---- */

static const uint64_t mpidr[] = {0, 1, 2};

static uint32_t le32_at(const struct pv_buffer *buffer, size_t offset)
{
    uint32_t value;
    assert_true(offset + 4 <= buffer->size);
    memcpy(&value, buffer->data + offset, 4);
    return le32toh(value);
}

/* Does what firmware does with the loader's script, with the tables at `base`. */
static void run_loader(struct pv_acpi *acpi, uint64_t base)
{
    for (size_t at = 0; at < acpi->loader.size; at += 128) {
        const char *command = acpi->loader.data + at;
        struct pv_buffer *file =
            strcmp(command + 4, PV_ACPI_RSDP_FILE) ? &acpi->tables : &acpi->rsdp;
        if (command[0] == 2) {
            uint32_t offset = le32_at(&acpi->loader, at + 116);
            uint64_t value;
            assert_true(offset + 8 <= file->size);
            assert_int_equal(command[120], 8);
            memcpy(&value, file->data + offset, 8);
            assert_true(value < acpi->tables.size);
            value += base;
            memcpy(file->data + offset, &value, 8);
        } else if (command[0] == 3) {
            uint32_t to = le32_at(&acpi->loader, at + 60), from = le32_at(&acpi->loader, at + 64);
            uint32_t length = le32_at(&acpi->loader, at + 68);
            uint8_t sum = 0;
            assert_true(from + length <= file->size && to >= from && to < from + length);
            file->data[to] = 0;
            for (uint32_t i = 0; i < length; i++)
                sum = (uint8_t)(sum + (uint8_t)file->data[from + i]);
            file->data[to] = (char)-sum;
        }
    }
}

static unsigned sum_of(const char *data, size_t size)
{
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++)
        sum = (uint8_t)(sum + (uint8_t)data[i]);
    return sum;
}

/* Has the ACPI compiler take a table apart; it complains on what it cannot. */
static void disassemble(const char *table, uint32_t length)
{
    char path[] = "/tmp/pv-acpi-XXXXXX.aml", command[128];
    int fd = mkstemps(path, 4);

    assert_true(fd >= 0);
    assert_int_equal(write(fd, table, length), (ssize_t)length);
    close(fd);
    snprintf(command, sizeof(command), "iasl -d %s >%s.log 2>&1 && ! grep -i error %s.log", path,
             path, path);
    int status = system(command);
    snprintf(command, sizeof(command), "rm -f %.*s*", (int)sizeof(path) - 5, path);
    assert_int_equal(system(command), 0);
    assert_int_equal(status, 0);
}

/* The watchdog is the only platform timer (ACPI 6.5, 5.2.25.2), and only where there is one. */
static void check_gtdt(const char *gtdt, uint32_t length, bool watchdog)
{
    static const uint8_t expected[] = {
        1, 28, 0,    0, /* refresh frame, control frame, GSIV, flags */
        0, 0,  0x0e, 9, 0, 0, 0, 0, 0, 0, 0x0f, 9, 0, 0, 0, 0, 47, 0, 0, 0, 0, 0, 0, 0};
    const struct pv_buffer table = {.data = (char *)gtdt, .size = length};

    assert_int_equal(length, watchdog ? 132 : 104);
    assert_int_equal(le32_at(&table, 88), watchdog);
    assert_int_equal(le32_at(&table, 92), watchdog ? 104 : 0);
    if (watchdog)
        assert_memory_equal(gtdt + 104, expected, sizeof(expected));
}

static void check_tables(uint64_t its, bool watchdog, const char *const *signatures, unsigned count)
{
    const struct pv_acpi_config config = {PV_ARRAY_SIZE(mpidr), mpidr, its, watchdog};
    const bool iasl = system("command -v iasl >/dev/null") == 0;
    const uint64_t base = UINT64_C(0x123450000);
    struct pv_acpi acpi;
    uint64_t xsdt, entry;

    assert_int_equal(pv_acpi_build(&acpi, &config, NULL), 0);
    run_loader(&acpi, base);
    assert_int_equal(acpi.rsdp.size, 36);
    assert_int_equal(sum_of(acpi.rsdp.data, 20), 0);
    assert_int_equal(sum_of(acpi.rsdp.data, 36), 0);
    memcpy(&xsdt, acpi.rsdp.data + 24, 8);
    xsdt -= base;
    assert_memory_equal(acpi.tables.data + xsdt, "XSDT", 4);
    assert_int_equal(le32_at(&acpi.tables, xsdt + 4), 36 + 8 * count);
    for (unsigned i = 0; i < count; i++) {
        memcpy(&entry, acpi.tables.data + xsdt + 36 + 8 * i, 8);
        const char *table = acpi.tables.data + (entry - base);
        uint32_t length = le32_at(&acpi.tables, entry - base + 4);
        assert_memory_equal(table, signatures[i], 4);
        assert_int_equal(sum_of(table, length), 0);
        if (!memcmp(table, "GTDT", 4))
            check_gtdt(table, length, watchdog);
        if (iasl)
            disassemble(table, length);
    }
    assert_memory_equal(acpi.tables.data, "DSDT", 4);
    assert_int_equal(sum_of(acpi.tables.data, le32_at(&acpi.tables, 4)), 0);
    if (iasl)
        disassemble(acpi.tables.data, le32_at(&acpi.tables, 4));
    pv_acpi_finish(&acpi);
}

static void test_acpi(void **state)
{
    static const char *const with_v2m[] = {"FACP", "APIC", "GTDT", "MCFG", "SPCR", "PPTT"};
    static const char *const with_its[] = {"FACP", "APIC", "GTDT", "MCFG", "SPCR", "PPTT", "IORT"};

    (void)state;
    check_tables(0, false, with_v2m, PV_ARRAY_SIZE(with_v2m));
    check_tables(UINT64_C(0x08080000), true, with_its, PV_ARRAY_SIZE(with_its));
}

static void test_smbios(void **state)
{
    struct pv_buffer tables = PV_BUFFER_INIT(4096);
    uint8_t anchor[PV_SMBIOS_ANCHOR_SIZE];

    (void)state;
    assert_int_equal(pv_smbios_build(&tables, anchor), 0);
    assert_memory_equal(anchor, "_SM3_", 5);
    assert_int_equal(sum_of((char *)anchor, sizeof(anchor)), 0);
    assert_int_equal(anchor[12], tables.size);
    unsigned types = 0;
    for (size_t at = 0; at < tables.size; types++) { /* fixed part, strings, an empty string */
        at += (uint8_t)tables.data[at + 1];
        while (tables.data[at] || tables.data[at + 1])
            at++;
        at += 2;
    }
    assert_int_equal(types, 3);
    pv_buffer_finish(&tables);
}

/* ---- Variable stores ---- */

static void good_store(uint8_t head[PV_VARSTORE_HEAD])
{
    static const uint8_t guid[16] = {0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c,
                                     0xa9, 0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50};
    uint16_t sum = 0;

    memset(head, 0, PV_VARSTORE_HEAD);
    memcpy(head + 16, guid, sizeof(guid));
    head[34] = 0x0c; /* 768 KiB */
    memcpy(head + 40, "_FVH", 4);
    head[48] = 72;
    for (unsigned i = 0; i < 72; i += 2)
        sum = (uint16_t)(sum + (head[i] | head[i + 1] << 8));
    sum = (uint16_t)-sum;
    head[50] = (uint8_t)sum;
    head[51] = (uint8_t)(sum >> 8);
    head[72 + 17] = 0xff;
    head[72 + 18] = 3;
    head[72 + 20] = 0x5a;
    head[72 + 21] = 0xfe;
}

static void test_varstore_check(void **state)
{
    static const unsigned damaged[] = {17, 34, 40, 48, 50, 72 + 19, 72 + 20, 72 + 21};
    uint8_t head[PV_VARSTORE_HEAD] = {0};

    (void)state;
    assert_int_equal(pv_varstore_check(head, BANK, "store", NULL), 0); /* blank */
    good_store(head);
    assert_int_equal(pv_varstore_check(head, BANK, "store", NULL), 0);
    for (unsigned i = 0; i < PV_ARRAY_SIZE(damaged); i++) {
        struct pv_error *err = NULL;
        head[damaged[i]] ^= 0x81;
        assert_int_equal(pv_varstore_check(head, BANK, "store", &err), -EINVAL);
        assert_non_null(strstr(pv_error_message(err), "store: not a UEFI variable store"));
        pv_error_free(&err);
        head[damaged[i]] ^= 0x81;
    }
}

static void test_varstore_open(void **state)
{
    char folder[] = "/tmp/pv-vars-XXXXXX", path[64], template[64];
    uint8_t head[PV_VARSTORE_HEAD], got[PV_VARSTORE_HEAD];
    struct stat st;
    int fd, other;

    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof(path), "%s/vars", folder);
    snprintf(template, sizeof(template), "%s/template", folder);
    assert_int_equal(pv_varstore_open(&fd, path, template, BANK, NULL), -ENOENT);
    assert_int_equal(access(path, F_OK), -1);
    good_store(head);
    fd = open(template, O_CREAT | O_WRONLY, 0600);
    assert_int_equal(write(fd, head, sizeof(head)), sizeof(head));
    close(fd);
    assert_int_equal(pv_varstore_open(&fd, path, template, BANK, NULL), 0);
    assert_int_equal(fstat(fd, &st), 0);
    assert_int_equal(st.st_size, BANK);
    assert_int_equal(pread(fd, got, sizeof(got), 0), sizeof(got));
    assert_memory_equal(got, head, sizeof(head));
    assert_int_equal(pv_varstore_open(&other, path, template, BANK, NULL), -EBUSY);
    assert_int_equal(pwrite(fd, "x", 1, 40), 1);
    close(fd);
    assert_int_equal(pv_varstore_open(&fd, path, template, BANK, NULL), -EINVAL);
    assert_int_equal(truncate(path, 100), 0);
    assert_int_equal(pv_varstore_open(&fd, path, template, BANK, NULL), -EINVAL);
    unlink(path);
    unlink(template);
    assert_int_equal(rmdir(folder), 0); /* nothing else was left there */
}

/* ---- What firmware cannot be ---- */

/* Creates firmware of `size` bytes that are zero but for two words; the error's text is `wrong`. */
static void check_code(uint32_t first, uint32_t second, uint32_t second_at, off_t size,
                       const char *wrong)
{
    char path[] = "/tmp/pv-code-XXXXXX";
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct pv_address_space *as = new_as();
    struct pv_firmware *firmware;
    int fd = mkstemp(path);

    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &first, 4, 0), 4);
    assert_int_equal(pwrite(fd, &second, 4, second_at), 4);
    assert_int_equal(ftruncate(fd, size), 0);
    close(fd);
    const struct pv_firmware_config config = {.as = as, .code = path, .vcpus = 1};
    int ret = pv_firmware_create(&firmware, &config, &err);
    if (wrong) {
        assert_true(ret < 0);
        if (!strstr(pv_error_message(err), wrong))
            fail_msg("'%s', not '%s'", wrong, pv_error_message(err));
    } else {
        assert_int_equal(ret, 0);
        pv_firmware_destroy(firmware);
    }
    unlink(path);
    pv_as_destroy(as);
}

static void test_firmware_code(void **state)
{
    const uint32_t branch = 0x14000400; /* b 0x1000, as EDK2 starts */
    const uint32_t nop = 0xd503201f;

    (void)state;
    check_code(branch, nop, 0x1000, 0x2000, NULL);
    check_code(nop, nop, 4, 0x1000, NULL);
    check_code(nop, nop, 4, 0x0fff, "not firmware: it has only 4095 bytes");
    check_code(branch, nop, 0x0800, 0x1002, "jumps to 0x1000");
    check_code(branch, nop, 0x0800, 0x1002, "cut short");
    check_code(0x17ffffff, nop, 4, 0x1000, "cut short"); /* b .-4 */
    check_code(0, nop, 4, 0x1000, "00000000 at 0 is not an AArch64 instruction");
    check_code(UINT32_MAX, nop, 4, 0x1000, "ffffffff at 0 is");
    check_code(branch, 0, 0x1000, 0x2000, "00000000 at 0x1000 is");
    check_code(0xfb494651, nop, 4, 0x1000, "not an AArch64 instruction"); /* a qcow2 */
    check_code(0x464c457f, nop, 4, 0x1000, "an ELF file");
    check_code(nop, nop, 4, 65 << 20, "larger than the flash");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_flash_program_and_erase),
        cmocka_unit_test(test_flash_buffer),
        cmocka_unit_test(test_flash_read_only_and_queries),
        cmocka_unit_test(test_flash_writes_through),
        cmocka_unit_test(test_fwcfg),
        cmocka_unit_test(test_fwcfg_refuses),
        cmocka_unit_test(test_aml_encodings),
        cmocka_unit_test(test_aml_lengths),
        cmocka_unit_test(test_acpi),
        cmocka_unit_test(test_smbios),
        cmocka_unit_test(test_varstore_check),
        cmocka_unit_test(test_varstore_open),
        cmocka_unit_test(test_firmware_code),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
