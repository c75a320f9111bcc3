/* SPDX-License-Identifier: MIT */
/*
 * pv_display: the pictures that a guest shows, one for each of its heads, between who draws them
 * (the virtio-gpu device), who shows them (sinks: sink.h) and where what the viewer does goes (the
 * VM's input devices).
 *
 * Pictures are the display's own memory, so nobody waits for anybody's frame, and a guest that
 * frees what it shows takes nothing from under a sink. What that costs is one copy of what changed.
 *
 * Pixels are 32-bit words 0x??RRGGBB; coordinates are pixels from the top left. Everything may be
 * called from any thread.
 */
#ifndef PV_DISPLAY_DISPLAY_H
#define PV_DISPLAY_DISPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_display;
struct pv_error;

#define PV_DISPLAY_HEADS  4u
#define PV_DISPLAY_MAX    16384u /* pixels in either direction */
#define PV_DISPLAY_CURSOR 64u    /* likewise, of a cursor */

struct pv_rect {
    uint32_t x, y, width, height;
};

/* What two rectangles have in common; empty (all 0) when nothing. */
struct pv_rect pv_rect_intersect(const struct pv_rect *a, const struct pv_rect *b);
/* The smallest that holds both; an empty one adds nothing. */
struct pv_rect pv_rect_union(const struct pv_rect *a, const struct pv_rect *b);
static inline bool pv_rect_empty(const struct pv_rect *rect)
{
    return !rect->width || !rect->height;
}

/* A picture. Without a mode (the head shows nothing) width and height are 0. */
struct pv_surface {
    uint32_t width, height;
    uint32_t *pixels; /* rows of `width` words, without gaps */
};

/* A pointer's shape, pixels 0xAARRGGBB, colours multiplied by alpha. */
struct pv_cursor {
    bool visible;
    int32_t x, y;          /* where the hot spot is on the head */
    uint32_t hot_x, hot_y; /* in the shape */
    uint32_t pixels[PV_DISPLAY_CURSOR * PV_DISPLAY_CURSOR];
};

int pv_display_create(struct pv_display **out, struct pv_error **err);
/* After everyone who draws or listens is gone. NULL is fine. */
void pv_display_destroy(struct pv_display *display);

/* ---- Who draws ---- */

/* A head's size; 0 x 0 turns it off. The picture starts black. -ENOMEM, and it is off then. */
int pv_display_set_mode(struct pv_display *display, unsigned head, uint32_t width, uint32_t height);

/*
 * Locks the display and gives the head's picture to draw in; end unlocks it and tells the listeners
 * that `damage` (inside it) has changed. Short, and with no other call in between.
 */
const struct pv_surface *pv_display_begin(struct pv_display *display, unsigned head);
void pv_display_end(struct pv_display *display, unsigned head, const struct pv_rect *damage);

/* The shape and place of the pointer, of which there is one: on `head`. NULL: it is hidden. */
void pv_display_set_cursor(struct pv_display *display, unsigned head,
                           const struct pv_cursor *cursor);
void pv_display_move_cursor(struct pv_display *display, unsigned head, int32_t x, int32_t y);

/* ---- Who shows ---- */

/*
 * Told of changes on the thread that makes them, with the display locked: to be noted and looked at
 * later. Any may be NULL. Adding one reports nothing. `before` is the picture that a new mode put
 * an end to, there for the last time.
 */
struct pv_display_listener {
    void (*mode)(void *opaque, unsigned head, const struct pv_surface *before);
    void (*damage)(void *opaque, unsigned head, const struct pv_rect *rect);
    void (*cursor)(void *opaque, unsigned head); /* its shape */
    void (*moved)(void *opaque, unsigned head);  /* only its place */
    void *opaque;
    struct pv_display_listener *next; /* the display's */
};
void pv_display_add_listener(struct pv_display *display, struct pv_display_listener *listener);
/* It is not called any more when this returns. */
void pv_display_remove_listener(struct pv_display *display, struct pv_display_listener *listener);

/* The pictures stay as they are while it is locked; both may be read then. */
void pv_display_lock(struct pv_display *display);
void pv_display_unlock(struct pv_display *display);
const struct pv_surface *pv_display_surface(const struct pv_display *display, unsigned head);
const struct pv_cursor *pv_display_cursor(const struct pv_display *display, unsigned head);

/* ---- What the viewer does ---- */

/* Axes of an absolute pointer go from 0 to this, across all of a head. */
#define PV_DISPLAY_AXIS_MAX 0x7fff

/* Key and button codes are Linux's (input-event-codes.h). Called on sinks' threads; may be NULL. */
struct pv_display_input {
    void (*key)(void *opaque, uint16_t code, bool down);
    /* Where the pointer is, which buttons (bit 0 left, 1 middle, 2 right) are held, and how far
     * the wheel was turned, away from the viewer being positive. */
    void (*pointer)(void *opaque, unsigned head, int32_t x, int32_t y, unsigned buttons,
                    int32_t wheel);
    /* Likewise, for a pointer that goes by so much and knows no place. */
    void (*motion)(void *opaque, int32_t dx, int32_t dy, unsigned buttons, int32_t wheel);
    /* The viewer wants a head of that size; the guest decides. */
    void (*resize)(void *opaque, unsigned head, uint32_t width, uint32_t height);
    /* The viewer has had enough. */
    void (*closed)(void *opaque);
    void *opaque;
};

/* Before there are sinks. */
void pv_display_set_input(struct pv_display *display, const struct pv_display_input *input);
const struct pv_display_input *pv_display_input(const struct pv_display *display);

#endif
