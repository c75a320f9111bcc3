/* SPDX-License-Identifier: MIT */
/*
 * Encoding: bytes, ModRM, prefixes, and the instructions on general registers (Intel SDM
 * volume 2). Where two encodings have the same length we take the one that LLVM takes, so that the
 * test can compare bytes.
 */
#include "engine/jit/x64/emit_impl.h"

#include <string.h>

/* ---- Bytes ---- */

static void put(struct x64_code *c, const void *data, size_t size)
{
    if ((size_t)(c->end - c->at) < size) {
        c->overflow = true;
        return;
    }
    memcpy(c->at, data, size);
    c->at += size;
}

void x64_put8(struct x64_code *c, uint8_t value)
{
    if (c->at < c->end)
        *c->at++ = value;
    else
        c->overflow = true;
}
void x64_put16(struct x64_code *c, uint16_t value)
{
    put(c, &value, sizeof(value));
}
void x64_put32(struct x64_code *c, uint32_t value)
{
    put(c, &value, sizeof(value));
}
void x64_put64(struct x64_code *c, uint64_t value)
{
    put(c, &value, sizeof(value));
}
void x64_bytes(struct x64_code *c, const void *data, size_t size)
{
    put(c, data, size);
}

/* An immediate of an instruction of `size` bytes: never more than four. */
static void put_imm(struct x64_code *c, unsigned size, int32_t imm)
{
    if (size == 1)
        x64_put8(c, (uint8_t)imm);
    else if (size == 2)
        x64_put16(c, (uint16_t)imm);
    else
        x64_put32(c, (uint32_t)imm);
}
static unsigned imm_bytes(unsigned size)
{
    return size < 4 ? size : 4;
}

static bool fits8(int64_t value)
{
    return value == (int8_t)value;
}
static bool fits32(int64_t value)
{
    return value == (int32_t)value;
}

/* ---- Operands ---- */

struct x64_rm x64_at(struct x64_code *c, const void *rx)
{
    const int64_t distance = (const uint8_t *)rx - (c->start + c->rx_delta);
    /* Leave room for where in the buffer the instruction will be. */
    if (!fits32(distance - (c->end - c->start)) || !fits32(distance))
        c->overflow = true;
    return (struct x64_rm){X64_IS_RIP, 0, -1, 0, (int32_t)distance};
}

static void put_modrm(struct x64_code *c, unsigned mod, unsigned reg, unsigned rm)
{
    x64_put8(c, (uint8_t)(mod << 6 | (reg & 7) << 3 | (rm & 7)));
}

/*
 * ModRM, SIB and displacement (SDM 2.1.5). A base of RSP or R12 needs a SIB byte; one of RBP or R13
 * needs a displacement, because its encoding without one means something else.
 */
static void put_operand(struct x64_code *c, unsigned reg, struct x64_rm rm, unsigned imm_size)
{
    if (rm.kind == X64_IS_REG) {
        put_modrm(c, 3, reg, rm.base);
        return;
    }
    if (rm.kind == X64_IS_RIP) {
        put_modrm(c, 0, reg, 5);
        x64_put32(c, (uint32_t)(rm.disp - (int32_t)(c->at + 4 + imm_size - c->start)));
        return;
    }
    const bool sib = rm.index >= 0 || (rm.base & 7) == X64_RSP;
    const unsigned mod = rm.disp == 0 && (rm.base & 7) != X64_RBP ? 0 : fits8(rm.disp) ? 1 : 2;
    put_modrm(c, mod, reg, sib ? 4 : rm.base);
    if (sib)
        put_modrm(c, rm.scale, rm.index >= 0 ? (unsigned)rm.index : 4, rm.base);
    if (mod == 1)
        x64_put8(c, (uint8_t)rm.disp);
    else if (mod == 2)
        x64_put32(c, (uint32_t)rm.disp);
}

static unsigned rex_b(struct x64_rm rm)
{
    return rm.kind != X64_IS_RIP && rm.base & 8 ? 1 : 0;
}
static unsigned rex_x(struct x64_rm rm)
{
    return rm.index >= 0 && rm.index & 8 ? 1 : 0;
}

