/* SPDX-License-Identifier: MIT */
/*
 * VMSAv8-64 stage 1 for the EL1&0 regime (Arm ARM D8), and the software TLB in front of it.
 *
 * The TLB has two levels because they serve two different needs. The first is what every load and
 * store looks at: a direct-mapped table from virtual page to host pointer, one bank for each kind
 * of rights (EL0, EL1, EL1 with PAN), so that system calls and user copies flush nothing. It knows
 * no ASIDs: a context switch empties it of TTBR0's addresses, which are all of EL0's bank and
 * little of the others. The second level holds physical addresses tagged with the ASID, survives
 * context switches, and refills the first without a walk.
 *
 * Translation registers take effect at the next context synchronization event, as the architecture
 * allows: writes only mark the regime stale, and ISB, exception entry and ERET decode it again.
 * Everything that may change a translation moves `epoch`, by which the run loop knows that its
 * decoded blocks must be looked up again.
 *
 * A leaf larger than 4 KiB leaves one entry for each 4 KiB page that was touched. TLBI by address
 * has to find them all: a bloom filter tells whether the 2 MiB area ever had such a leaf, and only
 * then the half is searched.
 *
 * Other PEs: a broadcast TLBI queues a request at each of them and sets an attention bit; DSB waits
 * until every PE that is executing has served its queue. A PE that is `outside` (in a device, in
 * WFI, paused) holds no translation and serves its queue on the way in. Both sides write their own
 * word before they read the other's, sequentially consistent, so one of them always notices. The
 * waiting PE counts as outside, so two that wait for each other both get on.
 */
#include "engine/interp/mmu.h"

#include "base/error.h"
#include "engine/interp/exception.h"
#include "engine/interp/interp.h"
#include "engine/interp/sysreg.h"
#include "memory/address_space.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <time.h>

enum {
    FSC_ADDRESS_SIZE = 0x00,
    FSC_TRANSLATION = 0x04,
    FSC_ACCESS_FLAG = 0x08,
    FSC_PERMISSION = 0x0c,
    FSC_EXTERNAL_WALK = 0x14,
};

#define VA_BITS_55_12 UINT64_C(0x00fffffffffff000)

void mmu_create(struct cpu_with_tlb *pe)
{
    pe->cpu.tlb = &pe->tlb;
    pthread_mutex_init(&pe->tlb.lock, NULL);
}

void mmu_destroy(struct cpu *c)
{
    pthread_mutex_destroy(&c->tlb->lock);
}

/* ---- Flushing ---- */

void mmu_code_moved(struct cpu_tlb *tlb, unsigned half)
{
    tlb->code_epoch[half]++;
    memset(tlb->code_pages[half], 0, sizeof(tlb->code_pages[half]));
}

/* An entry has at least one tag; those it has not are all ones. */
static bool entry_in_half(const struct tlb_entry *e, unsigned half)
{
    return mmu_half_of(e->read & e->write & e->exec) == half;
}

static void flush_first_half(struct cpu_tlb *tlb, unsigned half)
{
    for (unsigned b = 0; b < TLB_BANKS; b++) {
        if (!tlb->used[b][half])
            continue;
        tlb->used[b][half] = false;
        if (!tlb->used[b][!half]) {
            memset(tlb->bank[b], 0xff, sizeof(tlb->bank[b]));
            continue;
        }
        for (unsigned i = 0; i < TLB_ENTRIES; i++)
            if (entry_in_half(&tlb->bank[b][i], half))
                memset(&tlb->bank[b][i], 0xff, sizeof(tlb->bank[b][i]));
    }
    if (half)
        tlb->high_not_global = false;
}

static void flush_first(struct cpu_tlb *tlb)
{
    flush_first_half(tlb, 0);
    flush_first_half(tlb, 1);
    mmu_code_moved(tlb, 0);
    mmu_code_moved(tlb, 1);
    tlb->ram_size = 0;
}

static void flush_all(struct cpu_tlb *tlb)
{
    flush_first(tlb);
    memset(tlb->second, 0, sizeof(tlb->second));
    memset(tlb->blocks, 0, sizeof(tlb->blocks));
    tlb->huge[0] = tlb->huge[1] = tlb->low_global = false;
}

