/* SPDX-License-Identifier: MIT */
/*
 * virtio-gpu in front of the null renderer. Beside what all devices are given, whole requests with
 * plausible headers, so that more than their first checks is reached; and the window moves.
 */
#include "device/gpu_impl.h"
#include "fuzz_device.h"

#define WINDOW UINT64_C(0x100000)

/* A request whose type there is, with the input's words, in a chain of its own. */
static void request(struct fuzz_device *f)
{
    static const uint16_t bases[] = {GPU_CMD_GET_DISPLAY_INFO, GPU_CMD_CTX_CREATE,
                                     GPU_CMD_UPDATE_CURSOR};
    unsigned what = (unsigned)fuzz_take(&f->input, 1);
    uint32_t words[32] = {bases[what % 3] + what / 3 % 14, what >> 7};
    words[4] = what >> 6 & 1; /* the context */
    for (unsigned i = 6; i < PV_ARRAY_SIZE(words); i++) {
        uint32_t word = (uint32_t)fuzz_take(&f->input, 1);
        words[i] = word < 0xf0 ? word % 32 : word < 0xf8 ? (word & 7) << 10 : 1u << word % 32;
    }
    FUZZ_REQUIRE(pv_as_write(f->as, FUZZ_DATA, words, sizeof(words)) == 0);
    if (f->packed)
        return;
    const struct {
        uint64_t address;
        uint32_t len;
        uint16_t flags, next;
    } chain[] = {{FUZZ_DATA, sizeof(words), 1, 1}, {FUZZ_DATA + 0x1000, 0x800, 2, 0}};
    unsigned queue = what % 3 == 2;
    uint16_t next = f->avail[queue]++, entry = 0, index = f->avail[queue];
    uint64_t ring = fuzz_ring(queue, PV_VIRTQ_DRIVER);
    FUZZ_REQUIRE(pv_as_write(f->as, fuzz_ring(queue, PV_VIRTQ_DESC), chain, sizeof(chain)) == 0);
    FUZZ_REQUIRE(pv_as_write(f->as, ring + 4 + next % FUZZ_RING_SIZE * 2, &entry, 2) == 0);
    FUZZ_REQUIRE(pv_as_write(f->as, ring + 2, &index, 2) == 0);
    pv_virtio_queue_notify(f->dev, queue);
    fuzz_device_run(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_device f;
    struct pv_display *display;
    fuzz_device_setup(&f, data, size);
    FUZZ_REQUIRE(pv_display_create(&display, NULL) == 0);
    unsigned what = (unsigned)fuzz_take(&f.input, 1);
    const struct pv_virtio_gpu_config config = {
        .display = display,
        .heads = 1 + what % PV_DISPLAY_HEADS,
        .width = 64,
        .height = 64,
        .renderer = what & 0x80 ? NULL : "null",
        .window = 0x10000,
        .host_memory = 1 << 20,
    };
    FUZZ_REQUIRE(pv_virtio_gpu_create(&f.dev, f.loop, f.as, &config, NULL) == 0);
    fuzz_device_start(&f);
    while (f.input.size) {
        unsigned step = (unsigned)fuzz_take(&f.input, 1);
        if (step % 2)
            request(&f);
        else
            fuzz_device_step(&f);
        if (step % 32 == 8)
            pv_virtio_gpu_set_size(f.dev, step >> 6, step, step);
        if (step % 32 == 16 && f.dev->shm)
            f.dev->shm->moved(f.dev->shm->opaque, step & 64 ? WINDOW : step & 128 ? 0 : UINT64_MAX);
    }
    fuzz_device_teardown(&f);
    pv_display_destroy(display);
    return 0;
}
