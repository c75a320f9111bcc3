/* SPDX-License-Identifier: MIT */
/* What driver and sound card say to each other: section 5.14.6. All numbers are little-endian. */
#ifndef PV_DEVICE_SOUND_PROTOCOL_H
#define PV_DEVICE_SOUND_PROTOCOL_H

#include <stdint.h>

enum snd_code {
    SND_JACK_INFO = 1,
    SND_JACK_REMAP,
    SND_PCM_INFO = 0x100,
    SND_PCM_SET_PARAMS,
    SND_PCM_PREPARE,
    SND_PCM_RELEASE,
    SND_PCM_START,
    SND_PCM_STOP,
    SND_CHMAP_INFO = 0x200,
    SND_EVENT_JACK_CONNECTED = 0x1000,
    SND_EVENT_JACK_DISCONNECTED,
    SND_OK = 0x8000,
    SND_BAD_MESSAGE,
    SND_NOT_SUPPORTED,
    SND_IO_ERROR,
};

/* Direction of streams and maps. */
enum { SND_OUTPUT, SND_INPUT };

/* Of enum pv_audio_sample and rates, as the bits and numbers of 5.14.6.6.2. */
enum { SND_FORMAT_U8 = 4, SND_FORMAT_S16 = 5, SND_FORMAT_S32 = 17, SND_FORMAT_FLOAT = 19 };

/* Places of channels (5.14.6.7.1). */
enum { SND_MONO = 2, SND_FRONT_LEFT, SND_FRONT_RIGHT };

struct snd_config {
    uint32_t jacks, streams, maps;
};

struct snd_query {
    uint32_t code, first, count, size;
};

/* A request for one stream, or an event. */
struct snd_request {
    uint32_t code, id;
};

struct snd_jack_info {
    uint32_t node, features;
    uint32_t defaults, capabilities; /* as in High Definition Audio, 7.3.3.31 and 7.3.4.9 */
    uint8_t connected, padding[7];
};
_Static_assert(sizeof(struct snd_jack_info) == 24, "5.14.6.4.1");

struct snd_pcm_info {
    uint32_t node, features;
    uint64_t formats, rates;
    uint8_t direction, channels_min, channels_max, padding[5];
};
_Static_assert(sizeof(struct snd_pcm_info) == 32, "5.14.6.6.2");

struct snd_pcm_params {
    struct snd_request request;
    uint32_t buffer_bytes, period_bytes, features;
    uint8_t channels, format, rate, padding;
};
_Static_assert(sizeof(struct snd_pcm_params) == 24, "5.14.6.6.3");

struct snd_chmap_info {
    uint32_t node;
    uint8_t direction, channels, positions[18];
};
_Static_assert(sizeof(struct snd_chmap_info) == 24, "5.14.6.7.1");

/* Before and behind the sound in a buffer. */
struct snd_xfer {
    uint32_t stream;
};

struct snd_xfer_status {
    uint32_t status, latency;
};

#endif
