/* SPDX-License-Identifier: MIT */
/*
 * Split virtqueues (section 2.7).
 *
 * The driver puts the heads of descriptor chains into the available ring and bumps its index; the
 * device reads the chains, and puts the heads back into the used ring. Both rings and the
 * descriptors are guest RAM that another thread writes while we read, so each field is loaded once
 * into a local, checked there, and used from there. What follows from that:
 *
 *  - A chain is bounded by counting: one that visits more descriptors than a ring may have is a
 *    loop, whatever its links look like now.
 *  - Chains in flight are bounded by the ring's size. A driver that offers a head again before it
 *    came back would otherwise make us hold any number of chains.
 *  - Ordering is by acquire loads of the available index and release stores of the used index. In
 *    two places each side writes its own word and then reads the other's (event index against ring
 *    index); there both accesses are sequentially consistent, or both sides could miss the other's
 *    write. The driver has a full barrier between its two.
 *
 * The host pointers in a chain come from pv_as_host() and stay good while the RAM does. Device
 * writes are logged dirty when a chain is taken, and again when it is returned, since the log may
 * have been read and cleared in between; for that a chain carries the guest addresses of its
 * writable part behind its iovecs.
 */
#include "virtio/queue.h"

#include "base/checked.h"
#include "base/util.h"
#include "memory/address_space.h"
#include "virtio/device_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "rings are little-endian");

#define DESC_F_NEXT     1u
#define DESC_F_WRITE    2u
#define DESC_F_INDIRECT 4u

#define AVAIL_F_NO_INTERRUPT 1u

struct pv_virtq_desc {
    uint64_t address;
    uint32_t len;
    uint16_t flags;
    uint16_t next;
};
_Static_assert(sizeof(struct pv_virtq_desc) == 16, "2.7.5");

struct used_elem {
    uint32_t id;
    uint32_t len;
};

/* Positions in the rings, in 16-bit words. */
enum { RING_FLAGS, RING_INDEX, RING_ENTRIES };

static size_t used_ring_bytes(unsigned size)
{
    return 2 * sizeof(uint16_t) + size * sizeof(struct used_elem) + sizeof(uint16_t);
}

static struct used_elem *used_entry(struct pv_virtq *queue, uint16_t index)
{
    return (struct used_elem *)(void *)(queue->used + RING_ENTRIES) + index % queue->size;
}

static uint16_t *avail_event(struct pv_virtq *queue)
{
    return (uint16_t *)(void *)((struct used_elem *)(void *)(queue->used + RING_ENTRIES) +
                                queue->size);
}

static uint16_t load_avail_index(const struct pv_virtq *queue)
{
    return __atomic_load_n(&queue->avail[RING_INDEX], __ATOMIC_ACQUIRE);
}

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

/* One part of the ring; NULL after failing the device. */
static void *map_part(struct pv_virtq *queue, enum pv_virtq_part part, const char *what, size_t len,
                      unsigned align, bool write)
{
    uint64_t address = queue->address[part];
    void *host = address % align ? NULL : pv_as_host(queue->dev->as, address, len, write);
    if (!host)
        pv_virtio_fail(queue->dev,
                       "queue %u: %s at %#" PRIx64 " (%zu bytes) is not %u-byte aligned guest RAM",
                       queue->index, what, address, len, align);
    return host;
}

void pv_virtq_enable(struct pv_virtq *queue)
{
    unsigned size = queue->size;
    if (!size || size > queue->max_size || (size & (size - 1))) {
        pv_virtio_fail(queue->dev, "queue %u: size %u is not a power of two up to %u", queue->index,
                       size, queue->max_size);
        return;
    }
    queue->desc = map_part(queue, PV_VIRTQ_DESC, "descriptor table",
                           size * sizeof(struct pv_virtq_desc), 16, false);
    if (!queue->desc)
        return;
    queue->avail = map_part(queue, PV_VIRTQ_DRIVER, "available ring",
                            (RING_ENTRIES + size + 1) * sizeof(uint16_t), 2, false);
    if (!queue->avail)
        return;
    queue->used = map_part(queue, PV_VIRTQ_DEVICE, "used ring", used_ring_bytes(size), 4, true);
    if (!queue->used)
        return;
    queue->next_avail = 0;
    queue->next_used = 0;
    queue->signalled = 0;
    queue->in_flight = 0;
    queue->epoch++;
    queue->enabled = true;
}

bool pv_virtq_running(const struct pv_virtq *queue)
{
    const uint8_t need = PV_VIRTIO_STATUS_DRIVER_OK;
    const uint8_t bad = PV_VIRTIO_STATUS_NEEDS_RESET;
    return queue->enabled && (queue->dev->status & (need | bad)) == need;
}

