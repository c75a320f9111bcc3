/* SPDX-License-Identifier: MIT */
/*
 * Rings: command queues in memory that a guest and we share, with a thread of ours on each.
 *
 * head (ours) and tail (the guest's) run freely over a power-of-two buffer. The thread executes
 * what lies between, and moves head past each command after its reply was written: the guest takes
 * a moved head to mean that the reply is there. When nothing has come for the ring's idle timeout,
 * the thread sets IDLE in the status word, looks once more (both sequentially consistent, against
 * the guest's store of tail and load of status), and sleeps until the guest notifies it.
 *
 * Nothing in the ring is believed. A tail that is further ahead than the buffer is large, is not a
 * multiple of four, or ends inside a command loses the context; the guest finds FATAL in the
 * status. A command that wraps around the buffer's end is copied to be whole; all others are
 * decoded where they lie, each byte read once.
 */
#include <errno.h>
#include <string.h>
#include <time.h>

#include "base/checked.h"
#include "base/util.h"
#include "gpu/venus/context.h"
#include "host/clock.h"
#include "host/thread.h"

/* The status word's bits (venus-protocol section c). */
#define STATUS_IDLE  1u
#define STATUS_FATAL 2u
#define STATUS_ALIVE 4u

#define RING_BUFFER_MAX (16 * PV_MIB)
/* The longest that an idle ring may keep a host CPU busy, whatever the guest asks for. */
#define SPIN_MAX_NS (2 * UINT64_C(1000000))
#define NAP_NS      10000

struct pv_vn_ring {
    uint64_t id;
    struct pv_vn_context *ctx;
    struct pv_gpu_memory *pages;
    _Atomic uint32_t *head, *tail, *status;
    uint8_t *buffer, *extra;
    uint32_t buffer_size;
    uint64_t extra_size;
    uint64_t idle_ns;
    bool monitored; /* the guest wants to see ALIVE */
    int32_t priority;
    pthread_t thread;
    pthread_cond_t wake;      /* of the sleeping thread, with ctx->lock */
    bool stopping;            /* under ctx->lock */
    bool notified;            /* under ctx->lock */
    uint32_t waiters;         /* under ctx->lock: how many wait for head to move */
    atomic_bool has_waiter;   /* the same, to be seen without the lock */
    uint64_t virtqueue_seqno; /* under ctx->lock */
    struct pv_vn_stream stream;
    uint8_t *wrapped; /* buffer_size bytes for commands that wrap */
    struct pv_vn_ring *next;
};

static void publish_head(struct pv_vn_ring *ring, uint32_t head)
{
    atomic_store_explicit(ring->head, head, memory_order_seq_cst);
    if (atomic_load_explicit(&ring->has_waiter, memory_order_seq_cst)) {
        pthread_mutex_lock(&ring->ctx->lock);
        pthread_cond_broadcast(&ring->ctx->changed);
        pthread_mutex_unlock(&ring->ctx->lock);
    }
}

/*
 * Executes the commands that begin in the last `straight` bytes before the buffer's end, from a
 * copy in which they are whole. Returns the bytes used, 0 when the context was lost.
 */
static uint32_t consume_wrapped(struct pv_vn_ring *ring, uint32_t head, uint32_t straight,
                                uint32_t left)
{
    uint32_t size = PV_MIN(left, straight + ring->buffer_size / 8);
    uint32_t used = 0;
    memcpy(ring->wrapped, ring->buffer + (head & (ring->buffer_size - 1)), straight);
    memcpy(ring->wrapped + straight, ring->buffer, size - straight);
    while (used < straight) {
        size_t one = pv_vn_stream_some(&ring->stream, ring->wrapped + used, size - used);
        if (!one)
            return 0;
        used += one;
        publish_head(ring, head + used);
    }
    return used;
}

/* Executes what lies between head and tail. False when the context was lost. */
static bool consume(struct pv_vn_ring *ring, uint32_t head, uint32_t tail)
{
    uint32_t size = tail - head;
    if (size > ring->buffer_size || size % 4) {
        pv_vn_context_lose(ring->ctx, "ring %llu: tail %u, head %u, %u bytes",
                           (unsigned long long)ring->id, tail, head, ring->buffer_size);
        return false;
    }
    while (head != tail) {
        uint32_t at = head & (ring->buffer_size - 1);
        uint32_t left = tail - head;
        uint32_t straight = PV_MIN(left, ring->buffer_size - at);
        uint32_t used;
        /* Commands are at most a sixteenth of the buffer: only those in the last stretch can wrap.
         */
        if (straight == left || straight >= ring->buffer_size / 8) {
            used = pv_vn_stream_some(&ring->stream, ring->buffer + at, straight);
            if (used)
                publish_head(ring, head + used);
        } else {
            used = consume_wrapped(ring, head, straight, left);
        }
        if (!used)
            return false;
        head += used;
    }
    return true;
}

