/* SPDX-License-Identifier: MIT */
#include "vm/devices.h"

#include "audio/audio.h"
#include "base/error.h"
#include "base/parse.h"
#include "base/util.h"
#include "block/block.h"
#include "device/balloon.h"
#include "device/console.h"
#include "device/scsi.h"
#include "device/sound.h"
#include "device/vsock.h"
#include "host/chardev.h"
#include "virtio/virtio.h"
#include "vm/boot_order.h"

#include <errno.h>

_Static_assert(PV_CONFIG_MAX_PORTS + 1 <= PV_VCONSOLE_MAX_PORTS, "the console and its ports");
_Static_assert(PV_CONFIG_MAX_DISKS <= PV_SCSI_MAX_TARGETS, "disks of an adapter");

struct pv_vm_devices {
    struct pv_virtio_device *balloon;
    struct pv_chardev *ports[PV_CONFIG_MAX_PORTS];
    size_t port_count;
    struct pv_audio *audio;
};

static int plug(const struct pv_vm_sockets *sockets, struct pv_virtio_device *device,
                struct pv_error **err)
{
    return sockets->plug(sockets->opaque, device, err);
}

/* ---- SCSI ---- */

static void close_targets(const struct pv_scsi_target *targets, unsigned count)
{
    for (unsigned i = 0; i < count; i++)
        pv_block_close(targets[i].block);
}

static int add_scsi(const struct pv_vm_sockets *sockets, const struct pv_config *config,
                    unsigned queues, struct pv_error **err)
{
    struct pv_scsi_target targets[PV_CONFIG_MAX_DISKS];
    struct pv_virtio_device *device;
    unsigned count = 0;
    int ret = 0;
    for (size_t i = 0; i < config->disk_count && ret >= 0; i++) {
        const struct pv_config_disk *disk = &config->disks[i];
        if (disk->bus != PV_DISK_SCSI)
            continue;
        const struct pv_block_options options = {
            .read_only = disk->read_only || disk->cdrom,
            .iops = disk->iops,
            .bps = disk->bps,
            .full = sockets->disk_full,
            .opaque = sockets->opaque,
        };
        targets[count] = (struct pv_scsi_target){.cdrom = disk->cdrom};
        ret = pv_block_open(&targets[count].block, sockets->loop, disk->path, &options, err);
        if (ret >= 0)
            count++;
    }
    if (ret >= 0 && count)
        ret = pv_scsi_create(&device, sockets->loop, sockets->as, targets, count, queues, err);
    if (ret < 0) {
        close_targets(targets, count);
        return ret;
    }
    if (!count)
        return 0;
    ret = plug(sockets, device, err);
    for (size_t i = 0, target = 0; i < config->disk_count && ret >= 0; i++) {
        if (config->disks[i].bus != PV_DISK_SCSI)
            continue;
        sockets->scsi_disk(sockets->opaque, i, targets[target].block);
        ret = pv_boot_order_add(sockets->boot, config->disks[i].boot_index, PV_BOOT_SCSI, device,
                                (unsigned)target++, err);
    }
    return ret;
}

/* ---- Console and ports ---- */

static int open_port(struct pv_vm_devices *devices, const struct pv_vm_sockets *sockets,
                     const struct pv_config_port *port, struct pv_error **err)
{
    PV_CLEANUP_FREE char *path = NULL;
    struct pv_chardev **chardev = &devices->ports[devices->port_count];
    int ret = port->path ? pv_chardev_unix_create(chardev, sockets->loop, port->path, err)
                         : pv_chardev_pty_create(chardev, sockets->loop, &path, err);
    if (ret < 0)
        return pv_error_prefix(err, "port '%s'", port->name);
    devices->port_count++;
    sockets->port_ready(sockets->opaque, port->name, port->path ? port->path : path);
    return 0;
}

static int add_console(struct pv_vm_devices *devices, const struct pv_vm_sockets *sockets,
                       const struct pv_config *config, struct pv_error **err)
{
    struct pv_vconsole_port ports[PV_VCONSOLE_MAX_PORTS];
    struct pv_virtio_device *device;
    unsigned count = 0;
    if (config->console_virtio)
        ports[count++] = (struct pv_vconsole_port){.chardev = sockets->console, .console = true};
    for (size_t i = 0; i < config->port_count; i++) {
        int ret = open_port(devices, sockets, &config->ports[i], err);
        if (ret < 0)
            return ret;
        ports[count++] =
            (struct pv_vconsole_port){.chardev = devices->ports[i], .name = config->ports[i].name};
    }
    if (!count)
        return 0;
    int ret = config->port_count
                  ? pv_vconsole_create_ports(&device, sockets->loop, sockets->as, ports, count, err)
                  : pv_vconsole_create(&device, sockets->loop, sockets->as, sockets->console, err);
    return ret < 0 ? ret : plug(sockets, device, err);
}

