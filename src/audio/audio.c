/* SPDX-License-Identifier: MIT */
/*
 * Queues and the clock of sounds (audio.h).
 *
 * A backend that has no clock of its own gets one: a timer looks every 10 ms how many frames should
 * have passed since the stream ran, and passes them, asking the card for more as often as it takes.
 * When the card has no more, the clock starts anew: what a guest did not play in time is a pause,
 * not a debt. Nor does a late tick make up for more than 20 ms: a driver whose whole buffer passes
 * at once finds its position unchanged, and takes the card for dead.
 *
 * Locks. `control` orders opening, running and closing against the tick. A backend with a thread of
 * its own (SDL) touches only the queue from it, under the stream's lock, under which nothing is
 * called: so closing a device waits for that thread safely, whatever the caller has locked.
 */
#include "audio/audio_impl.h"

#include "base/error.h"
#include "base/util.h"
#include "host/clock.h"
#include "host/loop.h"

#include <errno.h>
#include <string.h>

#define TICK_NS        (10 * UINT64_C(1000000))
#define QUEUE_MS       50u
#define MOST_BEHIND_MS 20u
#define PASS_AT_ONCE   4096u

size_t pv_audio_frame(const struct pv_audio_format *format)
{
    static const uint8_t bytes[PV_AUDIO_SAMPLES] = {1, 2, 4, 4};
    return (size_t)bytes[format->sample] * format->channels;
}

bool pv_audio_caps_have(const struct pv_audio_caps *caps, const struct pv_audio_format *format)
{
    return format->sample < PV_AUDIO_SAMPLES && caps->samples >> format->sample & 1 &&
           format->rate >= caps->rate_min && format->rate <= caps->rate_max &&
           format->channels >= caps->channels_min && format->channels <= caps->channels_max;
}

/* ---- The queue ---- */

static size_t queue_room(const struct pv_audio_stream *stream)
{
    return stream->size - stream->fill;
}

static size_t queue_put(struct pv_audio_stream *stream, const uint8_t *data, size_t size)
{
    size = PV_MIN(size, queue_room(stream));
    for (size_t done = 0; done < size;) {
        size_t at = (stream->start + stream->fill) % stream->size;
        size_t piece = PV_MIN(size - done, stream->size - at);
        memcpy(stream->queue + at, data + done, piece);
        stream->fill += piece;
        done += piece;
    }
    return size;
}

static size_t queue_take(struct pv_audio_stream *stream, uint8_t *data, size_t size)
{
    size = PV_MIN(size, stream->fill);
    for (size_t done = 0; done < size;) {
        size_t piece = PV_MIN(size - done, stream->size - stream->start);
        memcpy(data + done, stream->queue + stream->start, piece);
        stream->start = (stream->start + piece) % stream->size;
        stream->fill -= piece;
        done += piece;
    }
    return size;
}

size_t pv_audio_ready(struct pv_audio *audio, enum pv_audio_way way)
{
    struct pv_audio_stream *stream = &audio->streams[way];
    pthread_mutex_lock(&stream->lock);
    size_t size = way == PV_AUDIO_PLAY ? queue_room(stream) : stream->fill;
    pthread_mutex_unlock(&stream->lock);
    return size;
}

size_t pv_audio_play(struct pv_audio *audio, const void *data, size_t size)
{
    struct pv_audio_stream *stream = &audio->streams[PV_AUDIO_PLAY];
    pthread_mutex_lock(&stream->lock);
    size = queue_put(stream, data, size);
    pthread_mutex_unlock(&stream->lock);
    return size;
}

size_t pv_audio_record(struct pv_audio *audio, void *data, size_t size)
{
    struct pv_audio_stream *stream = &audio->streams[PV_AUDIO_RECORD];
    pthread_mutex_lock(&stream->lock);
    size = queue_take(stream, data, size);
    pthread_mutex_unlock(&stream->lock);
    return size;
}

size_t pv_audio_queued(struct pv_audio *audio)
{
    struct pv_audio_stream *stream = &audio->streams[PV_AUDIO_PLAY];
    pthread_mutex_lock(&stream->lock);
    size_t size = stream->fill;
    pthread_mutex_unlock(&stream->lock);
    return size;
}

size_t pv_audio_latency(struct pv_audio *audio, enum pv_audio_way way)
{
    struct pv_audio_stream *stream = &audio->streams[way];
    pthread_mutex_lock(&stream->lock);
    size_t size = stream->size ? stream->fill + stream->device_latency : 0;
    pthread_mutex_unlock(&stream->lock);
    return size;
}

