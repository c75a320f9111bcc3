/* SPDX-License-Identifier: MIT */
#include "base/error.h"
#include "net/netdev.h"

#include <errno.h>
#include <stdlib.h>

static void null_send(struct pv_netdev *dev, const struct iovec *iov, unsigned count, size_t len) {}

static void null_destroy(struct pv_netdev *dev)
{
    free(dev);
}

static const struct pv_netdev_ops null_ops = {
    .name = "null",
    .send = null_send,
    .destroy = null_destroy,
};

int pv_netdev_null_create(struct pv_netdev **out, struct pv_error **err)
{
    struct pv_netdev *dev = calloc(1, sizeof(*dev));
    if (!dev)
        return pv_error_set(err, ENOMEM, "network: out of memory");
    dev->ops = &null_ops;
    *out = dev;
    return 0;
}

void pv_netdev_destroy(struct pv_netdev *dev)
{
    if (dev)
        dev->ops->destroy(dev);
}