/* ---- The rest ---- */

static int add_balloon(struct pv_vm_devices *devices, const struct pv_vm_sockets *sockets,
                       const struct pv_config *config, struct pv_error **err)
{
    struct pv_virtio_device *device;
    char wanted[16], there[16];
    if (config->balloon_target >= config->memory)
        return pv_error_set(err, EINVAL, "balloon: %s of a guest that has %s",
                            pv_format_size(config->balloon_target, wanted),
                            pv_format_size(config->memory, there));
    int ret =
        pv_balloon_create(&device, sockets->loop, sockets->as, config->balloon_target, NULL, err);
    if (ret >= 0)
        ret = plug(sockets, device, err);
    if (ret >= 0)
        devices->balloon = device;
    return ret;
}

static int add_vsock(const struct pv_vm_sockets *sockets, const struct pv_config *config,
                     struct pv_error **err)
{
    struct pv_virtio_device *device;
    int ret = pv_vsock_create(&device, sockets->loop, sockets->as, config->vsock_cid,
                              config->vsock_directory, err);
    return ret < 0 ? ret : plug(sockets, device, err);
}

static int add_input(const struct pv_vm_sockets *sockets, enum pv_input_kind kind,
                     struct pv_error **err)
{
    struct pv_virtio_device *device;
    int ret = pv_input_create(&device, sockets->loop, sockets->as, kind, NULL, NULL, err);
    return ret < 0 ? ret : plug(sockets, device, err);
}

static int open_audio(struct pv_audio **out, struct pv_loop *loop, const struct pv_config *config,
                      struct pv_error **err)
{
    switch (config->sound) {
    case PV_SOUND_FILE:
        return pv_audio_file_create(out, loop, config->sound_play, config->sound_record, err);
    case PV_SOUND_SDL: return pv_audio_sdl_create(out, loop, err);
    default: return pv_audio_null_create(out, loop, err);
    }
}

static int add_sound(struct pv_vm_devices *devices, const struct pv_vm_sockets *sockets,
                     const struct pv_config *config, struct pv_error **err)
{
    struct pv_virtio_device *device;
    int ret = open_audio(&devices->audio, sockets->loop, config, err);
    if (ret >= 0)
        ret = pv_sound_create(&device, sockets->loop, sockets->as, devices->audio, err);
    return ret < 0 ? ret : plug(sockets, device, err);
}

static int add_all(struct pv_vm_devices *devices, const struct pv_vm_sockets *sockets,
                   const struct pv_config *config, unsigned queues, struct pv_error **err)
{
    int ret = add_scsi(sockets, config, queues, err);
    if (ret >= 0)
        ret = add_console(devices, sockets, config, err);
    if (ret >= 0 && config->balloon)
        ret = add_balloon(devices, sockets, config, err);
    if (ret >= 0 && config->vsock_cid)
        ret = add_vsock(sockets, config, err);
    for (size_t i = 0; i < config->input_count && ret >= 0; i++)
        ret = add_input(sockets, config->inputs[i], err);
    if (ret >= 0 && config->sound != PV_SOUND_NONE)
        ret = add_sound(devices, sockets, config, err);
    return ret;
}

int pv_vm_devices_create(struct pv_vm_devices **out, const struct pv_vm_sockets *sockets,
                         const struct pv_config *config, unsigned queues, struct pv_error **err)
{
    /* Handed out first: ports outlive the devices, which the caller destroys, also on failure. */
    *out = calloc(1, sizeof(**out));
    if (!*out)
        return pv_error_set(err, ENOMEM, "out of memory for devices");
    return add_all(*out, sockets, config, queues, err);
}

struct pv_virtio_device *pv_vm_devices_balloon(struct pv_vm_devices *devices)
{
    return devices->balloon;
}

void pv_vm_devices_destroy(struct pv_vm_devices *devices)
{
    for (size_t i = 0; devices && i < devices->port_count; i++)
        pv_chardev_destroy(devices->ports[i]);
    if (devices)
        pv_audio_destroy(devices->audio);
    free(devices);
}
