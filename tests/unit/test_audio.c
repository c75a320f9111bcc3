/* SPDX-License-Identifier: MIT */
/* Sound on the host's side: WAV files, the queue, and the pace. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "audio/audio.h"
#include "audio/wav.h"
#include "base/error.h"
#include "base/util.h"
#include "host/loop.h"

#include <errno.h>

static char folder[] = "/tmp/pv-audio-XXXXXX", wav[64], other[64];

static int make_folder(void **state)
{
    if (!mkdtemp(folder))
        return -1;
    snprintf(wav, sizeof(wav), "%s/a.wav", folder);
    snprintf(other, sizeof(other), "%s/b.wav", folder);
    return 0;
}

static int remove_folder(void **state)
{
    unlink(wav);
    unlink(other);
    return rmdir(folder);
}

/* ---- WAV ---- */

static void test_headers(void **state)
{
    static const struct pv_audio_format formats[] = {
        {PV_AUDIO_U8, 8000, 1},
        {PV_AUDIO_S16, 44100, 2},
        {PV_AUDIO_S32, 192000, 2},
        {PV_AUDIO_FLOAT, 48000, 1},
    };
    for (size_t i = 0; i < PV_ARRAY_SIZE(formats); i++) {
        struct pv_audio_format format;
        uint32_t size;
        FILE *file = fopen(wav, "w+");
        assert_non_null(file);
        assert_true(pv_wav_write_header(file, &formats[i], 1234));
        rewind(file);
        assert_int_equal(pv_wav_read_header(file, wav, &format, &size, NULL), 0);
        assert_int_equal(format.sample, formats[i].sample);
        assert_int_equal(format.rate, formats[i].rate);
        assert_int_equal(format.channels, formats[i].channels);
        assert_int_equal(size, 1234);
        assert_int_equal(ftell(file), 44);
        fclose(file);
    }
}

/* What pv_wav_read_header() makes of `size` bytes. */
static int read_bytes(const void *data, size_t size, struct pv_audio_format *format,
                      uint32_t *length)
{
    FILE *file = fopen(wav, "w+");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    rewind(file);
    int ret = pv_wav_read_header(file, wav, format, length, NULL);
    fclose(file);
    return ret;
}

static void test_other_headers(void **state)
{
    /* An odd chunk before, an extensible format, 16 bits of float, which there is not. */
    static const char extensible[] = "RIFF\0\0\0\0WAVE"
                                     "LIST\3\0\0\0abc\0"
                                     "fmt \50\0\0\0\xfe\xff\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\20\0"
                                     "\26\0\20\0\4\0\0\0\1\0\0\0\0\0\20\0\x80\0\0\xaa\0\x38\x9b\x71"
                                     "data\6\0\0\0";
    struct pv_audio_format format;
    uint32_t size;
    char copy[sizeof(extensible)];
    assert_int_equal(read_bytes(extensible, sizeof(extensible) - 1, &format, &size), 0);
    assert_int_equal(format.sample, PV_AUDIO_S16);
    assert_int_equal(format.rate, 8000);
    assert_int_equal(format.channels, 1);
    assert_int_equal(size, 6);
    /* Cut off anywhere, it has no sound in it. */
    for (size_t i = 0; i < sizeof(extensible) - 1; i++)
        assert_int_equal(read_bytes(extensible, i, &format, &size), -EINVAL);
    memcpy(copy, extensible, sizeof(copy));
    copy[56] = 3; /* the format inside */
    assert_int_equal(read_bytes(copy, sizeof(copy) - 1, &format, &size), -EINVAL);
    memcpy(copy, extensible, sizeof(copy));
    copy[44] = 3; /* bytes of a frame */
    assert_int_equal(read_bytes(copy, sizeof(copy) - 1, &format, &size), -EINVAL);
    copy[0] = 'X';
    assert_int_equal(read_bytes(copy, sizeof(copy) - 1, &format, &size), -EINVAL);
}

/* ---- Streams ---- */

/* Plays or records `left` bytes that count up from 0. */
struct player {
    struct pv_loop *loop;
    struct pv_audio *audio;
    size_t left, done;
    unsigned unplugged;
    uint8_t recorded[4096];
};

static void on_ready(void *opaque, enum pv_audio_way way)
{
    struct player *p = opaque;
    size_t size = PV_MIN(pv_audio_ready(p->audio, way), p->left);
    if (way == PV_AUDIO_PLAY) {
        for (size_t i = 0; i < size; i++) {
            uint8_t byte = (uint8_t)(p->done + i);
            assert_int_equal(pv_audio_play(p->audio, &byte, 1), 1);
        }
    } else {
        assert_int_equal(pv_audio_record(p->audio, p->recorded + p->done, size), size);
    }
    p->done += size;
    p->left -= size;
    if (!p->left && (way == PV_AUDIO_RECORD || !pv_audio_queued(p->audio)))
        pv_loop_stop(p->loop);
}

