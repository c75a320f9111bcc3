/* SPDX-License-Identifier: MIT */
/*
 * Decoding: the guest's bytes into arguments for the driver.
 *
 * Everything here is guarded by three rules. A count is believed only when it equals the length
 * that the command itself states, and the memory it asks for fits the command's arena. A pNext
 * chain holds only structs that the table allows there, each at most once, which bounds its
 * recursion. A handle passes only through `resolve`, which knows what this guest created.
 *
 * The order on the wire: a struct is its sType, its chain, its members; a chain is a presence word,
 * then the next struct's sType, the rest of the chain, and only then that struct's members.
 */
#include "gpu/venus/wire.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/checked.h"
#include "base/util.h"

/* What a struct is read for. */
enum mode {
    FULL,    /* an input: everything */
    PARTIAL, /* an output in a request: its shape only, so that the reply can be built */
};

static bool decode_struct(struct pv_vn_decoder *dec, unsigned id, void *base, enum mode mode);

void pv_vn_fail(struct pv_vn_decoder *dec, const char *fmt, ...)
{
    if (dec->failed)
        return;
    va_list args;
    va_start(args, fmt);
    vsnprintf(dec->why, sizeof(dec->why), fmt, args);
    va_end(args);
    dec->failed = true;
}

static const uint8_t *take(struct pv_vn_decoder *dec, uint64_t size)
{
    if (dec->failed)
        return NULL;
    if (size > (uint64_t)(dec->end - dec->cur)) {
        pv_vn_fail(dec, "%llu bytes wanted, %zu left", (unsigned long long)size,
                   (size_t)(dec->end - dec->cur));
        return NULL;
    }
    const uint8_t *at = dec->cur;
    dec->cur += size;
    return at;
}

uint32_t pv_vn_get_u32(struct pv_vn_decoder *dec)
{
    uint32_t value = 0;
    const uint8_t *at = take(dec, sizeof(value));
    if (at)
        memcpy(&value, at, sizeof(value));
    return value;
}

uint64_t pv_vn_get_u64(struct pv_vn_decoder *dec)
{
    uint64_t value = 0;
    const uint8_t *at = take(dec, sizeof(value));
    if (at)
        memcpy(&value, at, sizeof(value));
    return value;
}

/* Bytes packed and padded to 4 at the end. */
static bool get_bytes(struct pv_vn_decoder *dec, void *to, uint64_t size)
{
    if (size > UINT32_MAX) {
        pv_vn_fail(dec, "an array of %llu bytes", (unsigned long long)size);
        return false;
    }
    const uint8_t *at = take(dec, pv_align_up(size, 4));
    if (at)
        memcpy(to, at, size);
    return at != NULL;
}

static void *allocate(struct pv_vn_decoder *dec, uint64_t count, uint64_t size)
{
    uint64_t bytes;
    void *data = NULL;
    if (pv_mul_ok(count, size, &bytes) && bytes <= dec->arena->max)
        data = pv_vn_arena_alloc(dec->arena, bytes);
    if (!data)
        pv_vn_fail(dec, "%llu elements of %llu bytes", (unsigned long long)count,
                   (unsigned long long)size);
    return data;
}

/* One scalar: memory may be narrower than its four bytes on the wire. Little-endian hosts only. */
static void get_scalar(struct pv_vn_decoder *dec, const struct pv_vn_field *field, void *to)
{
    if (field->wire == 8) {
        uint64_t value = pv_vn_get_u64(dec);
        memcpy(to, &value, 8);
    } else {
        uint32_t value = pv_vn_get_u32(dec);
        if (field->size == 4)
            memcpy(to, &value, 4);
        else
            memcpy(to, &value, PV_MIN(field->size, 4));
    }
}

/* Fields that are words in a row in memory and on the wire. */
static void get_run(struct pv_vn_decoder *dec, const struct pv_vn_field *field, char *base)
{
    const uint8_t *at = take(dec, field->run * UINT64_C(4));
    for (unsigned i = 0; at && i < field->run; i++)
        memcpy(base + field->offset + i * 4, at + i * 4, 4);
}

static void get_handle(struct pv_vn_decoder *dec, const struct pv_vn_field *field, void *to)
{
    uint64_t id = pv_vn_get_u64(dec);
    uint64_t handle = 0;
    if (id && !dec->failed && !dec->resolve(dec->opaque, field->type, id, &handle, &dec->dead))
        pv_vn_fail(dec, "%s %llu is not there", pv_vn_handle_names[field->type],
                   (unsigned long long)id);
    memcpy(to, &handle, 8);
}

