/* SPDX-License-Identifier: MIT */
/* Vector instructions: operand arrangements over VEX prefixes (Intel SDM 2.3). */
#include "engine/jit/x64/vex.h"
#include "engine/jit/x64/emit_impl.h"

static void put(struct x64_code *c, unsigned op, unsigned reg, unsigned vvvv, struct x64_rm rm,
                unsigned imm_size)
{
    x64_put_vex(c, op >> 12 & 1, op >> 13 & 1, op & 0xfff, reg, vvvv, rm, imm_size);
}

void x64_v2(struct x64_code *c, unsigned op, unsigned dst, struct x64_rm src)
{
    put(c, op, dst, 0, src, 0);
}

void x64_v2_store(struct x64_code *c, unsigned op, struct x64_rm dst, unsigned src)
{
    put(c, op, src, 0, dst, 0);
}

void x64_v3(struct x64_code *c, unsigned op, unsigned dst, unsigned a, struct x64_rm b)
{
    put(c, op, dst, a, b, 0);
}

void x64_v2_imm(struct x64_code *c, unsigned op, unsigned dst, struct x64_rm src, unsigned imm)
{
    put(c, op, dst, 0, src, 1);
    x64_put8(c, (uint8_t)imm);
}

void x64_v2_store_imm(struct x64_code *c, unsigned op, struct x64_rm dst, unsigned src,
                      unsigned imm)
{
    put(c, op, src, 0, dst, 1);
    x64_put8(c, (uint8_t)imm);
}

void x64_v3_imm(struct x64_code *c, unsigned op, unsigned dst, unsigned a, struct x64_rm b,
                unsigned imm)
{
    put(c, op, dst, a, b, 1);
    x64_put8(c, (uint8_t)imm);
}

void x64_v_shift(struct x64_code *c, unsigned op, unsigned dst, unsigned src, unsigned count)
{
    put(c, op, op >> 14 & 7, dst, x64_r(src), 1);
    x64_put8(c, (uint8_t)count);
}

void x64_v_blend(struct x64_code *c, unsigned op, unsigned dst, unsigned a, struct x64_rm b,
                 unsigned mask)
{
    put(c, op, dst, a, b, 1);
    x64_put8(c, (uint8_t)(mask << 4));
}

void x64_v_mem(struct x64_code *c, unsigned op, struct x64_rm mem)
{
    put(c, op, op >> 14 & 7, 0, mem, 0);
}

void x64_vmov(struct x64_code *c, unsigned dst, unsigned src)
{
    if (src >= 8 && dst < 8)
        x64_v2_store(c, X64_VMOVAPS_STORE, x64_r(dst), src);
    else
        x64_v2(c, X64_VMOVAPS_LOAD, dst, x64_r(src));
}

void x64_vmovq(struct x64_code *c, unsigned dst, unsigned src)
{
    if (src >= 8 && dst < 8)
        x64_v2_store(c, X64_VMOVQ_STORE, x64_r(dst), src);
    else
        x64_v2(c, X64_VMOVQ_LOAD, dst, x64_r(src));
}

void x64_vzeroupper(struct x64_code *c)
{
    x64_bytes(c, "\xc5\xf8\x77", 3);
}

void x64_sha(struct x64_code *c, enum x64_sha op, unsigned dst, struct x64_rm src)
{
    x64_put_rm(c, 4, op, dst, src, 0);
}

void x64_sha1rnds4(struct x64_code *c, unsigned dst, struct x64_rm src, unsigned function)
{
    x64_put_rm(c, 4, X64_OP(0, X64_M0F3A, 0xcc), dst, src, 1);
    x64_put8(c, (uint8_t)function);
}
