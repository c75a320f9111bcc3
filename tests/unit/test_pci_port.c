/* SPDX-License-Identifier: MIT */
/* Root ports: what is behind a bridge, and how a card comes and goes. */
#include "bus.h"

#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <string.h>

/* Registers of the port, from its configuration space and from its capability. */
enum { COMMAND = 0x04, BUSES = 0x18, MEMORY = 0x20, PREFETCH = 0x24, CONTROL = 0x3e };
enum { LINK_CTL = 0x10, LINK_STA = 0x12, SLOT_CAP = 0x14, SLOT_CTL = 0x18, SLOT_STA = 0x1a };

enum { BUTTON = 1, PRESENCE = 8, PRESENT = 0x40, LINK = 0x100 }; /* Slot Status */
enum { LISTEN = 0x1029, POWER_OFF = 0x400 };                     /* Slot Control: all interrupts */
#define LINK_ACTIVE 0x2000u

#define PORT_SLOT 6u
#define PORT      (ECAM + (PORT_SLOT << 15))
#define SECONDARY 3u
#define CARD      (ECAM + (SECONDARY << 20))
#define TABLE     (MEM32 + 0x8000) /* of the port's MSI-X */
#define WINDOW    (MEM32 + 0x200000)

struct fixture {
    struct pv_address_space *as;
    struct pv_pci_bus *bus;
    struct pv_pci_port *port;
    uint64_t express;
    bool level[4];
    unsigned messages;
    uint32_t sender, data;
    unsigned resets, destroyed, commands, released;
};

static void set_level(void *opaque, unsigned line, bool level)
{
    ((struct fixture *)opaque)->level[line] = level;
}

static void send_message(void *opaque, uint32_t device_id, uint64_t address, uint32_t data)
{
    struct fixture *f = opaque;
    f->messages++;
    f->sender = device_id;
    f->data = data;
}

static void was_released(void *opaque)
{
    ((struct fixture *)opaque)->released++;
}

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
    return 0x40 + offset;
}

static void bar_write(void *opaque, uint64_t offset, unsigned size, uint64_t value) {}

static const struct pv_mmio_ops bar_ops = {.read = bar_read, .write = bar_write};

static void card_written(void *opaque, unsigned offset, unsigned size)
{
    struct fixture *f = opaque;
    f->commands += offset <= COMMAND && COMMAND < offset + size;
}

static void card_reset(void *opaque)
{
    ((struct fixture *)opaque)->resets++;
}

static void card_destroyed(void *opaque)
{
    ((struct fixture *)opaque)->destroyed++;
}

static const struct pv_pci_function_ops card_ops = {
    .name = "card",
    .config_written = card_written,
    .reset = card_reset,
    .destroy = card_destroyed,
};

static void setup(struct fixture *f)
{
    const struct pv_pci_port_events events = {was_released, f};
    *f = (struct fixture){0};
    assert_int_equal(pv_as_create(&f->as, NULL), 0);
    f->bus = bus_create(f->as, (struct pv_irq){.set = set_level, .opaque = f},
                        (struct pv_msi_target){.send = send_message, .opaque = f});
    assert_int_equal(pv_pci_port_create(&f->port, f->bus, PORT_SLOT, 1, &events, NULL), 0);
    uint64_t at = rd(f->as, PORT + 0x34, 1);
    while (rd(f->as, PORT + at, 1) != 0x10)
        at = rd(f->as, PORT + at + 1, 1);
    f->express = PORT + at;
}

static void teardown(struct fixture *f)
{
    struct pv_region_info info;
    pv_pci_bus_destroy(f->bus);
    assert_false(pv_as_next(f->as, 0, &info));
    pv_as_destroy(f->as);
}

static struct pv_pci_function *make_card(struct fixture *f)
{
    const struct pv_pci_function_config config = {
        .vendor = 0x1234,
        .device = 0x5678,
        .class_code = 0x010000,
        .msix_vectors = 2,
        .msix_bar = 1,
        .intx = true,
    };
    struct pv_pci_bus *bus = pv_pci_port_bus(f->port);
    struct pv_pci_function *card;
    assert_int_equal(pv_pci_function_create(&card, bus, -1, &config, &card_ops, f, NULL), 0);
    assert_int_equal(pv_pci_add_bar(card, 4, 0x4000, true, true, &bar_ops, f, NULL), 0);
    return card;
}

