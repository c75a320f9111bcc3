/* SPDX-License-Identifier: MIT */
/*
 * What the files of the window share: window.c (its thread), window_draw.c (the picture),
 * window_input.c (what the viewer does), window_keys.c. All on the window's thread but what is said
 * to be under the display's lock.
 */
#ifndef PV_DISPLAY_WINDOW_IMPL_H
#define PV_DISPLAY_WINDOW_IMPL_H

#include "display/display.h"
#include "display/sink_impl.h"
#include "host/sdl.h"

#include <stdatomic.h>

#define WINDOW_KEYS 256u

struct window {
    struct pv_display_sink base;
    struct pv_display *display;
    struct pv_display_listener listener;
    struct pv_sdl sdl;
    char *title;
    uint32_t wake; /* the event that says that there is something to draw, or to end */
    atomic_bool ending;

    SDL_Window *window;
    SDL_Renderer *renderer;
    SDL_Texture *texture;   /* the picture, or NULL when the guest shows nothing */
    uint32_t width, height; /* its size */
    SDL_Rect place;         /* where in the window it is, scaled */
    struct pv_cursor shape;
    SDL_Texture *pointer; /* the shape, while the pointer is grabbed; or NULL */
    SDL_Cursor *cursor;   /* likewise, while it is not */

    bool grabbed;
    unsigned buttons;              /* held */
    int32_t x, y;                  /* of the pointer, in axes' units */
    uint8_t keys[WINDOW_KEYS / 8]; /* held down, by the guest's numbers */
    uint64_t asked_ns;             /* when to ask the guest for asked_*; UINT64_MAX: not */
    uint32_t asked_width, asked_height;

    /* Under the display's lock. */
    struct pv_rect fresh; /* of the picture */
    bool cursor_fresh, woken;
};

/* ---- window.c ---- */

/* Opens the window, for a picture of this size, on the calling thread. */
int window_open(struct window *window, uint32_t width, uint32_t height, struct pv_error **err);
/* Also when that failed half way. */
void window_close(struct window *window);

/* ---- window_draw.c ---- */

/* Takes over what changed, and shows it. */
void window_draw(struct window *window);
/* Everything is to be drawn again. */
void window_damage_all(struct window *window);
void window_free_picture(struct window *window);
/* The pointer's shape moves between the host's cursor and the picture. */
void window_show_cursor(struct window *window);
/* Who has the pointer, and how to change that. */
void window_show_title(struct window *window);

/* ---- window_input.c ---- */

void window_handle(struct window *window, const SDL_Event *event);
/* The guest is asked for the size that the window was given, once that has settled. */
void window_ask_size(struct window *window);
/* Lets go of everything that is held. */
void window_release(struct window *window);

/* ---- window_keys.c ---- */

/* Linux's code of the key at that place; 0: none. */
uint16_t window_key_of_scancode(SDL_Scancode scancode);

#endif
