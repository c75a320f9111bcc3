/* SPDX-License-Identifier: MIT */
/*
 * Memory is a POSIX shared memory object that has lost its name at once. The name is no use to
 * anyone, so it is made of the process and a counter's worth of luck.
 */
#include "host/mapping.h"

#include "base/checked.h"
#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define NAME_TRIES 16

size_t pv_page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static int open_nameless(void)
{
    for (int i = 0; i < NAME_TRIES; i++) {
        char name[32]; /* PSHMNAMLEN is 31 */
        uint64_t luck;
        if (getentropy(&luck, sizeof(luck)) < 0)
            return -1;
        snprintf(name, sizeof(name), "/pearvisor-%016llx", (unsigned long long)luck);
        int fd = shm_open(name, O_RDWR | O_CREAT | O_EXCL, 0600);
        if (fd >= 0) {
            shm_unlink(name);
            return fd;
        }
        if (errno != EEXIST)
            return -1;
    }
    return -1;
}

int pv_mapping_create(struct pv_mapping *mapping, const char *name, size_t size,
                      struct pv_error **err)
{
    *mapping = PV_MAPPING_INIT;
    PV_CLEANUP_FD int fd = open_nameless();
    if (fd < 0)
        return pv_error_errno(err, errno, "memory '%s': shm_open", name);
    if (ftruncate(fd, (off_t)size) < 0)
        return pv_error_errno(err, errno, "memory '%s': reserving %zu bytes", name, size);
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED)
        return pv_error_errno(err, errno, "memory '%s': mapping %zu bytes", name, size);
    mapping->data = data;
    mapping->size = size;
    mapping->fd = PV_STEAL_FD(fd);
    return 0;
}

void pv_mapping_destroy(struct pv_mapping *mapping)
{
    if (mapping->data)
        munmap(mapping->data, mapping->size);
    if (mapping->fd >= 0)
        close(mapping->fd);
    *mapping = PV_MAPPING_INIT;
}

int pv_mapping_discard(struct pv_mapping *mapping, size_t offset, size_t size)
{
    char *at = (char *)mapping->data + offset;
    if (!pv_range_ok(offset, size, mapping->size) || (offset | size) & (pv_page_size() - 1))
        return -EINVAL;
    /* Zeroed first: a page that the host does not take back keeps its contents. */
    memset(at, 0, size);
    return madvise(at, size, MADV_FREE_REUSABLE) < 0 ? -errno : 0;
}
