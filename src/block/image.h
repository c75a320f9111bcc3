/* SPDX-License-Identifier: MIT */
/* What a disk format implements. Its functions run on worker threads, several at once. */
#ifndef PV_BLOCK_IMAGE_H
#define PV_BLOCK_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

struct pv_block_image;
struct pv_error;

/* Ranges lie inside the image, and writes come only to images that were opened for writing. */
struct pv_block_image_ops {
    const char *name;
    /* All return 0 or a negative errno. A transfer is of the iovecs' total length. */
    int (*read)(struct pv_block_image *image, const struct iovec *iov, unsigned count,
                uint64_t offset);
    int (*write)(struct pv_block_image *image, const struct iovec *iov, unsigned count,
                 uint64_t offset);
    int (*flush)(struct pv_block_image *image);
    int (*discard)(struct pv_block_image *image, uint64_t offset, uint64_t length);
    int (*zero)(struct pv_block_image *image, uint64_t offset, uint64_t length, bool unmap);
    void (*close)(struct pv_block_image *image);
};

/* Formats embed this first. */
struct pv_block_image {
    const struct pv_block_image_ops *ops;
    uint64_t size; /* bytes */
    bool read_only;
    bool can_discard;
};

/* Enough of a file's beginning to tell its format. */
#define PV_BLOCK_PROBE_SIZE 512u

/* Rows of the probe table. */
struct pv_block_format {
    const char *name;
    bool (*probe)(const uint8_t *head, size_t len);
    /* Takes over `fd`, locked and opened as `read_only` says, on success. */
    int (*open)(struct pv_block_image **out, int fd, bool read_only, struct pv_error **err);
};

/* Anything: the bytes of the file are the bytes of the disk. */
extern const struct pv_block_format pv_block_raw;

#endif
