/* SPDX-License-Identifier: MIT */
/* The device models, driven through their rings. */
#include "virtio_driver.h"

#include "block/block.h"
#include "device/blk.h"
#include "device/net.h"
#include "device/rng.h"
#include "net/netdev.h"

#include <errno.h>

/* ---- blk ---- */

#define SECTORS 64u

struct blk_fixture {
    struct driver d;
    char path[64];
};

static void blk_setup_queues(struct blk_fixture *f, uint64_t size, bool read_only, unsigned queues)
{
    driver_setup(&f->d);
    strcpy(f->path, "/tmp/pv-test-device-XXXXXX");
    int fd = mkstemp(f->path);
    assert_true(fd >= 0);
    assert_int_equal(ftruncate(fd, (off_t)size), 0);
    close(fd);
    const struct pv_block_options options = {.read_only = read_only};
    const struct pv_blk_options blk_options = {.serial = "serial-number", .queues = queues};
    struct pv_block *block;
    struct pv_virtio_device *dev;
    assert_int_equal(pv_block_open(&block, f->d.loop, f->path, &options, NULL), 0);
    assert_int_equal(pv_blk_create(&dev, f->d.loop, f->d.as, block, &blk_options, NULL), 0);
    attach(&f->d, dev);
}

static void blk_setup(struct blk_fixture *f, uint64_t size, bool read_only)
{
    blk_setup_queues(f, size, read_only, 1);
}

static void blk_teardown(struct blk_fixture *f)
{
    driver_teardown(&f->d);
    unlink(f->path);
}

#define HEADER DATA
#define STATUS (DATA + 0x100)
#define BUFFER (DATA + 0x1000)

static void blk_offer(struct driver *d, uint32_t type, uint64_t sector, uint32_t len, bool in)
{
    const struct {
        uint32_t type, reserved;
        uint64_t sector;
    } header = {type, 0, sector};
    assert_int_equal(pv_as_write(d->as, HEADER, &header, sizeof(header)), 0);
    assert_int_equal(pv_as_fill(d->as, STATUS, 0xff, 1), 0);
    put_desc(d, 0, 0, HEADER, 16, DESC_NEXT, len ? 1 : 2);
    put_desc(d, 0, 1, BUFFER, len, in ? DESC_NEXT | DESC_WRITE : DESC_NEXT, 2);
    put_desc(d, 0, 2, STATUS, 1, DESC_WRITE, 0);
    offer(d, 0, 0);
}

static unsigned blk_run(struct driver *d, uint32_t type, uint64_t sector, uint32_t len, bool in)
{
    blk_offer(d, type, sector, len, in);
    kick(d, 0);
    wait_used(d, 0);
    uint8_t status;
    assert_int_equal(pv_as_read(d->as, STATUS, &status, 1), 0);
    return status;
}

/* All, but for the event index: the tests count interrupts. */
#define BLK_FEATURES(d) ((d)->dev->offered_features & ~EVENT_IDX)

static void test_blk(void **state)
{
    struct blk_fixture f;
    blk_setup(&f, SECTORS * 512, false);
    struct driver *d = &f.d;
    bring_up(d, BLK_FEATURES(d));
    pv_virtio_lock(d->dev);
    assert_int_equal(pv_virtio_config_read(d->dev, 0, 8), SECTORS);
    assert_int_equal(pv_virtio_config_read(d->dev, 12, 4), 254);
    assert_int_equal(pv_virtio_config_read(d->dev, 20, 4), 512);
    pv_virtio_unlock(d->dev);

    char pattern[1024], got[1024];
    memset(pattern, 'x', sizeof(pattern));
    assert_int_equal(pv_as_write(d->as, BUFFER, pattern, sizeof(pattern)), 0);
    assert_int_equal(blk_run(d, 1, 3, 1024, false), 0);
    assert_int_equal(used_len(d, 0, 0), 1);
    assert_int_equal(blk_run(d, 4, 0, 0, false), 0);
    assert_int_equal(pv_as_fill(d->as, BUFFER, 0, 1024), 0);
    assert_int_equal(blk_run(d, 0, 3, 1024, true), 0);
    assert_int_equal(used_len(d, 0, 2), 1025);
    assert_int_equal(pv_as_read(d->as, BUFFER, got, sizeof(got)), 0);
    assert_memory_equal(got, pattern, sizeof(got));

    assert_int_equal(blk_run(d, 8, 0, 20, true), 0);
    assert_int_equal(pv_as_read(d->as, BUFFER, got, 20), 0);
    assert_string_equal(got, "serial-number");
    assert_int_equal(d->interrupts[0], 4);
    blk_teardown(&f);
}

