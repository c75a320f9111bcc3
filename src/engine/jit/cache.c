/* SPDX-License-Identifier: MIT */
/*
 * The translated blocks of one VM, shared by its vCPUs.
 *
 * A block is keyed by the physical address of its first instruction and by the mode, and holds no
 * virtual address, so processes that share code share its translation. Looking up takes no lock:
 * hash chains only ever grow at their head, or lose a block that keeps pointing into the chain.
 *
 * Memory is handed out from one end and never given back singly. When it is full all of it is
 * forgotten at once, which must not happen under a vCPU that executes it: the vCPU that ran out
 * sets `emptying`, has every other come back to its run loop by an attention bit, and waits until
 * all are parked or out of vcpu_run.
 *
 * Each vCPU translates into room that it took beforehand, with no lock held, and adds what it made
 * under the lock: unless another vCPU was first, or code of that page changed meanwhile, in which
 * case it starts over.
 *
 * Code that changed (IC, changes of the memory map) kills the blocks that depend on its line. Links
 * lead from a block to others of the same page only, and are taken back when their target dies. So
 * nothing alive leads to a dead block but the jump caches of the vCPUs, which are keyed by the
 * TLB's epochs, and what is being executed: every vCPU is asked to move its epochs, which it does
 * when it looks at its attention, no later than at its next ISB.
 */
#include "engine/jit/jit.h"

