/* SPDX-License-Identifier: MIT */
/*
 * What can be asked of the daemon: the table that tools/gen-api makes from spec/api.json, and the
 * check of a request against it. Handlers see requests that have passed that check, and nothing
 * else is dispatched.
 */
#ifndef PV_DAEMON_API_H
#define PV_DAEMON_API_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

struct pv_daemon;
struct pv_error;

enum pv_api_place {
    PV_API_PATH,
    PV_API_QUERY,
    PV_API_BODY,
};

enum pv_api_type {
    PV_API_STRING,
    PV_API_INTEGER,
    PV_API_BOOLEAN,
    PV_API_VALUES,   /* a string, or an array of them */
    PV_API_SETTINGS, /* an object of values, whose keys the pattern is for */
};

struct pv_api_field {
    const char *name;
    enum pv_api_place place;
    enum pv_api_type type;
    bool required;
    json_int_t least, most; /* of an integer; `most` also of a string's bytes and settings' keys */
    const char *pattern;    /* an extended regular expression, or NULL */
    const char *const *choices; /* ended by NULL, or NULL: any */
};

/* What is answered. All zero: 200 with an empty object. */
struct pv_api_reply {
    json_t *json;
    char *text; /* instead, of this type */
    size_t size;
    const char *type;
    bool is_stream; /* of events instead, from `since` on */
    json_int_t since;
};

/*
 * `values` has all of the request's fields, by their names. Negative errno with an error, whose
 * code says what status is answered (pv_api_status()).
 */
typedef int pv_api_handler(struct pv_daemon *daemon, json_t *values, struct pv_api_reply *reply,
                           struct pv_error **err);

struct pv_api_operation {
    const char *method;
    const char *path; /* with {fields} */
    pv_api_handler *run;
    const struct pv_api_field *fields;
    size_t field_count;
};

extern const struct pv_api_operation pv_api_operations[];
extern const size_t pv_api_operation_count;
extern const char pv_api_json[]; /* spec/api.json */

/*
 * The operation for a method and a path (without a query), whose fields are put into `values`; NULL
 * with *status 404 or 405 when there is none.
 */
const struct pv_api_operation *pv_api_find(const char *method, const char *path, json_t *values,
                                           unsigned *status);

/*
 * Checks everything that was sent and puts it into `values`. `query` has strings; `body` may be
 * NULL when none was sent.
 */
int pv_api_check(const struct pv_api_operation *operation, json_t *query, json_t *body,
                 json_t *values, struct pv_error **err);

/* HTTP's status for an errno value. */
unsigned pv_api_status(int code);

#endif
