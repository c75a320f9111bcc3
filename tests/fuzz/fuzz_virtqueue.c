/* SPDX-License-Identifier: MIT */
/*
 * Rings from the input, given to a device that reads (net) and one that writes (rng). Eight bytes
 * make one descriptor, in the ring's table or an indirect one; a flag keeps the address wild.
 */
#include "base/log.h"
#include "base/util.h"
#include "device/net.h"
#include "device/rng.h"
#include "fuzz.h"
#include "host/loop.h"
#include "memory/address_space.h"
#include "net/netdev.h"
#include "virtio/device_impl.h"
#include "virtio/transport.h"

#define RAM_SIZE  0x20000u
#define TABLE     0x0000u
#define AVAIL     0x1000u
#define USED      0x2000u
#define INDIRECT  0x3000u
#define RING_SIZE 64u

static void put_descriptors(struct pv_address_space *as, struct fuzz_input *input)
{
    unsigned count = (unsigned)fuzz_take(input, 1);
    for (unsigned i = 0; i < count; i++) {
        uint64_t where = fuzz_take(input, 3), len = fuzz_take(input, 2);
        uint64_t flags = fuzz_take(input, 1), next = fuzz_take(input, 1);
        struct {
            uint64_t address;
            uint32_t len;
            uint16_t flags, next;
        } desc = {flags & 0x80 ? where << 40 : where % RAM_SIZE, (uint32_t)len,
                  (uint16_t)(flags & 7), (uint16_t)next};
        if (desc.flags & 4) {
            desc.address = INDIRECT + (where & 0x30);
            desc.len = (uint32_t)(len % 16 * 16);
        }
        uint64_t at = fuzz_take(input, 1) % 128 * 16;
        at = at < RING_SIZE * 16 ? TABLE + at : INDIRECT + at - RING_SIZE * 16;
        FUZZ_REQUIRE(pv_as_write(as, at, &desc, sizeof(desc)) == 0);
    }
}

static void start(struct pv_virtio_device *dev, uint32_t features)
{
    pv_virtio_lock(dev);
    pv_virtio_set_status(dev, 0);
    pv_virtio_set_status(dev, PV_VIRTIO_STATUS_ACKNOWLEDGE | PV_VIRTIO_STATUS_DRIVER);
    pv_virtio_set_driver_features(dev, 0, pv_virtio_device_features(dev, 0) & features);
    pv_virtio_set_driver_features(dev, 1, 1);
    pv_virtio_set_status(dev, PV_VIRTIO_STATUS_FEATURES_OK);
    for (unsigned queue = 0; queue < pv_virtio_queue_count(dev); queue++) {
        pv_virtio_queue_set_size(dev, queue, RING_SIZE);
        pv_virtio_queue_set_address(dev, queue, PV_VIRTQ_DESC, false, TABLE);
        pv_virtio_queue_set_address(dev, queue, PV_VIRTQ_DRIVER, false, AVAIL);
        pv_virtio_queue_set_address(dev, queue, PV_VIRTQ_DEVICE, false, USED);
        pv_virtio_queue_enable(dev, queue);
    }
    pv_virtio_set_status(dev, PV_VIRTIO_STATUS_DRIVER_OK);
    pv_virtio_unlock(dev);
}

static void stop_loop(void *opaque)
{
    pv_loop_stop(opaque);
}

static void run_device(struct pv_loop *loop, struct pv_address_space *as,
                       struct pv_virtio_device *dev, struct pv_netdev *netdev,
                       struct fuzz_input input)
{
    start(dev, (uint32_t)fuzz_take(&input, 4));
    while (input.size) {
        uint8_t ring[4 + 2 * RING_SIZE] = {0};
        put_descriptors(as, &input);
        for (size_t i = 0; i < sizeof(ring); i++)
            ring[i] = i % 2 ? 0 : (uint8_t)fuzz_take(&input, 1);
        FUZZ_REQUIRE(pv_as_write(as, AVAIL, ring, sizeof(ring)) == 0);
        for (unsigned queue = 0; queue < 3; queue++)
            pv_virtio_queue_notify(dev, queue);
        FUZZ_REQUIRE(pv_loop_post(loop, stop_loop, loop) == 0);
        FUZZ_REQUIRE(pv_loop_run(loop, NULL) == 0);
        if (netdev && netdev->client.receive)
            netdev->client.receive(netdev->client.opaque, ring, sizeof(ring));
    }
    pv_virtio_device_destroy(dev);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t mac[6] = {2};
    struct fuzz_input input = {data, size};
    struct pv_loop *loop;
    struct pv_address_space *as;
    struct pv_netdev *netdev;
    struct pv_virtio_device *net, *rng;
    FUZZ_REQUIRE(pv_log_set_filter("off", NULL) == 0);
    FUZZ_REQUIRE(pv_loop_create(&loop, NULL) == 0);
    FUZZ_REQUIRE(pv_as_create(&as, NULL) == 0);
    FUZZ_REQUIRE(pv_as_add_ram(as, 0, RAM_SIZE, "ram", NULL) == 0);
    FUZZ_REQUIRE(pv_netdev_null_create(&netdev, NULL) == 0);
    FUZZ_REQUIRE(pv_net_create(&net, loop, as, netdev, mac, 1, NULL) == 0);
    FUZZ_REQUIRE(pv_rng_create(&rng, loop, as, NULL) == 0);
    run_device(loop, as, net, netdev, input);
    run_device(loop, as, rng, NULL, input);
    pv_as_destroy(as);
    pv_loop_destroy(loop);
    return 0;
}
