/* SPDX-License-Identifier: MIT */
/* The display, the PNG sink, and VNC as a client sees it that knows what it may ask for. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "display/display.h"
#include "display/sink.h"
#include "display/vnc_impl.h"
#include "host/loop.h"
#include "host/loop_thread.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <zlib.h>

/* ---- The display ---- */

static void test_rectangles(void **state)
{
    const struct pv_rect a = {2, 3, 10, 10}, b = {11, 0, 5, 4}, far = {12, 3, 1, 1},
                         wild = {UINT32_MAX, UINT32_MAX, UINT32_MAX, UINT32_MAX}, none = {0};
    struct pv_rect r = pv_rect_intersect(&a, &b);
    assert_true(r.x == 11 && r.y == 3 && r.width == 1 && r.height == 1);
    r = pv_rect_intersect(&a, &far);
    assert_true(pv_rect_empty(&r));
    r = pv_rect_intersect(&a, &wild);
    assert_true(pv_rect_empty(&r));
    r = pv_rect_union(&a, &b);
    assert_true(r.x == 2 && r.y == 0 && r.width == 14 && r.height == 13);
    r = pv_rect_union(&none, &b);
    assert_memory_equal(&r, &b, sizeof(r));
}

struct seen {
    unsigned modes, damages, cursors;
    uint32_t before;
    struct pv_rect rect;
};

static void on_mode(void *opaque, unsigned head, const struct pv_surface *before)
{
    struct seen *seen = opaque;
    seen->modes++;
    seen->before = before->width ? before->pixels[0] : 0;
}

static void on_damage(void *opaque, unsigned head, const struct pv_rect *rect)
{
    struct seen *seen = opaque;
    seen->damages++;
    seen->rect = *rect;
}

static void on_cursor(void *opaque, unsigned head)
{
    ((struct seen *)opaque)->cursors++;
}

static void fill(struct pv_display *display, const struct pv_rect *rect, uint32_t pixel)
{
    const struct pv_surface *surface = pv_display_begin(display, 0);
    for (uint32_t y = rect->y; y < rect->y + rect->height; y++)
        for (uint32_t x = rect->x; x < rect->x + rect->width; x++)
            surface->pixels[(size_t)y * surface->width + x] = pixel;
    pv_display_end(display, 0, rect);
}

static void test_listeners(void **state)
{
    struct pv_display *display;
    struct seen seen = {0};
    struct pv_display_listener listener = {
        .mode = on_mode, .damage = on_damage, .cursor = on_cursor, .opaque = &seen};
    const struct pv_rect rect = {1, 1, 2, 2}, none = {0}, corner = {0, 0, 1, 1};
    assert_int_equal(pv_display_create(&display, NULL), 0);
    pv_display_add_listener(display, &listener);
    assert_int_equal(pv_display_set_mode(display, 0, 8, 4), 0);
    assert_int_equal(pv_display_set_mode(display, 0, 8, 4), 0); /* no change */
    assert_int_equal(seen.modes, 1);
    fill(display, &rect, 0x123456);
    fill(display, &none, 0);
    assert_int_equal(seen.damages, 1);
    assert_memory_equal(&seen.rect, &rect, sizeof(rect));
    fill(display, &corner, 0x654321);
    assert_int_equal(pv_display_set_mode(display, 0, PV_DISPLAY_MAX + 1, 4), -ENOMEM);
    assert_int_equal(seen.before, 0x654321);
    assert_int_equal(pv_display_surface(display, 0)->width, 0);
    pv_display_set_cursor(display, 0, NULL);
    assert_int_equal(seen.cursors, 1);
    pv_display_remove_listener(display, &listener);
    assert_int_equal(pv_display_set_mode(display, 0, 1, 1), 0);
    assert_int_equal(seen.modes, 2);
    pv_display_destroy(display);
}

/* ---- PNG ---- */

