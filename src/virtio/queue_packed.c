/* SPDX-License-Identifier: MIT */
/*
 * Packed rings (section 2.8).
 *
 * One ring of descriptors serves both directions. Each side goes round it with an index and a wrap
 * counter, a bit that changes with every round. The driver makes a descriptor available by giving
 * its AVAIL flag the value of its wrap counter and its USED flag the opposite; the device returns a
 * buffer by writing a used element over the descriptor where its own index stands, with both flags
 * equal to its wrap counter. Since a descriptor's flags are what its reader looks at, they are
 * loaded first (acquire) and stored last (release).
 *
 * A chain is a run of descriptors; one used element stands for all of it, and the index moves on by
 * as many. So the ring's entries in flight are counted: more than the ring has mean that the driver
 * overwrote what was not returned yet. A batch becomes visible with the flags of its first element.
 *
 * Both sides say in an event structure when they want to hear of the other's work: always, never,
 * or when a certain place was passed, which is again an index and a wrap bit.
 */
#include "base/util.h"
#include "virtio/device_impl.h"
#include "virtio/queue.h"

#include <errno.h>

#define DESC_F_AVAIL (1u << 7)
#define DESC_F_USED  (1u << 15)

/* An event structure (2.8.14) is read and written as one word. */
#define EVENT_INDEX   0x7fffu
#define EVENT_WRAP    (1u << 15)
#define EVENT_SHIFT   16 /* where the flags begin */
#define EVENT_FLAGS   3u
#define EVENT_ENABLE  0u
#define EVENT_DISABLE 1u
#define EVENT_AT      2u /* at the index and wrap counter; only with VIRTIO_F_EVENT_IDX */

struct pv_virtq_packed_desc {
    uint64_t address;
    uint32_t len;
    uint16_t id;
    uint16_t flags;
};
_Static_assert(sizeof(struct pv_virtq_packed_desc) == 16, "2.8.13");

static void move(struct pv_virtq_cursor *cursor, unsigned entries, unsigned size)
{
    unsigned index = cursor->index + entries;
    if (index >= size) {
        index -= size;
        cursor->wrap = !cursor->wrap;
    }
    cursor->index = (uint16_t)index;
}

static int map(struct pv_virtq *queue)
{
    unsigned size = queue->size;
    if (!size || size > queue->max_size) {
        pv_virtio_fail(queue->dev, "queue %u: size %u is not 1 to %u", queue->index, size,
                       queue->max_size);
        return -EINVAL;
    }
    queue->packed.desc = pv_virtq_map_part(queue, PV_VIRTQ_DESC, "descriptor ring",
                                           size * sizeof(struct pv_virtq_packed_desc), 16, true);
    if (!queue->packed.desc)
        return -EINVAL;
    queue->packed.driver_event = pv_virtq_map_part(queue, PV_VIRTQ_DRIVER, "driver event structure",
                                                   sizeof(uint32_t), 4, false);
    if (!queue->packed.driver_event)
        return -EINVAL;
    queue->packed.device_event = pv_virtq_map_part(queue, PV_VIRTQ_DEVICE, "device event structure",
                                                   sizeof(uint32_t), 4, true);
    if (!queue->packed.device_event)
        return -EINVAL;
    queue->packed.next_avail = (struct pv_virtq_cursor){.wrap = true};
    queue->packed.next_used = (struct pv_virtq_cursor){.wrap = true};
    return 0;
}

static bool is_available(const struct pv_virtq *queue, int order)
{
    const struct pv_virtq_cursor *next = &queue->packed.next_avail;
    const uint16_t *at = &queue->packed.desc[next->index].flags;
    uint16_t flags = order == __ATOMIC_SEQ_CST ? __atomic_load_n(at, __ATOMIC_SEQ_CST)
                                               : __atomic_load_n(at, __ATOMIC_ACQUIRE);
    return !!(flags & DESC_F_AVAIL) == next->wrap && !!(flags & DESC_F_USED) != next->wrap;
}

static bool available(const struct pv_virtq *queue)
{
    return is_available(queue, __ATOMIC_ACQUIRE);
}

static bool ask_for_more(struct pv_virtq *queue)
{
    const struct pv_virtq_cursor *next = &queue->packed.next_avail;
    uint32_t *event = queue->packed.device_event;
    bool precise = pv_virtio_has_feature(queue->dev, PV_VIRTIO_F_EVENT_IDX);
    uint32_t flags = precise ? EVENT_AT : EVENT_ENABLE;
    __atomic_store_n(event, next->index | (next->wrap ? EVENT_WRAP : 0) | flags << EVENT_SHIFT,
                     __ATOMIC_SEQ_CST);
    pv_virtq_mark_part(queue, PV_VIRTQ_DEVICE, event, event, sizeof(*event));
    return is_available(queue, __ATOMIC_SEQ_CST);
}

static struct pv_virtq_packed_desc load_desc(const struct pv_virtq_packed_desc *from)
{
    /* Volatile: the guest may be writing, and what was checked must be what is used. */
    const volatile struct pv_virtq_packed_desc *desc = from;
    return (struct pv_virtq_packed_desc){desc->address, desc->len, desc->id, desc->flags};
}

/* The buffers of an indirect table are those of a run, without flags that link them (2.8.8). */
static int gather_indirect(struct pv_virtq_walk *walk, const struct pv_virtq_packed_desc *desc)
{
    unsigned count;
    const struct pv_virtq_packed_desc *table =
        pv_virtq_indirect(walk->queue, desc->address, desc->len, &count);
    if (!table)
        return -EINVAL;
    for (unsigned i = 0; i < count; i++) {
        struct pv_virtq_packed_desc part = load_desc(&table[i]);
        if (part.flags & PV_VIRTQ_DESC_INDIRECT) {
            pv_virtio_fail(walk->queue->dev, "queue %u: an indirect table inside another",
                           walk->queue->index);
            return -EINVAL;
        }
        int ret =
            pv_virtq_add_buffer(walk, part.address, part.len, part.flags & PV_VIRTQ_DESC_WRITE);
        if (ret < 0)
            return ret;
    }
    return 0;
}

