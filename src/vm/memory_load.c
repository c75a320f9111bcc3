/* SPDX-License-Identifier: MIT */
/*
 * Pieces are sorted by chunk when the files are opened; from then on a chunk is what is read: all
 * of its pieces, in the order they were written, since a later one counts. A chunk is absent until
 * somebody wants it; whoever comes first reads it, and others who want it wait for him. So it does
 * not matter who reads, and reading everything at once, reading behind a running machine's back,
 * and reading what a vCPU has just run into are the same thing.
 *
 * Why the machine asks (pv_as_set_filler()) and not the host's page tables: there is no way to have
 * faults of a system call served (a disk's read into guest memory) that works for every user on
 * every host. userfaultfd needs privileges for that, and write protection with a signal handler
 * makes such a call fail. Our engines translate addresses by tables that are filled in C, and
 * devices get their pointers from one function: there the question costs nothing that can be
 * measured. It also means that a page which turns out to be damaged is an error of a function, not
 * a signal.
 */
#include "vm/memory_load.h"

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "host/thread.h"
#include "vm/memory_format.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>
#include <zstd.h>

#define MAX_THREADS 8u
#define MAX_PIECES  (UINT64_C(1) << 26) /* two GiB of list */
#define LATE_NICE   10

/* A piece, and where it is. */
struct place {
    struct memory_piece piece;
    uint64_t offset;
    size_t order; /* among all */
    uint32_t file;
    bool framed; /* version 1: the checksum is over a frame, too */
};

enum chunk_state { ABSENT, BUSY, THERE, DAMAGED };

struct chunk {
    const struct place *places;
    size_t count;
    uint8_t *to; /* NULL: nowhere */
    _Atomic(uint8_t) state;
};

/* What one thread needs to read a chunk. */
struct unpacker {
    ZSTD_DCtx *zstd;
    struct unpacker *next;
    uint8_t plain[PV_MEMORY_CHUNK];
    uint8_t packed[]; /* `most` bytes */
};

struct pv_memory_load {
    struct pv_address_space *as; /* or NULL */
    int fds[PV_MEMORY_MAX_FILES];
    size_t files;
    bool unsure; /* a version 1 file: where pages are is known when all is read */
    size_t most; /* bytes of a piece */
    struct place *places;
    size_t place_count, place_room;
    struct chunk *chunks;
    size_t chunk_count;
    struct pv_memory_counts counts;

    struct pv_as_filler filler;
    void (*failed)(void *opaque, const char *message);
    void *failed_opaque;

    atomic_size_t next; /* that the threads go on with */
    atomic_bool given_up;
    pthread_t threads[MAX_THREADS];
    unsigned thread_count;
    atomic_uint threads_left;
    bool late; /* they read behind a running machine's back */

    pthread_mutex_t lock; /* for these, and states that become BUSY or end */
    pthread_cond_t changed;
    struct unpacker *unpackers;
    struct pv_error *error; /* the first */
};

static int out_of_memory(struct pv_error **err)
{
    return pv_error_set(err, ENOMEM, "out of memory for the snapshot");
}

/* ---- What is where ---- */

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

static int add_place(struct pv_memory_load *load, const struct place *place, struct pv_error **err)
{
    const struct memory_piece *piece = &place->piece;

    if (load->place_count == load->place_room) {
        size_t room = load->place_room ? 2 * load->place_room : 1024;
        struct place *places = realloc(load->places, room * sizeof(*places));
        if (!places)
            return out_of_memory(err);
        load->places = places;
        load->place_room = room;
    }
    load->places[load->place_count] = *place;
    load->places[load->place_count].order = load->place_count;
    load->place_count++;
    load->counts.pieces++;
    load->counts.pages += (uint64_t)__builtin_popcountll(piece->filled);
    return 0;
}

static int check_piece(const struct pv_memory_load *load, const struct memory_piece *piece,
                       struct pv_error **err)
{
    if (piece->size > load->most || (piece->filled & ~piece->pages) ||
        piece->address % PV_MEMORY_CHUNK || !piece->filled != !piece->size)
        return pv_error_set(err, EIO, "the snapshot's memory at %#llx is damaged",
                            (unsigned long long)piece->address);
    return 0;
}

