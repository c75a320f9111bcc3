/* SPDX-License-Identifier: MIT */
/* What the targets for formats that are only read share: a file made of a good skeleton. */
#ifndef PV_TESTS_FUZZ_IMAGE_H
#define PV_TESTS_FUZZ_IMAGE_H

#include "base/util.h"
#include "block/image.h"
#include "fuzz.h"

#include <sys/mman.h>

/* Overwrites words of `file` at places that the input chooses, most of them near `hot`. */
static inline void fuzz_image_patch(struct fuzz_input *input, uint8_t *file, size_t size,
                                    size_t hot)
{
    const unsigned count = (unsigned)fuzz_take(input, 1) % 16;
    for (unsigned i = 0; i < count; i++) {
        const uint64_t place = fuzz_take(input, 3);
        const uint64_t value = fuzz_take(input, place & 1 ? 8 : 2);
        const size_t at = (size_t)(place & 2 ? place % size : hot + place / 4 % 512) % (size - 8);
        memcpy(file + at, &value, place & 1 ? 8 : 4);
    }
}

/* Opens the file as that format, and reads where the input says. */
static inline void fuzz_image_use(const struct pv_block_format *format, struct fuzz_input *input,
                                  const uint8_t *file, size_t size)
{
    static uint8_t data[70000];
    struct pv_block_image *image;
    const struct pv_block_source source = {
        .fd = memfd_create("fuzz", MFD_CLOEXEC), .path = "/nowhere/fuzz", .read_only = true};
    FUZZ_REQUIRE(source.fd >= 0 && write(source.fd, file, size) == (ssize_t)size);
    if (format->open(&image, &source, NULL) < 0) {
        close(source.fd);
        return;
    }
    for (unsigned i = 0; i < 8 && image->size; i++) {
        const uint64_t offset = fuzz_take(input, 4) * 512 % image->size;
        const uint64_t length = PV_MIN(fuzz_take(input, 2) + 1, image->size - offset);
        enum pv_block_extent what;
        uint64_t run = 0;
        pv_block_image_read(image, data, (size_t)length, offset);
        FUZZ_REQUIRE(image->ops->extent(image, offset, length, &what, &run) < 0 ||
                     (run && run <= length));
    }
    pv_block_image_close(image);
}

#endif
