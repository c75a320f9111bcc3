/* SPDX-License-Identifier: MIT */
/*
 * A device that comes is made, plugged into the bus behind a free root port and shown to the guest.
 * One that goes is asked for by the slot's button; when the guest has let go of it, which shows on
 * a vCPU's thread, an event brings the rest to the loop's thread.
 *
 * Nobody counts the vCPUs that are inside a device's handlers. Instead the engine stands still for
 * the moment in which a device is destroyed: by then its addresses lead nowhere, so no vCPU comes
 * back to it, and its event, timers and workers belong to the loop's thread, which is this one. The
 * guest pays a pause of the length of a reset for a device that it will not use again.
 *
 * Slots are root ports in the last places of the root bus, so that the devices that stay keep the
 * places, and guests' network cards the names, that they have without slots.
 */
#include "vm/hotplug.h"

#include "base/buffer.h"
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "block/block.h"
#include "device/blk.h"
#include "device/net.h"
#include "device/nvme.h"
#include "engine/engine.h"
#include "host/clock.h"
#include "host/loop.h"
#include "machine/machine.h"
#include "pci/pci.h"
#include "virtio/virtio.h"
#include "virtio/virtio_pci.h"
#include "vm/boot_order.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define LAST_PLACE  31
#define MAX_DEVICES (PV_CONFIG_MAX_DISKS + PV_CONFIG_MAX_NETS + PV_CONFIG_MAX_SLOTS)

struct slot {
    struct pv_vm_hotplug *hotplug;
    struct pv_pci_port *port;
    unsigned number;
    bool taken;
    atomic_bool released; /* by the guest, not yet dealt with */
    bool asked;           /* until `how` is answered */
    struct pv_vm_detach how;
    struct pv_timer *timer;
};

struct device {
    char id[PV_CONFIG_MAX_ID + 1];
    enum pv_vm_device_kind kind;
    char *detail;
    bool read_only; /* a disk */
    unsigned mac;   /* of a net: the last byte, which tells those of a VM apart */
    struct pv_virtio_device *virtio;
    struct pv_block *block; /* of a disk: the device's */
    struct slot *slot;      /* NULL: it stays */
};

struct pv_vm_hotplug {
    struct pv_vm_hotplug_config config;
    struct pv_event *event; /* a slot was released */
    struct slot slots[PV_CONFIG_MAX_SLOTS];
    struct device devices[MAX_DEVICES];
    size_t device_count;
};

/* ---- The list ---- */

static struct device *find(struct pv_vm_hotplug *hotplug, const char *id)
{
    for (size_t i = 0; i < hotplug->device_count; i++)
        if (!strcmp(hotplug->devices[i].id, id))
            return &hotplug->devices[i];
    return NULL;
}

static struct device *find_in_slot(struct pv_vm_hotplug *hotplug, const struct slot *slot)
{
    for (size_t i = 0; i < hotplug->device_count; i++)
        if (hotplug->devices[i].slot == slot)
            return &hotplug->devices[i];
    return NULL;
}

