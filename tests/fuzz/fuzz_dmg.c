/* SPDX-License-Identifier: MIT */
/* dmg images: a block table of chunks that the input chooses, with words overwritten. */
#include "fuzz_image.h"

#include <endian.h>
#include <zlib.h>

#define CHUNKS 6u
#define TABLE  (204u + CHUNKS * 40u)
#define XML_AT 8192u

static void put32(uint8_t *at, uint32_t value)
{
    value = htobe32(value);
    memcpy(at, &value, 4);
}

static void put64(uint8_t *at, uint64_t value)
{
    value = htobe64(value);
    memcpy(at, &value, 8);
}

static size_t encode(char *out, const uint8_t *data, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    size_t n = 0;
    for (size_t i = 0; i + 3 <= size; i += 3) {
        const uint32_t bits = (uint32_t)(data[i] << 16 | data[i + 1] << 8 | data[i + 2]);
        for (unsigned j = 0; j < 4; j++)
            out[n++] = digits[bits >> (18 - 6 * j) & 63];
    }
    return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    static const uint32_t types[] = {0, 1, 2, 0x80000005, 0x80000006, 0x80000007, 0x7ffffffe};
    static uint8_t file[XML_AT + 4096], table[TABLE + 3], plain[4096];
    struct fuzz_input input = {bytes, size};
    memset(file, 0, sizeof(file));
    memset(table, 0, sizeof(table));
    memcpy(table, "mish", 4);
    put32(table + 200, CHUNKS);
    for (unsigned i = 0; i < CHUNKS; i++) {
        uint8_t *chunk = table + 204 + (size_t)i * 40;
        put32(chunk, types[fuzz_take(&input, 1) % PV_ARRAY_SIZE(types)]);
        put64(chunk + 8, i * 8);
        put64(chunk + 16, 8);
        put64(chunk + 32, 4096);
    }
    uLongf length = 8000;
    FUZZ_REQUIRE(compress(file, &length, plain, sizeof(plain)) == Z_OK);
    fuzz_image_patch(&input, table, TABLE, 200);
    char *xml = (char *)file + XML_AT;
    size_t n = (size_t)sprintf(xml, "<key>blkx</key><array><data>");
    n += encode(xml + n, table, TABLE);
    n += (size_t)sprintf(xml + n, "</data></array>");
    uint8_t *trailer = file + sizeof(file) - 512;
    memcpy(trailer, "koly", 4);
    put32(trailer + 4, 4);
    put64(trailer + 216, XML_AT);
    put64(trailer + 224, n);
    put64(trailer + 492, CHUNKS * 8);
    fuzz_image_patch(&input, file, sizeof(file),
                     fuzz_take(&input, 1) & 1 ? sizeof(file) - 512 : XML_AT);
    fuzz_image_use(&pv_block_dmg, &input, file, sizeof(file));
    return 0;
}
