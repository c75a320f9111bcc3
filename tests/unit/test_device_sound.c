/* SPDX-License-Identifier: MIT */
/* The sound card, driven through its rings; what is at its other end moves when the test says so.
 */
#include "virtio_driver.h"

#include "audio/audio_impl.h"
#include "base/record.h"
#include "device/sound.h"
#include "device/sound_protocol.h"

#include <errno.h>

enum { CONTROL, EVENT, TX, RX };
enum { PLAY = PV_AUDIO_PLAY, RECORD = PV_AUDIO_RECORD };

#define ANSWER  (DATA + 0x1000)
#define BUFFERS (DATA + 0x10000) /* a page and a half each */
#define STEP    0x1800u

/* ---- The host's end ---- */

struct host {
    struct pv_audio base;
    bool running[PV_AUDIO_WAYS], broken;
    unsigned opened, closed;
};

static int host_open(struct pv_audio *audio, enum pv_audio_way way, struct pv_error **err)
{
    struct host *host = (struct host *)audio;
    host->opened++;
    audio->streams[way].device_latency = 100;
    return host->broken ? pv_error_set(err, EIO, "it does not open") : 0;
}

static void host_run(struct pv_audio *audio, enum pv_audio_way way, bool on)
{
    ((struct host *)audio)->running[way] = on;
}

static void host_close(struct pv_audio *audio, enum pv_audio_way way)
{
    ((struct host *)audio)->closed++;
}

static void host_destroy(struct pv_audio *audio) {}

static const struct pv_audio_ops host_ops = {
    .name = "test",
    .open = host_open,
    .run = host_run,
    .close = host_close,
    .destroy = host_destroy,
};

/* 8000 Hz, so that the queue of 50 ms holds 400 frames. */
static void setup(struct driver *d, struct host *host)
{
    const struct pv_audio_caps caps = {
        .samples = 1u << PV_AUDIO_S16 | 1u << PV_AUDIO_U8,
        .rate_min = 8000,
        .rate_max = 16000,
        .channels_min = 1,
        .channels_max = 2,
    };
    struct pv_virtio_device *dev;
    driver_setup(d);
    *host = (struct host){.base.ops = &host_ops};
    host->base.streams[PLAY].caps = host->base.streams[RECORD].caps = caps;
    assert_int_equal(pv_audio_init(&host->base, d->loop, NULL), 0);
    assert_int_equal(pv_sound_create(&dev, d->loop, d->as, &host->base, NULL), 0);
    attach(d, dev);
}

static void teardown(struct driver *d, struct host *host)
{
    pv_virtio_device_destroy(d->dev);
    d->dev = NULL;
    pv_audio_destroy(&host->base);
    driver_teardown(d);
}

/* ---- Requests ---- */

/* Sends a request and returns the status; `*used` bytes of the answer were written. */
static uint32_t request(struct driver *d, const void *data, uint32_t size, uint32_t room,
                        uint32_t *used)
{
    unsigned n = used_index(d, CONTROL);
    assert_int_equal(pv_as_write(d->as, DATA, data, size), 0);
    put_desc(d, CONTROL, 0, DATA, size, DESC_NEXT, 1);
    put_desc(d, CONTROL, 1, ANSWER, room, DESC_WRITE, 0);
    offer(d, CONTROL, 0);
    kick(d, CONTROL);
    assert_int_equal(used_index(d, CONTROL), n + 1);
    if (used)
        *used = used_len(d, CONTROL, n);
    return load32(d, ANSWER);
}

static uint32_t pcm(struct driver *d, uint32_t code, uint32_t stream)
{
    const struct snd_request message = {code, stream};
    return request(d, &message, sizeof(message), 4, NULL);
}

static const struct snd_pcm_params usual = {
    .request = {SND_PCM_SET_PARAMS, PLAY},
    .buffer_bytes = 3200,
    .period_bytes = 800,
    .channels = 2,
    .format = SND_FORMAT_S16,
    .rate = 1, /* 8000 */
};

