/* SPDX-License-Identifier: MIT */
/*
 * A process that gives up what it will not need.
 *
 * Whoever breaks out of a guest is then in a process that reaches the files it was granted and
 * makes the system calls a VMM makes, and nothing else: it cannot run a program, look at another
 * process, or open its owner's keys. There is no way back.
 *
 * Two steps, as they have different needs. Files are confined per thread, and threads made later
 * inherit it, so that is for before the first of them; the list of calls can do without those
 * that only setting up takes, and is put on all threads at once.
 *
 * On Linux by Landlock and seccomp (host/linux/confine.c); on macOS files by a sandbox profile, and
 * no list of calls (host/macos/confine.c). A step that the host has nothing for says so and changes
 * nothing.
 */
#ifndef PV_HOST_CONFINE_H
#define PV_HOST_CONFINE_H

#include <stddef.h>

struct pv_error;

enum pv_grant_access {
    PV_GRANT_READ,   /* a file, or all that a folder holds */
    PV_GRANT_WRITE,  /* and write to what is there */
    PV_GRANT_CREATE, /* and make, rename and remove files and sockets: for folders */
};

struct pv_grant {
    const char *path; /* of something that is not there, nothing is granted */
    enum pv_grant_access access;
};

/* What a process does beyond what every VM does. */
#define PV_CALLS_GPU (1u << 0) /* a host's Vulkan driver, which lists folders and asks a lot */

/*
 * No new privileges by programs that are run, no capabilities beyond those for files and for low
 * ports, no core dumps; of files, only these from here on (descriptors that are open stay). 1 when
 * that holds, 0 when this host cannot confine files, or a negative errno.
 */
int pv_confine_files(const struct pv_grant *grants, size_t count, struct pv_error **err);

/*
 * All threads, present and future, may make the system calls of the list only; another one ends
 * the process. To be called after pv_confine_files(). 1, 0 or an error, as there.
 */
int pv_confine_calls(unsigned sets, struct pv_error **err);

#endif
