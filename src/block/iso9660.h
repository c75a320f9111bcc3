/* SPDX-License-Identifier: MIT */
/*
 * Small CD images (ISO 9660, with Joliet for names as they are), made in memory: a few files in the
 * root folder. The same files give the same bytes.
 */
#ifndef PV_BLOCK_ISO9660_H
#define PV_BLOCK_ISO9660_H

#include <stddef.h>

struct pv_buffer;
struct pv_error;

struct pv_iso_file {
    const char *name; /* at most 60 ASCII characters */
    const void *data;
    size_t size;
};

#define PV_ISO_FILES_MAX 8u

/*
 * Appends an image to an empty buffer. `label` is of capitals, digits and '_', at most 16. -E2BIG:
 * more than the buffer may have.
 */
int pv_iso9660_make(struct pv_buffer *out, const char *label, const struct pv_iso_file *files,
                    unsigned count, struct pv_error **err);

#endif
