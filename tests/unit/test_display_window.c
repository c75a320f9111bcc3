/* SPDX-License-Identifier: MIT */
/*
 * The window, on SDL's dummy driver: its parts are called from the test's thread, so that what the
 * viewer sees can be read back after each step; then the thread that usually does that.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/error.h"
#include "base/util.h"
#include "display/window_impl.h"

#include <errno.h>

/* ---- What the guest is told ---- */

struct told {
    struct window window;
    struct pv_display *display;
    atomic_uint keys, closed;
    uint16_t key[16];
    bool down[16];
    unsigned points, motions, resizes;
    int32_t x, y, dx, dy, wheel;
    unsigned buttons;
    uint32_t width, height;
};

static void on_key(void *opaque, uint16_t code, bool down)
{
    struct told *t = opaque;
    const unsigned n = atomic_load(&t->keys);
    assert_true(n < PV_ARRAY_SIZE(t->key));
    t->key[n] = code;
    t->down[n] = down;
    atomic_store(&t->keys, n + 1);
}

static void on_pointer(void *opaque, unsigned head, int32_t x, int32_t y, unsigned buttons,
                       int32_t wheel)
{
    struct told *t = opaque;
    assert_int_equal(head, 0);
    t->points++;
    t->x = x;
    t->y = y;
    t->buttons = buttons;
    t->wheel = wheel;
}

static void on_motion(void *opaque, int32_t dx, int32_t dy, unsigned buttons, int32_t wheel)
{
    struct told *t = opaque;
    t->motions++;
    t->dx = dx;
    t->dy = dy;
    t->buttons = buttons;
    t->wheel = wheel;
}

static void on_resize(void *opaque, unsigned head, uint32_t width, uint32_t height)
{
    struct told *t = opaque;
    t->resizes++;
    t->width = width;
    t->height = height;
}

static void on_closed(void *opaque)
{
    atomic_fetch_add(&((struct told *)opaque)->closed, 1);
}

static void setup_display(struct told *t)
{
    const struct pv_display_input input = {
        .key = on_key,
        .pointer = on_pointer,
        .motion = on_motion,
        .resize = on_resize,
        .closed = on_closed,
        .opaque = t,
    };
    memset(t, 0, sizeof(*t));
    assert_int_equal(pv_display_create(&t->display, NULL), 0);
    pv_display_set_input(t->display, &input);
    t->window.display = t->display;
}

/* A window of 100 x 80. */
static struct window *setup(struct told *t)
{
    static char title[] = "guest";
    setup_display(t);
    t->window.title = title;
    assert_int_equal(pv_sdl_load(&t->window.sdl, NULL), 0);
    assert_int_equal(window_open(&t->window, 100, 80, NULL), 0);
    return &t->window;
}

static void teardown(struct told *t)
{
    window_close(&t->window);
    pv_display_destroy(t->display);
}

/* Everything that is waiting, as the thread does it. */
static void run(struct window *w)
{
    SDL_Event event;
    while (w->sdl.PollEvent(&event))
        window_handle(w, &event);
    window_ask_size(w);
    window_draw(w);
}

/* ---- What the viewer sees ---- */

static void fill(struct told *t, struct pv_rect rect, uint32_t pixel)
{
    const struct pv_surface *surface = pv_display_begin(t->display, 0);
    for (uint32_t y = rect.y; y < rect.y + rect.height; y++)
        for (uint32_t x = rect.x; x < rect.x + rect.width; x++)
            surface->pixels[y * surface->width + x] = pixel;
    pv_display_end(t->display, 0, &rect);
}

/* The colour of a pixel of the window. */
static uint32_t seen(struct window *w, int x, int y)
{
    const SDL_Rect one = {x, y, 1, 1};
    uint32_t pixel = 0;
    assert_int_equal(
        w->sdl.RenderReadPixels(w->renderer, &one, SDL_PIXELFORMAT_ARGB8888, &pixel, 4), 0);
    return pixel & 0xffffff;
}

static void expect_output(struct window *w, int width, int height)
{
    int output_width, output_height;
    assert_int_equal(w->sdl.GetRendererOutputSize(w->renderer, &output_width, &output_height), 0);
    assert_int_equal(output_width, width);
    assert_int_equal(output_height, height);
}

