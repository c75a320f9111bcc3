/* SPDX-License-Identifier: MIT */
/*
 * The sound card's streams. The driver's buffers stay in its queue until the stream runs; then as
 * many are taken as the host's queue has room for (or, recording, one at a time), so at any moment
 * all buffers but those in the host's queue are the driver's to see. A buffer that is played comes
 * back when its last byte has left the host's queue: what the driver counts as played was, and a
 * program that waits until all was played waits for just that.
 *
 * A stream whose device on the host does not open (any more) is not an error that drivers handle
 * well at START. Its buffers come back as failed, at once, whenever there are some.
 *
 * In a snapshot a stream is its state and params. Buffers that were taken are taken again, so that
 * the 50 ms of sound that were queued here are heard again.
 */
#include "device/sound_impl.h"

#include "base/error.h"
#include "base/log.h"
#include "base/record.h"
#include "base/util.h"

#include <string.h>

#define PIECE 4096u

static const uint8_t formats[PV_AUDIO_SAMPLES] = {
    [PV_AUDIO_U8] = SND_FORMAT_U8,
    [PV_AUDIO_S16] = SND_FORMAT_S16,
    [PV_AUDIO_S32] = SND_FORMAT_S32,
    [PV_AUDIO_FLOAT] = SND_FORMAT_FLOAT,
};

/* By their numbers in virtio. */
static const uint32_t rates[] = {5512,  8000,  11025, 16000, 22050,  32000,  44100,
                                 48000, 64000, 88200, 96000, 176400, 192000, 384000};

uint64_t sound_formats(const struct pv_audio_caps *caps)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < PV_ARRAY_SIZE(formats); i++)
        if (caps->samples >> i & 1)
            bits |= UINT64_C(1) << formats[i];
    return bits;
}

uint64_t sound_rates(const struct pv_audio_caps *caps)
{
    uint64_t bits = 0;
    for (unsigned i = 0; i < PV_ARRAY_SIZE(rates); i++)
        if (rates[i] >= caps->rate_min && rates[i] <= caps->rate_max)
            bits |= UINT64_C(1) << i;
    return bits;
}

/* The host's word for a stream's params; false when there is none. */
static bool translate(const struct sound_stream *stream, struct pv_audio_format *format)
{
    unsigned sample = 0;
    while (sample < PV_ARRAY_SIZE(formats) && formats[sample] != stream->format)
        sample++;
    if (sample == PV_ARRAY_SIZE(formats) || stream->rate >= PV_ARRAY_SIZE(rates))
        return false;
    *format = (struct pv_audio_format){sample, rates[stream->rate], stream->channels};
    return true;
}

/* ---- Buffers ---- */

/* The bytes of sound in a buffer: all but what stands before and behind them. */
static size_t sound_bytes(const struct pv_virtq_chain *chain, enum pv_audio_way way)
{
    return way == PV_AUDIO_PLAY ? chain->out_bytes - sizeof(struct snd_xfer)
                                : chain->in_bytes - sizeof(struct snd_xfer_status);
}

static void give_back(struct sound *sound, enum pv_audio_way way, struct pv_virtq_chain *chain,
                      enum snd_code code)
{
    const struct snd_xfer_status status = {code, (uint32_t)pv_audio_latency(sound->audio, way)};
    const size_t at = chain->in_bytes - sizeof(status);
    pv_virtq_write(chain, at, &status, sizeof(status));
    pv_virtq_push(pv_virtio_queue(&sound->base, sound_queue_of(way)), chain, chain->in_bytes);
}

/*
 * Takes the next buffer of the stream that is one; others go back. Returns false when there is
 * none, or `budget` is used up.
 */
static bool take(struct sound *sound, enum pv_audio_way way, struct pv_virtq_chain *chain,
                 unsigned *budget)
{
    struct pv_virtq *queue = pv_virtio_queue(&sound->base, sound_queue_of(way));
    while (*budget && pv_virtq_pop(queue, chain) == 1) {
        struct snd_xfer xfer;
        --*budget;
        if (chain->in_bytes < sizeof(struct snd_xfer_status)) {
            pv_virtio_fail(&sound->base, "a buffer without room for its status");
            pv_virtq_chain_finish(chain);
            return false;
        }
        if (pv_virtq_read(chain, 0, &xfer, sizeof(xfer)) == sizeof(xfer) && xfer.stream == way)
            return true;
        give_back(sound, way, chain, SND_BAD_MESSAGE);
    }
    return false;
}

