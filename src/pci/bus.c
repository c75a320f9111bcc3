/* SPDX-License-Identifier: MIT */
/*
 * A PCI Express root bus behind ECAM, and behind its ports (root_port.c) one more bus each.
 *
 * Configuration space is 4 KiB of bytes a function, with a mask that says which bits the guest may
 * change; a write merges through the mask, and then whatever it touched takes effect.
 *
 * A BAR is in the address space while Command.MemorySpace is set and its address lies whole inside
 * one of the root's windows, and of the port's that it is behind; guests program every address,
 * also ones that overlap RAM, other BARs, or nothing at all. Sizing by writing ones makes such
 * addresses in passing. So mapping is never an error: after each change all BARs that are not where
 * they should be are unmapped, then those that can be mapped are. A BAR that would overlap another
 * stays out until the other goes away.
 */
#include "base/checked.h"
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "pci/pci_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

/* QEMU's generic host bridge, so that guests see the board they know. */
#define HOST_BRIDGE_VENDOR 0x1b36
#define HOST_BRIDGE_DEVICE 0x0008
#define HOST_BRIDGE_CLASS  0x060000

/* ---- BARs ---- */

/* Where the guest wants a BAR, or UINT64_MAX for nowhere. Lock held. */
static uint64_t wanted_address(const struct pv_pci_function *function, unsigned index)
{
    const struct pci_bar *bar = &function->bars[index];
    const struct pv_pci_bus_config *config = &function->bus->root->config;
    const struct pv_pci_port *port = function->bus->port;
    const uint8_t *reg = function->config + PCI_BAR0 + 4 * index;

    /* Until its link is up, a function may still be in the making. */
    if (port && !pci_port_link_is_up(port))
        return UINT64_MAX;
    if (!bar->size || !(pci_load16(function->config + PCI_COMMAND) & PCI_COMMAND_MEMORY))
        return UINT64_MAX;
    uint64_t address = pci_load32(reg) & ~UINT32_C(0xf);
    if (bar->is64)
        address |= (uint64_t)pci_load32(reg + 4) << 32;
    uint64_t in32 = address - config->mem32_base;
    uint64_t in64 = address - config->mem64_base;
    bool inside =
        (address >= config->mem32_base && pv_range_ok(in32, bar->size, config->mem32_size)) ||
        (address >= config->mem64_base && pv_range_ok(in64, bar->size, config->mem64_size));
    if (port && !pci_port_forwards(port, address, bar->size))
        inside = false;
    return inside ? address : UINT64_MAX;
}

static void unmap_bar(struct pv_pci_function *function, struct pci_bar *bar)
{
    if (bar->mapped != UINT64_MAX && bar->moved)
        bar->moved(bar->opaque, UINT64_MAX);
    else if (bar->mapped != UINT64_MAX)
        pv_as_remove(function->bus->root->config.as, bar->mapped);
    bar->mapped = UINT64_MAX;
}

static void map_bar(struct pv_pci_function *function, unsigned index, uint64_t address)
{
    struct pci_bar *bar = &function->bars[index];
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    if (bar->moved) {
        if (address != UINT64_MAX)
            bar->moved(bar->opaque, address);
        bar->mapped = address;
        return;
    }
    if (pv_as_add_mmio(function->bus->root->config.as, address, bar->size, bar->ops, bar->opaque,
                       function->ops->name, &err) < 0)
        pv_debug(PV_LOG_PCI, "%s: BAR %u stays unmapped: %s", function->ops->name, index,
                 pv_error_message(err));
    else
        bar->mapped = address;
}

static void update_function(struct pv_pci_function *function, bool map)
{
    for (unsigned i = 0; i < PCI_BARS; i++) {
        struct pci_bar *bar = &function->bars[i];
        uint64_t wanted = wanted_address(function, i);
        if (bar->mapped == wanted)
            continue;
        if (map)
            map_bar(function, i, wanted);
        else
            unmap_bar(function, bar);
    }
}

