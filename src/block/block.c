/* SPDX-License-Identifier: MIT */
/*
 * The way of a request: submit checks it and queues it; one of the image's workers carries it out;
 * an event then runs its `done` on the loop. Requests that fail the checks take the same way
 * without a worker, so that a caller sees one order of things. So do small reads of what the host
 * has in memory: copying it takes less than waking another thread. And a worker takes requests that
 * go on where its first one ends as well, and has all of them done by one system call.
 *
 * A write for which the host has no room is not the guest's fault, and a guest that is told of it
 * gives its file system up. So it is put aside, the owner is told (who has the guest wait), and it
 * is tried again from time to time: writing the same once more does no harm, whatever part of it
 * was written before. A flush can be tried again, too, because images report -ENOSPC only of what
 * they still hold; what the host itself lost while syncing is -EIO (raw.c).
 */
#include "block/block.h"

#include "base/checked.h"
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "block/image.h"
#include "block/iov.h"
#include "block/throttle.h"
#include "host/clock.h"
#include "host/loop.h"
#include "host/thread.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

/* Enough to keep a disk busy while one of them sits in fdatasync, and to copy on several CPUs. */
#define WORKERS 4u
/* Up to so many bytes are read by whoever submits, if they are in memory. */
#define NOW_MAX (UINT64_C(64) << 10)
/* Up to so many are one system call; more than that is better divided among workers. */
#define MERGE_MAX (UINT64_C(64) << 10)
/* How often what waits for room is tried again. */
#define RETRY_NS (PV_NSEC_PER_SEC / 2)

struct request_list {
    struct pv_block_request *first, **tail;
};

struct pv_block {
    struct pv_block_image *image;
    char *path;
    struct pv_event *completion;
    struct pv_timer *retry;
    void (*full)(void *opaque, bool full);
    void *full_opaque;
    bool told_full; /* the loop's thread's */
    pthread_t workers[WORKERS];
    unsigned worker_count;

    pthread_mutex_t lock; /* protects all below */
    pthread_cond_t work;  /* waiting has a request, or stop */
    pthread_cond_t idle;  /* waiting is empty and active is 0 */
    struct request_list waiting;
    struct request_list completed;
    struct request_list stuck; /* there was no room for them */
    unsigned active;           /* requests in workers' hands */
    unsigned asleep;           /* workers that wait for `work` */
    struct pv_throttle throttle;
    unsigned hurried; /* somebody waits for all of them: they are not throttled */
    bool stop;
    bool held; /* workers take nothing */
};

static void list_init(struct request_list *list)
{
    list->first = NULL;
    list->tail = &list->first;
}

static void list_append(struct request_list *list, struct pv_block_request *request)
{
    request->next = NULL;
    *list->tail = request;
    list->tail = &request->next;
}

static struct pv_block_request *list_take(struct request_list *list)
{
    struct pv_block_request *request = list->first;
    if (request) {
        list->first = request->next;
        if (!list->first)
            list->tail = &list->first;
    }
    return request;
}

/* All of `from` comes before what `list` has. */
static void list_prepend(struct request_list *list, struct request_list *from)
{
    if (!from->first)
        return;
    *from->tail = list->first;
    if (!list->first)
        list->tail = from->tail;
    list->first = from->first;
    list_init(from);
}

static int execute(struct pv_block_image *image, const struct pv_block_request *request)
{
    switch (request->op) {
    case PV_BLOCK_READ:
        return image->ops->read(image, request->iov, request->iov_count, request->offset);
    case PV_BLOCK_WRITE:
        return image->ops->write(image, request->iov, request->iov_count, request->offset);
    case PV_BLOCK_FLUSH: return image->ops->flush(image);
    case PV_BLOCK_DISCARD: return image->ops->discard(image, request->offset, request->length);
    case PV_BLOCK_ZERO:
        return image->ops->zero(image, request->offset, request->length, request->unmap);
    }
    return -EINVAL;
}

/* Onto a list for the loop, which is told when it has nothing to look at yet. Under the lock. */
static void finish(struct pv_block *block, struct request_list *list,
                   struct pv_block_request *request)
{
    const bool tell = !list->first;

