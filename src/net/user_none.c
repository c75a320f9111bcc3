/* SPDX-License-Identifier: MIT */
/* In place of user.c in builds without libslirp. */
#include "base/error.h"
#include "net/netdev.h"

#include <errno.h>

int pv_netdev_user_create(struct pv_netdev **out, struct pv_loop *loop,
                          const struct pv_port_forward *forwards, size_t count,
                          struct pv_error **err)
{
    return pv_error_set(
        err, ENOTSUP, "this pearvisor was built without libslirp, which NAT needs; use --net none");
}
