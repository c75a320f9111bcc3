/* SPDX-License-Identifier: MIT */
/*
 * A root port: a PCI-PCI bridge whose only secondary device is the card in its slot, which comes
 * and goes while the guest runs (PCI Express Base 5.0, 6.7: native hotplug).
 *
 * The slot has a button, two lamps and a power switch. The button is ours to press, the rest is the
 * guest's to set, and all of it is in the Slot Control and Slot Status registers:
 *
 *   insert  The card is there (Presence Detect) and the button was pressed. The guest switches the
 *           power on, which brings the link up; only then can it see the card.
 *   press   With a card in it, the button asks to have it back. The guest lets go of its driver and
 *           switches the power off: the link goes down, and since the card was asked for, it is
 * out. pull    The card is out without further ado: link down, presence gone, events for both.
 *
 * Everything follows from one rule: the link is up while a card is present, powered, and neither
 * Link Disable nor Secondary Bus Reset holds it down. A card whose link goes down is reset, as its
 * power or its reset line would do, so that it comes up as if new. While the link is down nothing
 * behind the port answers: configuration reads give ones, and BARs are not mapped. A driver that
 * still uses them reads zeroes from the address space's window. A root complex may say what it
 * likes there, and ones are common; but to a virtio driver, which waits for its device's status to
 * become 0 before it lets go (Virtio 1.3, 4.1.4.3.2), a card that was pulled should look reset.
 *
 * A change begins under the root's lock, inside a write to configuration space or a call from the
 * host. What calls the card or the owner waits in `due` until the lock is dropped (settle()).
 * Commands take effect at once, so the slot announces that it never tells of their completion (No
 * Command Completed Support), and the guest never waits for one.
 *
 * Not there: I/O windows (registers read as zero), power management and advanced error reporting.
 */
#include "base/error.h"
#include "base/util.h"
#include "pci/pci_impl.h"

#include <errno.h>

/* QEMU's generic root port, whose interface this is. */
#define PORT_VENDOR  0x1b36
#define PORT_DEVICE  0x000c
#define PORT_CLASS   0x060400
#define MSIX_BAR     0
#define MSIX_VECTORS 1
#define MAX_NUMBER   255u
#define TYPE1_HEADER 1
#define WINDOW_64    0x1u /* of the prefetchable window: 64 bits of address */
#define WINDOW_BITS  0xfff0u
#define WINDOW_GRAIN PV_MIB /* limits are those of the last whole one */

/* Type 1 header, PCI to PCI Bridge 1.2 section 3.2. */
enum {
    PRIMARY_BUS = 0x18,
    SECONDARY_BUS = 0x19,
    SUBORDINATE_BUS = 0x1a,
    MEMORY_BASE = 0x20,
    MEMORY_LIMIT = 0x22,
    PREFETCH_BASE = 0x24,
    PREFETCH_LIMIT = 0x26,
    PREFETCH_BASE_HIGH = 0x28,
    PREFETCH_LIMIT_HIGH = 0x2c,
    WINDOWS_END = 0x30,
    BRIDGE_CONTROL = 0x3e,
};

#define BRIDGE_CONTROL_WRITABLE 0x0043u /* parity, SERR#, and: */
#define BRIDGE_CONTROL_RESET    0x0040u

/* The port's and the slot's part of the capability, from its start; 7.5.3.6 to 7.5.3.16. */
enum {
    SLOT_CAP = 0x14,
    SLOT_CTL = 0x18,
    SLOT_STA = 0x1a,
    ROOT_CTL = 0x1c,
};

#define FLAGS_SLOT       0x0100u
#define LINK_CAP_ACTIVE  0x00100000u /* Data Link Layer Link Active Reporting */
#define LINK_CAP_NUMBER  24u
#define LINK_CTL_DISABLE 0x0010u
#define LINK_STA_ACTIVE  0x2000u
#define ROOT_CTL_BITS    0x000fu

