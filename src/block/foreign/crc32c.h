/* SPDX-License-Identifier: MIT */
/* CRC-32C (Castagnoli), of which headers and logs of images are sums. */
#ifndef PV_BLOCK_FOREIGN_CRC32C_H
#define PV_BLOCK_FOREIGN_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* Goes on with `crc`, which begins as all ones; the sum is the complement of what comes last. */
static inline uint32_t pv_crc32c(uint32_t crc, const uint8_t *data, size_t size)
{
    /* What four zero bits behind each value make of it: the polynomial 0x82f63b78, reflected. */
    static const uint32_t table[16] = {0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1,
                                       0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
                                       0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9,
                                       0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75};
    for (size_t i = 0; i < size; i++) {
        crc ^= data[i];
        crc = crc >> 4 ^ table[crc & 15];
        crc = crc >> 4 ^ table[crc & 15];
    }
    return crc;
}

#endif
