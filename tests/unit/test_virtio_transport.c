/* SPDX-License-Identifier: MIT */
/* The transports, PCI and MMIO, with a device that echoes. */
#include "bus.h"
#include "virtio_echo.h"

#include "virtio/virtio_mmio.h"
#include "virtio/virtio_pci.h"

#include <errno.h>

/* ---- MMIO ---- */

#define MMIO UINT64_C(0x0a000000)

struct wire {
    bool level[32];
};

static void wire_set(void *opaque, unsigned line, bool level)
{
    ((struct wire *)opaque)->level[line] = level;
}

static void mmio_enable_queue(struct driver *d, uint64_t base)
{
    wr(d->as, base + 0x30, 4, 0);
    assert_int_equal(rd(d->as, base + 0x34, 4), 256);
    wr(d->as, base + 0x38, 4, RING_SIZE);
    for (unsigned part = 0; part < 3; part++) {
        wr(d->as, base + 0x80 + 16 * part, 4, (uint32_t)ring_address(0, part));
        wr(d->as, base + 0x84 + 16 * part, 4, ring_address(0, part) >> 32);
    }
    wr(d->as, base + 0x44, 4, 1);
    assert_int_equal(rd(d->as, base + 0x44, 4), 1);
}

static void test_mmio(void **state)
{
    struct driver d;
    driver_setup(&d);
    struct wire wires = {0};
    struct pv_irq irqs[32];
    for (unsigned i = 0; i < 32; i++)
        irqs[i] = (struct pv_irq){.set = wire_set, .opaque = &wires, .line = i};
    struct pv_virtio_mmio_bank *bank;
    assert_int_equal(pv_virtio_mmio_bank_create(&bank, d.as, MMIO, 32, irqs, NULL), 0);
    struct echo *echo = echo_create(&d);
    assert_int_equal(pv_virtio_mmio_create(&echo->base, bank, -1, NULL), 0);
    struct echo *other = echo_create(&d);
    assert_int_equal(pv_virtio_mmio_create(&other->base, bank, 31, NULL), -EBUSY);
    assert_int_equal(pv_virtio_mmio_create(&other->base, bank, 32, NULL), -EINVAL);
    pv_virtio_device_destroy(&other->base);
    d.dev = &echo->base;

    const uint64_t base = MMIO + 31 * 0x200;
    assert_int_equal(rd(d.as, MMIO, 4), 0x74726976);
    assert_int_equal(rd(d.as, MMIO + 8, 4), 0);
    wr(d.as, MMIO + 0x70, 4, 1);
    assert_int_equal(rd(d.as, base, 4), 0x74726976);
    assert_int_equal(rd(d.as, base + 4, 4), 2);
    assert_int_equal(rd(d.as, base + 8, 4), PV_VIRTIO_ID_RNG);
    assert_int_equal(rd(d.as, base + 0x102, 2), 0x1122);
    assert_int_equal(rd(d.as, base + 0xb0, 4), UINT32_MAX);
    assert_int_equal(rd(d.as, base + 0x1, 1), 0); /* registers are words */

    wr(d.as, base + 0x70, 4, 3);
    wr(d.as, base + 0x14, 4, 1);
    assert_int_equal(rd(d.as, base + 0x10, 4), 0x101);
    wr(d.as, base + 0x24, 4, 1);
    wr(d.as, base + 0x20, 4, 0x101);
    wr(d.as, base + 0x70, 4, 11);
    assert_int_equal(rd(d.as, base + 0x70, 4), 11);
    mmio_enable_queue(&d, base);
    wr(d.as, base + 0x70, 4, 15);
    offer_echo(&d, 0, "mmio");
    wr(d.as, base + 0x50, 4, 0);
    driver_run(&d);
    assert_echoed(&d, 0, "mmio");
    assert_true(wires.level[31]);
    assert_int_equal(rd(d.as, base + 0x60, 4), PV_VIRTIO_ISR_QUEUE);
    wr(d.as, base + 0x64, 4, PV_VIRTIO_ISR_QUEUE);
    assert_false(wires.level[31]);

    /* Another ring in the same queue, of a device that goes on. */
    wr(d.as, base + 0xc0, 4, 1);
    assert_int_equal(rd(d.as, base + 0xc0, 4), 0);
    assert_int_equal(rd(d.as, base + 0x44, 4), 0);
    for (unsigned part = 0; part < 3; part++)
        assert_int_equal(pv_as_fill(d.as, ring_address(0, part), 0, 0x1000), 0);
    mmio_enable_queue(&d, base);
    offer_echo(&d, 0, "again");
    wr(d.as, base + 0x50, 4, 0);
    driver_run(&d);
    assert_echoed(&d, 0, "again");
    assert_int_equal(used_index(&d, 0), 1);

    wr(d.as, base + 0x44, 4, 0);
    assert_int_equal(rd(d.as, base + 0x44, 4), 0);
    pv_virtio_mmio_bank_reset(bank);
    assert_int_equal(rd(d.as, base + 0x70, 4), 0);
    pv_virtio_mmio_bank_destroy(bank);
    d.dev = NULL;
    driver_teardown(&d);
}

