/* SPDX-License-Identifier: MIT */
/*
 * A port is a pair of queues. With several ports the host also tells the guest about them over a
 * pair of control queues: that they are there, which are consoles, their names and sizes. What is
 * yet to be told is kept as bits of each port, sent in their order as the guest has buffers, so
 * that a guest cannot make it grow.
 *
 * The guest says when somebody opens a port. Until then nothing is given to it, since Linux drops
 * what comes for a port that nobody has open.
 */
#include "device/console.h"

#include "base/error.h"
#include "base/record.h"
#include "base/util.h"
#include "host/chardev.h"
#include "host/loop.h"
#include "virtio/device_impl.h"

#include <errno.h>
#include <string.h>

#define F_SIZE      0u
#define F_MULTIPORT 1u

#define QUEUE_SIZE 128u
/* 5.3.2: the first port's queues, the control queues, the other ports'. */
enum { CONTROL_RECEIVE_QUEUE = 2, CONTROL_TRANSMIT_QUEUE = 3 };

/* Far more than drivers write at once (Linux: 32 KiB), and little enough for the loop. */
#define TRANSMIT_MAX (1u << 20)
#define NAME_MAX_LEN 63u

/* struct virtio_console_config, 5.3.4. */
struct console_config {
    uint16_t columns;
    uint16_t rows;
    uint32_t max_ports;
    uint32_t emergency_write;
};

/* 5.3.6.2. Those that the host sends have their bit in `pending`. */
enum control_event {
    DEVICE_READY,
    PORT_ADD,
    PORT_REMOVE,
    PORT_READY,
    CONSOLE_PORT,
    RESIZE,
    PORT_OPEN,
    PORT_NAME,
};

struct control {
    uint32_t id;
    uint16_t event;
    uint16_t value;
};

struct port {
    struct console *console;
    unsigned id;
    struct pv_chardev *chardev;
    struct pv_event *room; /* tells the chardev that there is room, outside the lock */
    char name[NAME_MAX_LEN + 1];
    bool is_console;
    bool starved; /* receive() took less than it was offered */
    bool open;    /* in the guest */
    uint16_t columns, rows;
    unsigned pending; /* control events */
};

struct console {
    struct pv_virtio_device base;
    struct console_config config;
    unsigned port_count;
    struct port ports[];
};

static void config_read(struct pv_virtio_device *dev, size_t offset, void *buf, size_t size)
{
    const struct console *console = (const struct console *)dev;
    memcpy(buf, (const char *)&console->config + offset, size);
}

static struct pv_virtq *receive_queue(struct port *port)
{
    return pv_virtio_queue(&port->console->base, port->id ? 2 * port->id + 2 : 0);
}

static bool multiport(const struct console *console)
{
    return pv_virtio_has_feature(&console->base, F_MULTIPORT);
}

/* ---- Control messages to the guest ---- */

static size_t put_control(struct port *port, enum control_event event,
                          const struct pv_virtq_chain *chain)
{
    const struct control control = {port->id, (uint16_t)event, 1};
    const uint16_t size[2] = {port->columns, port->rows};
    size_t len = pv_virtq_write(chain, 0, &control, sizeof(control));
    if (event == PORT_NAME)
        len += pv_virtq_write(chain, len, port->name, strlen(port->name));
    else if (event == RESIZE)
        len += pv_virtq_write(chain, len, size, sizeof(size));
    return len;
}

static void send_control(struct console *console)
{
    struct pv_virtq_chain chain;
    if (!multiport(console))
        return;
    struct pv_virtq *queue = pv_virtio_queue(&console->base, CONTROL_RECEIVE_QUEUE);
    for (unsigned i = 0; i < console->port_count; i++) {
        struct port *port = &console->ports[i];
        while (port->pending && pv_virtq_pop(queue, &chain) == 1) {
            unsigned event = (unsigned)__builtin_ctz(port->pending);
            port->pending &= port->pending - 1;
            pv_virtq_push(queue, &chain, put_control(port, event, &chain));
        }
    }
    pv_virtq_notify(queue);
}

/* ---- Control messages from the guest ---- */