/* Width, and the first pixel, of a picture of ours. */
static uint32_t read_png(const char *path, uint32_t *pixel)
{
    uint8_t data[4096], rows[4096];
    PV_CLEANUP_FILE FILE *file = fopen(path, "re");
    assert_non_null(file);
    size_t size = fread(data, 1, sizeof(data), file);
    assert_in_range(size, 8 + 25 + 12 + 12, sizeof(data) - 1);
    assert_memory_equal(data, "\x89PNG\r\n\x1a\n\0\0\0\rIHDR", 16);
    assert_memory_equal(data + 24, "\x08\x02\0\0\0", 5);
    assert_int_equal(vnc_load32(data + 29), crc32(0, data + 12, 17));
    uint32_t width = vnc_load32(data + 16), height = vnc_load32(data + 20);
    uint32_t length = vnc_load32(data + 33);
    assert_memory_equal(data + 37, "IDAT", 4);
    assert_int_equal(size, 41 + length + 4 + 12);
    assert_int_equal(vnc_load32(data + 41 + length), crc32(0, data + 37, length + 4));
    uLongf got = sizeof(rows);
    assert_int_equal(uncompress(rows, &got, data + 41, length), Z_OK);
    assert_int_equal(got, (3 * width + 1) * height);
    assert_int_equal(rows[0], 0);
    *pixel = (uint32_t)(rows[1] << 16 | rows[2] << 8 | rows[3]);
    return width;
}

static void test_png(void **state)
{
    char folder[] = "/tmp/pv-display-XXXXXX";
    PV_CLEANUP_FREE char *path = NULL;
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct pv_display *display;
    struct pv_display_sink *sink;
    uint32_t pixel;
    const struct pv_rect all = {0, 0, 8, 4};
    assert_non_null(mkdtemp(folder));
    assert_true(asprintf(&path, "%s/picture.png", folder) > 0);
    assert_int_equal(pv_display_create(&display, NULL), 0);
    assert_int_equal(pv_display_png_create(&sink, display, path, NULL), 0);
    assert_int_equal(pv_display_sink_save(sink, &err), -ENODATA);
    assert_int_equal(access(path, F_OK), -1);
    assert_int_equal(pv_display_set_mode(display, 0, 8, 4), 0);
    assert_int_equal(pv_display_sink_save(sink, NULL), -ENODATA); /* nothing was drawn */
    fill(display, &all, 0xff123456);
    assert_int_equal(pv_display_sink_save(sink, NULL), 0);
    assert_int_equal(read_png(path, &pixel), 8);
    assert_int_equal(pixel, 0x123456);
    /* What was shown last stays when the head is off, and when a mode shows nothing. */
    fill(display, &all, 0x654321);
    assert_int_equal(pv_display_set_mode(display, 0, 0, 0), 0);
    assert_int_equal(pv_display_set_mode(display, 0, 16, 16), 0);
    assert_int_equal(pv_display_set_mode(display, 0, 0, 0), 0);
    pv_display_sink_destroy(sink); /* writes it */
    assert_int_equal(read_png(path, &pixel), 8);
    assert_int_equal(pixel, 0x654321);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(folder), 0); /* nothing half-written */
    pv_display_destroy(display);
}

/* ---- VNC ---- */

struct viewer {
    char folder[32], path[64];
    struct pv_display *display;
    struct pv_loop_thread *thread;
    struct pv_display_sink *sink;
    int fd;
    /* What the viewer did, as the display has it; read while the server is idle or gone. */
    uint16_t keys[16];
    bool downs[16];
    unsigned key_count;
    int32_t x, y, wheel;
    unsigned buttons;
    uint32_t width, height;
};

static void got_key(void *opaque, uint16_t code, bool down)
{
    struct viewer *v = opaque;
    v->keys[v->key_count % 16] = code;
    v->downs[v->key_count++ % 16] = down;
}

static void got_pointer(void *opaque, unsigned head, int32_t x, int32_t y, unsigned buttons,
                        int32_t wheel)
{
    struct viewer *v = opaque;
    v->x = x;
    v->y = y;
    v->buttons = buttons;
    v->wheel += wheel;
}

