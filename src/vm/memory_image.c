/* SPDX-License-Identifier: MIT */
/*
 * The file is a head, frames, and a last frame that says how many there were. A frame holds pages
 * of one chunk of 64: which ones it speaks of, which of those are not zero, and these compressed as
 * one piece. A page that is written a second time is in a later frame, which counts; so the writer
 * only ever appends, and needs to remember nothing.
 *
 * Frames are read by several threads. What belongs to one chunk goes to one thread, in its order,
 * so that later frames come later there too. Every frame has a checksum over head and contents, and
 * the frames are counted: a bit that changed, a frame that is missing and a file that was cut off
 * are all found.
 */
#include "vm/memory_image.h"

#include "base/error.h"
#include "base/util.h"
#include "host/thread.h"
#include "memory/address_space.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "frames are little-endian");

#define FRAME_MAGIC 0x52465650u /* "PVFR" */
#define END_MAGIC   0x4e455650u /* "PVEN" */
#define VERSION     1u
#define LEVEL       1 /* of zstd: this is about keeping up with the guest */
#define MAX_READERS 8u

struct head {
    char magic[8];
    uint32_t version;
    uint32_t page_size;
};

struct frame {
    uint32_t magic;
    uint32_t size;    /* bytes that follow */
    uint64_t address; /* of the chunk; of the last frame: how many came before it */
    uint64_t pages;   /* that it speaks of */
    uint64_t filled;  /* and that are not zero: what follows, in their order */
    uint32_t reserved;
    uint32_t crc; /* of all before this, and of what follows */
};
_Static_assert(sizeof(struct frame) == 40, "as in the file");

static const struct head good_head = {"PVMEMORY", VERSION, PV_GUEST_PAGE};

static uint32_t checksum(const struct frame *frame, const void *data)
{
    uLong crc = crc32_z(0, (const Bytef *)frame, offsetof(struct frame, crc));
    return (uint32_t)crc32_z(crc, data, frame->size);
}

/* ---- Writing ---- */

struct pv_memory_image {
    int fd;
    ZSTD_CCtx *zstd;
    struct pv_memory_counts counts;
    size_t room; /* of `packed` */
    uint8_t *packed;
    uint8_t plain[PV_MEMORY_CHUNK];
};

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
    struct pv_memory_image *image = calloc(1, sizeof(*image));

    if (!image)
        return pv_error_set(err, ENOMEM, "out of memory for the snapshot");
    image->fd = fd;
    image->room = ZSTD_compressBound(sizeof(image->plain));
    image->packed = malloc(image->room);
    image->zstd = ZSTD_createCCtx();
    int ret = image->packed && image->zstd
                  ? write_all(image, &good_head, sizeof(good_head), err)
                  : pv_error_set(err, ENOMEM, "out of memory for the snapshot");
    if (ret < 0) {
        pv_memory_image_destroy(image);
        return ret;
    }
    *out = image;
    return 0;
}

static bool is_zero(const uint8_t *page)
{
    return !page[0] && memcmp(page, page + 1, PV_GUEST_PAGE - 1) == 0;
}

int pv_memory_image_write(struct pv_memory_image *image, uint64_t address, const void *data,
                          uint64_t pages, struct pv_error **err)
{
    struct frame frame = {.magic = FRAME_MAGIC, .address = address, .pages = pages};
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
        frame.filled |= UINT64_C(1) << i;
        plain += PV_GUEST_PAGE;
        image->counts.pages++;
    }
    if (plain) {
        size_t size =
            ZSTD_compressCCtx(image->zstd, image->packed, image->room, image->plain, plain, LEVEL);
        if (ZSTD_isError(size))
            return pv_error_set(err, EIO, "compressing memory: %s", ZSTD_getErrorName(size));
        frame.size = (uint32_t)size;
    }
    frame.crc = checksum(&frame, image->packed);
    image->counts.frames++;
    int ret = write_all(image, &frame, sizeof(frame), err);
    return ret < 0 ? ret : write_all(image, image->packed, frame.size, err);
}

int pv_memory_image_end(struct pv_memory_image *image, struct pv_memory_counts *counts,
                        struct pv_error **err)
{
    struct frame frame = {.magic = END_MAGIC, .address = image->counts.frames};

