/* SPDX-License-Identifier: MIT */
/*
 * A sound card: control requests and events. What it can play and record is what the host's end
 * (audio/audio.h) can; there is one stream, one jack and two channel maps (mono and stereo) each
 * way, all in one node, so that a driver makes one PCM device of them.
 *
 * Requests are answered at once, on the loop. A driver that is told of a microphone unplugged while
 * it has no buffer in the event queue is told as soon as it has one.
 */
#include "device/sound.h"

#include "base/error.h"
#include "base/record.h"
#include "base/util.h"
#include "device/sound_impl.h"

#include <string.h>

enum { MAPS_OF_WAY = 2, MAPS = MAPS_OF_WAY * PV_AUDIO_WAYS };

/* ---- What there is ---- */

static void jack_info(struct sound *sound, unsigned id, void *out)
{
    /* HDA: a jack on the back, green line out or pink microphone; it knows when one is plugged in.
     */
    static const uint32_t defaults[PV_AUDIO_WAYS] = {0x01014010, 0x01a19020};
    static const uint32_t capabilities[PV_AUDIO_WAYS] = {1u << 4 | 1u << 2, 1u << 5 | 1u << 2};
    *(struct snd_jack_info *)out = (struct snd_jack_info){
        .defaults = defaults[id],
        .capabilities = capabilities[id],
        .connected = pv_audio_plugged(sound->audio, id),
    };
}

static void pcm_info(struct sound *sound, unsigned id, void *out)
{
    const struct pv_audio_caps *caps = pv_audio_caps(sound->audio, id);
    *(struct snd_pcm_info *)out = (struct snd_pcm_info){
        .formats = sound_formats(caps),
        .rates = sound_rates(caps),
        .direction = id == PV_AUDIO_PLAY ? SND_OUTPUT : SND_INPUT,
        .channels_min = (uint8_t)caps->channels_min,
        .channels_max = (uint8_t)caps->channels_max,
    };
}

static void chmap_info(struct sound *sound, unsigned id, void *out)
{
    const bool stereo = id % MAPS_OF_WAY;
    *(struct snd_chmap_info *)out = (struct snd_chmap_info){
        .direction = id / MAPS_OF_WAY == PV_AUDIO_PLAY ? SND_OUTPUT : SND_INPUT,
        .channels = stereo ? 2 : 1,
        .positions = {stereo ? SND_FRONT_LEFT : SND_MONO, stereo ? SND_FRONT_RIGHT : 0},
    };
}

static const struct info {
    enum snd_code code;
    unsigned count;
    size_t size;
    void (*get)(struct sound *sound, unsigned id, void *out);
} infos[] = {
    {SND_JACK_INFO, PV_AUDIO_WAYS, sizeof(struct snd_jack_info), jack_info},
    {SND_PCM_INFO, PV_AUDIO_WAYS, sizeof(struct snd_pcm_info), pcm_info},
    {SND_CHMAP_INFO, MAPS, sizeof(struct snd_chmap_info), chmap_info},
};

/* Items behind the status; returns their bytes. */
static size_t answer_query(struct sound *sound, const struct info *info,
                           const struct pv_virtq_chain *chain, enum snd_code *status)
{
    struct snd_query query;
    uint64_t item[4];
    size_t at = sizeof(uint32_t);
    *status = SND_BAD_MESSAGE;
    if (pv_virtq_read(chain, 0, &query, sizeof(query)) < sizeof(query) ||
        query.first > info->count || query.count > info->count - query.first ||
        query.size != info->size || chain->in_bytes < at + query.count * info->size)
        return 0;
    *status = SND_OK;
    for (uint32_t i = 0; i < query.count; i++) {
        info->get(sound, query.first + i, item);
        at += pv_virtq_write(chain, at, item, info->size);
    }
    return at - sizeof(uint32_t);
}

/* ---- Requests ---- */

static enum snd_code pcm_request(struct sound *sound, enum snd_code code,
                                 const struct pv_virtq_chain *chain)
{
    struct snd_pcm_params params = {0};
    const size_t size = code == SND_PCM_SET_PARAMS ? sizeof(params) : sizeof(struct snd_request);
    if (pv_virtq_read(chain, 0, &params, size) < size || params.request.id >= PV_AUDIO_WAYS)
        return SND_BAD_MESSAGE;
    return sound_pcm_request(sound, code, params.request.id, &params);
}

/* Returns how many bytes of the answer were written. */
static size_t answer(struct sound *sound, const struct pv_virtq_chain *chain)
{
    uint32_t code = 0;
    enum snd_code status = SND_BAD_MESSAGE;
    size_t size = 0;
    const struct info *info = infos, *end = infos + PV_ARRAY_SIZE(infos);
    bool whole = pv_virtq_read(chain, 0, &code, sizeof(code)) == sizeof(code);
    while (info < end && info->code != code)
        info++;
    if (whole && info < end)
        size = answer_query(sound, info, chain, &status);
    else if (whole && code >= SND_PCM_SET_PARAMS && code <= SND_PCM_STOP)
        status = pcm_request(sound, code, chain);
    else if (whole)
        status = SND_NOT_SUPPORTED;
    const uint32_t wire = status;
    return size + pv_virtq_write(chain, 0, &wire, sizeof(wire));
}