/* Recorded sound that nobody fetched in time makes room for what is said now. */
static size_t put_recorded(struct pv_audio_stream *stream, const uint8_t *data, size_t size)
{
    uint8_t old[64];
    size = PV_MIN(size, stream->size);
    while (queue_room(stream) < size)
        queue_take(stream, old, PV_MIN(sizeof(old), size - queue_room(stream)));
    return queue_put(stream, data, size);
}

static size_t move(struct pv_audio_stream *stream, enum pv_audio_way way, void *data, size_t size)
{
    pthread_mutex_lock(&stream->lock);
    size = way == PV_AUDIO_PLAY ? queue_take(stream, data, size) : put_recorded(stream, data, size);
    pthread_mutex_unlock(&stream->lock);
    return size;
}

size_t pv_audio_move(struct pv_audio *audio, enum pv_audio_way way, void *data, size_t size)
{
    /* Told even when nothing moved: the card may have something by then. */
    size_t moved = move(&audio->streams[way], way, data, size);
    pv_event_signal(audio->streams[way].ready);
    return moved;
}

/* ---- The clock ---- */

/* Frames that should have passed by now and have not. */
static uint64_t frames_due(struct pv_audio_stream *stream)
{
    const uint64_t rate = stream->format.rate, now = pv_clock_ns();
    const uint64_t most = rate * MOST_BEHIND_MS / 1000;
    if (now - stream->since_ns > 2 * PV_NSEC_PER_SEC) { /* the process stood still */
        stream->since_ns = now;
        stream->passed = 0;
    }
    if (now - stream->since_ns >= PV_NSEC_PER_SEC && stream->passed >= rate) {
        stream->since_ns += PV_NSEC_PER_SEC; /* whole seconds are done with: numbers stay small */
        stream->passed -= rate;
    }
    const uint64_t total = (now - stream->since_ns) * rate / PV_NSEC_PER_SEC;
    uint64_t due = total > stream->passed ? total - stream->passed : 0;
    if (due > most) {
        stream->passed += due - most;
        due = most;
    }
    return due;
}

/* Passes one piece of what is due; false when nothing is, or the card has nothing. */
static bool pass_piece(struct pv_audio_stream *stream, enum pv_audio_way way)
{
    uint8_t data[PASS_AT_ONCE];
    struct pv_audio *audio = stream->audio;
    const size_t frame = pv_audio_frame(&stream->format);
    const uint64_t due = stream->running ? frames_due(stream) : 0;
    size_t size = (size_t)PV_MIN(due, (uint64_t)sizeof(data) / frame) * frame;
    bool was = stream->unplugged;
    if (!size)
        return false;
    if (way == PV_AUDIO_PLAY) {
        size = move(stream, way, data, size);
        audio->ops->pass(audio, way, data, size);
    } else {
        stream->unplugged = !audio->ops->pass(audio, way, data, size);
        move(stream, way, data, size);
    }
    stream->passed += size / frame;
    if (!size) { /* it did not play in time */
        stream->since_ns = pv_clock_ns();
        stream->passed = 0;
    }
    if (was != stream->unplugged)
        pv_event_signal(stream->plugged);
    return size;
}

static enum pv_audio_way way_of(const struct pv_audio_stream *stream)
{
    return (enum pv_audio_way)(stream - stream->audio->streams);
}

static void on_ready(void *opaque)
{
    struct pv_audio_stream *stream = opaque;
    const struct pv_audio_client *client = &stream->audio->client;
    if (client->ready)
        client->ready(client->opaque, way_of(stream));
}

static void on_plugged(void *opaque)
{
    struct pv_audio_stream *stream = opaque;
    const struct pv_audio_client *client = &stream->audio->client;
    if (client->plugged)
        client->plugged(client->opaque, way_of(stream));
}

static void on_tick(void *opaque)
{
    struct pv_audio_stream *stream = opaque;
    struct pv_audio *audio = stream->audio;
    bool more = true;
    while (more) {
        pthread_mutex_lock(&audio->control);
        more = pass_piece(stream, way_of(stream));
        pthread_mutex_unlock(&audio->control);
        on_ready(stream);
    }
    pthread_mutex_lock(&audio->control);
    if (stream->running)
        pv_timer_set(stream->timer, pv_clock_ns() + TICK_NS);
    pthread_mutex_unlock(&audio->control);
}

/* ---- Streams ---- */

static void run_locked(struct pv_audio_stream *stream, bool on)
{
    struct pv_audio *audio = stream->audio;
    if (!stream->open || stream->running == on)
        return;
    stream->running = on;
    if (audio->ops->run)
        audio->ops->run(audio, way_of(stream), on);
    if (!audio->ops->pass)
        return;
    stream->since_ns = pv_clock_ns();
    stream->passed = 0;
    pv_timer_set(stream->timer, on ? stream->since_ns + TICK_NS : UINT64_MAX);
}