/* ---- PCI ---- */

struct msi {
    unsigned count;
    uint32_t device_id, data;
    uint64_t address;
};

static void msi_send(void *opaque, uint32_t device_id, uint64_t address, uint32_t data)
{
    struct msi *msi = opaque;
    msi->count++;
    msi->device_id = device_id;
    msi->address = address;
    msi->data = data;
}

/* Walks the capability list for the virtio capability of a type; 0 when there is none. */
static uint64_t virtio_cap(struct driver *d, uint64_t fn, unsigned type)
{
    for (unsigned at = (unsigned)rd(d->as, fn + 0x34, 1); at;
         at = (unsigned)rd(d->as, fn + at + 1, 1))
        if (rd(d->as, fn + at, 1) == 9 && rd(d->as, fn + at + 3, 1) == type)
            return fn + at;
    return 0;
}

static void pci_enable_queue(struct driver *d, uint64_t bar, unsigned vector)
{
    wr(d->as, bar + 0x16, 2, 0);
    wr(d->as, bar + 0x18, 2, RING_SIZE);
    wr(d->as, bar + 0x1a, 2, vector);
    wr(d->as, bar + 0x20, 8, ring_address(0, PV_VIRTQ_DESC));
    wr(d->as, bar + 0x28, 4, (uint32_t)ring_address(0, PV_VIRTQ_DRIVER));
    wr(d->as, bar + 0x2c, 4, 0);
    wr(d->as, bar + 0x30, 8, ring_address(0, PV_VIRTQ_DEVICE));
    assert_int_equal(rd(d->as, bar + 0x30, 8), ring_address(0, PV_VIRTQ_DEVICE));
    wr(d->as, bar + 0x1c, 2, 1);
    assert_int_equal(rd(d->as, bar + 0x1c, 2), 1);
}

static void pci_start(struct driver *d, uint64_t bar, unsigned vector)
{
    wr(d->as, bar + 0x14, 1, 3);
    wr(d->as, bar + 8, 4, 1);
    wr(d->as, bar + 0xc, 4, 0x101);
    wr(d->as, bar + 0x14, 1, 11);
    assert_int_equal(rd(d->as, bar + 0x14, 1), 11);
    pci_enable_queue(d, bar, vector);
    wr(d->as, bar + 0x14, 1, 15);
}

static void shm_moved(void *opaque, uint64_t address)
{
    *(uint64_t *)opaque = address;
}

