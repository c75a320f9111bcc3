/* SPDX-License-Identifier: MIT */
/* For those who implement sinks (sink.h). */
#ifndef PV_DISPLAY_SINK_IMPL_H
#define PV_DISPLAY_SINK_IMPL_H

#include "display/sink.h"

struct pv_display_sink_ops {
    const char *name;
    int (*save)(struct pv_display_sink *sink, struct pv_error **err); /* NULL: keeps nothing */
    void (*stop)(struct pv_display_sink *sink); /* NULL: it stops with its loop */
    void (*destroy)(struct pv_display_sink *sink);
};

/* Embedded first in every sink. */
struct pv_display_sink {
    const struct pv_display_sink_ops *ops;
};

#endif
