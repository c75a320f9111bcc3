/* SPDX-License-Identifier: MIT */
/*
 * From guest instructions to a block of host code.
 *
 * A block is a straight run of instructions. It goes on behind conditional branches, which leave it
 * in the middle, and ends at an unconditional branch, at an instruction of class system, and with
 * its page. The instructions are decoded, then gone through backwards once (nzcv.c), then each is
 * translated; what is seldom needed is emitted behind the straight code.
 *
 * No address of the guest's is in the code: PC is the page that runs (cpu_jit.page) plus an offset
 * that is known here. Jumps within the page become links; others look the address up.
 */
#include "engine/jit/a64/vector.h"

#include "base/log.h"

#include <inttypes.h>

/* ---- Handlers ---- */

static uint32_t record_of(struct jit_translator *t)
{
    if (t->record == UINT32_MAX) {
        t->record = t->room->records.at++;
        t->jit->records[t->record] = (struct jit_record){*t->insn};
    }
    return t->record;
}

void jit_call(struct jit_translator *t)
{
    jit_v_flush(t);
    x64_mov_imm(&t->code, X64_RAX, record_of(t));
    x64_call_to(&t->code, t->jit->stubs.handler);
    jit_near_forget(t, t->near_live[t->index]);
    jit_nzcv_lost(t);
    jit_v_forget(t);
    t->sp_aligned = false;
}

static struct jit_cold *add_cold(struct jit_translator *t, enum jit_cold_kind kind)
{
    struct jit_cold *cold = &t->cold[t->cold_count++];
    *cold =
        (struct jit_cold){.kind = kind, .here = X64_LABEL, .back = X64_LABEL, .good = X64_LABEL};
    return cold;
}

static struct jit_cold *add_handler(struct jit_translator *t)
{
    struct jit_cold *cold = add_cold(t, JIT_COLD_HANDLER);
    cold->index = record_of(t);
    cold->near_live = t->near_live[t->index];
    jit_v_dirty(&t->vregs, cold->saves);
    return cold;
}

struct jit_cold *jit_slow(struct jit_translator *t, enum x64_cond cond)
{
    struct jit_cold *cold = add_handler(t);
    x64_jcc(&t->code, cond, &cold->here);
    return cold;
}

struct jit_cold *jit_cold_near(struct jit_translator *t)
{
    const uint32_t handler = t->cold_count;
    add_handler(t);
    struct jit_cold *cold = add_cold(t, JIT_COLD_NEAR);
    cold->index = handler;
    return cold;
}

struct jit_cold *jit_cold_flags(struct jit_translator *t, enum x64_cond cond, uint32_t flags)
{
    struct jit_cold *cold = add_cold(t, JIT_COLD_FLAGS);
    cold->index = flags;
    x64_jcc(&t->code, cond, &cold->here);
    return cold;
}

void jit_leave_to_execute_if(struct jit_translator *t, enum x64_cond cond)
{
    struct jit_cold *cold = add_cold(t, JIT_COLD_EXECUTE);
    cold->index = record_of(t);
    x64_jcc(&t->code, cond, &cold->here);
}

void jit_leave_if(struct jit_translator *t, enum x64_cond cond, unsigned at)
{
    struct jit_cold *cold = add_cold(t, JIT_COLD_LEAVE);
    cold->delta = at;
    x64_jcc(&t->code, cond, &cold->here);
}

static void end_of_instruction(struct jit_translator *t, unsigned first_cold)
{
    for (unsigned i = first_cold; i < t->cold_count; i++) {
        struct jit_cold *cold = &t->cold[i];
        if (cold->kind != JIT_COLD_HANDLER)
            continue;
        x64_bind(&t->code, &cold->back);
        memcpy(cold->vregs, t->vregs.guest, sizeof(cold->vregs));
    }
}

/* ---- Ways out ---- */

