/* SPDX-License-Identifier: MIT */
/* VHDX images: headers, regions, metadata and a table with words overwritten; sums are made good.
 */
#include "block/foreign/crc32c.h"
#include "fuzz_image.h"

#include <endian.h>

#define FILE_BYTES (768u * 1024)
#define METADATA   0x50000u
#define BAT        0x70000u

static void put32(uint8_t *file, size_t at, uint32_t value)
{
    value = htole32(value);
    memcpy(file + at, &value, 4);
}

static void put_sum(uint8_t *data, size_t size)
{
    put32(data, 4, 0);
    put32(data, 4, ~pv_crc32c(UINT32_MAX, data, size));
}

static void put_item(uint8_t *file, unsigned i, const char *guid, uint32_t length, uint32_t value)
{
    uint8_t *at = file + METADATA + 32 + (size_t)i * 32;
    memcpy(at, guid, 16);
    put32(at, 16, 65536 + i * 8);
    put32(at, 20, length);
    put32(file, METADATA + 65536 + i * 8, value);
}

static void put_region(uint8_t *table, unsigned i, const char *guid, uint32_t offset,
                       uint32_t length)
{
    uint8_t *at = table + 16 + (size_t)i * 32;
    memcpy(at, guid, 16);
    put32(at, 16, offset);
    put32(at, 24, length);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static uint8_t file[FILE_BYTES];
    static const size_t hot[] = {0x10000, 0x30000, METADATA, METADATA + 65536, BAT};
    struct fuzz_input input = {bytes, size};
    memset(file, 0, sizeof(file));
    memcpy(file, "vhdxfile", 8);
    memcpy(file + 0x10000, "head", 4);
    file[0x10000 + 66] = 1;
    memcpy(file + 0x30000, "regi", 4);
    put32(file, 0x30008, 2);
    put_region(file + 0x30000, 0,
               "\x66\x77\xc2\x2d\x23\xf6\x00\x42\x9d\x64\x11\x5e\x9b\xfd\x4a\x08", BAT, 4096);
    put_region(file + 0x30000, 1,
               "\x06\xa2\x7c\x8b\x90\x47\x9a\x4b\xb8\xfe\x57\x5f\x05\x0f\x88\x6e", METADATA,
               0x20000);
    memcpy(file + METADATA, "metadata", 8);
    file[METADATA + 10] = 3;
    put_item(file, 0, "\x37\x67\xa1\xca\x36\xfa\x43\x4d\xb3\xb6\x33\xf0\xaa\x44\xe7\x6b", 8,
             1 << 20);
    put_item(file, 1, "\x24\x42\xa5\x2f\x1b\xcd\x76\x48\xb2\x11\x5d\xbe\xd8\x3b\xf4\xb8", 8,
             3 << 20);
    put_item(file, 2, "\x1d\xbf\x41\x81\x6f\xa9\x09\x47\xba\x47\xf2\x33\xa8\xfa\xab\x5f", 4, 512);
    put32(file, BAT, 6);
    put32(file, BAT + 8, 6 | 1 << 20);
    fuzz_image_patch(&input, file, sizeof(file), hot[fuzz_take(&input, 1) % PV_ARRAY_SIZE(hot)]);
    put_sum(file + 0x10000, 4096);
    put_sum(file + 0x30000, 65536);
    fuzz_image_use(&pv_block_vhdx, &input, file, sizeof(file));
    return 0;
}
