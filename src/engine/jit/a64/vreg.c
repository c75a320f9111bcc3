/* SPDX-License-Identifier: MIT */
/*
 * Guest vector registers in XMM registers.
 *
 * V0 to V31 are in struct cpu, and every write goes there at once. What an instruction has read or
 * written also stays in an XMM register for the rest of the block, so a value that is used again
 * is not loaded again, nor waited for through memory. Because memory is always right, the cache
 * has nothing to write back: branches, faults and handlers need no code for it. Calls destroy XMM
 * registers; a handler called in line empties the cache, one in a cold path is followed by loads
 * of what the straight code has in registers where the two meet.
 *
 * XMM0 to XMM3 are scratch.
 */
#include "engine/jit/a64/vector.h"

#define FIRST_CACHED 4u

static struct x64_rm home_of(unsigned n)
{
    return jit_field(offsetof(struct cpu, v) + sizeof(union cpu_vreg) * n);
}

static int cached_in(const struct jit_translator *t, unsigned n)
{
    for (unsigned reg = FIRST_CACHED; reg < 16; reg++)
        if (t->vregs.guest[reg] == n + 1)
            return (int)reg;
    return -1;
}

static unsigned touch(struct jit_translator *t, unsigned reg)
{
    t->vregs.used[reg] = ++t->vregs.clock;
    return reg;
}

unsigned jit_v_new(struct jit_translator *t)
{
    unsigned oldest = FIRST_CACHED;
    for (unsigned reg = FIRST_CACHED; reg < 16; reg++)
        if (t->vregs.used[reg] < t->vregs.used[oldest])
            oldest = reg;
    t->vregs.guest[oldest] = 0;
    return touch(t, oldest);
}

unsigned jit_v(struct jit_translator *t, unsigned n)
{
    int cached = cached_in(t, n);
    if (cached >= 0)
        return touch(t, (unsigned)cached);
    unsigned reg = jit_v_new(t);
    x64_v2(&t->code, X64_VMOVAPS_LOAD, reg, home_of(n));
    t->vregs.guest[reg] = (uint8_t)(n + 1);
    t->vregs.live[reg] = 16;
    return reg;
}

struct x64_rm jit_v_part(unsigned n, unsigned offset)
{
    struct x64_rm rm = home_of(n);
    rm.disp += (int32_t)offset;
    return rm;
}

unsigned jit_v_low(struct jit_translator *t, unsigned n, unsigned live, unsigned scratch)
{
    unsigned reg = jit_v(t, n);
    if (t->vregs.live[reg] <= live)
        return reg;
    jit_v_cut(t, scratch, reg, live);
    return scratch;
}

void jit_v_cut(struct jit_translator *t, unsigned to, unsigned from, unsigned live)
{
    if (live == 8)
        x64_vmovq(&t->code, to, from);
    else if (live == 4)
        x64_v3_imm(&t->code, X64_VINSERTPS, to, from, x64_r(from), 0x0e);
    else if (to != from)
        x64_vmov(&t->code, to, from);
}

bool jit_v_is_low(const struct jit_translator *t, unsigned reg, unsigned live)
{
    return reg >= FIRST_CACHED && t->vregs.guest[reg] && t->vregs.live[reg] <= live;
}

void jit_v_wrote(struct jit_translator *t, unsigned n, unsigned reg, unsigned live)
{
    int old = cached_in(t, n);
    if (old >= 0)
        t->vregs.guest[old] = 0;
    t->vregs.guest[reg] = (uint8_t)(n + 1);
    t->vregs.live[reg] = (uint8_t)live;
    x64_v2_store(&t->code, X64_VMOVAPS_STORE, home_of(n), reg);
}

void jit_v_forget(struct jit_translator *t)
{
    memset(t->vregs.guest, 0, sizeof(t->vregs.guest));
}

void jit_v_reload(struct jit_translator *t, const uint8_t guest[16])
{
    for (unsigned reg = FIRST_CACHED; reg < 16; reg++)
        if (guest[reg])
            x64_v2(&t->code, X64_VMOVAPS_LOAD, reg, home_of(guest[reg] - 1u));
}
