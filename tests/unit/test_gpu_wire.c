/* SPDX-License-Identifier: MIT */
/*
 * The wire format, for every command that the tables have: what a guest encodes, we decode to the
 * same arguments, and so for replies. The arguments are made up by walking the tables, so a command
 * added by a newer registry is covered without a line here.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/util.h"
#include "gpu/venus/wire.h"

#define WIRE_MAX  ((size_t)1 << 20)
#define DEPTH_MAX 2u

struct maker {
    struct pv_vn_arena arena;
    uint64_t seed;
};

static uint64_t next_random(struct maker *maker)
{
    maker->seed = maker->seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
    return maker->seed ^ maker->seed >> 29;
}

static void make_struct(struct maker *maker, unsigned id, void *base, unsigned depth);

static void *get(struct maker *maker, size_t size)
{
    void *data = pv_vn_arena_alloc(&maker->arena, size);
    assert_non_null(data);
    return data;
}

static void make_elements(struct maker *maker, const struct pv_vn_field *field, void *to,
                          uint64_t count, unsigned depth)
{
    char *at = to;
    for (uint64_t i = 0; i < count; i++, at += field->size) {
        uint64_t value = next_random(maker) | 1;
        switch (field->kind) {
        case PV_VN_SCALAR: memcpy(at, &value, PV_MIN(field->size, 8)); break;
        case PV_VN_HANDLE: memcpy(at, &value, 8); break;
        case PV_VN_STRING: {
            char *text = get(maker, 8);
            snprintf(text, 8, "s%u", (unsigned)(value % 1000));
            memcpy(at, &text, sizeof(text));
            break;
        }
        default: make_struct(maker, field->type, at, depth + 1);
        }
    }
}

static void make_length(const struct pv_vn_field *field, char *base, uint64_t value)
{
    memcpy(base + field->offset, &value, field->size);
}

static void make_field(struct maker *maker, const struct pv_vn_field *fields, unsigned count,
                       const struct pv_vn_field *field, char *base, unsigned depth)
{
    char *at = base + field->offset;
    uint64_t elements = 1;
    if (field->kind == PV_VN_STYPE || field->kind == PV_VN_CHAIN || field->kind == PV_VN_NOTHING)
        return;
    if (field->shape == PV_VN_VALUE && field->flags & PV_VN_LENGTH) {
        make_length(field, base, 2);
        return;
    }
    if (field->shape == PV_VN_VALUE || field->shape == PV_VN_FIXED) {
        make_elements(maker, field, at, field->shape == PV_VN_FIXED ? field->count : 1, depth);
        return;
    }
    if (field->shape == PV_VN_ARRAY) {
        if (field->len == PV_VN_LEN_WORDS)
            for (unsigned i = 0; i < count; i++)
                if (fields[i].offset == field->len_offset)
                    make_length(&fields[i], base, 8);
        elements = pv_vn_array_length(field, base);
        if (!elements)
            return;
    }
    void *data = get(maker, elements * field->size);
    make_elements(maker, field, data, elements, depth);
    if (field->shape == PV_VN_POINTER && field->flags & PV_VN_LENGTH) {
        memset(data, 0, field->size);
        *(uint8_t *)data = 2;
    }
    memcpy(at, &data, sizeof(data));
    if (field->flags & PV_VN_NEW) {
        uint64_t *ids = get(maker, elements * 8);
        for (uint64_t i = 0; i < elements; i++)
            ids[i] = next_random(maker);
        memcpy(base + field->ids, &ids, sizeof(ids));
    }
}

static void make_chain(struct maker *maker, const struct pv_vn_struct *desc,
                       VkBaseOutStructure *head, unsigned depth)
{
    for (unsigned i = 0; i < desc->chain_count; i++) {
        unsigned id = pv_vn_chains[desc->first_chain + i];
        VkBaseOutStructure *node = get(maker, pv_vn_structs[id].size);
        make_struct(maker, id, node, depth + DEPTH_MAX);
        head->pNext = node;
        head = node;
    }
}

static void make_struct(struct maker *maker, unsigned id, void *base, unsigned depth)
{
    const struct pv_vn_struct *desc = &pv_vn_structs[id];
    const struct pv_vn_field *fields = &pv_vn_struct_fields[desc->first_field];
    unsigned count = desc->is_union ? 1 : desc->field_count;
    for (unsigned i = 0; i < count; i++)
        make_field(maker, fields, desc->field_count,
                   desc->is_union ? &fields[desc->tag] : &fields[i], base, depth);
    if (!desc->is_union && fields[0].kind == PV_VN_STYPE) {
        ((VkBaseOutStructure *)base)->sType = desc->stype;
        ((VkBaseOutStructure *)base)->pNext = NULL;
        if (depth < DEPTH_MAX)
            make_chain(maker, desc, base, depth);
    }
}

static void make_args(struct maker *maker, const struct pv_vn_command *cmd, void *args)
{
    const struct pv_vn_field *fields = &pv_vn_params[cmd->first_param];
    for (unsigned i = 0; i < cmd->param_count; i++)
        make_field(maker, fields, cmd->param_count, &fields[i], args, 0);
}

static bool resolve(void *opaque, unsigned type, uint64_t id, uint64_t *handle, bool *dead)
{
    *handle = id;
    return type < PV_VN_HANDLE_COUNT;
}

static uint64_t name(void *opaque, unsigned type, uint64_t handle)
{
    return handle;
}

struct scratch {
    struct maker maker;
    struct pv_vn_arena arena;
    uint8_t *first, *second;
};

static int setup(void **state)
{
    struct scratch *scratch = calloc(1, sizeof(*scratch));
    scratch->maker = (struct maker){PV_VN_ARENA_INIT(WIRE_MAX * 16), 1};
    scratch->arena = PV_VN_ARENA_INIT(WIRE_MAX * 16);
    scratch->first = malloc(WIRE_MAX);
    scratch->second = malloc(WIRE_MAX);
    *state = scratch;
    return scratch->first && scratch->second ? 0 : -1;
}

static int teardown(void **state)
{
    struct scratch *scratch = *state;
    pv_vn_arena_finish(&scratch->maker.arena);
    pv_vn_arena_finish(&scratch->arena);
    free(scratch->first);
    free(scratch->second);
    free(scratch);
    return 0;
}

static size_t encode_request(const struct pv_vn_command *cmd, const void *args, uint8_t *to)
{
    struct pv_vn_encoder enc = {.cur = to, .end = to + WIRE_MAX, .name = name};
    pv_vn_encode_request(&enc, cmd, 1, args);
    assert_false(enc.failed);
    return enc.cur - to;
}

static size_t encode_reply(const struct pv_vn_command *cmd, const void *args, uint8_t *to)
{
    struct pv_vn_encoder enc = {.cur = to, .end = to + WIRE_MAX, .name = name};
    pv_vn_encode_reply(&enc, cmd, args);
    assert_false(enc.failed);
    return enc.cur - to;
}

static void decoder_init(struct scratch *scratch, struct pv_vn_decoder *dec, const uint8_t *data,
                         size_t size)
{
    pv_vn_arena_reset(&scratch->arena);
    *dec = (struct pv_vn_decoder){
        .cur = data, .end = data + size, .arena = &scratch->arena, .resolve = resolve};
}

static void requests_survive_the_wire(void **state)
{
    struct scratch *scratch = *state;
    assert_true(PV_VN_COMMAND_COUNT > 250);
    for (unsigned i = 0; i < PV_VN_COMMAND_COUNT; i++) {
        const struct pv_vn_command *cmd = &pv_vn_commands[i];
        uint64_t args[64] = {0}, again[64] = {0};
        struct pv_vn_decoder dec;
        assert_true(cmd->args_size <= sizeof(args));
        pv_vn_arena_reset(&scratch->maker.arena);
        make_args(&scratch->maker, cmd, args);
        size_t size = encode_request(cmd, args, scratch->first);
        decoder_init(scratch, &dec, scratch->first, size);
        assert_ptr_equal(pv_vn_command_find(pv_vn_get_u32(&dec)), cmd);
        assert_int_equal(pv_vn_get_u32(&dec), 1);
        if (!pv_vn_decode_request(&dec, cmd, again))
            fail_msg("%s: %s", cmd->name, dec.why);
        assert_ptr_equal(dec.cur, dec.end);
        assert_int_equal(encode_request(cmd, again, scratch->second), size);
        if (memcmp(scratch->first, scratch->second, size))
            fail_msg("%s: decoded to something else", cmd->name);
    }
}

static void replies_survive_the_wire(void **state)
{
    struct scratch *scratch = *state;
    for (unsigned i = 0; i < PV_VN_COMMAND_COUNT; i++) {
        const struct pv_vn_command *cmd = &pv_vn_commands[i];
        uint64_t args[64] = {0}, again[64] = {0};
        struct pv_vn_decoder dec;
        pv_vn_arena_reset(&scratch->maker.arena);
        make_args(&scratch->maker, cmd, args);
        memcpy(again, args, sizeof(args));
        size_t size = encode_reply(cmd, args, scratch->first);
        decoder_init(scratch, &dec, scratch->first, size);
        assert_int_equal(pv_vn_get_u32(&dec), cmd->number);
        if (!pv_vn_decode_reply(&dec, cmd, again))
            fail_msg("%s: %s", cmd->name, dec.why);
        assert_ptr_equal(dec.cur, dec.end);
        assert_int_equal(encode_reply(cmd, again, scratch->second), size);
        assert_memory_equal(scratch->first, scratch->second, size);
    }
}

/* No prefix of a command is a command, and no damage reads outside the bytes or the arena. */
static void damaged_requests_are_refused_or_bounded(void **state)
{
    struct scratch *scratch = *state;
    for (unsigned i = 0; i < PV_VN_COMMAND_COUNT; i++) {
        const struct pv_vn_command *cmd = &pv_vn_commands[i];
        uint64_t args[64] = {0};
        struct pv_vn_decoder dec;
        pv_vn_arena_reset(&scratch->maker.arena);
        make_args(&scratch->maker, cmd, args);
        size_t size = encode_request(cmd, args, scratch->first) - 8;
        for (unsigned round = 0; round < 24; round++) {
            uint64_t random = next_random(&scratch->maker);
            /* A heap block of the very size, so that a sanitizer sees the first byte beyond. */
            size_t cut = round % 2 && size ? random % size & ~(size_t)3 : size;
            uint8_t *copy = malloc(cut ? cut : 1);
            memcpy(copy, scratch->first + 8, cut);
            if (!(round % 2) && cut)
                copy[random % cut] ^= 1u << (random >> 32) % 8;
            uint64_t again[64] = {0};
            decoder_init(scratch, &dec, copy, cut);
            bool ok = pv_vn_decode_request(&dec, cmd, again);
            assert_false(ok && cut < size);
            free(copy);
        }
    }
}