static void test_blk_ranges(void **state)
{
    struct blk_fixture f;
    blk_setup(&f, SECTORS * 512 + 100, false);
    struct driver *d = &f.d;
    assert_int_equal(d->log_lines, 1); /* the odd tail */
    bring_up(d, BLK_FEATURES(d));
    assert_int_equal(blk_run(d, 0, SECTORS - 1, 512, true), 0);
    assert_int_equal(blk_run(d, 0, SECTORS, 512, true), 1);
    assert_int_equal(blk_run(d, 0, SECTORS - 1, 1024, true), 1);
    assert_int_equal(blk_run(d, 0, UINT64_MAX / 512, 1024, true), 1);
    assert_int_equal(blk_run(d, 0, UINT64_C(1) << 55, 512, true), 1);
    assert_int_equal(blk_run(d, 0, 0, 511, true), 1);
    assert_int_equal(blk_run(d, 1, SECTORS, 512, false), 1);
    assert_int_equal(blk_run(d, 99, 0, 512, true), 2);
    assert_false(failed(d));
    blk_teardown(&f);
}

static void blk_range(struct driver *d, uint64_t sector, uint32_t count, uint32_t flags)
{
    const struct {
        uint64_t sector;
        uint32_t count, flags;
    } range = {sector, count, flags};
    assert_int_equal(pv_as_write(d->as, BUFFER, &range, sizeof(range)), 0);
}

static void test_blk_discard_and_zeroes(void **state)
{
    struct blk_fixture f;
    blk_setup(&f, SECTORS * 512, false);
    struct driver *d = &f.d;
    bring_up(d, BLK_FEATURES(d));
    assert_int_equal(pv_as_fill(d->as, BUFFER, 0x55, 4096), 0);
    assert_int_equal(blk_run(d, 1, 0, 4096, false), 0);
    blk_range(d, 1, 2, 1);
    assert_int_equal(blk_run(d, 13, 0, 16, false), 0);
    assert_int_equal(blk_run(d, 0, 0, 2048, true), 0);
    for (unsigned sector = 0; sector < 4; sector++)
        assert_int_equal(load32(d, BUFFER + 512 * sector),
                         sector == 1 || sector == 2 ? 0 : 0x55555555);
    blk_range(d, 0, SECTORS, 0);
    assert_int_equal(blk_run(d, 11, 0, 16, false), 0);
    blk_range(d, 0, SECTORS + 1, 0);
    assert_int_equal(blk_run(d, 11, 0, 16, false), 1);
    blk_range(d, UINT64_MAX, 2, 0);
    assert_int_equal(blk_run(d, 13, 0, 16, false), 1);
    blk_range(d, 0, 1, 1); /* unmap means nothing to a discard */
    assert_int_equal(blk_run(d, 11, 0, 16, false), 2);
    blk_range(d, 0, 1, 0x80);
    assert_int_equal(blk_run(d, 13, 0, 16, false), 2);
    assert_int_equal(blk_run(d, 13, 0, 15, false), 2);
    assert_int_equal(blk_run(d, 13, 0, 32, false), 2); /* one range at a time */
    blk_teardown(&f);
}

static void test_blk_read_only(void **state)
{
    struct blk_fixture f;
    blk_setup(&f, SECTORS * 512, true);
    struct driver *d = &f.d;
    assert_true(d->dev->offered_features >> 5 & 1);
    bring_up(d, BLK_FEATURES(d));
    assert_int_equal(blk_run(d, 0, 0, 512, true), 0);
    assert_int_equal(blk_run(d, 1, 0, 512, false), 1);
    blk_range(d, 0, 1, 0);
    assert_int_equal(blk_run(d, 11, 0, 16, false), 1);
    blk_teardown(&f);
}

static void test_blk_odd_framing(void **state)
{
    struct blk_fixture f;
    blk_setup(&f, SECTORS * 512, false);
    struct driver *d = &f.d;
    bring_up(d, BLK_FEATURES(d));
    /* The header in two pieces, the second with data; status at the end of the data buffer. */
    const uint32_t header[4] = {1, 0, 5, 0};
    assert_int_equal(pv_as_write(d->as, HEADER, header, 16), 0);
    assert_int_equal(pv_as_fill(d->as, HEADER + 16, 0x77, 512), 0);
    put_desc(d, 0, 0, HEADER, 6, DESC_NEXT, 1);
    put_desc(d, 0, 1, HEADER + 6, 10 + 512, DESC_NEXT, 2);
    put_desc(d, 0, 2, STATUS + 0x400, 1, DESC_WRITE, 0);
    offer(d, 0, 0);
    kick(d, 0);
    wait_used(d, 0);

    const uint32_t read[4] = {0, 0, 5, 0};
    assert_int_equal(pv_as_write(d->as, HEADER, read, 16), 0);
    put_desc(d, 0, 0, HEADER, 16, DESC_NEXT, 1);
    put_desc(d, 0, 1, BUFFER, 513, DESC_WRITE, 0);
    assert_int_equal(pv_as_fill(d->as, BUFFER, 0xff, 513), 0);
    offer(d, 0, 0);
    kick(d, 0);
    wait_used(d, 0);
    assert_int_equal(load32(d, BUFFER + 508), 0x77777777);
    assert_int_equal(load16(d, BUFFER + 512) & 0xff, 0);
    assert_false(failed(d));
    blk_teardown(&f);
}

