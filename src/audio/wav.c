/* SPDX-License-Identifier: MIT */
#include "audio/wav.h"

#include "base/endian.h"
#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <string.h>

enum { FORMAT_PCM = 1, FORMAT_FLOAT = 3, FORMAT_EXTENSIBLE = 0xfffe };

struct chunk {
    char id[4];
    uint32_t size;
};

struct wav_format {
    uint16_t format, channels;
    uint32_t rate, bytes_per_second;
    uint16_t frame, bits;
};
_Static_assert(sizeof(struct wav_format) == 16, "the chunk 'fmt '");

struct header {
    struct chunk riff;
    char wave[4];
    struct chunk fmt;
    struct wav_format format;
    struct chunk data;
};
_Static_assert(sizeof(struct header) == 44, "a file that has nothing else");

bool pv_wav_write_header(FILE *file, const struct pv_audio_format *format, uint32_t size)
{
    const uint16_t frame = (uint16_t)pv_audio_frame(format);
    const struct header header = {
        .riff = {{'R', 'I', 'F', 'F'}, htole32((uint32_t)(sizeof(header) - 8) + size)},
        .wave = {'W', 'A', 'V', 'E'},
        .fmt = {{'f', 'm', 't', ' '}, htole32(sizeof(header.format))},
        .format =
            {
                .format = htole16(format->sample == PV_AUDIO_FLOAT ? FORMAT_FLOAT : FORMAT_PCM),
                .channels = htole16((uint16_t)format->channels),
                .rate = htole32(format->rate),
                .bytes_per_second = htole32(format->rate * frame),
                .frame = htole16(frame),
                .bits = htole16((uint16_t)(8 * frame / format->channels)),
            },
        .data = {{'d', 'a', 't', 'a'}, htole32(size)},
    };
    return fseek(file, 0, SEEK_SET) == 0 && fwrite(&header, sizeof(header), 1, file) == 1;
}

/* False: none of ours. `sub` is what an extensible format says it is. */
static bool understand(const struct wav_format *wav, uint16_t sub, struct pv_audio_format *format)
{
    const uint16_t named = le16toh(wav->format), bits = le16toh(wav->bits);
    const uint16_t kind = named == FORMAT_EXTENSIBLE ? sub : named;
    *format = (struct pv_audio_format){
        .rate = le32toh(wav->rate),
        .channels = le16toh(wav->channels),
    };
    if (kind == FORMAT_PCM && bits == 8)
        format->sample = PV_AUDIO_U8;
    else if (kind == FORMAT_PCM && bits == 16)
        format->sample = PV_AUDIO_S16;
    else if (kind == FORMAT_PCM && bits == 32)
        format->sample = PV_AUDIO_S32;
    else if (kind == FORMAT_FLOAT && bits == 32)
        format->sample = PV_AUDIO_FLOAT;
    else
        return false;
    return le16toh(wav->frame) == pv_audio_frame(format);
}

static int read_format(FILE *file, const char *path, uint32_t size, struct pv_audio_format *format,
                       struct pv_error **err)
{
    struct {
        struct wav_format base;
        uint16_t more[12]; /* its size, bits that count, speakers, a GUID that begins with this: */
    } wav = {0};
    const unsigned sub = 4;
    const size_t part = PV_MIN((size_t)size, sizeof(wav));
    if (part < sizeof(wav.base) || fread(&wav, part, 1, file) != 1)
        return pv_error_set(err, EINVAL, "%s: its 'fmt ' chunk is cut off", path);
    if (!understand(&wav.base, le16toh(wav.more[sub]), format))
        return pv_error_set(err, EINVAL,
                            "%s: %u-bit samples of format %#x; use 8, 16 or 32-bit PCM or 32-bit "
                            "float",
                            path, le16toh(wav.base.bits), le16toh(wav.base.format));
    /* Chunks begin at even places. */
    if (fseek(file, (long)(size - part + (size & 1)), SEEK_CUR) < 0)
        return pv_error_errno(err, errno, "%s", path);
    return 0;
}

int pv_wav_read_header(FILE *file, const char *path, struct pv_audio_format *format, uint32_t *size,
                       struct pv_error **err)
{
    struct {
        struct chunk riff;
        char wave[4];
    } start;
    struct chunk chunk;
    bool known = false;
    if (fread(&start, sizeof(start), 1, file) != 1 || memcmp(start.riff.id, "RIFF", 4) != 0 ||
        memcmp(start.wave, "WAVE", 4) != 0)
        return pv_error_set(err, EINVAL, "%s: not a WAV file", path);
    while (fread(&chunk, sizeof(chunk), 1, file) == 1) {
        const uint32_t length = le32toh(chunk.size);
        if (!memcmp(chunk.id, "data", 4) && known) {
            *size = length;
            return 0;
        }
        if (!memcmp(chunk.id, "fmt ", 4)) {
            int ret = read_format(file, path, length, format, err);
            if (ret < 0)
                return ret;
            known = true;
        } else if (fseek(file, (long)length + (length & 1), SEEK_CUR) < 0) {
            return pv_error_errno(err, errno, "%s", path);
        }
    }
    return pv_error_set(err, EINVAL, "%s: it has no sound in it", path);
}