void mmu_reset(struct cpu *c)
{
    struct cpu_tlb *tlb = c->tlb;
    memset(tlb->bank, 0xff, sizeof(tlb->bank));
    memset(tlb->used, 0, sizeof(tlb->used));
    flush_all(tlb);
    tlb->epoch++;
    mmu_sync_slow(c);
    mmu_context(c);
}

static unsigned second_index(uint64_t va, uint16_t asid)
{
    uint64_t page = va >> MMU_PAGE_SHIFT;
    /* Kernel pages are mostly global: their place must not depend on the ASID. */
    if (!mmu_half_of(va))
        page ^= (uint64_t)asid * 0x9e5;
    else
        page ^= 0x800;
    return (unsigned)(page & (TLB2_ENTRIES - 1));
}

static unsigned bloom_bit(uint64_t va)
{
    return (unsigned)((va >> 21 ^ va >> 33) & 4095);
}

static bool entry_dies(const struct tlb2_entry *e, const struct tlb_request *r)
{
    bool same_asid = e->global || e->asid == r->asid;
    uint64_t differ = (e->page ^ r->va) & VA_BITS_55_12;
    switch (r->kind) {
    case TLB_FLUSH_ASID: return !e->global && e->asid == r->asid;
    case TLB_FLUSH_VA: return same_asid && !(differ >> e->shift);
    case TLB_FLUSH_VA_ASIDS: return !(differ >> e->shift);
    default: return false;
    }
}

static void scan_second(struct cpu_tlb *tlb, const struct tlb_request *r)
{
    for (unsigned i = 0; i < TLB2_ENTRIES; i++)
        if (tlb->second[i].page && entry_dies(&tlb->second[i], r))
            tlb->second[i].page = 0;
}

static void flush_va(struct cpu_tlb *tlb, const struct tlb_request *r)
{
    unsigned half = mmu_half_of(r->va), bit = bloom_bit(r->va & VA_BITS_55_12);

    if (tlb->huge[half] || tlb->blocks[half][bit / 64] >> bit % 64 & 1) {
        flush_first_half(tlb, half);
        mmu_code_moved(tlb, half);
        scan_second(tlb, r);
        return;
    }
    const unsigned code = mmu_code_bit(r->va);
    if (tlb->code_pages[half][code / 64] >> code % 64 & 1)
        mmu_code_moved(tlb, half);
    for (unsigned b = 0; b < TLB_BANKS; b++) {
        struct tlb_entry *e = &tlb->bank[b][tlb_index(r->va)];
        e->read = e->write = e->exec = TLB_NONE;
    }
    /*
     * An entry's place depends on its ASID in TTBR0's half. Global ones, which only firmware has
     * there, are at the place of whichever ASID was current.
     */
    if (!half && (r->kind == TLB_FLUSH_VA_ASIDS || tlb->low_global)) {
        scan_second(tlb, r);
        return;
    }
    struct tlb2_entry *e = &tlb->second[second_index(r->va, r->asid)];
    if (e->page && entry_dies(e, r))
        e->page = 0;
}

void mmu_flush(struct cpu *c, const struct tlb_request *request)
{
    struct cpu_tlb *tlb = c->tlb;
    tlb->epoch++;
    switch (request->kind) {
    case TLB_FLUSH_NOTHING:
        mmu_code_moved(tlb, 0);
        mmu_code_moved(tlb, 1);
        break;
    case TLB_FLUSH_HOST: flush_first(tlb); break;
    case TLB_FLUSH_ALL: flush_all(tlb); break;
    case TLB_FLUSH_ASID:
        flush_first_half(tlb, 0);
        mmu_code_moved(tlb, 0);
        if (tlb->high_not_global) {
            flush_first_half(tlb, 1);
            mmu_code_moved(tlb, 1);
        }
        scan_second(tlb, request);
        break;
    case TLB_FLUSH_VA:
    case TLB_FLUSH_VA_ASIDS: flush_va(tlb, request); break;
    }
}

/* ---- Other PEs ---- */

