/* SPDX-License-Identifier: MIT */
/*
 * Puts a published disk image into the library: downloaded, checked, unpacked, converted to the
 * library's form. The library has it whole or not at all.
 */
#ifndef PV_FETCH_PULL_H
#define PV_FETCH_PULL_H

#include "fetch/catalogue.h"
#include "fetch/download.h"

struct pull {
    const char *what;    /* a name of the catalogue, a URL or a file */
    const char *name;    /* in the library; NULL: made of `what` */
    const char *sum;     /* SHA256 or SHA512 that a URL or file must have; NULL: no matter */
    bool force;          /* replaces an image of that name */
    const char *library; /* the folder of images; made when missing */
    const char *const *catalogues;
    unsigned catalogue_count;
    /* A new stage of the work ("downloading"), which may be NULL, and how far that is. */
    void (*stage)(void *opaque, const char *text);
    void *opaque;
    struct fetch_progress progress;
};

/* The name that `what` gets: "debian:13" becomes debian-13, of paths the last part without its
 * ending. -EINVAL: nothing is left of it. */
int pull_name(const char *what, char **name, struct pv_error **err);

int pull_run(const struct pull *pull, struct pv_error **err);

#endif
