/* SPDX-License-Identifier: MIT */
/* What firmware is told to boot from, and whether there is firmware. */
#include "base/buffer.h"
#include "base/error.h"
#include "base/util.h"
#include "device/rng.h"
#include "host/loop.h"
#include "machine/map.h"
#include "memory/address_space.h"
#include "pci/pci.h"
#include "virtio/virtio.h"
#include "virtio/virtio_mmio.h"
#include "virtio/virtio_pci.h"
#include "vm/boot_order.h"
#include "vm/firmware.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define DEVICES 3

struct fixture {
    struct pv_loop *loop;
    struct pv_address_space *as;
    struct pv_pci_bus *bus;
    struct pv_virtio_mmio_bank *bank;
    struct pv_virtio_device *on_pci[DEVICES], *on_mmio; /* any will do */
};

static int setup(void **state)
{
    static struct fixture fixture;
    const struct pv_irq irqs[PV_VIRTIO_MMIO_SLOTS] = {0};
    struct fixture *f = &fixture;

    assert_int_equal(pv_loop_create(&f->loop, NULL), 0);
    assert_int_equal(pv_as_create(&f->as, NULL), 0);
    const struct pv_pci_bus_config config = {.as = f->as,
                                             .ecam_base = PV_MAP_ECAM,
                                             .ecam_size = PV_MAP_ECAM_SIZE,
                                             .mem32_base = PV_MAP_PCI_MEM32,
                                             .mem32_size = PV_MAP_PCI_MEM32_SIZE,
                                             .mem64_base = PV_MAP_PCI_MEM64,
                                             .mem64_size = PV_MAP_PCI_MEM64_SIZE};
    assert_int_equal(pv_pci_bus_create(&f->bus, &config, NULL), 0);
    assert_int_equal(pv_virtio_mmio_bank_create(&f->bank, f->as, PV_MAP_VIRTIO,
                                                PV_VIRTIO_MMIO_SLOTS, irqs, NULL),
                     0);
    for (unsigned i = 0; i < DEVICES; i++) {
        assert_int_equal(pv_rng_create(&f->on_pci[i], f->loop, f->as, NULL), 0);
        assert_int_equal(pv_virtio_pci_create(f->on_pci[i], f->bus, i ? (int)(8 * i) : -1, NULL),
                         0);
    }
    assert_int_equal(pv_rng_create(&f->on_mmio, f->loop, f->as, NULL), 0);
    assert_int_equal(pv_virtio_mmio_create(f->on_mmio, f->bank, -1, NULL), 0);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    pv_virtio_mmio_bank_destroy(f->bank);
    pv_pci_bus_destroy(f->bus);
    pv_as_destroy(f->as);
    pv_loop_destroy(f->loop);
    return 0;
}

static void expect_file(const struct pv_boot_order *order, const char *text, size_t size)
{
    PV_CLEANUP_BUFFER struct pv_buffer out = PV_BUFFER_INIT(4096);

    assert_int_equal(pv_boot_order_write(order, &out, NULL), 0);
    assert_int_equal(out.size, size);
    if (size)
        assert_memory_equal(out.data, text, size);
}

/* Whatever comes first, the lowest index is the first line. */
static void test_order(void **state)
{
    static const char text[] = "/pci@i0cf8/scsi@10/disk@0,0\n"
                               "/pci@i0cf8/ethernet@1/ethernet-phy@0\n"
                               "/pci@i0cf8/scsi@8/channel@0/disk@b,0";
    struct fixture *f = *state;
    struct pv_boot_order order = {.transport = PV_TRANSPORT_PCI};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;

    assert_int_equal(pv_boot_order_add(&order, 0, PV_BOOT_BLK, f->on_pci[0], 0, NULL), 0);
    expect_file(&order, NULL, 0);
    assert_int_equal(pv_boot_order_add(&order, 7, PV_BOOT_SCSI, f->on_pci[1], 11, NULL), 0);
    assert_int_equal(pv_boot_order_add(&order, 1, PV_BOOT_BLK, f->on_pci[2], 0, NULL), 0);
    assert_int_equal(pv_boot_order_add(&order, 3, PV_BOOT_NET, f->on_pci[0], 0, NULL), 0);
    assert_int_equal(pv_boot_order_add(&order, 3, PV_BOOT_BLK, f->on_pci[0], 0, &err), -EINVAL);
    assert_string_equal(pv_error_message(err), "bootindex 3: another device has it already");
    expect_file(&order, text, sizeof(text)); /* with the NUL */
}

static void test_order_on_mmio(void **state)
{
    static const char text[] = "/virtio-mmio@000000000a003e00/disk@0,0\n"
                               "/virtio-mmio@000000000a003e00/channel@0/disk@2,0\n"
                               "/virtio-mmio@000000000a003e00/ethernet-phy@0";
    struct fixture *f = *state;
    struct pv_boot_order order = {.transport = PV_TRANSPORT_MMIO};

    assert_int_equal(pv_boot_order_add(&order, 1, PV_BOOT_BLK, f->on_mmio, 0, NULL), 0);
    assert_int_equal(pv_boot_order_add(&order, 2, PV_BOOT_SCSI, f->on_mmio, 2, NULL), 0);
    assert_int_equal(pv_boot_order_add(&order, 3, PV_BOOT_NET, f->on_mmio, 0, NULL), 0);
    expect_file(&order, text, sizeof(text));
}

/* When there is firmware, and what it hands to the guest where that can be either. */
static void test_choice(void **state)
{
    static const struct {
        const char *firmware, *kernel, *dtb;
        enum pv_config_acpi acpi;
        int ret;
        bool wanted, tables;
    } rows[] = {
        {NULL, "k", NULL, PV_ACPI_AUTO, 0, false, true},
        {NULL, "k", NULL, PV_ACPI_ON, -EINVAL, false},
        {NULL, "k", "d", PV_ACPI_AUTO, 0, false, false},
        {"none", NULL, NULL, PV_ACPI_AUTO, -EINVAL, false},
        {"/f", NULL, NULL, PV_ACPI_AUTO, 0, true, true},
        {"/f", "k", NULL, PV_ACPI_OFF, 0, true, false},
        {"/f", NULL, "d", PV_ACPI_AUTO, 0, true, false},
        {"/f", NULL, "d", PV_ACPI_OFF, 0, true, false},
        {"/f", NULL, "d", PV_ACPI_ON, -EINVAL, true},
    };
    (void)state;

    for (unsigned i = 0; i < PV_ARRAY_SIZE(rows); i++) {
        struct pv_firmware_files files;
        struct pv_config config;
        pv_config_init(&config);
        config.firmware = rows[i].firmware;
        config.kernel = rows[i].kernel;
        config.dtb = rows[i].dtb;
        config.acpi = rows[i].acpi;
        assert_int_equal(pv_firmware_wanted(&config), rows[i].wanted);
        assert_int_equal(pv_firmware_choose(&files, &config, NULL), rows[i].ret);
        if (rows[i].ret < 0)
            continue;
        assert_int_equal(files.acpi, rows[i].tables);
        assert_int_equal(files.code != NULL, rows[i].wanted);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_order),
        cmocka_unit_test(test_order_on_mmio),
        cmocka_unit_test(test_choice),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