static void post(struct cpu *to, const struct tlb_request *request)
{
    struct cpu_tlb *tlb = to->tlb;
    pthread_mutex_lock(&tlb->lock);
    if (request->kind == TLB_FLUSH_NOTHING && tlb->queued) {
        /* Whatever is served moves the epoch. */
    } else if (tlb->queued < TLB_QUEUE) {
        tlb->queue[tlb->queued++] = *request;
    } else {
        tlb->queue[0].kind = TLB_FLUSH_ALL;
        tlb->queued = 1;
    }
    atomic_fetch_add(&tlb->posted, 1);
    pthread_mutex_unlock(&tlb->lock);
    /* Not pv_vcpu_attention(): one that sleeps in WFI need not wake for this. */
    atomic_fetch_or(&to->vcpu->attention, INTERP_ATTENTION_TLB);
    interp_look(to);
}

void mmu_serve(struct cpu *c)
{
    struct cpu_tlb *tlb = c->tlb;
    atomic_fetch_and(&c->vcpu->attention, ~INTERP_ATTENTION_TLB);
    pthread_mutex_lock(&tlb->lock);
    for (unsigned i = 0; i < tlb->queued; i++)
        mmu_flush(c, &tlb->queue[i]);
    tlb->queued = 0;
    atomic_store(&tlb->done, atomic_load(&tlb->posted));
    pthread_mutex_unlock(&tlb->lock);
}

static void wait_for(struct cpu *other)
{
    struct cpu_tlb *tlb = other->tlb;
    uint64_t target = atomic_load(&tlb->posted);
    for (unsigned spins = 0; atomic_load(&tlb->inside) && atomic_load(&tlb->done) < target;
         spins++) {
        if (spins < 64)
            sched_yield();
        else
            nanosleep(&(struct timespec){.tv_nsec = 20000}, NULL);
    }
}

void mmu_broadcast(struct cpu *c, const struct tlb_request *request)
{
    struct interp *interp = c->interp;
    for (unsigned i = 0; i < interp->engine->config.vcpus; i++) {
        struct cpu *other = atomic_load(&interp->cpus[i]);
        if (other && other != c) {
            post(other, request);
            c->tlb->must_sync = true;
        }
    }
}

void mmu_wait(struct cpu *c)
{
    struct interp *interp = c->interp;
    if (!c->tlb->must_sync)
        return;
    c->tlb->must_sync = false;
    interp_outside(c);
    for (unsigned i = 0; i < interp->engine->config.vcpus; i++) {
        struct cpu *other = atomic_load(&interp->cpus[i]);
        if (other && other != c)
            wait_for(other);
    }
    interp_inside(c);
}

void mmu_post_everywhere(struct interp *interp, enum tlb_request_kind kind)
{
    const struct tlb_request request = {.kind = kind};
    for (unsigned i = 0; i < interp->engine->config.vcpus; i++) {
        struct cpu *c = atomic_load(&interp->cpus[i]);
        if (c)
            post(c, &request);
    }
}

void mmu_flush_everywhere(struct interp *interp, enum tlb_request_kind kind)
{
    mmu_post_everywhere(interp, kind);
    for (unsigned i = 0; i < interp->engine->config.vcpus; i++) {
        struct cpu *c = atomic_load(&interp->cpus[i]);
        if (c)
            wait_for(c);
    }
}

/* ---- The regime ---- */

static unsigned output_bits(unsigned ips)
{
    static const uint8_t bits[8] = {32, 36, 40, 42, 44, 48, 48, 48};
    return PV_MIN(bits[ips & 7], PA_BITS);
}

static void decode_half(struct mmu_half *h, unsigned pa_bits, uint64_t ttbr, unsigned tsz,
                        unsigned granule)
{
    /* Sizes out of range behave as the nearest one allowed (D8.2.7, CONSTRAINED UNPREDICTABLE). */
    tsz = PV_MIN(PV_MAX(tsz, 16u), 39u);
    h->va_bits = (uint8_t)(64 - tsz);
    h->granule = (uint8_t)granule;
    unsigned stride = granule - 3;
    unsigned levels = (h->va_bits - granule + stride - 1) / stride;
    h->level = (uint8_t)(4 - levels);
    unsigned index_bits = h->va_bits - granule - stride * (levels - 1);
    uint64_t align = UINT64_C(1) << (index_bits + 3);
    h->base = ttbr & UINT64_C(0x0000fffffffffffe) & ~(align - 1);
    h->bad_base = h->base >> pa_bits;
}

