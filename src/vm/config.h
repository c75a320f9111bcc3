/* SPDX-License-Identifier: MIT */
/* What a virtual machine is made of. Filled in by whoever makes one; strings are the owner's. */
#ifndef PV_VM_CONFIG_H
#define PV_VM_CONFIG_H

#include "machine/machine.h"
#include "net/netdev.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PV_CONFIG_MAX_DISKS    16u
#define PV_CONFIG_MAX_NETS     8u
#define PV_CONFIG_MAX_FORWARDS 32u

enum pv_config_transport {
    PV_TRANSPORT_PCI,
    PV_TRANSPORT_MMIO,
};

struct pv_config_disk {
    const char *path;
    bool read_only;
};

enum pv_config_net_kind {
    PV_NET_USER,
    PV_NET_NONE, /* a card whose cable is not plugged in */
};

struct pv_config_net {
    enum pv_config_net_kind kind;
    struct pv_port_forward forwards[PV_CONFIG_MAX_FORWARDS];
    size_t forward_count;
};

enum pv_config_console {
    PV_CONSOLE_STDIO,
    PV_CONSOLE_PTY,
    PV_CONSOLE_UNIX,
    PV_CONSOLE_NULL,
};

struct pv_config {
    const char *engine; /* NULL: the best usable one */
    unsigned cpus;
    uint64_t memory; /* bytes */

    const char *kernel; /* required: firmware boot is not there yet */
    const char *initrd; /* or NULL */
    const char *append; /* kernel command line, or NULL */

    enum pv_machine_msi msi;
    enum pv_config_transport transport;
    bool packed_rings; /* offered beside split ones */
    struct pv_config_disk disks[PV_CONFIG_MAX_DISKS];
    size_t disk_count;
    struct pv_config_net nets[PV_CONFIG_MAX_NETS];
    size_t net_count;

    enum pv_config_console console;
    const char *console_path; /* PV_CONSOLE_UNIX */
    bool console_virtio;      /* the console is hvc0 instead of the UART, which is then silent */
};

/* One vCPU, 1 GiB, console on stdio, no disks, no nets. */
void pv_config_init(struct pv_config *config);

#endif
