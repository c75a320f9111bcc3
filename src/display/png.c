/* SPDX-License-Identifier: MIT */
/*
 * The picture as a PNG file (W3C Portable Network Graphics, 3rd edition): 8-bit RGB, rows without
 * filter, one IDAT chunk. A file that is there is replaced whole or not at all.
 *
 * Guests turn their heads off before they end, and that is just when the picture is wanted. So when
 * a mode ends, the picture that was drawn in it is kept until there is another.
 */
#include "display/sink_impl.h"

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "display/display.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <zlib.h>

struct png {
    struct pv_display_sink base;
    struct pv_display *display;
    struct pv_display_listener listener;
    char *path;
    /* Under the display's lock. */
    bool drawn;             /* something was, in the mode that is set */
    bool unsaved;           /* something was, since the file was written */
    struct pv_surface last; /* what was drawn in the mode before */
};

static void on_mode(void *opaque, unsigned head, const struct pv_surface *before)
{
    struct png *png = opaque;
    const size_t size = (size_t)before->width * before->height * sizeof(*before->pixels);
    if (head != 0 || !png->drawn)
        return;
    png->drawn = false;
    uint32_t *copy = malloc(size);
    if (!copy)
        return; /* the one before that is better than none */
    memcpy(copy, before->pixels, size);
    free(png->last.pixels);
    png->last = (struct pv_surface){before->width, before->height, copy};
}

static void on_damage(void *opaque, unsigned head, const struct pv_rect *rect)
{
    struct png *png = opaque;
    if (head == 0)
        png->drawn = png->unsaved = true;
}

/* ---- The file ---- */

static void put32(uint8_t *at, uint32_t value)
{
    for (unsigned i = 0; i < 4; i++)
        at[i] = (uint8_t)(value >> (24 - 8 * i));
}

static bool write_chunk(FILE *file, const char type[4], const uint8_t *data, size_t size)
{
    uint8_t head[8], tail[4];
    put32(head, (uint32_t)size);
    memcpy(head + 4, type, 4);
    uLong crc = crc32(0, head + 4, 4);
    if (size)
        crc = crc32_z(crc, data, size);
    put32(tail, (uint32_t)crc);
    return fwrite(head, sizeof(head), 1, file) == 1 &&
           (!size || fwrite(data, size, 1, file) == 1) && fwrite(tail, sizeof(tail), 1, file) == 1;
}

/* Rows as PNG has them: the filter's number, 0, and three bytes a pixel. */
static uint8_t *make_rows(const struct pv_surface *surface, size_t *size)
{
    *size = ((size_t)surface->width * 3 + 1) * surface->height;
    uint8_t *rows = malloc(*size), *at = rows;
    for (uint32_t y = 0; y < surface->height && rows; y++) {
        const uint32_t *pixel = surface->pixels + (size_t)y * surface->width;
        *at++ = 0;
        for (uint32_t x = 0; x < surface->width; x++, pixel++) {
            *at++ = (uint8_t)(*pixel >> 16);
            *at++ = (uint8_t)(*pixel >> 8);
            *at++ = (uint8_t)*pixel;
        }
    }
    return rows;
}

static int write_picture(FILE *file, uint32_t width, uint32_t height, const uint8_t *rows,
                         size_t size)
{
    static const uint8_t signature[8] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
    uLongf packed_size = compressBound(size);
    PV_CLEANUP_FREE uint8_t *packed = malloc(packed_size);
    uint8_t header[13] = {0};
    if (!packed || compress2(packed, &packed_size, rows, size, Z_BEST_SPEED) != Z_OK)
        return -ENOMEM;
    put32(header, width);
    put32(header + 4, height);
    header[8] = 8; /* bits */
    header[9] = 2; /* RGB */
    bool ok = fwrite(signature, sizeof(signature), 1, file) == 1 &&
              write_chunk(file, "IHDR", header, sizeof(header)) &&
              write_chunk(file, "IDAT", packed, packed_size) &&
              write_chunk(file, "IEND", NULL, 0) && fflush(file) == 0 && fsync(fileno(file)) == 0;
    return ok ? 0 : -errno;
}

/* The rows of what is to be kept, copied so that nobody waits for the file. */
static uint8_t *take_rows(struct png *png, uint32_t *width, uint32_t *height, size_t *size)
{
    uint8_t *rows = NULL;
    pv_display_lock(png->display);
    const struct pv_surface *surface =
        png->drawn ? pv_display_surface(png->display, 0) : &png->last;
    *width = surface->width;
    *height = surface->height;
    if (surface->width) {
        rows = make_rows(surface, size);
        png->unsaved = false;
    }
    pv_display_unlock(png->display);
    return rows;
}

static int png_save(struct pv_display_sink *sink, struct pv_error **err)
{
    struct png *png = PV_CONTAINER_OF(sink, struct png, base);
    PV_CLEANUP_FREE char *temporary = NULL;
    uint32_t width, height;
    size_t size = 0;
    PV_CLEANUP_FREE uint8_t *rows = take_rows(png, &width, &height, &size);
    if (!width)
        return pv_error_set(err, ENODATA, "%s: the guest has shown nothing so far", png->path);
    if (!rows || asprintf(&temporary, "%s.new", png->path) < 0) {
        temporary = NULL;
        return pv_error_set(err, ENOMEM, "%s: out of memory", png->path);
    }
    PV_CLEANUP_FILE FILE *file = fopen(temporary, "we");
    if (!file)
        return pv_error_errno(err, errno, "%s", temporary);
    int ret = write_picture(file, width, height, rows, size);
    if (ret == 0 && rename(temporary, png->path) < 0)
        ret = -errno;
    if (ret == 0)
        return 0;
    unlink(temporary);
    return pv_error_errno(err, -ret, "writing %s", png->path);
}

static void png_destroy(struct pv_display_sink *sink)
{
    struct png *png = PV_CONTAINER_OF(sink, struct png, base);
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    pv_display_remove_listener(png->display, &png->listener);
    if (png->unsaved && png_save(sink, &err) < 0)
        pv_warn(PV_LOG_DISPLAY, "no picture: %s", pv_error_message(err));
    free(png->last.pixels);
    free(png->path);
    free(png);
}

static const struct pv_display_sink_ops png_ops = {
    .name = "png", .save = png_save, .destroy = png_destroy};

int pv_display_png_create(struct pv_display_sink **out, struct pv_display *display,
                          const char *path, struct pv_error **err)
{
    struct png *png = calloc(1, sizeof(*png));
    char *copy = png ? strdup(path) : NULL;
    if (!copy) {
        free(png);
        return pv_error_set(err, ENOMEM, "display: out of memory");
    }
    png->base.ops = &png_ops;
    png->display = display;
    png->path = copy;
    png->listener =
        (struct pv_display_listener){.mode = on_mode, .damage = on_damage, .opaque = png};
    pv_display_add_listener(display, &png->listener);
    /* A VM that was restored shows something already. */
    pv_display_lock(display);
    png->drawn = png->unsaved = png->drawn || pv_display_surface(display, 0)->width;
    pv_display_unlock(display);
    *out = &png->base;
    return 0;
}
