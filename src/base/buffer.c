/* SPDX-License-Identifier: MIT */
#include "base/buffer.h"

#include "base/checked.h"
#include "base/util.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int pv_buffer_reserve(struct pv_buffer *buffer, size_t extra)
{
    size_t need;
    if (!pv_add_ok(buffer->size, extra, &need) || need > buffer->max)
        return -E2BIG;
    if (buffer->data && need < buffer->capacity)
        return 0;
    size_t capacity = PV_MAX(buffer->capacity, (size_t)64);
    while (capacity <= need) {
        if (!pv_mul_ok(capacity, (size_t)2, &capacity))
            return -ENOMEM;
    }
    char *data = realloc(buffer->data, capacity);
    if (!data)
        return -ENOMEM;
    data[buffer->size] = '\0';
    buffer->data = data;
    buffer->capacity = capacity;
    return 0;
}

int pv_buffer_append(struct pv_buffer *buffer, const void *data, size_t size)
{
    int ret = pv_buffer_reserve(buffer, size);
    if (ret < 0)
        return ret;
    if (size)
        memcpy(buffer->data + buffer->size, data, size);
    buffer->size += size;
    buffer->data[buffer->size] = '\0';
    return 0;
}

int pv_buffer_printf(struct pv_buffer *buffer, const char *fmt, ...)
{
    PV_CLEANUP_FREE char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int len = vasprintf(&text, fmt, ap);
    va_end(ap);
    if (len < 0) {
        text = NULL;
        return -ENOMEM;
    }
    return pv_buffer_append(buffer, text, (size_t)len);
}

void pv_buffer_consume(struct pv_buffer *buffer, size_t size)
{
    if (size >= buffer->size) {
        buffer->size = 0;
    } else {
        memmove(buffer->data, buffer->data + size, buffer->size - size);
        buffer->size -= size;
    }
    if (buffer->data)
        buffer->data[buffer->size] = '\0';
}

void pv_buffer_finish(struct pv_buffer *buffer)
{
    free(buffer->data);
    buffer->data = NULL;
    buffer->size = buffer->capacity = 0;
}