/* Words 0 and 1, an entry or the event word of the used ring were written. */
static void mark_used(struct pv_virtq *queue, const void *from, size_t len)
{
    struct pv_address_space *as = queue->dev->as;
    if (PV_UNLIKELY(pv_as_dirty_logging(as)))
        pv_as_mark_dirty(as,
                         queue->address[PV_VIRTQ_DEVICE] +
                             (uint64_t)((const char *)from - (char *)queue->used),
                         len);
}

bool pv_virtq_has_work(struct pv_virtq *queue)
{
    return pv_virtq_running(queue) && load_avail_index(queue) != queue->next_avail;
}

/*
 * Whether a chain is available. When there is none, asks the driver to notify for the next one,
 * and looks once more, because one may have come before the driver saw that.
 */
static bool available(struct pv_virtq *queue)
{
    if (load_avail_index(queue) != queue->next_avail)
        return true;
    if (!pv_virtio_has_feature(queue->dev, PV_VIRTIO_F_EVENT_IDX))
        return false;
    __atomic_store_n(avail_event(queue), queue->next_avail, __ATOMIC_SEQ_CST);
    mark_used(queue, avail_event(queue), sizeof(uint16_t));
    return __atomic_load_n(&queue->avail[RING_INDEX], __ATOMIC_SEQ_CST) != queue->next_avail;
}

/* ---- Reading a chain ---- */

struct walk {
    struct pv_virtq *queue;
    struct pv_virtq_chain *chain;
    unsigned iov_count;
};

/* Adds one descriptor's buffer, split where it crosses RAM regions. 0, or -EINVAL after failing. */
static int add_buffer(struct walk *walk, const struct pv_virtq_desc *desc)
{
    struct pv_virtio_device *dev = walk->queue->dev;
    struct pv_virtq_scratch *scratch = dev->scratch;
    struct pv_virtq_chain *chain = walk->chain;
    bool write = desc->flags & DESC_F_WRITE;
    uint64_t address = desc->address;
    size_t left = desc->len;

    if (!write && chain->in_count) {
        pv_virtio_fail(dev, "queue %u: a device-readable buffer after a writable one",
                       walk->queue->index);
        return -EINVAL;
    }
    while (left) {
        size_t part = left;
        void *host = pv_as_host(dev->as, address, part, write);
        struct pv_region_info region;
        if (!host && pv_as_find(dev->as, address, &region)) {
            part = (size_t)PV_MIN((uint64_t)left, region.address + region.size - address);
            host = pv_as_host(dev->as, address, part, write);
        }
        if (!host) {
            pv_virtio_fail(dev, "queue %u: buffer at %#" PRIx64 " (%u bytes) is not in guest RAM",
                           walk->queue->index, desc->address, desc->len);
            return -EINVAL;
        }
        if (walk->iov_count == PV_VIRTQ_MAX_SIZE) {
            pv_virtio_fail(dev, "queue %u: a chain of more than %u buffers", walk->queue->index,
                           PV_VIRTQ_MAX_SIZE);
            return -EINVAL;
        }
        scratch->iov[walk->iov_count] = (struct iovec){.iov_base = host, .iov_len = part};
        scratch->address[walk->iov_count] = address;
        walk->iov_count++;
        *(write ? &chain->in_count : &chain->out_count) += 1;
        *(write ? &chain->in_bytes : &chain->out_bytes) += part;
        address += part;
        left -= part;
    }
    return 0;
}

static struct pv_virtq_desc load_desc(const struct pv_virtq_desc *table, unsigned index)
{
    /* Volatile: the guest may be writing, and what was checked must be what is used. */
    const volatile struct pv_virtq_desc *from = &table[index];
    return (struct pv_virtq_desc){from->address, from->len, from->flags, from->next};
}

/*
 * Follows the links of one table from `index`. An indirect descriptor (2.7.5.3) is the last of its
 * chain in the ring's table; it is stored to *indirect.
 */
static int walk_table(struct walk *walk, const struct pv_virtq_desc *table, unsigned count,
                      unsigned index, struct pv_virtq_desc *indirect)
{
    struct pv_virtio_device *dev = walk->queue->dev;
    unsigned queue = walk->queue->index;
    for (unsigned visited = 0; visited < count; visited++) {
        if (index >= count) {
            pv_virtio_fail(dev, "queue %u: descriptor %u of %u", queue, index, count);
            return -EINVAL;
        }
        struct pv_virtq_desc desc = load_desc(table, index);
        if (desc.flags & DESC_F_INDIRECT) {
            if (!indirect || (desc.flags & DESC_F_NEXT) ||
                !pv_virtio_has_feature(dev, PV_VIRTIO_F_INDIRECT_DESC)) {
                pv_virtio_fail(dev, "queue %u: descriptor %u must not be indirect", queue, index);
                return -EINVAL;
            }
            *indirect = desc;
            return 1;
        }
        int ret = add_buffer(walk, &desc);
        if (ret < 0)
            return ret;
        if (!(desc.flags & DESC_F_NEXT))
            return 0;
        index = desc.next;
    }
    pv_virtio_fail(dev, "queue %u: a chain of more than %u descriptors", queue, count);
    return -EINVAL;
}