    list_append(list, request);
    if (tell)
        pv_event_signal(block->completion);
}

static bool no_room(int result)
{
    return result == -ENOSPC || result == -EDQUOT;
}

/* Nanoseconds until the first request may begin. */
static uint64_t throttled_for(const struct pv_block *block)
{
    const uint64_t next = pv_throttle_next(&block->throttle);
    const uint64_t now = next && !block->hurried && !block->stop ? pv_clock_ns() : next;

    return next > now ? next - now : 0;
}

static bool throttled(const struct pv_block *block)
{
    return block->throttle.iops || block->throttle.bps;
}

/* NULL at the end. Under the lock. */
static struct pv_block_request *wait_for_request(struct pv_block *block)
{
    for (;;) {
        const bool any = block->waiting.first && !block->held;
        const uint64_t wait = any ? throttled_for(block) : 0;
        if (any && !wait)
            break;
        if (block->stop && !block->held && !any)
            return NULL;
        if (wait) {
            pv_cond_wait_for(&block->work, &block->lock, wait);
        } else {
            block->asleep++;
            pthread_cond_wait(&block->work, &block->lock);
            block->asleep--;
        }
    }
    struct pv_block_request *request = list_take(&block->waiting);
    if (throttled(block))
        pv_throttle_take(&block->throttle, pv_clock_ns(),
                         request->op <= PV_BLOCK_WRITE ? request->length : 0);
    return request;
}

/* Takes what waits and goes on where `first` ends: it becomes a list. Under the lock. */
static void take_adjacent(struct pv_block *block, struct pv_block_request *first)
{
    struct pv_block_request *last = first, *next;
    uint64_t length = first->length;
    unsigned iovs = first->iov_count;

    first->next = NULL;
    if (first->op > PV_BLOCK_WRITE || throttled(block))
        return;
    while ((next = block->waiting.first) && next->op == first->op &&
           next->offset == first->offset + length && length + next->length <= MERGE_MAX &&
           iovs + next->iov_count <= PV_IOV_BATCH) {
        last->next = list_take(&block->waiting);
        last = next;
        last->next = NULL;
        length += next->length;
        iovs += next->iov_count;
    }
}

/* All of a list as one. What fails is done again one by one, so that each has its own result. */
static void execute_list(struct pv_block_image *image, struct pv_block_request *first)
{
    struct iovec iov[PV_IOV_BATCH];
    struct pv_block_request all = *first;
    int ret = -EAGAIN;

    if (first->next) {
        all.iov = iov;
        all.iov_count = 0;
        for (const struct pv_block_request *r = first; r; r = r->next)
            for (unsigned i = 0; i < r->iov_count; i++)
                iov[all.iov_count++] = r->iov[i];
        ret = execute(image, &all);
    }
    for (struct pv_block_request *r = first; r; r = r->next)
        r->result = ret < 0 ? execute(image, r) : ret;
}

/* Who has called it active has done it. Under the lock. */
static void end_active(struct pv_block *block)
{
    block->active--;
    if (!block->active && (block->held || !block->waiting.first))
        pthread_cond_broadcast(&block->idle);
}

static void *worker(void *opaque)
{
    struct pv_block *block = opaque;
    struct pv_block_request *request;

    pthread_mutex_lock(&block->lock);
    while ((request = wait_for_request(block))) {
        take_adjacent(block, request);
        block->active++;
        pthread_mutex_unlock(&block->lock);
        execute_list(block->image, request);
        pthread_mutex_lock(&block->lock);
        end_active(block);
        while (request) {
            struct pv_block_request *next = request->next;
            const bool stuck = block->full && no_room(request->result);
            finish(block, stuck ? &block->stuck : &block->completed, request);
            request = next;
        }
    }
    pthread_mutex_unlock(&block->lock);
    return NULL;
}

static void tell_full(struct pv_block *block, bool full)
{
    block->told_full = full;
    if (full)
        pv_warn(PV_LOG_BLK, "disk '%s': the host has no room for what is written; it waits",
                block->path);
    else
        pv_info(PV_LOG_BLK, "disk '%s': there is room again", block->path);
    block->full(block->full_opaque, full);
}

