/* SPDX-License-Identifier: MIT */
/* For those who play and record (audio.h). */
#ifndef PV_AUDIO_AUDIO_IMPL_H
#define PV_AUDIO_AUDIO_IMPL_H

#include "audio/audio.h"

#include <pthread.h>

struct pv_event;
struct pv_timer;

/*
 * A backend's calls, each for one way at a time and in this order: open, run ..., close. They come
 * with the audio's `control` lock held, so they never overlap.
 */
struct pv_audio_ops {
    const char *name;
    /* Either moves sound by itself, with pv_audio_move(), from run(true) until run(false) returns.
     */
    int (*open)(struct pv_audio *audio, enum pv_audio_way way, struct pv_error **err);
    void (*run)(struct pv_audio *audio, enum pv_audio_way way, bool on);
    void (*close)(struct pv_audio *audio, enum pv_audio_way way);
    /*
     * ... or, where this is there, is given (to play) or asked for (recorded) as many bytes as the
     * time that has passed is worth. On the loop, `control` held. False: it was unplugged by that.
     */
    bool (*pass)(struct pv_audio *audio, enum pv_audio_way way, void *data, size_t size);
    void (*destroy)(struct pv_audio *audio);
};

struct pv_audio_stream {
    struct pv_audio *audio;
    struct pv_audio_caps caps;     /* the backend's, before init */
    bool unplugged;                /* likewise; then under `control` */
    struct pv_audio_format format; /* under `control`, while open */
    bool open, running;            /* likewise */
    size_t device_latency;         /* the backend's, set in its open(): bytes beyond the queue */

    pthread_mutex_t lock; /* of the queue; innermost */
    uint8_t *queue;       /* a ring of `size` bytes, or NULL */
    size_t size, start, fill;

    struct pv_event *ready, *plugged;
    struct pv_timer *timer; /* ticks while a backend with pass() runs */
    uint64_t since_ns;      /* when `passed` frames ago were counted from */
    uint64_t passed;
};

/* Embedded first in every backend. */
struct pv_audio {
    const struct pv_audio_ops *ops;
    struct pv_loop *loop;
    struct pv_audio_client client;
    pthread_mutex_t control; /* order: a device's lock, `control`, a stream's lock */
    struct pv_audio_stream streams[PV_AUDIO_WAYS];
};

/* With ops and the streams' caps set; on failure nothing is left to be released. */
int pv_audio_init(struct pv_audio *audio, struct pv_loop *loop, struct pv_error **err);

/*
 * The far end of the queue: takes what is to be played, or adds what was recorded; returns how many
 * bytes, and tells the client when that made a difference. Any thread; nothing but the queue is
 * locked.
 */
size_t pv_audio_move(struct pv_audio *audio, enum pv_audio_way way, void *data, size_t size);

#endif
