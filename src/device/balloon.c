/* SPDX-License-Identifier: MIT */
/*
 * Pages come in three ways. Inflating: the guest lists the page frames it took for us. Reporting:
 * free pages of the guest stand as the writable buffers of a chain, and are ours until the chain is
 * returned. Both are given back to the host at once, and are zeroes when the guest touches them
 * again; deflating therefore needs nothing but an answer. Hinting: free pages again, but of a guest
 * that may take them back any time, so they are only told to whoever copies memory.
 *
 * The host gives memory back in whole pages of its own, which may be larger than the guest's. Page
 * frames that follow each other are joined before, and what does not fill a host page is kept.
 *
 * A guest that poisons free pages finds zeroes where it expects its poison, unless that is zero:
 * its reports are answered and nothing else (5.5.6.7).
 */
#include "device/balloon.h"

#include "base/error.h"
#include "base/log.h"
#include "base/record.h"
#include "base/util.h"
#include "memory/address_space.h"
#include "virtio/device_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define F_STATS          1u
#define F_DEFLATE_ON_OOM 2u
#define F_HINTS          3u
#define F_POISON         4u
#define F_REPORTING      5u

#define FRAME      4096u /* whatever the page sizes are */
#define QUEUE_SIZE 128u
enum { INFLATE_QUEUE, DEFLATE_QUEUE, STATS_QUEUE, HINT_QUEUE, REPORT_QUEUE, QUEUE_COUNT };

/* Command IDs of hinting: two words of the host's, and the rounds (5.5.6.6). */
enum { HINT_STOP, HINT_DONE, HINT_FIRST };

/* Far more frames than drivers list at once (Linux: 256). */
#define MAX_FRAMES 65536u

/* struct virtio_balloon_config, 5.5.4. */
struct balloon_config {
    uint32_t frames;
    uint32_t actual;
    uint32_t hint_command;
    uint32_t poison;
};

struct balloon_stat {
    uint16_t tag;
    uint64_t value;
} __attribute__((packed));

struct balloon {
    struct pv_virtio_device base;
    struct pv_balloon_events events;
    struct balloon_config config;
    struct pv_balloon_info info;
    struct pv_virtq_chain stats; /* the driver's last answer; returned to ask for the next */
    uint32_t hint_round;         /* the last one asked for */
    bool hinting;                /* the driver is answering that round */
};

static struct balloon *of(struct pv_virtio_device *dev)
{
    return (struct balloon *)dev;
}

/* ---- Configuration ---- */

static void config_read(struct pv_virtio_device *dev, size_t offset, void *buf, size_t size)
{
    memcpy(buf, (const char *)&of(dev)->config + offset, size);
}

static void config_write(struct pv_virtio_device *dev, size_t offset, const void *buf, size_t size)
{
    struct balloon *balloon = of(dev);
    struct balloon_config config = balloon->config;
    memcpy((char *)&config + offset, buf, size);
    balloon->config.actual = config.actual;
    balloon->config.poison = config.poison;
    balloon->info.actual = (uint64_t)config.actual * FRAME;
    pv_debug(PV_LOG_VIRTIO, "balloon: the guest gave %" PRIu64 " KiB of %" PRIu64 " KiB",
             balloon->info.actual / PV_KIB, balloon->info.target / PV_KIB);
}

/* ---- Giving back ---- */

struct run {
    uint64_t address;
    uint64_t len;
};

static void give_back(struct balloon *balloon, const struct run *run)
{
    uint64_t returned = 0;
    int ret = run->len ? pv_as_discard(balloon->base.as, run->address, run->len, &returned) : 0;
    if (ret == -EFAULT)
        pv_virtio_fail(&balloon->base, "%" PRIu64 " bytes at %#" PRIx64 " are not guest RAM",
                       run->len, run->address);
    balloon->info.returned += returned;
}

/* Adds a frame to the run that it continues on either side, or else starts a new one. */
static void add_frame(struct balloon *balloon, struct run *run, uint64_t address)
{
    if (run->len && address == run->address + run->len) {
        run->len += FRAME;
    } else if (run->len && address + FRAME == run->address) {
        run->address = address;
        run->len += FRAME;
    } else {
        give_back(balloon, run);
        *run = (struct run){address, FRAME};
    }
}

