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

/* How far work on an image has come; may be called often, by any thread, by one at a time. */
struct pv_disk_progress {
    void (*show)(void *opaque, uint64_t done, uint64_t total); /* may be NULL */
    void *opaque;
};

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

#define PV_DISK_THREADS_MAX 64u

struct pv_disk_conversion {
    const char *format;             /* of what is made */
    struct pv_disk_options options; /* its size is the source's */
    bool compress;
    unsigned threads; /* 0: as many as there are CPUs */
    struct pv_disk_progress progress;
};
/* Writes `to` under another name first: it is there whole or not at all. */
int pv_disk_convert(const char *from, const char *to, const struct pv_disk_conversion *conversion,
                    struct pv_error **err);

/* ---- Changing ---- */

/* Shorter only with `shrink`, since what is beyond the new end is lost. */
int pv_disk_resize(const char *path, uint64_t size, bool shrink, struct pv_error **err);

/*
 * Gives back to the host what the image stores of zeroes, and its file's free space. *saved is in
 * bytes of the host's disk.
 */
int pv_disk_compact(const char *path, const struct pv_disk_progress *progress, uint64_t *saved,
                    struct pv_error **err);

/* qcow2: a snapshot inside the image. `name` may be an id, where there is one already. */
int pv_disk_snapshot_create(const char *path, const char *name, struct pv_error **err);
int pv_disk_snapshot_apply(const char *path, const char *name, struct pv_error **err);
int pv_disk_snapshot_delete(const char *path, const char *name, struct pv_error **err);

/*
 * A copy of an image that was in use meanwhile becomes the disk that a snapshot has, which was
 * there before the copy was begun and is still.
 */
int pv_disk_snapshot_rescue(const char *path, const char *name, struct pv_error **err);

struct pv_disk_snapshot {
    const char *id, *name;
    int64_t seconds;        /* since 1970 */
    uint64_t size;          /* bytes of the disk */
    uint32_t vm_state_size; /* bytes */
};
/* In the order in which they were made; what `show` gets is good during the call. */
int pv_disk_snapshot_list(const char *path,
                          void (*show)(void *opaque, const struct pv_disk_snapshot *snapshot),
                          void *opaque, struct pv_error **err);

/* ---- Chains ---- */

/*
 * Writes what the image stores into its backing image, which grows to its size if it is smaller.
 * The image is emptied afterwards, unless `keep`.
 */
int pv_disk_commit(const char *path, bool keep, const struct pv_disk_progress *progress,
                   struct pv_error **err);

/*
 * Gives the image another backing image, or none for NULL; its name is stored as it is. The
 * contents stay: what differs in the new chain is copied into the image first. With `unsafe`
 * nothing is copied, and the backing images need not be there.
 */
int pv_disk_rebase(const char *path, const char *backing, const char *backing_format, bool unsafe,
                   const struct pv_disk_progress *progress, struct pv_error **err);

struct pv_disk_extent {
    uint64_t offset, length; /* bytes of the disk */
    unsigned depth;          /* of the image that says so: 0 is the one opened */
    bool data;               /* stored; otherwise zeroes */
    bool absent;             /* zeroes because no image has anything there */
};
int pv_disk_map(const char *path, void (*show)(void *opaque, const struct pv_disk_extent *extent),
                void *opaque, struct pv_error **err);

#endif
