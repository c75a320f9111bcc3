/* SPDX-License-Identifier: MIT */
#include "bus.h"

#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <string.h>

struct fixture {
    struct pv_address_space *as;
    struct pv_pci_bus *bus;
    bool level[4];
    unsigned messages;
    uint32_t last_data;
    unsigned destroyed;
};

static void set_level(void *opaque, unsigned line, bool level)
{
    ((struct fixture *)opaque)->level[line] = level;
}

static void send_message(void *opaque, uint32_t device_id, uint64_t address, uint32_t data)
{
    struct fixture *f = opaque;
    f->messages++;
    f->last_data = data;
}

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0x40 + offset;
}

static void bar_write(void *opaque, uint64_t offset, unsigned size, uint64_t value) {}

static const struct pv_mmio_ops bar_ops = {.read = bar_read, .write = bar_write};

static void destroyed(void *opaque)
{
    ((struct fixture *)opaque)->destroyed++;
}

static const struct pv_pci_function_ops ops = {.name = "test", .destroy = destroyed};

static void setup(struct fixture *f)
{
    *f = (struct fixture){0};
    assert_int_equal(pv_as_create(&f->as, NULL), 0);
    assert_int_equal(pv_as_add_ram(f->as, 0x40000000, 0x10000, "ram", NULL), 0);
    f->bus = bus_create(f->as, (struct pv_irq){.set = set_level, .opaque = f},
                        (struct pv_msi_target){.send = send_message, .opaque = f});
}

static void teardown(struct fixture *f)
{
    pv_pci_bus_destroy(f->bus);
    /* Nothing but RAM is left in the address space. */
    struct pv_region_info info;
    uint64_t address = 0;
    while (pv_as_next(f->as, address, &info)) {
        assert_int_equal(info.kind, PV_REGION_RAM);
        address = info.address + info.size;
    }
    pv_as_destroy(f->as);
}

static struct pv_pci_function *plug(struct fixture *f, int slot, unsigned vectors)
{
    const struct pv_pci_function_config config = {
        .vendor = 0x1234,
        .device = 0x5678,
        .subsystem_vendor = 0x9abc,
        .subsystem = 0xdef0,
        .class_code = 0x010203,
        .revision = 7,
        .msix_vectors = vectors,
        .msix_bar = 1,
        .intx = true,
    };
    struct pv_pci_function *function;
    assert_int_equal(pv_pci_function_create(&function, f->bus, slot, &config, &ops, f, NULL), 0);
    return function;
}

static bool mapped(struct fixture *f, uint64_t address)
{
    struct pv_region_info info;
    return pv_as_find(f->as, address, &info);
}

static uint64_t slot_config(unsigned slot)
{
    return ECAM + ((uint64_t)slot << 15);
}

static void test_header(void **state)
{
    struct fixture f;
    setup(&f);
    plug(&f, 5, 0);
    const uint64_t c = slot_config(5);
    assert_int_equal(rd(f.as, ECAM, 4), 0x00081b36);
    assert_int_equal(rd(f.as, ECAM + 8, 4) >> 8, 0x060000);
    assert_int_equal(rd(f.as, c, 4), 0x56781234);
    assert_int_equal(rd(f.as, c + 8, 4), 0x01020307);
    assert_int_equal(rd(f.as, c + 0x2c, 4), 0xdef09abc);
    assert_int_equal(rd(f.as, c + 0x3d, 1), 1);
    assert_int_equal(rd(f.as, c + 0x100, 4), 0); /* no extended capabilities */

    /* Nothing there: all ones, and writes fall on the floor. */
    assert_int_equal(rd(f.as, slot_config(6), 4), UINT32_MAX);
    assert_int_equal(rd(f.as, c + 0x1000, 2), 0xffff); /* function 1 */
    assert_int_equal(rd(f.as, ECAM + 0x100000, 8), UINT64_MAX);
    assert_int_equal(rd(f.as, c + 0xffe, 4), UINT32_MAX); /* across the end */
    wr(f.as, slot_config(6), 4, 0);

    /* Read-only bits stay, the others take what is written, bytewise too. */
    wr(f.as, c, 4, 0);
    wr(f.as, c + 6, 2, 0xffff);
    assert_int_equal(rd(f.as, c, 4), 0x56781234);
    assert_int_equal(rd(f.as, c + 6, 2), 0);
    wr(f.as, c + 4, 2, 0xffff);
    assert_int_equal(rd(f.as, c + 4, 2), 0x0546);
    wr(f.as, c + 5, 1, 0);
    assert_int_equal(rd(f.as, c + 4, 2), 0x0046);
    wr(f.as, c + 0x3c, 4, 0x0000ffab);
    assert_int_equal(rd(f.as, c + 0x3c, 2), 0x01ab);
    teardown(&f);
    assert_int_equal(f.destroyed, 1);
}

