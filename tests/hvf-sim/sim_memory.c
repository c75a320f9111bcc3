/* SPDX-License-Identifier: MIT */
/*
 * Mappings: regions of the interpreter's address space, one for each run of pages that were mapped
 * together and have the same rights. What cannot be written is a ROM.
 */
#include "sim.h"

#include "base/util.h"
#include "host/mapping.h"

#include <stdlib.h>

#define GRANULE UINT64_C(0x4000)

struct mapping {
    struct mapping *next;
    uint64_t ipa, size;
    char *host;
    hv_memory_flags_t flags;
};

static struct mapping *mappings; /* sim.lock */

static void check(const char *what, uint64_t ipa, uint64_t size)
{
    if (!sim.vm)
        sim_broken("%s without a VM", what);
    if ((ipa | size) % GRANULE || !size)
        sim_broken("%s of %#llx, size %#llx: not pages of 16 KiB", what, (unsigned long long)ipa,
                   (unsigned long long)size);
}

static void add(uint64_t ipa, uint64_t size, char *host, hv_memory_flags_t flags)
{
    struct mapping *m = calloc(1, sizeof(*m));

    if (!size) {
        free(m);
        return;
    }
    *m = (struct mapping){mappings, ipa, size, host, flags};
    mappings = m;
    if (pv_as_add_host(sim.as, ipa, size, host, -1, 0,
                       flags & HV_MEMORY_WRITE ? PV_REGION_RAM : PV_REGION_ROM, NULL, NULL, "map",
                       NULL) < 0)
        sim_broken("hv_vm_map of %#llx: overlaps another mapping", (unsigned long long)ipa);
}

static void need_mapped(const char *what, uint64_t ipa, uint64_t size)
{
    uint64_t found = 0;

    for (const struct mapping *m = mappings; m; m = m->next) {
        const uint64_t start = PV_MAX(ipa, m->ipa), end = PV_MIN(ipa + size, m->ipa + m->size);
        found += start < end ? end - start : 0;
    }
    if (found != size)
        sim_broken("%s of %#llx, size %#llx: not mapped", what, (unsigned long long)ipa,
                   (unsigned long long)size);
}

/* Takes [ipa, ipa + size) out, or gives it new rights. */
static void change(uint64_t ipa, uint64_t size, bool keep, hv_memory_flags_t flags)
{
    for (struct mapping **at = &mappings; *at;) {
        struct mapping *m = *at;
        const uint64_t start = PV_MAX(ipa, m->ipa), end = PV_MIN(ipa + size, m->ipa + m->size);
        if (start >= end || (keep && m->flags == flags)) {
            at = &m->next;
            continue;
        }
        *at = m->next;
        pv_as_remove(sim.as, m->ipa);
        add(m->ipa, start - m->ipa, m->host, m->flags);
        add(end, m->ipa + m->size - end, m->host + (end - m->ipa), m->flags);
        if (keep)
            add(start, end - start, m->host + (start - m->ipa), flags);
        free(m);
        at = &mappings; /* additions are in front */
    }
}

hv_return_t hv_vm_map(void *address, hv_ipa_t ipa, size_t size, hv_memory_flags_t flags)
{
    check("hv_vm_map", ipa, size);
    if ((uintptr_t)address % pv_page_size())
        sim_broken("hv_vm_map of %p: not the host's pages", address);
    sim_stop_world();
    add(ipa, size, address, flags);
    sim_start_world();
    return HV_SUCCESS;
}

hv_return_t hv_vm_unmap(hv_ipa_t ipa, size_t size)
{
    check("hv_vm_unmap", ipa, size);
    sim_stop_world();
    need_mapped("hv_vm_unmap", ipa, size);
    change(ipa, size, false, 0);
    sim_start_world();
    return HV_SUCCESS;
}

hv_return_t hv_vm_protect(hv_ipa_t ipa, size_t size, hv_memory_flags_t flags)
{
    check("hv_vm_protect", ipa, size);
    sim_stop_world();
    need_mapped("hv_vm_protect", ipa, size);
    change(ipa, size, true, flags);
    sim_start_world();
    return HV_SUCCESS;
}

void sim_forget_mappings(void)
{
    while (mappings) {
        struct mapping *next = mappings->next;
        free(mappings);
        mappings = next;
    }
}
