/* SPDX-License-Identifier: MIT */
/*
 * The run loop.
 *
 * Code is decoded once into blocks: straight runs of records {handler, decoded instruction} that
 * end at a branch, at an instruction that may change the context (class system), or at the end of a
 * page. Running a block is calling its handlers one after the other.
 *
 * A block is found by its virtual address in a direct-mapped table of this vCPU's, and used while
 *  - the translation of its page holds: the TLB's epoch and the exception level are those it was
 *    last checked under; otherwise the page is translated anew, and when the physical address is
 *    still the same only the epoch is brought up to date;
 *  - its page was not invalidated. The architecture has software say when code changed (IC IVAU,
 *    IC IALLU; CTR_EL0.DIC is 0), so each physical page hashes to a generation counter that those
 *    instructions bump, for all vCPUs at once, and a block remembers the generation it was decoded
 *    in. Another vCPU notices at its next block, which is no later than its next ISB.
 *
 * Memory for blocks is one arena; when it is full, everything is forgotten and decoding starts
 * anew. PC is stored with every instruction, so a handler that raises (longjmp to the loop) finds
 * it exact.
 */
#include "engine/interp/run.h"

#include "engine/interp/exception.h"
#include "engine/interp/mem.h"

#include <errno.h>
#include <string.h>

#define BLOCK_MAX   64u          /* instructions */
#define TABLE_SIZE  16384u       /* blocks that can be found; a power of two */
#define ARENA_SIZE  (6 * PV_MIB) /* bytes of blocks */
#define GENERATIONS 4096u        /* counters; a power of two */

struct interp_code {
    _Atomic uint32_t generation[GENERATIONS];
};

struct record {
    interp_handler *handler;
    struct a64_insn insn;
};

struct block {
    uint64_t pc;
    uint64_t pa; /* of the first instruction */
    uint64_t epoch;
    const _Atomic uint32_t *generation;
    uint32_t seen; /* *generation when it was decoded */
    uint8_t el;
    uint8_t count;
    struct record records[];
};

struct cpu_code {
    struct block *table[TABLE_SIZE];
    size_t used; /* bytes of the arena */
    _Alignas(16) char arena[ARENA_SIZE];
};

int run_create(struct interp *interp)
{
    interp->code = calloc(1, sizeof(*interp->code));
    return interp->code ? 0 : -ENOMEM;
}

void run_destroy(struct interp *interp)
{
    free(interp->code);
    interp->code = NULL;
}

int run_cpu_create(struct cpu *c)
{
    /* Untouched pages of the arena cost nothing until blocks are put there. */
    c->code = calloc(1, sizeof(*c->code));
    return c->code ? 0 : -ENOMEM;
}

void run_cpu_destroy(struct cpu *c)
{
    free(c->code);
    c->code = NULL;
}

static _Atomic uint32_t *generation_of(struct interp *interp, uint64_t pa)
{
    uint64_t page = pa / PV_GUEST_PAGE;
    return &interp->code->generation[(page ^ page >> 12) & (GENERATIONS - 1)];
}

void interp_icache_invalidate(struct interp *interp, uint64_t pa)
{
    atomic_fetch_add(generation_of(interp, pa), 1);
    if (interp->jit)
        interp->code_changed(interp->jit, pa, 1);
}

void interp_icache_invalidate_range(struct interp *interp, uint64_t pa, uint64_t size)
{
    if (size / PV_GUEST_PAGE >= GENERATIONS) {
        interp_icache_invalidate_all(interp);
        return;
    }
    for (uint64_t at = 0; at < size; at += PV_GUEST_PAGE)
        atomic_fetch_add(generation_of(interp, pa + at), 1);
    if (interp->jit)
        interp->code_changed(interp->jit, pa, size);
}

void interp_icache_invalidate_all(struct interp *interp)
{
    for (unsigned i = 0; i < GENERATIONS; i++)
        atomic_fetch_add(&interp->code->generation[i], 1);
    if (interp->jit)
        interp->code_changed(interp->jit, 0, UINT64_MAX);
}

/* ---- Decoding ---- */

static bool ends_block(const struct a64_insn *insn)
{
    if (insn->op == A64_UNDEFINED)
        return true;
    enum a64_class class = a64_op_class(insn->op);
    return class == A64_CLASS_branch || class == A64_CLASS_system;
}