static void test_slots(void **state)
{
    struct fixture f;
    setup(&f);
    const struct pv_pci_function_config config = {.vendor = 1};
    struct pv_pci_function *function;
    struct pv_error *err = NULL;
    assert_int_equal(pv_pci_function_create(&function, f.bus, 0, &config, &ops, &f, &err), -EBUSY);
    pv_error_free(&err);
    assert_int_equal(pv_pci_function_create(&function, f.bus, 32, &config, &ops, &f, &err),
                     -EINVAL);
    pv_error_free(&err);
    for (unsigned i = 1; i < 32; i++)
        plug(&f, -1, 0);
    assert_int_equal(pv_pci_function_create(&function, f.bus, -1, &config, &ops, &f, &err),
                     -ENOSPC);
    assert_string_equal(pv_error_message(err), "PCI test: all slots are taken");
    pv_error_free(&err);
    teardown(&f);
    assert_int_equal(f.destroyed, 31);
}

static void test_bar_sizing_and_moves(void **state)
{
    struct fixture f;
    setup(&f);
    struct pv_pci_function *fn = plug(&f, 1, 0);
    assert_int_equal(pv_pci_add_bar(fn, 0, 0x2000, false, false, &bar_ops, NULL, NULL), 0);
    assert_int_equal(pv_pci_add_bar(fn, 4, UINT64_C(1) << 33, true, true, &bar_ops, NULL, NULL), 0);
    assert_int_equal(pv_pci_add_bar(fn, 5, 0x1000, false, false, &bar_ops, NULL, NULL), -EINVAL);
    assert_int_equal(pv_pci_add_bar(fn, 2, 0x1800, false, false, &bar_ops, NULL, NULL), -EINVAL);
    const uint64_t c = slot_config(1);

    wr(f.as, c + 0x10, 4, UINT32_MAX);
    assert_int_equal(rd(f.as, c + 0x10, 4), 0xffffe000);
    wr(f.as, c + 0x20, 8, UINT64_MAX);
    assert_int_equal(rd(f.as, c + 0x20, 8), UINT64_C(0xfffffffe0000000c));
    wr(f.as, c + 0x18, 4, UINT32_MAX);
    assert_int_equal(rd(f.as, c + 0x18, 4), 0);

    wr(f.as, c + 0x10, 4, MEM32 + 0x4000);
    wr(f.as, c + 0x20, 8, MEM64 + (UINT64_C(1) << 33));
    assert_false(mapped(&f, MEM32 + 0x4000));
    assert_int_equal(pv_pci_bar_address(fn, 0), UINT64_MAX);
    wr(f.as, c + 4, 2, 2);
    assert_int_equal(rd(f.as, MEM32 + 0x4010, 4), 0x50);
    assert_int_equal(pv_pci_bar_address(fn, 4), MEM64 + (UINT64_C(1) << 33));
    wr(f.as, c + 0x10, 4, MEM32 + 0x8000);
    assert_false(mapped(&f, MEM32 + 0x4000));
    assert_true(mapped(&f, MEM32 + 0x9fff));
    wr(f.as, c + 4, 2, 0);
    assert_false(mapped(&f, MEM32 + 0x8000));
    teardown(&f);
}

