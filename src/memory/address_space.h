/* SPDX-License-Identifier: MIT */
/*
 * The guest-physical address space: RAM, device memory (MMIO), the dirty log, and the accessors
 * through which everything but an engine's fast path touches guest memory.
 *
 * Addresses are guest-physical byte addresses, lengths are bytes. All guest data is little-endian.
 * Accessors may be used from any thread. Regions never overlap.
 */
#ifndef PV_MEMORY_ADDRESS_SPACE_H
#define PV_MEMORY_ADDRESS_SPACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct pv_address_space;
struct pv_error;

/* The dirty log's unit, and the alignment of regions. */
#define PV_GUEST_PAGE 4096u

int pv_as_create(struct pv_address_space **out, struct pv_error **err);
void pv_as_destroy(struct pv_address_space *as);

/* ---- Regions ---- */

enum pv_region_kind {
    PV_REGION_RAM,
    PV_REGION_ROM, /* as RAM for reads and execution; guest CPU writes go to `mmio` or are dropped
                    */
    PV_REGION_MMIO,
};

/*
 * Device memory. Both run on the accessing vCPU's thread with no lock held; the device locks.
 * `offset` is from the region's start; `size` is 1, 2, 4 or 8, and the access lies inside the
 * region. It may be unaligned. read returns the value zero-extended.
 */
struct pv_mmio_ops {
    uint64_t (*read)(void *opaque, uint64_t offset, unsigned size);
    void (*write)(void *opaque, uint64_t offset, unsigned size, uint64_t value);
};

/*
 * Zeroed RAM of the address space's own. `name` is for people. -EEXIST on overlap.
 * Address and size must be multiples of PV_GUEST_PAGE.
 */
int pv_as_add_ram(struct pv_address_space *as, uint64_t address, uint64_t size, const char *name,
                  struct pv_error **err);

/*
 * Memory that the caller owns (a blob, a ROM) and keeps until pv_as_remove(); `fd`/`fd_offset` name
 * the shared memory behind it, or fd is -1. For PV_REGION_ROM, `ops` (may be NULL) takes writes.
 */
int pv_as_add_host(struct pv_address_space *as, uint64_t address, uint64_t size, void *host, int fd,
                   uint64_t fd_offset, enum pv_region_kind kind, const struct pv_mmio_ops *ops,
                   void *opaque, const char *name, struct pv_error **err);

int pv_as_add_mmio(struct pv_address_space *as, uint64_t address, uint64_t size,
                   const struct pv_mmio_ops *ops, void *opaque, const char *name,
                   struct pv_error **err);

/*
 * Makes [address, address + size) a bus's window: where no region is, a vCPU reads zeroes and what
 * it writes is dropped, instead of an abort. Before vCPUs run; the address space keeps it.
 */
int pv_as_add_window(struct pv_address_space *as, uint64_t address, uint64_t size,
                     struct pv_error **err);

/* Removes the region that starts at `address`; -ENOENT when there is none. */
int pv_as_remove(struct pv_address_space *as, uint64_t address);

/* What a caller sees of a region. */
struct pv_region_info {
    uint64_t address;
    uint64_t size;
    enum pv_region_kind kind;
    void *host;  /* RAM and ROM: the first byte */
    bool shared; /* from pv_as_add_host(): others than vCPUs may update it by atomics */
    int fd;      /* -1 when not backed by a shareable object */
    uint64_t fd_offset;
    const char *name;
};

/* Finds the region that holds `address`; false when nothing is there. */
bool pv_as_find(struct pv_address_space *as, uint64_t address, struct pv_region_info *info);

/* The region after `address` in address order, for walking them all: start with 0. */
bool pv_as_next(struct pv_address_space *as, uint64_t address, struct pv_region_info *info);

/*
 * Told of every region as it comes and goes: engines keep their slots and TLBs by it. `removed` is
 * called before the memory goes; when it returns, no vCPU may use the region any more. A vCPU that
 * is inside an MMIO handler (it may be the one removing the region) counts as not using memory:
 * engines must not wait for it, and let it notice the change when it comes back. Adding a listener
 * reports the regions that are already there. Listeners must not change the map.
 */
