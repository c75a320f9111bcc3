/* SPDX-License-Identifier: MIT */
/*
 * The seam between the translator and what translates single instructions (a64/).
 *
 * An instruction is translated by a function of its operation: it emits code that does what the
 * interpreter's handler does, or returns false without having emitted anything, and the handler is
 * called instead. What such a function may count on, and must leave behind:
 *
 *  - RAX, RCX and RDX are free, and XMM0 to XMM15. Other host registers belong to the guest's
 *    (jit_reg_of) or to the PE (RBP); RSP has the frames of guest calls.
 *  - Guest registers are numbered 0 to 30, JIT_ZR and JIT_SP. jit_read() and jit_write() hide
 *    whether one is pinned.
 *  - A guest register may be changed only after everything that can fault or go to the handler.
 *    jit_slow() makes a way there: what it does is the whole instruction, by its handler.
 *  - Host flags are the guest's NZCV or rubbish: flags.c says how an instruction tells.
 */
#ifndef PV_ENGINE_JIT_TRANSLATE_H
#define PV_ENGINE_JIT_TRANSLATE_H

#include "engine/interp/mmu.h"
#include "engine/jit/flags.h"
#include "engine/jit/jit.h"
#include "engine/jit/x64/emit.h"

#define JIT_BLOCK_MAX 64u /* instructions */

/* Guest registers by number, where 31 is decided. */
#define JIT_ZR 31u
#define JIT_SP 32u
static inline unsigned jit_sp(unsigned n)
{
    return n == 31 ? JIT_SP : n;
}

/* RBP points into struct cpu, so that x[0..31] are within a byte's displacement. */
#define JIT_CPU_BIAS 128

/* Where the guest's NZCV is between two instructions. */
enum jit_nzcv {
    JIT_NZCV_MEMORY, /* in cpu_jit.flags only */
    JIT_NZCV_SUB,    /* in host flags as after a subtraction: CF is the inverse of C */
    JIT_NZCV_ADD,    /* in host flags as after an addition or logic: CF is C */
};

/* What XMM registers hold between instructions; a64/vreg.c. */
struct jit_vregs {
    uint8_t guest[16]; /* the guest's register number plus 1; 0: nothing */
    uint8_t live[16];  /* how many low bytes may be other than zero */
    uint32_t used[16]; /* when */
    uint32_t clock;
    uint16_t dirty; /* a bit for each XMM register whose value is not in struct cpu */
};

/* A block that jumps to its own begin, and the vector registers that stay in place there. */
struct jit_loop {
    bool found;
    unsigned last; /* index of the last such jump */
    bool in_registers;
    struct x64_label head;
    struct jit_vregs at_head;
    uint32_t first_read, written, used; /* vector registers, as the first pass has seen them */
};

/* Accesses near each other, which share one lookup of the TLB; a64/near.c. */
struct jit_near {
    uint8_t first, last; /* places in the block of the first and the last of them */
    uint8_t place;       /* in cpu_jit.near; JIT_NEAR_PLACES: it is no group after all */
    bool write;
    int32_t low, high; /* what they touch, from the base as it is at the first */
};
#define JIT_NEAR_GROUPS 32u
#define JIT_NEAR_PLACES PV_ARRAY_SIZE(((struct cpu_jit *)0)->near)

/* One of them that has to look up for itself. */
struct jit_near_cold {
    uint8_t index, size; /* place in the block; bytes */
    bool write, first;
    int32_t offset; /* from the base, if it is not the first */
};

/* A way out of the straight code, emitted behind it. */
enum jit_cold_kind {
    JIT_COLD_HANDLER, /* the handler executes the instruction; goes on behind it */
    JIT_COLD_LINK,    /* leaves to have a link made */
    JIT_COLD_JUMP,    /* goes to an address in another page */
    JIT_COLD_LEAVE,   /* leaves to go on at an address */
    JIT_COLD_EXECUTE, /* leaves to have the handler execute the instruction */
    JIT_COLD_FLAGS,   /* puts a constant into host flags and goes to `good` */
    JIT_COLD_NEAR,    /* looks the TLB up for one access of a group and goes to `good` */
};

