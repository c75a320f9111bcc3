/* SPDX-License-Identifier: MIT */
/*
 * Ordered accesses, exclusives and FEAT_LSE on the host's locked instructions.
 *
 * x86's memory order gives acquire and release for nothing; only a store-release must not be passed
 * by a later load-acquire, so it is an exchange.
 *
 * interp/atomic.c says how exclusives notice that a granule changed. An atomic first looks at its
 * granule's word, and leaves everything to the handler when that is watched. A load-exclusive sees
 * here that the word is watched already, and a store-exclusive that its monitor still holds; what
 * is otherwise is the handler's too.
 *
 * Where there is one vCPU, and all memory is RAM that no one else owns, atomics need not be locked:
 * nothing but a vCPU reads, changes and writes a location of RAM, and interrupts come between
 * instructions. Devices' threads only store, and what they store to is not what guests update by
 * atomics. Nobody watches then: exclusives only compare the value.
 */
#include "engine/jit/a64/a64.h"

#include "engine/interp/idregs.h"

static unsigned size_of(const struct a64_insn *insn)
{
    return 1u << (insn->word >> 30);
}

/* RAX = the host's address of the location, aligned; else the handler finds what is wrong. */
static bool locate(struct jit_translator *t, const struct a64_insn *insn, unsigned size, bool write)
{
    if (!jit_inline_memory(t))
        return false;
    jit_base(t, insn->rn, 0);
    jit_tlb_aligned(t, size, write);
    return true;
}

/* The register's low `size` bytes, all others zero. */
static void zero_extend(struct jit_translator *t, unsigned size, enum x64_reg reg)
{
    if (size < 4)
        x64_movzx(&t->code, size, reg, x64_r(reg));
    else if (size == 4)
        x64_mov(&t->code, 4, reg, x64_r(reg));
}

static void load_zero_extended(struct jit_translator *t, unsigned size, enum x64_reg to,
                               struct x64_rm from)
{
    if (size < 4)
        x64_movzx(&t->code, size, to, from);
    else
        x64_mov(&t->code, size, to, from);
}

/* ---- Ordered ---- */

bool jit_load_acquire(struct jit_translator *t, const struct a64_insn *insn)
{
    if (!locate(t, insn, size_of(insn), false))
        return false;
    load_zero_extended(t, size_of(insn), X64_RCX, x64_m(X64_RAX, 0));
    jit_wrote(t, insn->rd, X64_RCX);
    return true;
}

bool jit_store_release(struct jit_translator *t, const struct a64_insn *insn)
{
    if (!locate(t, insn, size_of(insn), true))
        return false;
    jit_read_to(t, 8, X64_RCX, insn->rd);
    x64_xchg(&t->code, size_of(insn), x64_m(X64_RAX, 0), X64_RCX);
    return true;
}

/* ---- Granules ---- */

static void lock(struct jit_translator *t)
{
    if (!t->alone)
        x64_lock(&t->code);
}

/* [RDX + RCX] is the word of the granule with the host address RAX. */
static struct x64_rm granule_word(struct jit_translator *t)
{
    _Static_assert(EXCLUSIVE_GRANULE == 64, "divided by it and multiplied by 4");
    x64_mov(&t->code, 4, X64_RCX, x64_r(X64_RAX));
    x64_shift_imm(&t->code, X64_SHR, 4, x64_r(X64_RCX), 4);
    x64_alu_imm(&t->code, X64_AND, 4, x64_r(X64_RCX), (INTERP_GRANULE_WORDS - 1) * 4);
    x64_mov_imm(&t->code, X64_RDX, (uintptr_t)t->jit->interp->granules);
    jit_nzcv_lost(t);
    return x64_mx(X64_RDX, X64_RCX, 0, 0);
}

