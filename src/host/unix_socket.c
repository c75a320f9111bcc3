/* SPDX-License-Identifier: MIT */
#include "host/unix_socket.h"

#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

_Static_assert(sizeof(((struct sockaddr_un *)0)->sun_path) > PV_UNIX_PATH_MAX, "address size");

#define BACKLOG 64

static int new_socket(void)
{
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    if (fd < 0)
        return -errno;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static bool make_address(struct sockaddr_un *address, const char *path)
{
    size_t len = strlen(path);
    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (!len || len > PV_UNIX_PATH_MAX)
        return false;
    memcpy(address->sun_path, path, len + 1);
    return true;
}

/* A socket file that nobody listens on is left over from a process that died: it may go. */
static bool is_stale(const struct sockaddr_un *address)
{
    struct stat st;
    if (lstat(address->sun_path, &st) < 0 || !S_ISSOCK(st.st_mode))
        return false;
    PV_CLEANUP_FD int probe = socket(AF_UNIX, SOCK_STREAM, 0);
    return probe >= 0 && connect(probe, (const struct sockaddr *)address, sizeof(*address)) < 0 &&
           errno == ECONNREFUSED;
}

int pv_unix_listen(const char *path, const char *what, int *fd, struct pv_error **err)
{
    struct sockaddr_un address;
    if (!make_address(&address, path))
        return pv_error_set(err, ENAMETOOLONG, "%s '%s': a path of 1 to %u bytes is needed", what,
                            path, PV_UNIX_PATH_MAX);
    PV_CLEANUP_FD int listener = new_socket();
    if (listener < 0)
        return pv_error_errno(err, -listener, "%s", what);
    int ret = bind(listener, (const struct sockaddr *)&address, sizeof(address));
    if (ret < 0 && errno == EADDRINUSE && is_stale(&address)) {
        unlink(path);
        ret = bind(listener, (const struct sockaddr *)&address, sizeof(address));
    }
    if (ret < 0)
        return pv_error_errno(err, errno, "%s '%s'", what, path);
    if (chmod(path, 0600) < 0 || listen(listener, BACKLOG) < 0) {
        ret = pv_error_errno(err, errno, "%s '%s'", what, path);
        unlink(path);
        return ret;
    }
    *fd = PV_STEAL_FD(listener);
    return 0;
}

int pv_unix_accept(int listener)
{
    int fd = accept(listener, NULL, NULL);
    if (fd < 0)
        return -errno;
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

int pv_unix_connect(const char *path)
{
    struct sockaddr_un address;
    if (!make_address(&address, path))
        return -ENAMETOOLONG;
    PV_CLEANUP_FD int fd = new_socket();
    if (fd < 0)
        return fd;
    if (connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    return PV_STEAL_FD(fd);
}
