/* SPDX-License-Identifier: MIT */
/*
 * Encoding: a command's results into a reply, and (for tests and benchmarks, which play the guest)
 * requests. The mirror image of wire_decode.c, walking the same tables.
 */
#include "gpu/venus/wire.h"

#include <string.h>

#include "base/util.h"

enum mode { FULL, PARTIAL };

static void encode_struct(struct pv_vn_encoder *enc, unsigned id, const void *base, enum mode mode);

static void put(struct pv_vn_encoder *enc, const void *data, uint64_t size)
{
    uint64_t padded = pv_align_up(size, 4);
    if (enc->failed || size > UINT32_MAX || padded > (uint64_t)(enc->end - enc->cur)) {
        enc->failed = true;
        return;
    }
    if (!size)
        return;
    memcpy(enc->cur, data, size);
    memset(enc->cur + size, 0, padded - size);
    enc->cur += padded;
}

void pv_vn_put_u32(struct pv_vn_encoder *enc, uint32_t value)
{
    put(enc, &value, sizeof(value));
}

void pv_vn_put_u64(struct pv_vn_encoder *enc, uint64_t value)
{
    put(enc, &value, sizeof(value));
}

static void put_scalar(struct pv_vn_encoder *enc, const struct pv_vn_field *field, const void *from)
{
    uint64_t value = 0;
    memcpy(&value, from, field->size);
    put(enc, &value, field->wire);
}

static void put_string(struct pv_vn_encoder *enc, const char *text)
{
    uint64_t size = text ? strlen(text) + 1 : 0;
    pv_vn_put_u64(enc, size);
    if (size)
        put(enc, text, size);
}

static void put_elements(struct pv_vn_encoder *enc, const struct pv_vn_field *field,
                         const void *from, uint64_t count, enum mode mode)
{
    const char *at = from;
    if (field->kind == PV_VN_SCALAR && mode == PARTIAL)
        return;
    if (field->kind == PV_VN_SCALAR && field->wire == field->size) {
        put(enc, from, count * field->size);
        return;
    }
    for (uint64_t i = 0; i < count && !enc->failed; i++, at += field->size) {
        uint64_t handle;
        switch (field->kind) {
        case PV_VN_SCALAR: put_scalar(enc, field, at); break;
        case PV_VN_HANDLE:
            memcpy(&handle, at, sizeof(handle));
            pv_vn_put_u64(enc, handle ? enc->name(enc->opaque, field->type, handle) : 0);
            break;
        case PV_VN_STRING: put_string(enc, *(const char *const *)(const void *)at); break;
        default: encode_struct(enc, field->type, at, mode);
        }
    }
}

static void encode_field(struct pv_vn_encoder *enc, const struct pv_vn_field *field,
                         const char *base, enum mode mode)
{
    const void *at = base + field->offset;
    const void *pointer = NULL;
    if (field->shape == PV_VN_POINTER || field->shape == PV_VN_ARRAY)
        memcpy(&pointer, at, sizeof(pointer));
    switch (field->shape) {
    case PV_VN_VALUE:
        if (field->kind == PV_VN_STRUCT)
            encode_struct(enc, field->type, at, mode);
        else if (mode == FULL || field->flags & PV_VN_LENGTH)
            put_elements(enc, field, at, 1, FULL);
        break;
    case PV_VN_FIXED:
        if (mode == PARTIAL && field->kind == PV_VN_SCALAR)
            break;
        pv_vn_put_u64(enc, field->count);
        put_elements(enc, field, at, field->count, mode);
        break;
    case PV_VN_POINTER:
        pv_vn_put_u64(enc, pointer && field->kind != PV_VN_NOTHING);
        if (pointer && field->kind != PV_VN_NOTHING)
            put_elements(enc, field, pointer, 1, field->flags & PV_VN_LENGTH ? FULL : mode);
        break;
    case PV_VN_ARRAY: {
        uint64_t count = pointer ? pv_vn_array_length(field, base) : 0;
        pv_vn_put_u64(enc, count);
        if (count)
            put_elements(enc, field, pointer, count, mode);
        break;
    }
    }
}

