/* SPDX-License-Identifier: MIT */
/* A sound card that hears nothing and that nobody hears, at the pace of one that works. */
#include "audio/audio_impl.h"

#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <string.h>

static bool null_pass(struct pv_audio *audio, enum pv_audio_way way, void *data, size_t size)
{
    /* Unsigned samples rest in the middle. */
    if (way == PV_AUDIO_RECORD)
        memset(data, audio->streams[way].format.sample == PV_AUDIO_U8 ? 0x80 : 0, size);
    return true;
}

static void null_destroy(struct pv_audio *audio)
{
    free(audio);
}

static const struct pv_audio_ops null_ops = {
    .name = "null", .pass = null_pass, .destroy = null_destroy};

int pv_audio_null_create(struct pv_audio **out, struct pv_loop *loop, struct pv_error **err)
{
    static const struct pv_audio_caps all = {
        .samples = (1u << PV_AUDIO_SAMPLES) - 1,
        .rate_min = 8000,
        .rate_max = PV_AUDIO_RATE_MAX,
        .channels_min = 1,
        .channels_max = PV_AUDIO_CHANNELS_MAX,
    };
    struct pv_audio *audio = calloc(1, sizeof(*audio));
    if (!audio)
        return pv_error_set(err, ENOMEM, "sound: out of memory");
    audio->ops = &null_ops;
    for (unsigned way = 0; way < PV_AUDIO_WAYS; way++)
        audio->streams[way].caps = all;
    int ret = pv_audio_init(audio, loop, err);
    if (ret < 0)
        free(audio);
    else
        *out = audio;
    return ret;
}