static void on_plugged(void *opaque, enum pv_audio_way way)
{
    struct player *p = opaque;
    assert_int_equal(way, PV_AUDIO_RECORD);
    assert_false(pv_audio_plugged(p->audio, way));
    p->unplugged++;
}

static void start(struct player *p, const struct pv_audio_client *client)
{
    pv_audio_set_client(p->audio, client);
    *p = (struct player){.loop = p->loop, .audio = p->audio};
}

static void run(struct player *p, enum pv_audio_way way, size_t size)
{
    p->left = size;
    p->done = 0;
    pv_audio_run(p->audio, way, true);
    assert_int_equal(pv_loop_run(p->loop, NULL), 0);
    pv_audio_run(p->audio, way, false);
}

static void test_file(void **state)
{
    static const struct pv_audio_format usual = {PV_AUDIO_S16, 48000, 2},
                                        wrong = {PV_AUDIO_S16, 44100, 2};
    struct player p = {0};
    const struct pv_audio_client client = {on_ready, on_plugged, &p};
    struct pv_audio_format format;
    uint32_t size;
    uint8_t data[30004];
    assert_int_equal(pv_loop_create(&p.loop, NULL), 0);
    assert_int_equal(pv_audio_file_create(&p.audio, p.loop, wav, NULL, NULL), 0);
    start(&p, &client);
    assert_true(pv_audio_plugged(p.audio, PV_AUDIO_PLAY));
    assert_false(pv_audio_plugged(p.audio, PV_AUDIO_RECORD));
    assert_int_equal(pv_audio_ready(p.audio, PV_AUDIO_PLAY), 0);
    assert_int_equal(pv_audio_open(p.audio, PV_AUDIO_PLAY, &wrong, NULL), -EINVAL);
    assert_int_equal(pv_audio_open(p.audio, PV_AUDIO_PLAY, &usual, NULL), 0);
    assert_int_equal(pv_audio_ready(p.audio, PV_AUDIO_PLAY), 9600); /* 50 ms */
    run(&p, PV_AUDIO_PLAY, 20000);
    run(&p, PV_AUDIO_PLAY, 10000);
    pv_audio_close(p.audio, PV_AUDIO_PLAY);

    /* It is whole before the sink goes. */
    FILE *file = fopen(wav, "r");
    assert_non_null(file);
    assert_int_equal(pv_wav_read_header(file, wav, &format, &size, NULL), 0);
    assert_int_equal(size, 30000);
    assert_int_equal(format.rate, 48000);
    assert_int_equal(fread(data, 1, sizeof(data), file), 30000);
    for (size_t i = 0; i < 30000; i++)
        assert_int_equal(data[i], (uint8_t)(i < 20000 ? i : i - 20000));
    fclose(file);
    pv_audio_destroy(p.audio);

    /* And can be recorded from. */
    assert_int_equal(pv_audio_file_create(&p.audio, p.loop, NULL, wav, NULL), 0);
    start(&p, &client);
    assert_false(pv_audio_plugged(p.audio, PV_AUDIO_PLAY));
    assert_int_equal(pv_audio_open(p.audio, PV_AUDIO_RECORD, &usual, NULL), 0);
    run(&p, PV_AUDIO_RECORD, 4000);
    for (size_t i = 0; i < 4000; i++)
        assert_int_equal(p.recorded[i], (uint8_t)i);
    assert_int_equal(p.unplugged, 0);
    pv_audio_destroy(p.audio);
    pv_loop_destroy(p.loop);
}

/* A microphone whose file ends is pulled out, and silent. */
static void test_end_of_recording(void **state)
{
    static const struct pv_audio_format mono = {PV_AUDIO_U8, 8000, 1};
    static const uint8_t sound[] = {1, 2, 3, 4, 5};
    struct player p = {0};
    const struct pv_audio_client client = {on_ready, on_plugged, &p};
    FILE *file = fopen(other, "w");
    assert_non_null(file);
    assert_true(pv_wav_write_header(file, &mono, 500)); /* it says more than there is */
    assert_int_equal(fwrite(sound, 1, sizeof(sound), file), sizeof(sound));
    fclose(file);
    assert_int_equal(pv_loop_create(&p.loop, NULL), 0);
    assert_int_equal(pv_audio_file_create(&p.audio, p.loop, NULL, other, NULL), 0);
    start(&p, &client);
    assert_true(pv_audio_plugged(p.audio, PV_AUDIO_RECORD));
    assert_int_equal(pv_audio_open(p.audio, PV_AUDIO_RECORD, &mono, NULL), 0);
    run(&p, PV_AUDIO_RECORD, 1000);
    assert_int_equal(p.unplugged, 1);
    assert_memory_equal(p.recorded, sound, sizeof(sound));
    for (size_t i = sizeof(sound); i < 1000; i++)
        assert_int_equal(p.recorded[i], 0x80);
    pv_audio_destroy(p.audio);
    pv_loop_destroy(p.loop);
}