static int walk_indirect(struct walk *walk, const struct pv_virtq_desc *desc)
{
    struct pv_virtio_device *dev = walk->queue->dev;
    unsigned count = desc->len / sizeof(struct pv_virtq_desc);
    const void *table = NULL;
    if (count && count <= PV_VIRTQ_MAX_SIZE && desc->len % sizeof(struct pv_virtq_desc) == 0 &&
        desc->address % 8 == 0)
        table = pv_as_host(dev->as, desc->address, desc->len, false);
    if (!table) {
        pv_virtio_fail(dev, "queue %u: bad indirect table at %#" PRIx64 " (%u bytes)",
                       walk->queue->index, desc->address, desc->len);
        return -EINVAL;
    }
    return walk_table(walk, table, count, 0, NULL);
}

static uint64_t *chain_addresses(const struct pv_virtq_chain *chain)
{
    return (uint64_t *)(void *)(chain->iov + chain->out_count + chain->in_count);
}

/* Moves the gathered iovecs from the scratch space into the chain's own memory. */
static int keep(struct walk *walk)
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
    struct pv_virtio_device *dev = queue->dev;
    *chain = (struct pv_virtq_chain){0};
    if (!pv_virtq_running(queue) || !available(queue))
        return 0;

    uint16_t waiting = (uint16_t)(load_avail_index(queue) - queue->next_avail);
    if (waiting > queue->size || queue->in_flight >= queue->size) {
        pv_virtio_fail(dev, "queue %u: more buffers available than its %u entries hold",
                       queue->index, queue->size);
        return -EINVAL;
    }
    uint16_t head = __atomic_load_n(&queue->avail[RING_ENTRIES + queue->next_avail % queue->size],
                                    __ATOMIC_RELAXED);
    struct walk walk = {.queue = queue, .chain = chain};
    struct pv_virtq_desc indirect;
    int ret = walk_table(&walk, queue->desc, queue->size, head, &indirect);
    if (ret == 1)
        ret = walk_indirect(&walk, &indirect);
    if (!ret)
        ret = keep(&walk);
    if (ret < 0) {
        *chain = (struct pv_virtq_chain){0};
        return ret;
    }
    chain->head = head;
    chain->epoch = queue->epoch;
    queue->next_avail++;
    queue->in_flight++;
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
    unsigned pushed = 0;
    for (unsigned i = 0; i < count; i++) {
        struct pv_virtq_chain *chain = &chains[i];
        if (pv_virtq_running(queue) && chain->iov && chain->epoch == queue->epoch) {
            mark_written(queue, chain, written[i]);
            struct used_elem *elem = used_entry(queue, (uint16_t)(queue->next_used + pushed));
            uint32_t len = (uint32_t)PV_MIN(written[i], chain->in_bytes);
            __atomic_store_n(&elem->id, chain->head, __ATOMIC_RELAXED);
            __atomic_store_n(&elem->len, len, __ATOMIC_RELAXED);
            mark_used(queue, elem, sizeof(*elem));
            pushed++;
        }
        pv_virtq_chain_finish(chain);
    }
    if (!pushed)
        return;
    queue->next_used = (uint16_t)(queue->next_used + pushed);
    queue->in_flight -= pushed;
    /* Also the first half of the pair that wants_interrupt() ends. */
    __atomic_store_n(&queue->used[RING_INDEX], queue->next_used, __ATOMIC_SEQ_CST);
    mark_used(queue, queue->used, 2 * sizeof(uint16_t));
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

/* Whether the driver asked for an interrupt for what was pushed since the last one, 2.7.7.2. */
static bool wants_interrupt(struct pv_virtq *queue)
{
    uint16_t old = queue->signalled;
    if (queue->next_used == old)
        return false;
    queue->signalled = queue->next_used;
    if (!pv_virtio_has_feature(queue->dev, PV_VIRTIO_F_EVENT_IDX))
        return !(__atomic_load_n(&queue->avail[RING_FLAGS], __ATOMIC_SEQ_CST) &
                 AVAIL_F_NO_INTERRUPT);
    uint16_t event = __atomic_load_n(&queue->avail[RING_ENTRIES + queue->size], __ATOMIC_SEQ_CST);
    return (uint16_t)(queue->next_used - event - 1) < (uint16_t)(queue->next_used - old);
}

void pv_virtq_notify(struct pv_virtq *queue)
{
    struct pv_virtio_device *dev = queue->dev;
    if (pv_virtq_running(queue) && wants_interrupt(queue) && dev->transport)
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
