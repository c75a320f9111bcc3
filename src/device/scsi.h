/* SPDX-License-Identifier: MIT */
/* virtio-scsi (section 5.6): a host adapter with disks and CD-ROMs, each a target with LUN 0. */
#ifndef PV_DEVICE_SCSI_H
#define PV_DEVICE_SCSI_H

#include <stdbool.h>

struct pv_address_space;
struct pv_block;
struct pv_error;
struct pv_loop;
struct pv_virtio_device;

#define PV_SCSI_MAX_TARGETS 64u

struct pv_scsi_target {
    struct pv_block *block; /* opened on the same loop */
    bool cdrom;             /* read-only blocks of 2048 bytes in a removable medium */
    const char *serial;     /* copied, at most 20 bytes; NULL or "" for none */
};

/*
 * `targets` become 0 to count - 1; the device owns their images on success. `queues`: request
 * queues, one for each vCPU at best.
 */
int pv_scsi_create(struct pv_virtio_device **out, struct pv_loop *loop, struct pv_address_space *as,
                   const struct pv_scsi_target *targets, unsigned count, unsigned queues,
                   struct pv_error **err);

#endif
