/* SPDX-License-Identifier: MIT */
/*
 * The part that all virtio devices share: feature negotiation, status, reset, configuration space,
 * and the way of a driver's kick to the device.
 *
 * A kick comes on a vCPU's thread, which should be back in the guest at once. It sets the queue's
 * bit in `notified` and signals an event; the loop takes all bits together and calls queue_ready
 * for each. That coalesces a burst of kicks and needs neither a lock nor memory.
 */
#include "base/error.h"
#include "base/log.h"
#include "base/record.h"
#include "base/util.h"
#include "host/loop.h"
#include "virtio/device_impl.h"
#include "virtio/queue.h"
#include "virtio/transport.h"

#include <errno.h>
#include <stdarg.h>
#include <string.h>

/* So many failures are logged as warnings; a guest that goes on is only seen at debug level. */
#define LOUD_FAILURES 8u

#define CORE_FEATURES                                                                              \
    (UINT64_C(1) << PV_VIRTIO_F_INDIRECT_DESC | UINT64_C(1) << PV_VIRTIO_F_EVENT_IDX |             \
     UINT64_C(1) << PV_VIRTIO_F_VERSION_1 | UINT64_C(1) << PV_VIRTIO_F_RING_RESET)

static void run_queues(void *opaque)
{
    struct pv_virtio_device *dev = opaque;
    uint64_t todo = atomic_exchange(&dev->notified, 0);
    pv_virtio_lock(dev);
    for (; todo; todo &= todo - 1) {
        struct pv_virtq *queue = &dev->queues[__builtin_ctzll(todo)];
        const uint8_t mask = PV_VIRTIO_STATUS_DRIVER_OK | PV_VIRTIO_STATUS_NEEDS_RESET;
        if (queue->enabled && !dev->quiet && (dev->status & mask) == PV_VIRTIO_STATUS_DRIVER_OK)
            dev->ops->queue_ready(dev, queue->index);
    }
    pv_virtio_unlock(dev);
}

int pv_virtio_device_init(struct pv_virtio_device *dev, const struct pv_virtio_device_ops *ops,
                          struct pv_loop *loop, struct pv_address_space *as, uint64_t features,
                          unsigned queue_count, unsigned queue_size, struct pv_error **err)
{
    if (!queue_count || queue_count > PV_VIRTIO_MAX_QUEUES || !queue_size ||
        queue_size > PV_VIRTQ_MAX_SIZE || (queue_size & (queue_size - 1)))
        return pv_error_set(err, EINVAL, "virtio %s: %u queues of %u entries", ops->name,
                            queue_count, queue_size);
    *dev = (struct pv_virtio_device){
        .ops = ops,
        .loop = loop,
        .as = as,
        .offered_features = features | CORE_FEATURES,
        .queue_count = queue_count,
    };
    dev->queues = calloc(queue_count, sizeof(*dev->queues));
    dev->scratch = malloc(sizeof(*dev->scratch));
    int ret = dev->queues && dev->scratch
                  ? pv_event_create(&dev->work, loop, run_queues, dev, err)
                  : pv_error_set(err, ENOMEM, "virtio %s: out of memory", ops->name);
    if (ret < 0) {
        free(dev->queues);
        free(dev->scratch);
        return ret;
    }
    pthread_mutex_init(&dev->lock, NULL);
    for (unsigned i = 0; i < queue_count; i++) {
        dev->queues[i] = (struct pv_virtq){.dev = dev, .index = i, .max_size = queue_size};
        pv_virtq_reset(&dev->queues[i]);
    }
    return 0;
}

int pv_virtio_device_create(struct pv_virtio_device **out, size_t size,
                            const struct pv_virtio_device_ops *ops, struct pv_loop *loop,
                            struct pv_address_space *as, uint64_t features, unsigned queue_count,
                            unsigned queue_size, struct pv_error **err)
{
    struct pv_virtio_device *dev = calloc(1, size);
    if (!dev)
        return pv_error_set(err, ENOMEM, "virtio %s: out of memory", ops->name);
    int ret = pv_virtio_device_init(dev, ops, loop, as, features, queue_count, queue_size, err);
    if (ret < 0)
        free(dev);
    else
        *out = dev;
    return ret;
}