/* What an enumerating guest does to the bridge: numbers, windows, and the command. */
static void enumerate(struct fixture *f)
{
    wr(f->as, PORT + 0x10, 4, TABLE);
    wr(f->as, PORT + BUSES, 4, SECONDARY << 16 | SECONDARY << 8);
    wr(f->as, PORT + MEMORY, 4, (WINDOW >> 16) * 0x10001);
    wr(f->as, PORT + PREFETCH, 4, 0);
    wr(f->as, PORT + 0x28, 8, (MEM64 >> 32) * UINT64_C(0x100000001));
    wr(f->as, PORT + COMMAND, 2, 6);
}

/* And its hotplug driver: interrupts by message, everything of the slot; power off. */
static void listen(struct fixture *f)
{
    wr(f->as, PORT + 0x42, 2, 0x8000);
    wr(f->as, TABLE + 8, 4, 77);
    wr(f->as, TABLE + 12, 4, 0);
    wr(f->as, f->express + SLOT_STA, 2, 0x10f);
    wr(f->as, f->express + SLOT_CTL, 2, LISTEN | POWER_OFF);
}

static void set_up_card(struct fixture *f)
{
    wr(f->as, CARD + 0x14, 4, WINDOW);
    wr(f->as, CARD + 0x20, 8, MEM64 + 0x4000);
    wr(f->as, CARD + 4, 2, 6);
    wr(f->as, CARD + 0x42, 2, 0x8000);
    wr(f->as, WINDOW + 8, 4, 88);
    wr(f->as, WINDOW + 12, 4, 0);
}

static void test_header(void **state)
{
    struct fixture f;
    setup(&f);
    assert_int_equal(rd(f.as, PORT, 4), 0x000c1b36);
    assert_int_equal(rd(f.as, PORT + 8, 4) >> 8, 0x060400);
    assert_int_equal(rd(f.as, PORT + 0x0e, 1), 1);
    assert_int_equal(rd(f.as, PORT + 0x100, 4), 0);

    /* Bus numbers are the guest's; windows come in steps of 1 MiB; there is no I/O window. */
    wr(f.as, PORT + BUSES, 4, 0xffffffff);
    assert_int_equal(rd(f.as, PORT + BUSES, 4), 0x00ffffff);
    wr(f.as, PORT + 0x1c, 2, 0xffff);
    assert_int_equal(rd(f.as, PORT + 0x1c, 2), 0);
    wr(f.as, PORT + MEMORY, 4, 0xffffffff);
    assert_int_equal(rd(f.as, PORT + MEMORY, 4), 0xfff0fff0);
    wr(f.as, PORT + PREFETCH, 4, 0xffffffff);
    assert_int_equal(rd(f.as, PORT + PREFETCH, 4), 0xfff1fff1);
    wr(f.as, PORT + 0x28, 8, UINT64_MAX);
    assert_int_equal(rd(f.as, PORT + 0x28, 8), UINT64_MAX);
    wr(f.as, PORT + 0x30, 4, 0xffffffff);
    assert_int_equal(rd(f.as, PORT + 0x30, 4), 0);
    wr(f.as, PORT + CONTROL, 2, 0xffff);
    assert_int_equal(rd(f.as, PORT + CONTROL, 2), 0x0043);

    /* A root port with a slot, number 1: button, power, lamps, hotplug, no completions. */
    assert_int_equal(rd(f.as, f.express + 2, 2), 0x0142);
    assert_int_equal(rd(f.as, f.express + SLOT_CAP, 4), 0x000c007b);
    assert_true(rd(f.as, f.express + 0x0c, 4) & 1 << 20);
    assert_int_equal(rd(f.as, f.express + LINK_STA, 2), 0x0011);
    assert_int_equal(rd(f.as, f.express + SLOT_STA, 2), 0);
    assert_int_equal(rd(f.as, f.express + SLOT_CTL, 2), 0x07c0); /* dark and off */
    wr(f.as, f.express + SLOT_CTL, 2, 0xffff);
    assert_int_equal(rd(f.as, f.express + SLOT_CTL, 2), 0x17ef);
    wr(f.as, f.express + SLOT_CAP, 4, 0);
    assert_int_equal(rd(f.as, f.express + SLOT_CAP, 4), 0x000c007b);

    pv_pci_bus_reset(f.bus);
    assert_int_equal(rd(f.as, PORT + BUSES, 4), 0);
    assert_int_equal(rd(f.as, f.express + SLOT_CTL, 2), 0x07c0);
    teardown(&f);
}

