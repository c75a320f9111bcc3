/* SPDX-License-Identifier: MIT */
/*
 * Runs the programs named as arguments, or all, and prints `BENCH NAME NANOSECONDS RESULT` for
 * each: time per unit of work, the best of several runs. As a guest's init it then powers the guest
 * off; the kernel hands it what follows `--` on its command line.
 */
#include <stdio.h>
#include <string.h>
#include <sys/reboot.h>
#include <time.h>
#include <unistd.h>

#include "suite.h"

#define LEAST_RUNS 3
#define LEAST_NS   1.5e8

uint64_t result;
const char *own_path;

static double now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e9 * (double)t.tv_sec + (double)t.tv_nsec;
}

uint64_t digest(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint64_t sum = 0, word;
    for (; size >= 8; size -= 8, bytes += 8) {
        memcpy(&word, bytes, 8);
        sum = mix(sum, word);
    }
    for (; size; size--)
        sum = mix(sum, *bytes++);
    return sum;
}

void fill(void *data, size_t size, uint64_t seed)
{
    uint8_t *bytes = data;
    for (size_t i = 0; i < size; i++) {
        seed = seed * 6364136223846793005u + 1442695040888963407u;
        bytes[i] = (uint8_t)(seed >> 56);
    }
}

static void measure(const struct bench *bench)
{
    double best = 0, total = 0;
    for (unsigned run = 0; run < LEAST_RUNS || total < LEAST_NS; run++) {
        result = 0;
        double start = now_ns(), units = bench->run();
        double spent = now_ns() - start;
        total += spent;
        if (!run || spent / units < best)
            best = spent / units;
    }
    printf("BENCH %s %.5f %016llx\n", bench->name, best, (unsigned long long)result);
    fflush(stdout);
}

static int wanted(const char *name, int count, char **names)
{
    for (int i = 0; i < count; i++)
        if (!strcmp(names[i], name))
            return 1;
    return !count;
}

int main(int argc, char **argv)
{
    /* The kernel's rows come first: what the others touch, fork() would have to copy. */
    static const struct bench *const tables[] = {
        kernel_benches, integer_benches, float_benches,  vector_benches, crypto_benches,
        pack_benches,   script_benches,  memory_benches, thread_benches,
    };
    if (argc > 1 && !strcmp(argv[1], OWN_EXIT))
        return 0;
    own_path = argv[0];
    for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++)
        for (const struct bench *bench = tables[i]; bench->name; bench++)
            if (wanted(bench->name, argc - 1, argv + 1))
                measure(bench);
    printf("BENCH-END\n");
    fflush(stdout);
    if (getpid() == 1)
        reboot(RB_POWER_OFF);
    return 0;
}
