/* SPDX-License-Identifier: MIT */
/*
 * Rectangles: raw (RFC 6143, 7.7.1) and ZRLE (7.7.6), which cuts them into tiles of 64 x 64 pixels
 * that are one colour, a palette of up to 16 or the pixels themselves, and compresses all of it in
 * one stream for as long as the client is there. Deflate is most of the work on pictures like a
 * film's, so it is left out where the viewer is faster without: the stream then has stored blocks.
 */
#include "display/vnc_impl.h"

#include "base/util.h"
#include "host/clock.h"

#include <errno.h>
#include <string.h>

enum { ENCODING_RAW = 0, ENCODING_ZRLE = 16, ENCODING_CURSOR = -239 };

#define PALETTE_MAX 16u
#define PACE_BYTES  ((size_t)256 << 10) /* updates below that tell nothing about speed */

/* ---- Pixels ---- */

bool vnc_format_ok(const struct vnc_format *format)
{
    if ((format->bits != 8 && format->bits != 16 && format->bits != 32) || !format->true_colour)
        return false;
    for (unsigned i = 0; i < 3; i++)
        if (format->shift[i] >= format->bits ||
            (uint64_t)format->max[i] << format->shift[i] >> format->bits)
            return false;
    return true;
}

static uint32_t to_format(const struct vnc_format *f, uint32_t pixel)
{
    uint32_t value = 0;
    for (unsigned i = 0; i < 3; i++) {
        uint32_t colour = pixel >> (16 - 8 * i) & 0xff;
        value |= (f->max[i] == 255 ? colour : (colour * f->max[i] + 127) / 255) << f->shift[i];
    }
    return value;
}

static unsigned put_value(const struct vnc_format *f, uint8_t *to, uint32_t value)
{
    const unsigned bytes = f->bits / 8;
    for (unsigned i = 0; i < bytes; i++)
        to[i] = (uint8_t)(value >> 8 * (f->big_endian ? bytes - 1 - i : i));
    return bytes;
}

unsigned vnc_put_pixel(const struct vnc_format *format, uint8_t *to, uint32_t pixel)
{
    return put_value(format, to, to_format(format, pixel));
}

/* Whether the client's pixels in memory are ours. */
static bool is_native(const struct vnc_format *f)
{
    const uint32_t one = 1;
    const bool host_big_endian = !*(const uint8_t *)&one;
    return f->bits == 32 && !!f->big_endian == host_big_endian && f->max[0] == 255 &&
           f->max[1] == 255 && f->max[2] == 255 && f->shift[0] == 16 && f->shift[1] == 8 &&
           f->shift[2] == 0;
}

/* ZRLE leaves the byte of a 32-bit pixel out that holds no colour. */
static unsigned put_cpixel(const struct vnc_format *f, uint8_t *to, uint32_t pixel)
{
    uint8_t whole[4];
    uint32_t used = 0;
    for (unsigned i = 0; i < 3; i++)
        used |= (uint32_t)f->max[i] << f->shift[i];
    unsigned bytes = vnc_put_pixel(f, whole, pixel), from = 0;
    if (f->bits == 32 && f->depth <= 24 && (!(used >> 24) || !(used & 0xff))) {
        bool high_unused = !(used >> 24);
        from = high_unused == !!f->big_endian ? 1 : 0;
        bytes = 3;
    }
    memcpy(to, whole + from, bytes);
    return bytes;
}

static const uint32_t *row_of(const struct vnc_client *client, const struct pv_rect *rect,
                              uint32_t y)
{
    const struct pv_surface *picture = &client->server->picture;
    return picture->pixels + (size_t)(rect->y + y) * picture->width + rect->x;
}

int vnc_rect_head(struct vnc_client *client, const struct pv_rect *rect, int32_t encoding)
{
    uint8_t head[12];
    vnc_store16(head, rect->x);
    vnc_store16(head + 2, rect->y);
    vnc_store16(head + 4, rect->width);
    vnc_store16(head + 6, rect->height);
    vnc_store32(head + 8, (uint32_t)encoding);
    return pv_buffer_append(&client->out, head, sizeof(head));
}

/* ---- Raw ---- */

