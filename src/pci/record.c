/* SPDX-License-Identifier: MIT */
/*
 * A bus in a snapshot: first what pci/ keeps of each function, then, when BARs are where they were
 * and functions may master the bus again, what is behind them.
 *
 * Of configuration space only what a guest may change is loaded, and of a port also the status that
 * follows from its slot; the rest says what the function is, and has to be the same.
 */
#include "base/record.h"
#include "base/error.h"
#include "base/util.h"
#include "pci/pci_impl.h"

#include <errno.h>
#include <string.h>

bool pv_pci_bus_quiet(struct pv_pci_bus *bus, bool quiet)
{
    bool done = true;

    for (unsigned slot = 0; slot < PCI_SLOTS; slot++) {
        struct pv_pci_function *function = bus->slots[slot];
        if (function && function->port)
            function = function->port->bus.slots[0];
        if (function && function->ops->quiet)
            done &= function->ops->quiet(function->opaque, quiet);
    }
    return done;
}

static void record_config(struct pv_pci_function *function, struct pv_record *record)
{
    uint8_t stored[PCI_CONFIG_SIZE];

    memcpy(stored, function->config, sizeof(stored));
    pv_record_bytes(record, stored, sizeof(stored));
    if (!pv_record_ok(record))
        return;
    if (memcmp(stored, function->config, PCI_COMMAND) != 0) {
        pv_record_fail(record, EINVAL, "slot %u: %04x:%04x in the snapshot, %04x:%04x here",
                       function->slot, pci_load16(stored), pci_load16(stored + PCI_DEVICE_ID),
                       pci_load16(function->config), pci_load16(function->config + PCI_DEVICE_ID));
        return;
    }
    for (unsigned i = 0; i < PCI_CONFIG_SIZE; i++) {
        uint8_t mask = function->writable[i];
        function->config[i] = (uint8_t)((function->config[i] & ~mask) | (stored[i] & mask));
    }
    if (function->port)
        pci_port_load_status(function->port, stored);
}

static void record_msix(struct pv_pci_function *function, struct pv_record *record)
{
    struct pci_msix *msix = &function->msix;

    pv_record_same(record, msix->count, "the number of MSI-X vectors");
    for (unsigned i = 0; i < msix->count; i++)
        for (unsigned j = 0; j < PV_ARRAY_SIZE(msix->table[i].word); j++)
            pv_record_u32(record, &msix->table[i].word[j]);
    for (unsigned i = 0; i < (msix->count + 63) / 64; i++)
        pv_record_u64(record, &msix->pending[i]);
    pv_record_bool(record, &msix->enabled);
    pv_record_bool(record, &msix->mask_all);
    /* Vectors that are not there can be pending in a file only. */
    if (msix->count % 64)
        msix->pending[msix->count / 64] &= (UINT64_C(1) << msix->count % 64) - 1;
}

/* What pci/ keeps of the function. Lock held. */
static void record_function(struct pv_pci_function *function, struct pv_record *record)
{
    pv_record_begin(record, 1, "pci %u", function->slot);
    if (function->port && function->port->bus.slots[0])
        pv_record_fail(record, ENOTSUP,
                       "a device that was attached while the VM ran cannot be part of a "
                       "snapshot; detach it first");
    record_config(function, record);
    pthread_mutex_lock(&function->bus->root->irq_lock);
    record_msix(function, record);
    pv_record_bool(record, &function->intx_level);
    pthread_mutex_unlock(&function->bus->root->irq_lock);
    if (function->port)
        pv_record_bool(record, &function->port->message);
    pv_record_end(record);
}

void pv_pci_bus_record(struct pv_pci_bus *bus, struct pv_record *record)
{
    struct pci_root *root = bus->root;

    pthread_mutex_lock(&root->lock);
    for (unsigned slot = 0; slot < PCI_SLOTS && pv_record_ok(record); slot++)
        if (bus->slots[slot])
            record_function(bus->slots[slot], record);
    for (unsigned slot = 0; slot < PCI_SLOTS && pv_record_loading(record); slot++)
        if (bus->slots[slot])
            pci_config_loaded(bus->slots[slot]);
    if (pv_record_loading(record))
        pci_update_maps(root);
    pthread_mutex_unlock(&root->lock);

    for (unsigned slot = 0; slot < PCI_SLOTS && pv_record_ok(record); slot++)
        if (bus->slots[slot] && bus->slots[slot]->ops->record)
            bus->slots[slot]->ops->record(bus->slots[slot]->opaque, record);
}
