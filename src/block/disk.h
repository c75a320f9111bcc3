/* SPDX-License-Identifier: MIT */
/*
 * Disk images as files that a person handles: made, looked at, checked, converted. Everything here
 * is done when it returns, on the caller's thread; names in errors are those given.
 */
#ifndef PV_BLOCK_DISK_H
#define PV_BLOCK_DISK_H

#include <stdbool.h>
#include <stdint.h>

struct pv_error;

struct pv_disk_options {
    uint64_t size;       /* bytes; with a backing image 0 means its size */
    const char *backing; /* qcow2: NULL, or the backing image's path, as it is to be stored */
    const char *backing_format; /* NULL: probed, and stored */
    uint32_t cluster_size;      /* qcow2: 0 for 64 KiB; a power of two from 512 to 2 MiB */
    unsigned refcount_bits;     /* qcow2: 0 for 16; a power of two from 1 to 64 */
    bool lazy_refcounts;
    bool extended_l2;
    bool zstd; /* compressed clusters are zstd instead of zlib */
};

/* Makes a new image; a file of that name is an error. */
int pv_disk_create(const char *path, const char *format, const struct pv_disk_options *options,
                   struct pv_error **err);

struct pv_disk_info {
    const char *format; /* constant */
    uint64_t size;      /* bytes that a guest sees */
    uint64_t used;      /* bytes that the file takes on the host's disk */
    /* qcow2 only; the strings are NULL where there is no such thing */
    uint32_t version, cluster_size, snapshots;
    unsigned refcount_bits;
    const char *compression; /* constant */
    bool dirty, corrupt, lazy_refcounts, extended_l2;
    char *backing, *backing_format, *data_file;
};
/* Opens neither the backing image nor the data file. */
int pv_disk_info(struct pv_disk_info *info, const char *path, struct pv_error **err);
void pv_disk_info_finish(struct pv_disk_info *info);

struct pv_disk_check {
    uint64_t clusters, allocated, compressed, leaks, errors, repaired;
};
int pv_disk_check(struct pv_disk_check *result, const char *path, bool repair,
                  struct pv_error **err);

struct pv_disk_conversion {
    const char *format;             /* of what is made */
    struct pv_disk_options options; /* its size is the source's */
    bool compress;
    /* Called now and then, may be NULL. */
    void (*progress)(void *opaque, uint64_t done, uint64_t total);
    void *opaque;
};
/* Writes `to` under another name first: it is there whole or not at all. */
int pv_disk_convert(const char *from, const char *to, const struct pv_disk_conversion *conversion,
                    struct pv_error **err);

#endif
