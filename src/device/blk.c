/* SPDX-License-Identifier: MIT */
/*
 * Requests go to the block layer as they come and complete in any order. A reset waits until no
 * worker touches guest memory any more; requests whose completion is still on its way to the loop
 * by then are marked stale, and only freed when it arrives.
 */
#include "device/blk.h"

#include "base/checked.h"
#include "base/error.h"
#include "base/log.h"
#include "base/record.h"
#include "base/util.h"
#include "block/block.h"
#include "virtio/device_impl.h"

#include <errno.h>
#include <string.h>

#define SECTOR 512u

#define F_SEG_MAX      2u
#define F_RO           5u
#define F_BLK_SIZE     6u
#define F_FLUSH        9u
#define F_TOPOLOGY     10u
#define F_MQ           12u
#define F_DISCARD      13u
#define F_WRITE_ZEROES 14u

/* Request types and results, 5.2.6. */
enum {
    T_IN = 0,
    T_OUT = 1,
    T_FLUSH = 4,
    T_GET_ID = 8,
    T_DISCARD = 11,
    T_WRITE_ZEROES = 13,
};
enum { S_OK, S_IOERR, S_UNSUPP };

#define RANGE_F_UNMAP 1u

#define SERIAL_SIZE 20u
#define QUEUE_SIZE  256u
#define SEG_MAX     (QUEUE_SIZE - 2) /* header and status take a descriptor each */
/* 2 GiB a request: even where zeroes have to be written, it ends within a guest's patience. */
#define MAX_RANGE_SECTORS (1u << 22)
/* As much as one transfer may move: a reset has to wait for it. */
#define MAX_TRANSFER (1u << 30)

/* struct virtio_blk_config, 5.2.4. */
struct blk_config {
    uint64_t capacity; /* sectors */
    uint32_t size_max;
    uint32_t seg_max;
    uint16_t cylinders;
    uint8_t heads;
    uint8_t sectors;
    uint32_t blk_size;
    uint8_t physical_block_exp;
    uint8_t alignment_offset;
    uint16_t min_io_size;
    uint32_t opt_io_size;
    uint8_t writeback;
    uint8_t unused0;
    uint16_t num_queues;
    uint32_t max_discard_sectors;
    uint32_t max_discard_seg;
    uint32_t discard_sector_alignment;
    uint32_t max_write_zeroes_sectors;
    uint32_t max_write_zeroes_seg;
    uint8_t write_zeroes_may_unmap;
    uint8_t unused1[3];
};
_Static_assert(sizeof(struct blk_config) == 60 || sizeof(struct blk_config) == 64, "5.2.4");
_Static_assert(offsetof(struct blk_config, write_zeroes_may_unmap) == 56, "5.2.4");

struct blk_header {
    uint32_t type;
    uint32_t reserved;
    uint64_t sector;
};

struct blk_range {
    uint64_t sector;
    uint32_t count;
    uint32_t flags;
};

struct blk {
    struct pv_virtio_device base;
    struct pv_block *block;
    struct blk_config config;
    char serial[SERIAL_SIZE];
    struct request *requests; /* under way, stale ones too */
};

struct request {
    struct pv_block_request base;
    struct request *next, **link;
    struct blk *blk;
    struct pv_virtq *queue;
    struct pv_virtq_chain chain;
    bool stale;
    struct iovec iov[]; /* the data, without header and status */
};

static void config_read(struct pv_virtio_device *dev, size_t offset, void *buf, size_t size)
{
    const struct blk *blk = (const struct blk *)dev;
    memcpy(buf, (const char *)&blk->config + offset, size);
}

/* ---- Ends of requests ---- */

/* The status is the last byte of the writable part, however that is cut up. */
static void answer(struct pv_virtq *queue, struct pv_virtq_chain *chain, uint8_t status)
{
    pv_virtq_write(chain, chain->in_bytes - 1, &status, 1);
    pv_virtq_push(queue, chain, chain->in_bytes);
}

static void request_free(struct request *request)
{
    *request->link = request->next;
    if (request->next)
        request->next->link = request->link;
    pv_virtq_chain_finish(&request->chain);
    free(request);
}

static uint8_t status_of(int result)
{
    if (!result)
        return S_OK;
    return result == -EOPNOTSUPP ? S_UNSUPP : S_IOERR;
}

