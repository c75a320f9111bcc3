/* SPDX-License-Identifier: MIT */
/* virtio-scsi with a disk and a CD-ROM in one temporary file each. */
#include "block/block.h"
#include "device/scsi.h"
#include "fuzz_device.h"

static struct pv_block *open_image(struct fuzz_device *f, bool read_only)
{
    char path[] = "/tmp/pv-fuzz-scsi-XXXXXX";
    const struct pv_block_options options = {.read_only = read_only};
    struct pv_block *block;
    int fd = mkstemp(path);
    FUZZ_REQUIRE(fd >= 0 && ftruncate(fd, 1 << 20) == 0);
    FUZZ_REQUIRE(pv_block_open(&block, f->loop, path, &options, NULL) == 0);
    close(fd);
    unlink(path);
    return block;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_device f;
    fuzz_device_setup(&f, data, size);
    const struct pv_scsi_target targets[] = {
        {.block = open_image(&f, false), .serial = "serial"},
        {.block = open_image(&f, true), .cdrom = true},
    };
    FUZZ_REQUIRE(pv_scsi_create(&f.dev, f.loop, f.as, targets, 2, 2, NULL) == 0);
    fuzz_device_start(&f);
    while (f.input.size)
        fuzz_device_step(&f);
    fuzz_device_teardown(&f);
    return 0;
}
