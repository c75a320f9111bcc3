/* SPDX-License-Identifier: MIT */
/* The devices that cannot be discovered: ACPI's counterpart of fdt.c. */
#include "machine/acpi/acpi.h"
#include "machine/acpi/aml.h"
#include "machine/map.h"

#include <stdio.h>

#define VIRTIO_MMIO_SIZE 0x200u

static void write_cpus(struct pv_aml *aml, const struct pv_acpi_config *config)
{
    char name[8];

    for (unsigned i = 0; i < config->vcpus; i++) {
        snprintf(name, sizeof(name), "C%03X", i & 0xfff);
        pv_aml_device(aml, name);
        pv_aml_name_string(aml, "_HID", "ACPI0007");
        pv_aml_name_integer(aml, "_UID", i);
        pv_aml_end(aml);
    }
}

static void write_crs(struct pv_aml *aml, uint64_t address, uint64_t size)
{
    pv_aml_name(aml, "_CRS");
    pv_aml_resources(aml);
    pv_aml_memory32(aml, (uint32_t)address, (uint32_t)size);
}

static void write_uart(struct pv_aml *aml)
{
    pv_aml_device(aml, "COM0");
    pv_aml_name_string(aml, "_HID", "ARMH0011");
    pv_aml_name_integer(aml, "_UID", 0);
    write_crs(aml, PV_MAP_UART, PV_MAP_PL_SIZE);
    pv_aml_interrupt(aml, PV_AML_LEVEL_HIGH, PV_INTID_UART);
    pv_aml_end(aml);
    pv_aml_end(aml);
}

static void write_fwcfg(struct pv_aml *aml)
{
    pv_aml_device(aml, "FWCF");
    pv_aml_name_string(aml, "_HID", "QEMU0002");
    pv_aml_name_integer(aml, "_STA", 0x0b); /* present, enabled, working; not for a user to see */
    pv_aml_name_integer(aml, "_CCA", 1);
    write_crs(aml, PV_MAP_FWCFG, PV_MAP_FWCFG_SIZE);
    pv_aml_end(aml);
    pv_aml_end(aml);
}

static void write_virtio(struct pv_aml *aml)
{
    char name[8];

    for (unsigned i = 0; i < PV_VIRTIO_MMIO_SLOTS; i++) {
        snprintf(name, sizeof(name), "VR%02u", i);
        pv_aml_device(aml, name);
        pv_aml_name_string(aml, "_HID", "LNRO0005");
        pv_aml_name_integer(aml, "_UID", i);
        pv_aml_name_integer(aml, "_CCA", 1);
        write_crs(aml, PV_MAP_VIRTIO + i * VIRTIO_MMIO_SIZE, VIRTIO_MMIO_SIZE);
        pv_aml_interrupt(aml, PV_AML_EDGE_HIGH, PV_INTID_VIRTIO + i);
        pv_aml_end(aml);
        pv_aml_end(aml);
    }
}

/* The four wires, by slot and pin; an entry without a link device names the interrupt itself. */
static void write_prt(struct pv_aml *aml)
{
    const unsigned slots = 32, pins = 4;

    pv_aml_name(aml, "_PRT");
    pv_aml_package(aml, slots * pins);
    for (unsigned slot = 0; slot < slots; slot++) {
        for (unsigned pin = 0; pin < pins; pin++) {
            pv_aml_package(aml, 4);
            pv_aml_integer(aml, slot << 16 | 0xffff);
            pv_aml_integer(aml, pin);
            pv_aml_integer(aml, 0);
            pv_aml_integer(aml, PV_INTID_PCI + (slot + pin) % 4);
            pv_aml_end(aml);
        }
    }
    pv_aml_end(aml);
}

static void create_field(struct pv_aml *aml, unsigned offset, const char *name)
{
    pv_aml_op(aml, PV_AML_CREATE_DWORD_FIELD);
    pv_aml_op(aml, PV_AML_ARG0 + 3);
    pv_aml_integer(aml, offset);
    pv_aml_path(aml, name);
}

/* CDW1 |= bits */
static void raise_status(struct pv_aml *aml, unsigned bits)
{
    pv_aml_op(aml, PV_AML_OR);
    pv_aml_path(aml, "CDW1");
    pv_aml_integer(aml, bits);
    pv_aml_path(aml, "CDW1");
}

/*
 * Which PCIe features the guest may drive itself (PCI Firmware Specification 3.3, 4.5.1): all of
 * hotplug, SHPC, PME, AER and the PCIe capability; anything beyond is masked out.
 */