void pci_update_maps(struct pci_root *root)
{
    for (unsigned pass = 0; pass < 2; pass++) {
        for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
            struct pv_pci_function *function = root->bus.slots[slot];
            if (!function)
                continue;
            update_function(function, pass);
            if (function->port && function->port->bus.slots[0])
                update_function(function->port->bus.slots[0], pass);
        }
    }
}

static int add_bar(struct pv_pci_function *function, unsigned index, const struct pci_bar *bar,
                   bool prefetchable, struct pv_error **err)
{
    const uint64_t size = bar->size;
    const bool is64 = bar->is64;
    const char *name = function->ops->name;
    if (index + is64 >= PCI_BARS || function->bars[index].size ||
        (is64 && function->bars[index + 1].size) ||
        (index && function->bars[index - 1].size && function->bars[index - 1].is64))
        return pv_error_set(err, EINVAL, "PCI %s: BAR %u is taken", name, index);
    if (size < PV_GUEST_PAGE || (size & (size - 1)) || (!is64 && size > UINT32_C(0x80000000)))
        return pv_error_set(err, EINVAL,
                            "PCI %s: BAR %u of %#" PRIx64 " bytes, need a power of two >= 4096",
                            name, index, size);
    pthread_mutex_lock(&function->bus->root->lock);
    function->bars[index] = *bar;
    pthread_mutex_unlock(&function->bus->root->lock);
    unsigned reg = PCI_BAR0 + 4 * index;
    function->config[reg] = (uint8_t)((is64 ? 4u : 0u) | (prefetchable ? 8u : 0u));
    uint64_t mask = ~(size - 1);
    for (unsigned i = 0; i < (is64 ? 8u : 4u); i++)
        function->writable[reg + i] = (uint8_t)(mask >> 8 * i);
    return 0;
}

int pv_pci_add_bar(struct pv_pci_function *function, unsigned index, uint64_t size, bool is64,
                   bool prefetchable, const struct pv_mmio_ops *ops, void *opaque,
                   struct pv_error **err)
{
    const struct pci_bar bar = {
        .size = size, .is64 = is64, .ops = ops, .opaque = opaque, .mapped = UINT64_MAX};
    return add_bar(function, index, &bar, prefetchable, err);
}

int pv_pci_add_window(struct pv_pci_function *function, unsigned index, uint64_t size,
                      void (*moved)(void *opaque, uint64_t address), void *opaque,
                      struct pv_error **err)
{
    const struct pci_bar bar = {
        .size = size, .is64 = true, .moved = moved, .opaque = opaque, .mapped = UINT64_MAX};
    return add_bar(function, index, &bar, true, err);
}

unsigned pv_pci_function_slot(const struct pv_pci_function *function)
{
    return function->slot;
}

uint64_t pv_pci_bar_address(const struct pv_pci_function *function, unsigned bar)
{
    pthread_mutex_lock(&function->bus->root->lock);
    uint64_t address = function->bars[bar].mapped;
    pthread_mutex_unlock(&function->bus->root->lock);
    return address;
}

/* ---- Interrupts ---- */

/*
 * Puts a function's level onto its wire, which slots share. A port passes INTA# of what is behind
 * it on as its own pin (PCI Express Base 5.0, 2.2.8.1), and so both end on one wire. irq_lock held.
 */
static void drive_intx(struct pv_pci_function *function)
{
    struct pci_root *root = function->bus->root;
    const struct pv_pci_port *port = function->bus->port;
    unsigned slot = port ? port->function->slot : function->slot;
    unsigned wire = slot % 4; /* pin INTA#: (slot + 1 - 1) % 4 */
    uint64_t bit = UINT64_C(1) << (slot + (port ? PCI_SLOTS : 0));
    uint64_t before = root->intx[wire];
    if (function->intx_level && !function->intx_disabled)
        root->intx[wire] |= bit;
    else
        root->intx[wire] &= ~bit;
    if (!before != !root->intx[wire])
        pv_irq_set(&root->config.intx[wire], root->intx[wire]);
}