static void complete(void *opaque)
{
    struct pv_block *block = opaque;
    pthread_mutex_lock(&block->lock);
    struct pv_block_request *request = block->completed.first;
    list_init(&block->completed);
    const bool stuck = block->stuck.first;
    const bool quiet = !stuck && !block->active && !block->waiting.first;
    pthread_mutex_unlock(&block->lock);
    if (stuck)
        pv_timer_set(block->retry, pv_clock_ns() + RETRY_NS);
    if (stuck ? !block->told_full : block->told_full && quiet)
        tell_full(block, stuck);
    while (request) {
        struct pv_block_request *next = request->next;
        request->done(request, request->result);
        request = next;
    }
}

static void try_again(void *opaque)
{
    struct pv_block *block = opaque;

    pthread_mutex_lock(&block->lock);
    list_prepend(&block->waiting, &block->stuck);
    pthread_cond_broadcast(&block->work);
    pthread_mutex_unlock(&block->lock);
}

static int check(const struct pv_block_image *image, const struct pv_block_request *request)
{
    if (request->op == PV_BLOCK_FLUSH)
        return 0;
    if (!pv_range_ok(request->offset, request->length, image->size))
        return -ENOSPC;
    if (request->op != PV_BLOCK_READ && image->read_only)
        return -EROFS;
    if (request->op != PV_BLOCK_READ && request->op != PV_BLOCK_WRITE)
        return 0;
    uint64_t total = 0;
    for (unsigned i = 0; i < request->iov_count; i++)
        if (!pv_add_ok(total, request->iov[i].iov_len, &total))
            return -EINVAL;
    return total == request->length ? 0 : -EINVAL;
}

/* Whether it was done here and now. Under the lock, which is let go meanwhile. */
static bool done_now(struct pv_block *block, struct pv_block_request *request)
{
    struct pv_block_image *image = block->image;

    if (request->op != PV_BLOCK_READ || request->length > NOW_MAX || !image->ops->read_now ||
        block->held || throttled(block))
        return false;
    block->active++;
    pthread_mutex_unlock(&block->lock);
    int ret = image->ops->read_now(image, request->iov, request->iov_count, request->offset);
    pthread_mutex_lock(&block->lock);
    end_active(block);
    request->result = ret;
    return ret == 0;
}

void pv_block_submit(struct pv_block *block, struct pv_block_request *request)
{
    int ret = check(block->image, request);
    bool ready = ret < 0 || (!request->length && request->op != PV_BLOCK_FLUSH);
    pthread_mutex_lock(&block->lock);
    if (ready)
        request->result = ret;
    if (ready || done_now(block, request)) {
        finish(block, &block->completed, request);
    } else {
        list_append(&block->waiting, request);
        if (block->asleep)
            pthread_cond_signal(&block->work);
    }
    pthread_mutex_unlock(&block->lock);
}

void pv_block_drain(struct pv_block *block)
{
    struct pv_block_request *request;

    pthread_mutex_lock(&block->lock);
    block->hurried++;
    pthread_cond_broadcast(&block->work);
    while (block->active || block->waiting.first)
        pthread_cond_wait(&block->idle, &block->lock);
    block->hurried--;
    while ((request = list_take(&block->stuck))) {
        request->result = -EIO;
        finish(block, &block->completed, request);
    }
    pthread_mutex_unlock(&block->lock);
}

/* Does something to the image while no worker does, nor anybody else who came here. */
static int between_requests(struct pv_block *block, const char *name,
                            int (*verb)(struct pv_block_image *, const char *, struct pv_error **),
                            struct pv_error **err)
{
    if (!verb)
        return pv_error_set(err, ENOTSUP,
                            "%s images hold no snapshots; 'pearvisor disk convert' makes it qcow2",
                            block->image->ops->name);
    pthread_mutex_lock(&block->lock);
    while (block->held)
        pthread_cond_wait(&block->idle, &block->lock);
    block->held = true;
    while (block->active)
        pthread_cond_wait(&block->idle, &block->lock);
    pthread_mutex_unlock(&block->lock);
    int ret = verb(block->image, name, err);
    pthread_mutex_lock(&block->lock);
    block->held = false;
    pthread_cond_broadcast(&block->work);
    pthread_cond_broadcast(&block->idle);
    pthread_mutex_unlock(&block->lock);
    return ret;
}