static void test_bar_in_wild_places(void **state)
{
    struct fixture f;
    setup(&f);
    struct pv_pci_function *fn = plug(&f, 1, 0), *other = plug(&f, 2, 0);
    assert_int_equal(pv_pci_add_bar(fn, 0, 0x1000, true, false, &bar_ops, NULL, NULL), 0);
    assert_int_equal(pv_pci_add_bar(other, 0, 0x4000, false, false, &bar_ops, NULL, NULL), 0);
    const uint64_t c = slot_config(1), o = slot_config(2);
    wr(f.as, c + 4, 2, 2);
    wr(f.as, o + 4, 2, 2);

    /* Over RAM, over ECAM, below and across the windows' ends, at the top of everything. */
    static const uint64_t wild[] = {
        0, 0x40000000, ECAM, MEM32 - 0x1000, MEM32 + 0x2eff0000, UINT64_C(0xfffffffffffff000)};
    for (size_t i = 0; i < PV_ARRAY_SIZE(wild); i++) {
        wr(f.as, c + 0x10, 8, wild[i]);
        assert_int_equal(pv_pci_bar_address(fn, 0), UINT64_MAX);
    }
    assert_int_equal(rd(f.as, 0x40000000, 8), 0); /* RAM is still there */

    /* Over another BAR: the first one keeps its place until it goes. */
    wr(f.as, o + 0x10, 4, MEM32);
    wr(f.as, c + 0x10, 8, MEM32 + 0x1000);
    assert_int_equal(pv_pci_bar_address(fn, 0), UINT64_MAX);
    assert_int_equal(pv_pci_bar_address(other, 0), MEM32);
    wr(f.as, o + 0x10, 4, MEM32 + 0x10000);
    assert_int_equal(pv_pci_bar_address(fn, 0), MEM32 + 0x1000);
    pv_pci_bus_reset(f.bus);
    assert_int_equal(pv_pci_bar_address(fn, 0), UINT64_MAX);
    assert_int_equal(rd(f.as, c + 0x10, 8), 4);
    teardown(&f);
}

struct window {
    uint64_t address;
    unsigned moves;
};

static void window_moved(void *opaque, uint64_t address)
{
    struct window *window = opaque;
    window->address = address;
    window->moves++;
}

static void test_window(void **state)
{
    struct fixture f;
    struct window window = {UINT64_MAX, 0};
    setup(&f);
    struct pv_pci_function *fn = plug(&f, 1, 0);
    assert_int_equal(pv_pci_add_window(fn, 2, 0x1800, window_moved, &window, NULL), -EINVAL);
    assert_int_equal(pv_pci_add_window(fn, 2, 0x10000, window_moved, &window, NULL), 0);
    assert_int_equal(pv_pci_add_window(fn, 3, 0x10000, window_moved, &window, NULL), -EINVAL);
    const uint64_t c = slot_config(1);
    assert_int_equal(rd(f.as, c + 0x18, 4), 0xc); /* 64-bit, prefetchable */
    wr(f.as, c + 0x18, 8, MEM64 + 0x10000);
    assert_int_equal(window.moves, 0);
    wr(f.as, c + 4, 2, 2);
    assert_true(window.address == MEM64 + 0x10000);
    assert_false(mapped(&f, MEM64 + 0x10000)); /* its owner fills it */
    wr(f.as, c + 0x18, 4, (uint32_t)MEM64 + 0x20000);
    assert_true(window.address == MEM64 + 0x20000);
    wr(f.as, c + 0x18, 8, 0);
    assert_true(window.address == UINT64_MAX);
    unsigned moves = window.moves;
    wr(f.as, c + 4, 2, 0);
    assert_int_equal(window.moves, moves);
    wr(f.as, c + 0x18, 8, MEM64);
    wr(f.as, c + 4, 2, 2);
    assert_true(window.address == MEM64);
    pv_pci_bus_reset(f.bus);
    assert_true(window.address == UINT64_MAX);
    wr(f.as, c + 0x18, 8, MEM64);
    wr(f.as, c + 4, 2, 2);
    teardown(&f);
    assert_true(window.address == UINT64_MAX);
}