static void inflate(struct balloon *balloon, const struct pv_virtq_chain *chain)
{
    uint32_t frames[256];
    struct run run = {0};
    size_t total = chain->out_bytes / sizeof(frames[0]), done = 0;
    if (total > MAX_FRAMES) {
        pv_virtio_fail(&balloon->base, "%zu pages at once, at most %u", total, MAX_FRAMES);
        return;
    }
    while (done < total) {
        size_t count = PV_MIN(total - done, PV_ARRAY_SIZE(frames));
        pv_virtq_read(chain, done * sizeof(frames[0]), frames, count * sizeof(frames[0]));
        for (size_t i = 0; i < count; i++)
            add_frame(balloon, &run, (uint64_t)frames[i] * FRAME);
        done += count;
    }
    give_back(balloon, &run);
}

static void report(struct balloon *balloon, const struct pv_virtq_chain *chain)
{
    if (pv_virtio_has_feature(&balloon->base, F_POISON) && balloon->config.poison)
        return;
    for (unsigned i = 0; i < chain->in_count; i++) {
        const struct run run = {
            .address = pv_virtq_chain_address(chain, chain->out_count + i),
            .len = chain->iov[chain->out_count + i].iov_len,
        };
        give_back(balloon, &run);
    }
}

/* ---- Statistics ---- */

static void drop_stats(struct balloon *balloon)
{
    pv_virtq_chain_finish(&balloon->stats);
}

/* The driver has one buffer, which is kept until somebody asks. */
static void take_stats(struct balloon *balloon, struct pv_virtq *queue,
                       struct pv_virtq_chain *chain)
{
    struct balloon_stat stat;
    for (size_t at = 0; pv_virtq_read(chain, at, &stat, sizeof(stat)) == sizeof(stat);
         at += sizeof(stat)) {
        if (stat.tag >= PV_BALLOON_STATS)
            continue;
        balloon->info.known |= 1u << stat.tag;
        balloon->info.stats[stat.tag] = stat.value;
    }
    if (balloon->stats.iov)
        pv_virtq_push(queue, &balloon->stats, 0);
    balloon->stats = *chain;
    if (balloon->events.stats)
        balloon->events.stats(balloon->events.opaque);
}

/* ---- Hints ---- */

/* The driver says which round it answers, names pages, and says that there are no more. */
static void hint(struct balloon *balloon, const struct pv_virtq_chain *chain)
{
    uint32_t command;
    if (pv_virtq_read(chain, 0, &command, sizeof(command)) == sizeof(command)) {
        bool was = balloon->hinting;
        balloon->hinting = command >= HINT_FIRST && command == balloon->config.hint_command;
        if (was && command == HINT_STOP && balloon->events.hints_done)
            balloon->events.hints_done(balloon->events.opaque);
        return;
    }
    for (unsigned i = 0; i < chain->in_count && balloon->hinting; i++)
        if (balloon->events.hinted)
            balloon->events.hinted(balloon->events.opaque,
                                   pv_virtq_chain_address(chain, chain->out_count + i),
                                   chain->iov[chain->out_count + i].iov_len);
}

/* ---- Queues ---- */

static void handle(struct balloon *balloon, struct pv_virtq *queue, unsigned index,
                   struct pv_virtq_chain *chain)
{
    switch (index) {
    case INFLATE_QUEUE: inflate(balloon, chain); break;
    case STATS_QUEUE: take_stats(balloon, queue, chain); return;
    case HINT_QUEUE: hint(balloon, chain); break;
    case REPORT_QUEUE: report(balloon, chain); break;
    default: break; /* deflating: the pages come back by being touched */
    }
    pv_virtq_push(queue, chain, 0);
}

static void queue_ready(struct pv_virtio_device *dev, unsigned index)
{
    struct pv_virtq *queue = pv_virtio_queue(dev, index);
    struct pv_virtq_chain chain;
    unsigned budget = PV_VIRTQ_BUDGET;
    while (budget && pv_virtq_pop(queue, &chain) == 1) {
        handle(of(dev), queue, index, &chain);
        budget--;
    }
    pv_virtq_notify(queue);
    if (!budget)
        pv_virtq_reschedule(queue);
}

/* ---- The host's side ---- */

