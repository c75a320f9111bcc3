/* SPDX-License-Identifier: MIT */
#include "base/error.h"
#include "display/sink_impl.h"

#include <errno.h>

int pv_display_vnc_create(struct pv_display_sink **out, struct pv_display *display,
                          struct pv_loop *loop, const struct pv_vnc_config *config,
                          struct pv_error **err)
{
    return pv_error_set(err, ENOTSUP, "display: there is no VNC server in this build");
}
