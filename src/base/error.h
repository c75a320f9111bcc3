/* SPDX-License-Identifier: MIT */
/*
 * Errors with context.
 *
 * A fallible function takes `struct pv_error **err` last and returns a negative errno value on
 * failure, having stored an error there. Callers add context on the way up:
 *
 *     int ret = open_disk(path, err);
 *     if (ret < 0)
 *         return pv_error_prefix(err, "disk %u", index);
 *
 * `err` may be NULL when the caller wants only the number. *err must be NULL on entry. The caller
 * owns the error and releases it with pv_error_free(), or declares it with PV_CLEANUP_ERROR.
 */
#ifndef PV_BASE_ERROR_H
#define PV_BASE_ERROR_H

struct pv_error;

/* Stores a new error. `code` is a positive errno value; returns -code. */
int pv_error_set(struct pv_error **err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* As pv_error_set, with ": " and the system's text for `code` appended. */
int pv_error_errno(struct pv_error **err, int code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "fmt: " before the stored message. Returns the stored error's negative code. */
int pv_error_prefix(struct pv_error **err, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* The one-line message; never NULL, valid until the error is freed or prefixed. */
const char *pv_error_message(const struct pv_error *err);

/* The positive errno value; 0 for NULL. */
int pv_error_code(const struct pv_error *err);

/* Frees *err and sets it to NULL. Accepts NULL and a pointer to NULL. */
void pv_error_free(struct pv_error **err);

/* That these return negative values is what the static analyzer cannot see. */
#ifdef __clang_analyzer__
#define PV_ERROR_NEGATIVE(call)                                                                    \
    __extension__({                                                                                \
        int ret_ = call;                                                                           \
        __builtin_assume(ret_ < 0);                                                                \
        ret_;                                                                                      \
    })
#define pv_error_set(...)    PV_ERROR_NEGATIVE(pv_error_set(__VA_ARGS__))
#define pv_error_errno(...)  PV_ERROR_NEGATIVE(pv_error_errno(__VA_ARGS__))
#define pv_error_prefix(...) PV_ERROR_NEGATIVE(pv_error_prefix(__VA_ARGS__))
#endif

#define PV_CLEANUP_ERROR __attribute__((cleanup(pv_error_free)))

#endif