void pv_virtio_device_finish(struct pv_virtio_device *dev)
{
    pv_event_destroy(dev->work);
    pthread_mutex_destroy(&dev->lock);
    free(dev->queues);
    free(dev->scratch);
}

void pv_virtio_device_destroy(struct pv_virtio_device *dev)
{
    if (!dev)
        return;
    pv_virtio_lock(dev);
    dev->transport = NULL;
    pv_virtio_reset(dev);
    pv_virtio_unlock(dev);
    pv_virtio_device_finish(dev);
    dev->ops->destroy(dev);
}

void pv_virtio_offer_packed(struct pv_virtio_device *dev, bool offer)
{
    const uint64_t bit = UINT64_C(1) << PV_VIRTIO_F_RING_PACKED;
    dev->offered_features = offer ? dev->offered_features | bit : dev->offered_features & ~bit;
}

/* ---- For devices ---- */

bool pv_virtio_has_feature(const struct pv_virtio_device *dev, unsigned bit)
{
    return dev->driver_features >> bit & 1;
}

bool pv_virtio_is_quiet(const struct pv_virtio_device *dev)
{
    return dev->quiet;
}

struct pv_virtq *pv_virtio_queue(struct pv_virtio_device *dev, unsigned index)
{
    return &dev->queues[index];
}

void pv_virtio_lock(struct pv_virtio_device *dev)
{
    pthread_mutex_lock(&dev->lock);
}

void pv_virtio_unlock(struct pv_virtio_device *dev)
{
    pthread_mutex_unlock(&dev->lock);
}

static void interrupt_config(struct pv_virtio_device *dev)
{
    if ((dev->status & PV_VIRTIO_STATUS_DRIVER_OK) && dev->transport)
        dev->transport->config_interrupt(dev->transport_opaque);
}

void pv_virtio_config_changed(struct pv_virtio_device *dev)
{
    dev->config_generation++;
    interrupt_config(dev);
}

void pv_virtio_fail(struct pv_virtio_device *dev, const char *fmt, ...)
{
    if (dev->status & PV_VIRTIO_STATUS_NEEDS_RESET)
        return;
    char reason[256];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(reason, sizeof(reason), fmt, ap);
    va_end(ap);
    bool loud = dev->failures++ < LOUD_FAILURES;
    pv_log(PV_LOG_VIRTIO, loud ? PV_LOG_WARN : PV_LOG_DEBUG,
           "%s: the guest's driver went wrong, device stopped: %s", dev->ops->name, reason);
    dev->status |= PV_VIRTIO_STATUS_NEEDS_RESET;
    interrupt_config(dev);
}

/* ---- For transports ---- */

/* What the driver made available while nobody looked. */
static void notify_all(struct pv_virtio_device *dev)
{
    for (unsigned i = 0; i < dev->queue_count; i++)
        if (dev->queues[i].enabled)
            pv_virtio_queue_notify(dev, i);
}

void pv_virtio_allow_dma(struct pv_virtio_device *dev, bool allow)
{
    bool again = allow && dev->no_dma;

    dev->no_dma = !allow;
    if (again)
        notify_all(dev);
}

bool pv_virtio_quiet(struct pv_virtio_device *dev, bool quiet)
{
    bool again = dev->quiet && !quiet;

    dev->quiet = quiet;
    if (again)
        notify_all(dev);
    return !quiet || !dev->ops->busy || !dev->ops->busy(dev);
}

void pv_virtio_record(struct pv_virtio_device *dev, struct pv_record *record)
{
    const bool loading = pv_record_loading(record);

    if (!dev->ops->record) {
        pv_record_fail(record, ENOTSUP,
                       "a VM with a virtio %s device cannot be saved while it runs",
                       dev->ops->name);
        return;
    }
    pv_record_begin(record, 1, "virtio %s", dev->ops->name);
    pv_record_same(record, dev->queue_count, "the number of queues");
    pv_record_u64(record, &dev->driver_features);
    pv_record_u8(record, &dev->status);
    pv_record_u8(record, &dev->config_generation);
    if ((dev->status & PV_VIRTIO_STATUS_FEATURES_OK) &&
        (dev->driver_features & ~dev->offered_features))
        pv_record_fail(record, ENOTSUP, "the guest uses features %#llx that are not offered here",
                       (unsigned long long)(dev->driver_features & ~dev->offered_features));
    for (unsigned i = 0; i < dev->queue_count && pv_record_ok(record); i++)
        pv_virtq_record(&dev->queues[i], record);
    if (pv_record_ok(record))
        dev->ops->record(dev, record);
    pv_record_end(record);
    if (loading && pv_record_ok(record))
        notify_all(dev);
}

