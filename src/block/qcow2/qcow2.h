/* SPDX-License-Identifier: MIT */
/*
 * QCOW2 images, versions 2 and 3 ("Qcow2 Image File Format", docs/interop/qcow2.txt in QEMU's
 * documentation; section names in comments are its).
 *
 * qcow2.c has the essay: threads, the order in which metadata reaches the disk, what a crash
 * leaves.
 */
#ifndef PV_BLOCK_QCOW2_QCOW2_H
#define PV_BLOCK_QCOW2_QCOW2_H

#include "base/endian.h"
#include "base/util.h"
#include "block/image.h"
#include "block/qcow2/cache.h"

#include <pthread.h>

/* ---- The header, in host byte order ("Header") ---- */

#define QCOW2_MAGIC UINT32_C(0x514649fb)

#define QCOW2_INCOMPATIBLE_DIRTY       (UINT64_C(1) << 0)
#define QCOW2_INCOMPATIBLE_CORRUPT     (UINT64_C(1) << 1)
#define QCOW2_INCOMPATIBLE_DATA_FILE   (UINT64_C(1) << 2)
#define QCOW2_INCOMPATIBLE_COMPRESSION (UINT64_C(1) << 3)
#define QCOW2_INCOMPATIBLE_EXTENDED_L2 (UINT64_C(1) << 4)
#define QCOW2_COMPATIBLE_LAZY          (UINT64_C(1) << 0)
#define QCOW2_AUTOCLEAR_BITMAPS        (UINT64_C(1) << 0)
#define QCOW2_AUTOCLEAR_RAW_DATA       (UINT64_C(1) << 1)

enum qcow2_compression { QCOW2_ZLIB, QCOW2_ZSTD };

struct qcow2_header {
    uint32_t version;
    uint32_t cluster_bits;
    uint64_t size;
    uint32_t crypt_method;
    uint32_t l1_size;
    uint64_t l1_offset;
    uint64_t refcount_table_offset;
    uint32_t refcount_table_clusters;
    uint32_t snapshot_count;
    uint64_t snapshots_offset;
    uint64_t incompatible, compatible, autoclear;
    uint32_t refcount_order;
    uint32_t header_length;
    enum qcow2_compression compression;
    char *backing_file, *backing_format, *data_file; /* NULL where there is none */
    /* The bitmaps extension, where the autoclear bit says that it holds. */
    uint32_t bitmap_count;
    uint64_t bitmap_directory_size, bitmap_directory_offset;
};

/* ---- Table entries ("Cluster mapping") ---- */

#define QCOW2_OFFSET_MASK  UINT64_C(0x00fffffffffffe00)
#define QCOW2_COPIED       (UINT64_C(1) << 63)
#define QCOW2_COMPRESSED   (UINT64_C(1) << 62)
#define QCOW2_ZERO         UINT64_C(1)
#define QCOW2_SUBCLUSTERS  32u
#define QCOW2_SNAPSHOT_MAX 65536u

/* Limits on what a header may ask for: tables are kept in memory. */
#define QCOW2_L1_BYTES_MAX       (UINT64_C(32) << 20)
#define QCOW2_REFTABLE_BYTES_MAX (UINT64_C(8) << 20)

enum qcow2_kind {
    QCOW2_ABSENT, /* from the backing image, or zeroes */
    QCOW2_ZEROES,
    QCOW2_DATA,  /* at `host` in the data file */
    QCOW2_PACKED /* compressed: `host` and `packed` in the image file */
};

/* A run of guest bytes of one kind; DATA runs are contiguous in the file. */
struct qcow2_run {
    enum qcow2_kind kind;
    uint64_t length; /* from the offset asked for; PACKED: to the end of the cluster at most */
    uint64_t host;
    uint32_t packed; /* bytes of the file that hold the compressed cluster, at most */
    bool writable;   /* DATA: in place, nobody else refers to the clusters */
};

/* An L2 entry; `bitmap` is the second half of an extended one, otherwise 0. */
struct qcow2_entry {
    uint64_t word, bitmap;
};

