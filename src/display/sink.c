/* SPDX-License-Identifier: MIT */
#include "display/sink_impl.h"

#include "base/error.h"
#include "base/util.h"

#include <errno.h>

int pv_display_sink_save(struct pv_display_sink *sink, struct pv_error **err)
{
    return sink->ops->save ? sink->ops->save(sink, err) : 0;
}

void pv_display_sink_stop(struct pv_display_sink *sink)
{
    if (sink->ops->stop)
        sink->ops->stop(sink);
}

void pv_display_sink_destroy(struct pv_display_sink *sink)
{
    if (sink)
        sink->ops->destroy(sink);
}

static void none_destroy(struct pv_display_sink *sink)
{
    free(sink);
}

static const struct pv_display_sink_ops none_ops = {.name = "none", .destroy = none_destroy};

int pv_display_none_create(struct pv_display_sink **out, struct pv_display *display,
                           struct pv_error **err)
{
    struct pv_display_sink *sink = calloc(1, sizeof(*sink));
    if (!sink)
        return pv_error_set(err, ENOMEM, "display: out of memory");
    sink->ops = &none_ops;
    *out = sink;
    return 0;
}
