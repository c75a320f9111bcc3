/* SPDX-License-Identifier: MIT */
/* In place of vtest.c where its clients are not: Mesa's drivers that speak it are Linux's. */
#include "base/error.h"
#include "gpu/vtest.h"

#include <errno.h>
#include <unistd.h>

static int refuse(struct pv_error **err)
{
    return pv_error_set(err, ENOTSUP, "the vtest protocol is there on Linux only");
}

int pv_vtest_create(struct pv_vtest **out, const char *path, const char *renderer,
                    const struct pv_renderer_config *config, struct pv_error **err)
{
    return refuse(err);
}

void pv_vtest_destroy(struct pv_vtest *vtest) {}

int pv_vtest_serve(int fd, const char *renderer, const struct pv_renderer_config *config,
                   struct pv_error **err)
{
    close(fd);
    return refuse(err);
}
