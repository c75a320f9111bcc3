/* SPDX-License-Identifier: MIT */
/*
 * What the kernel asks of a loader is in Documentation/arch/arm64/booting.rst: the Image at a 2 MiB
 * boundary plus text_offset with image_size bytes free, the device tree 8-byte aligned and no
 * larger than 2 MiB, the initrd in the same 1 GiB-aligned 32 GiB window.
 *
 * The order in RAM is that of QEMU: kernel at +2 MiB, initrd at the lesser of half of RAM and
 * +128 MiB (later if the kernel reaches that far), device tree at the next 2 MiB boundary.
 */
#include "machine/loader.h"

#include "base/checked.h"
#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

#define MIB2 (2 * PV_MIB)

#define IMAGE_HEADER    64u
#define IMAGE_MAGIC     UINT32_C(0x644d5241) /* "ARM\x64" at 56 */
#define IMAGE_FLAG_BE   1u
#define IMAGE_PAGE_MASK 6u
#define IMAGE_PAGE_4K   2u
#define ZBOOT_MAGIC     UINT32_C(0x676d697a) /* "zimg" at 4 */

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static uint64_t le64(const uint8_t *p)
{
    return le32(p) | (uint64_t)le32(p + 4) << 32;
}

int pv_loader_read_file(uint8_t **data, size_t *size, uint64_t max, const char *path,
                        struct pv_error **err)
{
    PV_CLEANUP_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    PV_CLEANUP_FREE uint8_t *buf = NULL;
    struct stat st;
    size_t got = 0;

    if (fd < 0 || fstat(fd, &st) < 0)
        return pv_error_errno(err, errno, "%s", path);
    if (!S_ISREG(st.st_mode))
        return pv_error_set(err, EINVAL, "%s: not a regular file", path);
    if ((uint64_t)st.st_size > max)
        return pv_error_set(err, EFBIG, "%s: larger than %llu MiB", path,
                            (unsigned long long)(max / PV_MIB));
    buf = malloc((size_t)st.st_size + 1);
    if (!buf)
        return pv_error_set(err, ENOMEM, "%s: out of memory to read it", path);
    while (got < (size_t)st.st_size) {
        ssize_t n = read(fd, buf + got, (size_t)st.st_size - got);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return pv_error_errno(err, errno, "%s", path);
        if (n == 0)
            break;
        got += (size_t)n;
    }
    *data = PV_STEAL(buf);
    *size = got;
    return 0;
}

/* ---- Formats ---- */

static bool is_gzip(const uint8_t *data, size_t size)
{
    return size >= 18 && data[0] == 0x1f && data[1] == 0x8b;
}

static bool is_zboot(const uint8_t *data, size_t size)
{
    return size >= IMAGE_HEADER && data[0] == 'M' && data[1] == 'Z' &&
           le32(data + 4) == ZBOOT_MAGIC;
}

static bool is_image(const uint8_t *data, size_t size)
{
    return size >= IMAGE_HEADER && le32(data + 56) == IMAGE_MAGIC;
}

/* What a file that is no arm64 kernel looks like, for the message. */
static const char *foreign(const uint8_t *data, size_t size)
{
    if (size == 0)
        return "it is empty";
    if (size > 0x206 && memcmp(data + 0x202, "HdrS", 4) == 0)
        return "it is an x86 kernel (bzImage)";
    if (size > 20 && memcmp(data, "\177ELF", 4) == 0) {
        switch (data[18] | data[19] << 8) {
        case 0x3e: return "it is an ELF file for x86-64";
        case 0xb7: return "it is an ELF file (vmlinux); take arch/arm64/boot/Image";
        default: return "it is an ELF file";
        }
    }
    if (size > 0x28 && le32(data + 0x24) == 0x016f2818)
        return "it is a 32-bit ARM kernel (zImage)";
    if (size > 4 && memcmp(data, "\x27\x05\x19\x56", 4) == 0)
        return "it is a U-Boot uImage";
    return "it is no kernel";
}

static int parse_image(struct pv_kernel *kernel, const char *name, struct pv_error **err)
{
    const uint8_t *header = kernel->data;

    if (!is_image(header, kernel->size))
        return pv_error_set(err, ENOEXEC,
                            "%s: not an arm64 Linux kernel: %s (an Image, Image.gz or EFI zboot "
                            "image is needed)",
                            name, foreign(kernel->data, kernel->size));
    uint64_t flags = le64(header + 24);
    kernel->text_offset = le64(header + 8);
    kernel->image_size = le64(header + 16);
    if (flags & IMAGE_FLAG_BE)
        return pv_error_set(err, ENOEXEC, "%s: a big-endian kernel; little-endian is needed", name);
    if ((flags & IMAGE_PAGE_MASK) != IMAGE_PAGE_4K && (flags & IMAGE_PAGE_MASK))
        return pv_error_set(err, ENOEXEC, "%s: a kernel of 16 or 64 KiB pages; 4 KiB are needed",
                            name);
    if (kernel->image_size == 0) /* before Linux 3.17, when text_offset was fixed too */
        kernel->text_offset = 0x80000;
    kernel->image_size = PV_MAX(kernel->image_size, (uint64_t)kernel->size);
    if (kernel->image_size > PV_LOADER_MAX_IMAGE || kernel->text_offset >= MIB2 ||
        kernel->text_offset % 4096)
        return pv_error_set(err, ENOEXEC, "%s: a damaged kernel header", name);
    return 0;
}