static void test_blk_malformed(void **state)
{
    struct blk_fixture f;
    blk_setup(&f, SECTORS * 512, false);
    struct driver *d = &f.d;
    bring_up(d, BLK_FEATURES(d));
    put_desc(d, 0, 0, HEADER, 16, 0, 0); /* no status */
    offer(d, 0, 0);
    kick(d, 0);
    assert_true(failed(d));
    bring_up(d, BLK_FEATURES(d));
    put_desc(d, 0, 0, HEADER, 15, DESC_NEXT, 1); /* short header */
    put_desc(d, 0, 1, STATUS, 1, DESC_WRITE, 0);
    offer(d, 0, 0);
    kick(d, 0);
    assert_true(failed(d));
    blk_teardown(&f);
}

static void test_blk_reset_in_flight(void **state)
{
    struct blk_fixture f;
    blk_setup(&f, SECTORS * 512, false);
    struct driver *d = &f.d;
    for (unsigned round = 0; round < 20; round++) {
        bring_up(d, BLK_FEATURES(d));
        for (unsigned i = 0; i < 5; i++)
            blk_offer(d, i % 2, i, 512, i % 2 == 0);
        pv_virtio_lock(d->dev);
        d->dev->ops->queue_ready(d->dev, 0);
        pv_virtio_unlock(d->dev);
        set_status(d, 0);
        /* After a reset nothing writes to guest memory any more. */
        assert_int_equal(pv_as_fill(d->as, BUFFER, 0xee, 512), 0);
        driver_run(d);
        assert_int_equal(load32(d, BUFFER), 0xeeeeeeee);
        assert_int_equal(used_index(d, 0), 0);
    }
    /* Requests on their way when the device is destroyed. */
    bring_up(d, BLK_FEATURES(d));
    blk_offer(d, 0, 0, 512, true);
    pv_virtio_lock(d->dev);
    d->dev->ops->queue_ready(d->dev, 0);
    pv_virtio_unlock(d->dev);
    blk_teardown(&f);
}

/* A ring that starts anew is rid of its requests; the other queue's go on. */
static void test_blk_queues(void **state)
{
    struct blk_fixture f;
    blk_setup_queues(&f, SECTORS * 512, false, 2);
    struct driver *d = &f.d;
    bring_up(d, BLK_FEATURES(d));
    assert_int_equal(pv_virtio_config_read(d->dev, 34, 2), 2);
    for (unsigned round = 0; round < 20; round++) {
        pv_virtio_lock(d->dev);
        for (unsigned queue = 0; queue < 2; queue++) {
            const uint64_t at = DATA + 0x4000 * (queue + 1);
            const uint32_t header[4] = {0, 0, round, 0};
            assert_int_equal(pv_as_write(d->as, at, header, sizeof(header)), 0);
            put_desc(d, queue, 0, at, 16, DESC_NEXT, 1);
            put_desc(d, queue, 1, at + 0x1000, 513, DESC_WRITE, 0);
            offer(d, queue, 0);
            d->dev->ops->queue_ready(d->dev, queue);
        }
        pv_virtio_queue_reset(d->dev, 1);
        assert_int_equal(pv_as_fill(d->as, DATA + 0x9000, 0xee, 513), 0);
        pv_virtio_unlock(d->dev);
        wait_used(d, 0);
        assert_int_equal(d->interrupts[0], round + 1);
        driver_run(d);
        assert_int_equal(load32(d, DATA + 0x9000), 0xeeeeeeee);
        enable_queue(d, 1);
        assert_int_equal(used_index(d, 1), 0);
    }
    assert_int_equal(d->interrupts[1], 0);
    assert_false(failed(d));
    blk_teardown(&f);
}

