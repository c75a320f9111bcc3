/* SPDX-License-Identifier: MIT */
/*
 * Tables are written one behind the other into a buffer. Where they go in memory only firmware
 * knows: pointers hold offsets into the file until firmware, told by the loader script, adds the
 * file's address, and then puts the checksums right (QEMU, hw/acpi/bios-linker-loader.c, documents
 * the script's commands).
 */
#include "base/error.h"
#include "base/util.h"
#include "machine/acpi/acpi.h"
#include "machine/acpi/aml.h"
#include "machine/map.h"

#include <errno.h>
#include <string.h>

#define MAX_TABLES      (UINT64_C(1) << 20)
#define MAX_LOADER      (UINT64_C(64) << 10)
#define HEADER_SIZE     36u
#define HEADER_CHECKSUM 9u

/* The writer of all three files: the first failure sticks. */
struct writer {
    struct pv_acpi *acpi;
    const struct pv_acpi_config *config;
    int ret;
    size_t start; /* of the table being written */
    uint32_t table[16];
    unsigned table_count; /* those that the XSDT names */
};

static void put(struct writer *w, const void *data, size_t size)
{
    if (!w->ret)
        w->ret = pv_buffer_append(&w->acpi->tables, data, size);
}

static void put_le(struct writer *w, uint64_t value, unsigned bytes)
{
    uint8_t le[8];

    for (unsigned i = 0; i < bytes; i++)
        le[i] = (uint8_t)(value >> 8 * i);
    put(w, le, bytes);
}

#define u8(w, value)  put_le(w, value, 1)
#define u16(w, value) put_le(w, value, 2)
#define u32(w, value) put_le(w, value, 4)
#define u64(w, value) put_le(w, value, 8)

static void zeroes(struct writer *w, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        u8(w, 0);
}

/* ---- The loader's script: commands of 128 bytes ---- */

enum {
    LOADER_ALLOCATE = 1,
    LOADER_ADD_POINTER = 2,
    LOADER_ADD_CHECKSUM = 3,
};

enum { ZONE_HIGH = 1, ZONE_LOW = 2 };

#define LOADER_COMMAND 128u
#define LOADER_NAME    56u

struct command {
    uint8_t bytes[LOADER_COMMAND];
    size_t at;
};

static void command_number(struct command *command, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        command->bytes[command->at++] = (uint8_t)(value >> 8 * i);
}

static struct command command_start(uint32_t number, const char *file)
{
    struct command command = {.at = 0};

    command_number(&command, number, 4);
    memcpy(command.bytes + command.at, file, strlen(file));
    command.at += LOADER_NAME;
    return command;
}

static void command_end(struct writer *w, const struct command *command)
{
    if (!w->ret)
        w->ret = pv_buffer_append(&w->acpi->loader, command->bytes, sizeof(command->bytes));
}

static void loader_allocate(struct writer *w, const char *file, uint32_t align, unsigned zone)
{
    struct command command = command_start(LOADER_ALLOCATE, file);

    command_number(&command, align, 4);
    command_number(&command, zone, 1);
    command_end(w, &command);
}

/* The 8 bytes at `offset` of `file` hold an offset into the tables. */
static void loader_add_pointer(struct writer *w, const char *file, size_t offset)
{
    struct command command = command_start(LOADER_ADD_POINTER, file);

    memcpy(command.bytes + command.at, PV_ACPI_TABLES_FILE, sizeof(PV_ACPI_TABLES_FILE));
    command.at += LOADER_NAME;
    command_number(&command, offset, 4);
    command_number(&command, 8, 1);
    command_end(w, &command);
}

static void loader_add_checksum(struct writer *w, const char *file, size_t at, size_t start,
                                size_t length)
{
    struct command command = command_start(LOADER_ADD_CHECKSUM, file);

    command_number(&command, at, 4);
    command_number(&command, start, 4);
    command_number(&command, length, 4);
    command_end(w, &command);
}

/* ---- A table's frame (5.2.6) ---- */

