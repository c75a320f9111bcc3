/* SPDX-License-Identifier: MIT */
/*
 * Sound between a guest's sound card and who plays or records it on the host: one stream each way.
 *
 * Between the two lies a queue of about 50 ms for each stream. The card fills it (or empties it)
 * whenever it is told that there is room (or that there is sound), on its loop; the other end is
 * moved by the clock of whoever plays: a library's thread for a real device, a timer for files.
 * So it is the host's device that sets the pace of the guest, and nobody waits for anybody.
 *
 * Samples are little-endian, channels interleaved.
 */
#ifndef PV_AUDIO_AUDIO_H
#define PV_AUDIO_AUDIO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_audio;
struct pv_error;
struct pv_loop;

enum pv_audio_way {
    PV_AUDIO_PLAY,
    PV_AUDIO_RECORD,
    PV_AUDIO_WAYS,
};

enum pv_audio_sample {
    PV_AUDIO_U8,
    PV_AUDIO_S16,
    PV_AUDIO_S32,
    PV_AUDIO_FLOAT,
    PV_AUDIO_SAMPLES,
};

#define PV_AUDIO_RATE_MAX     192000u
#define PV_AUDIO_CHANNELS_MAX 2u

struct pv_audio_format {
    enum pv_audio_sample sample;
    uint32_t rate; /* frames a second */
    unsigned channels;
};

/* Bytes of a frame: a sample of each channel. */
size_t pv_audio_frame(const struct pv_audio_format *format);

/* What a way takes or gives; all of it together with all else of it. */
struct pv_audio_caps {
    unsigned samples; /* a bit for each enum pv_audio_sample */
    uint32_t rate_min, rate_max;
    unsigned channels_min, channels_max;
};
bool pv_audio_caps_have(const struct pv_audio_caps *caps, const struct pv_audio_format *format);

/* ---- Who plays and records ---- */

/* Nobody listens; silence is recorded. */
int pv_audio_null_create(struct pv_audio **out, struct pv_loop *loop, struct pv_error **err);

/*
 * What is played becomes the WAV file `play`, 48 kHz 16-bit stereo, without the pauses between
 * streams. What is recorded comes from the WAV file `record`, then silence. Either may be NULL.
 */
int pv_audio_file_create(struct pv_audio **out, struct pv_loop *loop, const char *play,
                         const char *record, struct pv_error **err);

/* The host's default devices, by SDL; -ENOTSUP in a build without it. */
int pv_audio_sdl_create(struct pv_audio **out, struct pv_loop *loop, struct pv_error **err);

/* On the loop's thread, or while the loop does not run. NULL is fine. */
void pv_audio_destroy(struct pv_audio *audio);

/* ---- For the sound card ---- */

/* Called on the loop, with nothing locked. */
struct pv_audio_client {
    /* There is room to play into, or sound that was recorded. */
    void (*ready)(void *opaque, enum pv_audio_way way);
    /* Something was plugged in or out: ask pv_audio_plugged(). */
    void (*plugged)(void *opaque, enum pv_audio_way way);
    void *opaque;
};

/* Before a stream is opened; NULL when the client goes. */
void pv_audio_set_client(struct pv_audio *audio, const struct pv_audio_client *client);

const struct pv_audio_caps *pv_audio_caps(const struct pv_audio *audio, enum pv_audio_way way);

/* Those that follow may be called from any thread, from the client's calls too. */

/* Whether somebody listens, or a microphone is there. */
bool pv_audio_plugged(struct pv_audio *audio, enum pv_audio_way way);

/* Makes a stream, which stands still; one that was there is closed. -EINVAL: not in its caps. */
int pv_audio_open(struct pv_audio *audio, enum pv_audio_way way,
                  const struct pv_audio_format *format, struct pv_error **err);
/* Moves, or stands still with what is queued kept. */
void pv_audio_run(struct pv_audio *audio, enum pv_audio_way way, bool on);
/* What is queued is lost. Without effect when it is not open. */
void pv_audio_close(struct pv_audio *audio, enum pv_audio_way way);

/* Bytes that can be played, or were recorded, now; 0 while it is not open. Whole frames. */
size_t pv_audio_ready(struct pv_audio *audio, enum pv_audio_way way);
/* At most that many; returns how many it were. */
size_t pv_audio_play(struct pv_audio *audio, const void *data, size_t size);
size_t pv_audio_record(struct pv_audio *audio, void *data, size_t size);

/* Bytes that were played and are still queued; those before them have left for good. */
size_t pv_audio_queued(struct pv_audio *audio);
/* Bytes between the card and the ear or mouth. */
size_t pv_audio_latency(struct pv_audio *audio, enum pv_audio_way way);

#endif
