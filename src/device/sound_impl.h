/* SPDX-License-Identifier: MIT */
/* Between the parts of the sound card: sound.c answers the driver, sound_pcm.c moves sound. */
#ifndef PV_DEVICE_SOUND_IMPL_H
#define PV_DEVICE_SOUND_IMPL_H

#include "audio/audio.h"
#include "device/sound_protocol.h"
#include "virtio/device_impl.h"

#define SOUND_QUEUE_SIZE 64u

enum { SOUND_CONTROL, SOUND_EVENT, SOUND_TX, SOUND_RX, SOUND_QUEUES };

/* 5.14.6.6.1; stopped is what a stream that ran and may go on is. */
enum sound_state {
    SOUND_IDLE,
    SOUND_SET,
    SOUND_PREPARED,
    SOUND_RUNNING,
    SOUND_STOPPED,
    SOUND_STATES,
};

/* A buffer of the driver's that is being played or filled. */
struct sound_buffer {
    struct pv_virtq_chain chain;
    size_t done;  /* bytes of its sound that were moved */
    uint64_t end; /* playing: where its last byte is in all that was played */
};

struct sound_stream {
    uint32_t state; /* enum sound_state */
    uint8_t format, rate, channels;
    bool broken;   /* the host's device does not open: buffers come back as failed */
    uint64_t sent; /* bytes that were put into the host's queue */
    /* Those taken from the driver's queue, oldest first. Only the last may have sound to move. */
    struct sound_buffer buffers[SOUND_QUEUE_SIZE];
    unsigned count;
};

struct sound {
    struct pv_virtio_device base;
    struct pv_audio *audio;
    struct sound_stream streams[PV_AUDIO_WAYS]; /* their IDs are enum pv_audio_way */
    unsigned jacks_changed;                     /* a bit for each way, until the driver is told */
};

static inline unsigned sound_queue_of(enum pv_audio_way way)
{
    return way == PV_AUDIO_PLAY ? SOUND_TX : SOUND_RX;
}

/* The formats and rates of virtio that a way has, as bits. */
uint64_t sound_formats(const struct pv_audio_caps *caps);
uint64_t sound_rates(const struct pv_audio_caps *caps);

/*
 * One of PCM's requests; SND_OK, or why not. `params` is for SND_PCM_SET_PARAMS only. Buffers of a
 * stream that is released are back when this returns.
 */
enum snd_code sound_pcm_request(struct sound *sound, enum snd_code code, enum pv_audio_way way,
                                const struct snd_pcm_params *params);

/* Moves what can be moved. */
void sound_pcm_pump(struct sound *sound, enum pv_audio_way way);

/* Forgets the driver's buffers; the stream is as it was. */
void sound_pcm_drop(struct sound *sound, enum pv_audio_way way);

/* Also its params. */
void sound_pcm_reset(struct sound *sound, enum pv_audio_way way);

void sound_pcm_record(struct sound *sound, enum pv_audio_way way, struct pv_record *record);

#endif