static void decode_regime(struct cpu *c, struct mmu_regime *r)
{
    const uint64_t tcr = sysreg_get(c, SYSREG_TCR_EL1), sctlr = sysreg_get(c, SYSREG_SCTLR_EL1);
    const uint64_t ttbr0 = sysreg_get(c, SYSREG_TTBR0_EL1);
    const uint64_t ttbr1 = sysreg_get(c, SYSREG_TTBR1_EL1);
    static const uint8_t tg0[4] = {12, 16, 14, 12}, tg1[4] = {12, 14, 12, 16};

    memset(r, 0, sizeof(*r));
    r->on = sctlr & SCTLR_M;
    r->wxn = sctlr & SCTLR_WXN;
    r->hw_access = tcr >> 39 & 1;
    r->hw_dirty = r->hw_access && (tcr >> 40 & 1);
    r->pa_bits = (uint8_t)output_bits((unsigned)pv_bits(tcr, 32, 3));
    r->asid = (uint16_t)((tcr >> 22 & 1 ? ttbr1 : ttbr0) >> 48);
    if (!(tcr >> 36 & 1))
        r->asid &= 0xff;
    r->mair = sysreg_get(c, SYSREG_MAIR_EL1);

    decode_half(&r->half[0], r->pa_bits, ttbr0, (unsigned)pv_bits(tcr, 0, 6), tg0[tcr >> 14 & 3]);
    decode_half(&r->half[1], r->pa_bits, ttbr1, (unsigned)pv_bits(tcr, 16, 6), tg1[tcr >> 30 & 3]);
    r->half[0].disabled = tcr >> 7 & 1;
    r->half[1].disabled = tcr >> 23 & 1;
    for (unsigned i = 0; i < 2; i++) {
        r->half[i].tbi = tcr >> (37 + i) & 1;
        r->half[i].hpd = tcr >> (41 + i) & 1;
        r->half[i].e0pd = tcr >> (55 + i) & 1;
    }
}

void mmu_sync_slow(struct cpu *c)
{
    struct cpu_tlb *tlb = c->tlb;
    struct mmu_regime now, then = tlb->regime;

    tlb->stale = false;
    decode_regime(c, &now);
    if (memcmp(&now, &then, sizeof(now)) == 0)
        return;
    tlb->regime = now;
    tlb->epoch++;

    bool asid_changed = now.asid != then.asid;
    bool low_changed =
        now.half[0].base != then.half[0].base || now.half[0].disabled != then.half[0].disabled;
    bool high_changed = now.half[1].base != then.half[1].base;
    then.asid = now.asid;
    then.half[0].base = now.half[0].base;
    then.half[0].bad_base = now.half[0].bad_base;
    then.half[1].base = now.half[1].base;
    then.half[1].bad_base = now.half[1].bad_base;
    then.half[0].disabled = now.half[0].disabled;
    if (memcmp(&now, &then, sizeof(now)) != 0) {
        /* Anything but the tables and the ASID changes what entries mean. */
        flush_all(tlb);
        return;
    }
    if (asid_changed || low_changed)
        flush_first_half(tlb, 0);
    if (high_changed || (asid_changed && tlb->high_not_global)) {
        flush_first_half(tlb, 1);
        mmu_code_moved(tlb, 1);
    }
    /* Code in TTBR0's half is remembered by ASID. */
    if (low_changed && !asid_changed)
        mmu_code_moved(tlb, 0);
}

/* ---- The walk ---- */