static void test_picture(void **state)
{
    struct told t;
    struct window *w = setup(&t);
    run(w);
    assert_int_equal(seen(w, 50, 40), 0);
    assert_int_equal(pv_display_set_mode(t.display, 0, 64, 48), 0);
    fill(&t, (struct pv_rect){0, 0, 64, 48}, 0xff102030);
    fill(&t, (struct pv_rect){10, 20, 1, 1}, 0xabcdef);
    run(w);
    run(w); /* the window has followed */
    expect_output(w, 64, 48);
    for (int y = 0; y < 48; y++)
        for (int x = 0; x < 64; x++)
            assert_int_equal(seen(w, x, y), x == 10 && y == 20 ? 0xabcdef : 0x102030);
    fill(&t, (struct pv_rect){63, 47, 1, 1}, 0x00ff00);
    fill(&t, (struct pv_rect){0, 0, 1, 1}, 0xff0000);
    run(w);
    assert_int_equal(seen(w, 63, 47), 0x00ff00);
    assert_int_equal(seen(w, 0, 0), 0xff0000);
    assert_int_equal(seen(w, 10, 20), 0xabcdef);
    assert_int_equal(t.resizes, 0); /* that was the guest's own doing */
    assert_int_equal(pv_display_set_mode(t.display, 0, 0, 0), 0);
    run(w);
    assert_int_equal(seen(w, 0, 0), 0);
    teardown(&t);
}

/* A window that is twice as wide as the picture: bars on both sides. */
static void test_scaled(void **state)
{
    struct told t;
    struct window *w = setup(&t);
    assert_int_equal(pv_display_set_mode(t.display, 0, 50, 50), 0);
    fill(&t, (struct pv_rect){0, 0, 50, 50}, 0x336699);
    run(w);
    w->sdl.SetWindowSize(w->window, 200, 100);
    run(w);
    expect_output(w, 200, 100);
    assert_int_equal(seen(w, 49, 50), 0);
    assert_int_equal(seen(w, 51, 1), 0x336699);
    assert_int_equal(seen(w, 148, 98), 0x336699);
    assert_int_equal(seen(w, 151, 50), 0);

    /* The guest is asked when that has settled, once. */
    assert_int_equal(t.resizes, 0);
    assert_true(w->asked_ns != UINT64_MAX);
    w->asked_ns = 0;
    run(w);
    run(w);
    assert_int_equal(t.resizes, 1);
    assert_int_equal(t.width, 200);
    assert_int_equal(t.height, 100);
    assert_int_equal(pv_display_set_mode(t.display, 0, 200, 100), 0);
    fill(&t, (struct pv_rect){0, 0, 200, 100}, 0x996633);
    run(w);
    assert_int_equal(seen(w, 0, 0), 0x996633);
    assert_true(w->asked_ns == UINT64_MAX);

    /* Nobody asks for what is there. */
    w->sdl.SetWindowSize(w->window, 300, 100);
    run(w);
    w->sdl.SetWindowSize(w->window, 200, 100);
    run(w);
    assert_true(w->asked_ns == UINT64_MAX);
    assert_int_equal(t.resizes, 1);
    teardown(&t);
}

/* ---- What the viewer does ---- */

static void key(struct window *w, SDL_Scancode scancode, uint16_t modifiers, bool down)
{
    SDL_Event event = {.type = down ? SDL_KEYDOWN : SDL_KEYUP};
    event.key.state = down ? SDL_PRESSED : SDL_RELEASED;
    event.key.keysym.scancode = scancode;
    event.key.keysym.mod = modifiers;
    window_handle(w, &event);
}

static void expect_key(const struct told *t, unsigned n, uint16_t code, bool down)
{
    assert_true(n < atomic_load(&t->keys));
    assert_int_equal(t->key[n], code);
    assert_int_equal(t->down[n], down);
}

static void window_event(struct window *w, uint8_t what)
{
    SDL_Event event = {.type = SDL_WINDOWEVENT};
    event.window.event = what;
    window_handle(w, &event);
}

