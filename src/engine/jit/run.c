/* SPDX-License-Identifier: MIT */
/*
 * The run loop of translated code.
 *
 * Code is entered with the PE's state in struct cpu and comes back in the same way, for one of the
 * reasons of enum jit_exit. Between two runs the loop looks at the attention word, finishes what
 * the code left over (an instruction of class system, a branch whose target the code did not know),
 * and finds the next block: in the vCPU's jump cache by virtual address, else by translating PC and
 * looking for the physical address among all blocks, else by translating the block.
 *
 * Handlers raise by longjmp to the loop; the frames that calls left on the host's stack vanish with
 * it, as they do whenever code comes back.
 *
 * A vCPU that should look at its attention word finds cpu_jit.floor at its maximum. The loop puts
 * the true floor back before it reads the word, so a bit set meanwhile is either seen or moves the
 * floor again. What is pending but masked does not: instructions that unmask come back by
 * themselves.
 */
#include "engine/jit/jit.h"

#include "engine/interp/exception.h"
#include "engine/interp/mem.h"
#include "engine/interp/run.h"
#include "engine/interp/sysreg.h"
#include "engine/jit/flags.h"
#include "engine/jit/watch.h"
#include "engine/softfp/softfp.h"
#include "host/clock.h"

#include <xmmintrin.h>

/* Bits of FPCR that translated code must not meet; those of halves alone do not matter to it. */
#define FPCR_TRANSLATED (PV_FPCR_DN | PV_FPCR_FZ | PV_FPCR_RMODE)

/* MXCSR with all exceptions masked, nearest even, no flushing: FPCR's default */
#define MXCSR_CLEAR 0x1f80u
#define MXCSR_FLAGS 0x3fu

/* Host stack for the frames of guest calls. */
#define FRAMES_SIZE (64 * PV_KIB)

static uint32_t mode_of(const struct cpu *c)
{
    return (c->el ? JIT_EL1 : 0) | (c->pan ? JIT_PAN : 0) | (c->uao ? JIT_UAO : 0) |
           (c->fp_trapped ? JIT_FP_TRAP : 0) | (c->fpcr & FPCR_TRANSLATED ? JIT_FPCR : 0) |
           (sysreg_get(c, SYSREG_SCTLR_EL1) & SCTLR_A ? JIT_ALIGNED : 0);
}

/*
 * What entries of the jump cache must match: that translations of PC's half are what they were, the
 * ASID in TTBR0's half, and the mode. An entry's half is seen from its address.
 */
static uint64_t key_of(const struct cpu *c)
{
    const unsigned half = mmu_half_of(c->pc);
    uint64_t asid = half ? 0 : c->tlb->regime.asid;
    return c->tlb->code_epoch[half] << 24 | asid << 8 | c->jit.mode;
}

/*
 * Adds the block just made of the code at PC, unless another vCPU was first, whose block it then
 * is. NULL when code has changed since jit_changes() was `changes`. With the lock held.
 */
static struct jit_block *add(struct cpu *c, struct jit_block *block, const void *host,
                             uint32_t changes)
{
    struct jit *jit = c->interp->jit;
    struct jit_block *first = jit_cache_find(jit, block->pa, block->mode);
    if (first || atomic_load(jit_changes(jit, block->pa)) != changes)
        return first;
    jit_cache_add(jit, block);
    if (jit->trace)
        jit_trace_translated(jit->trace, block, c->pc, host);
    if (jit->perf_map)
        jit_perf_map_add(jit->perf_map, jit, block, c->pc);
    return block;
}

/* The block at PC, translated; NULL when the memory is full. */
static struct jit_block *translate(struct cpu *c, uint64_t pa, const void *host)
{
    struct jit *jit = c->interp->jit;
    struct jit_room *room = &jit->room[c->vcpu->index];
    const uint64_t began = pv_clock_ns();
    struct jit_block *block = NULL;

    while (!block && jit_cache_room(jit, room)) {
        struct jit_room rest = *room;
        const uint32_t changes = atomic_load(jit_changes(jit, pa));
        struct jit_block *made = jit_translate(jit, &rest, pa, c->jit.mode, host);
        pthread_mutex_lock(&jit->lock);
        block = add(c, made, host, changes);
        pthread_mutex_unlock(&jit->lock);
        if (block == made)
            *room = rest;
    }
    atomic_fetch_add(&jit->stats.translate_ns, pv_clock_ns() - began);
    return block;
}

/* The code at PC; NULL when the memory was full, and is empty now. May raise. */
static const void *find(struct cpu *c)
{
    struct jit *jit = c->interp->jit;
    struct jit_target *target = &c->jit.targets[jit_target_index(c->pc)];
    uint64_t pa;

    if (PV_LIKELY(target->va == c->pc && target->key == c->jit.key))
        return target->code;
    c->jit.lookups++;
    const void *host = mem_fetch(c, c->pc, &pa);
    struct jit_block *block = jit_cache_find(jit, pa, c->jit.mode);
    if (!block)
        block = translate(c, pa, host);
    if (!block) {
        jit_cache_empty(c);
        return NULL;
    }
    mmu_code_found(c->tlb, c->pc);
    *target =
        (struct jit_target){.va = c->pc, .key = c->jit.key, .code = jit->memory.exec + block->code};
    return target->code;
}

