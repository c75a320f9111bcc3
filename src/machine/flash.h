/* SPDX-License-Identifier: MIT */
/*
 * A bank of NOR flash: two 16-bit chips side by side that speak the Intel command set (CFI command
 * set 1, JEDEC JEP137), as QEMU's `virt` board has two of.
 */
#ifndef PV_MACHINE_FLASH_H
#define PV_MACHINE_FLASH_H

#include <stdbool.h>
#include <stdint.h>

struct pv_address_space;
struct pv_error;
struct pv_flash;
struct pv_record;

#define PV_FLASH_SECTOR (UINT64_C(256) << 10) /* erased as one: 128 KiB of each chip */

/*
 * A bank at `address`, a power of two of at least one sector, whose contents are zeroes that take
 * no memory. `name` is for people and outlives the bank. The guest cannot change a read-only bank.
 */
int pv_flash_create(struct pv_flash **out, struct pv_address_space *as, uint64_t address,
                    uint64_t size, bool read_only, const char *name, struct pv_error **err);
void pv_flash_destroy(struct pv_flash *flash);

/* Back to reading the array; contents stay. Not while vCPUs run. */
void pv_flash_reset(struct pv_flash *flash);

/* Its mode, and the contents of one that the guest can change. Not while vCPUs run. */
void pv_flash_record(struct pv_flash *flash, struct pv_record *record);

/* Copies a whole file, at most as large as the bank, to its start. `path` is for messages. */
int pv_flash_load(struct pv_flash *flash, int fd, const char *path, struct pv_error **err);

/*
 * Writes whatever the guest changes from now on to the same place in `fd` as well, before the guest
 * sees it done. The descriptor becomes the bank's.
 */
void pv_flash_write_through(struct pv_flash *flash, int fd);

#endif
