/* SPDX-License-Identifier: MIT */
/*
 * The guest's driver allocates in the window and the guest's firmware or kernel places it, so both
 * the offsets and the base are numbers of a guest. What is kept is a sorted array of what is
 * mapped; each is a region of the address space of its own while the window has a place, so that an
 * access to a blob is an access to RAM on every engine, and one beside it finds nothing there.
 *
 * A place that a blob cannot have (the window lies over something else) leaves that blob out, with
 * a line in the log: the guest did that to itself.
 */
#include "gpu/window.h"

#include "base/checked.h"
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "memory/address_space.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <string.h>

/* More than any driver needs; the array and the address space's stay small. */
#define MAX_BLOBS 65536u

struct blob {
    uint64_t offset, size;
    void *host;
    int fd;
    bool placed; /* it is in the address space */
};

struct pv_gpu_window {
    struct pv_address_space *as;
    uint64_t size;
    pthread_mutex_t lock;
    uint64_t base;      /* UINT64_MAX: nowhere */
    struct blob *blobs; /* sorted by offset */
    size_t count, capacity;
    uint64_t used;
};

int pv_gpu_window_create(struct pv_gpu_window **out, struct pv_address_space *as, uint64_t size,
                         struct pv_error **err)
{
    struct pv_gpu_window *window = calloc(1, sizeof(*window));
    if (!window)
        return pv_error_set(err, ENOMEM, "GPU window: out of memory");
    window->as = as;
    window->size = size;
    window->base = UINT64_MAX;
    pthread_mutex_init(&window->lock, NULL);
    *out = window;
    return 0;
}

static void take_out(struct pv_gpu_window *window, struct blob *blob)
{
    if (blob->placed)
        pv_as_remove(window->as, window->base + blob->offset);
    blob->placed = false;
}

static int put_in(struct pv_gpu_window *window, struct blob *blob, struct pv_error **err)
{
    if (window->base == UINT64_MAX)
        return 0;
    int ret = pv_as_add_host(window->as, window->base + blob->offset, blob->size, blob->host,
                             blob->fd, 0, PV_REGION_RAM, NULL, NULL, "gpu-blob", err);
    blob->placed = ret == 0;
    return ret;
}

void pv_gpu_window_destroy(struct pv_gpu_window *window)
{
    if (!window)
        return;
    pv_gpu_window_move(window, UINT64_MAX);
    pthread_mutex_destroy(&window->lock);
    free(window->blobs);
    free(window);
}

void pv_gpu_window_move(struct pv_gpu_window *window, uint64_t address)
{
    pthread_mutex_lock(&window->lock);
    for (size_t i = 0; i < window->count; i++)
        take_out(window, &window->blobs[i]);
    window->base = address;
    for (size_t i = 0; i < window->count; i++) {
        PV_CLEANUP_ERROR struct pv_error *err = NULL;
        if (put_in(window, &window->blobs[i], &err) < 0)
            pv_warn(PV_LOG_GPU, "a blob is not where the guest moved it: %s",
                    pv_error_message(err));
    }
    pthread_mutex_unlock(&window->lock);
}

/* The first blob that ends beyond `offset`. */
static size_t lower_bound(const struct pv_gpu_window *window, uint64_t offset)
{
    size_t lo = 0, hi = window->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (window->blobs[mid].offset + window->blobs[mid].size <= offset)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static int grow(struct pv_gpu_window *window)
{
    if (window->count < window->capacity)
        return 0;
    size_t capacity = PV_MAX(window->capacity * 2, (size_t)64);
    struct blob *bigger =
        window->count < MAX_BLOBS ? realloc(window->blobs, capacity * sizeof(*bigger)) : NULL;
    if (!bigger)
        return -ENOMEM;
    window->blobs = bigger;
    window->capacity = capacity;
    return 0;
}

static int map_locked(struct pv_gpu_window *window, const struct blob *fresh, struct pv_error **err)
{
    size_t at = lower_bound(window, fresh->offset);
    if (at < window->count && window->blobs[at].offset < fresh->offset + fresh->size)
        return pv_error_set(err, EEXIST, "a blob at %#" PRIx64 " overlaps one at %#" PRIx64,
                            fresh->offset, window->blobs[at].offset);
    if (grow(window) < 0)
        return pv_error_set(err, ENOMEM, "no memory for one more blob than %zu", window->count);
    struct blob blob = *fresh;
    int ret = put_in(window, &blob, err);
    if (ret < 0)
        return ret;
    memmove(window->blobs + at + 1, window->blobs + at,
            (window->count - at) * sizeof(window->blobs[0]));
    window->blobs[at] = blob;
    window->count++;
    window->used += blob.size;
    return 0;
}

int pv_gpu_window_map(struct pv_gpu_window *window, uint64_t offset, uint64_t size, void *host,
                      int fd, struct pv_error **err)
{
    const struct blob blob = {.offset = offset, .size = size, .host = host, .fd = fd};
    if (!size || (offset | size) % PV_GUEST_PAGE || !pv_range_ok(offset, size, window->size))
        return pv_error_set(err, EINVAL,
                            "%#" PRIx64 " bytes at %#" PRIx64
                            " are not whole pages in the window of %#" PRIx64,
                            size, offset, window->size);
    pthread_mutex_lock(&window->lock);
    int ret = map_locked(window, &blob, err);
    pthread_mutex_unlock(&window->lock);
    return ret;
}

int pv_gpu_window_unmap(struct pv_gpu_window *window, uint64_t offset)
{
    int ret = -ENOENT;
    pthread_mutex_lock(&window->lock);
    size_t at = lower_bound(window, offset);
    if (at < window->count && window->blobs[at].offset == offset) {
        take_out(window, &window->blobs[at]);
        window->used -= window->blobs[at].size;
        window->count--;
        memmove(window->blobs + at, window->blobs + at + 1,
                (window->count - at) * sizeof(window->blobs[0]));
        ret = 0;
    }
    pthread_mutex_unlock(&window->lock);
    return ret;
}

uint64_t pv_gpu_window_used(struct pv_gpu_window *window)
{
    pthread_mutex_lock(&window->lock);
    uint64_t used = window->used;
    pthread_mutex_unlock(&window->lock);
    return used;
}