/* Guest clusters being allocated: others that want the same wait. */
struct qcow2_allocation {
    uint64_t first, count; /* guest clusters */
    struct qcow2_allocation *next;
};

struct qcow2 {
    struct pv_block_image base;
    struct pv_block_image *file; /* the image file as raw bytes */
    struct pv_block_image *data; /* what clusters are in: `file`, or the external data file */
    struct qcow2_header header;
    char *path;

    unsigned cluster_bits, l2_bits;
    uint32_t cluster_size;
    uint32_t entry_size;      /* bytes of an L2 entry: 8 or 16 */
    uint32_t subclusters;     /* in a cluster: 1 or 32 */
    uint32_t refcount_bits;   /* of one refcount */
    uint64_t refcount_max;    /* that fits */
    uint32_t block_refcounts; /* refcounts in a block */

    pthread_mutex_t lock;   /* protects all below */
    pthread_cond_t changed; /* an allocation or a transfer ended, the gate opened */
    uint64_t *l1;           /* host byte order */
    bool l1_dirty;
    uint64_t *refcount_table;
    uint32_t refcount_table_size; /* entries */
    bool refcount_table_dirty;
    struct qcow2_cache l2_cache, refcount_cache;
    uint64_t free_hint; /* no cluster before this one is free */
    struct qcow2_allocation *allocations;
    unsigned transfers; /* reads and writes of clusters under way, without the lock */
    bool gate;          /* new ones wait */
    /* Host clusters that nothing on disk will refer to after the next flush. */
    uint64_t *freed;
    size_t freed_count, freed_room;
    bool marked_dirty; /* QCOW2_INCOMPATIBLE_DIRTY is on disk */
    bool corrupt;      /* metadata made no sense: no more writes */
    bool sound;        /* all of it was checked since it was opened */

    pthread_mutex_t packed_lock; /* protects the decompressed cluster */
    uint64_t packed_at;          /* its host offset; ~0 when none */
    uint8_t *packed_data;
    uint64_t pack_next; /* where the next compressed cluster may go; 0: into a new one */
};

static inline uint64_t qcow2_clusters(const struct qcow2 *q, uint64_t bytes)
{
    return (bytes >> q->cluster_bits) + !!(bytes & (q->cluster_size - 1));
}

static inline bool qcow2_lazy(const struct qcow2 *q)
{
    return q->header.compatible & QCOW2_COMPATIBLE_LAZY;
}

/* header.c */

/* Reads and checks the header and its extensions. Call finish in any case. */
int qcow2_header_read(struct qcow2_header *header, struct pv_block_image *file,
                      struct pv_error **err);
void qcow2_header_finish(struct qcow2_header *header);
/* Writes the feature bits (version 3). */
int qcow2_header_write_features(struct qcow2 *q);
/* Write the disk's size and the L1 table's place; the snapshot table's; in one write each. */
int qcow2_header_write_size(struct qcow2 *q);
int qcow2_header_write_snapshots(struct qcow2 *q);
/* Another backing image by name, or none for NULL; other extensions stay. */
int qcow2_header_write_backing(struct qcow2 *q, const char *name, const char *format,
                               struct pv_error **err);

/* map.c; the lock is held */

/* How the guest's bytes from `offset` on are stored. 0, or -EIO when the tables make no sense. */
int qcow2_map(struct qcow2 *q, uint64_t offset, uint64_t length, struct qcow2_run *run);
/* Whether there is a table for `offset`, and in memory. Under the lock. */
bool qcow2_map_ready(const struct qcow2 *q, uint64_t offset);
/* One cluster's entry; an absent table reads as zeroes. */
int qcow2_entry_get(struct qcow2 *q, uint64_t cluster, struct qcow2_entry *entry);
/* Makes the table where there is none, and a copy where a snapshot shares it. */
int qcow2_entry_set(struct qcow2 *q, uint64_t cluster, struct qcow2_entry entry);
/* Where a compressed entry's bytes are. */
void qcow2_packed_place(const struct qcow2 *q, uint64_t word, uint64_t *host, uint32_t *bytes);
/* The bits of a subcluster map for subclusters [first, first + count). */
uint32_t qcow2_bits(uint32_t first, uint32_t count);