static void begin_table(struct writer *w, const char *signature, unsigned revision)
{
    w->start = w->acpi->tables.size;
    put(w, signature, 4);
    u32(w, 0); /* length */
    u8(w, revision);
    u8(w, 0); /* checksum */
    put(w, "PEARVS", 6);
    put(w, "PEARVIRT", 8);
    u32(w, 1);
    put(w, "PVSR", 4);
    u32(w, 1);
}

/* Where a field of the table is, for patching it once its value is known. */
static uint8_t *field(struct writer *w, size_t offset)
{
    return (uint8_t *)w->acpi->tables.data + w->start + offset;
}

static void set_le(uint8_t *at, uint64_t value, unsigned bytes)
{
    for (unsigned i = 0; i < bytes; i++)
        at[i] = (uint8_t)(value >> 8 * i);
}

static void end_table(struct writer *w)
{
    size_t length = w->acpi->tables.size - w->start;

    if (w->ret)
        return;
    set_le(field(w, 4), length, 4);
    loader_add_checksum(w, PV_ACPI_TABLES_FILE, w->start + HEADER_CHECKSUM, w->start, length);
    w->table[w->table_count++] = (uint32_t)w->start;
}

/* A register in memory, accessed by double words (5.2.3.2). */
static void generic_address(struct writer *w, uint64_t address)
{
    u8(w, 0);
    u8(w, 32);
    u8(w, 0);
    u8(w, 3);
    u64(w, address);
}

/* ---- Tables ---- */

/* Returns its offset: only the FADT names it. */
static uint32_t write_dsdt(struct writer *w)
{
    struct pv_aml aml;

    pv_aml_init(&aml, MAX_TABLES);
    pv_acpi_write_dsdt(&aml, w->config);
    begin_table(w, "DSDT", 2);
    if (!w->ret)
        w->ret = aml.ret;
    put(w, aml.out.data, aml.out.size);
    pv_buffer_finish(&aml.out);
    end_table(w);
    if (w->table_count)
        w->table_count--;
    return (uint32_t)w->start;
}

/* Hardware-reduced, power states and CPUs by PSCI through HVC (5.2.9). */
static void write_fadt(struct writer *w, uint32_t dsdt)
{
    enum {
        FLAGS = 112,
        ARM_BOOT_FLAGS = 129,
        MINOR_REVISION = 131,
        X_DSDT = 140,
        HYPERVISOR = 268,
        SIZE = 276,
    };
    const uint32_t hardware_reduced = UINT32_C(1) << 20;

    begin_table(w, "FACP", 6);
    zeroes(w, SIZE - HEADER_SIZE);
    if (!w->ret) {
        set_le(field(w, FLAGS), hardware_reduced, 4);
        set_le(field(w, ARM_BOOT_FLAGS), 3, 2); /* PSCI is there, by HVC */
        set_le(field(w, MINOR_REVISION), 3, 1);
        set_le(field(w, X_DSDT), dsdt, 8);
        memcpy(field(w, HYPERVISOR), "PearVisr", 8);
    }
    loader_add_pointer(w, PV_ACPI_TABLES_FILE, w->start + X_DSDT);
    end_table(w);
}

/* Interrupt controllers (5.2.12.14 to 18). */
static void write_madt(struct writer *w)
{
    const struct pv_acpi_config *config = w->config;

    begin_table(w, "APIC", 4);
    u64(w, 0);            /* no local APIC, no flags */
    u16(w, 12 | 24 << 8); /* GICD */
    u16(w, 0);
    u32(w, 0);
    u64(w, PV_MAP_GICD);
    u32(w, 0);
    u32(w, 3); /* GICv3; reserved */
    for (unsigned i = 0; i < config->vcpus; i++) {
        u16(w, 11 | 80 << 8); /* GICC */
        u16(w, 0);
        u32(w, i); /* interface */
        u32(w, i); /* _UID */
        u32(w, 1); /* enabled */
        zeroes(w, 68 - 16);
        u64(w, config->mpidr[i]);
        u32(w, 0);
    }
    u16(w, 14 | 16 << 8); /* GICR */
    u16(w, 0);
    u64(w, PV_MAP_GICR);
    u32(w, (uint32_t)PV_MAP_GICR_SIZE);
    if (config->its) {
        u16(w, 15 | 20 << 8); /* ITS */
        u16(w, 0);
        u32(w, 0);
        u64(w, config->its);
        u32(w, 0);
    } else {
        u16(w, 13 | 24 << 8); /* MSI frame */
        u16(w, 0);
        u32(w, 0);
        u64(w, PV_MAP_V2M);
        u32(w, 1); /* the two that follow count, not the frame's register */
        u16(w, PV_V2M_SPIS);
        u16(w, PV_INTID_V2M);
    }
    end_table(w);
}

