/* SPDX-License-Identifier: MIT */
/*
 * What shows a display to someone, or keeps its picture: `none`, `png`, `vnc` and `window`. All
 * calls on the sink's loop, or while that does not run.
 */
#ifndef PV_DISPLAY_SINK_H
#define PV_DISPLAY_SINK_H

#include <stdint.h>

struct pv_display;
struct pv_display_sink;
struct pv_error;
struct pv_loop;

/* Shows nothing. */
int pv_display_none_create(struct pv_display_sink **out, struct pv_display *display,
                           struct pv_error **err);

/*
 * Writes the picture of head 0 to a file, whenever told to and when the sink goes: what is shown,
 * or, when nothing is any more, what was shown last. Saving is allowed from any one thread.
 */
int pv_display_png_create(struct pv_display_sink **out, struct pv_display *display,
                          const char *path, struct pv_error **err);

/* The first display's port of VNC. */
#define PV_VNC_PORT 5900u

struct pv_vnc_config {
    const char *path;     /* of a unix socket; NULL: TCP, on this host only */
    uint16_t port;        /* of TCP */
    const char *password; /* its first 8 bytes are asked for; NULL: none */
};

/* Serves head 0 to any number of viewers up to 16 by RFB 3.8 (RFC 6143). */
int pv_display_vnc_create(struct pv_display_sink **out, struct pv_display *display,
                          struct pv_loop *loop, const struct pv_vnc_config *config,
                          struct pv_error **err);

struct pv_window_config {
    const char *title;      /* what the guest is called, or NULL */
    uint32_t width, height; /* as long as the guest shows nothing */
};

/*
 * Shows head 0 in a window on the host, by SDL, on a thread of its own. -ENOTSUP in a build without
 * SDL and where it is not installed, -ENODEV where there is no screen.
 */
int pv_display_window_create(struct pv_display_sink **out, struct pv_display *display,
                             const struct pv_window_config *config, struct pv_error **err);

/* What the viewer does is not told any more when this returns. */
void pv_display_sink_stop(struct pv_display_sink *sink);

/* Keeps the picture now, if that is what the sink does. -ENODATA: nothing was shown so far. */
int pv_display_sink_save(struct pv_display_sink *sink, struct pv_error **err);

/* NULL is fine. */
void pv_display_sink_destroy(struct pv_display_sink *sink);

#endif
