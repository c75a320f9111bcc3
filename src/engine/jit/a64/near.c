/* SPDX-License-Identifier: MIT */
/*
 * Accesses near each other: several of one block that have the same base register and differ in a
 * constant, like the fields of a structure, registers saved on the stack, or the lines of a copy.
 *
 * They are found before anything is emitted (jit_near_find). The first of such a group looks the
 * TLB up for all the bytes that the group may touch, and keeps in cpu_jit.near where the host has
 * the lowest; the others take it from there. Where the whole range is not in one page that may be
 * accessed so, there is 0 instead, and each looks up for itself, behind the straight code. The same
 * holds behind a handler, which may have gone to devices meanwhile, and so may have served another
 * vCPU's TLBI.
 *
 * A group of writes may read as well, since what can be written can be read, but not the other way
 * round; so there are up to two groups of one base. The base may move by constants in between.
 */
#include "engine/jit/a64/a64.h"

/* Bytes that a group may span: what spans more is more often in two pages. */
#define SPAN_MAX  256
#define MOVED_MAX 4096

/* ---- Finding ---- */

/* What the instruction at hand does to memory. */
struct access {
    unsigned base; /* a guest register, JIT_SP included */
    int64_t offset, moves;
    unsigned size;
    bool write;
};

static bool is_indexed(const struct a64_insn *insn, bool *post)
{
    const unsigned kind = insn->word >> 10 & 3; /* of those without bit 24 */
    const bool indexed = !(insn->word >> 24 & 1) && (kind & 1);
    *post = indexed && kind == 1;
    return indexed;
}

static void find_single(const struct a64_insn *insn, unsigned size, struct access *a)
{
    bool post;
    a->moves = is_indexed(insn, &post) ? insn->imm : 0;
    a->offset = post ? 0 : insn->imm;
    a->size = size;
    a->write = !(insn->word >> 22 & 3);
}

static void find_pair(const struct a64_insn *insn, unsigned size, struct access *a)
{
    const unsigned mode = insn->word >> 23 & 3;
    a->moves = mode & 1 ? insn->imm : 0;
    a->offset = mode == 1 ? 0 : insn->imm;
    a->size = 2 * size;
    a->write = !(insn->word >> 22 & 1);
}

/* Whether it is one that jit_access() is asked for. */
static bool find_access(const struct a64_insn *insn, struct access *a)
{
    jit_translate_fn *by = jit_translators[insn->op];
    *a = (struct access){.base = jit_sp(insn->rn)};
    if (by == jit_ldst_offset || by == jit_ldst_post || by == jit_ldst_pre) {
        find_single(insn, 1u << (insn->word >> 30), a);
    } else if (by == jit_v_ldst) {
        find_single(insn, jit_v_ldst_bytes(insn), a);
        a->write = !(insn->word >> 22 & 1);
    } else if (by == jit_ldst_pair) {
        find_pair(insn, insn->word >> 31 ? 8 : 4, a);
    } else if (by == jit_v_ldst_pair) {
        find_pair(insn, 4u << (insn->word >> 30), a);
    } else {
        return false;
    }
    return true;
}

/* Conversions and moves of FP registers to general ones, or what may be one; UMOV and SMOV. */
static bool writes_general(const struct a64_insn *insn)
{
    if (insn->op == A64_UMOV || insn->op == A64_SMOV)
        return true;
    return (insn->word >> 24 & 0x7f) == 0x1e && (!(insn->word >> 21 & 1) || !(insn->word & 0xfc00));
}

struct finder {
    struct jit_translator *t;
    /* By base: the groups of reads and of writes that more may join, plus 1, and how far the base
     * has moved since each began. */
    uint8_t open[JIT_SP + 1][2];
    int32_t moved[JIT_SP + 1][2];
};

static void close_base(struct finder *f, unsigned base)
{
    f->open[base][0] = f->open[base][1] = 0;
}

static void close_all(struct finder *f)
{
    memset(f->open, 0, sizeof(f->open));
}

static void move_base(struct finder *f, unsigned base, int64_t by)
{
    for (unsigned write = 0; write < 2; write++) {
        int64_t moved = f->moved[base][write] + by;
        if (by != (int32_t)by || moved > MOVED_MAX || moved < -MOVED_MAX)
            f->open[base][write] = 0;
        else
            f->moved[base][write] = (int32_t)moved;
    }
}

