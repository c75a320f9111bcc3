/* SPDX-License-Identifier: MIT */
/* pvpanic: what it says it can tell, and what it tells. */
#include "device/pvpanic.h"
#include "memory/address_space.h"
#include "pci/pci.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ECAM  UINT64_C(0x4010000000)
#define MEM32 UINT64_C(0x10000000)

static void happened(void *opaque, enum pv_panic_event event)
{
    ((unsigned *)opaque)[event]++;
}

static void test_events(void **state)
{
    const uint64_t function = ECAM + (1 << 15);
    struct pv_address_space *as;
    struct pv_pci_bus *bus;
    unsigned events[2] = {0};
    uint64_t value;
    (void)state;

    assert_int_equal(pv_as_create(&as, NULL), 0);
    const struct pv_pci_bus_config config = {.as = as,
                                             .ecam_base = ECAM,
                                             .ecam_size = 0x10000000,
                                             .mem32_base = MEM32,
                                             .mem32_size = 0x1000000};
    assert_int_equal(pv_pci_bus_create(&bus, &config, NULL), 0);
    assert_int_equal(pv_pvpanic_create(bus, happened, events, NULL), 0);
    assert_int_equal(pv_as_cpu_read(as, function, 4, &value), 0);
    assert_int_equal(value, 0x00111b36);
    pv_as_cpu_write(as, function + 0x10, 4, MEM32);
    pv_as_cpu_write(as, function + 4, 2, 2);
    assert_int_equal(pv_as_cpu_read(as, MEM32, 1, &value), 0);
    assert_int_equal(value, 3);
    pv_as_cpu_write(as, MEM32, 1, 2);
    pv_as_cpu_write(as, MEM32, 1, 1);
    pv_as_cpu_write(as, MEM32, 1, 0xfc); /* none that it knows */
    pv_as_cpu_write(as, MEM32 + 1, 1, 1);
    assert_int_equal(events[PV_PANIC_PANICKED], 1);
    assert_int_equal(events[PV_PANIC_CRASHLOADED], 1);
    pv_pci_bus_destroy(bus);
    pv_as_destroy(as);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_events)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