/* A vCPU's thread that starts, uses and resets the disk while the loop serves it. */
static void *vcpu(void *opaque)
{
    struct driver *d = opaque;
    const uint64_t avail = ring_address(0, PV_VIRTQ_DRIVER),
                   used = ring_address(0, PV_VIRTQ_DEVICE);
    uint16_t *avail_index = pv_as_host(d->as, avail + 2, 2, true);
    const uint16_t *used_now = pv_as_host(d->as, used + 2, 2, false);
    for (unsigned round = 0; round < 60; round++) {
        negotiate(d, BLK_FEATURES(d));
        enable_queue(d, 0);
        set_status(d, PV_VIRTIO_STATUS_DRIVER_OK);
        for (uint16_t i = 0; i < 5; i++) {
            const uint64_t at = DATA + i * 0x1000;
            const uint32_t header[4] = {i % 2, 0, i, 0};
            assert_int_equal(pv_as_write(d->as, at, header, sizeof(header)), 0);
            put_desc(d, 0, 3 * i, at, 16, DESC_NEXT, (uint16_t)(3 * i + 1));
            put_desc(d, 0, 3 * i + 1, at + 0x200, 512, DESC_NEXT | (i % 2 ? 0 : DESC_WRITE),
                     (uint16_t)(3 * i + 2));
            put_desc(d, 0, 3 * i + 2, at + 0x100, 1, DESC_WRITE, 0);
            store16(d, avail + 4 + 2 * i, (uint16_t)(3 * i));
            __atomic_store_n(avail_index, (uint16_t)(i + 1), __ATOMIC_RELEASE);
            pv_virtio_queue_notify(d->dev, 0);
        }
        /* Every other round is cut short. */
        for (unsigned n = 0; round % 2 && __atomic_load_n(used_now, __ATOMIC_ACQUIRE) < 5; n++) {
            assert_true(n < 20000);
            usleep(100);
        }
    }
    pv_loop_stop(d->loop);
    return NULL;
}

static void test_blk_from_two_threads(void **state)
{
    struct blk_fixture f;
    blk_setup(&f, SECTORS * 512, false);
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, vcpu, &f.d), 0);
    assert_int_equal(pv_loop_run(f.d.loop, NULL), 0);
    pthread_join(thread, NULL);
    assert_false(failed(&f.d));
    assert_int_equal(used_index(&f.d, 0), 5);
    blk_teardown(&f);
}

static void test_blk_without_flush(void **state)
{
    struct blk_fixture f;
    blk_setup(&f, SECTORS * 512, false);
    struct driver *d = &f.d;
    bring_up(d, VERSION_1);
    assert_int_equal(pv_as_fill(d->as, BUFFER, 0x33, 512), 0);
    assert_int_equal(blk_run(d, 1, 0, 512, false), 0);
    assert_int_equal(blk_run(d, 0, 0, 512, true), 0);
    blk_teardown(&f);
}

/* ---- net ---- */

struct mock_netdev {
    struct pv_netdev base;
    unsigned sent, can_receive;
    size_t last_len;
    uint8_t last[2048];
};

static void mock_send(struct pv_netdev *dev, const struct iovec *iov, unsigned count, size_t len)
{
    struct mock_netdev *mock = (struct mock_netdev *)dev;
    size_t at = 0;
    for (unsigned i = 0; i < count; i++) {
        assert_true(at + iov[i].iov_len <= sizeof(mock->last));
        memcpy(mock->last + at, iov[i].iov_base, iov[i].iov_len);
        at += iov[i].iov_len;
    }
    assert_int_equal(at, len);
    mock->last_len = len;
    mock->sent++;
}

static void mock_can_receive(struct pv_netdev *dev)
{
    ((struct mock_netdev *)dev)->can_receive++;
}

static void mock_destroy(struct pv_netdev *dev)
{
    free(dev);
}

static const struct pv_netdev_ops mock_netdev_ops = {
    .name = "mock",
    .send = mock_send,
    .can_receive = mock_can_receive,
    .destroy = mock_destroy,
};

#define MRG_RXBUF (UINT64_C(1) << 15)

static struct mock_netdev *net_setup_pairs(struct driver *d, unsigned pairs)
{
    static const uint8_t mac[6] = {0x52, 0x54, 0, 0xab, 0xcd, 0xef};
    driver_setup(d);
    struct mock_netdev *mock = calloc(1, sizeof(*mock));
    mock->base.ops = &mock_netdev_ops;
    struct pv_virtio_device *dev;
    assert_int_equal(pv_net_create(&dev, d->loop, d->as, &mock->base, mac, pairs, NULL), 0);
    attach(d, dev);
    assert_int_equal(pv_virtio_config_read(dev, 0, 8), UINT64_C(0x1efcdab005452));
    assert_int_equal(pv_virtio_config_read(dev, 8, 2), pairs);
    return mock;
}

static struct mock_netdev *net_setup(struct driver *d)
{
    return net_setup_pairs(d, 1);
}

static bool to_guest(struct mock_netdev *mock, const void *frame, size_t len)
{
    return mock->base.client.receive(mock->base.client.opaque, frame, len);
}

