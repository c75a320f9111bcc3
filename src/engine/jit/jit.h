/* SPDX-License-Identifier: MIT */
/*
 * The translating engine's runtime: what it keeps, and what its parts call of one another.
 *
 * The PE is the interpreter's (interp/cpu.h): registers, MMU, system registers, exceptions and
 * every instruction handler. Translated code runs between two calls of the run loop (run.c); it
 * pins some guest registers in host registers and has the rest in struct cpu.
 *
 *   run.c        the run loop: attention, the way from PC to code, what to do when code came back
 *   cache.c      blocks: found by physical address and mode, linked by direct jumps, invalidated by
 *                page, all forgotten when the memory is full
 *   stubs.c      the common code: entering, leaving, calling a handler, the jump cache
 *   translate.c  a block from guest instructions; a64/ has the instructions by class
 */
#ifndef PV_ENGINE_JIT_JIT_H
#define PV_ENGINE_JIT_JIT_H

#include "engine/interp/interp.h"
#include "host/code_memory.h"

struct jit_perf_map;
struct jit_symbols;
struct jit_trace;

/*
 * What translated code depends on besides the instructions: a block is good for one combination.
 * The mode changes only between two runs of code, in instructions of class system and exceptions.
 */
enum jit_mode {
    JIT_EL1 = 1u << 0,
    JIT_PAN = 1u << 1,
    JIT_UAO = 1u << 2,
    JIT_FP_TRAP = 1u << 3, /* FP and SIMD instructions trap */
    JIT_ALIGNED = 1u << 4, /* SCTLR_EL1.A: unaligned accesses fault */
    JIT_FPCR = 1u << 5,    /* FPCR is not at its default */
    JIT_MODES = 1u << 6,
};

/* An instruction that its handler executes. */
struct jit_record {
    struct a64_insn insn; /* insn.at is its offset in the page */
};

/* Bit of vcpu->attention: park, the code is about to be forgotten. */
#define JIT_ATTENTION_PARK (PV_ATTENTION_ENGINE << 2)

struct jit_block;

/*
 * A place in code that goes to another block of the same page; at first, and again when that block
 * dies, to code that leaves to have the link made. Offsets are in the code memory.
 */
struct jit_link {
    struct jit_block *from;
    uint32_t site; /* of the rel32 */
    uint32_t away; /* of the code that leaves */
    uint32_t next; /* the next link made to the same block, or JIT_NO_LINK */
    uint16_t at;   /* offset of the target in its page */
    bool made;
};
#define JIT_NO_LINK UINT32_MAX

struct jit_block {
    struct jit_block *_Atomic next; /* in its hash chain */
    struct jit_block *next_in_page; /* in its page's list */
    uint64_t pa;
    uint64_t lines;    /* of its page, 64 bytes each: which the code depends on */
    uint32_t incoming; /* links made to here */
    uint32_t mode;
    uint32_t code, size; /* offset in the code memory, bytes with cold parts */
    uint16_t count;      /* instructions */
    _Atomic bool dead;   /* its lines changed: nothing leads here any more */
};

/* Where a virtual address's code is; valid when `key` is the vCPU's. */
struct jit_target {
    uint64_t va, key;
    const void *code;
    uint64_t unused;
};
#define JIT_TARGETS 16384u

static inline unsigned jit_target_index(uint64_t va)
{
    return va >> 2 & (JIT_TARGETS - 1);
}

/* Why code came back (cpu_jit.exit_kind). */
enum jit_exit {
    JIT_EXIT_LINK,   /* to where jit->links[exit_index] goes, and link it */
    JIT_EXIT_RECORD, /* execute jit->records[exit_index], then go on */
    JIT_EXIT_BRANCH, /* to c->pc, a register's value */
    JIT_EXIT_JUMP,   /* to c->pc, an address in this half of the address space */
};

struct jit_stubs {
    void (*enter)(struct cpu *c, const void *code);
    const void *handler;                  /* called; eax: index of the record to execute */
    const void *leave[JIT_EXIT_JUMP + 1]; /* jumped to; eax: the index, rax: the address */
    const void *counter; /* called; gives the system counter in rax. NULL: ask the handler */
    const void *branch;  /* jumped to; rax: a register's value, looked for in the jump cache */
    const void *jump;    /* the same for an address that PC's was added to */
};

