/* SPDX-License-Identifier: MIT */
/* The library of guest images, as tools/image-builder lays it out. */
#ifndef PV_CLI_LIBRARY_H
#define PV_CLI_LIBRARY_H

struct pv_error;

/* An image's files; the strings are the structure's. One that boots by UEFI has only a disk. */
struct cli_image {
    char *disk;
    char *kernel;
    char *initrd;
    char *append; /* kernel command line that finds the root file system */
};

/* Finds image NAME under $PEARVISOR_HOME/images. */
int cli_image_find(struct cli_image *image, const char *name, struct pv_error **err);
void cli_image_finish(struct cli_image *image);

#endif
