/* SPDX-License-Identifier: MIT */
/*
 * The address space as KVM memory slots. RAM and ROM are slots of their own; what is in no slot,
 * and writes to a ROM's, come back as MMIO exits. So does memory that KVM cannot take because it
 * does not sit on host pages: slow, and not executable, but right.
 */
#include "engine/kvm/kvm.h"

#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "host/mapping.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

static int set_slot(struct kvm *kvm, unsigned index, bool present)
{
    const struct kvm_slot *slot = &kvm->slots[index];
    struct kvm_userspace_memory_region region = {
        .slot = index,
        .guest_phys_addr = slot->region.address,
        .memory_size = present ? slot->region.size : 0,
        .userspace_addr = (uintptr_t)slot->region.host,
    };

    if (slot->region.kind == PV_REGION_ROM)
        region.flags = KVM_MEM_READONLY;
    else if (kvm->logging)
        region.flags = KVM_MEM_LOG_DIRTY_PAGES;
    return ioctl(kvm->vm, KVM_SET_USER_MEMORY_REGION, &region) < 0 ? -errno : 0;
}

/* A free slot; slots_lock held. */
static int new_slot(struct kvm *kvm)
{
    for (unsigned i = 0; i < kvm->slot_count; i++)
        if (!kvm->slots[i].used)
            return (int)i;
    struct kvm_slot *bigger = reallocarray(kvm->slots, kvm->slot_count + 1, sizeof(*bigger));
    if (!bigger)
        return -ENOMEM;
    kvm->slots = bigger;
    return (int)kvm->slot_count++;
}

static void region_added(void *opaque, const struct pv_region_info *region)
{
    struct kvm *kvm = opaque;
    const uint64_t page = pv_page_size();

    if (region->kind == PV_REGION_MMIO)
        return;
    if ((region->address | region->size | (uintptr_t)region->host) % page) {
        pv_debug(PV_LOG_ENGINE,
                 "memory region '%s' at %#" PRIx64 " is not made of the host's pages (%#" PRIx64
                 " bytes): the guest will find it slow, and cannot execute from it",
                 region->name, region->address, page);
        return;
    }
    pthread_mutex_lock(&kvm->slots_lock);
    int index = new_slot(kvm);
    int ret = index;
    if (index >= 0) {
        kvm->slots[index] = (struct kvm_slot){.used = true, .region = *region};
        ret = set_slot(kvm, (unsigned)index, true);
        kvm->slots[index].used = ret >= 0;
    }
    pthread_mutex_unlock(&kvm->slots_lock);
    if (ret < 0)
        pv_error_log(PV_LOG_ENGINE, "memory region '%s' at %#" PRIx64 ": KVM does not take it: %s",
                     region->name, region->address, strerror(-ret));
}

/* KVM returns when no vCPU uses the memory any more. */
static void region_removed(void *opaque, const struct pv_region_info *region)
{
    struct kvm *kvm = opaque;

    pthread_mutex_lock(&kvm->slots_lock);
    for (unsigned i = 0; i < kvm->slot_count; i++) {
        if (!kvm->slots[i].used || kvm->slots[i].region.address != region->address)
            continue;
        if (set_slot(kvm, i, false) < 0)
            pv_error_log(PV_LOG_ENGINE, "memory region '%s' does not go: %s", region->name,
                         strerror(errno));
        kvm->slots[i].used = false;
    }
    pthread_mutex_unlock(&kvm->slots_lock);
}

static void dirty_log_changed(void *opaque)
{
    struct kvm *kvm = opaque;

    pthread_mutex_lock(&kvm->slots_lock);
    const bool logging = pv_as_dirty_logging(kvm->engine->config.as);
    const bool changed = logging != kvm->logging;
    kvm->logging = logging;
    for (unsigned i = 0; changed && i < kvm->slot_count; i++) {
        const struct kvm_slot *slot = &kvm->slots[i];
        if (slot->used && slot->region.kind == PV_REGION_RAM && set_slot(kvm, i, true) < 0)
            pv_error_log(PV_LOG_ENGINE, "memory region '%s': KVM cannot log writes: %s",
                         slot->region.name, strerror(errno));
    }
    pthread_mutex_unlock(&kvm->slots_lock);
}

/* Whether a slot's log could be had: without it everything may have been written. */
static bool take_log(struct kvm *kvm, unsigned index)
{
    const struct pv_region_info *region = &kvm->slots[index].region;
    const uint64_t page = pv_page_size(), pages = region->size / page;
    PV_CLEANUP_FREE uint64_t *bitmap = calloc((pages + 63) / 64, sizeof(*bitmap));
    struct kvm_dirty_log log = {.slot = index, .dirty_bitmap = bitmap};

    if (!bitmap || ioctl(kvm->vm, KVM_GET_DIRTY_LOG, &log) < 0)
        return false;
    for (uint64_t i = 0; i < pages; i++) {
        if (!bitmap[i / 64])
            i |= 63; /* nothing in this word */
        else if (bitmap[i / 64] >> i % 64 & 1)
            pv_as_mark_dirty(kvm->engine->config.as, region->address + i * page, page);
    }
    return true;
}

static void dirty_log_sync(void *opaque, const struct pv_region_info *region)
{
    struct kvm *kvm = opaque;

    pthread_mutex_lock(&kvm->slots_lock);
    for (unsigned i = 0; kvm->logging && i < kvm->slot_count; i++) {
        if (!kvm->slots[i].used || kvm->slots[i].region.address != region->address)
            continue;
        if (!take_log(kvm, i))
            pv_as_mark_dirty(kvm->engine->config.as, region->address, region->size);
    }
    pthread_mutex_unlock(&kvm->slots_lock);
}

void kvm_memory_attach(struct kvm *kvm)
{
    pthread_mutex_init(&kvm->slots_lock, NULL);
    kvm->listener = (struct pv_as_listener){
        .added = region_added,
        .removed = region_removed,
        .dirty_log_changed = dirty_log_changed,
        .dirty_log_sync = dirty_log_sync,
        .opaque = kvm,
        .maps_memory = true,
    };
    kvm->logging = pv_as_dirty_logging(kvm->engine->config.as);
    pv_as_add_listener(kvm->engine->config.as, &kvm->listener);
}

void kvm_memory_detach(struct kvm *kvm)
{
    pv_as_remove_listener(kvm->engine->config.as, &kvm->listener);
    free(kvm->slots);
    pthread_mutex_destroy(&kvm->slots_lock);
}
