/* SPDX-License-Identifier: MIT */
/* VDI images: a good one of four blocks, of which words are overwritten. */
#include "fuzz_image.h"

#include <endian.h>

static void put32(uint8_t *file, size_t at, uint32_t value)
{
    value = htole32(value);
    memcpy(file + at, &value, 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static uint8_t file[8192];
    struct fuzz_input input = {bytes, size};
    memset(file, 0x5a, sizeof(file));
    memset(file, 0, 1024);
    put32(file, 0x40, 0xbeda107f);
    put32(file, 0x44, 0x00010001);
    put32(file, 0x4c, 1);
    put32(file, 0x154, 512);
    put32(file, 0x158, 1024);
    put32(file, 0x170, 4096 * 4 - 512);
    put32(file, 0x178, 4096);
    put32(file, 0x180, 4);
    put32(file, 512 + 4, 1);
    put32(file, 512 + 8, UINT32_MAX);
    fuzz_image_patch(&input, file, sizeof(file), 0x40);
    fuzz_image_use(&pv_block_vdi, &input, file, sizeof(file));
    return 0;
}
