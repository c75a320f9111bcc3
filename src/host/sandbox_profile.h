/* SPDX-License-Identifier: MIT */
/*
 * The text of a macOS sandbox profile, made from grants. Apart from host/macos/confine.c, which
 * hands it to the system, so that it can be looked at on any host.
 */
#ifndef PV_HOST_SANDBOX_PROFILE_H
#define PV_HOST_SANDBOX_PROFILE_H

#include "base/buffer.h"
#include "host/confine.h"

/*
 * Appends the profile to `out`. A path is made absolute and free of links, which is how the kernel
 * compares it; of one that is not there nothing is granted. -EINVAL for a path with a control
 * character.
 */
int pv_sandbox_profile(struct pv_buffer *out, const struct pv_grant *grants, size_t count,
                       struct pv_error **err);

#endif
