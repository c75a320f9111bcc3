/* SPDX-License-Identifier: MIT */
/* Numbers in files: of a fixed byte order, at any alignment. */
#ifndef PV_BASE_BYTES_H
#define PV_BASE_BYTES_H

#include "base/endian.h"
#include <stdint.h>
#include <string.h>

static inline uint16_t pv_le16(const void *at)
{
    uint16_t value;
    memcpy(&value, at, sizeof(value));
    return le16toh(value);
}

static inline uint32_t pv_le32(const void *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return le32toh(value);
}

static inline uint64_t pv_le64(const void *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return le64toh(value);
}

static inline uint32_t pv_be32(const void *at)
{
    uint32_t value;
    memcpy(&value, at, sizeof(value));
    return be32toh(value);
}

static inline uint64_t pv_be64(const void *at)
{
    uint64_t value;
    memcpy(&value, at, sizeof(value));
    return be64toh(value);
}

#endif