/* The oldest buffer is done. */
static void finish_first(struct sound *sound, enum pv_audio_way way, enum snd_code code)
{
    struct sound_stream *stream = &sound->streams[way];
    give_back(sound, way, &stream->buffers[0].chain, code);
    stream->count--;
    memmove(stream->buffers, stream->buffers + 1, stream->count * sizeof(stream->buffers[0]));
}

/* The buffer that has sound to move, taking the next if need be; NULL: none has. */
static struct sound_buffer *current(struct sound *sound, enum pv_audio_way way, unsigned *budget)
{
    struct sound_stream *stream = &sound->streams[way];
    struct sound_buffer *last = stream->count ? &stream->buffers[stream->count - 1] : NULL;
    if (last && last->done < sound_bytes(&last->chain, way))
        return last;
    if (stream->count == SOUND_QUEUE_SIZE)
        return NULL;
    last = &stream->buffers[stream->count];
    *last = (struct sound_buffer){.end = stream->sent};
    if (!take(sound, way, &last->chain, budget))
        return NULL;
    last->end += sound_bytes(&last->chain, way);
    stream->count++;
    return last;
}

/* ---- Moving ---- */

static void play(struct sound *sound, unsigned *budget)
{
    struct sound_stream *stream = &sound->streams[PV_AUDIO_PLAY];
    struct sound_buffer *buffer;
    size_t room;
    uint8_t piece[PIECE];
    while ((room = pv_audio_ready(sound->audio, PV_AUDIO_PLAY)) &&
           (buffer = current(sound, PV_AUDIO_PLAY, budget))) {
        size_t size = pv_virtq_read(&buffer->chain, sizeof(struct snd_xfer) + buffer->done, piece,
                                    PV_MIN(room, sizeof(piece)));
        pv_audio_play(sound->audio, piece, size);
        buffer->done += size;
        stream->sent += size;
    }
    const uint64_t played = stream->sent - pv_audio_queued(sound->audio);
    while (stream->count && stream->buffers[0].end <= played)
        finish_first(sound, PV_AUDIO_PLAY, SND_OK);
}

static void capture(struct sound *sound, unsigned *budget)
{
    struct sound_buffer *buffer;
    uint8_t piece[PIECE];
    while (pv_audio_ready(sound->audio, PV_AUDIO_RECORD) &&
           (buffer = current(sound, PV_AUDIO_RECORD, budget))) {
        const size_t whole = sound_bytes(&buffer->chain, PV_AUDIO_RECORD);
        size_t size =
            pv_audio_record(sound->audio, piece, PV_MIN(whole - buffer->done, sizeof(piece)));
        buffer->done += pv_virtq_write(&buffer->chain, buffer->done, piece, size);
        if (buffer->done == whole)
            finish_first(sound, PV_AUDIO_RECORD, SND_OK);
    }
}

static void fill_with_zeroes(struct sound_buffer *buffer)
{
    static const uint8_t zeroes[PIECE];
    const size_t whole = sound_bytes(&buffer->chain, PV_AUDIO_RECORD);
    while (buffer->done < whole)
        buffer->done += pv_virtq_write(&buffer->chain, buffer->done, zeroes,
                                       PV_MIN(whole - buffer->done, sizeof(zeroes)));
}

/* All buffers go back, those in the queue too. What was to be recorded and was not is zeroes. */
static void flush(struct sound *sound, enum pv_audio_way way, enum snd_code code, unsigned *budget)
{
    struct sound_stream *stream = &sound->streams[way];
    while (stream->count || current(sound, way, budget)) {
        if (way == PV_AUDIO_RECORD)
            fill_with_zeroes(&stream->buffers[0]);
        finish_first(sound, way, code);
    }
}

void sound_pcm_pump(struct sound *sound, enum pv_audio_way way)
{
    struct sound_stream *stream = &sound->streams[way];
    struct pv_virtq *queue = pv_virtio_queue(&sound->base, sound_queue_of(way));
    unsigned budget = PV_VIRTQ_BUDGET;
    if (stream->state != SOUND_RUNNING || !pv_virtq_running(queue) ||
        pv_virtio_is_quiet(&sound->base))
        return;
    if (stream->broken)
        flush(sound, way, SND_IO_ERROR, &budget);
    else if (way == PV_AUDIO_PLAY)
        play(sound, &budget);
    else
        capture(sound, &budget);
    pv_virtq_notify(queue);
    if (!budget)
        pv_virtq_reschedule(queue);
}

/* ---- Requests ---- */