/* refcount.c; the lock is held. Offsets and counts of host clusters */

/* The block of that index in the cache; NULL where there is none: all its clusters are free. */
int qcow2_refcount_block(struct qcow2 *q, uint64_t index, void **block);
uint64_t qcow2_refcount_at(const struct qcow2 *q, const void *block, uint32_t i);
void qcow2_refcount_put(const struct qcow2 *q, void *block, uint32_t i, uint64_t value);
/* Has the header name another table, which is written; between two barriers. */
int qcow2_refcount_table_switch(struct qcow2 *q, uint64_t offset, uint32_t clusters);
int qcow2_refcount_get(struct qcow2 *q, uint64_t cluster, uint64_t *refcount);
int qcow2_refcount_change(struct qcow2 *q, uint64_t cluster, int delta);
/* Between 1 and `most` clusters in a row, with a refcount of 1. */
int qcow2_allocate(struct qcow2 *q, uint64_t most, uint64_t *first, uint64_t *count);
/* `count` clusters in a row; -EFBIG when no refcount block counts that many. */
int qcow2_allocate_row(struct qcow2 *q, uint64_t count, uint64_t *first);
/* The cluster's refcount is lowered once what refers to it is gone from the disk. */
int qcow2_free_later(struct qcow2 *q, uint64_t cluster);
/* That time has come for these (they get sorted). */
int qcow2_free_now(struct qcow2 *q, uint64_t *clusters, size_t count);
/* To its place on disk, if it changed; no barrier. */
int qcow2_refcount_table_write(struct qcow2 *q);

/* create.c */

struct pv_disk_options;
/* Writes an empty image into an empty file. */
int qcow2_format(struct pv_block_image *file, const struct pv_disk_options *options,
                 struct pv_error **err);

/* qcow2.c */

/* Tables of 64-bit entries, big-endian in the file. What is loaded is the caller's. */
int qcow2_table_load(struct qcow2 *q, uint64_t **out, uint64_t offset, size_t entries);
int qcow2_table_write(struct qcow2 *q, const uint64_t *table, uint64_t offset, size_t entries);
/* Before and after using a mapping without the lock; the lock is held. */
void qcow2_transfer_begin(struct qcow2 *q);
void qcow2_transfer_end(struct qcow2 *q);
/* Writes all metadata back in its order, without a barrier behind it. The lock is held. */
int qcow2_metadata_write(struct qcow2 *q);
/* All that completed before is on stable storage, and what was freed can be used again. The lock is
 * held, and let go in between; the caller is in no transfer. */
