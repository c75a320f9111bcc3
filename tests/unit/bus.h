/* SPDX-License-Identifier: MIT */
/* The board's bus for tests: registers as a guest's CPU reaches them, and a PCI bus with its
 * windows. */
#ifndef PV_TESTS_BUS_H
#define PV_TESTS_BUS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "memory/address_space.h"
#include "pci/pci.h"

#define ECAM  UINT64_C(0x4010000000)
#define MEM32 UINT64_C(0x10000000)
#define MEM64 UINT64_C(0x8000000000)

static inline uint64_t rd(struct pv_address_space *as, uint64_t address, unsigned size)
{
    uint64_t value;
    assert_int_equal(pv_as_cpu_read(as, address, size, &value), 0);
    return value;
}

static inline void wr(struct pv_address_space *as, uint64_t address, unsigned size, uint64_t value)
{
    assert_int_equal(pv_as_cpu_write(as, address, size, value), 0);
}

/* A bus with four interrupt wires, which are lines 0 to 3 of `wire`. */
static inline struct pv_pci_bus *bus_create(struct pv_address_space *as, struct pv_irq wire,
                                            struct pv_msi_target msi)
{
    struct pv_pci_bus_config config = {
        .as = as,
        .ecam_base = ECAM,
        .ecam_size = 0x10000000,
        .mem32_base = MEM32,
        .mem32_size = 0x2eff0000,
        .mem64_base = MEM64,
        .mem64_size = UINT64_C(0x8000000000),
        .msi = msi,
    };
    for (unsigned i = 0; i < 4; i++) {
        config.intx[i] = wire;
        config.intx[i].line = i;
    }
    struct pv_pci_bus *bus;
    assert_int_equal(pv_pci_bus_create(&bus, &config, NULL), 0);
    return bus;
}

#endif
