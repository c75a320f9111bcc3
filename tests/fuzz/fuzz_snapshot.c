/* SPDX-License-Identifier: MIT */
/*
 * The snapshot loader. An input is either changes to a sound record of a machine, which is then
 * loaded, or frames of memory with whatever in them and the right checksums: a file that somebody
 * made, not one that was damaged.
 */
#include "../unit/snapshot_machine.h"
#include "base/log.h"
#include "base/util.h"
#include "fuzz.h"
#include "vm/memory_format.h"
#include "vm/memory_load.h"

#include <fcntl.h>
#include <stddef.h>
#include <unistd.h>
#include <zlib.h>

#define RAM         UINT64_C(0x40000000)
#define MOST_PIECES 64u

static int temporary(void)
{
    char path[] = "/tmp/pv-fuzz-snapshot-XXXXXX";
    int fd = mkstemp(path);
    FUZZ_REQUIRE(fd >= 0 && unlink(path) == 0);
    return fd;
}

static void put(int fd, const void *data, size_t size)
{
    FUZZ_REQUIRE(write(fd, data, size) == (ssize_t)size);
}

/* Version 1: a frame before each piece. */
static void put_frame(int fd, struct memory_frame frame, const void *data)
{
    uLong crc = crc32(0, (const Bytef *)&frame, offsetof(struct memory_frame, crc));
    frame.crc = (uint32_t)crc32_z(crc, data, frame.size);
    put(fd, &frame, sizeof(frame));
    put(fd, data, frame.size);
}

/* Version 2: all pieces are listed at the end. */
static void put_list(int fd, const struct memory_piece *pieces, uint64_t count)
{
    struct memory_tail tail = {MEMORY_INDEX, count, 0, 0, 0};
    uLong crc = crc32(0, (const Bytef *)&tail, offsetof(struct memory_tail, crc));
    tail.crc = (uint32_t)crc32_z(crc, (const Bytef *)pieces, count * sizeof(pieces[0]));
    put(fd, pieces, count * sizeof(pieces[0]));
    put(fd, &tail, sizeof(tail));
}

static void memory_failed(void *opaque, const char *message)
{
    (void)opaque;
    (void)message;
}

/* Loads at once or as it is wanted, which is then all of it. */
static void load_memory(int fd, bool lazily)
{
    struct pv_memory_load *load;
    struct pv_address_space *as;

    FUZZ_REQUIRE(pv_as_create(&as, NULL) == 0);
    FUZZ_REQUIRE(pv_as_add_ram(as, RAM, 4 * PV_MEMORY_CHUNK, "ram", NULL) == 0);
    if (pv_memory_load_create(&load, &fd, 1, as, NULL) >= 0) {
        if (!lazily)
            pv_memory_load_all(load, NULL);
        else if (pv_memory_load_lazily(load, memory_failed, NULL, NULL) >= 0)
            pv_as_touch(as, RAM, 4 * PV_MEMORY_CHUNK);
        pv_memory_load_destroy(load);
    }
    pv_as_destroy(as);
}

static void fuzz_memory(struct fuzz_input *input)
{
    const uint32_t how = (uint32_t)fuzz_take(input, 1);
    const uint32_t numbers[2] = {1 + how % 2, 4096};
    struct memory_piece pieces[MOST_PIECES];
    int fd = temporary();
    uint64_t count = 0;

    put(fd, MEMORY_MAGIC, 8);
    put(fd, numbers, sizeof(numbers));
    for (; input->size && count < MOST_PIECES; count++) {
        struct memory_piece piece;
        const unsigned kind = (unsigned)fuzz_take(input, 1);
        piece.address = kind & 1 ? fuzz_take(input, 8) : RAM + fuzz_take(input, 1) * 0x10000;
        piece.pages = fuzz_take(input, 8);
        piece.filled = kind & 2 ? fuzz_take(input, 8) : piece.pages;
        piece.size = (uint32_t)PV_MIN(fuzz_take(input, 1), input->size);
        piece.crc = (uint32_t)crc32_z(0, input->data, piece.size);
        if (numbers[0] == 1)
            put_frame(fd,
                      (struct memory_frame){MEMORY_FRAME, piece.size, piece.address, piece.pages,
                                            piece.filled, 0, 0},
                      input->data);
        else
            put(fd, input->data, piece.size);
        input->data += piece.size;
        input->size -= piece.size;
        pieces[count] = piece;
    }
    if (numbers[0] == 1)
        put_frame(fd, (struct memory_frame){MEMORY_FRAME_END, 0, count, 0, 0, 0, 0}, "");
    else
        put_list(fd, pieces, count);
    load_memory(fd, how & 2);
}

static void fuzz_state(struct fuzz_input *input)
{
    struct snapshot_machine m;
    PV_CLEANUP_FD int fd = temporary();
    char path[32];
    size_t size;

    put(fd, snapshot_firmware, sizeof(snapshot_firmware));
    FUZZ_REQUIRE(ftruncate(fd, 1 << 20) == 0);
    snprintf(path, sizeof(path), "/dev/fd/%d", fd);
    FUZZ_REQUIRE(snapshot_machine_create(&m, path, path, 1));
    uint8_t *data = snapshot_machine_save(&m, &size);
    FUZZ_REQUIRE(data);
    while (input->size) {
        size_t at = (size_t)fuzz_take(input, 3) % size;
        unsigned count = (unsigned)fuzz_take(input, 1) % 8 + 1;
        for (unsigned i = 0; i < count && at + i < size; i++)
            data[at + i] = (uint8_t)fuzz_take(input, 1);
    }
    if (snapshot_machine_load(&m, data, size, NULL) == 0) {
        /* What was loaded can be saved, and lets the machine be taken apart. */
        free(data);
        data = snapshot_machine_save(&m, &size);
    }
    free(data);
    snapshot_machine_destroy(&m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_input input = {data, size};

    FUZZ_REQUIRE(pv_log_set_filter("off", NULL) == 0);
    if (fuzz_take(&input, 1) & 1)
        fuzz_memory(&input);
    else
        fuzz_state(&input);
    return 0;
}
