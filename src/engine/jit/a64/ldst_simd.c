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

unsigned jit_v_ldst_bytes(const struct a64_insn *insn)
{
    return insn->word >> 23 & 1 ? 16 : 1u << (insn->word >> 30);
}

/* At the virtual address RAX */
static void transfer(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned bytes = jit_v_ldst_bytes(insn);
    if (insn->word >> 22 & 1) {
        load(t, insn->rd, bytes, jit_tlb_load(t, bytes, false));
    } else {
        jit_tlb(t, bytes, true, false);
        store(t, insn->rd, bytes, at_rax);
    }
}

bool jit_v_ldst(struct jit_translator *t, const struct a64_insn *insn)
{
    /* Bits 11:10 of those without bit 24: 00 unscaled, 01 post-indexed, 11 pre-indexed */
    const bool indexed = !(insn->word >> 24 & 1) && insn->word >> 10 & 1;
    const bool post = indexed && !(insn->word >> 11 & 1);
    if (!jit_inline_memory(t))
        return false;
    const unsigned bytes = jit_v_ldst_bytes(insn);
    const bool is_load = insn->word >> 22 & 1;
    const struct x64_rm at = jit_access(t, insn, post ? 0 : insn->imm, bytes, !is_load);
    if (is_load)
        load(t, insn->rd, bytes, at);
    else
        store(t, insn->rd, bytes, at);
    if (indexed)
        jit_write_back(t, insn->rn, insn->imm);
    return true;
}

bool jit_v_ldst_register(struct jit_translator *t, const struct a64_insn *insn)
{
    if (!jit_inline_memory(t))
        return false;
    jit_base_indexed(t, insn);
    transfer(t, insn);
    return true;
}

bool jit_v_literal(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned bytes = 4u << (insn->word >> 30);
    if (!jit_inline_memory(t))
        return false;
    jit_address_of(t, X64_RAX, insn->at + insn->imm);
    load(t, insn->rd, bytes, jit_tlb_load(t, bytes, false));
    return true;
}

/* ---- Pairs ---- */

