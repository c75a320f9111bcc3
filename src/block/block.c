/* SPDX-License-Identifier: MIT */
/*
 * The way of a request: submit checks it and queues it; one of the image's
 * workers carries it out; an event then runs its `done` on the loop. Requests that fail the checks
 * take the same way without a worker, so that a caller sees one order of things.
 */
#include "block/block.h"

#include "base/checked.h"
#include "base/error.h"
#include "base/util.h"
#include "block/image.h"
#include "host/loop.h"
#include "host/thread.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

/* Two keep a disk busy while one of them sits in fdatasync. */
#define WORKERS 2u

struct request_list {
    struct pv_block_request *first, **tail;
};

struct pv_block {
    struct pv_block_image *image;
    struct pv_event *completion;
    pthread_t workers[WORKERS];
    unsigned worker_count;

    pthread_mutex_t lock; /* protects all below */
    pthread_cond_t work;  /* waiting has a request, or stop */
    pthread_cond_t idle;  /* waiting is empty and active is 0 */
    struct request_list waiting;
    struct request_list completed;
    unsigned active; /* requests in workers' hands */
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

static void *worker(void *opaque)
{
    struct pv_block *block = opaque;
    pthread_mutex_lock(&block->lock);
    for (;;) {
        struct pv_block_request *request = block->held ? NULL : list_take(&block->waiting);
        if (!request) {
            if (block->stop && !block->held)
                break;
            pthread_cond_wait(&block->work, &block->lock);
            continue;
        }
        block->active++;
        pthread_mutex_unlock(&block->lock);
        request->result = execute(block->image, request);
        pthread_mutex_lock(&block->lock);
        block->active--;
        list_append(&block->completed, request);
        pv_event_signal(block->completion);
        if (!block->active && (block->held || !block->waiting.first))
            pthread_cond_broadcast(&block->idle);
    }
    pthread_mutex_unlock(&block->lock);
    return NULL;
}

static void complete(void *opaque)
{
    struct pv_block *block = opaque;
    pthread_mutex_lock(&block->lock);
    struct pv_block_request *request = block->completed.first;
    list_init(&block->completed);
    pthread_mutex_unlock(&block->lock);
    while (request) {
        struct pv_block_request *next = request->next;
        request->done(request, request->result);
        request = next;
    }
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

void pv_block_submit(struct pv_block *block, struct pv_block_request *request)
{
    int ret = check(block->image, request);
    bool ready = ret < 0 || (!request->length && request->op != PV_BLOCK_FLUSH);
    pthread_mutex_lock(&block->lock);
    if (ready) {
        request->result = ret;
        list_append(&block->completed, request);
        pv_event_signal(block->completion);
    } else {
        list_append(&block->waiting, request);
        pthread_cond_signal(&block->work);
    }
    pthread_mutex_unlock(&block->lock);
}

void pv_block_drain(struct pv_block *block)
{
    pthread_mutex_lock(&block->lock);
    while (block->active || block->waiting.first)
        pthread_cond_wait(&block->idle, &block->lock);
    pthread_mutex_unlock(&block->lock);
}

/* Does something to the image while no worker does. */
static int between_requests(struct pv_block *block, const char *name,
                            int (*verb)(struct pv_block_image *, const char *, struct pv_error **),
                            struct pv_error **err)
{
    if (!verb)
        return pv_error_set(err, ENOTSUP,
                            "%s images hold no snapshots; 'pearvisor disk convert' makes it qcow2",
                            block->image->ops->name);
    pthread_mutex_lock(&block->lock);
    block->held = true;
    while (block->active)
        pthread_cond_wait(&block->idle, &block->lock);
    pthread_mutex_unlock(&block->lock);
    int ret = verb(block->image, name, err);
    pthread_mutex_lock(&block->lock);
    block->held = false;
    pthread_cond_broadcast(&block->work);
    pthread_mutex_unlock(&block->lock);
    return ret;
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
    pthread_cond_init(&block->work, NULL);
    pthread_cond_init(&block->idle, NULL);
    list_init(&block->waiting);
    list_init(&block->completed);

    int ret =
        pv_block_image_open(&block->image, path, options && options->read_only, NULL, NULL, err);
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
    pv_event_destroy(block->completion);
    pv_block_image_close(block->image);
    pthread_cond_destroy(&block->idle);
    pthread_cond_destroy(&block->work);
    pthread_mutex_destroy(&block->lock);
    free(block);
}
