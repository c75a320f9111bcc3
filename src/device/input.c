/* SPDX-License-Identifier: MIT */
/*
 * The driver asks what the device is through a window of its configuration: it writes what it wants
 * to know (`select`, `subsel`) and reads the answer and its size. Answers are bitmaps of the codes
 * that the device may send, by type of event.
 *
 * Events that belong together are sent together or not at all: half of a movement would be worse
 * than a lost one. The driver gives 64 buffers, which fast typing fills before a guest has looked:
 * what finds none waits in the backlog until it gives more, or a key would stay pressed. Buffers
 * taken for a group that did not find enough are kept for the next.
 */
#include "device/input.h"

#include "base/error.h"
#include "base/record.h"
#include "base/util.h"
#include "virtio/device_impl.h"

#include <errno.h>
#include <string.h>

#define QUEUE_SIZE 64u
#define BACKLOG    1024u /* events; a power of two */
enum { EVENT_QUEUE, STATUS_QUEUE, QUEUE_COUNT };

/* 5.8.2. */
enum { ID_NAME = 1, ID_SERIAL, ID_DEVIDS, PROP_BITS = 0x10, EV_BITS, ABS_INFO };

#define BUS_VIRTUAL 0x06u
#define VENDOR      0x1af4u

/* Codes, and how many of a kind may follow each other in a range. */
enum {
    KEY_ESC = 1,
    KEY_LAST = 0xf8, /* all of an ordinary keyboard's, and the multimedia keys */
    BTN_LEFT = 0x110,
    BTN_TASK = 0x117,
    REL_X = 0,
    REL_Y = 1,
    REL_HWHEEL = 6,
    REL_WHEEL = 8,
    ABS_X = 0,
    ABS_Y = 1,
    LED_SCROLLL = 2,
    REP_EVENTS = 0x14,
    SYN_REPORT = 0,
    PROP_POINTER = 0,
};

struct input_config {
    uint8_t select, subsel;
    uint8_t size;
    uint8_t reserved[5];
    uint8_t data[128];
};
_Static_assert(sizeof(struct input_config) == 136, "5.8.4");

struct wire_event {
    uint16_t type, code;
    uint32_t value;
};

struct input {
    struct pv_virtio_device base;
    enum pv_input_kind kind;
    void (*leds)(void *opaque, unsigned lit);
    void *opaque;
    struct input_config config;
    unsigned lit;
    struct pv_virtq_chain held[PV_INPUT_MAX_EVENTS + 1];
    unsigned held_count;
    struct wire_event backlog[BACKLOG];  /* whole groups, each with its SYN_REPORT */
    unsigned backlog_head, backlog_tail; /* both count on */
};

/* ---- What it is ---- */

static void set_bits(struct input_config *config, unsigned first, unsigned last)
{
    for (unsigned bit = first; bit <= last; bit++)
        config->data[bit / 8] |= (uint8_t)(1u << bit % 8);
    if (config->size < last / 8 + 1)
        config->size = (uint8_t)(last / 8 + 1);
}

static void answer_bits(const struct input *input, struct input_config *config)
{
    bool keyboard = input->kind == PV_INPUT_KEYBOARD, mouse = input->kind == PV_INPUT_MOUSE;
    switch (config->subsel) {
    case PV_EV_KEY:
        if (keyboard)
            set_bits(config, KEY_ESC, KEY_LAST);
        else
            set_bits(config, BTN_LEFT, BTN_TASK);
        break;
    case PV_EV_REL:
        if (mouse)
            set_bits(config, REL_X, REL_Y);
        if (!keyboard) {
            set_bits(config, REL_HWHEEL, REL_HWHEEL);
            set_bits(config, REL_WHEEL, REL_WHEEL);
        }
        break;
    case PV_EV_ABS:
        if (input->kind == PV_INPUT_TABLET)
            set_bits(config, ABS_X, ABS_Y);
        break;
    case PV_EV_LED:
        if (keyboard)
            set_bits(config, 0, LED_SCROLLL);
        break;
    case REP_EVENTS:
        if (keyboard)
            set_bits(config, 0, 1); /* the guest repeats keys itself */
        break;
    default: break;
    }
}

