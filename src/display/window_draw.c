/* SPDX-License-Identifier: MIT */
/*
 * The picture in its window. What changed goes into a texture, which SDL scales to the window's
 * size, as large as fits without changing its shape.
 *
 * The pointer's shape is the host's cursor while the viewer's pointer moves freely, so it never
 * lags; when it is grabbed, only the guest knows where it is, and it is drawn into the picture.
 */
#include "display/window_impl.h"

#include "base/util.h"

#include <string.h>

#define SHAPE_PITCH ((int)(PV_DISPLAY_CURSOR * sizeof(uint32_t)))

/* ---- The pointer's shape ---- */

/* Cursors of the host have their colours not multiplied by alpha. */
static void divide_alpha(uint32_t *to, const uint32_t *from)
{
    for (size_t i = 0; i < (size_t)PV_DISPLAY_CURSOR * PV_DISPLAY_CURSOR; i++) {
        const uint32_t alpha = from[i] >> 24;
        to[i] = from[i] & 0xff000000;
        for (unsigned shift = 0; shift < 24 && alpha; shift += 8)
            to[i] |= PV_MIN((from[i] >> shift & 0xff) * 255 / alpha, 255u) << shift;
    }
}

static SDL_Cursor *make_cursor(struct window *w, uint32_t *pixels)
{
    SDL_Surface *surface = w->sdl.CreateRGBSurfaceWithFormatFrom(
        pixels, PV_DISPLAY_CURSOR, PV_DISPLAY_CURSOR, 32, SHAPE_PITCH, SDL_PIXELFORMAT_ARGB8888);
    SDL_Cursor *cursor = NULL;
    if (surface)
        cursor = w->sdl.CreateColorCursor(surface, (int)w->shape.hot_x, (int)w->shape.hot_y);
    w->sdl.FreeSurface(surface);
    return cursor;
}

static void free_cursor(struct window *w)
{
    if (w->pointer)
        w->sdl.DestroyTexture(w->pointer);
    w->pointer = NULL;
    w->sdl.SetCursor(w->sdl.GetDefaultCursor());
    if (w->cursor)
        w->sdl.FreeCursor(w->cursor);
    w->cursor = NULL;
}

void window_show_cursor(struct window *w)
{
    uint32_t pixels[PV_DISPLAY_CURSOR * PV_DISPLAY_CURSOR];
    free_cursor(w);
    if (!w->shape.visible)
        return;
    divide_alpha(pixels, w->shape.pixels);
    if (!w->grabbed) {
        w->cursor = make_cursor(w, pixels);
        if (w->cursor)
            w->sdl.SetCursor(w->cursor);
        return;
    }
    w->pointer =
        w->sdl.CreateTexture(w->renderer, SDL_PIXELFORMAT_ARGB8888, SDL_TEXTUREACCESS_STATIC,
                             PV_DISPLAY_CURSOR, PV_DISPLAY_CURSOR);
    if (!w->pointer)
        return;
    w->sdl.UpdateTexture(w->pointer, NULL, pixels, SHAPE_PITCH);
    w->sdl.SetTextureBlendMode(w->pointer, SDL_BLENDMODE_BLEND);
}

/* Whether it looks different, not only is elsewhere. */
static bool take_cursor(struct window *w)
{
    const struct pv_cursor *cursor = pv_display_cursor(w->display, 0);
    bool differs = cursor->visible != w->shape.visible || cursor->hot_x != w->shape.hot_x ||
                   cursor->hot_y != w->shape.hot_y ||
                   memcmp(cursor->pixels, w->shape.pixels, sizeof(cursor->pixels)) != 0;
    w->shape = *cursor;
    return differs;
}

/* ---- The picture ---- */

void window_free_picture(struct window *w)
{
    if (w->texture)
        w->sdl.DestroyTexture(w->texture);
    w->texture = NULL;
    w->width = w->height = 0;
    free_cursor(w);
}