#define SLOT_CAP_BUTTON        0x00000001u
#define SLOT_CAP_POWER         0x00000002u
#define SLOT_CAP_ATTENTION     0x00000008u /* lamp */
#define SLOT_CAP_POWER_LAMP    0x00000010u
#define SLOT_CAP_SURPRISE      0x00000020u
#define SLOT_CAP_HOTPLUG       0x00000040u
#define SLOT_CAP_NO_COMPLETION 0x00040000u
#define SLOT_CAP_NUMBER        19u

/* Events are at the same place in Slot Status and their enables in Slot Control, but for the link.
 */
#define EVENT_BUTTON      0x0001u
#define EVENT_PRESENCE    0x0008u
#define EVENTS            0x000fu
#define STATUS_PRESENT    0x0040u
#define STATUS_LINK       0x0100u
#define CONTROL_INTERRUPT 0x0020u
#define CONTROL_LAMPS_ON  0x0140u
#define CONTROL_LAMPS_OFF 0x03c0u
#define CONTROL_POWER_OFF 0x0400u
#define CONTROL_LINK      0x1000u
#define CONTROL_WRITABLE  0x17efu

/* ---- What the bus asks ---- */

static uint8_t *registers(const struct pv_pci_port *port, unsigned offset)
{
    return port->function->config + port->express + offset;
}

static uint16_t load(const struct pv_pci_port *port, unsigned offset)
{
    return pci_load16(port->function->config + offset);
}

bool pci_port_link_is_up(const struct pv_pci_port *port)
{
    return port->link_up;
}

uint8_t pci_port_secondary(const struct pv_pci_port *port)
{
    return port->function->config[SECONDARY_BUS];
}

/* A bridge whose numbers are not in order forwards nothing. */
struct pv_pci_bus *pci_port_bus(struct pv_pci_port *port, unsigned bus)
{
    const uint8_t *config = port->function->config;
    bool here = config[SECONDARY_BUS] == bus && config[SUBORDINATE_BUS] >= bus;
    return port->link_up && here ? &port->bus : NULL;
}

bool pci_port_is_master(const struct pv_pci_port *port)
{
    return port->link_up && (load(port, PCI_COMMAND) & PCI_COMMAND_MASTER);
}

static bool inside(uint64_t address, uint64_t size, uint64_t base, uint64_t last)
{
    return address >= base && address <= last && size - 1 <= last - address;
}

bool pci_port_forwards(const struct pv_pci_port *port, uint64_t address, uint64_t size)
{
    const uint8_t *config = port->function->config;
    uint64_t base = (uint64_t)(load(port, MEMORY_BASE) & WINDOW_BITS) << 16;
    uint64_t last = (uint64_t)(load(port, MEMORY_LIMIT) & WINDOW_BITS) << 16 | (WINDOW_GRAIN - 1);
    uint64_t prefetch_base = (uint64_t)pci_load32(config + PREFETCH_BASE_HIGH) << 32 |
                             (uint64_t)(load(port, PREFETCH_BASE) & WINDOW_BITS) << 16;
    uint64_t prefetch_last = (uint64_t)pci_load32(config + PREFETCH_LIMIT_HIGH) << 32 |
                             (uint64_t)(load(port, PREFETCH_LIMIT) & WINDOW_BITS) << 16 |
                             (WINDOW_GRAIN - 1);
    return port->link_up && (load(port, PCI_COMMAND) & PCI_COMMAND_MEMORY) &&
           (inside(address, size, base, last) ||
            inside(address, size, prefetch_base, prefetch_last));
}

/* ---- Events ---- */

/*
 * Section 6.7.3.4: a message is sent when an enabled event comes where none was; the pin follows
 * the level. Lock held, as for all here.
 */