/* Version 2: the list at the end, which has to fit the file to the byte. */
static int read_list(struct pv_memory_load *load, uint32_t file, uint64_t size,
                     struct pv_error **err)
{
    const int fd = load->fds[file];
    struct memory_tail tail;
    struct place place = {.offset = sizeof(struct memory_head), .file = file};

    if (size < sizeof(struct memory_head) + sizeof(tail))
        return pv_error_set(err, EIO, "the memory's file was cut off at %llu bytes",
                            (unsigned long long)size);
    const uint64_t end = size - sizeof(tail);
    int ret = read_all(fd, &tail, sizeof(tail), end, err);
    if (ret < 0)
        return ret;
    if (memcmp(tail.magic, MEMORY_INDEX, sizeof(tail.magic)) != 0)
        return pv_error_set(err, EIO, "the memory's file was cut off at %llu bytes, or damaged",
                            (unsigned long long)size);
    const uint64_t bytes = tail.pieces * sizeof(struct memory_piece);
    if (tail.pieces > MAX_PIECES || bytes > end - sizeof(struct memory_head))
        return pv_error_set(err, EIO, "the list of its memory is damaged");
    PV_CLEANUP_FREE struct memory_piece *pieces = malloc((size_t)bytes + 1);
    if (!pieces)
        return out_of_memory(err);
    ret = read_all(fd, pieces, (size_t)bytes, end - bytes, err);
    if (ret < 0)
        return ret;
    uLong crc = crc32_z(0, (const Bytef *)&tail, offsetof(struct memory_tail, crc));
    if (crc32_z(crc, (const Bytef *)pieces, (size_t)bytes) != tail.crc)
        return pv_error_set(err, EIO, "the list of its memory is damaged");
    for (uint64_t i = 0; i < tail.pieces && ret >= 0; i++) {
        place.piece = pieces[i];
        ret = check_piece(load, &place.piece, err);
        if (ret >= 0)
            ret = add_place(load, &place, err);
        place.offset += place.piece.size;
    }
    if (ret >= 0 && place.offset != end - bytes)
        return pv_error_set(err, EIO, "the memory's file has pieces up to %llu bytes, not %llu",
                            (unsigned long long)(end - bytes), (unsigned long long)place.offset);
    return ret;
}

static uint32_t frame_crc(const struct memory_frame *frame, const void *data)
{
    uLong crc = crc32_z(0, (const Bytef *)frame, offsetof(struct memory_frame, crc));
    return (uint32_t)crc32_z(crc, data, frame->size);
}

/* Version 1: from frame to frame; what they say is checked when their pieces are read. */
static int find_frames(struct pv_memory_load *load, uint32_t file, struct pv_error **err)
{
    const size_t before = load->place_count;
    uint64_t offset = sizeof(struct memory_head);

    load->unsure = true;
    for (;;) {
        struct memory_frame frame;
        int ret = read_all(load->fds[file], &frame, sizeof(frame), offset, err);
        if (ret < 0)
            return ret;
        const bool end = frame.magic == MEMORY_FRAME_END;
        if ((frame.magic != MEMORY_FRAME && !end) || frame.reserved ||
            frame.size > (end ? 0 : load->most))
            return pv_error_set(err, EIO, "the snapshot's memory is damaged at %llu bytes",
                                (unsigned long long)offset);
        offset += sizeof(frame);
        if (end &&
            (frame.crc != frame_crc(&frame, "") || frame.address != load->place_count - before))
            return pv_error_set(err, EIO,
                                "the snapshot's memory is damaged: %zu pieces where %llu should be",
                                load->place_count - before, (unsigned long long)frame.address);
        if (end)
            return 0;
        const struct place place = {
            .piece = {frame.address, frame.pages, frame.filled, frame.size, frame.crc},
            .offset = offset,
            .file = file,
            .framed = true,
        };
        ret = check_piece(load, &place.piece, err);
        if (ret >= 0)
            ret = add_place(load, &place, err);
        if (ret < 0)
            return ret;
        offset += frame.size;
    }
}