/* The answer to `select` and `subsel`; what there is nothing to say about has size 0. */
static void answer(const struct input *input, struct input_config *config)
{
    static const char *const names[] = {"PearVisor Keyboard", "PearVisor Mouse",
                                        "PearVisor Tablet"};
    bool tablet = input->kind == PV_INPUT_TABLET;
    config->size = 0;
    memset(config->data, 0, sizeof(config->data));
    switch (config->select) {
    case ID_NAME:
        config->size = (uint8_t)strlen(names[input->kind]);
        memcpy(config->data, names[input->kind], config->size);
        break;
    case ID_DEVIDS: {
        const uint16_t ids[4] = {BUS_VIRTUAL, VENDOR, (uint16_t)(input->kind + 1), 1};
        config->size = sizeof(ids);
        memcpy(config->data, ids, sizeof(ids));
        break;
    }
    case PROP_BITS:
        if (tablet)
            set_bits(config, PROP_POINTER, PROP_POINTER);
        break;
    case EV_BITS: answer_bits(input, config); break;
    case ABS_INFO:
        if (tablet && config->subsel <= ABS_Y) {
            const uint32_t info[5] = {0, PV_INPUT_AXIS_MAX}; /* min, max, fuzz, flat, resolution */
            config->size = sizeof(info);
            memcpy(config->data, info, sizeof(info));
        }
        break;
    default: break;
    }
}

static void config_read(struct pv_virtio_device *dev, size_t offset, void *buf, size_t size)
{
    memcpy(buf, (const char *)&((struct input *)dev)->config + offset, size);
}

static void config_write(struct pv_virtio_device *dev, size_t offset, const void *buf, size_t size)
{
    struct input *input = (struct input *)dev;
    const size_t writable = offsetof(struct input_config, size);
    if (offset >= writable)
        return;
    memcpy((char *)&input->config + offset, buf, PV_MIN(size, writable - offset));
    answer(input, &input->config);
}

/* ---- Events ---- */

static struct wire_event *backlog_at(struct input *input, unsigned index)
{
    return &input->backlog[index % BACKLOG];
}

/* How many events the oldest group has, the report that ends it included. */
static unsigned first_group(struct input *input)
{
    unsigned count = 1;
    while (backlog_at(input, input->backlog_head + count - 1)->type != PV_EV_SYN)
        count++;
    return count;
}

/* Gives the driver the groups that there are buffers for. With the device locked. */
static void send_backlog(struct input *input)
{
    struct pv_virtq *queue = pv_virtio_queue(&input->base, EVENT_QUEUE);
    bool any = false;
    while (input->backlog_head != input->backlog_tail) {
        const unsigned count = first_group(input);
        while (input->held_count < count &&
               pv_virtq_pop(queue, &input->held[input->held_count]) == 1)
            input->held_count++;
        if (input->held_count < count)
            break;
        for (unsigned i = 0; i < count; i++) {
            struct pv_virtq_chain *chain = &input->held[i];
            const struct wire_event *event = backlog_at(input, input->backlog_head + i);
            pv_virtq_push(queue, chain, pv_virtq_write(chain, 0, event, sizeof(*event)));
        }
        input->held_count -= count;
        memmove(input->held, input->held + count, input->held_count * sizeof(input->held[0]));
        input->backlog_head += count;
        any = true;
    }
    if (any)
        pv_virtq_notify(queue);
}

