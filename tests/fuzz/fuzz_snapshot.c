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
#include "vm/memory_image.h"

#include <fcntl.h>
#include <stddef.h>
#include <unistd.h>
#include <zlib.h>

#define RAM UINT64_C(0x40000000)

/* As vm/memory_image.c has it. */
struct frame {
    uint32_t magic, size;
    uint64_t address, pages, filled;
    uint32_t reserved, crc;
};

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

static void put_frame(int fd, struct frame frame, const void *data)
{
    uLong crc = crc32(0, (const Bytef *)&frame, offsetof(struct frame, crc));
    frame.crc = (uint32_t)crc32_z(crc, data, frame.size);
    put(fd, &frame, sizeof(frame));
    put(fd, data, frame.size);
}

static void fuzz_memory(struct fuzz_input *input)
{
    const uint32_t numbers[2] = {1, 4096};
    PV_CLEANUP_FD int fd = temporary();
    struct pv_address_space *as;
    uint64_t count = 0;

    FUZZ_REQUIRE(pv_as_create(&as, NULL) == 0);
    FUZZ_REQUIRE(pv_as_add_ram(as, RAM, 4 * PV_MEMORY_CHUNK, "ram", NULL) == 0);
    put(fd, "PVMEMORY", 8);
    put(fd, numbers, sizeof(numbers));
    while (input->size && count < 64) {
        struct frame frame = {.magic = 0x52465650};
        const unsigned how = (unsigned)fuzz_take(input, 1);
        frame.address = how & 1 ? fuzz_take(input, 8) : RAM + fuzz_take(input, 1) * 0x10000;
        frame.pages = fuzz_take(input, 8);
        frame.filled = how & 2 ? fuzz_take(input, 8) : frame.pages;
        frame.size = (uint32_t)PV_MIN(fuzz_take(input, 1), input->size);
        put_frame(fd, frame, input->data);
        input->data += frame.size;
        input->size -= frame.size;
        count++;
    }
    put_frame(fd, (struct frame){.magic = 0x4e455650, .address = count}, "");
    pv_memory_image_load(fd, as, NULL, NULL);
    pv_as_destroy(as);
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