static int encode_raw(struct vnc_client *client, const struct pv_rect *rect)
{
    const size_t size = (size_t)rect->width * rect->height * (client->format.bits / 8);
    int ret = vnc_rect_head(client, rect, ENCODING_RAW);
    if (ret == 0)
        ret = pv_buffer_reserve(&client->out, size);
    if (ret < 0)
        return ret;
    uint8_t *to = (uint8_t *)client->out.data + client->out.size;
    const bool copied = is_native(&client->format);
    for (uint32_t y = 0; y < rect->height; y++) {
        const uint32_t *row = row_of(client, rect, y);
        if (copied) {
            memcpy(to, row, (size_t)rect->width * 4);
            to += (size_t)rect->width * 4;
            continue;
        }
        for (uint32_t x = 0; x < rect->width; x++)
            to += vnc_put_pixel(&client->format, to, row[x]);
    }
    client->out.size += size;
    return 0;
}

/* ---- ZRLE ---- */

struct palette {
    uint32_t colours[PALETTE_MAX];
    unsigned count; /* PALETTE_MAX + 1: too many */
};

static unsigned palette_index(const struct palette *palette, uint32_t pixel)
{
    unsigned i = 0;
    while (i < palette->count && palette->colours[i] != pixel)
        i++;
    return i;
}

static void find_palette(const struct vnc_client *client, const struct pv_rect *tile,
                         struct palette *palette)
{
    palette->count = 0;
    for (uint32_t y = 0; y < tile->height; y++) {
        const uint32_t *row = row_of(client, tile, y);
        for (uint32_t x = 0; x < tile->width; x++) {
            uint32_t pixel = row[x] & 0xffffff;
            if (palette->count && palette->colours[palette->count - 1] == pixel)
                continue;
            if (palette_index(palette, pixel) < palette->count)
                continue;
            if (palette->count == PALETTE_MAX) {
                palette->count++;
                return;
            }
            palette->colours[palette->count++] = pixel;
        }
    }
}

static uint8_t *put_packed(const struct vnc_client *client, const struct pv_rect *tile,
                           const struct palette *palette, uint8_t *to)
{
    const unsigned bits = palette->count == 2 ? 1 : palette->count <= 4 ? 2 : 4;
    for (uint32_t y = 0; y < tile->height; y++) {
        const uint32_t *row = row_of(client, tile, y);
        unsigned left = 8;
        *to = 0;
        for (uint32_t x = 0; x < tile->width; x++) {
            if (!left) {
                *++to = 0;
                left = 8;
            }
            left -= bits;
            *to |= (uint8_t)(palette_index(palette, row[x] & 0xffffff) << left);
        }
        to++;
    }
    return to;
}

/* As put_cpixel() in the native format, little-endian and of depth 24, which viewers ask for. */
static uint8_t *put_row24(uint8_t *to, const uint32_t *row, uint32_t count)
{
    for (uint32_t x = 0; x < count; x++, to += 3) {
        to[0] = (uint8_t)row[x];
        to[1] = (uint8_t)(row[x] >> 8);
        to[2] = (uint8_t)(row[x] >> 16);
    }
    return to;
}

/* Returns how many bytes the tile takes. */
static size_t put_tile(const struct vnc_client *client, const struct pv_rect *tile, uint8_t *data)
{
    struct palette palette;
    uint8_t *to = data;
    find_palette(client, tile, &palette);
    if (palette.count > PALETTE_MAX) {
        const struct vnc_format *f = &client->format;
        const bool usual = is_native(f) && !f->big_endian && f->depth <= 24;
        *to++ = 0;
        for (uint32_t y = 0; y < tile->height; y++) {
            const uint32_t *row = row_of(client, tile, y);
            if (usual) {
                to = put_row24(to, row, tile->width);
                continue;
            }
            for (uint32_t x = 0; x < tile->width; x++)
                to += put_cpixel(f, to, row[x]);
        }
        return (size_t)(to - data);
    }
    *to++ = (uint8_t)palette.count;
    for (unsigned i = 0; i < palette.count; i++)
        to += put_cpixel(&client->format, to, palette.colours[i]);
    if (palette.count > 1)
        to = put_packed(client, tile, &palette, to);
    return (size_t)(to - data);
}