bool pv_pci_is_master(const struct pv_pci_function *function)
{
    pthread_mutex_lock(&function->bus->root->irq_lock);
    bool master = function->master;
    pthread_mutex_unlock(&function->bus->root->irq_lock);
    return master;
}

void pv_pci_set_intx(struct pv_pci_function *function, bool level)
{
    pthread_mutex_lock(&function->bus->root->irq_lock);
    function->intx_level = level;
    drive_intx(function);
    pthread_mutex_unlock(&function->bus->root->irq_lock);
}

void pci_follow_bridge(struct pv_pci_function *function)
{
    struct pci_root *root = function->bus->root;
    const struct pv_pci_port *port = function->bus->port;
    uint16_t command = pci_load16(function->config + PCI_COMMAND);
    pthread_mutex_lock(&root->irq_lock);
    function->master = (command & PCI_COMMAND_MASTER) && (!port || pci_port_is_master(port));
    function->requester =
        (uint16_t)((port ? pci_port_secondary(port) << 8 : 0) | function->slot << 3);
    pci_msix_release(function);
    pthread_mutex_unlock(&root->irq_lock);
}

static void intx_command(struct pv_pci_function *function)
{
    uint16_t command = pci_load16(function->config + PCI_COMMAND);
    pthread_mutex_lock(&function->bus->root->irq_lock);
    function->intx_disabled = command & PCI_COMMAND_INTX_DISABLE;
    drive_intx(function);
    pthread_mutex_unlock(&function->bus->root->irq_lock);
}

void pci_config_loaded(struct pv_pci_function *function)
{
    intx_command(function);
    pci_follow_bridge(function);
}

/* ---- Configuration space ---- */

/* What the writable bits of [offset, offset + size) mean now. Lock held. */
static void config_changed(struct pv_pci_function *function, unsigned offset, unsigned size)
{
    if (pci_touches(offset, size, PCI_COMMAND, 2)) {
        intx_command(function);
        pci_follow_bridge(function);
    }
    if (pci_touches(offset, size, PCI_COMMAND, 2) ||
        pci_touches(offset, size, PCI_BAR0, 4 * PCI_BARS))
        pci_update_maps(function->bus->root);
    if (pci_touches(offset, size, function->msix.capability + 2, 2))
        pci_msix_control(function);
}

void pci_clear_config(struct pv_pci_function *function)
{
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++)
        function->config[i] &= (uint8_t)~function->writable[i];
    pci_msix_reset(function);
    config_changed(function, 0, PCI_CONFIG_SIZE);
}

/*
 * The function that an ECAM offset addresses, and the register in it; NULL when none is there. What
 * is behind a port does not go away before the vCPU that came here has left (pv_pci_port_clear()).
 */
static struct pv_pci_function *decode(struct pci_root *root, uint64_t ecam, unsigned size,
                                      unsigned *offset)
{
    *offset = (unsigned)(ecam % PCI_CONFIG_SIZE);
    unsigned devfn = (unsigned)(ecam / PCI_CONFIG_SIZE) % (PCI_SLOTS * 8);
    unsigned number = (unsigned)(ecam / PCI_CONFIG_SIZE) / (PCI_SLOTS * 8);
    if (devfn % 8 || *offset + size > PCI_CONFIG_SIZE)
        return NULL;
    if (number == 0)
        return root->bus.slots[devfn / 8];

    struct pv_pci_bus *bus = NULL;
    pthread_mutex_lock(&root->lock);
    for (unsigned slot = 0; slot < PCI_SLOTS && !bus; slot++) {
        struct pv_pci_function *function = root->bus.slots[slot];
        if (function && function->port)
            bus = pci_port_bus(function->port, number);
    }
    struct pv_pci_function *function = bus ? bus->slots[devfn / 8] : NULL;
    pthread_mutex_unlock(&root->lock);
    return function;
}