static void test_bus_numbers(void **state)
{
    struct fixture f;
    setup(&f);
    make_card(&f);
    wr(f.as, f.express + SLOT_CTL, 2, 0); /* power */
    wr(f.as, PORT + BUSES, 4, SECONDARY << 16 | SECONDARY << 8);
    assert_int_equal(rd(f.as, CARD, 4), UINT32_MAX); /* not inserted yet */
    pv_pci_port_insert(f.port);
    assert_int_equal(rd(f.as, CARD, 4), 0x56781234);
    assert_int_equal(rd(f.as, CARD + 0x8000, 4), UINT32_MAX); /* device 1 of a link */
    assert_int_equal(rd(f.as, CARD + 0x1000, 4), UINT32_MAX); /* function 1 */
    assert_int_equal(rd(f.as, CARD + 0x100000, 4), UINT32_MAX);

    /* It is an endpoint, which MSI-X comes before. */
    assert_int_equal(rd(f.as, CARD + rd(f.as, CARD + 0x41, 1), 1), 0x10);
    assert_int_equal(rd(f.as, CARD + rd(f.as, CARD + 0x41, 1) + 2, 2), 0x0002);

    static const struct {
        uint32_t numbers;
        uint64_t bus;
        bool there;
    } cases[] = {
        {0x00ff07, 7, false},  /* the secondary is 0xff */
        {0x000700, 7, false},  /* the subordinate is below the secondary */
        {0x070700, 7, true},   /* both */
        {0xff0700, 7, true},   /* room for more buses */
        {0xff0700, 8, false},  /* which nobody is on */
        {0xffff00, 255, true}, /* the last one */
        {0xff0000, 0, false},  /* the root bus stays the root bus */
    };
    for (size_t i = 0; i < PV_ARRAY_SIZE(cases); i++) {
        wr(f.as, PORT + BUSES, 4, cases[i].numbers);
        uint32_t id = (uint32_t)rd(f.as, ECAM + (cases[i].bus << 20), 4);
        assert_int_equal(id == 0x56781234, cases[i].there);
    }
    assert_int_equal(rd(f.as, ECAM, 4), 0x00081b36);
    teardown(&f);
    assert_int_equal(f.destroyed, 1);
}

static void test_windows(void **state)
{
    struct fixture f;
    setup(&f);
    struct pv_pci_function *card = make_card(&f);
    enumerate(&f);
    wr(f.as, f.express + SLOT_CTL, 2, 0);
    pv_pci_port_insert(f.port);
    set_up_card(&f);
    assert_int_equal(pv_pci_bar_address(card, 1), WINDOW);
    assert_int_equal(pv_pci_bar_address(card, 4), MEM64 + 0x4000);
    assert_int_equal(rd(f.as, MEM64 + 0x4010, 4), 0x50);

    /* A bridge that does not decode memory forwards none; zeroes come back, and no abort. */
    wr(f.as, PORT + COMMAND, 2, 4);
    assert_int_equal(pv_pci_bar_address(card, 1), UINT64_MAX);
    assert_int_equal(rd(f.as, MEM64 + 0x4010, 4), 0);
    wr(f.as, MEM64 + 0x4010, 4, 1);
    wr(f.as, PORT + COMMAND, 2, 6);
    assert_int_equal(pv_pci_bar_address(card, 4), MEM64 + 0x4000);

    /* Windows of memory: below the BAR, above it, ending behind it, and none (base over limit). */
    const uint32_t here = WINDOW >> 16, below = here - 0x10, above = here + 0x10;
    wr(f.as, PORT + MEMORY, 4, below << 16 | below);
    assert_int_equal(pv_pci_bar_address(card, 1), UINT64_MAX);
    wr(f.as, PORT + MEMORY, 4, above << 16 | above);
    assert_int_equal(pv_pci_bar_address(card, 1), UINT64_MAX);
    wr(f.as, PORT + MEMORY, 4, here << 16 | below);
    assert_int_equal(pv_pci_bar_address(card, 1), WINDOW);
    wr(f.as, PORT + MEMORY, 4, below << 16 | here);
    assert_int_equal(pv_pci_bar_address(card, 1), UINT64_MAX);
    wr(f.as, PORT + 0x28, 4, 0x81); /* the upper half of the prefetchable base */
    assert_int_equal(pv_pci_bar_address(card, 4), UINT64_MAX);
    wr(f.as, PORT + 0x2c, 4, 0x81);
    assert_int_equal(pv_pci_bar_address(card, 4), UINT64_MAX);
    wr(f.as, CARD + 0x24, 4, 0x81);
    assert_int_equal(pv_pci_bar_address(card, 4), UINT64_C(0x8100004000));
    teardown(&f);
}