static void put_rex(struct x64_code *c, bool w, unsigned r, unsigned x, unsigned b, bool needed)
{
    const unsigned rex = (unsigned)w << 3 | r << 2 | x << 1 | b;
    if (rex || needed)
        x64_put8(c, (uint8_t)(0x40 | rex));
}

static void put_opcode(struct x64_code *c, unsigned op)
{
    const unsigned map = op >> 8 & 3;
    if (map != X64_M0)
        x64_put8(c, 0x0f);
    if (map == X64_M0F38)
        x64_put8(c, 0x38);
    else if (map == X64_M0F3A)
        x64_put8(c, 0x3a);
    x64_put8(c, (uint8_t)op);
}

/* Byte registers 4 to 7 mean AH to BH unless there is a REX prefix. */
static bool byte_needs_rex(unsigned reg)
{
    return reg >= X64_RSP && reg <= X64_RDI;
}

/* `byte_reg`, `byte_rm`: those operands are byte registers. */
static void put_sized(struct x64_code *c, unsigned size, unsigned op, unsigned reg,
                      struct x64_rm rm, unsigned imm_size, bool byte_reg, bool byte_rm)
{
    static const uint8_t prefixes[] = {0, 0x66, 0xf3, 0xf2};
    const unsigned prefix = prefixes[op >> 10 & 3];
    if (size == 2)
        x64_put8(c, 0x66);
    if (prefix)
        x64_put8(c, (uint8_t)prefix);
    put_rex(c, size == 8, reg >> 3 & 1, rex_x(rm), rex_b(rm),
            (byte_reg && byte_needs_rex(reg)) ||
                (byte_rm && rm.kind == X64_IS_REG && byte_needs_rex(rm.base)));
    put_opcode(c, op);
    put_operand(c, reg, rm, imm_size);
}

void x64_put_rm(struct x64_code *c, unsigned size, unsigned op, unsigned reg, struct x64_rm rm,
                unsigned imm_size)
{
    put_sized(c, size, op, reg, rm, imm_size, size == 1, size == 1);
}

/* `reg` is an opcode extension, not a register. */
static void put_ext(struct x64_code *c, unsigned size, unsigned op, unsigned ext, struct x64_rm rm,
                    unsigned imm_size)
{
    put_sized(c, size, op, ext, rm, imm_size, false, size == 1);
}

/* SDM 2.3: the two-byte form can express R only, and only map 0F without W. */
void x64_put_vex(struct x64_code *c, bool w, bool l, unsigned op, unsigned reg, unsigned vvvv,
                 struct x64_rm rm, unsigned imm_size)
{
    const unsigned map = op >> 8 & 3, prefix = op >> 10 & 3;
    const unsigned r = reg >> 3 & 1, x = rex_x(rm), b = rex_b(rm);
    const unsigned low = (~vvvv & 15) << 3 | (unsigned)l << 2 | prefix;
    if (map == X64_M0F && !w && !x && !b) {
        x64_put8(c, 0xc5);
        x64_put8(c, (uint8_t)((r ^ 1) << 7 | low));
    } else {
        x64_put8(c, 0xc4);
        x64_put8(c, (uint8_t)((r ^ 1) << 7 | (x ^ 1) << 6 | (b ^ 1) << 5 | map));
        x64_put8(c, (uint8_t)((unsigned)w << 7 | low));
    }
    x64_put8(c, (uint8_t)op);
    put_operand(c, reg, rm, imm_size);
}

/* The many opcodes whose bit 0 says "not a byte". */
static unsigned sized(unsigned op, unsigned size)
{
    return size == 1 ? op & ~1u : op | 1;
}

/* ---- Moves ---- */

void x64_mov(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src)
{
    if (src.kind == X64_IS_REG)
        x64_store(c, size, x64_r(dst), (enum x64_reg)src.base);
    else
        x64_put_rm(c, size, sized(0x8b, size), dst, src, 0);
}