static void test_shared_intx(void **state)
{
    struct fixture f;
    setup(&f);
    struct pv_pci_function *a = plug(&f, 1, 0), *b = plug(&f, 5, 0);
    pv_pci_set_intx(a, true);
    assert_true(f.level[1]);
    assert_true(rd(f.as, slot_config(1) + 6, 2) & 8);
    pv_pci_set_intx(b, true);
    pv_pci_set_intx(a, false);
    assert_true(f.level[1]); /* b still drives it */
    wr(f.as, slot_config(5) + 4, 2, 0x400);
    assert_false(f.level[1]);
    assert_true(rd(f.as, slot_config(5) + 4, 4) & 8 << 16); /* pending all the same */
    wr(f.as, slot_config(5) + 4, 2, 0);
    assert_true(f.level[1]);
    pv_pci_function_destroy(b);
    assert_false(f.level[1]);
    teardown(&f);
}

static void test_msix(void **state)
{
    struct fixture f;
    setup(&f);
    struct pv_pci_function *fn = plug(&f, 1, 70);
    const uint64_t c = slot_config(1);
    const uint64_t cap = c + rd(f.as, c + 0x34, 1);
    assert_int_equal(rd(f.as, cap, 1), 0x11);
    assert_int_equal(rd(f.as, cap + 2, 2), 69);
    assert_int_equal(rd(f.as, cap + 4, 4), 1);
    assert_int_equal(rd(f.as, cap + 8, 4), 0x801);
    wr(f.as, c + 0x14, 4, MEM32);
    wr(f.as, c + 4, 2, 6);
    assert_int_equal(rd(f.as, MEM32 + 65 * 16 + 12, 4), 1); /* masked at first */
    assert_false(pv_pci_msix_notify(fn, 65));

    wr(f.as, cap + 2, 2, 0x8000);
    wr(f.as, MEM32 + 65 * 16 + 8, 4, 1065);
    assert_true(pv_pci_msix_notify(fn, 65));
    assert_true(pv_pci_msix_notify(fn, 70)); /* not there: nothing */
    assert_int_equal(f.messages, 0);
    assert_int_equal(rd(f.as, MEM32 + 0x808, 8), 2);
    wr(f.as, MEM32 + 65 * 16 + 12, 4, 0);
    assert_int_equal(f.messages, 1);
    assert_int_equal(f.last_data, 1065);
    assert_int_equal(rd(f.as, MEM32 + 0x808, 8), 0);

    wr(f.as, cap + 2, 2, 0xc000); /* all masked */
    pv_pci_msix_notify(fn, 65);
    assert_int_equal(f.messages, 1);
    wr(f.as, MEM32 + 0x808, 8, 0); /* the PBA is read-only */
    wr(f.as, cap + 2, 2, 0x8000);
    assert_int_equal(f.messages, 2);

    /* A message is a write to memory: without bus mastering it waits. */
    wr(f.as, c + 4, 2, 2);
    assert_true(pv_pci_msix_notify(fn, 65));
    assert_int_equal(f.messages, 2);
    assert_int_equal(rd(f.as, MEM32 + 0x808, 8), 2);
    wr(f.as, c + 4, 2, 6);
    assert_int_equal(f.messages, 3);
    teardown(&f);
}

static void test_capability_space_ends(void **state)
{
    struct fixture f;
    setup(&f);
    struct pv_pci_function *fn = plug(&f, 1, 0);
    const uint8_t body[62] = {0};
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(pv_pci_add_capability(fn, 9, body, 64, NULL), 0x40 + 64 * i);
    assert_int_equal(pv_pci_add_capability(fn, 9, body, 4, NULL), -ENOSPC);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_slots),
        cmocka_unit_test(test_bar_sizing_and_moves),
        cmocka_unit_test(test_bar_in_wild_places),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_shared_intx),
        cmocka_unit_test(test_msix),
        cmocka_unit_test(test_capability_space_ends),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
