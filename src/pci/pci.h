/* SPDX-License-Identifier: MIT */
/*
 * PCI Express functions and the bus they sit on: configuration space, BARs, MSI-X, INTx
 * (PCI Express Base 5.0, PCI Local Bus 3.0). The bus is reached through ECAM; machine/ decides
 * where ECAM, the windows and the interrupt wires are.
 */
#ifndef PV_PCI_PCI_H
#define PV_PCI_PCI_H

#include "base/irq.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_address_space;
struct pv_error;
struct pv_mmio_ops;
struct pv_pci_bus;
struct pv_pci_function;
struct pv_pci_port;
struct pv_record;

struct pv_pci_bus_config {
    struct pv_address_space *as;
    uint64_t ecam_base, ecam_size;   /* 1 MiB a bus */
    uint64_t mem32_base, mem32_size; /* window for 32-bit BARs */
    uint64_t mem64_base, mem64_size; /* window for 64-bit BARs; size 0: none */
    struct pv_irq intx[4];           /* wire of slot s, pin p (1..4): intx[(s + p - 1) % 4] */
    struct pv_msi_target msi;        /* device_id is the requester ID: bus << 8 | devfn */
};

int pv_pci_bus_create(struct pv_pci_bus **out, const struct pv_pci_bus_config *config,
                      struct pv_error **err);
/* Also destroys the functions still plugged in. */
void pv_pci_bus_destroy(struct pv_pci_bus *bus);

/* As a machine reset does: configuration registers and devices go back to their initial state. */
void pv_pci_bus_reset(struct pv_pci_bus *bus);

/*
 * While quiet, functions begin no new work; whether all have also done what they had begun. For
 * snapshots, as what follows.
 */
bool pv_pci_bus_quiet(struct pv_pci_bus *bus, bool quiet);

/*
 * The state of the root bus, its ports and functions. While they are quiet and no vCPU executes. A
 * card in a port's slot is refused.
 */
void pv_pci_bus_record(struct pv_pci_bus *bus, struct pv_record *record);

struct pv_pci_function_config {
    uint16_t vendor, device, subsystem_vendor, subsystem;
    uint32_t class_code; /* 24 bits */
    uint8_t revision;
    unsigned msix_vectors; /* 0: no MSI-X; the table and PBA take BAR `msix_bar` */
    unsigned msix_bar;
    bool intx;
};

struct pv_pci_function_ops {
    const char *name;
    /*
     * Secondary effects of config writes beyond what the core does, and a chance to fill in bytes
     * that are about to be read. Called without any PCI lock. May be NULL.
     */
    void (*config_read)(void *opaque, unsigned offset, unsigned size);
    void (*config_written)(void *opaque, unsigned offset, unsigned size);
    void (*reset)(void *opaque);
    /*
     * As pv_pci_bus_quiet() and pv_pci_bus_record(), of what is behind the function. Called without
     * any PCI lock. NULL for functions that have no state beside what pci/ keeps.
     */
    bool (*quiet)(void *opaque, bool quiet);
    void (*record)(void *opaque, struct pv_record *record);
    void (*destroy)(void *opaque);
};

/*
 * Plugs a function into the first free slot (slot < 0) or the given one, as function 0. On the root
 * bus before the guest runs; on a port's, whose only slot is 0, until pv_pci_port_insert().
 */
int pv_pci_function_create(struct pv_pci_function **out, struct pv_pci_bus *bus, int slot,
                           const struct pv_pci_function_config *config,
                           const struct pv_pci_function_ops *ops, void *opaque,
                           struct pv_error **err);
void pv_pci_function_destroy(struct pv_pci_function *function);

/* Its slot on its bus. */
unsigned pv_pci_function_slot(const struct pv_pci_function *function);

/* A memory BAR backed by MMIO handlers. Size is a power of two; before the guest sees it. */
int pv_pci_add_bar(struct pv_pci_function *function, unsigned bar, uint64_t size, bool is64,
                   bool prefetchable, const struct pv_mmio_ops *ops, void *opaque,
                   struct pv_error **err);

