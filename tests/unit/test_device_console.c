/* SPDX-License-Identifier: MIT */
/* The console, with one port and with several, driven through its rings. */
#include "virtio_driver.h"

#include "device/console.h"
#include "host/chardev.h"

#include <errno.h>

/* ---- A chardev of our own ---- */

struct pv_chardev {
    struct pv_chardev_client client;
    char output[256];
    size_t output_len;
    unsigned can_accept;
};

void pv_chardev_set_client(struct pv_chardev *chardev, const struct pv_chardev_client *client)
{
    chardev->client = *client;
}

void pv_chardev_write(struct pv_chardev *chardev, const void *data, size_t len)
{
    assert_true(chardev->output_len + len < sizeof(chardev->output));
    memcpy(chardev->output + chardev->output_len, data, len);
    chardev->output_len += len;
}

void pv_chardev_can_accept(struct pv_chardev *chardev)
{
    chardev->can_accept++;
}

static void console_setup(struct driver *d, struct pv_chardev *chardev)
{
    *chardev = (struct pv_chardev){0};
    driver_setup(d);
    struct pv_virtio_device *dev;
    assert_int_equal(pv_vconsole_create(&dev, d->loop, d->as, chardev, NULL), 0);
    attach(d, dev);
}

static size_t type_text(struct pv_chardev *chardev, const char *text)
{
    return chardev->client.receive(chardev->client.opaque, text, strlen(text));
}

static void test_console(void **state)
{
    struct driver d;
    struct pv_chardev chardev;
    console_setup(&d, &chardev);
    assert_int_equal(type_text(&chardev, "early"), 0);
    bring_up(&d, VERSION_1 | 1);
    assert_true(chardev.can_accept >= 1);

    assert_int_equal(pv_as_write(d.as, DATA, "login: ", 7), 0);
    put_desc(&d, 1, 0, DATA, 3, DESC_NEXT, 1);
    put_desc(&d, 1, 1, DATA + 3, 4, 0, 0);
    offer(&d, 1, 0);
    kick(&d, 1);
    assert_string_equal(chardev.output, "login: ");

    put_desc(&d, 0, 0, DATA + 0x100, 4, DESC_WRITE, 0);
    offer(&d, 0, 0);
    assert_int_equal(type_text(&chardev, "root\n"), 4);
    assert_int_equal(used_len(&d, 0, 0), 4);
    unsigned before = chardev.can_accept;
    put_desc(&d, 0, 1, DATA + 0x200, 64, DESC_WRITE, 0);
    offer(&d, 0, 1);
    kick(&d, 0);
    assert_int_equal(chardev.can_accept, before + 1);
    assert_int_equal(type_text(&chardev, "\n"), 1);

    chardev.client.resized(chardev.client.opaque, 132, 50);
    assert_int_equal(d.config_interrupts, 1);
    assert_int_equal(pv_virtio_config_read(d.dev, 0, 4), 50 << 16 | 132);
    driver_teardown(&d);
    assert_int_equal(type_text(&chardev, "gone"), 4); /* whoever still types talks to nobody */
}

static void test_console_absurd_write(void **state)
{
    struct driver d;
    struct pv_chardev chardev;
    console_setup(&d, &chardev);
    bring_up(&d, VERSION_1);
    put_desc(&d, 1, 0, RAM_BASE, RAM_SIZE, 0, 0);
    offer(&d, 1, 0);
    kick(&d, 1);
    assert_true(failed(&d));
    assert_int_equal(chardev.output_len, 0);
    driver_teardown(&d);
}

/* ---- Several ports ---- */

#define MULTIPORT (UINT64_C(1) << 1)

enum { CONTROL_RX = 2, CONTROL_TX = 3 };
enum {
    DEVICE_READY,
    PORT_ADD,
    PORT_REMOVE,
    PORT_READY,
    CONSOLE_PORT,
    RESIZE,
    PORT_OPEN,
    PORT_NAME
};

#define CONTROL(i) (DATA + 0x8000 + (i)*UINT64_C(0x100))

