/* SPDX-License-Identifier: MIT */
#include "device/console.h"

#include "base/error.h"
#include "base/util.h"
#include "host/chardev.h"
#include "host/loop.h"
#include "virtio/device_impl.h"

#include <errno.h>
#include <string.h>

#define F_SIZE 0u

#define QUEUE_SIZE 128u
enum { RECEIVE_QUEUE, TRANSMIT_QUEUE, QUEUE_COUNT };

/* Far more than drivers write at once (Linux: 32 KiB), and little enough for the loop. */
#define TRANSMIT_MAX (1u << 20)

/* struct virtio_console_config, 5.3.4. */
struct console_config {
    uint16_t columns;
    uint16_t rows;
    uint32_t max_ports;
    uint32_t emergency_write;
};

struct console {
    struct pv_virtio_device base;
    struct pv_chardev *chardev;
    struct pv_event *room; /* tells the chardev that there is room, outside the lock */
    struct console_config config;
    bool starved; /* receive() took less than it was offered */
};

static void config_read(struct pv_virtio_device *dev, size_t offset, void *buf, size_t size)
{
    const struct console *console = (const struct console *)dev;
    memcpy(buf, (const char *)&console->config + offset, size);
}

/* ---- Host to guest ---- */

static size_t receive(void *opaque, const void *data, size_t len)
{
    struct console *console = opaque;
    struct pv_virtq *queue = pv_virtio_queue(&console->base, RECEIVE_QUEUE);
    struct pv_virtq_chain chain;
    size_t done = 0;
    pv_virtio_lock(&console->base);
    while (done < len && pv_virtq_pop(queue, &chain) == 1) {
        size_t part = pv_virtq_write(&chain, 0, (const char *)data + done, len - done);
        pv_virtq_push(queue, &chain, part);
        done += part;
    }
    console->starved = done < len;
    pv_virtq_notify(queue);
    pv_virtio_unlock(&console->base);
    return done;
}

static void tell_room(void *opaque)
{
    struct console *console = opaque;
    pv_chardev_can_accept(console->chardev);
}

static void resized(void *opaque, unsigned columns, unsigned rows)
{
    struct console *console = opaque;
    pv_virtio_lock(&console->base);
    console->config.columns = (uint16_t)PV_MIN(columns, (unsigned)UINT16_MAX);
    console->config.rows = (uint16_t)PV_MIN(rows, (unsigned)UINT16_MAX);
    pv_virtio_config_changed(&console->base);
    pv_virtio_unlock(&console->base);
}

/* ---- Guest to host ---- */

static void transmit(struct console *console, struct pv_virtq *queue)
{
    struct pv_virtq_chain chain;
    unsigned budget = PV_VIRTQ_BUDGET;
    while (budget && pv_virtq_pop(queue, &chain) == 1) {
        if (chain.out_bytes > TRANSMIT_MAX)
            pv_virtio_fail(&console->base, "a write of %zu bytes, at most %u", chain.out_bytes,
                           TRANSMIT_MAX);
        for (unsigned i = 0; i < chain.out_count && chain.out_bytes <= TRANSMIT_MAX; i++)
            pv_chardev_write(console->chardev, chain.iov[i].iov_base, chain.iov[i].iov_len);
        pv_virtq_push(queue, &chain, 0);
        budget--;
    }
    pv_virtq_notify(queue);
    if (!budget)
        pv_virtq_reschedule(queue);
}

static void queue_ready(struct pv_virtio_device *dev, unsigned index)
{
    struct console *console = (struct console *)dev;
    if (index == TRANSMIT_QUEUE)
        transmit(console, pv_virtio_queue(dev, index));
    else if (console->starved)
        pv_event_signal(console->room);
}

static void reset(struct pv_virtio_device *dev)
{
    struct console *console = (struct console *)dev;
    console->starved = false;
}

static void start(struct pv_virtio_device *dev)
{
    struct console *console = (struct console *)dev;
    pv_event_signal(console->room);
}

static size_t swallow(void *opaque, const void *data, size_t len)
{
    return len;
}

static void destroy(struct pv_virtio_device *dev)
{
    struct console *console = (struct console *)dev;
    const struct pv_chardev_client nobody = {.receive = swallow};
    pv_chardev_set_client(console->chardev, &nobody);
    pv_event_destroy(console->room);
    free(console);
}

static const struct pv_virtio_device_ops console_ops = {
    .name = "console",
    .id = PV_VIRTIO_ID_CONSOLE,
    .config_size = sizeof(struct console_config),
    .config_read = config_read,
    .start = start,
    .reset = reset,
    .queue_ready = queue_ready,
    .destroy = destroy,
};

int pv_vconsole_create(struct pv_virtio_device **out, struct pv_loop *loop,
                       struct pv_address_space *as, struct pv_chardev *chardev,
                       struct pv_error **err)
{
    struct pv_virtio_device *dev;
    int ret = pv_virtio_device_create(&dev, sizeof(struct console), &console_ops, loop, as,
                                      UINT64_C(1) << F_SIZE, QUEUE_COUNT, QUEUE_SIZE, err);
    if (ret < 0)
        return ret;
    struct console *console = (struct console *)dev;
    ret = pv_event_create(&console->room, loop, tell_room, console, err);
    if (ret < 0) {
        pv_virtio_device_finish(dev);
        free(console);
        return ret;
    }
    console->chardev = chardev;
    const struct pv_chardev_client client = {
        .receive = receive, .resized = resized, .opaque = console};
    pv_chardev_set_client(chardev, &client);
    *out = dev;
    return 0;
}