static int open_file(struct pv_memory_load *load, uint32_t file, struct pv_error **err)
{
    struct memory_head head;
    struct stat st;

    if (fstat(load->fds[file], &st) < 0)
        return pv_error_errno(err, errno, "the memory's file");
    load->counts.bytes = (uint64_t)st.st_size;
    int ret = read_all(load->fds[file], &head, sizeof(head), 0, err);
    if (ret < 0)
        return ret;
    if (memcmp(head.magic, MEMORY_MAGIC, sizeof(head.magic)) != 0)
        return pv_error_set(err, EINVAL, "not a snapshot's memory");
    if (head.version < 1 || head.version > MEMORY_VERSION || head.page_size != PV_GUEST_PAGE)
        return pv_error_set(err, ENOTSUP,
                            "memory of version %u in pages of %u bytes; up to %u and %u are known",
                            head.version, head.page_size, MEMORY_VERSION, PV_GUEST_PAGE);
    return head.version == 1 ? find_frames(load, file, err)
                             : read_list(load, file, load->counts.bytes, err);
}

/* By chunk, and in the order they were written. */
static int compare_places(const void *a, const void *b)
{
    const struct place *x = a, *y = b;

    if (x->piece.address != y->piece.address)
        return x->piece.address < y->piece.address ? -1 : 1;
    return x->order < y->order ? -1 : 1;
}

static int make_chunks(struct pv_memory_load *load, struct pv_error **err)
{
    if (load->place_count)
        qsort(load->places, load->place_count, sizeof(load->places[0]), compare_places);
    load->chunks = calloc(load->place_count + 1, sizeof(load->chunks[0]));
    if (!load->chunks)
        return out_of_memory(err);
    for (size_t i = 0; i < load->place_count; i++) {
        const struct place *place = &load->places[i];
        const uint64_t address = place->piece.address;
        struct chunk *chunk = &load->chunks[load->chunk_count];
        if (load->chunk_count && chunk[-1].places->piece.address == address) {
            chunk[-1].count++;
            continue;
        }
        chunk->places = place;
        chunk->count = 1;
        chunk->to = load->as ? pv_as_ram(load->as, address, PV_MEMORY_CHUNK, true) : NULL;
        if (load->as && !chunk->to)
            return pv_error_set(err, EINVAL,
                                "the snapshot has memory at %#llx, this VM has none there",
                                (unsigned long long)address);
        load->chunk_count++;
    }
    return 0;
}

/* ---- One chunk ---- */

static struct unpacker *take_unpacker(struct pv_memory_load *load)
{
    pthread_mutex_lock(&load->lock);
    struct unpacker *unpacker = load->unpackers;
    if (unpacker)
        load->unpackers = unpacker->next;
    pthread_mutex_unlock(&load->lock);
    if (unpacker)
        return unpacker;
    unpacker = malloc(sizeof(*unpacker) + load->most);
    if (unpacker && !(unpacker->zstd = ZSTD_createDCtx()))
        free(PV_STEAL(unpacker));
    return unpacker;
}

static void give_unpacker(struct pv_memory_load *load, struct unpacker *unpacker)
{
    pthread_mutex_lock(&load->lock);
    unpacker->next = load->unpackers;
    load->unpackers = unpacker;
    pthread_mutex_unlock(&load->lock);
}

static uint32_t checksum(const struct place *place, const void *packed)
{
    const struct memory_piece *piece = &place->piece;
    const struct memory_frame frame = {
        MEMORY_FRAME, piece->size, piece->address, piece->pages, piece->filled, 0, 0};

    return place->framed ? frame_crc(&frame, packed) : (uint32_t)crc32_z(0, packed, piece->size);
}

static int unpack(struct pv_memory_load *load, const struct place *place, struct unpacker *unpacker,
                  struct pv_error **err)
{
    const struct memory_piece *piece = &place->piece;
    const size_t want = (size_t)__builtin_popcountll(piece->filled) * PV_GUEST_PAGE;
    int ret = read_all(load->fds[place->file], unpacker->packed, piece->size, place->offset, err);

    if (ret < 0)
        return ret;
    if (checksum(place, unpacker->packed) != piece->crc)
        return pv_error_set(err, EIO, "the snapshot's memory at %#llx is damaged",
                            (unsigned long long)piece->address);
    size_t got = want ? ZSTD_decompressDCtx(unpacker->zstd, unpacker->plain, want, unpacker->packed,
                                            piece->size)
                      : 0;
    if (ZSTD_isError(got) || got != want)
        return pv_error_set(err, EIO, "the snapshot's memory at %#llx does not unpack",
                            (unsigned long long)piece->address);
    return 0;
}

static bool is_zero(const uint8_t *page)
{
    return !page[0] && memcmp(page, page + 1, PV_GUEST_PAGE - 1) == 0;
}