static void update_interrupt(struct pv_pci_port *port)
{
    uint16_t control = pci_load16(registers(port, SLOT_CTL));
    uint16_t status = pci_load16(registers(port, SLOT_STA));
    bool event =
        (status & control & EVENTS) || ((status & STATUS_LINK) && (control & CONTROL_LINK));
    bool on = (control & CONTROL_INTERRUPT) && event;
    bool messages = pv_pci_msix_enabled(port->function);

    if (on && messages && !port->message)
        pv_pci_msix_notify(port->function, 0);
    port->message = on && messages;
    pv_pci_set_intx(port->function, on && !messages);
}

static void change_status(struct pv_pci_port *port, uint16_t clear, uint16_t set)
{
    uint8_t *status = registers(port, SLOT_STA);
    pci_store16(status, (uint16_t)((pci_load16(status) & ~clear) | set));
    update_interrupt(port);
}

/* ---- Link and presence ---- */

static bool is_off(const struct pv_pci_port *port)
{
    return pci_load16(registers(port, SLOT_CTL)) & CONTROL_POWER_OFF;
}

/* Brings the link in line with what holds it up or down. */
static void update_link(struct pv_pci_port *port)
{
    struct pv_pci_function *card = port->bus.slots[0];
    uint8_t *status = registers(port, PCI_EXP_LNKSTA);
    bool up = port->present && !is_off(port) &&
              !(pci_load16(registers(port, PCI_EXP_LNKCTL)) & LINK_CTL_DISABLE) &&
              !(load(port, BRIDGE_CONTROL) & BRIDGE_CONTROL_RESET);

    if (up == port->link_up)
        return;
    port->link_up = up;
    pci_store16(status, up ? PCI_EXP_LINK | LINK_STA_ACTIVE : PCI_EXP_LINK);
    if (up) {
        pci_follow_bridge(card);
    } else {
        pci_clear_config(card);
        port->due.card_reset = true;
    }
    pci_update_maps(port->function->bus->root);
    change_status(port, 0, STATUS_LINK);
}

static void take_card_out(struct pv_pci_port *port)
{
    port->present = port->wanted = false;
    update_link(port);
    change_status(port, STATUS_PRESENT, EVENT_PRESENCE);
}

static void release(struct pv_pci_port *port)
{
    take_card_out(port);
    port->due.released = true;
}

/* What a change asks for that cannot be done with the lock held. */
static void settle(struct pv_pci_port *port)
{
    struct pci_root *root = port->function->bus->root;
    pthread_mutex_lock(&root->lock);
    struct pv_pci_function *card = port->bus.slots[0];
    const struct pci_port_due due = port->due;
    port->due = (struct pci_port_due){0};
    pthread_mutex_unlock(&root->lock);

    if (due.card_reset && card->ops->reset)
        card->ops->reset(card->opaque);
    if (due.card_command && card->ops->config_written)
        card->ops->config_written(card->opaque, PCI_COMMAND, 2);
    if (due.released)
        port->events.released(port->events.opaque);
}

/* ---- Configuration space ---- */

/* Slot Status: the guest acknowledges events by writing ones. */
static void acknowledge(struct pv_pci_port *port, unsigned offset, unsigned size, uint64_t value)
{
    const unsigned at = port->express + SLOT_STA;
    uint16_t bits = 0;

    for (unsigned i = 0; i < size; i++)
        if (offset + i >= at && offset + i < at + 2)
            bits |= (uint16_t)((value >> 8 * i & 0xff) << 8 * (offset + i - at));
    change_status(port, bits & (EVENTS | STATUS_LINK), 0);
}

