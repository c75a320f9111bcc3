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

/* Registers of both headers, PCI Local Bus 3.0 section 6.1. */
#define PCI_VENDOR_ID        0x00u
#define PCI_DEVICE_ID        0x02u
#define PCI_COMMAND          0x04u
#define PCI_STATUS           0x06u
#define PCI_REVISION         0x08u
#define PCI_CLASS            0x09u
#define PCI_CACHE_LINE       0x0cu
#define PCI_HEADER_TYPE      0x0eu
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

/* The PCI Express capability, PCI Express Base 5.0 section 7.5.3; offsets are from its start. */
#define PCI_CAP_EXP               0x10u
#define PCI_EXP_SIZE              0x3cu
#define PCI_EXP_FLAGS             0x02u
#define PCI_EXP_DEVCAP            0x04u
#define PCI_EXP_DEVCTL            0x08u
#define PCI_EXP_LNKCAP            0x0cu
#define PCI_EXP_LNKCTL            0x10u
#define PCI_EXP_LNKSTA            0x12u
#define PCI_EXP_VERSION           2u
#define PCI_EXP_ENDPOINT          0u
#define PCI_EXP_ROOT_PORT         4u
#define PCI_EXP_DEVCAP_ROLE_BASED 0x8000u
#define PCI_EXP_DEVCTL_WRITABLE   0x70ffu /* error reporting, ordering, sizes; no snoop bits */
#define PCI_EXP_LNKCTL_WRITABLE   0x00c8u /* boundary, common clock, extended synch */
#define PCI_EXP_LINK              0x11u   /* speed 2.5 GT/s, width x1: every link has these */

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
    struct pv_pci_port *port; /* set when it is one */
    const struct pv_pci_function_ops *ops;
    void *opaque;

    /* Under the root's lock. */
    uint8_t config[PCI_CONFIG_SIZE];
    uint8_t writable[PCI_CONFIG_SIZE]; /* mask of the bits that the guest may change */
    unsigned last_capability;
    unsigned next_capability;
    struct pci_bar bars[PCI_BARS];

    /* Under its irq_lock. */
    struct pci_msix msix;
    bool master;        /* Command.BusMaster, of ports above too: it may send messages */
    uint16_t requester; /* bus << 8 | slot << 3: who messages are from */
    bool intx_level;    /* what the device drives */
    bool intx_disabled; /* Command.InterruptDisable */
};

/* The root bus, or the one behind a port, which holds a single function in slot 0. */
struct pv_pci_bus {
    struct pci_root *root;
    struct pv_pci_port *port; /* NULL: the root bus */
    struct pv_pci_function *slots[PCI_SLOTS];
};

/* What a change of a port has led to and is yet to be done, without the lock. */
struct pci_port_due {
    bool card_reset;   /* the link went down */
    bool card_command; /* the port's Command register is as good as the card's */
    bool released;
};

struct pv_pci_port {
    struct pv_pci_function *function;
    struct pv_pci_bus bus;
    struct pv_pci_port_events events;
    unsigned express; /* where the capability is */

    /* Under the root's lock. */
    bool present; /* a card is in the slot */
    bool wanted;  /* and has been asked for */
    bool link_up;
    bool message; /* the conditions of an interrupt message were met when last looked at */
    struct pci_port_due due;
};

/*
 * Order of locks: a device's own, then irq_lock; `lock` is never held while calling a device, and
 * irq_lock is taken inside it.
 */
struct pci_root {
    struct pv_pci_bus bus; /* first */
    struct pv_pci_bus_config config;
    pthread_mutex_t lock;     /* slots, configuration space, BAR mappings */
    pthread_mutex_t irq_lock; /* MSI-X tables, INTx levels */
    uint64_t intx[4];         /* who drives each wire: bits 31:0 slots, 63:32 what is behind them */
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

/* bus.c */
static inline bool pci_touches(unsigned offset, unsigned size, unsigned reg, unsigned reg_size)
{
    return offset < reg + reg_size && reg < offset + size;
}

/* Brings BARs in line with configuration space. Lock held. */
void pci_update_maps(struct pci_root *root);
/* What lies above a function changed: whether it may send messages, and as whom. Lock held. */
void pci_follow_bridge(struct pv_pci_function *function);
/* Configuration space as at power-on. Lock held; ops->reset is called without. */
void pci_clear_config(struct pv_pci_function *function);

/* Configuration space came from a record: what follows from it but for maps. Lock held. */
void pci_config_loaded(struct pv_pci_function *function);

/* root_port.c; lock held but for the last */
/* The guest wrote `value` there; bits that it cannot change have been kept. */
void pci_port_written(struct pv_pci_port *port, unsigned offset, unsigned size, uint64_t value);
bool pci_port_link_is_up(const struct pv_pci_port *port);
/* Whether requests for a range of addresses reach the bus behind it. */
bool pci_port_forwards(const struct pv_pci_port *port, uint64_t address, uint64_t size);
/* Whether requests from there reach memory. */
bool pci_port_is_master(const struct pv_pci_port *port);
/* The bus behind it, or NULL while its link is down, or when configuration requests for bus number
 * `bus` are not for it. */
struct pv_pci_bus *pci_port_bus(struct pv_pci_port *port, unsigned bus);
uint8_t pci_port_secondary(const struct pv_pci_port *port);
/* After pci_clear_config(): the state of the slot at power-on. */
void pci_port_power_on(struct pv_pci_port *port);

/* The port's registers that follow from its slot, from a record of an empty one. */
void pci_port_load_status(struct pv_pci_port *port, const uint8_t *config);

/* msix.c */
int pci_msix_init(struct pv_pci_function *function, unsigned bar, unsigned vectors,
                  struct pv_error **err);
/* Sends what was pending, if it may be sent now; irq_lock held. */
void pci_msix_release(struct pv_pci_function *function);
void pci_msix_finish(struct pv_pci_function *function);
void pci_msix_reset(struct pv_pci_function *function);
/* The message control word was written; lock held. */
void pci_msix_control(struct pv_pci_function *function);

#endif