static void encode_members(struct pv_vn_encoder *enc, const struct pv_vn_struct *desc,
                           const char *base, enum mode mode)
{
    const struct pv_vn_field *field = &pv_vn_struct_fields[desc->first_field];
    for (unsigned i = 0; i < desc->field_count && !enc->failed; i++, field++)
        if (field->kind != PV_VN_STYPE && field->kind != PV_VN_CHAIN)
            encode_field(enc, field, base, mode);
}

static const struct pv_vn_struct *chain_member(const struct pv_vn_struct *head,
                                               VkStructureType stype)
{
    const uint16_t *ids = &pv_vn_chains[head->first_chain];
    for (unsigned i = 0; i < head->chain_count; i++)
        if (pv_vn_structs[ids[i]].stype == stype)
            return &pv_vn_structs[ids[i]];
    return NULL;
}

/* Structs that the table does not allow in the chain are passed over, as guest drivers do. */
static void encode_chain(struct pv_vn_encoder *enc, const struct pv_vn_struct *head,
                         const VkBaseInStructure *node, enum mode mode)
{
    const struct pv_vn_struct *desc = NULL;
    while (node && !(desc = chain_member(head, node->sType)))
        node = node->pNext;
    pv_vn_put_u64(enc, node != NULL);
    if (!node)
        return;
    pv_vn_put_u32(enc, desc->stype);
    encode_chain(enc, head, node->pNext, mode);
    encode_members(enc, desc, (const char *)node, mode);
}

static void encode_struct(struct pv_vn_encoder *enc, unsigned id, const void *base, enum mode mode)
{
    const struct pv_vn_struct *desc = &pv_vn_structs[id];
    const struct pv_vn_field *fields = &pv_vn_struct_fields[desc->first_field];
    if (desc->is_union) {
        if (mode == PARTIAL)
            return;
        pv_vn_put_u32(enc, desc->tag);
        encode_field(enc, &fields[desc->tag], base, mode);
        return;
    }
    if (fields[0].kind == PV_VN_STYPE) {
        const VkBaseInStructure *head = base;
        pv_vn_put_u32(enc, desc->stype);
        encode_chain(enc, desc, head->pNext, mode);
    }
    encode_members(enc, desc, base, mode);
}

/* New handles go by the ids that the guest gave them, whatever the driver calls them. */
static void put_new_handles(struct pv_vn_encoder *enc, const struct pv_vn_field *field,
                            const char *base)
{
    const uint64_t *ids;
    memcpy(&ids, base + field->ids, sizeof(ids));
    uint64_t count = !ids ? 0 : field->shape == PV_VN_POINTER ? 1 : pv_vn_array_length(field, base);
    pv_vn_put_u64(enc, count);
    put(enc, ids, count * 8);
}

void pv_vn_encode_reply(struct pv_vn_encoder *enc, const struct pv_vn_command *cmd,
                        const void *args)
{
    const char *base = args;
    pv_vn_put_u32(enc, cmd->number);
    if (cmd->ret == PV_VN_RET_U64)
        put(enc, base + cmd->ret_offset, 8);
    else if (cmd->ret != PV_VN_RET_NONE)
        put(enc, base + cmd->ret_offset, 4);
    const struct pv_vn_field *field = &pv_vn_params[cmd->first_param];
    for (unsigned i = 0; i < cmd->param_count && !enc->failed; i++, field++) {
        if (!(field->flags & PV_VN_OUT))
            continue;
        if (field->flags & PV_VN_NEW)
            put_new_handles(enc, field, base);
        else
            encode_field(enc, field, base, FULL);
    }
}

void pv_vn_encode_request(struct pv_vn_encoder *enc, const struct pv_vn_command *cmd,
                          uint32_t flags, const void *args)
{
    const char *base = args;
    pv_vn_put_u32(enc, cmd->number);
    pv_vn_put_u32(enc, flags);
    const struct pv_vn_field *field = &pv_vn_params[cmd->first_param];
    for (unsigned i = 0; i < cmd->param_count && !enc->failed; i++, field++) {
        if (field->flags & PV_VN_NEW)
            put_new_handles(enc, field, base);
        else
            encode_field(enc, field, base, field->flags & PV_VN_OUT ? PARTIAL : FULL);
    }
}