static void test_net_transmit(void **state)
{
    struct driver d;
    struct mock_netdev *mock = net_setup(&d);
    bring_up(&d, VERSION_1);
    assert_int_equal(pv_as_fill(d.as, DATA, 0, 12), 0);
    assert_int_equal(pv_as_fill(d.as, DATA + 12, 0x42, 60), 0);
    put_desc(&d, 1, 0, DATA, 12, DESC_NEXT, 1);
    put_desc(&d, 1, 1, DATA + 12, 60, 0, 0);
    offer(&d, 1, 0);
    put_desc(&d, 1, 2, DATA, 72, 0, 0); /* in one piece */
    offer(&d, 1, 2);
    put_desc(&d, 1, 3, DATA, 20, 0, 0); /* shorter than an Ethernet header: dropped */
    offer(&d, 1, 3);
    put_desc(&d, 1, 4, DATA, 5, 0, 0);
    offer(&d, 1, 4);
    put_desc(&d, 1, 5, DATA, 0x20000, 0, 0); /* too long: dropped */
    offer(&d, 1, 5);
    kick(&d, 1);
    assert_int_equal(used_index(&d, 1), 5);
    assert_int_equal(mock->sent, 2);
    assert_int_equal(mock->last_len, 60);
    assert_int_equal(mock->last[59], 0x42);
    assert_false(failed(&d));
    driver_teardown(&d);
}

static void test_net_receive(void **state)
{
    struct driver d;
    struct mock_netdev *mock = net_setup(&d);
    uint8_t frame[100];
    for (size_t i = 0; i < sizeof(frame); i++)
        frame[i] = (uint8_t)i;
    assert_true(to_guest(mock, frame, sizeof(frame))); /* no driver: gone */
    bring_up(&d, VERSION_1);
    assert_false(to_guest(mock, frame, sizeof(frame)));
    put_desc(&d, 0, 0, DATA, 2048, DESC_WRITE, 0);
    offer(&d, 0, 0);
    kick(&d, 0);
    assert_int_equal(mock->can_receive, 1);
    assert_true(to_guest(mock, frame, 3)); /* a runt: dropped */
    assert_int_equal(used_index(&d, 0), 0);
    assert_true(to_guest(mock, frame, sizeof(frame)));
    assert_int_equal(used_index(&d, 0), 1);
    assert_int_equal(used_len(&d, 0, 0), 112);
    assert_int_equal(load16(&d, DATA + 10), 1);
    uint8_t got[100];
    assert_int_equal(pv_as_read(d.as, DATA + 12, got, sizeof(got)), 0);
    assert_memory_equal(got, frame, sizeof(got));
    assert_int_equal(d.interrupts[0], 1);
    driver_teardown(&d);
}

static void test_net_mergeable(void **state)
{
    struct driver d;
    struct mock_netdev *mock = net_setup(&d);
    bring_up(&d, VERSION_1 | MRG_RXBUF);
    uint8_t frame[1000], got[1012];
    for (size_t i = 0; i < sizeof(frame); i++)
        frame[i] = (uint8_t)(i * 3);
    for (unsigned i = 0; i < 3; i++) {
        put_desc(&d, 0, i, DATA + i * 0x1000, 300, DESC_WRITE, 0);
        offer(&d, 0, (uint16_t)i);
    }
    assert_false(to_guest(mock, frame, sizeof(frame))); /* 900 bytes of room */
    assert_int_equal(used_index(&d, 0), 0);
    put_desc(&d, 0, 3, DATA + 0x3000, 300, DESC_WRITE, 0);
    offer(&d, 0, 3);
    assert_true(to_guest(mock, frame, sizeof(frame)));
    assert_int_equal(used_index(&d, 0), 4);
    assert_int_equal(load16(&d, DATA + 10), 4);
    size_t at = 0;
    for (unsigned i = 0; i < 4; i++) {
        uint32_t len = used_len(&d, 0, i);
        assert_int_equal(len, i < 3 ? 300 : 112);
        assert_int_equal(pv_as_read(d.as, DATA + i * 0x1000, got + at, len), 0);
        at += len;
    }
    assert_memory_equal(got + 12, frame, sizeof(frame));

    /* Buffers that were held when the device is reset do not come back. */
    put_desc(&d, 0, 0, DATA, 300, DESC_WRITE, 0);
    offer(&d, 0, 0);
    assert_false(to_guest(mock, frame, sizeof(frame)));
    bring_up(&d, VERSION_1 | MRG_RXBUF);
    assert_false(to_guest(mock, frame, 60));
    assert_int_equal(used_index(&d, 0), 0);
    driver_teardown(&d);
}

static void test_net_tiny_buffers(void **state)
{
    struct driver d;
    struct mock_netdev *mock = net_setup(&d);
    uint8_t frame[200] = {0};
    bring_up(&d, VERSION_1);
    put_desc(&d, 0, 0, DATA, 20, DESC_WRITE, 0);
    offer(&d, 0, 0);
    assert_true(to_guest(mock, frame, sizeof(frame))); /* never fits: dropped */
    assert_int_equal(used_index(&d, 0), 0);

    /* Header split over buffers of a few bytes. */
    bring_up(&d, VERSION_1 | MRG_RXBUF);
    for (unsigned i = 0; i < 8; i++) {
        put_desc(&d, 0, i, DATA + i * 16, 5, DESC_WRITE, 0);
        offer(&d, 0, (uint16_t)i);
    }
    assert_true(to_guest(mock, frame, 20));
    assert_int_equal(used_index(&d, 0), 7);
    assert_int_equal(load16(&d, DATA + 2 * 16), 7); /* bytes 10 and 11 */
    driver_teardown(&d);
}