static int choose_id(struct pv_vm_hotplug *hotplug, struct device *device, const char *wanted,
                     struct pv_error **err)
{
    static const char allowed[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    const char *kind = device->kind == PV_VM_DISK ? "disk" : "net";
    unsigned number = 0;

    if (!wanted) {
        do
            snprintf(device->id, sizeof(device->id), "%s%u", kind, number++);
        while (find(hotplug, device->id));
        return 0;
    }
    if (!*wanted || strlen(wanted) > PV_CONFIG_MAX_ID || wanted[strspn(wanted, allowed)])
        return pv_error_set(err, EINVAL,
                            "'%s' cannot be a device's id: 1 to %u letters, digits, '.', '_', '-'",
                            wanted, PV_CONFIG_MAX_ID);
    if (find(hotplug, wanted))
        return pv_error_set(err, EEXIST, "there is a device '%s' already", wanted);
    memcpy(device->id, wanted, strlen(wanted) + 1);
    return 0;
}

static unsigned free_mac(const struct pv_vm_hotplug *hotplug)
{
    const struct device *devices = hotplug->devices;
    unsigned mac = 0x56;

    for (size_t i = 0; i < hotplug->device_count; i++) {
        if (devices[i].kind == PV_VM_NET && devices[i].mac == mac) {
            mac++;
            i = (size_t)-1; /* look at all again */
        }
    }
    return mac;
}

/* Fills in a device of the list that does not count yet, so that a failure leaves no trace. */
static int begin(struct pv_vm_hotplug *hotplug, enum pv_vm_device_kind kind, const char *id,
                 const char *detail, struct pv_error **err)
{
    struct device *device = &hotplug->devices[hotplug->device_count];

    if (hotplug->device_count == MAX_DEVICES)
        return pv_error_set(err, ENOSPC, "at most %u disks and networks", MAX_DEVICES);
    *device = (struct device){.kind = kind, .mac = free_mac(hotplug)};
    int ret = choose_id(hotplug, device, id, err);
    if (ret < 0)
        return ret;
    device->detail = strdup(detail);
    return device->detail ? 0 : pv_error_set(err, ENOMEM, "device '%s': out of memory", device->id);
}

/* What begin() began: the device is on the list, or gone. */
static int conclude(struct pv_vm_hotplug *hotplug, int ret)
{
    if (ret < 0)
        free(hotplug->devices[hotplug->device_count].detail);
    else
        hotplug->device_count++;
    return ret;
}

bool pv_vm_hotplug_device(const struct pv_vm_hotplug *hotplug, size_t index,
                          struct pv_vm_device *out)
{
    if (index >= hotplug->device_count)
        return false;
    const struct device *device = &hotplug->devices[index];
    *out = (struct pv_vm_device){
        .id = device->id,
        .kind = device->kind,
        .detail = device->detail,
        .read_only = device->read_only,
        .slot = device->slot ? device->slot->number : 0,
        .leaving = device->slot && device->slot->asked,
    };
    return true;
}

void pv_vm_hotplug_announce(struct pv_vm_hotplug *hotplug)
{
    for (size_t i = 0; i < hotplug->device_count; i++)
        if (hotplug->devices[i].kind == PV_VM_NET)
            pv_net_announce(hotplug->devices[i].virtio);
}

/* ---- Snapshots of disks ---- */

/* A disk that the guest can write to, or NULL. */
static struct pv_block *writable_disk(const struct device *device)
{
    return device->block && !pv_block_read_only(device->block) ? device->block : NULL;
}

size_t pv_vm_hotplug_writable_disks(struct pv_vm_hotplug *hotplug, struct pv_block **blocks,
                                    const char **names, size_t most)
{
    size_t count = 0;

    for (size_t i = 0; i < hotplug->device_count; i++) {
        struct pv_block *block = writable_disk(&hotplug->devices[i]);
        if (!block)
            continue;
        if (count < most) {
            blocks[count] = block;
            names[count] = hotplug->devices[i].detail;
        }
        count++;
    }
    return count;
}

int pv_vm_hotplug_keep_disks(struct pv_vm_hotplug *hotplug, const char *name, struct pv_error **err)
{
    int ret = 0;
    size_t i;

    for (i = 0; i < hotplug->device_count && ret >= 0; i++) {
        struct pv_block *block = writable_disk(&hotplug->devices[i]);
        ret = block ? pv_block_snapshot_create(block, name, err) : 0;
        if (ret < 0)
            pv_error_prefix(err, "disk '%s'", hotplug->devices[i].detail);
    }
    for (i -= ret < 0; ret < 0 && i-- > 0;) {
        struct pv_block *block = writable_disk(&hotplug->devices[i]);
        if (block)
            pv_block_snapshot_delete(block, name, NULL);
    }
    return ret;
}

int pv_vm_hotplug_bring_back_disks(struct pv_vm_hotplug *hotplug, const char *name,
                                   struct pv_error **err)
{
    for (size_t i = 0; i < hotplug->device_count; i++) {
        struct pv_block *block = writable_disk(&hotplug->devices[i]);
        int ret = block ? pv_block_snapshot_apply(block, name, err) : 0;
        if (ret < 0)
            return pv_error_prefix(err, "disk '%s'", hotplug->devices[i].detail);
    }
    return 0;
}

int pv_vm_hotplug_flush_disks(struct pv_vm_hotplug *hotplug, struct pv_error **err)
{
    for (size_t i = 0; i < hotplug->device_count; i++) {
        struct pv_block *block = writable_disk(&hotplug->devices[i]);
        int ret = block ? pv_block_flush_now(block, err) : 0;
        if (ret < 0)
            return pv_error_prefix(err, "disk '%s'", hotplug->devices[i].detail);
    }
    return 0;
}

void pv_vm_hotplug_forget_disks(struct pv_vm_hotplug *hotplug, const char *name)
{
    for (size_t i = 0; i < hotplug->device_count; i++) {
        PV_CLEANUP_ERROR struct pv_error *err = NULL;
        struct pv_block *block = writable_disk(&hotplug->devices[i]);
        if (block && pv_block_snapshot_delete(block, name, &err) < 0)
            pv_warn(PV_LOG_VM, "disk '%s': %s", hotplug->devices[i].detail, pv_error_message(err));
    }
}

/* ---- Making devices ---- */

static int make_disk(struct pv_vm_hotplug *hotplug, struct device *device,
                     const struct pv_config_disk *disk, const char *serial, struct pv_error **err)
{
    const struct pv_vm_hotplug_config *config = &hotplug->config;
    const struct pv_block_options options = {
        .read_only = disk->read_only,
        .iops = disk->iops,
        .bps = disk->bps,
        .full = config->disk_full,
        .opaque = config->opaque,
    };
    const struct pv_blk_options blk = {.serial = serial, .queues = config->queues};
    const struct pv_nvme_options nvme = {.serial = serial, .queues = config->queues};
    struct pv_block *block;

    int ret = pv_block_open(&block, config->loop, disk->path, &options, err);

    if (ret < 0)
        return ret;
    ret = disk->bus == PV_DISK_NVME
              ? pv_nvme_create(pv_machine_pci(config->machine), config->loop, config->as, block,
                               &nvme, err)
              : pv_blk_create(&device->virtio, config->loop, config->as, block, &blk, err);
    if (ret < 0)
        pv_block_close(block);
    else
        device->block = block;
    return ret;
}

static int make_net(struct pv_vm_hotplug *hotplug, struct device *device,
                    const struct pv_config_net *net, struct pv_error **err)
{
    /* QEMU's prefix, locally administered; addresses matter only within one NAT. */
    const uint8_t mac[6] = {0x52, 0x54, 0x00, 0x12, 0x34, (uint8_t)device->mac};
    const struct pv_vm_hotplug_config *config = &hotplug->config;
    struct pv_netdev *netdev;
    int ret = net->kind == PV_NET_USER ? pv_netdev_user_create(&netdev, config->loop, net->forwards,
                                                               net->forward_count, err)
                                       : pv_netdev_null_create(&netdev, err);

    if (ret < 0)
        return ret;
    ret =
        pv_net_create(&device->virtio, config->loop, config->as, netdev, mac, config->queues, err);
    if (ret < 0)
        pv_netdev_destroy(netdev);
    return ret;
}

static const char *net_detail(const struct pv_config_net *net)
{
    return net->kind == PV_NET_USER ? "user" : "none";
}

static int stay(struct pv_vm_hotplug *hotplug, struct device *device, struct pv_error **err)
{
    return hotplug->config.plug(hotplug->config.opaque, device->virtio, err);
}

int pv_vm_hotplug_add_disk(struct pv_vm_hotplug *hotplug, const struct pv_config_disk *disk,
                           struct pv_error **err)
{
    struct device *device = &hotplug->devices[hotplug->device_count];
    int ret = begin(hotplug, PV_VM_DISK, disk->id, disk->path, err);