bool jit_v_ldst_pair(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned mode = insn->word >> 23 & 3, bytes = 4u << (insn->word >> 30);
    const bool is_load = insn->word >> 22 & 1, indexed = mode & 1;
    if (!jit_inline_memory(t))
        return false;
    const int64_t offset = mode == 1 ? 0 : insn->imm;
    struct x64_rm at = jit_access(t, insn, offset, 2 * bytes, !is_load), second = at;
    second.disp += (int32_t)bytes;
    if (is_load) {
        load(t, insn->rd, bytes, at);
        load(t, insn->ra, bytes, second);
    } else {
        store(t, insn->rd, bytes, at);
        store(t, insn->ra, bytes, second);
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

/* A register that no guest register is in, for what comes between. */
static unsigned load_part(struct jit_translator *t, unsigned offset)
{
    unsigned reg = jit_v_new(t);
    x64_v2(&t->code, X64_VMOVUPS_LOAD, reg, rax_plus(offset));
    return reg;
}

static unsigned unzipped(struct jit_translator *t, unsigned size, unsigned a, unsigned b,
                         unsigned part)
{
    unsigned reg = jit_v_new(t);
    jit_v_unzip(t, size, reg, a, b, part);
    return reg;
}

static void write_part(struct jit_translator *t, unsigned n, unsigned reg, unsigned bytes)
{
    if (bytes == 8)
        jit_v_cut(t, reg, reg, 8);
    jit_v_wrote(t, n % 32, reg, bytes);
}

/* Even and odd lanes, once for pairs; twice for fours, whose even ones are the first and third. */
static void load_structures(struct jit_translator *t, const struct a64_insn *insn, unsigned size,
                            unsigned elements)
{
    const unsigned bytes = jit_q_bytes(insn), rd = insn->rd;
    unsigned parts[4];
    for (unsigned i = 0; i < elements * bytes / 16; i++)
        parts[i] = load_part(t, 16 * i);
    if (elements == 2) {
        unsigned b = parts[bytes == 16];
        for (unsigned i = 0; i < 2; i++)
            write_part(t, rd + i, unzipped(t, size, parts[0], b, i), bytes);
        return;
    }
    unsigned halves[2][2];
    for (unsigned i = 0; i < 2; i++) {
        halves[i][0] = halves[i][1] = unzipped(t, size, parts[0], parts[1], i);
        if (bytes == 16)
            halves[i][1] = unzipped(t, size, parts[2], parts[3], i);
    }
    for (unsigned i = 0; i < 4; i++)
        write_part(t, rd + i, unzipped(t, size, halves[i & 1][0], halves[i & 1][1], i >> 1), bytes);
}

static void store_structures(struct jit_translator *t, const struct a64_insn *insn, unsigned size,
                             unsigned elements)
{
    const unsigned bytes = jit_q_bytes(insn), parts = bytes / 8;
    unsigned v[4];
    for (unsigned i = 0; i < elements; i++)
        v[i] = jit_v(t, (insn->rd + i) % 32);
    for (unsigned i = 0; i < parts; i++) { /* the lower halves, then the upper ones */
        if (elements == 2) {
            jit_v_zip(t, size, 0, v[0], v[1], i);
            x64_v2_store(&t->code, X64_VMOVUPS_STORE, rax_plus(16 * i), 0);
            continue;
        }
        jit_v_zip(t, size, 0, v[0], v[2], i);
        jit_v_zip(t, size, 1, v[1], v[3], i);
        for (unsigned k = 0; k < 2; k++) {
            jit_v_zip(t, size, 2, 0, 1, k);
            x64_v2_store(&t->code, X64_VMOVUPS_STORE, rax_plus(32 * i + 16 * k), 2);
        }
    }
}

/* LD2, LD4, ST2, ST4 */
bool jit_v_interleaved(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = insn->word >> 10 & 3, elements = insn->word >> 15 & 1 ? 2 : 4;
    const bool is_load = insn->word >> 22 & 1;
    if (!jit_inline_memory(t))
        return false;
    jit_base(t, insn->rn, 0);
    jit_tlb(t, elements * jit_q_bytes(insn), !is_load, false);
    if (is_load)
        load_structures(t, insn, size, elements);
    else
        store_structures(t, insn, size, elements);
    structure_write_back(t, insn, elements * jit_q_bytes(insn));
    return true;
}

/* reg = the bytes of a, b and c that part `to` is made of */
static void shuffle_threes(struct jit_translator *t, bool is_store, unsigned size, unsigned to,
                           const unsigned parts[3], unsigned reg)
{
    for (unsigned i = 0; i < 3; i++) {
        const unsigned into = i ? 0 : reg;
        x64_v3(&t->code, X64_VPSHUFB, into, parts[i], jit_three(t, is_store, size, to, i));
        if (i)
            x64_v3(&t->code, X64_VPOR, reg, reg, x64_r(0));
    }
}

/* LD3, ST3: 48 bytes, or 24 that are the first half of the same */
bool jit_v_threes(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned size = insn->word >> 10 & 3, bytes = jit_q_bytes(insn);
    const bool is_load = insn->word >> 22 & 1;
    unsigned parts[3];
    if (!jit_inline_memory(t))
        return false;
    jit_base(t, insn->rn, 0);
    jit_tlb(t, 3 * bytes, !is_load, false);
    for (unsigned i = 0; i < 3; i++) {
        if (!is_load) {
            parts[i] = jit_v(t, (insn->rd + i) % 32);
        } else if (bytes == 16) {
            parts[i] = load_part(t, 16 * i);
        } else { /* the third has nothing of lanes that count */
            parts[i] = jit_v_new(t);
            x64_v2(&t->code, i ? X64_VMOVQ_LOAD : X64_VMOVUPS_LOAD, parts[i], rax_plus(i ? 16 : 0));
        }
    }
    for (unsigned i = 0; i < 3; i++) {
        unsigned reg = is_load ? jit_v_new(t) : 1;
        if (!is_load && 16 * i >= 3 * bytes)
            break;
        shuffle_threes(t, !is_load, size, i, parts, reg);
        if (is_load)
            write_part(t, insn->rd + i, reg, bytes);
        else
            x64_v2_store(&t->code, 3 * bytes - 16 * i < 16 ? X64_VMOVQ_STORE : X64_VMOVUPS_STORE,
                         rax_plus(16 * i), reg);
    }
    structure_write_back(t, insn, 3 * bytes);
    return true;
}

static unsigned structure_elements(const struct a64_insn *insn)
{
    return (unsigned)(pv_bits(insn->word, 13, 1) << 1 | pv_bits(insn->word, 21, 1)) + 1;
}

/* One lane of one to four registers. Its size is opcode<2:1>, its index Q:S:size's upper bits. */
bool jit_v_lane(struct jit_translator *t, const struct a64_insn *insn)
{
    static const unsigned inserts[] = {X64_VPINSRB, X64_VPINSRW, X64_VPINSRD, X64_VPINSRQ};
    static const unsigned extracts[] = {X64_VPEXTRB, 0, X64_VPEXTRD, X64_VPEXTRQ};
    const unsigned elements = structure_elements(insn), opcode = insn->word >> 14 & 3;
    const unsigned size = opcode == 2 && insn->word >> 10 & 1 ? 3 : opcode;
    const unsigned index = ((insn->word >> 30 & 1) << 3 | (insn->word >> 10 & 7)) >> size;
    const bool is_load = insn->word >> 22 & 1;
    if (!jit_inline_memory(t))
        return false;
    jit_base(t, insn->rn, 0);
    jit_tlb(t, elements << size, !is_load, false);
    for (unsigned i = 0; i < elements; i++) {
        const unsigned n = (insn->rd + i) % 32, v = jit_v(t, n);
        const struct x64_rm at = rax_plus(i << size);
        if (is_load) {
            unsigned reg = jit_v_new(t);
            x64_v3_imm(&t->code, inserts[size], reg, v, at, index);
            jit_v_wrote(t, n, reg, 16);
        } else if (size == 1) { /* VPEXTRW is here in its register form only */
            x64_v2_imm(&t->code, X64_VPEXTRW, X64_RCX, x64_r(v), index);
            x64_store(&t->code, 2, at, X64_RCX);
        } else {
            x64_v2_store_imm(&t->code, extracts[size], at, v, index);
        }
    }
    structure_write_back(t, insn, elements << size);
    return true;
}

/* LD1R to LD4R */
bool jit_v_replicate(struct jit_translator *t, const struct a64_insn *insn)
{
    static const unsigned ops[] = {X64_VPBROADCASTB, X64_VPBROADCASTW, X64_VPBROADCASTD,
                                   X64_VPBROADCASTQ};
    const unsigned size = insn->word >> 10 & 3, bytes = jit_q_bytes(insn);
    const unsigned elements = structure_elements(insn);
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
