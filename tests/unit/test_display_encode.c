/* SPDX-License-Identifier: MIT */
/* ZRLE with and without compression in one stream, and when it is left out. */
#include "base/util.h"
#include "display/vnc_impl.h"
#include "host/clock.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define WIDTH  200u
#define HEIGHT 64u

struct encoder {
    struct vnc_server server;
    struct vnc_client client;
    uint32_t pixels[WIDTH * HEIGHT];
};

static void setup(struct encoder *e, const struct vnc_format *format)
{
    uint32_t grain = 1;
    *e = (struct encoder){.client.format = *format, .client.zrle = true};
    e->server.picture = (struct pv_surface){WIDTH, HEIGHT, e->pixels};
    e->client.server = &e->server;
    e->client.out = PV_BUFFER_INIT((size_t)1 << 20);
    for (uint32_t i = 0; i < WIDTH * HEIGHT; i++) {
        grain = grain * 1664525 + 1013904223;
        e->pixels[i] = 0x804020 + (grain >> 24 & 0x1f);
    }
}

static void finish(struct encoder *e)
{
    deflateEnd(&e->client.zlib);
    pv_buffer_finish(&e->client.out);
}

/* Encodes the picture, decodes it again, and returns how many bytes it took. */
static size_t there_and_back(struct encoder *e, z_stream *z, bool high_first)
{
    const struct pv_rect all = {0, 0, WIDTH, HEIGHT};
    uint8_t data[4 * WIDTH * HEIGHT];
    pv_buffer_consume(&e->client.out, e->client.out.size);
    assert_int_equal(vnc_encode(&e->client, &all), 0);
    const uint8_t *out = (const uint8_t *)e->client.out.data;
    const size_t size = vnc_load32(out + 12);
    assert_int_equal(e->client.out.size, 16 + size);
    z->next_in = (Bytef *)(out + 16);
    z->avail_in = (uInt)size;
    z->next_out = data;
    z->avail_out = sizeof(data);
    assert_int_equal(inflate(z, Z_SYNC_FLUSH), Z_OK);
    assert_int_equal(z->avail_in, 0);
    const uint8_t *at = data;
    for (uint32_t left = 0; left < WIDTH; left += VNC_TILE) {
        assert_int_equal(*at++, 0); /* the pixels themselves: there are too many colours */
        for (uint32_t i = 0; i < HEIGHT * PV_MIN(VNC_TILE, WIDTH - left); i++, at += 3) {
            const uint32_t columns = PV_MIN(VNC_TILE, WIDTH - left);
            const uint32_t pixel = e->pixels[i / columns * WIDTH + left + i % columns];
            assert_int_equal(at[high_first ? 0 : 2], pixel >> 16);
            assert_int_equal(at[1], pixel >> 8 & 0xff);
            assert_int_equal(at[high_first ? 2 : 0], pixel & 0xff);
        }
    }
    assert_ptr_equal(at, z->next_out);
    return size;
}

static void check_format(const struct vnc_format *format, bool high_first)
{
    struct encoder *e = test_calloc(1, sizeof(*e));
    z_stream z = {0};
    size_t sizes[2] = {0};
    setup(e, format);
    assert_int_equal(inflateInit(&z), Z_OK);
    for (unsigned round = 0; round < 6; round++) {
        e->client.pace.stored = round % 2;
        sizes[round % 2] = there_and_back(e, &z, high_first);
    }
    assert_true(sizes[0] < 3 * WIDTH * HEIGHT * 3 / 4);
    assert_true(sizes[1] > 3 * WIDTH * HEIGHT);
    inflateEnd(&z);
    finish(e);
    test_free(e);
}

static void test_levels(void **state)
{
    check_format(&(struct vnc_format){32, 24, 0, 1, {255, 255, 255}, {16, 8, 0}}, false);
    check_format(&(struct vnc_format){32, 24, 1, 1, {255, 255, 255}, {16, 8, 0}}, true);
    check_format(&(struct vnc_format){32, 24, 0, 1, {255, 255, 255}, {0, 8, 16}}, true);
}

/* Whether the next update is stored after one of 1 MiB that took so long to make and to leave. */
static bool stored_after(struct vnc_client *client, uint64_t made_ms, uint64_t left_ms)
{
    struct vnc_pace *pace = &client->pace;
    pace->bytes = (size_t)1 << 20;
    pace->encoded = pv_clock_ns() - left_ms * 1000000;
    pace->began = pace->encoded - made_ms * 1000000;
    vnc_pace_left(client);
    return pace->stored;
}

static void test_pace(void **state)
{
    const uint64_t minute = 60000;
    struct vnc_client client = {0};
    assert_false(stored_after(&client, minute, minute)); /* leaves as slowly as it is made */
    assert_true(stored_after(&client, 9 * minute, minute));
    assert_true(stored_after(&client, 1, 8 * minute)); /* still faster than compressing it */
    assert_false(stored_after(&client, 1, 10 * minute));
    /* Small ones tell nothing. */
    client.pace.bytes = 1000;
    client.pace.began = 0;
    client.pace.encoded = pv_clock_ns();
    vnc_pace_left(&client);
    assert_false(client.pace.stored);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_levels),
        cmocka_unit_test(test_pace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
