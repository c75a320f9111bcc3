/* SPDX-License-Identifier: MIT */
/*
 * What the files of the VNC server share: vnc.c (the picture, who connects), vnc_client.c (the
 * protocol), vnc_encode.c (rectangles), vnc_keys.c (keys), des.c (passwords). Everything is on the
 * server's loop but what is said to be under the display's lock.
 */
#ifndef PV_DISPLAY_VNC_IMPL_H
#define PV_DISPLAY_VNC_IMPL_H

#include "base/buffer.h"
#include "display/display.h"
#include "display/sink_impl.h"

#include <zlib.h>

#define VNC_CLIENTS  16u
#define VNC_TILE     64u
#define VNC_TILES    (PV_DISPLAY_MAX / VNC_TILE) /* in either direction */
#define VNC_CUT_MAX  (64u << 10)
#define VNC_KEY_MAX  256u
#define VNC_PASSWORD 8u

/* Which tiles of the picture changed. */
struct vnc_damage {
    uint64_t rows[VNC_TILES][VNC_TILES / 64];
    bool any;
};

void vnc_damage_add(struct vnc_damage *damage, const struct pv_rect *rect);

enum vnc_state {
    VNC_VERSION,
    VNC_SECURITY,
    VNC_CHALLENGE,
    VNC_INIT,
    VNC_RUNNING,
};

struct vnc_format {
    uint8_t bits, depth, big_endian, true_colour;
    uint16_t max[3]; /* red, green, blue */
    uint8_t shift[3];
};

/*
 * Whether compressing pays: it does not when the viewer takes what was made faster than it is made,
 * as one on this host does. Both are measured on each large update.
 */
struct vnc_pace {
    bool stored;          /* not compressed */
    size_t bytes;         /* of the update under way, before compression */
    uint64_t began;       /* when it was begun */
    uint64_t encoded;     /* when it was made, and handed to the socket */
    uint64_t compressing; /* what compressing took last: nanoseconds for each of 1024 bytes */
};

struct vnc_client {
    struct vnc_server *server; /* NULL: the slot is free */
    int fd;
    struct pv_watch *watch;
    struct pv_timer *patience; /* for the handshake */
    enum vnc_state state;
    bool old;    /* 3.3: the server chooses */
    bool silent; /* before 3.8: success without a password is not announced */
    uint8_t challenge[16];
    struct pv_buffer in, out;
    size_t sent; /* of `out` */
    size_t skip; /* bytes of input to come that nobody wants */

    struct vnc_format format;
    bool zrle;
    bool desktop_size, extended_size, cursor, extended_keys, fences, continuous_known;

    struct vnc_damage damage;
    uint32_t next;   /* the row of pixels at which the next update starts */
    bool wanted;     /* an update was asked for */
    bool whole;      /* ... even if nothing changed */
    bool continuous; /* updates need not be asked for */
    bool size_changed, size_asked, cursor_changed, keys_announced;

    z_stream zlib;
    bool zlib_there;
    struct vnc_pace pace;
    uint8_t keys[VNC_KEY_MAX / 8]; /* held down */
    unsigned buttons;
    int32_t x, y; /* of the pointer */
};

struct vnc_server {
    struct pv_display_sink base;
    struct pv_display *display;
    struct pv_display_listener listener;
    struct pv_loop *loop;
    struct pv_event *changed;
    int fd;
    struct pv_watch *watch;
    char *path; /* of the unix socket, once it is there */
    bool has_password;
    uint8_t password[VNC_PASSWORD];
    struct vnc_client clients[VNC_CLIENTS];

    struct pv_surface picture; /* what viewers see: a copy, whole tiles of which are replaced */
    struct pv_cursor shape;

    /* Under the display's lock. */
    struct vnc_damage fresh;
    bool cursor_fresh;
};

/* ---- vnc_client.c ---- */

int vnc_client_start(struct vnc_client *client, struct vnc_server *server, int fd);
/* Everything it held down is released. */
void vnc_client_drop(struct vnc_client *client, const char *why);
/* Sends what it asked for and has not seen, if it is ready for that. */
void vnc_client_update(struct vnc_client *client);
/* Text that another client cut. */
void vnc_client_cut(struct vnc_client *client, const void *text, size_t size);

/* ---- vnc_encode.c ---- */

/* What RFB calls a pixel format that is possible here. */
bool vnc_format_ok(const struct vnc_format *format);
/* Writes one pixel 0x??RRGGBB; returns how many bytes. */
unsigned vnc_put_pixel(const struct vnc_format *format, uint8_t *to, uint32_t pixel);
/* An update is begun; all of it has left. */
void vnc_pace_begin(struct vnc_client *client);
void vnc_pace_left(struct vnc_client *client);
/* Appends a whole rectangle, at most a row of tiles high. Negative when there is no memory. */
int vnc_encode(struct vnc_client *client, const struct pv_rect *rect);
int vnc_encode_cursor(struct vnc_client *client);
/* The head of a rectangle in an update. */
int vnc_rect_head(struct vnc_client *client, const struct pv_rect *rect, int32_t encoding);

/* ---- vnc_keys.c ---- */

/* Linux's code of an X11 keysym, as on a US keyboard, or of a PC scan code (set 1); 0: none. */
uint16_t vnc_key_of_keysym(uint32_t keysym);
uint16_t vnc_key_of_scancode(uint32_t scancode);

/* ---- des.c ---- */

/* RFC 6143 7.2.2: what a client that knows the password makes of the challenge. */
void vnc_des_response(const uint8_t password[VNC_PASSWORD], const uint8_t challenge[16],
                      uint8_t response[16]);

/* ---- Numbers on the wire are big-endian ---- */

static inline uint16_t vnc_load16(const void *p)
{
    const uint8_t *b = p;
    return (uint16_t)(b[0] << 8 | b[1]);
}

static inline uint32_t vnc_load32(const void *p)
{
    return (uint32_t)vnc_load16(p) << 16 | vnc_load16((const uint8_t *)p + 2);
}

static inline void vnc_store16(uint8_t *p, uint32_t value)
{
    p[0] = (uint8_t)(value >> 8);
    p[1] = (uint8_t)value;
}

static inline void vnc_store32(uint8_t *p, uint32_t value)
{
    vnc_store16(p, value >> 16);
    vnc_store16(p + 2, value);
}

#endif
