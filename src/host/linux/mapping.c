/* SPDX-License-Identifier: MIT */
#include "host/mapping.h"

#include "base/checked.h"
#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

size_t pv_page_size(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

int pv_mapping_create(struct pv_mapping *mapping, const char *name, size_t size,
                      struct pv_error **err)
{
    *mapping = PV_MAPPING_INIT;
    PV_CLEANUP_FD int fd = memfd_create(name, MFD_CLOEXEC);
    if (fd < 0)
        return pv_error_errno(err, errno, "memory '%s': memfd_create", name);
    if (ftruncate(fd, (off_t)size) < 0)
        return pv_error_errno(err, errno, "memory '%s': reserving %zu bytes", name, size);
    void *data = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
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
    if (!pv_range_ok(offset, size, mapping->size) || (offset | size) & (pv_page_size() - 1))
        return -EINVAL;
    if (fallocate(mapping->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)offset,
                  (off_t)size) < 0)
        return -errno;
    return 0;
}