void pv_virtio_attach(struct pv_virtio_device *dev, const struct pv_virtio_transport_ops *ops,
                      unsigned slot, void *opaque)
{
    dev->transport = ops;
    dev->transport_opaque = opaque;
    dev->slot = slot;
}

unsigned pv_virtio_slot(const struct pv_virtio_device *dev)
{
    return dev->slot;
}

uint32_t pv_virtio_device_features(const struct pv_virtio_device *dev, uint32_t word)
{
    return word < 2 ? (uint32_t)(dev->offered_features >> 32 * word) : 0;
}

uint32_t pv_virtio_driver_features(const struct pv_virtio_device *dev, uint32_t word)
{
    return word < 2 ? (uint32_t)(dev->driver_features >> 32 * word) : 0;
}

void pv_virtio_set_driver_features(struct pv_virtio_device *dev, uint32_t word, uint32_t value)
{
    if (word >= 2 || (dev->status & PV_VIRTIO_STATUS_FEATURES_OK))
        return;
    unsigned shift = 32 * word;
    dev->driver_features &= ~((uint64_t)UINT32_MAX << shift);
    dev->driver_features |= (uint64_t)value << shift;
}

uint8_t pv_virtio_status(const struct pv_virtio_device *dev)
{
    return dev->status;
}

void pv_virtio_reset(struct pv_virtio_device *dev)
{
    if (dev->status && dev->ops->reset)
        dev->ops->reset(dev);
    dev->status = 0;
    dev->driver_features = 0;
    atomic_store(&dev->notified, 0);
    for (unsigned i = 0; i < dev->queue_count; i++)
        pv_virtq_reset(&dev->queues[i]);
    if (dev->transport && dev->transport->reset)
        dev->transport->reset(dev->transport_opaque);
}

static void start(struct pv_virtio_device *dev)
{
    if (!(dev->status & PV_VIRTIO_STATUS_FEATURES_OK)) {
        pv_virtio_fail(dev, "DRIVER_OK without FEATURES_OK");
        return;
    }
    if (dev->ops->start)
        dev->ops->start(dev);
    /* Buffers made available before DRIVER_OK wait for it, whether they were notified or not. */
    for (unsigned i = 0; i < dev->queue_count; i++)
        if (dev->queues[i].enabled)
            pv_virtio_queue_notify(dev, i);
}

void pv_virtio_set_status(struct pv_virtio_device *dev, uint8_t status)
{
    if (!status) {
        pv_virtio_reset(dev);
        return;
    }
    /* Bits are only ever added (2.1.1), and NEEDS_RESET is ours. */
    uint8_t added = status & (uint8_t)~dev->status & (uint8_t)~PV_VIRTIO_STATUS_NEEDS_RESET;
    bool version_1 = pv_virtio_has_feature(dev, PV_VIRTIO_F_VERSION_1);
    if ((added & PV_VIRTIO_STATUS_FEATURES_OK) &&
        ((dev->driver_features & ~dev->offered_features) || !version_1))
        added &= (uint8_t)~PV_VIRTIO_STATUS_FEATURES_OK;
    dev->status |= added;
    if (added & PV_VIRTIO_STATUS_DRIVER_OK)
        start(dev);
}

uint64_t pv_virtio_config_read(struct pv_virtio_device *dev, uint64_t offset, unsigned size)
{
    uint64_t value = 0;
    size_t config_size = dev->ops->config_size;
    if (offset < config_size && dev->ops->config_read)
        dev->ops->config_read(dev, (size_t)offset, &value,
                              PV_MIN((size_t)size, config_size - (size_t)offset));
    return value;
}

