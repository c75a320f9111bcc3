/* SPDX-License-Identifier: MIT */
/*
 * A store is made beside its final name and linked there once it is whole and on disk, so that
 * nobody ever sees a part of one. Its lock is held as long as the descriptor is open.
 */
#include "machine/varstore.h"

#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

/* A firmware volume's header. */
enum {
    FV_GUID = 16,
    FV_LENGTH = 32,
    FV_SIGNATURE = 40,
    FV_HEADER_LENGTH = 48,
    FV_HEADER_MIN = 72, /* with one entry in its map of blocks, and the entry that ends it */
};

/* The variable store's header, which follows. */
enum {
    STORE_SIZE = 16,
    STORE_FORMAT = 20,
    STORE_STATE = 21,
    STORE_HEADER = 28,
    STORE_FORMATTED = 0x5a,
    STORE_HEALTHY = 0xfe,
};

static const uint8_t nv_volume_guid[16] = {0x8d, 0x2b, 0xf1, 0xff, 0x96, 0x76, 0x8b, 0x4c,
                                           0xa9, 0x85, 0x27, 0x47, 0x07, 0x5b, 0x4f, 0x50};

static uint64_t le(const uint8_t *p, unsigned bytes)
{
    uint64_t value = 0;

    for (unsigned i = 0; i < bytes; i++)
        value |= (uint64_t)p[i] << 8 * i;
    return value;
}

/* As Debian's template is, and erased flash: firmware formats it. */
static bool is_blank(const uint8_t *head)
{
    if (head[0] != 0 && head[0] != 0xff)
        return false;
    return memcmp(head, head + 1, PV_VARSTORE_HEAD - 1) == 0;
}

static const char *store_problem(const uint8_t *head, uint64_t size)
{
    uint64_t length = le(head + FV_LENGTH, 8), header = le(head + FV_HEADER_LENGTH, 2);
    uint16_t sum = 0;

    if (memcmp(head + FV_SIGNATURE, "_FVH", 4) != 0 ||
        memcmp(head + FV_GUID, nv_volume_guid, sizeof(nv_volume_guid)) != 0)
        return "no firmware volume for variables at its start";
    if (header < FV_HEADER_MIN || header % 2 || header > PV_VARSTORE_HEAD - STORE_HEADER)
        return "its volume header has an impossible length";
    for (uint64_t i = 0; i < header; i += 2)
        sum = (uint16_t)(sum + le(head + i, 2));
    if (sum)
        return "its volume header has a wrong checksum";
    if (length > size || length < header + STORE_HEADER)
        return "its volume is larger than the file";
    const uint8_t *store = head + header;
    if (store[STORE_FORMAT] != STORE_FORMATTED || store[STORE_STATE] != STORE_HEALTHY ||
        le(store + STORE_SIZE, 4) > length - header)
        return "its variable store is not formatted";
    return NULL;
}

int pv_varstore_check(const uint8_t *head, uint64_t size, const char *path, struct pv_error **err)
{
    const char *problem = is_blank(head) ? NULL : store_problem(head, size);

    if (problem)
        return pv_error_set(err, EINVAL,
                            "%s: not a UEFI variable store: %s; remove it to start with new "
                            "variables",
                            path, problem);
    return 0;
}

/* Copies what is not zero, so that the rest stays a hole. */
static int copy_template(int to, const char *template, uint64_t size, struct pv_error **err)
{
    static const uint8_t zeroes[64 * 1024];
    PV_CLEANUP_FD int from = open(template, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    PV_CLEANUP_FREE uint8_t *chunk = malloc(sizeof(zeroes));
    uint64_t at = 0;
    ssize_t n;

    if (from < 0)
        return pv_error_errno(err, errno, "template %s", template);
    if (!chunk)
        return pv_error_set(err, ENOMEM, "out of memory");
    while ((n = pread(from, chunk, sizeof(zeroes), (off_t)at)) > 0) {
        if (at + (uint64_t)n > size)
            return pv_error_set(err, EFBIG, "template %s: larger than %llu MiB", template,
                                (unsigned long long)(size / PV_MIB));
        if (memcmp(chunk, zeroes, (size_t)n) != 0 && pwrite(to, chunk, (size_t)n, (off_t)at) != n)
            return pv_error_set(err, EIO, "writing it failed");
        at += (uint64_t)n;
    }
    return n < 0 ? pv_error_errno(err, errno, "template %s", template) : 0;
}

static int fill_new(int fd, const char *template, uint64_t size, struct pv_error **err)
{
    int ret = template ? copy_template(fd, template, size, err) : 0;

    if (ret >= 0 && (ftruncate(fd, (off_t)size) < 0 || fsync(fd) < 0))
        ret = pv_error_errno(err, errno, "writing it");
    return ret;
}

static int make_store(const char *path, const char *template, uint64_t size, struct pv_error **err)
{
    PV_CLEANUP_FREE char *temporary = NULL;

    if (asprintf(&temporary, "%s.XXXXXX", path) < 0) {
        temporary = NULL;
        return pv_error_set(err, ENOMEM, "out of memory");
    }
    PV_CLEANUP_FD int fd = mkostemp(temporary, O_CLOEXEC);
    if (fd < 0)
        return pv_error_errno(err, errno, "making it");
    int ret = fill_new(fd, template, size, err);
    /* Another VM may have been faster: its store is as good. */
    if (ret >= 0 && link(temporary, path) < 0 && errno != EEXIST)
        ret = pv_error_errno(err, errno, "making it");
    unlink(temporary);
    return ret;
}

static int check_store(int fd, const char *path, bool uefi, uint64_t size, struct pv_error **err)
{
    uint8_t head[PV_VARSTORE_HEAD];
    struct stat st;

    if (fstat(fd, &st) < 0)
        return pv_error_errno(err, errno, "%s", path);
    if (!S_ISREG(st.st_mode))
        return pv_error_set(err, EINVAL, "%s: not a regular file", path);
    if ((uint64_t)st.st_size != size)
        return pv_error_set(err, EINVAL,
                            "%s: has %lld bytes; a variable store has %llu; remove it to start "
                            "with new variables",
                            path, (long long)st.st_size, (unsigned long long)size);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return pv_error_set(err, EBUSY, "%s: another VM uses these variables", path);
    if (!uefi)
        return 0;
    if (pread(fd, head, sizeof(head), 0) != (ssize_t)sizeof(head))
        return pv_error_set(err, EIO, "%s: cannot be read", path);
    return pv_varstore_check(head, size, path, err);
}

int pv_varstore_open(int *out, const char *path, const char *template, uint64_t size,
                     struct pv_error **err)
{
    PV_CLEANUP_FD int fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);

    if (fd < 0 && errno == ENOENT) {
        int ret = make_store(path, template, size, err);
        if (ret < 0) {
            pv_error_prefix(err, "%s", path);
            return ret;
        }
        fd = open(path, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    }
    if (fd < 0)
        return pv_error_errno(err, errno, "%s", path);
    int ret = check_store(fd, path, template, size, err);
    if (ret >= 0)
        *out = PV_STEAL_FD(fd);
    return ret;
}