void pci_port_written(struct pv_pci_port *port, unsigned offset, unsigned size, uint64_t value)
{
    struct pv_pci_function *function = port->function, *card = port->bus.slots[0];

    if (port->link_up && (pci_touches(offset, size, PCI_COMMAND, 2) ||
                          pci_touches(offset, size, SECONDARY_BUS, 1))) {
        pci_follow_bridge(card);
        port->due.card_command = true;
    }
    if (pci_touches(offset, size, MEMORY_BASE, WINDOWS_END - MEMORY_BASE))
        pci_update_maps(function->bus->root);
    if (pci_touches(offset, size, port->express + SLOT_STA, 2))
        acknowledge(port, offset, size, value);
    update_link(port);
    if (port->present && port->wanted && is_off(port))
        release(port);
    update_interrupt(port);
}

void pci_port_power_on(struct pv_pci_port *port)
{
    uint16_t control = port->present ? CONTROL_LAMPS_ON : CONTROL_LAMPS_OFF | CONTROL_POWER_OFF;

    port->message = false;
    pci_store16(registers(port, SLOT_CTL), control);
    update_link(port);
    change_status(port, EVENTS | STATUS_LINK, 0);
}

/* Events that the guest has not acknowledged yet; the link is down, as that of an empty slot. */
void pci_port_load_status(struct pv_pci_port *port, const uint8_t *config)
{
    uint16_t status = pci_load16(config + port->express + SLOT_STA);

    pci_store16(registers(port, SLOT_STA), status & (EVENTS | STATUS_LINK));
}

/* ---- The host's side ---- */

struct pv_pci_bus *pv_pci_port_bus(struct pv_pci_port *port)
{
    return &port->bus;
}

void pv_pci_port_insert(struct pv_pci_port *port)
{
    struct pci_root *root = port->function->bus->root;
    pthread_mutex_lock(&root->lock);
    port->present = true;
    update_link(port);
    change_status(port, 0, STATUS_PRESENT | EVENT_PRESENCE | EVENT_BUTTON);
    pthread_mutex_unlock(&root->lock);
}

bool pv_pci_port_press(struct pv_pci_port *port)
{
    struct pci_root *root = port->function->bus->root;
    bool heard = true;

    pthread_mutex_lock(&root->lock);
    uint16_t control = pci_load16(registers(port, SLOT_CTL));
    if (port->present && is_off(port)) {
        release(port);
    } else if (port->present) {
        heard = (control & CONTROL_INTERRUPT) && (control & EVENT_BUTTON);
        port->wanted |= heard;
        if (heard)
            change_status(port, 0, EVENT_BUTTON);
    }
    pthread_mutex_unlock(&root->lock);
    settle(port);
    return heard;
}

void pv_pci_port_pull(struct pv_pci_port *port)
{
    struct pci_root *root = port->function->bus->root;
    pthread_mutex_lock(&root->lock);
    if (port->present)
        take_card_out(port);
    pthread_mutex_unlock(&root->lock);
}

void pv_pci_port_clear(struct pv_pci_port *port)
{
    port->due = (struct pci_port_due){0};
    pv_pci_function_destroy(port->bus.slots[0]);
}

/* ---- The function ---- */

static void config_written(void *opaque, unsigned offset, unsigned size)
{
    settle(opaque);
}

/* A card that was asked for is not there any more when the guest starts anew. */
static void reset(void *opaque)
{
    struct pv_pci_port *port = opaque;
    struct pci_root *root = port->function->bus->root;
    pthread_mutex_lock(&root->lock);
    if (port->wanted)
        release(port);
    pthread_mutex_unlock(&root->lock);
    settle(port);
}

static void destroy(void *opaque)
{
    struct pv_pci_port *port = opaque;
    pv_pci_function_destroy(port->bus.slots[0]);
    free(port);
}

static const struct pv_pci_function_ops port_ops = {
    .name = "pci-root-port",
    .config_written = config_written,
    .reset = reset,
    .destroy = destroy,
};

