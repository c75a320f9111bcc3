/* SPDX-License-Identifier: MIT */
/*
 * Converting: threads take pieces of the disk in turn, read them, leave out what is zeroes, and
 * write the rest, compressed if asked for. Clusters of the new image lie in the order in which they
 * came to be written, which is no one's in particular.
 */
#include "base/error.h"
#include "base/util.h"
#include "block/disk_internal.h"
#include "block/image.h"
#include "block/qcow2/qcow2.h"
#include "host/thread.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>

/* What a thread takes at once. */
#define PIECE_BYTES ((size_t)512 << 10)

bool pv_disk_all_zero(const uint8_t *data, size_t size)
{
    return size == 0 || (data[0] == 0 && !memcmp(data, data + 1, size - 1));
}

int pv_disk_known_zero(struct pv_block_image *image, uint64_t offset, uint64_t *run, bool *zero)
{
    *zero = true;
    while (image) {
        enum pv_block_extent what;
        uint64_t here;
        if (offset >= image->size)
            return 0;
        int ret =
            image->ops->extent(image, offset, PV_MIN(*run, image->size - offset), &what, &here);
        if (ret < 0)
            return ret;
        *run = here;
        *zero = what != PV_EXTENT_DATA;
        if (what != PV_EXTENT_BACKING)
            return 0;
        image = image->backing;
    }
    return 0;
}

/* ---- Copying ---- */

struct copy {
    struct pv_block_image *from, *to;
    const struct pv_disk_conversion *conversion;
    size_t unit; /* what is written or left out as a whole */

    pthread_mutex_t lock; /* protects all below */
    uint64_t next, done;  /* bytes taken, and finished with */
    int ret;              /* of the first piece that failed */
    uint64_t failed_at;
};

static int write_packed(const struct copy *c, uint8_t *data, size_t size, uint64_t offset)
{
    struct qcow2 *q = (struct qcow2 *)c->to;
    PV_CLEANUP_FREE uint8_t *whole = NULL;
    if (size < c->unit) {
        /* The disk's last cluster. */
        whole = calloc(1, c->unit);
        if (!whole)
            return -ENOMEM;
        memcpy(whole, data, size);
    }
    return qcow2_write_packed(q, offset >> q->cluster_bits, whole ? whole : data);
}

/* Units that are not zeroes, as many as go together. */
static int write_piece(const struct copy *c, uint8_t *data, size_t size, uint64_t offset)
{
    int ret = 0;
    for (size_t at = 0, end; at < size && ret == 0; at = end) {
        end = at + PV_MIN(c->unit, size - at);
        if (pv_disk_all_zero(data + at, end - at))
            continue;
        if (c->conversion->compress) {
            ret = write_packed(c, data + at, end - at, offset + at);
            continue;
        }
        while (end < size && !pv_disk_all_zero(data + end, PV_MIN(c->unit, size - end)))
            end += PV_MIN(c->unit, size - end);
        ret = pv_block_image_write(c->to, data + at, end - at, offset + at);
    }
    return ret;
}

static int copy_piece(const struct copy *c, uint8_t *data, size_t size, uint64_t offset)
{
    const uint64_t end = offset + size;
    int ret = 0;
    while (offset < end && ret == 0) {
        uint64_t run = end - offset;
        bool zero;
        ret = pv_disk_known_zero(c->from, offset, &run, &zero);
        /* Runs end where units do, except at the disk's end. */
        if (run < end - offset)
            run = zero ? pv_align_down(run, c->unit) : pv_align_up(run, c->unit);
        run = PV_MIN(run, end - offset);
        if (!run) {
            run = PV_MIN((uint64_t)c->unit, end - offset);
            zero = false;
        }
        if (ret == 0 && !zero) {
            ret = pv_block_image_read(c->from, data, (size_t)run, offset);
            if (ret == 0)
                ret = write_piece(c, data, (size_t)run, offset);
        }
        offset += run;
    }
    return ret;
}

