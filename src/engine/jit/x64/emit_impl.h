/* SPDX-License-Identifier: MIT */
/*
 * The encoder's core, shared by the general and the vector instructions (Intel SDM volume 2,
 * chapter 2). An opcode is a number that packs its parts, see X64_OP.
 */
#ifndef PV_ENGINE_JIT_X64_EMIT_IMPL_H
#define PV_ENGINE_JIT_X64_EMIT_IMPL_H

#include "engine/jit/x64/emit.h"

/*
 * Opcode: bits 7:0 the byte; 9:8 the map (none, 0F, 0F 38, 0F 3A); 11:10 the mandatory prefix
 * (none, 66, F3, F2). Maps and prefixes are numbered as in VEX.
 */
#define X64_OP(prefix, map, byte) ((prefix) << 10 | (map) << 8 | (byte))

enum { X64_P0, X64_P66, X64_PF3, X64_PF2 };
enum { X64_M0, X64_M0F, X64_M0F38, X64_M0F3A };

void x64_put8(struct x64_code *c, uint8_t value);
void x64_put16(struct x64_code *c, uint16_t value);
void x64_put32(struct x64_code *c, uint32_t value);
void x64_put64(struct x64_code *c, uint64_t value);

/*
 * Prefixes, opcode, ModRM, SIB and displacement. `size` 2 adds the operand-size prefix, 8 sets
 * REX.W, and 1 makes registers 4 to 7 SPL to DIL. `imm_size`: bytes that the caller will append,
 * which operands relative to RIP must know.
 */
void x64_put_rm(struct x64_code *c, unsigned size, unsigned op, unsigned reg, struct x64_rm rm,
                unsigned imm_size);
/* The same with a VEX prefix; vvvv is the extra register operand, 0 if there is none. */
void x64_put_vex(struct x64_code *c, bool w, bool l, unsigned op, unsigned reg, unsigned vvvv,
                 struct x64_rm rm, unsigned imm_size);

#endif
