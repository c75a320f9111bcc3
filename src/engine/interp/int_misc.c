/* SPDX-License-Identifier: MIT */
/* Integer data processing with one, two and three sources; CRC32. */
#include "engine/interp/cpu.h"
#include "engine/interp/handlers.h"
#include "engine/interp/int.h"

/* ---- Three sources ---- */

void interp_MADD(struct cpu *c, const struct a64_insn *i)
{
    result(c, i, cpu_x(c, i->ra) + cpu_x(c, i->rn) * cpu_x(c, i->rm));
}

void interp_MSUB(struct cpu *c, const struct a64_insn *i)
{
    result(c, i, cpu_x(c, i->ra) - cpu_x(c, i->rn) * cpu_x(c, i->rm));
}

static inline uint64_t signed_product(const struct cpu *c, const struct a64_insn *i)
{
    return (uint64_t)((int64_t)(int32_t)cpu_w(c, i->rn) * (int32_t)cpu_w(c, i->rm));
}

static inline uint64_t unsigned_product(const struct cpu *c, const struct a64_insn *i)
{
    return (uint64_t)cpu_w(c, i->rn) * cpu_w(c, i->rm);
}

void interp_SMADDL(struct cpu *c, const struct a64_insn *i)
{
    cpu_set_x(c, i->rd, cpu_x(c, i->ra) + signed_product(c, i));
}

void interp_SMSUBL(struct cpu *c, const struct a64_insn *i)
{
    cpu_set_x(c, i->rd, cpu_x(c, i->ra) - signed_product(c, i));
}

void interp_UMADDL(struct cpu *c, const struct a64_insn *i)
{
    cpu_set_x(c, i->rd, cpu_x(c, i->ra) + unsigned_product(c, i));
}

void interp_UMSUBL(struct cpu *c, const struct a64_insn *i)
{
    cpu_set_x(c, i->rd, cpu_x(c, i->ra) - unsigned_product(c, i));
}

void interp_SMULH(struct cpu *c, const struct a64_insn *i)
{
    __int128 product = (__int128)(int64_t)cpu_x(c, i->rn) * (int64_t)cpu_x(c, i->rm);
    cpu_set_x(c, i->rd, (uint64_t)((unsigned __int128)product >> 64));
}

void interp_UMULH(struct cpu *c, const struct a64_insn *i)
{
    unsigned __int128 product = (unsigned __int128)cpu_x(c, i->rn) * cpu_x(c, i->rm);
    cpu_set_x(c, i->rd, (uint64_t)(product >> 64));
}

/* ---- Two sources ---- */

/* Division by zero gives 0; the most negative number divided by -1 gives itself. */
void interp_UDIV(struct cpu *c, const struct a64_insn *i)
{
    uint64_t n = cpu_x(c, i->rn), m = cpu_x(c, i->rm);
    if (!sf(i)) {
        n = (uint32_t)n;
        m = (uint32_t)m;
    }
    cpu_set_x(c, i->rd, m ? n / m : 0);
}

void interp_SDIV(struct cpu *c, const struct a64_insn *i)
{
    int64_t n = (int64_t)cpu_x(c, i->rn), m = (int64_t)cpu_x(c, i->rm);
    if (!sf(i)) {
        n = (int32_t)n;
        m = (int32_t)m;
    }
    uint64_t r = m == 0 ? 0 : m == -1 ? -(uint64_t)n : (uint64_t)(n / m);
    result(c, i, r);
}

static inline unsigned amount(const struct cpu *c, const struct a64_insn *i)
{
    return (unsigned)cpu_x(c, i->rm) & (sf(i) ? 63 : 31);
}

void interp_LSLV(struct cpu *c, const struct a64_insn *i)
{
    result(c, i, cpu_x(c, i->rn) << amount(c, i));
}

void interp_LSRV(struct cpu *c, const struct a64_insn *i)
{
    uint64_t n = sf(i) ? cpu_x(c, i->rn) : cpu_w(c, i->rn);
    cpu_set_x(c, i->rd, n >> amount(c, i));
}

