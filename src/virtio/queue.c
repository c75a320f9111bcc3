/* SPDX-License-Identifier: MIT */
/*
 * Virtqueues, whatever the format of their rings (queue_split.c, queue_packed.c).
 *
 * Rings and descriptors are guest RAM that another thread writes while we read, so each field is
 * loaded once into a local, checked there, and used from there. What follows from that:
 *
 *  - A chain is bounded by counting: one that visits more descriptors than a ring may have is a
 *    loop, whatever its links look like now.
 *  - Entries in flight are bounded by the ring's size. A driver that offers a buffer again before
 *    it came back would otherwise make us hold any number of chains.
 *  - Ordering is by acquire loads of what the driver makes available and release stores of what is
 *    returned. In two places each side writes its own word and then reads the other's (event
 *    against ring); there both accesses are sequentially consistent, or both sides could miss the
 *    other's write. The driver has a full barrier between its two.
 *
 * The host pointers in a chain come from pv_as_ram(), and so stay good. Device writes are logged
 * dirty when a chain is taken, and again when it is returned, since the log may have been read and
 * cleared in between; for that a chain carries the guest addresses of its writable part behind its
 * iovecs.
 */
#include "virtio/queue.h"

#include "base/checked.h"
#include "base/record.h"
#include "base/util.h"
#include "memory/address_space.h"
#include "virtio/device_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rings are little-endian");

#define INDIRECT_ENTRY 16u /* bytes, in both formats */

void pv_virtq_reset(struct pv_virtq *queue)
{
    struct pv_virtq fresh = {
        .dev = queue->dev,
        .index = queue->index,
        .max_size = queue->max_size,
        .size = (uint16_t)queue->max_size,
        .epoch = queue->epoch + 1,
    };
    *queue = fresh;
}

void *pv_virtq_map_part(struct pv_virtq *queue, enum pv_virtq_part part, const char *what,
                        size_t len, unsigned align, bool write)
{
    uint64_t address = queue->address[part];
    void *host = address % align ? NULL : pv_as_ram(queue->dev->as, address, len, write);
    if (!host)
        pv_virtio_fail(queue->dev,
                       "queue %u: %s at %#" PRIx64 " (%zu bytes) is not %u-byte aligned guest RAM",
                       queue->index, what, address, len, align);
    return host;
}

void pv_virtq_mark_part(struct pv_virtq *queue, enum pv_virtq_part part, const void *base,
                        const void *from, size_t len)
{
    struct pv_address_space *as = queue->dev->as;
    if (PV_UNLIKELY(pv_as_dirty_logging(as)))
        pv_as_mark_dirty(
            as, queue->address[part] + (uint64_t)((const char *)from - (const char *)base), len);
}

void pv_virtq_enable(struct pv_virtq *queue)
{
    queue->ring = pv_virtio_has_feature(queue->dev, PV_VIRTIO_F_RING_PACKED) ? &pv_virtq_packed
                                                                             : &pv_virtq_split;
    if (queue->ring->map(queue) < 0)
        return;
    queue->in_flight = 0;
    queue->unsignalled = 0;
    queue->epoch++;
    queue->enabled = true;
}

bool pv_virtq_running(const struct pv_virtq *queue)
{
    const uint8_t need = PV_VIRTIO_STATUS_DRIVER_OK;
    const uint8_t bad = PV_VIRTIO_STATUS_NEEDS_RESET;
    return queue->enabled && !queue->dev->no_dma && (queue->dev->status & (need | bad)) == need;
}

bool pv_virtq_has_work(struct pv_virtq *queue)
{
    return pv_virtq_running(queue) && queue->ring->available(queue);
}

/* ---- Snapshots ---- */

/*
 * Where the device is in the ring. Chains that it holds are the last that it took (see
 * pv_virtio_device_ops.record), so going back by as many is the same as not having taken them.
 */
static void record_place(struct pv_virtq *queue, struct pv_record *record)
{
    uint16_t available = 0, used = 0;

    if (!pv_record_loading(record))
        queue->ring->get_place(queue, &available, &used);
    pv_record_u16(record, &available);
    pv_record_u16(record, &used);
    if (pv_record_loading(record) && pv_record_ok(record) &&
        queue->ring->set_place(queue, available, used) < 0)
        pv_record_fail(record, EINVAL, "queue %u: places %#x and %#x are not in its ring",
                       queue->index, available, used);
}