static void test_card_interrupts(void **state)
{
    struct fixture f;
    setup(&f);
    struct pv_pci_function *card = make_card(&f);
    enumerate(&f);
    wr(f.as, f.express + SLOT_CTL, 2, 0);
    pv_pci_port_insert(f.port);
    set_up_card(&f);
    assert_true(pv_pci_is_master(card));
    pv_pci_msix_notify(card, 0);
    assert_int_equal(f.messages, 1);
    assert_int_equal(f.sender, SECONDARY << 8);
    assert_int_equal(f.data, 88);
    wr(f.as, PORT + BUSES, 4, 0x050500);
    pv_pci_msix_notify(card, 0);
    assert_int_equal(f.sender, 0x500);

    /* The bridge is a master for what is behind it, and the card is told. */
    unsigned commands = f.commands;
    wr(f.as, PORT + COMMAND, 2, 2);
    assert_int_equal(f.commands, commands + 1);
    assert_false(pv_pci_is_master(card));
    pv_pci_msix_notify(card, 0);
    assert_int_equal(f.messages, 2);
    wr(f.as, PORT + COMMAND, 2, 6);
    assert_int_equal(f.messages, 3);
    assert_true(pv_pci_is_master(card));

    /* INTA# comes out as the port's own, and they share the wire. */
    pv_pci_set_intx(card, true);
    assert_true(f.level[PORT_SLOT % 4]);
    wr(f.as, f.express + SLOT_CTL, 2, LISTEN); /* the card's coming is still to be told */
    pv_pci_set_intx(card, false);
    assert_true(f.level[PORT_SLOT % 4]);
    wr(f.as, f.express + SLOT_STA, 2, 0xffff);
    assert_false(f.level[PORT_SLOT % 4]);
    teardown(&f);
}

/* From insertion to removal, as a guest with a driver does it. */
static void test_come_and_go(void **state)
{
    struct fixture f;
    setup(&f);
    enumerate(&f);
    listen(&f);
    make_card(&f);
    assert_int_equal(f.messages, 0);
    pv_pci_port_insert(f.port);
    assert_int_equal(f.messages, 1);
    assert_int_equal(f.data, 77);
    assert_int_equal(f.sender, PORT_SLOT << 3);
    assert_int_equal(rd(f.as, f.express + SLOT_STA, 2), BUTTON | PRESENCE | PRESENT);
    assert_int_equal(rd(f.as, CARD, 4), UINT32_MAX); /* there is no power */
    wr(f.as, f.express + SLOT_STA, 2, BUTTON | PRESENCE);
    assert_int_equal(rd(f.as, f.express + SLOT_STA, 2), PRESENT);

    wr(f.as, f.express + SLOT_CTL, 2, LISTEN);
    assert_int_equal(f.messages, 2);
    assert_int_equal(rd(f.as, f.express + SLOT_STA, 2), PRESENT | LINK);
    assert_int_equal(rd(f.as, f.express + LINK_STA, 2), LINK_ACTIVE | 0x11);
    assert_int_equal(rd(f.as, CARD, 4), 0x56781234);
    set_up_card(&f);

    /* Another event while one is unacknowledged sends no message: nothing changed for the guest. */
    assert_true(pv_pci_port_press(f.port));
    assert_int_equal(f.messages, 2);
    wr(f.as, f.express + SLOT_STA + 1, 1, LINK >> 8); /* bytewise */
    assert_int_equal(rd(f.as, f.express + SLOT_STA, 2), PRESENT | BUTTON);
    wr(f.as, f.express + SLOT_STA, 2, BUTTON);
    assert_int_equal(f.released, 0);

    wr(f.as, f.express + SLOT_CTL, 2, LISTEN | POWER_OFF);
    assert_int_equal(f.messages, 3);
    assert_int_equal(f.resets, 1);
    assert_int_equal(f.released, 1);
    assert_int_equal(rd(f.as, f.express + SLOT_STA, 2), PRESENCE | LINK);
    assert_int_equal(rd(f.as, f.express + LINK_STA, 2), 0x11);
    assert_int_equal(rd(f.as, CARD, 4), UINT32_MAX);
    assert_int_equal(rd(f.as, WINDOW + 8, 4), 0);
    assert_int_equal(f.destroyed, 0);
    pv_pci_port_clear(f.port);
    assert_int_equal(f.destroyed, 1);
    wr(f.as, f.express + SLOT_STA, 2, PRESENCE | LINK);
    assert_true(pv_pci_port_press(f.port)); /* an empty slot */
    assert_int_equal(f.released, 1);

    /* The next card finds nothing of the last one. */
    make_card(&f);
    pv_pci_port_insert(f.port);
    wr(f.as, f.express + SLOT_CTL, 2, LISTEN);
    assert_int_equal(rd(f.as, CARD + 4, 2), 0);
    assert_int_equal(rd(f.as, CARD + 0x14, 4), 0);
    teardown(&f);
    assert_int_equal(f.destroyed, 2);
}