void jit_address_of(struct jit_translator *t, enum x64_reg to, int64_t delta)
{
    x64_mov(&t->code, 8, to, jit_field(offsetof(struct cpu, jit.page)));
    if (delta == (int32_t)delta) {
        x64_lea(&t->code, 8, to, x64_m(to, (int32_t)delta));
        return;
    }
    enum x64_reg other = to == X64_RDX ? X64_RCX : X64_RDX;
    x64_mov_imm(&t->code, other, (uint64_t)delta);
    x64_lea(&t->code, 8, to, x64_mx(to, other, 0, 0));
}

struct jit_cold *jit_cold_link(struct jit_translator *t, unsigned at)
{
    struct jit *jit = t->jit;
    struct jit_cold *cold = add_cold(t, JIT_COLD_LINK);
    cold->index = t->room->links.at++;
    jit->links[cold->index] =
        (struct jit_link){.from = t->block, .at = (uint16_t)at, .next = JIT_NO_LINK};
    return cold;
}

static bool in_page(int64_t delta)
{
    return delta >= 0 && delta < (int64_t)PV_GUEST_PAGE;
}

/* A jump back may be a loop: the vCPU must be able to leave it. */
static bool is_backward(const struct jit_translator *t, int64_t delta)
{
    return delta <= t->insn->at;
}

static void jump_to_page(struct jit_translator *t, int64_t delta)
{
    jit_address_of(t, X64_RAX, delta);
    x64_jmp_to(&t->code, t->jit->stubs.jump);
}

static void link_out(struct jit_translator *t, int64_t delta)
{
    struct jit_cold *cold = jit_cold_link(t, (unsigned)delta);
    if (is_backward(t, delta)) {
        x64_alu(&t->code, X64_CMP, 8, X64_RSP, jit_field(offsetof(struct cpu, jit.floor)));
        x64_jcc(&t->code, X64_B, &cold->here);
    }
    cold->site = x64_jmp_patchable(&t->code, x64_here(&t->code));
}

/* Back to the block's begin, behind the loads of what is in registers there. */
static void loop_back(struct jit_translator *t)
{
    struct jit_cold *cold = add_cold(t, JIT_COLD_LEAVE);
    cold->delta = t->insns[0].at;
    jit_v_dirty(&t->loop.at_head, cold->saves);
    jit_v_loop_back(t);
    x64_alu(&t->code, X64_CMP, 8, X64_RSP, jit_field(offsetof(struct cpu, jit.floor)));
    x64_jcc(&t->code, X64_B, &cold->here);
    x64_jmp(&t->code, &t->loop.head);
}

static bool is_loop(const struct jit_translator *t, int64_t delta)
{
    return t->loop.in_registers && delta == t->insns[0].at;
}

void jit_goto(struct jit_translator *t, int64_t delta)
{
    if (is_loop(t, delta)) {
        loop_back(t);
        jit_nzcv_lost(t);
        return;
    }
    jit_v_flush(t);
    if (in_page(delta))
        link_out(t, delta);
    else
        jump_to_page(t, delta);
    jit_nzcv_lost(t);
}

void jit_goto_if(struct jit_translator *t, enum x64_cond cond, int64_t delta)
{
    if (is_loop(t, delta)) {
        struct x64_label not = X64_LABEL;
        x64_jcc(&t->code, cond ^ 1, &not );
        loop_back(t);
        x64_bind(&t->code, &not );
        return;
    }
    jit_v_flush(t);
    if (!in_page(delta)) {
        struct jit_cold *cold = add_cold(t, JIT_COLD_JUMP);
        cold->delta = delta;
        x64_jcc(&t->code, cond, &cold->here);
    } else if (is_backward(t, delta)) {
        struct x64_label not = X64_LABEL;
        x64_jcc_near(&t->code, cond ^ 1, &not );
        link_out(t, delta);
        x64_bind(&t->code, &not );
    } else {
        struct jit_cold *cold = jit_cold_link(t, (unsigned)delta);
        cold->site = x64_jcc_patchable(&t->code, cond, x64_here(&t->code));
    }
}