static void got_resize(void *opaque, unsigned head, uint32_t width, uint32_t height)
{
    struct viewer *v = opaque;
    v->width = width;
    v->height = height;
}

static int connect_to(struct viewer *v)
{
    const struct timeval patience = {.tv_sec = 20};
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    strcpy(address.sun_path, v->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

static void tell(int fd, const void *data, size_t size)
{
    assert_int_equal(send(fd, data, size, MSG_NOSIGNAL), size);
}

static void hear(int fd, void *data, size_t size)
{
    assert_int_equal(recv(fd, data, size, MSG_WAITALL), size);
}

/* The server hangs up, whatever it says before. */
static bool hangs_up(int fd)
{
    char rest[256];
    ssize_t n;
    while ((n = recv(fd, rest, sizeof(rest), 0)) > 0)
        ;
    return n == 0 || errno == ECONNRESET;
}

static void setup_server(struct viewer *v, const char *password)
{
    const struct pv_display_input input = {
        .key = got_key, .pointer = got_pointer, .resize = got_resize, .opaque = v};
    *v = (struct viewer){.folder = "/tmp/pv-vnc-XXXXXX"};
    assert_non_null(mkdtemp(v->folder));
    snprintf(v->path, sizeof(v->path), "%s/vnc", v->folder);
    assert_int_equal(pv_display_create(&v->display, NULL), 0);
    pv_display_set_input(v->display, &input);
    assert_int_equal(pv_loop_thread_create(&v->thread, "vnc", NULL), 0);
    const struct pv_vnc_config config = {.path = v->path, .password = password};
    assert_int_equal(
        pv_display_vnc_create(&v->sink, v->display, pv_loop_thread_loop(v->thread), &config, NULL),
        0);
    assert_int_equal(pv_display_set_mode(v->display, 0, 130, 70), 0);
    assert_int_equal(pv_loop_thread_start(v->thread, NULL), 0);
    v->fd = connect_to(v);
}

static void teardown_server(struct viewer *v)
{
    close(v->fd);
    pv_loop_thread_stop(v->thread);
    pv_display_sink_destroy(v->sink);
    pv_loop_thread_destroy(v->thread);
    pv_display_destroy(v->display);
    assert_int_equal(rmdir(v->folder), 0);
}

/* The handshake up to ServerInit. */
static void greet_with(int fd, uint8_t data[33])
{
    hear(fd, data, 12);
    assert_memory_equal(data, "RFB 003.008\n", 12);
    tell(fd, "RFB 003.008\n", 12);
    hear(fd, data, 2);
    assert_memory_equal(data, "\1\1", 2);
    tell(fd, "\1", 1);
    hear(fd, data, 4);
    assert_int_equal(vnc_load32(data), 0);
    tell(fd, "\1", 1);
    hear(fd, data, 24 + 9);
}

static void greet_any(int fd)
{
    uint8_t data[33];
    greet_with(fd, data);
}

static void greet(int fd, uint16_t width, uint16_t height)
{
    uint8_t data[33];
    greet_with(fd, data);
    assert_int_equal(vnc_load16(data), width);
    assert_int_equal(vnc_load16(data + 2), height);
    assert_memory_equal(data + 4, "\x20\x18\0\1\0\xff\0\xff\0\xff\x10\x08\0", 13);
    assert_memory_equal(data + 24, "PearVisor", 9);
}

static void set_encodings(int fd, const int32_t *encodings, unsigned count)
{
    uint8_t data[64] = {2};
    vnc_store16(data + 2, count);
    for (unsigned i = 0; i < count; i++)
        vnc_store32(data + 4 + 4 * i, (uint32_t)encodings[i]);
    tell(fd, data, 4 + 4 * count);
}

static void ask(int fd, bool incremental)
{
    uint8_t data[10] = {3, incremental};
    vnc_store16(data + 6, 65535);
    vnc_store16(data + 8, 65535);
    tell(fd, data, sizeof(data));
}

struct rect_head {
    uint32_t x, y, width, height;
    int32_t encoding;
};

static struct rect_head hear_rect(int fd)
{
    uint8_t data[12];
    hear(fd, data, 12);
    return (struct rect_head){vnc_load16(data), vnc_load16(data + 2), vnc_load16(data + 4),
                              vnc_load16(data + 6), (int32_t)vnc_load32(data + 8)};
}

static unsigned hear_update(int fd)
{
    uint8_t data[4];
    hear(fd, data, 4);
    assert_int_equal(data[0], 0);
    return vnc_load16(data + 2);
}

/* A picture of all kinds of tiles: one colour, few, many. */
static uint32_t pixel_at(uint32_t x, uint32_t y)
{
    if (x < 64)
        return y < 64 ? 0x102030 : (x ^ y) & 1 ? 0xff0000 : 0x00ff00;
    return x < 128 ? x % 3 * 0x40 | y % 5 * 0x4000 : x << 16 | y << 8 | 0x55;
}

static void paint(struct pv_display *display)
{
    const struct pv_surface *surface = pv_display_begin(display, 0);
    for (uint32_t y = 0; y < surface->height; y++)
        for (uint32_t x = 0; x < surface->width; x++)
            surface->pixels[y * surface->width + x] = pixel_at(x, y);
    pv_display_end(display, 0, &(struct pv_rect){0, 0, surface->width, surface->height});
}

/* Both rows of tiles, raw, in the client's format. */
static void hear_raw(int fd, uint32_t width, uint32_t height, unsigned bytes,
                     uint32_t (*want)(uint32_t pixel))
{
    static uint8_t data[256 * 64 * 4];
    assert_int_equal(hear_update(fd), (height + 63) / 64);
    for (uint32_t top = 0; top < height; top += 64) {
        struct rect_head rect = hear_rect(fd);
        assert_int_equal(rect.encoding, 0);
        assert_true(rect.x == 0 && rect.y == top && rect.width == width);
        assert_int_equal(rect.height, PV_MIN(64u, height - top));
        hear(fd, data, (size_t)width * rect.height * bytes);
        for (uint32_t i = 0; i < width * rect.height; i++) {
            uint32_t value = 0;
            memcpy(&value, data + i * bytes, bytes);
            assert_int_equal(value, want(pixel_at(i % width, top + i / width)));
        }
    }
}

static uint32_t as_is(uint32_t pixel)
{
    return pixel;
}

/* 5-6-5, most significant byte first. */
static uint32_t as_565(uint32_t pixel)
{
    uint32_t r = ((pixel >> 16 & 255) * 31 + 127) / 255, g = ((pixel >> 8 & 255) * 63 + 127) / 255;
    uint32_t value = r << 11 | g << 5 | ((pixel & 255) * 31 + 127) / 255;
    return value >> 8 | (value & 255) << 8;
}

static void test_raw(void **state)
{
    static const uint8_t format[20] = {0, 0, 0, 0, 16, 16, 1, 1, 0, 31, 0, 63, 0, 31, 11, 5, 0};
    struct viewer v;
    setup_server(&v, NULL);
    paint(v.display);
    greet(v.fd, 130, 70);
    ask(v.fd, false);
    hear_raw(v.fd, 130, 70, 4, as_is);
    tell(v.fd, format, 20);
    ask(v.fd, false);
    hear_raw(v.fd, 130, 70, 2, as_565);
    /* Only what changed: the tile at the right, below. */
    ask(v.fd, true);
    fill(v.display, &(struct pv_rect){129, 69, 1, 1}, pixel_at(129, 69));
    assert_int_equal(hear_update(v.fd), 1);
    struct rect_head rect = hear_rect(v.fd);
    assert_true(rect.x == 128 && rect.y == 64 && rect.width == 2 && rect.height == 6);
    teardown_server(&v);
}

/* Returns where the first rectangle was; all rectangles are read, as whole rows of raw pixels. */
static uint32_t hear_rows(int fd, uint32_t width, uint32_t *bottom)
{
    static uint8_t data[2048 * 64 * 4];
    uint32_t first = 0;
    const unsigned count = hear_update(fd);
    assert_true(count);
    for (unsigned i = 0; i < count; i++) {
        struct rect_head rect = hear_rect(fd);
        assert_int_equal(rect.width, width);
        hear(fd, data, (size_t)width * rect.height * 4);
        first = i ? first : rect.y;
        *bottom = rect.y + rect.height;
    }
    return first;
}

/* Of a picture that is too large for one update and changes all the time, all is sent. */
static void test_large(void **state)
{
    const uint32_t width = 2048, height = 1024;
    uint32_t bottom;
    struct viewer v;
    setup_server(&v, NULL);
    assert_int_equal(pv_display_set_mode(v.display, 0, width, height), 0);
    paint(v.display);
    greet_any(v.fd);
    ask(v.fd, false);
    assert_int_equal(hear_rows(v.fd, width, &bottom), 0);
    assert_in_range(bottom, 64, height - 64);
    paint(v.display);
    ask(v.fd, true);
    const uint32_t next = bottom;
    assert_int_equal(hear_rows(v.fd, width, &bottom), next);
    teardown_server(&v);
}

/* Reads a tile of ZRLE with three bytes a pixel; returns what is behind it. */
static const uint8_t *read_tile(const uint8_t *at, const struct rect_head *tile)
{
    uint32_t palette[16] = {0};
    unsigned kind = *at++, bits = kind == 2 ? 1 : kind <= 4 ? 2 : 4;
    assert_in_range(kind, 0, 16);
    for (unsigned i = 0; i < kind; i++, at += 3)
        palette[i] = (uint32_t)(at[0] | at[1] << 8 | at[2] << 16);
    for (uint32_t y = 0; y < tile->height; y++) {
        unsigned bit = 0;
        for (uint32_t x = 0; x < tile->width; x++) {
            uint32_t got = palette[0];
            if (kind == 0) {
                got = (uint32_t)(at[0] | at[1] << 8 | at[2] << 16);
                at += 3;
            } else if (kind > 1) {
                got = palette[at[bit / 8] >> (8 - bits - bit % 8) & ((1u << bits) - 1)];
                bit += bits;
            }
            assert_int_equal(got, pixel_at(tile->x + x, tile->y + y));
        }
        at += (bit + 7) / 8;
    }
    return at;
}

static void hear_zrle(int fd, z_stream *z)
{
    static uint8_t packed[1 << 20], data[1 << 20];
    struct rect_head rect = hear_rect(fd);
    assert_int_equal(rect.encoding, 16);
    hear(fd, packed, 4);
    size_t size = vnc_load32(packed);
    assert_in_range(size, 1, sizeof(packed));
    hear(fd, packed, size);
    z->next_in = packed;
    z->avail_in = (uInt)size;
    z->next_out = data;
    z->avail_out = sizeof(data);
    assert_int_equal(inflate(z, Z_SYNC_FLUSH), Z_OK);
    assert_int_equal(z->avail_in, 0);
    const uint8_t *at = data;
    for (uint32_t x = 0; x < rect.width; x += 64) {
        const struct rect_head tile = {rect.x + x, rect.y, PV_MIN(64u, rect.width - x), rect.height,
                                       0};
        at = read_tile(at, &tile);
    }
    assert_ptr_equal(at, z->next_out);
}

static void test_zrle(void **state)
{
    const int32_t encodings[] = {5, 16, 0};
    struct viewer v;
    z_stream z = {0};
    setup_server(&v, NULL);
    paint(v.display);
    greet(v.fd, 130, 70);
    set_encodings(v.fd, encodings, 3);
    assert_int_equal(inflateInit(&z), Z_OK);
    for (unsigned round = 0; round < 2; round++) { /* one stream for both */
        ask(v.fd, false);
        assert_int_equal(hear_update(v.fd), 2);
        hear_zrle(v.fd, &z);
        hear_zrle(v.fd, &z);
    }
    inflateEnd(&z);
    teardown_server(&v);
}

/* Size, cursor, keys, fences and continuous updates are announced to those who know them. */
static void test_extensions(void **state)
{
    const int32_t encodings[] = {0, -308, -239, -258, -312, -313};
    struct pv_cursor cursor = {.visible = true, .hot_x = 3, .hot_y = 4, .pixels = {0xff010203}};
    uint8_t data[4096 * 4 + 512], fence[12] = {248, 0, 0, 0, 0x80, 0, 0, 7, 3, 'a', 'b', 'c'};
    struct viewer v;
    setup_server(&v, NULL);
    pv_display_set_cursor(v.display, 0, &cursor);
    greet(v.fd, 130, 70);
    set_encodings(v.fd, encodings, 6);
    hear(v.fd, data, 10);
    assert_memory_equal(data, "\xf8\0\0\0\x80\0\0\0\0\x96", 10); /* fence, continuous updates */
    ask(v.fd, true);
    assert_int_equal(hear_update(v.fd), 3 + 2); /* and the black picture */
    struct rect_head rect = hear_rect(v.fd);
    assert_true(rect.encoding == -308 && rect.x == 0 && rect.y == 0 && rect.width == 130);
    hear(v.fd, data, 20);
    assert_memory_equal(data, "\1\0\0\0\0\0\0\0\0\0\0\0\0\x82\0\x46\0\0\0\0", 20);
    rect = hear_rect(v.fd);
    assert_true(rect.encoding == -239 && rect.x == 3 && rect.y == 4 && rect.width == 64);
    hear(v.fd, data, 64 * 64 * 4 + 512);
    assert_memory_equal(data, "\3\2\1", 3);
    assert_int_equal(data[64 * 64 * 4], 0x80);
    assert_int_equal(hear_rect(v.fd).encoding, -258);
    for (unsigned i = 0; i < 2; i++) {
        rect = hear_rect(v.fd);
        hear(v.fd, data, rect.width * rect.height * (size_t)4 / 4);
        for (unsigned part = 1; part < 4; part++)
            hear(v.fd, data, (size_t)rect.width * rect.height);
    }
    tell(v.fd, fence, 12);
    hear(v.fd, data, 12);
    fence[4] = 0;
    fence[7] = 3; /* of the flags, those it keeps */
    assert_memory_equal(data, fence, 12);

    /* Continuous updates come unasked, from now on to the end. */
    tell(v.fd, "\x96\1\0\0\0\0\xff\xff\xff\xff", 10);
    for (unsigned i = 0; i < 2; i++) {
        fill(v.display, &(struct pv_rect){0, 0, 1, 1}, i);
        assert_int_equal(hear_update(v.fd), 1);
        rect = hear_rect(v.fd);
        assert_int_equal(rect.width * rect.height, 4096);
        hear(v.fd, data, 4096 * 4);
        assert_int_equal(data[0], i);
    }
    tell(v.fd, "\x96\0\0\0\0\0\xff\xff\xff\xff", 10);
    hear(v.fd, data, 1);
    assert_int_equal(data[0], 150);

    /* The viewer asks for a size, and the guest takes another. */
    tell(v.fd, "\xfb\0\4\0\3\0\1\0\0\0\0\0\0\0\0\0\4\0\3\0\0\0\0\0", 24);
    assert_int_equal(hear_update(v.fd), 1);
    rect = hear_rect(v.fd);
    assert_true(rect.encoding == -308 && rect.x == 1 && rect.y == 4 && rect.width == 130);
    hear(v.fd, data, 20);
    ask(v.fd, true);
    assert_int_equal(pv_display_set_mode(v.display, 0, 64, 64), 0);
    assert_int_equal(hear_update(v.fd), 2);
    rect = hear_rect(v.fd);
    assert_true(rect.encoding == -308 && rect.x == 0 && rect.width == 64 && rect.height == 64);
    teardown_server(&v);
    assert_int_equal(v.width, 1024);
    assert_int_equal(v.height, 768);
}

/* Waits until the server has handled all that was sent: it answers in order. */
static void settle(int fd)
{
    static const uint8_t fence[9] = {248, 0, 0, 0, 0x80};
    uint8_t data[9];
    tell(fd, fence, 9);
    hear(fd, data, 9);
    assert_int_equal(data[0], 248);
}

static void test_input(void **state)
{
    struct viewer v;
    setup_server(&v, NULL);
    greet(v.fd, 130, 70);
    tell(v.fd, "\4\1\0\0\0\0\0a", 8);                 /* a */
    tell(v.fd, "\4\1\0\0\0\0\xff\xe1", 8);            /* left shift */
    tell(v.fd, "\xff\0\0\1\0\0\0\0\0\0\xe0\x48", 12); /* up, by its place */
    tell(v.fd, "\4\0\0\0\0\0\0a", 8);
    tell(v.fd, "\4\1\0\0\0\1\0\0", 8); /* no key that there is */
    tell(v.fd, "\5\1\0\x81\0\0", 6);   /* left button, at the right */
    tell(v.fd, "\5\x09\0\x81\0\x45", 6);
    tell(v.fd, "\5\x01\0\x81\0\x45", 6);
    settle(v.fd);
    assert_int_equal(v.key_count, 4);
    assert_int_equal(v.keys[0], 30);
    assert_int_equal(v.keys[1], 42);
    assert_int_equal(v.keys[2], 103);
    assert_false(v.downs[3]);
    assert_int_equal(v.x, PV_DISPLAY_AXIS_MAX);
    assert_int_equal(v.y, PV_DISPLAY_AXIS_MAX);
    assert_int_equal(v.wheel, 1);
    assert_int_equal(v.buttons, 1);
    /* What is held when the viewer goes is released. */
    teardown_server(&v);
    assert_int_equal(v.key_count, 6);
    assert_false(v.downs[4]);
    assert_int_equal(v.keys[4] + v.keys[5], 42 + 103);
    assert_int_equal(v.buttons, 0);
}

static void test_clipboard(void **state)
{
    struct viewer v;
    uint8_t data[32];
    setup_server(&v, NULL);
    int other = connect_to(&v);
    greet(v.fd, 130, 70);
    greet(other, 130, 70);
    tell(v.fd, "\6\0\0\0\0\0\0\5hello", 13);
    hear(other, data, 13);
    assert_memory_equal(data, "\3\0\0\0\0\0\0\5hello", 13);
    /* Too long to pass on, but no reason to go. */
    static uint8_t text[8 + 100000] = {6};
    vnc_store32(text + 4, 100000);
    tell(v.fd, text, sizeof(text));
    settle(v.fd);
    close(other);
    teardown_server(&v);
}

/* RFC 6143 7.2.2, with the key of FIPS 46's first example turned around bit by bit. */
static void test_password(void **state)
{
    static const uint8_t key[8] = {0xc8, 0x2c, 0xea, 0x9e, 0xd9, 0x3d, 0xfb, 0x8f};
    static const uint8_t plain[16] = {0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef};
    static const uint8_t want[8] = {0x85, 0xe8, 0x13, 0x54, 0x0f, 0x0a, 0xb4, 0x05};
    uint8_t data[64], response[16];
    vnc_des_response(key, plain, response);
    assert_memory_equal(response, want, 8);

    struct viewer v;
    for (unsigned wrong = 0; wrong < 2; wrong++) {
        setup_server(&v, "secret");
        hear(v.fd, data, 12);
        tell(v.fd, "RFB 003.008\n", 12);
        hear(v.fd, data, 2);
        assert_memory_equal(data, "\1\2", 2);
        tell(v.fd, "\2", 1);
        hear(v.fd, data, 16);
        vnc_des_response((const uint8_t *)(wrong ? "Secret\0" : "secret\0"), data, response);
        tell(v.fd, response, 16);
        hear(v.fd, data, 4);
        assert_int_equal(vnc_load32(data), wrong);
        if (wrong)
            assert_true(hangs_up(v.fd));
        teardown_server(&v);
    }
    /* No way around it. */
    setup_server(&v, "secret");
    hear(v.fd, data, 12);
    tell(v.fd, "RFB 003.008\n\1\1", 14);
    assert_true(hangs_up(v.fd));
    teardown_server(&v);
}

static void test_old_versions(void **state)
{
    struct viewer v;
    uint8_t data[64];
    setup_server(&v, NULL);
    hear(v.fd, data, 12);
    tell(v.fd, "RFB 003.003\n", 12);
    hear(v.fd, data, 4);
    assert_int_equal(vnc_load32(data), 1);
    tell(v.fd, "\1", 1);
    hear(v.fd, data, 33);
    int other = connect_to(&v);
    hear(other, data, 12);
    tell(other, "RFB 003.007\n", 12);
    hear(other, data, 2);
    tell(other, "\1\1", 2);
    hear(other, data, 33); /* no word of success */
    assert_memory_equal(data + 24, "PearVisor", 9);
    close(other);
    teardown_server(&v);
}

/* Whoever sends what cannot be is dropped, and nobody else notices. */
static void test_garbage(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
    } cases[] = {
        {"\7", 1},
        {"\0\0\0\0\x18\x18\0\1\0\xff\0\xff\0\xff\x10\x08\0\0\0\0", 20}, /* 24 bits */
        {"\0\0\0\0\x20\x18\0\0\0\xff\0\xff\0\xff\x10\x08\0\0\0\0", 20}, /* a colour map */
        {"\0\0\0\0\x10\x10\0\1\0\xff\0\xff\0\xff\x10\x08\0\0\0\0", 20}, /* shifts too far */
        {"\6\0\0\0\xff\xff\xff\xff", 8},
        {"\xf8\0\0\0\x80\0\0\0\xff", 9},
        {"\xff\1\0\0", 4},
        {"\xfb\0\4\0\3\0\0\0", 8}, /* it never said that it knows sizes */
    };
    struct viewer v;
    uint8_t data[16];
    setup_server(&v, NULL);
    greet(v.fd, 130, 70);
    for (size_t i = 0; i < PV_ARRAY_SIZE(cases); i++) {
        int fd = connect_to(&v);
        greet(fd, 130, 70);
        tell(fd, cases[i].bytes, cases[i].size);
        assert_true(hangs_up(fd));
        close(fd);
    }
    int fd = connect_to(&v);
    hear(fd, data, 12);
    tell(fd, "GET / HTTP/1.1\r\n", 16);
    assert_true(hangs_up(fd));
    close(fd);
    settle(v.fd);

    /* Sixteen may look; the next one is turned away. */
    int more[VNC_CLIENTS];
    for (unsigned i = 1; i < VNC_CLIENTS; i++) {
        more[i] = connect_to(&v);
        greet(more[i], 130, 70);
    }
    more[0] = connect_to(&v);
    assert_true(hangs_up(more[0]));
    for (unsigned i = 0; i < VNC_CLIENTS; i++)
        close(more[i]);
    settle(v.fd);
    teardown_server(&v);
}

static void quiet(void *opaque, enum pv_log_component component, enum pv_log_level level,
                  const char *line)
{
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rectangles),   cmocka_unit_test(test_listeners),
        cmocka_unit_test(test_png),          cmocka_unit_test(test_raw),
        cmocka_unit_test(test_large),        cmocka_unit_test(test_zrle),
        cmocka_unit_test(test_extensions),   cmocka_unit_test(test_input),
        cmocka_unit_test(test_clipboard),    cmocka_unit_test(test_password),
        cmocka_unit_test(test_old_versions), cmocka_unit_test(test_garbage),
    };
    pv_log_set_sink(quiet, NULL);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