    if (ret < 0)
        return ret;
    device->read_only = disk->read_only;
    if (disk->bus != PV_DISK_SCSI)
        ret = make_disk(hotplug, device, disk, disk->id, err);
    if (ret >= 0 && disk->bus == PV_DISK_VIRTIO) {
        ret = stay(hotplug, device, err);
        if (ret >= 0)
            ret = pv_boot_order_add(hotplug->config.boot, disk->boot_index, PV_BOOT_BLK,
                                    device->virtio, 0, err);
    }
    return conclude(hotplug, ret);
}

void pv_vm_hotplug_scsi_disk(struct pv_vm_hotplug *hotplug, size_t index, struct pv_block *block)
{
    for (size_t i = 0; i < hotplug->device_count; i++)
        if (hotplug->devices[i].kind == PV_VM_DISK && index-- == 0)
            hotplug->devices[i].block = block;
}

int pv_vm_hotplug_add_net(struct pv_vm_hotplug *hotplug, const struct pv_config_net *net,
                          struct pv_error **err)
{
    struct device *device = &hotplug->devices[hotplug->device_count];
    int ret = begin(hotplug, PV_VM_NET, net->id, net_detail(net), err);

    if (ret < 0)
        return ret;
    ret = make_net(hotplug, device, net, err);
    if (ret >= 0)
        ret = stay(hotplug, device, err);
    if (ret >= 0)
        ret = pv_boot_order_add(hotplug->config.boot, net->boot_index, PV_BOOT_NET, device->virtio,
                                0, err);
    return conclude(hotplug, ret);
}

/* ---- Coming ---- */

static int find_free_slot(struct pv_vm_hotplug *hotplug, struct slot **out, struct pv_error **err)
{
    for (unsigned i = 0; i < hotplug->config.slots; i++) {
        if (!hotplug->slots[i].taken) {
            *out = &hotplug->slots[i];
            return 0;
        }
    }
    if (!hotplug->config.slots)
        return pv_error_set(err, ENOSPC, "the VM has no slots for hotplug");
    return pv_error_set(err, ENOSPC, "all slots for hotplug, %u, are taken", hotplug->config.slots);
}

static int plug_into(struct pv_vm_hotplug *hotplug, struct device *device, struct slot *slot,
                     struct pv_error **err)
{
    pv_virtio_offer_packed(device->virtio, hotplug->config.packed_rings);
    int ret = pv_virtio_pci_create(device->virtio, pv_pci_port_bus(slot->port), 0, err);
    if (ret < 0) {
        pv_virtio_device_destroy(device->virtio);
        return ret;
    }
    device->slot = slot;
    slot->taken = true;
    pv_pci_port_insert(slot->port);
    pv_info(PV_LOG_VM, "%s: in slot %u", device->id, slot->number);
    return 0;
}

int pv_vm_hotplug_attach_disk(struct pv_vm_hotplug *hotplug, const struct pv_config_disk *disk,
                              const char **id, struct pv_error **err)
{
    struct device *device = &hotplug->devices[hotplug->device_count];
    struct slot *slot;
    int ret = find_free_slot(hotplug, &slot, err);

    if (ret >= 0)
        ret = begin(hotplug, PV_VM_DISK, disk->id, disk->path, err);
    if (ret < 0)
        return ret;
    device->read_only = disk->read_only;
    ret = make_disk(hotplug, device, disk, device->id, err);
    if (ret >= 0)
        ret = plug_into(hotplug, device, slot, err);
    if (ret >= 0 && id)
        *id = device->id;
    return conclude(hotplug, ret);
}

int pv_vm_hotplug_attach_net(struct pv_vm_hotplug *hotplug, const struct pv_config_net *net,
                             const char **id, struct pv_error **err)
{
    struct device *device = &hotplug->devices[hotplug->device_count];
    struct slot *slot;
    int ret = find_free_slot(hotplug, &slot, err);

    if (ret >= 0)
        ret = begin(hotplug, PV_VM_NET, net->id, net_detail(net), err);
    if (ret < 0)
        return ret;
    ret = make_net(hotplug, device, net, err);
    if (ret >= 0)
        ret = plug_into(hotplug, device, slot, err);
    if (ret >= 0 && id)
        *id = device->id;
    return conclude(hotplug, ret);
}

/* ---- Going ---- */

static void answer(struct slot *slot, struct pv_error *err)
{
    const struct pv_vm_detach how = slot->how;

    if (!slot->asked)
        return;
    slot->asked = false;
    pv_timer_set(slot->timer, UINT64_MAX);
    if (how.done)
        how.done(how.opaque, &err);
    else
        pv_error_free(&err);
}

/* The guest does not see the device any more. */
static void destroy_device(struct pv_vm_hotplug *hotplug, struct device *device)
{
    struct pv_engine *engine = pv_machine_engine(hotplug->config.machine);
    struct slot *slot = device->slot;
    size_t index = (size_t)(device - hotplug->devices);

    pv_engine_pause(engine);
    pv_pci_port_clear(slot->port);
    atomic_store(&slot->released, false); /* no vCPU is about to say so either, while they stand */
    pv_engine_resume(engine);
    pv_info(PV_LOG_VM, "%s: gone from slot %u", device->id, slot->number);
    free(device->detail);
    hotplug->device_count--;
    memmove(device, device + 1, (hotplug->device_count - index) * sizeof(*device));
    slot->taken = false;
    answer(slot, NULL);
}

/* On any thread. */
static void released(void *opaque)
{
    struct slot *slot = opaque;
    atomic_store(&slot->released, true);
    pv_event_signal(slot->hotplug->event);
}

static void sweep(void *opaque)
{
    struct pv_vm_hotplug *hotplug = opaque;
    for (unsigned i = 0; i < hotplug->config.slots; i++)
        if (atomic_load(&hotplug->slots[i].released))
            destroy_device(hotplug, find_in_slot(hotplug, &hotplug->slots[i]));
}

static void too_late(void *opaque)
{
    struct slot *slot = opaque;
    const struct device *device = find_in_slot(slot->hotplug, slot);
    struct pv_error *err = NULL;

    pv_error_set(&err, ETIMEDOUT,
                 "the guest has not let go of '%s' in time; ask again, or take it by force",
                 device->id);
    answer(slot, err);
}

static int unknown(const struct pv_vm_hotplug *hotplug, const char *id, struct pv_error **err)
{
    PV_CLEANUP_BUFFER struct pv_buffer known = PV_BUFFER_INIT(2048);
    for (size_t i = 0; i < hotplug->device_count; i++)
        if (hotplug->devices[i].slot)
            pv_buffer_printf(&known, "%s%s", known.size ? ", " : "", hotplug->devices[i].id);
    return pv_error_set(err, ENOENT, "there is no device '%s'; those that can be detached: %s", id,
                        known.size ? known.data : "none");
}

int pv_vm_hotplug_detach(struct pv_vm_hotplug *hotplug, const char *id,
                         const struct pv_vm_detach *how, struct pv_error **err)
{
    struct device *device = find(hotplug, id);

    if (!device)
        return unknown(hotplug, id, err);
    struct slot *slot = device->slot;
    if (!slot)
        return pv_error_set(err, EPERM, "'%s' has been there from the start, and stays", id);
    if (how->force) {
        pv_pci_port_pull(slot->port);
        destroy_device(hotplug, device);
        return 0;
    }
    if (slot->asked)
        return pv_error_set(err, EALREADY,
                            "the guest has been asked for '%s' already; it can be taken by force",
                            id);
    if (!pv_pci_port_press(slot->port))
        return pv_error_set(err, EAGAIN,
                            "the guest does not listen, so it cannot be asked for '%s': it has no "
                            "driver for PCIe hotplug, or has not started it; taking it by force "
                            "is possible",
                            id);
    slot->asked = true;
    slot->how = *how;
    pv_timer_set(slot->timer, pv_clock_ns() + how->timeout_ns);
    return PV_VM_DETACH_LATER;
}

/* ---- Life ---- */

static int create_slot(struct pv_vm_hotplug *hotplug, unsigned i, struct pv_error **err)
{
    struct slot *slot = &hotplug->slots[i];
    const struct pv_pci_port_events events = {released, slot};

    slot->hotplug = hotplug;
    slot->number = i + 1;
    int ret = pv_timer_create(&slot->timer, hotplug->config.loop, too_late, slot, err);
    if (ret < 0)
        return ret;
    return pv_pci_port_create(&slot->port, pv_machine_pci(hotplug->config.machine),
                              LAST_PLACE - (int)i, slot->number, &events, err);
}

int pv_vm_hotplug_create(struct pv_vm_hotplug **out, const struct pv_vm_hotplug_config *config,
                         struct pv_error **err)
{
    struct pv_vm_hotplug *hotplug = calloc(1, sizeof(*hotplug));

    /* Handed out first: the slots tell it of what happens until the machine is gone. */
    *out = hotplug;
    if (!hotplug)
        return pv_error_set(err, ENOMEM, "out of memory for the slots");
    if (config->slots > PV_CONFIG_MAX_SLOTS)
        return pv_error_set(err, EINVAL, "%u slots for hotplug; 0 to %u are possible",
                            config->slots, PV_CONFIG_MAX_SLOTS);
    hotplug->config = *config;
    int ret = pv_event_create(&hotplug->event, config->loop, sweep, hotplug, err);
    for (unsigned i = 0; i < config->slots && ret >= 0; i++)
        ret = create_slot(hotplug, i, err);
    return ret;
}

void pv_vm_hotplug_destroy(struct pv_vm_hotplug *hotplug)
{
    if (!hotplug)
        return;
    for (unsigned i = 0; i < hotplug->config.slots; i++)
        pv_timer_destroy(hotplug->slots[i].timer);
    for (size_t i = 0; i < hotplug->device_count; i++)
        free(hotplug->devices[i].detail);
    pv_event_destroy(hotplug->event);
    free(hotplug);
}
