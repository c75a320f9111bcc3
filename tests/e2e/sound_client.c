/* SPDX-License-Identifier: MIT */
/*
 * Runs in a Linux guest, static, and speaks to the kernel's ALSA without a library:
 *
 *   sound-client play HZ FRAMES     a sine, 48 kHz 16-bit stereo, until it was heard
 *   sound-client record FRAMES      48 kHz 16-bit stereo to standard output
 *
 * Says on standard error how often it was not in time.
 */
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <sound/asound.h>

#define RATE   48000u
#define PERIOD 1200u
#define COUNT  6u

static unsigned late;

static int fail(const char *what)
{
    perror(what);
    return 1;
}

static void set_mask(struct snd_pcm_hw_params *params, int what, unsigned value)
{
    struct snd_mask *mask = &params->masks[what - SNDRV_PCM_HW_PARAM_FIRST_MASK];
    memset(mask, 0, sizeof(*mask));
    mask->bits[value / 32] = 1u << value % 32;
}

static void set_interval(struct snd_pcm_hw_params *params, int what, unsigned value)
{
    struct snd_interval *interval = &params->intervals[what - SNDRV_PCM_HW_PARAM_FIRST_INTERVAL];
    *interval = (struct snd_interval){.min = value, .max = value, .integer = 1};
}

static int set_params(int fd)
{
    struct snd_pcm_hw_params params = {.rmask = ~0u, .info = ~0u};
    memset(params.masks, 0xff, sizeof(params.masks));
    for (size_t i = 0; i < sizeof(params.intervals) / sizeof(params.intervals[0]); i++)
        params.intervals[i] = (struct snd_interval){.max = UINT32_MAX};
    set_mask(&params, SNDRV_PCM_HW_PARAM_ACCESS, SNDRV_PCM_ACCESS_RW_INTERLEAVED);
    set_mask(&params, SNDRV_PCM_HW_PARAM_FORMAT, SNDRV_PCM_FORMAT_S16_LE);
    set_interval(&params, SNDRV_PCM_HW_PARAM_CHANNELS, 2);
    set_interval(&params, SNDRV_PCM_HW_PARAM_RATE, RATE);
    set_interval(&params, SNDRV_PCM_HW_PARAM_PERIOD_SIZE, PERIOD);
    set_interval(&params, SNDRV_PCM_HW_PARAM_PERIODS, COUNT);
    return ioctl(fd, SNDRV_PCM_IOCTL_HW_PARAMS, &params);
}

/*
 * Moves `frames`; what came too late is tried again. EPIPE: the card had nothing to play. EIO: the
 * kernel waited longer than a buffer lasts, as it does when nobody lets the guest run.
 */
static int transfer(int fd, unsigned long request, int16_t *data, unsigned frames)
{
    for (unsigned done = 0; done < frames;) {
        struct snd_xferi xfer = {.buf = data + 2ul * done, .frames = frames - done};
        if (ioctl(fd, request, &xfer) == 0) {
            done += (unsigned)xfer.result;
        } else if (errno == EPIPE || errno == EIO) {
            late++;
            if (ioctl(fd, SNDRV_PCM_IOCTL_DROP) < 0 || ioctl(fd, SNDRV_PCM_IOCTL_PREPARE) < 0)
                return -1;
        } else if (errno != EINTR) {
            return -1;
        }
    }
    return 0;
}

static int play(double hz, unsigned frames)
{
    static int16_t data[2 * PERIOD];
    int fd = open("/dev/snd/pcmC0D0p", O_RDWR);
    if (fd < 0 || set_params(fd) < 0 || ioctl(fd, SNDRV_PCM_IOCTL_PREPARE) < 0)
        return fail("opening the card to play");
    for (unsigned n = 0; n < frames;) {
        unsigned count = 0;
        for (; count < PERIOD && n < frames; count++, n++)
            data[2 * count] = data[2 * count + 1] =
                (int16_t)lrint(10000 * sin(2 * M_PI * hz * n / RATE));
        if (transfer(fd, SNDRV_PCM_IOCTL_WRITEI_FRAMES, data, count) < 0)
            return fail("playing");
    }
    if (ioctl(fd, SNDRV_PCM_IOCTL_DRAIN) < 0)
        return fail("draining");
    return 0;
}

static int record(unsigned frames)
{
    static int16_t data[2 * PERIOD];
    int fd = open("/dev/snd/pcmC0D0c", O_RDWR);
    if (fd < 0 || set_params(fd) < 0 || ioctl(fd, SNDRV_PCM_IOCTL_PREPARE) < 0)
        return fail("opening the card to record");
    for (unsigned n = 0; n < frames; n += PERIOD) {
        if (transfer(fd, SNDRV_PCM_IOCTL_READI_FRAMES, data, PERIOD) < 0)
            return fail("recording");
        if (write(STDOUT_FILENO, data, sizeof(data)) != sizeof(data))
            return fail("writing");
    }
    return 0;
}

int main(int argc, char **argv)
{
    int status = 2;
    if (argc == 4 && !strcmp(argv[1], "play"))
        status = play(atof(argv[2]), (unsigned)atoi(argv[3]));
    else if (argc == 3 && !strcmp(argv[1], "record"))
        status = record((unsigned)atoi(argv[2]));
    fprintf(stderr, "late: %u\n", late);
    return status;
}