static uint32_t set_params(struct driver *d, uint32_t stream)
{
    struct snd_pcm_params params = usual;
    params.request.id = stream;
    return request(d, &params, sizeof(params), 4, NULL);
}

static uint32_t query(struct driver *d, uint32_t code, uint32_t first, uint32_t count,
                      uint32_t size, uint32_t *used)
{
    const struct snd_query message = {code, first, count, size};
    return request(d, &message, sizeof(message), 4 + 4 * 32, used);
}

static void test_what_there_is(void **state)
{
    struct driver d;
    struct host host;
    struct snd_jack_info jacks[2];
    struct snd_pcm_info streams[2];
    struct snd_chmap_info maps[4];
    uint32_t used;
    setup(&d, &host);
    host.base.streams[RECORD].unplugged = true;
    bring_up(&d, VERSION_1);
    assert_int_equal(pv_virtio_config_read(d.dev, 0, 4), 2);
    assert_int_equal(pv_virtio_config_read(d.dev, 4, 4), 2);
    assert_int_equal(pv_virtio_config_read(d.dev, 8, 4), 4);

    assert_int_equal(query(&d, SND_JACK_INFO, 0, 2, sizeof(jacks[0]), &used), SND_OK);
    assert_int_equal(used, 4 + sizeof(jacks));
    assert_int_equal(pv_as_read(d.as, ANSWER + 4, jacks, sizeof(jacks)), 0);
    assert_true(jacks[PLAY].connected && !jacks[RECORD].connected);

    assert_int_equal(query(&d, SND_PCM_INFO, 1, 1, sizeof(streams[0]), &used), SND_OK);
    assert_int_equal(used, 4 + sizeof(streams[0]));
    assert_int_equal(pv_as_read(d.as, ANSWER + 4, streams, sizeof(streams[0])), 0);
    assert_int_equal(streams[0].direction, SND_INPUT);
    assert_int_equal(streams[0].formats, 1u << SND_FORMAT_U8 | 1u << SND_FORMAT_S16);
    assert_int_equal(streams[0].rates, 1u << 1 | 1u << 2 | 1u << 3); /* 8000, 11025, 16000 */
    assert_int_equal(streams[0].channels_min, 1);
    assert_int_equal(streams[0].channels_max, 2);

    assert_int_equal(query(&d, SND_CHMAP_INFO, 0, 4, sizeof(maps[0]), &used), SND_OK);
    assert_int_equal(pv_as_read(d.as, ANSWER + 4, maps, sizeof(maps)), 0);
    assert_int_equal(maps[0].channels, 1);
    assert_int_equal(maps[3].channels, 2);
    assert_int_equal(maps[3].direction, SND_INPUT);
    assert_int_equal(maps[3].positions[1], SND_FRONT_RIGHT);
    teardown(&d, &host);
}

static void test_bad_queries(void **state)
{
    static const struct {
        uint32_t code, first, count, size, status;
    } bad[] = {
        {SND_JACK_INFO, 0, 3, 24, SND_BAD_MESSAGE},
        {SND_JACK_INFO, 3, 0, 24, SND_BAD_MESSAGE},
        {SND_JACK_INFO, 1, UINT32_MAX, 24, SND_BAD_MESSAGE},
        {SND_PCM_INFO, 0, 1, 24, SND_BAD_MESSAGE},
        {SND_PCM_INFO, 0, 1, UINT32_MAX, SND_BAD_MESSAGE},
        {SND_JACK_REMAP, 0, 0, 0, SND_NOT_SUPPORTED},
        {SND_CHMAP_INFO + 1, 0, 0, 0, SND_NOT_SUPPORTED},
        {0, 0, 0, 0, SND_NOT_SUPPORTED},
    };
    struct driver d;
    struct host host;
    uint32_t used;
    setup(&d, &host);
    bring_up(&d, VERSION_1);
    for (size_t i = 0; i < PV_ARRAY_SIZE(bad); i++) {
        assert_int_equal(query(&d, bad[i].code, bad[i].first, bad[i].count, bad[i].size, &used),
                         bad[i].status);
        assert_int_equal(used, 4);
    }
    const struct snd_query whole = {SND_PCM_INFO, 0, 2, sizeof(struct snd_pcm_info)};
    assert_int_equal(request(&d, &whole, sizeof(whole), 67, &used), SND_BAD_MESSAGE); /* room */
    assert_int_equal(request(&d, &whole, 15, 68, &used), SND_BAD_MESSAGE);
    assert_int_equal(request(&d, &whole, 3, 68, &used), SND_BAD_MESSAGE);
    assert_int_equal(request(&d, &whole, sizeof(whole), 68, &used), SND_OK);
    assert_false(failed(&d));
    teardown(&d, &host);
}