void x64_store(struct x64_code *c, unsigned size, struct x64_rm dst, enum x64_reg src)
{
    x64_put_rm(c, size, sized(0x89, size), src, dst, 0);
}

void x64_store_imm(struct x64_code *c, unsigned size, struct x64_rm dst, int32_t imm)
{
    put_ext(c, size, sized(0xc7, size), 0, dst, imm_bytes(size));
    put_imm(c, size, imm);
}

void x64_mov_imm(struct x64_code *c, enum x64_reg dst, uint64_t imm)
{
    if (imm <= UINT32_MAX) {
        put_rex(c, false, 0, 0, dst >> 3, false);
        x64_put8(c, (uint8_t)(0xb8 | (dst & 7)));
        x64_put32(c, (uint32_t)imm);
    } else if (fits32((int64_t)imm)) {
        x64_store_imm(c, 8, x64_r(dst), (int32_t)imm);
    } else {
        put_rex(c, true, 0, 0, dst >> 3, false);
        x64_put8(c, (uint8_t)(0xb8 | (dst & 7)));
        x64_put64(c, imm);
    }
}

void x64_movzx(struct x64_code *c, unsigned src_size, enum x64_reg dst, struct x64_rm src)
{
    put_sized(c, 4, X64_OP(0, X64_M0F, src_size == 1 ? 0xb6 : 0xb7), dst, src, 0, false,
              src_size == 1);
}

void x64_movsx(struct x64_code *c, unsigned size, unsigned src_size, enum x64_reg dst,
               struct x64_rm src)
{
    const unsigned op = src_size == 4 ? 0x63 : X64_OP(0, X64_M0F, src_size == 1 ? 0xbe : 0xbf);
    put_sized(c, size, op, dst, src, 0, false, src_size == 1);
}

void x64_movbe(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src)
{
    x64_put_rm(c, size, X64_OP(0, X64_M0F38, 0xf0), dst, src, 0);
}

void x64_movbe_store(struct x64_code *c, unsigned size, struct x64_rm dst, enum x64_reg src)
{
    x64_put_rm(c, size, X64_OP(0, X64_M0F38, 0xf1), src, dst, 0);
}

void x64_bswap(struct x64_code *c, unsigned size, enum x64_reg reg)
{
    put_rex(c, size == 8, 0, 0, reg >> 3, false);
    x64_put8(c, 0x0f);
    x64_put8(c, (uint8_t)(0xc8 | (reg & 7)));
}

void x64_lea(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src)
{
    x64_put_rm(c, size, 0x8d, dst, src, 0);
}

void x64_push(struct x64_code *c, enum x64_reg reg)
{
    put_rex(c, false, 0, 0, reg >> 3, false);
    x64_put8(c, (uint8_t)(0x50 | (reg & 7)));
}

void x64_pop(struct x64_code *c, enum x64_reg reg)
{
    put_rex(c, false, 0, 0, reg >> 3, false);
    x64_put8(c, (uint8_t)(0x58 | (reg & 7)));
}

void x64_push_rm(struct x64_code *c, struct x64_rm src)
{
    put_ext(c, 4, 0xff, 6, src, 0);
}

void x64_pop_rm(struct x64_code *c, struct x64_rm dst)
{
    put_ext(c, 4, 0x8f, 0, dst, 0);
}

void x64_push_imm(struct x64_code *c, int32_t imm)
{
    x64_put8(c, fits8(imm) ? 0x6a : 0x68);
    put_imm(c, fits8(imm) ? 1 : 4, imm);
}

void x64_setcc(struct x64_code *c, enum x64_cond cond, struct x64_rm dst)
{
    put_ext(c, 1, X64_OP(0, X64_M0F, 0x90 | cond), 0, dst, 0);
}

void x64_cmov(struct x64_code *c, enum x64_cond cond, unsigned size, enum x64_reg dst,
              struct x64_rm src)
{
    x64_put_rm(c, size, X64_OP(0, X64_M0F, 0x40 | cond), dst, src, 0);
}

/* ---- Arithmetic ---- */