static void emit_cold(struct jit_translator *t, struct jit_cold *cold)
{
    struct jit *jit = t->jit;

    x64_bind(&t->code, &cold->here);
    switch (cold->kind) {
    case JIT_COLD_HANDLER:
        if (cold->check)
            jit_fp_recheck(t, cold);
        jit_v_save(t, cold->saves);
        x64_mov_imm(&t->code, X64_RAX, cold->index);
        x64_call_to(&t->code, jit->stubs.handler);
        jit_near_forget(t, cold->near_live);
        jit_v_reload(t, cold->vregs);
        x64_jmp(&t->code, &cold->back);
        break;
    case JIT_COLD_LINK:
        jit->links[cold->index].site = t->block->code + (uint32_t)cold->site;
        jit->links[cold->index].away = t->block->code + (uint32_t)(t->code.at - t->code.start);
        x64_patch(t->code.start + cold->site, t->code.rx_delta, x64_here(&t->code));
        x64_mov_imm(&t->code, X64_RAX, cold->index);
        x64_jmp_to(&t->code, jit->stubs.leave[JIT_EXIT_LINK]);
        break;
    case JIT_COLD_JUMP: jump_to_page(t, cold->delta); break;
    case JIT_COLD_LEAVE:
        jit_v_save(t, cold->saves);
        jit_address_of(t, X64_RAX, cold->delta);
        x64_jmp_to(&t->code, jit->stubs.leave[JIT_EXIT_JUMP]);
        break;
    case JIT_COLD_EXECUTE:
        x64_mov_imm(&t->code, X64_RAX, cold->index);
        x64_jmp_to(&t->code, jit->stubs.leave[JIT_EXIT_RECORD]);
        break;
    case JIT_COLD_FLAGS:
        x64_mov_imm(&t->code, X64_RAX, cold->index);
        jit_nzcv_from_rax(t);
        x64_jmp(&t->code, &cold->good);
        break;
    case JIT_COLD_NEAR: jit_near_cold_emit(t, cold); break;
    }
}

/* ---- The block ---- */

/* What never goes on behind. Others of class system may, if they are translated. */
static bool ends_block(const struct a64_insn *insn)
{
    switch (insn->op) {
    case A64_UNDEFINED:
    case A64_B:
    case A64_BL:
    case A64_BR:
    case A64_BLR:
    case A64_RET:
    case A64_SVC:
    case A64_HVC:
    case A64_SMC:
    case A64_BRK:
    case A64_HLT:
    case A64_ERET: return true;
    default: return false;
    }
}

static void decode(struct jit_translator *t, uint64_t pa, const uint32_t *words)
{
    unsigned at = pa & (PV_GUEST_PAGE - 1);
    const unsigned room = (unsigned)(PV_GUEST_PAGE - at) / 4;
    do {
        struct a64_insn *insn = &t->insns[t->count];
        a64_decode(__atomic_load_n(&words[t->count], __ATOMIC_RELAXED), insn);
        insn->at = (uint16_t)at;
        at += 4;
        t->count++;
    } while (!ends_block(&t->insns[t->count - 1]) && t->count < PV_MIN(room, JIT_BLOCK_MAX));
}

static bool is_direct_jump(const struct a64_insn *insn)
{
    switch (insn->op) {
    case A64_B:
    case A64_B_COND:
    case A64_CBZ:
    case A64_CBNZ:
    case A64_TBZ:
    case A64_TBNZ: return true;
    default: return false;
    }
}

