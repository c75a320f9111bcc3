/* SPDX-License-Identifier: MIT */
#include "block/iov.h"
#include "block/qcow2/qcow2.h"

#include <errno.h>

int qcow2_read_run(struct qcow2 *q, const struct qcow2_run *run, const struct iovec *iov,
                   unsigned count, uint64_t from, uint64_t length, uint64_t offset)
{
    switch (run->kind) {
    case QCOW2_ABSENT:
        return pv_block_backing_readv(q->base.backing, iov, count, from, length, offset);
    case QCOW2_ZEROES: pv_iov_zero(iov, count, from, length); return 0;
    case QCOW2_DATA: return pv_block_image_readv(q->data, iov, count, from, length, run->host);
    default:
        return qcow2_packed_read(q, run->host, run->packed,
                                 (uint32_t)(offset & (q->cluster_size - 1)), (uint32_t)length, iov,
                                 count, from);
    }
}

int qcow2_read(struct pv_block_image *image, const struct iovec *iov, unsigned count,
               uint64_t offset)
{
    struct qcow2 *q = (struct qcow2 *)image;
    uint64_t left = 0, from = 0;
    for (unsigned i = 0; i < count; i++)
        left += iov[i].iov_len;
    while (left) {
        struct qcow2_run run;
        pthread_mutex_lock(&q->lock);
        qcow2_transfer_begin(q);
        int ret = qcow2_map(q, offset, left, &run);
        pthread_mutex_unlock(&q->lock);
        if (ret == 0)
            ret = qcow2_read_run(q, &run, iov, count, from, run.length, offset);
        pthread_mutex_lock(&q->lock);
        qcow2_transfer_end(q);
        pthread_mutex_unlock(&q->lock);
        if (ret < 0)
            return ret;
        offset += run.length;
        from += run.length;
        left -= run.length;
    }
    return 0;
}

/*
 * One run of this image's own clusters. The lock is kept for the whole of it, which is short: so
 * nothing is freed meanwhile, and this need not be counted as a transfer.
 */
int qcow2_read_now(struct pv_block_image *image, const struct iovec *iov, unsigned count,
                   uint64_t offset)
{
    struct qcow2 *q = (struct qcow2 *)image;
    struct qcow2_run run;
    uint64_t length = 0;
    int ret = -EAGAIN;

    if (!q->data->ops->read_now || pthread_mutex_trylock(&q->lock))
        return -EAGAIN;
    for (unsigned i = 0; i < count; i++)
        length += iov[i].iov_len;
    if (qcow2_map_ready(q, offset) && qcow2_map(q, offset, length, &run) == 0 &&
        run.kind == QCOW2_DATA && run.length == length)
        ret = q->data->ops->read_now(q->data, iov, count, run.host);
    pthread_mutex_unlock(&q->lock);
    return ret;
}
