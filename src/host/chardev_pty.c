/* SPDX-License-Identifier: MIT */
/*
 * A pseudo-terminal. We keep its slave side open ourselves, so that the master never reports a
 * hang-up while nobody is attached.
 */
#include "base/error.h"
#include "base/util.h"
#include "host/chardev_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <termios.h>

#define OUTPUT_MAX ((size_t)64 << 10)

struct pty_chardev {
    struct pv_chardev base;
    int master, slave;
};

static void finish(struct pv_chardev *chardev)
{
    struct pty_chardev *pty = PV_CONTAINER_OF(chardev, struct pty_chardev, base);
    if (pty->slave >= 0)
        close(pty->slave);
    if (pty->master >= 0)
        close(pty->master);
}

static const struct pv_chardev_ops pty_ops = {.finish = finish};

static int open_pair(struct pty_chardev *pty, char **path, struct pv_error **err)
{
    char name[128];
    pty->master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (pty->master < 0 || grantpt(pty->master) < 0 || unlockpt(pty->master) < 0 ||
        ptsname_r(pty->master, name, sizeof(name)) != 0)
        return pv_error_errno(err, errno, "console: making a pseudo-terminal");
    pty->slave = open(name, O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios raw;
    if (pty->slave < 0 || tcgetattr(pty->slave, &raw) < 0)
        return pv_error_errno(err, errno, "console: opening %s", name);
    cfmakeraw(&raw);
    tcsetattr(pty->slave, TCSANOW, &raw);
    fcntl(pty->master, F_SETFL, O_NONBLOCK);
    *path = strdup(name);
    return *path ? 0 : pv_error_set(err, ENOMEM, "console: out of memory");
}

int pv_chardev_pty_create(struct pv_chardev **out, struct pv_loop *loop, char **path,
                          struct pv_error **err)
{
    PV_CLEANUP_FREE char *name = NULL;
    struct pty_chardev *pty = calloc(1, sizeof(*pty));
    if (!pty)
        return pv_error_set(err, ENOMEM, "console: out of memory");
    pty->master = pty->slave = -1;
    int ret = pv_chardev_init(&pty->base, &pty_ops, loop, OUTPUT_MAX, err);
    if (ret >= 0)
        ret = open_pair(pty, &name, err);
    if (ret >= 0)
        ret = pv_chardev_connect(&pty->base, pty->master, pty->master, err);
    if (ret < 0) {
        pv_chardev_destroy(&pty->base);
        return ret;
    }
    *path = PV_STEAL(name);
    *out = &pty->base;
    return 0;
}
