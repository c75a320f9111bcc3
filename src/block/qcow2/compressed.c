/* SPDX-License-Identifier: MIT */
/*
 * Compressed clusters: a deflate stream without a header, or a zstd frame, that may end anywhere in
 * the last of its 512-byte sectors. The cluster decompressed last is kept, because guests read
 * smaller pieces than clusters. Readers decompress side by side, without a lock. What is kept stays
 * right: an image gets compressed clusters only while it is made, so where one was there will be no
 * other.
 */
#include "block/iov.h"
#include "block/qcow2/qcow2.h"

#include <errno.h>
#include <string.h>
#include <zlib.h>
#include <zstd.h>

/* What other programs make and expect: a window of 4 KiB. */
#define DEFLATE_WINDOW (-12)
#define DEFLATE_MEMORY 8

static int inflate_cluster(void *out, size_t size, const void *in, size_t in_size)
{
    z_stream stream = {.next_in = (uint8_t *)(uintptr_t)in,
                       .avail_in = (unsigned)in_size,
                       .next_out = out,
                       .avail_out = (unsigned)size};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
        return -ENOMEM;
    int ret = inflate(&stream, Z_FINISH);
    inflateEnd(&stream);
    /* Whether the stream says that it ends, or just fills the cluster, is all the same. */
    return (ret == Z_STREAM_END || ret == Z_BUF_ERROR) && !stream.avail_out ? 0 : -EIO;
}

static int unzstd_cluster(void *out, size_t size, const void *in, size_t in_size)
{
    ZSTD_DCtx *ctx = ZSTD_createDCtx();
    if (!ctx)
        return -ENOMEM;
    ZSTD_outBuffer to = {.dst = out, .size = size};
    ZSTD_inBuffer source = {.src = in, .size = in_size};
    size_t ret = 1, before;
    do {
        before = source.pos + to.pos;
        ret = ZSTD_decompressStream(ctx, &to, &source);
    } while (!ZSTD_isError(ret) && ret && to.pos < size && source.pos + to.pos > before);
    ZSTD_freeDCtx(ctx);
    return !ZSTD_isError(ret) && to.pos == size ? 0 : -EIO;
}

static int unpack(struct qcow2 *q, uint64_t host, uint32_t bytes, void *out)
{
    PV_CLEANUP_FREE void *packed = malloc(bytes);
    if (!packed)
        return -ENOMEM;
    int ret = pv_block_image_read(q->file, packed, bytes, host);
    if (ret < 0)
        return ret;
    return q->header.compression == QCOW2_ZSTD
               ? unzstd_cluster(out, q->cluster_size, packed, bytes)
               : inflate_cluster(out, q->cluster_size, packed, bytes);
}

/* From the cluster that is kept, if it is that one. */
static bool read_kept(struct qcow2 *q, uint64_t host, uint32_t from, uint32_t length,
                      const struct iovec *iov, unsigned count, uint64_t to)
{
    pthread_mutex_lock(&q->packed_lock);
    const bool there = q->packed_at == host;
    if (there)
        pv_iov_fill(iov, count, to, q->packed_data + from, length);
    pthread_mutex_unlock(&q->packed_lock);
    return there;
}

int qcow2_packed_read(struct qcow2 *q, uint64_t host, uint32_t bytes, uint32_t from,
                      uint32_t length, const struct iovec *iov, unsigned count, uint64_t to)
{
    if (read_kept(q, host, from, length, iov, count, to))
        return 0;
    PV_CLEANUP_FREE uint8_t *data = malloc(q->cluster_size);
    if (!data)
        return -ENOMEM;
    int ret = unpack(q, host, bytes, data);
    if (ret < 0)
        return ret;
    pv_iov_fill(iov, count, to, data + from, length);
    if (length == q->cluster_size)
        return 0; /* there is nothing left of it to come back for */
    pthread_mutex_lock(&q->packed_lock);
    free(q->packed_data);
    q->packed_data = PV_STEAL(data);
    q->packed_at = host;
    pthread_mutex_unlock(&q->packed_lock);
    return 0;
}

/* ---- Making them ---- */

static int deflate_cluster(void *out, size_t room, const void *in, size_t size)
{
    z_stream stream = {.next_in = (uint8_t *)(uintptr_t)in,
                       .avail_in = (unsigned)size,
                       .next_out = out,
                       .avail_out = (unsigned)room};
    if (deflateInit2(&stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, DEFLATE_WINDOW, DEFLATE_MEMORY,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return -ENOMEM;
    int ret = deflate(&stream, Z_FINISH);
    deflateEnd(&stream);
    return ret == Z_STREAM_END ? (int)(room - stream.avail_out) : -E2BIG;
}

int qcow2_pack(enum qcow2_compression compression, void *out, size_t room, const void *in,
               size_t size)
{
    if (compression == QCOW2_ZLIB)
        return deflate_cluster(out, room, in, size);
    size_t ret = ZSTD_compress(out, room, in, size, ZSTD_CLEVEL_DEFAULT);
    return ZSTD_isError(ret) ? -E2BIG : (int)ret;
}

/*
 * Compressed clusters lie one behind the other, whatever the boundaries: each host cluster is
 * counted once for every compressed cluster that touches it. The lock is held.
 */
static int place_packed(struct qcow2 *q, uint32_t bytes, uint64_t *host)
{
    const uint64_t end = pv_align_up(q->pack_next, q->cluster_size);
    if (q->pack_next != end && end - q->pack_next >= bytes) {
        *host = q->pack_next;
        return qcow2_refcount_change(q, *host >> q->cluster_bits, 1);
    }
    uint64_t first, count;
    int ret = qcow2_allocate(q, 1, &first, &count);
    if (ret < 0)
        return ret;
    *host = first << q->cluster_bits;
    if (q->pack_next != end && *host == end) {
        *host = q->pack_next;
        ret = qcow2_refcount_change(q, *host >> q->cluster_bits, 1);
    }
    return ret;
}

static int enter_packed(struct qcow2 *q, uint64_t cluster, const void *packed, uint32_t bytes)
{
    uint64_t host;
    pthread_mutex_lock(&q->lock);
    int ret = place_packed(q, bytes, &host);
    if (ret == 0)
        ret = pv_block_image_write(q->file, packed, bytes, host);
    if (ret == 0) {
        const unsigned split = 62 - (q->cluster_bits - 8);
        const uint64_t sectors = ((host + bytes - 1) >> 9) - (host >> 9);
        const struct qcow2_entry entry = {.word = QCOW2_COMPRESSED | sectors << split | host};
        q->pack_next = host + bytes;
        ret = qcow2_entry_set(q, cluster, entry);
    }
    pthread_mutex_unlock(&q->lock);
    return ret;
}

int qcow2_write_packed(struct qcow2 *q, uint64_t cluster, const void *data)
{
    const uint64_t offset = cluster << q->cluster_bits;
    PV_CLEANUP_FREE void *packed = malloc(q->cluster_size);
    if (!packed)
        return -ENOMEM;
    int bytes =
        qcow2_pack(q->header.compression, packed, q->cluster_size - 1, data, q->cluster_size);
    if (bytes == -E2BIG)
        return pv_block_image_write(
            &q->base, data, (size_t)PV_MIN((uint64_t)q->cluster_size, q->base.size - offset),
            offset);
    return bytes < 0 ? bytes : enter_packed(q, cluster, packed, (uint32_t)bytes);
}