struct jit_cold {
    enum jit_cold_kind kind;
    struct x64_label here; /* those that come here */
    struct x64_label back; /* HANDLER */
    struct x64_label good; /* FLAGS, NEAR; HANDLER with a check: the result is right after all */
    uint8_t check;         /* the XMM register to look at more closely, 0 for none */
    bool is_double;
    uint8_t near_live; /* HANDLER: places of cpu_jit.near that are used behind it */
    struct jit_near_cold near;
    uint32_t index;    /* HANDLER, EXECUTE, LINK: of the record or link; NEAR: of the HANDLER */
    size_t site;       /* LINK: offset of the displacement to point here, 0 for none */
    int64_t delta;     /* JUMP, LEAVE: the target relative to the page */
    uint8_t saves[16]; /* HANDLER, LEAVE: what of jit_vregs.guest struct cpu has not */
    uint8_t vregs[16]; /* HANDLER: jit_vregs.guest at `back` */
};
#define JIT_COLD_MAX 256u

struct jit_translator {
    struct jit *jit;
    struct jit_room *room;
    struct jit_block *block;
    struct x64_code code;
    uint32_t mode;
    bool alone;                  /* interp.alone */
    const struct a64_insn *insn; /* the present one */
    unsigned index;              /* its place in the block */
    unsigned count;
    struct a64_insn insns[JIT_BLOCK_MAX];
    bool nzcv_live[JIT_BLOCK_MAX]; /* something may look at NZCV behind the instruction */
    enum jit_nzcv nzcv;
    unsigned nzcv_in_rax; /* place in the block behind the instruction that left flags.h's in AX */
    bool sp_aligned;      /* SP has been checked in this block */
    uint32_t record;      /* the present instruction's, UINT32_MAX when it has none yet */
    unsigned cold_count;
    struct jit_cold cold[JIT_COLD_MAX];
    struct jit_vregs vregs;
    struct jit_loop loop;
    unsigned near_count;
    struct jit_near near[JIT_NEAR_GROUPS];
    uint8_t near_of[JIT_BLOCK_MAX];   /* its group plus 1, or 0 */
    int32_t near_at[JIT_BLOCK_MAX];   /* its first byte, from the base as it was at the first */
    uint8_t near_live[JIT_BLOCK_MAX]; /* places that are used behind it */
    unsigned products; /* place in the block behind the instruction that left products in XMM0, 1 */
};

typedef bool jit_translate_fn(struct jit_translator *t, const struct a64_insn *insn);

/* By operation; NULL where the handler is called. a64/table.c */
extern jit_translate_fn *const jit_translators[];

/* ---- Registers (regs.c) ---- */

/* The host register that is guest register n, or -1. */
int jit_pin_of(unsigned n);
/* A field of struct cpu. */
static inline struct x64_rm jit_field(size_t offset)
{
    return x64_m(X64_RBP, (int32_t)offset - JIT_CPU_BIAS);
}
/* Where guest register n is, for instructions that take a register or memory. ZR can be read. */
struct x64_rm jit_rm(unsigned n);
/* A host register with guest register n's value: its own, or `scratch` after loading it. */
enum x64_reg jit_read(struct jit_translator *t, unsigned n, enum x64_reg scratch);
/* The value in this very register, of 4 or 8 bytes. */
void jit_read_to(struct jit_translator *t, unsigned size, enum x64_reg to, unsigned n);
/*
 * The host register to compute guest register n's new value in: its own, or `scratch`. The value is
 * n's after jit_wrote().
 */
enum x64_reg jit_target(unsigned n, enum x64_reg scratch);
void jit_wrote(struct jit_translator *t, unsigned n, enum x64_reg from);
/* For the common code: the pinned registers from and to struct cpu, or only those of them that a
 * function of the host's may change. */
void jit_load_pinned(struct x64_code *c, bool scratch_only);
void jit_store_pinned(struct x64_code *c, bool scratch_only);

/* ---- Instructions that change no host flags when it matters (a64/int.c, a64/int_bits.c) ---- */

/* ADD of registers that is a LEA. */
bool jit_is_lea(const struct a64_insn *insn);
/* ORR and ORN that are MOV and MVN. */
bool jit_is_move(const struct a64_insn *insn);
/* UBFM and SBFM that are shifts or extensions. */
bool jit_bfm_keeps_flags(const struct a64_insn *insn);

/* ---- Flags (nzcv.c) ---- */

/* Fills nzcv_live. */
void jit_nzcv_liveness(struct jit_translator *t);
/*
 * Host flags have become NZCV in this form. Keeps them in memory too, by RAX, when something may
 * look that does not come before the next instruction which destroys host flags.
 */
