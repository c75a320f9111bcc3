/* SPDX-License-Identifier: MIT */
/* info, clock NANOSECONDS, freeze, thaw, shutdown poweroff|reboot, connect PORT. */
#include "agent.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <inttypes.h>
#include <mntent.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>

/* ---- info: words NAME=VALUE ---- */

#define INFO_MAX 64

struct info {
    char *words[INFO_MAX];
    int count;
};

static void __attribute__((format(printf, 2, 3))) tell(struct info *info, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    if (info->count < INFO_MAX && vasprintf(&info->words[info->count], fmt, args) >= 0)
        info->count++;
    va_end(args);
}

static void tell_memory(struct info *info)
{
    char line[128];
    uint64_t kib;
    FILE *file = fopen("/proc/meminfo", "re");
    while (file && fgets(line, sizeof(line), file)) {
        if (sscanf(line, "MemTotal: %" SCNu64, &kib) == 1)
            tell(info, "memory-total=%" PRIu64, kib << 10);
        if (sscanf(line, "MemAvailable: %" SCNu64, &kib) == 1)
            tell(info, "memory-available=%" PRIu64, kib << 10);
    }
    if (file)
        fclose(file);
}

static void tell_addresses(struct info *info)
{
    struct ifaddrs *list = NULL;
    if (getifaddrs(&list) < 0)
        return;
    for (const struct ifaddrs *at = list; at; at = at->ifa_next) {
        char text[INET6_ADDRSTRLEN];
        const void *address;
        if (!at->ifa_addr || !strcmp(at->ifa_name, "lo"))
            continue;
        if (at->ifa_addr->sa_family == AF_INET)
            address = &((const struct sockaddr_in *)(const void *)at->ifa_addr)->sin_addr;
        else if (at->ifa_addr->sa_family == AF_INET6)
            address = &((const struct sockaddr_in6 *)(const void *)at->ifa_addr)->sin6_addr;
        else
            continue;
        if (inet_ntop(at->ifa_addr->sa_family, address, text, sizeof(text)))
            tell(info, "address=%s %s", at->ifa_name, text);
    }
    freeifaddrs(list);
}

int serve_info(struct request *r)
{
    struct info info = {0};
    struct utsname name;
    struct sysinfo system;
    double load[3];
    if (uname(&name) == 0) {
        tell(&info, "hostname=%s", name.nodename);
        tell(&info, "kernel=%s", name.release);
    }
    if (sysinfo(&system) == 0)
        tell(&info, "uptime=%ld", system.uptime);
    if (getloadavg(load, 3) == 3)
        tell(&info, "load=%.2f %.2f %.2f", load[0], load[1], load[2]);
    tell_memory(&info);
    tell_addresses(&info);
    return ready(r, (const char *const *)info.words, info.count);
}

/* ---- clock ---- */

int serve_clock(struct request *r)
{
    const uint64_t now = strtoull(r->words[1], NULL, 10);
    const struct timespec time = {(time_t)(now / 1000000000), (long)(now % 1000000000)};
    if (clock_settime(CLOCK_REALTIME, &time) < 0)
        return fail(r, errno, "clock");
    return ready(r, NULL, 0);
}

/* ---- freeze, thaw: all file systems on disks ---- */

#define MOUNTS_MAX 256

static int each_mount(unsigned long request, bool backwards)
{
    static char *paths[MOUNTS_MAX];
    int count = 0, done = 0;
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    for (const struct mntent *m; mounts && count < MOUNTS_MAX && (m = getmntent(mounts));)
        if (!strncmp(m->mnt_fsname, "/dev/", 5) && (paths[count] = strdup(m->mnt_dir)))
            count++;
    if (mounts)
        endmntent(mounts);
    for (int i = 0; i < count; i++) {
        int fd = open(paths[backwards ? count - 1 - i : i], O_RDONLY | O_CLOEXEC | O_DIRECTORY);
        if (fd < 0)
            continue;
        /* One that cannot be frozen (vfat), or is already, does not keep the others from it. */
        done += ioctl(fd, request, 0) == 0;
        close(fd);
    }
    return done;
}

static int tell_count(struct request *r, int count)
{
    char text[16];
    snprintf(text, sizeof(text), "%d", count);
    const char *words[] = {text};
    return ready(r, words, 1);
}

int serve_freeze(struct request *r)
{
    /* The last one mounted first: the root, which the others' devices may lie on, comes last. */
    return tell_count(r, each_mount(FIFREEZE, true));
}

int serve_thaw(struct request *r)
{
    return tell_count(r, each_mount(FITHAW, false));
}

/* ---- shutdown ---- */

int serve_shutdown(struct request *r)
{
    const char *how = r->words[1];
    if (strcmp(how, "poweroff") != 0 && strcmp(how, "reboot") != 0)
        return fail(r, 0, "shutdown: '%.20s' is neither poweroff nor reboot", how);
    if (ready(r, NULL, 0) < 0)
        return -1;
    setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 0);
    execlp("systemctl", "systemctl", how, (char *)NULL);
    execlp(how, how, (char *)NULL); /* where there is another init */
    return -1;
}

/* ---- connect: a TCP port of the guest's own; bytes follow, no frames ---- */

static int relay(int from, int to, bool *open)
{
    char data[16384];
    ssize_t n = read(from, data, sizeof(data));
    if (n < 0 && errno == EINTR)
        return 0;
    if (n <= 0) {
        *open = false;
        shutdown(to, SHUT_WR);
        return 0;
    }
    for (ssize_t done = 0; done < n;) {
        ssize_t part = send(to, data + done, (size_t)(n - done), MSG_NOSIGNAL);
        if (part < 0 && errno != EINTR)
            return -1;
        done += part > 0 ? part : 0;
    }
    return 0;
}

int serve_connect(struct request *r)
{
    const struct sockaddr_in address = {.sin_family = AF_INET,
                                        .sin_port = htons((uint16_t)atoi(r->words[1])),
                                        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    bool there = true, back = true;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (const struct sockaddr *)&address, sizeof(address)) < 0)
        return fail(r, errno, "port %.10s", r->words[1]);
    if (ready(r, NULL, 0) < 0)
        return -1;
    while (there || back) {
        struct pollfd fds[] = {{there ? r->fd : -1, POLLIN, 0}, {back ? fd : -1, POLLIN, 0}};
        if (poll(fds, 2, -1) < 0)
            continue;
        if ((fds[0].revents && relay(r->fd, fd, &there) < 0) ||
            (fds[1].revents && relay(fd, r->fd, &back) < 0))
            return -1;
    }
    return 0;
}