static void expect_params(struct driver *d, struct snd_pcm_params params, uint32_t status)
{
    assert_int_equal(request(d, &params, sizeof(params), 4, NULL), status);
}

static void test_params(void **state)
{
    struct driver d;
    struct host host;
    struct snd_pcm_params p;
    setup(&d, &host);
    bring_up(&d, VERSION_1);
    p = usual, p.request.id = 2;
    expect_params(&d, p, SND_BAD_MESSAGE);
    p = usual, p.period_bytes = 0;
    expect_params(&d, p, SND_BAD_MESSAGE);
    p = usual, p.period_bytes = 900; /* does not divide the buffer */
    expect_params(&d, p, SND_BAD_MESSAGE);
    p = usual, p.period_bytes = 2; /* half a frame */
    expect_params(&d, p, SND_BAD_MESSAGE);
    p = usual, p.buffer_bytes = 0;
    expect_params(&d, p, SND_BAD_MESSAGE);
    p = usual, p.features = 8;
    expect_params(&d, p, SND_NOT_SUPPORTED);
    p = usual, p.format = SND_FORMAT_FLOAT;
    expect_params(&d, p, SND_NOT_SUPPORTED);
    p = usual, p.format = 0xff;
    expect_params(&d, p, SND_NOT_SUPPORTED);
    p = usual, p.rate = 7; /* 48000 */
    expect_params(&d, p, SND_NOT_SUPPORTED);
    p = usual, p.rate = 0xff;
    expect_params(&d, p, SND_NOT_SUPPORTED);
    p = usual, p.channels = 3;
    expect_params(&d, p, SND_NOT_SUPPORTED);
    assert_int_equal(pcm(&d, SND_PCM_PREPARE, PLAY), SND_BAD_MESSAGE); /* nothing was set */
    assert_int_equal(request(&d, &usual, sizeof(usual) - 1, 4, NULL), SND_BAD_MESSAGE);
    expect_params(&d, usual, SND_OK);
    assert_int_equal(host.opened, 0);
    assert_int_equal(pcm(&d, SND_PCM_PREPARE, PLAY), SND_OK);
    assert_int_equal(host.opened, 1);
    assert_int_equal(host.base.streams[PLAY].format.rate, 8000);
    assert_int_equal(host.base.streams[PLAY].format.channels, 2);
    teardown(&d, &host);
}

/* Every request in every state: the ones of 5.14.6.6.1's picture and no others. */
static void test_states(void **state)
{
    enum { S = 1, P = 2, R = 4, G = 8, H = 16 }; /* set, prepare, release, go, halt */
    static const unsigned way_in[][4] = {
        {0},
        {SND_PCM_SET_PARAMS},
        {SND_PCM_SET_PARAMS, SND_PCM_PREPARE},
        {SND_PCM_SET_PARAMS, SND_PCM_PREPARE, SND_PCM_START},
        {SND_PCM_SET_PARAMS, SND_PCM_PREPARE, SND_PCM_START, SND_PCM_STOP},
    };
    static const unsigned allowed[] = {S, S | P, S | P | R | G, H, R | G};
    struct driver d;
    struct host host;
    for (size_t i = 0; i < PV_ARRAY_SIZE(way_in); i++)
        for (uint32_t code = SND_PCM_SET_PARAMS; code <= SND_PCM_STOP; code++) {
            bool good = allowed[i] >> (code - SND_PCM_SET_PARAMS) & 1;
            setup(&d, &host);
            bring_up(&d, VERSION_1);
            for (unsigned n = 0; n < 4 && way_in[i][n]; n++)
                assert_int_equal(way_in[i][n] == SND_PCM_SET_PARAMS ? set_params(&d, RECORD)
                                                                    : pcm(&d, way_in[i][n], RECORD),
                                 SND_OK);
            assert_int_equal(code == SND_PCM_SET_PARAMS ? set_params(&d, RECORD)
                                                        : pcm(&d, code, RECORD),
                             good ? SND_OK : SND_BAD_MESSAGE);
            teardown(&d, &host);
            assert_int_equal(host.opened, host.closed);
        }
}