static void serve_control(struct sound *sound)
{
    struct pv_virtq *queue = pv_virtio_queue(&sound->base, SOUND_CONTROL);
    struct pv_virtq_chain chain;
    unsigned budget = PV_VIRTQ_BUDGET;
    while (budget && pv_virtq_pop(queue, &chain) == 1) {
        pv_virtq_push(queue, &chain, answer(sound, &chain));
        budget--;
    }
    pv_virtq_notify(queue);
    if (!budget)
        pv_virtq_reschedule(queue);
}

/* ---- Events ---- */

static void tell_jacks(struct sound *sound)
{
    struct pv_virtq *queue = pv_virtio_queue(&sound->base, SOUND_EVENT);
    struct pv_virtq_chain chain;
    while (sound->jacks_changed && pv_virtq_pop(queue, &chain) == 1) {
        const enum pv_audio_way way = (enum pv_audio_way)__builtin_ctz(sound->jacks_changed);
        const struct snd_request event = {pv_audio_plugged(sound->audio, way)
                                              ? SND_EVENT_JACK_CONNECTED
                                              : SND_EVENT_JACK_DISCONNECTED,
                                          way};
        sound->jacks_changed &= sound->jacks_changed - 1;
        pv_virtq_push(queue, &chain, pv_virtq_write(&chain, 0, &event, sizeof(event)));
    }
    pv_virtq_notify(queue);
}

static void on_plugged(void *opaque, enum pv_audio_way way)
{
    struct sound *sound = opaque;
    pv_virtio_lock(&sound->base);
    /* A driver that has not started asks what is plugged in when it does. */
    if (pv_virtq_running(pv_virtio_queue(&sound->base, SOUND_EVENT))) {
        sound->jacks_changed |= 1u << way;
        tell_jacks(sound);
    }
    pv_virtio_unlock(&sound->base);
}

/* ---- Life ---- */

static void on_ready(void *opaque, enum pv_audio_way way)
{
    struct sound *sound = opaque;
    pv_virtio_lock(&sound->base);
    sound_pcm_pump(sound, way);
    pv_virtio_unlock(&sound->base);
}

static void queue_ready(struct pv_virtio_device *dev, unsigned index)
{
    struct sound *sound = (struct sound *)dev;
    switch (index) {
    case SOUND_CONTROL: serve_control(sound); break;
    case SOUND_EVENT: tell_jacks(sound); break;
    case SOUND_TX: sound_pcm_pump(sound, PV_AUDIO_PLAY); break;
    default: sound_pcm_pump(sound, PV_AUDIO_RECORD); break;
    }
}

static void config_read(struct pv_virtio_device *dev, size_t offset, void *buf, size_t size)
{
    const struct snd_config config = {.jacks = PV_AUDIO_WAYS, .streams = PV_AUDIO_WAYS, MAPS};
    memcpy(buf, (const char *)&config + offset, size);
}

static void reset(struct pv_virtio_device *dev)
{
    struct sound *sound = (struct sound *)dev;
    for (unsigned way = 0; way < PV_AUDIO_WAYS; way++)
        sound_pcm_reset(sound, way);
    sound->jacks_changed = 0;
}

static void queue_reset(struct pv_virtio_device *dev, unsigned queue)
{
    struct sound *sound = (struct sound *)dev;
    for (unsigned way = 0; way < PV_AUDIO_WAYS; way++)
        if (queue == sound_queue_of(way))
            sound_pcm_drop(sound, way);
}

static void record(struct pv_virtio_device *dev, struct pv_record *record)
{
    struct sound *sound = (struct sound *)dev;
    pv_record_limited(record, &sound->jacks_changed, (1u << PV_AUDIO_WAYS) - 1);
    for (unsigned way = 0; way < PV_AUDIO_WAYS; way++)
        sound_pcm_record(sound, way, record);
}

static void destroy(struct pv_virtio_device *dev)
{
    pv_audio_set_client(((struct sound *)dev)->audio, NULL);
    free(dev);
}

static const struct pv_virtio_device_ops sound_ops = {
    .name = "sound",
    .id = PV_VIRTIO_ID_SOUND,
    .config_size = sizeof(struct snd_config),
    .config_read = config_read,
    .reset = reset,
    .queue_reset = queue_reset,
    .queue_ready = queue_ready,
    .record = record,
    .destroy = destroy,
};

int pv_sound_create(struct pv_virtio_device **out, struct pv_loop *loop,
                    struct pv_address_space *as, struct pv_audio *audio, struct pv_error **err)
{
    int ret = pv_virtio_device_create(out, sizeof(struct sound), &sound_ops, loop, as, 0,
                                      SOUND_QUEUES, SOUND_QUEUE_SIZE, err);
    if (ret < 0)
        return ret;
    struct sound *sound = (struct sound *)*out;
    const struct pv_audio_client client = {on_ready, on_plugged, sound};
    sound->audio = audio;
    pv_audio_set_client(audio, &client);
    return 0;
}
