/* SPDX-License-Identifier: MIT */
#include "machine/firmware.h"

#include "base/endian.h"
#include "base/error.h"
#include "base/record.h"
#include "base/util.h"
#include "engine/a64/decode.h"
#include "machine/acpi/acpi.h"
#include "machine/flash.h"
#include "machine/fwcfg.h"
#include "machine/loader.h"
#include "machine/map.h"
#include "machine/smbios.h"
#include "machine/varstore.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct pv_firmware {
    struct pv_flash *code, *vars;
    struct pv_fwcfg *fwcfg;
};

#define MIN_CODE 4096 /* what starts a machine has more */

/*
 * A reset starts at address 0: what is there must be an instruction, and where it is a branch, so
 * must what it leads to, inside the image.
 */
static int check_start(int fd, const char *path, uint64_t size, struct pv_error **err)
{
    int64_t at = 0;

    for (unsigned jumps = 0; jumps < 2; jumps++) {
        struct a64_insn insn;
        uint32_t word = 0;
        if (at < 0 || (uint64_t)at > size - sizeof(word))
            return pv_error_set(err, ENOEXEC,
                                "%s: not firmware, or cut short: it has %llu bytes, and its first "
                                "instruction jumps to %#llx",
                                path, (unsigned long long)size, (unsigned long long)at);
        if (pread(fd, &word, sizeof(word), at) != (ssize_t)sizeof(word))
            return pv_error_errno(err, EIO, "%s", path);
        a64_decode(le32toh(word), &insn);
        if (insn.op == A64_UNDEFINED)
            return pv_error_set(err, ENOEXEC,
                                "%s: not firmware: %08x at %#llx is not an AArch64 instruction",
                                path, le32toh(word), (unsigned long long)at);
        if (insn.op != A64_B)
            break;
        at += insn.imm;
    }
    return 0;
}

static int check_code(int fd, const char *path, struct pv_error **err)
{
    uint32_t first = 0;
    struct stat st;

    if (fstat(fd, &st) < 0)
        return pv_error_errno(err, errno, "%s", path);
    if (!S_ISREG(st.st_mode))
        return pv_error_set(err, EINVAL, "%s: not a regular file", path);
    if ((uint64_t)st.st_size > PV_MAP_FLASH_BANK)
        return pv_error_set(err, EFBIG, "%s: larger than the flash, which has %llu MiB", path,
                            (unsigned long long)(PV_MAP_FLASH_BANK / PV_MIB));
    if (st.st_size < MIN_CODE)
        return pv_error_set(err, ENOEXEC, "%s: not firmware: it has only %llu bytes", path,
                            (unsigned long long)st.st_size);
    if (pread(fd, &first, sizeof(first), 0) < 0)
        return pv_error_errno(err, errno, "%s", path);
    if (memcmp(&first, "\177ELF", 4) == 0 || (first & 0xffff) == 0x5a4d)
        return pv_error_set(
            err, ENOEXEC, "%s: not firmware but %s; a raw flash image is needed", path,
            (first & 0xffff) == 0x5a4d ? "an EFI program or a kernel" : "an ELF file");
    return check_start(fd, path, (uint64_t)st.st_size, err);
}

static int create_code(struct pv_firmware *firmware, const struct pv_firmware_config *config,
                       struct pv_error **err)
{
    PV_CLEANUP_FD int fd = open(config->code, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0)
        return pv_error_errno(err, errno, "%s", config->code);
    int ret = check_code(fd, config->code, err);
    if (ret >= 0)
        ret = pv_flash_create(&firmware->code, config->as, PV_MAP_FLASH, PV_MAP_FLASH_BANK, true,
                              "flash 0", err);
    return ret < 0 ? ret : pv_flash_load(firmware->code, fd, config->code, err);
}

static int create_vars(struct pv_firmware *firmware, const struct pv_firmware_config *config,
                       struct pv_error **err)
{
    const char *path = config->vars ? config->vars : config->vars_template;
    PV_CLEANUP_FD int fd = -1;
    int ret = 0;

    if (config->vars) {
        ret = pv_varstore_open(&fd, config->vars, config->vars_template, PV_MAP_FLASH_BANK, err);
    } else if (config->vars_template) {
        fd = open(config->vars_template, O_RDONLY | O_CLOEXEC);
        if (fd < 0)
            ret = pv_error_errno(err, errno, "%s", config->vars_template);
    }
    if (ret >= 0)
        ret = pv_flash_create(&firmware->vars, config->as, PV_MAP_FLASH + PV_MAP_FLASH_BANK,
                              PV_MAP_FLASH_BANK, false, "flash 1", err);
    if (ret >= 0 && fd >= 0)
        ret = pv_flash_load(firmware->vars, fd, path, err);
    if (ret >= 0 && config->vars)
        pv_flash_write_through(firmware->vars, PV_STEAL_FD(fd));
    return ret;
}

/* A file's contents as the item `key`, and its length as the item `size_key`. */
static int set_file_item(struct pv_fwcfg *fwcfg, enum pv_fwcfg_key key, enum pv_fwcfg_key size_key,
                         const char *path, struct pv_error **err)
{
    PV_CLEANUP_FREE uint8_t *data = NULL;
    size_t size;
    int ret = pv_loader_read_file(&data, &size, UINT32_MAX, path, err);

    if (ret >= 0)
        ret = pv_fwcfg_set(fwcfg, key, data, size, err);
    return ret < 0 ? ret : pv_fwcfg_set_u32(fwcfg, size_key, (uint32_t)size, err);
}