/* ---- Sound ---- */

/* Makes the `n`th buffer available: `size` bytes of sound, each `n` + 1. */
static void offer_sound(struct driver *d, unsigned n, uint32_t stream, uint32_t size)
{
    const uint64_t at = BUFFERS + n * (uint64_t)STEP;
    const unsigned desc = n % (RING_SIZE / 2) * 2;
    assert_int_equal(pv_as_write(d->as, at, &stream, 4), 0);
    assert_int_equal(pv_as_fill(d->as, at + 4, (uint8_t)(n + 1), size), 0);
    put_desc(d, TX, desc, at, 4 + size, DESC_NEXT, (uint16_t)(desc + 1));
    put_desc(d, TX, desc + 1, at + STEP - 8, 8, DESC_WRITE, 0);
    offer(d, TX, (uint16_t)desc);
}

static uint32_t sound_status(struct driver *d, unsigned n)
{
    return load32(d, BUFFERS + n * (uint64_t)STEP + STEP - 8);
}

static uint32_t sound_latency(struct driver *d, unsigned n)
{
    return load32(d, BUFFERS + n * (uint64_t)STEP + STEP - 4);
}

/* The host plays `size` bytes, if there are as many, and they are all `value`. */
static size_t hear(struct driver *d, struct host *host, size_t size, uint8_t value)
{
    uint8_t data[4096];
    size = pv_audio_move(&host->base, PV_AUDIO_PLAY, data, size);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(data[i], value);
    driver_run(d);
    return size;
}

static void start(struct driver *d, uint32_t stream)
{
    assert_int_equal(set_params(d, stream), SND_OK);
    assert_int_equal(pcm(d, SND_PCM_PREPARE, stream), SND_OK);
    assert_int_equal(pcm(d, SND_PCM_START, stream), SND_OK);
}

/* The host's queue holds two periods; a period is back when its last byte was played. */
static void test_playing(void **state)
{
    struct driver d;
    struct host host;
    setup(&d, &host);
    bring_up(&d, VERSION_1);
    assert_int_equal(set_params(&d, PLAY), SND_OK);
    assert_int_equal(pcm(&d, SND_PCM_PREPARE, PLAY), SND_OK);
    for (unsigned n = 0; n < 4; n++)
        offer_sound(&d, n, PLAY, 800);
    kick(&d, TX);
    assert_int_equal(pv_audio_queued(&host.base), 0); /* not before it starts */
    assert_int_equal(pcm(&d, SND_PCM_START, PLAY), SND_OK);
    assert_true(host.running[PLAY]);
    assert_int_equal(pv_audio_queued(&host.base), 1600);
    assert_int_equal(used_index(&d, TX), 0);

    assert_int_equal(hear(&d, &host, 796, 1), 796);
    assert_int_equal(used_index(&d, TX), 0);
    assert_int_equal(hear(&d, &host, 4, 1), 4);
    assert_int_equal(used_index(&d, TX), 1);
    assert_int_equal(used_len(&d, TX, 0), 8);
    assert_int_equal(sound_status(&d, 0), SND_OK);
    assert_int_equal(sound_latency(&d, 0), 1600 + 100);
    assert_int_equal(d.interrupts[TX], 1);
    assert_int_equal(hear(&d, &host, 800, 2), 800);

    /* Stopped, it keeps what it has. */
    assert_int_equal(pcm(&d, SND_PCM_STOP, PLAY), SND_OK);
    assert_false(host.running[PLAY]);
    assert_int_equal(pcm(&d, SND_PCM_START, PLAY), SND_OK);
    assert_int_equal(hear(&d, &host, 800, 3), 800);
    assert_int_equal(hear(&d, &host, 800, 4), 800);
    assert_int_equal(hear(&d, &host, 800, 0), 0); /* and that was all */
    assert_int_equal(used_index(&d, TX), 4);
    offer_sound(&d, 4, PLAY, 800);
    kick(&d, TX);
    assert_int_equal(hear(&d, &host, 800, 5), 800);
    assert_int_equal(used_index(&d, TX), 5);
    teardown(&d, &host);
}