void x64_alu(struct x64_code *c, enum x64_alu op, unsigned size, enum x64_reg dst,
             struct x64_rm src)
{
    if (src.kind == X64_IS_REG)
        x64_alu_store(c, op, size, x64_r(dst), (enum x64_reg)src.base);
    else
        x64_put_rm(c, size, sized((unsigned)op << 3 | 3, size), dst, src, 0);
}

void x64_alu_store(struct x64_code *c, enum x64_alu op, unsigned size, struct x64_rm dst,
                   enum x64_reg src)
{
    x64_put_rm(c, size, sized((unsigned)op << 3 | 1, size), src, dst, 0);
}

static bool is_rax(struct x64_rm rm)
{
    return rm.kind == X64_IS_REG && rm.base == X64_RAX;
}

/* The forms without ModRM that RAX has. */
static void put_rax_imm(struct x64_code *c, unsigned size, unsigned op, int32_t imm)
{
    if (size == 2)
        x64_put8(c, 0x66);
    put_rex(c, size == 8, 0, 0, 0, false);
    x64_put8(c, (uint8_t)sized(op, size));
    put_imm(c, size, imm);
}

void x64_alu_imm(struct x64_code *c, enum x64_alu op, unsigned size, struct x64_rm dst, int32_t imm)
{
    if (size != 1 && fits8(size == 2 ? (int16_t)imm : imm)) {
        put_ext(c, size, 0x83, op, dst, 1);
        put_imm(c, 1, imm);
    } else if (is_rax(dst)) {
        put_rax_imm(c, size, (unsigned)op << 3 | 5, imm);
    } else {
        put_ext(c, size, sized(0x81, size), op, dst, imm_bytes(size));
        put_imm(c, size, imm);
    }
}

void x64_test(struct x64_code *c, unsigned size, struct x64_rm a, enum x64_reg b)
{
    x64_put_rm(c, size, sized(0x85, size), b, a, 0);
}

void x64_test_imm(struct x64_code *c, unsigned size, struct x64_rm a, int32_t imm)
{
    if (is_rax(a)) {
        put_rax_imm(c, size, 0xa9, imm);
        return;
    }
    put_ext(c, size, sized(0xf7, size), 0, a, imm_bytes(size));
    put_imm(c, size, imm);
}

void x64_inc(struct x64_code *c, unsigned size, struct x64_rm dst)
{
    put_ext(c, size, sized(0xff, size), 0, dst, 0);
}

void x64_dec(struct x64_code *c, unsigned size, struct x64_rm dst)
{
    put_ext(c, size, sized(0xff, size), 1, dst, 0);
}

void x64_unary(struct x64_code *c, enum x64_unary op, unsigned size, struct x64_rm rm)
{
    put_ext(c, size, sized(0xf7, size), op, rm, 0);
}

void x64_imul(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src)
{
    x64_put_rm(c, size, X64_OP(0, X64_M0F, 0xaf), dst, src, 0);
}

void x64_imul_imm(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src,
                  int32_t imm)
{
    const bool small = fits8(size == 2 ? (int16_t)imm : imm);
    x64_put_rm(c, size, small ? 0x6b : 0x69, dst, src, small ? 1 : imm_bytes(size));
    put_imm(c, small ? 1 : size, imm);
}

void x64_cdq(struct x64_code *c, unsigned size)
{
    put_rex(c, size == 8, 0, 0, 0, false);
    x64_put8(c, 0x99);
}

void x64_shift_imm(struct x64_code *c, enum x64_shift op, unsigned size, struct x64_rm dst,
                   unsigned count)
{
    if (count == 1) {
        put_ext(c, size, sized(0xd1, size), op, dst, 0);
        return;
    }
    put_ext(c, size, sized(0xc1, size), op, dst, 1);
    x64_put8(c, (uint8_t)count);
}

void x64_shift_cl(struct x64_code *c, enum x64_shift op, unsigned size, struct x64_rm dst)
{
    put_ext(c, size, sized(0xd3, size), op, dst, 0);
}

