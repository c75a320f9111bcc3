/* SPDX-License-Identifier: MIT */
/*
 * What event loops of all hosts have in common: posted jobs and signalled events, in one queue. A
 * host's loop embeds this first in its struct pv_loop, and wakes itself up.
 */
#ifndef PV_HOST_LOOP_QUEUE_H
#define PV_HOST_LOOP_QUEUE_H

#include "host/loop.h"

#include <pthread.h>

struct pv_loop_job;

struct pv_loop_queue {
    struct pv_event *events; /* that exist */
    pthread_mutex_t lock;    /* protects jobs, tail and every job in the queue */
    struct pv_loop_job *jobs;
    struct pv_loop_job **tail;
};

void pv_loop_queue_init(struct pv_loop_queue *queue);
/* Frees the events that are left, and drops the jobs. */
void pv_loop_queue_finish(struct pv_loop_queue *queue);
/* Runs what is queued now; true when more was queued meanwhile. */
bool pv_loop_queue_run(struct pv_loop_queue *queue);

/* The host's: makes pv_loop_run() look at the queue. Any thread; async-signal-safe. */
void pv_loop_wake(struct pv_loop *loop);

#endif