int qcow2_flush_locked(struct qcow2 *q);
/* Says once what is wrong, sets the corrupt bit, and returns -EIO. The lock is held. */
int qcow2_corrupt(struct qcow2 *q, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Opens the file without its backing image, for what it itself stores; others are refused. */
int qcow2_open_alone(struct qcow2 **out, const char *path, bool read_only, struct pv_error **err);

/* As that, for an image whose metadata may make no sense; it must not be written to otherwise. */
int qcow2_open_repair(struct qcow2 **out, const char *path, bool read_only, struct pv_error **err);

/* resize.c: one of the image's functions */

int qcow2_resize(struct pv_block_image *image, uint64_t size);
/* Gives the file's free end back to the host. No request is under way. */
int qcow2_trim_file(struct qcow2 *q);

/* snapshot_table.c */

struct qcow2_snapshot {
    uint64_t l1_offset, disk_size, guest_time;
    uint32_t l1_size, seconds, nanoseconds, vm_state_size;
    char *id, *name;
    uint8_t *extra; /* as stored, behind the fields that are known */
    uint32_t extra_size;
};
struct qcow2_snapshots {
    struct qcow2_snapshot *all;
    uint32_t count;
    uint64_t bytes; /* of the table in the file */
};
/* Finish in any case. -EIO when the table makes no sense. */
int qcow2_snapshots_load(struct qcow2 *q, struct qcow2_snapshots *list);
void qcow2_snapshots_finish(struct qcow2_snapshots *list);
/* Writes the table to a new place, and has the header name that. The lock is held. */
int qcow2_snapshots_store(struct qcow2 *q, struct qcow2_snapshots *list);

/* snapshot.c; no request is under way, and the lock is not held */

/*
 * Does what does not have to be done at the moment of which a snapshot is: looks whether it can be
 * made at all, and writes what there is to write.
 */
int qcow2_snapshot_prepare(struct qcow2 *q, const char *name, struct pv_error **err);
int qcow2_snapshot_create(struct qcow2 *q, const char *name, struct pv_error **err);
/* `name` may be an id as well. */
int qcow2_snapshot_apply(struct qcow2 *q, const char *name, struct pv_error **err);
int qcow2_snapshot_delete(struct qcow2 *q, const char *name, struct pv_error **err);
/* On an image of qcow2_open_repair(): what else it has than this snapshot is given up. */
int qcow2_snapshot_rescue(struct qcow2 *q, const char *name, struct pv_error **err);

/* check.c */

struct qcow2_check {
    uint64_t clusters;  /* of the file that are used */
    uint64_t allocated; /* guest clusters that the image itself stores */
    uint64_t packed;    /* of them compressed */
    uint64_t leaks;     /* clusters whose refcount is too high */
    uint64_t errors;    /* refcounts too low, entries that make no sense */
    uint64_t repaired;
};
/*
 * Counts all references and compares them with the refcounts; with `repair`, sets refcounts and
 * copied bits right. No request is under way. An error is one that kept it from checking.
 */
int qcow2_check(struct qcow2 *q, bool repair, struct qcow2_check *result, struct pv_error **err);
/* Counts all refcounts anew, and takes marks of damage away if nothing is left to mark. */
int qcow2_repair(struct qcow2 *q, struct qcow2_check *result, struct pv_error **err);
/* The same for a file; a repair that leaves no error takes the marks of damage off. */
int qcow2_check_file(struct qcow2_check *result, const char *path, bool repair,
                     struct pv_error **err);

/* read.c, write.c: the image's functions */

int qcow2_read(struct pv_block_image *image, const struct iovec *iov, unsigned count,
               uint64_t offset);
int qcow2_read_now(struct pv_block_image *image, const struct iovec *iov, unsigned count,
                   uint64_t offset);
int qcow2_write(struct pv_block_image *image, const struct iovec *iov, unsigned count,
                uint64_t offset);
int qcow2_discard(struct pv_block_image *image, uint64_t offset, uint64_t length);
int qcow2_zero(struct pv_block_image *image, uint64_t offset, uint64_t length, bool unmap);
/* The image itself stores nothing of these guest clusters any more. */
int qcow2_unmap(struct qcow2 *q, uint64_t first, uint64_t end);
/* A run that was mapped; for writes that must complete a cluster. */
int qcow2_read_run(struct qcow2 *q, const struct qcow2_run *run, const struct iovec *iov,
                   unsigned count, uint64_t from, uint64_t length, uint64_t offset);

/* compressed.c */

/* [from, from + length) of the compressed cluster at `host`, into the iovecs at `to`. */
int qcow2_packed_read(struct qcow2 *q, uint64_t host, uint32_t bytes, uint32_t from,
                      uint32_t length, const struct iovec *iov, unsigned count, uint64_t to);
/* Writes a whole cluster that is not stored yet, compressed if it gets smaller. */
int qcow2_write_packed(struct qcow2 *q, uint64_t cluster, const void *data);
/* Bytes written to `out`, or -E2BIG when a cluster does not get smaller than `room`. */
int qcow2_pack(enum qcow2_compression compression, void *out, size_t room, const void *in,
               size_t size);

#endif