static void test_net_endless_transmit(void **state)
{
    struct driver d;
    struct mock_netdev *mock = net_setup(&d);
    bring_up(&d, VERSION_1);
    put_desc(&d, 1, 0, DATA, 72, 0, 0);
    for (unsigned i = 0; i < RING_SIZE; i++)
        offer(&d, 1, 0);
    kick(&d, 1);
    assert_int_equal(mock->sent, RING_SIZE);
    driver_teardown(&d);
}

#define CTRL_VQ       (UINT64_C(1) << 17)
#define CTRL_RX       (UINT64_C(1) << 18)
#define CTRL_RX_EXTRA (UINT64_C(1) << 20)
#define ANNOUNCE      (UINT64_C(1) << 21)
#define NET_MQ        (UINT64_C(1) << 22)
#define CTRL_MAC      (UINT64_C(1) << 23)
#define CTRL_ALL      (VERSION_1 | CTRL_VQ | CTRL_RX | CTRL_RX_EXTRA | ANNOUNCE | CTRL_MAC)

/* Sends a command of the control queue; returns its answer, or 0xff when there was none. */
static unsigned control(struct driver *d, unsigned queue, unsigned class, unsigned command,
                        const void *data, uint32_t len)
{
    const uint8_t header[2] = {(uint8_t) class, (uint8_t)command};
    uint8_t ack = 0xff;
    assert_int_equal(pv_as_write(d->as, DATA + 0x4000, header, 2), 0);
    assert_int_equal(pv_as_write(d->as, DATA + 0x4002, data, len), 0);
    assert_int_equal(pv_as_write(d->as, DATA + 0x5000, &ack, 1), 0);
    put_desc(d, queue, 0, DATA + 0x4000, 2 + len, DESC_NEXT, 1);
    put_desc(d, queue, 1, DATA + 0x5000, 1, DESC_WRITE, 0);
    offer(d, queue, 0);
    kick(d, queue);
    assert_int_equal(pv_as_read(d->as, DATA + 0x5000, &ack, 1), 0);
    return ack;
}

/* Whether a frame to this address gets through. */
static bool hears(struct driver *d, struct mock_netdev *mock, const uint8_t mac[6])
{
    uint8_t frame[60] = {0};
    uint16_t before = used_index(d, 0);
    memcpy(frame, mac, 6);
    put_desc(d, 0, 0, DATA, 2048, DESC_WRITE, 0);
    offer(d, 0, 0);
    assert_true(to_guest(mock, frame, sizeof(frame)));
    bool heard = used_index(d, 0) != before;
    if (!heard) { /* use the buffer up */
        static const uint8_t own[6] = {0x52, 0x54, 0, 0xab, 0xcd, 0xef};
        memcpy(frame, own, 6);
        assert_true(to_guest(mock, frame, sizeof(frame)));
    }
    return heard;
}

static void test_net_filters(void **state)
{
    static const uint8_t other[6] = {0x52, 0x54, 0, 1, 2, 3}, group[6] = {1, 0, 0x5e, 0, 0, 1},
                         all[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff},
                         own[6] = {0x52, 0x54, 0, 0xab, 0xcd, 0xef};
    const uint8_t on = 1, off = 0;
    struct driver d;
    struct mock_netdev *mock = net_setup(&d);
    bring_up(&d, CTRL_ALL);
    assert_true(hears(&d, mock, other)); /* all, before the driver says what */
    assert_int_equal(control(&d, 2, 0, 0, &off, 1), 0);
    assert_false(hears(&d, mock, other));
    assert_false(hears(&d, mock, group));
    assert_true(hears(&d, mock, all));
    assert_true(hears(&d, mock, own));
    assert_int_equal(control(&d, 2, 0, 1, &on, 1), 0);
    assert_true(hears(&d, mock, group));
    assert_int_equal(control(&d, 2, 0, 3, &on, 1), 0);
    assert_false(hears(&d, mock, group));
    assert_int_equal(control(&d, 2, 0, 3, &off, 1), 0);
    assert_int_equal(control(&d, 2, 0, 1, &off, 1), 0);
    assert_int_equal(control(&d, 2, 0, 2, &on, 1), 0);
    assert_true(hears(&d, mock, other));
    assert_int_equal(control(&d, 2, 0, 2, &off, 1), 0);
    assert_int_equal(control(&d, 2, 0, 5, &on, 1), 0);
    assert_false(hears(&d, mock, all));

    uint8_t table[4 + 6 + 4 + 6] = {1};
    memcpy(table + 4, other, 6);
    table[10] = 1;
    memcpy(table + 14, group, 6);
    assert_int_equal(control(&d, 2, 1, 0, table, sizeof(table)), 0);
    assert_true(hears(&d, mock, other));
    assert_true(hears(&d, mock, group));
    table[10] = 2; /* one more than there are */
    assert_int_equal(control(&d, 2, 1, 0, table, sizeof(table)), 1);
    memset(table, 0xff, 4);
    assert_int_equal(control(&d, 2, 1, 0, table, sizeof(table)), 1);
    assert_true(hears(&d, mock, other)); /* as it was */
    uint8_t many[4 + 70 * 6 + 4] = {70};
    assert_int_equal(control(&d, 2, 1, 0, many, sizeof(many)), 0);
    assert_true(hears(&d, mock, other)); /* more than fit: all unicast */
    assert_false(hears(&d, mock, group));
    driver_teardown(&d);
}