static void request_done(struct pv_block_request *base, int result)
{
    struct request *request = (struct request *)base;
    struct blk *blk = request->blk;
    pv_virtio_lock(&blk->base);
    if (!request->stale && !result && base->op == PV_BLOCK_WRITE &&
        !pv_virtio_has_feature(&blk->base, F_FLUSH)) {
        /* A driver that cannot flush is promised a write-through cache (5.2.6.2). */
        base->op = PV_BLOCK_FLUSH;
        pv_block_submit(blk->block, base);
    } else {
        if (!request->stale) {
            if (result < 0)
                pv_debug(PV_LOG_BLK, "operation %d at %llu, %llu bytes: %s", (int)base->op,
                         (unsigned long long)base->offset, (unsigned long long)base->length,
                         strerror(-result));
            answer(request->queue, &request->chain, status_of(result));
            pv_virtq_notify(request->queue);
        }
        request_free(request);
    }
    pv_virtio_unlock(&blk->base);
}

/* ---- Beginnings ---- */

/* Takes over the chain. */
static void submit(struct blk *blk, struct pv_virtq *queue, struct pv_virtq_chain *chain,
                   struct pv_block_request start)
{
    bool out = start.op == PV_BLOCK_WRITE, in = start.op == PV_BLOCK_READ;
    unsigned count = out ? chain->out_count : in ? chain->in_count : 0;
    struct request *request = calloc(1, sizeof(*request) + count * sizeof(struct iovec));
    if (!request) {
        answer(queue, chain, S_IOERR);
        return;
    }
    request->base = start;
    request->base.done = request_done;
    request->base.iov = request->iov;
    if (out)
        request->base.iov_count = pv_virtq_slice(request->iov, count, chain->iov, count,
                                                 sizeof(struct blk_header), start.length);
    else if (in)
        request->base.iov_count = pv_virtq_slice(request->iov, count, chain->iov + chain->out_count,
                                                 count, 0, start.length);
    request->blk = blk;
    request->queue = queue;
    request->chain = *chain;
    request->next = blk->requests;
    request->link = &blk->requests;
    if (request->next)
        request->next->link = &request->next;
    blk->requests = request;
    pv_block_submit(blk->block, &request->base);
}

static void transfer(struct blk *blk, struct pv_virtq *queue, struct pv_virtq_chain *chain,
                     const struct blk_header *header)
{
    bool out = header->type == T_OUT;
    struct pv_block_request start = {.op = out ? PV_BLOCK_WRITE : PV_BLOCK_READ};
    start.length = out ? chain->out_bytes - sizeof(*header) : chain->in_bytes - 1;
    if (!pv_mul_ok(header->sector, SECTOR, &start.offset) || start.length % SECTOR ||
        start.length > MAX_TRANSFER ||
        !pv_range_ok(header->sector, start.length / SECTOR, blk->config.capacity))
        answer(queue, chain, S_IOERR);
    else
        submit(blk, queue, chain, start);
}

/* Discard and write zeroes, of one range. */
static void clear(struct blk *blk, struct pv_virtq *queue, struct pv_virtq_chain *chain,
                  const struct blk_header *header)
{
    bool discard = header->type == T_DISCARD;
    struct blk_range range;
    if (chain->out_bytes != sizeof(*header) + sizeof(range)) {
        answer(queue, chain, S_UNSUPP);
        return;
    }
    pv_virtq_read(chain, sizeof(*header), &range, sizeof(range));
    if (range.flags & ~(discard ? 0 : RANGE_F_UNMAP)) {
        answer(queue, chain, S_UNSUPP);
        return;
    }
    if (range.count > MAX_RANGE_SECTORS ||
        !pv_range_ok(range.sector, range.count, blk->config.capacity)) {
        answer(queue, chain, S_IOERR);
        return;
    }
    submit(blk, queue, chain,
           (struct pv_block_request){
               .op = discard ? PV_BLOCK_DISCARD : PV_BLOCK_ZERO,
               .unmap = range.flags & RANGE_F_UNMAP,
               .offset = range.sector * SECTOR,
               .length = (uint64_t)range.count * SECTOR,
           });
}

/* Takes over the chain. */
static void handle(struct blk *blk, struct pv_virtq *queue, struct pv_virtq_chain *chain)
{
    struct blk_header header;
    if (pv_virtq_read(chain, 0, &header, sizeof(header)) < sizeof(header) || !chain->in_bytes) {
        pv_virtio_fail(&blk->base, "a request without header or status (%zu and %zu bytes)",
                       chain->out_bytes, chain->in_bytes);
        pv_virtq_chain_finish(chain);
        return;
    }
    bool read_only = pv_block_read_only(blk->block);
    switch (header.type) {
    case T_OUT:
        if (read_only) {
            answer(queue, chain, S_IOERR);
            break;
        }
        /* fall through */
    case T_IN: transfer(blk, queue, chain, &header); break;
    case T_FLUSH: submit(blk, queue, chain, (struct pv_block_request){.op = PV_BLOCK_FLUSH}); break;
    case T_GET_ID:
        pv_virtq_write(chain, 0, blk->serial, PV_MIN(sizeof(blk->serial), chain->in_bytes - 1));
        answer(queue, chain, S_OK);
        break;
    case T_DISCARD:
    case T_WRITE_ZEROES:
        if (read_only)
            answer(queue, chain, S_IOERR);
        else
            clear(blk, queue, chain, &header);
        break;
    default: answer(queue, chain, S_UNSUPP); break;
    }
}