static void port_control(struct port *port, const struct control *control)
{
    switch ((enum control_event)control->event) {
    case PORT_READY:
        if (!control->value)
            break;
        if (port->is_console)
            port->pending |= 1u << CONSOLE_PORT;
        if (port->is_console && port->columns)
            port->pending |= 1u << RESIZE;
        if (*port->name)
            port->pending |= 1u << PORT_NAME;
        port->pending |= 1u << PORT_OPEN;
        break;
    case PORT_OPEN:
        port->open = control->value;
        if (port->open)
            pv_event_signal(port->room);
        break;
    default: break; /* the host's to say */
    }
}

static void receive_control(struct console *console, struct pv_virtq *queue)
{
    struct pv_virtq_chain chain;
    unsigned budget = PV_VIRTQ_BUDGET;
    while (budget && pv_virtq_pop(queue, &chain) == 1) {
        struct control control;
        if (pv_virtq_read(&chain, 0, &control, sizeof(control)) == sizeof(control)) {
            if (control.event == DEVICE_READY && control.value)
                for (unsigned i = 0; i < console->port_count; i++)
                    console->ports[i].pending |= 1u << PORT_ADD;
            else if (control.id < console->port_count)
                port_control(&console->ports[control.id], &control);
        }
        pv_virtq_push(queue, &chain, 0);
        budget--;
    }
    pv_virtq_notify(queue);
    if (!budget)
        pv_virtq_reschedule(queue);
    send_control(console);
}

/* ---- Host to guest ---- */

static size_t receive(void *opaque, const void *data, size_t len)
{
    struct port *port = opaque;
    struct console *console = port->console;
    struct pv_virtq *queue = receive_queue(port);
    struct pv_virtq_chain chain;
    size_t done = 0;
    pv_virtio_lock(&console->base);
    bool listens = port->open || !multiport(console);
    while (listens && done < len && pv_virtq_pop(queue, &chain) == 1) {
        size_t part = pv_virtq_write(&chain, 0, (const char *)data + done, len - done);
        pv_virtq_push(queue, &chain, part);
        done += part;
    }
    port->starved = done < len;
    pv_virtq_notify(queue);
    pv_virtio_unlock(&console->base);
    return done;
}

static void tell_room(void *opaque)
{
    struct port *port = opaque;
    pv_chardev_can_accept(port->chardev);
}

/* The first port's size is in the configuration, for drivers that have only that port. */
static void resized(void *opaque, unsigned columns, unsigned rows)
{
    struct port *port = opaque;
    struct console *console = port->console;
    pv_virtio_lock(&console->base);
    port->columns = (uint16_t)PV_MIN(columns, (unsigned)UINT16_MAX);
    port->rows = (uint16_t)PV_MIN(rows, (unsigned)UINT16_MAX);
    if (!port->id) {
        console->config.columns = port->columns;
        console->config.rows = port->rows;
        pv_virtio_config_changed(&console->base);
    }
    if (port->is_console && port->open)
        port->pending |= 1u << RESIZE;
    send_control(console);
    pv_virtio_unlock(&console->base);
}

/* ---- Guest to host ---- */