/* RAX = the host's address for an atomic; where exclusives watch, the handler does it. */
static bool locate_unwatched(struct jit_translator *t, const struct a64_insn *insn, unsigned size)
{
    if (!locate(t, insn, size, true))
        return false;
    if (t->alone)
        return true;
    x64_test_imm(&t->code, 1, granule_word(t), INTERP_GRANULE_WATCHED);
    jit_slow(t, X64_NE);
    return true;
}

/* ---- Exclusives ---- */

static struct x64_rm monitor_field(size_t offset)
{
    return jit_field(offsetof(struct cpu, monitor) + offset);
}
#define MONITOR(field) monitor_field(offsetof(struct cpu_monitor, field))
#define SCRATCH(i)     jit_field(offsetof(struct cpu, jit.scratch) + 8u * (i))

/* LDXR and LDAXR */
bool jit_load_exclusive(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = size_of(insn);
    if (!locate(t, insn, size_of(insn), false))
        return false;
    if (!t->alone) {
        x64_mov(&t->code, 4, X64_RDX, granule_word(t));
        x64_mov(&t->code, 4, X64_RCX, x64_r(X64_RDX));
        x64_alu_imm(&t->code, X64_AND, 4, x64_r(X64_RCX),
                    INTERP_GRANULE_WATCHED | INTERP_GRANULE_BUSY);
        x64_alu_imm(&t->code, X64_CMP, 4, x64_r(X64_RCX), INTERP_GRANULE_WATCHED);
        jit_slow(t, X64_NE);
        x64_store(&t->code, 4, MONITOR(granule), X64_RDX);
    }
    load_zero_extended(t, size, X64_RCX, x64_m(X64_RAX, 0));
    x64_store(&t->code, 8, MONITOR(value), X64_RCX);
    x64_store(&t->code, 8, MONITOR(va), jit_read(t, jit_sp(insn->rn), X64_RDX));
    x64_store_imm(&t->code, 4, MONITOR(size), (int32_t)size);
    jit_wrote(t, insn->rd, X64_RCX);
    return true;
}

/*
 * At the host address RAX, the monitor's value becomes rd's; flags say whether. RCX is the host
 * address then.
 */
static void replace(struct jit_translator *t, const struct a64_insn *insn)
{
    x64_mov(&t->code, 8, X64_RCX, x64_r(X64_RAX));
    x64_mov(&t->code, 8, X64_RAX, MONITOR(value));
    jit_read_to(t, 8, X64_RDX, insn->rd);
    lock(t);
    x64_cmpxchg(&t->code, size_of(insn), x64_m(X64_RCX, 0), X64_RDX);
}

/* The same while the granule's word is taken; if it cannot be, the handler finds out why. */
static void take_and_replace(struct jit_translator *t, const struct a64_insn *insn)
{
    struct x64_rm word = granule_word(t);
    x64_store(&t->code, 8, SCRATCH(0), X64_RAX);
    x64_lea(&t->code, 8, X64_RCX, word);
    x64_store(&t->code, 8, SCRATCH(1), X64_RCX);
    x64_mov(&t->code, 4, X64_RAX, MONITOR(granule));
    x64_lea(&t->code, 4, X64_RDX, x64_m(X64_RAX, INTERP_GRANULE_BUSY));
    x64_lock(&t->code);
    x64_cmpxchg(&t->code, 4, x64_m(X64_RCX, 0), X64_RDX);
    jit_slow(t, X64_NE);
    x64_mov(&t->code, 8, X64_RAX, SCRATCH(0));
    replace(t, insn);
    x64_mov(&t->code, 8, X64_RCX, SCRATCH(1));
    x64_mov(&t->code, 4, X64_RDX, MONITOR(granule));
    x64_lea(&t->code, 4, X64_RDX, x64_m(X64_RDX, INTERP_GRANULE_STEP));
    x64_store(&t->code, 4, x64_m(X64_RCX, 0), X64_RDX);
}

