/* SPDX-License-Identifier: MIT */
#include "gpu/memory.h"

#include <errno.h>

#include "base/error.h"
#include "base/util.h"

int pv_gpu_memory_create(struct pv_gpu_memory **out, uint64_t size, uint32_t map_info,
                         struct pv_error **err)
{
    struct pv_gpu_memory *memory = calloc(1, sizeof(*memory));
    if (!memory)
        return pv_error_set(err, ENOMEM, "out of memory");
    memory->mapping = PV_MAPPING_INIT;
    memory->map_info = map_info;
    atomic_init(&memory->refs, 1);
    int ret = pv_mapping_create(&memory->mapping, "pearvisor-gpu",
                                pv_align_up(size, pv_page_size()), err);
    if (ret < 0) {
        free(memory);
        return ret;
    }
    *out = memory;
    return 0;
}

void pv_gpu_memory_wrap(struct pv_gpu_memory *memory, void *data, uint64_t size, uint32_t map_info,
                        void (*release)(struct pv_gpu_memory *memory))
{
    memory->mapping = PV_MAPPING_INIT;
    memory->mapping.data = data;
    memory->mapping.size = size;
    memory->map_info = map_info;
    memory->release = release;
    atomic_init(&memory->refs, 1);
}

struct pv_gpu_memory *pv_gpu_memory_ref(struct pv_gpu_memory *memory)
{
    atomic_fetch_add_explicit(&memory->refs, 1, memory_order_relaxed);
    return memory;
}

void pv_gpu_memory_unref(struct pv_gpu_memory *memory)
{
    if (!memory || atomic_fetch_sub_explicit(&memory->refs, 1, memory_order_acq_rel) != 1)
        return;
    if (memory->account)
        atomic_fetch_sub(&memory->account->used, memory->mapping.size);
    if (memory->release) {
        memory->release(memory);
        return;
    }
    pv_mapping_destroy(&memory->mapping);
    free(memory);
}

int pv_gpu_memory_charge(struct pv_gpu_memory *memory, struct pv_gpu_account *account,
                         struct pv_error **err)
{
    uint64_t size = memory->mapping.size;
    if (!account)
        return 0;
    uint64_t used = atomic_fetch_add(&account->used, size) + size;
    if (account->max && (used > account->max || used < size)) {
        atomic_fetch_sub(&account->used, size);
        return pv_error_set(err, ENOMEM, "%llu bytes are too much: at most %llu in all",
                            (unsigned long long)size, (unsigned long long)account->max);
    }
    memory->account = account;
    return 0;
}

void pv_gpu_memory_describe(const struct pv_gpu_memory *memory, struct pv_renderer_mapping *out)
{
    *out = (struct pv_renderer_mapping){
        .host = memory->mapping.data,
        .size = memory->mapping.size,
        .fd = memory->mapping.fd,
        .map_info = memory->map_info,
    };
}
