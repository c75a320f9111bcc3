/* SPDX-License-Identifier: MIT */
/*
 * The way from a virtual address to host memory, inline.
 *
 * An entry of the first-level TLB is found by VA[21:12], in the bank that the mode names, behind
 * struct cpu. One compare covers everything: the tag is the page's address, and what is compared is
 * the page of the last byte accessed, so an access that crosses into the next page misses, while an
 * unaligned one within the page does not. Pages that want more attention (Device memory, watched
 * ones, those not yet dirty) have no tag that fits. What misses goes to the instruction's handler.
 *
 * A load does not add the entry's addend to the address but has it as an index, which is a cycle
 * less in a chain of loads. For stores nobody waits, and with an index they are kept from port 7.
 */
#include "engine/jit/a64/a64.h"

#define TLB_AT(bank_, field)                                                                       \
    (offsetof(struct cpu_with_tlb, tlb.bank) +                                                     \
     (size_t)(bank_) * sizeof(((struct cpu_tlb *)0)->bank[0]) + offsetof(struct tlb_entry, field))

static enum tlb_bank bank_of(const struct jit_translator *t, bool unprivileged)
{
    if (!(t->mode & JIT_EL1) || (unprivileged && !(t->mode & JIT_UAO)))
        return TLB_EL0;
    return t->mode & JIT_PAN ? TLB_EL1_PAN : TLB_EL1;
}

enum tlb_bank jit_tlb_bank(const struct jit_translator *t)
{
    return bank_of(t, false);
}

static struct x64_rm entry_field(size_t offset)
{
    return x64_mx(X64_RBP, X64_RCX, 0, (int32_t)offset - JIT_CPU_BIAS);
}

/* RCX = the entry's offset for the address RAX. */
static void find_entry(struct jit_translator *t)
{
    _Static_assert(sizeof(struct tlb_entry) == 32, "an index times 4096 shifted by 7");
    x64_rorx(&t->code, 4, X64_RCX, x64_r(X64_RAX), MMU_PAGE_SHIFT - 5);
    x64_alu_imm(&t->code, X64_AND, 4, x64_r(X64_RCX), (TLB_ENTRIES - 1) * 32);
}

static void compare_tag(struct jit_translator *t, enum tlb_bank bank, bool write)
{
    x64_alu(&t->code, X64_CMP, 8, X64_RDX,
            entry_field(write ? TLB_AT(bank, write) : TLB_AT(bank, read)));
}

void jit_tlb_add(struct jit_translator *t, enum tlb_bank bank, enum x64_reg to)
{
    x64_alu(&t->code, X64_ADD, 8, to, entry_field(TLB_AT(bank, addend)));
}

void jit_tlb_addend(struct jit_translator *t, enum tlb_bank bank, enum x64_reg to)
{
    x64_mov(&t->code, 8, to, entry_field(TLB_AT(bank, addend)));
}

void jit_tlb_find(struct jit_translator *t, unsigned size, enum tlb_bank bank, bool write)
{
    find_entry(t);
    if (size > 1)
        x64_lea(&t->code, 8, X64_RDX, x64_m(X64_RAX, (int32_t)size - 1));
    else
        x64_mov(&t->code, 8, X64_RDX, x64_r(X64_RAX));
    x64_alu_imm(&t->code, X64_AND, 8, x64_r(X64_RDX), -(int32_t)PV_GUEST_PAGE);
    compare_tag(t, bank, write);
}

/* Finds the entry for `size` bytes at RAX; goes to the handler when it is not there. */
static void look_up(struct jit_translator *t, unsigned size, enum tlb_bank bank, bool write)
{
    jit_tlb_find(t, size, bank, write);
    jit_nzcv_lost(t);
    jit_slow(t, X64_NE);
}

void jit_tlb(struct jit_translator *t, unsigned size, bool write, bool unprivileged)
{
    const enum tlb_bank bank = bank_of(t, unprivileged);
    look_up(t, size, bank, write);
    jit_tlb_add(t, bank, X64_RAX);
}

struct x64_rm jit_tlb_load(struct jit_translator *t, unsigned size, bool unprivileged)
{
    const enum tlb_bank bank = bank_of(t, unprivileged);
    look_up(t, size, bank, false);
    jit_tlb_addend(t, bank, X64_RDX);
    return x64_mx(X64_RAX, X64_RDX, 0, 0);
}

void jit_tlb_aligned(struct jit_translator *t, unsigned size, bool write)
{
    find_entry(t);
    x64_mov(&t->code, 8, X64_RDX, x64_r(X64_RAX));
    /* Bits that would make it unaligned are left in: no tag has them. */
    x64_alu_imm(&t->code, X64_AND, 8, x64_r(X64_RDX),
                -(int32_t)PV_GUEST_PAGE | ((int32_t)size - 1));
    const enum tlb_bank bank = bank_of(t, false);
    compare_tag(t, bank, write);
    jit_nzcv_lost(t);
    jit_slow(t, X64_NE);
    jit_tlb_add(t, bank, X64_RAX);
}

void jit_check_sp(struct jit_translator *t, unsigned rn)
{
    if (rn != 31 || t->sp_aligned)
        return;
    x64_test_imm(&t->code, 1, jit_rm(JIT_SP), 15);
    jit_nzcv_lost(t);
    jit_slow(t, X64_NE);
    t->sp_aligned = true;
}

void jit_base(struct jit_translator *t, unsigned rn, int64_t offset)
{
    jit_check_sp(t, rn);
    enum x64_reg base = jit_read(t, jit_sp(rn), X64_RAX);
    if (offset)
        x64_lea(&t->code, 8, X64_RAX, x64_m(base, (int32_t)offset));
    else if (base != X64_RAX)
        x64_mov(&t->code, 8, X64_RAX, x64_r(base));
}

void jit_base_indexed(struct jit_translator *t, const struct a64_insn *insn)
{
    const unsigned option = insn->word >> 13 & 7, shift = (unsigned)insn->imm;
    jit_check_sp(t, insn->rn);
    enum x64_reg base = jit_read(t, jit_sp(insn->rn), X64_RAX);
    if (shift <= 3 && (option == 3 || option == 7)) {
        enum x64_reg index = jit_read(t, insn->rm, X64_RCX);
        x64_lea(&t->code, 8, X64_RAX, x64_mx(base, index, shift, 0));
        return;
    }
    bool scaled = shift <= 3;
    jit_extend(t, insn, scaled ? 0 : shift);
    if (!scaled)
        jit_nzcv_lost(t);
    x64_lea(&t->code, 8, X64_RAX, x64_mx(base, X64_RCX, scaled ? shift : 0, 0));
}

void jit_write_back(struct jit_translator *t, unsigned rn, int64_t offset)
{
    const unsigned n = jit_sp(rn);
    const bool aligned = t->sp_aligned && (n != JIT_SP || !(offset & 15));
    int pin = jit_pin_of(n);
    if (pin >= 0)
        x64_lea(&t->code, 8, (enum x64_reg)pin, x64_m((enum x64_reg)pin, (int32_t)offset));
    else
        x64_alu_imm(&t->code, X64_ADD, 8, jit_rm(n), (int32_t)offset);
    t->sp_aligned = aligned;
}
