/* SPDX-License-Identifier: MIT */
/* The device tree: the nodes of QEMU's virt board that this one has. */
#ifndef PV_MACHINE_FDT_H
#define PV_MACHINE_FDT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_error;

struct pv_fdt_config {
    unsigned vcpus;
    const uint64_t *mpidr;
    bool watchdog;
    bool its; /* messages go to an ITS instead of a GICv2m frame */
    uint64_t ram_size;
    const char *bootargs;               /* or NULL */
    uint64_t initrd_start, initrd_size; /* size 0: none */
    bool firmware;                      /* flash and fw_cfg are there */
    const uint8_t *seed;                /* 40 random bytes: KASLR's 8 and the RNG's 32 */
};

#define PV_FDT_SEED_SIZE 40u

/* Writes a tree into buf. -E2BIG when it does not fit: only a long bootargs can do that. */
int pv_fdt_build(void *buf, size_t size, const struct pv_fdt_config *config, struct pv_error **err);

/*
 * Copies somebody's tree, which may hold anything, into buf and puts the config's memory, command
 * line, initrd and seed into it. -EINVAL when it is not a tree, -E2BIG when it is too
 * large or does not fit.
 */
int pv_fdt_adopt(void *buf, size_t size, const void *blob, size_t blob_size,
                 const struct pv_fdt_config *config, struct pv_error **err);

#endif