static void test_keys(void **state)
{
    struct told t;
    struct window *w = setup(&t);
    SDL_Event again = {.type = SDL_KEYDOWN};
    key(w, SDL_SCANCODE_A, 0, true);
    again.key.keysym.scancode = SDL_SCANCODE_A;
    again.key.repeat = 1;
    window_handle(w, &again);
    key(w, SDL_SCANCODE_A, 0, false);
    key(w, SDL_SCANCODE_A, 0, false); /* not held any more */
    key(w, SDL_SCANCODE_UNKNOWN, 0, true);
    key(w, SDL_SCANCODE_APP2, 0, true);
    assert_int_equal(t.keys, 2);
    expect_key(&t, 0, 30, true);
    expect_key(&t, 1, 30, false);

    /* Ctrl+Alt+F is the window's; what is held when the viewer turns away is released. */
    key(w, SDL_SCANCODE_LCTRL, KMOD_LCTRL, true);
    key(w, SDL_SCANCODE_LALT, KMOD_LCTRL | KMOD_LALT, true);
    key(w, SDL_SCANCODE_F, KMOD_LCTRL | KMOD_LALT, true);
    key(w, SDL_SCANCODE_F, KMOD_LCTRL | KMOD_LALT, false);
    assert_int_equal(t.keys, 4);
    expect_key(&t, 2, 29, true);
    expect_key(&t, 3, 56, true);
    assert_true(w->sdl.GetWindowFlags(w->window) & SDL_WINDOW_FULLSCREEN_DESKTOP);
    window_event(w, SDL_WINDOWEVENT_FOCUS_LOST);
    assert_int_equal(t.keys, 6);
    expect_key(&t, 4, 29, false);
    expect_key(&t, 5, 56, false);
    key(w, SDL_SCANCODE_F, KMOD_RCTRL | KMOD_RALT, true);
    assert_false(w->sdl.GetWindowFlags(w->window) & SDL_WINDOW_FULLSCREEN_DESKTOP);
    teardown(&t);
}

/* A few of each part of the table, by Linux's names. */
static void test_scancodes(void **state)
{
    static const struct {
        SDL_Scancode scancode;
        uint16_t key;
    } some[] = {
        {SDL_SCANCODE_A, 30},
        {SDL_SCANCODE_Z, 44},
        {SDL_SCANCODE_1, 2},
        {SDL_SCANCODE_0, 11},
        {SDL_SCANCODE_RETURN, 28},
        {SDL_SCANCODE_SPACE, 57},
        {SDL_SCANCODE_SLASH, 53},
        {SDL_SCANCODE_F1, 59},
        {SDL_SCANCODE_F12, 88},
        {SDL_SCANCODE_INSERT, 110},
        {SDL_SCANCODE_UP, 103},
        {SDL_SCANCODE_KP_ENTER, 96},
        {SDL_SCANCODE_KP_PERIOD, 83},
        {SDL_SCANCODE_NONUSBACKSLASH, 86},
        {SDL_SCANCODE_F24, 194},
        {SDL_SCANCODE_MUTE, 113},
        {SDL_SCANCODE_VOLUMEDOWN, 114},
        {SDL_SCANCODE_LANG1, 122},
        {SDL_SCANCODE_LANG5, 85},
        {SDL_SCANCODE_LCTRL, 29},
        {SDL_SCANCODE_RGUI, 126},
        {SDL_SCANCODE_UNKNOWN, 0},
        {SDL_SCANCODE_MODE, 0},
        {SDL_NUM_SCANCODES, 0},
    };
    for (size_t i = 0; i < PV_ARRAY_SIZE(some); i++)
        assert_int_equal(window_key_of_scancode(some[i].scancode), some[i].key);
    /* No two keys are one, but for the two places of backslash. */
    bool used[WINDOW_KEYS] = {false};
    for (unsigned i = 0; i < SDL_NUM_SCANCODES; i++) {
        uint16_t code = window_key_of_scancode(i);
        assert_true(code < WINDOW_KEYS);
        assert_true(!code || !used[code] || code == 43);
        used[code] = true;
    }
}

static void button(struct window *w, uint8_t which, bool down, int x, int y)
{
    SDL_Event event = {.type = down ? SDL_MOUSEBUTTONDOWN : SDL_MOUSEBUTTONUP};
    event.button.button = which;
    event.button.state = down ? SDL_PRESSED : SDL_RELEASED;
    event.button.x = x;
    event.button.y = y;
    window_handle(w, &event);
}

