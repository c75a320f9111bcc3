/* SPDX-License-Identifier: MIT */
/* What the files of pci/ share. */
#ifndef PV_PCI_PCI_IMPL_H
#define PV_PCI_PCI_IMPL_H

#include "memory/address_space.h"
#include "pci/pci.h"

#include <pthread.h>

#define PCI_SLOTS       32u
#define PCI_BARS        6u
#define PCI_CONFIG_SIZE 4096u

/* Type 0 header, PCI Local Bus 3.0 section 6.1. */
#define PCI_VENDOR_ID        0x00u
#define PCI_DEVICE_ID        0x02u
#define PCI_COMMAND          0x04u
#define PCI_STATUS           0x06u
#define PCI_REVISION         0x08u
#define PCI_CLASS            0x09u
#define PCI_CACHE_LINE       0x0cu
#define PCI_BAR0             0x10u
#define PCI_SUBSYSTEM_VENDOR 0x2cu
#define PCI_SUBSYSTEM        0x2eu
#define PCI_CAPABILITIES     0x34u
#define PCI_INTERRUPT_LINE   0x3cu
#define PCI_INTERRUPT_PIN    0x3du
#define PCI_FIRST_CAPABILITY 0x40u

#define PCI_COMMAND_MEMORY       0x0002u
#define PCI_COMMAND_MASTER       0x0004u
#define PCI_COMMAND_PARITY       0x0040u
#define PCI_COMMAND_SERR         0x0100u
#define PCI_COMMAND_INTX_DISABLE 0x0400u
#define PCI_STATUS_INTERRUPT     0x0008u
#define PCI_STATUS_CAPABILITIES  0x0010u

#define PCI_CAP_MSIX         0x11u
#define PCI_MSIX_ENABLE      0x8000u
#define PCI_MSIX_MASK_ALL    0x4000u
#define PCI_MSIX_MAX_VECTORS 2048u

struct pci_bar {
    uint64_t size; /* 0: not there */
    bool is64;
    const struct pv_mmio_ops *ops; /* or, of a window, */
    void (*moved)(void *opaque, uint64_t address);
    void *opaque;
    uint64_t mapped; /* where the address space has it, or UINT64_MAX */
};

struct pci_msix_entry {
    uint32_t word[4]; /* address low, address high, data, control */
};

struct pci_msix {
    unsigned count; /* 0: no MSI-X */
    unsigned capability;
    uint64_t pba_offset;
    struct pci_msix_entry *table;
    uint64_t *pending;
    bool enabled, mask_all;
};

struct pv_pci_function {
    struct pv_pci_bus *bus;
    unsigned slot;
    const struct pv_pci_function_ops *ops;
    void *opaque;

    /* Under bus->lock. */
    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t writable[PCI_CONFIG_SIZE]; /* mask of the bits that the guest may change */
    unsigned last_capability;
    unsigned next_capability;
    struct pci_bar bars[PCI_BARS];

    /* Under bus->irq_lock. */
    struct pci_msix msix;
    bool master;        /* Command.BusMaster: it may send messages */
    bool intx_level;    /* what the device drives */
    bool intx_disabled; /* Command.InterruptDisable */
};

/*
 * Order of locks: a device's own, then irq_lock; `lock` is never held while calling a device, and
 * irq_lock is taken inside it.
 */
struct pv_pci_bus {
    struct pv_pci_bus_config config;
    pthread_mutex_t lock;     /* configuration space, BAR mappings */
    pthread_mutex_t irq_lock; /* MSI-X tables, INTx levels */
    struct pv_pci_function *slots[PCI_SLOTS];
    uint32_t intx[4]; /* slots that drive each wire */
};

static inline uint16_t pci_load16(const uint8_t *p)
{
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline void pci_store16(uint8_t *p, uint16_t value)
{
    p[0] = (uint8_t)value;
    p[1] = (uint8_t)(value >> 8);
}

static inline uint32_t pci_load32(const uint8_t *p)
{
    return pci_load16(p) | (uint32_t)pci_load16(p + 2) << 16;
}

/* msix.c */
int pci_msix_init(struct pv_pci_function *function, unsigned bar, unsigned vectors,
                  struct pv_error **err);
/* Command.BusMaster is now `master`; bus->lock held. */
void pci_msix_set_master(struct pv_pci_function *function, bool master);
void pci_msix_finish(struct pv_pci_function *function);
void pci_msix_reset(struct pv_pci_function *function);
/* The message control word was written; bus->lock held. */
void pci_msix_control(struct pv_pci_function *function);

#endif
