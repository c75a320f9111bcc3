/* SPDX-License-Identifier: MIT */
/*
 * The file is a head, pieces, a list of the pieces, and a tail. A piece holds pages of one chunk of
 * 64: the list says which ones it speaks of and which of those are not zero; these are in the file,
 * compressed as one. A page that is written a second time is in a later piece, which counts; so
 * the writer only ever appends.
 *
 * The list is at the end and has a checksum of its own, so that a reader knows for sure where each
 * page is before it has read any (vm/memory_load.c). Every byte is under some checksum.
 */
#include "vm/memory_image.h"

#include "base/error.h"
#include "base/util.h"
#include "vm/memory_format.h"

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

#define LEVEL 1 /* of zstd: this is about keeping up with the guest */

struct pv_memory_image {
    int fd;
    ZSTD_CCtx *zstd;
    struct pv_memory_counts counts;
    struct memory_piece *pieces;
    size_t pieces_room;
    size_t room; /* of `packed` */
    uint8_t *packed;
    uint8_t plain[PV_MEMORY_CHUNK];
};

static int out_of_memory(struct pv_error **err)
{
    return pv_error_set(err, ENOMEM, "out of memory for the snapshot");
}

static int write_all(struct pv_memory_image *image, const void *data, size_t size,
                     struct pv_error **err)
{
    const char *at = data;

    image->counts.bytes += size;
    while (size) {
        ssize_t n = write(image->fd, at, size);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return pv_error_errno(err, n < 0 ? errno : EIO, "writing the memory");
        at += n;
        size -= (size_t)n;
    }
    return 0;
}

int pv_memory_image_create(struct pv_memory_image **out, int fd, struct pv_error **err)
{
    const struct memory_head head = {MEMORY_MAGIC, MEMORY_VERSION, PV_GUEST_PAGE};
    struct pv_memory_image *image = calloc(1, sizeof(*image));

    if (!image)
        return out_of_memory(err);
    image->fd = fd;
    image->room = ZSTD_compressBound(sizeof(image->plain));
    image->packed = malloc(image->room);
    image->zstd = ZSTD_createCCtx();
    int ret = image->packed && image->zstd ? write_all(image, &head, sizeof(head), err)
                                           : out_of_memory(err);
    if (ret < 0) {
        pv_memory_image_destroy(image);
        return ret;
    }
    *out = image;
    return 0;
}

static int add_piece(struct pv_memory_image *image, const struct memory_piece *piece,
                     struct pv_error **err)
{
    if (image->counts.pieces == image->pieces_room) {
        size_t room = image->pieces_room ? 2 * image->pieces_room : 1024;
        struct memory_piece *pieces = realloc(image->pieces, room * sizeof(*pieces));
        if (!pieces)
            return out_of_memory(err);
        image->pieces = pieces;
        image->pieces_room = room;
    }
    image->pieces[image->counts.pieces++] = *piece;
    return 0;
}

static bool is_zero(const uint8_t *page)
{
    return !page[0] && memcmp(page, page + 1, PV_GUEST_PAGE - 1) == 0;
}

int pv_memory_image_write(struct pv_memory_image *image, uint64_t address, const void *data,
                          uint64_t pages, struct pv_error **err)
{
    struct memory_piece piece = {.address = address, .pages = pages};
    size_t plain = 0;

    if (!pages)
        return 0;
    /* Copied first: what is looked at and compressed has to stay the same. */
    for (uint64_t rest = pages; rest; rest &= rest - 1) {
        const unsigned i = (unsigned)__builtin_ctzll(rest);
        uint8_t *page = image->plain + plain;
        memcpy(page, (const uint8_t *)data + (size_t)i * PV_GUEST_PAGE, PV_GUEST_PAGE);
        if (is_zero(page))
            continue;
        piece.filled |= UINT64_C(1) << i;
        plain += PV_GUEST_PAGE;
        image->counts.pages++;
    }
    if (plain) {
        size_t size =
            ZSTD_compressCCtx(image->zstd, image->packed, image->room, image->plain, plain, LEVEL);
        if (ZSTD_isError(size))
            return pv_error_set(err, EIO, "compressing memory: %s", ZSTD_getErrorName(size));
        piece.size = (uint32_t)size;
    }
    piece.crc = (uint32_t)crc32_z(0, image->packed, piece.size);
    int ret = write_all(image, image->packed, piece.size, err);
    return ret < 0 ? ret : add_piece(image, &piece, err);
}

int pv_memory_image_end(struct pv_memory_image *image, struct pv_memory_counts *counts,
                        struct pv_error **err)
{
    const size_t size = (size_t)image->counts.pieces * sizeof(image->pieces[0]);
    struct memory_tail tail = {MEMORY_INDEX, image->counts.pieces, image->counts.pages, 0, 0};
    uLong crc = crc32_z(0, (const Bytef *)&tail, offsetof(struct memory_tail, crc));

    tail.crc = (uint32_t)(size ? crc32_z(crc, (const Bytef *)image->pieces, size) : crc);
    int ret = write_all(image, image->pieces, size, err);
    if (ret >= 0)
        ret = write_all(image, &tail, sizeof(tail), err);
    if (ret >= 0 && fsync(image->fd) < 0)
        ret = pv_error_errno(err, errno, "writing the memory");
    *counts = image->counts;
    return ret;
}

void pv_memory_image_destroy(struct pv_memory_image *image)
{
    if (!image)
        return;
    ZSTD_freeCCtx(image->zstd);
    free(image->packed);
    free(image->pieces);
    free(image);
}