/* The name's field has 32 bytes, in a header that is_zboot() found whole. */
static bool zboot_type_is(const uint8_t *data, const char *type)
{
    return memcmp(data + 24, type, strlen(type) + 1) == 0;
}

static int unpack_zboot(uint8_t **out, size_t *out_size, const uint8_t *data, size_t size,
                        struct pv_error **err)
{
    uint32_t offset = le32(data + 8), length = le32(data + 12);

    if (!pv_range_ok(offset, length, size))
        return pv_error_set(err, EINVAL, "the EFI zboot file is cut short");
    if (zboot_type_is(data, "gzip"))
        return pv_loader_gunzip(out, out_size, data + offset, length, err);
    if (zboot_type_is(data, "zstd") || zboot_type_is(data, "zstd22"))
        return pv_loader_unzstd(out, out_size, data + offset, length, err);
    return pv_error_set(err, ENOTSUP, "EFI zboot compression '%.8s'; gzip and zstd are known",
                        (const char *)data + 24);
}

int pv_kernel_parse(struct pv_kernel *kernel, const uint8_t *data, size_t size, const char *name,
                    struct pv_error **err)
{
    int ret = 0;

    *kernel = (struct pv_kernel){0};
    if (is_zboot(data, size)) {
        ret = unpack_zboot(&kernel->data, &kernel->size, data, size, err);
    } else if (is_gzip(data, size)) {
        ret = pv_loader_gunzip(&kernel->data, &kernel->size, data, size, err);
    } else {
        kernel->data = malloc(size + 1);
        if (!kernel->data)
            return pv_error_set(err, ENOMEM, "%s: out of memory", name);
        memcpy(kernel->data, data, size);
        kernel->size = size;
    }
    if (ret < 0)
        return pv_error_prefix(err, "%s", name);
    ret = parse_image(kernel, name, err);
    if (ret < 0)
        pv_kernel_finish(kernel);
    return ret;
}

int pv_kernel_open(struct pv_kernel *kernel, const char *path, struct pv_error **err)
{
    PV_CLEANUP_FREE uint8_t *data = NULL;
    size_t size;

    *kernel = (struct pv_kernel){0};
    int ret = pv_loader_read_file(&data, &size, PV_LOADER_MAX_IMAGE, path, err);
    return ret < 0 ? ret : pv_kernel_parse(kernel, data, size, path, err);
}

void pv_kernel_finish(struct pv_kernel *kernel)
{
    free(kernel->data);
    *kernel = (struct pv_kernel){0};
}

/* ---- Placement ---- */

int pv_loader_place(struct pv_boot_layout *layout, uint64_t ram_base, uint64_t ram_size,
                    const struct pv_kernel *kernel, uint64_t initrd_size, struct pv_error **err)
{
    uint64_t kernel_end = MIB2 + kernel->text_offset + kernel->image_size;
    uint64_t initrd = PV_MAX(pv_align_up(kernel_end, MIB2), PV_MIN(ram_size / 2, 128 * PV_MIB));
    uint64_t fdt, end;

    initrd = pv_align_up(initrd, MIB2);
    if (initrd_size > 32 * PV_GIB)
        return pv_error_set(err, EFBIG, "the initrd is larger than 32 GiB");
    fdt = pv_align_up(initrd + initrd_size, MIB2);
    end = fdt + PV_LOADER_FDT_ROOM;
    if (end > ram_size) {
        /* Close together, as RAM that is just enough would have it. */
        initrd = pv_align_up(kernel_end, MIB2);
        fdt = pv_align_up(initrd + initrd_size, MIB2);
        end = fdt + PV_LOADER_FDT_ROOM;
    }
    if (end > ram_size)
        return pv_error_set(err, ENOSPC,
                            "%llu MiB of memory are too little: kernel and initrd need at least "
                            "%llu MiB",
                            (unsigned long long)(ram_size / PV_MIB),
                            (unsigned long long)(end / PV_MIB));
    layout->kernel = ram_base + MIB2 + kernel->text_offset;
    layout->initrd = initrd_size ? ram_base + initrd : 0;
    layout->initrd_size = initrd_size;
    layout->fdt = ram_base + fdt;
    return 0;
}