/* The host address of guest memory at pa (a page's worth at most), NULL when it is not memory. */
static char *find_host(struct cpu *c, uint64_t pa, bool *writable)
{
    struct cpu_tlb *tlb = c->tlb;
    if (pa - tlb->ram_start >= tlb->ram_size) {
        struct pv_region_info info;
        if (!pv_as_find(c->interp->as, pa, &info) || info.kind == PV_REGION_MMIO)
            return NULL;
        tlb->ram_start = info.address;
        tlb->ram_size = info.size;
        tlb->ram_host = info.host;
        tlb->ram_writable = info.kind == PV_REGION_RAM;
        tlb->ram_filling = pv_as_filling(c->interp->as);
    }
    if (PV_UNLIKELY(tlb->ram_filling)) {
        if (pv_as_touch(c->interp->as, pa & ~MMU_PAGE_MASK, PV_GUEST_PAGE) < 0)
            return NULL;
        tlb->ram_filling = pv_as_filling(c->interp->as);
    }
    *writable = tlb->ram_writable;
    return tlb->ram_host + (pa - tlb->ram_start);
}

struct walk {
    uint64_t desc;
    uint64_t desc_pa;
    uint64_t *desc_host;
    bool desc_writable;
    unsigned level, shift;
    uint64_t table_bits; /* APTable, UXNTable, PXNTable of all levels ORed, in place */
};

/* Finds the leaf descriptor. Returns MMU_OK or the fault. */
static int walk_tables(struct cpu *c, const struct mmu_half *h, uint64_t va, struct walk *w)
{
    const unsigned stride = h->granule - 3u;
    const uint64_t out_mask = UINT64_C(0x0000ffffffffffff);
    uint64_t base = h->base;

    if (h->bad_base)
        return FSC_ADDRESS_SIZE;
    va &= (UINT64_C(1) << h->va_bits) - 1;
    w->table_bits = 0;
    for (w->level = h->level;; w->level++) {
        w->shift = h->granule + stride * (3 - w->level);
        uint64_t index = va >> w->shift;
        if (w->level != h->level)
            index &= (UINT64_C(1) << stride) - 1;
        w->desc_pa = base + index * 8;
        w->desc_host = (uint64_t *)(void *)find_host(c, w->desc_pa, &w->desc_writable);
        if (!w->desc_host)
            return FSC_EXTERNAL_WALK | (int)w->level;
        w->desc = __atomic_load_n(w->desc_host, __ATOMIC_ACQUIRE);

        bool table = w->desc & 2;
        if (!(w->desc & 1))
            return FSC_TRANSLATION | (int)w->level;
        if (w->level == 3 ? !table
                          : !table && (w->level == 0 || (w->level == 1 && h->granule != 12)))
            return FSC_TRANSLATION | (int)w->level;
        bool leaf = w->level == 3 || !table;
        unsigned low = leaf ? w->shift : h->granule;
        base = w->desc & out_mask & ~((UINT64_C(1) << low) - 1);
        if (base >> c->tlb->regime.pa_bits)
            return FSC_ADDRESS_SIZE | (int)w->level;
        if (leaf)
            return MMU_OK;
        if (!h->hpd)
            w->table_bits |= w->desc & UINT64_C(0x7800000000000000);
    }
}

#define DESC_AF  (UINT64_C(1) << 10)
#define DESC_RO  (UINT64_C(1) << 7) /* AP[2] */
#define DESC_EL0 (UINT64_C(1) << 6) /* AP[1] */
#define DESC_NG  (UINT64_C(1) << 11)
#define DESC_DBM (UINT64_C(1) << 51)
#define DESC_PXN (UINT64_C(1) << 53)
#define DESC_UXN (UINT64_C(1) << 54)

/* What the descriptor allows (D8.4), `desc` with AP[2] as it counts now. */
static uint8_t permissions(const struct mmu_regime *r, uint64_t desc, uint64_t table_bits)
{
    bool user = (desc & DESC_EL0) && !(table_bits >> 61 & 1);
    bool write = !(desc & DESC_RO) && !(table_bits >> 62 & 1);
    bool uxn = (desc & DESC_UXN) || (table_bits >> 60 & 1);
    bool pxn = (desc & DESC_PXN) || (table_bits >> 59 & 1);
    uint8_t perms = PERM_PR;

    if (write)
        perms |= PERM_PW;
    if (user)
        perms |= write ? PERM_UR | PERM_UW : PERM_UR;
    /* What EL0 can write, EL1 never executes; WXN extends that to each level's own pages. */
    if (!uxn && !(r->wxn && (perms & PERM_UW)))
        perms |= PERM_UX;
    if (!pxn && !(perms & PERM_UW) && !(r->wxn && write))
        perms |= PERM_PX;
    return perms;
}

