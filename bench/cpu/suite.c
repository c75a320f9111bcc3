/* SPDX-License-Identifier: MIT */
/*
 * Small programs that each stress one thing a CPU engine does. The same source runs natively and
 * as a guest's init: it prints `NAME NANOSECONDS` per unit of work, the best of a few runs, and
 * powers the guest off.
 */
#define _GNU_SOURCE
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define RUNS 5

static volatile uint64_t sink;

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

/* ---- Each returns how many units of work it did ---- */

static double xorshift(void)
{
    uint64_t x = 88172645463325252u;
    for (unsigned i = 0; i < 20000000; i++) {
        x ^= x << 13;
        x ^= x >> 7;
        x ^= x << 17;
    }
    sink = x;
    return 20000000;
}

static double sieve(void)
{
    static uint8_t composite[1000000];
    uint64_t primes = 0;
    memset(composite, 0, sizeof(composite));
    for (unsigned i = 2; i < sizeof(composite); i++) {
        if (composite[i])
            continue;
        primes++;
        for (unsigned j = 2 * i; j < sizeof(composite); j += i)
            composite[j] = 1;
    }
    sink = primes;
    return sizeof(composite);
}

__attribute__((noinline)) static unsigned fib(unsigned n)
{
    return n < 2 ? n : fib(n - 1) + fib(n - 2);
}

static double calls(void)
{
    sink = fib(30);
    return 1664080 + 1028458; /* calls of fib(30) */
}

static double chase(void)
{
    static void *cells[2048];
    for (unsigned i = 0; i < 2048; i++)
        cells[i] = &cells[(i * 769 + 1) & 2047];
    void **p = cells;
    for (unsigned i = 0; i < 5000000; i++)
        p = *p;
    sink = (uintptr_t)p;
    return 5000000;
}

static int ascending(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static double sort(void)
{
    static uint32_t numbers[100000];
    uint32_t seed = 1;
    for (unsigned i = 0; i < 100000; i++)
        numbers[i] = seed = seed * 1664525 + 1013904223;
    qsort(numbers, 100000, sizeof(numbers[0]), ascending);
    sink = numbers[500];
    return 100000;
}

/* A byte-code machine by computed goto: indirect branches. */
static double interpreter(void)
{
    static const uint8_t program[] = {0, 1, 2, 0, 3, 1, 2, 4};
    static const void *const ops[] = {&&add, &&xor, &&shift, &&sub, &&loop};
    uint64_t a = 1, count = 3000000;
    const uint8_t *pc = program;
#define NEXT goto *ops[*pc++]
    NEXT;
add:
    a += 12345;
    NEXT;
    xor : a ^= a >> 3;
    NEXT;
shift:
    a = a << 1 | 1;
    NEXT;
sub:
    a -= 77;
    NEXT;
loop:
    pc = program;
    if (--count)
        NEXT;
    sink = a;
    return 24000000;
}

static double memcpy_16k(void)
{
    static char from[16384], to[16384];
    for (unsigned i = 0; i < 20000; i++) {
        memcpy(to, from, sizeof(to));
        __asm__ volatile("" ::"r"(to) : "memory");
    }
    return 20000.0 * 16384;
}

static double triad(void)
{
    static double a[4096], b[4096], c[4096];
    for (unsigned i = 0; i < 300; i++) {
        for (unsigned j = 0; j < 4096; j++)
            a[j] = b[j] + 3.0 * c[j];
        __asm__ volatile("" ::"r"(a) : "memory");
    }
    return 300.0 * 4096;
}

static double atomics(void)
{
    static uint64_t counter;
    for (unsigned i = 0; i < 5000000; i++)
        __atomic_fetch_add(&counter, 1, __ATOMIC_SEQ_CST);
    return 5000000;
}

static double getpid_calls(void)
{
    for (unsigned i = 0; i < 200000; i++)
        syscall(SYS_getpid);
    return 200000;
}

static double fork_wait(void)
{
    for (unsigned i = 0; i < 200; i++) {
        pid_t child = fork();
        if (!child)
            _exit(0);
        waitpid(child, NULL, 0);
    }
    return 200;
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
    for (unsigned i = 0; i < 5000; i++)
        if (write(there[1], &byte, 1) != 1 || read(back[0], &byte, 1) != 1)
            break;
    close(there[1]);
    close(back[0]);
    waitpid(child, NULL, 0);
    return 5000;
}

static const struct {
    const char *name;
    double (*run)(void);
} programs[] = {
    {"xorshift", xorshift},     {"sieve", sieve},    {"call", calls},
    {"chase", chase},           {"qsort", sort},     {"interpreter", interpreter},
    {"memcpy-16k", memcpy_16k}, {"triad", triad},    {"atomic", atomics},
    {"getpid", getpid_calls},   {"fork", fork_wait}, {"pipe", pipes},
};

int main(void)
{
    for (size_t i = 0; i < sizeof(programs) / sizeof(programs[0]); i++) {
        double best = 0;
        for (unsigned run = 0; run < RUNS; run++) {
            double start = now_ns(), units = programs[i].run();
            double each = (now_ns() - start) / units;
            if (!run || each < best)
                best = each;
        }
        printf("BENCH %s %.5f\n", programs[i].name, best);
        fflush(stdout);
    }
    printf("BENCH-END\n");
    fflush(stdout);
    if (getpid() == 1)
        reboot(RB_POWER_OFF);
    return 0;
}