/*
 * A 64-bit prefetchable BAR whose owner fills its place in the address space itself, with memory
 * that comes and goes. `moved` is told each time the guest puts it somewhere, UINT64_MAX for
 * nowhere: before it returns, nothing of it is at the old place any more. Called with the bus
 * locked, on a vCPU's thread or the bus's owner's. Size and time as for pv_pci_add_bar().
 */
int pv_pci_add_window(struct pv_pci_function *function, unsigned bar, uint64_t size,
                      void (*moved)(void *opaque, uint64_t address), void *opaque,
                      struct pv_error **err);

/* Where the guest put a BAR, or UINT64_MAX while it is not decoded. */
uint64_t pv_pci_bar_address(const struct pv_pci_function *function, unsigned bar);

/* Appends a capability of `size` bytes (with its two-byte header) and returns its offset. */
int pv_pci_add_capability(struct pv_pci_function *function, uint8_t id, const void *body,
                          size_t size, struct pv_error **err);

/* Config space, for capabilities whose fields the owner keeps; before the guest sees it. */
uint8_t *pv_pci_config(struct pv_pci_function *function);

/* The same from callbacks while the guest runs: 1 to 8 bytes inside the 4 KiB, under the lock. */
uint64_t pv_pci_config_load(struct pv_pci_function *function, unsigned offset, unsigned size);
void pv_pci_config_store(struct pv_pci_function *function, unsigned offset, unsigned size,
                         uint64_t value);

/* Lets the guest write [offset, offset + size). Before the guest sees it. */
void pv_pci_set_writable(struct pv_pci_function *function, unsigned offset, unsigned size);

/* Sends an MSI-X vector (or marks it pending while masked). False when MSI-X is off. */
bool pv_pci_msix_notify(struct pv_pci_function *function, unsigned vector);
bool pv_pci_msix_enabled(const struct pv_pci_function *function);

/*
 * Command.BusMaster, of the port above too: whether the function may access memory. Its owner sees
 * to that; MSI-X waits. config_written() is told of each change as of one of the Command register.
 */
bool pv_pci_is_master(const struct pv_pci_function *function);

/* Drives INTA#; follows Command.InterruptDisable and the status bit. */
void pv_pci_set_intx(struct pv_pci_function *function, bool level);

/*
 * A root port with a slot that a function can be put into and taken out of while the guest runs, by
 * native PCI Express hotplug. It lives as long as the bus.
 */
struct pv_pci_port_events {
    /*
     * The guest has let go of the function, as it was asked to, and does not see it any more:
     * pv_pci_port_clear() is due. On any thread, without a lock.
     */
    void (*released)(void *opaque);
    void *opaque;
};

/* `number` is what people call the slot: 1 to 255, its own. Before the guest runs. */
int pv_pci_port_create(struct pv_pci_port **out, struct pv_pci_bus *bus, int slot, unsigned number,
                       const struct pv_pci_port_events *events, struct pv_error **err);

/* The bus behind the port. */
struct pv_pci_bus *pv_pci_port_bus(struct pv_pci_port *port);

/* Shows the guest the function that was plugged into the port's bus. Any thread. */
void pv_pci_port_insert(struct pv_pci_port *port);

/*
 * Presses the slot's attention button: the guest is asked to let go of the function. What follows
 * is events->released(), sooner or later or never; at once when the slot's power is off. False when
 * the guest does not listen to the button. Any thread.
 */
bool pv_pci_port_press(struct pv_pci_port *port);

/* Takes the function out without asking: the guest sees that it is gone. Any thread. */
void pv_pci_port_pull(struct pv_pci_port *port);

/* Destroys a function that is out. While no vCPU executes. */
void pv_pci_port_clear(struct pv_pci_port *port);

#endif
