/* SPDX-License-Identifier: MIT */
#include "device/rng.h"

#include "base/error.h"
#include "base/util.h"
#include "virtio/device_impl.h"

#include <errno.h>
#include <sys/random.h>
#include <unistd.h>

/* A driver may offer gigabytes; it gets this much of a buffer filled, as 5.4.6.1 lets us. */
#define MAX_BYTES     4096u
#define ENTROPY_BYTES 256u /* what getentropy() gives at a time */
#define QUEUE_SIZE    64u

static size_t fill(const struct pv_virtq_chain *chain)
{
    size_t want = PV_MIN(chain->in_bytes, (size_t)MAX_BYTES), done = 0;
    while (done < want) {
        uint8_t bytes[ENTROPY_BYTES];
        size_t part = PV_MIN(want - done, sizeof(bytes));
        if (getentropy(bytes, part) < 0)
            break;
        done += pv_virtq_write(chain, done, bytes, part);
    }
    return done;
}

static void queue_ready(struct pv_virtio_device *dev, unsigned index)
{
    struct pv_virtq *queue = pv_virtio_queue(dev, index);
    struct pv_virtq_chain chain;
    unsigned budget = PV_VIRTQ_BUDGET;
    while (budget && pv_virtq_pop(queue, &chain) == 1) {
        pv_virtq_push(queue, &chain, fill(&chain));
        budget--;
    }
    pv_virtq_notify(queue);
    if (!budget)
        pv_virtq_reschedule(queue);
}

static void record(struct pv_virtio_device *dev, struct pv_record *record)
{
    /* It has no state. */
}

static void destroy(struct pv_virtio_device *dev)
{
    free(dev);
}

static const struct pv_virtio_device_ops rng_ops = {
    .name = "rng",
    .id = PV_VIRTIO_ID_RNG,
    .queue_ready = queue_ready,
    .record = record,
    .destroy = destroy,
};

int pv_rng_create(struct pv_virtio_device **out, struct pv_loop *loop, struct pv_address_space *as,
                  struct pv_error **err)
{
    return pv_virtio_device_create(out, sizeof(**out), &rng_ops, loop, as, 0, 1, QUEUE_SIZE, err);
}