/* Buffers that are played, queued, and not looked at yet are all back when it is released. */
static void test_release(void **state)
{
    struct driver d;
    struct host host;
    setup(&d, &host);
    bring_up(&d, VERSION_1);
    start(&d, PLAY);
    for (unsigned n = 0; n < 5; n++)
        offer_sound(&d, n, PLAY, 800);
    kick(&d, TX);
    assert_int_equal(hear(&d, &host, 400, 1), 400);
    assert_int_equal(pcm(&d, SND_PCM_STOP, PLAY), SND_OK);
    assert_int_equal(used_index(&d, TX), 0);
    assert_int_equal(pcm(&d, SND_PCM_RELEASE, PLAY), SND_OK);
    assert_int_equal(used_index(&d, TX), 5);
    assert_int_equal(sound_status(&d, 4), SND_OK);
    assert_int_equal(sound_latency(&d, 4), 0);
    assert_int_equal(host.opened, host.closed);
    assert_int_equal(hear(&d, &host, 400, 0), 0);

    /* And it can begin anew. */
    assert_int_equal(pcm(&d, SND_PCM_PREPARE, PLAY), SND_OK);
    assert_int_equal(pcm(&d, SND_PCM_START, PLAY), SND_OK);
    offer_sound(&d, 5, PLAY, 800);
    kick(&d, TX);
    assert_int_equal(hear(&d, &host, 800, 6), 800);
    assert_int_equal(used_index(&d, TX), 6);
    teardown(&d, &host);
}

static void offer_room(struct driver *d, unsigned n, uint32_t size)
{
    const uint64_t at = BUFFERS + n * (uint64_t)STEP;
    const uint32_t stream = RECORD;
    const unsigned desc = n % (RING_SIZE / 2) * 2;
    assert_int_equal(pv_as_fill(d->as, at, 0xee, STEP), 0);
    assert_int_equal(pv_as_write(d->as, DATA + 64, &stream, 4), 0);
    put_desc(d, RX, desc, DATA + 64, 4, DESC_NEXT, (uint16_t)(desc + 1));
    put_desc(d, RX, desc + 1, at, size + 8, DESC_WRITE, 0);
    offer(d, RX, (uint16_t)desc);
}

static void say(struct driver *d, struct host *host, size_t size, uint8_t value)
{
    uint8_t data[4096];
    memset(data, value, size);
    pv_audio_move(&host->base, PV_AUDIO_RECORD, data, size);
    driver_run(d);
}

static void expect_bytes(struct driver *d, uint64_t at, size_t size, uint8_t value)
{
    uint8_t data[4096];
    assert_int_equal(pv_as_read(d->as, at, data, size), 0);
    for (size_t i = 0; i < size; i++)
        assert_int_equal(data[i], value);
}