static bool join(struct finder *f, const struct access *a, bool group_writes)
{
    struct jit_translator *t = f->t;
    if (!f->open[a->base][group_writes])
        return false;
    struct jit_near *near = &t->near[f->open[a->base][group_writes] - 1];
    const int64_t at = f->moved[a->base][group_writes] + a->offset;
    const int64_t low = PV_MIN(near->low, at), high = PV_MAX(near->high, at + a->size);
    if (high - low > SPAN_MAX)
        return false;
    near->low = (int32_t)low;
    near->high = (int32_t)high;
    near->last = (uint8_t)t->index;
    t->near_of[t->index] = f->open[a->base][group_writes];
    t->near_at[t->index] = (int32_t)at;
    return true;
}

static void begin(struct finder *f, const struct access *a)
{
    struct jit_translator *t = f->t;
    if (t->near_count == JIT_NEAR_GROUPS || a->offset != (int32_t)a->offset)
        return;
    t->near[t->near_count++] = (struct jit_near){
        .first = (uint8_t)t->index,
        .last = (uint8_t)t->index,
        .low = (int32_t)a->offset,
        .high = (int32_t)(a->offset + a->size),
        .write = a->write,
    };
    f->open[a->base][a->write] = (uint8_t)t->near_count;
    f->moved[a->base][a->write] = 0;
    t->near_of[t->index] = (uint8_t)t->near_count;
    t->near_at[t->index] = (int32_t)a->offset;
}

static void see_access(struct finder *f, const struct a64_insn *insn, const struct access *a)
{
    const bool general = a64_op_class(insn->op) == A64_CLASS_ldst;
    if (!join(f, a, true) && (a->write || !join(f, a, false)))
        begin(f, a);
    move_base(f, a->base, a->moves);
    if (!general || a->write)
        return;
    close_base(f, insn->rd);
    if (jit_translators[insn->op] == jit_ldst_pair)
        close_base(f, insn->ra);
}

/* Other loads and stores: those of vector registers may write their base. False for the rest. */
static bool see_other_access(struct finder *f, const struct a64_insn *insn)
{
    jit_translate_fn *by = jit_translators[insn->op];
    if (by == jit_ldst_register || by == jit_ldr_literal || by == jit_ldst_unprivileged)
        close_base(f, insn->rd);
    else if (by == jit_v_structures || by == jit_v_interleaved || by == jit_v_threes ||
             by == jit_v_lane || by == jit_v_replicate)
        close_base(f, jit_sp(insn->rn));
    else if (by != jit_v_ldst_register && by != jit_v_literal && by != jit_prfm)
        return false;
    return true;
}

static void see_other(struct finder *f, const struct a64_insn *insn)
{
    const unsigned rd = insn->rd;
    if (see_other_access(f, insn))
        return;
    switch (a64_op_class(insn->op)) {
    case A64_CLASS_int:
        if ((insn->op == A64_ADD_IMM || insn->op == A64_SUB_IMM) && insn->rn == rd &&
            insn->word >> 31) {
            move_base(f, jit_sp(rd), insn->op == A64_ADD_IMM ? insn->imm : -insn->imm);
            break;
        }
        close_base(f, rd);
        close_base(f, jit_sp(rd));
        break;
    case A64_CLASS_fp:
    case A64_CLASS_simd:
    case A64_CLASS_crypto:
        if (writes_general(insn))
            close_base(f, rd);
        break;
    case A64_CLASS_branch: break; /* those that write X30 end the block */
    default:
        if (insn->op == A64_HINT || insn->op == A64_DMB)
            break;
        close_all(f);
        break;
    }
}

/* Each group that is one gets a place in cpu_jit.near for as long as it lasts. */
static void give_places(struct jit_translator *t)
{
    uint8_t busy_until[JIT_NEAR_PLACES] = {0};
    for (unsigned i = 0; i < t->near_count; i++) {
        struct jit_near *near = &t->near[i];
        near->place = JIT_NEAR_PLACES;
        for (unsigned p = 0; near->last > near->first && p < JIT_NEAR_PLACES; p++) {
            if (busy_until[p] > near->first)
                continue;
            busy_until[p] = near->last;
            near->place = (uint8_t)p;
            break;
        }
        if (near->place == JIT_NEAR_PLACES)
            continue;
        for (unsigned k = near->first; k < near->last; k++)
            t->near_live[k] |= (uint8_t)(1u << near->place);
    }
}

void jit_near_find(struct jit_translator *t)
{
    struct finder f = {.t = t};
    for (t->index = 0; t->index < t->count; t->index++) {
        const struct a64_insn *insn = &t->insns[t->index];
        struct access a;
        if (find_access(insn, &a))
            see_access(&f, insn, &a);
        else
            see_other(&f, insn);
    }
    give_places(t);
}