static void write_osc(struct pv_aml *aml)
{
    const unsigned granted = 0x1f;
    enum { UNRECOGNIZED_UUID = 4, UNRECOGNIZED_REVISION = 8, MASKED = 16 };

    pv_aml_method(aml, "_OSC", 4);
    create_field(aml, 0, "CDW1");
    pv_aml_if(aml);
    pv_aml_op(aml, PV_AML_EQUAL);
    pv_aml_op(aml, PV_AML_ARG0);
    pv_aml_uuid(aml, "33db4d5b-1ff7-401c-9657-7441c03dd766");
    create_field(aml, 8, "CDW3");
    pv_aml_op(aml, PV_AML_AND); /* Local0 = CDW3 & granted */
    pv_aml_path(aml, "CDW3");
    pv_aml_integer(aml, granted);
    pv_aml_op(aml, PV_AML_LOCAL0);
    pv_aml_if(aml); /* what was asked for is not what is granted */
    pv_aml_op(aml, PV_AML_NOT);
    pv_aml_op(aml, PV_AML_EQUAL);
    pv_aml_path(aml, "CDW3");
    pv_aml_op(aml, PV_AML_LOCAL0);
    raise_status(aml, MASKED);
    pv_aml_end(aml);
    pv_aml_op(aml, PV_AML_STORE);
    pv_aml_op(aml, PV_AML_LOCAL0);
    pv_aml_path(aml, "CDW3");
    pv_aml_if(aml);
    pv_aml_op(aml, PV_AML_NOT);
    pv_aml_op(aml, PV_AML_EQUAL);
    pv_aml_op(aml, PV_AML_ARG0 + 1);
    pv_aml_integer(aml, 1);
    raise_status(aml, UNRECOGNIZED_REVISION);
    pv_aml_end(aml);
    pv_aml_end(aml);
    pv_aml_else(aml);
    raise_status(aml, UNRECOGNIZED_UUID);
    pv_aml_end(aml);
    pv_aml_op(aml, PV_AML_RETURN);
    pv_aml_op(aml, PV_AML_ARG0 + 3);
    pv_aml_end(aml);
}

static void write_pci(struct pv_aml *aml)
{
    pv_aml_device(aml, "PCI0");
    pv_aml_name_eisa_id(aml, "_HID", "PNP0A08");
    pv_aml_name_eisa_id(aml, "_CID", "PNP0A03");
    pv_aml_name_integer(aml, "_SEG", 0);
    pv_aml_name_integer(aml, "_BBN", 0);
    pv_aml_name_integer(aml, "_UID", 0);
    pv_aml_name_integer(aml, "_CCA", 1);
    pv_aml_name_integer(aml, "_CBA", PV_MAP_ECAM);
    pv_aml_name(aml, "_CRS");
    pv_aml_resources(aml);
    pv_aml_bus_range(aml, 0, (uint16_t)((PV_MAP_ECAM_SIZE >> 20) - 1));
    pv_aml_memory_range(aml, PV_MAP_PCI_MEM32, PV_MAP_PCI_MEM32_SIZE);
    pv_aml_memory_range(aml, PV_MAP_PCI_MEM64, PV_MAP_PCI_MEM64_SIZE);
    pv_aml_end(aml);
    write_prt(aml);
    write_osc(aml);

    /* ECAM belongs to the board, not to the bridge's windows (PCI Firmware Spec., 4.1.2). */
    pv_aml_device(aml, "RES0");
    pv_aml_name_eisa_id(aml, "_HID", "PNP0C02");
    pv_aml_name(aml, "_CRS");
    pv_aml_resources(aml);
    pv_aml_memory_use(aml, PV_MAP_ECAM, PV_MAP_ECAM_SIZE);
    pv_aml_end(aml);
    pv_aml_end(aml);
    pv_aml_end(aml);
}

/* A GPIO event (5.6.5.3): the pin's method is called, which tells the power button. */
static void write_power_button(struct pv_aml *aml)
{
    char method[8];

    pv_aml_device(aml, "GPO0");
    pv_aml_name_string(aml, "_HID", "ARMH0061");
    pv_aml_name_integer(aml, "_UID", 0);
    write_crs(aml, PV_MAP_GPIO, PV_MAP_PL_SIZE);
    pv_aml_interrupt(aml, PV_AML_LEVEL_HIGH, PV_INTID_GPIO);
    pv_aml_end(aml);
    pv_aml_name(aml, "_AEI");
    pv_aml_resources(aml);
    pv_aml_gpio_interrupt(aml, PV_GPIO_POWER_LINE, "GPO0");
    pv_aml_end(aml);
    snprintf(method, sizeof(method), "_E%02X", PV_GPIO_POWER_LINE);
    pv_aml_method(aml, method, 0);
    pv_aml_op(aml, PV_AML_NOTIFY);
    pv_aml_path(aml, "\\_SB.PWRB");
    pv_aml_integer(aml, 0x80); /* pressed */
    pv_aml_end(aml);
    pv_aml_end(aml);

    pv_aml_device(aml, "PWRB");
    pv_aml_name_eisa_id(aml, "_HID", "PNP0C0C");
    pv_aml_name_integer(aml, "_UID", 0);
    pv_aml_end(aml);
}

void pv_acpi_write_dsdt(struct pv_aml *aml, const struct pv_acpi_config *config)
{
    pv_aml_scope(aml, "\\_SB");
    write_cpus(aml, config);
    write_uart(aml);
    write_fwcfg(aml);
    write_virtio(aml);
    write_pci(aml);
    write_power_button(aml);
    pv_aml_end(aml);
}
