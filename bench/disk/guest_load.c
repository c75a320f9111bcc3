/* SPDX-License-Identifier: MIT */
/*
 * Transfers on a disk from inside a guest, past its page cache: what fio does with as many jobs.
 *
 *     guest_load DISK read|write random|sequential BLOCK THREADS MILLISECONDS
 *
 * Prints the transfers per second of all threads together.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include <linux/fs.h>

struct load {
    int fd;
    bool write, random;
    size_t block;
    uint64_t blocks;
    uint64_t until; /* nanoseconds */
    atomic_ullong done;
    atomic_bool failed;
    atomic_ullong next; /* sequential: all threads take blocks in turn */
};

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void *work(void *opaque)
{
    struct load *load = opaque;
    uint64_t random = (uintptr_t)&random | 1;
    char *data = NULL;

    if (posix_memalign((void **)&data, 4096, load->block))
        return NULL;
    memset(data, 0x5a, load->block);
    while (now() < load->until && !load->failed) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        const uint64_t at =
            (load->random ? random : atomic_fetch_add(&load->next, 1)) % load->blocks * load->block;
        const ssize_t n = load->write ? pwrite(load->fd, data, load->block, (off_t)at)
                                      : pread(load->fd, data, load->block, (off_t)at);
        if (n != (ssize_t)load->block)
            load->failed = true;
        atomic_fetch_add(&load->done, 1);
    }
    free(data);
    return NULL;
}

int main(int argc, char **argv)
{
    struct load load = {0};
    pthread_t threads[64];
    uint64_t size;

    if (argc != 7)
        return 2;
    load.fd = open(argv[1], O_RDWR | O_DIRECT);
    load.write = !strcmp(argv[2], "write");
    load.random = !strcmp(argv[3], "random");
    load.block = strtoul(argv[4], NULL, 0);
    const unsigned count = (unsigned)strtoul(argv[5], NULL, 0);
    if (load.fd < 0 || ioctl(load.fd, BLKGETSIZE64, &size) < 0 || count > 64)
        return 1;
    load.blocks = size / load.block;
    const uint64_t start = now();
    load.until = start + strtoull(argv[6], NULL, 0) * 1000000;
    for (unsigned i = 0; i < count; i++)
        if (pthread_create(&threads[i], NULL, work, &load))
            return 1;
    for (unsigned i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    if (load.failed)
        return 1;
    printf("transfers per second: %.0f\n", (double)load.done * 1e9 / (double)(now() - start));
    return 0;
}