static int set_kernel(struct pv_fwcfg *fwcfg, const struct pv_firmware_config *config,
                      struct pv_error **err)
{
    int ret = 0;

    if (config->kernel) {
        ret = set_file_item(fwcfg, PV_FWCFG_KERNEL, PV_FWCFG_KERNEL_SIZE, config->kernel, err);
        if (ret < 0)
            return pv_error_prefix(err, "kernel");
    }
    if (config->initrd) {
        ret = set_file_item(fwcfg, PV_FWCFG_INITRD, PV_FWCFG_INITRD_SIZE, config->initrd, err);
        if (ret < 0)
            return pv_error_prefix(err, "initrd");
    }
    if (config->append) {
        size_t size = strlen(config->append) + 1;
        ret = pv_fwcfg_set(fwcfg, PV_FWCFG_CMDLINE, config->append, size, err);
        if (ret >= 0)
            ret = pv_fwcfg_set_u32(fwcfg, PV_FWCFG_CMDLINE_SIZE, (uint32_t)size, err);
    }
    return ret;
}

static int set_buffer(struct pv_fwcfg *fwcfg, const char *name, const struct pv_buffer *buffer,
                      struct pv_error **err)
{
    return pv_fwcfg_set_file(fwcfg, name, buffer->data, buffer->size, err);
}

static int set_acpi(struct pv_fwcfg *fwcfg, const struct pv_acpi_config *config,
                    struct pv_error **err)
{
    struct pv_acpi acpi;
    int ret = pv_acpi_build(&acpi, config, err);

    if (ret < 0)
        return ret;
    ret = set_buffer(fwcfg, PV_ACPI_RSDP_FILE, &acpi.rsdp, err);
    if (ret >= 0)
        ret = set_buffer(fwcfg, PV_ACPI_TABLES_FILE, &acpi.tables, err);
    if (ret >= 0)
        ret = set_buffer(fwcfg, PV_ACPI_LOADER_FILE, &acpi.loader, err);
    pv_acpi_finish(&acpi);
    return ret;
}

static int set_smbios(struct pv_fwcfg *fwcfg, struct pv_error **err)
{
    PV_CLEANUP_BUFFER struct pv_buffer tables = PV_BUFFER_INIT(4096);
    uint8_t anchor[PV_SMBIOS_ANCHOR_SIZE];

    if (pv_smbios_build(&tables, anchor) < 0)
        return pv_error_set(err, ENOMEM, "out of memory for the SMBIOS tables");
    int ret = pv_fwcfg_set_file(fwcfg, PV_SMBIOS_ANCHOR_FILE, anchor, sizeof(anchor), err);
    return ret < 0 ? ret : set_buffer(fwcfg, PV_SMBIOS_TABLES_FILE, &tables, err);
}

static int create_fwcfg(struct pv_firmware *firmware, const struct pv_firmware_config *config,
                        struct pv_error **err)
{
    int ret = pv_fwcfg_create(&firmware->fwcfg, config->as, PV_MAP_FWCFG, err);

    if (ret >= 0)
        ret = pv_fwcfg_set_u16(firmware->fwcfg, PV_FWCFG_CPUS, (uint16_t)config->vcpus, err);
    if (ret >= 0)
        ret = pv_fwcfg_set_u16(firmware->fwcfg, PV_FWCFG_MAX_CPUS, (uint16_t)config->vcpus, err);
    if (ret >= 0)
        ret = set_kernel(firmware->fwcfg, config, err);
    if (ret >= 0)
        ret = set_smbios(firmware->fwcfg, err);
    if (ret >= 0 && config->acpi)
        ret = set_acpi(firmware->fwcfg, config->acpi, err);
    return ret;
}

int pv_firmware_create(struct pv_firmware **out, const struct pv_firmware_config *config,
                       struct pv_error **err)
{
    struct pv_firmware *firmware = calloc(1, sizeof(*firmware));

    if (!firmware)
        return pv_error_set(err, ENOMEM, "out of memory for the firmware");
    int ret = create_code(firmware, config, err);
    if (ret < 0)
        pv_error_prefix(err, "firmware");
    if (ret >= 0) {
        ret = create_vars(firmware, config, err);
        if (ret < 0)
            pv_error_prefix(err, "firmware variables");
    }
    if (ret >= 0)
        ret = create_fwcfg(firmware, config, err);
    if (ret < 0) {
        pv_firmware_destroy(firmware);
        return ret;
    }
    *out = firmware;
    return 0;
}

int pv_firmware_set_boot_order(struct pv_firmware *firmware, const struct pv_buffer *order,
                               struct pv_error **err)
{
    return set_buffer(firmware->fwcfg, "bootorder", order, err);
}

void pv_firmware_destroy(struct pv_firmware *firmware)
{
    if (!firmware)
        return;
    pv_fwcfg_destroy(firmware->fwcfg);
    pv_flash_destroy(firmware->vars);
    pv_flash_destroy(firmware->code);
    free(firmware);
}

void pv_firmware_record(struct pv_firmware *firmware, struct pv_record *record)
{
    pv_flash_record(firmware->code, record);
    pv_flash_record(firmware->vars, record);
    pv_fwcfg_record(firmware->fwcfg, record);
}

void pv_firmware_reset(struct pv_firmware *firmware)
{
    pv_flash_reset(firmware->code);
    pv_flash_reset(firmware->vars);
    pv_fwcfg_reset(firmware->fwcfg);
}