/* False when the block ends here, though decoding went on. */
static bool translate_one(struct jit_translator *t)
{
    const struct a64_insn *insn = t->insn;
    const enum a64_class class = a64_op_class(insn->op);
    bool fp = class == A64_CLASS_fp || class == A64_CLASS_simd || class == A64_CLASS_crypto;
    jit_translate_fn *translate = jit_translators[insn->op];
    unsigned first_cold = t->cold_count;

    t->record = UINT32_MAX;
    if (class == A64_CLASS_system || (class == A64_CLASS_branch && !is_direct_jump(insn)))
        jit_v_flush(t);   /* direct jumps do it themselves, unless they stay in the block */
    if (t->jit->on_block) /* a store changes no flag */
        x64_store_imm(&t->code, 4, jit_field(offsetof(struct cpu, jit.at)), insn->at);
    if (translate && !(fp && (t->mode & JIT_FP_TRAP)) && translate(t, insn)) {
        end_of_instruction(t, first_cold);
        return !ends_block(insn);
    }
    if (ends_block(insn) || class == A64_CLASS_system) {
        x64_mov_imm(&t->code, X64_RAX, record_of(t));
        x64_jmp_to(&t->code, t->jit->stubs.leave[JIT_EXIT_RECORD]);
        return false;
    }
    jit_call(t);
    return true;
}

/* One pass of emission, from instruction 0. */
static void translate_all(struct jit_translator *t)
{
    bool goes_on = true;
    for (t->index = 0; goes_on && t->index < t->count; t->index++) {
        t->insn = &t->insns[t->index];
        goes_on = translate_one(t);
    }
    t->count = t->index;
    if (goes_on)
        jit_goto(t, t->insn->at + 4);
    for (unsigned i = 0; i < t->cold_count; i++)
        emit_cold(t, &t->cold[i]);
}

/* Whether a jump of the block leads to its begin. */
static void find_loop(struct jit_translator *t)
{
    for (unsigned i = 0; i < t->count; i++) {
        const struct a64_insn *insn = &t->insns[i];
        if (is_direct_jump(insn) && insn->at + insn->imm == t->insns[0].at) {
            t->loop.found = true;
            t->loop.last = i;
        }
    }
}

/*
 * A loop is translated twice: the first pass finds which vector registers it has, for the second
 * one to keep them in place from one round to the next.
 */
static void translate_block(struct jit_translator *t)
{
    const struct jit_range records = t->room->records, links = t->room->links;
    const struct x64_code code = t->code;
    const unsigned count = t->count;

    find_loop(t);
    translate_all(t);
    if (!t->loop.found || !t->loop.first_read)
        return;
    t->room->records = records;
    t->room->links = links;
    t->code = code;
    t->count = count;
    t->cold_count = 0;
    t->nzcv = JIT_NZCV_MEMORY;
    t->nzcv_in_rax = 0;
    t->sp_aligned = false;
    jit_v_loop_begin(t);
    translate_all(t);
}

/* The lines of the page from the first instruction to the last one that was looked at. */
static uint64_t lines_of(const struct jit_translator *t, unsigned decoded)
{
    const unsigned first = t->insns[0].at / JIT_LINE, last = t->insns[decoded - 1].at / JIT_LINE;
    return ~UINT64_C(0) << first & ~UINT64_C(0) >> (63 - last);
}

struct jit_block *jit_translate(struct jit *jit, struct jit_room *room, uint64_t pa, uint32_t mode,
                                const void *host)
{
    struct jit_block *block = &jit->blocks[room->blocks.at++];
    const uint32_t at = room->code.at;
    *block = (struct jit_block){.pa = pa, .mode = mode, .code = at, .incoming = JIT_NO_LINK};
    struct jit_translator t = {
        .jit = jit,
        .room = room,
        .block = block,
        .mode = mode,
        .alone = atomic_load(&jit->interp->alone),
        .code = x64_begin(jit->memory.write + at, jit->memory.exec + at, JIT_BLOCK_CODE),
        .loop = {.head = X64_LABEL},
    };
    decode(&t, pa, host);
    block->lines = lines_of(&t, t.count);
    jit_nzcv_liveness(&t);
    jit_near_find(&t);
    translate_block(&t);
    if (t.code.overflow) /* cannot be: JIT_BLOCK_CODE is enough for any */
        pv_error_log(PV_LOG_JIT, "block at %#" PRIx64 " is too large", pa);

    block->count = (uint16_t)t.count;
    block->size = (uint32_t)(t.code.at - t.code.start);
    room->code.at = (uint32_t)pv_align_up(at + block->size, 16);
    return block;
}
