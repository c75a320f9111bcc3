/* SPDX-License-Identifier: MIT */
/*
 * The host's default sound devices, by SDL, which converts whatever they do not know. SDL's thread
 * moves sound to and from the streams' queues, and the device's clock is the pace.
 */
#include "audio/audio_impl.h"

#include "base/error.h"
#include "base/util.h"
#include "host/sdl.h"

#include <errno.h>
#include <string.h>

/* SDL asks for so much at a time: about 10 ms, a power of two of frames. */
#define CHUNKS_A_SECOND 100u

struct sdl_audio {
    struct pv_audio base;
    struct pv_sdl sdl;
    SDL_AudioDeviceID devices[PV_AUDIO_WAYS];
};

static void on_play(void *opaque, Uint8 *data, int size)
{
    struct pv_audio_stream *stream = opaque;
    size_t got = pv_audio_move(stream->audio, PV_AUDIO_PLAY, data, (size_t)size);
    const uint8_t rest = stream->format.sample == PV_AUDIO_U8 ? 0x80 : 0;
    memset(data + got, rest, (size_t)size - got);
}

static void on_record(void *opaque, Uint8 *data, int size)
{
    struct pv_audio_stream *stream = opaque;
    pv_audio_move(stream->audio, PV_AUDIO_RECORD, data, (size_t)size);
}

static int sdl_open(struct pv_audio *audio, enum pv_audio_way way, struct pv_error **err)
{
    static const SDL_AudioFormat formats[PV_AUDIO_SAMPLES] = {AUDIO_U8, AUDIO_S16LSB, AUDIO_S32LSB,
                                                              AUDIO_F32LSB};
    struct sdl_audio *sdl = PV_CONTAINER_OF(audio, struct sdl_audio, base);
    struct pv_audio_stream *stream = &audio->streams[way];
    SDL_AudioSpec got, spec = {
                           .freq = (int)stream->format.rate,
                           .format = formats[stream->format.sample],
                           .channels = (Uint8)stream->format.channels,
                           .samples = 64,
                           .callback = way == PV_AUDIO_PLAY ? on_play : on_record,
                           .userdata = stream,
                       };
    while (spec.samples * CHUNKS_A_SECOND < stream->format.rate)
        spec.samples = (Uint16)(spec.samples * 2);
    sdl->devices[way] = sdl->sdl.OpenAudioDevice(NULL, way == PV_AUDIO_RECORD, &spec, &got, 0);
    if (!sdl->devices[way])
        return pv_error_set(err, EIO, "sound: %s", sdl->sdl.GetError());
    stream->device_latency = got.size;
    return 0;
}

static void sdl_run(struct pv_audio *audio, enum pv_audio_way way, bool on)
{
    struct sdl_audio *sdl = PV_CONTAINER_OF(audio, struct sdl_audio, base);
    sdl->sdl.PauseAudioDevice(sdl->devices[way], !on);
}

static void sdl_close(struct pv_audio *audio, enum pv_audio_way way)
{
    struct sdl_audio *sdl = PV_CONTAINER_OF(audio, struct sdl_audio, base);
    if (sdl->devices[way])
        sdl->sdl.CloseAudioDevice(sdl->devices[way]);
    sdl->devices[way] = 0;
}

static void sdl_destroy(struct pv_audio *audio)
{
    struct sdl_audio *sdl = PV_CONTAINER_OF(audio, struct sdl_audio, base);
    sdl->sdl.QuitSubSystem(SDL_INIT_AUDIO);
    free(sdl);
}

static const struct pv_audio_ops sdl_ops = {
    .name = "sdl", .open = sdl_open, .run = sdl_run, .close = sdl_close, .destroy = sdl_destroy};

static int start_sdl(struct sdl_audio *sdl, struct pv_error **err)
{
    int ret = pv_sdl_load(&sdl->sdl, err);
    if (ret < 0)
        return pv_error_prefix(err, "--sound sdl");
    if (sdl->sdl.InitSubSystem(SDL_INIT_AUDIO) < 0)
        return pv_error_set(err, ENODEV, "--sound sdl: %s", sdl->sdl.GetError());
    return 0;
}

int pv_audio_sdl_create(struct pv_audio **out, struct pv_loop *loop, struct pv_error **err)
{
    struct sdl_audio *sdl = calloc(1, sizeof(*sdl));
    if (!sdl)
        return pv_error_set(err, ENOMEM, "sound: out of memory");
    sdl->base.ops = &sdl_ops;
    int ret = start_sdl(sdl, err);
    if (ret < 0) {
        free(sdl);
        return ret;
    }
    for (unsigned way = 0; way < PV_AUDIO_WAYS; way++)
        sdl->base.streams[way].caps = (struct pv_audio_caps){
            .samples = (1u << PV_AUDIO_SAMPLES) - 1,
            .rate_min = 8000,
            .rate_max = PV_AUDIO_RATE_MAX,
            .channels_min = 1,
            .channels_max = PV_AUDIO_CHANNELS_MAX,
        };
    sdl->base.streams[PV_AUDIO_RECORD].unplugged = sdl->sdl.GetNumAudioDevices(1) == 0;
    ret = pv_audio_init(&sdl->base, loop, err);
    if (ret < 0)
        sdl_destroy(&sdl->base);
    else
        *out = &sdl->base;
    return ret;
}