/* A new mode; the window follows unless its size is not its own to choose. */
static void new_size(struct window *w, const struct pv_surface *surface)
{
    const uint32_t fixed = SDL_WINDOW_FULLSCREEN_DESKTOP | SDL_WINDOW_MAXIMIZED;
    if (w->texture)
        w->sdl.DestroyTexture(w->texture);
    w->texture = NULL;
    w->width = surface->width;
    w->height = surface->height;
    if (!w->width)
        return;
    w->texture = w->sdl.CreateTexture(w->renderer, SDL_PIXELFORMAT_RGB888,
                                      SDL_TEXTUREACCESS_STREAMING, (int)w->width, (int)w->height);
    if (!(w->sdl.GetWindowFlags(w->window) & fixed) && w->asked_ns == UINT64_MAX)
        w->sdl.SetWindowSize(w->window, (int)w->width, (int)w->height);
}

/* With the display locked. Whether there is something new to see. */
static bool take_picture(struct window *w)
{
    const struct pv_surface *surface = pv_display_surface(w->display, 0);
    struct pv_rect all = {0, 0, surface->width, surface->height};
    struct pv_rect rect = pv_rect_intersect(&w->fresh, &all);
    const bool resized = surface->width != w->width || surface->height != w->height;
    bool changed = resized || !pv_rect_empty(&w->fresh);
    w->fresh = (struct pv_rect){0};
    if (resized) {
        new_size(w, surface);
        rect = all;
    }
    if (!w->texture || pv_rect_empty(&rect))
        return changed;
    const SDL_Rect part = {(int)rect.x, (int)rect.y, (int)rect.width, (int)rect.height};
    w->sdl.UpdateTexture(w->texture, &part,
                         surface->pixels + (size_t)rect.y * surface->width + rect.x,
                         (int)(surface->width * sizeof(uint32_t)));
    return changed;
}

/* As large as fits. */
static void find_place(struct window *w)
{
    int width = 0, height = 0;
    w->sdl.GetRendererOutputSize(w->renderer, &width, &height);
    w->place = (SDL_Rect){0, 0, width, height};
    if ((uint64_t)width * w->height <= (uint64_t)height * w->width)
        w->place.h = (int)((uint64_t)width * w->height / w->width);
    else
        w->place.w = (int)((uint64_t)height * w->width / w->height);
    w->place.x = (width - w->place.w) / 2;
    w->place.y = (height - w->place.h) / 2;
}

static void draw_pointer(struct window *w)
{
    const int64_t scale_x = w->place.w, scale_y = w->place.h, width = w->width, height = w->height;
    const int64_t x = (int64_t)w->shape.x - w->shape.hot_x,
                  y = (int64_t)w->shape.y - w->shape.hot_y;
    const SDL_Rect place = {
        w->place.x + (int)(x * scale_x / width),
        w->place.y + (int)(y * scale_y / height),
        (int)(PV_DISPLAY_CURSOR * scale_x / width),
        (int)(PV_DISPLAY_CURSOR * scale_y / height),
    };
    w->sdl.RenderCopy(w->renderer, w->pointer, NULL, &place);
}

void window_damage_all(struct window *w)
{
    pv_display_lock(w->display);
    w->fresh = (struct pv_rect){0, 0, PV_DISPLAY_MAX, PV_DISPLAY_MAX};
    pv_display_unlock(w->display);
}

void window_draw(struct window *w)
{
    pv_display_lock(w->display);
    const bool moved = w->cursor_fresh, shape = moved && take_cursor(w);
    const bool changed = take_picture(w);
    w->woken = w->cursor_fresh = false;
    pv_display_unlock(w->display);
    if (shape)
        window_show_cursor(w);
    if (!changed && !(moved && w->grabbed))
        return;
    w->sdl.SetRenderDrawColor(w->renderer, 0, 0, 0, 255);
    w->sdl.RenderClear(w->renderer);
    if (w->texture) {
        find_place(w);
        w->sdl.RenderCopy(w->renderer, w->texture, NULL, &w->place);
        if (w->pointer)
            draw_pointer(w);
    }
    w->sdl.RenderPresent(w->renderer);
}