void jit_nzcv_set(struct jit_translator *t, enum jit_nzcv form);
/* Host flags have been destroyed. */
static inline void jit_nzcv_lost(struct jit_translator *t)
{
    t->nzcv = JIT_NZCV_MEMORY;
}
/* Puts flags in place, by RAX, and returns the host's condition for the guest's, 0 to 13. */
enum x64_cond jit_nzcv_cond(struct jit_translator *t, unsigned cond);
/* Host flags in the form JIT_NZCV_SUB from flags.h's in AX. */
void jit_nzcv_from_rax(struct jit_translator *t);
/* Puts NZCV in host flags in this form, by RAX. */
void jit_nzcv_load(struct jit_translator *t, enum jit_nzcv form);

/* ---- Handlers and ways out (translate.c) ---- */

/* Calls the handler of the instruction in line. */
void jit_call(struct jit_translator *t);
/* When `cond` holds, has the handler execute the instruction instead, and goes on behind it. */
struct jit_cold *jit_slow(struct jit_translator *t, enum x64_cond cond);
/* Goes to the address `delta` bytes from the page's begin: always, or when `cond` holds. */
void jit_goto(struct jit_translator *t, int64_t delta);
void jit_goto_if(struct jit_translator *t, enum x64_cond cond, int64_t delta);
/* When `cond` holds, leaves for the run loop, which goes on at the offset `at` or beyond the page.
 */
void jit_leave_if(struct jit_translator *t, enum x64_cond cond, unsigned at);
/* The same, and executes the instruction there. */
void jit_leave_to_execute_if(struct jit_translator *t, enum x64_cond cond);
/* For one access of a group, with the handler that it may need; nothing jumps there yet. */
struct jit_cold *jit_cold_near(struct jit_translator *t);
/* When `cond` holds, goes to `good`, to be bound, by a way that puts flags.h's form into host
 * flags. */
struct jit_cold *jit_cold_flags(struct jit_translator *t, enum x64_cond cond, uint32_t flags);
/* Adds a way out; *site is where a displacement is that must lead to it. */
struct jit_cold *jit_cold_link(struct jit_translator *t, unsigned at);
/* RAX = the address `delta` bytes from the page's begin; flags stay. */
void jit_address_of(struct jit_translator *t, enum x64_reg to, int64_t delta);

/* ---- Memory (a64/memory.c) ---- */

/*
 * RAX, a virtual address, becomes the host address for an access of `size` bytes; what fast paths
 * cannot do goes to the handler. RCX and RDX are used; flags are lost.
 */
void jit_tlb(struct jit_translator *t, unsigned size, bool write, bool unprivileged);
/*
 * The same for a load, by its virtual address in RAX: returns where the host has the first byte,
 * RAX and RDX, which is the shorter way. RCX is free.
 */
struct x64_rm jit_tlb_load(struct jit_translator *t, unsigned size, bool unprivileged);
/* The parts of both: of RAX, compares (X64_NE: it is not there) and adds or fetches the addend. */
enum tlb_bank jit_tlb_bank(const struct jit_translator *t);
void jit_tlb_find(struct jit_translator *t, unsigned size, enum tlb_bank bank, bool write);
void jit_tlb_add(struct jit_translator *t, enum tlb_bank bank, enum x64_reg to);
void jit_tlb_addend(struct jit_translator *t, enum tlb_bank bank, enum x64_reg to);
/* The same for accesses that must be aligned. What can be written can be read. */
void jit_tlb_aligned(struct jit_translator *t, unsigned size, bool write);
/* Goes to the handler when register rn is SP and misaligned. */
void jit_check_sp(struct jit_translator *t, unsigned rn);
/* RAX = base register plus offset; goes to the handler when the base is a misaligned SP. */
void jit_base(struct jit_translator *t, unsigned rn, int64_t offset);
/*
 * Where the host has the `size` bytes that the instruction accesses, `offset` from its base
 * register: by RAX, and RDX for a load. All of the above, for instructions that jit_near_find()
 * knows. RCX is free.
 */
struct x64_rm jit_access(struct jit_translator *t, const struct a64_insn *insn, int64_t offset,
                         unsigned size, bool write);
/* near.c, before emission: finds groups. Then for translate.c: forgets those of a bit set. */
void jit_near_find(struct jit_translator *t);
void jit_near_forget(struct jit_translator *t, unsigned live);
void jit_near_cold_emit(struct jit_translator *t, struct jit_cold *cold);
/* Whether memory may be accessed inline at all in this mode. */
static inline bool jit_inline_memory(const struct jit_translator *t)
{
    return !(t->mode & JIT_ALIGNED);
}

#endif
