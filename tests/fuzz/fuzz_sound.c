/* SPDX-License-Identifier: MIT */
#include "audio/audio_impl.h"
#include "device/sound.h"
#include "device/sound_protocol.h"
#include "fuzz_device.h"

static int host_open(struct pv_audio *audio, enum pv_audio_way way, struct pv_error **err)
{
    return 0;
}

static void host_destroy(struct pv_audio *audio) {}

/* Moved by the input, not by time. */
static const struct pv_audio_ops host_ops = {
    .name = "fuzz", .open = host_open, .destroy = host_destroy};

/* A control request that may well be a good one. */
static void request(struct fuzz_device *f)
{
    const unsigned what = (unsigned)fuzz_take(&f->input, 1);
    struct snd_pcm_params params = {
        .request = {what % 8 < 6 ? SND_PCM_INFO + what % 8 : SND_CHMAP_INFO + what % 8 - 6,
                    what >> 3 & 1},
        .buffer_bytes = 1024,
        .period_bytes = 256,
        .channels = 1 + (what >> 4 & 1),
        .format = what & 0x20 ? SND_FORMAT_U8 : SND_FORMAT_S16,
        .rate = what & 0x40 ? 1 : 7,
    };
    if (f->packed)
        return;
    struct {
        uint64_t address;
        uint32_t len;
        uint16_t flags, next;
    } descs[2] = {{FUZZ_DATA, sizeof(params), 1, 1}, {FUZZ_DATA + 64, 132, 2, 0}};
    FUZZ_REQUIRE(pv_as_write(f->as, FUZZ_DATA, &params, sizeof(params)) == 0);
    FUZZ_REQUIRE(pv_as_write(f->as, fuzz_ring(0, PV_VIRTQ_DESC), descs, sizeof(descs)) == 0);
    fuzz_publish(f, 0, 0);
    pv_virtio_queue_notify(f->dev, 0);
    fuzz_device_run(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_device f;
    struct pv_audio audio = {.ops = &host_ops};
    uint8_t sound[512] = {0};
    fuzz_device_setup(&f, data, size);
    for (unsigned way = 0; way < PV_AUDIO_WAYS; way++)
        audio.streams[way].caps =
            (struct pv_audio_caps){(1u << PV_AUDIO_SAMPLES) - 1, 8000, 48000, 1, 2};
    FUZZ_REQUIRE(pv_audio_init(&audio, f.loop, NULL) == 0);
    FUZZ_REQUIRE(pv_sound_create(&f.dev, f.loop, f.as, &audio, NULL) == 0);
    fuzz_device_start(&f);
    while (f.input.size) {
        const unsigned what = (unsigned)fuzz_take(&f.input, 1);
        switch (what % 8) {
        case 0:
        case 1: request(&f); break;
        case 2:
            pv_audio_move(&audio, what >> 3 & 1, sound, 1 + fuzz_take(&f.input, 1) * 2);
            fuzz_device_run(&f);
            break;
        case 3: pv_event_signal(audio.streams[what >> 3 & 1].plugged); break;
        default: fuzz_device_step(&f); break;
        }
    }
    pv_virtio_device_destroy(f.dev);
    f.dev = NULL;
    pv_audio_destroy(&audio);
    fuzz_device_teardown(&f);
    return 0;
}