/* STXR and STLXR. The value compared is of the same size: smaller ones were zero-extended. */
bool jit_store_exclusive(struct jit_translator *t, const struct a64_insn *insn)
{
    if (!locate(t, insn, size_of(insn), true))
        return false;
    x64_alu_imm(&t->code, X64_CMP, 4, MONITOR(size), (int32_t)size_of(insn));
    jit_slow(t, X64_NE);
    x64_alu(&t->code, X64_CMP, 8, jit_read(t, jit_sp(insn->rn), X64_RCX), MONITOR(va));
    jit_slow(t, X64_NE);
    if (t->alone)
        replace(t, insn);
    else
        take_and_replace(t, insn);
    x64_setcc(&t->code, X64_NE, x64_r(X64_RAX));
    x64_movzx(&t->code, 1, X64_RAX, x64_r(X64_RAX));
    x64_store_imm(&t->code, 4, MONITOR(size), 0);
    jit_wrote(t, insn->rm, X64_RAX);
    return true;
}

/* ---- FEAT_LSE ---- */

bool jit_cas(struct jit_translator *t, const struct a64_insn *insn)
{
    if (!locate_unwatched(t, insn, size_of(insn)))
        return false;
    x64_mov(&t->code, 8, X64_RCX, x64_r(X64_RAX));
    jit_read_to(t, 8, X64_RAX, insn->rm);
    jit_read_to(t, 8, X64_RDX, insn->rd);
    lock(t);
    x64_cmpxchg(&t->code, size_of(insn), x64_m(X64_RCX, 0), X64_RDX);
    jit_nzcv_lost(t);
    zero_extend(t, size_of(insn), X64_RAX);
    jit_wrote(t, insn->rm, X64_RAX);
    return true;
}

/*
 * CASP of 64-bit registers. CMPXCHG16B takes RBX and all scratch registers, and the address needs
 * one more: X0 and X1, which are pinned there, wait in memory.
 */
bool jit_casp(struct jit_translator *t, const struct a64_insn *insn)
{
    _Static_assert(X64_RBX != X64_RSI, "regs.c");
    if (!(insn->word >> 30 & 1) || !locate_unwatched(t, insn, 16))
        return false;
    x64_store(&t->code, 8, SCRATCH(0), X64_RBX);
    x64_store(&t->code, 8, SCRATCH(1), X64_RSI);
    jit_read_to(t, 8, X64_RDX, insn->rd);
    jit_read_to(t, 8, X64_RCX, insn->rd + 1u);
    x64_mov(&t->code, 8, X64_RSI, x64_r(X64_RAX));
    x64_mov(&t->code, 8, X64_RBX, x64_r(X64_RDX));
    for (unsigned i = 0; i < 2; i++) {
        const enum x64_reg to = i ? X64_RDX : X64_RAX;
        if (insn->rm == 0)
            x64_mov(&t->code, 8, to, SCRATCH(i));
        else
            jit_read_to(t, 8, to, insn->rm + i);
    }
    lock(t);
    x64_cmpxchg16b(&t->code, x64_m(X64_RSI, 0));
    jit_nzcv_lost(t);
    x64_mov(&t->code, 8, X64_RBX, SCRATCH(0));
    x64_mov(&t->code, 8, X64_RSI, SCRATCH(1));
    jit_wrote(t, insn->rm, X64_RAX);
    jit_wrote(t, insn->rm + 1u, X64_RDX);
    return true;
}

/* RCX and memory at RAX change places; XCHG with memory is always locked. */
static void exchange(struct jit_translator *t, unsigned size)
{
    if (!t->alone) {
        x64_xchg(&t->code, size, x64_m(X64_RAX, 0), X64_RCX);
        return;
    }
    load_zero_extended(t, size, X64_RDX, x64_m(X64_RAX, 0));
    x64_store(&t->code, size, x64_m(X64_RAX, 0), X64_RCX);
    x64_mov(&t->code, 8, X64_RCX, x64_r(X64_RDX));
}