static uint32_t fetch_word(const void *host)
{
    return __atomic_load_n((const uint32_t *)host, __ATOMIC_RELAXED);
}

static struct block *decode(struct cpu *c, uint64_t pc, uint64_t pa, const char *host)
{
    struct cpu_code *code = c->code;
    const size_t most = sizeof(struct block) + BLOCK_MAX * sizeof(struct record);
    if (code->used + most > ARENA_SIZE) {
        memset(code->table, 0, sizeof(code->table));
        code->used = 0;
    }
    struct block *block = (struct block *)(void *)(code->arena + code->used);
    _Atomic uint32_t *generation = generation_of(c->interp, pa);
    *block = (struct block){
        .pc = pc,
        .pa = pa,
        .epoch = c->tlb->epoch,
        .generation = generation,
        /* Before the code is read, so that a change in between is noticed. */
        .seen = atomic_load_explicit(generation, memory_order_acquire),
        .el = c->el,
    };
    unsigned room = (unsigned)((PV_GUEST_PAGE - (pc & (PV_GUEST_PAGE - 1))) / 4);
    unsigned count = 0;
    struct record *record;
    do {
        record = &block->records[count];
        a64_decode(fetch_word(host + 4 * (size_t)count), &record->insn);
        record->handler = interp_handlers[record->insn.op];
        count++;
    } while (!ends_block(&record->insn) && count < PV_MIN(room, BLOCK_MAX));
    block->count = (uint8_t)count;
    code->used += sizeof(struct block) + count * sizeof(struct record);
    code->used = (size_t)pv_align_up(code->used, 16);
    return block;
}

static inline bool current(const struct block *block)
{
    return atomic_load_explicit(block->generation, memory_order_relaxed) == block->seen;
}

static struct block **slot(struct cpu *c, uint64_t pc)
{
    return &c->code->table[(pc >> 2 ^ pc >> 15) & (TABLE_SIZE - 1)];
}

static struct block *find_slow(struct cpu *c)
{
    uint64_t pa;
    const char *host = mem_fetch(c, c->pc, &pa);
    struct block **at = slot(c, c->pc);
    struct block *block = *at;
    if (block && block->pc == c->pc && block->pa == pa && current(block)) {
        block->epoch = c->tlb->epoch;
        block->el = c->el;
        return block;
    }
    block = decode(c, c->pc, pa, host);
    *at = block;
    return block;
}

static inline struct block *find(struct cpu *c)
{
    struct block *block = *slot(c, c->pc);
    if (PV_LIKELY(block && block->pc == c->pc && block->epoch == c->tlb->epoch &&
                  block->el == c->el && current(block)))
        return block;
    return find_slow(c);
}

/* ---- Running ---- */

static inline void run_block(struct cpu *c, const struct block *block)
{
    const struct record *record = block->records;
    const struct record *last = record + block->count - 1;
    for (; record != last; record++) {
        record->handler(c, &record->insn);
        c->pc += 4;
    }
    c->branched = false;
    record->handler(c, &record->insn);
    if (!c->branched)
        c->pc += 4;
    /* Only this thread writes; statistics read from others. */
    __atomic_store_n(&c->instructions, c->instructions + block->count, __ATOMIC_RELAXED);
}

void run_one(struct cpu *c)
{
    uint64_t pa;
    struct a64_insn insn;
    a64_decode(fetch_word(mem_fetch(c, c->pc, &pa)), &insn);
    c->branched = false;
    interp_handlers[insn.op](c, &insn);
    if (!c->branched)
        c->pc += 4;
    __atomic_store_n(&c->instructions, c->instructions + 1, __ATOMIC_RELAXED);
    cpu_stepped(c);
}

enum pv_exit run_loop(struct cpu *c)
{
    c->leaving = false;
    /* Whoever raised has put the PE at its vector: go on from there. */
    (void)_setjmp(c->unwind);
    for (;;) {
        if (PV_UNLIKELY(atomic_load_explicit(&c->vcpu->attention, memory_order_relaxed))) {
            enum interp_next next = interp_attend(c);
            if (next == INTERP_LEAVE)
                return PV_EXIT_KICK;
            if (next == INTERP_STEP) {
                run_one(c);
                if (c->leaving)
                    return c->exit;
                continue;
            }
        }
        run_block(c, find(c));
        if (PV_UNLIKELY(c->leaving))
            return c->exit;
    }
}
