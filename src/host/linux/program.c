/* SPDX-License-Identifier: MIT */
#include "host/program.h"

#include <limits.h>
#include <stdlib.h>

char *pv_program_path(void)
{
    return realpath("/proc/self/exe", NULL);
}