static void test_pci(void **state)
{
    struct driver d;
    driver_setup(&d);
    struct wire wires = {0};
    struct msi msi = {0};
    struct pv_pci_bus *bus = bus_create(d.as, (struct pv_irq){.set = wire_set, .opaque = &wires},
                                        (struct pv_msi_target){.send = msi_send, .opaque = &msi});
    struct echo *echo = echo_create(&d);
    uint64_t shared_at = UINT64_MAX;
    const struct pv_virtio_shm shm = {
        .id = 7, .size = UINT64_C(1) << 33, .moved = shm_moved, .opaque = &shared_at};
    echo->base.shm = &shm;
    assert_int_equal(pv_virtio_pci_create(&echo->base, bus, 3, NULL), 0);
    d.dev = &echo->base;
    const uint64_t fn = ECAM + (3 << 15);
    assert_int_equal(rd(d.as, fn, 4), 0x10441af4);
    /* 4.1.4.7: BAR 2 with that ID, from its start, 8 GiB. */
    const uint64_t shared = virtio_cap(&d, fn, 8);
    assert_int_not_equal(shared, 0);
    assert_int_equal(rd(d.as, shared + 2, 1), 24);
    assert_int_equal(rd(d.as, shared + 4, 2), 7 << 8 | 2);
    assert_int_equal(rd(d.as, shared + 8, 8), 0);
    assert_int_equal(rd(d.as, shared + 16, 8), UINT64_C(2) << 32);
    wr(d.as, fn + 0x18, 8, MEM64 + shm.size);
    for (unsigned type = 1; type <= 5; type++)
        assert_int_not_equal(virtio_cap(&d, fn, type), 0);
    wr(d.as, fn + 0x10 + 16, 4, (uint32_t)MEM64);
    wr(d.as, fn + 0x10 + 20, 4, MEM64 >> 32);
    wr(d.as, fn + 0x14, 4, MEM32);
    wr(d.as, fn + 4, 2, 6);

    assert_true(shared_at == MEM64 + shm.size);
    assert_int_equal(rd(d.as, MEM64 + 0x12, 2), 2);
    assert_int_equal(rd(d.as, MEM64 + 0x2000, 4), 0x11223344);
    /* An odd access sees the same bytes: num_queues, status and generation. */
    assert_int_equal(rd(d.as, MEM64 + 0x12, 4), 2);
    pci_start(&d, MEM64, 0xffff);
    assert_int_equal(rd(d.as, MEM64 + 0x1a, 2), 0xffff);

    /* INTx */
    offer_echo(&d, 0, "intx");
    wr(d.as, MEM64 + 0x3000, 2, 0);
    driver_run(&d);
    assert_echoed(&d, 0, "intx");
    assert_true(wires.level[3]);
    assert_true(rd(d.as, fn + 6, 2) & 8);
    assert_int_equal(rd(d.as, MEM64 + 0x1000, 1), PV_VIRTIO_ISR_QUEUE);
    assert_false(wires.level[3]);
    assert_int_equal(rd(d.as, MEM64 + 0x1000, 1), 0);

    /* Without bus mastering the ring is not looked at; what was offered is found when it is on. */
    wr(d.as, fn + 4, 2, 2);
    offer_echo(&d, 0, "later");
    wr(d.as, MEM64 + 0x3000, 2, 0);
    driver_run(&d);
    assert_false(wires.level[3]);
    wr(d.as, fn + 4, 2, 6);
    driver_run(&d);
    assert_echoed(&d, 0, "later");
    assert_int_equal(rd(d.as, MEM64 + 0x1000, 1), PV_VIRTIO_ISR_QUEUE);

    /* MSI-X */
    unsigned cap = (unsigned)rd(d.as, fn + 0x34, 1);
    while (rd(d.as, fn + cap, 1) != 0x11)
        cap = (unsigned)rd(d.as, fn + cap + 1, 1);
    assert_int_equal(rd(d.as, fn + cap + 2, 2), 2); /* three vectors */
    wr(d.as, fn + cap + 2, 2, 0x8000);
    wr(d.as, MEM32 + 16, 8, 0x8020040);
    wr(d.as, MEM32 + 24, 4, 81);
    wr(d.as, MEM32 + 28, 4, 0);
    wr(d.as, MEM64 + 0x1a, 2, 3); /* there is no such vector */
    assert_int_equal(rd(d.as, MEM64 + 0x1a, 2), 0xffff);
    wr(d.as, MEM64 + 0x1a, 2, 1);
    assert_int_equal(rd(d.as, MEM64 + 0x1a, 2), 1);
    offer_echo(&d, 0, "msix");
    wr(d.as, MEM64 + 0x3000, 2, 0);
    driver_run(&d);
    assert_int_equal(msi.count, 1);
    assert_int_equal(msi.device_id, 3 << 3);
    assert_int_equal(msi.address, 0x8020040);
    assert_int_equal(msi.data, 81);
    assert_false(wires.level[3]);

    /* The ring starts anew, with the vector it has. */
    wr(d.as, MEM64 + 0x3a, 2, 1);
    assert_int_equal(rd(d.as, MEM64 + 0x3a, 2), 0);
    assert_int_equal(rd(d.as, MEM64 + 0x1c, 2), 0);
    for (unsigned part = 0; part < 3; part++)
        assert_int_equal(pv_as_fill(d.as, ring_address(0, part), 0, 0x1000), 0);
    pci_enable_queue(&d, MEM64, 1);
    offer_echo(&d, 0, "reset");
    wr(d.as, MEM64 + 0x3000, 2, 0);
    driver_run(&d);
    assert_echoed(&d, 0, "reset");
    assert_int_equal(msi.count, 2);

    pv_pci_bus_reset(bus);
    struct pv_region_info region;
    assert_false(pv_as_find(d.as, MEM64, &region));
    assert_int_equal(d.dev->status, 0);
    pv_pci_bus_destroy(bus);
    d.dev = NULL;
    driver_teardown(&d);
}

