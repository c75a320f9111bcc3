/* SPDX-License-Identifier: MIT */
/* Decompression for kernels, with a bound on what comes out. */
#include "base/error.h"
#include "base/util.h"
#include "machine/loader.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <zlib.h>
#include <zstd.h>

/* Doubles a buffer, up to the bound. */
static int grow(uint8_t **buf, size_t *capacity, struct pv_error **err)
{
    size_t bigger = *capacity ? *capacity * 2 : 16 * PV_MIB;

    if (*capacity >= PV_LOADER_MAX_IMAGE)
        return pv_error_set(err, EFBIG, "it unpacks to more than %llu MiB",
                            (unsigned long long)(PV_LOADER_MAX_IMAGE / PV_MIB));
    uint8_t *moved = realloc(*buf, bigger);
    if (!moved)
        return pv_error_set(err, ENOMEM, "out of memory to unpack it");
    *buf = moved;
    *capacity = bigger;
    return 0;
}

static int inflate_all(z_stream *stream, uint8_t **out, size_t *out_size, struct pv_error **err)
{
    PV_CLEANUP_FREE uint8_t *buf = NULL;
    size_t capacity = 0;
    int status = Z_OK;

    while (status != Z_STREAM_END) {
        if (stream->total_out == capacity) {
            int ret = grow(&buf, &capacity, err);
            if (ret < 0)
                return ret;
        }
        stream->next_out = buf + stream->total_out;
        stream->avail_out = (unsigned)(capacity - stream->total_out);
        status = inflate(stream, Z_NO_FLUSH);
        if (status == Z_BUF_ERROR || (status == Z_OK && !stream->avail_in && stream->avail_out))
            return pv_error_set(err, EINVAL, "its gzip data is cut short");
        if (status != Z_OK && status != Z_STREAM_END)
            return pv_error_set(err, EINVAL, "its gzip data is damaged");
    }
    *out_size = stream->total_out;
    *out = PV_STEAL(buf);
    return 0;
}

int pv_loader_gunzip(uint8_t **out, size_t *out_size, const uint8_t *data, size_t size,
                     struct pv_error **err)
{
    z_stream stream = {.next_in = (uint8_t *)(uintptr_t)data, .avail_in = (unsigned)size};

    if (size > UINT32_MAX)
        return pv_error_set(err, EFBIG, "it is larger than 4 GiB");
    if (inflateInit2(&stream, 15 + 16) != Z_OK) /* +16: gzip, not zlib */
        return pv_error_set(err, ENOMEM, "out of memory to unpack it");
    int ret = inflate_all(&stream, out, out_size, err);
    inflateEnd(&stream);
    return ret;
}

static int unzstd_all(ZSTD_DStream *stream, ZSTD_inBuffer *in, uint8_t **out, size_t *out_size,
                      struct pv_error **err)
{
    PV_CLEANUP_FREE uint8_t *buf = NULL;
    size_t capacity = 0, used = 0, left = 1;

    while (left != 0) {
        if (used == capacity) {
            int ret = grow(&buf, &capacity, err);
            if (ret < 0)
                return ret;
        }
        ZSTD_outBuffer chunk = {.dst = buf, .size = capacity, .pos = used};
        left = ZSTD_decompressStream(stream, &chunk, in);
        if (ZSTD_isError(left))
            return pv_error_set(err, EINVAL, "its zstd data is damaged");
        used = chunk.pos;
        if (left != 0 && in->pos == in->size && used < capacity)
            return pv_error_set(err, EINVAL, "its zstd data is cut short");
    }
    *out_size = used;
    *out = PV_STEAL(buf);
    return 0;
}

int pv_loader_unzstd(uint8_t **out, size_t *out_size, const uint8_t *data, size_t size,
                     struct pv_error **err)
{
    ZSTD_inBuffer in = {.src = data, .size = size};
    ZSTD_DStream *stream = ZSTD_createDStream();

    if (!stream)
        return pv_error_set(err, ENOMEM, "out of memory to unpack it");
    int ret = unzstd_all(stream, &in, out, out_size, err);
    ZSTD_freeDStream(stream);
    return ret;
}
