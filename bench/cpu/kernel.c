/* SPDX-License-Identifier: MIT */
/* Ways into the kernel and back: exceptions, address spaces, schedules. */
#define _GNU_SOURCE
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "suite.h"

static double getpids(void)
{
    for (unsigned i = 0; i < 20000; i++)
        syscall(SYS_getpid);
    return 20000;
}

static double clocks(void)
{
    struct timespec t;
    for (unsigned i = 0; i < 200000; i++)
        clock_gettime(CLOCK_MONOTONIC, &t);
    return 200000;
}

static double page_faults(void)
{
    enum { PAGES = 2000 };
    uint8_t *memory =
        mmap(NULL, PAGES * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED)
        return 1;
    madvise(memory, PAGES * 4096, MADV_NOHUGEPAGE);
    for (unsigned i = 0; i < PAGES; i++)
        memory[i * 4096] = 1;
    munmap(memory, PAGES * 4096);
    return PAGES;
}

static double children(unsigned count, int exec)
{
    for (unsigned i = 0; i < count; i++) {
        pid_t child = fork();
        if (!child) {
            if (exec)
                execl(own_path, own_path, OWN_EXIT, (char *)NULL);
            _exit(exec);
        }
        int status = 1;
        waitpid(child, &status, 0);
        result += status != 0;
    }
    return count;
}

static double forks(void)
{
    return children(40, 0);
}

static double execs(void)
{
    return children(20, 1);
}

static double pipes(void)
{
    int there[2], back[2];
    char byte = 0;
    if (pipe(there) || pipe(back))
        return 1;
    pid_t child = fork();
    if (!child) {
        close(there[1]);
        close(back[0]);
        while (read(there[0], &byte, 1) == 1 && write(back[1], &byte, 1) == 1)
            ;
        _exit(0);
    }
    close(there[0]);
    close(back[1]);
    for (unsigned i = 0; i < 500; i++)
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
            break;
    close(there[1]);
    close(back[0]);
    waitpid(child, NULL, 0);
    return 500;
}

const struct bench kernel_benches[] = {
    {"getpid", getpids}, {"clock_gettime", clocks}, {"page-fault", page_faults},
    {"fork", forks},     {"exec", execs},           {"pipe", pipes},
    {NULL, NULL},
};
