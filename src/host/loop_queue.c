/* SPDX-License-Identifier: MIT */
/*
 * Posted jobs and signalled events share one queue, taken from one entry at a time so that an event
 * can be destroyed while it stands in it. An event is queued at most once; it leaves the queue
 * before it runs, so a signal that comes while it runs makes it run again.
 */
#include "host/loop_queue.h"

#include "base/error.h"
#include "base/util.h"

#include <errno.h>

struct pv_loop_job {
    struct pv_loop_job *next;
    void (*fn)(void *opaque);
    void *opaque;
    bool is_event; /* part of a pv_event: not freed after it ran */
    bool queued;
};

struct pv_event {
    struct pv_loop_job job;
    struct pv_loop *loop;
    struct pv_event *next, **link;
};

static struct pv_loop_queue *queue_of(struct pv_loop *loop)
{
    return (struct pv_loop_queue *)(void *)loop;
}

void pv_loop_queue_init(struct pv_loop_queue *queue)
{
    *queue = (struct pv_loop_queue){0};
    queue->tail = &queue->jobs;
    pthread_mutex_init(&queue->lock, NULL);
}

void pv_loop_queue_finish(struct pv_loop_queue *queue)
{
    while (queue->events)
        pv_event_destroy(queue->events);
    while (queue->jobs) {
        struct pv_loop_job *job = queue->jobs;
        queue->jobs = job->next;
        free(job);
    }
    pthread_mutex_destroy(&queue->lock);
}

/* Appends a job; returns whether the loop must be woken. Lock held. */
static bool enqueue(struct pv_loop_queue *queue, struct pv_loop_job *job)
{
    bool first = !queue->jobs;
    job->next = NULL;
    job->queued = true;
    *queue->tail = job;
    queue->tail = &job->next;
    return first;
}

bool pv_loop_queue_run(struct pv_loop_queue *queue)
{
    /* Only what stands in the queue now: work that requeues itself must not starve the rest. */
    pthread_mutex_lock(&queue->lock);
    size_t todo = 0;
    for (struct pv_loop_job *job = queue->jobs; job; job = job->next)
        todo++;
    while (todo-- && queue->jobs) {
        struct pv_loop_job *job = queue->jobs;
        queue->jobs = job->next;
        if (!queue->jobs)
            queue->tail = &queue->jobs;
        job->queued = false;
        void (*fn)(void *) = job->fn;
        void *fn_opaque = job->opaque;
        bool owned = !job->is_event;
        pthread_mutex_unlock(&queue->lock);
        if (owned)
            free(job);
        fn(fn_opaque);
        pthread_mutex_lock(&queue->lock);
    }
    bool more = queue->jobs;
    pthread_mutex_unlock(&queue->lock);
    return more;
}

int pv_loop_post(struct pv_loop *loop, void (*fn)(void *opaque), void *opaque)
{
    struct pv_loop_queue *queue = queue_of(loop);
    struct pv_loop_job *job = malloc(sizeof(*job));
    if (!job)
        return -ENOMEM;
    *job = (struct pv_loop_job){.fn = fn, .opaque = opaque};
    pthread_mutex_lock(&queue->lock);
    bool first = enqueue(queue, job);
    pthread_mutex_unlock(&queue->lock);
    if (first)
        pv_loop_wake(loop);
    return 0;
}

int pv_event_create(struct pv_event **out, struct pv_loop *loop, void (*fn)(void *opaque),
                    void *opaque, struct pv_error **err)
{
    struct pv_loop_queue *queue = queue_of(loop);
    struct pv_event *event = calloc(1, sizeof(*event));
    if (!event)
        return pv_error_set(err, ENOMEM, "event loop: out of memory");
    event->job = (struct pv_loop_job){.fn = fn, .opaque = opaque, .is_event = true};
    event->loop = loop;
    event->next = queue->events;
    event->link = &queue->events;
    if (event->next)
        event->next->link = &event->next;
    queue->events = event;
    *out = event;
    return 0;
}

void pv_event_signal(struct pv_event *event)
{
    struct pv_loop_queue *queue = queue_of(event->loop);
    pthread_mutex_lock(&queue->lock);
    bool first = !event->job.queued && enqueue(queue, &event->job);
    pthread_mutex_unlock(&queue->lock);
    if (first)
        pv_loop_wake(event->loop);
}

void pv_event_destroy(struct pv_event *event)
{
    if (!event)
        return;
    struct pv_loop_queue *queue = queue_of(event->loop);
    pthread_mutex_lock(&queue->lock);
    if (event->job.queued) {
        struct pv_loop_job **at = &queue->jobs;
        while (*at != &event->job)
            at = &(*at)->next;
        *at = event->job.next;
        if (!*at)
            queue->tail = at;
    }
    pthread_mutex_unlock(&queue->lock);
    *event->link = event->next;
    if (event->next)
        event->next->link = event->link;
    free(event);
}
