/* SPDX-License-Identifier: MIT */
/*
 * VMDK images: a sparse extent of which words are overwritten, compressed or not, with its
 * directory named in the header or in a footer; or a text, whose files are not there.
 */
#include "fuzz_image.h"

#include <endian.h>
#include <zlib.h>

#define GRAIN 4096u

static void put32(uint8_t *file, size_t at, uint32_t value)
{
    value = htole32(value);
    memcpy(file + at, &value, 4);
}

static void put_header(uint8_t *file, bool packed, uint32_t directory)
{
    memcpy(file, "KDMV", 4);
    put32(file, 4, packed ? 3 : 1);
    put32(file, 8, packed ? 0x30007 : 7);
    put32(file, 12, 64);
    put32(file, 20, GRAIN / 512);
    put32(file, 44, 512);
    put32(file, 56, directory);
    file[77] = packed;
}

static size_t text(uint8_t *file, struct fuzz_input *input)
{
    static const char *const words[] = {"RW ",   "RDONLY ", "128 ", "FLAT ", "SPARSE ",    "ZERO",
                                        "\"x\"", "\n",      " 0\n", "\"",    "parentCID=", "1"};
    size_t size = (size_t)sprintf((char *)file, "# Disk DescriptorFile\n");
    while (input->size && size < 2000)
        size += (size_t)sprintf((char *)file + size, "%s",
                                words[fuzz_take(input, 1) % PV_ARRAY_SIZE(words)]);
    return size;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static uint8_t file[32768];
    struct fuzz_input input = {bytes, size};
    const unsigned kind = (unsigned)fuzz_take(&input, 1);
    memset(file, 0, sizeof(file));
    if (kind % 4 == 3) {
        fuzz_image_use(&pv_block_vmdk, &input, file, text(file, &input));
        return 0;
    }
    const bool packed = kind & 1;
    put_header(file, packed, 2);
    if (kind & 4) {
        put_header(file + sizeof(file) - 1024, packed, 2);
        memset(file + 56, 0xff, 8);
    }
    put32(file, 1024, 3);
    put32(file, 3 * 512, 16);
    put32(file, 3 * 512 + 8, 1);
    put32(file, 3 * 512 + 12, 32);
    uLongf length = 6000;
    static uint8_t plain[GRAIN];
    FUZZ_REQUIRE(compress(file + 16 * 512 + 12, &length, plain, sizeof(plain)) == Z_OK);
    put32(file, 16 * 512 + 8, (uint32_t)length);
    fuzz_image_patch(&input, file, sizeof(file), kind & 8 ? 16 * 512 : kind & 16 ? 1024 : 0);
    fuzz_image_use(&pv_block_vmdk, &input, file, sizeof(file));
    return 0;
}
