/* SPDX-License-Identifier: MIT */
/*
 * MSI-X, PCI Local Bus 3.0 section 6.8.2: a table of (address, data, mask) in a BAR, and beside it
 * the pending bits of vectors that fired while masked.
 */
#include "base/error.h"
#include "base/util.h"
#include "pci/pci_impl.h"

#include <errno.h>
#include <string.h>

#define ENTRY_SIZE     16u
#define CONTROL        3u /* word of an entry */
#define CONTROL_MASKED 1u

/* QEMU's place for the PBA in a 4 KiB BAR; bigger tables push it up. */
#define PBA_OFFSET UINT64_C(0x800)

static bool is_pending(const struct pci_msix *msix, unsigned vector)
{
    return msix->pending[vector / 64] >> vector % 64 & 1;
}

static void set_pending(struct pci_msix *msix, unsigned vector, bool pending)
{
    uint64_t bit = UINT64_C(1) << vector % 64;
    if (pending)
        msix->pending[vector / 64] |= bit;
    else
        msix->pending[vector / 64] &= ~bit;
}

/*
 * Sends a vector, or leaves it pending while it is masked, or while the function may not write to
 * memory, which is what a message is. irq_lock held.
 */
static void fire(struct pv_pci_function *function, unsigned vector)
{
    struct pci_msix *msix = &function->msix;
    const struct pci_msix_entry *entry = &msix->table[vector];
    if (!function->master || msix->mask_all || (entry->word[CONTROL] & CONTROL_MASKED)) {
        set_pending(msix, vector, true);
        return;
    }
    set_pending(msix, vector, false);
    uint64_t address = (uint64_t)entry->word[1] << 32 | entry->word[0];
    pv_msi_send(&function->bus->root->config.msi, function->requester, address, entry->word[2]);
}

/* Sends what was pending and is not masked any more. irq_lock held. */
static void fire_pending(struct pv_pci_function *function, unsigned first, unsigned count)
{
    struct pci_msix *msix = &function->msix;
    for (unsigned vector = first; msix->enabled && vector < first + count; vector++)
        if (is_pending(msix, vector))
            fire(function, vector);
}

bool pv_pci_msix_notify(struct pv_pci_function *function, unsigned vector)
{
    pthread_mutex_lock(&function->bus->root->irq_lock);
    bool enabled = function->msix.enabled;
    if (enabled && vector < function->msix.count)
        fire(function, vector);
    pthread_mutex_unlock(&function->bus->root->irq_lock);
    return enabled;
}

bool pv_pci_msix_enabled(const struct pv_pci_function *function)
{
    pthread_mutex_lock(&function->bus->root->irq_lock);
    bool enabled = function->msix.enabled;
    pthread_mutex_unlock(&function->bus->root->irq_lock);
    return enabled;
}

void pci_msix_control(struct pv_pci_function *function)
{
    struct pci_msix *msix = &function->msix;
    if (!msix->count)
        return;
    uint16_t control = pci_load16(function->config + msix->capability + 2);
    pthread_mutex_lock(&function->bus->root->irq_lock);
    msix->enabled = control & PCI_MSIX_ENABLE;
    msix->mask_all = control & PCI_MSIX_MASK_ALL;
    fire_pending(function, 0, msix->count);
    pthread_mutex_unlock(&function->bus->root->irq_lock);
}

void pci_msix_release(struct pv_pci_function *function)
{
    fire_pending(function, 0, function->msix.count);
}

/* ---- The BAR ---- */

/* One byte of table or PBA. irq_lock held. */
static uint8_t load_byte(const struct pci_msix *msix, uint64_t offset)
{
    if (offset < (uint64_t)msix->count * ENTRY_SIZE)
        return (uint8_t)(msix->table[offset / ENTRY_SIZE].word[offset % ENTRY_SIZE / 4] >>
                         offset % 4 * 8);
    if (offset >= msix->pba_offset && offset - msix->pba_offset < (msix->count + 63) / 64 * 8) {
        uint64_t at = offset - msix->pba_offset;
        return (uint8_t)(msix->pending[at / 8] >> at % 8 * 8);
    }
    return 0;
}