void pv_balloon_set_target(struct pv_virtio_device *dev, uint64_t bytes)
{
    struct balloon *balloon = of(dev);
    pv_virtio_lock(dev);
    uint64_t frames = PV_MIN(bytes / FRAME, (uint64_t)UINT32_MAX);
    balloon->config.frames = (uint32_t)frames;
    balloon->info.target = frames * FRAME;
    pv_virtio_config_changed(dev);
    pv_virtio_unlock(dev);
}

void pv_balloon_info(struct pv_virtio_device *dev, struct pv_balloon_info *info)
{
    pv_virtio_lock(dev);
    *info = of(dev)->info;
    pv_virtio_unlock(dev);
}

bool pv_balloon_request_stats(struct pv_virtio_device *dev)
{
    struct balloon *balloon = of(dev);
    struct pv_virtq *queue = pv_virtio_queue(dev, STATS_QUEUE);
    pv_virtio_lock(dev);
    bool held = balloon->stats.iov;
    if (held) {
        pv_virtq_push(queue, &balloon->stats, 0);
        pv_virtq_notify(queue);
    }
    pv_virtio_unlock(dev);
    return held;
}

bool pv_balloon_hint(struct pv_virtio_device *dev, bool on)
{
    struct balloon *balloon = of(dev);
    pv_virtio_lock(dev);
    bool can = pv_virtio_has_feature(dev, F_HINTS);
    if (can) {
        balloon->hinting = false;
        if (on)
            balloon->hint_round =
                balloon->hint_round < HINT_FIRST || balloon->hint_round == UINT32_MAX
                    ? HINT_FIRST
                    : balloon->hint_round + 1;
        balloon->config.hint_command = on ? balloon->hint_round : HINT_DONE;
        pv_virtio_config_changed(dev);
    }
    pv_virtio_unlock(dev);
    return can;
}

/* ---- Life ---- */

static void queue_reset(struct pv_virtio_device *dev, unsigned queue)
{
    if (queue == STATS_QUEUE)
        drop_stats(of(dev));
}

static void reset(struct pv_virtio_device *dev)
{
    struct balloon *balloon = of(dev);
    drop_stats(balloon);
    balloon->hinting = false;
    balloon->info.actual = 0;
    balloon->info.known = 0;
    balloon->config.actual = 0;
    balloon->config.poison = 0;
    balloon->config.hint_command = HINT_STOP;
}

/* What was returned stays counted from this process's start. */
static void record(struct pv_virtio_device *dev, struct pv_record *record)
{
    struct balloon *balloon = of(dev);
    pv_record_u32(record, &balloon->config.frames);
    pv_record_u32(record, &balloon->config.actual);
    pv_record_u32(record, &balloon->config.hint_command);
    pv_record_u32(record, &balloon->config.poison);
    pv_record_u32(record, &balloon->hint_round);
    balloon->info.target = (uint64_t)balloon->config.frames * FRAME;
    balloon->info.actual = (uint64_t)balloon->config.actual * FRAME;
}

static void destroy(struct pv_virtio_device *dev)
{
    free(dev);
}

static const struct pv_virtio_device_ops balloon_ops = {
    .name = "balloon",
    .id = PV_VIRTIO_ID_BALLOON,
    .config_size = sizeof(struct balloon_config),
    .config_read = config_read,
    .config_write = config_write,
    .reset = reset,
    .queue_reset = queue_reset,
    .queue_ready = queue_ready,
    .record = record,
    .destroy = destroy,
};

int pv_balloon_create(struct pv_virtio_device **out, struct pv_loop *loop,
                      struct pv_address_space *as, uint64_t target,
                      const struct pv_balloon_events *events, struct pv_error **err)
{
    const uint64_t features = UINT64_C(1) << F_STATS | UINT64_C(1) << F_DEFLATE_ON_OOM |
                              UINT64_C(1) << F_HINTS | UINT64_C(1) << F_POISON |
                              UINT64_C(1) << F_REPORTING;
    int ret = pv_virtio_device_create(out, sizeof(struct balloon), &balloon_ops, loop, as, features,
                                      QUEUE_COUNT, QUEUE_SIZE, err);
    if (ret < 0)
        return ret;
    struct balloon *balloon = (struct balloon *)*out;
    if (events)
        balloon->events = *events;
    pv_balloon_set_target(&balloon->base, target);
    return 0;
}
