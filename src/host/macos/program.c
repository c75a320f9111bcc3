/* SPDX-License-Identifier: MIT */
#include "host/program.h"

#include <libproc.h>
#include <limits.h>
#include <mach-o/dyld.h>
#include <stdlib.h>

char *pv_program_path(void)
{
    char path[PATH_MAX];
    uint32_t size = sizeof(path);
    return _NSGetExecutablePath(path, &size) == 0 ? realpath(path, NULL) : NULL;
}

uint64_t pv_program_resident(pid_t pid)
{
    struct proc_taskinfo info;
    int size = proc_pidinfo(pid, PROC_PIDTASKINFO, 0, &info, sizeof(info));
    return size == sizeof(info) ? info.pti_resident_size : 0;
}
