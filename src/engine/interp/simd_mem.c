/* SPDX-License-Identifier: MIT */
/*
 * Advanced SIMD structure loads and stores: LD1 to LD4, ST1 to ST4, LD1R to LD4R (Arm ARM
 * C4.1.94: load/store multiple structures, single structure).
 *
 * All of them walk memory upwards in elements and visit registers in an order of their own. The
 * whole range is probed first, hence nothing has changed when an access faults: neither memory,
 * nor registers, nor the base.
 */
#include "engine/interp/ldst.h"
#include "engine/interp/simd_lanes.h"

static bool is_load(const struct a64_insn *insn)
{
    return insn->word >> 22 & 1;
}

/* Post-indexed forms add a register, or with Rm = 31 the number of bytes transferred. */
static void write_back(struct cpu *c, const struct a64_insn *insn, uint64_t base, unsigned bytes)
{
    if (insn->word >> 23 & 1)
        cpu_set_xsp(c, insn->rn, base + (insn->rm == 31 ? bytes : cpu_x(c, insn->rm)));
}

static uint64_t read_element(struct cpu *c, uint64_t va, unsigned size)
{
    switch (size) {
    case 0: return mem_read8(c, va);
    case 1: return mem_read16(c, va);
    case 2: return mem_read32(c, va);
    default: return mem_read64(c, va);
    }
}

static void write_element(struct cpu *c, uint64_t va, unsigned size, uint64_t value)
{
    switch (size) {
    case 0: mem_write8(c, va, (uint8_t)value); break;
    case 1: mem_write16(c, va, (uint16_t)value); break;
    case 2: mem_write32(c, va, (uint32_t)value); break;
    default: mem_write64(c, va, value); break;
    }
}

/* ---- Multiple structures ---- */

/*
 * Consecutive registers, each to or from consecutive bytes: the LD1 and ST1 forms. The bytes are
 * the same whatever the element's size, which only matters for alignment checks: so these go by
 * doublewords where those are aligned.
 */
static void transfer_registers(struct cpu *c, const struct a64_insn *insn, unsigned registers)
{
    cpu_check_fp(c);
    const bool load = is_load(insn);
    const unsigned live = simd_q(insn) ? 16 : 8;
    const uint64_t base = ldst_base(c, insn);
    const unsigned size = base % 8 ? (unsigned)pv_bits(insn->word, 10, 2) : 3;
    uint64_t va = base;
    mem_probe(c, base, registers * live, !load);
    for (unsigned i = 0; i < registers; i++) {
        union cpu_vreg *v = &c->v[(insn->rd + i) % 32];
        for (unsigned lane = 0; lane < live >> size; lane++, va += 1u << size) {
            if (load)
                simd_set_lane(v, size, lane, read_element(c, va, size));
            else
                write_element(c, va, size, simd_lane(v, size, lane));
        }
        if (load)
            *v = simd_keep(*v, live);
    }
    write_back(c, insn, base, registers * live);
}

/* Structures of 2 to 4 elements, each to a register of its own. */
static void transfer_structures(struct cpu *c, const struct a64_insn *insn, unsigned elements)
{
    cpu_check_fp(c);
    const bool load = is_load(insn);
    const unsigned size = pv_bits(insn->word, 10, 2), live = simd_q(insn) ? 16 : 8;
    const uint64_t base = ldst_base(c, insn);
    uint64_t va = base;
    mem_probe(c, base, elements * live, !load);
    for (unsigned lane = 0; lane < live >> size; lane++) {
        for (unsigned i = 0; i < elements; i++, va += 1u << size) {
            union cpu_vreg *v = &c->v[(insn->rd + i) % 32];
            if (load)
                simd_set_lane(v, size, lane, read_element(c, va, size));
            else
                write_element(c, va, size, simd_lane(v, size, lane));
        }
    }
    for (unsigned i = 0; load && i < elements; i++) {
        union cpu_vreg *v = &c->v[(insn->rd + i) % 32];
        *v = simd_keep(*v, live);
    }
    write_back(c, insn, base, elements * live);
}

#define MULTIPLE(suffix, transfer, count)                                                          \
    void interp_LD##suffix(struct cpu *c, const struct a64_insn *insn)                             \
    {                                                                                              \
        transfer(c, insn, count);                                                                  \
    }                                                                                              \
    void interp_ST##suffix(struct cpu *c, const struct a64_insn *insn)                             \
    {                                                                                              \
        transfer(c, insn, count);                                                                  \
    }
MULTIPLE(1X1, transfer_registers, 1)
MULTIPLE(1X2, transfer_registers, 2)
MULTIPLE(1X3, transfer_registers, 3)
MULTIPLE(1X4, transfer_registers, 4)
MULTIPLE(2, transfer_structures, 2)
MULTIPLE(3, transfer_structures, 3)
MULTIPLE(4, transfer_structures, 4)

/* ---- Single structures ---- */

/* How many registers a single structure takes: opcode<0>:R, plus one. */
static unsigned structure_elements(const struct a64_insn *insn)
{
    return (unsigned)(pv_bits(insn->word, 13, 1) << 1 | pv_bits(insn->word, 21, 1)) + 1;
}

/* One lane. Its size is opcode<2:1>; its index Q:S:size, less the low bits for larger lanes. */
void interp_LDST_LANE(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    const bool load = is_load(insn);
    const unsigned elements = structure_elements(insn);
    const unsigned qs_size = (unsigned)simd_q(insn) << 3 | pv_bits(insn->word, 10, 3);
    unsigned size = pv_bits(insn->word, 14, 2);
    if (size == 2 && (insn->word >> 10 & 1))
        size = 3;
    const unsigned index = qs_size >> size;
    const uint64_t base = ldst_base(c, insn);
    mem_probe(c, base, elements << size, !load);
    for (unsigned i = 0; i < elements; i++) {
        union cpu_vreg *v = &c->v[(insn->rd + i) % 32];
        const uint64_t va = base + (i << size);
        if (load)
            simd_set_lane(v, size, index, read_element(c, va, size));
        else
            write_element(c, va, size, simd_lane(v, size, index));
    }
    write_back(c, insn, base, elements << size);
}

/* LD1R to LD4R: one element to every lane. */
void interp_LD_REPLICATE(struct cpu *c, const struct a64_insn *insn)
{
    cpu_check_fp(c);
    const unsigned elements = structure_elements(insn), size = pv_bits(insn->word, 10, 2);
    const uint64_t base = ldst_base(c, insn);
    mem_probe(c, base, elements << size, false);
    for (unsigned i = 0; i < elements; i++) {
        const uint64_t value = read_element(c, base + (i << size), size);
        c->v[(insn->rd + i) % 32] = simd_keep(simd_broadcast(value, size), simd_q(insn) ? 16 : 8);
    }
    write_back(c, insn, base, elements << size);
}