static uint64_t ecam_read(void *opaque, uint64_t ecam, unsigned size)
{
    struct pci_root *root = opaque;
    unsigned offset;
    struct pv_pci_function *function = decode(root, ecam, size, &offset);
    if (!function)
        return ~UINT64_C(0) >> (64 - 8 * size);

    if (function->ops->config_read)
        function->ops->config_read(function->opaque, offset, size);
    uint64_t value = pv_pci_config_load(function, offset, size);
    if (pci_touches(offset, size, PCI_STATUS, 1)) {
        pthread_mutex_lock(&root->irq_lock);
        if (function->intx_level)
            value |= (uint64_t)PCI_STATUS_INTERRUPT << 8 * (PCI_STATUS - offset);
        pthread_mutex_unlock(&root->irq_lock);
    }
    return value;
}

static void ecam_write(void *opaque, uint64_t ecam, unsigned size, uint64_t value)
{
    struct pci_root *root = opaque;
    unsigned offset;
    struct pv_pci_function *function = decode(root, ecam, size, &offset);
    if (!function)
        return;
    pthread_mutex_lock(&root->lock);
    for (unsigned i = 0; i < size; i++) {
        uint8_t mask = function->writable[offset + i];
        uint8_t *byte = &function->config[offset + i];
        *byte = (uint8_t)((*byte & ~mask) | ((value >> 8 * i) & mask));
    }
    config_changed(function, offset, size);
    if (function->port)
        pci_port_written(function->port, offset, size, value);
    pthread_mutex_unlock(&root->lock);
    if (function->ops->config_written)
        function->ops->config_written(function->opaque, offset, size);
}

static const struct pv_mmio_ops ecam_ops = {.read = ecam_read, .write = ecam_write};

uint8_t *pv_pci_config(struct pv_pci_function *function)
{
    return function->config;
}

uint64_t pv_pci_config_load(struct pv_pci_function *function, unsigned offset, unsigned size)
{
    uint64_t value = 0;
    pthread_mutex_lock(&function->bus->root->lock);
    memcpy(&value, function->config + offset, size);
    pthread_mutex_unlock(&function->bus->root->lock);
    return value;
}

void pv_pci_config_store(struct pv_pci_function *function, unsigned offset, unsigned size,
                         uint64_t value)
{
    pthread_mutex_lock(&function->bus->root->lock);
    memcpy(function->config + offset, &value, size);
    pthread_mutex_unlock(&function->bus->root->lock);
}

void pv_pci_set_writable(struct pv_pci_function *function, unsigned offset, unsigned size)
{
    memset(function->writable + offset, 0xff, size);
}

int pv_pci_add_capability(struct pv_pci_function *function, uint8_t id, const void *body,
                          size_t size, struct pv_error **err)
{
    unsigned at = function->next_capability;
    if (size < 2 || size > 256 - at)
        return pv_error_set(err, ENOSPC, "PCI %s: no room for capability %#x", function->ops->name,
                            id);
    uint8_t *config = function->config;
    config[at] = id;
    memcpy(config + at + 2, body, size - 2);
    config[function->last_capability ? function->last_capability + 1 : PCI_CAPABILITIES] =
        (uint8_t)at;
    config[PCI_STATUS] |= PCI_STATUS_CAPABILITIES;
    function->last_capability = at;
    function->next_capability = (unsigned)pv_align_up(at + size, 4);
    return (int)at;
}

/* ---- Functions ---- */

