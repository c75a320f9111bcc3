/* SPDX-License-Identifier: MIT */
#include "host/program.h"

#include <limits.h>
#include <mach-o/dyld.h>
#include <mach/mach.h>
#include <stdlib.h>

char *pv_program_path(void)
{
    char path[PATH_MAX];
    uint32_t size = sizeof(path);
    return _NSGetExecutablePath(path, &size) == 0 ? realpath(path, NULL) : NULL;
}

uint64_t pv_program_resident(void)
{
    struct mach_task_basic_info info;
    mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
    kern_return_t ret =
        task_info(mach_task_self(), MACH_TASK_BASIC_INFO, (task_info_t)&info, &count);
    return ret == KERN_SUCCESS ? info.resident_size : 0;
}