/* An instruction on its own; PC becomes the next one's address. */
static void execute(struct cpu *c, const struct jit_record *record)
{
    c->branched = false;
    interp_handlers[record->insn.op](c, &record->insn);
    if (!c->branched)
        c->pc += 4;
}

/* From MXCSR, as code left it, to FPSR. Both are sticky; denormal operands are no matter there. */
static void take_fp_flags(struct cpu *c)
{
    const uint32_t raised = c->jit.mxcsr & MXCSR_FLAGS;
    if (!raised)
        return;
    if (raised & _MM_EXCEPT_INVALID)
        c->fpsr |= PV_FPSR_IOC;
    if (raised & _MM_EXCEPT_DIV_ZERO)
        c->fpsr |= PV_FPSR_DZC;
    if (raised & _MM_EXCEPT_OVERFLOW)
        c->fpsr |= PV_FPSR_OFC;
    if (raised & _MM_EXCEPT_UNDERFLOW)
        c->fpsr |= PV_FPSR_UFC;
    if (raised & _MM_EXCEPT_INEXACT)
        c->fpsr |= PV_FPSR_IXC;
    c->jit.mxcsr = MXCSR_CLEAR;
}

void jit_call_handler(struct cpu *c, uint32_t index)
{
    const struct jit_record *record = &c->interp->jit->records[index];
    c->nzcv = jit_flags_to_nzcv(c->jit.flags);
    c->pc = c->jit.page + record->insn.at;
    take_fp_flags(c);
    c->jit.handled[record->insn.op]++;
    interp_handlers[record->insn.op](c, &record->insn);
    c->jit.flags = jit_flags_from_nzcv(c->nzcv);
}

/* Runs code; PC is right when it comes back. Returns a link to make, or NULL. */
static struct jit_link *run_code(struct cpu *c, const void *code)
{
    struct jit *jit = c->interp->jit;
    struct jit_link *link = NULL;

    c->jit.flags = jit_flags_from_nzcv(c->nzcv);
    c->jit.page = c->pc & ~MMU_PAGE_MASK;
    c->jit.mxcsr = MXCSR_CLEAR;
    jit->stubs.enter(c, code);
    take_fp_flags(c);
    c->nzcv = jit_flags_to_nzcv(c->jit.flags);
    c->jit.exits[c->jit.exit_kind]++;
    switch ((enum jit_exit)c->jit.exit_kind) {
    case JIT_EXIT_LINK:
        link = &jit->links[c->jit.exit_index];
        c->pc = c->jit.page + link->at;
        break;
    case JIT_EXIT_RECORD:
        c->pc = c->jit.page + jit->records[c->jit.exit_index].insn.at;
        execute(c, &jit->records[c->jit.exit_index]);
        break;
    case JIT_EXIT_BRANCH: c->pc = mmu_branch_address(c, c->pc); break;
    case JIT_EXIT_JUMP: break;
    }
    return link;
}

/* Looks at the attention word; true when the loop is to start over. */
static bool attend(struct cpu *c, bool *leave)
{
    if (atomic_load(&c->vcpu->attention) & JIT_ATTENTION_PARK) {
        interp_outside(c);
        jit_leave_running(c);
        jit_enter_running(c);
        interp_inside(c);
    }
    enum interp_next next = interp_attend(c);
    if (next == INTERP_STEP)
        run_one(c);
    *leave = next == INTERP_LEAVE || c->leaving;
    if (next == INTERP_LEAVE)
        c->exit = PV_EXIT_KICK;
    return next != INTERP_RUN;
}

enum pv_exit jit_run_loop(struct cpu *c)
{
    const uint64_t floor = (uintptr_t)__builtin_frame_address(0) - FRAMES_SIZE;
    struct jit *jit = c->interp->jit;

    c->leaving = false;
    /* Whoever raised has put the PE at its vector: go on from there. */
    (void)_setjmp(c->unwind);
    struct jit_link *link = NULL;
    for (;;) {
        if (atomic_load_explicit(&c->jit.floor, memory_order_relaxed) != floor)
            atomic_store(&c->jit.floor, floor);
        if (PV_UNLIKELY(atomic_load(&c->vcpu->attention))) {
            bool leave = false;
            uint64_t pc = c->pc;
            if (attend(c, &leave)) {
                if (leave)
                    return c->exit;
                link = NULL;
                continue;
            }
            if (c->pc != pc)
                link = NULL;
        }
        c->jit.mode = mode_of(c);
        const uint64_t key = key_of(c);
        if (key != c->jit.key)
            link = NULL;
        c->jit.key = key;
        const void *code = find(c);
        if (!code) {
            link = NULL;
            continue;
        }
        if (PV_UNLIKELY(jit->on_block)) {
            interp_look(c); /* nothing is linked, and nothing goes on without the loop */
            jit->on_block(c, code);
        } else if (link) {
            jit_cache_link(jit, link);
        }
        link = run_code(c, code);
        if (PV_UNLIKELY(c->leaving))
            return c->exit;
    }
}
