/* SPDX-License-Identifier: MIT */
/*
 * The machine: RAM, GIC, timers, PSCI, the PrimeCells, the PCI bus and the virtio-mmio slots, wired
 * as QEMU's `virt` board, around an engine that executes the guest.
 */
#ifndef PV_MACHINE_MACHINE_H
#define PV_MACHINE_MACHINE_H

#include "engine/engine.h"

#include <stdbool.h>
#include <stdint.h>

struct pv_address_space;
struct pv_buffer;
struct pv_chardev;
struct pv_error;
struct pv_loop;
struct pv_machine;
struct pv_pci_bus;
struct pv_record;
struct pv_virtio_mmio_bank;

#define PV_MACHINE_MIN_RAM (UINT64_C(64) << 20)
#define PV_MACHINE_MAX_RAM (UINT64_C(255) << 30) /* up to the high block at 256 GiB */

/* What the guest does to the whole. All on the loop's thread. */
struct pv_machine_events {
    void (*powered_off)(void *opaque);
    /* The guest asked for a reset; the machine has done it when this is called. */
    void (*reset)(void *opaque);
    /* PV_ACTION_PAUSE is due. NULL: it is not possible. */
    void (*pause)(void *opaque);
    /* The machine cannot go on. `message` is a person's line, valid during the call. */
    void (*fatal)(void *opaque, const char *message);
    void *opaque;
};

/* What turns PCI functions' messages into interrupts. */
enum pv_machine_msi {
    PV_MSI_ITS,
    PV_MSI_V2M,
};

/* What becomes of a machine whose guest is lost. */
enum pv_machine_action {
    PV_ACTION_UNSET, /* nobody watches */
    PV_ACTION_NONE,  /* a line in the log */
    PV_ACTION_RESET,
    PV_ACTION_POWEROFF,
    PV_ACTION_PAUSE, /* it stands still, for somebody to look at */
};

struct pv_machine_config {
    struct pv_loop *loop;        /* outlives the machine */
    struct pv_address_space *as; /* empty; outlives the machine */
    const struct pv_engine_ops *engine;
    unsigned vcpus;
    enum pv_machine_msi msi;
    enum pv_machine_action watchdog; /* unset: there is none */
    uint64_t ram_size;
    struct pv_chardev *uart; /* or NULL; outlives the machine */
    const char *kernel;      /* paths and strings are copied; NULL only with firmware */
    const char *initrd;      /* or NULL */
    const char *append;      /* or NULL */
    const char *dtb;         /* a device tree to use instead of the machine's own, or NULL */
    bool empty;              /* memory stays zeroes, as pv_machine_prepare() wants it */
    /*
     * Firmware to start in flash instead of the kernel, which it is handed then; or NULL. Its
     * variables are kept in `vars` (NULL: they go with the machine), which start as a copy of
     * `vars_template` (NULL: blank). `acpi`: the guest gets ACPI tables instead of a device tree.
     */
    const char *firmware, *vars, *vars_template;
    bool acpi;
    struct pv_machine_events events;
    struct pv_engine_watch watch;
};

/* Loads the kernel too: whatever is wrong with it shows here. */
int pv_machine_create(struct pv_machine **out, const struct pv_machine_config *config,
                      struct pv_error **err);

/* Powers the first vCPU on. The loop has to run then. */
int pv_machine_start(struct pv_machine *machine, struct pv_error **err);

/* Instead of that, for a machine that goes on where another was: it is paused, and no vCPU is on.
 */
int pv_machine_prepare(struct pv_machine *machine, struct pv_error **err);

/* Stops the vCPUs; devices stay. Destroying does it too. On the loop's thread. */
void pv_machine_stop(struct pv_machine *machine);

/*
 * Stops the vCPUs and their counter, until as many resumes: the guest sees no time pass. On the
 * loop's thread.
 */
void pv_machine_pause(struct pv_machine *machine);
void pv_machine_resume(struct pv_machine *machine);

/*
 * While quiet, devices take no new requests of the guest's; whether they have also ended those that
 * they had taken. On the loop's thread, which has to run for that.
 */
bool pv_machine_quiet(struct pv_machine *machine, bool quiet);

/*
 * Saves or loads the state of everything but memory and disks; while paused and quiet. Loading is
 * for a machine that pv_machine_prepare() started and whose memory has been filled. One that has
 * failed to load can only be destroyed.
 */
void pv_machine_record(struct pv_machine *machine, struct pv_record *record);

/* Also destroys the devices on its buses. NULL is fine. */
void pv_machine_destroy(struct pv_machine *machine);

/* Where devices are plugged in, before the start. */
struct pv_pci_bus *pv_machine_pci(struct pv_machine *machine);
struct pv_virtio_mmio_bank *pv_machine_virtio_mmio(struct pv_machine *machine);
struct pv_engine *pv_machine_engine(struct pv_machine *machine);

/* Does it, on the loop's thread. Any thread. */
void pv_machine_act(struct pv_machine *machine, enum pv_machine_action action);

/* It cannot go on: its `fatal` event comes, on the loop's thread. Any thread. */
void pv_machine_fail(struct pv_machine *machine, const char *message);

/*
 * What firmware is to boot from, in the words of its file (vm/boot_order.h); before the start.
 * -EINVAL without firmware.
 */
int pv_machine_set_boot_order(struct pv_machine *machine, const struct pv_buffer *order,
                              struct pv_error **err);

enum pv_machine_msi pv_machine_msi(const struct pv_machine *machine);

/* Presses the power button: what comes of it is the guest's. Any thread. */
void pv_machine_power_button(struct pv_machine *machine);

#endif