static void close_locked(struct pv_audio_stream *stream)
{
    if (!stream->open)
        return;
    run_locked(stream, false);
    if (stream->audio->ops->close)
        stream->audio->ops->close(stream->audio, way_of(stream));
    stream->open = false;
    pthread_mutex_lock(&stream->lock);
    free(stream->queue);
    stream->queue = NULL;
    stream->size = stream->start = stream->fill = stream->device_latency = 0;
    pthread_mutex_unlock(&stream->lock);
}

static int open_locked(struct pv_audio_stream *stream, const struct pv_audio_format *format,
                       struct pv_error **err)
{
    struct pv_audio *audio = stream->audio;
    close_locked(stream);
    if (!pv_audio_caps_have(&stream->caps, format))
        return pv_error_set(err, EINVAL, "sound: a format that %s does not know", audio->ops->name);
    const size_t size = format->rate / (1000 / QUEUE_MS) * pv_audio_frame(format);
    uint8_t *queue = malloc(size);
    if (!queue)
        return pv_error_set(err, ENOMEM, "sound: out of memory");
    stream->format = *format;
    pthread_mutex_lock(&stream->lock);
    stream->queue = queue;
    stream->size = size;
    pthread_mutex_unlock(&stream->lock);
    stream->open = true;
    int ret = audio->ops->open ? audio->ops->open(audio, way_of(stream), err) : 0;
    if (ret < 0)
        close_locked(stream);
    return ret;
}

int pv_audio_open(struct pv_audio *audio, enum pv_audio_way way,
                  const struct pv_audio_format *format, struct pv_error **err)
{
    pthread_mutex_lock(&audio->control);
    int ret = open_locked(&audio->streams[way], format, err);
    pthread_mutex_unlock(&audio->control);
    return ret;
}

void pv_audio_run(struct pv_audio *audio, enum pv_audio_way way, bool on)
{
    pthread_mutex_lock(&audio->control);
    run_locked(&audio->streams[way], on);
    pthread_mutex_unlock(&audio->control);
}

void pv_audio_close(struct pv_audio *audio, enum pv_audio_way way)
{
    pthread_mutex_lock(&audio->control);
    close_locked(&audio->streams[way]);
    pthread_mutex_unlock(&audio->control);
}

const struct pv_audio_caps *pv_audio_caps(const struct pv_audio *audio, enum pv_audio_way way)
{
    return &audio->streams[way].caps;
}

bool pv_audio_plugged(struct pv_audio *audio, enum pv_audio_way way)
{
    pthread_mutex_lock(&audio->control);
    bool plugged = !audio->streams[way].unplugged;
    pthread_mutex_unlock(&audio->control);
    return plugged;
}

/* ---- Life ---- */

void pv_audio_set_client(struct pv_audio *audio, const struct pv_audio_client *client)
{
    audio->client = client ? *client : (struct pv_audio_client){0};
}

static void finish(struct pv_audio *audio)
{
    for (unsigned way = 0; way < PV_AUDIO_WAYS; way++) {
        struct pv_audio_stream *stream = &audio->streams[way];
        pv_event_destroy(stream->ready);
        pv_event_destroy(stream->plugged);
        pv_timer_destroy(stream->timer);
        pthread_mutex_destroy(&stream->lock);
    }
    pthread_mutex_destroy(&audio->control);
}

int pv_audio_init(struct pv_audio *audio, struct pv_loop *loop, struct pv_error **err)
{
    int ret = 0;
    audio->loop = loop;
    pthread_mutex_init(&audio->control, NULL);
    for (unsigned way = 0; way < PV_AUDIO_WAYS; way++) {
        struct pv_audio_stream *stream = &audio->streams[way];
        stream->audio = audio;
        pthread_mutex_init(&stream->lock, NULL);
        if (ret >= 0)
            ret = pv_event_create(&stream->ready, loop, on_ready, stream, err);
        if (ret >= 0)
            ret = pv_event_create(&stream->plugged, loop, on_plugged, stream, err);
        if (ret >= 0)
            ret = pv_timer_create(&stream->timer, loop, on_tick, stream, err);
    }
    if (ret < 0)
        finish(audio);
    return ret;
}

void pv_audio_destroy(struct pv_audio *audio)
{
    if (!audio)
        return;
    for (unsigned way = 0; way < PV_AUDIO_WAYS; way++)
        pv_audio_close(audio, way);
    finish(audio);
    audio->ops->destroy(audio);
}