struct ports {
    struct driver d;
    struct pv_chardev chardevs[3];
    unsigned seen;
};

static void ports_setup(struct ports *p)
{
    const struct pv_vconsole_port ports[] = {
        {.chardev = &p->chardevs[0], .console = true},
        {.chardev = &p->chardevs[1], .name = "org.test"},
        {.chardev = &p->chardevs[2]},
    };
    struct pv_virtio_device *dev;
    memset(p->chardevs, 0, sizeof(p->chardevs));
    driver_setup(&p->d);
    assert_int_equal(pv_vconsole_create_ports(&dev, p->d.loop, p->d.as, ports, 3, NULL), 0);
    attach(&p->d, dev);
    assert_int_equal(dev->queue_count, 8);
    assert_int_equal(pv_virtio_config_read(dev, 4, 4), 3);
}

static void offer_control(struct ports *p, unsigned i)
{
    put_desc(&p->d, CONTROL_RX, i, CONTROL(i), 64, DESC_WRITE, 0);
    offer(&p->d, CONTROL_RX, (uint16_t)i);
}

static void ports_start(struct ports *p)
{
    bring_up(&p->d, VERSION_1 | MULTIPORT);
    p->seen = 0;
    for (unsigned i = 0; i < 8; i++)
        offer_control(p, i);
}

static void say(struct ports *p, uint32_t id, uint16_t event, uint16_t value)
{
    const struct {
        uint32_t id;
        uint16_t event, value;
    } control = {id, event, value};
    assert_int_equal(pv_as_write(p->d.as, DATA, &control, sizeof(control)), 0);
    put_desc(&p->d, CONTROL_TX, 0, DATA, sizeof(control), 0, 0);
    offer(&p->d, CONTROL_TX, 0);
    kick(&p->d, CONTROL_TX);
}

/* The next message to the driver; where it lies, for what is behind its header. */
static uint64_t told(struct ports *p, uint32_t id, uint16_t event, uint32_t extra)
{
    driver_run(&p->d);
    assert_int_not_equal(used_index(&p->d, CONTROL_RX), p->seen);
    unsigned buffer = used_id(&p->d, CONTROL_RX, p->seen);
    assert_int_equal(load32(&p->d, CONTROL(buffer)), id);
    assert_int_equal(load16(&p->d, CONTROL(buffer) + 4), event);
    assert_int_equal(used_len(&p->d, CONTROL_RX, p->seen), 8 + extra);
    p->seen++;
    offer_control(p, buffer);
    return CONTROL(buffer) + 8;
}

static void test_ports(void **state)
{
    struct ports p;
    char name[8];
    ports_setup(&p);
    ports_start(&p);
    p.chardevs[0].client.resized(p.chardevs[0].client.opaque, 80, 25);
    say(&p, 0, DEVICE_READY, 1);
    for (uint32_t id = 0; id < 3; id++)
        told(&p, id, PORT_ADD, 0);
    say(&p, 0, PORT_READY, 1);
    told(&p, 0, CONSOLE_PORT, 0);
    uint64_t size = told(&p, 0, RESIZE, 4);
    assert_int_equal(load32(&p.d, size), 25 << 16 | 80);
    told(&p, 0, PORT_OPEN, 0);
    say(&p, 1, PORT_READY, 1);
    told(&p, 1, PORT_OPEN, 0);
    uint64_t at = told(&p, 1, PORT_NAME, 8);
    assert_int_equal(pv_as_read(p.d.as, at, name, 8), 0);
    assert_memory_equal(name, "org.test", 8);
    say(&p, 2, PORT_READY, 1);
    told(&p, 2, PORT_OPEN, 0);
    say(&p, 99, PORT_READY, 1); /* no such port */
    say(&p, 2, 77, 1);
    assert_int_equal(used_index(&p.d, CONTROL_RX), p.seen);

    /* Bytes wait until somebody in the guest opens the port. */
    put_desc(&p.d, 4, 0, DATA + 0x1000, 64, DESC_WRITE, 0);
    offer(&p.d, 4, 0);
    assert_int_equal(type_text(&p.chardevs[1], "hello"), 0);
    unsigned before = p.chardevs[1].can_accept;
    say(&p, 1, PORT_OPEN, 1);
    assert_int_equal(p.chardevs[1].can_accept, before + 1);
    assert_int_equal(type_text(&p.chardevs[1], "hello"), 5);
    assert_int_equal(used_len(&p.d, 4, 0), 5);
    say(&p, 1, PORT_OPEN, 0);
    assert_int_equal(type_text(&p.chardevs[1], "anybody?"), 0);

    assert_int_equal(pv_as_write(p.d.as, DATA + 0x2000, "from port 2", 11), 0);
    put_desc(&p.d, 7, 0, DATA + 0x2000, 11, 0, 0);
    offer(&p.d, 7, 0);
    kick(&p.d, 7);
    assert_string_equal(p.chardevs[2].output, "from port 2");
    assert_int_equal(p.chardevs[1].output_len, 0);

    /* The terminal changes while the console is open. */
    say(&p, 0, PORT_OPEN, 1);
    p.chardevs[0].client.resized(p.chardevs[0].client.opaque, 132, 50);
    size = told(&p, 0, RESIZE, 4);
    assert_int_equal(load32(&p.d, size), 50 << 16 | 132);
    assert_false(failed(&p.d));
    driver_teardown(&p.d);
}

