/* SPDX-License-Identifier: MIT */
#include "device/input.h"
#include "fuzz_device.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_device f;
    fuzz_device_setup(&f, data, size);
    enum pv_input_kind kind = fuzz_take(&f.input, 1) % (PV_INPUT_TABLET + 1);
    FUZZ_REQUIRE(pv_input_create(&f.dev, f.loop, f.as, kind, NULL, NULL, NULL) == 0);
    fuzz_device_start(&f);
    while (f.input.size) {
        struct pv_input_event events[PV_INPUT_MAX_EVENTS] = {0};
        fuzz_device_step(&f);
        if (fuzz_take(&f.input, 1) % 4 == 0)
            pv_input_send(f.dev, events, (unsigned)fuzz_take(&f.input, 1));
    }
    fuzz_device_teardown(&f);
    return 0;
}
