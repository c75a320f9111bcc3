/* SPDX-License-Identifier: MIT */
/*
 * Split rings (section 2.7).
 *
 * The driver puts the heads of descriptor chains into the available ring and bumps its index; the
 * device reads the chains, and puts the heads back into the used ring. Each of the two indices is
 * written by one side only. A chain that visits more descriptors than a table has is a loop,
 * whatever its links look like now.
 */
#include "base/util.h"
#include "memory/address_space.h"
#include "virtio/device_impl.h"
#include "virtio/queue.h"

#include <errno.h>

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
    return (struct used_elem *)(void *)(queue->split.used + RING_ENTRIES) + index % queue->size;
}

static uint16_t *avail_event(struct pv_virtq *queue)
{
    return (uint16_t *)(void *)((struct used_elem *)(void *)(queue->split.used + RING_ENTRIES) +
                                queue->size);
}

static uint16_t load_avail_index(const struct pv_virtq *queue)
{
    return __atomic_load_n(&queue->split.avail[RING_INDEX], __ATOMIC_ACQUIRE);
}

static void mark_used(struct pv_virtq *queue, const void *from, size_t len)
{
    pv_virtq_mark_part(queue, PV_VIRTQ_DEVICE, queue->split.used, from, len);
}

static int map(struct pv_virtq *queue)
{
    unsigned size = queue->size;
    if (!size || size > queue->max_size || (size & (size - 1))) {
        pv_virtio_fail(queue->dev, "queue %u: size %u is not a power of two up to %u", queue->index,
                       size, queue->max_size);
        return -EINVAL;
    }
    queue->split.desc = pv_virtq_map_part(queue, PV_VIRTQ_DESC, "descriptor table",
                                          size * sizeof(struct pv_virtq_desc), 16, false);
    if (!queue->split.desc)
        return -EINVAL;
    queue->split.avail = pv_virtq_map_part(queue, PV_VIRTQ_DRIVER, "available ring",
                                           (RING_ENTRIES + size + 1) * sizeof(uint16_t), 2, false);
    if (!queue->split.avail)
        return -EINVAL;
    queue->split.used =
        pv_virtq_map_part(queue, PV_VIRTQ_DEVICE, "used ring", used_ring_bytes(size), 4, true);
    if (!queue->split.used)
        return -EINVAL;
    queue->split.next_avail = 0;
    queue->split.next_used = 0;
    return 0;
}

static bool available(const struct pv_virtq *queue)
{
    return load_avail_index(queue) != queue->split.next_avail;
}

static bool ask_for_more(struct pv_virtq *queue)
{
    if (!pv_virtio_has_feature(queue->dev, PV_VIRTIO_F_EVENT_IDX))
        return false;
    __atomic_store_n(avail_event(queue), queue->split.next_avail, __ATOMIC_SEQ_CST);
    mark_used(queue, avail_event(queue), sizeof(uint16_t));
    return __atomic_load_n(&queue->split.avail[RING_INDEX], __ATOMIC_SEQ_CST) !=
           queue->split.next_avail;
}

static struct pv_virtq_desc load_desc(const struct pv_virtq_desc *table, unsigned index)
{
    /* Volatile: the guest may be writing, and what was checked must be what is used. */
    const volatile struct pv_virtq_desc *from = &table[index];
    return (struct pv_virtq_desc){from->address, from->len, from->flags, from->next};
}

/*
 * Follows the links of one table from `index`. An indirect descriptor (2.7.5.3) is the last of its
 * chain in the ring's table; it is stored to *indirect and 1 returned.
 */