static enum snd_code set_params(struct sound *sound, enum pv_audio_way way,
                                const struct snd_pcm_params *params)
{
    struct sound_stream *stream = &sound->streams[way];
    struct sound_stream wanted = {
        .format = params->format, .rate = params->rate, .channels = params->channels};
    struct pv_audio_format format;
    if (!params->period_bytes || params->buffer_bytes < params->period_bytes ||
        params->buffer_bytes % params->period_bytes)
        return SND_BAD_MESSAGE;
    if (params->features || !translate(&wanted, &format) ||
        !pv_audio_caps_have(pv_audio_caps(sound->audio, way), &format))
        return SND_NOT_SUPPORTED;
    if (params->period_bytes % pv_audio_frame(&format))
        return SND_BAD_MESSAGE;
    stream->format = params->format;
    stream->rate = params->rate;
    stream->channels = params->channels;
    return SND_OK;
}

/* The host's end begins anew. */
static void open_host(struct sound *sound, enum pv_audio_way way)
{
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct sound_stream *stream = &sound->streams[way];
    struct pv_audio_format format;
    stream->sent = 0;
    stream->broken =
        !translate(stream, &format) || pv_audio_open(sound->audio, way, &format, &err) < 0;
    if (err)
        pv_warn(PV_LOG_AUDIO, "%s", pv_error_message(err));
}

static void release(struct sound *sound, enum pv_audio_way way)
{
    unsigned budget = SOUND_QUEUE_SIZE;
    pv_audio_close(sound->audio, way);
    flush(sound, way, SND_OK, &budget);
    pv_virtq_notify(pv_virtio_queue(&sound->base, sound_queue_of(way)));
}

/* The states that each request may come in, and the one that it leads to. */
static const struct transition {
    unsigned from;
    enum sound_state to;
} transitions[] = {
    {1u << SOUND_IDLE | 1u << SOUND_SET | 1u << SOUND_PREPARED, SOUND_SET}, /* SET_PARAMS */
    {1u << SOUND_SET | 1u << SOUND_PREPARED, SOUND_PREPARED},               /* PREPARE */
    {1u << SOUND_PREPARED | 1u << SOUND_STOPPED, SOUND_SET},                /* RELEASE */
    {1u << SOUND_PREPARED | 1u << SOUND_STOPPED, SOUND_RUNNING},            /* START */
    {1u << SOUND_RUNNING, SOUND_STOPPED},                                   /* STOP */
};

enum snd_code sound_pcm_request(struct sound *sound, enum snd_code code, enum pv_audio_way way,
                                const struct snd_pcm_params *params)
{
    struct sound_stream *stream = &sound->streams[way];
    const struct transition *transition = &transitions[code - SND_PCM_SET_PARAMS];
    enum snd_code status = SND_OK;
    if (!(transition->from >> stream->state & 1))
        return SND_BAD_MESSAGE;
    if (code == SND_PCM_SET_PARAMS)
        status = set_params(sound, way, params);
    if (status != SND_OK)
        return status;
    switch (code) {
    case SND_PCM_SET_PARAMS:
        if (stream->state == SOUND_PREPARED)
            release(sound, way);
        break;
    case SND_PCM_PREPARE: open_host(sound, way); break;
    case SND_PCM_RELEASE: release(sound, way); break;
    default: pv_audio_run(sound->audio, way, code == SND_PCM_START); break;
    }
    stream->state = transition->to;
    sound_pcm_pump(sound, way);
    return SND_OK;
}

/* ---- Life ---- */

void sound_pcm_drop(struct sound *sound, enum pv_audio_way way)
{
    struct sound_stream *stream = &sound->streams[way];
    for (unsigned i = 0; i < stream->count; i++)
        pv_virtq_chain_finish(&stream->buffers[i].chain);
    stream->count = 0;
}

void sound_pcm_reset(struct sound *sound, enum pv_audio_way way)
{
    sound_pcm_drop(sound, way);
    pv_audio_close(sound->audio, way);
    sound->streams[way] = (struct sound_stream){0};
}

void sound_pcm_record(struct sound *sound, enum pv_audio_way way, struct pv_record *record)
{
    struct sound_stream *stream = &sound->streams[way];
    pv_record_limited(record, &stream->state, SOUND_STATES - 1);
    pv_record_u8(record, &stream->format);
    pv_record_u8(record, &stream->rate);
    pv_record_u8(record, &stream->channels);
    if (!pv_record_loading(record) || !pv_record_ok(record) || stream->state < SOUND_PREPARED)
        return;
    open_host(sound, way);
    pv_audio_run(sound->audio, way, stream->state == SOUND_RUNNING);
}
