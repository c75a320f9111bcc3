/* SPDX-License-Identifier: MIT */
/* A growable byte buffer that never grows beyond a maximum given when it is set up. */
#ifndef PV_BASE_BUFFER_H
#define PV_BASE_BUFFER_H

#include <stddef.h>

struct pv_buffer {
    char *data; /* NUL-terminated beyond `size` whenever not NULL */
    size_t size;
    size_t capacity;
    size_t max; /* largest `size` ever allowed */
};

#define PV_BUFFER_INIT(max_size) ((struct pv_buffer){.max = (max_size)})

/* 0, -ENOMEM, or -E2BIG when the result would exceed the maximum (the buffer is unchanged). */
int pv_buffer_reserve(struct pv_buffer *buffer, size_t extra);
int pv_buffer_append(struct pv_buffer *buffer, const void *data, size_t size);
int pv_buffer_printf(struct pv_buffer *buffer, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* Drops the first `size` bytes (at most all of them). */
void pv_buffer_consume(struct pv_buffer *buffer, size_t size);

/* Frees the storage; the buffer is empty and usable again. */
void pv_buffer_finish(struct pv_buffer *buffer);

#define PV_CLEANUP_BUFFER __attribute__((cleanup(pv_buffer_finish)))

#endif
