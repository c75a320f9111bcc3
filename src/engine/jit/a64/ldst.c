/* SPDX-License-Identifier: MIT */
/*
 * Loads and stores of general registers. The access is the last thing that can go wrong, so the
 * base is written back behind it; the loaded value is written last, as by the handlers.
 */
#include "engine/jit/a64/a64.h"

/* How bits 23:22 of single loads and stores convert. */
enum { OPC_STORE, OPC_LOAD, OPC_LOAD_SIGNED, OPC_LOAD_SIGNED_W };

static void load(struct jit_translator *t, unsigned rd, unsigned size, unsigned opc,
                 struct x64_rm from)
{
    enum x64_reg to = jit_target(rd, X64_RCX);
    if (rd == 31)
        return;
    if (opc == OPC_LOAD_SIGNED)
        x64_movsx(&t->code, 8, size, to, from);
    else if (opc == OPC_LOAD_SIGNED_W)
        x64_movsx(&t->code, 4, size, to, from);
    else if (size < 4)
        x64_movzx(&t->code, size, to, from);
    else
        x64_mov(&t->code, size, to, from);
    jit_wrote(t, rd, to);
}

static void store(struct jit_translator *t, unsigned rd, unsigned size, struct x64_rm to)
{
    if (rd == 31)
        x64_store_imm(&t->code, size, to, 0);
    else
        x64_store(&t->code, size, to, jit_read(t, rd, X64_RCX));
}

static unsigned opc_of(const struct a64_insn *insn)
{
    return insn->word >> 22 & 3;
}

static unsigned size_of(const struct a64_insn *insn)
{
    return 1u << (insn->word >> 30);
}

/* The access at the virtual address RAX */
static void transfer(struct jit_translator *t, const struct a64_insn *insn, bool unprivileged)
{
    const unsigned size = size_of(insn);
    if (opc_of(insn) == OPC_STORE) {
        jit_tlb(t, size, true, unprivileged);
        store(t, insn->rd, size, x64_m(X64_RAX, 0));
    } else {
        load(t, insn->rd, size, opc_of(insn), jit_tlb_load(t, size, unprivileged));
    }
}

/* A load's base is written before its register, which may be the same one. */
static bool single(struct jit_translator *t, const struct a64_insn *insn, int64_t offset,
                   bool indexed)
{
    const unsigned size = size_of(insn), opc = opc_of(insn);
    if (!jit_inline_memory(t))
        return false;
    const struct x64_rm at = jit_access(t, insn, offset, size, opc == OPC_STORE);
    if (opc == OPC_STORE)
        store(t, insn->rd, size, at);
    if (indexed)
        jit_write_back(t, insn->rn, insn->imm);
    if (opc != OPC_STORE)
        load(t, insn->rd, size, opc, at);
    return true;
}

/* Scaled and unscaled offsets */
bool jit_ldst_offset(struct jit_translator *t, const struct a64_insn *insn)
{
    return single(t, insn, insn->imm, false);
}

bool jit_ldst_post(struct jit_translator *t, const struct a64_insn *insn)
{
    return single(t, insn, 0, true);
}

bool jit_ldst_pre(struct jit_translator *t, const struct a64_insn *insn)
{
    return single(t, insn, insn->imm, true);
}

bool jit_ldst_unprivileged(struct jit_translator *t, const struct a64_insn *insn)
{
    if (!jit_inline_memory(t))
        return false;
    jit_base(t, insn->rn, insn->imm);
    transfer(t, insn, true);
    return true;
}

bool jit_ldst_register(struct jit_translator *t, const struct a64_insn *insn)
{
    if (!jit_inline_memory(t))
        return false;
    jit_base_indexed(t, insn);
    transfer(t, insn, false);
    return true;
}

bool jit_ldr_literal(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = insn->op == A64_LDR_LIT_X ? 8 : 4;
    if (!jit_inline_memory(t))
        return false;
    jit_address_of(t, X64_RAX, insn->at + insn->imm);
    const struct x64_rm from = jit_tlb_load(t, size, false);
    load(t, insn->rd, size, insn->op == A64_LDRSW_LIT ? OPC_LOAD_SIGNED : OPC_LOAD, from);
    return true;
}

static void load_pair(struct jit_translator *t, const struct a64_insn *insn, unsigned size,
                      struct x64_rm from)
{
    const bool sign = insn->word >> 30 == 1;
    const unsigned rd[2] = {insn->rd, insn->ra};
    for (unsigned i = 0; i < 2; i++, from.disp += (int32_t)size) {
        enum x64_reg to = jit_target(rd[i], X64_RCX);
        if (rd[i] == 31)
            continue;
        if (sign)
            x64_movsx(&t->code, 8, 4, to, from);
        else
            x64_mov(&t->code, size, to, from);
        jit_wrote(t, rd[i], to);
    }
}

bool jit_ldst_pair(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned mode = insn->word >> 23 & 3, size = insn->word >> 31 ? 8 : 4;
    const bool is_load = insn->word >> 22 & 1, post = mode == 1, indexed = mode & 1;
    if (!jit_inline_memory(t))
        return false;
    struct x64_rm at = jit_access(t, insn, post ? 0 : insn->imm, 2 * size, !is_load);
    if (is_load) {
        if (indexed)
            jit_write_back(t, insn->rn, insn->imm);
        load_pair(t, insn, size, at);
    } else {
        store(t, insn->rd, size, at);
        at.disp += (int32_t)size;
        store(t, insn->ra, size, at);
        if (indexed)
            jit_write_back(t, insn->rn, insn->imm);
    }
    return true;
}

bool jit_prfm(struct jit_translator *t, const struct a64_insn *insn)
{
    return true;
}
