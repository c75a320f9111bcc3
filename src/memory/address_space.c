/* SPDX-License-Identifier: MIT */
/*
 * Regions live in an immutable sorted array that is replaced whole when the map changes, so a
 * lookup is a binary search over memory nobody writes to. Readers take a rwlock only for the
 * lookup and for copying: MMIO handlers run without it, because a write to a PCI BAR changes the
 * map from inside a handler. What keeps a region's backing alive beyond the lookup is its owner:
 * RAM of the address space's own stays until that goes. Other memory (a GPU's blob) may go at any
 * time: engines are stopped from using it through the listeners, copies hold off its removal by the
 * lock, and devices, which keep pointers for as long as they like, get none into it (pv_as_ram()).
 */
#include "memory/address_space.h"

#include "base/checked.h"
#include "base/error.h"
#include "base/log.h"
#include "base/util.h"
#include "host/mapping.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#define MAX_WINDOWS 4u

struct region {
    struct pv_region_info info;
    struct pv_mapping mapping; /* owned RAM only */
    const struct pv_mmio_ops *ops;
    void *opaque;
    _Atomic uint64_t *dirty; /* RAM, once logging was on; NULL before */
};

struct window {
    uint64_t address, size;
};

struct pv_address_space {
    pthread_rwlock_t lock;   /* protects regions and count; never held while calling out */
    struct region **regions; /* sorted by address */
    size_t count;
    pthread_mutex_t listener_lock; /* protects listeners; taken before `lock` */
    struct pv_as_listener *listeners;
    struct window windows[MAX_WINDOWS]; /* constant once vCPUs run */
    size_t window_count;
    _Atomic bool dirty_logging;
    const struct pv_as_filler *_Atomic filler; /* or NULL: all memory is there */
};

int pv_as_create(struct pv_address_space **out, struct pv_error **err)
{
    struct pv_address_space *as = calloc(1, sizeof(*as));
    if (!as)
        return pv_error_set(err, ENOMEM, "address space: out of memory");
    pthread_rwlock_init(&as->lock, NULL);
    pthread_mutex_init(&as->listener_lock, NULL);
    *out = as;
    return 0;
}

static void region_free(struct region *region)
{
    pv_mapping_destroy(&region->mapping);
    free((void *)region->dirty);
    free(region);
}

void pv_as_destroy(struct pv_address_space *as)
{
    if (!as)
        return;
    for (size_t i = 0; i < as->count; i++)
        region_free(as->regions[i]);
    free(as->regions);
    pthread_rwlock_destroy(&as->lock);
    pthread_mutex_destroy(&as->listener_lock);
    free(as);
}