static bool get_string(struct pv_vn_decoder *dec, const char **to)
{
    *to = NULL;
    uint64_t size = pv_vn_get_u64(dec);
    if (dec->failed || !size)
        return !dec->failed;
    if (size > (uint64_t)(dec->end - dec->cur)) {
        pv_vn_fail(dec, "a string of %llu bytes", (unsigned long long)size);
        return false;
    }
    char *text = allocate(dec, size, 1);
    if (!text || !get_bytes(dec, text, size))
        return false;
    text[size - 1] = '\0';
    *to = text;
    return true;
}

/* `count` elements that lie in a row at `to`. */
static bool get_elements(struct pv_vn_decoder *dec, const struct pv_vn_field *field, void *to,
                         uint64_t count, enum mode mode)
{
    char *at = to;
    if (field->kind == PV_VN_SCALAR) {
        if (mode == PARTIAL)
            return !dec->failed;
        if (field->wire == field->size)
            return get_bytes(dec, to, count * field->size);
        for (uint64_t i = 0; i < count && !dec->failed; i++)
            get_scalar(dec, field, at + i * field->size);
        return !dec->failed;
    }
    for (uint64_t i = 0; i < count && !dec->failed; i++, at += field->size) {
        if (field->kind == PV_VN_HANDLE)
            get_handle(dec, field, at);
        else if (field->kind == PV_VN_STRING)
            get_string(dec, (const char **)(void *)at);
        else
            decode_struct(dec, field->type, at, mode);
    }
    return !dec->failed;
}

uint64_t pv_vn_array_length(const struct pv_vn_field *field, const void *base)
{
    const char *at = (const char *)base + field->len_offset;
    uint64_t length = 0;
    if (field->len == PV_VN_LEN_CONST)
        return field->count;
    if (field->len == PV_VN_LEN_POINTER || field->len == PV_VN_LEN_VIA) {
        const char *pointer;
        memcpy(&pointer, at, sizeof(pointer));
        if (!pointer)
            return 0;
        at = field->len == PV_VN_LEN_VIA ? pointer + field->len_inner : pointer;
    }
    switch (field->len_size) { /* sizes that the compiler knows are loads, not calls */
    case 1: length = *(const uint8_t *)at; break;
    case 8: memcpy(&length, at, 8); break;
    default: memcpy(&length, at, 4);
    }
    if (field->len == PV_VN_LEN_WORDS)
        return length / 4;
    if (field->len == PV_VN_LEN_MASK)
        return (length + 31) / 32;
    return length;
}

/* Reads an array's count; false when there is no array (then *count is 0) or on failure. */
static bool get_count(struct pv_vn_decoder *dec, const struct pv_vn_field *field, const void *base,
                      uint64_t *count)
{
    *count = pv_vn_get_u64(dec);
    if (dec->failed)
        return false;
    uint64_t length = pv_vn_array_length(field, base);
    if (*count == 0) {
        if (length && !(field->flags & PV_VN_OPTIONAL))
            pv_vn_fail(dec, "an array of %llu is missing", (unsigned long long)length);
        return false;
    }
    if (*count != length)
        pv_vn_fail(dec, "an array of %llu where %llu was said", (unsigned long long)*count,
                   (unsigned long long)length);
    return !dec->failed;
}

static bool get_presence(struct pv_vn_decoder *dec, const struct pv_vn_field *field)
{
    uint64_t present = pv_vn_get_u64(dec);
    if (present > 1 || (present && field->kind == PV_VN_NOTHING))
        pv_vn_fail(dec, "a pointer marked %llu", (unsigned long long)present);
    else if (!present && !(field->flags & PV_VN_OPTIONAL) && field->kind != PV_VN_NOTHING)
        pv_vn_fail(dec, "a pointer is missing");
    return present && !dec->failed;
}

/* Whether elements of the field put any bytes on the wire in that mode. */
static bool sends(const struct pv_vn_field *field, enum mode mode)
{
    return mode == FULL || field->kind != PV_VN_SCALAR;
}

static void get_array(struct pv_vn_decoder *dec, const struct pv_vn_field *field, char *base,
                      enum mode mode)
{
    uint64_t count;
    if (!get_count(dec, field, base, &count))
        return;
    /* Everything sent has at least a byte; so a lie is seen before memory is taken for it. */
    if (sends(field, mode) && mode == FULL && count > (uint64_t)(dec->end - dec->cur)) {
        pv_vn_fail(dec, "an array of %llu, %zu bytes left", (unsigned long long)count,
                   (size_t)(dec->end - dec->cur));
        return;
    }
    void *data = allocate(dec, count, field->size);
    if (data && get_elements(dec, field, data, count, mode))
        memcpy(base + field->offset, &data, sizeof(data));
}

