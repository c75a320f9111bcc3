/* SPDX-License-Identifier: MIT */
#include "vm/firmware.h"

#include "base/error.h"
#include "base/util.h"
#include "vm/config.h"

#include <errno.h>
#include <string.h>

struct candidate {
    const char *code;
    const char *vars; /* or NULL */
};

static const struct candidate uefi[] = {
    /* Debian and Ubuntu: qemu-efi-aarch64 */
    {"/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"},
    {"/usr/share/AAVMF/AAVMF_CODE.no-secboot.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"},
    /* Fedora: edk2-aarch64 */
    {"/usr/share/edk2/aarch64/QEMU_EFI-silent-pflash.raw",
     "/usr/share/edk2/aarch64/vars-template-pflash.raw"},
    /* Arch: edk2-aarch64 */
    {"/usr/share/edk2/aarch64/QEMU_CODE.fd", "/usr/share/edk2/aarch64/QEMU_VARS.fd"},
    /* Homebrew: qemu */
    {"/opt/homebrew/share/qemu/edk2-aarch64-code.fd", "/opt/homebrew/share/qemu/edk2-arm-vars.fd"},
};

static const struct candidate uboot[] = {
    {"/usr/lib/u-boot/qemu_arm64/u-boot.bin", NULL}, /* Debian: u-boot-qemu */
};

static int find(struct pv_firmware_files *files, const struct candidate *candidates, size_t count,
                const char *what, const char *package, struct pv_error **err)
{
    for (size_t i = 0; i < count; i++) {
        if (access(candidates[i].code, R_OK) < 0)
            continue;
        files->code = candidates[i].code;
        files->vars_template = candidates[i].vars;
        return 0;
    }
    return pv_error_set(err, ENOENT,
                        "no %s firmware on this host (%s is not there); install Debian's package "
                        "%s, or name an image with --firmware PATH",
                        what, candidates[0].code, package);
}

static const char *name_of(const struct pv_config *config)
{
    return config->firmware ? config->firmware : config->kernel ? "none" : "uefi";
}

bool pv_firmware_wanted(const struct pv_config *config)
{
    return strcmp(name_of(config), "none") != 0;
}

int pv_firmware_choose(struct pv_firmware_files *files, const struct pv_config *config,
                       struct pv_error **err)
{
    const char *name = name_of(config);
    int ret = 0;

    *files = (struct pv_firmware_files){.acpi = config->acpi == PV_ACPI_ON ||
                                                (config->acpi == PV_ACPI_AUTO && !config->dtb)};
    if (config->dtb && config->acpi == PV_ACPI_ON) {
        ret = pv_error_set(err, EINVAL,
                           "%s: a guest that gets ACPI tables does not look at a device tree; "
                           "leave one of the two away",
                           config->dtb);
    } else if (!strcmp(name, "none")) {
        if (!config->kernel)
            ret = pv_error_set(err, EINVAL, "without firmware a kernel is needed");
        else if (config->acpi == PV_ACPI_ON)
            ret = pv_error_set(err, EINVAL, "ACPI needs UEFI firmware; use --firmware uefi");
        else if (config->vars)
            ret = pv_error_set(err, EINVAL, "%s: variables need firmware", config->vars);
    } else if (!strcmp(name, "uefi")) {
        ret = find(files, uefi, PV_ARRAY_SIZE(uefi), "UEFI", "qemu-efi-aarch64", err);
    } else if (!strcmp(name, "uboot")) {
        ret = find(files, uboot, PV_ARRAY_SIZE(uboot), "U-Boot", "u-boot-qemu", err);
        files->acpi = config->acpi == PV_ACPI_ON;
    } else {
        files->code = name;
    }
    return ret;
}