static void put_double_shift(struct x64_code *c, unsigned op, unsigned size, struct x64_rm dst,
                             enum x64_reg src, int count)
{
    x64_put_rm(c, size, X64_OP(0, X64_M0F, op | (count < 0)), src, dst, count >= 0);
    if (count >= 0)
        x64_put8(c, (uint8_t)count);
}

void x64_shld_imm(struct x64_code *c, unsigned size, struct x64_rm dst, enum x64_reg src,
                  unsigned count)
{
    put_double_shift(c, 0xa4, size, dst, src, (int)count);
}
void x64_shrd_imm(struct x64_code *c, unsigned size, struct x64_rm dst, enum x64_reg src,
                  unsigned count)
{
    put_double_shift(c, 0xac, size, dst, src, (int)count);
}
void x64_shld_cl(struct x64_code *c, unsigned size, struct x64_rm dst, enum x64_reg src)
{
    put_double_shift(c, 0xa4, size, dst, src, -1);
}
void x64_shrd_cl(struct x64_code *c, unsigned size, struct x64_rm dst, enum x64_reg src)
{
    put_double_shift(c, 0xac, size, dst, src, -1);
}

/* ---- Bits ---- */

void x64_bt_imm(struct x64_code *c, enum x64_bt op, unsigned size, struct x64_rm dst, unsigned bit)
{
    put_ext(c, size, X64_OP(0, X64_M0F, 0xba), op, dst, 1);
    x64_put8(c, (uint8_t)bit);
}

void x64_bt(struct x64_code *c, enum x64_bt op, unsigned size, struct x64_rm dst, enum x64_reg bit)
{
    x64_put_rm(c, size, X64_OP(0, X64_M0F, 0x83 | (unsigned)op << 3), bit, dst, 0);
}

void x64_bsf(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src)
{
    x64_put_rm(c, size, X64_OP(0, X64_M0F, 0xbc), dst, src, 0);
}
void x64_bsr(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src)
{
    x64_put_rm(c, size, X64_OP(0, X64_M0F, 0xbd), dst, src, 0);
}
void x64_lzcnt(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src)
{
    x64_put_rm(c, size, X64_OP(X64_PF3, X64_M0F, 0xbd), dst, src, 0);
}
void x64_tzcnt(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src)
{
    x64_put_rm(c, size, X64_OP(X64_PF3, X64_M0F, 0xbc), dst, src, 0);
}
void x64_popcnt(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src)
{
    x64_put_rm(c, size, X64_OP(X64_PF3, X64_M0F, 0xb8), dst, src, 0);
}

void x64_shlx(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src,
              enum x64_reg count)
{
    x64_put_vex(c, size == 8, false, X64_OP(X64_P66, X64_M0F38, 0xf7), dst, count, src, 0);
}
void x64_shrx(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src,
              enum x64_reg count)
{
    x64_put_vex(c, size == 8, false, X64_OP(X64_PF2, X64_M0F38, 0xf7), dst, count, src, 0);
}
void x64_sarx(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src,
              enum x64_reg count)
{
    x64_put_vex(c, size == 8, false, X64_OP(X64_PF3, X64_M0F38, 0xf7), dst, count, src, 0);
}
void x64_bextr(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src,
               enum x64_reg control)
{
    x64_put_vex(c, size == 8, false, X64_OP(0, X64_M0F38, 0xf7), dst, control, src, 0);
}
void x64_rorx(struct x64_code *c, unsigned size, enum x64_reg dst, struct x64_rm src,
              unsigned count)
{
    x64_put_vex(c, size == 8, false, X64_OP(X64_PF2, X64_M0F3A, 0xf0), dst, 0, src, 1);
    x64_put8(c, (uint8_t)count);
}
void x64_andn(struct x64_code *c, unsigned size, enum x64_reg dst, enum x64_reg inverted,
              struct x64_rm src)
{
    x64_put_vex(c, size == 8, false, X64_OP(0, X64_M0F38, 0xf2), dst, inverted, src, 0);
}
void x64_pext(struct x64_code *c, unsigned size, enum x64_reg dst, enum x64_reg src,
              struct x64_rm mask)
{
    x64_put_vex(c, size == 8, false, X64_OP(X64_PF3, X64_M0F38, 0xf5), dst, src, mask, 0);
}
void x64_pdep(struct x64_code *c, unsigned size, enum x64_reg dst, enum x64_reg src,
              struct x64_rm mask)
{
    x64_put_vex(c, size == 8, false, X64_OP(X64_PF2, X64_M0F38, 0xf5), dst, src, mask, 0);
}
void x64_mulx(struct x64_code *c, unsigned size, enum x64_reg high, enum x64_reg low,
              struct x64_rm src)
{
    x64_put_vex(c, size == 8, false, X64_OP(X64_PF2, X64_M0F38, 0xf6), high, low, src, 0);
}

