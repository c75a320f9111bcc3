/* SPDX-License-Identifier: MIT */
/* An event loop with a thread of its own, for work that the VM's loop should not wait for. */
#ifndef PV_HOST_LOOP_THREAD_H
#define PV_HOST_LOOP_THREAD_H

struct pv_error;
struct pv_loop;
struct pv_loop_thread;

/* `name` (at most 15 characters, a constant) shows in the host's lists. It does not run yet. */
int pv_loop_thread_create(struct pv_loop_thread **out, const char *name, struct pv_error **err);

/* Before it runs and after it was stopped, the loop is the caller's. */
struct pv_loop *pv_loop_thread_loop(struct pv_loop_thread *thread);

int pv_loop_thread_start(struct pv_loop_thread *thread, struct pv_error **err);
/* Returns once the callback in progress has. Without effect when it does not run. */
void pv_loop_thread_stop(struct pv_loop_thread *thread);

/* Stops it first. NULL is fine. */
void pv_loop_thread_destroy(struct pv_loop_thread *thread);

#endif
