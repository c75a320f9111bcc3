/* SPDX-License-Identifier: MIT */
#include "host/program.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

char *pv_program_path(void)
{
    return realpath("/proc/self/exe", NULL);
}

uint64_t pv_program_resident(pid_t pid)
{
    char path[32], line[128] = "";
    char *rest;
    snprintf(path, sizeof(path), "/proc/%ld/statm", (long)pid);
    FILE *file = fopen(path, "re"); /* pages: size, resident, ... */
    if (!file)
        return 0;
    if (!fgets(line, sizeof(line), file))
        line[0] = '\0';
    fclose(file);
    strtoull(line, &rest, 10);
    return strtoull(rest, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE);
}