/* Index of the first region that ends beyond `address`; count when none does. Lock held. */
static size_t lower_bound(const struct pv_address_space *as, uint64_t address)
{
    size_t lo = 0, hi = as->count;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        const struct pv_region_info *info = &as->regions[mid]->info;
        if (info->address + (info->size - 1) < address)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static struct region *find_locked(const struct pv_address_space *as, uint64_t address)
{
    size_t i = lower_bound(as, address);
    return i < as->count && as->regions[i]->info.address <= address ? as->regions[i] : NULL;
}

/*
 * Copies what is known of the region that holds `address`: the region itself may be removed, by a
 * guest that moves a BAR while another vCPU uses it, as soon as the lock is dropped.
 */
static bool find(struct pv_address_space *as, uint64_t address, struct region *found)
{
    pthread_rwlock_rdlock(&as->lock);
    const struct region *region = find_locked(as, address);
    if (region)
        *found = *region;
    pthread_rwlock_unlock(&as->lock);
    return region;
}

static size_t dirty_words(const struct region *region)
{
    return (size_t)((region->info.size / PV_GUEST_PAGE + 63) / 64);
}

static int dirty_alloc(struct region *region)
{
    if (region->dirty)
        return 0;
    region->dirty = calloc(dirty_words(region), sizeof(*region->dirty));
    return region->dirty ? 0 : -ENOMEM;
}

static int check_extent(const struct pv_region_info *info, struct pv_error **err)
{
    uint64_t end;
    if (!info->size || (info->address | info->size) % PV_GUEST_PAGE ||
        !pv_add_ok(info->address, info->size - 1, &end))
        return pv_error_set(err, EINVAL,
                            "memory region '%s' at %#" PRIx64 ", size %#" PRIx64
                            ": must be whole 4 KiB pages",
                            info->name, info->address, info->size);
    return 0;
}

static int insert_locked(struct pv_address_space *as, struct region *region, struct pv_error **err)
{
    const struct pv_region_info *info = &region->info;
    size_t at = lower_bound(as, info->address);
    if (at < as->count && as->regions[at]->info.address <= info->address + (info->size - 1)) {
        const struct pv_region_info *other = &as->regions[at]->info;
        return pv_error_set(err, EEXIST,
                            "memory region '%s' at %#" PRIx64 " overlaps '%s' at %#" PRIx64,
                            info->name, info->address, other->name, other->address);
    }
    /* Under the lock, so that a log switched on meanwhile finds the region or this finds the log.
     */
    bool logged = info->kind != PV_REGION_RAM || !as->dirty_logging || dirty_alloc(region) >= 0;
    struct region **bigger =
        logged ? realloc(as->regions, (as->count + 1) * sizeof(as->regions[0])) : NULL;
    if (!bigger)
        return pv_error_set(err, ENOMEM, "memory region '%s': out of memory", info->name);
    memmove(bigger + at + 1, bigger + at, (as->count - at) * sizeof(bigger[0]));
    bigger[at] = region;
    as->regions = bigger;
    as->count++;
    return 0;
}

/* Takes over `region`, also on failure. */
static int insert(struct pv_address_space *as, struct region *region, struct pv_error **err)
{
    const struct pv_region_info copy = region->info;
    int ret = check_extent(&copy, err);
    if (ret < 0) {
        region_free(region);
        return ret;
    }
    pthread_rwlock_wrlock(&as->lock);
    ret = insert_locked(as, region, err);
    pthread_rwlock_unlock(&as->lock);
    if (ret < 0) {
        region_free(region);
        return ret;
    }

    pthread_mutex_lock(&as->listener_lock);
    for (struct pv_as_listener *l = as->listeners; l; l = l->next)
        if (l->added)
            l->added(l->opaque, &copy);
    pthread_mutex_unlock(&as->listener_lock);
    return 0;
}

static struct region *region_new(uint64_t address, uint64_t size, enum pv_region_kind kind,
                                 const char *name, struct pv_error **err)
{
    struct region *region = calloc(1, sizeof(*region));
    if (!region) {
        pv_error_set(err, ENOMEM, "memory region '%s': out of memory", name);
        return NULL;
    }
    region->mapping = PV_MAPPING_INIT;
    region->info = (struct pv_region_info){
        .address = address, .size = size, .kind = kind, .fd = -1, .name = name};
    return region;
}

int pv_as_add_ram(struct pv_address_space *as, uint64_t address, uint64_t size, const char *name,
                  struct pv_error **err)
{
    struct region *region = region_new(address, size, PV_REGION_RAM, name, err);
    if (!region)
        return -ENOMEM;
    int ret = pv_mapping_create(&region->mapping, name, pv_align_up(size, pv_page_size()), err);
    if (ret < 0) {
        region_free(region);
        return ret;
    }
    region->info.host = region->mapping.data;
    region->info.fd = region->mapping.fd;
    return insert(as, region, err);
}

int pv_as_add_host(struct pv_address_space *as, uint64_t address, uint64_t size, void *host, int fd,
                   uint64_t fd_offset, enum pv_region_kind kind, const struct pv_mmio_ops *ops,
                   void *opaque, const char *name, struct pv_error **err)
{
    struct region *region = region_new(address, size, kind, name, err);
    if (!region)
        return -ENOMEM;
    region->info.host = host;
    region->info.shared = true;
    region->info.fd = fd;
    region->info.fd_offset = fd_offset;
    region->ops = ops;
    region->opaque = opaque;
    return insert(as, region, err);
}

int pv_as_add_mmio(struct pv_address_space *as, uint64_t address, uint64_t size,
                   const struct pv_mmio_ops *ops, void *opaque, const char *name,
                   struct pv_error **err)
{
    struct region *region = region_new(address, size, PV_REGION_MMIO, name, err);
    if (!region)
        return -ENOMEM;
    region->ops = ops;
    region->opaque = opaque;
    return insert(as, region, err);
}

int pv_as_add_window(struct pv_address_space *as, uint64_t address, uint64_t size,
                     struct pv_error **err)
{
    if (as->window_count == MAX_WINDOWS)
        return pv_error_set(err, ENOSPC, "address space: at most %u windows", MAX_WINDOWS);
    as->windows[as->window_count++] = (struct window){address, size};
    return 0;
}

int pv_as_remove(struct pv_address_space *as, uint64_t address)
{
    pthread_rwlock_wrlock(&as->lock);
    size_t at = lower_bound(as, address);
    if (at >= as->count || as->regions[at]->info.address != address) {
        pthread_rwlock_unlock(&as->lock);
        return -ENOENT;
    }
    struct region *region = as->regions[at];
    memmove(as->regions + at, as->regions + at + 1, (as->count - at - 1) * sizeof(as->regions[0]));
    as->count--;
    pthread_rwlock_unlock(&as->lock);

    /* Without the lock: an engine may wait here for vCPUs that are looking a region up. */
    pthread_mutex_lock(&as->listener_lock);
    for (struct pv_as_listener *l = as->listeners; l; l = l->next)
        if (l->removed)
            l->removed(l->opaque, &region->info);
    pthread_mutex_unlock(&as->listener_lock);
    region_free(region);
    return 0;
}

bool pv_as_find(struct pv_address_space *as, uint64_t address, struct pv_region_info *info)
{
    pthread_rwlock_rdlock(&as->lock);
    const struct region *region = find_locked(as, address);
    if (region)
        *info = region->info;
    pthread_rwlock_unlock(&as->lock);
    return region;
}

bool pv_as_next(struct pv_address_space *as, uint64_t address, struct pv_region_info *info)
{
    pthread_rwlock_rdlock(&as->lock);
    size_t i = lower_bound(as, address);
    bool found = i < as->count;
    if (found)
        *info = as->regions[i]->info;
    pthread_rwlock_unlock(&as->lock);
    return found;
}

void pv_as_add_listener(struct pv_address_space *as, struct pv_as_listener *listener)
{
    pthread_mutex_lock(&as->listener_lock);
    listener->next = as->listeners;
    as->listeners = listener;
    struct pv_region_info info;
    uint64_t address = 0;
    while (listener->added && pv_as_next(as, address, &info)) {
        listener->added(listener->opaque, &info);
        if (!pv_add_ok(info.address, info.size, &address))
            break;
    }
    pthread_mutex_unlock(&as->listener_lock);
}

void pv_as_remove_listener(struct pv_address_space *as, struct pv_as_listener *listener)
{
    pthread_mutex_lock(&as->listener_lock);
    for (struct pv_as_listener **l = &as->listeners; *l; l = &(*l)->next) {
        if (*l == listener) {
            *l = listener->next;
            break;
        }
    }
    pthread_mutex_unlock(&as->listener_lock);
}

static void tell_dirty_log_changed(struct pv_address_space *as)
{
    pthread_mutex_lock(&as->listener_lock);
    for (struct pv_as_listener *l = as->listeners; l; l = l->next)
        if (l->dirty_log_changed)
            l->dirty_log_changed(l->opaque);
    pthread_mutex_unlock(&as->listener_lock);
}

static void tell_dirty_log_sync(struct pv_address_space *as, const struct pv_region_info *region)
{
    pthread_mutex_lock(&as->listener_lock);
    for (struct pv_as_listener *l = as->listeners; l; l = l->next)
        if (l->dirty_log_sync)
            l->dirty_log_sync(l->opaque, region);
    pthread_mutex_unlock(&as->listener_lock);
}

/* ---- Memory that comes when it is wanted ---- */

int pv_as_set_filler(struct pv_address_space *as, const struct pv_as_filler *filler)
{
    bool mapped = false;

    pthread_mutex_lock(&as->listener_lock);
    for (struct pv_as_listener *l = as->listeners; l && filler; l = l->next)
        mapped |= l->maps_memory;
    pthread_mutex_unlock(&as->listener_lock);
    if (mapped)
        return -ENOTSUP;
    atomic_store_explicit(&as->filler, filler, memory_order_release);
    return 0;
}

bool pv_as_filling(const struct pv_address_space *as)
{
    return atomic_load_explicit(&as->filler, memory_order_relaxed);
}

int pv_as_touch(struct pv_address_space *as, uint64_t address, uint64_t len)
{
    const struct pv_as_filler *filler = atomic_load_explicit(&as->filler, memory_order_acquire);
    return PV_UNLIKELY(filler) ? filler->fill(filler->opaque, address, len) : 0;
}

/* ---- Checked access ---- */

static void mark_region(const struct region *region, uint64_t offset, uint64_t len)
{
    if (!region->dirty || !len)
        return;
    uint64_t last = (offset + len - 1) / PV_GUEST_PAGE;
    for (uint64_t page = offset / PV_GUEST_PAGE; page <= last; page++)
        atomic_fetch_or_explicit(&region->dirty[page / 64], UINT64_C(1) << page % 64,
                                 memory_order_relaxed);
}

/*
 * The host pointer for as much of [address, address + *len) as one region holds; *len is cut to
 * that. NULL when the first byte is not memory. Lock held, and kept while the pointer is used.
 */
static void *span_locked(struct pv_address_space *as, uint64_t address, size_t *len, bool write)
{
    const struct region *region = find_locked(as, address);
    if (!region || region->info.kind == PV_REGION_MMIO ||
        (write && region->info.kind == PV_REGION_ROM))
        return NULL;
    uint64_t offset = address - region->info.address;
    *len = (size_t)PV_MIN((uint64_t)*len, region->info.size - offset);
    if (write && as->dirty_logging)
        mark_region(region, offset, *len);
    return (char *)region->info.host + offset;
}

/* What goes where: guest memory to `to`, or with `write` into it from `from`, else all `byte`. */
struct copy {
    bool write;
    char *to;
    const char *from;
    uint8_t byte;
};

static int copy_range(struct pv_address_space *as, uint64_t address, size_t len, struct copy copy)
{
    size_t done = 0;
    int ret = pv_as_touch(as, address, len);
    if (ret < 0)
        return ret;
    pthread_rwlock_rdlock(&as->lock);
    while (done < len) {
        size_t part = len - done;
        char *host = span_locked(as, address + done, &part, copy.write);
        if (!host) {
            ret = -EFAULT;
            break;
        }
        if (!copy.write)
            memcpy(copy.to + done, host, part);
        else if (copy.from)
            memcpy(host, copy.from + done, part);
        else
            memset(host, copy.byte, part);
        done += part;
    }
    pthread_rwlock_unlock(&as->lock);
    return ret;
}

int pv_as_read(struct pv_address_space *as, uint64_t address, void *buf, size_t len)
{
    return copy_range(as, address, len, (struct copy){.to = buf});
}

int pv_as_write(struct pv_address_space *as, uint64_t address, const void *buf, size_t len)
{
    return copy_range(as, address, len, (struct copy){.from = buf, .write = true});
}

int pv_as_fill(struct pv_address_space *as, uint64_t address, uint8_t byte, size_t len)
{
    return copy_range(as, address, len, (struct copy){.byte = byte, .write = true});
}

/* The pointer of pv_as_host() and pv_as_ram(). */
static void *host_of(struct pv_address_space *as, uint64_t address, size_t len, bool write,
                     bool lasting)
{
    struct region region;
    if (!find(as, address, &region) || region.info.kind == PV_REGION_MMIO ||
        (write && region.info.kind == PV_REGION_ROM) || (lasting && !region.mapping.data))
        return NULL;
    uint64_t offset = address - region.info.address;
    if (!pv_range_ok(offset, len, region.info.size) || pv_as_touch(as, address, len) < 0)
        return NULL;
    if (write && as->dirty_logging)
        mark_region(&region, offset, len);
    return (char *)region.info.host + offset;
}

void *pv_as_host(struct pv_address_space *as, uint64_t address, size_t len, bool write)
{
    return host_of(as, address, len, write, false);
}

void *pv_as_ram(struct pv_address_space *as, uint64_t address, size_t len, bool write)
{
    return host_of(as, address, len, write, true);
}

int pv_as_discard(struct pv_address_space *as, uint64_t address, uint64_t len, uint64_t *returned)
{
    const uint64_t page = pv_page_size();
    uint64_t end, at = address;
    struct region region;
    *returned = 0;
    if (!pv_add_ok(address, len, &end))
        return -EFAULT;
    for (; at < end; at = region.info.address + region.info.size)
        if (!find(as, at, &region) || region.info.kind != PV_REGION_RAM)
            return -EFAULT;
    /* What comes later would undo it. */
    int ret = pv_as_touch(as, address, len);
    if (ret < 0)
        return ret;
    for (at = address; at < end; at = region.info.address + region.info.size) {
        if (!find(as, at, &region))
            return -EFAULT;
        uint64_t stop = PV_MIN(end, region.info.address + region.info.size) - region.info.address;
        uint64_t from = pv_align_up(at - region.info.address, page);
        uint64_t to = pv_align_down(stop, page);
        if (!region.mapping.data || from >= to)
            continue;
        if (as->dirty_logging)
            mark_region(&region, from, to - from);
        ret = pv_mapping_discard(&region.mapping, (size_t)from, (size_t)(to - from));
        if (ret < 0)
            return ret;
        *returned += to - from;
    }
    return 0;
}

/* ---- vCPU access ---- */

static uint64_t load_le(const void *host, unsigned size)
{
    uint64_t value = 0;
    memcpy(&value, host, size);
    return value;
}

/* Where no region is. */
static int access_nothing(const struct pv_address_space *as, uint64_t address, unsigned size)
{
    for (size_t i = 0; i < as->window_count; i++) {
        const struct window *window = &as->windows[i];
        if (address >= window->address &&
            pv_range_ok(address - window->address, size, window->size))
            return 0;
    }
    return -EFAULT;
}

/*
 * Accesses memory at once, under the lock that keeps it there; MMIO is left to the caller, with
 * *device filled in. -EFAULT when the access is not inside one region.
 */
static int access_memory(struct pv_address_space *as, uint64_t address, unsigned size,
                         uint64_t *value, bool write, struct region *device)
{
    *device = (struct region){0};
    if (pv_as_touch(as, address, size) < 0)
        return -EFAULT;
    pthread_rwlock_rdlock(&as->lock);
    const struct region *region = find_locked(as, address);
    uint64_t offset = region ? address - region->info.address : 0;
    int ret = region && pv_range_ok(offset, size, region->info.size) ? 0 : -EFAULT;
    if (ret == 0) {
        char *host = region->info.host; /* a device has none */
        *device = *region;
        if (host && !write) {
            *value = load_le(host + offset, size);
        } else if (host && region->info.kind == PV_REGION_RAM) {
            memcpy(host + offset, value, size);
            if (as->dirty_logging)
                mark_region(region, offset, size);
        }
    } else if (!region) {
        ret = access_nothing(as, address, size);
        if (!write)
            *value = 0;
    }
    pthread_rwlock_unlock(&as->lock);
    return ret;
}

int pv_as_cpu_read(struct pv_address_space *as, uint64_t address, unsigned size, uint64_t *value)
{
    struct region region;
    int ret = access_memory(as, address, size, value, false, &region);
    if (ret == 0 && region.info.kind == PV_REGION_MMIO)
        *value = region.ops->read(region.opaque, address - region.info.address, size);
    return ret;
}

int pv_as_cpu_write(struct pv_address_space *as, uint64_t address, unsigned size, uint64_t value)
{
    struct region region;
    int ret = access_memory(as, address, size, &value, true, &region);
    if (ret == 0 && region.info.kind != PV_REGION_RAM && region.ops)
        region.ops->write(region.opaque, address - region.info.address, size, value);
    return ret;
}

/* ---- Dirty log ---- */

int pv_as_dirty_log(struct pv_address_space *as, bool enable, struct pv_error **err)
{
    struct pv_region_info info;
    uint64_t address = 0;
    int ret = 0;

    while (as->dirty_logging && pv_as_next(as, address, &info)) {
        if (info.kind == PV_REGION_RAM)
            tell_dirty_log_sync(as, &info);
        if (!pv_add_ok(info.address, info.size, &address))
            break;
    }
    pthread_rwlock_wrlock(&as->lock);
    for (size_t i = 0; i < as->count && enable && !ret; i++) {
        struct region *region = as->regions[i];
        if (region->info.kind != PV_REGION_RAM)
            continue;
        ret = dirty_alloc(region);
        for (size_t w = 0; !ret && w < dirty_words(region); w++)
            atomic_store_explicit(&region->dirty[w], 0, memory_order_relaxed);
    }
    if (!ret)
        as->dirty_logging = enable;
    pthread_rwlock_unlock(&as->lock);
    if (ret < 0)
        return pv_error_set(err, ENOMEM, "dirty log: out of memory");
    tell_dirty_log_changed(as);
    return 0;
}

bool pv_as_dirty_logging(const struct pv_address_space *as)
{
    return as->dirty_logging;
}

void pv_as_mark_dirty(struct pv_address_space *as, uint64_t address, uint64_t len)
{
    if (!as->dirty_logging)
        return;
    struct region region;
    if (find(as, address, &region) &&
        pv_range_ok(address - region.info.address, len, region.info.size))
        mark_region(&region, address - region.info.address, len);
}

bool pv_as_is_dirty(struct pv_address_space *as, uint64_t address)
{
    struct region region;

    if (!as->dirty_logging || !find(as, address, &region) || !region.dirty)
        return false;
    const uint64_t page = (address - region.info.address) / PV_GUEST_PAGE;
    return atomic_load_explicit(&region.dirty[page / 64], memory_order_relaxed) >> page % 64 & 1;
}

int pv_as_dirty_fetch(struct pv_address_space *as, uint64_t address, uint64_t *bitmap, size_t words)
{
    struct pv_region_info info;
    if (pv_as_find(as, address, &info) && info.kind == PV_REGION_RAM)
        tell_dirty_log_sync(as, &info);
    pthread_rwlock_rdlock(&as->lock);
    struct region *region = find_locked(as, address);
    int ret = 0;
    if (!region || region->info.address != address || !region->dirty ||
        words < dirty_words(region)) {
        ret = -EINVAL;
    } else {
        for (size_t w = 0; w < dirty_words(region); w++)
            bitmap[w] = atomic_exchange_explicit(&region->dirty[w], 0, memory_order_acq_rel);
    }
    pthread_rwlock_unlock(&as->lock);
    if (!ret)
        tell_dirty_log_changed(as);
    return ret;
}