static void test_unasked_power_off(void **state)
{
    struct fixture f;
    setup(&f);
    enumerate(&f);
    listen(&f);
    struct pv_pci_function *card = make_card(&f);
    pv_pci_port_insert(f.port);
    wr(f.as, f.express + SLOT_CTL, 2, LISTEN);
    set_up_card(&f);

    /* Nobody asked: the card stays, and comes up as new. */
    wr(f.as, f.express + SLOT_CTL, 2, LISTEN | POWER_OFF);
    assert_int_equal(f.resets, 1);
    assert_int_equal(f.released, 0);
    assert_int_equal(pv_pci_bar_address(card, 4), UINT64_MAX);
    assert_true(rd(f.as, f.express + SLOT_STA, 2) & PRESENT);
    wr(f.as, f.express + SLOT_CTL, 2, LISTEN);
    assert_int_equal(rd(f.as, CARD + 4, 2), 0);
    assert_int_equal(rd(f.as, CARD + 0x42, 2), 1);
    assert_int_equal(f.resets, 1);

    /* The other ways to take a link down reset too. */
    set_up_card(&f);
    wr(f.as, PORT + CONTROL, 2, 0x40);
    assert_int_equal(f.resets, 2);
    assert_int_equal(rd(f.as, CARD, 4), UINT32_MAX);
    wr(f.as, PORT + CONTROL, 2, 0);
    assert_int_equal(rd(f.as, CARD + 4, 4), 0x00100000);
    wr(f.as, f.express + LINK_CTL, 2, 0x10);
    assert_int_equal(f.resets, 3);
    assert_int_equal(rd(f.as, CARD, 4), UINT32_MAX);
    wr(f.as, f.express + LINK_CTL, 2, 0);
    assert_int_equal(rd(f.as, CARD, 4), 0x56781234);

    /* A slot without power gives its card at once. */
    wr(f.as, f.express + SLOT_CTL, 2, LISTEN | POWER_OFF);
    assert_true(pv_pci_port_press(f.port));
    assert_int_equal(f.released, 1);
    assert_false(rd(f.as, f.express + SLOT_STA, 2) & PRESENT);
    teardown(&f);
}

static void test_guest_that_does_not_listen(void **state)
{
    struct fixture f;
    setup(&f);
    enumerate(&f);
    wr(f.as, f.express + SLOT_CTL, 2, 0);
    make_card(&f);
    pv_pci_port_insert(f.port);
    wr(f.as, f.express + SLOT_STA, 2, 0xffff);
    assert_false(pv_pci_port_press(f.port));
    assert_int_equal(rd(f.as, f.express + SLOT_STA, 2), PRESENT);
    wr(f.as, f.express + SLOT_CTL, 2, POWER_OFF); /* it was not asked, so it has given nothing */
    assert_int_equal(f.released, 0);
    assert_false(f.level[PORT_SLOT % 4]);
    teardown(&f);
}

