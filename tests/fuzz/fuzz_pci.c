/* SPDX-License-Identifier: MIT */
/*
 * Accesses of any size to configuration space, to a virtio function's BARs and to virtio-mmio
 * slots, as a guest could make them.
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

static void stop_loop(void *opaque)
{
    pv_loop_stop(opaque);
}

static void access_once(struct pv_address_space *as, struct fuzz_input *input)
{
    unsigned what = (unsigned)fuzz_take(input, 1);
    unsigned size = 1u << (what >> 1 & 3);
    uint64_t offset = fuzz_take(input, 2), address, value = fuzz_take(input, size);
    switch (what >> 3 & 7) {
    case 0: address = ECAM + SLOT + offset % 256; break;
    case 1: address = ECAM + offset * 16; break;
    case 2: address = MMIO + offset % 0x1000; break;
    case 3: address = MEM32 + offset % 0x4000; break; /* where the setup put BAR 4 */
    case 4: address = MEM32 + offset % 64; break;
    case 5: address = MEM32 + 0x4000 + offset % 0x1000; break; /* BAR 1 */
    case 6: address = MEM32 + offset * 64; break;
    default: address = offset % RAM_SIZE; break;
    }
    if (what & 1)
        pv_as_cpu_read(as, address, size, &value);
    else
        pv_as_cpu_write(as, address, size, value);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};
    struct pv_loop *loop;
    struct pv_address_space *as;
    struct pv_pci_bus *bus;
    struct pv_virtio_mmio_bank *bank;
    struct pv_virtio_device *rng;
    const struct pv_irq irqs[8] = {0};
    FUZZ_REQUIRE(pv_log_set_filter("off", NULL) == 0);
    FUZZ_REQUIRE(pv_loop_create(&loop, NULL) == 0);
    FUZZ_REQUIRE(pv_as_create(&as, NULL) == 0);
    FUZZ_REQUIRE(pv_as_add_ram(as, 0, RAM_SIZE, "ram", NULL) == 0);
    const struct pv_pci_bus_config config = {
        .as = as,
        .ecam_base = ECAM,
        .ecam_size = PV_MIB,
        .mem32_base = MEM32,
        .mem32_size = PV_MIB,
    };
    FUZZ_REQUIRE(pv_pci_bus_create(&bus, &config, NULL) == 0);
    FUZZ_REQUIRE(pv_virtio_mmio_bank_create(&bank, as, MMIO, 8, irqs, NULL) == 0);
    FUZZ_REQUIRE(pv_rng_create(&rng, loop, as, NULL) == 0);
    FUZZ_REQUIRE(pv_virtio_pci_create(rng, bus, 1, NULL) == 0);
    FUZZ_REQUIRE(pv_rng_create(&rng, loop, as, NULL) == 0);
    FUZZ_REQUIRE(pv_virtio_mmio_create(rng, bank, 0, NULL) == 0);
    pv_as_cpu_write(as, ECAM + SLOT + 0x20, 8, MEM32);
    pv_as_cpu_write(as, ECAM + SLOT + 0x14, 4, MEM32 + 0x4000);
    pv_as_cpu_write(as, ECAM + SLOT + 4, 2, 6);

    while (input.size)
        access_once(as, &input);
    FUZZ_REQUIRE(pv_loop_post(loop, stop_loop, loop) == 0);
    FUZZ_REQUIRE(pv_loop_run(loop, NULL) == 0);
    pv_pci_bus_destroy(bus);
    pv_virtio_mmio_bank_destroy(bank);
    pv_as_destroy(as);
    pv_loop_destroy(loop);
    return 0;
}