int pv_block_snapshot_prepare(struct pv_block *block, const char *name, struct pv_error **err)
{
    return between_requests(block, name, block->image->ops->snapshot_prepare, err);
}

int pv_block_snapshot_create(struct pv_block *block, const char *name, struct pv_error **err)
{
    return between_requests(block, name, block->image->ops->snapshot_create, err);
}

int pv_block_snapshot_apply(struct pv_block *block, const char *name, struct pv_error **err)
{
    return between_requests(block, name, block->image->ops->snapshot_apply, err);
}

int pv_block_snapshot_delete(struct pv_block *block, const char *name, struct pv_error **err)
{
    return between_requests(block, name, block->image->ops->snapshot_delete, err);
}

static int flush_image(struct pv_block_image *image, const char *name, struct pv_error **err)
{
    int ret = image->ops->flush(image);
    return ret < 0 ? pv_error_errno(err, -ret, "writing it back") : 0;
}

int pv_block_flush_now(struct pv_block *block, struct pv_error **err)
{
    return between_requests(block, NULL, flush_image, err);
}

uint64_t pv_block_size(const struct pv_block *block)
{
    return block->image->size;
}

bool pv_block_read_only(const struct pv_block *block)
{
    return block->image->read_only;
}

bool pv_block_can_discard(const struct pv_block *block)
{
    return block->image->can_discard;
}

/* ---- Opening ---- */

int pv_block_open(struct pv_block **out, struct pv_loop *loop, const char *path,
                  const struct pv_block_options *options, struct pv_error **err)
{
    struct pv_block *block = calloc(1, sizeof(*block));
    if (!block)
        return pv_error_set(err, ENOMEM, "disk '%s': out of memory", path);
    pthread_mutex_init(&block->lock, NULL);
    pv_cond_init(&block->work);
    pthread_cond_init(&block->idle, NULL);
    list_init(&block->waiting);
    list_init(&block->completed);
    list_init(&block->stuck);
    block->path = strdup(path);
    if (options)
        block->throttle = (struct pv_throttle){.iops = options->iops, .bps = options->bps};
    if (options && options->full) {
        block->full = options->full;
        block->full_opaque = options->opaque;
    }

    int ret = block->path ? 0 : pv_error_set(err, ENOMEM, "out of memory");
    if (!ret)
        ret = pv_block_image_open(&block->image, path, options && options->read_only, NULL, NULL,
                                  err);
    if (!ret)
        ret = pv_timer_create(&block->retry, loop, try_again, block, err);
    if (!ret)
        ret = pv_event_create(&block->completion, loop, complete, block, err);
    while (!ret && block->worker_count < WORKERS) {
        int code = pv_thread_create(&block->workers[block->worker_count], worker, block);
        if (code)
            ret = pv_error_errno(err, code, "starting a thread");
        else
            block->worker_count++;
    }
    if (ret < 0) {
        pv_block_close(block);
        return pv_error_prefix(err, "disk '%s'", path);
    }
    *out = block;
    return 0;
}

void pv_block_close(struct pv_block *block)
{
    if (!block)
        return;
    pthread_mutex_lock(&block->lock);
    block->stop = true; /* workers leave once nothing is waiting */
    pthread_cond_broadcast(&block->work);
    pthread_mutex_unlock(&block->lock);
    for (unsigned i = 0; i < block->worker_count; i++)
        pthread_join(block->workers[i], NULL);
    if (block->told_full)
        block->full(block->full_opaque, false);
    pv_event_destroy(block->completion);
    pv_timer_destroy(block->retry);
    pv_block_image_close(block->image);
    pthread_cond_destroy(&block->idle);
    pthread_cond_destroy(&block->work);
    pthread_mutex_destroy(&block->lock);
    free(block->path);
    free(block);
}