/* LDADD and SWP */
bool jit_exchange(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = size_of(insn);
    if (!locate_unwatched(t, insn, size_of(insn)))
        return false;
    jit_read_to(t, 8, X64_RCX, insn->rm);
    jit_nzcv_lost(t);
    if (insn->op == A64_LDADD) {
        lock(t);
        if (insn->rd == 31) {
            x64_alu_store(&t->code, X64_ADD, size, x64_m(X64_RAX, 0), X64_RCX);
            return true;
        }
        x64_xadd(&t->code, size, x64_m(X64_RAX, 0), X64_RCX);
    } else {
        exchange(t, size);
    }
    zero_extend(t, size, X64_RCX);
    jit_wrote(t, insn->rd, X64_RCX);
    return true;
}

/*
 * x86 gives the old value of no other operation, so compare and swap until it holds. RCX is the
 * host address, RAX the old value, and `compute` makes RDX, the operand, the new one.
 */
static void update(struct jit_translator *t, const struct a64_insn *insn,
                   void (*compute)(struct jit_translator *t, const struct a64_insn *insn))
{
    const unsigned size = size_of(insn);
    struct x64_label again = X64_LABEL;
    x64_mov(&t->code, 8, X64_RCX, x64_r(X64_RAX));
    load_zero_extended(t, size, X64_RAX, x64_m(X64_RCX, 0));
    x64_bind(&t->code, &again);
    jit_read_to(t, 8, X64_RDX, insn->rm);
    jit_nzcv_lost(t);
    compute(t, insn);
    if (t->alone) {
        x64_store(&t->code, size, x64_m(X64_RCX, 0), X64_RDX);
    } else {
        x64_lock(&t->code);
        x64_cmpxchg(&t->code, size, x64_m(X64_RCX, 0), X64_RDX);
        x64_jcc_near(&t->code, X64_NE, &again);
        zero_extend(t, size, X64_RAX);
    }
    jit_wrote(t, insn->rd, X64_RAX);
}

static enum x64_alu logic_of(unsigned op)
{
    return op == A64_LDCLR ? X64_AND : op == A64_LDSET ? X64_OR : X64_XOR;
}

static void compute_logic(struct jit_translator *t, const struct a64_insn *insn)
{
    if (insn->op == A64_LDCLR)
        x64_unary(&t->code, X64_NOT, 8, x64_r(X64_RDX));
    x64_alu(&t->code, logic_of(insn->op), 8, X64_RDX, x64_r(X64_RAX));
}

/* LDCLR, LDSET and LDEOR */
bool jit_fetch_logic(struct jit_translator *t, const struct a64_insn *insn)
{
    if (!locate_unwatched(t, insn, size_of(insn)))
        return false;
    if (insn->rd != 31) {
        update(t, insn, compute_logic);
        return true;
    }
    jit_read_to(t, 8, X64_RCX, insn->rm);
    if (insn->op == A64_LDCLR)
        x64_unary(&t->code, X64_NOT, 8, x64_r(X64_RCX));
    lock(t);
    x64_alu_store(&t->code, logic_of(insn->op), size_of(insn), x64_m(X64_RAX, 0), X64_RCX);
    jit_nzcv_lost(t);
    return true;
}

/* The old value stays when the operand is beyond it the wrong way. */
static void compute_extreme(struct jit_translator *t, const struct a64_insn *insn)
{
    const enum x64_cond stays = insn->op == A64_LDSMAX   ? X64_G
                                : insn->op == A64_LDSMIN ? X64_L
                                : insn->op == A64_LDUMAX ? X64_A
                                                         : X64_B;
    x64_alu(&t->code, X64_CMP, size_of(insn), X64_RAX, x64_r(X64_RDX));
    x64_cmov(&t->code, stays, 8, X64_RDX, x64_r(X64_RAX));
}

/* LDSMAX, LDSMIN, LDUMAX and LDUMIN */
bool jit_fetch_extreme(struct jit_translator *t, const struct a64_insn *insn)
{
    if (!locate_unwatched(t, insn, size_of(insn)))
        return false;
    update(t, insn, compute_extreme);
    return true;
}
