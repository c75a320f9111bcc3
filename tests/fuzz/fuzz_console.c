/* SPDX-License-Identifier: MIT */
/*
 * virtio-console: one port without control queues, or three with them: two consoles and a byte
 * stream. Each is one end of a socket pair; at the other somebody types, reads, or has left, and
 * the terminal changes its size.
 */
#include "device/console.h"
#include "fuzz_device.h"
#include "host/chardev_impl.h"

#include <sys/socket.h>

#define PORTS      3u
#define OUTPUT_MAX 8192u

struct end {
    struct pv_chardev *chardev;
    int fd, guest_fd;
};

static void end_setup(struct fuzz_device *f, struct end *end)
{
    static const struct pv_chardev_ops ops = {.hangup = pv_chardev_disconnect};
    int fds[2];
    FUZZ_REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fds) == 0);
    end->fd = fds[0];
    end->guest_fd = fds[1];
    end->chardev = calloc(1, sizeof(*end->chardev));
    FUZZ_REQUIRE(end->chardev);
    FUZZ_REQUIRE(pv_chardev_init(end->chardev, &ops, f->loop, OUTPUT_MAX, NULL) == 0);
    FUZZ_REQUIRE(pv_chardev_connect(end->chardev, fds[1], fds[1], NULL) == 0);
}

static void end_teardown(struct end *end)
{
    pv_chardev_destroy(end->chardev);
    close(end->guest_fd);
    if (end->fd >= 0)
        close(end->fd);
}

static void host_step(struct fuzz_device *f, struct end *end)
{
    unsigned what = (unsigned)fuzz_take(&f->input, 1), size;
    const struct pv_chardev_client *client = &end->chardev->client;
    char data[256];
    switch (what & 7) {
    case 0:
    case 1:
    case 2:
        if (end->fd >= 0)
            send(end->fd, f->input.data, PV_MIN(f->input.size, (size_t)what),
                 MSG_NOSIGNAL | MSG_DONTWAIT);
        break;
    case 3:
        while (end->fd >= 0 && read(end->fd, data, sizeof(data)) > 0) {
        }
        break;
    case 4:
        size = (unsigned)fuzz_take(&f->input, 4);
        client->resized(client->opaque, size >> (what >> 3), size & 0xff);
        break;
    case 5:
        if (what == 0xfd && end->fd >= 0) {
            close(end->fd);
            end->fd = -1;
        }
        break;
    default: fuzz_device_run(f); break;
    }
}

/* A message of the control queue, where descriptors point first. */
static void put_control(struct fuzz_device *f)
{
    unsigned what = (unsigned)fuzz_take(&f->input, 1);
    const struct {
        uint32_t id;
        uint16_t event, value;
    } control = {what & 3, what >> 2 & 7, what >> 5 & 1};
    FUZZ_REQUIRE(pv_as_write(f->as, FUZZ_DATA, &control, sizeof(control)) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_device f;
    struct end ends[PORTS];
    struct pv_vconsole_port ports[PORTS] = {
        {.name = "one", .console = true}, {.name = "two", .console = true}, {.name = "three"}};
    fuzz_device_setup(&f, data, size);
    unsigned count = fuzz_take(&f.input, 1) & 1 ? 1 : PORTS;
    for (unsigned i = 0; i < count; i++) {
        end_setup(&f, &ends[i]);
        ports[i].chardev = ends[i].chardev;
    }
    if (count == 1)
        FUZZ_REQUIRE(pv_vconsole_create(&f.dev, f.loop, f.as, ends[0].chardev, NULL) == 0);
    else
        FUZZ_REQUIRE(pv_vconsole_create_ports(&f.dev, f.loop, f.as, ports, count, NULL) == 0);
    fuzz_device_start(&f);
    while (f.input.size) {
        unsigned what = (unsigned)fuzz_take(&f.input, 1);
        if (what % 4 == 0)
            host_step(&f, &ends[what / 4 % count]);
        else if (what % 4 == 1)
            put_control(&f);
        else
            fuzz_device_step(&f);
    }
    pv_virtio_device_destroy(PV_STEAL(f.dev));
    for (unsigned i = 0; i < count; i++)
        end_teardown(&ends[i]);
    fuzz_device_teardown(&f);
    return 0;
}