static void test_net_control(void **state)
{
    static const uint8_t mac[6] = {2, 3, 4, 5, 6, 7};
    struct driver d;
    net_setup(&d);
    bring_up(&d, CTRL_ALL);
    assert_int_equal(control(&d, 2, 1, 1, mac, 5), 1);
    assert_int_equal(control(&d, 2, 1, 1, mac, 6), 0);
    assert_int_equal(pv_virtio_config_read(d.dev, 0, 6), UINT64_C(0x070605040302));
    assert_int_equal(control(&d, 2, 2, 0, mac, 2), 1);  /* VLANs are not offered */
    assert_int_equal(control(&d, 2, 4, 0, "\1", 2), 1); /* nor several queues */
    assert_int_equal(control(&d, 2, 77, 0, mac, 2), 1);
    assert_int_equal(control(&d, 2, 0, 6, mac, 1), 1);

    pv_net_announce(d.dev);
    assert_int_equal(d.config_interrupts, 1);
    assert_int_equal(pv_virtio_config_read(d.dev, 6, 2), 3);
    assert_int_equal(control(&d, 2, 3, 0, NULL, 0), 0);
    assert_int_equal(pv_virtio_config_read(d.dev, 6, 2), 1);

    /* A reset brings the address back; without the features nothing is obeyed. */
    bring_up(&d, VERSION_1 | CTRL_VQ);
    assert_int_equal(pv_virtio_config_read(d.dev, 0, 6), UINT64_C(0xefcdab005452));
    assert_int_equal(control(&d, 2, 1, 1, mac, 6), 1);
    assert_int_equal(control(&d, 2, 0, 0, mac, 1), 1);
    assert_int_equal(control(&d, 2, 3, 0, NULL, 0), 1);
    pv_net_announce(d.dev);
    assert_int_equal(d.config_interrupts, 1);
    put_desc(&d, 2, 0, DATA, 8, 0, 0); /* nowhere to answer */
    offer(&d, 2, 0);
    kick(&d, 2);
    assert_true(failed(&d));
    driver_teardown(&d);
}

/* A UDP frame between two ends; `back` has them the other way round. */
static void udp_frame(uint8_t frame[60], uint16_t port, bool back)
{
    memset(frame, 0, 60);
    frame[12] = 8;
    frame[14] = 0x45;
    frame[14 + 9] = 17;
    memcpy(frame + 14 + (back ? 16 : 12), "\x0a\x00\x02\x0f", 4);
    memcpy(frame + 14 + (back ? 12 : 16), "\x0a\x00\x02\x02", 4);
    memcpy(frame + 34 + (back ? 2 : 0), &port, 2);
    frame[34 + (back ? 1 : 3)] = 53;
}

