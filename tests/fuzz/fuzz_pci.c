/* SPDX-License-Identifier: MIT */
/*
 * Accesses of any size to configuration space, to a virtio function's BARs, to a root port with a
 * card and to virtio-mmio slots, as a guest could make them, while the card comes and goes.
 */
#include "base/log.h"
#include "base/util.h"
#include "device/rng.h"
#include "fuzz.h"
#include "host/loop.h"
#include "memory/address_space.h"
#include "pci/pci.h"
#include "virtio/virtio_mmio.h"
#include "virtio/virtio_pci.h"

#define RAM_SIZE UINT64_C(0x10000)
#define MMIO     UINT64_C(0x0a000000)
#define MEM32    UINT64_C(0x10000000)
#define ECAM     UINT64_C(0x20000000)
#define SLOT     UINT64_C(0x8000)
#define PORT     (ECAM + 2 * SLOT)
#define CARD     (ECAM + PV_MIB)
#define WINDOW   (MEM32 + PV_MIB) /* the port's; the card's BARs are at its start */

struct world {
    struct pv_loop *loop;
    struct pv_address_space *as;
    struct pv_pci_bus *bus;
    struct pv_pci_port *port;
    bool full;     /* there is a card behind the port, */
    bool inserted; /* which the guest has been shown, */
    bool out;      /* and does not see any more */
};

static void stop_loop(void *opaque)
{
    pv_loop_stop(opaque);
}

static void released(void *opaque)
{
    ((struct world *)opaque)->out = true;
}

/* What the owner of the VM does to the slot, which keeps to its rules. */
static void move_card(struct world *w, unsigned how)
{
    struct pv_virtio_device *rng;
    switch (how) {
    case 0: pv_pci_port_press(w->port); break;
    case 1:
        pv_pci_port_pull(w->port);
        w->out = w->inserted;
        break;
    case 2: pv_pci_bus_reset(w->bus); break;
    default: break;
    }
    if (w->out) {
        pv_pci_port_clear(w->port);
        w->full = w->inserted = w->out = false;
    } else if (!w->full) {
        FUZZ_REQUIRE(pv_rng_create(&rng, w->loop, w->as, NULL) == 0);
        FUZZ_REQUIRE(pv_virtio_pci_create(rng, pv_pci_port_bus(w->port), 0, NULL) == 0);
        w->full = true;
    } else if (!w->inserted) {
        pv_pci_port_insert(w->port);
        w->inserted = true;
    }
}

static uint64_t find_address(unsigned where, uint64_t offset)
{
    switch (where) {
    case 0: return ECAM + SLOT + offset % 256;
    case 1: return ECAM + offset * 16;
    case 2: return MMIO + offset % 0x1000;
    case 3: return MEM32 + offset % 0x4000; /* where the setup put BAR 4 */
    case 4: return MEM32 + offset % 64;
    case 5: return MEM32 + 0x4000 + offset % 0x1000; /* BAR 1 */
    case 6: return MEM32 + offset * 64;
    case 8: return PORT + offset % 128;
    case 9: return PORT + 0x4c + offset % 0x3c; /* its PCI Express capability */
    case 10: return CARD + offset % 256;
    case 11: return CARD + offset * 64; /* other functions and buses too */
    case 12: return WINDOW + offset % 0x4000;
    case 13: return WINDOW + 0x4000 + offset % 0x1000;
    case 14: return MEM32 + 0x5000 + offset % 0x1000; /* the port's BAR */
    default: return offset % RAM_SIZE;
    }
}

static void access_once(struct world *w, struct fuzz_input *input)
{
    unsigned what = (unsigned)fuzz_take(input, 1);
    unsigned size = 1u << (what >> 1 & 3);
    uint64_t offset = fuzz_take(input, 2), value = fuzz_take(input, size);
    uint64_t address = find_address(what >> 3 & 15, offset);
    if (what & 0x80)
        move_card(w, what & 3);
    else if (what & 1)
        pv_as_cpu_read(w->as, address, size, &value);
    else
        pv_as_cpu_write(w->as, address, size, value);
}

/* As firmware leaves them: BARs, bus numbers and windows programmed, everything switched on. */
static void enumerate(struct pv_address_space *as)
{
    uint64_t queues;
    pv_as_cpu_write(as, ECAM + SLOT + 0x20, 8, MEM32);
    pv_as_cpu_write(as, ECAM + SLOT + 0x14, 4, MEM32 + 0x4000);
    pv_as_cpu_write(as, ECAM + SLOT + 4, 2, 6);
    pv_as_cpu_write(as, PORT + 0x10, 4, MEM32 + 0x5000);
    pv_as_cpu_write(as, PORT + 0x18, 4, 0x070100);
    pv_as_cpu_write(as, PORT + 0x20, 4, WINDOW >> 16 | WINDOW);
    pv_as_cpu_write(as, PORT + 4, 2, 6);
    pv_as_cpu_write(as, PORT + 0x4c + 0x18, 2, 0x1029); /* power on, interrupts enabled */
    pv_as_cpu_write(as, CARD + 0x20, 8, WINDOW);
    pv_as_cpu_write(as, CARD + 0x14, 4, WINDOW + 0x4000);
    pv_as_cpu_write(as, CARD + 4, 2, 6);
    FUZZ_REQUIRE(pv_as_cpu_read(as, WINDOW + 0x12, 2, &queues) == 0 && queues == 1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct world w = {0};
    const struct pv_pci_port_events events = {released, &w};
    struct pv_virtio_mmio_bank *bank;
    struct pv_virtio_device *rng;
    const struct pv_irq irqs[8] = {0};
    FUZZ_REQUIRE(pv_log_set_filter("off", NULL) == 0);
    FUZZ_REQUIRE(pv_loop_create(&w.loop, NULL) == 0);
    FUZZ_REQUIRE(pv_as_create(&w.as, NULL) == 0);
    FUZZ_REQUIRE(pv_as_add_ram(w.as, 0, RAM_SIZE, "ram", NULL) == 0);
    const struct pv_pci_bus_config config = {
        .as = w.as,
        .ecam_base = ECAM,
        .ecam_size = 8 * PV_MIB,
        .mem32_base = MEM32,
        .mem32_size = 4 * PV_MIB,
    };
    FUZZ_REQUIRE(pv_pci_bus_create(&w.bus, &config, NULL) == 0);
    FUZZ_REQUIRE(pv_virtio_mmio_bank_create(&bank, w.as, MMIO, 8, irqs, NULL) == 0);
    FUZZ_REQUIRE(pv_rng_create(&rng, w.loop, w.as, NULL) == 0);
    FUZZ_REQUIRE(pv_virtio_pci_create(rng, w.bus, 1, NULL) == 0);
    FUZZ_REQUIRE(pv_rng_create(&rng, w.loop, w.as, NULL) == 0);
    FUZZ_REQUIRE(pv_virtio_mmio_create(rng, bank, 0, NULL) == 0);
    FUZZ_REQUIRE(pv_pci_port_create(&w.port, w.bus, 2, 1, &events, NULL) == 0);
    move_card(&w, 3);
    move_card(&w, 3);
    enumerate(w.as);

    while (input.size)
        access_once(&w, &input);
    FUZZ_REQUIRE(pv_loop_post(w.loop, stop_loop, w.loop) == 0);
    FUZZ_REQUIRE(pv_loop_run(w.loop, NULL) == 0);
    pv_pci_bus_destroy(w.bus);
    pv_virtio_mmio_bank_destroy(bank);
    pv_as_destroy(w.as);
    pv_loop_destroy(w.loop);
    return 0;
}