void pv_virtq_record(struct pv_virtq *queue, struct pv_record *record)
{
    bool enabled = queue->enabled;

    pv_record_bool(record, &enabled);
    pv_record_u16(record, &queue->size);
    for (unsigned i = 0; i < PV_ARRAY_SIZE(queue->address); i++)
        pv_record_u64(record, &queue->address[i]);
    if (enabled && pv_record_loading(record) && pv_record_ok(record)) {
        pv_virtq_enable(queue);
        if (!queue->enabled)
            pv_record_fail(record, EINVAL, "queue %u: its ring cannot be where it says",
                           queue->index);
    }
    if (enabled && pv_record_ok(record))
        record_place(queue, record);
}

/* ---- Reading a chain ---- */

int pv_virtq_add_buffer(struct pv_virtq_walk *walk, uint64_t address, uint32_t len, bool write)
{
    struct pv_virtio_device *dev = walk->queue->dev;
    struct pv_virtq_scratch *scratch = dev->scratch;
    struct pv_virtq_chain *chain = walk->chain;
    uint64_t at = address;
    size_t left = len;

    if (!write && chain->in_count) {
        pv_virtio_fail(dev, "queue %u: a device-readable buffer after a writable one",
                       walk->queue->index);
        return -EINVAL;
    }
    while (left) {
        size_t part = left;
        void *host = pv_as_ram(dev->as, at, part, write);
        struct pv_region_info region;
        if (!host && pv_as_find(dev->as, at, &region)) {
            part = (size_t)PV_MIN((uint64_t)left, region.address + region.size - at);
            host = pv_as_ram(dev->as, at, part, write);
        }
        if (!host) {
            pv_virtio_fail(dev, "queue %u: buffer at %#" PRIx64 " (%u bytes) is not in guest RAM",
                           walk->queue->index, address, len);
            return -EINVAL;
        }
        if (walk->iov_count == PV_VIRTQ_MAX_SIZE) {
            pv_virtio_fail(dev, "queue %u: a chain of more than %u buffers", walk->queue->index,
                           PV_VIRTQ_MAX_SIZE);
            return -EINVAL;
        }
        scratch->iov[walk->iov_count] = (struct iovec){.iov_base = host, .iov_len = part};
        scratch->address[walk->iov_count] = at;
        walk->iov_count++;
        *(write ? &chain->in_count : &chain->out_count) += 1;
        *(write ? &chain->in_bytes : &chain->out_bytes) += part;
        at += part;
        left -= part;
    }
    return 0;
}

const void *pv_virtq_indirect(struct pv_virtq *queue, uint64_t address, uint32_t len,
                              unsigned *count)
{
    const void *table = NULL;
    *count = len / INDIRECT_ENTRY;
    if (*count && *count <= PV_VIRTQ_MAX_SIZE && len % INDIRECT_ENTRY == 0 && address % 8 == 0)
        table = pv_as_ram(queue->dev->as, address, len, false);
    if (!table)
        pv_virtio_fail(queue->dev, "queue %u: bad indirect table at %#" PRIx64 " (%u bytes)",
                       queue->index, address, len);
    return table;
}

static uint64_t *chain_addresses(const struct pv_virtq_chain *chain)
{
    return (uint64_t *)(void *)(chain->iov + chain->out_count + chain->in_count);
}

uint64_t pv_virtq_chain_address(const struct pv_virtq_chain *chain, unsigned i)
{
    return chain_addresses(chain)[i];
}

/* Moves the gathered iovecs from the scratch space into the chain's own memory. */
static int keep(struct pv_virtq_walk *walk)
{
    const struct pv_virtq_scratch *scratch = walk->queue->dev->scratch;
    struct pv_virtq_chain *chain = walk->chain;
    size_t count = walk->iov_count;
    chain->iov = malloc((count + !count) * (sizeof(struct iovec) + sizeof(uint64_t)));
    if (!chain->iov) {
        pv_virtio_fail(walk->queue->dev, "queue %u: out of memory", walk->queue->index);
        return -ENOMEM;
    }
    memcpy(chain->iov, scratch->iov, count * sizeof(struct iovec));
    memcpy(chain_addresses(chain), scratch->address, count * sizeof(uint64_t));
    return 0;
}