static void get_pointer(struct pv_vn_decoder *dec, const struct pv_vn_field *field, char *base,
                        enum mode mode)
{
    if (!get_presence(dec, field))
        return;
    void *data = allocate(dec, 1, field->size);
    if (!data)
        return;
    if (sends(field, mode) || field->flags & PV_VN_LENGTH)
        get_elements(dec, field, data, 1, field->flags & PV_VN_LENGTH ? FULL : mode);
    if (!dec->failed)
        memcpy(base + field->offset, &data, sizeof(data));
}

/* Handles that the command will create: their ids are kept, the driver gets room for handles. */
static void get_new_handles(struct pv_vn_decoder *dec, const struct pv_vn_field *field, char *base)
{
    uint64_t count = 1;
    bool there = field->shape == PV_VN_POINTER ? get_presence(dec, field)
                                               : get_count(dec, field, base, &count);
    if (!there)
        return;
    if (count > (uint64_t)(dec->end - dec->cur) / 8) {
        pv_vn_fail(dec, "%llu new handles", (unsigned long long)count);
        return;
    }
    uint64_t *ids = allocate(dec, count, 8);
    void *handles = allocate(dec, count, 8);
    if (!ids || !handles)
        return;
    for (uint64_t i = 0; i < count; i++)
        ids[i] = pv_vn_get_u64(dec);
    memcpy(base + field->ids, &ids, sizeof(ids));
    memcpy(base + field->offset, &handles, sizeof(handles));
}

static void decode_field(struct pv_vn_decoder *dec, const struct pv_vn_field *field, char *base,
                         enum mode mode)
{
    char *at = base + field->offset;
    switch (field->shape) {
    case PV_VN_VALUE:
        if (field->kind == PV_VN_HANDLE && mode == FULL)
            get_handle(dec, field, at);
        else if (field->kind == PV_VN_SCALAR && mode == FULL)
            get_scalar(dec, field, at);
        else if (field->kind == PV_VN_STRUCT)
            decode_struct(dec, field->type, at, mode);
        else if (mode == FULL || field->flags & PV_VN_LENGTH)
            get_elements(dec, field, at, 1, FULL);
        break;
    case PV_VN_FIXED:
        if (mode == PARTIAL && field->kind == PV_VN_SCALAR)
            break;
        uint64_t count = pv_vn_get_u64(dec);
        if (count != field->count)
            pv_vn_fail(dec, "a fixed array of %u sent as %llu", field->count,
                       (unsigned long long)count);
        else
            get_elements(dec, field, at, count, mode);
        break;
    case PV_VN_POINTER: get_pointer(dec, field, base, mode); break;
    case PV_VN_ARRAY: get_array(dec, field, base, mode); break;
    }
}

static void decode_members(struct pv_vn_decoder *dec, const struct pv_vn_struct *desc, char *base,
                           enum mode mode)
{
    const struct pv_vn_field *field = &pv_vn_struct_fields[desc->first_field];
    const struct pv_vn_field *end = field + desc->field_count;
    while (field < end && !dec->failed) {
        if (field->run && mode == FULL) {
            get_run(dec, field, base);
            field += field->run;
            continue;
        }
        if (field->kind != PV_VN_STYPE && field->kind != PV_VN_CHAIN)
            decode_field(dec, field, base, mode);
        field++;
    }
}

static const struct pv_vn_struct *chain_member(const struct pv_vn_struct *head, uint32_t stype)
{
    const uint16_t *ids = &pv_vn_chains[head->first_chain];
    for (unsigned i = 0; i < head->chain_count; i++)
        if (pv_vn_structs[ids[i]].stype == (VkStructureType)stype)
            return &pv_vn_structs[ids[i]];
    return NULL;
}

/*
 * Reads the chain of a struct described by `head`, whose first struct (for duplicates) is `first`.
 * Each struct is linked in before the rest is read, so the depth is at most head->chain_count.
 */
static void decode_chain(struct pv_vn_decoder *dec, const struct pv_vn_struct *head,
                         VkBaseOutStructure *first, VkBaseOutStructure *previous, enum mode mode)
{
    uint64_t present = pv_vn_get_u64(dec);
    if (dec->failed || !present)
        return;
    uint32_t stype = pv_vn_get_u32(dec);
    const struct pv_vn_struct *desc = present == 1 ? chain_member(head, stype) : NULL;
    if (!desc) {
        pv_vn_fail(dec, "%s: a chain with sType %u", head->name, stype);
        return;
    }
    if (pv_vn_chain_find(first->pNext, desc->stype)) {
        pv_vn_fail(dec, "%s: a chain with two %s", head->name, desc->name);
        return;
    }
    VkBaseOutStructure *node = allocate(dec, 1, desc->size);
    if (!node)
        return;
    node->sType = desc->stype;
    previous->pNext = node;
    decode_chain(dec, head, first, node, mode);
    decode_members(dec, desc, (char *)node, mode);
}