static void test_pull(void **state)
{
    struct fixture f;
    setup(&f);
    enumerate(&f);
    listen(&f);
    struct pv_pci_function *card = make_card(&f);
    pv_pci_port_insert(f.port);
    wr(f.as, f.express + SLOT_CTL, 2, LISTEN);
    set_up_card(&f);
    wr(f.as, f.express + SLOT_STA, 2, 0xffff);
    unsigned messages = f.messages;
    pv_pci_set_intx(card, true);
    pv_pci_port_pull(f.port);
    assert_int_equal(f.messages, messages + 1);
    assert_int_equal(f.released, 0);
    assert_int_equal(rd(f.as, f.express + SLOT_STA, 2), PRESENCE | LINK);
    assert_int_equal(rd(f.as, CARD, 4), UINT32_MAX);
    assert_int_equal(rd(f.as, MEM64 + 0x4000, 8), 0);
    assert_false(pv_pci_is_master(card));
    pv_pci_port_clear(f.port);
    assert_int_equal(f.destroyed, 1);
    assert_int_equal(f.resets, 0); /* it is gone; there is nothing to reset */
    assert_false(f.level[PORT_SLOT % 4]);
    pv_pci_port_pull(f.port);
    pv_pci_port_clear(f.port);
    assert_int_equal(f.destroyed, 1);
    teardown(&f);
}

static void test_machine_reset(void **state)
{
    struct fixture f;
    setup(&f);
    enumerate(&f);
    listen(&f);
    make_card(&f);
    pv_pci_port_insert(f.port);

    /* Firmware finds the slots that are taken powered. */
    pv_pci_bus_reset(f.bus);
    assert_int_equal(f.released, 0);
    assert_int_equal(rd(f.as, f.express + SLOT_STA, 2), PRESENT);
    assert_int_equal(rd(f.as, f.express + SLOT_CTL, 2), 0x0140);
    enumerate(&f);
    assert_int_equal(rd(f.as, CARD, 4), 0x56781234);

    /* What had been asked for goes. */
    listen(&f);
    wr(f.as, f.express + SLOT_CTL, 2, LISTEN);
    assert_true(pv_pci_port_press(f.port));
    pv_pci_bus_reset(f.bus);
    assert_int_equal(f.released, 1);
    assert_int_equal(rd(f.as, f.express + SLOT_STA, 2), 0);
    assert_int_equal(rd(f.as, f.express + SLOT_CTL, 2), 0x07c0);
    pv_pci_port_clear(f.port);
    teardown(&f);
    assert_int_equal(f.destroyed, 1);
}

static void test_bad_ports(void **state)
{
    struct fixture f;
    struct pv_pci_port *port;
    struct pv_pci_function *card;
    struct pv_error *err = NULL;
    const struct pv_pci_port_events events = {0};
    const struct pv_pci_function_config config = {.vendor = 1};
    setup(&f);
    assert_int_equal(pv_pci_port_create(&port, f.bus, 7, 0, &events, NULL), -EINVAL);
    assert_int_equal(pv_pci_port_create(&port, f.bus, 7, 256, &events, NULL), -EINVAL);
    assert_int_equal(pv_pci_port_create(&port, f.bus, PORT_SLOT, 2, &events, NULL), -EBUSY);
    struct pv_pci_bus *bus = pv_pci_port_bus(f.port);
    assert_int_equal(pv_pci_function_create(&card, bus, 1, &config, &card_ops, &f, &err), -EINVAL);
    assert_string_equal(pv_error_message(err), "PCI card: slot 1, want 0 to 0");
    pv_error_free(&err);
    make_card(&f);
    assert_int_equal(pv_pci_function_create(&card, bus, -1, &config, &card_ops, &f, NULL), -ENOSPC);
    teardown(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_header),
        cmocka_unit_test(test_bus_numbers),
        cmocka_unit_test(test_windows),
        cmocka_unit_test(test_card_interrupts),
        cmocka_unit_test(test_come_and_go),
        cmocka_unit_test(test_unasked_power_off),
        cmocka_unit_test(test_guest_that_does_not_listen),
        cmocka_unit_test(test_pull),
        cmocka_unit_test(test_machine_reset),
        cmocka_unit_test(test_bad_ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
