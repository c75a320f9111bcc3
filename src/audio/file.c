/* SPDX-License-Identifier: MIT */
/*
 * Sound to and from WAV files, at the pace of a real device, so that guests behave as with one.
 *
 * A file holds one format, and a guest's programs each have their own; so the card knows just the
 * file's, and it is the guest's mixer that converts. Sizes in the header are put right whenever a
 * stream ends: the file is whole then, also when this process is not ended but killed.
 */
#include "audio/audio_impl.h"
#include "audio/wav.h"

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"

#include <errno.h>
#include <string.h>

struct file_audio {
    struct pv_audio base;
    FILE *play, *record;
    uint32_t played;  /* bytes of sound in `play` */
    uint32_t to_come; /* of `record` */
    bool full;        /* `play` takes no more */
};

/* What a file that is played to has, and what is recorded without one. */
static const struct pv_audio_format usual = {PV_AUDIO_S16, 48000, 2};

static void write_sound(struct file_audio *file, const void *data, size_t size)
{
    if (!file->play || !size || file->full)
        return;
    if (size > PV_WAV_MAX - file->played) {
        pv_warn(PV_LOG_AUDIO, "the WAV file is full: it can hold 4 GiB");
        file->full = true;
    } else if (fwrite(data, size, 1, file->play) != 1) {
        pv_warn(PV_LOG_AUDIO, "writing the WAV file: %s", strerror(errno));
        file->full = true;
    } else {
        file->played += (uint32_t)size;
    }
}

/* False when that was the last. */
static bool read_sound(struct file_audio *file, uint8_t *data, size_t size)
{
    size_t wanted = PV_MIN(size, (size_t)file->to_come), got = 0;
    if (wanted)
        got = fread(data, 1, wanted, file->record);
    file->to_come = got < wanted ? 0 : file->to_come - (uint32_t)got;
    bool unsigned_samples = file->base.streams[PV_AUDIO_RECORD].format.sample == PV_AUDIO_U8;
    memset(data + got, unsigned_samples ? 0x80 : 0, size - got);
    return file->to_come;
}

static bool file_pass(struct pv_audio *audio, enum pv_audio_way way, void *data, size_t size)
{
    struct file_audio *file = PV_CONTAINER_OF(audio, struct file_audio, base);
    if (way == PV_AUDIO_RECORD)
        return read_sound(file, data, size);
    write_sound(file, data, size);
    return true;
}

static void file_run(struct pv_audio *audio, enum pv_audio_way way, bool on)
{
    struct file_audio *file = PV_CONTAINER_OF(audio, struct file_audio, base);
    if (way != PV_AUDIO_PLAY || on || !file->play)
        return;
    if (!pv_wav_write_header(file->play, &usual, file->played) ||
        fseek(file->play, 0, SEEK_END) < 0 || fflush(file->play) != 0)
        pv_warn(PV_LOG_AUDIO, "writing the WAV file: %s", strerror(errno));
}

static void file_free(struct file_audio *file)
{
    if (file->play)
        fclose(file->play);
    if (file->record)
        fclose(file->record);
    free(file);
}

static void file_destroy(struct pv_audio *audio)
{
    file_free(PV_CONTAINER_OF(audio, struct file_audio, base));
}

static const struct pv_audio_ops file_ops = {
    .name = "file", .run = file_run, .pass = file_pass, .destroy = file_destroy};

static struct pv_audio_caps caps_of(const struct pv_audio_format *format)
{
    return (struct pv_audio_caps){
        .samples = 1u << format->sample,
        .rate_min = format->rate,
        .rate_max = format->rate,
        .channels_min = format->channels,
        .channels_max = format->channels,
    };
}

static int open_play(struct file_audio *file, const char *path, struct pv_error **err)
{
    file->play = fopen(path, "we");
    if (!file->play || !pv_wav_write_header(file->play, &usual, 0) || fflush(file->play) != 0)
        return pv_error_errno(err, errno, "%s", path);
    return 0;
}

static int open_record(struct file_audio *file, const char *path, struct pv_error **err)
{
    struct pv_audio_stream *stream = &file->base.streams[PV_AUDIO_RECORD];
    struct pv_audio_format format = {0};
    file->record = fopen(path, "re");
    if (!file->record)
        return pv_error_errno(err, errno, "%s", path);
    int ret = pv_wav_read_header(file->record, path, &format, &file->to_come, err);
    if (ret < 0)
        return ret;
    if (format.rate < 8000 || format.rate > PV_AUDIO_RATE_MAX || !format.channels ||
        format.channels > PV_AUDIO_CHANNELS_MAX)
        return pv_error_set(err, EINVAL,
                            "%s: %u channels at %u Hz; use 1 or 2 at 8000 to 192000 Hz", path,
                            format.channels, format.rate);
    stream->caps = caps_of(&format);
    stream->unplugged = !file->to_come;
    return 0;
}

int pv_audio_file_create(struct pv_audio **out, struct pv_loop *loop, const char *play,
                         const char *record, struct pv_error **err)
{
    struct file_audio *file = calloc(1, sizeof(*file));
    if (!file)
        return pv_error_set(err, ENOMEM, "sound: out of memory");
    file->base.ops = &file_ops;
    file->base.streams[PV_AUDIO_PLAY].caps = caps_of(&usual);
    file->base.streams[PV_AUDIO_PLAY].unplugged = !play;
    file->base.streams[PV_AUDIO_RECORD].caps = caps_of(&usual);
    file->base.streams[PV_AUDIO_RECORD].unplugged = !record;
    int ret = play ? open_play(file, play, err) : 0;
    if (ret >= 0 && record)
        ret = open_record(file, record, err);
    if (ret >= 0)
        ret = pv_audio_init(&file->base, loop, err);
    if (ret < 0)
        file_free(file);
    else
        *out = &file->base;
    return ret;
}
