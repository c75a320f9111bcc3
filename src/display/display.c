/* SPDX-License-Identifier: MIT */
#include "display/display.h"

#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

struct head {
    struct pv_surface surface;
    struct pv_cursor cursor;
};

struct pv_display {
    pthread_mutex_t lock; /* the last one taken, whoever calls */
    struct head heads[PV_DISPLAY_HEADS];
    struct pv_display_listener *listeners;
    struct pv_display_input input;
};

/* ---- Rectangles ---- */

struct pv_rect pv_rect_intersect(const struct pv_rect *a, const struct pv_rect *b)
{
    uint64_t left = PV_MAX(a->x, b->x), top = PV_MAX(a->y, b->y);
    uint64_t right = PV_MIN((uint64_t)a->x + a->width, (uint64_t)b->x + b->width);
    uint64_t bottom = PV_MIN((uint64_t)a->y + a->height, (uint64_t)b->y + b->height);
    if (left >= right || top >= bottom)
        return (struct pv_rect){0};
    return (struct pv_rect){(uint32_t)left, (uint32_t)top, (uint32_t)(right - left),
                            (uint32_t)(bottom - top)};
}

struct pv_rect pv_rect_union(const struct pv_rect *a, const struct pv_rect *b)
{
    if (pv_rect_empty(a))
        return *b;
    if (pv_rect_empty(b))
        return *a;
    uint32_t left = PV_MIN(a->x, b->x), top = PV_MIN(a->y, b->y);
    uint32_t right = PV_MAX(a->x + a->width, b->x + b->width);
    uint32_t bottom = PV_MAX(a->y + a->height, b->y + b->height);
    return (struct pv_rect){left, top, right - left, bottom - top};
}

/* ---- Life ---- */

int pv_display_create(struct pv_display **out, struct pv_error **err)
{
    struct pv_display *display = calloc(1, sizeof(*display));
    if (!display)
        return pv_error_set(err, ENOMEM, "display: out of memory");
    pthread_mutex_init(&display->lock, NULL);
    *out = display;
    return 0;
}

void pv_display_destroy(struct pv_display *display)
{
    if (!display)
        return;
    for (unsigned i = 0; i < PV_DISPLAY_HEADS; i++)
        free(display->heads[i].surface.pixels);
    pthread_mutex_destroy(&display->lock);
    free(display);
}

/* ---- Who draws ---- */

int pv_display_set_mode(struct pv_display *display, unsigned head, uint32_t width, uint32_t height)
{
    struct pv_surface fresh = {.width = width, .height = height};
    int ret = 0;
    if (width && height && width <= PV_DISPLAY_MAX && height <= PV_DISPLAY_MAX)
        fresh.pixels = calloc((size_t)width * height, sizeof(*fresh.pixels));
    if (!fresh.pixels) {
        ret = width && height ? -ENOMEM : 0;
        fresh = (struct pv_surface){0};
    }
    pthread_mutex_lock(&display->lock);
    struct pv_surface *surface = &display->heads[head].surface;
    bool changed = surface->width != fresh.width || surface->height != fresh.height;
    if (changed) {
        struct pv_surface old = *surface;
        *surface = fresh;
        fresh = old;
        for (struct pv_display_listener *l = display->listeners; l; l = l->next)
            if (l->mode)
                l->mode(l->opaque, head, &fresh);
    }
    pthread_mutex_unlock(&display->lock);
    free(fresh.pixels);
    return ret;
}

const struct pv_surface *pv_display_begin(struct pv_display *display, unsigned head)
{
    pthread_mutex_lock(&display->lock);
    return &display->heads[head].surface;
}

void pv_display_end(struct pv_display *display, unsigned head, const struct pv_rect *damage)
{
    for (struct pv_display_listener *l = display->listeners; l && !pv_rect_empty(damage);
         l = l->next)
        if (l->damage)
            l->damage(l->opaque, head, damage);
    pthread_mutex_unlock(&display->lock);
}

static void tell_cursor(struct pv_display *display, unsigned head)
{
    for (struct pv_display_listener *l = display->listeners; l; l = l->next)
        if (l->cursor)
            l->cursor(l->opaque, head);
}

void pv_display_set_cursor(struct pv_display *display, unsigned head,
                           const struct pv_cursor *cursor)
{
    pthread_mutex_lock(&display->lock);
    if (cursor)
        display->heads[head].cursor = *cursor;
    else
        display->heads[head].cursor.visible = false;
    tell_cursor(display, head);
    pthread_mutex_unlock(&display->lock);
}

void pv_display_move_cursor(struct pv_display *display, unsigned head, int32_t x, int32_t y)
{
    pthread_mutex_lock(&display->lock);
    display->heads[head].cursor.x = x;
    display->heads[head].cursor.y = y;
    for (struct pv_display_listener *l = display->listeners; l; l = l->next)
        if (l->moved)
            l->moved(l->opaque, head);
    pthread_mutex_unlock(&display->lock);
}

/* ---- Who shows ---- */

void pv_display_add_listener(struct pv_display *display, struct pv_display_listener *listener)
{
    pthread_mutex_lock(&display->lock);
    listener->next = display->listeners;
    display->listeners = listener;
    pthread_mutex_unlock(&display->lock);
}

void pv_display_remove_listener(struct pv_display *display, struct pv_display_listener *listener)
{
    pthread_mutex_lock(&display->lock);
    for (struct pv_display_listener **l = &display->listeners; *l; l = &(*l)->next) {
        if (*l == listener) {
            *l = listener->next;
            break;
        }
    }
    pthread_mutex_unlock(&display->lock);
}

void pv_display_lock(struct pv_display *display)
{
    pthread_mutex_lock(&display->lock);
}

void pv_display_unlock(struct pv_display *display)
{
    pthread_mutex_unlock(&display->lock);
}

const struct pv_surface *pv_display_surface(const struct pv_display *display, unsigned head)
{
    return &display->heads[head].surface;
}

const struct pv_cursor *pv_display_cursor(const struct pv_display *display, unsigned head)
{
    return &display->heads[head].cursor;
}

/* ---- What the viewer does ---- */

void pv_display_set_input(struct pv_display *display, const struct pv_display_input *input)
{
    display->input = *input;
}

const struct pv_display_input *pv_display_input(const struct pv_display *display)
{
    return &display->input;
}
