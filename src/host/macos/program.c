/* SPDX-License-Identifier: MIT */
#include "host/program.h"

#include <limits.h>
#include <mach-o/dyld.h>
#include <stdlib.h>

char *pv_program_path(void)
{
    char path[PATH_MAX];
    uint32_t size = sizeof(path);
    return _NSGetExecutablePath(path, &size) == 0 ? realpath(path, NULL) : NULL;
}