static void sleep_until_notified(struct pv_vn_ring *ring, uint32_t head)
{
    struct pv_vn_context *ctx = ring->ctx;
    atomic_fetch_or(ring->status, STATUS_IDLE);
    if (atomic_load(ring->tail) == head) {
        pthread_mutex_lock(&ctx->lock);
        while (!ring->notified && !ring->stopping && !pv_vn_context_gone(ctx))
            pthread_cond_wait(&ring->wake, &ctx->lock);
        pthread_mutex_unlock(&ctx->lock);
    }
    pthread_mutex_lock(&ctx->lock);
    ring->notified = false;
    pthread_mutex_unlock(&ctx->lock);
    atomic_fetch_and(ring->status, ~STATUS_IDLE);
}

static bool stopping(struct pv_vn_ring *ring)
{
    return __atomic_load_n(&ring->stopping, __ATOMIC_RELAXED) || pv_vn_context_gone(ring->ctx);
}

/*
 * How an idle ring waits for the guest's next command, by how long it has been idle: at first it
 * looks all the time, for a guest that waits for a reply sends its next command as soon as it has
 * it; then it naps; then it sleeps until it is notified, which costs the guest a system call and
 * both a wake-up.
 */
static void idle(struct pv_vn_ring *ring, uint32_t head, uint64_t idle_ns)
{
    if (idle_ns > ring->idle_ns)
        sleep_until_notified(ring, head);
    else if (idle_ns > ring->idle_ns / 16)
        nanosleep(&(struct timespec){.tv_nsec = NAP_NS}, NULL);
    else
        sched_yield();
}

static void *ring_main(void *opaque)
{
    struct pv_vn_ring *ring = opaque;
    uint32_t head = 0;
    uint64_t busy_at = pv_clock_ns();
    pv_thread_name("gpu-ring");
    pv_thread_nice(ring->priority);
    pv_thread_precise();
    while (!stopping(ring)) {
        uint32_t tail = atomic_load_explicit(ring->tail, memory_order_acquire);
        if (tail != head) {
            if (!consume(ring, head, tail))
                break;
            head = tail;
            busy_at = pv_clock_ns();
            continue;
        }
        uint64_t idle_ns = pv_clock_ns() - busy_at;
        idle(ring, head, idle_ns);
        if (idle_ns > ring->idle_ns)
            busy_at = pv_clock_ns();
    }
    return NULL;
}

/* ---- Setting up ---- */

static bool word_ok(const VkRingCreateInfoMESA *info, uint64_t offset)
{
    return offset % 4 == 0 && pv_range_ok(offset, 4, info->size);
}

static bool overlap(uint64_t a, uint64_t a_size, uint64_t b, uint64_t b_size)
{
    return a < b + b_size && b < a + a_size;
}

static bool layout_ok(const VkRingCreateInfoMESA *info, uint64_t room)
{
    const uint64_t parts[][2] = {
        {info->headOffset, 4},
        {info->tailOffset, 4},
        {info->statusOffset, 4},
        {info->bufferOffset, info->bufferSize},
        {info->extraOffset, info->extraSize},
    };
    if (!pv_range_ok(info->offset, info->size, room) || info->offset % 4 ||
        !word_ok(info, info->headOffset) || !word_ok(info, info->tailOffset) ||
        !word_ok(info, info->statusOffset) || info->bufferOffset % 4 || info->extraOffset % 4 ||
        info->bufferSize < 64 || info->bufferSize > RING_BUFFER_MAX ||
        (info->bufferSize & (info->bufferSize - 1)) ||
        !pv_range_ok(info->bufferOffset, info->bufferSize, info->size) ||
        !pv_range_ok(info->extraOffset, info->extraSize, info->size))
        return false;
    for (size_t i = 0; i < PV_ARRAY_SIZE(parts); i++)
        for (size_t j = 0; j < i; j++)
            if (overlap(parts[i][0], parts[i][1], parts[j][0], parts[j][1]))
                return false;
    return true;
}