static void decode_words(struct scratch *scratch, unsigned command, const uint32_t *words,
                         size_t count, const char *why)
{
    struct pv_vn_decoder dec;
    uint64_t args[64] = {0};
    decoder_init(scratch, &dec, (const uint8_t *)words, count * 4);
    assert_false(pv_vn_decode_request(&dec, &pv_vn_commands[command], args));
    if (!strstr(dec.why, why))
        fail_msg("'%s' does not say '%s'", dec.why, why);
}

static void lies_are_named(void **state)
{
    struct scratch *scratch = *state;
    /* vkResetFences: device, fenceCount 3, an array of 2 */
    const uint32_t counts[] = {7, 0, 3, 2, 0, 1, 0, 1, 0};
    decode_words(scratch, PV_VN_COMMAND_vkResetFences, counts, 9, "an array of 2 where 3");
    /* the same with 4 billion fences */
    const uint32_t absurd[] = {7, 0, ~0u, ~0u, 0, 1, 0, 1, 0};
    decode_words(scratch, PV_VN_COMMAND_vkResetFences, absurd, 9, "an array of 4294967295");
    /* vkCreateFence with a chain of the same struct twice */
    const uint32_t twice[] = {7,
                              0,
                              1,
                              0,
                              VK_STRUCTURE_TYPE_FENCE_CREATE_INFO,
                              1,
                              0,
                              VK_STRUCTURE_TYPE_EXPORT_FENCE_CREATE_INFO,
                              1,
                              0,
                              VK_STRUCTURE_TYPE_EXPORT_FENCE_CREATE_INFO,
                              0,
                              0,
                              1,
                              1,
                              0};
    decode_words(scratch, PV_VN_COMMAND_vkCreateFence, twice, 16, "a chain with two");
    /* and with one that does not belong there */
    const uint32_t alien[] = {
        7, 0, 1, 0, VK_STRUCTURE_TYPE_FENCE_CREATE_INFO, 1, 0, VK_STRUCTURE_TYPE_SUBMIT_INFO, 0, 0};
    decode_words(scratch, PV_VN_COMMAND_vkCreateFence, alien, 10, "a chain with sType");
    /* vkAllocateMemory must not take a descriptor number of this process from a guest */
    const uint32_t import[] = {7,
                               0,
                               1,
                               0,
                               VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                               1,
                               0,
                               VK_STRUCTURE_TYPE_IMPORT_MEMORY_FD_INFO_KHR,
                               0,
                               0};
    decode_words(scratch, PV_VN_COMMAND_vkAllocateMemory, import, 10, "a chain with sType");
}

static void arena_keeps_its_limit(void **state)
{
    struct pv_vn_arena arena = PV_VN_ARENA_INIT(1 << 20);
    assert_non_null(pv_vn_arena_alloc(&arena, 0));
    assert_non_null(pv_vn_arena_alloc(&arena, 900 << 10));
    assert_null(pv_vn_arena_alloc(&arena, 900 << 10));
    assert_null(pv_vn_arena_alloc(&arena, SIZE_MAX));
    pv_vn_arena_reset(&arena);
    uint8_t *data = pv_vn_arena_alloc(&arena, 1000);
    memset(data, 0xff, 1000);
    pv_vn_arena_reset(&arena);
    data = pv_vn_arena_alloc(&arena, 1000);
    assert_int_equal(data[0] | data[999], 0);
    assert_int_equal((uintptr_t)data % 16, 0);
    pv_vn_arena_finish(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(requests_survive_the_wire, setup, teardown),
        cmocka_unit_test_setup_teardown(replies_survive_the_wire, setup, teardown),
        cmocka_unit_test_setup_teardown(damaged_requests_are_refused_or_bounded, setup, teardown),
        cmocka_unit_test_setup_teardown(lies_are_named, setup, teardown),
        cmocka_unit_test(arena_keeps_its_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
