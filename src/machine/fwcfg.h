/* SPDX-License-Identifier: MIT */
/*
 * QEMU's firmware configuration device in its memory-mapped form, with DMA: numbered items and
 * named files that firmware reads (QEMU, docs/specs/fw_cfg.rst).
 */
#ifndef PV_MACHINE_FWCFG_H
#define PV_MACHINE_FWCFG_H

#include <stddef.h>
#include <stdint.h>

struct pv_address_space;
struct pv_error;
struct pv_fwcfg;
struct pv_record;

/* The items with fixed numbers. */
enum pv_fwcfg_key {
    PV_FWCFG_SIGNATURE = 0x00,
    PV_FWCFG_ID = 0x01,
    PV_FWCFG_CPUS = 0x05,
    PV_FWCFG_KERNEL_SIZE = 0x08,
    PV_FWCFG_INITRD_SIZE = 0x0b,
    PV_FWCFG_MAX_CPUS = 0x0f,
    PV_FWCFG_KERNEL = 0x11,
    PV_FWCFG_INITRD = 0x12,
    PV_FWCFG_CMDLINE_SIZE = 0x14,
    PV_FWCFG_CMDLINE = 0x15,
    PV_FWCFG_DIRECTORY = 0x19,
    PV_FWCFG_FIRST_FILE = 0x20,
};

#define PV_FWCFG_FILES     32u
#define PV_FWCFG_NAME_SIZE 56u /* with its NUL */

int pv_fwcfg_create(struct pv_fwcfg **out, struct pv_address_space *as, uint64_t address,
                    struct pv_error **err);
void pv_fwcfg_destroy(struct pv_fwcfg *fwcfg);

/* The selection goes back to item 0; contents stay. */
void pv_fwcfg_record(struct pv_fwcfg *fwcfg, struct pv_record *record);
void pv_fwcfg_reset(struct pv_fwcfg *fwcfg);

/*
 * Sets an item or a file, which replaces one that is there; not while vCPUs run. `data` is copied;
 * size 0 makes it empty. Sizes are 32-bit numbers on this interface: larger is -EFBIG.
 */
int pv_fwcfg_set(struct pv_fwcfg *fwcfg, enum pv_fwcfg_key key, const void *data, size_t size,
                 struct pv_error **err);
int pv_fwcfg_set_u16(struct pv_fwcfg *fwcfg, enum pv_fwcfg_key key, uint16_t value,
                     struct pv_error **err);
int pv_fwcfg_set_u32(struct pv_fwcfg *fwcfg, enum pv_fwcfg_key key, uint32_t value,
                     struct pv_error **err);
int pv_fwcfg_set_file(struct pv_fwcfg *fwcfg, const char *name, const void *data, size_t size,
                      struct pv_error **err);

#endif