static void fill_header(struct pv_pci_function *function)
{
    uint8_t *c = function->config, *w = function->writable;
    c[PCI_HEADER_TYPE] = TYPE1_HEADER;
    w[PRIMARY_BUS] = w[SECONDARY_BUS] = w[SUBORDINATE_BUS] = 0xff;
    for (unsigned at = MEMORY_BASE; at <= PREFETCH_LIMIT; at += 2)
        pci_store16(w + at, WINDOW_BITS);
    c[PREFETCH_BASE] = c[PREFETCH_LIMIT] = WINDOW_64;
    pv_pci_set_writable(function, PREFETCH_BASE_HIGH, WINDOWS_END - PREFETCH_BASE_HIGH);
    pci_store16(w + BRIDGE_CONTROL, BRIDGE_CONTROL_WRITABLE);
}

static void store32(uint8_t *at, uint32_t value)
{
    pci_store16(at, (uint16_t)value);
    pci_store16(at + 2, (uint16_t)(value >> 16));
}

static int add_express_capability(struct pv_pci_port *port, unsigned number, struct pv_error **err)
{
    uint8_t cap[PCI_EXP_SIZE] = {0};
    uint8_t *w = port->function->writable;

    pci_store16(cap + PCI_EXP_FLAGS, PCI_EXP_VERSION | PCI_EXP_ROOT_PORT << 4 | FLAGS_SLOT);
    pci_store16(cap + PCI_EXP_DEVCAP, PCI_EXP_DEVCAP_ROLE_BASED);
    store32(cap + PCI_EXP_LNKCAP, PCI_EXP_LINK | LINK_CAP_ACTIVE | number << LINK_CAP_NUMBER);
    pci_store16(cap + PCI_EXP_LNKSTA, PCI_EXP_LINK);
    store32(cap + SLOT_CAP, SLOT_CAP_BUTTON | SLOT_CAP_POWER | SLOT_CAP_ATTENTION |
                                SLOT_CAP_POWER_LAMP | SLOT_CAP_SURPRISE | SLOT_CAP_HOTPLUG |
                                SLOT_CAP_NO_COMPLETION | number << SLOT_CAP_NUMBER);
    int at = pv_pci_add_capability(port->function, PCI_CAP_EXP, cap + 2, sizeof(cap), err);
    if (at < 0)
        return at;
    port->express = (unsigned)at;
    w += at;
    pci_store16(w + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_WRITABLE);
    pci_store16(w + PCI_EXP_LNKCTL, PCI_EXP_LNKCTL_WRITABLE | LINK_CTL_DISABLE);
    pci_store16(w + SLOT_CTL, CONTROL_WRITABLE);
    pci_store16(w + ROOT_CTL, ROOT_CTL_BITS);
    return 0;
}

int pv_pci_port_create(struct pv_pci_port **out, struct pv_pci_bus *bus, int slot, unsigned number,
                       const struct pv_pci_port_events *events, struct pv_error **err)
{
    const struct pv_pci_function_config config = {
        .vendor = PORT_VENDOR,
        .device = PORT_DEVICE,
        .class_code = PORT_CLASS,
        .msix_vectors = MSIX_VECTORS,
        .msix_bar = MSIX_BAR,
        .intx = true,
    };
    if (number < 1 || number > MAX_NUMBER)
        return pv_error_set(err, EINVAL, "PCI slot number %u, want 1 to %u", number, MAX_NUMBER);
    struct pv_pci_port *port = calloc(1, sizeof(*port));
    if (!port)
        return pv_error_set(err, ENOMEM, "PCI slot %u: out of memory", number);
    port->events = *events;
    port->bus = (struct pv_pci_bus){.root = bus->root, .port = port};
    int ret = pv_pci_function_create(&port->function, bus, slot, &config, &port_ops, port, err);
    if (ret < 0) {
        free(port);
        return ret;
    }
    fill_header(port->function);
    ret = add_express_capability(port, number, err);
    if (ret < 0) {
        pv_pci_function_destroy(port->function); /* frees the port */
        return ret;
    }
    port->function->port = port;
    pci_port_power_on(port);
    *out = port;
    return 0;
}
