/* SPDX-License-Identifier: MIT */
/* What a virtual machine is made of. Filled in by whoever makes one; strings are the owner's. */
#ifndef PV_VM_CONFIG_H
#define PV_VM_CONFIG_H

#include "device/input.h"
#include "machine/machine.h"
#include "net/netdev.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PV_CONFIG_MAX_DISKS    16u
#define PV_CONFIG_MAX_NETS     8u
#define PV_CONFIG_MAX_FORWARDS 32u
#define PV_CONFIG_MAX_PORTS    8u
#define PV_CONFIG_MAX_INPUTS   4u
#define PV_CONFIG_MAX_SLOTS    16u /* for hotplug */
#define PV_CONFIG_MAX_GRANTS   16u
#define PV_CONFIG_MAX_ID       20u /* what a disk's serial number holds */
#define PV_CONFIG_MAX_BOOT     99u /* a boot index */

enum pv_config_transport {
    PV_TRANSPORT_PCI,
    PV_TRANSPORT_MMIO,
};

enum pv_config_disk_bus {
    PV_DISK_VIRTIO, /* a virtio-blk of its own */
    PV_DISK_SCSI,   /* a target of the VM's virtio-scsi adapter */
    PV_DISK_NVME,   /* an NVMe controller of its own, on PCI */
};

enum pv_config_acpi {
    PV_ACPI_AUTO, /* with UEFI firmware */
    PV_ACPI_ON,
    PV_ACPI_OFF,
};

struct pv_config_disk {
    const char *id; /* what the owner calls it; NULL: disk0, disk1 and so on */
    const char *path;
    bool read_only;
    enum pv_config_disk_bus bus;
    bool cdrom;          /* on SCSI only */
    uint64_t iops, bps;  /* requests and bytes a second, at most; 0: as fast as it goes */
    unsigned boot_index; /* firmware boots from 1 first, then 2 ...; 0: after those */
};

enum pv_config_net_kind {
    PV_NET_USER,
    PV_NET_NONE, /* a card whose cable is not plugged in */
};

struct pv_config_net {
    const char *id; /* likewise: net0 ... */
    enum pv_config_net_kind kind;
    struct pv_port_forward forwards[PV_CONFIG_MAX_FORWARDS];
    size_t forward_count;
    unsigned boot_index; /* likewise */
};

enum pv_config_console {
    PV_CONSOLE_STDIO,
    PV_CONSOLE_PTY,
    PV_CONSOLE_UNIX,
    PV_CONSOLE_NULL,
};

/* A byte stream between a device file in the guest and the host. */
struct pv_config_port {
    const char *name; /* /dev/virtio-ports/NAME */
    const char *path; /* of a unix socket, or NULL for a pseudo-terminal */
};

enum pv_config_gpu {
    PV_GPU_NONE,
    PV_GPU_2D,    /* a framebuffer */
    PV_GPU_VENUS, /* and Vulkan, on the host's driver */
};

enum pv_config_display {
    PV_DISPLAY_NONE,
    PV_DISPLAY_PNG,
    PV_DISPLAY_VNC,
    PV_DISPLAY_WINDOW,
};

enum pv_config_sound {
    PV_SOUND_NONE,
    PV_SOUND_NULL, /* a card that nobody hears */
    PV_SOUND_FILE,
    PV_SOUND_SDL, /* the host's devices */
};

struct pv_config_grant {
    const char *path;
    bool read_only;
};

struct pv_config {
    const char *engine; /* NULL: the best usable one */
    struct pv_engine_watch watch;
    unsigned cpus;
    uint64_t memory; /* bytes */

    /*
     * What starts: "none" (the kernel itself), "uefi", "uboot", or a flash image's path. NULL: the
     * kernel if there is one, else UEFI. Firmware is handed the kernel.
     */
    const char *firmware;
    const char *vars; /* the file that keeps firmware's variables, made when missing; or NULL */
    enum pv_config_acpi acpi;
    const char *kernel; /* or NULL, with firmware */
    const char *initrd; /* or NULL */
    const char *append; /* kernel command line, or NULL */
    const char *dtb;    /* a device tree blob to use instead of the machine's own; or NULL */

    enum pv_machine_msi msi;
    enum pv_machine_action watchdog; /* unset: no watchdog */
    enum pv_machine_action on_panic; /* unset: no pvpanic device */
    enum pv_config_transport transport;
    bool packed_rings; /* offered beside split ones */
    struct pv_config_disk disks[PV_CONFIG_MAX_DISKS];
    size_t disk_count;
    struct pv_config_net nets[PV_CONFIG_MAX_NETS];
    size_t net_count;
    unsigned hotplug_slots; /* PCIe root ports, for what comes and goes later */

    enum pv_config_console console;
    const char *console_path; /* PV_CONSOLE_UNIX */
    const char *console_log;  /* a file that gets all output too, or NULL */
    uint64_t console_log_max; /* bytes, when it becomes FILE.1; 0: never */
    bool console_virtio;      /* the console is hvc0 instead of the UART, which is then silent */
    struct pv_config_port ports[PV_CONFIG_MAX_PORTS];
    size_t port_count;

    /* The folder of a snapshot to go on from, instead of booting; or NULL. */
    const char *restore;
    const char *control_path; /* of the control socket, or NULL */

    /*
     * The process gives up all but what is named here before the VM is made, for good. Then
     * `grants` are files and folders that it keeps beyond that, for disks to be attached later.
     */
    bool confine;
    struct pv_config_grant grants[PV_CONFIG_MAX_GRANTS];
    size_t grant_count;

    bool balloon;
    uint64_t balloon_target; /* bytes that the guest is asked for from the start */
    uint32_t vsock_cid;      /* 0: no vsock */
    const char *vsock_directory;
    enum pv_input_kind inputs[PV_CONFIG_MAX_INPUTS];
    size_t input_count;

    enum pv_config_gpu gpu;
    unsigned gpu_heads;
    uint32_t gpu_width, gpu_height; /* what the heads would like to be */
    uint64_t gpu_window;            /* bytes that the guest can map of the GPU's memory at a time */
    enum pv_config_display display;
    const char *display_path; /* of the PNG file, or VNC's unix socket; NULL: VNC over TCP */
    uint16_t vnc_port;
    const char *vnc_password; /* or NULL */
    const char *window_title; /* what the guest is called, or NULL */

    enum pv_config_sound sound;
    const char *sound_play, *sound_record; /* WAV files of PV_SOUND_FILE; either may be NULL */
};

/*
 * One vCPU, 1 GiB, console on stdio, no disks, no nets, four slots for hotplug, no sound, no GPU;
 * were there one, 1280 x 800.
 */
void pv_config_init(struct pv_config *config);

#endif
