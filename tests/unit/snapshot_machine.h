/* SPDX-License-Identifier: MIT */
/* A machine with one of each device that snapshots can have, which stands still: for tests. */
#ifndef PV_TESTS_SNAPSHOT_MACHINE_H
#define PV_TESTS_SNAPSHOT_MACHINE_H

#include "base/record.h"
#include "block/block.h"
#include "device/balloon.h"
#include "device/blk.h"
#include "device/console.h"
#include "device/gpu.h"
#include "device/input.h"
#include "device/net.h"
#include "device/rng.h"
#include "device/scsi.h"
#include "display/display.h"
#include "engine/engine.h"
#include "host/chardev.h"
#include "host/loop.h"
#include "machine/machine.h"
#include "memory/address_space.h"
#include "net/netdev.h"
#include "pci/pci.h"
#include "virtio/virtio.h"
#include "virtio/virtio_pci.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

/* What the flash's file has to start with: an instruction. */
static const uint8_t snapshot_firmware[] = {0, 0, 0, 0x14};

struct snapshot_machine {
    struct pv_loop *loop;
    struct pv_address_space *as;
    struct pv_machine *machine;
    struct pv_chardev *chardev;
    struct pv_display *display;
};

static inline bool snapshot_machine_add(struct snapshot_machine *m, int ret,
                                        struct pv_virtio_device *device)
{
    return ret == 0 && pv_virtio_pci_create(device, pv_machine_pci(m->machine), -1, NULL) == 0;
}

static inline bool snapshot_machine_add_more(struct snapshot_machine *m, const char *disk)
{
    const struct pv_virtio_gpu_config gpu = {
        .display = m->display, .heads = 2, .width = 640, .height = 480};
    const struct pv_block_options options = {.read_only = true};
    struct pv_scsi_target target = {.cdrom = true};
    struct pv_virtio_device *dev;
    bool ok = pv_virtio_gpu_create(&dev, m->loop, m->as, &gpu, NULL) == 0 &&
              snapshot_machine_add(m, 0, dev);
    return ok && pv_block_open(&target.block, m->loop, disk, &options, NULL) == 0 &&
           pv_scsi_create(&dev, m->loop, m->as, &target, 1, 1, NULL) == 0 &&
           snapshot_machine_add(m, 0, dev);
}

static inline bool snapshot_machine_add_devices(struct snapshot_machine *m, const char *disk)
{
    const uint8_t mac[6] = {2, 0, 0, 0, 0, 1};
    const struct pv_block_options options = {.read_only = true};
    const struct pv_pci_port_events events = {0};
    struct pv_virtio_device *dev;
    struct pv_netdev *netdev;
    struct pv_block *block;
    struct pv_pci_port *port;
    int ret = pv_rng_create(&dev, m->loop, m->as, NULL);
    bool ok = snapshot_machine_add(m, ret, dev);
    ok = ok && pv_balloon_create(&dev, m->loop, m->as, 0, NULL, NULL) == 0 &&
         snapshot_machine_add(m, 0, dev);
    ok = ok && pv_vconsole_create(&dev, m->loop, m->as, m->chardev, NULL) == 0 &&
         snapshot_machine_add(m, 0, dev);
    ok = ok && pv_input_create(&dev, m->loop, m->as, PV_INPUT_TABLET, NULL, NULL, NULL) == 0 &&
         snapshot_machine_add(m, 0, dev);
    ok = ok && pv_netdev_null_create(&netdev, NULL) == 0 &&
         pv_net_create(&dev, m->loop, m->as, netdev, mac, 2, NULL) == 0 &&
         snapshot_machine_add(m, 0, dev);
    ok = ok && pv_block_open(&block, m->loop, disk, &options, NULL) == 0 &&
         pv_blk_create(&dev, m->loop, m->as, block, NULL, NULL) == 0 &&
         snapshot_machine_add(m, 0, dev);
    return ok && snapshot_machine_add_more(m, disk) &&
           pv_pci_port_create(&port, pv_machine_pci(m->machine), 31, 1, &events, NULL) == 0;
}

/* `firmware` is a file for the flash, which starts with snapshot_firmware; `disk` one for the disk.
 */
static inline bool snapshot_machine_create(struct snapshot_machine *m, const char *firmware,
                                           const char *disk, unsigned cpus)
{
    struct pv_machine_config config = {
        .engine = pv_engine_find("interp"),
        .vcpus = cpus,
        .watchdog = PV_ACTION_NONE,
        .ram_size = PV_MACHINE_MIN_RAM,
        .firmware = firmware,
        .empty = true,
    };

    *m = (struct snapshot_machine){0};
    bool ok = pv_loop_create(&m->loop, NULL) == 0 && pv_as_create(&m->as, NULL) == 0 &&
              pv_chardev_null_create(&m->chardev, NULL) == 0 &&
              pv_display_create(&m->display, NULL) == 0;
    config.loop = m->loop;
    config.as = m->as;
    return ok && pv_machine_create(&m->machine, &config, NULL) == 0 &&
           snapshot_machine_add_devices(m, disk) && pv_machine_prepare(m->machine, NULL) == 0;
}

static inline void snapshot_machine_destroy(struct snapshot_machine *m)
{
    pv_machine_destroy(m->machine);
    pv_display_destroy(m->display);
    pv_chardev_destroy(m->chardev);
    pv_as_destroy(m->as);
    pv_loop_destroy(m->loop);
}

/* All of its state; the caller frees it. NULL when it cannot be saved. */
static inline uint8_t *snapshot_machine_save(struct snapshot_machine *m, size_t *size)
{
    struct pv_record *record = pv_record_save();
    uint8_t *copy = NULL;

    if (!record)
        return NULL;
    pv_machine_record(m->machine, record);
    if (pv_record_error(record, NULL) == 0) {
        const void *data = pv_record_data(record, size);
        copy = malloc(*size);
        if (copy)
            memcpy(copy, data, *size);
    }
    pv_record_free(record);
    return copy;
}

static inline int snapshot_machine_load(struct snapshot_machine *m, const void *data, size_t size,
                                        struct pv_error **err)
{
    struct pv_record *record = pv_record_load(data, size);

    if (!record)
        return -1;
    pv_machine_record(m->machine, record);
    int ret = pv_record_error(record, err);
    pv_record_free(record);
    return ret;
}

#endif