    frame.crc = checksum(&frame, image->packed);
    int ret = write_all(image, &frame, sizeof(frame), err);
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
    free(image);
}

/* ---- Reading ---- */

/* A frame and where its contents are. */
struct place {
    struct frame frame;
    uint64_t offset;
};

struct load {
    int fd;
    struct pv_address_space *as; /* or NULL */
    struct place *places;
    size_t count, room;
    unsigned readers;
};

struct reader {
    struct load *load;
    unsigned index;
    pthread_t thread;
    bool running;
    struct pv_error *error;
    uint8_t plain[PV_MEMORY_CHUNK];
};

static int read_all(int fd, void *data, size_t size, uint64_t offset, struct pv_error **err)
{
    char *at = data;

    while (size) {
        ssize_t n = pread(fd, at, size, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pv_error_errno(err, errno, "reading the memory");
        if (n == 0)
            return pv_error_set(err, EIO, "the memory's file was cut off at %llu bytes",
                                (unsigned long long)offset);
        at += n;
        offset += (uint64_t)n;
        size -= (size_t)n;
    }
    return 0;
}

static int check_head(int fd, struct pv_error **err)
{
    struct head head;
    int ret = read_all(fd, &head, sizeof(head), 0, err);

    if (ret < 0)
        return ret;
    if (memcmp(head.magic, good_head.magic, sizeof(head.magic)) != 0)
        return pv_error_set(err, EINVAL, "not a snapshot's memory");
    if (head.version != VERSION || head.page_size != PV_GUEST_PAGE)
        return pv_error_set(err, ENOTSUP,
                            "memory of version %u in pages of %u bytes; %u and %u are known",
                            head.version, head.page_size, VERSION, PV_GUEST_PAGE);
    return 0;
}

static int add_place(struct load *load, const struct frame *frame, uint64_t offset,
                     struct pv_error **err)
{
    if (load->count == load->room) {
        size_t room = load->room ? 2 * load->room : 1024;
        struct place *places = realloc(load->places, room * sizeof(*places));
        if (!places)
            return pv_error_set(err, ENOMEM, "out of memory for the snapshot");
        load->places = places;
        load->room = room;
    }
    load->places[load->count++] = (struct place){*frame, offset};
    return 0;
}

/* Finds all frames; what they say is checked when they are read. */
static int find_frames(struct load *load, struct pv_error **err)
{
    const size_t most = ZSTD_compressBound(PV_MEMORY_CHUNK);
    uint64_t offset = sizeof(struct head);

    for (;;) {
        struct frame frame;
        int ret = read_all(load->fd, &frame, sizeof(frame), offset, err);
        if (ret < 0)
            return ret;
        const bool end = frame.magic == END_MAGIC;
        if ((frame.magic != FRAME_MAGIC && !end) || frame.size > (end ? 0 : most))
            return pv_error_set(err, EIO, "the memory is damaged at %llu bytes",
                                (unsigned long long)offset);
        offset += sizeof(frame);
        if (end && (frame.crc != checksum(&frame, "") || frame.address != load->count))
            return pv_error_set(err, EIO, "the memory is damaged: %zu pieces where %llu should be",
                                load->count, (unsigned long long)frame.address);
        if (end)
            return 0;
        ret = add_place(load, &frame, offset, err);
        if (ret < 0)
            return ret;
        offset += frame.size;
    }
}

static int unpack(struct reader *reader, const struct place *place, ZSTD_DCtx *zstd, void *packed,
                  struct pv_error **err)
{
    const struct frame *frame = &place->frame;
    const size_t want = (size_t)__builtin_popcountll(frame->filled) * PV_GUEST_PAGE;
    int ret = read_all(reader->load->fd, packed, frame->size, place->offset, err);

    if (ret < 0)
        return ret;
    if (frame->crc != checksum(frame, packed) || (frame->filled & ~frame->pages) ||
        frame->address % PV_MEMORY_CHUNK)
        return pv_error_set(err, EIO, "the memory at %#llx is damaged",
                            (unsigned long long)frame->address);
    size_t got = want ? ZSTD_decompressDCtx(zstd, reader->plain, want, packed, frame->size) : 0;
    if (ZSTD_isError(got) || got != want)
        return pv_error_set(err, EIO, "the memory at %#llx does not unpack",
                            (unsigned long long)frame->address);
    return 0;
}

/* Pages are zero before the first frame has them, and stay untouched when they still are. */
static int put(struct reader *reader, const struct place *place, struct pv_error **err)
{
    const struct frame *frame = &place->frame;
    const uint8_t *from = reader->plain;

    if (!reader->load->as)
        return 0;
    uint8_t *to = pv_as_ram(reader->load->as, frame->address, PV_MEMORY_CHUNK, true);
    if (!to)
        return pv_error_set(err, EINVAL, "the snapshot has memory at %#llx, this VM has none there",
                            (unsigned long long)frame->address);
    for (uint64_t rest = frame->pages; rest; rest &= rest - 1) {
        const unsigned i = (unsigned)__builtin_ctzll(rest);
        uint8_t *page = to + (size_t)i * PV_GUEST_PAGE;
        if (frame->filled >> i & 1) {
            memcpy(page, from, PV_GUEST_PAGE);
            from += PV_GUEST_PAGE;
        } else if (!is_zero(page)) {
            memset(page, 0, PV_GUEST_PAGE);
        }
    }
    return 0;
}

static void *read_frames(void *opaque)
{
    struct reader *reader = opaque;
    struct load *load = reader->load;
    PV_CLEANUP_FREE void *packed = malloc(ZSTD_compressBound(PV_MEMORY_CHUNK));
    ZSTD_DCtx *zstd = ZSTD_createDCtx();
    int ret = 0;

    if (!packed || !zstd)
        ret = pv_error_set(&reader->error, ENOMEM, "out of memory for the snapshot");
    for (size_t i = 0; i < load->count && ret >= 0; i++) {
        const struct place *place = &load->places[i];
        if (place->frame.address / PV_MEMORY_CHUNK % load->readers != reader->index)
            continue;
        ret = unpack(reader, place, zstd, packed, &reader->error);
        if (ret >= 0)
            ret = put(reader, place, &reader->error);
    }
    ZSTD_freeDCtx(zstd);
    return NULL;
}

static int run_readers(struct load *load, struct pv_error **err)
{
    const long cpus = sysconf(_SC_NPROCESSORS_ONLN);
    int ret = 0;

    load->readers = (unsigned)PV_MIN(PV_MAX(cpus, 1L), (long)MAX_READERS);
    struct reader *readers = calloc(load->readers, sizeof(*readers));
    if (!readers)
        return pv_error_set(err, ENOMEM, "out of memory for the snapshot");
    for (unsigned i = 0; i < load->readers; i++) {
        readers[i].load = load;
        readers[i].index = i;
        readers[i].running = pv_thread_create(&readers[i].thread, read_frames, &readers[i]) == 0;
        if (!readers[i].running)
            read_frames(&readers[i]);
    }
    for (unsigned i = 0; i < load->readers; i++) {
        if (readers[i].running)
            pthread_join(readers[i].thread, NULL);
        if (readers[i].error && ret >= 0)
            ret = pv_error_set(err, pv_error_code(readers[i].error), "%s",
                               pv_error_message(readers[i].error));
        pv_error_free(&readers[i].error);
    }
    free(readers);
    return ret;
}

int pv_memory_image_load(int fd, struct pv_address_space *as, struct pv_memory_counts *counts,
                         struct pv_error **err)
{
    struct load load = {.fd = fd, .as = as};
    struct stat st;
    int ret =
        fstat(fd, &st) < 0 ? pv_error_errno(err, errno, "the memory's file") : check_head(fd, err);

    if (ret >= 0)
        ret = find_frames(&load, err);
    if (ret >= 0)
        ret = run_readers(&load, err);
    if (ret >= 0 && counts) {
        *counts = (struct pv_memory_counts){.frames = load.count, .bytes = (uint64_t)st.st_size};
        for (size_t i = 0; i < load.count; i++)
            counts->pages += (uint64_t)__builtin_popcountll(load.places[i].frame.filled);
    }
    free(load.places);
    return ret;
}