static bool decode_struct(struct pv_vn_decoder *dec, unsigned id, void *base, enum mode mode)
{
    const struct pv_vn_struct *desc = &pv_vn_structs[id];
    const struct pv_vn_field *fields = &pv_vn_struct_fields[desc->first_field];
    if (desc->is_union) {
        if (mode == PARTIAL)
            return !dec->failed;
        uint32_t tag = pv_vn_get_u32(dec);
        if (tag >= desc->field_count)
            pv_vn_fail(dec, "%s: tag %u", desc->name, tag);
        else if (!dec->failed)
            decode_field(dec, &fields[tag], base, mode);
        return !dec->failed;
    }
    if (fields[0].kind == PV_VN_STYPE) {
        uint32_t stype = pv_vn_get_u32(dec);
        if (stype != (uint32_t)desc->stype)
            pv_vn_fail(dec, "%s: sType %u", desc->name, stype);
        VkBaseOutStructure *head = base;
        head->sType = desc->stype;
        if (!dec->failed)
            decode_chain(dec, desc, head, head, mode);
    }
    decode_members(dec, desc, base, mode);
    return !dec->failed;
}

const void *pv_vn_chain_find(const void *pnext, VkStructureType stype)
{
    for (const VkBaseInStructure *node = pnext; node; node = node->pNext)
        if (node->sType == stype)
            return node;
    return NULL;
}

const struct pv_vn_command *pv_vn_command_find(uint32_t number)
{
    if (number >= PV_VN_COMMAND_NUMBERS || !pv_vn_command_by_number[number])
        return NULL;
    return &pv_vn_commands[pv_vn_command_by_number[number] - 1];
}

/* The first parameter of most commands: whom the driver is called for, so it must be there. */
static void get_self(struct pv_vn_decoder *dec, const struct pv_vn_field *field, char *args)
{
    uint64_t handle;
    get_handle(dec, field, args + field->offset);
    memcpy(&handle, args + field->offset, 8);
    if (!handle && !dec->failed && !dec->dead && !(field->flags & PV_VN_OPTIONAL))
        pv_vn_fail(dec, "no %s", pv_vn_handle_names[field->type]);
}

bool pv_vn_decode_request(struct pv_vn_decoder *dec, const struct pv_vn_command *cmd, void *args)
{
    const struct pv_vn_field *field = &pv_vn_params[cmd->first_param];
    const struct pv_vn_field *end = field + cmd->param_count;
    if (field < end && field->kind == PV_VN_HANDLE && field->shape == PV_VN_VALUE)
        get_self(dec, field++, args);
    while (field < end && !dec->failed) {
        if (field->run) {
            get_run(dec, field, args);
            field += field->run;
            continue;
        }
        if (field->flags & PV_VN_NEW)
            get_new_handles(dec, field, args);
        else
            decode_field(dec, field, args, field->flags & PV_VN_OUT ? PARTIAL : FULL);
        field++;
    }
    return !dec->failed;
}

/* Reads what a reply holds of new handles: their ids, which the caller knows already. */
static void skip_new_handles(struct pv_vn_decoder *dec, const struct pv_vn_field *field)
{
    uint64_t count = pv_vn_get_u64(dec);
    if (count > (uint64_t)(dec->end - dec->cur) / 8)
        pv_vn_fail(dec, "%llu handles in a reply", (unsigned long long)count);
    else
        take(dec, count * 8);
}

bool pv_vn_decode_reply(struct pv_vn_decoder *dec, const struct pv_vn_command *cmd, void *args)
{
    char *base = args;
    if (cmd->ret == PV_VN_RET_U64) {
        uint64_t value = pv_vn_get_u64(dec);
        memcpy(base + cmd->ret_offset, &value, 8);
    } else if (cmd->ret != PV_VN_RET_NONE) {
        uint32_t value = pv_vn_get_u32(dec);
        memcpy(base + cmd->ret_offset, &value, 4);
    }
    const struct pv_vn_field *field = &pv_vn_params[cmd->first_param];
    for (unsigned i = 0; i < cmd->param_count && !dec->failed; i++, field++) {
        if (!(field->flags & PV_VN_OUT))
            continue;
        if (field->flags & PV_VN_NEW)
            skip_new_handles(dec, field);
        else
            decode_field(dec, field, base, FULL);
    }
    return !dec->failed;
}
