/* SPDX-License-Identifier: MIT */
#include "base/error.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The analyzer's view of them, for callers. */
#undef pv_error_set
#undef pv_error_errno
#undef pv_error_prefix

struct pv_error {
    int code;
    char *message; /* NULL when there was no memory for it */
};

static void store(struct pv_error **err, int code, char *message)
{
    if (!err) {
        free(message);
        return;
    }
    struct pv_error *e = calloc(1, sizeof(*e));
    if (!e) {
        free(message);
        *err = NULL;
        return;
    }
    e->code = code;
    e->message = message;
    *err = e;
}

int pv_error_set(struct pv_error **err, int code, const char *fmt, ...)
{
    char *message = NULL;
    if (err) {
        va_list ap;
        va_start(ap, fmt);
        if (vasprintf(&message, fmt, ap) < 0)
            message = NULL;
        va_end(ap);
    }
    store(err, code, message);
    return -code;
}

/* GNU's strerror_r returns the text, POSIX's an error number. */
static const char *system_text(int code, char *text, size_t size)
{
#ifdef __GLIBC__
    return strerror_r(code, text, size);
#else
    return strerror_r(code, text, size) == 0 ? text : "unknown error";
#endif
}

int pv_error_errno(struct pv_error **err, int code, const char *fmt, ...)
{
    if (!err)
        return -code;
    char *what = NULL;
    char *message = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&what, fmt, ap) < 0)
        what = NULL;
    va_end(ap);
    char text[128];
    if (what && asprintf(&message, "%s: %s", what, system_text(code, text, sizeof(text))) < 0)
        message = NULL;
    free(what);
    store(err, code, message);
    return -code;
}

int pv_error_prefix(struct pv_error **err, const char *fmt, ...)
{
    if (!err || !*err)
        return err ? -ENOMEM : -EIO; /* no record: not wanted, or no memory for it */
    char *prefix = NULL;
    char *message = NULL;
    va_list ap;
    va_start(ap, fmt);
    if (vasprintf(&prefix, fmt, ap) < 0)
        prefix = NULL;
    va_end(ap);
    if (prefix && asprintf(&message, "%s: %s", prefix, pv_error_message(*err)) < 0)
        message = NULL;
    free(prefix);
    if (message) {
        free((*err)->message);
        (*err)->message = message;
    }
    return -(*err)->code;
}

const char *pv_error_message(const struct pv_error *err)
{
    return err && err->message ? err->message : "out of memory";
}

int pv_error_code(const struct pv_error *err)
{
    return err ? err->code : 0;
}

void pv_error_free(struct pv_error **err)
{
    if (!err || !*err)
        return;
    free((*err)->message);
    free(*err);
    *err = NULL;
}
