/* SPDX-License-Identifier: MIT */
/*
 * Guest vector registers in XMM registers.
 *
 * V0 to V31 are in struct cpu. What an instruction has read or written also stays in an XMM
 * register for the rest of the block, so a value that is used again is not loaded again. A value
 * that was written is `dirty` until it is stored: where the register is needed for another value,
 * and before everything that leaves the block or calls a handler. Most are overwritten before that.
 * A cold path stores what was dirty where the straight code jumped to it, and loads what the
 * straight code has in registers where the two meet again; there, memory is right as well.
 *
 * A block that jumps to its own begin loads what it reads before it writes it ahead of the loop,
 * and moves the values back into the same registers where it jumps. So sums stay in registers, and
 * their chain is as long as the host's addition, not as a store and a load in addition to that.
 *
 * XMM0 to XMM3 are scratch.
 */
#include "engine/jit/a64/vector.h"

#define FIRST_CACHED 4u

static struct x64_rm home_of(unsigned n)
{
    return jit_field(offsetof(struct cpu, v) + sizeof(union cpu_vreg) * n);
}

static int cached_in(const struct jit_vregs *v, unsigned n)
{
    for (unsigned reg = FIRST_CACHED; reg < 16; reg++)
        if (v->guest[reg] == n + 1)
            return (int)reg;
    return -1;
}

static bool is_dirty(const struct jit_vregs *v, unsigned reg)
{
    return v->dirty >> reg & 1;
}

static void save(struct jit_translator *t, unsigned reg)
{
    if (is_dirty(&t->vregs, reg))
        x64_v2_store(&t->code, X64_VMOVAPS_STORE, home_of(t->vregs.guest[reg] - 1u), reg);
    t->vregs.dirty &= (uint16_t) ~(1u << reg);
}

/* For the second pass of a loop */
static void note(struct jit_translator *t, unsigned n, bool write)
{
    struct jit_loop *loop = &t->loop;
    const uint32_t bit = UINT32_C(1) << n;
    if (!loop->found || loop->in_registers || t->index > loop->last)
        return;
    if (write)
        loop->written |= bit;
    else if (!(loop->written & bit))
        loop->first_read |= bit;
    loop->used |= bit;
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
    save(t, oldest);
    t->vregs.guest[oldest] = 0;
    return touch(t, oldest);
}

static void load(struct jit_translator *t, unsigned reg, unsigned n)
{
    x64_v2(&t->code, X64_VMOVAPS_LOAD, reg, home_of(n));
    t->vregs.guest[reg] = (uint8_t)(n + 1);
    t->vregs.live[reg] = 16;
}

unsigned jit_v(struct jit_translator *t, unsigned n)
{
    int cached = cached_in(&t->vregs, n);
    note(t, n, false);
    if (cached >= 0)
        return touch(t, (unsigned)cached);
    unsigned reg = jit_v_new(t);
    load(t, reg, n);
    return reg;
}

struct x64_rm jit_v_part(struct jit_translator *t, unsigned n, unsigned offset)
{
    int cached = cached_in(&t->vregs, n);
    note(t, n, false);
    if (cached >= 0)
        save(t, (unsigned)cached);
    struct x64_rm rm = home_of(n);
    rm.disp += (int32_t)offset;
    return rm;
}

void jit_v_to_general(struct jit_translator *t, enum x64_reg to, unsigned bytes, unsigned n)
{
    int cached = cached_in(&t->vregs, n);
    if (cached < 0)
        x64_mov(&t->code, bytes, to, jit_v_part(t, n, 0));
    else
        x64_v2_store(&t->code, bytes == 8 ? X64_VMOVQ_TO : X64_VMOVD_TO, x64_r(to), jit_v(t, n));
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
    struct jit_vregs *v = &t->vregs;
    int old = cached_in(v, n);
    note(t, n, true);
    if (old >= 0) {
        v->guest[old] = 0;
        v->dirty &= (uint16_t) ~(1u << old);
    }
    v->guest[reg] = (uint8_t)(n + 1);
    v->live[reg] = (uint8_t)live;
    v->dirty |= (uint16_t)(1u << reg);
}

