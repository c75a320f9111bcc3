/* SPDX-License-Identifier: MIT */
/* Commands of the NVM command set (NVM Express 1.4, chapter 6), by way of the block layer. */
#include "device/nvme_impl.h"

#include "base/checked.h"
#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
    FLUSH = 0x00,
    WRITE = 0x01,
    READ = 0x02,
    WRITE_ZEROES = 0x08,
    DATASET_MANAGEMENT = 0x09,
};

#define FORCE_UNIT_ACCESS (1u << 30) /* dw12 */
#define DEALLOCATE_ZEROES (1u << 25) /* dw12 of Write Zeroes */
#define DEALLOCATE        (1u << 2)  /* dw11 of Dataset Management */

/* ---- Ends ---- */

static void request_free(struct nvme_request *request)
{
    *request->link = request->next;
    if (request->next)
        request->next->link = request->link;
    free(request->ranges);
    free(request);
}

static unsigned status_of(const struct pv_block_request *base, int result)
{
    if (!result)
        return NVME_OK;
    pv_debug(PV_LOG_BLK, "nvme: operation %d at %llu, %llu bytes: %s", (int)base->op,
             (unsigned long long)base->offset, (unsigned long long)base->length, strerror(-result));
    return base->op == PV_BLOCK_READ ? NVME_READ_ERROR : NVME_WRITE_FAULT;
}

/* The next of the ranges to be given up that is not empty; false when there is none. */
static bool next_range(struct nvme_request *request)
{
    while (request->range < request->range_count) {
        const struct nvme_range *range = &request->ranges[request->range++];
        request->base.offset = range->start * NVME_SECTOR;
        request->base.length = (uint64_t)range->sectors * NVME_SECTOR;
        if (range->sectors)
            return true;
    }
    return false;
}

/* On the loop's thread. */
static void request_done(struct pv_block_request *base, int result)
{
    struct nvme_request *request = (struct nvme_request *)base;
    struct pv_nvme *nvme = request->nvme;

    pthread_mutex_lock(&nvme->lock);
    const bool goes_on = !request->stale && !result;
    if (goes_on && request->ranges && next_range(request)) {
        pv_block_submit(nvme->block, base);
    } else if (goes_on && request->flush) {
        request->flush = false;
        base->op = PV_BLOCK_FLUSH;
        pv_block_submit(nvme->block, base);
    } else {
        if (!request->stale && request->shutdown)
            nvme->csts = (nvme->csts & ~(3u << 2)) | 2u << 2; /* SHST: complete */
        else if (!request->stale)
            nvme_complete(nvme, request->sq, request->cid, status_of(base, result), 0);
        request_free(request);
    }
    pthread_mutex_unlock(&nvme->lock);
}

void nvme_forget(struct pv_nvme *nvme, int sq)
{
    pv_block_drain(nvme->block);
    for (struct nvme_request *r = nvme->requests; r; r = r->next) {
        if (r->stale || (sq >= 0 && (r->shutdown || r->sq != sq)))
            continue;
        r->stale = true;
        if (!r->shutdown)
            nvme->cq[nvme->sq[r->sq].cq].promised--;
    }
}

/* ---- Beginnings ---- */

/* With room for so many pieces of memory. NULL: no memory. */
static struct nvme_request *request_new(struct pv_nvme *nvme, uint16_t sq, uint16_t cid,
                                        unsigned pieces)
{
    struct nvme_request *request = calloc(1, sizeof(*request) + pieces * sizeof(request->iov[0]));

    if (!request)
        return NULL;
    request->base.done = request_done;
    request->base.iov = request->iov;
    request->nvme = nvme;
    request->sq = sq;
    request->cid = cid;
    request->next = nvme->requests;
    request->link = &nvme->requests;
    if (request->next)
        request->next->link = &request->next;
    nvme->requests = request;
    return request;
}

/* The sectors that a command speaks of, as bytes. */
static unsigned check_sectors(const struct pv_nvme *nvme, const struct nvme_command *c,
                              uint64_t *offset, uint64_t *length)
{
    const uint64_t start = (uint64_t)c->dw11 << 32 | c->dw10, count = (c->dw12 & 0xffff) + 1;

    if (!pv_range_ok(start, count, nvme->sectors))
        return NVME_LBA_OUT_OF_RANGE;
    *offset = start * NVME_SECTOR;
    *length = count * NVME_SECTOR;
    return NVME_OK;
}

static bool cached(const struct pv_nvme *nvme)
{
    return nvme->features[NVME_FEATURE_CACHE];
}