static struct pv_vn_ring *find(struct pv_vn_context *ctx, uint64_t id)
{
    struct pv_vn_ring *ring = ctx->rings;
    while (ring && ring->id != id)
        ring = ring->next;
    return ring;
}

static void fill_in(struct pv_vn_ring *ring, const VkRingCreateInfoMESA *info)
{
    uint8_t *base = (uint8_t *)ring->pages->mapping.data + info->offset;
    ring->head = (_Atomic uint32_t *)(void *)(base + info->headOffset);
    ring->tail = (_Atomic uint32_t *)(void *)(base + info->tailOffset);
    ring->status = (_Atomic uint32_t *)(void *)(base + info->statusOffset);
    ring->buffer = base + info->bufferOffset;
    ring->extra = base + info->extraOffset;
    ring->buffer_size = info->bufferSize;
    ring->extra_size = info->extraSize;
    ring->idle_ns = PV_MIN(info->idleTimeout, SPIN_MAX_NS);
    const VkRingPriorityInfoMESA *priority =
        pv_vn_chain_find(info->pNext, PV_VN_STYPE_VkRingPriorityInfoMESA);
    if (priority) /* a guest may only ask to matter less */
        ring->priority = PV_MAX(0, PV_MIN(priority->priority, 19));
}

/* A third of the longest time that the guest allows; 0: it does not look. */
static uint64_t monitor_period(const VkRingCreateInfoMESA *info)
{
    const VkRingMonitorInfoMESA *monitor =
        pv_vn_chain_find(info->pNext, PV_VN_STYPE_VkRingMonitorInfoMESA);
    return monitor ? PV_MAX(monitor->maxReportingPeriodMicroseconds * UINT64_C(1000) / 3,
                            PV_NSEC_PER_SEC / 1000)
                   : 0;
}

static void ring_free(struct pv_vn_ring *ring)
{
    pv_vn_stream_finish(&ring->stream);
    pv_gpu_memory_unref(ring->pages);
    pthread_cond_destroy(&ring->wake);
    free(ring->wrapped);
    free(ring);
}

int pv_vn_ring_create(struct pv_vn_context *ctx, uint64_t id, const VkRingCreateInfoMESA *info)
{
    struct pv_gpu_memory *pages = pv_vn_context_resource(ctx, info->resourceId);
    if (!pages)
        return -ENOENT;
    struct pv_vn_ring *ring = NULL;
    if (layout_ok(info, pages->mapping.size))
        ring = calloc(1, sizeof(*ring));
    if (!ring) {
        pv_gpu_memory_unref(pages);
        return -EINVAL;
    }
    uint64_t period = monitor_period(info);
    ring->monitored = period != 0;
    ring->id = id;
    ring->ctx = ctx;
    ring->pages = pages;
    pthread_cond_init(&ring->wake, NULL);
    pv_vn_stream_init(&ring->stream, ctx, ring);
    fill_in(ring, info);
    ring->wrapped = malloc(ring->buffer_size);
    pthread_mutex_lock(&ctx->lock);
    int ret = !ring->wrapped                                         ? -ENOMEM
              : atomic_load(ring->head) || atomic_load(ring->status) ? -EINVAL
              : find(ctx, id)                                        ? -EEXIST
              : ctx->ring_count >= PV_VN_RINGS_MAX                   ? -E2BIG
                                                                     : 0;
    if (ret == 0 && period)
        ret = pv_vn_monitor_start(ctx, period);
    if (ret == 0)
        ret = -pthread_create(&ring->thread, NULL, ring_main, ring);
    if (ret == 0) {
        ring->next = ctx->rings;
        ctx->rings = ring;
        ctx->ring_count++;
    }
    pthread_mutex_unlock(&ctx->lock);
    if (ret < 0)
        ring_free(ring);
    return ret;
}

/* Called with ctx->lock held; gives it up while the thread ends. */
static void stop_and_free(struct pv_vn_context *ctx, struct pv_vn_ring *ring)
{
    __atomic_store_n(&ring->stopping, true, __ATOMIC_RELAXED);
    pthread_cond_signal(&ring->wake);
    pthread_cond_broadcast(&ctx->changed);
    pthread_mutex_unlock(&ctx->lock);
    pthread_join(ring->thread, NULL);
    ring_free(ring);
    pthread_mutex_lock(&ctx->lock);
}

