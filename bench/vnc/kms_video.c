/* SPDX-License-Identifier: MIT */
/*
 * What bench/vnc.py has a guest show, on the kernel's own display interface (KMS), full screen:
 *
 *   kms_video video MILLISECONDS   frames of a "film", one after the other, as fast as they are
 * shown kms_video keys /dev/input/eventN   another colour at each key that is pressed, until EOF
 *
 * The film is a smooth picture that moves, with a grain that differs in each frame, so that every
 * pixel changes and nothing about it is easy for a compressor. The 64 x 64 pixels at the top left
 * are of one colour, the number of the frame or key, by which a viewer tells pictures apart.
 */
#include <drm/drm.h>
#include <drm/drm_mode.h>
#include <fcntl.h>
#include <linux/input.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define MARK   64u
#define FRAMES 8u

struct screen {
    int fd;
    uint32_t width, height, stride; /* stride in pixels */
    uint32_t framebuffer;
    uint32_t *pixels;
};

static void ask(int fd, unsigned long request, void *argument, const char *what)
{
    if (ioctl(fd, request, argument) < 0) {
        perror(what);
        exit(1);
    }
}

/* A framebuffer of the first connector's preferred mode, shown by the first CRTC. */
static struct screen open_screen(void)
{
    uint32_t crtc, connector;
    struct drm_mode_modeinfo modes[64];
    struct drm_mode_card_res card = {.count_crtcs = 1,
                                     .count_connectors = 1,
                                     .crtc_id_ptr = (uintptr_t)&crtc,
                                     .connector_id_ptr = (uintptr_t)&connector};
    struct screen screen = {.fd = open("/dev/dri/card0", O_RDWR)};
    ask(screen.fd, DRM_IOCTL_MODE_GETRESOURCES, &card, "resources");
    struct drm_mode_get_connector get = {
        .connector_id = connector, .count_modes = 64, .modes_ptr = (uintptr_t)modes};
    ask(screen.fd, DRM_IOCTL_MODE_GETCONNECTOR, &get, "connector");
    screen.width = modes[0].hdisplay;
    screen.height = modes[0].vdisplay;
    struct drm_mode_create_dumb dumb = {.width = screen.width, .height = screen.height, .bpp = 32};
    ask(screen.fd, DRM_IOCTL_MODE_CREATE_DUMB, &dumb, "buffer");
    struct drm_mode_fb_cmd add = {.width = screen.width,
                                  .height = screen.height,
                                  .pitch = dumb.pitch,
                                  .bpp = 32,
                                  .depth = 24,
                                  .handle = dumb.handle};
    ask(screen.fd, DRM_IOCTL_MODE_ADDFB, &add, "framebuffer");
    struct drm_mode_map_dumb map = {.handle = dumb.handle};
    ask(screen.fd, DRM_IOCTL_MODE_MAP_DUMB, &map, "mapping");
    screen.pixels =
        mmap(NULL, dumb.size, PROT_READ | PROT_WRITE, MAP_SHARED, screen.fd, (off_t)map.offset);
    if (screen.pixels == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }
    screen.stride = dumb.pitch / 4;
    screen.framebuffer = add.fb_id;
    struct drm_mode_crtc set = {.crtc_id = crtc,
                                .fb_id = add.fb_id,
                                .set_connectors_ptr = (uintptr_t)&connector,
                                .count_connectors = 1,
                                .mode_valid = 1,
                                .mode = modes[0]};
    ask(screen.fd, DRM_IOCTL_MODE_SETCRTC, &set, "mode");
    return screen;
}

static void mark(const struct screen *screen, uint32_t number)
{
    for (uint32_t y = 0; y < MARK; y++)
        for (uint32_t x = 0; x < MARK; x++)
            screen->pixels[y * screen->stride + x] = number;
}

/* Returns when the host has it. */
static void show(const struct screen *screen)
{
    struct drm_mode_fb_dirty_cmd dirty = {.fb_id = screen->framebuffer};
    ask(screen->fd, DRM_IOCTL_MODE_DIRTYFB, &dirty, "flush");
}

static uint64_t milliseconds(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static uint32_t film(uint32_t frame, uint32_t x, uint32_t y, uint32_t grain)
{
    uint32_t red = (x + 4 * frame) / 8, green = (y + 2 * frame) / 6, blue = (x + y) / 12 + frame;
    return (red + (grain & 3)) % 256 << 16 | (green + (grain >> 2 & 3)) % 256 << 8 |
           (blue + (grain >> 4 & 3)) % 256;
}

static void play(const struct screen *screen, uint64_t duration)
{
    const size_t count = (size_t)screen->stride * screen->height;
    uint32_t *frames = malloc(FRAMES * count * 4), grain = 1, shown = 0;
    if (!frames)
        exit(1);
    for (uint32_t i = 0; i < FRAMES; i++) {
        for (uint32_t y = 0; y < screen->height; y++) {
            for (uint32_t x = 0; x < screen->width; x++) {
                grain = grain * 1664525 + 1013904223;
                frames[i * count + y * screen->stride + x] = film(i, x, y, grain >> 24);
            }
        }
    }
    printf("playing\n");
    fflush(stdout);
    const uint64_t start = milliseconds();
    while (milliseconds() - start < duration) {
        memcpy(screen->pixels, frames + shown % FRAMES * count, count * 4);
        mark(screen, ++shown);
        show(screen);
    }
    printf("frames %u in %llu ms\n", shown, (unsigned long long)(milliseconds() - start));
}

static void answer_keys(const struct screen *screen, const char *path)
{
    struct input_event event;
    uint32_t number = 0;
    int fd = open(path, O_RDONLY);
    printf("listening\n");
    fflush(stdout);
    while (read(fd, &event, sizeof(event)) == sizeof(event)) {
        if (event.type != EV_KEY || event.value != 1)
            continue;
        mark(screen, ++number);
        show(screen);
    }
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        fprintf(stderr, "usage: kms_video video MILLISECONDS | keys DEVICE\n");
        return 2;
    }
    const struct screen screen = open_screen();
    if (!strcmp(argv[1], "video"))
        play(&screen, strtoull(argv[2], NULL, 10));
    else
        answer_keys(&screen, argv[2]);
    return 0;
}
