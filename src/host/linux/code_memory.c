/* SPDX-License-Identifier: MIT */
#include "host/code_memory.h"

#include "base/error.h"
#include "base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>

int pv_code_memory_create(struct pv_code_memory *memory, size_t size, struct pv_error **err)
{
    *memory = (struct pv_code_memory){0};
    PV_CLEANUP_FD int fd = memfd_create("pearvisor-code", MFD_CLOEXEC);
    if (fd < 0)
        return pv_error_errno(err, errno, "code memory: memfd_create");
    if (ftruncate(fd, (off_t)size) < 0)
        return pv_error_errno(err, errno, "code memory: reserving %zu bytes", size);
    void *write = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (write == MAP_FAILED)
        return pv_error_errno(err, errno, "code memory: mapping %zu bytes to write", size);
    void *exec = mmap(NULL, size, PROT_READ | PROT_EXEC, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (exec == MAP_FAILED) {
        int code = errno;
        munmap(write, size);
        return pv_error_errno(err, code, "code memory: mapping %zu bytes to execute", size);
    }
    *memory = (struct pv_code_memory){.write = write, .exec = exec, .size = size};
    return 0;
}

void pv_code_memory_destroy(struct pv_code_memory *memory)
{
    if (!memory->write)
        return;
    munmap(memory->write, memory->size);
    munmap((void *)(uintptr_t)memory->exec, memory->size);
    *memory = (struct pv_code_memory){0};
}
