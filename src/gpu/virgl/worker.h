/* SPDX-License-Identifier: MIT */
/*
 * A thread that runs what others ask it to, one thing at a time, while they wait: for libraries
 * whose state belongs to a thread, as OpenGL's does.
 */
#ifndef PV_GPU_VIRGL_WORKER_H
#define PV_GPU_VIRGL_WORKER_H

struct pv_error;
struct pv_gpu_worker;

int pv_gpu_worker_create(struct pv_gpu_worker **out, const char *name, struct pv_error **err);
/* Runs job(arg) on the thread and returns what it returned. */
int pv_gpu_worker_run(struct pv_gpu_worker *worker, int (*job)(void *arg), void *arg);
void pv_gpu_worker_destroy(struct pv_gpu_worker *worker); /* NULL is fine */

#endif
