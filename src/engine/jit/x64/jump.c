/* SPDX-License-Identifier: MIT */
/* Jumps and calls: labels with forward references, fixed targets, and slots for patching. */
#include "engine/jit/x64/emit_impl.h"

#include <string.h>

/* ---- Labels ---- */

static int32_t offset(const struct x64_code *c)
{
    return (int32_t)(c->at - c->start);
}

/* A displacement counts from the end of its own field. */
static void resolve_far(struct x64_code *c, int32_t at, int32_t target)
{
    while (at >= 0) {
        int32_t next;
        memcpy(&next, c->start + at, sizeof(next));
        const int32_t disp = target - (at + 4);
        memcpy(c->start + at, &disp, sizeof(disp));
        at = next;
    }
}

/* Short fields hold the distance back to the previous one that waits, 0 for none. */
static void resolve_near(struct x64_code *c, int32_t at, int32_t target)
{
    while (at >= 0) {
        const uint8_t back = c->start[at];
        const int32_t disp = target - (at + 1);
        if (disp > INT8_MAX)
            c->overflow = true; /* a promise not kept */
        c->start[at] = (uint8_t)disp;
        at = back ? at - back : -1;
    }
}

void x64_bind(struct x64_code *c, struct x64_label *label)
{
    label->bound = offset(c);
    if (c->overflow)
        return; /* the chains may be incomplete */
    resolve_far(c, label->far, label->bound);
    resolve_near(c, label->near, label->bound);
    label->far = label->near = -1;
}

/* The 32-bit displacement to a label, or a link of the chain of those that wait for it. */
static void put_far(struct x64_code *c, struct x64_label *label)
{
    const int32_t at = offset(c);
    if (label->bound >= 0) {
        x64_put32(c, (uint32_t)(label->bound - (at + 4)));
        return;
    }
    x64_put32(c, (uint32_t)label->far);
    label->far = at;
}

static void put_near(struct x64_code *c, struct x64_label *label)
{
    const int32_t at = offset(c), back = label->near >= 0 ? at - label->near : 0;
    if (back > UINT8_MAX)
        c->overflow = true;
    x64_put8(c, (uint8_t)back);
    label->near = at;
}

/* A jump back by a short displacement, if the label is bound and that near. */
static bool put_short_back(struct x64_code *c, uint8_t op, const struct x64_label *label)
{
    const int32_t disp = label->bound - (offset(c) + 2);
    if (label->bound < 0 || disp < INT8_MIN)
        return false;
    x64_put8(c, op);
    x64_put8(c, (uint8_t)disp);
    return true;
}

void x64_jmp(struct x64_code *c, struct x64_label *label)
{
    if (put_short_back(c, 0xeb, label))
        return;
    x64_put8(c, 0xe9);
    put_far(c, label);
}

void x64_jcc(struct x64_code *c, enum x64_cond cond, struct x64_label *label)
{
    if (put_short_back(c, (uint8_t)(0x70 | cond), label))
        return;
    x64_put8(c, 0x0f);
    x64_put8(c, (uint8_t)(0x80 | cond));
    put_far(c, label);
}

void x64_jmp_near(struct x64_code *c, struct x64_label *label)
{
    if (label->bound >= 0) {
        x64_jmp(c, label);
        return;
    }
    x64_put8(c, 0xeb);
    put_near(c, label);
}

void x64_jcc_near(struct x64_code *c, enum x64_cond cond, struct x64_label *label)
{
    if (label->bound >= 0) {
        x64_jcc(c, cond, label);
        return;
    }
    x64_put8(c, (uint8_t)(0x70 | cond));
    put_near(c, label);
}

void x64_call(struct x64_code *c, struct x64_label *label)
{
    x64_put8(c, 0xe8);
    put_far(c, label);
}

void x64_lea_label(struct x64_code *c, enum x64_reg dst, struct x64_label *label)
{
    x64_put_rm(c, 8, 0x8d, dst, (struct x64_rm){X64_IS_RIP, 0, -1, 0, 0}, 0);
    if (c->overflow)
        return;
    c->at -= 4; /* the displacement is the label's business */
    put_far(c, label);
}

/* ---- Fixed targets ---- */

/* The displacement of `rx` for a field that is written at `field`. */
static int64_t displacement(const uint8_t *field, ptrdiff_t rx_delta, const void *rx)
{
    return (const uint8_t *)rx - (field + 4 + rx_delta);
}

static void put_target(struct x64_code *c, const void *rx)
{
    const int64_t disp = displacement(c->at, c->rx_delta, rx);
    if (disp != (int32_t)disp)
        c->overflow = true;
    x64_put32(c, (uint32_t)disp);
}

void x64_jmp_to(struct x64_code *c, const void *rx)
{
    const int64_t disp = displacement(c->at, c->rx_delta, rx) + 2; /* of a field after 2 bytes */
    if (disp == (int8_t)disp) {
        x64_put8(c, 0xeb);
        x64_put8(c, (uint8_t)disp);
        return;
    }
    x64_put8(c, 0xe9);
    put_target(c, rx);
}

void x64_jcc_to(struct x64_code *c, enum x64_cond cond, const void *rx)
{
    const int64_t disp = displacement(c->at, c->rx_delta, rx) + 2;
    if (disp == (int8_t)disp) {
        x64_put8(c, (uint8_t)(0x70 | cond));
        x64_put8(c, (uint8_t)disp);
        return;
    }
    x64_put8(c, 0x0f);
    x64_put8(c, (uint8_t)(0x80 | cond));
    put_target(c, rx);
}

void x64_call_to(struct x64_code *c, const void *rx)
{
    x64_put8(c, 0xe8);
    put_target(c, rx);
}

/* ---- Patching ---- */

/* Padding before an opcode of `bytes`, so that what follows it is 4-byte aligned. */
static void align_field(struct x64_code *c, size_t bytes)
{
    x64_nop(c, -((uintptr_t)c->at + bytes) & 3);
}

static size_t put_slot(struct x64_code *c, const void *rx)
{
    const size_t at = (size_t)offset(c);
    put_target(c, rx);
    return at;
}

size_t x64_jmp_patchable(struct x64_code *c, const void *rx)
{
    align_field(c, 1);
    x64_put8(c, 0xe9);
    return put_slot(c, rx);
}

size_t x64_jcc_patchable(struct x64_code *c, enum x64_cond cond, const void *rx)
{
    align_field(c, 2);
    x64_put8(c, 0x0f);
    x64_put8(c, (uint8_t)(0x80 | cond));
    return put_slot(c, rx);
}

size_t x64_call_patchable(struct x64_code *c, const void *rx)
{
    align_field(c, 1);
    x64_put8(c, 0xe8);
    return put_slot(c, rx);
}

void x64_patch(uint8_t *rw_field, ptrdiff_t rx_delta, const void *rx)
{
    const int32_t disp = (int32_t)displacement(rw_field, rx_delta, rx);
    __atomic_store_n((int32_t *)(void *)rw_field, disp, __ATOMIC_RELEASE);
}

void x64_jmp_rm(struct x64_code *c, struct x64_rm target)
{
    x64_put_rm(c, 4, 0xff, 4, target, 0);
}

void x64_call_rm(struct x64_code *c, struct x64_rm target)
{
    x64_put_rm(c, 4, 0xff, 2, target, 0);
}
