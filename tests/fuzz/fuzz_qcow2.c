/* SPDX-License-Identifier: MIT */
/*
 * QCOW2 images: an empty one of a geometry that the input chooses, into which some is written, then
 * words of the file are overwritten, and then it is opened, used and checked.
 */
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "block/disk.h"
#include "block/qcow2/qcow2.h"
#include "fuzz.h"

#include <fcntl.h>
#include <sys/mman.h>

#define DISK 1000000u /* bytes; not a whole number of clusters */

static void ignore_log(void *opaque, enum pv_log_component component, enum pv_log_level level,
                       const char *line)
{
}

static struct pv_block_image *open_copy(int fd, const char *path, bool read_only, bool repair)
{
    struct pv_block_image *image = NULL;
    struct pv_block_source source = {
        .fd = dup(fd), .path = path, .read_only = read_only, .repair = repair};
    FUZZ_REQUIRE(source.fd >= 0);
    if (pv_block_qcow2.open(&image, &source, NULL) < 0)
        close(source.fd);
    return image;
}

/* What a guest may ask for. */
static void use(struct pv_block_image *image, struct fuzz_input *input)
{
    static char data[70000];
    for (unsigned i = 0; i < 12 && input->size; i++) {
        const unsigned what = (unsigned)fuzz_take(input, 1);
        uint64_t offset = fuzz_take(input, 3), length = fuzz_take(input, 2);
        offset = image->size ? offset % image->size : 0;
        length = PV_MIN(PV_MIN(length + 1, image->size - offset), (uint64_t)sizeof(data));
        const struct iovec iov = {.iov_base = data, .iov_len = length};
        enum pv_block_extent extent;
        uint64_t run;
        if (image->read_only || what % 8 < 3)
            image->ops->read(image, &iov, 1, offset);
        else if (what % 8 == 3)
            image->ops->discard(image, offset, length);
        else if (what % 8 == 4)
            image->ops->zero(image, offset, length, what & 8);
        else if (what % 8 == 5)
            image->ops->flush(image);
        else
            image->ops->write(image, &iov, 1, offset);
        if (length)
            image->ops->extent(image, offset, length, &extent, &run);
    }
}

static void patch(int fd, struct fuzz_input *input)
{
    const off_t size = lseek(fd, 0, SEEK_END);
    const unsigned count = (unsigned)fuzz_take(input, 1) % 24;
    for (unsigned i = 0; i < count; i++) {
        const uint64_t place = fuzz_take(input, 3);
        uint64_t value =
            fuzz_take(input, 1) & 1 ? htobe64(fuzz_take(input, 3) << 9) : fuzz_take(input, 8);
        const uint64_t at = place & 1 ? place % 256 : place * 8 % (uint64_t)size;
        FUZZ_REQUIRE(pwrite(fd, &value, (place & 2) + 2, (off_t)at) > 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    struct fuzz_input input = {bytes, size};
    pv_log_set_sink(ignore_log, NULL);
    const unsigned geometry = (unsigned)fuzz_take(&input, 1);
    static const uint32_t clusters[] = {512, 4096, 16384, 65536};
    const struct pv_disk_options options = {
        .size = DISK,
        .cluster_size = clusters[geometry & 3],
        .refcount_bits = geometry & 4 ? 16 : 1,
        .lazy_refcounts = geometry & 8,
        .extended_l2 = (geometry & 16) && (geometry & 2),
        .zstd = geometry & 32,
    };
    /* An open file description of its own for each opening, as locks are. */
    PV_CLEANUP_FD int fd = memfd_create("fuzz", MFD_CLOEXEC);
    FUZZ_REQUIRE(fd >= 0);
    struct pv_block_image *image;
    const struct pv_block_source raw = {.fd = dup(fd), .path = "fuzz"};
    FUZZ_REQUIRE(pv_block_raw.open(&image, &raw, NULL) == 0);
    FUZZ_REQUIRE(qcow2_format(image, &options, NULL) == 0);
    pv_block_image_close(image);
    image = open_copy(fd, "fuzz", false, false);
    FUZZ_REQUIRE(image);
    static char cluster[65536];
    FUZZ_REQUIRE(qcow2_write_packed((struct qcow2 *)image, 3, cluster) == 0);
    FUZZ_REQUIRE(pv_block_image_write(image, cluster, 3000, 500) == 0);
    pv_block_image_close(image);

    patch(fd, &input);
    const bool read_only = geometry & 64, repair = geometry & 128;
    image = open_copy(fd, "fuzz", read_only, repair);
    if (!image)
        return 0;
    struct qcow2_check result;
    if (image->size <= (UINT64_C(1) << 32) && repair)
        qcow2_check((struct qcow2 *)image, !read_only, &result, NULL);
    use(image, &input);
    pv_block_image_close(image);
    return 0;
}