static void transmit(struct port *port, struct pv_virtq *queue)
{
    struct pv_virtio_device *dev = &port->console->base;
    struct pv_virtq_chain chain;
    unsigned budget = PV_VIRTQ_BUDGET;
    while (budget && pv_virtq_pop(queue, &chain) == 1) {
        if (chain.out_bytes > TRANSMIT_MAX)
            pv_virtio_fail(dev, "a write of %zu bytes, at most %u", chain.out_bytes, TRANSMIT_MAX);
        for (unsigned i = 0; i < chain.out_count && chain.out_bytes <= TRANSMIT_MAX; i++)
            pv_chardev_write(port->chardev, chain.iov[i].iov_base, chain.iov[i].iov_len);
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
    struct pv_virtq *queue = pv_virtio_queue(dev, index);
    if (index == CONTROL_RECEIVE_QUEUE) {
        send_control(console);
    } else if (index == CONTROL_TRANSMIT_QUEUE) {
        receive_control(console, queue);
    } else {
        struct port *port = &console->ports[index < 2 ? 0 : (index - 2) / 2];
        if (index % 2)
            transmit(port, queue);
        else if (port->starved)
            pv_event_signal(port->room);
    }
}

/* ---- Life ---- */

static void reset(struct pv_virtio_device *dev)
{
    struct console *console = (struct console *)dev;
    for (unsigned i = 0; i < console->port_count; i++) {
        console->ports[i].starved = false;
        console->ports[i].open = false;
        console->ports[i].pending = 0;
    }
}

/* The size is the terminal's of now; where it is another, the guest is told. */
static void record(struct pv_virtio_device *dev, struct pv_record *record)
{
    struct console *console = (struct console *)dev;
    pv_record_same(record, console->port_count, "the number of ports");
    for (unsigned i = 0; i < console->port_count; i++) {
        struct port *port = &console->ports[i];
        pv_record_bool(record, &port->open);
        pv_record_u32(record, &port->pending);
        port->pending &= (1u << (PORT_NAME + 1)) - 1;
        if (!pv_record_loading(record))
            continue;
        if (port->is_console && port->open && port->columns)
            port->pending |= 1u << RESIZE;
        port->starved = true;
    }
}

static void start(struct pv_virtio_device *dev)
{
    struct console *console = (struct console *)dev;
    for (unsigned i = 0; i < console->port_count; i++)
        pv_event_signal(console->ports[i].room);
}

static size_t swallow(void *opaque, const void *data, size_t len)
{
    return len;
}

static void destroy(struct pv_virtio_device *dev)
{
    struct console *console = (struct console *)dev;
    const struct pv_chardev_client nobody = {.receive = swallow};
    for (unsigned i = 0; i < console->port_count; i++) {
        pv_chardev_set_client(console->ports[i].chardev, &nobody);
        pv_event_destroy(console->ports[i].room);
    }
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
    .record = record,
    .destroy = destroy,
};

static int init_port(struct port *port, const struct pv_vconsole_port *from, struct pv_loop *loop,
                     struct pv_error **err)
{
    port->chardev = from->chardev;
    port->is_console = from->console;
    if (from->name && strlen(from->name) > NAME_MAX_LEN)
        return pv_error_set(err, EINVAL, "console port '%s': a name of at most %u bytes",
                            from->name, NAME_MAX_LEN);
    if (from->name)
        memcpy(port->name, from->name, strlen(from->name) + 1);
    return pv_event_create(&port->room, loop, tell_room, port, err);
}

static int create(struct pv_virtio_device **out, struct pv_loop *loop, struct pv_address_space *as,
                  const struct pv_vconsole_port *ports, unsigned count, bool several,
                  struct pv_error **err)
{
    struct console *console = calloc(1, sizeof(*console) + count * sizeof(console->ports[0]));
    if (!console)
        return pv_error_set(err, ENOMEM, "console: out of memory");
    int ret = 0;
    for (unsigned i = 0; i < count && ret >= 0; i++) {
        console->ports[i].console = console;
        console->ports[i].id = i;
        ret = init_port(&console->ports[i], &ports[i], loop, err);
    }
    uint64_t features = UINT64_C(1) << F_SIZE | (several ? UINT64_C(1) << F_MULTIPORT : 0);
    if (ret >= 0)
        ret = pv_virtio_device_init(&console->base, &console_ops, loop, as, features,
                                    several ? 2 * count + 2 : 2, QUEUE_SIZE, err);
    if (ret < 0) {
        for (unsigned i = 0; i < count; i++)
            pv_event_destroy(console->ports[i].room);
        free(console);
        return ret;
    }
    console->port_count = count;
    console->config.max_ports = count;
    for (unsigned i = 0; i < count; i++) {
        const struct pv_chardev_client client = {
            .receive = receive, .resized = resized, .opaque = &console->ports[i]};
        pv_chardev_set_client(ports[i].chardev, &client);
    }
    *out = &console->base;
    return 0;
}

int pv_vconsole_create(struct pv_virtio_device **out, struct pv_loop *loop,
                       struct pv_address_space *as, struct pv_chardev *chardev,
                       struct pv_error **err)
{
    const struct pv_vconsole_port port = {.chardev = chardev, .console = true};
    return create(out, loop, as, &port, 1, false, err);
}

int pv_vconsole_create_ports(struct pv_virtio_device **out, struct pv_loop *loop,
                             struct pv_address_space *as, const struct pv_vconsole_port *ports,
                             unsigned count, struct pv_error **err)
{
    if (!count || count > PV_VCONSOLE_MAX_PORTS)
        return pv_error_set(err, EINVAL, "console: %u ports, want 1 to %u", count,
                            PV_VCONSOLE_MAX_PORTS);
    return create(out, loop, as, ports, count, true, err);
}
