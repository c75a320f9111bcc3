/* SPDX-License-Identifier: MIT */
/*
 * The control socket of a running VM: its owner asks things of it, one JSON object a line each way.
 *
 *   {"id": ANY, "verb": "balloon", "directory": "/home/me", "arguments": {"size": "512M"}}
 *   {"id": ANY, "result": {...}}    or    {"id": ANY, "error": "one line for a person"}
 *
 * "id" comes back as it was sent and may be left out. Values are strings, as a person would write
 * them. Relative paths among them are meant from "directory". Requests of a client are begun in
 * their order; answers come when they are known.
 *
 * This is the server; what can be asked is its owner's table. All on the loop's thread.
 */
#ifndef PV_VM_CONTROL_H
#define PV_VM_CONTROL_H

#include <jansson.h>
#include <stddef.h>

struct pv_control;
struct pv_control_request;
struct pv_error;
struct pv_loop;

#define PV_CONTROL_MAX_ARGUMENTS 6

/* What a verb's `run` returns when it will call pv_control_answer() later. */
#define PV_CONTROL_LATER 1

struct pv_control_verb {
    const char *name;
    const char *required[PV_CONTROL_MAX_ARGUMENTS], *optional[PV_CONTROL_MAX_ARGUMENTS];
    /*
     * 0 with an object in *result (left NULL: an empty one), which the server takes, a negative
     * errno with an error, or PV_CONTROL_LATER. Arguments have been checked against the names.
     */
    int (*run)(void *opaque, struct pv_control_request *request, json_t **result,
               struct pv_error **err);
};

/* Listens at `path`, for its owner only. `verbs` is constant and outlives it. */
int pv_control_create(struct pv_control **out, struct pv_loop *loop, const char *path,
                      const struct pv_control_verb *verbs, size_t verb_count, void *opaque,
                      struct pv_error **err);

/* Drops all clients; requests that wait for an answer are gone. NULL is fine. */
void pv_control_destroy(struct pv_control *control);

/* An argument's value, valid as long as the request; NULL when it was not given. */
const char *pv_control_argument(const struct pv_control_request *request, const char *name);

/* The same for a path, made absolute; the caller frees it. NULL also when memory is short. */
char *pv_control_path_argument(const struct pv_control_request *request, const char *name);

/*
 * Answers a request that was left for later, and frees it: with the error when there is one, which
 * is taken, else with `result`, which is taken too (NULL: an empty object).
 */
void pv_control_answer(struct pv_control_request *request, json_t *result, struct pv_error **err);

#endif