static void fill_header(struct pv_pci_function *function,
                        const struct pv_pci_function_config *config)
{
    uint8_t *c = function->config, *w = function->writable;
    pci_store16(c + PCI_VENDOR_ID, config->vendor);
    pci_store16(c + PCI_DEVICE_ID, config->device);
    c[PCI_REVISION] = config->revision;
    c[PCI_CLASS] = (uint8_t)config->class_code;
    pci_store16(c + PCI_CLASS + 1, (uint16_t)(config->class_code >> 8));
    pci_store16(c + PCI_SUBSYSTEM_VENDOR, config->subsystem_vendor);
    pci_store16(c + PCI_SUBSYSTEM, config->subsystem);
    c[PCI_INTERRUPT_PIN] = config->intx ? 1 : 0;

    pci_store16(w + PCI_COMMAND, PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER | PCI_COMMAND_PARITY |
                                     PCI_COMMAND_SERR | PCI_COMMAND_INTX_DISABLE);
    w[PCI_CACHE_LINE] = 0xff;
    w[PCI_INTERRUPT_LINE] = 0xff;
}

/* What sits behind a port is a PCI Express endpoint, and says so (7.5.3). */
static int add_express_capability(struct pv_pci_function *function, struct pv_error **err)
{
    uint8_t body[PCI_EXP_SIZE - 2] = {0};
    pci_store16(body + PCI_EXP_FLAGS - 2, PCI_EXP_VERSION | PCI_EXP_ENDPOINT << 4);
    pci_store16(body + PCI_EXP_DEVCAP - 2, PCI_EXP_DEVCAP_ROLE_BASED);
    body[PCI_EXP_LNKCAP - 2] = PCI_EXP_LINK & 0xff;
    body[PCI_EXP_LNKSTA - 2] = PCI_EXP_LINK & 0xff;
    int at = pv_pci_add_capability(function, PCI_CAP_EXP, body, sizeof(body) + 2, err);
    if (at < 0)
        return at;
    pci_store16(function->writable + at + PCI_EXP_DEVCTL, PCI_EXP_DEVCTL_WRITABLE);
    pci_store16(function->writable + at + PCI_EXP_LNKCTL, PCI_EXP_LNKCTL_WRITABLE);
    return 0;
}

static int choose_slot(const struct pv_pci_bus *bus, int slot, const char *name,
                       struct pv_error **err)
{
    const unsigned slots = bus->port ? 1 : PCI_SLOTS;
    if (slot >= (int)slots)
        return pv_error_set(err, EINVAL, "PCI %s: slot %d, want 0 to %u", name, slot, slots - 1);
    if (slot >= 0 && bus->slots[slot])
        return pv_error_set(err, EBUSY, "PCI %s: slot %d is taken by %s", name, slot,
                            bus->slots[slot]->ops->name);
    for (unsigned i = 0; slot < 0 && i < slots; i++)
        if (!bus->slots[i])
            slot = (int)i;
    return slot >= 0 ? slot : pv_error_set(err, ENOSPC, "PCI %s: all slots are taken", name);
}

int pv_pci_function_create(struct pv_pci_function **out, struct pv_pci_bus *bus, int slot,
                           const struct pv_pci_function_config *config,
                           const struct pv_pci_function_ops *ops, void *opaque,
                           struct pv_error **err)
{
    int chosen = choose_slot(bus, slot, ops->name, err);
    if (chosen < 0)
        return chosen;
    struct pv_pci_function *function = calloc(1, sizeof(*function));
    if (!function)
        return pv_error_set(err, ENOMEM, "PCI %s: out of memory", ops->name);
    function->bus = bus;
    function->slot = (unsigned)chosen;
    function->ops = ops;
    function->opaque = opaque;
    function->next_capability = PCI_FIRST_CAPABILITY;
    for (unsigned i = 0; i < PCI_BARS; i++)
        function->bars[i].mapped = UINT64_MAX;
    fill_header(function, config);
    int ret = 0;
    if (config->msix_vectors)
        ret = pci_msix_init(function, config->msix_bar, config->msix_vectors, err);
    if (ret >= 0 && bus->port)
        ret = add_express_capability(function, err);
    if (ret < 0) {
        pci_msix_finish(function);
        free(function);
        return ret;
    }
    pthread_mutex_lock(&bus->root->lock);
    pci_follow_bridge(function);
    bus->slots[chosen] = function;
    pthread_mutex_unlock(&bus->root->lock);
    *out = function;
    return 0;
}