bool pv_vn_ring_destroy(struct pv_vn_context *ctx, uint64_t id)
{
    pthread_mutex_lock(&ctx->lock);
    struct pv_vn_ring **link = &ctx->rings;
    while (*link && (*link)->id != id)
        link = &(*link)->next;
    struct pv_vn_ring *ring = *link;
    if (ring) {
        *link = ring->next;
        ctx->ring_count--;
        stop_and_free(ctx, ring);
    }
    pthread_mutex_unlock(&ctx->lock);
    return ring != NULL;
}

void pv_vn_rings_destroy(struct pv_vn_context *ctx)
{
    pthread_mutex_lock(&ctx->lock);
    while (ctx->rings) {
        struct pv_vn_ring *ring = ctx->rings;
        ctx->rings = ring->next;
        stop_and_free(ctx, ring);
    }
    ctx->ring_count = 0;
    pthread_mutex_unlock(&ctx->lock);
}

void pv_vn_rings_fatal(struct pv_vn_context *ctx)
{
    pthread_mutex_lock(&ctx->lock);
    for (struct pv_vn_ring *ring = ctx->rings; ring; ring = ring->next) {
        atomic_fetch_or(ring->status, STATUS_FATAL);
        pthread_cond_signal(&ring->wake);
    }
    pthread_cond_broadcast(&ctx->changed);
    pthread_mutex_unlock(&ctx->lock);
}

void pv_vn_rings_alive(struct pv_vn_context *ctx)
{
    for (struct pv_vn_ring *ring = ctx->rings; ring; ring = ring->next)
        if (ring->monitored)
            atomic_fetch_or(ring->status, STATUS_ALIVE);
}

/* ---- What the control stream asks of rings ---- */

bool pv_vn_ring_notify(struct pv_vn_context *ctx, uint64_t id)
{
    pthread_mutex_lock(&ctx->lock);
    struct pv_vn_ring *ring = find(ctx, id);
    if (ring) {
        ring->notified = true;
        pthread_cond_signal(&ring->wake);
    }
    pthread_mutex_unlock(&ctx->lock);
    return ring != NULL;
}

bool pv_vn_ring_write_extra(struct pv_vn_context *ctx, uint64_t id, uint64_t offset, uint32_t value)
{
    pthread_mutex_lock(&ctx->lock);
    struct pv_vn_ring *ring = find(ctx, id);
    bool ok = ring && offset % 4 == 0 && pv_range_ok(offset, 4, ring->extra_size);
    if (ok)
        atomic_store((_Atomic uint32_t *)(void *)(ring->extra + offset), value);
    pthread_mutex_unlock(&ctx->lock);
    return ok;
}

bool pv_vn_ring_wait(struct pv_vn_context *ctx, uint64_t id, uint32_t seqno)
{
    pthread_mutex_lock(&ctx->lock);
    struct pv_vn_ring *ring = find(ctx, id);
    if (ring) {
        ring->waiters++;
        atomic_store(&ring->has_waiter, true);
        while (!pv_vn_context_gone(ctx) && (int32_t)(atomic_load(ring->head) - seqno) < 0)
            pthread_cond_wait(&ctx->changed, &ctx->lock);
        if (--ring->waiters == 0)
            atomic_store(&ring->has_waiter, false);
    }
    pthread_mutex_unlock(&ctx->lock);
    return ring != NULL;
}

bool pv_vn_ring_virtqueue_seqno(struct pv_vn_context *ctx, uint64_t id, uint64_t seqno)
{
    pthread_mutex_lock(&ctx->lock);
    struct pv_vn_ring *ring = find(ctx, id);
    if (ring) {
        ring->virtqueue_seqno = seqno;
        pthread_cond_broadcast(&ctx->changed);
    }
    pthread_mutex_unlock(&ctx->lock);
    return ring != NULL;
}

void pv_vn_ring_wait_virtqueue(struct pv_vn_ring *ring, uint64_t seqno)
{
    struct pv_vn_context *ctx = ring->ctx;
    pthread_mutex_lock(&ctx->lock);
    while (ring->virtqueue_seqno < seqno && !ring->stopping && !pv_vn_context_gone(ctx))
        pthread_cond_wait(&ctx->changed, &ctx->lock);
    pthread_mutex_unlock(&ctx->lock);
}