struct pv_as_listener {
    void (*added)(void *opaque, const struct pv_region_info *region);
    void (*removed)(void *opaque, const struct pv_region_info *region);
    /* The dirty log was switched on or read: cached write permissions must go. */
    void (*dirty_log_changed)(void *opaque);
    /*
     * The log of a RAM region is about to be read or started anew: whoever keeps one of his own
     * hands over what is in it (pv_as_mark_dirty) and begins again.
     */
    void (*dirty_log_sync)(void *opaque, const struct pv_region_info *region);
    void *opaque;
    /* vCPUs reach memory without asking (hardware maps it): it has to be there before they run. */
    bool maps_memory;
    struct pv_as_listener *next; /* the address space's */
};
void pv_as_add_listener(struct pv_address_space *as, struct pv_as_listener *listener);
void pv_as_remove_listener(struct pv_address_space *as, struct pv_as_listener *listener);

/* ---- Checked access to RAM and ROM (devices, loaders) ---- */

/* Copy; the range may cross adjoining RAM regions. -EFAULT when any byte is not memory. */
int pv_as_read(struct pv_address_space *as, uint64_t address, void *buf, size_t len);
int pv_as_write(struct pv_address_space *as, uint64_t address, const void *buf, size_t len);
int pv_as_fill(struct pv_address_space *as, uint64_t address, uint8_t byte, size_t len);

/*
 * A host pointer to [address, address + len), or NULL when that is not inside one RAM region (or a
 * ROM and !write). With `write` the pages are marked dirty now. The pointer stays good while the
 * region does, so it is for those whom a listener tells of the region's end (engines). Guest and
 * host see each other's accesses: use atomics where order matters.
 */
void *pv_as_host(struct pv_address_space *as, uint64_t address, size_t len, bool write);

/*
 * As that, for devices, which hold pointers longer than any region of pv_as_add_host() is sure to
 * stay: only into RAM of the address space's own, which stays as long as that does.
 */
void *pv_as_ram(struct pv_address_space *as, uint64_t address, size_t len, bool write);

/*
 * Gives the memory of whole host pages inside [address, address + len) back to the host; they read
 * as zeroes then, and the rest of the range keeps its contents. *returned says how many bytes went;
 * RAM that is its owner's to free (pv_as_add_host) stays as it is. -EFAULT, and nothing done, when
 * the range is not RAM; another negative errno when the host would not take it.
 */
int pv_as_discard(struct pv_address_space *as, uint64_t address, uint64_t len, uint64_t *returned);

/* ---- Memory that comes when it is wanted ---- */

/*
 * Makes [address, address + len) be there, as far as it is this filler's: on any thread, several at
 * once, and by way of region pointers, since it would otherwise ask itself. A negative errno when
 * that cannot be; whoever wanted the memory then finds none.
 */
struct pv_as_filler {
    int (*fill)(void *opaque, uint64_t address, uint64_t len);
    void *opaque;
};

/*
 * From now on RAM is asked for before its first use through any function of this header. NULL: all
 * of it is there. `filler` has to stay good until nobody uses the address space any more, since
 * threads may be inside it. -ENOTSUP when a listener maps memory.
 */
int pv_as_set_filler(struct pv_address_space *as, const struct pv_as_filler *filler);
bool pv_as_filling(const struct pv_address_space *as);

/* For those who reach RAM through pointers of pv_as_find(), while pv_as_filling(). */
int pv_as_touch(struct pv_address_space *as, uint64_t address, uint64_t len);

/* ---- Accesses by a vCPU ---- */

/*
 * One access of 1, 2, 4 or 8 bytes to whatever is there. -EFAULT when nothing is, not even a
 * window: the engine then raises a synchronous external abort. An access that crosses a region's
 * end is also -EFAULT.
 */
int pv_as_cpu_read(struct pv_address_space *as, uint64_t address, unsigned size, uint64_t *value);
int pv_as_cpu_write(struct pv_address_space *as, uint64_t address, unsigned size, uint64_t value);

/* ---- Dirty log ---- */

/* Starts (everything clean) or stops logging writes to RAM, by guest and host alike. */
int pv_as_dirty_log(struct pv_address_space *as, bool enable, struct pv_error **err);
bool pv_as_dirty_logging(const struct pv_address_space *as);

/* Marks pages dirty: for engines that write through their own pointers. No-op when off. */
void pv_as_mark_dirty(struct pv_address_space *as, uint64_t address, uint64_t len);

/* Whether the page at `address` is marked already: who writes to it need not be asked again. */
bool pv_as_is_dirty(struct pv_address_space *as, uint64_t address);

/*
 * Copies the log of the RAM region that starts at `address` (bit i: page i) and clears it. `bitmap`
 * holds `words` 64-bit words, at least size / PV_GUEST_PAGE / 64 rounded up.
 */
int pv_as_dirty_fetch(struct pv_address_space *as, uint64_t address, uint64_t *bitmap,
                      size_t words);

#endif