/* What is to be told waits for buffers, and does not pile up. */
static void test_ports_without_buffers(void **state)
{
    struct ports p;
    ports_setup(&p);
    bring_up(&p.d, VERSION_1 | MULTIPORT);
    p.seen = 0;
    for (unsigned i = 0; i < 100; i++) {
        say(&p, 0, DEVICE_READY, 1);
        say(&p, 1, PORT_READY, 1);
    }
    for (unsigned i = 0; i < 8; i++)
        offer_control(&p, i);
    kick(&p.d, CONTROL_RX);
    told(&p, 0, PORT_ADD, 0);
    told(&p, 1, PORT_ADD, 0);
    told(&p, 1, PORT_OPEN, 0);
    told(&p, 1, PORT_NAME, 8);
    told(&p, 2, PORT_ADD, 0);
    assert_int_equal(used_index(&p.d, CONTROL_RX), p.seen);
    driver_teardown(&p.d);
}

/* A driver that knows of one port only has that. */
static void test_ports_not_negotiated(void **state)
{
    struct ports p;
    ports_setup(&p);
    bring_up(&p.d, VERSION_1);
    for (unsigned i = 0; i < 8; i++)
        offer_control(&p, i);
    say(&p, 0, DEVICE_READY, 1);
    assert_int_equal(used_index(&p.d, CONTROL_RX), 0);
    put_desc(&p.d, 0, 0, DATA + 0x1000, 64, DESC_WRITE, 0);
    offer(&p.d, 0, 0);
    assert_int_equal(type_text(&p.chardevs[0], "x"), 1);
    driver_teardown(&p.d);
}

static void test_bad_ports(void **state)
{
    struct pv_chardev chardev = {0};
    struct pv_virtio_device *dev;
    char name[80];
    struct pv_vconsole_port port = {.chardev = &chardev, .name = name};
    struct driver d;
    memset(name, 'n', sizeof(name));
    name[sizeof(name) - 1] = '\0';
    driver_setup(&d);
    assert_int_equal(pv_vconsole_create_ports(&dev, d.loop, d.as, &port, 1, NULL), -EINVAL);
    assert_int_equal(pv_vconsole_create_ports(&dev, d.loop, d.as, &port, 0, NULL), -EINVAL);
    driver_teardown(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_RINGS(test_console),
        BOTH_RINGS(test_console_absurd_write),
        BOTH_RINGS(test_ports),
        BOTH_RINGS(test_ports_without_buffers),
        BOTH_RINGS(test_ports_not_negotiated),
        SPLIT_RINGS(test_bad_ports),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
