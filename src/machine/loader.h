/* SPDX-License-Identifier: MIT */
/*
 * Direct kernel boot: reads a kernel (Image, Image.gz, EFI zboot with gzip or zstd) and an initrd,
 * and decides where they and the device tree go.
 */
#ifndef PV_MACHINE_LOADER_H
#define PV_MACHINE_LOADER_H

#include <stddef.h>
#include <stdint.h>

struct pv_address_space;
struct pv_error;

#define PV_LOADER_MAX_IMAGE (UINT64_C(512) << 20) /* uncompressed kernel */
#define PV_LOADER_FDT_ROOM  (UINT64_C(2) << 20)

/* An uncompressed Image. */
struct pv_kernel {
    uint8_t *data; /* malloc'd */
    size_t size;
    uint64_t text_offset;
    uint64_t image_size; /* with its BSS */
};

/* `name` is for messages. Takes any of the formats; the input stays the caller's. */
int pv_kernel_parse(struct pv_kernel *kernel, const uint8_t *data, size_t size, const char *name,
                    struct pv_error **err);
int pv_kernel_open(struct pv_kernel *kernel, const char *path, struct pv_error **err);
void pv_kernel_finish(struct pv_kernel *kernel);

/* The whole of a regular file of at most `max` bytes; *data is malloc'd. */
int pv_loader_read_file(uint8_t **data, size_t *size, uint64_t max, const char *path,
                        struct pv_error **err);

/* Decompress into a malloc'd buffer of at most PV_LOADER_MAX_IMAGE bytes. */
int pv_loader_gunzip(uint8_t **out, size_t *out_size, const uint8_t *data, size_t size,
                     struct pv_error **err);
int pv_loader_unzstd(uint8_t **out, size_t *out_size, const uint8_t *data, size_t size,
                     struct pv_error **err);

/* Guest addresses. */
struct pv_boot_layout {
    uint64_t kernel;
    uint64_t initrd, initrd_size; /* size 0: none */
    uint64_t fdt;                 /* PV_LOADER_FDT_ROOM bytes */
};

/* -ENOSPC with the memory needed when RAM is too small. */
int pv_loader_place(struct pv_boot_layout *layout, uint64_t ram_base, uint64_t ram_size,
                    const struct pv_kernel *kernel, uint64_t initrd_size, struct pv_error **err);

#endif
