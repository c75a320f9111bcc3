/* SPDX-License-Identifier: MIT */
#include "device/balloon.h"
#include "fuzz_device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_device f;
    struct pv_balloon_info info;
    fuzz_device_setup(&f, data, size);
    FUZZ_REQUIRE(pv_balloon_create(&f.dev, f.loop, f.as, 0x10000, NULL, NULL) == 0);
    fuzz_device_start(&f);
    while (f.input.size) {
        fuzz_device_step(&f);
        switch (fuzz_take(&f.input, 1)) {
        case 1: pv_balloon_request_stats(f.dev); break;
        case 2: pv_balloon_hint(f.dev, true); break;
        case 3: pv_balloon_hint(f.dev, false); break;
        case 4: pv_balloon_set_target(f.dev, fuzz_take(&f.input, 4)); break;
        default: break;
        }
    }
    pv_balloon_info(f.dev, &info);
    fuzz_device_teardown(&f);
    return 0;
}