/* ---- Emission ---- */

static struct x64_rm place(unsigned number)
{
    return jit_field(offsetof(struct cpu, jit.near[0]) + 8 * (size_t)number);
}

void jit_near_forget(struct jit_translator *t, unsigned live)
{
    for (unsigned p = 0; p < JIT_NEAR_PLACES; p++)
        if (live >> p & 1)
            x64_store_imm(&t->code, 8, place(p), 0);
}

static struct jit_cold *near_cold(struct jit_translator *t, unsigned size, bool write, bool first)
{
    struct jit_cold *cold = jit_cold_near(t);
    cold->near = (struct jit_near_cold){
        .index = (uint8_t)t->index, .size = (uint8_t)size, .write = write, .first = first};
    return cold;
}

/*
 * The first: RAX is the address of the group's lowest byte. A store finds the host's in RAX; a load
 * has it in RAX and RDX, as in jit_tlb_load().
 */
static struct x64_rm first_access(struct jit_translator *t, const struct jit_near *near,
                                  unsigned rn, unsigned size, bool write, int32_t at)
{
    const enum tlb_bank bank = jit_tlb_bank(t);
    jit_base(t, rn, near->low);
    struct jit_cold *cold = near_cold(t, size, write, true);
    jit_tlb_find(t, (unsigned)(near->high - near->low), bank, near->write);
    x64_jcc(&t->code, X64_NE, &cold->here);
    jit_nzcv_lost(t);
    if (write) {
        jit_tlb_add(t, bank, X64_RAX);
        x64_store(&t->code, 8, place(near->place), X64_RAX);
        x64_bind(&t->code, &cold->good);
        return x64_m(X64_RAX, at - near->low);
    }
    jit_tlb_addend(t, bank, X64_RDX);
    x64_lea(&t->code, 8, X64_RCX, x64_mx(X64_RAX, X64_RDX, 0, 0));
    x64_store(&t->code, 8, place(near->place), X64_RCX);
    x64_bind(&t->code, &cold->good);
    return x64_mx(X64_RAX, X64_RDX, 0, at - near->low);
}

struct x64_rm jit_access(struct jit_translator *t, const struct a64_insn *insn, int64_t offset,
                         unsigned size, bool write)
{
    const struct jit_near *near = t->near_of[t->index] ? &t->near[t->near_of[t->index] - 1] : NULL;
    if (!near || near->place == JIT_NEAR_PLACES) {
        jit_base(t, insn->rn, offset);
        if (!write)
            return jit_tlb_load(t, size, false);
        jit_tlb(t, size, true, false);
        return x64_m(X64_RAX, 0);
    }
    const int32_t at = t->near_at[t->index];
    if (near->first == t->index)
        return first_access(t, near, insn->rn, size, write, at);
    jit_check_sp(t, insn->rn);
    struct jit_cold *cold = near_cold(t, size, write, false);
    cold->near.offset = (int32_t)offset;
    x64_mov(&t->code, 8, X64_RAX, place(near->place));
    x64_test(&t->code, 8, x64_r(X64_RAX), X64_RAX);
    jit_nzcv_lost(t);
    x64_jcc(&t->code, X64_E, &cold->here);
    x64_bind(&t->code, &cold->good);
    return x64_m(X64_RAX, at - near->low);
}

/* Looks up for the one access, and returns to where it is made with what is expected there. */
void jit_near_cold_emit(struct jit_translator *t, struct jit_cold *cold)
{
    const struct jit_near_cold *c = &cold->near;
    const struct jit_near *near = &t->near[t->near_of[c->index] - 1];
    const int32_t at = t->near_at[c->index] - near->low;
    const enum tlb_bank bank = jit_tlb_bank(t);
    if (c->first) {
        x64_store_imm(&t->code, 8, place(near->place), 0);
        x64_lea(&t->code, 8, X64_RAX, x64_m(X64_RAX, at));
    } else {
        enum x64_reg base = jit_read(t, jit_sp(t->insns[c->index].rn), X64_RAX);
        x64_lea(&t->code, 8, X64_RAX, x64_m(base, c->offset));
    }
    jit_tlb_find(t, c->size, bank, c->write);
    x64_jcc(&t->code, X64_NE, &t->cold[cold->index].here);
    if (c->first && !c->write)
        jit_tlb_addend(t, bank, X64_RDX);
    else
        jit_tlb_add(t, bank, X64_RAX);
    x64_lea(&t->code, 8, X64_RAX, x64_m(X64_RAX, -at));
    x64_jmp(&t->code, &cold->good);
}