static void queue_ready(struct pv_virtio_device *dev, unsigned index)
{
    struct blk *blk = (struct blk *)dev;
    struct pv_virtq *queue = pv_virtio_queue(dev, index);
    struct pv_virtq_chain chain;
    unsigned budget = PV_VIRTQ_BUDGET;
    while (budget && pv_virtq_pop(queue, &chain) == 1) {
        handle(blk, queue, &chain);
        budget--;
    }
    pv_virtq_notify(queue);
    if (!budget)
        pv_virtq_reschedule(queue);
}

/* ---- Life ---- */

/* Forgets the requests of one queue, or of all. */
static void forget(struct blk *blk, const struct pv_virtq *queue)
{
    pv_block_drain(blk->block);
    for (struct request *request = blk->requests; request; request = request->next) {
        if (queue && request->queue != queue)
            continue;
        request->stale = true;
        pv_virtq_chain_finish(&request->chain);
    }
}

static void reset(struct pv_virtio_device *dev)
{
    forget((struct blk *)dev, NULL);
}

static void queue_reset(struct pv_virtio_device *dev, unsigned index)
{
    forget((struct blk *)dev, pv_virtio_queue(dev, index));
}

static void destroy(struct pv_virtio_device *dev)
{
    struct blk *blk = (struct blk *)dev;
    pv_block_close(blk->block); /* no completion comes any more */
    for (struct request *request = blk->requests, *next; request; request = next) {
        next = request->next;
        pv_virtq_chain_finish(&request->chain);
        free(request);
    }
    free(blk);
}

static bool busy(struct pv_virtio_device *dev)
{
    return ((struct blk *)dev)->requests;
}

static void record(struct pv_virtio_device *dev, struct pv_record *record)
{
    pv_record_same(record, ((struct blk *)dev)->config.capacity, "the disk's size in sectors");
}

static const struct pv_virtio_device_ops blk_ops = {
    .name = "blk",
    .id = PV_VIRTIO_ID_BLOCK,
    .config_size = offsetof(struct blk_config, unused1) + sizeof(((struct blk_config *)0)->unused1),
    .config_read = config_read,
    .reset = reset,
    .queue_reset = queue_reset,
    .queue_ready = queue_ready,
    .busy = busy,
    .record = record,
    .destroy = destroy,
};

int pv_blk_create(struct pv_virtio_device **out, struct pv_loop *loop, struct pv_address_space *as,
                  struct pv_block *block, const struct pv_blk_options *options,
                  struct pv_error **err)
{
    unsigned queues = options && options->queues ? options->queues : 1;
    const char *serial = options ? options->serial : NULL;
    uint64_t features = UINT64_C(1) << F_SEG_MAX | UINT64_C(1) << F_BLK_SIZE |
                        UINT64_C(1) << F_FLUSH | UINT64_C(1) << F_TOPOLOGY;
    if (queues > 1)
        features |= UINT64_C(1) << F_MQ;
    if (pv_block_read_only(block))
        features |= UINT64_C(1) << F_RO;
    else
        features |= UINT64_C(1) << F_WRITE_ZEROES;
    if (pv_block_can_discard(block))
        features |= UINT64_C(1) << F_DISCARD;
    int ret = pv_virtio_device_create(out, sizeof(struct blk), &blk_ops, loop, as, features, queues,
                                      QUEUE_SIZE, err);
    if (ret < 0)
        return ret;
    struct blk *blk = (struct blk *)*out;
    if (pv_block_size(block) % SECTOR)
        pv_warn(PV_LOG_BLK,
                "the image's last %u bytes are not a whole sector: the guest does not see them",
                (unsigned)(pv_block_size(block) % SECTOR));
    blk->block = block;
    blk->config = (struct blk_config){
        .capacity = pv_block_size(block) / SECTOR,
        .seg_max = SEG_MAX,
        .blk_size = SECTOR,
        .physical_block_exp = 3, /* 4 KiB, as nearly every host's file system has it */
        .min_io_size = 8,
        .num_queues = (uint16_t)queues,
        .max_discard_sectors = MAX_RANGE_SECTORS,
        .max_discard_seg = 1,
        .discard_sector_alignment = 8,
        .max_write_zeroes_sectors = MAX_RANGE_SECTORS,
        .max_write_zeroes_seg = 1,
        .write_zeroes_may_unmap = 1,
    };
    if (serial)
        memcpy(blk->serial, serial, strnlen(serial, sizeof(blk->serial)));
    return 0;
}