void pv_pci_function_destroy(struct pv_pci_function *function)
{
    if (!function)
        return;
    struct pv_pci_bus *bus = function->bus;
    pthread_mutex_lock(&bus->root->lock);
    for (unsigned i = 0; i < PCI_BARS; i++)
        unmap_bar(function, &function->bars[i]);
    bus->slots[function->slot] = NULL;
    pthread_mutex_unlock(&bus->root->lock);
    pv_pci_set_intx(function, false);
    if (function->ops->destroy)
        function->ops->destroy(function->opaque);
    pci_msix_finish(function);
    free(function);
}

/* ---- The bus ---- */

static const struct pv_pci_function_ops host_bridge_ops = {.name = "pci-host-bridge"};

static int claim_addresses(struct pci_root *root, struct pv_error **err)
{
    const struct pv_pci_bus_config *config = &root->config;
    int ret = pv_as_add_window(config->as, config->mem32_base, config->mem32_size, err);
    if (ret >= 0 && config->mem64_size)
        ret = pv_as_add_window(config->as, config->mem64_base, config->mem64_size, err);
    return ret < 0 ? ret
                   : pv_as_add_mmio(config->as, config->ecam_base, config->ecam_size, &ecam_ops,
                                    root, "pci-ecam", err);
}

int pv_pci_bus_create(struct pv_pci_bus **out, const struct pv_pci_bus_config *config,
                      struct pv_error **err)
{
    struct pci_root *root = calloc(1, sizeof(*root));
    if (!root)
        return pv_error_set(err, ENOMEM, "PCI bus: out of memory");
    root->config = *config;
    root->bus.root = root;
    pthread_mutex_init(&root->lock, NULL);
    pthread_mutex_init(&root->irq_lock, NULL);
    const struct pv_pci_function_config bridge = {
        .vendor = HOST_BRIDGE_VENDOR,
        .device = HOST_BRIDGE_DEVICE,
        .class_code = HOST_BRIDGE_CLASS,
    };
    struct pv_pci_function *function;
    int ret =
        pv_pci_function_create(&function, &root->bus, 0, &bridge, &host_bridge_ops, NULL, err);
    if (ret >= 0)
        ret = claim_addresses(root, err);
    if (ret < 0) {
        root->config.ecam_size = 0; /* it is not ours to remove */
        pv_pci_bus_destroy(&root->bus);
        return ret;
    }
    *out = &root->bus;
    return 0;
}

void pv_pci_bus_destroy(struct pv_pci_bus *bus)
{
    if (!bus)
        return;
    struct pci_root *root = bus->root;
    if (root->config.ecam_size)
        pv_as_remove(root->config.as, root->config.ecam_base);
    for (unsigned slot = 0; slot < PCI_SLOTS; slot++)
        pv_pci_function_destroy(bus->slots[slot]);
    pthread_mutex_destroy(&root->lock);
    pthread_mutex_destroy(&root->irq_lock);
    free(root);
}

static void reset_function(struct pv_pci_function *function)
{
    struct pci_root *root = function->bus->root;
    if (function->ops->reset)
        function->ops->reset(function->opaque);
    pthread_mutex_lock(&root->lock);
    pci_clear_config(function);
    if (function->port)
        pci_port_power_on(function->port);
    pthread_mutex_unlock(&root->lock);
    pv_pci_set_intx(function, false);
}

void pv_pci_bus_reset(struct pv_pci_bus *bus)
{
    for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
        struct pv_pci_function *function = bus->slots[slot];
        if (!function)
            continue;
        if (function->port && function->port->bus.slots[0])
            reset_function(function->port->bus.slots[0]);
        reset_function(function);
    }
}
