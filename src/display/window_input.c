/* SPDX-License-Identifier: MIT */
/*
 * What the viewer does in the window. Keys go to the guest, all but two:
 *
 *   Ctrl+Alt+F   full screen, and back
 *   Ctrl+Alt+G   grabs the pointer, for guests that want to know how far it went and not where it
 *                is (games): it cannot leave the window until this is pressed again
 *
 * A window that is given another size asks the guest for a picture of that size, once the size has
 * not changed for a while. Until the guest follows, and if it does not, the picture is scaled.
 */
#include "display/window_impl.h"

#include "base/util.h"
#include "host/clock.h"

#define SETTLE_NS (200 * UINT64_C(1000000))

/* ---- Keys ---- */

static void press(struct window *w, uint16_t key, bool down)
{
    const struct pv_display_input *input = pv_display_input(w->display);
    const uint8_t bit = (uint8_t)(1u << key % 8);
    if (!key || down == !!(w->keys[key / 8] & bit))
        return;
    w->keys[key / 8] ^= bit;
    if (input->key)
        input->key(input->opaque, key, down);
}

static void toggle_full_screen(struct window *w)
{
    bool full = w->sdl.GetWindowFlags(w->window) & SDL_WINDOW_FULLSCREEN_DESKTOP;
    w->sdl.SetWindowFullscreen(w->window, full ? 0 : SDL_WINDOW_FULLSCREEN_DESKTOP);
}

static void grab(struct window *w, bool on)
{
    if (on == w->grabbed || (on && !pv_display_input(w->display)->motion))
        return;
    window_release(w);
    w->grabbed = on;
    w->sdl.SetRelativeMouseMode(on);
    w->sdl.SetWindowKeyboardGrab(w->window, on);
    window_show_cursor(w);
    window_show_title(w);
    window_damage_all(w);
}

static void on_key(struct window *w, const SDL_KeyboardEvent *event)
{
    const bool down = event->type == SDL_KEYDOWN;
    const bool ours = (event->keysym.mod & KMOD_CTRL) && (event->keysym.mod & KMOD_ALT);
    if (event->repeat) /* the guest repeats keys itself */
        return;
    if (down && ours && event->keysym.scancode == SDL_SCANCODE_F)
        toggle_full_screen(w);
    else if (down && ours && event->keysym.scancode == SDL_SCANCODE_G)
        grab(w, !w->grabbed);
    else
        press(w, window_key_of_scancode(event->keysym.scancode), down);
}

/* ---- The pointer ---- */

static int32_t to_axis(int at, int start, int size)
{
    const int64_t inside = PV_MAX(0, PV_MIN(at - start, size - 1));
    return size > 1 ? (int32_t)(inside * PV_DISPLAY_AXIS_MAX / (size - 1)) : 0;
}

static void point(struct window *w, int32_t dx, int32_t dy, int32_t wheel)
{
    const struct pv_display_input *input = pv_display_input(w->display);
    if (w->grabbed && input->motion)
        input->motion(input->opaque, dx, dy, w->buttons, wheel);
    else if (!w->grabbed && input->pointer)
        input->pointer(input->opaque, 0, w->x, w->y, w->buttons, wheel);
}

static void on_motion(struct window *w, const SDL_MouseMotionEvent *event)
{
    w->x = to_axis(event->x, w->place.x, w->place.w);
    w->y = to_axis(event->y, w->place.y, w->place.h);
    point(w, event->xrel, event->yrel, 0);
}

static void on_button(struct window *w, const SDL_MouseButtonEvent *event)
{
    if (event->button < SDL_BUTTON_LEFT || event->button > SDL_BUTTON_RIGHT)
        return;
    const unsigned bit = 1u << (event->button - SDL_BUTTON_LEFT); /* left, middle, right */
    w->buttons = event->state == SDL_PRESSED ? w->buttons | bit : w->buttons & ~bit;
    if (!w->grabbed) {
        w->x = to_axis(event->x, w->place.x, w->place.w);
        w->y = to_axis(event->y, w->place.y, w->place.h);
    }
    point(w, 0, 0, 0);
}

void window_release(struct window *w)
{
    for (uint16_t key = 1; key < WINDOW_KEYS; key++)
        press(w, key, false);
    if (w->buttons) {
        w->buttons = 0;
        point(w, 0, 0, 0);
    }
}

/* ---- The window ---- */

void window_ask_size(struct window *w)
{
    const struct pv_display_input *input = pv_display_input(w->display);
    if (pv_clock_ns() < w->asked_ns)
        return;
    w->asked_ns = UINT64_MAX;
    if (input->resize && (w->asked_width != w->width || w->asked_height != w->height))
        input->resize(input->opaque, 0, w->asked_width, w->asked_height);
}

static void on_size(struct window *w, int width, int height)
{
    window_damage_all(w);
    w->asked_ns = UINT64_MAX;
    if (width <= 0 || height <= 0 || (unsigned)width > PV_DISPLAY_MAX ||
        (unsigned)height > PV_DISPLAY_MAX ||
        ((unsigned)width == w->width && (unsigned)height == w->height))
        return;
    w->asked_width = (unsigned)width;
    w->asked_height = (unsigned)height;
    w->asked_ns = pv_clock_ns() + SETTLE_NS;
}

static void on_window(struct window *w, const SDL_WindowEvent *event)
{
    const struct pv_display_input *input = pv_display_input(w->display);
    switch (event->event) {
    case SDL_WINDOWEVENT_SIZE_CHANGED: on_size(w, event->data1, event->data2); break;
    case SDL_WINDOWEVENT_EXPOSED: window_damage_all(w); break;
    case SDL_WINDOWEVENT_FOCUS_LOST:
        grab(w, false);
        window_release(w);
        break;
    case SDL_WINDOWEVENT_CLOSE:
        if (input->closed)
            input->closed(input->opaque);
        break;
    default: break;
    }
}

void window_handle(struct window *w, const SDL_Event *event)
{
    switch (event->type) {
    case SDL_WINDOWEVENT: on_window(w, &event->window); break;
    case SDL_KEYDOWN:
    case SDL_KEYUP: on_key(w, &event->key); break;
    case SDL_MOUSEMOTION: on_motion(w, &event->motion); break;
    case SDL_MOUSEBUTTONDOWN:
    case SDL_MOUSEBUTTONUP: on_button(w, &event->button); break;
    case SDL_MOUSEWHEEL:
        point(w, 0, 0,
              event->wheel.direction == SDL_MOUSEWHEEL_FLIPPED ? -event->wheel.y : event->wheel.y);
        break;
    case SDL_RENDER_TARGETS_RESET: window_damage_all(w); break;
    case SDL_RENDER_DEVICE_RESET:
        window_free_picture(w);
        window_show_cursor(w);
        window_damage_all(w);
        break;
    default: break;
    }
}
