/* SPDX-License-Identifier: MIT */
#include "block/foreign/foreign.h"

#include "base/checked.h"
#include "base/error.h"
#include "base/util.h"
#include "block/foreign/unpack.h"
#include "block/iov.h"

#include <errno.h>
#include <string.h>

/* ---- Reading ---- */

/* The first piece that ends behind `offset`; piece_count if there is none. */
static size_t find(const struct pv_foreign *f, uint64_t offset)
{
    size_t low = 0, high = f->piece_count;
    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (f->pieces[middle].start + f->pieces[middle].length <= offset)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

/* What is at `offset`: a piece, or NULL for zeroes; *run is how much of `length` that holds for. */
static const struct pv_foreign_piece *piece_at(const struct pv_foreign *f, uint64_t offset,
                                               uint64_t length, uint64_t *run)
{
    const size_t i = find(f, offset);
    const struct pv_foreign_piece *p = i < f->piece_count ? &f->pieces[i] : NULL;
    *run = length;
    if (!p)
        return NULL;
    if (p->start > offset) {
        *run = PV_MIN(length, p->start - offset);
        return NULL;
    }
    *run = PV_MIN(length, p->start + p->length - offset);
    return p->kind == PV_FOREIGN_ZERO ? NULL : p;
}

static int unpack(struct pv_foreign *f, const struct pv_foreign_piece *p, uint8_t **out)
{
    PV_CLEANUP_FREE uint8_t *data = malloc(p->length);
    PV_CLEANUP_FREE uint8_t *packed = malloc((size_t)p->packed + 1);
    if (!data || !packed)
        return -ENOMEM;
    int ret = pv_block_image_read(f->files[p->file], packed, p->packed, p->at);
    if (ret == 0)
        ret = pv_foreign_unpack((enum pv_foreign_kind)p->kind, data, (size_t)p->length, packed,
                                p->packed);
    if (ret == 0)
        *out = PV_STEAL(data);
    return ret;
}

/* From the piece that is kept; other threads may unpack theirs meanwhile. */
static int read_packed(struct pv_foreign *f, const struct pv_foreign_piece *p,
                       const struct iovec *iov, unsigned count, uint64_t from, uint64_t length,
                       uint64_t inside)
{
    const size_t index = (size_t)(p - f->pieces);
    uint8_t *data = NULL;
    pthread_mutex_lock(&f->lock);
    if (!f->unpacked || f->unpacked_piece != index) {
        pthread_mutex_unlock(&f->lock);
        int ret = unpack(f, p, &data);
        if (ret < 0)
            return ret;
        pthread_mutex_lock(&f->lock);
        free(f->unpacked);
        f->unpacked = data;
        f->unpacked_piece = index;
    }
    pv_iov_fill(iov, count, from, f->unpacked + inside, (size_t)length);
    pthread_mutex_unlock(&f->lock);
    return 0;
}

static int read_piece(struct pv_foreign *f, const struct pv_foreign_piece *p,
                      const struct iovec *iov, unsigned count, uint64_t from, uint64_t length,
                      uint64_t offset)
{
    const uint64_t inside = offset - p->start;
    if (p->kind == PV_FOREIGN_PLAIN)
        return pv_block_image_readv(f->files[p->file], iov, count, from, length, p->at + inside);
    return read_packed(f, p, iov, count, from, length, inside);
}

int pv_foreign_read(struct pv_block_image *image, const struct iovec *iov, unsigned count,
                    uint64_t offset)
{
    struct pv_foreign *f = (struct pv_foreign *)image;
    uint64_t left = 0, from = 0, run;
    int ret = 0;
    for (unsigned i = 0; i < count; i++)
        left += iov[i].iov_len;
    for (; left && ret == 0; offset += run, from += run, left -= run) {
        const struct pv_foreign_piece *p = piece_at(f, offset, left, &run);
        if (p)
            ret = read_piece(f, p, iov, count, from, run, offset);
        else
            pv_iov_zero(iov, count, from, run);
    }
    return ret;
}

int pv_foreign_flush(struct pv_block_image *image)
{
    return 0;
}

int pv_foreign_extent(struct pv_block_image *image, uint64_t offset, uint64_t length,
                      enum pv_block_extent *what, uint64_t *run)
{
    const struct pv_foreign *f = (const struct pv_foreign *)image;
    *what = piece_at(f, offset, length, run) ? PV_EXTENT_DATA : PV_EXTENT_ZERO;
    return 0;
}

void pv_foreign_close(struct pv_block_image *image)
{
    struct pv_foreign *f = (struct pv_foreign *)image;
    for (unsigned i = 0; i < f->file_count; i++)
        pv_block_image_close(f->files[i]);
    pthread_mutex_destroy(&f->lock);
    free(f->pieces);
    free(f->unpacked);
    free(f);
}

/* ---- Opening ---- */

int pv_foreign_load(struct pv_foreign *f, unsigned file, void *data, size_t size, uint64_t offset,
                    const char *what, struct pv_error **err)
{
    if (!pv_range_ok(offset, size, f->files[file]->size))
        return pv_error_set(err, EINVAL, "%s image cut short: its %s at 0x%llx is beyond its end",
                            f->base.ops->name, what, (unsigned long long)offset);
    int ret = pv_block_image_read(f->files[file], data, size, offset);
    return ret < 0 ? pv_error_errno(err, -ret, "reading its %s", what) : 0;
}

/* Whether `b` is one piece with `a`. */
static bool joins(const struct pv_foreign_piece *a, const struct pv_foreign_piece *b)
{
    return a->kind == PV_FOREIGN_PLAIN && b->kind == PV_FOREIGN_PLAIN && a->file == b->file &&
           a->start + a->length == b->start && a->at + a->length == b->at;
}

int pv_foreign_add(struct pv_foreign *f, const struct pv_foreign_piece *piece,
                   struct pv_error **err)
{
    const char *name = f->base.ops->name;
    struct pv_foreign_piece *last = f->piece_count ? &f->pieces[f->piece_count - 1] : NULL;
    const uint64_t filled = last ? last->start + last->length : 0;
    if (!piece->length || piece->kind == PV_FOREIGN_ZERO)
        return 0;
    if (piece->start < filled)
        return pv_error_set(err, EINVAL, "%s image: it says twice what is at 0x%llx", name,
                            (unsigned long long)piece->start);
    if (!pv_range_ok(piece->start, piece->length, UINT64_C(1) << 56) ||
        !pv_range_ok(piece->at, piece->length, UINT64_C(1) << 56))
        return pv_error_set(err, EINVAL, "%s image: a piece at 0x%llx of %llu bytes", name,
                            (unsigned long long)piece->at, (unsigned long long)piece->length);
    if (piece->kind != PV_FOREIGN_PLAIN &&
        (piece->length > PV_FOREIGN_UNPACKED_MAX || piece->packed > PV_FOREIGN_UNPACKED_MAX))
        return pv_error_set(err, EFBIG, "%s image: a compressed piece of %llu bytes, at most %llu",
                            name, (unsigned long long)piece->length,
                            (unsigned long long)PV_FOREIGN_UNPACKED_MAX);
    if (last && joins(last, piece)) {
        last->length += piece->length;
        return 0;
    }
    if (!f->pieces || f->piece_count == f->piece_room) {
        const size_t room = f->piece_room ? f->piece_room * 2 : 64;
        struct pv_foreign_piece *pieces = NULL;
        if (room <= PV_FOREIGN_PIECES_MAX)
            pieces = realloc(f->pieces, room * sizeof(*pieces));
        if (!pieces)
            return pv_error_set(err, ENOMEM, "%s image: no memory for a map of %zu pieces", name,
                                room);
        f->pieces = pieces;
        f->piece_room = room;
    }
    f->pieces[f->piece_count++] = *piece;
    return 0;
}

int pv_foreign_open(struct pv_block_image **out, const struct pv_block_image_ops *ops,
                    const struct pv_block_source *source,
                    int (*fill)(struct pv_foreign *f, const struct pv_block_source *source,
                                struct pv_error **err),
                    struct pv_error **err)
{
    if (!source->read_only)
        return pv_error_set(err, ENOTSUP,
                            "%s images are for reading only; 'pearvisor disk convert' makes a "
                            "qcow2 image of it",
                            ops->name);
    struct pv_foreign *f = calloc(1, sizeof(*f));
    if (!f)
        return pv_error_set(err, ENOMEM, "out of memory");
    f->base = (struct pv_block_image){.ops = ops, .read_only = true};
    pthread_mutex_init(&f->lock, NULL);
    /* The descriptor is ours only once all has worked. */
    struct pv_block_source file = *source;
    file.fd = dup(source->fd);
    int ret = file.fd < 0 ? pv_error_errno(err, errno, "opening it")
                          : pv_block_raw.open(&f->files[0], &file, err);
    if (ret == 0) {
        f->file_count = 1;
        ret = fill(f, source, err);
    } else if (file.fd >= 0) {
        close(file.fd);
    }
    if (ret < 0) {
        pv_foreign_close(&f->base);
        return ret;
    }
    close(source->fd);
    *out = &f->base;
    return 0;
}
