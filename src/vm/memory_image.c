/* SPDX-License-Identifier: MIT */
/*
 * The file is a head, pieces, a list of the pieces, and a tail. A piece holds pages of one chunk of
 * 64: the list says which ones it speaks of and which of those are not zero; these are in the file,
 * compressed as one. A page that is written a second time is in a later piece, which counts; so
 * the writer only ever appends.
 *
 * The list is at the end and has a checksum of its own, so that a reader knows for sure where each
 * page is before it has read any (vm/memory_load.c). Every byte is under some checksum.
 *
 * Compressing is what takes the time, and so there are threads for it: the writer copies the pages
 * into the next of a ring of slots, some thread compresses them, and slots go into the file in the
 * order they were filled. A writer that finds the ring full compresses as well instead of waiting.
 * The threads begin with the first page, so that they are as nice as the thread that writes.
 */
#include "vm/memory_image.h"

#include "base/error.h"
#include "base/util.h"
#include "host/thread.h"
#include "vm/memory_format.h"

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#define LEVEL       1 /* of zstd: this is about keeping up with the guest */
#define MAX_HELPERS 7u
#define SLOTS       (4 * (MAX_HELPERS + 1))

/* Chunks on their way. FILLED ones are behind all that are BUSY or DONE. */
struct slot {
    enum { EMPTY, FILLED, BUSY, DONE } state; /* under the lock; the rest is its owner's */
    struct memory_piece piece;
    const char *error; /* zstd's, or NULL */
    size_t plain_size;
    uint8_t plain[PV_MEMORY_CHUNK];
    uint8_t packed[ZSTD_COMPRESSBOUND(PV_MEMORY_CHUNK)];
};

struct pv_memory_image {
    int fd;
    struct pv_memory_counts counts;
    struct memory_piece *pieces;
    size_t pieces_room;
    ZSTD_CCtx *zstd;    /* the writer's */
    struct slot *slots; /* SLOTS */
    uint64_t head;      /* slots that were filled, ever; the writer's */
    uint64_t tail;      /* slots that are in the file */