static void move(struct window *w, int x, int y, int dx, int dy)
{
    SDL_Event event = {.type = SDL_MOUSEMOTION};
    event.motion.x = x;
    event.motion.y = y;
    event.motion.xrel = dx;
    event.motion.yrel = dy;
    window_handle(w, &event);
}

static void test_pointer(void **state)
{
    struct told t;
    struct window *w = setup(&t);
    assert_int_equal(pv_display_set_mode(t.display, 0, 50, 50), 0);
    run(w);
    w->sdl.SetWindowSize(w->window, 200, 101);
    run(w);
    move(w, 49, 0, 0, 0); /* the picture is from 49 to 149 */
    assert_int_equal(t.x, 0);
    assert_int_equal(t.y, 0);
    move(w, 149, 100, 0, 0);
    assert_int_equal(t.x, PV_DISPLAY_AXIS_MAX);
    assert_int_equal(t.y, PV_DISPLAY_AXIS_MAX);
    move(w, 0, 500, 0, 0);
    assert_int_equal(t.x, 0);
    assert_int_equal(t.y, PV_DISPLAY_AXIS_MAX);
    button(w, SDL_BUTTON_RIGHT, true, 99, 50);
    assert_int_equal(t.buttons, 4);
    assert_int_equal(t.x, PV_DISPLAY_AXIS_MAX / 2);
    button(w, SDL_BUTTON_LEFT, true, 99, 50);
    assert_int_equal(t.buttons, 5);
    button(w, SDL_BUTTON_X1, true, 99, 50);
    assert_int_equal(t.buttons, 5);
    SDL_Event wheel = {.type = SDL_MOUSEWHEEL};
    wheel.wheel.y = -2;
    window_handle(w, &wheel);
    assert_int_equal(t.wheel, -2);
    wheel.wheel.direction = SDL_MOUSEWHEEL_FLIPPED;
    window_handle(w, &wheel);
    assert_int_equal(t.wheel, 2);
    window_event(w, SDL_WINDOWEVENT_FOCUS_LOST);
    assert_int_equal(t.buttons, 0);
    assert_int_equal(t.motions, 0);
    teardown(&t);
}

/* A shape of one colour, with the hot spot in its middle. */
static void set_cursor(struct told *t, uint32_t pixel, int32_t x, int32_t y)
{
    static struct pv_cursor cursor;
    cursor = (struct pv_cursor){.visible = true, .x = x, .y = y, .hot_x = 32, .hot_y = 32};
    for (size_t i = 0; i < PV_ARRAY_SIZE(cursor.pixels); i++)
        cursor.pixels[i] = pixel;
    pv_display_set_cursor(t->display, 0, &cursor);
}

static void test_grab(void **state)
{
    struct told t;
    struct window *w = setup(&t);
    assert_int_equal(pv_display_set_mode(t.display, 0, 200, 200), 0);
    fill(&t, (struct pv_rect){0, 0, 200, 200}, 0x000080);
    set_cursor(&t, 0x80800000, 100, 100); /* half red */
    run(w);
    run(w);
    assert_null(w->pointer); /* the host's cursor has it, which this driver has not */
    assert_int_equal(seen(w, 100, 100), 0x000080);
    button(w, SDL_BUTTON_LEFT, true, 1, 1);
    key(w, SDL_SCANCODE_G, KMOD_LCTRL | KMOD_LALT, true);
    assert_int_equal(t.buttons, 0); /* let go of before */
    run(w);
    uint32_t mixed = seen(w, 100, 100);
    assert_in_range(mixed >> 16, 0x7e, 0x82);
    assert_in_range(mixed & 0xff, 0x3e, 0x42);
    assert_int_equal(seen(w, 67, 100), 0x000080);
    assert_int_equal(seen(w, 133, 100), 0x000080);

    /* The guest moves it, alone. */
    pv_display_move_cursor(t.display, 0, 40, 100);
    run(w);
    assert_int_equal(seen(w, 100, 100), 0x000080);
    assert_int_equal(seen(w, 40, 100), mixed);
    const unsigned points = t.points;
    move(w, 5, 5, 7, -8);
    assert_int_equal(t.points, points);
    assert_int_equal(t.motions, 1);
    assert_int_equal(t.dx, 7);
    assert_int_equal(t.dy, -8);
    button(w, SDL_BUTTON_MIDDLE, true, 0, 0);
    assert_int_equal(t.buttons, 2);
    key(w, SDL_SCANCODE_G, KMOD_RCTRL | KMOD_RALT, true);
    assert_int_equal(t.buttons, 0);
    run(w);
    assert_int_equal(seen(w, 40, 100), 0x000080);
    pv_display_set_cursor(t.display, 0, NULL);
    run(w);
    assert_false(w->shape.visible);
    assert_int_equal(t.keys, 0);
    teardown(&t);
}