static void test_net_multiqueue(void **state)
{
    const uint64_t features = CTRL_ALL | NET_MQ;
    struct driver d;
    uint8_t frame[60];
    struct mock_netdev *mock = net_setup_pairs(&d, 4);
    bring_up(&d, CTRL_ALL);
    assert_int_equal(control(&d, 2, 0, 0, "", 1), 0); /* without MQ the third queue controls */
    bring_up(&d, features);
    const uint16_t none = 0, five = 5, four = 4;
    assert_int_equal(control(&d, 8, 4, 0, &none, 2), 1);
    assert_int_equal(control(&d, 8, 4, 0, &five, 2), 1);
    assert_int_equal(control(&d, 8, 4, 0, &four, 2), 0);
    for (unsigned pair = 0; pair < 4; pair++)
        for (unsigned i = 0; i < 8; i++) {
            put_desc(&d, 2 * pair, i, DATA + 0x10000 + 0x800 * (8 * pair + i), 512, DESC_WRITE, 0);
            offer(&d, 2 * pair, (uint16_t)i);
        }
    /* Answers come where the question was asked. */
    for (uint16_t port = 1; port < 8; port++) {
        unsigned pair = port % 4;
        udp_frame(frame, port, false);
        assert_int_equal(pv_as_write(d.as, DATA + 12, frame, sizeof(frame)), 0);
        put_desc(&d, 2 * pair + 1, 0, DATA, 72, 0, 0);
        offer(&d, 2 * pair + 1, 0);
        kick(&d, 2 * pair + 1);
        assert_int_equal(mock->sent, port);
        uint16_t before = used_index(&d, 2 * pair);
        udp_frame(frame, port, true);
        assert_true(to_guest(mock, frame, sizeof(frame)));
        assert_int_equal(used_index(&d, 2 * pair), before + 1);
    }
    /* The driver gives queues up: what belonged to them goes to the first. */
    const uint16_t one = 1;
    assert_int_equal(control(&d, 8, 4, 0, &one, 2), 0);
    uint16_t before = used_index(&d, 0);
    assert_true(to_guest(mock, frame, sizeof(frame)));
    assert_int_equal(used_index(&d, 0), before + 1);
    assert_false(failed(&d));
    driver_teardown(&d);
}

static void test_net_queue_reset(void **state)
{
    struct driver d;
    uint8_t frame[200] = {0};
    struct mock_netdev *mock = net_setup(&d);
    bring_up(&d, VERSION_1 | MRG_RXBUF | RESET);
    put_desc(&d, 0, 0, DATA, 100, DESC_WRITE, 0);
    offer(&d, 0, 0);
    assert_false(to_guest(mock, frame, sizeof(frame))); /* the buffer is held now */
    pv_virtio_lock(d.dev);
    pv_virtio_queue_reset(d.dev, 0);
    pv_virtio_unlock(d.dev);
    enable_queue(&d, 0);
    assert_int_equal(pv_as_fill(d.as, DATA, 0xee, 100), 0);
    put_desc(&d, 0, 1, DATA + 0x1000, 1000, DESC_WRITE, 0);
    offer(&d, 0, 1);
    assert_true(to_guest(mock, frame, sizeof(frame)));
    assert_int_equal(used_index(&d, 0), 1);
    assert_int_equal(used_id(&d, 0, 0), 1);
    assert_int_equal(load32(&d, DATA), 0xeeeeeeee);
    driver_teardown(&d);
}

/* ---- rng ---- */

static void test_rng(void **state)
{
    struct driver d;
    driver_setup(&d);
    struct pv_virtio_device *dev;
    assert_int_equal(pv_rng_create(&dev, d.loop, d.as, NULL), 0);
    attach(&d, dev);
    bring_up(&d, VERSION_1);
    put_desc(&d, 0, 0, DATA, 600, DESC_WRITE, 0);
    offer(&d, 0, 0);
    put_desc(&d, 0, 1, DATA + 0x1000, 0x100000, DESC_WRITE, 0);
    offer(&d, 0, 1);
    put_desc(&d, 0, 2, DATA, 16, 0, 0); /* nothing to write to */
    offer(&d, 0, 2);
    kick(&d, 0);
    assert_int_equal(used_index(&d, 0), 3);
    assert_int_equal(used_len(&d, 0, 0), 600);
    assert_int_equal(used_len(&d, 0, 1), 4096);
    assert_int_equal(used_len(&d, 0, 2), 0);
    uint8_t got[600], seen[256] = {0};
    unsigned distinct = 0;
    assert_int_equal(pv_as_read(d.as, DATA, got, sizeof(got)), 0);
    for (size_t i = 0; i < sizeof(got); i++)
        distinct += !seen[got[i]]++;
    assert_true(distinct > 100);
    driver_teardown(&d);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_RINGS(test_blk),
        BOTH_RINGS(test_blk_ranges),
        BOTH_RINGS(test_blk_discard_and_zeroes),
        BOTH_RINGS(test_blk_read_only),
        BOTH_RINGS(test_blk_odd_framing),
        BOTH_RINGS(test_blk_malformed),
        BOTH_RINGS(test_blk_reset_in_flight),
        BOTH_RINGS(test_blk_queues),
        SPLIT_RINGS(test_blk_from_two_threads),
        BOTH_RINGS(test_blk_without_flush),
        BOTH_RINGS(test_net_transmit),
        BOTH_RINGS(test_net_receive),
        BOTH_RINGS(test_net_mergeable),
        BOTH_RINGS(test_net_tiny_buffers),
        BOTH_RINGS(test_net_endless_transmit),
        BOTH_RINGS(test_net_filters),
        BOTH_RINGS(test_net_control),
        BOTH_RINGS(test_net_multiqueue),
        BOTH_RINGS(test_net_queue_reset),
        BOTH_RINGS(test_rng),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
