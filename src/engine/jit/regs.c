/* SPDX-License-Identifier: MIT */
/*
 * Guest registers in host registers. Eleven are pinned, the same in all code: engine-jit.md says
 * how they were chosen. The others are fields of struct cpu, a byte's displacement from RBP.
 */
#include "engine/jit/translate.h"

static const struct {
    uint8_t guest, host;
} pins[] = {
    {0, X64_RBX},  {1, X64_RSI},  {2, X64_RDI},  {3, X64_R8},   {4, X64_R9},       {8, X64_R10},
    {19, X64_R12}, {20, X64_R13}, {29, X64_R11}, {30, X64_R14}, {JIT_SP, X64_R15},
};

int jit_pin_of(unsigned n)
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(pins); i++)
        if (pins[i].guest == n)
            return pins[i].host;
    return -1;
}

static struct x64_rm home_of(unsigned n)
{
    return jit_field(n == JIT_SP ? offsetof(struct cpu, sp) : offsetof(struct cpu, x[0]) + 8 * n);
}

struct x64_rm jit_rm(unsigned n)
{
    int pin = jit_pin_of(n);
    return pin >= 0 ? x64_r((unsigned)pin) : home_of(n);
}

void jit_read_to(struct jit_translator *t, unsigned size, enum x64_reg to, unsigned n)
{
    if (n == JIT_ZR)
        x64_mov_imm(&t->code, to, 0);
    else if (jit_pin_of(n) != (int)to || size != 8)
        x64_mov(&t->code, size, to, jit_rm(n));
}

enum x64_reg jit_read(struct jit_translator *t, unsigned n, enum x64_reg scratch)
{
    int pin = jit_pin_of(n);
    if (pin >= 0)
        return (enum x64_reg)pin;
    jit_read_to(t, 8, scratch, n);
    return scratch;
}

enum x64_reg jit_target(unsigned n, enum x64_reg scratch)
{
    int pin = jit_pin_of(n);
    return pin >= 0 ? (enum x64_reg)pin : scratch;
}

void jit_wrote(struct jit_translator *t, unsigned n, enum x64_reg from)
{
    int pin = jit_pin_of(n);
    if (n == JIT_SP)
        t->sp_aligned = false;
    if (n == JIT_ZR || pin == (int)from)
        return;
    if (pin >= 0)
        x64_mov(&t->code, 8, (enum x64_reg)pin, x64_r(from));
    else
        x64_store(&t->code, 8, home_of(n), from);
}

/* What the host's calling convention lets a function change. */
static bool is_scratch(unsigned host)
{
    return host == X64_RSI || host == X64_RDI || (host >= X64_R8 && host <= X64_R11);
}

void jit_load_pinned(struct x64_code *c, bool scratch_only)
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(pins); i++)
        if (!scratch_only || is_scratch(pins[i].host))
            x64_mov(c, 8, (enum x64_reg)pins[i].host, home_of(pins[i].guest));
}

void jit_store_pinned(struct x64_code *c, bool scratch_only)
{
    for (size_t i = 0; i < PV_ARRAY_SIZE(pins); i++)
        if (!scratch_only || is_scratch(pins[i].host))
            x64_store(c, 8, home_of(pins[i].guest), (enum x64_reg)pins[i].host);
}