static void test_bad_files(void **state)
{
    static const struct pv_audio_format fast = {PV_AUDIO_U8, 384000, 1};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct pv_audio *audio;
    struct pv_loop *loop;
    assert_int_equal(pv_loop_create(&loop, NULL), 0);
    assert_int_equal(pv_audio_file_create(&audio, loop, "/nowhere/a.wav", NULL, NULL), -ENOENT);
    assert_int_equal(pv_audio_file_create(&audio, loop, NULL, "/nowhere/a.wav", NULL), -ENOENT);
    FILE *file = fopen(wav, "w");
    assert_non_null(file);
    assert_true(pv_wav_write_header(file, &fast, 10));
    fclose(file);
    assert_int_equal(pv_audio_file_create(&audio, loop, NULL, wav, &err), -EINVAL);
    assert_non_null(strstr(pv_error_message(err), "384000"));
    pv_loop_destroy(loop);
}

static void test_null(void **state)
{
    static const struct pv_audio_format format = {PV_AUDIO_U8, 192000, 1};
    struct player p = {0};
    const struct pv_audio_client client = {on_ready, on_plugged, &p};
    assert_int_equal(pv_loop_create(&p.loop, NULL), 0);
    assert_int_equal(pv_audio_null_create(&p.audio, p.loop, NULL), 0);
    start(&p, &client);
    for (unsigned way = 0; way < PV_AUDIO_WAYS; way++) {
        assert_int_equal(pv_audio_open(p.audio, way, &format, NULL), 0);
        assert_int_equal(pv_audio_open(p.audio, way, &format, NULL), 0);
        run(&p, way, 4000);
        assert_int_equal(p.done, 4000);
        pv_audio_close(p.audio, way);
        pv_audio_close(p.audio, way);
        assert_int_equal(pv_audio_latency(p.audio, way), 0);
    }
    assert_int_equal(p.recorded[0], 0x80);
    pv_audio_destroy(p.audio);
    pv_loop_destroy(p.loop);
}

/* SDL's driver that plays into a file, raw, and its dummy, whose microphone is silent. */
static void test_sdl(void **state)
{
    static const struct pv_audio_format format = {PV_AUDIO_S16, 48000, 2},
                                        mono = {PV_AUDIO_U8, 8000, 1};
    struct player p = {0};
    const struct pv_audio_client client = {on_ready, NULL, &p};
    uint8_t data[4096];
    size_t size, zeroes = 0, at = 0;
    setenv("SDL_AUDIODRIVER", "disk", 1);
    setenv("SDL_DISKAUDIOFILE", wav, 1);
    assert_int_equal(pv_loop_create(&p.loop, NULL), 0);
    if (pv_audio_sdl_create(&p.audio, p.loop, NULL) == -ENOTSUP) {
        pv_loop_destroy(p.loop);
        skip();
    }
    start(&p, &client);
    assert_int_equal(pv_audio_open(p.audio, PV_AUDIO_PLAY, &format, NULL), 0);
    assert_true(pv_audio_latency(p.audio, PV_AUDIO_PLAY) > 0);
    run(&p, PV_AUDIO_PLAY, 20000);
    pv_audio_destroy(p.audio);
    /* All of it, in order; the driver's own silence, in whole frames, between. */
    FILE *file = fopen(wav, "r");
    assert_non_null(file);
    while ((size = fread(data, 1, sizeof(data), file)))
        for (size_t i = 0; i < size; i++) {
            bool ours = at < 20000 && data[i] == (uint8_t)at;
            zeroes += !ours && !data[i];
            assert_true(ours || !data[i]);
            at += ours;
        }
    fclose(file);
    assert_int_equal(at, 20000);
    assert_int_equal(zeroes % 4, 0);

    setenv("SDL_AUDIODRIVER", "dummy", 1);
    assert_int_equal(pv_audio_sdl_create(&p.audio, p.loop, NULL), 0);
    start(&p, &client);
    assert_int_equal(pv_audio_open(p.audio, PV_AUDIO_RECORD, &mono, NULL), 0);
    run(&p, PV_AUDIO_RECORD, 1000);
    assert_int_equal(p.recorded[999], 0x80);
    pv_audio_destroy(p.audio);
    setenv("SDL_AUDIODRIVER", "none-such", 1);
    assert_int_equal(pv_audio_sdl_create(&p.audio, p.loop, NULL), -ENODEV);
    pv_loop_destroy(p.loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_headers),   cmocka_unit_test(test_other_headers),
        cmocka_unit_test(test_file),      cmocka_unit_test(test_end_of_recording),
        cmocka_unit_test(test_null),      cmocka_unit_test(test_sdl),
        cmocka_unit_test(test_bad_files),
    };
    return cmocka_run_group_tests(tests, make_folder, remove_folder);
}