/* Compresses into the output; with `flush`, so that the client can read all of it. */
static int deflate_into(struct vnc_client *client, uint8_t *data, size_t size, bool flush)
{
    z_stream *z = &client->zlib;
    z->next_in = data;
    z->avail_in = (uInt)size;
    client->pace.bytes += size;
    do {
        const size_t room = 16384;
        int ret = pv_buffer_reserve(&client->out, room);
        if (ret < 0)
            return ret;
        z->next_out = (Bytef *)client->out.data + client->out.size;
        z->avail_out = (uInt)room;
        deflate(z, flush ? Z_SYNC_FLUSH : Z_NO_FLUSH);
        client->out.size += room - z->avail_out;
    } while (!z->avail_out);
    return 0;
}

/* ---- Whether to compress ---- */

void vnc_pace_begin(struct vnc_client *client)
{
    client->pace.bytes = 0;
    client->pace.began = pv_clock_ns();
}

void vnc_pace_left(struct vnc_client *client)
{
    struct vnc_pace *pace = &client->pace;
    if (pace->bytes < PACE_BYTES)
        return;
    const uint64_t kib = pace->bytes >> 10, leaving = (pv_clock_ns() - pace->encoded) / kib;
    if (!pace->stored) {
        pace->compressing = (pace->encoded - pace->began) / kib;
        pace->stored = leaving < pace->compressing / 4;
    } else {
        pace->stored = leaving < pace->compressing;
    }
    pace->bytes = 0;
}

/* At the start of a rectangle, when the stream has nothing left to give. */
static int set_level(struct vnc_client *client)
{
    const int level = client->pace.stored ? Z_NO_COMPRESSION : Z_BEST_SPEED;
    uint8_t nothing;
    if (!client->zlib_there) {
        client->zlib_there = deflateInit(&client->zlib, level) == Z_OK;
        return client->zlib_there ? 0 : -ENOMEM;
    }
    client->zlib.avail_in = 0;
    client->zlib.next_out = &nothing;
    client->zlib.avail_out = sizeof(nothing);
    deflateParams(&client->zlib, level, Z_DEFAULT_STRATEGY);
    return client->zlib.avail_out ? 0 : -EIO;
}

static int encode_zrle(struct vnc_client *client, const struct pv_rect *rect)
{
    uint8_t data[1 + 4 * VNC_TILE * VNC_TILE];
    if (set_level(client) < 0)
        return -ENOMEM;
    int ret = vnc_rect_head(client, rect, ENCODING_ZRLE);
    const size_t length_at = client->out.size;
    if (ret == 0)
        ret = pv_buffer_append(&client->out, "\0\0\0\0", 4);
    for (uint32_t x = 0; x < rect->width && ret == 0; x += VNC_TILE) {
        const struct pv_rect tile = {rect->x + x, rect->y, PV_MIN(VNC_TILE, rect->width - x),
                                     rect->height};
        ret =
            deflate_into(client, data, put_tile(client, &tile, data), x + VNC_TILE >= rect->width);
    }
    if (ret == 0)
        vnc_store32((uint8_t *)client->out.data + length_at,
                    (uint32_t)(client->out.size - length_at - 4));
    return ret;
}

int vnc_encode(struct vnc_client *client, const struct pv_rect *rect)
{
    return client->zrle ? encode_zrle(client, rect) : encode_raw(client, rect);
}

/* ---- The cursor, 7.8.1 ---- */

int vnc_encode_cursor(struct vnc_client *client)
{
    const struct pv_cursor *shape = &client->server->shape;
    const uint32_t side = shape->visible ? PV_DISPLAY_CURSOR : 0;
    const struct pv_rect head = {shape->hot_x, shape->hot_y, side, side};
    uint8_t pixels[4 * PV_DISPLAY_CURSOR * PV_DISPLAY_CURSOR], *to = pixels;
    uint8_t mask[PV_DISPLAY_CURSOR * PV_DISPLAY_CURSOR / 8] = {0};
    for (uint32_t i = 0; i < side * side; i++) {
        to += vnc_put_pixel(&client->format, to, shape->pixels[i]);
        if (shape->pixels[i] >> 31)
            mask[i / 8] |= (uint8_t)(0x80 >> i % 8);
    }
    int ret = vnc_rect_head(client, &head, ENCODING_CURSOR);
    if (ret == 0 && side)
        ret = pv_buffer_append(&client->out, pixels, (size_t)(to - pixels));
    return ret == 0 && side ? pv_buffer_append(&client->out, mask, sizeof(mask)) : ret;
}