int pv_virtq_pop(struct pv_virtq *queue, struct pv_virtq_chain *chain)
{
    *chain = (struct pv_virtq_chain){0};
    if (!pv_virtq_running(queue) || queue->dev->quiet)
        return 0;
    const struct pv_virtq_ring_ops *ring = queue->ring;
    if (!ring->available(queue) && !ring->wait(queue))
        return 0;

    struct pv_virtq_walk walk = {.queue = queue, .chain = chain};
    int ret = -EINVAL;
    if (queue->in_flight >= queue->size)
        pv_virtio_fail(queue->dev, "queue %u: more buffers available than its %u entries hold",
                       queue->index, queue->size);
    else
        ret = ring->gather(&walk);
    if (!ret)
        ret = keep(&walk);
    if (ret < 0) {
        *chain = (struct pv_virtq_chain){0};
        return ret;
    }
    chain->epoch = queue->epoch;
    ring->advance(queue, chain->entries);
    queue->in_flight += chain->entries;
    return 1;
}

/* ---- Returning a chain ---- */

static void mark_written(struct pv_virtq *queue, const struct pv_virtq_chain *chain, size_t written)
{
    struct pv_address_space *as = queue->dev->as;
    if (PV_LIKELY(!pv_as_dirty_logging(as)))
        return;
    const uint64_t *address = chain_addresses(chain);
    for (unsigned i = chain->out_count; i < chain->out_count + chain->in_count && written; i++) {
        size_t part = PV_MIN(written, chain->iov[i].iov_len);
        pv_as_mark_dirty(as, address[i], part);
        written -= part;
    }
}

void pv_virtq_push_batch(struct pv_virtq *queue, struct pv_virtq_chain *chains,
                         const size_t *written, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        struct pv_virtq_chain *chain = &chains[i];
        if (pv_virtq_running(queue) && chain->iov && chain->epoch == queue->epoch) {
            mark_written(queue, chain, written[i]);
            queue->ring->put(queue, chain, (uint32_t)PV_MIN(written[i], chain->in_bytes));
            queue->pending += chain->entries;
        }
        pv_virtq_chain_finish(chain);
    }
    if (!queue->pending)
        return;
    queue->ring->publish(queue);
    queue->in_flight -= queue->pending;
    queue->unsignalled += queue->pending;
    queue->pending = 0;
}

void pv_virtq_push(struct pv_virtq *queue, struct pv_virtq_chain *chain, size_t written)
{
    pv_virtq_push_batch(queue, chain, &written, 1);
}

void pv_virtq_reschedule(struct pv_virtq *queue)
{
    pv_virtio_queue_notify(queue->dev, queue->index);
}

void pv_virtq_chain_finish(struct pv_virtq_chain *chain)
{
    free(chain->iov);
    *chain = (struct pv_virtq_chain){0};
}

void pv_virtq_notify(struct pv_virtq *queue)
{
    struct pv_virtio_device *dev = queue->dev;
    if (!pv_virtq_running(queue) || !queue->unsignalled)
        return;
    bool wanted = queue->ring->wants_interrupt(queue);
    queue->unsignalled = 0;
    if (wanted && dev->transport)
        dev->transport->queue_interrupt(dev->transport_opaque, queue->index);
}

/* ---- Copying ---- */

/* Copies to or from `count` iovecs; returns how many bytes there were. */
static size_t copy(const struct iovec *iov, unsigned count, size_t offset, void *to,
                   const void *from, size_t len)
{
    size_t done = 0;
    for (unsigned i = 0; i < count && done < len; i++) {
        if (offset >= iov[i].iov_len) {
            offset -= iov[i].iov_len;
            continue;
        }
        char *at = (char *)iov[i].iov_base + offset;
        size_t part = PV_MIN(len - done, iov[i].iov_len - offset);
        if (to)
            memcpy((char *)to + done, at, part);
        else
            memcpy(at, (const char *)from + done, part);
        done += part;
        offset = 0;
    }
    return done;
}

size_t pv_virtq_read(const struct pv_virtq_chain *chain, size_t offset, void *buf, size_t len)
{
    return copy(chain->iov, chain->out_count, offset, buf, NULL, len);
}

size_t pv_virtq_write(const struct pv_virtq_chain *chain, size_t offset, const void *buf,
                      size_t len)
{
    return copy(chain->iov + chain->out_count, chain->in_count, offset, NULL, buf, len);
}

unsigned pv_virtq_slice(struct iovec *to, unsigned max, const struct iovec *from, unsigned count,
                        size_t offset, size_t len)
{
    unsigned n = 0;
    for (unsigned i = 0; i < count && n < max && len; i++) {
        if (offset >= from[i].iov_len) {
            offset -= from[i].iov_len;
            continue;
        }
        size_t part = PV_MIN(len, from[i].iov_len - offset);
        to[n++] = (struct iovec){.iov_base = (char *)from[i].iov_base + offset, .iov_len = part};
        offset = 0;
        len -= part;
    }
    return n;
}
