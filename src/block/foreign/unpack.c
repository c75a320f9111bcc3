/* SPDX-License-Identifier: MIT */
#include "block/foreign/unpack.h"

#include "base/bytes.h"

#include <errno.h>
#include <zlib.h>
#ifdef PV_HAVE_BZIP2
#include <bzlib.h>
#endif

/* A VMDK grain's header: its first sector and the size of what follows. */
#define GRAIN_HEADER 12u

static int unzip(uint8_t *out, size_t size, const uint8_t *packed, size_t packed_size)
{
    z_stream stream = {.next_in = (uint8_t *)(uintptr_t)packed,
                       .avail_in = (unsigned)packed_size,
                       .next_out = out,
                       .avail_out = (unsigned)size};
    if (inflateInit(&stream) != Z_OK)
        return -ENOMEM;
    inflate(&stream, Z_FINISH);
    inflateEnd(&stream);
    return stream.avail_out ? -EIO : 0;
}

#ifdef PV_HAVE_BZIP2
static int unbzip(uint8_t *out, size_t size, const uint8_t *packed, size_t packed_size)
{
    unsigned got = (unsigned)size;
    int ret = BZ2_bzBuffToBuffDecompress((char *)out, &got, (char *)(uintptr_t)packed,
                                         (unsigned)packed_size, 0, 0);
    if (ret == BZ_MEM_ERROR)
        return -ENOMEM;
    return ret == BZ_OK && got == size ? 0 : -EIO;
}
#else
static int unbzip(uint8_t *out, size_t size, const uint8_t *packed, size_t packed_size)
{
    return -ENOTSUP;
}
#endif

bool pv_foreign_can_unpack(enum pv_foreign_kind kind)
{
#ifdef PV_HAVE_BZIP2
    return true;
#else
    return kind != PV_FOREIGN_BZIP2;
#endif
}

int pv_foreign_unpack(enum pv_foreign_kind kind, uint8_t *out, size_t size, const uint8_t *packed,
                      size_t packed_size)
{
    switch (kind) {
    case PV_FOREIGN_ZLIB: return unzip(out, size, packed, packed_size);
    case PV_FOREIGN_BZIP2: return unbzip(out, size, packed, packed_size);
    case PV_FOREIGN_GRAIN:
        if (packed_size < GRAIN_HEADER || pv_le32(packed + 8) > packed_size - GRAIN_HEADER)
            return -EIO;
        return unzip(out, size, packed + GRAIN_HEADER, pv_le32(packed + 8));
    default: return -EIO;
    }
}