static void *copy_pieces(void *opaque)
{
    struct copy *c = opaque;
    const size_t most = PV_MAX(PIECE_BYTES, c->unit);
    PV_CLEANUP_FREE uint8_t *data = malloc(most);
    pthread_mutex_lock(&c->lock);
    if (!data && !c->ret)
        c->ret = -ENOMEM;
    while (c->next < c->from->size && c->ret == 0) {
        const uint64_t offset = c->next;
        const size_t size = (size_t)PV_MIN((uint64_t)most, c->from->size - offset);
        c->next += size;
        pthread_mutex_unlock(&c->lock);
        int ret = copy_piece(c, data, size, offset);
        pthread_mutex_lock(&c->lock);
        c->done += size;
        if (ret < 0 && c->ret == 0) {
            c->ret = ret;
            c->failed_at = offset;
        }
        pv_disk_show(&c->conversion->progress, c->done, c->from->size);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

static unsigned thread_count(unsigned wanted)
{
    return PV_MIN(wanted ? wanted : pv_host_cpus(), PV_DISK_THREADS_MAX);
}

static int copy_all(struct copy *c, struct pv_error **err)
{
    pthread_t threads[PV_DISK_THREADS_MAX];
    const unsigned wanted = thread_count(c->conversion->threads);
    unsigned count = 0;
    pthread_mutex_init(&c->lock, NULL);
    /* This thread is one of them; with fewer than wanted it takes longer, no more. */
    while (count + 1 < wanted && pv_thread_create(&threads[count], copy_pieces, c) == 0)
        count++;
    copy_pieces(c);
    while (count)
        pthread_join(threads[--count], NULL);
    pthread_mutex_destroy(&c->lock);
    int ret = c->ret;
    if (ret == 0)
        ret = c->to->ops->flush(c->to);
    return ret < 0 ? pv_error_errno(err, -ret, "copying at %llu", (unsigned long long)c->failed_at)
                   : 0;
}

static int convert_into(struct pv_block_image *from, const char *path,
                        const struct pv_disk_conversion *conversion, struct pv_error **err)
{
    struct pv_disk_options options = conversion->options;
    options.size = from->size;
    int ret = pv_disk_create(path, conversion->format, &options, err);
    if (ret < 0)
        return ret;
    struct copy c = {.from = from, .conversion = conversion, .unit = 65536};
    ret = pv_block_image_open(&c.to, path, false, conversion->format, NULL, err);
    if (ret < 0)
        return ret;
    if (!strcmp(conversion->format, pv_block_qcow2.name))
        c.unit = ((struct qcow2 *)c.to)->cluster_size;
    ret = copy_all(&c, err);
    pv_block_image_close(c.to);
    return ret;
}

int pv_disk_convert(const char *from_path, const char *to_path,
                    const struct pv_disk_conversion *conversion, struct pv_error **err)
{
    if (conversion->compress && strcmp(conversion->format, "qcow2") != 0)
        return pv_error_set(err, EINVAL, "only qcow2 images can be compressed");
    if (access(to_path, F_OK) == 0)
        return pv_error_set(err, EEXIST, "disk '%s': there is a file of that name", to_path);
    PV_CLEANUP_FREE char *temporary = NULL;
    if (asprintf(&temporary, "%s.new", to_path) < 0)
        return pv_error_set(err, ENOMEM, "out of memory");
    struct pv_block_image *from;
    int ret = pv_block_image_open(&from, from_path, true, NULL, NULL, err);
    if (ret < 0)
        return pv_error_prefix(err, "disk '%s'", from_path);
    ret = convert_into(from, temporary, conversion, err);
    pv_block_image_close(from);
    if (ret == 0 && rename(temporary, to_path) < 0)
        ret = pv_error_errno(err, errno, "renaming it");
    if (ret == -EEXIST)
        return ret; /* somebody else's file */
    if (ret < 0) {
        unlink(temporary);
        return pv_error_prefix(err, "disk '%s'", to_path);
    }
    return 0;
}