#define JIT_CODE_SIZE  (112 * PV_MIB)
#define JIT_BLOCK_CODE (128 * 1024u) /* more than a block can need */
#define JIT_ROOM_CODE  (256 * 1024u) /* what a vCPU takes at once */
#define JIT_ROOM_ITEMS 2048u
#define JIT_RECORDS    (1u << 21)
#define JIT_LINKS      (1u << 21)
#define JIT_BLOCKS     (1u << 19)
#define JIT_HASH       (1u << 17)
#define JIT_PAGE_HASH  (1u << 14)
#define JIT_CHANGES    1024u

/*
 * What a vCPU may translate into: ranges of the code memory and of the arrays that it took for
 * itself, so that no two vCPUs wait for each other while they translate.
 */
struct jit_range {
    uint32_t at, end;
};
struct jit_room {
    struct jit_range code, records, links, blocks;
};

struct jit_stats {
    _Atomic uint64_t blocks, instructions, host_bytes; /* translated */
    _Atomic uint64_t invalidated, emptied;
    _Atomic uint64_t translate_ns;
};

/* What IC IVAU invalidates (CTR_EL0.IminLine). */
#define JIT_LINE 64u

/* All arrays are mappings that cost nothing until used. */
struct jit {
    struct interp *interp;
    struct pv_code_memory memory;
    struct jit_stubs stubs;
    bool host_aes, host_sha;  /* beyond what is needed: AES-NI with PCLMULQDQ, SHA */
    const uint8_t *constants; /* a64/constants.c; where code sees them */
    const uint8_t *threes;    /* the same: shuffles of interleaved threes */

    pthread_mutex_t lock; /* everything below, but for reading the hash chains */
    uint32_t used;        /* bytes of code memory */
    uint32_t limit;       /* how many may be: all of it, but for tests */
    uint32_t stubs_end;   /* the common code ends here; blocks follow */
    struct jit_record *records;
    struct jit_link *links;
    struct jit_block *blocks;
    uint32_t record_count, link_count, block_count; /* taken by vCPUs */
    struct jit_room room[PV_MAX_VCPUS]; /* each touched by its vCPU, and by who empties */
    /* Of code in the pages that hash here: a block translated meanwhile may be of the old one. */
    _Atomic uint32_t changes[JIT_CHANGES];
    struct jit_block *_Atomic *hash; /* by pa and mode */
    struct jit_block **by_page;      /* lists of the blocks of pages that hash here */

    pthread_cond_t changed; /* a vCPU stopped running, or the code was emptied */
    bool emptying;          /* a vCPU waits until no other is running */

    struct jit_stats stats;
    struct jit_symbols *symbols; /* these three may be NULL; watch.h */
    struct jit_trace *trace;
    struct jit_perf_map *perf_map;
    /*
     * Called before each block is entered: all code then comes back to the run loop at a block's
     * end, having said how far it came (cpu_jit.at). NULL, or set before anything is translated.
     */
    void (*on_block)(struct cpu *c, const void *code);
};

/* cache.c */
int jit_cache_create(struct jit *jit, struct pv_error **err);
void jit_cache_destroy(struct jit *jit);
/* The live block, or NULL. The caller is running, or holds the lock. */
struct jit_block *jit_cache_find(struct jit *jit, uint64_t pa, uint32_t mode);
/* Changes whenever code in the page of pa may have. */
static inline _Atomic uint32_t *jit_changes(struct jit *jit, uint64_t pa)
{
    return &jit->changes[(pa >> 12) % JIT_CHANGES];
}

/* Room for one more block; false when the memory is full. */
bool jit_cache_room(struct jit *jit, struct jit_room *room);
/* With the lock held. */
void jit_cache_add(struct jit *jit, struct jit_block *block);
/* interp->code_changed. */
void jit_code_changed(struct jit *jit, uint64_t pa, uint64_t size);
/* Forgets all code, once no vCPU is in it; another vCPU may have done it instead. */
void jit_cache_empty(struct cpu *c);
/* On the way into the run loop, and out of it: while running, code stays where it is. */
void jit_enter_running(struct cpu *c);
void jit_leave_running(struct cpu *c);

/* Has the place go to the block that it names, if both live. */
void jit_cache_link(struct jit *jit, struct jit_link *link);

/* stubs.c; jit->used moves behind them */
void jit_stubs_emit(struct jit *jit, const struct pv_engine_config *config);

/* translate.c */
/* Into `room`, which has enough and shrinks; `host` is the first instruction. Without the lock. */
struct jit_block *jit_translate(struct jit *jit, struct jit_room *room, uint64_t pa, uint32_t mode,
                                const void *host);

/* run.c */
enum pv_exit jit_run_loop(struct cpu *c);
/* Executes a record in the middle of translated code, which has stored what it pins. */
void jit_call_handler(struct cpu *c, uint32_t index);

#endif