/*
 * Timers (5.2.25): level-triggered, active high; the virtual one is always on. The watchdog is what
 * the table calls a platform timer (5.2.25.2).
 */
static void write_gtdt(struct writer *w)
{
    enum { PLATFORM_TIMERS = 104, WATCHDOG = 1, WATCHDOG_SIZE = 28 };
    const uint32_t always_on = 4;
    const bool watchdog = w->config->watchdog;
    const uint32_t timers[] = {29, PV_INTID_TIMER_PHYS, PV_INTID_TIMER_VIRT, 26};

    begin_table(w, "GTDT", 3);
    u64(w, UINT64_MAX); /* no control frame */
    u32(w, 0);
    for (unsigned i = 0; i < PV_ARRAY_SIZE(timers); i++) {
        u32(w, timers[i]);
        u32(w, always_on);
    }
    u64(w, UINT64_MAX); /* no read frame */
    u32(w, watchdog);   /* platform timers, and where they are */
    u32(w, watchdog ? PLATFORM_TIMERS : 0);
    u64(w, 0); /* no virtual EL2 timer */
    if (watchdog) {
        u8(w, WATCHDOG);
        u16(w, WATCHDOG_SIZE);
        u8(w, 0);
        u64(w, PV_MAP_WDT_REFRESH);
        u64(w, PV_MAP_WDT_CONTROL);
        u32(w, PV_INTID_WDT);
        u32(w, 0); /* level-triggered, active high, not secure */
    }
    end_table(w);
}

static void write_mcfg(struct writer *w)
{
    begin_table(w, "MCFG", 1);
    u64(w, 0);
    u64(w, PV_MAP_ECAM);
    u16(w, 0); /* segment */
    u8(w, 0);
    u8(w, PV_MAP_ECAM_SIZE / PV_MIB - 1);
    u32(w, 0);
    end_table(w);
}

/* The console (Microsoft's Serial Port Console Redirection table, revision 2). */
static void write_spcr(struct writer *w)
{
    begin_table(w, "SPCR", 2);
    u32(w, 3); /* PL011 */
    generic_address(w, PV_MAP_UART);
    u16(w, 8); /* a GIC interrupt */
    u32(w, PV_INTID_UART);
    u8(w, 3);           /* 9600 baud */
    u8(w, 0);           /* no parity */
    u8(w, 1);           /* one stop bit */
    u8(w, 2);           /* RTS and CTS */
    u16(w, 0);          /* VT100 */
    u32(w, UINT32_MAX); /* not a PCI device */
    zeroes(w, 12);
    end_table(w);
}

/* One socket with all CPUs in it (5.2.30). */
static void write_pptt(struct writer *w)
{
    enum { PACKAGE = 1, ID_VALID = 2, LEAF = 8 };

    begin_table(w, "PPTT", 2);
    u32(w, 0 | 20 << 8);
    u32(w, PACKAGE);
    u32(w, 0);
    u32(w, 0);
    u32(w, 0);
    for (unsigned i = 0; i < w->config->vcpus; i++) {
        u32(w, 0 | 20 << 8);
        u32(w, ID_VALID | LEAF);
        u32(w, HEADER_SIZE); /* its parent: the socket */
        u32(w, i);
        u32(w, 0);
    }
    end_table(w);
}

