/* SPDX-License-Identifier: MIT */
/* The network card with two queue pairs and its control queue. */
#include "device/net.h"
#include "fuzz_device.h"
#include "net/netdev.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t mac[6] = {2};
    struct fuzz_device f;
    struct pv_netdev *netdev;
    fuzz_device_setup(&f, data, size);
    FUZZ_REQUIRE(pv_netdev_null_create(&netdev, NULL) == 0);
    FUZZ_REQUIRE(pv_net_create(&f.dev, f.loop, f.as, netdev, mac, 2, NULL) == 0);
    fuzz_device_start(&f);
    while (f.input.size) {
        fuzz_device_step(&f);
        unsigned what = (unsigned)fuzz_take(&f.input, 1);
        if (what == 1)
            pv_net_announce(f.dev);
        else if (what % 4 == 2)
            netdev->client.receive(netdev->client.opaque, f.input.data,
                                   PV_MIN(f.input.size, (size_t)what));
    }
    fuzz_device_teardown(&f);
    return 0;
}