static bool allowed(uint8_t perms, enum mmu_access access, enum tlb_bank bank)
{
    static const uint8_t user[] = {PERM_UR, PERM_UW, PERM_UX};
    static const uint8_t priv[] = {PERM_PR, PERM_PW, PERM_PX};
    if (bank == TLB_EL0)
        return perms & user[access];
    if (bank == TLB_EL1_PAN && access != MMU_EXEC && (perms & PERM_UR))
        return false;
    return perms & priv[access];
}

/* Sets `value` in place of w->desc; false when someone else changed it. */
static bool update_descriptor(struct cpu *c, struct walk *w, uint64_t value)
{
    uint64_t expected = w->desc;
    if (!__atomic_compare_exchange_n(w->desc_host, &expected, value, false, __ATOMIC_ACQ_REL,
                                     __ATOMIC_ACQUIRE))
        return false;
    w->desc = value;
    pv_as_mark_dirty(c->interp->as, w->desc_pa & ~MMU_PAGE_MASK, PV_GUEST_PAGE);
    return true;
}

/* MMU_OK, a fault, or AGAIN when a descriptor changed under the walk. */
#define AGAIN (-2)

static int walk_once(struct cpu *c, const struct mmu_half *h, uint64_t va, enum mmu_access access,
                     enum tlb_bank bank, struct mmu_result *out)
{
    const struct mmu_regime *r = &c->tlb->regime;
    struct walk w = {0};
    int fault = walk_tables(c, h, va, &w);
    if (fault != MMU_OK)
        return fault;

    uint64_t wanted = w.desc;
    if (!(w.desc & DESC_AF)) {
        if (!r->hw_access || !w.desc_writable)
            return FSC_ACCESS_FLAG | (int)w.level;
        wanted |= DESC_AF;
    }
    bool dirty_update = r->hw_dirty && (w.desc & DESC_DBM) && (w.desc & DESC_RO);
    if (dirty_update && access == MMU_WRITE && w.desc_writable &&
        allowed(permissions(r, w.desc & ~DESC_RO, w.table_bits), access, bank))
        wanted &= ~DESC_RO;
    if (wanted != w.desc && !update_descriptor(c, &w, wanted))
        return AGAIN;

    out->perms = permissions(r, w.desc, w.table_bits);
    if (!allowed(out->perms, access, bank))
        return FSC_PERMISSION | (int)w.level;
    uint64_t offset_mask = (UINT64_C(1) << w.shift) - 1;
    out->pa = (w.desc & UINT64_C(0x0000ffffffffffff) & ~offset_mask) | (va & offset_mask);
    out->shift = (uint8_t)w.shift;
    out->attr = (uint8_t)(r->mair >> 8 * (w.desc >> 2 & 7));
    out->device = !(out->attr & 0xf0);
    out->share = out->device ? 2 : w.desc >> 8 & 3;
    out->global = !(w.desc & DESC_NG);
    return MMU_OK;
}

static void remember(struct cpu *c, uint64_t va, const struct mmu_result *t)
{
    struct cpu_tlb *tlb = c->tlb;
    uint64_t page = va & VA_BITS_55_12;
    unsigned half = mmu_half_of(va);
    tlb->second[second_index(page, tlb->regime.asid)] = (struct tlb2_entry){
        .page = page | 1,
        .pa = t->pa & ~MMU_PAGE_MASK,
        .asid = tlb->regime.asid,
        .global = t->global,
        .device = t->device,
        .perms = t->perms,
        .shift = t->shift,
    };
    tlb->low_global |= !half && t->global;
    if (t->shift > MMU_PAGE_SHIFT) {
        unsigned bit = bloom_bit(page);
        tlb->blocks[half][bit / 64] |= UINT64_C(1) << bit % 64;
        tlb->huge[half] |= t->shift > 21;
    }
}