/* Pages are zero before the first piece has them, and stay untouched when they still are. */
static void put(const struct memory_piece *piece, const uint8_t *from, uint8_t *to)
{
    for (uint64_t rest = piece->pages; rest; rest &= rest - 1) {
        const unsigned i = (unsigned)__builtin_ctzll(rest);
        uint8_t *page = to + (size_t)i * PV_GUEST_PAGE;
        if (piece->filled >> i & 1) {
            memcpy(page, from, PV_GUEST_PAGE);
            from += PV_GUEST_PAGE;
        } else if (!is_zero(page)) {
            memset(page, 0, PV_GUEST_PAGE);
        }
    }
}

static int read_chunk(struct pv_memory_load *load, const struct chunk *chunk, struct pv_error **err)
{
    struct unpacker *unpacker = take_unpacker(load);
    int ret = unpacker ? 0 : out_of_memory(err);

    for (size_t i = 0; i < chunk->count && ret >= 0; i++) {
        ret = unpack(load, &chunk->places[i], unpacker, err);
        if (ret >= 0 && chunk->to)
            put(&chunk->places[i].piece, unpacker->plain, chunk->to);
    }
    if (unpacker)
        give_unpacker(load, unpacker);
    return ret;
}

/* Keeps the first error, and tells of it. */
static void end_chunk(struct pv_memory_load *load, struct chunk *chunk, struct pv_error *error)
{
    pthread_mutex_lock(&load->lock);
    atomic_store_explicit(&chunk->state, error ? DAMAGED : THERE, memory_order_release);
    pthread_cond_broadcast(&load->changed);
    const bool first = error && !load->error;
    if (first)
        load->error = error;
    if (first && load->failed)
        load->failed(load->failed_opaque, pv_error_message(error));
    pthread_mutex_unlock(&load->lock);
    if (error && !first)
        pv_error_free(&error);
}

static int have_chunk(struct pv_memory_load *load, struct chunk *chunk)
{
    struct pv_error *error = NULL;

    if (atomic_load_explicit(&chunk->state, memory_order_acquire) == THERE)
        return 0;
    pthread_mutex_lock(&load->lock);
    while (atomic_load_explicit(&chunk->state, memory_order_relaxed) == BUSY)
        pthread_cond_wait(&load->changed, &load->lock);
    const uint8_t state = atomic_load_explicit(&chunk->state, memory_order_relaxed);
    if (state == ABSENT)
        atomic_store_explicit(&chunk->state, BUSY, memory_order_relaxed);
    pthread_mutex_unlock(&load->lock);
    if (state != ABSENT)
        return state == THERE ? 0 : -EIO;
    int ret = read_chunk(load, chunk, &error);
    end_chunk(load, chunk, error);
    return ret < 0 ? -EIO : 0;
}

