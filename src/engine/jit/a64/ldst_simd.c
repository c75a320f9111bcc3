/* SPDX-License-Identifier: MIT */
/*
 * Loads and stores of vector registers. One TLB lookup covers whatever an instruction transfers,
 * pairs and structures included; a load zeroes the rest of its register.
 */
#include "engine/jit/a64/a64.h"

static const struct x64_rm at_rax = {X64_IS_MEM, X64_RAX, -1, 0, 0};

static struct x64_rm rax_plus(unsigned offset)
{
    return x64_m(X64_RAX, (int32_t)offset);
}

/* Vn = `bytes` at the host address, which RCX may be used to fetch. */
static void load(struct jit_translator *t, unsigned n, unsigned bytes, struct x64_rm from)
{
    unsigned reg = jit_v_new(t);
    switch (bytes) {
    case 4: x64_v2(&t->code, X64_VMOVSS_LOAD, reg, from); break;
    case 8: x64_v2(&t->code, X64_VMOVQ_LOAD, reg, from); break;
    case 16: x64_v2(&t->code, X64_VMOVUPS_LOAD, reg, from); break;
    default:
        x64_movzx(&t->code, bytes, X64_RCX, from);
        x64_v2(&t->code, X64_VMOVD_FROM, reg, x64_r(X64_RCX));
        break;
    }
    jit_v_wrote(t, n, reg, bytes < 4 ? 4 : bytes);
}

static void store(struct jit_translator *t, unsigned n, unsigned bytes, struct x64_rm to)
{
    unsigned reg = jit_v(t, n);
    switch (bytes) {
    case 4: x64_v2_store(&t->code, X64_VMOVSS_STORE, to, reg); break;
    case 8: x64_v2_store(&t->code, X64_VMOVQ_STORE, to, reg); break;
    case 16: x64_v2_store(&t->code, X64_VMOVUPS_STORE, to, reg); break;
    default:
        x64_v2_store(&t->code, X64_VMOVD_TO, x64_r(X64_RCX), reg);
        x64_store(&t->code, bytes, to, X64_RCX);
        break;
    }
}

/* ---- One register ---- */

static unsigned bytes_of(const struct a64_insn *insn)
{
    return insn->word >> 23 & 1 ? 16 : 1u << (insn->word >> 30);
}

static void transfer(struct jit_translator *t, const struct a64_insn *insn)
{
    if (insn->word >> 22 & 1)
        load(t, insn->rd, bytes_of(insn), at_rax);
    else
        store(t, insn->rd, bytes_of(insn), at_rax);
}

bool jit_v_ldst(struct jit_translator *t, const struct a64_insn *insn)
{
    /* Bits 11:10 of those without bit 24: 00 unscaled, 01 post-indexed, 11 pre-indexed */
    const bool indexed = !(insn->word >> 24 & 1) && insn->word >> 10 & 1;
    const bool post = indexed && !(insn->word >> 11 & 1);
    if (!jit_inline_memory(t))
        return false;
    jit_base(t, insn->rn, post ? 0 : insn->imm);
    jit_tlb(t, bytes_of(insn), !(insn->word >> 22 & 1), false);
    transfer(t, insn);
    if (indexed)
        jit_write_back(t, insn->rn, insn->imm);
    return true;
}

bool jit_v_ldst_register(struct jit_translator *t, const struct a64_insn *insn)
{
    if (!jit_inline_memory(t))
        return false;
    jit_base_indexed(t, insn);
    jit_tlb(t, bytes_of(insn), !(insn->word >> 22 & 1), false);
    transfer(t, insn);
    return true;
}

bool jit_v_literal(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned bytes = 4u << (insn->word >> 30);
    if (!jit_inline_memory(t))
        return false;
    jit_address_of(t, X64_RAX, insn->at + insn->imm);
    jit_tlb(t, bytes, false, false);
    load(t, insn->rd, bytes, at_rax);
    return true;
}

/* ---- Pairs ---- */

bool jit_v_ldst_pair(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned mode = insn->word >> 23 & 3, bytes = 4u << (insn->word >> 30);
    const bool is_load = insn->word >> 22 & 1, indexed = mode & 1;
    if (!jit_inline_memory(t))
        return false;
    jit_base(t, insn->rn, mode == 1 ? 0 : insn->imm);
    jit_tlb(t, 2 * bytes, !is_load, false);
    if (is_load) {
        load(t, insn->rd, bytes, at_rax);
        load(t, insn->ra, bytes, rax_plus(bytes));
    } else {
        store(t, insn->rd, bytes, at_rax);
        store(t, insn->ra, bytes, rax_plus(bytes));
    }
    if (indexed)
        jit_write_back(t, insn->rn, insn->imm);
    return true;
}

/* ---- Structures ---- */

/* The base moves by a register, or where that is 31 by what was transferred. */
static void structure_write_back(struct jit_translator *t, const struct a64_insn *insn,
                                 unsigned bytes)
{
    if (!(insn->word >> 23 & 1))
        return;
    if (insn->rm == 31) {
        jit_write_back(t, insn->rn, bytes);
        return;
    }
    const unsigned base = jit_sp(insn->rn);
    jit_read_to(t, 8, X64_RAX, base);
    x64_alu(&t->code, X64_ADD, 8, X64_RAX, jit_rm(insn->rm));
    jit_nzcv_lost(t);
    jit_wrote(t, base, X64_RAX);
}

/* LD1 and ST1 of one to four registers: plain runs of bytes. */
bool jit_v_structures(struct jit_translator *t, const struct a64_insn *insn)
{
    static const uint8_t registers_of[16] = {[2] = 4, [6] = 3, [7] = 1, [10] = 2};
    const unsigned registers = registers_of[insn->word >> 12 & 15], bytes = jit_q_bytes(insn);
    const bool is_load = insn->word >> 22 & 1;
    if (!jit_inline_memory(t))
        return false;
    jit_base(t, insn->rn, 0);
    jit_tlb(t, registers * bytes, !is_load, false);
    for (unsigned i = 0; i < registers; i++) {
        if (is_load)
            load(t, (insn->rd + i) % 32, bytes, rax_plus(i * bytes));
        else
            store(t, (insn->rd + i) % 32, bytes, rax_plus(i * bytes));
    }
    structure_write_back(t, insn, registers * bytes);
    return true;
}

/* LD1R to LD4R */
bool jit_v_replicate(struct jit_translator *t, const struct a64_insn *insn)
{
    static const unsigned ops[] = {X64_VPBROADCASTB, X64_VPBROADCASTW, X64_VPBROADCASTD,
                                   X64_VPBROADCASTQ};
    const unsigned size = insn->word >> 10 & 3, bytes = jit_q_bytes(insn);
    const unsigned elements =
        (unsigned)(pv_bits(insn->word, 13, 1) << 1 | pv_bits(insn->word, 21, 1)) + 1;
    if (!jit_inline_memory(t))
        return false;
    jit_base(t, insn->rn, 0);
    jit_tlb(t, elements << size, false, false);
    for (unsigned i = 0; i < elements; i++) {
        unsigned reg = jit_v_new(t);
        x64_v2(&t->code, ops[size], reg, rax_plus(i << size));
        jit_v_cut(t, reg, reg, bytes);
        jit_v_wrote(t, (insn->rd + i) % 32, reg, bytes);
    }
    structure_write_back(t, insn, elements << size);
    return true;
}