static int walk_table(struct pv_virtq_walk *walk, const struct pv_virtq_desc *table, unsigned count,
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
        if (desc.flags & PV_VIRTQ_DESC_INDIRECT) {
            if (!indirect || (desc.flags & PV_VIRTQ_DESC_NEXT) ||
                !pv_virtio_has_feature(dev, PV_VIRTIO_F_INDIRECT_DESC)) {
                pv_virtio_fail(dev, "queue %u: descriptor %u must not be indirect", queue, index);
                return -EINVAL;
            }
            *indirect = desc;
            return 1;
        }
        int ret =
            pv_virtq_add_buffer(walk, desc.address, desc.len, desc.flags & PV_VIRTQ_DESC_WRITE);
        if (ret < 0)
            return ret;
        if (!(desc.flags & PV_VIRTQ_DESC_NEXT))
            return 0;
        index = desc.next;
    }
    pv_virtio_fail(dev, "queue %u: a chain of more than %u descriptors", queue, count);
    return -EINVAL;
}

static int gather(struct pv_virtq_walk *walk)
{
    struct pv_virtq *queue = walk->queue;
    uint16_t next = queue->split.next_avail;
    if ((uint16_t)(load_avail_index(queue) - next) > queue->size) {
        pv_virtio_fail(queue->dev, "queue %u: more buffers available than its %u entries hold",
                       queue->index, queue->size);
        return -EINVAL;
    }
    walk->chain->head =
        __atomic_load_n(&queue->split.avail[RING_ENTRIES + next % queue->size], __ATOMIC_RELAXED);
    walk->chain->entries = 1;
    struct pv_virtq_desc indirect;
    int ret = walk_table(walk, queue->split.desc, queue->size, walk->chain->head, &indirect);
    if (ret != 1)
        return ret;
    unsigned count;
    const void *table = pv_virtq_indirect(queue, indirect.address, indirect.len, &count);
    return table ? walk_table(walk, table, count, 0, NULL) : -EINVAL;
}

static void advance(struct pv_virtq *queue, unsigned entries)
{
    queue->split.next_avail = (uint16_t)(queue->split.next_avail + entries);
}

static void put(struct pv_virtq *queue, const struct pv_virtq_chain *chain, uint32_t written)
{
    struct used_elem *elem = used_entry(queue, (uint16_t)(queue->split.next_used + queue->pending));
    __atomic_store_n(&elem->id, chain->head, __ATOMIC_RELAXED);
    __atomic_store_n(&elem->len, written, __ATOMIC_RELAXED);
    mark_used(queue, elem, sizeof(*elem));
}

static void publish(struct pv_virtq *queue)
{
    queue->split.next_used = (uint16_t)(queue->split.next_used + queue->pending);
    /* Also the first half of the pair that wants_interrupt() ends. */
    __atomic_store_n(&queue->split.used[RING_INDEX], queue->split.next_used, __ATOMIC_SEQ_CST);
    mark_used(queue, queue->split.used, 2 * sizeof(uint16_t));
}

/* 2.7.7.2: by flag, or because the entry that the driver named is among the new ones. */
static bool wants_interrupt(const struct pv_virtq *queue)
{
    const uint16_t *avail = queue->split.avail;
    if (!pv_virtio_has_feature(queue->dev, PV_VIRTIO_F_EVENT_IDX))
        return !(__atomic_load_n(&avail[RING_FLAGS], __ATOMIC_SEQ_CST) & AVAIL_F_NO_INTERRUPT);
    uint16_t event = __atomic_load_n(&avail[RING_ENTRIES + queue->size], __ATOMIC_SEQ_CST);
    return (uint16_t)(queue->split.next_used - event - 1) < queue->unsignalled;
}

static void get_place(const struct pv_virtq *queue, uint16_t *available, uint16_t *used)
{
    *available = (uint16_t)(queue->split.next_avail - queue->in_flight);
    *used = queue->split.next_used;
}

static int set_place(struct pv_virtq *queue, uint16_t available, uint16_t used)
{
    queue->split.next_avail = available;
    queue->split.next_used = used;
    return 0;
}

const struct pv_virtq_ring_ops pv_virtq_split = {
    .get_place = get_place,
    .set_place = set_place,
    .map = map,
    .available = available,
    .wait = ask_for_more,
    .gather = gather,
    .advance = advance,
    .put = put,
    .publish = publish,
    .wants_interrupt = wants_interrupt,
};