static bool recall(struct cpu *c, uint64_t va, enum mmu_access access, enum tlb_bank bank,
                   struct mmu_result *out)
{
    const struct cpu_tlb *tlb = c->tlb;
    const struct tlb2_entry *e = &tlb->second[second_index(va & VA_BITS_55_12, tlb->regime.asid)];
    if (e->page != ((va & VA_BITS_55_12) | 1) || (!e->global && e->asid != tlb->regime.asid) ||
        !allowed(e->perms, access, bank))
        return false;
    *out = (struct mmu_result){.pa = e->pa | (va & MMU_PAGE_MASK),
                               .perms = e->perms,
                               .shift = e->shift,
                               .global = e->global,
                               .device = e->device};
    return true;
}

static int translate_off(struct cpu *c, uint64_t va, enum mmu_access access, struct mmu_result *out)
{
    const struct mmu_half *h = &c->tlb->regime.half[mmu_half_of(va)];
    uint64_t pa = h->tbi ? va & UINT64_C(0x00ffffffffffffff) : va;
    if (pa >> PA_BITS)
        return FSC_ADDRESS_SIZE;
    *out = (struct mmu_result){.pa = pa,
                               .perms = 0x3f,
                               .shift = 48,
                               .global = true,
                               .share = 2,
                               .device = access != MMU_EXEC};
    return MMU_OK;
}

/* Only this thread writes; statistics read from others. */
static void count(_Atomic uint64_t *n)
{
    atomic_store_explicit(n, atomic_load_explicit(n, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

int mmu_translate(struct cpu *c, uint64_t va, enum mmu_access access, enum tlb_bank bank,
                  bool fresh, struct mmu_result *result)
{
    const struct mmu_regime *r = &c->tlb->regime;
    const struct mmu_half *h = &r->half[mmu_half_of(va)];

    if (!r->on)
        return translate_off(c, va, access, result);
    /* Every bit above the size must repeat bit 55; TBI leaves the top byte out of it. */
    unsigned top = h->tbi ? 56 : 64;
    if ((uint64_t)(pv_sext(va, top) >> h->va_bits) != (mmu_half_of(va) ? ~UINT64_C(0) : 0))
        return FSC_TRANSLATION;
    if (bank == TLB_EL0 && h->e0pd)
        return FSC_TRANSLATION;
    count(&c->tlb->lookups);
    if (!fresh && recall(c, va, access, bank, result))
        return MMU_OK;
    if (h->disabled)
        return FSC_TRANSLATION;
    count(&c->tlb->walks);
    int fault;
    do
        fault = walk_once(c, h, va, access, bank, result);
    while (fault == AGAIN);
    if (fault == MMU_OK && !fresh)
        remember(c, va, result);
    return fault;
}

bool mmu_fill(struct cpu *c, uint64_t va, enum mmu_access access, enum tlb_bank bank,
              const struct mmu_result *t)
{
    struct cpu_tlb *tlb = c->tlb;
    uint64_t page = va & ~MMU_PAGE_MASK, pa = t->pa & ~MMU_PAGE_MASK;
    bool writable = false;
    char *host = find_host(c, pa, &writable);

    if (!host)
        return false;
    if (debug_page_watched(c, page))
        return true;
    if (writable && pv_as_dirty_logging(c->interp->as)) {
        if (access == MMU_WRITE)
            pv_as_mark_dirty(c->interp->as, pa, PV_GUEST_PAGE);
        else
            writable = pv_as_is_dirty(c->interp->as, pa);
    }
    unsigned i = tlb_index(va);
    struct tlb_entry *e = &tlb->bank[bank][i];
    bool read = allowed(t->perms, MMU_READ, bank);
    bool exec = allowed(t->perms, MMU_EXEC, bank);
    writable = writable && allowed(t->perms, MMU_WRITE, bank);
    /* With the MMU off only data is Device: what a fetch says about it is not the truth. */
    bool device = t->device || !tlb->regime.on;
    uint64_t tag = device ? page | TLB_SLOW : page;
    *e = (struct tlb_entry){
        .read = read ? tag : TLB_NONE,
        .write = writable ? tag : TLB_NONE,
        .exec = exec ? page : TLB_NONE,
        .addend = (uintptr_t)host - (uintptr_t)page,
    };
    tlb->pa[bank][i] = pa | device;
    tlb->used[bank][mmu_half_of(va)] = true;
    if (mmu_half_of(va) && !t->global)
        tlb->high_not_global = true;
    return true;
}