bool pv_input_send(struct pv_virtio_device *dev, const struct pv_input_event *events,
                   unsigned count)
{
    struct input *input = (struct input *)dev;
    struct pv_virtq *queue = pv_virtio_queue(dev, EVENT_QUEUE);
    if (!count || count > PV_INPUT_MAX_EVENTS)
        return false;
    pv_virtio_lock(dev);
    const unsigned left = BACKLOG - (input->backlog_tail - input->backlog_head);
    bool room = left > count && pv_virtq_running(queue);
    if (room) {
        for (unsigned i = 0; i < count; i++)
            *backlog_at(input, input->backlog_tail++) =
                (struct wire_event){events[i].type, events[i].code, (uint32_t)events[i].value};
        *backlog_at(input, input->backlog_tail++) = (struct wire_event){PV_EV_SYN, SYN_REPORT, 0};
        send_backlog(input);
    }
    pv_virtio_unlock(dev);
    return room;
}

static void status(struct input *input, const struct pv_virtq_chain *chain)
{
    struct wire_event event;
    if (pv_virtq_read(chain, 0, &event, sizeof(event)) < sizeof(event) || event.type != PV_EV_LED ||
        event.code > LED_SCROLLL || input->kind != PV_INPUT_KEYBOARD)
        return;
    unsigned bit = 1u << event.code, lit = event.value ? input->lit | bit : input->lit & ~bit;
    if (lit != input->lit && input->leds)
        input->leds(input->opaque, lit);
    input->lit = lit;
}

static void queue_ready(struct pv_virtio_device *dev, unsigned index)
{
    struct pv_virtq *queue = pv_virtio_queue(dev, index);
    struct pv_virtq_chain chain;
    unsigned budget = PV_VIRTQ_BUDGET;
    if (index == EVENT_QUEUE) {
        send_backlog((struct input *)dev);
        return;
    }
    while (budget && pv_virtq_pop(queue, &chain) == 1) {
        status((struct input *)dev, &chain);
        pv_virtq_push(queue, &chain, 0);
        budget--;
    }
    pv_virtq_notify(queue);
    if (!budget)
        pv_virtq_reschedule(queue);
}

/* ---- Life ---- */

static void drop_events(struct input *input)
{
    for (unsigned i = 0; i < input->held_count; i++)
        pv_virtq_chain_finish(&input->held[i]);
    input->held_count = 0;
    input->backlog_head = input->backlog_tail;
}

static void queue_reset(struct pv_virtio_device *dev, unsigned queue)
{
    if (queue == EVENT_QUEUE)
        drop_events((struct input *)dev);
}

static void reset(struct pv_virtio_device *dev)
{
    struct input *input = (struct input *)dev;
    drop_events(input);
    input->config = (struct input_config){0};
    input->lit = 0;
}

static void record(struct pv_virtio_device *dev, struct pv_record *record)
{
    struct input *input = (struct input *)dev;
    pv_record_same(record, input->kind, "the kind of device");
    pv_record_u8(record, &input->config.select);
    pv_record_u8(record, &input->config.subsel);
    pv_record_u32(record, &input->lit);
    if (pv_record_loading(record))
        answer(input, &input->config);
}

static void destroy(struct pv_virtio_device *dev)
{
    free(dev);
}

static const struct pv_virtio_device_ops input_ops = {
    .name = "input",
    .id = PV_VIRTIO_ID_INPUT,
    .config_size = sizeof(struct input_config),
    .config_read = config_read,
    .config_write = config_write,
    .reset = reset,
    .queue_reset = queue_reset,
    .queue_ready = queue_ready,
    .record = record,
    .destroy = destroy,
};

int pv_input_create(struct pv_virtio_device **out, struct pv_loop *loop,
                    struct pv_address_space *as, enum pv_input_kind kind,
                    void (*leds)(void *opaque, unsigned lit), void *opaque, struct pv_error **err)
{
    int ret = pv_virtio_device_create(out, sizeof(struct input), &input_ops, loop, as, 0,
                                      QUEUE_COUNT, QUEUE_SIZE, err);
    if (ret < 0)
        return ret;
    struct input *input = (struct input *)*out;
    input->kind = kind;
    input->leds = leds;
    input->opaque = opaque;
    return 0;
}