void interp_ASRV(struct cpu *c, const struct a64_insn *i)
{
    int64_t n = sf(i) ? (int64_t)cpu_x(c, i->rn) : (int32_t)cpu_w(c, i->rn);
    result(c, i, (uint64_t)(n >> amount(c, i)));
}

void interp_RORV(struct cpu *c, const struct a64_insn *i)
{
    unsigned by = amount(c, i);
    if (sf(i)) {
        uint64_t n = cpu_x(c, i->rn);
        cpu_set_x(c, i->rd, by ? n >> by | n << (64 - by) : n);
    } else {
        uint32_t n = cpu_w(c, i->rn);
        cpu_set_w(c, i->rd, by ? n >> by | n << (32 - by) : n);
    }
}

/* ---- One source ---- */

static inline uint64_t reverse_bits(uint64_t v)
{
    v = (v >> 1 & 0x5555555555555555) | (v & 0x5555555555555555) << 1;
    v = (v >> 2 & 0x3333333333333333) | (v & 0x3333333333333333) << 2;
    v = (v >> 4 & 0x0f0f0f0f0f0f0f0f) | (v & 0x0f0f0f0f0f0f0f0f) << 4;
    return __builtin_bswap64(v);
}

void interp_RBIT(struct cpu *c, const struct a64_insn *i)
{
    uint64_t r = reverse_bits(cpu_x(c, i->rn));
    cpu_set_x(c, i->rd, sf(i) ? r : r >> 32);
}

void interp_REV16(struct cpu *c, const struct a64_insn *i)
{
    uint64_t n = cpu_x(c, i->rn);
    result(c, i, (n >> 8 & 0x00ff00ff00ff00ff) | (n & 0x00ff00ff00ff00ff) << 8);
}

void interp_REV32(struct cpu *c, const struct a64_insn *i)
{
    uint64_t r = __builtin_bswap64(cpu_x(c, i->rn));
    result(c, i, r >> 32 | r << 32);
}

void interp_REV64(struct cpu *c, const struct a64_insn *i)
{
    cpu_set_x(c, i->rd, __builtin_bswap64(cpu_x(c, i->rn)));
}

static inline unsigned leading_zeros(uint64_t n, bool is64)
{
    if (is64)
        return n ? (unsigned)__builtin_clzll(n) : 64;
    return (uint32_t)n ? (unsigned)__builtin_clz((uint32_t)n) : 32;
}

void interp_CLZ(struct cpu *c, const struct a64_insn *i)
{
    cpu_set_x(c, i->rd, leading_zeros(cpu_x(c, i->rn), sf(i)));
}

/* Bits below the sign bit that equal it: where the value differs from itself shifted by one. */
void interp_CLS(struct cpu *c, const struct a64_insn *i)
{
    uint64_t n = cpu_x(c, i->rn);
    if (sf(i))
        cpu_set_x(c, i->rd, leading_zeros((n ^ n << 1) | 1, true));
    else
        cpu_set_x(c, i->rd, leading_zeros(((uint32_t)n ^ (uint32_t)n << 1) | 1, false));
}

/* ---- CRC32: bit-reflected, no inversion before or after ---- */

#define CRC32_POLY  0xedb88320u
#define CRC32C_POLY 0x82f63b78u

static uint32_t crc_byte(uint32_t crc, uint32_t poly)
{
    for (int bit = 0; bit < 8; bit++)
        crc = crc >> 1 ^ (crc & 1 ? poly : 0);
    return crc;
}

static void crc(struct cpu *c, const struct a64_insn *i, uint32_t poly)
{
    uint32_t acc = cpu_w(c, i->rn);
    uint64_t data = cpu_x(c, i->rm);
    unsigned bytes = 1u << (i->word >> 10 & 3);
    for (; bytes; bytes--, data >>= 8)
        acc = crc_byte(acc ^ (data & 0xff), poly);
    cpu_set_w(c, i->rd, acc);
}

void interp_CRC32(struct cpu *c, const struct a64_insn *i)
{
    crc(c, i, CRC32_POLY);
}

void interp_CRC32C(struct cpu *c, const struct a64_insn *i)
{
    crc(c, i, CRC32C_POLY);
}
