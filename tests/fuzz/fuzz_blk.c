/* SPDX-License-Identifier: MIT */
/*
 * virtio-blk with two queues and a raw disk, writable or not. Requests run on worker threads, so
 * resets meet them under way.
 */
#include "block/block.h"
#include "device/blk.h"
#include "fuzz_device.h"

#define DISK_SIZE ((1u << 20) + 100u) /* its last piece is not a whole sector */

static struct pv_block *open_image(struct fuzz_device *f, bool read_only)
{
    char path[] = "/tmp/pv-fuzz-blk-XXXXXX";
    const struct pv_block_options options = {.read_only = read_only};
    struct pv_block *block;
    int fd = mkstemp(path);
    FUZZ_REQUIRE(fd >= 0 && ftruncate(fd, DISK_SIZE) == 0);
    FUZZ_REQUIRE(pv_block_open(&block, f->loop, path, &options, NULL) == 0);
    close(fd);
    unlink(path);
    return block;
}

/* A request's header where descriptors point first, with a type and a sector that mean something.
 */
static void put_header(struct fuzz_device *f)
{
    static const uint32_t types[8] = {0, 1, 4, 8, 11, 13, 0x80000000, 2};
    unsigned what = (unsigned)fuzz_take(&f->input, 1);
    struct {
        uint32_t type, reserved;
        uint64_t sector;
        uint64_t range_sector;
        uint32_t range_count, range_flags;
    } header = {.type = types[what & 7], .range_flags = what >> 3 & 3};
    header.sector = fuzz_take(&f->input, 2);
    header.range_sector = fuzz_take(&f->input, 2);
    header.range_count = (uint32_t)fuzz_take(&f->input, 3);
    if (what & 0x80)
        header.sector = ~header.sector;
    if (what & 0x40)
        header.range_sector = ~header.range_sector;
    FUZZ_REQUIRE(pv_as_write(f->as, FUZZ_DATA, &header, sizeof(header)) == 0);
}

/* Offers a chain that is a request: header, data or none, status. */
static void put_request(struct fuzz_device *f)
{
    unsigned what = (unsigned)fuzz_take(&f->input, 1), queue = what & 1;
    unsigned count = what & 4 ? 3 : 2, head = what >> 4 & 3;
    struct {
        uint64_t address;
        uint32_t len;
        uint16_t low, high;
    } desc[3] = {{FUZZ_DATA, count == 3 ? 16 : 32, 0, 0},
                 {FUZZ_DATA + 0x1000, (uint32_t)fuzz_take(&f->input, 1) << 7, 0, 0}};
    desc[count - 1].address = FUZZ_DATA + 0x800;
    desc[count - 1].len = 1;
    put_header(f);
    for (unsigned i = 0; i < count; i++) {
        bool last = i + 1 == count, in = last || (i && what & 2);
        uint16_t flags = (uint16_t)((last ? 0 : 1) | (in ? 2 : 0));
        unsigned slot = head * 4 + i;
        if (f->packed) {
            uint16_t next = f->avail[queue]++;
            flags |= next / FUZZ_RING_SIZE % 2 ? 0x8000 : 0x80;
            slot = next % FUZZ_RING_SIZE;
        }
        desc[i].low = f->packed ? (uint16_t)i : flags;
        desc[i].high = f->packed ? flags : (uint16_t)(slot + 1);
        FUZZ_REQUIRE(pv_as_write(f->as, fuzz_ring(queue, PV_VIRTQ_DESC) + slot * 16, &desc[i],
                                 sizeof(desc[i])) == 0);
    }
    if (!f->packed)
        fuzz_publish(f, queue, (uint16_t)(head * 4));
    pv_virtio_queue_notify(f->dev, queue);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_device f;
    fuzz_device_setup(&f, data, size);
    const struct pv_blk_options options = {.serial = "a serial of more than 20 bytes", .queues = 2};
    struct pv_block *block = open_image(&f, fuzz_take(&f.input, 1) & 1);
    FUZZ_REQUIRE(pv_blk_create(&f.dev, f.loop, f.as, block, &options, NULL) == 0);
    fuzz_device_start(&f);
    while (f.input.size) {
        if (fuzz_take(&f.input, 1) & 1)
            put_request(&f);
        fuzz_device_step(&f);
    }
    fuzz_device_teardown(&f);
    return 0;
}