static void test_close(void **state)
{
    struct told t;
    struct window *w = setup(&t);
    window_event(w, SDL_WINDOWEVENT_CLOSE);
    window_event(w, SDL_WINDOWEVENT_CLOSE);
    assert_int_equal(t.closed, 2);
    teardown(&t);
}

/* ---- The thread ---- */

/* Until it is; the thread is another. */
static void wait_for(const atomic_uint *count, unsigned n)
{
    for (int i = 0; i < 20000 && atomic_load(count) < n; i++)
        usleep(1000);
    assert_int_equal(atomic_load(count), n);
}

static void test_thread(void **state)
{
    const struct pv_window_config config = {.title = "guest", .width = 64, .height = 64};
    struct pv_display_sink *sink;
    struct pv_sdl sdl;
    struct told t;
    setup_display(&t);
    assert_int_equal(pv_sdl_load(&sdl, NULL), 0);
    assert_int_equal(pv_display_window_create(&sink, t.display, &config, NULL), 0);
    assert_int_equal(pv_display_set_mode(t.display, 0, 32, 32), 0);
    for (unsigned i = 0; i < 32; i++)
        fill(&t, (struct pv_rect){i, i, 1, 1}, 0xffffff);
    SDL_Event event = {.type = SDL_KEYDOWN};
    event.key.keysym.scancode = SDL_SCANCODE_B;
    assert_int_equal(sdl.PushEvent(&event), 1);
    wait_for(&t.keys, 1);
    event = (SDL_Event){.type = SDL_WINDOWEVENT};
    event.window.event = SDL_WINDOWEVENT_CLOSE;
    assert_int_equal(sdl.PushEvent(&event), 1);
    wait_for(&t.closed, 1);
    assert_int_equal(pv_display_sink_save(sink, NULL), 0);
    pv_display_sink_stop(sink);
    assert_int_equal(t.keys, 2); /* what is held is let go of */
    expect_key(&t, 1, 48, false);
    pv_display_sink_stop(sink);
    assert_int_equal(pv_display_set_mode(t.display, 0, 0, 0), 0); /* nobody is there to see it */
    pv_display_sink_destroy(sink);
    pv_display_destroy(t.display);
}

static void test_no_screen(void **state)
{
    const struct pv_window_config config = {.width = 64, .height = 64};
    PV_CLEANUP_ERROR struct pv_error *err = NULL;
    struct pv_display_sink *sink;
    struct told t;
    setup_display(&t);
    assert_int_equal(setenv("SDL_VIDEODRIVER", "none-such", 1), 0);
    assert_int_equal(pv_display_window_create(&sink, t.display, &config, &err), -ENODEV);
    assert_non_null(strstr(pv_error_message(err), "none-such"));
    assert_int_equal(setenv("SDL_VIDEODRIVER", "dummy", 1), 0);
    pv_display_destroy(t.display);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_picture),   cmocka_unit_test(test_scaled),
        cmocka_unit_test(test_keys),      cmocka_unit_test(test_scancodes),
        cmocka_unit_test(test_pointer),   cmocka_unit_test(test_grab),
        cmocka_unit_test(test_close),     cmocka_unit_test(test_thread),
        cmocka_unit_test(test_no_screen),
    };
    setenv("SDL_VIDEODRIVER", "dummy", 1);
    setenv("SDL_AUDIODRIVER", "dummy", 1);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