    pthread_t helpers[MAX_HELPERS];
    unsigned helper_count;
    bool started;
    pthread_mutex_t lock; /* for these, and slots' states */
    pthread_cond_t changed;
    uint64_t filled, taken; /* by number: those between are FILLED */
    bool ending;
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
    pthread_mutex_init(&image->lock, NULL);
    pthread_cond_init(&image->changed, NULL);
    image->slots = calloc(SLOTS, sizeof(image->slots[0]));
    image->zstd = ZSTD_createCCtx();
    int ret = image->slots && image->zstd ? write_all(image, &head, sizeof(head), err)
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

/* ---- Compressing ---- */

static void compress_slot(struct slot *slot, ZSTD_CCtx *zstd)
{
    size_t size = 0;

    if (slot->plain_size)
        size = ZSTD_compressCCtx(zstd, slot->packed, sizeof(slot->packed), slot->plain,
                                 slot->plain_size, LEVEL);
    slot->error = ZSTD_isError(size) ? ZSTD_getErrorName(size) : NULL;
    slot->piece.size = slot->error ? 0 : (uint32_t)size;
    slot->piece.crc = (uint32_t)crc32_z(0, slot->packed, slot->piece.size);
}

/* With the lock, which is let go meanwhile. False when no slot waits. */
static bool compress_next(struct pv_memory_image *image, ZSTD_CCtx *zstd)
{
    if (image->taken == image->filled)
        return false;
    struct slot *slot = &image->slots[image->taken++ % SLOTS];
    slot->state = BUSY;
    pthread_mutex_unlock(&image->lock);
    compress_slot(slot, zstd);
    pthread_mutex_lock(&image->lock);
    slot->state = DONE;
    pthread_cond_broadcast(&image->changed);
    return true;
}

static void *help(void *opaque)
{
    struct pv_memory_image *image = opaque;
    ZSTD_CCtx *zstd = ZSTD_createCCtx();

    pv_thread_name("snapshot-pack");
    pthread_mutex_lock(&image->lock);
    while (zstd && !image->ending)
        if (!compress_next(image, zstd))
            pthread_cond_wait(&image->changed, &image->lock);
    pthread_mutex_unlock(&image->lock);
    ZSTD_freeCCtx(zstd);
    return NULL;
}

/* As many as there are CPUs besides the writer's. It does without those that cannot be had. */
static void start_helpers(struct pv_memory_image *image)
{
    const unsigned wanted = PV_MIN(pv_host_cpus() - 1, MAX_HELPERS);

    image->started = true;
    while (image->helper_count < wanted &&
           pv_thread_create(&image->helpers[image->helper_count], help, image) == 0)
        image->helper_count++;
}

/* ---- The ring ---- */

/* Puts the oldest slot into the file, when some thread has done it. */
static int write_oldest(struct pv_memory_image *image, struct pv_error **err)
{
    struct slot *slot = &image->slots[image->tail % SLOTS];

    pthread_mutex_lock(&image->lock);
    while (slot->state != DONE)
        if (!compress_next(image, image->zstd))
            pthread_cond_wait(&image->changed, &image->lock);
    slot->state = EMPTY;
    pthread_mutex_unlock(&image->lock);
    image->tail++;
    if (slot->error)
        return pv_error_set(err, EIO, "compressing memory: %s", slot->error);
    int ret = write_all(image, slot->packed, slot->piece.size, err);
    return ret < 0 ? ret : add_piece(image, &slot->piece, err);
}

static bool is_zero(const uint8_t *page)
{
    return !page[0] && memcmp(page, page + 1, PV_GUEST_PAGE - 1) == 0;
}

/* Copied, since what is looked at and compressed has to stay the same. */
static void fill_slot(struct slot *slot, uint64_t address, const uint8_t *data, uint64_t pages)
{
    slot->piece = (struct memory_piece){.address = address, .pages = pages};
    slot->plain_size = 0;
    for (uint64_t rest = pages; rest; rest &= rest - 1) {
        const unsigned i = (unsigned)__builtin_ctzll(rest);
        uint8_t *page = slot->plain + slot->plain_size;
        memcpy(page, data + (size_t)i * PV_GUEST_PAGE, PV_GUEST_PAGE);
        if (is_zero(page))
            continue;
        slot->piece.filled |= UINT64_C(1) << i;
        slot->plain_size += PV_GUEST_PAGE;
    }
}

int pv_memory_image_write(struct pv_memory_image *image, uint64_t address, const void *data,
                          uint64_t pages, struct pv_error **err)
{
    if (!pages)
        return 0;
    if (!image->started)
        start_helpers(image);
    if (image->head - image->tail == SLOTS) {
        int ret = write_oldest(image, err);
        if (ret < 0)
            return ret;
    }
    struct slot *slot = &image->slots[image->head++ % SLOTS];
    fill_slot(slot, address, data, pages);
    image->counts.pages += (uint64_t)__builtin_popcountll(slot->piece.filled);
    pthread_mutex_lock(&image->lock);
    slot->state = FILLED;
    image->filled = image->head;
    pthread_cond_signal(&image->changed);
    pthread_mutex_unlock(&image->lock);
    return 0;
}

static int write_all_slots(struct pv_memory_image *image, struct pv_error **err)
{
    int ret = 0;

    while (image->tail != image->head && ret >= 0)
        ret = write_oldest(image, err);
    return ret;
}

/* ---- The end ---- */

int pv_memory_image_end(struct pv_memory_image *image, struct pv_memory_counts *counts,
                        struct pv_error **err)
{
    int ret = write_all_slots(image, err);
    if (ret < 0)
        return ret;
    const size_t size = (size_t)image->counts.pieces * sizeof(image->pieces[0]);
    struct memory_tail tail = {MEMORY_INDEX, image->counts.pieces, image->counts.pages, 0, 0};
    uLong crc = crc32_z(0, (const Bytef *)&tail, offsetof(struct memory_tail, crc));

    tail.crc = (uint32_t)(size ? crc32_z(crc, (const Bytef *)image->pieces, size) : crc);
    ret = write_all(image, image->pieces, size, err);
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
    pthread_mutex_lock(&image->lock);
    image->ending = true;
    pthread_cond_broadcast(&image->changed);
    pthread_mutex_unlock(&image->lock);
    for (unsigned i = 0; i < image->helper_count; i++)
        pthread_join(image->helpers[i], NULL);
    pthread_cond_destroy(&image->changed);
    pthread_mutex_destroy(&image->lock);
    ZSTD_freeCCtx(image->zstd);
    free(image->slots);
    free(image->pieces);
    free(image);
}