static int gather(struct pv_virtq_walk *walk)
{
    struct pv_virtq *queue = walk->queue;
    struct pv_virtq_cursor at = queue->packed.next_avail;
    unsigned room = queue->size - queue->in_flight;
    for (unsigned entries = 1; entries <= room; entries++) {
        struct pv_virtq_packed_desc desc = load_desc(&queue->packed.desc[at.index]);
        bool last = !(desc.flags & PV_VIRTQ_DESC_NEXT);
        int ret;
        if (!(desc.flags & PV_VIRTQ_DESC_INDIRECT)) {
            ret =
                pv_virtq_add_buffer(walk, desc.address, desc.len, desc.flags & PV_VIRTQ_DESC_WRITE);
        } else if (last && pv_virtio_has_feature(queue->dev, PV_VIRTIO_F_INDIRECT_DESC)) {
            ret = gather_indirect(walk, &desc);
        } else {
            pv_virtio_fail(queue->dev, "queue %u: descriptor %u must not be indirect", queue->index,
                           at.index);
            ret = -EINVAL;
        }
        if (ret < 0)
            return ret;
        if (last) {
            walk->chain->head = desc.id;
            walk->chain->entries = (uint16_t)entries;
            return 0;
        }
        move(&at, 1, queue->size);
    }
    pv_virtio_fail(queue->dev, "queue %u: more buffers available than its %u entries hold",
                   queue->index, queue->size);
    return -EINVAL;
}

static void advance(struct pv_virtq *queue, unsigned entries)
{
    move(&queue->packed.next_avail, entries, queue->size);
}

static void put(struct pv_virtq *queue, const struct pv_virtq_chain *chain, uint32_t written)
{
    struct pv_virtq_cursor at = queue->packed.next_used;
    move(&at, queue->pending, queue->size);
    struct pv_virtq_packed_desc *desc = &queue->packed.desc[at.index];
    uint16_t flags = (uint16_t)((written ? PV_VIRTQ_DESC_WRITE : 0) |
                                (at.wrap ? DESC_F_AVAIL | DESC_F_USED : 0));
    __atomic_store_n(&desc->id, chain->head, __ATOMIC_RELAXED);
    __atomic_store_n(&desc->len, written, __ATOMIC_RELAXED);
    if (queue->pending)
        __atomic_store_n(&desc->flags, flags, __ATOMIC_RELEASE);
    else
        queue->packed.first_flags = flags;
    pv_virtq_mark_part(queue, PV_VIRTQ_DESC, queue->packed.desc, desc, sizeof(*desc));
}

static void publish(struct pv_virtq *queue)
{
    struct pv_virtq_packed_desc *first = &queue->packed.desc[queue->packed.next_used.index];
    /* Also the first half of the pair that wants_interrupt() ends. */
    __atomic_store_n(&first->flags, queue->packed.first_flags, __ATOMIC_SEQ_CST);
    pv_virtq_mark_part(queue, PV_VIRTQ_DESC, queue->packed.desc, first, sizeof(*first));
    move(&queue->packed.next_used, queue->pending, queue->size);
}

/* 2.8.10: `back` is how far behind the used index the place is that the driver named. */
static bool wants_interrupt(const struct pv_virtq *queue)
{
    uint32_t event = __atomic_load_n(queue->packed.driver_event, __ATOMIC_SEQ_CST);
    unsigned flags = event >> EVENT_SHIFT & EVENT_FLAGS;
    if (flags != EVENT_AT || !pv_virtio_has_feature(queue->dev, PV_VIRTIO_F_EVENT_IDX))
        return flags != EVENT_DISABLE;
    const struct pv_virtq_cursor *next = &queue->packed.next_used;
    int back = next->index - (int)(event & EVENT_INDEX);
    if (!!(event & EVENT_WRAP) != next->wrap)
        back += queue->size;
    return back > 0 && (unsigned)back <= queue->unsignalled;
}

/* As 2.7.13.1's off and wrap have it: 15 bits of index, and the wrap counter. */
static uint16_t cursor_word(const struct pv_virtq_cursor *at)
{
    return (uint16_t)(at->index | at->wrap << 15);
}

static void get_place(const struct pv_virtq *queue, uint16_t *available, uint16_t *used)
{
    struct pv_virtq_cursor at = queue->packed.next_avail;

    if (at.index >= queue->in_flight) {
        at.index = (uint16_t)(at.index - queue->in_flight);
    } else {
        at.index = (uint16_t)(at.index + queue->size - queue->in_flight);
        at.wrap = !at.wrap;
    }
    *available = cursor_word(&at);
    *used = cursor_word(&queue->packed.next_used);
}

static int set_place(struct pv_virtq *queue, uint16_t available, uint16_t used)
{
    const uint16_t index = 0x7fff;

    if ((available & index) >= queue->size || (used & index) >= queue->size)
        return -EINVAL;
    queue->packed.next_avail =
        (struct pv_virtq_cursor){.index = available & index, .wrap = available >> 15};
    queue->packed.next_used = (struct pv_virtq_cursor){.index = used & index, .wrap = used >> 15};
    return 0;
}

const struct pv_virtq_ring_ops pv_virtq_packed = {
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