/* From PCI requesters to the ITS (Arm DEN 0049E, IO Remapping Table). */
static void write_iort(struct writer *w)
{
    const uint32_t first_node = 48, its_group_size = 24;

    begin_table(w, "IORT", 3);
    u32(w, 2); /* nodes */
    u32(w, first_node);
    u32(w, 0);
    u8(w, 0); /* an ITS group */
    u16(w, its_group_size);
    u8(w, 1);
    u32(w, 0);
    u32(w, 0); /* no mappings */
    u32(w, 0);
    u32(w, 1); /* ITS, of which the first */
    u32(w, 0);
    u8(w, 2); /* the root complex */
    u16(w, 36 + 20);
    u8(w, 3);
    u32(w, 1); /* identifier */
    u32(w, 1); /* mappings, at the offset */
    u32(w, 36);
    u32(w, 1); /* coherent */
    u8(w, 0);
    u16(w, 0);
    u8(w, 3);   /* cacheable, and coherent with the CPUs */
    u32(w, 0);  /* no ATS */
    u32(w, 0);  /* segment */
    u32(w, 64); /* address bits */
    u32(w, 0);  /* every requester ID maps to itself */
    u32(w, 0xffff);
    u32(w, 0);
    u32(w, first_node);
    u32(w, 0);
    end_table(w);
}

static uint32_t write_xsdt(struct writer *w)
{
    begin_table(w, "XSDT", 1);
    for (unsigned i = 0; i < w->table_count; i++) {
        loader_add_pointer(w, PV_ACPI_TABLES_FILE, w->acpi->tables.size);
        u64(w, w->table[i]);
    }
    end_table(w);
    return (uint32_t)w->start;
}

/* Where everything starts (5.2.5.3). */
static void write_rsdp(struct writer *w, uint32_t xsdt)
{
    enum { CHECKSUM = 8, V1_SIZE = 20, XSDT = 24, LONG_CHECKSUM = 32, SIZE = 36 };
    uint8_t rsdp[SIZE] = {0};

    memcpy(rsdp, "RSD PTR ", 8);
    memcpy(rsdp + 9, "PEARVS", 6);
    rsdp[15] = 2; /* revision */
    set_le(rsdp + 20, SIZE, 4);
    set_le(rsdp + XSDT, xsdt, 8);
    if (!w->ret)
        w->ret = pv_buffer_append(&w->acpi->rsdp, rsdp, sizeof(rsdp));
    loader_add_pointer(w, PV_ACPI_RSDP_FILE, XSDT);
    loader_add_checksum(w, PV_ACPI_RSDP_FILE, CHECKSUM, 0, V1_SIZE);
    loader_add_checksum(w, PV_ACPI_RSDP_FILE, LONG_CHECKSUM, 0, SIZE);
}

int pv_acpi_build(struct pv_acpi *acpi, const struct pv_acpi_config *config, struct pv_error **err)
{
    struct writer w = {.acpi = acpi, .config = config};

    acpi->tables = PV_BUFFER_INIT(MAX_TABLES);
    acpi->rsdp = PV_BUFFER_INIT(64);
    acpi->loader = PV_BUFFER_INIT(MAX_LOADER);
    loader_allocate(&w, PV_ACPI_RSDP_FILE, 16, ZONE_LOW);
    loader_allocate(&w, PV_ACPI_TABLES_FILE, 64, ZONE_HIGH);
    uint32_t dsdt = write_dsdt(&w);
    write_fadt(&w, dsdt);
    write_madt(&w);
    write_gtdt(&w);
    write_mcfg(&w);
    write_spcr(&w);
    write_pptt(&w);
    if (config->its)
        write_iort(&w);
    write_rsdp(&w, write_xsdt(&w));
    if (w.ret < 0) {
        pv_acpi_finish(acpi);
        return pv_error_set(err, -w.ret, "out of memory for the ACPI tables");
    }
    return 0;
}

void pv_acpi_finish(struct pv_acpi *acpi)
{
    pv_buffer_finish(&acpi->tables);
    pv_buffer_finish(&acpi->rsdp);
    pv_buffer_finish(&acpi->loader);
}
