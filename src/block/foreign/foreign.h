/* SPDX-License-Identifier: MIT */
/*
 * Formats of other programs, for reading. Such an image is a map, made when it is opened and never
 * changed, from the disk's bytes to pieces of files: a format fills the map in, and the reading is
 * done here. Pieces that are compressed are unpacked as a whole; the last one is kept.
 */
#ifndef PV_BLOCK_FOREIGN_FOREIGN_H
#define PV_BLOCK_FOREIGN_FOREIGN_H

#include "block/image.h"

#include <pthread.h>

enum pv_foreign_kind {
    PV_FOREIGN_ZERO,
    PV_FOREIGN_PLAIN, /* at `at` in the piece's file */
    /* Compressed; `at` is where that begins, `packed` how long it is at most. */
    PV_FOREIGN_ZLIB,
    PV_FOREIGN_GRAIN, /* zlib behind a VMDK grain's own header, which says how long it is */
    PV_FOREIGN_BZIP2,
};

struct pv_foreign_piece {
    uint64_t start, length; /* bytes of the disk */
    uint64_t at;            /* in the file */
    uint32_t packed;
    uint16_t file; /* index */
    uint16_t kind; /* enum pv_foreign_kind */
};

/* What is unpacked at once is no larger, and neither are a map's pieces all together. */
#define PV_FOREIGN_UNPACKED_MAX (UINT64_C(64) << 20)
#define PV_FOREIGN_PIECES_MAX   (UINT32_C(1) << 23)
#define PV_FOREIGN_FILES_MAX    256u

struct pv_foreign {
    struct pv_block_image base;
    struct pv_block_image *files[PV_FOREIGN_FILES_MAX]; /* [0] is the image file itself */
    unsigned file_count;
    struct pv_foreign_piece *pieces; /* sorted; where there is none, the disk is zeroes */
    size_t piece_count, piece_room;

    pthread_mutex_t lock; /* protects what is unpacked */
    size_t unpacked_piece;
    uint8_t *unpacked;
};

/* The ops of such a format. */
#define PV_FOREIGN_OPS(format)                                                                     \
    {                                                                                              \
        .name = (format), .read = pv_foreign_read, .flush = pv_foreign_flush,                      \
        .extent = pv_foreign_extent, .close = pv_foreign_close                                     \
    }

int pv_foreign_read(struct pv_block_image *image, const struct iovec *iov, unsigned count,
                    uint64_t offset);
int pv_foreign_flush(struct pv_block_image *image);
int pv_foreign_extent(struct pv_block_image *image, uint64_t offset, uint64_t length,
                      enum pv_block_extent *what, uint64_t *run);
void pv_foreign_close(struct pv_block_image *image);

/*
 * Opens an image: `fill` reads the file, adds pieces in order, and sets base.size. Takes over
 * source->fd on success. Refused when it is to be written to.
 */
int pv_foreign_open(struct pv_block_image **out, const struct pv_block_image_ops *ops,
                    const struct pv_block_source *source,
                    int (*fill)(struct pv_foreign *f, const struct pv_block_source *source,
                                struct pv_error **err),
                    struct pv_error **err);

/* Bytes of a file that have to be there. */
int pv_foreign_load(struct pv_foreign *f, unsigned file, void *data, size_t size, uint64_t offset,
                    const char *what, struct pv_error **err);

/* Behind all pieces so far; zeroes may be left out. Joins what goes on in the file. */
int pv_foreign_add(struct pv_foreign *f, const struct pv_foreign_piece *piece,
                   struct pv_error **err);

#endif
