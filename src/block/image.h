/* SPDX-License-Identifier: MIT */
/*
 * What a disk format implements. Images are filters over other images: a qcow2 image reads its file
 * as a raw image, and what it does not hold from a backing image of any format.
 *
 * Functions run on worker threads, several at once, unless they say otherwise.
 */
#ifndef PV_BLOCK_IMAGE_H
#define PV_BLOCK_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct pv_block_format;
struct pv_block_image;
struct pv_error;

/* What is known about a range without reading it. */
enum pv_block_extent {
    PV_EXTENT_DATA,    /* this image has it */
    PV_EXTENT_ZERO,    /* this image knows it to be zeroes */
    PV_EXTENT_BACKING, /* comes from the backing image, or is zeroes when there is none */
};

/* Ranges lie inside the image, and writes come only to images that were opened for writing. */
struct pv_block_image_ops {
    const char *name;
    /* All return 0 or a negative errno. A transfer is of the iovecs' total length. */
    int (*read)(struct pv_block_image *image, const struct iovec *iov, unsigned count,
                uint64_t offset);
    /*
     * The same on the loop's thread, which must not wait: -EAGAIN, with anything in the iovecs,
     * where a disk or another thread would have to be waited for. NULL where it always would.
     */
    int (*read_now)(struct pv_block_image *image, const struct iovec *iov, unsigned count,
                    uint64_t offset);
    int (*write)(struct pv_block_image *image, const struct iovec *iov, unsigned count,
                 uint64_t offset);
    int (*flush)(struct pv_block_image *image);
    int (*discard)(struct pv_block_image *image, uint64_t offset, uint64_t length);
    int (*zero)(struct pv_block_image *image, uint64_t offset, uint64_t length, bool unmap);
    /*
     * Makes the disk longer, where it reads as zeroes, or shorter; changes image->size. No request
     * is under way. NULL where the format cannot.
     */
    int (*resize)(struct pv_block_image *image, uint64_t size);
    /* How the range begins, and for how many bytes (1 to length) that holds. */
    int (*extent)(struct pv_block_image *image, uint64_t offset, uint64_t length,
                  enum pv_block_extent *what, uint64_t *run);
    /* Snapshots inside the image. No request is under way. NULL where there are none. */
    int (*snapshot_prepare)(struct pv_block_image *image, const char *name, struct pv_error **err);
    int (*snapshot_create)(struct pv_block_image *image, const char *name, struct pv_error **err);
    int (*snapshot_apply)(struct pv_block_image *image, const char *name, struct pv_error **err);
    int (*snapshot_delete)(struct pv_block_image *image, const char *name, struct pv_error **err);
    /* No request is under way. Writes back what is cached; errors are logged. */
    void (*close)(struct pv_block_image *image);
};

/* Formats embed this first. */
struct pv_block_image {
    const struct pv_block_image_ops *ops;
    uint64_t size; /* bytes */
    bool read_only;
    bool can_discard;
    struct pv_block_image *backing; /* NULL where there is none */
};

/* A file being opened as an image. */
struct pv_block_source {
    int fd;           /* locked, and opened as read_only says */
    const char *path; /* names inside the image are relative to its folder */
    bool read_only;
    bool repair; /* opened to be repaired: damage is no reason to refuse */
    bool alone;  /* without its backing image: for what the image itself stores */
    /* The image that refers to this one, and so on; NULL for the first. Valid while opening. */
    const struct pv_block_source *parent;
};

/* Enough of a file to tell its format. */
#define PV_BLOCK_PROBE_SIZE 512u
struct pv_block_head {
    uint8_t start[PV_BLOCK_PROBE_SIZE]; /* zeroes where the file is shorter */
    size_t size;
    uint8_t end[PV_BLOCK_PROBE_SIZE]; /* its last bytes; zeroes where it is shorter */
    const char *path;
};

/* Rows of the format table. */
struct pv_block_format {
    const char *name;
    bool (*probe)(const struct pv_block_head *head);
    /* Takes over source->fd on success. */
    int (*open)(struct pv_block_image **out, const struct pv_block_source *source,
                struct pv_error **err);
};

/* Anything: the bytes of the file are the bytes of the disk. */
extern const struct pv_block_format pv_block_raw;
extern const struct pv_block_format pv_block_qcow2;
/* For reading only. */
extern const struct pv_block_format pv_block_dmg;
extern const struct pv_block_format pv_block_vdi;
extern const struct pv_block_format pv_block_vhdx;
extern const struct pv_block_format pv_block_vmdk;

/* What the file looks like; a constant. */
int pv_block_probe(const struct pv_block_format **format, int fd, const char *path,
                   struct pv_error **err);

/*
 * Opens and locks `path` as an image: of the format named, or what it is probed to be when `format`
 * is NULL. The parent, or NULL, is what keeps chains from biting their tails.
 */
int pv_block_image_open(struct pv_block_image **out, const char *path, bool read_only,
                        const char *format, const struct pv_block_source *parent,
                        struct pv_error **err);

/* The file alone, locked. Returns a descriptor or a negative errno. */
int pv_block_file_open(const char *path, bool read_only, struct pv_error **err);

/* NULL is fine. */
void pv_block_image_close(struct pv_block_image *image);

/* ---- For formats ---- */

/* A name that stands in the image `path` is relative to its folder. NULL without memory. */
char *pv_block_name_beside(const char *path, const char *name);

/* Plain bytes instead of iovecs. */
int pv_block_image_read(struct pv_block_image *image, void *data, size_t length, uint64_t offset);
int pv_block_image_write(struct pv_block_image *image, const void *data, size_t length,
                         uint64_t offset);
/* [from, from + length) of the iovecs. */
int pv_block_image_readv(struct pv_block_image *image, const struct iovec *iov, unsigned count,
                         uint64_t from, uint64_t length, uint64_t offset);
int pv_block_image_writev(struct pv_block_image *image, const struct iovec *iov, unsigned count,
                          uint64_t from, uint64_t length, uint64_t offset);

/*
 * Reads through a backing image, which may be NULL or shorter than what refers to it: there it has
 * zeroes.
 */
int pv_block_backing_readv(struct pv_block_image *backing, const struct iovec *iov, unsigned count,
                           uint64_t from, uint64_t length, uint64_t offset);

#endif