void jit_v_flush(struct jit_translator *t)
{
    for (unsigned reg = FIRST_CACHED; reg < 16; reg++)
        save(t, reg);
}

void jit_v_forget(struct jit_translator *t)
{
    memset(t->vregs.guest, 0, sizeof(t->vregs.guest));
}

void jit_v_dirty(const struct jit_vregs *v, uint8_t saves[16])
{
    for (unsigned reg = 0; reg < 16; reg++)
        saves[reg] = is_dirty(v, reg) ? v->guest[reg] : 0;
}

void jit_v_save(struct jit_translator *t, const uint8_t saves[16])
{
    for (unsigned reg = FIRST_CACHED; reg < 16; reg++)
        if (saves[reg])
            x64_v2_store(&t->code, X64_VMOVAPS_STORE, home_of(saves[reg] - 1u), reg);
}

void jit_v_reload(struct jit_translator *t, const uint8_t guest[16])
{
    for (unsigned reg = FIRST_CACHED; reg < 16; reg++)
        if (guest[reg])
            x64_v2(&t->code, X64_VMOVAPS_LOAD, reg, home_of(guest[reg] - 1u));
}

/* ---- Loops ---- */

#define IN_PLACE (16u - FIRST_CACHED)

/*
 * All that is read before it is written. Where the loop has more registers than there are here,
 * only those of them that it writes: others are loaded where they are needed.
 */
void jit_v_loop_begin(struct jit_translator *t)
{
    struct jit_loop *loop = &t->loop;
    uint32_t wanted = loop->first_read;
    if ((unsigned)__builtin_popcount(loop->used) > IN_PLACE)
        wanted &= loop->written;
    memset(&t->vregs, 0, sizeof(t->vregs));
    for (unsigned reg = FIRST_CACHED; wanted && reg < 16; reg++) {
        const unsigned n = (unsigned)__builtin_ctz(wanted);
        wanted &= wanted - 1;
        load(t, touch(t, reg), n);
        if (loop->written >> n & 1)
            t->vregs.dirty |= (uint16_t)(1u << reg);
    }
    loop->in_registers = true;
    loop->at_head = t->vregs;
    x64_bind(&t->code, &loop->head);
}

/* Moves until every register has what it has at the head; in a ring, XMM0 helps out. */
static void put_in_place(struct jit_translator *t, int from[16])
{
    for (;;) {
        unsigned waits = 0, ready = 0;
        for (unsigned to = FIRST_CACHED; to < 16 && !ready; to++) {
            if (from[to] < 0 || from[to] == (int)to)
                continue;
            waits = to;
            ready = to;
            for (unsigned other = FIRST_CACHED; other < 16; other++)
                if (other != to && from[other] == (int)to)
                    ready = 0;
        }
        if (!waits)
            return;
        if (ready) {
            x64_vmov(&t->code, ready, (unsigned)from[ready]);
            from[ready] = -1;
            continue;
        }
        x64_vmov(&t->code, 0, waits);
        for (unsigned other = FIRST_CACHED; other < 16; other++)
            if (from[other] == (int)waits)
                from[other] = 0;
    }
}

void jit_v_loop_back(struct jit_translator *t)
{
    const struct jit_vregs *head = &t->loop.at_head;
    const struct jit_vregs here = t->vregs; /* what goes on behind the jump, if anything does */
    int from[16];

    for (unsigned reg = 0; reg < 16; reg++)
        from[reg] = head->guest[reg] ? cached_in(&here, head->guest[reg] - 1u) : -1;
    for (unsigned reg = FIRST_CACHED; reg < 16; reg++) {
        int place = here.guest[reg] ? cached_in(head, here.guest[reg] - 1u) : -1;
        if (place < 0 || !is_dirty(head, (unsigned)place))
            save(t, reg);
    }
    put_in_place(t, from);
    for (unsigned reg = FIRST_CACHED; reg < 16; reg++)
        if (head->guest[reg] && cached_in(&here, head->guest[reg] - 1u) < 0)
            x64_v2(&t->code, X64_VMOVAPS_LOAD, reg, home_of(head->guest[reg] - 1u));
    t->vregs = here;
}
