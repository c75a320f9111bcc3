/* SPDX-License-Identifier: MIT */
/*
 * The code that all blocks share: in and out of translated code, to a handler and back, and
 * through the jump cache.
 *
 * The host's stack in translated code, from its top: for each guest call that has not returned, the
 * host's return address and above it the guest's. RET pops both when the guest's return address is
 * what it goes to. Under the oldest frame is one that looks like the others and belongs to nobody:
 * its guest address is odd, so that only a RET to a misaligned address finds it.
 */
#include "engine/jit/a64/vector.h"

#define FIELD(name) jit_field(offsetof(struct cpu, name))

#define NO_ADDRESS 1

static const enum x64_reg saved[] = {X64_RBX, X64_RBP, X64_R12, X64_R13, X64_R14, X64_R15};

/* void enter(struct cpu *c, const void *code) */
static void emit_enter(struct jit *jit, struct x64_code *c)
{
    struct x64_label nobody = X64_LABEL;

    x64_align(c, 16);
    jit->stubs.enter = (void (*)(struct cpu *, const void *))(uintptr_t)x64_here(c);
    for (size_t i = 0; i < PV_ARRAY_SIZE(saved); i++)
        x64_push(c, saved[i]);
    x64_lea(c, 8, X64_RBP, x64_m(X64_RDI, JIT_CPU_BIAS));
    x64_store(c, 8, FIELD(jit.host_sp), X64_RSP);
    x64_mov(c, 8, X64_RAX, x64_r(X64_RSI));
    x64_lea_label(c, X64_RCX, &nobody);
    x64_push_imm(c, NO_ADDRESS);
    x64_push(c, X64_RCX);
    x64_v_mem(c, X64_VLDMXCSR, FIELD(jit.mxcsr));
    jit_load_pinned(c, false);
    x64_jmp_rm(c, x64_r(X64_RAX));

    x64_bind(c, &nobody);
    x64_jmp_to(c, jit->stubs.leave[JIT_EXIT_BRANCH]);
}

static void emit_leave(struct jit *jit, struct x64_code *c)
{
    struct x64_label common = X64_LABEL;
    for (unsigned kind = 0; kind < PV_ARRAY_SIZE(jit->stubs.leave); kind++) {
        x64_align(c, 16);
        jit->stubs.leave[kind] = x64_here(c);
        if (kind == JIT_EXIT_LINK || kind == JIT_EXIT_RECORD)
            x64_store(c, 4, FIELD(jit.exit_index), X64_RAX);
        else
            x64_store(c, 8, FIELD(pc), X64_RAX);
        x64_store_imm(c, 4, FIELD(jit.exit_kind), (int32_t)kind);
        x64_jmp(c, &common);
    }
    x64_bind(c, &common);
    jit_store_pinned(c, false);
    x64_v_mem(c, X64_VSTMXCSR, FIELD(jit.mxcsr));
    x64_mov(c, 8, X64_RSP, FIELD(jit.host_sp));
    for (size_t i = PV_ARRAY_SIZE(saved); i-- > 0;)
        x64_pop(c, saved[i]);
    x64_ret(c);
}

/* Called with the record's index in EAX. The frames keep the stack 8 bytes off 16. */
static void emit_handler(struct jit *jit, struct x64_code *c)
{
    x64_align(c, 16);
    jit->stubs.handler = x64_here(c);
    jit_store_pinned(c, false);
    x64_v_mem(c, X64_VSTMXCSR, FIELD(jit.mxcsr));
    x64_lea(c, 8, X64_RDI, x64_m(X64_RBP, -JIT_CPU_BIAS));
    x64_mov(c, 4, X64_RSI, x64_r(X64_RAX));
    x64_mov_imm(c, X64_RAX, (uintptr_t)jit_call_handler);
    x64_call_rm(c, x64_r(X64_RAX));
    x64_v_mem(c, X64_VLDMXCSR, FIELD(jit.mxcsr));
    jit_load_pinned(c, false);
    x64_ret(c);
}

/* Called; RAX = the system counter. For a handler all would be stored, and it be found again. */
static void emit_counter(struct jit *jit, struct x64_code *c, const struct pv_engine_config *config)
{
    if (!config->client->counter)
        return;
    x64_align(c, 16);
    jit->stubs.counter = x64_here(c);
    jit_store_pinned(c, true);
    x64_mov_imm(c, X64_RDI, (uintptr_t)config->client_opaque);
    x64_mov_imm(c, X64_RAX, (uintptr_t)config->client->counter);
    x64_call_rm(c, x64_r(X64_RAX));
    jit_load_pinned(c, true);
    x64_ret(c);
}

/* RAX: where to go. Looks at the floor, so that every loop has a place where it can be left. */
static const void *emit_lookup(struct jit *jit, struct x64_code *c, enum jit_exit miss)
{
    x64_align(c, 16);
    const void *here = x64_here(c);
    x64_alu(c, X64_CMP, 8, X64_RSP, FIELD(jit.floor));
    x64_jcc_to(c, X64_B, jit->stubs.leave[miss]);
    x64_mov(c, 4, X64_RCX, x64_r(X64_RAX));
    _Static_assert(sizeof(struct jit_target) == 32, "an index times 4 shifted by 3");
    x64_shift_imm(c, X64_SHL, 4, x64_r(X64_RCX), 3);
    x64_alu_imm(c, X64_AND, 4, x64_r(X64_RCX), (JIT_TARGETS - 1) * 32);
    x64_alu(c, X64_ADD, 8, X64_RCX, FIELD(jit.targets));
    x64_alu(c, X64_CMP, 8, X64_RAX, x64_m(X64_RCX, offsetof(struct jit_target, va)));
    x64_jcc_to(c, X64_NE, jit->stubs.leave[miss]);
    x64_mov(c, 8, X64_RDX, FIELD(jit.key));
    x64_alu(c, X64_CMP, 8, X64_RDX, x64_m(X64_RCX, offsetof(struct jit_target, key)));
    x64_jcc_to(c, X64_NE, jit->stubs.leave[miss]);
    x64_alu_imm(c, X64_AND, 8, x64_r(X64_RAX), -4096);
    x64_store(c, 8, FIELD(jit.page), X64_RAX);
    x64_jmp_rm(c, x64_m(X64_RCX, offsetof(struct jit_target, code)));
    return here;
}

void jit_stubs_emit(struct jit *jit, const struct pv_engine_config *config)
{
    struct x64_code c =
        x64_begin(jit->memory.write + jit->used, jit->memory.exec + jit->used, 4096);
    emit_leave(jit, &c);
    emit_enter(jit, &c);
    emit_handler(jit, &c);
    emit_counter(jit, &c, config);
    jit->stubs.branch = emit_lookup(jit, &c, JIT_EXIT_BRANCH);
    jit->stubs.jump = emit_lookup(jit, &c, JIT_EXIT_JUMP);
    jit_constants_emit(jit, &c);
    jit->used += 4096;
}