/* The first chunk that ends behind `address`. */
static size_t find_chunk(const struct pv_memory_load *load, uint64_t address)
{
    size_t low = 0, high = load->chunk_count;

    while (low < high) {
        size_t middle = low + (high - low) / 2;
        const uint64_t start = load->chunks[middle].places->piece.address;
        if (start + (PV_MEMORY_CHUNK - 1) < address)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static int fill(void *opaque, uint64_t address, uint64_t len)
{
    struct pv_memory_load *load = opaque;
    int ret = 0;

    for (size_t i = find_chunk(load, address); i < load->chunk_count && ret >= 0; i++) {
        const uint64_t start = load->chunks[i].places->piece.address;
        if (start >= address && start - address >= len)
            break;
        ret = have_chunk(load, &load->chunks[i]);
    }
    return ret;
}

/* ---- All of them ---- */

static void *work(void *opaque)
{
    struct pv_memory_load *load = opaque;
    size_t i;

    if (load->late) {
        pv_thread_name("memory");
        pv_thread_nice(LATE_NICE);
    }
    while (!atomic_load(&load->given_up) &&
           (i = atomic_fetch_add(&load->next, 1)) < load->chunk_count)
        if (have_chunk(load, &load->chunks[i]) < 0)
            atomic_store(&load->given_up, true);
    /* The last one: nobody has to ask any more, unless something was not to be had. */
    if (atomic_fetch_sub(&load->threads_left, 1) == 1 && load->late &&
        !atomic_load(&load->given_up)) {
        pv_as_set_filler(load->as, NULL);
        pv_debug(PV_LOG_VM, "all of the snapshot's memory is there");
    }
    return NULL;
}

static unsigned count_threads(bool late)
{
    const unsigned cpus = pv_host_cpus();
    return PV_MIN(PV_MAX(late ? cpus / 2 : cpus, 1u), MAX_THREADS);
}

/* As many as can be had; at least one is. */
static int start_threads(struct pv_memory_load *load, bool late, struct pv_error **err)
{
    const unsigned want = count_threads(late);
    int code = 0;

    load->late = late;
    atomic_store(&load->threads_left, want);
    while (load->thread_count < want && !code) {
        code = pv_thread_create(&load->threads[load->thread_count], work, load);
        load->thread_count += !code;
    }
    /* Those that there are not have ended; without any, nobody was told that all is there. */
    if (load->thread_count < want)
        atomic_fetch_sub(&load->threads_left, want - load->thread_count);
    return load->thread_count ? 0 : pv_error_errno(err, code, "starting a thread");
}

static void join_threads(struct pv_memory_load *load)
{
    while (load->thread_count)
        pthread_join(load->threads[--load->thread_count], NULL);
}

int pv_memory_load_all(struct pv_memory_load *load, struct pv_error **err)
{
    int ret = start_threads(load, false, err);

    join_threads(load);
    return ret >= 0 && load->error
               ? pv_error_set(err, pv_error_code(load->error), "%s", pv_error_message(load->error))
               : ret;
}

int pv_memory_load_lazily(struct pv_memory_load *load,
                          void (*failed)(void *opaque, const char *message), void *opaque,
                          struct pv_error **err)
{
    load->filler = (struct pv_as_filler){fill, load};
    if (load->unsure || pv_as_set_filler(load->as, &load->filler) < 0)
        return pv_memory_load_all(load, err);
    load->failed = failed;
    load->failed_opaque = opaque;
    return start_threads(load, true, err);
}

void pv_memory_load_stop(struct pv_memory_load *load)
{
    if (!load)
        return;
    atomic_store(&load->given_up, true);
    join_threads(load);
    pthread_mutex_lock(&load->lock);
    load->failed = NULL;
    pthread_mutex_unlock(&load->lock);
}

void pv_memory_load_counts(const struct pv_memory_load *load, struct pv_memory_counts *counts)
{
    *counts = load->counts;
}

/* ---- Life ---- */

int pv_memory_load_create(struct pv_memory_load **out, const int *fds, size_t count,
                          struct pv_address_space *as, struct pv_error **err)
{
    struct pv_memory_load *load = calloc(1, sizeof(*load));
    int ret = load ? 0 : out_of_memory(err);

    if (ret >= 0 && count > PV_MEMORY_MAX_FILES)
        ret = pv_error_set(err, EINVAL, "memory in %zu files, at most %u", count,
                           PV_MEMORY_MAX_FILES);
    if (ret < 0) {
        free(load);
        for (size_t i = 0; i < count; i++)
            close(fds[i]);
        return ret;
    }
    load->as = as;
    load->files = count;
    memcpy(load->fds, fds, count * sizeof(fds[0]));
    load->most = ZSTD_compressBound(PV_MEMORY_CHUNK);
    pthread_mutex_init(&load->lock, NULL);
    pthread_cond_init(&load->changed, NULL);
    for (uint32_t i = 0; i < count && ret >= 0; i++)
        ret = open_file(load, i, err);
    if (ret >= 0)
        ret = make_chunks(load, err);
    if (ret < 0) {
        pv_memory_load_destroy(load);
        return ret;
    }
    *out = load;
    return 0;
}

void pv_memory_load_destroy(struct pv_memory_load *load)
{
    if (!load)
        return;
    pv_memory_load_stop(load);
    if (load->as)
        pv_as_set_filler(load->as, NULL);
    for (struct unpacker *next, *u = load->unpackers; u; u = next) {
        next = u->next;
        ZSTD_freeDCtx(u->zstd);
        free(u);
    }
    for (size_t i = 0; i < load->files; i++)
        close(load->fds[i]);
    pthread_mutex_destroy(&load->lock);
    pthread_cond_destroy(&load->changed);
    pv_error_free(&load->error);
    free(load->chunks);
    free(load->places);
    free(load);
}