void x64_crc32(struct x64_code *c, unsigned size, enum x64_reg crc, struct x64_rm src)
{
    put_sized(c, size, X64_OP(X64_PF2, X64_M0F38, size == 1 ? 0xf0 : 0xf1), crc, src, 0, false,
              size == 1);
}

/* ---- Atomics ---- */

void x64_lock(struct x64_code *c)
{
    x64_put8(c, 0xf0);
}

void x64_xchg(struct x64_code *c, unsigned size, struct x64_rm dst, enum x64_reg reg)
{
    x64_put_rm(c, size, sized(0x87, size), reg, dst, 0);
}

void x64_xadd(struct x64_code *c, unsigned size, struct x64_rm dst, enum x64_reg reg)
{
    x64_put_rm(c, size, X64_OP(0, X64_M0F, sized(0xc1, size)), reg, dst, 0);
}

void x64_cmpxchg(struct x64_code *c, unsigned size, struct x64_rm dst, enum x64_reg src)
{
    x64_put_rm(c, size, X64_OP(0, X64_M0F, sized(0xb1, size)), src, dst, 0);
}

void x64_cmpxchg16b(struct x64_code *c, struct x64_rm dst)
{
    put_ext(c, 8, X64_OP(0, X64_M0F, 0xc7), 1, dst, 0);
}

/* ---- Without operands ---- */

void x64_ret(struct x64_code *c)
{
    x64_put8(c, 0xc3);
}
void x64_lahf(struct x64_code *c)
{
    x64_put8(c, 0x9f);
}
void x64_sahf(struct x64_code *c)
{
    x64_put8(c, 0x9e);
}
void x64_cmc(struct x64_code *c)
{
    x64_put8(c, 0xf5);
}
void x64_stc(struct x64_code *c)
{
    x64_put8(c, 0xf9);
}
void x64_clc(struct x64_code *c)
{
    x64_put8(c, 0xf8);
}
void x64_int3(struct x64_code *c)
{
    x64_put8(c, 0xcc);
}
void x64_mfence(struct x64_code *c)
{
    put(c, "\x0f\xae\xf0", 3);
}
void x64_rdtsc(struct x64_code *c)
{
    put(c, "\x0f\x31", 2);
}
void x64_ud2(struct x64_code *c)
{
    put(c, "\x0f\x0b", 2);
}

/* The forms of NOP that the SDM recommends. */
void x64_nop(struct x64_code *c, size_t bytes)
{
    static const char *const forms[] = {
        "\x90",
        "\x66\x90",
        "\x0f\x1f\x00",
        "\x0f\x1f\x40\x00",
        "\x0f\x1f\x44\x00\x00",
        "\x66\x0f\x1f\x44\x00\x00",
        "\x0f\x1f\x80\x00\x00\x00\x00",
        "\x0f\x1f\x84\x00\x00\x00\x00\x00",
        "\x66\x0f\x1f\x84\x00\x00\x00\x00\x00",
    };
    while (bytes > 0) {
        const size_t n = bytes < 9 ? bytes : 9;
        put(c, forms[n - 1], n);
        bytes -= n;
    }
}

void x64_align(struct x64_code *c, size_t alignment)
{
    x64_nop(c, -(size_t)(uintptr_t)c->at & (alignment - 1));
}