static void test_recording(void **state)
{
    struct driver d;
    struct host host;
    setup(&d, &host);
    bring_up(&d, VERSION_1);
    start(&d, RECORD);
    for (unsigned n = 0; n < 3; n++)
        offer_room(&d, n, 800);
    kick(&d, RX);
    assert_int_equal(used_index(&d, RX), 0);
    say(&d, &host, 600, 7);
    assert_int_equal(used_index(&d, RX), 0);
    say(&d, &host, 600, 8);
    assert_int_equal(used_index(&d, RX), 1);
    assert_int_equal(used_len(&d, RX, 0), 808);
    expect_bytes(&d, BUFFERS, 600, 7);
    expect_bytes(&d, BUFFERS + 600, 200, 8);
    assert_int_equal(load32(&d, BUFFERS + 800), SND_OK);

    /* What was not recorded when it is released is silence. */
    assert_int_equal(pcm(&d, SND_PCM_STOP, RECORD), SND_OK);
    assert_int_equal(pcm(&d, SND_PCM_RELEASE, RECORD), SND_OK);
    assert_int_equal(used_index(&d, RX), 3);
    expect_bytes(&d, BUFFERS + STEP, 400, 8);
    expect_bytes(&d, BUFFERS + STEP + 400, 400, 0);
    expect_bytes(&d, BUFFERS + 2 * STEP, 800, 0);
    assert_int_equal(load32(&d, BUFFERS + 2 * STEP + 800), SND_OK);
    expect_bytes(&d, BUFFERS + 2 * STEP + 808, 100, 0xee);

    /* Nobody fetches it: what is heard then is the latest. */
    start(&d, RECORD);
    say(&d, &host, 1600, 1);
    say(&d, &host, 800, 2);
    offer_room(&d, 0, 800);
    offer_room(&d, 1, 800);
    kick(&d, RX);
    expect_bytes(&d, BUFFERS, 800, 1);
    expect_bytes(&d, BUFFERS + STEP, 800, 2);
    teardown(&d, &host);
}

static void test_bad_buffers(void **state)
{
    struct driver d;
    struct host host;
    setup(&d, &host);
    bring_up(&d, VERSION_1);
    start(&d, PLAY);
    offer_sound(&d, 0, RECORD, 800);
    offer_sound(&d, 1, 77, 800);
    offer_sound(&d, 2, PLAY, 0);
    kick(&d, TX);
    assert_int_equal(used_index(&d, TX), 3);
    assert_int_equal(sound_status(&d, 0), SND_BAD_MESSAGE);
    assert_int_equal(sound_status(&d, 1), SND_BAD_MESSAGE);
    assert_int_equal(sound_status(&d, 2), SND_OK);
    put_desc(&d, TX, 0, BUFFERS, 3, DESC_NEXT, 1); /* not even a stream */
    put_desc(&d, TX, 1, BUFFERS + STEP - 8, 8, DESC_WRITE, 0);
    offer(&d, TX, 0);
    kick(&d, TX);
    assert_int_equal(sound_status(&d, 0), SND_BAD_MESSAGE);
    assert_false(failed(&d));
    put_desc(&d, TX, 0, BUFFERS, 804, DESC_NEXT, 1);
    put_desc(&d, TX, 1, BUFFERS + STEP - 8, 7, DESC_WRITE, 0);
    offer(&d, TX, 0);
    kick(&d, TX);
    assert_true(failed(&d));
    bring_up(&d, VERSION_1);
    assert_int_equal(pcm(&d, SND_PCM_STOP, PLAY), SND_BAD_MESSAGE); /* it forgot all */
    assert_false(host.running[PLAY]);
    teardown(&d, &host);
}

/* A host whose device does not open: the guest's buffers do not hang. */
static void test_broken_host(void **state)
{
    struct driver d;
    struct host host;
    setup(&d, &host);
    bring_up(&d, VERSION_1);
    host.broken = true;
    start(&d, PLAY);
    for (unsigned n = 0; n < 2; n++)
        offer_sound(&d, n, PLAY, 800);
    kick(&d, TX);
    assert_int_equal(used_index(&d, TX), 2);
    assert_int_equal(sound_status(&d, 1), SND_IO_ERROR);
    assert_int_equal(d.log_lines, 1);
    assert_int_equal(pcm(&d, SND_PCM_STOP, PLAY), SND_OK);
    assert_int_equal(pcm(&d, SND_PCM_RELEASE, PLAY), SND_OK);
    host.broken = false;
    start(&d, PLAY);
    offer_sound(&d, 2, PLAY, 800);
    kick(&d, TX);
    assert_int_equal(hear(&d, &host, 800, 3), 800);
    teardown(&d, &host);
}