#include "base/error.h"
#include "base/log.h"
#include "engine/interp/mmu.h"
#include "engine/jit/translate.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static void *reserve(size_t size)
{
    void *at = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
                    -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void release(void *at, size_t size)
{
    if (at)
        munmap(at, size);
}

int jit_cache_create(struct jit *jit, struct pv_error **err)
{
    pthread_mutex_init(&jit->lock, NULL);
    pthread_cond_init(&jit->changed, NULL);
    int ret = pv_code_memory_create(&jit->memory, JIT_CODE_SIZE, err);
    if (ret < 0)
        return ret;
    jit->limit = JIT_CODE_SIZE;
    jit->records = reserve(JIT_RECORDS * sizeof(*jit->records));
    jit->links = reserve(JIT_LINKS * sizeof(*jit->links));
    jit->blocks = reserve(JIT_BLOCKS * sizeof(*jit->blocks));
    jit->hash = reserve(JIT_HASH * sizeof(*jit->hash));
    jit->by_page = reserve(JIT_PAGE_HASH * sizeof(*jit->by_page));
    if (!jit->records || !jit->links || !jit->blocks || !jit->hash || !jit->by_page)
        return pv_error_set(err, ENOMEM, "out of memory for translated code");
    return 0;
}

void jit_cache_destroy(struct jit *jit)
{
    release(jit->by_page, JIT_PAGE_HASH * sizeof(*jit->by_page));
    release(jit->hash, JIT_HASH * sizeof(*jit->hash));
    release(jit->blocks, JIT_BLOCKS * sizeof(*jit->blocks));
    release(jit->links, JIT_LINKS * sizeof(*jit->links));
    release(jit->records, JIT_RECORDS * sizeof(*jit->records));
    pv_code_memory_destroy(&jit->memory);
    pthread_cond_destroy(&jit->changed);
    pthread_mutex_destroy(&jit->lock);
}

/* ---- Finding ---- */

static struct jit_block *_Atomic *chain_of(struct jit *jit, uint64_t pa, uint32_t mode)
{
    uint64_t h = (pa >> 2 ^ (uint64_t)mode << 40) * UINT64_C(0x9e3779b97f4a7c15);
    return &jit->hash[h >> 40 & (JIT_HASH - 1)];
}

static struct jit_block **page_of(struct jit *jit, uint64_t pa)
{
    uint64_t page = pa >> MMU_PAGE_SHIFT;
    return &jit->by_page[(page ^ page >> 14) & (JIT_PAGE_HASH - 1)];
}

struct jit_block *jit_cache_find(struct jit *jit, uint64_t pa, uint32_t mode)
{
    struct jit_block *b = atomic_load_explicit(chain_of(jit, pa, mode), memory_order_acquire);
    while (b && (b->pa != pa || b->mode != mode))
        b = atomic_load_explicit(&b->next, memory_order_acquire);
    return b;
}

void jit_cache_add(struct jit *jit, struct jit_block *block)
{
    struct jit_block *_Atomic *chain = chain_of(jit, block->pa, block->mode);
    struct jit_block **page = page_of(jit, block->pa);

    block->next_in_page = *page;
    *page = block;
    atomic_fetch_add(&jit->stats.blocks, 1);
    atomic_fetch_add(&jit->stats.instructions, block->count);
    atomic_fetch_add(&jit->stats.host_bytes, block->size);
    atomic_store_explicit(&block->next, atomic_load_explicit(chain, memory_order_relaxed),
                          memory_order_relaxed);
    atomic_store_explicit(chain, block, memory_order_release);
}

/* ---- Room ---- */

static bool take(struct jit_range *range, uint32_t need, uint32_t more, uint32_t *used,
                 uint32_t limit)
{
    if (range->end - range->at >= need)
        return true;
    /* On behind its own, if nobody took that meanwhile. */
    const uint32_t at = range->end == *used ? range->at : *used;
    if (at > limit || limit - at < need)
        return false;
    *range = (struct jit_range){at, at + PV_MIN(limit - at, more)};
    *used = range->end;
    return true;
}

bool jit_cache_room(struct jit *jit, struct jit_room *room)
{
    const bool enough = room->code.end - room->code.at >= JIT_BLOCK_CODE &&
                        room->records.end - room->records.at >= JIT_BLOCK_MAX &&
                        room->links.end - room->links.at >= JIT_COLD_MAX &&
                        room->blocks.end - room->blocks.at >= 1;
    if (enough)
        return true;
    pthread_mutex_lock(&jit->lock);
    const bool taken =
        take(&room->code, JIT_BLOCK_CODE, JIT_ROOM_CODE, &jit->used, jit->limit) &&
        take(&room->records, JIT_BLOCK_MAX, JIT_ROOM_ITEMS, &jit->record_count, JIT_RECORDS) &&
        take(&room->links, JIT_COLD_MAX, JIT_ROOM_ITEMS, &jit->link_count, JIT_LINKS) &&
        take(&room->blocks, 1, JIT_ROOM_ITEMS, &jit->block_count, JIT_BLOCKS);
    pthread_mutex_unlock(&jit->lock);
    return taken;
}

/* ---- Links ---- */

/* The site is aligned, so a vCPU that executes it sees the old target or the new one. */
static void direct(struct jit *jit, const struct jit_link *link, uint32_t code)
{
    int32_t *site = (int32_t *)(void *)(jit->memory.write + link->site);
    __atomic_store_n(site, (int32_t)(code - (link->site + 4)), __ATOMIC_RELEASE);
}

void jit_cache_link(struct jit *jit, struct jit_link *link)
{
    pthread_mutex_lock(&jit->lock);
    const struct jit_block *from = link->from;
    struct jit_block *to = jit_cache_find(jit, (from->pa & ~MMU_PAGE_MASK) | link->at, from->mode);
    if (to && !link->made && !atomic_load(&from->dead)) {
        direct(jit, link, to->code);
        link->made = true;
        link->next = to->incoming;
        to->incoming = (uint32_t)(link - jit->links);
    }
    pthread_mutex_unlock(&jit->lock);
}

static void take_links_back(struct jit *jit, struct jit_block *block)
{
    while (block->incoming != JIT_NO_LINK) {
        struct jit_link *link = &jit->links[block->incoming];
        block->incoming = link->next;
        direct(jit, link, link->away);
        link->made = false;
    }
}

/* ---- Code that changed ---- */

static void remove_from_chain(struct jit *jit, struct jit_block *block)
{
    struct jit_block *_Atomic *at = chain_of(jit, block->pa, block->mode);
    while (atomic_load(at) != block)
        at = &atomic_load(at)->next;
    atomic_store(at, atomic_load(&block->next));
}

/* Those that depend on some of these lines of the page at pa. */
static bool kill_lines(struct jit *jit, uint64_t pa, uint64_t lines)
{
    struct jit_block **at = page_of(jit, pa);
    bool any = false;
    while (*at) {
        struct jit_block *block = *at;
        if ((block->pa ^ pa) >> MMU_PAGE_SHIFT || !(block->lines & lines)) {
            at = &block->next_in_page;
            continue;
        }
        *at = block->next_in_page;
        remove_from_chain(jit, block);
        take_links_back(jit, block);
        atomic_store(&block->dead, true);
        atomic_fetch_add(&jit->stats.invalidated, 1);
        any = true;
    }
    return any;
}

static bool kill_all(struct jit *jit)
{
    bool any = false;
    for (unsigned i = 0; i < JIT_PAGE_HASH; i++) {
        for (struct jit_block *b = jit->by_page[i]; b; b = b->next_in_page) {
            atomic_store(&b->dead, true);
            atomic_fetch_add(&jit->stats.invalidated, 1);
            any = true;
        }
        jit->by_page[i] = NULL;
    }
    /* Each on its own: who looks meanwhile finds a block or none, as just before or after. */
    for (unsigned i = 0; any && i < JIT_HASH; i++)
        atomic_store_explicit(&jit->hash[i], NULL, memory_order_relaxed);
    return any;
}

/* The bits of a page's lines in which there are the bytes from `first` to `last` of it. */
static uint64_t lines_of(uint64_t first, uint64_t last)
{
    return UINT64_MAX << first / JIT_LINE & UINT64_MAX >> (63 - last / JIT_LINE);
}

void jit_code_changed(struct jit *jit, uint64_t pa, uint64_t size)
{
    bool any = false;
    pthread_mutex_lock(&jit->lock);
    if (size >> MMU_PAGE_SHIFT >= JIT_CHANGES) {
        for (unsigned i = 0; i < JIT_CHANGES; i++)
            atomic_fetch_add(&jit->changes[i], 1);
        any = kill_all(jit);
    } else {
        for (uint64_t left = size, take; left; left -= take, pa += take) {
            const uint64_t first = pa & MMU_PAGE_MASK;
            take = PV_MIN(left, MMU_PAGE_MASK + 1 - first);
            atomic_fetch_add(jit_changes(jit, pa), 1);
            any |= kill_lines(jit, pa, lines_of(first, first + take - 1));
        }
    }
    pthread_mutex_unlock(&jit->lock);
    if (any)
        mmu_post_everywhere(jit->interp, TLB_FLUSH_NOTHING);
}

/* ---- Forgetting everything ---- */

static void look_at(struct jit *jit, struct cpu *c)
{
    for (unsigned i = 0; i < jit->interp->engine->config.vcpus; i++) {
        struct cpu *other = atomic_load(&jit->interp->cpus[i]);
        if (!other || other == c)
            continue;
        atomic_fetch_or(&other->vcpu->attention, JIT_ATTENTION_PARK);
        interp_look(other);
    }
}

static bool others_run(struct jit *jit, struct cpu *c)
{
    for (unsigned i = 0; i < jit->interp->engine->config.vcpus; i++) {
        struct cpu *other = atomic_load(&jit->interp->cpus[i]);
        if (other && other != c && other->jit.running)
            return true;
    }
    return false;
}

/* What the vCPU's jump cache knows is gone if the code was emptied since it last looked. */
static void forget_targets(struct cpu *c, uint64_t emptied)
{
    if (c->jit.emptied == emptied)
        return;
    c->jit.emptied = emptied;
    mmu_code_moved(c->tlb, 0);
    mmu_code_moved(c->tlb, 1);
}

void jit_enter_running(struct cpu *c)
{
    struct jit *jit = c->interp->jit;
    pthread_mutex_lock(&jit->lock);
    while (jit->emptying)
        pthread_cond_wait(&jit->changed, &jit->lock);
    c->jit.running = true;
    /* Whoever empties does so with the lock held: nothing is asked of this vCPU now. */
    atomic_fetch_and(&c->vcpu->attention, ~JIT_ATTENTION_PARK);
    const uint64_t emptied = atomic_load(&jit->stats.emptied);
    pthread_mutex_unlock(&jit->lock);
    forget_targets(c, emptied);
}

void jit_leave_running(struct cpu *c)
{
    struct jit *jit = c->interp->jit;
    pthread_mutex_lock(&jit->lock);
    c->jit.running = false;
    pthread_cond_broadcast(&jit->changed);
    pthread_mutex_unlock(&jit->lock);
}

void jit_cache_empty(struct cpu *c)
{
    struct jit *jit = c->interp->jit;

    interp_outside(c);
    pthread_mutex_lock(&jit->lock);
    if (jit->emptying) {
        /* Another vCPU was first: this one only must be out of its way. */
        pthread_mutex_unlock(&jit->lock);
        jit_leave_running(c);
        jit_enter_running(c);
        interp_inside(c);
        return;
    }
    jit->emptying = true;
    look_at(jit, c);
    while (others_run(jit, c))
        pthread_cond_wait(&jit->changed, &jit->lock);
    kill_all(jit);
    jit->used = jit->stubs_end;
    jit->record_count = jit->link_count = jit->block_count = 0;
    memset(jit->room, 0, sizeof(jit->room));
    const uint64_t emptied = atomic_fetch_add(&jit->stats.emptied, 1) + 1;
    jit->emptying = false;
    pthread_cond_broadcast(&jit->changed);
    pthread_mutex_unlock(&jit->lock);
    pv_debug(PV_LOG_JIT, "code memory was full and has been emptied");
    forget_targets(c, emptied);
    interp_inside(c);
}