static void test_pci_config_window(void **state)
{
    struct driver d;
    driver_setup(&d);
    struct wire wires = {0};
    struct msi msi = {0};
    struct pv_pci_bus *bus = bus_create(d.as, (struct pv_irq){.set = wire_set, .opaque = &wires},
                                        (struct pv_msi_target){.send = msi_send, .opaque = &msi});
    struct echo *echo = echo_create(&d);
    assert_int_equal(pv_virtio_pci_create(&echo->base, bus, -1, NULL), 0);
    const uint64_t fn = ECAM + (1 << 15);
    uint64_t cap = virtio_cap(&d, fn, 5);
    wr(d.as, cap + 4, 1, 4);
    wr(d.as, cap + 12, 4, 4);
    wr(d.as, cap + 8, 4, 0x2004);
    assert_int_equal(rd(d.as, cap + 16, 4), 0x55667788);
    wr(d.as, cap + 16, 4, 0xabcd);
    assert_int_equal(echo->config[1], 0xabcd);
    /* Wild windows do nothing. */
    static const struct {
        uint32_t bar, offset, length;
    } wild[] = {{0, 0, 4}, {4, 0x4000, 4}, {4, 0xfffffffc, 4}, {4, 0, 3}, {4, 2, 4}, {4, 0, 0}};
    for (size_t i = 0; i < PV_ARRAY_SIZE(wild); i++) {
        wr(d.as, cap + 4, 1, wild[i].bar);
        wr(d.as, cap + 8, 4, wild[i].offset);
        wr(d.as, cap + 12, 4, wild[i].length);
        wr(d.as, cap + 16, 4, 0x5a5a5a5a);
        assert_int_equal(rd(d.as, cap + 16, 4), 0x5a5a5a5a);
    }
    pv_pci_bus_destroy(bus);
    driver_teardown(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SPLIT_RINGS(test_mmio),
        SPLIT_RINGS(test_pci),
        SPLIT_RINGS(test_pci_config_window),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