static unsigned transfer(struct pv_nvme *nvme, uint16_t sq, const struct nvme_command *c)
{
    const bool write = c->opcode == WRITE;
    uint64_t offset, length;
    unsigned status = check_sectors(nvme, c, &offset, &length);

    if (status)
        return status;
    if (length > (uint64_t)NVME_MAX_PAGES * NVME_PAGE)
        return NVME_INVALID_FIELD;
    /* One more, as the first page may begin anywhere. */
    struct nvme_request *request = request_new(nvme, sq, c->cid, NVME_MAX_PAGES + 1);
    if (!request)
        return NVME_INTERNAL_ERROR;
    int count = nvme_map(nvme, c, length, !write, request->iov, NVME_MAX_PAGES + 1);
    if (count < 0) {
        request_free(request);
        return (unsigned)-count;
    }
    request->base.op = write ? PV_BLOCK_WRITE : PV_BLOCK_READ;
    request->base.offset = offset;
    request->base.length = length;
    request->base.iov_count = (unsigned)count;
    request->flush = write && (c->dw12 & FORCE_UNIT_ACCESS || !cached(nvme));
    pv_block_submit(nvme->block, &request->base);
    return NVME_OK;
}

static unsigned zero(struct pv_nvme *nvme, uint16_t sq, const struct nvme_command *c)
{
    uint64_t offset, length;
    unsigned status = check_sectors(nvme, c, &offset, &length);
    struct nvme_request *request = status ? NULL : request_new(nvme, sq, c->cid, 0);

    if (!request)
        return status ? status : NVME_INTERNAL_ERROR;
    request->base.op = PV_BLOCK_ZERO;
    request->base.unmap = c->dw12 & DEALLOCATE_ZEROES;
    request->base.offset = offset;
    request->base.length = length;
    request->flush = c->dw12 & FORCE_UNIT_ACCESS || !cached(nvme);
    pv_block_submit(nvme->block, &request->base);
    return NVME_OK;
}

static unsigned flush(struct pv_nvme *nvme, uint16_t sq, const struct nvme_command *c)
{
    struct nvme_request *request = request_new(nvme, sq, c->cid, 0);

    if (!request)
        return NVME_INTERNAL_ERROR;
    request->base.op = PV_BLOCK_FLUSH;
    pv_block_submit(nvme->block, &request->base);
    return NVME_OK;
}

/* Hints are taken note of by doing nothing; ranges are given up one after the other. */
static unsigned manage(struct pv_nvme *nvme, uint16_t sq, const struct nvme_command *c, bool *done)
{
    const unsigned count = (c->dw10 & 0xff) + 1;

    *done = true;
    if (!(c->dw11 & DEALLOCATE) || !pv_block_can_discard(nvme->block))
        return NVME_OK;
    struct nvme_range *ranges = calloc(count, sizeof(*ranges));
    unsigned status =
        ranges ? nvme_copy_in(nvme, c, ranges, count * sizeof(*ranges)) : NVME_INTERNAL_ERROR;
    for (unsigned i = 0; i < count && !status; i++)
        if (!pv_range_ok(ranges[i].start, ranges[i].sectors, nvme->sectors))
            status = NVME_LBA_OUT_OF_RANGE;
    struct nvme_request *request = status ? NULL : request_new(nvme, sq, c->cid, 0);
    if (!request) {
        free(ranges);
        return status ? status : NVME_INTERNAL_ERROR;
    }
    request->base.op = PV_BLOCK_DISCARD;
    request->ranges = ranges;
    request->range_count = count;
    if (!next_range(request)) {
        request_free(request);
        return NVME_OK;
    }
    *done = false;
    pv_block_submit(nvme->block, &request->base);
    return NVME_OK;
}

void nvme_io(struct pv_nvme *nvme, uint16_t sq, const struct nvme_command *c)
{
    const bool changes =
        c->opcode == WRITE || c->opcode == WRITE_ZEROES || c->opcode == DATASET_MANAGEMENT;
    unsigned status;
    bool done = false;

    if (c->nsid != 1 && !(c->opcode == FLUSH && c->nsid == UINT32_MAX))
        status = NVME_INVALID_NAMESPACE;
    else if (changes && pv_block_read_only(nvme->block))
        status = NVME_WRITE_PROTECTED;
    else
        switch (c->opcode) {
        case FLUSH: status = flush(nvme, sq, c); break;
        case WRITE:
        case READ: status = transfer(nvme, sq, c); break;
        case WRITE_ZEROES: status = zero(nvme, sq, c); break;
        case DATASET_MANAGEMENT: status = manage(nvme, sq, c, &done); break;
        default: status = NVME_INVALID_OPCODE; break;
        }
    if (status || done)
        nvme_complete(nvme, sq, c->cid, status, 0);
}

bool nvme_shutdown(struct pv_nvme *nvme)
{
    struct nvme_request *request = request_new(nvme, 0, 0, 0);

    if (!request)
        return false;
    request->shutdown = true;
    request->base.op = PV_BLOCK_FLUSH;
    pv_block_submit(nvme->block, &request->base);
    return true;
}