static void plug(struct driver *d, struct host *host, unsigned way, bool in)
{
    host->base.streams[way].unplugged = !in;
    pv_event_signal(host->base.streams[way].plugged);
    driver_run(d);
}

static void test_jacks(void **state)
{
    struct driver d;
    struct host host;
    setup(&d, &host);
    plug(&d, &host, RECORD, false); /* nobody there to be told */
    bring_up(&d, VERSION_1);
    put_desc(&d, EVENT, 0, BUFFERS, 8, DESC_WRITE, 0);
    offer(&d, EVENT, 0);
    kick(&d, EVENT);
    assert_int_equal(used_index(&d, EVENT), 0);
    plug(&d, &host, RECORD, true);
    assert_int_equal(used_index(&d, EVENT), 1);
    assert_int_equal(load32(&d, BUFFERS), SND_EVENT_JACK_CONNECTED);
    assert_int_equal(load32(&d, BUFFERS + 4), RECORD);
    plug(&d, &host, PLAY, false); /* waits for a buffer */
    offer(&d, EVENT, 0);
    kick(&d, EVENT);
    assert_int_equal(used_index(&d, EVENT), 2);
    assert_int_equal(load32(&d, BUFFERS), SND_EVENT_JACK_DISCONNECTED);
    assert_int_equal(load32(&d, BUFFERS + 4), PLAY);
    teardown(&d, &host);
}

/* A card that is restored plays on, the part that was queued on the host once more. */
static void test_snapshot(void **state)
{
    struct driver d, e;
    struct host host, other;
    size_t size;
    setup(&d, &host);
    bring_up(&d, VERSION_1);
    start(&d, PLAY);
    for (unsigned n = 0; n < 3; n++)
        offer_sound(&d, n, PLAY, 800);
    kick(&d, TX);
    hear(&d, &host, 800, 1);
    pv_virtio_lock(d.dev);
    assert_true(pv_virtio_quiet(d.dev, true));
    pv_virtio_unlock(d.dev);
    hear(&d, &host, 800, 2);
    assert_int_equal(used_index(&d, TX), 1); /* the guest's memory is as it was saved */

    struct pv_record *saved = pv_record_save();
    pv_virtio_record(d.dev, saved);
    assert_int_equal(pv_record_error(saved, NULL), 0);
    const void *data = pv_record_data(saved, &size);
    setup(&e, &other);
    e.packed = d.packed;
    memcpy(e.queues, d.queues, sizeof(e.queues));
    void *ram = malloc(RAM_SIZE);
    assert_non_null(ram);
    assert_int_equal(pv_as_read(d.as, RAM_BASE, ram, RAM_SIZE), 0);
    assert_int_equal(pv_as_write(e.as, RAM_BASE, ram, RAM_SIZE), 0);
    free(ram);
    struct pv_record *loaded = pv_record_load(data, size);
    pv_virtio_record(e.dev, loaded);
    assert_int_equal(pv_record_error(loaded, NULL), 0);
    pv_record_free(loaded);
    pv_record_free(saved);
    driver_run(&e);
    assert_true(other.running[PLAY]);
    assert_int_equal(hear(&e, &other, 800, 2), 800);
    assert_int_equal(used_index(&e, TX), 2);
    assert_int_equal(hear(&e, &other, 800, 3), 800);
    assert_int_equal(used_index(&e, TX), 3);
    teardown(&e, &other);

    pv_virtio_lock(d.dev);
    assert_true(pv_virtio_quiet(d.dev, false));
    pv_virtio_unlock(d.dev);
    driver_run(&d);
    assert_int_equal(used_index(&d, TX), 2); /* what was played meanwhile */
    teardown(&d, &host);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_RINGS(test_what_there_is), SPLIT_RINGS(test_bad_queries),
        SPLIT_RINGS(test_params),       SPLIT_RINGS(test_states),
        BOTH_RINGS(test_playing),       BOTH_RINGS(test_release),
        BOTH_RINGS(test_recording),     BOTH_RINGS(test_bad_buffers),
        SPLIT_RINGS(test_broken_host),  SPLIT_RINGS(test_jacks),
        BOTH_RINGS(test_snapshot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