static uint64_t bar_read(void *opaque, uint64_t offset, unsigned size)
{
    struct pv_pci_function *function = opaque;
    uint64_t value = 0;
    pthread_mutex_lock(&function->bus->root->irq_lock);
    for (unsigned i = 0; i < size; i++)
        value |= (uint64_t)load_byte(&function->msix, offset + i) << 8 * i;
    pthread_mutex_unlock(&function->bus->root->irq_lock);
    return value;
}

static void bar_write(void *opaque, uint64_t offset, unsigned size, uint64_t value)
{
    struct pv_pci_function *function = opaque;
    struct pci_msix *msix = &function->msix;
    pthread_mutex_lock(&function->bus->root->irq_lock);
    for (unsigned i = 0; i < size; i++, offset++, value >>= 8) {
        if (offset >= (uint64_t)msix->count * ENTRY_SIZE)
            break;
        uint32_t *word = &msix->table[offset / ENTRY_SIZE].word[offset % ENTRY_SIZE / 4];
        unsigned shift = offset % 4 * 8;
        *word = (*word & ~(UINT32_C(0xff) << shift)) | (uint32_t)(value & 0xff) << shift;
        if (offset % ENTRY_SIZE == CONTROL * 4)
            fire_pending(function, (unsigned)(offset / ENTRY_SIZE), 1);
    }
    pthread_mutex_unlock(&function->bus->root->irq_lock);
}

static const struct pv_mmio_ops bar_ops = {.read = bar_read, .write = bar_write};

/* ---- Setting up ---- */

int pci_msix_init(struct pv_pci_function *function, unsigned bar, unsigned vectors,
                  struct pv_error **err)
{
    struct pci_msix *msix = &function->msix;
    if (vectors > PCI_MSIX_MAX_VECTORS)
        return pv_error_set(err, EINVAL, "PCI: %u MSI-X vectors, at most %u", vectors,
                            PCI_MSIX_MAX_VECTORS);
    msix->table = calloc(vectors, sizeof(*msix->table));
    msix->pending = calloc((vectors + 63) / 64, sizeof(*msix->pending));
    if (!msix->table || !msix->pending)
        return pv_error_set(err, ENOMEM, "PCI: out of memory");
    msix->count = vectors;
    msix->pba_offset = PBA_OFFSET;
    uint64_t size = PV_GUEST_PAGE;
    while (msix->pba_offset < vectors * ENTRY_SIZE) {
        msix->pba_offset *= 2;
        size *= 2;
    }
    pci_msix_reset(function);

    int ret = pv_pci_add_bar(function, bar, size, false, false, &bar_ops, function, err);
    if (ret < 0)
        return ret;
    uint8_t body[10] = {0};
    pci_store16(body, (uint16_t)(vectors - 1));
    body[2] = (uint8_t)bar; /* the table is at offset 0 */
    pci_store16(body + 6, (uint16_t)(msix->pba_offset | bar));
    ret = pv_pci_add_capability(function, PCI_CAP_MSIX, body, sizeof(body) + 2, err);
    if (ret < 0)
        return ret;
    msix->capability = (unsigned)ret;
    pci_store16(function->writable + ret + 2, PCI_MSIX_ENABLE | PCI_MSIX_MASK_ALL);
    return 0;
}

void pci_msix_finish(struct pv_pci_function *function)
{
    free(function->msix.table);
    free(function->msix.pending);
}

void pci_msix_reset(struct pv_pci_function *function)
{
    struct pci_msix *msix = &function->msix;
    pthread_mutex_lock(&function->bus->root->irq_lock);
    msix->enabled = msix->mask_all = false;
    for (unsigned i = 0; i < msix->count; i++)
        msix->table[i] = (struct pci_msix_entry){.word[CONTROL] = CONTROL_MASKED};
    if (msix->count)
        memset(msix->pending, 0, (msix->count + 63) / 64 * sizeof(*msix->pending));
    pthread_mutex_unlock(&function->bus->root->irq_lock);
}
