/* SPDX-License-Identifier: MIT */
/*
 * RAM and ROM as mappings of the VM. The framework maps whole pages of 16 KiB; regions that are not
 * made of such are left out, and reached by exits like devices: slow and not executable, but right.
 *
 * The dirty log write-protects RAM. The first write to a page exits; it is marked, the page is
 * opened, and the instruction runs again. Protecting anew comes after the log was read and before
 * the reader sees the pages, so that a write is either in what he reads or in the next log.
 */
#include "engine/hvf/hvf.h"

#include "base/log.h"
#include "base/util.h"
#include "host/mapping.h"

#include <inttypes.h>

#define GRANULE UINT64_C(0x4000)

/* Whether the framework takes it. */
static bool mappable(const struct pv_region_info *region)
{
    return region->kind != PV_REGION_MMIO && !((region->address | region->size) % GRANULE) &&
           !((uintptr_t)region->host % pv_page_size());
}

static void region_added(void *opaque, const struct pv_region_info *region)
{
    struct hvf *hvf = opaque;
    hv_memory_flags_t flags = HV_MEMORY_READ | HV_MEMORY_EXEC;

    if (!mappable(region)) {
        if (region->kind != PV_REGION_MMIO)
            pv_debug(PV_LOG_ENGINE,
                     "memory region '%s' at %#" PRIx64 " is not made of pages of 16 KiB: the guest "
                     "will find it slow, and cannot execute from it",
                     region->name, region->address);
        return;
    }
    if (region->kind == PV_REGION_RAM && !pv_as_dirty_logging(hvf->engine->config.as))
        flags |= HV_MEMORY_WRITE;
    hv_return_t ret = hv_vm_map(region->host, region->address, region->size, flags);
    if (ret != HV_SUCCESS)
        pv_error_log(PV_LOG_ENGINE, "memory region '%s' at %#" PRIx64 ": hv_vm_map: %#x",
                     region->name, region->address, (unsigned)ret);
}

static void region_removed(void *opaque, const struct pv_region_info *region)
{
    (void)opaque;
    if (mappable(region) && hv_vm_unmap(region->address, region->size) != HV_SUCCESS)
        pv_error_log(PV_LOG_ENGINE, "memory region '%s' at %#" PRIx64 " does not go", region->name,
                     region->address);
}

static void dirty_log_changed(void *opaque)
{
    struct hvf *hvf = opaque;
    struct pv_address_space *as = hvf->engine->config.as;
    struct pv_region_info region;
    uint64_t address = 0;

    pthread_mutex_lock(&hvf->lock);
    const hv_memory_flags_t flags =
        HV_MEMORY_READ | HV_MEMORY_EXEC | (pv_as_dirty_logging(as) ? 0 : HV_MEMORY_WRITE);
    while (pv_as_next(as, address, &region)) {
        if (region.kind == PV_REGION_RAM && mappable(&region))
            hv_vm_protect(region.address, region.size, flags);
        if (__builtin_add_overflow(region.address, region.size, &address))
            break;
    }
    pthread_mutex_unlock(&hvf->lock);
}

bool hvf_memory_write_logged(struct hvf *hvf, uint64_t address)
{
    struct pv_address_space *as = hvf->engine->config.as;
    const uint64_t page = pv_align_down(address, GRANULE);
    struct pv_region_info region;
    bool found;

    pthread_mutex_lock(&hvf->lock);
    found = pv_as_find(as, address, &region) && region.kind == PV_REGION_RAM && mappable(&region);
    if (found) {
        pv_as_mark_dirty(as, page, GRANULE);
        hv_vm_protect(page, GRANULE, HV_MEMORY_READ | HV_MEMORY_WRITE | HV_MEMORY_EXEC);
    }
    pthread_mutex_unlock(&hvf->lock);
    return found;
}

void hvf_memory_attach(struct hvf *hvf)
{
    pthread_mutex_init(&hvf->lock, NULL);
    hvf->listener = (struct pv_as_listener){
        .added = region_added,
        .removed = region_removed,
        .dirty_log_changed = dirty_log_changed,
        .opaque = hvf,
        .maps_memory = true,
    };
    pv_as_add_listener(hvf->engine->config.as, &hvf->listener);
}

void hvf_memory_detach(struct hvf *hvf)
{
    struct pv_address_space *as = hvf->engine->config.as;
    struct pv_region_info region;
    uint64_t address = 0;

    pv_as_remove_listener(as, &hvf->listener);
    while (pv_as_next(as, address, &region)) {
        region_removed(hvf, &region);
        if (__builtin_add_overflow(region.address, region.size, &address))
            break;
    }
    pthread_mutex_destroy(&hvf->lock);
}
