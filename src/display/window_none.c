/* SPDX-License-Identifier: MIT */
#include "display/sink.h"

#include "base/error.h"

#include <errno.h>

int pv_display_window_create(struct pv_display_sink **out, struct pv_display *display,
                             const struct pv_window_config *config, struct pv_error **err)
{
    return pv_error_set(err, ENOTSUP,
                        "display: this build has no windows (SDL 2); use --display vnc");
}