void pv_virtio_config_write(struct pv_virtio_device *dev, uint64_t offset, unsigned size,
                            uint64_t value)
{
    size_t config_size = dev->ops->config_size;
    if (offset < config_size && dev->ops->config_write)
        dev->ops->config_write(dev, (size_t)offset, &value,
                               PV_MIN((size_t)size, config_size - (size_t)offset));
}

uint8_t pv_virtio_config_generation(const struct pv_virtio_device *dev)
{
    return dev->config_generation;
}

unsigned pv_virtio_queue_count(const struct pv_virtio_device *dev)
{
    return dev->queue_count;
}

unsigned pv_virtio_queue_max_size(const struct pv_virtio_device *dev, unsigned queue)
{
    return queue < dev->queue_count ? dev->queues[queue].max_size : 0;
}

unsigned pv_virtio_queue_size(const struct pv_virtio_device *dev, unsigned queue)
{
    return queue < dev->queue_count ? dev->queues[queue].size : 0;
}

/* A queue that may be configured now, or NULL. */
static struct pv_virtq *configurable(struct pv_virtio_device *dev, unsigned queue)
{
    return queue < dev->queue_count && !dev->queues[queue].enabled ? &dev->queues[queue] : NULL;
}

void pv_virtio_queue_set_size(struct pv_virtio_device *dev, unsigned queue, uint16_t size)
{
    struct pv_virtq *q = configurable(dev, queue);
    if (q)
        q->size = size;
}

uint64_t pv_virtio_queue_address(const struct pv_virtio_device *dev, unsigned queue,
                                 enum pv_virtq_part part)
{
    return queue < dev->queue_count ? dev->queues[queue].address[part] : 0;
}

void pv_virtio_queue_set_address(struct pv_virtio_device *dev, unsigned queue,
                                 enum pv_virtq_part part, bool high, uint32_t value)
{
    struct pv_virtq *q = configurable(dev, queue);
    if (!q)
        return;
    unsigned shift = high ? 32 : 0;
    q->address[part] &= ~((uint64_t)UINT32_MAX << shift);
    q->address[part] |= (uint64_t)value << shift;
}

bool pv_virtio_queue_enabled(const struct pv_virtio_device *dev, unsigned queue)
{
    return queue < dev->queue_count && dev->queues[queue].enabled;
}

void pv_virtio_queue_enable(struct pv_virtio_device *dev, unsigned queue)
{
    struct pv_virtq *q = configurable(dev, queue);
    if (q && !(dev->status & PV_VIRTIO_STATUS_NEEDS_RESET))
        pv_virtq_enable(q);
}

void pv_virtio_queue_reset(struct pv_virtio_device *dev, unsigned queue)
{
    if (queue >= dev->queue_count || !pv_virtio_has_feature(dev, PV_VIRTIO_F_RING_RESET))
        return;
    if (dev->queues[queue].enabled && dev->ops->queue_reset)
        dev->ops->queue_reset(dev, queue);
    atomic_fetch_and(&dev->notified, ~(UINT64_C(1) << queue));
    pv_virtq_reset(&dev->queues[queue]);
}

void pv_virtio_queue_disable(struct pv_virtio_device *dev, unsigned queue)
{
    if (queue >= dev->queue_count || !dev->queues[queue].enabled)
        return;
    /*
     * Chains in flight are bounded by the queue's size only while it stays enabled, so a driver
     * that wants its ring back has to wait for them, or reset the device.
     */
    if (pv_virtq_running(&dev->queues[queue]) && dev->queues[queue].in_flight)
        pv_virtio_fail(dev, "queue %u: disabled with %u buffers in flight", queue,
                       dev->queues[queue].in_flight);
    dev->queues[queue].enabled = false;
    dev->queues[queue].epoch++;
}

void pv_virtio_queue_notify(struct pv_virtio_device *dev, unsigned queue)
{
    if (queue >= dev->queue_count)
        return;
    uint64_t bit = UINT64_C(1) << queue;
    if (!(atomic_fetch_or(&dev->notified, bit) & bit))
        pv_event_signal(dev->work);
}
